//! settle, any, race and report: in every container, with every setting.

use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::pin::pin;
use std::task::Poll;

use crate::kit::{self, At, CONTAINERS, FIXED, Gate, Output, Probe, World, future_in, gather_in, panic_of};
use gather::{CancelExt, Cancelled, Cause, GatherError, LocalBoxChild, Outcome, Report, gather};

/// Three children a, b and c, of which the middle one is told and drained, and their gates.
fn three(world: &World) -> ([LocalBoxChild<'_, Output>; 3], [Gate<Output>; 3]) {
    let gates: [Gate<Output>; 3] = Default::default();
    let probe = |name, index: usize| Probe::new(name, &world.log, &gates[index]);
    let children = [
        LocalBoxChild::new(probe("a", 0)),
        LocalBoxChild::new(probe("b", 1).on_cancel(|child| child.log.push("tell b"))),
        LocalBoxChild::new(probe("c", 2)),
    ];
    (children, gates)
}

#[test]
fn settle_waits_for_all_and_keeps_every_output() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let (children, gates) = three(&world);
        let mut all = gather_in!(container, children, |gather| gather.settle());
        gates[2].open(Err("c"));
        assert!(world.poll(all.as_mut()).is_pending());
        gates[0].open(Ok(1));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end c, drop c, end a, drop a");
        gates[1].open(Err("b"));
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(vec![Ok(1), Err("b"), Err("c")]));
        world.log.expect("end b, drop b");
    }
}

#[test]
fn settle_takes_children_of_any_output() {
    let all = gather((ready(1), ready("two"), ready(Some(3.0)))).settle();
    assert_eq!(pollster::block_on(all), (1, "two", Some(3.0)));
    assert_eq!(pollster::block_on(gather(()).settle()), ());
    assert_eq!(pollster::block_on(gather(Vec::<std::future::Ready<u8>>::new()).settle()), []);
}

#[test]
fn settle_is_cancelled_by_its_signal() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let (children, gates) = three(&world);
        let signal = Gate::new();
        let mut all = gather_in!(container, children, |gather| gather.cancel_when(signal.clone().wait()).settle());
        gates[0].open(Ok(1));
        assert!(world.poll(all.as_mut()).is_pending());
        signal.open(());
        assert!(world.poll(all.as_mut()).is_pending());
        gates[1].open(Ok(2));
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err(Cancelled)));
        world.log.expect("end a, drop a, tell b, drop c, end b, drop b");
    }
}

#[test]
fn any_and_race_are_cancelled_by_their_signal() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        macro_rules! is_cancelled {
            ($gather:ident => $set:expr) => {{
                let world = World::new();
                let (children, gates) = three(&world);
                let signal = Gate::new();
                let mut all = future_in!(container, children, |$gather| {
                    let set = $set.cancel_when(signal.clone().wait());
                    async { set.await.map(drop) }
                });
                assert!(world.poll(all.as_mut()).is_pending());
                signal.open(());
                assert!(world.poll(all.as_mut()).is_pending());
                world.log.expect("drop a, tell b, drop c");
                // Too late to win.
                gates[1].open(Ok(2));
                assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err(Cancelled)));
                world.log.expect("end b, drop b");
            }};
        }
        is_cancelled!(gather => gather.any());
        is_cancelled!(gather => gather.race());
    }
}

#[test]
fn any_is_won_by_the_first_value_and_cancels_the_rest() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let (children, gates) = three(&world);
        let mut all =
            future_in!(container, children, |gather| async { gather.any().await.map_err(kit::Flatten::flatten) });
        gates[2].open(Err("c"));
        assert!(world.poll(all.as_mut()).is_pending());
        gates[0].open(Ok(7));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end c, drop c, end a, drop a, tell b");
        gates[1].open(Ok(8));
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok(7)));
        world.log.expect("end b, drop b");
    }
}

#[test]
fn any_without_a_value_gives_all_errors() {
    for container in CONTAINERS {
        let world = World::new();
        let (children, gates) = three(&world);
        let mut all =
            future_in!(container, children, |gather| async { gather.any().await.map_err(kit::Flatten::flatten) });
        for (gate, error) in gates.iter().zip(["x", "y", "z"]) {
            gate.open(Err(error));
        }
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err(vec!["x", "y", "z"])));
    }
    assert_eq!(pollster::block_on(gather(()).any()), Err::<Infallible, _>(()));
    assert_eq!(pollster::block_on(gather(Vec::<std::future::Ready<Output>>::new()).any()), Err(vec![]));
}

#[test]
fn race_is_won_by_the_first_to_end_whatever_it_ends_with() {
    for container in FIXED {
        // The first pass begins with a, the second with b.
        for (pending_first, winner, log) in
            [(false, "a", "end a, drop a, tell b, drop c"), (true, "c", "end c, drop c, drop a, tell b")]
        {
            let _at = At(format!("{container:?}, pending first: {pending_first}"));
            let world = World::new();
            let (children, gates) = three(&world);
            let mut first = future_in!(container, children, |gather| gather.race());
            assert!(!pending_first || world.poll(first.as_mut()).is_pending());
            gates[2].open(Err("c"));
            gates[0].open(Err("a"));
            assert!(world.poll(first.as_mut()).is_pending());
            world.log.expect(log);
            gates[1].open(Ok(2));
            assert_eq!(world.poll(first.as_mut()), Poll::Ready(Err(winner)));
        }
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_race_of_nobody_is_refused_at_the_call() {
    for race in [
        || drop(gather(Vec::<std::future::Ready<u8>>::new()).race()),
        || drop(gather(Vec::<std::future::Ready<Output>>::new()).report().race()),
        || drop(gather([(); 0].map(|()| ready(1))).race()),
        || drop(gather(()).race()),
    ] {
        assert_eq!(panic_of(race), "`Group::race` of no children has no winner");
    }
}

/// The outcomes of a report over any container.
fn flat<O: kit::Flatten>(report: Report<O>) -> (Cause, O::Flat) {
    (report.cause, report.outcomes.flatten())
}

#[test]
fn a_report_tells_of_every_child_under_every_policy() {
    use Outcome::{Abandoned, Done, Drained, Dropped, Failed};
    for container in FIXED {
        let _at = At(format!("{container:?}"));
        macro_rules! report {
            ([$($step:expr),*], |$gather:ident| $set:expr) => {
                report!([$($step),*], |$gather, _signal| $set)
            };
            ([$($step:expr),*], |$gather:ident, $signal:ident| $set:expr) => {{
                let world = World::new();
                let (children, gates) = three(&world);
                let $signal = Gate::<()>::new();
                let mut all = future_in!(container, children, |$gather| {
                    let reporting = $set;
                    async { flat(reporting.await) }
                });
                let steps: Vec<(usize, Output)> = vec![$($step),*];
                let mut polled = world.poll(all.as_mut());
                for (child, output) in steps {
                    match child {
                        9 => $signal.open(()),
                        _ => gates[child].open(output),
                    }
                    if polled.is_pending() {
                        polled = world.poll(all.as_mut());
                    }
                }
                polled
            }};
        }

        let calm = report!([(0, Ok(1)), (1, Ok(2)), (2, Ok(3))], |gather| gather.report());
        assert_eq!(calm, Poll::Ready((Cause::Completed, vec![Done(1), Done(2), Done(3)])));

        let failed = report!([(0, Ok(1)), (2, Err("c")), (1, Err("late"))], |gather| gather.report());
        assert_eq!(failed, Poll::Ready((Cause::Failed(2), vec![Done(1), Drained(Some(Err("late"))), Failed("c")])));

        let failed = report!([(2, Err("c")), (1, Ok(2))], |gather| gather.report());
        assert_eq!(failed, Poll::Ready((Cause::Failed(2), vec![Dropped, Drained(Some(Ok(2))), Failed("c")])));

        let settled = report!([(0, Err("a")), (1, Ok(2)), (2, Ok(3))], |gather| gather.settle().report());
        assert_eq!(settled, Poll::Ready((Cause::Completed, vec![Failed("a"), Done(2), Done(3)])));

        let won = report!([(0, Err("a")), (2, Ok(3)), (1, Ok(2))], |gather| gather.report().any());
        assert_eq!(won, Poll::Ready((Cause::Won(2), vec![Failed("a"), Drained(Some(Ok(2))), Done(3)])));

        let won = report!([(2, Err("c")), (1, Ok(2))], |gather| gather.race().report());
        assert_eq!(won, Poll::Ready((Cause::Won(2), vec![Dropped, Drained(Some(Ok(2))), Failed("c")])));

        let cancelled = report!([(0, Ok(1)), (9, Ok(0)), (1, Ok(2))], |gather, signal| gather
            .report()
            .cancel_when(signal.clone().wait()));
        assert_eq!(cancelled, Poll::Ready((Cause::Cancelled, vec![Done(1), Drained(Some(Ok(2))), Dropped])));

        let cancelled = report!([(0, Err("a")), (9, Ok(0))], |gather, signal| gather
            .cancel_when(signal.clone().wait())
            .settle()
            .report()
            .grace(|| ready(())));
        assert_eq!(cancelled, Poll::Ready((Cause::Cancelled, vec![Failed("a"), Abandoned, Dropped])));

        let limited = report!([(0, Err("a"))], |gather| gather.concurrency(1).report().grace(|| ready(())));
        assert_eq!(limited, Poll::Ready((Cause::Failed(0), vec![Failed("a"), Abandoned, Dropped])));
    }
}

#[test]
fn a_tuple_reports_a_different_error_in_each_place() {
    let all = gather((ready(Ok::<u8, &str>(1)), ready(Err::<&str, u8>(2)), pending::<Result<(), Infallible>>()));
    let report = pollster::block_on(all.report());
    assert_eq!(report.cause, Cause::Failed(1));
    assert_eq!(report.outcomes, (Outcome::Done(1), Outcome::Failed(2), Outcome::Dropped));
}

#[test]
fn a_report_becomes_a_result() {
    type Three = [std::future::Ready<Output>; 3];
    let three = |outputs: [Output; 3]| -> Three { outputs.map(ready) };
    macro_rules! result {
        ($outputs:expr, |$gather:ident| $set:expr) => {{
            let [a, b, c] = three($outputs);
            let $gather = gather((a, b, c));
            let tuple = kit::Flatten::flatten(pollster::block_on($set).into_result());
            let $gather = gather(three($outputs));
            let array = kit::Flatten::flatten(pollster::block_on($set).into_result());
            let $gather = gather(Vec::from(three($outputs)));
            let vec = pollster::block_on($set).into_result();
            assert_eq!((&tuple, &array), (&array, &vec));
            vec
        }};
    }
    assert_eq!(result!([Ok(1), Ok(2), Ok(3)], |gather| gather.report()), Ok(vec![1, 2, 3]));
    let failed = Err(GatherError::Failed { index: 1, source: "b" });
    assert_eq!(result!([Ok(1), Err("b"), Err("c")], |gather| gather.report()), failed);
    assert_eq!(result!([Ok(1), Err("b"), Err("c")], |gather| gather.settle().report()), failed);
    let cancelled = Err(GatherError::Cancelled);
    assert_eq!(result!([Ok(1), Err("b"), Ok(3)], |gather| gather.report().cancel_when(ready(()))), cancelled);
    // The losers of a race have no values, and a failure before the winner is not the cause.
    assert_eq!(result!([Ok(1), Ok(2), Ok(3)], |gather| gather.report().race()), Err(GatherError::Won { index: 0 }));
    assert_eq!(result!([Err("a"), Ok(2), Ok(3)], |gather| gather.report().any()), Err(GatherError::Won { index: 1 }));
    assert_eq!(pollster::block_on(gather(()).report()).into_result(), Ok(()));
    // The error is that of the cause, whatever wrote it.
    let mut report = pollster::block_on(gather(Vec::from(three([Err("a"), Err("b"), Ok(3)]))).settle().report());
    report.cause = Cause::Failed(1);
    assert_eq!(report.into_result(), failed);
    // No gather makes one like this.
    let mut report = pollster::block_on(gather([pending::<Result<(), &str>>()]).cancel_when(ready(())).report());
    report.cause = Cause::Completed;
    assert_eq!(report.into_result(), Err(GatherError::Cancelled));
}

#[test]
fn those_that_failed_are_listed_whatever_their_shape() {
    let ends = || [ready(Ok(1)), ready(Err("b")), ready(Ok(3)), ready(Err("d"))];
    let listed = [(1, &"b"), (3, &"d")];
    let report = pollster::block_on(gather(ends()).settle().report());
    assert_eq!(report.failed().collect::<Vec<_>>(), listed);
    let report = pollster::block_on(gather(Vec::from(ends())).settle().report());
    assert_eq!(report.failed().collect::<Vec<_>>(), listed);
    let errors = report.into_iter().map(Outcome::err).collect::<Vec<_>>();
    assert_eq!(errors, [None, Some("b"), None, Some("d")]);

    // Of different values in a tuple.
    let [first, second, ..] = ends();
    let report =
        pollster::block_on(gather((first, second, ready(Ok("c")), ready(Err::<(), _>("d")))).settle().report());
    assert_eq!(report.failed().collect::<Vec<_>>(), listed);
    assert_eq!(pollster::block_on(gather(()).report()).failed().count(), 0);
    assert_eq!(pollster::block_on(gather(Vec::<std::future::Ready<Output>>::new()).report()).failed().count(), 0);

    // A late error, and one that was cut off, are no failures.
    let told = || pending::<Result<(), &str>>().on_cancel(|_| ()).map(|_| Err::<(), _>("late"));
    let report = pollster::block_on(gather((told(), ready(Err::<(), _>("b")))).grace(|| ready(())).report());
    assert_eq!(report.failed().collect::<Vec<_>>(), [(1, &"b")]);
    let late = Outcome::<(), _>::Drained(Some(Err("late")));
    assert_eq!((late.err(), late.error()), (None, None));
}

#[test]
fn outcomes_and_errors_say_what_they_are() {
    let all = gather(vec![ready(Ok(1)), ready(Err("b")), ready(Err("c"))]).settle().report();
    let report = pollster::block_on(all);
    assert_eq!(report.to_string(), "completed");
    assert_eq!(report.failed().collect::<Vec<_>>(), [(1, &"b"), (2, &"c")]);
    assert!(report.outcomes[0].is_done() && !report.outcomes[1].is_done());
    let outcomes: Vec<_> = report.into_iter().collect();
    assert_eq!((outcomes[0].ok(), outcomes[1].error(), outcomes[1].late()), (Some(1), Some(&"b"), None));
    assert_eq!(Outcome::<u8, u8>::Drained(Some(Ok(1))).late(), Some(Ok(1)));
    assert_eq!(Outcome::<u8, u8>::Drained(Some(Ok(1))).ok(), None);

    let causes = [Cause::Completed, Cause::Failed(3), Cause::Won(0), Cause::Cancelled];
    assert_eq!(causes.map(|cause| cause.to_string()), ["completed", "child 3 failed", "child 0 won", "cancelled"]);
    assert_eq!(causes.map(Cause::index), [None, Some(3), Some(0), None]);

    let failed = GatherError::Failed { index: 2, source: std::io::Error::other("broken pipe") };
    assert_eq!(failed.to_string(), "child 2 failed");
    assert_eq!(std::error::Error::source(&failed).unwrap().to_string(), "broken pipe");
    assert_eq!(failed.error().unwrap().to_string(), "broken pipe");
    let others = [GatherError::<std::io::Error>::Cancelled, GatherError::Won { index: 1 }];
    assert_eq!(others.each_ref().map(GatherError::to_string), ["cancelled", "child 1 won"]);
    assert!(others.iter().all(|other| other.error().is_none() && std::error::Error::source(other).is_none()));
}

#[test]
fn groups_in_groups_end_with_their_report() {
    let world = World::new();
    let gate = Gate::<Output>::new();
    let seen = std::cell::RefCell::new(None);
    let inner = gather((gate.clone().wait().on_cancel(|_| ()), pending::<Output>(), ready(Ok::<_, &str>(3))));
    let inner = inner.report().map(|report| {
        *seen.borrow_mut() = Some(report);
        Ok(())
    });
    let mut outer = pin!(gather((inner, ready(Err::<(), _>("failed")))).into_future());
    assert!(world.poll(outer.as_mut()).is_pending());
    gate.open(Err("late"));
    assert_eq!(world.poll(outer.as_mut()), Poll::Ready(Err("failed")));
    let report = seen.take().unwrap();
    assert_eq!(report.cause, Cause::Cancelled);
    assert_eq!(report.outcomes, (Outcome::Drained(Some(Err("late"))), Outcome::Dropped, Outcome::Done(3)));
}

#[test]
fn settings_compose_in_any_order() {
    let two = || (ready(Ok::<u8, ()>(1)), ready(Ok::<u8, ()>(2)));
    let _: Report<_> = pollster::block_on(gather(two()).report().any().cancel_when(pending::<()>()).concurrency(1));
    let _: Report<_> = pollster::block_on(gather(two()).cancel_when(pending::<()>()).concurrency(1).any().report());
    let any = gather(two()).grace(|| ready(())).any().cancel_when(pending::<()>()).concurrency(1);
    assert_eq!(pollster::block_on(any), Ok(Ok(1)));
    let outer = gather([gather(two()).settle().concurrency(1).grace(|| ready(())).report()]).settle();
    let [report] = pollster::block_on(outer);
    assert_eq!(report.into_result(), Ok((1, 2)));
    let outer = gather([gather(two()).concurrency(1).race().cancel_when(pending::<()>())]).settle();
    assert_eq!(pollster::block_on(outer), [Ok(Ok(1))]);
    fn is_future<F: Future>(_: F) {}
    is_future(gather([gather(two()).any()]).race().into_future());
}
