//! Places that are used again: whose wakers outlive their child, and what becomes of the chunks that places lie in.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

use futures_util::{StreamExt as _, stream};

use super::feed::Feed;
use crate::kit::{Alive, Gate, Output, Wakes, World, yield_now};
use gather::{CancelExt, GatherOf, LocalBoxChild, from_iter, from_stream, gather};

#[test]
fn a_waker_that_outlives_its_child_costs_the_next_in_its_place_one_poll_at_most() {
    let world = World::new();
    let (feed, source) = Feed::new(&world.log);
    let mut all = pin!(gather(from_stream(source)).concurrency(1).into_future());
    let (a, gate_a) = world.probe::<Output>("a");
    feed.push(a.log_polls());
    assert!(world.poll(all.as_mut()).is_pending());
    let old = gate_a.waker().unwrap();
    gate_a.open(Ok(0));
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("poll a, poll a, end a, drop a");
    world.wakes.take();

    // The place is empty: no child is polled.
    old.wake_by_ref();
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("");

    old.wake_by_ref();
    let (b, gate_b) = world.probe::<Output>("b");
    feed.push(b.log_polls());
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("poll b");
    world.wakes.take();
    old.wake_by_ref();
    old.wake_by_ref();
    let _ = world.poll(all.as_mut());
    assert!(world.log.take().len() <= 1);
    // Its own wake is not lost, whatever comes of the other.
    gate_b.open(Ok(1));
    old.wake();
    feed.end();
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok(vec![0, 1])));
}

#[test]
fn wakers_of_chunks_that_were_freed_do_nothing() {
    let world = World::new();
    let wakers = Rc::new(RefCell::new(vec![]));
    let (feed, source) = Feed::new(&world.log);
    let mut all = pin!(gather(from_stream(source)).settle().into_future());
    for round in 1..=20_u32 {
        let stop = Rc::new(Cell::new(false));
        for _ in 0..500 {
            let (wakers, stop) = (wakers.clone(), stop.clone());
            feed.push(LocalBoxChild::new(std::future::poll_fn(move |cx| {
                wakers.borrow_mut().push(cx.waker().clone());
                if stop.get() { Poll::Ready(()) } else { Poll::Pending }
            })));
        }
        // What is drawn in several polls.
        let (polled, _) = world.quiesce(all.as_mut());
        assert!(polled.is_pending());
        assert_eq!(wakers.borrow().len(), 500);
        stop.set(true);
        let mut old = wakers.take();
        old.iter().for_each(Waker::wake_by_ref);
        assert!(world.quiesce(all.as_mut()).0.is_pending());
        old.append(&mut wakers.borrow_mut());
        wakers.borrow_mut().clear();
        world.wakes.take();
        // All of them are gone: no child is polled, however late the wakes are.
        old.iter().for_each(Waker::wake_by_ref);
        assert!(world.quiesce(all.as_mut()).0.is_pending());
        assert!(wakers.borrow().is_empty(), "round {round}");
        if round % 2 == 0 {
            let threads: Vec<_> = old.into_iter().map(|waker| thread::spawn(move || waker.wake())).take(4).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    }
    feed.end();
    assert_eq!(world.quiesce(all.as_mut()).0, Poll::Ready(vec![(); 10_000]));
}

#[test]
fn a_wakers_life_ends_with_the_group_or_after_it() {
    let world = World::new();
    let (feed, source) = Feed::new(&world.log);
    let mut all = Box::pin(gather(from_stream(source)).into_future());
    let (a, gate_a) = world.probe::<Output>("a");
    feed.push(a.quiet());
    assert!(world.poll(all.as_mut()).is_pending());
    let wakers = [gate_a.waker().unwrap(), feed.waker().unwrap()];
    drop(all);
    let strong = Arc::strong_count(&world.wakes);
    for waker in &wakers {
        waker.wake_by_ref();
        drop(waker.clone());
    }
    assert_eq!(world.wakes.take(), 0);
    assert_eq!(strong, 2, "the group keeps no waker of its parent: those of the world are left");
}

#[test]
fn a_group_that_has_ended_keeps_no_waker_of_its_parent() {
    let world = World::new();
    let baseline = Arc::strong_count(&world.wakes);
    let (feed, source) = Feed::new(&world.log);
    let stop = Cell::new(false);
    let signal = poll_fn(|_| if stop.get() { Poll::Ready(()) } else { Poll::Pending });
    let mut all = Box::pin(gather(from_stream(source)).cancel_when(signal).into_future());
    let (a, gate) = world.probe::<Output>("a");
    feed.push(a.quiet());
    assert!(world.poll(all.as_mut()).is_pending());
    let wakers = [gate.waker().unwrap(), feed.waker().unwrap()];
    // Nothing has woken it, so that the waker that it holds was not taken out.
    stop.set(true);
    assert!(world.poll(all.as_mut()).is_ready());
    assert_eq!(Arc::strong_count(&world.wakes), baseline);
    drop((all, wakers));
}

/// Children come and go in waves, of which each goes in an order of its own; some stay, and hold their chunks.
#[test]
fn waves_of_children_lose_no_wake_and_no_output() {
    let world = World::new();
    let (feed, source) = Feed::new(&world.log);
    let mut all = pin!(gather(from_stream(source)).into_future());
    let mut random = 1_u64;
    let mut next = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let (mut waiting, mut drawn): (Vec<(u32, Gate<Output>)>, u32) = (vec![], 0);
    let most = 6000;
    for wave in 0..30 {
        for _ in 0..next(if wave % 3 == 0 { most } else { 100 }) {
            let gate = Gate::new();
            feed.push(LocalBoxChild::new(gate.clone().wait()));
            waiting.push((drawn, gate));
            drawn += 1;
        }
        assert!(world.quiesce(all.as_mut()).0.is_pending());
        assert_eq!(feed.left(), 0);
        let stay = next(waiting.len().clamp(1, 200));
        while waiting.len() > stay {
            for _ in 0..1 + next(300) {
                if waiting.len() > stay {
                    let (value, gate) = waiting.swap_remove(next(waiting.len()));
                    gate.open(Ok(value));
                    // A child that waited is woken at once, and so is the group.
                }
            }
            assert!(world.wakes.take() > 0);
            assert!(world.quiesce(all.as_mut()).0.is_pending());
        }
    }
    feed.end();
    waiting.into_iter().for_each(|(value, gate)| gate.open(Ok(value)));
    let Poll::Ready(Ok(values)) = world.quiesce(all.as_mut()).0 else { panic!("it is ready") };
    assert_eq!(values, (0..drawn).collect::<Vec<_>>());
}

#[test]
fn a_hundred_thousand_wait_and_are_woken_one_by_one() {
    const COUNT: usize = 100_000;
    let world = World::new();
    let polls = Rc::new(Cell::new(0));
    let gates: Vec<Gate<Output>> = (0..COUNT).map(|_| Gate::new()).collect();
    let children = gates.iter().map(|gate| {
        let (gate, polls) = (gate.clone(), polls.clone());
        std::future::poll_fn(move |cx| {
            polls.set(polls.get() + 1);
            gate.poll(cx)
        })
    });
    let mut all = pin!(gather(from_iter(children)).into_future());
    while world.poll(all.as_mut()).is_pending() {
        if world.wakes.take() == 0 {
            break;
        }
    }
    assert_eq!(polls.take(), COUNT);
    for turn in 0..COUNT {
        let at = (turn * 7919) % COUNT;
        gates[at].open(Ok(at as u32));
        assert_eq!(world.wakes.take(), 1);
        let polled = world.poll(all.as_mut());
        assert_eq!((polled.is_ready(), polls.take(), world.wakes.take()), (turn == COUNT - 1, 1, 0));
    }
}

#[test]
fn a_million_children_are_told_and_dropped_in_order() {
    const COUNT: u32 = 1_000_000;
    struct Counted<'a>(&'a Cell<u32>, u32);

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            assert_eq!(self.0.replace(self.1 + 1), self.1);
        }
    }

    for cancelled in [false, true] {
        let (world, stop, dropped) = (World::new(), Gate::<()>::new(), Cell::new(0));
        let children = (0..COUNT).map(|index| {
            let counted = Counted(&dropped, index);
            async move {
                let _counted = counted;
                pending::<Result<(), ()>>().await
            }
        });
        let mut all = Box::pin(gather(from_iter(children)).cancel_when(stop.clone().wait()).into_future());
        while world.poll(all.as_mut()).is_pending() {
            if world.wakes.take() == 0 {
                break;
            }
        }
        if cancelled {
            stop.open(());
            assert!(world.poll(all.as_mut()).is_ready());
        } else {
            drop(all);
        }
        assert_eq!(dropped.get(), COUNT);
    }
}

#[test]
fn wakes_from_threads_while_children_come_and_go() {
    struct Job {
        is_done: AtomicBool,
        waker: event_listener::Event,
    }

    const JOBS: usize = 3000;
    let (sender, jobs) = std::sync::mpsc::channel::<Arc<Job>>();
    let threads: Vec<_> = {
        let jobs = Arc::new(std::sync::Mutex::new(jobs));
        (0..3)
            .map(|_| {
                let jobs = jobs.clone();
                thread::spawn(move || {
                    loop {
                        let Ok(job) = jobs.lock().unwrap().recv() else { return };
                        job.is_done.store(true, Ordering::Release);
                        job.waker.notify(usize::MAX);
                    }
                })
            })
            .collect()
    };
    let alive = Alive::default();
    let children = (0..JOBS).map(|index| {
        let (inside, sender) = (alive.enter(), sender.clone());
        async move {
            let _inside = inside;
            let job = Arc::new(Job { is_done: AtomicBool::new(false), waker: event_listener::Event::new() });
            let listener = job.waker.listen();
            sender.send(job.clone()).unwrap();
            listener.await;
            assert!(job.is_done.load(Ordering::Acquire));
            Ok::<_, ()>(index)
        }
    });
    let values = pollster::block_on(gather(from_iter(children)).concurrency(70));
    assert_eq!(values, Ok((0..JOBS).collect()));
    assert_eq!(alive.count(), 0);
    drop(sender);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn wakers_that_panic_lie_or_outlive_are_the_callers_affair() {
    // A child that keeps the waker of another, and wakes that in its place's later life.
    let world = World::new();
    let kept = Rc::new(RefCell::new(Vec::<Waker>::new()));
    let children = (0..1000_u32).map(|value| {
        let kept = kept.clone();
        async move {
            kept.borrow().iter().for_each(Waker::wake_by_ref);
            std::future::poll_fn(|cx: &mut Context<'_>| {
                kept.borrow_mut().push(cx.waker().clone());
                Poll::Ready(())
            })
            .await;
            yield_now().await;
            if kept.borrow().len() > 50 {
                kept.borrow_mut().drain(..25);
            }
            Ok::<_, ()>(value)
        }
    });
    let mut all = pin!(gather(from_iter(children)).concurrency(3).into_future());
    loop {
        match world.poll(all.as_mut()) {
            Poll::Ready(values) => break assert_eq!(values, Ok((0..1000).collect())),
            Poll::Pending => assert!(world.wakes.take() > 0),
        }
    }
}

fn is_send<T: Send>(_: &T) {}
fn is_sync<T: Sync>(_: &T) {}
fn is_unpin<T: Unpin>(_: &T) {}
fn is_unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}

#[test]
fn auto_traits_follow_the_parts() {
    type Pending<T> = std::future::Pending<Result<T, ()>>;
    let all = gather(from_iter([pending::<Result<u8, ()>>()])).into_future();
    is_send(&all);
    is_sync(&all);
    // A pinned source is not.
    is_unpin(&gather(from_iter([async { Ok::<_, ()>(1) }])).into_future());
    is_send(&gather(from_stream(stream::pending::<Pending<u8>>())).report().into_future());
    is_unwind_safe::<gather::FromStream<stream::Pending<Pending<u8>>>>();
    let _named: Option<GatherOf<gather::FromStream<stream::Pending<Pending<u8>>>>> = None;
    // `Sync` is not asked of the outputs for `Send`, nor the other way round.
    is_send(&gather(from_iter([pending::<Result<Cell<u8>, ()>>()])).into_future());
    trait AmbiguousIfSend<A> {
        fn check() {}
    }
    impl<T> AmbiguousIfSend<()> for T {}
    impl<T: Send> AmbiguousIfSend<u8> for T {}
    type NotSend = std::pin::Pin<Box<dyn Future<Output = Result<(), ()>>>>;
    <GatherOf<gather::FromStream<stream::Pending<NotSend>>> as AmbiguousIfSend<_>>::check();
    <GatherOf<gather::FromStream<stream::Pending<Pending<Rc<u8>>>>> as AmbiguousIfSend<_>>::check();
}

/// Children, and the source, that borrow within a spawned task (rust-lang/rust#102211).
#[test]
fn a_spawned_task_may_gather_a_source_of_borrowing_children() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let task = runtime.spawn(async {
        let texts: Vec<String> = (0..100).map(|number| format!("{number:03}")).collect();
        let find = async |text: &str| {
            tokio::task::yield_now().await;
            if text.is_empty() { Err("empty") } else { Ok(text.len()) }
        };
        let children = texts.iter().map(|text| {
            let text = text.as_str();
            async move {
                tokio::task::yield_now().await;
                Ok::<_, &str>(text.len())
            }
            .on_cancel(move |_| assert!(!text.is_empty()))
        });
        let lengths = gather(from_stream(stream::iter(children)))
            .concurrency(7)
            .cancel_when(pending::<()>())
            .on_cancel(|_| assert_eq!(texts.len(), 100))
            .grace(|| {
                let _ = &texts;
                tokio::time::sleep(std::time::Duration::from_secs(1))
            })
            .await;
        assert_eq!(lengths, Ok(Ok(vec![3; 100])));
        let errors = texts.iter().map(|text| async move { Err::<(), &str>(text) });
        assert_eq!(gather(from_iter(errors)).await, Err("000"));
        let all = texts.iter().map(|text| async move { text.as_str() });
        assert_eq!(gather(from_iter(all)).settle().await.len(), 100);
        let _ = find("x").await;
    });
    runtime.block_on(task).unwrap();
}

#[test]
fn children_never_move_once_they_were_polled() {
    struct Fixed {
        at: Cell<*const Fixed>,
        left: Cell<u32>,
        _pin: std::marker::PhantomPinned,
    }

    impl Future for Fixed {
        type Output = Result<(), ()>;

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            let here: *const Fixed = &*self;
            let before = self.at.replace(here);
            assert!(before.is_null() || before == here);
            cx.waker().wake_by_ref();
            match self.left.get() {
                0 => Poll::Ready(Ok(())),
                left => {
                    self.left.set(left - 1);
                    Poll::Pending
                }
            }
        }
    }

    impl Drop for Fixed {
        fn drop(&mut self) {
            let here: *const Fixed = self;
            assert!(self.at.get().is_null() || self.at.get() == here);
        }
    }

    let children = (0..5000).map(|index| Fixed {
        at: Cell::new(std::ptr::null()),
        left: Cell::new(index % 13),
        _pin: std::marker::PhantomPinned,
    });
    let done = pollster::block_on(gather(from_stream(stream::iter(children).boxed_local())).concurrency(999));
    assert_eq!(done, Ok(vec![(); 5000]));
}

/// Children of so many chunks, which wait until they are told to end.
struct Chunks {
    wakes: Arc<Wakes>,
    waker: Waker,
    wakers: RefCell<Vec<Option<Waker>>>,
    ends: Cell<bool>,
    ended: Cell<usize>,
}

impl Chunks {
    /// The first three chunks have 8, 16 and 32 places, the others 63.
    const fn children(chunks: usize) -> usize {
        56 + 63 * (chunks - 3)
    }

    fn new(chunks: usize) -> Self {
        let (wakes, waker) = Wakes::new();
        let wakers = RefCell::new(vec![None; Self::children(chunks)]);
        Chunks { wakes, waker, wakers, ends: Cell::new(false), ended: Cell::new(0) }
    }

    fn child(&self, index: usize, stays: bool, mut polled: impl FnMut()) -> impl Future<Output = ()> {
        poll_fn(move |cx: &mut Context<'_>| {
            self.wakers.borrow_mut()[index] = Some(cx.waker().clone());
            polled();
            if stays || !self.ends.get() {
                return Poll::Pending;
            }
            self.ended.set(self.ended.get() + 1);
            Poll::Ready(())
        })
    }

    fn wake(&self, index: usize) {
        let waker = self.wakers.borrow()[index].clone();
        waker.expect("it was polled").wake();
    }

    /// Polls while it is woken. How often.
    fn poll_until_quiet(&self, mut all: Pin<&mut impl Future>) -> usize {
        let mut polls = 0;
        while self.wakes.take() > 0 {
            assert!(all.as_mut().poll(&mut Context::from_waker(&self.waker)).is_pending());
            polls += 1;
            assert!(polls < 10_000, "it wakes itself for ever");
        }
        polls
    }
}

#[test]
fn nearly_all_children_of_many_chunks_may_end_in_one_pass() {
    for count in [100, 260, 400, 1000] {
        let chunks = Chunks::new(count);
        let children = Chunks::children(count);
        let source =
            stream::iter((0..children).map(|index| chunks.child(index, false, || ()))).chain(stream::pending());
        let mut all = pin!(gather(from_stream(source)).settle().into_future());
        chunks.waker.wake_by_ref();
        chunks.poll_until_quiet(all.as_mut());
        chunks.ends.set(true);
        (0..children).for_each(|index| chunks.wake(index));
        chunks.poll_until_quiet(all.as_mut());
        assert_eq!(chunks.ended.get(), children);
    }
}

#[test]
fn a_late_wake_in_a_chunk_that_was_given_up_is_taken() {
    let chunks = Chunks::new(68);
    let children = Chunks::children(68);
    let survivor = Chunks::children(39) + 10;
    let late = || {
        if chunks.ends.get() {
            chunks.wake(children - 1);
        }
    };
    let child = |index| match index == survivor {
        true => LocalBoxChild::new(chunks.child(index, true, late)),
        false => LocalBoxChild::new(chunks.child(index, false, || ())),
    };
    let source = stream::iter((0..children).map(child)).chain(stream::pending());
    let mut all = pin!(gather(from_stream(source)).settle().into_future());
    chunks.waker.wake_by_ref();
    chunks.poll_until_quiet(all.as_mut());
    chunks.wake(survivor);
    chunks.poll_until_quiet(all.as_mut());
    chunks.ends.set(true);
    (0..children).for_each(|index| chunks.wake(index));
    assert!(chunks.poll_until_quiet(all.as_mut()) < 100);
    assert_eq!(chunks.ended.get(), children - 1);
}
