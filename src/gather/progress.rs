//! The phase of a gather, and why it ends.

use crate::children::Index;
use crate::outcome::Cause;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No child was polled. Dropping it drops the children.
    Unpolled,
    /// There is no cause yet, and all live children are pending. Dropping it drops them without telling them.
    Running,
    /// The cause is set, and all live children were told, but not polled since. Dropping it drops them.
    Told,
    /// The same, and every child for which there was room was polled since. Dropping it drops them.
    Draining,
    /// It was ready. No child is left.
    Ended,
    /// Something panicked. No child is left.
    Panicked,
}

/// The phase, where passes begin, and the [`Cause`], in as few bytes as the index type of the container allows.
#[derive(Clone, Copy)]
pub(super) struct Progress<X> {
    pub(super) phase: Phase,
    pub(super) round: Round<X>,
    /// The cause is set when the drain begins or when the gather is ready, and never replaced.
    kind: CauseKind,
    /// Of the child that failed or won.
    index: X,
}

/// Where the next pass begins.
///
/// A pass that is not cut is a round over all children. After a pass that was cut, the next one goes on behind it, until
/// together they have made a round. Each round begins behind the child with which the last one began. If it began where the
/// last pass was cut, it would always begin with the same few children if the length of a cut pass divides their number.
#[derive(Clone, Copy)]
pub(super) struct Round<X> {
    pub(super) next: X,
    /// The child with which the round began. If it is `next`, the next pass begins a round.
    origin: X,
}

impl<X: Index> Round<X> {
    #[inline]
    fn new() -> Self {
        Round { next: X::new(0), origin: X::new(0) }
    }

    /// Has the next pass begin a round, behind this child.
    #[inline]
    pub(super) fn behind(child: usize) -> Self {
        Round { next: X::new(child + 1), origin: X::new(child + 1) }
    }

    /// Records a pass that polled the first child first, and was cut at the second.
    #[inline]
    pub(super) fn advance(&mut self, began: usize, cut: Option<usize>) {
        let (mut from, mut origin) = (self.next.get(), self.origin.get());
        if from == origin {
            (from, origin) = (began, began);
        }
        *self = match cut {
            Some(last) if !Self::comes_to(origin, from, last) => {
                Round { next: X::new(last + 1), origin: X::new(origin) }
            }
            _ => Self::behind(origin),
        };
    }

    /// Whether the way from the first child, round, to the one behind the last child passes the origin.
    fn comes_to(origin: usize, from: usize, last: usize) -> bool {
        let is_behind = origin <= last + 1;
        if from <= last { from < origin && is_behind } else { from < origin || is_behind }
    }
}

#[derive(Clone, Copy, Debug)]
enum CauseKind {
    Completed,
    Failed,
    Won,
    Cancelled,
}

impl<X: Index> Progress<X> {
    #[inline]
    pub(super) fn new(phase: Phase) -> Self {
        Progress { phase, round: Round::new(), kind: CauseKind::Completed, index: X::new(0) }
    }

    #[inline]
    pub(super) fn set(&mut self, phase: Phase, cause: Cause) {
        let (kind, index) = match cause {
            Cause::Completed => (CauseKind::Completed, 0),
            Cause::Failed(index) => (CauseKind::Failed, index),
            Cause::Won(index) => (CauseKind::Won, index),
            Cause::Cancelled => (CauseKind::Cancelled, 0),
        };
        *self = Progress { phase, round: Round::new(), kind, index: X::new(index) };
    }

    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended | Phase::Panicked)
    }

    /// The cause, once there is one.
    #[inline]
    pub(super) fn cause(&self) -> Option<Cause> {
        if !matches!(self.phase, Phase::Told | Phase::Draining | Phase::Ended) {
            return None;
        }
        Some(match self.kind {
            CauseKind::Completed => Cause::Completed,
            CauseKind::Failed => Cause::Failed(self.index.get()),
            CauseKind::Won => Cause::Won(self.index.get()),
            CauseKind::Cancelled => Cause::Cancelled,
        })
    }
}
