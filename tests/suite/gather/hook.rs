//! `on_cancel` of a group: when it is called, with which cause, and when it is not.

use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use crate::kit::{
    At, CONTAINERS, Flatten as _, Gate, Log, Output, Probe, World, boxed, gather_in, in_container, panic_of,
};
use gather::{CancelExt, Cancelled, Cause, Child, Limit, LocalBoxChild, gather, restart};

/// Called with a cause; logs its drop.
fn logs(log: &Log) -> impl FnOnce(Cause) + use<> {
    let (token, log) = (log.token("hook"), log.clone());
    move |cause| {
        log.push(format!("hook {cause:?}"));
        drop(token);
    }
}

fn told(world: &World, name: &'static str) -> (impl Child<Output = Output> + use<>, Gate<Output>) {
    let (probe, gate) = world.probe(name);
    let log = world.log.clone();
    (probe.on_cancel(move |_| log.push(format!("tell {name}"))), gate)
}

#[test]
fn it_is_called_once_before_anyone_is_told_and_after_the_signal_is_gone() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        for by_signal in [true, false] {
            let world = World::new();
            let ((a, gate_a), (b, gate_b), (c, gate_c)) = (told(&world, "a"), told(&world, "b"), told(&world, "c"));
            let children = [LocalBoxChild::new(a), LocalBoxChild::new(b), LocalBoxChild::new(c)];
            let signal = Gate::<()>::new();
            let mut group = gather_in!(container, children, |group| {
                let group = group.cancel_when(Probe::new("signal", &world.log, &signal)).on_cancel(logs(&world.log));
                group.grace(|| Probe::<()>::new("grace", &world.log, &Gate::new()).quiet())
            });
            assert!(world.poll(group.as_mut()).is_pending());
            world.log.expect("");
            let result = match by_signal {
                true => {
                    signal.open(());
                    gate_b.open(Err("late"));
                    assert!(world.poll(group.as_mut()).is_pending());
                    world
                        .log
                        .expect("end signal, drop signal, end b, drop b, hook Failed(1), drop hook, tell a, tell c");
                    Ok(Err("late"))
                }
                false => {
                    gate_b.open(Err("b"));
                    assert!(world.poll(group.as_mut()).is_pending());
                    world.log.expect("end b, drop b, drop signal, hook Failed(1), drop hook, tell a, tell c");
                    Ok(Err("b"))
                }
            };
            // Not a second time: not for a signal, nor for another failure.
            signal.open(());
            gate_a.open(Err("a"));
            assert!(world.poll(group.as_mut()).is_pending());
            world.log.expect("end a, drop a");
            gate_c.open(Ok(1));
            assert_eq!(world.poll(group.as_mut()), Poll::Ready(result));
            world.log.expect("end c, drop c, drop grace");
        }
    }
}

#[test]
fn a_token_that_the_children_share_is_seen_by_all_of_them_in_that_poll() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let stop = Rc::new(Cell::new(false));
        let worker = |name| {
            let (stop, log) = (stop.clone(), world.log.clone());
            std::future::poll_fn(move |_| {
                log.push(format!("{name} {}", stop.get()));
                if stop.get() { Poll::Ready(Ok(0)) } else { Poll::Pending }
            })
        };
        let fails = Gate::<Output>::new();
        let children = [
            LocalBoxChild::new(worker("a").shield()),
            LocalBoxChild::new(fails.clone().wait()),
            LocalBoxChild::new(worker("c").shield()),
        ];
        let sets = stop.clone();
        let mut group = gather_in!(container, children, |group| group.on_cancel(move |_| sets.set(true)));
        assert!(world.poll(group.as_mut()).is_pending());
        world.log.expect("a false, c false");
        fails.open(Err("b"));
        assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err("b")));
        assert!(world.log.take().ends_with(&["a true".into(), "c true".into()]));
    }
}

#[test]
fn each_cause_and_each_policy() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let cause = Cell::new(None);
        let seen = || cause.take();
        let children = |outputs: [Output; 3]| outputs.map(ready);
        macro_rules! causes {
            ($outputs:expr, |$group:ident| $set:expr) => {{
                let make = || children($outputs);
                let future = in_container!(container, make(), |$group| {
                    let $group = $group.on_cancel(|seen| assert!(cause.replace(Some(seen)).is_none()));
                    let future = $set.into_future();
                    boxed(async { _ = future.await })
                });
                pollster::block_on(future);
                seen()
            }};
        }
        let failing = [Ok(0), Err("b"), Err("c")];
        assert_eq!(causes!(failing, |group| group), Some(Cause::Failed(1)));
        assert_eq!(causes!(failing, |group| group.report()), Some(Cause::Failed(1)));
        assert_eq!(causes!(failing, |group| group.any()), Some(Cause::Won(0)));
        assert_eq!(causes!([Err("a"), Ok(1), Ok(2)], |group| group.any().report()), Some(Cause::Won(1)));
        assert_eq!(causes!(failing, |group| group.race()), Some(Cause::Won(0)));
        assert_eq!(causes!(failing, |group| group.settle()), None);
        assert_eq!(causes!(failing, |group| group.settle().report()), None);
        assert_eq!(causes!([Ok(0); 3], |group| group), None);
        assert_eq!(causes!([Err("e"); 3], |group| group.any()), None);
        let fired = || ready(());
        assert_eq!(causes!(failing, |group| group.settle().cancel_when(fired())), Some(Cause::Cancelled));
        assert_eq!(causes!(failing, |group| group.cancel_when(fired()).cancel_in_reverse()), Some(Cause::Cancelled));
    }
}

#[test]
fn it_is_not_called_but_dropped_when_the_group_completes_or_is_dropped_or_panics() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let children = [1, 2, 3].map(|value| world.ready("child", Ok::<u32, &str>(value)));
        let mut group = gather_in!(container, children, |group| group.on_cancel(logs(&world.log)));
        assert_eq!(world.poll(group.as_mut()), Poll::Ready(Ok(vec![1, 2, 3])));
        let happened = world.log.take();
        assert_eq!(happened.iter().filter(|entry| *entry == "drop hook").count(), 1);
        assert!(!happened.iter().any(|entry| entry.starts_with("hook")));
        drop(group);
        world.log.expect("");

        let children = [1, 2, 3].map(|_| pending::<Output>());
        let mut group = gather_in!(container, children, |group| group.on_cancel(logs(&world.log)));
        assert!(world.poll(group.as_mut()).is_pending());
        drop(group);
        world.log.expect("drop hook");

        // Never polled.
        let children = [1, 2, 3].map(|_| pending::<Output>());
        drop(gather_in!(container, children, |group| group.on_cancel(logs(&world.log))));
        world.log.expect("drop hook");

        let panics = || LocalBoxChild::new(async { panic!("child") });
        let children = [LocalBoxChild::new(pending::<Output>()), panics(), panics()];
        let mut group = gather_in!(container, children, |group| group.on_cancel(logs(&world.log)));
        assert_eq!(panic_of(|| _ = world.poll(group.as_mut())), "child");
        world.log.expect("drop hook");
    }
}

#[test]
fn it_is_called_though_nobody_is_left_to_be_told() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let ((a, gate_a), (b, gate_b), (c, gate_c)) = (told(&world, "a"), told(&world, "b"), told(&world, "c"));
        let mut group =
            gather_in!(container, [a, b, c].map(LocalBoxChild::new), |group| group.on_cancel(logs(&world.log)));
        [&gate_a, &gate_b].into_iter().for_each(|gate| gate.open(Ok(0)));
        assert!(world.poll(group.as_mut()).is_pending());
        world.log.take();
        gate_c.open(Err("c"));
        assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err("c")));
        world.log.expect("end c, drop c, hook Failed(2), drop hook");
    }
}

#[test]
fn a_panic_of_it_drops_the_children_untold() {
    for container in CONTAINERS {
        for in_reverse in [false, true] {
            let _at = At(format!("{container:?}, in reverse: {in_reverse}"));
            let world = World::new();
            let ((a, _), (b, gate), (c, _)) = (told(&world, "a"), told(&world, "b"), told(&world, "c"));
            let mut group = in_container!(container, [a, b, c].map(LocalBoxChild::new), |group| {
                let group = group.on_cancel(|_| panic!("hook")).grace(|| async { unreachable!("nobody drains") });
                match in_reverse {
                    false => boxed(async { group.await.flatten() }),
                    true => boxed(async { group.cancel_in_reverse().await.flatten() }),
                }
            });
            assert!(world.poll(group.as_mut()).is_pending());
            gate.open(Err("b"));
            assert_eq!(panic_of(|| _ = world.poll(group.as_mut())), "hook");
            world.log.expect("end b, drop b, drop a, drop c");
        }
    }
    // Within a group that a parent cancels: the panic is the parent's.
    let world = World::new();
    let inner = gather([told(&world, "a").0]).on_cancel(|_| panic!("hook"));
    let mut outer = pin!(gather((inner, told(&world, "b").0, ready(Err::<(), _>("failed")))).into_future());
    assert_eq!(panic_of(|| _ = world.poll(outer.as_mut())), "hook");
    world.log.expect("drop a, drop b");
}

#[test]
fn a_parent_calls_those_of_the_groups_within_as_it_tells_them() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let log = &world.log;
        let (fails, done) = (Gate::<Output>::new(), Gate::<Output>::new());
        // It ends before.
        let first = gather([done.clone().wait()]).on_cancel(logs(log)).map(|result| result.map(|[value]| value));
        let second = gather([told(&world, "x").0]).on_cancel(logs(log)).map(|result| result.map(|[value]| value));
        let children =
            [LocalBoxChild::new(first), LocalBoxChild::new(second), LocalBoxChild::new(fails.clone().wait())];
        let mut group = gather_in!(container, children, |group| {
            group.on_cancel(|cause| log.push(format!("outer hook {cause:?}")))
        });
        done.open(Ok(0));
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("drop hook");
        fails.open(Err("c"));
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("outer hook Failed(2), hook Cancelled, drop hook, tell x");
        drop(group);
        log.expect("drop x");
    }
    // Without children, and never polled.
    let world = World::new();
    let inner = gather(Vec::<std::future::Ready<Output>>::new()).on_cancel(logs(&world.log));
    assert_eq!(pollster::block_on(gather((ready(Err::<(), _>("failed")), inner))), Err("failed"));
    world.log.expect("hook Cancelled, drop hook");
}

#[test]
fn of_a_restart_it_is_called_for_each_generation_that_is_cancelled() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let log = &world.log;
        let generations: Rc<RefCell<Vec<Gate<Output>>>> = Rc::default();
        let made = generations.clone();
        let make = || {
            let gate = Gate::new();
            made.borrow_mut().push(gate.clone());
            [LocalBoxChild::new(told(&world, "a").0), LocalBoxChild::new(gate.wait()), LocalBoxChild::new(pending())]
        };
        let (signal, backoff) = (Gate::<()>::new(), Gate::<()>::new());
        let end = |output| generations.borrow().last().unwrap().open(output);
        let mut group = crate::kit::hold_in!(container, (a b c), |hold| {
            let group = restart(Limit::unlimited(), crate::kit::holding(make, hold))
                .observe(|failure| log.push(format!("observe {}", failure.error)))
                .on_cancel(|cause| log.push(format!("hook {cause:?}")))
                .backoff(|_| backoff.clone().wait())
                .cancel_when(signal.clone().wait())
                .grace(|| ready(()));
            boxed(async { group.await.map(|_| ()) })
        });
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("");
        for error in ["first", "second"] {
            end(Err(error));
            assert!(world.poll(group.as_mut()).is_pending());
            log.expect(&format!("observe {error}, hook Failed(1), tell a, drop a"));
            backoff.open(());
            assert!(world.quiesce(group.as_mut()).0.is_pending());
            log.expect("");
        }
        assert_eq!(generations.borrow().len(), 3);
        signal.open(());
        assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err(Cancelled)));
        log.expect("hook Cancelled, tell a, drop a");
    }
}

#[test]
fn of_a_restart_it_is_not_called_between_generations_nor_before_the_first_nor_when_one_completes() {
    let world = World::new();
    let log = &world.log;
    let signal = Gate::<()>::new();
    let hook = |cause| log.push(format!("hook {cause:?}"));
    let group = restart(Limit::unlimited(), || [ready(Err::<(), _>("failed"))]).on_cancel(hook);
    let mut group = pin!(group.backoff(|_| pending::<()>()).cancel_when(signal.clone().wait()).into_future());
    assert!(world.poll(group.as_mut()).is_pending());
    log.expect("hook Failed(0)");
    signal.open(());
    assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err(Cancelled)));
    log.expect("");

    let calm = restart(Limit::unlimited(), || [ready(Ok::<_, &str>(1))]).on_cancel(hook);
    assert_eq!(pollster::block_on(calm), Ok([1]));
    let never = restart(Limit::unlimited(), || [pending::<Output>()]).on_cancel(hook);
    assert_eq!(pollster::block_on(never.cancel_when(ready(()))), Err(Cancelled));
    log.expect("");
}

/// A hook that borrows keeps the group `Send` also where the compiler has erased lifetimes (rust-lang/rust#102211).
#[tokio::test]
async fn hooks_that_borrow_run_in_a_spawned_task() {
    async fn work(failed: &AtomicUsize, cancelled: &AtomicUsize) -> usize {
        let child = |name: &'static str| async move {
            tokio::task::yield_now().await;
            Err::<(), &str>(name)
        };
        let count = |cause: Cause| {
            let counter = if cause == Cause::Cancelled { cancelled } else { failed };
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let inner = gather(vec![child("x")].into_iter().map(|child| child.finally(|| async {})).collect::<Vec<_>>())
            .on_cancel(count)
            .cancel_in_reverse();
        let pair = gather((inner, pending::<Result<(), &str>>().finally(|| async { count(Cause::Cancelled) })));
        assert!(pair.on_cancel(count).cancel_in_reverse().grace(pending::<()>).await.is_err());
        let group = restart(Limit::restarts(2), || (child("a"), pending::<Result<(), &str>>().cleanup(|| async {})));
        assert!(group.on_cancel(count).cancel_in_reverse().await.is_err());
        failed.load(Ordering::Relaxed)
    }

    let task = tokio::spawn(async {
        let (failed, cancelled) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let failures = work(&failed, &cancelled).await;
        (failures, cancelled.into_inner())
    });
    assert_eq!(task.await.unwrap(), (5, 1));
}
