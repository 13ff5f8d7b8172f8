//! The failure of a generation, and why it was not answered by a restart.

/// The failure of a generation: what [`observe`](crate::Supervisor::observe), [`when`](crate::Supervisor::when) and
/// [`backoff`](crate::Supervisor::backoff) are shown.
///
/// # Examples
///
/// ```
/// use gather::{Failure, Limit, restart};
/// use std::future::{pending, ready};
///
/// let mut log = vec![];
/// let group = restart(Limit::restarts(1), || (pending::<Result<(), &str>>(), ready(Err::<(), _>("refused"))));
/// let group = group.observe(|failure: &Failure<&str>| {
///     let Failure { index, error, restarts, .. } = failure;
///     log.push(format!("child {index} failed after {restarts} restarts: {error}"));
/// });
/// assert!(pollster::block_on(group).is_err());
/// assert_eq!(log, ["child 1 failed after 0 restarts: refused", "child 1 failed after 1 restarts: refused"]);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure<'a, E> {
    /// The index of the child that failed.
    pub index: usize,
    /// What it failed with.
    pub error: &'a E,
    /// The count of restarts so far.
    pub restarts: u32,
    /// The count of those within the limit's window: it falls again as they leave it. Without a window, as `restarts`;
    /// so mind an overflow in what is computed of it. The limit's clock is asked after `when` and before `backoff`; what
    /// `observe` and `when` see is as of the last time that it was asked.
    pub recent: u32,
}

/// A group was not restarted. `Display` says why, without the child's error: that is the
/// [`source`](core::error::Error::source) where it is an error; whatever it is, [`error`](Self::error) shows it, and
/// [`into_source`](Self::into_source) gives it back.
///
/// # Examples
///
/// ```
/// use gather::{Limit, restart};
/// use std::error::Error;
/// use std::future::ready;
///
/// let group = restart(Limit::restarts(5), || [ready("12x".parse::<u8>())]);
/// let given_up = pollster::block_on(group).unwrap_err();
/// assert_eq!(given_up.to_string(), "limit reached after 5 restarts");
/// assert_eq!(given_up.source().unwrap().to_string(), "invalid digit found in string");
/// assert_eq!(given_up.into_source(), "x".parse::<u8>().unwrap_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestartError<E> {
    /// It failed once more than the [`Limit`](crate::Limit) allows.
    #[error("limit reached after {restarts} restarts")]
    LimitReached {
        /// The count of restarts before.
        restarts: u32,
        /// What it failed with the last time.
        source: E,
    },
    /// It failed with an error that [`Supervisor::when`](crate::Supervisor::when) refused.
    #[error("not retried, after {restarts} restarts")]
    NotRetried {
        /// The count of restarts before.
        restarts: u32,
        /// What it failed with.
        source: E,
    },
}

impl<E> RestartError<E> {
    /// The error of the child.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{Limit, restart};
    /// use std::future::ready;
    ///
    /// let given_up = pollster::block_on(restart(Limit::restarts(1), || [ready(Err::<(), _>("refused"))])).unwrap_err();
    /// assert_eq!(given_up.error(), &"refused");
    /// assert_eq!(given_up.into_source(), "refused");
    /// ```
    pub fn error(&self) -> &E {
        match self {
            RestartError::LimitReached { source, .. } | RestartError::NotRetried { source, .. } => source,
        }
    }

    /// The error of the child, taken out.
    pub fn into_source(self) -> E {
        match self {
            RestartError::LimitReached { source, .. } | RestartError::NotRetried { source, .. } => source,
        }
    }
}
