//! What a gather polls.

use core::pin::Pin;
use core::task::{Context, Poll};

use crate::adapters::Map;

/// What a gather polls: every [`Future`] is one, and a thing with its own way to stop can be one.
///
/// *When to use.* A future needs nothing: it is a *plain* child, and cancelling it drops it in place. A future that
/// wants to clean up asynchronously gets an adapter of [`CancelExt`](crate::CancelExt). Implement the trait by hand for
/// a thing that is no future but can be polled and told to stop, such as a DMA transfer.
///
/// *Calls.* The gather calls [`poll_child`](Self::poll_child) until it is ready, and then destroys the child. If the
/// gather is cancelled before that, it calls [`cancel`](Self::cancel) once, also on a child that was never polled. A
/// child that answers [`OnCancel::Drop`] is dropped in place at once; one that answers [`OnCancel::Drain`] is polled
/// through [`poll_drain`](Self::poll_drain) until that is ready or the grace is over.
///
/// *Cancellation.* Whatever the child owes the world when it goes without an answer (the gather was dropped, the grace
/// is over, a sibling panicked) it must do in its destructor: it is not told then.
///
/// *An output before the end.* A child whose output is known before it has ended, such as one that cleans up after its
/// work, shows it through [`output`](Self::output). If that output ends the group, the group need not wait for the
/// clean-up to cancel the siblings.
///
/// *Its output* is made what the siblings need by [`map`](Self::map), [`map_err`](Self::map_err) and
/// [`flatten`](Self::flatten).
///
/// # Examples
///
/// ```
/// use core::pin::Pin;
/// use core::task::{Context, Poll};
/// use gather::{Child, OnCancel, gather};
///
/// /// A transfer that goes on by itself, and must be stopped and seen to have stopped before its buffer may go.
/// #[derive(Default)]
/// struct Transfer {
///     stopping: bool,
/// }
///
/// impl Child for Transfer {
///     type Output = Result<usize, &'static str>;
///
///     fn poll_child(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
///         Poll::Pending // in real code: register `cx.waker()` for the interrupt, then look
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
pub trait Child {
    /// What it ends with.
    type Output;

    /// Polls it towards its end. It is not called `poll`, which would clash with [`Future::poll`].
    ///
    /// Not called again once it was ready; after [`cancel`](Self::cancel) only by [`poll_drain`](Self::poll_drain), as
    /// its default does.
    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output>;

    /// Tells it that it is cancelled, and asks what should become of it.
    ///
    /// Called at most once, also on a child that was never polled, and never after [`poll_child`](Self::poll_child) was
    /// ready. All children of the gather are told, in index order, before any of them is polled again. By default it
    /// answers [`OnCancel::Drop`]. If it panics, the panic comes out of the gather's poll.
    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        OnCancel::Drop
    }

    /// Polled in place of [`poll_child`](Self::poll_child) once [`cancel`](Self::cancel) has answered
    /// [`OnCancel::Drain`]: for the first time in that same poll of the gather, without a wake (under
    /// [`concurrency`](crate::Group::concurrency), when there is room for it); after that when it has woken its waker. `None`: it has ended without a result. By default it polls [`poll_child`](Self::poll_child) on,
    /// to a late result.
    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Output>> {
        self.poll_child(cx).map(Some)
    }

    /// Its output, if that is known before it has ended. By default `None`.
    ///
    /// Looked at when [`poll_child`](Self::poll_child) is pending. If this output ends the group (an `Err` under
    /// fail-fast), the group is cancelled in that very poll, with this child as the cause. The child is then told like
    /// its siblings, and polled through [`poll_drain`](Self::poll_drain) until it has ended.
    ///
    /// A child that shows an output keeps it until it has ended with it, or until
    /// [`take_output`](Self::take_output) has taken it.
    ///
    /// # Panics
    ///
    /// It should not. A group that a shown output has ended panics in the poll in which this child ends or is dropped, if
    /// it then has no output, or one that would not have ended the group. Otherwise the output that it ends with counts,
    /// also if it showed another one.
    fn output(self: Pin<&mut Self>) -> Option<&Self::Output> {
        None
    }

    /// Takes the output that is known before it has ended. By default `None`.
    ///
    /// Called at most once: when the child is about to be dropped although it has not ended, because it answered
    /// [`OnCancel::Drop`] or the grace is over, so that its output is not lost; or by an adapter that changes the output,
    /// as soon as [`output`](Self::output) shows it. In the second case the child is polled on through
    /// [`poll_drain`](Self::poll_drain), whether it was told or not, and ends with `None`.
    fn take_output(self: Pin<&mut Self>) -> Option<Self::Output> {
        None
    }

    /// Passes its output through `map`, also one that comes during the drain.
    ///
    /// Where a future's extensions are imported beside this trait, `map` of a future is ambiguous: import one of the two,
    /// or write `Child::map(future, ..)`. The adapters and the groups have this method, `map_err` and `flatten` without
    /// an import.
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

    /// Passes its error through `map`, as [`Result::map_err`] does; also one that comes during the drain.
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

    /// Makes one `Result` of an output that is one within another: the outer error becomes one of the inner type.
    ///
    /// For what wraps the result of the work into one of its own: the handle of a spawned task, a timeout, a
    /// [`cancel_when`](crate::CancelExt::cancel_when). Without it a task whose job fails is a child that succeeds, with a
    /// value that is an `Err`: its siblings go on, and a supervisor of it does not restart.
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
    /// // Cancelled, a task is aborted and waited for; dropped with its group, it is aborted.
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

    /// Whether a child of this type can have something to drain. If not, a group of such children has no code for that.
    #[doc(hidden)]
    const DRAINS: bool = true;

    /// The same for an output before its end.
    #[doc(hidden)]
    const SHOWS: bool = true;

    /// Whether something is lost when it is dropped untold, so that `tracing` warns of it.
    #[doc(hidden)]
    fn drains(self: Pin<&mut Self>) -> bool {
        true
    }
}

/// What can be given to [`gather`](crate::gather()) as a child: every [`Child`], and so every future; and a
/// [`Group`](crate::Group) or a [`Supervisor`](crate::Supervisor), which runs its own handshake when it is cancelled.
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
    /// The child that it becomes.
    type Child: Child;

    /// Makes it a child.
    fn into_child(self) -> Self::Child;

    /// All of them. Those that are children already stay where they are.
    #[cfg(feature = "alloc")]
    #[doc(hidden)]
    fn into_children(children: alloc::vec::Vec<Self>) -> alloc::vec::Vec<Self::Child> {
        children.into_iter().map(Self::into_child).collect()
    }
}

impl<C: Child> IntoChild for C {
    type Child = C;

    #[inline(always)]
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

/// A child's answer to [`Child::cancel`].
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
    /// Drop it in place, at once.
    Drop,
    /// Poll it through [`Child::poll_drain`] until it has ended, or until the grace is over.
    Drain,
}
