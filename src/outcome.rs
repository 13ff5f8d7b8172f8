//! What became of the children, and why the gather ended.

mod failure;
mod report;

use core::fmt;

pub use failure::{Failure, RestartError};
pub use report::{GatherError, Outcomes, Report};

/// Why a gather ended. Set once, never replaced.
///
/// # Examples
///
/// ```
/// use gather::{Cause, gather};
/// use std::future::{pending, ready};
///
/// // Both would fail. The lower index is polled first and is the cause; the other child is never polled.
/// let report = pollster::block_on(gather([ready(Err::<(), _>("a")), ready(Err("b"))]).report());
/// assert_eq!(report.cause, Cause::Failed(0));
/// // The signal is ready in the first poll, so no child starts.
/// let report = pollster::block_on(gather([pending::<Result<(), ()>>()]).cancel_when(ready(())).report());
/// assert_eq!(report.cause, Cause::Cancelled);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Every child ended by itself. After `settle` some of them may have failed; after `any` all have.
    Completed,
    /// The child of this index failed.
    Failed(usize),
    /// The child of this index won, in an `any` or a `race`.
    Won(usize),
    /// The gather was cancelled from outside: by the signal of `cancel_when`, or by the group whose child it is.
    Cancelled,
}

impl Cause {
    /// The index of the child that failed or won.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::Cause;
    ///
    /// assert_eq!(Cause::Won(2).index(), Some(2));
    /// assert_eq!(Cause::Cancelled.index(), None);
    /// ```
    pub fn index(self) -> Option<usize> {
        match self {
            Cause::Failed(index) | Cause::Won(index) => Some(index),
            Cause::Completed | Cause::Cancelled => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Completed => f.write_str("completed"),
            Cause::Failed(index) => write!(f, "child {index} failed"),
            Cause::Won(index) => write!(f, "child {index} won"),
            Cause::Cancelled => f.write_str("cancelled"),
        }
    }
}

/// What became of one child.
///
/// | the child | ended before the cause | ended after it | did not end |
/// |---|---|---|---|
/// | is plain | `Done`, `Failed` | | `Dropped` |
/// | drains | `Done`, `Failed` | `Drained` | `Abandoned`: the grace was over; `Dropped`: a `shield` or `cleanup` that was never polled |
///
/// # Examples
///
/// ```
/// use gather::Outcome;
///
/// let late = Outcome::<u8, &str>::Drained(Some(Err("connection reset")));
/// assert!(!late.is_done());
/// assert_eq!(late.error(), None); // an answer to a cancellation is not a failure
/// assert_eq!(late.late(), Some(Err("connection reset")));
/// assert_eq!(Outcome::<u8, &str>::Done(1).ok(), Some(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "an outcome may be a failure"]
#[non_exhaustive]
pub enum Outcome<T, E> {
    /// The child ended by itself with a value, before any cancellation.
    Done(T),
    /// The child ended by itself with an error, before any cancellation.
    Failed(E),
    /// The child was cancelled, and ended after that; with `None`, without a result, as a `cleanup` does.
    ///
    /// This counts neither as a failure nor as a success.
    Drained(Option<Result<T, E>>),
    /// The child was dropped when it was cancelled: it was plain, or had never started.
    Dropped,
    /// The child was told, and was dropped before its end because the grace was over.
    Abandoned,
}

impl<T, E> Outcome<T, E> {
    /// Whether this is [`Done`](Outcome::Done).
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::Outcome;
    ///
    /// assert!(Outcome::<u8, &str>::Done(1).is_done());
    /// assert!(!Outcome::<u8, &str>::Drained(Some(Ok(1))).is_done()); // too late
    /// ```
    pub fn is_done(&self) -> bool {
        matches!(self, Outcome::Done(_))
    }

    /// Whether this is [`Failed`](Outcome::Failed). A late error, in the drain, does not count.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::Outcome;
    ///
    /// assert!(Outcome::<u8, &str>::Failed("refused").is_failed());
    /// assert!(!Outcome::<u8, &str>::Drained(Some(Err("late"))).is_failed());
    /// ```
    pub fn is_failed(&self) -> bool {
        matches!(self, Outcome::Failed(_))
    }

    /// The value, if this is [`Done`](Outcome::Done). For a late one see [`late`](Outcome::late).
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::gather;
    /// use std::future::ready;
    ///
    /// let report = pollster::block_on(gather([ready(Ok(1)), ready(Err("refused")), ready(Ok(3))]).settle().report());
    /// let values = report.into_iter().filter_map(|outcome| outcome.ok());
    /// assert_eq!(values.collect::<Vec<_>>(), [1, 3]);
    /// ```
    pub fn ok(self) -> Option<T> {
        match self {
            Outcome::Done(value) => Some(value),
            _ => None,
        }
    }

    /// The error, if this is [`Failed`](Outcome::Failed). For a late one see [`late`](Outcome::late). To move it out see
    /// [`err`](Outcome::err).
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::gather;
    /// use std::future::ready;
    ///
    /// let pair = gather((ready(Ok::<_, ()>(1)), ready(Err::<(), _>("refused"))));
    /// let report = pollster::block_on(pair.report());
    /// assert_eq!(report.outcomes.0.error(), None);
    /// assert_eq!(report.outcomes.1.error(), Some(&"refused"));
    /// ```
    pub fn error(&self) -> Option<&E> {
        match self {
            Outcome::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Moves the error out, if this is [`Failed`](Outcome::Failed), as [`Result::err`] does.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::gather;
    /// use std::future::ready;
    ///
    /// let report = pollster::block_on(gather([ready(Ok(1)), ready(Err("refused".to_string()))]).settle().report());
    /// let errors = report.into_iter().enumerate().filter_map(|(index, outcome)| Some((index, outcome.err()?)));
    /// assert_eq!(errors.collect::<Vec<(usize, String)>>(), [(1, "refused".to_string())]);
    /// ```
    pub fn err(self) -> Option<E> {
        match self {
            Outcome::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// The late result of a [`Drained`](Outcome::Drained) child, if it has one.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{CancelExt, gather};
    /// use std::future::ready;
    /// # use std::{future::poll_fn, task::Poll};
    ///
    /// # let mut polls = 0;
    /// # let insert = poll_fn(move |_| {
    /// #     polls += 1;
    /// #     if polls == 1 { Poll::Pending } else { Poll::Ready(Err::<(), _>("disk full")) }
    /// # });
    /// // `insert` ends late, with an error, when it is already cancelled.
    /// let pair = gather((insert.shield(), ready(Err::<(), _>("refused"))));
    /// let report = pollster::block_on(pair.report());
    /// assert_eq!(report.outcomes.0.late(), Some(Err("disk full")));
    /// ```
    pub fn late(self) -> Option<Result<T, E>> {
        match self {
            Outcome::Drained(late) => late,
            _ => None,
        }
    }
}

/// The error of a gather that was cancelled from outside, by the signal of `cancel_when`.
///
/// # Examples
///
/// ```
/// use gather::{Cancelled, gather};
/// use std::future::{pending, ready};
///
/// let endless = gather([pending::<Result<(), &str>>()]).cancel_when(ready(()));
/// let cancelled: Cancelled = pollster::block_on(endless).unwrap_err();
/// assert_eq!(cancelled.to_string(), "cancelled");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;
