//! The description of a gather: its children and its settings.

mod settings;

use core::fmt;
use core::marker::PhantomData;

use super::Gather;
use crate::adapters::Map;
use crate::child::{Child, IntoChild};
use crate::children::{Container, IntoChildren};
use crate::handshake::{GroupChild, Handshake};
use crate::judge::Policy;
use crate::policy::{Each, FailFast};
use crate::settings::cancelling::Cancelling;
use crate::settings::concurrency::{Concurrency, Unbounded};
use crate::settings::delay::Delay;
use crate::settings::hook::Hook;
use crate::settings::order::Order;
use crate::settings::signal::{NoSignal, Signal};
use crate::settings::window::Window;

/// Polls all children in place, and resolves when no child is left: to their values, or, once one has failed, to its
/// error, when the others have been cancelled and are gone.
///
/// *When to use.* Wherever `try_join!` or `try_join_all` is, if a sibling of the failed child must have ended, or must
/// clean up, before the caller goes on. See [`restart`](crate::restart()) for a group that is restarted when it fails.
///
/// *Children* are a tuple of up to 16, an array, or with the feature `alloc` a `Vec` or a boxed slice; see
/// [`IntoChildren`]. All of them run in the task that polls the gather; nothing is spawned, and the children may
/// borrow.
///
/// *Outcomes.* `Ok` with every child's value, in the children's order and shape; or `Err` with the first error that was
/// seen. When several children would fail in one poll, that is the error of the one whose turn comes first (see
/// *Fairness*): in the first poll, of the lowest index. For `gather(())` the error is
/// [`Infallible`](core::convert::Infallible).
///
/// Every child returns a `Result`; for others there are [`settle`](Group::settle) and [`race`](Group::race). All have
/// one type of error; `map_err` makes it so, or [`report`](Group::report) does without. A child that only fails needs
/// the type of its value said: `Err::<(), _>(…)`, or a function's `-> Result<Infallible, E>`.
///
/// *Cancellation.* When a child fails, in this order: no plain sibling is polled again; values of finished siblings,
/// which no one will get, are dropped; the pending children are told (draining ones) or dropped (plain ones) in index
/// order; then the draining ones are polled, for the first time in the same poll, until each has ended or
/// [`grace`](Group::grace) is over. What they end with is dropped, it never replaces the error. Dropping the gather
/// drops the children at once, in index order, and is not a drain: no asynchronous clean-up can run then.
///
/// *Panics.* A panic of a child leaves the poll in which it happened, after the other children were dropped, untold, in
/// index order. Polling again after that, or after completion, panics.
///
/// *Fairness.* In one poll each child is polled at most once; one that wakes itself is polled again in the next poll. The
/// first poll goes in index order. Later ones go round: each begins with the child behind the one that the last poll
/// began with, goes on in index order, and then on from the first child. So a child that uses up what the runtime allows
/// a task in one poll, such as tokio's budget, does not keep its siblings from their turn; `tokio::try_join!` does the
/// same. The first poll of a drain is in index order again.
///
/// In a `Vec` or a boxed slice a poll is also cut short when 32 children in a row were woken and then pending again,
/// since the budget may be gone: the gather wakes its task, and the next poll goes on behind them. When such polls have
/// gone round, the next one begins behind the child with which the first of them began. A poll in which children are
/// polled for the first time, or for the first time in the drain, is never cut.
///
/// *Complexity.* See [`IntoChildren`] for which children are polled and what is allocated.
///
/// # Examples
///
/// ```
/// use gather::gather;
///
/// let both = gather((async { Ok::<_, &str>(1) }, async { Ok("one") }));
/// assert_eq!(pollster::block_on(both), Ok((1, "one")));
///
/// // Both fail in the same poll: the lower index is the cause.
/// let failing = gather([std::future::ready(Err::<(), _>("a")), std::future::ready(Err("b"))]);
/// assert_eq!(pollster::block_on(failing), Err("a"));
/// ```
#[inline(always)]
pub fn gather<I: Container>(children: I) -> Group<I> {
    Group { children, cancelling: Cancelling::default(), signal: NoSignal, concurrency: Unbounded, policy: PhantomData }
}

/// What [`gather`] returns: the children and the settings of a gather that does not run yet.
///
/// Awaited it becomes a [`Gather`], the future; so do `into_future()` and whatever takes an [`IntoFuture`], such as
/// `tokio::select!` and `tokio::time::timeout`. Where a [`Future`] is wanted, as by `tokio::spawn` or `pin!`, call
/// `into_future()`. Gathered, it is a child
/// that runs its own handshake: when its parent is cancelled it is not dropped, but cancels its own children, and is
/// drained until none of them is left. Cancelled by its parent it ends without a result; with
/// [`cancel_when`](Self::cancel_when) it ends with `Err(Cancelled)`, with [`report`](Self::report) with its report. One
/// that has failed before, and is draining, ends with its error.
///
/// *"`Group<…>` is not a future"*, at an `.await`, means that the children do not fit the policy: under fail-fast each must
/// return a `Result`, with one type of error. For children of any output there are [`settle`](Self::settle) and
/// [`race`](Self::race); for errors of several types `map_err`, or [`report`](Self::report). Where a [`Future`] is wanted it
/// means that `.into_future()` is missing.
///
/// The parameters after the container are its settings; each has a method that sets it, at most once, in any order. A
/// setting made twice does not compile ("this was set before"), nor does a second policy ("the policy was chosen
/// before").
///
/// *Output.*
///
/// | settings | output |
/// |---|---|
/// | none | `Result<Values, E>`: the values in the children's shape |
/// | [`settle`](Group::settle) | every output, in the children's shape |
/// | [`any`](Group::any) | `Result<T, Errors>`: all errors in the children's shape |
/// | [`race`](Group::race) | the winner's output |
/// | one of these and [`cancel_when`](Group::cancel_when) | `Result<the above, Cancelled>` |
/// | one of these and [`report`](Group::report), with or without `cancel_when` | [`Report`](crate::Report) of [`Outcome`](crate::Outcome)s, in the children's shape |
/// | fail-fast, `settle` or `report` and [`as_completed`](Group::as_completed) | none: a stream of what each child ends with |
///
/// # Examples
///
/// ```
/// use gather::{GatherOf, Group, gather, policy::Settle};
/// use std::future::{Ready, ready};
///
/// // A group is plain data; its future can be named.
/// let group: Group<[Ready<u8>; 2], Settle> = gather([ready(1), ready(2)]).settle();
/// let future: GatherOf<[Ready<u8>; 2], Settle> = group.into_future();
/// assert_eq!(pollster::block_on(future), [1, 2]);
///
/// // A group of groups.
/// let pair = gather((gather((ready(Ok::<_, ()>(1)), ready(Ok(2)))), ready(Ok(3))));
/// assert_eq!(pollster::block_on(pair), Ok(((1, 2), 3)));
/// ```
#[must_use = "a group does nothing unless it is awaited or gathered"]
pub struct Group<I, P = FailFast, K = Cancelling, S = NoSignal, L = Unbounded> {
    children: I,
    cancelling: K,
    signal: S,
    concurrency: L,
    policy: PhantomData<fn() -> P>,
}

/// The future of a [`Group`] of these children under this policy, without other settings.
pub type GatherOf<I, P = FailFast> = <Group<I, P> as IntoFuture>::IntoFuture;

impl<I, P, K, S, L> Group<I, P, K, S, L> {
    /// As a child of another group: its output, passed through `map`.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::gather;
    /// use std::future::ready;
    ///
    /// let inner = gather((ready(Ok::<_, ()>(1)), ready(Ok(2)))).map(|both| both.map(|(a, b)| a + b));
    /// assert_eq!(pollster::block_on(gather((inner, ready(Ok(4))))), Ok((3, 4)));
    /// ```
    pub fn map<F, T>(self, map: F) -> Map<<Self as IntoChild>::Child, F, T>
    where
        Self: IntoChild,
        F: FnOnce(<<Self as IntoChild>::Child as Child>::Output) -> T,
    {
        self.into_child().map(map)
    }

    /// As a child of another group: its error, passed through `map`.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::gather;
    /// use std::future::ready;
    ///
    /// let inner = gather([ready(Err::<(), _>(404))]).map_err(|status| format!("status {status}"));
    /// assert_eq!(pollster::block_on(gather([inner])), Err("status 404".to_string()));
    /// ```
    pub fn map_err<T, E, F, U>(self, map: F) -> Map<<Self as IntoChild>::Child, F, Result<T, U>>
    where
        Self: IntoChild<Child: Child<Output = Result<T, E>>>,
        F: FnOnce(E) -> U,
    {
        self.into_child().map_err(map)
    }

    /// As a child of another group: one `Result` of its output, which is one within another. The outer error becomes one
    /// of the inner type.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{Cancelled, gather};
    /// use std::future::{pending, ready};
    ///
    /// #[derive(Debug, PartialEq)]
    /// enum Error {
    ///     Stopped,
    /// }
    ///
    /// impl From<Cancelled> for Error {
    ///     fn from(_: Cancelled) -> Self {
    ///         Error::Stopped
    ///     }
    /// }
    ///
    /// let inner = gather([pending::<Result<(), Error>>()]).cancel_when(ready("stop")).flatten();
    /// assert_eq!(pollster::block_on(gather([inner])), Err(Error::Stopped));
    /// ```
    pub fn flatten<T, E, J>(self) -> Map<<Self as IntoChild>::Child, (), Result<T, E>>
    where
        Self: IntoChild<Child: Child<Output = Result<Result<T, E>, J>>>,
        E: From<J>,
    {
        self.into_child().flatten()
    }
}

impl<I, P, G, H, R, S, L> Group<I, P, Cancelling<G, H, R>, S, L> {
    /// A gather whose outputs are handed out as they come.
    pub(crate) fn hand_out(self) -> Gather<I::Children, Cancelling<G, H, R>, S, Window>
    where
        I: IntoChildren<Each<P>>,
        L: Concurrency,
    {
        let Group { children, cancelling, signal, concurrency, policy: _ } = self;
        Gather::new(children.into_children(), cancelling, signal, Window::new(concurrency.limit()))
    }
}

impl<I, P, G, H, R, S, L> IntoFuture for Group<I, P, Cancelling<G, H, R>, S, L>
where
    I: IntoChildren<P>,
    P: Policy,
    G: Delay<()>,
    H: Hook,
    R: Order,
    S: Signal,
    L: Concurrency,
{
    type Output = <Self::IntoFuture as Future>::Output;
    type IntoFuture = Gather<I::Children, Cancelling<G, H, R>, S, L>;

    #[inline(always)]
    fn into_future(self) -> Self::IntoFuture {
        let Group { children, cancelling, signal, concurrency, policy: _ } = self;
        Gather::new(children.into_children(), cancelling, signal, concurrency)
    }
}

impl<I, P, K, S, L> IntoChild for Group<I, P, K, S, L>
where
    Self: IntoFuture<IntoFuture: Handshake>,
{
    type Child = GroupChild<<Self as IntoFuture>::IntoFuture>;

    #[inline(always)]
    fn into_child(self) -> Self::Child {
        GroupChild::new(self.into_future())
    }
}

/// Gathers all that the iterator gives, as a `Vec`.
///
/// # Examples
///
/// ```
/// use gather::Group;
///
/// let squares = (1..=3).map(|number| async move { Ok::<_, ()>(number * number) }).collect::<Group<_>>();
/// assert_eq!(pollster::block_on(squares), Ok(vec![1, 4, 9]));
/// ```
#[cfg(all(feature = "alloc", any(target_has_atomic = "ptr", feature = "portable-atomic")))]
impl<C: IntoChild> FromIterator<C> for Group<alloc::vec::Vec<C>> {
    fn from_iter<T: IntoIterator<Item = C>>(children: T) -> Self {
        gather(children.into_iter().collect())
    }
}

/// Shows the count of children, if that is known.
impl<I: Container, P, K, S, L> fmt::Debug for Group<I, P, K, S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut group = f.debug_struct("Group");
        if let Some(count) = self.children.count() {
            group.field("children", &count);
        }
        group.finish_non_exhaustive()
    }
}
