//! Models of the protocols between the poller and the wakers, run by loom over the same source.
//!
//!     RUSTFLAGS="--cfg gather_loom" cargo test --release --lib -- --nocapture
//!
//! A lost wake is a deadlock of `block_on`, which loom reports, as it does leaks and use after free of the block.
//!
//! What meets what, and where it is modelled:
//!
//! - a wake, and the pass that takes ready bits, marks and hints: `two_wakers_against_the_poller`,
//!   `a_wake_after_the_turn_is_not_lost`, `a_wake_while_a_used_mark_is_taken_away`; one that goes round and is cut:
//!   `two_wakers_against_passes_that_go_round`;
//! - a wake, and an open group that is written back: `wake_against_completion_of_the_child`;
//! - a wake, and the first pass of a drain, which is over all children: `a_wake_while_the_drain_begins`;
//! - a wake, and a poll by another parent: `parent_waker_replaced_while_being_woken`,
//!   `a_slot_that_is_taken_away_from_who_wakes`;
//! - a waker that is lent, and the threads that its child gives it to: `a_lent_waker_cloned_on_two_threads`,
//!   `a_lent_waker_woken_on_another_thread`;
//! - a wake, and the poll in which the block is made: `a_wake_in_the_poll_in_which_the_block_is_made`;
//! - a wake, and another one: `one_wake_of_the_parent_between_two_polls`;
//! - a wake in which the parent panics, and a poll, or the end: `a_parent_that_is_put_back_loses_no_later_wake`,
//!   `a_parent_that_is_put_back_is_not_kept_by_one_that_is_gone`;
//! - a wake, a clone or a drop, and the last reference: `wake_against_drop_of_the_gather`,
//!   `clone_and_drop_against_the_last_reference`;
//! - a wake in a chunk of a source, and the poll of the chunk under its root, or their drop:
//!   `two_wakers_under_a_root_against_the_poller`, `a_wake_under_a_root_against_the_drop_of_the_group`.

mod lent;
mod source;

use core::future::poll_fn;
use core::ops::ControlFlow;
use core::task::{Context, Poll, Waker};
use std::sync::Arc;
use std::task::Wake;
use std::vec::Vec;
use std::{format, println, vec};

use loom::future::block_on;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::parent::{Armed, Hints, Parent};
use super::{Turn, WakerBlock};

/// As a child would: a waker of its own.
fn waker_of(block: &mut WakerBlock, child: usize) -> Waker {
    block.with_lent(child, Waker::clone)
}

/// A poll of the gather: calls `poll` with each child that it would poll.
fn poll_each(block: &mut WakerBlock, waker: &Waker, mut poll: impl FnMut(usize)) {
    poll_from(block, 0, usize::MAX, &mut poll);
    rearm(block, waker);
}

/// A pass that goes round from a child, and is cut behind so many. Whether it was.
fn poll_from(block: &mut WakerBlock, from: usize, most: usize, mut poll: impl FnMut(usize)) -> bool {
    let mut polled = 0;
    let mut visit = |child| {
        poll(child);
        polled += 1;
        if polled == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    block.visit_woken(from, usize::MAX, &mut visit).is_break()
}

fn rearm(block: &mut WakerBlock, waker: &Waker) {
    block.rearm(waker);
    // A poller that finds another parent being woken wakes itself; loom wants to know that it waits for another
    // thread then.
    thread::yield_now();
}

/// The children that it would poll.
fn poll(block: &mut WakerBlock, waker: &Waker) -> Vec<usize> {
    let mut polled = vec![];
    poll_each(block, waker, |child| polled.push(child));
    polled
}

/// Polls until each of these children was polled so often.
fn poll_until(block: &mut WakerBlock, wanted: &[usize]) {
    let mut missing = wanted.to_vec();
    block_on(poll_fn(|cx: &mut Context<'_>| {
        for child in poll(block, cx.waker()) {
            missing.retain(|wanted| *wanted != child);
        }
        if missing.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }));
}

/// Each thread is interrupted at most three times, unless `LOOM_MAX_PREEMPTIONS` is set.
fn model(name: &str, model: impl Fn() + Send + Sync + 'static) {
    model_interrupted(3, name, model);
}

/// The same, but a thread is interrupted at most so often: for longer models.
fn model_interrupted(most: usize, name: &str, model: impl Fn() + Send + Sync + 'static) {
    let runs = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = runs.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(most);
    builder.check(move || {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        model();
    });
    println!("{name}: {} interleavings", runs.load(std::sync::atomic::Ordering::Relaxed));
}

/// Two wakers against the poller: both children are polled, whatever the order; in one group, in two groups, under two
/// summary words, under two words that share a hint; and if both are of one child.
#[test]
fn two_wakers_against_the_poller() {
    for (children, woken) in [(2, [0, 1]), (3, [0, 2]), (5, [1, 4]), (9, [0, 8]), (3, [2, 2])] {
        model(&format!("two wakers against the poller, {woken:?} of {children} children"), move || {
            let mut block = WakerBlock::new(children);
            let wakers = woken.map(|child| waker_of(&mut block, child));
            let threads = wakers.map(|waker| thread::spawn(move || waker.wake()));
            poll_until(&mut block, &woken);
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }
}

/// The drain begins, and visits all children, while a thread wakes one of them: it sees in that visit or in a later pass
/// what it was woken for.
#[test]
fn a_wake_while_the_drain_begins() {
    for (children, woken) in [(2, 1), (5, 4)] {
        model(&format!("a wake while the drain begins, {children} children"), move || {
            let mut block = WakerBlock::new(children);
            let waker = waker_of(&mut block, woken);
            let is_set = loom::sync::Arc::new(AtomicUsize::new(0));
            let old = Arc::new(Counted::default());
            assert_eq!(poll(&mut block, &old.clone().into()), []);
            let thread = thread::spawn({
                let is_set = is_set.clone();
                move || {
                    is_set.store(1, Ordering::Release);
                    waker.wake();
                }
            });
            let mut is_first = true;
            block_on(poll_fn(|cx: &mut Context<'_>| {
                let mut sees_it = false;
                let mut look = |child| sees_it |= child == woken && is_set.load(Ordering::Acquire) == 1;
                if std::mem::take(&mut is_first) {
                    block.visit_all(&mut look);
                    rearm(&mut block, cx.waker());
                } else {
                    poll_each(&mut block, cx.waker(), look);
                }
                if sees_it { Poll::Ready(()) } else { Poll::Pending }
            }));
            thread.join().unwrap();
            drop(block);
            assert_eq!(Arc::strong_count(&old), 1);
        });
    }
}

/// Wakers against passes that go round and are cut: both children are polled, also where the cut or the turn leaves a
/// child in a word whose mark was taken away.
#[test]
fn two_wakers_against_passes_that_go_round() {
    for (children, from, most, woken) in [(4, 1, 2, [0, 1]), (9, 1, 1, [0, 1]), (9, 8, 1, [0, 8])] {
        let name = format!("passes of {most} from child {from} on, {woken:?} of {children} children");
        model(&name, move || {
            let mut block = WakerBlock::new(children);
            let wakers = woken.map(|child| waker_of(&mut block, child));
            let threads = wakers.map(|waker| thread::spawn(move || waker.wake()));
            let mut missing = woken.to_vec();
            block_on(poll_fn(|cx: &mut Context<'_>| {
                let is_cut = poll_from(&mut block, from, most, |child| missing.retain(|wanted| *wanted != child));
                if missing.is_empty() {
                    return Poll::Ready(());
                }
                if is_cut {
                    cx.waker().wake_by_ref();
                } else {
                    rearm(&mut block, cx.waker());
                }
                Poll::Pending
            }));
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }
}

/// The same child is woken twice, once before its turn and once at any time: the second is not lost with the first.
#[test]
fn a_wake_after_the_turn_is_not_lost() {
    model("a wake after the turn", || {
        let mut block = WakerBlock::new(3);
        let waker = waker_of(&mut block, 2);
        let wakes = loom::sync::Arc::new(AtomicUsize::new(0));
        let thread = thread::spawn({
            let wakes = wakes.clone();
            move || {
                for _ in 0..2 {
                    wakes.fetch_add(1, Ordering::Release);
                    waker.wake_by_ref();
                }
            }
        });
        // A child that waits for two events: it sees the second one when it is polled after it.
        block_on(poll_fn(|cx: &mut Context<'_>| {
            for child in poll(&mut block, cx.waker()) {
                assert_eq!(child, 2);
                if wakes.load(Ordering::Acquire) == 2 {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        }));
        thread.join().unwrap();
    });
}

/// A child wakes the one ahead of it in its group, which is polled in the same pass and leaves the group's mark behind;
/// the mark is taken away while another thread wakes the group again: that wake is not lost with it.
#[test]
fn a_wake_while_a_used_mark_is_taken_away() {
    model("a wake while a used mark is taken away", || {
        let mut block = WakerBlock::new(5);
        let [first, ahead] = [0, 1].map(|child| waker_of(&mut block, child));
        let is_set = loom::sync::Arc::new(AtomicUsize::new(0));
        first.wake_by_ref();
        let thread = thread::spawn({
            let is_set = is_set.clone();
            move || {
                is_set.store(1, Ordering::Release);
                first.wake();
            }
        });
        let mut polls = 0;
        block_on(poll_fn(|cx: &mut Context<'_>| {
            let mut sees_it = false;
            poll_each(&mut block, cx.waker(), |child| {
                if child == 0 {
                    sees_it |= is_set.load(Ordering::Acquire) == 1;
                    polls += 1;
                    if polls == 1 {
                        ahead.wake_by_ref();
                    }
                }
            });
            if sees_it { Poll::Ready(()) } else { Poll::Pending }
        }));
        thread.join().unwrap();
    });
}

/// A wake against the drop of the gather: the last reference frees the block, once, and nothing touches it after.
#[test]
fn wake_against_drop_of_the_gather() {
    model("wake against drop of the gather", || {
        let mut block = WakerBlock::new(3);
        let wakers = [waker_of(&mut block, 0), waker_of(&mut block, 2)];
        let parent = Arc::new(Counted::default());
        assert_eq!(poll(&mut block, &parent.clone().into()), []);
        let threads = wakers.map(|waker| thread::spawn(move || waker.wake()));
        drop(block);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(Arc::strong_count(&parent), 1, "no waker of the parent is kept");
    });
}

/// A wake against the end of its child: the child is not polled again, and the wake of another is not lost by it.
#[test]
fn wake_against_completion_of_the_child() {
    model("wake against completion of the child", || {
        let mut block = WakerBlock::new(2);
        let (ending, other) = (waker_of(&mut block, 0), waker_of(&mut block, 1));
        let thread = thread::spawn(move || {
            ending.wake_by_ref();
            other.wake();
            ending.wake();
        });
        block_on(poll_fn(|cx: &mut Context<'_>| {
            let polled = poll(&mut block, cx.waker());
            if polled.contains(&0) {
                assert!(block.is_live(0));
                block.open(0, Turn::NONE).end(0);
            }
            if polled.contains(&1) { Poll::Ready(()) } else { Poll::Pending }
        }));
        thread.join().unwrap();
    });
}

/// Clones and drops on two threads against the drop of the owner: freed once.
#[test]
fn clone_and_drop_against_the_last_reference() {
    model("clone and drop against the last reference", || {
        let mut block = WakerBlock::new(1);
        let waker = waker_of(&mut block, 0);
        let thread = thread::spawn({
            let waker = waker.clone();
            move || drop(waker.clone())
        });
        drop(block);
        drop(waker);
        thread.join().unwrap();
    });
}

/// Counts its wakes.
struct Counted(AtomicUsize);

impl Default for Counted {
    fn default() -> Self {
        Counted(AtomicUsize::new(0))
    }
}

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// The parent's waker is replaced while it is being woken: the poll under the new one sees the child, or the new one is
/// woken.
#[test]
fn parent_waker_replaced_while_being_woken() {
    model("parent waker replaced while being woken", || {
        let mut block = WakerBlock::new(3);
        let waker = waker_of(&mut block, 1);
        let [old, new] = [(); 2].map(|()| Arc::new(Counted::default()));
        assert_eq!(poll(&mut block, &old.clone().into()), []);
        let thread = thread::spawn(move || waker.wake());
        let polled = poll(&mut block, &new.clone().into());
        thread.join().unwrap();
        assert!(polled == [1] || new.0.load(Ordering::Acquire) > 0);
        if polled.is_empty() {
            assert_eq!(poll(&mut block, &new.clone().into()), [1]);
        }
    });
}

/// A parent that panicked in a wake is put back: it loses that wake, and no more, whatever the poller does meanwhile.
/// The model puts it back by hand, since loom's threads cannot panic, and has one word for the block.
#[test]
fn a_parent_that_is_put_back_loses_no_later_wake() {
    struct Shared {
        parent: Parent,
        ready: AtomicUsize,
    }

    fn poll(shared: &Shared, waker: &Waker) -> usize {
        let polled = shared.parent.woken().map_or(0, |_| shared.ready.swap(0, Ordering::AcqRel));
        match shared.parent.arm(waker, false) {
            Armed::Since(_) if shared.ready.load(Ordering::Acquire) != 0 => shared.parent.wake(Hints::NONE),
            Armed::Since(_) | Armed::Still => {}
            Armed::Not => waker.wake_by_ref(),
        }
        polled
    }

    model("a parent that is put back", || {
        let shared = Arc::new(Shared { parent: Parent::new(), ready: AtomicUsize::new(0) });
        let parent = Arc::new(Counted::default());
        let waker = Waker::from(parent.clone());
        poll(&shared, &waker);
        let thread = thread::spawn({
            let shared = shared.clone();
            move || {
                shared.ready.fetch_or(1, Ordering::AcqRel);
                if let Some(out) = shared.parent.disarm(Hints::NONE) {
                    out.lend_again();
                }
                shared.ready.fetch_or(2, Ordering::AcqRel);
                shared.parent.wake(Hints::NONE);
            }
        });
        let polled = poll(&shared, &waker);
        thread.join().unwrap();
        assert!(polled & 2 != 0 || parent.0.load(Ordering::Acquire) > 0);
    });
}

/// A parent that panicked in a wake is put back while the gather goes: it is touched by one at a time, and its waker is
/// dropped by then, not kept with the wakers of the children.
#[test]
fn a_parent_that_is_put_back_is_not_kept_by_one_that_is_gone() {
    model("a parent that is put back while the gather goes", || {
        let (shared, parent) = (Arc::new(Parent::new()), Arc::new(Counted::default()));
        assert!(matches!(shared.arm(&parent.clone().into(), false), Armed::Since(_)));
        let thread = thread::spawn({
            let shared = shared.clone();
            move || {
                if let Some(out) = shared.disarm(Hints::NONE) {
                    out.lend_again();
                }
                shared.wake(Hints::NONE);
            }
        });
        drop(shared.close());
        thread.join().unwrap();
        assert_eq!(Arc::strong_count(&parent), 1);
    });
}

/// Children are woken on threads that are slow to give the parent's waker back, while the poller takes the slot away and
/// puts another one in, also one that is not the same: each is dropped once, and the last wake is not lost.
#[test]
fn a_slot_that_is_taken_away_from_who_wakes() {
    for (children, woken, changes) in [(2, [0, 1], false), (2, [0, 1], true), (5, [0, 4], true)] {
        model(&format!("a slot taken away, {children} children, another parent: {changes}"), move || {
            let mut block = WakerBlock::new(children);
            let wakers = woken.map(|child| waker_of(&mut block, child));
            let parents = [(); 3].map(|()| Arc::new(Counted::default()));
            let parent = |poll: usize| &parents[if changes { poll } else { 0 }];
            assert_eq!(poll(&mut block, &parent(0).clone().into()), []);
            let threads = wakers.map(|waker| thread::spawn(move || waker.wake()));
            let mut polled = poll(&mut block, &parent(1).clone().into());
            polled.extend(poll(&mut block, &parent(2).clone().into()));
            let before = parent(2).0.load(Ordering::Acquire);
            for thread in threads {
                thread.join().unwrap();
            }
            if polled.len() < 2 {
                assert!(changes || before > 0 || parent(2).0.load(Ordering::Acquire) > 0);
                assert!(!changes || parent(2).0.load(Ordering::Acquire) > 0);
                polled.extend(poll(&mut block, &parent(2).clone().into()));
            }
            polled.sort();
            assert_eq!(polled, woken);
            drop(block);
            assert!(parents.iter().all(|parent| Arc::strong_count(parent) == 1));
        });
    }
}

/// One wake of the parent for any number of children woken between two polls.
#[test]
fn one_wake_of_the_parent_between_two_polls() {
    model("one wake of the parent", || {
        let mut block = WakerBlock::new(3);
        let wakers = [waker_of(&mut block, 0), waker_of(&mut block, 2)];
        let parent = Arc::new(Counted::default());
        assert_eq!(poll(&mut block, &parent.clone().into()), []);
        let threads = wakers.map(|waker| thread::spawn(move || waker.wake()));
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(parent.0.load(Ordering::Acquire), 1);
        assert_eq!(poll(&mut block, &parent.clone().into()), [0, 2]);
    });
}

/// A poll that has seen all that was woken requests no other one, however far the thread is that wakes the parent.
#[test]
fn a_poll_beside_the_wake_requests_no_other() {
    for children in [3, 5] {
        model(&format!("a poll beside the wake, {children} children"), move || {
            let mut block = WakerBlock::new(children);
            let waker = waker_of(&mut block, 1);
            let parent = Arc::new(Counted::default());
            assert_eq!(poll(&mut block, &parent.clone().into()), []);
            let thread = thread::spawn(move || waker.wake());
            let polled = poll(&mut block, &parent.clone().into());
            thread.join().unwrap();
            assert!(polled.is_empty() || parent.0.load(Ordering::Acquire) <= 1);
        });
    }
}
