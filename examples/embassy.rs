//! Three children in one task of embassy's executor, here on std: a sensor, a motor that must not be stopped abruptly,
//! and a link that is lost. If it is lost, the motor runs down before all three are restarted.
//!
//!     cargo run -p gather-examples --example embassy
//!
//! A tuple hands on the task's own waker and allocates nothing, so any of embassy's timer queues will do, and a device
//! without an allocator. A `Vec` gives each child a waker of its own, which only embassy-time's `generic-queue`s take.

use std::cell::Cell;
use std::convert::Infallible;

use embassy_executor::Spawner;
use embassy_futures::select::{Either, select};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::{Duration, Timer};
use gather::{CancelExt, Limit, RestartError, restart};

/// Why a child ends: none of them does by itself.
#[derive(Debug, PartialEq)]
enum Error {
    LinkLost,
    Stopped,
}

/// Within one task no mutex is needed.
type Local<T> = Signal<NoopRawMutex, T>;

#[derive(Default)]
struct Motor {
    speed: Cell<u32>,
}

impl Motor {
    fn set(&self, speed: u32) {
        self.speed.set(speed);
        println!("  motor: {speed}");
    }

    /// Follows `wanted` until it is told to stop, and then runs down.
    async fn run(&self, wanted: &Local<u32>, stop: &Local<()>) -> Result<Infallible, Error> {
        loop {
            match select(stop.wait(), wanted.wait()).await {
                Either::First(()) => break,
                Either::Second(speed) => self.set(speed),
            }
        }
        while self.speed.get() > 0 {
            Timer::after_millis(20).await;
            self.set(self.speed.get().saturating_sub(20));
        }
        // An answer, not a failure: the cause stays what it was.
        Err(Error::Stopped)
    }
}

async fn sensor(wanted: &Local<u32>) -> Result<Infallible, Error> {
    for sample in 1.. {
        wanted.signal(10 * sample);
        Timer::after_millis(20).await;
    }
    unreachable!("it measures for ever")
}

async fn link() -> Result<Infallible, Error> {
    Timer::after_millis(110).await;
    println!("  the link is lost");
    Err(Error::LinkLost)
}

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    let (motor, wanted, stop) = (Motor::default(), Local::new(), Local::new());
    let mut generation = 0;
    let group = restart(Limit::restarts(2), || {
        assert_eq!(motor.speed.get(), 0, "it never restarts a motor that turns");
        generation += 1;
        println!("generation {generation}");
        // What was not taken in the last generation.
        wanted.reset();
        stop.reset();
        (sensor(&wanted), motor.run(&wanted, &stop).on_cancel(|_| stop.signal(())), link())
    })
    .grace(|| Timer::after_secs(1))
    .observe(|failure| println!("failed: {:?}", failure.error))
    .backoff(|failure| {
        println!("all are gone");
        Timer::after(Duration::from_millis(50) * (failure.restarts + 1))
    });

    let result = group.await;
    println!("given up: {result:?}");
    assert_eq!(result, Err(RestartError::LimitReached { restarts: 2, source: Error::LinkLost }));
    // This executor runs for ever.
    std::process::exit(0);
}
