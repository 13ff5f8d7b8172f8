//! What has to hold on every board and driver. A check that fails panics, and the panic handler exits with a code that
//! is not 0.

use core::cell::{Cell, RefCell};
use core::future::{pending, ready};

use embassy_time::{Duration, Instant, Timer};
use gather::{CancelExt, Cancelled, Cause, GatherError, Limit, Outcome, RestartError, gather, restart};
use semihosting::println;

use crate::dma::{self, Transfer};
use crate::tasks::Fault;

type Buffer = RefCell<[u8; 64]>;

fn buffer() -> Buffer {
    RefCell::new([0; 64])
}

/// Where its bytes are written to; not lent to anything else.
fn transfer(buffer: &Buffer) -> Transfer<'_> {
    Transfer::new(core::cell::RefMut::map(buffer.borrow_mut(), |bytes| &mut bytes[..]))
}

fn written(buffer: &Buffer) -> usize {
    buffer.borrow().iter().filter(|byte| **byte == b'x').count()
}

async fn fails_after(ticks: u64) -> Result<usize, Fault> {
    Timer::after_ticks(ticks).await;
    Err(Fault::Sensor)
}

/// Counts how many are alive.
struct Alive<'a>(&'a Cell<u32>);

impl<'a> Alive<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Alive(count)
    }
}

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn holds(_alive: Alive<'_>) -> Result<usize, Fault> {
    pending().await
}

pub async fn all() {
    values_come_in_their_shape().await;
    a_transfer_is_drained().await;
    a_cleanup_may_wait().await;
    the_grace_ends_a_drain().await;
    a_signal_cancels().await;
    a_nested_gather_drains_too().await;
    every_policy_ends().await;
    a_group_restarts().await;
    restarts_are_limited().await;
    #[cfg(feature = "alloc")]
    on_the_heap::all().await;
    assert_eq!(dma::blocked(), 0, "transfers dropped in the midst of their work");
    assert_eq!(dma::left(), 0);
    println!("PASS");
}

async fn values_come_in_their_shape() {
    let after = |ticks, value| async move {
        Timer::after_ticks(ticks).await;
        Ok::<u32, Fault>(value)
    };
    assert_eq!(gather((after(3, 1), async { Ok('b') }, after(1, 3))).await, Ok((1, 'b', 3)));
    assert_eq!(gather([after(1, 1), after(3, 2), after(2, 3)]).await, Ok([1, 2, 3]));
    println!("ok: values come in their shape");
}

async fn a_transfer_is_drained() {
    let (buffer, alive) = (buffer(), Cell::new(0));
    let report = gather((transfer(&buffer), holds(Alive::new(&alive)), fails_after(5))).report().await;
    assert_eq!(dma::left(), 0, "the channel is busy");
    assert_eq!(alive.get(), 0);
    assert_eq!(report.cause, Cause::Failed(2));
    let (transferred, plain, failed) = report.outcomes;
    let Outcome::Drained(Some(Ok(count))) = transferred else { panic!("the transfer was not drained") };
    assert!(0 < count && count < 64, "cut short, and not at once");
    assert_eq!((plain, failed), (Outcome::Dropped, Outcome::Failed(Fault::Sensor)));

    // The buffer is ours again: nothing writes to it any more.
    assert_eq!(written(&buffer), count);
    Timer::after_ticks(10).await;
    assert_eq!(written(&buffer), count);
    println!("ok: a transfer is drained");
}

async fn a_cleanup_may_wait() {
    let (alive, cleaned) = (Cell::new(0), Cell::new(false));
    let cleaning = holds(Alive::new(&alive)).cleanup(|| async {
        assert_eq!(alive.get(), 0, "dropped before its clean-up");
        Timer::after_ticks(3).await;
        cleaned.set(true);
    });
    assert_eq!(gather((cleaning, fails_after(1))).await, Err(Fault::Sensor));
    assert!(cleaned.get());
    println!("ok: a clean-up may wait");
}

async fn the_grace_ends_a_drain() {
    let alive = Cell::new(0);
    let deaf = holds(Alive::new(&alive)).on_cancel(|_| ());
    let began = Cell::new(Instant::MAX);
    let grace = || {
        began.set(Instant::now());
        Timer::after_ticks(5)
    };
    let report = gather((deaf, fails_after(1))).grace(grace).report().await;
    assert_eq!(report.outcomes, (Outcome::Abandoned, Outcome::Failed(Fault::Sensor)));
    assert!(began.get().elapsed() >= Duration::from_ticks(5));
    assert_eq!(alive.get(), 0);
    println!("ok: the grace ends a drain");
}

async fn a_signal_cancels() {
    let buffer = buffer();
    let result = gather([transfer(&buffer)]).cancel_when(Timer::after_ticks(4)).await;
    assert_eq!(result, Err(Cancelled));
    assert_eq!(dma::left(), 0);
    assert!(written(&buffer) < 64);
    println!("ok: a signal cancels");
}

async fn a_nested_gather_drains_too() {
    let buffer = buffer();
    let inner = gather((transfer(&buffer), pending::<Result<usize, Fault>>()));
    assert_eq!(gather((inner, fails_after(4))).await, Err(Fault::Sensor));
    assert_eq!(dma::left(), 0);
    println!("ok: a nested gather drains too");
}

async fn every_policy_ends() {
    let after = |ticks, result: Result<u32, Fault>| async move {
        Timer::after_ticks(ticks).await;
        result
    };
    let settled = gather((after(1, Err(Fault::Broken)), after(2, Ok(2)), ready('c'))).settle().await;
    assert_eq!(settled, (Err(Fault::Broken), Ok(2), 'c'));
    assert_eq!(gather([after(1, Err(Fault::Broken)), after(3, Ok(2))]).any().await, Ok(2));
    let buffer = buffer();
    let first = gather((transfer(&buffer), async {
        Timer::after_ticks(3).await;
        Ok(0)
    }));
    assert_eq!(first.race().await, Ok(0));
    assert_eq!(dma::left(), 0);
    let at_once = Cell::new(0);
    let counted = || async {
        let _alive = Alive::new(&at_once);
        assert!(at_once.get() <= 2);
        after(2, Ok(1)).await
    };
    assert_eq!(gather([counted(), counted(), counted(), counted()]).concurrency(2).await, Ok([1; 4]));
    println!("ok: every policy ends");
}

async fn a_group_restarts() {
    let (buffer, alive) = (buffer(), Cell::new(0));
    let (mut generations, failures) = (0, Cell::new(0));
    let clock = || Instant::now().duration_since(Instant::MIN).into();
    let group = restart(Limit::within_const::<3, _>(core::time::Duration::from_secs(60), clock), || {
        assert_eq!((dma::left(), alive.get()), (0, 0), "the old generation is alive");
        generations += 1;
        let (generation, plain) = (generations, Alive::new(&alive));
        let reads = async move {
            Timer::after_ticks(3).await;
            drop(plain);
            if generation < 4 { Err(Fault::Sensor) } else { Ok(generation) }
        };
        // It is lent to one generation at a time.
        (transfer(&buffer), reads)
    })
    .observe(|failure| {
        assert_eq!(failure.index, 1);
        assert!(dma::left() > 0, "the transfer is not told yet");
        failures.set(failures.get() + 1);
    })
    .backoff(|failure| {
        assert_eq!((failure.index, dma::left()), (1, 0));
        Timer::after_ticks(2)
    });
    assert_eq!(group.await, Ok((64, 4)));
    assert_eq!((failures.get(), written(&buffer)), (3, 64));
    println!("ok: a group restarts");
}

async fn restarts_are_limited() {
    let buffer = buffer();
    let group = restart(Limit::restarts(2), || (transfer(&buffer), fails_after(2)));
    assert_eq!(group.await, Err(RestartError::LimitReached { restarts: 2, source: Fault::Sensor }));
    let report = gather([fails_after(0)]).report().await;
    assert_eq!(report.into_result(), Err(GatherError::Failed { index: 0, source: Fault::Sensor }));
    println!("ok: restarts are limited");
}

#[cfg(feature = "alloc")]
mod on_the_heap {
    use alloc::vec::Vec;
    use core::future::poll_fn;
    use core::pin::pin;

    use gather::{Group, LocalBoxChild};

    use super::*;
    use crate::{board, heap};

    pub async fn all() {
        forget_waker().await;
        let used = heap::used();
        only_the_woken_are_polled().await;
        told_and_plain_ones_in_one_vec().await;
        a_vec_restarts().await;
        a_waker_may_outlive_its_gather().await;
        forget_waker().await;
        assert_eq!(heap::used(), used, "something was not freed");
    }

    /// As many as need three words on a 32-bit machine.
    const MANY: u32 = 70;

    async fn only_the_woken_are_polled() {
        let polls = Cell::new(0);
        let polls = &polls;
        let children = (0..MANY).map(|value| async move {
            let mut timer = pin!(Timer::after_ticks(2));
            poll_fn(|cx| {
                polls.set(polls.get() + 1);
                timer.as_mut().poll(cx)
            })
            .await;
            Ok::<_, Fault>(value)
        });
        // Six timers at a time: there is room for eight.
        let values = children.collect::<Group<_>>().concurrency(6).await.unwrap();
        assert!(values.into_iter().eq(0..MANY));
        assert!(polls.get() <= 2 * MANY, "{} polls of {MANY} children", polls.get());
        println!("ok: only the woken are polled: {} polls of {MANY} children", polls.get());
    }

    async fn told_and_plain_ones_in_one_vec() {
        let (buffer, alive) = (buffer(), Cell::new(0));
        let report = gather(Vec::from([
            LocalBoxChild::new(holds(Alive::new(&alive))),
            LocalBoxChild::new(transfer(&buffer)),
            LocalBoxChild::new(fails_after(4)),
        ]))
        .report()
        .await;
        assert_eq!(report.cause, Cause::Failed(2));
        let transferred = written(&buffer);
        assert!(0 < transferred && transferred < 64);
        let expected = [Outcome::Dropped, Outcome::Drained(Some(Ok(transferred))), Outcome::Failed(Fault::Sensor)];
        assert_eq!(report.outcomes, expected);
        assert_eq!((dma::left(), alive.get()), (0, 0));
        println!("ok: told and plain ones in one Vec");
    }

    async fn a_vec_restarts() {
        let buffer = buffer();
        let group = restart(Limit::restarts(3), || {
            assert_eq!(dma::left(), 0, "the old generation is alive");
            Vec::from([LocalBoxChild::new(transfer(&buffer)), LocalBoxChild::new(fails_after(2))])
        });
        assert_eq!(group.await, Err(RestartError::LimitReached { restarts: 3, source: Fault::Sensor }));
        println!("ok: a Vec restarts");
    }

    /// The controller keeps the last waker that it was given until its next interrupt.
    async fn forget_waker() {
        board::raise_dma_interrupt();
        Timer::after_ticks(1).await;
    }

    /// The last of the wakers frees the book-keeping that they share; here in an interrupt.
    async fn a_waker_may_outlive_its_gather() {
        forget_waker().await;
        let used = heap::used();
        let waits = async {
            dma::next_interrupt().await;
            Ok::<usize, Fault>(0)
        };
        let children = Vec::from([LocalBoxChild::new(waits), LocalBoxChild::new(fails_after(1))]);
        assert_eq!(gather(children).await, Err(Fault::Sensor));
        let kept = heap::used() - used;
        assert!(kept > 0, "the controller still has a waker");
        forget_waker().await;
        assert_eq!(heap::used(), used);
        println!("ok: a waker may outlive its gather, and keeps {kept} bytes of it");
    }
}
