//! What asyncio's own tests of `gather` ask for (`test_tasks.py`), line by line: AG-1 to AG-29.
//!
//! Passed over:
//! - AG-5 (not applicable): how an environment variable is parsed.
//! - AG-27 (not applicable): context variables of two tasks; children share the context of the task that polls them.
//! - AG-10, gathering the same futures twice: a gather owns its children; see AG-16.
//! - AG-17 and AG-23, what `stop()` returns and its reason: a signal has neither; what it is ready with is dropped.
//! - AG-9, AG-16, AG-19, what must not compile: in `tests/compile_fail`, named at each test.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, Ready, pending, poll_fn, ready};
use std::marker::PhantomData;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::kit::{
    self, Any, At, CONTAINERS, Container, FIXED, Flatten, Gate, Output, Probe, Wakes, World, boxed, future_in,
    gather_in, panic_of,
};
use futures_channel::oneshot;
use futures_util::FutureExt;
use futures_util::future::{Aborted, abortable};
use gather::Outcome::{Done, Drained, Dropped, Failed};
use gather::{CancelExt, Cancelled, Cause, GatherOf, Group, LocalBoxChild, Outcome, Report, from_iter, gather};

/// Boxes a future made of a gather of that many children, in a container that is chosen at run time.
macro_rules! group_in {
    ($container:expr, $children:expr, ($($child:ident)*), |$gather:ident| $future:expr) => {
        kit::hold_in!($container, ($($child)*), |hold| {
            let $gather = gather(hold($children));
            boxed($future)
        })
    };
}

/// Runs the same with the gather of each container, of its own type.
macro_rules! in_each {
    ([$($child:expr),*], |$gather:ident| $body:expr) => {{
        let $gather = gather(($($child,)*)).into_future();
        $body;
        let $gather = gather([$($child),*]).into_future();
        $body;
        let $gather = gather(vec![$($child),*]).into_future();
        $body;
        let $gather = gather(vec![$($child),*].into_boxed_slice()).into_future();
        $body;
    }};
}

fn flat<O: Flatten>(report: Report<O>) -> (Cause, O::Flat) {
    (report.cause, report.outcomes.flatten())
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Children a, b, c and so on, all plain or all told, and their gates.
fn children<const N: usize>(world: &World, told: bool) -> ([LocalBoxChild<'_, Output>; N], [Gate<Output>; N]) {
    let gates = std::array::from_fn(|_| Gate::new());
    let children = std::array::from_fn(|index| {
        let probe = Probe::new(NAMES[index], &world.log, &gates[index]);
        match told {
            true => LocalBoxChild::new(probe.on_cancel(|child| child.log.push(format!("tell {}", child.name)))),
            false => LocalBoxChild::new(probe),
        }
    });
    (children, gates)
}

/// A child that ends with what is sent to it, and that no one can wake once it is dropped.
fn receiver<'a, T: 'a>(world: &'a World, name: &'static str, told: bool) -> (LocalBoxChild<'a, T>, oneshot::Sender<T>) {
    let (sender, receiver) = oneshot::channel();
    let token = world.log.token(name);
    let future = async move {
        let _token = token;
        receiver.await.expect("not while it is waited for")
    };
    let child = match told {
        true => LocalBoxChild::new(future.on_cancel(move |_| world.log.push(format!("tell {name}")))),
        false => LocalBoxChild::new(future),
    };
    (child, sender)
}

/// Runs it in each container, with plain and with told children.
fn in_both_kinds(run: impl Fn(Container, bool)) {
    for container in FIXED {
        for told in [false, true] {
            let _at = At(format!("{container:?}, told: {told}"));
            run(container, told);
        }
    }
}

/// AG-1, AG-2: the first two of three have ended, then the third.
fn three_end<'a, R: PartialEq + std::fmt::Debug>(
    world: &World,
    mut all: Any<'a, R>,
    [a, b, c]: [Gate<Output>; 3],
    expected: R,
) {
    assert!(world.poll(all.as_mut()).is_pending());
    b.open(Ok(1));
    a.open(Ok(2));
    assert!(world.poll(all.as_mut()).is_pending());
    // The second pass begins behind the child with which the first one began.
    world.log.expect("end b, drop b, end a, drop a");
    world.wakes.take();
    c.open(Ok(3));
    assert_eq!(world.wakes.take(), 1);
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(expected));
    world.log.expect("end c, drop c");
    drop(all);
    assert_eq!(world.wakes.take(), 0);
    world.log.expect("");
}

// AG-1
#[test]
fn ag_1_values_in_the_order_of_the_children() {
    in_both_kinds(|container, told| {
        let world = World::new();
        let (children, gates) = children(&world, told);
        three_end(&world, gather_in!(container, children, |gather| gather), gates, Ok(vec![2, 1, 3]));
    });
}

// AG-2
#[test]
fn ag_2_settled_values_in_the_order_of_the_children() {
    in_both_kinds(|container, told| {
        let world = World::new();
        let (children, gates) = self::children(&world, told);
        let all = gather_in!(container, children, |gather| gather.settle());
        three_end(&world, all, gates, vec![Ok(2), Ok(1), Ok(3)]);

        let (children, gates) = self::children(&world, told);
        let all = future_in!(container, children, |gather| async { flat(gather.settle().report().await) });
        three_end(&world, all, gates, (Cause::Completed, vec![Done(2), Done(1), Done(3)]));
    });
}

// AG-3. In one turn where that is the first poll; a later pass may begin with b, so there each has a poll of its own.
#[test]
fn ag_3_the_first_error_itself_is_the_cause_and_nothing_comes_after_it() {
    in_both_kinds(|container, told| {
        for (reported, at_first) in [(false, false), (false, true), (true, false), (true, true)] {
            let _at = At(format!("reported: {reported}, in the first poll: {at_first}"));
            let world = World::new();
            let made = ["a", "b", "c", "d", "e"].map(|name| receiver::<Result<u32, kit::Token>>(&world, name, told));
            let [(a, send_a), (b, send_b), (c, send_c), (d, send_d), (e, send_e)] = made;
            let children = [a, b, c, d, e];
            // Written out, since the error cannot be compared but by name. It cannot be cloned either.
            let mut all = match reported {
                true => group_in!(container, children, (a b c d e), |gather| async {
                    let (cause, outcomes) = flat(gather.report().await);
                    let text = format!("{cause:?} {outcomes:?}");
                    let mut outcomes = outcomes.into_iter();
                    let Some(Failed(error)) = outcomes.nth(1) else { panic!("{text}") };
                    (text, error)
                }),
                false => group_in!(container, children, (a b c d e), |gather| async {
                    let Err(error) = gather.await else { panic!("it failed") };
                    (String::new(), error)
                }),
            };
            if at_first {
                send_a.send(Ok(1)).unwrap();
            } else {
                assert!(world.poll(all.as_mut()).is_pending());
                send_a.send(Ok(1)).unwrap();
                assert!(world.poll(all.as_mut()).is_pending());
            }
            send_b.send(Err(world.log.token("Z"))).unwrap();
            let mut polled = world.poll(all.as_mut());
            let mut late = "Dropped, Dropped, Dropped";
            if told {
                assert!(polled.is_pending());
                world.log.expect("drop a, drop b, tell c, tell d, tell e");
                send_c.send(Ok(3)).unwrap();
                assert!(world.poll(all.as_mut()).is_pending());
                send_e.send(Ok(5)).unwrap();
                assert!(world.poll(all.as_mut()).is_pending());
                world.log.expect("drop c, drop e");
                send_d.send(Ok(4)).unwrap();
                polled = world.poll(all.as_mut());
                world.log.expect("drop d");
                late = "Drained(Some(Ok(3))), Drained(Some(Ok(4))), Drained(Some(Ok(5)))";
            } else {
                world.log.expect("drop a, drop b, drop c, drop d, drop e");
                world.wakes.take();
                // None of them is there any more to receive it.
                assert!(send_c.send(Ok(3)).is_err());
                drop(send_d);
                assert!(send_e.send(Err(world.log.token("late"))).is_err());
                world.log.expect("drop late");
                assert_eq!(world.wakes.take(), 0);
            }
            let Poll::Ready((text, error)) = polled else { panic!("it is ready") };
            if reported {
                assert_eq!(text, format!("Failed(1) [Done(1), Failed(Z), {late}]"));
            }
            assert_eq!(error, "Z");
            drop(all);
            world.log.expect("");
            drop(error);
            world.log.expect("drop Z");
        }
    });
}

// AG-4
#[test]
fn ag_4_settled_errors_stop_nobody() {
    in_both_kinds(|container, told| {
        let world = World::new();
        let (children, [a, b, c, d]) = children(&world, told);
        let mut all =
            group_in!(container, children, (a b c d), |gather| async { flat(gather.settle().report().await) });
        assert!(world.poll(all.as_mut()).is_pending());
        b.open(Ok(1));
        c.open(Err("Z"));
        a.open(Ok(3));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end b, drop b, end c, drop c, end a, drop a");
        d.open(Err("R"));
        let outcomes = vec![Done(3), Done(1), Failed("Z"), Failed("R")];
        assert_eq!(world.poll(all.as_mut()), Poll::Ready((Cause::Completed, outcomes)));
        world.log.expect("end d, drop d");
    });
}

/// What drives a future to its end.
fn drivers<F: Future>() -> [(&'static str, fn(F) -> F::Output); 5] {
    fn spin<F: Future>(future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return output;
            }
        }
    }
    [
        ("a loop with a waker that does nothing", spin),
        ("pollster", |future| pollster::block_on(future)),
        ("tokio", |future| tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)),
        ("smol", |future| smol::block_on(future)),
        ("futures_executor", |future| futures_executor::block_on(future)),
    ]
}

// AG-6, AG-7, AG-8. The crate is without std, and so cannot have a thread-local.
#[test]
fn ag_6_ag_7_ag_8_empty_ones_need_no_runtime_and_no_second_poll() {
    macro_rules! assert_empty {
        ($make:expr, $expected:expr) => {
            let world = World::new();
            let holders = Arc::strong_count(&world.wakes);
            // Made in a thread that has nothing, moved here, polled by hand.
            let made = std::thread::spawn(|| $make).join().unwrap();
            assert_eq!(world.poll(pin!(made.into_future())), Poll::Ready($expected));
            assert_eq!((world.wakes.take(), Arc::strong_count(&world.wakes)), (0, holders));
            for (driver, drive) in drivers() {
                assert_eq!(drive($make.into_future()), $expected, "{driver}");
            }
        };
    }
    fn none() -> Vec<Ready<Result<u8, u8>>> {
        Vec::new()
    }
    fn no_array() -> [Ready<Result<u8, u8>>; 0] {
        []
    }
    assert_empty!(gather(()), Ok::<_, Infallible>(()));
    assert_empty!(gather(no_array()), Ok([]));
    assert_empty!(gather(none()), Ok(vec![]));
    assert_empty!(gather(none().into_boxed_slice()), Ok(vec![]));
    assert_empty!(gather(()).settle(), ());
    assert_empty!(gather(no_array()).settle(), []);
    assert_empty!(gather(none()).settle(), vec![]);
}

/// Whether a type is `Send`: the inherent constant, where its bound holds, hides that of the trait.
macro_rules! is_send {
    ($type:ty) => {{
        #[allow(dead_code)]
        trait Fallback {
            const IS: bool = false;
        }
        impl<T> Fallback for T {}
        #[allow(dead_code)]
        struct Ask<T>(PhantomData<T>);
        #[allow(dead_code)]
        impl<T: Send> Ask<T> {
            const IS: bool = true;
        }
        <Ask<$type>>::IS
    }};
}

// AG-9. A Vec of differently typed futures does not compile: tests/compile_fail/mixed_types.rs.
#[test]
fn ag_9_one_child_that_is_not_send_makes_the_gather_not_send() {
    type Sends = Ready<Result<u8, u8>>;
    type Stays = Ready<Result<Rc<u8>, u8>>;
    const { assert!(is_send!(GatherOf<(Sends, Sends, Sends)>) && !is_send!(GatherOf<(Sends, Stays, Sends)>)) };
    const { assert!(is_send!(GatherOf<[Sends; 3]>) && !is_send!(GatherOf<[Stays; 3]>)) };
    const { assert!(is_send!(GatherOf<Vec<Sends>>) && !is_send!(GatherOf<Vec<Stays>>)) };
    const { assert!(is_send!(Group<(Sends, Sends, Sends)>) && !is_send!(Group<(Sends, Stays, Sends)>)) };
    const { assert!(is_send!(Group<[Sends; 3]>) && !is_send!(Group<[Stays; 3]>)) };
    const { assert!(is_send!(Group<Vec<Sends>>) && !is_send!(Group<Vec<Stays>>)) };
    // Differently typed ones are a tuple, or boxed.
    let tuple = gather((ready(Ok::<_, ()>(1)), async { Ok("two") }));
    assert_eq!(pollster::block_on(tuple), Ok((1, "two")));
    let boxed = vec![LocalBoxChild::new(ready(Ok::<_, ()>(1))), LocalBoxChild::new(async { Ok(2) })];
    assert_eq!(pollster::block_on(gather(boxed)), Ok(vec![1, 2]));
}

fn assert_pending<F: Future + ?Sized>(future: std::pin::Pin<&mut F>, waker: &Waker) {
    assert!(future.poll(&mut Context::from_waker(waker)).is_pending());
}

// AG-10
#[test]
fn ag_10_only_the_waker_of_the_last_poll_is_woken() {
    in_both_kinds(|container, told| {
        let world = World::new();
        let (children, gates) = children(&world, told);
        let mut all = gather_in!(container, children, |gather| gather);
        let ((a, waker_a), (b, waker_b)) = (Wakes::new(), Wakes::new());
        assert_pending(all.as_mut(), &waker_a);
        let mut moved = all;
        assert_pending(moved.as_mut(), &waker_b);
        assert_eq!((a.take(), b.take()), (0, 0));
        gates[1].wake();
        assert_eq!((a.take(), b.take()), (0, 1));
    });
    // Moved to another thread, and woken from there.
    macro_rules! in_another_thread {
        (|$children:ident| $gather:expr) => {
            let (sender, receiver) = oneshot::channel();
            let (_sender, other) = oneshot::channel();
            let $children = [receiver, other];
            let ((a, waker_a), (b, waker_b)) = (Wakes::new(), Wakes::new());
            let mut all = Box::pin($gather.into_future());
            assert_pending(all.as_mut(), &waker_a);
            let thread = std::thread::spawn(move || {
                assert_pending(all.as_mut(), &waker_b);
                sender.send(1).unwrap();
            });
            thread.join().unwrap();
            assert_eq!((a.take(), b.take()), (0, 1));
        };
    }
    in_another_thread!(|children| gather(<(_, _)>::from(children)));
    in_another_thread!(|children| gather(children));
    in_another_thread!(|children| gather(Vec::from(children)));
}

// AG-11
#[test]
fn ag_11_a_child_that_was_cancelled_from_outside_has_failed() {
    in_both_kinds(|container, told| {
        let world = World::new();
        let gates: [Gate<u32>; 5] = Default::default();
        let mut handles = Vec::new();
        let children: [_; 5] = std::array::from_fn(|index| {
            let (future, handle) = abortable(Probe::new(NAMES[index], &world.log, &gates[index]));
            handles.push(handle.clone());
            match told {
                false => LocalBoxChild::new(future),
                true => LocalBoxChild::new(future.on_cancel(move |_| handle.abort())),
            }
        });
        let mut all = group_in!(container, children, (a b c d e), |gather| async { flat(gather.report().await) });
        assert!(world.poll(all.as_mut()).is_pending());
        // In a poll of its own: the next pass begins with b.
        gates[0].open(1);
        assert!(world.poll(all.as_mut()).is_pending());
        handles[1].abort();
        let late = || if told { Drained(Some(Err(Aborted))) } else { Dropped };
        let outcomes = vec![Done(1), Failed(Aborted), late(), late(), late()];
        assert_eq!(world.poll(all.as_mut()), Poll::Ready((Cause::Failed(1), outcomes)));
        world.log.expect("end a, drop a, drop b, drop c, drop d, drop e");
        world.wakes.take();
        for handle in handles {
            handle.abort();
        }
        if container.tells_wakes_apart() {
            // A tuple's child gave the caller's waker to its handle, which keeps it.
            assert_eq!(world.wakes.take(), 0);
        }
        world.log.expect("");
    });
}

// AG-12
#[test]
fn ag_12_settled_ones_that_were_cancelled_from_outside_are_errors_like_others() {
    in_both_kinds(|container, told| {
        let world = World::new();
        let gates: [Gate<Output>; 6] = Default::default();
        let mut handles = Vec::new();
        let children: [_; 6] = std::array::from_fn(|index| {
            let (future, handle) = abortable(Probe::new(NAMES[index], &world.log, &gates[index]));
            handles.push(handle);
            let future = future.map(|result| result.unwrap_or(Err("aborted")));
            match told {
                false => LocalBoxChild::new(future),
                true => LocalBoxChild::new(future.on_cancel(|_| panic!("nobody is told"))),
            }
        });
        let mut all =
            group_in!(container, children, (a b c d e f), |gather| async { flat(gather.settle().report().await) });
        assert!(world.poll(all.as_mut()).is_pending());
        gates[0].open(Ok(1));
        gates[1].open(Err("Z"));
        handles[2].abort();
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end b, drop b, drop c, end a, drop a");
        gates[3].open(Ok(3));
        handles[4].abort();
        gates[5].open(Err("R"));
        let aborted = || Failed("aborted");
        let outcomes = vec![Done(1), Failed("Z"), aborted(), Done(3), aborted(), Failed("R")];
        assert_eq!(world.poll(all.as_mut()), Poll::Ready((Cause::Completed, outcomes)));
        world.log.expect("end d, drop d, drop e, end f, drop f");
    });
}

// AG-13
#[test]
fn ag_13_one_that_was_never_polled_starts_nobody() {
    in_both_kinds(|container, told| {
        let world = World::new();
        let children = ["a", "b"].map(|name| {
            let probe = Probe::<Output>::new(name, &world.log, &Gate::new()).log_polls();
            match told {
                false => LocalBoxChild::new(probe),
                true => LocalBoxChild::new(probe.on_cancel(|child| child.log.push("tell"))),
            }
        });
        let all = group_in!(container, children, (a b), |gather| gather.into_future().map(drop));
        world.log.expect("");
        drop(all);
        world.log.expect("drop a, drop b");
    });
}

// AG-14
#[test]
fn ag_14_children_that_are_ready_need_one_poll() {
    in_both_kinds(|container, told| {
        let child = || match told {
            false => LocalBoxChild::new(ready(Ok::<_, ()>("abc"))),
            true => LocalBoxChild::new(ready(Ok("abc")).on_cancel(|_| panic!("nobody is told"))),
        };
        let world = World::new();
        let mut all =
            group_in!(container, [child(), child()], (a b), |gather| gather.into_future().map(Flatten::flatten));
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok(vec!["abc", "abc"])));
        assert_eq!(world.wakes.take(), 0);
    });
}

// AG-15
#[test]
fn ag_15_every_executor_gives_the_same() {
    for container in CONTAINERS {
        for yields in [0, 3] {
            for (driver, drive) in drivers() {
                let _at = At(format!("{container:?}, {yields} yields, {driver}"));
                let children = ["abc", "abc"].map(|text| {
                    let mut left = yields;
                    poll_fn(move |cx| {
                        if left == 0 {
                            return Poll::Ready(Ok::<_, ()>(text));
                        }
                        left -= 1;
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    })
                });
                let all = group_in!(container, children, (a b), |gather| gather.into_future().map(Flatten::flatten));
                assert_eq!(drive(all), Ok(vec!["abc", "abc"]));
            }
        }
    }
}

// AG-16. The same future twice does not compile: tests/compile_fail/two_times.rs.
#[test]
fn ag_16_clones_of_a_shared_future_run_it_once() {
    in_both_kinds(|container, told| {
        let world = World::new();
        let (probe, gate) = world.probe::<Result<&str, ()>>("abc");
        let (shared, other) = (probe.shared(), ready(Ok("def")).shared());
        let child = || match told {
            false => LocalBoxChild::new(shared.clone()),
            true => LocalBoxChild::new(shared.clone().on_cancel(|_| panic!("nobody is told"))),
        };
        let children = [child(), child(), LocalBoxChild::new(other), child()];
        let mut all = group_in!(container, children, (a b c d), |gather| gather.into_future().map(Flatten::flatten));
        assert!(world.poll(all.as_mut()).is_pending());
        gate.open(Ok("abc"));
        assert_eq!(world.quiesce(all.as_mut()).0, Poll::Ready(Ok(vec!["abc", "abc", "def", "abc"])));
        world.log.expect("end abc, drop abc");
    });
}

/// AG-17: two told children that wait for one gate, or until they are told; their owner, and what went on.
fn broadcast<'a>(
    world: &'a World,
    container: Container,
    proof: &'a Cell<u32>,
    gate: oneshot::Receiver<()>,
    signal: impl Future + 'a,
) -> Any<'a, (Cause, Vec<Outcome<u32, &'static str>>)> {
    let gate = gate.shared();
    let children = ["a", "b"].map(|name| {
        let (told, gate, token) = (Rc::new(Cell::new(false)), gate.clone(), world.log.token(name));
        let stops = told.clone();
        let mut waits = Box::pin(async move {
            let _token = token;
            gate.await.unwrap();
            proof.set(proof.get() + 1);
            Ok(1)
        });
        let child = poll_fn(move |cx| if told.get() { Poll::Ready(Err("told")) } else { waits.as_mut().poll(cx) });
        child.on_cancel(move |_| {
            world.log.push(format!("tell {name}"));
            stops.set(true);
        })
    });
    group_in!(container, children, (a b), |gather| async {
        let report = gather.cancel_when(signal).report().await;
        if report.cause != Cause::Cancelled {
            proof.set(proof.get() + 10);
        }
        flat(report)
    })
}

// AG-17
#[test]
fn ag_17_a_signal_is_seen_by_all_once_and_a_drop_lets_go_of_all() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let (world, proof) = (World::new(), Cell::new(0));
        let (open, gate) = oneshot::channel();
        let (signal, stop) = abortable(pending::<()>());
        let mut owner = broadcast(&world, container, &proof, gate, signal);
        assert!(world.poll(owner.as_mut()).is_pending());
        stop.abort();
        assert!(world.wakes.take() > 0);
        let outcomes = vec![Drained(Some(Err("told"))); 2];
        assert_eq!(world.poll(owner.as_mut()), Poll::Ready((Cause::Cancelled, outcomes)));
        world.log.expect("tell a, tell b, drop a, drop b");
        stop.abort();
        assert_eq!((world.wakes.take(), proof.get()), (0, 0));
        drop(owner);
        assert!(open.send(()).is_err());
        world.log.expect("");

        let holders = Arc::strong_count(&world.wakes);
        let (open, gate) = oneshot::channel();
        let mut owner = broadcast(&world, container, &proof, gate, pending::<()>());
        assert!(world.poll(owner.as_mut()).is_pending());
        assert!(Arc::strong_count(&world.wakes) > holders);
        drop(owner);
        world.log.expect("drop a, drop b");
        assert_eq!(Arc::strong_count(&world.wakes), holders);
        assert!(open.send(()).is_err());
        assert_eq!((world.wakes.take(), proof.get()), (0, 0));
    }
}

// AG-18
#[test]
fn ag_18_a_second_error_is_in_the_report_or_its_child_was_dropped() {
    in_both_kinds(|container, told| {
        for reported in [true, false] {
            let world = World::new();
            let (children, [a, b]) = children(&world, told);
            let mut all = match reported {
                true => {
                    group_in!(container, children, (a b), |gather| gather.report().into_future().map(|report| Ok(flat(report))))
                }
                false => {
                    group_in!(container, children, (a b), |gather| gather.into_future().map(|result| Err(result.map(drop))))
                }
            };
            assert!(world.poll(all.as_mut()).is_pending());
            a.open(Err("a"));
            let mut polled = world.poll(all.as_mut());
            if told {
                assert!(polled.is_pending());
                world.log.expect("end a, drop a, tell b");
                b.open(Err("b"));
                polled = world.poll(all.as_mut());
                world.log.expect("end b, drop b");
            } else {
                world.log.expect("end a, drop a, drop b");
            }
            let late = if told { Drained(Some(Err("b"))) } else { Dropped };
            assert_eq!(
                polled,
                Poll::Ready(match reported {
                    true => Ok((Cause::Failed(0), vec![Failed("a"), late])),
                    false => Err(Err("a")),
                })
            );
        }
    });
}

// AG-19. An argument that is not a child does not compile: tests/compile_fail/not_a_future.rs.
#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn ag_19_the_panic_of_an_iterator_is_its_own_and_drops_what_was_collected() {
    for told in [false, true] {
        let world = World::new();
        let probe = Probe::<Output>::new("a", &world.log, &Gate::new()).log_polls();
        let mut first = Some(match told {
            false => LocalBoxChild::new(probe),
            true => LocalBoxChild::new(probe.on_cancel(|child| child.log.push("tell"))),
        });
        let children = std::iter::from_fn(|| Some(first.take().expect("no second one")));
        assert_eq!(panic_of(|| drop(children.collect::<Group<_>>())), "no second one");
        world.log.expect("drop a");
    }
}

// AG-20
#[test]
fn ag_20_one_that_is_polled_by_reference_outlives_who_polled_it() {
    let world = World::new();
    let gates: [Gate<Output>; 2] = Default::default();
    let child = |index: usize| Probe::new(NAMES[index], &world.log, &gates[index]).shield();
    in_each!([child(0), child(1)], |all| {
        let mut all = Box::pin(all);
        let mut outer = Box::pin(async { (&mut all).await });
        assert!(world.poll(outer.as_mut()).is_pending());
        drop(outer);
        world.log.expect("");
        gates[0].open(Ok(1));
        gates[1].open(Ok(2));
        let Poll::Ready(result) = world.poll(all.as_mut()) else { panic!("it is ready") };
        assert_eq!(result.flatten(), Ok(vec![1, 2]));
        world.log.expect("end b, drop b, end a, drop a");
    });
}

// AG-21
#[test]
fn ag_21_borrowed_futures_are_given_back_untouched() {
    for container in CONTAINERS {
        for stopped in [true, false] {
            let _at = At(format!("{container:?}, stopped: {stopped}"));
            let world = World::new();
            let ((mut a, gate_a), (mut b, gate_b)) = (world.probe::<Output>("a"), world.probe::<Output>("b"));
            let signal = Gate::new();
            let mut all = group_in!(container, [&mut a, &mut b], (a b), |gather| {
                gather.cancel_when(signal.clone().wait()).into_future().map(drop)
            });
            assert!(world.poll(all.as_mut()).is_pending());
            if stopped {
                signal.open(());
                assert!(world.poll(all.as_mut()).is_ready());
            }
            drop(all);
            world.log.expect("");
            gate_a.open(Ok(1));
            gate_b.open(Ok(2));
            assert_eq!(world.poll(pin!(gather((a, b)).into_future())), Poll::Ready(Ok((1, 2))));
        }
    }
}

// AG-22
#[test]
fn ag_22_a_signal_that_finds_all_children_done_is_refused() {
    in_both_kinds(|container, told| {
        for pending_first in [true, false] {
            let world = World::new();
            let signal = Gate::new();
            let (fires, mut waits) = (signal.clone(), pending_first);
            let child = poll_fn(move |cx| {
                if std::mem::take(&mut waits) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                fires.open(());
                Poll::Ready(Ok::<u32, &str>(42))
            });
            let child = match told {
                false => LocalBoxChild::new(child),
                true => LocalBoxChild::new(child.on_cancel(|_| panic!("it is not told"))),
            };
            let mut all = group_in!(container, [child], (a), |gather| {
                let reporting = gather.cancel_when(signal.clone().wait()).report();
                async { flat(reporting.await) }
            });
            let (polled, polls) = world.quiesce(all.as_mut());
            assert_eq!((polled, polls), (Poll::Ready((Cause::Completed, vec![Done(42)])), 1 + pending_first as usize));
        }
    });
}

// AG-23
#[test]
fn ag_23_settled_ones_that_are_cancelled_do_not_look_like_a_list() {
    fn ends_the_loop<R: Copy + 'static>(container: Container, told: bool, reason: R) {
        let world = World::new();
        let (signal, rounds) = (Gate::new(), RefCell::new(Vec::new()));
        let (current, running) = (RefCell::new(Gate::new()), &world);
        let mut owner = Box::pin(async {
            loop {
                let ([child], [gate]) = children(running, told);
                *current.borrow_mut() = gate;
                let round = group_in!(container, [child], (a), |gather| {
                    let all = gather.settle().cancel_when(signal.clone().wait());
                    all.into_future().map(|result| result.map(Flatten::flatten))
                });
                match round.await {
                    Ok(outputs) => rounds.borrow_mut().push(outputs),
                    Err(Cancelled) => break,
                }
            }
        });
        assert!(world.poll(owner.as_mut()).is_pending());
        let first = current.borrow().clone();
        first.open(Ok(1));
        assert!(world.poll(owner.as_mut()).is_pending());
        signal.open(reason);
        let mut polled = world.poll(owner.as_mut());
        if told {
            assert!(polled.is_pending());
            let second = current.borrow().clone();
            second.open(Ok(2));
            polled = world.poll(owner.as_mut());
        }
        assert_eq!(polled, Poll::Ready(()));
        drop(owner);
        assert_eq!(rounds.into_inner(), [vec![Ok(1)]]);
    }
    in_both_kinds(|container, told| {
        ends_the_loop(container, told, ());
        ends_the_loop(container, told, None::<&str>);
        ends_the_loop(container, told, "my message");
        ends_the_loop(container, told, 5);
    });
}

/// When it is dropped it wakes the children, and runs a gather of its own.
struct Busy {
    wakers: Rc<RefCell<Vec<Waker>>>,
    drops: Rc<Cell<usize>>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.drops.set(self.drops.get() + 1);
        let wakers = self.wakers.borrow().clone();
        wakers.iter().for_each(Waker::wake_by_ref);
        let own = gather(vec![ready(Ok::<_, ()>(1)), ready(Ok(2))]);
        assert_eq!(pollster::block_on(own), Ok(vec![1, 2]));
    }
}

// AG-24. Values that are dropped by the caller, and by the gather itself when the last child of the pass fails: the
// first one, behind which the second pass begins.
#[test]
fn ag_24_values_may_do_anything_when_they_are_dropped() {
    for container in FIXED {
        for fails in [false, true] {
            let _at = At(format!("{container:?}, fails: {fails}"));
            let world = World::new();
            let (wakers, drops) = (Rc::default(), Rc::new(Cell::new(0)));
            let child = |last: bool| {
                let (wakers, drops): (Rc<RefCell<Vec<Waker>>>, _) = (Rc::clone(&wakers), drops.clone());
                let mut polls = 0;
                poll_fn(move |cx| {
                    polls += 1;
                    if polls == 1 {
                        wakers.borrow_mut().push(cx.waker().clone());
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    match last && fails {
                        true => Poll::Ready(Err("failed")),
                        false => Poll::Ready(Ok(Busy { wakers: wakers.clone(), drops: drops.clone() })),
                    }
                })
            };
            let (mut all, count) = match container {
                // A tuple has at most 16.
                Container::Tuple => {
                    let children: [_; 6] = std::array::from_fn(|index| child(index == 0));
                    (
                        group_in!(container, children, (a b c d e f), |gather| gather.into_future().map(Flatten::flatten)),
                        6,
                    )
                }
                Container::Array => {
                    let children: [_; 100] = std::array::from_fn(|index| child(index == 0));
                    (boxed(gather(children).into_future().map(Flatten::flatten)), 100)
                }
                Container::Vec => {
                    let children: Vec<_> = (0..100).map(|index| child(index == 0)).collect();
                    (boxed(gather(children)), 100)
                }
                Container::BoxedSlice => {
                    let children: Box<[_]> = (0..100).map(|index| child(index == 0)).collect();
                    (boxed(gather(children)), 100)
                }
                Container::Source => (boxed(gather(from_iter((0..100).map(|index| child(index == 0))))), 100),
            };
            match world.quiesce(all.as_mut()).0 {
                Poll::Ready(Ok(outputs)) => {
                    assert_eq!((outputs.len(), drops.get(), fails), (count, 0, false));
                    drop(outputs);
                    assert_eq!(drops.get(), count);
                }
                Poll::Ready(Err(error)) => assert_eq!((error, drops.get(), fails), ("failed", count - 1, true)),
                Poll::Pending => panic!("it is ready"),
            }
        }
    }
}

// AG-25, what is left of it without context variables.
#[test]
fn ag_25_children_that_run_by_turns_do_not_see_each_others_locals() {
    let child = |own: usize| async move {
        let mut local = own;
        for _ in 0..10 {
            let mut yielded = false;
            poll_fn(|cx| {
                if std::mem::replace(&mut yielded, true) {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            local += 100;
        }
        Ok::<_, ()>(local)
    };
    let world = World::new();
    let expected = |count| (0..count).map(|own| own + 1000).collect::<Vec<_>>();
    // A pass of a `Vec` ends behind 32 children that yield again, so many of them need more passes.
    for (count, passes) in [(31, 11), (100, 31)] {
        let (polled, polls) = world.quiesce(pin!(gather((0..count).map(child).collect::<Vec<_>>()).into_future()));
        assert_eq!((polled, polls), (Poll::Ready(Ok(expected(count))), passes));
    }
    let array: [_; 100] = std::array::from_fn(child);
    let (polled, polls) = world.quiesce(pin!(gather(array).into_future().map(Flatten::flatten)));
    assert_eq!((polled, polls), (Poll::Ready(Ok(expected(100))), 11));
    let tuple = gather((child(0), child(1), child(2)));
    let (polled, polls) = world.quiesce(pin!(tuple.into_future()));
    assert_eq!((polled, polls), (Poll::Ready(Ok((1000, 1001, 1002))), 11));
}

// AG-26
#[test]
fn ag_26_nested_ones_are_entered_once_and_ready_in_one_poll() {
    fn tree<'a>(container: Container, entered: &'a Cell<u32>, depth: u32) -> Any<'a, Result<u32, ()>> {
        Box::pin(async move {
            entered.set(entered.get() + 1);
            if depth == 0 {
                return Ok(1);
            }
            let children: [_; 5] = std::array::from_fn(|_| tree(container, entered, depth - 1));
            let sums = group_in!(container, children, (a b c d e), |gather| gather.into_future().map(Flatten::flatten))
                .await?;
            Ok(sums.iter().sum::<u32>() + 1)
        })
    }
    for container in CONTAINERS {
        let (world, entered) = (World::new(), Cell::new(0));
        assert_eq!(world.poll(tree(container, &entered, 4).as_mut()), Poll::Ready(Ok(781)));
        assert_eq!((entered.get(), world.wakes.take()), (781, 0));
    }
}

// AG-28
#[test]
fn ag_28_errors_from_ten_threads_are_ten_errors() {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    macro_rules! ten {
        (|$children:ident| $gather:expr) => {
            let (senders, receivers): (Vec<_>, Vec<_>) = (0..10).map(|_| oneshot::channel::<Output>()).unzip();
            let mut receivers = receivers.into_iter();
            let $children: [_; 10] = std::array::from_fn(|_| receivers.next().unwrap().map(Result::unwrap));
            let mut all = pin!($gather.into_future());
            let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
            std::thread::scope(|threads| {
                for sender in senders {
                    threads.spawn(move || sender.send(Err("test")).unwrap());
                }
                let report = loop {
                    match all.as_mut().poll(&mut Context::from_waker(&waker)) {
                        Poll::Ready(report) => break report,
                        // The limit is there only so that a lost wake is seen.
                        Poll::Pending => {
                            let since = std::time::Instant::now();
                            std::thread::park_timeout(Duration::from_secs(60));
                            assert!(since.elapsed() < Duration::from_secs(60), "a wake was lost");
                        }
                    }
                };
                let outcomes = report.outcomes.into_iter().collect::<Vec<_>>();
                assert_eq!((report.cause, outcomes), (Cause::Completed, vec![Failed("test"); 10]));
            });
        };
    }
    for _ in 0..20 {
        ten!(|children| gather(children).settle().report());
        ten!(|children| gather(Vec::from(children)).settle().report());
        ten!(|children| gather(Box::<[_]>::from(children)).settle().report());
        ten!(|children| {
            let [a, b, c, d, e, f, g, h, i, j] = children;
            gather((a, b, c, d, e, f, g, h, i, j)).settle().report().into_future().map(|report| {
                let (a, b, c, d, e, f, g, h, i, j) = report.outcomes;
                Flat { cause: report.cause, outcomes: [a, b, c, d, e, f, g, h, i, j] }
            })
        });
    }
}

/// A report with its outcomes in an array.
struct Flat<O> {
    cause: Cause,
    outcomes: O,
}

// AG-29, what is left of it: Debug polls no child.
#[test]
fn ag_29_debug_shows_phase_and_children_without_polling() {
    let world = World::new();
    let gate = Gate::<Output>::new();
    let child = |name, gate: &Gate<Output>| {
        let probe = Probe::new(name, &world.log, gate).log_polls();
        probe.on_cancel(|child| child.log.push(format!("tell {}", child.name)))
    };
    // The second pass begins with b, in a `Vec` because it alone was woken.
    in_each!([child("a", &Gate::new()), child("b", &gate)], |all| {
        let mut all = Box::pin(all);
        let unpolled = format!("{all:?}");
        world.log.expect("");
        assert_eq!(unpolled, "Gather { phase: Unpolled, children: [unstarted, unstarted], .. }");
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("poll a, poll b");
        assert_eq!(format!("{all:?}"), "Gather { phase: Running, children: [pending, pending], .. }");
        gate.open(Err("b"));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("poll b, end b, drop b, tell a, poll a");
        let draining = "Gather { phase: Draining, cause: Failed(1), children: [draining, ended], .. }";
        assert_eq!(format!("{all:?}"), draining);
        world.log.expect("");
        drop(all);
        world.log.expect("drop a");
    });
}
