//! What cannot be seen through a gather.

use core::task::Waker;
use std::vec;
use std::vec::Vec;

use super::{GROUP, WakerBlock, layout};
use crate::sync::WIDTH;

fn waker_of(block: &WakerBlock, child: usize) -> Waker {
    block.with_waker(child, Waker::clone)
}

fn woken(block: &WakerBlock) -> Vec<usize> {
    let mut polled = vec![];
    if let Some(mut pass) = block.woken() {
        polled.extend(core::iter::from_fn(|| pass.next(block)));
    }
    polled
}

#[test]
fn each_child_has_a_waker_of_its_own() {
    for children in [1, 2, WIDTH - 1, WIDTH, WIDTH + 1, WIDTH * WIDTH + 1] {
        let block = WakerBlock::new(children);
        let wakers: Vec<_> = (0..children).map(|child| waker_of(&block, child)).collect();
        for (child, waker) in wakers.iter().enumerate() {
            assert!(waker.will_wake(&waker_of(&block, child)));
            assert!(child == 0 || !waker.will_wake(&wakers[child - 1]));
            waker.wake_by_ref();
            assert_eq!(woken(&block), [child]);
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
        waker_of(&block, *child).wake_by_ref();
        waker_of(&block, *child).wake();
    }
    assert_eq!(woken(&block), picked);
    assert_eq!(woken(&block), []);
    block.wake_all();
    block.end(1);
    assert_eq!(woken(&block).len(), 3 * WIDTH - 1);
}

#[test]
fn the_live_and_the_kept_are_found_in_index_order() {
    let children = 2 * WIDTH + 3;
    let mut block = WakerBlock::new(children);
    assert_eq!(block.next_live(0), Some(0));
    assert_eq!(block.next_live(children - 1), Some(children - 1));
    assert_eq!(block.next_live(children), None);
    for child in 0..children - 1 {
        block.end(child);
    }
    assert_eq!(block.next_live(0), Some(children - 1));
    block.set_kept(WIDTH, true);
    assert_eq!((block.next_left(0), block.next_left(WIDTH + 1)), (Some(WIDTH), Some(children - 1)));
    assert_eq!((block.kept_count(), block.is_kept(WIDTH), block.is_live(WIDTH)), (1, true, false));
    block.set_kept(WIDTH, false);
    assert_eq!(block.kept_count(), 0);
}
