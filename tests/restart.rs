//! A failed group made anew.

#![cfg(feature = "alloc")]

mod kit;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::FusedFuture;
use gather::{CancelExt, Cancelled, Child, Limit, LocalBoxChild, RestartError, gather, restart};
use kit::{Gate, Log, Output, Probe, World};

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
    let mut group = pin!(restart(Limit::restarts(2), || generations.make(log)).grace(|| grace("grace")));
    log.expect("");

    assert!(world.poll(group.as_mut()).is_pending());
    log.expect("make, poll a, poll b");
    generations.end(1, Err("b"));
    assert!(world.poll(group.as_mut()).is_pending());
    log.expect("poll a, poll b, end b, drop b, tell a, poll a");
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

    // The told one fails, and the plain one had finished: both are made anew.
    generations.end(1, Ok(2));
    generations.end(0, Err("a"));
    assert!(world.poll(group.as_mut()).is_pending());
    log.expect("poll a, end a, drop a, drop b");
    assert!(world.poll(group.as_mut()).is_pending());
    log.expect("make, poll a, poll b");

    generations.end(0, Err("last"));
    let error = RestartError::LimitReached { restarts: 2, source: "last" };
    assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err(error)));
    log.expect("poll a, end a, drop a, drop b");
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
    let mut group = pin!(restart(Limit::unlimited(), || {
        made.set(made.get() + 1);
        [ready(Err::<(), _>("failed"))]
    }));
    for poll in 1..=1000 {
        assert!(world.poll(group.as_mut()).is_pending());
        assert_eq!((made.get(), world.wakes.take()), (poll, 1));
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
    assert_eq!(pollster::block_on(group.cancel_on(ready(()))), Err(Cancelled));

    #[derive(Debug, PartialEq, Clone, Copy)]
    enum When {
        Running,
        WithAFailure,
        Draining,
        Between,
        BackingOff,
    }
    for when in [When::Running, When::WithAFailure, When::Draining, When::Between, When::BackingOff] {
        let _at = kit::At(format!("{when:?}"));
        let world = World::new();
        let generations = Generations::default();
        let (signal, backoff) = (Gate::new(), Gate::new());
        let log = &world.log;
        if when != When::BackingOff {
            backoff.open(());
        }
        let mut group = pin!(
            restart(Limit::unlimited(), || generations.make(log))
                .observe(|failure| log.push(format!("observe {}", failure.error)))
                .backoff(|_| Probe::new("backoff", log, &backoff))
                .cancel_on(Probe::new("signal", log, &signal))
        );
        assert!(world.poll(group.as_mut()).is_pending());
        log.expect("make, poll a, poll b");
        match when {
            When::Running => {
                signal.open(());
                assert!(world.poll(group.as_mut()).is_pending());
                log.expect("poll a, poll b, end signal, drop signal, tell a, drop b, poll a");
                generations.end(0, Err("late"));
                assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err(Cancelled)));
                log.expect("poll a, end a, drop a");
            }
            When::WithAFailure => {
                signal.open(());
                generations.end(0, Err("failed"));
                assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err(Cancelled)));
                log.expect("poll a, end a, drop a, drop b, end signal, drop signal, observe failed");
            }
            When::Draining => {
                generations.end(1, Err("failed"));
                assert!(world.poll(group.as_mut()).is_pending());
                log.expect("poll a, poll b, end b, drop b, tell a, poll a");
                signal.open(());
                assert!(world.poll(group.as_mut()).is_pending());
                log.expect("poll a, end signal, drop signal");
                generations.end(0, Ok(1));
                assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err(Cancelled)));
                log.expect("poll a, end a, drop a, observe failed");
            }
            When::Between | When::BackingOff => {
                generations.end(0, Err("failed"));
                assert!(world.poll(group.as_mut()).is_pending());
                let happened = log.take().join(", ");
                assert!(happened.starts_with("poll a, end a, drop a, drop b, observe failed"), "{happened}");
                signal.open(());
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
fn when_clock_observe_and_backoff_run_after_the_drain_in_this_order() {
    let world = World::new();
    let log = &world.log;
    let over = Gate::new();
    let made = Cell::new(0);
    let clock = || {
        log.push("clock");
        Duration::from_secs(made.get())
    };
    let mut group = pin!(
        restart(Limit::within(5, Duration::from_secs(1), clock), || {
            made.set(made.get() + 1);
            log.push("make");
            let sibling = Probe::new("a", log, &Gate::<Output>::new());
            (sibling.cleanup(|| ready(())), ready(Err::<(), _>("failed")))
        })
        .when(|error: &&str| {
            log.push(format!("when {error}"));
            made.get() < 3
        })
        .observe(|f| log.push(format!("observe {} {} {} {}", f.index, f.error, f.restarts, f.recent)))
        .backoff(|f| {
            log.push(format!("backoff after {}", f.restarts));
            over.clone().wait()
        })
    );
    assert!(world.poll(group.as_mut()).is_pending());
    log.expect("make, drop a, when failed, clock, observe 1 failed 0 0, backoff after 0");
    assert!(world.poll(group.as_mut()).is_pending());
    log.expect("");
    over.open(());
    assert!(world.poll(group.as_mut()).is_pending());
    log.expect("make, drop a, when failed, clock, observe 1 failed 1 1, backoff after 1");
    over.open(());
    let error = RestartError::NotRetried { restarts: 2, source: "failed" };
    assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err(error)));
    log.expect("make, drop a, when failed, clock, observe 1 failed 2 1");
}

#[test]
fn a_panic_anywhere_leaves_the_poll_and_nothing_alive() {
    for place in ["factory", "second factory", "child", "clock", "when", "observe", "backoff", "backing off", "signal"]
    {
        let _at = kit::At(place.into());
        let world = World::new();
        let log = &world.log;
        let blow = |at: &str| {
            if at == place {
                panic!("{at}");
            }
        };
        let made = Cell::new(0);
        let fired = Cell::new(false);
        let mut group = pin!(
            restart(
                Limit::within(9, Duration::from_secs(1), || {
                    blow("clock");
                    Duration::ZERO
                }),
                || {
                    made.set(made.get() + 1);
                    blow("factory");
                    if made.get() > 1 {
                        blow("second factory");
                    }
                    let sibling = Probe::new("a", log, &Gate::<Output>::new());
                    (
                        sibling,
                        poll_fn(|_| -> Poll<Output> {
                            blow("child");
                            if place == "signal" { Poll::Pending } else { Poll::Ready(Err("failed")) }
                        }),
                    )
                }
            )
            .when(|_| {
                blow("when");
                true
            })
            .observe(|_| blow("observe"))
            .backoff(|_| {
                blow("backoff");
                poll_fn(|_| {
                    blow("backing off");
                    Poll::Ready(())
                })
            })
            .cancel_on(poll_fn(|_| {
                if fired.get() {
                    blow("signal")
                }
                fired.set(true);
                Poll::<()>::Pending
            }))
        );
        let mut cx = Context::from_waker(Waker::noop());
        let payload = loop {
            match catch_unwind(AssertUnwindSafe(|| group.as_mut().poll(&mut cx))) {
                Ok(polled) => assert!(polled.is_pending()),
                Err(payload) => break payload,
            }
        };
        assert_eq!(*payload.downcast::<String>().unwrap(), place);
        log.expect(if place == "factory" { "" } else { "drop a" });
        assert!(group.is_terminated());
        let again = catch_unwind(AssertUnwindSafe(|| group.as_mut().poll(&mut cx))).unwrap_err();
        assert_eq!(*again.downcast::<&str>().unwrap(), "`Restart` polled after a panic");
    }
}

#[test]
fn polling_after_completion_panics_and_says_so() {
    let mut group = pin!(restart(Limit::unlimited(), || [ready(Ok::<_, ()>(1))]));
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(group.as_mut().poll(&mut cx), Poll::Ready(Ok([1])));
    let payload = catch_unwind(AssertUnwindSafe(|| group.as_mut().poll(&mut cx))).unwrap_err();
    assert_eq!(*payload.downcast::<&str>().unwrap(), "`Restart` polled after completion");
}

#[test]
fn dropped_it_drops_its_children_untold() {
    let world = World::new();
    let generations = Generations::default();
    let mut group = Box::pin(restart(Limit::unlimited(), || generations.make(&world.log)));
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
        [inner.nested()]
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
    let refused = RestartError::NotRetried { restarts: 0, source: io() };
    assert_eq!(refused.to_string(), "not retried, after 0 restarts");
    assert_eq!(Cancelled.to_string(), "cancelled");
}

#[test]
fn debug_polls_nothing() {
    let group = restart(Limit::restarts(3), || (pending::<Output>(), pending::<Output>()));
    assert!(format!("{group:?}").starts_with("Restart { state: Unpolled, restarts: 0"));
    let all = gather((pending::<Output>(), pending::<Output>()));
    assert!(format!("{all:?}").starts_with("Gather { phase: Unpolled"));
    fn is_child<C: Child>(_: &C) {}
    is_child(&group.nested());
}
