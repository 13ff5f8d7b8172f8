//! The model's passes: whose turn it is within one poll of the group, and in which order.

use crate::child::{Late, Modelled};
use crate::model::{Model, Panicked};
use crate::script::{Container, Delay, Form, PLACES, SourceEnd};

/// How a pass ended.
#[derive(Clone, Copy, PartialEq)]
pub enum PassEnd {
    Through,
    /// After so many polls in vain the others have to wait for the next one.
    Cut,
    /// At a child whose output is to be handed out.
    Output,
    /// The source gave as many children as it may.
    Drew,
    /// This child ends the group.
    Stopped(usize),
}

/// What came of a child's turn.
#[derive(PartialEq)]
pub enum Turn {
    Pending,
    Ended,
    Output,
    Stopped,
}

/// How a pass goes over children.
pub struct PassOver {
    /// Outputs do not end it.
    is_through: bool,
    in_reverse: bool,
    /// All that may be polled are, woken or not.
    all: bool,
}

enum Draw {
    Child(usize),
    NoRoom,
    Nothing,
    Enough,
}

impl Model {
    /// A child's turn. `is_through`: its output does not end the pass.
    pub fn turn(&mut self, index: usize, is_through: bool) -> Result<Turn, Panicked> {
        let runs = self.cause.is_none();
        let has_ended = self.poll_child(index)?;
        let child = &self.children[index];
        if has_ended {
            if runs && self.stops(child.outcome.expect("it has just ended")) {
                return Ok(Turn::Stopped);
            }
            if self.form == Form::Items && child.waits && !is_through {
                self.known_next.get_or_insert(index);
                return Ok(Turn::Output);
            }
            return Ok(Turn::Ended);
        }
        match child.shown() {
            Some(shown) if runs && self.stops(shown.map_or_else(Late::Failed, Late::Done)) => Ok(Turn::Stopped),
            _ => Ok(Turn::Pending),
        }
    }

    /// In reverse, when the last one was just told: those before it that were woken.
    pub fn pass_before(&mut self, told: usize) -> Result<(), Panicked> {
        if self.container.is_source() {
            return self.pass_woken(told, true).map(drop);
        }
        let count = self.children.len();
        self.pass_over((0..told).collect(), count, PassOver { is_through: true, in_reverse: true, all: false })
            .map(drop)
    }

    /// One pass over the children, which may be stopped by one of them: of those that have started, and of those for
    /// which there is room.
    pub fn pass(&mut self, is_first: bool) -> Result<PassEnd, Panicked> {
        let runs = self.cause.is_none();
        if self.container.is_source() && runs {
            return self.pass_and_draw();
        }
        if self.container.is_source() && !is_first {
            return Ok(self.pass_woken(self.count(), false)?.0);
        }
        let count = self.count();
        // In reverse no child starts once the group is cancelled, except in its turn.
        let in_reverse = self.in_reverse && !runs;
        let started = if in_reverse { count } else { self.started };
        let from = self.next.min(started);
        let order: Vec<_> = if self.hands_out() && !in_reverse {
            // Goes on in index order, before it goes round.
            (from..count).chain(0..from).chain(started..count).collect()
        } else {
            (from..started).chain(0..from).chain(started..count).collect()
        };
        self.pass_over(order, started, PassOver { is_through: is_first && !runs, in_reverse, all: is_first })
    }

    /// Those from `started` on start, but not in reverse.
    fn pass_over(&mut self, order: Vec<usize>, started: usize, how: PassOver) -> Result<PassEnd, Panicked> {
        let PassOver { is_through, in_reverse, all } = how;
        let polls_all = self.container.polls_all();
        let mut began = None;
        let (mut fruitless, mut cut_at) = (0, None);
        for index in order {
            let child = &self.children[index];
            let starts = !in_reverse && index >= started;
            if !child.is_live || cut_at.is_some() && (!starts || self.hands_out()) {
                continue;
            }
            if starts {
                let had_turn = index < self.started;
                if had_turn || !self.has_room() {
                    continue;
                }
                self.started = index + 1;
            } else if !(all || polls_all || child.is_woken) || in_reverse && !child.was_polled && !child.is_told {
                continue;
            }
            began.get_or_insert(index);
            match self.turn(index, is_through)? {
                Turn::Stopped => return Ok(PassEnd::Stopped(index)),
                Turn::Output => {
                    (self.next, self.origin) = (index + 1, None);
                    return Ok(PassEnd::Output);
                }
                Turn::Ended => fruitless = 0,
                Turn::Pending if !starts && !all && !polls_all => {
                    fruitless += 1;
                    if fruitless == 32 {
                        cut_at = Some(index);
                    }
                }
                Turn::Pending => {}
            }
        }
        if let Some(began) = began {
            // Child by child from the first one of the round, or from where it goes on, to the one behind the cut.
            let count = self.children.len();
            let (origin, from) = self.origin.map_or((began, began), |origin| (origin, self.next));
            let is_round = cut_at.is_none_or(|cut| {
                let mut steps = usize::from(self.origin.is_none())..=(cut + count - from % count) % count + 1;
                steps.any(|step| (from + step) % count == origin)
            });
            let behind = cut_at.map_or(0, |cut| cut + 1);
            (self.next, self.origin) = if is_round { (origin + 1, None) } else { (behind, Some(origin)) };
        }
        self.wakes_itself |= cut_at.is_some();
        Ok(if cut_at.is_some() { PassEnd::Cut } else { PassEnd::Through })
    }

    /// Those who have started and not ended, and until there is a cause those whose outputs wait, take room.
    pub fn has_room(&self) -> bool {
        let takes_room = |child: &&Modelled| child.is_live || child.waits && self.cause.is_none();
        self.children[..self.started].iter().filter(takes_room).count() < self.limit
    }

    /// Someone may start who has not: a child, or what the source has.
    pub fn may_start(&self) -> bool {
        if self.container.is_source() {
            return self.has_source && self.is_askable && self.has_room() && self.has_place();
        }
        let begins = self.cause.is_none() || !self.in_reverse;
        begins && self.is_polled && self.has_room() && self.live().any(|index| index >= self.started)
    }

    // ---- children from a source ----

    /// The children that were woken, then the source. Or the other way round, if the children may have used up what the
    /// runtime allows the last time: then what the source gives has its turn after the others.
    fn pass_and_draw(&mut self) -> Result<PassEnd, Panicked> {
        self.drawn = 0;
        let known = self.started;
        if std::mem::take(&mut self.is_due) {
            while let Draw::Child(_) = self.draw()? {}
        }
        let ahead = known..self.started;
        let (mut end, was_in_vain) = self.pass_woken(known, false)?;
        if !matches!(end, PassEnd::Stopped(_)) {
            for index in ahead {
                if self.turn(index, true)? == Turn::Stopped {
                    end = PassEnd::Stopped(index);
                    break;
                }
            }
        }
        let mut has_asked = false;
        while end == PassEnd::Through {
            match self.draw()? {
                Draw::Child(index) => match self.turn(index, false)? {
                    Turn::Stopped => end = PassEnd::Stopped(index),
                    Turn::Output => end = PassEnd::Output,
                    Turn::Pending | Turn::Ended => {}
                },
                Draw::Enough => end = PassEnd::Drew,
                Draw::NoRoom => break,
                Draw::Nothing => {
                    has_asked = true;
                    break;
                }
            }
        }
        self.is_due |= has_asked && was_in_vain || end == PassEnd::Cut;
        self.wakes_itself |= matches!(end, PassEnd::Cut | PassEnd::Drew);
        Ok(end)
    }

    /// Those below an index that were woken, in any order. Also whether one was pending again.
    fn pass_woken(&mut self, below: usize, is_through: bool) -> Result<(PassEnd, bool), Panicked> {
        let polls_all = self.container.polls_all();
        let may_start = |child: &Modelled| child.was_polled || child.is_told;
        let has_turn = |child: &Modelled| child.is_live && may_start(child) && (polls_all || child.is_woken);
        let woken: Vec<_> = (0..below).filter(|index| has_turn(&self.children[*index])).collect();
        let mut polled = vec![];
        let (mut end, mut was_in_vain, mut fruitless) = (PassEnd::Through, false, 0);
        while let Some(index) = self.whose_turn().filter(|index| *index < below) {
            let child = &self.children[index];
            let is_legal = has_turn(child) || child.is_live && self.has_stale_wakes && !self.is_told_now(index);
            if !is_legal || polled.contains(&index) {
                break;
            }
            polled.push(index);
            match self.turn(index, is_through)? {
                Turn::Stopped => return Ok((PassEnd::Stopped(index), was_in_vain)),
                Turn::Output => end = PassEnd::Output,
                Turn::Ended => fruitless = 0,
                Turn::Pending => {
                    was_in_vain = true;
                    fruitless += 1;
                    if fruitless == 32 && !polls_all {
                        end = PassEnd::Cut;
                    }
                }
            }
            if end != PassEnd::Through {
                break;
            }
        }
        if end == PassEnd::Through {
            let missed: Vec<_> = woken.iter().filter(|index| !polled.contains(index)).collect();
            assert!(missed.is_empty(), "{missed:?} were woken, and not polled: {:?}", self.happened);
        }
        self.wakes_itself |= end == PassEnd::Cut;
        Ok((end, was_in_vain))
    }

    /// The child that the group polled next.
    fn whose_turn(&self) -> Option<usize> {
        let next = self.happened.get(self.log.len())?;
        let index = ["poll clean ", "poll ", "signal "].iter().find_map(|name| next.strip_prefix(name))?;
        index.parse().ok()
    }

    /// In reverse: the poll of this child that comes next is the one when it was told, of which nothing else is heard.
    fn is_told_now(&self, index: usize) -> bool {
        let left = &self.happened[self.log.len()..];
        let is_last = self.cause.is_some() && self.last_live() == Some(index) && !self.children[index].is_told;
        let is_polled_once = left.iter().filter(|entry| **entry == left[0]).count() == 1;
        is_last && is_polled_once && self.children[index].is_told_silently()
    }

    /// Without an allocator.
    fn has_place(&self) -> bool {
        let is_there = |child: &&Modelled| child.is_live || child.waits;
        self.container != Container::Const || self.children.iter().filter(is_there).count() < PLACES
    }

    fn draw(&mut self) -> Result<Draw, Panicked> {
        if !self.has_room() {
            return Ok(Draw::NoRoom);
        }
        if self.drawn == 64 {
            return Ok(Draw::Enough);
        }
        if !self.has_source || !self.has_place() || !(self.is_askable || self.container.polls_all()) {
            return Ok(Draw::Nothing);
        }
        self.asked = self.container != Container::Iter;
        let index = self.started;
        let (is_over, ending) = (index == self.children.len(), self.case.source_end);
        if self.pending > 0 || is_over && ending == SourceEnd::Never {
            self.log.push("source is pending".into());
            self.is_askable = self.pending > 0 && self.delay().wakes_itself;
            self.pending = self.pending.saturating_sub(1);
            return Ok(Draw::Nothing);
        }
        self.is_askable = true;
        if is_over {
            if ending == SourceEnd::Panics {
                return Err(Panicked);
            }
            self.log.push("source ends".into());
            self.drop_source();
            return Ok(Draw::Nothing);
        }
        self.log.push(format!("source gives {index}"));
        self.children[index].is_live = true;
        self.started += 1;
        self.drawn += 1;
        self.begin_delay();
        Ok(Draw::Child(index))
    }

    fn delay(&self) -> Delay {
        self.case.scripts.get(self.started).map_or(self.case.delay, |script| script.delay)
    }

    pub fn begin_delay(&mut self) {
        self.pending = self.delay().pending;
    }
}
