//! The hook of `on_cancel`.

use crate::outcome::Cause;

/// What is called when the handshake begins.
pub trait Hook {
    fn call(&mut self, cause: Cause);

    /// Drops what is no longer needed.
    fn end(&mut self);
}

/// No hook.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHook;

impl Hook for NoHook {
    #[inline]
    fn call(&mut self, _: Cause) {}

    #[inline]
    fn end(&mut self) {}
}

/// The closure of a group's `on_cancel`, until it was called.
pub struct HookOnce<F> {
    hook: Option<F>,
    call: fn(F, Cause),
}

impl<F: FnOnce(Cause)> HookOnce<F> {
    pub(crate) fn new(hook: F) -> Self {
        HookOnce { hook: Some(hook), call: |hook, cause| hook(cause) }
    }
}

impl<F> Hook for HookOnce<F> {
    fn call(&mut self, cause: Cause) {
        if let Some(hook) = self.hook.take() {
            (self.call)(hook, cause);
        }
    }

    fn end(&mut self) {
        self.hook = None;
    }
}

/// The closure of a supervisor's `on_cancel`, called for each generation that is cancelled.
pub struct HookEachTime<F> {
    hook: F,
    call: fn(&mut F, Cause),
}

impl<F: FnMut(Cause)> HookEachTime<F> {
    pub(crate) fn new(hook: F) -> Self {
        HookEachTime { hook, call: |hook, cause| hook(cause) }
    }
}

impl<F> Hook for HookEachTime<F> {
    fn call(&mut self, cause: Cause) {
        (self.call)(&mut self.hook, cause);
    }

    fn end(&mut self) {}
}
