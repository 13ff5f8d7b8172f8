//! Groups as children: gathers and restarts in a gather or a restart, cancelled by their own handshake.

use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::kit::{
    self, Any, CONTAINERS, Container, FIXED, Gate, Output, Probe, World, boxed, hold_in, holding, panic_of,
};
use gather::{
    CancelExt, Cancelled, Cause, Child, Failure, GatherError, Limit, LocalBoxChild, Outcome, RestartError, gather,
    restart,
};

fn told<'a>(world: &'a World, name: &'static str, gate: &Gate<Output>) -> impl Child<Output = Output> + use<'a> {
    Probe::new(name, &world.log, gate).on_cancel(|child| world.log.push(format!("tell {}", child.name)))
}

#[test]
fn cancelled_by_its_parent_it_tells_drops_and_drains_its_own_children() {
    let world = World::new();
    let (gate, fail) = (Gate::new(), Gate::<Output>::new());
    let inner = gather((told(&world, "a", &gate), Probe::new("b", &world.log, &Gate::<Output>::new())));
    let mut outer = pin!(
        gather((
            told(&world, "first", &gate),
            inner,
            Probe::new("last", &world.log, &Gate::<Output>::new()),
            fail.clone().wait(),
        ))
        .into_future()
    );
    assert!(world.poll(outer.as_mut()).is_pending());
    fail.open(Err("failed"));
    assert!(world.poll(outer.as_mut()).is_pending());
    // In index order, the inner ones in their parent's place; all plain ones are gone before any is polled again.
    world.log.expect("tell first, tell a, drop b, drop last");
    // The second pass of the drain begins behind the first child.
    gate.open(Ok(1));
    assert!(world.poll(outer.as_mut()).is_pending());
    world.log.expect("end a, drop a");
    gate.open(Ok(1));
    assert_eq!(world.poll(outer.as_mut()), Poll::Ready(Err("failed")));
    world.log.expect("end first, drop first");
}

#[test]
fn one_that_was_never_polled_tells_its_children_too() {
    let world = World::new();
    let gate = Gate::new();
    gate.open(Ok(1));
    let inner = gather(vec![told(&world, "a", &gate)]);
    let mut outer = pin!(gather((ready(Err::<(), _>("failed")), inner)).into_future());
    assert_eq!(world.poll(outer.as_mut()), Poll::Ready(Err("failed")));
    world.log.expect("tell a, end a, drop a");
}

#[test]
fn an_async_block_around_a_group_is_a_plain_child() {
    let world = World::new();
    let fail = Gate::<Output>::new();
    let inner = || gather([told(&world, "a", &Gate::new())]);
    let wrapped = async { inner().await };
    let mut outer = pin!(gather((wrapped, fail.clone().wait())).into_future());
    assert!(world.poll(outer.as_mut()).is_pending());
    fail.open(Err("failed"));
    // It is dropped, and its child with it, untold.
    assert_eq!(world.poll(outer.as_mut()), Poll::Ready(Err("failed")));
    world.log.expect("drop a");
    // So is the future of a group, which is one like any other.
    let report = gather((inner().into_future(), ready(Err::<(), _>("failed")))).report();
    assert_eq!(pollster::block_on(report).outcomes.0, Outcome::Dropped);
    world.log.expect("drop a");
}

#[test]
fn one_of_nobody_that_was_never_polled_has_nobody_to_tell() {
    let none = || Vec::<std::future::Ready<Output>>::new();
    let reporting = gather(none()).report().map(|report| report.into_result());
    let outer = gather((ready(Err::<(), _>("failed")), gather(none()), reporting));
    let report = pollster::block_on(outer.report());
    assert_eq!(report.cause, Cause::Failed(0));
    assert_eq!(report.outcomes.1, Outcome::Drained(None));
    assert_eq!(report.outcomes.2, Outcome::Drained(Some(Err(GatherError::Cancelled))));
}

#[test]
fn a_cause_that_was_set_before_stands() {
    let world = World::new();
    let (gate, fail, seen) = (Gate::new(), Gate::<Output>::new(), Cell::new(None));
    let inner = gather((told(&world, "a", &gate), ready(Err::<(), _>("inner"))));
    let mut outer = pin!(
        gather((
            inner.map(|result| {
                seen.set(Some(result));
                Ok(())
            }),
            fail.clone().wait()
        ))
        .into_future()
    );
    assert!(world.poll(outer.as_mut()).is_pending());
    world.log.expect("tell a");
    fail.open(Err("outer"));
    assert!(world.poll(outer.as_mut()).is_pending());
    world.log.expect("");
    gate.open(Ok(1));
    assert_eq!(world.poll(outer.as_mut()), Poll::Ready(Err("outer")));
    assert_eq!(seen.take(), Some(Err("inner")));
}

#[test]
fn it_ends_without_a_result_or_with_cancelled_or_a_report_if_it_can_say_so() {
    let seen = Cell::new(0);
    let inner = || gather([pending::<Result<(), &str>>()]);
    let outer = gather((
        inner().map(|result| {
            seen.set(seen.get() + 1);
            result.map(|_| ())
        }),
        inner().cancel_when(pending::<()>()).map(|result| {
            assert_eq!(result, Err(Cancelled));
            seen.set(seen.get() + 10);
            Ok(())
        }),
        inner().report().map(|report| {
            assert_eq!((report.cause, report.outcomes), (Cause::Cancelled, [Outcome::Dropped]));
            seen.set(seen.get() + 100);
            Ok(())
        }),
        ready(Err::<(), _>("failed")),
    ));
    assert_eq!(pollster::block_on(outer), Err("failed"));
    assert_eq!(seen.get(), 110);
}

#[test]
fn its_own_signal_and_its_failure_are_its_own() {
    let fires = gather([pending::<Output>()]).cancel_when(ready(()));
    let outer = gather((fires.map(Ok::<_, ()>), ready(Ok(1))));
    assert_eq!(pollster::block_on(outer), Ok((Err(Cancelled), 1)));

    let fails = gather((ready(Err::<(), _>("inner")), pending::<Output>()));
    assert_eq!(pollster::block_on(gather((fails, pending::<Output>()))), Err("inner"));
}

#[test]
fn its_own_grace_ends_its_drain() {
    let world = World::new();
    let over = Gate::new();
    let inner = gather([told(&world, "a", &Gate::new())]).grace(|| over.clone().wait());
    let mut outer = pin!(gather((inner, ready(Err::<(), _>("failed")))).into_future());
    assert!(world.poll(outer.as_mut()).is_pending());
    over.open(());
    assert_eq!(world.poll(outer.as_mut()), Poll::Ready(Err("failed")));
    world.log.expect("tell a, drop a");
}

#[test]
fn the_grace_of_the_parent_drops_it_with_all_it_holds() {
    let world = World::new();
    let inner = gather([told(&world, "a", &Gate::new())]);
    let outer = gather((inner, ready(Err::<(), _>("failed")))).grace(|| ready(()));
    assert_eq!(pollster::block_on(outer), Err("failed"));
    world.log.expect("tell a, drop a");
}

#[test]
fn groups_nest_to_any_depth_in_one_poll() {
    type Boxed = gather::LocalBoxChild<'static, Result<u32, ()>>;
    fn tree(width: u32, depth: u32) -> Boxed {
        match depth {
            0 => Boxed::new(ready(Ok(1))),
            _ => {
                let children: Vec<Boxed> = (0..width).map(|_| tree(width, depth - 1)).collect();
                Boxed::new(gather(children).map(|sums| sums.map(|sums| sums.iter().sum::<u32>() + 1)))
            }
        }
    }
    let world = World::new();
    assert_eq!(world.poll(pin!(gather([tree(5, 4)]).into_future())), Poll::Ready(Ok([781])));
}

/// In which state an inner restart is when its parent cancels it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Unpolled,
    Running,
    Draining,
    Between,
    BackingOff,
}

/// How its parent comes to cancel it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Parent {
    GatherFails,
    GatherIsCancelled,
    RestartFails,
}

#[test]
fn a_restart_in_a_group_is_cancelled_by_its_own_handshake_in_every_state() {
    use State::{BackingOff, Between, Draining, Running, Unpolled};
    for state in [Unpolled, Running, Draining, Between, BackingOff] {
        for parent in [Parent::GatherFails, Parent::GatherIsCancelled, Parent::RestartFails] {
            for container in CONTAINERS {
                let _at = kit::At(format!("{state:?}, {parent:?}, {container:?}"));
                is_cancelled_in(state, parent, container);
            }
        }
    }
}

fn is_cancelled_in(state: State, parent: Parent, container: Container) {
    let world = World::new();
    let (log, stop, over) = (&world.log, Gate::<Output>::new(), Gate::new());
    let (a, b) = (Gate::<Output>::new(), Gate::<Output>::new());
    let make = || {
        let inner = || {
            log.push("make");
            (told(&world, "a", &a), Probe::new("b", log, &b))
        };
        let inner = restart(Limit::unlimited(), inner).backoff(|_| Probe::new("backoff", log, &over));
        let sibling: LocalBoxChild<'_, Output> = match parent {
            Parent::GatherIsCancelled => LocalBoxChild::new(pending()),
            _ => LocalBoxChild::new(stop.clone().wait()),
        };
        [sibling, LocalBoxChild::new(inner.map(|ended| panic!("it ends without a result: {ended:?}")))]
    };
    let mut outer = hold_in!(container, (a b), |hold| match parent {
        Parent::GatherFails => {
            let all = gather(hold(make()));
            boxed(async move { assert_eq!(all.await.map(drop), Err("stop")) })
        }
        Parent::GatherIsCancelled => {
            let all = gather(hold(make())).cancel_when(stop.clone().wait());
            boxed(async move { assert_eq!(all.await.map(drop), Err(Cancelled)) })
        }
        Parent::RestartFails => {
            let group = restart(Limit::unlimited(), holding(make, hold));
            boxed(async move { assert_eq!(group.await.map(drop), Ok(())) })
        }
    });
    let quiesce = |outer: &mut Any<'_, ()>, expected: &str| {
        let polled = world.quiesce(outer.as_mut()).0;
        log.expect(expected);
        polled
    };
    if state != State::Unpolled {
        assert!(quiesce(&mut outer, "make").is_pending());
    }
    match state {
        State::Unpolled | State::Running => {}
        State::Draining => {
            b.open(Err("b"));
            assert!(quiesce(&mut outer, "end b, drop b, tell a").is_pending());
        }
        State::Between => {
            // No `quiesce`, which would go on to the next generation.
            over.open(());
            a.open(Err("a"));
            assert!(world.poll(outer.as_mut()).is_pending());
            log.expect("end a, drop a, drop b, end backoff, drop backoff");
        }
        State::BackingOff => {
            a.open(Err("a"));
            assert!(quiesce(&mut outer, "end a, drop a, drop b").is_pending());
        }
    }
    stop.open(Err("stop"));
    // If the parent is a restart, it makes it again.
    let make = if parent == Parent::RestartFails { "make" } else { "" };
    let comma = if make.is_empty() { "" } else { ", " };
    let polled = match (state, parent) {
        (State::Running | State::Draining, _) | (State::Between, Parent::GatherIsCancelled) => {
            let cancelled = match state {
                State::Running => "tell a, drop b",
                State::Draining => "",
                // The signal of a gather is polled after its children, of which this one was woken.
                _ => "make, tell a, drop b",
            };
            assert!(quiesce(&mut outer, cancelled).is_pending());
            // It fails in its drain: no other generation of its own.
            a.open(Err("late"));
            quiesce(&mut outer, &format!("end a, drop a{comma}{make}"))
        }
        (State::Unpolled | State::Between, _) => quiesce(&mut outer, make),
        (State::BackingOff, _) => quiesce(&mut outer, &format!("drop backoff{comma}{make}")),
    };
    assert_eq!(polled.is_ready(), parent != Parent::RestartFails);
}

#[test]
fn a_backoff_is_dropped_in_its_turn_when_the_parent_cancels() {
    for container in CONTAINERS {
        let _at = kit::At(format!("{container:?}"));
        let world = World::new();
        let (log, fail) = (&world.log, Gate::<Output>::new());
        let inner = restart(Limit::unlimited(), || [ready(Output::Err("failed"))]);
        let inner = inner.backoff(|_| Probe::new("backoff", log, &Gate::<()>::new()));
        let children = [
            LocalBoxChild::new(inner.map(|ended| ended.map(|[value]| value).map_err(RestartError::into_source))),
            LocalBoxChild::new(Probe::new("plain", log, &Gate::new())),
            LocalBoxChild::new(fail.clone().wait()),
        ];
        let mut all = kit::gather_in!(container, children, |all| all);
        assert!(world.quiesce(all.as_mut()).0.is_pending());
        fail.open(Err("parent"));
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err("parent")));
        log.expect("drop backoff, drop plain");
    }
}

#[test]
fn one_that_gives_up_is_a_failure_of_its_child_and_counts_anew() {
    for container in CONTAINERS {
        let _at = kit::At(format!("{container:?}"));
        let seen = RefCell::new(vec![]);
        let minute = Duration::from_secs(60);
        let make = || {
            let inner = restart(Limit::within(1, minute, || Duration::ZERO), || [ready(Err::<(), _>("failed"))]);
            let inner = inner.observe(|f| seen.borrow_mut().push(format!("{} {} {}", f.index, f.restarts, f.recent)));
            [LocalBoxChild::new(pending()), LocalBoxChild::new(inner)]
        };
        let result = hold_in!(container, (a b), |hold| {
            let outer = restart(Limit::restarts(2), holding(make, hold));
            let outer = outer.observe(|f| {
                seen.borrow_mut().push(format!("outer {} {} {}", f.index, f.error, f.restarts));
            });
            pollster::block_on(outer).map(drop)
        });
        let inner = RestartError::LimitReached { restarts: 1, source: "failed" };
        assert_eq!(result, Err(RestartError::LimitReached { restarts: 2, source: inner }));
        let outer = "outer 1 limit reached after 1 restarts";
        let expected: Vec<_> =
            (0..3).flat_map(|made| ["0 0 0".into(), "0 1 1".into(), format!("{outer} {made}")]).collect();
        assert_eq!(*seen.borrow(), expected);
    }
    // Also one that was refused by its own `when`.
    let refused = restart(Limit::unlimited(), || [ready(Err::<(), _>("failed"))]).when(|_| false);
    let error = RestartError::NotRetried { restarts: 0, source: "failed" };
    assert_eq!(pollster::block_on(gather((pending(), refused))), Err::<((), _), _>(error));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_factory_that_panics_within_a_parent_leaves_nothing_alive() {
    for generation in [1, 2] {
        for parent_restarts in [false, true] {
            for container in FIXED {
                let _at = kit::At(format!("{generation}, {parent_restarts}, {container:?}"));
                let (world, made, outer_made) = (World::new(), Cell::new(0), Cell::new(0));
                let (log, fail) = (&world.log, Gate::<Output>::new());
                let make = || {
                    outer_made.set(outer_made.get() + 1);
                    let inner = restart(Limit::unlimited(), || {
                        made.set(made.get() + 1);
                        assert!(made.get() != generation, "factory");
                        (told(&world, "a", &Gate::new()), fail.clone().wait())
                    });
                    let inner = inner.grace(|| ready(())).map(|ended| ended.map(|_| 0));
                    let error = |error: RestartError<&'static str>| error.into_source();
                    [
                        LocalBoxChild::new(told(&world, "first", &Gate::new())),
                        LocalBoxChild::new(inner.map(move |ended| ended.map_err(error))),
                        LocalBoxChild::new(Probe::new("last", log, &Gate::new())),
                    ]
                };
                let mut outer = hold_in!(container, (a b c), |hold| match parent_restarts {
                    false => {
                        let all = gather(hold(make()));
                        boxed(async move { assert!(all.await.is_err()) })
                    }
                    true => {
                        let group = restart(Limit::unlimited(), holding(make, hold));
                        boxed(async move { drop(group.await) })
                    }
                });
                if generation == 2 {
                    assert!(world.poll(outer.as_mut()).is_pending());
                    log.expect("");
                    fail.open(Err("failed"));
                    assert!(world.poll(outer.as_mut()).is_pending());
                    log.expect("tell a, drop a");
                }
                assert_eq!(panic_of(|| _ = world.poll(outer.as_mut())), "factory");
                log.expect("drop first, drop last");
                assert_eq!((made.get(), outer_made.get()), (generation, 1));
            }
        }
    }
}

#[test]
fn the_settings_of_a_restart_come_in_any_order() {
    for order in 0..3 {
        let _at = kit::At(format!("order {order}"));
        let world = World::new();
        let log = &world.log;
        let (fail, signal, next) = (Gate::<Output>::new(), Gate::new(), Gate::new());
        let make = || {
            log.push("make");
            (told(&world, "a", &Gate::new()), Probe::new("b", log, &fail))
        };
        let group = || restart(Limit::unlimited(), make);
        let when = |failure: &Failure<'_, &str>| {
            log.push(format!("when {}", failure.error));
            true
        };
        let observe = |failure: &Failure<'_, &str>| log.push(format!("observe {}", failure.error));
        let backoff = |failure: &Failure<'_, &str>| {
            log.push(format!("backoff {}", failure.error));
            next.clone().wait()
        };
        let grace = || {
            log.push("grace");
            ready(())
        };
        let signalled = signal.clone().wait();
        let child = match order {
            0 => LocalBoxChild::new(
                group().when(when).observe(observe).backoff(backoff).grace(grace).cancel_when(signalled),
            ),
            1 => LocalBoxChild::new(
                group().cancel_when(signalled).grace(grace).backoff(backoff).observe(observe).when(when),
            ),
            _ => LocalBoxChild::new(
                group().backoff(backoff).grace(grace).when(when).cancel_when(signalled).observe(observe),
            ),
        };
        let mut outer = pin!(gather([child.map(|ended| ended.map(drop))]).into_future());
        assert!(world.quiesce(outer.as_mut()).0.is_pending());
        log.expect("make");
        fail.open(Err("failed"));
        assert!(world.quiesce(outer.as_mut()).0.is_pending());
        log.expect("end b, drop b, observe failed, tell a, grace, drop a, when failed, backoff failed");
        next.open(());
        assert!(world.quiesce(outer.as_mut()).0.is_pending());
        log.expect("make");
        signal.open(());
        assert_eq!(world.quiesce(outer.as_mut()).0, Poll::Ready(Err(Cancelled)));
        log.expect("tell a, drop b, grace, drop a");
    }
}

fn assert_send<T: Send>(future: T) -> T {
    future
}

#[test]
fn groups_of_groups_are_send_if_their_children_are() {
    let all = assert_send(gather((gather(vec![ready(Ok::<_, ()>(1))]), ready(Ok(2)))).into_future());
    assert_eq!(pollster::block_on(all), Ok((vec![1], 2)));
}
