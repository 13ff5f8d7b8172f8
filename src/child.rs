//! What a gather polls.

use core::pin::Pin;
use core::task::{Context, Poll};

use crate::adapters::Map;

/// What a gather polls. Every [`Future`] is a child; implement the trait for something that stops in a way of its own.
///
/// *When to use.* A future works as it is: it is a *plain* child, and is dropped in place when it is cancelled. If it has to
/// clean up asynchronously, wrap it in an adapter of [`CancelExt`](crate::CancelExt). Implement the trait by hand for
/// something that is not a future but can be polled and asked to stop, such as a DMA transfer.
///
/// *Calls.* The gather calls [`poll_child`](Self::poll_child) until it is ready, and then drops the child. If the gather is
/// cancelled before that, it calls [`cancel`](Self::cancel) once, even if the child was never polled. A child that returns
/// [`OnCancel::Drop`] is dropped in place at once. A child that returns [`OnCancel::Drain`] is polled by
/// [`poll_drain`](Self::poll_drain) until that is ready or the grace is over.
///
/// *Cancellation.* A child may also be dropped without a call of `cancel`: when the gather is dropped, when the grace is over,
/// or when a sibling panics. What must be done even then belongs in its destructor.
///
/// *An output before the end.* A child may know its output before it has ended, for example while it cleans up after its
/// work. It shows that output by [`output`](Self::output). If the output ends the group, the siblings are cancelled at
/// once, not after the clean-up.
///
/// *Conversions.* [`map`](Self::map), [`map_err`](Self::map_err) and [`flatten`](Self::flatten) convert the output to what
/// the siblings need.
///
/// # Examples
///
/// ```
/// use core::pin::Pin;
/// use core::task::{Context, Poll};
/// use gather::{Child, OnCancel, gather};
///
/// /// A transfer that runs on its own. Its buffer must not be freed before it has stopped.
/// #[derive(Default)]
/// struct Transfer {
///     stopping: bool,
/// }
///
/// impl Child for Transfer {
///     type Output = Result<usize, &'static str>;
///
///     fn poll_child(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
///         Poll::Pending // in real code: register `cx.waker()` for the interrupt, then check
///     }
///
///     fn cancel(mut self: Pin<&mut Self>) -> OnCancel {
///         self.stopping = true; // in real code: clear the enable bit
///         OnCancel::Drain
///     }
///
///     fn poll_drain(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Output>> {
///         assert!(self.stopping); // in real code: read the idle bit
///         Poll::Ready(None)
///     }
/// }
///
/// let failing = async { Err::<(), _>("no signal") };
/// let all = gather((Transfer::default(), failing));
/// assert_eq!(pollster::block_on(all), Err("no signal"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a child of a gather: it is neither a future nor an adapter of one",
    label = "not a future",
    note = "pass an `async` block, or what calling an `async fn` or a closure returns; the closure of `cleanup` must return a future"
)]
#[must_use = "a child does nothing unless it is gathered"]
pub trait Child {
    /// What it ends with.
    type Output;

    /// Polls the child. The name is not `poll`, because that would clash with [`Future::poll`].
    ///
    /// Not called again once it was ready. After [`cancel`](Self::cancel) the gather calls
    /// [`poll_drain`](Self::poll_drain) instead, which by default calls this.
    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output>;

    /// Tells the child that it is cancelled. Returns whether to drop it at once or to drain it; by default
    /// [`OnCancel::Drop`].
    ///
    /// Called at most once, even if the child was never polled, and never after [`poll_child`](Self::poll_child) was ready.
    /// All children of the gather are told, in index order, before any of them is polled again (unless the group has
    /// [`cancel_in_reverse`](crate::Group::cancel_in_reverse)). If it panics, the panic leaves the gather's poll.
    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        OnCancel::Drop
    }

    /// Called instead of [`poll_child`](Self::poll_child) once [`cancel`](Self::cancel) has returned [`OnCancel::Drain`].
    /// Ready with `None`, the child has ended without a result. By default it calls [`poll_child`](Self::poll_child).
    ///
    /// The first call comes in the same poll of the gather as `cancel`, without a wake; under
    /// [`concurrency`](crate::Group::concurrency), as soon as there is room. Further calls come after wakes.
    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Output>> {
        self.poll_child(cx).map(Some)
    }

    /// The output, if it is known before the child has ended. By default `None`.
    ///
    /// Called after [`poll_child`](Self::poll_child) was pending. If the output ends the group (an `Err` under fail-fast),
    /// the group is cancelled in that same poll, with this child as the cause. The child is then told like its siblings,
    /// and polled by [`poll_drain`](Self::poll_drain) until it has ended.
    ///
    /// A child that shows an output keeps it until it ends with it, or until [`take_output`](Self::take_output) takes it.
    ///
    /// # Panics
    ///
    /// It should not panic. If the output that it showed has ended the group, and it then ends or is dropped without an
    /// output, or with one that would not have ended the group, the group panics in that poll. In all other cases the output
    /// that it ends with counts, even if it differs from the one that it showed.
    fn output(self: Pin<&mut Self>) -> Option<&Self::Output> {
        None
    }

    /// Takes the output that is known before the child has ended. By default `None`.
    ///
    /// Called at most once, in one of two cases. First, the child is about to be dropped before its end, because it returned
    /// [`OnCancel::Drop`] or because the grace is over; taking the output keeps it from being lost. Second, an adapter that
    /// converts the output takes it as soon as [`output`](Self::output) shows it. From then on the child is polled by
    /// [`poll_drain`](Self::poll_drain), whether it was told or not, and ends with `None`.
    fn take_output(self: Pin<&mut Self>) -> Option<Self::Output> {
        None
    }

    /// Converts the output by `map`, also one that comes during the drain.
    ///
    /// If `futures_util::FutureExt` is imported beside this trait, `future.map(..)` is ambiguous: import only one of the two,
    /// or write `Child::map(future, ..)`. Adapters and groups have this method, `map_err` and `flatten` without an import.
    ///
    /// # Examples
    ///
    /// A function that takes any child, without an allocator:
    ///
    /// ```
    /// use gather::{CancelExt, Child, gather};
    ///
    /// async fn sum(parts: (impl Child<Output = Result<u8, ()>>, impl Child<Output = Result<u8, ()>>)) -> Result<u16, ()> {
    ///     let widen = |part: Result<u8, ()>| part.map(u16::from);
    ///     let (one, other) = gather((parts.0.map(widen), parts.1.map(widen))).await?;
    ///     Ok(one + other)
    /// }
    ///
    /// assert_eq!(pollster::block_on(sum((async { Ok(200) }, async { Ok(100) }.shield()))), Ok(300));
    /// ```
    fn map<F, T>(self, map: F) -> Map<Self, F, T>
    where
        Self: Sized,
        F: FnOnce(Self::Output) -> T,
    {
        Map::new(self, map, |map, output| map(output))
    }

    /// Converts the error by `map`, as [`Result::map_err`] does, also one that comes during the drain.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{Child, gather};
    ///
    /// let number = async { "12x".parse::<u8>() }.map_err(|_| "not a number");
    /// assert_eq!(pollster::block_on(gather((number, async { Ok(()) }))), Err("not a number"));
    /// ```
    fn map_err<T, E, F, U>(self, map: F) -> Map<Self, F, Result<T, U>>
    where
        Self: Child<Output = Result<T, E>> + Sized,
        F: FnOnce(E) -> U,
    {
        Map::new(self, map, |map, output: Result<T, E>| output.map_err(map))
    }

    /// Turns an output of `Result<Result<T, E>, J>` into `Result<T, E>`; the outer error is converted into the inner type.
    ///
    /// *When to use.* Around anything that wraps the result of its work in another one: the handle of a spawned task, a
    /// timeout, a [`cancel_when`](crate::CancelExt::cancel_when). Without it, a task whose job fails is a child that
    /// succeeds with the value `Err(..)`: its siblings go on, and a supervisor does not restart it.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{CancelExt, gather};
    /// use std::io::{Error, ErrorKind}; // made of tokio's `JoinError` by `From`
    /// use tokio_util::task::AbortOnDropHandle;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let bad = async { Err::<(), _>(Error::from(ErrorKind::AddrInUse)) };
    /// let good = std::future::pending::<Result<(), Error>>();
    ///
    /// // If the group is cancelled, the task is aborted and waited for; if the group is dropped, it is aborted.
    /// let bad = AbortOnDropHandle::new(tokio::spawn(bad)).on_cancel(|task| task.abort()).flatten();
    /// let good = AbortOnDropHandle::new(tokio::spawn(good)).on_cancel(|task| task.abort()).flatten();
    /// assert_eq!(gather((bad, good)).await.unwrap_err().kind(), ErrorKind::AddrInUse);
    /// # }
    /// ```
    fn flatten<T, E, J>(self) -> Map<Self, (), Result<T, E>>
    where
        Self: Child<Output = Result<Result<T, E>, J>> + Sized,
        E: From<J>,
    {
        Map::new(self, (), |(), output: Result<Result<T, E>, J>| output?)
    }

    /// Whether a child of this type can drain. A group of children that cannot has no code for it.
    #[doc(hidden)]
    const DRAINS: bool = true;

    /// Whether a child of this type can show an output before its end.
    #[doc(hidden)]
    const SHOWS: bool = true;

    /// Whether a clean-up is lost if the child is dropped without being told; `tracing` then warns.
    #[doc(hidden)]
    fn drains(self: Pin<&mut Self>) -> bool {
        true
    }
}

/// What [`gather`](crate::gather()) takes as a child: every [`Child`], so also every future; and every
/// [`Group`](crate::Group) and [`Supervisor`](crate::Supervisor), which cancels its own children when it is cancelled.
///
/// # Examples
///
/// ```
/// use gather::{CancelExt, gather};
/// use std::cell::Cell;
/// use std::future::{pending, ready};
///
/// let closed = Cell::new(false);
/// let inner = gather([pending::<Result<(), &str>>().cleanup(|| async { closed.set(true) })]);
/// let outer = gather((inner, ready(Err::<(), _>("failed"))));
/// assert_eq!(pollster::block_on(outer), Err("failed"));
/// assert!(closed.get()); // the inner group was told, and has cleaned up
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a child of a gather: it is neither a future, nor an adapter of one, nor a group",
    label = "not a future",
    note = "pass an `async` block, or what calling an `async fn` or a closure returns; the closure of `cleanup` must return a future"
)]
pub trait IntoChild: Sized {
    /// The child it becomes.
    type Child: Child;

    /// Turns it into a child.
    fn into_child(self) -> Self::Child;

    /// Turns all of them into children. Those that are children already stay in place.
    #[cfg(feature = "alloc")]
    #[doc(hidden)]
    fn into_children(children: alloc::vec::Vec<Self>) -> alloc::vec::Vec<Self::Child> {
        children.into_iter().map(Self::into_child).collect()
    }
}

impl<C: Child> IntoChild for C {
    type Child = C;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn into_child(self) -> C {
        self
    }

    #[cfg(feature = "alloc")]
    fn into_children(children: alloc::vec::Vec<C>) -> alloc::vec::Vec<C> {
        children
    }
}

impl<F: Future + ?Sized> Child for F {
    type Output = F::Output;
    const DRAINS: bool = false;
    const SHOWS: bool = false;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll(cx)
    }

    fn drains(self: Pin<&mut Self>) -> bool {
        false
    }
}

/// What [`Child::cancel`] returns: drop the child, or drain it.
///
/// # Examples
///
/// ```
/// use core::pin::{Pin, pin};
/// use core::task::{Context, Poll, Waker};
/// use gather::{CancelExt, Child, OnCancel};
/// use std::future::pending;
///
/// // A plain child is dropped, a shielded one that has started is drained.
/// assert_eq!(pin!(pending::<()>()).cancel(), OnCancel::Drop);
/// let mut shielded = pin!(pending::<()>().shield());
/// assert!(shielded.as_mut().poll_child(&mut Context::from_waker(Waker::noop())).is_pending());
/// assert_eq!(shielded.as_mut().cancel(), OnCancel::Drain);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnCancel {
    /// Drop the child in place, at once.
    Drop,
    /// Poll the child by [`Child::poll_drain`] until it has ended or the grace is over.
    Drain,
}
