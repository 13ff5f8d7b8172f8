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
use gather::{CancelExt, Cause, Child, LocalBoxChild, OnCancel, Outcome};

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
    /// How often it is pending once it was told, or its clean-up is, or once its output is known. `None`: it never ends.
    drain: Option<usize>,
    /// Of one that shows its output: whether it keeps to it, has none in the end, or panics when it is asked for it.
    drain_end: End,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain,
    Told,
    Cleanup,
    Finally,
    Shield,
    /// Written by hand: shows its output before it has ended.
    Early,
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
    has_hook: bool,
    in_reverse: bool,
    scripts: Vec<Script>,
    actions: Vec<Action>,
}

// ---- from bytes ----

/// Bytes before the children: shape, policy, limit, hook and order.
pub const HEAD: usize = 4;
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
            kind: weighted(
                u,
                &[
                    (1, Kind::Plain),
                    (1, Kind::Told),
                    (1, Kind::Cleanup),
                    (1, Kind::Shield),
                    (1, Kind::Finally),
                    (1, Kind::Early),
                ],
            )?,
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
        let (has_hook, in_reverse) =
            weighted(u, &[(2, (false, false)), (1, (true, false)), (1, (false, true)), (2, (true, true))])?;
        let mut scripts = (0..count).map(|_| u.arbitrary()).collect::<Result<Vec<Script>, _>>()?;
        scripts.iter_mut().for_each(|script| script.pending += patience);
        let mut actions = vec![];
        while !u.is_empty() && actions.len() < MOST_ACTIONS {
            actions.push(u.arbitrary()?);
        }
        Ok(Case { container, policy, limit, has_hook, in_reverse, scripts, actions })
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
    is_told: bool,
    /// Its output, which is known before it has ended.
    known: Option<Result<usize, usize>>,
    outcome: Option<Late>,
}

struct Model {
    policy: Policy,
    limit: usize,
    has_hook: bool,
    in_reverse: bool,
    /// Tuples and arrays poll each pending child.
    polls_all: bool,
    children: Vec<Modelled>,
    started: usize,
    is_polled: bool,
    /// Cancelled, and no child was polled since.
    begins_drain: bool,
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

    /// One poll of a child, in its work or in its drain: whether it ended.
    fn poll_child(&mut self, index: usize) -> Result<bool, Panicked> {
        let drains = self.cause.is_some();
        let child = &mut self.children[index];
        child.was_polled = true;
        child.is_woken = false;
        child.is_made = child.cleans;
        let script = &mut child.script;
        self.log.push(format!("poll {}{index}", if child.cleans { "clean " } else { "" }));
        let by_drain = child.cleans || child.is_told && matches!(script.kind, Kind::Told | Kind::Early);
        let is_early = script.kind == Kind::Early;
        if is_early && child.known.is_none() && !child.is_told && script.pending == 0 {
            child.known = Some(result_of(index, script.end)?);
        }
        let (left, end) = if by_drain || child.known.is_some() {
            (script.drain.as_mut(), script.drain_end)
        } else {
            (Some(&mut script.pending), script.end)
        };
        match left {
            Some(0) => {
                let result = match child.known {
                    // It lies, and is asked by its end alone.
                    Some(_) if is_early && child.is_told && end == End::Error => None,
                    Some(known) if is_early => Some(known),
                    None if is_early => None,
                    _ => Some(result_of(index, end)?),
                };
                if child.script.kind == Kind::Finally && !child.cleans {
                    child.known = result;
                    self.begin_clean_up(index);
                    return self.poll_child(index);
                }
                let result = if child.cleans { child.known } else { result };
                self.end_child(index, result, drains)?;
                return Ok(true);
            }
            Some(left) => *left -= 1,
            None => {}
        }
        child.is_woken = script.wakes_itself;
        let is_asked = is_early && !drains && child.known.is_some();
        let panics = is_asked && script.drain_end == End::Panic;
        if let Some(sibling) = script.wakes {
            self.wake(sibling);
        }
        if panics { Err(Panicked) } else { Ok(false) }
    }

    /// Its work goes, its clean-up is what is left of it.
    fn begin_clean_up(&mut self, index: usize) {
        self.drop_child(index);
        self.children[index].is_live = true;
        self.children[index].cleans = true;
    }

    /// It has ended with this, or is dropped with it.
    fn end_child(&mut self, index: usize, result: Option<Result<usize, usize>>, is_late: bool) -> Result<(), Panicked> {
        let own = result.map(|result| match result {
            Ok(value) => Outcome::Done(value),
            Err(error) => Outcome::Failed(error),
        });
        self.children[index].outcome = match (is_late, own) {
            (true, Some(own)) if self.is_cause(index) && self.stops(own) => Some(own),
            // Its output has ended the group, and it has none.
            (true, _) if self.is_cause(index) => return Err(Panicked),
            (true, _) => Some(Outcome::Drained(result)),
            (false, own) => own,
        };
        self.drop_child(index);
        Ok(())
    }

    fn is_cause(&self, index: usize) -> bool {
        matches!(self.cause, Some(Cause::Failed(cause) | Cause::Won(cause)) if cause == index)
    }

    fn wake(&mut self, index: usize) {
        if let Some(child) = self.children.get_mut(index) {
            // One that was never polled has no waker.
            child.is_woken |= child.was_polled;
        }
    }

    fn stops(&self, outcome: Late) -> bool {
        match outcome {
            Outcome::Failed(_) => matches!(self.policy, Policy::FailFast | Policy::Race),
            _ => matches!(self.policy, Policy::Any | Policy::Race),
        }
    }

    fn poll(&mut self) -> Polled {
        match self.step() {
            Ok(polled) => polled,
            Err(Panicked) => {
                self.drop_all();
                Polled::Panicked
            }
        }
    }

    fn step(&mut self) -> Result<Polled, Panicked> {
        if self.cause.is_none() {
            self.cause = self.run()?;
            match self.cause {
                None => return Ok(Polled::Pending),
                Some(Cause::Completed) => {}
                Some(cause) => self.cancel(cause)?,
            }
        }
        let is_first = std::mem::replace(&mut self.begins_drain, false);
        if self.in_reverse {
            if let (true, Some(told)) = (is_first, self.last_live()) {
                self.poll_child(told)?;
                self.pass_before(told)?;
            } else {
                self.pass(false)?;
            }
            while self.tell_last()? {
                let told = self.last_live().expect("it was told");
                self.poll_child(told)?;
            }
        } else {
            self.pass(is_first)?;
        }
        if self.is_live() {
            if !self.grace_over {
                return Ok(Polled::Pending);
            }
            self.abandon()?;
        }
        let outcomes = self.children.iter().map(|child| child.outcome.unwrap_or(Outcome::Dropped)).collect();
        Ok(Polled::Ready(self.cause.unwrap(), outcomes))
    }

    fn last_live(&self) -> Option<usize> {
        self.children.iter().rposition(|child| child.is_live)
    }

    /// The grace is over.
    fn abandon(&mut self) -> Result<(), Panicked> {
        let mut left: Vec<_> = (0..self.children.len()).filter(|index| self.children[*index].is_live).collect();
        if self.in_reverse {
            left.reverse();
        }
        for index in left {
            let child = &self.children[index];
            let has_clean_up = match child.script.kind {
                Kind::Plain => false,
                Kind::Told | Kind::Early => true,
                Kind::Cleanup | Kind::Finally | Kind::Shield => child.was_polled,
            };
            match child.left_behind() {
                Some(known) => self.end_child(index, Some(known), true)?,
                None if self.is_cause(index) => return Err(Panicked),
                None => {
                    self.children[index].outcome =
                        Some(if child.is_told || has_clean_up { Outcome::Abandoned } else { Outcome::Dropped });
                    self.drop_child(index);
                }
            }
        }
        Ok(())
    }

    fn run(&mut self) -> Result<Option<Cause>, Panicked> {
        let is_first = !std::mem::replace(&mut self.is_polled, true);
        if is_first {
            if self.children.is_empty() {
                return Ok(Some(Cause::Completed));
            }
            if self.signal {
                return Ok(Some(Cause::Cancelled));
            }
        }
        if let Some(index) = self.pass(is_first)? {
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

    /// In reverse, when the last one was just told: those before it that were woken.
    fn pass_before(&mut self, told: usize) -> Result<(), Panicked> {
        self.pass_over((0..told).collect(), 0, false, true).map(drop)
    }

    /// One pass over the children, which may be stopped by one of them: of those that have started first, then of those
    /// for which there is room.
    fn pass(&mut self, is_first: bool) -> Result<Option<usize>, Panicked> {
        let count = self.children.len();
        // In reverse nobody starts once the group is cancelled, but in its turn.
        let is_reversed = self.in_reverse && self.cause.is_some();
        let started = if is_reversed { count } else { self.started };
        let from = self.next.min(started);
        let later = if is_reversed { 0..0 } else { started..count };
        self.pass_over((from..started).chain(0..from).chain(later).collect(), started, is_first, is_reversed)
    }

    /// Those from `started` on start, but not in reverse.
    fn pass_over(
        &mut self,
        order: Vec<usize>,
        started: usize,
        is_first: bool,
        is_reversed: bool,
    ) -> Result<Option<usize>, Panicked> {
        let drains = self.cause.is_some();
        let mut began = None;
        let (mut fruitless, mut cut_at) = (0, 0);
        self.is_cut = false;
        for index in order {
            let child = &self.children[index];
            let starts = !is_reversed && index >= started;
            if !child.is_live {
                continue;
            }
            if starts {
                let running = self.children[..self.started].iter().filter(|child| child.is_live).count();
                if running == self.limit {
                    break;
                }
                self.started = index + 1;
            } else if self.is_cut
                || !(is_first || self.polls_all || child.is_woken)
                || is_reversed && !child.was_polled && !child.is_told
            {
                continue;
            }
            began.get_or_insert(index);
            if self.poll_child(index)? {
                fruitless = 0;
                if !drains && self.stops(self.children[index].outcome.expect("it has just ended")) {
                    return Ok(Some(index));
                }
                continue;
            }
            if let (false, Some(known)) = (drains, self.children[index].known) {
                if self.stops(known.map_or_else(Outcome::Failed, Outcome::Done)) {
                    return Ok(Some(index));
                }
            }
            if !starts && !is_first && !self.polls_all {
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

    fn cancel(&mut self, cause: Cause) -> Result<(), Panicked> {
        self.begins_drain = true;
        (self.next, self.origin) = (0, None);
        if self.has_hook {
            self.log.push(format!("hook {cause:?}"));
        }
        if self.in_reverse {
            self.tell_last()?;
        } else {
            for index in 0..self.children.len() {
                if self.children[index].is_live {
                    self.cancel_child(index)?;
                }
            }
        }
        if self.is_live() {
            self.log.push("grace".into());
        }
        Ok(())
    }

    /// In reverse: the last one, and those before it, until one drains that was not told before.
    fn tell_last(&mut self) -> Result<bool, Panicked> {
        while let Some(last) = self.last_live() {
            if self.children[last].is_told {
                return Ok(false);
            }
            self.cancel_child(last)?;
            if self.children[last].is_live {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn cancel_child(&mut self, index: usize) -> Result<(), Panicked> {
        let child = &mut self.children[index];
        child.is_told = true;
        match (child.script.kind, child.was_polled) {
            (Kind::Told, _) => self.log.push(format!("tell {index}")),
            (Kind::Early, _) => {
                self.log.push(format!("tell {index}"));
                if child.script.drain.is_none() {
                    // It answers that it be dropped.
                    return match child.left_behind() {
                        None if !self.is_cause(index) => {
                            self.drop_child(index);
                            Ok(())
                        }
                        known => self.end_child(index, known, true),
                    };
                }
            }
            (Kind::Cleanup | Kind::Finally, true) if !child.cleans => self.begin_clean_up(index),
            (Kind::Cleanup | Kind::Finally | Kind::Shield, true) => {}
            _ => self.drop_child(index),
        }
        Ok(())
    }
}

impl Modelled {
    /// What it gives when it is dropped before it has ended.
    fn left_behind(&self) -> Option<Result<usize, usize>> {
        self.known.filter(|_| self.script.kind != Kind::Early || self.script.drain_end != End::Error)
    }
}

struct Panicked;

fn result_of(index: usize, end: End) -> Result<Result<usize, usize>, Panicked> {
    match end {
        End::Panic => Err(Panicked),
        End::Value => Ok(Ok(index)),
        End::Error => Ok(Err(index)),
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

    fn cleaning(index: usize, script: &Script, log: &Log, wakers: &Wakers) -> Self {
        let mut cleaning = Actor::new(index, script, log, wakers);
        cleaning.name = format!("clean {index}");
        cleaning.begin_drain();
        cleaning
    }

    fn wake_sibling(&self) {
        let waker = self.script.wakes.and_then(|sibling| self.wakers.borrow().get(sibling).cloned().flatten());
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn end(&self) -> Result<usize, usize> {
        match self.end {
            // Without the message of a panic, and without a fuzzer's hook, which would take it for a finding.
            End::Panic => resume_unwind(Box::new("actor")),
            End::Value => Ok(self.index),
            End::Error => Err(self.index),
        }
    }

    fn pend(&mut self, cx: &mut Context<'_>) {
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        self.wakers.borrow_mut()[self.index] = Some(cx.waker().clone());
        if self.script.wakes_itself {
            cx.waker().wake_by_ref();
        }
        self.wake_sibling();
    }

    fn begin_drain(&mut self) {
        (self.left, self.end) = (self.script.drain, self.script.drain_end);
    }
}

impl Future for Actor {
    type Output = Result<usize, usize>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.log.push(format!("poll {}", self.name));
        if self.left == Some(0) {
            return Poll::Ready(self.end());
        }
        self.pend(cx);
        Poll::Pending
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.log.push(format!("drop {}", self.name));
        self.wake_sibling();
    }
}

/// Shows its output once that is known.
struct Early {
    actor: Actor,
    known: Option<Result<usize, usize>>,
    is_told: bool,
}

impl Early {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<usize, usize>>> {
        if self.known.is_none() && !self.is_told && self.actor.left == Some(0) {
            let actor = &mut self.actor;
            actor.log.push(format!("poll {}", actor.name));
            self.known = Some(actor.end());
            actor.left = actor.script.drain;
        } else {
            self.actor.log.push(format!("poll {}", self.actor.name));
        }
        if self.actor.left == Some(0) {
            return Poll::Ready(self.known.filter(|_| !self.is_told || self.actor.script.drain_end != End::Error));
        }
        self.actor.pend(cx);
        Poll::Pending
    }
}

impl Child for Early {
    type Output = Result<usize, usize>;

    fn poll_child(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll(cx).map(|known| known.expect("it ends by itself when it is known"))
    }

    fn cancel(mut self: Pin<&mut Self>) -> OnCancel {
        let Early { actor, known, is_told } = &mut *self;
        actor.log.push(format!("tell {}", actor.name));
        *is_told = true;
        if known.is_none() {
            actor.left = actor.script.drain;
        }
        if actor.script.drain.is_none() { OnCancel::Drop } else { OnCancel::Drain }
    }

    fn poll_drain(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Output>> {
        self.poll(cx)
    }

    fn output(self: Pin<&mut Self>) -> Option<&Self::Output> {
        if self.known.is_some() && self.actor.script.drain_end == End::Panic {
            resume_unwind(Box::new("output"));
        }
        self.get_mut().known.as_ref()
    }

    fn take_output(mut self: Pin<&mut Self>) -> Option<Self::Output> {
        let lies = self.actor.script.drain_end == End::Error;
        self.known.take().filter(|_| !lies)
    }
}

fn child(index: usize, script: &Script, log: &Log, wakers: &Wakers) -> LocalBoxChild<'static, Result<usize, usize>> {
    let actor = Actor::new(index, script, log, wakers);
    let (script, log, wakers) = (script.clone(), log.clone(), wakers.clone());
    match script.kind {
        Kind::Plain => LocalBoxChild::new(actor),
        Kind::Told => LocalBoxChild::new(actor.on_cancel(move |mut actor| {
            log.push(format!("tell {index}"));
            actor.begin_drain();
        })),
        Kind::Cleanup => LocalBoxChild::new(actor.cleanup(move || Actor::cleaning(index, &script, &log, &wakers))),
        Kind::Finally => LocalBoxChild::new(actor.finally(move || Actor::cleaning(index, &script, &log, &wakers))),
        Kind::Early => LocalBoxChild::new(Early { actor, known: None, is_told: false }),
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
        has_hook: case.has_hook,
        in_reverse: case.in_reverse,
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
                is_told: false,
                known: None,
                outcome: None,
            })
            .collect(),
        started: 0,
        is_polled: false,
        begins_drain: false,
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
    let hook_log = log.clone();
    let hook = move |cause| hook_log.push(format!("hook {cause:?}"));
    macro_rules! report {
        ($gather:ident) => {{
            let set = $gather.report().cancel_when(signal.clone().wait()).grace(make_grace);
            macro_rules! cancelling {
                ($set:expr) => {
                    match (case.has_hook, case.in_reverse) {
                        (false, false) => limited!($set),
                        (false, true) => limited!($set.cancel_in_reverse()),
                        (true, false) => limited!($set.on_cancel(hook)),
                        (true, true) => limited!($set.cancel_in_reverse().on_cancel(hook)),
                    }
                };
            }
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
                Policy::FailFast => cancelling!(set),
                Policy::Settle => cancelling!(set.settle()),
                Policy::Any => cancelling!(set.any()),
                Policy::Race => cancelling!(set.race()),
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
