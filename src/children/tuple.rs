//! Tuples. The macro delegates to the slots; the arities are a table.

use core::convert::Infallible;
use core::ops::ControlFlow;
use core::pin::Pin;
use core::task::Waker;

use pin_project::pin_project;

use super::inline::{LiveSlot, Slot};
use super::{Children, IntoChildren, Span, Visitor, sealed};
use crate::child::Child;
use crate::policy::{Judge, Policy};

macro_rules! tuples {
    ($($Slots:ident($($child:ident: $C:ident = $index:tt),*))*) => {$(
        #[pin_project]
        pub struct $Slots<$($C: Child),*> {
            $(#[pin] $child: Slot<$C>,)*
            /// `pin_project` wants a field of every struct.
            end: (),
        }

        impl<$($C: Child),*> sealed::Sealed for ($($C,)*) {}

        impl<$($C: Child),*> IntoChildren for ($($C,)*) {
            type Children<P> = $Slots<$($C),*>;
            type Index = u8;

            #[inline(always)]
            fn into_children<P>(self) -> $Slots<$($C),*> {
                let ($($child,)*) = self;
                $Slots { $($child: Slot::Live($child),)* end: () }
            }

            fn vacant<P>() -> $Slots<$($C),*> {
                $Slots { $($child: Slot::<$C>::Empty,)* end: () }
            }

            fn count<P>(_: &$Slots<$($C),*>) -> usize {
                0 $(+ { let _: usize = $index; 1 })*
            }

            #[allow(unused_variables, reason = "for the tuple without children")]
            fn is_live_at<P>(children: &$Slots<$($C),*>, index: usize) -> bool {
                match index {
                    $($index => matches!(children.$child, Slot::Live(_)),)*
                    _ => false,
                }
            }

            fn change_policy<Old, New>(children: $Slots<$($C),*>) -> $Slots<$($C),*> {
                children
            }
        }

        tuples!(@children $Slots [$($child $C $index)*]);
    )*};

    // The first child's stop is what the others' must be; without a child there is none.
    (@children $Slots:ident []) => {
        tuples!(@impl $Slots [] [] Infallible);
    };
    (@children $Slots:ident [$first:ident $First:ident $zero:tt $($child:ident $C:ident $index:tt)*]) => {
        tuples!(@impl $Slots [$first $First $zero $($child $C $index)*] [
            P: Judge<$First::Output>,
            $(P: Judge<$C::Output, Stop = <P as Judge<$First::Output>>::Stop>,)*
        ] <P as Judge<$First::Output>>::Stop);
    };

    (@impl $Slots:ident [$($child:ident $C:ident $index:tt)*] [$($bounds:tt)*] $Stop:ty) => {
        #[allow(unused_variables, unused_mut, clippy::unused_unit, reason = "for the tuple without children")]
        impl<P: Policy, $($C: Child),*> Children<P> for $Slots<$($C),*>
        where
            $($bounds)*
        {
            type Kept = ($(<P as Judge<$C::Output>>::Kept,)*);
            type Stop = $Stop;
            const KNOWS_WOKEN: bool = false;

            #[inline(always)]
            fn is_live(self: Pin<&mut Self>) -> bool {
                let mut this = self.project();
                false $(|| this.$child.as_mut().is_live())*
            }

            #[inline(always)]
            fn start(self: Pin<&mut Self>) {}

            #[inline(always)]
            fn rearm(self: Pin<&mut Self>, _: &Waker) {}

            #[inline(always)]
            fn visit<V_: Visitor<P>>(self: Pin<&mut Self>, span: Span, visitor: &mut V_) -> ControlFlow<()> {
                let mut this = self.project();
                // A loop, so that each child's poll is compiled once.
                for range in span.ranges() {
                    $(if range.contains(&$index) {
                        if let Some(place) = LiveSlot::new(this.$child.as_mut()) {
                            visitor.visit($index, place)?;
                        }
                    })*
                }
                ControlFlow::Continue(())
            }

            fn discard_kept(self: Pin<&mut Self>, stopped: Option<usize>) {
                let mut this = self.project();
                $(if stopped != Some($index) {
                    this.$child.as_mut().discard_kept();
                })*
            }

            #[inline(always)]
            fn take_kept(self: Pin<&mut Self>) -> Self::Kept {
                let mut this = self.project();
                ($(this.$child.as_mut().take_kept::<P>(),)*)
            }

            #[inline(always)]
            fn take_stop(self: Pin<&mut Self>, index: usize) -> Self::Stop {
                let mut this = self.project();
                match index {
                    $($index => this.$child.as_mut().take_stop::<P>(),)*
                    _ => unreachable!("no child has the index {index}"),
                }
            }

            #[inline(always)]
            fn clear(self: Pin<&mut Self>) {
                let mut this = self.project();
                $(this.$child.as_mut().set(Slot::Empty);)*
            }
        }
    };
}

/// Calls a macro with a row for each arity from 1 on: a name for it, and each child's name, type and index.
#[rustfmt::skip]
macro_rules! for_each_arity {
    ($call:ident) => {
        $call! {
            Slots1(a: A = 0)
            Slots2(a: A = 0, b: B = 1)
            Slots3(a: A = 0, b: B = 1, c: C = 2)
            Slots4(a: A = 0, b: B = 1, c: C = 2, d: D = 3)
            Slots5(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4)
            Slots6(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5)
            Slots7(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6)
            Slots8(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6, h: H = 7)
            Slots9(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6, h: H = 7, i: I = 8)
            Slots10(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6, h: H = 7, i: I = 8, j: J = 9)
            Slots11(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6, h: H = 7, i: I = 8, j: J = 9, k: K = 10)
            Slots12(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6, h: H = 7, i: I = 8, j: J = 9, k: K = 10, l: L = 11)
            Slots13(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6, h: H = 7, i: I = 8, j: J = 9, k: K = 10, l: L = 11, m: M = 12)
            Slots14(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6, h: H = 7, i: I = 8, j: J = 9, k: K = 10, l: L = 11, m: M = 12, n: N = 13)
            Slots15(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6, h: H = 7, i: I = 8, j: J = 9, k: K = 10, l: L = 11, m: M = 12, n: N = 13, o: O = 14)
            Slots16(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6, h: H = 7, i: I = 8, j: J = 9, k: K = 10, l: L = 11, m: M = 12, n: N = 13, o: O = 14, p: Q = 15)
        }
    };
}
pub(crate) use for_each_arity;

tuples! { Slots0() }
for_each_arity!(tuples);
