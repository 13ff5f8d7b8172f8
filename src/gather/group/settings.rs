//! The settings of a group.

use core::marker::PhantomData;

use super::Group;
use crate::children::Container;
use crate::judge::Choose;
use crate::outcome::Cause;
use crate::policy::{Any, Race, Reporting, Settle};
use crate::settings::cancelling::Cancelling;
use crate::settings::concurrency::AtMost;
use crate::settings::delay::{GraceOnce, Made};
use crate::settings::hook::HookOnce;
use crate::settings::order::InReverse;
use crate::settings::signal::OnSignal;
use crate::settings::unset::Unset;

impl<I, P, K, S, L> Group<I, P, K, S, L> {
    /// Cancels all children when `signal` is ready, whatever it is ready with. The output becomes
    /// `Result<Output, Cancelled>`.
    ///
    /// In every poll the signal is polled before the children, so that they cannot use up the runtime's budget before it; if
    /// it is pending, it is polled once more after them. When it is ready, the children are still polled in that poll, and
    /// are cancelled at its end. So a child that fires the signal is cancelled in that same poll; if the last child ends in
    /// that poll, the gather is complete and not cancelled; and if a child fails in that poll, the gather fails. Only if the
    /// signal is ready in the first poll, no child starts. It is dropped when the cancellation begins.
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
    pub fn cancel_when<F: Future>(self, signal: F) -> Group<I, P, K, OnSignal<F>, L>
    where
        S: Unset,
    {
        let Group { children, cancelling, signal: _, concurrency, policy } = self;
        Group { children, cancelling, signal: OnSignal::new(signal), concurrency, policy }
    }

    /// Runs at most `limit` children at a time. The next ones start, in index order, as others end.
    ///
    /// When a child ends, the next one starts in the same poll, after the children that were woken. Children that have not
    /// started when the gather is cancelled are cancelled like the others: a plain one is dropped, one with an `on_cancel`
    /// hook is told and drained. The limit holds in the drain too: told children that have not started are first polled
    /// as others end. Let them look at their token or flag before they begin.
    ///
    /// The futures themselves all exist from the beginning; to make them when their turn comes, use
    /// [`from_iter`](crate::from_iter).
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
    pub fn concurrency(self, limit: usize) -> Group<I, P, K, S, AtMost>
    where
        L: Unset,
    {
        assert!(limit != 0, "`Group::concurrency` of 0 would never start a child");
        let Group { children, cancelling, signal, concurrency: _, policy } = self;
        Group { children, cancelling, signal, concurrency: AtMost::new(limit), policy }
    }

    /// Waits for all children, whether they succeed or fail. Resolves to the output of every child, in the children's order
    /// and shape. The outputs may be of any type.
    ///
    /// Only [`cancel_when`](Group::cancel_when) or a parent cancels the children. The outputs of those that had ended are
    /// then dropped; to keep them, add [`report`](Group::report).
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
    pub fn settle<Q>(self) -> Group<I, Q, K, S, L>
    where
        P: Choose<With<Settle> = Q>,
    {
        self.with_policy()
    }

    /// Resolves to the first `Ok`, when the other children have been cancelled and none is left. If no child succeeds, it
    /// resolves to all errors, in the children's order and shape. All children have the same type of value.
    ///
    /// If several children would succeed in one poll, the one whose turn comes first wins; in the first poll that is the
    /// lowest index. Without children it resolves to an `Err` without errors.
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
    pub fn any<Q>(self) -> Group<I, Q, K, S, L>
    where
        P: Choose<With<Any> = Q>,
    {
        self.with_policy()
    }

    /// Resolves to the output of the first child to end, when the other children have been cancelled and none is left. The
    /// outputs may be of any type, the same for all children.
    ///
    /// If several children would end in one poll, the one whose turn comes first wins; in the first poll that is the lowest
    /// index. The others are not polled.
    ///
    /// # Panics
    ///
    /// If there are no children, since none could win. A [source](crate::from_stream) that gives none panics in the poll in
    /// which it ends.
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
    pub fn race<Q>(self) -> Group<I, Q, K, S, L>
    where
        I: Container,
        P: Choose<With<Race> = Q>,
    {
        assert!(self.children.count() != Some(0), "`Group::race` of no children has no winner");
        self.with_policy()
    }

    /// The output becomes a [`Report`](crate::Report): why the gather ended, and the [`Outcome`](crate::Outcome) of each
    /// child, including those that ended late, in the drain. It does not change when the gather ends: `.report()` alone ends
    /// at the first error, `.settle().report()` when all have ended. Under every policy the children must return a
    /// `Result`; in a tuple the types of values and errors may differ.
    ///
    /// With [`cancel_when`](Group::cancel_when) the output is still a `Report`; its cause is then
    /// [`Cancelled`](crate::Cause::Cancelled).
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
    pub fn report(self) -> Group<I, Reporting<P>, K, S, L>
    where
        P: Unset,
    {
        self.with_policy()
    }

    fn with_policy<Q>(self) -> Group<I, Q, K, S, L> {
        let Group { children, cancelling, signal, concurrency, policy: _ } = self;
        Group { children, cancelling, signal, concurrency, policy: PhantomData }
    }
}

impl<I, P, G, H, R, S, L> Group<I, P, Cancelling<G, H, R>, S, L> {
    /// Limits the time of the drain: when the future that `make` returns is ready, the children that are left are dropped.
    ///
    /// `make` is called when the drain begins, after the children have been told, and only if one of them drains; so a timer
    /// that it makes starts then. There is one grace for all children. In every poll it is polled before them, so that they
    /// cannot use up the runtime's budget before it; if it is pending, it is polled once more after them. When it is ready,
    /// the children are still polled in that poll, so the output of one that ends in it is not lost. It is dropped before
    /// the gather is ready. Without a grace the drain takes as long as the slowest child.
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
    pub fn grace<M, F>(self, make: M) -> Group<I, P, Cancelling<GraceOnce<M, F>, H, R>, S, L>
    where
        G: Unset,
        M: FnOnce() -> F,
        F: Future,
    {
        let grace: GraceOnce<M, F> = Made::new(Some(make), |make| make());
        self.with_cancelling(|cancelling| cancelling.with_grace(grace))
    }

    /// Calls `hook` with the cause when the group begins to cancel its children.
    ///
    /// *When to use.* To cancel a token that many children share, in one place.
    ///
    /// It is called once, after the signal and the source were dropped and before any child is told, even if no child is left
    /// to be told. It is not called if the group completes or is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{CancelExt, Cause, gather};
    /// use std::cell::Cell;
    /// use std::future::{poll_fn, ready};
    /// use std::task::Poll;
    ///
    /// let stop = Cell::new(false); // in real code: a token
    /// let worker = || poll_fn(|_| if stop.get() { Poll::Ready(Ok::<_, &str>(())) } else { Poll::Pending }).shield();
    /// let group = gather((worker(), worker(), ready(Err::<(), _>("failed")))).on_cancel(|cause| {
    ///     assert_eq!(cause, Cause::Failed(2));
    ///     stop.set(true);
    /// });
    /// assert_eq!(pollster::block_on(group), Err("failed"));
    /// assert!(stop.get());
    /// ```
    pub fn on_cancel<F>(self, hook: F) -> Group<I, P, Cancelling<G, HookOnce<F>, R>, S, L>
    where
        H: Unset,
        F: FnOnce(Cause),
    {
        self.with_cancelling(|cancelling| cancelling.with_hook(HookOnce::new(hook)))
    }

    /// Cancels the children one at a time, the last one first. When it has ended, the one before it is cancelled, and so on.
    ///
    /// *When to use.* For services that depend on those listed before them, such as a pool, a cache and an API.
    ///
    /// A child whose turn has not come is polled as before. If it ends, its output is late: it changes nothing, and
    /// in a [`report`](Group::report) it is [`Drained`](crate::Outcome::Drained). A child that was never polled, because an
    /// earlier one failed at once or because of [`concurrency`](Group::concurrency), does not start before its turn. If it
    /// drains, it then starts in excess of the limit, as the children that it would have to wait for wait for it.
    ///
    /// There is one grace for all children, which begins when the first of them drains. When it is over, the rest are
    /// dropped, the last one first, without being told. In a report those that would have drained are
    /// [`Abandoned`](crate::Outcome::Abandoned), the others [`Dropped`](crate::Outcome::Dropped).
    ///
    /// Erlang's supervisors terminate their children in this order. If the group is dropped, its children are dropped in
    /// index order nevertheless.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{CancelExt, gather};
    /// use std::cell::RefCell;
    /// use std::future::{pending, ready};
    ///
    /// let log = RefCell::new(vec![]);
    /// let service = |name| {
    ///     let log = &log;
    ///     pending::<Result<(), &str>>().cleanup(move || async move { log.borrow_mut().push(name) })
    /// };
    /// let failing = ready(Err::<(), _>("failed"));
    /// let group = gather((service("pool"), service("cache"), service("api"), failing)).cancel_in_reverse();
    /// assert_eq!(pollster::block_on(group), Err("failed"));
    /// assert_eq!(*log.borrow(), ["api", "cache", "pool"]);
    /// ```
    pub fn cancel_in_reverse(self) -> Group<I, P, Cancelling<G, H, InReverse>, S, L>
    where
        R: Unset,
    {
        self.with_cancelling(|cancelling| cancelling.with_order(InReverse::new()))
    }

    fn with_cancelling<J>(self, set: impl FnOnce(Cancelling<G, H, R>) -> J) -> Group<I, P, J, S, L> {
        let Group { children, cancelling, signal, concurrency, policy } = self;
        Group { children, cancelling: set(cancelling), signal, concurrency, policy }
    }
}
