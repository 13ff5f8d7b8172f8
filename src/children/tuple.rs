//! Tuples. The macro delegates to the slots; the arities are a table.

use core::convert::Infallible;
use core::marker::PhantomData;
use core::ops::{ControlFlow, Range};
use core::pin::Pin;
use core::task::Waker;

use pin_project::pin_project;

use super::slot::{Slot, SlotOf, SlotUnder};
use super::{Children, Container, HandOut, Indexed, IntoChildren, Visit, Visitor, is_of, sealed};
use crate::arity::for_each_arity;
use crate::child::{Child, IntoChild};
use crate::judge::{Judge, Moment, Policy};

/// A bit for each index of a range, of those that a tuple can have.
#[cfg_attr(not(debug_assertions), inline(always))]
fn bits(range: Range<usize>) -> u32 {
    (1 << range.end.min(16)) - (1 << range.start.min(16))
}

macro_rules! tuples {
    ($($Slots:ident($($child:ident: $C:ident = $index:tt),*))*) => {$(
        impl<$($C: IntoChild),*> sealed::Sealed for ($($C,)*) {}

        impl<$($C: IntoChild),*> Container for ($($C,)*) {
            fn count(&self) -> Option<usize> {
                Some(0 $(+ { let _: usize = $index; 1 })*)
            }
        }

        tuples!(@children $Slots [$($child $C $index)*]);
    )*};

    // All children must have the `Stop` of the first one; without children there is none.
    (@children $Slots:ident []) => {
        tuples!(@impl $Slots [] [] [] [] Infallible, Infallible);
    };
    (@children $Slots:ident [$first:ident $First:ident $zero:tt $($child:ident $C:ident $index:tt)*]) => {
        tuples!(@impl $Slots [$first $First $zero $($child $C $index)*] [
            $First: SlotUnder<P>,
            $($C: SlotUnder<P, Stop = $First::Stop>,)*
        ] [
            P: Judge<<$First::Child as Child>::Output>,
            $(P: Judge<
                <$C::Child as Child>::Output,
                Stop = <P as Judge<<$First::Child as Child>::Output>>::Stop,
            >,)*
        ] [
            $First: SlotUnder<P>,
            $($C: SlotUnder<P, Kept = $First::Kept, Stop = $First::Stop>,)*
        ] $First::Stop, $First::Kept);
    };

    (@impl $Slots:ident [$($child:ident $C:ident $index:tt)*] [$($bounds:tt)*] [$($into_bounds:tt)*]
        [$($one_type:tt)*] $Stop:ty, $Item:ty) => {
        #[pin_project]
        pub struct $Slots<P, $($C),*> {
            $(#[pin] $child: $C,)*
            policy: PhantomData<fn() -> P>,
        }

        impl<P: Policy, $($C: IntoChild),*> IntoChildren<P> for ($($C,)*)
        where
            $($into_bounds)*
        {
            type Children = $Slots<P, $(SlotOf<$C, P>),*>;

            #[cfg_attr(not(debug_assertions), inline(always))]
            fn into_children(self) -> Self::Children {
                let ($($child,)*) = self;
                $Slots { $($child: Slot::Live($child.into_child()),)* policy: PhantomData }
            }

            fn vacant() -> Self::Children {
                $Slots { $($child: Slot::Empty,)* policy: PhantomData }
            }
        }

        impl<P, $($C),*> Indexed for $Slots<P, $($C),*> {
            type Index = u8;
        }

        #[allow(unused_variables, unused_mut, unused_assignments, clippy::unused_unit, reason = "for the tuple without children")]
        impl<P: Policy, $($C),*> Children for $Slots<P, $($C),*>
        where
            $($bounds)*
        {
            type Policy = P;
            type Kept = ($($C::Kept,)*);
            type Stop = $Stop;
            const KNOWS_WOKEN: bool = false;
            const DRAINS: bool = false $(|| $C::DRAINS)*;

            fn count(&self) -> usize {
                0 $(+ { let _: usize = $index; 1 })*
            }

            fn each_live(&self, visit: &mut dyn FnMut(usize)) {
                $(if self.$child.has_child() {
                    visit($index);
                })*
            }

            #[cfg_attr(not(debug_assertions), inline(always))]
            fn is_live(self: Pin<&mut Self>) -> bool {
                let mut this = self.project();
                false $(|| this.$child.as_mut().is_live())*
            }

            fn last_live(self: Pin<&mut Self>, below: usize) -> Option<usize> {
                let mut this = self.project();
                let mut last = None;
                $(if $index < below && this.$child.as_mut().is_live() {
                    last = Some($index);
                })*
                last
            }

            #[cfg_attr(not(debug_assertions), inline(always))]
            fn start(self: Pin<&mut Self>) {}

            #[cfg_attr(not(debug_assertions), inline(always))]
            fn rearm(self: Pin<&mut Self>, _: &Waker) {}

            #[cfg_attr(not(debug_assertions), inline(always))]
            fn visit<V_: Visitor>(self: Pin<&mut Self>, which: Visit, visitor: &mut V_) -> ControlFlow<()> {
                let mut this = self.project();
                let [mut bits, mut later] = which.ranges().map(bits);
                // A loop, so that each child's poll is compiled once.
                loop {
                    $(if bits & 1 << $index != 0 {
                        if let Some(place) = this.$child.as_mut().live() {
                            visitor.visit($index, place)?;
                        }
                    })*
                    if later == 0 {
                        return ControlFlow::Continue(());
                    }
                    (bits, later) = (later, 0);
                }
            }

            fn discard_kept(self: Pin<&mut Self>) {
                let mut this = self.project();
                $(this.$child.as_mut().discard_kept();)*
            }

            #[cfg_attr(not(debug_assertions), inline(always))]
            fn take_kept(self: Pin<&mut Self>) -> Self::Kept {
                let mut this = self.project();
                ($(this.$child.as_mut().take_kept(),)*)
            }

            #[cfg_attr(not(debug_assertions), inline(always))]
            fn take_stop(self: Pin<&mut Self>, index: usize) -> Self::Stop {
                let mut this = self.project();
                match index {
                    $($index => this.$child.as_mut().take_stop(),)*
                    _ => unreachable!("no child has the index {index}"),
                }
            }

            fn stop_at(self: Pin<&mut Self>, index: usize) -> Option<&Self::Stop> {
                let this = self.project();
                match index {
                    $($index => this.$child.stop(),)*
                    _ => unreachable!("no child has the index {index}"),
                }
            }

            #[cfg_attr(not(debug_assertions), inline(always))]
            fn clear(self: Pin<&mut Self>) {
                let mut this = self.project();
                $(this.$child.as_mut().clear();)*
            }
        }

        #[allow(unused_variables, unused_mut, reason = "for the tuple without children")]
        impl<P: Policy, $($C),*> HandOut for $Slots<P, $($C),*>
        where
            $($one_type)*
        {
            type Item = $Item;

            fn first_kept(self: Pin<&mut Self>, range: Range<usize>, moment: Option<Moment>) -> Option<usize> {
                let this = self.project();
                $(if range.contains(&$index) && is_of(this.$child.kept(), moment) {
                    return Some($index);
                })*
                None
            }

            fn last_kept(self: Pin<&mut Self>, range: Range<usize>) -> Option<usize> {
                let this = self.project();
                let mut last = None;
                $(if range.contains(&$index) && this.$child.kept().is_some() {
                    last = Some($index);
                })*
                last
            }

            fn take_kept_at(self: Pin<&mut Self>, index: usize) -> $Item {
                let this = self.project();
                match index {
                    $($index => this.$child.take_kept(),)*
                    _ => unreachable!("no child has the index {index}"),
                }
            }
        }
    };
}

tuples! { Slots0() }
for_each_arity!(tuples);
