//! Outputs as they come: those of a group's children, one by one.

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
    /// A stream of the children's outputs, each with the index of its child, in the order in which the children end. When
    /// the stream has ended, no child is left.
    ///
    /// *When to use.* If outputs are needed before the last child has ended, or are too many to be held at once. In a loop
    /// over the stream the children are polled only while the loop waits for the next item. If the body of the loop awaits
    /// for long, use [`for_each`](AsCompleted::for_each) or [`try_for_each`](AsCompleted::try_for_each); there the children
    /// are polled meanwhile.
    ///
    /// *Children* have one type of output, in a tuple too; convert them by `map`. The policy is fail-fast,
    /// [`settle`](Group::settle), or a [`report`](Group::report) of these, as [`any`](Group::any) and [`race`](Group::race)
    /// have a single output. The stream of a tuple or an array has to be pinned; that of a `Vec` or a source is `Unpin`. There is
    /// no such stream under [`restart`](crate::restart()): a generation that fails would have
    /// handed out outputs that the next one gives again.
    ///
    /// *Outcomes.*
    ///
    /// | policy | item |
    /// |---|---|
    /// | fail-fast | `Result<(usize, T), E>`: values as they come; after a failure the others are cancelled and drained, then come the `Err` and the end |
    /// | [`settle`](Group::settle) | `(usize, O)` |
    /// | one of these with [`cancel_when`](Group::cancel_when) | the above in `Result<_, Cancelled>`; after the signal the children are cancelled and drained, then come the `Err(Cancelled)` and the end |
    /// | [`report`](Group::report), with or without `cancel_when` | `(usize, Outcome<T, E>)` of every child, including those that were dropped or drained; after that see [`cause`](AsCompleted::cause) |
    ///
    /// Each poll gives one item: when a child ends, so does the poll, and the next poll goes on behind it. Outputs are not
    /// collected. Under [`concurrency`](Group::concurrency) a child keeps its place until its output was handed out.
    ///
    /// *Order.* Items come as children end. Only while the children are cancelled can several end in one poll. Their
    /// outcomes then come in this order: the child that is the cause; those that were dropped, in index order; those that
    /// have drained or were abandoned, in index order. Under [`cancel_in_reverse`](Group::cancel_in_reverse) it is the
    /// cause, then the others, the last one first.
    ///
    /// *Cancellation.* As in the group itself, in the poll in which the cause is seen; a value that came in that poll is
    /// still handed out. [`cancel`](AsCompleted::cancel) cancels the children from outside. If the stream is dropped, the
    /// children are dropped at once, in index order, and no asynchronous clean-up runs.
    ///
    /// *Panics.* As for [`gather`](crate::gather()): the children are dropped without being told, and polling again panics.
    /// After its end the stream may be polled again, and gives `None`.
    ///
    /// *Fairness.* As for `gather`. A child that wakes itself in every poll is polled once per round of all children, not
    /// once per item.
    ///
    /// *Complexity.* A poll polls the children of a `Vec` or a source that were woken, and all pending children of a tuple or
    /// an array. Nothing is allocated beyond what the group needs; tuples, arrays and `from_stream_const` need no
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

/// The stream of [`Group::as_completed`](crate::Group::as_completed), which describes its items.
///
/// `Debug` shows the same as that of a [`Gather`], and polls nothing. For `Debug`, `is_terminated` and
/// [`cause`](Self::cause), which take a shared reference, see [`Gather`].
#[pin_project]
#[must_use = "streams do nothing unless polled"]
pub struct AsCompleted<C: Indexed, K = Cancelling, S = NoSignal> {
    #[pin]
    gather: Gather<C, K, S, Window>,
}

impl<C: Indexed, K, S> AsCompleted<C, K, S> {
    /// Why the children ended. `None` before the stream has ended.
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
    /// Cancels the children: drops each plain one and tells all others, in index order. Then poll the stream to its end, to
    /// drain those that were told.
    ///
    /// *When to use.* To leave a loop over the stream early. If the stream were dropped instead, no clean-up would run.
    ///
    /// *Outcomes.* Under fail-fast and [`settle`](crate::Group::settle) nothing more is handed out, except the
    /// `Err(`[`Cancelled`](crate::Cancelled)`)` of a group that has a [`cancel_when`](crate::Group::cancel_when). With
    /// [`report`](crate::Group::report) the outcome of every child is handed out. If the children are being cancelled
    /// already, or the stream has ended, this does nothing.
    ///
    /// # Panics
    ///
    /// If the hook or the destructor of a child panics, and after an earlier panic.
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

    /// Calls `each` with the index and the output of every child as it ends, and polls the future that it returns beside
    /// the other children. Resolves when no child is left and the last such future has ended.
    ///
    /// *When to use.* After [`settle`](crate::Group::settle) or [`report`](crate::Group::report), if handling an output
    /// takes time. In a loop over the stream the children stand still while the body waits; here they go on. Under
    /// fail-fast use [`try_for_each`](Self::try_for_each).
    ///
    /// *Order.* There is one future of `each` at a time. While it runs, the outputs of other children wait with their
    /// children, which still count for [`concurrency`](crate::Group::concurrency); of several the lowest index comes first.
    /// So the number of waiting outputs is bounded. As the future may not borrow from the closure, keep sums in a `Cell`.
    ///
    /// *Outcomes.*
    ///
    /// | policy | resolves to |
    /// |---|---|
    /// | `settle` | `()`; with [`cancel_when`](crate::Group::cancel_when) `Result<(), Cancelled>` |
    /// | `report` | [`Cause`]; `each` is called with the [`Outcome`](crate::Outcome) of every child |
    ///
    /// *Cancellation.* When the children are cancelled, waiting outputs are dropped, except under `report`. The future of
    /// `each` is not cancelled: it is polled to its end beside the drain, even beyond the grace. If the whole is dropped,
    /// that future is dropped too, after the children.
    ///
    /// *Panics.* A panic of `each` or of its future is treated as one of a child: it leaves the poll after the children and
    /// that future were dropped.
    ///
    /// *Complexity.* One poll calls `each` with all waiting outputs as long as its futures are ready at once. To find the
    /// next one it searches the children between the lowest and the highest waiting index; with a source that takes
    /// constant time, but a child that ends has to be sorted in among those that wait.
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

    /// Calls `each` with the index and the value of every child as it ends, and polls the future that it returns beside the
    /// other children. Resolves when no child is left and the last such future has ended: to `Ok(())`, or to the first
    /// error of a child or of such a future.
    ///
    /// *When to use.* Under fail-fast; otherwise [`for_each`](Self::for_each), which also describes the order.
    ///
    /// *Outcomes.* `Result<(), E>`; with [`cancel_when`](crate::Group::cancel_when) `Result<Result<(), E>, Cancelled>`.
    ///
    /// *Cancellation.* If a future of `each` ends with an error, the group fails as if the child of that value had failed;
    /// that child is the [`Cause`]. If a child fails while such a future is pending, its siblings are cancelled in the same
    /// poll, and the future is polled to its end beside the drain, even beyond the grace. In both cases waiting values are
    /// dropped, and `each` is not called again. A later error changes nothing.
    ///
    /// *Panics.* A panic of `each` or of its future is treated as one of a child: it leaves the poll after the children and
    /// that future were dropped.
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
        C: HandOut<Policy = Each<FailFast>>,
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
    // Waiting outputs come from before the drain went on. But children that were just told have their turn first.
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
