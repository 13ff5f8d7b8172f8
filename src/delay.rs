//! A future that a closure makes when it is needed: a grace or a backoff.

use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project::pin_project;

/// The closure, and what it made while that is needed.
#[pin_project]
pub struct Delay<M, F> {
    make: M,
    #[pin]
    running: Option<F>,
}

impl<M, F> Delay<M, F> {
    #[inline]
    pub(crate) fn new(make: M) -> Self {
        Delay { make, running: None }
    }

    #[inline]
    pub(crate) fn make(self: Pin<&mut Self>) -> &mut M {
        self.project().make
    }

    #[inline]
    pub(crate) fn begin_with(self: Pin<&mut Self>, begin: impl FnOnce(&mut M) -> Option<F>) {
        let mut this = self.project();
        let running = begin(this.make);
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
