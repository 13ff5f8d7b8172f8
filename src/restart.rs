//! A group that is restarted when it fails.

mod hooks;
mod limit;
mod report;
mod supervisor;

use core::fmt;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_core::FusedFuture;
use pin_project::pin_project;

use self::hooks::{Always, Nobody, Observe, When};
use self::limit::Allow;
use self::report::{EndOf, Ended, ResultOf, Supervise};
use crate::children::{Children, Indexed, IntoChildren};
use crate::gather::Gather;
use crate::handshake::Handshake;
use crate::outcome::{Cause, Failure};
use crate::settings::cancelling::Cancelling;
use crate::settings::delay::{Delay, NoBackoff};
use crate::settings::hook::Hook;
use crate::settings::order::Order;
use crate::settings::signal::{NoSignal, Signal};
use crate::trace::{Loses, Scope, event, span};

pub use limit::Limit;
pub use report::{GivenUp, RestartReport};
pub use supervisor::{ErrorOf, Supervisor, restart};

/// The future of a [`Supervisor`]. For what it resolves to, and when, see [`restart`] and the settings of [`Supervisor`].
///
/// `Debug` shows the state, the count of restarts and the gather of the generation, if there is one. It polls nothing. For
/// `Debug` and [`is_terminated`](FusedFuture::is_terminated) see also [`Gather`].
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct Restart<I, M, C: Indexed, T, L, K = Cancelling, S = NoSignal, W = Always, O = Nobody, B = NoBackoff> {
    make: Factory<M, I>,
    #[pin]
    gather: Gather<C, K>,
    /// The gather of the last generation, until the next one is made.
    last: T,
    limit: L,
    restarts: u32,
    when: W,
    observe: O,
    #[pin]
    backoff: B,
    #[pin]
    signal: S,
    state: State,
    scope: Scope,
}

/// The factory, and the function that calls it; see [`adapters`](crate::adapters).
struct Factory<M, I> {
    make: M,
    call: fn(&mut M) -> I,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No generation was made yet.
    Unpolled,
    /// No child is left; the next poll makes a generation.
    Between,
    /// A generation is alive: it runs, or drains after a failure.
    Running,
    /// No child is left; the backoff is alive.
    BackingOff,
    /// Cancelled from outside; a generation may still drain. No other is made.
    Cancelled,
    Ended,
    Panicked,
}

impl<I, M, C, T: Default, L, K, S, W, O, B> Restart<I, M, C, T, L, K, S, W, O, B>
where
    C: Children,
    I: IntoChildren<C::Policy, Children = C>,
{
    fn new(make: Factory<M, I>, limit: L, cancelling: K, signal: S, when: W, observe: O, backoff: B) -> Self {
        Restart {
            make,
            gather: Gather::vacant(I::vacant(), cancelling),
            last: T::default(),
            limit,
            restarts: 0,
            when,
            observe,
            backoff,
            signal,
            state: State::Unpolled,
            scope: Scope::closed(),
        }
    }
}

impl<I, M, C, T, L, G, H, R, S, W, O, B> Restart<I, M, C, T, L, Cancelling<G, H, R>, S, W, O, B>
where
    C: Children<Policy: Supervise<C, Last = T>>,
    I: IntoChildren<C::Policy, Children = C>,
    T: Default,
    L: Allow,
    G: Delay<()>,
    H: Hook,
    R: Order,
    S: Signal,
    W: When<C::Stop>,
    O: Observe<C::Stop>,
    B: Delay<C::Stop>,
{
    // Not inlined: the children are on the stack here, and would take stack in every poll.
    #[inline(never)]
    fn make_generation(self: Pin<&mut Self>) {
        let this = self.project();
        *this.last = T::default();
        let Factory { make, call } = this.make;
        let children = call(make);
        event!(DEBUG, restarts = *this.restarts; "generation made");
        this.gather.renew(children.into_children());
        *this.state = State::Running;
    }

    /// Polls the generation, and shows a failure to the observer at once. Not inlined, so that the poll of the gather is
    /// compiled once.
    #[inline(never)]
    fn poll_generation(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<EndOf<C>>> {
        let this = self.project();
        let (observe, restarts, recent) = (this.observe, *this.restarts, this.limit.known(*this.restarts));
        this.gather.poll_observed(cx, |index, error| observe.observe(&Failure { index, error, restarts, recent }))
    }

    /// Ready when the backoff is over and dropped.
    fn wait(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let polled = this.backoff.as_mut().poll_over(cx);
        if polled.is_ready() {
            this.backoff.end();
            *this.state = State::Between;
        }
        polled
    }

    /// After a failure, when no child is left: begins the backoff, or returns why there is no restart.
    fn judge(self: Pin<&mut Self>, error: &C::Stop) -> Option<GivenUp> {
        let this = self.project();
        let Some(Cause::Failed(index)) = this.gather.cause() else {
            unreachable!("an error is that of a child that failed")
        };
        let restarts = *this.restarts;
        let mut failure = Failure { index, error, restarts, recent: this.limit.known(restarts) };
        if !this.when.retries(&failure) {
            event!(WARN, child = index, restarts = restarts; "not retried");
            return Some(GivenUp::NotRetried);
        }
        failure.recent = this.limit.recent(restarts);
        if !this.limit.allow(failure.recent) {
            event!(WARN, child = index, restarts = restarts, recent = failure.recent; "limit reached");
            return Some(GivenUp::LimitReached);
        }
        event!(INFO, child = index, restarts = restarts, recent = failure.recent; "restarting");
        this.backoff.begin(Some(&failure));
        *this.restarts = restarts.saturating_add(1);
        *this.state = State::BackingOff;
        None
    }

    /// The result, when no child is left. `end` is that of the generation that was alive, if there was one.
    fn end(
        self: Pin<&mut Self>,
        end: Option<EndOf<C>>,
        given_up: Option<GivenUp>,
        is_cancelled: bool,
    ) -> Poll<Option<ResultOf<C, S>>> {
        let this = self.project();
        this.signal.end();
        this.backoff.end();
        *this.state = State::Ended;
        event!(DEBUG, restarts = *this.restarts; "resolved");
        let ended = Ended { end, last: mem::take(this.last), restarts: *this.restarts, given_up, is_cancelled };
        Poll::Ready(C::Policy::resolve_restart::<S>(ended, || this.gather.take_vacant()))
    }

    fn end_cancelled(self: Pin<&mut Self>, end: Option<EndOf<C>>) -> Poll<Option<ResultOf<C, S>>> {
        self.end(end, None, true)
    }

    /// Prevents further generations. Whether one was running, and was cancelled by this call.
    fn cancel_generation(self: Pin<&mut Self>) -> bool {
        let this = self.project();
        event!(DEBUG, restarts = *this.restarts; "cancelling");
        let was = mem::replace(this.state, State::Cancelled);
        this.signal.end();
        this.backoff.end();
        was == State::Running && this.gather.cancel()
    }
}

impl<I, M, C, T, L, G, H, R, S, W, O, B> Handshake for Restart<I, M, C, T, L, Cancelling<G, H, R>, S, W, O, B>
where
    C: Children<Policy: Supervise<C, Last = T>>,
    I: IntoChildren<C::Policy, Children = C>,
    T: Default,
    L: Allow,
    G: Delay<()>,
    H: Hook,
    R: Order,
    S: Signal,
    W: When<C::Stop>,
    O: Observe<C::Stop>,
    B: Delay<C::Stop>,
{
    type Output = ResultOf<C, S>;

    fn step(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Output>> {
        let mut this = self;
        // Before the children or the backoff, so that they cannot use up the runtime's budget before it; if it is pending,
        // once more after them.
        let mut is_fired = this.as_mut().project().signal.poll_fired(cx).is_ready();
        loop {
            match *this.as_mut().project().state {
                State::Unpolled | State::Between => {
                    if is_fired {
                        return this.end_cancelled(None);
                    }
                    this.as_mut().make_generation();
                }
                State::Running => {
                    let polled = this.as_mut().poll_generation(cx);
                    if matches!(&polled, Poll::Ready(Some(end)) if C::Policy::failure(end).is_none()) {
                        let Poll::Ready(end) = polled else { unreachable!("matched above") };
                        return this.end(end, None, false);
                    }
                    is_fired = is_fired || this.as_mut().project().signal.poll_fired(cx).is_ready();
                    let Poll::Ready(end) = polled else {
                        if is_fired && this.as_mut().cancel_generation() {
                            continue;
                        }
                        return Poll::Pending;
                    };
                    if is_fired {
                        return this.end_cancelled(end);
                    }
                    let end = end.expect("a running generation was cancelled by nobody");
                    let error = C::Policy::failure(&end).expect("it did not complete");
                    if let Some(given_up) = this.as_mut().judge(error) {
                        return this.end(Some(end), Some(given_up), false);
                    }
                    *this.as_mut().project().last = C::Policy::keep_last(end);
                    // Polled now, so that its waker is registered; but this poll makes no other generation.
                    if this.as_mut().wait(cx).is_ready() {
                        cx.waker().wake_by_ref();
                    }
                    return Poll::Pending;
                }
                State::BackingOff => {
                    if is_fired {
                        return this.end_cancelled(None);
                    }
                    let waited = this.as_mut().wait(cx);
                    is_fired = this.as_mut().project().signal.poll_fired(cx).is_ready();
                    if waited.is_pending() && !is_fired {
                        return Poll::Pending;
                    }
                }
                State::Cancelled => {
                    if this.as_mut().project().gather.has_ended() {
                        return this.end_cancelled(None);
                    }
                    return match this.as_mut().poll_generation(cx) {
                        Poll::Pending => Poll::Pending,
                        Poll::Ready(end) => this.end_cancelled(end),
                    };
                }
                State::Ended | State::Panicked => unreachable!("refused before the step"),
            }
        }
    }

    fn begin_cancel(mut self: Pin<&mut Self>) -> bool {
        *self.as_mut().project().state != State::Cancelled && self.cancel_generation()
    }

    fn assert_pollable(self: Pin<&mut Self>) {
        match self.project().state {
            State::Ended => panic!("`Restart` polled after completion"),
            State::Panicked => panic!("`Restart` polled after a panic"),
            _ => {}
        }
    }

    fn enter(self: Pin<&mut Self>) -> Scope {
        let this = self.project();
        if *this.state == State::Unpolled {
            return Scope::open(span!(INFO, "restart"));
        }
        this.scope.take()
    }

    fn leave(self: Pin<&mut Self>, scope: Scope) {
        let this = self.project();
        if *this.state == State::Ended {
            scope.close();
        } else {
            // The span of the gather inside warns of lost clean-ups.
            this.scope.pause(scope, || Loses::Nothing);
        }
    }

    fn poison(self: Pin<&mut Self>) {
        let this = self.project();
        *this.state = State::Panicked;
        *this.last = T::default();
        this.gather.poison();
        this.signal.end();
        this.backoff.end();
    }
}

impl<I, M, C, T, L, K, S, W, O, B> Future for Restart<I, M, C, T, L, K, S, W, O, B>
where
    Self: Handshake,
    C: Indexed,
{
    type Output = <Self as Handshake>::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_end(cx).map(|output| output.expect("nothing but a signal or a parent cancels"))
    }
}

impl<I, M, C, T, L, K, S, W, O, B> FusedFuture for Restart<I, M, C, T, L, K, S, W, O, B>
where
    Self: Future,
    C: Indexed,
{
    fn is_terminated(&self) -> bool {
        matches!(self.state, State::Ended | State::Panicked)
    }
}

impl<I, M, C: Indexed, T, L, K, S, W, O, B> fmt::Debug for Restart<I, M, C, T, L, K, S, W, O, B>
where
    Gather<C, K>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut restart = f.debug_struct("Restart");
        restart.field("state", &self.state).field("restarts", &self.restarts);
        if let State::Running | State::Cancelled = self.state {
            restart.field("gather", &self.gather);
        }
        restart.finish_non_exhaustive()
    }
}
