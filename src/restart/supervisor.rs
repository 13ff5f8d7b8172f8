//! The description of a restart: how its generations are made, and its settings.

mod settings;

use core::fmt;
use core::marker::PhantomData;

use super::hooks::{Always, Nobody, Observe, When};
use super::limit::{Allow, Limit};
use super::report::Supervise;
use super::{Factory, Restart};
use crate::adapters::Map;
use crate::child::{Child, IntoChild};
use crate::children::{Children, IntoChildren};
use crate::handshake::{GroupChild, Handshake};
use crate::policy::FailFast;
use crate::settings::cancelling::Cancelling;
use crate::settings::delay::{Delay, NoBackoff};
use crate::settings::hook::Hook;
use crate::settings::order::Order;
use crate::settings::signal::{NoSignal, Signal};

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
        cancelling: Cancelling::default(),
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
pub struct Supervisor<I, M, L, K = Cancelling, S = NoSignal, W = Always, O = Nobody, B = NoBackoff, P = FailFast> {
    make: Factory<M, I>,
    limit: L,
    cancelling: K,
    signal: S,
    when: W,
    observe: O,
    backoff: B,
    policy: PhantomData<fn() -> P>,
}

impl<I, M, L, K, S, W, O, B, P> Supervisor<I, M, L, K, S, W, O, B, P> {
    /// As a child of a group: its output, passed through `map`. See [`Child::map`].
    pub fn map<F, T>(self, map: F) -> Map<<Self as IntoChild>::Child, F, T>
    where
        Self: IntoChild,
        F: FnOnce(<<Self as IntoChild>::Child as Child>::Output) -> T,
    {
        self.into_child().map(map)
    }

    /// As a child of a group: its error, passed through `map`. See [`Child::map_err`].
    pub fn map_err<T, E, F, U>(self, map: F) -> Map<<Self as IntoChild>::Child, F, Result<T, U>>
    where
        Self: IntoChild<Child: Child<Output = Result<T, E>>>,
        F: FnOnce(E) -> U,
    {
        self.into_child().map_err(map)
    }
}

impl<I, M, L, G, H, R, S, W, O, B, P> IntoFuture for Supervisor<I, M, L, Cancelling<G, H, R>, S, W, O, B, P>
where
    P: Supervise<I::Children>,
    I: IntoChildren<P>,
    L: Allow,
    G: Delay<()>,
    H: Hook,
    R: Order,
    S: Signal,
    W: When<ErrorOf<I, P>>,
    O: Observe<ErrorOf<I, P>>,
    B: Delay<ErrorOf<I, P>>,
{
    type Output = <Self::IntoFuture as Future>::Output;
    type IntoFuture = Restart<I, M, I::Children, P::Last, L, Cancelling<G, H, R>, S, W, O, B>;

    fn into_future(self) -> Self::IntoFuture {
        let Supervisor { make, limit, cancelling, signal, when, observe, backoff, policy: _ } = self;
        Restart::new(make, limit, cancelling, signal, when, observe, backoff)
    }
}

impl<I, M, L, K, S, W, O, B, P> IntoChild for Supervisor<I, M, L, K, S, W, O, B, P>
where
    Self: IntoFuture<IntoFuture: Handshake>,
{
    type Child = GroupChild<<Self as IntoFuture>::IntoFuture>;

    fn into_child(self) -> Self::Child {
        GroupChild::new(self.into_future())
    }
}

/// Shows the limit.
impl<I, M, L: fmt::Debug, K, S, W, O, B, P> fmt::Debug for Supervisor<I, M, L, K, S, W, O, B, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("limit", &self.limit).finish_non_exhaustive()
    }
}
