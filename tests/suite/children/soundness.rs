//! The worst that safe code can do to where children and outputs lie. AddressSanitizer runs it too.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::hint::black_box;
use std::marker::PhantomPinned;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::kit::{
    self, Alive, At, CONTAINERS, Container, FIXED, Flatten, Output, Token, World, borrowing, gather_in, panic_of,
};
use gather::{CancelExt, Cancelled, Child, Limit, LocalBoxChild, OnCancel, RestartError, gather, restart};
use tokio::sync::Notify;

const SIZES: [usize; 6] = [1, 2, 64, 65, 130, 4033];

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// To another place.
#[allow(clippy::boxed_local, reason = "it is moved out of its box")]
fn moved<F>(gather: Box<F>) -> Box<F> {
    let gather = *gather;
    Box::new(black_box(gather))
}

/// With room for more children than there are.
fn with_room<C>(count: usize, child: impl FnMut(usize) -> C) -> Vec<C> {
    let mut children = Vec::with_capacity(count + 5);
    children.extend((0..count).map(child));
    children
}

/// Asserts that it is where it was when it was first called.
struct Still<'a> {
    at: Cell<usize>,
    polls: Cell<usize>,
    act: &'a dyn Fn(usize) -> Poll<Output>,
    alive: &'a Cell<usize>,
    _pinned: PhantomPinned,
}

impl<'a> Still<'a> {
    fn new(act: &'a dyn Fn(usize) -> Poll<Output>, alive: &'a Cell<usize>) -> Self {
        alive.set(alive.get() + 1);
        Still { at: Cell::new(0), polls: Cell::new(0), act, alive, _pinned: PhantomPinned }
    }

    fn assert_still(&self) {
        let here = (&raw const *self).addr();
        assert!([0, here].contains(&self.at.replace(here)), "it was moved");
    }
}

impl Child for Still<'_> {
    type Output = Output;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        self.assert_still();
        self.polls.set(self.polls.get() + 1);
        cx.waker().wake_by_ref();
        (self.act)(self.polls.get())
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        self.assert_still();
        OnCancel::Drain
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Output>> {
        self.poll_child(cx).map(Some)
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        if self.polls.get() > 0 {
            self.assert_still();
        }
        self.alive.set(self.alive.get() - 1);
    }
}

/// The gather over a `Vec` is `Unpin`, and is moved after each poll; its children are not.
#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn children_stay_where_they_are_though_the_gather_is_moved() {
    let endless: &dyn Fn(usize) -> Poll<Output> = &|_| Poll::Pending;
    let ends = |end: fn() -> Output| move |polls| if polls < 4 { Poll::Pending } else { Poll::Ready(end()) };
    let (completes, fails, panics) = (ends(|| Ok(1)), ends(|| Err("failed")), ends(|| panic!("child")));
    let acts: [(&str, &dyn Fn(usize) -> Poll<Output>); 3] =
        [("completes", &completes), ("fails, and drains", &fails), ("panics", &panics)];
    for (size, (name, act)) in SIZES.into_iter().flat_map(|size| acts.map(|act| (size, act))) {
        let _at = At(format!("{size} children, one {name}"));
        let alive = Cell::new(0);
        let children = with_room(size, |index| {
            let act = if name == "completes" || index == size / 2 { act } else { endless };
            Still::new(act, &alive)
        });
        let mut grace = 0;
        let over = || {
            poll_fn(move |_| {
                grace += 1;
                if grace < 3 { Poll::Pending } else { Poll::Ready(()) }
            })
        };
        let mut gather = Box::new(gather(children).grace(over).into_future());
        let ended = catch_unwind(AssertUnwindSafe(|| {
            loop {
                gather = moved(gather);
                if let Poll::Ready(result) = poll(&mut *gather) {
                    break result;
                }
            }
        }));
        match (name, ended) {
            ("completes", Ok(Ok(values))) => assert_eq!(values.len(), size),
            ("panics", Err(_)) | ("fails, and drains", Ok(Err("failed"))) => {}
            (_, ended) => panic!("ended with {ended:?}"),
        }
        assert_eq!(alive.get(), 0);
    }
    // Forgotten, they are never dropped, and nothing else may ever lie where they lie.
    let alive = Cell::new(0);
    let mut forgotten = gather(with_room(3, |_| Still::new(endless, &alive))).into_future();
    assert!(poll(&mut forgotten).is_pending());
    let forgotten = std::mem::ManuallyDrop::new(forgotten);
    assert_eq!(alive.get(), 3);
    drop(std::mem::ManuallyDrop::into_inner(forgotten));
    assert_eq!(alive.get(), 0);
}

/// Waiters that lie in the children, linked to each other: woken, ended and dropped in every order.
#[test]
fn children_that_are_linked_to_each_other() {
    for size in SIZES {
        let _at = At(format!("{size} children"));
        for woken in [0, 1, size / 2, size] {
            let notify = Notify::new();
            let child = async |index: usize| {
                notify.notified().await;
                if index + 1 == size && index > 0 { Err(index) } else { Ok(index) }
            };
            let mut gather = Box::new(gather(with_room(size, child)).into_future());
            assert!(poll(&mut *gather).is_pending());
            (0..woken).for_each(|_| notify.notify_one());
            gather = moved(gather);
            let ended = poll(&mut *gather);
            assert_eq!(ended.is_ready(), woken == size);
            if woken == 1 && size > 1 {
                notify.notify_waiters();
                gather = moved(gather);
                assert!(poll(&mut *gather).is_ready());
            }
            drop(gather);
            notify.notify_waiters();
        }
    }
}

/// Counts its drops, and asserts its alignment.
#[repr(align(4096))]
struct Aligned<'a>(&'a Cell<usize>);

impl Aligned<'_> {
    fn assert_aligned(&self) {
        assert_eq!((&raw const *self).addr() % 4096, 0);
    }
}

impl<'a> Future for Aligned<'a> {
    type Output = Aligned<'a>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Aligned<'a>> {
        self.assert_aligned();
        Poll::Ready(Aligned(self.0))
    }
}

impl Drop for Aligned<'_> {
    fn drop(&mut self) {
        self.assert_aligned();
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn children_and_values_lie_aligned() {
    for size in [1, 2, 64, 65, 130] {
        let drops = Cell::new(0);
        let values = pollster::block_on(gather(with_room(size, |_| Aligned(&drops))).settle());
        assert_eq!(drops.replace(0), size);
        values.iter().for_each(Aligned::assert_aligned);
        drop(values);
        assert_eq!(drops.get(), size);
    }
}

thread_local! {
    static DROPS: Cell<usize> = const { Cell::new(0) };
}

/// Of no size.
struct Nothing;

impl Future for Nothing {
    type Output = Nothing;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Nothing> {
        Poll::Ready(Nothing)
    }
}

impl Drop for Nothing {
    fn drop(&mut self) {
        DROPS.set(DROPS.get() + 1);
    }
}

#[test]
fn children_and_values_of_no_size_are_dropped_once() {
    assert_eq!(size_of::<Nothing>(), 0);
    for size in SIZES {
        let values = pollster::block_on(gather(with_room(size, |_| Nothing)).settle());
        assert_eq!(DROPS.replace(0), size);
        assert_eq!(values.len(), size);
        drop(values);
        assert_eq!(DROPS.replace(0), size);
        drop(gather(with_room(size, |_| Nothing)).settle());
        assert_eq!(DROPS.replace(0), size);
    }
}

/// A `Vec` of children of no size may be longer than there are bytes for their wakers.
#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn too_many_children_are_refused() {
    #[derive(Clone, Copy)]
    struct Never;

    impl Future for Never {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            unreachable!("too many to be polled")
        }
    }

    for children in [Vec::from([Never; usize::MAX]), Vec::from([Never; isize::MAX as usize])] {
        let mut gather = gather(children).settle().into_future();
        assert_eq!(panic_of(|| _ = poll(&mut gather)), "capacity overflow");
    }
}

/// Panics when it is dropped, after it has logged that.
struct Bomb(Token);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("drop of {}", self.0.name);
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn when_a_value_panics_in_its_drop_the_rest_are_still_dropped_each_once() {
    for container in FIXED {
        // Where the drop happens: when a sibling fails, or when the gather is dropped.
        for fails in [true, false] {
            let _at = At(format!("{container:?}, fails: {fails}"));
            let world = World::new();
            let (bomb, value) = (Bomb(world.log.token("a")), world.log.token("b"));
            type Value = Box<dyn std::any::Any>;
            let last = world.log.token("c");
            let children: [LocalBoxChild<'_, Result<Value, ()>>; 3] = [
                LocalBoxChild::new(ready(Ok(Box::new(bomb) as Value))),
                LocalBoxChild::new(ready(Ok(Box::new(value) as Value))),
                LocalBoxChild::new(async move {
                    let _last = last;
                    if fails { Err(()) } else { pending().await }
                }),
            ];
            let mut all = gather_in!(container, children, |gather| gather);
            let ended = catch_unwind(AssertUnwindSafe(|| world.poll(all.as_mut()).is_ready()));
            assert_eq!(ended.is_err(), fails);
            assert_eq!(catch_unwind(AssertUnwindSafe(|| drop(all))).is_err(), !fails);
            world.log.expect(if fails { "drop c, drop a, drop b" } else { "drop a, drop b, drop c" });
        }
    }
}

/// Wakes all children when it is dropped: those before it, which are gone, itself, and those behind it.
struct WakesAll<'a> {
    wakers: Rc<RefCell<Vec<Waker>>>,
    drops: &'a Cell<usize>,
}

impl Drop for WakesAll<'_> {
    fn drop(&mut self) {
        self.drops.set(self.drops.get() + 1);
        self.wakers.borrow().iter().for_each(Waker::wake_by_ref);
    }
}

#[test]
fn children_that_wake_all_when_they_are_dropped() {
    for size in [1, 2, 64, 65, 130] {
        for end in ["completes", "fails", "is dropped"] {
            let _at = At(format!("{size} children, {end}"));
            let (world, drops, fail) = (World::new(), Cell::new(0), Cell::new(false));
            let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
            let child = |index: usize| {
                let wakes = WakesAll { wakers: wakers.clone(), drops: &drops };
                let (fail, mut polls) = (&fail, 0);
                poll_fn(move |cx: &mut Context<'_>| {
                    polls += 1;
                    if polls == 1 {
                        wakes.wakers.borrow_mut().push(cx.waker().clone());
                        return Poll::Pending;
                    }
                    match end {
                        "completes" => Poll::Ready(Ok(index)),
                        _ if fail.get() => Poll::Ready(Err(index)),
                        _ => Poll::Pending,
                    }
                })
            };
            let mut gather = Box::pin(gather(with_room(size, child)).into_future());
            assert!(world.poll(gather.as_mut()).is_pending());
            // The second pass begins with the second child.
            let first = 1 % size;
            let waker = wakers.borrow()[first].clone();
            waker.wake();
            fail.set(end == "fails");
            if end != "is dropped" {
                // The end of the first one of the pass wakes all behind it.
                let expected = if end == "fails" { Err(first) } else { Ok((0..size).collect()) };
                assert_eq!(world.poll(gather.as_mut()), Poll::Ready(expected));
            }
            drop(gather);
            assert_eq!(drops.get(), size);
            wakers.borrow().iter().for_each(Waker::wake_by_ref);
            wakers.take().into_iter().for_each(Waker::wake);
        }
    }
}

/// Children that hold references to locals of their own across each `await`, and so do the clean-ups, the signal, the grace
/// and the backoff. Miri sees it where a shared reference is taken to what holds one of them.
#[test]
fn children_that_borrow_from_themselves() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let alive = &Alive::default();
        let work = |rounds, output: Output| borrowing(alive.clone(), rounds, output);
        let cleanup = || borrowing(alive.clone(), 2, ());
        let hook = |future: Pin<&mut _>| _ = black_box(future);
        let unchanged = |output: Output| output;
        in_every_way(container, alive, work);
        in_every_way(container, alive, |rounds, output| work(rounds, output).on_cancel(hook));
        in_every_way(container, alive, |rounds, output| work(rounds, output).on_cancel(hook).map(unchanged));
        in_every_way(container, alive, |rounds, output| work(rounds, output).cleanup(cleanup));
        in_every_way(container, alive, |rounds, output| work(rounds, output).cleanup(cleanup).map(unchanged));
        in_every_way(container, alive, |rounds, output| work(rounds, output).shield());
        in_every_way(container, alive, |rounds, output| work(rounds, output).shield().map(unchanged).map(unchanged));
        in_every_way(container, alive, |rounds, output| LocalBoxChild::new(work(rounds, output).on_cancel(hook)));
    }
}

/// `child` is given how often it yields, and what it ends with.
fn in_every_way<C: Child<Output = Output>>(container: Container, alive: &Alive, child: impl Fn(usize, Output) -> C) {
    let world = World::new();
    let waits = |rounds| borrowing(alive.clone(), rounds, ());
    // Polls it to its end, by one poll more each time, and drops it.
    macro_rules! end {
        ($made:expr) => {{
            for polls in 0..6 {
                let mut dropped = Box::pin($made.into_future());
                if (0..polls).all(|_| world.poll(dropped.as_mut()).is_pending()) {
                    drop(dropped);
                }
                assert_eq!(alive.count(), 0);
            }
            let mut ended = Box::pin($made.into_future());
            let Poll::Ready(result) = world.quiesce(ended.as_mut()).0 else { panic!("a wake was lost") };
            assert_eq!(alive.count(), 0, "it is kept, and holds nothing");
            result
        }};
    }
    kit::hold_in!(container, (a b c), |hold| {
        let complete = || hold([child(3, Ok(0)), child(0, Ok(1)), child(2, Ok(2))]);
        let fail = || hold([child(4, Ok(0)), child(1, Err("failed")), child(4, Err("late"))]);
        assert_eq!(end!(gather(complete())).flatten(), Ok(vec![0, 1, 2]));
        assert_eq!(end!(gather(complete()).concurrency(1)).flatten(), Ok(vec![0, 1, 2]));
        assert_eq!(end!(gather(fail())).flatten(), Err("failed"));
        assert_eq!(end!(gather(fail()).grace(|| waits(1))).flatten(), Err("failed"));
        for rounds in 0..4 {
            // The signal comes first, in the turn of the failure, or after it.
            let cancelled = end!(gather(fail()).cancel_when(waits(rounds)).grace(|| waits(2))).map(Flatten::flatten);
            assert_eq!(cancelled, if rounds < 2 { Err(Cancelled) } else { Ok(Err("failed")) });
            let nested = || gather(fail()).cancel_when(pending::<()>()).map(|_| Output::Ok(1));
            let sibling = || borrowing(alive.clone(), rounds, Output::Err("sibling"));
            assert_eq!(end!(gather((nested(), sibling()))), Err("sibling"));
            assert_eq!(end!(gather((sibling(), nested()))), Err("sibling"));
        }

        let restarted = || restart(Limit::restarts(2), fail).backoff(|_| waits(1)).grace(|| waits(1));
        let given_up = RestartError::LimitReached { restarts: 2, source: "failed" };
        assert_eq!(end!(restarted()).flatten(), Err(given_up));
        for rounds in 0..5 {
            assert_eq!(end!(restarted().cancel_when(waits(rounds))).map(Flatten::flatten), Err(Cancelled));
            let nested = restarted().map(|ended| ended.map(|_| 1).map_err(RestartError::into_source));
            let sibling = borrowing(alive.clone(), rounds, Output::Err("sibling"));
            let mut both = Box::pin(gather((nested, sibling)).into_future());
            assert_eq!(world.quiesce(both.as_mut()).0, Poll::Ready(Err("sibling")));
            assert_eq!(alive.count(), 0);
        }
    })
}

/// The gather over a `Vec` is moved after each poll.
#[test]
fn children_that_borrow_from_themselves_in_a_gather_that_is_moved() {
    for (size, fails) in SIZES.into_iter().flat_map(|size| [(size, false), (size, true)]) {
        let _at = At(format!("{size} children, fails: {fails}"));
        let alive = Alive::default();
        let children = with_room(size, |index| {
            let output = if fails && index == size / 2 { Err("failed") } else { Ok(index) };
            borrowing(alive.clone(), 1 + index % 3, output).cleanup(|| borrowing(alive.clone(), 2, ()))
        });
        let mut gather = Box::new(gather(children).into_future());
        let mut polls = 0;
        let result = loop {
            polls += 1;
            assert!(polls < 2 * size + 10);
            gather = moved(gather);
            if let Poll::Ready(result) = poll(&mut *gather) {
                break result;
            }
        };
        assert_eq!(result, if fails { Err("failed") } else { Ok((0..size).collect()) });
        assert_eq!(alive.count(), 0);
    }
}
