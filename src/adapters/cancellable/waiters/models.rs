//! Models of the meetings of futures that wait with the one that sets the signal, run by loom over the same source.
//!
//!     RUSTFLAGS="--cfg gather_loom" cargo test --release --lib -- --nocapture
//!
//! A lost wake is a deadlock of `block_on`, which loom reports, as it does leaks of places and wakers, and a slot that two
//! touch at once.
//!
//! Who meets whom, and where it is modelled:
//!
//! - the setter, and a future that pushes a place or holds one that was given back:
//!   `two_that_wait_against_the_setter`, `one_that_comes_when_another_has_gone`;
//! - the setter, and a future whose waker changes: `a_waker_that_changes_against_the_setter`;
//! - the setter, and a future that goes: `one_that_goes_against_the_setter`;
//! - two setters: `two_setters`;
//! - futures that hold and give back at once: `places_are_used_again`.

use core::future::poll_fn;
use core::sync::atomic::Ordering;
use core::task::{Poll, Waker};
use core::{iter, ptr};
use std::sync::Arc as StdArc;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;
use std::vec::Vec;
use std::{format, println};

use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

use super::{Waiter, Waiters};

/// Each thread is interrupted at most three times, where `LOOM_MAX_PREEMPTIONS` does not say otherwise.
fn model(name: &str, model: impl Fn() + Send + Sync + 'static) {
    let runs = StdArc::new(AtomicUsize::new(0));
    let counter = runs.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(3);
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!("{name}: {} interleavings", runs.load(Ordering::Relaxed));
}

/// As the future of `cancelled` does.
fn wait(waiters: &Waiters) {
    let mut held: Option<&Waiter> = None;
    block_on(poll_fn(|cx| {
        if waiters.is_set() {
            return Poll::Ready(());
        }
        let waits = match held {
            Some(waiter) => waiter.renew(cx.waker()),
            None => {
                held = waiters.hold(cx.waker().clone());
                held.is_some()
            }
        };
        if waits { Poll::Pending } else { Poll::Ready(()) }
    }));
    if let Some(waiter) = held {
        waiters.release(waiter);
    }
}

/// Counts its wakes.
#[derive(Default)]
struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(self: StdArc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn spawn(waiters: &Arc<Waiters>, act: impl FnOnce(&Waiters) + 'static) -> thread::JoinHandle<()> {
    let waiters = waiters.clone();
    thread::spawn(move || act(&waiters))
}

/// How many places were pushed.
fn pushed(waiters: &Waiters) -> usize {
    waiters.list().count()
}

#[test]
fn two_that_wait_against_the_setter() {
    model("two that wait against the setter", || {
        let waiters = Arc::new(Waiters::new());
        let other = spawn(&waiters, wait);
        let setter = spawn(&waiters, Waiters::set);
        wait(&waiters);
        assert!(waiters.is_set());
        other.join().unwrap();
        setter.join().unwrap();
    });
}

/// Two set it: one of them wakes.
#[test]
fn two_setters() {
    model("two setters", || {
        let waiters = Arc::new(Waiters::new());
        let counted = StdArc::new(Counted::default());
        let held = waiters.hold(counted.clone().into()).unwrap();
        let setter = spawn(&waiters, Waiters::set);
        waiters.set();
        setter.join().unwrap();
        assert_eq!(counted.0.load(Ordering::Relaxed), 1);
        assert!(waiters.hold(Waker::noop().clone()).is_none());
        waiters.release(held);
    });
}

#[test]
fn one_that_comes_when_another_has_gone() {
    model("one that comes when another has gone", || {
        let waiters = Arc::new(Waiters::new());
        // The first place is held, and one more was given back.
        let first = waiters.hold(Waker::noop().clone()).unwrap();
        let second = waiters.hold(Waker::noop().clone()).unwrap();
        waiters.release(second);
        let setter = spawn(&waiters, Waiters::set);
        wait(&waiters);
        setter.join().unwrap();
        assert_eq!(pushed(&waiters), 1);
        waiters.release(first);
    });
}

/// Of the last waker before the setter comes, none is lost: it is woken, or its future sees the signal.
#[test]
fn a_waker_that_changes_against_the_setter() {
    model("a waker that changes against the setter", || {
        let waiters = Arc::new(Waiters::new());
        let [old, new] = [StdArc::new(Counted::default()), StdArc::new(Counted::default())];
        let held = waiters.hold(old.clone().into()).unwrap();
        let setter = spawn(&waiters, Waiters::set);
        let waits = held.renew(&new.clone().into());
        let waits = waits && held.renew(&new.clone().into());
        setter.join().unwrap();
        let woken = [old, new].map(|counted| counted.0.load(Ordering::Relaxed));
        match waits {
            true => assert_eq!(woken, [0, 1]),
            // It is ready by itself; one that was woken as well is polled once more at most.
            false => assert!(woken[0] + woken[1] <= 1),
        }
        waiters.release(held);
    });
}

#[test]
fn one_that_goes_against_the_setter() {
    model("one that goes against the setter", || {
        let waiters = Arc::new(Waiters::new());
        let [gone, stays] = [StdArc::new(Counted::default()), StdArc::new(Counted::default())];
        let goes = waiters.hold(gone.clone().into()).unwrap();
        let held = waiters.hold(stays.clone().into()).unwrap();
        let setter = spawn(&waiters, Waiters::set);
        waiters.release(goes);
        setter.join().unwrap();
        assert!(gone.0.load(Ordering::Relaxed) <= 1);
        assert_eq!(stays.0.load(Ordering::Relaxed), 1);
        waiters.release(held);
    });
}

/// Two threads hold and give back, beside one that holds the first place, with no place before or with two spares: there
/// are never more places than were held at once, each is held by one, and all are in the chain in the end.
#[test]
fn places_are_used_again() {
    for before in [0, 2] {
        model(&format!("places are used again, {before} before"), move || {
            let waiters = Arc::new(Waiters::new());
            let hold = |waiters: &Waiters| ptr::from_ref(waiters.hold(Waker::noop().clone()).unwrap());
            let release = |waiters: &Waiters, held| waiters.release(waiters.get(held).unwrap());
            let held: Vec<_> = (0..=before).map(|_| hold(&waiters).cast_mut()).collect();
            held[1..].iter().for_each(|held| release(&waiters, *held));
            let come_and_go = move |waiters: &Waiters| {
                for _ in 0..2 - before / 2 {
                    let held = hold(waiters).cast_mut();
                    release(waiters, held);
                }
            };
            let other = spawn(&waiters, come_and_go);
            come_and_go(&waiters);
            other.join().unwrap();
            assert!(pushed(&waiters) <= 2);
            let next = |waiter: &&Waiter| waiters.get(waiter.next_spare.load(Ordering::Relaxed));
            let chain = iter::successors(waiters.get(waiters.spares.load(Ordering::Acquire)), next);
            assert_eq!(chain.count(), pushed(&waiters));
            assert_eq!(waiters.free.load(Ordering::Acquire), pushed(&waiters));
            release(&waiters, held[0]);
        });
    }
}
