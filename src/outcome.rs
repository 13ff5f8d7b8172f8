//! What became of the children, and why the gather ended.

use core::fmt;

/// Why a gather ended. Set once, never replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Every child ended by itself, and none of them ended the gather.
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

/// How a child ended, before a policy has looked at what it ended with.
pub enum End<O> {
    /// By itself, before any cancellation.
    Done(O),
    /// Was told, and ran to its end.
    Drained(Option<O>),
    /// Was dropped before its end.
    Dropped,
}
