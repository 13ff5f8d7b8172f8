//! Children that wait for oneshot channels and tasks of tokio, within a runtime of tokio, beside the peers. The unit is
//! the time for one child.
//!
//! Tokio allows a task 128 operations in one poll. When they are used up, every other channel, handle and timer is
//! pending, even if it is ready, and the task is polled again soon. So of many children that are ready together at most
//! 128 end in one poll, and a combinator that polls all the others too, in each of these polls, does quadratic work. So
//! the benchmark also prints how often each peer polls a child, counted in one run before the figures are taken.
//!
//! | case | what is measured |
//! |---|---|
//! | oneshots, sent before | making the future over receivers whose values are there, all polls, dropping the result |
//! | oneshots, sent after a poll | sending all values, and all polls after that; the future was polled once before |
//! | handles, ended before | like the first, over handles of tasks that have ended |
//! | handles | all of it: spawning tasks that are ready at once, and waiting for all of them, on one thread |
//! | handles, two workers | the same, with the tasks on two other threads |
//!
//! `bare loop` awaits one child after the other, which is enough where none fails. A `JoinSet` holds the tasks
//! themselves in place of their handles; for the receivers, it holds tasks that await them. Each run is a `block_on` of
//! its own and begins with a full budget.

#[expect(dead_code, reason = "what only the other benchmarks need")]
mod peers;

use std::cell::Cell;
use std::fmt::Write as _;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::future::poll_fn;
use peers::{JOIN_SET, Output, Outputs, Peer, drain, runtime, spawn, with_each_peer};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet, yield_now};

const BARE_LOOP: &str = "bare loop";
const SIZES: &[usize] = &[100, 1000, 10_000, 40_000];
/// A peer whose first run takes longer is not measured further.
const LONGEST_RUN: Duration = Duration::from_millis(150);

// ---- the children ----

/// Waits for a value that is sent to it.
struct Received(oneshot::Receiver<u64>);

impl Future for Received {
    type Output = Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        Poll::Ready(Ok(ready!(Pin::new(&mut self.0).poll(cx)).expect("every value is sent")))
    }
}

fn channels(n: usize) -> (Vec<oneshot::Sender<u64>>, Vec<Received>) {
    (0..n).map(|_| oneshot::channel()).map(|(sender, receiver)| (sender, Received(receiver))).unzip()
}

fn send_all(senders: Vec<oneshot::Sender<u64>>) {
    for (sender, value) in senders.into_iter().zip(0..) {
        sender.send(value).expect("every receiver is alive");
    }
}

/// Waits for a task.
struct Joined(JoinHandle<Output>);

impl Future for Joined {
    type Output = Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        Poll::Ready(ready!(Pin::new(&mut self.0).poll(cx)).expect("no task panics"))
    }
}

async fn task(value: usize) -> Output {
    Ok(value as u64)
}

fn handles(n: usize) -> Vec<Joined> {
    (0..n).map(|value| Joined(tokio::spawn(task(value)))).collect()
}

fn tasks(n: usize) -> JoinSet<Output> {
    spawn((0..n).map(task).collect())
}

// ---- what is measured, beside the peers of the other benchmarks ----

struct InOrder;

impl Peer for InOrder {
    const NAME: &str = BARE_LOOP;

    async fn join<C: Future<Output = Output>>(children: Vec<C>) -> Outputs {
        let mut outputs = Vec::with_capacity(children.len());
        for child in children {
            outputs.push(child.await?);
        }
        Ok(outputs)
    }
}

/// A peer, whose polls of children are counted.
struct Counting<P>(PhantomData<P>);

impl<P: Peer> Peer for Counting<P> {
    const NAME: &str = P::NAME;

    fn join<C: Future<Output = Output>>(children: Vec<C>) -> impl Future<Output = Outputs> {
        P::join(children.into_iter().map(counting).collect())
    }
}

thread_local! {
    static POLLS: Cell<u64> = const { Cell::new(0) };
}

async fn counting<C: Future>(child: C) -> C::Output {
    let mut child = pin!(child);
    poll_fn(|cx| {
        POLLS.set(POLLS.get() + 1);
        child.as_mut().poll(cx)
    })
    .await
}

// ---- the cases ----

trait Case {
    const NAME: &str;

    fn runtime(&self) -> Runtime {
        runtime()
    }

    /// One run, within the runtime. How long what is measured took.
    async fn time<P: Peer>(&self, n: usize) -> Duration;

    /// The same with a set of tasks.
    async fn time_tasks(&self, n: usize) -> Duration;
}

/// From now until what `joining` ends with was dropped.
async fn time_of(joining: impl AsyncFnOnce() -> Outputs) -> Duration {
    let start = Instant::now();
    let outputs = joining().await;
    assert!(outputs.is_ok());
    drop(outputs);
    start.elapsed()
}

struct SentBefore;

impl Case for SentBefore {
    const NAME: &str = "under tokio, oneshots, sent before";

    async fn time<P: Peer>(&self, n: usize) -> Duration {
        let (senders, receivers) = channels(n);
        send_all(senders);
        time_of(async || P::join(receivers).await).await
    }

    async fn time_tasks(&self, n: usize) -> Duration {
        let (senders, receivers) = channels(n);
        send_all(senders);
        time_of(async || drain(spawn(receivers)).await).await
    }
}

struct SentLater;

impl Case for SentLater {
    const NAME: &str = "under tokio, oneshots, sent after a poll";

    async fn time<P: Peer>(&self, n: usize) -> Duration {
        let (senders, receivers) = channels(n);
        let mut gather = Box::pin(P::join(receivers));
        assert!(futures::poll!(gather.as_mut()).is_pending());
        yield_now().await;
        time_of(async || {
            send_all(senders);
            gather.await
        })
        .await
    }

    async fn time_tasks(&self, n: usize) -> Duration {
        let (senders, receivers) = channels(n);
        let set = spawn(receivers);
        // Tasks are polled in the order in which they were spawned, so this one ends when all of them were polled.
        tokio::spawn(async {}).await.expect("it does not panic");
        time_of(async || {
            send_all(senders);
            drain(set).await
        })
        .await
    }
}

struct EndedBefore;

impl Case for EndedBefore {
    const NAME: &str = "under tokio, handles, ended before";

    async fn time<P: Peer>(&self, n: usize) -> Duration {
        let handles = handles(n);
        while handles.iter().rev().any(|handle| !handle.0.is_finished()) {
            yield_now().await;
        }
        time_of(async || P::join(handles).await).await
    }

    async fn time_tasks(&self, n: usize) -> Duration {
        let mut set = JoinSet::new();
        let aborts: Vec<_> = (0..n).map(|value| set.spawn(task(value))).collect();
        while aborts.iter().rev().any(|abort| !abort.is_finished()) {
            yield_now().await;
        }
        time_of(async || drain(set).await).await
    }
}

struct Handles;

impl Case for Handles {
    const NAME: &str = "under tokio, handles";

    async fn time<P: Peer>(&self, n: usize) -> Duration {
        time_of(async || P::join(handles(n)).await).await
    }

    async fn time_tasks(&self, n: usize) -> Duration {
        time_of(async || drain(tasks(n)).await).await
    }
}

struct TwoWorkers;

impl Case for TwoWorkers {
    const NAME: &str = "under tokio, handles, two workers";

    fn runtime(&self) -> Runtime {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).build().expect("a runtime without drivers")
    }

    async fn time<P: Peer>(&self, n: usize) -> Duration {
        Handles.time::<P>(n).await
    }

    async fn time_tasks(&self, n: usize) -> Duration {
        Handles.time_tasks(n).await
    }
}

// ---- all of them ----

struct Group<'a> {
    criterion: BenchmarkGroup<'a, WallTime>,
    runtime: Runtime,
    n: usize,
    /// Polls of a child, as a row of Markdown.
    polls: String,
}

impl Group<'_> {
    /// Measures a peer, unless it takes too long.
    fn measure(&mut self, name: &str, first_run: Duration, time: impl Fn(&Runtime) -> Duration) {
        let Group { criterion, runtime, n, .. } = self;
        if first_run > LONGEST_RUN {
            println!("{name}, {n}: one run took {} ns a child, no more are made", first_run.as_nanos() / *n as u128);
            return;
        }
        criterion.bench_function(BenchmarkId::new(name, *n), |b| {
            b.iter_custom(|iterations| (0..iterations).map(|_| time(runtime)).sum())
        });
    }
}

fn case<C: Case>(criterion: &mut Criterion, case: C) {
    let mut group = criterion.benchmark_group(C::NAME);
    group.sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(600));
    let mut group = Group { criterion: group, runtime: case.runtime(), n: 0, polls: String::new() };
    for &n in SIZES {
        group.n = n;
        group.criterion.throughput(Throughput::Elements(n as u64));
        let _ = write!(group.polls, "\n| {n} |");
        with_each_peer!(peer(&mut group, &case));
        peer::<InOrder>(&mut group, &case);

        let first_run = group.runtime.block_on(case.time_tasks(n));
        group.measure(JOIN_SET, first_run, |runtime| runtime.block_on(case.time_tasks(n)));
    }
    let mut names = String::new();
    with_each_peer!(name(&mut names));
    name::<InOrder>(&mut names);
    let columns = names.matches('|').count();
    println!("Polls of a child, {}:\n\n| n |{names}\n|--:|{}{}\n", C::NAME, "--:|".repeat(columns), group.polls);
    group.criterion.finish();
}

fn peer<P: Peer>(group: &mut Group<'_>, case: &impl Case) {
    POLLS.set(0);
    let first_run = group.runtime.block_on(case.time::<Counting<P>>(group.n));
    let _ = write!(group.polls, " {:.2} |", POLLS.get() as f64 / group.n as f64);
    let n = group.n;
    group.measure(P::NAME, first_run, |runtime| runtime.block_on(case.time::<P>(n)));
}

fn name<P: Peer>(names: &mut String) {
    let _ = write!(names, " {} |", P::NAME);
}

fn cases(criterion: &mut Criterion) {
    case(criterion, SentBefore);
    case(criterion, SentLater);
    case(criterion, EndedBefore);
    case(criterion, Handles);
    case(criterion, TwoWorkers);
}

criterion_group!(benches, cases);
criterion_main!(benches);
