//! The wakers of children: positions in the block. The invariants are those of [`readiness`](super).

#![allow(unsafe_code, reason = "a waker is a raw pointer that holds a reference")]

use core::ptr::NonNull;
use core::task::{RawWaker, RawWakerVTable, Waker};

use super::parent::Hints;
use super::sync::{HINTS, Ordering, WIDTH, dealloc};
use super::{GROUP, Group, Header, MAX_REFERENCES, bit, group_of, layout, summary_of, summary_words};

/// What a child's waker points at: its group, the position in it, and the header before them.
struct Position {
    header: NonNull<Header>,
    group: NonNull<Group>,
    position: usize,
}

impl Position {
    /// # Safety
    ///
    /// COUNTED, WITHIN: `data` is that of a waker of this module, which holds a reference.
    unsafe fn of(data: *const ()) -> Self {
        let group = data.cast_mut().map_addr(|address| address & !(GROUP - 1)).cast::<Group>();
        // SAFETY: WITHIN, a child's position lies in its group, and the group at a multiple of its size.
        unsafe {
            let group = NonNull::new_unchecked(group);
            let header = group.sub(group.as_ref().number).cast::<Header>().sub(1);
            Position { header, group, position: data.addr() & (GROUP - 1) }
        }
    }
}

pub(super) static VTABLE: RawWakerVTable = RawWakerVTable::new(clone_waker, wake, wake_by_ref, drop_waker);

unsafe fn clone_waker(data: *const ()) -> RawWaker {
    // SAFETY: COUNTED, by the waker that is cloned, also if that was lent.
    let references = unsafe { &Position::of(data).header.as_ref().references };
    if references.fetch_add(1, Ordering::Relaxed) > MAX_REFERENCES {
        abort();
    }
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: COUNTED, `wake` takes the waker's reference over. Dropped, also by a panic of the parent, it gives it
    // back.
    let waker = unsafe { Waker::new(data, &VTABLE) };
    waker.wake_by_ref();
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: COUNTED, by the waker that is woken.
    let Position { header, group, position } = unsafe { Position::of(data) };
    // SAFETY: as above.
    let (Header { parent, children, .. }, group) = unsafe { (header.as_ref(), group.as_ref()) };
    if group.ready.fetch_or(bit(position), Ordering::AcqRel) != 0 && parent.woken().is_some() {
        return;
    }
    let mut hint = group.number;
    if *children > HINTS * WIDTH {
        hint = group.number / WIDTH;
        // SAFETY: COUNTED, WITHIN: derived from the pointer, since the reference reaches over the header alone.
        let summary = unsafe { summary_of(header, *children, hint).as_ref() };
        if summary.fetch_or(bit(group.number), Ordering::AcqRel) != 0 && parent.woken().is_some() {
            return;
        }
    }
    parent.wake(Hints::of(hint));
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: COUNTED, the waker's reference is given back.
    unsafe { release(Position::of(data).header) };
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

/// Gives a reference back; the last one frees the block.
///
/// # Safety
///
/// COUNTED: the caller holds a reference, and does not use it after.
pub(super) unsafe fn release(header: NonNull<Header>) {
    // SAFETY: COUNTED, by the caller.
    let Header { references, base, children, .. } = unsafe { header.as_ref() };
    if references.fetch_sub(1, Ordering::Release) != 1 {
        return;
    }
    // What others did with the block happened before it is freed. A load, where a fence would do: ThreadSanitizer
    // understands loads.
    references.load(Ordering::Acquire);
    let (base, children) = (*base, *children);
    let layout = layout(children).expect("the same as when it was allocated");
    // SAFETY: COUNTED, this was the last reference; WITHIN. The pointer and the layout are those of the allocation.
    unsafe {
        for word in 0..summary_words(children.div_ceil(WIDTH)) {
            summary_of(header, children, word).drop_in_place();
        }
        for number in 0..children.div_ceil(WIDTH) {
            group_of(header, number).drop_in_place();
        }
        header.drop_in_place();
        dealloc(base.as_ptr(), layout);
    }
}
