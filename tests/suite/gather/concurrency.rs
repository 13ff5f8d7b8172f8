//! `concurrency` in the drain: at most so many children are polled at a time there too.

use std::cell::Cell;
use std::fmt::Debug;
use std::rc::Rc;
use std::task::Poll;

use crate::kit::{self, Any, At, Container, FIXED, Flatten, Gate, Log, Output, World};
use gather::{CancelExt, LocalBoxChild, Report, gather};

/// A script for five children a to e of these kinds:
///
/// - `p`lain;
/// - `t`old: `on_cancel` with a hook that logs `tell a`;
/// - `c`leanup: logs `make A`, then drives a clean-up that logs `end A`;
/// - `s`hield.
///
/// A line is `actions => log`. The actions are `ok a`, `fail a`, `clean a` (open a gate), `signal`, `over` (the grace),
/// `poll`, `drop`. The log has `start a`, `end a`, `drop a`, and `ready` with the outcomes.
struct Scenario {
    name: &'static str,
    limit: usize,
    kinds: &'static str,
    script: &'static str,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "told ones that were never started begin in index order, as others end",
        limit: 2,
        kinds: "ttttt",
        script: "
            poll => start a, start b
            signal; poll => tell a, tell b, tell c, tell d, tell e
            poll =>
            ok b; poll => end b, drop b, start c
            ok c; poll => end c, drop c, start d
            poll =>
            ok a; poll => end a, drop a, start e
            ok e; poll => end e, drop e
            ok d; poll => end d, drop d, ready [Drained(Some(Ok(0))), Drained(Some(Ok(1))), Drained(Some(Ok(2))), Drained(Some(Ok(3))), Drained(Some(Ok(4)))]
        ",
    },
    Scenario {
        name: "one at a time",
        limit: 1,
        kinds: "ttttt",
        script: "
            poll => start a
            signal; poll => tell a, tell b, tell c, tell d, tell e
            ok a; poll => end a, drop a, start b
            ok b; poll => end b, drop b, start c
            ok c; poll => end c, drop c, start d
            ok d; poll => end d, drop d, start e
            ok e; poll => end e, drop e, ready [Drained(Some(Ok(0))), Drained(Some(Ok(1))), Drained(Some(Ok(2))), Drained(Some(Ok(3))), Drained(Some(Ok(4)))]
        ",
    },
    Scenario {
        name: "none has started",
        limit: 2,
        kinds: "ttttt",
        script: "
            signal; poll => tell a, tell b, tell c, tell d, tell e, start a, start b
            ok a; poll => end a, drop a, start c
            ok c; poll => end c, drop c, start d
            ok d; poll => end d, drop d, start e
            ok b; poll => end b, drop b
            ok e; poll => end e, drop e, ready [Drained(Some(Ok(0))), Drained(Some(Ok(1))), Drained(Some(Ok(2))), Drained(Some(Ok(3))), Drained(Some(Ok(4)))]
        ",
    },
    Scenario {
        name: "a place that is freed by starting is filled in the same poll",
        limit: 2,
        kinds: "ttttt",
        script: "
            poll => start a, start b
            signal; poll => tell a, tell b, tell c, tell d, tell e
            ok c; ok d; poll =>
            ok a; poll => end a, drop a, start c, end c, drop c, start d, end d, drop d, start e
            ok e; poll => end e, drop e
            ok b; poll => end b, drop b, ready [Drained(Some(Ok(0))), Drained(Some(Ok(1))), Drained(Some(Ok(2))), Drained(Some(Ok(3))), Drained(Some(Ok(4)))]
        ",
    },
    Scenario {
        name: "all end in the first poll",
        limit: 2,
        kinds: "ttttt",
        script: "
            ok a; ok b; ok c; ok d; ok e; signal; poll => tell a, tell b, tell c, tell d, tell e, start a, end a, drop a, start b, end b, drop b, start c, end c, drop c, start d, end d, drop d, start e, end e, drop e, ready [Drained(Some(Ok(0))), Drained(Some(Ok(1))), Drained(Some(Ok(2))), Drained(Some(Ok(3))), Drained(Some(Ok(4)))]
        ",
    },
    Scenario {
        name: "the place of the child that failed is filled",
        limit: 2,
        kinds: "ttttt",
        script: "
            poll => start a, start b
            fail a; poll => end a, drop a, tell b, tell c, tell d, tell e, start c
            fail c; poll => end c, drop c, start d
            ok d; poll => end d, drop d, start e
            ok e; poll => end e, drop e
            ok b; poll => end b, drop b, ready [Failed(\"a\"), Drained(Some(Ok(1))), Drained(Some(Err(\"c\"))), Drained(Some(Ok(3))), Drained(Some(Ok(4)))]
        ",
    },
    Scenario {
        name: "so is that of a plain child that is dropped",
        limit: 2,
        kinds: "pttps",
        script: "
            poll => start a, start b
            signal; poll => drop a, tell b, tell c, drop d, drop e, start c
            ok c; poll => end c, drop c
            ok b; poll => end b, drop b, ready [Dropped, Drained(Some(Ok(1))), Drained(Some(Ok(2))), Dropped, Dropped]
        ",
    },
    Scenario {
        name: "a clean-up and a shielded child keep theirs, and others that were never started are dropped",
        limit: 2,
        kinds: "cstct",
        script: "
            poll => start a, start b
            signal; poll => drop a, tell c, drop d, tell e, make A
            clean a; poll => end A, start c
            ok c; poll => end c, drop c, start e
            ok b; poll => end b, drop b
            ok e; poll => end e, drop e, ready [Drained(None), Drained(Some(Ok(1))), Drained(Some(Ok(2))), Dropped, Drained(Some(Ok(4)))]
        ",
    },
    Scenario {
        name: "those before the first told one that was never started are gone",
        limit: 1,
        kinds: "ppcst",
        script: "
            poll => start a
            signal; poll => drop a, drop b, drop c, drop d, tell e, start e
            ok e; poll => end e, drop e, ready [Dropped, Dropped, Dropped, Dropped, Drained(Some(Ok(4)))]
        ",
    },
    Scenario {
        name: "those that have not started when the grace is over never do",
        limit: 2,
        kinds: "ttttt",
        script: "
            poll => start a, start b
            signal; poll => tell a, tell b, tell c, tell d, tell e
            ok b; poll => end b, drop b, start c
            over; poll => drop a, drop c, drop d, drop e, ready [Abandoned, Drained(Some(Ok(1))), Abandoned, Abandoned, Abandoned]
        ",
    },
    Scenario {
        name: "nor when it is dropped",
        limit: 2,
        kinds: "ttttt",
        script: "
            poll => start a, start b
            signal; poll => tell a, tell b, tell c, tell d, tell e
            drop => drop a, drop b, drop c, drop d, drop e
        ",
    },
];

const NAMES: [(&str, &str); 5] = [("a", "A"), ("b", "B"), ("c", "C"), ("d", "D"), ("e", "E")];

/// Counts the children that have started and not ended.
#[derive(Clone)]
struct Running {
    count: Rc<Cell<usize>>,
    limit: usize,
}

impl Running {
    fn enter(&self) -> Inside {
        self.count.set(self.count.get() + 1);
        assert!(self.count.get() <= self.limit, "more are running");
        Inside(self.count.clone())
    }
}

struct Inside(Rc<Cell<usize>>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn child(
    kind: char,
    (name, cleanup_name): (&'static str, &'static str),
    log: &Log,
    running: &Running,
    (gate, clean): (Gate<Output>, Gate<()>),
) -> LocalBoxChild<'static, Output> {
    let (token, log, running) = (log.token(name), log.clone(), running.clone());
    let (log_of_hook, log_of_cleanup, running_in_cleanup) = (log.clone(), log.clone(), running.clone());
    let work = async move {
        let _token = token;
        let _inside = running.enter();
        log.push(format!("start {name}"));
        let output = gate.wait().await;
        log.push(format!("end {name}"));
        output
    };
    match kind {
        'p' => LocalBoxChild::new(work),
        't' => LocalBoxChild::new(work.on_cancel(move |_| log_of_hook.push(format!("tell {name}")))),
        'c' => LocalBoxChild::new(work.cleanup(async move || {
            let _inside = running_in_cleanup.enter();
            log_of_cleanup.push(format!("make {cleanup_name}"));
            clean.wait().await;
            log_of_cleanup.push(format!("end {cleanup_name}"));
        })),
        's' => LocalBoxChild::new(work.shield()),
        _ => unreachable!(),
    }
}

/// Awaits the group, and logs the outcomes.
async fn ready<O: Flatten<Flat: Debug>>(log: Log, group: impl IntoFuture<Output = Report<O>>) {
    let outcomes = group.await.outcomes.flatten();
    log.push(format!("ready {outcomes:?}"));
}

fn run(scenario: &Scenario, container: Container, nested: bool) {
    let Scenario { name, limit, kinds, script } = *scenario;
    let _at = At(format!("{name}, {container:?}, nested: {nested}"));
    let world = World::new();
    let gates: [(Gate<Output>, Gate<()>); 5] = Default::default();
    let (signal, grace) = (Gate::new(), Gate::new());
    let running = Running { count: Rc::default(), limit };
    let mut kinds = kinds.chars().zip(0..);
    let children: [LocalBoxChild<Output>; 5] = std::array::from_fn(|_| {
        let (kind, index) = kinds.next().unwrap();
        child(kind, NAMES[index], &world.log, &running, gates[index].clone())
    });
    let log = world.log.clone();
    let group: Any<'_, ()> = kit::hold_in!(container, (a b c d e), |hold| {
        let group = gather(hold(children)).concurrency(limit).grace(|| grace.clone().wait()).report();
        match nested {
            false => Box::pin(ready(log, group.cancel_when(signal.clone().wait()))),
            // Cancelled by its parent, also before its first poll.
            true => {
                let group = group.map(move |report| {
                    let outcomes = report.outcomes.flatten();
                    log.push(format!("ready {outcomes:?}"));
                });
                let outer = gather([group]).settle().cancel_when(signal.clone().wait());
                Box::pin(async { outer.await.map_or((), |_| ()) })
            }
        }
    });
    let mut group = Some(group);

    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (actions, expected) = line.split_once("=>").unwrap();
        for action in actions.split(';').map(str::trim) {
            let child = || NAMES.iter().position(|(name, _)| action.ends_with(name)).unwrap();
            match action.split(' ').next().unwrap() {
                "ok" => gates[child()].0.open(Ok(child() as u32)),
                "fail" => gates[child()].0.open(Err(NAMES[child()].0)),
                "clean" => gates[child()].1.open(()),
                "signal" => signal.open(()),
                "over" => grace.open(()),
                "drop" => group = None,
                "poll" => {
                    if let Poll::Ready(()) = world.poll(group.as_mut().unwrap().as_mut()) {
                        group = None;
                    }
                }
                _ => panic!("no such action: {action}"),
            }
        }
        let happened = world.log.take().join(", ");
        assert_eq!(happened, expected.trim(), "in: {line}");
    }
    assert!(group.is_none(), "the script ends with the outcomes or a drop");
    assert_eq!(running.count.get(), 0);
}

#[test]
fn every_scenario_in_every_container() {
    for scenario in SCENARIOS {
        for container in FIXED {
            for nested in [false, true] {
                run(scenario, container, nested);
            }
        }
    }
}
