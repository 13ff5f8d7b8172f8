//! Boxed children: one type for children of many.

use alloc::boxed::Box;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::child::{Child, IntoChild, OnCancel};

/// The calls of a boxed child. [`Child`] has constants, so there is no `dyn Child`.
trait Boxed {
    type Output;

    fn poll_boxed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output>;
    fn cancel_boxed(self: Pin<&mut Self>) -> OnCancel;
    fn drain_boxed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Output>>;
    fn boxed_output(self: Pin<&mut Self>) -> Option<&Self::Output>;
    fn take_boxed_output(self: Pin<&mut Self>) -> Option<Self::Output>;
    fn drains_boxed(self: Pin<&mut Self>) -> bool;
}

impl<C: Child> Boxed for C {
    type Output = C::Output;

    fn poll_boxed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        self.poll_child(cx)
    }

    fn cancel_boxed(self: Pin<&mut Self>) -> OnCancel {
        self.cancel()
    }

    fn drain_boxed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<C::Output>> {
        self.poll_drain(cx)
    }

    fn boxed_output(self: Pin<&mut Self>) -> Option<&C::Output> {
        self.output()
    }

    fn take_boxed_output(self: Pin<&mut Self>) -> Option<C::Output> {
        self.take_output()
    }

    fn drains_boxed(self: Pin<&mut Self>) -> bool {
        self.drains()
    }
}

macro_rules! boxed {
    ($(#[$doc:meta])* $Name:ident, $($Send:ident)?) => {
        $(#[$doc])*
        #[must_use = "a child does nothing unless it is gathered"]
        pub struct $Name<'a, O>(Pin<Box<dyn Boxed<Output = O> + $($Send +)? 'a>>);

        impl<'a, O> $Name<'a, O> {
            /// Boxes a child: a future, an adapter of one, or a group.
            pub fn new<C>(child: C) -> Self
            where
                C: IntoChild<Child: Child<Output = O> + $($Send +)? 'a>,
            {
                Self(Box::pin(child.into_child()))
            }
        }

        impl<O> Child for $Name<'_, O> {
            type Output = O;

            fn poll_child(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
                self.0.as_mut().poll_boxed(cx)
            }

            fn cancel(mut self: Pin<&mut Self>) -> OnCancel {
                self.0.as_mut().cancel_boxed()
            }

            fn poll_drain(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<O>> {
                self.0.as_mut().drain_boxed(cx)
            }

            fn output(self: Pin<&mut Self>) -> Option<&O> {
                Pin::get_mut(self).0.as_mut().boxed_output()
            }

            fn take_output(mut self: Pin<&mut Self>) -> Option<O> {
                self.0.as_mut().take_boxed_output()
            }

            fn drains(mut self: Pin<&mut Self>) -> bool {
                self.0.as_mut().drains_boxed()
            }
        }

        impl<O> fmt::Debug for $Name<'_, O> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Name)).finish_non_exhaustive()
            }
        }

        impl_adapter! { $Name<'a, O> }
    };
}

boxed! {
    /// Any child in a box. So one `Vec` can hold plain children, draining children and groups.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{BoxChild, CancelExt, gather};
    ///
    /// let children = vec![
    ///     BoxChild::new(async { Ok::<_, ()>(1) }),
    ///     BoxChild::new(async { Ok(2) }.shield()),
    /// ];
    /// assert_eq!(pollster::block_on(gather(children)), Ok(vec![1, 2]));
    /// ```
    BoxChild, Send
}

boxed! {
    /// Like [`BoxChild`], for children that are not `Send`.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{LocalBoxChild, gather};
    /// use std::rc::Rc;
    ///
    /// let shared = Rc::new(1);
    /// let children = vec![LocalBoxChild::new(async { Ok::<_, ()>(*shared) }), LocalBoxChild::new(async { Ok(2) })];
    /// assert_eq!(pollster::block_on(gather(children)), Ok(vec![1, 2]));
    /// ```
    LocalBoxChild,
}
