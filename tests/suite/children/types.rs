//! Auto traits, sizes, and where a group's type is written, or inferred, or erased.

use std::future::{Future, Ready, pending, ready};
use std::marker::{PhantomData, PhantomPinned};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::kit::{self, Gate, Output, Probe, World, yield_now};
use gather::policy::{FailFast, Settle};
use gather::{
    BoxChild, CancelExt, CancelSignal, CancelWhen, Cancellable, Cancelled, Cleanup, EitherChild, Finally, GatherOf,
    Group, IntoChild, IntoChildren, Limit, LocalBoxChild, Map, RestartError, Shield, WithHook, cancellable, gather,
    restart,
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
/// A plain one that may fail as that child does.
type Beside<C> = Part<(), Result<u8, <C as Fails>::Error>>;
type NotSend = Part<Rc<()>, Result<u8, u8>>;
type NotSync = Part<std::cell::Cell<()>, Result<u8, u8>>;
type NotUnpin = Part<PhantomPinned, Result<u8, u8>>;
type NotSendValue = Part<(), Result<Rc<()>, u8>>;
type NotSendError = Part<(), Result<u8, Rc<()>>>;
type NotSyncValue = Part<(), Result<std::cell::Cell<u8>, u8>>;

trait Fails {
    type Error;
}

impl<T, V, E> Fails for Part<T, Result<V, E>> {
    type Error = E;
}

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
                assert_eq!(has!(GatherOf<$container>: Send), $send, "{name}: Send");
                assert_eq!(has!(GatherOf<$container>: Sync), $sync, "{name}: Sync");
                assert_eq!(has!(GatherOf<$container>: Unpin), $unpin_here, "{name}: Unpin");
                // A group is what it holds.
                assert_eq!(has!(Group<$container>: Send), has!($container: Send), "{name}: Send of the group");
                assert_eq!(has!(Group<$container>: Sync), has!($container: Sync), "{name}: Sync of the group");
                assert_eq!(has!(Group<$container>: Unpin), has!($container: Unpin), "{name}: Unpin of the group");
            };
        }
        row!((Beside<$child>, $child), $unpin);
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
                            $set.into_future()
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
            row!(all => all.any().cancel_when(pending::<()>()).grace(|| ready(())));
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
        .cancel_when(pending::<()>())
        .grace(|| ready(()));
    is_send(&all);
    is_sync(&all);
    let all = all.into_future();
    is_send(&all);
    is_sync(&all);
    let group = restart(Limit::within(1, std::time::Duration::from_secs(1), || std::time::Duration::ZERO), || {
        vec![pending::<Result<u8, u8>>()]
    })
    .cancel_when(pending::<()>())
    .grace(|| ready(()))
    .backoff(|_| ready(()));
    is_send(&group);
    is_sync(&group);
    let group = group.into_future();
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
    // Futures are pinned, closures and outputs are not.
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
        // What the closure makes of an output that is known early is held, that output is not.
        Map<Plain, (), Rc<()>>: false false true;
        Map<Plain, (), PhantomPinned>: true true true;
        Map<NotSendValue, (), ()>: true true true;
        Finally<Plain, (), Plain>: true true true;
        Finally<NotSendValue, (), Plain>: false false true;
        Finally<Plain, (), NotUnpin>: true true false;
        CancelWhen<Plain, Plain>: true true true;
        CancelWhen<NotSend, Plain>: false false true;
        CancelWhen<NotUnpin, Plain>: true true false;
        CancelWhen<NotSendValue, Plain>: false false true;
        CancelWhen<Plain, NotSend>: false false true;
        CancelWhen<Plain, NotSync>: true false true;
        CancelWhen<Plain, NotUnpin>: true true false;
        CancelWhen<Plain, NotSendValue>: true true true;
        Cancellable<Plain>: true true true;
        Cancellable<NotSend>: false false true;
        Cancellable<NotSync>: true false true;
        Cancellable<NotUnpin>: true true false;
        Cancellable<NotSendValue>: true true true;
        CancelSignal: true true true;
        EitherChild<Plain, Plain>: true true true;
        EitherChild<Plain, NotSend>: false false true;
        EitherChild<NotSync, Plain>: true false true;
        EitherChild<Plain, NotUnpin>: true true false;
        EitherChild<Plain, NotSendValue>: true true true;
        <Group<[NotSendValue; 1]> as IntoChild>::Child: false false true;
        <Group<[NotUnpin; 1]> as IntoChild>::Child: true true false;
        <Group<Vec<NotUnpin>> as IntoChild>::Child: true true true;
        <Group<Vec<Group<[NotUnpin; 1]>>> as IntoChild>::Child: true true true;
        BoxChild<'static, Rc<()>>: true false true;
        LocalBoxChild<'static, ()>: false false true;
    }
}

/// Whatever the children are: they are pinned in the `Vec`'s buffer.
#[test]
fn the_gather_of_a_vec_is_unpin() {
    fn assert_unpin<F: Future + Unpin>(future: F) -> F {
        future
    }
    let borrowing = async || {
        let local = [0u8; 8];
        let reference = &local;
        yield_now().await;
        Ok::<_, u8>(reference.len())
    };
    let all = assert_unpin(gather(vec![borrowing(), borrowing()]).into_future());
    assert_eq!(pollster::block_on(all), Ok(vec![8, 8]));
    let told = vec![borrowing().on_cancel(|_| ()).map(|ended| ended)];
    assert_eq!(pollster::block_on(assert_unpin(gather(told).report().into_future())).into_result(), Ok(vec![8]));
    let cleaned = vec![borrowing().cleanup(borrowing)].into_boxed_slice();
    assert_eq!(pollster::block_on(assert_unpin(gather(cleaned).concurrency(1).into_future())), Ok(vec![8]));
    let groups: Group<Vec<_>> = (0..3).map(|_| gather([borrowing().shield()])).collect();
    assert_eq!(pollster::block_on(assert_unpin(groups.into_future())), Ok(vec![[8]; 3]));
}

/// What the closures of a task borrow.
#[derive(Default)]
struct Shared(Mutex<Vec<String>>);

impl Shared {
    fn push(&self, entry: &str) {
        self.0.lock().unwrap().push(entry.into());
    }

    #[track_caller]
    fn expect(&self, expected: &str) {
        assert_eq!(std::mem::take(&mut *self.0.lock().unwrap()).join(", "), expected);
    }
}

/// Runs a task to its end, on a thread of the runtime.
fn spawned<O: Send + 'static>(task: impl Future<Output = O> + Send + 'static) -> O {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    runtime.block_on(async { tokio::spawn(task).await.unwrap() })
}

// In a spawned task the compiler has erased the lifetimes of what is held across an `await`, and proves the task `Send` for
// any lifetimes in their place (rust-lang/rust#102211). So no bound may want a closure, or an error, of certain ones.

#[test]
fn adapters_with_borrowing_closures_are_gathered_in_a_spawned_task() {
    spawned(async {
        let shared = Shared::default();
        let log = &shared;
        let told = async {
            log.push("work");
            yield_now().await;
            Ok::<u8, &str>(1)
        };
        let told = told.on_cancel(|_| log.push("tell")).map(|ended| {
            log.push("map");
            ended
        });
        let cleaned = pending::<Result<u8, &str>>().cleanup(|| async {
            yield_now().await;
            log.push("clean");
        });
        let shielded = async {
            yield_now().await;
            Err::<u8, u8>(3)
        };
        let shielded = shielded.shield().map_err(|_| {
            log.push("map_err");
            "late"
        });
        let ended = gather((told, cleaned, shielded, async { Err::<u8, _>("failed") })).await;
        assert_eq!(ended, Err("failed"));
        log.expect("work, tell, map, map_err, clean");
    });
}

#[test]
fn children_of_either_kind_with_their_signals_are_gathered_in_a_spawned_task() {
    spawned(async {
        let shared = Shared::default();
        let log = &shared;
        let work = |name: &'static str| async move {
            log.push(name);
            yield_now().await;
            pending::<Result<u8, &str>>().await
        };
        let signal = async {
            log.push("signal");
            yield_now().await;
            log.push("fires");
        };
        let closing = work("closing").finally(|| async {
            yield_now().await;
            log.push("close");
        });
        let either = |is_shielded| {
            if is_shielded {
                return EitherChild::Left(async { Ok(log.0.lock().unwrap().len()) }.shield());
            }
            let told = async { Err::<usize, &str>("failed") }.on_cancel(|_| log.push("tell"));
            EitherChild::Right(told.map(|ended| {
                log.push("map");
                ended
            }))
        };
        let kicked = closing.cancel_when(signal).map(|ended| {
            log.push("kicked");
            ended.map_err(|_| "kicked").and_then(|ended| ended)
        });
        let flat = async { Ok::<_, &str>(work("flat").await) }.on_cancel(|_| log.push("tell flat")).flatten();
        let group = gather((kicked, either(true), flat)).grace(|| async {
            log.push("grace");
            yield_now().await;
        });
        assert_eq!(group.await.map(drop), Err("kicked"));
        log.expect("signal, closing, flat, fires, close, kicked, tell flat, grace");
        assert_eq!(gather([either(true), either(false)]).await, Err("failed"));
        log.expect("map");
    });
}

#[test]
fn cancellable_children_that_borrow_are_gathered_in_a_spawned_task() {
    async fn statement(connection: &mut Vec<String>, statement: &str) {
        connection.push(statement.into());
        yield_now().await;
    }
    async fn transaction(connection: &mut Vec<String>, cancel: CancelSignal) -> Result<usize, &'static str> {
        let work = async {
            statement(connection, "BEGIN").await;
            loop {
                statement(connection, "INSERT").await;
            }
        };
        let ended = cancel.run_until_cancelled(work).await.ok_or("cancelled");
        statement(connection, "ROLLBACK").await;
        ended
    }
    spawned(async {
        let shared = Shared::default();
        let log = &shared;
        let [mut one, mut other, mut third] = [vec![], vec![], vec![]];
        {
            let group = gather((
                cancellable(|cancel| transaction(&mut one, cancel)),
                cancellable(async |cancel| {
                    let ended = transaction(&mut other, cancel).await;
                    log.push("other");
                    ended
                }),
                gather(vec![cancellable(|cancel| transaction(&mut third, cancel))])
                    .map(|ended| ended.map(|all| all[0])),
                async {
                    yield_now().await;
                    Err::<usize, _>("failed")
                },
            ));
            assert_eq!(group.await, Err("failed"));
        }
        for connection in [one, other, third] {
            assert_eq!(connection.first().map(|first| &**first), Some("BEGIN"));
            assert_eq!(connection.last().map(|last| &**last), Some("ROLLBACK"));
        }
        log.expect("other");
    });
    assert!(value_has!(signal().run_until_cancelled(part::<Plain>()), Send));
    assert!(!value_has!(signal().run_until_cancelled(part::<NotSend>()), Send));
    assert!(value_has!(signal().run_until_cancelled(part::<Plain>()), Unpin));
    assert!(!value_has!(signal().run_until_cancelled(part::<NotUnpin>()), Unpin));
    assert!(value_has!(signal().cancelled(), Send));
    assert!(value_has!(signal().cancelled(), Sync));
    assert!(value_has!(signal().cancelled(), Unpin));

    fn part<C>() -> C {
        unreachable!("only its type is looked at")
    }
    fn signal() -> &'static CancelSignal {
        unreachable!("only its type is looked at")
    }
}

#[test]
fn settings_with_borrowing_closures_in_a_spawned_task() {
    spawned(async {
        let shared = Shared::default();
        let log = &shared;
        let signal = || async {
            log.push("signal");
            yield_now().await;
            log.push("fires");
        };
        let grace = || async {
            log.push("grace");
            yield_now().await;
            log.push("over");
        };
        let told = || pending::<Result<u8, &str>>().on_cancel(|_| log.push("tell"));
        macro_rules! cancelled {
            ($group:expr) => {
                assert_eq!($group.grace(grace).cancel_when(signal()).await.map(drop), Err(Cancelled));
                log.expect("signal, fires, tell, tell, grace, over");
            };
        }
        cancelled!(gather((told(), told())));
        cancelled!(gather([told(), told()]).settle());
        cancelled!(gather(vec![told(), told()]).any());
        cancelled!(gather(vec![told(), told()].into_boxed_slice()).race().concurrency(2));
    });
}

#[test]
fn a_restart_with_borrowing_closures_in_a_spawned_task() {
    spawned(async {
        let shared = Shared::default();
        let (log, mut made, mut seen) = (&shared, 0, 0);
        let group = restart(Limit::restarts(1), || {
            made += 1;
            log.push("make");
            (pending::<Result<(), &str>>().cleanup(|| async { log.push("clean") }), async { Err::<(), _>("failed") })
        });
        let group = group
            .when(|failure| {
                log.push("when");
                *failure.error == "failed"
            })
            .observe(|failure| {
                log.push("observe");
                seen += failure.index;
            })
            .backoff(|failure| {
                let restarts = failure.restarts;
                async move {
                    yield_now().await;
                    log.push(&format!("backoff {restarts}"));
                }
            })
            .grace(|| async {
                log.push("grace");
                pending::<()>().await
            })
            .cancel_when(async {
                log.push("signal");
                pending::<()>().await
            });
        let given_up = RestartError::LimitReached { restarts: 1, source: "failed" };
        assert_eq!(group.await, Ok(Err(given_up)));
        assert_eq!((made, seen), (2, 2));
        // A grace is polled before the children.
        log.expect("signal, make, observe, grace, clean, when, backoff 0, make, observe, grace, clean, when");
    });
}

/// As a child, and with closures that see the failure: its error has no lifetime in its type then, which would be erased
/// within the bounds on the closures.
#[test]
fn a_restart_with_borrowing_closures_in_a_group_in_a_spawned_task() {
    spawned(async {
        let shared = Shared::default();
        let log = &shared;
        let inner = |error: u8| {
            let group = restart(Limit::restarts(1), move || {
                log.push("make");
                [async move { Err::<(), _>(error) }.shield()]
            });
            group.when(|_| true).observe(|failure| log.push(&format!("observe {}", failure.error))).backoff(|failure| {
                let restarts = failure.restarts;
                async move { log.push(&format!("backoff {restarts}")) }
            })
        };
        let outer = gather((inner(7).map_err(RestartError::into_source), pending::<Result<(), u8>>()));
        assert_eq!(outer.await.map(drop), Err(7));
        log.expect("make, observe 7, backoff 0, make, observe 7");

        let string = restart(Limit::restarts(1), || {
            log.push("make");
            [async { Err::<(), _>(String::from("failed")) }]
        });
        let string = string.backoff(|failure| {
            log.push(failure.error);
            yield_now()
        });
        let [ended] = gather([string]).settle().await;
        assert_eq!(ended, Err(RestartError::LimitReached { restarts: 1, source: "failed".into() }));
        log.expect("make, failed, make");

        // Without such a closure it may have one.
        let text = restart(Limit::restarts(1), || {
            log.push("make");
            [async { Err::<(), _>("failed") }]
        });
        let [ended] = gather([text.grace(|| async { log.push("grace") })]).settle().await;
        assert_eq!(ended, Err(RestartError::LimitReached { restarts: 1, source: "failed" }));
        log.expect("make, make");
    });
}

/// Of each container, under each policy: the error of a child may be a reference, also one to what the task holds.
#[test]
fn errors_that_are_references_in_a_spawned_task() {
    spawned(async {
        let text = String::from("failed");
        let fails = async || {
            yield_now().await;
            Err::<u8, &str>(&text)
        };
        macro_rules! each_policy {
            ($children:expr) => {
                assert_eq!(gather($children).await.map(drop), Err("failed"));
                assert_eq!(gather($children).any().await.map_err(drop), Err(()));
                assert_eq!(gather($children).race().await, Err("failed"));
                assert_eq!(gather($children).settle().await.map(|ended| ended), [Err("failed"); 2]);
                assert_eq!(gather($children).report().await.failed().count(), 1);
                assert!(gather($children).cancel_when(yield_now()).await.is_err());
                assert_eq!(gather([gather($children)]).await.map(drop), Err("failed"));
                let given_up = restart(Limit::restarts(1), || $children).await.unwrap_err();
                assert_eq!(given_up.into_source(), "failed");
            };
        }
        trait Two<T> {
            fn map<U>(self, map: impl Fn(T) -> U) -> [U; 2];
        }
        impl<T> Two<T> for (T, T) {
            fn map<U>(self, map: impl Fn(T) -> U) -> [U; 2] {
                [map(self.0), map(self.1)]
            }
        }
        impl<T> Two<T> for Vec<T> {
            fn map<U>(self, map: impl Fn(T) -> U) -> [U; 2] {
                self.into_iter().map(map).collect::<Vec<_>>().try_into().ok().unwrap()
            }
        }
        each_policy!((fails(), fails()));
        each_policy!([fails(), fails()]);
        each_policy!(vec![fails(), fails()]);
        each_policy!(vec![fails(), fails()].into_boxed_slice());
    });
}

fn pair() -> impl Future<Output = Result<(u8, u8), &'static str>> + Send {
    gather((ready(Ok(1)), ready(Ok(2)))).into_future()
}

fn pages(count: u8) -> impl Future<Output = Vec<u8>> + Send + Unpin {
    gather((0..count).map(|page| async move { page }).collect::<Vec<_>>()).settle().into_future()
}

fn supervised<'a>(log: &'a Shared) -> impl Future<Output = Result<[u8; 1], RestartError<u8>>> + Send + 'a {
    restart(Limit::unlimited(), || {
        log.push("make");
        [ready(Ok(1))]
    })
    .backoff(|_| async { log.push("backoff") })
    .into_future()
}

async fn awaited(log: &Shared) -> Result<((u8, u8), [u8; 1]), &'static str> {
    let supervised = restart(Limit::unlimited(), || {
        log.push("make");
        [ready(Ok(3))]
    });
    let supervised = supervised.map_err(|given_up: RestartError<&'static str>| given_up.into_source());
    gather((gather((ready(Ok(1)), ready(Ok(2)))), supervised)).await
}

#[test]
fn functions_return_a_future_that_is_send() {
    fn assert_send<T: Send>(future: T) -> T {
        future
    }
    assert_eq!(pollster::block_on(assert_send(pair())), Ok((1, 2)));
    assert_eq!(pollster::block_on(assert_send(pages(3))), [0, 1, 2]);
    let log = Shared::default();
    assert_eq!(pollster::block_on(assert_send(supervised(&log))), Ok([1]));
    assert_eq!(pollster::block_on(assert_send(awaited(&log))), Ok(((1, 2), [3])));
    log.expect("make, make");
    let boxed: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(pair());
    assert_eq!(pollster::block_on(boxed), Ok((1, 2)));
}

async fn all<I: IntoChildren<FailFast>>(children: I) -> <Group<I> as IntoFuture>::Output {
    gather(children).await
}

fn settled<I: IntoChildren<Settle>>(children: I) -> GatherOf<I, Settle> {
    gather(children).settle().into_future()
}

#[test]
fn helpers_are_generic_over_the_container() {
    let one = || ready(Ok::<_, ()>(1));
    assert_eq!(pollster::block_on(all((one(), ready(Ok("two"))))), Ok((1, "two")));
    assert_eq!(pollster::block_on(all([one(), one()])), Ok([1, 1]));
    assert_eq!(pollster::block_on(all(vec![one(), one()])), Ok(vec![1, 1]));
    assert_eq!(pollster::block_on(all(vec![one()].into_boxed_slice())), Ok(vec![1]));
    assert_eq!(pollster::block_on(all((gather([one()]), one().shield()))), Ok(([1], 1)));
    assert_eq!(pollster::block_on(settled((ready('a'), one()))), ('a', Ok(1)));
    assert_eq!(pollster::block_on(settled(vec![ready('a')])), ['a']);
}

/// A hand-written future that holds one.
struct Downloads<F: Future> {
    running: GatherOf<Vec<F>, Settle>,
    polls: usize,
}

impl<F: Future> Downloads<F> {
    fn new(pages: Vec<F>) -> Self {
        Downloads { running: gather(pages).settle().into_future(), polls: 0 }
    }
}

impl<F: Future> Future for Downloads<F> {
    type Output = (Vec<F::Output>, usize);

    // Nothing in it is pinned: the gather of a `Vec` is `Unpin`.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.polls += 1;
        let polls = self.polls;
        Pin::new(&mut self.running).poll(cx).map(|outputs| (outputs, polls))
    }
}

#[test]
fn a_gather_is_the_field_of_a_struct() {
    let page = async |page: u8| {
        yield_now().await;
        page
    };
    let downloads = Downloads::new(vec![page(1), page(2)]);
    assert_eq!(pollster::block_on(downloads), (vec![1, 2], 2));

    struct Pair {
        running: Option<GatherOf<(Ready<Output>, Ready<Output>)>>,
        waiting: Group<[Ready<Output>; 1]>,
    }
    let mut pair = Pair { running: None, waiting: gather([ready(Ok(3))]) };
    pair.running = Some(gather((ready(Ok(1)), ready(Ok(2)))).into_future());
    assert_eq!(pollster::block_on(pair.running.unwrap()), Ok((1, 2)));
    assert_eq!(pollster::block_on(pair.waiting), Ok([3]));
}

/// A group goes where an `IntoFuture` is wanted, its future where a `Future` is.
#[test]
fn a_group_is_awaited_wherever_a_future_is() {
    let calm = || gather([ready(Ok::<_, &str>(1))]);
    let endless = || gather([pending::<Result<u8, &str>>()]);
    assert_eq!(pollster::block_on(calm()), Ok([1]));
    assert_eq!(pollster::block_on(restart(Limit::unlimited(), || [ready(Ok::<_, &str>(1))])), Ok([1]));
    assert_eq!(futures_executor::block_on(calm().into_future()), Ok([1]));
    assert_eq!(smol::block_on(calm().into_future()), Ok([1]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        assert_eq!(calm().await, Ok([1]));
        let second = Duration::from_secs(1);
        assert_eq!(tokio::time::timeout(second, calm()).await, Ok(Ok([1])));
        assert!(tokio::time::timeout(second, endless()).await.is_err());
        assert!(tokio::time::timeout(second, endless().cancel_when(tokio::time::sleep(second / 2))).await.is_ok());
        let first = tokio::select! {
            ended = calm() => ended.is_ok(),
            _ = endless() => false,
        };
        assert!(first);
        // Polled on, by reference.
        let mut kept = pin!(
            gather([async {
                tokio::time::sleep(second).await;
                Ok::<_, &str>(2)
            }])
            .into_future()
        );
        for _ in 0..2 {
            tokio::select! {
                biased;
                _ = &mut kept => panic!("it takes a second"),
                _ = tokio::time::sleep(second / 4) => {}
            }
        }
        assert_eq!(tokio::time::timeout(second, &mut kept).await, Ok(Ok([2])));
        let (one, both) = tokio::join!(calm(), gather((ready(1), ready(2))).settle());
        assert_eq!((one, both), (Ok([1]), (1, 2)));
        assert_eq!(tokio::try_join!(calm(), gather((ready(Ok(2)), ready(Ok(3))))), Ok(([1], (2, 3))));

        let mut set = tokio::task::JoinSet::new();
        for number in 0..3 {
            let group = gather(vec![ready(Ok::<_, &str>(number)), ready(Ok(10))]);
            set.spawn(group.into_future());
        }
        let mut ended = set.join_all().await;
        ended.sort();
        assert_eq!(ended, [Ok(vec![0, 10]), Ok(vec![1, 10]), Ok(vec![2, 10])]);
        assert_eq!(tokio::spawn(calm().into_future()).await.unwrap(), Ok([1]));
        let group = restart(Limit::unlimited(), || [ready(Ok::<_, u8>(1))]);
        assert_eq!(tokio::spawn(group.into_future()).await.unwrap(), Ok([1]));
    });
}

/// Wherever it lies, and however deep, it tells its own children when it is cancelled, and is waited for.
#[test]
fn a_group_is_a_child_of_every_container_and_of_a_restart() {
    let world = World::new();
    let (log, gates, fire) = (&world.log, [Gate::<Output>::new(), Gate::new()], Gate::new());
    let group = |name, gate| {
        gather([Probe::new(name, log, gate).on_cancel(|probe| probe.log.push(format!("tell {}", probe.name)))])
    };
    let (a, b) = (|| group("a", &gates[0]), || group("b", &gates[1]));
    macro_rules! assert_drained {
        ($($outer:expr;)*) => {$(
            let _at = kit::At(stringify!($outer).into());
            let mut outer = pin!($outer.cancel_when(fire.clone().wait()).into_future());
            assert!(world.poll(outer.as_mut()).is_pending());
            log.expect("");
            fire.open(());
            assert!(world.poll(outer.as_mut()).is_pending());
            log.expect("tell a, tell b");
            gates[1].open(Ok(1));
            assert!(world.poll(outer.as_mut()).is_pending());
            log.expect("end b, drop b");
            gates[0].open(Err("late"));
            assert_eq!(world.poll(outer.as_mut()).map_ok(drop), Poll::Ready(Err(Cancelled)));
            log.expect("end a, drop a");
        )*};
    }
    assert_drained! {
        gather((a(), b()));
        gather([a(), b()]);
        gather(vec![a(), b()]);
        gather(vec![a(), b()].into_boxed_slice());
        [a(), b()].into_iter().collect::<Group<_>>();
        gather([a(), b()]).settle();
        gather(vec![a(), b()]).race();
        gather([gather([gather([a()])]), gather([gather([b()])])]).any();
        gather([gather((a().map(|ended| ended), b().map_err(|error| error)))]);
        restart(Limit::unlimited(), || (a(), b()));
        restart(Limit::unlimited(), || [a(), b()]);
        restart(Limit::unlimited(), || vec![gather([a(), b()])]);
        gather([restart(Limit::unlimited(), || (a(), gather([b()])))]);
        restart(Limit::unlimited(), || [restart(Limit::unlimited(), || [a(), b()])]);
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
        assert_eq!(size_of_val(&gather(four())), 516);
        assert_eq!(size_of_val(&gather(four()).into_future()), 525);
        assert_eq!(size_of_val(&gather([child_129(), child_129(), child_129(), child_129()]).into_future()), 536);
        assert_eq!(size_of_val(&gather(four()).settle().into_future()), 525);
        // What a hook and the order of cancelling take: only where they are set.
        assert!(size_of_val(&gather(four()).on_cancel(|_| ()).into_future()) <= 544);
        assert!(size_of_val(&gather(four()).cancel_in_reverse().into_future()) <= 544);
        let finished = child_129().finally(|| ready(()));
        assert!(size_of_val(&finished) <= size_of_val(&child_129().cleanup(|| ready(()))) + 8);
        // As a child it takes at most a pointer more.
        assert!(size_of_val(&gather(four()).into_child()) <= 536);

        let asyncs = (async_129(), async_129(), async_129(), async_129());
        assert_eq!(size_of_val(&asyncs), 516);
        assert_eq!(size_of_val(&gather(asyncs).into_future()), 525);

        assert_eq!(size_of_val(&gather(()).into_future()), 5);
        let two = gather((ready(Ok::<u64, u64>(1)), pending::<Result<u64, u64>>()));
        assert_eq!(size_of_val(&two.into_future()), 40);
        assert_eq!(size_of::<GatherOf<Vec<Child129>>>(), 136);
        // Outputs and errors of any size lie outside of a `Vec`'s gather.
        type Megabytes = Ready<Result<[u8; 1 << 20], [u8; 1 << 20]>>;
        assert_eq!(size_of::<GatherOf<Vec<Megabytes>>>(), 136);
        assert_eq!(size_of::<GatherOf<Vec<Megabytes>, gather::policy::Race>>(), 136);

        // A closure and what it makes share a place, and so do a signal and the output that comes after it.
        let captured = [0_u64; 4];
        let mapped = ready(1_u8).shield().map(move |one| captured[usize::from(one)]);
        assert_eq!(size_of_val(&mapped), size_of_val(&captured) + 8 + 8 + 8);
        assert!(size_of_val(&ready(Ok::<(), u8>(())).shield().map(|ended| ended)) <= 16);
        assert!(size_of_val(&child_129().cancel_when(pending::<()>())) <= 132);
        assert_eq!(size_of_val(&EitherChild::<_, Ready<Result<u8, u8>>>::Left(child_129())), 130);
    }
}
