//! The passes of a `Vec`, in which the woken children alone are polled: where they begin, and where they are cut, so that
//! one poll does a bounded amount of work where the runtime rations polls.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::kit::{self, Any, At, Gate, World};
use gather::{Cancelled, Child, OnCancel, gather};

/// As many children in a row that were woken, and are pending again, end a pass.
const CUT: usize = 32;
const SIZES: [usize; 6] = [33, 64, 65, 100, 4033, 5000];

type Output = Result<usize, usize>;

/// What all children of a gather share.
#[derive(Default)]
struct Shared {
    polls: RefCell<Vec<usize>>,
    wakers: RefCell<Vec<Waker>>,
    /// They wake themselves in each poll.
    yields: Cell<bool>,
    /// Those that end in their next poll.
    ends: RefCell<BTreeSet<usize>>,
}

impl Shared {
    fn children(self: &Rc<Self>, count: usize) -> Vec<Member> {
        self.wakers.borrow_mut().resize(count, Waker::noop().clone());
        (0..count).map(|index| Member { index, shared: self.clone() }).collect()
    }

    fn polled(&self) -> Vec<usize> {
        self.polls.take()
    }

    fn wake(&self, index: usize) {
        let waker = self.wakers.borrow()[index].clone();
        waker.wake();
    }

    fn end(&self, indices: impl IntoIterator<Item = usize>) {
        self.ends.borrow_mut().extend(indices);
    }
}

/// Waits to be woken, and is drained when it is cancelled.
struct Member {
    index: usize,
    shared: Rc<Shared>,
}

impl Child for Member {
    type Output = Output;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        let Member { index, shared } = &*self;
        shared.polls.borrow_mut().push(*index);
        if shared.ends.borrow_mut().remove(index) {
            return Poll::Ready(Ok(*index));
        }
        shared.wakers.borrow_mut()[*index] = cx.waker().clone();
        if shared.yields.get() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        OnCancel::Drain
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Output>> {
        self.poll_child(cx).map(Some)
    }
}

/// Polls once, pending. Which children were polled, and how often the parent was woken.
fn pass<F: Future + ?Sized>(world: &World, shared: &Shared, all: Pin<&mut F>) -> (Vec<usize>, usize) {
    assert!(world.poll(all).is_pending());
    (shared.polled(), world.wakes.take())
}

/// So many indices from this one on, round.
fn row(from: usize, count: usize, size: usize) -> Vec<usize> {
    (from..from + count).map(|index| index % size).collect()
}

#[test]
fn two_woken_of_many_are_the_first_by_turns() {
    for size in SIZES {
        for [lower, higher] in [[0, 1], [0, size - 1], [size / 2, size - 1], [1, 2], [31, 32]] {
            let _at = At(format!("{size} children, {lower} and {higher}"));
            let (world, shared) = (World::new(), Rc::new(Shared::default()));
            let mut all = Box::pin(gather(shared.children(size)).into_future());
            assert_eq!(pass(&world, &shared, all.as_mut()), (row(0, size, size), 0));
            // The second pass begins with the second child.
            let mut order = if lower == 0 { [higher, lower] } else { [lower, higher] };
            for _ in 0..6 {
                order.iter().rev().for_each(|index| shared.wake(*index));
                assert_eq!(world.wakes.take(), 1);
                assert_eq!(pass(&world, &shared, all.as_mut()), (order.into(), 0));
                order.reverse();
            }
        }
    }
}

/// Where passes of children that are always woken begin, when each is cut: each goes on behind the last one, until they
/// have gone round; then the next one begins a child later than the first of them.
struct Rows {
    size: usize,
    /// With whom the round began, and how many were polled since.
    origin: usize,
    polled: usize,
}

impl Rows {
    fn new(size: usize) -> Self {
        Rows { size, origin: 1, polled: 0 }
    }

    fn next(&mut self) -> Vec<usize> {
        let polled = row(self.origin + self.polled, CUT, self.size);
        self.polled += CUT;
        if self.polled >= self.size {
            (self.origin, self.polled) = (self.origin + 1, 0);
        }
        polled
    }
}

/// The next pass goes on behind the cut; and in time each child is the first of a pass.
#[test]
fn a_pass_ends_behind_32_that_are_pending_again() {
    for size in SIZES {
        for boxed in [false, true] {
            let _at = At(format!("{size} children, boxed slice: {boxed}"));
            let (world, shared) = (World::new(), Rc::new(Shared::default()));
            shared.yields.set(true);
            let mut all: Any<'_, Result<Vec<usize>, usize>> = match boxed {
                false => kit::any(gather(shared.children(size))),
                true => kit::any(gather(shared.children(size).into_boxed_slice())),
            };
            // The first pass is not cut.
            assert_eq!(pass(&world, &shared, all.as_mut()), (row(0, size, size), 1));
            let (mut rows, mut first) = (Rows::new(size), BTreeSet::new());
            for _ in 0..2 * size {
                let (polled, wakes) = pass(&world, &shared, all.as_mut());
                assert_eq!((&polled, wakes), (&rows.next(), 1));
                first.insert(polled[0]);
            }
            assert_eq!(first.len(), size, "each was the first of a pass");
            // Once they no longer wake themselves, each is polled once more.
            shared.yields.set(false);
            let mut polled = vec![];
            while world.wakes.take() > 0 || polled.is_empty() {
                assert!(world.poll(all.as_mut()).is_pending());
                polled.extend(shared.polled());
            }
            polled.sort_unstable();
            assert_eq!(polled, row(0, size, size));
        }
    }
}

#[test]
fn one_that_is_woken_after_the_cut_waits_for_its_turn() {
    let (world, shared) = (World::new(), Rc::new(Shared::default()));
    let mut all = Box::pin(gather(shared.children(100)).into_future());
    assert_eq!(pass(&world, &shared, all.as_mut()), (row(0, 100, 100), 0));
    (0..50).for_each(|index| shared.wake(index));
    assert_eq!(world.wakes.take(), 1);
    assert_eq!(pass(&world, &shared, all.as_mut()), (row(1, 32, 100), 1));
    // Of these, one was polled in the pass that was cut, and one is behind all that wait.
    for index in [5, 80] {
        shared.wake(index);
    }
    assert_eq!(world.wakes.take(), 0, "the parent was woken already");
    let expected: Vec<_> = (33..50).chain([80, 0, 5]).collect();
    assert_eq!(pass(&world, &shared, all.as_mut()), (expected, 0));
    shared.wake(7);
    assert_eq!(world.wakes.take(), 1);
    assert_eq!(pass(&world, &shared, all.as_mut()), (vec![7], 0));
}

#[test]
fn fewer_than_32_are_all_polled_in_every_pass_and_go_round() {
    for size in [1, 2, 31] {
        let _at = At(format!("{size} children"));
        let (world, shared) = (World::new(), Rc::new(Shared::default()));
        shared.yields.set(true);
        let mut all = Box::pin(gather(shared.children(size)).into_future());
        for first in 0..3 * size {
            assert_eq!(pass(&world, &shared, all.as_mut()), (row(first, size, size), 1));
        }
    }
}

#[test]
fn a_child_that_ends_starts_the_count_anew() {
    let (world, shared) = (World::new(), Rc::new(Shared::default()));
    shared.yields.set(true);
    let mut all = Box::pin(gather(shared.children(200)).into_future());
    assert_eq!(pass(&world, &shared, all.as_mut()), (row(0, 200, 200), 1));
    // Behind 19 and 31 others.
    shared.end([20, 52]);
    assert_eq!(pass(&world, &shared, all.as_mut()), (row(1, 19 + 1 + 31 + 1 + 32, 200), 1));
    // The 32nd one itself.
    shared.end([85 + 31]);
    assert_eq!(pass(&world, &shared, all.as_mut()), (row(85, 32 + 32, 200), 1));
    // One behind that is too late.
    shared.end([149 + 32]);
    assert_eq!(pass(&world, &shared, all.as_mut()), (row(149, 32, 200), 1));
    // All.
    shared.end((0..200).filter(|index| ![20, 52, 116].contains(index)));
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok((0..200).collect())));
    let order = row(181, 200, 200).into_iter().filter(|index| ![20, 52, 116].contains(index));
    assert_eq!((shared.polled(), world.wakes.take()), (order.collect(), 0));
}

/// A drain begins with the first child, wherever the last pass was cut.
#[test]
fn the_first_pass_of_a_drain_is_not_cut_and_later_ones_are() {
    for polls in [0, 1, 2, 5] {
        for nested in [false, true] {
            let _at = At(format!("cancelled in poll {polls}, nested: {nested}"));
            let (world, shared, signal) = (World::new(), Rc::new(Shared::default()), Gate::new());
            shared.yields.set(true);
            let children = shared.children(100);
            let mut all: Any<'_, Result<(), Cancelled>> = match nested {
                false => {
                    let cancelled = gather(children).cancel_when(signal.clone().wait());
                    Box::pin(async { cancelled.await.map(|_| ()) })
                }
                true => {
                    let inner = gather(children);
                    let cancelled = gather([inner]).cancel_when(signal.clone().wait());
                    Box::pin(async { cancelled.await.map(|_| ()) })
                }
            };
            let mut rows = Rows::new(100);
            for number in 0..polls {
                let expected = if number == 0 { row(0, 100, 100) } else { rows.next() };
                assert_eq!(pass(&world, &shared, all.as_mut()), (expected, 1));
            }
            signal.open(());
            let (polled, wakes) = pass(&world, &shared, all.as_mut());
            // A signal that is ready in the first poll starts no child: they are polled only in the drain.
            let mut expected = if polls == 0 { vec![] } else { rows.next() };
            expected.extend(0..100);
            assert_eq!(polled, expected);
            assert!(wakes > 0);
            let mut rows = Rows::new(100);
            for _ in 0..50 {
                assert_eq!(pass(&world, &shared, all.as_mut()), (rows.next(), 1));
            }
            shared.end(0..100);
            assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err(Cancelled)));
            assert_eq!(shared.polled(), row(rows.next()[0], 100, 100));
        }
    }
}

#[test]
fn a_freed_place_is_filled_in_a_poll_whose_pass_is_cut() {
    let (world, shared) = (World::new(), Rc::new(Shared::default()));
    shared.yields.set(true);
    let mut all = Box::pin(gather(shared.children(100)).concurrency(40).into_future());
    assert_eq!(pass(&world, &shared, all.as_mut()), (row(0, 40, 100), 1));
    shared.end([5]);
    let expected: Vec<_> = (1..5 + 1 + 32).chain([40]).collect();
    assert_eq!(pass(&world, &shared, all.as_mut()), (expected, 1));
    // Behind the cut, and not behind the one that was started.
    let expected: Vec<_> = (38..41).chain(0..5).chain(6..30).collect();
    assert_eq!(pass(&world, &shared, all.as_mut()), (expected, 1));
    // That one went round. Three places are freed behind 31 others, and none is polled twice.
    shared.end(38..41);
    let expected: Vec<_> = (2..5).chain(6..34).chain(34..35).collect();
    assert_eq!(pass(&world, &shared, all.as_mut()), (expected, 1));
    let expected: Vec<_> = (35..41).chain(0..5).chain(6..33).chain(41..44).collect();
    assert_eq!(pass(&world, &shared, all.as_mut()), (expected, 1));
}

/// One that is polled for the first time was not woken.
#[test]
fn children_that_start_do_not_count() {
    let (world, shared) = (World::new(), Rc::new(Shared::default()));
    shared.yields.set(true);
    let mut all = Box::pin(gather(shared.children(200)).concurrency(100).into_future());
    assert_eq!(pass(&world, &shared, all.as_mut()), (row(0, 100, 200), 1));
    shared.end(20..100);
    // Those before them are pending again, and so are the 80 that are started.
    let expected: Vec<_> = (1..100).chain([0]).chain(100..180).collect();
    assert_eq!(pass(&world, &shared, all.as_mut()), (expected, 1));
    // From now on they count.
    let expected: Vec<_> = (2..20).chain(100..114).collect();
    assert_eq!(pass(&world, &shared, all.as_mut()), (expected, 1));
}

/// Its children cannot be told apart.
#[test]
fn an_array_is_not_cut() {
    let (world, shared) = (World::new(), Rc::new(Shared::default()));
    shared.yields.set(true);
    let Ok(children) = <[Member; 100]>::try_from(shared.children(100)) else { unreachable!() };
    let mut all = kit::any(gather(children));
    for first in 0..250 {
        let (polled, wakes) = pass(&world, &shared, all.as_mut());
        assert_eq!(polled, row(first, 100, 100));
        assert!(wakes > 0);
    }
}

/// Where a pass begins and ends, said in the simplest words.
#[derive(Default)]
struct Naive {
    size: usize,
    woken: BTreeSet<usize>,
    next: usize,
    /// With whom the round began that the next pass goes on with.
    origin: Option<usize>,
}

impl Naive {
    /// Which children are polled, and whether the pass is cut.
    fn pass(&mut self, ends: &BTreeSet<usize>) -> (Vec<usize>, bool) {
        let round: Vec<_> = self.woken.range(self.next..).chain(self.woken.range(..self.next)).copied().collect();
        let (mut polled, mut fruitless) = (vec![], 0);
        for index in round {
            self.woken.remove(&index);
            polled.push(index);
            fruitless = if ends.contains(&index) { 0 } else { fruitless + 1 };
            if fruitless == CUT {
                break;
            }
        }
        let is_cut = fruitless == CUT;
        if let [first, ..] = polled[..] {
            let (origin, from) = self.origin.map_or((first, first), |origin| (origin, self.next));
            // From there to the one behind the cut.
            let last = *polled.last().unwrap();
            let way = (last + self.size - from % self.size) % self.size + 1;
            let mut steps = usize::from(self.origin.is_none())..=way;
            let is_round = !is_cut || steps.any(|step| (from + step) % self.size == origin);
            (self.next, self.origin) = if is_round { (origin + 1, None) } else { (last + 1, Some(origin)) };
        }
        (polled, is_cut)
    }
}

/// Numbers that look random.
fn numbers() -> impl FnMut(usize) -> usize {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    }
}

/// Wakes and ends that are drawn by lot, to the end of all children.
#[test]
fn passes_are_those_of_a_naive_model() {
    let mut number = numbers();
    for (size, drains) in [1, 2, 40, 64, 65, 130, 4033, 5000].into_iter().flat_map(|size| [(size, false), (size, true)])
    {
        let _at = At(format!("{size} children, which drain: {drains}"));
        let (world, shared, signal) = (World::new(), Rc::new(Shared::default()), Gate::new());
        let mut all = Box::pin(gather(shared.children(size)).cancel_when(signal.clone().wait()).into_future());
        assert_eq!(pass(&world, &shared, all.as_mut()), (row(0, size, size), 0));
        if drains {
            signal.open(());
            world.wakes.take();
            assert_eq!(pass(&world, &shared, all.as_mut()), (row(0, size, size), 0));
        }
        let mut model = Naive { size, woken: BTreeSet::new(), next: 1, origin: None };
        let (mut live, mut was_cut): (BTreeSet<usize>, bool) = ((0..size).collect(), false);
        loop {
            let rest: Vec<_> = live.iter().copied().collect();
            // A few, or many, scattered or in a row; some of which end.
            let count = [1, 3, 40, 100, size][number(5)].min(size);
            let (from, step) = (number(rest.len()), [1, 1, 7][number(3)]);
            let woken: BTreeSet<_> = (0..count).map(|turn| rest[(from + turn * step) % rest.len()]).collect();
            woken.iter().for_each(|index| shared.wake(*index));
            let may_end = [2, 30, 200][number(3)];
            let ends: BTreeSet<_> = woken.iter().copied().filter(|_| number(may_end) == 0).collect();
            shared.end(ends.clone());
            model.woken.extend(&woken);

            assert_eq!(world.wakes.take(), usize::from(!was_cut));
            let ends = shared.ends.borrow().clone();
            let (polled, is_cut) = model.pass(&ends);
            polled.iter().filter(|index| ends.contains(index)).for_each(|index| _ = live.remove(index));
            let ended = world.poll(all.as_mut());
            assert_eq!((shared.polled(), world.wakes.take()), (polled, usize::from(is_cut)));
            was_cut = is_cut;
            if live.is_empty() {
                let expected = if drains { Err(Cancelled) } else { Ok(Ok((0..size).collect())) };
                assert_eq!(ended, Poll::Ready(expected));
                break;
            }
            assert!(ended.is_pending());
        }
    }
}
