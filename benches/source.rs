//! Children that come while others run, from a source, beside the peers. Each child is 16 bytes large and returns
//! `Result<(), ()>`. The unit is the time for one child.
//!
//! | case | what is measured |
//! |---|---|
//! | a window of 16, of 1000 | 200 000 children, so many at a time, each of which is pending once and wakes itself |
//! | waiting | so many children wait, each in its place; they are woken from outside one by one, in an order of its own, each wake with the poll after it |
//! | fill and drain | so many children are drawn, polled and pending; then all are woken, polled and gone |
//!
//! A set is filled up to the window again after each child that has ended, as its docs show it.

#[expect(dead_code, unused_imports, unused_macros, reason = "what only the other benchmarks need")]
mod peers;

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use futures_buffered::BufferedStreamExt as _;
use futures_concurrency::concurrent_stream::ConcurrentStream as _;
use futures_concurrency::stream::StreamExt as _;
use gather::{from_iter, gather};
use peers::{JOIN_SET, WAKER, run, runtime, scattered};

type Group<'a> = BenchmarkGroup<'a, WallTime>;

const CHILDREN: u64 = 200_000;

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> Group<'a> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(400));
    group
}

/// Pending once.
struct Once {
    polls: u32,
    value: u64,
}

impl Once {
    #[inline(never)]
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        if self.polls == 0 {
            return Poll::Ready(if self.value == u64::MAX { Err(()) } else { Ok(()) });
        }
        self.polls -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Future for Once {
    type Output = Result<(), ()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.step(cx)
    }
}

fn children() -> impl Iterator<Item = Once> + Send {
    (0..CHILDREN).map(|value| Once { polls: 1, value })
}

// ---- what can be filled while it runs ----

trait Set<C>: Unpin {
    const NAME: &str;

    fn new(capacity: usize) -> Self;
    fn add(&mut self, child: C);
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(), ()>>>;
}

macro_rules! impl_set {
    ($($type:ty, $name:literal, |$capacity:ident| $new:expr, |$set:ident, $child:ident| $push:expr;)+) => {$(
        impl<C: Future<Output = Result<(), ()>> + Unpin> Set<C> for $type {
            const NAME: &str = $name;

            fn new($capacity: usize) -> Self {
                $new
            }

            fn add(&mut self, $child: C) {
                let $set = self;
                $push;
            }

            fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(), ()>>> {
                Stream::poll_next(Pin::new(self), cx)
            }
        }
    )+};
}

impl_set! {
    futures::stream::FuturesUnordered<C>, "futures::FuturesUnordered", |_capacity| Self::new(), |set, child| set.push(child);
    futures_buffered::FuturesUnorderedBounded<C>, "futures_buffered::FuturesUnorderedBounded", |capacity| Self::new(capacity), |set, child| set.push(child);
    futures_buffered::FuturesUnordered<C>, "futures_buffered::FuturesUnordered", |_capacity| Self::new(), |set, child| set.push(child);
    futures_concurrency::future::FutureGroup<C>, "futures_concurrency::FutureGroup", |capacity| Self::with_capacity(capacity), |set, child| set.insert(child);
    unicycle::FuturesUnordered<C>, "unicycle::FuturesUnordered", |_capacity| Self::new(), |set, child| set.push(child);
}

/// Calls a function with each set for its first type parameter.
macro_rules! with_each_set {
    ($child:ty, $function:ident($($argument:expr),*)) => {
        $function::<futures::stream::FuturesUnordered<$child>>($($argument),*);
        $function::<futures_buffered::FuturesUnorderedBounded<$child>>($($argument),*);
        $function::<futures_buffered::FuturesUnordered<$child>>($($argument),*);
        $function::<futures_concurrency::future::FutureGroup<$child>>($($argument),*);
        $function::<unicycle::FuturesUnordered<$child>>($($argument),*);
    };
}

// ---- a window ----

fn window(criterion: &mut Criterion) {
    for limit in [16, 1000] {
        let mut group = group(criterion, &format!("source, a window of {limit}"));
        group.throughput(Throughput::Elements(CHILDREN));
        group.bench_function("gather", |b| {
            b.iter(|| assert!(run(gather(from_iter(children())).concurrency(limit).into_future()).is_ok()))
        });
        with_each_set!(Once, window_of_set(&mut group, limit));
        group.bench_function("futures::buffer_unordered", |b| {
            b.iter(|| {
                let mut outputs = stream::iter(children()).buffer_unordered(limit);
                run(async { while let Some(Ok(())) = outputs.next().await {} })
            })
        });
        group.bench_function("futures_buffered::buffered_unordered", |b| {
            b.iter(|| {
                let mut outputs = stream::iter(children()).buffered_unordered(limit);
                run(async { while let Some(Ok(())) = outputs.next().await {} })
            })
        });
        group.bench_function("futures::try_for_each_concurrent", |b| {
            b.iter(|| run(stream::iter(children()).map(Ok).try_for_each_concurrent(limit, |child| child)))
        });
        // Takes time by the square of the window.
        if limit <= 16 {
            group.bench_function("futures_concurrency::ConcurrentStream", |b| {
                b.iter(|| {
                    let limit = std::num::NonZeroUsize::new(limit);
                    run(stream::iter(children()).co().limit(limit).try_for_each(|child| child))
                })
            });
        }
        let runtime = runtime();
        group.bench_function(JOIN_SET, |b| {
            b.iter(|| {
                runtime.block_on(async {
                    let mut set = tokio::task::JoinSet::new();
                    let mut children = children();
                    loop {
                        while set.len() < limit {
                            let Some(child) = children.next() else { break };
                            set.spawn(child);
                        }
                        if set.join_next().await.is_none() {
                            break;
                        }
                    }
                })
            })
        });
        group.finish();
    }
}

fn window_of_set<S: Set<Once>>(group: &mut Group<'_>, limit: usize) {
    group.bench_function(S::NAME, |b| {
        b.iter(|| {
            let (mut set, mut running, mut children) = (S::new(limit), 0, children());
            run(async move {
                loop {
                    while running < limit {
                        let Some(child) = children.next() else { break };
                        set.add(child);
                        running += 1;
                    }
                    if running == 0 {
                        break;
                    }
                    assert_eq!(poll_fn(|cx| set.poll_output(cx)).await, Some(Ok(())));
                    running -= 1;
                }
            })
        })
    });
}

// ---- children that wait ----

/// What a child waits for.
#[derive(Default)]
struct Slot {
    is_open: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

/// Gives its waker up when it is dropped, as a child that waits for a timer or a channel does.
struct Waits {
    slot: &'static Slot,
    _value: u64,
}

impl Waits {
    #[inline(never)]
    fn step(&self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        let Waits { slot, .. } = self;
        if slot.is_open.get() {
            return Poll::Ready(Ok(()));
        }
        let waker = slot.waker.take().filter(|waker| waker.will_wake(cx.waker()));
        slot.waker.set(Some(waker.unwrap_or_else(|| cx.waker().clone())));
        Poll::Pending
    }
}

impl Future for Waits {
    type Output = Result<(), ()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.step(cx)
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.slot.waker.take();
    }
}

thread_local! {
    static SLOTS: Cell<&'static [Slot]> = const { Cell::new(&[]) };
}

/// So many, all closed. The first call makes them.
fn slots(count: usize) -> &'static [Slot] {
    if SLOTS.get().len() < count {
        SLOTS.set(Vec::leak((0..count).map(|_| Slot::default()).collect()));
    }
    let slots = &SLOTS.get()[..count];
    slots.iter().for_each(|slot| slot.is_open.set(false));
    slots
}

impl Slot {
    fn open(&self) {
        self.is_open.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

struct Ours<F>(Pin<Box<F>>);

impl<F: Future<Output = Result<Vec<()>, ()>>> Ours<F> {
    /// Polls once. Whether no child is left.
    fn poll(&mut self) -> bool {
        WAKER.with(|waker| self.0.as_mut().poll(&mut Context::from_waker(waker)).is_ready())
    }
}

struct OfSet<S> {
    set: S,
    left: usize,
}

impl<S: Set<Waits>> OfSet<S> {
    fn new(slots: &'static [Slot]) -> Self {
        let mut set = S::new(slots.len());
        slots.iter().for_each(|slot| set.add(Waits { slot, _value: 0 }));
        OfSet { set, left: slots.len() }
    }

    fn poll(&mut self) -> bool {
        WAKER.with(|waker| {
            while let Poll::Ready(Some(_)) = self.set.poll_output(&mut Context::from_waker(waker)) {
                self.left -= 1;
            }
            self.left == 0
        })
    }
}

fn measure(n: usize, iterations: u64, run: impl Fn(&'static [Slot], &[usize]) -> Duration) -> Duration {
    let order = scattered(n);
    (0..iterations).map(|_| run(slots(n), &order)).sum()
}

/// Polls until all have been polled: a group draws 64 in a poll.
fn fill(slots: &[Slot], poll: &mut impl FnMut() -> bool) {
    let last = &slots[slots.len() - 1];
    loop {
        assert!(!poll());
        let waker = last.waker.take();
        let is_full = waker.is_some();
        last.waker.set(waker);
        if is_full {
            return;
        }
    }
}

/// Wakes them one by one, with a poll after each.
fn one_by_one(slots: &[Slot], order: &[usize], mut poll: impl FnMut() -> bool) -> Duration {
    fill(slots, &mut poll);
    let start = Instant::now();
    let mut has_ended = false;
    for at in order {
        slots[*at].open();
        has_ended = poll();
    }
    assert!(has_ended);
    start.elapsed()
}

/// Has them drawn and polled, wakes them all, and polls them to their end.
fn at_once(slots: &[Slot], order: &[usize], start: Instant, mut poll: impl FnMut() -> bool) -> Duration {
    fill(slots, &mut poll);
    for at in order {
        slots[*at].open();
    }
    while !poll() {}
    start.elapsed()
}

fn ours(slots: &'static [Slot]) -> Ours<impl Future<Output = Result<Vec<()>, ()>>> {
    Ours(Box::pin(gather(from_iter(slots.iter().map(|slot| Waits { slot, _value: 0 }))).into_future()))
}

fn waiting(criterion: &mut Criterion) {
    for n in [1000, 100_000] {
        let mut group = group(criterion, "source, waiting");
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(BenchmarkId::new("gather", n), |b| {
            b.iter_custom(|iterations| {
                measure(n, iterations, |slots, order| {
                    let mut ours = ours(slots);
                    one_by_one(slots, order, || ours.poll())
                })
            })
        });
        with_each_set!(Waits, waiting_in_set(&mut group, n));
        group.finish();
    }
}

fn waiting_in_set<S: Set<Waits>>(group: &mut Group<'_>, n: usize) {
    group.bench_function(BenchmarkId::new(S::NAME, n), |b| {
        b.iter_custom(|iterations| {
            measure(n, iterations, |slots, order| {
                let mut set = OfSet::<S>::new(slots);
                one_by_one(slots, order, || set.poll())
            })
        })
    });
}

fn fill_and_drain(criterion: &mut Criterion) {
    for n in [1000, 100_000] {
        let mut group = group(criterion, "source, fill and drain");
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(BenchmarkId::new("gather", n), |b| {
            b.iter_custom(|iterations| {
                measure(n, iterations, |slots, order| {
                    let start = Instant::now();
                    let mut ours = ours(slots);
                    at_once(slots, order, start, || ours.poll())
                })
            })
        });
        with_each_set!(Waits, drained_set(&mut group, n));
        group.finish();
    }
}

fn drained_set<S: Set<Waits>>(group: &mut Group<'_>, n: usize) {
    group.bench_function(BenchmarkId::new(S::NAME, n), |b| {
        b.iter_custom(|iterations| {
            measure(n, iterations, |slots, order| {
                let start = Instant::now();
                let mut set = OfSet::<S>::new(slots);
                at_once(slots, order, start, || set.poll())
            })
        })
    });
}

criterion_group!(benches, window, waiting, fill_and_drain);
criterion_main!(benches);
