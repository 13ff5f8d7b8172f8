//! What asyncio's `TaskGroup` tests, line by line: TG-1 to TG-61. The body of a group is one more child here.
//!
//! Passed over:
//!
//! - TG-2 [D]: no child is added while it runs; its form with a delayed child is tested beside TG-1.
//! - TG-26 [D]: no child adds children.
//! - TG-27 [D]: no child adds children, so there is nothing to refuse.
//! - TG-28 [N/A]: children have no names; the weak analogue, the index in the error, is tested.
//! - TG-29 [N/A]: there are no context variables.
//! - TG-30 [D]: no child is added during the drain.
//! - TG-34 [D]: no child is added after the end.
//! - TG-35 [D]: there is no adding; that no child is polled before the gather is, is tested.
//! - TG-37 [D]: there is no refused child.
//! - TG-47 [N/A]: names again; as TG-28.
//! - TG-57 [D]: no child is added after the signal.
//!
//! Of TG-54 and TG-55, what `stop()` returns has no analogue. TG-50 and TG-51 are how the tests are run: with children
//! that were polled before (pending first), and with children that end in their first poll (ready first).

use std::cell::Cell;
use std::error::Error;
use std::fmt::{self, Debug};
use std::future::{Future, pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::kit::{
    self, Any, At, CONTAINERS, Container, FIXED, Flatten, Gate, Log, Output, Probe, World, panic_of, yield_now,
};
use futures_util::future::FusedFuture;
use gather::Outcome::{Abandoned, Done, Drained, Dropped, Failed};
use gather::{CancelExt, Cancelled, Cause, GatherError, GatherOf, Group, LocalBoxChild, Outcome, Report, gather};

/// Gathers a `Vec` of children in a container that is chosen at run time.
macro_rules! group {
    ($container:expr, $children:expr, |$gather:ident| $made:expr) => {{
        let children = $children;
        group!(@ $container, children, |$gather| $made, 1(a) 2(a b) 3(a b c) 5(a b c d e) 6(a b c d e f)
            10(a b c d e f g h i j))
    }};
    (@ $container:expr, $children:ident, |$gather:ident| $made:expr, $($n:literal($($child:ident)+))+) => {
        match ($container, $children.len()) {
            (Container::Vec, _) => {
                let $gather = gather($children);
                $made
            }
            (Container::BoxedSlice, _) => {
                let $gather = gather($children.into_boxed_slice());
                $made
            }
            (Container::Source, _) => {
                let $gather = gather(gather::from_iter($children));
                $made
            }
            $((Container::Array, $n) => {
                let $gather = gather(<[_; $n]>::try_from($children).ok().unwrap());
                $made
            }
            (Container::Tuple, $n) => {
                let [$($child),+] = <[_; $n]>::try_from($children).ok().unwrap();
                let $gather = gather(($($child,)+));
                $made
            })+
            _ => unreachable!("no group of this size"),
        }
    };
}

type Told<E> = (Cause, Vec<Outcome<u32, E>>);
type Plain<E> = Result<Result<Vec<u32>, E>, Cancelled>;
type Member<E> = LocalBoxChild<'static, Result<u32, E>>;

impl<O: Flatten> Flatten for Report<O> {
    type Flat = (Cause, O::Flat);
    fn flatten(self) -> Self::Flat {
        (self.cause, self.outcomes.flatten())
    }
}

const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
/// Of what they do when they were told.
const LATE: [&str; 10] = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J"];

/// Waits for its work, or once it was stopped for its clean-up, and says what it gets past.
struct Worker<E> {
    name: &'static str,
    log: Log,
    stopped: bool,
    work: Gate<Result<u32, E>>,
    clean: Gate<Result<u32, E>>,
}

impl<E> Unpin for Worker<E> {}

impl<E> Future for Worker<E> {
    type Output = Result<u32, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = if self.stopped { self.clean.poll(cx) } else { self.work.poll(cx) };
        if let Poll::Ready(output) = &polled {
            let what = if self.stopped { "clean" } else { output.as_ref().map_or("fail", |_| "past") };
            self.log.push(format!("{what} {}", self.name));
        }
        polled
    }
}

impl<E> Drop for Worker<E> {
    fn drop(&mut self) {
        self.log.push(format!("drop {}", self.name));
    }
}

/// Children of these kinds and their gates:
///
/// - `p`lain;
/// - `d`raining: told, it leaves its work for its clean-up; logs `stop a`, then `clean a`;
/// - `t`old, but goes on with its work all the same; logs `stop a`;
/// - `s`hielded: deaf;
/// - `c`leanup: logs `clean A` and `drop A` when it has been dropped.
struct Crew<E> {
    children: Vec<Member<E>>,
    work: Vec<Gate<Result<u32, E>>>,
    clean: Vec<Gate<Result<u32, E>>>,
}

fn crew<E: 'static>(log: &Log, kinds: &str) -> Crew<E> {
    let mut crew = Crew { children: vec![], work: vec![], clean: vec![] };
    for (index, kind) in kinds.chars().enumerate() {
        let (work, clean) = (Gate::new(), Gate::new());
        let (log, gates) = (log.clone(), (work.clone(), clean.clone()));
        let worker = move |name, stopped| Worker { name, log, stopped, work: gates.0, clean: gates.1 };
        let child = worker.clone()(NAMES[index], false);
        let say_stop = |child: &Worker<E>| child.log.push(format!("stop {}", child.name));
        crew.children.push(match kind {
            'p' => LocalBoxChild::new(child),
            'd' => LocalBoxChild::new(child.on_cancel(move |mut child| {
                say_stop(&child);
                child.stopped = true;
            })),
            't' => LocalBoxChild::new(child.on_cancel(move |child| say_stop(&child))),
            's' => LocalBoxChild::new(child.shield()),
            'c' => LocalBoxChild::new(child.cleanup(move || worker(LATE[index], true))),
            _ => panic!("no such kind: {kind}"),
        });
        crew.work.push(work);
        crew.clean.push(clean);
    }
    crew
}

/// Start disciplines: pending first or not.
const BOTH: &[bool] = &[true, false];
const PENDING: &[bool] = &[true];
const READY: &[bool] = &[false];

/// The signal and the grace of a group.
#[derive(Clone, Default)]
struct Settings {
    signal: Gate<()>,
    over: Gate<()>,
    graces: Rc<Cell<u32>>,
}

impl Settings {
    fn grace(&self) -> impl FnOnce() -> Any<'static, ()> + use<> {
        let Settings { over, graces, .. } = self.clone();
        move || {
            graces.set(graces.get() + 1);
            Box::pin(over.wait())
        }
    }
}

/// The plain result of a group.
fn plain<E: 'static>(container: Container, children: Vec<Member<E>>, set: &Settings) -> Any<'static, Plain<E>> {
    group!(container, children, |all| kit::any(all.cancel_when(set.signal.clone().wait()).grace(set.grace())))
}

/// What its report says.
fn told<E: 'static>(container: Container, children: Vec<Member<E>>, set: &Settings) -> Any<'static, Told<E>> {
    group!(container, children, |all| {
        kit::any(all.cancel_when(set.signal.clone().wait()).grace(set.grace()).report())
    })
}

async fn one_level_deeper<F: Future>(group: F) -> F::Output {
    group.await
}

/// Runs a script in every container, in these start disciplines, and also one level of `await` deeper.
///
/// A line is `actions => log`. The actions are `ok a`, `fail a` (what the work of a ends with), `clean a`, `bad a` (what
/// its clean-up ends with), these four with a value after the name if it is not the index or the name, `signal`, `over`
/// (the grace), `poll` (once; the group must have been woken if something is to happen), `drop`. The log has in its last
/// line `ready`. A line that begins with `pending:` or `ready:` belongs to one discipline alone.
///
/// The first pass and the first one of a drain begin with a; of children that were polled in it, the next one begins with
/// the second.
fn play<R: Debug + PartialEq>(
    (kinds, starts, script): (&str, &[bool], &str),
    expected: Option<R>,
    make: impl Fn(Container, Vec<Member<&'static str>>, &Settings, &Log) -> Any<'static, R>,
) {
    // A source does not draw the children behind one that ends the group in its first poll: it drops them.
    for container in FIXED {
        for &pending_first in starts {
            for deeper in [false, true] {
                let _at = At(format!("{kinds}, {container:?}, pending first: {pending_first}, deeper: {deeper}"));
                let world = World::new();
                let (Crew { children, work, clean }, set) = (crew(&world.log, kinds), Settings::default());
                let mut group = make(container, children, &set, &world.log);
                if deeper {
                    group = Box::pin(one_level_deeper(group));
                }
                let (mut group, mut result, mut polled) = (Some(group), None, pending_first);
                if pending_first {
                    assert!(world.poll(group.as_mut().unwrap().as_mut()).is_pending());
                    world.log.expect("");
                }
                for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
                    let line = match (line.strip_prefix("pending: "), line.strip_prefix("ready: ")) {
                        (Some(line), _) if pending_first => line,
                        (_, Some(line)) if !pending_first => line,
                        (None, None) => line,
                        _ => continue,
                    };
                    let (actions, expected) = line.split_once("=>").unwrap();
                    for action in actions.split(';').map(str::trim) {
                        let words: Vec<&str> = action.split(' ').collect();
                        let child = || NAMES.iter().position(|name| *name == words[1]).unwrap();
                        let value = || words.get(2).map_or(child() as u32, |value| value.parse().unwrap());
                        let error = |names: [&'static str; 10]| match words.get(2) {
                            Some(error) => *NAMES.iter().find(|name| *name == error).unwrap(),
                            None => names[child()],
                        };
                        match words[0] {
                            "ok" => work[child()].open(Ok(value())),
                            "fail" => work[child()].open(Err(error(NAMES))),
                            "clean" => clean[child()].open(Ok(value())),
                            "bad" => clean[child()].open(Err(error(LATE))),
                            "signal" => set.signal.open(()),
                            "over" => set.over.open(()),
                            "drop" => group = None,
                            "poll" => {
                                let woken = world.wakes.take() > 0;
                                assert!(woken || !polled || expected.trim().is_empty(), "not woken: {line}");
                                polled = true;
                                if let Poll::Ready(output) = world.poll(group.as_mut().unwrap().as_mut()) {
                                    world.log.push("ready");
                                    result = Some(output);
                                    group = None;
                                }
                            }
                            _ => panic!("no such action: {action}"),
                        }
                    }
                    let happened = world.log.take().join(", ");
                    assert_eq!(happened, expected.trim(), "in: {line}");
                }
                assert!(group.is_none(), "the script ends with a result or a drop");
                assert_eq!(result, expected);
                assert!(set.graces.get() <= 1, "a grace is never restarted");
            }
        }
    }
}

/// As `play`, once for the plain result of a group and once for its report.
fn check(
    scenario: (&str, &[bool], &str),
    result: Plain<&'static str>,
    cause: Cause,
    outcomes: &[Outcome<u32, &'static str>],
) {
    play(scenario, Some(result), |container, children, set, _| plain(container, children, set));
    play(scenario, Some((cause, outcomes.to_vec())), |container, children, set, _| told(container, children, set));
}

/// Runs a test in every container, in both start disciplines.
fn everywhere(test: impl Fn(Container, bool)) {
    for container in CONTAINERS {
        for pending_first in [true, false] {
            if container == Container::Source && !pending_first {
                // A child behind one that ends the group at once is not drawn.
                continue;
            }
            let _at = At(format!("{container:?}, pending first: {pending_first}"));
            test(container, pending_first);
        }
    }
}

/// A group of these kinds, without settings, as a future that can be awaited within another.
fn bare<E: 'static>(container: Container, children: Vec<Member<E>>) -> Any<'static, Result<Vec<u32>, E>> {
    group!(container, children, |all| kit::any(all))
}

const STOPPED: Cause = Cause::Cancelled;

#[test]
fn tg_1_all_values_in_order() {
    for kinds in ["pp", "dd", "ts", "pc"] {
        let script = "
            pending: ok a 42; ok b 11; poll => past b, drop b, past a, drop a, ready
            ready: ok a 42; ok b 11; poll => past a, drop a, past b, drop b, ready
        ";
        check((kinds, BOTH, script), Ok(Ok(vec![42, 11])), Cause::Completed, &[Done(42), Done(11)]);
        // TG-2: a delayed child is waited for.
        let script = "
            ok a 42; poll => past a, drop a
            ok b 11; poll => past b, drop b, ready
        ";
        check((kinds, BOTH, script), Ok(Ok(vec![42, 11])), Cause::Completed, &[Done(42), Done(11)]);
    }
}

#[test]
fn tg_3_a_child_that_is_cancelled_by_itself_has_not_failed() {
    for container in CONTAINERS {
        for pending_first in [true, false] {
            let _at = At(format!("{container:?}, pending first: {pending_first}"));
            for (kinds, stopped, cleaned) in [
                ("pp", "drop a", ""),
                ("dp", "stop a", "clean a, drop a"),
                ("cp", "drop a", "clean A, drop A"),
                ("sp", "", "past a, drop a"),
            ] {
                let world = World::new();
                let (crew, stop) = (crew::<&'static str>(&world.log, kinds), Gate::<()>::new());
                // Not a failure, where its output says so: without a value, and without an error.
                let mut stop_a = Some(stop.clone().wait());
                let children = crew.children.into_iter().map(|child| {
                    let never = async { pending().await };
                    let stop: Any<'_, ()> =
                        stop_a.take().map_or_else(|| Box::pin(never) as _, |stop| Box::pin(stop) as _);
                    LocalBoxChild::new(
                        child.cancel_when(stop).map(|ended| ended.map_or(Ok(None), |ended| ended.map(Some))),
                    )
                });
                let mut all = group!(container, children.collect::<Vec<_>>(), |all| kit::any(all.report()));
                if pending_first {
                    assert!(world.poll(all.as_mut()).is_pending());
                }
                stop.open(());
                assert!(world.poll(all.as_mut()).is_pending());
                // One that was never polled has nothing to clean up.
                let never_started = !pending_first && matches!(kinds, "cp" | "sp");
                world.log.expect(if never_started { "drop a" } else { stopped });
                // One that has been dropped is over; else its drain ends, and what that ends with is dropped.
                crew.work[0].open(Ok(1));
                crew.clean[0].open(Ok(1));
                assert!(world.poll(all.as_mut()).is_pending());
                world.log.expect(if never_started { "" } else { cleaned });
                crew.work[1].open(Ok(11));
                let outcomes = vec![Done(None), Done(Some(11))];
                assert_eq!(world.poll(all.as_mut()), Poll::Ready((Cause::Completed, outcomes)));
                world.log.expect("past b, drop b");
            }
        }
    }
}

#[test]
fn tg_4_a_failure_stops_and_drains_the_sibling() {
    let script = "
        fail a; poll => fail a, drop a, stop b
        ok b; poll =>
        clean b; poll => clean b, drop b, ready
    ";
    check(("pd", BOTH, script), Ok(Err("a")), Cause::Failed(0), &[Failed("a"), Drained(Some(Ok(1)))]);
    let script = "
        fail a; poll => fail a, drop a, drop b
        ok b; poll =>
        clean b; poll => clean B, drop B, ready
    ";
    check(("pc", PENDING, script), Ok(Err("a")), Cause::Failed(0), &[Failed("a"), Drained(None)]);

    // The owner's next line does not run.
    everywhere(|container, pending_first| {
        let world = World::new();
        let Crew { children, work, clean } = crew(&world.log, "pd");
        let group = bare(container, children);
        let mut owner = pin!(async {
            group.await?;
            world.log.push("next");
            Ok::<_, &str>(())
        });
        assert!(!pending_first || world.poll(owner.as_mut()).is_pending());
        work[0].open(Err("a"));
        assert!(world.poll(owner.as_mut()).is_pending());
        clean[1].open(Ok(1));
        assert_eq!(world.poll(owner.as_mut()), Poll::Ready(Err("a")));
        world.log.expect("fail a, drop a, stop b, clean b, drop b");
    });
}

#[test]
fn tg_5_several_failures_in_one_turn() {
    // Draining children, that have failed when they are told: all errors are there.
    let script = "
        fail a; fail b; fail c; poll => fail a, drop a, stop b, stop c, stop d, stop e, fail b, drop b, fail c, drop c
        clean d; poll => clean d, drop d
        clean e; poll => clean e, drop e, ready
    ";
    let (drained, late) = ([Drained(Some(Ok(3))), Drained(Some(Ok(4)))], |error| Drained(Some(Err(error))));
    let outcomes = [Failed("a"), late("b"), late("c"), drained[0], drained[1]];
    check(("tttdd", READY, script), Ok(Err("a")), Cause::Failed(0), &outcomes);
    // Plain ones behind the cause are dropped.
    let script = "
        fail a; fail b; fail c; poll => fail a, drop a, drop b, drop c, stop d, stop e
        clean d; clean e; poll => clean e, drop e, clean d, drop d, ready
    ";
    let outcomes = [Failed("a"), Dropped, Dropped, drained[0], drained[1]];
    check(("pppdd", READY, script), Ok(Err("a")), Cause::Failed(0), &outcomes);

    // In the second pass b is the first, and so the cause.
    let script = "
        fail a; fail b; fail c; poll => fail b, drop b, stop a, stop c, stop d, stop e, fail a, drop a, fail c, drop c
        clean d; poll => clean d, drop d
        clean e; poll => clean e, drop e, ready
    ";
    let outcomes = [late("a"), Failed("b"), late("c"), drained[0], drained[1]];
    check(("tttdd", PENDING, script), Ok(Err("b")), Cause::Failed(1), &outcomes);
    let script = "
        fail a; fail b; fail c; poll => fail b, drop b, drop a, drop c, stop d, stop e
        clean d; clean e; poll => clean e, drop e, clean d, drop d, ready
    ";
    let outcomes = [Dropped, Failed("b"), Dropped, drained[0], drained[1]];
    check(("pppdd", PENDING, script), Ok(Err("b")), Cause::Failed(1), &outcomes);
}

#[test]
fn tg_6_the_signal_stops_each_once_and_a_drop_stops_nobody() {
    let script = "
        signal; poll => stop a, stop b, stop c, stop d, stop e
        clean a; clean b; clean c; clean d; poll => clean b, drop b, clean c, drop c, clean d, drop d, clean a, drop a
        clean e; poll => clean e, drop e, ready
    ";
    let outcomes: Vec<_> = (0..5).map(|index| Drained(Some(Ok(index)))).collect();
    check(("ddddd", BOTH, script), Err(Cancelled), STOPPED, &outcomes);
    let script = "drop => drop a, drop b, drop c, drop d, drop e";
    play(("ddddd", BOTH, script), None, |container, children, set, _| plain(container, children, set));
    play(("ddddd", BOTH, script), None, |container, children, set, _| told(container, children, set));
}

#[test]
fn tg_7_the_signal_stops_the_body_too() {
    let script = "
        signal; poll => stop a, stop b, stop c, stop d, stop e, stop f
        clean a; clean b; clean c; clean d; clean e; poll => clean b, drop b, clean c, drop c, clean d, drop d, clean e, drop e, clean a, drop a
        clean f; poll => clean f, drop f, ready
    ";
    let outcomes: Vec<_> = (0..6).map(|index| Drained(Some(Ok(index)))).collect();
    check(("dddddd", BOTH, script), Err(Cancelled), STOPPED, &outcomes);
}

#[test]
fn tg_8_errors_of_a_stopped_group_are_in_the_report() {
    let script = "
        signal; poll => stop a, stop b, stop c, stop d, stop e, stop f
        bad a; bad b; bad c; bad d; bad e; poll => clean b, drop b, clean c, drop c, clean d, drop d, clean e, drop e, clean a, drop a
        clean f; poll => clean f, drop f, ready
    ";
    let mut outcomes: Vec<_> = LATE[..5].iter().map(|error| Drained(Some(Err(*error)))).collect();
    outcomes.push(Drained(Some(Ok(5))));
    check(("dddddd", BOTH, script), Err(Cancelled), STOPPED, &outcomes);
}

#[test]
fn tg_9_the_body_fails_after_a_turn() {
    let script = "
        poll =>
        fail c; poll => fail c, drop c, drop a, drop b, ready
    ";
    check(("ppp", BOTH, script), Ok(Err("c")), Cause::Failed(2), &[Dropped, Dropped, Failed("c")]);
    let script = "
        poll =>
        fail c; poll => fail c, drop c, stop a, stop b
        clean a; clean b; poll => clean b, drop b, clean a, drop a, ready
    ";
    let outcomes = [Drained(Some(Ok(0))), Drained(Some(Ok(1))), Failed("c")];
    check(("ddp", BOTH, script), Ok(Err("c")), Cause::Failed(2), &outcomes);
}

#[test]
fn tg_10_the_body_fails_in_its_first_poll() {
    let script = "fail c; poll => fail c, drop c, drop a, drop b, ready";
    check(("ppp", READY, script), Ok(Err("c")), Cause::Failed(2), &[Dropped, Dropped, Failed("c")]);
    // Before the others: they never complete, though they could.
    let script = "ok b; ok c; fail a; poll => fail a, drop a, drop b, drop c, ready";
    check(("ppp", READY, script), Ok(Err("a")), Cause::Failed(0), &[Failed("a"), Dropped, Dropped]);
    let script = "
        ok b; ok c; fail a; poll => fail a, drop a, stop b, stop c
        clean b; clean c; poll => clean c, drop c, clean b, drop b, ready
    ";
    let outcomes = [Failed("a"), Drained(Some(Ok(1))), Drained(Some(Ok(2)))];
    check(("pdd", READY, script), Ok(Err("a")), Cause::Failed(0), &outcomes);
}

/// An inner group whose report is its error if it holds one.
fn inner_with_report(container: Container, children: Vec<Member<&'static str>>) -> Member<Told<&'static str>> {
    group!(container, children, |inner| LocalBoxChild::new(inner.report().map(|report| {
        let (cause, outcomes) = report.flatten();
        let failed = outcomes.iter().any(|outcome| outcome.error().is_some() || matches!(outcome.late(), Some(Err(_))));
        if failed { Err((cause, outcomes)) } else { Ok(0) }
    })))
}

#[test]
fn tg_11_the_signal_reaches_the_leaves_of_an_inner_group() {
    let script = "
        signal; poll => stop a, stop b, stop c, stop d, stop e
        bad a; bad b; bad c; bad d; poll => clean b, drop b, clean c, drop c, clean d, drop d, clean a, drop a
        bad e; poll => clean e, drop e, ready
    ";
    let inner: Vec<_> = LATE[..5].iter().map(|error| Drained(Some(Err(*error)))).collect();
    let scenario = ("ddddd", BOTH, script);
    // One entry: the inner error, with five.
    let outcomes = vec![Drained(Some(Err((STOPPED, inner))))];
    play(scenario, Some((STOPPED, outcomes)), |container, children, set, _| {
        told(container, vec![inner_with_report(container, children)], set)
    });
    play(scenario, Some(Err(Cancelled)), |container, children, set, _| {
        plain(container, vec![inner_with_report(container, children)], set)
    });
}

#[test]
fn tg_12_a_plain_child_beside_the_inner_group_adds_no_error() {
    let script = "
        signal; poll => stop a, stop b, stop c, stop d, stop e, drop plain
        bad a; bad b; bad c; bad d; bad e; poll => clean b, drop b, clean c, drop c, clean d, drop d, clean e, drop e, clean a, drop a, ready
    ";
    let inner: Vec<_> = LATE[..5].iter().map(|error| Drained(Some(Err(*error)))).collect();
    let outcomes = vec![Drained(Some(Err((STOPPED, inner)))), Dropped];
    play(("ddddd", BOTH, script), Some((STOPPED, outcomes)), |container, children, set, log| {
        let plain = LocalBoxChild::new(Probe::new("plain", log, &Gate::new()));
        told(container, vec![inner_with_report(container, children), plain], set)
    });
}

#[test]
fn tg_13_a_stopped_inner_group_is_no_error() {
    fn inner(container: Container, children: Vec<Member<&'static str>>) -> Member<&'static str> {
        group!(container, children, |inner| LocalBoxChild::new(inner.map(|result| result.map(|_| 0))))
    }
    let script = "
        fail a; poll => fail a, drop a, stop b
        poll =>
        bad b; poll => clean b, drop b, ready
    ";
    for crashes_first in [true, false] {
        let order = move |container, children: Vec<Member<&'static str>>| {
            let mut children = children.into_iter();
            let (crashing, long) = (children.next().unwrap(), children.collect());
            let inner = inner(container, long);
            if crashes_first { vec![crashing, inner] } else { vec![inner, crashing] }
        };
        let (cause, outcomes) = match crashes_first {
            true => (Cause::Failed(0), vec![Failed("a"), Drained(None)]),
            false => (Cause::Failed(1), vec![Drained(None), Failed("a")]),
        };
        let scenario = ("pd", BOTH, script);
        play(scenario, Some(Ok(Err("a"))), |container, children, set, _| {
            plain(container, order(container, children), set)
        });
        play(scenario, Some((cause, outcomes)), |container, children, set, _| {
            told(container, order(container, children), set)
        });
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Fault(&'static str);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Fault {}

#[test]
fn tg_14_the_error_of_an_inner_group_keeps_its_nesting() {
    let nest = |container: Container, children: Vec<Member<&'static str>>| {
        let mut children = children.into_iter();
        let long = LocalBoxChild::new(children.next().unwrap().map(|result| result.map_err(|_| unreachable!())));
        let inner: Vec<_> = children.map(|child| child.map(|result| result.map_err(Fault))).collect();
        let inner: Member<GatherError<Fault>> = group!(container, inner, |inner| LocalBoxChild::new(
            inner.report().map(|report| report.into_result().map(|_| 0))
        ));
        vec![long, inner]
    };
    let script = "
        fail c; poll => fail c, drop c, drop b, stop a
        clean a; poll => clean a, drop a, ready
    ";
    play(("dpp", BOTH, script), Some(true), |container, children, set, _| {
        let group = told(container, nest(container, children), set);
        Box::pin(async move {
            let (cause, outcomes) = group.await;
            assert_eq!((cause, &outcomes[0]), (Cause::Failed(1), &Drained(Some(Ok(0)))));
            let error = outcomes[1].error().unwrap();
            assert!(matches!(error, GatherError::Failed { index: 1, source: Fault("c") }));
            error.source().unwrap().downcast_ref() == Some(&Fault("c"))
        })
    });
}

// TG-16 is that every script is also run one level of `await` deeper.
#[test]
fn tg_15_and_16_a_late_failure_does_not_interrupt_a_cleanup() {
    let script = "
        signal; poll => stop a
        fail b; poll => fail b, drop b
        poll =>
        clean a; poll => clean a, drop a, ready
    ";
    let outcomes = [Drained(Some(Ok(0))), Drained(Some(Err("b")))];
    check(("ds", PENDING, script), Err(Cancelled), STOPPED, &outcomes);
    // A deaf one that was never polled is dropped.
    let script = "
        signal; poll => stop a, drop b
        clean a; poll => clean a, drop a, ready
    ";
    check(("ds", READY, script), Err(Cancelled), STOPPED, &[Drained(Some(Ok(0))), Dropped]);
    // One that hears it and goes on.
    let script = "
        signal; poll => stop a, stop b
        fail b; poll => fail b, drop b
        poll =>
        clean a; poll => clean a, drop a, ready
    ";
    check(("dt", BOTH, script), Err(Cancelled), STOPPED, &outcomes);
}

#[test]
fn tg_17_and_18_a_group_of_one_body() {
    for (answer, outcome) in [("clean a", Ok(0)), ("bad a", Err("A"))] {
        let script = format!(
            "
            signal; poll => stop a
            ok a; poll =>
            {answer}; poll => clean a, drop a, ready
        "
        );
        check(("d", BOTH, &script), Err(Cancelled), STOPPED, &[Drained(Some(outcome))]);
    }
}

#[test]
fn tg_19_and_31_a_failure_and_a_failing_cleanup_are_both_kept() {
    // TG-31: both of them fail with the same error.
    for (answer, error) in [("bad b", "B"), ("bad b a", "a")] {
        let script = format!(
            "
            fail a; poll => fail a, drop a, stop b
            {answer}; poll => clean b, drop b, ready
        "
        );
        check(("pd", BOTH, &script), Ok(Err("a")), Cause::Failed(0), &[Failed("a"), Drained(Some(Err(error)))]);
    }
}

/// Pends until its gate is opened with a payload, and panics with it.
fn bomb(log: &Log, armed: &Gate<Arc<()>>) -> impl Future<Output = Output> + use<> {
    let (token, armed) = (log.token("bomb"), armed.clone());
    async move {
        let _token = token;
        resume_unwind(Box::new(armed.wait().await))
    }
}

/// Polls what is going to panic. The panic leaves the poll as it is, the gather holds no copy of it (TG-46), polling again
/// panics with a message, and there is no child left to drop.
fn panics<G: FusedFuture>(world: &World, mut all: Pin<Box<G>>, expected: &str) {
    let payload = catch_unwind(AssertUnwindSafe(|| world.poll(all.as_mut()).is_ready())).unwrap_err();
    world.log.expect(expected);
    assert!(all.is_terminated());
    assert_eq!(panic_of(|| _ = world.poll(all.as_mut()).is_ready()), "`Gather` polled after a panic");
    drop(all);
    world.log.expect("");
    assert_eq!(Arc::strong_count(&payload.downcast::<Arc<()>>().unwrap()), 1);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn tg_20_and_46_a_panic_in_a_cleanup_replaces_the_error() {
    everywhere(|container, pending_first| {
        let world = World::new();
        let (Crew { mut children, work, .. }, armed) = (crew(&world.log, "pd"), Gate::new());
        let log = world.log.clone();
        children.insert(1, LocalBoxChild::new(bomb(&log, &armed).on_cancel(move |_| log.push("stop bomb"))));
        group!(container, children, |all| {
            let mut all = Box::pin(all.into_future());
            assert!(!pending_first || world.poll(all.as_mut()).is_pending());
            work[0].open(Err("a"));
            assert!(world.poll(all.as_mut()).is_pending());
            world.log.expect("fail a, drop a, stop bomb, stop b");
            armed.open(Arc::new(()));
            panics(&world, all, "drop bomb, drop b");
        });
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn tg_22_and_46_after_a_panic_no_cleanup_is_awaited() {
    everywhere(|container, pending_first| {
        let world = World::new();
        let (Crew { mut children, clean, .. }, armed) = (crew(&world.log, "dp"), Gate::new());
        children.insert(0, LocalBoxChild::new(bomb(&world.log, &armed)));
        group!(container, children, |all| {
            let mut all = Box::pin(all.into_future());
            assert!(!pending_first || world.poll(all.as_mut()).is_pending());
            clean[0].open(Err("A"));
            armed.open(Arc::new(()));
            panics(&world, all, "drop bomb, drop a, drop b");
        });
    });
}

#[test]
fn tg_21_and_23_errors_of_different_kinds_are_not_converted() {
    #[derive(Debug, PartialEq)]
    enum Kind {
        Number(u8),
        Text(String),
    }
    fn two<E: 'static>(container: Container, pending_first: bool, errors: [E; 2]) -> [E; 2] {
        let world = World::new();
        let Crew { children, work, clean } = crew::<E>(&world.log, "pd");
        let mut all = told(container, children, &Settings::default());
        assert!(!pending_first || world.poll(all.as_mut()).is_pending());
        let [first, second] = errors;
        work[0].open(Err(first));
        clean[1].open(Err(second));
        let Poll::Ready((Cause::Failed(0), outcomes)) = world.poll(all.as_mut()) else {
            panic!("the first has failed")
        };
        world.log.expect("fail a, drop a, stop b, clean b, drop b");
        match <[_; 2]>::try_from(outcomes) {
            Ok([Failed(first), Drained(Some(Err(second)))]) => [first, second],
            _ => panic!("both are there"),
        }
    }
    everywhere(|container, pending_first| {
        let kinds = two(container, pending_first, [Kind::Number(1), Kind::Text("two".into())]);
        assert_eq!(kinds, [Kind::Number(1), Kind::Text("two".into())]);
        let boxed: [Box<dyn Error>; 2] = [Box::new(Fault("fault")), Box::new("x".parse::<u8>().unwrap_err())];
        let [fault, parse] = two(container, pending_first, boxed);
        assert_eq!(*fault.downcast::<Fault>().unwrap(), Fault("fault"));
        assert!(parse.is::<std::num::ParseIntError>());
    });
    // A tuple keeps different types.
    let late = pending::<Result<(), u8>>();
    let group = gather((late.cleanup(|| ready(())), ready(Err::<(), _>(Fault("fault")))));
    let report = pollster::block_on(group.report());
    assert_eq!(report.outcomes, (Drained(None), Failed(Fault("fault"))));
}

#[test]
fn tg_24_and_52_the_signal_drops_or_stops_all_and_is_no_error() {
    check(("pp", BOTH, "signal; poll => drop a, drop b, ready"), Err(Cancelled), STOPPED, &[Dropped, Dropped]);
    let script = "
        signal; poll => stop a, stop b
        ok a; ok b; poll =>
        clean a; poll => clean a, drop a
        clean b; poll => clean b, drop b, ready
    ";
    let outcomes = [Drained(Some(Ok(0))), Drained(Some(Ok(1)))];
    check(("dd", BOTH, script), Err(Cancelled), STOPPED, &outcomes);
}

#[test]
fn tg_25_each_child_is_dropped_when_it_ends() {
    let order = [3, 7, 0, 9, 1, 5, 2, 8, 4, 6].map(|index| NAMES[index]);
    let lines = order.map(|name| format!("ok {name}; poll => past {name}, drop {name}"));
    let script = lines.join("\n") + ", ready";
    let done: Vec<_> = (0..10).map(Done).collect();
    for kind in ["p", "d", "t"] {
        check((&kind.repeat(10), BOTH, &script), Ok(Ok((0..10).collect())), Cause::Completed, &done);
    }
}

// TG-28 and TG-47: there are no names, an error says the index.
#[test]
fn tg_28_and_47_the_error_says_the_index() {
    let all = gather([ready(Ok::<u8, _>(1)), ready(Err(Fault("broken pipe")))]).report();
    let error = pollster::block_on(all).into_result().unwrap_err();
    assert_eq!(
        (error.to_string(), error.source().unwrap().to_string()),
        ("child 1 failed".into(), "broken pipe".into())
    );
}

#[test]
fn tg_32_a_gather_is_moved_when_it_is_awaited() {
    // It is neither `Clone` nor `Copy`, whatever its children are: this does not compile if it is.
    trait NotClone<A> {
        fn holds() {}
    }
    impl<T> NotClone<()> for T {}
    impl<T: Clone> NotClone<u8> for T {}
    type Cloneable = std::future::Ready<Output>;
    <GatherOf<(Cloneable, Cloneable)> as NotClone<_>>::holds();
    <GatherOf<[Cloneable; 2]> as NotClone<_>>::holds();
    <GatherOf<Vec<Cloneable>> as NotClone<_>>::holds();
    <GatherOf<Box<[Cloneable]>> as NotClone<_>>::holds();
    <Group<(Cloneable, Cloneable)> as NotClone<_>>::holds();
    <Group<[Cloneable; 2]> as NotClone<_>>::holds();
    <Group<Vec<Cloneable>> as NotClone<_>>::holds();
    <Group<Box<[Cloneable]>> as NotClone<_>>::holds();
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn tg_33_polled_after_its_end_it_panics_and_touches_no_child() {
    fn ends<G: IntoFuture<IntoFuture: FusedFuture>>(
        world: &World,
        pending_first: bool,
        all: G,
        gates: &[Gate<Output>],
    ) {
        let mut all = Box::pin(all.into_future());
        assert!(!pending_first || world.poll(all.as_mut()).is_pending());
        assert!(!all.is_terminated());
        gates[1].open(Err("b"));
        assert!(world.poll(all.as_mut()).is_ready());
        world.log.expect("fail b, drop b, drop a, drop c");
        assert!(all.is_terminated());
        gates[0].open(Ok(0));
        assert_eq!(panic_of(|| _ = world.poll(all.as_mut()).is_ready()), "`Gather` polled after completion");
        drop(all);
        world.log.expect("");
    }
    everywhere(|container, pending_first| {
        let world = World::new();
        let Crew { children, work, .. } = crew(&world.log, "ppp");
        group!(container, children, |all| ends(&world, pending_first, all, &work));
    });
}

// TG-35: there is no adding, but the rest holds: no child is polled before the gather is.
#[test]
fn tg_35_children_are_not_polled_before_the_gather_is() {
    let world = World::new();
    let Crew { children, work, .. } = crew::<()>(&world.log, "pdc");
    let all: Group<Vec<_>> = children.into_iter().collect();
    let mut all = all.into_future();
    assert!(work.iter().all(|gate| gate.waker().is_none()));
    assert!(world.poll(Pin::new(&mut all)).is_pending());
    assert!(work.iter().all(|gate| gate.waker().is_some()));
}

#[test]
fn tg_36_no_task_and_no_runtime_is_needed() {
    everywhere(|container, pending_first| {
        let (log, mut cx) = (Log::default(), Context::from_waker(Waker::noop()));
        let Crew { children, work, .. } = crew::<()>(&log, "pdc");
        let mut all = bare(container, children);
        assert!(!pending_first || all.as_mut().poll(&mut cx).is_pending());
        for (gate, value) in work.iter().zip(0..) {
            gate.open(Ok(value));
        }
        assert_eq!(all.as_mut().poll(&mut cx), Poll::Ready(Ok(vec![0, 1, 2])));
    });
}

/// A child that hears in `token` that it is stopped, and says so.
fn owner(log: &Log, token: &Gate<()>, work: impl Future<Output = Output> + 'static) -> LocalBoxChild<'static, Output> {
    let (log, token) = (log.clone(), token.clone());
    LocalBoxChild::new(work.on_cancel(move |_| {
        log.push("stop owner");
        token.open(());
    }))
}

#[test]
fn tg_31_38_and_49_the_stop_of_a_failed_group_stays_within_it() {
    everywhere(|container, pending_first| {
        let (world, token, next, set) = (World::new(), Gate::new(), Gate::new(), Settings::default());
        let Crew { children, work, clean } = crew(&world.log, "pd");
        let (group, log, waits) = (bare(container, children), world.log.clone(), next.clone());
        let work_of_owner = async move {
            assert_eq!(group.await, Err("E"));
            yield_now().await;
            log.push("yielded");
            waits.wait().await
        };
        let mut outer = plain(container, vec![owner(&world.log, &token, work_of_owner)], &set);
        assert!(!pending_first || world.poll(outer.as_mut()).is_pending());
        work[0].open(Err("E"));
        clean[1].open(Err("E"));
        assert!(world.quiesce(outer.as_mut()).0.is_pending());
        world.log.expect("fail a, drop a, stop b, clean b, drop b, yielded");
        next.open(Ok(7));
        assert_eq!(world.poll(outer.as_mut()), Poll::Ready(Ok(Ok(vec![7]))));
        world.log.expect("");
    });
}

#[test]
fn tg_39_inner_and_outer_fail_in_one_turn() {
    everywhere(|container, pending_first| {
        for owner_first in [true, false] {
            let (world, token) = (World::new(), Gate::new());
            let Crew { children, work, clean } = crew(&world.log, "pd");
            let (inner, log, stopped) = (bare(container, children), world.log.clone(), token.clone());
            let owner = owner(&world.log, &token, async move {
                log.push(format!("inner {:?}", inner.await));
                stopped.wait().await;
                log.push("stopped");
                Ok(0)
            });
            let (sibling, fail) = world.probe("sibling");
            let sibling = LocalBoxChild::new(sibling);
            let outer = bare(container, if owner_first { vec![owner, sibling] } else { vec![sibling, owner] });
            let mut top = pin!(async {
                let result = outer.await;
                yield_now().await;
                result
            });
            assert!(!pending_first || world.poll(top.as_mut()).is_pending());
            work[0].open(Err("a"));
            clean[1].open(Ok(1));
            fail.open(Err("sibling"));
            let (result, polls) = world.quiesce(top.as_mut());
            assert_eq!((result, polls), (Poll::Ready(Err("sibling")), 2));
            let inner = "fail a, drop a, stop b, clean b, drop b, inner Err(\"a\")";
            // The second pass begins with the other one.
            world.log.expect(&match owner_first != pending_first {
                true => format!("{inner}, end sibling, drop sibling, stop owner, stopped"),
                false => format!("end sibling, drop sibling, stop owner, {inner}, stopped"),
            });
        }
    });
    // The same with a nested one that still drains when its sibling fails. In one turn only where that is the first: the
    // second pass begins with the sibling.
    let script = r#"
        ready: fail a; fail c; poll => fail a, drop a, stop b, fail c, drop c
        pending: fail a; poll => fail a, drop a, stop b
        pending: fail c; poll => fail c, drop c
        clean b; poll => clean b, drop b, inner Err("a"), ready
    "#;
    play(("pdp", BOTH, script), Some(Ok(Err("c"))), |container, mut children, set, log| {
        let (last, log) = (children.pop().unwrap(), log.clone());
        let inner = group!(container, children, |inner| LocalBoxChild::new(inner.map(move |result| {
            log.push(format!("inner {result:?}"));
            Ok(0)
        })));
        plain(container, vec![inner, last], set)
    });
}

#[test]
fn tg_40_a_stop_in_the_turn_of_a_failure_is_not_consumed() {
    everywhere(|container, pending_first| {
        let (world, token, set) = (World::new(), Gate::new(), Settings::default());
        let Crew { children, work, .. } = crew(&world.log, "pp");
        let (group, log, stopped) = (bare(container, children), world.log.clone(), token.clone());
        let owner = owner(&world.log, &token, async move {
            log.push(format!("group {:?}", group.await));
            stopped.wait().await;
            log.push("stopped");
            Ok(0)
        });
        let mut outer = plain(container, vec![owner], &set);
        assert!(!pending_first || world.poll(outer.as_mut()).is_pending());
        work[0].open(Err("a"));
        set.signal.open(());
        assert_eq!(world.poll(outer.as_mut()), Poll::Ready(Err(Cancelled)));
        let (stop, group) = ("stop owner", "fail a, drop a, drop b, group Err(\"a\")");
        // A signal that is there at first is seen before anyone is started.
        world.log.expect(&if pending_first {
            format!("{group}, {stop}, stopped")
        } else {
            format!("{stop}, {group}, stopped")
        });
    });
}

#[test]
fn tg_41_42_and_44_the_error_is_the_only_thing_left() {
    fn is_static<T: 'static>(value: T) -> T {
        value
    }
    everywhere(|container, pending_first| {
        let run = |world: &World| {
            let Crew { children, work, clean } = crew::<Rc<Cell<u8>>>(&world.log, "pdp");
            (children, move || {
                work[0].open(Err(Rc::new(Cell::new(1))));
                clean[1].open(Err(Rc::new(Cell::new(2))));
            })
        };
        let world = World::new();
        let (children, fail) = run(&world);
        let mut all = bare(container, children);
        assert!(!pending_first || world.poll(all.as_mut()).is_pending());
        fail();
        let Poll::Ready(Err(error)) = world.poll(all.as_mut()) else { panic!("the first has failed") };
        // TG-44: all children are freed while the error is held.
        world.log.expect("fail a, drop a, stop b, drop c, clean b, drop b");
        drop(all);
        assert_eq!((error.get(), Rc::strong_count(&error)), (1, 1));

        let (children, fail) = run(&world);
        let mut all = told(container, children, &Settings::default());
        assert!(!pending_first || world.poll(all.as_mut()).is_pending());
        fail();
        let Poll::Ready((_, mut outcomes)) = world.poll(all.as_mut()) else { panic!("the first has failed") };
        let Some(Err(late)) = outcomes.remove(1).late() else { panic!("the second has failed late") };
        drop((all, outcomes));
        let late = is_static(late);
        assert_eq!((late.get(), Rc::strong_count(&late)), (2, 1));
    });
}

#[test]
fn tg_43_no_waker_of_the_owner_is_kept() {
    fn resolves<G: IntoFuture>(world: &World, pending_first: bool, all: G, crew: Crew<()>, container: Container) {
        let baseline = Arc::strong_count(&world.wakes);
        let mut all = Box::pin(all.into_future());
        assert!(!pending_first || world.poll(all.as_mut()).is_pending());
        crew.work[0].open(Err(()));
        assert!(world.poll(all.as_mut()).is_pending());
        crew.clean[1].open(Ok(1));
        assert!(world.poll(all.as_mut()).is_ready());
        // A tuple or an array passes the owner's waker through, so the gates hold it as long as they live.
        let gates = container.tells_wakes_apart().then_some(crew);
        assert_eq!(Arc::strong_count(&world.wakes), baseline);
        drop((all, gates));
    }
    everywhere(|container, pending_first| {
        let world = World::new();
        let mut three = crew(&world.log, "pdp");
        let children = std::mem::take(&mut three.children);
        group!(container, children, |all| resolves(&world, pending_first, all, three, container));
        let mut three = crew(&world.log, "pdp");
        let children = std::mem::take(&mut three.children);
        let inner: Member<()> =
            group!(container, children, |inner| LocalBoxChild::new(inner.map(|result| result.map(|_| 0))));
        group!(container, vec![inner], |all| resolves(&world, pending_first, all, three, container));
    });
}

#[test]
fn tg_45_what_a_stopped_group_leaves_holds_nothing_of_it() {
    everywhere(|container, pending_first| {
        let probe = Rc::new(());
        let members = || -> Vec<Member<()>> {
            let holds = |probe: Rc<()>| async move {
                pending::<()>().await;
                drop(probe);
                Ok(0)
            };
            let inner = vec![
                LocalBoxChild::new(holds(probe.clone())),
                LocalBoxChild::new(holds(probe.clone()).cleanup(|| ready(()))),
            ];
            let inner = group!(container, inner, |inner| LocalBoxChild::new(inner.map(|result| result.map(|_| 0))));
            vec![inner, LocalBoxChild::new(holds(probe.clone()))]
        };
        let (world, set) = (World::new(), Settings::default());
        let (mut all, mut reported) = (plain(container, members(), &set), told(container, members(), &set));
        assert_eq!(Rc::strong_count(&probe), 7);
        assert!(!pending_first || world.poll(all.as_mut()).is_pending() && world.poll(reported.as_mut()).is_pending());
        set.signal.open(());
        let result = world.poll(all.as_mut());
        set.signal.open(());
        let report = world.poll(reported.as_mut());
        assert_eq!(Rc::strong_count(&probe), 1);
        assert_eq!(result, Poll::Ready(Err(Cancelled)));
        assert_eq!(report, Poll::Ready((STOPPED, vec![Drained(None), Dropped])));
    });
}

#[test]
fn tg_48_a_child_stopped_at_its_start_runs_its_cleanup() {
    let script = "fail a; clean b; poll => fail a, drop a, stop b, clean b, drop b, ready";
    check(("pd", BOTH, script), Ok(Err("a")), Cause::Failed(0), &[Failed("a"), Drained(Some(Ok(1)))]);
    let script = "fail b; clean a; poll => fail b, drop b, stop a, clean a, drop a, ready";
    check(("dp", BOTH, script), Ok(Err("b")), Cause::Failed(1), &[Drained(Some(Ok(0))), Failed("b")]);
}

#[test]
fn tg_53_the_signal_stops_the_body_and_leaves_no_error() {
    let script = "signal; poll => drop a, drop b, drop c, ready";
    check(("ppp", BOTH, script), Err(Cancelled), STOPPED, &[Dropped, Dropped, Dropped]);
    let script = "
        signal; poll => drop a, drop b, stop c
        ok c; poll =>
        clean c; poll => clean c, drop c, ready
    ";
    check(("ppd", BOTH, script), Err(Cancelled), STOPPED, &[Dropped, Dropped, Drained(Some(Ok(2)))]);
}

// That one grace is made at most, `play` asserts everywhere.
#[test]
fn tg_54_a_second_signal_changes_nothing() {
    let script = "
        signal; signal; poll => stop a, stop b
        signal; poll =>
        clean a; signal; poll => clean a, drop a
        over; poll => drop b, ready
    ";
    check(("dd", BOTH, script), Err(Cancelled), STOPPED, &[Drained(Some(Ok(0))), Abandoned]);
}

#[test]
fn tg_55_a_signal_after_the_end_does_nothing() {
    fn ends<G: IntoFuture<IntoFuture: FusedFuture>>(
        world: &World,
        pending_first: bool,
        all: G,
        work: &[Gate<Output>],
        signal: &Gate<()>,
    ) {
        let mut all = Box::pin(all.into_future());
        assert!(!pending_first || world.poll(all.as_mut()).is_pending());
        work[0].open(Ok(0));
        work[1].open(Ok(1));
        assert!(world.poll(all.as_mut()).is_ready());
        // The signal is gone before it is ready.
        world.log.expect(match pending_first {
            true => "past b, drop b, past a, drop a, drop signal",
            false => "past a, drop a, past b, drop b, drop signal",
        });
        signal.open(());
        assert!(all.is_terminated());
        drop(all);
        world.log.expect("");
    }
    everywhere(|container, pending_first| {
        let world = World::new();
        let Crew { children, work, .. } = crew(&world.log, "pd");
        let (signal, fire) = world.probe("signal");
        let signal = signal.quiet();
        group!(container, children, |all| ends(&world, pending_first, all.cancel_when(signal), &work, &fire));
    });
}

#[test]
fn tg_56_a_signal_before_the_first_poll() {
    // The plain one could end, and is dropped unpolled.
    let script = "
        ok a; ok b; signal; poll => drop a, stop b
        clean b; poll => clean b, drop b, ready
    ";
    check(("pd", READY, script), Err(Cancelled), STOPPED, &[Dropped, Drained(Some(Ok(1)))]);
    let script = "ok a; clean b; signal; poll => drop a, stop b, clean b, drop b, ready";
    check(("pd", READY, script), Err(Cancelled), STOPPED, &[Dropped, Drained(Some(Ok(1)))]);
}

#[test]
fn tg_58_a_failure_after_the_signal_is_reported() {
    let (stopped, late) = (Drained(Some(Ok(0))), Drained(Some(Err("b"))));
    let script = "
        signal; poll => stop a, stop b
        fail b; poll => fail b, drop b
        clean a; poll => clean a, drop a, ready
    ";
    check(("dt", BOTH, script), Err(Cancelled), STOPPED, &[stopped, late]);
    // In one turn: the signal acts after the children, but in the first poll.
    let script = "
        signal; fail b; poll => fail b, drop b, stop a
        clean a; poll => clean a, drop a, ready
    ";
    check(("dt", PENDING, script), Ok(Err("b")), Cause::Failed(1), &[stopped, Failed("b")]);
    let script = "
        signal; fail b; poll => stop a, stop b, fail b, drop b
        clean a; poll => clean a, drop a, ready
    ";
    check(("dt", READY, script), Err(Cancelled), STOPPED, &[stopped, late]);
}

#[test]
fn tg_59_a_signal_after_a_failure_changes_nothing() {
    let script = "
        fail a; poll => fail a, drop a, stop b
        signal; poll =>
        clean b; poll => clean b, drop b, ready
    ";
    check(("pd", BOTH, script), Ok(Err("a")), Cause::Failed(0), &[Failed("a"), Drained(Some(Ok(1)))]);
}

#[test]
fn tg_60_a_child_that_fires_the_signal_in_its_first_poll_is_cancelled_in_it() {
    for container in CONTAINERS {
        for (place, drains) in [(0, false), (1, false), (2, false), (0, true), (1, true), (2, true)] {
            let _at = At(format!("{container:?}, place: {place}, drains: {drains}"));
            let (world, set, stop) = (World::new(), Settings::default(), Gate::new());
            let (log, token) = (world.log.clone(), world.log.token("firing"));
            let (signal, stopped) = (set.signal.clone(), stop.clone());
            let firing = async move {
                let _token = token;
                signal.open(());
                stopped.wait().await
            };
            let mut children = crew::<&str>(&world.log, "pp").children;
            children.insert(
                place,
                match drains {
                    false => LocalBoxChild::new(firing),
                    true => LocalBoxChild::new(firing.on_cancel(move |_| {
                        log.push("stop firing");
                        stop.open(Ok(7));
                    })),
                },
            );
            let mut all = told(container, children, &set);
            let (polled, polls) = world.quiesce(all.as_mut());
            assert_eq!(polls, 1);
            let mut outcomes = vec![Dropped, Dropped];
            outcomes.insert(place, if drains { Drained(Some(Ok(7))) } else { Dropped });
            assert_eq!(polled, Poll::Ready((STOPPED, outcomes)));
            let mut expected = vec!["drop a", "drop b"];
            expected.insert(place, if drains { "stop firing" } else { "drop firing" });
            expected.extend(drains.then_some("drop firing"));
            world.log.expect(&expected.join(", "));
        }
    }
}

#[test]
fn tg_61_the_stop_of_the_enclosing_scope_during_a_drain_is_seen() {
    // The group is nested: it drains on, and its parent is cancelled.
    everywhere(|container, pending_first| {
        let (world, set, signal) = (World::new(), Settings::default(), Gate::new());
        let Crew { mut children, clean, .. } = crew::<&str>(&world.log, "dd");
        let (sibling, log) = (children.pop().unwrap(), world.log.clone());
        let inner = group!(container, children, |inner| LocalBoxChild::new(
            inner.cancel_when(signal.clone().wait()).map(move |result| {
                assert!(matches!(result, Err(Cancelled)));
                log.push("inner stopped");
                Ok(0)
            })
        ));
        let mut outer = plain(container, vec![inner, sibling], &set);
        assert!(!pending_first || world.poll(outer.as_mut()).is_pending());
        signal.open(());
        assert!(world.poll(outer.as_mut()).is_pending());
        world.log.expect("stop a");
        set.signal.open(());
        assert!(world.poll(outer.as_mut()).is_pending());
        world.log.expect("stop b");
        clean[1].open(Ok(1));
        assert!(world.poll(outer.as_mut()).is_pending());
        clean[0].open(Ok(0));
        assert_eq!(world.poll(outer.as_mut()), Poll::Ready(Err(Cancelled)));
        world.log.expect("clean b, drop b, clean a, drop a, inner stopped");
    });
    // The group is awaited by an owner: it drains on, and the owner sees its own stop afterwards.
    everywhere(|container, pending_first| {
        let (world, set, scope, token) = (World::new(), Settings::default(), Settings::default(), Gate::new());
        let Crew { children, clean, .. } = crew::<&str>(&world.log, "d");
        let (group, log, stopped) = (plain(container, children, &set), world.log.clone(), token.clone());
        let owner = owner(&world.log, &token, async move {
            assert_eq!(group.await, Err(Cancelled));
            log.push("drained");
            stopped.wait().await;
            log.push("stopped");
            Ok(0)
        });
        let mut outer = plain(container, vec![owner], &scope);
        assert!(!pending_first || world.poll(outer.as_mut()).is_pending());
        set.signal.open(());
        assert!(world.poll(outer.as_mut()).is_pending());
        scope.signal.open(());
        assert!(world.poll(outer.as_mut()).is_pending());
        world.log.expect("stop a, stop owner");
        clean[0].open(Ok(0));
        assert_eq!(world.poll(outer.as_mut()), Poll::Ready(Err(Cancelled)));
        world.log.expect("clean a, drop a, drained, stopped");
    });
}
