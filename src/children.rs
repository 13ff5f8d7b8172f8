//! Containers of children. They hold the children and their outputs, but no logic: the poll loop is in
//! [`gather`](mod@crate::gather), the steps of one child are in [`Place`].
//!
//! A rule for all code that holds a child, directly or not:
//!
//! - THROUGH-PIN: once a child was polled, everything around it is accessed through `Pin<&mut Self>` and its projections,
//!   never through `&self` or the `Deref` of a `Pin`. An `async` block may borrow from itself, and a shared reference that
//!   covers it claims that nothing in it changes meanwhile (rust-lang/rust#137750). `Debug` and `is_terminated`, whose
//!   signatures demand a shared reference, are called only by users, never within the crate.

mod array;
mod slot;
mod source;
mod tuple;
#[cfg(all(feature = "alloc", any(target_has_atomic = "ptr", feature = "portable-atomic")))]
mod vec;

#[cfg(all(feature = "alloc", any(target_has_atomic = "ptr", feature = "portable-atomic")))]
pub use self::source::{FromStream, from_iter, from_stream};
pub use self::source::{FromStreamConst, from_stream_const};

use core::fmt;
use core::ops::{ControlFlow, Range};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use crate::child::{Child, OnCancel};
use crate::judge::{End, Judge, Moment, Policy};

/// What [`gather`](crate::gather()) takes: a tuple of up to 16 children, an array, or with the feature `alloc` a `Vec` or a
/// boxed slice; or a [source](crate::from_stream). Says nothing about the outputs of the children, unlike [`IntoChildren`].
/// Sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be gathered",
    label = "not a tuple of up to 16 children, an array, a `Vec` or a boxed slice of them",
    note = "several children: `gather((a, b))`; a single one, also a group: `gather([child])`"
)]
#[cfg_attr(
    feature = "alloc",
    diagnostic::on_unimplemented(
        note = "those of an iterator: `iter.collect::<Group<_>>()`, or `from_iter(iter)`, which makes each when its turn comes"
    )
)]
#[cfg_attr(
    not(all(feature = "alloc", any(target_has_atomic = "ptr", feature = "portable-atomic"))),
    diagnostic::on_unimplemented(
        note = "a `Vec` or a boxed slice needs the feature `alloc`, and on a target without compare-and-swap also the \
                feature `portable-atomic`"
    )
)]
pub trait Container: sealed::Sealed {
    /// How many children there are. `None` for a source.
    #[doc(hidden)]
    fn count(&self) -> Option<usize>;
}

/// A container of children that fits the policy `P`: a tuple of up to 16 children of any types, an array `[C; N]`, with the
/// feature `alloc` a `Vec<C>` or a `Box<[C]>`, or a [source](crate::from_stream). A child is whatever is
/// [`IntoChild`](crate::IntoChild): a future, an adapter of one, or a group. Sealed.
///
/// On targets without compare-and-swap, such as thumbv6m, `Vec`, boxed slice and `from_stream` need the feature
/// `portable-atomic` as well.
///
/// The policy decides what outputs the children may have: under [`FailFast`](crate::policy::FailFast) each returns a
/// `Result`, all with the same type of error.
///
/// | container | when it is polled | memory |
/// |---|---|---|
/// | tuple, array | each pending child, with the caller's waker | in place, nothing allocated |
/// | `Vec`, boxed slice | the children that were woken, each with a waker of its own | in the caller's buffer; one or two allocations for any number of children |
/// | source | see [`from_stream`], [`from_stream_const`] | |
///
/// *Complexity.* A poll takes O(children) time in a tuple or an array, and O(woken children) in a `Vec`, however many others
/// there are. A wake of a child of a `Vec` takes constant time, without a lock, from any thread. A `Vec` allocates the
/// buffer of the outputs, which is returned as the result. For up to 63 children (31 on 32 bits) it allocates a second time
/// when a child first clones its waker, for more children at the start; on 64 bits this block has 120 bytes, and for more
/// than 63 children 64 more for every 64. It lives as long as the last waker of a child. A failure puts its error into a
/// box.
///
/// # Examples
///
/// ```
/// use gather::gather;
/// use std::future::ready;
/// # pollster::block_on(async {
///
/// assert_eq!(gather((ready(Ok::<_, ()>(1)), ready(Ok("one")))).await, Ok((1, "one")));
/// assert_eq!(gather([1, 2].map(|n| ready(Ok::<_, ()>(n)))).await, Ok([1, 2]));
/// # #[cfg(feature = "alloc")] {
/// let many: Vec<_> = (0..1000).map(|n| ready(Ok::<_, ()>(n))).collect();
/// assert_eq!(gather(many).await, Ok((0..1000).collect::<Vec<_>>()));
/// # }
/// # });
/// ```
///
/// As a bound of your own functions:
///
/// ```
/// use gather::{Group, IntoChildren, gather, policy::FailFast};
/// use std::future::ready;
///
/// async fn all<I: IntoChildren<FailFast>>(children: I) -> <Group<I> as IntoFuture>::Output {
///     gather(children).await
/// }
///
/// assert_eq!(pollster::block_on(all((ready(Ok::<_, ()>(1)), ready(Ok(2))))), Ok((1, 2)));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be gathered",
    label = "not a tuple of up to 16 children, an array, a `Vec` or a boxed slice of them",
    note = "several children: `(a, b)`; a single one, also a group: `[child]`",
    note = "a factory of `restart` returns the children themselves, not `gather(..)` of them, and not a future of them: put \
            an `await` into the child that needs it"
)]
#[cfg_attr(
    feature = "alloc",
    diagnostic::on_unimplemented(
        note = "those of an iterator: `iter.collect::<Group<_>>()`, or `from_iter(iter)`, which makes each when its turn comes"
    )
)]
#[cfg_attr(
    not(all(feature = "alloc", any(target_has_atomic = "ptr", feature = "portable-atomic"))),
    diagnostic::on_unimplemented(
        note = "a `Vec` or a boxed slice needs the feature `alloc`, and on a target without compare-and-swap also the \
                feature `portable-atomic`"
    )
)]
pub trait IntoChildren<P>: Container {
    /// The children as they run.
    #[doc(hidden)]
    type Children: Children<Policy = P>;

    #[doc(hidden)]
    fn into_children(self) -> Self::Children;
    /// A container without children, to be replaced by that of a generation.
    #[doc(hidden)]
    fn vacant() -> Self::Children;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// How children are counted. Apart from [`Children`], so that the type of a future holds for any child.
pub trait Indexed {
    /// An integer that holds the index of any child.
    type Index: Index;
}

/// The children of a gather that runs.
pub trait Children: Indexed {
    /// The policy: what becomes of the outputs.
    type Policy: Policy;
    /// The kept outputs, in the shape of the children.
    type Kept;
    /// What is kept of the output that stopped the gather.
    type Stop;
    /// Whether `Visit::Woken` visits only the woken children. If not, it visits all.
    const KNOWS_WOKEN: bool;
    /// Whether children are drawn from a source.
    const DRAWS: bool = false;
    /// Whether one of them can drain.
    const DRAINS: bool;

    /// How many children there are or were; from a source, how many were drawn. For `Debug`, and for children that were not
    /// polled.
    fn count(&self) -> usize;

    /// Calls `visit` with the index of each child that has not ended, in index order. For `Debug`, which has only a shared
    /// reference.
    fn each_live(&self, visit: &mut dyn FnMut(usize));

    /// Whether a child is left, or may still come.
    fn is_live(self: Pin<&mut Self>) -> bool;

    /// The last child below this index that has not ended.
    fn last_live(self: Pin<&mut Self>, below: usize) -> Option<usize>;

    /// Called before the first visit.
    fn start(self: Pin<&mut Self>);

    /// Called at the end of a poll that is pending. From now on this waker is woken when a child is; it is woken at once if a
    /// child was woken since its turn.
    fn rearm(self: Pin<&mut Self>, waker: &Waker);

    /// Visits the live children in the order of the visit, until the visitor breaks. Except under `From`, a child that is
    /// visited no longer counts as woken; one that was not reached still does.
    fn visit<V: Visitor>(self: Pin<&mut Self>, which: Visit, visitor: &mut V) -> ControlFlow<()>;

    /// Draws one more child, if the source was woken and has one, and if there is a place for it. Returns its index.
    fn draw(self: Pin<&mut Self>, _: &mut Context<'_>) -> Option<usize> {
        None
    }

    /// Marks the source as due: it may have a child, and had no turn to give it.
    fn put_off_source(self: Pin<&mut Self>) {}

    /// Whether the source was due, so that its turn comes before that of the children. It no longer is.
    fn take_due(self: Pin<&mut Self>) -> bool {
        false
    }

    /// Records that the gather was stopped before children from this index on, which were drawn, were polled.
    fn leave_unpolled(self: Pin<&mut Self>, _: usize) {}

    /// The index that [`leave_unpolled`](Self::leave_unpolled) has recorded.
    fn unpolled_from(self: Pin<&mut Self>) -> usize {
        usize::MAX
    }

    /// Drops the source, so that no more children come.
    fn close(self: Pin<&mut Self>) {}

    /// Drops the kept outputs, but not the one that stopped the gather.
    fn discard_kept(self: Pin<&mut Self>);

    /// Takes the kept outputs. All children must have ended, and the output of each must have been kept.
    fn take_kept(self: Pin<&mut Self>) -> Self::Kept;

    /// Takes the output with which the child of this index stopped the gather.
    fn take_stop(self: Pin<&mut Self>, index: usize) -> Self::Stop;

    /// Borrows that output, even if the child has not ended yet, or if the output was kept with the others. `None` if the
    /// policy cannot borrow it.
    fn stop_at(self: Pin<&mut Self>, index: usize) -> Option<&Self::Stop>;

    /// Drops all that is left, in index order.
    fn clear(self: Pin<&mut Self>);
}

/// Children whose kept outputs can be taken one by one, all of one type.
#[diagnostic::on_unimplemented(
    message = "outputs as they come need children of one type of output",
    label = "the children's outputs are of several types",
    note = "`map` each child's output to an enum of them"
)]
pub trait HandOut: Children {
    /// The type of the kept outputs.
    type Item;

    /// The first child in a range whose output is kept; if a moment is given, the first that ended at it.
    fn first_kept(self: Pin<&mut Self>, range: Range<usize>, moment: Option<Moment>) -> Option<usize>;

    /// The last child in a range whose output is kept.
    fn last_kept(self: Pin<&mut Self>, range: Range<usize>) -> Option<usize>;

    /// Takes the kept output of the child of this index.
    fn take_kept_at(self: Pin<&mut Self>, index: usize) -> Self::Item;
}

/// Whether an output is kept; if a moment is given, that of a child that ended at it.
fn is_of(kept: Option<Moment>, moment: Option<Moment>) -> bool {
    kept.is_some() && (moment.is_none() || kept == moment)
}

/// Which children are visited, and in which order.
#[derive(Clone, Copy)]
pub enum Visit {
    /// The woken children below an index: in index order from `from` on, then those before it. Children from a source are
    /// visited in the order of their positions.
    Woken { from: usize, below: usize },
    /// Only the woken children of this range, in index order.
    Ahead { from: usize, below: usize },
    /// All children from an index on, woken or not, in index order.
    All { from: usize },
    /// The same, but woken children still count as woken.
    From(usize),
}

impl Visit {
    /// The indices, one range after the other.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn ranges(self) -> [Range<usize>; 2] {
        match self {
            Visit::Woken { from, below } => {
                let from = from.min(below);
                [from..below, 0..from]
            }
            Visit::Ahead { from, below } => [from..below, 0..0],
            Visit::All { from } | Visit::From(from) => [from..usize::MAX, 0..0],
        }
    }
}

/// What a visit does with each child.
pub trait Visitor {
    fn visit(&mut self, index: usize, place: impl Place) -> ControlFlow<()>;
}

/// The result of polling a child.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Pending,
    Ended,
    /// It ended and stopped the gather. Only for running children.
    Stopped,
    /// It has not ended, but shows an output that stops the gather. Only for running children.
    Stopping,
}

/// The place of one live child in its container, and the steps of its life:
///
/// ```text
///          poll: ready            ┌ keeps all ─> keep(Done)
/// live ──────────────────> judge ─┼ keep ──────> keep(Done)
///  │                              └ stop ──────> stop
///  │ cancel ── Drop ─────────────────────┐
///  └────────── Drain ─> live, drained: ──┴ keeps all ─> keep(Drained | Dropped | Abandoned), else discard
/// ```
///
/// A child that stops the gather before it has ended, by the output that it shows, is cancelled like its siblings. When it
/// ends, its output is judged as above.
///
/// Whether a live child is pending or draining is not recorded for each: while the gather runs all are pending, while it
/// drains all are draining.
pub trait Place: Sized {
    type Child: Child;
    type Policy: Policy + Judge<OutputOf<Self>>;

    fn child(&mut self) -> Pin<&mut Self::Child>;

    /// The position of the place: the index of the child, unless places are used again.
    fn position(&self, index: usize) -> usize {
        index
    }

    /// Calls `poll` with the child and its context.
    fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut Self::Child>, &mut Context<'_>) -> R,
    ) -> R {
        poll(self.child(), cx)
    }

    /// Drops the child, and keeps how it ended.
    fn keep(self, end: End<OutputOf<Self>>);

    /// Drops the child, and keeps its output as the one that stopped the gather.
    fn stop(self, output: OutputOf<Self>);

    /// Drops the child, and keeps nothing.
    fn discard(self);

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn poll(mut self, cx: &mut Context<'_>) -> Step {
        match self.poll_with(cx, Child::poll_child) {
            Poll::Pending if Self::Child::SHOWS => match self.child().output() {
                Some(output) if Self::Policy::stops(output) => Step::Stopping,
                _ => Step::Pending,
            },
            Poll::Pending => Step::Pending,
            Poll::Ready(output) => {
                let stops = Self::Policy::stops(&output);
                if stops && !Self::Policy::KEEPS_ALL {
                    self.stop(output);
                } else {
                    self.keep(End::Done(output));
                }
                if stops { Step::Stopped } else { Step::Ended }
            }
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn cancel(mut self, is_cause: bool) -> OnCancel {
        if !Self::Child::DRAINS {
            self.end(End::Dropped, false);
            return OnCancel::Drop;
        }
        let answer = self.child().cancel();
        if let OnCancel::Drop = answer {
            self.cut_off(End::Dropped, is_cause);
        }
        answer
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn drain(mut self, cx: &mut Context<'_>, is_cause: bool) -> Step {
        let polled = self.poll_with(cx, Child::poll_drain);
        self.drained(polled, is_cause)
    }

    /// Polls a child that is not told yet although the cause is set.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn poll_late(mut self, cx: &mut Context<'_>, is_cause: bool) -> Step {
        let polled = self.poll_with(cx, Child::poll_child);
        self.drained(polled.map(Some), is_cause)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn drained(self, polled: Poll<Option<OutputOf<Self>>>, is_cause: bool) -> Step {
        match polled {
            Poll::Pending => Step::Pending,
            Poll::Ready(output) => {
                self.end(End::Drained(output), is_cause);
                Step::Ended
            }
        }
    }

    /// Drops the child before its end. An output that it shows is not lost.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn cut_off(mut self, end: End<OutputOf<Self>>, is_cause: bool) {
        let shown = if Self::Child::SHOWS { self.child().take_output() } else { None };
        let end = match shown {
            Some(output) => End::Drained(Some(output)),
            None => end,
        };
        self.end(end, is_cause);
    }

    /// Handles an end after the cause, which may be this child's own output.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn end(self, end: End<OutputOf<Self>>, is_cause: bool) {
        // A child that is the cause and has not ended has shown its output.
        let is_cause = Self::Child::SHOWS && is_cause;
        match end {
            End::Drained(Some(output)) if is_cause && Self::Policy::stops(&output) => {
                if Self::Policy::KEEPS_ALL {
                    self.keep(End::Done(output));
                } else {
                    self.stop(output);
                }
            }
            _ if is_cause => panic!("a child's output has ended the group, but the child ended without it"),
            end if Self::Policy::KEEPS_ALL => self.keep(end),
            _ => self.discard(),
        }
    }
}

type OutputOf<L> = <<L as Place>::Child as Child>::Output;

/// An index, in as few bytes as the container needs.
pub trait Index: Copy + fmt::Debug {
    fn new(index: usize) -> Self;
    fn get(self) -> usize;
}

macro_rules! impl_index {
    ($($integer:ty)*) => {$(
        impl Index for $integer {
            fn new(index: usize) -> Self {
                index as $integer
            }

            fn get(self) -> usize {
                self as usize
            }
        }
    )*};
}

impl_index! { u8 u32 usize }
