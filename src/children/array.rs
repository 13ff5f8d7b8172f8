//! Arrays.
//!
//! Invariants of this module's `unsafe`:
//!
//! - STRUCTURAL: an element of a pinned [`Slots`] is pinned too. No function moves a slot out of a pinned `Slots`, it
//!   has no destructor of its own, and it is `Unpin` only if its slots are.

#![allow(unsafe_code, reason = "pin projection to the elements of an array, which std does not offer")]

use core::array;
use core::ops::ControlFlow;
use core::pin::Pin;
use core::task::Waker;

use super::inline::{LiveSlot, Slot};
use super::{Children, IntoChildren, Span, Visitor, sealed};
use crate::child::Child;
use crate::policy::{Judge, Policy};

pub struct Slots<C: Child, const N: usize>([Slot<C>; N]);

impl<C: Child, const N: usize> Slots<C, N> {
    fn slot(self: Pin<&mut Self>, index: usize) -> Pin<&mut Slot<C>> {
        // SAFETY: STRUCTURAL.
        unsafe { self.map_unchecked_mut(|slots| &mut slots.0[index]) }
    }
}

impl<C: Child, const N: usize> sealed::Sealed for [C; N] {}

impl<C: Child, const N: usize> IntoChildren for [C; N] {
    type Children<P> = Slots<C, N>;
    type Index = u32;

    #[inline]
    fn into_children<P>(self) -> Slots<C, N> {
        const { assert!(N <= u32::MAX as usize, "an array of that many children holds no index of them") };
        Slots(self.map(Slot::Live))
    }

    fn vacant<P>() -> Slots<C, N> {
        Slots(array::from_fn(|_| Slot::Empty))
    }

    fn count<P>(_: &Slots<C, N>) -> usize {
        N
    }

    fn is_live_at<P>(children: &Slots<C, N>, index: usize) -> bool {
        matches!(children.0.get(index), Some(Slot::Live(_)))
    }

    fn change_policy<Old, New>(children: Slots<C, N>) -> Slots<C, N> {
        children
    }
}

impl<P, C, const N: usize> Children<P> for Slots<C, N>
where
    P: Policy + Judge<C::Output>,
    C: Child,
{
    type Kept = [P::Kept; N];
    type Stop = P::Stop;
    const KNOWS_WOKEN: bool = false;

    #[inline]
    fn is_live(mut self: Pin<&mut Self>) -> bool {
        (0..N).any(|index| self.as_mut().slot(index).is_live())
    }

    #[inline]
    fn start(self: Pin<&mut Self>) {}

    #[inline]
    fn rearm(self: Pin<&mut Self>, _: &Waker) {}

    #[inline]
    fn visit<V: Visitor<P>>(mut self: Pin<&mut Self>, span: Span, visitor: &mut V) -> ControlFlow<()> {
        for range in span.ranges() {
            for index in range.start..range.end.min(N) {
                if let Some(place) = LiveSlot::new(self.as_mut().slot(index)) {
                    visitor.visit(index, place)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn discard_kept(mut self: Pin<&mut Self>, stopped: Option<usize>) {
        for index in (0..N).filter(|index| stopped != Some(*index)) {
            self.as_mut().slot(index).discard_kept();
        }
    }

    #[inline]
    fn take_kept(mut self: Pin<&mut Self>) -> [P::Kept; N] {
        array::from_fn(|index| self.as_mut().slot(index).take_kept::<P>())
    }

    fn take_stop(self: Pin<&mut Self>, index: usize) -> P::Stop {
        self.slot(index).take_stop::<P>()
    }

    #[inline]
    fn clear(mut self: Pin<&mut Self>) {
        for index in 0..N {
            self.as_mut().slot(index).set(Slot::Empty);
        }
    }
}
