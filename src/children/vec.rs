//! `Vec` and boxed slices: children are polled and dropped in the caller's buffer, and what is kept of them is written
//! once, into the buffer that becomes the result.
//!
//! Invariants of this module's `unsafe`:
//!
//! - IN-PLACE: from the start on the caller's buffer is neither moved, grown, nor touched by its own `Vec`, whose
//!   length is zero, and the waker block is made for as many children as lie in it. A child is there exactly while its
//!   `live` bit is set, that of its open group while there is one. Only its [`LiveChild`] leads to it, of which there
//!   is one at a time, made for a live child alone. It is dropped where it is, and none is left when the buffer is
//!   freed; so it may be pinned. Before the start no child was pinned. It is held as a `Vec`, never as a `Box`, so that
//!   moving the handle says nothing of its content.
//! - KEPT: a cell holds a value exactly while its `kept` bit is set. A bit is set after the child was dropped and the
//!   value was written, and unset before it is dropped or taken.
//! - ONE-TYPE: the cells of a `Buffer<C, P>` were made for `<P as Judge<C::Output>>::Kept`, as many as there are
//!   children, and hold nothing else. `P` changes only before the start, when there are no cells.

#![allow(unsafe_code, reason = "children dropped one by one in a buffer, and results written into one in any order")]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::mem::{self, MaybeUninit};
use core::ops::{ControlFlow, Range};
use core::pin::Pin;
use core::ptr::{self, NonNull};
use core::task::{Context, Waker};

use super::{Children, IntoChildren, Place, Span, Visitor, sealed};
use crate::child::Child;
use crate::gather::{Gather, gather};
use crate::outcome::End;
use crate::policy::{Judge, Policy};
use crate::readiness::{OpenGroup, WakerBlock};

/// The children of a `Vec` or a boxed slice.
pub struct Buffer<C: Child, P> {
    /// Holds all children before the start, and is their memory after it.
    children: Vec<C>,
    started: Option<Started<C::Output>>,
    policy: PhantomData<fn() -> P>,
}

/// What the children need once they are polled.
struct Started<O> {
    block: WakerBlock,
    cells: Cells<O>,
    stopped: Option<O>,
}

// Children are pinned in the buffer, never in the handle (IN-PLACE); outputs are never pinned.
impl<C: Child, P> Unpin for Buffer<C, P> {}

impl<C: Child, P> Buffer<C, P> {
    fn new(children: Vec<C>) -> Self {
        Buffer { children, started: None, policy: PhantomData }
    }

    fn left(&self) -> usize {
        match &self.started {
            Some(started) => started.block.live_count(),
            None => self.children.len(),
        }
    }

    fn count(&self) -> usize {
        match &self.started {
            Some(started) => started.block.children(),
            None => self.children.len(),
        }
    }

    fn is_live_at(&self, index: usize) -> bool {
        match &self.started {
            Some(started) => started.block.is_live(index),
            None => index < self.children.len(),
        }
    }

    /// Drops the live children and the kept values in index order. A panic does not keep the rest from being dropped.
    fn drop_left(&mut self) {
        struct Rest<'a, C: Child, P>(&'a mut Buffer<C, P>);

        impl<C: Child, P> Drop for Rest<'_, C, P> {
            fn drop(&mut self) {
                self.0.drop_left();
            }
        }

        let rest = Rest(self);
        let Buffer { children, started, .. } = &mut *rest.0;
        if let Some(started) = started {
            for number in 0..started.block.groups() {
                let mut group = started.open::<C, P>(children, number);
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

impl<O> Started<O> {
    #[inline]
    fn open<'a, C: Child<Output = O>, P>(&'a mut self, children: &'a mut Vec<C>, number: usize) -> Group<'a, C, P> {
        let Started { block, cells, stopped } = self;
        Group { children: children.as_mut_ptr(), open: block.open(number), cells, stopped, policy: PhantomData }
    }
}

/// A group of children that is visited.
struct Group<'a, C: Child, P> {
    /// The start of the buffer.
    children: *mut C,
    open: OpenGroup<'a>,
    cells: &'a mut Cells<C::Output>,
    stopped: &'a mut Option<C::Output>,
    policy: PhantomData<P>,
}

impl<'a, C: Child, P> Group<'a, C, P> {
    /// The child must be live (IN-PLACE): so are the positions that `live` and `next_woken` of an open group give out,
    /// until they end; and a visit ends no other child than its own.
    #[inline]
    fn child<'b>(&'b mut self, position: usize) -> LiveChild<'a, 'b, C, P> {
        debug_assert!(self.open.is_live(position));
        LiveChild { child: self.children.wrapping_add(self.open.index(position)), position, group: self }
    }

    fn drop_kept(&mut self, position: usize) {
        assert!(self.open.is_kept(position));
        self.open.set_kept(position, false);
        // SAFETY: KEPT, its bit was set until now.
        unsafe { self.cells.drop_value(self.open.index(position)) };
    }
}

impl<C: Child, P> Drop for Buffer<C, P> {
    fn drop(&mut self) {
        self.drop_left();
    }
}

/// A live child in the buffer, and its group, which is lent to this one alone.
struct LiveChild<'a, 'b, C: Child, P> {
    child: *mut C,
    position: usize,
    group: &'b mut Group<'a, C, P>,
}

impl<'a, 'b, C: Child, P> LiveChild<'a, 'b, C, P> {
    #[inline]
    fn parts(&mut self) -> (Pin<&mut C>, &OpenGroup<'a>) {
        // SAFETY: IN-PLACE, the child is there and stays where it is.
        (unsafe { Pin::new_unchecked(&mut *self.child) }, &self.group.open)
    }

    /// Destroys the child.
    #[inline]
    fn end_child(self) -> (usize, &'b mut Group<'a, C, P>) {
        self.group.open.end(self.position);
        // SAFETY: IN-PLACE, the child was there; its bit is no longer set, and nothing else leads to it.
        unsafe { self.child.drop_in_place() };
        (self.position, self.group)
    }
}

impl<C, P> Place<P> for LiveChild<'_, '_, C, P>
where
    C: Child,
    P: Policy + Judge<C::Output>,
{
    type Child = C;
    type Output = C::Output;
    type Judge = P;
    const KEEPS_ALL: bool = P::KEEPS_ALL;

    #[inline]
    fn child(&mut self) -> Pin<&mut C> {
        self.parts().0
    }

    #[inline]
    fn poll_with<R>(&mut self, _: &mut Context<'_>, poll: impl FnOnce(Pin<&mut C>, &mut Context<'_>) -> R) -> R {
        let position = self.position;
        let (child, open) = self.parts();
        open.with_waker(position, |waker| poll(child, &mut Context::from_waker(waker)))
    }

    #[inline]
    fn keep(self, end: End<C::Output>) {
        let (position, Group { open, cells, .. }) = self.end_child();
        // SAFETY: ONE-TYPE; the child was live until now, so its cell is empty (KEPT).
        unsafe { cells.write::<P::Kept>(open.index(position), P::keep(end)) };
        open.set_kept(position, true);
    }

    #[inline]
    fn stop(self, output: C::Output) {
        let (_, group) = self.end_child();
        *group.stopped = Some(output);
    }

    #[inline]
    fn discard(self) {
        self.end_child();
    }
}

impl<P, C> Children<P> for Buffer<C, P>
where
    P: Policy + Judge<C::Output>,
    C: Child,
{
    type Kept = Vec<P::Kept>;
    type Stop = P::Stop;
    const KNOWS_WOKEN: bool = true;

    fn is_live(self: Pin<&mut Self>) -> bool {
        self.left() != 0
    }

    fn start(self: Pin<&mut Self>) {
        let this = self.get_mut();
        // Zero also once it was started: the `Vec` itself knows of none then.
        let count = this.children.len();
        if count == 0 {
            return;
        }
        let block = WakerBlock::new(count);
        let cells = Cells::new::<P::Kept>(count);
        // SAFETY: the length shrinks. From here on the `live` bits, all set, own the children (IN-PLACE); nothing
        // panics before they do.
        unsafe { this.children.set_len(0) };
        this.started = Some(Started { block, cells, stopped: None });
    }

    fn rearm(self: Pin<&mut Self>, waker: &Waker) {
        if let Some(started) = &mut self.get_mut().started {
            started.block.rearm(waker);
        }
    }

    #[inline]
    fn visit<V: Visitor<P>>(self: Pin<&mut Self>, span: Span, visitor: &mut V) -> ControlFlow<()> {
        let Buffer { children, started, .. } = self.get_mut();
        let Some(started) = started else { return ControlFlow::Continue(()) };
        match span {
            Span::Woken { .. } => {
                for range in span.ranges() {
                    let mut groups = started.block.woken(range.clone());
                    while let Some(number) = groups.next_group(&started.block) {
                        let mut group = started.open::<C, P>(children, number);
                        let mut woken = group.open.woken(&range);
                        let flow = loop {
                            let Some(position) = group.open.next_woken(&mut woken) else {
                                break ControlFlow::Continue(());
                            };
                            if visitor.visit(group.open.index(position), group.child(position)).is_break() {
                                break ControlFlow::Break(());
                            }
                        };
                        drop(group);
                        started.block.put_back(number, woken);
                        flow?;
                    }
                }
            }
            Span::All | Span::From(_) => {
                let [Range { start: from, .. }, _] = span.ranges();
                let takes_wakes = matches!(span, Span::All);
                for number in started.block.group_of(from)..started.block.groups() {
                    let mut group = started.open::<C, P>(children, number);
                    for position in group.open.live(from) {
                        if takes_wakes {
                            group.open.take_wake(position);
                        }
                        visitor.visit(group.open.index(position), group.child(position))?;
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn discard_kept(self: Pin<&mut Self>, _: Option<usize>) {
        let Buffer { children, started, .. } = self.get_mut();
        let Some(started) = started else { return };
        for number in 0..started.block.groups() {
            let mut group = started.open::<C, P>(children, number);
            for position in group.open.left() {
                if group.open.is_kept(position) {
                    group.drop_kept(position);
                }
            }
        }
    }

    fn take_kept(self: Pin<&mut Self>) -> Vec<P::Kept> {
        match self.get_mut().started.take() {
            Some(Started { block, cells, .. }) => {
                assert_eq!(block.kept_count(), block.children());
                // SAFETY: ONE-TYPE; all `kept` bits are set (KEPT), and go with the block.
                let kept = unsafe { cells.into_box::<P::Kept>().assume_init().into_vec() };
                // With it goes the parent's waker, whose destructor may panic. Were it dropped at the end of the block,
                // a panic would leak the value of the block.
                drop(block);
                kept
            }
            None => Vec::new(),
        }
    }

    fn take_stop(self: Pin<&mut Self>, _: usize) -> P::Stop {
        let stopped = self.get_mut().started.as_mut().and_then(|started| started.stopped.take());
        P::stop(stopped.expect("the child that stopped the gather left its output"))
    }

    fn clear(self: Pin<&mut Self>) {
        let this = self.get_mut();
        this.drop_left();
        this.started = None;
        this.children = Vec::new();
    }
}

/// A boxed slice of `MaybeUninit` values, of a type that only the functions know.
///
/// What is kept under a policy is known where the policy can judge the output; a gather must be a type without that, so
/// that `gather(..).settle()` takes children whose output is no `Result`.
struct Cells<O> {
    cells: NonNull<u8>,
    count: usize,
    of: &'static CellType,
    outputs: PhantomData<O>,
}

// SAFETY: the cells hold values that were made of outputs and hold nothing else ([`Judge`]), and own them.
unsafe impl<O: Send> Send for Cells<O> {}
// SAFETY: as above.
unsafe impl<O: Sync> Sync for Cells<O> {}

/// What is done with cells where their type is not known.
struct CellType {
    /// Of cells of this type, the one of this index, which holds a value.
    drop_value: unsafe fn(NonNull<u8>, usize),
    /// All cells, made by [`Cells::new`] for this type and with this count. Drops no value. They are the caller's.
    free: unsafe fn(NonNull<u8>, usize),
}

impl CellType {
    const fn of<K>() -> Self {
        CellType {
            // SAFETY: the caller's, of `Cells::drop_value`.
            drop_value: |cells, index| unsafe { cells.cast::<K>().add(index).drop_in_place() },
            // SAFETY: the caller's, of `CellType::free`.
            free: |cells, count| unsafe { drop(boxed::<K>(cells, count)) },
        }
    }
}

/// # Safety
///
/// The cells were made by `Cells::new::<K>(count)`, and are owned by the caller.
unsafe fn boxed<K>(cells: NonNull<u8>, count: usize) -> Box<[MaybeUninit<K>]> {
    // SAFETY: by the caller.
    unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(cells.cast::<MaybeUninit<K>>().as_ptr(), count)) }
}

impl<O> Cells<O> {
    fn new<K>(count: usize) -> Self {
        let cells = NonNull::from(Box::leak(Box::<[K]>::new_uninit_slice(count))).cast();
        Cells { cells, count, of: const { &CellType::of::<K>() }, outputs: PhantomData }
    }

    /// # Safety
    ///
    /// `K` is the type that the cells were made for, the index is that of a child, and the cell is empty.
    unsafe fn write<K>(&mut self, index: usize, value: K) {
        debug_assert!(index < self.count);
        // SAFETY: by the caller.
        unsafe { self.cells.cast::<K>().add(index).write(value) };
    }

    /// # Safety
    ///
    /// The index is that of a child, and the cell holds a value.
    unsafe fn drop_value(&mut self, index: usize) {
        debug_assert!(index < self.count);
        // SAFETY: by the caller.
        unsafe { (self.of.drop_value)(self.cells, index) };
    }

    /// # Safety
    ///
    /// `K` is the type that the cells were made for.
    unsafe fn into_box<K>(self) -> Box<[MaybeUninit<K>]> {
        let this = mem::ManuallyDrop::new(self);
        // SAFETY: by the caller; `self` is not dropped.
        unsafe { boxed(this.cells, this.count) }
    }
}

impl<O> Drop for Cells<O> {
    fn drop(&mut self) {
        // SAFETY: made by `new` for this type and with this count; whoever takes them forgets `self`.
        unsafe { (self.of.free)(self.cells, self.count) };
    }
}

impl<C: Child> sealed::Sealed for Vec<C> {}

impl<C: Child> IntoChildren for Vec<C> {
    type Children<P> = Buffer<C, P>;
    type Index = usize;

    fn into_children<P>(self) -> Buffer<C, P> {
        Buffer::new(self)
    }

    fn vacant<P>() -> Buffer<C, P> {
        Buffer::new(Vec::new())
    }

    fn count<P>(children: &Buffer<C, P>) -> usize {
        children.count()
    }

    fn is_live_at<P>(children: &Buffer<C, P>, index: usize) -> bool {
        children.is_live_at(index)
    }

    fn change_policy<Old, New>(mut children: Buffer<C, Old>) -> Buffer<C, New> {
        assert!(children.started.is_none(), "ONE-TYPE: the policy changes only before the start");
        Buffer::new(mem::take(&mut children.children))
    }
}

impl<C: Child> sealed::Sealed for Box<[C]> {}

impl<C: Child> IntoChildren for Box<[C]> {
    type Children<P> = Buffer<C, P>;
    type Index = usize;

    fn into_children<P>(self) -> Buffer<C, P> {
        Buffer::new(self.into_vec())
    }

    fn vacant<P>() -> Buffer<C, P> {
        Buffer::new(Vec::new())
    }

    fn count<P>(children: &Buffer<C, P>) -> usize {
        children.count()
    }

    fn is_live_at<P>(children: &Buffer<C, P>, index: usize) -> bool {
        children.is_live_at(index)
    }

    fn change_policy<Old, New>(children: Buffer<C, Old>) -> Buffer<C, New> {
        Vec::change_policy(children)
    }
}

/// Gathers all that the iterator gives, as a `Vec`.
///
/// # Examples
///
/// ```
/// use gather::Gather;
///
/// let squares = (1..=3).map(|number| async move { Ok::<_, ()>(number * number) }).collect::<Gather<_>>();
/// assert_eq!(pollster::block_on(squares), Ok(vec![1, 4, 9]));
/// ```
impl<C: Child> FromIterator<C> for Gather<Vec<C>> {
    fn from_iter<T: IntoIterator<Item = C>>(children: T) -> Self {
        gather(children.into_iter().collect::<Vec<C>>())
    }
}
