//! What the waker block shares between threads, so that loom runs the very same source.

#[cfg(not(all(test, gather_loom)))]
mod imp {
    pub(crate) use alloc::alloc::{alloc, dealloc};
    #[cfg(not(feature = "portable-atomic"))]
    pub(crate) use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
    #[cfg(feature = "portable-atomic")]
    pub(crate) use portable_atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

    /// How many children share a group: the bits of a word.
    pub(crate) const WIDTH: usize = usize::BITS as usize;

    /// How many hints the parent's state holds.
    pub(crate) const HINTS: usize = usize::BITS as usize - 1;

    /// How often the poller may take the parent's slot away from a waking thread.
    pub(crate) const GENERATIONS: usize = usize::MAX >> 2;

    /// With loom's interface.
    pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
            UnsafeCell(core::cell::UnsafeCell::new(value))
        }

        pub(crate) fn with<R>(&self, with: impl FnOnce(*const T) -> R) -> R {
            with(self.0.get())
        }

        pub(crate) fn with_mut<R>(&self, with: impl FnOnce(*mut T) -> R) -> R {
            with(self.0.get())
        }
    }
}

#[cfg(all(test, gather_loom))]
mod imp {
    pub(crate) use loom::alloc::{alloc, dealloc};
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

    /// Few, so that a model has several groups and several summary words.
    pub(crate) const WIDTH: usize = 2;
    pub(crate) const HINTS: usize = 2;
    pub(crate) const GENERATIONS: usize = 2;
}

pub(crate) use imp::*;
