//! What a script says: of a group, of its children, and of what happens to it from outside.
//!
//! A script is decoded from bytes, so that a property test and a fuzzer run the same ones. Each child and each action
//! takes a fixed number of them, and zero is the simplest choice.

#![allow(dead_code, reason = "a property test needs the counts of bytes, a fuzzer does not")]

use arbitrary::{Arbitrary, Unstructured};

/// What a child does, and how it answers a cancellation.
#[derive(Clone, Debug)]
pub struct Script {
    pub kind: Kind,
    /// How often it is pending before it ends.
    pub pending: usize,
    pub wakes_itself: bool,
    /// The sibling, or the [`SOURCE`], that it wakes in each poll in which it is pending, and in its drop.
    pub wakes: Option<usize>,
    pub end: End,
    /// How often it is pending once it was told, or its clean-up is, or once its output is known. `None`: it never ends.
    pub drain: Option<usize>,
    /// Of a child that shows its output: whether that stays (value), is gone when it is taken (error), or panics when it
    /// is asked for.
    pub drain_end: End,
    pub wrapper: Wrapper,
    /// Whether it is one side of an `EitherChild`, and which.
    pub either: Option<Side>,
    /// Of a child with a signal of its own: how often that is pending before it fires. `None`: until it is fired by hand.
    pub fires: Option<usize>,
    /// In a source: before it is given.
    pub delay: Delay,
    /// What handing its output over takes.
    pub taker: Taker,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Plain,
    Told,
    Cleanup,
    Finally,
    Shield,
    /// Written by hand: shows its output before it has ended.
    Early,
    Cancellable,
}

/// What stands around a child of any kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wrapper {
    None,
    Map,
    MapErr,
    /// `cancel_when`, and `flatten`, as all children have one type of output.
    Watched,
    /// `map`, and around it `cancel_when`.
    MapThenWatched,
    /// The other way round.
    WatchedThenMap,
}

impl Wrapper {
    pub fn is_watched(self) -> bool {
        matches!(self, Wrapper::Watched | Wrapper::MapThenWatched | Wrapper::WatchedThenMap)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Side {
    Left,
    Right,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Value,
    Error,
    Panic,
}

/// How often a source is pending before it has something.
#[derive(Clone, Copy, Debug)]
pub struct Delay {
    pub pending: usize,
    pub wakes_itself: bool,
}

/// The future that a closure of `for_each` or `try_for_each` returns.
#[derive(Clone, Copy, Debug)]
pub struct Taker {
    pub pending: usize,
    pub wakes_itself: bool,
    pub end: End,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Policy {
    FailFast,
    Settle,
    Any,
    Race,
}

/// Where the children are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Container {
    Tuple,
    Array,
    Vec,
    BoxedSlice,
    /// `from_stream`
    Stream,
    /// `from_iter`
    Iter,
    /// `from_stream_const` of [`PLACES`]
    Const,
}

impl Container {
    pub fn is_source(self) -> bool {
        matches!(self, Container::Stream | Container::Iter | Container::Const)
    }

    /// Each pending child is polled, woken or not.
    pub fn polls_all(self) -> bool {
        matches!(self, Container::Tuple | Container::Array | Container::Const)
    }
}

/// How the outputs are taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    Awaited,
    /// `as_completed`, by `next`.
    Items,
    /// `for_each`, or `try_for_each` where a failure ends the group.
    ForEach,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SourceEnd {
    Ends,
    Never,
    Panics,
}

#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// Woken or not.
    Poll,
    ChangeWaker,
    /// A child, or the [`SOURCE`].
    Wake(usize),
    WakeFromThread(usize),
    Signal,
    GraceOver,
    Drop,
    /// The signal of this child's own.
    Fire(usize),
    /// The group, by its parent or by `cancel`.
    Cancel,
}

#[derive(Clone, Debug)]
pub struct Case {
    pub container: Container,
    pub policy: Policy,
    pub form: Form,
    pub report: bool,
    pub limit: Option<usize>,
    pub has_hook: bool,
    pub in_reverse: bool,
    pub scripts: Vec<Script>,
    /// Before the end of the source.
    pub delay: Delay,
    pub source_end: SourceEnd,
    pub actions: Vec<Action>,
}

// ---- from bytes ----

/// Bytes before the children: shape, policy, limit, hook and order; form, source, its end.
pub const HEAD: usize = 7;
pub const CHILD: usize = 12;
pub const ACTION: usize = 3;
pub const MOST_ACTIONS: usize = 24;

// The shapes: a `Vec` of 0 to `MOST_CHILDREN`, or one of the other containers with three children.
pub const MOST_CHILDREN: u8 = 67;
pub const TUPLE: u8 = MOST_CHILDREN + 1;
pub const ARRAY: u8 = MOST_CHILDREN + 2;
pub const BOXED_SLICE: u8 = MOST_CHILDREN + 3;

/// Of whom to wake. A few are nobody's.
const INDICES: u8 = MOST_CHILDREN + 3;

/// The index that stands for the source.
pub const SOURCE: usize = INDICES as usize - 1;

/// Of a source without an allocator.
pub const PLACES: usize = 3;

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

/// Without unwinding a panic ends the process.
fn panic() -> End {
    if cfg!(panic = "unwind") { End::Panic } else { End::Error }
}

impl<'a> Arbitrary<'a> for Delay {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let (pending, wakes_itself) =
            weighted(u, &[(5, (0, false)), (2, (1, true)), (2, (1, false)), (1, (2, true)), (1, (3, false))])?;
        Ok(Delay { pending, wakes_itself })
    }
}

impl<'a> Arbitrary<'a> for Taker {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let byte = u.int_in_range(0..=63u8)?;
        let end = match byte / 4 {
            14 => panic(),
            12 | 13 => End::Error,
            _ => End::Value,
        };
        Ok(Taker { pending: [0, 1, 1, 3][usize::from(byte % 4)], wakes_itself: byte % 4 == 1, end })
    }
}

impl<'a> Arbitrary<'a> for Script {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let ends = [(10, End::Value), (6, End::Error), (1, panic())];
        let kinds = [Kind::Plain, Kind::Told, Kind::Cleanup, Kind::Shield, Kind::Finally, Kind::Early];
        let wrappers = [
            (9, Wrapper::None),
            (2, Wrapper::Map),
            (1, Wrapper::MapErr),
            (4, Wrapper::Watched),
            (1, Wrapper::MapThenWatched),
            (1, Wrapper::WatchedThenMap),
        ];
        let mut script = Script {
            kind: weighted(u, &kinds.map(|kind| (1, kind)))?,
            pending: u.int_in_range(0..=3u8)?.into(),
            wakes_itself: weighted(u, &[(1, false), (1, true)])?,
            wakes: Some(u.int_in_range(0..=3 * INDICES - 1)?)
                .and_then(|at| at.checked_sub(2 * INDICES))
                .map(usize::from),
            end: weighted(u, &ends)?,
            drain: weighted(u, &[(2, Some(0)), (2, Some(1)), (1, Some(2)), (1, None)])?,
            drain_end: weighted(u, &ends)?,
            wrapper: Wrapper::None,
            either: None,
            fires: None,
            delay: Delay { pending: 0, wakes_itself: false },
            taker: Taker { pending: 0, wakes_itself: false, end: End::Value },
        };
        if weighted(u, &[(6, false), (1, true)])? {
            script.kind = Kind::Cancellable;
        }
        script.wrapper = weighted(u, &wrappers)?;
        (script.either, script.fires) = weighted(
            u,
            &[
                (4, (None, None)),
                (1, (None, Some(0))),
                (1, (None, Some(1))),
                (1, (None, Some(2))),
                (1, (Some(Side::Left), None)),
                (1, (Some(Side::Right), Some(1))),
            ],
        )?;
        script.delay = u.arbitrary()?;
        script.taker = u.arbitrary()?;
        Ok(script)
    }
}

impl<'a> Arbitrary<'a> for Action {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let index = u.int_in_range(0..=INDICES - 1)?.into();
        let action = weighted(
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
        )?;
        let other =
            [(12, None), (2, Some(Action::Wake(SOURCE))), (2, Some(Action::Fire(index))), (1, Some(Action::Cancel))];
        Ok(weighted(u, &other)?.unwrap_or(action))
    }
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let (fixed, count) = match u.int_in_range(0..=BOXED_SLICE)? {
            TUPLE => (Container::Tuple, 3),
            ARRAY => (Container::Array, 3),
            BOXED_SLICE => (Container::BoxedSlice, 3),
            count => (Container::Vec, count),
        };
        let policy = weighted(u, &[(3, Policy::FailFast), (1, Policy::Settle), (1, Policy::Any), (1, Policy::Race)])?;
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
        let (form, report) = weighted(
            u,
            &[
                (3, (Form::Awaited, true)),
                (1, (Form::Awaited, false)),
                (2, (Form::Items, false)),
                (2, (Form::Items, true)),
                (2, (Form::ForEach, false)),
                (2, (Form::ForEach, true)),
            ],
        )?;
        let source = [(6, None), (4, Some(Container::Stream)), (1, Some(Container::Iter)), (3, Some(Container::Const))];
        let container = weighted(u, &source)?.unwrap_or(fixed);
        let (pending, wakes_itself, source_end) = weighted(
            u,
            &[
                (4, (0, false, SourceEnd::Ends)),
                (1, (1, true, SourceEnd::Ends)),
                (1, (1, false, SourceEnd::Ends)),
                (2, (0, false, SourceEnd::Never)),
                (1, (1, true, if cfg!(panic = "unwind") { SourceEnd::Panics } else { SourceEnd::Never })),
            ],
        )?;
        let mut scripts = (0..count).map(|_| u.arbitrary()).collect::<Result<Vec<Script>, _>>()?;
        scripts.iter_mut().for_each(|script| script.pending += patience);
        let mut actions = vec![];
        while !u.is_empty() && actions.len() < MOST_ACTIONS {
            actions.push(u.arbitrary()?);
        }
        let delay = Delay { pending, wakes_itself };
        let case =
            Case { container, policy, form, report, limit, has_hook, in_reverse, scripts, delay, source_end, actions };
        Ok(case.offered())
    }
}

impl Case {
    /// Without what the crate does not offer.
    fn offered(mut self) -> Self {
        self.policy = match self.policy {
            // Of these there is one output.
            Policy::Any if self.form != Form::Awaited => Policy::FailFast,
            Policy::Race if self.form != Form::Awaited => Policy::Settle,
            // A race of nobody is refused.
            Policy::Race if self.scripts.is_empty() && !self.container.is_source() => Policy::Any,
            policy => policy,
        };
        if self.container == Container::Const && self.form == Form::Awaited {
            // There is no place for outcomes.
            self.report = false;
        }
        if self.container == Container::Iter {
            // An iterator has its next child at once.
            self.scripts.iter_mut().for_each(|script| script.delay.pending = 0);
            self.delay.pending = 0;
            if self.source_end == SourceEnd::Never {
                self.source_end = SourceEnd::Ends;
            }
        }
        self
    }
}
