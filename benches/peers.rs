//! What is compared: `gather` and its peers, each behind the same function from a `Vec` of children to one future.
//!
//! Each is used as its own docs say. Sets that hand outputs out as they come, in no order of the children, are drained
//! into a `Vec`; putting that in order would be the caller's work and is not done for them.

use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::TryStreamExt as _;
use futures::stream::FuturesUnordered;
use futures_buffered::FuturesUnorderedBounded;
use futures_concurrency::future::TryJoin;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

pub type Output = Result<u64, u64>;
pub type Outputs = Result<Vec<u64>, u64>;

pub trait Peer {
    const NAME: &str;
    /// Whether a poll looks at every child, so that waking one after another takes time by the square of their number.
    const SCANS: bool = false;

    /// Everything that can be made before the first poll is made here.
    fn join<C: Future<Output = Output>>(children: Vec<C>) -> impl Future<Output = Outputs>;
}

pub struct Ours;

impl Peer for Ours {
    const NAME: &str = "gather";

    fn join<C: Future<Output = Output>>(children: Vec<C>) -> impl Future<Output = Outputs> {
        gather::gather(children).into_future()
    }
}

pub struct FuturesTryJoinAll;

impl Peer for FuturesTryJoinAll {
    const NAME: &str = "futures::try_join_all";

    fn join<C: Future<Output = Output>>(children: Vec<C>) -> impl Future<Output = Outputs> {
        futures::future::try_join_all(children)
    }
}

pub struct FuturesSet;

impl Peer for FuturesSet {
    const NAME: &str = "futures::FuturesUnordered";

    fn join<C: Future<Output = Output>>(children: Vec<C>) -> impl Future<Output = Outputs> {
        let mut outputs = Vec::with_capacity(children.len());
        let mut set: FuturesUnordered<C> = children.into_iter().collect();
        async move {
            while let Some(value) = set.try_next().await? {
                outputs.push(value);
            }
            Ok(outputs)
        }
    }
}

pub struct BufferedTryJoinAll;

impl Peer for BufferedTryJoinAll {
    const NAME: &str = "futures_buffered::try_join_all";

    fn join<C: Future<Output = Output>>(children: Vec<C>) -> impl Future<Output = Outputs> {
        futures_buffered::try_join_all(children)
    }
}

pub struct BufferedSet;

impl Peer for BufferedSet {
    const NAME: &str = "futures_buffered::FuturesUnorderedBounded";

    fn join<C: Future<Output = Output>>(children: Vec<C>) -> impl Future<Output = Outputs> {
        let mut outputs = Vec::with_capacity(children.len());
        let mut set: FuturesUnorderedBounded<C> = children.into_iter().collect();
        async move {
            while let Some(value) = set.try_next().await? {
                outputs.push(value);
            }
            Ok(outputs)
        }
    }
}

pub struct ConcurrencyTryJoin;

impl Peer for ConcurrencyTryJoin {
    const NAME: &str = "futures_concurrency::TryJoin";
    const SCANS: bool = true;

    fn join<C: Future<Output = Output>>(children: Vec<C>) -> impl Future<Output = Outputs> {
        children.try_join()
    }
}

pub struct UnicycleSet;

impl Peer for UnicycleSet {
    const NAME: &str = "unicycle::FuturesUnordered";

    fn join<C: Future<Output = Output>>(children: Vec<C>) -> impl Future<Output = Outputs> {
        let mut outputs = Vec::with_capacity(children.len());
        let mut set: unicycle::FuturesUnordered<C> = children.into_iter().collect();
        async move {
            while let Some(output) = set.next().await {
                outputs.push(output?);
            }
            Ok(outputs)
        }
    }
}

/// Calls a function with each peer for its first type parameter.
macro_rules! with_each_peer {
    ($function:ident($($argument:expr),*)) => {
        $function::<$crate::peers::Ours>($($argument),*);
        $function::<$crate::peers::FuturesTryJoinAll>($($argument),*);
        $function::<$crate::peers::FuturesSet>($($argument),*);
        $function::<$crate::peers::BufferedTryJoinAll>($($argument),*);
        $function::<$crate::peers::BufferedSet>($($argument),*);
        $function::<$crate::peers::ConcurrencyTryJoin>($($argument),*);
        $function::<$crate::peers::UnicycleSet>($($argument),*);
    };
}
pub(crate) use with_each_peer;

/// Not a [`Peer`], because it polls nothing by itself: its children are tasks of a runtime.
pub const JOIN_SET: &str = "tokio::JoinSet";

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers")
}

/// Call it within a runtime.
pub fn spawn<C: Future<Output = Output> + Send + 'static>(children: Vec<C>) -> JoinSet<Output> {
    let mut set = JoinSet::new();
    for child in children {
        set.spawn(child);
    }
    set
}

pub async fn drain(mut set: JoinSet<Output>) -> Outputs {
    let mut outputs = Vec::with_capacity(set.len());
    while let Some(output) = set.join_next().await {
        outputs.push(output.expect("no child panics")?);
    }
    Ok(outputs)
}

/// Ready in the poll after so many that were not; it wakes itself, as a task's `yield_now` does. Its poll is a call, as
/// that of a real child is.
pub struct Yields {
    polls: u32,
    value: u64,
}

impl Yields {
    #[inline(never)]
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Output> {
        if self.polls == 0 {
            return Poll::Ready(Ok(self.value));
        }
        self.polls -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Future for Yields {
    type Output = Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        self.step(cx)
    }
}

pub fn yields(polls: u32, value: u64) -> Yields {
    Yields { polls: black_box(polls), value }
}

pub fn yielding(count: usize, polls: u32) -> Vec<Yields> {
    (0..count).map(|value| yields(polls, value as u64)).collect()
}

/// Polls to the end, without asking whether it was woken. Inlined, so that a future is not copied by a call before it is
/// polled.
#[inline(always)]
pub fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    WAKER.with(|waker| {
        let mut cx = Context::from_waker(waker);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return output;
            }
        }
    })
}

thread_local! {
    /// As an executor's: counts its references, and notes with one atomic write that its task is to be polled.
    pub static WAKER: Waker = Waker::from(Arc::new(Scheduled(AtomicBool::new(false))));
}

pub struct Scheduled(AtomicBool);

impl Wake for Scheduled {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.swap(true, Ordering::AcqRel);
    }
}

/// The numbers below `count` in an order that looks like none, and is the same in every run.
pub(crate) fn scattered(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for last in (1..count).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        order.swap(last, (random % (last as u64 + 1)) as usize);
    }
    order
}
