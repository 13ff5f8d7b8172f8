//! When the source is polled, and when children are drawn from it.

use std::cell::{Cell, RefCell};
use std::future::{Future, Pending, pending, poll_fn, ready};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::thread;

use futures_util::{StreamExt as _, stream};

use super::feed::Feed;
use crate::kit::{Gate, Output, Probe, Wakes, World, yield_now};
use gather::{CancelExt, Child as _, LocalBoxChild, from_iter, from_stream, gather};

fn probe(world: &World, name: &'static str) -> (Probe<Output>, Gate<Output>) {
    let (probe, gate) = world.probe(name);
    (probe.log_polls(), gate)
}

#[test]
fn the_source_is_polled_when_it_was_woken_and_after_the_woken_children() {
    let world = World::new();
    let (feed, source) = Feed::new(&world.log);
    let mut all = pin!(gather(from_stream(source)).into_future());
    let [(a, gate_a), (b, gate_b), (c, gate_c), (d, gate_d)] = ["a", "b", "c", "d"].map(|name| probe(&world, name));
    feed.push(a);
    feed.push(b);
    assert_eq!(feed.polls(), 0);
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("poll a, poll b");
    assert_eq!((feed.polls(), world.wakes.take()), (3, 0));

    gate_a.wake();
    assert_eq!(world.wakes.take(), 1);
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("poll a");
    assert_eq!(feed.polls(), 0);
    // Polled for another reason.
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("");
    assert_eq!(feed.polls(), 0);

    feed.push(c);
    assert_eq!(world.wakes.take(), 1);
    gate_b.wake();
    assert_eq!(world.wakes.take(), 0, "it is woken already");
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("poll b, poll c");
    assert_eq!(feed.polls(), 2);

    feed.wake();
    assert!(world.poll(all.as_mut()).is_pending());
    assert_eq!(feed.polls(), 1);
    world.log.expect("");

    // Its end is seen before that of the last child, and it is dropped then.
    feed.push(d);
    feed.end();
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("poll d, drop source");
    for (gate, value) in [(&gate_d, 3), (&gate_a, 0), (&gate_c, 2)] {
        gate.open(Ok(value));
        assert!(world.poll(all.as_mut()).is_pending());
    }
    gate_b.open(Ok(1));
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok(vec![0, 1, 2, 3])));
    assert_eq!(feed.polls(), 2);
    world.log.expect("poll d, end d, drop d, poll a, end a, drop a, poll c, end c, drop c, poll b, end b, drop b");
}

#[test]
fn source_and_children_have_wakers_of_their_own() {
    let world = World::new();
    let (feed, source) = Feed::new(&world.log);
    let mut all = pin!(gather(from_stream(source)).into_future());
    let (a, gate_a) = probe(&world, "a");
    let (b, gate_b) = probe(&world, "b");
    feed.push(a);
    feed.push(b);
    assert!(world.poll(all.as_mut()).is_pending());
    let wakers = [feed.waker(), gate_a.waker(), gate_b.waker(), Some(world.waker.clone())].map(Option::unwrap);
    for (at, waker) in wakers.iter().enumerate() {
        for (other_at, other) in wakers.iter().enumerate() {
            assert_eq!(waker.will_wake(other), at == other_at);
        }
    }
    // A poll by another task: it is the one that is woken from then on, by the source too.
    let (other, other_waker) = Wakes::new();
    assert!(all.as_mut().poll(&mut std::task::Context::from_waker(&other_waker)).is_pending());
    feed.wake();
    assert_eq!((world.wakes.take(), other.take()), (0, 1));
}

#[test]
fn with_a_limit_the_source_is_polled_only_while_there_is_room() {
    let world = World::new();
    let (feed, source) = Feed::new(&world.log);
    let mut all = pin!(gather(from_stream(source)).concurrency(2).into_future());
    let [(a, gate_a), (b, gate_b), (c, gate_c), (d, gate_d)] = ["a", "b", "c", "d"].map(|name| probe(&world, name));
    feed.push(a);
    feed.push(b);
    feed.push(c);
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("poll a, poll b");
    assert_eq!((feed.polls(), feed.left(), world.wakes.take()), (2, 1, 0));
    feed.push(d);
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("");
    assert_eq!((feed.polls(), feed.left()), (0, 2));
    // The place of a child that has ended is taken in the same poll.
    gate_b.open(Ok(1));
    gate_c.open(Ok(2));
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("poll b, end b, drop b, poll c, end c, drop c, poll d");
    assert_eq!(feed.polls(), 2);
    gate_a.open(Ok(0));
    gate_d.open(Ok(3));
    assert!(world.poll(all.as_mut()).is_pending());
    feed.end();
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok(vec![0, 1, 2, 3])));
}

#[test]
fn a_poll_draws_at_most_64_and_yields() {
    for ready_at_once in [true, false] {
        for limit in [None, Some(100), Some(1)] {
            let world = World::new();
            let drawn = Cell::new(0);
            let children = stream::iter(0..).map(|value: u32| {
                drawn.set(drawn.get() + 1);
                match ready_at_once {
                    true => LocalBoxChild::new(ready(value)),
                    false => LocalBoxChild::new(pending::<u32>()),
                }
            });
            let group = gather(from_stream(children)).settle();
            let mut all = match limit {
                None => LocalBoxChild::new(group),
                Some(limit) => LocalBoxChild::new(group.concurrency(limit)),
            };
            let mut most = match limit {
                Some(limit) if !ready_at_once => limit,
                _ => usize::MAX,
            };
            for _ in 0..5 {
                let now = most.min(64);
                most -= now;
                drawn.set(0);
                let polled = std::pin::Pin::new(&mut all).poll_child(&mut std::task::Context::from_waker(&world.waker));
                assert!(polled.is_pending());
                assert_eq!((drawn.get(), world.wakes.take()), (now, usize::from(now == 64)));
            }
        }
    }
}

#[test]
fn a_child_that_wakes_itself_is_polled_once_in_the_poll_in_which_it_is_drawn() {
    let world = World::new();
    let polls = Rc::new(RefCell::new(vec![]));
    let children = (0..70).map(|index| {
        let (polls, mut left) = (polls.clone(), 3);
        poll_fn(move |cx| {
            polls.borrow_mut().push(index);
            cx.waker().wake_by_ref();
            left -= 1;
            if left == 0 { Poll::Ready(Ok::<_, ()>(index)) } else { Poll::Pending }
        })
    });
    let mut all = pin!(gather(from_iter(children)).into_future());
    let mut polled = world.poll(all.as_mut());
    assert_eq!(polls.take(), (0..64).collect::<Vec<_>>());
    for _ in 0..20 {
        if polled.is_ready() {
            break;
        }
        assert!(world.wakes.take() > 0);
        polled = world.poll(all.as_mut());
        let now = polls.take();
        let mut distinct = now.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(now.len(), distinct.len(), "each is polled at most once: {now:?}");
    }
    assert_eq!(polled, Poll::Ready(Ok((0..70).collect())));
}

#[test]
fn a_source_that_wakes_itself_yields_and_keeps_nobody_from_a_turn() {
    let world = World::new();
    let (feed, source) = Feed::new(&world.log);
    feed.wake_itself(true);
    let (a, gate_a) = probe(&world, "a");
    feed.push(a);
    let mut all = pin!(gather(from_stream(source)).into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    assert_eq!((feed.polls(), world.wakes.take()), (2, 1));
    world.log.expect("poll a");
    for _ in 0..100 {
        gate_a.wake();
        assert!(world.poll(all.as_mut()).is_pending());
        // Before the child and after it, as the child may have used up the runtime's budget.
        let polls = feed.polls();
        assert!((1..=2).contains(&polls) && world.wakes.take() == 1, "{polls} polls");
        world.log.expect("poll a");
    }
    gate_a.open(Ok(7));
    assert!(world.poll(all.as_mut()).is_pending());
    feed.end();
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok(vec![7])));
}

/// Each of these children wakes itself in every poll, so that every pass is cut.
#[test]
fn children_that_are_always_woken_do_not_starve_the_source() {
    for count in [1, 31, 32, 33, 64, 200] {
        for limit in [usize::MAX, 300] {
            let world = World::new();
            let (feed, source) = Feed::new(&world.log);
            let busy = || {
                LocalBoxChild::new(poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    Poll::<Output>::Pending
                }))
            };
            for _ in 0..count {
                feed.push(busy());
            }
            let mut all = pin!(gather(from_stream(source)).concurrency(limit).into_future());
            for _ in 0..10 {
                assert!(world.poll(all.as_mut()).is_pending());
            }
            assert_eq!(feed.left(), 0, "{count} busy children");
            for _ in 0..20 {
                let polls = Rc::new(Cell::new(0));
                let counts = polls.clone();
                feed.push(LocalBoxChild::new(async move {
                    counts.set(1);
                    yield_now().await;
                    counts.set(2);
                    Ok(0)
                }));
                // A pass polls 32 of them.
                for _ in 0..4 + count / 8 {
                    assert!(world.poll(all.as_mut()).is_pending());
                }
                assert_eq!(polls.get(), 2, "{count} busy children");
            }
        }
    }
}

#[test]
fn a_source_that_is_always_ready_does_not_starve_a_child() {
    let world = World::new();
    let (child, gate) = probe(&world, "a");
    let endless = stream::iter(std::iter::repeat_with(|| LocalBoxChild::new(ready(Ok::<u32, &str>(0)))));
    let first = stream::iter([LocalBoxChild::new(child)]);
    let mut all = pin!(gather(from_stream(first.chain(endless))).into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    for _ in 0..10 {
        world.log.take();
        gate.wake();
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("poll a");
        assert!(world.wakes.take() > 0);
    }
    gate.open(Err("failed"));
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err("failed")));
}

#[test]
fn sources_of_any_length_give_outputs_in_the_order_of_drawing() {
    for count in [0_u32, 1, 63, 64, 65, 4096, 300_000] {
        for limit in [1, 2, 63, 64, 65, 1000, usize::MAX] {
            if count > 10_000 && limit < 1000 {
                continue;
            }
            // Ends in an order of its own.
            let child = |value: u32| async move {
                for _ in 0..value % 3 {
                    yield_now().await;
                }
                Ok::<_, ()>(value)
            };
            let (world, drawn) = (World::new(), Cell::new(0));
            let children = (0..count).map(|value| {
                drawn.set(drawn.get() + 1);
                child(value)
            });
            let mut all = pin!(gather(from_iter(children)).concurrency(limit).into_future());
            let mut polls = 0;
            let values = loop {
                polls += 1;
                let before = drawn.get();
                let polled = world.poll(all.as_mut());
                assert!(drawn.get() - before <= 64);
                match polled {
                    Poll::Ready(values) => break values.unwrap(),
                    Poll::Pending => assert!(world.wakes.take() > 0, "it waits for nobody"),
                }
            };
            assert_eq!(values, (0..count).collect::<Vec<_>>());
            assert!(
                polls <= 4 + 4 * count as usize / limit.min(16),
                "{count} children, {limit} at a time: {polls} polls"
            );
        }
    }
}

#[test]
fn children_come_from_another_thread() {
    const COUNT: u64 = 20_000;
    type Job = gather::BoxChild<'static, Result<u64, ()>>;
    for limit in [1, 50, usize::MAX] {
        let (sender, receiver) = async_channel::bounded::<Job>(10);
        let feeder = thread::spawn(move || {
            for value in 0..COUNT {
                let (answer, answered) = futures_channel::oneshot::channel();
                let job = async move { Ok(answered.await.unwrap()) };
                sender.send_blocking(gather::BoxChild::new(job)).ok().unwrap();
                // Also woken from there.
                answer.send(value).unwrap();
            }
        });
        let values = pollster::block_on(gather(from_stream(receiver)).concurrency(limit)).unwrap();
        feeder.join().unwrap();
        assert_eq!(values, (0..COUNT).collect::<Vec<_>>());
    }
}

#[test]
fn a_source_may_end_before_it_gives_a_child() {
    let world = World::new();
    let (feed, source) = Feed::<Probe<Output>>::new(&world.log);
    let mut all = pin!(gather(from_stream(source)).into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    feed.end();
    assert_eq!(world.wakes.take(), 1);
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok(vec![])));
    world.log.expect("drop source");
    assert_eq!(pollster::block_on(gather(from_iter(std::iter::empty::<Pending<Output>>())).any()), Err(vec![]));
    assert_eq!(pollster::block_on(gather(from_iter([0_u8; 0].map(ready))).settle()), vec![]);
}

#[test]
fn a_child_that_pushes_while_it_is_polled_is_followed_in_the_same_poll() {
    let world = World::new();
    let (feed, source) = Feed::<LocalBoxChild<'static, Output>>::new(&world.log);
    let feed = Rc::new(feed);
    let mut all = pin!(gather(from_stream(source)).into_future());
    let (first, log) = (feed.clone(), world.log.clone());
    feed.push(LocalBoxChild::new(async move {
        log.push("first");
        let inner = log.clone();
        first.push(LocalBoxChild::new(async move {
            inner.push("second");
            Ok(2)
        }));
        first.end();
        Ok(1)
    }));
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok(vec![1, 2])));
    world.log.expect("first, second, drop source");
}

/// A child that is woken by one that is polled before it, in the same pass.
#[test]
fn in_one_poll_a_sibling_woken_before_its_turn_is_polled_and_nobody_twice() {
    let world = World::new();
    let wakers = Rc::new(RefCell::new(vec![None; 100]));
    let polls = Rc::new(RefCell::new(vec![]));
    let children = (0..100_usize).map(|index| {
        let (wakers, polls) = (wakers.clone(), polls.clone());
        poll_fn(move |cx| {
            polls.borrow_mut().push(index);
            wakers.borrow_mut()[index] = Some(cx.waker().clone());
            let wakers = wakers.borrow();
            for other in [index + 1, index / 2] {
                if let Some(Some(waker)) = wakers.get(other) {
                    waker.wake_by_ref();
                }
            }
            Poll::<Output>::Pending
        })
    });
    let mut all = pin!(gather(from_iter(children)).into_future());
    for _ in 0..100 {
        assert!(world.poll(all.as_mut()).is_pending());
        let mut now = polls.take();
        let count = now.len();
        now.sort();
        now.dedup();
        assert_eq!(now.len(), count);
    }
}

#[test]
fn a_source_of_groups_and_restarts_runs_the_handshake_of_each() {
    let world = World::new();
    let log = &world.log;
    let stop = Gate::new();
    let groups = stream::iter(["a", "b"])
        .map(|name| gather((pending::<Output>().cleanup(move || async move { log.push(format!("clean {name}")) }),)));
    let mut all = pin!(gather(from_stream(groups)).cancel_when(stop.clone().wait()).into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    stop.open(());
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err(gather::Cancelled)));
    world.log.expect("clean a, clean b");
}

/// The source is due, since the pass was cut; and there is room when children have ended.
#[test]
fn a_source_that_is_due_is_drawn_from_when_there_is_room_again() {
    let world = World::new();
    let (feed, source) = Feed::<LocalBoxChild<'static, Output>>::new(&world.log);
    let ends = Rc::new(Cell::new(false));
    for _ in 0..200 {
        let ends = ends.clone();
        feed.push(LocalBoxChild::new(poll_fn(move |cx| {
            cx.waker().wake_by_ref();
            if ends.get() { Poll::Ready(Ok(0)) } else { Poll::Pending }
        })));
    }
    let mut all = pin!(gather(from_stream(source)).concurrency(100).into_future());
    for _ in 0..10 {
        assert!(world.poll(all.as_mut()).is_pending());
    }
    assert_eq!(feed.left(), 100);
    ends.set(true);
    feed.end();
    while world.poll(all.as_mut()).is_pending() {
        assert!(world.wakes.take() > 0, "{} are left", feed.left());
    }
}

#[test]
fn a_wake_of_a_source_that_is_gone_wakes_the_group_once() {
    let world = World::new();
    let (feed, source) = Feed::new(&world.log);
    let mut all = pin!(gather(from_stream(source)).into_future());
    let [(a, gate_a), (b, gate_b)] = ["a", "b"].map(|name| probe(&world, name));
    feed.push(LocalBoxChild::new(a));
    feed.push(LocalBoxChild::new(b.shield()));
    assert!(world.poll(all.as_mut()).is_pending());
    // As a channel does whose last sender goes away after its receiver.
    let late = feed.waker().expect("it waits");
    gate_a.open(Err("a"));
    assert!(world.poll(all.as_mut()).is_pending());
    assert!(feed.is_dropped());
    world.wakes.take();
    for _ in 0..2 {
        late.wake_by_ref();
        assert!(world.poll(all.as_mut()).is_pending());
        assert!(world.wakes.take() <= 1);
        assert!(world.poll(all.as_mut()).is_pending());
        assert_eq!(world.wakes.take(), 0, "it goes on waking itself");
    }
    gate_b.open(Ok(1));
    assert_eq!(world.wakes.take(), 1);
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err("a")));
}

#[test]
fn a_wake_of_a_source_that_has_no_room_is_kept_without_waking_the_group_again() {
    let world = World::new();
    let (feed, source) = Feed::new(&world.log);
    let mut all = pin!(gather(from_stream(source)).concurrency(1).into_future());
    let [(a, gate_a), (b, gate_b)] = ["a", "b"].map(|name| probe(&world, name));
    assert!(world.poll(all.as_mut()).is_pending());
    feed.push(a);
    assert!(world.poll(all.as_mut()).is_pending());
    let late = feed.waker().expect("it has waited");
    world.wakes.take();
    feed.push(b);
    for _ in 0..2 {
        late.wake_by_ref();
        assert!(world.poll(all.as_mut()).is_pending());
        assert!(world.wakes.take() <= 1);
        assert!(world.poll(all.as_mut()).is_pending());
        assert_eq!(world.wakes.take(), 0, "it goes on waking itself");
    }
    gate_a.open(Ok(0));
    feed.end();
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("poll a, poll a, end a, drop a, poll b");
    gate_b.open(Ok(1));
    assert!(world.poll(all.as_mut()).is_ready());
}
