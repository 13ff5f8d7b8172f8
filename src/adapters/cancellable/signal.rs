//! The signal of a cancellable child.

use alloc::sync::Arc;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project::pin_project;

use super::waiters::{Waiter, Waiters};

/// Tells the future of a [`cancellable`](crate::cancellable()) child that the child is cancelled.
///
/// Only the cancellation of the child sets it, and it stays set. It may be cloned, sent to other threads, and awaited in any
/// number of places; no wake is lost.
///
/// # Examples
///
/// ```
/// use gather::{CancelSignal, cancellable, gather};
/// use std::cell::Cell;
///
/// async fn count(cancel: CancelSignal, rounds: &Cell<u32>) -> Result<(), &'static str> {
///     while !cancel.is_cancelled() {
///         rounds.set(rounds.get() + 1);
///         smol::future::yield_now().await; // in real code: a step
///     }
///     Ok(())
/// }
///
/// let rounds = Cell::new(0);
/// let failing = async {
///     smol::future::yield_now().await;
///     Err::<(), _>("failed")
/// };
/// let both = gather((cancellable(|cancel| count(cancel, &rounds)), failing));
/// assert_eq!(pollster::block_on(both), Err("failed"));
/// assert_eq!(rounds.get(), 1);
/// ```
#[derive(Clone)]
pub struct CancelSignal {
    waiters: Arc<Waiters>,
}

impl CancelSignal {
    pub(super) fn new() -> Self {
        CancelSignal { waiters: Arc::new(Waiters::new()) }
    }

    /// Sets the signal, if it is not set, and wakes everything that waits for it.
    pub(super) fn set(&self) {
        self.waiters.set();
    }

    /// Whether the signal is set.
    ///
    /// # Examples
    ///
    /// See [`CancelSignal`].
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.waiters.is_set()
    }

    /// Resolves when the signal is set, at once if it was set before.
    ///
    /// *Cancellation.* The future may be dropped at any time, and made again.
    ///
    /// # Examples
    ///
    /// Beside a queue; any kind of `select!` works as well:
    ///
    /// ```
    /// use futures_util::future::{Either, select};
    /// use gather::{Outcome, cancellable, gather};
    /// use std::pin::pin;
    ///
    /// let (send, queue) = async_channel::unbounded::<u32>();
    /// let worker = cancellable(async |cancel| {
    ///     let mut sum = 0;
    ///     while let Either::Left((Ok(item), _)) = select(pin!(queue.recv()), cancel.cancelled()).await {
    ///         sum += item;
    ///     }
    ///     Ok::<_, &str>(sum) // in real code: flush; may `await`
    /// });
    /// let feeder = async {
    ///     send.send(1).await.map_err(|_| "closed")?;
    ///     send.send(2).await.map_err(|_| "closed")?;
    ///     smol::future::yield_now().await;
    ///     Err::<(), _>("nothing left")
    /// };
    /// let report = pollster::block_on(gather((worker, feeder)).report());
    /// assert_eq!(report.outcomes.0, Outcome::Drained(Some(Ok(3))));
    /// ```
    pub fn cancelled(&self) -> impl Future<Output = ()> {
        self.wait()
    }

    /// Resolves to the output of `future`, or to `None` as soon as the signal is set; `future` is then dropped.
    ///
    /// The signal is checked first: once it is set, `future` is never polled.
    ///
    /// *Cancellation.* If this is dropped, so is `future`.
    ///
    /// # Examples
    ///
    /// The loop of a connection that says goodbye at every end, with `&mut` to what it owns:
    ///
    /// ```
    /// use gather::{CancelSignal, cancellable, gather};
    /// # #[derive(Default)]
    /// # struct Connection(Vec<&'static str>);
    /// # impl Connection {
    /// #     async fn next(&mut self) -> Option<&'static str> {
    /// #         smol::future::yield_now().await;
    /// #         Some("ping")
    /// #     }
    /// #     async fn send(&mut self, message: &'static str) {
    /// #         self.0.push(message);
    /// #     }
    /// # }
    ///
    /// async fn serve(connection: &mut Connection, cancel: CancelSignal) -> Result<(), &'static str> {
    ///     while let Some(Some(request)) = cancel.run_until_cancelled(connection.next()).await {
    ///         connection.send(request).await; // never cut off
    ///     }
    ///     connection.send("goodbye").await;
    ///     Ok(())
    /// }
    ///
    /// let mut connection = Connection::default();
    /// let failing = async {
    ///     for _ in 0..2 {
    ///         smol::future::yield_now().await;
    ///     }
    ///     Err::<(), _>("failed")
    /// };
    /// let both = gather((cancellable(|cancel| serve(&mut connection, cancel)), failing));
    /// assert_eq!(pollster::block_on(both), Err("failed"));
    /// assert_eq!(connection.0, ["ping", "ping", "goodbye"]);
    /// ```
    pub fn run_until_cancelled<F: Future>(&self, future: F) -> impl Future<Output = Option<F::Output>> {
        RunUntil { future, wait: self.wait() }
    }

    fn wait(&self) -> Wait<'_> {
        Wait { waiters: &self.waiters, held: None }
    }
}

/// Waits until the signal is set.
struct Wait<'a> {
    waiters: &'a Waiters,
    /// Set at the first poll that is pending.
    held: Option<&'a Waiter>,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiters.is_set() {
            return Poll::Ready(());
        }
        let waits = match self.held {
            Some(waiter) => waiter.renew(cx.waker()),
            None => {
                self.held = self.waiters.hold(cx.waker().clone());
                self.held.is_some()
            }
        };
        if waits { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(waiter) = self.held {
            self.waiters.release(waiter);
        }
    }
}

/// Runs a future until the signal is set.
#[pin_project]
struct RunUntil<'a, F> {
    #[pin]
    future: F,
    wait: Wait<'a>,
}

impl<F: Future> Future for RunUntil<'_, F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.wait.waiters.is_set() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Some(output));
        }
        Pin::new(this.wait).poll(cx).map(|()| None)
    }
}

impl fmt::Debug for CancelSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelSignal").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}
