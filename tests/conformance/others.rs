//! What the suites of trio, anyio, Kotlin, conc, quattro, aiotools and MicroPython add, line by line: S-1 to S-28.
//!
//! Passed over:
//! - S-8 (children added while running): a gather's children are given before it runs.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use crate::kit::{self, At, CONTAINERS, Container, FIXED, Flatten, Gate, Output, Probe, World, future_in, gather_in};
use futures_util::FutureExt;
use gather::Outcome::{Done, Drained, Dropped, Failed};
use gather::{CancelExt, Cancelled, Cause, Child, GatherError, LocalBoxChild, Outcome, Report, gather};

fn flat<O: Flatten>(report: Report<O>) -> (Cause, O::Flat) {
    (report.cause, report.outcomes.flatten())
}

const NAMES: [(&str, &str); 5] = [("a", "A"), ("b", "B"), ("c", "C"), ("d", "D"), ("e", "E")];

/// Children a, b, c and so on of these kinds, their gates, and those of their clean-ups:
///
/// - `p`lain;
/// - `t`old: `on_cancel` with a hook that logs `tell a`, and waited for;
/// - `o`bedient: as `t`, and when it is told it ends at once with `Err("told")`;
/// - `c`leanup: when it is cancelled, `drop a`, and then `end A` and `drop A`.
fn children<'a, const N: usize>(
    world: &'a World,
    kinds: &str,
) -> ([LocalBoxChild<'a, Output>; N], [Gate<Output>; N], [Gate<()>; N]) {
    let (gates, cleanups): ([Gate<Output>; N], [Gate<()>; N]) =
        (std::array::from_fn(|_| Gate::new()), std::array::from_fn(|_| Gate::new()));
    let children = std::array::from_fn(|index| {
        let ((name, cleanup_name), log) = (NAMES[index], &world.log);
        let (probe, gate, cleanup) =
            (Probe::new(name, log, &gates[index]), gates[index].clone(), cleanups[index].clone());
        match &kinds[index..=index] {
            "p" => LocalBoxChild::new(probe),
            "t" => LocalBoxChild::new(probe.on_cancel(move |_| log.push(format!("tell {name}")))),
            "o" => LocalBoxChild::new(probe.on_cancel(move |_| {
                log.push(format!("tell {name}"));
                gate.open(Err("told"));
            })),
            "c" => LocalBoxChild::new(probe.cleanup(move || Probe::new(cleanup_name, log, &cleanup))),
            kind => panic!("no such kind: {kind}"),
        }
    });
    (children, gates, cleanups)
}

/// A script for three children of these kinds. A line is `actions => log`; the actions are `ok a`, `fail a`, `clean a`
/// (open a gate; the values are 0, 1, 2 and the errors the names), `stop` (the signal) and `poll`. The script is run
/// with `report()`, after one poll unless it begins with `first`: the first pass begins with a, the second with b.
struct Line {
    name: &'static str,
    kinds: &'static str,
    settle: bool,
    script: &'static str,
}

const LINES: &[Line] = &[
    Line {
        name: "S-1: two fail in one turn, both errors are there",
        kinds: "ttp",
        settle: false,
        script: r#"first; fail a; fail b; poll => end a, drop a, tell b, drop c, end b, drop b, ready Failed(0) [Failed("a"), Drained(Some(Err("b"))), Dropped]"#,
    },
    Line {
        name: "S-1: the same in the second pass, of which b is the first",
        kinds: "ttp",
        settle: false,
        script: r#"fail a; fail b; poll => end b, drop b, tell a, drop c, end a, drop a, ready Failed(1) [Drained(Some(Err("a"))), Failed("b"), Dropped]"#,
    },
    Line {
        name: "S-1: a body and a child fail in one turn",
        kinds: "ttt",
        settle: false,
        script: r#"
            fail c; fail b; poll => end b, drop b, tell a, tell c, end c, drop c
            ok a; poll => end a, drop a, ready Failed(1) [Drained(Some(Ok(0))), Failed("b"), Drained(Some(Err("c")))]
        "#,
    },
    Line {
        name: "S-1: plain ones behind the first are dropped (deviation)",
        kinds: "ppp",
        settle: false,
        script: r#"first; fail a; fail b; poll => end a, drop a, drop b, drop c, ready Failed(0) [Failed("a"), Dropped, Dropped]"#,
    },
    Line {
        name: "S-1: plain ones behind the first of the second pass are dropped (deviation)",
        kinds: "ppp",
        settle: false,
        script: r#"fail a; fail b; poll => end b, drop b, drop a, drop c, ready Failed(1) [Dropped, Failed("b"), Dropped]"#,
    },
    Line {
        name: "S-2: a body that waits for ever is woken by the failure of a child",
        kinds: "opp",
        settle: false,
        script: r#"fail b; poll => end b, drop b, tell a, drop c, end a, drop a, ready Failed(1) [Drained(Some(Err("told"))), Failed("b"), Dropped]"#,
    },
    Line {
        name: "S-10: a signal while the children are waited for",
        kinds: "tpc",
        settle: false,
        script: "
            stop; poll => tell a, drop b, drop c
            poll =>
            clean c; poll => end C, drop C
            ok a; poll => end a, drop a, ready Cancelled [Drained(Some(Ok(0))), Dropped, Drained(None)]
        ",
    },
    Line {
        name: "S-13: a signal when the only child that was left has just ended",
        kinds: "ttp",
        settle: false,
        script: "
            ok a; ok c; poll => end c, drop c, end a, drop a
            ok b; stop; poll => end b, drop b, ready Completed [Done(0), Done(1), Done(2)]
        ",
    },
    Line {
        name: "S-17: a failure in the turn of the signal is reported",
        kinds: "ttp",
        settle: false,
        script: r#"
            stop; fail a; poll => end a, drop a, tell b, drop c
            ok b; poll => end b, drop b, ready Failed(0) [Failed("a"), Drained(Some(Ok(1))), Dropped]
        "#,
    },
    Line {
        name: "S-17: settled, the failure is in the report of one that was cancelled",
        kinds: "top",
        settle: true,
        script: r#"
            stop; fail a; poll => end a, drop a, tell b, drop c, end b, drop b, ready Cancelled [Failed("a"), Drained(Some(Err("told"))), Dropped]
        "#,
    },
    Line {
        name: "S-17: the same with plain siblings",
        kinds: "ppt",
        settle: false,
        script: r#"
            stop; fail c; poll => end c, drop c, drop a, drop b, ready Failed(2) [Dropped, Dropped, Failed("c")]
        "#,
    },
    Line {
        name: "S-17: a failure one turn later is late",
        kinds: "ppt",
        settle: false,
        script: r#"
            stop; poll => drop a, drop b, tell c
            fail c; poll => end c, drop c, ready Cancelled [Dropped, Dropped, Drained(Some(Err("c")))]
        "#,
    },
    Line {
        name: "S-18: the first is the cause, the others are reported in order",
        kinds: "ttt",
        settle: false,
        script: r#"first; fail c; fail b; fail a; poll => end a, drop a, tell b, tell c, end b, drop b, end c, drop c, ready Failed(0) [Failed("a"), Drained(Some(Err("b"))), Drained(Some(Err("c")))]"#,
    },
    Line {
        name: "S-19: an error of the clean-up is seen",
        kinds: "tpt",
        settle: false,
        script: r#"
            stop; poll => tell a, drop b, tell c
            ok c; poll => end c, drop c
            fail a; poll => end a, drop a, ready Cancelled [Drained(Some(Err("a"))), Dropped, Drained(Some(Ok(2)))]
        "#,
    },
    Line {
        name: "S-20: settled, a failure touches nobody",
        kinds: "tpo",
        settle: true,
        script: r#"
            fail b; poll => end b, drop b
            poll =>
            ok a; poll => end a, drop a
            ok c; poll => end c, drop c, ready Completed [Done(0), Failed("b"), Done(2)]
        "#,
    },
    Line {
        name: "S-24: the answer of those that are told is never the cause",
        kinds: "oop",
        settle: false,
        script: r#"fail c; poll => end c, drop c, tell a, tell b, end a, drop a, end b, drop b, ready Failed(2) [Drained(Some(Err("told"))), Drained(Some(Err("told"))), Failed("c")]"#,
    },
    Line {
        name: "S-24: nor when the cause is of the lowest index",
        kinds: "poo",
        settle: false,
        script: r#"fail a; poll => end a, drop a, tell b, tell c, end b, drop b, end c, drop c, ready Failed(0) [Failed("a"), Drained(Some(Err("told"))), Drained(Some(Err("told")))]"#,
    },
    Line {
        name: "S-25: settled, the signal reaches the children",
        kinds: "opt",
        settle: true,
        script: r#"
            stop; poll => tell a, drop b, tell c, end a, drop a
            ok c; poll => end c, drop c, ready Cancelled [Drained(Some(Err("told"))), Dropped, Drained(Some(Ok(2)))]
        "#,
    },
    Line {
        name: "S-27: a value in answer to a signal is not done",
        kinds: "tpt",
        settle: false,
        script: "
            ok a; stop; poll => end a, drop a, drop b, tell c
            ok c; poll => end c, drop c, ready Cancelled [Done(0), Dropped, Drained(Some(Ok(2)))]
        ",
    },
];

fn run(line: &Line, container: Container) {
    let _at = At(format!("{}, {container:?}", line.name));
    let world = World::new();
    let (children, gates, cleanups) = children::<3>(&world, line.kinds);
    let signal = Gate::new();
    let mut all = Some(future_in!(container, children, |gather| {
        let (gather, settle) = (gather.cancel_when(signal.clone().wait()), line.settle);
        async move {
            match settle {
                true => flat(gather.settle().report().await),
                false => flat(gather.report().await),
            }
        }
    }));
    let script = match line.script.strip_prefix("first;") {
        Some(script) => script,
        None => {
            assert!(world.poll(all.as_mut().unwrap().as_mut()).is_pending());
            world.log.expect("");
            line.script
        }
    };
    for step in script.lines().map(str::trim).filter(|step| !step.is_empty()) {
        let (actions, expected) = step.split_once("=>").unwrap();
        for action in actions.split(';').map(str::trim) {
            let child = || NAMES.iter().position(|(name, _)| action.ends_with(name)).unwrap();
            match action.split(' ').next().unwrap() {
                "ok" => gates[child()].open(Ok(child() as u32)),
                "fail" => gates[child()].open(Err(NAMES[child()].0)),
                "clean" => cleanups[child()].open(()),
                "stop" => signal.open(()),
                "poll" => {
                    if let Poll::Ready((cause, outcomes)) = world.poll(all.as_mut().unwrap().as_mut()) {
                        world.log.push(format!("ready {cause:?} {outcomes:?}"));
                        all = None;
                    }
                }
                _ => panic!("no such action: {action}"),
            }
        }
        let happened = world.log.take().join(", ");
        assert_eq!(happened, expected.trim(), "in: {step}");
    }
    assert!(all.is_none(), "the script ends with a report");
}

// S-1, S-2, S-10, S-13, S-17 to S-20, S-24, S-25, S-27
#[test]
fn s_lines_that_are_scripts_in_every_container() {
    for line in LINES {
        for container in FIXED {
            run(line, container);
        }
    }
}

/// A child that waits for its gate, and looks whether it was told each time it is polled; logs both.
fn looking<'a>(world: &'a World, name: &'static str, gate: &Gate<()>) -> LocalBoxChild<'a, Output> {
    let (gate, told) = (gate.clone(), Rc::new(Cell::new(false)));
    let tells = told.clone();
    let token = world.log.token(name);
    let future = async move {
        let _token = token;
        world.log.push(format!("start {name}"));
        gate.wait().await;
        world.log.push(if told.get() { format!("sees {name}") } else { format!("ends {name}") });
        if told.get() { Err("told") } else { Ok(1) }
    };
    LocalBoxChild::new(future.on_cancel(move |_| {
        world.log.push(format!("tell {name}"));
        tells.set(true);
    }))
}

// S-3
#[test]
fn s_3_a_told_child_that_was_never_polled_starts_and_sees_it() {
    for container in FIXED {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let gate = Gate::new();
        gate.open(());
        let plain = || LocalBoxChild::new(world.ready::<Output>("plain", Ok(1)));
        let children = [plain(), looking(&world, "a", &gate), plain()];
        let mut all = gather_in!(container, children, |gather| gather.cancel_when(ready(())));
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err(Cancelled)));
        world.log.expect("drop plain, tell a, drop plain, start a, sees a, drop a");
    }
}

// S-4
#[test]
fn s_4_a_child_that_cannot_be_interrupted_is_waited_for() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let (signal, gates) = (Gate::new(), [(); 3].map(|()| Gate::new()));
        let mut index = 0;
        let children = ["a", "b", "c"].map(|name| {
            index += 1;
            looking(&world, name, &gates[index - 1])
        });
        let mut all = gather_in!(container, children, |gather| gather.cancel_when(signal.clone().wait()));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("start a, start b, start c");
        signal.open(());
        // Each is polled after that, sees no wake of its own, and is let be.
        assert_eq!(world.quiesce(all.as_mut()), (Poll::Pending, 1));
        world.log.expect("tell a, tell b, tell c");
        for (gate, expected) in gates.iter().zip(["sees a, drop a", "sees b, drop b", "sees c, drop c"]) {
            assert_eq!(world.wakes.take(), 0);
            gate.open(());
            let done = world.quiesce(all.as_mut()).0;
            world.log.expect(expected);
            assert_eq!(done.is_ready(), expected == "sees c, drop c");
        }
    }
}

// S-5
#[test]
fn s_5_two_signals_of_two_levels_tell_once() {
    for container in CONTAINERS {
        // Both at once, or first one and then the other.
        for order in ["both", "inner outer", "outer inner"] {
            let _at = At(format!("{container:?}, {order}"));
            let world = World::new();
            let (children, gates, _) = children::<3>(&world, "tpt");
            let (inner, outer) = (Gate::new(), Gate::new());
            let mut all = future_in!(container, children, |gather| {
                gather_of(gather.cancel_when(inner.clone().wait()).report().map(flat), &outer)
            });
            let once = "tell a, drop b, tell c";
            let pending = |signals: &[&Gate<()>], all: &mut kit::Any<'_, _>| {
                signals.iter().for_each(|signal| signal.open(()));
                assert!(world.poll(all.as_mut()).is_pending());
            };
            pending(&[], &mut all);
            match order {
                "both" => {
                    pending(&[&inner, &outer], &mut all);
                    world.log.expect(once);
                }
                "inner outer" => {
                    pending(&[&inner], &mut all);
                    world.log.expect(once);
                    pending(&[&outer], &mut all);
                }
                _ => {
                    pending(&[&outer], &mut all);
                    world.log.expect(once);
                    pending(&[&inner], &mut all);
                }
            }
            world.log.expect("");
            gates[0].open(Ok(1));
            pending(&[], &mut all);
            gates[2].open(Err("c"));
            let late = (Cause::Cancelled, vec![Drained(Some(Ok(1))), Dropped, Drained(Some(Err("c")))]);
            assert_eq!(world.poll(all.as_mut()), Poll::Ready((Cause::Cancelled, Drained(Some(Ok(late))))));
            world.log.expect("end a, drop a, end c, drop c");
        }
    }
}

type Summary = (Cause, Vec<Outcome<u32, &'static str>>);

/// A gather of one child, a nested one, that has its own signal.
async fn gather_of(child: impl Child<Output = Summary>, signal: &Gate<()>) -> (Cause, Outcome<Summary, &'static str>) {
    let outer = gather([LocalBoxChild::new(child).map(Ok)]).cancel_when(signal.clone().wait());
    let Report { cause, outcomes: [outcome], .. } = outer.report().await;
    (cause, outcome)
}

// S-6
#[test]
fn s_6_locals_of_those_that_were_told_are_gone_before_the_gather_is_ready() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let (gates, signal) = ([(); 3].map(|()| Gate::new()), Gate::new());
        let mut names = ["a", "b", "c"].into_iter().zip(&gates);
        let children = [(); 3].map(|()| {
            let (name, gate) = names.next().unwrap();
            let (token, gate) = (world.log.token(name), gate.clone());
            let future = async move {
                let _local = token;
                gate.wait().await
            };
            let child = future.on_cancel(|_| ());
            // The map runs when the child has ended; by then its locals are gone.
            LocalBoxChild::new(child.map(|output: Output| {
                world.log.push("mapped");
                output
            }))
        });
        let mut all = gather_in!(container, children, |gather| gather.cancel_when(signal.clone().wait()));
        assert!(world.poll(all.as_mut()).is_pending());
        signal.open(());
        gates[1].open(Ok(1));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("drop b, mapped");
        gates[0].open(Ok(1));
        gates[2].open(Err("c"));
        let polled = world.poll(all.as_mut());
        world.log.expect("drop c, mapped, drop a, mapped");
        assert_eq!(polled, Poll::Ready(Err(Cancelled)));
    }
}

// S-7
#[test]
fn s_7_one_error_has_the_type_of_many() {
    fn same<T: PartialEq + std::fmt::Debug>(one: T, many: T) -> (T, T) {
        (one, many)
    }
    for container in CONTAINERS {
        let one = || [Ok(1), Err("b"), Ok(3)].map(ready::<Output>);
        let many = || [Err("a"), Err("b"), Err("c")].map(ready::<Output>);
        let (one_error, many_errors) = same(
            pollster::block_on(gather_in!(container, one(), |gather| gather)),
            pollster::block_on(gather_in!(container, many(), |gather| gather)),
        );
        assert_eq!((one_error, many_errors), (Err("b"), Err("a")));
        let settled = |children| {
            future_in!(container, children, |gather| async {
                let report = gather.settle().report().await;
                let result = report.clone().into_result().map(Flatten::flatten);
                (flat(report), result)
            })
        };
        let (one_error, many_errors) = same(pollster::block_on(settled(one())), pollster::block_on(settled(many())));
        let failed = |index, source| Err(GatherError::Failed { index, source });
        assert_eq!(one_error, ((Cause::Completed, vec![Done(1), Failed("b"), Done(3)]), failed(1, "b")));
        assert_eq!(many_errors, ((Cause::Completed, vec![Failed("a"), Failed("b"), Failed("c")]), failed(0, "a")));
    }
}

// S-9
#[test]
fn s_9_a_cancelled_one_leaves_nothing_to_the_next_of_its_owner() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let signals: [Gate<()>; 2] = Default::default();
        let mut owner = Box::pin(async {
            for signal in &signals {
                let (children, _gates, _) = children::<3>(&world, "opo");
                let all = gather_in!(container, children, |gather| gather.cancel_when(signal.clone().wait()));
                assert_eq!(all.await, Err(Cancelled));
                world.log.push("next");
            }
            gather_in!(container, [Ok(1), Ok(2), Ok(3)].map(ready::<Output>), |gather| gather).await
        });
        assert!(world.poll(owner.as_mut()).is_pending());
        world.log.expect("");
        signals[0].open(());
        assert!(world.poll(owner.as_mut()).is_pending());
        world.log.expect("tell a, drop b, tell c, end a, drop a, end c, drop c, next");
        // Nothing is left of the first that would end the second.
        assert!(world.poll(owner.as_mut()).is_pending());
        world.log.expect("");
        signals[1].open(());
        assert_eq!(world.poll(owner.as_mut()), Poll::Ready(Ok(vec![1, 2, 3])));
        world.log.expect("tell a, drop b, tell c, end a, drop a, end c, drop c, next");
    }
}

// S-11
#[test]
fn s_11_a_signal_to_the_outer_one_ends_the_inner_one_and_what_comes_after_it() {
    for container in CONTAINERS {
        for nested in [true, false] {
            let _at = At(format!("{container:?}, nested: {nested}"));
            let world = World::new();
            let (children, gates, _) = children::<3>(&world, "tpt");
            let (signal, after) = (Gate::new(), Cell::new(0));
            let passed = |result: Result<(), &'static str>| {
                after.set(after.get() + 1);
                result.map(|()| 1)
            };
            let mut all = match nested {
                true => future_in!(container, children, |inner| {
                    let inner = LocalBoxChild::new(inner.map(|result| passed(result.map(drop))));
                    gather((inner, pending::<Output>())).cancel_when(signal.clone().wait())
                }),
                false => future_in!(container, children, |inner| {
                    let inner = LocalBoxChild::new(async { passed(inner.await.map(drop)) });
                    gather((inner, pending::<Output>())).cancel_when(signal.clone().wait())
                }),
            };
            assert!(world.poll(all.as_mut()).is_pending());
            signal.open(());
            let mut polled = world.poll(all.as_mut());
            if nested {
                assert!(polled.is_pending());
                world.log.expect("tell a, drop b, tell c");
                gates[0].open(Ok(0));
                gates[2].open(Ok(2));
                polled = world.poll(all.as_mut());
                world.log.expect("end c, drop c, end a, drop a");
            } else {
                // An `async` block around it is a plain child, and dropped.
                world.log.expect("drop a, drop b, drop c");
            }
            assert_eq!((polled, after.get()), (Poll::Ready(Err(Cancelled)), 0));
        }
    }
}

// S-12
#[test]
fn s_12_a_signal_is_one_cancelled_whatever_the_depth() {
    for container in CONTAINERS {
        for reported in [false, true] {
            let _at = At(format!("{container:?}, reported: {reported}"));
            let world = World::new();
            let (signal, (children, _gates, _)) = (Gate::new(), children::<3>(&world, "opo"));
            let mut all = future_in!(container, children, |inner| {
                let middle = gather([LocalBoxChild::new(inner.map(|result| result.map(drop)))]);
                let outer = gather([middle.map(|result| result.map(drop))]).cancel_when(signal.clone().wait());
                async move {
                    match reported {
                        false => Err(outer.await),
                        true => Ok(flat(outer.report().await)),
                    }
                }
            });
            assert!(world.poll(all.as_mut()).is_pending());
            signal.open(());
            let expected = match reported {
                false => Err(Err(Cancelled)),
                true => Ok((Cause::Cancelled, vec![Drained(None)])),
            };
            assert_eq!(world.poll(all.as_mut()), Poll::Ready(expected));
            world.log.expect("tell a, drop b, tell c, end a, drop a, end c, drop c");
        }
    }
}

// S-13, of a single child
#[test]
fn s_13_a_signal_after_the_end_of_a_single_child_changes_nothing() {
    let world = World::new();
    let (signal, (child, gate)) = (Gate::new(), world.probe::<Output>("a"));
    let mut all = pin!(gather([child]).cancel_when(signal.clone().wait()).into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    gate.open(Ok(1));
    signal.open(());
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok(Ok([1]))));
}

// S-14
#[test]
fn s_14_a_drain_does_not_poll_for_ever() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let (children, gates, cleanups) = children::<3>(&world, "ttc");
        let signal = Gate::new();
        let mut all = gather_in!(container, children, |gather| gather.cancel_when(signal.clone().wait()));
        assert!(world.poll(all.as_mut()).is_pending());
        gates[0].open(Ok(1));
        assert_eq!(world.quiesce(all.as_mut()), (Poll::Pending, 1));
        signal.open(());
        // One poll, with a child that has ended and two that drain; nothing wakes it after that.
        assert_eq!(world.quiesce(all.as_mut()), (Poll::Pending, 1));
        assert_eq!(world.quiesce(all.as_mut()), (Poll::Pending, 1));
        gates[1].open(Ok(2));
        assert_eq!(world.quiesce(all.as_mut()), (Poll::Pending, 1));
        cleanups[2].open(());
        assert_eq!(world.quiesce(all.as_mut()), (Poll::Ready(Err(Cancelled)), 1));
        assert_eq!(world.wakes.take(), 0);
    }
}

// S-15 (deviation: it does not yield), S-16
#[test]
fn s_15_s_16_an_empty_one_neither_yields_nor_is_cancelled() {
    fn none<const N: usize>() -> [std::future::Ready<Output>; N] {
        std::array::from_fn(|_| ready(Ok(1)))
    }
    let world = World::new();
    macro_rules! assert_calm {
        ($children:expr, $values:expr) => {
            assert_eq!(world.poll(pin!(gather($children).into_future())), Poll::Ready(Ok($values)));
            let stopped = gather($children).cancel_when(ready(()));
            assert_eq!(world.poll(pin!(stopped.into_future())), Poll::Ready(Ok(Ok($values))));
            let reported = gather($children).cancel_when(ready(())).report();
            assert!(matches!(
                world.poll(pin!(reported.into_future())),
                Poll::Ready(Report { cause: Cause::Completed, .. })
            ));
            // Nor when its owner has been stopped before it comes to it.
            let owner = async { gather($children).await.map(drop) }.on_cancel(|_| ());
            let scope = FutureExt::map(gather([owner]).cancel_when(ready(())).report().into_future(), flat);
            assert_eq!(world.poll(pin!(scope)), Poll::Ready((Cause::Cancelled, vec![Drained(Some(Ok(())))])));
        };
    }
    assert_calm!((), ());
    assert_calm!(none::<0>(), []);
    assert_calm!(Vec::from(none::<0>()), vec![]);
    assert_calm!(Box::<[_]>::from(none::<0>()), vec![]);
    assert_eq!(world.wakes.take(), 0);
}

// S-20
#[test]
fn s_20_settled_siblings_of_a_failure_stay_active() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let gates: [Gate<Output>; 3] = Default::default();
        let mut names = ["a", "b", "c"].into_iter().zip(&gates);
        let children = [(); 3].map(|()| {
            let (name, gate) = names.next().unwrap();
            Probe::new(name, &world.log, gate).log_polls().on_cancel(|child| child.log.push("tell"))
        });
        let mut all = gather_in!(container, children, |gather| gather.settle());
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("poll a, poll b, poll c");
        gates[1].open(Err("b"));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect(match container.tells_wakes_apart() {
            true => "poll b, end b, drop b",
            false => "poll b, end b, drop b, poll c, poll a",
        });
        gates[0].open(Ok(1));
        gates[2].open(Err("c"));
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(vec![Ok(1), Err("b"), Err("c")]));
        world.log.expect("poll c, end c, drop c, poll a, end a, drop a");
    }
}

// S-21
#[test]
fn s_21_children_that_have_finished_before_the_first_poll() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        for (finished, polls, expected, log) in [
            (
                [Some(Ok(1)), Some(Ok(2)), Some(Ok(3))],
                1,
                Ok(vec![1, 2, 3]),
                "end a, drop a, end b, drop b, end c, drop c",
            ),
            ([Some(Ok(1)), None, Some(Ok(3))], 2, Ok(vec![1, 9, 3]), "end a, drop a, end c, drop c, end b, drop b"),
            ([Some(Ok(1)), Some(Err("b")), Some(Ok(3))], 1, Err("b"), "end a, drop a, end b, drop b, drop c"),
            ([None, Some(Ok(2)), Some(Err("c"))], 1, Err("c"), "end b, drop b, end c, drop c, drop a"),
            ([Some(Err("a")), Some(Err("b")), Some(Err("c"))], 1, Err("a"), "end a, drop a, drop b, drop c"),
        ] {
            let world = World::new();
            let (children, gates, _) = children::<3>(&world, "ppp");
            let mut all = gather_in!(container, children, |gather| gather);
            for (gate, output) in gates.iter().zip(finished) {
                if let Some(output) = output {
                    gate.open(output);
                }
            }
            if polls == 2 {
                assert!(world.poll(all.as_mut()).is_pending());
                gates[1].open(Ok(9));
            }
            assert_eq!(world.poll(all.as_mut()), Poll::Ready(expected));
            world.log.expect(log);
        }
    }
}

// S-22
#[test]
fn s_22_one_shared_failure_in_all_places_is_one_failure() {
    for container in FIXED {
        for (told, pending_first) in [(false, false), (false, true), (true, false), (true, true)] {
            let _at = At(format!("{container:?}, told: {told}, pending first: {pending_first}"));
            let world = World::new();
            let (probe, gate) = world.probe::<Output>("a");
            let shared = probe.shared();
            let children = [(); 3].map(|()| match told {
                false => LocalBoxChild::new(shared.clone()),
                true => LocalBoxChild::new(shared.clone().on_cancel(|_| ())),
            });
            let mut all = future_in!(container, children, |gather| async { flat(gather.report().await) });
            if pending_first {
                assert!(world.poll(all.as_mut()).is_pending());
            }
            gate.open(Err("a"));
            // The first of the pass has failed. Those that are told end with what they share: that is their answer, and
            // no failure.
            let first = usize::from(pending_first);
            let other = || if told { Drained(Some(Err("a"))) } else { Dropped };
            let outcomes = (0..3).map(|index| if index == first { Failed("a") } else { other() }).collect();
            assert_eq!(world.quiesce(all.as_mut()).0, Poll::Ready((Cause::Failed(first), outcomes)));
            // It ran once.
            world.log.expect("end a, drop a");
        }
    }
}

// S-23, with a child whose panic is caught and made an error; a panic that is not caught leaves the poll.
#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn s_23_a_panic_that_is_caught_stops_the_siblings() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let ([a, b, c], _gates, _) = children::<3>(&world, "opo");
        drop(b);
        world.log.take();
        let mut turn = 0;
        let panics = AssertUnwindSafe(poll_fn(move |cx| {
            cx.waker().wake_by_ref();
            turn += 1;
            if turn == 2 { resume_unwind(Box::new("payload")) } else { Poll::<Output>::Pending }
        }));
        let caught = Child::map(panics.catch_unwind(), |result| {
            let output: Result<Output, &'static str> = result.map_err(|payload| *payload.downcast().unwrap());
            output.and_then(|output| output)
        });
        let children = [a, LocalBoxChild::new(caught), c];
        let mut all = future_in!(container, children, |gather| async { flat(gather.report().await) });
        assert!(world.poll(all.as_mut()).is_pending());
        let told = || Drained(Some(Err("told")));
        let outcomes = vec![told(), Failed("payload"), told()];
        assert_eq!(world.poll(all.as_mut()), Poll::Ready((Cause::Failed(1), outcomes)));
        world.log.expect("tell a, tell c, end a, drop a, end c, drop c");
    }
}

// S-26
#[test]
fn s_26_those_that_ended_before_the_signal_keep_their_outcome() {
    let world = World::new();
    macro_rules! check {
        (|$children:ident| $gather:expr) => {
            let ($children, gates, _) = children::<5>(&world, "ppopt");
            let signal = Gate::new();
            let mut all = pin!($gather.settle().cancel_when(signal.clone().wait()).report().into_future());
            assert!(world.poll(all.as_mut()).is_pending());
            gates[0].open(Ok(1));
            assert!(world.poll(all.as_mut()).is_pending());
            gates[1].open(Err("b"));
            assert!(world.poll(all.as_mut()).is_pending());
            world.log.expect("end a, drop a, end b, drop b");
            signal.open(());
            assert!(world.poll(all.as_mut()).is_pending());
            world.log.expect("tell c, drop d, tell e, end c, drop c");
            gates[4].open(Ok(5));
            let Poll::Ready(report) = world.poll(all.as_mut()) else { panic!("it is ready") };
            assert_eq!(report.cause, Cause::Cancelled);
            let outcomes = format!("{:?}", report.outcomes);
            let expected = r#"Done(1), Failed("b"), Drained(Some(Err("told"))), Dropped, Drained(Some(Ok(5)))"#;
            assert_eq!(&outcomes[1..outcomes.len() - 1], expected);
            world.log.expect("end e, drop e");
        };
    }
    check!(|children| gather(children));
    check!(|children| gather(Vec::from(children)));
    check!(|children| gather(Box::<[_]>::from(children)));
    check!(|children| {
        let [a, b, c, d, e] = children;
        gather((a, b, c, d, e))
    });
}

// S-27
#[test]
fn s_27_values_in_answer_to_a_signal_are_no_success() {
    for container in CONTAINERS {
        let world = World::new();
        let (children, gates, _) = children::<3>(&world, "ttt");
        let signal = Gate::new();
        let mut all = future_in!(container, children, |gather| {
            let reporting = gather.cancel_when(signal.clone().wait()).report();
            async {
                let report = reporting.await;
                (flat(report.clone()), report.into_result().map(drop))
            }
        });
        assert!(world.poll(all.as_mut()).is_pending());
        signal.open(());
        assert!(world.poll(all.as_mut()).is_pending());
        gates.iter().for_each(|gate| gate.open(Ok(1)));
        let late = (Cause::Cancelled, vec![Drained(Some(Ok(1))); 3]);
        assert_eq!(world.poll(all.as_mut()), Poll::Ready((late, Err(GatherError::Cancelled))));
    }
}

// S-28
#[test]
fn s_28_a_clean_up_ends_although_who_waits_for_it_is_stopped() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let (children, gates, cleanups) = children::<3>(&world, "tpc");
        let (signal, seen) = (Gate::new(), RefCell::new(None));
        let mut waiter = future_in!(container, children, |inner| {
            let inner = inner.report().map(|report| {
                *seen.borrow_mut() = Some(flat(report));
                Ok::<_, ()>(())
            });
            gather([LocalBoxChild::new(inner)]).cancel_when(signal.clone().wait())
        });
        assert!(world.poll(waiter.as_mut()).is_pending());
        gates[1].open(Err("b"));
        assert!(world.poll(waiter.as_mut()).is_pending());
        world.log.expect("end b, drop b, tell a, drop c");
        signal.open(());
        assert_eq!(world.quiesce(waiter.as_mut()).0, Poll::Pending);
        world.log.expect("");
        gates[0].open(Ok(1));
        assert!(world.poll(waiter.as_mut()).is_pending());
        world.log.expect("end a, drop a");
        cleanups[2].open(());
        assert_eq!(world.poll(waiter.as_mut()), Poll::Ready(Err(Cancelled)));
        world.log.expect("end C, drop C");
        // Its own cause stands: it had failed before it was stopped.
        let inner = (Cause::Failed(1), vec![Drained(Some(Ok(1))), Failed("b"), Drained(None)]);
        assert_eq!(seen.take(), Some(inner));
    }
}
