//! Three tasks around one device, which are useful only together: readings that fail now and then, a stream by DMA, and a
//! heart beat.

use core::cell::{RefCell, RefMut};
use core::convert::Infallible;
use core::future::poll_fn;
use core::pin::pin;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Poll;

use embassy_futures::select::{Either3, select3};
use embassy_futures::yield_now;
use embassy_time::Timer;
use gather::{Child, Limit, restart};
use semihosting::process::ExitCode;

use crate::dma::{self, Transfer};

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Fault {
    Sensor,
    Broken,
}

static READINGS: AtomicU32 = AtomicU32::new(0);
static BEATS: AtomicU32 = AtomicU32::new(0);

/// Every third reading fails.
pub async fn sense() -> Result<Infallible, Fault> {
    loop {
        Timer::after_ticks(2).await;
        let readings = READINGS.load(Ordering::Relaxed) + 1;
        READINGS.store(readings, Ordering::Relaxed);
        if readings % 3 == 0 {
            return Err(Fault::Sensor);
        }
    }
}

pub async fn beat() -> Result<Infallible, Fault> {
    loop {
        BEATS.store(BEATS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        Timer::after_ticks(1).await;
    }
}

/// An endless one as far as the program is concerned: readings fail much earlier. What it fills is lent to one at a time.
pub fn stream() -> Transfer<'static> {
    static BUFFER: Buffer = Buffer(RefCell::new([0; 64]));
    Transfer::new(RefMut::map(BUFFER.0.borrow_mut(), |bytes| &mut bytes[..]))
}

struct Buffer(RefCell<[u8; 64]>);

// SAFETY: on a single core, and no interrupt asks for it.
unsafe impl Sync for Buffer {}

pub const RESTARTS: u32 = 5;

/// The three, restarted by the crate: when one fails the plain ones are dropped, the transfer is told to stop and drained,
/// and then all are restarted.
pub async fn by_gather() -> Fault {
    let Err(error) = restart(Limit::restarts(RESTARTS), || (sense(), stream(), beat())).await;
    error.into_source()
}

/// The same, written out for these three alone.
pub async fn by_hand() -> Fault {
    for _ in 0..RESTARTS {
        drained_generation().await;
        yield_now().await;
    }
    drained_generation().await
}

async fn drained_generation() -> Fault {
    let mut stream = pin!(stream());
    let fault = {
        let (mut sense, mut beat) = (pin!(sense()), pin!(beat()));
        poll_fn(|cx| {
            if let Poll::Ready(Err(fault)) = sense.as_mut().poll(cx) {
                return Poll::Ready(fault);
            }
            if let Poll::Ready(Err(fault)) = stream.as_mut().poll_child(cx) {
                return Poll::Ready(fault);
            }
            beat.as_mut().poll(cx).map(|result| match result {
                Err(fault) => fault,
            })
        })
        .await
    };
    let _ = stream.as_mut().cancel();
    poll_fn(|cx| stream.as_mut().poll_drain(cx)).await;
    fault
}

/// Without a drain: all are dropped where they are, and the transfer's destructor holds the processor until the channel is
/// idle.
pub async fn by_select() -> Fault {
    for _ in 0..RESTARTS {
        dropped_generation().await;
    }
    dropped_generation().await
}

async fn dropped_generation() -> Fault {
    let mut stream = pin!(stream());
    match select3(sense(), poll_fn(|cx| stream.as_mut().poll_child(cx)), beat()).await {
        Either3::First(Err(fault)) | Either3::Second(Err(fault)) | Either3::Third(Err(fault)) => fault,
        Either3::Second(Ok(_)) => Fault::Broken,
    }
}

/// Exits with a code that says whether all generations were there, and none had to block more often than it does.
pub fn end(fault: Fault, blocks: u32) -> ! {
    let generations = RESTARTS + 1;
    let is_right = fault == Fault::Sensor
        && READINGS.load(Ordering::Relaxed) == 3 * generations
        && BEATS.load(Ordering::Relaxed) >= 3 * generations
        && dma::blocked() == blocks
        && dma::left() == 0;
    let code = if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    code.exit_process()
}
