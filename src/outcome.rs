//! What became of the children, and why the gather ended.

use core::convert::Infallible;
use core::fmt;
use core::iter;

use crate::children::for_each_arity;

/// Why a gather ended. Set once, never replaced.
///
/// # Examples
///
/// ```
/// use gather::{Cause, gather};
/// use std::future::{pending, ready};
///
/// // Both would fail: the lower index is polled first and is the cause, and the other one is never polled.
/// let report = pollster::block_on(gather([ready(Err::<(), _>("a")), ready(Err("b"))]).report());
/// assert_eq!(report.cause, Cause::Failed(0));
/// // The signal is ready at first: nobody is started.
/// let report = pollster::block_on(gather([pending::<Result<(), ()>>()]).cancel_on(ready(())).report());
/// assert_eq!(report.cause, Cause::Cancelled);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Every child ended by itself, and none of them ended the gather: after `settle` also if some failed, after `any`
    /// if all did.
    Completed,
    /// The child of this index failed.
    Failed(usize),
    /// The child of this index won an `any` or a `race`.
    Won(usize),
    /// Cancelled from outside: by the signal of `cancel_on`, or by the parent of a nested gather.
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
/// | it had asked to be told | it ended before the cause | after the cause | was cut off |
/// |---|---|---|---|
/// | no (plain) | `Done`, `Failed` | | `Dropped` |
/// | yes | `Done`, `Failed` | `Drained` | `Dropped`: the grace was over, or a `shield` or `cleanup` had never been polled |
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
    /// It ended by itself with a value, before any cancellation.
    Done(T),
    /// It ended by itself with an error, before any cancellation.
    Failed(E),
    /// It was cancelled, and ran to its end. `None`: it ended without a result, as a clean-up does.
    ///
    /// An answer to a cancellation is not a failure, nor is it the success that it would have been before.
    Drained(Option<Result<T, E>>),
    /// It was dropped before its end: it was plain, it outlived the grace, or it had never started.
    Dropped,
}

impl<T, E> Outcome<T, E> {
    /// Whether it is [`Done`](Outcome::Done).
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

    /// The value, if it is [`Done`](Outcome::Done). See [`late`](Outcome::late) for one that came in the drain.
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

    /// The error, if it has [`Failed`](Outcome::Failed). See [`late`](Outcome::late) for one that came in the drain.
    /// To take it out, see [`err`](Outcome::err).
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

    /// The error taken out, if it has [`Failed`](Outcome::Failed), as [`Result::err`] does.
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

    /// What a [`Drained`](Outcome::Drained) one ended with, if anything.
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
    /// // `insert` takes its time, and fails when it is already cancelled.
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

/// Why a gather ended, and what became of each child: of [`Gather::report`](crate::Gather::report).
///
/// `O` has the shape of the children: a tuple, an array or a `Vec` of [`Outcome`]s.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a report may tell of a failure"]
#[non_exhaustive]
pub struct Report<O> {
    /// Why the gather ended.
    pub cause: Cause,
    /// What became of each child, in the children's order.
    pub outcomes: O,
}

impl<O: Outcomes> Report<O> {
    /// All values, if every child is [`Done`](Outcome::Done); else the error.
    ///
    /// *Outcomes.* If the gather was cancelled, [`GatherError::Cancelled`], whatever had failed or came late. If a
    /// child failed, that child's error; after [`settle`](crate::Gather::settle) the lowest one that failed. After
    /// [`any`](crate::Gather::any) and [`race`](crate::Gather::race) the losers have no values: what this returns is
    /// `Ok` only if all were done, else [`GatherError::Won`]; so look at the cause and the outcomes there.
    ///
    /// *Complexity.* O(children); a `Vec` keeps its allocation where the sizes allow.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{GatherError, gather};
    /// use std::future::ready;
    ///
    /// let report = pollster::block_on(gather((ready(Ok(1)), ready(Err("failed")))).settle().report());
    /// assert_eq!(report.into_result(), Err::<(i32, ()), _>(GatherError::Failed { index: 1, source: "failed" }));
    /// ```
    pub fn into_result(self) -> Result<O::Values, GatherError<O::Error>> {
        let wanted = match self.cause {
            Cause::Cancelled => return Err(GatherError::Cancelled),
            Cause::Failed(index) => Some(index),
            Cause::Completed | Cause::Won(_) => None,
        };
        let mut failure = FirstFailure { wanted, found: None };
        self.outcomes.into_values(&mut failure).ok_or_else(|| match (self.cause, failure.found) {
            (Cause::Won(index), _) => GatherError::Won { index },
            (_, Some((index, source))) => GatherError::Failed { index, source },
            // Only of a report whose fields were changed.
            (_, None) => GatherError::Cancelled,
        })
    }

    /// The children that [`Failed`](Outcome::Failed), with their index, in index order.
    ///
    /// To take the errors out, see [`Outcome::err`].
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::gather;
    /// use std::future::ready;
    ///
    /// let requests = [ready(Ok(1)), ready(Err("refused")), ready(Ok(3))];
    /// let report = pollster::block_on(gather(requests).settle().report());
    /// assert_eq!(report.failed().collect::<Vec<_>>(), [(1, &"refused")]);
    /// ```
    pub fn failed(&self) -> impl Iterator<Item = (usize, &O::Error)> {
        self.outcomes.errors().enumerate().filter_map(|(index, error)| Some((index, error?)))
    }
}

/// Iterates over the outcomes, in the children's order.
impl<O: IntoIterator> IntoIterator for Report<O> {
    type Item = O::Item;
    type IntoIter = O::IntoIter;

    fn into_iter(self) -> O::IntoIter {
        self.outcomes.into_iter()
    }
}

/// Says the cause.
impl<O> fmt::Display for Report<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

/// Why there are not all values: of [`Report::into_result`]. `Display` says which child, without its error: that is the
/// [`source`](core::error::Error::source) where it is an error, and [`error`](Self::error) whatever it is.
///
/// # Examples
///
/// ```
/// use gather::gather;
/// use std::future::ready;
///
/// let report = pollster::block_on(gather([ready(Ok(1)), ready(Err("refused"))]).report());
/// let error = report.into_result().unwrap_err();
/// assert_eq!(error.to_string(), "child 1 failed");
/// assert_eq!(error.error(), Some(&"refused"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum GatherError<E> {
    /// A child failed.
    #[error("child {index} failed")]
    Failed {
        /// Which one.
        index: usize,
        /// With what.
        source: E,
    },
    /// The gather was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A child won an `any` or a `race`, so that others have no value.
    #[error("child {index} won")]
    Won {
        /// Which one.
        index: usize,
    },
}

impl<E> GatherError<E> {
    /// The error of the child, if one failed.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::GatherError;
    ///
    /// assert_eq!(GatherError::Failed { index: 1, source: "refused" }.error(), Some(&"refused"));
    /// assert_eq!(GatherError::<&str>::Cancelled.error(), None);
    /// ```
    pub fn error(&self) -> Option<&E> {
        match self {
            GatherError::Failed { source, .. } => Some(source),
            GatherError::Cancelled | GatherError::Won { .. } => None,
        }
    }
}

/// The outcomes of all children: a tuple, an array or a `Vec` of [`Outcome`]s, with one type of error. Sealed.
///
/// Of a tuple whose errors are of different types it is not: look at each outcome there, or make them one by `map_err`.
///
/// # Examples
///
/// ```
/// use gather::{Outcomes, Report, gather};
/// use std::future::ready;
///
/// fn count_failed<O: Outcomes>(report: &Report<O>) -> usize {
///     report.failed().count()
/// }
///
/// let pair = gather((ready(Ok::<_, &str>(1)), ready(Err::<(), _>("refused")))).settle().report();
/// assert_eq!(count_failed(&pollster::block_on(pair)), 1);
/// ```
pub trait Outcomes: Sized + sealed::Sealed {
    /// The values in the same shape.
    type Values;
    /// The error of each.
    type Error;

    /// The values, if all are done; tells `failure` of every outcome in index order.
    #[doc(hidden)]
    fn into_values(self, failure: &mut FirstFailure<Self::Error>) -> Option<Self::Values>;
    /// The error of each outcome, in index order, if it failed.
    #[doc(hidden)]
    fn errors(&self) -> impl Iterator<Item = Option<&Self::Error>>;
}

mod sealed {
    pub trait Sealed {}
}

/// Looks for the failure of the wanted child, or else for the lowest one.
pub struct FirstFailure<E> {
    wanted: Option<usize>,
    found: Option<(usize, E)>,
}

impl<E> FirstFailure<E> {
    fn value<T>(&mut self, index: usize, outcome: Outcome<T, E>) -> Option<T> {
        match outcome {
            Outcome::Done(value) => Some(value),
            Outcome::Failed(error) if self.found.is_none() && self.wanted.unwrap_or(index) == index => {
                self.found = Some((index, error));
                None
            }
            _ => None,
        }
    }
}

macro_rules! tuple_outcomes {
    ($($_name:ident($($child:ident: $T:ident = $index:tt),*))*) => {$(
        impl<Error, $($T),*> sealed::Sealed for ($(Outcome<$T, Error>,)*) {}

        impl<Error, $($T),*> Outcomes for ($(Outcome<$T, Error>,)*) {
            type Values = ($($T,)*);
            type Error = Error;

            fn into_values(self, failure: &mut FirstFailure<Error>) -> Option<($($T,)*)> {
                let ($($child,)*) = self;
                $(let $child = failure.value($index, $child);)*
                Some(($($child?,)*))
            }

            fn errors(&self) -> impl Iterator<Item = Option<&Error>> {
                [$(self.$index.error()),*].into_iter()
            }
        }
    )*};
}

for_each_arity!(tuple_outcomes);

/// Of no children: no error.
impl sealed::Sealed for () {}

impl Outcomes for () {
    type Values = ();
    type Error = Infallible;

    fn into_values(self, _: &mut FirstFailure<Infallible>) -> Option<()> {
        Some(())
    }

    fn errors(&self) -> impl Iterator<Item = Option<&Infallible>> {
        iter::empty()
    }
}

impl<T, E, const N: usize> sealed::Sealed for [Outcome<T, E>; N] {}

impl<T, E, const N: usize> Outcomes for [Outcome<T, E>; N] {
    type Values = [T; N];
    type Error = E;

    fn into_values(self, failure: &mut FirstFailure<E>) -> Option<[T; N]> {
        let mut index = 0;
        let values = self.map(|outcome| {
            let value = failure.value(index, outcome);
            index += 1;
            value
        });
        values.iter().all(Option::is_some).then(|| values.map(|value| value.expect("all are there")))
    }

    fn errors(&self) -> impl Iterator<Item = Option<&E>> {
        self.iter().map(Outcome::error)
    }
}

#[cfg(feature = "alloc")]
impl<T, E> sealed::Sealed for alloc::vec::Vec<Outcome<T, E>> {}

#[cfg(feature = "alloc")]
impl<T, E> Outcomes for alloc::vec::Vec<Outcome<T, E>> {
    type Values = alloc::vec::Vec<T>;
    type Error = E;

    fn into_values(self, failure: &mut FirstFailure<E>) -> Option<Self::Values> {
        // All are told of, so the first missing one does not end it.
        let count = self.len();
        let values: Self::Values =
            self.into_iter().enumerate().filter_map(|(index, outcome)| failure.value(index, outcome)).collect();
        (values.len() == count).then_some(values)
    }

    fn errors(&self) -> impl Iterator<Item = Option<&E>> {
        self.iter().map(Outcome::error)
    }
}

/// How a child ended, before a policy has looked at what it ended with.
pub enum End<O> {
    /// By itself, before any cancellation.
    Done(O),
    /// Was told, and ran to its end.
    Drained(Option<O>),
    /// Was dropped before its end.
    Dropped,
}
