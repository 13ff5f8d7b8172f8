//! One of two kinds of children.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project::pin_project;

use crate::child::{Child, OnCancel};

/// One of two kinds of children with the same type of output, chosen at run time.
///
/// *When to use.* If both are plain futures, `futures_util::future::Either` does the same. For more than two kinds, or for
/// types that cannot be written, use [`BoxChild`](crate::BoxChild). This needs no allocator, and is as large as the larger
/// of the two. A [`Group`](crate::Group) is turned into a child by [`into_child`](crate::IntoChild::into_child).
///
/// # Examples
///
/// ```
/// use gather::{CancelExt, EitherChild, Outcome, gather};
/// use std::future::{pending, ready};
///
/// let commit = |fast: bool| {
///     let work = async move {
///         if !fast {
///             pending::<()>().await;
///         }
///         smol::future::yield_now().await;
///         Ok::<_, &str>("committed")
///     };
///     if fast { EitherChild::Left(work.shield()) } else { EitherChild::Right(work.cleanup(|| async { /* roll back */ })) }
/// };
/// let report = pollster::block_on(gather((commit(true), commit(false), ready(Err::<(), _>("failed")))).report());
/// assert_eq!(report.outcomes.0, Outcome::Drained(Some(Ok("committed"))));
/// assert_eq!(report.outcomes.1, Outcome::Drained(None));
/// ```
#[pin_project(project = EitherProj)]
#[must_use = "a child does nothing unless it is gathered"]
pub enum EitherChild<A, B> {
    /// The first kind.
    Left(#[pin] A),
    /// The second kind.
    Right(#[pin] B),
}

/// Calls the method of the child inside.
macro_rules! delegate {
    ($either:ident.$method:ident($($argument:ident)?)) => {
        match $either.project() {
            EitherProj::Left(child) => child.$method($($argument)?),
            EitherProj::Right(child) => child.$method($($argument)?),
        }
    };
}

impl<A: Child<Output = O>, B: Child<Output = O>, O> Child for EitherChild<A, B> {
    type Output = O;
    const DRAINS: bool = A::DRAINS || B::DRAINS;
    const SHOWS: bool = A::SHOWS || B::SHOWS;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        delegate!(self.poll_child(cx))
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        delegate!(self.cancel())
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<O>> {
        delegate!(self.poll_drain(cx))
    }

    fn output(self: Pin<&mut Self>) -> Option<&O> {
        delegate!(self.output())
    }

    fn take_output(self: Pin<&mut Self>) -> Option<O> {
        delegate!(self.take_output())
    }

    fn drains(self: Pin<&mut Self>) -> bool {
        delegate!(self.drains())
    }
}

impl_adapter! { EitherChild<A, B> }

impl<A: fmt::Debug, B: fmt::Debug> fmt::Debug for EitherChild<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EitherChild::Left(child) => f.debug_tuple("Left").field(child).finish(),
            EitherChild::Right(child) => f.debug_tuple("Right").field(child).finish(),
        }
    }
}
