//! The waker of the parent, whether it is to be woken, and where the children are that woke it.
//!
//! The state has a bit [`WOKEN`], and above it [`Hints`] of the words that are worth a look:
//!
//! - *armed*, without `WOKEN`: the next child that is woken wakes the parent. The slot holds its waker. Who sets
//!   `WOKEN` then, and nobody else, takes the waker out, and says so by unsetting `is_occupied`.
//! - *woken*, with `WOKEN`: it was woken, or is being polled. Nobody else wakes it. Who finds the slot not occupied may
//!   occupy it, put a waker in, and arm.
//!
//! Nobody waits: a child that finds `WOKEN` set adds its hint, and has nothing more to do; the poller, if it finds the
//! slot occupied by who takes the waker out, has itself polled again. Wakers are cloned, woken and dropped when nothing
//! is half done, so foreign code may do what it likes.
//!
//! Invariant of this module's `unsafe`:
//!
//! - OCCUPIED: the slot is touched by one at a time: by who has set `is_occupied`, until it unsets `WOKEN`; after that
//!   by who sets `WOKEN`, until it unsets `is_occupied`. Each step acquires what the one before it released. Nobody
//!   else unsets either of them; so while the slot is not occupied it is empty, and `WOKEN` is set.

use core::task::Waker;

use super::sync::{AtomicBool, AtomicUsize, HINTS, Ordering, UnsafeCell};

/// Forbids to wake the parent. Set by the first child that is woken since it was armed, and while it is polled.
const WOKEN: usize = 1;

pub(crate) struct Parent {
    state: AtomicUsize,
    /// Forbids to put a waker into the slot. Set while one is in it, or on its way in or out.
    is_occupied: AtomicBool,
    /// Forbids to leave a waker in the slot: the gather is gone.
    is_closed: AtomicBool,
    slot: UnsafeCell<Option<Waker>>,
}

// SAFETY: the slot is all that is not atomic (OCCUPIED). A waker may be put in and taken out on any thread.
unsafe impl Sync for Parent {}

/// Words that may not be empty, by their number; one hint stands for all that are congruent.
#[derive(Clone, Copy)]
pub(crate) struct Hints(usize);

impl Hints {
    pub(crate) const NONE: Hints = Hints(0);
    #[cfg(all(test, not(gather_loom)))]
    pub(crate) const ALL: Hints = Hints(!WOKEN);

    pub(crate) fn of(word: usize) -> Self {
        Hints(2 << (word % HINTS))
    }

    pub(crate) fn and(self, other: Hints) -> Self {
        Hints(self.0 | other.0)
    }

    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The next hinted word from this one on, of so many.
    #[inline]
    pub(crate) fn next(self, mut from: usize, words: usize) -> Option<usize> {
        while from < words {
            let position = from % HINTS;
            let ahead = (self.0 >> 1) >> position;
            let step = ahead.trailing_zeros() as usize;
            if step == 0 {
                return Some(from);
            }
            from += step.min(HINTS - position);
        }
        None
    }
}

impl Parent {
    /// Being polled.
    pub(crate) fn new() -> Self {
        Parent {
            state: AtomicUsize::new(WOKEN),
            is_occupied: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            slot: UnsafeCell::new(None),
        }
    }

    /// `None`: it is armed. Else it was woken, or is being polled, and what came before each hint is seen.
    #[inline]
    pub(crate) fn woken(&self) -> Option<Hints> {
        let state = self.state.load(Ordering::Acquire);
        (state & WOKEN != 0).then_some(Hints(state & !WOKEN))
    }

    /// Has the next [`wake`](Self::wake) wake this waker, and takes the hints. `None`: somebody is at the slot, since
    /// the parent is being woken.
    pub(crate) fn arm(&self, waker: &Waker) -> Option<Hints> {
        let waker = match self.woken().is_none().then(|| self.disarm(Hints::NONE)).flatten() {
            Some(same) if same.will_wake(waker) => same,
            _ => waker.clone(),
        };
        self.put(waker).then(|| Hints(self.state.swap(0, Ordering::AcqRel) & !WOKEN))
    }

    /// Adds hints while it is being polled, when there is nothing to wake.
    pub(crate) fn hint(&self, hints: Hints) {
        self.state.fetch_or(hints.0, Ordering::AcqRel);
    }

    /// Wakes it, if it is armed.
    ///
    /// If the waker panics, it is armed again, unless the poller was faster: this wake is lost, and so are those of other
    /// children that came until then; the next one is not.
    pub(crate) fn wake(&self, hints: Hints) {
        struct PutBack<'a>(&'a Parent, Option<Waker>);

        impl Drop for PutBack<'_> {
            fn drop(&mut self) {
                if let Some(waker) = self.1.take() {
                    self.0.put_back(waker);
                }
            }
        }

        let mut woken = PutBack(self, self.disarm(hints));
        if let Some(waker) = &woken.1 {
            waker.wake_by_ref();
            drop(woken.1.take());
        }
    }

    /// Arms it again with the waker that [`disarm`](Self::disarm) gave out, unless the poller was faster, or is gone.
    pub(crate) fn put_back(&self, waker: Waker) {
        if self.put(waker) {
            // The hints stay: the words that they stand for are not empty.
            self.state.fetch_and(!WOKEN, Ordering::AcqRel);
            // This writes the state, and so does `close`: whichever comes second takes the waker.
            if self.is_closed.load(Ordering::Relaxed) {
                drop(self.disarm(Hints::NONE));
            }
        }
    }

    /// Takes the waker, if it is armed. From now on it counts as woken.
    pub(crate) fn disarm(&self, hints: Hints) -> Option<Waker> {
        // Always a write, also where it changes nothing: of this and the poller's arming, one sees the other.
        if self.state.fetch_or(WOKEN | hints.0, Ordering::AcqRel) & WOKEN != 0 {
            return None;
        }
        let waker = self.slot.with_mut(|slot| {
            // SAFETY: OCCUPIED, by having set `WOKEN`.
            unsafe { (*slot).take() }
        });
        self.is_occupied.store(false, Ordering::Release);
        waker
    }

    /// Takes the waker, if it is armed, for good: the gather is gone. One whose wake panics from now on is not kept.
    pub(crate) fn close(&self) -> Option<Waker> {
        self.is_closed.store(true, Ordering::Relaxed);
        self.disarm(Hints::NONE)
    }

    /// Puts it into the slot, unless that is occupied. The caller then unsets `WOKEN`.
    fn put(&self, waker: Waker) -> bool {
        if self.is_occupied.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        self.slot.with_mut(|slot| {
            // SAFETY: OCCUPIED, by having set `is_occupied`. The slot is empty, so nothing is dropped.
            unsafe { *slot = Some(waker) };
        });
        true
    }
}
