//! Random scripts against a naive model of the promises: order of polls, hooks and drops, outcomes, wakes.
//!
//! 20 000 scripts; more with `PROPTEST_CASES=1000000 cargo test --release --test property`.

#![cfg(feature = "alloc")]

mod kit;

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use gather::{CancelExt, Cause, LocalBoxChild, Outcome};
use kit::{Flatten as _, Gate, Log, Wakes};
use proptest::prelude::*;

/// What a child does, and how it answers a cancellation.
#[derive(Clone, Debug)]
struct Script {
    kind: Kind,
    /// How often it is pending before it ends.
    pending: usize,
    wakes_itself: bool,
    /// Which sibling it wakes in each poll in which it is pending.
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
struct Case {
    container: kit::Container,
    policy: Policy,
    limit: Option<usize>,
    scripts: Vec<Script>,
    actions: Vec<Action>,
}

fn script() -> impl Strategy<Value = Script> {
    let kind = prop_oneof![Just(Kind::Plain), Just(Kind::Told), Just(Kind::Cleanup), Just(Kind::Shield)];
    let end = || prop_oneof![10 => Just(End::Value), 6 => Just(End::Error), 1 => Just(End::Panic)];
    let wakes = prop_oneof![2 => Just(None), 1 => (0usize..70).prop_map(Some)];
    let drain = prop_oneof![5 => (0usize..3).prop_map(Some), 1 => Just(None)];
    (kind, 0usize..4, any::<bool>(), wakes, end(), drain, end()).prop_map(
        |(kind, pending, wakes_itself, wakes, end, drain, drain_end)| Script {
            kind,
            pending,
            wakes_itself,
            wakes,
            end,
            drain,
            drain_end,
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    use kit::Container::{Array, BoxedSlice, Tuple, Vec as InVec};
    let policy = prop_oneof![
        3 => Just(Policy::FailFast),
        1 => Just(Policy::Settle),
        1 => Just(Policy::Any),
        1 => Just(Policy::Race)
    ];
    let action = prop_oneof![
        12 => Just(Action::Poll),
        1 => Just(Action::ChangeWaker),
        8 => (0usize..70).prop_map(Action::Wake),
        1 => (0usize..70).prop_map(Action::WakeFromThread),
        2 => Just(Action::Signal),
        2 => Just(Action::GraceOver),
        1 => Just(Action::Drop),
    ];
    let limit = prop_oneof![2 => Just(None), 1 => (1usize..4).prop_map(Some)];
    let three = || prop::collection::vec(script(), 3);
    let scripts = prop_oneof![
        2 => (Just(Tuple), three()),
        2 => (Just(Array), three()),
        1 => (Just(BoxedSlice), three()),
        5 => (Just(InVec), prop::collection::vec(script(), 0..8)),
        1 => (Just(InVec), prop::collection::vec(script(), 63..68)),
    ];
    (scripts, policy, limit, prop::collection::vec(action, 1..24)).prop_map(
        |((container, scripts), policy, limit, actions)| {
            // A race of nobody is refused.
            let policy = if scripts.is_empty() && policy == Policy::Race { Policy::Any } else { policy };
            Case { container, policy, limit, scripts, actions }
        },
    )
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
        for index in 0..self.children.len() {
            let child = &self.children[index];
            if child.is_live && (self.polls_all || child.is_woken) {
                self.poll_child(index, true)?;
            }
        }
        if self.is_live() {
            if !self.grace_over {
                return Ok(Polled::Pending);
            }
            self.drop_all();
        }
        let outcomes = self.children.iter().map(|child| child.outcome.unwrap_or(Outcome::Dropped)).collect();
        Ok(Polled::Ready(self.cause.unwrap(), outcomes))
    }

    fn run(&mut self) -> Result<Option<Cause>, ()> {
        if !std::mem::replace(&mut self.is_polled, true) {
            if self.children.is_empty() {
                return Ok(Some(Cause::Completed));
            }
            if self.signal {
                return Ok(Some(Cause::Cancelled));
            }
        }
        let mut index = 0;
        while index < self.children.len() {
            if index < self.started {
                let child = &self.children[index];
                if !child.is_live || !(self.polls_all || child.is_woken) {
                    index += 1;
                    continue;
                }
            } else {
                let running = self.children[..self.started].iter().filter(|child| child.is_live).count();
                if running == self.limit {
                    break;
                }
                self.started += 1;
            }
            if self.poll_child(index, false)? && self.stops(index) {
                return Ok(Some(match self.policy {
                    Policy::FailFast => Cause::Failed(index),
                    _ => Cause::Won(index),
                }));
            }
            index += 1;
        }
        Ok(match (self.is_live(), self.signal) {
            (false, _) => Some(Cause::Completed),
            (true, true) => Some(Cause::Cancelled),
            (true, false) => None,
        })
    }

    fn cancel(&mut self) {
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
            self.children.iter_mut().for_each(|child| child.is_woken = true);
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
                End::Panic => panic!("actor"),
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
        if let Some(sibling) = self.script.wakes {
            let waker = self.wakers.borrow().get(sibling).cloned().flatten();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        Poll::Pending
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.log.push(format!("drop {}", self.name));
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

fn check(case: &Case) {
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
            let set = $gather.report().cancel_on(signal.clone().wait()).grace(make_grace);
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
                if someone_is_woken {
                    assert!(wakes.take() > 0, "a child was woken in the poll, and the gather was not");
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
    assert_eq!(log.take(), Vec::<String>::new());
}

#[test]
fn the_gather_does_what_the_model_does() {
    std::panic::set_hook(Box::new(|_| ()));
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(20_000);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let result = proptest::test_runner::TestRunner::new(config).run(&case(), |case| {
        check(&case);
        Ok(())
    });
    drop(std::panic::take_hook());
    if let Err(error) = result {
        panic!("{error}");
    }
}
