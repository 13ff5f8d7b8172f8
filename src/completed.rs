//! Outputs as they come: what a group's children end with, one by one.

mod for_each;
mod one_by_one;

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_core::{FusedStream, Stream};
use pin_project::pin_project;

pub use self::for_each::ForEach;
use self::one_by_one::{HandsOverAll, OneByOne};
use crate::children::{Children, HandOut, Indexed, IntoChildren};
use crate::gather::{Gather, Group};
use crate::handshake::{Guard, Handshake};
use crate::outcome::Cause;
use crate::policy::{Each, FailFast};
use crate::settings::cancelling::Cancelling;
use crate::settings::concurrency::Concurrency;
use crate::settings::delay::Delay;
use crate::settings::hook::Hook;
use crate::settings::order::Order;
use crate::settings::signal::{NoSignal, Signal};
use crate::settings::window::Window;

impl<I, P, G, H, R, S, L> Group<I, P, Cancelling<G, H, R>, S, L> {
    /// A stream that gives what each child ends with, as it ends, and its index. When the stream has ended, no child is
    /// left.
    ///
    /// *When to use.* Where outputs are needed before the last child has ended, or are too many to be held at once. A loop
    /// over the stream polls the children only while it waits for the next item; if its body awaits for long, use
    /// [`for_each`](AsCompleted::for_each) or [`try_for_each`](AsCompleted::try_for_each), under which the children go on
    /// meanwhile.
    ///
    /// *Children* have one type of output, in a tuple too: `map` them to it. It is offered under fail-fast,
    /// [`settle`](Group::settle), and [`report`](Group::report) of these; of [`any`](Group::any) and
    /// [`race`](Group::race) there is only one output. Not under [`restart`](crate::restart()): outputs of a generation
    /// that fails would be out already when the next one gives them again.
    ///
    /// *Outcomes.*
    ///
    /// | policy | item |
    /// |---|---|
    /// | fail-fast | `Result<(usize, T), E>`: values as they come; after a failure the handshake runs, then come the `Err` and the end |
    /// | [`settle`](Group::settle) | `(usize, O)` |
    /// | one of these with [`cancel_when`](Group::cancel_when) | the above in `Result<_, Cancelled>`; once it is cancelled the handshake runs, then come the `Err(Cancelled)` and the end |
    /// | [`report`](Group::report), with or without `cancel_when` | `(usize, Outcome<T, E>)`: of every child, also those that were dropped or drained; then [`cause`](AsCompleted::cause) says why it ended |
    ///
    /// Each poll gives one item, so outputs are not collected: a child that ends in a poll ends that poll, and the next one
    /// goes on behind it. A child keeps its place under [`concurrency`](Group::concurrency) until its output was handed
    /// out.
    ///
    /// *Order.* Items come as children end. Where several end in one poll, which only happens in the handshake, outcomes
    /// come in this order: the child that is the cause, those that were dropped, in index order, those that have drained or
    /// were abandoned, in index order; under [`cancel_in_reverse`](Group::cancel_in_reverse) the cause, then the others,
    /// the last one first.
    ///
    /// *Cancellation.* As that of the group, in the poll in which the cause is seen; a value that came in that poll is still
    /// handed out. [`cancel`](AsCompleted::cancel) begins it from outside. Dropping the stream drops the children at once,
    /// in index order, and is not a drain.
    ///
    /// *Panics.* As of a [`gather`](crate::gather()): the children are dropped, untold, and polling again panics. After its
    /// end the stream gives `None`, as often as it is polled.
    ///
    /// *Fairness.* As of a `gather`. A child that wakes itself in every poll is polled once while all others have had their
    /// turn, not once for each item.
    ///
    /// *Complexity.* Of a `Vec` or a source the children that were woken are polled, of a tuple or an array all that are
    /// pending. Nothing is allocated beside what the group itself needs; tuples, arrays and `from_stream_const` need no
    /// allocator.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_util::StreamExt as _;
    /// use gather::gather;
    /// # use smol::future::yield_now;
    ///
    /// # pollster::block_on(async {
    /// let slow = async {
    ///     yield_now().await;
    ///     Ok::<_, &str>("slow")
    /// };
    /// let mut values = std::pin::pin!(gather((slow, async { Ok("fast") })).as_completed());
    /// assert_eq!(values.next().await, Some(Ok((1, "fast"))));
    /// assert_eq!(values.next().await, Some(Ok((0, "slow"))));
    /// assert_eq!(values.next().await, None);
    /// # });
    /// ```
    ///
    /// Every outcome, after a failure:
    ///
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use futures_util::StreamExt as _;
    /// use gather::{BoxChild, CancelExt, Cause, Outcome, gather};
    /// use std::future::{pending, ready};
    ///
    /// # pollster::block_on(async {
    /// let mut outcomes = gather(vec![
    ///     BoxChild::new(pending().cleanup(|| ready(()))),
    ///     BoxChild::new(pending::<Result<u32, &str>>()),
    ///     BoxChild::new(ready(Err("refused"))),
    /// ])
    /// .report()
    /// .as_completed();
    /// assert_eq!(outcomes.next().await, Some((2, Outcome::Failed("refused"))));
    /// assert_eq!(outcomes.next().await, Some((1, Outcome::Dropped)));
    /// assert_eq!(outcomes.next().await, Some((0, Outcome::Drained(None))));
    /// assert_eq!(outcomes.next().await, None);
    /// assert_eq!(outcomes.cause(), Some(Cause::Failed(2)));
    /// # });
    /// # }
    /// ```
    pub fn as_completed(self) -> AsCompleted<I::Children, Cancelling<G, H, R>, S>
    where
        I: IntoChildren<Each<P>, Children: HandOut>,
        Each<P>: OneByOne,
        L: Concurrency,
    {
        AsCompleted { gather: self.hand_out() }
    }
}

/// The stream of [`Group::as_completed`](crate::Group::as_completed), where its items are described.
///
/// `Debug` shows what that of a [`Gather`] shows, and polls nothing. What is said there of `Debug` and `is_terminated`
/// also holds here, and of [`cause`](Self::cause).
#[pin_project]
#[must_use = "streams do nothing unless polled"]
pub struct AsCompleted<C: Indexed, K = Cancelling, S = NoSignal> {
    #[pin]
    gather: Gather<C, K, S, Window>,
}

impl<C: Indexed, K, S> AsCompleted<C, K, S> {
    /// Why the children ended, once the stream has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_util::StreamExt as _;
    /// use gather::{Cause, gather};
    /// use std::future::ready;
    ///
    /// # pollster::block_on(async {
    /// let mut outcomes = gather([ready(Ok(1)), ready(Err("refused"))]).report().as_completed();
    /// assert_eq!(outcomes.cause(), None);
    /// while let Some((_index, _outcome)) = outcomes.next().await {}
    /// assert_eq!(outcomes.cause(), Some(Cause::Failed(1)));
    /// # });
    /// ```
    pub fn cause(&self) -> Option<Cause> {
        self.gather.ended_by()
    }
}

impl<C, G, H, R, S> AsCompleted<C, Cancelling<G, H, R>, S>
where
    C: HandOut<Policy: OneByOne>,
    G: Delay<()>,
    H: Hook,
    R: Order,
    S: Signal,
{
    /// Cancels the children: tells or drops each that is pending, in index order, unless that has begun. Poll the stream
    /// to its end to drain those that were told.
    ///
    /// *When to use.* In place of dropping the stream, to leave a loop over it before its end without losing clean-ups.
    ///
    /// *Outcomes.* Under fail-fast and [`settle`](crate::Group::settle) nothing more is handed out, but the
    /// [`Cancelled`](crate::Cancelled) of a group that has a [`cancel_when`](crate::Group::cancel_when). With
    /// [`report`](crate::Group::report) the outcome of every child is. A stream that has ended stays as it is.
    ///
    /// # Panics
    ///
    /// If a child's hook or destructor does, and after a panic.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_util::StreamExt as _;
    /// use gather::{CancelExt, gather};
    /// use std::cell::Cell;
    /// use std::future::{pending, ready};
    /// use std::pin::pin;
    ///
    /// # pollster::block_on(async {
    /// let closed = Cell::new(false);
    /// let connection = pending::<Result<u32, &str>>().cleanup(|| async { closed.set(true) });
    /// let mut values = pin!(gather((connection, ready(Ok(7)))).as_completed());
    /// assert_eq!(values.next().await, Some(Ok((1, 7)))); // enough
    /// values.as_mut().cancel();
    /// assert_eq!(values.next().await, None);
    /// assert!(closed.get());
    /// # });
    /// ```
    pub fn cancel(self: Pin<&mut Self>) {
        let mut gather = self.project().gather;
        if !gather.as_mut().has_resolved() {
            assert!(!gather.as_mut().has_panicked(), "`AsCompleted` cancelled after a panic");
            Handshake::cancel(gather);
        }
    }

    /// Calls `each` with the index and the output of every child as it ends, and drives the future that it returns
    /// beside the other children. Resolves when no child is left and the last such future has ended.
    ///
    /// *When to use.* After [`settle`](crate::Group::settle) or [`report`](crate::Group::report), where handing the
    /// outputs on takes time. In a loop over the stream the children stand still while the loop's body waits; here they go
    /// on. Under fail-fast there is [`try_for_each`](Self::try_for_each).
    ///
    /// *Order.* One future at a time. A child that ends while it is pending keeps its output, and under
    /// [`concurrency`](crate::Group::concurrency) its place, until `each` is called with it; of several the one of the
    /// lowest index comes first. So what waits is bounded.
    ///
    /// *Outcomes.*
    ///
    /// | policy | resolves to |
    /// |---|---|
    /// | `settle` | `()`; with [`cancel_when`](crate::Group::cancel_when) `Result<(), Cancelled>` |
    /// | `report` | [`Cause`]; `each` is called with the [`Outcome`](crate::Outcome) of every child |
    ///
    /// *Cancellation.* When the children are cancelled, outputs that wait are dropped, except under `report`. The future
    /// of `each` is the caller's own code and is not cut off: it is driven to its end beside the drain, and beyond the
    /// grace. Dropping the whole drops it too, after the children.
    ///
    /// *Panics.* A panic of `each` or of its future is as one of a child: the children and that future are dropped first.
    ///
    /// *Complexity.* A poll calls `each` with all that waits while its futures are ready at once. Which of the waiting
    /// outputs is the next is looked for among the children between the lowest and the highest of them; of a source it
    /// takes constant time, and a child that ends is put in its place among those that wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::gather;
    /// use std::cell::Cell;
    /// use std::future::ready;
    ///
    /// let sum = &Cell::new(0);
    /// let add = |_index, number: u32| async move {
    ///     smol::future::yield_now().await; // in real code: write it to a file
    ///     sum.set(sum.get() + number);
    /// };
    /// pollster::block_on(gather([1, 2, 3].map(ready)).settle().as_completed().for_each(add));
    /// assert_eq!(sum.get(), 6);
    /// ```
    pub fn for_each<F, T>(self, each: F) -> ForEach<C, Cancelling<G, H, R>, S, F, C::Item, T, C::Stop>
    where
        C: HandOut<Policy: HandsOverAll>,
        F: FnMut(usize, C::Item) -> T,
        T: Future<Output = ()>,
    {
        ForEach::new(self.gather, each)
    }
}

impl<C, G, H, R, S> AsCompleted<C, Cancelling<G, H, R>, S>
where
    C: HandOut<Policy = Each<FailFast>>,
    G: Delay<()>,
    H: Hook,
    R: Order,
    S: Signal,
{
    /// Calls `each` with the index and the value of every child as it ends, and drives the future that it returns beside
    /// the other children. Resolves when no child is left and the last such future has ended: to `Ok(())`, or to the
    /// first error of a child or of such a future.
    ///
    /// *When to use.* Under fail-fast; see [`for_each`](Self::for_each), which also describes the order.
    ///
    /// *Outcomes.* `Result<(), E>`; with [`cancel_when`](crate::Group::cancel_when) `Result<Result<(), E>, Cancelled>`.
    ///
    /// *Cancellation.* When a future of `each` ends with an error, the group has failed, as if the child had whose value
    /// it was: that child is the [`Cause`]. When a child fails while such a future is pending, its siblings are cancelled
    /// in that very poll; the future is driven to its end beside the drain, and beyond the grace; then comes the error. In
    /// both cases values that wait are dropped, and `each` is not called again. An error that comes later changes nothing.
    ///
    /// *Panics.* A panic of `each` or of its future is as one of a child: the children and that future are dropped first.
    ///
    /// # Examples
    ///
    /// ```
    /// use gather::{CancelExt, gather};
    /// use std::cell::Cell;
    /// use std::future::{pending, ready};
    ///
    /// let closed = Cell::new(false);
    /// let connection = pending::<Result<u32, &str>>().cleanup(|| async { closed.set(true) });
    /// let write = |_index, page| async move { if page == 2 { Err("disk full") } else { Ok(()) } };
    /// let pages = gather((connection, ready(Ok(1)), ready(Ok(2)))).as_completed();
    /// assert_eq!(pollster::block_on(pages.try_for_each(write)), Err("disk full"));
    /// assert!(closed.get());
    /// ```
    pub fn try_for_each<F, T>(self, each: F) -> ForEach<C, Cancelling<G, H, R>, S, F, C::Item, T, C::Stop>
    where
        F: FnMut(usize, C::Item) -> T,
        T: Future<Output = Result<(), C::Stop>>,
    {
        ForEach::new(self.gather, each)
    }
}

impl<C, G, H, R, S> Stream for AsCompleted<C, Cancelling<G, H, R>, S>
where
    C: HandOut<Policy: OneByOne>,
    G: Delay<()>,
    H: Hook,
    R: Order,
    S: Signal,
{
    type Item = ItemOf<C, S>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut gather = self.project().gather;
        if gather.as_mut().has_resolved() {
            return Poll::Ready(None);
        }
        assert!(!gather.as_mut().has_panicked(), "`AsCompleted` polled after a panic");
        let mut guard = Guard::enter(gather);
        let polled = step(guard.future.as_mut(), cx);
        guard.leave();
        polled
    }
}

/// One poll of the stream: polls the children, until there is something to hand out.
fn step<C, G, H, R, S>(
    mut gather: Pin<&mut Gather<C, Cancelling<G, H, R>, S, Window>>,
    cx: &mut Context<'_>,
) -> Poll<Option<ItemOf<C, S>>>
where
    C: HandOut<Policy: OneByOne>,
    G: Delay<()>,
    H: Hook,
    R: Order,
    S: Signal,
{
    let item = |(index, kept)| Some(C::Policy::item::<_, _, S>(index, kept));
    // What waits ended before the drain went on. But those who were told have their turn first.
    if !gather.as_mut().is_told() {
        if let Some(next) = gather.as_mut().take_next() {
            return Poll::Ready(item(next));
        }
    }
    let advanced = gather.as_mut().advance_children(cx);
    if let Some(next) = gather.as_mut().take_next() {
        return Poll::Ready(item(next));
    }
    advanced.map(|cause| {
        let stop = gather.take_end(cause, None);
        C::Policy::last::<C::Item, _, S>(cause, stop)
    })
}

type ItemOf<C, S> = <<C as Children>::Policy as OneByOne>::Item<<C as HandOut>::Item, <C as Children>::Stop, S>;

impl<C, G, H, R, S> FusedStream for AsCompleted<C, Cancelling<G, H, R>, S>
where
    Self: Stream,
    C: Children,
{
    fn is_terminated(&self) -> bool {
        self.gather.is_over()
    }
}

impl<C: Children, G, H, R: Order, S> fmt::Debug for AsCompleted<C, Cancelling<G, H, R>, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsCompleted").field(&self.gather).finish()
    }
}
