//! The courses that a gather or a restart can take, from its making to the drop of the last waker.

use std::fmt::Debug;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::FusedFuture;
use gather::{Child, Limit, from_stream, from_stream_const, gather, restart};

use crate::matrix::{Fault, Place, Visit, Who};
use crate::parent;
use crate::parts::{AnyChild, KINDS, Kind, Token, backoff, closure, grace, grace_once, hook_once, signal};
use crate::source::{Source, SourceEnd};
use crate::world::{Handle, Held, World, world};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    Tuple,
    Array,
    Vec(usize),
    BoxedSlice,
    /// With fewer places than children.
    LimitedArray,
    LimitedVec(usize),
    Source(usize),
    LimitedSource,
    /// With a place for each child, or with fewer.
    SourceConst,
    NarrowSourceConst,
}

/// 64 children fill a group of the waker block, 65 need another one. Nine from a source need two chunks of places.
pub const CONTAINERS: [Container; 13] = [
    Container::Tuple,
    Container::Array,
    Container::Vec(3),
    Container::Vec(64),
    Container::Vec(65),
    Container::BoxedSlice,
    Container::LimitedArray,
    Container::LimitedVec(65),
    Container::Source(3),
    Container::Source(10),
    Container::LimitedSource,
    Container::SourceConst,
    Container::NarrowSourceConst,
];

impl Container {
    pub fn count(self) -> usize {
        match self {
            Container::Vec(count) | Container::LimitedVec(count) | Container::Source(count) => count,
            _ => 3,
        }
    }

    fn has_own_wakers(self) -> bool {
        !matches!(self, Container::Tuple | Container::Array | Container::LimitedArray) && !self.is_source_const()
    }

    pub fn is_source(self) -> bool {
        matches!(self, Container::Source(_) | Container::LimitedSource) || self.is_source_const()
    }

    fn is_source_const(self) -> bool {
        matches!(self, Container::SourceConst | Container::NarrowSourceConst)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    FailFast,
    Settle,
    Any,
    Race,
}

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    Gather { policy: Policy, report: bool },
    Restart,
}

pub const GROUPS: [Group; 9] = [
    Group::Gather { policy: Policy::FailFast, report: false },
    Group::Gather { policy: Policy::FailFast, report: true },
    Group::Gather { policy: Policy::Settle, report: false },
    Group::Gather { policy: Policy::Settle, report: true },
    Group::Gather { policy: Policy::Any, report: false },
    Group::Gather { policy: Policy::Any, report: true },
    Group::Gather { policy: Policy::Race, report: false },
    Group::Gather { policy: Policy::Race, report: true },
    Group::Restart,
];

/// What ends the run of a gather, or of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Every child ends, and none of them stops it.
    Complete,
    /// A child stops it: it fails, or wins.
    Stop,
    Signal,
    Drop,
}

pub const ENDS: [End; 4] = [End::Complete, End::Stop, End::Signal, End::Drop];

/// What ends the drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DrainEnd {
    /// The last child.
    Children,
    Grace,
    /// A restart is signalled too, and drains to its end.
    Signal,
    Drop,
}

pub const DRAIN_ENDS: [DrainEnd; 4] = [DrainEnd::Children, DrainEnd::Grace, DrainEnd::Signal, DrainEnd::Drop];

/// What follows the drain of a restart's first generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// Another generation, which completes.
    Completes,
    /// Another one, which fails: one more than the limit.
    Fails,
    /// `when` refuses it.
    Refused,
    /// The signal, during the backoff.
    Signal,
    /// The drop, during the backoff.
    Drop,
}

pub const NEXTS: [Next; 5] = [Next::Completes, Next::Fails, Next::Refused, Next::Signal, Next::Drop];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Course {
    pub container: Container,
    pub group: Group,
    pub end: End,
    /// Before the first poll.
    pub is_early: bool,
    pub drain_end: DrainEnd,
    /// Whether the children are cancelled in reverse.
    pub in_reverse: bool,
    pub next: Next,
    /// The child that stops it.
    pub stopper: usize,
    /// By how many places the kinds of the children are shifted.
    pub shift: usize,
}

impl Course {
    /// Those that differ from others in what they do.
    pub fn exists(&self) -> bool {
        let drains = matches!(self.end, End::Stop | End::Signal);
        match self.group {
            // It has no place for outcomes.
            Group::Gather { report: true, .. } if self.container.is_source_const() => false,
            // A race does not complete, and no child stops a `settle`.
            Group::Gather { policy: Policy::Race, .. } if self.end == End::Complete => false,
            Group::Gather { policy: Policy::Settle, .. } if self.end == End::Stop => false,
            // A second signal is a part of every drain.
            Group::Gather { .. } if self.drain_end == DrainEnd::Signal => false,
            Group::Gather { .. } if self.next != Next::Completes => false,
            // What is not reached differs in nothing.
            _ if !drains && (self.drain_end != DrainEnd::Children || self.in_reverse) => false,
            _ if self.in_reverse && !matches!(self.next, Next::Completes | Next::Fails) => false,
            // It has no limit, and every container restarts.
            Group::Restart
                if matches!(
                    self.container,
                    Container::LimitedArray | Container::LimitedVec(_) | Container::LimitedSource
                ) =>
            {
                false
            }
            Group::Restart if self.end != End::Stop || matches!(self.drain_end, DrainEnd::Signal | DrainEnd::Drop) => {
                self.next == Next::Completes && !(self.end == End::Signal && self.drain_end == DrainEnd::Signal)
            }
            _ => true,
        }
    }

    fn count(&self) -> usize {
        self.container.count()
    }

    /// Whether a child that goes on its way succeeds.
    fn keeps_ok(&self) -> bool {
        !matches!(self.group, Group::Gather { policy: Policy::Any, .. })
    }

    fn children(&self) -> impl Iterator<Item = AnyChild> + use<> {
        let shift = self.shift;
        (0..self.count()).map(move |index| AnyChild::new(KINDS[(index + shift) % KINDS.len()], index))
    }

    /// Every kind of child stops the gather before each end of the source.
    fn source_end(&self) -> SourceEnd {
        [SourceEnd::AtOnce, SourceEnd::Open, SourceEnd::LastLate][(self.shift + 2 * self.stopper) % 3]
    }

    fn source(&self) -> Source<impl Iterator<Item = AnyChild> + use<>> {
        Source::new(self.children(), self.count(), self.source_end())
    }

    fn make(&self) -> Box<dyn Handle> {
        macro_rules! with_policy {
            ($policy:expr, $report:expr, $gather:expr) => {
                match ($policy, $report) {
                    (Policy::FailFast, false) => handle("Gather", $gather),
                    (Policy::FailFast, true) => handle("Gather", $gather.report()),
                    (Policy::Settle, false) => handle("Gather", $gather.settle()),
                    (Policy::Settle, true) => handle("Gather", $gather.settle().report()),
                    (Policy::Any, false) => handle("Gather", $gather.any()),
                    (Policy::Any, true) => handle("Gather", $gather.any().report()),
                    (Policy::Race, false) => handle("Gather", $gather.race()),
                    (Policy::Race, true) => handle("Gather", $gather.race().report()),
                }
            };
        }
        macro_rules! with_restart {
            ($children:expr) => {{
                let course = *self;
                let clock = closure(Place::Clock, Who::Group, || Duration::ZERO);
                let make = closure(Place::RestartFactory, Who::Group, move || {
                    world().begin_generation();
                    $children(&course)
                });
                let mut when = closure(Place::When, Who::Group, || world().restart_when.get());
                let mut observe = closure(Place::Observe, Who::Group, || ());
                let mut hook = closure(Place::GroupHook, Who::Group, || ());
                let mut make_backoff = closure(Place::BackoffFactory, Who::Backoff, backoff);
                let group = restart(Limit::within(1, Duration::from_secs(1), clock), make)
                    .when(move |_| when())
                    .observe(move |_| observe())
                    .backoff(move |_| make_backoff())
                    .on_cancel(move |_| hook())
                    .grace(closure(Place::GraceFactory, Who::Grace, grace))
                    .cancel_when(signal());
                match self.in_reverse {
                    false => handle("Restart", group),
                    true => handle("Restart", group.cancel_in_reverse()),
                }
            }};
        }
        macro_rules! with_group {
            ($children:expr, |$gather:ident| $set:expr) => {
                match self.group {
                    Group::Gather { policy, report } => {
                        let course = self;
                        let $gather = gather($children(course));
                        let group = $set.cancel_when(signal()).grace(grace_once()).on_cancel(hook_once());
                        match self.in_reverse {
                            false => with_policy!(policy, report, group),
                            true => with_policy!(policy, report, group.cancel_in_reverse()),
                        }
                    }
                    Group::Restart => with_restart!($children),
                }
            };
        }
        macro_rules! with_source_const {
            ($places:literal) => {{
                macro_rules! gathered {
                    ($map:expr, |$gather:ident| $set:expr) => {{
                        let source = self.source().map($map);
                        let $gather = gather(from_stream_const::<$places, _>(source));
                        let $gather = $gather.cancel_when(signal()).grace(grace_once()).on_cancel(hook_once());
                        match self.in_reverse {
                            false => handle("Gather", $set),
                            true => handle("Gather", $set.cancel_in_reverse()),
                        }
                    }};
                }
                match self.group {
                    Group::Gather { policy: Policy::FailFast, .. } => gathered!(without_value, |gather| gather),
                    Group::Gather { policy: Policy::Settle, .. } => gathered!(without_output, |gather| gather.settle()),
                    Group::Gather { policy: Policy::Any, .. } => gathered!(without_error, |gather| gather.any()),
                    Group::Gather { policy: Policy::Race, .. } => gathered!(|child| child, |gather| gather.race()),
                    Group::Restart => with_restart!(|course: &Course| {
                        from_stream_const::<$places, _>(course.source().map(without_value))
                    }),
                }
            }};
        }
        let three = |course: &Course| -> [AnyChild; 3] {
            let mut children = course.children();
            std::array::from_fn(|_| children.next().expect("there are three"))
        };
        match self.container {
            Container::Tuple => with_group!(|course| <(_, _, _)>::from(three(course)), |gather| gather),
            Container::Array => with_group!(three, |gather| gather),
            Container::LimitedArray => with_group!(three, |gather| gather.concurrency(2)),
            Container::BoxedSlice => {
                with_group!(|course: &Course| course.children().collect::<Box<[_]>>(), |gather| gather)
            }
            Container::Vec(_) => with_group!(|course: &Course| course.children().collect::<Vec<_>>(), |gather| gather),
            Container::LimitedVec(_) => {
                with_group!(|course: &Course| course.children().collect::<Vec<_>>(), |gather| gather.concurrency(2))
            }
            Container::Source(_) => with_group!(|course: &Course| from_stream(course.source()), |gather| gather),
            Container::LimitedSource => {
                with_group!(|course: &Course| from_stream(course.source()), |gather| gather.concurrency(2))
            }
            Container::SourceConst => with_source_const!(3),
            Container::NarrowSourceConst => with_source_const!(2),
        }
    }
}

fn without_value(child: AnyChild) -> impl Child<Output = Result<(), Token>> {
    child.map(|output| output.map(drop))
}

fn without_error(child: AnyChild) -> impl Child<Output = Result<Token, ()>> {
    child.map(|output| output.map_err(drop))
}

fn without_output(child: AnyChild) -> impl Child<Output = ()> {
    child.map(drop)
}

struct Boxed<F>(&'static str, Pin<Box<F>>);

fn handle<F>(name: &'static str, group: F) -> Box<dyn Handle>
where
    F: IntoFuture<Output: Debug + 'static, IntoFuture: FusedFuture + Debug + 'static>,
{
    Box::new(Boxed(name, Box::pin(group.into_future())))
}

impl<F: FusedFuture<Output: Debug + 'static> + Debug> Handle for Boxed<F> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Held> {
        self.1.as_mut().poll(cx).map(|output| Held { shown: format!("{output:?}"), _output: Box::new(output) })
    }

    fn is_terminated(&self) -> bool {
        self.1.is_terminated()
    }

    fn name(&self) -> &'static str {
        self.0
    }

    fn show(&self) -> String {
        format!("{:?}", self.1)
    }
}

/// What came of a run.
pub struct Run {
    pub visits: Vec<Visit>,
    pub shown: Option<String>,
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
        if matches!(end, End::Stop | End::Signal) {
            self.drain(self.course.drain_end);
        }
        if group == Group::Restart && end == End::Stop {
            self.next();
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

    /// One after the other; of many most at once.
    fn end_children(&self) {
        let count = self.course.count();
        for index in 0..count {
            self.end_child(index);
            if index < 2 || index + 3 > count {
                self.world.drive();
            }
        }
        if self.course.container.is_source() {
            self.open(Who::Source, true);
            self.world.drive();
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
