//! Futures that a closure makes when they are needed: a grace or a backoff.

use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::Fuse;
use pin_project::pin_project;

use crate::outcome::Failure;

/// A wait that has a beginning and an end. `E` is the error of the failure that a backoff follows.
pub trait Delay<E> {
    /// Starts the time. A grace is shown no failure, a backoff always is.
    fn begin(self: Pin<&mut Self>, failure: Option<&Failure<'_, E>>);

    /// Ready, once, when the time is over.
    fn poll_over(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;

    /// Drops what is no longer needed.
    fn end(self: Pin<&mut Self>);
}

/// No `grace`: a drain takes as long as it takes.
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

/// The closure of a group's `grace`, for its one drain, and what it made.
pub type GraceOnce<M, F> = Made<Option<M>, fn(M) -> F, F>;

/// The closure of a supervisor's `grace`, called in each generation that drains, and what it made.
pub type GraceEachTime<M, F> = Made<M, fn(&mut M) -> F, F>;

/// The closure of a supervisor's `backoff`, and what it made.
pub type Backoff<M, E, F> = Made<M, fn(&mut M, &Failure<'_, E>) -> F, F>;

/// A closure, and what it made while that is needed.
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
