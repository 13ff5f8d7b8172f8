//! The signal of `cancel_on`.

use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project::pin_project;

use crate::cancel::Cancelled;

/// What may cancel a gather from outside, and how the result says that it did.
pub trait Signal {
    type Resolved<O>;

    /// Ready at most once, and not polled again after that, nor after [`end`](Self::end).
    fn poll_fired(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;

    /// Drops it.
    fn end(self: Pin<&mut Self>);

    /// `None` stands for a gather that was cancelled; it stays where there is nothing that could say so.
    fn resolve<O>(output: Option<O>) -> Option<Self::Resolved<O>>;
}

/// Nothing cancels it but a parent.
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

/// The future of `cancel_on`.
#[pin_project]
#[derive(Debug)]
pub struct OnSignal<F>(#[pin] Option<F>);

impl<F> OnSignal<F> {
    #[inline]
    pub(crate) fn new(signal: F) -> Self {
        OnSignal(Some(signal))
    }
}

impl<F: Future> Signal for OnSignal<F> {
    type Resolved<O> = Result<O, Cancelled>;

    #[inline]
    fn poll_fired(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.project().0.as_pin_mut() {
            Some(signal) => signal.poll(cx).map(drop),
            None => Poll::Pending,
        }
    }

    #[inline]
    fn end(self: Pin<&mut Self>) {
        self.project().0.set(None);
    }

    #[inline]
    fn resolve<O>(output: Option<O>) -> Option<Result<O, Cancelled>> {
        Some(output.ok_or(Cancelled))
    }
}
