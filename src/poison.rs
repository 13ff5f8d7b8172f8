//! What happens when foreign code panics inside of a poll.

use core::mem;
use core::pin::Pin;

use crate::trace::Scope;

/// A future that can be put into a state in which it holds nothing and refuses to be polled.
pub(crate) trait Poison {
    /// Takes its span out, or opens it if it was never polled.
    fn enter(self: Pin<&mut Self>) -> Scope;

    /// Puts its span back, or closes it if it has ended.
    fn leave(self: Pin<&mut Self>, scope: Scope);

    /// Drops all that the future holds. Called while a panic unwinds, so a second panic aborts.
    fn poison(self: Pin<&mut Self>);
}

/// Runs a step of the future in its span, and poisons it if the step panics.
#[inline(always)]
pub(crate) fn guarded<T: Poison, R>(future: Pin<&mut T>, step: impl FnOnce(Pin<&mut T>) -> R) -> R {
    let mut guard = PoisonOnPanic(future);
    let scope = guard.0.as_mut().enter();
    let result = scope.run(|| step(guard.0.as_mut()));
    guard.0.as_mut().leave(scope);
    mem::forget(guard);
    result
}

struct PoisonOnPanic<'a, T: Poison>(Pin<&'a mut T>);

impl<T: Poison> Drop for PoisonOnPanic<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.0.as_mut().poison();
    }
}
