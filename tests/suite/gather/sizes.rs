//! Any number of children: every path at the sizes where the book-keeping changes its shape.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::{Future, pending, poll_fn, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::kit::{self, At, World, panic_of};
use gather::{CancelExt, Cancelled, LocalBoxChild, gather};

const SIZES: [usize; 17] = [0, 1, 2, 30, 31, 63, 64, 65, 127, 128, 129, 4032, 4033, 4095, 4096, 4097, 300_000];

/// Runs a test for each size.
fn at_each_size(test: impl Fn(usize)) {
    for size in SIZES {
        let _at = At(format!("{size} children"));
        test(size);
    }
}

/// What happened to each child: how often it was polled, and dropped.
#[derive(Default)]
struct Seen {
    polls: RefCell<Vec<usize>>,
    drops: RefCell<Vec<usize>>,
}

/// Notes its polls and its drop; does in each poll what the closure says.
struct Noted<F> {
    index: usize,
    seen: Rc<Seen>,
    act: F,
}

impl<F, T> Future for Noted<F>
where
    F: FnMut(usize, &mut Context<'_>) -> Poll<T> + Unpin,
{
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let index = self.index;
        self.seen.polls.borrow_mut().push(index);
        (self.act)(index, cx)
    }
}

impl<F> Drop for Noted<F> {
    fn drop(&mut self) {
        self.seen.drops.borrow_mut().push(self.index);
    }
}

fn noted<F>(size: usize, seen: &Rc<Seen>, act: F) -> Vec<Noted<F>>
where
    F: Clone,
{
    (0..size).map(|index| Noted { index, seen: seen.clone(), act: act.clone() }).collect()
}

type Output = Result<usize, usize>;

fn all(size: usize) -> Vec<usize> {
    (0..size).collect()
}

/// Sorted indices in the order of a pass that begins with this one, and goes round.
fn round(indices: &[usize], first: usize) -> Vec<usize> {
    let (before, behind) = indices.split_at(indices.partition_point(|index| *index < first));
    [behind, before].concat()
}

#[test]
fn ready_children_complete_in_one_poll_in_order() {
    at_each_size(|size| {
        let seen = Rc::new(Seen::default());
        let world = World::new();
        let children = noted(size, &seen, |index, _: &mut Context<'_>| Poll::Ready(Ok::<_, ()>(index)));
        let mut gather = Box::pin(gather(children).into_future());
        assert_eq!(world.poll(gather.as_mut()), Poll::Ready(Ok(all(size))));
        assert_eq!((seen.polls.take(), seen.drops.take()), (all(size), all(size)));
        assert_eq!(world.wakes.take(), 0);
    });
}

#[test]
fn yielding_children_complete_in_two_polls_and_wake_once() {
    at_each_size(|size| {
        let seen = Rc::new(Seen::default());
        let world = World::new();
        let mut gather = Box::pin(gather(noted(size, &seen, yields_once())).into_future());
        if size > 0 {
            assert!(world.poll(gather.as_mut()).is_pending());
            assert_eq!(world.wakes.take(), 1);
            assert_eq!(seen.polls.take(), all(size));
        }
        assert_eq!(world.poll(gather.as_mut()), Poll::Ready(Ok(all(size))));
        let order = round(&all(size), 1);
        assert_eq!((seen.polls.take(), seen.drops.take()), (order.clone(), order));
    });
}

/// Each clone yields once.
fn yields_once() -> impl FnMut(usize, &mut Context<'_>) -> Poll<Output> + Clone {
    let mut polled = false;
    move |index, cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(Ok(index));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Children that end when they are told to, through a waker of their own.
struct Slots(Rc<RefCell<Vec<(Option<Output>, Option<Waker>)>>>);

impl Slots {
    fn new(size: usize) -> Self {
        Slots(Rc::new(RefCell::new((0..size).map(|_| (None, None)).collect())))
    }

    fn act(&self) -> impl FnMut(usize, &mut Context<'_>) -> Poll<Output> + Clone + use<> {
        let slots = self.0.clone();
        move |index, cx: &mut Context<'_>| {
            let slot = &mut slots.borrow_mut()[index];
            match slot.0.take() {
                Some(output) => Poll::Ready(output),
                None => {
                    slot.1 = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        }
    }

    fn wake(&self, index: usize) {
        let waker = self.0.borrow_mut()[index].1.take();
        waker.expect("it was polled").wake();
    }

    fn end(&self, index: usize, output: Output) {
        self.0.borrow_mut()[index].0 = Some(output);
        self.wake(index);
    }
}

/// Some indices of so many, scattered, each once, the last one first. Fewer than the 32 behind which a pass may end.
fn scattered(size: usize) -> Vec<usize> {
    let step = (size / 17).max(1) | 1;
    let mut picked: Vec<usize> = (0..size.min(31)).map(|turn| turn * step * 7 % size).collect();
    picked.sort();
    picked.dedup();
    picked.reverse();
    picked
}

#[test]
fn only_woken_children_are_polled_in_the_order_of_the_pass_after_one_wake() {
    at_each_size(|size| {
        let (seen, slots, world) = (Rc::new(Seen::default()), Slots::new(size), World::new());
        let mut gather = Box::pin(gather(noted(size, &seen, slots.act())).into_future());
        if size == 0 {
            return;
        }
        assert!(world.poll(gather.as_mut()).is_pending());
        seen.polls.take();

        let mut woken = scattered(size);
        for &index in &woken {
            slots.wake(index);
        }
        assert_eq!(world.wakes.take(), 1);
        // A poll for another reason in between would have seen them; this one does.
        assert!(world.poll(gather.as_mut()).is_pending());
        woken.reverse();
        assert_eq!(seen.polls.take(), round(&woken, 1));
        assert_eq!(world.wakes.take(), 0);
        assert!(world.poll(gather.as_mut()).is_pending());
        assert_eq!(seen.polls.take(), []);

        // One at a time, to their end.
        for &index in &woken {
            slots.end(index, Ok(index));
            assert_eq!(world.wakes.take(), 1);
            let polled = world.poll(gather.as_mut());
            assert_eq!(polled.is_ready(), seen.drops.borrow().len() == size);
            assert_eq!(seen.polls.take(), [index]);
        }
        assert_eq!(seen.drops.take(), woken);
        drop(gather);
        let rest: Vec<_> = all(size).into_iter().filter(|index| woken.binary_search(index).is_err()).collect();
        assert_eq!(seen.drops.take(), rest);
    });
}

#[test]
fn wakers_outlive_the_gather_and_do_nothing() {
    at_each_size(|size| {
        let (seen, slots, world) = (Rc::new(Seen::default()), Slots::new(size), World::new());
        let mut gather = Box::pin(gather(noted(size, &seen, slots.act())).into_future());
        let _ = world.poll(gather.as_mut());
        drop(gather);
        assert_eq!(seen.drops.take(), all(size));
        for (_, waker) in slots.0.take() {
            let waker = waker.unwrap();
            waker.wake_by_ref();
            drop(waker.clone());
            waker.wake();
        }
        assert_eq!(world.wakes.take(), 0);
    });
}

#[test]
fn a_failure_drops_all_in_index_order_and_polls_none_behind_it() {
    at_each_size(|size| {
        if size == 0 {
            return;
        }
        // In the second pass, of which the first child is the last.
        for failing in [vec![0], vec![0, size - 1], vec![0, size / 2, size - 1]] {
            let (seen, slots, world) = (Rc::new(Seen::default()), Slots::new(size), World::new());
            let mut gather = Box::pin(gather(noted(size, &seen, slots.act())).into_future());
            assert!(world.poll(gather.as_mut()).is_pending());
            seen.polls.take();
            let failing: BTreeSet<_> = failing.into_iter().collect();
            for &index in failing.iter().rev() {
                slots.end(index, Err(index));
            }
            let first = *failing.range(1..).next().unwrap_or(&0);
            assert_eq!(world.poll(gather.as_mut()), Poll::Ready(Err(first)));
            assert_eq!(seen.polls.take(), [first]);
            let mut order = all(size);
            order.remove(first);
            order.insert(0, first);
            assert_eq!(seen.drops.take(), order);
        }
    });
}

#[test]
fn told_children_are_drained_and_the_rest_is_dropped_when_the_grace_is_over() {
    at_each_size(|size| {
        let (seen, slots, world) = (Rc::new(Seen::default()), Slots::new(size), World::new());
        let (signal, over) = (kit::Gate::new(), kit::Gate::new());
        let told = Rc::new(RefCell::new(vec![]));
        let children: Vec<_> = noted(size, &seen, slots.act())
            .into_iter()
            .map(|child| {
                let told = told.clone();
                child.on_cancel(move |child| told.borrow_mut().push(child.index))
            })
            .collect();
        let cancelled = gather(children).cancel_when(signal.clone().wait()).grace(|| over.clone().wait());
        let mut gather = Box::pin(cancelled.into_future());
        if size == 0 {
            assert_eq!(world.poll(gather.as_mut()), Poll::Ready(Ok(Ok(vec![]))));
            return;
        }
        assert!(world.poll(gather.as_mut()).is_pending());
        assert_eq!(seen.polls.take(), all(size));
        signal.open(());
        assert!(world.poll(gather.as_mut()).is_pending());
        assert_eq!((told.take(), seen.polls.take()), (all(size), all(size)));

        let mut ended = scattered(size);
        for &index in &ended {
            slots.end(index, if index % 2 == 0 { Ok(index) } else { Err(index) });
        }
        ended.reverse();
        let (polled, order) = (world.poll(gather.as_mut()), round(&ended, 1));
        assert_eq!((seen.polls.take(), seen.drops.take()), (order.clone(), order));
        if ended.len() == size {
            assert_eq!(polled, Poll::Ready(Err(Cancelled)));
            return;
        }
        over.open(());
        assert_eq!(world.poll(gather.as_mut()), Poll::Ready(Err(Cancelled)));
        let rest: Vec<_> = all(size).into_iter().filter(|index| ended.binary_search(index).is_err()).collect();
        assert_eq!((seen.polls.take(), seen.drops.take()), (vec![], rest));
        assert_eq!(told.take(), []);
    });
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_panic_drops_all_untold() {
    at_each_size(|size| {
        if size == 0 {
            return;
        }
        for panicking in [0, size / 2, size - 1] {
            let (seen, world) = (Rc::new(Seen::default()), World::new());
            let mut gather =
                Box::pin(
                    gather(noted(size, &seen, move |index, _: &mut Context<'_>| {
                        if index == panicking { panic!("child") } else { Poll::<Output>::Pending }
                    }))
                    .into_future(),
                );
            assert_eq!(panic_of(|| _ = world.poll(gather.as_mut())), "child");
            assert_eq!(seen.polls.take(), all(panicking + 1));
            assert_eq!(seen.drops.take(), all(size));
        }
    });
}

#[test]
fn values_of_a_failed_gather_are_dropped_once() {
    at_each_size(|size| {
        let dropped = Rc::new(Cell::new(0));
        struct Value(Rc<Cell<usize>>);
        impl Drop for Value {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        for ends in ["fails", "is dropped"] {
            dropped.set(0);
            let mut children: Vec<LocalBoxChild<Result<Value, ()>>> =
                (0..size).map(|_| LocalBoxChild::new(ready(Ok(Value(dropped.clone()))))).collect();
            children.push(match ends {
                "fails" => LocalBoxChild::new(ready(Err(()))),
                _ => LocalBoxChild::new(pending()),
            });
            let mut gather = Box::pin(gather(children).into_future());
            let polled = gather.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert_eq!(polled.is_ready(), ends == "fails");
            assert!(polled.is_pending() || dropped.get() == size);
            drop(gather);
            assert_eq!(dropped.get(), size);
        }
    });
}

#[test]
fn at_most_so_many_have_started_and_not_ended() {
    at_each_size(|size| {
        for limit in [1, 2, 63, 64, 65, 1000, usize::MAX] {
            let _at = At(format!("at most {limit}"));
            let (seen, slots, world) = (Rc::new(Seen::default()), Slots::new(size), World::new());
            let mut gather = Box::pin(gather(noted(size, &seen, slots.act())).concurrency(limit).into_future());
            let mut started = size.min(limit);
            let mut polled = world.poll(gather.as_mut());
            assert_eq!(seen.polls.take(), all(started));
            // The last one that runs ends, then the first one: a place is filled in the same poll, by the next one. A
            // pass begins behind the child with which the last one began.
            let (mut ended, mut next) = (vec![], 1);
            for _ in 0..20 {
                let running: Vec<_> = (started.saturating_sub(limit.saturating_add(40))..started)
                    .filter(|i| !ended.contains(i))
                    .collect();
                let (Some(&first), Some(&last)) = (running.first(), running.last()) else { break };
                let mut ending = vec![first, last];
                ending.dedup();
                for &index in ending.iter().rev() {
                    slots.end(index, Ok(index));
                }
                polled = world.poll(gather.as_mut());
                ended.extend(&ending);
                let starts = size.min(started + ending.len()).min(limit.saturating_add(ended.len()));
                let mut expected = round(&ending, next);
                next = expected[0] + 1;
                expected.extend(started..starts);
                assert_eq!(seen.polls.take(), expected);
                started = starts;
            }
            assert_eq!(polled.is_ready(), ended.len() == size);
            drop(gather);
            assert_eq!(seen.drops.take().len(), size);
        }
    });
}

#[test]
fn with_a_limit_all_that_are_ready_complete_in_one_poll() {
    at_each_size(|size| {
        let world = World::new();
        let children: Vec<_> = (0..size).map(|index| ready(Ok::<_, ()>(index))).collect();
        let mut gather = Box::pin(gather(children).concurrency(3).into_future());
        assert_eq!(world.poll(gather.as_mut()), Poll::Ready(Ok(all(size))));
    });
}

#[test]
fn those_that_have_not_started_are_cancelled_too() {
    at_each_size(|size| {
        let (seen, world) = (Rc::new(Seen::default()), World::new());
        let signal = kit::Gate::new();
        let children = noted(size, &seen, |_, _: &mut Context<'_>| Poll::<Output>::Pending);
        let mut gather = Box::pin(gather(children).concurrency(2).cancel_when(signal.clone().wait()).into_future());
        let polled = world.poll(gather.as_mut());
        assert_eq!(polled.is_ready(), size == 0);
        if polled.is_ready() {
            return;
        }
        signal.open(());
        assert_eq!(world.poll(gather.as_mut()), Poll::Ready(Err(Cancelled)));
        assert_eq!(seen.polls.take(), all(size.min(2)));
        assert_eq!(seen.drops.take(), all(size));
    });
}

#[test]
fn told_ones_that_have_not_started_begin_in_index_order_and_no_more_at_a_time() {
    for size in SIZES.into_iter().filter(|size| (1..5000).contains(size)) {
        for (limit, polled_first) in [1, 2, 64, 1000].into_iter().flat_map(|limit| [(limit, false), (limit, true)]) {
            let _at = At(format!("{size} children, at most {limit}, polled first: {polled_first}"));
            let (seen, world, signal) = (Rc::new(Seen::default()), World::new(), kit::Gate::new());
            let (stop, running) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
            let act = {
                let (stop, running, mut started) = (stop.clone(), running.clone(), false);
                move |_, cx: &mut Context<'_>| {
                    if !std::mem::replace(&mut started, true) {
                        running.set(running.get() + 1);
                        assert!(running.get() <= limit);
                    } else if stop.get() {
                        running.set(running.get() - 1);
                        return Poll::<Output>::Ready(Ok(1));
                    }
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            };
            // They end when they were told, in their second poll or later.
            let children: Vec<_> =
                noted(size, &seen, act).into_iter().map(|child| child.on_cancel(|_| stop.set(true))).collect();
            let mut gather =
                Box::pin(gather(children).concurrency(limit).cancel_when(signal.clone().wait()).into_future());
            if polled_first {
                assert!(world.poll(gather.as_mut()).is_pending());
                assert_eq!(seen.polls.borrow().len(), size.min(limit));
            }
            signal.open(());
            let mut polls = 0;
            let ended = loop {
                polls += 1;
                assert!(polls <= 2 * size + 2);
                if let Poll::Ready(ended) = world.poll(gather.as_mut()) {
                    break ended;
                }
                assert!(world.wakes.take() > 0);
            };
            // Each was polled to its end, and they began in index order.
            assert_eq!((ended, running.get()), (Err(Cancelled), 0));
            let (mut begun, mut polled) = (vec![], vec![false; size]);
            for index in seen.polls.take() {
                if !std::mem::replace(&mut polled[index], true) {
                    begun.push(index);
                }
            }
            assert_eq!((begun, seen.drops.take().len()), (all(size), size));
        }
    }
}

#[test]
fn a_limit_holds_in_tuples_and_arrays_too() {
    for container in kit::CONTAINERS {
        let _at = At(format!("{container:?}"));
        let (seen, slots, world) = (Rc::new(Seen::default()), Slots::new(3), World::new());
        let [c, b, a] = {
            let mut children = noted(3, &seen, slots.act());
            [(); 3].map(|()| children.pop().unwrap())
        };
        let mut gather = kit::gather_in!(container, [a, b, c], |gather| gather.concurrency(1));
        assert!(world.poll(gather.as_mut()).is_pending());
        assert_eq!(seen.polls.take(), [0]);
        slots.end(0, Ok(0));
        assert!(world.poll(gather.as_mut()).is_pending());
        assert_eq!(seen.polls.take(), [0, 1]);
        slots.end(1, Err(1));
        assert_eq!(world.poll(gather.as_mut()), Poll::Ready(Err(1)));
        assert_eq!(seen.polls.take(), [1]);
        assert_eq!(seen.drops.take(), [0, 1, 2]);
    }
}

#[test]
fn children_woken_in_a_pass_are_polled_in_it_if_they_are_ahead() {
    at_each_size(|size| {
        if size < 3 {
            return;
        }
        // In the second pass, which begins with the second child, the middle one wakes the second one and itself, whose
        // turn is over, and the last and the first, which are ahead.
        let world = World::new();
        let wakers: Rc<RefCell<Vec<Option<Waker>>>> = Rc::new(RefCell::new(vec![None; size]));
        let seen = Rc::new(Seen::default());
        let middle = size / 2;
        let acts = Rc::new(Cell::new(false));
        let children = noted(size, &seen, {
            let (wakers, acts) = (wakers.clone(), acts.clone());
            move |index, cx: &mut Context<'_>| {
                wakers.borrow_mut()[index] = Some(cx.waker().clone());
                if index == middle && acts.replace(false) {
                    for index in [0, 1, middle, size - 1] {
                        wakers.borrow()[index].as_ref().unwrap().wake_by_ref();
                    }
                }
                Poll::<Output>::Pending
            }
        });
        let mut gather = Box::pin(gather(children).into_future());
        assert!(world.poll(gather.as_mut()).is_pending());
        seen.polls.take();
        acts.set(true);
        wakers.borrow()[middle].as_ref().unwrap().wake_by_ref();
        assert_eq!(world.wakes.take(), 1);
        assert!(world.poll(gather.as_mut()).is_pending());
        assert_eq!(seen.polls.take(), [middle, size - 1, 0]);
        assert_eq!(world.wakes.take(), 1);
        assert!(world.poll(gather.as_mut()).is_pending());
        assert_eq!(seen.polls.take(), if middle == 1 { vec![1] } else { vec![1, middle] });
        assert_eq!(world.wakes.take(), 0);
    });
}

#[test]
fn a_deep_stack_is_not_needed() {
    // On a thread with a small stack.
    std::thread::Builder::new()
        .stack_size(64 * 1024)
        .spawn(|| {
            let children: Vec<_> = (0..300_000)
                .map(|index| {
                    let mut polled = false;
                    poll_fn(move |cx| {
                        if std::mem::replace(&mut polled, true) {
                            return Poll::Ready(Ok::<_, ()>(index));
                        }
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    })
                    .on_cancel(|_| ())
                })
                .collect();
            let values = pollster::block_on(gather(children).concurrency(100_000)).unwrap();
            assert_eq!(values.len(), 300_000);
        })
        .unwrap()
        .join()
        .unwrap();
}
