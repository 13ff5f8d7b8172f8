//! How a child is cancelled: the adapters of a future that make it a draining child.
//!
//! The adapters call their closures through a function pointer that is made where the closure's signature is known, and
//! so are children whatever the type of the closure is. With a bound on the closure in place of it, an adapter whose
//! closure borrows would not be known to be a child where the compiler has erased lifetimes, and a task that gathers it
//! not to be `Send` ("implementation of `FnOnce` is not general enough", rust-lang/rust#102211).

/// Gives each adapter the methods that make another child of it. They are inherent, so that no trait has to be imported
/// for them: those of `Child` would clash with those of a future's extensions.
macro_rules! impl_adapter {
    ($Adapter:ident<$($lifetime:lifetime,)? $($Parameter:ident $(: $Bound:ident)?),+>) => {
        impl<$($lifetime,)? $($Parameter $(: $Bound)?),+> $Adapter<$($lifetime,)? $($Parameter),+>
        where
            Self: $crate::Child,
        {
            /// Passes its output through `map`. See [`Child::map`](crate::Child::map).
            pub fn map<Op, Mapped>(self, map: Op) -> $crate::Map<Self, Op, Mapped>
            where
                Op: FnOnce(<Self as $crate::Child>::Output) -> Mapped,
            {
                $crate::Child::map(self, map)
            }

            /// Passes its error through `map`. See [`Child::map_err`](crate::Child::map_err).
            pub fn map_err<Value, Error, Op, Mapped>(self, map: Op) -> $crate::Map<Self, Op, Result<Value, Mapped>>
            where
                Self: $crate::Child<Output = Result<Value, Error>>,
                Op: FnOnce(Error) -> Mapped,
            {
                $crate::Child::map_err(self, map)
            }

            /// Makes one `Result` of its output, which is one within another. See
            /// [`Child::flatten`](crate::Child::flatten).
            pub fn flatten<Value, Error, Outer>(self) -> $crate::Map<Self, (), Result<Value, Error>>
            where
                Self: $crate::Child<Output = Result<Result<Value, Error>, Outer>>,
                Error: From<Outer>,
            {
                $crate::Child::flatten(self)
            }

            /// Cancels this child alone when `signal` is ready. See
            /// [`CancelExt::cancel_when`](crate::CancelExt::cancel_when).
            pub fn cancel_when<Signal>(self, signal: Signal) -> $crate::CancelWhen<Self, Signal>
            where
                Signal: Future,
            {
                $crate::CancelWhen::new(self, signal)
            }
        }
    };
}

#[cfg(feature = "alloc")]
mod boxed;
mod cancel_when;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
mod cancellable;
mod cleanup;
mod either;
mod finally;
mod map;
mod on_cancel;
mod shield;

use core::pin::Pin;

#[cfg(feature = "alloc")]
pub use self::boxed::{BoxChild, LocalBoxChild};
pub use self::cancel_when::CancelWhen;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
pub use self::cancellable::{CancelSignal, Cancellable, cancellable};
pub use self::cleanup::Cleanup;
pub use self::either::EitherChild;
pub use self::finally::Finally;
pub use self::map::Map;
pub use self::on_cancel::WithHook;
pub use self::shield::Shield;

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
/// The adapters are [`Child`](crate::Child)ren and no longer futures, so that none of them is awaited by mistake outside of a gather,
/// where nobody would tell it anything. So each has a `map`, a `map_err`, a `flatten` and a `cancel_when` of its own; a
/// future's extensions come before the adapter. An adapter takes no second one but [`cancel_when`](Self::cancel_when),
/// which cancels one child by a signal of its own.
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
        WithHook::new(self, hook)
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
        Cleanup::new(self, make)
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
        Shield::new(self)
    }

    /// Cancels this child alone when `signal` is ready, whatever it is ready with. The output becomes
    /// `Result<Output, Cancelled>`.
    ///
    /// *When to use.* To cancel one child and let its siblings go on, as asyncio's `task.cancel()` does; for a time limit of
    /// one child after which it may still clean up; to kick one connection. Every adapter has this method too. A child
    /// written by hand gets it by way of [`map`](crate::Child::map), and a group of futures by its own
    /// [`cancel_when`](crate::Group::cancel_when).
    ///
    /// *Outcomes.* `Ok` with the child's output, or `Err(Cancelled)`. In a fail-fast group each is an output like any
    /// other, so `Err(Cancelled)` cancels the siblings; [`flatten`](crate::Child::flatten) and [`map`](crate::Child::map) make of it what
    /// they need.
    ///
    /// *Cancellation.* The signal is polled before the child in every poll. When it is ready, the child is cancelled as its
    /// kind is, in that poll: a plain one is dropped, another one is told and drained. It ends with `Err(Cancelled)` when
    /// its drain has ended; what the drain ended with is dropped. So a child that would have ended in the poll in which
    /// its signal is ready is cancelled. One whose signal is ready at first never starts; its `on_cancel` hook runs, as
    /// that of any child that was never polled.
    ///
    /// Cancelled by its group, the child is drained as without a signal, and ends with `Ok` of a late result, if it has one;
    /// if its own signal was ready before, with `Err(Cancelled)`. The signal is dropped when it was ready, when the child
    /// has ended or its output is known, and when the group cancels it.
    ///
    /// *Panics.* One of the signal leaves the group's poll, as a panic of the child does.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{CancelExt, Cancelled, gather};
    /// use std::cell::Cell;
    /// use std::future::pending;
    ///
    /// let goodbyes = Cell::new(0);
    /// let connection = || pending::<()>().cleanup(|| async { goodbyes.set(goodbyes.get() + 1) });
    ///
    /// let (kick, kicked) = futures_channel::oneshot::channel::<()>();
    /// let admin = async {
    ///     smol::future::yield_now().await;
    ///     drop(kick);
    /// };
    /// let group = gather((connection().cancel_when(kicked), admin)).settle();
    /// assert_eq!(pollster::block_on(group), (Err(Cancelled), ()));
    /// assert_eq!(goodbyes.get(), 1);
    /// ```
    ///
    /// A time limit for each of several children; whoever exceeds it says goodbye, and the others go on:
    ///
    /// ```
    /// use gather::{CancelExt, Cancelled, gather};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let request = |seconds| async move {
    ///     tokio::time::sleep(Duration::from_secs(seconds)).await;
    ///     seconds
    /// };
    /// let limit = || tokio::time::sleep(Duration::from_secs(5));
    /// let requests = [1, 9, 3].map(|seconds| request(seconds).cleanup(|| async { /* goodbye */ }).cancel_when(limit()));
    /// assert_eq!(gather(requests).settle().await, [Ok(1), Err(Cancelled), Ok(3)]);
    /// # }
    /// ```
    fn cancel_when<S: Future>(self, signal: S) -> CancelWhen<Self, S> {
        CancelWhen::new(self, signal)
    }
}

impl<F: Future> CancelExt for F {}
