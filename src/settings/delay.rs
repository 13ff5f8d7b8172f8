//! The grace and the backoff: futures that a closure makes when they are needed.

use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::Fuse;
use pin_project::pin_project;

use crate::outcome::Failure;

/// A delay. `E` is the error of the failure before a backoff.
pub trait Delay<E> {
    /// Starts the delay. A backoff is shown the failure, a grace is not.
    fn begin(self: Pin<&mut Self>, failure: Option<&Failure<'_, E>>);

    /// Ready once, when the delay is over.
    fn poll_over(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;

    /// Drops what is no longer needed.
    fn end(self: Pin<&mut Self>);
}

/// No `grace`: a drain has no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGrace;

impl<E> Delay<E> for NoGrace {
    #[inline]
    fn begin(self: Pin<&mut Self>, _: Option<&Failure<'_, E>>) {}

    #[inline]
    fn poll_over(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    #[inline]
    fn end(self: Pin<&mut Self>) {}
}

/// No `backoff`: the next generation is made in the next poll.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoBackoff;

impl<E> Delay<E> for NoBackoff {
    #[inline]
    fn begin(self: Pin<&mut Self>, _: Option<&Failure<'_, E>>) {}

    #[inline]
    fn poll_over(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    #[inline]
    fn end(self: Pin<&mut Self>) {}
}

/// The closure of a group's `grace`, called once, and its future.
pub type GraceOnce<M, F> = Made<Option<M>, fn(M) -> F, F>;

/// The closure of a supervisor's `grace`, called in each generation that drains, and its future.
pub type GraceEachTime<M, F> = Made<M, fn(&mut M) -> F, F>;

/// The closure of a supervisor's `backoff`, and its future.
pub type Backoff<M, E, F> = Made<M, fn(&mut M, &Failure<'_, E>) -> F, F>;

/// A closure, and its future while that is needed.
///
/// `C` is the type of a function that calls the closure; see [`adapters`](crate::adapters) for why it is kept.
#[pin_project]
pub struct Made<M, C, F> {
    make: M,
    call: C,
    #[pin]
    running: Fuse<F>,
}

impl<M, C, F: Future> Made<M, C, F> {
    #[inline]
    pub(crate) fn new(make: M, call: C) -> Self {
        Made { make, call, running: Fuse::terminated() }
    }

    #[inline]
    fn poll_running(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().running.poll(cx).map(drop)
    }

    #[inline]
    fn run(self: Pin<&mut Self>, make: impl FnOnce(&mut M, &C) -> Option<F>) {
        let mut this = self.project();
        let running = make(this.make, this.call);
        this.running.set(running.map_or_else(Fuse::terminated, F::fuse));
    }
}

impl<M, F: Future> Delay<()> for GraceOnce<M, F> {
    #[inline]
    fn begin(self: Pin<&mut Self>, _: Option<&Failure<'_, ()>>) {
        self.run(|make, call| make.take().map(call));
    }

    #[inline]
    fn poll_over(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_running(cx)
    }

    #[inline]
    fn end(self: Pin<&mut Self>) {
        self.run(|make, _| {
            *make = None;
            None
        });
    }
}

impl<M, F: Future> Delay<()> for GraceEachTime<M, F> {
    #[inline]
    fn begin(self: Pin<&mut Self>, _: Option<&Failure<'_, ()>>) {
        self.run(|make, call| Some(call(make)));
    }

    #[inline]
    fn poll_over(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_running(cx)
    }

    #[inline]
    fn end(self: Pin<&mut Self>) {
        self.run(|_, _| None);
    }
}

impl<M, E, F: Future> Delay<E> for Backoff<M, E, F> {
    #[inline]
    fn begin(self: Pin<&mut Self>, failure: Option<&Failure<'_, E>>) {
        self.run(|make, call| failure.map(|failure| call(make, failure)));
    }

    #[inline]
    fn poll_over(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_running(cx)
    }

    #[inline]
    fn end(self: Pin<&mut Self>) {
        self.run(|_, _| None);
    }
}
