//! A pass over the woken children: which groups, and which positions in them. For the invariants see
//! [`readiness`](super).

#![allow(unsafe_code, reason = "a group is lent while its children are visited")]

use core::mem::{self, ManuallyDrop};
use core::ops::Range;
use core::task::Waker;

use super::block::{Group, Lazy, Marks};
use super::parent::{Hints, WOKEN};
use super::sync::{AtomicUsize, Ordering, WIDTH};
use super::waker::{Lent, raw_of};
use super::{WakerBlock, bit, take_bits};

/// A pass over the groups of the woken children. It does not borrow the block, which is written to meanwhile.
pub(crate) struct Pass {
    /// The turn of all groups before this one is over.
    next: usize,
    /// In index order, one after the other. A small group is visited only once; its word is rotated instead.
    range: Range<usize>,
    rest: Range<usize>,
}

impl Pass {
    /// Over the first range, then over the second one, in index order. The second one ends where the first one begins.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn new([range, rest]: [Range<usize>; 2]) -> Self {
        Pass { next: range.start / WIDTH, range, rest }
    }

    /// The number of the next group in which a child was woken, even if it was marked during the pass, and the turn of its
    /// children.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn next_group(&mut self, block: &mut WakerBlock) -> Option<(usize, Turn)> {
        if block.is_small() {
            let [range, rest] = [&mut self.range, &mut self.rest].map(|range| mem::replace(range, 0..0));
            let ahead = (mask(range.start, 0) & !mask(range.end, 0) | !mask(rest.end, 0)) & !WOKEN;
            if ahead == 0 {
                return None;
            }
            let taken = block.woken & ahead;
            block.woken &= !ahead;
            return Some((0, Turn::round(range.start, taken, ahead)));
        }
        loop {
            if let Some((number, ahead)) = self.next_marked(block) {
                return Some((number, Turn::within(ahead)));
            }
            if self.rest.is_empty() {
                return None;
            }
            self.range = mem::replace(&mut self.rest, 0..0);
            self.next = 0;
        }
    }

    /// The number of the next marked group in the range, and which of its positions are in the range. Removes the mark.
    #[inline]
    pub(super) fn next_marked(&mut self, block: &WakerBlock) -> Option<(usize, usize)> {
        let parent = &block.header()?.parent;
        // `None`: no child was woken, the gather was polled for another reason.
        while let Some(hints) = parent.woken() {
            let number = match block.summary_words() {
                // Each group has a hint of its own.
                0 => hints.next_of_few(self.next)?,
                words => self.next_in_summary(block, words, hints)?,
            };
            let first = number * WIDTH;
            if first >= self.range.end {
                break;
            }
            self.next = number + 1;
            let ahead = mask(self.range.start, first) & !mask(self.range.end, first);
            // If none of them has its turn, the group keeps its mark.
            // SAFETY: COUNTED, WITHIN.
            if unsafe { block.group_at(number).as_ref() }.ready.load(Ordering::Acquire) & ahead != 0 {
                if block.summary_words() != 0 {
                    block.summary(number / WIDTH).fetch_and(!bit(number), Ordering::AcqRel);
                }
                return Some((number, ahead));
            }
        }
        None
    }

    /// The number of the next group that is marked in the words of the summary.
    fn next_in_summary(&self, block: &WakerBlock, words: usize, hints: Hints) -> Option<usize> {
        let mut next = self.next;
        loop {
            let word = hints.next(next / WIDTH, words)?;
            let ahead = usize::MAX << next.saturating_sub(word * WIDTH);
            let marked = block.summary(word).load(Ordering::Acquire) & ahead;
            if marked != 0 {
                return Some(word * WIDTH + marked.trailing_zeros() as usize);
            }
            next = (word + 1) * WIDTH;
        }
    }
}

/// The positions from an index on, in the group that begins with this one.
#[inline]
pub(super) fn mask(from: usize, first: usize) -> usize {
    match from.saturating_sub(first) {
        skipped if skipped < WIDTH => usize::MAX << skipped,
        _ => 0,
    }
}

/// The turn of a group's children in a pass: those that were taken, and how far they have been handed out. The words are
/// rotated, so that the first child has the lowest bit.
pub(crate) struct Turn {
    rotation: u32,
    /// Those that were taken and not handed out.
    taken: usize,
    /// The positions whose turn is not over.
    ahead: usize,
    /// The pass leaves out some positions of the group.
    is_part: bool,
}

impl Turn {
    /// No child has its turn.
    pub(crate) const NONE: Turn = Turn { rotation: 0, taken: 0, ahead: 0, is_part: false };

    /// Of these, in index order.
    #[inline]
    fn within(ahead: usize) -> Self {
        Turn { rotation: 0, taken: 0, ahead, is_part: ahead != usize::MAX }
    }

    /// Of these, from a position on and round; some are known to be woken.
    #[inline]
    fn round(from: usize, taken: usize, ahead: usize) -> Self {
        let rotation = from as u32;
        Turn { rotation, taken: taken.rotate_right(rotation), ahead: ahead.rotate_right(rotation), is_part: false }
    }
}

/// A group whose children are visited. What has ended is written down at the end, even after a panic.
pub(crate) struct OpenGroup<'a> {
    block: &'a Lazy,
    /// `None` for a small group.
    group: Option<&'a Group>,
    /// The index of its first child.
    first: usize,
    marks: &'a mut Marks,
    /// Here, until the group is closed, the compiler can keep it in a register.
    live: usize,
    turn: Turn,
    /// Those that have woken themselves in this visit.
    woken: usize,
    left_woken: &'a mut usize,
    live_groups: &'a mut usize,
}

impl<'a> OpenGroup<'a> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn new(block: &'a mut WakerBlock, number: usize, turn: Turn) -> Self {
        // SAFETY: COUNTED, WITHIN, for as long as the block is borrowed.
        let group = (!block.is_small()).then(|| unsafe { block.group_at(number).as_ref() });
        let WakerBlock { lazy, live_groups, only, woken: left_woken } = block;
        let marks = match group {
            // SAFETY: OWNED, for as long as the block is borrowed.
            Some(group) => unsafe { &mut *group.marks.get() },
            None => only,
        };
        let first = number * WIDTH;
        OpenGroup { block: lazy, group, first, live: marks.live, marks, turn, woken: 0, left_woken, live_groups }
    }

    #[inline]
    pub(crate) fn index(&self, position: usize) -> usize {
        self.first + position
    }

    /// The positions of the live children from this index on.
    #[inline]
    pub(crate) fn live(&self, from: usize) -> Positions {
        Positions(self.live & mask(from, self.first))
    }

    /// The positions of the children that are live or whose output is kept.
    #[inline]
    pub(crate) fn left(&self) -> Positions {
        Positions(self.live | self.marks.kept)
    }

    /// The positions of the children from this index on whose output is kept.
    #[inline]
    pub(crate) fn kept(&self, from: usize) -> Positions {
        Positions(self.marks.kept & mask(from, self.first))
    }

    #[inline]
    pub(crate) fn is_live(&self, position: usize) -> bool {
        self.live & bit(position) != 0
    }

    #[inline]
    pub(crate) fn is_kept(&self, position: usize) -> bool {
        self.marks.kept & bit(position) != 0
    }

    #[inline]
    pub(crate) fn set_kept(&mut self, position: usize, is_kept: bool) {
        let kept = self.marks.kept;
        self.marks.kept = if is_kept { kept | bit(position) } else { kept & !bit(position) };
    }

    /// The child has ended.
    #[inline]
    pub(crate) fn end(&mut self, position: usize) {
        self.live &= !bit(position);
    }

    /// The word of the woken children. In a small group, which has it once there is a block, it also has [`WOKEN`].
    #[inline]
    fn ready(&self) -> Option<&AtomicUsize> {
        match self.group {
            Some(group) => Some(&group.ready),
            // SAFETY: COUNTED.
            None => self.block.header().map(|header| unsafe { &header.as_ref().parent.state }),
        }
    }

    /// Takes those of these bits that wakers have set.
    #[inline]
    fn take_ready(&self, bits: usize) -> usize {
        self.ready().map_or(0, |ready| take_bits(ready, bits))
    }

    /// The child no longer counts as woken.
    #[inline]
    pub(crate) fn take_wake(&mut self, position: usize) {
        self.take_ready(bit(position));
        if self.group.is_none() {
            *self.left_woken &= !bit(position);
        }
    }

    /// The next woken child whose turn it is, even if it was woken during the pass.
    #[inline]
    pub(crate) fn next_woken(&mut self) -> Option<usize> {
        let rotation = self.turn.rotation;
        loop {
            self.turn.taken |= self.take_ready(self.turn.ahead.rotate_left(rotation)).rotate_right(rotation);
            let taken = self.turn.taken;
            if taken == 0 {
                return None;
            }
            let next = taken.trailing_zeros();
            self.turn.taken &= taken - 1;
            self.turn.ahead &= (usize::MAX - 1) << next;
            let position = ((next + rotation) % usize::BITS) as usize;
            if self.is_live(position) {
                return Some(position);
            }
        }
    }

    /// The waker that is lent to the children of this visit. It is apart from the group, which can then stay in registers.
    #[inline]
    pub(crate) fn lend(&self) -> Lent<'a> {
        Lent::new(self.block)
    }

    /// Calls `poll` with the waker of a child: one of the block, if the child has cloned its waker before, else the lent one.
    #[inline]
    pub(crate) fn with_waker<R>(&mut self, lent: &mut Lent<'a>, position: usize, poll: impl FnOnce(&Waker) -> R) -> R {
        assert!(position < WIDTH);
        lent.child = self.index(position);
        let (data, vtable) = match self.marks.cloned & bit(position) {
            0 => lent.raw(),
            // SAFETY: COUNTED, WITHIN, for as long as the block is borrowed.
            _ => unsafe { raw_of(self.block.header_or_make(), self.block.children, lent.child) },
        };
        // SAFETY: the vtables keep the contract of a waker: COUNTED, SHARED, ENCLOSED. This waker is not dropped, so it
        // takes no reference, and the block, which is borrowed, lives while it is lent.
        let waker = ManuallyDrop::new(unsafe { Waker::new(data, vtable) });
        let polled = poll(&waker);
        if lent.is_used() {
            let (is_woken, is_cloned) = lent.take_use();
            self.woken |= usize::from(is_woken) << position;
            self.marks.cloned |= usize::from(is_cloned) << position;
        }
        polled
    }
}

impl Drop for OpenGroup<'_> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn drop(&mut self) {
        let live = self.live;
        // Ended children are never polled again, so discard their wakes.
        let no_child = if self.group.is_none() { WOKEN } else { 0 };
        self.take_ready(!live & !no_child);
        let left = self.turn.taken.rotate_left(self.turn.rotation) | self.woken & live;
        match self.group {
            None => *self.left_woken |= left,
            Some(group) if left != 0 || self.turn.is_part && self.block.summary_words() != 0 => {
                leave(self.block, group, left);
            }
            Some(_) => {}
        }
        if mem::replace(&mut self.marks.live, live) != 0 && live == 0 {
            *self.live_groups -= 1;
        }
    }
}

/// Puts these bits back, and marks the group again for the next pass if any bit is set. The mark was removed before the turn.
/// If the turn was of the whole group and is over, wakers have marked it again themselves.
#[cold]
fn leave(block: &Lazy, group: &Group, left: usize) {
    if left != 0 {
        group.ready.fetch_or(left, Ordering::AcqRel);
    }
    if group.ready.load(Ordering::Acquire) != 0 {
        block.mark(group.number);
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
