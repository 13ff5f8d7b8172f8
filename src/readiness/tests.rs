//! What cannot be seen through a gather.

use core::mem;
use core::ops::ControlFlow;
use core::task::Waker;
use std::process::{self, Command};
use std::string::String;
use std::vec::Vec;
use std::{env, panic, println, vec};

use super::block::{GROUP, layout};
use super::parent::Hints;
use super::sync::{HINTS, Ordering, WIDTH};
use super::{MAX_REFERENCES, Turn, WakerBlock};

fn waker_of(block: &mut WakerBlock, child: usize) -> Waker {
    block.with_lent(child, Waker::clone)
}

/// Takes those below one, from another on, at most so many.
fn some_woken(block: &mut WakerBlock, from: usize, below: usize, most: usize) -> Vec<usize> {
    let mut polled = vec![];
    let _ = block.visit_woken(from, below, |child| {
        polled.push(child);
        if polled.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    polled
}

fn woken(block: &mut WakerBlock) -> Vec<usize> {
    some_woken(block, 0, usize::MAX, usize::MAX)
}

#[test]
fn each_child_has_a_waker_of_its_own() {
    for children in [1, 2, HINTS, WIDTH, WIDTH + 1, HINTS * WIDTH, HINTS * WIDTH + 1] {
        let mut block = WakerBlock::new(children);
        let wakers: Vec<_> = (0..children).map(|child| waker_of(&mut block, child)).collect();
        for (child, waker) in wakers.iter().enumerate() {
            assert!(waker.will_wake(&waker_of(&mut block, child)));
            assert!(child == 0 || !waker.will_wake(&wakers[child - 1]));
            waker.wake_by_ref();
            assert_eq!(woken(&mut block), [child]);
        }
    }
}

#[test]
fn a_child_costs_about_a_byte() {
    for children in [1000, 100_000, 1_000_000] {
        let bytes = layout(children).unwrap().size();
        assert!(bytes * 10 <= children * 12, "{children} children: {bytes} bytes");
    }
    assert_eq!(GROUP, WIDTH);
}

/// In a process of its own, which must end before it has another waker.
#[test]
fn too_many_clones_of_a_waker_end_the_process() {
    const IN_ITS_OWN: &str = "GATHER_TEST_TOO_MANY_CLONES";
    if env::var_os(IN_ITS_OWN).is_some() {
        let mut block = WakerBlock::new(1);
        let waker = waker_of(&mut block, 0);
        block.header().unwrap().references.store(MAX_REFERENCES, Ordering::Relaxed);
        mem::forget(waker.clone());
        println!("as many as may be");
        mem::forget(panic::catch_unwind(|| waker.clone()));
        println!("one too many");
        process::exit(0);
    }
    let mut again = Command::new(env::current_exe().unwrap());
    again.args(["--exact", "--nocapture", "readiness::tests::too_many_clones_of_a_waker_end_the_process"]);
    let output = again.env(IN_ITS_OWN, "").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("as many as may be") && !said.contains("one too many"), "{said}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("too many clones of a child's waker"));
    assert!(!output.status.success());
}

#[test]
fn sizes_that_overflow_are_refused() {
    assert!(layout(usize::MAX).is_none());
    assert!(layout(isize::MAX as usize).is_none());
}

#[test]
fn woken_once_a_child_is_taken_once() {
    let mut block = WakerBlock::new(3 * WIDTH);
    let picked = [0, WIDTH - 1, WIDTH, 3 * WIDTH - 1];
    for child in picked.iter().rev() {
        waker_of(&mut block, *child).wake_by_ref();
        waker_of(&mut block, *child).wake();
    }
    assert_eq!(woken(&mut block), picked);
    assert_eq!(woken(&mut block), []);
}

#[test]
fn a_pass_goes_round_and_what_it_leaves_the_next_one_finds() {
    let sizes = [1, 2, HINTS - 1, HINTS, WIDTH, WIDTH + 1, 3 * WIDTH, HINTS * WIDTH, HINTS * WIDTH + 1];
    for children in sizes.into_iter().chain([3 * WIDTH * WIDTH + 5]) {
        let mut block = WakerBlock::new(children);
        let picked: Vec<_> = (0..children).filter(|child| child % 3 == 0 || child % WIDTH > WIDTH - 2).collect();
        for from in [0, 1, WIDTH - 2, WIDTH - 1, WIDTH, WIDTH + 1, children / 2, children - 1, children] {
            let from = from.min(children);
            let split = picked.partition_point(|child| *child < from);
            for most in [1, 2, WIDTH, usize::MAX] {
                // Those of the first part are woken by a waker, the others by the one that is lent.
                for child in &picked {
                    match child % 2 {
                        0 => waker_of(&mut block, *child).wake(),
                        _ => block.with_lent(*child, Waker::wake_by_ref),
                    }
                }
                // None of these is below it.
                assert_eq!(some_woken(&mut block, 0, picked[0], usize::MAX), []);
                let mut round = vec![];
                loop {
                    let part = some_woken(&mut block, from, usize::MAX, most);
                    round.extend_from_slice(&part);
                    if part.len() < most {
                        break;
                    }
                }
                assert_eq!(round, [&picked[split..], &picked[..split]].concat());
                for child in &picked {
                    waker_of(&mut block, *child).wake();
                }
                assert_eq!(some_woken(&mut block, 0, from, usize::MAX), picked[..split]);
                assert_eq!(some_woken(&mut block, from, usize::MAX, usize::MAX), picked[split..]);
                assert_eq!(woken(&mut block), []);
            }
        }
    }
}

#[test]
fn a_small_group_has_no_block_until_a_waker_is_cloned() {
    for children in [1, HINTS] {
        let mut block = WakerBlock::new(children);
        let last = children - 1;
        block.with_lent(last, Waker::wake_by_ref);
        assert_eq!(woken(&mut block), [last]);
        assert!(block.header().is_none());
        let [waker, other] = [(); 2].map(|()| waker_of(&mut block, last));
        assert!(block.header().is_some() && waker.will_wake(&other));
        // From now on it is lent the same one.
        block.with_lent(last, |lent| assert!(lent.will_wake(&waker)));
    }
}

#[test]
fn a_visit_of_all_takes_the_wakes() {
    let children = HINTS * WIDTH + 1;
    let mut block = WakerBlock::new(children);
    for child in [0, 1, WIDTH, children - 1] {
        waker_of(&mut block, child).wake();
    }
    block.open(0, Turn::NONE).end(1);
    let mut visited = vec![];
    block.visit_all(|child| visited.push(child));
    assert_eq!(visited.len(), children - 1);
    assert_eq!(woken(&mut block), []);
    waker_of(&mut block, WIDTH).wake();
    assert_eq!(woken(&mut block), [WIDTH]);
}

#[test]
fn what_is_written_of_a_group_stays_when_it_is_closed() {
    let children = 2 * WIDTH + 3;
    let mut block = WakerBlock::new(children);
    assert!(block.has_live() && !WakerBlock::new(0).has_live());
    {
        let mut group = block.open(2, Turn::NONE);
        assert_eq!(group.live(0).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(group.live(2 * WIDTH + 1).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(group.live(3 * WIDTH).collect::<Vec<_>>(), []);
        group.end(0);
        group.end(2);
        group.set_kept(2, true);
        assert_eq!(group.left().collect::<Vec<_>>(), [1, 2]);
    }
    let kept = |block: &WakerBlock| (0..children).filter(|child| block.is_kept(*child)).collect::<Vec<_>>();
    assert_eq!(kept(&block), [2 * WIDTH + 2]);
    assert!(block.is_live(2 * WIDTH + 1) && !block.is_live(2 * WIDTH) && !block.is_live(children));
    block.open(2, Turn::NONE).set_kept(2, false);
    assert_eq!(kept(&block), []);
    for number in 0..3 {
        assert!(block.has_live() && !block.keeps_all());
        let mut group = block.open(number, Turn::NONE);
        for position in 0..WIDTH.min(children - number * WIDTH) {
            if group.is_live(position) {
                group.end(position);
            }
            group.set_kept(position, true);
        }
    }
    assert!(!block.has_live() && block.keeps_all());
    block.open(1, Turn::NONE).set_kept(0, false);
    assert!(!block.keeps_all());
    // Where the last group is full there is none behind it.
    assert!(!WakerBlock::new(WIDTH).is_live(WIDTH));
}

#[test]
fn a_hint_finds_its_word_and_those_congruent_to_it() {
    let words = 3 * WIDTH;
    let period = HINTS;
    for word in 0..words {
        let hints = Hints::of(word);
        let mut found = vec![];
        let mut from = 0;
        while let Some(next) = hints.next(from, words) {
            found.push(next);
            from = next + 1;
        }
        let congruent: Vec<_> = (0..words).filter(|other| other % period == word % period).collect();
        assert_eq!(found, congruent);
    }
    assert_eq!((0..words).find(|word| Hints::ALL.next(*word, words) != Some(*word)), None);
    assert_eq!(Hints::NONE.next(0, words), None);
}
