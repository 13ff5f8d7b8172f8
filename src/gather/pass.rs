//! What one poll of a gather does with its children.

use core::mem;
use core::ops::ControlFlow;
use core::pin::Pin;
use core::task::{Context, Waker};

use super::progress::Round;
use crate::child::{Child as _, OnCancel};
use crate::children::{Children, Index, Place, Step, Visit, Visitor};
use crate::judge::{End, Policy as _};
use crate::settings::concurrency::Concurrency;
use crate::settings::order::Order;
use crate::trace::event;

/// After this many children in a row, each polled before and woken since, were still pending, the pass is cut: the runtime may
/// have a budget for each poll, like tokio, and it may be used up.
const FRUITLESS: u32 = 32;

/// At most this many children are drawn from a source in one poll.
const DRAWN_AT_ONCE: usize = 64;

/// The children's part in a poll of the gather.
pub(super) struct Turn<'a, 'b, L, R> {
    pub(super) cx: &'a mut Context<'b>,
    pub(super) concurrency: &'a mut L,
    pub(super) order: &'a R,
    /// The child that is the cause.
    pub(super) cause: Option<usize>,
    /// Polls all children that may be polled, woken or not.
    pub(super) is_first: bool,
}

/// How a pass ended.
#[derive(Clone, Copy)]
pub(super) enum PassEnd {
    /// Every child had its turn.
    Through,
    /// The children behind this position wait for the next pass.
    Cut(usize),
    /// The source has given as many children as it may in one poll.
    Drew,
    /// Like `Cut`, but the output of the child at this position is handed out first.
    Output(usize),
    /// The output of the child of this index ends the gather.
    Stopped(usize),
}

impl<'a, 'b, L: Concurrency, R: Order> Turn<'a, 'b, L, R> {
    /// Polls the children once, starts those for which there is room, and records where the next pass begins.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn pass<C: Children, const DRAINS: bool>(
        self,
        mut children: Pin<&mut C>,
        round: &mut Round<C::Index>,
    ) -> PassEnd {
        let in_reverse = DRAINS && R::IN_REVERSE;
        let draws = C::DRAWS && !DRAINS;
        let may_cut = C::KNOWS_WOKEN && (!self.is_first || in_reverse);
        let (is_first, told_from, mut started) = (self.is_first, self.order.told_from(), self.concurrency.started());
        let mut pass = self.into_pass::<DRAINS>(may_cut);
        let mut ahead = None;
        if draws && children.as_mut().take_due() {
            ahead = pass.draw_ahead(children.as_mut());
            started = ahead.unwrap_or(started);
        }
        let which = match is_first {
            // The last one was told and polled just now. Those before it may have been woken earlier, and have had no turn
            // yet.
            true if in_reverse => Visit::Woken { from: 0, below: told_from },
            true if DRAINS => Visit::All { from: 0 },
            true => Visit::From(0),
            // One of the children that have not started may have been told.
            false if in_reverse => Visit::Woken { from: round.next.get(), below: usize::MAX },
            // Goes on in index order, through those that have not started, before it goes round.
            false if C::Policy::HANDS_OUT && !C::DRAWS => Visit::Ahead { from: round.next.get(), below: started },
            false => Visit::Woken { from: round.next.get(), below: started },
        };
        let starts_later = L::LIMITED && !is_first && !in_reverse && !C::DRAWS;
        let _ = children.as_mut().visit(which, &mut pass);
        let is_over =
            matches!(pass.end, PassEnd::Stopped(_)) || C::Policy::HANDS_OUT && !matches!(pass.end, PassEnd::Through);
        if starts_later && !is_over {
            let _ = children.as_mut().visit(Visit::From(started), &mut pass);
        }
        if matches!(which, Visit::Ahead { .. }) && matches!(pass.end, PassEnd::Through) {
            let _ = children.as_mut().visit(Visit::Ahead { from: 0, below: round.next.get() }, &mut pass);
            if DRAINS && starts_later && matches!(pass.end, PassEnd::Through) {
                // A child that has drained has made room, but the pass has not ended there if its output is not kept.
                let started = pass.turn.concurrency.started();
                let _ = children.as_mut().visit(Visit::From(started), &mut pass);
            }
        }
        if draws {
            pass.draw(children, ahead);
        }
        if let Some(began) = pass.began {
            match pass.end {
                PassEnd::Output(last) => *round = Round::behind(last),
                _ if C::KNOWS_WOKEN => round.advance(began, pass.end.cut()),
                _ => *round = Round::behind(began),
            }
        }
        pass.end
    }

    /// Polls the child that was told last, which is the last live one, whether it was woken or not.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn drain_told<C: Children>(self, children: Pin<&mut C>) {
        let told = Visit::All { from: self.order.told_from() };
        let _ = children.visit(told, &mut First(&mut self.into_pass::<true>(false)));
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn into_pass<const DRAINS: bool>(self, may_cut: bool) -> Pass<'a, 'b, L, R, DRAINS> {
        // The first pass of a drain polls every child, so that all clean-ups begin.
        let is_through = DRAINS && self.is_first;
        Pass {
            turn: self,
            may_cut,
            is_through,
            began: None,
            fruitless: 0,
            polled_again: false,
            drawn: 0,
            has_asked: false,
            end: PassEnd::Through,
        }
    }
}

impl PassEnd {
    #[inline]
    fn cut(self) -> Option<usize> {
        match self {
            PassEnd::Cut(last) => Some(last),
            PassEnd::Through | PassEnd::Drew | PassEnd::Output(_) | PassEnd::Stopped(_) => None,
        }
    }

    /// Ends a poll that is pending.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn wait<C: Children>(self, children: Pin<&mut C>, waker: &Waker) {
        match self {
            PassEnd::Cut(_) | PassEnd::Drew => waker.wake_by_ref(),
            // The output that is handed out makes the poll ready.
            PassEnd::Output(_) => {}
            _ => children.rearm(waker),
        }
    }
}

/// Visits only the first child of a visit.
struct First<'a, V>(&'a mut V);

impl<V: Visitor> Visitor for First<'_, V> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit(&mut self, index: usize, place: impl Place) -> ControlFlow<()> {
        let _ = self.0.visit(index, place);
        ControlFlow::Break(())
    }
}

/// Polls children, and starts those that have not started.
struct Pass<'a, 'b, L, R, const DRAINS: bool> {
    turn: Turn<'a, 'b, L, R>,
    may_cut: bool,
    /// Whether outputs do not end the pass.
    is_through: bool,
    /// The position of the first child that was polled.
    began: Option<usize>,
    /// How many in a row were woken and still pending.
    fruitless: u32,
    /// Whether a child that was polled before is still pending.
    polled_again: bool,
    /// How many were drawn.
    drawn: usize,
    /// Whether the source was polled and had no child.
    has_asked: bool,
    end: PassEnd,
}

impl<L: Concurrency, R: Order, const DRAINS: bool> Pass<'_, '_, L, R, DRAINS> {
    /// Draws children before the others have their turn; they have started, and are polled after the others. Returns the
    /// first one.
    fn draw_ahead<C: Children>(&mut self, mut children: Pin<&mut C>) -> Option<usize> {
        let mut first = None;
        while let Some(index) = self.draw_one(children.as_mut()) {
            self.turn.concurrency.start(index);
            event!(TRACE, child = index; "child started");
            first.get_or_insert(index);
        }
        self.end = PassEnd::Through;
        first
    }

    /// Polls the children that were drawn ahead, then draws while there is room, and polls each at once.
    fn draw<C: Children>(&mut self, mut children: Pin<&mut C>, ahead: Option<usize>) {
        let (cut, polled_again) = (self.end, self.polled_again);
        self.may_cut = false;
        if let (Some(first), false) = (ahead, matches!(cut, PassEnd::Stopped(_))) {
            self.end = PassEnd::Through;
            // All of them, as nothing has woken them.
            let is_through = mem::replace(&mut self.is_through, true);
            let _ = children.as_mut().visit(Visit::From(first), self);
            self.is_through = is_through;
            if let PassEnd::Through = self.end {
                self.end = cut;
            }
        }
        if let (Some(first), PassEnd::Stopped(index)) = (ahead, self.end) {
            children.as_mut().leave_unpolled(first.max(index + 1));
        }
        self.turn.is_first = true;
        self.has_asked = false;
        while let PassEnd::Through = self.end {
            let Some(index) = self.draw_one(children.as_mut()) else { break };
            let _ = children.as_mut().visit(Visit::From(index), self);
        }
        // The runtime's budget may have been used up before the source was polled.
        let had_none_left = self.has_asked && polled_again;
        if had_none_left || matches!(self.end, PassEnd::Cut(_)) {
            children.put_off_source();
        }
    }

    fn draw_one<C: Children>(&mut self, children: Pin<&mut C>) -> Option<usize> {
        if !self.turn.concurrency.has_room() {
            return None;
        }
        if self.drawn == DRAWN_AT_ONCE {
            self.end = PassEnd::Drew;
            return None;
        }
        let drawn = children.draw(self.turn.cx);
        match drawn {
            Some(_) => self.drawn += 1,
            None => self.has_asked = true,
        }
        drawn
    }
}

impl<L: Concurrency, R: Order, const DRAINS: bool> Visitor for Pass<'_, '_, L, R, DRAINS> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit(&mut self, index: usize, place: impl Place) -> ControlFlow<()> {
        let Turn { cx, concurrency, order, cause, is_first } = &mut self.turn;
        let is_told = DRAINS && index >= order.told_from();
        let mut starts = if L::LIMITED { index >= concurrency.started() } else { *is_first && !DRAINS };
        if DRAINS && R::IN_REVERSE {
            // Only the child that was told starts. It needs no room: those that have it wait for its end.
            if !is_told && index >= concurrency.started().min(order.polled()) {
                return ControlFlow::Continue(());
            }
            starts = false;
        }
        if starts {
            if !concurrency.has_room() {
                return ControlFlow::Break(());
            }
            concurrency.start(index);
            event!(TRACE, child = index; "child started");
        }
        let position = place.position(index);
        self.began.get_or_insert(position);
        let is_cause = *cause == Some(index);
        let (is_stop_kept, hands_out) = (keeps_all(&place), hands_out(&place));
        let is_kept = !DRAINS || is_stop_kept;
        let step = match DRAINS {
            false => place.poll(cx),
            true if is_told => place.drain(cx, is_cause),
            true => place.poll_late(cx, is_cause),
        };
        match step {
            Step::Pending => {
                self.polled_again |= !starts;
                if self.may_cut && !starts {
                    self.fruitless += 1;
                    if self.fruitless == FRUITLESS {
                        self.end = PassEnd::Cut(position);
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            }
            Step::Ended => {
                self.fruitless = 0;
                concurrency.end(index, is_kept);
                if is_told {
                    event!(DEBUG, child = index; "child drained");
                } else {
                    event!(TRACE, child = index; "child ended");
                }
                if hands_out && is_kept && !self.is_through && concurrency.hands_out_next(index) {
                    self.end = PassEnd::Output(position);
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            }
            Step::Stopped => {
                concurrency.end(index, is_stop_kept);
                self.end = PassEnd::Stopped(index);
                ControlFlow::Break(())
            }
            Step::Stopping => {
                self.end = PassEnd::Stopped(index);
                ControlFlow::Break(())
            }
        }
    }
}

/// Whether something is kept of every child, however it ends.
fn keeps_all<P: Place>(_: &P) -> bool {
    P::Policy::KEEPS_ALL
}

fn hands_out<P: Place>(_: &P) -> bool {
    P::Policy::HANDS_OUT
}

/// Tells or drops.
pub(super) struct Cancel<'a, L> {
    pub(super) concurrency: &'a mut L,
    /// The child that is the cause.
    pub(super) cause: Option<usize>,
}

impl<L: Concurrency> Visitor for Cancel<'_, L> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit(&mut self, index: usize, place: impl Place) -> ControlFlow<()> {
        let is_kept = keeps_all(&place);
        match place.cancel(self.cause == Some(index)) {
            OnCancel::Drain => event!(DEBUG, child = index; "child told"),
            OnCancel::Drop => {
                self.concurrency.end(index, is_kept);
                event!(DEBUG, child = index; "child dropped");
            }
        }
        ControlFlow::Continue(())
    }
}

impl<L: Concurrency> Cancel<'_, L> {
    /// In reverse: tells or drops the last child, and those before it, until one drains. Whether there is one that was not
    /// told before.
    pub(super) fn last<C: Children, R: Order>(&mut self, mut children: Pin<&mut C>, order: &mut R) -> bool {
        while let Some(last) = children.as_mut().last_live(order.told_from().saturating_add(1)) {
            if last == order.told_from() {
                return false;
            }
            order.set_told_from(last);
            let _ = children.as_mut().visit(Visit::From(last), &mut First(self));
            if children.as_mut().last_live(last + 1) == Some(last) {
                return true;
            }
        }
        false
    }
}

/// Drops the children that are left when the grace is over.
pub(super) struct Abandon<'a, L, R> {
    pub(super) concurrency: &'a mut L,
    pub(super) order: &'a R,
    /// The child that is the cause.
    pub(super) cause: Option<usize>,
}

impl<L: Concurrency, R: Order> Abandon<'_, L, R> {
    /// Drops all that are left, in the order in which they would have been told.
    pub(super) fn all<C: Children>(mut self, mut children: Pin<&mut C>) {
        if !R::IN_REVERSE {
            let _ = children.visit(Visit::From(0), &mut self);
            return;
        }
        let mut below = usize::MAX;
        while let Some(last) = children.as_mut().last_live(below) {
            let _ = children.as_mut().visit(Visit::From(last), &mut First(&mut self));
            below = last;
        }
    }
}

impl<L: Concurrency, R: Order> Visitor for Abandon<'_, L, R> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn visit(&mut self, index: usize, mut place: impl Place) -> ControlFlow<()> {
        // A child that was not told yet loses its clean-up too, if it has one.
        let loses = !R::IN_REVERSE || index >= self.order.told_from() || place.child().drains();
        let end = if loses { End::Abandoned } else { End::Dropped };
        let is_kept = keeps_all(&place);
        place.cut_off(end, self.cause == Some(index));
        self.concurrency.end(index, is_kept);
        event!(DEBUG, child = index; "child dropped");
        ControlFlow::Continue(())
    }
}

/// The count of children that have not ended.
pub(super) fn count_live<C: Children>(children: Pin<&mut C>) -> usize {
    struct Count(usize);

    impl Visitor for Count {
        fn visit(&mut self, _: usize, _: impl Place) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
    }

    let mut count = Count(0);
    let _ = children.visit(Visit::From(0), &mut count);
    count.0
}

/// Whether clean-ups are lost if the live children are dropped.
pub(super) fn any_drains<C: Children>(children: Pin<&mut C>) -> bool {
    struct Drains;

    impl Visitor for Drains {
        fn visit(&mut self, _: usize, mut place: impl Place) -> ControlFlow<()> {
            if place.child().drains() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }

    children.visit(Visit::From(0), &mut Drains).is_break()
}
