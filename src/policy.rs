//! When a gather ends before its last child, and what the children's outputs become.

use core::pin::Pin;

use crate::children::Children;
use crate::outcome::{Cause, End};
use crate::signal::Signal;

/// What one child's output means to the gather: *keep* it, or *stop*.
///
/// A pure function. It is split into a look and two conversions, so that an output is moved once, to where it stays.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot gather a child whose output is `{O}`",
    label = "under `{Self}` each child must return a `Result`",
    note = "`gather(..)` ends at the first `Err`; for children of any output write `gather(..).settle()` (wait for all) or `gather(..).race()` (the first to end)"
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
