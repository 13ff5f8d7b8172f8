//! The description of a gather: its children and its settings.

use core::fmt;
use core::marker::PhantomData;

use super::Gather;
use crate::adapters::Map;
use crate::child::{Child, IntoChild};
use crate::children::{Container, IntoChildren};
use crate::handshake::{GroupChild, Handshake};
use crate::judge::{Choose, Policy};
use crate::policy::{Any, FailFast, Race, Reporting, Settle};
use crate::settings::concurrency::{AtMost, Concurrency, Unbounded};
use crate::settings::delay::{Delay, GraceOnce, Made, NoGrace};
use crate::settings::signal::{NoSignal, OnSignal, Signal};
use crate::settings::unset::Unset;

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
    Group { children, grace: NoGrace, signal: NoSignal, concurrency: Unbounded, policy: PhantomData }
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
pub struct Group<I, P = FailFast, G = NoGrace, S = NoSignal, L = Unbounded> {
    children: I,
    grace: G,
    signal: S,
    concurrency: L,
    policy: PhantomData<fn() -> P>,
}

/// The future of a [`Group`] of these children under this policy, without other settings.
pub type GatherOf<I, P = FailFast> = <Group<I, P> as IntoFuture>::IntoFuture;

impl<I, P, G, S, L> Group<I, P, G, S, L> {
    /// Cancels all children when `signal` is ready, whatever it is ready with. The output becomes
    /// `Result<Output, Cancelled>`.
    ///
    /// The signal is polled before the children in every poll, so that no child can use up the runtime's budget before
    /// it; and if it is pending then, once more after them. It acts after them, if a child is left and none has failed.
    /// So a child that fires it is itself cancelled in that poll; a gather whose last child has just ended is complete,
    /// not cancelled; and a failure stands against a signal that comes in the same poll or later. A signal that is ready
    /// in the first poll starts no child. The signal is dropped when the cancellation begins.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{Cancelled, gather};
    /// use std::future::{pending, ready};
    ///
    /// let endless = gather([pending::<Result<(), ()>>()]).cancel_when(ready("stop"));
    /// assert_eq!(pollster::block_on(endless), Err(Cancelled));
    ///
    /// let calm = gather([ready(Ok::<_, ()>(1))]).cancel_when(pending::<()>());
    /// assert_eq!(pollster::block_on(calm), Ok(Ok([1])));
    ///
    /// let failing = gather([ready(Err::<(), _>("refused"))]).cancel_when(pending::<()>());
    /// let said = match pollster::block_on(failing) {
    ///     Ok(Ok([()])) => "all done",
    ///     Ok(Err(error)) => error,
    ///     Err(Cancelled) => "cancelled from outside",
    /// };
    /// assert_eq!(said, "refused");
    /// ```
    pub fn cancel_when<F: Future>(self, signal: F) -> Group<I, P, G, OnSignal<F>, L>
    where
        S: Unset,
    {
        let Group { children, grace, signal: _, concurrency, policy } = self;
        Group { children, grace, signal: OnSignal::new(signal), concurrency, policy }
    }

    /// Limits the drain: when the future that `make` returns is ready, the children that have not ended are dropped.
    ///
    /// `make` is called when the drain begins, after the children have been told, and only if one of them drains. So a
    /// timer, which starts when it is made, can be made there. There is one grace for all children. In every poll it is
    /// polled before them, so that they cannot use up the runtime's budget before it, and if it is pending then, once
    /// more after them. It acts after them, so a child that ends in the same poll is not lost. It is dropped before the
    /// gather is ready. Without a grace a drain takes as long as the slowest child.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{CancelExt, gather};
    /// use std::future::{pending, ready};
    ///
    /// let deaf = async { pending::<Result<(), &str>>().await }.on_cancel(|_| ());
    /// let failing = gather((deaf, ready(Err::<(), _>("failed")))).grace(|| ready(()));
    /// assert_eq!(pollster::block_on(failing), Err("failed"));
    /// ```
    pub fn grace<M, F>(self, make: M) -> Group<I, P, GraceOnce<M, F>, S, L>
    where
        G: Unset,
        M: FnOnce() -> F,
        F: Future,
    {
        let Group { children, grace: _, signal, concurrency, policy } = self;
        let grace: GraceOnce<M, F> = Made::new(Some(make), |make| make());
        Group { children, grace, signal, concurrency, policy }
    }

    /// Starts at most `limit` children at a time: the next ones start, in index order, as others end.
    ///
    /// A freed place is filled in the same poll, after the woken children, also one that is freed by starting. Children
    /// that have not started when the gather is cancelled are cancelled like the others: a plain one is dropped, one
    /// with an `on_cancel` hook is told and drained. The limit holds in the drain too: those that have not started begin
    /// their work as others end, in index order, so let them look first whether they were told.
    ///
    /// It does not make the futures later: all are there from the beginning, and 0 to `limit` of them are under way.
    ///
    /// # Panics
    ///
    /// If `limit` is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use gather::Group;
    /// use std::cell::Cell;
    ///
    /// let (open, most) = (Cell::new(0), Cell::new(0));
    /// let request = |page: u32| {
    ///     let (open, most) = (&open, &most);
    ///     async move {
    ///         open.set(open.get() + 1);
    ///         most.set(most.get().max(open.get()));
    ///         smol::future::yield_now().await; // in real code: wait for the answer
    ///         open.set(open.get() - 1);
    ///         Ok::<_, &str>(page)
    ///     }
    /// };
    /// let pages = (0..100).map(request).collect::<Group<_>>().concurrency(8);
    /// assert_eq!(pollster::block_on(pages), Ok((0..100).collect()));
    /// assert_eq!(most.get(), 8);
    /// # }
    /// ```
    #[track_caller]
    pub fn concurrency(self, limit: usize) -> Group<I, P, G, S, AtMost>
    where
        L: Unset,
    {
        assert!(limit != 0, "`Group::concurrency` of 0 would never start a child");
        let Group { children, grace, signal, concurrency: _, policy } = self;
        Group { children, grace, signal, concurrency: AtMost::new(limit), policy }
    }

    /// Waits for all children, whatever they end with: the output is every child's output, in the children's order and
    /// shape. The outputs may be of any type.
    ///
    /// No child ends it; only [`cancel_when`](Group::cancel_when) or a parent cancels the others. The outputs of those
    /// that had ended are dropped then; to keep them, add [`report`](Group::report).
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::gather;
    /// use std::future::ready;
    ///
    /// let all = gather((ready(1), ready(Err::<(), _>("failed")), ready('c'))).settle();
    /// assert_eq!(pollster::block_on(all), (1, Err("failed"), 'c'));
    /// ```
    pub fn settle<Q>(self) -> Group<I, Q, G, S, L>
    where
        P: Choose<With<Settle> = Q>,
    {
        self.with_policy()
    }

    /// Resolves to the first `Ok`; the other children are cancelled, as the siblings of a failed one are. If none
    /// succeeds, to all errors, in the children's order and shape. All children have the same type of value.
    ///
    /// When several children succeed in one poll, the one whose turn comes first wins: in the first poll, the lowest
    /// index. Without a child it resolves to `Err` of no
    /// errors.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::gather;
    /// use std::future::ready;
    ///
    /// let mirrors = gather([ready(Err("refused")), ready(Ok("page")), ready(Ok("same page"))]);
    /// assert_eq!(pollster::block_on(mirrors.any()), Ok("page"));
    ///
    /// let mirrors = gather((ready(Err::<(), _>("refused")), ready(Err(404))));
    /// assert_eq!(pollster::block_on(mirrors.any()), Err(("refused", 404)));
    /// ```
    pub fn any<Q>(self) -> Group<I, Q, G, S, L>
    where
        P: Choose<With<Any> = Q>,
    {
        self.with_policy()
    }

    /// Resolves to the output of the first child to end, of whatever type, the same for all; the other children are
    /// cancelled, as the siblings of a failed one are.
    ///
    /// When several children end in one poll, the one whose turn comes first wins, in the first poll the lowest index:
    /// the others are not polled.
    ///
    /// # Panics
    ///
    /// If there is no child, since there would be no winner.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::gather;
    /// use std::future::{pending, ready};
    ///
    /// let answer = async { "answer" };
    /// let timeout = async { pending().await };
    /// assert_eq!(pollster::block_on(gather((answer, timeout)).race()), "answer");
    /// ```
    #[track_caller]
    pub fn race<Q>(self) -> Group<I, Q, G, S, L>
    where
        I: Container,
        P: Choose<With<Race> = Q>,
    {
        assert!(self.children.count() != 0, "`Group::race` of no children has no winner");
        self.with_policy()
    }

    /// The output becomes a [`Report`](crate::Report): why it ended, and the [`Outcome`](crate::Outcome) of each child,
    /// also of those that ended late, in the drain. Under every policy it wants children that return a `Result`; the
    /// types may be different ones in each place of a tuple. It does not change when the gather ends: by itself that is
    /// at the first error; `.settle().report()` waits for all.
    ///
    /// With [`cancel_when`](Group::cancel_when) the output stays a `Report`, whose cause says that it was cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{CancelExt, Cause, Outcome, gather};
    /// use std::future::{pending, ready};
    ///
    /// let plain = pending::<Result<(), ()>>();
    /// let told = pending::<Result<(), u8>>().cleanup(|| ready(()));
    /// let report = gather((ready(Ok::<_, ()>(1)), plain, told, ready(Err::<(), _>("failed")))).report();
    /// let report = pollster::block_on(report);
    /// assert_eq!(report.cause, Cause::Failed(3));
    /// let (first, plain, told, failed) = report.outcomes;
    /// assert_eq!((first, plain), (Outcome::Done(1), Outcome::Dropped));
    /// assert_eq!((told, failed), (Outcome::Drained(None), Outcome::Failed("failed")));
    /// ```
    pub fn report(self) -> Group<I, Reporting<P>, G, S, L>
    where
        P: Unset,
    {
        self.with_policy()
    }

    fn with_policy<Q>(self) -> Group<I, Q, G, S, L> {
        let Group { children, grace, signal, concurrency, policy: _ } = self;
        Group { children, grace, signal, concurrency, policy: PhantomData }
    }

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
        Map::new(self.into_child(), map)
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
    pub fn map_err<T, E, F, U>(
        self,
        map: F,
    ) -> Map<<Self as IntoChild>::Child, impl FnOnce(Result<T, E>) -> Result<T, U>, Result<T, U>>
    where
        Self: IntoChild<Child: Child<Output = Result<T, E>>>,
        F: FnOnce(E) -> U,
    {
        Map::new(self.into_child(), |output: Result<T, E>| output.map_err(map))
    }
}

impl<I, P, G, S, L> IntoFuture for Group<I, P, G, S, L>
where
    I: IntoChildren<P>,
    P: Policy,
    G: Delay<()>,
    S: Signal,
    L: Concurrency,
{
    type Output = <Self::IntoFuture as Future>::Output;
    type IntoFuture = Gather<I::Children, G, S, L>;

    #[inline(always)]
    fn into_future(self) -> Self::IntoFuture {
        let Group { children, grace, signal, concurrency, policy: _ } = self;
        Gather::new(children.into_children(), grace, signal, concurrency)
    }
}

impl<I, P, G, S, L> IntoChild for Group<I, P, G, S, L>
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

/// Shows the count of children.
impl<I: Container, P, G, S, L> fmt::Debug for Group<I, P, G, S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("children", &self.children.count()).finish_non_exhaustive()
    }
}
