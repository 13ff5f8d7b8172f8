//! The failure of a generation, and why it was not restarted.

/// The failure of a generation, as seen by [`observe`](crate::Supervisor::observe), [`when`](crate::Supervisor::when) and
/// [`backoff`](crate::Supervisor::backoff).
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
    /// Its error.
    pub error: &'a E,
    /// How many restarts there were before.
    pub restarts: u32,
    /// How many of them are within the limit's window; the number falls as they leave it. Without a window it is that of
    /// `restarts`, which has no bound, so mind overflows. The limit's clock is read after `when` and before `backoff`;
    /// `observe` and `when` see the number as of the previous reading.
    pub recent: u32,
}

/// Why a group was not restarted.
///
/// `Display` does not repeat the child's error: that is the [`source`](core::error::Error::source), if it implements
/// `Error`. [`error`](Self::error) borrows it and [`into_source`](Self::into_source) moves it out, whatever its type is.
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
    /// The group failed more often than the [`Limit`](crate::Limit) allows.
    #[error("limit reached after {restarts} restarts")]
    LimitReached {
        /// How many restarts there were before.
        restarts: u32,
        /// The error of the last failure.
        source: E,
    },
    /// [`Supervisor::when`](crate::Supervisor::when) returned false for this failure.
    #[error("not retried, after {restarts} restarts")]
    NotRetried {
        /// How many restarts there were before.
        restarts: u32,
        /// The error.
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

    /// Moves the error of the child out.
    pub fn into_source(self) -> E {
        match self {
            RestartError::LimitReached { source, .. } | RestartError::NotRetried { source, .. } => source,
        }
    }
}
