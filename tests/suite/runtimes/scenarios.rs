//! What every executor is put through: written once, run on each of them in each container.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::abortable;
use gather::{BoxChild, CancelExt, Cancelled, Cause, Child, Limit, Outcome, RestartError, from_iter, gather, restart};

#[cfg(not(target_family = "wasm"))]
use crate::kit::At;
use crate::kit::{self, Alive, Flatten, yield_now};
pub use crate::kit::{CONTAINERS, Container};

/// A future that does something, on any thread.
pub type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An executor as the scenarios see it. One whose timer must stay on its thread wraps it in a `SendWrapper`, which
/// panics where it is polled or dropped on another.
pub trait Executor: Sync {
    /// The executor's own timer, where it has one.
    fn sleep(&self, time: Duration) -> Job {
        Box::pin(futures_timer::Delay::new(time))
    }

    /// Runs a job in a task of its own; without tasks, on a thread of its own.
    fn spawn(&self, job: Job) {
        std::thread::spawn(|| pollster::block_on(job));
    }
}

pub type On = &'static dyn Executor;

type Scenario = fn(On, Container) -> Job;

macro_rules! scenarios {
    ($($(#[$attribute:meta])* $name:ident,)*) => {
        /// All of them, by name.
        pub const SCENARIOS: &[(&str, Scenario)] = &[
            $($(#[$attribute])* (stringify!($name), |on, container| Box::pin($name(on, container))),)*
        ];
    };
}

scenarios! {
    values,
    handshake,
    told,
    settle,
    any,
    race,
    concurrency,
    cancelled_from_outside,
    grace_over,
    nested,
    dropped,
    yielding,
    many,
    self_borrowing,
    restarted,
    backoff_cancelled,
    tasks,
    tasks_restarted,
    #[cfg(not(target_family = "wasm"))]
    woken_by_threads,
}

/// Runs every scenario to its end.
#[cfg(not(target_family = "wasm"))]
pub fn run(on: On, containers: &[Container], mut block_on: impl FnMut(Job)) {
    for (name, scenario) in SCENARIOS {
        for &container in containers {
            let _at = At(format!("{name}, {container:?}"));
            let ended = std::sync::Arc::new(AtomicBool::new(false));
            let job = scenario(on, container);
            block_on(Box::pin({
                let ended = ended.clone();
                async move {
                    job.await;
                    ended.store(true, Ordering::SeqCst);
                }
            }));
            assert!(ended.load(Ordering::SeqCst), "the executor returned before its future was ready");
        }
        println!("{name}: {containers:?}");
    }
}

/// Runs every scenario to its end, where nothing can be waited for but in a future.
#[cfg(target_family = "wasm")]
pub async fn run(on: On, containers: &[Container], print: impl Fn(&str)) {
    for (name, scenario) in SCENARIOS {
        for &container in containers {
            scenario(on, container).await;
        }
        print(&format!("{name}: {containers:?}"));
    }
}

/// Evaluates an expression, in which `children!` makes the container of them. Unlike with the kit's `hold_in`, those of
/// a tuple keep their different types.
macro_rules! children_in {
    ($container:expr, $body:expr) => {
        match $container {
            Container::Tuple => {
                use tuple as children;
                $body
            }
            Container::Array => {
                use array as children;
                $body
            }
            Container::Vec => {
                use vector as children;
                $body
            }
            Container::BoxedSlice => {
                use boxed_slice as children;
                $body
            }
            Container::Source => {
                use source as children;
                $body
            }
        }
    };
}

macro_rules! tuple {
    ($($child:expr),*) => { ($($child,)*) };
}

macro_rules! array {
    ($($child:expr),*) => { [$(BoxChild::new($child)),*] };
}

macro_rules! vector {
    ($($child:expr),*) => { vec![$(BoxChild::new($child)),*] };
}

macro_rules! boxed_slice {
    ($($child:expr),*) => { vec![$(BoxChild::new($child)),*].into_boxed_slice() };
}

macro_rules! source {
    ($($child:expr),*) => { from_iter([$(BoxChild::new($child)),*]) };
}

const MOMENT: Duration = Duration::from_millis(1);

type Ended = Result<u32, &'static str>;

/// Never ends; alive from its first poll on.
async fn forever(alive: &Alive) -> Ended {
    let _inside = alive.enter();
    pending().await
}

/// A signal, by the executor's timer. It is not ready in the first poll, however late that is: no child would start.
async fn soon(on: On) {
    yield_now().await;
    on.sleep(3 * MOMENT).await;
}

/// Every value, in the order of the children, whichever ends first.
async fn values(on: On, container: Container) {
    let after = async |moments, value| {
        on.sleep(moments * MOMENT).await;
        Ended::Ok(value)
    };
    let (slow, fast, ready) = (after(3, 1), after(1, 2), std::future::ready(Ok(3)));
    let result = children_in!(container, gather(children![slow, fast, ready]).await.flatten());
    assert_eq!(result, Ok(vec![1, 2, 3]));
}

/// One fails beside a plain sibling and one that cleans up.
async fn handshake(on: On, container: Container) {
    let alive = Alive::default();
    let cleaned = AtomicBool::new(false);
    let plain = forever(&alive);
    let cleaning = forever(&alive).cleanup(|| async {
        assert_eq!(alive.count(), 0, "the plain sibling is gone, and the work that is cleaned up after");
        on.sleep(MOMENT).await;
        on.sleep(MOMENT).await;
        cleaned.store(true, Ordering::SeqCst);
    });
    let failing = async {
        on.sleep(MOMENT).await;
        assert_eq!(alive.count(), 2);
        Err("failed")
    };
    let result = children_in!(container, gather(children![plain, cleaning, failing]).await.flatten());
    assert_eq!(result, Err("failed"));
    assert!(cleaned.load(Ordering::SeqCst), "its clean-up has ended");
    assert_eq!(alive.count(), 0);
}

/// One fails beside one that goes on until it is told, and one that is not to be disturbed. Nothing is lost.
async fn told(on: On, container: Container) {
    let alive = Alive::default();
    let stop = AtomicBool::new(false);
    let told = async {
        let _inside = alive.enter();
        while !stop.load(Ordering::SeqCst) {
            on.sleep(MOMENT).await;
        }
        Ended::Ok(1)
    }
    .on_cancel(|_| stop.store(true, Ordering::SeqCst));
    let shielded = async {
        let _inside = alive.enter();
        while !stop.load(Ordering::SeqCst) {
            on.sleep(MOMENT).await;
        }
        on.sleep(MOMENT).await;
        Ended::Err("late")
    }
    .shield();
    let failing = async {
        on.sleep(MOMENT).await;
        Ended::Err("failed")
    };
    let (cause, outcomes) = children_in!(container, {
        let report = gather(children![told, shielded, failing]).report().await;
        (report.cause, report.outcomes.flatten())
    });
    assert_eq!(cause, Cause::Failed(2));
    let late = Outcome::Drained(Some(Err("late")));
    assert_eq!(outcomes, [Outcome::Drained(Some(Ok(1))), late, Outcome::Failed("failed")]);
    assert_eq!(alive.count(), 0);
}

/// Each output in its place; a failure cancels no sibling.
async fn settle(on: On, container: Container) {
    let failing = async { Ended::Err("failed") };
    let slow = async {
        on.sleep(MOMENT).await;
        on.sleep(MOMENT).await;
        Ok(1)
    };
    let fast = async {
        on.sleep(MOMENT).await;
        Ok(2)
    };
    let outputs = children_in!(container, gather(children![failing, slow, fast]).settle().await.flatten());
    assert_eq!(outputs, [Err("failed"), Ok(1), Ok(2)]);
}

/// The first value; a failure before it ends nothing.
async fn any(on: On, container: Container) {
    let alive = Alive::default();
    let cleaned = AtomicBool::new(false);
    let cleaning = forever(&alive).cleanup(|| async {
        on.sleep(MOMENT).await;
        cleaned.store(true, Ordering::SeqCst);
    });
    let failing = async { Err("failed") };
    let winning = async {
        on.sleep(MOMENT).await;
        Ok(3)
    };
    let won = children_in!(container, {
        let any = gather(children![cleaning, failing, winning]).any().await;
        any.ok()
    });
    assert_eq!(won, Some(3));
    assert!(cleaned.load(Ordering::SeqCst));
    assert_eq!(alive.count(), 0);
}

/// The first to end, here with an error.
async fn race(on: On, container: Container) {
    let alive = Alive::default();
    let cleaned = AtomicBool::new(false);
    let plain = forever(&alive);
    let cleaning = forever(&alive).cleanup(|| async {
        on.sleep(MOMENT).await;
        cleaned.store(true, Ordering::SeqCst);
    });
    let winning = async {
        on.sleep(MOMENT).await;
        Err("first")
    };
    let won = children_in!(container, gather(children![plain, cleaning, winning]).race().await);
    assert_eq!(won, Err("first"));
    assert!(cleaned.load(Ordering::SeqCst));
    assert_eq!(alive.count(), 0);
}

/// One place for three.
async fn concurrency(on: On, container: Container) {
    let alive = Alive::default();
    let alone = async |value| {
        let _inside = alive.enter();
        on.sleep(MOMENT).await;
        assert_eq!(alive.count(), 1, "the others wait for the place");
        Ended::Ok(value)
    };
    let (first, second, third) = (alone(1), alone(2), alone(3));
    let result = children_in!(container, gather(children![first, second, third]).concurrency(1).await.flatten());
    assert_eq!(result, Ok(vec![1, 2, 3]));
    assert_eq!(alive.count(), 0);
}

/// The signal is the executor's timer.
async fn cancelled_from_outside(on: On, container: Container) {
    let alive = Alive::default();
    let cleaned = AtomicUsize::new(0);
    let plain = async {
        let _inside = alive.enter();
        loop {
            on.sleep(MOMENT).await;
        }
    };
    let cleaning = || {
        forever(&alive).cleanup(|| async {
            on.sleep(MOMENT).await;
            cleaned.fetch_add(1, Ordering::SeqCst);
        })
    };
    let (second, third) = (cleaning(), cleaning());
    let result = children_in!(container, gather(children![plain, second, third]).cancel_when(soon(on)).await.flatten());
    assert_eq!(result, Err(Cancelled));
    assert_eq!(cleaned.load(Ordering::SeqCst), 2);
    assert_eq!(alive.count(), 0);
}

/// A deaf one is dropped when the grace is over, by the executor's timer.
async fn grace_over(on: On, container: Container) {
    let alive = Alive::default();
    let deaf = async {
        let _inside = alive.enter();
        loop {
            on.sleep(MOMENT).await;
        }
    }
    .on_cancel(|_| ());
    let cleaning = forever(&alive).cleanup(async || {
        let _inside = alive.enter();
        pending::<()>().await
    });
    let failing = async {
        on.sleep(MOMENT).await;
        Ended::Err("failed")
    };
    let outcomes = children_in!(container, {
        let group = gather(children![deaf, cleaning, failing]).grace(|| {
            assert_eq!(alive.count(), 1, "both were told: one is deaf, the other's work is gone");
            on.sleep(3 * MOMENT)
        });
        group.report().await.outcomes.flatten()
    });
    assert_eq!(outcomes, [Outcome::Abandoned, Outcome::Abandoned, Outcome::Failed("failed")]);
    assert_eq!(alive.count(), 0);
}

/// A group in the group is cancelled by its own handshake.
async fn nested(on: On, container: Container) {
    let alive = Alive::default();
    let cleaned = AtomicUsize::new(0);
    let cleaning = || {
        forever(&alive).cleanup(|| async {
            on.sleep(MOMENT).await;
            cleaned.fetch_add(1, Ordering::SeqCst);
        })
    };
    let (first, second, third) = (cleaning(), cleaning(), cleaning());
    let failing = async {
        on.sleep(MOMENT).await;
        Err("failed")
    };
    let result = children_in!(container, {
        let group = gather(children![first, second]).map(|_| Ended::Ok(0));
        let innermost = gather(children![third]);
        let twofold = gather(children![innermost]).map(|_| Ended::Ok(0));
        gather(children![group, twofold, failing]).await.flatten()
    });
    assert_eq!(result, Err("failed"));
    assert_eq!(cleaned.load(Ordering::SeqCst), 3);
    assert_eq!(alive.count(), 0);
}

/// Dropped while it is pending: its children are dropped at once, and no clean-up runs.
async fn dropped(on: On, container: Container) {
    let alive = Alive::default();
    let cleaning = || forever(&alive).cleanup(|| async { unreachable!("dropping is not draining") });
    let (first, second, third) = (cleaning(), forever(&alive), cleaning());
    let timeout = async {
        on.sleep(MOMENT).await;
        assert_eq!(alive.count(), 3);
        Err("timeout")
    };
    let result = children_in!(container, {
        let group = async { gather(children![first, second, third]).await.flatten() };
        gather((group, timeout)).race().await
    });
    assert_eq!(result, Err("timeout"));
    assert_eq!(alive.count(), 0);
}

/// Woken while they are polled, again and again, also in the drain.
async fn yielding(_: On, container: Container) {
    let alive = Alive::default();
    let stop = AtomicBool::new(false);
    let told = async {
        let _inside = alive.enter();
        while !stop.load(Ordering::SeqCst) {
            yield_now().await;
        }
        for _ in 0..100 {
            yield_now().await;
        }
        Ok(0)
    }
    .on_cancel(|_| stop.store(true, Ordering::SeqCst));
    let plain = async {
        let _inside = alive.enter();
        loop {
            yield_now().await;
        }
    };
    let failing = async {
        for _ in 0..100 {
            yield_now().await;
        }
        Ended::Err("failed")
    };
    let result = children_in!(container, gather(children![told, plain, failing]).await.flatten());
    assert_eq!(result, Err("failed"));
    assert_eq!(alive.count(), 0);
}

/// More than the words of a `Vec`'s book-keeping hold: cancelled from outside, and deaf until the grace is over.
async fn many(on: On, container: Container) {
    let alive = Alive::default();
    let deaf = |_| {
        async {
            let _inside = alive.enter();
            loop {
                on.sleep(MOMENT).await;
            }
            #[allow(unreachable_code)]
            Ok::<(), ()>(())
        }
        .on_cancel(|_| ())
    };
    macro_rules! cancel {
        ($children:expr) => {
            gather($children).cancel_when(soon(on)).grace(|| on.sleep(MOMENT)).await.flatten()
        };
    }
    let result = match container {
        Container::Tuple => cancel!((deaf(0), deaf(1), deaf(2))),
        Container::Array => cancel!(std::array::from_fn::<_, 100, _>(deaf)),
        Container::Vec => cancel!((0..100).map(deaf).collect::<Vec<_>>()),
        Container::BoxedSlice => cancel!((0..100).map(deaf).collect::<Box<[_]>>()),
        Container::Source => cancel!(from_iter((0..100).map(deaf))),
    };
    assert_eq!(result, Err(Cancelled));
    assert_eq!(alive.count(), 0);
}

/// Children that hold references to locals of their own across each `await`, and so do their clean-ups and the signal.
async fn self_borrowing(_: On, container: Container) {
    let alive = Alive::default();
    let borrowing = |rounds, output: Ended| kit::borrowing(alive.clone(), rounds, output);
    in_every_way(container, &alive, borrowing).await;
    in_every_way(container, &alive, |rounds, output| borrowing(rounds, output).on_cancel(|_| ())).await;
    let cleanup = || kit::borrowing(alive.clone(), 2, ());
    in_every_way(container, &alive, |rounds, output| borrowing(rounds, output).cleanup(cleanup)).await;
    in_every_way(container, &alive, |rounds, output| borrowing(rounds, output).shield()).await;
    let mapped = |rounds, output| borrowing(rounds, output).on_cancel(|_| ()).map(|output| output);
    in_every_way(container, &alive, mapped).await;
}

/// They lie in the container itself, none is boxed.
async fn in_every_way<C, F>(container: Container, alive: &Alive, child: F)
where
    C: Child<Output = Ended> + Send,
    F: Fn(usize, Ended) -> C + Sync + Send,
{
    kit::hold_in!(container, (a b c), |hold| {
        let complete = || hold([child(3, Ok(1)), child(1, Ok(2)), child(2, Ok(3))]);
        let fail = || hold([child(6, Ok(1)), child(2, Err("failed")), child(6, Err("late"))]);
        assert_eq!(gather(complete()).await.flatten(), Ok(vec![1, 2, 3]));
        assert_eq!(gather(fail()).await.flatten(), Err("failed"));
        let signal = kit::borrowing(alive.clone(), 1, ());
        assert_eq!(gather(fail()).cancel_when(signal).await.flatten(), Err(Cancelled));
        let dropped = async { gather(fail()).await.map(|_| 0) };
        assert_eq!(gather((dropped, kit::borrowing(alive.clone(), 1, Ok(0)))).race().await, Ok(0));
        let nested = gather(fail()).map(|_| Ended::Ok(0));
        let sibling = kit::borrowing(alive.clone(), 1, Ended::Err("sibling"));
        assert_eq!(gather((nested, sibling)).await, Err("sibling"));
        let restarted = restart(Limit::restarts(2), fail).await.flatten();
        assert_eq!(restarted, Err(RestartError::LimitReached { restarts: 2, source: "failed" }));
        assert_eq!(alive.count(), 0);
    })
}

/// Never two generations at a time, with a delay between them.
async fn restarted(on: On, container: Container) {
    let alive = Alive::default();
    let backoffs = AtomicUsize::new(0);
    let make = || {
        assert_eq!(alive.count(), 0, "the old generation is gone");
        let cleaning = forever(&alive).cleanup(|| on.sleep(MOMENT));
        let failing = async {
            let _inside = alive.enter();
            on.sleep(MOMENT).await;
            Err("failed")
        };
        (forever(&alive), cleaning, failing)
    };
    let backoff = || {
        assert_eq!(alive.count(), 0);
        backoffs.fetch_add(1, Ordering::SeqCst);
        on.sleep(MOMENT)
    };
    let result = children_in!(container, {
        let group = restart(Limit::restarts(5), || {
            let (plain, cleaning, failing) = make();
            children![plain, cleaning, failing]
        });
        group.backoff(|_| backoff()).await.flatten()
    });
    assert_eq!(result, Err(RestartError::LimitReached { restarts: 5, source: "failed" }));
    assert_eq!(backoffs.load(Ordering::SeqCst), 5);
    assert_eq!(alive.count(), 0);
}

/// A signal ends also the delay between two generations.
async fn backoff_cancelled(on: On, container: Container) {
    let made = AtomicUsize::new(0);
    let make = || {
        made.fetch_add(1, Ordering::SeqCst);
        (std::future::ready(Ended::Err("failed")), pending(), pending())
    };
    let result = children_in!(container, {
        let group = restart(Limit::unlimited(), || {
            let (first, second, third) = make();
            children![first, second, third]
        });
        group.backoff(|_| pending::<()>()).cancel_when(soon(on)).await.map(|_| ())
    });
    assert_eq!(result, Err(Cancelled));
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

/// A task of the executor that goes on until it is aborted; as a child it is waited for until it is gone. It sleeps,
/// since monoio and the `ThreadPool` of futures run a task that wakes itself again before any other.
fn task(on: On, alive: &Alive) -> impl Child<Output = Ended> + Send + use<> {
    let inside = alive.enter();
    let (job, handle) = abortable(async move {
        let _inside = inside;
        loop {
            on.sleep(MOMENT).await;
        }
    });
    let (done, wait) = oneshot::channel();
    on.spawn(Box::pin(async move {
        let _: Result<(), _> = job.await;
        let _ = done.send("aborted");
    }));
    wait.on_cancel(move |_| handle.abort()).map(|sent| Err(sent.unwrap_or("the task is gone")))
}

/// Tasks of their own wake the children, and are waited for.
async fn tasks(on: On, container: Container) {
    let alive = Alive::default();
    let (done, wait) = oneshot::channel();
    on.spawn(Box::pin(async move {
        for _ in 0..10 {
            yield_now().await;
        }
        let _ = done.send("failed");
    }));
    let (first, second) = (task(on, &alive), task(on, &alive));
    let failing = async { Ended::Err(wait.await.unwrap()) };
    let outcomes = children_in!(container, {
        let report = gather(children![first, second, failing]).report().await;
        report.outcomes.flatten()
    });
    let aborted = Outcome::Drained(Some(Err("aborted")));
    assert_eq!(outcomes, [aborted, aborted, Outcome::Failed("failed")]);
    assert_eq!(alive.count(), 0, "the tasks are really gone");
}

/// No task of the old generation runs when the new one is made.
async fn tasks_restarted(on: On, container: Container) {
    let alive = Alive::default();
    let make = || {
        assert_eq!(alive.count(), 0, "the tasks of the old generation are gone");
        let failing = async {
            yield_now().await;
            Ended::Err("failed")
        };
        (task(on, &alive), failing, task(on, &alive))
    };
    let result = children_in!(container, {
        let group = restart(Limit::restarts(20), || {
            let (first, failing, last) = make();
            children![first, failing, last]
        });
        group.await.flatten()
    });
    assert_eq!(result, Err(RestartError::LimitReached { restarts: 20, source: "failed" }));
    assert_eq!(alive.count(), 0);
}

/// Every wake, of the children and in the drain, comes from another thread.
#[cfg(not(target_family = "wasm"))]
async fn woken_by_threads(_: On, container: Container) {
    let alive = Alive::default();
    let on_a_thread = || {
        let (done, wait) = oneshot::channel();
        std::thread::spawn(move || done.send(()));
        async move { wait.await.unwrap() }
    };
    let cleaned = AtomicBool::new(false);
    let cleaning = forever(&alive).cleanup(|| async {
        on_a_thread().await;
        cleaned.store(true, Ordering::SeqCst);
    });
    let shielded = async {
        let _inside = alive.enter();
        for _ in 0..20 {
            on_a_thread().await;
        }
        Ok(1)
    }
    .shield();
    let failing = async {
        for _ in 0..10 {
            on_a_thread().await;
        }
        Ended::Err("failed")
    };
    let result = children_in!(container, gather(children![cleaning, shielded, failing]).await.flatten());
    assert_eq!(result, Err("failed"));
    assert!(cleaned.load(Ordering::SeqCst));
    assert_eq!(alive.count(), 0);
}
