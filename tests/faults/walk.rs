//! A run of a course, from its making to the drop of the last waker.

use std::mem;
use std::rc::Rc;

use crate::course::{Course, DrainEnd, End, Group, Next, Policy, Way};
use crate::matrix::{Fault, Visit, Who};
use crate::parent;
use crate::parts::{KINDS, Kind};
use crate::source::SourceEnd;
use crate::world::World;

/// What came of a run.
pub struct Run {
    pub visits: Vec<Visit>,
    pub shown: Option<String>,
    /// How many outputs were handed over before the end.
    pub handed: usize,
    pub fired: usize,
    pub caught: usize,
    pub blames: Vec<String>,
}

/// Runs a course, with faults in those calls of foreign code.
pub fn run(course: &Course, faults: &[Fault], notes_phase: bool) -> Run {
    let world = World::renew(course.count(), faults);
    world.notes_phase.set(notes_phase);
    world.restart_when.set(course.next != Next::Refused);
    world.keeps_ok.set(course.keeps_ok());
    world.has_own_wakers.set(course.container.has_own_wakers());
    world.hands_over_all.set(course.hands_over_all());
    world.drawn.set(if course.container.is_source() { 0 } else { course.count() });
    for number in [0, 1] {
        parent::make_own(number);
    }
    world.put_handle(course.make());
    let walk = Walk { course, world: world.clone() };
    walk.course();
    walk.end_all();
    world.leave();
    let blames = world.blames.take();
    if !blames.is_empty() {
        // What is left of it is not touched again.
        mem::forget(world.clone());
    }
    Run {
        visits: world.visits.take(),
        shown: world.shown.take(),
        handed: world.handed.take().len(),
        fired: world.fired.get(),
        caught: world.caught.get(),
        blames,
    }
}

/// From outside: what is done at each step of a course. A step for which it is too late does nothing.
struct Walk<'a> {
    course: &'a Course,
    world: Rc<World>,
}

impl Walk<'_> {
    fn course(&self) {
        let Course { end, is_early, stopper, group, .. } = *self.course;
        self.open_some_futures();
        let is_race = matches!(group, Group::Gather { policy: Policy::Race, .. });
        if is_early {
            if end == End::Drop {
                return self.world.drop_handle();
            }
            self.set_end();
            self.first_poll();
        } else {
            self.first_poll();
            self.world.wake_from_outside(Who::Child(stopper));
            self.world.drive();
            if !is_race {
                self.open(Who::Child((stopper + 1) % self.course.count()), self.course.keeps_ok());
                self.world.drive();
                self.fire_own((stopper + 2) % self.course.count());
            }
            match end {
                End::Drop => return self.world.drop_handle(),
                End::Complete => {
                    self.end_children();
                }
                _ => {
                    // So that no fault changes whether it is drawn before the end.
                    self.draw_last();
                    self.world.drive();
                    self.set_end();
                    self.world.drive();
                }
            }
        }
        if self.course.drains() {
            self.drain(self.course.drain_end);
        }
        if group == Group::Restart && end == End::Stop {
            self.next();
        }
    }

    /// Of the closure's futures every other one is ready at once; the others are pending while children end.
    fn open_some_futures(&self) {
        if self.course.group.way() == Way::ForEach && self.course.end != End::Each {
            let ready = (0..self.course.count()).filter(|index| (index + self.course.shift) % 2 == 0);
            ready.for_each(|index| self.world.set(Who::Each(index), true));
        }
    }

    fn first_poll(&self) {
        self.world.is_woken.set(true);
        self.world.drive();
    }

    /// One child is cancelled by a signal of its own.
    fn fire_own(&self, index: usize) {
        if KINDS[(index + self.course.shift) % KINDS.len()] == Kind::Watched {
            self.open(Who::Own(index), true);
            self.world.drive();
        }
    }

    /// Where the last child comes late: now.
    fn draw_last(&self) {
        if self.course.container.is_source() && self.course.source_end() == SourceEnd::LastLate {
            self.open(Who::Source, true);
        }
    }

    /// What ends the run.
    fn set_end(&self) {
        let stopper = self.course.stopper;
        if self.course.is_early {
            self.draw_last();
        }
        match self.course.end {
            End::Complete => {
                (0..self.course.count()).for_each(|index| self.end_child(index));
                if self.course.container.is_source() {
                    self.open(Who::Source, true);
                }
            }
            End::Stop => {
                if self.course.is_early && stopper > 0 {
                    self.open(Who::Child(stopper - 1), self.course.keeps_ok());
                }
                self.open(Who::Child(stopper), !self.course.keeps_ok());
            }
            End::Signal => self.open(Who::Signal, true),
            End::Cancel => self.world.cancel(),
            End::Each => {
                let failing = (stopper + 1) % self.course.count();
                self.end_child(failing);
                self.open(Who::Each(failing), false);
            }
            End::Drop => unreachable!("nothing leads to it"),
        }
    }

    fn drain(&self, end: DrainEnd) {
        let last = self.course.count() - 1;
        self.world.wake_from_outside(Who::Child(last));
        self.world.drive();
        match end {
            DrainEnd::Drop => self.world.drop_handle(),
            DrainEnd::Grace => {
                self.end_child(last);
                self.world.drive();
                self.open(Who::Grace, true);
                self.world.drive();
            }
            DrainEnd::Children | DrainEnd::Signal => {
                // A second signal, or one after a failure, changes nothing in a gather.
                if end == DrainEnd::Signal || self.course.group != Group::Restart {
                    self.open(Who::Signal, true);
                    self.world.drive();
                }
                self.end_children();
            }
        }
    }

    /// After the drain of the first generation.
    fn next(&self) {
        match self.course.next {
            Next::Drop => self.world.drop_handle(),
            Next::Signal => {
                self.open(Who::Signal, true);
                self.world.drive();
            }
            next => {
                self.open(Who::Backoff, true);
                self.world.drive();
                if next == Next::Fails {
                    self.draw_last();
                    self.world.drive();
                    self.open(Who::Child(self.course.stopper), false);
                    self.world.drive();
                    self.drain(DrainEnd::Children);
                } else {
                    self.end_children();
                }
            }
        }
    }

    /// One after the other; of many most at once, unless it matters which ends before another one is told.
    fn end_children(&self) {
        let count = self.course.count();
        let at_once = !(self.course.in_reverse && self.course.group.way() != Way::AtOnce);
        for index in 0..count {
            self.end_child(index);
            if !at_once || index < 2 || index + 3 > count {
                self.world.drive();
            }
        }
        if self.course.container.is_source() {
            self.open(Who::Source, true);
            self.world.drive();
        }
        if self.course.group.way() == Way::ForEach {
            for index in 0..count {
                self.open(Who::Each(index), true);
                if index < 2 || index + 3 > count {
                    self.world.drive();
                }
            }
        }
    }

    /// Opens what it waits for, be it the child or its clean-up.
    fn end_child(&self, index: usize) {
        self.open(Who::Child(index), self.course.keeps_ok());
        self.open(Who::Cleanup(index), true);
    }

    fn open(&self, who: Who, value: bool) {
        self.world.set(who, value);
        if let Who::Child(index) = who {
            // A nested one fails with its first child, and ends with its last.
            self.world.set(Who::Inner(index, 0), value);
            self.world.set(Who::Inner(index, 1), true);
        }
        self.world.wake_from_outside(who);
    }

    /// Whatever the fault was: it ends when everything it waits for has ended.
    fn end_all(&self) {
        for _ in 0..4 {
            if self.world.is_pending() {
                self.end_children();
                self.open(Who::Backoff, true);
                self.world.drive();
            }
        }
    }
}
