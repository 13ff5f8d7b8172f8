//! Adapters of futures: how a child is cancelled.
//!
//! An adapter calls its closure through a function pointer, which is made where the signature of the closure is known. So
//! it is a child whatever the type of the closure is. If it had a bound on the closure instead, then wherever the compiler
//! has erased lifetimes, an adapter with a closure that borrows would not be a child, and a task that gathers it would not
//! be `Send` ("implementation of `FnOnce` is not general enough", rust-lang/rust#102211).

/// Gives an adapter the methods that turn it into another child. They are inherent, as importing `Child` for them would
/// make `map` of a future ambiguous beside `futures_util::FutureExt`.
macro_rules! impl_adapter {
    ($Adapter:ident<$($lifetime:lifetime,)? $($Parameter:ident $(: $Bound:ident)?),+>) => {
        impl<$($lifetime,)? $($Parameter $(: $Bound)?),+> $Adapter<$($lifetime,)? $($Parameter),+>
        where
            Self: $crate::Child,
        {
            /// Converts the output by `map`. See [`Child::map`](crate::Child::map).
            pub fn map<Op, Mapped>(self, map: Op) -> $crate::Map<Self, Op, Mapped>
            where
                Op: FnOnce(<Self as $crate::Child>::Output) -> Mapped,
            {
                $crate::Child::map(self, map)
            }

            /// Converts the error by `map`. See [`Child::map_err`](crate::Child::map_err).
            pub fn map_err<Value, Error, Op, Mapped>(self, map: Op) -> $crate::Map<Self, Op, Result<Value, Mapped>>
            where
                Self: $crate::Child<Output = Result<Value, Error>>,
                Op: FnOnce(Error) -> Mapped,
            {
                $crate::Child::map_err(self, map)
            }

            /// Turns a result within a result into one. See [`Child::flatten`](crate::Child::flatten).
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

/// Adapters of every [`Future`] that choose how it is cancelled as a child of a gather.
///
/// | the child | when the gather is cancelled |
/// |---|---|
/// | plain, without an adapter | is dropped in place, at once |
/// | [`on_cancel`](Self::on_cancel) | is told by a hook, then polled until it ends by itself |
/// | [`cleanup`](Self::cleanup) | is dropped in place, then its clean-up is polled until it ends |
/// | [`finally`](Self::finally) | the same; the clean-up also runs if it ends by itself |
/// | [`shield`](Self::shield) | is told nothing, and polled until it ends by itself |
///
/// For a choice between them see [`children`](crate::guide::children).
///
/// The gather waits for all but plain children, at most for its `grace`. If the gather is dropped, no hook and no clean-up
/// runs.
///
/// An adapter is a [`Child`](crate::Child) and not a future, so it cannot be awaited by mistake outside of a gather, where it
/// would never be told. Apply the extensions of `futures_util` before the adapter; after it there are `map`, `map_err`,
/// `flatten` and [`cancel_when`](Self::cancel_when), and no second adapter.
pub trait CancelExt: Future + Sized {
    /// Calls `hook` when the gather is cancelled, then polls the future until it ends by itself.
    ///
    /// The hook runs at most once, before any child is polled again. It does not run if the future has ended. It also runs
    /// if the future was never polled, since that may be the handle of a task that runs already.
    ///
    /// A future that was never polled begins its work after the hook, in the drain. If it should not, let it check first
    /// whether it was told, or use [`cleanup`](Self::cleanup) or [`shield`](Self::shield), which drop it.
    ///
    /// # Examples
    ///
    /// When its sibling fails, a task of tokio is aborted, and the group waits until it is gone:
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

    /// Drops the future in place when the gather is cancelled, then calls `make` and polls the future that it returns. The
    /// child ends without a result.
    ///
    /// `make` is called when the drain polls the child for the first time; all plain siblings are gone by then. It is not
    /// called if the future was never polled, as there is nothing to clean up; note that a sibling before it that fails at
    /// once is enough for that. Nor is it called if the future ends by itself; for a clean-up at every end use
    /// [`finally`](Self::finally). If `make` is not called, it is dropped with the child.
    ///
    /// The output of the clean-up is dropped, even if it is an `Err`, so handle errors inside. The future and its clean-up
    /// cannot both hold a `&mut` to the same thing; use a `RefCell`, or [`cancellable`](crate::cancellable()).
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

    /// Like [`cleanup`](Self::cleanup), but the clean-up also runs if the future ends by itself.
    ///
    /// `make` is called once, after the future was dropped, whether it had ended or was cancelled. It is not called if the
    /// future was never polled or if the gather is dropped.
    ///
    /// The output of the future is kept until the clean-up has ended. If that output ends the gather (an `Err` under
    /// fail-fast), the siblings are cancelled in the poll in which the *future* ended, and the clean-up runs beside theirs,
    /// within the same [`grace`](crate::Group::grace). If the grace is over first, the clean-up is dropped, but the output
    /// is not lost. If the future was cancelled, the child ends without a result.
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

    /// Polls the future until it ends by itself, even if the gather is cancelled.
    ///
    /// A future that was never polled is dropped. If the future never ends by itself, the gather waits until its `grace` is
    /// over.
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
    /// *When to use.* To cancel one child and let its siblings go on, like asyncio's `task.cancel()`: a time limit for one
    /// child, after which it may still clean up; closing one connection. Every adapter has this method too. A child
    /// written by hand gets it after a [`map`](crate::Child::map); a group has its own
    /// [`cancel_when`](crate::Group::cancel_when).
    ///
    /// *Outcomes.* `Ok` with the child's output, or `Err(Cancelled)`. In a fail-fast group `Err(Cancelled)` is an error like
    /// any other and cancels the siblings; convert it with [`map`](crate::Child::map) if it should not, and with
    /// [`flatten`](crate::Child::flatten) if the output is a `Result` itself.
    ///
    /// *Cancellation.* In every poll the signal is polled before the child. When it is ready, the child is cancelled in the
    /// same poll: a plain one is dropped, any other is told and drained. It ends with `Err(Cancelled)` when its drain has
    /// ended, whose output is dropped. So if the child would have ended in that poll, it is cancelled nevertheless. If the
    /// signal is ready in the first poll, the child never starts; its `on_cancel` hook runs, as for any child that was
    /// never polled.
    ///
    /// If the group cancels the child, it is drained as without a signal, and ends with `Ok` of the output of its drain, if
    /// there is one; with `Err(Cancelled)`, if its own signal had been ready before. The signal is dropped when it was ready, when
    /// the child has ended or its output is known, and when the group cancels the child.
    ///
    /// *Panics.* A panic of the signal leaves the group's poll, like a panic of the child.
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
    /// A time limit for each of several children. A child that exceeds it says goodbye, and the others go on:
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
