//! The model: what a group does with children that follow a script. It is naive, and can be read as the specification.
//!
//! *Exact:* in every container the log of the group is that of the model, word by word and poll by poll: in which order
//! children are polled, told and dropped; when signals, hook, grace and source have their turn; what is handed out, and to
//! what it all comes.
//!
//! *Legal:* the children of a source that were woken have their turn in no promised order. There the model looks at what
//! the group did, checks that it was allowed, and does the same: each that was woken is polled, each at most once, and no
//! other; but once a waker of an ended child was woken, the next child in its place may be polled for nothing. And a group
//! may be woken more often than it has to be.
//!
//! Here are the steps of one poll, as in `Gather`. The children's turns are in `passes`, what one child does is in
//! `child`, and what is handed out is in `outputs`.

use gather::Cause;

use crate::actors::Error;
use crate::child::{Late, Modelled};
use crate::outputs::Next;
use crate::passes::PassEnd;
use crate::script::{Case, Container, Form, Policy, SOURCE, Taker};

pub struct Panicked;

/// How a poll ended.
#[derive(Debug, PartialEq)]
pub enum Polled {
    Pending,
    /// Something was handed out.
    Item(String),
    /// `None`: a stream's end.
    Ready(Option<String>),
    Panicked,
}

pub struct Model {
    pub policy: Policy,
    pub form: Form,
    pub report: bool,
    pub limit: usize,
    pub has_hook: bool,
    pub in_reverse: bool,
    pub container: Container,
    pub children: Vec<Modelled>,
    /// In a source: those that were drawn.
    pub started: usize,
    pub is_polled: bool,
    /// Cancelled, and no child was polled since.
    pub begins_drain: bool,
    /// Where the next pass begins, and goes round.
    pub next: usize,
    /// With whom the round began that the next pass goes on with, after one that was cut.
    pub origin: Option<usize>,
    /// Nothing else may wake the group, though someone's turn has not come.
    pub wakes_itself: bool,
    pub cause: Option<Cause>,
    /// Until it is dropped.
    pub has_signal: bool,
    pub signal: bool,
    pub has_grace: bool,
    pub grace_over: bool,
    // The source.
    pub has_source: bool,
    /// It was polled, and so has a waker.
    pub asked: bool,
    /// It is worth a poll: it was woken, or gave a child.
    pub is_askable: bool,
    /// Its turn comes before that of the children.
    pub is_due: bool,
    /// In this poll.
    pub drawn: usize,
    /// Before its next child, or its end.
    pub pending: usize,
    pub case: Case,
    /// A wake for a child that has gone may be taken for one of another.
    pub has_stale_wakes: bool,
    // Outputs.
    pub known_next: Option<usize>,
    pub looks_for: Next,
    /// The future to which the output of a child was handed.
    pub taking: Option<(usize, Taker)>,
    pub taking_failed: Option<usize>,
    /// With this cause it has ended.
    pub ended: Option<Cause>,
    pub log: Vec<String>,
    /// What the group did in this poll.
    pub happened: Vec<String>,
}

impl Model {
    pub fn new(case: &Case) -> Self {
        let is_source = case.container.is_source();
        // Its children are mapped to what it can keep.
        let is_mapped = case.container == Container::Const && case.form == Form::Awaited;
        let mut model = Model {
            policy: case.policy,
            form: case.form,
            report: case.report,
            limit: case.limit.unwrap_or(usize::MAX),
            has_hook: case.has_hook,
            in_reverse: case.in_reverse,
            container: case.container,
            children: case.scripts.iter().map(|script| Modelled::new(script, !is_source, is_mapped)).collect(),
            started: 0,
            is_polled: false,
            begins_drain: false,
            next: 0,
            origin: None,
            wakes_itself: false,
            cause: None,
            has_signal: true,
            signal: false,
            has_grace: false,
            grace_over: false,
            has_source: is_source,
            asked: false,
            is_askable: true,
            is_due: false,
            drawn: 0,
            pending: 0,
            case: case.clone(),
            has_stale_wakes: false,
            known_next: None,
            looks_for: Next::First,
            taking: None,
            taking_failed: None,
            ended: None,
            log: vec![],
            happened: vec![],
        };
        model.begin_delay();
        model
    }

    pub fn hands_out(&self) -> bool {
        self.form != Form::Awaited
    }

    /// How many children there are, or were drawn.
    pub fn count(&self) -> usize {
        if self.container.is_source() { self.started } else { self.children.len() }
    }

    pub fn live(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        (0..self.children.len()).filter(|index| self.children[*index].is_live)
    }

    pub fn last_live(&self) -> Option<usize> {
        self.live().next_back()
    }

    /// A child is left, or may still come.
    pub fn is_live(&self) -> bool {
        self.has_source || self.last_live().is_some()
    }

    pub fn is_cause(&self, index: usize) -> bool {
        self.cause.is_some_and(|cause| cause.index() == Some(index))
    }

    pub fn wake(&mut self, index: usize) {
        if index == SOURCE {
            self.is_askable |= self.asked;
        } else if let Some(child) = self.children.get_mut(index) {
            // One that was never polled has no waker.
            child.is_woken |= child.was_polled;
            self.has_stale_wakes |= child.was_polled && !child.is_live;
        }
    }

    pub fn stops(&self, outcome: Late) -> bool {
        match outcome {
            Late::Failed(_) => matches!(self.policy, Policy::FailFast | Policy::Race),
            _ => matches!(self.policy, Policy::Any | Policy::Race),
        }
    }

    /// Everything that is left: the source, the children in index order, who takes outputs.
    pub fn drop_all(&mut self) {
        self.drop_source();
        for index in 0..self.children.len() {
            if self.children[index].is_live {
                self.drop_child(index);
            }
        }
        self.drop_taking();
        (self.has_signal, self.has_grace) = (false, false);
    }

    pub fn drop_source(&mut self) {
        if std::mem::take(&mut self.has_source) {
            self.log.push("drop source".into());
        }
    }

    pub fn drop_taking(&mut self) {
        if let Some((index, _)) = self.taking.take() {
            self.log.push(format!("drop taking {index}"));
        }
    }

    // ---- one poll ----

    /// `happened`: what the group did in this poll.
    pub fn poll(&mut self, happened: &[String]) -> Polled {
        self.happened = happened.to_vec();
        self.wakes_itself = false;
        let polled = match self.form {
            Form::Awaited => self.poll_awaited(),
            Form::Items => self.poll_items(),
            Form::ForEach => self.poll_for_each(),
        };
        polled.unwrap_or_else(|Panicked| {
            self.drop_all();
            Polled::Panicked
        })
    }

    fn poll_awaited(&mut self) -> Result<Polled, Panicked> {
        match self.advance()? {
            None => Ok(Polled::Pending),
            Some(cause) if !self.report && self.policy == Policy::Race && cause == Cause::Completed => Err(Panicked),
            Some(cause) => {
                self.end(cause);
                Ok(Polled::Ready(Some(self.output(cause))))
            }
        }
    }

    fn poll_items(&mut self) -> Result<Polled, Panicked> {
        if self.ended.is_some() {
            return Ok(Polled::Ready(None));
        }
        // Those who were just told have their turn first.
        if !self.begins_drain {
            if let Some(next) = self.take_next() {
                return Ok(Polled::Item(self.item(next)));
            }
        }
        let advanced = self.advance()?;
        if let Some(next) = self.take_next() {
            return Ok(Polled::Item(self.item(next)));
        }
        let Some(cause) = advanced else { return Ok(Polled::Pending) };
        self.end(cause);
        Ok(match (self.report, cause) {
            (false, Cause::Failed(index)) => Polled::Item(format!("Ok(Err({:?}))", self.error_of(index))),
            (false, Cause::Cancelled) => Polled::Item("Err(Cancelled)".into()),
            _ => Polled::Ready(None),
        })
    }

    fn poll_for_each(&mut self) -> Result<Polled, Panicked> {
        let mut waits = self.hand_over(&mut false)?;
        let mut advanced = self.advance()?;
        if !waits {
            let had_cause = self.cause;
            let mut makes_room = false;
            waits = self.hand_over(&mut makes_room)?;
            if self.cause != had_cause {
                // Those who were just told have their turn in this poll.
                advanced = self.advance()?;
            } else {
                self.wakes_itself |= makes_room && advanced.is_none() && self.may_start();
            }
        }
        let Some(cause) = advanced.filter(|_| !waits) else { return Ok(Polled::Pending) };
        self.end(cause);
        let failure = self.taking_failed.map(Error::Taking);
        Ok(Polled::Ready(Some(match (self.report, cause) {
            (true, _) => format!("{cause:?}"),
            (false, Cause::Cancelled) => "Err(Cancelled)".into(),
            (false, Cause::Failed(index)) => {
                format!("Ok(Err({:?}))", failure.unwrap_or_else(|| self.error_of(index)))
            }
            (false, _) if self.policy == Policy::FailFast => "Ok(Ok(()))".into(),
            (false, _) => "Ok(())".into(),
        })))
    }

    fn end(&mut self, cause: Cause) {
        (self.has_signal, self.has_grace) = (false, false);
        self.ended = Some(cause);
    }

    /// The children's turn. `Some`: no child is left.
    fn advance(&mut self) -> Result<Option<Cause>, Panicked> {
        if self.cause.is_none() {
            match self.run()? {
                None => return Ok(None),
                Some(Cause::Completed) => return Ok(Some(Cause::Completed)),
                Some(cause) => self.cancel(cause)?,
            }
        }
        self.drain()
    }

    fn run(&mut self) -> Result<Option<Cause>, Panicked> {
        let is_first = !self.is_polled;
        if is_first && !self.is_live() {
            return Ok(Some(Cause::Completed));
        }
        self.is_polled = true;
        let is_fired = self.poll_signal();
        if is_first && is_fired {
            return Ok(Some(Cause::Cancelled));
        }
        if let PassEnd::Stopped(index) = self.pass(is_first)? {
            return Ok(Some(match self.policy {
                Policy::FailFast => Cause::Failed(index),
                _ => Cause::Won(index),
            }));
        }
        if !self.is_live() {
            self.wakes_itself = false;
            return Ok(Some(Cause::Completed));
        }
        // It acts after the children, and only if one is left.
        Ok((is_fired || self.poll_signal()).then_some(Cause::Cancelled))
    }

    fn poll_signal(&mut self) -> bool {
        if self.has_signal {
            self.log.push("poll signal".into());
            self.has_signal = !self.signal;
            return self.signal;
        }
        false
    }

    fn poll_grace(&mut self) -> bool {
        if self.has_grace {
            self.log.push("poll grace".into());
            self.has_grace = !self.grace_over;
            return self.grace_over;
        }
        false
    }

    /// The handshake begins.
    pub fn cancel(&mut self, cause: Cause) -> Result<(), Panicked> {
        self.cause = Some(cause);
        self.begins_drain = true;
        self.wakes_itself = false;
        (self.next, self.origin) = (0, None);
        self.has_signal = false;
        self.drop_source();
        if self.has_hook {
            self.log.push(format!("hook {cause:?}"));
        }
        if self.form == Form::ForEach && !self.report {
            self.children.iter_mut().for_each(|child| child.waits = false);
        }
        self.looks_for = Next::Finished;
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
            self.has_grace = true;
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

    fn drain(&mut self) -> Result<Option<Cause>, Panicked> {
        if self.is_live() {
            let is_over = self.poll_grace();
            let is_first = std::mem::take(&mut self.begins_drain);
            if self.in_reverse {
                if let (true, Some(told)) = (is_first, self.last_live()) {
                    self.turn(told, true)?;
                    self.pass_before(told)?;
                } else {
                    self.pass(false)?;
                }
                while self.tell_last()? {
                    let told = self.last_live().expect("it was told");
                    self.turn(told, is_first)?;
                }
            } else {
                self.pass(is_first)?;
            }
            if self.is_live() {
                if !is_over && !self.poll_grace() {
                    return Ok(None);
                }
                // The grace is over.
                let mut left: Vec<_> = self.live().collect();
                if self.in_reverse {
                    left.reverse();
                }
                for index in left {
                    self.abandon_child(index)?;
                }
            }
        }
        self.wakes_itself = false;
        Ok(self.cause)
    }
}
