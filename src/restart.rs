//! A failed group made anew.

use core::fmt;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_core::FusedFuture;
use pin_project::pin_project;

use crate::children::{Children, IntoChildren};
use crate::delay::Delay;
use crate::gather::{Gather, Unset};
use crate::grace::{Grace, GraceEachTime, NoGrace};
use crate::limit::{Allow, Limit};
use crate::nested::{Handshake, Nested};
use crate::outcome::Cause;
use crate::poison::{Poison, guarded};
use crate::policy::FailFast;
use crate::signal::{NoSignal, OnSignal, Signal};
use crate::trace::{Scope, event, span};

/// One-for-all supervision: gathers the children that `make` makes; when one fails, cancels all, waits until they are
/// gone, and makes them anew.
///
/// *When to use.* For a group that is only of use whole: a server and its refresher, a reader and a writer of one
/// connection, the tasks around one device. For work that is repeated by itself, retry within the child.
///
/// *Outcomes.* `Ok` with every child's value, once a generation has completed; or a [`RestartError`] with the error
/// that was not answered by a restart: because the [`Limit`] was reached, or because [`when`](Restart::when) refused
/// it. A group is not restarted because it completed: a child that must not end returns an error when it does.
///
/// *Generations.* `make` is called in the first poll, and again after a failure: after the last child of the old
/// generation is gone, drained or dropped, and its grace with it. The whole generation is made anew, also the children
/// that had finished. After a failure `when`, the limit's clock, [`observe`](Restart::observe) and
/// [`backoff`](Restart::backoff) run, in this order, when the drain has ended. Between two generations the restart
/// yields to the executor at least once, so a group that fails at once, for ever, does not spin within one poll.
///
/// *Cancellation.* [`cancel_on`](Restart::cancel_on) cancels the running generation, lets a drain end, and ends a
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
pub fn restart<L, M, I>(limit: Limit<L>, make: M) -> Restart<I, M, L>
where
    L: Allow,
    M: FnMut() -> I,
    I: IntoChildren,
{
    Restart {
        make: Factory { make, call: |make| make() },
        gather: Gather::vacant(NoGrace),
        limit: limit.0,
        restarts: 0,
        when: Always,
        observe: Nobody,
        backoff: NoBackoff,
        signal: NoSignal,
        state: State::Unpolled,
        scope: Scope::closed(),
    }
}

/// Future of [`restart`].
///
/// *Output.* `Result<Values, RestartError<E>>`, with the values in the children's shape; with
/// [`cancel_on`](Restart::cancel_on) `Result<Result<Values, RestartError<E>>, Cancelled>`. An error of a failure that
/// the signal has overtaken goes to [`observe`](Restart::observe), and is dropped.
///
/// `Debug` shows the state, the count of restarts and, while there is one, the generation's gather. It polls nothing. Of
/// it and [`is_terminated`](FusedFuture::is_terminated) holds what [`Gather`] says of its own.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct Restart<I: IntoChildren, M, L, G = NoGrace, S = NoSignal, W = Always, O = Nobody, B = NoBackoff> {
    make: Factory<M, I>,
    #[pin]
    gather: Gather<I, FailFast, G>,
    limit: L,
    restarts: u32,
    when: W,
    observe: O,
    #[pin]
    backoff: B,
    #[pin]
    signal: S,
    state: State,
    scope: Scope,
}

/// The closure that makes a generation. The function calls it, as in the adapters of [`cancel`](crate::cancel).
struct Factory<M, I> {
    make: M,
    call: fn(&mut M) -> I,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No generation was made yet.
    Unpolled,
    /// No child is left; the next poll makes a generation.
    Between,
    /// A generation is alive: it runs, or drains after a failure.
    Running,
    /// No child is left; the backoff is alive.
    BackingOff,
    /// Cancelled from outside; a generation may still drain. No other is made.
    Cancelled,
    Ended,
    Panicked,
}

/// A failure of a generation: made when all its children are gone, before the verdict and the backoff. What
/// [`observe`](Restart::observe) and [`backoff`](Restart::backoff) are shown.
///
/// # Examples
///
/// ```
/// use gather::{Failure, Limit, restart};
/// use std::future::{pending, ready};
///
/// let mut log = vec![];
/// let group = restart(Limit::restarts(1), || (pending::<Result<(), &str>>(), ready(Err::<(), _>("refused"))));
/// let group = group.observe(|failure: &Failure<&str>| {
///     let Failure { index, error, restarts, .. } = failure;
///     log.push(format!("child {index} failed after {restarts} restarts: {error}"));
/// });
/// assert!(pollster::block_on(group).is_err());
/// assert_eq!(log, ["child 1 failed after 0 restarts: refused", "child 1 failed after 1 restarts: refused"]);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure<'a, E> {
    /// The index of the child that failed.
    pub index: usize,
    /// What it failed with.
    pub error: &'a E,
    /// The count of restarts so far.
    pub restarts: u32,
    /// The count of those within the limit's window: it falls again as they leave it. Without a window, as `restarts`;
    /// so mind an overflow in what is computed of it.
    pub recent: u32,
}

/// A group was not restarted. `Display` says why, without the child's error: that is the
/// [`source`](core::error::Error::source) where it is an error; whatever it is, [`error`](Self::error) shows it, and
/// [`into_source`](Self::into_source) gives it back.
///
/// # Examples
///
/// ```
/// use gather::{Limit, restart};
/// use std::error::Error;
/// use std::future::ready;
///
/// let group = restart(Limit::restarts(5), || [ready("12x".parse::<u8>())]);
/// let given_up = pollster::block_on(group).unwrap_err();
/// assert_eq!(given_up.to_string(), "limit reached after 5 restarts");
/// assert_eq!(given_up.source().unwrap().to_string(), "invalid digit found in string");
/// assert_eq!(given_up.into_source(), "x".parse::<u8>().unwrap_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestartError<E> {
    /// It failed once more than the [`Limit`] allows.
    #[error("limit reached after {restarts} restarts")]
    LimitReached {
        /// The count of restarts before.
        restarts: u32,
        /// What it failed with the last time.
        source: E,
    },
    /// It failed with an error that [`Restart::when`] refused.
    #[error("not retried, after {restarts} restarts")]
    NotRetried {
        /// The count of restarts before.
        restarts: u32,
        /// What it failed with.
        source: E,
    },
}

impl<E> RestartError<E> {
    /// The error of the child.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{Limit, restart};
    /// use std::future::ready;
    ///
    /// let given_up = pollster::block_on(restart(Limit::restarts(1), || [ready(Err::<(), _>("refused"))])).unwrap_err();
    /// assert_eq!(given_up.error(), &"refused");
    /// assert_eq!(given_up.into_source(), "refused");
    /// ```
    pub fn error(&self) -> &E {
        match self {
            RestartError::LimitReached { source, .. } | RestartError::NotRetried { source, .. } => source,
        }
    }

    /// The error of the child, taken out.
    pub fn into_source(self) -> E {
        match self {
            RestartError::LimitReached { source, .. } | RestartError::NotRetried { source, .. } => source,
        }
    }
}

pub(crate) type ChildrenOf<I> = <I as IntoChildren>::Children<FailFast>;
type ValuesOf<I> = <ChildrenOf<I> as Children<FailFast>>::Kept;
pub(crate) type ErrorOf<I> = <ChildrenOf<I> as Children<FailFast>>::Stop;
type ResultOf<I> = Result<ValuesOf<I>, RestartError<ErrorOf<I>>>;

impl<I: IntoChildren, M, L, G, S, W, O, B> Restart<I, M, L, G, S, W, O, B> {
    #[track_caller]
    fn assert_unpolled(&self, method: &str) {
        assert!(self.state == State::Unpolled, "`Restart::{method}` must be called before the first poll");
    }

    /// Restarts for those errors for which `when`, a `FnMut(&E) -> bool`, returns true. Any other ends it with
    /// [`RestartError::NotRetried`]. Without it every error restarts.
    ///
    /// # Panics
    ///
    /// If it was polled before.
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
    ///     .when(|error| error.kind() != ErrorKind::PermissionDenied);
    /// match pollster::block_on(group) {
    ///     Err(RestartError::NotRetried { restarts, source }) => {
    ///         assert_eq!((restarts, source.kind()), (2, ErrorKind::PermissionDenied));
    ///     }
    ///     other => panic!("{other:?}"),
    /// }
    /// ```
    #[track_caller]
    pub fn when<F>(self, when: F) -> Restart<I, M, L, G, S, Chosen<F, ErrorOf<I>>, O, B>
    where
        ChildrenOf<I>: Children<FailFast>,
        W: Unset,
        F: FnMut(&ErrorOf<I>) -> bool,
    {
        self.assert_unpolled("when");
        let Restart { make, gather, limit, restarts, when: _, observe, backoff, signal, state, scope } = self;
        Restart {
            make,
            gather,
            limit,
            restarts,
            when: Chosen { when, call: |when, error| when(error) },
            observe,
            backoff,
            signal,
            state,
            scope,
        }
    }

    /// Shows every failure to `observe`, a `FnMut(&Failure<E>)`, before it is decided whether it restarts: also the
    /// last one, and one that is overtaken by the signal.
    ///
    /// # Panics
    ///
    /// If it was polled before.
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
    #[track_caller]
    pub fn observe<F>(self, observe: F) -> Restart<I, M, L, G, S, W, Observer<F, ErrorOf<I>>, B>
    where
        ChildrenOf<I>: Children<FailFast>,
        O: Unset,
        F: FnMut(&Failure<'_, ErrorOf<I>>),
    {
        self.assert_unpolled("observe");
        let Restart { make, gather, limit, restarts, when, observe: _, backoff, signal, state, scope } = self;
        Restart {
            make,
            gather,
            limit,
            restarts,
            when,
            observe: Observer { observe, call: |observe, failure| observe(failure) },
            backoff,
            signal,
            state,
            scope,
        }
    }

    /// Waits before the next generation for the future that `make`, a `FnMut(&Failure<E>) -> impl Future`, returns: any
    /// delay, of any runtime. It is made when no child is left, and it is gone before the next generation is made. It
    /// cannot borrow from the failure: copy what it needs, and return an `async move` block.
    ///
    /// Under [`Limit::within`] the delays take up the window: a group that waits for twenty seconds before each restart
    /// never has five of them within a minute.
    ///
    /// # Panics
    ///
    /// If it was polled before.
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
    /// let sleep = |delay: Duration| { // in earnest: the runtime's
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
    /// # let now = || time.get(); // in earnest: that of the limit
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
    #[track_caller]
    pub fn backoff<N, F>(self, make: N) -> Restart<I, M, L, G, S, W, O, Backoff<N, ErrorOf<I>, F>>
    where
        ChildrenOf<I>: Children<FailFast>,
        B: Unset,
        N: FnMut(&Failure<'_, ErrorOf<I>>) -> F,
        F: Future,
    {
        self.assert_unpolled("backoff");
        let backoff = Backoff::<N, ErrorOf<I>, F>::new(make, |make, failure| make(failure));
        let Restart { make, gather, limit, restarts, when, observe, backoff: _, signal, state, scope } = self;
        Restart { make, gather, limit, restarts, when, observe, backoff, signal, state, scope }
    }

    /// Ends it when `signal` is ready, whatever it is ready with. The output becomes `Result<Output, Cancelled>`.
    ///
    /// A running generation is cancelled, and its drain waited for; a drain after a failure is let to its end; a
    /// backoff ends at once. No further generation is made: a signal that is seen in the same poll as a failure wins.
    /// The signal is polled before the children, the backoff or the making of a generation in every poll, so that they
    /// cannot use up the runtime's budget before it; and if it is pending then, once more after them.
    ///
    /// # Panics
    ///
    /// If it was polled before.
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
    ///             let _ = stop.take().expect("once").send(()); // in earnest: from elsewhere
    ///         }
    ///     })
    ///     .cancel_on(stopped);
    /// assert_eq!(pollster::block_on(group), Err(Cancelled));
    /// assert_eq!(closed.get(), 3); // each generation was drained, the last one too
    /// ```
    #[track_caller]
    pub fn cancel_on<F: Future>(self, signal: F) -> Restart<I, M, L, G, OnSignal<F>, W, O, B>
    where
        S: Unset,
    {
        self.assert_unpolled("cancel_on");
        let signal = OnSignal::new(signal);
        let Restart { make, gather, limit, restarts, when, observe, backoff, signal: _, state, scope } = self;
        Restart { make, gather, limit, restarts, when, observe, backoff, signal, state, scope }
    }

    /// Limits each generation's drain, as [`Gather::grace`] does; `make` is called in each generation that drains.
    ///
    /// # Panics
    ///
    /// If it was polled before.
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
    ///     ready(()) // in earnest: a timer, such as `tokio::time::sleep`
    /// });
    /// assert!(pollster::block_on(group).is_err());
    /// assert_eq!(graces, 3);
    /// ```
    #[track_caller]
    pub fn grace<N, F>(self, make: N) -> Restart<I, M, L, GraceEachTime<N, F>, S, W, O, B>
    where
        G: Unset,
        N: FnMut() -> F,
        F: Future,
    {
        self.assert_unpolled("grace");
        let gather = Gather::vacant(GraceEachTime::each_time(make));
        let Restart { make, gather: _, limit, restarts, when, observe, backoff, signal, state, scope } = self;
        Restart { make, gather, limit, restarts, when, observe, backoff, signal, state, scope }
    }

    /// Makes it a [`Child`](crate::Child) that is cancelled by its own handshake, as [`Gather::nested`] does.
    ///
    /// Cancelled by its parent it ends without a result; with [`cancel_on`](Restart::cancel_on) it ends with
    /// `Err(Cancelled)`. One that has given up is a failure of its child in the parent.
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
    /// let all = gather((pair.nested().map_err(|given_up| given_up.into_source()), pending()));
    /// let ended: Result<(((), ()), ()), _> = pollster::block_on(all);
    /// assert_eq!(ended, Err("refused"));
    /// assert_eq!(pairs, 4);
    /// ```
    pub fn nested(self) -> Nested<Self> {
        Nested::new(self)
    }
}

impl<I, M, L, G, S, W, O, B> Restart<I, M, L, G, S, W, O, B>
where
    I: IntoChildren<Children<FailFast>: Children<FailFast>>,
    L: Allow,
    G: Grace,
    S: Signal,
    W: When<ErrorOf<I>>,
    O: Observe<ErrorOf<I>>,
    B: Wait<ErrorOf<I>>,
{
    fn step(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Resolved<ResultOf<I>>>> {
        let mut this = self;
        // Before the children or the backoff, so that they cannot use up what the runtime allows before it; if pending,
        // once more after them.
        let mut is_fired = this.as_mut().project().signal.poll_fired(cx).is_ready();
        loop {
            let mut parts = this.as_mut().project();
            match parts.state {
                State::Unpolled | State::Between => {
                    if is_fired {
                        return Poll::Ready(this.end(None));
                    }
                    this.as_mut().make_generation();
                }
                State::Running => match parts.gather.as_mut().poll_end(cx) {
                    Poll::Pending => {
                        is_fired = is_fired || parts.signal.poll_fired(cx).is_ready();
                        if !is_fired || !this.as_mut().begin_cancel() {
                            return Poll::Pending;
                        }
                    }
                    Poll::Ready(Some(Ok(values))) => return Poll::Ready(this.end(Some(Ok(values)))),
                    Poll::Ready(Some(Err(error))) => {
                        is_fired = is_fired || parts.signal.poll_fired(cx).is_ready();
                        if let Err(result) = this.as_mut().judge(error, is_fired) {
                            return Poll::Ready(this.end(result));
                        }
                        // Polled now, so that it is awaited from now on; but this poll makes no other generation.
                        if this.as_mut().wait(cx).is_ready() {
                            cx.waker().wake_by_ref();
                        }
                        return Poll::Pending;
                    }
                    Poll::Ready(None) => unreachable!("a running generation was cancelled by nobody"),
                },
                State::BackingOff => {
                    if is_fired {
                        return Poll::Ready(this.end(None));
                    }
                    let waited = this.as_mut().wait(cx);
                    is_fired = this.as_mut().project().signal.poll_fired(cx).is_ready();
                    if waited.is_pending() && !is_fired {
                        return Poll::Pending;
                    }
                }
                State::Cancelled => {
                    if !parts.gather.as_mut().has_ended() {
                        match parts.gather.poll_end(cx) {
                            Poll::Pending => return Poll::Pending,
                            Poll::Ready(Some(Err(error))) => {
                                let _ = this.as_mut().judge(error, true);
                            }
                            Poll::Ready(_) => {}
                        }
                    }
                    return Poll::Ready(this.end(None));
                }
                State::Ended | State::Panicked => unreachable!("refused before the step"),
            }
        }
    }

    // A call of its own: the children are on the stack here, and would be in every poll.
    #[inline(never)]
    fn make_generation(self: Pin<&mut Self>) {
        let this = self.project();
        let Factory { make, call } = this.make;
        let children = call(make);
        event!(DEBUG, restarts = *this.restarts; "generation made");
        this.gather.renew(children);
        *this.state = State::Running;
    }

    /// Ready when the backoff is over, and gone.
    fn wait(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let polled = this.backoff.as_mut().poll_over(cx);
        if polled.is_ready() {
            this.backoff.end();
            *this.state = State::Between;
        }
        polled
    }

    /// After a failure, when no child is left: `Ok` begins the backoff, `Err` is the result.
    fn judge(self: Pin<&mut Self>, error: ErrorOf<I>, is_cancelled: bool) -> Result<(), Option<ResultOf<I>>> {
        let this = self.project();
        let Some(Cause::Failed(index)) = this.gather.cause() else {
            unreachable!("an error is that of a child that failed")
        };
        let restarts = *this.restarts;
        let retries = this.when.retries(&error);
        let recent = this.limit.recent(restarts);
        let failure = Failure { index, error: &error, restarts, recent };
        this.observe.observe(&failure);
        if is_cancelled {
            return Err(None);
        }
        if !retries {
            event!(WARN, child = index, restarts = restarts; "not retried");
            return Err(Some(Err(RestartError::NotRetried { restarts, source: error })));
        }
        if !this.limit.allow(recent) {
            event!(WARN, child = index, restarts = restarts, recent = recent; "limit reached");
            return Err(Some(Err(RestartError::LimitReached { restarts, source: error })));
        }
        event!(INFO, child = index, restarts = restarts, recent = recent; "restarting");
        this.backoff.begin(&failure);
        *this.restarts = restarts.saturating_add(1);
        *this.state = State::BackingOff;
        Ok(())
    }

    /// Lets no other generation be made. True if a generation was running, and has been cancelled just now.
    fn begin_cancel(self: Pin<&mut Self>) -> bool {
        let this = self.project();
        event!(DEBUG, restarts = *this.restarts; "cancelling");
        let was = mem::replace(this.state, State::Cancelled);
        this.signal.end();
        this.backoff.end();
        was == State::Running && this.gather.cancel()
    }

    fn end(self: Pin<&mut Self>, result: Option<ResultOf<I>>) -> Option<S::Resolved<ResultOf<I>>> {
        let this = self.project();
        this.signal.end();
        this.backoff.end();
        *this.state = State::Ended;
        event!(DEBUG, restarts = *this.restarts; "resolved");
        S::resolve(result)
    }

    fn assert_pollable(self: Pin<&mut Self>) {
        match self.project().state {
            State::Ended => panic!("`Restart` polled after completion"),
            State::Panicked => panic!("`Restart` polled after a panic"),
            _ => {}
        }
    }
}

impl<I, M, L, G, S, W, O, B> Poison for Restart<I, M, L, G, S, W, O, B>
where
    I: IntoChildren<Children<FailFast>: Children<FailFast>>,
    L: Allow,
    G: Grace,
    S: Signal,
    W: When<ErrorOf<I>>,
    O: Observe<ErrorOf<I>>,
    B: Wait<ErrorOf<I>>,
{
    fn enter(self: Pin<&mut Self>) -> Scope {
        let this = self.project();
        if *this.state == State::Unpolled {
            return Scope::open(span!(INFO, "restart"));
        }
        this.scope.take()
    }

    fn leave(self: Pin<&mut Self>, scope: Scope) {
        let this = self.project();
        if *this.state == State::Ended {
            scope.close();
        } else {
            // The drain is that of the gather within.
            this.scope.pause(scope, false);
        }
    }

    fn poison(self: Pin<&mut Self>) {
        let this = self.project();
        *this.state = State::Panicked;
        this.gather.poison();
        this.signal.end();
        this.backoff.end();
    }
}

impl<I, M, L, G, S, W, O, B> Handshake for Restart<I, M, L, G, S, W, O, B>
where
    I: IntoChildren<Children<FailFast>: Children<FailFast>>,
    L: Allow,
    G: Grace,
    S: Signal,
    W: When<ErrorOf<I>>,
    O: Observe<ErrorOf<I>>,
    B: Wait<ErrorOf<I>>,
{
    type Output = S::Resolved<ResultOf<I>>;

    fn poll_end(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Output>> {
        self.as_mut().assert_pollable();
        guarded(self, |this| this.step(cx))
    }

    fn cancel(mut self: Pin<&mut Self>) {
        self.as_mut().assert_pollable();
        if *self.as_mut().project().state != State::Cancelled {
            guarded(self, |this| this.begin_cancel());
        }
    }
}

impl<I, M, L, G, S, W, O, B> Future for Restart<I, M, L, G, S, W, O, B>
where
    I: IntoChildren<Children<FailFast>: Children<FailFast>>,
    L: Allow,
    G: Grace,
    S: Signal,
    W: When<ErrorOf<I>>,
    O: Observe<ErrorOf<I>>,
    B: Wait<ErrorOf<I>>,
{
    type Output = S::Resolved<ResultOf<I>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_end(cx).map(|output| output.expect("nothing but a signal or a parent cancels"))
    }
}

impl<I, M, L, G, S, W, O, B> FusedFuture for Restart<I, M, L, G, S, W, O, B>
where
    Self: Future,
    I: IntoChildren,
{
    fn is_terminated(&self) -> bool {
        matches!(self.state, State::Ended | State::Panicked)
    }
}

impl<I: IntoChildren, M, L, G, S, W, O, B> fmt::Debug for Restart<I, M, L, G, S, W, O, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut restart = f.debug_struct("Restart");
        restart.field("state", &self.state).field("restarts", &self.restarts);
        if let State::Running | State::Cancelled = self.state {
            restart.field("gather", &self.gather);
        }
        restart.finish_non_exhaustive()
    }
}

/// Which errors restart.
pub trait When<E> {
    fn retries(&mut self, error: &E) -> bool;
}

/// All of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Always;

impl<E> When<E> for Always {
    fn retries(&mut self, _: &E) -> bool {
        true
    }
}

/// Those for which the closure of `when` returns true.
pub struct Chosen<F, E> {
    when: F,
    call: fn(&mut F, &E) -> bool,
}

impl<F, E> When<E> for Chosen<F, E> {
    fn retries(&mut self, error: &E) -> bool {
        (self.call)(&mut self.when, error)
    }
}

/// Who sees the failures.
pub trait Observe<E> {
    fn observe(&mut self, failure: &Failure<'_, E>);
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl<E> Observe<E> for Nobody {
    fn observe(&mut self, _: &Failure<'_, E>) {}
}

/// The closure of `observe`.
pub struct Observer<F, E> {
    observe: F,
    call: fn(&mut F, &Failure<'_, E>),
}

impl<F, E> Observe<E> for Observer<F, E> {
    fn observe(&mut self, failure: &Failure<'_, E>) {
        (self.call)(&mut self.observe, failure);
    }
}

/// How long to wait before the next generation.
pub trait Wait<E> {
    fn begin(self: Pin<&mut Self>, failure: &Failure<'_, E>);
    fn poll_over(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;
    fn end(self: Pin<&mut Self>);
}

/// Not at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoBackoff;

impl<E> Wait<E> for NoBackoff {
    fn begin(self: Pin<&mut Self>, _: &Failure<'_, E>) {}

    fn poll_over(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn end(self: Pin<&mut Self>) {}
}

/// The closure of `backoff`, and what it made.
pub type Backoff<N, E, F> = Delay<N, fn(&mut N, &Failure<'_, E>) -> F, F>;

impl<N, E, F: Future> Wait<E> for Backoff<N, E, F> {
    fn begin(self: Pin<&mut Self>, failure: &Failure<'_, E>) {
        self.begin_with(|make, call| Some(call(make, failure)));
    }

    fn poll_over(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_over(cx)
    }

    fn end(self: Pin<&mut Self>) {
        self.end();
    }
}

impl Unset for Always {}
impl Unset for Nobody {}
impl Unset for NoBackoff {}
