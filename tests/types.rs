//! Auto traits and sizes.

#![cfg(feature = "alloc")]

use std::future::{Future, pending, ready};
use std::marker::{PhantomData, PhantomPinned};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use gather::{
    BoxChild, CancelExt, Cleanup, Gather, Limit, LocalBoxChild, Map, Nested, Shield, WithHook, gather, restart,
};

/// A child with chosen auto traits and output.
struct Part<T, O>(PhantomData<T>, PhantomData<fn() -> O>);

impl<T, O> Future for Part<T, O> {
    type Output = O;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<O> {
        Poll::Pending
    }
}

type Plain = Part<(), Result<u8, u8>>;
type NotSend = Part<Rc<()>, Result<u8, u8>>;
type NotSync = Part<std::cell::Cell<()>, Result<u8, u8>>;
type NotUnpin = Part<PhantomPinned, Result<u8, u8>>;
type NotSendValue = Part<(), Result<Rc<()>, u8>>;
type NotSendError = Part<(), Result<u8, Rc<()>>>;
type NotSyncValue = Part<(), Result<std::cell::Cell<u8>, u8>>;

/// Whether a type has an auto trait: the inherent constant, where its bound holds, hides that of the trait.
macro_rules! has {
    ($type:ty: $trait:ident) => {{
        #[allow(dead_code)]
        trait Fallback {
            const HAS: bool = false;
        }
        impl<T: ?Sized> Fallback for T {}
        #[allow(dead_code)]
        struct Probe<T: ?Sized>(PhantomData<T>);
        #[allow(dead_code)]
        impl<T: ?Sized + $trait> Probe<T> {
            const HAS: bool = true;
        }
        <Probe<$type>>::HAS
    }};
}

macro_rules! assert_auto {
    ($($child:ty: $send:literal $sync:literal $unpin:literal;)*) => {$(
        let child = stringify!($child);
        // Send, Sync, Unpin of: tuple, array, vec, boxed slice.
        macro_rules! row {
            ($container:ty, $unpin_here:expr) => {
                let name = format!("{child} in {}", stringify!($container));
                assert_eq!(has!(Gather<$container>: Send), $send, "{name}: Send");
                assert_eq!(has!(Gather<$container>: Sync), $sync, "{name}: Sync");
                assert_eq!(has!(Gather<$container>: Unpin), $unpin_here, "{name}: Unpin");
            };
        }
        row!((Plain, $child), $unpin);
        row!([$child; 2], $unpin);
        row!(Vec<$child>, true);
        row!(Box<[$child]>, true);
    )*};
}

#[test]
fn auto_traits_follow_the_parts() {
    assert_auto! {
        Plain: true true true;
        NotSend: false false true;
        NotSync: true false true;
        NotUnpin: true true false;
        NotSendValue: false false true;
        NotSendError: false false true;
        NotSyncValue: true false true;
    }
}

/// Whether the type of a value has an auto trait, where the type cannot be named: the first of the two methods whose
/// receiver fits is called.
macro_rules! value_has {
    ($make:expr, $trait:ident) => {{
        struct Probe<T>(PhantomData<T>);
        fn probe<T>(_: fn() -> T) -> Probe<T> {
            Probe(PhantomData)
        }
        #[allow(dead_code)]
        trait Yes {
            fn has(&self) -> bool {
                true
            }
        }
        #[allow(dead_code)]
        trait No {
            fn has(&self) -> bool {
                false
            }
        }
        impl<T: $trait> Yes for Probe<T> {}
        impl<T> No for &Probe<T> {}
        (&probe(|| $make)).has()
    }};
}

#[test]
fn auto_traits_do_not_depend_on_the_policy() {
    fn part<C>() -> C {
        unreachable!("only its type is looked at")
    }
    macro_rules! assert_policies {
        ($container:ty: $send:literal $sync:literal $unpin:literal) => {{
            macro_rules! row {
                ($gather:ident => $set:expr) => {
                    let name = concat!(stringify!($container), " under ", stringify!($set));
                    macro_rules! make {
                        () => {{
                            let $gather = gather(part::<$container>());
                            $set
                        }};
                    }
                    assert_eq!(value_has!(make!(), Send), $send, "{name}: Send");
                    assert_eq!(value_has!(make!(), Sync), $sync, "{name}: Sync");
                    assert_eq!(value_has!(make!(), Unpin), $unpin, "{name}: Unpin");
                };
            }
            row!(all => all);
            row!(all => all.settle());
            row!(all => all.any());
            row!(all => all.race());
            row!(all => all.report());
            row!(all => all.settle().report());
            row!(all => all.race().report().concurrency(2));
            row!(all => all.any().cancel_on(pending::<()>()).grace(|| ready(())));
            row!(all => all.nested());
        }};
    }
    macro_rules! assert_containers {
        ($child:ty: $send:literal $sync:literal $unpin:literal) => {
            assert_policies!(($child, $child): $send $sync $unpin);
            assert_policies!([$child; 3]: $send $sync $unpin);
            assert_policies!(Vec<$child>: $send $sync true);
            assert_policies!(Box<[$child]>: $send $sync true);
        };
    }
    assert_containers!(Plain: true true true);
    assert_containers!(NotSend: false false true);
    assert_containers!(NotSync: true false true);
    assert_containers!(NotUnpin: true true false);
    assert_containers!(NotSendValue: false false true);
    assert_containers!(NotSendError: false false true);
    assert_containers!(NotSyncValue: true false true);
}

#[test]
fn auto_traits_follow_signal_grace_and_closures() {
    fn is_send<T: Send>(_: &T) {}
    fn is_sync<T: Sync>(_: &T) {}
    let all = gather((pending::<Result<u8, u8>>().on_cancel(|_| ()), ready(Ok::<u8, u8>(1)).shield()))
        .cancel_on(pending::<()>())
        .grace(|| ready(()));
    is_send(&all);
    is_sync(&all);
    let group = restart(Limit::within(1, std::time::Duration::from_secs(1), || std::time::Duration::ZERO), || {
        vec![pending::<Result<u8, u8>>()]
    })
    .cancel_on(pending::<()>())
    .grace(|| ready(()))
    .backoff(|_| ready(()));
    is_send(&group);
    is_sync(&group);
}

#[test]
fn auto_traits_of_the_adapters_follow_their_parts() {
    macro_rules! assert_adapters {
        ($($adapter:ty: $send:literal $sync:literal $unpin:literal;)*) => {$(
            assert_eq!(has!($adapter: Send), $send, "{}: Send", stringify!($adapter));
            assert_eq!(has!($adapter: Sync), $sync, "{}: Sync", stringify!($adapter));
            assert_eq!(has!($adapter: Unpin), $unpin, "{}: Unpin", stringify!($adapter));
        )*};
    }
    // Futures are pinned, closures are not. What a closure returns is not held, but for a clean-up.
    assert_adapters! {
        WithHook<Plain, ()>: true true true;
        WithHook<NotSend, ()>: false false true;
        WithHook<NotSync, ()>: true false true;
        WithHook<NotUnpin, ()>: true true false;
        WithHook<Plain, Rc<()>>: false false true;
        WithHook<Plain, PhantomPinned>: true true true;
        Cleanup<Plain, (), Plain>: true true true;
        Cleanup<NotSend, (), Plain>: false false true;
        Cleanup<NotUnpin, (), Plain>: true true false;
        Cleanup<Plain, Rc<()>, Plain>: false false true;
        Cleanup<Plain, PhantomPinned, Plain>: true true true;
        Cleanup<Plain, (), NotSend>: false false true;
        Cleanup<Plain, (), NotSync>: true false true;
        Cleanup<Plain, (), NotUnpin>: true true false;
        Shield<Plain>: true true true;
        Shield<NotSend>: false false true;
        Shield<NotUnpin>: true true false;
        Map<Plain, (), ()>: true true true;
        Map<NotSend, (), ()>: false false true;
        Map<NotUnpin, (), ()>: true true false;
        Map<Plain, Rc<()>, ()>: false false true;
        Map<Plain, PhantomPinned, ()>: true true true;
        Map<Plain, (), Rc<()>>: true true true;
        Map<NotSendValue, (), ()>: true true true;
        Nested<Gather<[NotSendValue; 1]>>: false false true;
        Nested<Gather<[NotUnpin; 1]>>: true true false;
        Nested<Gather<Vec<NotUnpin>>>: true true true;
        BoxChild<'static, Rc<()>>: true false true;
        LocalBoxChild<'static, ()>: false false true;
    }
}

// The span of the `tracing` feature takes room of its own.
#[cfg(not(feature = "tracing"))]
mod sizes {
    use super::*;

    /// A future of 129 bytes, like a small `async fn`.
    struct Child129 {
        _state: [u8; 129],
    }

    impl Future for Child129 {
        type Output = Result<u8, u8>;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Pending
        }
    }

    fn child_129() -> Child129 {
        Child129 { _state: [0; 129] }
    }

    async fn async_129() -> Result<u8, u8> {
        let buffer = [0u8; 128];
        pending::<()>().await;
        Ok(buffer[0])
    }

    #[test]
    fn sizes_are_pinned() {
        let four = || (child_129(), child_129(), child_129(), child_129());
        assert_eq!(size_of_val(&four()), 516);
        assert_eq!(size_of_val(&gather(four())), 525);
        assert_eq!(size_of_val(&gather([child_129(), child_129(), child_129(), child_129()])), 536);

        let asyncs = (async_129(), async_129(), async_129(), async_129());
        assert_eq!(size_of_val(&asyncs), 516);
        assert_eq!(size_of_val(&gather(asyncs)), 525);

        assert_eq!(size_of_val(&gather(())), 5);
        assert_eq!(size_of_val(&gather((ready(Ok::<u64, u64>(1)), pending::<Result<u64, u64>>()))), 56);
        assert_eq!(size_of::<Gather<Vec<Child129>>>(), 104);
    }
}
