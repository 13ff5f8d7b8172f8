//! Under tokio's budget: a task gets 128 operations on tokio's resources in one poll, and every further one is pending.
//! A busy child uses up all of them in each poll. It must leave a turn to the signal, the grace and its siblings, and a
//! group must not take more and more polls for each child the more of them are ready at once.
//!
//! With a busy child the runtime is never idle, so a paused clock would stand still: most tests sleep for a real
//! millisecond. Nothing hangs; a busy child panics when it is polled too often.

#![cfg(feature = "alloc")]

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use gather::{
    CancelExt, Cancelled, Cause, Limit, LocalBoxChild as Child, Outcome, RestartError, from_iter, from_stream,
    gather as group, restart,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, advance, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

#[path = "suite/kit.rs"]
mod kit;

use kit::{
    Alive, Any, At, CONTAINERS, Container, FIXED, Flatten, Gate, Output, World, future_in, gather_in, hold_in, holding,
    in_container, yield_now,
};

const MILLISECOND: Duration = Duration::from_millis(1);
/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// More polls of a busy child, and more time for them, than any test needs.
const LIMIT: usize = 1000;
const TIME: Duration = Duration::from_secs(2);

/// Counts the polls of a busy child.
struct Polls(Cell<usize>, std::time::Instant);

impl Polls {
    fn new() -> Self {
        Polls(Cell::new(0), std::time::Instant::now())
    }

    fn add(&self) -> usize {
        let Polls(count, since) = self;
        count.set(count.get() + 1);
        assert!(count.get() < LIMIT || since.elapsed() < TIME, "nothing else had a turn in {} polls", count.get());
        count.get()
    }
}

/// Uses up the budget in every poll, until `on_poll`, which is given the count of polls, ends it.
async fn busy(mut on_poll: impl FnMut(usize) -> Option<Output>) -> Output {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let mut work = pin!(async {
        loop {
            sender.send(()).unwrap();
            receiver.recv().await;
        }
    });
    let polls = Polls::new();
    poll_fn(|cx| match on_poll(polls.add()) {
        Some(output) => Poll::Ready(output),
        None => work.as_mut().poll(cx),
    })
    .await
}

/// Fails after a millisecond.
async fn late() -> Output {
    sleep(MILLISECOND).await;
    Err("late")
}

fn runtimes() -> [(&'static str, Runtime); 2] {
    let (mut current, mut multi) = (Builder::new_current_thread(), Builder::new_multi_thread());
    [("current_thread", &mut current), ("multi_thread", multi.worker_threads(2))]
        .map(|(name, builder)| (name, builder.enable_all().build().unwrap()))
}

async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("hangs")
}

/// Runs a test on both runtimes, in every container, for each of three places.
fn in_each_cell(test: impl AsyncFn(Container, usize)) {
    for (name, runtime) in runtimes() {
        for container in CONTAINERS {
            for place in 0..3 {
                let _at = At(format!("{name}, {container:?}, place {place}"));
                runtime.block_on(in_time(test(container, place)));
            }
        }
    }
}

/// Moves the first child to this place, and the others with it.
fn rotated<T>(mut children: [T; 3], place: usize) -> [T; 3] {
    children.rotate_right(place);
    children
}

// The signal and the grace.

/// What a busy child does in its tenth poll, or later when it gets something to do.
type Fire = Rc<RefCell<Option<Box<dyn FnOnce()>>>>;

async fn firing(fire: Fire) -> Output {
    busy(|polls| {
        if polls >= 10 {
            if let Some(fire) = fire.take() {
                fire();
            }
        }
        None
    })
    .await
}

/// Something to wait for, and what brings it about.
struct Event {
    comes: Any<'static, ()>,
    fire: Fire,
}

impl Event {
    fn new<F: Future + 'static>(comes: F, fire: impl FnOnce() + 'static) -> Self {
        Event { comes: Box::pin(async { drop(comes.await) }), fire: Rc::new(RefCell::new(Some(Box::new(fire)))) }
    }

    /// Hands over what brings it about.
    fn by(self, fire: &Fire) -> Any<'static, ()> {
        fire.swap(&self.fire);
        self.comes
    }
}

/// As a signal, the event cancels a group whose busy child brings it about.
fn cancels(event: fn() -> Event) {
    in_each_cell(async |container, place| {
        let Event { comes, fire } = event();
        let children = rotated([Child::new(firing(fire)), Child::new(pending()), Child::new(pending())], place);
        assert_eq!(gather_in!(container, children, |gather| gather.cancel_when(comes)).await, Err(Cancelled));
    });
    in_each_cell(async |container, _| {
        let Event { comes, fire } = event();
        let alone = hold_in!(container, (a), |hold| kit::any(group(hold([firing(fire)])).cancel_when(comes)));
        assert_eq!(alone.await, Err(Cancelled));
    });
}

/// As a grace, it ends the drain of a busy child that is deaf, started before or not.
fn ends_a_drain(event: fn() -> Event) {
    in_each_cell(async |container, place| {
        let fire = Fire::default();
        let deaf = firing(fire.clone()).on_cancel(|_| ());
        let children = rotated([Child::new(deaf), Child::new(pending()), Child::new(ready(Err("failed")))], place);
        let all = gather_in!(container, children, |gather| gather.grace(|| event().by(&fire)));
        assert_eq!(all.await, Err("failed"));
    });
}

/// As a signal, it cancels a restart: a generation with a busy child, or a busy backoff.
fn cancels_a_restart(event: fn() -> Event) {
    in_each_cell(async |container, place| {
        let Event { comes, fire } = event();
        let make = || rotated([Child::new(firing(fire.clone())), Child::new(pending()), Child::new(pending())], place);
        let all = hold_in!(container, (a b c), |hold| {
            kit::any(restart(Limit::unlimited(), holding(make, hold)).cancel_when(comes))
        });
        assert_eq!(all.await, Err(Cancelled));

        let Event { comes, fire } = event();
        let failing = restart(Limit::unlimited(), || [ready(Err::<(), _>("failed"))]);
        assert_eq!(failing.backoff(|_| firing(fire.clone())).cancel_when(comes).await, Err(Cancelled));
    });
}

/// As a restart's grace, it ends the drain of each generation.
fn ends_each_drain(event: fn() -> Event) {
    in_each_cell(async |container, place| {
        let fire = Fire::default();
        let make = || {
            let deaf = firing(fire.clone()).on_cancel(|_| ());
            rotated([Child::new(deaf), Child::new(pending()), Child::new(ready(Err("failed")))], place)
        };
        let all = hold_in!(container, (a b c), |hold| {
            kit::any(restart(Limit::restarts(2), holding(make, hold)).grace(|| event().by(&fire)))
        });
        assert_eq!(all.await, Err(RestartError::LimitReached { restarts: 2, source: "failed" }));
    });
}

/// As the signal of a nested group, it cancels that one, with a busy child in the group and another beside it.
fn cancels_a_nested_group(event: fn() -> Event) {
    in_each_cell(async |container, place| {
        let Event { comes, fire } = event();
        let inner = rotated([Child::new(busy(|_| None)), Child::new(pending()), Child::new(pending())], place);
        let inner = in_container!(container, inner, |gather| {
            Child::new(gather.cancel_when(comes).map(|ended| ended.map_or(Err("cancelled"), |_| Ok(0))))
        });
        let children = rotated([Child::new(firing(fire)), inner, Child::new(pending())], place);
        assert_eq!(gather_in!(container, children, |gather| gather).await, Err("cancelled"));
    });
}

macro_rules! events {
    ($($name:ident: $event:expr;)+) => {$(
        mod $name {
            use super::*;

            events! { $event => cancels ends_a_drain cancels_a_restart ends_each_drain cancels_a_nested_group }
        }
    )+};
    ($event:expr => $($test:ident)+) => {$(
        #[test]
        fn $test() {
            super::$test(|| $event);
        }
    )+};
}

events! {
    a_sleep: Event::new(sleep(MILLISECOND), || ());
    a_oneshot: {
        let (sender, receiver) = oneshot::channel();
        Event::new(receiver, || sender.send(()).unwrap())
    };
    a_watch: {
        let (sender, mut receiver) = watch::channel(());
        Event::new(async move { receiver.changed().await.unwrap() }, move || sender.send(()).unwrap())
    };
    a_message: {
        let (sender, mut receiver) = mpsc::channel(1);
        Event::new(async move { receiver.recv().await.unwrap() }, move || sender.try_send(()).unwrap())
    };
    a_task: {
        let (sender, receiver) = oneshot::channel();
        Event::new(tokio::spawn(receiver), || sender.send(()).unwrap())
    };
}

/// One test, so that none of them sees the signal of another.
#[cfg(unix)]
#[test]
fn signals_of_the_process() {
    use rustix::process::{Signal, getpid, kill_process};
    use tokio::signal::ctrl_c;
    use tokio::signal::unix::{SignalKind, signal};

    let interrupt = || Event::new(ctrl_c(), || kill_process(getpid(), Signal::INT).unwrap());
    let terminate = || {
        let mut terminated = signal(SignalKind::terminate()).unwrap();
        Event::new(async move { terminated.recv().await }, || kill_process(getpid(), Signal::TERM).unwrap())
    };
    for event in [interrupt, terminate as fn() -> Event] {
        for test in [cancels, ends_a_drain, cancels_a_restart, ends_each_drain, cancels_a_nested_group] {
            test(event);
        }
    }
}

/// A worker on a queue that two threads keep full.
async fn worker() -> Output {
    let (sender, mut queue) = mpsc::channel(4096);
    for _ in 0..2 {
        let sender = sender.clone();
        thread::spawn(move || while !matches!(sender.try_send(()), Err(TrySendError::Closed(()))) {});
    }
    while sender.capacity() > 0 {
        thread::yield_now();
    }
    let mut work = pin!(async {
        while queue.recv().await.is_some() {
            std::hint::black_box((0..500).map(std::hint::black_box).sum::<u32>());
        }
    });
    let polls = Polls::new();
    poll_fn(|cx| {
        polls.add();
        work.as_mut().poll(cx).map(|()| unreachable!("a sender is here"))
    })
    .await
}

#[tokio::test]
async fn a_worker_on_a_full_queue_is_cancelled() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let alone = hold_in!(container, (a), |hold| kit::any(group(hold([worker()])).cancel_when(sleep(MILLISECOND))));
        assert_eq!(alone.await, Err(Cancelled));
    }
}

#[tokio::test]
async fn a_heartbeat_goes_on_beside_a_worker_on_a_full_queue() {
    for container in CONTAINERS {
        for place in 0..3 {
            let _at = At(format!("{container:?}, place {place}"));
            let heartbeat = async {
                let mut ticks = interval(MILLISECOND);
                for _ in 0..20 {
                    ticks.tick().await;
                }
                Err("stopped")
            };
            let children = rotated([Child::new(worker()), Child::new(heartbeat), Child::new(pending())], place);
            assert_eq!(gather_in!(container, children, |gather| gather).await, Err("stopped"));
        }
    }
}

// Fairness.

#[test]
fn a_sibling_has_its_turn_under_every_policy() {
    for case in ["fail-fast", "settle", "settle, cancelled", "any", "race", "report"] {
        let _at = At(case.into());
        in_each_cell(async |container, place| {
            let (told, third, stop) = (Cell::new(false), Gate::new(), Gate::new());
            let late = async {
                let late = late().await;
                if case == "settle, cancelled" {
                    stop.open(());
                } else {
                    told.set(true);
                    third.open(Ok(2));
                }
                if case == "any" { Ok(7) } else { late }
            };
            let busy = busy(|_| told.get().then_some(Ok(1)));
            let children = rotated([Child::new(busy), Child::new(late), Child::new(third.clone().wait())], place);
            match case {
                "fail-fast" => assert_eq!(gather_in!(container, children, |gather| gather).await, Err("late")),
                "settle" => {
                    let all = gather_in!(container, children, |gather| gather.settle());
                    assert_eq!(all.await, rotated([Ok(1), Err("late"), Ok(2)], place));
                }
                "settle, cancelled" => {
                    let all =
                        gather_in!(container, children, |gather| gather.settle().cancel_when(stop.clone().wait()));
                    assert_eq!(all.await, Err(Cancelled));
                }
                "any" => {
                    let all = future_in!(container, children, |gather| async { gather.any().await.ok() });
                    assert_eq!(all.await, Some(7));
                }
                "race" => assert_eq!(future_in!(container, children, |gather| gather.race()).await, Err("late")),
                _ => {
                    let all = future_in!(container, children, |gather| async { gather.report().await.cause });
                    assert_eq!(all.await, Cause::Failed((place + 1) % 3));
                }
            }
        });
    }
}

#[test]
fn a_sibling_has_its_turn_in_a_drain() {
    in_each_cell(async |container, place| {
        for graced in [false, true] {
            let _at = At(format!("graced: {graced}"));
            let cleaned = Cell::new(false);
            let told = busy(|_| cleaned.get().then_some(Ok(1))).on_cancel(|_| ());
            let cleanup = pending().cleanup(|| async {
                sleep(MILLISECOND).await;
                cleaned.set(true);
            });
            let failing = async {
                yield_now().await; // all have started
                Err("failed")
            };
            let children = rotated([Child::new(told), Child::new(cleanup), Child::new(failing)], place);
            let all = match graced {
                false => future_in!(container, children, |gather| outcomes(gather.report())),
                true => future_in!(container, children, |gather| outcomes(gather.grace(|| sleep(HOUR)).report())),
            };
            let expected = [Outcome::Drained(Some(Ok(1))), Outcome::Drained(None), Outcome::Failed("failed")];
            assert_eq!(all.await, rotated(expected, place));
        }
    });
}

async fn outcomes<O: Flatten>(report: impl IntoFuture<Output = gather::Report<O>>) -> O::Flat {
    report.await.outcomes.flatten()
}

#[test]
fn a_sibling_has_its_turn_in_each_generation() {
    in_each_cell(async |container, place| {
        let make = || rotated([Child::new(busy(|_| None)), Child::new(late()), Child::new(pending())], place);
        let all = hold_in!(container, (a b c), |hold| kit::any(restart(Limit::restarts(2), holding(make, hold))));
        assert_eq!(all.await, Err(RestartError::LimitReached { restarts: 2, source: "late" }));
    });
}

/// More of them than are polled in one pass.
#[test]
fn one_among_many_busy_ones_has_its_turn() {
    /// Puts it among as many busy ones as there must be; their polls are counted together.
    fn among<'a>(count: usize, place: usize, one: Child<'a, Output>) -> Vec<Child<'a, Output>> {
        let polls = Rc::new(Polls::new());
        let others = (1..count).map(|_| {
            let polls = polls.clone();
            let counted = move |_| {
                polls.add();
                None
            };
            Child::new(busy(counted).on_cancel(|_| ()))
        });
        let mut all: Vec<_> = others.collect();
        all.insert(place, one);
        all
    }

    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for count in [2, 31, 32, 33, 34, 40, 64, 65, 96, 100, 128] {
        for place in [0, 1, count / 3, count / 2, count - 1] {
            let _at = At(format!("{place} of {count}"));
            let children = among(count, place, Child::new(late()));
            assert_eq!(runtime.block_on(group(children).grace(|| ready(())).into_future()), Err("late"));

            let (sender, cleaned) = oneshot::channel();
            let cleanup = pending().cleanup(|| async {
                sleep(MILLISECOND).await;
                sender.send(()).unwrap();
            });
            let mut children = among(count, place, Child::new(cleanup));
            children.push(Child::new(ready(Err("failed"))));
            assert_eq!(runtime.block_on(group(children).grace(|| cleaned).into_future()), Err("failed"));
        }
    }
}

/// The busy child moves the clock, by a tenth of a beat in each poll.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_keeps_its_beat() {
    const BEATS: usize = 50;

    for container in CONTAINERS {
        for place in 0..3 {
            let _at = At(format!("{container:?}, place {place}"));
            let (polls, beats, latest) = (Cell::new(0), Cell::new(0), Cell::new(Duration::ZERO));
            let busy = busy(|count| {
                polls.set(count);
                // Its first poll moves the clock; the rest is a yield.
                let _ = pin!(advance(MILLISECOND / 10)).poll(&mut Context::from_waker(Waker::noop()));
                None
            });
            let heartbeat = async {
                let mut ticks = interval(MILLISECOND);
                while beats.get() < BEATS {
                    let due = ticks.tick().await;
                    beats.set(beats.get() + 1);
                    latest.set(latest.get().max(Instant::now() - due));
                }
                Err("stopped")
            };
            let children = rotated([Child::new(busy), Child::new(heartbeat), Child::new(pending())], place);
            assert_eq!(gather_in!(container, children, |gather| gather).await, Err("stopped"));
            assert_eq!(beats.get(), BEATS);
            assert!(latest.get() < 2 * MILLISECOND, "a beat was late by {:?}", latest.get());
            assert!(polls.get() <= 10 * BEATS + 20, "{} polls for {BEATS} beats", polls.get());
        }
    }
}

// The count of polls.

/// Counts its polls.
struct Counted<'a, F> {
    future: F,
    polls: &'a Cell<usize>,
}

impl<F: Future + Unpin> Future for Counted<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.polls.set(self.polls.get() + 1);
        Pin::new(&mut self.future).poll(cx)
    }
}

/// Runs a test with more and more children; they may be polled three times each, on average.
fn linear(case: &str, test: impl AsyncFn(usize, &Cell<usize>)) {
    for count in [100, 1000, 10_000, 40_000] {
        for (name, runtime) in runtimes() {
            let polls = Cell::new(0);
            runtime.block_on(in_time(test(count, &polls)));
            let each = polls.get() as f64 / count as f64;
            eprintln!("{case:<26} {name:<15} {count:>6} children {each:>6.2} polls each");
            assert!(polls.get() <= 3 * count + 50, "{case}, {name}: {count} children took {} polls", polls.get());
        }
    }
}

fn counted<F>(futures: Vec<F>, polls: &Cell<usize>) -> Vec<Counted<'_, F>> {
    futures.into_iter().map(|future| Counted { future, polls }).collect()
}

fn channels(count: usize) -> (Vec<oneshot::Sender<()>>, Vec<oneshot::Receiver<()>>) {
    (0..count).map(|_| oneshot::channel()).unzip()
}

fn send(senders: Vec<oneshot::Sender<()>>) {
    senders.into_iter().for_each(|sender| sender.send(()).unwrap());
}

#[test]
fn receivers_that_are_ready_at_first_take_few_polls() {
    linear("receivers, ready at first", async |count, polls| {
        let (senders, receivers) = channels(count);
        send(senders);
        assert!(group(counted(receivers, polls)).await.is_ok());
    });
}

#[test]
fn receivers_that_become_ready_together_take_few_polls() {
    linear("receivers, ready together", async |count, polls| {
        let (senders, receivers) = channels(count);
        let mut all = pin!(group(counted(receivers, polls)).into_future());
        assert!(poll_fn(|cx| Poll::Ready(all.as_mut().poll(cx).is_pending())).await);
        send(senders);
        assert!(all.await.is_ok());
    });
}

#[test]
fn tasks_take_few_polls() {
    linear("tasks", async |count, polls| {
        let tasks = (0..count).map(|_| tokio::spawn(async {})).collect();
        assert!(group(counted(tasks, polls)).await.is_ok());
    });
}

#[test]
fn a_drain_of_aborted_tasks_takes_few_polls() {
    linear("drain of aborted tasks", async |count, polls| {
        let alive = Alive::default();
        let tasks = (0..count).map(|index| {
            let inside = alive.enter();
            tokio::spawn(async move {
                let _inside = inside;
                if index == 0 { Err("failed") } else { pending::<Result<(), _>>().await }
            })
        });
        let tasks = counted(tasks.collect(), polls).into_iter();
        let run = Cell::new(None);
        let tasks = tasks.map(|task| {
            let aborted = task.on_cancel(|task| {
                if run.get().is_none() {
                    run.set(Some(task.polls.replace(0))); // the drain is counted by itself
                }
                task.future.abort();
            });
            aborted.map(|joined| joined.unwrap_or(Err("aborted")))
        });
        assert_eq!(group(tasks.collect::<Vec<_>>()).await, Err("failed"));
        assert_eq!(alive.count(), 0);
        assert!(run.get().is_some_and(|polls| polls <= count + 1), "{:?} polls before the drain", run.get());
    });
}

// The drain under a limit of concurrency.

#[tokio::test(start_paused = true)]
async fn no_more_than_the_limit_are_open_in_the_drain() {
    const LIMIT: usize = 8;
    const COUNT: usize = 10_000;

    let token = CancellationToken::new();
    let (alive, most, ended) = (Alive::default(), Cell::new(0), Cell::new(0));
    let child = |index| {
        let (token, alive, most, ended) = (&token, &alive, &most, &ended);
        let work = async move {
            let _inside = alive.enter();
            most.set(most.get().max(alive.count()));
            let job = async {
                yield_now().await;
                if index > 20 { pending().await } else { index != 20 }
            };
            let done = tokio::select! {
                done = job => done,
                () = token.cancelled() => {
                    yield_now().await; // a clean-up
                    true
                }
            };
            ended.set(ended.get() + 1);
            if done { Ok(()) } else { Err("failed") }
        };
        work.on_cancel(|_| token.cancel())
    };
    let all = group((0..COUNT).map(child).collect::<Vec<_>>()).concurrency(LIMIT);
    assert_eq!(timeout(HOUR, all).await, Ok(Err("failed")));
    assert_eq!((alive.count(), most.get(), ended.get()), (0, LIMIT, COUNT));
}

#[test]
fn told_children_start_in_index_order_as_others_end() {
    for container in FIXED {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let gates: [Gate<Output>; 6] = Default::default();
        let children: [_; 6] = std::array::from_fn(|index| {
            let (log, told, gate) = (world.log.clone(), world.log.clone(), gates[index].clone());
            let work = async move {
                log.push(format!("start {index}"));
                let output = gate.wait().await;
                log.push(format!("end {index}"));
                output
            };
            work.on_cancel(move |_| told.push(format!("tell {index}")))
        });
        let mut all = hold_in!(container, (a b c d e f), |hold| kit::any(group(hold(children)).concurrency(2)));
        assert!(world.quiesce(all.as_mut()).0.is_pending());
        world.log.expect("start 0, start 1");

        gates[5].open(Ok(5)); // it ends where it starts
        for (gate, happens) in [
            (1, "end 1, tell 0, tell 2, tell 3, tell 4, tell 5, start 2"),
            (2, "end 2, start 3"),
            (0, "end 0, start 4"),
            (3, "end 3, start 5, end 5"),
        ] {
            gates[gate].open(Err("failed"));
            assert!(world.quiesce(all.as_mut()).0.is_pending());
            world.log.expect(happens);
        }
        gates[4].open(Ok(4));
        assert_eq!(world.quiesce(all.as_mut()).0, Poll::Ready(Err("failed")));
        world.log.expect("end 4");
    }
}

// Children from a source.

/// Each takes one message that is there: 128 of them in one poll are all that the runtime allows.
#[test]
fn ten_thousand_children_of_a_source_take_a_few_polls_each() {
    const COUNT: usize = 10_000;
    for (name, runtime) in runtimes() {
        for limit in [100, 1000, usize::MAX] {
            let _at = At(format!("{name}, {limit} at a time"));
            runtime.block_on(in_time(async {
                let polls = Cell::new(0);
                let children = (0..COUNT).map(|value| {
                    let (sender, mut receiver) = mpsc::channel(1);
                    sender.try_send(value).unwrap();
                    let polls = &polls;
                    poll_fn(move |cx| {
                        polls.set(polls.get() + 1);
                        receiver.poll_recv(cx).map(|value| Ok::<_, ()>(value.unwrap()))
                    })
                });
                let values = group(from_iter(children)).concurrency(limit).await;
                assert_eq!(values, Ok((0..COUNT).collect()));
                assert!(polls.get() <= 3 * COUNT, "{} polls of {COUNT} children", polls.get());
            }));
        }
    }
}

/// tokio's channel as the source: what it gives counts against the budget, too.
#[test]
fn a_busy_child_starves_neither_the_source_nor_a_sibling() {
    for (name, runtime) in runtimes() {
        for busy_children in [1, 2, 33, 100] {
            let _at = At(format!("{name}, {busy_children} busy children"));
            runtime.block_on(in_time(async {
                let (sender, receiver) = mpsc::unbounded_channel::<Child<'_, Output>>();
                let done = Rc::new(Cell::new(0));
                for _ in 0..busy_children {
                    sender.send(Child::new(busy(|_| None))).ok().unwrap();
                }
                for _ in 0..50 {
                    let done = done.clone();
                    sender
                        .send(Child::new(async move {
                            tokio::task::yield_now().await;
                            done.set(done.get() + 1);
                            Ok(1)
                        }))
                        .ok()
                        .unwrap();
                }
                let fails = done.clone();
                let later = poll_fn(move |cx| {
                    cx.waker().wake_by_ref();
                    if fails.get() == 50 { Poll::Ready(()) } else { Poll::Pending }
                });
                let source = tokio_stream::wrappers::UnboundedReceiverStream::new(receiver);
                let ended = group(from_stream(source)).cancel_when(later).await;
                assert_eq!((ended, done.get()), (Err(Cancelled), 50));
                drop(sender);
            }));
        }
    }
}

/// One that is sent while the others are busy, as a connection is.
#[test]
fn children_that_are_sent_beside_a_busy_child_are_drawn() {
    for (name, runtime) in runtimes() {
        for busy_children in [1, 40] {
            let _at = At(format!("{name}, {busy_children} busy children"));
            runtime.block_on(in_time(async {
                let (sender, receiver) = mpsc::channel::<Child<'_, Output>>(1);
                let source = tokio_stream::wrappers::ReceiverStream::new(receiver);
                let feeding = async {
                    for _ in 0..busy_children {
                        sender.send(Child::new(busy(|_| None))).await.ok().unwrap();
                    }
                    for _ in 0..20 {
                        let (answer, answered) = oneshot::channel();
                        let child = async move {
                            answer.send(()).unwrap();
                            Ok(1)
                        };
                        sender.send(Child::new(child)).await.ok().unwrap();
                        answered.await.unwrap();
                    }
                    Err::<(), _>("fed")
                };
                let ended = group((group(from_stream(source)), feeding)).await;
                assert_eq!(ended, Err("fed"));
            }));
        }
    }
}
