//! Children that are told through a signal that they were given, and all that may wait for that signal.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::kit::{CONTAINERS, FIXED, Flatten, Gate, Output, Probe, Wakes, World, future_in, panic_of, yield_now};
use futures_util::stream::{FuturesUnordered, StreamExt};
use gather::{
    CancelSignal, Cancelled, Cause, Child, Limit, LocalBoxChild, OnCancel, Outcome, cancellable, gather, restart,
};

/// Works until its gate is opened or it is told, then says goodbye, which takes until its second gate is opened.
fn session(world: &World, name: &'static str, work: &Gate<u32>, bye: &Gate<()>) -> LocalBoxChild<'static, Output> {
    let (log, bye) = (world.log.clone(), bye.clone());
    let work = Probe::new(name, &world.log, work).log_polls();
    LocalBoxChild::new(cancellable(async move |cancel| {
        let mut state = String::from(name); // borrowed by the work, and used after it
        let work = async {
            state.push('!');
            work.await
        };
        let ended = cancel.run_until_cancelled(work).await;
        log.push(format!("bye {state}"));
        bye.wait().await;
        ended.ok_or("told")
    }))
}

#[test]
fn told_it_goes_on_in_its_own_code_to_a_late_result() {
    for container in CONTAINERS {
        let world = World::new();
        let (work, byes, fail) = (Gate::new(), [Gate::new(), Gate::new()], Gate::<Output>::new());
        let children = [
            session(&world, "a", &work, &byes[0]),
            LocalBoxChild::new(fail.clone().wait()),
            session(&world, "c", &Gate::new(), &byes[1]),
        ];
        let mut all = future_in!(container, children, |gather| async {
            let report = gather.report().await;
            (report.cause, report.outcomes.flatten())
        });
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("poll a, poll c");
        // One that ends by itself says goodbye in the same code.
        work.open(7);
        assert!(world.poll(all.as_mut()).is_pending());
        let said = world.log.take();
        assert!(said.ends_with(&["poll a", "end a", "drop a", "bye a!"].map(String::from)), "{said:?}");
        byes[0].open(());
        fail.open(Err("failed"));
        assert!(world.poll(all.as_mut()).is_pending());
        let said = world.log.take();
        assert!(said.ends_with(&["drop c", "bye c!"].map(String::from)), "{said:?}");
        byes[1].open(());
        let polled = world.poll(all.as_mut());
        let Poll::Ready((cause, outcomes)) = polled else { panic!("nobody is left") };
        assert_eq!((cause, &outcomes[1]), (Cause::Failed(1), &Outcome::Failed("failed")));
        assert!(matches!(outcomes[0], Outcome::Done(7) | Outcome::Drained(Some(Ok(7)))));
        assert_eq!(outcomes[2], Outcome::Drained(Some(Err("told"))));
    }
}

#[test]
fn never_polled_it_is_dropped_and_clones_that_live_elsewhere_are_told() {
    // From a source they would not have been drawn.
    for container in FIXED {
        let world = World::new();
        let elsewhere = RefCell::new(vec![]);
        let never = |name| {
            cancellable(|cancel| {
                elsewhere.borrow_mut().push(cancel);
                Probe::new(name, &world.log, &Gate::<Output>::new())
            })
        };
        let children =
            [LocalBoxChild::new(ready(Err("failed"))), LocalBoxChild::new(never("b")), LocalBoxChild::new(never("c"))];
        let all = future_in!(container, children, |gather| async { gather.await.map(drop) });
        assert!(elsewhere.borrow().iter().all(|cancel| !cancel.is_cancelled()));
        assert_eq!(pollster::block_on(all), Err("failed"));
        world.log.expect("drop b, drop c");
        assert!(elsewhere.borrow().iter().all(CancelSignal::is_cancelled));
    }
}

#[test]
fn dropped_or_ended_by_itself_its_signal_stays_unset() {
    let world = World::new();
    let elsewhere = RefCell::new(vec![]);
    let child = |future| {
        cancellable(|cancel| {
            elsewhere.borrow_mut().push(cancel);
            future
        })
    };
    let ended = child(ready(Ok::<u32, ()>(1)));
    let mut all = Box::pin(gather((ended, cancellable(|_| pending::<Result<(), ()>>()))).into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    drop(all);
    drop(child(ready(Ok(2))));
    let never = pin!(elsewhere.borrow()[1].clone());
    assert!(world.poll(pin!(never.cancelled())).is_pending());
    assert!(elsewhere.borrow().iter().all(|cancel| !cancel.is_cancelled()));
}

/// Drives a child by hand.
fn poll_child<C: Child>(child: Pin<&mut C>, world: &World) -> Poll<C::Output> {
    child.poll_child(&mut Context::from_waker(&world.waker))
}

fn poll_drain<C: Child>(child: Pin<&mut C>, world: &World) -> Poll<Option<C::Output>> {
    child.poll_drain(&mut Context::from_waker(&world.waker))
}

/// A child that does nothing, and its signal.
fn with_signal() -> (impl Child<Output = ()>, CancelSignal) {
    let mut given = None;
    let child = cancellable(|cancel| {
        given = Some(cancel);
        pending::<()>()
    });
    (child, given.expect("`make` is called at once"))
}

#[test]
fn the_signal_is_looked_at_before_the_future_in_every_poll() {
    let world = World::new();
    let (child, cancel) = with_signal();
    let mut child = pin!(child);
    let (work, later) = (Gate::<u32>::new(), Gate::<u32>::new());
    let probe = |name, gate: &Gate<u32>| Probe::new(name, &world.log, gate).log_polls();

    // What is ready is not kept waiting.
    later.open(1);
    assert_eq!(world.poll(pin!(cancel.run_until_cancelled(probe("at once", &later)))), Poll::Ready(Some(1)));
    world.log.expect("poll at once, end at once, drop at once");

    let mut run = Box::pin(cancel.run_until_cancelled(probe("work", &work)));
    for _ in 0..2 {
        assert!(world.poll(run.as_mut()).is_pending());
        world.log.expect("poll work");
    }
    assert!(poll_child(child.as_mut(), &world).is_pending());
    assert_eq!(child.as_mut().cancel(), OnCancel::Drain);
    assert_eq!(world.wakes.take(), 1);
    // Though it is ready.
    work.open(1);
    assert_eq!(world.poll(run.as_mut()), Poll::Ready(None));
    world.log.expect("");
    drop(run);
    world.log.expect("drop work");
    assert_eq!(world.poll(pin!(cancel.run_until_cancelled(probe("late", &later)))), Poll::Ready(None));
    world.log.expect("drop late");
    assert!(world.poll(pin!(cancel.cancelled())).is_ready());
    // Told twice by a careless hand: woken once.
    child.as_mut().cancel();
    assert!(poll_drain(child.as_mut(), &world).is_pending());
}

/// Each in a place of its own that is polled only when it is woken.
#[test]
fn any_number_may_wait_at_any_depth() {
    for waiters in [0, 1, 2, 64, 300] {
        let told = Cell::new(0);
        let child = cancellable(async |cancel| {
            let mut all = FuturesUnordered::new();
            for _ in 0..waiters {
                all.push(async {
                    let group = (0..2).map(|_| {
                        let cancel = cancel.clone();
                        async move {
                            assert_eq!(cancel.run_until_cancelled(pending::<()>()).await, None);
                            Ok::<(), ()>(())
                        }
                    });
                    group.collect::<gather::Group<_>>().await.unwrap();
                    cancel.cancelled().await;
                    told.set(told.get() + 1);
                });
            }
            while all.next().await.is_some() {}
            Ok::<_, &str>(())
        });
        let failing = async {
            yield_now().await;
            yield_now().await;
            Err::<(), _>("failed")
        };
        let ended = pollster::block_on(gather(vec![LocalBoxChild::new(failing), LocalBoxChild::new(child)]));
        assert_eq!(ended.map(drop), Err("failed"));
        assert_eq!(told.get(), waiters);
    }
}

#[test]
fn waiters_on_other_threads_are_woken() {
    for round in 0..200 {
        let (child, cancel) = with_signal();
        let ended = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (cancel, ended) = (cancel.clone(), &ended);
                scope.spawn(move || {
                    if (round + thread) % 2 == 0 {
                        // Comes and goes first.
                        let yields = cancel.run_until_cancelled(yield_now());
                        let _ = pollster::block_on(yields);
                    }
                    pollster::block_on(cancel.cancelled());
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            }
            pin!(child).cancel();
        });
        assert_eq!(ended.load(Ordering::Relaxed), 4);
    }
}

#[test]
fn the_waker_of_the_last_poll_is_the_one_that_is_woken() {
    let (child, cancel) = with_signal();
    let mut waits = [Box::pin(cancel.cancelled()), Box::pin(cancel.cancelled())];
    let [(first, first_waker), (second, second_waker)] = [Wakes::new(), Wakes::new()];
    for waker in [&first_waker, &second_waker, &second_waker] {
        for wait in &mut waits {
            assert!(wait.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        }
    }
    // The wakers that were replaced are gone.
    assert_eq!(Arc::strong_count(&first), 2);
    assert_eq!(Arc::strong_count(&second), 4);
    // One that goes takes its waker with it.
    let [stays, goes] = waits;
    drop(goes);
    assert_eq!(Arc::strong_count(&second), 3);
    pin!(child).cancel();
    assert_eq!((first.take(), second.take()), (0, 1));
    assert_eq!(Arc::strong_count(&second), 2);
    drop(stays);
}

#[test]
fn each_generation_of_a_restart_has_a_signal_of_its_own() {
    let mut generation = 0;
    let told = Cell::new(0);
    let group = restart(Limit::restarts(5), || {
        generation += 1;
        let fails = generation < 4;
        let told = &told;
        let worker = cancellable(async move |cancel| {
            assert!(!cancel.is_cancelled());
            let Some(()) = cancel
                .run_until_cancelled(async {
                    if fails {
                        pending::<()>().await;
                    }
                })
                .await
            else {
                told.set(told.get() + 1);
                return Ok::<_, &str>("told");
            };
            Ok("done")
        });
        let failing = async move {
            yield_now().await;
            if fails { Err("failed") } else { Ok(()) }
        };
        (worker, failing)
    });
    assert_eq!(pollster::block_on(group), Ok(("done", ())));
    assert_eq!(told.get(), 3);
}

#[test]
fn it_has_the_methods_of_the_adapters() {
    let joined = cancellable(async |_| Ok::<Result<u8, u8>, u8>(Err(1))).flatten().map_err(u32::from);
    let kicked = cancellable(async |cancel| {
        cancel.cancelled().await;
        Ok::<(), u32>(())
    });
    let both = gather((joined.map(|ended| ended), kicked.cancel_when(yield_now()).map(|ended| ended.map_err(|_| 2))));
    let report = pollster::block_on(both.settle().report());
    assert_eq!(report.outcomes.0, Outcome::Failed(1));
    assert_eq!(report.outcomes.1, Outcome::Failed(2));
    let kicked = gather([cancellable(|cancel| async move { cancel.cancelled().await }).cancel_when(ready(()))]);
    assert_eq!(pollster::block_on(kicked), Err(Cancelled));
}

#[test]
fn signals_and_their_children_say_what_they_are() {
    let world = World::new();
    let (child, cancel) = with_signal();
    drop(child);
    assert_eq!(format!("{cancel:?}"), "CancelSignal { cancelled: false, .. }");
    let mut child = pin!(cancellable(|_| pending::<()>()));
    assert_eq!(format!("{child:?}"), "Cancellable { started: false, cancelled: false, .. }");
    assert!(poll_child(child.as_mut(), &world).is_pending());
    child.as_mut().cancel();
    assert_eq!(format!("{child:?}"), "Cancellable { started: true, cancelled: true, .. }");
}

/// Panics when it is woken or cloned, as often as it was told.
struct Panicky {
    wakes: AtomicUsize,
}

impl Wake for Panicky {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        panic!("the waker panics");
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_waker_that_panics_leaves_no_other_one_asleep() {
    // In each place of the list: the first, the last, one in between.
    for panicking in 0..4 {
        let (child, cancel) = with_signal();
        let panicky = Arc::new(Panicky { wakes: AtomicUsize::new(0) });
        let (wakes, calm) = Wakes::new();
        let mut waits: Vec<_> = (0..4).map(|_| Box::pin(cancel.cancelled())).collect();
        for (index, wait) in waits.iter_mut().enumerate() {
            let waker = if index == panicking { Waker::from(panicky.clone()) } else { calm.clone() };
            assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        let mut child = pin!(child);
        assert_eq!(panic_of(|| _ = child.as_mut().cancel()), "the waker panics");
        assert_eq!((panicky.wakes.load(Ordering::Relaxed), wakes.take()), (1, 3));
        for wait in &mut waits {
            assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        }
    }

    // It leaves the group's poll.
    let world = World::new();
    let fail = Gate::<Output>::new();
    let child = cancellable(async |cancel| {
        let mut wait = Box::pin(cancel.cancelled());
        let panicky = Waker::from(Arc::new(Panicky { wakes: AtomicUsize::new(0) }));
        assert!(wait.as_mut().poll(&mut Context::from_waker(&panicky)).is_pending());
        pending::<Output>().await
    });
    let sibling = Probe::new("sibling", &world.log, &Gate::<Output>::new());
    let mut all = pin!(gather((child, fail.clone().wait(), sibling)).into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    fail.open(Err("failed"));
    assert_eq!(panic_of(|| _ = world.poll(all.as_mut())), "the waker panics");
    world.log.expect("drop sibling");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_make_that_panics_makes_no_child() {
    let held = Arc::new(());
    let guard = held.clone();
    let make = move |_| -> std::future::Ready<()> {
        let _guard = guard;
        panic!("no child")
    };
    assert_eq!(panic_of(|| drop(cancellable(make))), "no child");
    assert_eq!(Arc::strong_count(&held), 1);
}

type Act = Box<dyn FnMut()>;

thread_local! {
    /// What the waker below does, on this thread.
    static ACT: RefCell<Option<Act>> = const { RefCell::new(None) };
}

/// Runs foreign code when it is woken.
struct Acting;

impl Wake for Acting {
    fn wake(self: Arc<Self>) {
        let act = ACT.take();
        if let Some(mut act) = act {
            act();
        }
    }
}

#[test]
fn a_waker_may_do_anything_with_the_signal_when_it_is_woken() {
    let (child, cancel) = with_signal();
    let (wakes, calm) = Wakes::new();
    let wait = || {
        let cancel = cancel.clone();
        Some(Box::pin(async move { cancel.cancelled().await }))
    };
    let mut waits: Vec<_> = (0..5).map(|_| wait()).collect();
    for (index, wait) in waits.iter_mut().enumerate() {
        let waker = if index == 2 { Waker::from(Arc::new(Acting)) } else { calm.clone() };
        assert!(wait.as_mut().unwrap().as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let acted = std::rc::Rc::new(Cell::new(false));
    let done = acted.clone();
    let mut gone = Some([waits[0].take(), waits[4].take()]);
    ACT.set(Some(Box::new(move || {
        // Drops some that wait, one of them woken and one not yet; waits anew; looks.
        drop(gone.take());
        assert!(cancel.is_cancelled());
        assert!(pin!(cancel.cancelled()).poll(&mut Context::from_waker(Waker::noop())).is_ready());
        done.set(true);
    })));
    pin!(child).cancel();
    assert!(acted.get());
    // The one that was dropped before its turn may be woken or not.
    assert!((3..=4).contains(&wakes.take()));
}

#[test]
fn run_until_cancelled_takes_little_more_than_its_future() {
    let (_child, cancel) = with_signal();
    let future = || {
        let large = [7_u8; 1000];
        poll_fn(move |_| Poll::Ready(large[3]))
    };
    assert!(size_of_val(&cancel.run_until_cancelled(future())) <= size_of_val(&future()) + 3 * size_of::<usize>());
    assert_eq!(size_of::<CancelSignal>(), size_of::<usize>());
}
