//! The waker of the parent, and whether it is to be woken.
//!
//! | state | meaning | who may touch the slot | what it holds |
//! |---|---|---|---|
//! | [`ARMED`] | the next child that is woken wakes the parent | nobody | its waker |
//! | [`WOKEN`] `\|` [`FREE`] | it was woken, or is being polled | nobody | nothing |
//! | [`WOKEN`] | as above, and somebody moves a waker into the slot or out of it | the mover | either |
//!
//! A state becomes `WOKEN` alone, which is the claim of the slot, in one step out of each of the others; who makes that
//! step is the mover, and ends its claim with another one. Nobody waits for a claim: a child that finds one has nothing
//! to do, since the parent was woken; the poller, which fails to arm then, has itself polled again. Wakers are cloned,
//! woken and dropped outside of a claim, so foreign code finds no half-written state.
//!
//! Invariant of this module's `unsafe`:
//!
//! - CLAIMED: the slot is touched by the mover alone, between its claim and the end of it. Each claim acquires what the
//!   end of the last one released.

use core::task::Waker;

use crate::sync::{AtomicUsize, Ordering, UnsafeCell};

const ARMED: usize = 0;
/// Set by the first child that is woken since it was armed. Forbids the others to wake the parent.
const WOKEN: usize = 1;
/// Set only together with `WOKEN`: nobody has claimed the slot. Unset, it forbids to claim it.
const FREE: usize = 2;

pub(crate) struct Parent {
    state: AtomicUsize,
    slot: UnsafeCell<Option<Waker>>,
}

impl Parent {
    /// Being polled.
    pub(crate) fn new() -> Self {
        Parent { state: AtomicUsize::new(WOKEN | FREE), slot: UnsafeCell::new(None) }
    }

    /// Whether it was woken, or is being polled. If it was woken, what came before that is seen.
    pub(crate) fn is_woken(&self) -> bool {
        self.state.load(Ordering::Acquire) != ARMED
    }

    /// Has the next [`wake`](Self::wake) wake this waker. False if somebody was at the slot: the parent is being woken.
    pub(crate) fn arm(&self, waker: &Waker) -> bool {
        match self.disarm() {
            Some(same) if same.will_wake(waker) => self.put(same),
            _ => self.put(waker.clone()),
        }
    }

    /// Wakes it, if it is armed.
    ///
    /// If the waker panics, it is armed again, unless the poller was faster: this wake is lost, the next one is not.
    pub(crate) fn wake(&self) {
        struct PutBack<'a>(&'a Parent, Option<Waker>);

        impl Drop for PutBack<'_> {
            fn drop(&mut self) {
                if let Some(waker) = self.1.take() {
                    self.0.put(waker);
                }
            }
        }

        let mut woken = PutBack(self, self.disarm());
        if let Some(waker) = &woken.1 {
            waker.wake_by_ref();
            drop(woken.1.take());
        }
    }

    /// Takes the waker, if it is armed. From now on it counts as woken.
    pub(crate) fn disarm(&self) -> Option<Waker> {
        // Always a write, also where it changes nothing: of this and the poller's arming, one sees the other.
        if self.state.fetch_or(WOKEN, Ordering::AcqRel) != ARMED {
            return None;
        }
        let waker = self.slot.with_mut(|slot| {
            // SAFETY: CLAIMED, by the step from `ARMED` to `WOKEN`.
            unsafe { (*slot).take() }
        });
        self.state.fetch_or(FREE, Ordering::AcqRel);
        waker
    }

    /// Arms it, if nobody is at the slot.
    fn put(&self, waker: Waker) -> bool {
        let claim = self.state.compare_exchange(WOKEN | FREE, WOKEN, Ordering::AcqRel, Ordering::Relaxed);
        if claim.is_err() {
            return false;
        }
        self.slot.with_mut(|slot| {
            // SAFETY: CLAIMED, by the step from `WOKEN | FREE` to `WOKEN`. The slot is empty, so nothing is dropped.
            unsafe { *slot = Some(waker) };
        });
        self.state.swap(ARMED, Ordering::AcqRel);
        true
    }
}
