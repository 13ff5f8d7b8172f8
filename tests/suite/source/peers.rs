//! What the suites of other crates check, in our words: futures' `FuturesUnordered` and `buffer_unordered`,
//! futures-concurrency's `ConcurrentStream`, moro's and async-scoped's scopes, task-group, futures-scopes.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use futures_util::stream;

use super::feed::Feed;
use crate::kit::{Alive, Gate, Output, World, yield_now};
use gather::{CancelExt, Cancelled, LocalBoxChild, from_iter, from_stream, gather};

// ---- FuturesUnordered ----

/// `is_terminated`, `works_1`: ends of children in an order of their own; a group that is empty for a while goes on.
#[test]
fn it_goes_on_when_it_was_empty_for_a_while() {
    let world = World::new();
    let (feed, source) = Feed::new(&world.log);
    let mut all = pin!(gather(from_stream(source)).into_future());
    for round in 0..3 {
        assert!(world.poll(all.as_mut()).is_pending());
        let gates: [Gate<Output>; 3] = Default::default();
        gates.iter().for_each(|gate| feed.push(LocalBoxChild::new(gate.clone().wait())));
        assert!(world.poll(all.as_mut()).is_pending());
        for at in [2, 0, 1] {
            gates[at].open(Ok(10 * round + at as u32));
            assert!(world.wakes.take() > 0);
            assert!(world.poll(all.as_mut()).is_pending());
        }
    }
    feed.end();
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok(vec![0, 1, 2, 10, 11, 12, 20, 21, 22])));
}

/// `finished_future`, `from_iterator`, `resolve_all`: children that are ready at once.
#[test]
fn children_that_are_ready_at_once_end_in_the_first_poll() {
    let world = World::new();
    let mut all = pin!(gather(from_iter([1, 2, 3].map(|value| ready(Ok::<_, ()>(value))))).into_future());
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok(vec![1, 2, 3])));
}

/// `dont_moves_in_queue`, `stress`: woken again and again, before and after their turns.
#[test]
fn repeated_wakes_of_one_child_are_one_poll_each() {
    let world = World::new();
    let polls = Rc::new(Cell::new(0));
    let waker = Rc::new(RefCell::new(None));
    let (counts, shared) = (polls.clone(), waker.clone());
    let child = poll_fn(move |cx| {
        counts.set(counts.get() + 1);
        *shared.borrow_mut() = Some(cx.waker().clone());
        Poll::<Output>::Pending
    });
    let mut all = pin!(gather(from_iter([child])).into_future());
    for round in 1..50 {
        assert!(world.poll(all.as_mut()).is_pending());
        assert_eq!(polls.get(), round);
        let waker = waker.borrow().clone().unwrap();
        (0..round).for_each(|_| waker.wake_by_ref());
        assert_eq!(world.wakes.take(), 1, "of many wakes the first one wakes the group");
    }
}

/// `iter_cancel`, `clear`: what was not ended is dropped once, and its waker does nothing after.
#[test]
fn dropped_half_way_each_child_is_dropped_once() {
    let (world, alive) = (World::new(), Alive::default());
    let gates: Vec<Gate<()>> = (0..100).map(|_| Gate::new()).collect();
    let children = gates.iter().map(|gate| {
        let (gate, inside) = (gate.clone(), alive.enter());
        async move {
            let _inside = inside;
            gate.wait().await;
            Ok::<_, ()>(())
        }
    });
    let mut all = Box::pin(gather(from_iter(children)).into_future());
    assert!(world.quiesce(all.as_mut()).0.is_pending());
    gates.iter().step_by(2).for_each(|gate| gate.open(()));
    assert!(world.quiesce(all.as_mut()).0.is_pending());
    assert_eq!(alive.count(), 50);
    drop(all);
    assert_eq!(alive.count(), 0);
    world.wakes.take();
    gates.iter().for_each(|gate| gate.open(()));
    assert_eq!(world.wakes.take(), 0);
}

/// `polled_only_once_at_most_per_iteration`, `futures_not_moved_after_poll`, `len_valid_during_out_of_order_completion` and
/// `panic_on_drop_fut` are in `drawing`, `places`, `model` and `ends`. `iter_mut_*`, `into_iter_*` are about a look at the
/// children of a set, which a group does not give.
#[test]
fn a_set_within_a_set() {
    let inner = |base: u32| {
        gather(from_iter((0..3).map(move |value| async move {
            yield_now().await;
            Ok::<_, ()>(base + value)
        })))
    };
    let all = gather(from_iter([inner(0), inner(10)]));
    assert_eq!(pollster::block_on(all), Ok(vec![vec![0, 1, 2], vec![10, 11, 12]]));
}

// ---- ConcurrentStream: limits ----

#[test]
fn a_limit_holds_and_is_reached_and_one_at_a_time_keeps_the_order() {
    for limit in [1, 2, 3, 10, 64, 65] {
        let (running, most, order) = (Cell::new(0), Cell::new(0), RefCell::new(vec![]));
        let children = (0..200_u32).map(|value| {
            let (running, most, order) = (&running, &most, &order);
            async move {
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                for _ in 0..value % 5 {
                    yield_now().await;
                }
                running.set(running.get() - 1);
                order.borrow_mut().push(value);
            }
        });
        let units = pollster::block_on(gather(from_iter(children)).settle().concurrency(limit));
        assert_eq!((units.len(), most.get()), (200, limit));
        assert!(limit > 1 || order.borrow().is_sorted());
    }
}

#[test]
fn a_failure_ends_the_iteration_at_once() {
    let made = Cell::new(0);
    let children = (0..1000).map(|value| {
        made.set(made.get() + 1);
        async move {
            yield_now().await;
            if value == 5 { Err(value) } else { Ok(()) }
        }
    });
    assert_eq!(pollster::block_on(gather(from_iter(children)).concurrency(3)), Err(5));
    assert!(made.get() <= 8, "{} were made", made.get());
}

// ---- scopes: moro, async-scoped, futures-scopes, task-group ----

/// Children borrow what lives outside the group, and change it by turns.
#[test]
fn children_borrow_from_around_the_group() {
    let (total, parts) = (Cell::new(0), [1, 2, 3, 4]);
    let children = parts.iter().map(|part| {
        let total = &total;
        async move {
            yield_now().await;
            total.set(total.get() + part);
        }
    });
    pollster::block_on(gather(from_iter(children)).settle());
    assert_eq!(total.get(), 10);
}

/// A job that is spawned within a job within a job: none is forgotten.
#[test]
fn nested_jobs_are_all_waited_for() {
    fn job(
        depth: u32,
        done: Rc<Cell<u32>>,
        jobs: futures_channel::mpsc::UnboundedSender<LocalBoxChild<'static, Output>>,
    ) -> LocalBoxChild<'static, Output> {
        LocalBoxChild::new(async move {
            yield_now().await;
            if depth < 6 {
                for _ in 0..3 {
                    jobs.unbounded_send(job(depth + 1, done.clone(), jobs.clone())).ok().unwrap();
                }
            }
            done.set(done.get() + 1);
            Ok(depth)
        })
    }
    let done = Rc::new(Cell::new(0));
    let (jobs, source) = futures_channel::mpsc::unbounded();
    jobs.unbounded_send(job(0, done.clone(), jobs.clone())).ok().unwrap();
    drop(jobs);
    let depths = pollster::block_on(gather(from_stream(source))).unwrap();
    assert_eq!((depths.len() as u32, done.get()), ((3_u32.pow(7) - 1) / 2, (3_u32.pow(7) - 1) / 2));
}

/// moro's `terminate`: a job ends the whole scope with a value, and the others are gone with it.
#[test]
fn a_job_that_ends_the_scope_gives_its_value() {
    let alive = Alive::default();
    let children = (0..10).map(|value| {
        let inside = alive.enter();
        async move {
            let _inside = inside;
            if value == 7 {
                yield_now().await;
                return Ok::<_, ()>(value);
            }
            pending().await
        }
    });
    assert_eq!(pollster::block_on(gather(from_iter(children)).any()), Ok(7));
    assert_eq!(alive.count(), 0);
}

/// async-scoped's `cancel`, task-group's drop of the manager: all are told, and what they hold is gone at the end.
#[test]
fn a_cancelled_scope_waits_for_those_that_were_told() {
    let (world, alive, stop) = (World::new(), Alive::default(), Gate::<()>::new());
    let cleans: Vec<Gate<()>> = (0..5).map(|_| Gate::new()).collect();
    let children = cleans.iter().map(|clean| {
        let (inside, clean) = (alive.enter(), clean.clone());
        let work = async move {
            let _inside = inside;
            pending::<Output>().await
        };
        work.cleanup(move || clean.wait())
    });
    let source = futures_util::StreamExt::chain(stream::iter(children), stream::pending());
    let mut all = pin!(gather(from_stream(source)).cancel_when(stop.clone().wait()).into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    stop.open(());
    assert!(world.poll(all.as_mut()).is_pending());
    assert_eq!(alive.count(), 0, "the work of each is gone, its clean-up is not");
    for (at, clean) in cleans.iter().enumerate() {
        clean.open(());
        let polled = world.poll(all.as_mut());
        assert_eq!(polled, if at == 4 { Poll::Ready(Err(Cancelled)) } else { Poll::Pending });
    }
}
