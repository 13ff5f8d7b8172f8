//! The gather: a future over its children, and its poll.

mod group;
mod outputs;
mod pass;
mod progress;
mod states;

use core::fmt;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_core::FusedFuture;
use pin_project::pin_project;

use self::pass::{Abandon, Cancel, PassEnd, Turn, any_drains, count_live};
use self::progress::{Phase, Progress};
use self::states::States;
use crate::children::{Children, Indexed, Visit};
use crate::handshake::{Guard, Handshake};
use crate::judge::{Left, Policy};
use crate::outcome::Cause;
use crate::settings::cancelling::Cancelling;
use crate::settings::concurrency::{Concurrency, Unbounded};
use crate::settings::delay::Delay;
use crate::settings::hook::Hook;
use crate::settings::order::Order;
use crate::settings::signal::{NoSignal, Signal};
use crate::trace::{Loses, Scope, event, span};

pub use group::{GatherOf, Group, gather};

/// The future of a [`Group`]. For what it resolves to, and when, see [`gather`] and the settings of [`Group`].
///
/// To name the type use [`GatherOf`], not the parameters.
///
/// `Debug` shows the phase, the cause once there is one, and the state of each child. Of more than 16 children it shows the
/// counts and the indices of the first live ones, for which a drain still waits. It polls nothing. `Debug` and
/// [`is_terminated`](FusedFuture::is_terminated) take a shared reference to a gather that may be running, as their
/// signatures demand. Around a child that borrows from itself, as an `async` block may, this is the open question of
/// rust-lang/rust#137750, and Miri reports it. The crate itself never calls them.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct Gather<C: Indexed, K = Cancelling, S = NoSignal, L = Unbounded> {
    #[pin]
    children: C,
    progress: Progress<C::Index>,
    #[pin]
    cancelling: K,
    #[pin]
    signal: S,
    concurrency: L,
    scope: Scope,
}

type Output<C, S> = <<C as Children>::Policy as Policy>::Output<<C as Children>::Kept, <C as Children>::Stop, S>;

impl<C: Children, K, S, L> Gather<C, K, S, L> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn new(children: C, cancelling: K, signal: S, concurrency: L) -> Self {
        Gather {
            children,
            progress: Progress::new(Phase::Unpolled),
            cancelling,
            signal,
            concurrency,
            scope: Scope::closed(),
        }
    }

    /// Like [`FusedFuture::is_terminated`], through the pin (THROUGH-PIN).
    pub(crate) fn has_ended(self: Pin<&mut Self>) -> bool {
        self.project().progress.has_ended()
    }
}

impl<C: Children, K> Gather<C, K> {
    /// A gather that has ended, to be reused by [`renew`](Self::renew).
    pub(crate) fn vacant(children: C, cancelling: K) -> Self {
        let mut gather = Gather::new(children, cancelling, NoSignal, Unbounded);
        gather.progress = Progress::new(Phase::Ended);
        gather
    }

    /// What is kept if no child was ever made.
    pub(crate) fn take_vacant(self: Pin<&mut Self>) -> C::Kept {
        self.project().children.take_kept()
    }

    /// Gathers other children, in place, after the last ones are gone.
    pub(crate) fn renew(self: Pin<&mut Self>, children: C) {
        let mut this = self.project();
        debug_assert!(matches!(this.progress.phase, Phase::Ended));
        this.children.set(children);
        *this.progress = Progress::new(Phase::Unpolled);
    }
}

impl<C, G, H, R, S, L> Gather<C, Cancelling<G, H, R>, S, L>
where
    C: Children,
    G: Delay<()>,
    H: Hook,
    R: Order,
    S: Signal,
    L: Concurrency,
{
    /// One poll, from the running children to the result.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn step_with(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        observe: impl FnOnce(usize, Pin<&mut C>),
    ) -> Poll<Option<Output<C, S>>> {
        let mut this = self;
        match this.as_mut().advance(cx, observe) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(cause) => Poll::Ready(this.resolve(cause)),
        }
    }

    /// One poll of the children. Ready with the cause when none is left.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn advance(self: Pin<&mut Self>, cx: &mut Context<'_>, observe: impl FnOnce(usize, Pin<&mut C>)) -> Poll<Cause> {
        let mut this = self;
        if matches!(this.as_mut().project().progress.phase, Phase::Unpolled | Phase::Running) {
            match this.as_mut().run(cx) {
                None => return Poll::Pending,
                Some(Cause::Completed) => return Poll::Ready(Cause::Completed),
                Some(cause) => {
                    if let Some(index) = cause.index() {
                        observe(index, this.as_mut().project().children);
                    }
                    this.as_mut().cancel_children(cause);
                }
            }
        }
        // If no child can drain, all were dropped when they were cancelled.
        if C::DRAINS && this.as_mut().drain(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(this.project().progress.cause().expect("set before the drain"))
    }

    /// Polls the running children, and starts those that may start. The cause, once there is one.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn run(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<Cause> {
        let mut this = self.project();
        let is_first = matches!(this.progress.phase, Phase::Unpolled);
        if is_first {
            if !this.children.as_mut().is_live() {
                return Some(Cause::Completed);
            }
            this.children.as_mut().start();
        }
        // Before the children, so that they cannot use up the runtime's budget before it.
        let is_fired = this.signal.as_mut().poll_fired(cx).is_ready();
        if is_first && is_fired {
            return Some(Cause::Cancelled);
        }

        let order = this.cancelling.project().order;
        let turn = Turn { cx, concurrency: this.concurrency, order, cause: None, is_first };
        let end = turn.pass::<C, false>(this.children.as_mut(), &mut this.progress.round);
        if let PassEnd::Stopped(index) = end {
            let cause = C::Policy::cause(index);
            match cause {
                Cause::Failed(child) => event!(DEBUG, child = child; "child failed"),
                _ => event!(DEBUG, child = index; "child won"),
            }
            return Some(cause);
        }
        this.progress.phase = Phase::Running;
        if !this.children.as_mut().is_live() {
            return Some(Cause::Completed);
        }
        if is_fired || this.signal.poll_fired(cx).is_ready() {
            return Some(Cause::Cancelled);
        }
        end.wait(this.children, cx.waker());
        None
    }

    /// Sets the cause, and tells or drops every pending child; in reverse, from the last one to the first that drains.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn cancel_children(self: Pin<&mut Self>, cause: Cause) {
        let mut this = self.project();
        let cancelling = this.cancelling.project();
        event!(DEBUG, cause = %cause; "cancelling");
        cancelling.order.begin(match this.progress.phase {
            // The first pass did not reach the end: it stopped at the child that is the cause, or did not begin.
            Phase::Unpolled => cause.index().map_or(0, |index| index + 1),
            _ => this.children.as_mut().unpolled_from(),
        });
        this.progress.set(Phase::Told, cause);
        this.signal.end();
        this.children.as_mut().close();
        cancelling.hook.call(cause);
        if this.concurrency.cancel(C::Policy::KEEPS_ALL) {
            this.children.as_mut().discard_kept();
        }
        if this.children.as_mut().is_live() {
            let mut cancel = Cancel { concurrency: this.concurrency, cause: cause.index() };
            if R::IN_REVERSE {
                cancel.last(this.children.as_mut(), cancelling.order);
            } else {
                let _ = this.children.as_mut().visit(Visit::From(0), &mut cancel);
            }
        }
        if C::DRAINS && this.children.as_mut().is_live() {
            cancelling.grace.begin(None);
            event!(DEBUG, children = count_live(this.children); "draining");
        }
    }

    /// Polls the told children, and the grace before and after them. Ready when no child is left.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let mut children = this.children;
        if !children.as_mut().is_live() {
            return Poll::Ready(());
        }
        let cancelling = this.cancelling.project();
        let (mut grace, order) = (cancelling.grace, cancelling.order);
        let is_over = grace.as_mut().poll_over(cx).is_ready();
        let is_first = mem::replace(&mut this.progress.phase, Phase::Draining) == Phase::Told;
        let cause = this.progress.cause().and_then(Cause::index);
        if R::IN_REVERSE && is_first {
            Turn { cx, concurrency: this.concurrency, order, cause, is_first }.drain_told(children.as_mut());
        }
        let turn = Turn { cx, concurrency: this.concurrency, order, cause, is_first };
        let end = turn.pass::<C, true>(children.as_mut(), &mut this.progress.round);
        while R::IN_REVERSE && (Cancel { concurrency: this.concurrency, cause }).last(children.as_mut(), order) {
            Turn { cx, concurrency: this.concurrency, order, cause, is_first }.drain_told(children.as_mut());
        }
        if !children.as_mut().is_live() {
            return Poll::Ready(());
        }
        if !is_over && grace.poll_over(cx).is_pending() {
            end.wait(children, cx.waker());
            return Poll::Pending;
        }
        event!(WARN, children = count_live(children.as_mut()); "grace over");
        Abandon { concurrency: this.concurrency, order, cause }.all(children);
        Poll::Ready(())
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn resolve(mut self: Pin<&mut Self>, cause: Cause) -> Option<Output<C, S>> {
        self.as_mut().end_settings();
        let mut this = self.as_mut().project();
        let left = match cause {
            _ if C::Policy::KEEPS_ALL => Left::Kept(this.children.as_mut().take_kept()),
            Cause::Completed => Left::Kept(this.children.as_mut().take_kept()),
            Cause::Failed(index) | Cause::Won(index) => Left::Stop(this.children.as_mut().take_stop(index)),
            Cause::Cancelled => Left::Nothing,
        };
        let output = C::Policy::resolve::<_, _, S>(cause, left);
        self.close(cause);
        output
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn end_settings(self: Pin<&mut Self>) {
        let this = self.project();
        let cancelling = this.cancelling.project();
        this.signal.end();
        cancelling.grace.end();
        cancelling.hook.end();
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn close(self: Pin<&mut Self>, cause: Cause) {
        let this = self.project();
        this.children.clear();
        this.progress.set(Phase::Ended, cause);
        event!(DEBUG, cause = %cause; "resolved");
    }

    /// Like [`poll_end`](Handshake::poll_end). Calls `observe` with a child that stops the gather, before any sibling is told.
    pub(crate) fn poll_observed(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        observe: impl FnOnce(usize, &C::Stop),
    ) -> Poll<Option<Output<C, S>>> {
        self.as_mut().assert_pollable();
        let mut guard = Guard::enter(self);
        let polled = guard.future.as_mut().step_with(cx, |index, children| {
            if let Some(stop) = children.stop_at(index) {
                observe(index, stop);
            }
        });
        guard.leave();
        polled
    }

    /// The cause, once there is one.
    pub(crate) fn cause(self: Pin<&mut Self>) -> Option<Cause> {
        self.project().progress.cause()
    }
}

impl<C, G, H, R, S, L> Handshake for Gather<C, Cancelling<G, H, R>, S, L>
where
    C: Children,
    G: Delay<()>,
    H: Hook,
    R: Order,
    S: Signal,
    L: Concurrency,
{
    type Output = Output<C, S>;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn step(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Output<C, S>>> {
        self.step_with(cx, |_, _| ())
    }

    fn begin_cancel(mut self: Pin<&mut Self>) -> bool {
        let begins = matches!(self.as_mut().project().progress.phase, Phase::Unpolled | Phase::Running);
        if begins {
            self.as_mut().project().children.start();
            self.cancel_children(Cause::Cancelled);
        }
        begins
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn assert_pollable(self: Pin<&mut Self>) {
        match self.project().progress.phase {
            Phase::Ended => panic!("`Gather` polled after completion"),
            Phase::Panicked => panic!("`Gather` polled after a panic"),
            Phase::Unpolled | Phase::Running | Phase::Told | Phase::Draining => {}
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn enter(self: Pin<&mut Self>) -> Scope {
        let this = self.project();
        if matches!(this.progress.phase, Phase::Unpolled) {
            // Nobody knows how many a source will give.
            let count = (!C::DRAWS).then(|| this.children.count());
            return Scope::open(span!(DEBUG, "gather", children = count));
        }
        this.scope.take()
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn leave(self: Pin<&mut Self>, scope: Scope) {
        let this = self.project();
        match this.progress.phase {
            Phase::Ended => scope.close(),
            // If outputs are handed out one by one, some may be left when the drain has ended.
            Phase::Told | Phase::Draining => this.scope.pause(scope, || match this.children.is_live() {
                true => Loses::Drain,
                false => Loses::Nothing,
            }),
            _ => this.scope.pause(scope, || match C::DRAINS && any_drains(this.children) {
                true => Loses::CleanUps,
                false => Loses::Nothing,
            }),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn poison(self: Pin<&mut Self>) {
        let this = self.project();
        this.progress.phase = Phase::Panicked;
        this.children.clear();
        this.signal.end();
        let cancelling = this.cancelling.project();
        cancelling.grace.end();
        cancelling.hook.end();
    }
}

impl<C, K, S, L> Future for Gather<C, K, S, L>
where
    Self: Handshake,
    C: Children,
{
    type Output = <Self as Handshake>::Output;

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_end(cx).map(|output| output.expect("nothing but a signal or a parent cancels"))
    }
}

impl<C, K, S, L> FusedFuture for Gather<C, K, S, L>
where
    Self: Future,
    C: Children,
{
    fn is_terminated(&self) -> bool {
        self.progress.has_ended()
    }
}

impl<C: Children, G, H, R: Order, S, L: Concurrency> fmt::Debug for Gather<C, Cancelling<G, H, R>, S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gather = f.debug_struct("Gather");
        gather.field("phase", &self.progress.phase);
        if let Some(cause) = self.progress.cause() {
            gather.field("cause", &cause);
        }
        let states = States {
            children: &self.children,
            phase: self.progress.phase,
            started: self.concurrency.started(),
            polled: self.cancelling.order.polled(),
            told_from: self.cancelling.order.told_from(),
        };
        gather.field("children", &states).finish_non_exhaustive()
    }
}
