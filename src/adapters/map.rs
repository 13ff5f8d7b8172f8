//! A child whose output is passed through a closure.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project::pin_project;

use crate::child::{Child, OnCancel};

/// Child of the adapters' `map`: the child before it, with its output passed through a closure, also one that comes
/// during the drain. The closure is dropped with the child, or once it was called.
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
    pub(crate) fn new(child: C, map: F) -> Self
    where
        F: FnOnce(O) -> T,
    {
        Map { child, map: Some(map), call: |map, output| map(output) }
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

/// Gives each adapter its `map` and `map_err`. They are inherent, because a trait's would clash with those of a
/// future's extensions.
macro_rules! impl_map {
    ($($adapter:ident<$($lifetime:lifetime,)? $($parameter:ident $(: $Bound:ident)?),+>)*) => {$(
        impl<$($lifetime,)? $($parameter $(: $Bound)?),+> $adapter<$($lifetime,)? $($parameter),+>
        where
            Self: Child,
        {
            /// Passes its output through `map`, also one that comes during the drain.
            ///
            /// # Examples
            ///
            /// See [`Map`](crate::Map).
            pub fn map<Op, Mapped>(self, map: Op) -> $crate::Map<Self, Op, Mapped>
            where
                Op: FnOnce(<Self as Child>::Output) -> Mapped,
            {
                $crate::Map::new(self, map)
            }

            /// Passes its error through `map`, as [`Result::map_err`] does; also one that comes during the drain.
            ///
            /// # Examples
            ///
            /// See [`Map`](crate::Map).
            pub fn map_err<Value, Error, Op, Mapped>(
                self,
                map: Op,
            ) -> $crate::Map<Self, impl FnOnce(Result<Value, Error>) -> Result<Value, Mapped>, Result<Value, Mapped>>
            where
                Self: Child<Output = Result<Value, Error>>,
                Op: FnOnce(Error) -> Mapped,
            {
                self.map(|output| output.map_err(map))
            }
        }
    )*};
}
pub(super) use impl_map;

impl_map! { Map<C: Child, F, T, O> }

impl<C: Child, F, T, O> fmt::Debug for Map<C, F, T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").finish_non_exhaustive()
    }
}
