//! Children that come while the gather runs, from a stream or an iterator.

mod drawn;
#[cfg(all(feature = "alloc", any(target_has_atomic = "ptr", feature = "portable-atomic")))]
mod heap;
mod inline;
mod line;
mod places;

use core::convert::Infallible;
use core::fmt;

use futures_core::Stream;

use self::drawn::Drawn;
#[cfg(all(feature = "alloc", any(target_has_atomic = "ptr", feature = "portable-atomic")))]
use self::heap::Heap;
use self::inline::Inline;
use super::{Container, IntoChildren, sealed};
use crate::child::{Child, IntoChild};
use crate::judge::{Judge, Policy};
use crate::policy::{Any, Each, FailFast, Race, Settle};

type ItemOf<S> = <S as Stream>::Item;
type ChildOf<S> = <ItemOf<S> as IntoChild>::Child;
type OutputOf<S> = <ChildOf<S> as Child>::Output;
type KeptOf<S, P> = <P as Judge<OutputOf<S>>>::Kept;
type WaitsOf<S, P> = <P as Policy>::Waits<KeptOf<S, P>>;
type StopOf<S, P> = <P as Judge<OutputOf<S>>>::Stop;

/// Children from a stream: each is drawn when there is room for it, and runs beside the others in the task that polls the
/// group.
///
/// *When to use.* If not all children are known at the start, or if they are too many to be held at once: the connections of
/// a server, the pages of a crawl, a million requests sixteen at a time. The stream may be the receiver of any channel
/// that is a `Stream` (tokio's have wrappers in tokio-stream); so children can be added while the group runs, also by children
/// that hold a sender. If all children are there, use a
/// tuple, an array or a `Vec`.
///
/// *Outcomes.* The group is complete when the source has ended and no child is left. The outputs are a `Vec`, in the order
/// in which the children were drawn; if they are `()`, it takes no memory. Everything else follows the policy: under
/// fail-fast the first `Err` ends the group.
///
/// *Drawing.* A child is drawn when [`concurrency`](crate::Group::concurrency) has room, after the woken children were
/// polled, and is polled at once. Without `concurrency` everything is drawn that the source has, but at most 64 children in
/// one poll of the group. The source has a waker of its own. It is polled only when that was woken, or after it has given
/// a child. It is dropped when it has ended.
///
/// *Cancellation.* The source is dropped first; then the children are told or dropped as in any group. No child starts after
/// that. If the source is the receiver of a channel, the channel is then closed, and `send` gives the new child back.
///
/// *Panics.* A panic of the source leaves the poll in which it happened, after all children were dropped.
/// [`race`](crate::Group::race) panics if the source ends without having given a child.
///
/// *Fairness.* Children are first polled, told and dropped in the order in which they were drawn. Woken children are polled
/// in no particular order, but none starves. Nor does the source: if a poll ended early, or if children were still pending
/// after a turn before the source was, they may have used up what the runtime allows in one poll; the next poll then
/// begins with the source, and polls its children after the woken ones.
///
/// *Complexity.* A wake takes constant time, without a lock, from any thread; a poll takes O(woken children). Children are
/// kept in chunks of 8 to 63 places (up to 31 on 32 bits), which never move and are used again. So no allocation is made per
/// child, and memory follows the number of children that are alive: on 64 bits about 20 bytes each, beside the child itself.
///
/// After a peak, memory shrinks by itself. A poll that has drawn all there was frees the empty chunks, except as many as
/// have children and one more; any other poll frees those beyond 64 more than that. A chunk with a child stays, and new
/// children go to such chunks first. A table of about one byte per child of the peak may stay as long as the group.
///
/// The index of a child is the number of children drawn before it, a `usize`; when it would overflow, the group panics. If
/// a waker is woken after its child has ended, another child may be polled needlessly; it has no other effect.
///
/// # Examples
///
/// ```
/// use futures_util::{StreamExt, stream};
/// use gather::{from_stream, gather};
///
/// let numbers = stream::iter(1..=1000).map(|number| async move { Ok::<_, ()>(2 * number) });
/// let doubled = gather(from_stream(numbers)).concurrency(16);
/// assert_eq!(pollster::block_on(doubled).unwrap()[..3], [2, 4, 6]);
/// ```
///
/// Children that add children. The group ends when all senders were dropped:
///
/// ```
/// use futures_channel::mpsc::{UnboundedSender, unbounded};
/// use gather::{BoxChild, from_stream, gather};
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// type Page = BoxChild<'static, Result<(), String>>;
/// static SEEN: AtomicU32 = AtomicU32::new(0);
///
/// fn crawl(depth: u32, pages: UnboundedSender<Page>) -> Page {
///     BoxChild::new(async move {
///         SEEN.fetch_add(1, Ordering::Relaxed);
///         for _link in 0..2 {
///             if depth < 3 {
///                 // Once the group has failed, this gives the page back.
///                 let _ = pages.unbounded_send(crawl(depth + 1, pages.clone()));
///             }
///         }
///         Ok(())
///     })
/// }
///
/// let (sender, pages) = unbounded();
/// sender.unbounded_send(crawl(0, sender.clone())).unwrap();
/// drop(sender);
/// let crawled = gather(from_stream(pages)).concurrency(4);
/// assert_eq!(pollster::block_on(crawled).map(|units| units.len()), Ok(15));
/// assert_eq!(SEEN.load(Ordering::Relaxed), 15);
/// ```
#[cfg(all(feature = "alloc", any(target_has_atomic = "ptr", feature = "portable-atomic")))]
pub fn from_stream<S>(source: S) -> FromStream<S>
where
    S: Stream<Item: IntoChild>,
{
    FromStream { source }
}

/// Like [`from_stream`], over an iterator: each child is made when there is room for it.
///
/// # Examples
///
/// ```
/// use gather::{from_iter, gather};
/// use std::cell::Cell;
///
/// let open = Cell::new(0);
/// let request = |page: u32| {
///     let open = &open;
///     open.set(open.get() + 1); // the future is made now
///     async move {
///         assert!(open.get() <= 16);
///         open.set(open.get() - 1);
///         Ok::<_, &str>(page)
///     }
/// };
/// let pages = gather(from_iter((0..100_000).map(request))).concurrency(16);
/// assert_eq!(pollster::block_on(pages).unwrap().len(), 100_000);
/// ```
#[cfg(all(feature = "alloc", any(target_has_atomic = "ptr", feature = "portable-atomic")))]
pub fn from_iter<I>(source: I) -> FromStream<futures_util::stream::Iter<I::IntoIter>>
where
    I: IntoIterator<Item: IntoChild>,
{
    from_stream(futures_util::stream::iter(source))
}

/// Like [`from_stream`], without an allocator: at most `N` children at a time, which are kept in the group itself. Where
/// `from_stream` gives a `Vec`, this gives `()`, so the values of the children must be `()`.
///
/// The source and the children are polled with the waker of the task, whether they were woken or not, like the children of
/// an array. The source is not polled while all `N` places are taken. `N` must not be 0:
///
/// ```compile_fail,E0080
/// use futures_util::stream;
/// use std::future::ready;
///
/// let _ = gather::from_stream_const::<0, _>(stream::iter([ready(Ok::<(), ()>(()))]));
/// ```
///
/// # Examples
///
/// ```
/// use futures_util::{StreamExt, stream};
/// use gather::{from_stream_const, gather};
/// use std::cell::Cell;
///
/// let sum = Cell::new(0);
/// let add = |number| {
///     let sum = &sum;
///     async move {
///         sum.set(sum.get() + number);
///         if number < 0 { Err("negative") } else { Ok(()) }
///     }
/// };
/// let calm = gather(from_stream_const::<4, _>(stream::iter(1..=10).map(add)));
/// assert_eq!(pollster::block_on(calm), Ok(()));
/// assert_eq!(sum.get(), 55);
///
/// let failing = gather(from_stream_const::<4, _>(stream::iter([1, -1]).map(add)));
/// assert_eq!(pollster::block_on(failing), Err("negative"));
/// ```
pub fn from_stream_const<const N: usize, S>(source: S) -> FromStreamConst<S, N>
where
    S: Stream<Item: IntoChild>,
{
    const { assert!(N != 0, "`from_stream_const::<0, _>` would never draw a child") };
    const { assert!(N < u32::MAX as usize, "`from_stream_const` of that many places holds no position of them") };
    FromStreamConst { source }
}

/// Children from a stream, for [`gather`](crate::gather()). Returned by [`from_stream`].
#[cfg(all(feature = "alloc", any(target_has_atomic = "ptr", feature = "portable-atomic")))]
#[derive(Clone, Copy)]
#[must_use = "a source does nothing unless it is gathered"]
pub struct FromStream<S> {
    source: S,
}

/// Children from a stream, at most `N` at a time, for [`gather`](crate::gather()). Returned by [`from_stream_const`].
#[derive(Clone, Copy)]
#[must_use = "a source does nothing unless it is gathered"]
pub struct FromStreamConst<S, const N: usize> {
    source: S,
}

#[cfg(all(feature = "alloc", any(target_has_atomic = "ptr", feature = "portable-atomic")))]
mod allocated {
    use super::*;

    impl<S> sealed::Sealed for FromStream<S> {}

    impl<S: Stream<Item: IntoChild>> Container for FromStream<S> {
        fn count(&self) -> Option<usize> {
            None
        }
    }

    impl<S, P> IntoChildren<P> for FromStream<S>
    where
        S: Stream<Item: IntoChild>,
        P: Policy + Judge<OutputOf<S>>,
    {
        type Children = Drawn<S, Heap<ChildOf<S>, WaitsOf<S, P>, KeptOf<S, P>>, P, StopOf<S, P>>;

        fn into_children(self) -> Self::Children {
            Drawn::new(Some(self.source), Heap::new())
        }

        fn vacant() -> Self::Children {
            Drawn::new(None, Heap::new())
        }
    }

    impl<S> fmt::Debug for FromStream<S> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("FromStream").finish_non_exhaustive()
        }
    }
}

/// A policy under which nothing has to be stored of a child that has ended.
#[diagnostic::on_unimplemented(
    message = "children of `from_stream_const` whose outputs are kept",
    label = "there is no place for a `{K}` of each child that has ended",
    note = "let the children return `()`, or `Result<(), E>`; or take the outputs as they come, by `as_completed()`"
)]
pub trait KeepsNothing<K> {}

impl KeepsNothing<()> for FailFast {}
impl KeepsNothing<()> for Settle {}
impl KeepsNothing<()> for Any {}
impl KeepsNothing<Infallible> for Race {}
impl<P, K> KeepsNothing<K> for Each<P> {}

impl<S, const N: usize> sealed::Sealed for FromStreamConst<S, N> {}

impl<S: Stream<Item: IntoChild>, const N: usize> Container for FromStreamConst<S, N> {
    fn count(&self) -> Option<usize> {
        None
    }
}

impl<S, P, const N: usize> IntoChildren<P> for FromStreamConst<S, N>
where
    S: Stream<Item: IntoChild>,
    P: Policy + Judge<OutputOf<S>> + KeepsNothing<KeptOf<S, P>>,
{
    type Children = Drawn<S, Inline<ChildOf<S>, WaitsOf<S, P>, KeptOf<S, P>, N>, P, StopOf<S, P>>;

    fn into_children(self) -> Self::Children {
        Drawn::new(Some(self.source), Inline::new())
    }

    fn vacant() -> Self::Children {
        Drawn::new(None, Inline::new())
    }
}

impl<S, const N: usize> fmt::Debug for FromStreamConst<S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromStreamConst").field("places", &N).finish_non_exhaustive()
    }
}
