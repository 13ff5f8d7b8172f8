//! The slot of a child that is kept in the gather itself, in a tuple or an array.

use core::marker::PhantomData;
use core::pin::Pin;

use pin_project::pin_project;

use super::Place;
use crate::child::{Child, IntoChild};
use crate::judge::{End, Judge, Moment, Policy};

/// A child, and after its end what is left of it. Dropping a slot drops just that.
///
/// What is kept, and what is made of the output that stops the gather, are parameters of their own, and not looked up in
/// the policy: where the compiler has erased lifetimes, in a task, it would have to prove again that the errors of all
/// children are of one type, and could not (rust-lang/rust#102211).
#[pin_project(project = SlotProj, project_replace = SlotOwned)]
pub enum Slot<C, K, X> {
    /// It has not ended, and must be told or dropped before the gather is ready.
    Live(#[pin] C),
    Kept(K),
    /// It ended and stopped the gather.
    Stopped(X),
    /// Its output was not kept, or was taken.
    Empty,
}

type OutputOf<C> = <<C as IntoChild>::Child as Child>::Output;

/// The slot of what becomes a child, under a policy.
pub(super) type SlotOf<C, P> =
    Slot<<C as IntoChild>::Child, <P as Judge<OutputOf<C>>>::Kept, <P as Judge<OutputOf<C>>>::Stop>;

/// A slot under a policy that fits it.
pub trait SlotUnder<P> {
    type Kept;
    type Stop;
    const DRAINS: bool;

    /// For `Debug`.
    fn has_child(&self) -> bool;
    fn is_live(self: Pin<&mut Self>) -> bool;
    /// The child, if it is live.
    fn live(self: Pin<&mut Self>) -> Option<impl Place>;
    fn discard_kept(self: Pin<&mut Self>);
    /// When the child ended, if its output is kept.
    fn kept(self: Pin<&mut Self>) -> Option<Moment>;
    fn take_kept(self: Pin<&mut Self>) -> Self::Kept;
    fn take_stop(self: Pin<&mut Self>) -> Self::Stop;
    fn stop(self: Pin<&mut Self>) -> Option<&Self::Stop>;
    fn clear(self: Pin<&mut Self>);
}

impl<P, C, K, X> SlotUnder<P> for Slot<C, K, X>
where
    C: Child,
    P: Policy + Judge<C::Output, Kept = K, Stop = X>,
{
    type Kept = K;
    type Stop = X;
    const DRAINS: bool = C::DRAINS;

    fn has_child(&self) -> bool {
        matches!(self, Slot::Live(_))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn is_live(self: Pin<&mut Self>) -> bool {
        matches!(self.project(), SlotProj::Live(_))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn discard_kept(mut self: Pin<&mut Self>) {
        if let SlotProj::Kept(_) = self.as_mut().project() {
            self.set(Slot::Empty);
        }
    }

    fn kept(self: Pin<&mut Self>) -> Option<Moment> {
        match self.project() {
            SlotProj::Kept(kept) => Some(P::moment(kept)),
            _ => None,
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn take_stop(self: Pin<&mut Self>) -> X {
        match self.project_replace(Slot::Empty) {
            SlotOwned::Stopped(stop) => stop,
            _ => unreachable!("the child that stopped the gather left its output"),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn clear(mut self: Pin<&mut Self>) {
        self.set(Slot::Empty);
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn live(mut self: Pin<&mut Self>) -> Option<impl Place> {
        matches!(self.as_mut().project(), SlotProj::Live(_))
            .then_some(LiveSlot { slot: self, policy: PhantomData::<P> })
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn take_kept(self: Pin<&mut Self>) -> K {
        match self.project_replace(Slot::Empty) {
            SlotOwned::Kept(kept) => kept,
            SlotOwned::Empty => P::keep(End::Dropped),
            _ => unreachable!("something was kept of every child"),
        }
    }

    fn stop(self: Pin<&mut Self>) -> Option<&X> {
        match self.project() {
            SlotProj::Live(child) => child.output().and_then(P::stop_of),
            SlotProj::Stopped(stop) => Some(stop),
            SlotProj::Kept(kept) => P::stop_in(kept),
            _ => unreachable!("the child that stopped the gather left its output"),
        }
    }
}

/// A slot whose child is live.
struct LiveSlot<'a, C, K, X, P> {
    slot: Pin<&'a mut Slot<C, K, X>>,
    policy: PhantomData<P>,
}

impl<C, K, X, P> Place for LiveSlot<'_, C, K, X, P>
where
    C: Child,
    P: Policy + Judge<C::Output, Kept = K, Stop = X>,
{
    type Child = C;
    type Policy = P;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn child(&mut self) -> Pin<&mut C> {
        match self.slot.as_mut().project() {
            SlotProj::Live(child) => child,
            _ => unreachable!("checked when the place was made"),
        }
    }

    // `Pin::set` drops the child in place, and stores the new value even if the drop panics.

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn keep(mut self, end: End<C::Output>) {
        self.slot.set(Slot::Kept(P::keep(end)));
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn stop(mut self, output: C::Output) {
        self.slot.set(Slot::Stopped(P::stop(output)));
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn discard(mut self) {
        self.slot.set(Slot::Empty);
    }
}
