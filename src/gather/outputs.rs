//! A gather whose outputs are handed out as they come: its steps, for [`completed`](crate::completed).

use core::pin::Pin;
use core::task::{Context, Poll};

use super::Gather;
use super::progress::Phase;
use crate::children::{HandOut, Indexed};
use crate::judge::Policy;
use crate::outcome::Cause;
use crate::settings::cancelling::Cancelling;
use crate::settings::delay::Delay;
use crate::settings::hook::Hook;
use crate::settings::order::Order;
use crate::settings::signal::Signal;
use crate::settings::window::{LooksFor, Window};

impl<C: Indexed, K, S> Gather<C, K, S, Window> {
    /// From now on the pass goes on behind a child that has ended, and its output waits.
    pub(crate) fn let_wait(&mut self) {
        self.concurrency.let_wait();
    }

    pub(crate) fn window(self: Pin<&mut Self>) -> &mut Window {
        self.project().concurrency
    }

    /// The cause, if it has ended. For callers with only a shared reference.
    pub(crate) fn ended_by(&self) -> Option<Cause> {
        self.progress.cause().filter(|_| self.progress.has_ended())
    }

    /// For callers with only a shared reference.
    pub(crate) fn is_over(&self) -> bool {
        self.progress.has_ended()
    }

    pub(crate) fn has_resolved(self: Pin<&mut Self>) -> bool {
        matches!(self.project().progress.phase, Phase::Ended)
    }

    pub(crate) fn has_panicked(self: Pin<&mut Self>) -> bool {
        matches!(self.project().progress.phase, Phase::Panicked)
    }

    /// Whether the children were told and must be polled before anything else.
    pub(crate) fn is_told(self: Pin<&mut Self>) -> bool {
        matches!(self.project().progress.phase, Phase::Told)
    }
}

impl<C, G, H, R, S> Gather<C, Cancelling<G, H, R>, S, Window>
where
    C: HandOut,
    G: Delay<()>,
    H: Hook,
    R: Order,
    S: Signal,
{
    /// One poll of the children. Ready with the cause when none is left; outputs may still wait.
    pub(crate) fn advance_children(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Cause> {
        self.advance(cx, |_, _| ())
    }

    /// Takes the next output that waits.
    pub(crate) fn take_next(self: Pin<&mut Self>) -> Option<(usize, C::Item)> {
        let this = self.project();
        let (mut children, window) = (this.children, this.concurrency);
        if !window.has_waiting() {
            return None;
        }
        let index = match window.known() {
            Some(index) => index,
            None => loop {
                let (looked_for, bounds) = window.looks_for();
                let children = children.as_mut();
                let found = match looked_for {
                    LooksFor::First => children.first_kept(bounds, None),
                    LooksFor::FirstOf(moment) => children.first_kept(bounds, Some(moment)),
                    LooksFor::Last => children.last_kept(bounds),
                };
                window.found(found, R::IN_REVERSE);
                if let Some(index) = found {
                    break index;
                }
            },
        };
        window.hand_out(index);
        Some((index, children.take_kept_at(index)))
    }

    /// Makes this child the cause of a failure, unless there is a cause already. Whether it did.
    pub(crate) fn fail(mut self: Pin<&mut Self>, index: usize) -> bool {
        let fails = matches!(self.as_mut().project().progress.phase, Phase::Running);
        if fails {
            self.cancel_children(Cause::Failed(index));
        }
        fails
    }

    /// Ends the gather, when no child is left and no output waits. `failure` is that of [`fail`](Self::fail).
    pub(crate) fn take_end(mut self: Pin<&mut Self>, cause: Cause, failure: Option<C::Stop>) -> Option<C::Stop> {
        self.as_mut().end_settings();
        let stop = match (cause, failure) {
            (_, Some(failure)) => Some(failure),
            (Cause::Failed(index), None) if !C::Policy::KEEPS_ALL => {
                Some(self.as_mut().project().children.take_stop(index))
            }
            _ => None,
        };
        self.close(cause);
        stop
    }
}
