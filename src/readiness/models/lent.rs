//! Models of the waker that is lent for a poll, and of the block that its clone makes.

#![allow(unsafe_code, reason = "loom has no scoped threads")]

use super::*;

/// A child whose poll ends only when its threads have: what is lent to it may be used there.
fn spawn_scoped(waker: &Waker, act: impl FnOnce(&Waker) + 'static) -> thread::JoinHandle<()> {
    // SAFETY: the models join the thread within the poll.
    let waker: &'static Waker = unsafe { &*(&raw const *waker) };
    thread::spawn(move || act(waker))
}

/// Two threads clone the waker that was lent for a poll, in that poll: there is one block, and both clones are wakers of
/// it. One is used when the poll is over, the other at any time.
#[test]
fn a_lent_waker_cloned_on_two_threads() {
    for is_other_woken in [false, true] {
        model(&format!("a lent waker cloned on two threads, woken at once: {is_other_woken}"), move || {
            let mut block = WakerBlock::new(2);
            let cloned = loom::sync::Arc::new(loom::sync::Mutex::new(None));
            let mut late = None;
            let parent = Arc::new(Counted::default());
            block.with_lent(0, |waker| {
                let thread = spawn_scoped(waker, {
                    let cloned = cloned.clone();
                    move |waker| {
                        let waker = waker.clone();
                        if is_other_woken {
                            waker.wake_by_ref();
                        }
                        *cloned.lock().unwrap() = Some(waker);
                    }
                });
                let own = waker.clone();
                thread.join().unwrap();
                let other = cloned.lock().unwrap().take().unwrap();
                assert!(own.will_wake(&other));
                late = Some(thread::spawn(move || other.wake()));
            });
            block.rearm(&parent.clone().into());
            late.unwrap().join().unwrap();
            assert!(parent.0.load(Ordering::Acquire) > 0);
            assert_eq!(poll(&mut block, &parent.clone().into()), [0]);
        });
    }
}

/// A clone is made in the first poll, and woken on another thread while that poll goes on: another child clones its
/// waker, a third one wakes itself, and the poll ends.
#[test]
fn a_wake_in_the_poll_in_which_the_block_is_made() {
    for wakes_itself in [false, true] {
        model(&format!("a wake in the poll in which the block is made, and by itself: {wakes_itself}"), move || {
            let mut block = WakerBlock::new(2);
            let mut missing = if wakes_itself { vec![0, 1] } else { vec![0] };
            let mut thread = None;
            block_on(poll_fn(|cx: &mut Context<'_>| {
                if thread.is_none() {
                    let waker = block.with_lent(0, Waker::clone);
                    thread = Some(thread::spawn(move || waker.wake()));
                    block.with_lent(1, |waker| match wakes_itself {
                        true => waker.wake_by_ref(),
                        false => drop(waker.clone()),
                    });
                    rearm(&mut block, cx.waker());
                    return Poll::Pending;
                }
                let polled = poll(&mut block, cx.waker());
                missing.retain(|child| !polled.contains(child));
                if missing.is_empty() { Poll::Ready(()) } else { Poll::Pending }
            }));
            thread.unwrap().join().unwrap();
        });
    }
}

/// The lent waker is woken on another thread in the poll for which it is lent: its child is polled again.
#[test]
fn a_lent_waker_woken_on_another_thread() {
    model("a lent waker woken on another thread", || {
        let mut block = WakerBlock::new(2);
        let parent = Arc::new(Counted::default());
        block.with_lent(1, |waker| {
            let threads = [(); 2].map(|()| spawn_scoped(waker, Waker::wake_by_ref));
            waker.wake_by_ref();
            for thread in threads {
                thread.join().unwrap();
            }
        });
        block.rearm(&parent.clone().into());
        assert_eq!(parent.0.load(Ordering::Acquire), 1);
        assert_eq!(poll(&mut block, &parent.into()), [1]);
    });
}
