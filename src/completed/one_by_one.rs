//! What a policy makes of outputs that are handed out one by one.

use crate::judge::Policy;
use crate::outcome::Cause;
use crate::policy::{Each, FailFast, Reporting, Settle};
use crate::settings::signal::Signal;

/// A policy under which what is kept can be handed out as it comes.
#[diagnostic::on_unimplemented(
    message = "under `{Self}` there are no outputs as they come",
    label = "`as_completed` is for fail-fast, for `settle`, and for `report` of these"
)]
pub trait OneByOne: Policy {
    /// Of the stream.
    type Item<K, X, S: Signal>;
    /// What a future over all of them resolves to.
    type All<X, S: Signal>;

    /// What is kept of the child of this index.
    fn item<K, X, S: Signal>(index: usize, kept: K) -> Self::Item<K, X, S>;

    /// The last item, when no child is left: that of the child that stopped it, or that it was cancelled.
    fn last<K, X, S: Signal>(cause: Cause, stop: Option<X>) -> Option<Self::Item<K, X, S>>;

    /// The same of the future. Cancelled with no word for it, it is as if it had ended.
    fn all<X, S: Signal>(cause: Cause, stop: Option<X>) -> Self::All<X, S>;
}

/// One under which a failure is no more than an output.
#[diagnostic::on_unimplemented(
    message = "`for_each` is for `settle` and `report`",
    label = "under fail-fast there is `try_for_each`"
)]
pub trait HandsOverAll: OneByOne {}

impl HandsOverAll for Each<Settle> {}
impl<P: Policy> HandsOverAll for Each<Reporting<P>> where Each<P>: OneByOne {}

/// What `S` makes of a cancelled one, or else of one that has ended.
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
    /// The cause says that it was cancelled, so it needs no word of the signal's.
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
