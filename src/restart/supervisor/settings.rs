//! The settings of a restart.

use core::marker::PhantomData;

use super::super::hooks::{Chosen, Observer};
use super::super::report::Supervised;
use super::{ErrorOf, Supervisor};
use crate::children::IntoChildren;
use crate::outcome::{Cause, Failure};
use crate::settings::cancelling::Cancelling;
use crate::settings::delay::{Backoff, GraceEachTime, Made};
use crate::settings::hook::HookEachTime;
use crate::settings::order::InReverse;
use crate::settings::signal::OnSignal;
use crate::settings::unset::Unset;

impl<I, M, L, K, S, W, O, B, P> Supervisor<I, M, L, K, S, W, O, B, P> {
    /// Restarts only after failures for which `when`, a `FnMut(&Failure<E>) -> bool`, returns true. Any other failure ends
    /// the restart with [`RestartError::NotRetried`](crate::RestartError::NotRetried). Without this setting every failure
    /// is followed by a restart.
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
    pub fn when<F>(self, when: F) -> Supervisor<I, M, L, K, S, Chosen<F, ErrorOf<I, P>>, O, B, P>
    where
        I: IntoChildren<P>,
        W: Unset,
        F: FnMut(&Failure<'_, ErrorOf<I, P>>) -> bool,
    {
        let when = Chosen { when, call: |when: &mut F, failure: &Failure<'_, ErrorOf<I, P>>| when(failure) };
        let Supervisor { make, limit, cancelling, signal, when: _, observe, backoff, policy } = self;
        Supervisor { make, limit, cancelling, signal, when, observe, backoff, policy }
    }

    /// Calls `observe`, a `FnMut(&Failure<E>)`, with every failure, in the poll in which the child failed and before any
    /// sibling is told. It also sees the last failure, and failures after which the signal comes before the restart. The
    /// limit's clock is not read for it: [`recent`](Failure::recent) is as of the previous reading.
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
    pub fn observe<F>(self, observe: F) -> Supervisor<I, M, L, K, S, W, Observer<F, ErrorOf<I, P>>, B, P>
    where
        I: IntoChildren<P>,
        O: Unset,
        F: FnMut(&Failure<'_, ErrorOf<I, P>>),
    {
        let observe =
            Observer { observe, call: |observe: &mut F, failure: &Failure<'_, ErrorOf<I, P>>| observe(failure) };
        let Supervisor { make, limit, cancelling, signal, when, observe: _, backoff, policy } = self;
        Supervisor { make, limit, cancelling, signal, when, observe, backoff, policy }
    }

    /// Before each restart, waits for the future that `make`, a `FnMut(&Failure<E>) -> impl Future`, returns, such as the
    /// timer of any runtime. It is made when no child is left, and dropped before the next generation is made. It cannot
    /// borrow from the failure; copy what it needs, and return an `async move` block.
    ///
    /// Under [`Limit::within`](crate::Limit::within) the delays count too: a group that waits for twenty seconds before each
    /// restart never restarts five times within a minute.
    ///
    /// # Examples
    ///
    /// A delay that doubles up to a minute, and becomes shorter again as failures leave the window of the
    /// [`Limit`](crate::Limit):
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
    /// // Each generation fails after a second, but the ninth after a quarter of an hour:
    /// assert_eq!(*slept.borrow(), [1, 2, 4, 8, 16, 32, 60, 60, 1, 2]);
    /// ```
    ///
    /// The delays of another crate, here [`backon`](https://docs.rs/backon): they double and have jitter, so groups that
    /// failed together do not restart together:
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
    /// The same, but the delays start over after a generation that ran for at least a minute. The closure owns its state, so
    /// the group stays `Send`:
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
    pub fn backoff<N, F>(self, make: N) -> Supervisor<I, M, L, K, S, W, O, Backoff<N, ErrorOf<I, P>, F>, P>
    where
        I: IntoChildren<P>,
        B: Unset,
        N: FnMut(&Failure<'_, ErrorOf<I, P>>) -> F,
        F: Future,
    {
        let backoff = Backoff::<N, ErrorOf<I, P>, F>::new(make, |make, failure| make(failure));
        let Supervisor { make, limit, cancelling, signal, when, observe, backoff: _, policy } = self;
        Supervisor { make, limit, cancelling, signal, when, observe, backoff, policy }
    }

    /// Ends the restart when `signal` is ready, whatever it is ready with. The output becomes `Result<Output, Cancelled>`.
    ///
    /// A running generation is cancelled and drained; a drain after a failure goes on to its end; a backoff ends at once. No
    /// further generation is made, even if the signal and a failure come in the same poll. In every poll the signal is
    /// polled before the children, the backoff and `make`, so that they cannot use up the runtime's budget before it; if it
    /// is pending, it is polled once more after them.
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
    pub fn cancel_when<F: Future>(self, signal: F) -> Supervisor<I, M, L, K, OnSignal<F>, W, O, B, P>
    where
        S: Unset,
    {
        let Supervisor { make, limit, cancelling, signal: _, when, observe, backoff, policy } = self;
        Supervisor { make, limit, cancelling, signal: OnSignal::new(signal), when, observe, backoff, policy }
    }

    /// The output becomes a [`RestartReport`](crate::RestartReport): why the restart ended, how many restarts there were,
    /// and the [`Outcome`](crate::Outcome) of each child of the last generation, including those that ended late, in the
    /// drain. It does not change when the restart ends.
    ///
    /// With [`cancel_when`](Self::cancel_when) the output is still a report; its cause is then
    /// [`Cancelled`](crate::Cause::Cancelled).
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
    pub fn report(self) -> Supervisor<I, M, L, K, S, W, O, B, Supervised>
    where
        P: Unset,
    {
        let Supervisor { make, limit, cancelling, signal, when, observe, backoff, policy: _ } = self;
        Supervisor { make, limit, cancelling, signal, when, observe, backoff, policy: PhantomData }
    }
}

impl<I, M, L, G, H, R, S, W, O, B, P> Supervisor<I, M, L, Cancelling<G, H, R>, S, W, O, B, P> {
    /// Limits the drain of each generation, like [`Group::grace`](crate::Group::grace). `make` is called in each generation
    /// that drains.
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
    pub fn grace<N, F>(self, make: N) -> Supervisor<I, M, L, Cancelling<GraceEachTime<N, F>, H, R>, S, W, O, B, P>
    where
        G: Unset,
        N: FnMut() -> F,
        F: Future,
    {
        let grace: GraceEachTime<N, F> = Made::new(make, |make| make());
        self.with_cancelling(|cancelling| cancelling.with_grace(grace))
    }

    /// Calls `hook`, a `FnMut(Cause)`, in each generation that is cancelled, like
    /// [`Group::on_cancel`](crate::Group::on_cancel): after [`observe`](Self::observe) has seen the failure, and before any
    /// child is told. It is not called if no generation is alive, as before the first one and during the
    /// [`backoff`](Self::backoff).
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{Cause, Limit, restart};
    /// use std::future::{pending, ready};
    ///
    /// let mut causes = vec![];
    /// let group = restart(Limit::restarts(1), || (pending::<Result<(), &str>>(), ready(Err::<(), _>("failed"))));
    /// assert!(pollster::block_on(group.on_cancel(|cause| causes.push(cause))).is_err());
    /// assert_eq!(causes, [Cause::Failed(1), Cause::Failed(1)]);
    /// ```
    pub fn on_cancel<F>(self, hook: F) -> Supervisor<I, M, L, Cancelling<G, HookEachTime<F>, R>, S, W, O, B, P>
    where
        H: Unset,
        F: FnMut(Cause),
    {
        self.with_cancelling(|cancelling| cancelling.with_hook(HookEachTime::new(hook)))
    }

    /// Cancels the children of each generation one at a time, the last one first, like
    /// [`Group::cancel_in_reverse`](crate::Group::cancel_in_reverse).
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{CancelExt, Limit, restart};
    /// use std::cell::RefCell;
    /// use std::future::{pending, ready};
    ///
    /// let log = RefCell::new(vec![]);
    /// let log = &log;
    /// let service = |name| {
    ///     pending::<Result<(), &str>>().cleanup(move || async move { log.borrow_mut().push(name) })
    /// };
    /// let group = restart(Limit::restarts(1), || (service("pool"), service("api"), ready(Err::<(), _>("failed"))));
    /// assert!(pollster::block_on(group.cancel_in_reverse()).is_err());
    /// assert_eq!(*log.borrow(), ["api", "pool", "api", "pool"]);
    /// ```
    pub fn cancel_in_reverse(self) -> Supervisor<I, M, L, Cancelling<G, H, InReverse>, S, W, O, B, P>
    where
        R: Unset,
    {
        self.with_cancelling(|cancelling| cancelling.with_order(InReverse::new()))
    }

    fn with_cancelling<J>(self, set: impl FnOnce(Cancelling<G, H, R>) -> J) -> Supervisor<I, M, L, J, S, W, O, B, P> {
        let Supervisor { make, limit, cancelling, signal, when, observe, backoff, policy } = self;
        Supervisor { make, limit, cancelling: set(cancelling), signal, when, observe, backoff, policy }
    }
}
