//! The builder of a restart: its factory and its settings.

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

/// With what the children `I` fail under the policy `P`: what the [`Failure`](crate::Failure) in
/// [`when`](Supervisor::when), [`observe`](Supervisor::observe) and [`backoff`](Supervisor::backoff) has.
pub type ErrorOf<I, P = FailFast> = <<I as IntoChildren<P>>::Children as Children>::Stop;

/// One-for-all supervision: gathers the children that `make` returns; if one fails, cancels the others, waits until none is
/// left, and calls `make` again.
///
/// *When to use.* For children that are useful only together: a server and what refreshes its data, the reader and the
/// writer of one connection, the tasks around one device. If a child can be repeated alone, retry inside the child.
///
/// *Outcomes.* `Ok` with the value of every child, when a generation has completed; or a
/// [`RestartError`](crate::RestartError) with the error that was not followed by a restart, because the [`Limit`] was
/// reached or because [`when`](Supervisor::when) returned false. A group that completes is not restarted; if a child must
/// not end, let it return an error when it does.
///
/// *Generations.* `make` is called in the first poll, and again after each failure, when the last child of the old
/// generation was dropped, and its grace with it. The new generation has all children, including those that had finished. A
/// failure is shown to [`observe`](Supervisor::observe) at once. When the drain has ended, [`when`](Supervisor::when), the
/// limit's clock and [`backoff`](Supervisor::backoff) are called, in this order, unless the signal has come meanwhile.
/// Between two generations the restart yields to the executor at least once, so a group that always fails at once does not
/// spin in one poll.
///
/// *Cancellation.* [`cancel_when`](Supervisor::cancel_when) cancels the running generation and waits for its drain; it ends
/// a backoff at once; no further generation is made. If the restart itself is dropped, the children are dropped at once, in
/// index order, and no asynchronous clean-up runs.
///
/// *Panics.* A panic of a child or a closure leaves the poll in which it happened, after all children were dropped. Polling
/// the restart again after that, or after it was ready, panics.
///
/// *Complexity.* The gather is kept in place: a restart allocates nothing but what a `Vec` of children does.
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

/// What [`restart`] returns: a builder that holds the factory and the settings of a restart.
///
/// `.await` turns it into a [`Restart`], the future. Where a [`Future`] is expected, call `into_future()`. As a child of a
/// group it cancels its own children when it is cancelled, as a [`Group`](crate::Group) does: it then ends without a result,
/// or, with [`cancel_when`](Self::cancel_when), with `Err(Cancelled)`. When it gives up, it fails as a child.
///
/// *Output.* `Result<Values, RestartError<E>>`, with the values in the children's shape; with
/// [`cancel_when`](Self::cancel_when) `Result<Result<Values, RestartError<E>>, Cancelled>`. If the signal comes before the
/// drain of a failed generation has ended, the error of that failure is shown to [`observe`](Self::observe) and then
/// dropped.
///
/// # Examples
///
/// ```
/// use gather::{Limit, gather, restart};
/// use std::future::{pending, ready};
///
/// // The pair has a restart of its own; when that gives up, the outer group fails.
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
    /// Converts the output by `map`, for a restart that is a child of a group. See [`Child::map`].
    pub fn map<F, T>(self, map: F) -> Map<<Self as IntoChild>::Child, F, T>
    where
        Self: IntoChild,
        F: FnOnce(<<Self as IntoChild>::Child as Child>::Output) -> T,
    {
        self.into_child().map(map)
    }

    /// Converts the error by `map`, for a restart that is a child of a group. See [`Child::map_err`].
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
