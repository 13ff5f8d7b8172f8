//! "I have two tasks, foo (every second, for ever) and bar (three times, then an error). When one raises, restart both."
//!
//! On tokio, on smol, and with no executor at all; a second is 100 ms here. Then the four ways in which a gather ends.
//!
//!     cargo run --example restart

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use futures_util::future::abortable;
use gather::{CancelExt, Cancelled, Limit, gather, restart};

const SECOND: Duration = Duration::from_millis(100);

/// Any timer will do.
type Sleep = fn(Duration) -> Pin<Box<dyn Future<Output = ()>>>;

/// Tells how many are alive, so that a second foo would be seen.
struct Alive<'a>(&'a Cell<u32>);

impl<'a> Alive<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Alive(count)
    }
}

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn foo(sleep: Sleep, foos: &Cell<u32>) -> Result<(), &'static str> {
    let _alive = Alive::new(foos);
    loop {
        println!("  {}", vec!["foo"; foos.get() as usize].join(" "));
        assert_eq!(foos.get(), 1, "never two of them");
        sleep(SECOND).await;
    }
}

async fn bar(sleep: Sleep) -> Result<(), &'static str> {
    for _ in 0..3 {
        println!("  bar");
        sleep(SECOND).await;
    }
    Err("ValueError")
}

/// foo and bar, restarted three times.
async fn foo_and_bar(sleep: Sleep) {
    let foos = Cell::new(0);
    let mut generation = 0;
    let group = restart(Limit::restarts(3), || {
        generation += 1;
        assert_eq!(foos.get(), 0, "the old generation is gone");
        println!(" generation {generation}");
        let foo_child = foo(sleep, &foos).cleanup(move || async move {
            println!("  foo is cancelled: its clean-up begins");
            sleep(SECOND / 2).await;
            println!("  foo's clean-up ends");
        });
        (foo_child, bar(sleep))
    })
    .observe(|failure| println!("  child {} failed with {}", failure.index, failure.error));
    match group.await {
        Ok(_) => unreachable!("foo runs for ever"),
        Err(error) => println!(" given up: {error}: {}", error.clone().into_source()),
    }
    assert_eq!(foos.get(), 0);
}

/// What asyncio users must tell apart.
async fn four_cases(sleep: Sleep) {
    let worker = |name: &'static str, seconds: u32, result: Result<u32, &'static str>| async move {
        sleep(SECOND * seconds).await;
        println!("  {name} ends");
        result
    };
    let cleaning = |name: &'static str| {
        pending::<Result<u32, &str>>().cleanup(move || async move {
            println!("  {name} cleans up");
            sleep(SECOND).await;
            println!("  {name} has cleaned up");
        })
    };

    println!(" all calm");
    let result = gather((worker("a", 1, Ok(1)), worker("b", 2, Ok(2)))).await;
    println!("  => {result:?}");
    assert_eq!(result, Ok((1, 2)));

    println!(" one raises");
    let result = gather((cleaning("a"), worker("b", 1, Err("ValueError")))).await;
    println!("  => {result:?}");
    assert_eq!(result, Err("ValueError"));

    println!(" one is cancelled from outside");
    let (b, handle) = abortable(worker("b", 9, Ok(2)));
    let b = async { b.await.unwrap_or(Err("b was cancelled")) };
    let canceller = async {
        sleep(SECOND).await;
        handle.abort();
        Ok(3)
    };
    let result = gather((cleaning("a"), b, canceller)).await;
    println!("  => {result:?}");
    assert_eq!(result, Err("b was cancelled"));

    println!(" the gather itself is cancelled");
    let result = gather((cleaning("a"), cleaning("b"))).cancel_when(sleep(SECOND)).await;
    println!("  => {result:?}");
    assert_eq!(result, Err(Cancelled));
}

async fn both_parts(sleep: Sleep) {
    foo_and_bar(sleep).await;
    four_cases(sleep).await;
}

fn main() {
    println!("on tokio");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    tokio.block_on(both_parts(|duration| Box::pin(tokio::time::sleep(duration))));

    println!("on smol");
    async_io::block_on(both_parts(|duration| {
        Box::pin(async move {
            async_io::Timer::after(duration).await;
        })
    }));

    println!("with no executor");
    block_on(both_parts(|duration| Box::pin(sleep_by_thread(duration))));
}

/// Polls when it is unparked.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Woken by a thread that keeps all timers.
fn sleep_by_thread(duration: Duration) -> impl Future<Output = ()> {
    static TIMERS: LazyLock<Sender<(Instant, Waker)>> = LazyLock::new(|| {
        let (sender, receiver) = channel::<(Instant, Waker)>();
        std::thread::spawn(move || {
            let mut timers = Vec::<(Instant, Waker)>::new();
            loop {
                let now = Instant::now();
                timers.retain(|(at, waker)| {
                    let is_due = *at <= now;
                    if is_due {
                        waker.wake_by_ref();
                    }
                    !is_due
                });
                let next = timers.iter().map(|(at, _)| *at - now).min();
                match receiver.recv_timeout(next.unwrap_or(Duration::MAX)) {
                    Ok(timer) => timers.push(timer),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        sender
    });

    let at = Instant::now() + duration;
    poll_fn(move |cx| {
        if Instant::now() >= at {
            return Poll::Ready(());
        }
        TIMERS.send((at, cx.waker().clone())).expect("the thread runs as long as there is a sender");
        Poll::Pending
    })
}
