//! What cannot be seen through a gather.

use core::mem;
use core::ops::{ControlFlow, Range};
use core::task::Waker;
use std::process::{self, Command};
use std::string::String;
use std::vec::Vec;
use std::{env, panic, println, vec};

use super::parent::Hints;
use super::sync::{HINTS, Ordering, WIDTH};
use super::{GROUP, MAX_REFERENCES, WakerBlock, layout};

fn waker_of(block: &mut WakerBlock, child: usize) -> Waker {
    block.open(child / WIDTH).with_waker(child % WIDTH, Waker::clone)
}

/// Takes those of a range, at most so many.
fn some_woken(block: &mut WakerBlock, range: Range<usize>, most: usize) -> Vec<usize> {
    let mut polled = vec![];
    let _ = block.visit_woken(range, |child| {
        polled.push(child);
        if polled.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    polled
}

fn woken(block: &mut WakerBlock) -> Vec<usize> {
    some_woken(block, 0..usize::MAX, usize::MAX)
}

#[test]
fn each_child_has_a_waker_of_its_own() {
    for children in [1, 2, WIDTH - 1, WIDTH, WIDTH + 1, HINTS * WIDTH, HINTS * WIDTH + 1] {
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
        block.header().references.store(MAX_REFERENCES, Ordering::Relaxed);
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
fn a_pass_over_a_part_leaves_the_rest() {
    for children in [1, 2, WIDTH, WIDTH + 1, 3 * WIDTH, HINTS * WIDTH, HINTS * WIDTH + 1, 3 * WIDTH * WIDTH + 5] {
        let mut block = WakerBlock::new(children);
        let picked: Vec<_> = (0..children).filter(|child| child % 3 == 0 || child % WIDTH > WIDTH - 2).collect();
        for from in [0, 1, WIDTH - 1, WIDTH, WIDTH + 1, children / 2, children - 1, children] {
            for most in [1, 2, WIDTH, usize::MAX] {
                for child in &picked {
                    waker_of(&mut block, *child).wake();
                }
                // In parts, each cut at most where it may be; what one leaves the next one finds.
                let split = picked.partition_point(|child| *child < from);
                let mut behind = vec![];
                loop {
                    let part = some_woken(&mut block, from..usize::MAX, most);
                    behind.extend_from_slice(&part);
                    if part.len() < most {
                        break;
                    }
                }
                assert_eq!(behind, picked[split..]);
                assert_eq!(some_woken(&mut block, 0..from, usize::MAX), picked[..split]);
                assert_eq!(woken(&mut block), []);
            }
        }
    }
}

#[test]
fn a_visit_of_all_takes_the_wakes() {
    let children = HINTS * WIDTH + 1;
    let mut block = WakerBlock::new(children);
    for child in [0, 1, WIDTH, children - 1] {
        waker_of(&mut block, child).wake();
    }
    block.open(0).end(1);
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
    assert_eq!(block.live_count(), children);
    {
        let mut group = block.open(2);
        assert_eq!(group.live(0).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(group.live(2 * WIDTH + 1).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(group.live(3 * WIDTH).collect::<Vec<_>>(), []);
        group.end(0);
        group.end(2);
        group.set_kept(2, true);
        assert_eq!(group.left().collect::<Vec<_>>(), [1, 2]);
    }
    assert_eq!((block.live_count(), block.kept_count()), (children - 2, 1));
    assert!(block.is_live(2 * WIDTH + 1) && !block.is_live(2 * WIDTH) && !block.is_live(children));
    block.open(2).set_kept(2, false);
    assert_eq!(block.kept_count(), 0);
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
