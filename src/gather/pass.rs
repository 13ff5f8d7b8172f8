//! What a poll of a gather does with its children: visitors of them.

use core::ops::ControlFlow;
use core::pin::Pin;
use core::task::{Context, Waker};

use super::progress::Round;
use crate::child::{Child as _, OnCancel};
use crate::children::{Children, Index, Place, Step, Visit, Visitor};
use crate::judge::End;
use crate::settings::concurrency::Concurrency;
use crate::trace::event;

/// When as many children in a row, each polled before and woken since, were pending again, the pass is cut: the runtime
/// may ration polls, as tokio's budget does, and have none left.
const FRUITLESS: u32 = 32;

/// The turn of the children within a poll of the gather.
pub(super) struct Turn<'a, 'b, L> {
    pub(super) cx: &'a mut Context<'b>,
    pub(super) concurrency: &'a mut L,
    /// All children that may be polled are, woken or not.
    pub(super) is_first: bool,
}

/// How a pass ended.
#[derive(Clone, Copy)]
pub(super) enum PassEnd {
    /// The turn of every child came.
    Through,
    /// The children behind this index wait for the next pass.
    Cut(usize),
    /// The child of this index ended, and with it the gather.
    Stopped(usize),
}

impl<L: Concurrency> Turn<'_, '_, L> {
    /// Polls the children once, and starts those for which there is room. Writes down where the next pass begins.
    #[inline(always)]
    pub(super) fn pass<C: Children, const DRAINS: bool>(
        self,
        mut children: Pin<&mut C>,
        round: &mut Round<C::Index>,
    ) -> PassEnd {
        let started = self.concurrency.started();
        let which = match self.is_first {
            true if DRAINS => Visit::All,
            true => Visit::From(0),
            false => Visit::Woken { from: round.next.get(), below: started },
        };
        let starts_later = L::LIMITED && !self.is_first;
        let may_cut = C::KNOWS_WOKEN && !self.is_first;
        let mut pass = Pass::<_, DRAINS> { turn: self, may_cut, began: None, fruitless: 0, end: PassEnd::Through };
        let _ = children.as_mut().visit(which, &mut pass);
        if starts_later && !matches!(pass.end, PassEnd::Stopped(_)) {
            let _ = children.visit(Visit::From(started), &mut pass);
        }
        if let Some(began) = pass.began {
            match C::KNOWS_WOKEN {
                true => round.advance(began, pass.end.cut()),
                false => *round = Round::behind(began),
            }
        }
        pass.end
    }
}

impl PassEnd {
    #[inline]
    fn cut(self) -> Option<usize> {
        match self {
            PassEnd::Cut(last) => Some(last),
            PassEnd::Through | PassEnd::Stopped(_) => None,
        }
    }

    /// Ends a poll that is pending.
    #[inline(always)]
    pub(super) fn wait<C: Children>(self, children: Pin<&mut C>, waker: &Waker) {
        match self {
            PassEnd::Cut(_) if C::KNOWS_WOKEN => waker.wake_by_ref(),
            _ => children.rearm(waker),
        }
    }
}

/// Polls children; those at or above the ones that have started it starts.
struct Pass<'a, 'b, L, const DRAINS: bool> {
    turn: Turn<'a, 'b, L>,
    may_cut: bool,
    /// The first child that was polled.
    began: Option<usize>,
    /// How many in a row were woken, and pending again.
    fruitless: u32,
    end: PassEnd,
}

impl<L: Concurrency, const DRAINS: bool> Visitor for Pass<'_, '_, L, DRAINS> {
    #[inline(always)]
    fn visit(&mut self, index: usize, place: impl Place) -> ControlFlow<()> {
        let Turn { cx, concurrency, is_first } = &mut self.turn;
        let starts = if L::LIMITED { index >= concurrency.started() } else { *is_first && !DRAINS };
        if starts {
            if !concurrency.has_room() {
                return ControlFlow::Break(());
            }
            concurrency.start(index);
            event!(TRACE, child = index; "child started");
        }
        self.began.get_or_insert(index);
        match if DRAINS { place.drain(cx) } else { place.poll(cx) } {
            Step::Pending => {
                if self.may_cut && !starts {
                    self.fruitless += 1;
                    if self.fruitless == FRUITLESS {
                        self.end = PassEnd::Cut(index);
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            }
            Step::Ended => {
                self.fruitless = 0;
                concurrency.end();
                if DRAINS {
                    event!(DEBUG, child = index; "child drained");
                } else {
                    event!(TRACE, child = index; "child ended");
                }
                ControlFlow::Continue(())
            }
            Step::Stopped => {
                concurrency.end();
                self.end = PassEnd::Stopped(index);
                ControlFlow::Break(())
            }
        }
    }
}

/// Tells or drops.
pub(super) struct Cancel<'a, L> {
    pub(super) concurrency: &'a mut L,
}

impl<L: Concurrency> Visitor for Cancel<'_, L> {
    #[inline(always)]
    fn visit(&mut self, index: usize, place: impl Place) -> ControlFlow<()> {
        match place.cancel() {
            OnCancel::Drain => event!(DEBUG, child = index; "child told"),
            OnCancel::Drop => {
                if L::LIMITED && index < self.concurrency.started() {
                    self.concurrency.end();
                }
                event!(DEBUG, child = index; "child dropped");
            }
        }
        ControlFlow::Continue(())
    }
}

/// Drops those that outlive the grace.
pub(super) struct Abandon;

impl Visitor for Abandon {
    #[inline(always)]
    fn visit(&mut self, index: usize, place: impl Place) -> ControlFlow<()> {
        place.end(End::Abandoned);
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

/// Whether dropping the live children loses clean-ups.
pub(super) fn any_drains<C: Children>(children: Pin<&mut C>) -> bool {
    struct Drains;

    impl Visitor for Drains {
        fn visit(&mut self, _: usize, mut place: impl Place) -> ControlFlow<()> {
            if place.child().drains() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }

    children.visit(Visit::From(0), &mut Drains).is_break()
}
