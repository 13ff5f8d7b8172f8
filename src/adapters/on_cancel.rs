//! A future that is told by a hook, and then drained.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project::pin_project;

use crate::child::{Child, OnCancel};

/// Child of [`CancelExt::on_cancel`](crate::CancelExt::on_cancel). The hook is dropped after its call, or with the child.
///
/// # Examples
///
/// ```
/// use gather::{CancelExt, WithHook, gather};
/// use std::future::{Ready, ready};
/// use std::pin::Pin;
///
/// let child: WithHook<Ready<Result<u8, ()>>, fn(Pin<&mut Ready<Result<u8, ()>>>)> = ready(Ok(1)).on_cancel(|_| ());
/// assert_eq!(pollster::block_on(gather([child])), Ok([1]));
/// ```
#[pin_project]
#[must_use = "a child does nothing unless it is gathered"]
pub struct WithHook<F, H> {
    #[pin]
    future: F,
    hook: Option<H>,
    call: fn(H, Pin<&mut F>),
}

impl<F, H> WithHook<F, H> {
    pub(super) fn new(future: F, hook: H) -> Self
    where
        H: FnOnce(Pin<&mut F>),
    {
        WithHook { future, hook: Some(hook), call: |hook, future| hook(future) }
    }
}

impl<F: Future, H> Child for WithHook<F, H> {
    type Output = F::Output;
    const SHOWS: bool = false;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        let this = self.project();
        if let Some(hook) = this.hook.take() {
            (this.call)(hook, this.future);
        }
        OnCancel::Drain
    }
}

impl_adapter! { WithHook<F, H> }

impl<F, H> fmt::Debug for WithHook<F, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithHook").field("told", &self.hook.is_none()).finish_non_exhaustive()
    }
}
