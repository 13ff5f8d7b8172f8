//! The wakers of children: positions in the block, and the one on the stack that is lent for one poll. The invariants are
//! those of [`readiness`](super).

#![allow(unsafe_code, reason = "a waker is a raw pointer that holds a reference")]

use core::ptr::NonNull;
use core::task::{RawWaker, RawWakerVTable, Waker};

use super::block::{GROUP, Group, Header, Lazy, group_of, is_small, release, summary_of};
use super::parent::Hints;
use super::sync::{AtomicBool, HINTS, Ordering, WIDTH};
use super::{MAX_REFERENCES, bit};

/// The data and the functions of a child's waker.
pub(super) type Raw = (*const (), &'static RawWakerVTable);

/// The parts of the waker of a child. It points into the child's group, as many bytes behind the group's start as the child's
/// position in it; in a small group it points into the header in the same way.
///
/// # Safety
///
/// WITHIN: `header` has the provenance of its allocation, and such a child.
pub(super) unsafe fn raw_of(header: NonNull<Header>, children: usize, child: usize) -> Raw {
    let (start, vtable) = match is_small(children) {
        true => (header.cast::<u8>(), &IN_HEADER),
        // SAFETY: WITHIN, by the caller.
        false => (unsafe { group_of(header, child / WIDTH).cast::<u8>() }, &IN_GROUP),
    };
    (start.as_ptr().wrapping_add(child % WIDTH).cast_const().cast(), vtable)
}

/// A waker on the stack of the poll, lent to one child after the other. A wake of it does not touch the block; a clone makes
/// the block, if there is none.
pub(crate) struct Lent<'a> {
    block: &'a Lazy,
    /// The child to which it is lent.
    pub(super) child: usize,
    /// Whether one of the others is set, so that one check is enough after a child's poll.
    is_used: AtomicBool,
    is_woken: AtomicBool,
    is_cloned: AtomicBool,
}

impl<'a> Lent<'a> {
    #[inline]
    pub(super) fn new(block: &'a Lazy) -> Self {
        let [is_used, is_woken, is_cloned] = [(); 3].map(|()| AtomicBool::new(false));
        Lent { block, child: 0, is_used, is_woken, is_cloned }
    }

    #[inline]
    pub(super) fn raw(&self) -> Raw {
        ((&raw const *self).cast(), &ON_STACK)
    }

    #[inline]
    pub(super) fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    /// Whether it was woken, and whether it was cloned. Resets both for the next child.
    #[inline]
    pub(super) fn take_use(&mut self) -> (bool, bool) {
        let used = (self.is_woken.load(Ordering::Relaxed), self.is_cloned.load(Ordering::Relaxed));
        for flag in [&self.is_used, &self.is_woken, &self.is_cloned] {
            flag.store(false, Ordering::Relaxed);
        }
        used
    }

    fn wake(&self) {
        self.is_woken.store(true, Ordering::Relaxed);
        self.is_used.store(true, Ordering::Relaxed);
    }

    /// The parts of a waker of the block, with a reference to it. Called from any thread.
    pub(super) fn clone_lasting(&self) -> Raw {
        self.is_cloned.store(true, Ordering::Relaxed);
        self.is_used.store(true, Ordering::Relaxed);
        let header = self.block.header_or_make();
        // SAFETY: COUNTED, by the owner, which lends this; WITHIN.
        unsafe {
            add_reference(header);
            raw_of(header, self.block.children, self.child)
        }
    }
}

static ON_STACK: RawWakerVTable = RawWakerVTable::new(clone_lent, wake_lent, wake_lent, |_| ());
static IN_HEADER: RawWakerVTable =
    RawWakerVTable::new(clone_in_header, wake_in_header, wake_by_ref_in_header, drop_in_header);
static IN_GROUP: RawWakerVTable =
    RawWakerVTable::new(clone_in_group, wake_in_group, wake_by_ref_in_group, drop_in_group);

unsafe fn clone_lent(data: *const ()) -> RawWaker {
    // SAFETY: ENCLOSED.
    let (data, vtable) = unsafe { &*data.cast::<Lent<'_>>() }.clone_lasting();
    RawWaker::new(data, vtable)
}

unsafe fn wake_lent(data: *const ()) {
    // SAFETY: ENCLOSED.
    unsafe { &*data.cast::<Lent<'_>>() }.wake();
}

/// The header into which the waker of a small group points, and its position.
///
/// # Safety
///
/// COUNTED, WITHIN: `data` is that of such a waker, which holds a reference.
unsafe fn in_header(data: *const ()) -> (NonNull<Header>, usize) {
    let header = data.cast_mut().map_addr(|address| address & !(GROUP - 1)).cast::<Header>();
    // SAFETY: WITHIN, the header lies at a multiple of `GROUP`, and positions are below that.
    (unsafe { NonNull::new_unchecked(header) }, data.addr() & (GROUP - 1))
}

/// The header, the group into which a waker points, and its position.
///
/// # Safety
///
/// As for [`in_header`], but not for a small group.
unsafe fn in_group(data: *const ()) -> (NonNull<Header>, NonNull<Group>, usize) {
    let group = data.cast_mut().map_addr(|address| address & !(GROUP - 1)).cast::<Group>();
    // SAFETY: WITHIN, a child's position lies in its group, and the group at a multiple of its size. The number is never
    // written to again.
    unsafe {
        let group = NonNull::new_unchecked(group);
        let header = group.sub((&raw const (*group.as_ptr()).number).read() + 1).cast::<Header>();
        (header, group, data.addr() & (GROUP - 1))
    }
}

/// # Safety
///
/// COUNTED: a reference is held meanwhile.
unsafe fn add_reference(header: NonNull<Header>) {
    // SAFETY: COUNTED, by the caller.
    if unsafe { header.as_ref() }.references.fetch_add(1, Ordering::Relaxed) > MAX_REFERENCES {
        abort();
    }
}

unsafe fn clone_in_header(data: *const ()) -> RawWaker {
    // SAFETY: COUNTED, by the waker that is cloned, also if that was lent.
    unsafe { add_reference(in_header(data).0) };
    RawWaker::new(data, &IN_HEADER)
}

unsafe fn wake_in_header(data: *const ()) {
    // SAFETY: COUNTED, `wake` takes the waker's reference over. Dropped, also by a panic of the parent, it gives it
    // back.
    unsafe { Waker::new(data, &IN_HEADER) }.wake_by_ref();
}

unsafe fn wake_by_ref_in_header(data: *const ()) {
    // SAFETY: COUNTED, by the waker that is woken.
    unsafe {
        let (header, position) = in_header(data);
        header.as_ref().parent.wake(Hints(1 << position));
    }
}

unsafe fn drop_in_header(data: *const ()) {
    // SAFETY: COUNTED, the waker's reference is given back.
    unsafe { release(in_header(data).0) };
}

unsafe fn clone_in_group(data: *const ()) -> RawWaker {
    // SAFETY: COUNTED, as above.
    unsafe { add_reference(in_group(data).0) };
    RawWaker::new(data, &IN_GROUP)
}

unsafe fn wake_in_group(data: *const ()) {
    // SAFETY: COUNTED, as above.
    unsafe { Waker::new(data, &IN_GROUP) }.wake_by_ref();
}

unsafe fn wake_by_ref_in_group(data: *const ()) {
    // SAFETY: COUNTED, by the waker that is woken.
    let (header, group, position) = unsafe { in_group(data) };
    // SAFETY: as above; SHARED.
    let (Header { parent, children, .. }, Group { ready, number, .. }) = unsafe { (header.as_ref(), group.as_ref()) };
    if ready.fetch_or(bit(position), Ordering::AcqRel) != 0 && parent.woken().is_some() {
        return;
    }
    let mut hint = *number;
    if *children > HINTS * WIDTH {
        hint = number / WIDTH;
        // SAFETY: COUNTED, WITHIN: derived from the pointer, since the reference reaches over the header alone.
        let summary = unsafe { summary_of(header, *children, hint).as_ref() };
        if summary.fetch_or(bit(*number), Ordering::AcqRel) != 0 && parent.woken().is_some() {
            return;
        }
    }
    parent.wake(Hints::of(hint));
}

unsafe fn drop_in_group(data: *const ()) {
    // SAFETY: COUNTED, the waker's reference is given back.
    unsafe { release(in_group(data).0) };
}

/// Ends the process, without std: a panic in a destructor that runs during a panic.
#[cold]
fn abort() -> ! {
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("too many clones of a child's waker");
        }
    }

    let _bomb = Bomb;
    panic!("too many clones of a child's waker");
}
