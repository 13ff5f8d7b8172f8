//! A future that calls a closure with each output, and polls what it returns beside the children.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_core::FusedFuture;
use pin_project::pin_project;

use super::one_by_one::OneByOne;
use crate::children::{Children, HandOut, Indexed};
use crate::gather::Gather;
use crate::handshake::Handshake;
use crate::settings::cancelling::Cancelling;
use crate::settings::delay::Delay;
use crate::settings::hook::Hook;
use crate::settings::order::Order;
use crate::settings::signal::Signal;
use crate::settings::window::Window;
use crate::trace::Scope;

/// The future of [`AsCompleted::for_each`](super::AsCompleted::for_each) and
/// [`try_for_each`](super::AsCompleted::try_for_each), which describe it.
///
/// As a child of a group it is a plain future, so it is dropped when it is cancelled. To drain its children instead, cancel
/// it by a hook:
///
/// ```
/// use gather::{CancelExt, gather};
/// use std::cell::Cell;
/// use std::future::{pending, ready};
///
/// let closed = Cell::new(false);
/// let connection = pending::<()>().cleanup(|| async { closed.set(true) });
/// let serve = gather([connection]).settle().as_completed().for_each(|_, ()| ready(()));
/// let serve = serve.on_cancel(|serve| serve.cancel()).map(Ok);
/// assert_eq!(pollster::block_on(gather((serve, ready(Err::<(), _>("failed"))))), Err("failed"));
/// assert!(closed.get());
/// ```
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ForEach<C: Indexed, K, S, F, I, T, X> {
    #[pin]
    gather: Gather<C, K, S, Window>,
    each: Option<F>,
    /// Calls the closure; for why it is kept see [`adapters`](crate::adapters).
    call: fn(&mut F, usize, I) -> T,
    /// The last future of the closure, until it has ended.
    #[pin]
    running: Option<T>,
    /// The child whose output that future was given.
    index: usize,
    /// The error of that future, if it is the cause.
    failure: Option<X>,
}

/// The output of a future of the closure.
pub trait Answer<X> {
    fn error(self) -> Option<X>;
}

impl<X> Answer<X> for () {
    fn error(self) -> Option<X> {
        None
    }
}

impl<X> Answer<X> for Result<(), X> {
    fn error(self) -> Option<X> {
        self.err()
    }
}

impl<C, G, H, R, S, F, T> ForEach<C, Cancelling<G, H, R>, S, F, C::Item, T, C::Stop>
where
    C: HandOut,
    F: FnMut(usize, C::Item) -> T,
{
    pub(super) fn new(mut gather: Gather<C, Cancelling<G, H, R>, S, Window>, each: F) -> Self {
        gather.let_wait();
        let call = |each: &mut F, index, item| each(index, item);
        ForEach { gather, each: Some(each), call, running: None, index: 0, failure: None }
    }
}

/// The state of the closure's future.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handed {
    /// The future is pending.
    Pending,
    /// There is no future, and no output waits.
    Nothing,
    /// The future has failed the group.
    Failed,
}

impl<C, G, H, R, S, F, I, T, X> ForEach<C, Cancelling<G, H, R>, S, F, I, T, X>
where
    C: HandOut<Policy: OneByOne, Item = I, Stop = X>,
    G: Delay<()>,
    H: Hook,
    R: Order,
    S: Signal,
    T: Future<Output: Answer<X>>,
{
    /// Cancels the children: drops each plain one and tells all others, in index order. Then poll the future to its end, to
    /// drain those that were told.
    ///
    /// *Outcomes.* As if the signal of the group's [`cancel_when`](crate::Group::cancel_when) had come; without one, `()` or
    /// `Ok(())`. If the children are being cancelled already, or the future has ended, this does nothing.
    ///
    /// # Panics
    ///
    /// If the hook or the destructor of a child panics, and after an earlier panic.
    pub fn cancel(mut self: Pin<&mut Self>) {
        if !self.as_mut().project().gather.has_resolved() {
            Handshake::cancel(self);
        }
    }

    /// Polls the closure's future, and calls the closure again while outputs wait.
    fn hand_over(self: Pin<&mut Self>, cx: &mut Context<'_>, handed: &mut bool) -> Handed {
        let mut this = self.project();
        loop {
            if let Some(running) = this.running.as_mut().as_pin_mut() {
                let Poll::Ready(answer) = running.poll(cx) else { return Handed::Pending };
                this.running.set(None);
                let error = answer.error();
                if error.is_some() && this.gather.as_mut().fail(*this.index) {
                    *this.failure = error;
                    return Handed::Failed;
                }
            }
            let Some((index, item)) = this.gather.as_mut().take_next() else { return Handed::Nothing };
            *handed = true;
            *this.index = index;
            let each = this.each.as_mut().expect("there until the end");
            let running = (this.call)(each, index, item);
            this.running.set(Some(running));
        }
    }
}

impl<C, G, H, R, S, F, I, T, X> Handshake for ForEach<C, Cancelling<G, H, R>, S, F, I, T, X>
where
    C: HandOut<Policy: OneByOne, Item = I, Stop = X>,
    G: Delay<()>,
    H: Hook,
    R: Order,
    S: Signal,
    T: Future<Output: Answer<X>>,
{
    type Output = <C::Policy as OneByOne>::All<X, S>;

    fn step(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Output>> {
        let mut handed = self.as_mut().hand_over(cx, &mut false);
        let mut advanced = self.as_mut().project().gather.advance_children(cx);
        if handed != Handed::Pending {
            let mut makes_room = false;
            handed = self.as_mut().hand_over(cx, &mut makes_room);
            let mut gather = self.as_mut().project().gather;
            if handed == Handed::Failed {
                // Children that were told just now have their turn in this poll.
                advanced = gather.as_mut().advance_children(cx);
            } else if makes_room && advanced.is_pending() && (C::DRAWS || gather.window().is_limited()) {
                cx.waker().wake_by_ref();
            }
        }
        match advanced {
            Poll::Ready(cause) if handed != Handed::Pending => {
                let mut this = self.project();
                let failure = this.failure.take();
                let stop = this.gather.as_mut().take_end(cause, failure);
                *this.each = None;
                Poll::Ready(Some(C::Policy::all::<X, S>(cause, stop)))
            }
            _ => Poll::Pending,
        }
    }

    fn begin_cancel(self: Pin<&mut Self>) -> bool {
        self.project().gather.begin_cancel()
    }

    fn assert_pollable(self: Pin<&mut Self>) {
        let mut gather = self.project().gather;
        assert!(!gather.as_mut().has_resolved(), "`ForEach` polled after completion");
        assert!(!gather.has_panicked(), "`ForEach` polled after a panic");
    }

    fn enter(self: Pin<&mut Self>) -> Scope {
        self.project().gather.enter()
    }

    fn leave(self: Pin<&mut Self>, scope: Scope) {
        self.project().gather.leave(scope);
    }

    fn poison(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.gather.poison();
        this.running.set(None);
        *this.failure = None;
        *this.each = None;
    }
}

impl<C, K, S, F, I, T, X> Future for ForEach<C, K, S, F, I, T, X>
where
    Self: Handshake,
    C: Indexed,
{
    type Output = <Self as Handshake>::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_end(cx).map(|output| output.expect("it always ends with something"))
    }
}

impl<C, K, S, F, I, T, X> FusedFuture for ForEach<C, K, S, F, I, T, X>
where
    Self: Future,
    C: Indexed,
{
    fn is_terminated(&self) -> bool {
        self.gather.is_over()
    }
}

/// Shows what that of a [`Gather`] shows. It polls nothing.
impl<C: Children, G, H, R: Order, S, F, I, T, X> fmt::Debug for ForEach<C, Cancelling<G, H, R>, S, F, I, T, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForEach").field("gather", &self.gather).finish_non_exhaustive()
    }
}
