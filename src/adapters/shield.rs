//! A future that is told nothing, and drained.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project::pin_project;

use crate::child::{Child, OnCancel};

/// Child of [`CancelExt::shield`](crate::CancelExt::shield).
///
/// # Examples
///
/// ```
/// use gather::{CancelExt, Shield, gather};
/// use std::future::{Ready, ready};
///
/// let child: Shield<Ready<Result<u8, ()>>> = ready(Ok(1)).shield();
/// assert_eq!(pollster::block_on(gather([child])), Ok([1]));
/// ```
#[pin_project]
#[must_use = "a child does nothing unless it is gathered"]
pub struct Shield<F> {
    #[pin]
    future: F,
    started: bool,
}

impl<F> Shield<F> {
    pub(super) fn new(future: F) -> Self {
        Shield { future, started: false }
    }
}

impl<F: Future> Child for Shield<F> {
    type Output = F::Output;
    const SHOWS: bool = false;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        *this.started = true;
        this.future.poll(cx)
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        if *self.project().started { OnCancel::Drain } else { OnCancel::Drop }
    }

    fn drains(self: Pin<&mut Self>) -> bool {
        *self.project().started
    }
}

impl_adapter! { Shield<F> }

impl<F> fmt::Debug for Shield<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shield").field("started", &self.started).finish_non_exhaustive()
    }
}
