//! What the tests drive children with: a log of what happened, gates opened by hand, a waker that counts.

#![allow(dead_code, unused_macros, unused_imports, reason = "each test file uses a part of it")]

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::future::Future;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use gather::{CancelExt, Child, LocalBoxChild};

/// Counts wakes.
#[derive(Default)]
pub struct Wakes(AtomicUsize);

impl Wakes {
    pub fn new() -> (Arc<Wakes>, Waker) {
        let wakes = Arc::new(Wakes::default());
        (wakes.clone(), Waker::from(wakes))
    }

    /// How often it was woken since it was last asked.
    pub fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
pub struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    pub fn push(&self, entry: impl Into<String>) {
        self.0.borrow_mut().push(entry.into());
    }

    pub fn take(&self) -> Vec<String> {
        self.0.take()
    }

    /// Asserts what happened since the last look: words parted by commas.
    #[track_caller]
    pub fn expect(&self, expected: &str) {
        let happened = self.take().join(", ");
        assert_eq!(happened, expected);
    }

    /// A value that logs its drop.
    pub fn token(&self, name: &str) -> Token {
        Token { name: name.into(), log: self.clone() }
    }
}

pub struct Token {
    pub name: String,
    log: Log,
}

impl Drop for Token {
    fn drop(&mut self) {
        self.log.push(format!("drop {}", self.name));
    }
}

impl Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq<&str> for Token {
    fn eq(&self, other: &&str) -> bool {
        self.name == *other
    }
}

/// Opened by hand with a value; what waits for it is woken.
pub struct Gate<T>(Rc<RefCell<GateState<T>>>);

struct GateState<T> {
    value: Option<T>,
    waiting: Option<Waker>,
}

impl<T> Clone for Gate<T> {
    fn clone(&self) -> Self {
        Gate(self.0.clone())
    }
}

impl<T> Default for Gate<T> {
    fn default() -> Self {
        Gate(Rc::new(RefCell::new(GateState { value: None, waiting: None })))
    }
}

impl<T> Gate<T> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn open(&self, value: T) {
        self.0.borrow_mut().value = Some(value);
        self.wake();
    }

    /// Wakes what waits, without opening.
    pub fn wake(&self) {
        let waiting = self.0.borrow().waiting.clone();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    /// The waker of what waits.
    pub fn waker(&self) -> Option<Waker> {
        self.0.borrow().waiting.clone()
    }

    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.0.borrow_mut();
        match state.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                state.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub async fn wait(self) -> T {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }
}

/// A future that ends when its gate is opened. It logs its end and its drop, and if asked its polls.
pub struct Probe<T> {
    pub name: &'static str,
    pub log: Log,
    gate: Gate<T>,
    logs_polls: bool,
    logs_end: bool,
}

impl<T> Probe<T> {
    pub fn new(name: &'static str, log: &Log, gate: &Gate<T>) -> Self {
        Probe { name, log: log.clone(), gate: gate.clone(), logs_polls: false, logs_end: true }
    }

    pub fn log_polls(mut self) -> Self {
        self.logs_polls = true;
        self
    }

    /// Logs its drop alone.
    pub fn quiet(mut self) -> Self {
        self.logs_end = false;
        self
    }
}

impl<T> Future for Probe<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if self.logs_polls {
            self.log.push(format!("poll {}", self.name));
        }
        let polled = self.gate.poll(cx);
        if self.logs_end && polled.is_ready() {
            self.log.push(format!("end {}", self.name));
        }
        polled
    }
}

impl<T> Drop for Probe<T> {
    fn drop(&mut self) {
        self.log.push(format!("drop {}", self.name));
    }
}

pub type Output = Result<u32, &'static str>;

/// A log, a counting waker, and what is made with them.
#[derive(Clone)]
pub struct World {
    pub log: Log,
    pub wakes: Arc<Wakes>,
    pub waker: Waker,
}

impl World {
    pub fn new() -> Self {
        let (wakes, waker) = Wakes::new();
        World { log: Log::default(), wakes, waker }
    }

    pub fn probe<T>(&self, name: &'static str) -> (Probe<T>, Gate<T>) {
        let gate = Gate::new();
        (Probe::new(name, &self.log, &gate), gate)
    }

    /// A probe whose gate is open.
    pub fn ready<T>(&self, name: &'static str, value: T) -> Probe<T> {
        let (probe, gate) = self.probe(name);
        gate.open(value);
        probe
    }

    /// One poll.
    pub fn poll<F: Future + ?Sized>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&self.waker))
    }

    /// Polls while it is woken. How often.
    pub fn quiesce<F: Future + ?Sized>(&self, mut future: Pin<&mut F>) -> (Poll<F::Output>, usize) {
        let mut polls = 0;
        loop {
            self.wakes.take();
            polls += 1;
            assert!(polls < 1000, "woken for ever");
            let polled = self.poll(future.as_mut());
            if polled.is_ready() || self.wakes.take() == 0 {
                return (polled, polls);
            }
        }
    }
}

/// A boxed future.
pub type Any<'a, R> = Pin<Box<dyn Future<Output = R> + 'a>>;

/// The output of a gather over any container, as that over a `Vec`.
pub trait Flatten {
    type Flat;
    fn flatten(self) -> Self::Flat;
}

impl<T> Flatten for Vec<T> {
    type Flat = Vec<T>;
    fn flatten(self) -> Vec<T> {
        self
    }
}

impl<T, const N: usize> Flatten for [T; N] {
    type Flat = Vec<T>;
    fn flatten(self) -> Vec<T> {
        self.into()
    }
}

macro_rules! flatten_tuples {
    ($(($($child:ident)+))+) => {$(
        impl<T> Flatten for ($(flatten_tuples!(@type $child),)+) {
            type Flat = Vec<T>;
            fn flatten(self) -> Vec<T> {
                let ($($child,)+) = self;
                vec![$($child),+]
            }
        }
    )+};
    (@type $child:ident) => { T };
}

flatten_tuples! {
    (a) (a b) (a b c) (a b c d) (a b c d e) (a b c d e f) (a b c d e f g h i j) (a b c d e f g h i j k l m)
}

impl<V: Flatten, E> Flatten for Result<V, E> {
    type Flat = Result<V::Flat, E>;
    fn flatten(self) -> Self::Flat {
        self.map(V::flatten)
    }
}

/// Boxes a gather over any container.
pub fn any<'a, F>(gather: F) -> Any<'a, <F::Output as Flatten>::Flat>
where
    F: IntoFuture<Output: Flatten, IntoFuture: 'a>,
{
    let gather = gather.into_future();
    Box::pin(async move { gather.await.flatten() })
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Container {
    Tuple,
    Array,
    Vec,
    BoxedSlice,
    Source,
}

pub const CONTAINERS: [Container; 5] =
    [Container::Tuple, Container::Array, Container::Vec, Container::BoxedSlice, Container::Source];

/// Those whose children are all there from the beginning.
pub const FIXED: [Container; 4] = [Container::Tuple, Container::Array, Container::Vec, Container::BoxedSlice];

impl Container {
    /// Whether each child has a waker of its own.
    pub fn tells_wakes_apart(self) -> bool {
        !matches!(self, Container::Tuple | Container::Array)
    }
}

/// Gathers three children in a container that is chosen at run time, with settings; boxes the future that is made of it.
macro_rules! future_in {
    ($container:expr, $children:expr, |$gather:ident| $future:expr) => {
        $crate::kit::in_container!($container, $children, |$gather| $crate::kit::boxed($future))
    };
}
pub(crate) use future_in;

/// As `future_in`, with its output as that over a `Vec`.
macro_rules! gather_in {
    ($container:expr, $children:expr, |$gather:ident| $set:expr) => {
        $crate::kit::in_container!($container, $children, |$gather| $crate::kit::any($set))
    };
}
pub(crate) use gather_in;

macro_rules! in_container {
    ($container:expr, $children:expr, |$gather:ident| $boxed:expr) => {
        $crate::kit::hold_in!($container, (a b c), |hold| {
            let $gather = gather::gather(hold($children));
            $boxed
        })
    };
}
pub(crate) use in_container;

/// Makes something with `$hold`, which puts an array of that many children into a container that is chosen at run time.
macro_rules! hold_in {
    ($container:expr, ($($child:ident)+), |$hold:ident| $made:expr) => {
        match $container {
            $crate::kit::Container::Tuple => {
                let $hold = |[$($child),+]: [_; [$(stringify!($child)),+].len()]| ($($child,)+);
                $made
            }
            $crate::kit::Container::Array => {
                let $hold = |children: [_; [$(stringify!($child)),+].len()]| children;
                $made
            }
            $crate::kit::Container::Vec => {
                let $hold = |children: [_; [$(stringify!($child)),+].len()]| Vec::from(children);
                $made
            }
            $crate::kit::Container::BoxedSlice => {
                let $hold = |children: [_; [$(stringify!($child)),+].len()]| Box::<[_]>::from(children);
                $made
            }
            $crate::kit::Container::Source => {
                let $hold = |children: [_; [$(stringify!($child)),+].len()]| gather::from_iter(children);
                $made
            }
        }
    };
}
pub(crate) use hold_in;

/// A factory of containers out of one of arrays.
pub fn holding<A, I>(mut make: impl FnMut() -> A, hold: impl Fn(A) -> I) -> impl FnMut() -> I {
    move || hold(make())
}

/// A box of one type for the futures of all containers.
pub fn boxed<'a, F: IntoFuture<IntoFuture: 'a>>(future: F) -> Any<'a, F::Output> {
    Box::pin(future.into_future())
}

/// Goes on by 9 seconds for each failure, but at every third one back by 7.
pub fn stumbling_clock() -> impl FnMut() -> Duration {
    let (mut failures, mut seconds) = (0, 0);
    move || {
        failures += 1;
        seconds = if failures % 3 == 0 { seconds - 7 } else { seconds + 9 };
        Duration::from_secs(seconds)
    }
}

/// Counts what is alive, on any thread.
#[derive(Clone, Default)]
pub struct Alive(Arc<AtomicUsize>);

impl Alive {
    /// Alive until the value is dropped.
    pub fn enter(&self) -> Inside {
        self.0.fetch_add(1, Ordering::SeqCst);
        Inside(self.clone())
    }

    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

pub struct Inside(Alive);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Pends once, and wakes itself.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Yields so many times. Across each `await` it holds a reference to a local of its own, as an `async` block may.
pub async fn borrowing<O>(alive: Alive, rounds: usize, output: O) -> O {
    let mut local = (alive.enter(), [0; 4]);
    let (_inside, counts) = black_box(&mut local);
    for round in 0..rounds {
        counts[round % 4] += 1;
        yield_now().await;
    }
    assert_eq!(counts.iter().sum::<usize>(), rounds);
    output
}

/// Says where an assertion failed.
pub struct At(pub String);

impl Drop for At {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("at: {}", self.0);
        }
    }
}

/// The message with which it panics.
#[track_caller]
pub fn panic_of(act: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(act)).expect_err("it should panic");
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).into(),
    }
}
