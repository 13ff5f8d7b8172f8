//! The scenarios on embassy's executor, with its timers.
//!
//! The timers' default queue wants the executor's own wakers. Tuples and arrays of children pass them through; a `Vec` and
//! a boxed slice, which have wakers of their own, want `generic-queue`: see `default_queue.rs`.

use std::cell::Cell;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use embassy_executor::Spawner;

#[path = "../../suite/kit.rs"]
mod kit;
#[path = "../../suite/runtimes/scenarios.rs"]
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

// More than run at a time: one that has ended keeps its place as long as a late wake of it is queued.
#[embassy_executor::task(pool_size = 16)]
async fn task(job: Job) {
    job.await;
}

#[test]
fn on_embassy() {
    let (started, spawner) = channel();
    // Never ends.
    thread::spawn(move || {
        let executor = Box::leak(Box::new(embassy_executor::Executor::new()));
        executor.run(|spawner| {
            SPAWNER.set(Some(spawner));
            started.send(spawner.make_send()).unwrap();
        });
    });
    let spawner = spawner.recv().unwrap();
    let own_wakers = cfg!(feature = "generic-queue");
    let containers: &[_] = if own_wakers { &CONTAINERS } else { &[Container::Tuple, Container::Array] };
    run(&Embassy, containers, |scenario| {
        let (done, wait) = channel();
        let job = Box::pin(async move {
            scenario.await;
            done.send(()).unwrap();
        });
        spawner.spawn(task(job).unwrap());
        wait.recv().expect("the scenario panicked");
    });
}
