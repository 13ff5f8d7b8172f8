//! Arrays.
//!
//! Invariants of this module's `unsafe`:
//!
//! - STRUCTURAL: an element of a pinned [`Slots`] is pinned too. No function moves a slot out of a pinned `Slots`; `Slots`
//!   has no destructor of its own, and is `Unpin` only if its slots are. The same holds for slices.

#![allow(unsafe_code, reason = "pin projection to the elements of an array, which std does not offer")]

use core::array;
use core::marker::PhantomData;
use core::ops::{ControlFlow, Range};
use core::pin::Pin;
use core::task::Waker;

use super::slot::{Slot, SlotOf, SlotUnder};
use super::{Children, Container, HandOut, Indexed, IntoChildren, Visit, Visitor, is_of, sealed};
use crate::child::{Child, IntoChild};
use crate::judge::{Judge, Moment, Policy};

pub struct Slots<P, S, const N: usize> {
    slots: [S; N],
    policy: PhantomData<fn() -> P>,
}

impl<P, S, const N: usize> Slots<P, S, N> {
    #[inline]
    fn slot(self: Pin<&mut Self>, index: usize) -> Pin<&mut S> {
        // SAFETY: STRUCTURAL.
        unsafe { self.map_unchecked_mut(|this| &mut this.slots[index]) }
    }
}

/// An element of a pinned slice.
pub(super) fn element<T>(slice: Pin<&mut [T]>, index: usize) -> Pin<&mut T> {
    // SAFETY: STRUCTURAL.
    unsafe { slice.map_unchecked_mut(|slice| &mut slice[index]) }
}

impl<C: IntoChild, const N: usize> sealed::Sealed for [C; N] {}

impl<C: IntoChild, const N: usize> Container for [C; N] {
    fn count(&self) -> Option<usize> {
        Some(N)
    }
}

impl<P, C, const N: usize> IntoChildren<P> for [C; N]
where
    P: Policy + Judge<<C::Child as Child>::Output>,
    C: IntoChild,
{
    type Children = Slots<P, SlotOf<C, P>, N>;

    #[inline]
    fn into_children(self) -> Self::Children {
        const { assert!(N <= u32::MAX as usize, "an array of that many children holds no index of them") };
        Slots { slots: self.map(|child| Slot::Live(child.into_child())), policy: PhantomData }
    }

    fn vacant() -> Self::Children {
        Slots { slots: array::from_fn(|_| Slot::Empty), policy: PhantomData }
    }
}

impl<P, S, const N: usize> Indexed for Slots<P, S, N> {
    type Index = u32;
}

impl<P, S, const N: usize> Children for Slots<P, S, N>
where
    P: Policy,
    S: SlotUnder<P>,
{
    type Policy = P;
    type Kept = [S::Kept; N];
    type Stop = S::Stop;
    const KNOWS_WOKEN: bool = false;
    const DRAINS: bool = S::DRAINS;

    fn count(&self) -> usize {
        N
    }

    fn each_live(&self, visit: &mut dyn FnMut(usize)) {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.has_child()).for_each(|(index, _)| visit(index));
    }

    #[inline]
    fn is_live(mut self: Pin<&mut Self>) -> bool {
        (0..N).any(|index| self.as_mut().slot(index).is_live())
    }

    fn last_live(mut self: Pin<&mut Self>, below: usize) -> Option<usize> {
        (0..N.min(below)).rev().find(|index| self.as_mut().slot(*index).is_live())
    }

    #[inline]
    fn start(self: Pin<&mut Self>) {}

    #[inline]
    fn rearm(self: Pin<&mut Self>, _: &Waker) {}

    #[inline]
    fn visit<V: Visitor>(mut self: Pin<&mut Self>, which: Visit, visitor: &mut V) -> ControlFlow<()> {
        for range in which.ranges() {
            for index in range.start..range.end.min(N) {
                if let Some(place) = self.as_mut().slot(index).live() {
                    visitor.visit(index, place)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn discard_kept(mut self: Pin<&mut Self>) {
        for index in 0..N {
            self.as_mut().slot(index).discard_kept();
        }
    }

    #[inline]
    fn take_kept(mut self: Pin<&mut Self>) -> [S::Kept; N] {
        array::from_fn(|index| self.as_mut().slot(index).take_kept())
    }

    fn take_stop(self: Pin<&mut Self>, index: usize) -> S::Stop {
        self.slot(index).take_stop()
    }

    fn stop_at(self: Pin<&mut Self>, index: usize) -> Option<&S::Stop> {
        self.slot(index).stop()
    }

    #[inline]
    fn clear(mut self: Pin<&mut Self>) {
        for index in 0..N {
            self.as_mut().slot(index).clear();
        }
    }
}

impl<P, S, const N: usize> HandOut for Slots<P, S, N>
where
    P: Policy,
    S: SlotUnder<P>,
{
    type Item = S::Kept;

    fn first_kept(mut self: Pin<&mut Self>, mut range: Range<usize>, moment: Option<Moment>) -> Option<usize> {
        range.find(|index| is_of(self.as_mut().slot(*index).kept(), moment))
    }

    fn last_kept(mut self: Pin<&mut Self>, range: Range<usize>) -> Option<usize> {
        range.rev().find(|index| self.as_mut().slot(*index).kept().is_some())
    }

    fn take_kept_at(self: Pin<&mut Self>, index: usize) -> S::Kept {
        self.slot(index).take_kept()
    }
}
