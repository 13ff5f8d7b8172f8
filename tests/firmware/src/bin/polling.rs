//! The scenarios without an executor: a loop that polls one future, and waits for an event if nothing woke it.

#![no_std]
#![no_main]

use core::future::Future;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use gather_firmware::{board, scenarios};
use semihosting::process::ExitCode;

static WOKEN: AtomicBool = AtomicBool::new(true);

fn wake(_: *const ()) {
    WOKEN.store(true, Ordering::Release);
}

const RAW_WAKER: RawWaker = RawWaker::new(core::ptr::null(), &VTABLE);
static VTABLE: RawWakerVTable = RawWakerVTable::new(|_| RAW_WAKER, wake, wake, |_| ());

fn block_on<F: Future>(future: F) -> F::Output {
    // SAFETY: it has no data, and any thread or interrupt may wake it.
    let waker = unsafe { Waker::from_raw(RAW_WAKER) };
    let mut future = pin!(future);
    loop {
        if WOKEN.load(Ordering::Acquire) {
            WOKEN.store(false, Ordering::Relaxed);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
        } else {
            board::wait_for_event();
        }
    }
}

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    board::start();
    #[cfg(feature = "alloc")]
    gather_firmware::heap::init();
    block_on(scenarios::all());
    ExitCode::SUCCESS.exit_process()
}
