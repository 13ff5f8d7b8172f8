//! Outputs that wait to be handed out, and which children may start meanwhile.

use core::ops::Range;

use super::concurrency::{AtMost, Concurrency};
use crate::judge::Moment;

/// A child that has ended keeps its place until its output is handed out. Once the handshake has begun it no longer does, so
/// that no drain waits for the consumer of the outputs.
#[derive(Clone, Debug)]
pub struct Window {
    places: AtMost,
    /// Whether a pass ends where a child does, and no other child is polled before its output was handed out. If not, all
    /// have their turn, and outputs wait.
    one_at_a_time: bool,
    /// Whether the handshake has begun.
    is_told: bool,
    /// How many outputs wait.
    waiting: usize,
    /// Indices between which waiting outputs are searched for.
    bounds: Range<usize>,
    /// The child at which the pass ended: its output is the next.
    next: Option<usize>,
    looks_for: LooksFor,
}

/// Which waiting output is the next, by the moment at which its child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LooksFor {
    First,
    /// The first of those that ended at this moment; if there is none, of those at the next moment.
    FirstOf(Moment),
    /// The last one: children that were cancelled in reverse.
    Last,
}

impl Window {
    pub(crate) fn new(limit: usize) -> Self {
        Window {
            places: AtMost::new(limit),
            one_at_a_time: true,
            is_told: false,
            waiting: 0,
            bounds: 0..0,
            next: None,
            looks_for: LooksFor::First,
        }
    }

    /// From now on passes go on behind a child that has ended.
    pub(crate) fn let_wait(&mut self) {
        self.one_at_a_time = false;
    }

    /// Whether handing an output out makes room.
    pub(crate) fn is_limited(&self) -> bool {
        self.places.limit() != usize::MAX
    }

    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting != 0
    }

    /// The next one, if it is known; otherwise it must be searched for.
    pub(crate) fn known(&mut self) -> Option<usize> {
        self.next.take()
    }

    pub(crate) fn looks_for(&self) -> (LooksFor, Range<usize>) {
        (self.looks_for, self.bounds.clone())
    }

    /// Records the result of a search.
    pub(crate) fn found(&mut self, found: Option<usize>, in_reverse: bool) {
        match (found, self.looks_for) {
            (Some(last), LooksFor::Last) => self.bounds.end = last,
            (Some(first), _) => self.bounds.start = first + 1,
            (None, looked_for) => {
                self.bounds.start = 0;
                self.looks_for = match looked_for {
                    LooksFor::FirstOf(Moment::Run) if in_reverse => LooksFor::Last,
                    LooksFor::FirstOf(Moment::Run) => LooksFor::FirstOf(Moment::Cancel),
                    LooksFor::FirstOf(_) => LooksFor::First,
                    LooksFor::First | LooksFor::Last => unreachable!("something is kept of every child that waits"),
                };
            }
        }
    }

    /// The output of this child is handed out.
    pub(crate) fn hand_out(&mut self, index: usize) {
        self.waiting -= 1;
        if !self.is_told {
            self.places.end(index, false);
        }
    }
}

impl Concurrency for Window {
    const LIMITED: bool = true;

    fn limit(&self) -> usize {
        self.places.limit()
    }

    #[inline]
    fn started(&self) -> usize {
        self.places.started()
    }

    #[inline]
    fn has_room(&self) -> bool {
        self.places.has_room()
    }

    #[inline]
    fn start(&mut self, index: usize) {
        self.places.start(index);
    }

    #[inline]
    fn end(&mut self, index: usize, is_kept: bool) {
        if is_kept {
            self.bounds = match self.waiting {
                0 => index..index + 1,
                _ => self.bounds.start.min(index)..self.bounds.end.max(index + 1),
            };
            self.waiting += 1;
        }
        if !is_kept || self.is_told {
            self.places.end(index, is_kept);
        }
    }

    #[inline]
    fn hands_out_next(&mut self, index: usize) -> bool {
        if self.one_at_a_time {
            self.next.get_or_insert(index);
        }
        self.one_at_a_time
    }

    fn cancel(&mut self, keeps_all: bool) -> bool {
        self.is_told = true;
        self.looks_for = LooksFor::FirstOf(Moment::Run);
        self.places.end_many(self.waiting);
        // One at a time, the last one that ended is about to be handed out.
        let drops = !keeps_all && !self.one_at_a_time;
        if drops {
            self.waiting = 0;
        }
        drops
    }
}
