//! The waker of the parent, whether it is to be woken, and which children or words to look at.
//!
//! The state has a bit [`WOKEN`], and below it [`Hints`] of what to look at: in a small group the children themselves, else
//! words.
//!
//! - *armed*, without `WOKEN`: the next child that is woken wakes the parent. The slot holds the parent's waker, and is lent
//!   to the thread that sets `WOKEN`.
//! - *woken*, with `WOKEN`: the parent was woken, or is being polled, and is not woken again. If the slot is not lent, the
//!   poller may put a waker into it, and arm.
//!
//! The *waking thread*, which has set `WOKEN`, reads the waker out of the slot, records that in `is_out`, wakes it, and gives
//! it back. So the poller usually finds its own waker there and need not clone it. If the poller comes before the waker was
//! given back, it takes the slot away, by raising the generation in the stage, and puts a clone into it; the waking thread
//! then drops the old waker. So no thread waits for foreign code: a child that finds `WOKEN` set adds its hint and is done.
//! A poller that comes between the two steps of setting `WOKEN` and `is_out` leaves the wake to that thread if it has the
//! same waker, so that a poller of higher priority does not spin before it; else it requests another poll. Wakers are cloned,
//! woken and dropped only between complete steps, so foreign code may do anything.
//!
//! Invariants of this module's `unsafe`:
//!
//! - SLOT: only the poller writes the slot, and only in the stages in which it is the poller's, `EMPTY` and `SPENT`. The slot
//!   becomes the poller's by a step of the poller itself, which sets `WOKEN` while the slot is lent or takes the slot away
//!   after `is_out` was set; or by being given back. The waking thread reads it while it is lent, before it sets `is_out`;
//!   the poller may read it too. Each step acquires what the one before it released.
//! - ONE: the waker in the slot has one owner: the slot, in the stage `SPENT`, and in the stage `LENT` until `WOKEN` is set;
//!   otherwise the thread that has read it out. That thread gives it back only if the stage is still that in which it was
//!   lent. In the last generation nothing is given back, so no stage comes twice.

use core::mem::{self, ManuallyDrop, MaybeUninit};
use core::task::Waker;

use super::sync::{AtomicBool, AtomicUsize, GENERATIONS, HINTS, Ordering, UnsafeCell};

/// While set, the parent is not woken. Set by the first child that is woken since it was armed, and while it is polled.
pub(super) const WOKEN: usize = 1 << (usize::BITS - 1);

/// The two low bits of the stage. Above them is the generation, which is raised when the poller takes the slot away.
const KIND: usize = 3;
/// The slot is the poller's and empty.
const EMPTY: usize = 0;
/// The slot is the poller's and holds a waker, which was woken.
const SPENT: usize = 1;
/// The waker in the slot belongs to the thread that sets `WOKEN`.
const LENT: usize = 2;
/// While set, the slot cannot be taken away: the waking thread, whose wake panicked, is about to lend the waker again.
const RETURNING: usize = 3;

const NEXT_GENERATION: usize = KIND + 1;
const LAST_GENERATION: usize = GENERATIONS * NEXT_GENERATION;

pub(crate) struct Parent {
    pub(super) state: AtomicUsize,
    stage: AtomicUsize,
    /// The lent waker was read out. Unset by the poller before it arms.
    is_out: AtomicBool,
    /// While set, no waker may be left in the slot: the gather was dropped.
    is_closed: AtomicBool,
    slot: UnsafeCell<MaybeUninit<Waker>>,
}

// SAFETY: the slot is all that is not atomic (SLOT). A waker may be put in and taken out on any thread.
unsafe impl Sync for Parent {}
// SAFETY: as above.
unsafe impl Send for Parent {}

/// Children of a small group, by position; or words that may be non-empty, by number, where one hint stands for all
/// congruent numbers.
#[derive(Clone, Copy)]
pub(crate) struct Hints(pub(super) usize);

impl Hints {
    pub(crate) const NONE: Hints = Hints(0);
    #[cfg(all(test, not(gather_loom)))]
    pub(crate) const ALL: Hints = Hints(!WOKEN);

    pub(crate) fn of(word: usize) -> Self {
        Hints(1 << Self::position(word))
    }

    /// Most groups have no more words than there are hints, and need no division.
    #[inline]
    fn position(word: usize) -> usize {
        if word < HINTS { word } else { word % HINTS }
    }

    pub(crate) fn and(self, other: Hints) -> Self {
        Hints(self.0 | other.0)
    }

    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The next hinted word from this one on, where each has a hint of its own. `from` is at most their number.
    #[inline]
    pub(crate) fn next_of_few(self, from: usize) -> Option<usize> {
        let ahead = self.0 >> from;
        (ahead != 0).then(|| from + ahead.trailing_zeros() as usize)
    }

    /// The next hinted word from this one on, of so many.
    #[inline]
    pub(crate) fn next(self, mut from: usize, words: usize) -> Option<usize> {
        if words <= HINTS {
            return if from < words { self.next_of_few(from) } else { None };
        }
        while from < words {
            let position = Self::position(from);
            let ahead = self.0 >> position;
            let step = ahead.trailing_zeros() as usize;
            if step == 0 {
                return Some(from);
            }
            from += step.min(HINTS - position);
        }
        None
    }
}

/// What arming has led to.
pub(super) enum Armed {
    /// The next child that is woken wakes the parent. The earlier hints were taken.
    Since(Hints),
    /// As before the poll: it is armed, or a thread has begun to wake it, and will.
    Still,
    /// The parent must be polled again: a child was woken, or another thread is using the slot.
    Not,
}

impl Parent {
    /// Being polled.
    pub(crate) fn new() -> Self {
        Parent {
            state: AtomicUsize::new(WOKEN),
            stage: AtomicUsize::new(EMPTY),
            is_out: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            slot: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// `None` if it is armed. Otherwise it was woken, or is being polled, and what was written before each hint is visible.
    #[inline]
    pub(crate) fn woken(&self) -> Option<Hints> {
        let state = self.state.load(Ordering::Acquire);
        (state & WOKEN != 0).then_some(Hints(state & !WOKEN))
    }

    /// The children of a small group that were woken and not polled since.
    #[inline]
    pub(super) fn ready(&self) -> usize {
        self.state.load(Ordering::Relaxed) & !WOKEN
    }

    /// Adds hints while it is being polled, so there is no one to wake.
    pub(crate) fn hint(&self, hints: Hints) {
        if self.state.fetch_or(WOKEN | hints.0, Ordering::AcqRel) & WOKEN == 0 {
            self.keep();
        }
    }

    /// Wakes it, if it is armed.
    ///
    /// If the waker panics, the parent is armed again, unless the poller was faster. This wake and those of other children
    /// until then are lost; the next one is not.
    #[inline]
    pub(crate) fn wake(&self, hints: Hints) {
        if let Some(out) = self.disarm(hints) {
            out.waker.wake_by_ref();
            out.give_back();
        }
    }

    /// Reads the waker out, if it is armed. From now on it counts as woken.
    #[inline]
    pub(super) fn disarm(&self, hints: Hints) -> Option<Out<'_>> {
        // Always a write, even if it changes nothing: of this and the poller's arming, one sees the other.
        if self.state.fetch_or(WOKEN | hints.0, Ordering::AcqRel) & WOKEN != 0 {
            return None;
        }
        let stage = self.stage.load(Ordering::Relaxed);
        // SAFETY: SLOT, ONE: by having set `WOKEN`.
        let waker = self.slot.with(|slot| unsafe { slot.cast::<ManuallyDrop<Waker>>().read() });
        self.is_out.store(true, Ordering::Release);
        Some(Out { parent: self, stage, waker })
    }

    /// Arms it for the poller, with this waker. If `quiet`, only if there is no hint.
    pub(super) fn arm(&self, waker: &Waker, quiet: bool) -> Armed {
        let stage = self.stage.load(Ordering::Acquire);
        let generation = stage & !KIND;
        match stage & KIND {
            EMPTY => self.put(waker.clone(), generation),
            SPENT => self.replace(waker),
            LENT if self.is_out.load(Ordering::Acquire) => {
                let clone = waker.clone();
                let next = if generation == LAST_GENERATION { generation } else { generation + NEXT_GENERATION };
                match self.stage.compare_exchange(stage, next | EMPTY, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => self.put(clone, next),
                    Err(stage) if stage & KIND == SPENT => {
                        drop(clone);
                        self.replace(waker);
                    }
                    Err(_) => return Armed::Not,
                }
            }
            LENT if self.state.load(Ordering::Acquire) == 0 && self.holds(waker) => return Armed::Still,
            LENT => {
                if self.state.fetch_or(WOKEN, Ordering::AcqRel) & WOKEN != 0 {
                    return if self.holds(waker) { Armed::Still } else { Armed::Not };
                }
                self.keep();
                self.replace(waker);
            }
            _ => return Armed::Not,
        }
        // Until it is armed, only the poller touches the slot and the stage.
        self.is_out.store(false, Ordering::Relaxed);
        let generation = self.stage.load(Ordering::Relaxed) & !KIND;
        self.stage.store(generation | LENT, Ordering::Relaxed);
        if !quiet {
            return Armed::Since(Hints(self.state.swap(0, Ordering::AcqRel) & !WOKEN));
        }
        match self.state.compare_exchange(WOKEN, 0, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => Armed::Since(Hints::NONE),
            Err(_) => {
                self.keep();
                Armed::Not
            }
        }
    }

    /// The lent slot is the poller's again: the poller has set `WOKEN` itself, or has not unset it.
    fn keep(&self) {
        let generation = self.stage.load(Ordering::Relaxed) & !KIND;
        self.stage.store(generation | SPENT, Ordering::Relaxed);
    }

    /// Whether the waker in the slot, which may be lent, is this one.
    fn holds(&self, waker: &Waker) -> bool {
        // SAFETY: SLOT, by the poller. The waker may have been read out; it is only compared.
        self.slot.with(|slot| unsafe { (*slot).assume_init_ref().will_wake(waker) })
    }

    /// Puts it into the slot, which is empty and the poller's.
    fn put(&self, waker: Waker, generation: usize) {
        // SAFETY: SLOT, in a stage in which it is the poller's.
        self.slot.with_mut(|slot| unsafe { (*slot).write(waker) });
        self.stage.store(generation | SPENT, Ordering::Relaxed);
    }

    /// Puts it into the slot, unless the slot holds an equal one. The slot is the poller's and not empty.
    fn replace(&self, waker: &Waker) {
        if !self.holds(waker) {
            let clone = waker.clone();
            // SAFETY: SLOT, ONE, in a stage in which it is the poller's.
            let old = self.slot.with_mut(|slot| unsafe { mem::replace((*slot).assume_init_mut(), clone) });
            drop(old);
        }
    }

    /// Like [`close`](Self::close), if nothing else can reach it.
    pub(super) fn take(&mut self) -> Option<Waker> {
        let stage = self.stage.load(Ordering::Relaxed);
        let is_in = match stage & KIND {
            SPENT => true,
            LENT => !self.is_out.load(Ordering::Relaxed),
            _ => false,
        };
        self.stage.store(stage & !KIND | EMPTY, Ordering::Relaxed);
        // SAFETY: SLOT, ONE: it was not read out, or it was given back.
        is_in.then(|| self.slot.with(|slot| unsafe { slot.cast::<Waker>().read() }))
    }

    /// Takes the waker for good: the gather was dropped. From now on a waker that was read out is not given back.
    pub(crate) fn close(&self) -> Option<Waker> {
        self.is_closed.store(true, Ordering::Relaxed);
        if let Some(out) = self.disarm(Hints::NONE) {
            return Some(out.into_waker());
        }
        let stage = self.stage.swap(LAST_GENERATION | EMPTY, Ordering::AcqRel);
        // SAFETY: SLOT, ONE: in a stage in which it is the poller's.
        (stage & KIND == SPENT).then(|| self.slot.with(|slot| unsafe { slot.cast::<Waker>().read() }))
    }
}

/// The parent's waker, read out of the slot. If its wake panics, this is dropped, and lends it again.
pub(super) struct Out<'a> {
    parent: &'a Parent,
    /// The stage in which it was lent.
    stage: usize,
    waker: ManuallyDrop<Waker>,
}

impl Out<'_> {
    /// Changes the kind of the stage. False if the stage is no longer that in which it was lent.
    fn advance(&self, kind: usize) -> bool {
        let (stage, to) = (self.stage, self.stage & !KIND | kind);
        stage & KIND == LENT
            && stage & !KIND != LAST_GENERATION
            && self.parent.stage.compare_exchange(stage, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn into_waker(self) -> Waker {
        let mut out = ManuallyDrop::new(self);
        // SAFETY: ONE, it is not used after.
        unsafe { ManuallyDrop::take(&mut out.waker) }
    }

    /// After the wake: leaves the waker in the slot, unless the poller has taken the slot away.
    #[inline]
    pub(super) fn give_back(self) {
        if self.advance(SPENT) { mem::forget(self) } else { drop(self.into_waker()) }
    }

    /// Arms the parent again, unless the poller was faster or is gone.
    pub(super) fn lend_again(self) {
        if !self.advance(RETURNING) {
            return drop(self.into_waker());
        }
        let Out { parent, stage, .. } = self;
        parent.is_out.store(false, Ordering::Relaxed);
        // In another generation: the poller may have seen `is_out` before, and must not take away what is lent now.
        let (returning, lent) = (stage & !KIND | RETURNING, stage + NEXT_GENERATION);
        if parent.stage.compare_exchange(returning, lent, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return drop(self.into_waker());
        }
        mem::forget(self);
        // The hints stay, as what they stand for was not polled yet.
        parent.state.fetch_and(!WOKEN, Ordering::AcqRel);
        // Both this and `close` write the state; the second of them takes the waker.
        if parent.is_closed.load(Ordering::Relaxed) {
            if let Some(out) = parent.disarm(Hints::NONE) {
                drop(out.into_waker());
            }
        }
    }
}

impl Drop for Out<'_> {
    fn drop(&mut self) {
        // SAFETY: ONE, it is not used after.
        let waker = ManuallyDrop::new(unsafe { ManuallyDrop::take(&mut self.waker) });
        Out { parent: self.parent, stage: self.stage, waker }.lend_again();
    }
}
