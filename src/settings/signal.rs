//! The signal of `cancel_when`.

use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::Fuse;
use pin_project::pin_project;

use crate::outcome::Cancelled;

/// What may cancel a gather from outside, and how the output expresses it.
pub trait Signal {
    type Resolved<O>;

    /// Ready at most once. Pending after that and after [`end`](Self::end).
    fn poll_fired(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;

    /// Drops it.
    fn end(self: Pin<&mut Self>);

    /// Wraps an output; `None` stands for a gather that was cancelled, and stays `None` if the output cannot express that.
    fn resolve<O>(output: Option<O>) -> Option<Self::Resolved<O>>;
}

/// No signal: only a parent cancels it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSignal;

impl Signal for NoSignal {
    type Resolved<O> = O;

    #[inline]
    fn poll_fired(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    #[inline]
    fn end(self: Pin<&mut Self>) {}

    #[inline]
    fn resolve<O>(output: Option<O>) -> Option<O> {
        output
    }
}

/// The future of `cancel_when`.
#[pin_project]
#[derive(Debug)]
pub struct OnSignal<F>(#[pin] Fuse<F>);

impl<F: Future> OnSignal<F> {
    #[inline]
    pub(crate) fn new(signal: F) -> Self {
        OnSignal(signal.fuse())
    }
}

impl<F: Future> Signal for OnSignal<F> {
    type Resolved<O> = Result<O, Cancelled>;

    #[inline]
    fn poll_fired(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().0.poll(cx).map(drop)
    }

    #[inline]
    fn end(self: Pin<&mut Self>) {
        self.project().0.set(Fuse::terminated());
    }

    #[inline]
    fn resolve<O>(output: Option<O>) -> Option<Result<O, Cancelled>> {
        Some(output.ok_or(Cancelled))
    }
}
