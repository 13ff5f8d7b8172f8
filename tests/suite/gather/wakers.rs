//! What wakers do to a gather of many: their own ones, and the parent's.

use std::cell::Cell;
use std::future::{Future, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::kit::{At, Log, Wakes, World, panic_of};
use gather::{CancelExt as _, LocalBoxChild, gather};

const SIZES: [usize; 7] = [1, 2, 64, 65, 200, 4032, 4033];

type Output = Result<usize, usize>;

/// Children that keep their waker, and are pending.
#[derive(Clone)]
struct Children {
    wakers: Arc<Mutex<Vec<Option<Waker>>>>,
    polls: Arc<Mutex<Vec<usize>>>,
    /// Whether they do in their polls what they were made to do.
    act: Arc<AtomicBool>,
}

impl Children {
    fn new(count: usize) -> Self {
        Children { wakers: Arc::new(Mutex::new(vec![None; count])), polls: Arc::default(), act: Arc::default() }
    }

    fn count(&self) -> usize {
        self.wakers.lock().unwrap().len()
    }

    fn make(&self) -> Vec<impl Future<Output = Output> + use<>> {
        self.make_acting(|_, _| Poll::Pending)
    }

    /// Each does this at the end of its polls, with its index.
    fn make_acting<A>(&self, act: A) -> Vec<impl Future<Output = Output> + use<A>>
    where
        A: Fn(&Children, usize) -> Poll<Output> + Clone,
    {
        let count = self.count();
        let child = |index| {
            let (children, act) = (self.clone(), act.clone());
            poll_fn(move |cx: &mut Context<'_>| {
                children.polls.lock().unwrap().push(index);
                children.wakers.lock().unwrap()[index] = Some(cx.waker().clone());
                if children.act.load(Ordering::Relaxed) { act(&children, index) } else { Poll::Pending }
            })
        };
        (0..count).map(child).collect()
    }

    /// Of one that was polled.
    fn waker(&self, index: usize) -> Waker {
        self.wakers.lock().unwrap()[index].clone().unwrap()
    }

    fn polled(&self) -> Vec<usize> {
        std::mem::take(&mut *self.polls.lock().unwrap())
    }
}

/// Panics in the calls that are named, once each.
struct Panics {
    wake: AtomicUsize,
    wakes: AtomicUsize,
}

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        if self.wake.swap(0, Ordering::Relaxed) != 0 {
            panic!("wake of the parent");
        }
        self.wakes.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_parent_that_panics_once_in_a_wake_loses_that_wake_and_no_more() {
    for size in SIZES {
        let _at = At(format!("{size} children"));
        let children = Children::new(size);
        let mut gather = Box::pin(gather(children.make()).into_future());
        let parent = Arc::new(Panics { wake: AtomicUsize::new(1), wakes: AtomicUsize::new(0) });
        let waker = Waker::from(parent.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(gather.as_mut().poll(&mut cx).is_pending());
        children.polled();

        let first = children.waker(0);
        assert!(catch_unwind(AssertUnwindSafe(|| first.wake_by_ref())).is_err());
        // The same child again, and another one: the parent is woken, and sees both.
        for index in [0, size - 1] {
            children.waker(index).wake();
        }
        assert_eq!(parent.wakes.swap(0, Ordering::Relaxed), 1);
        assert!(gather.as_mut().poll(&mut cx).is_pending());
        // The second pass begins behind the first child.
        assert_eq!(children.polled(), if size == 1 { vec![0] } else { vec![size - 1, 0] });
        children.waker(size - 1).wake();
        assert_eq!(parent.wakes.load(Ordering::Relaxed), 1);
        drop((gather, waker));
        drop(first);
        assert_eq!(Arc::strong_count(&parent), 1);
    }
}

#[test]
fn a_child_polled_in_the_pass_in_which_it_was_woken_wakes_nobody() {
    for size in [2, 64, 65, 200, 4032, 4033, 10_000] {
        // The second pass begins with the second child, and ends with the first one.
        for (waking, woken) in [(1, size - 1), (size / 2, 0), (size - 1, 0)] {
            if waking == woken {
                continue;
            }
            let _at = At(format!("{size} children, {waking} wakes {woken}"));
            let world = World::new();
            let children = Children::new(size);
            let mut gather = Box::pin(
                gather(children.make_acting(move |children, index| {
                    if index == waking {
                        children.waker(woken).wake();
                    }
                    Poll::Pending
                }))
                .into_future(),
            );
            assert!(world.poll(gather.as_mut()).is_pending());
            children.polled();
            children.act.store(true, Ordering::Relaxed);
            children.waker(waking).wake();
            assert_eq!(world.wakes.take(), 1);
            assert!(world.poll(gather.as_mut()).is_pending());
            assert_eq!((children.polled(), world.wakes.take()), (vec![waking, woken], 0));
            // And it is found again when it is woken from outside.
            children.waker(woken).wake();
            assert_eq!(world.wakes.take(), 1);
            assert!(world.poll(gather.as_mut()).is_pending());
            assert_eq!(children.polled(), [woken]);
        }
    }
}

/// Round, from the second child to the first. Where they are pending again, that is 32 in a poll.
#[test]
fn children_that_wake_the_next_one_are_polled_one_after_the_other() {
    for (size, ends) in SIZES.into_iter().flat_map(|size| [(size, false), (size, true)]) {
        let _at = At(format!("{size} children, which end: {ends}"));
        let world = World::new();
        let children = Children::new(size);
        let mut gather = Box::pin(
            gather(children.make_acting(move |children, index| {
                if index != 0 {
                    children.waker((index + 1) % children.count()).wake();
                }
                if ends { Poll::Ready(Ok(index)) } else { Poll::Pending }
            }))
            .into_future(),
        );
        assert!(world.poll(gather.as_mut()).is_pending());
        children.polled();
        children.act.store(true, Ordering::Relaxed);
        let order: Vec<_> = (1..size).chain([0]).collect();
        children.waker(order[0]).wake();
        assert_eq!(world.wakes.take(), 1);
        if ends {
            assert_eq!(world.poll(gather.as_mut()), Poll::Ready(Ok((0..size).collect())));
            assert_eq!((children.polled(), world.wakes.take()), (order, 0));
            continue;
        }
        for row in order.chunks(32) {
            assert!(world.poll(gather.as_mut()).is_pending());
            assert_eq!((children.polled(), world.wakes.take()), (row.to_vec(), usize::from(row.len() == 32)));
        }
        assert!(world.poll(gather.as_mut()).is_pending());
        assert_eq!((children.polled(), world.wakes.take()), (vec![], 0));
    }
}

#[test]
fn a_child_that_wakes_itself_and_ends_wakes_nobody() {
    for size in SIZES {
        let _at = At(format!("{size} children"));
        let world = World::new();
        let child = |index: usize| {
            poll_fn(move |cx: &mut Context<'_>| {
                if index > 0 {
                    return Poll::<Output>::Pending;
                }
                cx.waker().wake_by_ref();
                Poll::Ready(Ok(0))
            })
        };
        let children: Vec<_> = (0..size + 1).map(child).collect();
        let mut gather = Box::pin(gather(children).into_future());
        assert!(world.poll(gather.as_mut()).is_pending());
        assert_eq!(world.wakes.take(), 0);
    }
}

#[test]
fn a_poll_for_another_reason_takes_the_new_waker_and_polls_no_child() {
    for size in SIZES {
        let _at = At(format!("{size} children"));
        let children = Children::new(size);
        let mut gather = Box::pin(gather(children.make()).into_future());
        let (old, old_waker) = Wakes::new();
        assert!(gather.as_mut().poll(&mut Context::from_waker(&old_waker)).is_pending());
        children.polled();
        drop(old_waker);
        let (new, new_waker) = Wakes::new();
        for _ in 0..3 {
            assert!(gather.as_mut().poll(&mut Context::from_waker(&new_waker)).is_pending());
        }
        assert_eq!(Arc::strong_count(&old), 1, "the old one was given back");
        assert_eq!(children.polled(), []);
        children.waker(size - 1).wake();
        assert_eq!((old.take(), new.take()), (0, 1));
    }
}

/// A waker made by hand, whose clone and drop act.
mod by_hand {
    use std::cell::Cell;
    use std::task::{RawWaker, RawWakerVTable, Waker};

    thread_local! {
        static ON_CLONE: Cell<Option<fn()>> = const { Cell::new(None) };
        static ON_DROP: Cell<Option<fn()>> = const { Cell::new(None) };
        static ALIVE: Cell<isize> = const { Cell::new(0) };
    }

    fn clone(_: *const ()) -> RawWaker {
        if let Some(act) = ON_CLONE.take() {
            act();
        }
        ALIVE.set(ALIVE.get() + 1);
        RawWaker::new(std::ptr::null(), &VTABLE)
    }

    fn drop(_: *const ()) {
        ALIVE.set(ALIVE.get() - 1);
        if let Some(act) = ON_DROP.take() {
            act();
        }
    }

    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, drop, |_| (), drop);

    pub fn waker() -> Waker {
        ALIVE.set(ALIVE.get() + 1);
        // SAFETY: the functions use no data, so they can do nothing wrong with it.
        #[allow(unsafe_code, reason = "a waker made by hand")]
        unsafe {
            Waker::new(std::ptr::null(), &VTABLE)
        }
    }

    pub fn on_clone(act: fn()) {
        ON_CLONE.set(Some(act));
    }

    pub fn on_drop(act: fn()) {
        ON_DROP.set(Some(act));
    }

    pub fn alive() -> isize {
        ALIVE.get()
    }
}

#[test]
fn a_parent_that_polls_for_another_reason_is_not_cloned_again() {
    let children = Children::new(3);
    let mut gather = Box::pin(gather(children.make()).into_future());
    let waker = by_hand::waker();
    let mut cx = Context::from_waker(&waker);
    assert!(gather.as_mut().poll(&mut cx).is_pending());
    assert_eq!(by_hand::alive(), 2);
    by_hand::on_clone(|| panic!("cloned again"));
    for _ in 0..3 {
        assert!(gather.as_mut().poll(&mut cx).is_pending());
    }
    drop(gather);
    assert_eq!(by_hand::alive(), 1);
    // For the next test on this thread.
    by_hand::on_clone(|| ());
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_parent_whose_clone_panics_is_not_kept() {
    let children = Children::new(3);
    let mut gather = Box::pin(gather(children.make()).into_future());
    let waker = by_hand::waker();
    by_hand::on_clone(|| panic!("clone of the parent"));
    let mut cx = Context::from_waker(&waker);
    assert!(catch_unwind(AssertUnwindSafe(|| gather.as_mut().poll(&mut cx))).is_err());
    assert_eq!(panic_of(|| _ = gather.as_mut().poll(&mut cx)), "`Gather` polled after a panic");
    drop(waker);
    assert_eq!(by_hand::alive(), 0, "though the wakers of its children are");
    children.waker(0).wake();
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_parent_whose_drop_panics_is_dropped_once() {
    let children = Children::new(3);
    let mut gather = Box::pin(gather(children.make()).into_future());
    let waker = by_hand::waker();
    assert!(gather.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    assert_eq!(by_hand::alive(), 1);
    // Replaced by another one, which drops it.
    by_hand::on_drop(|| panic!("drop of the parent"));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(catch_unwind(AssertUnwindSafe(|| gather.as_mut().poll(&mut cx))).is_err());
    assert_eq!(by_hand::alive(), 0);
    drop(gather);
    children.waker(1).wake();
    assert_eq!(by_hand::alive(), 0);
}

/// It is kept while children drain, and dropped with what the children left behind in the poll in which their grace is
/// over, which is no poll that it was woken for.
#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn what_children_left_is_dropped_though_the_drop_of_the_parent_panics() {
    let (log, over) = (Log::default(), Cell::new(false));
    let grace = || poll_fn(|_| if over.get() { Poll::Ready(()) } else { Poll::Pending });
    let children = || {
        // With a waker of it alive, the block is, and the parent in it.
        let mut wakers = vec![];
        let told = poll_fn(move |cx| {
            wakers.push(cx.waker().clone());
            Poll::Pending
        });
        let told = told.on_cancel(|_| ());
        let (value, error) = (log.token("value"), log.token("error"));
        vec![LocalBoxChild::new(ready(Ok(value))), LocalBoxChild::new(told), LocalBoxChild::new(ready(Err(error)))]
    };
    macro_rules! assert_dropped {
        ($gather:expr, $dropped_in_first_poll:literal, $dropped:literal) => {
            over.set(false);
            let mut gather = Box::pin($gather.grace(grace).into_future());
            let waker = by_hand::waker();
            assert!(gather.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            drop(waker);
            log.expect($dropped_in_first_poll);
            over.set(true);
            by_hand::on_drop(|| panic!("drop of the parent"));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(catch_unwind(AssertUnwindSafe(|| gather.as_mut().poll(&mut cx).is_ready())).is_err());
            assert_eq!(by_hand::alive(), 0);
            log.expect($dropped);
        };
    }
    assert_dropped!(gather(children()), "drop value", "drop error");
    assert_dropped!(gather(children()).report(), "", "drop value, drop error");
}

/// Polls the gather within its own wake, as a waker may that runs its task at once.
#[test]
fn a_parent_that_polls_at_once_when_it_is_woken_sees_the_child() {
    struct AtOnce {
        gather: Mutex<Option<Pin<Box<dyn Future<Output = Result<Vec<usize>, usize>> + Send>>>>,
        polls: AtomicUsize,
    }

    impl AtOnce {
        fn poll(self: &Arc<Self>) {
            self.polls.fetch_add(1, Ordering::Relaxed);
            let waker = Waker::from(self.clone());
            // Taken out, so that a wake in its own poll finds nothing to poll.
            let taken = self.gather.lock().unwrap().take();
            if let Some(mut gather) = taken {
                assert!(gather.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                *self.gather.lock().unwrap() = Some(gather);
            }
        }
    }

    impl Wake for AtOnce {
        fn wake(self: Arc<Self>) {
            self.poll();
        }
    }

    for size in SIZES {
        let children = Children::new(size);
        let parent = Arc::new(AtOnce {
            gather: Mutex::new(Some(Box::pin(gather(children.make()).into_future()))),
            polls: AtomicUsize::new(0),
        });
        parent.poll();
        children.polled();
        for index in [0, size / 2, size - 1] {
            children.waker(index).wake();
            assert_eq!(children.polled(), [index]);
        }
        assert_eq!(parent.polls.load(Ordering::Relaxed), 4);
        *parent.gather.lock().unwrap() = None;
    }
}

/// Drops the gather within its own wake, as a waker may whose task is aborted.
#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_parent_that_drops_the_gather_when_it_is_woken_is_kept_by_nobody() {
    struct Drops {
        gather: Mutex<Option<Pin<Box<dyn Future<Output = Result<Vec<usize>, usize>> + Send>>>>,
        panics: bool,
        wakes: AtomicUsize,
    }

    impl Wake for Drops {
        fn wake(self: Arc<Self>) {
            self.wakes.fetch_add(1, Ordering::Relaxed);
            let taken = self.gather.lock().unwrap().take();
            drop(taken);
            if self.panics {
                panic!("wake of the parent");
            }
        }
    }

    for (size, panics) in SIZES.into_iter().flat_map(|size| [(size, false), (size, true)]) {
        let _at = At(format!("{size} children, panics: {panics}"));
        let children = Children::new(size);
        let mut gather = Box::pin(gather(children.make()).into_future());
        let parent = Arc::new(Drops { gather: Mutex::new(None), panics, wakes: AtomicUsize::new(0) });
        assert!(gather.as_mut().poll(&mut Context::from_waker(&Waker::from(parent.clone()))).is_pending());
        *parent.gather.lock().unwrap() = Some(gather);

        let [first, last] = [0, size - 1].map(|index| children.waker(index));
        assert_eq!(catch_unwind(AssertUnwindSafe(|| first.wake())).is_err(), panics);
        assert!(parent.gather.lock().unwrap().is_none());
        assert_eq!(Arc::strong_count(&parent), 1);
        last.wake();
        assert_eq!(parent.wakes.load(Ordering::Relaxed), 1);
    }
}

/// As many as share one word, and more.
const MIXED: [usize; 5] = [1, 2, 62, 64, 200];

#[test]
fn from_its_second_poll_on_a_child_is_lent_the_waker_that_it_cloned() {
    for size in MIXED {
        let _at = At(format!("{size} children"));
        let world = World::new();
        let same = Cell::new(0);
        let child = |_| {
            let same = &same;
            let mut cloned: Option<Waker> = None;
            poll_fn(move |cx: &mut Context<'_>| {
                match &cloned {
                    Some(cloned) => same.set(same.get() + usize::from(cloned.will_wake(cx.waker()))),
                    None => cloned = Some(cx.waker().clone()),
                }
                cx.waker().wake_by_ref();
                Poll::<Output>::Pending
            })
        };
        let mut gather = Box::pin(gather((0..size).map(child).collect::<Vec<_>>()).into_future());
        assert!(world.poll(gather.as_mut()).is_pending());
        assert_eq!((same.take(), world.wakes.take()), (0, 1));
        let mut polled = 0;
        // A pass over many that are pending again is cut.
        while polled < size {
            assert!(world.poll(gather.as_mut()).is_pending());
            assert_eq!(world.wakes.take(), 1);
            polled += same.take();
        }
    }
}

/// A child that wakes itself without ever cloning its waker is polled in the next poll, once, and its siblings are not.
#[test]
fn a_child_that_wakes_itself_through_what_it_is_lent_is_polled_in_the_next_poll() {
    for (size, clones) in MIXED.into_iter().flat_map(|size| [(size, false), (size, true)]) {
        let _at = At(format!("{size} children, a sibling clones its waker: {clones}"));
        let world = World::new();
        let polled = Mutex::new(vec![]);
        let kept = Mutex::new(None);
        let child = |index: usize| {
            let (polled, kept) = (&polled, &kept);
            poll_fn(move |cx: &mut Context<'_>| {
                polled.lock().unwrap().push(index);
                if clones && index == 0 {
                    *kept.lock().unwrap() = Some(cx.waker().clone());
                } else if index == size - 1 {
                    cx.waker().wake_by_ref();
                    cx.waker().wake_by_ref();
                }
                Poll::<Output>::Pending
            })
        };
        let mut gather = Box::pin(gather((0..size).map(child).collect::<Vec<_>>()).into_future());
        assert!(world.poll(gather.as_mut()).is_pending());
        let wakes_itself = size > 1 || !clones;
        assert_eq!(world.wakes.take(), usize::from(wakes_itself));
        polled.lock().unwrap().clear();
        for _ in 0..3 {
            if wakes_itself {
                assert!(world.poll(gather.as_mut()).is_pending());
                assert_eq!((std::mem::take(&mut *polled.lock().unwrap()), world.wakes.take()), (vec![size - 1], 1));
            }
        }
        let taken = kept.lock().unwrap().take();
        if let Some(waker) = taken {
            // The group was woken, or it is not: it is polled for both in one poll.
            waker.wake();
            assert_eq!(world.wakes.take(), usize::from(!wakes_itself));
            assert!(world.poll(gather.as_mut()).is_pending());
            let mut polled = std::mem::take(&mut *polled.lock().unwrap());
            polled.sort();
            assert_eq!(polled, if size == 1 { vec![0] } else { vec![0, size - 1] });
        }
    }
}

/// The `&Waker` of a poll may be used on other threads until it ends.
#[test]
fn what_a_child_is_lent_may_be_woken_and_cloned_on_other_threads() {
    for size in MIXED {
        let _at = At(format!("{size} children"));
        let cloned = Arc::new(Mutex::new(vec![]));
        let child = |index: usize| {
            let cloned = cloned.clone();
            poll_fn(move |cx: &mut Context<'_>| {
                let waker = cx.waker();
                if cloned.lock().unwrap().len() == 2 * size {
                    return Poll::Ready::<Output>(Ok(index));
                }
                std::thread::scope(|scope| {
                    for _ in 0..2 {
                        scope.spawn(|| cloned.lock().unwrap().push(waker.clone()));
                    }
                    scope.spawn(|| waker.wake_by_ref());
                });
                Poll::Pending
            })
        };
        let mut gather = Box::pin(gather((0..size).map(child).collect::<Vec<_>>()).into_future());
        let (wakes, waker) = Wakes::new();
        let mut cx = Context::from_waker(&waker);
        assert!(gather.as_mut().poll(&mut cx).is_pending());
        assert_eq!(wakes.take(), 1);
        assert!(cloned.lock().unwrap().chunks(2).all(|pair| pair[0].will_wake(&pair[1])));
        assert_eq!(gather.as_mut().poll(&mut cx), Poll::Ready(Ok((0..size).collect())));
        drop(gather);
        for waker in cloned.lock().unwrap().drain(..) {
            waker.wake();
        }
        assert_eq!(wakes.take(), 0);
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_waker_cloned_in_a_poll_that_panics_may_be_used_after_it() {
    for size in MIXED {
        let cloned = Mutex::new(None);
        let child = |_| {
            let cloned = &cloned;
            poll_fn(move |cx: &mut Context<'_>| -> Poll<Output> {
                *cloned.lock().unwrap() = Some(cx.waker().clone());
                cx.waker().wake_by_ref();
                panic!("after it cloned its waker");
            })
        };
        let mut gather = Box::pin(gather((0..size).map(child).collect::<Vec<_>>()).into_future());
        let (wakes, waker) = Wakes::new();
        let mut cx = Context::from_waker(&waker);
        assert!(catch_unwind(AssertUnwindSafe(|| gather.as_mut().poll(&mut cx).is_ready())).is_err());
        let cloned = cloned.lock().unwrap().take().unwrap();
        cloned.wake_by_ref();
        drop(gather);
        cloned.wake();
        assert_eq!(wakes.take(), 0);
    }
}
