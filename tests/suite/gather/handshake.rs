//! What happens to the siblings: a table of scenarios, run in every container, and with children that were polled before
//! (pending first) as with children that end in their first poll (ready first).

use super::scenario::{Scenario, run, shown};
use crate::kit::{CONTAINERS, in_container};

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "all complete, in any order",
        kinds: "ppp",
        script: "
            ok b; poll => end b, drop b
            ok a; poll => end a, drop a
            ok c; poll => end c, drop c, drop signal, ready Ok(Ok([0, 1, 2]))
        ",
    },
    Scenario {
        name: "all complete, adapters are not in the way",
        kinds: "tcs",
        script: "
            pending: ok a; ok b; ok c; poll => end b, drop b, end c, drop c, end a, drop a, drop signal, ready Ok(Ok([0, 1, 2]))
            ready: ok a; ok b; ok c; poll => end a, drop a, end b, drop b, end c, drop c, drop signal, ready Ok(Ok([0, 1, 2]))
        ",
    },
    Scenario {
        name: "the first fails",
        kinds: "ppp",
        script: "fail a; poll => end a, drop a, drop signal, drop b, drop c, ready Ok(Err(\"a\"))",
    },
    Scenario {
        name: "the last fails",
        kinds: "ppp",
        script: "fail c; poll => end c, drop c, drop signal, drop a, drop b, ready Ok(Err(\"c\"))",
    },
    Scenario {
        name: "one fails when another has completed",
        kinds: "ppp",
        script: "
            ok c; poll => end c, drop c
            fail b; poll => end b, drop b, drop signal, drop a, ready Ok(Err(\"b\"))
        ",
    },
    Scenario {
        name: "several fail in one poll: the first of the pass is the cause, and no plain one behind it is polled",
        kinds: "ppp",
        script: "
            pending: fail a; fail c; fail b; poll => end b, drop b, drop signal, drop a, drop c, ready Ok(Err(\"b\"))
            ready: fail a; fail c; fail b; poll => end a, drop a, drop signal, drop b, drop c, ready Ok(Err(\"a\"))
        ",
    },
    Scenario {
        name: "the last two fail in one poll, and the one before them is the last of the second pass",
        kinds: "ppp",
        script: "
            fail c; fail b; poll => end b, drop b, drop signal, drop a, drop c, ready Ok(Err(\"b\"))
        ",
    },
    Scenario {
        name: "the outer two fail in one poll",
        kinds: "ppp",
        script: "
            pending: fail a; fail c; poll => end c, drop c, drop signal, drop a, drop b, ready Ok(Err(\"c\"))
            ready: fail a; fail c; poll => end a, drop a, drop signal, drop b, drop c, ready Ok(Err(\"a\"))
        ",
    },
    Scenario {
        name: "told ones are told in index order, then polled in the same poll, and waited for",
        kinds: "tpt",
        script: "
            fail b; poll => end b, drop b, drop signal, tell a, tell c, grace
            poll =>
            ok c; poll => end c, drop c
            ok a; poll => end a, drop a, drop grace, ready Ok(Err(\"b\"))
        ",
    },
    Scenario {
        name: "a told one that ends at once holds nothing back",
        kinds: "ppt",
        script: "
            ok c; fail b; poll => end b, drop b, drop signal, drop a, tell c, grace, end c, drop c, drop grace, ready Ok(Err(\"b\"))
        ",
    },
    Scenario {
        name: "all plain ones are dropped before a told one is polled again",
        kinds: "ttp",
        script: "
            pending: ok a; fail b; poll => end b, drop b, drop signal, tell a, drop c, grace, end a, drop a, drop grace, ready Ok(Err(\"b\"))
            ready: ok b; fail a; poll => end a, drop a, drop signal, tell b, drop c, grace, end b, drop b, drop grace, ready Ok(Err(\"a\"))
        ",
    },
    Scenario {
        name: "a second failure, during the drain, changes nothing",
        kinds: "ptt",
        script: "
            fail a; poll => end a, drop a, drop signal, tell b, tell c, grace
            fail b; poll => end b, drop b
            ok c; poll => end c, drop c, drop grace, ready Ok(Err(\"a\"))
        ",
    },
    Scenario {
        name: "a clean-up is made after the drop and driven to its end",
        kinds: "cpp",
        script: "
            pending: fail b; poll => end b, drop b, drop signal, drop a, drop c, grace, make A
            ready: fail b; poll => end b, drop b, drop signal, drop a, drop c, grace, make A
            poll =>
            clean a; poll => end A, drop A, drop grace, ready Ok(Err(\"b\"))
        ",
    },
    Scenario {
        name: "a clean-up of a child that was never polled is not made",
        kinds: "ppc",
        script: "
            pending: fail a; poll => end a, drop a, drop signal, drop b, drop c, grace, make C
            pending: clean c; poll => end C, drop C, drop grace, ready Ok(Err(\"a\"))
            ready: fail a; poll => end a, drop a, drop signal, drop b, drop c, ready Ok(Err(\"a\"))
        ",
    },
    Scenario {
        name: "clean-ups run beside each other",
        kinds: "ccp",
        script: "
            fail c; poll => end c, drop c, drop signal, drop a, drop b, grace, make A, make B
            clean b; poll => end B, drop B
            clean a; poll => end A, drop A, drop grace, ready Ok(Err(\"c\"))
        ",
    },
    Scenario {
        name: "a shielded one runs to its end",
        kinds: "spp",
        script: "
            fail b; poll => end b, drop b, drop signal, drop c, grace
            poll =>
            ok a; poll => end a, drop a, drop grace, ready Ok(Err(\"b\"))
        ",
    },
    Scenario {
        name: "a shielded one that was never polled is dropped",
        kinds: "pps",
        script: "
            pending: fail a; poll => end a, drop a, drop signal, drop b, grace
            pending: ok c; poll => end c, drop c, drop grace, ready Ok(Err(\"a\"))
            ready: fail a; poll => end a, drop a, drop signal, drop b, drop c, ready Ok(Err(\"a\"))
        ",
    },
    Scenario {
        name: "what outlives the grace is dropped, in index order",
        kinds: "tct",
        script: "
            fail c; poll => end c, drop c, drop signal, tell a, drop b, grace, make B
            over; poll => drop grace, drop a, drop B, ready Ok(Err(\"c\"))
        ",
    },
    Scenario {
        name: "one that ends in the poll in which the grace is over has ended",
        kinds: "tpt",
        script: "
            fail b; poll => end b, drop b, drop signal, tell a, tell c, grace
            ok c; over; poll => drop grace, end c, drop c, drop a, ready Ok(Err(\"b\"))
        ",
    },
    Scenario {
        name: "a grace that is over at once still lets the told ones be polled once",
        kinds: "tpt",
        script: "
            over; ok c; fail b; poll => end b, drop b, drop signal, tell a, tell c, grace, drop grace, end c, drop c, drop a, ready Ok(Err(\"b\"))
        ",
    },
    Scenario {
        name: "the signal cancels all",
        kinds: "ppp",
        script: "
            signal; poll => drop signal, drop a, drop b, drop c, ready Err(Cancelled)
        ",
    },
    Scenario {
        name: "the signal tells and drops in index order",
        kinds: "tpt",
        script: "
            signal; poll => drop signal, tell a, drop b, tell c, grace
            ok a; poll => end a, drop a
            fail c; poll => end c, drop c, drop grace, ready Err(Cancelled)
        ",
    },
    Scenario {
        name: "a signal that is ready at first starts nobody: hooks run, clean-ups and shields do not",
        kinds: "tcs",
        script: "
            pending: signal; poll => drop signal, tell a, drop b, grace, make B
            pending: ok a; clean b; ok c; poll => end B, drop B, end c, drop c, end a, drop a, drop grace, ready Err(Cancelled)
            ready: ok a; ok b; ok c; signal; poll => drop signal, tell a, drop b, drop c, grace, end a, drop a, drop grace, ready Err(Cancelled)
        ",
    },
    Scenario {
        name: "a failure in the poll of the signal stands",
        kinds: "ptp",
        script: "
            pending: signal; fail a; poll => drop signal, end a, drop a, tell b, drop c, grace
            ready: signal; fail a; poll => drop signal, drop a, tell b, drop c, grace
            pending: ok b; poll => end b, drop b, drop grace, ready Ok(Err(\"a\"))
            ready: ok b; poll => end b, drop b, drop grace, ready Err(Cancelled)
        ",
    },
    Scenario {
        name: "a gather whose last child has just ended is complete",
        kinds: "ppp",
        script: "
            pending: ok a; ok b; ok c; signal; poll => drop signal, end b, drop b, end c, drop c, end a, drop a, ready Ok(Ok([0, 1, 2]))
            ready: ok a; ok b; ok c; signal; poll => drop signal, drop a, drop b, drop c, ready Err(Cancelled)
        ",
    },
    Scenario {
        name: "dropped while it runs: no hook, no clean-up",
        kinds: "tcs",
        script: "drop => drop a, drop b, drop c, drop signal",
    },
    Scenario {
        name: "dropped while it drains",
        kinds: "tcp",
        script: "
            fail c; poll => end c, drop c, drop signal, tell a, drop b, grace, make B
            drop => drop a, drop B, drop grace
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
