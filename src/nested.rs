//! A gather or a restart as a child that is cancelled by its own handshake.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project::pin_project;

use crate::cancel::impl_map;
use crate::child::{Child, OnCancel};
use crate::children::IntoChildren;
use crate::concurrency::AtMost;
use crate::gather::{Gather, Unset};
use crate::grace::GraceOnce;
use crate::policy::{Any, Choose, Race, Report, Reporting, Settle};
use crate::signal::OnSignal;

/// What can be cancelled from outside and polled to its end.
pub trait Handshake {
    type Output;

    /// `None`: it was cancelled, and has no result that could say so.
    fn poll_end(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Output>>;

    fn cancel(self: Pin<&mut Self>);
}

/// Child of [`Gather::nested`] and [`Restart::nested`](crate::Restart::nested).
#[pin_project]
#[must_use = "a child does nothing unless it is gathered"]
pub struct Nested<G> {
    #[pin]
    inner: G,
}

impl<G> Nested<G> {
    pub(crate) fn new(inner: G) -> Self {
        Nested { inner }
    }
}

impl<G: Handshake> Child for Nested<G> {
    type Output = G::Output;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<G::Output> {
        self.project().inner.poll_end(cx).map(|output| output.expect("ends without a result only when cancelled"))
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        self.project().inner.cancel();
        OnCancel::Drain
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<G::Output>> {
        self.project().inner.poll_end(cx)
    }
}

impl_map! { Nested<G> }

/// The settings of a gather may also follow `nested`.
impl<I: IntoChildren, P, G, S, L> Nested<Gather<I, P, G, S, L>> {
    /// As [`Gather::cancel_on`].
    #[track_caller]
    pub fn cancel_on<F: Future>(self, signal: F) -> Nested<Gather<I, P, G, OnSignal<F>, L>>
    where
        S: Unset,
    {
        Nested::new(self.inner.cancel_on(signal))
    }

    /// As [`Gather::grace`].
    #[track_caller]
    pub fn grace<M, F>(self, make: M) -> Nested<Gather<I, P, GraceOnce<M, F>, S, L>>
    where
        G: Unset,
        M: FnOnce() -> F,
        F: Future,
    {
        Nested::new(self.inner.grace(make))
    }

    /// As [`Gather::concurrency`].
    #[track_caller]
    pub fn concurrency(self, limit: usize) -> Nested<Gather<I, P, G, S, AtMost>>
    where
        L: Unset,
    {
        Nested::new(self.inner.concurrency(limit))
    }
}

impl<I: IntoChildren, P: Choose, G, S, L> Nested<Gather<I, P, G, S, L>> {
    /// As [`Gather::settle`].
    #[track_caller]
    pub fn settle(self) -> Nested<Gather<I, P::With<Settle>, G, S, L>> {
        Nested::new(self.inner.settle())
    }

    /// As [`Gather::any`].
    #[track_caller]
    pub fn any(self) -> Nested<Gather<I, P::With<Any>, G, S, L>> {
        Nested::new(self.inner.any())
    }

    /// As [`Gather::race`].
    #[track_caller]
    pub fn race(self) -> Nested<Gather<I, P::With<Race>, G, S, L>> {
        Nested::new(self.inner.race())
    }
}

impl<I: IntoChildren, P: Report, G, S, L> Nested<Gather<I, P, G, S, L>> {
    /// As [`Gather::report`].
    #[track_caller]
    pub fn report(self) -> Nested<Gather<I, Reporting<P>, G, S, L>> {
        Nested::new(self.inner.report())
    }
}

impl<G: fmt::Debug> fmt::Debug for Nested<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Nested").field(&self.inner).finish()
    }
}
