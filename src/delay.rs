//! A future that a closure makes when it is needed: a grace or a backoff.

use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project::pin_project;

/// The closure, and what it made while that is needed.
///
/// `C` is the type of a function that calls the closure; see the adapters in [`cancel`](crate::cancel) for why it is kept.
#[pin_project]
pub struct Delay<M, C, F> {
    make: M,
    call: C,
    #[pin]
    running: Option<F>,
}

impl<M, C, F> Delay<M, C, F> {
    #[inline]
    pub(crate) fn new(make: M, call: C) -> Self {
        Delay { make, call, running: None }
    }

    #[inline]
    pub(crate) fn begin_with(self: Pin<&mut Self>, begin: impl FnOnce(&mut M, &C) -> Option<F>) {
        let mut this = self.project();
        let running = begin(this.make, this.call);
        this.running.set(running);
    }

    /// Ready when what was made is ready; pending when nothing was made.
    #[inline]
    pub(crate) fn poll_over(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>
    where
        F: Future,
    {
        match self.project().running.as_pin_mut() {
            Some(running) => running.poll(cx).map(drop),
            None => Poll::Pending,
        }
    }

    #[inline]
    pub(crate) fn end(self: Pin<&mut Self>) {
        self.project().running.set(None);
    }
}
