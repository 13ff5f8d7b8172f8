//! As `tests/suite/runtimes/recipes.rs`, for async-std.

use std::future::{Future, pending};
use std::time::Duration;

use async_std::task;
use futures_channel::oneshot;
use gather::{CancelExt, Cause, Child, Limit, Outcome, gather, restart};

#[path = "../../suite/runtimes/cancellable.rs"]
mod cancellable;
#[path = "../../suite/kit.rs"]
mod kit;

use cancellable::Cancellable;
use kit::{Alive, Inside, yield_now};

type Ended = Result<&'static str, &'static str>;

/// Goes on until it is cancelled. `inside` counts it.
async fn endless(inside: Inside) -> Ended {
    let _inside = inside;
    loop {
        yield_now().await;
    }
}

/// async-std's handle: its own `cancel`, by the child `Cancellable`. Dropped, it would let the task run on.
fn async_std_task(job: impl Future<Output = Ended> + Send + 'static) -> impl Child<Output = Ended> {
    Cancellable::Running { task: task::spawn(job), cancel: |task| task.cancel() }
}

#[test]
fn async_std_tasks_are_cancelled_and_waited_for() {
    task::block_on(async {
        let alive = Alive::default();
        let group = restart(Limit::restarts(20), || {
            assert_eq!(alive.count(), 0, "the tasks of the old generation are gone");
            let tasks: Vec<_> = (0..10).map(|_| async_std_task(endless(alive.enter()))).collect();
            let failing = async {
                yield_now().await;
                Err::<(), _>("failed")
            };
            (gather(tasks), failing)
        });
        assert_eq!(group.await.unwrap_err().into_source(), "failed");
        assert_eq!(alive.count(), 0, "the tasks are really gone");
    });
}

#[test]
fn deadline_and_grace_of_async_std() {
    const DEADLINE: Duration = Duration::from_millis(5);
    const GRACE: Duration = Duration::from_millis(5);

    let (stop, stopped) = oneshot::channel::<()>();
    let polite = async {
        let _ = stopped.await;
        Ended::Ok("cleaned up")
    };
    let polite = polite.on_cancel(|_| drop(stop));
    let deaf = pending::<Ended>().on_cancel(|_| ());
    let group = gather((polite, deaf)).cancel_when(task::sleep(DEADLINE)).grace(|| task::sleep(GRACE));
    let report = task::block_on(group.report().into_future());
    assert_eq!(report.cause, Cause::Cancelled);
    assert_eq!(report.outcomes, (Outcome::Drained(Some(Ok("cleaned up"))), Outcome::Abandoned));
}
