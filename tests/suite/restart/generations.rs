//! A failed group that is restarted.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::kit::{
    self, CONTAINERS, Container, FIXED, Gate, Log, Output, Probe, World, boxed, hold_in, holding, panic_of,
};
use backon::{BackoffBuilder, ExponentialBuilder};
use futures_core::FusedFuture;
use gather::{CancelExt, Cancelled, Failure, IntoChild, Limit, LocalBoxChild, RestartError, gather, restart};

/// The gates of each generation's two children, made by the factory.
#[derive(Clone, Default)]
struct Generations(Rc<RefCell<Vec<[Gate<Output>; 2]>>>);

impl Generations {
    fn make(&self, log: &Log) -> [LocalBoxChild<'static, Output>; 2] {
        let gates: [Gate<Output>; 2] = Default::default();
        self.0.borrow_mut().push(gates.clone());
        log.push("make");
        let [told, plain] = gates;
        let (told, plain) = (Probe::new("a", log, &told).log_polls(), Probe::new("b", log, &plain).log_polls());
        let log = log.clone();
        [LocalBoxChild::new(told.on_cancel(move |_| log.push("tell a"))), LocalBoxChild::new(plain)]
    }

    /// Ends a child of the last generation.
    fn end(&self, child: usize, result: Output) {
        self.0.borrow().last().unwrap()[child].open(result);
    }
}

#[test]
fn the_old_generation_is_gone_before_the_new_one_is_made_and_it_yields_between() {
    let world = World::new();
    let generations = Generations::default();
    let log = &world.log;
    let grace = |name: &'static str| Probe::new(name, log, &Gate::<()>::new());
    let mut group = pin!(restart(Limit::restarts(2), || generations.make(log)).grace(|| grace("grace")).into_future());
    log.expect("");

    assert!(world.poll(group.as_mut()).is_pending());
    log.expect("make, poll a, poll b");
    generations.end(1, Err("b"));
    assert!(world.poll(group.as_mut()).is_pending());
    log.expect("poll b, end b, drop b, tell a, poll a");
    // It drains as long as it takes.
    assert!(world.poll(group.as_mut()).is_pending());
    log.expect("poll a");
    world.wakes.take();
    generations.end(0, Ok(1));
    assert!(world.poll(group.as_mut()).is_pending());
    log.expect("poll a, end a, drop a, drop grace");
    assert!(world.wakes.take() > 0, "it yields, and asks to be polled again");
    assert!(world.poll(group.as_mut()).is_pending());
    log.expect("make, poll a, poll b");

    // The told one fails, and the plain one had finished: both are restarted.
    generations.end(1, Ok(2));
    generations.end(0, Err("a"));
    assert!(world.poll(group.as_mut()).is_pending());
    log.expect("poll b, end b, drop b, poll a, end a, drop a");
    assert!(world.poll(group.as_mut()).is_pending());
    log.expect("make, poll a, poll b");

    generations.end(0, Err("last"));
    let error = RestartError::LimitReached { restarts: 2, source: "last" };
    assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err(error)));
    log.expect("poll b, poll a, end a, drop a, drop b");
}

/// What belongs to a generation holds one of these; their count says how much is left of it.
type Life = Rc<()>;

/// Children, by what becomes of them when a sibling fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain,
    Ended,
    Told,
    ToldAndFails,
    CleanedUp,
    Shielded,
    Gather,
    Restart,
    BackingOff,
}

impl Kind {
    const ALL: [Kind; 9] = [
        Kind::Plain,
        Kind::Ended,
        Kind::Told,
        Kind::ToldAndFails,
        Kind::CleanedUp,
        Kind::Shielded,
        Kind::Gather,
        Kind::Restart,
        Kind::BackingOff,
    ];

    /// Whether one that has started, or has not, holds the failed generation back.
    fn drains(self, started: bool) -> bool {
        match self {
            Kind::Plain | Kind::Ended | Kind::BackingOff => false,
            Kind::Told | Kind::ToldAndFails | Kind::Gather => true,
            Kind::CleanedUp | Kind::Shielded | Kind::Restart => started,
        }
    }

    /// Ends its drain when the gate is opened that it adds to `drains`.
    fn child(self, life: &Life, drains: &Rc<RefCell<Vec<Gate<()>>>>) -> LocalBoxChild<'static, Result<Life, Life>> {
        let gate = Gate::new();
        drains.borrow_mut().push(gate.clone());
        let (life, drains, held) = (life.clone(), drains.clone(), life.clone());
        let work = async move |result| {
            gate.wait().await;
            result
        };
        match self {
            Kind::Plain => LocalBoxChild::new(work(Ok(life))),
            Kind::Ended => LocalBoxChild::new(ready(Ok(life))),
            Kind::Told => LocalBoxChild::new(work(Ok(life)).on_cancel(move |_| drop(held))),
            Kind::ToldAndFails => LocalBoxChild::new(work(Err(life)).on_cancel(move |_| drop(held))),
            Kind::CleanedUp => {
                let pending = async move {
                    let _life = life;
                    pending().await
                };
                LocalBoxChild::new(pending.cleanup(move || work(Ok(held))))
            }
            Kind::Shielded => LocalBoxChild::new(work(Ok(life)).shield()),
            Kind::Gather => {
                let inner = gather([Kind::Told.child(&life, &drains), Kind::Plain.child(&life, &drains)]);
                LocalBoxChild::new(inner.map(|values| values.map(|[life, _]| life)))
            }
            Kind::Restart => {
                let inner = restart(Limit::unlimited(), move || [Kind::Told.child(&life, &drains)]);
                LocalBoxChild::new(inner.map(|ended| ended.map(|[life]| life).map_err(RestartError::into_source)))
            }
            Kind::BackingOff => {
                let inner = restart(Limit::unlimited(), move || [ready(Err::<Life, _>(life.clone()))]);
                let inner = inner.backoff(move |_| {
                    let held = held.clone();
                    async move {
                        let _held = held;
                        pending::<()>().await;
                    }
                });
                LocalBoxChild::new(inner.map(|ended| ended.map(|[life]| life).map_err(RestartError::into_source)))
            }
        }
    }
}

/// Three generations of two such children and one that fails. Nothing is left of one when the next is made, and nothing
/// but its error when a closure sees that, except `observe`: when it sees it, all are alive that were.
fn three_generations(container: Container, kinds: [Kind; 2], failing: usize, started: bool, outlives_grace: bool) {
    let (world, life) = (World::new(), Life::default());
    let left = || Rc::strong_count(&life) - 1;
    let (drains, fail, over, next) = (Rc::default(), RefCell::new(Gate::new()), Gate::new(), Gate::new());
    let (made, observed, backing_off, before) = (Cell::new(0), Cell::new(0), Cell::new(0), Cell::new(0));
    let (before, left) = (&before, &left);
    let holds = |gate: &Gate<()>| {
        let (life, gate) = (life.clone(), gate.clone());
        async move {
            gate.wait().await;
            drop(life);
        }
    };
    let make = || {
        assert_eq!(left(), 0, "of the generation before");
        made.set(made.get() + 1);
        fail.replace(Gate::new());
        let (gate, life) = (fail.borrow().clone(), life.clone());
        let mut kinds = kinds.iter();
        std::array::from_fn(|index| {
            if index != failing {
                return kinds.next().unwrap().child(&life, &drains);
            }
            let (gate, life) = (gate.clone(), life.clone());
            if !started {
                gate.open(());
            }
            LocalBoxChild::new(async move {
                gate.wait().await;
                before.set(left());
                Err(life)
            })
        })
    };
    let is_alone = |place: &str| assert_eq!(left(), 1, "{place} sees the error, and nothing else is left");
    let clock = || {
        is_alone("clock");
        Duration::ZERO
    };
    let mut group = hold_in!(container, (a b c), |hold| {
        let group = restart(Limit::within(9, Duration::from_secs(1), clock), holding(make, hold))
            .when(|_| {
                is_alone("when");
                true
            })
            .observe(|failure| {
                assert_eq!(left(), before.get(), "no sibling is told or dropped before `observe`");
                assert_eq!(failure.index, failing);
                observed.set(observed.get() + 1);
            })
            .backoff(|_| {
                is_alone("backoff");
                assert_eq!(observed.get(), made.get());
                backing_off.set(backing_off.get() + 1);
                holds(&next)
            })
            .grace(|| holds(&over));
        boxed(async move { drop(group.await) })
    });
    let (mut drained, mut failed) = (0, 0);
    loop {
        assert!(world.quiesce(group.as_mut()).0.is_pending());
        if made.get() == 4 {
            break;
        }
        if backing_off.get() == made.get() {
            assert_eq!(left(), 1, "the backoff");
            next.open(());
        } else if started && failed < made.get() {
            failed += 1;
            fail.borrow().open(());
        } else {
            drained += 1;
            assert_eq!(made.get(), drained, "made while it drains");
            if outlives_grace {
                over.open(());
            } else {
                drains.take().iter().for_each(|gate: &Gate<()>| gate.open(()));
            }
        }
    }
    let mut indices = (0..3).filter(|index| *index != failing);
    let drains = kinds.map(|kind| kind.drains(started || indices.next().unwrap() < failing));
    assert_eq!(drained, if drains.contains(&true) { 3 } else { 0 });
    drop(group);
    assert_eq!(left(), 0);
}

#[test]
fn the_factory_runs_only_when_nothing_is_left_of_the_old_generation() {
    for container in FIXED {
        for first in Kind::ALL {
            for second in Kind::ALL {
                for case in 0..12 {
                    let (failing, started, outlives_grace) = (case % 3, case / 3 % 2 == 0, case / 6 == 0);
                    let _at = kit::At(format!("{container:?}, {first:?}, {second:?}, {failing}, {started}"));
                    three_generations(container, [first, second], failing, started, outlives_grace);
                }
            }
        }
    }
}

#[test]
fn each_generation_is_made_whole_and_first_polled_in_list_order() {
    for container in CONTAINERS {
        let _at = kit::At(format!("{container:?}"));
        let (world, fail) = (World::new(), RefCell::new(Gate::new()));
        let log = &world.log;
        let make = || {
            log.push("make");
            fail.replace(Gate::new());
            [world.ready("a", Ok(1)), Probe::new("b", log, &fail.borrow()), Probe::new("c", log, &Gate::new())]
                .map(Probe::log_polls)
        };
        let mut group = hold_in!(container, (a b c), |hold| {
            let group = restart(Limit::unlimited(), holding(make, hold));
            boxed(async move { group.await.map(drop) })
        });
        for _generation in 0..3 {
            assert!(world.quiesce(group.as_mut()).0.is_pending());
            // The finished child is restarted too.
            log.expect("make, poll a, end a, drop a, poll b, poll c");
            fail.borrow().open(Err("failed"));
            assert!(world.poll(group.as_mut()).is_pending());
            log.expect("poll b, end b, drop b, drop c");
        }
    }
}

#[test]
fn it_completes_with_the_values() {
    let mut made = 0;
    let group = restart(Limit::restarts(1), || {
        made += 1;
        (ready(Ok::<_, ()>(1)), ready(Ok("one")))
    });
    assert_eq!(pollster::block_on(group), Ok((1, "one")));
    assert_eq!(made, 1);
}

#[test]
fn a_limit_of_zero_never_restarts() {
    for limit in [0, 1, 2] {
        let made = Cell::new(0);
        let failing = || {
            made.set(made.get() + 1);
            [ready(Err::<(), _>(made.get()))]
        };
        let error = RestartError::LimitReached { restarts: limit, source: limit + 1 };
        assert_eq!(pollster::block_on(restart(Limit::restarts(limit), failing)), Err(error));
        assert_eq!(made.get(), limit + 1);
    }
    let window = Limit::within(0, Duration::from_secs(1), || Duration::ZERO);
    let group = restart(window, || [ready(Err::<(), _>("failed"))]);
    assert_eq!(pollster::block_on(group), Err(RestartError::LimitReached { restarts: 0, source: "failed" }));
}

#[test]
fn one_that_fails_at_once_for_ever_yields_between_generations() {
    let world = World::new();
    let made = Cell::new(0);
    let mut group = pin!(
        restart(Limit::unlimited(), || {
            made.set(made.get() + 1);
            [ready(Err::<(), _>("failed"))]
        })
        .into_future()
    );
    for poll in 1..=1000 {
        assert!(world.poll(group.as_mut()).is_pending());
        assert_eq!((made.get(), world.wakes.take()), (poll, 1));
    }
}

#[test]
fn no_poll_makes_two_generations_whatever_ends_at_once() {
    type Member<'a> = LocalBoxChild<'a, Result<u32, ()>>;
    let failing = || ready(Err::<u32, _>(()));
    let inner = |made: Rc<Cell<u32>>, restarts| -> Member<'static> {
        let inner = restart(Limit::restarts(restarts), move || {
            made.set(made.get() + 1);
            [failing()]
        });
        LocalBoxChild::new(inner.map(|ended| ended.map(|[value]| value).map_err(|_| ())))
    };
    let rows: [(&str, &dyn Fn(&Rc<Cell<u32>>) -> [Member<'static>; 3]); 8] = [
        ("plain", &|_| [failing(), failing(), failing()].map(LocalBoxChild::new)),
        ("told", &|_| {
            let told = || LocalBoxChild::new(poll_fn(|_| Poll::Pending).on_cancel(|_| ()).map(|_: Output| Ok(1)));
            [told(), told(), LocalBoxChild::new(failing())]
        }),
        ("told, and ready", &|_| [failing(), failing(), failing()].map(|f| LocalBoxChild::new(f.on_cancel(|_| ())))),
        ("cleaned up", &|_| {
            let cleaned_up = || LocalBoxChild::new(pending().cleanup(|| ready(())));
            [cleaned_up(), cleaned_up(), LocalBoxChild::new(failing())]
        }),
        ("shielded", &|_| [failing(), failing(), failing()].map(|f| LocalBoxChild::new(f.shield()))),
        ("gather", &|_| {
            let inner = || LocalBoxChild::new(gather((failing(), failing())).map(|values| values.map(|_| 1)));
            [inner(), inner(), inner()]
        }),
        ("restart that gives up", &|made| {
            [inner(made.clone(), 0), LocalBoxChild::new(failing()), inner(made.clone(), 0)]
        }),
        ("restart", &|made| [inner(made.clone(), 2), LocalBoxChild::new(pending()), LocalBoxChild::new(pending())]),
    ];
    for (name, children) in rows {
        for container in CONTAINERS {
            for backs_off in [false, true] {
                let _at = kit::At(format!("{name}, {container:?}, backs off: {backs_off}"));
                let (world, made, inner_made) = (World::new(), Cell::new(0), Rc::new(Cell::new(0)));
                let make = || {
                    made.set(made.get() + 1);
                    children(&inner_made)
                };
                let mut group = hold_in!(container, (a b c), |hold| {
                    let group = restart(Limit::unlimited(), holding(make, hold)).grace(|| ready(()));
                    match backs_off {
                        false => boxed(async move { drop(group.await) }),
                        true => {
                            let group = group.backoff(|_| ready(()));
                            boxed(async move { drop(group.await) })
                        }
                    }
                });
                for _poll in 0..100 {
                    assert!(world.poll(group.as_mut()).is_pending());
                    assert!(made.replace(0) <= 1 && inner_made.replace(0) <= 1);
                    assert!(world.wakes.take() > 0, "it goes on");
                }
            }
        }
    }
}

/// Fails once for each of these times of the clock, with the window of 10; how many restarts it makes.
fn restarts_within(limit: u32, times: &[u64]) -> u32 {
    let clock = |times: Vec<u64>| {
        let mut times = times.into_iter();
        move || Duration::from_secs(times.next().expect("asked once a failure"))
    };
    let window = Duration::from_secs(10);
    let failures = times.len() as u32;
    macro_rules! count {
        ($limit:expr) => {{
            let mut made = 0;
            let group = restart($limit, || {
                made += 1;
                [ready(if made <= failures { Err(()) } else { Ok(made) })]
            });
            match pollster::block_on(group) {
                Ok([made]) => made - 1,
                Err(RestartError::LimitReached { restarts, .. }) => restarts,
                Err(error) => panic!("{error:?}"),
            }
        }};
    }
    let heap = count!(Limit::within(limit, window, clock(times.to_vec())));
    let in_place = match limit {
        1 => count!(Limit::within_const::<1, _>(window, clock(times.to_vec()))),
        2 => count!(Limit::within_const::<2, _>(window, clock(times.to_vec()))),
        _ => unreachable!(),
    };
    assert_eq!(heap, in_place);
    heap
}

#[test]
fn a_window_slides() {
    // OTP-17: one within 10, each failure later than that.
    assert_eq!(restarts_within(1, &[0, 11, 22, 33]), 4);
    // OTP-18: the third failure within the window is one too many.
    assert_eq!(restarts_within(2, &[0, 1, 2]), 2);
    // The edge counts as within: now <= then + window.
    assert_eq!(restarts_within(1, &[0, 10]), 1);
    assert_eq!(restarts_within(2, &[0, 5, 11, 16, 22]), 5);
    assert_eq!(restarts_within(2, &[0, 5, 10]), 2);
    // A clock that stands still, one that runs backwards, one at its end.
    assert_eq!(restarts_within(2, &[7, 7, 7]), 2);
    assert_eq!(restarts_within(2, &[50, 40, 30]), 2);
    assert_eq!(restarts_within(1, &[u64::MAX, u64::MAX]), 1);
}

#[test]
fn a_window_counts_as_a_list_of_all_restarts_would() {
    // All rows of gaps between six failures, with a window of 10.
    let gaps = [0, 1, 5, 10, 11];
    for row in 0..gaps.len().pow(5) {
        let times: Vec<u64> = (0..6)
            .scan((row, 0), |(row, time), _| {
                let now = *time;
                *time += gaps[*row % gaps.len()];
                *row /= gaps.len();
                Some(now)
            })
            .collect();
        for limit in [1, 2] {
            let mut all = vec![];
            for now in &times {
                if all.iter().filter(|then| *now <= **then + 10).count() >= limit {
                    break;
                }
                all.push(*now);
            }
            assert_eq!(restarts_within(limit as u32, &times), all.len() as u32, "{limit} within 10 at {times:?}");
        }
    }
}

#[test]
fn a_window_keeps_no_more_than_its_limit_over_any_number_of_failures() {
    // In place it has room for no more: three after a failure that had two before it.
    let (mut made, mut most, mut most_seen) = (0, 0, 0);
    let group = restart(Limit::within_const::<3, _>(Duration::from_secs(10), kit::stumbling_clock()), || {
        made += 1;
        [ready(if made <= 100_000 { Err("failed") } else { Ok(made) })]
    });
    let group = group.observe(|failure| most_seen = most_seen.max(failure.recent)).backoff(|failure| {
        most = most.max(failure.recent);
        ready(())
    });
    assert_eq!(pollster::block_on(group), Ok([100_001]));
    // `observe` sees the three: the clock is asked only after it.
    assert_eq!((most, most_seen), (2, 3));
}

#[test]
#[should_panic(expected = "a `Limit` within a window of zero would never count two restarts together")]
fn a_window_of_zero_is_refused() {
    let _ = Limit::within(1, Duration::ZERO, || Duration::ZERO);
}

#[test]
#[should_panic(expected = "window of zero")]
fn a_window_of_zero_is_refused_without_an_allocator_too() {
    let _ = Limit::within_const::<3, _>(Duration::ZERO, || Duration::ZERO);
}

#[test]
fn the_signal_ends_it_from_every_state() {
    // Ready at first: nothing is made.
    let group = restart(Limit::unlimited(), || -> [std::future::Ready<Output>; 1] { unreachable!() });
    assert_eq!(pollster::block_on(group.cancel_when(ready(()))), Err(Cancelled));

    #[derive(Debug, PartialEq, Clone, Copy)]
    enum When {
        Running,
        WithAFailure,
        Draining,
        Between,
        BackingOff,
        AsTheBackoffEnds,
    }
    use When::{AsTheBackoffEnds, BackingOff, Between, Draining, Running, WithAFailure};
    for when in [Running, WithAFailure, Draining, Between, BackingOff, AsTheBackoffEnds] {
        let _at = kit::At(format!("{when:?}"));
        let world = World::new();
        let generations = Generations::default();
        let (signal, backoff) = (Gate::new(), Gate::new());
        let log = &world.log;
        if when == When::Between {
            backoff.open(());
        }
        let mut group = pin!(
            restart(Limit::unlimited(), || generations.make(log))
                .observe(|failure| log.push(format!("observe {}", failure.error)))
                .backoff(|_| Probe::new("backoff", log, &backoff))
                .cancel_when(Probe::new("signal", log, &signal))
                .into_future()
        );
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("make, poll a, poll b");
        let fire = || {
            world.wakes.take();
            signal.open(());
            assert_eq!(world.wakes.take(), 1);
        };
        match when {
            When::Running => {
                fire();
                assert!(world.poll(group.as_mut()).is_pending());
                log.expect("end signal, drop signal, poll b, poll a, tell a, drop b, poll a");
                generations.end(0, Err("late"));
                assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err(Cancelled)));
                log.expect("poll a, end a, drop a");
            }
            When::WithAFailure => {
                fire();
                generations.end(0, Err("failed"));
                assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err(Cancelled)));
                log.expect("end signal, drop signal, poll b, poll a, end a, drop a, observe failed, drop b");
            }
            When::Draining => {
                generations.end(1, Err("failed"));
                assert!(world.poll(group.as_mut()).is_pending());
                log.expect("poll b, end b, drop b, observe failed, tell a, poll a");
                fire();
                assert!(world.poll(group.as_mut()).is_pending());
                log.expect("end signal, drop signal, poll a");
                generations.end(0, Ok(1));
                assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err(Cancelled)));
                log.expect("poll a, end a, drop a");
            }
            When::Between | When::BackingOff | When::AsTheBackoffEnds => {
                generations.end(0, Err("failed"));
                assert!(world.poll(group.as_mut()).is_pending());
                let backed_off = if when == When::Between { ", end backoff, drop backoff" } else { "" };
                log.expect(&format!("poll b, poll a, end a, drop a, observe failed, drop b{backed_off}"));
                if when == When::AsTheBackoffEnds {
                    backoff.open(());
                }
                fire();
                assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err(Cancelled)));
                let dropped = if when == When::Between { "" } else { ", drop backoff" };
                log.expect(&format!("end signal, drop signal{dropped}"));
            }
        }
        assert!(group.is_terminated());
        assert_eq!(generations.0.borrow().len(), 1);
    }
}

#[test]
fn the_signal_wins_wherever_it_is_fired_from() {
    let of_children = ["factory", "second factory", "child", "hook", "grace", "drain"];
    for place in of_children.into_iter().chain(["when", "clock", "observe", "backoff", "backing off"]) {
        for container in CONTAINERS {
            let _at = kit::At(format!("{place}, {container:?}"));
            let (world, signal, drains) = (World::new(), Gate::new(), Cell::new(0));
            let (made, observed, judged) = (Cell::new(0), Cell::new(0), Log::default());
            let fire = |at: &str| {
                if ["when", "clock", "backoff"].contains(&at) {
                    judged.push(at);
                }
                if at == place {
                    signal.open(());
                }
            };
            let make = || {
                made.set(made.get() + 1);
                drains.set(0);
                fire(if made.get() == 1 { "factory" } else { "second factory" });
                let told = poll_fn(|cx| {
                    // It takes two polls, so that there is a grace.
                    match drains.get() {
                        0 => return Poll::Pending,
                        1 => cx.waker().wake_by_ref(),
                        _ => return Poll::Ready(Ok(1)),
                    }
                    fire("drain");
                    drains.set(2);
                    Poll::Pending
                });
                let told = told.on_cancel(|_| {
                    fire("hook");
                    drains.set(1);
                });
                let failing = poll_fn(|_| {
                    fire("child");
                    Poll::Ready(Err("failed"))
                });
                [LocalBoxChild::new(told), LocalBoxChild::new(pending::<Output>()), LocalBoxChild::new(failing)]
            };
            let clock = || {
                fire("clock");
                Duration::ZERO
            };
            let mut group = hold_in!(container, (a b c), |hold| {
                let group = restart(Limit::within(9, Duration::from_secs(1), clock), holding(make, hold))
                    .when(|_| {
                        fire("when");
                        true
                    })
                    .observe(|_| {
                        fire("observe");
                        observed.set(observed.get() + 1);
                    })
                    .backoff(|_| {
                        fire("backoff");
                        poll_fn(|_| {
                            fire("backing off");
                            Poll::Ready(())
                        })
                    })
                    .grace(|| {
                        fire("grace");
                        pending::<()>()
                    })
                    .cancel_when(signal.clone().wait());
                boxed(async move { group.await.map(|ended| ended.map(drop)) })
            });
            assert_eq!(world.quiesce(group.as_mut()).0, Poll::Ready(Err(Cancelled)));
            assert_eq!(made.get(), if place == "second factory" { 2 } else { 1 });
            assert_eq!(observed.get(), made.get(), "failures that the signal overtakes");
            // A failure that was overtaken is not judged; one that is being judged is judged to the end.
            let is_overtaken = place != "second factory" && of_children.contains(&place) || place == "observe";
            judged.expect(if is_overtaken { "" } else { "when, clock, backoff" });
        }
    }
}

#[test]
fn a_generation_that_completes_as_the_signal_fires_is_complete() {
    for container in CONTAINERS {
        let _at = kit::At(format!("{container:?}"));
        let (world, signal, last) = (World::new(), Gate::new(), Gate::new());
        let make = || [world.ready("a", Ok(1)), world.ready("b", Ok(2)), Probe::new("c", &world.log, &last)];
        let mut group = hold_in!(container, (a b c), |hold| {
            kit::any(restart(Limit::unlimited(), holding(make, hold)).cancel_when(signal.clone().wait()))
        });
        assert!(world.quiesce(group.as_mut()).0.is_pending());
        last.open(Output::Ok(3));
        signal.open(());
        assert_eq!(world.quiesce(group.as_mut()).0, Poll::Ready(Ok(Ok(vec![1, 2, 3]))));
    }
}

#[test]
fn a_signal_during_the_drain_leaves_its_grace_as_it_is() {
    for container in CONTAINERS {
        let _at = kit::At(format!("{container:?}"));
        let (world, signal, fail) = (World::new(), Gate::new(), Gate::new());
        let (log, over) = (&world.log, Gate::new());
        let make = || {
            let deaf = || LocalBoxChild::new(Probe::new("deaf", log, &Gate::new()).on_cancel(|_| ()));
            [deaf(), LocalBoxChild::new(Probe::new("failing", log, &fail)), deaf()]
        };
        let mut group = hold_in!(container, (a b c), |hold| {
            let group = restart(Limit::unlimited(), holding(make, hold)).grace(|| {
                log.push("make grace");
                Probe::new("grace", log, &over)
            });
            let group = group.cancel_when(Probe::new("signal", log, &signal));
            boxed(async move { group.await.map(|ended: Result<_, RestartError<&str>>| ended.map(drop)) })
        });
        assert!(world.quiesce(group.as_mut()).0.is_pending());
        fail.open(Output::Err("failed"));
        assert!(world.quiesce(group.as_mut()).0.is_pending());
        log.expect("end failing, drop failing, make grace");
        signal.open(());
        assert!(world.quiesce(group.as_mut()).0.is_pending());
        log.expect("end signal, drop signal");
        over.open(());
        assert_eq!(world.quiesce(group.as_mut()).0, Poll::Ready(Err(Cancelled)));
        log.expect("end grace, drop grace, drop deaf, drop deaf");
    }
}

#[test]
fn every_failure_is_seen_with_its_counts_before_the_verdict() {
    // The child that fails in each generation; what `observe` and `when` see of it: index, restarts, and those that were
    // recent when the clock was asked last; how many were recent when it was asked for the backoff.
    type Seen = (usize, u32, u32);
    fn counts(failure: &Failure<'_, usize>) -> Seen {
        (failure.index, failure.restarts, failure.recent)
    }
    macro_rules! assert_seen {
        ($limit:expr, $failing:expr, $when:expr, $signal:expr, $expected:expr, $recent:expr, $result:expr) => {
            for container in CONTAINERS {
                let _at = kit::At(format!("{container:?}, {}", stringify!($limit)));
                let (seen, recent, made) = (RefCell::new(Vec::<Seen>::new()), RefCell::new(Vec::<u32>::new()), Cell::new(0));
                let when: fn(&Failure<'_, usize>) -> bool = $when;
                let make = || {
                    made.set(made.get() + 1);
                    let failing = $failing[made.get() - 1];
                    std::array::from_fn(|index| {
                        let ends = ready(if index == failing { Err(made.get()) } else { Ok(index) });
                        LocalBoxChild::new(async move { if index <= failing { ends.await } else { pending().await } })
                    })
                };
                let result = hold_in!(container, (a b c), |hold| {
                    let group = restart($limit, holding(make, hold)).observe(|failure| {
                        assert_eq!(*failure.error, made.get());
                        seen.borrow_mut().push(counts(failure));
                    });
                    // Each is seen before anything comes of it.
                    let group = group.when(|failure| {
                        assert_eq!(*failure.error, made.get());
                        assert_eq!(seen.borrow().last(), Some(&counts(failure)));
                        assert!($signal != made.get(), "it is overtaken");
                        when(failure)
                    });
                    let group = group.backoff(|failure| {
                        assert_eq!(*failure.error, made.get());
                        let (index, restarts, _) = *seen.borrow().last().unwrap();
                        assert_eq!((failure.index, failure.restarts), (index, restarts));
                        recent.borrow_mut().push(failure.recent);
                        ready(())
                    });
                    // Fires in the poll in which that generation fails.
                    let group = group.cancel_when(poll_fn(|_| match $signal == made.get() {
                        true => Poll::Ready(()),
                        false => Poll::Pending,
                    }));
                    pollster::block_on(group).map(|ended| ended.map(drop))
                });
                let expected: &[Seen] = &$expected;
                assert_eq!(*seen.borrow(), expected);
                let expected: &[u32] = &$recent;
                assert_eq!(*recent.borrow(), expected);
                assert_eq!(result, $result);
            }
        };
    }
    const NEVER: usize = usize::MAX;
    // The last one, by the limit.
    let last = |restarts| Ok(Err(RestartError::LimitReached { restarts, source: restarts as usize + 1 }));
    assert_seen!(Limit::restarts(0), [1], |_| true, NEVER, [(1, 0, 0)], [], last(0));
    let counts = [(2, 0, 0), (0, 1, 1), (1, 2, 2), (1, 3, 3)];
    assert_seen!(Limit::restarts(3), [2, 0, 1, 1], |_| true, NEVER, counts, [0, 1, 2], last(3));
    let clock = |times: &'static [u64]| {
        let mut times = times.iter();
        move || Duration::from_secs(*times.next().unwrap())
    };
    let ten = Duration::from_secs(10);
    let counts = [(0, 0, 0), (1, 1, 1), (2, 2, 2), (0, 3, 3), (1, 4, 3), (2, 5, 3), (0, 6, 1), (0, 7, 2), (0, 8, 3)];
    let recent = [0, 1, 2, 2, 2, 0, 1, 2];
    let (times, failing) = (&[0, 4, 8, 12, 16, 40, 41, 42, 43], [0, 1, 2, 0, 1, 2, 0, 0, 0]);
    assert_seen!(Limit::within(3, ten, clock(times)), failing, |_| true, NEVER, counts, recent, last(8));
    assert_seen!(Limit::within_const::<3, _>(ten, clock(times)), failing, |_| true, NEVER, counts, recent, last(8));
    // The one that is refused.
    let refused = Ok(Err(RestartError::NotRetried { restarts: 2, source: 3 }));
    let counts = [(0, 0, 0), (1, 1, 1), (2, 2, 2)];
    assert_seen!(Limit::unlimited(), [0, 1, 2], |failure| *failure.error < 3, NEVER, counts, [0, 1], refused);
    // The one that is overtaken by the signal, which would have been refused, or the last.
    assert_seen!(Limit::unlimited(), [0, 1, 2], |failure| *failure.error < 3, 3, counts, [0, 1], Err(Cancelled));
    assert_seen!(Limit::restarts(2), [0, 1, 2], |_| true, 3, counts, [0, 1], Err(Cancelled));
    assert_seen!(Limit::unlimited(), [0, 1, 2], |_| true, 3, counts, [0, 1], Err(Cancelled));
}

#[test]
fn the_last_error_is_the_callers_and_the_others_are_dropped_in_time() {
    for (limit, refused) in [(2, 9), (9, 3)] {
        for container in CONTAINERS {
            let _at = kit::At(format!("{container:?}, {limit}"));
            let (world, names) = (World::new(), ["", "first", "second", "third"]);
            let made = Cell::new(0);
            let make = || {
                made.set(made.get() + 1);
                world.log.push(format!("make {}", made.get()));
                let error = world.log.token(names[made.get()]);
                [LocalBoxChild::new(pending::<Result<u32, kit::Token>>()), LocalBoxChild::new(ready(Err(error)))]
            };
            let mut group = hold_in!(container, (a b), |hold| {
                let group = restart(Limit::restarts(limit), holding(make, hold));
                let refused = names.get(refused).copied().unwrap_or_default();
                let group = group.when(|failure: &Failure<'_, kit::Token>| *failure.error != refused);
                boxed(async move { group.await.map(drop) })
            });
            let Poll::Ready(Err(error)) = world.quiesce(group.as_mut()).0 else { panic!("it fails") };
            let expected = match limit {
                2 => "LimitReached { restarts: 2, source: third }",
                _ => "NotRetried { restarts: 2, source: third }",
            };
            assert_eq!(format!("{error:?}"), expected);
            drop(group);
            world.log.expect("make 1, drop first, make 2, drop second, make 3");
            let source = error.into_source();
            world.log.expect("");
            drop(source);
            world.log.expect("drop third");
        }
    }
}

#[test]
fn observe_runs_before_the_drain_and_when_clock_and_backoff_after_it_in_this_order() {
    let world = World::new();
    let log = &world.log;
    let over = Gate::new();
    let made = Cell::new(0);
    let clock = || {
        log.push("clock");
        Duration::from_secs(2 * made.get())
    };
    let mut group = pin!(
        restart(Limit::within(5, Duration::from_secs(1), clock), || {
            made.set(made.get() + 1);
            log.push("make");
            let sibling = Probe::new("a", log, &Gate::<Output>::new());
            (sibling.cleanup(|| ready(())), ready(Err::<(), _>("failed")))
        })
        .when(|f| {
            log.push(format!("when {} {} {} {}", f.index, f.error, f.restarts, f.recent));
            made.get() < 3
        })
        .observe(|f| log.push(format!("observe {} {} {} {}", f.index, f.error, f.restarts, f.recent)))
        .backoff(|f| {
            log.push(format!("backoff {} {} {} {}", f.index, f.error, f.restarts, f.recent));
            over.clone().wait()
        })
        .into_future()
    );
    assert!(world.poll(group.as_mut()).is_pending());
    let [observe, when] = ["observe", "when"].map(|what| format!("{what} 1 failed 0 0"));
    log.expect(&format!("make, {observe}, drop a, {when}, clock, backoff 1 failed 0 0"));
    assert!(world.poll(group.as_mut()).is_pending());
    log.expect("");
    over.open(());
    assert!(world.poll(group.as_mut()).is_pending());
    // Asked again, the clock says that the first restart is not recent any more.
    let [observe, when] = ["observe", "when"].map(|what| format!("{what} 1 failed 1 1"));
    log.expect(&format!("make, {observe}, drop a, {when}, clock, backoff 1 failed 1 0"));
    over.open(());
    let error = RestartError::NotRetried { restarts: 2, source: "failed" };
    assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err(error)));
    log.expect("make, observe 1 failed 2 1, drop a, when 1 failed 2 1");
}

#[test]
fn a_failure_is_observed_before_a_value_is_dropped_and_a_sibling_is_told_or_dropped() {
    for container in CONTAINERS {
        for failing in 0..4 {
            let _at = kit::At(format!("{container:?}, {failing}"));
            let (world, over) = (World::new(), Gate::new());
            let log = &world.log;
            let [fail, drain] = [Gate::new(), Gate::new()];
            let make = || {
                let told = Probe::new("told", log, &drain).on_cancel(|_| log.push("tell"));
                let mut children = vec![
                    LocalBoxChild::new(ready(Ok(log.token("value")))),
                    LocalBoxChild::new(told),
                    LocalBoxChild::new(Probe::new("plain", log, &Gate::new())),
                ];
                children.insert(failing, LocalBoxChild::new(Probe::new("failing", log, &fail)));
                <[_; 4]>::try_from(children).ok().unwrap()
            };
            let mut group = hold_in!(container, (a b c d), |hold| {
                let clock = || {
                    log.push("clock");
                    Duration::ZERO
                };
                let group = restart(Limit::within(1, Duration::from_secs(1), clock), holding(make, hold))
                    .observe(|failure: &Failure<'_, kit::Token>| log.push(format!("observe {}", failure.error.name)))
                    .when(|failure| {
                        log.push(format!("when {}", failure.error.name));
                        false
                    })
                    .grace(|| {
                        log.push("grace");
                        over.clone().wait()
                    });
                boxed(async move { group.await.map(drop).map_err(RestartError::into_source) })
            });
            assert!(world.quiesce(group.as_mut()).0.is_pending());
            log.expect("");
            fail.open(Err(log.token("error")));
            assert!(world.poll(group.as_mut()).is_pending());
            log.expect("end failing, drop failing, observe error, drop value, tell, drop plain, grace");
            over.open(());
            let Poll::Ready(Err(error)) = world.poll(group.as_mut()) else { panic!("it is not retried") };
            assert_eq!(error, "error");
            log.expect("drop told, when error");
        }
    }
}

#[test]
fn when_sees_which_child_has_failed_and_after_how_many_restarts() {
    // A failure of the first child always restarts; the third one of the second does not.
    for container in CONTAINERS {
        let _at = kit::At(format!("{container:?}"));
        let (made, asked) = (Cell::new(0), RefCell::new(Vec::new()));
        let make = || {
            let failing = usize::from(made.replace(made.get() + 1) >= 10);
            let generation = made.get();
            [0, 1].map(|index| {
                let child = async move { if index == failing { Err(generation) } else { pending().await } };
                LocalBoxChild::<Result<(), usize>>::new(child)
            })
        };
        let group = hold_in!(container, (a b), |hold| {
            let group = restart(Limit::unlimited(), holding(make, hold)).when(|failure: &Failure<'_, usize>| {
                asked.borrow_mut().push((failure.index, *failure.error, failure.restarts, failure.recent));
                failure.index == 0 || failure.restarts < 12
            });
            boxed(async move { group.await.map(drop) })
        });
        assert_eq!(pollster::block_on(group), Err(RestartError::NotRetried { restarts: 12, source: 13 }));
        let seen = (0..13u32).map(|restarts| (usize::from(restarts >= 10), restarts as usize + 1, restarts, restarts));
        assert_eq!(*asked.borrow(), seen.collect::<Vec<_>>());
    }
}

#[test]
fn nothing_is_asked_once_a_signal_or_a_parent_has_overtaken_the_failure() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum When {
        Before,
        WithTheFailure,
        InTheDrain,
        AsTheDrainEnds,
    }
    use When::{AsTheDrainEnds, Before, InTheDrain, WithTheFailure};
    for container in CONTAINERS {
        for (by_parent, when) in [
            (false, Before),
            (false, WithTheFailure),
            (false, InTheDrain),
            (false, AsTheDrainEnds),
            // A parent cancels its children behind their polls.
            (true, Before),
            (true, WithTheFailure),
            (true, InTheDrain),
        ] {
            let _at = kit::At(format!("{container:?}, {when:?}, by the parent: {by_parent}"));
            let world = World::new();
            let log = &world.log;
            let (fail, drain, signal, never) = (Gate::<Output>::new(), Gate::new(), Gate::new(), Gate::new());
            let make = || {
                log.push("make");
                let told = Probe::new("told", log, &drain).quiet().on_cancel(|_| log.push("tell"));
                [LocalBoxChild::new(told), LocalBoxChild::new(Probe::new("failing", log, &fail))]
            };
            let clock = || {
                log.push("clock");
                Duration::ZERO
            };
            let mut group = hold_in!(container, (a b), |hold| {
                let group = restart(Limit::within(9, Duration::from_secs(1), clock), holding(make, hold))
                    .observe(|failure| log.push(format!("observe {}", failure.error)))
                    .when(|_| {
                        log.push("when");
                        true
                    })
                    .backoff(|_| {
                        log.push("backoff");
                        ready(())
                    });
                let (own, parents) = if by_parent { (&never, &signal) } else { (&signal, &never) };
                let group = group.cancel_when(own.clone().wait());
                let parent = gather([group]).settle().cancel_when(parents.clone().wait());
                boxed(async move {
                    match parent.await {
                        Ok([ended]) => {
                            assert!(matches!(ended, Err(Cancelled)));
                            false
                        }
                        Err(Cancelled) => true,
                    }
                })
            });
            assert!(world.quiesce(group.as_mut()).0.is_pending());
            log.expect("make");
            match when {
                Before => signal.open(()),
                WithTheFailure => {
                    fail.open(Err("failed"));
                    signal.open(());
                }
                InTheDrain | AsTheDrainEnds => fail.open(Err("failed")),
            }
            assert!(world.quiesce(group.as_mut()).0.is_pending());
            log.expect(match when {
                Before => "tell, drop failing",
                _ => "end failing, drop failing, observe failed, tell",
            });
            match when {
                Before => fail.open(Err("late")),
                WithTheFailure => {}
                InTheDrain => {
                    signal.open(());
                    assert!(world.quiesce(group.as_mut()).0.is_pending());
                    log.expect("");
                }
                AsTheDrainEnds => signal.open(()),
            }
            drain.open(Err("late"));
            assert_eq!(world.quiesce(group.as_mut()).0, Poll::Ready(by_parent));
            log.expect("drop told");
        }
    }
}

/// Panics when it is dropped, if it is armed.
struct Bomb {
    name: &'static str,
    log: Log,
    armed: bool,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.log.push(format!("drop {}", self.name));
        if self.armed && !std::thread::panicking() {
            panic!("drop of {}", self.name);
        }
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_panic_anywhere_leaves_the_poll_and_nothing_alive_and_makes_no_other_generation() {
    let of_children =
        ["factory", "second factory", "child", "hook", "drop of plain", "drain", "grace", "grace is over"];
    let after_them = ["when", "clock", "observe", "backoff", "backing off", "drop of backoff", "signal"];
    for place in of_children.into_iter().chain(after_them) {
        for container in CONTAINERS {
            let _at = kit::At(format!("{place}, {container:?}"));
            let (log, made, is_told, fired) = (Log::default(), Cell::new(0), Cell::new(false), Cell::new(false));
            let is_told = &is_told;
            let blow = |at: &str| {
                if at == place {
                    panic!("{at}");
                }
            };
            let bomb = |name: &'static str| Bomb { name, log: log.clone(), armed: place == format!("drop of {name}") };
            let make = || {
                made.set(made.get() + 1);
                blow("factory");
                if made.get() > 1 {
                    blow("second factory");
                }
                is_told.set(false);
                let gate = Gate::new();
                let mut told = Probe::new("told", &log, &gate).quiet();
                let told = poll_fn(move |cx| {
                    if is_told.get() {
                        blow("drain");
                    }
                    Pin::new(&mut told).poll(cx)
                });
                let told = told.on_cancel(move |_| {
                    blow("hook");
                    is_told.set(true);
                    if !place.starts_with("grace") {
                        gate.open(Ok(1));
                    }
                });
                let plain = bomb("plain");
                let plain = poll_fn(move |_| {
                    let _ = &plain;
                    Poll::<Output>::Pending
                });
                let failing = poll_fn(|_| {
                    blow("child");
                    if place == "signal" { Poll::Pending } else { Poll::Ready(Err("failed")) }
                });
                [LocalBoxChild::new(told), LocalBoxChild::new(plain), LocalBoxChild::new(failing)]
            };
            let clock = || {
                blow("clock");
                Duration::ZERO
            };
            hold_in!(container, (told plain failing), |hold| {
                let group = restart(Limit::within(9, Duration::from_secs(1), clock), holding(make, hold))
                    .when(|_| {
                        blow("when");
                        true
                    })
                    .observe(|_| blow("observe"))
                    .backoff(|_| {
                        blow("backoff");
                        let bomb = bomb("backoff");
                        poll_fn(move |_| {
                            let _ = &bomb;
                            blow("backing off");
                            Poll::Ready(())
                        })
                    })
                    .grace(|| {
                        blow("grace");
                        poll_fn(|_| {
                            blow("grace is over");
                            Poll::<()>::Pending
                        })
                    })
                    .cancel_when(poll_fn(|_| {
                        if fired.replace(true) {
                            blow("signal");
                        }
                        Poll::<()>::Pending
                    }));
                let mut group = pin!(group.into_future());
                let mut cx = Context::from_waker(Waker::noop());
                let payload = loop {
                    match catch_unwind(AssertUnwindSafe(|| group.as_mut().poll(&mut cx))) {
                        Ok(polled) => assert!(polled.is_pending() && !group.is_terminated()),
                        Err(payload) => break payload,
                    }
                };
                assert_eq!(*payload.downcast::<String>().unwrap(), place);
                let mut dropped = log.take();
                dropped.sort();
                let backs_off = ["second factory", "backing off", "drop of backoff"].contains(&place);
                let expected: &[_] = match place {
                    "factory" => &[],
                    _ if backs_off => &["drop backoff", "drop plain", "drop told"],
                    _ => &["drop plain", "drop told"],
                };
                assert_eq!(dropped, expected);
                assert!(place != "observe" || !is_told.get(), "told before `observe`");
                assert_eq!(made.get(), if place == "second factory" { 2 } else { 1 });
                assert!(group.is_terminated());
                assert_eq!(panic_of(|| _ = group.as_mut().poll(&mut cx)), "`Restart` polled after a panic");
                log.expect("");
            });
        }
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn polling_after_completion_panics_and_says_so() {
    let mut group = pin!(restart(Limit::unlimited(), || [ready(Ok::<_, ()>(1))]).into_future());
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(group.as_mut().poll(&mut cx), Poll::Ready(Ok([1])));
    assert_eq!(panic_of(|| _ = group.as_mut().poll(&mut cx)), "`Restart` polled after completion");
}

#[test]
fn dropped_it_drops_its_children_untold() {
    let world = World::new();
    let generations = Generations::default();
    let mut group = Box::pin(restart(Limit::unlimited(), || generations.make(&world.log)).into_future());
    assert!(world.poll(group.as_mut()).is_pending());
    world.log.take();
    drop(group);
    world.log.expect("drop a, drop b");
}

#[test]
fn a_grace_is_made_in_each_generation_that_drains() {
    let graces = Cell::new(0);
    let failing = || (pending::<Output>().on_cancel(|_| ()), ready(Err::<(), _>("failed")));
    let group = restart(Limit::restarts(3), failing).grace(|| {
        graces.set(graces.get() + 1);
        ready(())
    });
    assert!(pollster::block_on(group).is_err());
    assert_eq!(graces.get(), 4);
}

#[test]
fn a_backoff_that_starts_anew_after_a_healthy_generation_is_send() {
    let policy = ExponentialBuilder::new().without_max_times();
    let (mut delays, mut since) = (policy.build(), Instant::now());
    let group = restart(Limit::unlimited(), || [pending::<Output>()]).backoff(move |_| {
        if since.elapsed() >= Duration::from_secs(60) {
            delays = policy.build();
        }
        let delay = delays.next().expect("without end");
        since = Instant::now() + delay;
        ready(delay)
    });
    fn assert_send<T: Send>(value: T) -> T {
        value
    }
    drop(assert_send(assert_send(group).into_future()));
}

#[test]
fn every_container_restarts() {
    macro_rules! assert_restarts {
        ($make:expr) => {{
            let mut made = 0;
            let group = restart(Limit::restarts(2), || {
                made += 1;
                let make = $make;
                make(ready(if made == 3 { Ok(made) } else { Err("failed") }))
            });
            assert!(pollster::block_on(group).is_ok());
            assert_eq!(made, 3);
        }};
    }
    assert_restarts!(|last| (pending_once(), last));
    assert_restarts!(|last| [last]);
    assert_restarts!(|last| vec![last]);
    assert_restarts!(|last| vec![last].into_boxed_slice());
}

async fn pending_once() -> Output {
    let mut polled = false;
    poll_fn(|cx| {
        if polled {
            return Poll::Ready(Ok(1));
        }
        polled = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[test]
fn a_restart_within_a_restart_starts_its_count_anew() {
    let inner_made = Cell::new(0);
    let outer = restart(Limit::restarts(2), || {
        let inner = restart(Limit::restarts(1), || {
            inner_made.set(inner_made.get() + 1);
            [ready(Err::<(), _>("failed"))]
        });
        [inner]
    });
    let error = pollster::block_on(outer).unwrap_err();
    assert_eq!(error.into_source(), RestartError::LimitReached { restarts: 1, source: "failed" });
    assert_eq!(inner_made.get(), 6);
}

#[test]
fn errors_name_the_count_and_their_source() {
    let io = || std::io::Error::other("broken pipe");
    let reached = RestartError::LimitReached { restarts: 3, source: io() };
    assert_eq!(reached.to_string(), "limit reached after 3 restarts");
    assert_eq!(std::error::Error::source(&reached).unwrap().to_string(), "broken pipe");
    assert_eq!(reached.error().to_string(), "broken pipe");
    let refused = RestartError::NotRetried { restarts: 0, source: io() };
    assert_eq!(refused.to_string(), "not retried, after 0 restarts");
    assert_eq!(refused.error().to_string(), "broken pipe");
    assert_eq!(Cancelled.to_string(), "cancelled");
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn debug_says_the_state_and_polls_nothing() {
    let (world, fail, over, drained, signal) =
        (World::new(), Gate::<Output>::new(), Gate::new(), Gate::<Output>::new(), Gate::new());
    let make = || {
        let told = drained.clone().wait().on_cancel(|_| ());
        (told, pending::<Output>(), fail.clone().wait())
    };
    let group =
        || restart(Limit::restarts(3), make).backoff(|_| over.clone().wait()).cancel_when(signal.clone().wait());
    let mut all = pin!(group().into_future());
    macro_rules! assert_debug {
        ($state:literal, $restarts:literal $(, $gather:literal)?) => {
            let gather = concat!("" $(, ", gather: Gather { phase: ", $gather, ", .. }")?);
            let expected = concat!("Restart { state: ", $state, ", restarts: ", $restarts);
            assert_eq!(format!("{all:?}"), format!("{expected}{gather}, .. }}"));
        };
    }
    assert_debug!("Unpolled", 0);
    assert_eq!(format!("{:?}", group()), "Supervisor { limit: 3 restarts, .. }");
    assert_eq!(format!("{:?}", group().into_child()), format!("{all:?}"));
    assert!(world.poll(all.as_mut()).is_pending());
    assert_debug!("Running", 0, "Running, children: [pending, pending, pending]");
    fail.open(Err("failed"));
    assert!(world.poll(all.as_mut()).is_pending());
    assert_debug!("Running", 0, "Draining, cause: Failed(2), children: [draining, ended, ended]");
    drained.open(Ok(1));
    assert!(world.poll(all.as_mut()).is_pending());
    assert_debug!("BackingOff", 1);
    over.open(());
    fail.open(Err("failed"));
    assert!(world.poll(all.as_mut()).is_pending());
    drained.open(Ok(1));
    over.open(());
    assert!(world.poll(all.as_mut()).is_pending());
    assert_debug!("Between", 2);
    assert!(world.poll(all.as_mut()).is_pending());
    signal.open(());
    assert!(world.poll(all.as_mut()).is_pending());
    assert_debug!("Cancelled", 2, "Draining, cause: Cancelled, children: [draining, ended, ended]");
    drained.open(Ok(1));
    assert!(world.poll(all.as_mut()).is_ready());
    assert_debug!("Ended", 2);

    let mut panics =
        pin!(restart(Limit::restarts(3), || -> [std::future::Ready<Output>; 1] { panic!("factory") }).into_future());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(catch_unwind(AssertUnwindSafe(|| panics.as_mut().poll(&mut cx))).is_err());
    assert_eq!(format!("{panics:?}"), "Restart { state: Panicked, restarts: 0, .. }");
}
