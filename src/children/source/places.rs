//! The places of the children of a source.

use core::ops::Range;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::line::{Entries, Entry};

/// Places that are used again, and what is known of their wakes. They hold no logic of the gather's.
pub trait Places: Entries {
    /// The kept output of a child.
    type Kept;
    /// The kept outputs of all children.
    type AllKept;
    /// A pass over the places of the woken children.
    type Woken;
    type Lend<'a>: Lend
    where
        Self: 'a;
    /// As in [`Children`](crate::children::Children).
    const KNOWS_WOKEN: bool;

    /// As in [`Children`](crate::children::Children); also for the source.
    fn rearm(self: Pin<&mut Self>, waker: &Waker);

    /// Polls the source, if it was woken and a place is vacant.
    fn poll_source<S: Stream>(self: Pin<&mut Self>, source: Pin<&mut S>, cx: &mut Context<'_>)
    -> Poll<Option<S::Item>>;

    /// Takes a vacant place for the child that the source gave.
    fn take(self: Pin<&mut Self>) -> u32;

    /// Gives a vacant place back, to be used again.
    fn give_back(self: Pin<&mut Self>, position: u32);

    /// A place and the waker of its child.
    fn lend(self: Pin<&mut Self>, position: u32) -> (Pin<&mut Entry<Self::Child, Self::Waits>>, Self::Lend<'_>);

    /// Begins a pass over the places in a range of positions, those whose children were woken.
    fn woken(self: Pin<&mut Self>, range: Range<usize>) -> Self::Woken;
    /// The next place of the pass. Its child no longer counts as woken.
    fn next_woken(self: Pin<&mut Self>, woken: &mut Self::Woken) -> Option<u32>;
    /// Ends the pass: children whose turn did not come still count as woken.
    fn stop(self: Pin<&mut Self>, woken: Self::Woken);

    /// The child of this place counts as woken again.
    fn wake(self: Pin<&mut Self>, position: u32);

    /// The child of this place no longer counts as woken.
    fn take_wake(self: Pin<&mut Self>, position: u32);

    /// Keeps the output of the child of this index.
    fn keep(self: Pin<&mut Self>, index: usize, kept: Self::Kept);
    /// Borrows the kept output.
    fn kept(self: Pin<&mut Self>, index: usize) -> Option<&Self::Kept>;
    fn discard_kept(self: Pin<&mut Self>);
    fn take_kept(self: Pin<&mut Self>) -> Self::AllKept;

    /// No child is left: frees the places, and drops what was kept.
    fn clear(self: Pin<&mut Self>);
}

/// A waker for a child.
pub trait Lend {
    fn lend<R>(&mut self, cx: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> R) -> R;
}
