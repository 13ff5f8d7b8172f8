//! Tuples of 2 and of 5, ready and yielding once, beside the peers' macros and functions.
//!
//! Once with children whose poll the compiler sees through, so that what is measured is how well each combinator is
//! optimized away; and once with opaque ones, whose poll is a call. The driver is a bare loop, inlined, so that a future
//! is not copied by a call before it is polled.

use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use gather::gather;

type Output = Result<u64, u64>;

/// Ready in the poll after so many that were not; it wakes itself, as a task's `yield_now` does.
struct Yields<const OPAQUE: bool> {
    polls: u32,
    value: u64,
}

impl<const OPAQUE: bool> Yields<OPAQUE> {
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Output> {
        if self.polls == 0 {
            return Poll::Ready(Ok(self.value));
        }
        self.polls -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    #[inline(never)]
    fn opaque_step(&mut self, cx: &mut Context<'_>) -> Poll<Output> {
        self.step(cx)
    }
}

impl<const OPAQUE: bool> Future for Yields<OPAQUE> {
    type Output = Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        if OPAQUE { self.opaque_step(cx) } else { self.step(cx) }
    }
}

#[inline(always)]
fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

fn tuples<const OPAQUE: bool>(criterion: &mut Criterion) {
    let child = |polls, value| Yields::<OPAQUE> { polls: black_box(polls), value };
    let kind = if OPAQUE { "opaque" } else { "seen through" };
    for (case, polls) in [("ready", 0), ("yields once", 1)] {
        let mut group = criterion.benchmark_group(format!("tuple of 2, {case}, {kind}"));
        group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(600));
        group.bench_function("gather", |b| b.iter(|| run(gather((child(polls, 1), child(polls, 2))))));
        group.bench_function("futures::try_join!", |b| {
            b.iter(|| run(async { futures::try_join!(child(polls, 1), child(polls, 2)) }))
        });
        group.bench_function("futures::future::try_join", |b| {
            b.iter(|| run(futures::future::try_join(child(polls, 1), child(polls, 2))))
        });
        group.bench_function("tokio::try_join!", |b| {
            b.iter(|| run(async { tokio::try_join!(child(polls, 1), child(polls, 2)) }))
        });
        group.bench_function("futures_lite::future::try_zip", |b| {
            b.iter(|| run(futures_lite::future::try_zip(child(polls, 1), child(polls, 2))))
        });
        group.bench_function("embassy_futures::join (waits for all)", |b| {
            b.iter(|| run(embassy_futures::join::join(child(polls, 1), child(polls, 2))))
        });
        group.finish();

        let mut group = criterion.benchmark_group(format!("tuple of 5, {case}, {kind}"));
        group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(600));
        group.bench_function("gather", |b| {
            b.iter(|| {
                run(gather((child(polls, 1), child(polls, 2), child(polls, 3), child(polls, 4), child(polls, 5))))
            })
        });
        group.bench_function("futures::try_join!", |b| {
            b.iter(|| {
                run(async {
                    futures::try_join!(
                        child(polls, 1),
                        child(polls, 2),
                        child(polls, 3),
                        child(polls, 4),
                        child(polls, 5)
                    )
                })
            })
        });
        group.bench_function("futures::future::try_join5", |b| {
            b.iter(|| {
                run(futures::future::try_join5(
                    child(polls, 1),
                    child(polls, 2),
                    child(polls, 3),
                    child(polls, 4),
                    child(polls, 5),
                ))
            })
        });
        group.bench_function("tokio::try_join!", |b| {
            b.iter(|| {
                run(async {
                    tokio::try_join!(
                        child(polls, 1),
                        child(polls, 2),
                        child(polls, 3),
                        child(polls, 4),
                        child(polls, 5)
                    )
                })
            })
        });
        group.bench_function("futures_lite::future::try_zip, nested", |b| {
            b.iter(|| {
                use futures_lite::future::try_zip;
                run(try_zip(
                    child(polls, 1),
                    try_zip(child(polls, 2), try_zip(child(polls, 3), try_zip(child(polls, 4), child(polls, 5)))),
                ))
            })
        });
        group.bench_function("embassy_futures::join5 (waits for all)", |b| {
            b.iter(|| {
                run(embassy_futures::join::join5(
                    child(polls, 1),
                    child(polls, 2),
                    child(polls, 3),
                    child(polls, 4),
                    child(polls, 5),
                ))
            })
        });
        group.finish();
    }
}

criterion_group!(benches, tuples<false>, tuples<true>);
criterion_main!(benches);
