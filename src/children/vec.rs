//! `Vec` and boxed slices. Children are polled and dropped in the caller's buffer, and their outputs are written once, into
//! the buffer that becomes the result.
//!
//! Invariants of this module's `unsafe`:
//!
//! - IN-PLACE: from the start on the caller's buffer is neither moved nor grown, and its own `Vec`, whose length is zero, does
//!   not touch it. The waker block is made for as many children as the buffer holds. A child is in the buffer exactly while
//!   its `live` bit is set. It is accessed only by its [`LiveChild`], which exists for live children only, one at a time.
//!   Children are dropped in place, and none is left when the buffer is freed; so they may be pinned. Before the start no
//!   child was pinned. The buffer is held as a `Vec`, not as a `Box`, so that moving the handle does not assert unique access
//!   to its content.
//! - KEPT: a cell holds a value exactly while its `kept` bit is set. The bit is set after the child was dropped and the value
//!   was written, and unset before the value is dropped or taken.

#![allow(unsafe_code, reason = "children dropped one by one in a buffer, and results written into one in any order")]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::mem::{self, MaybeUninit};
use core::ops::{ControlFlow, Range};
use core::pin::Pin;
use core::task::{Context, Waker};

use super::{Children, Container, HandOut, Indexed, IntoChildren, Place, Visit, Visitor, sealed};
use crate::child::{Child, IntoChild};
use crate::judge::{End, Judge, Moment, Policy};
use crate::readiness::{Lent, OpenGroup, Pass, Turn, WakerBlock};

/// The children of a `Vec` or a boxed slice.
pub struct Buffer<C, P, K, X> {
    /// Before the start it holds the children; after it, it is only their memory.
    children: Vec<C>,
    started: Option<Started<K, X>>,
    policy: PhantomData<fn() -> P>,
}

/// What the children need once they are polled.
struct Started<K, X> {
    block: WakerBlock,
    cells: Box<[MaybeUninit<K>]>,
    /// In a box, so that the handle is small even if outputs are large.
    stopped: Option<Box<X>>,
}

// Children are pinned in the buffer, never in the handle (IN-PLACE); outputs are never pinned.
impl<C, P, K, X> Unpin for Buffer<C, P, K, X> {}

impl<C, P, K, X> Buffer<C, P, K, X> {
    fn new(children: Vec<C>) -> Self {
        Buffer { children, started: None, policy: PhantomData }
    }

    /// Drops the live children and the kept outputs in index order. After a panic the rest is dropped too.
    fn drop_left(&mut self) {
        struct Rest<'a, C, P, K, X>(&'a mut Buffer<C, P, K, X>);

        impl<C, P, K, X> Drop for Rest<'_, C, P, K, X> {
            fn drop(&mut self) {
                self.0.drop_left();
            }
        }

        let rest = Rest(self);
        let Buffer { children, started, .. } = &mut *rest.0;
        if let Some(started) = started {
            for number in 0..started.block.groups() {
                let mut group = Group::open(children, started, number, Turn::NONE);
                for position in group.open.left() {
                    if group.open.is_live(position) {
                        group.child(position).end_child();
                    } else {
                        group.drop_kept(position);
                    }
                }
            }
        }
        mem::forget(rest);
    }
}

/// A group of children that is visited.
struct Group<'a, C, K, X> {
    /// The start of the buffer.
    children: *mut C,
    open: OpenGroup<'a>,
    cells: &'a mut [MaybeUninit<K>],
    stopped: &'a mut Option<Box<X>>,
}

impl<'a, C, K, X> Group<'a, C, K, X> {
    #[inline]
    fn open(children: &'a mut Vec<C>, started: &'a mut Started<K, X>, number: usize, turn: Turn) -> Self {
        let Started { block, cells, stopped } = started;
        Group { children: children.as_mut_ptr(), open: block.open(number, turn), cells, stopped }
    }

    /// The child must be live (IN-PLACE). The positions that `live` and `next_woken` of an open group return are live until
    /// their child ends, and a visit ends no child but its own.
    #[inline]
    fn child<'b>(&'b mut self, position: usize) -> LiveChild<'a, 'b, C, K, X> {
        debug_assert!(self.open.is_live(position));
        LiveChild { child: self.children.wrapping_add(self.open.index(position)), position, group: self }
    }

    fn take_kept(&mut self, position: usize) -> K {
        assert!(self.open.is_kept(position));
        self.open.set_kept(position, false);
        // SAFETY: KEPT, its bit was set until now.
        unsafe { self.cells[self.open.index(position)].assume_init_read() }
    }

    fn drop_kept(&mut self, position: usize) {
        assert!(self.open.is_kept(position));
        self.open.set_kept(position, false);
        // SAFETY: KEPT, its bit was set until now.
        unsafe { self.cells[self.open.index(position)].assume_init_drop() };
    }
}

impl<C, P, K, X> Drop for Buffer<C, P, K, X> {
    #[inline]
    fn drop(&mut self) {
        if self.started.is_some() {
            self.drop_left();
        }
    }
}

/// A live child in the buffer, and its group, which is lent to this one alone.
struct LiveChild<'a, 'b, C, K, X> {
    child: *mut C,
    position: usize,
    group: &'b mut Group<'a, C, K, X>,
}

impl<'a, 'b, C, K, X> LiveChild<'a, 'b, C, K, X> {
    #[inline]
    fn parts(&mut self) -> (Pin<&mut C>, &mut OpenGroup<'a>) {
        // SAFETY: IN-PLACE, the child is there and stays where it is.
        (unsafe { Pin::new_unchecked(&mut *self.child) }, &mut self.group.open)
    }

    #[inline]
    fn under<P>(self, lent: &'b mut Lent<'a>) -> Placed<'a, 'b, C, K, X, P> {
        Placed { live: self, lent, policy: PhantomData }
    }

    /// Drops the child.
    #[inline]
    fn end_child(self) -> (usize, &'b mut Group<'a, C, K, X>) {
        self.group.open.end(self.position);
        // SAFETY: IN-PLACE, the child was there; its bit is no longer set, and nothing else leads to it.
        unsafe { self.child.drop_in_place() };
        (self.position, self.group)
    }
}

/// A live child under the policy.
struct Placed<'a, 'b, C, K, X, P> {
    live: LiveChild<'a, 'b, C, K, X>,
    lent: &'b mut Lent<'a>,
    policy: PhantomData<P>,
}

impl<C, K, X, P> Place for Placed<'_, '_, C, K, X, P>
where
    C: Child,
    P: Policy + Judge<C::Output, Kept = K, Stop = X>,
{
    type Child = C;
    type Policy = P;

    #[inline]
    fn child(&mut self) -> Pin<&mut C> {
        self.live.parts().0
    }

    #[inline]
    fn poll_with<R>(&mut self, _: &mut Context<'_>, poll: impl FnOnce(Pin<&mut C>, &mut Context<'_>) -> R) -> R {
        let position = self.live.position;
        let (child, open) = self.live.parts();
        open.with_waker(self.lent, position, |waker| poll(child, &mut Context::from_waker(waker)))
    }

    #[inline]
    fn keep(self, end: End<C::Output>) {
        let (position, Group { open, cells, .. }) = self.live.end_child();
        // The child was live until now, so its cell is empty (KEPT).
        cells[open.index(position)].write(P::keep(end));
        open.set_kept(position, true);
    }

    #[inline]
    fn stop(self, output: C::Output) {
        let (_, group) = self.live.end_child();
        *group.stopped = Some(Box::new(P::stop(output)));
    }

    #[inline]
    fn discard(self) {
        self.live.end_child();
    }
}

impl<C, P, K, X> Indexed for Buffer<C, P, K, X> {
    type Index = usize;
}

impl<C, P, K, X> Children for Buffer<C, P, K, X>
where
    C: Child,
    P: Policy + Judge<C::Output, Kept = K, Stop = X>,
{
    type Policy = P;
    type Kept = Vec<K>;
    type Stop = X;
    const KNOWS_WOKEN: bool = true;
    const DRAINS: bool = C::DRAINS;

    fn count(&self) -> usize {
        match &self.started {
            Some(started) => started.block.children(),
            None => self.children.len(),
        }
    }

    fn each_live(&self, visit: &mut dyn FnMut(usize)) {
        let is_live = |index: &usize| self.started.as_ref().is_none_or(|started| started.block.is_live(*index));
        (0..self.count()).filter(is_live).for_each(visit);
    }

    #[inline]
    fn is_live(self: Pin<&mut Self>) -> bool {
        match &self.started {
            Some(started) => started.block.has_live(),
            None => !self.children.is_empty(),
        }
    }

    fn last_live(self: Pin<&mut Self>, below: usize) -> Option<usize> {
        let block = &self.get_mut().started.as_ref()?.block;
        (0..below.min(block.children())).rev().find(|index| block.is_live(*index))
    }

    fn start(self: Pin<&mut Self>) {
        let this = self.get_mut();
        // Also zero once it was started, as the length of the `Vec` is zero then.
        let count = this.children.len();
        if count == 0 {
            return;
        }
        let block = WakerBlock::new(count);
        let cells = Box::new_uninit_slice(count);
        // SAFETY: the length shrinks. From here on the `live` bits, all set, own the children (IN-PLACE); nothing
        // panics before they do.
        unsafe { this.children.set_len(0) };
        this.started.get_or_insert(Started { block, cells, stopped: None });
    }

    fn rearm(self: Pin<&mut Self>, waker: &Waker) {
        if let Some(started) = &mut self.get_mut().started {
            started.block.rearm(waker);
        }
    }

    #[inline]
    fn visit<V: Visitor>(self: Pin<&mut Self>, which: Visit, visitor: &mut V) -> ControlFlow<()> {
        let Buffer { children, started, .. } = self.get_mut();
        let Some(started) = started else { return ControlFlow::Continue(()) };
        match which {
            Visit::Woken { .. } | Visit::Ahead { .. } => {
                let mut pass = Pass::new(which.ranges());
                while let Some((number, turn)) = pass.next_group(&mut started.block) {
                    let mut group = Group::open(children, started, number, turn);
                    let mut lent = group.open.lend();
                    while let Some(position) = group.open.next_woken() {
                        let index = group.open.index(position);
                        visitor.visit(index, group.child(position).under::<P>(&mut lent))?;
                    }
                }
            }
            Visit::All { .. } | Visit::From(_) => {
                let [Range { start: from, .. }, _] = which.ranges();
                let takes_wakes = matches!(which, Visit::All { .. });
                for number in started.block.group_of(from)..started.block.groups() {
                    let mut group = Group::open(children, started, number, Turn::NONE);
                    let mut lent = group.open.lend();
                    for position in group.open.live(from) {
                        if takes_wakes {
                            group.open.take_wake(position);
                        }
                        let index = group.open.index(position);
                        visitor.visit(index, group.child(position).under::<P>(&mut lent))?;
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn discard_kept(self: Pin<&mut Self>) {
        let Buffer { children, started, .. } = self.get_mut();
        let Some(started) = started else { return };
        for number in 0..started.block.groups() {
            let mut group = Group::open(children, started, number, Turn::NONE);
            for position in group.open.left() {
                if group.open.is_kept(position) {
                    group.drop_kept(position);
                }
            }
        }
    }

    fn take_kept(self: Pin<&mut Self>) -> Vec<K> {
        let started = &mut self.get_mut().started;
        // Before anything is taken, so that after a panic here everything is still dropped.
        assert!(started.as_ref().is_none_or(|started| started.block.keeps_all()));
        let Some(Started { cells, .. }) = started else { return Vec::new() };
        // SAFETY: all `kept` bits are set (KEPT), and go with the block.
        let kept = unsafe { mem::take(cells).assume_init() }.into_vec();
        // This drops the parent's waker, whose destructor may panic; `kept` is dropped then.
        *started = None;
        kept
    }

    fn take_stop(self: Pin<&mut Self>, _: usize) -> X {
        let stopped = self.get_mut().started.as_mut().and_then(|started| started.stopped.take());
        *stopped.expect("the child that stopped the gather left its output")
    }

    fn stop_at(self: Pin<&mut Self>, index: usize) -> Option<&X> {
        let Buffer { children, started, .. } = self.get_mut();
        let Started { block, cells, stopped } = started.as_mut()?;
        if block.is_live(index) {
            // SAFETY: IN-PLACE, the child is there and stays where it is, and no group is open.
            let child = unsafe { Pin::new_unchecked(&mut *children.as_mut_ptr().add(index)) };
            return child.output().and_then(P::stop_of);
        }
        if !block.is_kept(index) {
            return stopped.as_deref();
        }
        // SAFETY: KEPT, its bit is set.
        P::stop_in(unsafe { cells[index].assume_init_ref() })
    }

    fn clear(self: Pin<&mut Self>) {
        let this = self.get_mut();
        if this.started.is_some() {
            this.drop_left();
            this.started = None;
        }
        this.children = Vec::new();
    }
}

impl<C, P, K, X> HandOut for Buffer<C, P, K, X>
where
    C: Child,
    P: Policy + Judge<C::Output, Kept = K, Stop = X>,
{
    type Item = K;

    fn first_kept(self: Pin<&mut Self>, range: Range<usize>, moment: Option<Moment>) -> Option<usize> {
        let Buffer { children, started, .. } = self.get_mut();
        let started = started.as_mut()?;
        for number in started.block.group_of(range.start)..started.block.groups() {
            let group = Group::open(children, started, number, Turn::NONE);
            for position in group.open.kept(range.start) {
                let index = group.open.index(position);
                // SAFETY: KEPT, its bit is set.
                let kept = moment.map(|_| P::moment(unsafe { group.cells[index].assume_init_ref() }));
                if index >= range.end {
                    return None;
                }
                if moment == kept {
                    return Some(index);
                }
            }
        }
        None
    }

    fn last_kept(self: Pin<&mut Self>, range: Range<usize>) -> Option<usize> {
        let Buffer { children, started, .. } = self.get_mut();
        let started = started.as_mut()?;
        let end = range.end.min(started.block.children());
        for number in (started.block.group_of(range.start)..=started.block.group_of(end.checked_sub(1)?)).rev() {
            let group = Group::open(children, started, number, Turn::NONE);
            let kept = group.open.kept(range.start).map(|position| group.open.index(position));
            if let Some(index) = kept.take_while(|index| *index < end).last() {
                return Some(index);
            }
        }
        None
    }

    fn take_kept_at(self: Pin<&mut Self>, index: usize) -> K {
        let Buffer { children, started, .. } = self.get_mut();
        let started = started.as_mut().expect("something is kept of a child that was started");
        let number = started.block.group_of(index);
        let mut group = Group::open(children, started, number, Turn::NONE);
        let position = index - group.open.index(0);
        group.take_kept(position)
    }
}

type OutputOf<C> = <<C as IntoChild>::Child as Child>::Output;
type BufferOf<C, P> =
    Buffer<<C as IntoChild>::Child, P, <P as Judge<OutputOf<C>>>::Kept, <P as Judge<OutputOf<C>>>::Stop>;

impl<C: IntoChild> sealed::Sealed for Vec<C> {}

impl<C: IntoChild> Container for Vec<C> {
    fn count(&self) -> Option<usize> {
        Some(self.len())
    }
}

impl<P, C> IntoChildren<P> for Vec<C>
where
    P: Policy + Judge<<C::Child as Child>::Output>,
    C: IntoChild,
{
    type Children = BufferOf<C, P>;

    fn into_children(self) -> Self::Children {
        Buffer::new(C::into_children(self))
    }

    fn vacant() -> Self::Children {
        Buffer::new(Vec::new())
    }
}

impl<C: IntoChild> sealed::Sealed for Box<[C]> {}

impl<C: IntoChild> Container for Box<[C]> {
    fn count(&self) -> Option<usize> {
        Some(self.len())
    }
}

impl<P, C> IntoChildren<P> for Box<[C]>
where
    P: Policy + Judge<<C::Child as Child>::Output>,
    C: IntoChild,
{
    type Children = BufferOf<C, P>;

    fn into_children(self) -> Self::Children {
        self.into_vec().into_children()
    }

    fn vacant() -> Self::Children {
        Buffer::new(Vec::new())
    }
}
