//! The gather and its poll loop.

use core::fmt;
use core::marker::PhantomData;
use core::mem;
use core::ops::ControlFlow;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use futures_core::FusedFuture;
use pin_project::pin_project;

use crate::child::OnCancel;
use crate::children::{Children, Index, IntoChildren, Place, Span, Step, Visitor};
use crate::concurrency::{AtMost, Concurrency, Unbounded};
use crate::grace::{Grace, GraceOnce, NoGrace};
use crate::nested::{Handshake, Nested};
use crate::outcome::{Cause, End};
use crate::poison::{Poison, guarded};
use crate::policy::{Any, Choose, FailFast, Policy, Race, Report, Reporting, Settle};
use crate::signal::{NoSignal, OnSignal, Signal};
use crate::trace::{Scope, event, span};

/// Polls all children in place, and resolves when no child is left: to their values, or, once one has failed, to its
/// error, when the others have been cancelled and are gone.
///
/// *When to use.* Wherever `try_join!` or `try_join_all` is, if a sibling of the failed child must have ended, or must
/// clean up, before the caller goes on. See [`restart`](crate::restart()) for a group that is made anew when it fails.
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
/// Every child returns a `Result`; for others there are [`settle`](Gather::settle) and [`race`](Gather::race). All have
/// one type of error; `map_err` makes it so, or [`report`](Gather::report) does without. A child that only fails needs
/// the type of its value said: `Err::<(), _>(…)`, or a function's `-> Result<Infallible, E>`.
///
/// *Cancellation.* When a child fails, in this order: no plain sibling is polled again; values of finished siblings,
/// which no one will get, are dropped; the pending children are told (draining ones) or dropped (plain ones) in index
/// order; then the draining ones are polled, for the first time in the same poll, until each has ended or
/// [`grace`](Gather::grace) is over. What they end with is dropped, it never replaces the error. Dropping the gather
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
/// *Complexity.* See [`IntoChildren`] for who is polled and what is allocated.
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
pub fn gather<I: IntoChildren>(children: I) -> Gather<I> {
    Gather {
        children: children.into_children(),
        progress: Progress::new(Phase::Unpolled),
        grace: NoGrace,
        signal: NoSignal,
        concurrency: Unbounded,
        scope: Scope::closed(),
        policy: PhantomData,
    }
}

/// Future of [`gather`].
///
/// The parameters after the container are its settings; each has a method that sets it, at most once, before the first
/// poll; in any order. A setting made twice does not compile ("this was set before"), nor does a second policy ("trait
/// bounds were not satisfied: `Settle: Choose`").
///
/// *Output.*
///
/// | settings | output |
/// |---|---|
/// | none | `Result<Values, E>`: the values in the children's shape |
/// | [`settle`](Gather::settle) | every output, in the children's shape |
/// | [`any`](Gather::any) | `Result<T, Errors>`: all errors in the children's shape |
/// | [`race`](Gather::race) | the winner's output |
/// | one of these and [`cancel_on`](Gather::cancel_on) | `Result<the above, Cancelled>` |
/// | one of these and [`report`](Gather::report), with or without `cancel_on` | [`Report`](crate::Report) of [`Outcome`](crate::Outcome)s, in the children's shape |
///
/// `Debug` shows the phase, the cause once there is one, and the state of each child. It polls nothing. It and
/// [`is_terminated`](FusedFuture::is_terminated) take a shared reference to a gather that may be running, as their
/// signatures force it. Around a child that borrows from itself, as an `async` block may, this is the open question of
/// rust-lang/rust#137750, and Miri reports it; the crate itself never does so.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct Gather<I: IntoChildren, P = FailFast, G = NoGrace, S = NoSignal, L = Unbounded> {
    #[pin]
    children: I::Children<P>,
    progress: Progress<I::Index>,
    #[pin]
    grace: G,
    #[pin]
    signal: S,
    concurrency: L,
    scope: Scope,
    policy: PhantomData<fn() -> P>,
}

impl<I: IntoChildren, G> Gather<I, FailFast, G> {
    /// Has ended, and waits for [`renew`](Self::renew).
    pub(crate) fn vacant(grace: G) -> Self {
        Gather {
            children: I::vacant(),
            progress: Progress::new(Phase::Ended),
            grace,
            signal: NoSignal,
            concurrency: Unbounded,
            scope: Scope::closed(),
            policy: PhantomData,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nobody was polled. Dropping it drops the children.
    Unpolled,
    /// There is no cause yet; all live children are pending. Dropping it drops them untold.
    Running,
    /// The cause is set, and all live children were told; none was polled since. Dropping it drops them.
    Told,
    /// As before, but each child was polled since, for which there was room. Dropping it drops them.
    Draining,
    /// It was ready. No child is left.
    Ended,
    /// Something panicked. No child is left.
    Panicked,
}

/// The phase, where passes begin, and the [`Cause`], in as few bytes as the container's index allows.
#[derive(Clone, Copy)]
struct Progress<X> {
    phase: Phase,
    round: Round<X>,
    /// The cause is set when the drain begins, or when the gather is ready, and not replaced.
    kind: CauseKind,
    /// Of the child that failed or won.
    index: X,
}

/// Where the next pass begins.
///
/// A pass goes round all children that may be polled, and is a round of its own; or it is cut, and the next one goes on
/// behind it, until together they have gone round. Each round begins behind the child with which the last one began. Were
/// it to begin where the last pass was cut, it would always begin with the same few children where the length of a cut
/// pass divides the count of children.
#[derive(Clone, Copy)]
struct Round<X> {
    next: X,
    /// The child with which the round began. As `next`: the next pass begins one.
    origin: X,
}

impl<X: Index> Round<X> {
    #[inline]
    fn new() -> Self {
        Round { next: X::new(0), origin: X::new(0) }
    }

    /// After a pass that polled this child first, and was cut at that one.
    #[inline]
    fn advance(&mut self, began: usize, cut: Option<usize>) {
        let (mut from, mut origin) = (self.next.get(), self.origin.get());
        if from == origin {
            (from, origin) = (began, began);
        }
        *self = match cut {
            Some(last) if !Self::comes_to(origin, from, last) => {
                Round { next: X::new(last + 1), origin: X::new(origin) }
            }
            _ => Round { next: X::new(origin + 1), origin: X::new(origin + 1) },
        };
    }

    /// Whether the way on from a child, and round, to the one behind the last comes to the origin.
    fn comes_to(origin: usize, from: usize, last: usize) -> bool {
        let is_behind = origin <= last + 1;
        if from <= last { from < origin && is_behind } else { from < origin || is_behind }
    }
}

#[derive(Clone, Copy, Debug)]
enum CauseKind {
    Completed,
    Failed,
    Won,
    Cancelled,
}

impl<X: Index> Progress<X> {
    #[inline]
    fn new(phase: Phase) -> Self {
        Progress { phase, round: Round::new(), kind: CauseKind::Completed, index: X::new(0) }
    }

    #[inline]
    fn set(&mut self, phase: Phase, cause: Cause) {
        let (kind, index) = match cause {
            Cause::Completed => (CauseKind::Completed, 0),
            Cause::Failed(index) => (CauseKind::Failed, index),
            Cause::Won(index) => (CauseKind::Won, index),
            Cause::Cancelled => (CauseKind::Cancelled, 0),
        };
        *self = Progress { phase, round: Round::new(), kind, index: X::new(index) };
    }

    #[inline]
    fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended | Phase::Panicked)
    }

    /// Once there is one.
    #[inline]
    fn cause(&self) -> Option<Cause> {
        if !matches!(self.phase, Phase::Told | Phase::Draining | Phase::Ended) {
            return None;
        }
        Some(match self.kind {
            CauseKind::Completed => Cause::Completed,
            CauseKind::Failed => Cause::Failed(self.index.get()),
            CauseKind::Won => Cause::Won(self.index.get()),
            CauseKind::Cancelled => Cause::Cancelled,
        })
    }
}

impl<I: IntoChildren, P, G, S, L> Gather<I, P, G, S, L> {
    /// Settings are moved, never changed in place: so they need a gather that was not polled.
    #[track_caller]
    fn assert_unpolled(&self, method: &str) {
        assert!(
            matches!(self.progress.phase, Phase::Unpolled),
            "`Gather::{method}` must be called before the first poll"
        );
    }

    /// Cancels all children when `signal` is ready, whatever it is ready with. The output becomes
    /// `Result<Output, Cancelled>`.
    ///
    /// The signal is polled before the children in every poll, so that no child can use up the runtime's budget before
    /// it; and if it is pending then, once more after them. It acts after them, if a child is left and none has failed.
    /// So a child that fires it is itself cancelled in that poll; a gather whose last child has just ended is complete,
    /// not cancelled; and a failure stands against a signal that comes in the same poll or later. A signal that is ready
    /// in the first poll starts no child. The signal is dropped when the cancellation begins.
    ///
    /// # Panics
    ///
    /// If the gather was polled before.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{Cancelled, gather};
    /// use std::future::{pending, ready};
    ///
    /// let endless = gather([pending::<Result<(), ()>>()]).cancel_on(ready("stop"));
    /// assert_eq!(pollster::block_on(endless), Err(Cancelled));
    ///
    /// let calm = gather([ready(Ok::<_, ()>(1))]).cancel_on(pending::<()>());
    /// assert_eq!(pollster::block_on(calm), Ok(Ok([1])));
    ///
    /// let failing = gather([ready(Err::<(), _>("refused"))]).cancel_on(pending::<()>());
    /// let said = match pollster::block_on(failing) {
    ///     Ok(Ok([()])) => "all done",
    ///     Ok(Err(error)) => error,
    ///     Err(Cancelled) => "cancelled from outside",
    /// };
    /// assert_eq!(said, "refused");
    /// ```
    #[track_caller]
    pub fn cancel_on<F: Future>(self, signal: F) -> Gather<I, P, G, OnSignal<F>, L>
    where
        S: Unset,
    {
        self.assert_unpolled("cancel_on");
        let Gather { children, progress, grace, signal: _, concurrency, scope, policy } = self;
        Gather { children, progress, grace, signal: OnSignal::new(signal), concurrency, scope, policy }
    }

    /// Limits the drain: when the future that `make` returns is ready, the children that have not ended are dropped.
    ///
    /// `make` is called when the drain begins, after the children have been told, and only if one of them drains. So a
    /// timer, which starts when it is made, can be made there. There is one grace for all children. In every poll it is
    /// polled before them, so that they cannot use up the runtime's budget before it, and if it is pending then, once
    /// more after them. It acts after them, so a child that ends in the same poll is not lost. It is dropped before the
    /// gather is ready. Without a grace a drain takes as long as the slowest child.
    ///
    /// # Panics
    ///
    /// If the gather was polled before.
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
    #[track_caller]
    pub fn grace<M, F>(self, make: M) -> Gather<I, P, GraceOnce<M, F>, S, L>
    where
        G: Unset,
        M: FnOnce() -> F,
        F: Future,
    {
        self.assert_unpolled("grace");
        let Gather { children, progress, grace: _, signal, concurrency, scope, policy } = self;
        Gather { children, progress, grace: GraceOnce::once(make), signal, concurrency, scope, policy }
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
    /// If `limit` is 0, or if the gather was polled before.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use gather::Gather;
    /// use std::cell::Cell;
    ///
    /// let (open, most) = (Cell::new(0), Cell::new(0));
    /// let request = |page: u32| {
    ///     let (open, most) = (&open, &most);
    ///     async move {
    ///         open.set(open.get() + 1);
    ///         most.set(most.get().max(open.get()));
    ///         smol::future::yield_now().await; // in earnest: wait for the answer
    ///         open.set(open.get() - 1);
    ///         Ok::<_, &str>(page)
    ///     }
    /// };
    /// let pages = (0..100).map(request).collect::<Gather<_>>().concurrency(8);
    /// assert_eq!(pollster::block_on(pages), Ok((0..100).collect()));
    /// assert_eq!(most.get(), 8);
    /// # }
    /// ```
    #[track_caller]
    pub fn concurrency(self, limit: usize) -> Gather<I, P, G, S, AtMost>
    where
        L: Unset,
    {
        assert!(limit != 0, "`Gather::concurrency` of 0 would never start a child");
        self.assert_unpolled("concurrency");
        let Gather { children, progress, grace, signal, concurrency: _, scope, policy } = self;
        Gather { children, progress, grace, signal, concurrency: AtMost::new(limit), scope, policy }
    }

    /// Waits for all children, whatever they end with: the output is every child's output, in the children's order and
    /// shape. The outputs may be of any type.
    ///
    /// No child ends it; only [`cancel_on`](Gather::cancel_on) or a parent cancels the others. The outputs of those
    /// that had ended are dropped then; to keep them, add [`report`](Gather::report).
    ///
    /// # Panics
    ///
    /// If the gather was polled before.
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
    #[track_caller]
    pub fn settle(self) -> Gather<I, P::With<Settle>, G, S, L>
    where
        P: Choose,
    {
        self.with_policy("settle")
    }

    /// Resolves to the first `Ok`; the other children are cancelled, as the siblings of a failed one are. If none
    /// succeeds, to all errors, in the children's order and shape. All children have the same type of value.
    ///
    /// When several children succeed in one poll, the one whose turn comes first wins: in the first poll, the lowest
    /// index. Without a child it resolves to `Err` of no
    /// errors.
    ///
    /// # Panics
    ///
    /// If the gather was polled before.
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
    #[track_caller]
    pub fn any(self) -> Gather<I, P::With<Any>, G, S, L>
    where
        P: Choose,
    {
        self.with_policy("any")
    }

    /// Resolves to the output of the first child to end, of whatever type, the same for all; the other children are
    /// cancelled, as the siblings of a failed one are.
    ///
    /// When several children end in one poll, the one whose turn comes first wins, in the first poll the lowest index:
    /// the others are not polled.
    ///
    /// # Panics
    ///
    /// If there is no child, since there would be no winner; or if the gather was polled before.
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
    pub fn race(self) -> Gather<I, P::With<Race>, G, S, L>
    where
        P: Choose,
    {
        assert!(I::count(&self.children) != 0, "`Gather::race` of no children has no winner");
        self.with_policy("race")
    }

    /// The output becomes a [`Report`](crate::Report): why it ended, and the [`Outcome`](crate::Outcome) of each child,
    /// also of those that ended late, in the drain. Under every policy it wants children that return a `Result`; the
    /// types may be different ones in each place of a tuple. It does not change when the gather ends: by itself that is
    /// at the first error; `.settle().report()` waits for all.
    ///
    /// With [`cancel_on`](Gather::cancel_on) the output stays a `Report`, whose cause says that it was cancelled.
    ///
    /// # Panics
    ///
    /// If the gather was polled before.
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
    #[track_caller]
    pub fn report(self) -> Gather<I, Reporting<P>, G, S, L>
    where
        P: Report,
    {
        self.with_policy("report")
    }

    #[track_caller]
    fn with_policy<Q>(self, method: &str) -> Gather<I, Q, G, S, L> {
        self.assert_unpolled(method);
        let Gather { children, progress, grace, signal, concurrency, scope, policy: _ } = self;
        let children = I::change_policy(children);
        Gather { children, progress, grace, signal, concurrency, scope, policy: PhantomData }
    }

    /// Makes it a [`Child`](crate::Child) that is cancelled by its own handshake: its parent does not drop it but has
    /// it cancel its children, and drains it until none of them is left.
    ///
    /// Cancelled by its parent it ends without a result; with [`cancel_on`](Gather::cancel_on) it ends with
    /// `Err(Cancelled)`, with [`report`](Gather::report) with its report. A cause that was set before stands, so a
    /// gather that has failed and is draining ends with its error. The other settings may be made before or after. It
    /// is no future, so it takes no adapter; it has their `map` and `map_err`.
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
    /// let outer = gather((inner.nested(), ready(Err::<(), _>("failed"))));
    /// assert_eq!(pollster::block_on(outer), Err("failed"));
    /// assert!(closed.get());
    /// ```
    pub fn nested(self) -> Nested<Self> {
        Nested::new(self)
    }
}

/// A setting that was not made yet. Each is made at most once.
#[diagnostic::on_unimplemented(message = "this was set before", label = "is set at most once for a gather")]
pub trait Unset {}

impl Unset for NoSignal {}
impl Unset for NoGrace {}
impl Unset for Unbounded {}

impl<I, P, G, S, L> Gather<I, P, G, S, L>
where
    I: IntoChildren<Children<P>: Children<P>>,
    P: Policy,
    G: Grace,
    S: Signal,
    L: Concurrency,
{
    /// One poll: the whole machine.
    #[inline(always)]
    fn step(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Output<I, P, S>>> {
        let mut this = self;
        if matches!(this.as_mut().project().progress.phase, Phase::Unpolled | Phase::Running) {
            match this.as_mut().run(cx) {
                None => return Poll::Pending,
                Some(Cause::Completed) => return Poll::Ready(this.resolve(Cause::Completed)),
                Some(cause) => this.as_mut().begin_cancel(cause),
            }
        }
        if this.as_mut().drain(cx).is_pending() {
            return Poll::Pending;
        }
        let cause = this.as_mut().project().progress.cause().expect("set before the drain");
        Poll::Ready(this.resolve(cause))
    }

    /// Polls the running children, and starts those that may start. The cause, once there is one.
    #[inline(always)]
    fn run(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<Cause> {
        let mut this = self.project();
        let is_first = matches!(this.progress.phase, Phase::Unpolled);
        if is_first {
            if !this.children.as_mut().is_live() {
                return Some(Cause::Completed);
            }
            this.children.as_mut().start();
        }
        // Before the children, so that none of them can use up what the runtime allows before it.
        let is_fired = this.signal.as_mut().poll_fired(cx).is_ready();
        if is_first {
            if is_fired {
                return Some(Cause::Cancelled);
            }
            this.progress.phase = Phase::Running;
        }

        let turn = Turn { cx, concurrency: this.concurrency, is_first };
        let end = turn.pass::<P, _, _, false>(this.children.as_mut(), &mut this.progress.round);
        if let PassEnd::Stopped(index) = end {
            let cause = P::cause(index);
            match cause {
                Cause::Failed(child) => event!(DEBUG, child = child; "child failed"),
                _ => event!(DEBUG, child = index; "child won"),
            }
            return Some(cause);
        }
        if !this.children.as_mut().is_live() {
            return Some(Cause::Completed);
        }
        if is_fired || this.signal.poll_fired(cx).is_ready() {
            return Some(Cause::Cancelled);
        }
        end.wait(this.children, cx.waker());
        None
    }

    /// Sets the cause, and tells or drops every pending child.
    #[inline(always)]
    fn begin_cancel(self: Pin<&mut Self>, cause: Cause) {
        let mut this = self.project();
        event!(DEBUG, cause = %cause; "cancelling");
        this.progress.set(Phase::Told, cause);
        this.signal.end();
        if !P::KEEPS_ALL {
            this.children.as_mut().discard_kept(cause.index());
        }
        if this.children.as_mut().is_live() {
            let _ = this.children.as_mut().visit(Span::From(0), &mut Cancel { concurrency: this.concurrency });
        }
        if this.children.as_mut().is_live() {
            this.grace.begin();
            event!(DEBUG, children = count_live(this.children); "draining");
        }
    }

    /// Polls the told children, their grace before and after them. Ready when no child is left.
    #[inline(always)]
    fn drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if !this.children.as_mut().is_live() {
            return Poll::Ready(());
        }
        let is_over = this.grace.as_mut().poll_over(cx).is_ready();
        let is_first = mem::replace(&mut this.progress.phase, Phase::Draining) == Phase::Told;
        let turn = Turn { cx, concurrency: this.concurrency, is_first };
        let end = turn.pass::<P, _, _, true>(this.children.as_mut(), &mut this.progress.round);
        if !this.children.as_mut().is_live() {
            return Poll::Ready(());
        }
        if !is_over && this.grace.poll_over(cx).is_pending() {
            end.wait(this.children, cx.waker());
            return Poll::Pending;
        }
        event!(WARN, children = count_live(this.children.as_mut()); "grace over");
        let _ = this.children.as_mut().visit(Span::From(0), &mut Abandon);
        Poll::Ready(())
    }

    #[inline(always)]
    fn resolve(self: Pin<&mut Self>, cause: Cause) -> Option<Output<I, P, S>> {
        let mut this = self.project();
        this.signal.end();
        this.grace.end();
        let output = P::resolve::<_, S>(cause, this.children.as_mut());
        this.children.clear();
        this.progress.set(Phase::Ended, cause);
        event!(DEBUG, cause = %cause; "resolved");
        output
    }

    /// Refuses what was polled to its end.
    #[inline(always)]
    fn assert_pollable(self: Pin<&mut Self>) {
        match self.project().progress.phase {
            Phase::Ended => panic!("`Gather` polled after completion"),
            Phase::Panicked => panic!("`Gather` polled after a panic"),
            Phase::Unpolled | Phase::Running | Phase::Told | Phase::Draining => {}
        }
    }

    /// As [`Future::poll`], without an output where nothing can say that it was cancelled.
    #[inline(always)]
    pub(crate) fn poll_end(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Output<I, P, S>>> {
        self.as_mut().assert_pollable();
        guarded(self, |this| this.step(cx))
    }

    /// As [`FusedFuture::is_terminated`] (THROUGH-PIN).
    pub(crate) fn has_ended(self: Pin<&mut Self>) -> bool {
        self.project().progress.has_ended()
    }

    /// The cause, once there is one.
    pub(crate) fn cause(self: Pin<&mut Self>) -> Option<Cause> {
        self.project().progress.cause()
    }

    /// Begins the handshake, unless there is a cause already. Whether it did.
    pub(crate) fn cancel(mut self: Pin<&mut Self>) -> bool {
        self.as_mut().assert_pollable();
        let begins = matches!(self.as_mut().project().progress.phase, Phase::Unpolled | Phase::Running);
        if begins {
            guarded(self, |mut this| {
                this.as_mut().project().children.start();
                this.begin_cancel(Cause::Cancelled);
            });
        }
        begins
    }

    /// Gathers other children, in place, when the last ones are gone.
    pub(crate) fn renew(self: Pin<&mut Self>, children: I) {
        let mut this = self.project();
        debug_assert!(matches!(this.progress.phase, Phase::Ended));
        this.children.set(children.into_children());
        *this.progress = Progress::new(Phase::Unpolled);
    }
}

type Output<I, P, S> = <P as Policy>::Output<
    <<I as IntoChildren>::Children<P> as Children<P>>::Kept,
    <<I as IntoChildren>::Children<P> as Children<P>>::Stop,
    S,
>;

impl<I, P, G, S, L> Poison for Gather<I, P, G, S, L>
where
    I: IntoChildren<Children<P>: Children<P>>,
    P: Policy,
    G: Grace,
    S: Signal,
    L: Concurrency,
{
    #[inline(always)]
    fn enter(self: Pin<&mut Self>) -> Scope {
        let this = self.project();
        if matches!(this.progress.phase, Phase::Unpolled) {
            return Scope::open(span!(DEBUG, "gather", children = I::count(&this.children)));
        }
        this.scope.take()
    }

    #[inline(always)]
    fn leave(self: Pin<&mut Self>, scope: Scope) {
        let this = self.project();
        if matches!(this.progress.phase, Phase::Ended) {
            scope.close();
        } else {
            this.scope.pause(scope, matches!(this.progress.phase, Phase::Told | Phase::Draining));
        }
    }

    #[inline(always)]
    fn poison(self: Pin<&mut Self>) {
        let this = self.project();
        this.progress.phase = Phase::Panicked;
        this.children.clear();
        this.signal.end();
        this.grace.end();
    }
}

impl<I, P, G, S, L> Future for Gather<I, P, G, S, L>
where
    I: IntoChildren<Children<P>: Children<P>>,
    P: Policy,
    G: Grace,
    S: Signal,
    L: Concurrency,
{
    type Output = Output<I, P, S>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_end(cx).map(|output| output.expect("nothing but a signal or a parent cancels"))
    }
}

impl<I, P, G, S, L> FusedFuture for Gather<I, P, G, S, L>
where
    I: IntoChildren<Children<P>: Children<P>>,
    P: Policy,
    G: Grace,
    S: Signal,
    L: Concurrency,
{
    fn is_terminated(&self) -> bool {
        self.progress.has_ended()
    }
}

impl<I, P, G, S, L> Handshake for Gather<I, P, G, S, L>
where
    I: IntoChildren<Children<P>: Children<P>>,
    P: Policy,
    G: Grace,
    S: Signal,
    L: Concurrency,
{
    type Output = Output<I, P, S>;

    fn poll_end(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Output>> {
        self.poll_end(cx)
    }

    fn cancel(self: Pin<&mut Self>) {
        self.cancel();
    }
}

/// Says the phase, the cause once there is one, and the state of each child; of more than 16 children the counts,
/// and the indices of the first live ones: those who keep a drain from ending. Polls nobody.
impl<I: IntoChildren, P, G, S, L: Concurrency> fmt::Debug for Gather<I, P, G, S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gather = f.debug_struct("Gather");
        gather.field("phase", &self.progress.phase);
        if let Some(cause) = self.progress.cause() {
            gather.field("cause", &cause);
        }
        gather.field("children", &States(self)).finish_non_exhaustive()
    }
}

/// As many children are listed one by one.
const LISTED: usize = 16;

/// The states of a gather's children.
struct States<'a, I: IntoChildren, P, G, S, L>(&'a Gather<I, P, G, S, L>);

impl<I: IntoChildren, P, G, S, L: Concurrency> States<'_, I, P, G, S, L> {
    fn is_live(&self, index: usize) -> bool {
        I::is_live_at(&self.0.children, index)
    }

    fn of(&self, index: usize) -> &'static str {
        match self.0.progress.phase {
            _ if !self.is_live(index) => "ended",
            Phase::Told | Phase::Draining => "draining",
            Phase::Running if index < self.0.concurrency.started() => "pending",
            _ => "unstarted",
        }
    }
}

impl<I: IntoChildren, P, G, S, L: Concurrency> fmt::Debug for States<'_, I, P, G, S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = 0..I::count(&self.0.children);
        if all.len() <= LISTED {
            f.write_str("[")?;
            for index in all {
                let comma = if index == 0 { "" } else { ", " };
                write!(f, "{comma}{}", self.of(index))?;
            }
            return f.write_str("]");
        }
        f.write_str("{")?;
        for name in ["unstarted", "pending", "draining", "ended"] {
            let count = all.clone().filter(|index| self.of(*index) == name).count();
            if count > 0 {
                write!(f, "{name}: {count}, ")?;
            }
        }
        f.write_str("live at: ")?;
        let mut live = all.filter(|index| self.is_live(*index));
        f.debug_list().entries(live.by_ref().take(LISTED)).finish()?;
        f.write_str(if live.next().is_some() { " and others}" } else { "}" })
    }
}

/// The count of children that have not ended.
fn count_live<P, C: Children<P>>(children: Pin<&mut C>) -> usize {
    struct Count(usize);

    impl<P> Visitor<P> for Count {
        fn visit(&mut self, _: usize, _: impl Place<P>) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
    }

    let mut count = Count(0);
    let _ = children.visit(Span::From(0), &mut count);
    count.0
}

/// When as many children in a row, each polled before and woken since, were pending again, the pass is cut: the runtime
/// may ration polls, as tokio's budget does, and have none left.
const FRUITLESS: u32 = 32;

/// The turn of the children within a poll of the gather.
struct Turn<'a, 'b, L> {
    cx: &'a mut Context<'b>,
    concurrency: &'a mut L,
    /// All children that may be polled are, woken or not.
    is_first: bool,
}

/// How a pass ended.
#[derive(Clone, Copy)]
enum PassEnd {
    /// The turn of every child came.
    Through,
    /// The children behind this index wait for the next pass.
    Cut(usize),
    /// The child of this index ended, and with it the gather.
    Stopped(usize),
}

impl<L: Concurrency> Turn<'_, '_, L> {
    /// Polls the children once, and starts those for which there is room. Writes down where the next pass begins.
    #[inline(always)]
    fn pass<P, C: Children<P>, X: Index, const DRAINS: bool>(
        self,
        mut children: Pin<&mut C>,
        round: &mut Round<X>,
    ) -> PassEnd {
        let started = self.concurrency.started();
        let span = match self.is_first {
            true if DRAINS => Span::All,
            true => Span::From(0),
            false => Span::Woken { from: round.next.get(), below: started },
        };
        let starts_later = L::LIMITED && !self.is_first;
        let may_cut = C::KNOWS_WOKEN && !self.is_first;
        let mut pass = Pass::<_, DRAINS> { turn: self, may_cut, began: None, fruitless: 0, end: PassEnd::Through };
        let _ = children.as_mut().visit(span, &mut pass);
        if starts_later && !matches!(pass.end, PassEnd::Stopped(_)) {
            let _ = children.visit(Span::From(started), &mut pass);
        }
        if let Some(began) = pass.began {
            round.advance(began, pass.end.cut());
        }
        pass.end
    }
}

impl PassEnd {
    #[inline]
    fn cut(self) -> Option<usize> {
        match self {
            PassEnd::Cut(last) => Some(last),
            PassEnd::Through | PassEnd::Stopped(_) => None,
        }
    }

    /// Ends a poll that is pending.
    #[inline(always)]
    fn wait<P, C: Children<P>>(self, children: Pin<&mut C>, waker: &Waker) {
        match self {
            PassEnd::Cut(_) => waker.wake_by_ref(),
            PassEnd::Through | PassEnd::Stopped(_) => children.rearm(waker),
        }
    }
}

/// Polls children; those at or above the ones that have started it starts.
struct Pass<'a, 'b, L, const DRAINS: bool> {
    turn: Turn<'a, 'b, L>,
    may_cut: bool,
    /// The first child that was polled.
    began: Option<usize>,
    /// How many in a row were woken, and pending again.
    fruitless: u32,
    end: PassEnd,
}

impl<P, L: Concurrency, const DRAINS: bool> Visitor<P> for Pass<'_, '_, L, DRAINS> {
    #[inline(always)]
    fn visit(&mut self, index: usize, place: impl Place<P>) -> ControlFlow<()> {
        let Turn { cx, concurrency, is_first } = &mut self.turn;
        let starts = if L::LIMITED { index >= concurrency.started() } else { *is_first && !DRAINS };
        if starts {
            if !concurrency.has_room() {
                return ControlFlow::Break(());
            }
            concurrency.start(index);
            event!(TRACE, child = index; "child started");
        }
        self.began.get_or_insert(index);
        match if DRAINS { place.drain(cx) } else { place.poll(cx) } {
            Step::Pending => {
                if self.may_cut && !starts {
                    self.fruitless += 1;
                    if self.fruitless == FRUITLESS {
                        self.end = PassEnd::Cut(index);
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            }
            Step::Ended => {
                self.fruitless = 0;
                concurrency.end();
                if DRAINS {
                    event!(DEBUG, child = index; "child drained");
                } else {
                    event!(TRACE, child = index; "child ended");
                }
                ControlFlow::Continue(())
            }
            Step::Stopped => {
                concurrency.end();
                self.end = PassEnd::Stopped(index);
                ControlFlow::Break(())
            }
        }
    }
}

/// Tells or drops.
struct Cancel<'a, L> {
    concurrency: &'a mut L,
}

impl<P, L: Concurrency> Visitor<P> for Cancel<'_, L> {
    #[inline(always)]
    fn visit(&mut self, index: usize, place: impl Place<P>) -> ControlFlow<()> {
        match place.cancel() {
            OnCancel::Drain => event!(DEBUG, child = index; "child told"),
            OnCancel::Drop => {
                if L::LIMITED && index < self.concurrency.started() {
                    self.concurrency.end();
                }
                event!(DEBUG, child = index; "child dropped");
            }
        }
        ControlFlow::Continue(())
    }
}

/// Drops those that outlive the grace.
struct Abandon;

impl<P> Visitor<P> for Abandon {
    #[inline(always)]
    fn visit(&mut self, index: usize, place: impl Place<P>) -> ControlFlow<()> {
        place.end(End::Dropped);
        event!(DEBUG, child = index; "child dropped");
        ControlFlow::Continue(())
    }
}
