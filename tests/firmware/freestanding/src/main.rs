//! A Linux program without std, alloc or libc, which gathers, drains and restarts: that it links says that the crate needs
//! none of them, and that it exits with 0 that it does its work.

#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::cell::Cell;
use core::future::{pending, poll_fn};
use core::panic::PanicInfo;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use gather::{CancelExt, Cause, Limit, Outcome, RestartError, gather, restart};

global_asm!(".globl _start", "_start:", "and rsp, -16", "call {main}", "ud2", main = sym main);

extern "C" fn main() -> ! {
    block_on(a_sibling_is_drained());
    block_on(a_group_restarts());
    write("PASS: gathered, drained and restarted\n");
    exit(0)
}

/// Ready in the next poll.
async fn yield_now() {
    let mut was_polled = false;
    poll_fn(|cx| {
        if was_polled {
            return Poll::Ready(());
        }
        was_polled = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

async fn a_sibling_is_drained() {
    let cleaned = Cell::new(false);
    let told = pending::<Result<u32, &str>>().cleanup(|| async {
        yield_now().await;
        cleaned.set(true);
    });
    let fails = async {
        yield_now().await;
        Err::<(), _>("failed")
    };
    let report = gather((told, pending::<Result<(), &str>>(), fails)).report().await;
    assert!(cleaned.get());
    assert!(report.cause == Cause::Failed(2));
    assert!(report.outcomes == (Outcome::Drained(None), Outcome::Dropped, Outcome::Failed("failed")));
    assert!(gather((async { Ok::<_, ()>(1) }, async { Ok('b') })).await == Ok((1, 'b')));
}

async fn a_group_restarts() {
    let (generations, cleaned) = (Cell::new(0), Cell::new(0));
    let group = restart(Limit::restarts(3), || {
        assert!(generations.get() == cleaned.get(), "the old generation has cleaned up");
        generations.set(generations.get() + 1);
        let told = pending::<Result<(), &str>>().cleanup(|| async {
            yield_now().await;
            cleaned.set(cleaned.get() + 1);
        });
        let fails = async {
            yield_now().await;
            Err::<(), _>("failed")
        };
        (told, fails)
    });
    assert!(group.await == Err(RestartError::LimitReached { restarts: 3, source: "failed" }));
    assert!((generations.get(), cleaned.get()) == (4, 4));
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

fn write(text: &str) {
    // SAFETY: `write` to the standard output, of memory that is ours.
    unsafe { syscall(1, 1, text.as_ptr() as usize, text.len()) };
}

fn exit(code: usize) -> ! {
    // SAFETY: `exit_group` does not come back.
    unsafe { syscall(231, code, 0, 0) };
    unreachable!()
}

/// # Safety
///
/// That of the system call.
unsafe fn syscall(number: usize, first: usize, second: usize, third: usize) {
    // SAFETY: by the caller; these are the registers that the kernel writes to.
    unsafe {
        asm!("syscall", inlateout("rax") number => _, in("rdi") first, in("rsi") second, in("rdx") third,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    write("FAILED\n");
    exit(1)
}
