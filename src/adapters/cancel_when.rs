//! A child that a signal of its own cancels.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use pin_project::pin_project;

use crate::child::{Child, OnCancel};
use crate::outcome::Cancelled;

/// Child of [`CancelExt::cancel_when`](crate::CancelExt::cancel_when): the inner child, until a signal of its own is
/// ready.
///
/// # Examples
///
/// ```
/// use gather::{CancelExt, CancelWhen, gather};
/// use std::future::{Pending, Ready, pending, ready};
///
/// let child: CancelWhen<Ready<u8>, Pending<()>> = ready(1).cancel_when(pending());
/// assert_eq!(pollster::block_on(gather([child])), Ok([1]));
/// ```
#[pin_project]
#[must_use = "a child does nothing unless it is gathered"]
pub struct CancelWhen<C: Child, S, O = <C as Child>::Output> {
    #[pin]
    child: C,
    #[pin]
    stage: Stage<S, O>,
}

/// What the child ends with.
#[pin_project(project = StageProj, project_replace = StageOwned)]
enum Stage<S, O> {
    /// The child, and its signal, which is not ready yet.
    Watched(#[pin] S),
    /// The signal was ready: ends with `Cancelled`, when the child is drained.
    Fired,
    /// The output that was taken before the child has ended. The child is polled on, by `poll_drain`.
    Known(Result<O, Cancelled>),
    /// The group has cancelled it: ends with the late result of the child; without one, if its output was taken before.
    Told,
}

impl<C: Child<Output = O>, S, O> CancelWhen<C, S, O> {
    pub(super) fn new(child: C, signal: S) -> Self {
        CancelWhen { child, stage: Stage::Watched(signal) }
    }
}

impl<C: Child<Output = O>, S: Future, O> Child for CancelWhen<C, S, O> {
    type Output = Result<O, Cancelled>;
    const DRAINS: bool = C::DRAINS;
    const SHOWS: bool = C::SHOWS;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let StageProj::Watched(signal) = this.stage.as_mut().project() {
            if signal.poll(cx).is_pending() {
                let polled = this.child.as_mut().poll_child(cx).map(Ok);
                if polled.is_ready() {
                    this.stage.set(Stage::Told);
                } else if this.child.as_mut().output().is_some() {
                    if let Some(output) = this.child.take_output() {
                        this.stage.set(Stage::Known(Ok(output)));
                    }
                }
                return polled;
            }
            // Drops the signal.
            this.stage.set(Stage::Fired);
            if let OnCancel::Drop = this.child.as_mut().cancel() {
                return Poll::Ready(Err(Cancelled));
            }
        }
        let drained = ready!(this.child.poll_drain(cx));
        Poll::Ready(this.stage.end_with(drained).expect("`CancelWhen::poll_child` called after its end"))
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        let mut this = self.project();
        match this.stage.as_mut().project() {
            // It was told.
            StageProj::Fired => return OnCancel::Drain,
            StageProj::Watched(_) => this.stage.set(Stage::Told),
            StageProj::Known(_) | StageProj::Told => {}
        }
        this.child.cancel()
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Output>> {
        let this = self.project();
        let drained = ready!(this.child.poll_drain(cx));
        Poll::Ready(this.stage.end_with(drained))
    }

    fn output(self: Pin<&mut Self>) -> Option<&Self::Output> {
        match self.project().stage.project() {
            StageProj::Known(output) => Some(output),
            _ => None,
        }
    }

    fn take_output(self: Pin<&mut Self>) -> Option<Self::Output> {
        let mut this = self.project();
        match this.stage.as_mut().project() {
            StageProj::Fired => None,
            StageProj::Known(_) => this.stage.end_with(None),
            StageProj::Watched(_) | StageProj::Told => {
                let output = this.child.take_output();
                this.stage.end_with(output)
            }
        }
    }

    fn drains(self: Pin<&mut Self>) -> bool {
        self.project().child.drains()
    }
}

impl<S, O> Stage<S, O> {
    /// The output, when the drain of the child has ended with this.
    fn end_with(self: Pin<&mut Self>, drained: Option<O>) -> Option<Result<O, Cancelled>> {
        match self.project_replace(Stage::Told) {
            StageOwned::Watched(_) | StageOwned::Told => drained.map(Ok),
            StageOwned::Fired => Some(Err(Cancelled)),
            StageOwned::Known(output) => Some(output),
        }
    }
}

impl_adapter! { CancelWhen<C: Child, S, O> }

impl<C: Child, S, O> fmt::Debug for CancelWhen<C, S, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fired = matches!(self.stage, Stage::Fired);
        f.debug_struct("CancelWhen").field("fired", &fired).finish_non_exhaustive()
    }
}
