//! `finally`, and hand-written children that show their output before they have ended.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::gather::scenario::{Scenario, reported, run, shown};
use crate::kit::{
    self, At, CONTAINERS, FIXED, Flatten as _, Gate, Output, Probe, World, boxed, gather_in, hold_in, holding,
    in_container, panic_of,
};
use gather::{
    BoxChild, CancelExt, Cause, Child, Finally, GatherError, Limit, LocalBoxChild, OnCancel, Outcome, Report, gather,
    restart,
};

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a failure is known when the work ends: the siblings are cancelled then, and the clean-ups run beside each other",
        kinds: "ftp",
        script: "
            fail a; poll => end a, drop a, make A, drop signal, tell b, drop c, grace
            poll =>
            ok b; poll => end b, drop b
            clean a; poll => end A, drop A, drop grace, ready Ok(Err(\"a\"))
        ",
    },
    Scenario {
        name: "a clean-up that takes no time",
        kinds: "ftp",
        script: "
            clean a; fail a; poll => end a, drop a, make A, end A, drop A, drop signal, tell b, drop c, grace
            ok b; poll => end b, drop b, drop grace, ready Ok(Err(\"a\"))
        ",
    },
    Scenario {
        name: "a calm end: the output is kept until the clean-up has ended, and the siblings go on",
        kinds: "fpp",
        script: "
            ok a; poll => end a, drop a, make A
            ok b; poll => end b, drop b
            ok c; poll => end c, drop c
            poll =>
            clean a; poll => end A, drop A, drop signal, ready Ok(Ok([0, 1, 2]))
        ",
    },
    Scenario {
        name: "at every end",
        kinds: "fff",
        script: "
            ok a; poll => end a, drop a, make A
            fail c; poll => end c, drop c, make C, drop signal, drop b, grace, make B
            clean a; poll => end A, drop A
            clean b; poll => end B, drop B
            clean c; poll => end C, drop C, drop grace, ready Ok(Err(\"c\"))
        ",
    },
    Scenario {
        name: "the grace limits the clean-up of the one that failed, and the error is not lost",
        kinds: "fpt",
        script: "
            fail a; poll => end a, drop a, make A, drop signal, drop b, tell c, grace
            ok c; poll => end c, drop c
            over; poll => drop grace, drop A, ready Ok(Err(\"a\"))
        ",
    },
    Scenario {
        name: "two fail in one poll: the first of the pass is the cause, and the other one is cut off",
        kinds: "ffp",
        script: "
            pending: fail a; fail b; poll => end b, drop b, make B, drop signal, drop a, drop c, grace, make A
            ready: fail a; fail b; poll => end a, drop a, make A, drop signal, drop b, drop c, grace
            pending: clean a; poll => end A, drop A
            pending: clean b; poll => end B, drop B, drop grace, ready Ok(Err(\"b\"))
            ready: clean a; poll => end A, drop A, drop grace, ready Ok(Err(\"a\"))
        ",
    },
    Scenario {
        name: "a failure stands against a signal in the same poll",
        kinds: "fpp",
        script: "
            pending: signal; fail a; poll => drop signal, end a, drop a, make A, drop b, drop c, grace
            pending: clean a; poll => end A, drop A, drop grace, ready Ok(Err(\"a\"))
            ready: signal; poll => drop signal, drop a, drop b, drop c, ready Err(Cancelled)
        ",
    },
    Scenario {
        name: "a signal while the clean-up of a calm one goes on: it goes on, told once, and makes no second one",
        kinds: "ftp",
        script: "
            ok a; poll => end a, drop a, make A
            signal; poll => drop signal, tell b, drop c, grace
            clean a; poll => end A, drop A
            ok b; poll => end b, drop b, drop grace, ready Err(Cancelled)
        ",
    },
    Scenario {
        name: "one whose last clean-up is left is not yet complete",
        kinds: "ffp",
        script: "
            pending: ok a; ok b; ok c; poll => end b, drop b, make B, end c, drop c, end a, drop a, make A
            ready: ok a; ok b; ok c; poll => end a, drop a, make A, end b, drop b, make B, end c, drop c
            signal; poll => drop signal, grace
            clean a; poll => end A, drop A
            clean b; poll => end B, drop B, drop grace, ready Err(Cancelled)
        ",
    },
    Scenario {
        name: "dropped while the clean-up goes on",
        kinds: "fpp",
        script: "
            ok a; poll => end a, drop a, make A
            drop => drop A, drop b, drop c, drop signal
        ",
    },
    Scenario {
        name: "dropped while the work goes on, or was never polled: no clean-up",
        kinds: "ffp",
        script: "
            drop => drop a, drop b, drop c, drop signal
        ",
    },
];

#[test]
fn every_scenario_in_every_container() {
    for scenario in SCENARIOS {
        for container in CONTAINERS {
            run(scenario, container, |children, stage| {
                in_container!(container, children, |group| {
                    shown(group.cancel_when(stage.signal()).grace(stage.grace()))
                })
            });
        }
    }
}

const REPORTED: &[Scenario] = &[
    Scenario {
        name: "failed, and cleaned up",
        kinds: "fpp",
        script: "
            fail a; poll => end a, drop a, make A, drop signal, drop b, drop c, grace
            clean a; poll => end A, drop A, drop grace, ready Failed(0) [Failed(\"a\"), Dropped, Dropped]
        ",
    },
    Scenario {
        name: "failed, and its clean-up was cut off",
        kinds: "fpp",
        script: "
            fail a; poll => end a, drop a, make A, drop signal, drop b, drop c, grace
            over; poll => drop grace, drop A, ready Failed(0) [Failed(\"a\"), Dropped, Dropped]
        ",
    },
    Scenario {
        name: "a second one fails while it is told",
        kinds: "ftf",
        script: "
            pending: ok a; poll => end a, drop a, make A
            pending: fail b; poll => end b, drop b, drop signal, drop c, grace, make C
            pending: clean a; poll => end A, drop A
            pending: over; poll => drop grace, drop C, ready Failed(1) [Drained(Some(Ok(0))), Failed(\"b\"), Abandoned]
            ready: drop => drop a, drop b, drop c, drop signal
        ",
    },
    Scenario {
        name: "an output that was known before the group was cancelled is late, whether the clean-up ends or not",
        kinds: "fff",
        script: "
            ok a; poll => end a, drop a, make A
            ok b; poll => end b, drop b, make B
            signal; poll => drop signal, drop c, grace, make C
            clean a; poll => end A, drop A
            clean c; poll => end C, drop C
            over; poll => drop grace, drop B, ready Cancelled [Drained(Some(Ok(0))), Drained(Some(Ok(1))), Drained(None)]
        ",
    },
    Scenario {
        name: "calm ends",
        kinds: "fff",
        script: "
            ok a; clean a; poll => end a, drop a, make A, end A, drop A
            ok b; clean b; poll => end b, drop b, make B, end B, drop B
            ok c; poll => end c, drop c, make C
            clean c; poll => end C, drop C, drop signal, ready Completed [Done(0), Done(1), Done(2)]
        ",
    },
];

#[test]
fn every_outcome_in_every_container() {
    for scenario in REPORTED {
        for container in CONTAINERS {
            run(scenario, container, |children, stage| {
                in_container!(container, children, |group| {
                    reported(group.report().cancel_when(stage.signal()).grace(stage.grace()))
                })
            });
        }
    }
}

const WON: &[Scenario] = &[
    Scenario {
        name: "won while the clean-up goes on",
        kinds: "pft",
        script: "
            ok b; poll => end b, drop b, make B, drop signal, drop a, tell c, grace
            ok c; poll => end c, drop c
            clean b; poll => end B, drop B, drop grace, ready
        ",
    },
    Scenario {
        name: "won, and the clean-up cut off",
        kinds: "pfp",
        script: "
            ok b; poll => end b, drop b, make B, drop signal, drop a, drop c, grace
            over; poll => drop grace, drop B, ready
        ",
    },
];

/// Without what the first pass would make different.
fn pending_first(scenario: &Scenario) -> String {
    format!("pending: {}\nready: drop => drop a, drop b, drop c, drop signal", {
        let lines: Vec<_> = scenario.script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.join("\npending: ")
    })
}

static SCRIPTS: std::sync::Mutex<Vec<&str>> = std::sync::Mutex::new(Vec::new());

#[test]
fn any_and_race_are_won_by_one_whose_clean_up_goes_on() {
    for scenario in WON {
        for container in CONTAINERS {
            for (policy, result) in [
                ("any", "Ok(Ok(1))"),
                ("race", "Ok(Ok(1))"),
                ("any report", "Won(1) Done(1)"),
                ("race report", "Won(1) Done(1)"),
            ] {
                let _at = At(policy.into());
                let script = pending_first(scenario).replace("ready\nready", &format!("ready {result}\nready"));
                let script: &'static str = Box::leak(script.into_boxed_str());
                // Reachable from a static, so that the search for leaks does not find it.
                SCRIPTS.lock().unwrap().push(script);
                let scenario = Scenario { name: scenario.name, kinds: scenario.kinds, script };
                run(&scenario, container, |children, stage| {
                    in_container!(container, children, |group| {
                        let group = group.cancel_when(stage.signal()).grace(stage.grace());
                        let won =
                            |cause, outcomes: Vec<Outcome<u32, &'static str>>| format!("{cause:?} {:?}", outcomes[1]);
                        let result: kit::Any<'_, String> = match policy {
                            "any" => Box::pin(async {
                                format!("{:?}", group.any().await.map(|won| won.map_err(|_| "errors")))
                            }),
                            "race" => Box::pin(async { format!("{:?}", group.race().await) }),
                            "any report" => Box::pin(async move {
                                let Report { cause, outcomes, .. } = group.any().report().await;
                                won(cause, outcomes.flatten())
                            }),
                            _ => Box::pin(async move {
                                let Report { cause, outcomes, .. } = group.race().report().await;
                                won(cause, outcomes.flatten())
                            }),
                        };
                        result
                    })
                });
            }
        }
    }
}

/// Nothing is known before that would end it.
#[test]
fn settle_waits_for_the_clean_ups() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let gates: [Gate<()>; 3] = Default::default();
        let children = gates.clone().map(|gate| ready::<Output>(Err("failed")).finally(|| gate.wait()));
        let mut group = gather_in!(container, children, |group| group.settle());
        assert!(world.poll(group.as_mut()).is_pending());
        for gate in &gates[..2] {
            gate.open(());
            assert!(world.poll(group.as_mut()).is_pending());
        }
        gates[2].open(());
        assert_eq!(world.poll(group.as_mut()), Poll::Ready(vec![Err("failed"); 3]));
    }
}

#[test]
fn of_a_gather_within_the_failure_is_known_when_it_has_drained() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let log = &world.log;
        let (work, fails) = world.probe::<Output>("work");
        let cleaned = Gate::<()>::new();
        let inner =
            gather([work.finally(|| Probe::new("clean-up", log, &cleaned))]).map(|result| result.map(|[one]| one));
        let sibling = world.probe::<Output>("sibling").0;
        let outer_fails = Gate::<Output>::new();
        let children =
            [LocalBoxChild::new(inner), LocalBoxChild::new(sibling), LocalBoxChild::new(outer_fails.clone().wait())];
        let over = Gate::<()>::new();
        let mut group =
            in_container!(container, children, |group| reported(group.report().grace(|| over.clone().wait())));
        assert!(world.poll(group.as_mut()).is_pending());
        fails.open(Err("inner"));
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("end work, drop work");
        outer_fails.open(Err("outer"));
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("drop sibling");
        cleaned.open(());
        let result = r#"Failed(2) [Drained(Some(Err("inner"))), Dropped, Failed("outer")]"#;
        assert_eq!(world.poll(group.as_mut()), Poll::Ready(result.into()));
        log.expect("end clean-up, drop clean-up");
    }
}

#[test]
fn concurrency_gives_its_place_free_when_the_clean_up_has_ended() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let log = &world.log;
        let cleaned: [Gate<()>; 3] = Default::default();
        let mut indices = 0..;
        let children = [0, 1, 2].map(|_| {
            let index: usize = indices.next().unwrap();
            let cleaned = cleaned[index].clone();
            let work = async move {
                log.push(format!("start {index}"));
                if index == 1 { Err("failed") } else { Ok(index as u32) }
            };
            work.finally(|| cleaned.wait())
        });
        let mut group = gather_in!(container, children, |group| group.concurrency(1));
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("start 0");
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("");
        cleaned[0].open(());
        // The second fails, so the third never starts.
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("start 1");
        cleaned[1].open(());
        assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err("failed")));
        log.expect("");
    }
}

#[test]
fn a_restart_observes_the_failure_when_the_work_ends_and_restarts_when_the_clean_up_has_ended() {
    for (container, reports) in CONTAINERS.into_iter().flat_map(|container| [(container, false), (container, true)]) {
        let _at = At(format!("{container:?}, reports: {reports}"));
        let world = World::new();
        let log = &world.log;
        let generations: Rc<RefCell<Vec<(Gate<Output>, Gate<()>)>>> = Rc::default();
        let made = generations.clone();
        let make = || {
            let (gate, cleaned) = (Gate::new(), Gate::new());
            made.borrow_mut().push((gate.clone(), cleaned.clone()));
            let cleaning = Probe::new("clean-up", log, &cleaned);
            [
                LocalBoxChild::new(world.probe::<Output>("plain").0),
                LocalBoxChild::new(Probe::new("work", log, &gate).finally(move || cleaning)),
                LocalBoxChild::new(pending::<Output>()),
            ]
        };
        let last = || generations.borrow().last().unwrap().clone();
        let over = Gate::<()>::new();
        let mut group = hold_in!(container, (a b c), |hold| {
            let group = restart(Limit::restarts(1), holding(make, hold))
                .observe(|failure| log.push(format!("observe {} {}", failure.index, failure.error)))
                .grace(|| over.clone().wait());
            match reports {
                false => boxed(async { group.await.map(|_| ()).map_err(|error| error.into_source()) }),
                true => boxed(async {
                    let report = group.report().await;
                    let mut outcomes = report.outcomes.flatten();
                    Err(outcomes.swap_remove(1).err().unwrap())
                }),
            }
        });
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("");
        last().0.open(Err("first"));
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("end work, drop work, observe 1 first, drop plain");
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("");
        last().1.open(());
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("end clean-up, drop clean-up");
        assert!(world.poll(group.as_mut()).is_pending());
        assert_eq!(generations.borrow().len(), 2);
        last().0.open(Err("second"));
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("end work, drop work, observe 1 second, drop plain");
        // The error is that of the work, also where the clean-up is cut off.
        over.open(());
        assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err("second")));
        log.expect("drop clean-up");
    }
}

#[test]
fn make_is_called_when_the_work_has_been_destroyed_and_is_dropped_with_the_child_if_it_is_not() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let child = |name: &'static str| {
            let ((work, gate), token, log) = (world.probe::<Output>(name), world.log.token("make"), world.log.clone());
            let make = move || {
                log.push("make");
                drop(token);
                ready(())
            };
            (work.finally(make), gate)
        };
        let ((a, gate_a), (b, gate_b), (c, _)) = (child("a"), child("b"), child("c"));
        let mut group = gather_in!(container, [a, b, c], |group| group);
        assert!(world.poll(group.as_mut()).is_pending());
        gate_a.open(Ok(0));
        assert!(world.poll(group.as_mut()).is_pending());
        world.log.expect("end a, drop a, make, drop make");
        gate_b.open(Err("b"));
        assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err("b")));
        world.log.expect("end b, drop b, make, drop make, drop c, make, drop make");
        drop(group);
        world.log.expect("");

        // Never polled, dropped.
        let children = ["a", "b", "c"].map(|name| child(name).0);
        let group = gather_in!(container, children, |group| group.cancel_when(ready(())));
        drop(group);
        let dropped = "drop a, drop make, drop b, drop make, drop c, drop make";
        world.log.expect(dropped);
        let children = ["a", "b", "c"].map(|name| child(name).0);
        let mut group = gather_in!(container, children, |group| group.cancel_when(ready(())));
        assert!(world.poll(group.as_mut()).is_ready());
        world.log.expect(dropped);
        let children = ["a", "b", "c"].map(|name| child(name).0);
        let mut group = gather_in!(container, children, |group| group);
        assert!(world.poll(group.as_mut()).is_pending());
        drop(group);
        world.log.expect(dropped);
    }
}

/// Panics when it is dropped, unless a panic unwinds.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("drop of the work");
        }
    }
}

#[test]
fn a_panic_in_any_of_its_steps_drops_the_siblings_untold() {
    let world = World::new();
    let log = &world.log;
    let end: Gate<Output> = Gate::new();
    for container in CONTAINERS {
        for (at, by_itself) in ["work", "drop of the work", "make", "clean-up", "drop of the clean-up"]
            .into_iter()
            .flat_map(|at| [(at, true), (at, false)])
        {
            let _at = At(format!("{container:?}, {at}, by itself: {by_itself}"));
            log.take();
            let sibling = |name: &'static str| world.probe::<Output>(name).0.on_cancel(move |_| log.push("told"));
            let (bomb, clean_up_bomb) = (at.ends_with("the work").then(|| Bomb), at.ends_with("the clean-up"));
            let gate = end.clone();
            let work = async move {
                let _bomb = bomb;
                let output = gate.wait().await;
                assert_ne!(at, "work", "work");
                output
            };
            let child = work.finally(|| {
                assert_ne!(at, "make", "make");
                async move {
                    let bomb = clean_up_bomb.then(|| Bomb);
                    kit::yield_now().await;
                    assert_ne!(at, "clean-up", "clean-up");
                    drop(bomb);
                }
            });
            let children = [
                LocalBoxChild::new(sibling("a").map(|output| output)),
                LocalBoxChild::new(child),
                LocalBoxChild::new(sibling("c")),
            ];
            let signal = Gate::<()>::new();
            let mut group = gather_in!(container, children, |group| group.cancel_when(signal.clone().wait()));
            let terminated = |group: &mut kit::Any<'_, _>| panic_of(|| _ = world.poll(group.as_mut()));
            assert!(world.poll(group.as_mut()).is_pending());
            match by_itself {
                true => end.open(Ok(1)),
                // Only what its cancellation runs.
                false if at == "work" => continue,
                false => signal.open(()),
            }
            let message = loop {
                let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.poll(group.as_mut())));
                match polled {
                    Ok(polled) => assert!(polled.is_pending()),
                    Err(payload) => break *payload.downcast_ref::<&str>().unwrap_or(&"assertion"),
                }
            };
            let expected = if at.starts_with("drop") { "drop of the work" } else { "assertion" };
            assert_eq!(message, expected);
            let happened = log.take();
            assert_eq!(happened.iter().filter(|entry| entry.starts_with("drop")).count(), 2);
            let told = happened.iter().filter(|entry| *entry == "told").count();
            assert!(told == 0 || !by_itself);
            assert!(terminated(&mut group).contains("resumed after panicking"));
        }
    }
}

// ---- the proxy ----

/// Copies from one side to another until that is closed, and shuts down the side that it writes to at every end.
async fn copy(from: Gate<Result<(), &'static str>>, sent: &Cell<u32>) -> Result<u32, &'static str> {
    loop {
        match from.clone().wait().await {
            Ok(()) => sent.set(sent.get() + 1),
            Err("end") => return Ok(sent.get()),
            Err(error) => return Err(error),
        }
    }
}

#[test]
fn a_proxy_shuts_down_both_writers_knows_the_failure_at_once_and_is_limited_by_the_grace() {
    for container in CONTAINERS {
        for is_over in [false, true] {
            let _at = At(format!("{container:?}, the grace is over: {is_over}"));
            let world = World::new();
            let log = &world.log;
            let (up, down) = (Gate::new(), Gate::new());
            let (up_shut, down_shut) = (Gate::<()>::new(), Gate::<()>::new());
            let (sent_up, sent_down) = (Cell::new(0), Cell::new(0));
            let shut = |name, gate: &Gate<()>| {
                let (log, gate) = (log.clone(), gate.clone());
                move || {
                    log.push(format!("shut {name}"));
                    Probe::new(name, &log, &gate)
                }
            };
            let directions = [
                LocalBoxChild::new(copy(up.clone(), &sent_up).finally(shut("up", &up_shut))),
                LocalBoxChild::new(copy(down.clone(), &sent_down).finally(shut("down", &down_shut))),
                // Stands for the other parts of the connection: is dropped when the failure is known.
                LocalBoxChild::new(world.probe::<Result<u32, &'static str>>("timer").0),
            ];
            let over = Gate::<()>::new();
            let mut proxy = gather_in!(container, directions, |group| group.grace(|| {
                log.push("grace");
                over.clone().wait()
            }));
            assert!(world.poll(proxy.as_mut()).is_pending());
            up.open(Ok(()));
            assert!(world.poll(proxy.as_mut()).is_pending());
            up.open(Err("reset"));
            assert!(world.poll(proxy.as_mut()).is_pending());
            log.expect("shut up, drop timer, grace, shut down");
            assert_eq!((sent_up.get(), sent_down.get()), (1, 0));
            down_shut.open(());
            assert!(world.poll(proxy.as_mut()).is_pending());
            log.expect("end down, drop down");
            if is_over {
                over.open(());
            } else {
                up_shut.open(());
            }
            assert_eq!(world.poll(proxy.as_mut()), Poll::Ready(Err("reset")));
            log.expect(if is_over { "drop up" } else { "end up, drop up" });
        }
    }
}

/// The end of one direction is no failure: it shuts its writer down, and the other direction goes on.
#[test]
fn a_proxy_that_is_half_closed_goes_on() {
    let world = World::new();
    let log = &world.log;
    let (up, down) = (Gate::new(), Gate::new());
    let (sent_up, sent_down) = (Cell::new(0), Cell::new(0));
    let shut = |name: &'static str| move || async move { log.push(name) };
    let directions = (
        copy(up.clone(), &sent_up).finally(shut("shut up")),
        copy(down.clone(), &sent_down).finally(shut("shut down")),
    );
    let mut proxy = pin!(gather(directions).into_future());
    assert!(world.poll(proxy.as_mut()).is_pending());
    up.open(Err("end"));
    assert!(world.poll(proxy.as_mut()).is_pending());
    log.expect("shut up");
    down.open(Ok(()));
    assert!(world.poll(proxy.as_mut()).is_pending());
    down.open(Err("end"));
    assert_eq!(world.poll(proxy.as_mut()), Poll::Ready(Ok((0, 1))));
    log.expect("shut down");
}

// ---- hand-written children ----

/// What a hand-written child shows, call by call; after the last one, that again.
type Shown = fn(call: u32, told: bool) -> Option<Output>;

struct Shows {
    shown: Shown,
    calls: u32,
    told: bool,
    answer: OnCancel,
    /// What it ends with by itself.
    end: Option<Output>,
    /// What its drain ends with: `None` is never.
    drained: Option<Option<Output>>,
    taken: Option<Output>,
    now: Option<Output>,
    takes: Rc<Cell<u32>>,
    _token: kit::Token,
}

impl Child for Shows {
    type Output = Output;

    fn poll_child(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Output> {
        self.end.take().map_or(Poll::Pending, Poll::Ready)
    }

    fn cancel(mut self: Pin<&mut Self>) -> OnCancel {
        assert!(!self.told, "told once");
        self.told = true;
        self.answer
    }

    fn poll_drain(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Output>> {
        self.drained.take().map_or(Poll::Pending, Poll::Ready)
    }

    fn output(mut self: Pin<&mut Self>) -> Option<&Output> {
        self.calls += 1;
        self.now = (self.shown)(self.calls, self.told);
        self.get_mut().now.as_ref()
    }

    fn take_output(mut self: Pin<&mut Self>) -> Option<Output> {
        self.takes.set(self.takes.get() + 1);
        self.taken.take()
    }
}

const LIED: &str = "a child's output has ended the group, but the child ended without it";

fn shows(world: &World, shown: Shown) -> Shows {
    Shows {
        shown,
        calls: 0,
        told: false,
        answer: OnCancel::Drain,
        end: None,
        drained: None,
        taken: None,
        now: None,
        takes: Rc::default(),
        _token: world.log.token("shows"),
    }
}

/// Gathers it between two others, polls twice, and says what came of it.
fn outcome_of(world: &World, container: kit::Container, in_reverse: bool, child: Shows) -> Result<String, String> {
    let children = [
        LocalBoxChild::new(world.probe::<Output>("a").0.cleanup(|| ready(()))),
        LocalBoxChild::new(child),
        LocalBoxChild::new(world.probe::<Output>("c").0.on_cancel(|_| ())),
    ];
    let mut group = in_container!(container, children, |group| {
        let group = group.report().grace(|| ready(()));
        match in_reverse {
            false => reported(group),
            true => reported(group.cancel_in_reverse()),
        }
    });
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.poll(group.as_mut())));
    let result = match polled {
        Ok(Poll::Ready(shown)) => Ok(shown),
        Ok(Poll::Pending) => Ok("pending".into()),
        Err(payload) => Err(payload.downcast_ref::<&str>().map_or("another panic".into(), |text| text.to_string())),
    };
    drop(group);
    let happened = world.log.take();
    for name in ["drop a", "drop shows", "drop c"] {
        assert_eq!(happened.iter().filter(|entry| *entry == name).count(), 1, "{name} in {happened:?}");
    }
    result
}

#[test]
fn what_a_hand_written_child_shows_is_believed_as_far_as_it_holds() {
    let world = World::new();
    let failed: Shown = |_, _| Some(Err("shown"));
    let made = |change: fn(&mut Shows)| {
        let mut child = shows(&world, failed);
        change(&mut child);
        child
    };
    let ended = "Failed(1) [Abandoned, Failed(\"shown\"), Abandoned]";
    let lied = || Err(LIED.to_string());
    for (container, in_reverse) in FIXED.into_iter().flat_map(|container| [(container, false), (container, true)]) {
        let _at = At(format!("{container:?}, in reverse: {in_reverse}"));
        let outcome = |child: Shows| outcome_of(&world, container, in_reverse, child);
        let cleaned = |text: &str| match in_reverse {
            // Its turn has not come.
            true => text.into(),
            // The clean-up of the first one is ready at once.
            false => text.replacen("Abandoned", "Drained(None)", 1),
        };

        // Honest: it ends with it, or gives it when it is dropped.
        if !in_reverse {
            let child = made(|child| child.drained = Some(Some(Err("shown"))));
            assert_eq!(outcome(child), Ok(cleaned(ended)));
        }
        let child = made(|child| child.taken = Some(Err("shown")));
        assert_eq!(outcome(child), Ok(cleaned(ended)));
        if !in_reverse {
            let child = made(|child| (child.answer, child.taken) = (OnCancel::Drop, Some(Err("shown"))));
            assert_eq!(outcome(child), Ok(cleaned(ended)));
        }

        // It shows a failure only once, or shows a value, and is asked no more: what counts is what it ends with.
        let mut child = made(|child| child.taken = Some(Err("shown")));
        child.shown = |call, _| (call == 1).then_some(Err("shown"));
        assert_eq!(outcome(child), Ok(cleaned(ended)));
        // Another failure than it showed.
        let child = made(|child| child.taken = Some(Err("another")));
        assert_eq!(outcome(child), Ok(cleaned(&ended.replace("shown", "another"))));

        // It has shown a failure, and has none.
        assert_eq!(outcome(made(|_| ())), lied());
        let child = made(|child| child.taken = Some(Ok(1)));
        assert_eq!(outcome(child), lied());
        if !in_reverse {
            for drained in [None, Some(Ok(1))] {
                let mut child = made(|_| ());
                child.drained = Some(drained);
                assert_eq!(outcome(child), lied());
            }
            let child = made(|child| child.answer = OnCancel::Drop);
            assert_eq!(outcome(child), lied());
        }

        // One that shows nothing, or a value, that would not end the group, goes on.
        for shown in [(|_, _| None) as Shown, |_, _| Some(Ok(1))] {
            let mut child = shows(&world, shown);
            child.end = None;
            assert_eq!(outcome(child), Ok("pending".into()));
        }
        // It shows nothing before the end, and ends with an error.
        let mut child = shows(&world, |_, _| panic!("not asked when it has ended"));
        child.end = Some(Err("ended"));
        assert_eq!(outcome(child), Ok(cleaned(&ended.replace("shown", "ended"))));
        let mut child = shows(&world, |_, _| panic!("shown"));
        child.taken = Some(Ok(1));
        assert_eq!(outcome(child), Err("shown".into()));
    }
}

#[test]
fn an_output_that_is_shown_after_the_cause_changes_nothing() {
    for (container, in_reverse) in CONTAINERS.into_iter().flat_map(|container| [(container, false), (container, true)])
    {
        let _at = At(format!("{container:?}, in reverse: {in_reverse}"));
        let world = World::new();
        let mut child = shows(&world, |_, told| told.then_some(Err("shown when told")));
        child.taken = Some(Err("taken"));
        let takes = child.takes.clone();
        let fails = Gate::<Output>::new();
        let children = [
            LocalBoxChild::new(child),
            LocalBoxChild::new(fails.clone().wait()),
            LocalBoxChild::new(world.probe::<Output>("c").0.on_cancel(|_| ())),
        ];
        let over = Gate::<()>::new();
        let mut group = in_container!(container, children, |group| {
            let group = group.report().grace(|| over.clone().wait());
            match in_reverse {
                false => reported(group),
                true => reported(group.cancel_in_reverse()),
            }
        });
        assert!(world.poll(group.as_mut()).is_pending());
        fails.open(Err("b"));
        assert!(world.poll(group.as_mut()).is_pending());
        assert!(world.poll(group.as_mut()).is_pending());
        assert_eq!(takes.get(), 0);
        over.open(());
        let result = r#"Failed(1) [Drained(Some(Err("taken"))), Failed("b"), Abandoned]"#;
        assert_eq!(world.poll(group.as_mut()), Poll::Ready(result.into()));
        assert_eq!(takes.get(), 1);
    }
}

/// Its siblings are not polled behind it: the failure stops the pass as any other one does.
#[test]
fn no_plain_sibling_is_polled_again_when_a_failure_is_shown() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let polls = Cell::new(0);
        let plain = || {
            let polls = &polls;
            poll_fn(move |_| {
                polls.set(polls.get() + 1);
                Poll::<Output>::Pending
            })
        };
        let mut child = shows(&world, |_, _| Some(Err("shown")));
        child.drained = Some(Some(Err("shown")));
        let children = [LocalBoxChild::new(plain()), LocalBoxChild::new(child), LocalBoxChild::new(plain())];
        let mut group = gather_in!(container, children, |group| group);
        assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err("shown")));
        assert_eq!(polls.get(), 1);
    }
}

// ---- types ----

#[test]
fn auto_traits_follow_the_parts_and_nothing_is_boxed() {
    fn send<T: Send>(_: &T) {}
    fn sync<T: Sync>(_: &T) {}
    fn unpin<T: Unpin>(_: &T) {}

    let child = || ready(Ok::<u8, u8>(1)).finally(|| ready(()));
    send(&child());
    sync(&child());
    unpin(&child());
    let group = gather((child(), BoxChild::new(child()))).on_cancel(|_| ()).cancel_in_reverse().grace(|| ready(()));
    send(&group);
    send(&group.into_future());
    unpin(&gather(vec![pending::<Output>().finally(pending::<()>)]).cancel_in_reverse().into_future());

    let shared = Rc::new(());
    let local = ready(Ok::<u8, u8>(1)).finally(|| {
        drop(shared);
        ready(())
    });
    let named: Finally<_, _, std::future::Ready<()>> = local;
    assert_eq!(pollster::block_on(gather([named])), Ok([1]));
    let report: Report<(Outcome<u8, u8>,)> = pollster::block_on(gather((child(),)).report());
    assert_eq!(report.into_result().map_err(|error: GatherError<u8>| error.into_source()), Ok((1,)));
    assert_eq!(Cause::Completed.index(), None);
}
