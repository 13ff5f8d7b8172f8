//! How deep the stack is in one poll of a restarted group: the stack is painted before each poll, and looked at after it.
//!
//! No interrupt is enabled, so all that is found is the poll's own; time is advanced by hand between polls.

#![no_std]
#![no_main]

use core::arch::asm;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Waker};

use gather_firmware::{dma, tasks, time};
use semihosting::println;
use semihosting::process::ExitCode;

const DEPTH: usize = 3072;
const PAINT: u32 = 0x5ac3_96e1;

/// The bytes of stack that a call takes, with what it calls.
#[inline(never)]
fn stack_of(call: &mut dyn FnMut()) -> usize {
    let pointer: usize;
    // SAFETY: reads a register.
    #[cfg(target_arch = "arm")]
    unsafe {
        asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack))
    };
    // SAFETY: as above.
    #[cfg(target_arch = "riscv32")]
    unsafe {
        asm!("mv {}, sp", out(reg) pointer, options(nomem, nostack))
    };
    let below = |bytes: usize| (pointer - bytes) as *mut u32;
    for word in 1..=DEPTH / 4 {
        // SAFETY: below the stack pointer is nothing that anybody needs, without interrupts.
        unsafe { below(4 * word).write_volatile(PAINT) };
    }
    call();
    // SAFETY: memory of the stack, of which nobody has a reference.
    let words = (1..=DEPTH / 4).rev().find(|word| unsafe { below(4 * word).read_volatile() } != PAINT);
    let deepest = words.unwrap_or(0) * 4;
    assert!(deepest < DEPTH, "deeper than was painted");
    deepest
}

/// The deepest of at most so many polls, until the future is ready.
fn measure<F: Future>(name: &str, polls: usize, future: F) {
    let bytes = size_of_val(&future);
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    let (mut first, mut deepest) = (0, 0);
    for poll in 0..polls {
        let mut is_ready = false;
        let depth = stack_of(&mut || is_ready = future.as_mut().poll(&mut context).is_ready());
        if poll == 0 {
            first = depth;
        }
        deepest = deepest.max(depth);
        if is_ready {
            break;
        }
        time::tick();
        dma::interrupt();
    }
    println!("{name}: stack {first} in the first poll, {deepest} in the deepest; the future {bytes} bytes");
}

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    #[cfg(target_arch = "arm")]
    cortex_m::interrupt::disable();
    println!("no future at all: stack {}", stack_of(&mut || ()));
    measure("one of the tasks", 10, tasks::beat());
    measure("three, by gather", 1000, tasks::by_gather());
    measure("three, by hand", 1000, tasks::by_hand());
    ExitCode::SUCCESS.exit_process()
}
