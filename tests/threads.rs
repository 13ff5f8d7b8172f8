//! Children woken from many threads, while the gather is polled, moved between threads, cancelled and dropped.
//!
//! Bounded in count and in time; ThreadSanitizer runs it too. Each run takes its random numbers from another seed, which it
//! prints; `GATHER_SEED` sets it. The threads still run as they like.

#![cfg(feature = "alloc")]

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use gather::{BoxChild, CancelExt, Cancelled, gather};
use smol::Executor;

const THREADS: usize = 3;
const ROUNDS: usize = 300;
const TIME: Duration = Duration::from_secs(2);
/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a child waits for.
#[derive(Default)]
struct Event {
    is_set: AtomicBool,
    waker: AtomicWaker,
}

impl Event {
    fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        self.waker.wake();
    }

    async fn wait(&self) {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            if self.is_set.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await
    }
}

/// Counts those that are alive.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Alive(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A thread that waits until it is woken.
struct Unpark(thread::Thread, AtomicBool);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.store(true, Ordering::Release);
        self.0.unpark();
    }
}

/// xorshift.
struct Numbers(u64);

impl Numbers {
    /// The same for a seed; others for each test.
    fn seeded(test: u64) -> Self {
        static SEED: OnceLock<u64> = OnceLock::new();

        let seed = SEED.get_or_init(|| match std::env::var("GATHER_SEED") {
            Ok(seed) => seed.parse().expect("GATHER_SEED is a number"),
            Err(_) => RandomState::new().hash_one(()) >> 32,
        });
        println!("GATHER_SEED={seed}");
        Numbers((seed + test).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Polls a few times on each of two threads in turn, with a waker of its own each time, until it is ready. `None`: dropped
/// after so many polls.
fn drive<F>(mut future: Pin<Box<F>>, numbers: &mut Numbers, drop_after: Option<usize>) -> Option<F::Output>
where
    F: Future<Output: Send> + Send,
{
    let mut polls = 0;
    loop {
        let on_this_thread = 1 + numbers.below(4);
        let poll_here = |mut future: Pin<Box<F>>| {
            let unpark = Arc::new(Unpark(thread::current(), AtomicBool::new(false)));
            let waker = Waker::from(unpark.clone());
            let mut cx = Context::from_waker(&waker);
            for turn in 0..on_this_thread {
                if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                    return Ok(output);
                }
                // The last time it is moved without waiting: a poll for another reason, under another waker.
                while turn + 1 < on_this_thread && !unpark.1.swap(false, Ordering::Acquire) {
                    thread::park();
                }
            }
            Err(future)
        };
        let polled = match numbers.below(2) {
            0 => poll_here(future),
            _ => thread::scope(|scope| scope.spawn(|| poll_here(future)).join().unwrap()),
        };
        match polled {
            Ok(output) => return Some(output),
            Err(pending) => future = pending,
        }
        polls += 1;
        if drop_after.is_some_and(|after| polls > after) {
            return None;
        }
    }
}

fn each_round(test: u64, count: usize, mut round: impl FnMut(&mut Numbers, Arc<Vec<Event>>, Arc<AtomicUsize>)) {
    let mut numbers = Numbers::seeded(test);
    let end = Instant::now() + TIME;
    for _ in 0..ROUNDS {
        if Instant::now() > end {
            break;
        }
        let events: Arc<Vec<Event>> = Arc::new((0..count).map(|_| Event::default()).collect());
        let alive = Arc::new(AtomicUsize::new(0));
        // Each thread sets its share of the events, in an order of its own, and wakes some others for nothing.
        let start = Arc::new(Barrier::new(THREADS + 1));
        let wakers: Vec<_> = (0..THREADS)
            .map(|own| {
                let (events, start) = (events.clone(), start.clone());
                let mut numbers = Numbers(1 + numbers.below(usize::MAX) as u64);
                thread::spawn(move || {
                    start.wait();
                    let mut left: Vec<_> = (own..events.len()).step_by(THREADS).collect();
                    while !left.is_empty() {
                        events[left.swap_remove(numbers.below(left.len()))].set();
                        events[numbers.below(events.len())].waker.wake();
                    }
                })
            })
            .collect();
        start.wait();
        round(&mut numbers, events, alive.clone());
        for waker in wakers {
            waker.join().unwrap();
        }
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }
}

fn children(
    events: &Arc<Vec<Event>>,
    alive: &Arc<AtomicUsize>,
) -> Vec<impl Future<Output = Result<usize, usize>> + Send + use<>> {
    let child = |index: usize| {
        let (events, alive) = (events.clone(), Alive::new(alive));
        async move {
            let _alive = alive;
            events[index].wait().await;
            Ok(index)
        }
    };
    (0..events.len()).map(child).collect()
}

#[test]
fn no_wake_is_lost() {
    for count in [3, 64, 65, 300] {
        each_round(count as u64, count, |numbers, events, alive| {
            let all = Box::pin(gather(children(&events, &alive)).into_future());
            let values = drive(all, numbers, None).unwrap();
            assert_eq!(values, Ok((0..count).collect()));
        });
    }
}

#[test]
fn with_a_limit_no_wake_is_lost() {
    each_round(5, 200, |numbers, events, alive| {
        let all = Box::pin(gather(children(&events, &alive)).concurrency(1 + numbers.below(20)).into_future());
        assert_eq!(drive(all, numbers, None).unwrap(), Ok((0..200).collect()));
    });
}

#[test]
fn dropped_at_any_moment_it_leaves_nothing() {
    each_round(7, 130, |numbers, events, alive| {
        let all = Box::pin(gather(children(&events, &alive)).into_future());
        let drop_after = numbers.below(5);
        drive(all, numbers, Some(drop_after));
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn cancelled_at_any_moment_it_waits_for_the_told_ones() {
    each_round(11, 130, |numbers, events, alive| {
        let told = AtomicUsize::new(0);
        let told_once = |_: Pin<&mut _>| {
            told.fetch_add(1, Ordering::Relaxed);
        };
        let children: Vec<_> = children(&events, &alive).into_iter().map(|child| child.on_cancel(told_once)).collect();
        let signal = Event::default();
        let pause = numbers.below(200);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..pause {
                    thread::yield_now();
                }
                signal.set();
            });
            let all = Box::pin(gather(children).cancel_when(signal.wait()).into_future());
            match drive(all, numbers, None).unwrap() {
                Ok(values) => assert_eq!((values, told.load(Ordering::Relaxed)), (Ok((0..130).collect()), 0)),
                Err(Cancelled) => assert!((1..=130).contains(&told.load(Ordering::Relaxed))),
            }
        });
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    });
}

/// What is done to the gathers of a round, and what they end with.
struct Plan {
    events: Vec<Event>,
    signal: Event,
    grace: Event,
    alive: Arc<AtomicUsize>,
    cleanups: AtomicUsize,
}

impl Plan {
    fn new(numbers: &mut Numbers) -> Arc<Self> {
        let count = [1, 2, 3, 63, 64, 65, 130, 300][numbers.below(8)];
        Arc::new(Plan {
            events: (0..count).map(|_| Event::default()).collect(),
            signal: Event::default(),
            grace: Event::default(),
            alive: Arc::default(),
            cleanups: AtomicUsize::new(0),
        })
    }

    fn child(self: &Arc<Self>, index: usize, numbers: &mut Numbers) -> BoxChild<'static, Result<usize, usize>> {
        let (plan, alive) = (self.clone(), Alive::new(&self.alive));
        let is_ok = !numbers.one_in(2 * self.events.len());
        let work = async move {
            let _alive = alive;
            plan.events[index].wait().await;
            if is_ok { Ok(index) } else { Err(index) }
        };
        match numbers.below(4) {
            0 => BoxChild::new(work),
            1 => BoxChild::new(work.on_cancel(|_| ())),
            2 => BoxChild::new(work.shield()),
            _ => {
                let plan = self.clone();
                BoxChild::new(work.cleanup(move || {
                    let alive = Alive::new(&plan.alive);
                    async move {
                        let _alive = alive;
                        plan.events[index].wait().await;
                        plan.cleanups.fetch_add(1, Ordering::Relaxed);
                    }
                }))
            }
        }
    }

    /// A gather with any settings. Checks what it ends with.
    fn gather(self: &Arc<Self>, numbers: &mut Numbers) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let count = self.events.len();
        let children: Vec<_> = (0..count).map(|index| self.child(index, numbers)).collect();
        let (plan, plan_of_grace) = (self.clone(), self.clone());
        let signal = async move { plan.signal.wait().await };
        let grace = move || async move { plan_of_grace.grace.wait().await };
        let limit = if numbers.one_in(3) { 1 + numbers.below(count) } else { count };
        let all = gather(children).cancel_when(signal).grace(grace).concurrency(limit);
        let plan = self.clone();
        match numbers.below(5) {
            0 => Box::pin(async move {
                match all.await {
                    Ok(Ok(values)) => assert!(values.into_iter().eq(0..count)),
                    Ok(Err(index)) => assert!(index < count),
                    Err(Cancelled) => assert!(plan.signal.is_set.load(Ordering::Relaxed)),
                }
            }),
            1 => Box::pin(async move {
                if let Ok(outputs) = all.settle().await {
                    assert!(outputs.into_iter().map(|output| output.unwrap_or_else(|error| error)).eq(0..count));
                }
            }),
            2 => Box::pin(async move {
                if let Ok(Err(errors)) = all.any().await {
                    assert!(errors.into_iter().eq(0..count));
                }
            }),
            3 => Box::pin(async move {
                if let Ok(first) = all.race().await {
                    assert!(plan.events[first.unwrap_or_else(|error| error)].is_set.load(Ordering::Relaxed));
                }
            }),
            _ => Box::pin(async move { assert_eq!(all.report().await.outcomes.len(), count) }),
        }
    }

    /// What the thread of this number does: sets its share of the events in any order, and wakes others for nothing.
    fn wake(&self, own: usize, numbers: &mut Numbers) {
        let mut left: Vec<_> = (own..self.events.len()).step_by(THREADS).collect();
        let fires_at = numbers.below(3 * left.len() + 1);
        while !left.is_empty() {
            self.events[left.swap_remove(numbers.below(left.len()))].set();
            let other = &self.events[numbers.below(self.events.len())].waker;
            match numbers.below(4) {
                0 => other.wake(),
                // Kept for a moment: it may outlive the child, and the gather.
                1 => {
                    if let Some(waker) = other.take() {
                        thread::yield_now();
                        drop(waker.clone());
                        waker.wake();
                    }
                }
                2 => thread::yield_now(),
                _ => {}
            }
            if left.len() == fires_at {
                self.signal.set();
            }
        }
        if own == 0 {
            self.grace.set();
        }
    }
}

/// Notes the threads on which it is polled.
async fn noting<F: Future>(future: F, threads: Arc<Mutex<HashSet<ThreadId>>>) -> F::Output {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| {
        threads.lock().unwrap().insert(thread::current().id());
        future.as_mut().poll(cx)
    })
    .await
}

/// All of it at once: gathers with any settings are tasks of an executor with several threads, other threads wake their
/// children and fire their signals, and some of the tasks are dropped while they run.
#[test]
fn nothing_is_lost_or_left_at_random() {
    let mut numbers = Numbers::seeded(13);
    let executor = Executor::new();
    let (mut rounds, mut ended, mut dropped, mut moved) = (0, 0, 0, 0);
    thread::scope(|scope| {
        let (stop, stopped) = smol::channel::bounded::<()>(1);
        for _ in 0..THREADS {
            let (executor, stopped) = (&executor, stopped.clone());
            scope.spawn(move || smol::block_on(executor.run(stopped.recv())));
        }
        let end = Instant::now() + TIME;
        while rounds == 0 || Instant::now() < end {
            rounds += 1;
            let plans: Vec<_> = (0..4).map(|_| Plan::new(&mut numbers)).collect();
            let threads: Vec<Arc<Mutex<HashSet<ThreadId>>>> = plans.iter().map(|_| Arc::default()).collect();
            let (report, reports) = mpsc::channel();
            let mut tasks = vec![];
            for (plan, threads) in plans.iter().zip(&threads) {
                let (all, report) = (noting(plan.gather(&mut numbers), threads.clone()), report.clone());
                tasks.push(executor.spawn(async move {
                    all.await;
                    report.send(()).unwrap();
                }));
            }
            drop(report);
            let seeds: [_; THREADS] = std::array::from_fn(|_| 1 + numbers.below(usize::MAX) as u64);
            thread::scope(|scope| {
                for (own, seed) in seeds.into_iter().enumerate() {
                    let plans = &plans;
                    scope.spawn(move || {
                        let mut numbers = Numbers(seed);
                        plans.iter().for_each(|plan| plan.wake(own, &mut numbers));
                    });
                }
                // One of them is dropped at any moment, on this thread or where it is polled.
                for _ in 0..numbers.below(30) {
                    thread::yield_now();
                }
                drop(tasks.swap_remove(numbers.below(tasks.len())));
                dropped += 1;
            });
            // Every event is set: each of the others ends, and the channel is closed when all are gone.
            let deadline = Instant::now() + PATIENCE;
            loop {
                match reports.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                    Ok(()) => ended += 1,
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                    Err(mpsc::RecvTimeoutError::Timeout) => panic!("a gather hangs"),
                }
            }
            for plan in &plans {
                assert_eq!(plan.alive.load(Ordering::Relaxed), 0);
            }
            moved += threads.iter().filter(|threads| threads.lock().unwrap().len() > 1).count();
        }
        drop(stop);
    });
    println!("{rounds} rounds: {ended} gathers ended, {dropped} were dropped, {moved} polled on several threads");
    assert!(ended >= 3 * rounds && moved > 0);
}
