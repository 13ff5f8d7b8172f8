//! The builder of a gather: its children and its settings.

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

/// Polls all children in place. Resolves to their values when all have succeeded; or, if one fails, to its error, when the
/// others have been cancelled and none is left.
///
/// *When to use.* Instead of `try_join!` or `try_join_all`, if the siblings of a failed child must have ended or cleaned up
/// before the caller goes on. For a group that is restarted when it fails see [`restart`](crate::restart()).
///
/// *Children* are a tuple of up to 16, an array, or with the feature `alloc` a `Vec`, a boxed slice or a
/// [source](crate::from_stream); see [`IntoChildren`]. All run in the task that polls the gather. Nothing is spawned, and
/// the children may borrow.
///
/// *Outcomes.* `Ok` with the value of every child, in the children's order and shape; or `Err` with the first error. If
/// several children would fail in one poll, it is the error of the child whose turn comes first (see *Fairness*); in the
/// first poll that is the lowest index. For `gather(())` the error is [`Infallible`](core::convert::Infallible).
///
/// Every child returns a `Result`; for others use [`settle`](Group::settle) or [`race`](Group::race). All have the same type
/// of error; use `map_err` to convert it, or [`report`](Group::report), which takes several. Annotate the `Ok` type of a
/// child that can only fail: `Err::<(), _>(…)`, or a function that returns `Result<Infallible, E>`.
///
/// *Cancellation.* When a child fails, these steps follow: no plain sibling is polled again; the values of siblings that had
/// finished are dropped; the pending children are dropped (plain ones) or told (all others), in index order; those that
/// were told are polled, beginning in the same poll, until each has ended or the [`grace`](Group::grace) is over. Their
/// outputs are dropped and never replace the error. If the gather itself is dropped, its children are dropped at once, in
/// index order; they are not told, and no asynchronous clean-up runs.
///
/// *Panics.* A panic of a child leaves the poll in which it happened, after the other children were dropped in index order,
/// without being told. Polling the gather again after that, or after it was ready, panics.
///
/// *Fairness.* One poll polls each child at most once; a child that wakes itself is polled again in the next poll. The first
/// poll goes in index order. Each later poll begins one child further than the last one, and goes round. So a child that
/// uses up all that the runtime allows a task in one poll, such as tokio's budget, does not keep its siblings from their
/// turn; `tokio::try_join!` does the same. The first poll of a drain is in index order again.
///
/// In a `Vec` or a boxed slice a poll also ends after 32 woken children in a row are still pending, since the budget may be
/// used up by then. The gather then wakes its task, and the next poll goes on with the child behind them. When each child
/// has had its turn in this way, the next round begins one child further. A poll in which children are polled for the first
/// time, or for the first time in the drain, always goes to the end.
///
/// *Complexity.* For which children are polled, and what is allocated, see [`IntoChildren`].
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
#[cfg_attr(not(debug_assertions), inline(always))]
pub fn gather<I: Container>(children: I) -> Group<I> {
    Group { children, cancelling: Cancelling::default(), signal: NoSignal, concurrency: Unbounded, policy: PhantomData }
}

/// What [`gather`] returns: a builder that holds the children and the settings of a gather.
///
/// `.await` turns it into a [`Gather`], the future. So does everything that takes an [`IntoFuture`], such as
/// `tokio::select!` and `tokio::time::timeout`; both drop it if something else comes first, and then no clean-up runs: see
/// [`cancel_when`](Self::cancel_when). Where a [`Future`] is expected, as in `tokio::spawn` and `pin!`, call
/// `into_future()`.
///
/// As a child of another group it is not dropped when its parent is cancelled: it cancels its own children, and is drained
/// until none of them is left. It then ends without a result; with [`cancel_when`](Self::cancel_when) it ends with
/// `Err(Cancelled)`, with [`report`](Self::report) with its report. If it had failed before and was draining, it ends with
/// its error.
///
/// *"`Group<…>` is not a future"*, at an `.await`, means that the children do not fit the policy: under fail-fast each must
/// return a `Result`, all with the same type of error. In other places it means that `.into_future()` is missing. See
/// [`errors`](crate::guide::errors).
///
/// The parameters after the container are the settings. Each has a method, which is called at most once; the order does not
/// matter. A setting that is made twice does not compile ("this was set before"), nor does a second policy ("the policy was
/// chosen before").
///
/// *Output.*
///
/// | settings | output |
/// |---|---|
/// | none | `Result<Values, E>`, with the values in the children's shape |
/// | [`settle`](Group::settle) | every output, in the children's shape |
/// | [`any`](Group::any) | `Result<T, Errors>`, with all errors in the children's shape |
/// | [`race`](Group::race) | the winner's output |
/// | one of these and [`cancel_when`](Group::cancel_when) | `Result<the above, Cancelled>` |
/// | one of these and [`report`](Group::report), with or without `cancel_when` | [`Report`](crate::Report) of [`Outcome`](crate::Outcome)s, in the children's shape |
/// | none, `settle` or `report`, and [`as_completed`](Group::as_completed) | a stream of the children's outputs instead of a future |
///
/// # Examples
///
/// ```
/// use gather::{GatherOf, Group, gather, policy::Settle};
/// use std::future::{Ready, ready};
///
/// // The future of a group can be named.
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
    /// Converts the output by `map`, for a group that is a child of another one.
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

    /// Converts the error by `map`, for a group that is a child of another one.
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

    /// Turns a result within a result into one, for a group that is a child of another one. The outer error is converted
    /// into the inner type.
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
    /// A gather that hands its outputs out as they come.
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

    #[cfg_attr(not(debug_assertions), inline(always))]
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

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn into_child(self) -> Self::Child {
        GroupChild::new(self.into_future())
    }
}

/// Collects children into a `Vec` and gathers them.
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

/// Shows the count of children, if it is known.
impl<I: Container, P, K, S, L> fmt::Debug for Group<I, P, K, S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut group = f.debug_struct("Group");
        if let Some(count) = self.children.count() {
            group.field("children", &count);
        }
        group.finish_non_exhaustive()
    }
}
