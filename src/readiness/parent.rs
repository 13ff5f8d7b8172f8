//! The waker of the parent, whether it is to be woken, and where the children are that woke it.
//!
//! The state has a bit [`WOKEN`], and below it [`Hints`] of what is worth a look: the children themselves in a small
//! group, else words.
//!
//! - *armed*, without `WOKEN`: the next child that is woken wakes the parent. The slot holds its waker, and is lent to who
//!   sets `WOKEN` then.
//! - *woken*, with `WOKEN`: it was woken, or is being polled. Nobody else wakes it. The poller may put a waker into the
//!   slot, if that is not lent, and arm.
//!
//! Who sets `WOKEN` reads the waker out of the slot, says so in `is_out`, wakes it, and gives it back, so that in the usual
//! case the poller finds its own waker there and need not clone it. If the poller comes before that, it takes the slot
//! away, by another generation of the stage, and puts a clone into it; who has the old waker then drops it. So nobody
//! waits for foreign code: a child that finds `WOKEN` set adds its hint, and has nothing more to do; the poller, if it
//! comes between the two steps of setting `WOKEN` and `is_out`, has itself polled again. Wakers are cloned, woken and
//! dropped when nothing is half done, so foreign code may do what it likes.
//!
//! Invariants of this module's `unsafe`:
//!
//! - SLOT: the slot is written by the poller alone, and only in a stage in which it is the poller's: `EMPTY`, `SPENT`. It
//!   comes to be by the poller's own step: that sets `WOKEN` while the slot is lent, or takes it away after `is_out` was
//!   set. Or it was given back. It is read by who has set `WOKEN` while it is lent, before `is_out` is set; and by the
//!   poller. Each step acquires what the one before it released.
//! - ONE: the waker in the slot is owned once: by the slot in the stages `LENT`, before somebody sets `WOKEN`, and
//!   `SPENT`; else by who has read it out. That one gives it back only while the stage is as it was when it was lent.
//!   Stages of the last generation are never given back to, so that none comes twice.

use core::mem::{self, ManuallyDrop, MaybeUninit};
use core::task::Waker;

use super::sync::{AtomicBool, AtomicUsize, GENERATIONS, HINTS, Ordering, UnsafeCell};

/// Forbids to wake the parent. Set by the first child that is woken since it was armed, and while it is polled.
pub(super) const WOKEN: usize = 1 << (usize::BITS - 1);

/// The two low bits of the stage; above them is the generation, which goes up whenever the poller takes the slot away.
const KIND: usize = 3;
/// The slot is the poller's, and nothing is in it.
const EMPTY: usize = 0;
/// The slot is the poller's, and the parent's waker in it was woken.
const SPENT: usize = 1;
/// The waker in the slot belongs to who sets `WOKEN`.
const LENT: usize = 2;
/// Forbids to take the slot away. Who has read the waker out, and could not wake it, is about to lend it again.
const RETURNING: usize = 3;

const NEXT_GENERATION: usize = KIND + 1;
const LAST_GENERATION: usize = GENERATIONS * NEXT_GENERATION;

pub(crate) struct Parent {
    pub(super) state: AtomicUsize,
    stage: AtomicUsize,
    /// The waker that is lent was read out. Unset by the poller, before it arms.
    is_out: AtomicBool,
    /// Forbids to leave a waker in the slot: the gather is gone.
    is_closed: AtomicBool,
    slot: UnsafeCell<MaybeUninit<Waker>>,
}

// SAFETY: the slot is all that is not atomic (SLOT). A waker may be put in and taken out on any thread.
unsafe impl Sync for Parent {}
// SAFETY: as above.
unsafe impl Send for Parent {}

/// Children of a small group by their position; or words that may not be empty, by their number: one hint stands for all
/// that are congruent.
#[derive(Clone, Copy)]
pub(crate) struct Hints(pub(super) usize);

impl Hints {
    pub(crate) const NONE: Hints = Hints(0);
    #[cfg(all(test, not(gather_loom)))]
    pub(crate) const ALL: Hints = Hints(!WOKEN);

    pub(crate) fn of(word: usize) -> Self {
        Hints(1 << Self::position(word))
    }

    /// Most have no more words than there are hints, and need no division.
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

    /// The next hinted word from this one on, of so many.
    #[inline]
    pub(crate) fn next(self, mut from: usize, words: usize) -> Option<usize> {
        if words <= HINTS {
            // Each has a hint of its own.
            let next = if from < words { from + (self.0 >> from).trailing_zeros() as usize } else { words };
            return (next < words).then_some(next);
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

/// How the poller ends a poll that is pending.
pub(super) enum Armed {
    /// The next child that is woken wakes the parent. The hints from before were taken.
    Since(Hints),
    /// As it was before the poll.
    Still,
    /// It is to be polled again: a child was woken, or somebody is at the slot.
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

    /// `None`: it is armed. Else it was woken, or is being polled, and what came before each hint is seen.
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

    /// Adds hints while it is being polled, when there is nothing to wake.
    pub(crate) fn hint(&self, hints: Hints) {
        if self.state.fetch_or(WOKEN | hints.0, Ordering::AcqRel) & WOKEN == 0 {
            self.keep();
        }
    }

    /// Wakes it, if it is armed.
    ///
    /// If the waker panics, it is armed again, unless the poller was faster: this wake is lost, and so are those of other
    /// children that came until then; the next one is not.
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
        // Always a write, also where it changes nothing: of this and the poller's arming, one sees the other.
        if self.state.fetch_or(WOKEN | hints.0, Ordering::AcqRel) & WOKEN != 0 {
            return None;
        }
        let stage = self.stage.load(Ordering::Relaxed);
        // SAFETY: SLOT, ONE: by having set `WOKEN`.
        let waker = self.slot.with(|slot| unsafe { slot.cast::<ManuallyDrop<Waker>>().read() });
        self.is_out.store(true, Ordering::Release);
        Some(Out { parent: self, stage, waker })
    }

    /// Arms it for the poller, who has this waker. If `quiet`, only while no hint is left.
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
                    return Armed::Not;
                }
                self.keep();
                self.replace(waker);
            }
            _ => return Armed::Not,
        }
        // Nobody but the poller touches the slot or the stage until it is armed.
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

    /// The slot, which is lent, is the poller's again: it has set `WOKEN` itself, or not unset it.
    fn keep(&self) {
        let generation = self.stage.load(Ordering::Relaxed) & !KIND;
        self.stage.store(generation | SPENT, Ordering::Relaxed);
    }

    /// Whether the waker in the slot, which may be lent, is this one.
    fn holds(&self, waker: &Waker) -> bool {
        // SAFETY: SLOT, by the poller. It may have been read out; it is compared, and not used.
        self.slot.with(|slot| unsafe { (*slot).assume_init_ref().will_wake(waker) })
    }

    /// Puts it into the slot, which is empty and the poller's.
    fn put(&self, waker: Waker, generation: usize) {
        // SAFETY: SLOT, in a stage in which it is the poller's.
        self.slot.with_mut(|slot| unsafe { (*slot).write(waker) });
        self.stage.store(generation | SPENT, Ordering::Relaxed);
    }

    /// Has this one in the slot, which is not empty and the poller's.
    fn replace(&self, waker: &Waker) {
        if !self.holds(waker) {
            let clone = waker.clone();
            // SAFETY: SLOT, ONE, in a stage in which it is the poller's.
            let old = self.slot.with_mut(|slot| unsafe { mem::replace((*slot).assume_init_mut(), clone) });
            drop(old);
        }
    }

    /// As [`close`](Self::close), when nobody else can reach it.
    pub(super) fn take(&mut self) -> Option<Waker> {
        let stage = self.stage.load(Ordering::Relaxed);
        let is_in = match stage & KIND {
            SPENT => true,
            LENT => !self.is_out.load(Ordering::Relaxed),
            _ => false,
        };
        self.stage.store(stage & !KIND | EMPTY, Ordering::Relaxed);
        // SAFETY: SLOT, ONE: nobody has read it out, or it was given back.
        is_in.then(|| self.slot.with(|slot| unsafe { slot.cast::<Waker>().read() }))
    }

    /// Takes the waker for good: the gather is gone. One that was read out is not given back from now on.
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

/// The parent's waker, read out of the slot. Dropped by a panic of its wake, it is lent again.
pub(super) struct Out<'a> {
    parent: &'a Parent,
    /// That in which it was lent.
    stage: usize,
    waker: ManuallyDrop<Waker>,
}

impl Out<'_> {
    /// Whether the stage was still that in which it was lent, and is of this kind now.
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

    /// It was woken: the poller may have it, unless it took the slot away, or is gone.
    #[inline]
    pub(super) fn give_back(self) {
        if self.advance(SPENT) { mem::forget(self) } else { drop(self.into_waker()) }
    }

    /// Arms the parent again, unless the poller was faster, or is gone.
    pub(super) fn lend_again(self) {
        if !self.advance(RETURNING) {
            return drop(self.into_waker());
        }
        let Out { parent, stage, .. } = self;
        parent.is_out.store(false, Ordering::Relaxed);
        // Of another generation: the poller may have seen `is_out` before, and must not take away what is lent anew.
        let (returning, lent) = (stage & !KIND | RETURNING, stage + NEXT_GENERATION);
        if parent.stage.compare_exchange(returning, lent, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return drop(self.into_waker());
        }
        mem::forget(self);
        // The hints stay: what they stand for is still to be polled.
        parent.state.fetch_and(!WOKEN, Ordering::AcqRel);
        // This writes the state, and so does `close`: whichever comes second takes the waker.
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
