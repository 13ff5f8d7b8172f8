//! The courses that a gather, a restart or a stream of outputs can take, and what is polled in them.

use std::time::Duration;

use futures_util::StreamExt;
use gather::{Child, Limit, from_stream, from_stream_const, gather, restart};

use crate::handle::{Handle, future, handle, stream};
use crate::matrix::{Place, Who};
use crate::parts::{AnyChild, KINDS, Token, backoff, closure, each, grace, grace_once, hook_once, signal};
use crate::source::{Source, SourceEnd};
use crate::world::world;

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

    pub fn has_own_wakers(self) -> bool {
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

/// How the outputs of a gather come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    AtOnce,
    /// From a stream.
    Stream,
    /// To a closure, whose future is polled beside the children.
    ForEach,
}

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    Gather { policy: Policy, report: bool, way: Way },
    Restart,
}

pub const GROUPS: [Group; 15] = [
    Group::Gather { policy: Policy::FailFast, report: false, way: Way::AtOnce },
    Group::Gather { policy: Policy::FailFast, report: true, way: Way::AtOnce },
    Group::Gather { policy: Policy::Settle, report: false, way: Way::AtOnce },
    Group::Gather { policy: Policy::Settle, report: true, way: Way::AtOnce },
    Group::Gather { policy: Policy::Any, report: false, way: Way::AtOnce },
    Group::Gather { policy: Policy::Any, report: true, way: Way::AtOnce },
    Group::Gather { policy: Policy::Race, report: false, way: Way::AtOnce },
    Group::Gather { policy: Policy::Race, report: true, way: Way::AtOnce },
    Group::Restart,
    Group::Gather { policy: Policy::FailFast, report: false, way: Way::Stream },
    Group::Gather { policy: Policy::FailFast, report: true, way: Way::Stream },
    Group::Gather { policy: Policy::Settle, report: false, way: Way::Stream },
    Group::Gather { policy: Policy::FailFast, report: false, way: Way::ForEach },
    Group::Gather { policy: Policy::FailFast, report: true, way: Way::ForEach },
    Group::Gather { policy: Policy::Settle, report: false, way: Way::ForEach },
];

impl Group {
    pub fn way(self) -> Way {
        match self {
            Group::Gather { way, .. } => way,
            Group::Restart => Way::AtOnce,
        }
    }
}

/// What ends the run of a gather, or of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Every child ends, and none of them stops it.
    Complete,
    /// A child stops it: it fails, or wins.
    Stop,
    Signal,
    /// Whoever polls it cancels it.
    Cancel,
    /// The future of a closure fails.
    Each,
    Drop,
}

pub const ENDS: [End; 6] = [End::Complete, End::Stop, End::Signal, End::Cancel, End::Each, End::Drop];

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
        match self.end {
            End::Cancel if self.group.way() == Way::AtOnce => return false,
            End::Each
                if self.group != (Group::Gather { policy: Policy::FailFast, report: false, way: Way::ForEach }) =>
            {
                return false;
            }
            _ => {}
        }
        let drains = self.drains();
        match self.group {
            // It has no place for outcomes.
            Group::Gather { report: true, way: Way::AtOnce, .. } if self.container.is_source_const() => false,
            // That of 65 fills a group of the waker block too.
            Group::Gather { way: Way::Stream | Way::ForEach, .. } if self.container == Container::Vec(64) => false,
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

    pub fn drains(&self) -> bool {
        !matches!(self.end, End::Complete | End::Drop)
    }

    pub fn count(&self) -> usize {
        self.container.count()
    }

    /// Whether a child that goes on its way succeeds.
    pub fn keeps_ok(&self) -> bool {
        !matches!(self.group, Group::Gather { policy: Policy::Any, .. })
    }

    /// Whether something is handed over of every child.
    pub fn hands_over_all(&self) -> bool {
        matches!(self.group, Group::Gather { report: true, way: Way::Stream | Way::ForEach, .. })
    }

    fn children(&self) -> impl Iterator<Item = AnyChild> + use<> {
        let shift = self.shift;
        (0..self.count()).map(move |index| AnyChild::new(KINDS[(index + shift) % KINDS.len()], index))
    }

    /// Every kind of child stops the gather before each end of the source.
    pub fn source_end(&self) -> SourceEnd {
        [SourceEnd::AtOnce, SourceEnd::Open, SourceEnd::LastLate][(self.shift + 2 * self.stopper) % 3]
    }

    fn source(&self) -> Source<impl Iterator<Item = AnyChild> + use<>> {
        Source::new(self.children(), self.count(), self.source_end())
    }

    pub fn make(&self) -> Box<dyn Handle> {
        macro_rules! with_way {
            ($policy:expr, $report:expr, $way:expr, $gather:expr) => {
                match ($policy, $report, $way) {
                    (Policy::FailFast, false, Way::Stream) => streamed!($gather),
                    (Policy::FailFast, true, Way::Stream) => streamed!($gather.report()),
                    (Policy::Settle, false, Way::Stream) => streamed!($gather.settle()),
                    (Policy::FailFast, false, Way::ForEach) => handed!($gather, try_for_each),
                    (Policy::FailFast, true, Way::ForEach) => handed!($gather.report(), for_each),
                    (Policy::Settle, false, Way::ForEach) => handed!($gather.settle(), for_each),
                    _ => unreachable!("not in the groups"),
                }
            };
        }
        macro_rules! streamed {
            ($gather:expr) => {
                stream($gather.as_completed(), |stream| stream.cancel())
            };
        }
        macro_rules! handed {
            ($gather:expr, $for_each:ident) => {
                future("ForEach", $gather.as_completed().$for_each(each()), |future| future.cancel())
            };
        }
        macro_rules! with_policy {
            ($policy:expr, $report:expr, $way:expr, $gather:expr) => {
                match ($policy, $report) {
                    _ if $way != Way::AtOnce => with_way!($policy, $report, $way, $gather),
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
                    Group::Gather { policy, report, way } => {
                        let course = self;
                        let $gather = gather($children(course));
                        let group = $set.cancel_when(signal()).grace(grace_once()).on_cancel(hook_once());
                        match self.in_reverse {
                            false => with_policy!(policy, report, way, group),
                            true => with_policy!(policy, report, way, group.cancel_in_reverse()),
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
                    Group::Gather { policy, report, way: way @ (Way::Stream | Way::ForEach) } => {
                        let group = gather(from_stream_const::<$places, _>(self.source()));
                        let group = group.cancel_when(signal()).grace(grace_once()).on_cancel(hook_once());
                        match self.in_reverse {
                            false => with_way!(policy, report, way, group),
                            true => with_way!(policy, report, way, group.cancel_in_reverse()),
                        }
                    }
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
