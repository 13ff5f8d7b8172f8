//! What became of all children.

use core::convert::Infallible;
use core::fmt;
use core::iter;

use super::{Cause, Outcome};
use crate::arity::for_each_arity;

/// Why a gather ended, and what became of each child: the output of [`Group::report`](crate::Group::report).
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
    /// `Ok` with all values, if every child is [`Done`](Outcome::Done); else an error.
    ///
    /// *Outcomes.* If the gather was cancelled, [`GatherError::Cancelled`], whatever had failed or came late. If a child
    /// failed, its error; after [`settle`](crate::Group::settle) that of the lowest index. After [`any`](crate::Group::any)
    /// and [`race`](crate::Group::race) the losers have no values, so this is [`GatherError::Won`] unless all are done; look
    /// at the cause and the outcomes instead.
    ///
    /// *Complexity.* O(children). A `Vec` is converted in place if the sizes allow it.
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
            // Only if a field of the report was changed.
            (_, None) => GatherError::Cancelled,
        })
    }

    /// Whether every child is [`Done`](Outcome::Done).
    pub fn is_done(&self) -> bool {
        self.outcomes.all_done()
    }

    /// Whether the cause is the failure of a child.
    pub fn is_failed(&self) -> bool {
        matches!(self.cause, Cause::Failed(_))
    }

    /// The error of the child that is the cause.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::gather;
    /// use std::future::ready;
    ///
    /// let report = pollster::block_on(gather([ready(Ok(1)), ready(Err("refused"))]).report());
    /// assert!(report.is_failed() && !report.is_done());
    /// assert_eq!(report.error(), Some(&"refused"));
    /// assert_eq!(report.err(), Some("refused"));
    /// ```
    pub fn error(&self) -> Option<&O::Error> {
        match self.cause {
            Cause::Failed(index) => self.outcomes.errors().nth(index)?,
            _ => None,
        }
    }

    /// All values, if every child is [`Done`](Outcome::Done): [`into_result`](Self::into_result) without the error.
    pub fn ok(self) -> Option<O::Values> {
        self.into_result().ok()
    }

    /// Moves out the error of [`into_result`](Self::into_result), if a child failed.
    pub fn err(self) -> Option<O::Error> {
        self.into_result().err()?.into_source()
    }

    /// The errors of the children that [`Failed`](Outcome::Failed), with their indices, in index order.
    ///
    /// To move the errors out see [`Outcome::err`].
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

/// Iterates over the outcomes by reference, in the children's order.
impl<'a, O> IntoIterator for &'a Report<O>
where
    &'a O: IntoIterator,
{
    type Item = <&'a O as IntoIterator>::Item;
    type IntoIter = <&'a O as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        (&self.outcomes).into_iter()
    }
}

/// Shows the cause.
impl<O> fmt::Display for Report<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

/// Why [`Report::into_result`] cannot give the value of every child.
///
/// `Display` names the child and does not repeat its error: that is the [`source`](core::error::Error::source), if it
/// implements `Error`. [`error`](Self::error) borrows it, whatever its type is.
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
        /// Its error.
        source: E,
    },
    /// The gather was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A child won an `any` or a `race`, so others have no value.
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

    /// Moves out the error of the child, if one failed.
    pub fn into_source(self) -> Option<E> {
        match self {
            GatherError::Failed { source, .. } => Some(source),
            GatherError::Cancelled | GatherError::Won { .. } => None,
        }
    }
}

/// The outcomes of all children: a tuple, an array or a `Vec` of [`Outcome`]s with the same type of error. Sealed.
///
/// A tuple with errors of different types does not implement it. Look at each outcome there, or convert the errors by
/// `map_err` before.
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
    /// The type of the errors.
    type Error;

    /// The values, if all are done. Shows every outcome to `failure`, in index order.
    #[doc(hidden)]
    fn into_values(self, failure: &mut FirstFailure<Self::Error>) -> Option<Self::Values>;
    /// Whether all are done.
    #[doc(hidden)]
    fn all_done(&self) -> bool;
    /// The error of each outcome, in index order, if it failed.
    #[doc(hidden)]
    fn errors(&self) -> impl Iterator<Item = Option<&Self::Error>>;
}

mod sealed {
    pub trait Sealed {}
}

/// Finds the failure of the wanted child, or else that of the lowest index.
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

            fn all_done(&self) -> bool {
                true $(&& self.$index.is_done())*
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

    fn all_done(&self) -> bool {
        true
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

    fn all_done(&self) -> bool {
        self.iter().all(Outcome::is_done)
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
        // Goes on after the first missing one, as each outcome is shown.
        let count = self.len();
        let values: Self::Values =
            self.into_iter().enumerate().filter_map(|(index, outcome)| failure.value(index, outcome)).collect();
        (values.len() == count).then_some(values)
    }

    fn all_done(&self) -> bool {
        self.iter().all(Outcome::is_done)
    }

    fn errors(&self) -> impl Iterator<Item = Option<&E>> {
        self.iter().map(Outcome::error)
    }
}
