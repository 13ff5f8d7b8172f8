//! A future with a clean-up at every end.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use pin_project::pin_project;

use super::Cleanup;
use crate::child::{Child, OnCancel};

/// Child of [`CancelExt::finally`](crate::CancelExt::finally): a [`Cleanup`] that also runs when the work ends by itself.
///
/// # Examples
///
/// ```
/// use gather::{CancelExt, Finally, gather};
/// use std::future::{Ready, ready};
///
/// // The third parameter is the future of the clean-up.
/// let child: Finally<Ready<Result<u8, ()>>, fn() -> Ready<()>, Ready<()>> = ready(Ok(1)).finally(|| ready(()));
/// assert_eq!(pollster::block_on(gather([child])), Ok([1]));
/// ```
#[pin_project]
#[must_use = "a child does nothing unless it is gathered"]
pub struct Finally<F: Future, M, C, O = <F as Future>::Output> {
    #[pin]
    cleanup: Cleanup<F, M, C>,
    /// The output of the work, once that has ended by itself.
    output: Option<O>,
}

impl<F: Future, M, C> Finally<F, M, C> {
    pub(super) fn new(cleanup: Cleanup<F, M, C>) -> Self {
        Finally { cleanup, output: None }
    }
}

impl<F: Future<Output = O>, M, C: Future, O> Child for Finally<F, M, C, O> {
    type Output = O;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        let mut this = self.project();
        if this.output.is_none() {
            *this.output = Some(ready!(this.cleanup.as_mut().poll_child(cx)));
            // Destroys the work.
            this.cleanup.as_mut().cancel();
        }
        ready!(this.cleanup.poll_drain(cx));
        Poll::Ready(this.output.take().expect("looked at above"))
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        self.project().cleanup.cancel()
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<O>> {
        let this = self.project();
        ready!(this.cleanup.poll_drain(cx));
        Poll::Ready(this.output.take())
    }

    fn output(self: Pin<&mut Self>) -> Option<&O> {
        self.project().output.as_ref()
    }

    fn take_output(self: Pin<&mut Self>) -> Option<O> {
        self.project().output.take()
    }

    fn drains(self: Pin<&mut Self>) -> bool {
        self.project().cleanup.drains()
    }
}

impl_adapter! { Finally<F: Future, M, C, O> }

impl<F: Future, M, C, O> fmt::Debug for Finally<F, M, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finally").field("cleanup", &self.cleanup).finish_non_exhaustive()
    }
}
