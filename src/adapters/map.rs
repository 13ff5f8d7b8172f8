//! A child whose output is passed through a closure.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project::pin_project;

use crate::child::{Child, OnCancel};

/// Child of [`map`](Child::map), [`map_err`](Child::map_err) and [`flatten`](Child::flatten): the child before it, with
/// its output passed through a closure, also one that comes during the drain. The closure is dropped with the child, or
/// once it was called.
///
/// # Examples
///
/// ```
/// use gather::{CancelExt, gather};
/// use std::future::ready;
///
/// let number = ready("12".parse::<u8>()).shield().map(|parsed| parsed.map(|number| number + 1));
/// let other = ready("12x".parse::<u8>()).shield();
/// let both = gather((number, other.map_err(|_| "not a number"))).report();
/// let (number, other) = pollster::block_on(both).outcomes;
/// assert_eq!((number.ok(), other.err()), (Some(13), Some("not a number")));
/// ```
#[pin_project]
#[must_use = "a child does nothing unless it is gathered"]
pub struct Map<C: Child, F, T, O = <C as Child>::Output> {
    #[pin]
    child: C,
    map: Option<F>,
    call: fn(F, O) -> T,
}

impl<C: Child<Output = O>, F, T, O> Map<C, F, T, O> {
    /// `call` passes an output through the closure.
    pub(crate) fn new(child: C, map: F, call: fn(F, O) -> T) -> Self {
        Map { child, map: Some(map), call }
    }

    fn apply(map: &mut Option<F>, call: fn(F, O) -> T, output: O) -> T {
        call(map.take().expect("`Map` polled after its end"), output)
    }
}

impl<C: Child<Output = O>, F, T, O> Child for Map<C, F, T, O> {
    type Output = T;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = self.project();
        this.child.poll_child(cx).map(|output| Self::apply(this.map, *this.call, output))
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        self.project().child.cancel()
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.project();
        this.child.poll_drain(cx).map(|output| output.map(|output| Self::apply(this.map, *this.call, output)))
    }

    fn drains(self: Pin<&mut Self>) -> bool {
        self.project().child.drains()
    }
}

impl_adapter! { Map<C: Child, F, T, O> }

impl<C: Child, F, T, O> fmt::Debug for Map<C, F, T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").finish_non_exhaustive()
    }
}
