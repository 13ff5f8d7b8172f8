//! How a child is cancelled: the adapters of a future that make it a draining child.

#[cfg(feature = "alloc")]
mod boxed;
mod finally;

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project::pin_project;

#[cfg(feature = "alloc")]
pub use self::boxed::{BoxChild, LocalBoxChild};
pub use self::finally::Finally;
use crate::child::{Child, OnCancel};

/// Extension of every [`Future`]: how it is cancelled as a child of a gather.
///
/// | the child | when the gather is cancelled |
/// |---|---|
/// | plain | is dropped in place, at once |
/// | [`on_cancel`](Self::on_cancel) | is told through the hook, then polled to its own end |
/// | [`cleanup`](Self::cleanup) | is dropped in place, then its clean-up is polled to its end |
/// | [`finally`](Self::finally) | the same; its clean-up also runs when it ends by itself |
/// | [`shield`](Self::shield) | is told nothing, and polled to its own end |
///
/// All but a plain one hold the gather back until they have ended, at most for its `grace`. None of them runs when the
/// gather is dropped: dropping is not draining.
///
/// The adapters are [`Child`]ren and no longer futures, so that none of them is awaited by mistake outside of a gather,
/// where nobody would tell it anything. So each has a `map` and a `map_err` of its own; a future's extensions come
/// before the adapter. An adapter takes no second one.
pub trait CancelExt: Future + Sized {
    /// Told through the hook when the gather is cancelled, then polled until it ends by itself.
    ///
    /// The hook runs at most once, before any child is polled again, and also for a future that was never polled (it
    /// may hold a task that was spawned before). It does not run once the future has ended.
    ///
    /// A future that was never polled begins its work after the hook, in the drain. One that is to do nothing then
    /// looks first whether it was told; or it gets a [`cleanup`](Self::cleanup) or a [`shield`](Self::shield), which
    /// drop it.
    ///
    /// # Examples
    ///
    /// A task of tokio's is aborted when its sibling fails, and waited for until it is really gone:
    ///
    /// ```
    /// use gather::{CancelExt, gather};
    /// use std::future::pending;
    /// use std::sync::Arc;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let socket = Arc::new(()); // stands for one
    /// let held = socket.clone();
    /// let job = async move {
    ///     let _held = held;
    ///     pending::<Result<(), &str>>().await
    /// };
    /// let task = tokio::spawn(job).on_cancel(|task| task.abort()).map(|joined| joined.unwrap_or(Err("aborted")));
    ///
    /// assert_eq!(gather((task, async { Err::<(), _>("refused") })).await, Err("refused"));
    /// assert_eq!(Arc::strong_count(&socket), 1); // the task holds it no more
    /// # }
    /// ```
    fn on_cancel<H>(self, hook: H) -> WithHook<Self, H>
    where
        H: FnOnce(Pin<&mut Self>),
    {
        WithHook { future: self, hook: Some(hook), call: |hook, future| hook(future) }
    }

    /// Dropped in place when the gather is cancelled; then `make` is called and its future polled to its end. The child
    /// ends without a result.
    ///
    /// `make` is called when the drain polls the child for the first time: all plain siblings are gone by then. A
    /// future that was never polled has nothing to clean up: it is dropped, and `make` is not called. Nor is it when
    /// the future has ended by itself: what belongs to every end goes into the future (see
    /// [`cancellation`](crate::guide::cancellation), "At every end"). A sibling before it that fails at once is enough
    /// for it never to be polled.
    ///
    /// What the clean-up ends with is dropped, an `Err` too: handle it in there. `make` that is not called is dropped
    /// with the child. The future and the clean-up cannot both hold a `&mut` of one thing; a `RefCell` gives it to one
    /// after the other.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{CancelExt, gather};
    /// use std::cell::RefCell;
    /// use std::future::{pending, ready};
    ///
    /// let log = RefCell::new(Vec::new());
    /// let session = async {
    ///     log.borrow_mut().push("hello");
    ///     pending::<Result<(), &str>>().await
    /// };
    /// let session = session.cleanup(|| async { log.borrow_mut().push("goodbye") });
    /// assert_eq!(pollster::block_on(gather((session, ready(Err::<(), _>("failed"))))), Err("failed"));
    /// assert_eq!(*log.borrow(), ["hello", "goodbye"]);
    /// ```
    fn cleanup<M, C>(self, make: M) -> Cleanup<Self, M, C>
    where
        M: FnOnce() -> C,
        C: Future,
    {
        Cleanup { stage: Stage::Work { work: self, started: false }, make: Some(make), call: |make| make() }
    }

    /// As [`cleanup`](Self::cleanup), and the clean-up also runs when the future ends by itself: at every end.
    ///
    /// `make` is called once, when the future has been destroyed, because it ended or because it was cut off. It is not
    /// called for a future that was never polled, nor when the gather is dropped.
    ///
    /// Until the clean-up has ended, the future's output is kept. If that output ends the gather (an `Err` under
    /// fail-fast), the siblings are cancelled in the poll in which the *future* ended: the clean-up goes on beside theirs,
    /// within the same [`grace`](crate::Group::grace). When the grace is over first, the clean-up is dropped, and the
    /// output is not lost. A future that is cut off ends without a result.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{CancelExt, gather};
    /// use std::cell::RefCell;
    /// use std::future::{pending, ready};
    ///
    /// let log = RefCell::new(Vec::new());
    /// let close = |name| {
    ///     let log = &log;
    ///     move || async move { log.borrow_mut().push(name) }
    /// };
    /// let calm = ready(Ok::<_, &str>(1)).finally(close("calm"));
    /// let failing = ready(Err::<(), _>("failed")).finally(close("failing"));
    /// let cut_off = pending::<Result<(), _>>().finally(close("cut off"));
    /// let never_polled = pending::<Result<(), _>>().finally(close("never polled"));
    /// let group = gather((calm, cut_off, failing, never_polled));
    /// assert_eq!(pollster::block_on(group), Err("failed"));
    /// assert_eq!(*log.borrow(), ["calm", "failing", "cut off"]);
    /// ```
    fn finally<M, C>(self, make: M) -> Finally<Self, M, C>
    where
        M: FnOnce() -> C,
        C: Future,
    {
        Finally::new(self.cleanup(make))
    }

    /// Told nothing when the gather is cancelled, and polled until it ends by itself.
    ///
    /// A future that was never polled is dropped. One that never ends by itself holds the gather back until its `grace`
    /// is over.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{CancelExt, Outcome, gather};
    /// use std::future::{poll_fn, ready};
    /// use std::task::Poll;
    ///
    /// let mut steps = 0;
    /// let commit = poll_fn(|cx| {
    ///     steps += 1;
    ///     if steps == 3 {
    ///         return Poll::Ready(Ok::<_, &str>("committed"));
    ///     }
    ///     cx.waker().wake_by_ref();
    ///     Poll::Pending
    /// });
    /// let report = pollster::block_on(gather((commit.shield(), ready(Err::<(), _>("failed")))).report());
    /// assert_eq!(report.outcomes.0, Outcome::Drained(Some(Ok("committed"))));
    /// ```
    fn shield(self) -> Shield<Self> {
        Shield { future: self, started: false }
    }
}

impl<F: Future> CancelExt for F {}

// The adapters call their closures through a function pointer that is made where the closure's signature is known, and
// so are children whatever `H`, `M` and `F` are. With a bound on the closure in place of it, an adapter whose closure
// borrows would not be known to be a child where the compiler has erased lifetimes, and a task that gathers it not to
// be `Send` ("implementation of `FnOnce` is not general enough", rust-lang/rust#102211).

/// Child of [`CancelExt::on_cancel`]. Its hook is dropped with it, or once it was called.
///
/// # Examples
///
/// ```
/// use gather::{CancelExt, WithHook, gather};
/// use std::future::{Ready, ready};
/// use std::pin::Pin;
///
/// let child: WithHook<Ready<Result<u8, ()>>, fn(Pin<&mut Ready<Result<u8, ()>>>)> = ready(Ok(1)).on_cancel(|_| ());
/// assert_eq!(pollster::block_on(gather([child])), Ok([1]));
/// ```
#[pin_project]
#[must_use = "a child does nothing unless it is gathered"]
pub struct WithHook<F, H> {
    #[pin]
    future: F,
    hook: Option<H>,
    call: fn(H, Pin<&mut F>),
}

impl<F: Future, H> Child for WithHook<F, H> {
    type Output = F::Output;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        let this = self.project();
        if let Some(hook) = this.hook.take() {
            (this.call)(hook, this.future);
        }
        OnCancel::Drain
    }
}

/// Child of [`CancelExt::cleanup`]. Its closure is dropped with it, or once it was called.
///
/// # Examples
///
/// ```
/// use gather::{CancelExt, Cleanup, gather};
/// use std::future::{Ready, ready};
///
/// // The third parameter is the clean-up's future.
/// let child: Cleanup<Ready<Result<u8, ()>>, fn() -> Ready<()>, Ready<()>> = ready(Ok(1)).cleanup(|| ready(()));
/// assert_eq!(pollster::block_on(gather([child])), Ok([1]));
/// ```
#[pin_project]
#[must_use = "a child does nothing unless it is gathered"]
pub struct Cleanup<F, M, C> {
    #[pin]
    stage: Stage<F, C>,
    make: Option<M>,
    call: fn(M) -> C,
}

/// What is alive of a [`Cleanup`]; dropping it drops just that.
#[pin_project(project = StageProj)]
enum Stage<F, C> {
    Work {
        #[pin]
        work: F,
        started: bool,
    },
    /// Cancelled: the work is gone, its clean-up is not made yet.
    Cancelled,
    Cleaning(#[pin] C),
}

impl<F: Future, M, C: Future> Child for Cleanup<F, M, C> {
    type Output = F::Output;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let StageProj::Work { work, started } = self.project().stage.project() else {
            panic!("`Cleanup::poll_child` called after `cancel`");
        };
        *started = true;
        work.poll(cx)
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        let mut stage = self.project().stage;
        match stage.as_mut().project() {
            StageProj::Work { started: false, .. } => return OnCancel::Drop,
            StageProj::Work { started: true, .. } => stage.set(Stage::Cancelled),
            // The work has ended by itself: see `Finally`.
            StageProj::Cancelled | StageProj::Cleaning(_) => {}
        }
        OnCancel::Drain
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let mut this = self.project();
        if let StageProj::Cancelled = this.stage.as_mut().project() {
            if let Some(make) = this.make.take() {
                this.stage.set(Stage::Cleaning((this.call)(make)));
            }
        }
        match this.stage.project() {
            StageProj::Cleaning(cleaning) => cleaning.poll(cx).map(|_| None),
            _ => panic!("`Cleanup::poll_drain` called before `cancel`, or after its clean-up panicked"),
        }
    }

    fn drains(self: Pin<&mut Self>) -> bool {
        !matches!(self.project().stage.project(), StageProj::Work { started: false, .. })
    }
}

/// Child of [`CancelExt::shield`].
///
/// # Examples
///
/// ```
/// use gather::{CancelExt, Shield, gather};
/// use std::future::{Ready, ready};
///
/// let child: Shield<Ready<Result<u8, ()>>> = ready(Ok(1)).shield();
/// assert_eq!(pollster::block_on(gather([child])), Ok([1]));
/// ```
#[pin_project]
#[must_use = "a child does nothing unless it is gathered"]
pub struct Shield<F> {
    #[pin]
    future: F,
    started: bool,
}

impl<F: Future> Child for Shield<F> {
    type Output = F::Output;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        *this.started = true;
        this.future.poll(cx)
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        if *self.project().started { OnCancel::Drain } else { OnCancel::Drop }
    }

    fn drains(self: Pin<&mut Self>) -> bool {
        *self.project().started
    }
}

/// Child of the adapters' `map`: the child before it, with its output passed through a closure, also one that comes
/// during the drain. The closure is dropped with the child, or once it was called.
///
/// # Examples
///
/// ```
/// use gather::{CancelExt, gather};
/// use std::future::ready;
///
/// let number = ready("12".parse::<u8>()).shield().map(|parsed| parsed.map(|number| number + 1));
/// let other = ready("12x".parse::<u8>()).shield();
/// let both = gather((number, other.map_err(|_| "not a number"))).report();
/// let (number, other) = pollster::block_on(both).outcomes;
/// assert_eq!((number.ok(), other.err()), (Some(13), Some("not a number")));
/// ```
#[pin_project]
#[must_use = "a child does nothing unless it is gathered"]
pub struct Map<C: Child, F, T, O = <C as Child>::Output> {
    #[pin]
    child: C,
    map: Option<F>,
    call: fn(F, O) -> T,
}

impl<C: Child<Output = O>, F, T, O> Map<C, F, T, O> {
    pub(crate) fn new(child: C, map: F) -> Self
    where
        F: FnOnce(O) -> T,
    {
        Map { child, map: Some(map), call: |map, output| map(output) }
    }

    fn apply(map: &mut Option<F>, call: fn(F, O) -> T, output: O) -> T {
        call(map.take().expect("`Map` polled after its end"), output)
    }
}

impl<C: Child<Output = O>, F, T, O> Child for Map<C, F, T, O> {
    type Output = T;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = self.project();
        this.child.poll_child(cx).map(|output| Self::apply(this.map, *this.call, output))
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        self.project().child.cancel()
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.project();
        this.child.poll_drain(cx).map(|output| output.map(|output| Self::apply(this.map, *this.call, output)))
    }

    fn drains(self: Pin<&mut Self>) -> bool {
        self.project().child.drains()
    }
}

/// Gives each adapter its `map` and `map_err`. They are inherent, because a trait's would clash with those of a
/// future's extensions.
macro_rules! impl_map {
    ($($adapter:ident<$($lifetime:lifetime,)? $($parameter:ident $(: $Bound:ident)?),+>)*) => {$(
        impl<$($lifetime,)? $($parameter $(: $Bound)?),+> $adapter<$($lifetime,)? $($parameter),+>
        where
            Self: Child,
        {
            /// Passes its output through `map`, also one that comes during the drain.
            ///
            /// # Examples
            ///
            /// See [`Map`](crate::Map).
            pub fn map<Op, Mapped>(self, map: Op) -> $crate::Map<Self, Op, Mapped>
            where
                Op: FnOnce(<Self as Child>::Output) -> Mapped,
            {
                $crate::Map::new(self, map)
            }

            /// Passes its error through `map`, as [`Result::map_err`] does; also one that comes during the drain.
            ///
            /// # Examples
            ///
            /// See [`Map`](crate::Map).
            pub fn map_err<Value, Error, Op, Mapped>(
                self,
                map: Op,
            ) -> $crate::Map<Self, impl FnOnce(Result<Value, Error>) -> Result<Value, Mapped>, Result<Value, Mapped>>
            where
                Self: Child<Output = Result<Value, Error>>,
                Op: FnOnce(Error) -> Mapped,
            {
                self.map(|output| output.map_err(map))
            }
        }
    )*};
}
use impl_map;

impl_map! { WithHook<F, H> Cleanup<F, M, C> Shield<F> Map<C: Child, F, T, O> }

impl<F, H> fmt::Debug for WithHook<F, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithHook").field("told", &self.hook.is_none()).finish_non_exhaustive()
    }
}

impl<F, M, C> fmt::Debug for Cleanup<F, M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Work { .. } => "work",
            Stage::Cancelled => "cancelled",
            Stage::Cleaning(_) => "cleaning",
        };
        f.debug_struct("Cleanup").field("stage", &format_args!("{stage}")).finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for Shield<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shield").field("started", &self.started).finish_non_exhaustive()
    }
}

impl<C: Child, F, T, O> fmt::Debug for Map<C, F, T, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").finish_non_exhaustive()
    }
}
