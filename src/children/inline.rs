//! The slot of a child that is held within the gather itself: in a tuple or an array.

use core::pin::Pin;

use pin_project::pin_project;

use super::Place;
use crate::child::Child;
use crate::outcome::End;
use crate::policy::{Judge, Policy};

/// A child, and after its end what it left. Dropping a slot drops just that.
#[pin_project(project = SlotProj, project_replace = SlotOwned)]
pub enum Slot<C: Child> {
    /// It has not ended: it must be told or dropped before the gather is ready.
    Live(#[pin] C),
    Done(C::Output),
    Drained(Option<C::Output>),
    /// It was dropped before its end, or what it left was taken.
    Empty,
}

impl<C: Child> Slot<C> {
    #[inline(always)]
    pub(super) fn is_live(self: Pin<&mut Self>) -> bool {
        matches!(self.project(), SlotProj::Live(_))
    }

    /// Drops an output.
    #[inline(always)]
    pub(super) fn discard_kept(mut self: Pin<&mut Self>) {
        if !self.as_mut().is_live() {
            self.set(Slot::Empty);
        }
    }

    #[inline(always)]
    pub(super) fn take_end(self: Pin<&mut Self>) -> End<C::Output> {
        match self.project_replace(Slot::Empty) {
            SlotOwned::Live(_) => unreachable!("a child was left when the outcomes were taken"),
            SlotOwned::Done(output) => End::Done(output),
            SlotOwned::Drained(output) => End::Drained(output),
            SlotOwned::Empty => End::Dropped,
        }
    }

    #[inline(always)]
    pub(super) fn take_kept<J: Judge<C::Output>>(self: Pin<&mut Self>) -> J::Kept {
        J::keep(self.take_end())
    }

    #[inline(always)]
    pub(super) fn take_stop<J: Judge<C::Output>>(self: Pin<&mut Self>) -> J::Stop {
        match self.take_end() {
            End::Done(output) => J::stop(output),
            _ => unreachable!("the child that stopped the gather left its output"),
        }
    }
}

/// A slot whose child is live.
pub(super) struct LiveSlot<'a, C: Child>(Pin<&'a mut Slot<C>>);

impl<'a, C: Child> LiveSlot<'a, C> {
    #[inline(always)]
    pub(super) fn new(mut slot: Pin<&'a mut Slot<C>>) -> Option<Self> {
        slot.as_mut().is_live().then_some(LiveSlot(slot))
    }
}

impl<C, P> Place<P> for LiveSlot<'_, C>
where
    C: Child,
    P: Policy + Judge<C::Output>,
{
    type Child = C;
    type Output = C::Output;
    type Judge = P;
    const KEEPS_ALL: bool = P::KEEPS_ALL;

    #[inline(always)]
    fn child(&mut self) -> Pin<&mut C> {
        match self.0.as_mut().project() {
            SlotProj::Live(child) => child,
            _ => unreachable!("checked when the place was made"),
        }
    }

    // `Pin::set` drops the child in place, and stores the new value even if that panics.

    #[inline(always)]
    fn keep(mut self, end: End<C::Output>) {
        self.0.set(match end {
            End::Done(output) => Slot::Done(output),
            End::Drained(output) => Slot::Drained(output),
            End::Dropped => Slot::Empty,
        });
    }

    #[inline(always)]
    fn stop(mut self, output: C::Output) {
        self.0.set(Slot::Done(output));
    }

    #[inline(always)]
    fn discard(mut self) {
        self.0.set(Slot::Empty);
    }
}
