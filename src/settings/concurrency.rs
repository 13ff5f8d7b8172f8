//! How many children may have started and not ended.

/// Who may start. Children start in index order.
pub trait Concurrency {
    /// Whether a child can be held back at all.
    const LIMITED: bool;

    /// Children below this index have started.
    fn started(&self) -> usize;
    fn has_room(&self) -> bool;
    /// Starts the child of this index. Those below it have started, or have ended unstarted.
    fn start(&mut self, index: usize);
    /// A child that had started has ended.
    fn end(&mut self);
}

/// All of them, in the first poll.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unbounded;

impl Concurrency for Unbounded {
    const LIMITED: bool = false;

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
    fn end(&mut self) {}
}

/// At most so many at a time.
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
}

impl Concurrency for AtMost {
    const LIMITED: bool = true;

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
    fn end(&mut self) {
        self.running -= 1;
    }
}
