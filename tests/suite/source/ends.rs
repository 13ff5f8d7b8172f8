//! How a group whose children come from a source ends: each policy, each setting, and in which order.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::stream;

use super::feed::{self, Feed, Source};
use crate::kit::{Gate, Log, Output, Token, World, panic_of};
use gather::{
    CancelExt, Cancelled, Cause, FromStream, Group, Limit, LocalBoxChild, Outcome, Report, RestartError, from_iter,
    from_stream, gather, restart,
};

type Member = feed::Member<u32>;

/// What a report says.
async fn parts<G: IntoFuture<Output = Report<O>>, O>(group: G) -> (Cause, O) {
    let report = group.await;
    (report.cause, report.outcomes)
}

type Three = feed::Three<u32>;

/// A group of the three, all drawn and pending.
fn three() -> (Three, Group<FromStream<Source<Member>>>) {
    let (three, source) = feed::three();
    (three, gather(from_stream(source)))
}

impl Three {
    /// A child that is never to be drawn.
    fn push_another(&self) {
        let token = self.world.log.token("d");
        self.feed.push(LocalBoxChild::new(async move {
            let _token = token;
            panic!("it is polled")
        }));
    }

    fn logged_hook(&self) -> impl FnOnce(Cause) + use<> {
        let log = self.world.log.clone();
        move |cause| log.push(format!("hook: {cause}"))
    }
}

#[test]
fn a_failure_drops_the_source_then_calls_the_hook_then_tells_and_drops_in_the_order_of_drawing() {
    let (three, group) = three();
    let world = &three.world;
    let mut all = pin!(group.on_cancel(three.logged_hook()).into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("");
    // One is fed in the poll in which another fails.
    three.gates[2].open(Err("failed"));
    three.push_another();
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("end c, drop c, drop source, hook: child 2 failed, drop a, tell b");
    assert!(three.feed.is_dropped());
    assert_eq!(three.feed.left(), 1, "nothing is drawn after the cause");
    three.gates[1].open(Ok(1));
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err("failed")));
    world.log.expect("end b, drop b");
    assert_eq!(three.feed.polls(), 4);
}

#[test]
fn a_child_that_fails_when_it_is_drawn_ends_the_drawing() {
    let (three, group) = three();
    let world = &three.world;
    three.gates[1].open(Err("failed"));
    let mut all = pin!(group.into_future());
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err("failed")));
    world.log.expect("end b, drop b, drop source, drop a");
    assert_eq!((three.feed.polls(), three.feed.left()), (2, 1));
}

#[test]
fn settle_keeps_every_output_and_is_not_cancelled() {
    let (three, group) = three();
    let world = &three.world;
    let mut all = pin!(group.settle().into_future());
    three.gates[1].open(Err("b"));
    assert!(world.poll(all.as_mut()).is_pending());
    three.gates[2].open(Ok(2));
    three.feed.end();
    assert!(world.poll(all.as_mut()).is_pending());
    three.gates[0].open(Ok(0));
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(vec![Ok(0), Err("b"), Ok(2)]));
    world.log.expect("end b, drop b, end c, drop c, drop source, end a, drop a");
}

#[test]
fn any_is_won_by_the_first_value_or_gives_all_errors() {
    let (won, group) = three();
    let mut all = pin!(group.any().into_future());
    won.gates[0].open(Err("a"));
    assert!(won.world.poll(all.as_mut()).is_pending());
    won.gates[2].open(Ok(2));
    assert!(won.world.poll(all.as_mut()).is_pending());
    won.world.log.expect("end a, drop a, end c, drop c, drop source, tell b");
    won.gates[1].open(Ok(1));
    assert_eq!(won.world.poll(all.as_mut()), Poll::Ready(Ok(2)));

    let (lost, group) = three();
    let mut all = pin!(group.any().into_future());
    assert!(lost.world.poll(all.as_mut()).is_pending());
    for (index, error) in [(2, "c"), (0, "a"), (1, "b")] {
        lost.gates[index].open(Err(error));
        assert!(lost.world.poll(all.as_mut()).is_pending());
    }
    // Another child may still come.
    lost.feed.end();
    assert_eq!(lost.world.poll(all.as_mut()), Poll::Ready(Err(vec!["a", "b", "c"])));
}

#[test]
fn race_is_won_by_the_first_to_end() {
    let (three, group) = three();
    let world = &three.world;
    let mut all = pin!(group.race().into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    three.gates[2].open(Err("c"));
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("end c, drop c, drop source, drop a, tell b");
    three.gates[1].open(Ok(1));
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err("c")));
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_race_of_a_source_that_gave_no_child_panics() {
    let world = World::new();
    let (feed, source) = Feed::<Member>::new(&world.log);
    let mut all = pin!(gather(from_stream(source)).race().into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    feed.end();
    let message = panic_of(|| assert!(world.poll(all.as_mut()).is_pending()));
    assert_eq!(message, "`Group::race` of a source that gave no child has no winner");
    let message = panic_of(|| assert!(world.poll(all.as_mut()).is_pending()));
    assert_eq!(message, "`Gather` polled after a panic");
    // Cancelled before it gave one, it is just cancelled.
    let (_feed, source) = Feed::<Member>::new(&world.log);
    let raced = gather(from_stream(source)).race().cancel_when(ready(()));
    assert_eq!(pollster::block_on(raced), Err(Cancelled));
}

#[test]
fn a_report_tells_of_every_child_that_was_drawn() {
    let (three, group) = three();
    let world = &three.world;
    let [stop, over] = [(); 2].map(|()| Gate::new());
    let grace = over.clone();
    let group = group.report().cancel_when(stop.clone().wait()).grace(move || grace.wait());
    let mut all = pin!(parts(group));
    let (told, late) = world.probe::<Output>("told");
    three.feed.push(LocalBoxChild::new(told.quiet().on_cancel(|_| ())));
    three.gates[0].open(Ok(0));
    assert!(world.poll(all.as_mut()).is_pending());
    stop.open(());
    assert!(world.poll(all.as_mut()).is_pending());
    late.open(Err("late"));
    assert!(world.poll(all.as_mut()).is_pending());
    over.open(());
    let outcomes = vec![Outcome::Done(0), Outcome::Abandoned, Outcome::Dropped, Outcome::Drained(Some(Err("late")))];
    assert_eq!(world.poll(all.as_mut()), Poll::Ready((Cause::Cancelled, outcomes)));
    world.log.expect("end a, drop a, drop source, tell b, drop c, drop told, drop b");

    let (failed, group) = super::ends::three();
    let mut all = pin!(parts(group.report()));
    assert!(failed.world.poll(all.as_mut()).is_pending());
    failed.gates[2].open(Err("c"));
    assert!(failed.world.poll(all.as_mut()).is_pending());
    failed.gates[1].open(Ok(1));
    let outcomes = vec![Outcome::Dropped, Outcome::Drained(Some(Ok(1))), Outcome::Failed("c")];
    assert_eq!(failed.world.poll(all.as_mut()), Poll::Ready((Cause::Failed(2), outcomes)));
}

#[test]
fn a_signal_cancels_it_and_the_grace_bounds_the_drain() {
    let (three, group) = three();
    let world = &three.world;
    let [stop, over] = [(); 2].map(|()| Gate::new());
    let (grace, log) = (over.clone(), world.log.clone());
    let group = group.cancel_when(stop.clone().wait()).on_cancel(three.logged_hook()).grace(move || {
        log.push("grace");
        grace.wait()
    });
    let mut all = pin!(group.into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    stop.open(());
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("drop source, hook: cancelled, drop a, tell b, drop c, grace");
    over.open(());
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err(Cancelled)));
    world.log.expect("drop b");
}

#[test]
fn a_signal_that_is_ready_at_first_starts_nobody() {
    let (three, group) = three();
    let mut all = pin!(group.cancel_when(ready(())).into_future());
    assert_eq!(three.world.poll(all.as_mut()), Poll::Ready(Err(Cancelled)));
    three.world.log.expect("drop source");
    assert_eq!((three.feed.polls(), three.feed.left()), (0, 3));
}

#[test]
fn a_signal_in_the_poll_in_which_source_and_children_end_comes_too_late() {
    let (three, group) = three();
    let world = &three.world;
    let stop = Gate::new();
    let mut all = pin!(group.cancel_when(stop.clone().wait()).into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    three.gates.iter().for_each(|gate| gate.open(Ok(1)));
    three.feed.end();
    stop.open(());
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok(Ok(vec![1, 1, 1]))));

    // Where another child might come, it is in time.
    let (three, group) = super::ends::three();
    let stop = Gate::new();
    let mut all = pin!(group.cancel_when(stop.clone().wait()).into_future());
    three.gates.iter().for_each(|gate| gate.open(Ok(1)));
    assert!(three.world.poll(all.as_mut()).is_pending());
    stop.open(());
    assert_eq!(three.world.poll(all.as_mut()), Poll::Ready(Err(Cancelled)));
}

#[test]
fn in_reverse_the_last_drawn_is_cancelled_first() {
    let world = World::new();
    let (feed, source) = Feed::new(&world.log);
    let stop = Gate::new();
    let group = gather(from_stream(source)).cancel_in_reverse().cancel_when(stop.clone().wait()).report();
    let mut all = pin!(parts(group));
    let members = ["a", "b", "c", "d", "e"].map(|name| {
        let (probe, gate) = world.probe::<Output>(name);
        feed.push(LocalBoxChild::new(probe.on_cancel(move |child| child.log.push(format!("tell {name}")))));
        gate
    });
    assert!(world.poll(all.as_mut()).is_pending());
    // The place of b is used again, by f, which is the last one to be drawn.
    members[1].open(Ok(1));
    assert!(world.poll(all.as_mut()).is_pending());
    let (f, gate_f) = world.probe::<Output>("f");
    feed.push(LocalBoxChild::new(f));
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("end b, drop b");
    stop.open(());
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("drop source, drop f, tell e");
    drop(gate_f);
    // Until its turn a child is polled as before, and may end.
    members[2].open(Err("late"));
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("end c, drop c");
    members[4].open(Ok(4));
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("end e, drop e, tell d");
    members[3].open(Ok(3));
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("end d, drop d, tell a");
    members[0].open(Ok(0));
    let drained = |result| Outcome::Drained(Some(result));
    let outcomes =
        vec![drained(Ok(0)), Outcome::Done(1), drained(Err("late")), drained(Ok(3)), drained(Ok(4)), Outcome::Dropped];
    assert_eq!(world.poll(all.as_mut()), Poll::Ready((Cause::Cancelled, outcomes)));
    world.log.expect("end a, drop a");
}

#[test]
fn dropped_it_drops_the_source_then_the_children_in_the_order_of_drawing() {
    let (unpolled, group) = three();
    drop(group.into_future());
    unpolled.world.log.expect("drop source");

    for cancelled in [false, true] {
        let world = World::new();
        let (feed, source) = Feed::new(&world.log);
        let stop = Gate::new();
        let mut all = Box::pin(gather(from_stream(source)).cancel_when(stop.clone().wait()).into_future());
        let mut push = |name| {
            let (probe, gate) = world.probe::<Output>(name);
            feed.push(probe.quiet().on_cancel(|_| ()));
            gate
        };
        let gates = ["a", "b", "c"].map(&mut push);
        assert!(world.poll(all.as_mut()).is_pending());
        // The child that is drawn later lies in an earlier place.
        gates[0].open(Ok(0));
        assert!(world.poll(all.as_mut()).is_pending());
        let _later = ["d", "e"].map(&mut push);
        assert!(world.poll(all.as_mut()).is_pending());
        if cancelled {
            stop.open(());
            assert!(world.poll(all.as_mut()).is_pending());
        }
        drop(all);
        world.log.expect("drop a, drop source, drop b, drop c, drop d, drop e");
    }
}

#[test]
fn kept_values_are_dropped_when_the_cause_is_set_before_a_child_is_told() {
    let world = World::new();
    let (feed, source) = Feed::<LocalBoxChild<'_, Result<Token, &str>>>::new(&world.log);
    let mut all = pin!(gather(from_stream(source)).into_future());
    let log = world.log.clone();
    feed.push(LocalBoxChild::new(ready(Ok(world.log.token("value")))));
    feed.push(LocalBoxChild::new(pending().on_cancel(move |_| log.push("tell"))));
    feed.push(LocalBoxChild::new(ready(Err("failed"))));
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("drop source, drop value, tell");
}

#[test]
fn as_a_child_it_runs_its_own_handshake() {
    let (three, group) = three();
    let world = &three.world;
    let fails = Gate::<Output>::new();
    let mut all = pin!(gather((group.on_cancel(three.logged_hook()), fails.clone().wait())).into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    fails.open(Err("failed"));
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("drop source, hook: cancelled, drop a, tell b, drop c");
    three.gates[1].open(Ok(1));
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err("failed")));
    world.log.expect("end b, drop b");

    // Cancelled before its first poll.
    let (three, group) = super::ends::three();
    let mut all = pin!(gather((ready(Err::<u32, _>("failed")), group)).into_future());
    assert_eq!(three.world.poll(all.as_mut()), Poll::Ready(Err("failed")));
    three.world.log.expect("drop source");
}

#[test]
fn each_generation_of_a_restart_has_a_source_of_its_own() {
    let (log, made) = (Log::default(), Cell::new(0));
    let (make_log, seen) = (log.clone(), RefCell::new(vec![]));
    let group = restart(Limit::restarts(2), || {
        made.set(made.get() + 1);
        let (feed, source) = Feed::new(&make_log);
        make_log.push(format!("make {}", made.get()));
        let log = make_log.clone();
        feed.push(LocalBoxChild::new(pending::<Output>().cleanup(move || async move { log.push("clean") })));
        feed.push(LocalBoxChild::new(ready(Ok(1))));
        feed.push(LocalBoxChild::new(ready(Err(["first", "second", "third"][made.get() - 1]))));
        feed.push(LocalBoxChild::new(pending()));
        from_stream(source)
    });
    let group = group.observe(|failure| seen.borrow_mut().push((failure.index, *failure.error)));
    let report = pollster::block_on(group.report());
    assert_eq!((report.cause, report.restarts), (Cause::Failed(2), 2));
    let outcomes = vec![Outcome::Drained(None), Outcome::Done(1), Outcome::Failed("third")];
    assert_eq!(report.outcomes, outcomes);
    assert_eq!(seen.take(), [(2, "first"), (2, "second"), (2, "third")]);
    log.expect("make 1, drop source, clean, make 2, drop source, clean, make 3, drop source, clean");

    let error = pollster::block_on(restart(Limit::restarts(3), || {
        from_iter([LocalBoxChild::new(pending::<Output>()), LocalBoxChild::new(ready(Err("failed")))])
    }));
    assert_eq!(error, Err(RestartError::LimitReached { restarts: 3, source: "failed" }));
    let calm = pollster::block_on(restart(Limit::unlimited(), || from_iter((0..100).map(|n| ready(Ok::<_, ()>(n))))));
    assert_eq!(calm, Ok((0..100).collect()));
}

// Panics.

/// Gives two children that are told, then panics, or ends and panics when it is dropped.
struct Panicking {
    log: Log,
    given: usize,
    in_drop: bool,
}

impl Stream for Panicking {
    type Item = Member;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Member>> {
        self.given += 1;
        if self.given <= 2 {
            let (token, log) = (self.log.token(["a", "b"][self.given - 1]), self.log.clone());
            let child = async move {
                let _token = token;
                pending().await
            };
            return Poll::Ready(Some(LocalBoxChild::new(child.on_cancel(move |_| log.push("tell")))));
        }
        assert!(self.in_drop, "the source");
        Poll::Ready(None)
    }
}

impl Drop for Panicking {
    fn drop(&mut self) {
        self.log.push("drop source");
        if self.in_drop && !std::thread::panicking() {
            panic!("the source");
        }
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_source_that_panics_takes_the_children_with_it_untold() {
    for in_drop in [false, true] {
        let world = World::new();
        let source = Panicking { log: world.log.clone(), given: 0, in_drop };
        let mut all = pin!(gather(from_stream(source)).into_future());
        assert_eq!(panic_of(|| assert!(world.poll(all.as_mut()).is_pending())), "the source");
        world.log.expect("drop source, drop a, drop b");
        assert_eq!(panic_of(|| assert!(world.poll(all.as_mut()).is_pending())), "`Gather` polled after a panic");
    }
    // It panics when it is dropped because the group is cancelled, or dropped.
    for drops in [false, true] {
        let world = World::new();
        let stop = Gate::new();
        let first = stream::iter([LocalBoxChild::new(world.ready("first", Ok(1)))]);
        let source =
            futures_util::StreamExt::chain(first, Panicking { log: world.log.clone(), given: 0, in_drop: true });
        let mut all =
            Box::pin(gather(from_stream(source)).concurrency(2).cancel_when(stop.clone().wait()).into_future());
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end first, drop first");
        if drops {
            assert_eq!(panic_of(|| drop(all)), "the source");
        } else {
            stop.open(());
            assert_eq!(panic_of(|| assert!(world.poll(all.as_mut()).is_pending())), "the source");
        }
        world.log.expect("drop source, drop a, drop b");
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_child_that_panics_takes_source_and_siblings_with_it_untold() {
    for at_once in [false, true] {
        let (three, group) = three();
        let world = &three.world;
        let mut all = pin!(group.into_future());
        let bomb = Gate::<()>::new();
        let (bombs, token) = (bomb.clone(), world.log.token("bomb"));
        three.feed.push(LocalBoxChild::new(async move {
            let _token = token;
            bombs.wait().await;
            panic!("child")
        }));
        if at_once {
            bomb.open(());
        } else {
            assert!(world.poll(all.as_mut()).is_pending());
            bomb.open(());
        }
        assert_eq!(panic_of(|| assert!(world.poll(all.as_mut()).is_pending())), "child");
        // The block that panics drops what it holds.
        world.log.expect("drop bomb, drop source, drop a, drop b, drop c");
    }
}

/// Panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("{}", self.0);
        }
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_child_that_panics_in_its_drop_does_not_keep_the_rest_from_being_dropped() {
    enum Act {
        Ends,
        IsCancelled,
        Outlives,
        GroupIsDropped,
    }
    for act in [Act::Ends, Act::IsCancelled, Act::Outlives, Act::GroupIsDropped] {
        let world = World::new();
        let (feed, source) = Feed::<Member>::new(&world.log);
        let [ends, stop] = [(); 2].map(|()| Gate::<()>::new());
        let group = gather(from_stream(source)).cancel_when(stop.clone().wait()).grace(|| ready(()));
        let mut all = Box::pin(group.into_future());
        let push = |name, told: bool| {
            let token = world.log.token(name);
            let child = async move {
                let _token = token;
                pending().await
            };
            feed.push(if told { LocalBoxChild::new(child.on_cancel(|_| ())) } else { LocalBoxChild::new(child) });
        };
        push("a", true);
        let (gate, bomb) = (ends.clone(), Bomb("child"));
        let child = poll_fn(move |cx| {
            let _bomb = &bomb;
            gate.poll(cx).map(|()| Ok(1))
        });
        let outlives = matches!(act, Act::Outlives);
        feed.push(if outlives { LocalBoxChild::new(child.on_cancel(|_| ())) } else { LocalBoxChild::new(child) });
        push("c", false);
        push("d", true);
        assert!(world.poll(all.as_mut()).is_pending());
        let message = match act {
            Act::Ends => {
                ends.open(());
                panic_of(|| assert!(world.poll(all.as_mut()).is_pending()))
            }
            Act::IsCancelled | Act::Outlives => {
                stop.open(());
                panic_of(|| assert!(world.poll(all.as_mut()).is_pending()))
            }
            Act::GroupIsDropped => panic_of(|| drop(all)),
        };
        assert_eq!(message, "child");
        let mut log = world.log.take();
        assert_eq!(log[0], "drop source");
        log[1..].sort();
        assert_eq!(log.join(", "), "drop source, drop a, drop c, drop d");
    }
}

#[test]
fn debug_counts_who_was_drawn() {
    let (three, group) = three();
    let mut all = pin!(group.into_future());
    assert_eq!(format!("{all:?}"), "Gather { phase: Unpolled, children: [], .. }");
    three.gates[1].open(Ok(1));
    assert!(three.world.poll(all.as_mut()).is_pending());
    assert_eq!(format!("{all:?}"), "Gather { phase: Running, children: [pending, ended, pending], .. }");
    assert_eq!(format!("{:?}", from_iter([ready(1)])), "FromStream { .. }");
}
