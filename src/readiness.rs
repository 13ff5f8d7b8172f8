//! Which children were woken: the waker block of a `Vec` or a boxed slice.
//!
//! One reference-counted allocation, the block, holds everything that wakers share. A *small* group has at most as many
//! children as there are [`HINTS`](sync::HINTS). Its block is only a header, and is made when a child first clones its waker:
//!
//! ```text
//! small:  Header: references, parent (its state has a bit for each child)
//! others: Header: references, parent │ Group 0 │ Group 1 │ … │ summary word 0 │ …
//!         └ each aligned to its size ┴─────────┘
//! ```
//!
//! In larger groups the children are divided into groups of the width of a word. The waker of a child points into its
//! group, as many bytes behind the group's start as the child's position in it. So a waker needs no memory of its own: it
//! finds its group by masking its own address, and the header by the group's number. In a small group it points into the
//! header.
//!
//! *Lending.* A child that never cloned its waker is lent one that points to the stack of the poll. Waking it is a store
//! there. When the child's poll returns, the store is seen, and the child counts as woken for the next poll. Cloning it makes
//! the block, if there is none, and returns a waker of the block. From then on the child is lent that waker, so `will_wake`
//! holds between polls. Other threads may use a `&Waker`, but not longer than the poll; so their stores need no ordering of
//! their own. If several threads make the block at once, one of them succeeds.
//!
//! *Waking* goes up, and stops at the first step that was taken before. In a small group there is one step: set the bit of
//! the child in the state of the [`Parent`](parent::Parent), and wake the parent, if it is armed. In larger ones: set the bit
//! of the child in the group's `ready` word; if that was empty, hint at the group in the state, and wake the parent, if it is
//! armed. If there are more groups than hints, there is a summary in between: set the group's mark in it, and if that word
//! was empty, hint at the word.
//!
//! *Polling* goes down: it takes the bits of the words that were hinted at, in index order. After a wake the parent is not
//! armed until the poll ends, so no child wakes it for something that this poll may still see. If it is polled for another
//! reason, such as the signal, it is still armed, and may be woken once more. At the end of a poll that is not cut
//! [`rearm`](WakerBlock::rearm) arms it: in a small group only if the state has no bit, in one step; in larger ones it arms,
//! and then looks once more. A waker writes its bit or mark and then the parent's state; the poller writes the parent's
//! state and then looks at the words. Both write the state by a read-modify-write, so one of them sees the other, and no
//! wake is lost. If a child of a small group is known to be woken, `rearm` does not arm, and wakes the parent.
//!
//! Read-modify-writes in the cycle wake, poll, rearm of one child: in a small group four (set the bit, give the parent's
//! waker back, take the bit, arm), in larger ones five. A child that wakes itself through a lent waker needs none.
//!
//! A waker that finds the word of a group or of the summary empty marks it, or hints at it, one step above. So a word that is
//! not empty is marked, or its mark is about to come, or the poll is about to look at it:
//!
//! - a waker that returns early has found the word not empty;
//! - a poll removes the mark of a word before it takes from the word. What it leaves there because its turn in this pass is
//!   over is marked again by a waker or seen by `rearm`. What it leaves because the pass is over a part of a group, or is cut,
//!   and children that have woken themselves, are marked again when the group is closed. Hints stay until `rearm` takes
//!   them all, and looks at each.
//!
//! A parent that panicked when it was woken is armed again although words are not empty. So a waker returns early only if
//! the parent is not armed.
//!
//! Invariants of this module's `unsafe`:
//!
//! - COUNTED: the allocation lives while `references` is not zero. The owner holds one reference from when the block is made.
//!   Each `Waker` holds one, except those that [`OpenGroup::with_waker`] lends, which do not outlive its call.
//! - WITHIN: every pointer to the header, a group, a summary word or a child's position is derived from the pointer of the
//!   allocation, and stays within its bounds. The number of a group or a word, or the index of a child, is below their count,
//!   which is asserted where it is turned into a pointer. A position is the number of a bit, so below `WIDTH`; a group has at
//!   least that many bytes, and so has the room of the header.
//! - ENCLOSED: a waker with the functions of [`Lent`] is only lent, by a call that outlives the loan and owns
//!   what the waker points to. Its clones have other functions. Everything stored there is atomic.
//! - OWNED: only the owner touches the marks of a group, through `&mut WakerBlock` or an [`OpenGroup`] that borrows it; they
//!   may be read through `&WakerBlock`.
//! - SHARED: everything else is atomic, or the [`Parent`](parent::Parent), which may be shared, or was written when the block
//!   was made and is only read since. So wakers work on any thread.

#![allow(unsafe_code, reason = "one allocation that outlives its owner, and wakers that are positions in it")]

mod block;
#[cfg(all(test, gather_loom))]
mod models;
mod parent;
mod pass;
mod sync;
#[cfg(all(test, not(gather_loom)))]
mod tests;
mod waker;

use core::mem::ManuallyDrop;
#[cfg(test)]
use core::ops::ControlFlow;
use core::ops::Range;
use core::ptr::NonNull;
use core::task::Waker;

use self::block::{Group, Header, Lazy, Marks, group_of, is_small, low_bits, release};
use self::parent::{Armed, Hints, WOKEN};
use self::pass::mask;
pub(crate) use self::pass::{OpenGroup, Pass, Turn};
pub(crate) use self::sync::WIDTH;
use self::sync::{AtomicUsize, Ordering};
pub(crate) use self::waker::Lent;
use self::waker::raw_of;

/// More references than this are treated as a leak that is about to overflow the count.
const MAX_REFERENCES: usize = isize::MAX as usize;

/// The owner's handle. It may be sent and shared: COUNTED, SHARED; and OWNED, by its present owner.
pub(crate) struct WakerBlock {
    /// Made when a child first clones its waker, or before.
    lazy: Lazy,
    /// How many groups have a live child.
    live_groups: usize,
    /// Those of a small group.
    only: Marks,
    /// Children of a small group that have woken themselves, or whose turn did not come. In larger groups their bits are put
    /// back.
    woken: usize,
}

impl WakerBlock {
    /// A block whose children are all live, none kept, none woken; the parent is being polled.
    #[inline]
    pub(crate) fn new(children: usize) -> Self {
        let only = Marks { live: low_bits(children), kept: 0, cloned: 0 };
        let live_groups = children.div_ceil(WIDTH);
        let block = WakerBlock { lazy: Lazy::new(children), live_groups, only, woken: 0 };
        if !block.is_small() {
            block.lazy.make();
        }
        block
    }

    /// Like [`new`](Self::new), but the wakers of the block are never lent, and wake the parent between polls too: for
    /// children that are visited one by one.
    pub(crate) fn lasting(children: usize) -> Self {
        let block = WakerBlock::new(children);
        block.lazy.header_or_make();
        block
    }

    #[inline]
    fn is_small(&self) -> bool {
        is_small(self.lazy.children)
    }

    #[inline]
    fn header(&self) -> Option<&Header> {
        // SAFETY: COUNTED.
        self.lazy.header().map(|header| unsafe { header.as_ref() })
    }

    /// A pointer, not a reference, so that wakers made of it reach the header too. Not for a small group.
    #[inline]
    fn group_at(&self, number: usize) -> NonNull<Group> {
        assert!(number < block::groups(self.lazy.children));
        let header = self.lazy.header().expect("made at once");
        // SAFETY: COUNTED, WITHIN.
        unsafe { group_of(header, number) }
    }

    fn summary(&self, word: usize) -> &AtomicUsize {
        self.lazy.summary(word)
    }

    #[inline]
    fn summary_words(&self) -> usize {
        self.lazy.summary_words()
    }

    pub(crate) fn children(&self) -> usize {
        self.lazy.children
    }

    /// The number of the group of a child.
    pub(crate) fn group_of(&self, child: usize) -> usize {
        child / WIDTH
    }

    pub(crate) fn groups(&self) -> usize {
        self.lazy.children.div_ceil(WIDTH)
    }

    /// Whether a child has not ended.
    pub(crate) fn has_live(&self) -> bool {
        self.live_groups != 0
    }

    #[inline]
    fn marks_of(&self, number: usize) -> &Marks {
        match self.is_small() {
            true => &self.only,
            // SAFETY: COUNTED, WITHIN, OWNED, for as long as the block is borrowed.
            false => unsafe { &*self.group_at(number).as_ref().marks.get() },
        }
    }

    pub(crate) fn is_live(&self, child: usize) -> bool {
        child < self.children() && self.marks_of(child / WIDTH).live & bit(child) != 0
    }

    pub(crate) fn is_kept(&self, child: usize) -> bool {
        child < self.children() && self.marks_of(child / WIDTH).kept & bit(child) != 0
    }

    /// Whether the output of every child is kept.
    #[inline]
    pub(crate) fn keeps_all(&self) -> bool {
        (0..self.groups()).all(|number| self.marks_of(number).kept == low_bits(self.children() - number * WIDTH))
    }

    /// The children of a group, to be visited.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn open(&mut self, number: usize, turn: Turn) -> OpenGroup<'_> {
        OpenGroup::new(self, number, turn)
    }

    /// Called at the end of a poll that is pending. From now on the next child that is woken wakes the parent. If one was
    /// woken since its turn in this poll, the parent is woken at once.
    pub(crate) fn rearm(&mut self, waker: &Waker) {
        if self.woken != 0 {
            return waker.wake_by_ref();
        }
        // Without a block nothing could wake it.
        let Some(Header { parent, .. }) = self.header() else { return };
        let is_small = self.is_small();
        if is_small && parent.ready() != 0 {
            return waker.wake_by_ref();
        }
        self.unmark_empty_groups();
        match parent.arm(waker, is_small) {
            Armed::Not => waker.wake_by_ref(),
            Armed::Since(hints) if !is_small => {
                if let Some(hints) = self.any_ready(hints) {
                    parent.wake(hints);
                }
            }
            Armed::Since(_) | Armed::Still => {}
        }
    }

    /// Removes the marks of groups whose children were all taken in the pass in which they were woken.
    fn unmark_empty_groups(&self) {
        let words = self.summary_words();
        if words == 0 {
            return;
        }
        let Some(hints) = self.header().and_then(|header| header.parent.woken()) else { return };
        let mut from = 0;
        while let Some(word) = hints.next(from, words) {
            from = word + 1;
            let summary = self.summary(word);
            let mut marked = summary.load(Ordering::Relaxed);
            while marked != 0 {
                let position = marked.trailing_zeros() as usize;
                marked &= marked - 1;
                // SAFETY: COUNTED, WITHIN.
                let ready = &unsafe { self.group_at(word * WIDTH + position).as_ref() }.ready;
                if ready.load(Ordering::Relaxed) == 0 {
                    // First the mark, then another look: a waker that set a bit before the mark is seen here, and one that
                    // sets it now marks again.
                    summary.fetch_and(!bit(position), Ordering::AcqRel);
                    if ready.load(Ordering::Acquire) != 0 {
                        summary.fetch_or(bit(position), Ordering::AcqRel);
                    }
                }
            }
        }
    }

    /// The words that were hinted at and are not empty, if there are any.
    fn any_ready(&self, hints: Hints) -> Option<Hints> {
        let summary_words = self.summary_words();
        let words = if summary_words == 0 { self.groups() } else { summary_words };
        let (mut from, mut found) = (0, Hints::NONE);
        while let Some(number) = hints.next(from, words) {
            from = number + 1;
            let is_empty = match summary_words {
                // SAFETY: COUNTED, WITHIN.
                0 => unsafe { self.group_at(number).as_ref() }.ready.load(Ordering::Acquire) == 0,
                _ => self.summary(number).load(Ordering::Acquire) == 0,
            };
            if !is_empty {
                found = found.and(Hints::of(number));
            }
        }
        (!found.is_none()).then_some(found)
    }
}

/// For children that are visited one by one, with any code between the visits.
impl WakerBlock {
    /// Takes the first child in a range of indices that was woken: it no longer counts as woken.
    pub(crate) fn take_woken(&mut self, range: Range<usize>) -> Option<usize> {
        if self.is_small() {
            // All of the range are taken at once; those that are not returned now count as woken by the owner's word.
            let ahead = mask(range.start, 0) & !mask(range.end, 0) & !WOKEN;
            self.woken |= self.header().map_or(0, |header| take_bits(&header.parent.state, ahead));
            let woken = self.woken & ahead;
            self.woken &= !(woken & woken.wrapping_neg());
            return (woken != 0).then(|| woken.trailing_zeros() as usize);
        }
        let mut pass = Pass::new([range, 0..0]);
        while let Some((number, ahead)) = pass.next_marked(self) {
            // SAFETY: COUNTED, WITHIN.
            let ready = &unsafe { self.group_at(number).as_ref() }.ready;
            let woken = ready.load(Ordering::Relaxed) & ahead;
            let taken = take_bits(ready, woken & woken.wrapping_neg());
            if self.summary_words() != 0 && ready.load(Ordering::Acquire) != 0 {
                self.lazy.mark(number);
            }
            if taken != 0 {
                return Some(number * WIDTH + taken.trailing_zeros() as usize);
            }
        }
        None
    }

    pub(crate) fn take_wake(&mut self, child: usize) {
        self.woken &= !bit(child);
        if !self.is_small() {
            // SAFETY: COUNTED, WITHIN.
            take_bits(&unsafe { self.group_at(child / WIDTH).as_ref() }.ready, bit(child));
        } else if let Some(header) = self.header() {
            take_bits(&header.parent.state, bit(child));
        }
    }

    /// Calls `poll` with the waker of a child, one of the block, since a wake of a lent one would not be looked for.
    pub(crate) fn with_waker<R>(&mut self, child: usize, poll: impl FnOnce(&Waker) -> R) -> R {
        assert!(child < self.children());
        let header = self.lazy.header_or_make();
        // SAFETY: COUNTED, WITHIN.
        let (data, vtable) = unsafe { raw_of(header, self.lazy.children, child) };
        // SAFETY: COUNTED, SHARED. It is not dropped, so it takes no reference, and the block, which is borrowed, lives
        // while it is lent.
        let waker = ManuallyDrop::new(unsafe { Waker::new(data, vtable) });
        poll(&waker)
    }
}

/// The passes of a `Vec`, for the tests of this module.
#[cfg(test)]
impl WakerBlock {
    /// Visits the woken children of a range until the visitor breaks.
    fn visit_woken(
        &mut self,
        from: usize,
        below: usize,
        mut visit: impl FnMut(usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let from = from.min(below);
        let mut pass = Pass::new([from..below, 0..from]);
        while let Some((number, turn)) = pass.next_group(self) {
            let mut group = self.open(number, turn);
            while let Some(position) = group.next_woken() {
                visit(group.index(position))?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Calls `poll` with the waker that a child is lent for a poll.
    fn with_lent<R>(&mut self, child: usize, poll: impl FnOnce(&Waker) -> R) -> R {
        let mut group = self.open(child / WIDTH, Turn::NONE);
        let mut lent = group.lend();
        group.with_waker(&mut lent, child % WIDTH, poll)
    }

    /// Visits all live children.
    fn visit_all(&mut self, mut visit: impl FnMut(usize)) {
        for number in 0..self.groups() {
            let mut group = self.open(number, Turn::NONE);
            for position in group.live(0) {
                group.take_wake(position);
                visit(group.index(position));
            }
        }
    }
}

impl Drop for WakerBlock {
    fn drop(&mut self) {
        let Some(mut header) = self.lazy.header() else { return };
        // SAFETY: COUNTED. If the owner's reference is the only one, nothing can clone another.
        let parent = unsafe {
            match header.as_ref().references.load(Ordering::Acquire) {
                1 => header.as_mut().parent.take(),
                _ => header.as_ref().parent.close(),
            }
        };
        // SAFETY: COUNTED, this is the owner's reference.
        unsafe { release(header) };
        // Dropped here and not with the last waker, as the parent may be gone long before that. And at the end, as its
        // destructor may panic.
        drop(parent);
    }
}

/// Unsets these bits. Returns those that were set.
#[inline]
fn take_bits(word: &AtomicUsize, bits: usize) -> usize {
    if word.load(Ordering::Relaxed) & bits == 0 {
        return 0;
    }
    // A swap is the faster of the two.
    if bits == usize::MAX { word.swap(0, Ordering::AcqRel) } else { word.fetch_and(!bits, Ordering::AcqRel) & bits }
}

fn bit(child: usize) -> usize {
    1 << (child % WIDTH)
}
