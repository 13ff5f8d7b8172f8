//! One poll of a gather or a restart as seen from outside: within its span, and dropping everything if something panics.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project::pin_project;

use crate::child::{Child, OnCancel};
use crate::trace::{Entered, Scope};

/// A future that can be cancelled, and polled to its end.
pub trait Handshake {
    type Output;

    /// One poll. `None`: it was cancelled, and its output cannot express that.
    fn step(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Output>>;

    /// Begins the handshake, unless it has begun. Whether it did.
    fn begin_cancel(self: Pin<&mut Self>) -> bool;

    /// Panics if it has ended.
    fn assert_pollable(self: Pin<&mut Self>);

    /// Takes the span out, or opens it if it was never polled.
    fn enter(self: Pin<&mut Self>) -> Scope;

    /// Puts the span back, or closes it if it has ended.
    fn leave(self: Pin<&mut Self>, scope: Scope);

    /// Drops everything it holds; polling it panics from now on. Called while a panic unwinds, so a second panic aborts.
    fn poison(self: Pin<&mut Self>);

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn poll_end(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Output>> {
        self.as_mut().assert_pollable();
        let mut guard = Guard::enter(self);
        let polled = guard.future.as_mut().step(cx);
        guard.leave();
        polled
    }

    fn cancel(mut self: Pin<&mut Self>) -> bool {
        self.as_mut().assert_pollable();
        let mut guard = Guard::enter(self);
        let begins = guard.future.as_mut().begin_cancel();
        guard.leave();
        begins
    }
}

/// Stands around a step of the future: while there is one, the future is in its span, and a panic poisons it.
pub(crate) struct Guard<'a, H: Handshake + ?Sized> {
    pub(crate) future: Pin<&'a mut H>,
    /// The span, until the poll has ended.
    entered: Option<Entered>,
}

impl<'a, H: Handshake + ?Sized> Guard<'a, H> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn enter(mut future: Pin<&'a mut H>) -> Self {
        let scope = future.as_mut().enter();
        let mut guard = Guard { future, entered: None };
        guard.entered = Some(scope.enter());
        guard
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn leave(mut self) {
        if let Some(entered) = self.entered.take() {
            let scope = entered.exit();
            self.future.as_mut().leave(scope);
        }
        core::mem::forget(self);
    }
}

impl<H: Handshake + ?Sized> Drop for Guard<'_, H> {
    #[inline]
    fn drop(&mut self) {
        if let Some(entered) = self.entered.take() {
            // The span ends here, before the children are dropped.
            entered.exit();
        }
        self.future.as_mut().poison();
    }
}

/// A gather or a restart as a child: it is not dropped when it is cancelled, but cancels its own children, and is
/// drained until none of them is left.
#[pin_project]
#[must_use = "a child does nothing unless it is gathered"]
pub struct GroupChild<H> {
    #[pin]
    future: H,
}

impl<H> GroupChild<H> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn new(future: H) -> Self {
        GroupChild { future }
    }
}

impl<H: Handshake> Child for GroupChild<H> {
    type Output = H::Output;
    const SHOWS: bool = false;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<H::Output> {
        self.project().future.poll_end(cx).map(|output| output.expect("ends without a result only when cancelled"))
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        self.project().future.cancel();
        OnCancel::Drain
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<H::Output>> {
        self.project().future.poll_end(cx)
    }
}

impl<H: fmt::Debug> fmt::Debug for GroupChild<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.future.fmt(f)
    }
}
