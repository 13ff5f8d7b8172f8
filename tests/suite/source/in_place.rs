//! `from_stream_const`: children from a source without an allocator, at most so many at a time.

use std::cell::{Cell, RefCell};
use std::future::{Ready, poll_fn, ready};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use futures_util::{StreamExt as _, stream};

use super::feed::{self, Feed, Source};
use crate::kit::{At, Gate, World, panic_of, yield_now};
use gather::{CancelExt, Cancelled, FromStreamConst, Group, Limit, LocalBoxChild, from_stream_const, gather, restart};

type Output = Result<(), &'static str>;
type Member = feed::Member<()>;

type Three = feed::Three<()>;

/// A group of the three, with so many places.
fn three<const N: usize>() -> (Three, Group<FromStreamConst<Source<Member>, N>>) {
    let (three, source) = feed::three();
    (three, gather(from_stream_const::<N, _>(source)))
}

/// Calls a test with 1, 2 and 16 places.
macro_rules! with_places {
    ($test:ident) => {
        $test::<1>();
        $test::<2>();
        $test::<16>();
    };
}

#[test]
fn at_most_so_many_are_there_and_the_source_waits_for_a_place() {
    fn fits<const N: usize>() {
        let _at = At(format!("{N} places"));
        let (three, group) = three::<N>();
        let world = &three.world;
        let mut all = pin!(group.into_future());
        assert!(world.poll(all.as_mut()).is_pending());
        assert_eq!(three.feed.left(), 3 - N.min(3));
        for (gate, left) in three.gates.iter().zip([2_usize, 1, 0]) {
            gate.open(Ok(()));
            assert!(world.poll(all.as_mut()).is_pending());
            assert_eq!(three.feed.left(), left.saturating_sub(N));
        }
        world.log.expect("end a, drop a, end b, drop b, end c, drop c");
        three.feed.end();
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok(())));
        world.log.expect("drop source");
    }
    with_places!(fits);
}

#[test]
fn a_failure_cancels_those_that_are_there_and_draws_no_more() {
    fn cancels<const N: usize>() {
        let _at = At(format!("{N} places"));
        let (three, group) = three::<N>();
        let (world, log) = (&three.world, three.world.log.clone());
        let mut all = pin!(group.on_cancel(move |cause| log.push(format!("hook: {cause}"))).into_future());
        assert!(world.poll(all.as_mut()).is_pending());
        three.gates[0].open(Err("failed"));
        let polled = world.poll(all.as_mut());
        match N {
            1 => {
                assert_eq!((polled, three.feed.left()), (Poll::Ready(Err("failed")), 2));
                world.log.expect("end a, drop a, drop source, hook: child 0 failed");
            }
            _ => {
                assert!(polled.is_pending());
                let after = if N == 2 { "" } else { ", drop c" };
                world.log.expect(&format!("end a, drop a, drop source, hook: child 0 failed, tell b{after}"));
                three.gates[1].open(Ok(()));
                assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err("failed")));
                world.log.expect("end b, drop b");
            }
        }
    }
    with_places!(cancels);
}

#[test]
fn every_policy_of_which_nothing_is_kept() {
    fn policies<const N: usize>() {
        let outputs = |outputs: &'static [Output]| {
            from_stream_const::<N, _>(stream::iter(outputs.iter().map(|output| ready(*output))))
        };
        assert_eq!(pollster::block_on(gather(outputs(&[Ok(()), Ok(())]))), Ok(()));
        assert_eq!(pollster::block_on(gather(outputs(&[Ok(()), Err("x"), Err("y")]))), Err("x"));
        assert_eq!(pollster::block_on(gather(outputs(&[Ok(()), Err("x")])).race()), Ok(()));
        assert_eq!(pollster::block_on(gather(outputs(&[]))), Ok(()));
        let units = stream::iter((0..100).map(|_| yield_now()));
        assert_eq!(pollster::block_on(gather(from_stream_const::<N, _>(units)).settle()), ());
        let values = |values: &'static [Result<u32, ()>]| {
            from_stream_const::<N, _>(stream::iter(values.iter().map(|value| ready(*value))))
        };
        assert_eq!(pollster::block_on(gather(values(&[Err(()), Ok(7), Ok(8)])).any()), Ok(7));
        assert_eq!(pollster::block_on(gather(values(&[Err(()), Err(())])).any()), Err(()));
        let forever = gather(from_stream_const::<N, _>(stream::iter(0..).map(|_| yield_now()))).settle();
        let mut polls = 0;
        let stop = poll_fn(|cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            if polls > 100 { Poll::Ready(()) } else { Poll::Pending }
        });
        assert_eq!(pollster::block_on(forever.cancel_when(stop)), Err(Cancelled));
    }
    with_places!(policies);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_race_of_nobody_panics() {
    let nobody = stream::iter(std::iter::empty::<Ready<i32>>());
    let message = panic_of(|| {
        pollster::block_on(gather(from_stream_const::<2, _>(nobody)).race());
    });
    assert_eq!(message, "`Group::race` of a source that gave no child has no winner");
}

#[test]
fn limits_below_and_above_the_places() {
    fn limits<const N: usize>() {
        for limit in [1, 2, 3, 100] {
            let (running, most) = (Cell::new(0), Cell::new(0));
            let children = stream::iter(0..1000).map(|turn| {
                let (running, most) = (&running, &most);
                async move {
                    running.set(running.get() + 1);
                    most.set(most.get().max(running.get()));
                    for _ in 0..1 + turn % 3 {
                        yield_now().await;
                    }
                    running.set(running.get() - 1);
                    Ok::<_, ()>(())
                }
            });
            assert_eq!(pollster::block_on(gather(from_stream_const::<N, _>(children)).concurrency(limit)), Ok(()));
            assert_eq!(most.get(), limit.min(N));
        }
    }
    with_places!(limits);
}

#[test]
fn told_in_the_order_of_drawing_whatever_their_places_and_in_reverse() {
    for in_reverse in [false, true] {
        let world = World::new();
        let (feed, source) = Feed::new(&world.log);
        let stop = Gate::new();
        let group = gather(from_stream_const::<3, _>(source)).cancel_when(stop.clone().wait());
        let mut all = match in_reverse {
            true => crate::kit::boxed(group.cancel_in_reverse()),
            false => crate::kit::boxed(group),
        };
        let gates = ["a", "b", "c", "d", "e"].map(|name| {
            let (probe, gate) = world.probe::<Output>(name);
            feed.push(probe.on_cancel(move |child| child.log.push(format!("tell {name}"))));
            gate
        });
        assert!(world.poll(all.as_mut()).is_pending());
        // d lies in the place of b, e in that of a.
        gates[1].open(Ok(()));
        assert!(world.poll(all.as_mut()).is_pending());
        gates[0].open(Ok(()));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.take();
        stop.open(());
        assert!(world.poll(all.as_mut()).is_pending());
        if !in_reverse {
            world.log.expect("drop source, tell c, tell d, tell e");
            drop(all);
            world.log.expect("drop c, drop d, drop e");
            continue;
        }
        world.log.expect("drop source, tell e");
        for (at, log) in [(4, "end e, drop e, tell d"), (3, "end d, drop d, tell c"), (2, "end c, drop c")] {
            gates[at].open(Ok(()));
            assert_eq!(world.poll(all.as_mut()).is_ready(), at == 2);
            world.log.expect(log);
        }
    }
}

#[test]
fn as_a_child_and_restarted() {
    let (three, group) = three::<2>();
    let world = &three.world;
    let fails = Gate::<Output>::new();
    let mut all = pin!(gather((group, fails.clone().wait())).into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    fails.open(Err("failed"));
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("drop source, drop a, tell b");
    three.gates[1].open(Ok(()));
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err("failed")));

    let made = Cell::new(0);
    let group = restart(Limit::restarts(9), || {
        made.set(made.get() + 1);
        let made = made.get();
        from_stream_const::<2, _>(
            stream::iter(0..10).map(move |turn| ready(if turn == made { Err(turn) } else { Ok(()) })),
        )
    });
    assert_eq!(pollster::block_on(group.when(|failure| *failure.error < 9)).unwrap_err().into_source(), 9);
    assert_eq!(made.get(), 9);
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn panics_leave_nothing() {
    for place in 0..3 {
        let world = World::new();
        let (feed, source) = Feed::<Member>::new(&world.log);
        let mut all = pin!(gather(from_stream_const::<3, _>(source)).into_future());
        let blows = Gate::<()>::new();
        for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
            let (token, blows) = (world.log.token(name), (index == place).then(|| blows.clone()));
            feed.push(LocalBoxChild::new(poll_fn(move |cx| {
                let _token = &token;
                if let Some(true) = blows.as_ref().map(|blows| blows.poll(cx).is_ready()) {
                    panic!("child");
                }
                Poll::Pending
            })));
        }
        assert!(world.poll(all.as_mut()).is_pending());
        blows.open(());
        assert_eq!(panic_of(|| assert!(world.poll(all.as_mut()).is_pending())), "child");
        world.log.expect("drop source, drop a, drop b, drop c");
    }
}

/// The caller's waker is passed through, so wakes cannot be told apart; and no child is polled twice in one poll.
#[test]
fn it_draws_at_most_64_in_a_poll_and_polls_nobody_twice() {
    let world = World::new();
    let polls = Rc::new(RefCell::new(vec![]));
    let children = stream::iter(0..1000).map(|index| {
        let polls = polls.clone();
        poll_fn(move |_| {
            polls.borrow_mut().push(index);
            if index % 10 == 9 { Poll::Pending } else { Poll::Ready(Ok::<_, ()>(())) }
        })
    });
    let mut all = pin!(gather(from_stream_const::<16, _>(children)).into_future());
    for _ in 0..30 {
        assert!(world.poll(all.as_mut()).is_pending());
        let now = polls.take();
        assert!(now.len() <= 64 + 16);
        let mut distinct = now.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(now.len(), distinct.len());
    }
}

#[test]
fn sources_of_any_length() {
    fn lengths<const N: usize>() {
        for count in [0_u32, 1, 63, 64, 65, 4096] {
            let sum = Cell::new(0);
            let children = stream::iter(0..count).map(|value| {
                let sum = &sum;
                async move {
                    for _ in 0..value % 3 {
                        yield_now().await;
                    }
                    sum.set(sum.get() + u64::from(value));
                    Ok::<_, ()>(())
                }
            });
            assert_eq!(pollster::block_on(gather(from_stream_const::<N, _>(children))), Ok(()));
            assert_eq!(sum.get(), u64::from(count) * u64::from(count.max(1) - 1) / 2);
        }
    }
    with_places!(lengths);
}

/// A busy group asks its source before the children have their turn. If one of these fails, what the source gave does not
/// start any more, in reverse as little as otherwise.
#[test]
fn in_reverse_a_child_that_was_drawn_and_not_polled_does_not_start() {
    let world = World::new();
    let (feed, source) = Feed::new(&world.log);
    let [a, b, c] = ["a", "b", "c"].map(|name| world.probe::<Result<(), &str>>(name));
    let (gates, [a, b, c]) = ([a.1, b.1, c.1], [a.0, b.0, c.0].map(|probe| probe.quiet().log_polls()));
    feed.push(LocalBoxChild::new(a));
    let mut all = pin!(gather(from_stream_const::<3, _>(source)).cancel_in_reverse().into_future());
    for _ in 0..2 {
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("poll a");
    }
    feed.push(LocalBoxChild::new(b));
    feed.push(LocalBoxChild::new(c.on_cancel(|c| c.log.push("tell c"))));
    gates[0].open(Err("a"));
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("poll a, drop a, drop source, tell c, poll c");
    gates[2].open(Ok(()));
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err("a")));
    world.log.expect("poll c, drop c, drop b");
}
