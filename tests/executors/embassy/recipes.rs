//! As `tests/suite/runtimes/recipes.rs`, for embassy's timers.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;

use embassy_time::{Duration, Timer};
use futures_channel::oneshot;
use gather::{CancelExt, Cause, Outcome, gather};

const DEADLINE: Duration = Duration::from_millis(5);
const GRACE: Duration = Duration::from_millis(5);

type Ended = Result<&'static str, &'static str>;

/// The children are in a tuple, which goes with each of embassy's timer queues.
#[embassy_executor::task]
async fn deadline_and_grace(done: Rc<Cell<bool>>) {
    let (stop, stopped) = oneshot::channel::<()>();
    let polite = async {
        let _ = stopped.await;
        Ended::Ok("cleaned up")
    };
    let polite = polite.on_cancel(|_| drop(stop));
    let deaf = pending::<Ended>().on_cancel(|_| ());
    let group = gather((polite, deaf)).cancel_when(Timer::after(DEADLINE)).grace(|| Timer::after(GRACE));
    let report = group.report().await;
    assert_eq!(report.cause, Cause::Cancelled);
    assert_eq!(report.outcomes, (Outcome::Drained(Some(Ok("cleaned up"))), Outcome::Abandoned));
    done.set(true);
}

#[test]
fn deadline_and_grace_of_embassy() {
    let done = Rc::new(Cell::new(false));
    let executor = Box::leak(Box::new(embassy_executor::Executor::new()));
    executor.run_until(|spawner| spawner.spawn(deadline_and_grace(done.clone()).unwrap()), || done.get());
}
