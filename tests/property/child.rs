//! The model of one child: what it does when it is polled, told or dropped, and what the group sees of it.

use gather::Outcome;

use crate::actors::{Error, Output};
use crate::model::{Model, Panicked};
use crate::script::{End, Kind, Script, Wrapper};

pub type Late = Outcome<usize, Error>;

/// A child in the model.
pub struct Modelled {
    pub script: Script,
    /// It is there, and has not ended.
    pub is_live: bool,
    /// It has a waker.
    pub was_polled: bool,
    pub is_woken: bool,
    /// The group has told it.
    pub is_told: bool,
    pub outcome: Option<Late>,
    /// Its outcome is to be handed out.
    pub waits: bool,
    /// An output that is known before it has ended.
    known: Option<Output>,
    /// A wrapper has taken that, so it no longer depends on the child.
    is_taken: bool,
    /// Any wrapper asks for a known output at once.
    pub is_wrapped: bool,
    /// Its own signal is there.
    is_watched: bool,
    /// Its own signal was fired by hand.
    pub is_opened: bool,
    /// Its own signal has cancelled it.
    is_fired: bool,
    /// Its work was polled.
    has_started: bool,
    /// Its work is there, or its clean-up.
    has_work: bool,
    /// Its work was dropped, its clean-up is what lives, once that was made.
    cleans: bool,
    is_made: bool,
    /// The `CancelSignal` that it was given is set.
    pub is_signalled: bool,
}

impl Modelled {
    pub fn new(script: &Script, is_live: bool, is_wrapped: bool) -> Self {
        Modelled {
            script: script.clone(),
            is_live,
            was_polled: false,
            is_woken: false,
            is_told: false,
            outcome: None,
            waits: false,
            known: None,
            is_taken: false,
            is_wrapped: is_wrapped || script.wrapper != Wrapper::None,
            is_watched: script.wrapper.is_watched(),
            is_opened: false,
            is_fired: false,
            has_started: false,
            has_work: true,
            cleans: false,
            is_made: false,
            is_signalled: false,
        }
    }

    /// The output that it shows to the group.
    pub fn shown(&self) -> Option<Output> {
        self.known.filter(|_| self.is_taken || !self.is_wrapped)
    }

    /// What it gives when it is dropped before it has ended.
    fn left_behind(&self) -> Option<Output> {
        let lies = self.script.kind == Kind::Early && self.script.drain_end == End::Error;
        self.known.filter(|_| self.is_taken || !lies)
    }

    /// Whether dropping it loses something: it was told, or has a clean-up.
    fn drains(&self) -> bool {
        match self.script.kind {
            Kind::Plain => self.is_told,
            Kind::Told | Kind::Early => true,
            Kind::Cleanup | Kind::Finally | Kind::Shield | Kind::Cancellable => self.is_told || self.has_started,
        }
    }

    /// When the group tells it, nothing happens but its next poll.
    pub fn is_told_silently(&self) -> bool {
        !self.is_watched && (self.is_fired || self.cleans || self.script.kind == Kind::Shield)
    }

    fn is_cancelled(&self) -> bool {
        self.is_told || self.is_fired
    }

    fn is(&self, kinds: &[Kind]) -> bool {
        kinds.contains(&self.script.kind)
    }
}

fn result_of(index: usize, end: End) -> Result<Output, Panicked> {
    match end {
        End::Panic => Err(Panicked),
        End::Value => Ok(Ok(index)),
        End::Error => Ok(Err(Error::Of(index))),
    }
}

impl Model {
    /// One poll of a child: whether it ended.
    pub fn poll_child(&mut self, index: usize) -> Result<bool, Panicked> {
        let is_late = self.cause.is_some();
        let child = &mut self.children[index];
        child.was_polled = true;
        child.is_woken = false;
        if child.is_watched {
            // The signal is first.
            self.log.push(format!("signal {index}"));
            if child.is_opened || child.script.fires == Some(0) {
                child.is_fired = true;
                self.drop_signal(index);
                if !self.cancel_work(index) {
                    let result = self.pass_on(index, None);
                    self.end_child(index, result, is_late)?;
                    return Ok(true);
                }
            } else if let Some(left) = &mut child.script.fires {
                *left -= 1;
            }
        }
        if let Some(result) = self.poll_work(index)? {
            let child = &self.children[index];
            let result = if child.is_taken { child.known } else { self.pass_on(index, result) };
            self.end_child(index, result, is_late)?;
            return Ok(true);
        }
        // Who asks whether its output is known: a wrapper, as long as it runs; or else the group.
        let child = &self.children[index];
        let asks = if child.is_wrapped { !child.is_cancelled() } else { !is_late };
        if asks && child.known.is_some() && !child.is_taken {
            if child.is(&[Kind::Early]) && child.script.drain_end == End::Panic {
                return Err(Panicked);
            }
            if let (true, Some(known)) = (child.is_wrapped, child.left_behind()) {
                let known = self.pass_on(index, Some(known));
                let child = &mut self.children[index];
                (child.known, child.is_taken) = (known, true);
            }
        }
        Ok(false)
    }

    /// What it ends with, if it does.
    fn poll_work(&mut self, index: usize) -> Result<Option<Option<Output>>, Panicked> {
        let child = &mut self.children[index];
        if child.is(&[Kind::Cancellable]) && child.is_signalled && !child.cleans {
            // Its own code drops its work, and cleans up.
            self.begin_clean_up(index);
        }
        let child = &mut self.children[index];
        child.has_started = true;
        child.is_made = child.cleans;
        self.log.push(format!("poll {}{index}", if child.cleans { "clean " } else { "" }));
        let is_cancelled = child.is_cancelled();
        let is_early = child.is(&[Kind::Early]);
        let by_drain = child.cleans || is_cancelled && child.is(&[Kind::Told, Kind::Early]);
        let script = &mut child.script;
        if is_early && child.known.is_none() && !is_cancelled && script.pending == 0 {
            child.known = Some(result_of(index, script.end)?);
        }
        let (left, end) = if by_drain || child.known.is_some() {
            (script.drain.as_mut(), script.drain_end)
        } else {
            (Some(&mut script.pending), script.end)
        };
        match left {
            Some(0) => {}
            left => {
                if let Some(left) = left {
                    *left -= 1;
                }
                child.is_woken |= script.wakes_itself;
                if let Some(sibling) = script.wakes {
                    self.wake(sibling);
                }
                return Ok(None);
            }
        }
        if is_early {
            let known = child.known;
            // It lies, and only its end is asked for.
            return Ok(Some(known.filter(|_| !is_cancelled || end != End::Error)));
        }
        let (kind, cleans) = (child.script.kind, child.cleans);
        let result = result_of(index, end);
        if kind == Kind::Cancellable {
            // With its code, even if that panics.
            self.drop_work(index);
        }
        let result = result?;
        match kind {
            Kind::Finally if !cleans => {
                self.children[index].known = Some(result);
                self.begin_clean_up(index);
                self.poll_work(index)
            }
            Kind::Cleanup | Kind::Finally if cleans => Ok(Some(self.children[index].known)),
            _ => Ok(Some(Some(result))),
        }
    }

    /// Passes what a child gives through what stands around it.
    fn pass_on(&mut self, index: usize, output: Option<Output>) -> Option<Output> {
        let Modelled { script, is_fired, .. } = &self.children[index];
        let (wrapper, is_fired) = (script.wrapper, *is_fired);
        let maps = match wrapper {
            Wrapper::Map | Wrapper::MapThenWatched => output.is_some(),
            Wrapper::MapErr => matches!(output, Some(Err(_))),
            _ => false,
        };
        if maps {
            self.log.push(format!("map {index}"));
        }
        let output = if is_fired { Some(Err(Error::Cancelled)) } else { output };
        self.drop_signal(index);
        if wrapper == Wrapper::WatchedThenMap && output.is_some() {
            self.log.push(format!("map {index}"));
        }
        output
    }

    /// It has ended with this, or is dropped with it.
    fn end_child(&mut self, index: usize, result: Option<Output>, is_late: bool) -> Result<(), Panicked> {
        let own = result.map(|result| result.map_or_else(Outcome::Failed, Outcome::Done));
        let outcome = match (is_late, own) {
            (true, Some(own)) if self.is_cause(index) && self.stops(own) => own,
            // Its output has ended the group, and it has none.
            (true, _) if self.is_cause(index) => return Err(Panicked),
            (true, _) => Outcome::Drained(result),
            (false, own) => own.expect("it ends by itself with an output"),
        };
        self.end_with(index, outcome);
        Ok(())
    }

    fn end_with(&mut self, index: usize, outcome: Late) {
        let is_kept = self.report || self.cause.is_none() && !self.stops(outcome);
        self.has_stale_wakes |= self.children[index].is_woken;
        self.children[index].outcome = Some(outcome);
        self.children[index].waits = is_kept && self.hands_out();
        self.drop_child(index);
    }

    /// The group cancels it.
    pub fn cancel_child(&mut self, index: usize) -> Result<(), Panicked> {
        self.children[index].is_told = true;
        if self.children[index].is_fired {
            // Its signal has told it.
            return Ok(());
        }
        self.drop_signal(index);
        if self.cancel_work(index) {
            return Ok(());
        }
        self.cut_off(index, Outcome::Dropped)
    }

    /// It is told, or is to be dropped. Whether it drains.
    fn cancel_work(&mut self, index: usize) -> bool {
        let polls_all = self.container.polls_all();
        let child = &mut self.children[index];
        match child.script.kind {
            Kind::Plain => false,
            Kind::Told => {
                self.log.push(format!("tell {index}"));
                true
            }
            Kind::Early => {
                self.log.push(format!("tell {index}"));
                child.script.drain.is_some()
            }
            Kind::Cleanup | Kind::Finally if child.has_started => {
                if !child.cleans {
                    self.begin_clean_up(index);
                }
                true
            }
            Kind::Cleanup | Kind::Finally => false,
            Kind::Shield => child.has_started,
            Kind::Cancellable => {
                child.is_signalled = true;
                // It waits for its signal, and has its turn now. A waker of its own stays woken.
                child.is_woken |= child.has_started && !polls_all;
                child.has_started
            }
        }
    }

    /// The grace is over for this child.
    pub fn abandon_child(&mut self, index: usize) -> Result<(), Panicked> {
        let outcome = if self.children[index].drains() { Outcome::Abandoned } else { Outcome::Dropped };
        self.cut_off(index, outcome)
    }

    /// It is dropped before it has ended; an output that it has is not lost.
    fn cut_off(&mut self, index: usize, outcome: Late) -> Result<(), Panicked> {
        self.drop_signal(index);
        match self.children[index].left_behind() {
            Some(known) => self.end_child(index, Some(known), true),
            None if self.is_cause(index) => Err(Panicked),
            None => {
                self.end_with(index, outcome);
                Ok(())
            }
        }
    }

    /// Its work goes, its clean-up is what is left of it.
    fn begin_clean_up(&mut self, index: usize) {
        self.drop_work(index);
        let child = &mut self.children[index];
        (child.has_work, child.cleans) = (true, true);
    }

    pub fn drop_child(&mut self, index: usize) {
        self.children[index].is_live = false;
        self.drop_work(index);
        self.drop_signal(index);
    }

    fn drop_work(&mut self, index: usize) {
        let child = &mut self.children[index];
        if std::mem::take(&mut child.has_work) && (!child.cleans || child.is_made) {
            self.log.push(format!("drop {}{index}", if child.cleans { "clean " } else { "" }));
            if let Some(sibling) = child.script.wakes {
                self.wake(sibling);
            }
        }
    }

    fn drop_signal(&mut self, index: usize) {
        if std::mem::take(&mut self.children[index].is_watched) {
            self.log.push(format!("drop signal {index}"));
        }
    }

    /// By hand.
    pub fn fire(&mut self, index: usize) {
        let Some(child) = self.children.get_mut(index) else { return };
        child.is_opened = true;
        if child.is_watched && child.was_polled {
            self.wake(index);
        }
    }
}
