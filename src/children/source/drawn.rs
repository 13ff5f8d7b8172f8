//! Children that are drawn from a source while the gather runs.

use core::array;
use core::iter;
use core::marker::PhantomData;
use core::mem;
use core::ops::{ControlFlow, Range};
use core::pin::Pin;
use core::slice;
use core::task::{Context, Poll, Waker};

use futures_core::Stream;
use pin_project::{pin_project, pinned_drop};

use super::line::{Content, Entries, Line};
use super::places::{Lend, Places};
use crate::child::{Child, IntoChild};
use crate::children::{Children, HandOut, Indexed, Place, Visit, Visitor};
use crate::judge::{End, Judge, Moment, Policy};

type OutputOf<T> = <<T as Entries>::Child as Child>::Output;

/// The source, and the children that were drawn from it and have not ended.
#[pin_project(PinnedDrop)]
pub struct Drawn<S, T: Places, P, X> {
    /// The source, until it has ended or the gather is cancelled.
    #[pin]
    source: Option<S>,
    #[pin]
    places: T,
    line: Line,
    /// Children that have ended and whose output waits to be handed out: a line for each moment.
    waiting: [Line; 3],
    /// How many children were drawn.
    drawn: usize,
    /// How many of them have not ended.
    live: usize,
    /// Whether the source comes before the children in the next pass.
    is_due: bool,
    /// Children from this index on were drawn and never polled.
    unpolled_from: usize,
    /// The output that stopped the gather, once its child has ended.
    stopped: Option<X>,
    policy: PhantomData<fn() -> P>,
}

impl<S, T: Places, P, X> Drawn<S, T, P, X> {
    pub(super) fn new(source: Option<S>, places: T) -> Self {
        Drawn {
            source,
            places,
            line: Line::new(),
            waiting: array::from_fn(|_| Line::new()),
            drawn: 0,
            live: 0,
            is_due: false,
            unpolled_from: usize::MAX,
            stopped: None,
            policy: PhantomData,
        }
    }

    /// Drops the source, then the children in index order. After a panic the rest is dropped too.
    fn drop_left(mut self: Pin<&mut Self>) {
        struct Rest<'a, S, T: Places, P, X>(Pin<&'a mut Drawn<S, T, P, X>>);

        impl<S, T: Places, P, X> Drop for Rest<'_, S, T, P, X> {
            fn drop(&mut self) {
                self.0.as_mut().drop_left();
            }
        }

        let mut rest = Rest(self.as_mut());
        let mut this = rest.0.as_mut().project();
        this.source.set(None);
        for line in iter::once(this.line).chain(this.waiting) {
            while let Some(position) = line.first() {
                line.remove(this.places.as_mut(), position);
                this.places.as_mut().entry(position).content().set(Content::Nothing);
            }
        }
        *this.live = 0;
        mem::forget(rest);
    }
}

#[pinned_drop]
impl<S, T: Places, P, X> PinnedDrop for Drawn<S, T, P, X> {
    fn drop(self: Pin<&mut Self>) {
        self.drop_left();
    }
}

impl<S, T, P, X> Drawn<S, T, P, X>
where
    T: Places<Child: Child>,
    P: Policy<Waits<T::Kept> = T::Waits> + Judge<OutputOf<T>, Kept = T::Kept, Stop = X>,
{
    /// Visits the child of a place. Gives the place back if the child has ended and its output does not wait there.
    fn visit_place<V: Visitor>(self: Pin<&mut Self>, position: u32, visitor: &mut V) -> ControlFlow<()> {
        let mut this = self.project();
        let (mut entry, lend) = this.places.as_mut().lend(position);
        let index = entry.as_mut().index();
        let content = entry.content();
        let mut left = Left::Child;
        let flow = visitor.visit(index, Drawing { content, left: &mut left, lend, position, policy: PhantomData::<P> });
        if let Left::Child = left {
            return flow;
        }
        *this.live -= 1;
        this.line.remove(this.places.as_mut(), position);
        match left {
            Left::Child | Left::Nothing => {}
            Left::Kept(kept) => {
                let moment = P::moment(&kept);
                match P::wait(kept) {
                    Ok(waits) => {
                        this.places.as_mut().entry(position).content().set(Content::Waits(waits));
                        this.waiting[moment as usize].insert(this.places, position, index);
                        return flow;
                    }
                    Err(kept) => this.places.as_mut().keep(index, kept),
                }
            }
            Left::Stopped(stop) => *this.stopped = Some(stop),
        }
        this.places.give_back(position);
        flow
    }
}

/// What a visit leaves of a child.
enum Left<K, X> {
    /// It has not ended.
    Child,
    Nothing,
    Kept(K),
    /// It ended and stopped the gather.
    Stopped(X),
}

/// A live child in its place, with its waker.
struct Drawing<'a, C, W, K, X, L, P> {
    content: Pin<&'a mut Content<C, W>>,
    left: &'a mut Left<K, X>,
    lend: L,
    position: u32,
    policy: PhantomData<P>,
}

impl<C, W, K, X, L: Lend, P> Place for Drawing<'_, C, W, K, X, L, P>
where
    C: Child,
    P: Policy + Judge<C::Output, Kept = K, Stop = X>,
{
    type Child = C;
    type Policy = P;

    fn position(&self, _: usize) -> usize {
        self.position as usize
    }

    #[inline]
    fn child(&mut self) -> Pin<&mut C> {
        self.content.as_mut().child().expect("a place in the line has a child")
    }

    #[inline]
    fn poll_with<R>(&mut self, cx: &mut Context<'_>, poll: impl FnOnce(Pin<&mut C>, &mut Context<'_>) -> R) -> R {
        let child = self.content.as_mut().child().expect("a place in the line has a child");
        self.lend.lend(cx, |cx| poll(child, cx))
    }

    // `Pin::set` drops the child in place, and stores the new value even if the drop panics.

    #[inline]
    fn keep(mut self, end: End<C::Output>) {
        *self.left = Left::Kept(P::keep(end));
        self.content.set(Content::Nothing);
    }

    #[inline]
    fn stop(mut self, output: C::Output) {
        *self.left = Left::Stopped(P::stop(output));
        self.content.set(Content::Nothing);
    }

    #[inline]
    fn discard(mut self) {
        *self.left = Left::Nothing;
        self.content.set(Content::Nothing);
    }
}

impl<S, T: Places, P, X> Indexed for Drawn<S, T, P, X> {
    type Index = usize;
}

impl<S, T, P, X> Children for Drawn<S, T, P, X>
where
    S: Stream<Item: IntoChild<Child = T::Child>>,
    T: Places<Child: Child>,
    P: Policy<Waits<T::Kept> = T::Waits> + Judge<OutputOf<T>, Kept = T::Kept, Stop = X>,
{
    type Policy = P;
    type Kept = T::AllKept;
    type Stop = X;
    const KNOWS_WOKEN: bool = T::KNOWS_WOKEN;
    const DRAWS: bool = true;
    const DRAINS: bool = T::Child::DRAINS;

    fn count(&self) -> usize {
        self.drawn
    }

    fn each_live(&self, visit: &mut dyn FnMut(usize)) {
        self.line.each(&self.places, visit);
    }

    #[inline]
    fn is_live(self: Pin<&mut Self>) -> bool {
        let this = self.project();
        *this.live != 0 || this.source.is_some()
    }

    fn last_live(self: Pin<&mut Self>, below: usize) -> Option<usize> {
        let mut this = self.project();
        let last = this.line.last_below(this.places.as_mut(), below)?;
        Some(this.places.entry(last).index())
    }

    fn start(self: Pin<&mut Self>) {}

    fn rearm(self: Pin<&mut Self>, waker: &Waker) {
        self.project().places.rearm(waker);
    }

    fn visit<V: Visitor>(mut self: Pin<&mut Self>, which: Visit, visitor: &mut V) -> ControlFlow<()> {
        match which {
            Visit::Woken { from, below } | Visit::Ahead { from, below } => {
                // Ranges of positions; of these the children below an index.
                for range in (Visit::Woken { from, below: usize::MAX }).ranges() {
                    let mut woken = self.as_mut().project().places.woken(range);
                    let mut flow = ControlFlow::Continue(());
                    while flow.is_continue() {
                        let Some(position) = self.as_mut().project().places.next_woken(&mut woken) else { break };
                        let mut entry = self.as_mut().project().places.entry(position);
                        if entry.as_mut().content().child().is_none() {
                            // It has ended, and its output waits there.
                            continue;
                        }
                        if entry.index() >= below {
                            self.as_mut().project().places.wake(position);
                            continue;
                        }
                        flow = self.as_mut().visit_place(position, visitor);
                    }
                    self.as_mut().project().places.stop(woken);
                    flow?;
                }
            }
            Visit::All { .. } | Visit::From(_) => {
                let [range, _] = which.ranges();
                let mut this = self.as_mut().project();
                let mut next = this.line.first_from(this.places.as_mut(), range.start);
                while let Some(position) = next {
                    let mut this = self.as_mut().project();
                    next = Line::next(this.places.as_mut(), position);
                    if let Visit::All { .. } = which {
                        this.places.take_wake(position);
                    }
                    self.as_mut().visit_place(position, visitor)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn draw(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<usize> {
        let mut this = self.project();
        let source = this.source.as_mut().as_pin_mut()?;
        match this.places.as_mut().poll_source(source, cx) {
            Poll::Pending => None,
            Poll::Ready(None) => {
                this.source.set(None);
                None
            }
            Poll::Ready(Some(child)) => {
                let child = child.into_child();
                let index = *this.drawn;
                *this.drawn = index.checked_add(1).expect("a source gave more children than `usize` can count");
                let position = this.places.as_mut().take();
                this.places.as_mut().entry(position).content().set(Content::Child(child));
                this.line.insert(this.places, position, index);
                *this.live += 1;
                Some(index)
            }
        }
    }

    fn put_off_source(self: Pin<&mut Self>) {
        *self.project().is_due = true;
    }

    fn take_due(self: Pin<&mut Self>) -> bool {
        mem::take(self.project().is_due)
    }

    fn leave_unpolled(self: Pin<&mut Self>, from: usize) {
        *self.project().unpolled_from = from;
    }

    fn unpolled_from(self: Pin<&mut Self>) -> usize {
        *self.project().unpolled_from
    }

    fn close(self: Pin<&mut Self>) {
        self.project().source.set(None);
    }

    fn discard_kept(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.places.as_mut().discard_kept();
        for line in this.waiting {
            while let Some(position) = line.first() {
                line.remove(this.places.as_mut(), position);
                this.places.as_mut().entry(position).content().set(Content::Nothing);
                this.places.as_mut().give_back(position);
            }
        }
    }

    fn take_kept(self: Pin<&mut Self>) -> T::AllKept {
        self.project().places.take_kept()
    }

    fn take_stop(self: Pin<&mut Self>, _: usize) -> X {
        self.project().stopped.take().expect("the child that stopped the gather left its output")
    }

    fn stop_at(self: Pin<&mut Self>, index: usize) -> Option<&X> {
        let mut this = self.project();
        if this.places.as_mut().kept(index).is_some() {
            return this.places.kept(index).and_then(P::stop_in);
        }
        if this.stopped.is_some() {
            return this.stopped.as_ref();
        }
        let position = this.line.first_from(this.places.as_mut(), index)?;
        this.places.entry(position).content().child()?.output().and_then(P::stop_of)
    }

    fn clear(mut self: Pin<&mut Self>) {
        self.as_mut().drop_left();
        let this = self.project();
        this.places.clear();
        *this.stopped = None;
    }
}

impl<S, T, P, X> HandOut for Drawn<S, T, P, X>
where
    S: Stream<Item: IntoChild<Child = T::Child>>,
    T: Places<Child: Child, Waits = <T as Places>::Kept>,
    P: Policy<Waits<T::Kept> = T::Kept> + Judge<OutputOf<T>, Kept = T::Kept, Stop = X>,
{
    type Item = T::Kept;

    // The line is in index order, and all are within the range.

    fn first_kept(self: Pin<&mut Self>, _: Range<usize>, moment: Option<Moment>) -> Option<usize> {
        let mut this = self.project();
        let lines = match moment {
            Some(moment) => slice::from_ref(&this.waiting[moment as usize]),
            None => &this.waiting[..],
        };
        lines.iter().filter_map(Line::first).map(|position| this.places.as_mut().entry(position).index()).min()
    }

    fn last_kept(self: Pin<&mut Self>, _: Range<usize>) -> Option<usize> {
        let mut this = self.project();
        this.waiting.iter().filter_map(Line::last).map(|position| this.places.as_mut().entry(position).index()).max()
    }

    fn take_kept_at(self: Pin<&mut Self>, index: usize) -> T::Kept {
        let mut this = self.project();
        // One that was searched for is the first or the last of its line; one at which a pass ended may be anywhere.
        let found = this.waiting.iter_mut().find_map(|line| {
            let ends = [line.first(), line.last()].into_iter().flatten();
            let candidates = ends.chain(line.first_from(this.places.as_mut(), index));
            let position = { candidates }.find(|position| this.places.as_mut().entry(*position).index() == index)?;
            Some((line, position))
        });
        let (line, position) = found.expect("something is kept of that child");
        line.remove(this.places.as_mut(), position);
        let kept = this.places.as_mut().entry(position).content().take_waiting();
        this.places.give_back(position);
        kept.expect("something waits in every place of these lines")
    }
}
