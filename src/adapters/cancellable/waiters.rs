//! The wakers of everything that waits for a signal: a list of places, without a lock.
//!
//! ```text
//! Waiters: head │ SET ──> Waiter ──next──> Waiter ──next──> nothing
//!          spares ──────> Waiter ──next_spare──> nothing
//!          first (a Waiter of its own, so that one that waits alone needs no allocation)
//! ```
//!
//! A place is pushed to the list once, and stays there until the list is dropped. A future that waits holds a place, and gives
//! it back when it is dropped, for the next future. So there are as many places as futures have ever waited at once.
//!
//! *Places are found in constant time.* Places that were given back are also in a chain of spares. A future that needs one
//! takes the whole chain, so that it does not change meanwhile, and puts back the rest. Another future that comes in between
//! finds no chain although places are free, and searches the list. So a place in the chain may be held; a future that takes
//! such a place out skips it, and the one that gives it back puts it in again. `is_spare` records that a place is in the
//! chain, or on its way in or out. It is set after the place was given back and unset before it is held, both by a
//! read-modify-write. So one of the two sees the other, and no free place is missing from the chain.
//!
//! *No wake is lost.* `SET` is a bit of the head, so a push comes either before the setting, and the setter finds the place,
//! or after it, and is refused. The setter writes the state of each place in the list; a future writes it each time it puts a
//! waker in. Both use a read-modify-write of one atomic, so either the setter finds the waker or the future finds the place
//! `WOKEN`.
//!
//! *No thread waits for another.* A future that finds its place `WOKEN` is ready. A setter that finds a future using its slot
//! skips it, since that future will see `WOKEN` when it leaves the slot. Wakers are cloned, woken and dropped only between
//! complete steps, so foreign code may do anything.
//!
//! Invariants of this module's `unsafe`:
//!
//! - LISTED: each pointer to a place (in `head`, apart from its bit) is null, or came out of a box when the place was pushed to
//!   the list. No place is moved or freed before the list is dropped, and `next` does not change after the push.
//! - SLOT: one thread at a time accesses a slot. Until its place is `WOKEN`, it is the one that has set `BUSY`, until it unsets
//!   it. `WOKEN` is set once, by the only setter. If the setter finds the place `HELD` and not `BUSY`, the slot is the setter's
//!   from then on. If it finds it `BUSY`, the slot stays with the future that has set that, which then cannot unset it. The
//!   slot of a place that is not `HELD` is empty.

#![allow(unsafe_code, reason = "places that are shared between futures on any thread, without a lock")]

#[cfg(all(test, gather_loom))]
mod models;

use alloc::boxed::Box;
use core::iter;
use core::mem;
use core::ptr;
use core::task::Waker;

use super::sync::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, UnsafeCell};

/// A future holds the place. Forbids others to hold it.
const HELD: usize = 1;
/// The future that holds it is at the slot. Forbids the setter to touch the slot.
const BUSY: usize = 2;
/// The signal is set. Forbids to hold it, and to put a waker in.
const WOKEN: usize = 4;

/// In `head`: the signal is set. Forbids to push a place.
const SET: usize = 1;

/// A place for the waker of one future.
pub(super) struct Waiter {
    state: AtomicUsize,
    slot: UnsafeCell<Option<Waker>>,
    next: AtomicPtr<Waiter>,
    /// While set, the place is not put into the chain of spares.
    is_spare: AtomicBool,
    /// Written by the future that has set `is_spare`, until the place is in the chain; then read by the one that has taken the
    /// chain.
    next_spare: AtomicPtr<Waiter>,
}

// SAFETY: the slot is all that is not atomic (SLOT). A waker may be put in and taken out on any thread.
unsafe impl Sync for Waiter {}

/// A signal, and the places of those that wait for it.
pub(super) struct Waiters {
    head: AtomicPtr<Waiter>,
    /// A lower bound of the places that are not held. A future that subtracts one from it will find a place.
    free: AtomicUsize,
    spares: AtomicPtr<Waiter>,
    first: Waiter,
}

impl Waiters {
    pub(super) fn new() -> Self {
        Waiters {
            head: AtomicPtr::new(ptr::null_mut()),
            free: AtomicUsize::new(0),
            spares: AtomicPtr::new(ptr::null_mut()),
            first: Waiter::new(0, None),
        }
    }

    pub(super) fn is_set(&self) -> bool {
        self.head.load(Ordering::Acquire).addr() & SET != 0
    }

    /// Sets the signal, and wakes everything that waits. Without effect if it is set.
    ///
    /// If a waker panics, the others are woken nevertheless.
    pub(super) fn set(&self) {
        struct Rest<I: Iterator<Item = Waker>>(I);

        impl<I: Iterator<Item = Waker>> Rest<I> {
            fn wake(&mut self) {
                for waker in self.0.by_ref() {
                    waker.wake();
                }
            }
        }

        impl<I: Iterator<Item = Waker>> Drop for Rest<I> {
            fn drop(&mut self) {
                self.wake();
            }
        }

        let set = |head: *mut Waiter| (head.addr() & SET == 0).then(|| head.map_addr(|addr| addr | SET));
        if self.head.fetch_update(Ordering::AcqRel, Ordering::Acquire, set).is_ok() {
            Rest(iter::once(&self.first).chain(self.list()).filter_map(Waiter::close)).wake();
        }
    }

    /// A place with this waker in it. `None`: the signal is set.
    pub(super) fn hold(&self, waker: Waker) -> Option<&Waiter> {
        let mut waker = Some(waker);
        if self.first.hold(&mut waker) {
            return Some(&self.first);
        }
        let take_one = |free: usize| free.checked_sub(1);
        if self.free.fetch_update(Ordering::Acquire, Ordering::Relaxed, take_one).is_err() {
            return self.push(waker);
        }
        // One is there for this future. Others may be faster at taking a place, but then leave another one.
        while !self.is_set() {
            let found = self.hold_spare(&mut waker);
            let found = found.or_else(|| self.list().find(|waiter| waiter.hold(&mut waker)));
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// A place of the chain, with this waker in it.
    fn hold_spare(&self, waker: &mut Option<Waker>) -> Option<&Waiter> {
        let mut found = None;
        let mut chain = self.spares.swap(ptr::null_mut(), Ordering::AcqRel);
        while let Some(waiter) = self.get(chain).filter(|_| found.is_none()) {
            chain = waiter.next_spare.load(Ordering::Relaxed);
            waiter.is_spare.swap(false, Ordering::AcqRel);
            found = waiter.hold(waker).then_some(waiter);
        }
        // Only few can have come meanwhile.
        let mut others = self.spares.swap(chain, Ordering::AcqRel);
        while let Some(waiter) = self.get(others) {
            others = waiter.next_spare.load(Ordering::Relaxed);
            self.push_spare(waiter);
        }
        found
    }

    fn push_spare(&self, waiter: &Waiter) {
        let push = |spares| {
            waiter.next_spare.store(spares, Ordering::Relaxed);
            Some(ptr::from_ref(waiter).cast_mut())
        };
        let _ = self.spares.fetch_update(Ordering::AcqRel, Ordering::Relaxed, push);
    }

    /// A new place with this waker in it. `None`: the signal is set.
    fn push(&self, waker: Option<Waker>) -> Option<&Waiter> {
        let mut waiter = Box::new(Waiter::new(HELD, waker));
        let mut head = self.head.load(Ordering::Acquire);
        while head.addr() & SET == 0 {
            waiter.next = AtomicPtr::new(head);
            let pushed = Box::into_raw(waiter);
            match self.head.compare_exchange(head, pushed, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return self.get(pushed),
                Err(now) => head = now,
            }
            // SAFETY: it came out of the box, and was not pushed.
            waiter = unsafe { Box::from_raw(pushed) };
        }
        None
    }

    /// Gives a place back.
    pub(super) fn release(&self, waiter: &Waiter) {
        let Some(slot) = waiter.enter(HELD) else { return };
        let waker = slot.replace(None);
        if slot.leave(0) && !ptr::eq(waiter, &self.first) {
            if !waiter.is_spare.swap(true, Ordering::AcqRel) {
                self.push_spare(waiter);
            }
            self.free.fetch_add(1, Ordering::Release);
        }
        drop(waker);
    }

    /// The places that were pushed, the last one first.
    fn list(&self) -> impl Iterator<Item = &Waiter> {
        let head = self.head.load(Ordering::Acquire).map_addr(|addr| addr & !SET);
        iter::successors(self.get(head), |waiter| self.get(waiter.next.load(Ordering::Relaxed)))
    }

    fn get(&self, waiter: *mut Waiter) -> Option<&Waiter> {
        // SAFETY: LISTED. It is not freed while `self` is borrowed.
        unsafe { waiter.as_ref() }
    }
}

impl Drop for Waiters {
    fn drop(&mut self) {
        let mut next = self.head.load(Ordering::Acquire).map_addr(|addr| addr & !SET);
        while !next.is_null() {
            // SAFETY: LISTED. Each place was pushed once, so it is freed once.
            let waiter = unsafe { Box::from_raw(next) };
            next = waiter.next.load(Ordering::Relaxed);
        }
    }
}

impl Waiter {
    fn new(state: usize, waker: Option<Waker>) -> Self {
        Waiter {
            state: AtomicUsize::new(state),
            slot: UnsafeCell::new(waker),
            next: AtomicPtr::new(ptr::null_mut()),
            is_spare: AtomicBool::new(false),
            next_spare: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Holds the place and puts the waker in, if it is not held and the signal is not set.
    fn hold(&self, waker: &mut Option<Waker>) -> bool {
        self.enter(0).is_some_and(|slot| {
            slot.replace(waker.take());
            let holds = slot.leave(HELD);
            if !holds {
                *waker = slot.replace(None);
            }
            holds
        })
    }

    /// Replaces the waker. Called by the future that holds the place. False if the signal is set.
    pub(super) fn renew(&self, waker: &Waker) -> bool {
        let Some(slot) = self.enter(HELD) else { return false };
        let last = slot.replace(None);
        let (same, other) = match last {
            Some(last) if last.will_wake(waker) => (Some(last), None),
            last => (None, last),
        };
        let is_same = same.is_some();
        slot.replace(same);
        if !slot.leave(HELD) {
            drop((slot.replace(None), other));
            return false;
        }
        is_same || self.put(waker.clone())
    }

    /// Puts the waker in. Called by the future that holds the place and has found it empty. False if the signal is set.
    fn put(&self, waker: Waker) -> bool {
        let Some(slot) = self.enter(HELD) else { return false };
        slot.replace(Some(waker));
        slot.leave(HELD) || {
            drop(slot.replace(None));
            false
        }
    }

    /// Acquires the slot, if the state is this one.
    fn enter(&self, from: usize) -> Option<Slot<'_>> {
        let entered = self.state.compare_exchange(from, HELD | BUSY, Ordering::AcqRel, Ordering::Acquire);
        entered.is_ok().then_some(Slot(self))
    }

    /// Takes the waker out; no future waits here from now on. Called only by the setter.
    fn close(&self) -> Option<Waker> {
        let held = self.state.fetch_or(WOKEN, Ordering::AcqRel) == HELD;
        // SAFETY: SLOT, by having found it held and not busy.
        held.then(|| self.slot.with_mut(|slot| unsafe { (*slot).take() })).flatten()
    }
}

/// The slot of a place, while it is `BUSY`. No foreign code runs meanwhile.
struct Slot<'a>(&'a Waiter);

impl Slot<'_> {
    /// Puts this in, and takes out what was in.
    fn replace(&self, waker: Option<Waker>) -> Option<Waker> {
        // SAFETY: SLOT, by having set `BUSY`, which is set or was found by the setter while `self` is there.
        self.0.slot.with_mut(|slot| mem::replace(unsafe { &mut *slot }, waker))
    }

    /// Releases the slot, with this state. False if the place is `WOKEN`; the slot then stays with this future.
    fn leave(&self, to: usize) -> bool {
        self.0.state.compare_exchange(HELD | BUSY, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
