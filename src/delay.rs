//! A future that a closure makes when it is needed: a grace or a backoff.

use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::Fuse;
use pin_project::pin_project;

/// The closure, and what it made while that is needed.
///
/// `C` is the type of a function that calls the closure; see the adapters in [`cancel`](crate::cancel) for why it is
/// kept.
#[pin_project]
pub struct Delay<M, C, F> {
    make: M,
    call: C,
    #[pin]
    running: Fuse<F>,
}

impl<M, C, F: Future> Delay<M, C, F> {
    #[inline]
    pub(crate) fn new(make: M, call: C) -> Self {
        Delay { make, call, running: Fuse::terminated() }
    }

    #[inline]
    pub(crate) fn begin_with(self: Pin<&mut Self>, begin: impl FnOnce(&mut M, &C) -> Option<F>) {
        let mut this = self.project();
        let running = begin(this.make, this.call);
        this.running.set(running.map_or_else(Fuse::terminated, F::fuse));
    }

    /// Ready once, when what was made is ready; pending when nothing was made.
    #[inline]
    pub(crate) fn poll_over(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().running.poll(cx).map(drop)
    }

    #[inline]
    pub(crate) fn end(self: Pin<&mut Self>) {
        self.project().running.set(Fuse::terminated());
    }
}
