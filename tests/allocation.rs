//! What is allocated: nothing for tuples and arrays, one or two blocks for a `Vec`.

#![cfg(feature = "alloc")]

#[path = "suite/kit.rs"]
mod kit;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::{Future, pending, poll_fn, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::stream;
use gather::{
    CancelExt, Child, EitherChild, Limit, LocalBoxChild, cancellable, from_iter, from_stream, from_stream_const,
    gather, restart,
};

thread_local! {
    static COUNTED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    static FREED: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// So many bytes more are held by this thread, or fewer.
fn hold(bytes: isize) {
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
    let _ = PEAK.try_with(|peak| peak.set(peak.get().max(HELD.get())));
}

/// Counts the allocations of this thread, and their bytes, and how many were freed, and the bytes that are held.
struct Counting;

// SAFETY: passes everything on to the system's allocator.
#[allow(unsafe_code, reason = "a global allocator that counts")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNTED.try_with(|counted| {
            let (count, bytes) = counted.get();
            counted.set((count + 1, bytes + layout.size()));
        });
        hold(layout.size() as isize);
        // SAFETY: by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let _ = FREED.try_with(|freed| freed.set(freed.get() + 1));
        hold(-(layout.size() as isize));
        // SAFETY: by the caller.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The count and the bytes of what `act` allocates.
fn allocated<R>(act: impl FnOnce() -> R) -> ((usize, usize), R) {
    COUNTED.set((0, 0));
    FREED.set(0);
    let result = act();
    (COUNTED.get(), result)
}

fn run<F: IntoFuture>(future: F) -> F::Output {
    let mut future = pin!(future.into_future());
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

/// Pending at first.
fn yields<T: Copy>(value: T) -> impl Future<Output = T> {
    let mut polled = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(value);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

#[test]
fn tuples_and_arrays_allocate_nothing() {
    let (counted, ()) = allocated(|| {
        for fails in [false, true] {
            let last = || yields(if fails { Err(1) } else { Ok(3) });
            let tuple = (
                yields(Ok::<_, u8>(1)).on_cancel(|_| ()),
                yields(Ok(2)).cleanup(|| yields(())),
                gather((yields(Ok(3)), yields(Ok(4)).shield())),
                yields(Ok(5)).finally(|| yields(())).cancel_when(pending::<()>()).map(|ended| ended.unwrap_or(Err(5))),
                if fails {
                    EitherChild::Left(last().shield())
                } else {
                    EitherChild::Right(Child::map(last(), |last| last))
                },
                Child::map_err(yields(Ok::<_, u16>(Err::<(), u8>(6))), |_| 7).flatten(),
                last(),
            );
            let _ = run(gather(tuple).cancel_when(pending::<()>()).grace(|| yields(())));
            let _ = run(gather([last(), last(), last()]).concurrency(2));
        }
    });
    assert_eq!(counted, (0, 0));
}

#[test]
fn a_restarted_tuple_allocates_nothing_over_1000_generations() {
    let (counted, ()) = allocated(|| {
        let made = Cell::new(0u32);
        let mut time = 0;
        let clock = move || {
            time += 1;
            Duration::from_secs(time)
        };
        let group = restart(Limit::within_const::<5, _>(Duration::from_secs(3), clock), || {
            made.set(made.get() + 1);
            let told = pending::<Result<(), u32>>().cleanup(|| yields(()));
            (told, yields(Ok(1)), yields(Err::<(), _>(if made.get() <= 1000 { made.get() } else { 0 })))
        });
        let group = group
            .when(|failure| *failure.error != 0)
            // As of the last restart, which counts.
            .observe(|failure| assert!(failure.recent <= 4))
            .backoff(|failure| {
                assert!(failure.recent <= 3);
                yields(())
            })
            .grace(pending::<()>)
            .cancel_when(pending::<()>());
        let error = run(group).unwrap().unwrap_err();
        assert_eq!(error.into_source(), 0);
        assert_eq!(made.get(), 1001);
    });
    assert_eq!(counted, (0, 0));
}

#[test]
fn a_window_takes_no_more_memory_the_more_failures_there_are() {
    let fails = |failures: u32| {
        let limit = Limit::within(3, Duration::from_secs(10), kit::stumbling_clock());
        let mut made = 0;
        let group = restart(limit, || {
            made += 1;
            [ready(if made <= failures { Err("failed") } else { Ok(made) })]
        });
        let (counted, result) = allocated(|| run(group));
        assert_eq!(result, Ok([failures + 1]));
        counted
    };
    let (count, bytes) = fails(10);
    assert!(count > 0 && bytes <= 4 * size_of::<Duration>(), "{count} allocations of {bytes} bytes");
    assert_eq!(fails(100_000), (count, bytes));
}

/// As [`yields`], but clones its waker in each of so many polls.
fn clones<T: Copy>(value: T, polls: usize) -> impl Future<Output = T> {
    let mut wakers = Vec::with_capacity(polls);
    poll_fn(move |cx| {
        if wakers.len() == polls {
            return Poll::Ready(value);
        }
        wakers.push(cx.waker().clone());
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

#[test]
fn a_vec_of_few_children_allocates_for_wakers_once_one_is_cloned() {
    for count in [1, 2, 30, 31, 62] {
        let children: Vec<_> = (0..count).map(|value| yields(Ok::<u64, ()>(value))).collect();
        let (counted, values) = allocated(|| run(gather(children)));
        assert_eq!((counted, values), ((1, 8 * count as usize), Ok((0..count).collect())));

        for cloning in [0, count - 1] {
            let children: Vec<_> =
                (0..count).map(|value| clones(Ok::<u64, ()>(value), if value == cloning { 3 } else { 0 })).collect();
            let ((allocations, bytes), values) = allocated(|| run(gather(children)));
            assert_eq!((allocations, values), (2, Ok((0..count).collect())));
            let overhead = bytes - 8 * count as usize;
            // 120, but for layouts at random.
            assert!(cfg!(not(target_pointer_width = "64")) || overhead <= 128, "{count} children: {overhead} bytes");
        }
    }
}

#[test]
fn a_vec_takes_two_allocations_for_any_number_of_children() {
    for count in [64, 65, 1000, 100_000] {
        for cloned in [0, 1] {
            let children: Vec<_> = (0..count).map(|value| clones(Ok::<u64, ()>(value), cloned)).collect();
            let all = gather(children);
            let ((allocations, bytes), values) = allocated(|| run(all));
            assert_eq!(values.unwrap().len() as u64, count);
            assert_eq!(allocations, 2, "{count} children");
            let overhead = bytes - 8 * count as usize;
            println!("{count} children: {overhead} bytes beside the outputs");
            if cfg!(target_pointer_width = "64") {
                let groups = count.div_ceil(64) as usize;
                let summary = if groups < 64 { 0 } else { 8 * groups.div_ceil(64) };
                // 120, but for layouts at random.
                assert!(overhead <= 128 + 64 * groups + summary, "{count} children: {overhead} bytes");
            }
        }
    }
}

#[test]
#[expect(clippy::result_large_err, reason = "an error that is large is what is tested")]
fn a_failure_takes_a_box_for_the_error_and_no_other_end_does() {
    for (errs, boxes) in [(true, 1), (false, 0)] {
        let all = gather(vec![ready(if errs { Err([0u8; 1000]) } else { Ok(()) })]);
        let (counted, _) = allocated(|| run(all));
        assert_eq!(counted, (boxes, 1000 * boxes));
    }
}

#[test]
fn all_that_was_allocated_is_freed_whenever_it_is_dropped() {
    let child = |index: u64| yields(if index == 70 { Err(()) } else { Ok(index) }).on_cancel(|_| ());
    for polls in 0..5 {
        for lasting in [false, true] {
            let ((allocations, _), ()) = allocated(|| {
                // With one that does not end, it is still in its drain at the last poll.
                let endless = pending::<Result<u64, ()>>().on_cancel(|_| ());
                let mut children: Vec<_> = (0..100).map(|index| LocalBoxChild::new(child(index))).collect();
                if lasting {
                    children.push(LocalBoxChild::new(endless));
                }
                let mut all = Box::pin(gather(children).into_future());
                let mut cx = Context::from_waker(Waker::noop());
                for _ in 0..polls {
                    if all.as_mut().poll(&mut cx).is_ready() {
                        break;
                    }
                }
            });
            assert_eq!(FREED.get(), allocations, "{polls} polls, lasting: {lasting}");
        }
    }
}

#[test]
fn outputs_of_no_size_take_no_memory() {
    let children: Vec<_> = (0..1000).map(|_| ready(Ok::<(), ()>(()))).collect();
    let ((allocations, _), values) = allocated(|| run(gather(children)));
    assert_eq!((allocations, values), (1, Ok(vec![(); 1000])));
}

#[test]
fn an_empty_vec_allocates_nothing() {
    let (counted, values) = allocated(|| run(gather(Vec::<std::future::Ready<Result<u8, u8>>>::new())));
    assert_eq!((counted, values), ((0, 0), Ok(vec![])));
}

/// One for its signal, one for each further place of those that wait for it at once, whatever comes and goes.
#[test]
fn those_that_wait_for_a_signal_use_its_places_again() {
    for at_once in [1_usize, 2, 10] {
        let rounds = 1000;
        let (counted, ()) = allocated(|| {
            let child = cancellable(async |cancel| {
                // Without an allocation: each is polled once in a round, and then dropped.
                for round in 0..rounds {
                    let mut waits: [_; 10] = std::array::from_fn(|_| cancel.run_until_cancelled(pending::<()>()));
                    poll_fn(|cx| {
                        // From another one each time, so that they go in another order than they came.
                        for index in 0..at_once {
                            let wait = &mut waits[(round + index) % at_once];
                            assert!(pin!(wait).poll(cx).is_pending());
                        }
                        Poll::Ready(())
                    })
                    .await;
                }
                Ok::<_, ()>(())
            });
            assert_eq!(run(gather([child])), Ok([()]));
        });
        assert_eq!(counted.0, at_once, "{at_once} at once");
        assert_eq!(FREED.get(), at_once);
    }
}

// ---- children from a source ----

/// The most bytes that are held at once while it runs, beside those that were held before.
fn peak<F: IntoFuture>(future: F) -> isize {
    let before = HELD.get();
    PEAK.set(before);
    let _ = run(future);
    PEAK.get() - before
}

/// 16 bytes large.
fn unit(value: u64) -> impl Future<Output = Result<(), u64>> {
    let mut polls = 0_u64;
    poll_fn(move |cx| {
        polls += 1;
        if polls > 1 + value % 3 {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

fn same_peak(count: u64) {
    let of = |count| peak(gather(from_iter((0..count).map(unit))).concurrency(32));
    let few = of(1000);
    assert!(few < 8000, "{few} bytes for 32 at a time");
    assert_eq!(of(count), few, "{count} children");
}

#[test]
fn a_million_children_32_at_a_time_take_as_much_memory_as_a_thousand() {
    same_peak(1_000_000);
}

#[test]
#[ignore = "takes long without optimisation"]
fn ten_million_children_32_at_a_time_take_as_much_memory_as_a_thousand() {
    same_peak(10_000_000);
}

#[test]
fn nothing_is_allocated_for_a_child_of_a_source() {
    // All of a window end in one poll, or some of it.
    for limit in [1, 16, 1000] {
        for together in [false, true] {
            let turn = |value: u64| unit(if together { 0 } else { value });
            let drawn = Cell::new(0);
            let seen = Cell::new((0, 0));
            let children = (0..20 * limit).map(|value| {
                drawn.set(value);
                // The second window is full: from here on there are as many children as before.
                if value == 3 * limit {
                    seen.set(COUNTED.get());
                }
                turn(value)
            });
            COUNTED.set((0, 0));
            let mut all = pin!(gather(from_iter(children)).concurrency(limit as usize).into_future());
            let mut cx = Context::from_waker(Waker::noop());
            while all.as_mut().poll(&mut cx).is_pending() {}
            let (after, _) = COUNTED.get();
            assert_eq!(after - seen.get().0, 0, "{limit} at a time, together: {together}");
        }
    }
}

#[test]
fn a_source_without_an_allocator_allocates_nothing() {
    let (counted, ()) = allocated(|| {
        let units = || stream::iter((0..1000).map(unit));
        assert_eq!(run(gather(from_stream_const::<1, _>(units()))), Ok(()));
        assert_eq!(run(gather(from_stream_const::<16, _>(units())).concurrency(5)), Ok(()));
        let told = stream::iter((0..20).map(|turn| pending::<Result<(), u64>>().on_cancel(move |_| assert!(turn < 4))));
        let cancelled = gather(from_stream_const::<4, _>(told)).cancel_when(yields(())).grace(|| yields(()));
        assert!(run(cancelled).is_err());
    });
    assert_eq!(counted, (0, 0));
}

#[test]
fn outputs_of_no_size_of_a_source_take_no_memory() {
    let of = |count: u64| peak(gather(from_iter((0..count).map(|_| ready(Ok::<(), ()>(()))))));
    assert_eq!(of(100_000), of(100));
}

/// Children that end when they are told to by a number: those below it have ended.
#[test]
fn memory_falls_back_after_a_peak() {
    const MANY: u64 = 1_000_000;
    let (ends_below, given) = (Cell::new(0), Cell::new(0));
    let wakers = std::cell::RefCell::new(Vec::<Waker>::with_capacity(2 * MANY as usize));
    let source = stream::poll_fn(|cx| {
        // Wakes itself until it has given the last one.
        if given.get() < MANY {
            given.set(given.get() + 1);
            let index = given.get() - 1;
            let (ends_below, wakers) = (&ends_below, &wakers);
            return Poll::Ready(Some(poll_fn(move |cx| {
                if index < ends_below.get() {
                    return Poll::Ready(Ok::<_, ()>(()));
                }
                wakers.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            })));
        }
        wakers.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    });
    let before = HELD.get();
    let mut all = pin!(gather(from_stream(source)).into_future());
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..=MANY / 64 {
        assert!(all.as_mut().poll(&mut cx).is_pending());
    }
    let at_peak = HELD.get() - before;
    assert!(at_peak > 24 * MANY as isize);
    // All but the last ten end.
    ends_below.set(MANY - 10);
    // The buffer of the wakers is not the group's: it lasts.
    let old: Vec<_> = wakers.borrow_mut().drain(..).collect();
    old.into_iter().for_each(Waker::wake);
    for _ in 0..3 {
        assert!(all.as_mut().poll(&mut cx).is_pending());
    }
    let left = HELD.get() - before;
    println!("{at_peak} bytes at the peak of {MANY}, {left} bytes with ten left");
    assert!(left < at_peak / 20, "{left} bytes are held for ten children, after a peak of {at_peak}");
}

#[test]
fn bytes_a_child_that_waits() {
    struct Waits<'a>(&'a Cell<u64>, u64);

    impl Future for Waits<'_> {
        type Output = Result<(), ()>;

        fn poll(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            self.0.set(self.0.get() + self.1);
            Poll::Pending
        }
    }

    for count in [1000, 100_000] {
        let sum = Cell::new(0);
        let before = HELD.get();
        let children = (0..count).map(|value| Waits(&sum, value));
        let mut all = pin!(
            gather(from_stream(futures_util::StreamExt::chain(stream::iter(children), stream::pending())))
                .into_future()
        );
        for _ in 0..=count / 64 {
            assert!(all.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!(sum.get(), count * (count - 1) / 2);
        let beside = (HELD.get() - before) as f64 / count as f64 - size_of::<Waits<'_>>() as f64;
        println!("{count} children wait: {beside:.1} bytes for each beside its own");
        if cfg!(target_pointer_width = "64") {
            assert!(beside <= 24.0, "{count} children: {beside:.1} bytes");
        }
    }
}

#[test]
fn all_that_was_allocated_for_a_source_is_freed_whenever_it_is_dropped() {
    for polls in 0..8 {
        for limit in [3, 100, usize::MAX] {
            let ((allocations, _), ()) = allocated(|| {
                let child = |index: u64| yields(if index == 170 { Err(()) } else { Ok(index) }).on_cancel(|_| ());
                let mut all = Box::pin(gather(from_iter((0..300).map(child))).concurrency(limit).into_future());
                let mut cx = Context::from_waker(Waker::noop());
                for _ in 0..polls {
                    if all.as_mut().poll(&mut cx).is_ready() {
                        break;
                    }
                }
            });
            assert_eq!(FREED.get(), allocations, "{polls} polls, {limit} at a time");
        }
    }
}
