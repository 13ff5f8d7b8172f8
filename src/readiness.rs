//! Which children were woken: the waker block of a `Vec` or a boxed slice.
//!
//! One reference-counted allocation holds all of it:
//!
//! ```text
//! Header: references, parent │ Group 0 │ Group 1 │ … │ summary word 0 │ …
//!                            └ aligned to its size
//! ```
//!
//! Children are grouped by the width of a word. A child's waker points into its group, as many bytes behind the group's
//! start as the child's position in it; so a waker needs no memory of its own, and finds its group by masking its own
//! address, and from the group's number the header.
//!
//! *Waking* goes up, and stops at the first step that someone took before: set the child's bit in the group's `ready`
//! word; if that was empty, hint at the group in the state of the [`Parent`], and wake it, if it is armed. Where there
//! are more groups than hints, a summary lies between: set the group's mark in it, and if that word was empty, hint at
//! the word. *Polling* goes down: it takes the bits of what was hinted at, in index order. After a wake the parent is not
//! armed until the poll ends, so that no child wakes it for what this poll may still see; polled for another reason, such
//! as the signal, it is still armed, and may be woken once more. At the end of a poll that is not cut
//! [`rearm`](WakerBlock::rearm) arms it, and then looks once more for what came in between. A waker writes its bit or
//! mark and then the parent's state, the poller the parent's state and then looks at the words; both write the state by
//! a read-modify-write, so one of them sees the other, and no wake is lost.
//!
//! Who finds a word empty marks or hints at it above. So a word that is not empty is marked, or its mark is on its way,
//! or the poll is about to look at it:
//!
//! - a waker that returns early has found the word not empty;
//! - a poll takes the mark of a word away before it takes from the word, and what it leaves there, because its turn in
//!   this pass is over, is marked again or seen by `rearm`; what a pass over a part of a group, or one that is cut, leaves
//!   there is marked again by `put_back`; hints stay until `rearm` takes them all, and looks at each.
//!
//! A parent that panicked when it was woken is armed again while words are not empty. So a waker returns early only if
//! the parent is not armed.
//!
//! Invariants of this module's `unsafe`:
//!
//! - COUNTED: the allocation lives while `references` is not zero. The owner holds one reference and each `Waker`
//!   handed out holds one, but for those that [`OpenGroup::with_waker`] lends, whose life its call encloses.
//! - WITHIN: every pointer to the header, a group, a summary word or a child's position is derived from the
//!   allocation's own pointer, and stays in its bounds. A number of a group or a word is below the count of them: it
//!   was counted up to that, or is that of a mark or a hint, and marks are set for groups that are there, hints bounded
//!   where they are read. A position is that of a bit, so below `WIDTH`, and a group is as large as that.
//! - OWNED: `live` and `kept` of a group are touched by the owner alone, through `&mut WakerBlock` or an [`OpenGroup`]
//!   that borrows it, or read through `&WakerBlock`.
//! - SHARED: all else that is reached is atomic, or the [`Parent`], which may be shared, or was written by
//!   [`new`](WakerBlock::new) and is but read since. So wakers work on any thread.

#![allow(unsafe_code, reason = "one allocation that outlives its owner, and wakers that are positions in it")]

#[cfg(all(test, gather_loom))]
mod models;
mod parent;
mod pass;
mod sync;
#[cfg(all(test, not(gather_loom)))]
mod tests;
mod waker;

use alloc::alloc::handle_alloc_error;
use core::alloc::Layout;
use core::cell::Cell;
#[cfg(test)]
use core::ops::ControlFlow;
use core::ops::Range;
use core::ptr::NonNull;
use core::task::Waker;

use self::parent::{Hints, Parent};
pub(crate) use self::pass::OpenGroup;
use self::pass::{Taken, Woken};
pub(crate) use self::sync::WIDTH;
use self::sync::{AtomicUsize, HINTS, Ordering, alloc};
use self::waker::release;

/// More references than this are taken for a leak that is about to overflow.
const MAX_REFERENCES: usize = isize::MAX as usize;

#[repr(C)]
struct Header {
    references: AtomicUsize,
    parent: Parent,
    children: usize,
    /// Where the allocation starts: somewhat before, so that the groups are aligned.
    base: NonNull<u8>,
}

/// As large as it has children, so that it holds an address for each; and a power of two, so that an address finds it.
#[cfg_attr(not(all(test, gather_loom)), repr(C))]
#[cfg_attr(all(test, gather_loom), repr(C, align(256)))]
struct Group {
    /// The children that were woken and not polled since.
    ready: AtomicUsize,
    number: usize,
    /// The children that have not ended.
    live: Cell<usize>,
    /// The children of which something is kept.
    kept: Cell<usize>,
    _room: [usize; 4],
}

const GROUP: usize = size_of::<Group>();
const _: () = assert!(GROUP.is_power_of_two() && GROUP >= WIDTH && align_of::<Header>() <= GROUP);

/// The owner's handle.
pub(crate) struct WakerBlock {
    header: NonNull<Header>,
    /// How many `live` bits are set in all groups that are not open.
    live_count: usize,
}

// SAFETY: COUNTED, SHARED; and OWNED, by who has the handle now.
unsafe impl Send for WakerBlock {}
// SAFETY: COUNTED, SHARED; and OWNED: what is no one else's is only read through a shared reference.
unsafe impl Sync for WakerBlock {}

/// `None` where the sizes overflow.
fn layout(children: usize) -> Option<Layout> {
    let groups = children.div_ceil(WIDTH);
    // The allocator is asked for its natural alignment only, and for the room to align the groups by hand: what is
    // aligned to more takes a slower path in most allocators.
    let align = align_of::<Header>().max(align_of::<AtomicUsize>());
    let head = size_of::<Header>() + GROUP - align;
    let summary = summary_words(groups) * size_of::<AtomicUsize>();
    let size = groups.checked_mul(GROUP)?.checked_add(summary)?.checked_add(head)?;
    Layout::from_size_align(size, align).ok()
}

/// None where there is a hint for each group.
fn summary_words(groups: usize) -> usize {
    if groups <= HINTS { 0 } else { groups.div_ceil(WIDTH) }
}

/// The bits of the first `count` positions.
fn low_bits(count: usize) -> usize {
    if count >= WIDTH { usize::MAX >> (usize::BITS as usize - WIDTH) } else { (1 << count) - 1 }
}

impl Header {
    fn groups(&self) -> usize {
        self.children.div_ceil(WIDTH)
    }
}

impl WakerBlock {
    /// A block whose children are all live, none kept, none woken; the parent is being polled.
    pub(crate) fn new(children: usize) -> Self {
        let layout = layout(children).expect("capacity overflow");
        // SAFETY: the size is not zero, it holds a header.
        let Some(base) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        // SAFETY: WITHIN, the layout has room for the header and for aligning what follows it.
        let header = unsafe {
            let first = base.add(size_of::<Header>());
            let to_alignment = first.addr().get().wrapping_neg() & (GROUP - 1);
            first.add(to_alignment).cast::<Header>().sub(1)
        };
        let block = WakerBlock { header, live_count: children };
        let header = Header { references: AtomicUsize::new(1), parent: Parent::new(), children, base };
        // SAFETY: WITHIN, and nobody else knows of the allocation yet. The sizes were added up in `layout`.
        unsafe {
            block.header.write(header);
            for number in 0..children.div_ceil(WIDTH) {
                group_of(block.header, number).write(Group {
                    ready: AtomicUsize::new(0),
                    number,
                    live: Cell::new(low_bits(children - number * WIDTH)),
                    kept: Cell::new(0),
                    _room: [0; 4],
                });
            }
            for word in 0..summary_words(children.div_ceil(WIDTH)) {
                summary_of(block.header, children, word).write(AtomicUsize::new(0));
            }
        }
        block
    }

    fn header(&self) -> &Header {
        // SAFETY: COUNTED.
        unsafe { self.header.as_ref() }
    }

    fn group(&self, number: usize) -> &Group {
        debug_assert!(number < self.groups());
        // SAFETY: COUNTED, WITHIN.
        unsafe { group_of(self.header, number).as_ref() }
    }

    fn summary(&self, word: usize) -> &AtomicUsize {
        debug_assert!(word < self.summary_words());
        // SAFETY: COUNTED, WITHIN.
        unsafe { summary_of(self.header, self.children(), word).as_ref() }
    }

    fn summary_words(&self) -> usize {
        summary_words(self.groups())
    }

    pub(crate) fn children(&self) -> usize {
        self.header().children
    }

    /// Called at the end of a poll that is pending: has the next child that is woken wake the parent. If one was woken
    /// since its turn in this poll, the parent is woken at once.
    pub(crate) fn rearm(&mut self, waker: &Waker) {
        self.unmark_empty_groups();
        let parent = &self.header().parent;
        match parent.arm(waker) {
            Some(hints) => {
                if let Some(hints) = self.any_ready(hints) {
                    parent.wake(hints);
                }
            }
            None => waker.wake_by_ref(),
        }
    }

    /// Takes the marks away of groups whose children were all taken in the pass in which they were woken.
    fn unmark_empty_groups(&mut self) {
        let Some(hints) = self.header().parent.woken() else { return };
        let (mut from, words) = (0, self.summary_words());
        while let Some(word) = hints.next(from, words) {
            from = word + 1;
            let summary = self.summary(word);
            let mut marked = summary.load(Ordering::Relaxed);
            while marked != 0 {
                let position = marked.trailing_zeros() as usize;
                marked &= marked - 1;
                let ready = &self.group(word * WIDTH + position).ready;
                if ready.load(Ordering::Relaxed) == 0 {
                    // First the mark, then another look: who set a bit before the mark is seen, who sets one now marks
                    // again.
                    summary.fetch_and(!bit(position), Ordering::AcqRel);
                    if ready.load(Ordering::Acquire) != 0 {
                        summary.fetch_or(bit(position), Ordering::AcqRel);
                    }
                }
            }
        }
    }

    /// The words that were hinted at and are not empty, if there is one.
    fn any_ready(&self, hints: Hints) -> Option<Hints> {
        let summary_words = self.summary_words();
        let words = if summary_words == 0 { self.groups() } else { summary_words };
        let (mut from, mut found) = (0, Hints::NONE);
        while let Some(number) = hints.next(from, words) {
            from = number + 1;
            let word = if summary_words == 0 { &self.group(number).ready } else { self.summary(number) };
            if word.load(Ordering::Acquire) != 0 {
                found = found.and(Hints::of(number));
            }
        }
        (!found.is_none()).then_some(found)
    }

    /// A pass over the groups of the woken children within a range of indices.
    pub(crate) fn woken(&self, range: Range<usize>) -> Woken {
        Woken { next: self.group_of(range.start), end: range.end.div_ceil(WIDTH).min(self.groups()) }
    }

    /// Ends the pass over a group: children that were woken, and whose turn did not come, still count as woken.
    pub(crate) fn put_back(&mut self, number: usize, woken: Taken) {
        let ready = &self.group(number).ready;
        if woken.bits != 0 {
            ready.fetch_or(woken.bits, Ordering::AcqRel);
        }
        // The mark was taken away before the pass; of a group that was taken as a whole, and to its end, wakers have
        // marked again what was woken since. Hints stay.
        if (woken.bits != 0 || woken.is_part) && self.summary_words() != 0 && ready.load(Ordering::Acquire) != 0 {
            let word = number / WIDTH;
            self.summary(word).fetch_or(bit(number), Ordering::AcqRel);
            self.header().parent.hint(Hints::of(word));
        }
    }

    /// The number of the group of a child.
    pub(crate) fn group_of(&self, child: usize) -> usize {
        child / WIDTH
    }

    pub(crate) fn groups(&self) -> usize {
        self.header().groups()
    }

    /// How many children have not ended.
    pub(crate) fn live_count(&self) -> usize {
        self.live_count
    }

    /// The children of a group, to be visited.
    #[inline]
    pub(crate) fn open(&mut self, number: usize) -> OpenGroup<'_> {
        let Group { live, kept, .. } = self.group(number);
        let (live, kept) = (live.get(), kept.get());
        // SAFETY: WITHIN. A pointer, and no reference, so that wakers made of it reach the header too.
        let group = unsafe { group_of(self.header, number) };
        OpenGroup { group, first: number * WIDTH, live, kept, live_count: &mut self.live_count }
    }

    pub(crate) fn is_live(&self, child: usize) -> bool {
        child < self.children() && self.group(child / WIDTH).live.get() & bit(child) != 0
    }

    pub(crate) fn is_kept(&self, child: usize) -> bool {
        child < self.children() && self.group(child / WIDTH).kept.get() & bit(child) != 0
    }

    pub(crate) fn kept_count(&self) -> usize {
        (0..self.groups()).map(|number| self.group(number).kept.get().count_ones() as usize).sum()
    }
}

/// Children that are visited one by one, whatever lies between the visits.
impl WakerBlock {
    /// Takes the first child within a range of indices that was woken: it no longer counts as woken.
    pub(crate) fn take_woken(&mut self, range: Range<usize>) -> Option<usize> {
        let mut groups = self.woken(range.clone());
        while let Some(number) = groups.next_group(self) {
            let group = self.open(number);
            let mut woken = group.woken(&range);
            let child = group.next_woken(&mut woken).map(|position| group.index(position));
            drop(group);
            self.put_back(number, woken);
            if child.is_some() {
                return child;
            }
        }
        None
    }

    pub(crate) fn take_wake(&mut self, child: usize) {
        self.open(child / WIDTH).take_wake(child % WIDTH);
    }

    pub(crate) fn with_waker<R>(&mut self, child: usize, poll: impl FnOnce(&Waker) -> R) -> R {
        self.open(child / WIDTH).with_waker(child % WIDTH, poll)
    }
}

/// The passes of a `Vec`, for the tests of this module.
#[cfg(test)]
impl WakerBlock {
    /// Visits the woken children of a range until the visitor breaks.
    fn visit_woken(&mut self, range: Range<usize>, mut visit: impl FnMut(usize) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut groups = self.woken(range.clone());
        while let Some(number) = groups.next_group(self) {
            let group = self.open(number);
            let mut woken = group.woken(&range);
            let mut flow = ControlFlow::Continue(());
            while flow.is_continue() {
                let Some(position) = group.next_woken(&mut woken) else { break };
                flow = visit(group.index(position));
            }
            drop(group);
            self.put_back(number, woken);
            flow?;
        }
        ControlFlow::Continue(())
    }

    /// Visits all live children.
    fn visit_all(&mut self, mut visit: impl FnMut(usize)) {
        for number in 0..self.groups() {
            let group = self.open(number);
            for position in group.live(0) {
                group.take_wake(position);
                visit(group.index(position));
            }
        }
    }
}

impl Drop for WakerBlock {
    fn drop(&mut self) {
        // Dropped here, and not with the last waker: the parent may be gone for long by then.
        let parent = self.header().parent.close();
        // SAFETY: COUNTED, this is the owner's reference.
        unsafe { release(self.header) };
        drop(parent);
    }
}

fn bit(child: usize) -> usize {
    1 << (child % WIDTH)
}

/// # Safety
///
/// WITHIN: `header` points to one with the provenance of its allocation, which has such a group.
unsafe fn group_of(header: NonNull<Header>, number: usize) -> NonNull<Group> {
    // SAFETY: WITHIN, the groups follow the header.
    unsafe { header.add(1).cast::<Group>().add(number) }
}

/// # Safety
///
/// WITHIN: as for [`group_of`]; it has so many children, and such a word.
unsafe fn summary_of(header: NonNull<Header>, children: usize, word: usize) -> NonNull<AtomicUsize> {
    // SAFETY: WITHIN, the summary follows the groups.
    unsafe { group_of(header, 0).add(children.div_ceil(WIDTH)).cast::<AtomicUsize>().add(word) }
}
