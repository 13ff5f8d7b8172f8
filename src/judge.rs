//! What a policy says of the children's outputs.

use crate::outcome::Cause;
use crate::settings::signal::Signal;

/// What one child's output means to the gather: *keep* it, or *stop*.
///
/// A pure function. It is split into a look and two conversions, so that an output is moved once, to where it stays.
/// `Kept` is made of the output and holds nothing else, so that it is `Send` and `Sync` where the output is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot gather a child whose output is `{O}`",
    label = "under `{Self}` each child must return a `Result`, all with one type of error",
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

    /// The same, to look at, of an output that its child still has.
    fn stop_of(_: &O) -> Option<&Self::Stop> {
        None
    }

    /// The same of an output that was kept, where everything is.
    fn stop_in(_: &Self::Kept) -> Option<&Self::Stop> {
        None
    }

    /// When a child ended of which this is kept.
    fn moment(_: &Self::Kept) -> Moment {
        Moment::Run
    }
}

/// What the whole gather resolves to.
pub trait Policy: Sized {
    /// Whether something is kept of every child, however it ended. If not, only outputs from before the cause are kept,
    /// and what is made of the one that stopped the gather.
    const KEEPS_ALL: bool;
    /// Whether what is kept of a child stays in its place until it is handed out, before the gather ends.
    const HANDS_OUT: bool = false;

    /// What is kept of a child in its place until it is handed out, where places are used again. No value, if nothing is.
    type Waits<K>;

    /// Whether this waits there.
    fn wait<K>(kept: K) -> Result<Self::Waits<K>, K> {
        Err(kept)
    }

    /// From the kept ones, and the one that stopped it.
    type Output<K, X, S: Signal>;

    /// The cause that the child of this index became by stopping the gather.
    fn cause(index: usize) -> Cause;

    /// `None`: it was cancelled, and there is nothing that could say so.
    fn resolve<K, X, S: Signal>(cause: Cause, left: Left<K, X>) -> Option<Self::Output<K, X, S>>;
}

/// How a child ended, before a policy has looked at what it ended with.
pub enum End<O> {
    /// By itself, before any cancellation.
    Done(O),
    /// Was told, and ran to its end.
    Drained(Option<O>),
    /// Was dropped when it was cancelled.
    Dropped,
    /// Was told, and dropped when the grace was over.
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
    /// That of the child that stopped it.
    Stop(X),
    /// It was cancelled.
    Nothing,
}

/// A policy in place of which another can be chosen: the first one, fail-fast.
#[diagnostic::on_unimplemented(message = "the policy was chosen before", label = "`{Self}` is not replaced")]
pub trait Choose {
    /// With `Q` chosen.
    type With<Q>;
}
