//! A child whose output is converted by a closure.

use core::fmt;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use pin_project::pin_project;

use crate::child::{Child, OnCancel};

/// Child of [`map`](Child::map), [`map_err`](Child::map_err) and [`flatten`](Child::flatten): the inner child, with its
/// output converted by a closure.
///
/// The closure is called once, as soon as the output is known: when the inner child ends, by itself or in its drain, or when
/// it shows its [`output`](Child::output) before that. The closure is dropped after its call, or with the child.
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
    output: Mapped<F, T>,
    call: fn(F, O) -> T,
}

/// The closure, and then what it has made.
enum Mapped<F, T> {
    Closure(F),
    /// Made of an output that was taken before the child has ended. The child is polled on, by `poll_drain`.
    Known(T),
    /// The closure was called, and its output was returned.
    Gone,
}

impl<F, T> Mapped<F, T> {
    /// Calls the closure. `None` if it was called before.
    fn apply<O>(&mut self, call: fn(F, O) -> T, output: O) -> Option<T> {
        let Mapped::Closure(_) = self else { return None };
        let Mapped::Closure(map) = mem::replace(self, Mapped::Gone) else { unreachable!("looked at above") };
        Some(call(map, output))
    }

    /// Takes the output that is known.
    fn take(&mut self) -> Option<T> {
        let Mapped::Known(_) = self else { return None };
        let Mapped::Known(output) = mem::replace(self, Mapped::Gone) else { unreachable!("looked at above") };
        Some(output)
    }
}

impl<C: Child<Output = O>, F, T, O> Map<C, F, T, O> {
    /// `call` calls the closure with an output.
    pub(crate) fn new(child: C, map: F, call: fn(F, O) -> T) -> Self {
        Map { child, output: Mapped::Closure(map), call }
    }
}

impl<C: Child<Output = O>, F, T, O> Child for Map<C, F, T, O> {
    type Output = T;
    const DRAINS: bool = C::DRAINS;
    const SHOWS: bool = C::SHOWS;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut this = self.project();
        match this.output {
            Mapped::Closure(_) => {}
            Mapped::Known(_) => {
                ready!(this.child.poll_drain(cx));
                return Poll::Ready(this.output.take().expect("looked at above"));
            }
            Mapped::Gone => panic!("`Map::poll_child` called after its end"),
        }
        match this.child.as_mut().poll_child(cx) {
            Poll::Ready(output) => Poll::Ready(this.output.apply(*this.call, output).expect("looked at above")),
            Poll::Pending => {
                if this.child.as_mut().output().is_some() {
                    if let Some(output) = this.child.take_output() {
                        let known = this.output.apply(*this.call, output);
                        *this.output = known.map_or(Mapped::Gone, Mapped::Known);
                    }
                }
                Poll::Pending
            }
        }
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        self.project().child.cancel()
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.project();
        let output = ready!(this.child.poll_drain(cx));
        Poll::Ready(this.output.take().or_else(|| this.output.apply(*this.call, output?)))
    }

    fn output(self: Pin<&mut Self>) -> Option<&T> {
        match self.project().output {
            Mapped::Known(output) => Some(output),
            _ => None,
        }
    }

    fn take_output(self: Pin<&mut Self>) -> Option<T> {
        let this = self.project();
        this.output.take().or_else(|| this.output.apply(*this.call, this.child.take_output()?))
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
