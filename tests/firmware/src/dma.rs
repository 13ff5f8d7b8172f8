//! A DMA controller with one channel, and a transfer on it as a child of a gather.
//!
//! The controller is simulated: the timer's interrupt moves a byte a tick. The rest is as with a real one: it writes to
//! memory behind the program's back, goes on for a burst when it is told to stop, and raises an interrupt when it is idle.

use core::cell::{RefCell, RefMut};
use core::future::poll_fn;
use core::pin::Pin;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::{Context, Poll};

use critical_section::Mutex;
use embassy_sync::waitqueue::WakerRegistration;
use gather::{Child, OnCancel};

/// The bytes that it still writes when it was told to stop.
const BURST: usize = 3;

struct Registers {
    target: *mut u8,
    left: usize,
}

// SAFETY: on a single core, within a critical section.
unsafe impl Send for Registers {}

static REGISTERS: Mutex<RefCell<Registers>> =
    Mutex::new(RefCell::new(Registers { target: core::ptr::null_mut(), left: 0 }));
static WAITING: Mutex<RefCell<WakerRegistration>> = Mutex::new(RefCell::new(WakerRegistration::new()));
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);
static BLOCKED: AtomicU32 = AtomicU32::new(0);

/// One tick of the controller.
pub(crate) fn clock() {
    critical_section::with(|cs| {
        let Registers { target, left } = &mut *REGISTERS.borrow_ref_mut(cs);
        if *left > 0 {
            // SAFETY: a transfer keeps its buffer borrowed until the channel is idle.
            unsafe {
                target.write_volatile(b'x');
                *target = target.add(1);
            }
            *left -= 1;
            if *left == 0 {
                crate::board::raise_dma_interrupt();
            }
        }
    });
}

/// Called by the controller's interrupt.
pub fn interrupt() {
    INTERRUPTS.store(interrupts() + 1, Ordering::Relaxed);
    critical_section::with(|cs| WAITING.borrow_ref_mut(cs).wake());
}

fn interrupts() -> u32 {
    INTERRUPTS.load(Ordering::Relaxed)
}

fn register(cx: &mut Context<'_>) {
    critical_section::with(|cs| WAITING.borrow_ref_mut(cs).register(cx.waker()));
}

/// Ready when the controller has raised its interrupt once more.
pub async fn next_interrupt() {
    let before = interrupts();
    poll_fn(|cx| {
        register(cx);
        if interrupts() == before { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}

/// How many bytes the channel is still going to write.
pub fn left() -> usize {
    critical_section::with(|cs| REGISTERS.borrow_ref(cs).left)
}

/// How often a transfer had to hold up the whole program because it was dropped in the midst of its work.
pub fn blocked() -> u32 {
    BLOCKED.load(Ordering::Relaxed)
}

/// Fills a buffer. It ends with the count of bytes that were written.
pub struct Transfer<'a> {
    /// Borrowed until the channel is idle, and not looked at before.
    buffer: RefMut<'a, [u8]>,
    length: usize,
    started: bool,
}

impl<'a> Transfer<'a> {
    pub fn new(buffer: RefMut<'a, [u8]>) -> Self {
        Transfer { length: buffer.len(), buffer, started: false }
    }

    fn poll_idle<E>(&self, cx: &mut Context<'_>) -> Poll<Result<usize, E>> {
        // First this, then the look: an interrupt in between is not lost.
        register(cx);
        if left() == 0 { Poll::Ready(Ok(self.length)) } else { Poll::Pending }
    }
}

impl Child for Transfer<'_> {
    type Output = Result<usize, crate::tasks::Fault>;

    fn poll_child(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.started {
            self.started = true;
            let target = self.buffer.as_mut_ptr();
            critical_section::with(|cs| {
                let mut registers = REGISTERS.borrow_ref_mut(cs);
                assert!(registers.left == 0, "the channel is in use");
                *registers = Registers { target, left: self.length };
            });
        }
        self.poll_idle(cx)
    }

    fn cancel(mut self: Pin<&mut Self>) -> OnCancel {
        if cfg!(feature = "planted") || !self.started {
            return OnCancel::Drop;
        }
        self.length -= critical_section::with(|cs| {
            let left = &mut REGISTERS.borrow_ref_mut(cs).left;
            let cut = left.saturating_sub(BURST);
            *left -= cut;
            cut
        });
        OnCancel::Drain
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Output>> {
        self.poll_idle(cx).map(Some)
    }
}

impl Drop for Transfer<'_> {
    /// The buffer is written to as long as the channel is busy. So where nobody drained it there is nothing but to wait,
    /// and everything else waits with it.
    fn drop(&mut self) {
        if self.started && left() > 0 {
            BLOCKED.store(blocked() + 1, Ordering::Relaxed);
            while left() > 0 {
                core::hint::spin_loop();
            }
        }
    }
}
