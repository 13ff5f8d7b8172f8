//! When a gather ends before its last child, and what the children's outputs become.

use core::convert::Infallible;
use core::pin::Pin;

use crate::children::Children;
use crate::outcome::{self, Cause, End, Outcome};
use crate::signal::Signal;

/// What one child's output means to the gather: *keep* it, or *stop*.
///
/// A pure function. It is split into a look and two conversions, so that an output is moved once, to where it stays.
/// `Kept` is made of the output and holds nothing else, so that it is `Send` and `Sync` where the output is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot gather a child whose output is `{O}`",
    label = "under `{Self}` each child must return a `Result`",
    note = "`gather(..)` ends at the first `Err`; for children of any output write `gather(..).settle()` (wait for all) or \
            `gather(..).race()` (the first to end), without `report`"
)]
pub trait Judge<O> {
    /// What is kept of a child.
    type Kept;
    /// What is made of the output that stopped the gather.
    type Stop;

    /// Whether this output ends the gather.
    fn stops(output: &O) -> bool;
    fn keep(end: End<O>) -> Self::Kept;
    fn stop(output: O) -> Self::Stop;
}

/// What the whole gather resolves to.
pub trait Policy: Sized {
    /// Whether something is kept of every child, however it ended. If not, only outputs from before the cause are kept,
    /// and the one that stopped the gather is put by.
    const KEEPS_ALL: bool;

    /// From the kept ones, and the one that stopped it.
    type Output<K, X, S: Signal>;

    /// The cause that the child of this index became by stopping the gather.
    fn cause(index: usize) -> Cause;

    /// Takes the output from the children. `None`: it was cancelled, and there is nothing that could say so.
    fn resolve<C, S>(cause: Cause, children: Pin<&mut C>) -> Option<Self::Output<C::Kept, C::Stop, S>>
    where
        C: Children<Self>,
        S: Signal;
}

/// The policy of `gather(..)`: every `Ok` is kept, the first `Err` ends it.
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
}

impl Policy for FailFast {
    const KEEPS_ALL: bool = false;

    type Output<K, X, S: Signal> = S::Resolved<Result<K, X>>;

    #[inline]
    fn cause(index: usize) -> Cause {
        Cause::Failed(index)
    }

    #[inline(always)]
    fn resolve<C, S>(cause: Cause, children: Pin<&mut C>) -> Option<S::Resolved<Result<C::Kept, C::Stop>>>
    where
        C: Children<Self>,
        S: Signal,
    {
        S::resolve(match cause {
            Cause::Completed => Some(Ok(children.take_kept())),
            Cause::Failed(index) | Cause::Won(index) => Some(Err(children.take_stop(index))),
            Cause::Cancelled => None,
        })
    }
}

/// The policy of `settle`: every output is kept, none ends it.
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

    type Output<K, X, S: Signal> = S::Resolved<K>;

    fn cause(_: usize) -> Cause {
        unreachable!("settle is not stopped by a child")
    }

    #[inline(always)]
    fn resolve<C, S>(cause: Cause, children: Pin<&mut C>) -> Option<S::Resolved<C::Kept>>
    where
        C: Children<Self>,
        S: Signal,
    {
        S::resolve((cause == Cause::Completed).then(|| children.take_kept()))
    }
}

/// The policy of `any`: every `Err` is kept, the first `Ok` ends it.
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

    type Output<K, X, S: Signal> = S::Resolved<Result<X, K>>;

    #[inline]
    fn cause(index: usize) -> Cause {
        Cause::Won(index)
    }

    #[inline(always)]
    fn resolve<C, S>(cause: Cause, children: Pin<&mut C>) -> Option<S::Resolved<Result<C::Stop, C::Kept>>>
    where
        C: Children<Self>,
        S: Signal,
    {
        S::resolve(match cause {
            Cause::Completed => Some(Err(children.take_kept())),
            Cause::Failed(index) | Cause::Won(index) => Some(Ok(children.take_stop(index))),
            Cause::Cancelled => None,
        })
    }
}

/// The policy of `race`: the first output ends it.
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

    type Output<K, X, S: Signal> = S::Resolved<X>;

    #[inline]
    fn cause(index: usize) -> Cause {
        Cause::Won(index)
    }

    #[inline(always)]
    fn resolve<C, S>(cause: Cause, children: Pin<&mut C>) -> Option<S::Resolved<C::Stop>>
    where
        C: Children<Self>,
        S: Signal,
    {
        S::resolve(match cause {
            Cause::Failed(index) | Cause::Won(index) => Some(children.take_stop(index)),
            Cause::Completed => unreachable!("a race of no children is refused"),
            Cause::Cancelled => None,
        })
    }
}

/// The policy of `report`: ends when `P` does, and keeps the outcome of every child.
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
        }
    }

    fn stop(_: Result<T, E>) {}
}

impl<P: Policy> Policy for Reporting<P> {
    const KEEPS_ALL: bool = true;

    /// The cause of the report says that it was cancelled, so it needs no word of the signal's.
    type Output<K, X, S: Signal> = outcome::Report<K>;

    #[inline]
    fn cause(index: usize) -> Cause {
        P::cause(index)
    }

    #[inline(always)]
    fn resolve<C, S>(cause: Cause, children: Pin<&mut C>) -> Option<outcome::Report<C::Kept>>
    where
        C: Children<Self>,
        S: Signal,
    {
        Some(outcome::Report { cause, outcomes: children.take_kept() })
    }
}

/// A policy in place of which another can be chosen: the first one, fail-fast.
#[diagnostic::on_unimplemented(message = "the policy was chosen before", label = "`{Self}` is not replaced")]
pub trait Choose {
    /// With `Q` chosen.
    type With<Q>;
}

impl Choose for FailFast {
    type With<Q> = Q;
}

impl Choose for Reporting<FailFast> {
    type With<Q> = Reporting<Q>;
}

/// A policy that does not report yet.
#[diagnostic::on_unimplemented(message = "this reports already")]
pub trait Report {}

impl Report for FailFast {}
impl Report for Settle {}
impl Report for Any {}
impl Report for Race {}
