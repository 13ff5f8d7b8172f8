//! How many children may run at a time.

/// Which children may start. They start in index order.
pub trait Concurrency {
    /// Whether a child can be held back at all.
    const LIMITED: bool;

    /// The most that may run at a time.
    fn limit(&self) -> usize;
    /// Children below this index have started.
    fn started(&self) -> usize;
    fn has_room(&self) -> bool;
    /// Starts the child of this index. All below it have started, or have ended without starting.
    fn start(&mut self, index: usize);
    /// A child has ended, whether it had started or not. `is_kept`: whether its output is kept.
    fn end(&mut self, index: usize, is_kept: bool);

    /// Whether the pass ends behind this child, so that its output is handed out before others are polled.
    fn hands_out_next(&mut self, _: usize) -> bool {
        false
    }

    /// The handshake begins. Whether the outputs that were kept until now are dropped, given whether the policy keeps all.
    fn cancel(&mut self, keeps_all: bool) -> bool {
        !keeps_all
    }
}

/// All start in the first poll.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unbounded;

impl Concurrency for Unbounded {
    const LIMITED: bool = false;

    #[inline]
    fn limit(&self) -> usize {
        usize::MAX
    }

    #[inline]
    fn started(&self) -> usize {
        usize::MAX
    }

    #[inline]
    fn has_room(&self) -> bool {
        true
    }

    #[inline]
    fn start(&mut self, _: usize) {}

    #[inline]
    fn end(&mut self, _: usize, _: bool) {}
}

/// At most this many run at a time.
#[derive(Clone, Copy, Debug)]
pub struct AtMost {
    limit: usize,
    started: usize,
    running: usize,
}

impl AtMost {
    #[inline]
    pub(crate) fn new(limit: usize) -> Self {
        AtMost { limit, started: 0, running: 0 }
    }

    /// How many children that had started have ended.
    pub(super) fn end_many(&mut self, count: usize) {
        self.running -= count;
    }
}

impl Concurrency for AtMost {
    const LIMITED: bool = true;

    #[inline]
    fn limit(&self) -> usize {
        self.limit
    }

    #[inline]
    fn started(&self) -> usize {
        self.started
    }

    #[inline]
    fn has_room(&self) -> bool {
        self.running < self.limit
    }

    #[inline]
    fn start(&mut self, index: usize) {
        self.started = index + 1;
        self.running += 1;
    }

    #[inline]
    fn end(&mut self, index: usize, _: bool) {
        if index < self.started {
            self.running -= 1;
        }
    }
}
