//! A future that is dropped when it is cancelled, and then its clean-up is polled.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project::pin_project;

use crate::child::{Child, OnCancel};

/// Child of [`CancelExt::cleanup`](crate::CancelExt::cleanup). The closure is dropped after its call, or with the child.
///
/// # Examples
///
/// ```
/// use gather::{CancelExt, Cleanup, gather};
/// use std::future::{Ready, ready};
///
/// // The third parameter is the future of the clean-up.
/// let child: Cleanup<Ready<Result<u8, ()>>, fn() -> Ready<()>, Ready<()>> = ready(Ok(1)).cleanup(|| ready(()));
/// assert_eq!(pollster::block_on(gather([child])), Ok([1]));
/// ```
#[pin_project]
#[must_use = "a child does nothing unless it is gathered"]
pub struct Cleanup<F, M, C> {
    #[pin]
    stage: Stage<F, C>,
    make: Option<M>,
    call: fn(M) -> C,
}

/// The part of a [`Cleanup`] that is alive; dropping this drops it.
#[pin_project(project = StageProj)]
enum Stage<F, C> {
    Work {
        #[pin]
        work: F,
        started: bool,
    },
    /// Cancelled: the work was dropped, and `make` was not called yet.
    Cancelled,
    Cleaning(#[pin] C),
}

impl<F, M, C> Cleanup<F, M, C> {
    pub(super) fn new(work: F, make: M) -> Self
    where
        M: FnOnce() -> C,
    {
        Cleanup { stage: Stage::Work { work, started: false }, make: Some(make), call: |make| make() }
    }
}

impl<F: Future, M, C: Future> Child for Cleanup<F, M, C> {
    type Output = F::Output;
    const SHOWS: bool = false;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let StageProj::Work { work, started } = self.project().stage.project() else {
            panic!("`Cleanup::poll_child` called after `cancel`");
        };
        *started = true;
        work.poll(cx)
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        let mut stage = self.project().stage;
        match stage.as_mut().project() {
            StageProj::Work { started: false, .. } => return OnCancel::Drop,
            StageProj::Work { started: true, .. } => stage.set(Stage::Cancelled),
            // The work has ended by itself; the clean-up is that of a `Finally`.
            StageProj::Cancelled | StageProj::Cleaning(_) => {}
        }
        OnCancel::Drain
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let mut this = self.project();
        if let StageProj::Cancelled = this.stage.as_mut().project() {
            if let Some(make) = this.make.take() {
                this.stage.set(Stage::Cleaning((this.call)(make)));
            }
        }
        match this.stage.project() {
            StageProj::Cleaning(cleaning) => cleaning.poll(cx).map(|_| None),
            _ => panic!("`Cleanup::poll_drain` called before `cancel`, or after its clean-up panicked"),
        }
    }

    fn drains(self: Pin<&mut Self>) -> bool {
        !matches!(self.project().stage.project(), StageProj::Work { started: false, .. })
    }
}

impl_adapter! { Cleanup<F, M, C> }

impl<F, M, C> fmt::Debug for Cleanup<F, M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Work { .. } => "work",
            Stage::Cancelled => "cancelled",
            Stage::Cleaning(_) => "cleaning",
        };
        f.debug_struct("Cleanup").field("stage", &format_args!("{stage}")).finish_non_exhaustive()
    }
}
