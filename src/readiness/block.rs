//! The block that wakers share: its layout, and how it is made and freed. The invariants are those of
//! [`readiness`](super).

#![allow(unsafe_code, reason = "one allocation with a part of any length")]

use alloc::alloc::handle_alloc_error;
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};

use super::parent::{Hints, Parent};
use super::sync::{AtomicPtr, AtomicUsize, HINTS, Ordering, WIDTH, alloc, dealloc};

/// Starts at a multiple of [`GROUP`], so that the waker of a small group finds it by its own address.
#[repr(C)]
pub(super) struct Header {
    pub(super) references: AtomicUsize,
    pub(super) parent: Parent,
    pub(super) children: usize,
    /// Where the allocation starts, a little before the header.
    base: NonNull<u8>,
}

/// Has at least one byte for each child, so that each has an address in it; its size is a power of two, so that an address
/// finds it.
#[cfg_attr(not(all(test, gather_loom)), repr(C))]
#[cfg_attr(all(test, gather_loom), repr(C, align(512)))]
pub(super) struct Group {
    /// The children that were woken and not polled since.
    pub(super) ready: AtomicUsize,
    pub(super) number: usize,
    pub(super) marks: UnsafeCell<Marks>,
    _room: [usize; 3],
}

/// What the owner records of the children of a group.
pub(super) struct Marks {
    /// Those that have not ended.
    pub(super) live: usize,
    /// Those whose output is kept.
    pub(super) kept: usize,
    /// Those that have cloned a waker that was lent to them.
    pub(super) cloned: usize,
}

pub(super) const GROUP: usize = size_of::<Group>();
const _: () = assert!(GROUP.is_power_of_two() && GROUP >= WIDTH && HINTS <= WIDTH);
const _: () = assert!(size_of::<Header>() <= GROUP && align_of::<Header>() <= GROUP);

/// Whether the state of the parent has a bit for each child. Such a group has no words of its own.
pub(super) fn is_small(children: usize) -> bool {
    children <= HINTS
}

pub(super) fn groups(children: usize) -> usize {
    if is_small(children) { 0 } else { children.div_ceil(WIDTH) }
}

/// Zero if there is a hint for each group.
fn summary_words(children: usize) -> usize {
    if children <= HINTS * WIDTH { 0 } else { groups(children).div_ceil(WIDTH) }
}

/// The bits of the first `count` positions.
pub(super) fn low_bits(count: usize) -> usize {
    if count >= WIDTH { usize::MAX >> (usize::BITS as usize - WIDTH) } else { (1 << count) - 1 }
}

/// `None` if the sizes overflow.
pub(super) fn layout(children: usize) -> Option<Layout> {
    // Asks for the natural alignment and for the room to align the header by hand, as larger alignments take a slower path
    // in most allocators.
    let align = align_of::<Header>().max(align_of::<AtomicUsize>());
    let head = GROUP + GROUP - align;
    let summary = summary_words(children) * size_of::<AtomicUsize>();
    let size = groups(children).checked_mul(GROUP)?.checked_add(summary)?.checked_add(head)?;
    Layout::from_size_align(size, align).ok()
}

/// A block with one reference, whose children are all live, none kept, none woken; the parent is being polled.
pub(super) fn make(children: usize) -> NonNull<Header> {
    let layout = layout(children).expect("capacity overflow");
    // SAFETY: the size is not zero, it holds a header.
    let Some(base) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
    let to_alignment = base.addr().get().wrapping_neg() & (GROUP - 1);
    // SAFETY: WITHIN, and nothing else knows of the allocation yet. The sizes were added up in `layout`.
    unsafe {
        let header = base.add(to_alignment).cast::<Header>();
        header.write(Header { references: AtomicUsize::new(1), parent: Parent::new(), children, base });
        for number in 0..groups(children) {
            let live = low_bits(children - number * WIDTH);
            group_of(header, number).write(Group {
                ready: AtomicUsize::new(0),
                number,
                marks: UnsafeCell::new(Marks { live, kept: 0, cloned: 0 }),
                _room: [0; 3],
            });
        }
        for word in 0..summary_words(children) {
            summary_of(header, children, word).write(AtomicUsize::new(0));
        }
        header
    }
}

/// Gives a reference back; the last one frees the block.
///
/// # Safety
///
/// COUNTED: the caller holds a reference, and does not use it after.
pub(super) unsafe fn release(header: NonNull<Header>) {
    // SAFETY: COUNTED, by the caller.
    let Header { references, base, children, .. } = unsafe { header.as_ref() };
    // The only reference is given back without a write, as nothing can clone another.
    if references.load(Ordering::Acquire) != 1 && references.fetch_sub(1, Ordering::Release) != 1 {
        return;
    }
    // Everything that others did with the block happened before it is freed. A fence would do; ThreadSanitizer understands
    // only loads.
    references.load(Ordering::Acquire);
    let (base, children) = (*base, *children);
    let layout = layout(children).expect("the same as when it was allocated");
    // SAFETY: COUNTED, this was the last reference; WITHIN. The pointer and the layout are those of the allocation.
    unsafe {
        for word in 0..summary_words(children) {
            summary_of(header, children, word).drop_in_place();
        }
        for number in 0..groups(children) {
            group_of(header, number).drop_in_place();
        }
        header.drop_in_place();
        dealloc(base.as_ptr(), layout);
    }
}

/// # Safety
///
/// WITHIN: `header` points to one with the provenance of its allocation, which has such a group.
pub(super) unsafe fn group_of(header: NonNull<Header>, number: usize) -> NonNull<Group> {
    // SAFETY: WITHIN, the groups follow the header, which has the room of one.
    unsafe { header.cast::<Group>().add(1 + number) }
}

/// # Safety
///
/// WITHIN: as for [`group_of`]; it has so many children, and such a word.
pub(super) unsafe fn summary_of(header: NonNull<Header>, children: usize, word: usize) -> NonNull<AtomicUsize> {
    // SAFETY: WITHIN, the summary follows the groups.
    unsafe { group_of(header, groups(children)).cast::<AtomicUsize>().add(word) }
}

/// The owner's reference to a block that is made when it is first needed. Once there is a block, this counts as one of its
/// references. The owner gives it back; dropping this does not.
pub(crate) struct Lazy {
    header: AtomicPtr<Header>,
    pub(super) children: usize,
}

impl Lazy {
    pub(crate) fn new(children: usize) -> Self {
        Lazy { header: AtomicPtr::new(ptr::null_mut()), children }
    }

    #[inline]
    pub(super) fn header(&self) -> Option<NonNull<Header>> {
        NonNull::new(self.header.load(Ordering::Acquire))
    }

    /// If several threads make it at once, one succeeds, and the others use its block.
    #[cold]
    pub(super) fn make(&self) -> NonNull<Header> {
        let made = make(self.children);
        match self.header.compare_exchange(ptr::null_mut(), made.as_ptr(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => made,
            Err(other) => {
                // SAFETY: COUNTED, it was just made.
                unsafe { release(made) };
                NonNull::new(other).expect("it is never taken away")
            }
        }
    }

    #[inline]
    pub(super) fn header_or_make(&self) -> NonNull<Header> {
        match self.header() {
            Some(header) => header,
            None => self.make(),
        }
    }

    #[inline]
    pub(super) fn summary_words(&self) -> usize {
        summary_words(self.children)
    }

    pub(super) fn summary(&self, word: usize) -> &AtomicUsize {
        assert!(word < self.summary_words());
        let header = self.header().expect("a small group has no summary");
        // SAFETY: COUNTED, WITHIN.
        unsafe { summary_of(header, self.children, word).as_ref() }
    }

    /// Marks a group, so that the next pass looks at it.
    pub(super) fn mark(&self, number: usize) {
        let mut hint = number;
        if self.summary_words() != 0 {
            hint = number / WIDTH;
            self.summary(hint).fetch_or(1 << (number % WIDTH), Ordering::AcqRel);
        }
        let header = self.header().expect("a small group has no others");
        // SAFETY: COUNTED.
        unsafe { header.as_ref() }.parent.hint(Hints::of(hint));
    }
}
