//! A pass over the woken children: which groups, and which positions in them. The invariants are those of
//! [`readiness`](super).

#![allow(unsafe_code, reason = "a group is lent while its children are visited")]

use core::mem::ManuallyDrop;
use core::ops::Range;
use core::ptr::NonNull;
use core::task::Waker;

use super::sync::{AtomicUsize, Ordering, WIDTH};
use super::waker::VTABLE;
use super::{Group, WakerBlock, bit};

/// The bits that were taken from a group's `ready` word, and how far they have been handed out.
pub(crate) struct Taken {
    pub(super) bits: usize,
    /// The positions whose turn is not over.
    ahead: usize,
    /// The range of the pass leaves out some positions of the group.
    pub(super) is_part: bool,
}

impl Taken {
    /// The next position, of those taken or set since in `ready` ahead of the last one.
    #[inline]
    fn next(&mut self, ready: &AtomicUsize) -> Option<usize> {
        if ready.load(Ordering::Relaxed) & self.ahead != 0 {
            // A swap is the faster of the two.
            self.bits |= match self.ahead {
                usize::MAX => ready.swap(0, Ordering::AcqRel),
                ahead => ready.fetch_and(!ahead, Ordering::AcqRel) & ahead,
            };
        }
        if self.bits == 0 {
            return None;
        }
        let position = self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        self.ahead &= (usize::MAX - 1) << position;
        Some(position)
    }
}

/// A pass over the groups of the woken children. It does not borrow the block, which is written to in between.
pub(crate) struct Woken {
    /// The turn of the groups before this one is over.
    pub(super) next: usize,
    /// Where the range ends.
    pub(super) end: usize,
}

impl Woken {
    /// The next group in which a child was woken, also one that is marked meanwhile ahead of the last one. Its mark is
    /// taken away.
    #[inline]
    pub(crate) fn next_group(&mut self, block: &WakerBlock) -> Option<usize> {
        // `None`: the gather was polled for another reason, no child was woken.
        let hints = || block.header().parent.woken();
        if block.summary_words() == 0 {
            let number = hints()?.next(self.next, self.end)?;
            self.next = number + 1;
            return Some(number);
        }
        while self.next < self.end {
            let word = hints()?.next(self.next / WIDTH, self.end.div_ceil(WIDTH))?;
            let summary = block.summary(word);
            let ahead = usize::MAX << self.next.saturating_sub(word * WIDTH);
            let marked = summary.load(Ordering::Acquire) & ahead;
            if marked == 0 {
                self.next = (word + 1) * WIDTH;
                continue;
            }
            let number = word * WIDTH + marked.trailing_zeros() as usize;
            self.next = number + 1;
            if number < self.end {
                summary.fetch_and(!bit(number), Ordering::AcqRel);
                return Some(number);
            }
        }
        None
    }
}

/// A group whose children are visited. What is written down of them is held here, where the compiler can keep it in
/// registers, and is written back at the end, also if that is a panic.
pub(crate) struct OpenGroup<'a> {
    pub(super) group: NonNull<Group>,
    /// The index of its first child.
    pub(super) first: usize,
    pub(super) live: usize,
    pub(super) kept: usize,
    pub(super) live_count: &'a mut usize,
}

impl OpenGroup<'_> {
    #[inline]
    fn group(&self) -> &Group {
        // SAFETY: COUNTED, WITHIN: it was made of the block that it borrows from.
        unsafe { self.group.as_ref() }
    }

    #[inline]
    pub(crate) fn index(&self, position: usize) -> usize {
        self.first + position
    }

    /// The positions from this index on of those who are live now.
    #[inline]
    pub(crate) fn live(&self, from: usize) -> Positions {
        Positions(self.live & self.mask(from))
    }

    /// The positions of those who are live, or of which something is kept, now.
    #[inline]
    pub(crate) fn left(&self) -> Positions {
        Positions(self.live | self.kept)
    }

    /// The positions from this index on of those of which something is kept now.
    #[inline]
    pub(crate) fn kept(&self, from: usize) -> Positions {
        Positions(self.kept & self.mask(from))
    }

    fn mask(&self, from: usize) -> usize {
        match from.saturating_sub(self.first) {
            skipped if skipped < WIDTH => usize::MAX << skipped,
            _ => 0,
        }
    }

    #[inline]
    pub(crate) fn is_live(&self, position: usize) -> bool {
        self.live & bit(position) != 0
    }

    #[inline]
    pub(crate) fn is_kept(&self, position: usize) -> bool {
        self.kept & bit(position) != 0
    }

    #[inline]
    pub(crate) fn set_kept(&mut self, position: usize, is_kept: bool) {
        self.kept = if is_kept { self.kept | bit(position) } else { self.kept & !bit(position) };
    }

    /// The child has ended.
    #[inline]
    pub(crate) fn end(&mut self, position: usize) {
        self.live &= !bit(position);
    }

    /// The woken ones within a range of indices, to be taken one by one: in index order, also those that are woken
    /// meanwhile ahead of the last one.
    #[inline]
    pub(crate) fn woken(&self, range: &Range<usize>) -> Taken {
        let ahead = self.mask(range.start) & !self.mask(range.end);
        Taken { bits: 0, ahead, is_part: ahead != usize::MAX }
    }

    /// It no longer counts as woken.
    #[inline]
    pub(crate) fn take_wake(&self, position: usize) {
        let ready = &self.group().ready;
        if ready.load(Ordering::Relaxed) & bit(position) != 0 {
            ready.fetch_and(!bit(position), Ordering::AcqRel);
        }
    }

    #[inline]
    pub(crate) fn next_woken(&self, woken: &mut Taken) -> Option<usize> {
        loop {
            let position = woken.next(&self.group().ready)?;
            if self.is_live(position) {
                return Some(position);
            }
        }
    }

    /// Calls `poll` with the waker of a child.
    #[inline]
    pub(crate) fn with_waker<R>(&self, position: usize, poll: impl FnOnce(&Waker) -> R) -> R {
        debug_assert!(position < WIDTH);
        let data = self.group.as_ptr().cast::<u8>().wrapping_add(position);
        // SAFETY: the vtable keeps the contract of a waker: COUNTED, SHARED. The lent waker is not dropped, so it takes
        // no reference, and the block, which is borrowed, lives while it is lent.
        let waker = ManuallyDrop::new(unsafe { Waker::new(data.cast(), &VTABLE) });
        poll(&waker)
    }
}

impl Drop for OpenGroup<'_> {
    #[inline]
    fn drop(&mut self) {
        let Group { live, kept, ready, .. } = self.group();
        let ended = live.get() & !self.live;
        live.set(self.live);
        kept.set(self.kept);
        // Ended children are never polled again, so discard their wakes.
        if ready.load(Ordering::Relaxed) & ended != 0 {
            ready.fetch_and(!ended, Ordering::AcqRel);
        }
        *self.live_count -= ended.count_ones() as usize;
    }
}

/// Positions in a group, in order.
pub(crate) struct Positions(usize);

impl Iterator for Positions {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let position = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (position < usize::BITS).then_some(position as usize)
    }
}
