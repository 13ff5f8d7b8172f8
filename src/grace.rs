//! The time limit of a drain.

use core::pin::Pin;
use core::task::{Context, Poll};

use crate::delay::Delay;

/// How long a drain may take.
pub trait Grace {
    /// Starts the time: called once in a drain, when the children have been told and some of them drain.
    fn begin(self: Pin<&mut Self>);

    /// Ready when the time is over.
    fn poll_over(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;

    /// Drops what is of no more use when the drain has ended.
    fn end(self: Pin<&mut Self>);
}

/// As long as it takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGrace;

impl Grace for NoGrace {
    #[inline]
    fn begin(self: Pin<&mut Self>) {}

    #[inline]
    fn poll_over(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    #[inline]
    fn end(self: Pin<&mut Self>) {}
}

/// The closure of a gather's `grace`, for its one drain; and what it made.
pub type Once<M, F> = Delay<Option<M>, F>;

impl<M: FnOnce() -> F, F: Future> Grace for Once<M, F> {
    #[inline]
    fn begin(self: Pin<&mut Self>) {
        self.begin_with(|make| make.take().map(|make| make()));
    }

    #[inline]
    fn poll_over(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_over(cx)
    }

    #[inline]
    fn end(mut self: Pin<&mut Self>) {
        self.as_mut().end();
        *self.make() = None;
    }
}

/// The closure of a restart's `grace`, called in each generation that drains; and what it made.
pub type EachTime<M, F> = Delay<Each<M>, F>;

/// A closure that is called any number of times.
pub struct Each<M>(pub(crate) M);

impl<M: FnMut() -> F, F: Future> Grace for EachTime<M, F> {
    #[inline]
    fn begin(self: Pin<&mut Self>) {
        self.begin_with(|make| Some((make.0)()));
    }

    #[inline]
    fn poll_over(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_over(cx)
    }

    #[inline]
    fn end(self: Pin<&mut Self>) {
        self.end();
    }
}
