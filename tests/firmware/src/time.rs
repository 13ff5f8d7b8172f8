//! The time driver of embassy-time, on the board's timer.

use core::cell::RefCell;
use core::task::Waker;

use critical_section::Mutex;
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;

struct Ticks(Mutex<RefCell<State>>);

struct State {
    now: u64,
    queue: Queue,
}

impl Driver for Ticks {
    fn now(&self) -> u64 {
        critical_section::with(|cs| self.0.borrow_ref(cs).now)
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        // The next tick looks at it anyway.
        critical_section::with(|cs| self.0.borrow_ref_mut(cs).queue.schedule_wake(at, waker));
    }
}

embassy_time_driver::time_driver_impl!(static TICKS: Ticks = Ticks(Mutex::new(RefCell::new(State {
    now: 0,
    queue: Queue::new(),
}))));

/// Called by the timer's interrupt.
pub fn tick() {
    critical_section::with(|cs| {
        let mut state = TICKS.0.borrow_ref_mut(cs);
        state.now += 1;
        let now = state.now;
        state.queue.next_expiration(now);
    });
    crate::dma::clock();
}
