//! `cancel_in_reverse`: one child at a time, the last one first.

use std::cell::{Cell, RefCell};
use std::future::{poll_fn, ready};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::scenario::{Scenario, reported, run, shown};
use crate::kit::{
    self, At, CONTAINERS, FIXED, Flatten as _, Gate, Output, Probe, World, boxed, gather_in, hold_in, holding,
    in_container, panic_of,
};
use gather::{CancelExt, Cancelled, Cause, Child, Limit, LocalBoxChild, Outcome, gather, restart};

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
        name: "the grace is over: a draining child is abandoned, told or not, a plain one is dropped",
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

/// Children that log their polls and keep their wakers, and end when they are let.
#[derive(Clone, Default)]
struct Crowd {
    polled: Rc<RefCell<Vec<usize>>>,
    wakers: Rc<RefCell<Vec<Option<Waker>>>>,
    /// Children from this index on end in their next poll.
    ends_from: Rc<Cell<usize>>,
    /// A child that ends wakes the one before it.
    wakes_the_one_before: Rc<Cell<bool>>,
    told: Rc<RefCell<Vec<usize>>>,
}

impl Crowd {
    fn new(count: usize) -> (Self, Vec<impl Child<Output = Output>>) {
        let crowd = Crowd { ends_from: Rc::new(Cell::new(usize::MAX)), ..Crowd::default() };
        crowd.wakers.borrow_mut().resize(count, None);
        let child = |index| {
            let (polled, told) = (crowd.clone(), crowd.clone());
            let work = poll_fn(move |cx| {
                polled.polled.borrow_mut().push(index);
                polled.wakers.borrow_mut()[index] = Some(cx.waker().clone());
                if index < polled.ends_from.get() {
                    return Poll::Pending;
                }
                if index > 0 && polled.wakes_the_one_before.get() {
                    polled.wake(index - 1);
                }
                Poll::Ready(Ok(index as u32))
            });
            work.on_cancel(move |_| told.told.borrow_mut().push(index))
        };
        let children = (0..count).map(child).collect();
        (crowd, children)
    }

    fn wake(&self, index: usize) {
        let waker = self.wakers.borrow()[index].clone();
        waker.expect("it was polled").wake();
    }

    fn polled(&self) -> Vec<usize> {
        self.polled.take()
    }

    fn told(&self) -> Vec<usize> {
        self.told.take()
    }
}

#[test]
fn in_a_vec_one_whose_turn_has_not_come_is_polled_only_when_it_is_woken() {
    const COUNT: usize = 200;
    let world = World::new();
    let (crowd, children) = Crowd::new(COUNT);
    let stop = Gate::<()>::new();
    let mut group = pin!(gather(children).cancel_in_reverse().cancel_when(stop.clone().wait()).into_future());
    assert!(world.poll(group.as_mut()).is_pending());
    assert_eq!(crowd.polled().len(), COUNT);
    stop.open(());
    assert!(world.poll(group.as_mut()).is_pending());
    assert_eq!((crowd.told(), crowd.polled()), (vec![199], vec![199]));
    world.wakes.take();

    crowd.wake(70);
    assert_eq!(world.wakes.take(), 1);
    assert!(world.poll(group.as_mut()).is_pending());
    assert_eq!((crowd.told(), crowd.polled()), (vec![], vec![70]));
    assert_eq!(world.wakes.take(), 0);
    assert!(world.poll(group.as_mut()).is_pending());
    assert_eq!(crowd.polled(), []);

    // The last ten are told and end one after the other, each with one poll; so does the next one begin.
    crowd.ends_from.set(190);
    crowd.wake(199);
    assert!(world.poll(group.as_mut()).is_pending());
    assert_eq!(crowd.told(), (189..199).rev().collect::<Vec<_>>());
    assert_eq!(crowd.polled(), (189..200).rev().collect::<Vec<_>>());
    world.wakes.take();
    assert!(world.poll(group.as_mut()).is_pending());
    assert_eq!((crowd.polled(), world.wakes.take()), (vec![], 0));

    crowd.ends_from.set(0);
    crowd.wake(3);
    crowd.wake(189);
    assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err(Cancelled)));
    // The one that was woken ends late, the others in their turn.
    assert_eq!(crowd.told(), (0..189).rev().filter(|index| *index != 3).collect::<Vec<_>>());
    assert_eq!(crowd.polled().len(), 190);
}

#[test]
fn in_a_vec_one_that_is_woken_and_then_told_is_polled_once_for_both() {
    let world = World::new();
    let (crowd, children) = Crowd::new(3);
    let stop = Gate::<()>::new();
    let mut group = pin!(gather(children).cancel_in_reverse().cancel_when(stop.clone().wait()).into_future());
    assert!(world.poll(group.as_mut()).is_pending());
    stop.open(());
    assert!(world.poll(group.as_mut()).is_pending());
    let _ = (crowd.polled(), crowd.told(), world.wakes.take());

    crowd.ends_from.set(2);
    crowd.wakes_the_one_before.set(true);
    crowd.wake(2);
    world.wakes.take();
    assert!(world.poll(group.as_mut()).is_pending());
    assert_eq!((crowd.polled(), crowd.told()), (vec![2, 1], vec![1]));
    assert_eq!(world.wakes.take(), 0);
    assert!(world.poll(group.as_mut()).is_pending());
    assert_eq!(crowd.polled(), []);
}

#[test]
fn in_a_vec_the_one_that_is_told_is_polled_though_another_one_was_woken() {
    let world = World::new();
    let (crowd, children) = Crowd::new(70);
    let stop = Gate::<()>::new();
    let group = gather(children).cancel_in_reverse().on_cancel(|_| crowd.wake(0));
    let mut group = pin!(group.cancel_when(stop.clone().wait()).into_future());
    assert!(world.poll(group.as_mut()).is_pending());
    crowd.polled();
    stop.open(());
    assert!(world.poll(group.as_mut()).is_pending());
    assert_eq!((crowd.told(), crowd.polled()), (vec![69], vec![69, 0]));
}

#[test]
fn one_that_wakes_itself_for_ever_holds_no_other_back() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let log = &world.log;
        let gates: [Gate<Output>; 2] = Default::default();
        let [told, stop] = &gates;
        let restless = || {
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::<Output>::Pending
            })
        };
        let children = [
            LocalBoxChild::new(restless()),
            LocalBoxChild::new(Probe::new("b", log, told).on_cancel(|_| log.push("tell b"))),
            LocalBoxChild::new(stop.clone().wait()),
        ];
        let mut group = gather_in!(container, children, |group| group.cancel_in_reverse());
        assert!(world.poll(group.as_mut()).is_pending());
        stop.open(Err("c"));
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("tell b");
        for _ in 0..5 {
            assert!(world.poll(group.as_mut()).is_pending());
            assert!(world.wakes.take() > 0);
        }
        told.open(Ok(1));
        assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err("c")));
        log.expect("end b, drop b");
    }
}

/// Of many restless children a pass is cut; the one that was told has its turn within the round.
#[test]
fn many_that_wake_themselves_for_ever_hold_no_other_back() {
    const RESTLESS: usize = 100;
    let world = World::new();
    let log = &world.log;
    let (told, stop) = (Gate::<Output>::new(), Gate::<()>::new());
    let restless = |_| {
        let work = poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<Output>::Pending
        });
        LocalBoxChild::new(work)
    };
    let last = Probe::new("last", log, &told).on_cancel(|_| log.push("tell last"));
    let children: Vec<_> = (0..RESTLESS).map(restless).chain([LocalBoxChild::new(last)]).collect();
    let mut group = pin!(gather(children).cancel_in_reverse().cancel_when(stop.clone().wait()).into_future());
    assert!(world.poll(group.as_mut()).is_pending());
    stop.open(());
    assert!(world.poll(group.as_mut()).is_pending());
    log.expect("tell last");
    assert!(world.poll(group.as_mut()).is_pending());
    told.open(Ok(1));
    let mut polls = 0;
    let result = loop {
        polls += 1;
        assert!(world.wakes.take() > 0);
        match world.poll(group.as_mut()) {
            Poll::Ready(result) => break result,
            Poll::Pending => assert!(polls <= RESTLESS / 32 + 1, "its turn does not come"),
        }
    };
    assert_eq!(result, Err(Cancelled));
    log.expect("end last, drop last");
}

#[test]
fn under_every_policy_the_result_is_that_of_the_one_that_ended_it() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let log = &world.log;
        let children = |outputs: [Option<Output>; 3]| {
            let mut names = ["a", "b", "c"].into_iter();
            outputs.map(|output| {
                let (child, gate) = world.probe(names.next().unwrap());
                if let Some(output) = output {
                    gate.open(output);
                }
                child.cleanup(|| async { log.push("cleaned") })
            })
        };
        let expected = "end c, drop c, drop b, cleaned, drop a, cleaned";
        // The others are polled first, the last one ends it.
        let ends_with = |output: Output| children([None, None, Some(output)]);

        let any = in_container!(container, ends_with(Ok(3)), |group| {
            boxed(async { group.any().cancel_in_reverse().await.map_err(|errors| errors.flatten()) })
        });
        assert_eq!(pollster::block_on(any), Ok(3));
        log.expect(expected);
        let race = in_container!(container, ends_with(Err("c")), |group| boxed(group.cancel_in_reverse().race()));
        assert_eq!(pollster::block_on(race), Err("c"));
        log.expect(expected);
        let fail_fast = gather_in!(container, ends_with(Err("c")), |group| group.cancel_in_reverse());
        assert_eq!(pollster::block_on(fail_fast), Err("c"));
        log.expect(expected);

        let (stop, waiting) = (Gate::new(), children([None, None, Some(Ok(3))]));
        let mut settle = gather_in!(container, waiting, |group| {
            group.settle().cancel_in_reverse().cancel_when(stop.clone().wait())
        });
        assert!(world.poll(settle.as_mut()).is_pending());
        log.expect("end c, drop c");
        stop.open(());
        assert!(matches!(world.poll(settle.as_mut()), Poll::Ready(Err(Cancelled))));
        log.expect("drop b, cleaned, drop a, cleaned");
    }
}

/// A parent's cancellation begins that of a group within: its hook is called, and its last child told, in the turn of
/// that group.
#[test]
fn a_group_within_is_cancelled_in_its_turn() {
    for (container, in_reverse) in CONTAINERS.into_iter().flat_map(|container| [(container, false), (container, true)])
    {
        let _at = At(format!("{container:?}, in reverse: {in_reverse}"));
        let world = World::new();
        let log = &world.log;
        let gates: [Gate<Output>; 5] = Default::default();
        let told = |name, gate: &Gate<Output>| {
            Probe::new(name, log, gate).on_cancel(|child| log.push(format!("tell {}", child.name)))
        };
        let inner = gather([told("x", &gates[1]), told("y", &gates[2])])
            .cancel_in_reverse()
            .on_cancel(|cause| log.push(format!("hook within {cause:?}")))
            .map(|result| result.map(|[first, _]| first));
        let children = [
            LocalBoxChild::new(told("a", &gates[0])),
            LocalBoxChild::new(inner),
            LocalBoxChild::new(told("c", &gates[3])),
        ];
        let stop = Gate::<()>::new();
        let mut group = in_container!(container, children, |group| {
            let group = group.on_cancel(|cause| log.push(format!("hook {cause:?}"))).cancel_when(stop.clone().wait());
            match in_reverse {
                false => boxed(async { group.await.flatten() }),
                true => boxed(async { group.cancel_in_reverse().await.flatten() }),
            }
        });
        assert!(world.poll(group.as_mut()).is_pending());
        stop.open(());
        assert!(world.poll(group.as_mut()).is_pending());
        let mut step = |gate: usize, expected: &str| {
            gates[gate].open(Ok(0));
            let polled = world.poll(group.as_mut());
            log.expect(expected);
            polled.is_ready()
        };
        if in_reverse {
            log.expect("hook Cancelled, tell c");
            assert!(!step(3, "end c, drop c, hook within Cancelled, tell y"));
            assert!(!step(2, "end y, drop y, tell x"));
            assert!(!step(1, "end x, drop x, tell a"));
        } else {
            log.expect("hook Cancelled, tell a, hook within Cancelled, tell y, tell c");
            assert!(!step(2, "end y, drop y, tell x"));
            assert!(!step(3, "end c, drop c"));
            assert!(!step(1, "end x, drop x"));
        }
        assert!(step(0, "end a, drop a"));
    }
}

/// A child that is polled with the parent's own waker may have been woken before its parent's pass was stopped.
#[test]
fn no_wake_is_lost_of_a_child_of_a_group_within() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let (child, gate) = world.probe::<Output>("child");
        let (fail, last) = (Gate::<Output>::new(), Gate::<Output>::new());
        let children = [
            LocalBoxChild::new(child),
            LocalBoxChild::new(Gate::<Output>::new().wait()),
            LocalBoxChild::new(last.clone().wait().shield()),
        ];
        let inner = in_container!(container, children, |group| {
            LocalBoxChild::new(group.cancel_in_reverse().settle().map(|_| Ok(0)))
        });
        let mut outer = pin!(gather((LocalBoxChild::new(fail.clone().wait()), inner)).into_future());
        assert!(world.poll(outer.as_mut()).is_pending());
        assert!(world.poll(outer.as_mut()).is_pending());
        // Both at once; the failure comes first in this pass, which is stopped there.
        gate.open(Ok(1));
        fail.open(Err("failed"));
        assert!(world.poll(outer.as_mut()).is_pending());
        world.log.expect("end child, drop child");
        last.open(Ok(2));
        assert_eq!(world.poll(outer.as_mut()), Poll::Ready(Err("failed")));
    }
}

#[test]
fn under_concurrency_one_that_has_not_started_begins_in_its_turn_in_excess_of_the_limit() {
    for container in FIXED {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let log = &world.log;
        let gates: [Gate<Output>; 5] = Default::default();
        let names = ["a", "b", "c", "d", "e"];
        let mut indices = 0..;
        let children = names.map(|name| {
            let index = indices.next().unwrap();
            let mut child = Probe::new(name, log, &gates[index]);
            let mut is_started = false;
            let work = poll_fn(move |cx| {
                if !std::mem::replace(&mut is_started, true) {
                    child.log.push(format!("start {}", child.name));
                }
                std::pin::Pin::new(&mut child).poll(cx)
            });
            match name {
                "d" => LocalBoxChild::new(work),
                _ => LocalBoxChild::new(work.on_cancel(move |_| log.push(format!("tell {name}")))),
            }
        });
        let stop = Gate::<()>::new();
        let mut group = hold_in!(container, (a b c d e), |hold| {
            let group = gather(hold(children)).cancel_in_reverse().concurrency(2).cancel_when(stop.clone().wait());
            boxed(async { group.report().await.outcomes.flatten() })
        });
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("start a, start b");
        stop.open(());
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("tell e, start e");
        // It does not make room for those before it.
        gates[0].open(Ok(0));
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("end a, drop a");
        gates[4].open(Ok(4));
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("end e, drop e, drop d, tell c, start c");
        gates[2].open(Ok(2));
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("end c, drop c, tell b");
        gates[1].open(Err("b"));
        let late = |output| Outcome::Drained(Some(output));
        let outcomes = vec![late(Ok(0)), late(Err("b")), late(Ok(2)), Outcome::Dropped, late(Ok(4))];
        assert_eq!(world.poll(group.as_mut()), Poll::Ready(outcomes));
        log.expect("end b, drop b");
    }
}

#[test]
fn each_generation_of_a_restart_begins_with_its_last_child() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let log = world.log.clone();
        let generations: Rc<RefCell<Vec<[Gate<Output>; 3]>>> = Rc::default();
        let made = generations.clone();
        let make = move || {
            let gates: [Gate<Output>; 3] = Default::default();
            made.borrow_mut().push(gates.clone());
            let mut names = ["a", "b", "c"].into_iter();
            gates.map(|gate| {
                let name = names.next().unwrap();
                let (probe, log) = (Probe::new(name, &log, &gate), log.clone());
                probe.on_cancel(move |child| log.push(format!("tell {}", child.name)))
            })
        };
        let (mut hooks, stop) = (vec![], Gate::<()>::new());
        let mut group = hold_in!(container, (a b c), |hold| {
            let group = restart(Limit::restarts(1), holding(make, hold)).on_cancel(|cause| hooks.push(cause));
            let group = group.cancel_in_reverse().cancel_when(stop.clone().wait());
            boxed(async { group.await.map(|_| ()).is_err() })
        });
        let end = |child: usize, output| generations.borrow().last().unwrap()[child].open(output);
        let step = |group: &mut kit::Any<'_, bool>, expected: &str| {
            let polled = world.poll(group.as_mut());
            world.log.expect(expected);
            polled
        };
        assert!(step(&mut group, "").is_pending());
        end(1, Err("b"));
        assert!(step(&mut group, "end b, drop b, tell c").is_pending());
        end(2, Ok(2));
        assert!(step(&mut group, "end c, drop c, tell a").is_pending());
        end(0, Ok(0));
        assert!(step(&mut group, "end a, drop a").is_pending());
        assert!(step(&mut group, "").is_pending());
        assert_eq!(generations.borrow().len(), 2);
        stop.open(());
        assert!(step(&mut group, "tell c").is_pending());
        end(2, Ok(2));
        assert!(step(&mut group, "end c, drop c, tell b").is_pending());
        end(1, Ok(1));
        assert!(step(&mut group, "end b, drop b, tell a").is_pending());
        end(0, Ok(0));
        assert_eq!(step(&mut group, "end a, drop a"), Poll::Ready(true));
        drop(group);
        assert_eq!(hooks, [Cause::Failed(1), Cause::Cancelled]);
    }
}

#[test]
fn a_panic_in_its_turn_drops_the_others_untold_in_index_order() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let log = &world.log;
        let stop = Gate::<()>::new();
        let child = |name| {
            let told = move |child: std::pin::Pin<&mut Probe<Output>>| {
                log.push(format!("tell {name}"));
                assert!(child.name != "b", "hook of b");
            };
            world.probe::<Output>(name).0.on_cancel(told)
        };
        let last = world.probe::<Output>("c").0.cleanup(|| ready(()));
        let children = [LocalBoxChild::new(child("a")), LocalBoxChild::new(child("b")), LocalBoxChild::new(last)];
        let mut group =
            gather_in!(container, children, |group| group.cancel_in_reverse().cancel_when(stop.clone().wait()));
        assert!(world.poll(group.as_mut()).is_pending());
        stop.open(());
        assert_eq!(panic_of(|| _ = world.poll(group.as_mut())), "hook of b");
        log.expect("drop c, tell b, drop a, drop b");
    }
}

#[test]
fn debug_shows_who_was_told_and_who_waits_for_its_turn() {
    let world = World::new();
    let told = || world.probe::<Output>("told").0.on_cancel(|_| ());
    let (fails, gate) = world.probe::<Output>("fails");
    let mut group = pin!(gather((told(), fails, told(), told())).cancel_in_reverse().into_future());
    assert!(world.poll(group.as_mut()).is_pending());
    gate.open(Err("failed"));
    assert!(world.poll(group.as_mut()).is_pending());
    assert!(format!("{group:?}").contains("[pending, ended, pending, draining]"), "{group:?}");

    let early = gather((told(), ready(Err::<(), _>("failed")), told(), told())).cancel_in_reverse();
    let mut early = pin!(early.into_future());
    assert!(world.poll(early.as_mut()).is_pending());
    assert!(format!("{early:?}").contains("[pending, ended, unstarted, draining]"), "{early:?}");
}
