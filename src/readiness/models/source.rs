//! Models of a chunk of places under the root, as `children/source/heap` puts them together.

use super::*;

/// The position of the chunk in the root.
const CHUNK: usize = 1;

/// A poll of a group over a source: the children of the chunk that it would poll.
fn poll_source(root: &mut WakerBlock, chunk: &mut WakerBlock, waker: &Waker) -> Vec<usize> {
    let mut polled = vec![];
    while root.take_woken(CHUNK..usize::MAX).is_some() {
        let mut from = 0;
        while let Some(child) = chunk.take_woken(from..usize::MAX) {
            polled.push(child);
            from = child + 1;
        }
        root.with_waker(CHUNK, |waker| chunk.rearm(waker));
    }
    rearm(root, waker);
    polled
}

/// Two children of a chunk are woken on other threads while the group is polled: each is polled. The root and the chunk
/// have one word each, or groups.
#[test]
fn two_wakers_under_a_root_against_the_poller() {
    for (root_children, chunk_children, woken) in [(2, 2, [0, 1]), (2, 2, [1, 1]), (3, 2, [0, 1]), (2, 3, [0, 2])] {
        let name = format!("two wakers under a root, {woken:?} of {chunk_children}, {root_children} in the root");
        model_interrupted(2, &name, move || {
            let (mut root, mut chunk) = (WakerBlock::lasting(root_children), WakerBlock::lasting(chunk_children));
            root.with_waker(CHUNK, |waker| chunk.rearm(waker));
            let threads = woken.map(|child| {
                let waker = chunk.with_waker(child, Waker::clone);
                thread::spawn(move || waker.wake())
            });
            let mut missing = woken.to_vec();
            block_on(poll_fn(|cx: &mut Context<'_>| {
                for child in poll_source(&mut root, &mut chunk, cx.waker()) {
                    missing.retain(|missing| *missing != child);
                }
                if missing.is_empty() { Poll::Ready(()) } else { Poll::Pending }
            }));
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }
}

/// A child of a chunk is woken while chunk and root are dropped, as when the group is: everything is freed once.
#[test]
fn a_wake_under_a_root_against_the_drop_of_the_group() {
    model("a wake under a root against the drop of the group", || {
        let (mut root, mut chunk) = (WakerBlock::lasting(2), WakerBlock::lasting(2));
        root.with_waker(CHUNK, |waker| chunk.rearm(waker));
        let parent = Arc::new(Counted::default());
        assert_eq!(poll_source(&mut root, &mut chunk, &parent.clone().into()), []);
        let waker = chunk.with_waker(0, Waker::clone);
        let thread = thread::spawn(move || waker.wake());
        drop(chunk);
        drop(root);
        thread.join().unwrap();
        assert!(parent.0.load(Ordering::Acquire) <= 1);
        assert_eq!(Arc::strong_count(&parent), 1);
    });
}
