//! What happens when foreign code panics inside of a poll.

use core::mem;
use core::pin::Pin;

/// A future that can be put into a state in which it holds nothing and refuses to be polled.
pub(crate) trait Poison {
    /// Drops all that the future holds. Called while a panic unwinds, so a second panic aborts.
    fn poison(self: Pin<&mut Self>);
}

/// Poisons the future if it is dropped before it is disarmed.
pub(crate) struct PoisonOnPanic<'a, T: Poison>(Pin<&'a mut T>);

impl<'a, T: Poison> PoisonOnPanic<'a, T> {
    #[inline(always)]
    pub(crate) fn new(future: Pin<&'a mut T>) -> Self {
        PoisonOnPanic(future)
    }

    #[inline(always)]
    pub(crate) fn future(&mut self) -> Pin<&mut T> {
        self.0.as_mut()
    }

    #[inline(always)]
    pub(crate) fn disarm(self) {
        mem::forget(self);
    }
}

impl<T: Poison> Drop for PoisonOnPanic<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.0.as_mut().poison();
    }
}
