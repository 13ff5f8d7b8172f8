//! Many children: a `Vec` of 1 to 100 000, and arrays, beside the peers. The unit is the time for one child.
//!
//! | case | what is measured |
//! |---|---|
//! | ready, yields once | all of it: making the `Vec` of children, the future over it, polling it to its end, dropping the result |
//! | made and dropped unpolled | likewise, without a poll |
//! | one wake at a time | the wakes, the polls after each, and the end; all children were polled once before |
//! | all woken at once | likewise, but all are woken before the next poll |
//! | woken from another thread | likewise, but another thread wakes them while this one polls when it is woken |
//! | one fails among n pending | all of it: making them, the first poll, the failure, and until the last child is dropped |
//! | one fails, from the failure on | the last part of it: one wake, the poll after it, and until the last child is dropped |
//!
//! `bare loop` is what no combinator can beat: it polls each child in order, as often as it takes, and keeps the outputs.
//! A peer that looks at every child in each poll is left out of `one wake at a time` above 10 000 children: a run would
//! take minutes. Each is driven by the same loop without an executor; but a `JoinSet` cannot be, it has its runtime, and
//! where children are dropped waits with `shutdown` until they are, as `gather` does.

mod peers;

use std::cell::Cell;
use std::hint::{black_box, spin_loop};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::task::AtomicWaker;
use futures_concurrency::future::TryJoin as _;
use gather::gather;
use peers::{
    JOIN_SET, Output, Outputs, Peer, Yields, drain, run, runtime, scattered, spawn, with_each_peer, yielding, yields,
};

type Group<'a> = BenchmarkGroup<'a, WallTime>;

const BARE_LOOP: &str = "bare loop";
const ALL_SIZES: &[usize] = &[1, 2, 10, 30, 31, 64, 256, 1000, 10_000, 100_000];
const SOME_SIZES: &[usize] = &[2, 10, 30, 64, 1000, 10_000, 100_000];
const MOST_TO_SCAN: usize = 10_000;

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> Group<'a> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(600));
    group
}

// ---- children that wake themselves ----

fn self_driven(criterion: &mut Criterion) {
    for (case, polls) in [("Vec, ready", 0), ("Vec, yields once", 1)] {
        let mut group = group(criterion, case);
        for &n in ALL_SIZES {
            group.throughput(Throughput::Elements(n as u64));
            with_each_peer!(self_driven_peer(&mut group, n, polls));

            let runtime = runtime();
            group.bench_function(BenchmarkId::new(JOIN_SET, n), |b| {
                b.iter(|| runtime.block_on(async { drain(spawn(yielding(n, polls))).await }))
            });
            group.bench_function(BenchmarkId::new(BARE_LOOP, n), |b| {
                b.iter(|| bare_loop(&mut yielding(n, polls), polls))
            });
        }
        group.finish();
    }
}

fn self_driven_peer<P: Peer>(group: &mut Group<'_>, n: usize, polls: u32) {
    group.bench_function(BenchmarkId::new(P::NAME, n), |b| b.iter(|| run(P::join(yielding(n, polls)))));
}

fn bare_loop(children: &mut [Yields], polls: u32) -> Outputs {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        for child in &mut *children {
            assert!(Pin::new(child).poll(&mut cx).is_pending());
        }
    }
    let mut outputs = Vec::with_capacity(children.len());
    for child in children {
        match Pin::new(child).poll(&mut cx) {
            Poll::Ready(output) => outputs.push(output?),
            Poll::Pending => unreachable!("it was polled often enough"),
        }
    }
    Ok(outputs)
}

fn dropped_unpolled(criterion: &mut Criterion) {
    let mut group = group(criterion, "Vec, made and dropped unpolled");
    for &n in &[10, 64, 1000, 100_000] {
        group.throughput(Throughput::Elements(n as u64));
        with_each_peer!(dropped_unpolled_peer(&mut group, n));

        let runtime = runtime();
        group.bench_function(BenchmarkId::new(JOIN_SET, n), |b| {
            b.iter(|| runtime.block_on(async { spawn(yielding(n, 1)).shutdown().await }))
        });
    }
    group.finish();
}

fn dropped_unpolled_peer<P: Peer>(group: &mut Group<'_>, n: usize) {
    group.bench_function(BenchmarkId::new(P::NAME, n), |b| b.iter(|| drop(black_box(P::join(yielding(n, 1))))));
}

// ---- children that are woken by hand ----

/// What a child waits for.
#[derive(Default)]
struct Slot {
    state: Cell<State>,
    waker: Cell<Option<Waker>>,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Closed,
    Open,
    Failing,
}

thread_local! {
    // The children find their slots here, so that they are `Send` for the `JoinSet` and yet need no lock.
    static SLOTS: Cell<&'static [Slot]> = const { Cell::new(&[]) };
}

/// Closes so many slots; the first call makes them.
fn close_slots(count: usize) {
    if SLOTS.get().len() < count {
        SLOTS.set(Vec::leak((0..count).map(|_| Slot::default()).collect()));
    }
    for slot in &SLOTS.get()[..count] {
        slot.state.set(State::Closed);
    }
}

fn open(slot: usize, state: State) {
    let slot = &SLOTS.get()[slot];
    slot.state.set(state);
    if let Some(waker) = slot.waker.take() {
        waker.wake();
    }
}

/// Waits for its slot; gives its waker up when it is dropped, as a child that waits for a timer or a channel does.
struct Gated {
    slot: usize,
}

impl Gated {
    #[inline(never)]
    fn step(&self, cx: &mut Context<'_>) -> Poll<Output> {
        let slot = &SLOTS.get()[self.slot];
        match slot.state.get() {
            State::Closed => {
                let waker = slot.waker.take().filter(|waker| waker.will_wake(cx.waker()));
                slot.waker.set(Some(waker.unwrap_or_else(|| cx.waker().clone())));
                Poll::Pending
            }
            State::Open => Poll::Ready(Ok(self.slot as u64)),
            State::Failing => Poll::Ready(Err(self.slot as u64)),
        }
    }
}

impl Future for Gated {
    type Output = Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        self.step(cx)
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        SLOTS.get()[self.slot].waker.take();
    }
}

fn gated(first: usize, count: usize) -> Vec<Gated> {
    (first..first + count).map(|slot| Gated { slot }).collect()
}

/// Polls when it was woken, and no more often.
struct Driver {
    flag: Arc<Flag>,
    waker: Waker,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Driver {
    fn new() -> Self {
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        Driver { waker: flag.clone().into(), flag }
    }

    /// Polls for the first time.
    fn start<F: Future>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        self.flag.0.store(true, Ordering::Relaxed);
        self.go_on(future)
    }

    /// Polls as long as it is woken, by this thread.
    #[inline(always)]
    fn go_on<F: Future>(&self, mut future: Pin<&mut F>) -> Poll<F::Output> {
        while self.flag.0.load(Ordering::Relaxed) {
            self.flag.0.store(false, Ordering::Relaxed);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                return Poll::Ready(output);
            }
        }
        Poll::Pending
    }

    /// Polls to the end, when it is woken by another thread.
    fn finish<F: Future>(&self, mut future: Pin<&mut F>) -> F::Output {
        loop {
            wait_until(|| self.flag.0.swap(false, Ordering::AcqRel));
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                return output;
            }
        }
    }
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let mut spins = 0_u32;
    while !is_so() {
        spins += 1;
        if spins.is_multiple_of(256) { thread::yield_now() } else { spin_loop() }
    }
}

/// The gathers that are made before the clock starts: so many that what the clock takes for itself does not count.
fn fleet(n: usize, left: u64) -> usize {
    (1024 / n).clamp(1, left as usize)
}

/// What happens to a gather whose children are all pending.
trait Event {
    const CASE: &str;
    const SIZES: &[usize];
    /// Whether each child is polled by itself.
    const SINGLY: bool = false;

    /// Everything from the first wake until no child is left. The gather's slots are those from `first` on.
    fn happen<F: Future<Output = Outputs>>(&self, driver: &Driver, first: usize, gather: Pin<Box<F>>);

    /// The same with a set of tasks.
    async fn happen_to_tasks(&self, first: usize, set: tokio::task::JoinSet<Output>);
}

struct OneByOne {
    order: Vec<usize>,
}

impl Event for OneByOne {
    const CASE: &str = "Vec, one wake at a time";
    const SIZES: &[usize] = ALL_SIZES;
    const SINGLY: bool = true;

    fn happen<F: Future<Output = Outputs>>(&self, driver: &Driver, first: usize, mut gather: Pin<Box<F>>) {
        let mut polled = Poll::Pending;
        for slot in &self.order {
            open(first + slot, State::Open);
            polled = driver.go_on(gather.as_mut());
        }
        assert!(polled.is_ready());
    }

    async fn happen_to_tasks(&self, first: usize, mut set: tokio::task::JoinSet<Output>) {
        let mut outputs = Vec::with_capacity(set.len());
        for slot in &self.order {
            open(first + slot, State::Open);
            let output = set.join_next().await.expect("a task for each slot");
            outputs.push(output.expect("no child panics"));
        }
        assert!(set.is_empty());
    }
}

struct AllAtOnce {
    order: Vec<usize>,
}

impl Event for AllAtOnce {
    const CASE: &str = "Vec, all woken at once";
    const SIZES: &[usize] = SOME_SIZES;

    fn happen<F: Future<Output = Outputs>>(&self, driver: &Driver, first: usize, mut gather: Pin<Box<F>>) {
        for slot in &self.order {
            open(first + slot, State::Open);
        }
        assert!(driver.go_on(gather.as_mut()).is_ready());
    }

    async fn happen_to_tasks(&self, first: usize, set: tokio::task::JoinSet<Output>) {
        for slot in &self.order {
            open(first + slot, State::Open);
        }
        assert!(drain(set).await.is_ok());
    }
}

struct OneFails {
    /// The first: above 30 children `futures::try_join_all` sees the failure of a later one only when all before it have
    /// ended.
    slot: usize,
}

impl Event for OneFails {
    const CASE: &str = "Vec, one fails, from the failure on";
    const SIZES: &[usize] = SOME_SIZES;

    fn happen<F: Future<Output = Outputs>>(&self, driver: &Driver, first: usize, mut gather: Pin<Box<F>>) {
        open(first + self.slot, State::Failing);
        assert!(matches!(driver.go_on(gather.as_mut()), Poll::Ready(Err(_))));
    }

    async fn happen_to_tasks(&self, first: usize, mut set: tokio::task::JoinSet<Output>) {
        open(first + self.slot, State::Failing);
        assert!(matches!(set.join_next().await, Some(Ok(Err(_)))));
        set.shutdown().await;
    }
}

fn woken_by_hand<E: Event>(criterion: &mut Criterion, event: impl Fn(usize) -> E) {
    let mut group = group(criterion, E::CASE);
    for &n in E::SIZES {
        let event = event(n);
        group.throughput(Throughput::Elements(n as u64));
        let may_scan = !E::SINGLY || n <= MOST_TO_SCAN;
        with_each_peer!(woken_by_hand_peer(&mut group, n, &event, may_scan));

        let runtime = runtime();
        group.bench_function(BenchmarkId::new(JOIN_SET, n), |b| {
            b.iter_custom(|iterations| runtime.block_on(time_tasks(iterations, n, &event)))
        });
    }
    group.finish();
}

fn woken_by_hand_peer<P: Peer>(group: &mut Group<'_>, n: usize, event: &impl Event, may_scan: bool) {
    if P::SCANS && !may_scan {
        println!("{}, {n}: left out, it looks at every child in each poll", P::NAME);
        return;
    }
    group.bench_function(BenchmarkId::new(P::NAME, n), |b| b.iter_custom(|iterations| time::<P>(iterations, n, event)));
}

fn time<P: Peer>(iterations: u64, n: usize, event: &impl Event) -> Duration {
    let driver = Driver::new();
    let mut elapsed = Duration::ZERO;
    let mut left = iterations;
    while left > 0 {
        let size = fleet(n, left);
        close_slots(size * n);
        let mut gathers: Vec<_> = (0..size).map(|number| Box::pin(P::join(gated(number * n, n)))).collect();
        for gather in &mut gathers {
            assert!(driver.start(gather.as_mut()).is_pending());
        }
        let start = Instant::now();
        for (number, gather) in gathers.into_iter().enumerate() {
            event.happen(&driver, number * n, gather);
        }
        elapsed += start.elapsed();
        left -= size as u64;
    }
    elapsed
}

async fn time_tasks(iterations: u64, n: usize, event: &impl Event) -> Duration {
    let mut elapsed = Duration::ZERO;
    let mut left = iterations;
    while left > 0 {
        let size = fleet(n, left);
        close_slots(size * n);
        let sets: Vec<_> = (0..size).map(|number| spawn(gated(number * n, n))).collect();
        while SLOTS.get()[..size * n].iter().any(is_free) {
            tokio::task::yield_now().await;
        }
        let start = Instant::now();
        for (number, set) in sets.into_iter().enumerate() {
            event.happen_to_tasks(number * n, set).await;
        }
        elapsed += start.elapsed();
        left -= size as u64;
    }
    elapsed
}

/// As [`OneFails`], from the beginning.
fn one_fails(criterion: &mut Criterion) {
    let mut group = group(criterion, "Vec, one fails among n pending");
    let event = OneFails { slot: 0 };
    for &n in SOME_SIZES {
        group.throughput(Throughput::Elements(n as u64));
        close_slots(n);
        with_each_peer!(one_fails_peer(&mut group, n, &event));

        let runtime = runtime();
        group.bench_function(BenchmarkId::new(JOIN_SET, n), |b| {
            b.iter(|| {
                close_slots(1);
                runtime.block_on(async {
                    let set = spawn(gated(0, n));
                    while is_free(&SLOTS.get()[n - 1]) {
                        tokio::task::yield_now().await;
                    }
                    event.happen_to_tasks(0, set).await;
                })
            })
        });
    }
    group.finish();
}

fn one_fails_peer<P: Peer>(group: &mut Group<'_>, n: usize, event: &OneFails) {
    let driver = Driver::new();
    group.bench_function(BenchmarkId::new(P::NAME, n), |b| {
        b.iter(|| {
            close_slots(1);
            let mut gather = Box::pin(P::join(gated(0, n)));
            assert!(driver.start(gather.as_mut()).is_pending());
            event.happen(&driver, 0, gather);
        })
    });
}

/// Whether nothing waits for it.
fn is_free(slot: &Slot) -> bool {
    let waker = slot.waker.take();
    let is_free = waker.is_none();
    slot.waker.set(waker);
    is_free
}

// ---- children that are woken by another thread ----

/// As [`Slot`], for two threads.
#[derive(Default)]
struct SharedSlot {
    is_open: AtomicBool,
    waker: AtomicWaker,
}

struct GatedByThread {
    slot: &'static SharedSlot,
}

impl Future for GatedByThread {
    type Output = Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        self.slot.waker.register(cx.waker());
        if self.slot.is_open.load(Ordering::Acquire) { Poll::Ready(Ok(0)) } else { Poll::Pending }
    }
}

/// Slots, and the thread that opens them all whenever it is told. It ends with the last round.
struct Opener {
    slots: &'static [SharedSlot],
    order: Vec<usize>,
    begun: AtomicUsize,
    ended: AtomicUsize,
}

impl Opener {
    fn new(n: usize) -> Self {
        let slots = Vec::leak((0..n).map(|_| SharedSlot::default()).collect());
        Opener { slots, order: scattered(n), begun: AtomicUsize::new(0), ended: AtomicUsize::new(0) }
    }

    fn children(&self) -> Vec<GatedByThread> {
        self.slots.iter().map(|slot| GatedByThread { slot }).collect()
    }

    fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Release);
    }

    /// Closes the slots again, once the thread has left them.
    fn reset(&self) {
        wait_until(|| self.ended.load(Ordering::Acquire) == self.begun.load(Ordering::Relaxed));
        for slot in self.slots {
            slot.is_open.store(false, Ordering::Relaxed);
        }
    }

    /// Calls `measure` beside the thread, which has so many rounds.
    fn with_thread(&self, rounds: u64, measure: impl FnOnce() -> Duration) -> Duration {
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..rounds {
                    let round = self.ended.load(Ordering::Relaxed) + 1;
                    wait_until(|| self.begun.load(Ordering::Acquire) == round);
                    for &slot in &self.order {
                        self.slots[slot].is_open.store(true, Ordering::Release);
                        self.slots[slot].waker.wake();
                    }
                    self.ended.store(round, Ordering::Release);
                }
            });
            measure()
        })
    }
}

fn woken_by_thread(criterion: &mut Criterion) {
    let mut group = group(criterion, "Vec, woken from another thread");
    for &n in &[10, 64, 1000] {
        group.throughput(Throughput::Elements(n as u64));
        let opener = Opener::new(n);
        with_each_peer!(woken_by_thread_peer(&mut group, n, &opener));

        let runtime = runtime();
        group.bench_function(BenchmarkId::new(JOIN_SET, n), |b| {
            b.iter_custom(|iterations| {
                opener.with_thread(iterations, || {
                    runtime.block_on(async {
                        let mut elapsed = Duration::ZERO;
                        for _ in 0..iterations {
                            opener.reset();
                            let set = spawn(opener.children());
                            tokio::task::yield_now().await;
                            let start = Instant::now();
                            opener.begin();
                            assert!(drain(set).await.is_ok());
                            elapsed += start.elapsed();
                        }
                        elapsed
                    })
                })
            })
        });
    }
    group.finish();
}

fn woken_by_thread_peer<P: Peer>(group: &mut Group<'_>, n: usize, opener: &Opener) {
    group.bench_function(BenchmarkId::new(P::NAME, n), |b| {
        b.iter_custom(|iterations| {
            opener.with_thread(iterations, || {
                let driver = Driver::new();
                let mut elapsed = Duration::ZERO;
                for _ in 0..iterations {
                    opener.reset();
                    let mut gather = Box::pin(P::join(opener.children()));
                    assert!(driver.start(gather.as_mut()).is_pending());
                    let start = Instant::now();
                    opener.begin();
                    assert!(driver.finish(gather.as_mut()).is_ok());
                    drop(gather);
                    elapsed += start.elapsed();
                }
                elapsed
            })
        })
    });
}

// ---- arrays ----

fn arrays(criterion: &mut Criterion) {
    array::<2>(criterion);
    array::<10>(criterion);
    array::<30>(criterion);
}

fn array<const N: usize>(criterion: &mut Criterion) {
    let children = |polls| -> [Yields; N] { std::array::from_fn(|value| yields(polls, value as u64)) };
    for (case, polls) in [("array, ready", 0), ("array, yields once", 1)] {
        let mut group = group(criterion, case);
        group.throughput(Throughput::Elements(N as u64));
        group.bench_function(BenchmarkId::new("gather", N), |b| b.iter(|| run(gather(children(polls)).into_future())));
        group.bench_function(BenchmarkId::new("futures_concurrency::TryJoin", N), |b| {
            b.iter(|| run(children(polls).try_join()))
        });
        group.bench_function(BenchmarkId::new("embassy_futures::join_array", N), |b| {
            b.iter(|| run(embassy_futures::join::join_array(children(polls))))
        });
        group.bench_function(BenchmarkId::new(BARE_LOOP, N), |b| {
            b.iter(|| bare_loop_array(&mut children(polls), polls))
        });
        group.finish();
    }
}

fn bare_loop_array<const N: usize>(children: &mut [Yields; N], polls: u32) -> Result<[u64; N], u64> {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        for child in &mut *children {
            assert!(Pin::new(child).poll(&mut cx).is_pending());
        }
    }
    let mut outputs = [0; N];
    for (child, output) in children.iter_mut().zip(&mut outputs) {
        match Pin::new(child).poll(&mut cx) {
            Poll::Ready(value) => *output = value?,
            Poll::Pending => unreachable!("it was polled often enough"),
        }
    }
    Ok(outputs)
}

fn events(criterion: &mut Criterion) {
    woken_by_hand(criterion, |n| OneByOne { order: scattered(n) });
    woken_by_hand(criterion, |n| AllAtOnce { order: scattered(n) });
    woken_by_hand(criterion, |_| OneFails { slot: 0 });
}

criterion_group!(benches, self_driven, events, one_fails, woken_by_thread, dropped_unpolled, arrays);
criterion_main!(benches);
