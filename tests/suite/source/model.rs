//! Random scripts against a naive model: children are fed, woken (also by wakers of children that have ended), end and fail;
//! source and group end or are cancelled. After each poll it is checked which children were polled, told and dropped, and in
//! which order.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::feed::Feed;
use crate::kit::{At, Gate, Log, Wakes};
use gather::{Cause, Child, OnCancel, Outcome, from_stream, gather};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Polled(usize),
    Ended(usize, Result<usize, usize>),
    Told(usize),
    Drained(usize),
    Dropped(usize),
}

/// What a child does in its next poll.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    Waits,
    WakesItself,
    Ends,
    Fails,
}

/// All children that were ever made, by index.
#[derive(Default)]
struct Shared {
    next: RefCell<Vec<Next>>,
    wakers: RefCell<Vec<Option<Waker>>>,
    events: RefCell<Vec<Event>>,
}

struct Member {
    index: usize,
    drains: bool,
    shared: Rc<Shared>,
}

impl Member {
    fn step(&self, cx: &mut Context<'_>) -> Poll<Result<usize, usize>> {
        let Member { index, shared, .. } = self;
        shared.wakers.borrow_mut()[*index] = Some(cx.waker().clone());
        let result = match shared.next.borrow()[*index] {
            Next::Waits => return Poll::Pending,
            Next::WakesItself => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Next::Ends => Ok(*index),
            Next::Fails => Err(*index),
        };
        shared.events.borrow_mut().push(Event::Ended(*index, result));
        Poll::Ready(result)
    }
}

impl Child for Member {
    type Output = Result<usize, usize>;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.shared.events.borrow_mut().push(Event::Polled(self.index));
        self.step(cx)
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        if !self.drains {
            return OnCancel::Drop;
        }
        self.shared.events.borrow_mut().push(Event::Told(self.index));
        OnCancel::Drain
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Output>> {
        self.shared.events.borrow_mut().push(Event::Drained(self.index));
        self.step(cx).map(Some)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.events.borrow_mut().push(Event::Dropped(self.index));
    }
}

/// A generator of numbers that looks random, and is the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// What the model knows of one child.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Fed,
    Live { woken: bool },
    Gone,
}

type Ended = (Cause, Vec<Outcome<usize, usize>>);

struct Run<F> {
    group: Option<Pin<Box<F>>>,
    shared: Rc<Shared>,
    feed: Feed<Member>,
    wakes: std::sync::Arc<Wakes>,
    waker: Waker,
    /// Of each child that was fed.
    states: Vec<State>,
    drains: Vec<bool>,
    outcomes: Vec<Option<Outcome<usize, usize>>>,
    cause: Option<Cause>,
    limit: usize,
    /// Places may have wakes of children that have gone.
    has_stale_wakes: bool,
    is_over: bool,
    /// The group was woken since its last poll.
    is_woken: bool,
    /// In the next poll.
    changes_waker: bool,
}

impl<F: Future<Output = Ended>> Run<F> {
    fn feed(&mut self, drains: bool, next: Next) {
        let index = self.states.len();
        self.states.push(State::Fed);
        self.drains.push(drains);
        self.outcomes.push(None);
        self.shared.next.borrow_mut().push(next);
        self.shared.wakers.borrow_mut().push(None);
        self.feed.push(Member { index, drains, shared: self.shared.clone() });
    }

    fn live(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        let is_live = |state: &State| matches!(state, State::Live { .. });
        self.states.iter().enumerate().filter(move |(_, state)| is_live(state)).map(|(index, _)| index)
    }

    fn wake(&mut self, index: usize) {
        let Some(waker) = self.shared.wakers.borrow()[index].clone() else { return };
        waker.wake();
        match &mut self.states[index] {
            State::Live { woken } => {
                *woken = true;
                self.is_woken |= self.wakes.take() > 0;
                assert!(self.is_woken, "a wake of child {index} is lost");
            }
            _ => self.has_stale_wakes = true,
        }
    }

    fn poll(&mut self) -> Option<Ended> {
        if std::mem::take(&mut self.changes_waker) {
            (self.wakes, self.waker) = Wakes::new();
        }
        self.wakes.take();
        self.shared.events.take();
        let live_before: Vec<_> = self.live().collect();
        let drawn_before = self.states.iter().filter(|state| **state != State::Fed).count();
        let is_woken_before: Vec<_> =
            live_before.iter().map(|index| self.states[*index] == State::Live { woken: true }).collect();
        let was_running = self.cause.is_none();
        let group = self.group.as_mut().unwrap();
        let polled = group.as_mut().poll(&mut Context::from_waker(&self.waker));
        let events = self.shared.events.take();
        self.is_woken = self.wakes.take() > 0;

        // Up to the cause: which children were polled and drawn, and which have ended.
        let mut turn = vec![];
        let mut drawn = drawn_before;
        let mut at = 0;
        let mut failed = None;
        while let Some(event) = events.get(at) {
            match *event {
                Event::Polled(index) => {
                    assert!(was_running);
                    assert!(!turn.contains(&index), "child {index} is polled twice");
                    turn.push(index);
                    if self.states[index] == State::Fed {
                        assert_eq!(index, drawn, "drawn in order");
                        drawn += 1;
                    }
                    let woken = self.shared.next.borrow()[index] == Next::WakesItself;
                    self.states[index] = State::Live { woken };
                    assert!(self.live().count() <= self.limit);
                }
                Event::Ended(index, result) if was_running => {
                    assert_eq!(events[at + 1], Event::Dropped(index), "it is destroyed when it ends");
                    at += 1;
                    self.states[index] = State::Gone;
                    self.outcomes[index] = Some(match result {
                        Ok(value) => Outcome::Done(value),
                        Err(error) => Outcome::Failed(error),
                    });
                    if result.is_err() {
                        failed = Some(index);
                        at += 1;
                        break;
                    }
                }
                _ => break,
            }
            at += 1;
        }
        assert!(drawn - drawn_before <= 64);
        if was_running && failed.is_none() {
            for (index, woken) in live_before.iter().zip(is_woken_before) {
                // A child that was woken is polled, unless the pass was cut.
                assert!(!woken || self.is_woken || turn.contains(index), "child {index} has lost its turn");
                assert!(woken || self.has_stale_wakes || !turn.contains(index), "child {index} was not woken");
            }
        }

        // From the cause on.
        let rest = &events[at..];
        let is_cancelled = matches!(polled, Poll::Ready((Cause::Cancelled, _)));
        let begins = failed.is_some() || (was_running && (!rest.is_empty() || is_cancelled));
        if begins {
            self.cause = Some(failed.map_or(Cause::Cancelled, Cause::Failed));
            assert!(self.feed.is_dropped());
        }
        let mut rest = rest.iter().copied();
        if begins {
            // One may be drawn before the child that fails has its turn, and not be polled any more.
            for event in rest.clone() {
                if let Event::Told(index) | Event::Dropped(index) = event {
                    if self.states[index] == State::Fed {
                        assert_eq!(index, drawn, "drawn in order");
                        drawn += 1;
                        self.states[index] = State::Live { woken: false };
                    }
                }
            }
            let live: Vec<_> = self.live().collect();
            for index in &live {
                let expected = if self.drains[*index] { Event::Told(*index) } else { Event::Dropped(*index) };
                assert_eq!(rest.next(), Some(expected), "told and dropped in index order");
                if !self.drains[*index] {
                    self.states[*index] = State::Gone;
                    self.outcomes[*index] = Some(Outcome::Dropped);
                }
            }
        }
        let mut drained = vec![];
        let mut abandoned = vec![];
        while let Some(event) = rest.next() {
            match event {
                Event::Drained(index) => {
                    assert!(!drained.contains(&index));
                    drained.push(index);
                    let woken = self.shared.next.borrow()[index] == Next::WakesItself;
                    self.states[index] = State::Live { woken };
                }
                Event::Ended(index, result) => {
                    assert_eq!(rest.next(), Some(Event::Dropped(index)));
                    self.states[index] = State::Gone;
                    self.outcomes[index] = Some(Outcome::Drained(Some(result)));
                }
                Event::Dropped(index) if polled.is_ready() => {
                    abandoned.push(index);
                    self.states[index] = State::Gone;
                    self.outcomes[index] = Some(Outcome::Abandoned);
                }
                other => panic!("{other:?} in a drain"),
            }
        }
        assert!(abandoned.is_sorted());
        if begins {
            assert!(drained.is_sorted());
            let told: Vec<_> = self.live().collect();
            assert!(told.iter().all(|index| drained.contains(index)), "each is polled when it was told");
        }
        match polled {
            Poll::Pending => {
                assert!(self.live().next().is_some() || !self.feed.is_dropped(), "nobody is left");
                if self.cause.is_none() && !self.is_woken {
                    let room = self.live().count() < self.limit;
                    assert!(!room || self.feed.left() == 0, "there is room, and children to be drawn");
                }
                if self.live().any(|index| self.states[index] == State::Live { woken: true }) {
                    assert!(self.is_woken, "somebody is woken, and the group is not");
                }
                None
            }
            Poll::Ready(ended) => Some(ended),
        }
    }

    fn check_end(&mut self, ended: Ended) {
        self.group = None;
        assert!(self.live().next().is_none());
        let is_drawn = |state: &&State| **state != State::Fed;
        let drawn = self.states.iter().filter(is_drawn).count();
        let outcomes: Vec<_> = self.outcomes.drain(..drawn).map(Option::unwrap).collect();
        assert_eq!(ended, (self.cause.unwrap_or(Cause::Completed), outcomes));
        assert!(self.cause.is_some() || (self.is_over && self.feed.left() == 0));
    }
}

fn run(seed: u64) {
    let _at = At(format!("seed {seed}"));
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let shared = Rc::new(Shared::default());
    let (feed, source) = Feed::new(&Log::default());
    let (wakes, waker) = Wakes::new();
    let limit = [1, 2, 7, 16, 70, usize::MAX][random.below(6)];
    let [stop, over] = [(); 2].map(|()| Gate::<()>::new());
    let grace = over.clone();
    let group = gather(from_stream(source)).cancel_when(stop.clone().wait()).grace(|| grace.wait()).report();
    let group = async move {
        let report = group.concurrency(limit).await;
        (report.cause, report.outcomes)
    };
    let mut run = Run {
        group: Some(Box::pin(group)),
        shared,
        feed,
        wakes,
        waker,
        states: vec![],
        drains: vec![],
        outcomes: vec![],
        cause: None,
        limit,
        has_stale_wakes: false,
        is_over: false,
        is_woken: true,
        changes_waker: false,
    };
    let fails = random.below(3);
    for _ in 0..20 + random.below(200) {
        let fed = run.states.len();
        match random.below(12) {
            0..=2 => {
                let burst = if random.one_in(10) { 150 } else { 3 };
                for _ in 0..random.below(burst) {
                    if run.is_over {
                        break;
                    }
                    let next = match random.below(30) {
                        0..=3 => Next::Ends,
                        4..=6 => Next::WakesItself,
                        7 if fails == 2 => Next::Fails,
                        _ => Next::Waits,
                    };
                    let drains = random.one_in(3);
                    run.feed(drains, next);
                }
                run.is_woken |= run.wakes.take() > 0;
            }
            3..=5 if fed > 0 => {
                for _ in 0..1 + random.below(10) {
                    // Any, also one that has gone; or one that is live.
                    let live: Vec<_> = run.live().collect();
                    let index = if live.is_empty() || random.one_in(4) {
                        random.below(fed)
                    } else {
                        live[random.below(live.len())]
                    };
                    run.wake(index);
                }
            }
            6..=7 if fed > 0 => {
                let burst = if random.one_in(8) { 200 } else { 5 };
                for _ in 0..1 + random.below(burst) {
                    let live: Vec<_> = run.live().collect();
                    let Some(at) = (!live.is_empty()).then(|| random.below(live.len())) else { break };
                    let next = if fails > 0 && random.one_in(60) { Next::Fails } else { Next::Ends };
                    run.shared.next.borrow_mut()[live[at]] = next;
                    run.wake(live[at]);
                }
            }
            8 if fed > 0 => {
                // One that wakes itself stops, or one begins.
                let index = random.below(fed);
                let next = if random.one_in(2) { Next::Waits } else { Next::WakesItself };
                run.shared.next.borrow_mut()[index] = next;
            }
            9 if random.one_in(40) => {
                run.feed.end();
                run.is_over = true;
            }
            9 if random.one_in(40) => stop.open(()),
            9 if run.cause.is_some() && random.one_in(10) => over.open(()),
            10 if random.one_in(5) => run.changes_waker = true,
            _ => {
                // Sometimes for no reason.
                if !run.is_woken && !random.one_in(4) {
                    continue;
                }
                if let Some(ended) = run.poll() {
                    return run.check_end(ended);
                }
            }
        }
        if run.cause.is_some() {
            run.is_over = true;
        }
    }
    if random.one_in(3) {
        // Dropped: the source, then the children in order.
        let live: Vec<_> = run.live().map(Event::Dropped).collect();
        run.shared.events.take();
        run.group = None;
        assert!(run.feed.is_dropped());
        assert_eq!(run.shared.events.take(), live);
        return;
    }
    // To its end.
    if !run.is_over {
        run.feed.end();
        run.is_over = true;
    }
    for round in 0..100_000 {
        if run.is_woken || round == 0 {
            if let Some(ended) = run.poll() {
                return run.check_end(ended);
            }
        }
        let first = run.live().next();
        if let Some(index) = first {
            run.shared.next.borrow_mut()[index] = Next::Ends;
            run.wake(index);
        }
    }
    panic!("it does not end");
}

#[test]
fn random_scripts_agree_with_the_model() {
    let scripts = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3000);
    (0..scripts).for_each(run);
}
