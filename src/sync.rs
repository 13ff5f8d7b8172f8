//! What the waker block shares between threads, so that loom runs the very same source.

#[cfg(not(all(test, gather_loom)))]
mod imp {
    pub(crate) use alloc::alloc::{alloc, dealloc};
    pub(crate) use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

    pub(crate) use futures_util::task::AtomicWaker;

    /// How many children share a group: the bits of a word.
    pub(crate) const WIDTH: usize = usize::BITS as usize;
}

#[cfg(all(test, gather_loom))]
mod imp {
    use core::task::Waker;

    pub(crate) use loom::alloc::{alloc, dealloc};
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

    /// Few, so that a model has several groups and several summary words.
    pub(crate) const WIDTH: usize = 2;

    /// loom's own, with the names of the other.
    pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

    impl AtomicWaker {
        pub(crate) fn new() -> Self {
            AtomicWaker(loom::future::AtomicWaker::new())
        }

        pub(crate) fn register(&self, waker: &Waker) {
            self.0.register_by_ref(waker);
        }

        pub(crate) fn take(&self) -> Option<Waker> {
            self.0.take_waker()
        }

        pub(crate) fn wake(&self) {
            self.0.wake();
        }
    }
}

pub(crate) use imp::*;
