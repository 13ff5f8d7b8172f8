//! The report of a restart: why it ended, what became of the last generation, how often it was restarted.

use std::cell::Cell;
use std::future::{pending, ready};
use std::rc::Rc;
use std::task::Poll;

use gather::{CancelExt, Cause, GatherError, GivenUp, Limit, Outcome, gather, restart};

use crate::kit;
use crate::kit::{Flatten as _, Gate, World, hold_in, holding};

type Output = Result<u32, &'static str>;

/// A told child that ends with an error once it was told.
fn told(world: &World) -> impl gather::Child<Output = Output> {
    let told = Rc::new(Cell::new(false));
    let log = world.log.clone();
    let seen = told.clone();
    std::future::poll_fn(move |_| if seen.get() { Poll::Ready(Err("late")) } else { Poll::Pending }).on_cancel(
        move |_| {
            log.push("tell");
            told.set(true);
        },
    )
}

#[test]
fn it_tells_of_the_last_generation_in_every_container() {
    for container in kit::FIXED {
        let _at = kit::At(format!("{container:?}"));
        let world = World::new();
        let mut generation = 0;
        hold_in!(container, (a b), |hold| {
            // Fails twice, and completes.
            let make = holding(
                || {
                    generation += 1;
                    [ready(Ok::<_, &str>(1)), ready(if generation < 3 { Err("failed") } else { Ok(generation) })]
                },
                hold,
            );
            let report = pollster::block_on(restart(Limit::restarts(5), make).report());
            assert_eq!((report.cause, report.restarts, report.given_up), (Cause::Completed, 2, None));
            assert_eq!(report.outcomes.flatten(), [Outcome::Done(1), Outcome::Done(3)]);
        });
        hold_in!(container, (a b), |hold| {
            let make = holding(|| [ready(Err::<u32, _>("failed")), ready(Ok(2))], hold);
            let report = pollster::block_on(restart(Limit::restarts(1), make).report());
            assert_eq!((report.cause, report.restarts), (Cause::Failed(0), 1));
            assert_eq!(report.given_up, Some(GivenUp::LimitReached));
            assert_eq!(report.to_string(), "child 0 failed, after 1 restarts");
            assert_eq!(report.outcomes.flatten(), [Outcome::Failed("failed"), Outcome::Dropped]);
        });
        hold_in!(container, (a b), |hold| {
            let make = holding(|| [ready(Ok(1)), ready(Err::<u32, _>("failed"))], hold);
            let report = pollster::block_on(restart(Limit::restarts(1), make).when(|_| false).report());
            assert_eq!(report.given_up, Some(GivenUp::NotRetried));
            assert_eq!(report.outcomes.flatten(), [Outcome::Done(1), Outcome::Failed("failed")]);
        });
        // What comes late in the drain of a cancelled generation is not lost.
        let signal = Gate::new();
        hold_in!(container, (a b), |hold| {
            let make = holding(|| [told(&world), told(&world)], hold);
            let group = restart(Limit::unlimited(), make).cancel_when(signal.clone().wait()).report();
            let mut group = Box::pin(group.into_future());
            assert!(world.poll(group.as_mut()).is_pending());
            signal.open(());
            let Poll::Ready(report) = world.poll(group.as_mut()) else { panic!("both end when they are told") };
            assert_eq!((report.cause, report.restarts, report.given_up), (Cause::Cancelled, 0, None));
            let late = Outcome::Drained(Some(Err("late")));
            assert_eq!(report.outcomes.flatten(), [late, late]);
        });
    }
}

#[test]
fn cancelled_between_generations_it_tells_of_the_one_before() {
    let (world, signal, pause) = (World::new(), Gate::new(), Gate::<()>::new());
    let group = restart(Limit::unlimited(), || (ready(Ok::<_, &str>(1)), ready(Err::<u32, _>("failed"))));
    let group = group.backoff(|_| pause.clone().wait()).cancel_when(signal.clone().wait()).report();
    let mut group = Box::pin(group.into_future());
    assert!(world.poll(group.as_mut()).is_pending());
    signal.open(());
    let Poll::Ready(report) = world.poll(group.as_mut()) else { panic!("a backoff ends at once") };
    assert_eq!((report.cause, report.restarts, report.given_up), (Cause::Cancelled, 1, None));
    assert_eq!(report.outcomes, (Outcome::Done(1), Outcome::Failed("failed")));
    assert_eq!(report.into_result(), Err(GatherError::Cancelled));
}

#[test]
fn of_no_generation_all_are_dropped() {
    let report =
        restart(Limit::unlimited(), || (pending::<Output>(), pending::<Output>())).cancel_when(ready(())).report();
    let report = pollster::block_on(report);
    assert_eq!((report.cause, report.outcomes), (Cause::Cancelled, (Outcome::Dropped, Outcome::Dropped)));
    let report = restart(Limit::unlimited(), || [(); 0].map(|()| pending::<Output>())).report();
    assert_eq!(pollster::block_on(report).cause, Cause::Completed);
}

#[cfg(feature = "alloc")]
#[test]
fn of_no_generation_a_vec_is_empty() {
    let report = restart(Limit::unlimited(), || vec![pending::<Output>()]).cancel_when(ready(())).report();
    assert_eq!(pollster::block_on(report).into_iter().count(), 0);
}

/// The outcomes of a generation, as its children, are gone before the next one is made.
#[test]
fn the_report_of_a_generation_is_gone_before_the_next_one_is_made() {
    let world = World::new();
    let (log, made) = (world.log.clone(), Cell::new(0));
    let group = restart(Limit::restarts(1), || {
        log.push("make");
        made.set(made.get() + 1);
        let value = if made.get() == 1 { "first" } else { "second" };
        (ready(Ok::<_, &str>(log.token(value))), ready(Err::<(), _>("failed")))
    });
    let mut group = Box::pin(group.report().into_future());
    assert!(world.poll(group.as_mut()).is_pending());
    log.expect("make");
    let Poll::Ready(report) = world.poll(group.as_mut()) else { panic!("the limit is reached") };
    log.expect("drop first, make");
    drop(report);
    log.expect("drop second");
}

/// As a child it ends with its report also when its parent cancels it.
#[test]
fn cancelled_by_its_parent_it_ends_with_its_report() {
    let world = World::new();
    let inner = restart(Limit::unlimited(), || [told(&world)]).report().map(|report| match report.outcomes {
        [Outcome::Drained(Some(Err(error)))] => Err(error),
        _ => Ok(()),
    });
    let report = pollster::block_on(gather((inner, ready(Err::<(), _>("failed")))).report());
    assert_eq!(report.cause, Cause::Failed(1));
    assert_eq!(report.outcomes.0, Outcome::Drained(Some(Err("late"))));
    world.log.expect("tell");
}
