//! What happens when foreign code panics inside of a poll.

use core::mem;
use core::pin::Pin;

/// A future that can be put into a state in which it holds nothing and refuses to be polled.
pub(crate) trait Poison {
    /// Drops all that the future holds. Called while a panic unwinds, so a second panic aborts.
    fn poison(self: Pin<&mut Self>);
}

/// Runs `step`; a panic leaves it as it came, after `future` was poisoned.
pub(crate) fn poison_on_panic<T: Poison, R>(future: Pin<&mut T>, step: impl FnOnce(Pin<&mut T>) -> R) -> R {
    struct Guard<'a, T: Poison>(Pin<&'a mut T>);

    impl<T: Poison> Drop for Guard<'_, T> {
        fn drop(&mut self) {
            self.0.as_mut().poison();
        }
    }

    let mut guard = Guard(future);
    let result = step(guard.0.as_mut());
    mem::forget(guard);
    result
}
