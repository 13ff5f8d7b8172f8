//! What a stream of outputs and its children do in each poll, in every container.

use std::future::poll_fn;
use std::task::Poll;

use crate::gather::scenario::{Scenario, run_in};
use crate::kit::{Any, Log};
use futures_util::Stream;
use gather::{from_iter, from_stream_const, gather};

/// A future that polls the stream once in each poll, logs what it gives, and ends with the cause.
macro_rules! polled {
    ($stream:expr, $log:expr) => {{
        let mut stream = Box::pin($stream);
        let log: Log = $log;
        let future = poll_fn(move |cx| match stream.as_mut().poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(item)) => {
                log.push(format!("item {item:?}"));
                Poll::Pending
            }
            Poll::Ready(None) => Poll::Ready(format!("{:?}", stream.cause().unwrap())),
        });
        Box::pin(future) as Any<'_, String>
    }};
}

/// Runs the scenarios with a stream of a group, in every container. Of a source each child is drawn in the first poll,
/// so it runs in that discipline alone.
macro_rules! run_all {
    ($scenarios:expr, |$group:ident, $stage:ident| $stream:expr) => {
        for scenario in $scenarios {
            run_all!(@one scenario, "tuple", [true, false], |[a, b, c]| (a, b, c), |$group, $stage| $stream);
            run_all!(@one scenario, "array", [true, false], |children| children, |$group, $stage| $stream);
            run_all!(@one scenario, "vec", [true, false], |children| Vec::from(children), |$group, $stage| $stream);
            run_all!(@one scenario, "boxed slice", [true, false], |children| Box::<[_]>::from(children), |$group, $stage| $stream);
            run_all!(@one scenario, "source", [true], |children| from_iter(children), |$group, $stage| $stream);
            run_all!(@one scenario, "const source", [true], |children| {
                from_stream_const::<4, _>(futures_util::stream::iter(children))
            }, |$group, $stage| $stream);
        }
    };
    (@one $scenario:ident, $name:literal, $disciplines:expr, |$children:pat_param| $held:expr, |$group:ident, $stage:ident| $stream:expr) => {
        for pending_first in $disciplines {
            run_in($scenario, $name, pending_first, |$children, $stage| {
                let $group = gather($held);
                polled!($stream, $stage.world.log.clone())
            });
        }
    };
}

const FAIL_FAST: &[Scenario] = &[
    Scenario {
        name: "one value a poll, and the next poll goes on behind that child",
        kinds: "ppp",
        script: "
            pending: ok a; ok b; ok c; poll => end b, drop b, item Ok(Ok((1, 1)))
            pending: poll => end c, drop c, item Ok(Ok((2, 2)))
            pending: poll => end a, drop a, item Ok(Ok((0, 0)))
            ready: ok a; ok b; ok c; poll => end a, drop a, item Ok(Ok((0, 0)))
            ready: poll => end b, drop b, item Ok(Ok((1, 1)))
            ready: poll => end c, drop c, item Ok(Ok((2, 2)))
            poll => drop signal, ready Completed
        ",
    },
    Scenario {
        name: "a failure: the handshake, and then the error",
        kinds: "tpc",
        script: "
            pending: fail b; poll => end b, drop b, drop signal, hook Failed(1), tell a, drop c, grace, make C
            pending: clean c; poll => end C, drop C
            ready: fail b; poll => end b, drop b, drop signal, hook Failed(1), tell a, drop c, grace
            poll =>
            ok a; poll => end a, drop a, drop grace, item Ok(Err(\"b\"))
            poll => ready Failed(1)
        ",
    },
    Scenario {
        name: "a value, then a failure that was there in the same poll",
        kinds: "ppp",
        script: "
            pending: ok b; fail c; ok a; poll => end b, drop b, item Ok(Ok((1, 1)))
            pending: poll => end c, drop c, drop signal, hook Failed(2), drop a, item Ok(Err(\"c\"))
            pending: poll => ready Failed(2)
            ready: ok a; fail b; ok c; poll => end a, drop a, item Ok(Ok((0, 0)))
            ready: poll => end b, drop b, drop signal, hook Failed(1), drop c, item Ok(Err(\"b\"))
            ready: poll => ready Failed(1)
        ",
    },
    Scenario {
        name: "a signal in the poll in which a value comes: it is not lost, and the drain begins",
        kinds: "ptt",
        script: "
            pending: ok a; signal; poll => drop signal, end a, drop a, hook Cancelled, tell b, tell c, grace, item Ok(Ok((0, 0)))
            pending: ok b; poll => end b, drop b
            pending: over; poll => drop grace, drop c, item Err(Cancelled)
            ready: signal; ok a; poll => drop signal, hook Cancelled, drop a, tell b, tell c, grace
            ready: ok b; ok c; poll => end c, drop c, end b, drop b, drop grace, item Err(Cancelled)
            poll => ready Cancelled
        ",
    },
    Scenario {
        name: "a signal after the last value changes nothing",
        kinds: "ppp",
        script: "
            pending: ok a; ok b; poll => end b, drop b, item Ok(Ok((1, 1)))
            pending: ok c; poll => end c, drop c, item Ok(Ok((2, 2)))
            pending: signal; poll => drop signal, end a, drop a, item Ok(Ok((0, 0)))
            pending: poll => ready Completed
            ready: drop => drop a, drop b, drop c, drop signal
        ",
    },
    Scenario {
        name: "dropped after a value: as a gather",
        kinds: "tpc",
        script: "
            ok b; poll => end b, drop b, item Ok(Ok((1, 1)))
            drop => drop a, drop c, drop signal
        ",
    },
    Scenario {
        name: "dropped in the drain",
        kinds: "tpc",
        script: "
            pending: fail b; poll => end b, drop b, drop signal, hook Failed(1), tell a, drop c, grace, make C
            pending: drop => drop a, drop C, drop grace
            ready: drop => drop a, drop b, drop c, drop signal
        ",
    },
    Scenario {
        name: "an error that is known before its child has ended",
        kinds: "tfp",
        script: "
            fail b; poll => end b, drop b, make B, drop signal, hook Failed(1), tell a, drop c, grace
            clean b; poll => end B, drop B
            ok a; poll => end a, drop a, drop grace, item Ok(Err(\"b\"))
            poll => ready Failed(1)
        ",
    },
    Scenario {
        name: "a value comes when its clean-up has ended",
        kinds: "fpp",
        script: "
            ok a; poll => end a, drop a, make A
            clean a; poll => end A, drop A, item Ok(Ok((0, 0)))
            drop => drop b, drop c, drop signal
        ",
    },
];

#[test]
fn fail_fast_in_every_container() {
    run_all!(FAIL_FAST, |group, stage| {
        let log = stage.world.log.clone();
        let group = group.on_cancel(move |cause| log.push(format!("hook {cause:?}")));
        group.cancel_when(stage.signal()).grace(stage.grace()).as_completed()
    });
}

const SETTLE: &[Scenario] = &[
    Scenario {
        name: "a failure is an output",
        kinds: "ppp",
        script: "
            fail b; poll => end b, drop b, item Ok((1, Err(\"b\")))
            ok a; poll => end a, drop a, item Ok((0, Ok(0)))
            poll =>
            fail c; poll => end c, drop c, item Ok((2, Err(\"c\")))
            poll => drop signal, ready Completed
        ",
    },
    Scenario {
        name: "cancelled: nothing more comes but that",
        kinds: "ptt",
        script: "
            ok a; poll => end a, drop a, item Ok((0, Ok(0)))
            pending: ok b; ok c; signal; poll => drop signal, end b, drop b, tell c, grace, end c, drop c, item Ok((1, Ok(1)))
            ready: ok b; signal; poll => drop signal, end b, drop b, tell c, grace, item Ok((1, Ok(1)))
            ready: over; poll => drop grace, drop c, item Err(Cancelled)
            pending: poll => drop grace, item Err(Cancelled)
            poll => ready Cancelled
        ",
    },
];

#[test]
fn settle_in_every_container() {
    run_all!(SETTLE, |group, stage| { group.cancel_when(stage.signal()).settle().grace(stage.grace()).as_completed() });
}

const REPORTED: &[Scenario] = &[
    Scenario {
        name: "every outcome: the cause, the dropped one, the late one",
        kinds: "tpp",
        script: "
            fail c; poll => end c, drop c, drop signal, tell a, drop b, grace, item (2, Failed(\"c\"))
            poll => item (1, Dropped)
            poll =>
            ok a; poll => end a, drop a, item (0, Drained(Some(Ok(0))))
            poll => drop grace, ready Failed(2)
        ",
    },
    Scenario {
        name: "one that drains at once comes after those that were dropped",
        kinds: "tpp",
        script: "
            ok a; poll => end a, drop a, item (0, Done(0))
            drop => drop b, drop c, drop signal
        ",
    },
    Scenario {
        name: "told, and polled in that poll, before the others are handed out",
        kinds: "tpp",
        script: "
            pending: ok a; fail c; poll => end c, drop c, drop signal, tell a, drop b, grace, end a, drop a, item (2, Failed(\"c\"))
            pending: poll => item (1, Dropped)
            pending: poll => item (0, Drained(Some(Ok(0))))
            pending: poll => drop grace, ready Failed(2)
            ready: drop => drop a, drop b, drop c, drop signal
        ",
    },
    Scenario {
        name: "a value and a signal in one poll",
        kinds: "ppt",
        script: "
            pending: ok a; signal; poll => drop signal, end a, drop a, drop b, tell c, grace, item (0, Done(0))
            pending: poll => item (1, Dropped)
            pending: fail c; poll => end c, drop c, item (2, Drained(Some(Err(\"c\"))))
            pending: poll => drop grace, ready Cancelled
            ready: signal; poll => drop signal, drop a, drop b, tell c, grace, item (0, Dropped)
            ready: poll => item (1, Dropped)
            ready: fail c; poll => end c, drop c, item (2, Drained(Some(Err(\"c\"))))
            ready: poll => drop grace, ready Cancelled
        ",
    },
    Scenario {
        name: "late ones in the order in which they end",
        kinds: "ttp",
        script: "
            fail c; poll => end c, drop c, drop signal, tell a, tell b, grace, item (2, Failed(\"c\"))
            ok b; poll => end b, drop b, item (1, Drained(Some(Ok(1))))
            fail a; poll => end a, drop a, item (0, Drained(Some(Err(\"a\"))))
            poll => drop grace, ready Failed(2)
        ",
    },
    Scenario {
        name: "the grace is over, in the poll in which one ends",
        kinds: "ttt",
        script: "
            pending: fail c; poll => end c, drop c, drop signal, tell a, tell b, grace, item (2, Failed(\"c\"))
            pending: ok b; over; poll => drop grace, end b, drop b, drop a, item (1, Drained(Some(Ok(1))))
            pending: poll => item (0, Abandoned)
            ready: signal; poll => drop signal, tell a, tell b, tell c, grace
            ready: over; poll => drop grace, drop a, drop b, drop c, item (0, Abandoned)
            ready: poll => item (1, Abandoned)
            ready: poll => item (2, Abandoned)
            pending: poll => ready Failed(2)
            ready: poll => ready Cancelled
        ",
    },
    Scenario {
        name: "the cause cleans up: it is handed out when it has ended",
        kinds: "pfp",
        script: "
            fail b; poll => end b, drop b, make B, drop signal, drop a, drop c, grace, item (0, Dropped)
            poll => item (2, Dropped)
            clean b; poll => end B, drop B, item (1, Failed(\"b\"))
            poll => drop grace, ready Failed(1)
        ",
    },
    Scenario {
        name: "dropped while outcomes wait",
        kinds: "tpp",
        script: "
            fail c; poll => end c, drop c, drop signal, tell a, drop b, grace, item (2, Failed(\"c\"))
            drop => drop a, drop grace
        ",
    },
];

#[test]
fn report_in_every_container() {
    run_all!(REPORTED, |group, stage| {
        group.cancel_when(stage.signal()).grace(stage.grace()).report().as_completed()
    });
}

const IN_REVERSE: &[Scenario] = &[
    Scenario {
        name: "one after the other",
        kinds: "ttt",
        script: "
            signal; poll => drop signal, tell c, grace
            ok c; poll => end c, drop c, tell b, item (2, Drained(Some(Ok(2))))
            ok b; poll => end b, drop b, tell a, item (1, Drained(Some(Ok(1))))
            ok a; poll => end a, drop a, item (0, Drained(Some(Ok(0))))
            poll => drop grace, ready Cancelled
        ",
    },
    Scenario {
        name: "all in one poll",
        kinds: "ttt",
        script: "
            pending: signal; poll => drop signal, tell c, grace
            pending: drop => drop a, drop b, drop c, drop grace
            ready: ok a; ok b; ok c; signal; poll => drop signal, tell c, grace, end c, drop c, tell b, end b, drop b, tell a, end a, drop a, item (2, Drained(Some(Ok(2))))
            ready: poll => item (1, Drained(Some(Ok(1))))
            ready: poll => item (0, Drained(Some(Ok(0))))
            ready: poll => drop grace, ready Cancelled
        ",
    },
    Scenario {
        name: "plain ones, the last one first, and the cause before them",
        kinds: "ppp",
        script: "
            fail b; poll => end b, drop b, drop signal, drop c, drop a, item (1, Failed(\"b\"))
            poll => item (2, Dropped)
            poll => item (0, Dropped)
            poll => ready Failed(1)
        ",
    },
    Scenario {
        name: "one that ends before its turn",
        kinds: "tpt",
        script: "
            pending: signal; poll => drop signal, tell c, grace
            pending: ok b; poll => end b, drop b, item (1, Drained(Some(Ok(1))))
            pending: over; poll => drop grace, drop c, drop a, item (2, Abandoned)
            pending: poll => item (0, Abandoned)
            pending: poll => ready Cancelled
            ready: drop => drop a, drop b, drop c, drop signal
        ",
    },
];

#[test]
fn report_in_reverse_in_every_container() {
    run_all!(IN_REVERSE, |group, stage| {
        group.cancel_when(stage.signal()).grace(stage.grace()).report().cancel_in_reverse().as_completed()
    });
}
