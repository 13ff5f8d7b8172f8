//! The places of children that were drawn from a source, in the order in which they were drawn.

use core::pin::Pin;

use pin_project::pin_project;

/// Stands for no place.
const NOBODY: u32 = u32::MAX;

/// A place: for one child after another, each with its neighbours in the line.
#[pin_project]
pub struct Entry<C> {
    #[pin]
    child: Option<C>,
    /// How many children were drawn before this one.
    pub(super) index: usize,
    previous: u32,
    next: u32,
}

impl<C> Entry<C> {
    pub(super) fn vacant() -> Self {
        Entry { child: None, index: 0, previous: NOBODY, next: NOBODY }
    }

    pub(super) fn child(self: Pin<&mut Self>) -> Pin<&mut Option<C>> {
        self.project().child
    }

    pub(super) fn index(self: Pin<&mut Self>) -> usize {
        *self.project().index
    }
}

/// Where places are found by their positions.
pub trait Entries {
    type Child;

    fn entry(self: Pin<&mut Self>, position: u32) -> Pin<&mut Entry<Self::Child>>;

    /// For `Debug`.
    fn peek(&self, position: u32) -> &Entry<Self::Child>;
}

/// A line through the places of live children, by growing index. Removing from it takes constant time.
pub struct Line {
    first: u32,
    last: u32,
}

impl Line {
    pub(super) fn new() -> Self {
        Line { first: NOBODY, last: NOBODY }
    }

    pub(super) fn first(&self) -> Option<u32> {
        position(self.first)
    }

    pub(super) fn next<T: Entries>(entries: Pin<&mut T>, of: u32) -> Option<u32> {
        position(*entries.entry(of).project().next)
    }

    /// Calls `visit` with all indices. For `Debug`.
    pub(super) fn each<T: Entries>(&self, entries: &T, visit: &mut dyn FnMut(usize)) {
        let mut at = self.first();
        while let Some(entry) = at.map(|at| entries.peek(at)) {
            visit(entry.index);
            at = position(entry.next);
        }
    }

    /// The first place with a child of at least this index. Takes time for those behind it.
    pub(super) fn first_from<T: Entries>(&self, mut entries: Pin<&mut T>, index: usize) -> Option<u32> {
        if index == 0 {
            return self.first();
        }
        match self.last_below(entries.as_mut(), index) {
            Some(last) => Self::next(entries, last),
            None => self.first(),
        }
    }

    /// The last place with a child below this index. Takes time for those behind it.
    pub(super) fn last_below<T: Entries>(&self, mut entries: Pin<&mut T>, index: usize) -> Option<u32> {
        let mut at = position(self.last);
        while let Some(candidate) = at {
            if entries.as_mut().entry(candidate).index() < index {
                break;
            }
            at = position(*entries.as_mut().entry(candidate).project().previous);
        }
        at
    }

    pub(super) fn push<T: Entries>(&mut self, mut entries: Pin<&mut T>, new: u32, index: usize) {
        let entry = entries.as_mut().entry(new).project();
        (*entry.index, *entry.previous, *entry.next) = (index, self.last, NOBODY);
        match position(self.last) {
            Some(last) => *entries.entry(last).project().next = new,
            None => self.first = new,
        }
        self.last = new;
    }

    pub(super) fn remove<T: Entries>(&mut self, mut entries: Pin<&mut T>, old: u32) {
        let entry = entries.as_mut().entry(old).project();
        let (previous, next) = (*entry.previous, *entry.next);
        match position(previous) {
            Some(previous) => *entries.as_mut().entry(previous).project().next = next,
            None => self.first = next,
        }
        match position(next) {
            Some(next) => *entries.entry(next).project().previous = previous,
            None => self.last = previous,
        }
    }
}

fn position(raw: u32) -> Option<u32> {
    (raw != NOBODY).then_some(raw)
}
