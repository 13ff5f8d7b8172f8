//! What a policy does with the children's outputs.

use crate::outcome::Cause;
use crate::settings::signal::Signal;

/// What the output of one child means to the gather: *keep* it, or *stop*.
///
/// A pure function, split into a check and two conversions, so that an output is moved only once, to its place. `Kept` is made
/// of the output and holds nothing else, so it is `Send` and `Sync` if the output is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot gather a child whose output is `{O}`",
    label = "under `{Self}` each child must return a `Result`, all with one type of error",
    note = "`gather(..)` ends at the first `Err`; for children of any output write `gather(..).settle()` (wait for all) or \
            `gather(..).race()` (the first to end), without `report`"
)]
pub trait Judge<O> {
    /// What is kept of a child.
    type Kept;
    /// What is kept of the output that stopped the gather.
    type Stop;

    /// Whether this output ends the gather.
    fn stops(output: &O) -> bool;
    fn keep(end: End<O>) -> Self::Kept;
    fn stop(output: O) -> Self::Stop;

    /// The same, borrowed from an output that its child still has.
    fn stop_of(_: &O) -> Option<&Self::Stop> {
        None
    }

    /// The same, borrowed from an output that was kept, under a policy that keeps all.
    fn stop_in(_: &Self::Kept) -> Option<&Self::Stop> {
        None
    }

    /// When the child ended whose output is kept.
    fn moment(_: &Self::Kept) -> Moment {
        Moment::Run
    }
}

/// What the gather resolves to.
pub trait Policy: Sized {
    /// Whether something is kept of every child, however it ended. If not, only the outputs from before the cause are kept,
    /// and that of the child that stopped the gather.
    const KEEPS_ALL: bool;
    /// Whether an output stays in the place of its child until it is handed out, before the gather ends.
    const HANDS_OUT: bool = false;

    /// What stays in the place of a child until it is handed out, if places are used again. A type without values, if
    /// nothing does.
    type Waits<K>;

    /// Whether this output waits there.
    fn wait<K>(kept: K) -> Result<Self::Waits<K>, K> {
        Err(kept)
    }

    /// Makes the output of the gather from what is left of the children.
    type Output<K, X, S: Signal>;

    /// The cause, if the child of this index stopped the gather.
    fn cause(index: usize) -> Cause;

    /// `None`: it was cancelled, and the output cannot express that.
    fn resolve<K, X, S: Signal>(cause: Cause, left: Left<K, X>) -> Option<Self::Output<K, X, S>>;
}

/// How a child ended, before the policy has seen its output.
pub enum End<O> {
    /// By itself, before any cancellation.
    Done(O),
    /// It was told, and ended.
    Drained(Option<O>),
    /// It was dropped when it was cancelled.
    Dropped,
    /// It was told, and dropped when the grace was over.
    Abandoned,
}

/// When a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before any cancellation.
    Run,
    /// It was dropped when it was cancelled.
    Cancel,
    /// After that.
    Drain,
}

/// What is left of the children when the gather has ended.
pub enum Left<K, X> {
    /// Something of each.
    Kept(K),
    /// The output of the child that stopped the gather.
    Stop(X),
    /// The gather was cancelled.
    Nothing,
}

/// A policy in place of which another can be chosen: the first one, fail-fast.
#[diagnostic::on_unimplemented(message = "the policy was chosen before", label = "`{Self}` is not replaced")]
pub trait Choose {
    /// With `Q` chosen.
    type With<Q>;
}
