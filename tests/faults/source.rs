//! The source of a gather whose children come one by one.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use pin_project::{pin_project, pinned_drop};

use crate::matrix::{Place, Who};
use crate::waiter::Waiter;
use crate::world::{Once, world};

/// What happens when the last child has been drawn, or is to be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceEnd {
    /// It ends behind the last child.
    AtOnce,
    /// It stays open behind the last child, until its gate is opened.
    Open,
    /// The last child comes when the gate is opened; then it ends.
    LastLate,
}

/// Gives the children, and waits in the intrusive list.
#[pin_project(PinnedDrop)]
pub struct Source<I> {
    children: I,
    left: usize,
    end: SourceEnd,
    has_ended: bool,
    #[pin]
    waiter: Waiter,
    _once: Once,
}

impl<I: Iterator> Source<I> {
    pub fn new(children: I, count: usize, end: SourceEnd) -> Self {
        Source {
            children,
            left: count,
            end,
            has_ended: false,
            waiter: Waiter::default(),
            _once: Once::new(Place::SourceDrop, Who::Source, false),
        }
    }
}

impl<I: Iterator> Stream for Source<I> {
    type Item = I::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<I::Item>> {
        let world = world();
        let this = self.project();
        if *this.has_ended {
            world.blame("the source was polled after its end".into());
        }
        this.waiter.as_ref().link();
        let waits = match this.end {
            SourceEnd::AtOnce => false,
            SourceEnd::Open => *this.left == 0,
            SourceEnd::LastLate => *this.left == 1,
        };
        let is_open = waits && world.poll_gate(Who::Source, cx).is_pending();
        world.visit(Place::SourcePoll, Who::Source);
        if is_open {
            return Poll::Pending;
        }
        let child = this.children.next();
        *this.left = this.left.saturating_sub(1);
        *this.has_ended = child.is_none();
        world.drawn.set(world.drawn.get() + usize::from(child.is_some()));
        Poll::Ready(child)
    }
}

#[pinned_drop]
impl<I> PinnedDrop for Source<I> {
    fn drop(self: Pin<&mut Self>) {
        world().visit(Place::SourceDrop, Who::Source);
    }
}
