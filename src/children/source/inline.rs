//! Places in the gather itself, for a source without an allocator.

use core::array;
use core::marker::PhantomData;
use core::ops::Range;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use futures_core::Stream;
use pin_project::pin_project;

use super::line::{Content, Entries, Entry};
use super::places::{Lend, Places};
use crate::children::array::element;

/// `N` places. Children and source are polled with the caller's waker, whether they were woken or not.
#[pin_project]
pub struct Inline<C, W, K, const N: usize> {
    #[pin]
    entries: [Entry<C, W>; N],
    /// Whether each place is vacant.
    is_vacant: [bool; N],
    /// Outputs are not stored.
    kept: PhantomData<fn(K)>,
}

impl<C, W, K, const N: usize> Inline<C, W, K, N> {
    pub(super) fn new() -> Self {
        Inline { entries: array::from_fn(|_| Entry::vacant()), is_vacant: [true; N], kept: PhantomData }
    }
}

impl<C, W, K, const N: usize> Entries for Inline<C, W, K, N> {
    type Child = C;
    type Waits = W;

    fn entry(self: Pin<&mut Self>, position: u32) -> Pin<&mut Entry<C, W>> {
        let entries: Pin<&mut [_]> = self.project().entries;
        element(entries, position as usize)
    }

    fn peek(&self, position: u32) -> &Entry<C, W> {
        &self.entries[position as usize]
    }
}

/// Lends the caller's waker.
pub struct CallersWaker;

impl Lend for CallersWaker {
    fn lend<R>(&mut self, cx: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> R) -> R {
        poll(cx)
    }
}

impl<C, W, K, const N: usize> Places for Inline<C, W, K, N> {
    type Kept = K;
    type AllKept = ();
    type Woken = Range<usize>;
    type Lend<'a>
        = CallersWaker
    where
        Self: 'a;
    const KNOWS_WOKEN: bool = false;

    fn rearm(self: Pin<&mut Self>, _: &Waker) {}

    fn poll_source<S: Stream>(
        self: Pin<&mut Self>,
        source: Pin<&mut S>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<S::Item>> {
        if !self.project().is_vacant.contains(&true) {
            return Poll::Pending;
        }
        source.poll_next(cx)
    }

    fn take(self: Pin<&mut Self>) -> u32 {
        let is_vacant = self.project().is_vacant;
        let position =
            is_vacant.iter().position(|is_vacant| *is_vacant).expect("looked for before the source was polled");
        is_vacant[position] = false;
        position as u32
    }

    fn give_back(self: Pin<&mut Self>, position: u32) {
        self.project().is_vacant[position as usize] = true;
    }

    fn lend(self: Pin<&mut Self>, position: u32) -> (Pin<&mut Entry<C, W>>, CallersWaker) {
        (self.entry(position), CallersWaker)
    }

    fn woken(self: Pin<&mut Self>, range: Range<usize>) -> Range<usize> {
        range.start..range.end.min(N)
    }

    fn next_woken(self: Pin<&mut Self>, woken: &mut Range<usize>) -> Option<u32> {
        let is_vacant = self.project().is_vacant;
        woken.find(|position| !is_vacant[*position]).map(|position| position as u32)
    }

    fn stop(self: Pin<&mut Self>, _: Range<usize>) {}

    fn wake(self: Pin<&mut Self>, _: u32) {}

    fn take_wake(self: Pin<&mut Self>, _: u32) {}

    fn keep(self: Pin<&mut Self>, _: usize, _: K) {}

    fn kept(self: Pin<&mut Self>, _: usize) -> Option<&K> {
        None
    }

    fn discard_kept(self: Pin<&mut Self>) {}

    fn take_kept(self: Pin<&mut Self>) {}

    fn clear(mut self: Pin<&mut Self>) {
        for position in 0..N as u32 {
            self.as_mut().entry(position).content().set(Content::Nothing);
        }
    }
}
