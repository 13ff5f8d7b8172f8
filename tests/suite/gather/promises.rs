//! The promises of a gather that are not about cancellation: order, wakes, ends, panics, types.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::kit::{self, At, CONTAINERS, FIXED, Gate, Output, Probe, Wakes, World, gather_in, panic_of};
use futures_core::FusedFuture;
use gather::{CancelExt, Cancelled, Child, Group, LocalBoxChild, OnCancel, gather};

fn probes(world: &World) -> ([Probe<Output>; 3], [Gate<Output>; 3]) {
    let gates: [Gate<Output>; 3] = Default::default();
    let mut names = ["a", "b", "c"].into_iter().zip(&gates);
    let probes = std::array::from_fn(|_| {
        let (name, gate) = names.next().unwrap();
        Probe::new(name, &world.log, gate).log_polls()
    });
    (probes, gates)
}

#[test]
fn children_are_first_polled_in_index_order_and_none_before_the_gather_is() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let (children, _gates) = probes(&world);
        let mut all = gather_in!(container, children, |gather| gather);
        world.log.expect("");
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("poll a, poll b, poll c");
        drop(all);
        world.log.expect("drop a, drop b, drop c");
    }
}

#[test]
fn a_gather_that_was_never_polled_drops_its_children_unpolled() {
    for container in CONTAINERS {
        let world = World::new();
        let (children, _gates) = probes(&world);
        drop(gather_in!(container, children, |gather| gather));
        world.log.expect("drop a, drop b, drop c");
    }
}

#[test]
fn one_that_is_ready_and_kept_holds_nothing() {
    const CHILD: usize = 0;
    const TOLD: usize = 1;
    const SIGNAL: usize = 2;
    const GRACE: usize = 3;
    // How it ends: what is ready in the second poll, and what in the third, if that is not the last one.
    let ends = [
        ("calm", &[(CHILD, Ok(1)), (TOLD, Ok(2))][..], None, Ok(Ok((1, 2)))),
        ("failed", &[(CHILD, Err("failed")), (TOLD, Ok(2))], None, Ok(Err("failed"))),
        ("drained in time", &[(CHILD, Err("failed"))], Some((TOLD, Ok(2))), Ok(Err("failed"))),
        ("outlives the grace", &[(CHILD, Err("failed"))], Some((GRACE, Ok(0))), Ok(Err("failed"))),
        ("cancelled", &[(SIGNAL, Ok(0))], Some((TOLD, Ok(2))), Err(Cancelled)),
    ];
    for (end, ready, ready_later, output) in ends {
        let _at = At(end.into());
        let world = World::new();
        let held = Rc::new(());
        // Ready once its gate is open, and holds what it is given until it is dropped.
        let holding = |gate: &Gate<Output>| {
            let (held, mut wait) = (held.clone(), Box::pin(gate.clone().wait()));
            poll_fn(move |cx| {
                let _ = &held;
                wait.as_mut().poll(cx)
            })
        };
        let gates: [Gate<Output>; 4] = Default::default();
        let (hook, make) = (held.clone(), held.clone());
        let all = gather((holding(&gates[CHILD]), holding(&gates[TOLD]).on_cancel(move |_| drop(hook))));
        let mut all = pin!(
            all.cancel_when(holding(&gates[SIGNAL]))
                .grace(|| {
                    drop(make);
                    holding(&gates[GRACE])
                })
                .into_future()
        );
        assert!(world.poll(all.as_mut()).is_pending());
        ready.iter().for_each(|(gate, result)| gates[*gate].open(*result));
        if let Some((gate, result)) = ready_later {
            assert!(world.poll(all.as_mut()).is_pending());
            gates[gate].open(result);
        }
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(output));
        assert_eq!(Rc::strong_count(&held), 1);
    }
}

/// Calls a closure in each poll; pending until told otherwise.
fn acting(act: impl FnMut(&mut Context<'_>) -> Poll<Output>) -> impl Future<Output = Output> {
    poll_fn(act)
}

#[test]
fn a_child_that_wakes_itself_yields_to_the_executor() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let children: [_; 3] = std::array::from_fn(|_| {
            let mut polls = 0;
            acting(move |cx| {
                polls += 1;
                if polls == 5 {
                    return Poll::Ready(Ok(polls));
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
        });
        let mut all = gather_in!(container, children, |gather| gather);
        let (polled, polls) = world.quiesce(all.as_mut());
        assert_eq!(polled, Poll::Ready(Ok(vec![5, 5, 5])));
        assert_eq!(polls, 5);
    }
}

#[test]
fn a_child_is_destroyed_when_it_ends_not_when_the_gather_does() {
    for container in CONTAINERS {
        let world = World::new();
        let (children, gates) = probes(&world);
        let mut all = gather_in!(container, children, |gather| gather);
        gates[1].open(Ok(1));
        let _ = world.poll(all.as_mut());
        world.log.expect("poll a, poll b, end b, drop b, poll c");
        gates[0].open(Ok(0));
        gates[2].open(Ok(2));
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok(vec![0, 1, 2])));
        world.log.expect("poll c, end c, drop c, poll a, end a, drop a");
    }
}

#[test]
fn discarded_values_are_dropped_before_a_sibling_is_told() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let log = &world.log;
        let (sibling, gate) = world.probe("c");
        let children = [
            LocalBoxChild::new(ready(Ok(world.log.token("value")))),
            LocalBoxChild::new(gate_of(&gate).on_cancel(|_| log.push("tell"))),
            LocalBoxChild::new(ready(Err("failed"))),
        ];
        drop(sibling);
        world.log.take();
        let mut all = gather_in!(container, children, |gather| gather);
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("drop value, tell");
        gate.open(Ok(world.log.token("late")));
        assert!(matches!(world.poll(all.as_mut()), Poll::Ready(Err("failed"))));
        world.log.expect("drop late");
    }
}

fn gate_of<T>(gate: &Gate<T>) -> impl Future<Output = T> + use<T> {
    gate.clone().wait()
}

#[test]
fn values_reach_the_caller_once() {
    for container in CONTAINERS {
        let world = World::new();
        let children = ["x", "y", "z"].map(|name| ready(Ok::<_, ()>(world.log.token(name))));
        let mut all = gather_in!(container, children, |gather| gather);
        let Poll::Ready(Ok(values)) = world.poll(all.as_mut()) else { panic!() };
        drop(all);
        world.log.expect("");
        assert_eq!(values.iter().map(|token| &*token.name).collect::<Vec<_>>(), ["x", "y", "z"]);
        drop(values);
        world.log.expect("drop x, drop y, drop z");
    }
}

#[test]
fn values_of_a_dropped_gather_are_dropped_in_index_order_among_the_children() {
    for container in FIXED {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let token = world.log.token("child");
        let children = [
            LocalBoxChild::new(ready(Ok::<_, ()>(world.log.token("x")))),
            LocalBoxChild::new(async move {
                let _token = token;
                pending().await
            }),
            LocalBoxChild::new(ready(Ok(world.log.token("z")))),
        ];
        let mut all = gather_in!(container, children, |gather| gather);
        assert!(world.poll(all.as_mut()).is_pending());
        drop(all);
        world.log.expect("drop x, drop child, drop z");
    }
}

#[test]
fn empty_ones_are_ready_at_once_and_touch_no_waker() {
    let world = World::new();
    let strong = Arc::strong_count(&world.wakes);
    assert_eq!(world.poll(pin!(gather(()).into_future())), Poll::Ready(Ok::<_, Infallible>(())));
    assert_eq!(world.poll(pin!(gather([(); 0].map(|()| pending::<Output>())).into_future())), Poll::Ready(Ok([])));
    assert_eq!(
        world.poll(pin!(gather(Vec::<std::future::Ready<Output>>::new()).into_future())),
        Poll::Ready(Ok(vec![]))
    );
    // Nor is an empty one cancelled by a signal that is ready.
    let mut empty = pin!(gather(Vec::<std::future::Ready<Output>>::new()).cancel_when(ready(())).into_future());
    assert_eq!(world.poll(empty.as_mut()), Poll::Ready(Ok(Ok(vec![]))));
    assert_eq!((world.wakes.take(), Arc::strong_count(&world.wakes)), (0, strong));
}

#[test]
fn tuples_hold_up_to_sixteen_children_of_their_own_types() {
    macro_rules! one {
        ($value:expr) => {
            ready(Ok::<_, ()>($value))
        };
    }
    let all = gather((
        one!(0u8),
        one!("1"),
        one!(2u16),
        one!('3'),
        one!(4u32),
        one!(5.0f32),
        one!(6u64),
        one!([7]),
        one!((8,)),
        one!(true),
        one!(Some(10)),
        one!(String::from("11")),
        one!(vec![12]),
        one!(()),
        one!(14i8),
        one!(15i16),
    ));
    let (a, b, .., p) = pollster::block_on(all).unwrap();
    assert_eq!((a, b, p), (0, "1", 15));
    let (one,) = pollster::block_on(gather((one!("alone"),))).unwrap();
    assert_eq!(one, "alone");
}

#[test]
fn iterators_are_collected() {
    let all = (0..100).map(|i| ready(Ok::<_, ()>(i))).collect::<Group<_>>();
    assert_eq!(pollster::block_on(all), Ok((0..100).collect()));
}

#[test]
fn borrowed_children_are_given_back() {
    let world = World::new();
    let (mut a, gate_a) = world.probe::<Output>("a");
    let (mut b, gate_b) = world.probe::<Output>("b");
    {
        let mut all = pin!(gather((&mut a, &mut b)).into_future());
        assert!(world.poll(all.as_mut()).is_pending());
    }
    gate_a.open(Ok(1));
    gate_b.open(Ok(2));
    assert_eq!(pollster::block_on(gather((a, b))), Ok((1, 2)));
}

#[test]
fn polled_by_reference_it_outlives_who_polled_it() {
    let world = World::new();
    let ((a, gate_a), (b, gate_b)) = (world.probe::<Output>("a"), world.probe::<Output>("b"));
    let mut all = Box::pin(gather((a, b)).into_future());
    {
        let mut outer = Box::pin(async { (&mut all).await });
        assert!(world.poll(outer.as_mut()).is_pending());
    }
    gate_a.open(Ok(1));
    gate_b.open(Ok(2));
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok((1, 2))));
}

#[test]
fn only_the_last_waker_of_the_parent_is_woken_and_none_is_kept_after_the_end() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let (children, gates) = probes(&world);
        let mut all = gather_in!(container, children, |gather| gather);
        let (first, first_waker) = Wakes::new();
        let (second, second_waker) = Wakes::new();
        let _ = all.as_mut().poll(&mut Context::from_waker(&first_waker));
        let _ = all.as_mut().poll(&mut Context::from_waker(&second_waker));
        drop(first_waker);
        if container.tells_wakes_apart() {
            // A tuple's child holds the caller's waker, so this is the child's affair there.
            gates[1].wake();
            assert_eq!((first.take(), second.take()), (0, 1));
            assert_eq!(Arc::strong_count(&first), 1);
        }
        let child_waker = gates[1].waker();
        for gate in &gates {
            gate.open(Ok(1));
        }
        assert!(all.as_mut().poll(&mut Context::from_waker(&second_waker)).is_ready());
        drop(all);
        if container.tells_wakes_apart() {
            drop(second_waker);
            assert_eq!(Arc::strong_count(&second), 1, "no waker of the parent is kept");
            second.take();
            // A child's waker outlives the gather, and does nothing.
            child_waker.unwrap().wake();
            assert_eq!(second.take(), 0);
        }
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn polling_after_completion_panics_and_says_so() {
    macro_rules! assert_done {
        ($gather:expr) => {
            let mut all = pin!($gather.into_future());
            let mut cx = Context::from_waker(Waker::noop());
            assert!(!all.is_terminated());
            assert!(all.as_mut().poll(&mut cx).is_ready());
            assert!(all.is_terminated());
            for _ in 0..2 {
                let message = panic_of(|| assert!(all.as_mut().poll(&mut cx).is_pending()));
                assert_eq!(message, "`Gather` polled after completion");
                assert!(all.is_terminated());
            }
        };
    }
    let one = || ready(Ok::<_, ()>(1));
    assert_done!(gather((one(), one())));
    assert_done!(gather([one(), one()]));
    assert_done!(gather(vec![one(), one()]));
    assert_done!(gather(vec![one(), one()].into_boxed_slice()));
    assert_done!(gather(()));
    assert_done!(gather((ready(Err::<(), _>(1)),)));
    assert_done!(gather(vec![pending::<Output>()]).cancel_when(ready(())));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_child_that_panics_takes_its_siblings_with_it_untold() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        for place in 0..3 {
            let world = World::new();
            let children: [_; 3] = std::array::from_fn(|index| {
                let (token, log) = (world.log.token(["a", "b", "c"][index]), world.log.clone());
                let mut polls = 0;
                LocalBoxChild::new(
                    acting(move |cx| {
                        let _token = &token;
                        polls += 1;
                        cx.waker().wake_by_ref();
                        if index == place && polls == 2 { panic!("child") } else { Poll::Pending }
                    })
                    .on_cancel(move |_| log.push("tell")),
                )
            });
            let mut all = gather_in!(container, children, |gather| gather);
            assert!(world.poll(all.as_mut()).is_pending());
            world.log.expect("");
            assert_eq!(panic_of(|| drop(world.poll(all.as_mut()))), "child");
            world.log.expect("drop a, drop b, drop c");
        }
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn polling_after_a_panic_panics_and_says_so() {
    let panicking = || acting(|_| panic!("child"));
    macro_rules! assert_poisoned {
        ($gather:expr) => {
            let mut all = pin!($gather.into_future());
            let mut cx = Context::from_waker(Waker::noop());
            assert_eq!(panic_of(|| assert!(all.as_mut().poll(&mut cx).is_pending())), "child");
            assert_eq!(panic_of(|| assert!(all.as_mut().poll(&mut cx).is_pending())), "`Gather` polled after a panic");
            assert!(all.is_terminated());
        };
    }
    assert_poisoned!(gather((panicking(), pending::<Output>())));
    assert_poisoned!(gather([panicking()]));
    assert_poisoned!(gather(vec![panicking()]));
}

/// Panics when it is dropped, after it has logged that.
struct Bomb(kit::Token);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("drop of {}", self.0.name);
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn when_a_child_panics_in_its_drop_the_rest_are_still_dropped_each_once() {
    for container in FIXED {
        let _at = At(format!("{container:?}"));
        // Where the drop happens: at its own end, when a sibling fails, when the gather is dropped polled or unpolled.
        for case in ["end", "sibling", "drop", "unpolled"] {
            let _at = At(case.into());
            let world = World::new();
            let own = Gate::new();
            let bomb = Bomb(world.log.token("b"));
            let (token_a, token_c) = (world.log.token("a"), world.log.token("c"));
            let (gate, fail) = (own.clone(), case == "sibling");
            let holding = |token: kit::Token| {
                acting(move |_| {
                    let _token = &token;
                    Poll::Pending
                })
            };
            let mut turn = 0;
            let children = [
                LocalBoxChild::new(holding(token_a)),
                LocalBoxChild::new(acting(move |cx| {
                    let _bomb = &bomb;
                    gate.poll(cx)
                })),
                LocalBoxChild::new(acting(move |_| {
                    let _token = &token_c;
                    turn += 1;
                    if fail && turn == 1 { Poll::Ready(Err("c")) } else { Poll::Pending }
                })),
            ];
            let mut all = gather_in!(container, children, |gather| gather);
            let message = match case {
                "end" => {
                    own.open(Ok(1));
                    panic_of(|| drop(world.poll(all.as_mut())))
                }
                "sibling" => panic_of(|| drop(world.poll(all.as_mut()))),
                "drop" => {
                    let _ = world.poll(all.as_mut());
                    panic_of(|| drop(all))
                }
                _ => panic_of(|| drop(all)),
            };
            assert_eq!(message, "drop of b");
            world.log.expect(match case {
                "end" => "drop b, drop a, drop c",
                "sibling" => "drop c, drop a, drop b",
                _ => "drop a, drop b, drop c",
            });
        }
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_panic_in_any_closure_or_future_of_the_handshake_drops_all_and_leaves_the_poll() {
    for container in CONTAINERS {
        for place in ["hook", "cleanup closure", "cleanup", "grace closure", "grace", "signal"] {
            let _at = At(format!("{container:?}, {place}"));
            let world = World::new();
            let blow = |at: &str| {
                if at == place {
                    panic!("{at}");
                }
            };
            let hold = |name| {
                let token = world.log.token(name);
                poll_fn(move |_| {
                    let _token = &token;
                    Poll::<Output>::Pending
                })
            };
            let children = [
                LocalBoxChild::new(hold("a").on_cancel(|_| blow("hook"))),
                LocalBoxChild::new(hold("b").cleanup(|| {
                    blow("cleanup closure");
                    async {
                        blow("cleanup");
                        pending::<()>().await;
                    }
                })),
                LocalBoxChild::new(hold("c").shield()),
            ];
            let fired = Cell::new(false);
            let mut all = gather_in!(container, children, |gather| gather
                .cancel_when(poll_fn(|_| {
                    if !fired.get() {
                        return Poll::Pending;
                    }
                    blow("signal");
                    Poll::Ready(())
                }))
                .grace(|| {
                    blow("grace closure");
                    async {
                        blow("grace");
                        pending::<()>().await;
                    }
                }));
            assert!(world.poll(all.as_mut()).is_pending());
            fired.set(true);
            assert_eq!(panic_of(|| drop(world.poll(all.as_mut()))), place);
            let mut dropped = world.log.take();
            dropped.sort();
            assert_eq!(dropped.join(", "), "drop a, drop b, drop c");
        }
    }
}

/// A child by hand, with its own way to stop.
struct Machine<'a> {
    log: &'a kit::Log,
    steps: u32,
    stops: bool,
}

impl Child for Machine<'_> {
    type Output = Output;

    fn poll_child(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        self.log.push("work");
        self.steps -= 1;
        if self.steps == 0 {
            return Poll::Ready(Ok(7));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        self.log.push("stop");
        if self.stops { OnCancel::Drain } else { OnCancel::Drop }
    }

    fn poll_drain(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Output>> {
        self.log.push("drain");
        self.steps -= 1;
        if self.steps == 0 {
            return Poll::Ready(None);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[test]
fn a_child_by_hand_is_stopped_in_its_own_way() {
    let world = World::new();
    let fires = Gate::new();
    let machine = |stops| Machine { log: &world.log, steps: 3, stops };

    assert_eq!(pollster::block_on(gather([machine(true)])), Ok([7]));
    world.log.expect("work, work, work");

    let mut all = pin!(gather([machine(true), machine(false)]).cancel_when(fires.clone().wait()).into_future());
    let _ = world.poll(all.as_mut());
    world.log.expect("work, work");
    fires.open(());
    let (polled, polls) = world.quiesce(all.as_mut());
    assert_eq!((polled, polls), (Poll::Ready(Err(Cancelled)), 1));
    world.log.expect("work, work, stop, stop, drain");
}

#[test]
fn a_map_sees_late_outputs_too() {
    let world = World::new();
    let seen = Cell::new(0);
    let late = Gate::<u32>::new();
    let child = late
        .clone()
        .wait()
        .on_cancel(|_| ())
        .map(|value| {
            seen.set(value);
            Ok::<u32, &str>(value)
        })
        .map(|result| result.map(u64::from));
    let mut all = pin!(gather((child, ready(Err::<(), _>("failed")))).into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    late.open(9);
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err("failed")));
    assert_eq!(seen.get(), 9);
}

#[test]
fn boxed_children_of_different_kinds_share_a_vec() {
    let log = kit::Log::default();
    let children = vec![
        LocalBoxChild::new(pending::<Output>()),
        LocalBoxChild::new(ready(Err("failed"))),
        LocalBoxChild::new(Machine { log: &log, steps: 2, stops: true }).map(|output| output).pipe(LocalBoxChild::new),
    ];
    assert_eq!(pollster::block_on(gather(children)), Err("failed"));
    log.expect("stop, drain, drain");
}

trait Pipe: Sized {
    fn pipe<R>(self, f: impl FnOnce(Self) -> R) -> R {
        f(self)
    }
}

impl<T> Pipe for T {}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_concurrency_of_zero_is_refused_at_the_call() {
    let message = panic_of(|| drop(gather([pending::<Output>()]).concurrency(0)));
    assert_eq!(message, "`Group::concurrency` of 0 would never start a child");
}

#[test]
fn debug_says_phase_cause_and_who_is_left() {
    let world = World::new();
    for container in FIXED {
        let _at = At(format!("{container:?}"));
        let (deaf, gate) = (pending::<Output>().on_cancel(|_| ()), Gate::<Output>::new());
        let children =
            [LocalBoxChild::new(ready(Ok(1))), LocalBoxChild::new(deaf), LocalBoxChild::new(gate.clone().wait())];
        kit::in_container!(container, children, |gather| {
            let mut all = pin!(gather.into_future());
            assert_eq!(
                format!("{all:?}"),
                "Gather { phase: Unpolled, children: [unstarted, unstarted, unstarted], .. }"
            );
            assert!(world.poll(all.as_mut()).is_pending());
            assert_eq!(format!("{all:?}"), "Gather { phase: Running, children: [ended, pending, pending], .. }");
            gate.open(Err("failed"));
            assert!(world.poll(all.as_mut()).is_pending());
            let draining = "Gather { phase: Draining, cause: Failed(2), children: [ended, draining, ended], .. }";
            assert_eq!(format!("{all:?}"), draining);
        });
    }

    let children: Vec<_> = (0..100)
        .map(|index| match index % 10 {
            7 => LocalBoxChild::new(pending::<Output>().on_cancel(|_| ())),
            _ => LocalBoxChild::new(pending::<Output>()),
        })
        .collect();
    let signal = Gate::new();
    let mut many = pin!(gather(children).concurrency(30).cancel_when(signal.clone().wait()).into_future());
    assert!(world.poll(many.as_mut()).is_pending());
    let running = "{unstarted: 70, pending: 30, \
                   live at: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] and others}";
    assert_eq!(format!("{many:?}"), format!("Gather {{ phase: Running, children: {running}, .. }}"));
    signal.open(());
    assert!(world.poll(many.as_mut()).is_pending());
    let left = "{draining: 10, ended: 90, live at: [7, 17, 27, 37, 47, 57, 67, 77, 87, 97]}";
    assert_eq!(format!("{many:?}"), format!("Gather {{ phase: Draining, cause: Cancelled, children: {left}, .. }}"));
}
