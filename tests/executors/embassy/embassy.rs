//! The scenarios on embassy's executor, with its timers.
//!
//! The timers' default queue wants the executor's own wakers. Tuples and arrays of children pass them through; a `Vec` and
//! a boxed slice, which have wakers of their own, want `generic-queue`: see `default_queue.rs`.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use embassy_executor::Spawner;

#[path = "../../kit/scenarios.rs"]
mod scenarios;

use scenarios::{CONTAINERS, Container, Executor, Job, run};

thread_local! {
    static SPAWNER: Cell<Option<Spawner>> = const { Cell::new(None) };
}

struct Embassy;

impl Executor for Embassy {
    fn sleep(&self, time: Duration) -> Job {
        Box::pin(embassy_time::Timer::after_micros(time.as_micros() as u64))
    }

    fn spawn(&self, job: Job) {
        SPAWNER.get().expect("this thread runs an executor").spawn(task(job).unwrap());
    }
}

#[embassy_executor::task(pool_size = 4)]
async fn task(job: Job) {
    job.await;
}

#[test]
fn on_embassy() {
    let own_wakers = cfg!(feature = "generic-queue");
    let containers: &[_] = if own_wakers { &CONTAINERS } else { &[Container::Tuple, Container::Array] };
    run(&Embassy, containers, |scenario| {
        let done = Arc::new(AtomicBool::new(false));
        let executor = Box::leak(Box::new(embassy_executor::Executor::new()));
        let scenario = Box::pin({
            let done = done.clone();
            async move {
                scenario.await;
                done.store(true, Ordering::SeqCst);
            }
        });
        executor.run_until(
            |spawner| {
                SPAWNER.set(Some(spawner));
                spawner.spawn(task(scenario).unwrap());
            },
            || done.load(Ordering::SeqCst),
        );
    });
}
