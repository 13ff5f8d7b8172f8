//! What works without any feature: tuples, arrays, the adapters, restart.

use std::cell::Cell;
use std::future::{pending, ready};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use gather::{CancelExt, Cancelled, Limit, RestartError, from_stream_const, gather, restart};

#[test]
fn tuples_and_arrays_gather_and_drain() {
    assert_eq!(pollster::block_on(gather((ready(Ok::<_, ()>(1)), ready(Ok("one"))))), Ok((1, "one")));
    assert_eq!(
        pollster::block_on(gather([1, 1, 1].map(|value| ready(Ok::<_, ()>(value)))).concurrency(2)),
        Ok([1, 1, 1])
    );

    let cleaned = Cell::new(0);
    let told = pending::<Result<(), &str>>().cleanup(|| async { cleaned.set(cleaned.get() + 1) });
    assert_eq!(pollster::block_on(gather((told, ready(Err::<(), _>("failed"))))), Err("failed"));
    let told = pending::<Result<(), &str>>().cleanup(|| async { cleaned.set(cleaned.get() + 1) });
    let mut polled = false;
    let later = std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut polled, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    });
    assert_eq!(pollster::block_on(gather([told]).cancel_when(later)), Err(Cancelled));
    assert_eq!(cleaned.get(), 2);

    let deaf = pending::<Result<(), &str>>().on_cancel(|_| ());
    let failing = gather((deaf, ready(Err::<(), _>("failed")))).grace(|| ready(()));
    assert_eq!(pollster::block_on(failing), Err("failed"));
}

#[test]
fn restart_limits_without_an_allocator() {
    let mut time = 0;
    let clock = move || {
        time += 1;
        Duration::from_secs(time)
    };
    let limit = Limit::within_const::<3, _>(Duration::from_secs(60), clock);
    let group = restart(limit, || (pending::<Result<(), _>>().on_cancel(|_| ()), ready(Err::<(), _>("failed"))));
    let error = pollster::block_on(group.grace(|| ready(()))).unwrap_err();
    assert_eq!(error, RestartError::LimitReached { restarts: 3, source: "failed" });
}

#[test]
fn a_restart_as_a_child_and_its_settings() {
    let (made, seen) = (Cell::new(0), Cell::new(0));
    let group = restart(Limit::unlimited(), || {
        made.set(made.get() + 1);
        (pending::<Result<(), _>>().cleanup(|| ready(())), ready(Err::<(), _>(made.get())))
    });
    let group = group.when(|failure| *failure.error < 3).observe(|failure| seen.set(seen.get() + failure.error));
    let group = group.backoff(|_| ready(())).grace(pending::<()>).cancel_when(pending::<()>());
    let ended = pollster::block_on(gather([group.map(|ended| ended.unwrap().map(drop))]));
    assert_eq!(ended, Err(RestartError::NotRetried { restarts: 2, source: 3 }));
    assert_eq!((made.get(), seen.get()), (3, 6));
}

#[test]
fn a_source_without_an_allocator() {
    let (sum, cleaned) = (Cell::new(0), Cell::new(0));
    let children = futures_util::stream::iter((0..100).map(|value| {
        let (sum, cleaned) = (&sum, &cleaned);
        let work = async move {
            sum.set(sum.get() + value);
            if value < 50 { Ok(()) } else { pending().await }
        };
        work.cleanup(move || async move { cleaned.set(cleaned.get() + 1) })
    }));
    let mut polls = 0;
    let later = std::future::poll_fn(|cx| {
        polls += 1;
        cx.waker().wake_by_ref();
        if polls > 9 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    });
    let group = gather(from_stream_const::<4, _>(children)).cancel_when(later).grace(pending::<()>);
    assert_eq!(pollster::block_on(group), Err::<Result<(), &str>, _>(Cancelled));
    assert_eq!((sum.get(), cleaned.get()), ((0..54).sum::<i32>(), 4));

    let failing = futures_util::stream::iter([Ok(()), Err("failed"), Ok(())].map(ready));
    assert_eq!(pollster::block_on(gather(from_stream_const::<1, _>(failing))), Err("failed"));
}

#[test]
fn outputs_as_they_come() {
    pollster::block_on(async {
        let told = pending::<Result<i32, &str>>().cleanup(|| ready(()));
        let mut values = std::pin::pin!(gather((told, ready(Ok(1)), ready(Err("failed")))).as_completed());
        assert_eq!(values.next().await, Some(Ok((1, 1))));
        assert_eq!(values.next().await, Some(Err("failed")));
        assert_eq!(values.next().await, None);

        let sum = Cell::new(0);
        let add = |index, value: usize| {
            sum.set(sum.get() + index * value);
            ready(())
        };
        gather([1, 2, 3].map(ready)).settle().as_completed().for_each(add).await;
        assert_eq!(sum.take(), 8);
        let children = stream::iter([1, 2, 3].map(ready));
        gather(from_stream_const::<2, _>(children)).settle().as_completed().for_each(add).await;
        assert_eq!(sum.take(), 8);
    });
}
