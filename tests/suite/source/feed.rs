//! A source that is fed by hand.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::kit::{Gate, Log, Probe, World};
use futures_core::Stream;
use gather::{CancelExt, LocalBoxChild};

/// Feeds a [`Source`].
pub struct Feed<C>(Rc<State<C>>);

/// Gives what it is fed, counts its polls, and logs its drop. It is not to be polled after its end.
pub struct Source<C>(Rc<State<C>>);

struct State<C> {
    items: RefCell<VecDeque<C>>,
    is_over: Cell<bool>,
    has_ended: Cell<bool>,
    wakes_itself: Cell<bool>,
    polls: Cell<usize>,
    waker: RefCell<Option<Waker>>,
    log: Log,
}

impl<C> Feed<C> {
    pub fn new(log: &Log) -> (Feed<C>, Source<C>) {
        let state = Rc::new(State {
            items: RefCell::default(),
            is_over: Cell::new(false),
            has_ended: Cell::new(false),
            wakes_itself: Cell::new(false),
            polls: Cell::new(0),
            waker: RefCell::default(),
            log: log.clone(),
        });
        (Feed(state.clone()), Source(state))
    }

    pub fn push(&self, child: C) {
        self.0.items.borrow_mut().push_back(child);
        self.wake();
    }

    pub fn end(&self) {
        self.0.is_over.set(true);
        self.wake();
    }

    /// It wakes itself in every poll in which it is pending.
    pub fn wake_itself(&self, does: bool) {
        self.0.wakes_itself.set(does);
    }

    pub fn wake(&self) {
        let waker = self.0.waker.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub fn waker(&self) -> Option<Waker> {
        self.0.waker.borrow().clone()
    }

    /// How often it was polled since this was last asked.
    pub fn polls(&self) -> usize {
        self.0.polls.take()
    }

    /// How many were not drawn.
    pub fn left(&self) -> usize {
        self.0.items.borrow().len()
    }

    pub fn is_dropped(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }
}

impl<C> Stream for Source<C> {
    type Item = C;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<C>> {
        let state = &self.0;
        assert!(!state.has_ended.get(), "polled after its end");
        state.polls.set(state.polls.get() + 1);
        if let Some(child) = state.items.borrow_mut().pop_front() {
            return Poll::Ready(Some(child));
        }
        if state.is_over.get() {
            state.has_ended.set(true);
            return Poll::Ready(None);
        }
        *state.waker.borrow_mut() = Some(cx.waker().clone());
        if state.wakes_itself.get() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<C> Drop for Source<C> {
    fn drop(&mut self) {
        self.0.log.push("drop source");
    }
}

/// What a test has in hand of three children from a source.
pub struct Three<T> {
    pub world: World,
    pub feed: Feed<Member<T>>,
    pub gates: [Gate<Result<T, &'static str>>; 3],
}

pub type Member<T> = LocalBoxChild<'static, Result<T, &'static str>>;

/// A source that has a, which is plain, b, which is told and drained, and c, which is plain.
pub fn three<T: 'static>() -> (Three<T>, Source<Member<T>>) {
    let world = World::new();
    let gates: [Gate<_>; 3] = Default::default();
    let (feed, source) = Feed::new(&world.log);
    let probe = |name, index: usize| Probe::new(name, &world.log, &gates[index]);
    feed.push(LocalBoxChild::new(probe("a", 0)));
    feed.push(LocalBoxChild::new(probe("b", 1).on_cancel(|child| child.log.push("tell b"))));
    feed.push(LocalBoxChild::new(probe("c", 2)));
    (Three { world, feed, gates }, source)
}
