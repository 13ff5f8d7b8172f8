//! The model's outputs: what is handed out, in which order, and what it all comes to, in words.

use gather::Cause;

use crate::actors::Error;
use crate::child::Late;
use crate::model::{Model, Panicked};
use crate::script::{Container, End, Policy};

/// Whose outputs are handed out next.
#[derive(PartialEq)]
pub enum Next {
    First,
    /// Those that ended before the cause was set.
    Finished,
    /// Those that were dropped when it was.
    Dropped,
    /// In reverse.
    Last,
}

impl Model {
    /// The next outcome that waits is handed out.
    pub fn take_next(&mut self) -> Option<usize> {
        let waiting: Vec<_> = (0..self.children.len()).filter(|index| self.children[*index].waits).collect();
        if waiting.is_empty() {
            return None;
        }
        let of = |is_of: fn(Late) -> bool| {
            waiting.iter().copied().find(|index| self.children[*index].outcome.is_some_and(is_of))
        };
        // The one at which the pass ended. Then in the order in which they ended, as far as their outcomes tell.
        let next = self.known_next.take().unwrap_or_else(|| {
            loop {
                let (found, then) = match self.looks_for {
                    Next::First => return waiting[0],
                    Next::Last => return waiting[waiting.len() - 1],
                    Next::Finished if self.in_reverse => {
                        (of(|outcome| matches!(outcome, Late::Done(_) | Late::Failed(_))), Next::Last)
                    }
                    Next::Finished => (of(|outcome| matches!(outcome, Late::Done(_) | Late::Failed(_))), Next::Dropped),
                    Next::Dropped => (of(|outcome| matches!(outcome, Late::Dropped)), Next::First),
                };
                if let Some(found) = found {
                    return found;
                }
                self.looks_for = then;
            }
        });
        self.children[next].waits = false;
        Some(next)
    }

    /// What is handed out of a child, in a stream.
    pub fn item(&self, index: usize) -> String {
        match (self.report, self.policy) {
            (true, _) => format!("({index}, {})", self.value(index)),
            (false, Policy::FailFast) => format!("Ok(Ok(({index}, {})))", self.value(index)),
            (false, _) => format!("Ok(({index}, {}))", self.value(index)),
        }
    }

    /// The same, as it is.
    fn value(&self, index: usize) -> String {
        let outcome = self.children[index].outcome.expect("it has ended");
        match (self.report, self.policy, outcome) {
            (true, ..) => format!("{outcome:?}"),
            (false, Policy::FailFast, Late::Done(value)) => format!("{value}"),
            (false, Policy::Any, Late::Failed(error)) => format!("{error:?}"),
            (false, _, Late::Done(value)) => format!("Ok({value})"),
            (false, _, Late::Failed(error)) => format!("Err({error:?})"),
            (false, ..) => unreachable!("it has ended by itself"),
        }
    }

    pub fn error_of(&self, index: usize) -> Error {
        match self.children[index].outcome {
            Some(Late::Failed(error)) => error,
            outcome => panic!("child {index} is the cause, with {outcome:?}"),
        }
    }

    /// Of all of them together.
    pub fn output(&self, cause: Cause) -> String {
        let all = |value: &dyn Fn(usize) -> String| {
            let values: Vec<_> = (0..self.count()).map(value).collect();
            format!("[{}]", values.join(", "))
        };
        if self.report {
            let outcomes = all(&|index| format!("{:?}", self.children[index].outcome.expect("it has ended")));
            return format!("{cause:?} {outcomes}");
        }
        // There is no place for values.
        let is_const = self.container == Container::Const;
        let values = || if is_const { "()".into() } else { all(&|index| self.value(index)) };
        match (cause, self.policy) {
            (Cause::Cancelled, _) => "Err(Cancelled)".into(),
            (Cause::Completed, Policy::FailFast) => format!("Ok(Ok({}))", values()),
            (Cause::Completed, Policy::Any) => format!("Ok(Err({}))", values()),
            (Cause::Completed, _) => format!("Ok({})", values()),
            (Cause::Failed(index), _) => format!("Ok(Err({:?}))", self.error_of(index)),
            (Cause::Won(index), _) => match self.children[index].outcome {
                Some(Late::Done(value)) => format!("Ok(Ok({value}))"),
                _ => format!("Ok(Err({:?}))", self.error_of(index)),
            },
            (cause, _) => unreachable!("{cause:?}"),
        }
    }

    /// Drives the future to which an output was handed, and hands over the next one, while they are ready. Whether one is
    /// pending.
    pub fn hand_over(&mut self, makes_room: &mut bool) -> Result<bool, Panicked> {
        loop {
            if let Some((index, taker)) = &mut self.taking {
                let index = *index;
                self.log.push(format!("poll taking {index}"));
                if taker.pending > 0 {
                    taker.pending -= 1;
                    return Ok(true);
                }
                let end = taker.end;
                if end == End::Panic {
                    return Err(Panicked);
                }
                self.drop_taking();
                let fails = end == End::Error && self.policy == Policy::FailFast && !self.report;
                if fails && self.cause.is_none() {
                    self.taking_failed = Some(index);
                    self.cancel(Cause::Failed(index))?;
                    return Ok(false);
                }
            }
            let Some(next) = self.take_next() else { return Ok(false) };
            *makes_room = true;
            self.log.push(format!("take {next} {}", self.value(next)));
            self.taking = Some((next, self.children[next].script.taker));
        }
    }
}
