//! A gather or a restart as a child that is cancelled by its own handshake.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project::pin_project;

use crate::cancel::impl_map;
use crate::child::{Child, OnCancel};
use crate::children::{Children, IntoChildren};
use crate::concurrency::AtMost;
use crate::gather::{Gather, Unset};
use crate::grace::{GraceEachTime, GraceOnce};
use crate::policy::{Any, Choose, FailFast, Race, Report, Reporting, Settle};
use crate::restart::{Backoff, ChildrenOf, Chosen, ErrorOf, Failure, Observer, Restart};
use crate::signal::OnSignal;

/// What can be cancelled from outside and polled to its end.
pub trait Handshake {
    type Output;

    /// `None`: it was cancelled, and has no result that could say so.
    fn poll_end(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Output>>;

    fn cancel(self: Pin<&mut Self>);
}

/// Child of [`Gather::nested`] and [`Restart::nested`](crate::Restart::nested). It takes the settings that were not
/// made before.
///
/// # Examples
///
/// ```
/// use gather::gather;
/// use std::future::{pending, ready};
///
/// let inner = gather([pending::<Result<(), &str>>()]).nested().cancel_on(ready(()));
/// let outer = gather((inner.map(|ended| Ok::<_, ()>(ended.is_err())), ready(Ok(2))));
/// assert_eq!(pollster::block_on(outer), Ok((true, 2)));
/// ```
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

/// The settings may also follow `nested`: each of these passes on to the method of the same name.
macro_rules! settings {
    ($Inner:ident<I, $($Parameter:ident),*> {$(
        $name:ident$(<$($Generic:ident),*>)?($($argument:ident: $Argument:ty)?) -> $Output:ty where [$($bounds:tt)*];
    )*}) => {
        impl<I: IntoChildren, $($Parameter),*> Nested<$Inner<I, $($Parameter),*>> {$(
            #[doc = concat!("As [`", stringify!($Inner), "::", stringify!($name), "`].")]
            #[track_caller]
            pub fn $name$(<$($Generic),*>)?(self $(, $argument: $Argument)?) -> Nested<$Output>
            where
                $($bounds)*
            {
                Nested::new(self.inner.$name($($argument)?))
            }
        )*}
    };
}

settings! { Gather<I, P, G, S, L> {
    cancel_on<F>(signal: F) -> Gather<I, P, G, OnSignal<F>, L> where [S: Unset, F: Future];
    grace<M, F>(make: M) -> Gather<I, P, GraceOnce<M, F>, S, L> where [G: Unset, M: FnOnce() -> F, F: Future];
    concurrency(limit: usize) -> Gather<I, P, G, S, AtMost> where [L: Unset];
    settle() -> Gather<I, P::With<Settle>, G, S, L> where [P: Choose];
    any() -> Gather<I, P::With<Any>, G, S, L> where [P: Choose];
    race() -> Gather<I, P::With<Race>, G, S, L> where [P: Choose];
    report() -> Gather<I, Reporting<P>, G, S, L> where [P: Report];
} }

settings! { Restart<I, M, L, G, S, W, O, B> {
    when<F>(when: F) -> Restart<I, M, L, G, S, Chosen<F, ErrorOf<I>>, O, B>
        where [W: Unset, ChildrenOf<I>: Children<FailFast>, F: FnMut(&ErrorOf<I>) -> bool];
    observe<F>(observe: F) -> Restart<I, M, L, G, S, W, Observer<F, ErrorOf<I>>, B>
        where [O: Unset, ChildrenOf<I>: Children<FailFast>, F: FnMut(&Failure<'_, ErrorOf<I>>)];
    backoff<N, F>(make: N) -> Restart<I, M, L, G, S, W, O, Backoff<N, ErrorOf<I>, F>>
        where [B: Unset, ChildrenOf<I>: Children<FailFast>, N: FnMut(&Failure<'_, ErrorOf<I>>) -> F, F: Future];
    cancel_on<F>(signal: F) -> Restart<I, M, L, G, OnSignal<F>, W, O, B> where [S: Unset, F: Future];
    grace<N, F>(make: N) -> Restart<I, M, L, GraceEachTime<N, F>, S, W, O, B>
        where [G: Unset, N: FnMut() -> F, F: Future];
} }

impl<G: fmt::Debug> fmt::Debug for Nested<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Nested").field(&self.inner).finish()
    }
}
