//! Children and groups in the hands of a runtime: its clock is paused and advanced, its tasks stay on one thread, it is
//! shut down while its tasks are gathered, its tasks panic when they are dropped. And groups in the hands of a caller:
//! `select!`, children that never return, the capacity of the result.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn, ready};
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::task::Poll;
use std::thread;

use crate::kit::{Alive, At, CONTAINERS, FIXED, Flatten, World, future_in, gather_in, yield_now};
use futures_channel::oneshot;
use futures_util::future::FusedFuture;
use futures_util::select;
use gather::Outcome::{Abandoned, Done, Drained, Dropped, Failed};
use gather::{CancelExt, Cancelled, Cause, Child, Limit, LocalBoxChild, RestartError, gather, restart};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinError, JoinHandle, LocalSet, spawn_local};
use tokio::time::{Duration, Instant, advance, sleep, timeout};

type Output = Result<u32, &'static str>;

const SECOND: Duration = Duration::from_secs(1);
/// What takes as long hangs. On a paused clock it takes no time to find out.
const LIMIT: Duration = Duration::from_secs(20);
const MANY_POLLS: usize = 10_000;

/// On one thread, with a clock that stands still while anything is to be done, and then goes on to the next timer.
fn on_a_paused_clock(test: impl AsyncFnOnce()) {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(ends(test()));
}

/// Fails if the future hangs, or is woken for ever.
async fn ends<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut polls = 0;
    let bounded = poll_fn(|cx| {
        polls += 1;
        assert!(polls < MANY_POLLS, "woken for ever");
        future.as_mut().poll(cx)
    });
    timeout(100 * LIMIT, bounded).await.expect("it hangs")
}

/// Polls without a runtime, whenever it is woken, to the end.
fn finish<F: Future>(world: &World, mut future: Pin<&mut F>) -> F::Output {
    let start = std::time::Instant::now();
    for _ in 0..MANY_POLLS {
        if let Poll::Ready(output) = world.poll(future.as_mut()) {
            return output;
        }
        while world.wakes.take() == 0 {
            assert!(start.elapsed() < LIMIT, "it hangs");
            thread::yield_now();
        }
    }
    panic!("woken for ever");
}

/// What a task ended with.
fn flatten(joined: Result<Output, JoinError>) -> Output {
    match joined {
        Ok(output) => output,
        Err(error) if error.is_cancelled() => Err("aborted"),
        Err(error) => Err(*error.into_panic().downcast::<&str>().unwrap()),
    }
}

fn aborted_when_told(task: JoinHandle<Output>) -> impl Child<Output = Output> {
    task.on_cancel(|task| task.abort()).map(flatten)
}

async fn after(time: Duration, output: Output) -> Output {
    sleep(time).await;
    output
}

/// Ends some time after it was told.
fn polite<'a>(time: Duration, output: Output) -> LocalBoxChild<'a, Output> {
    let (stop, stopped) = oneshot::channel::<()>();
    let told = async move {
        let _ = stopped.await;
        after(time, output).await
    };
    LocalBoxChild::new(told.on_cancel(move |_| drop(stop)))
}

/// Never ends, told or not.
fn deaf<'a>() -> LocalBoxChild<'a, Output> {
    LocalBoxChild::new(pending().on_cancel(|_| ()))
}

fn plain<'a>(future: impl Future<Output = Output> + 'a) -> LocalBoxChild<'a, Output> {
    LocalBoxChild::new(future)
}

// ---- a clock that is paused ----

#[test]
fn a_clock_advanced_by_hand_drives_children_signal_and_grace() {
    for container in FIXED {
        let _at = At(format!("{container:?}"));
        on_a_paused_clock(async || {
            let world = World::new();
            let children = [plain(after(SECOND, Ok(1))), polite(SECOND, Ok(2)), deaf()];
            let mut group = future_in!(container, children, |gather| {
                let group = gather.report().cancel_when(sleep(5 * SECOND)).grace(|| sleep(3 * SECOND));
                async { group.await.outcomes.flatten() }
            });
            assert!(world.poll(group.as_mut()).is_pending());
            let moment = Duration::from_millis(1);
            let mut now = Duration::ZERO;
            // The child ends, the signal comes, the polite child ends, the grace is over.
            for (seconds, is_last) in [(1, false), (5, false), (6, false), (8, true)] {
                let _at = At(format!("second {seconds}"));
                let next = seconds * SECOND;
                // Telling a child may have woken it.
                world.wakes.take();
                advance(next - now - moment).await;
                assert_eq!(world.wakes.take(), 0);
                advance(moment).await;
                now = next;
                assert_eq!(world.wakes.take(), 1);
                let ended = || vec![Done(1), Drained(Some(Ok(2))), Abandoned];
                let expected = if is_last { Poll::Ready(ended()) } else { Poll::Pending };
                assert_eq!(world.poll(group.as_mut()), expected);
            }
        });
    }
}

#[test]
fn timers_that_are_over_in_one_advance_lose_nothing() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        on_a_paused_clock(async || {
            let world = World::new();
            let failing = plain(after(7 * SECOND, Err("late")));
            let children = [polite(SECOND, Ok(2)), plain(after(3 * SECOND, Ok(1))), failing];
            let mut group = future_in!(container, children, |gather| {
                let group = gather.report().cancel_when(sleep(5 * SECOND)).grace(|| sleep(SECOND));
                async {
                    let report = group.await;
                    (report.cause, report.outcomes.flatten())
                }
            });
            assert!(world.poll(group.as_mut()).is_pending());
            // The failure is seen in the poll in which the signal is, and is the cause.
            advance(60 * SECOND).await;
            assert!(world.poll(group.as_mut()).is_pending());
            // The child ends in the poll in which its grace is over.
            advance(60 * SECOND).await;
            let expected = (Cause::Failed(2), vec![Drained(Some(Ok(2))), Done(1), Failed("late")]);
            assert_eq!(world.poll(group.as_mut()), Poll::Ready(expected));
        });
    }
}

#[test]
fn a_paused_clock_goes_on_to_the_next_timer_of_a_group() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        on_a_paused_clock(async || {
            let start = Instant::now();
            let slow = || plain(after(9 * SECOND, Ok(9)));
            let children = [slow(), plain(after(2 * SECOND, Ok(2))), slow()];
            let values = gather_in!(container, children, |gather| gather).await;
            assert_eq!((values, start.elapsed().as_secs()), (Ok(vec![9, 2, 9]), 9));

            // The failure comes after 2 seconds, and the polite sibling takes 3 more.
            let start = Instant::now();
            let children = [polite(3 * SECOND, Ok(0)), plain(after(2 * SECOND, Err("failed"))), slow()];
            let failed = gather_in!(container, children, |gather| gather.grace(|| sleep(5 * SECOND))).await;
            assert_eq!((failed, start.elapsed().as_secs()), (Err("failed"), 5));

            let start = Instant::now();
            let children = [polite(3 * SECOND, Ok(0)), slow(), deaf()];
            let group = gather_in!(container, children, |gather| {
                gather.cancel_when(sleep(SECOND)).grace(|| sleep(5 * SECOND))
            });
            assert_eq!((group.await, start.elapsed().as_secs()), (Err(Cancelled), 6));

            // A limit around the whole drops it.
            let start = Instant::now();
            let children = [slow(), polite(3 * SECOND, Ok(0)), deaf()];
            let group = gather_in!(container, children, |gather| gather.settle());
            assert!(timeout(4 * SECOND, group).await.is_err());
            assert_eq!(start.elapsed().as_secs(), 4);
        });
    }
}

#[test]
fn a_paused_clock_drives_backoff_and_window_of_a_restart() {
    on_a_paused_clock(async || {
        let start = Instant::now();
        let made = RefCell::new(Vec::new());
        let make = || {
            made.borrow_mut().push(start.elapsed().as_secs());
            (after(SECOND, Err("failed")), polite(2 * SECOND, Ok(1)))
        };
        let doubling =
            restart(Limit::restarts(3), make).backoff(|failure| sleep(10 * SECOND * 2_u32.pow(failure.restarts)));
        let error = doubling.await.unwrap_err();
        assert_eq!(error, RestartError::LimitReached { restarts: 3, source: "failed" });
        // Each generation takes 3 seconds, of which 2 are its drain.
        assert_eq!(made.take(), [0, 13, 36, 79]);
        assert_eq!(start.elapsed().as_secs(), 82);

        // A signal during the backoff is not kept waiting by it.
        let start = Instant::now();
        let make = || [plain(after(SECOND, Err("failed")))];
        let patient = restart(Limit::unlimited(), make).backoff(|_| sleep(60 * SECOND)).cancel_when(sleep(5 * SECOND));
        assert_eq!(patient.await, Err(Cancelled));
        assert_eq!(start.elapsed().as_secs(), 5);

        // Failures after 4, 8 and 12 seconds are 3 within 9; after 14, 28, ... seconds never are.
        for (pause, restarts) in [(4, 2), (14, 10)] {
            let start = Instant::now();
            let mut left = 10;
            let make = || {
                left -= 1;
                [plain(after(pause * SECOND, if left < 0 { Ok(1) } else { Err("failed") }))]
            };
            let group = restart(Limit::within(2, 9 * SECOND, move || start.elapsed()), make);
            let limited = RestartError::LimitReached { restarts, source: "failed" };
            assert_eq!(group.await, if restarts == 10 { Ok([1]) } else { Err(limited) });
            assert_eq!(start.elapsed().as_secs(), u64::from(pause * (restarts + 1)));
        }
    });
}

// ---- tasks of one thread ----

/// A task that holds something of its thread until it is dropped.
fn local_task(held: &Rc<()>) -> JoinHandle<Output> {
    let held = held.clone();
    spawn_local(async move {
        let _held = held;
        pending().await
    })
}

#[test]
fn local_tasks_are_aborted_and_waited_for() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        on_a_paused_clock(async || {
            let work = async {
                let held = Rc::new(());
                let child = || LocalBoxChild::new(aborted_when_told(local_task(&held)));
                let children = [child(), plain(after(SECOND, Err("failed"))), child()];
                let outcomes =
                    future_in!(container, children, |gather| async { gather.report().await.outcomes.flatten() });
                let outcomes = outcomes.await;
                assert_eq!(Rc::strong_count(&held), 1, "the tasks are gone");
                assert_eq!(outcomes, [Drained(Some(Err("aborted"))), Failed("failed"), Drained(Some(Err("aborted")))]);
            };
            LocalSet::new().run_until(work).await;
        });
    }
}

#[test]
fn a_local_set_is_a_child_beside_handles_of_its_tasks() {
    on_a_paused_clock(async || {
        let held = Rc::new(());
        let spawned = || {
            let set = LocalSet::new();
            let _inside = set.enter();
            let tasks = [local_task(&held), local_task(&held)].map(aborted_when_told);
            (set, tasks)
        };
        let failing = || after(SECOND, Err("failed"));
        let both_aborted = [Drained(Some(Err("aborted"))), Drained(Some(Err("aborted")))];
        let running = async |set: LocalSet| {
            set.await;
            Ok::<_, &str>("all ended")
        };

        // Shielded, it runs the tasks until all are aborted.
        let (set, [first, second]) = spawned();
        let report = gather((running(set).shield(), first, second, failing())).report().await;
        let (set, first, second, _) = report.outcomes;
        assert_eq!((set, [first, second]), (Drained(Some(Ok("all ended"))), both_aborted));
        assert_eq!(Rc::strong_count(&held), 1);

        // Plain, it is dropped, and its tasks with it, before the handles are polled.
        let (set, [first, second]) = spawned();
        let report = gather((first, failing(), second, running(set))).report().await;
        let (first, _, second, set) = report.outcomes;
        assert_eq!((set, [first, second]), (Dropped, both_aborted));
        assert_eq!(Rc::strong_count(&held), 1);
    });
}

// ---- a runtime that is shut down ----

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn two_workers() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Each kind of runtime, and each way to end it.
fn each_end(test: impl Fn(Runtime, fn(Runtime))) {
    for (kind, make) in [("one thread", one_thread as fn() -> Runtime), ("two workers", two_workers)] {
        let ends: [(&str, fn(Runtime)); 3] = [
            ("drop", drop),
            ("shutdown_timeout", |runtime| runtime.shutdown_timeout(LIMIT)),
            ("shutdown_background", Runtime::shutdown_background),
        ];
        for (name, end) in ends {
            let _at = At(format!("{kind}, {name}"));
            test(make(), end);
        }
    }
}

#[test]
fn handles_end_when_their_runtime_is_shut_down() {
    each_end(|runtime, end| {
        let (world, alive) = (World::new(), Alive::default());
        let task = || {
            let inside = alive.enter();
            runtime.spawn(async move {
                let _inside = inside;
                pending::<Output>().await
            })
        };
        let mut settled = pin!(gather((0..3).map(|_| task()).collect::<Vec<_>>()).settle().into_future());
        let mut failing = pin!(gather((task(), pending::<Result<(), JoinError>>())).into_future());
        let mut nested = pin!(gather((gather([task(), task()]), pending::<Result<(), JoinError>>())).into_future());
        assert!(world.poll(settled.as_mut()).is_pending());
        assert!(world.poll(failing.as_mut()).is_pending());
        assert!(world.poll(nested.as_mut()).is_pending());
        assert_eq!(alive.count(), 6);

        end(runtime);
        let ended = finish(&world, settled);
        assert_eq!(ended.len(), 3);
        assert!(ended.iter().all(|joined| joined.as_ref().is_err_and(JoinError::is_cancelled)));
        assert!(finish(&world, failing).unwrap_err().is_cancelled());
        assert!(finish(&world, nested).unwrap_err().is_cancelled());
        let start = std::time::Instant::now();
        while alive.count() != 0 {
            assert!(start.elapsed() < LIMIT, "a task outlives its runtime");
            thread::yield_now();
        }
    });
}

#[test]
fn a_drain_ends_when_the_runtime_is_shut_down() {
    each_end(|runtime, end| {
        let (world, told) = (World::new(), Cell::new(0));
        // One that takes no notice of being told, and one that was asked to abort, but perhaps is not run any more.
        let deaf = runtime.spawn(pending()).on_cancel(|_| told.set(told.get() + 1)).map(flatten);
        let children = (deaf, aborted_when_told(runtime.spawn(pending())), ready(Err::<(), _>("failed")));
        let mut group = pin!(gather(children).report().into_future());
        assert!(world.poll(group.as_mut()).is_pending());
        assert_eq!(told.get(), 1);

        end(runtime);
        let report = finish(&world, group);
        assert_eq!(report.cause, Cause::Failed(2));
        let aborted = Drained(Some(Err("aborted")));
        assert_eq!(report.outcomes, (aborted, aborted, Failed("failed")));
    });
}

#[test]
fn a_group_that_is_a_task_is_dropped_with_its_runtime_and_tells_nobody() {
    each_end(|runtime, end| {
        let (told, alive) = (Arc::new(AtomicBool::new(false)), Alive::default());
        let (begin, begun) = oneshot::channel();
        let (tells, inside) = (told.clone(), alive.enter());
        runtime.spawn(async move {
            let child = async {
                let _inside = inside;
                begin.send(()).unwrap();
                pending::<Output>().await
            };
            gather([child.on_cancel(|_| tells.store(true, SeqCst))]).await
        });
        runtime.block_on(ends(begun)).unwrap();
        assert_eq!(alive.count(), 1);

        end(runtime);
        let start = std::time::Instant::now();
        while alive.count() != 0 {
            assert!(start.elapsed() < LIMIT, "the group outlives its runtime");
            thread::yield_now();
        }
        assert!(!told.load(SeqCst));
    });
}

// ---- a task that panics ----

struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        resume_unwind(Box::new(self.0));
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_panic_of_an_aborted_task_while_it_is_dropped_is_a_late_result() {
    /// Started or not, it has its bomb.
    fn task(bomb: &'static str) -> LocalBoxChild<'static, Output> {
        let bomb = Bomb(bomb);
        LocalBoxChild::new(aborted_when_told(tokio::spawn(async {
            let _bomb = bomb;
            pending().await
        })))
    }

    for (runtime, starts) in [(one_thread(), false), (one_thread(), true), (two_workers(), true)] {
        for container in FIXED {
            let _at = At(format!("{:?}, {starts}, {container:?}", runtime.handle().runtime_flavor()));
            let test = async {
                let failing = plain(async {
                    if starts {
                        tokio::task::yield_now().await;
                    }
                    Err("failed")
                });
                let children = [task("first"), failing, task("second")];
                let report = future_in!(container, children, |gather| async {
                    let report = gather.report().await;
                    (report.cause, report.outcomes.flatten())
                });
                let late = |bomb| Drained(Some(Err(bomb)));
                assert_eq!(report.await, (Cause::Failed(1), vec![late("first"), Failed("failed"), late("second")]));
            };
            runtime.block_on(ends(test));
        }
    }
}

// ---- `select!` ----

#[test]
fn select_takes_groups_until_all_are_complete() {
    on_a_paused_clock(async || {
        let start = Instant::now();
        let mut pair = pin!(gather((after(3 * SECOND, Ok(1)), after(SECOND, Ok(2)))).into_future());
        // `Unpin` as it is. The drain takes 3 seconds of its 5.
        let failing = gather(vec![plain(after(2 * SECOND, Err("failed"))), polite(3 * SECOND, Ok(0))]);
        let mut failing = failing.into_future();
        let mut stopped =
            pin!(gather([deaf(), deaf()]).race().cancel_when(sleep(SECOND)).grace(|| sleep(SECOND)).into_future());
        let mut restarted = pin!(restart(Limit::restarts(1), || [after(2 * SECOND, Err("failed"))]).into_future());
        let mut ends = Vec::new();
        for _ in 0..MANY_POLLS {
            select! {
                values = pair => ends.push((start.elapsed().as_secs(), format!("{values:?}"))),
                failed = failing => ends.push((start.elapsed().as_secs(), format!("{failed:?}"))),
                cancelled = stopped => ends.push((start.elapsed().as_secs(), format!("{cancelled:?}"))),
                failed = restarted => ends.push((start.elapsed().as_secs(), failed.unwrap_err().to_string())),
                complete => break,
            }
        }
        let ends: Vec<_> = ends.iter().map(|(second, end)| (*second, &**end)).collect();
        let given_up = "limit reached after 1 restarts";
        assert_eq!(ends, [(2, "Err(Cancelled)"), (3, "Ok((1, 2))"), (4, given_up), (5, r#"Err("failed")"#)]);
        assert!(
            pair.is_terminated() && failing.is_terminated() && stopped.is_terminated() && restarted.is_terminated()
        );
    });
}

// ---- children that never return ----

async fn forever() -> ! {
    loop {
        sleep(SECOND).await;
    }
}

/// A service: it ends only by failing.
async fn fails_after(time: Duration) -> Result<Infallible, &'static str> {
    sleep(time).await;
    Err("failed")
}

async fn cannot_fail(value: u32) -> Result<u32, Infallible> {
    yield_now().await;
    Ok(value)
}

#[test]
fn children_that_never_return_end_by_a_signal() {
    on_a_paused_clock(async || {
        let stop = || sleep(3 * SECOND);
        let start = Instant::now();
        // The compiler knows that there is no other end.
        let Err(Cancelled) = gather((forever(), forever())).settle().cancel_when(stop()).await;
        let Err(Cancelled) = gather([forever(), forever()]).settle().cancel_when(stop()).await;
        let Err(Cancelled) = gather((forever(), forever())).race().cancel_when(stop()).await;
        let Err(Cancelled) = gather([forever(), forever()]).race().cancel_when(stop()).await;
        let Err(Cancelled) = gather(vec![forever(), forever()]).race().cancel_when(stop()).await;
        let Err(Cancelled) =
            gather((forever().on_cancel(|_| ()), forever())).race().cancel_when(stop()).grace(stop).await;
        assert_eq!(start.elapsed().as_secs(), 7 * 3);
        assert!(gather(vec![forever(), forever()]).settle().cancel_when(stop()).await.is_err());

        // Beside a child that returns.
        let endless = async {
            loop {
                yield_now().await;
            }
        };
        assert_eq!(gather((endless, async { 5 })).race().await, 5);
    });
}

#[test]
fn children_that_can_only_fail_or_only_succeed() {
    on_a_paused_clock(async || {
        let start = Instant::now();
        let Err(error) = gather((fails_after(2 * SECOND), fails_after(SECOND))).await;
        assert_eq!((error, start.elapsed().as_secs()), ("failed", 1));
        let Err(errors) = gather([fails_after(2 * SECOND), fails_after(SECOND)]).any().await;
        assert_eq!((errors, start.elapsed().as_secs()), (["failed"; 2], 3));
        let report = gather(vec![fails_after(2 * SECOND), fails_after(SECOND)]).report().await;
        assert_eq!(report.outcomes, [Dropped, Failed("failed")]);

        let Ok(values) = gather((cannot_fail(1), cannot_fail(2))).await;
        assert_eq!(values, (1, 2));
        let Ok(values) = gather(vec![cannot_fail(1), cannot_fail(2)]).await;
        assert_eq!(values, [1, 2]);
        let Ok(value) = gather([cannot_fail(1), cannot_fail(1)]).any().await;
        assert_eq!(value, 1);
    });
}

// ---- the memory of the result ----

#[track_caller]
fn is_full<T>(values: Vec<T>, count: usize) {
    assert_eq!((values.len(), values.capacity()), (count, count));
}

#[test]
fn a_resulting_vec_is_no_larger_than_it_must_be() {
    async fn child(pends: bool, output: Result<String, u8>) -> Result<String, u8> {
        if pends {
            yield_now().await;
        }
        output
    }

    for count in [0, 1, 30, 31, 64, 65, 1000] {
        for pends in [false, true] {
            let _at = At(format!("{count}, {pends}"));
            // What the caller's own has beyond its length is not passed on.
            let children = |output: Result<String, u8>| {
                let mut children = Vec::with_capacity(2 * count + 7);
                children.extend((0..count).map(|_| child(pends, output.clone())));
                children
            };
            let good = || gather(children(Ok("value".into())));
            let bad = || gather(children(Err(1)));
            let told = || {
                let children = children(Ok("value".into()));
                gather(children.into_iter().map(|child| child.on_cancel(|_| ())).collect::<Vec<_>>())
            };
            let test = async {
                is_full(good().await.unwrap(), count);
                is_full(good().concurrency(7).await.unwrap(), count);
                is_full(good().cancel_when(pending::<()>()).await.unwrap().unwrap(), count);
                is_full(gather(children(Ok("value".into())).into_boxed_slice()).await.unwrap(), count);
                is_full(bad().settle().await, count);
                is_full(bad().any().await.unwrap_err(), count);
                is_full(good().report().await.outcomes, count);
                is_full(bad().report().await.outcomes, count);
                is_full(bad().settle().report().await.outcomes, count);
                is_full(good().any().report().await.outcomes, count);
                is_full(good().cancel_when(ready(())).report().await.outcomes, count);
                is_full(told().cancel_when(ready(())).report().await.outcomes, count);
                is_full(told().cancel_when(ready(())).grace(|| ready(())).report().await.outcomes, count);
                if count != 0 {
                    is_full(good().race().report().await.outcomes, count);
                }
            };
            pollster::block_on(test);
        }
    }
}
