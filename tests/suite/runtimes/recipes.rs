//! How it is done with the libraries and runtimes that are in use: each recipe is a function, and its test runs it.
//!
//! Those for async-std and for embassy's timers are in `tests/executors`, as are these two.

use std::future::{Future, pending};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use futures_channel::oneshot;
use gather::{CancelExt, Cause, Child, Limit, Outcome, Report, RestartError, gather, restart};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::cancellable::Cancellable;
use crate::kit::{Alive, Inside, yield_now};

type Ended = Result<&'static str, &'static str>;

// How a child is told. The worker of these recipes is any future that looks at `stop` where it can be interrupted.

/// Works until `stop` is ready, and then cleans up.
async fn worker(stop: impl Future) -> Ended {
    let work = async {
        loop {
            yield_now().await;
        }
    };
    let stopped = async {
        stop.await;
    };
    // `stopped` comes first: a worker that is told before it has begun does not begin.
    gather((stopped, work)).race().await;
    yield_now().await; // in real code: flush, commit, say goodbye
    Ok("cleaned up")
}

/// tokio-util's token, on any runtime.
fn told_by_a_cancellation_token() -> impl Child<Output = Ended> {
    let token = CancellationToken::new();
    worker(token.clone().cancelled_owned()).on_cancel(move |_| token.cancel())
}

/// event-listener. It listens before the child begins: a notification is not kept for later listeners.
fn told_by_an_event() -> impl Child<Output = Ended> {
    let event = event_listener::Event::new();
    worker(event.listen()).on_cancel(move |_| {
        event.notify(1);
    })
}

/// async-channel. Closing it tells every receiver, now and later.
fn told_by_a_closed_channel() -> impl Child<Output = Ended> {
    let (stop, stopped) = async_channel::bounded::<()>(1);
    worker(async move { stopped.recv().await }).on_cancel(move |_| {
        stop.close();
    })
}

/// embassy-sync's `Signal`, borrowed. For tasks of several executors or threads with `CriticalSectionRawMutex`.
fn told_by_an_embassy_signal(stop: &Signal<NoopRawMutex, ()>) -> impl Child<Output = Ended> {
    worker(stop.wait()).on_cancel(|_| stop.signal(()))
}

/// A flag, which the child looks at between two steps. It does not wake: a step that waits long is waited for.
fn told_by_a_flag(stop: &AtomicBool) -> impl Child<Output = Ended> {
    let steps = async {
        while !stop.load(Ordering::Relaxed) {
            yield_now().await;
        }
        Ok("cleaned up")
    };
    steps.on_cancel(|_| stop.store(true, Ordering::Relaxed))
}

/// What each of them does beside a sibling that fails.
#[track_caller]
fn is_told_and_waited_for(child: impl Child<Output = Ended>) {
    let failing = async {
        yield_now().await;
        yield_now().await;
        Err::<(), _>("failed")
    };
    let report = pollster::block_on(gather((child, failing)).report());
    assert_eq!(report.cause, Cause::Failed(1));
    assert_eq!(report.outcomes.0, Outcome::Drained(Some(Ok("cleaned up"))));
}

#[test]
fn children_are_told() {
    is_told_and_waited_for(told_by_a_cancellation_token());
    is_told_and_waited_for(told_by_an_event());
    is_told_and_waited_for(told_by_a_closed_channel());
    is_told_and_waited_for(told_by_an_embassy_signal(&Signal::new()));
    is_told_and_waited_for(told_by_a_flag(&AtomicBool::new(false)));
}

/// A token stays cancelled: each generation needs one of its own. As a child of the application's token it also hears
/// when that one is cancelled.
async fn a_token_for_each_generation(application: &CancellationToken) -> RestartError<&'static str> {
    let group = restart(Limit::restarts(3), || {
        let token = application.child_token();
        let failing = {
            let token = token.clone();
            async move {
                yield_now().await;
                assert!(!token.is_cancelled(), "it is not that of the old generation");
                Err::<(), _>("failed")
            }
        };
        (worker(token.clone().cancelled_owned()).on_cancel(move |_| token.cancel()), failing)
    });
    group.await.unwrap_err()
}

#[test]
fn generations_are_told_one_by_one() {
    let application = CancellationToken::new();
    let error = pollster::block_on(a_token_for_each_generation(&application));
    assert_eq!(error, RestartError::LimitReached { restarts: 3, source: "failed" });
    assert!(!application.is_cancelled());
}

// Tasks of a runtime. Dropping a handle of tokio's or async-std's lets the task run on; so it is a draining child.

/// Goes on until it is aborted. `inside` counts it.
async fn endless(inside: Inside) -> Ended {
    let _inside = inside;
    loop {
        yield_now().await;
    }
}

async fn failing_soon() -> Ended {
    yield_now().await;
    yield_now().await;
    Err("failed")
}

fn on_tokio(test: impl AsyncFn()) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    let builder = &mut tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap().block_on(test());
}

/// What a task of tokio's ended with. Its panic goes on here.
fn flatten(joined: Result<Ended, JoinError>) -> Ended {
    match joined {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Err("aborted"),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// tokio's handle: asks it to abort, and waits until the task is gone.
fn tokio_task(job: impl Future<Output = Ended> + Send + 'static) -> impl Child<Output = Ended> {
    tokio::spawn(job).on_cancel(|task| task.abort()).map(flatten)
}

#[test]
fn tokio_tasks_are_aborted_and_waited_for() {
    on_tokio(async || {
        let alive = Alive::default();
        let tasks: Vec<_> = (0..10).map(|_| tokio_task(endless(alive.enter()))).collect();
        let result = gather((gather(tasks), failing_soon())).await;
        assert_eq!(result, Err("failed"));
        assert_eq!(alive.count(), 0, "the tasks are really gone");
    });
}

#[test]
fn tokio_tasks_are_restarted_one_generation_at_a_time() {
    on_tokio(async || {
        let alive = Alive::default();
        let group = restart(Limit::restarts(100), || {
            assert_eq!(alive.count(), 0, "the tasks of the old generation are gone");
            (tokio_task(endless(alive.enter())), failing_soon())
        });
        assert_eq!(group.await.unwrap_err().into_source(), "failed");
        assert_eq!(alive.count(), 0);
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_panic_of_a_tokio_task_is_passed_on() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let panicking = async { std::panic::resume_unwind(Box::new("in the task")) };
    let gathered = async { gather([tokio_task(panicking)]).await };
    let panic = std::panic::catch_unwind(|| runtime.block_on(gathered));
    assert_eq!(*panic.unwrap_err().downcast::<&str>().unwrap(), "in the task");
}

/// A task that is told, and aborted if it has not ended in time. Unlike with the gather's grace, which would drop the
/// handle, the task is gone when the child is.
fn tokio_task_told_then_aborted<J>(
    job: impl FnOnce(CancellationToken) -> J,
    in_time: Duration,
) -> impl Child<Output = Ended>
where
    J: Future<Output = Ended> + Send + 'static,
{
    let token = CancellationToken::new();
    let mut task = tokio::spawn(job(token.clone()));
    let told = token.clone();
    let ended = async move {
        let late = async {
            told.cancelled().await;
            tokio::time::sleep(in_time).await;
        };
        tokio::select! {
            joined = &mut task => return flatten(joined),
            () = late => task.abort(),
        }
        flatten(task.await)
    };
    ended.on_cancel(move |_| token.cancel())
}

#[test]
fn tokio_tasks_are_told_then_aborted() {
    on_tokio(async || {
        let alive = Alive::default();
        let (polite, deaf) = (alive.enter(), alive.enter());
        let polite = async move |token: CancellationToken| {
            let _inside = polite;
            token.cancelled().await;
            Ok("cleaned up")
        };
        let polite = tokio_task_told_then_aborted(polite, Duration::from_secs(60));
        let deaf = tokio_task_told_then_aborted(|_| endless(deaf), Duration::from_millis(5));
        let (polite, deaf, _) = gather((polite, deaf, failing_soon())).report().await.outcomes;
        assert_eq!(polite, Outcome::Drained(Some(Ok("cleaned up"))));
        assert_eq!(deaf, Outcome::Drained(Some(Err("aborted"))));
        assert_eq!(alive.count(), 0, "the tasks are really gone");
    });
}

/// Also aborted when the gather is dropped or its grace is over, but then the gather does not wait for it.
fn tokio_task_aborted_on_drop(job: impl Future<Output = Ended> + Send + 'static) -> impl Child<Output = Ended> {
    let task = AbortOnDropHandle::new(tokio::spawn(job));
    task.on_cancel(|task| task.abort()).map(flatten)
}

#[test]
fn tokio_tasks_are_aborted_on_drop() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let alive = Alive::default();
        let mut group = Box::pin(gather([tokio_task_aborted_on_drop(endless(alive.enter()))]).into_future());
        assert!(futures_util::poll!(&mut group).is_pending());
        drop(group);
        assert_eq!(alive.count(), 1, "it was asked, and is gone when the runtime comes to it");
        while alive.count() != 0 {
            tokio::task::yield_now().await;
        }
    });
}

/// smol's task: its own `cancel`, by the child `Cancellable`.
fn smol_task(job: impl Future<Output = Ended> + Send + 'static) -> impl Child<Output = Ended> {
    Cancellable::Running { task: smol::spawn(job), cancel: |task| task.cancel() }
}

#[test]
fn smol_tasks_are_cancelled_and_waited_for() {
    smol::block_on(async {
        let alive = Alive::default();
        let group = restart(Limit::restarts(20), || {
            assert_eq!(alive.count(), 0, "the tasks of the old generation are gone");
            let tasks: Vec<_> = (0..10).map(|_| smol_task(endless(alive.enter()))).collect();
            (gather(tasks), failing_soon())
        });
        assert_eq!(group.await.unwrap_err().into_source(), "failed");
        assert_eq!(alive.count(), 0, "the tasks are really gone");
    });
}

/// A task of any executor that can be waited for, here smol's: it is wrapped so that it can be aborted.
fn abortable_task(job: impl Future<Output = Ended> + Send + 'static) -> impl Child<Output = Ended> {
    let (job, handle) = futures_util::future::abortable(job);
    smol::spawn(job).on_cancel(move |_| handle.abort()).map(|ended| ended.unwrap_or(Err("aborted")))
}

#[test]
fn tasks_of_any_executor_are_aborted_and_waited_for() {
    smol::block_on(async {
        let alive = Alive::default();
        let report = gather((abortable_task(endless(alive.enter())), failing_soon())).report().await;
        assert_eq!(report.outcomes.0, Outcome::Drained(Some(Err("aborted"))));
        assert_eq!(alive.count(), 0, "the task is really gone");
    });
}

// A deadline for the whole, and a grace for the drain that it begins. Each timer starts when it is made.

const DEADLINE: Duration = Duration::from_millis(5);
const GRACE: Duration = Duration::from_millis(5);

/// Ends when it is told.
fn polite() -> impl Child<Output = Ended> {
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = async {
        let _ = stopped.await;
        Ok("cleaned up")
    };
    ended.on_cancel(|_| drop(stop))
}

/// Does not end when it is told.
fn deaf() -> impl Child<Output = Ended> {
    pending().on_cancel(|_| ())
}

type OfTwo = Report<(Outcome<&'static str, &'static str>, Outcome<&'static str, &'static str>)>;

async fn deadline_and_grace_of_tokio() -> OfTwo {
    let group = gather((polite(), deaf())).cancel_when(tokio::time::sleep(DEADLINE));
    group.grace(|| tokio::time::sleep(GRACE)).report().await
}

async fn deadline_and_grace_of_smol() -> OfTwo {
    let group = gather((polite(), deaf())).cancel_when(smol::Timer::after(DEADLINE));
    group.grace(|| smol::Timer::after(GRACE)).report().await
}

/// On any executor that has no timer of its own.
async fn deadline_and_grace_of_futures_timer() -> OfTwo {
    let group = gather((polite(), deaf())).cancel_when(futures_timer::Delay::new(DEADLINE));
    group.grace(|| futures_timer::Delay::new(GRACE)).report().await
}

#[track_caller]
fn are_over(report: OfTwo) {
    assert_eq!(report.cause, Cause::Cancelled);
    assert_eq!(report.outcomes, (Outcome::Drained(Some(Ok("cleaned up"))), Outcome::Abandoned));
}

#[test]
fn deadlines_and_graces() {
    on_tokio(async || are_over(deadline_and_grace_of_tokio().await));
    are_over(smol::block_on(deadline_and_grace_of_smol()));
    are_over(pollster::block_on(deadline_and_grace_of_futures_timer()));
}
