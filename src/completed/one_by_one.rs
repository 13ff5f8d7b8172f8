//! How policies hand outputs out one by one.

use crate::judge::Policy;
use crate::outcome::Cause;
use crate::policy::{Each, FailFast, Reporting, Settle};
use crate::settings::signal::Signal;

/// A policy under which outputs can be handed out as they come.
#[diagnostic::on_unimplemented(
    message = "under `{Self}` there are no outputs as they come",
    label = "`as_completed` is for fail-fast, for `settle`, and for `report` of these"
)]
pub trait OneByOne: Policy {
    /// The item of the stream.
    type Item<K, X, S: Signal>;
    /// The output of a future over all items.
    type All<X, S: Signal>;

    /// The item for the child of this index.
    fn item<K, X, S: Signal>(index: usize, kept: K) -> Self::Item<K, X, S>;

    /// The last item, when no child is left: the output of the child that stopped the gather, or that it was cancelled.
    fn last<K, X, S: Signal>(cause: Cause, stop: Option<X>) -> Option<Self::Item<K, X, S>>;

    /// The same for the future. If the output cannot express a cancellation, it is as if all had ended.
    fn all<X, S: Signal>(cause: Cause, stop: Option<X>) -> Self::All<X, S>;
}

/// A policy under which a failure is an output like others.
#[diagnostic::on_unimplemented(
    message = "`for_each` is for `settle` and `report`",
    label = "under fail-fast there is `try_for_each`"
)]
pub trait HandsOverAll: OneByOne {}

impl HandsOverAll for Each<Settle> {}
impl<P: Policy> HandsOverAll for Each<Reporting<P>> where Each<P>: OneByOne {}

/// What `S` makes of a cancelled gather, or else of one that has ended.
fn ended<O, S: Signal>(cause: Cause, output: O) -> S::Resolved<O> {
    let cancelled = match cause {
        Cause::Cancelled => S::resolve(None),
        _ => None,
    };
    cancelled.or_else(|| S::resolve(Some(output))).expect("an output is resolved to")
}

impl OneByOne for Each<FailFast> {
    type Item<K, X, S: Signal> = S::Resolved<Result<(usize, K), X>>;
    type All<X, S: Signal> = S::Resolved<Result<(), X>>;

    fn item<K, X, S: Signal>(index: usize, kept: K) -> Self::Item<K, X, S> {
        ended::<_, S>(Cause::Completed, Ok((index, kept)))
    }

    fn last<K, X, S: Signal>(cause: Cause, stop: Option<X>) -> Option<Self::Item<K, X, S>> {
        match cause {
            Cause::Cancelled => S::resolve(None),
            _ => S::resolve(Some(Err(stop?))),
        }
    }

    fn all<X, S: Signal>(cause: Cause, stop: Option<X>) -> Self::All<X, S> {
        ended::<_, S>(cause, stop.map_or(Ok(()), Err))
    }
}

impl OneByOne for Each<Settle> {
    type Item<K, X, S: Signal> = S::Resolved<(usize, K)>;
    type All<X, S: Signal> = S::Resolved<()>;

    fn item<K, X, S: Signal>(index: usize, kept: K) -> Self::Item<K, X, S> {
        ended::<_, S>(Cause::Completed, (index, kept))
    }

    fn last<K, X, S: Signal>(cause: Cause, _: Option<X>) -> Option<Self::Item<K, X, S>> {
        match cause {
            Cause::Cancelled => S::resolve(None),
            _ => None,
        }
    }

    fn all<X, S: Signal>(cause: Cause, _: Option<X>) -> Self::All<X, S> {
        ended::<_, S>(cause, ())
    }
}

impl<P: Policy> OneByOne for Each<Reporting<P>>
where
    Each<P>: OneByOne,
{
    /// The stream has the cause, so the items are not wrapped for the signal.
    type Item<K, X, S: Signal> = (usize, K);
    type All<X, S: Signal> = Cause;

    fn item<K, X, S: Signal>(index: usize, kept: K) -> (usize, K) {
        (index, kept)
    }

    fn last<K, X, S: Signal>(_: Cause, _: Option<X>) -> Option<(usize, K)> {
        None
    }

    fn all<X, S: Signal>(cause: Cause, _: Option<X>) -> Cause {
        cause
    }
}
