//! The order in which children are cancelled.

/// Which of the live children were told, once the handshake has begun.
pub trait Order {
    /// Whether children are told one at a time, the last one first.
    const IN_REVERSE: bool;

    /// The handshake begins. No child is told yet, and none from this index on was polled.
    fn begin(&mut self, polled: usize);
    /// Children from this index on were never polled before the handshake began.
    fn polled(&self) -> usize;

    /// Live children from this index on were told.
    fn told_from(&self) -> usize;
    /// The child of this index is about to be told.
    fn set_told_from(&mut self, index: usize);
}

/// All are told at once, in index order.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtOnce;

impl Order for AtOnce {
    const IN_REVERSE: bool = false;

    #[inline]
    fn begin(&mut self, _: usize) {}

    #[inline]
    fn polled(&self) -> usize {
        usize::MAX
    }

    #[inline]
    fn told_from(&self) -> usize {
        0
    }

    #[inline]
    fn set_told_from(&mut self, _: usize) {}
}

/// `cancel_in_reverse`: the last one is told, and when it has ended the one before it.
#[derive(Clone, Copy, Debug)]
pub struct InReverse {
    polled: usize,
    told_from: usize,
}

impl InReverse {
    pub(crate) fn new() -> Self {
        InReverse { polled: 0, told_from: usize::MAX }
    }
}

impl Order for InReverse {
    const IN_REVERSE: bool = true;

    fn begin(&mut self, polled: usize) {
        *self = InReverse { polled, told_from: usize::MAX };
    }

    fn polled(&self) -> usize {
        self.polled
    }

    fn told_from(&self) -> usize {
        self.told_from
    }

    fn set_told_from(&mut self, index: usize) {
        self.told_from = index;
    }
}
