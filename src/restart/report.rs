//! What a restart resolves to: the plain result, or a report.

use core::convert::Infallible;
use core::fmt;

use crate::children::Children;
use crate::judge::{End, Judge, Left, Policy};
use crate::outcome::{Cause, GatherError, Outcome, Outcomes, Report, RestartError};
use crate::policy::{FailFast, Reporting};
use crate::settings::signal::{NoSignal, Signal};

/// The output of a generation.
pub(super) type EndOf<C> =
    <<C as Children>::Policy as Policy>::Output<<C as Children>::Kept, <C as Children>::Stop, NoSignal>;

/// The output of the restart.
pub(super) type ResultOf<C, S> = <<C as Children>::Policy as Supervise<C>>::Result<S>;

/// The policy of a restart's generations, and the output of the restart.
pub trait Supervise<C: Children<Policy = Self>>: Policy {
    /// What is kept of the last generation, until the next one is made.
    type Last: Default;
    type Result<S: Signal>;

    /// The error with which a generation failed. `None`: it completed.
    fn failure(end: &EndOf<C>) -> Option<&C::Stop>;
    fn keep_last(end: EndOf<C>) -> Self::Last;
    /// `None`: it was cancelled, and the output cannot express that.
    fn resolve_restart<S: Signal>(
        ended: Ended<EndOf<C>, Self::Last>,
        unmade: impl FnOnce() -> C::Kept,
    ) -> Option<Self::Result<S>>;
}

/// How a restart ended.
pub struct Ended<E, L> {
    /// With this end of the generation that was alive.
    pub(super) end: Option<E>,
    /// Between generations, with what is left of the last one.
    pub(super) last: L,
    pub(super) restarts: u32,
    pub(super) given_up: Option<GivenUp>,
    pub(super) is_cancelled: bool,
}

/// Why a restart has given up: see [`RestartReport::given_up`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GivenUp {
    /// The group failed more often than the [`Limit`](crate::Limit) allows.
    LimitReached,
    /// [`when`](crate::Supervisor::when) returned false for the failure.
    NotRetried,
}

impl<C: Children<Policy = FailFast>> Supervise<C> for FailFast {
    type Last = ();
    type Result<S: Signal> = S::Resolved<Result<C::Kept, RestartError<C::Stop>>>;

    fn failure(end: &EndOf<C>) -> Option<&C::Stop> {
        end.as_ref().err()
    }

    fn keep_last(_: EndOf<C>) {}

    fn resolve_restart<S: Signal>(ended: Ended<EndOf<C>, ()>, _: impl FnOnce() -> C::Kept) -> Option<Self::Result<S>> {
        let Ended { end, restarts, given_up, is_cancelled, .. } = ended;
        S::resolve(end.filter(|_| !is_cancelled).map(|end| {
            end.map_err(|source| match given_up {
                Some(GivenUp::NotRetried) => RestartError::NotRetried { restarts, source },
                _ => RestartError::LimitReached { restarts, source },
            })
        }))
    }
}

/// The policy of a restart's `report`: like [`Reporting<FailFast>`](Reporting), for children with one type of error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Supervised;

impl<T, E> Judge<Result<T, E>> for Supervised {
    type Kept = Outcome<T, E>;
    type Stop = E;

    fn stops(output: &Result<T, E>) -> bool {
        output.is_err()
    }

    fn keep(end: End<Result<T, E>>) -> Outcome<T, E> {
        Reporting::<FailFast>::keep(end)
    }

    fn stop(output: Result<T, E>) -> E {
        FailFast::stop(output)
    }

    fn stop_of(output: &Result<T, E>) -> Option<&E> {
        FailFast::stop_of(output)
    }

    fn stop_in(kept: &Outcome<T, E>) -> Option<&E> {
        kept.error()
    }
}

impl Policy for Supervised {
    const KEEPS_ALL: bool = true;

    type Waits<K> = Infallible;
    type Output<K, X, S: Signal> = Report<K>;

    fn cause(index: usize) -> Cause {
        FailFast::cause(index)
    }

    fn resolve<K, X, S: Signal>(cause: Cause, left: Left<K, X>) -> Option<Report<K>> {
        Reporting::<FailFast>::resolve::<K, X, S>(cause, left)
    }
}

impl<C> Supervise<C> for Supervised
where
    C: Children<Policy = Supervised>,
    C::Kept: Outcomes<Error = C::Stop>,
{
    type Last = Option<Report<C::Kept>>;
    type Result<S: Signal> = RestartReport<C::Kept>;

    fn failure(end: &EndOf<C>) -> Option<&C::Stop> {
        end.outcomes.errors().nth(end.cause.index()?)?
    }

    fn keep_last(end: EndOf<C>) -> Self::Last {
        Some(end)
    }

    fn resolve_restart<S: Signal>(
        ended: Ended<EndOf<C>, Self::Last>,
        unmade: impl FnOnce() -> C::Kept,
    ) -> Option<Self::Result<S>> {
        let Ended { end, last, restarts, given_up, is_cancelled } = ended;
        let report = end.or(last).unwrap_or_else(|| Report { cause: Cause::Cancelled, outcomes: unmade() });
        let cause = if is_cancelled { Cause::Cancelled } else { report.cause };
        Some(RestartReport { cause, outcomes: report.outcomes, restarts, given_up })
    }
}

/// Why a restart ended, and what became of each child of the last generation: the output of
/// [`Supervisor::report`](crate::Supervisor::report).
///
/// `O` has the shape of the children: a tuple, an array or a `Vec` of [`Outcome`]s.
///
/// # Examples
///
/// An error in the drain of a restart that is cancelled is not lost:
///
/// ```
/// use gather::{CancelExt, Cause, Limit, Outcome, restart};
/// use std::cell::Cell;
/// use std::future::poll_fn;
/// use std::task::Poll;
///
/// let stop = Cell::new(false);
/// let group = restart(Limit::unlimited(), || {
///     let worker = poll_fn(|_| if stop.get() { Poll::Ready(Err::<(), _>("disk full")) } else { Poll::Pending });
///     [worker.on_cancel(|_| stop.set(true))]
/// });
/// # let mut polls = 0;
/// # let signal = poll_fn(|cx| {
/// #     polls += 1;
/// #     cx.waker().wake_by_ref();
/// #     if polls > 2 { Poll::Ready(()) } else { Poll::Pending }
/// # });
/// let report = pollster::block_on(group.cancel_when(signal).report());
/// assert_eq!((report.cause, report.restarts, report.given_up), (Cause::Cancelled, 0, None));
/// assert_eq!(report.outcomes, [Outcome::Drained(Some(Err("disk full")))]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a report may tell of a failure"]
#[non_exhaustive]
pub struct RestartReport<O> {
    /// Why the restart ended: the last generation completed, or it failed and was not restarted, or the restart was
    /// cancelled.
    pub cause: Cause,
    /// What became of each child of the last generation. If none was made, all children of a tuple or an array are
    /// [`Dropped`](Outcome::Dropped), and a `Vec` is empty.
    pub outcomes: O,
    /// How many restarts there were.
    pub restarts: u32,
    /// Why the last failure was not followed by a restart. `None` if the restart completed or was cancelled.
    pub given_up: Option<GivenUp>,
}

impl<O: Outcomes> RestartReport<O> {
    /// `Ok` with all values, if the last generation completed; else an error, as in [`Report::into_result`].
    ///
    /// # Errors
    ///
    /// [`GatherError::Cancelled`] if the restart was cancelled, else the error of the child that is the cause.
    pub fn into_result(self) -> Result<O::Values, GatherError<O::Error>> {
        Report { cause: self.cause, outcomes: self.outcomes }.into_result()
    }
}

/// Iterates over the outcomes, in the children's order.
impl<O: IntoIterator> IntoIterator for RestartReport<O> {
    type Item = O::Item;
    type IntoIter = O::IntoIter;

    fn into_iter(self) -> O::IntoIter {
        self.outcomes.into_iter()
    }
}

/// Shows the cause and the count of restarts.
impl<O> fmt::Display for RestartReport<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, after {} restarts", self.cause, self.restarts)
    }
}
