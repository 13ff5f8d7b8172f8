//! Random scripts of children, and a naive model of what a gather does with them: order of polls, hooks and drops,
//! outcomes, wakes.
//!
//! A script is decoded from bytes, so that a property test and a fuzzer run the same ones. Each child and each action
//! takes a fixed number of them, and zero is the simplest choice.

#![allow(dead_code, reason = "who makes the bytes has to know how many, who is given them has not")]

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use arbitrary::{Arbitrary, Unstructured};
use gather::{CancelExt, Cause, LocalBoxChild, Outcome};

use crate::kit::{self, Container, Flatten as _, Gate, Log, Wakes};

/// What a child does, and how it answers a cancellation.
#[derive(Clone, Debug)]
struct Script {
    kind: Kind,
    /// How often it is pending before it ends.
    pending: usize,
    wakes_itself: bool,
    /// Which sibling it wakes in each poll in which it is pending, and in its drop.
    wakes: Option<usize>,
    end: End,
    /// How often it is pending once it was told, or its clean-up is. `None`: it never ends.
    drain: Option<usize>,
    drain_end: End,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain,
    Told,
    Cleanup,
    Shield,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Value,
    Error,
    Panic,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Policy {
    FailFast,
    Settle,
    Any,
    Race,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    /// Woken or not.
    Poll,
    ChangeWaker,
    Wake(usize),
    WakeFromThread(usize),
    Signal,
    GraceOver,
    Drop,
}

#[derive(Clone, Debug)]
pub struct Case {
    container: Container,
    policy: Policy,
    limit: Option<usize>,
    scripts: Vec<Script>,
    actions: Vec<Action>,
}

// ---- from bytes ----

/// Bytes before the children: shape, policy, limit.
pub const HEAD: usize = 3;
pub const CHILD: usize = 7;
pub const ACTION: usize = 2;
pub const MOST_ACTIONS: usize = 24;

// The shapes: a `Vec` of 0 to `MOST_CHILDREN`, or one of the other containers with three children.
pub const MOST_CHILDREN: u8 = 67;
pub const TUPLE: u8 = MOST_CHILDREN + 1;
pub const ARRAY: u8 = MOST_CHILDREN + 2;
pub const BOXED_SLICE: u8 = MOST_CHILDREN + 3;

/// Of whom to wake. A few are nobody's.
const INDICES: u8 = MOST_CHILDREN + 3;

/// One of the values, each as often as its weight says.
fn weighted<T: Copy>(u: &mut Unstructured<'_>, choices: &[(u8, T)]) -> arbitrary::Result<T> {
    let sum: u8 = choices.iter().map(|(weight, _)| weight).sum();
    let mut at = u.int_in_range(0..=sum - 1)?;
    for &(weight, value) in choices {
        match at.checked_sub(weight) {
            Some(left) => at = left,
            None => return Ok(value),
        }
    }
    unreachable!("it is less than their sum")
}

impl<'a> Arbitrary<'a> for Script {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        // Without unwinding a panic ends the process.
        let panic = if cfg!(panic = "unwind") { End::Panic } else { End::Error };
        let ends = [(10, End::Value), (6, End::Error), (1, panic)];
        Ok(Script {
            kind: weighted(u, &[(1, Kind::Plain), (1, Kind::Told), (1, Kind::Cleanup), (1, Kind::Shield)])?,
            pending: u.int_in_range(0..=3u8)?.into(),
            wakes_itself: weighted(u, &[(1, false), (1, true)])?,
            wakes: Some(u.int_in_range(0..=3 * INDICES - 1)?)
                .and_then(|at| at.checked_sub(2 * INDICES))
                .map(usize::from),
            end: weighted(u, &ends)?,
            drain: weighted(u, &[(2, Some(0)), (2, Some(1)), (1, Some(2)), (1, None)])?,
            drain_end: weighted(u, &ends)?,
        })
    }
}

impl<'a> Arbitrary<'a> for Action {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let index = u.int_in_range(0..=INDICES - 1)?.into();
        weighted(
            u,
            &[
                (12, Action::Poll),
                (1, Action::ChangeWaker),
                (8, Action::Wake(index)),
                (1, Action::WakeFromThread(index)),
                (2, Action::Signal),
                (2, Action::GraceOver),
                (1, Action::Drop),
            ],
        )
    }
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let (container, count) = match u.int_in_range(0..=BOXED_SLICE)? {
            TUPLE => (Container::Tuple, 3),
            ARRAY => (Container::Array, 3),
            BOXED_SLICE => (Container::BoxedSlice, 3),
            count => (Container::Vec, count),
        };
        let policy = weighted(u, &[(3, Policy::FailFast), (1, Policy::Settle), (1, Policy::Any), (1, Policy::Race)])?;
        // A race of nobody is refused.
        let policy = if count == 0 && policy == Policy::Race { Policy::Any } else { policy };
        // Of patient children, many are pending in each pass, so that it is cut.
        let (limit, patience) = weighted(
            u,
            &[
                (6, (None, 0)),
                (1, (Some(1), 0)),
                (1, (Some(2), 0)),
                (1, (Some(3), 0)),
                (1, (None, 20)),
                (1, (Some(60), 20)),
            ],
        )?;
        let mut scripts = (0..count).map(|_| u.arbitrary()).collect::<Result<Vec<Script>, _>>()?;
        scripts.iter_mut().for_each(|script| script.pending += patience);
        let mut actions = vec![];
        while !u.is_empty() && actions.len() < MOST_ACTIONS {
            actions.push(u.arbitrary()?);
        }
        Ok(Case { container, policy, limit, scripts, actions })
    }
}

// ---- the model ----

type Late = Outcome<usize, usize>;

/// A child in the model.
struct Modelled {
    script: Script,
    is_live: bool,
    was_polled: bool,
    is_woken: bool,
    /// Its work was dropped, its clean-up is what lives, once that was made.
    cleans: bool,
    is_made: bool,
    outcome: Option<Late>,
}

struct Model {
    policy: Policy,
    limit: usize,
    /// Tuples and arrays poll each pending child.
    polls_all: bool,
    children: Vec<Modelled>,
    started: usize,
    is_polled: bool,
    /// Cancelled, and no child was polled since.
    is_told: bool,
    /// Where the next pass begins, and goes round.
    next: usize,
    /// With whom the round began that the next pass goes on with, after one that was cut.
    origin: Option<usize>,
    /// The last pass was cut.
    is_cut: bool,
    cause: Option<Cause>,
    signal: bool,
    grace_over: bool,
    log: Vec<String>,
}

/// How a poll ended.
#[derive(Debug, PartialEq)]
enum Polled {
    Pending,
    Ready(Cause, Vec<Late>),
    Panicked,
}

impl Model {
    fn is_live(&self) -> bool {
        self.children.iter().any(|child| child.is_live)
    }

    fn drop_child(&mut self, index: usize) {
        let child = &mut self.children[index];
        child.is_live = false;
        if !child.cleans || child.is_made {
            self.log.push(format!("drop {}{index}", if child.cleans { "clean " } else { "" }));
            if let Some(sibling) = child.script.wakes {
                self.wake(sibling);
            }
        }
    }

    fn drop_all(&mut self) {
        for index in 0..self.children.len() {
            if self.children[index].is_live {
                self.drop_child(index);
            }
        }
    }

    /// One poll of a child, in its work or in its drain. `Some`: it ended so.
    fn poll_child(&mut self, index: usize, drains: bool) -> Result<bool, ()> {
        let child = &mut self.children[index];
        child.was_polled = true;
        child.is_woken = false;
        child.is_made = child.cleans;
        let script = &mut child.script;
        self.log.push(format!("poll {}{index}", if child.cleans { "clean " } else { "" }));
        let by_drain = child.cleans || drains && script.kind == Kind::Told;
        let (left, end) =
            if by_drain { (script.drain.as_mut(), script.drain_end) } else { (Some(&mut script.pending), script.end) };
        match left {
            Some(0) => {
                let result = match end {
                    End::Panic => return Err(()),
                    End::Value => Ok(index),
                    End::Error => Err(index),
                };
                child.outcome = Some(match (drains, result) {
                    (true, _) if child.cleans => Outcome::Drained(None),
                    (true, result) => Outcome::Drained(Some(result)),
                    (false, Ok(value)) => Outcome::Done(value),
                    (false, Err(error)) => Outcome::Failed(error),
                });
                self.drop_child(index);
                return Ok(true);
            }
            Some(left) => *left -= 1,
            None => {}
        }
        child.is_woken = script.wakes_itself;
        if let Some(sibling) = script.wakes {
            self.wake(sibling);
        }
        Ok(false)
    }

    fn wake(&mut self, index: usize) {
        if let Some(child) = self.children.get_mut(index) {
            // One that was never polled has no waker.
            child.is_woken |= child.was_polled;
        }
    }

    fn stops(&self, index: usize) -> bool {
        match self.children[index].outcome.expect("it has just ended") {
            Outcome::Failed(_) => matches!(self.policy, Policy::FailFast | Policy::Race),
            _ => matches!(self.policy, Policy::Any | Policy::Race),
        }
    }

    fn poll(&mut self) -> Polled {
        match self.step() {
            Ok(polled) => polled,
            Err(()) => {
                self.drop_all();
                Polled::Panicked
            }
        }
    }

    fn step(&mut self) -> Result<Polled, ()> {
        if self.cause.is_none() {
            self.cause = self.run()?;
            match self.cause {
                None => return Ok(Polled::Pending),
                Some(Cause::Completed) => {}
                Some(_) => self.cancel(),
            }
        }
        let is_first = std::mem::replace(&mut self.is_told, false);
        self.pass(is_first, true)?;
        if self.is_live() {
            if !self.grace_over {
                return Ok(Polled::Pending);
            }
            for child in self.children.iter_mut().filter(|child| child.is_live) {
                child.outcome = Some(Outcome::Abandoned);
            }
            self.drop_all();
        }
        let outcomes = self.children.iter().map(|child| child.outcome.unwrap_or(Outcome::Dropped)).collect();
        Ok(Polled::Ready(self.cause.unwrap(), outcomes))
    }

    fn run(&mut self) -> Result<Option<Cause>, ()> {
        let is_first = !std::mem::replace(&mut self.is_polled, true);
        if is_first {
            if self.children.is_empty() {
                return Ok(Some(Cause::Completed));
            }
            if self.signal {
                return Ok(Some(Cause::Cancelled));
            }
        }
        if let Some(index) = self.pass(is_first, false)? {
            return Ok(Some(match self.policy {
                Policy::FailFast => Cause::Failed(index),
                _ => Cause::Won(index),
            }));
        }
        Ok(match (self.is_live(), self.signal) {
            (false, _) => Some(Cause::Completed),
            (true, true) => Some(Cause::Cancelled),
            (true, false) => None,
        })
    }

    /// One pass over the children, which may be stopped by one of them: of those that have started first, then of those
    /// for which there is room.
    fn pass(&mut self, is_first: bool, drains: bool) -> Result<Option<usize>, ()> {
        let (started, from) = (self.started, self.next.min(self.started));
        let mut began = None;
        let (mut fruitless, mut cut_at) = (0, 0);
        self.is_cut = false;
        for index in (from..started).chain(0..from).chain(started..self.children.len()) {
            let child = &self.children[index];
            if index < started {
                if !child.is_live || self.is_cut || !(is_first || self.polls_all || child.is_woken) {
                    continue;
                }
            } else {
                let running = self.children[..self.started].iter().filter(|child| child.is_live).count();
                if !child.is_live {
                    continue;
                }
                if running == self.limit {
                    break;
                }
                self.started = index + 1;
            }
            began.get_or_insert(index);
            if self.poll_child(index, drains)? {
                fruitless = 0;
                if !drains && self.stops(index) {
                    return Ok(Some(index));
                }
            } else if index < started && !is_first && !self.polls_all {
                fruitless += 1;
                if fruitless == 32 {
                    self.is_cut = true;
                    cut_at = index;
                }
            }
        }
        if let Some(began) = began {
            // Child by child from the first one of the round, or from where it goes on, to the one behind the cut.
            let count = self.children.len();
            let (origin, from) = self.origin.map_or((began, began), |origin| (origin, self.next));
            let mut steps = usize::from(self.origin.is_none())..=(cut_at + count - from % count) % count + 1;
            let is_round = !self.is_cut || steps.any(|step| (from + step) % count == origin);
            (self.next, self.origin) = if is_round { (origin + 1, None) } else { (cut_at + 1, Some(origin)) };
        }
        Ok(None)
    }

    fn cancel(&mut self) {
        self.is_told = true;
        (self.next, self.origin) = (0, None);
        for index in 0..self.children.len() {
            let child = &mut self.children[index];
            match (child.is_live, child.script.kind, child.was_polled) {
                (false, ..) => {}
                (_, Kind::Told, _) => self.log.push(format!("tell {index}")),
                (_, Kind::Cleanup, true) => {
                    self.drop_child(index);
                    self.children[index].is_live = true;
                    self.children[index].cleans = true;
                }
                (_, Kind::Shield, true) => {}
                _ => self.drop_child(index),
            }
        }
        if self.is_live() {
            self.log.push("grace".into());
        }
    }
}

// ---- the children ----

/// The wakers of all children, by index.
type Wakers = Rc<RefCell<Vec<Option<Waker>>>>;

/// Follows its script; logs its polls and its drop.
struct Actor {
    name: String,
    index: usize,
    left: Option<usize>,
    end: End,
    script: Script,
    log: Log,
    wakers: Wakers,
}

impl Actor {
    fn new(index: usize, script: &Script, log: &Log, wakers: &Wakers) -> Self {
        Actor {
            name: index.to_string(),
            index,
            left: Some(script.pending),
            end: script.end,
            script: script.clone(),
            log: log.clone(),
            wakers: wakers.clone(),
        }
    }

    fn wake_sibling(&self) {
        let waker = self.script.wakes.and_then(|sibling| self.wakers.borrow().get(sibling).cloned().flatten());
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn drains(&mut self) {
        (self.left, self.end) = (self.script.drain, self.script.drain_end);
    }
}

impl Future for Actor {
    type Output = Result<usize, usize>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let index = self.index;
        self.log.push(format!("poll {}", self.name));
        match self.left.as_mut() {
            Some(0) => match self.end {
                // Without the message of a panic, and without a fuzzer's hook, which would take it for a finding.
                End::Panic => resume_unwind(Box::new("actor")),
                End::Value => return Poll::Ready(Ok(index)),
                End::Error => return Poll::Ready(Err(index)),
            },
            Some(left) => *left -= 1,
            None => {}
        }
        self.wakers.borrow_mut()[index] = Some(cx.waker().clone());
        if self.script.wakes_itself {
            cx.waker().wake_by_ref();
        }
        self.wake_sibling();
        Poll::Pending
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.log.push(format!("drop {}", self.name));
        self.wake_sibling();
    }
}

fn child(index: usize, script: &Script, log: &Log, wakers: &Wakers) -> LocalBoxChild<'static, Result<usize, usize>> {
    let actor = Actor::new(index, script, log, wakers);
    let (script, log, wakers) = (script.clone(), log.clone(), wakers.clone());
    match script.kind {
        Kind::Plain => LocalBoxChild::new(actor),
        Kind::Told => LocalBoxChild::new(actor.on_cancel(move |mut actor| {
            log.push(format!("tell {index}"));
            actor.drains();
        })),
        Kind::Cleanup => LocalBoxChild::new(actor.cleanup(move || {
            let mut cleaning = Actor::new(index, &script, &log, &wakers);
            cleaning.name = format!("clean {index}");
            cleaning.drains();
            cleaning
        })),
        Kind::Shield => LocalBoxChild::new(actor.shield()),
    }
}

// ---- both, side by side ----

/// Panics where the gather does anything else than the model.
pub fn check(case: &Case) {
    let count = case.scripts.len();
    let polls_all = matches!(case.container, kit::Container::Tuple | kit::Container::Array);
    let (log, wakers) = (Log::default(), Wakers::new(RefCell::new(vec![None; count])));
    let (signal, grace) = (Gate::new(), Gate::new());
    let mut model = Model {
        policy: case.policy,
        limit: case.limit.unwrap_or(usize::MAX),
        polls_all,
        children: case
            .scripts
            .iter()
            .map(|script| Modelled {
                script: script.clone(),
                is_live: true,
                was_polled: false,
                is_woken: false,
                cleans: false,
                is_made: false,
                outcome: None,
            })
            .collect(),
        started: 0,
        is_polled: false,
        is_told: false,
        next: 0,
        origin: None,
        is_cut: false,
        cause: None,
        signal: false,
        grace_over: false,
        log: vec![],
    };

    let children: Vec<_> =
        case.scripts.iter().enumerate().map(|(index, script)| child(index, script, &log, &wakers)).collect();
    let (grace_log, grace_gate) = (log.clone(), grace.clone());
    let make_grace = move || {
        grace_log.push("grace");
        grace_gate.wait()
    };
    macro_rules! report {
        ($gather:ident) => {{
            let set = $gather.report().cancel_when(signal.clone().wait()).grace(make_grace);
            macro_rules! boxed {
                ($future:expr) => {{
                    let future = $future;
                    kit::boxed(async move {
                        let report = future.await;
                        (report.cause, report.outcomes.flatten())
                    })
                }};
            }
            macro_rules! limited {
                ($set:expr) => {
                    match case.limit {
                        Some(limit) => boxed!($set.concurrency(limit)),
                        None => boxed!($set),
                    }
                };
            }
            match case.policy {
                Policy::FailFast => limited!(set),
                Policy::Settle => limited!(set.settle()),
                Policy::Any => limited!(set.any()),
                Policy::Race => limited!(set.race()),
            }
        }};
    }
    let mut real = Some(match <[_; 3]>::try_from(children) {
        Ok(three) => kit::in_container!(case.container, three, |gather| report!(gather)),
        Err(children) => {
            let gather = gather::gather(children);
            report!(gather)
        }
    });

    let (mut wakes, mut waker) = Wakes::new();
    // At the end it is polled to its end: all are woken, and the grace is over.
    let ending = [Action::GraceOver, Action::Signal].into_iter().chain([Action::Poll; 8]);
    for action in case.actions.iter().copied().chain(ending) {
        let Some(running) = real.as_mut() else { break };
        match action {
            Action::Poll => {
                wakes.take();
                let mut cx = Context::from_waker(&waker);
                let polled = match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(&mut cx))) {
                    Ok(Poll::Pending) => Polled::Pending,
                    Ok(Poll::Ready((cause, outcomes))) => Polled::Ready(cause, outcomes),
                    Err(_) => Polled::Panicked,
                };
                let modelled = model.poll();
                assert_eq!((log.take(), &polled), (std::mem::take(&mut model.log), &modelled));
                if polled != Polled::Pending {
                    real = None;
                    continue;
                }
                let someone_is_woken = model.children.iter().any(|child| child.is_live && child.is_woken);
                if someone_is_woken || model.is_cut {
                    assert!(
                        wakes.take() > 0,
                        "a child was woken in the poll, or its turn did not come: the gather was not"
                    );
                }
            }
            Action::ChangeWaker => (wakes, waker) = Wakes::new(),
            Action::Wake(index) | Action::WakeFromThread(index) => {
                let woken = wakers.borrow().get(index).cloned().flatten();
                if let Some(waker) = woken {
                    match action {
                        Action::Wake(_) => waker.wake(),
                        _ => std::thread::spawn(|| waker.wake()).join().unwrap(),
                    }
                }
                model.wake(index);
            }
            Action::Signal => {
                model.signal = true;
                signal.open(());
            }
            Action::GraceOver => {
                model.grace_over = true;
                grace.open(());
            }
            Action::Drop => {
                real = None;
                model.drop_all();
                assert_eq!(log.take(), std::mem::take(&mut model.log));
            }
        }
    }
    assert!(real.is_none(), "it ends once it is cancelled and its grace is over");
    // Wakers outlive their gather.
    for waker in wakers.take().into_iter().flatten() {
        waker.wake();
    }
    assert_eq!(log.take(), Vec::<String>::new());
}
