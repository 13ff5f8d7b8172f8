//! What follows a script: children, their signals, a source, and who takes outputs. They log what happens to them.

use std::cell::RefCell;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use gather::{CancelExt, CancelSignal, Cancelled, Child, EitherChild, LocalBoxChild, OnCancel, cancellable};

use crate::kit::Log;
use crate::script::{Case, Delay, End, Kind, SOURCE, Script, Side, SourceEnd, Taker, Wrapper};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Error {
    /// Of this child.
    Of(usize),
    /// A signal of the child's own came.
    Cancelled,
    /// Of the future to which the output of this child was handed.
    Taking(usize),
}

impl From<Cancelled> for Error {
    fn from(_: Cancelled) -> Self {
        Error::Cancelled
    }
}

pub type Output = Result<usize, Error>;
pub type Boxed = LocalBoxChild<'static, Output>;

/// What all of them share.
#[derive(Clone, Default)]
pub struct World {
    pub log: Log,
    /// Of the children, and of the source.
    wakers: Rc<RefCell<Vec<Option<Waker>>>>,
    /// Of the children's own signals: whether one was fired by hand, and its waker.
    signals: Rc<RefCell<Vec<(bool, Option<Waker>)>>>,
    /// Of the cancellable children.
    cancels: Rc<RefCell<Vec<Option<CancelSignal>>>>,
}

impl World {
    pub fn new(count: usize) -> Self {
        let world = World::default();
        world.wakers.borrow_mut().resize(SOURCE + 1, None);
        world.signals.borrow_mut().resize(count, (false, None));
        world.cancels.borrow_mut().resize(count, None);
        world
    }

    pub fn waker(&self, index: usize) -> Option<Waker> {
        self.wakers.borrow().get(index).cloned().flatten()
    }

    pub fn take_wakers(&self) -> Vec<Waker> {
        self.wakers.borrow_mut().iter_mut().filter_map(Option::take).collect()
    }

    fn wake(&self, index: Option<usize>) {
        if let Some(waker) = index.and_then(|index| self.waker(index)) {
            waker.wake();
        }
    }

    fn pend(&self, index: usize, wakes_itself: bool, cx: &mut Context<'_>) {
        self.wakers.borrow_mut()[index] = Some(cx.waker().clone());
        if wakes_itself {
            cx.waker().wake_by_ref();
        }
    }

    /// Fires the signal of a child's own.
    pub fn fire(&self, index: usize) {
        let waker = self.signals.borrow_mut().get_mut(index).and_then(|(is_open, waker)| {
            *is_open = true;
            waker.clone()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub fn cancel_signal(&self, index: usize) -> Option<CancelSignal> {
        self.cancels.borrow()[index].clone()
    }
}

/// Without the message of a panic, and without a fuzzer's hook, which would take it for a finding.
fn panic() -> ! {
    resume_unwind(Box::new("as the script says"))
}

/// Follows its script.
struct Actor {
    name: String,
    index: usize,
    left: Option<usize>,
    end: End,
    script: Script,
    world: World,
}

impl Actor {
    fn new(index: usize, script: &Script, world: &World) -> Self {
        Actor {
            name: index.to_string(),
            index,
            left: Some(script.pending),
            end: script.end,
            script: script.clone(),
            world: world.clone(),
        }
    }

    fn cleaning(index: usize, script: &Script, world: &World) -> Self {
        let mut cleaning = Actor::new(index, script, world);
        cleaning.name = format!("clean {index}");
        cleaning.begin_drain();
        cleaning
    }

    fn end(&self) -> Output {
        match self.end {
            End::Panic => panic(),
            End::Value => Ok(self.index),
            End::Error => Err(Error::Of(self.index)),
        }
    }

    fn pend(&mut self, cx: &mut Context<'_>) {
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        self.world.pend(self.index, self.script.wakes_itself, cx);
        self.world.wake(self.script.wakes);
    }

    fn begin_drain(&mut self) {
        (self.left, self.end) = (self.script.drain, self.script.drain_end);
    }
}

impl Future for Actor {
    type Output = Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        self.world.log.push(format!("poll {}", self.name));
        if self.left == Some(0) {
            return Poll::Ready(self.end());
        }
        self.pend(cx);
        Poll::Pending
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.world.log.push(format!("drop {}", self.name));
        self.world.wake(self.script.wakes);
    }
}

/// Shows its output once that is known.
struct Early {
    actor: Actor,
    known: Option<Output>,
    is_told: bool,
}

impl Early {
    fn lies(&self) -> bool {
        self.actor.script.drain_end == End::Error
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Output>> {
        self.actor.world.log.push(format!("poll {}", self.actor.name));
        if self.known.is_none() && !self.is_told && self.actor.left == Some(0) {
            self.known = Some(self.actor.end());
            self.actor.left = self.actor.script.drain;
        }
        if self.actor.left == Some(0) {
            return Poll::Ready(self.known.filter(|_| !self.is_told || !self.lies()));
        }
        self.actor.pend(cx);
        Poll::Pending
    }
}

impl Child for Early {
    type Output = Output;

    fn poll_child(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        self.poll(cx).map(|known| known.expect("it ends by itself when it is known"))
    }

    fn cancel(mut self: Pin<&mut Self>) -> OnCancel {
        let Early { actor, known, is_told } = &mut *self;
        actor.world.log.push(format!("tell {}", actor.name));
        *is_told = true;
        if known.is_none() {
            actor.left = actor.script.drain;
        }
        if actor.script.drain.is_none() { OnCancel::Drop } else { OnCancel::Drain }
    }

    fn poll_drain(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Output>> {
        self.poll(cx)
    }

    fn output(self: Pin<&mut Self>) -> Option<&Output> {
        if self.known.is_some() && self.actor.script.drain_end == End::Panic {
            panic();
        }
        self.get_mut().known.as_ref()
    }

    fn take_output(self: Pin<&mut Self>) -> Option<Output> {
        self.known.filter(|_| !self.lies())
    }
}

/// The signal of a child's own.
struct Signal {
    index: usize,
    left: Option<usize>,
    world: World,
}

impl Future for Signal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Signal { index, left, world } = &mut *self;
        world.log.push(format!("signal {index}"));
        let (is_open, waker) = &mut world.signals.borrow_mut()[*index];
        if *is_open || *left == Some(0) {
            return Poll::Ready(());
        }
        if let Some(left) = left {
            *left -= 1;
        }
        *waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        self.world.log.push(format!("drop signal {}", self.index));
        self.world.signals.borrow_mut()[self.index].1 = None;
    }
}

fn kind(index: usize, script: &Script, world: &World) -> Boxed {
    let actor = Actor::new(index, script, world);
    let (script, world) = (script.clone(), world.clone());
    match script.kind {
        Kind::Plain => LocalBoxChild::new(actor),
        Kind::Told => LocalBoxChild::new(actor.on_cancel(move |mut actor| {
            world.log.push(format!("tell {index}"));
            actor.begin_drain();
        })),
        Kind::Cleanup => LocalBoxChild::new(actor.cleanup(move || Actor::cleaning(index, &script, &world))),
        Kind::Finally => LocalBoxChild::new(actor.finally(move || Actor::cleaning(index, &script, &world))),
        Kind::Early => LocalBoxChild::new(Early { actor, known: None, is_told: false }),
        Kind::Shield => LocalBoxChild::new(actor.shield()),
        Kind::Cancellable => LocalBoxChild::new(cancellable(|signal| {
            world.cancels.borrow_mut()[index] = Some(signal.clone());
            async move {
                match signal.run_until_cancelled(actor).await {
                    Some(output) => output,
                    None => Actor::cleaning(index, &script, &world).await,
                }
            }
        })),
    }
}

/// A child with what stands around it.
pub fn child(index: usize, script: &Script, world: &World) -> Boxed {
    let child = kind(index, script, world);
    let signal = || Signal { index, left: script.fires, world: world.clone() };
    let log = world.log.clone();
    let map = move |output: Output| {
        log.push(format!("map {index}"));
        output
    };
    let log = world.log.clone();
    let map_err = move |error: Error| {
        log.push(format!("map {index}"));
        error
    };
    let child = match script.wrapper {
        Wrapper::None => child,
        Wrapper::Map => LocalBoxChild::new(child.map(map)),
        Wrapper::MapErr => LocalBoxChild::new(child.map_err(map_err)),
        Wrapper::Watched => LocalBoxChild::new(child.cancel_when(signal()).flatten()),
        Wrapper::MapThenWatched => LocalBoxChild::new(child.map(map).cancel_when(signal()).flatten()),
        Wrapper::WatchedThenMap => LocalBoxChild::new(child.cancel_when(signal()).flatten().map(map)),
    };
    match script.either {
        None => child,
        Some(Side::Left) => LocalBoxChild::new(EitherChild::<_, Early>::Left(child)),
        Some(Side::Right) => LocalBoxChild::new(EitherChild::<Early, _>::Right(child)),
    }
}

/// Gives the children of a script, in order.
pub struct Source {
    left: std::vec::IntoIter<(usize, Script)>,
    /// Before the next one, or the end.
    delay: Delay,
    end_delay: Delay,
    end: SourceEnd,
    world: World,
}

impl Source {
    pub fn new(case: &Case, world: &World) -> Self {
        let left: Vec<_> = case.scripts.iter().cloned().enumerate().collect();
        let (left, end_delay) = (left.into_iter(), case.delay);
        let mut source = Source { left, delay: end_delay, end_delay, end: case.source_end, world: world.clone() };
        source.begin_delay();
        source
    }

    fn begin_delay(&mut self) {
        self.delay = self.left.as_slice().first().map_or(self.end_delay, |(_, script)| script.delay);
    }
}

impl Iterator for Source {
    type Item = Boxed;

    fn next(&mut self) -> Option<Boxed> {
        let Some((index, script)) = self.left.next() else {
            if self.end == SourceEnd::Panics {
                panic();
            }
            self.world.log.push("source ends");
            return None;
        };
        self.world.log.push(format!("source gives {index}"));
        self.begin_delay();
        Some(child(index, &script, &self.world))
    }
}

impl Stream for Source {
    type Item = Boxed;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Boxed>> {
        let is_never = self.left.as_slice().is_empty() && self.end == SourceEnd::Never;
        if self.delay.pending == 0 && !is_never {
            return Poll::Ready(self.next());
        }
        self.world.log.push("source is pending");
        self.world.pend(SOURCE, self.delay.pending > 0 && self.delay.wakes_itself, cx);
        self.delay.pending = self.delay.pending.saturating_sub(1);
        Poll::Pending
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.world.log.push("drop source");
    }
}

/// What a closure of `for_each` returns for the output of a child.
pub struct Taking {
    index: usize,
    script: Taker,
    log: Log,
}

impl Taking {
    pub fn new(index: usize, script: Taker, log: &Log) -> Self {
        Taking { index, script, log: log.clone() }
    }
}

impl Future for Taking {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Taking { index, script, log } = &mut *self;
        log.push(format!("poll taking {index}"));
        if script.pending == 0 {
            return Poll::Ready(match script.end {
                End::Value => Ok(()),
                End::Error => Err(Error::Taking(*index)),
                End::Panic => panic(),
            });
        }
        script.pending -= 1;
        if script.wakes_itself {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.log.push(format!("drop taking {}", self.index));
    }
}

/// The group's signal or its grace: opened by hand. It logs its polls.
pub struct Watch {
    name: &'static str,
    is_open: Rc<RefCell<bool>>,
    log: Log,
}

impl Watch {
    /// It, and what opens it. As many as hold that are alive.
    pub fn new(name: &'static str, log: &Log) -> (Self, Rc<RefCell<bool>>) {
        let is_open = Rc::new(RefCell::new(false));
        (Watch { name, is_open: is_open.clone(), log: log.clone() }, is_open)
    }
}

impl Future for Watch {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.log.push(format!("poll {}", self.name));
        if *self.is_open.borrow() { Poll::Ready(()) } else { Poll::Pending }
    }
}
