//! Children woken from many threads, while the gather is polled, moved between threads, cancelled and dropped.
//!
//! Bounded in count; ThreadSanitizer runs it too.

#![cfg(feature = "alloc")]

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use futures_util::task::AtomicWaker;
use gather::{CancelExt, Cancelled, gather};

const THREADS: usize = 3;
const ROUNDS: usize = 300;

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

/// xorshift: the same numbers in every run.
struct Numbers(u64);

impl Numbers {
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

fn each_round(seed: u64, count: usize, mut round: impl FnMut(&mut Numbers, Arc<Vec<Event>>, Arc<AtomicUsize>)) {
    let mut numbers = Numbers(seed);
    for _ in 0..ROUNDS {
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
            let all = Box::pin(gather(children(&events, &alive)));
            let values = drive(all, numbers, None).unwrap();
            assert_eq!(values, Ok((0..count).collect()));
        });
    }
}

#[test]
fn with_a_limit_no_wake_is_lost() {
    each_round(5, 200, |numbers, events, alive| {
        let all = Box::pin(gather(children(&events, &alive)).concurrency(1 + numbers.below(20)));
        assert_eq!(drive(all, numbers, None).unwrap(), Ok((0..200).collect()));
    });
}

#[test]
fn dropped_at_any_moment_it_leaves_nothing() {
    each_round(7, 130, |numbers, events, alive| {
        let all = Box::pin(gather(children(&events, &alive)));
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
            let all = Box::pin(gather(children).cancel_on(signal.wait()));
            match drive(all, numbers, None).unwrap() {
                Ok(values) => assert_eq!((values, told.load(Ordering::Relaxed)), (Ok((0..130).collect()), 0)),
                Err(Cancelled) => assert!((1..=130).contains(&told.load(Ordering::Relaxed))),
            }
        });
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    });
}
