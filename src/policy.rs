//! Policies: when a gather ends before its last child, and what the children's outputs become.
//!
//! They are chosen by the methods of [`Group`](crate::Group), and named where its type or that of its future is:
//!
//! ```
//! use gather::{GatherOf, gather, policy::Settle};
//! use std::future::{Ready, ready};
//!
//! struct Downloads {
//!     running: GatherOf<[Ready<u32>; 2], Settle>,
//! }
//!
//! let downloads = Downloads { running: gather([ready(1), ready(2)]).settle().into_future() };
//! assert_eq!(pollster::block_on(downloads.running), [1, 2]);
//! ```

use core::convert::Infallible;

use crate::judge::{Choose, End, Judge, Left, Moment, Policy};
use crate::outcome::{Cause, Outcome, Report};
use crate::settings::signal::Signal;
use crate::settings::unset::Unset;

pub use crate::restart::ErrorOf;

/// The policy of [`gather(..)`](crate::gather()): every `Ok` is kept, the first `Err` ends it.
#[derive(Clone, Copy, Debug, Default)]
pub struct FailFast;

impl<T, E> Judge<Result<T, E>> for FailFast {
    type Kept = T;
    type Stop = E;

    #[inline]
    fn stops(output: &Result<T, E>) -> bool {
        output.is_err()
    }

    #[inline]
    fn keep(end: End<Result<T, E>>) -> T {
        match end {
            End::Done(Ok(value)) => value,
            _ => unreachable!("fail-fast keeps values alone"),
        }
    }

    #[inline]
    fn stop(output: Result<T, E>) -> E {
        match output {
            Err(error) => error,
            Ok(_) => unreachable!("fail-fast stops at an error"),
        }
    }

    fn stop_of(output: &Result<T, E>) -> Option<&E> {
        output.as_ref().err()
    }
}

impl Policy for FailFast {
    const KEEPS_ALL: bool = false;

    type Waits<K> = Infallible;
    type Output<K, X, S: Signal> = S::Resolved<Result<K, X>>;

    #[inline]
    fn cause(index: usize) -> Cause {
        Cause::Failed(index)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn resolve<K, X, S: Signal>(_: Cause, left: Left<K, X>) -> Option<S::Resolved<Result<K, X>>> {
        S::resolve(match left {
            Left::Kept(values) => Some(Ok(values)),
            Left::Stop(error) => Some(Err(error)),
            Left::Nothing => None,
        })
    }
}

/// The policy of [`settle`](crate::Group::settle): every output is kept, none ends it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settle;

impl<O> Judge<O> for Settle {
    type Kept = O;
    type Stop = Infallible;

    #[inline]
    fn stops(_: &O) -> bool {
        false
    }

    #[inline]
    fn keep(end: End<O>) -> O {
        match end {
            End::Done(output) => output,
            _ => unreachable!("settle keeps the outputs of children that ended by themselves"),
        }
    }

    fn stop(_: O) -> Infallible {
        unreachable!("settle is not stopped by a child")
    }
}

impl Policy for Settle {
    const KEEPS_ALL: bool = false;

    type Waits<K> = Infallible;
    type Output<K, X, S: Signal> = S::Resolved<K>;

    fn cause(_: usize) -> Cause {
        unreachable!("settle is not stopped by a child")
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn resolve<K, X, S: Signal>(_: Cause, left: Left<K, X>) -> Option<S::Resolved<K>> {
        S::resolve(match left {
            Left::Kept(outputs) => Some(outputs),
            Left::Stop(_) | Left::Nothing => None,
        })
    }
}

/// The policy of [`any`](crate::Group::any): every `Err` is kept, the first `Ok` ends it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Any;

impl<T, E> Judge<Result<T, E>> for Any {
    type Kept = E;
    type Stop = T;

    #[inline]
    fn stops(output: &Result<T, E>) -> bool {
        output.is_ok()
    }

    #[inline]
    fn keep(end: End<Result<T, E>>) -> E {
        match end {
            End::Done(Err(error)) => error,
            _ => unreachable!("any keeps errors alone"),
        }
    }

    #[inline]
    fn stop(output: Result<T, E>) -> T {
        match output {
            Ok(value) => value,
            Err(_) => unreachable!("any stops at a value"),
        }
    }
}

impl Policy for Any {
    const KEEPS_ALL: bool = false;

    type Waits<K> = Infallible;
    type Output<K, X, S: Signal> = S::Resolved<Result<X, K>>;

    #[inline]
    fn cause(index: usize) -> Cause {
        Cause::Won(index)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn resolve<K, X, S: Signal>(_: Cause, left: Left<K, X>) -> Option<S::Resolved<Result<X, K>>> {
        S::resolve(match left {
            Left::Kept(errors) => Some(Err(errors)),
            Left::Stop(value) => Some(Ok(value)),
            Left::Nothing => None,
        })
    }
}

/// The policy of [`race`](crate::Group::race): the first output ends it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Race;

impl<O> Judge<O> for Race {
    type Kept = Infallible;
    type Stop = O;

    #[inline]
    fn stops(_: &O) -> bool {
        true
    }

    fn keep(_: End<O>) -> Infallible {
        unreachable!("race keeps nothing but the winner")
    }

    #[inline]
    fn stop(output: O) -> O {
        output
    }
}

impl Policy for Race {
    const KEEPS_ALL: bool = false;

    type Waits<K> = Infallible;
    type Output<K, X, S: Signal> = S::Resolved<X>;

    #[inline]
    fn cause(index: usize) -> Cause {
        Cause::Won(index)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn resolve<K, X, S: Signal>(_: Cause, left: Left<K, X>) -> Option<S::Resolved<X>> {
        S::resolve(match left {
            Left::Stop(output) => Some(output),
            Left::Kept(_) => panic!("`Group::race` of a source that gave no child has no winner"),
            Left::Nothing => None,
        })
    }
}

/// The policy of [`report`](crate::Group::report): ends when `P` does, and keeps the outcome of every child.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reporting<P>(P);

impl<T, E, P: Judge<Result<T, E>>> Judge<Result<T, E>> for Reporting<P> {
    type Kept = Outcome<T, E>;
    type Stop = ();

    #[inline]
    fn stops(output: &Result<T, E>) -> bool {
        P::stops(output)
    }

    #[inline]
    fn keep(end: End<Result<T, E>>) -> Outcome<T, E> {
        match end {
            End::Done(Ok(value)) => Outcome::Done(value),
            End::Done(Err(error)) => Outcome::Failed(error),
            End::Drained(late) => Outcome::Drained(late),
            End::Dropped => Outcome::Dropped,
            End::Abandoned => Outcome::Abandoned,
        }
    }

    fn stop(_: Result<T, E>) {}

    fn moment(kept: &Outcome<T, E>) -> Moment {
        match kept {
            Outcome::Done(_) | Outcome::Failed(_) => Moment::Run,
            Outcome::Dropped => Moment::Cancel,
            Outcome::Drained(_) | Outcome::Abandoned => Moment::Drain,
        }
    }
}

impl<P: Policy> Policy for Reporting<P> {
    const KEEPS_ALL: bool = true;

    type Waits<K> = Infallible;
    /// The report has the cause, so the output is not wrapped for the signal.
    type Output<K, X, S: Signal> = Report<K>;

    #[inline]
    fn cause(index: usize) -> Cause {
        P::cause(index)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn resolve<K, X, S: Signal>(cause: Cause, left: Left<K, X>) -> Option<Report<K>> {
        match left {
            Left::Kept(outcomes) => Some(Report { cause, outcomes }),
            Left::Stop(_) | Left::Nothing => unreachable!("a report keeps something of every child"),
        }
    }
}

/// The policy of [`as_completed`](crate::Group::as_completed): like `P`, but the output of each child is handed out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Each<P>(P);

impl<O, P: Judge<O>> Judge<O> for Each<P> {
    type Kept = P::Kept;
    type Stop = P::Stop;

    #[inline]
    fn stops(output: &O) -> bool {
        P::stops(output)
    }

    #[inline]
    fn keep(end: End<O>) -> P::Kept {
        P::keep(end)
    }

    #[inline]
    fn stop(output: O) -> P::Stop {
        P::stop(output)
    }

    fn moment(kept: &P::Kept) -> Moment {
        P::moment(kept)
    }
}

impl<P: Policy> Policy for Each<P> {
    const KEEPS_ALL: bool = P::KEEPS_ALL;
    const HANDS_OUT: bool = true;

    type Waits<K> = K;

    /// The end of the gather, when each output was handed out.
    type Output<K, X, S: Signal> = ();

    #[inline]
    fn wait<K>(kept: K) -> Result<K, K> {
        Ok(kept)
    }

    fn cause(index: usize) -> Cause {
        P::cause(index)
    }

    fn resolve<K, X, S: Signal>(_: Cause, _: Left<K, X>) -> Option<()> {
        None
    }
}

impl Choose for FailFast {
    type With<Q> = Q;
}

impl Choose for Reporting<FailFast> {
    type With<Q> = Reporting<Q>;
}

// `report` can be called once, on these policies.
impl Unset for FailFast {}
impl Unset for Settle {}
impl Unset for Any {}
impl Unset for Race {}
