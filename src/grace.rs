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

/// The closure of a gather's `grace`, for its one drain, and what it made.
pub type GraceOnce<M, F> = Delay<Option<M>, fn(M) -> F, F>;

impl<M, F: Future> GraceOnce<M, F> {
    #[inline]
    pub(crate) fn once(make: M) -> Self
    where
        M: FnOnce() -> F,
    {
        Delay::new(Some(make), |make| make())
    }
}

impl<M, F: Future> Grace for GraceOnce<M, F> {
    #[inline]
    fn begin(self: Pin<&mut Self>) {
        self.begin_with(|make, call| make.take().map(call));
    }

    #[inline]
    fn poll_over(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_over(cx)
    }

    #[inline]
    fn end(self: Pin<&mut Self>) {
        self.begin_with(|make, _| {
            *make = None;
            None
        });
    }
}

/// The closure of a restart's `grace`, called in each generation that drains, and what it made.
pub type GraceEachTime<M, F> = Delay<M, fn(&mut M) -> F, F>;

impl<M, F: Future> GraceEachTime<M, F> {
    #[inline]
    pub(crate) fn each_time(make: M) -> Self
    where
        M: FnMut() -> F,
    {
        Delay::new(make, |make| make())
    }
}

impl<M, F: Future> Grace for GraceEachTime<M, F> {
    #[inline]
    fn begin(self: Pin<&mut Self>) {
        self.begin_with(|make, call| Some(call(make)));
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
