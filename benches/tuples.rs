//! Tuples of 2 and of 5, ready and yielding once, beside the peers' macros and functions.
//!
//! Once with children whose poll the compiler sees through, so that what is measured is how well each combinator is
//! optimized away; and once with opaque ones, whose poll is a call. The driver is a bare loop, inlined, so that a future
//! is not copied by a call before it is polled.
//!
//! A compiler inlines a function more readily into its only caller. So each case is measured where one place of the program
//! polls this type of future, and at each of several places that poll the same one.

use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use gather::gather;

type Output = Result<u64, u64>;

/// Ready in the poll after so many that were not; it wakes itself, as a task's `yield_now` does.
///
/// `PLACES` is how many places poll a future over such children, one type of child for each count: what is polled at a
/// single place is then polled nowhere else.
struct Yields<const OPAQUE: bool, const PLACES: usize> {
    polls: u32,
    value: u64,
}

impl<const OPAQUE: bool, const PLACES: usize> Yields<OPAQUE, PLACES> {
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

impl<const OPAQUE: bool, const PLACES: usize> Future for Yields<OPAQUE, PLACES> {
    type Output = Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        if OPAQUE { self.opaque_step(cx) } else { self.step(cx) }
    }
}

#[inline(always)]
fn run<F: IntoFuture>(future: F) -> F::Output {
    let mut future = pin!(future.into_future());
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;
type Measure = fn(&mut Group<'_>, u32);

fn at_one_place<const OPAQUE: bool>(criterion: &mut Criterion) {
    at_place::<OPAQUE, 1, 1>(criterion);
}

fn at_several_places<const OPAQUE: bool>(criterion: &mut Criterion) {
    at_place::<OPAQUE, 3, 1>(criterion);
    at_place::<OPAQUE, 3, 2>(criterion);
    at_place::<OPAQUE, 3, 3>(criterion);
}

/// Each instance of this function is a place of its own.
fn at_place<const OPAQUE: bool, const PLACES: usize, const PLACE: usize>(criterion: &mut Criterion) {
    let kind = if OPAQUE { "opaque" } else { "seen through" };
    let place = if PLACES == 1 { "the only place".to_owned() } else { format!("place {PLACE} of {PLACES}") };
    let tuples: [(u32, Measure); 2] = [(2, two::<OPAQUE, PLACES, PLACE>), (5, five::<OPAQUE, PLACES, PLACE>)];
    for (case, polls) in [("ready", 0), ("yields once", 1)] {
        for (count, measure) in tuples {
            let mut group = criterion.benchmark_group(format!("tuple of {count}, {case}, {kind}, {place}"));
            group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(600));
            measure(&mut group, polls);
            group.finish();
        }
    }
}

fn two<const OPAQUE: bool, const PLACES: usize, const PLACE: usize>(group: &mut Group<'_>, polls: u32) {
    let child = |polls, value| Yields::<OPAQUE, PLACES> { polls: black_box(polls), value };
    group.bench_function("gather", |b| b.iter(|| run(gather((child(polls, 1), child(polls, 2))))));
    group.bench_function("futures::try_join!", |b| {
        b.iter(|| run(async { futures::try_join!(child(polls, 1), child(polls, 2)) }))
    });
    group.bench_function("futures::future::try_join", |b| {
        b.iter(|| run(futures::future::try_join(child(polls, 1), child(polls, 2))))
    });
    if PLACES > 1 {
        return;
    }
    group.bench_function("tokio::try_join!", |b| {
        b.iter(|| run(async { tokio::try_join!(child(polls, 1), child(polls, 2)) }))
    });
    group.bench_function("futures_lite::future::try_zip", |b| {
        b.iter(|| run(futures_lite::future::try_zip(child(polls, 1), child(polls, 2))))
    });
    group.bench_function("embassy_futures::join (waits for all)", |b| {
        b.iter(|| run(embassy_futures::join::join(child(polls, 1), child(polls, 2))))
    });
}

fn five<const OPAQUE: bool, const PLACES: usize, const PLACE: usize>(group: &mut Group<'_>, polls: u32) {
    let child = |polls, value| Yields::<OPAQUE, PLACES> { polls: black_box(polls), value };
    group.bench_function("gather", |b| {
        b.iter(|| run(gather((child(polls, 1), child(polls, 2), child(polls, 3), child(polls, 4), child(polls, 5)))))
    });
    group.bench_function("futures::try_join!", |b| {
        b.iter(|| {
            run(async {
                futures::try_join!(child(polls, 1), child(polls, 2), child(polls, 3), child(polls, 4), child(polls, 5))
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
    if PLACES > 1 {
        return;
    }
    group.bench_function("tokio::try_join!", |b| {
        b.iter(|| {
            run(async {
                tokio::try_join!(child(polls, 1), child(polls, 2), child(polls, 3), child(polls, 4), child(polls, 5))
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
}

criterion_group!(benches, at_one_place<false>, at_one_place<true>, at_several_places<false>, at_several_places<true>);
criterion_main!(benches);
