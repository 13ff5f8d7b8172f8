//! The places of children that were drawn from a source, in the order in which they were drawn.

use core::pin::Pin;

use pin_project::pin_project;

/// Stands for no place.
const NOBODY: u32 = u32::MAX;

/// A place: for one child after another, each with its neighbours in the line.
#[pin_project]
pub struct Entry<C, W> {
    #[pin]
    content: Content<C, W>,
    /// How many children were drawn before this one.
    pub(super) index: usize,
    previous: u32,
    next: u32,
}

/// What lies in a place. If nothing ever waits, `W` has no value, and this is an `Option`.
#[pin_project(project = ContentProj, project_replace = ContentOwned)]
pub enum Content<C, W> {
    Nothing,
    Child(#[pin] C),
    /// The output of a child that has ended, until it is handed out.
    Waits(W),
}

impl<C, W> Content<C, W> {
    pub(super) fn child(self: Pin<&mut Self>) -> Option<Pin<&mut C>> {
        match self.project() {
            ContentProj::Child(child) => Some(child),
            ContentProj::Nothing | ContentProj::Waits(_) => None,
        }
    }

    /// Nothing.
    pub(super) fn take_waiting(self: Pin<&mut Self>) -> Option<W> {
        match self.project_replace(Content::Nothing) {
            ContentOwned::Waits(waits) => Some(waits),
            ContentOwned::Nothing | ContentOwned::Child(_) => None,
        }
    }
}

impl<C, W> Entry<C, W> {
    pub(super) fn vacant() -> Self {
        Entry { content: Content::Nothing, index: 0, previous: NOBODY, next: NOBODY }
    }

    pub(super) fn content(self: Pin<&mut Self>) -> Pin<&mut Content<C, W>> {
        self.project().content
    }

    pub(super) fn index(self: Pin<&mut Self>) -> usize {
        *self.project().index
    }
}

/// Where places are found by their positions.
pub trait Entries {
    type Child;
    /// What is kept in the place of a child.
    type Waits;

    fn entry(self: Pin<&mut Self>, position: u32) -> Pin<&mut Entry<Self::Child, Self::Waits>>;

    /// For `Debug`.
    fn peek(&self, position: u32) -> &Entry<Self::Child, Self::Waits>;
}

/// A line through the places of live children, or of those of which something waits, by growing index. Removing from it takes constant time.
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

    pub(super) fn last(&self) -> Option<u32> {
        position(self.last)
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

    /// The first place whose child has at least this index. Takes time for each child behind it.
    pub(super) fn first_from<T: Entries>(&self, mut entries: Pin<&mut T>, index: usize) -> Option<u32> {
        if index == 0 {
            return self.first();
        }
        match self.last_below(entries.as_mut(), index) {
            Some(last) => Self::next(entries, last),
            None => self.first(),
        }
    }

    /// The last place whose child is below this index. Takes time for each child behind it.
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

    /// Inserts a place by the index of its child. Takes time for each child behind it.
    pub(super) fn insert<T: Entries>(&mut self, mut entries: Pin<&mut T>, new: u32, index: usize) {
        let (mut previous, mut next) = (self.last, NOBODY);
        while let Some(candidate) = position(previous) {
            let entry = entries.as_mut().entry(candidate).project();
            if *entry.index < index {
                break;
            }
            (previous, next) = (*entry.previous, candidate);
        }
        let entry = entries.as_mut().entry(new).project();
        (*entry.index, *entry.previous, *entry.next) = (index, previous, next);
        match position(previous) {
            Some(previous) => *entries.as_mut().entry(previous).project().next = new,
            None => self.first = new,
        }
        match position(next) {
            Some(next) => *entries.entry(next).project().previous = new,
            None => self.last = new,
        }
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
