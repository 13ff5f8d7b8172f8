//! The description of a restart: how its generations are made, and its settings.

use core::fmt;
use core::marker::PhantomData;

use super::hooks::{Always, Chosen, Nobody, Observe, Observer, When};
use super::limit::{Allow, Limit};
use super::report::{Supervise, Supervised};
use super::{Factory, Restart};
use crate::adapters::Map;
use crate::child::{Child, IntoChild};
use crate::children::{Children, IntoChildren};
use crate::handshake::{GroupChild, Handshake};
use crate::outcome::Failure;
use crate::policy::FailFast;
use crate::settings::delay::{Backoff, Delay, GraceEachTime, Made, NoBackoff, NoGrace};
use crate::settings::signal::{NoSignal, OnSignal, Signal};
use crate::settings::unset::Unset;

type ErrorOf<I, P> = <<I as IntoChildren<P>>::Children as Children>::Stop;

/// One-for-all supervision: gathers the children that `make` makes; when one fails, cancels all, waits until they are
/// gone, and makes them anew.
///
/// *When to use.* For a group that is only of use whole: a server and its refresher, a reader and a writer of one
/// connection, the tasks around one device. For work that is repeated by itself, retry within the child.
///
/// *Outcomes.* `Ok` with every child's value, once a generation has completed; or a [`RestartError`](crate::RestartError) with the error
/// that was not answered by a restart: because the [`Limit`] was reached, or because [`when`](Supervisor::when) refused
/// it. A group is not restarted because it completed: a child that must not end returns an error when it does.
///
/// *Generations.* `make` is called in the first poll, and again after a failure: after the last child of the old
/// generation is gone, drained or dropped, and its grace with it. The whole generation is restarted, including the children
/// that had finished. A failure is shown to [`observe`](Supervisor::observe) when it is seen. When the drain has ended
/// [`when`](Supervisor::when), the limit's clock and [`backoff`](Supervisor::backoff) run, in this order; none of them if
/// the signal has overtaken the failure. Between two generations the restart yields to the executor at least once, so a group that fails at once, for ever, does not spin within one poll.
///
/// *Cancellation.* [`cancel_when`](Supervisor::cancel_when) cancels the running generation, lets a drain end, and ends a
/// backoff at once; no further generation is made. Dropping it drops the children at once, in index order; no
/// asynchronous clean-up can run then.
///
/// *Panics.* A panic of a child or a closure leaves the poll in which it happened, after all children were dropped.
/// Polling again after that, or after completion, panics.
///
/// *Complexity.* The gather is kept in place: nothing is allocated for a restart, other than what a `Vec` of children
/// takes.
///
/// # Examples
///
/// ```
/// use gather::{Limit, RestartError, restart};
///
/// // Fails twice, and completes.
/// let mut generation = 0;
/// let group = restart(Limit::restarts(5), || {
///     generation += 1;
///     let result = if generation < 3 { Err("not yet") } else { Ok(generation) };
///     (async move { result }, async { Ok("calm") })
/// });
/// assert_eq!(pollster::block_on(group), Ok((3, "calm")));
///
/// // Fails for ever.
/// let group = restart(Limit::restarts(5), || [async { Err::<(), _>("broken") }]);
/// assert_eq!(pollster::block_on(group), Err(RestartError::LimitReached { restarts: 5, source: "broken" }));
/// ```
pub fn restart<L, M, I>(limit: Limit<L>, make: M) -> Supervisor<I, M, L>
where
    L: Allow,
    M: FnMut() -> I,
    I: IntoChildren<FailFast>,
{
    Supervisor {
        make: Factory { make, call: |make| make() },
        limit: limit.0,
        grace: NoGrace,
        signal: NoSignal,
        when: Always,
        observe: Nobody,
        backoff: NoBackoff,
        policy: PhantomData,
    }
}

/// What [`restart`] returns: how generations are made, and the settings of a restart that does not run yet.
///
/// Awaited it becomes a [`Restart`], the future; where a [`Future`] is wanted, call `into_future()`. Gathered, it is a
/// child that runs its own handshake, as a [`Group`](crate::Group) is: cancelled by its parent it ends without a result, or
/// with [`cancel_when`](Self::cancel_when) with `Err(Cancelled)`. One that has given up is a failure of its child in the
/// parent.
///
/// *Output.* `Result<Values, RestartError<E>>`, with the values in the children's shape; with
/// [`cancel_when`](Self::cancel_when) `Result<Result<Values, RestartError<E>>, Cancelled>`. An error of a failure that
/// the signal has overtaken goes to [`observe`](Self::observe), and is dropped.
///
/// # Examples
///
/// ```
/// use gather::{Limit, gather, restart};
/// use std::future::{pending, ready};
///
/// // The pair is restarted by itself; when it gives up, so does the whole.
/// let mut pairs = 0;
/// let pair = restart(Limit::restarts(3), || {
///     pairs += 1;
///     (pending::<Result<(), &str>>(), ready(Err::<(), _>("refused")))
/// });
/// let all = gather((pair.map_err(|given_up| given_up.into_source()), pending()));
/// let ended: Result<(((), ()), ()), _> = pollster::block_on(all);
/// assert_eq!(ended, Err("refused"));
/// assert_eq!(pairs, 4);
/// ```
#[must_use = "a supervisor does nothing unless it is awaited or gathered"]
pub struct Supervisor<I, M, L, G = NoGrace, S = NoSignal, W = Always, O = Nobody, B = NoBackoff, P = FailFast> {
    make: Factory<M, I>,
    limit: L,
    grace: G,
    signal: S,
    when: W,
    observe: O,
    backoff: B,
    policy: PhantomData<fn() -> P>,
}

impl<I, M, L, G, S, W, O, B, P> Supervisor<I, M, L, G, S, W, O, B, P> {
    /// Restarts after those failures for which `when`, a `FnMut(&Failure<E>) -> bool`, returns true. Any other ends it
    /// with
    /// [`RestartError::NotRetried`](crate::RestartError::NotRetried). Without it every failure restarts.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{Limit, RestartError, restart};
    /// use std::future::ready;
    /// use std::io::{Error, ErrorKind};
    ///
    /// let mut errors = [ErrorKind::ConnectionReset, ErrorKind::TimedOut, ErrorKind::PermissionDenied].into_iter();
    /// let group = restart(Limit::unlimited(), || [ready(Err::<(), _>(Error::from(errors.next().unwrap())))])
    ///     .when(|failure| failure.error.kind() != ErrorKind::PermissionDenied);
    /// match pollster::block_on(group) {
    ///     Err(RestartError::NotRetried { restarts, source }) => {
    ///         assert_eq!((restarts, source.kind()), (2, ErrorKind::PermissionDenied));
    ///     }
    ///     other => panic!("{other:?}"),
    /// }
    /// ```
    pub fn when<F>(self, when: F) -> Supervisor<I, M, L, G, S, Chosen<F, ErrorOf<I, P>>, O, B, P>
    where
        I: IntoChildren<P>,
        W: Unset,
        F: FnMut(&Failure<'_, ErrorOf<I, P>>) -> bool,
    {
        let when = Chosen { when, call: |when: &mut F, failure: &Failure<'_, ErrorOf<I, P>>| when(failure) };
        let Supervisor { make, limit, grace, signal, when: _, observe, backoff, policy } = self;
        Supervisor { make, limit, grace, signal, when, observe, backoff, policy }
    }

    /// Shows every failure to `observe`, a `FnMut(&Failure<E>)`, in the poll in which the child failed, before any sibling
    /// is told: also the last one, and one that is overtaken by the signal. The limit's clock is not asked for it:
    /// [`recent`](Failure::recent) counts the restarts that were within the window when it was asked last.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{Limit, restart};
    /// use std::future::ready;
    ///
    /// let mut seen = vec![];
    /// let mut errors = ["refused", "reset", "refused again"].into_iter();
    /// let group = restart(Limit::restarts(2), || [ready(Err::<(), _>(errors.next().unwrap()))])
    ///     .observe(|failure| seen.push((failure.restarts, *failure.error)));
    /// assert_eq!(pollster::block_on(group).unwrap_err().into_source(), "refused again");
    /// assert_eq!(seen, [(0, "refused"), (1, "reset"), (2, "refused again")]);
    /// ```
    pub fn observe<F>(self, observe: F) -> Supervisor<I, M, L, G, S, W, Observer<F, ErrorOf<I, P>>, B, P>
    where
        I: IntoChildren<P>,
        O: Unset,
        F: FnMut(&Failure<'_, ErrorOf<I, P>>),
    {
        let observe =
            Observer { observe, call: |observe: &mut F, failure: &Failure<'_, ErrorOf<I, P>>| observe(failure) };
        let Supervisor { make, limit, grace, signal, when, observe: _, backoff, policy } = self;
        Supervisor { make, limit, grace, signal, when, observe, backoff, policy }
    }

    /// Waits before the next generation for the future that `make`, a `FnMut(&Failure<E>) -> impl Future`, returns: any
    /// delay, of any runtime. It is made when no child is left, and it is gone before the next generation is made. It
    /// cannot borrow from the failure: copy what it needs, and return an `async move` block.
    ///
    /// Under [`Limit::within`] the delays take up the window: a group that waits for twenty seconds before each restart
    /// never has five of them within a minute.
    ///
    /// # Examples
    ///
    /// Longer with each failure, up to a minute, and from the start again as failures leave the [`Limit`]'s window:
    ///
    /// ```
    /// use gather::{Limit, restart};
    /// # use std::{cell::{Cell, RefCell}, future::ready, time::Duration};
    ///
    /// # let time = Cell::new(Duration::ZERO);
    /// # let now = || time.get();
    /// # let slept = RefCell::new(vec![]);
    /// # let sleep = |delay: Duration| {
    /// #     slept.borrow_mut().push(delay.as_secs());
    /// #     time.set(time.get() + delay);
    /// #     ready(())
    /// # };
    /// # let mut runs = [1, 1, 1, 1, 1, 1, 1, 1, 900, 1].map(Duration::from_secs).into_iter();
    /// # let mut broken = || {
    /// #     let Some(run) = runs.next() else { return ready(Ok(())) };
    /// #     time.set(time.get() + run);
    /// #     ready(Err("broken"))
    /// # };
    /// let limit = Limit::within_const::<9, _>(Duration::from_secs(600), now); // `now` and `sleep` are the runtime's
    /// let group = restart(limit, || [broken()])
    ///     .backoff(|failure| sleep(Duration::from_secs(60.min(1 << failure.recent.min(6)))));
    /// # assert!(pollster::block_on(group).is_ok());
    /// // A generation fails after a second each time; the ninth runs for a quarter of an hour:
    /// assert_eq!(*slept.borrow(), [1, 2, 4, 8, 16, 32, 60, 60, 1, 2]);
    /// ```
    ///
    /// How long to wait is any crate's to say, here [`backon`](https://docs.rs/backon)'s: twice as long each time, with
    /// jitter, so that groups which failed together do not come back together.
    ///
    /// ```
    /// use backon::{BackoffBuilder, ExponentialBuilder};
    /// use gather::{Limit, restart};
    /// # use std::{cell::RefCell, future::ready, time::Duration};
    ///
    /// let slept = RefCell::new(vec![]);
    /// let sleep = |delay: Duration| { // in real code: the runtime's
    ///     slept.borrow_mut().push(delay);
    ///     ready(())
    /// };
    /// let policy = ExponentialBuilder::new().with_min_delay(Duration::from_secs(1)).with_jitter().without_max_times();
    /// let mut delays = policy.build();
    /// let group = restart(Limit::restarts(4), || [ready(Err::<(), _>("refused"))])
    ///     .backoff(|_| sleep(delays.next().expect("without end")));
    /// assert!(pollster::block_on(group).is_err());
    ///
    /// assert_eq!(slept.borrow().len(), 4);
    /// for (delay, least) in slept.borrow().iter().zip([1, 2, 4, 8].map(Duration::from_secs)) {
    ///     assert!((least..=2 * least).contains(delay));
    /// }
    /// ```
    ///
    /// The same, from the start again after a generation that ran for a minute, and so counts as healthy. The closure
    /// alone holds what it takes, so the group stays `Send`.
    ///
    /// ```
    /// # use backon::{BackoffBuilder, ExponentialBuilder};
    /// # use gather::{Limit, restart};
    /// # use std::{cell::{Cell, RefCell}, future::ready, time::Duration};
    /// # let time = Cell::new(Duration::ZERO);
    /// # let pass = |time: &Cell<Duration>, seconds: Duration| time.set(time.get() + seconds);
    /// # let now = || time.get(); // in real code: that of the limit
    /// # let slept = RefCell::new(vec![]);
    /// # let sleep = |delay: Duration| {
    /// #     slept.borrow_mut().push(delay.as_secs());
    /// #     pass(&time, delay);
    /// #     ready(())
    /// # };
    /// # let mut runs = [1, 1, 1, 90, 1, 59, 1].map(Duration::from_secs).into_iter();
    /// # let policy = ExponentialBuilder::new().with_min_delay(Duration::from_secs(1)).without_max_times();
    /// # let group = restart(Limit::restarts(6), || {
    /// #     pass(&time, runs.next().unwrap());
    /// #     [ready(Err::<(), _>("failed"))]
    /// # });
    /// let mut delays = policy.build();
    /// let mut since = now(); // when the generation was made
    /// let group = group.backoff(move |_| {
    ///     if now().saturating_sub(since) >= Duration::from_secs(60) {
    ///         delays = policy.build();
    ///     }
    ///     let delay = delays.next().expect("without end");
    ///     since = now() + delay;
    ///     sleep(delay)
    /// });
    /// # assert!(pollster::block_on(group).is_err());
    /// // Generations that fail after 1, 1, 1, 90, 1, 59 and 1 seconds:
    /// assert_eq!(*slept.borrow(), [1, 2, 4, 1, 2, 4]);
    /// ```
    pub fn backoff<N, F>(self, make: N) -> Supervisor<I, M, L, G, S, W, O, Backoff<N, ErrorOf<I, P>, F>, P>
    where
        I: IntoChildren<P>,
        B: Unset,
        N: FnMut(&Failure<'_, ErrorOf<I, P>>) -> F,
        F: Future,
    {
        let backoff = Backoff::<N, ErrorOf<I, P>, F>::new(make, |make, failure| make(failure));
        let Supervisor { make, limit, grace, signal, when, observe, backoff: _, policy } = self;
        Supervisor { make, limit, grace, signal, when, observe, backoff, policy }
    }

    /// Ends it when `signal` is ready, whatever it is ready with. The output becomes `Result<Output, Cancelled>`.
    ///
    /// A running generation is cancelled, and its drain waited for; a drain after a failure is waited for; a
    /// backoff ends at once. No further generation is made: a signal that is seen in the same poll as a failure wins.
    /// The signal is polled before the children, the backoff or the making of a generation in every poll, so that they
    /// cannot use up the runtime's budget before it; and if it is pending then, once more after them.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_channel::oneshot;
    /// use gather::{CancelExt, Cancelled, Limit, restart};
    /// use std::cell::Cell;
    /// use std::future::{pending, ready};
    ///
    /// let (stop, stopped) = oneshot::channel();
    /// let mut stop = Some(stop);
    /// let closed = Cell::new(0);
    /// let group = restart(Limit::unlimited(), || {
    ///     let server = pending::<Result<(), &str>>().cleanup(|| async { closed.set(closed.get() + 1) });
    ///     let probe = ready(Err::<(), _>("unhealthy"));
    ///     (server, probe)
    /// });
    /// let group = group
    ///     .observe(|failure| {
    ///         if failure.restarts == 2 {
    ///             let _ = stop.take().expect("once").send(()); // in real code: from elsewhere
    ///         }
    ///     })
    ///     .cancel_when(stopped);
    /// assert_eq!(pollster::block_on(group), Err(Cancelled));
    /// assert_eq!(closed.get(), 3); // each generation was drained, the last one too
    /// ```
    pub fn cancel_when<F: Future>(self, signal: F) -> Supervisor<I, M, L, G, OnSignal<F>, W, O, B, P>
    where
        S: Unset,
    {
        let Supervisor { make, limit, grace, signal: _, when, observe, backoff, policy } = self;
        Supervisor { make, limit, grace, signal: OnSignal::new(signal), when, observe, backoff, policy }
    }

    /// Limits each generation's drain, as [`Group::grace`](crate::Group::grace) does; `make` is called in each generation that drains.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{CancelExt, Limit, restart};
    /// use std::future::{pending, ready};
    ///
    /// let mut graces = 0;
    /// let group = restart(Limit::restarts(2), || {
    ///     let deaf = pending::<Result<(), &str>>().on_cancel(|_| ());
    ///     (deaf, ready(Err::<(), _>("broken")))
    /// });
    /// let group = group.grace(|| {
    ///     graces += 1;
    ///     ready(()) // in real code: a timer, such as `tokio::time::sleep`
    /// });
    /// assert!(pollster::block_on(group).is_err());
    /// assert_eq!(graces, 3);
    /// ```
    pub fn grace<N, F>(self, make: N) -> Supervisor<I, M, L, GraceEachTime<N, F>, S, W, O, B, P>
    where
        G: Unset,
        N: FnMut() -> F,
        F: Future,
    {
        let grace: GraceEachTime<N, F> = Made::new(make, |make| make());
        let Supervisor { make, limit, grace: _, signal, when, observe, backoff, policy } = self;
        Supervisor { make, limit, grace, signal, when, observe, backoff, policy }
    }

    /// The output becomes a [`RestartReport`](crate::RestartReport): why it ended, the [`Outcome`](crate::Outcome) of each
    /// child of the last generation, also of those that ended late, in the drain; the count of restarts, and whether it
    /// has given up. It does not change when the restart ends.
    ///
    /// With [`cancel_when`](Self::cancel_when) the output stays a report, whose cause says that it was cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{Cause, GivenUp, Limit, Outcome, restart};
    /// use std::future::{pending, ready};
    ///
    /// let group = restart(Limit::restarts(2), || (pending::<Result<(), &str>>(), ready(Err::<(), _>("refused"))));
    /// let report = pollster::block_on(group.report());
    /// assert_eq!((report.cause, report.restarts), (Cause::Failed(1), 2));
    /// assert_eq!(report.given_up, Some(GivenUp::LimitReached));
    /// assert_eq!(report.outcomes, (Outcome::Dropped, Outcome::Failed("refused")));
    /// ```
    pub fn report(self) -> Supervisor<I, M, L, G, S, W, O, B, Supervised>
    where
        P: Unset,
    {
        let Supervisor { make, limit, grace, signal, when, observe, backoff, policy: _ } = self;
        Supervisor { make, limit, grace, signal, when, observe, backoff, policy: PhantomData }
    }

    /// As a child of a group: its output, passed through `map`.
    pub fn map<F, T>(self, map: F) -> Map<<Self as IntoChild>::Child, F, T>
    where
        Self: IntoChild,
        F: FnOnce(<<Self as IntoChild>::Child as Child>::Output) -> T,
    {
        Map::new(self.into_child(), map)
    }

    /// As a child of a group: its error, passed through `map`.
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

impl<I, M, L, G, S, W, O, B, P> IntoFuture for Supervisor<I, M, L, G, S, W, O, B, P>
where
    P: Supervise<I::Children>,
    I: IntoChildren<P>,
    L: Allow,
    G: Delay<()>,
    S: Signal,
    W: When<ErrorOf<I, P>>,
    O: Observe<ErrorOf<I, P>>,
    B: Delay<ErrorOf<I, P>>,
{
    type Output = <Self::IntoFuture as Future>::Output;
    type IntoFuture = Restart<I, M, I::Children, P::Last, L, G, S, W, O, B>;

    fn into_future(self) -> Self::IntoFuture {
        let Supervisor { make, limit, grace, signal, when, observe, backoff, policy: _ } = self;
        Restart::new(make, limit, grace, signal, when, observe, backoff)
    }
}

impl<I, M, L, G, S, W, O, B, P> IntoChild for Supervisor<I, M, L, G, S, W, O, B, P>
where
    Self: IntoFuture<IntoFuture: Handshake>,
{
    type Child = GroupChild<<Self as IntoFuture>::IntoFuture>;

    fn into_child(self) -> Self::Child {
        GroupChild::new(self.into_future())
    }
}

/// Shows the limit.
impl<I, M, L: fmt::Debug, G, S, W, O, B, P> fmt::Debug for Supervisor<I, M, L, G, S, W, O, B, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("limit", &self.limit).finish_non_exhaustive()
    }
}
