//! A future that is cancelled through a signal, and cleans up by itself.

mod signal;
mod sync;
mod waiters;

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project::pin_project;

pub use self::signal::CancelSignal;
use crate::child::{Child, OnCancel};

/// A child that learns of its cancellation from a [`CancelSignal`] and cleans up in its own code, with the same `&mut` as
/// its work.
///
/// *When to use.* If the work and its clean-up need the same thing: a transaction is committed or rolled back on the
/// connection on which it ran. [`cleanup`](crate::CancelExt::cleanup) and [`finally`](crate::CancelExt::finally) need no
/// signal and no allocator, but there the work and the clean-up are two futures, and cannot both hold a `&mut`.
///
/// `make` is called at once, with the signal of this child, and returns its future; an `async` closure fits. In a
/// [`restart`](crate::restart()) each generation has a new signal.
///
/// *Outcomes.* The output of the future.
///
/// *Cancellation.* If the future is pending, the signal is set, everything that waits for the signal is woken, and the
/// future is polled until it ends by itself; its output is late ([`Drained`](crate::Outcome::Drained)). If it was never polled, it is dropped. In both
/// cases clones of the signal elsewhere, in a spawned task for example, see that it is set. If the child is dropped without
/// being cancelled, the signal is not set.
///
/// *Panics.* A panic of `make` leaves this call. If a waker panics while the signal is being set, the others are woken
/// nevertheless, and the panic then leaves the group's poll.
///
/// *Complexity.* One allocation, and one more for each further future that waits for the signal at the same time; their
/// memory is used again. Setting the signal takes time proportional to the most futures that ever waited at once. It takes
/// no lock, so an interrupt may wait for a signal too. Needs the feature `alloc` and a target with compare-and-swap.
///
/// # Examples
///
/// A transaction that rolls back at every end but success:
///
/// ```
/// use gather::{CancelSignal, cancellable, gather};
/// # #[derive(Default)]
/// # struct Connection(Vec<&'static str>);
/// # impl Connection {
/// #     async fn execute(&mut self, statement: &'static str) -> Result<(), &'static str> {
/// #         self.0.push(statement);
/// #         tokio::task::yield_now().await;
/// #         if statement == "INSERT INTO nowhere" { Err("no such table") } else { Ok(()) }
/// #     }
/// # }
///
/// async fn transaction(
///     connection: &mut Connection,
///     statements: &[&'static str],
///     cancel: CancelSignal,
/// ) -> Result<(), &'static str> {
///     connection.execute("BEGIN").await?;
///     let work = async {
///         for statement in statements {
///             connection.execute(statement).await?;
///         }
///         Ok(())
///     };
///     let ended = cancel.run_until_cancelled(work).await.unwrap_or(Err("cancelled"));
///     connection.execute(if ended.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
///     ended
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // In a task of tokio: the children are `Send`, and borrow.
/// let task = tokio::spawn(async {
///     let [mut one, mut other] = [Connection::default(), Connection::default()];
///     let long = vec!["UPDATE stock"; 1000];
///     let group = gather((
///         cancellable(|cancel| transaction(&mut one, &long, cancel)),
///         cancellable(async |cancel| transaction(&mut other, &["INSERT INTO nowhere"], cancel).await),
///     ));
///     assert_eq!(group.await, Err("no such table"));
///     // Both rolled back: the one that failed, and the one that was cancelled because of it.
///     assert_eq!(other.0, ["BEGIN", "INSERT INTO nowhere", "ROLLBACK"]);
///     assert_eq!(one.0.last(), Some(&"ROLLBACK"));
///     assert!(one.0.len() < 10);
/// });
/// task.await.unwrap();
/// # }
/// ```
pub fn cancellable<F: Future>(make: impl FnOnce(CancelSignal) -> F) -> Cancellable<F> {
    let signal = CancelSignal::new();
    Cancellable { future: make(signal.clone()), signal, started: false }
}

/// Child of [`cancellable`].
///
/// # Examples
///
/// ```
/// use gather::{CancelSignal, Cancellable, cancellable, gather};
/// use std::future::{Ready, ready};
///
/// let child: Cancellable<Ready<Result<bool, ()>>> = cancellable(|cancel: CancelSignal| ready(Ok(cancel.is_cancelled())));
/// assert_eq!(pollster::block_on(gather([child])), Ok([false]));
/// ```
#[pin_project]
#[must_use = "a child does nothing unless it is gathered"]
pub struct Cancellable<F> {
    #[pin]
    future: F,
    signal: CancelSignal,
    started: bool,
}

impl<F: Future> Child for Cancellable<F> {
    type Output = F::Output;
    const SHOWS: bool = false;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        *this.started = true;
        this.future.poll(cx)
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        let this = self.project();
        this.signal.set();
        if *this.started { OnCancel::Drain } else { OnCancel::Drop }
    }

    fn drains(self: Pin<&mut Self>) -> bool {
        *self.project().started
    }
}

impl_adapter! { Cancellable<F> }

impl<F> fmt::Debug for Cancellable<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cancelled = self.signal.is_cancelled();
        f.debug_struct("Cancellable")
            .field("started", &self.started)
            .field("cancelled", &cancelled)
            .finish_non_exhaustive()
    }
}
