//! `cancel_in_reverse`: one child at a time, the last one first.

use super::scenario::{Scenario, reported, run, shown};
use crate::kit::{CONTAINERS, in_container};

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "each is told when the one behind it has ended",
        kinds: "ttt",
        script: "
            signal; poll => drop signal, hook Cancelled, tell c, grace
            poll =>
            ok c; poll => end c, drop c, tell b
            poll =>
            ok b; poll => end b, drop b, tell a
            ok a; poll => end a, drop a, drop grace, ready Err(Cancelled)
        ",
    },
    Scenario {
        name: "a plain one is dropped in its turn",
        kinds: "tpt",
        script: "
            signal; poll => drop signal, hook Cancelled, tell c, grace
            poll =>
            ok c; poll => end c, drop c, drop b, tell a
            fail a; poll => end a, drop a, drop grace, ready Err(Cancelled)
        ",
    },
    Scenario {
        name: "plain ones that are the last are dropped at once",
        kinds: "tpp",
        script: "
            signal; poll => drop signal, hook Cancelled, drop c, drop b, tell a, grace
            ok a; poll => end a, drop a, drop grace, ready Err(Cancelled)
        ",
    },
    Scenario {
        name: "plain ones alone are dropped at once, and there is no grace",
        kinds: "ppp",
        script: "
            signal; poll => drop signal, hook Cancelled, drop c, drop b, drop a, ready Err(Cancelled)
        ",
    },
    Scenario {
        name: "one that was told and ends at once holds the others back for no poll",
        kinds: "ptp",
        script: "
            pending: ok b; fail c; poll => end b, drop b, end c, drop c, drop signal, hook Failed(2), drop a, ready Ok(Err(\"c\"))
            ready: ok b; signal; poll => drop signal, hook Cancelled, drop c, tell b, grace, end b, drop b, drop a, drop grace, ready Err(Cancelled)
        ",
    },
    Scenario {
        name: "all in one poll",
        kinds: "ttt",
        script: "
            pending: ok a; signal; poll => drop signal, end a, drop a, hook Cancelled, tell c, grace
            pending: ok b; poll => end b, drop b
            pending: ok c; poll => end c, drop c, drop grace, ready Err(Cancelled)
            ready: ok a; ok b; ok c; signal; poll => drop signal, hook Cancelled, tell c, grace, end c, drop c, tell b, end b, drop b, tell a, end a, drop a, drop grace, ready Err(Cancelled)
        ",
    },
    Scenario {
        name: "one that ends before its turn is not told",
        kinds: "ttt",
        script: "
            pending: signal; poll => drop signal, hook Cancelled, tell c, grace
            pending: ok b; poll => end b, drop b
            pending: fail a; poll => end a, drop a
            pending: ok c; poll => end c, drop c, drop grace, ready Err(Cancelled)
            ready: drop => drop a, drop b, drop c, drop signal
        ",
    },
    Scenario {
        name: "a plain one before its turn goes on, and may end",
        kinds: "tpt",
        script: "
            pending: signal; poll => drop signal, hook Cancelled, tell c, grace
            pending: fail b; poll => end b, drop b
            pending: ok c; poll => end c, drop c, tell a
            pending: ok a; poll => end a, drop a, drop grace, ready Err(Cancelled)
            ready: drop => drop a, drop b, drop c, drop signal
        ",
    },
    Scenario {
        name: "the children before the first one that failed, and those behind it",
        kinds: "tpt",
        script: "
            pending: fail b; poll => end b, drop b, drop signal, hook Failed(1), tell c, grace
            pending: ok c; poll => end c, drop c, tell a
            pending: ok a; poll => end a, drop a, drop grace, ready Ok(Err(\"b\"))
            ready: drop => drop a, drop b, drop c, drop signal
        ",
    },
    Scenario {
        name: "the last one fails",
        kinds: "ttp",
        script: "
            fail c; poll => end c, drop c, drop signal, hook Failed(2), tell b, grace
            ok b; poll => end b, drop b, tell a
            ok a; poll => end a, drop a, drop grace, ready Ok(Err(\"c\"))
        ",
    },
    Scenario {
        name: "the last child that is left fails: nobody is told, but the hook runs",
        kinds: "ttt",
        script: "
            ok c; ok b; poll => end b, drop b, end c, drop c
            fail a; poll => end a, drop a, drop signal, hook Failed(0), ready Ok(Err(\"a\"))
        ",
    },
    Scenario {
        name: "one whose turn did not come in the pass that was stopped has it in the same poll",
        kinds: "ttp",
        script: "
            pending: ok a; fail c; poll => end c, drop c, drop signal, hook Failed(2), tell b, grace, end a, drop a
            pending: ok b; poll => end b, drop b, drop grace, ready Ok(Err(\"c\"))
            ready: ok a; fail c; poll => end a, drop a, end c, drop c, drop signal, hook Failed(2), tell b, grace
            ready: ok b; poll => end b, drop b, drop grace, ready Ok(Err(\"c\"))
        ",
    },
    Scenario {
        name: "one that was never polled does not start before its turn",
        kinds: "ptt",
        script: "
            pending: drop => drop a, drop b, drop c, drop signal
            ready: fail a; ok b; poll => end a, drop a, drop signal, hook Failed(0), tell c, grace
            ready: poll =>
            ready: poll =>
            ready: ok c; poll => end c, drop c, tell b, end b, drop b, drop grace, ready Ok(Err(\"a\"))
        ",
    },
    Scenario {
        name: "one that was never polled, and needs no clean-up then, is dropped in its turn",
        kinds: "cst",
        script: "
            pending: signal; poll => drop signal, hook Cancelled, tell c, grace
            pending: ok c; poll => end c, drop c
            pending: ok b; poll => end b, drop b, drop a, make A
            pending: clean a; poll => end A, drop A, drop grace, ready Err(Cancelled)
            ready: signal; poll => drop signal, hook Cancelled, tell c, grace
            ready: ok c; poll => end c, drop c, drop b, drop a, drop grace, ready Err(Cancelled)
        ",
    },
    Scenario {
        name: "clean-ups run one after the other, and the work goes on until its turn",
        kinds: "ccp",
        script: "
            pending: fail c; poll => end c, drop c, drop signal, hook Failed(2), drop b, grace, make B
            pending: ok a; poll => end a, drop a
            pending: clean b; poll => end B, drop B, drop grace, ready Ok(Err(\"c\"))
            ready: fail c; poll => end c, drop c, drop signal, hook Failed(2), drop b, grace, make B
            ready: clean b; poll => end B, drop B, drop a, make A
            ready: clean a; poll => end A, drop A, drop grace, ready Ok(Err(\"c\"))
        ",
    },
    Scenario {
        name: "the cause cleans up in the middle, until its turn as one that is not told",
        kinds: "tft",
        script: "
            pending: fail b; poll => end b, drop b, make B, drop signal, hook Failed(1), tell c, grace
            pending: clean b; poll => end B, drop B
            pending: ok c; poll => end c, drop c, tell a
            pending: ok a; poll => end a, drop a, drop grace, ready Ok(Err(\"b\"))
            ready: fail b; poll => end b, drop b, make B, drop signal, hook Failed(1), tell c, grace
            ready: ok c; poll => end c, drop c
            ready: ok a; poll => end a, drop a
            ready: clean b; poll => end B, drop B, drop grace, ready Ok(Err(\"b\"))
        ",
    },
    Scenario {
        name: "the cause cleans up in its turn",
        kinds: "tft",
        script: "
            fail b; poll => end b, drop b, make B, drop signal, hook Failed(1), tell c, grace
            pending: ok c; poll => end c, drop c
            ready: ok c; poll => end c, drop c
            clean b; poll => end B, drop B, tell a
            ok a; poll => end a, drop a, drop grace, ready Ok(Err(\"b\"))
        ",
    },
    Scenario {
        name: "the grace is over while the first one drains",
        kinds: "ttt",
        script: "
            signal; poll => drop signal, hook Cancelled, tell c, grace
            over; poll => drop grace, drop c, drop b, drop a, ready Err(Cancelled)
        ",
    },
    Scenario {
        name: "the grace is one for all",
        kinds: "tft",
        script: "
            pending: fail b; poll => end b, drop b, make B, drop signal, hook Failed(1), tell c, grace
            pending: ok c; poll => end c, drop c
            pending: over; poll => drop grace, drop B, drop a, ready Ok(Err(\"b\"))
            ready: fail b; poll => end b, drop b, make B, drop signal, hook Failed(1), tell c, grace
            ready: over; poll => drop grace, drop c, drop B, drop a, ready Ok(Err(\"b\"))
        ",
    },
    Scenario {
        name: "one that ends in the poll in which the grace is over has ended, and the next one is told, then dropped",
        kinds: "ttt",
        script: "
            signal; poll => drop signal, hook Cancelled, tell c, grace
            ok c; over; poll => drop grace, end c, drop c, tell b, drop b, drop a, ready Err(Cancelled)
        ",
    },
    Scenario {
        name: "dropped while it drains: in index order",
        kinds: "tcs",
        script: "
            pending: signal; poll => drop signal, hook Cancelled, grace
            pending: ok c; poll => end c, drop c, drop b, make B
            pending: drop => drop a, drop B, drop grace
            ready: signal; poll => drop signal, hook Cancelled, drop c, drop b, tell a, grace
            ready: drop => drop a, drop grace
        ",
    },
];

#[test]
fn every_scenario_in_every_container() {
    for scenario in SCENARIOS {
        for container in CONTAINERS {
            run(scenario, container, |children, stage| {
                let log = stage.world.log.clone();
                in_container!(container, children, |group| {
                    let group = group.cancel_in_reverse().on_cancel(move |cause| log.push(format!("hook {cause:?}")));
                    shown(group.cancel_when(stage.signal()).grace(stage.grace()))
                })
            });
        }
    }
}

const REPORTED: &[Scenario] = &[
    Scenario {
        name: "one that ends before its turn has drained",
        kinds: "tpt",
        script: "
            pending: signal; poll => drop signal, tell c, grace
            pending: fail b; poll => end b, drop b
            pending: ok a; poll => end a, drop a
            pending: ok c; poll => end c, drop c, drop grace, ready Cancelled [Drained(Some(Ok(0))), Drained(Some(Err(\"b\"))), Drained(Some(Ok(2)))]
            ready: drop => drop a, drop b, drop c, drop signal
        ",
    },
    Scenario {
        name: "a plain one whose turn came is dropped",
        kinds: "ppt",
        script: "
            pending: fail a; poll => end a, drop a, drop signal, tell c, grace
            pending: ok c; poll => end c, drop c, drop b, drop grace, ready Failed(0) [Failed(\"a\"), Dropped, Drained(Some(Ok(2)))]
            ready: drop => drop a, drop b, drop c, drop signal
        ",
    },
    Scenario {
        name: "the grace is over: who was told or would have been is abandoned, a plain one is dropped",
        kinds: "tpt",
        script: "
            signal; poll => drop signal, tell c, grace
            over; poll => drop grace, drop c, drop b, drop a, ready Cancelled [Abandoned, Dropped, Abandoned]
        ",
    },
    Scenario {
        name: "the grace is over: one that was never polled, and needs no clean-up then, is dropped",
        kinds: "cst",
        script: "
            pending: signal; poll => drop signal, tell c, grace
            pending: over; poll => drop grace, drop c, drop b, drop a, ready Cancelled [Abandoned, Abandoned, Abandoned]
            ready: signal; poll => drop signal, tell c, grace
            ready: over; poll => drop grace, drop c, drop b, drop a, ready Cancelled [Dropped, Dropped, Abandoned]
        ",
    },
    Scenario {
        name: "the cause cleans up in the middle, and is cut off",
        kinds: "tft",
        script: "
            fail b; poll => end b, drop b, make B, drop signal, tell c, grace
            over; poll => drop grace, drop c, drop B, drop a, ready Failed(1) [Abandoned, Failed(\"b\"), Abandoned]
        ",
    },
    Scenario {
        name: "an output that is known before the turn of its child is late",
        kinds: "tft",
        script: "
            pending: signal; poll => drop signal, tell c, grace
            pending: fail b; poll => end b, drop b, make B
            pending: ok c; poll => end c, drop c
            pending: over; poll => drop grace, drop B, drop a, ready Cancelled [Abandoned, Drained(Some(Err(\"b\"))), Drained(Some(Ok(2)))]
            ready: drop => drop a, drop b, drop c, drop signal
        ",
    },
];

#[test]
fn every_outcome_in_every_container() {
    for scenario in REPORTED {
        for container in CONTAINERS {
            run(scenario, container, |children, stage| {
                in_container!(container, children, |group| {
                    let group = group.cancel_in_reverse().cancel_when(stage.signal()).grace(stage.grace());
                    reported(group.report())
                })
            });
        }
    }
}
