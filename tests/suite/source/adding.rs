//! Children that are added while the group runs, through the channels that are in use: also by children, which hold a
//! sender. Covers the lines of the conformance that are about it: TG-2, TG-26, TG-27, TG-30, TG-34, TG-37, TG-57, OTP-47,
//! S-8. OTP-42 is about a child's own policy of restart, which a member of a group does not have.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::{pending, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use futures_util::{Stream, stream};

use crate::kit::{Alive, Gate, Output, World, yield_now};
use gather::{CancelExt, Cancelled, Cause, LocalBoxChild, Outcome, from_stream, from_stream_const, gather};

type Member<'a> = LocalBoxChild<'a, Output>;

/// One end of a channel of children, whatever its kind. `Err`: the group has failed or ended, and the child is given back.
trait Sender<'a>: Clone + 'a {
    fn add(&self, child: Member<'a>) -> Result<(), Option<Member<'a>>>;
}

impl<'a> Sender<'a> for async_channel::Sender<Member<'a>> {
    fn add(&self, child: Member<'a>) -> Result<(), Option<Member<'a>>> {
        self.try_send(child).map_err(|error| Some(error.into_inner()))
    }
}

impl<'a> Sender<'a> for futures_channel::mpsc::UnboundedSender<Member<'a>> {
    fn add(&self, child: Member<'a>) -> Result<(), Option<Member<'a>>> {
        self.unbounded_send(child).map_err(|error| Some(error.into_inner()))
    }
}

impl<'a> Sender<'a> for tokio::sync::mpsc::UnboundedSender<Member<'a>> {
    fn add(&self, child: Member<'a>) -> Result<(), Option<Member<'a>>> {
        self.send(child).map_err(|error| Some(error.0))
    }
}

/// async-channel keeps what was sent until the last sender is gone, also when no receiver is left. Children that hold a
/// sender, and were not drawn, would keep each other alive. The other channels drop them with the receiver.
struct Emptied<'a>(Pin<Box<async_channel::Receiver<Member<'a>>>>);

impl<'a> Stream for Emptied<'a> {
    type Item = Member<'a>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Member<'a>>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl Drop for Emptied<'_> {
    fn drop(&mut self) {
        self.0.close();
        while self.0.try_recv().is_ok() {}
    }
}

/// Calls a function with each kind of channel.
macro_rules! with_each_channel {
    ($test:ident) => {
        let (sender, receiver) = async_channel::unbounded();
        $test((sender, Emptied(Box::pin(receiver))));
        $test(futures_channel::mpsc::unbounded());
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        $test((sender, tokio_stream::wrappers::UnboundedReceiverStream::new(receiver)));
    };
}

/// Visits the page of this number, and adds those that it links to, twice the number and one more, unless they were added.
fn crawl<'a>(page: u32, seen: &'a RefCell<BTreeSet<u32>>, pages: impl Sender<'a>) -> Member<'a> {
    LocalBoxChild::new(async move {
        yield_now().await;
        for link in [2 * page, 2 * page + 1] {
            if link < 500 && seen.borrow_mut().insert(link) {
                assert!(pages.add(crawl(link, seen, pages.clone())).is_ok());
            }
        }
        Ok(page)
    })
}

#[test]
fn a_crawler_ends_by_itself_when_the_last_page_is_done() {
    fn crawls<'a, S: Sender<'a>>(
        (sender, pages): (S, impl Stream<Item = Member<'a>>),
        seen: &'a RefCell<BTreeSet<u32>>,
    ) {
        seen.borrow_mut().insert(1);
        assert!(sender.add(crawl(1, seen, sender.clone())).is_ok());
        drop(sender);
        let visited = pollster::block_on(gather(from_stream(pages)).concurrency(16)).unwrap();
        assert_eq!(visited.len(), 499);
        assert_eq!(seen.borrow().len(), 499);
    }
    let seen = [(); 3].map(|()| RefCell::default());
    crawls(async_channel::unbounded(), &seen[0]);
    crawls(futures_channel::mpsc::unbounded(), &seen[1]);
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    crawls((sender, tokio_stream::wrappers::UnboundedReceiverStream::new(receiver)), &seen[2]);
}

/// embassy-sync's channel neither allocates nor closes: it ends by a last item, and the places are those of the group.
#[test]
fn a_crawler_on_an_embassy_channel_counts_its_pages() {
    type Pages = embassy_sync::channel::Channel<NoopRawMutex, u32, 600>;

    let (pages, left, seen) = (Pages::new(), Cell::new(1), RefCell::new(BTreeSet::from([1])));
    pages.try_send(1).unwrap();
    let visit = |page| {
        let (pages, left, seen) = (&pages, &left, &seen);
        async move {
            yield_now().await;
            for link in [2 * page, 2 * page + 1] {
                if link < 500 && seen.borrow_mut().insert(link) {
                    left.set(left.get() + 1);
                    pages.send(link).await;
                }
            }
            left.set(left.get() - 1);
            if left.get() == 0 {
                // The last page: page 0 ends the source.
                pages.send(0).await;
            }
            Ok::<_, ()>(())
        }
    };
    let source = stream::unfold((), |()| async {
        let page = pages.receive().await;
        (page != 0).then(|| (visit(page), ()))
    });
    assert_eq!(pollster::block_on(gather(from_stream_const::<4, _>(source))), Ok(()));
    assert_eq!((seen.borrow().len(), left.get()), (499, 0));
}

/// TG-2: one is added while another is pending.
#[test]
fn the_group_waits_for_a_child_that_was_added_later() {
    fn waits<'a, S: Sender<'a>>((sender, children): (S, impl Stream<Item = Member<'a>>)) {
        let world = World::new();
        let [(a, gate_a), (b, gate_b)] = ["a", "b"].map(|name| world.probe::<Output>(name));
        assert!(sender.add(LocalBoxChild::new(a)).is_ok());
        let mut all = pin!(gather(from_stream(children)).into_future());
        assert!(world.poll(all.as_mut()).is_pending());
        assert!(sender.add(LocalBoxChild::new(b)).is_ok());
        drop(sender);
        assert_eq!(world.wakes.take(), 1);
        assert!(world.poll(all.as_mut()).is_pending());
        gate_a.open(Ok(42));
        assert!(world.poll(all.as_mut()).is_pending());
        gate_b.open(Ok(11));
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok(vec![42, 11])));
    }
    with_each_channel!(waits);
}

/// TG-26: a child adds two more.
#[test]
fn a_child_may_add_others() {
    fn adds<'a, S: Sender<'a>>((sender, children): (S, impl Stream<Item = Member<'a>>)) {
        let adder = sender.clone();
        let first = LocalBoxChild::new(async move {
            for value in [2, 3] {
                let other = LocalBoxChild::new(async move {
                    yield_now().await;
                    Ok(value)
                });
                assert!(adder.add(other).is_ok());
            }
            Ok(1)
        });
        assert!(sender.add(first).is_ok());
        drop(sender);
        assert_eq!(pollster::block_on(gather(from_stream(children))), Ok(vec![1, 2, 3]));
    }
    with_each_channel!(adds);
}

/// TG-27: children keep adding children, and one of them fails.
#[test]
fn children_that_add_for_ever_end_with_a_failure() {
    fn ends<'a, S: Sender<'a>>((sender, children): (S, impl Stream<Item = Member<'a>>)) {
        fn endless<'a>(depth: u32, alive: Alive, group: impl Sender<'a>) -> Member<'a> {
            let inside = alive.enter();
            LocalBoxChild::new(async move {
                let _inside = inside;
                yield_now().await;
                for _ in 0..2 {
                    if let Err(refused) = group.add(endless(depth + 1, alive.clone(), group.clone())) {
                        assert!(refused.is_some(), "it is given back");
                    }
                }
                if depth == 10 { Err("deep enough") } else { Ok(depth) }
            })
        }
        let alive = Alive::default();
        assert!(sender.add(endless(0, alive.clone(), sender.clone())).is_ok());
        let ended = pollster::block_on(gather(from_stream(children)));
        assert_eq!(ended, Err("deep enough"));
        assert_eq!(alive.count(), 0, "those that were not drawn are gone too");
        assert!(sender.add(LocalBoxChild::new(ready(Ok(1)))).is_err(), "it is refused from then on");
    }
    with_each_channel!(ends);
}

/// TG-30, TG-57, S-8: once the cause is set the channel is closed, for a child in its drain as for anybody.
#[test]
fn a_child_in_its_drain_cannot_add_another() {
    fn is_refused<'a, S: Sender<'a>>((sender, children): (S, impl Stream<Item = Member<'a>>)) {
        let world = World::new();
        let refused = Rc::new(Cell::new(0));
        let (adder, count) = (sender.clone(), refused.clone());
        let told = pending::<Output>().cleanup(move || async move {
            yield_now().await;
            let Err(Some(_child)) = adder.add(LocalBoxChild::new(ready(Ok(1)))) else { panic!("it was added") };
            count.set(count.get() + 1);
        });
        assert!(sender.add(LocalBoxChild::new(told)).is_ok());
        assert!(sender.add(LocalBoxChild::new(ready(Err("failed")))).is_ok());
        let adder = sender.clone();
        let hook = move |_| assert!(adder.add(LocalBoxChild::new(ready(Ok(1)))).is_err());
        let mut all = pin!(gather(from_stream(children)).on_cancel(hook).into_future());
        assert_eq!(world.quiesce(all.as_mut()).0, Poll::Ready(Err("failed")));
        assert_eq!(refused.get(), 1);
    }
    with_each_channel!(is_refused);

    // After a signal.
    let (sender, children) = async_channel::unbounded::<Member<'_>>();
    let stop = Gate::new();
    let world = World::new();
    let adder = sender.clone();
    let polite = pending::<Output>().on_cancel(move |_| assert!(adder.add(LocalBoxChild::new(ready(Ok(1)))).is_err()));
    sender.add(LocalBoxChild::new(polite)).ok().unwrap();
    let group = gather(from_stream(children)).cancel_when(stop.clone().wait()).grace(|| ready(()));
    let mut all = pin!(group.into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    stop.open(());
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err(Cancelled)));
}

/// TG-34, TG-37: one that is added after the end is given back, and was never polled.
#[test]
fn a_child_that_is_refused_is_given_back_unpolled_and_dropped_once() {
    fn is_given_back<'a, S: Sender<'a>>((sender, children): (S, impl Stream<Item = Member<'a>>)) {
        assert!(sender.add(LocalBoxChild::new(ready(Err("failed")))).is_ok());
        // Not drawn any more: dropped with the channel, or by the last of its ends.
        let dropped = Rc::new(Cell::new(0));
        let counted = |_: &str| {
            struct Counted(Rc<Cell<u32>>);
            impl Drop for Counted {
                fn drop(&mut self) {
                    self.0.set(self.0.get() + 1);
                }
            }
            let counted = Counted(dropped.clone());
            LocalBoxChild::new(async move {
                let _counted = counted;
                panic!("it was polled")
            })
        };
        assert!(sender.add(counted("behind the failure")).is_ok());
        assert_eq!(pollster::block_on(gather(from_stream(children))), Err("failed"));
        assert_eq!(dropped.get(), 1);
        let refused = sender.add(counted("after the end"));
        assert_eq!(dropped.get(), 1);
        let Err(Some(child)) = refused else { panic!("it was added") };
        drop(child);
        assert_eq!(dropped.get(), 2);
    }
    with_each_channel!(is_given_back);
}

/// OTP-47: if making a child fails, that is an error of the one that makes it, and there is no child.
#[test]
fn a_child_whose_factory_fails_is_not_added() {
    let made = ["1", "x", "3"].map(str::parse::<u32>);
    let children = stream::iter(made.into_iter().flatten().map(|value| ready(Ok::<_, ()>(value))));
    assert_eq!(pollster::block_on(gather(from_stream(children))), Ok(vec![1, 3]));
}

/// A producer beside its consumers, in one group: it is drained, and what it produced is worked off.
#[test]
fn a_producer_and_a_group_of_its_jobs_end_together() {
    let world = World::new();
    let done = Cell::new(0);
    let (sender, jobs) = async_channel::bounded::<Member<'_>>(2);
    let producer = async {
        for value in 0..100 {
            let done = &done;
            let job = async move {
                yield_now().await;
                done.set(done.get() + 1);
                Ok(value)
            };
            sender.send(LocalBoxChild::new(job)).await.map_err(|_| "the group has ended")?;
        }
        sender.close();
        Ok::<Vec<u32>, &str>(vec![])
    };
    let mut all = pin!(gather((producer, gather(from_stream(jobs)).concurrency(5))).into_future());
    let ended = world.quiesce(all.as_mut()).0;
    assert_eq!(ended, Poll::Ready(Ok((vec![], (0..100).collect::<Vec<_>>()))));
    assert_eq!(done.get(), 100);
}

#[test]
fn a_report_tells_what_became_of_those_that_were_added() {
    let (sender, children) = async_channel::unbounded::<Member<'_>>();
    for value in 0..3 {
        let adder = sender.clone();
        let child = async move {
            yield_now().await;
            adder.add(LocalBoxChild::new(ready(if value == 1 { Err("failed") } else { Ok(10 + value) }))).ok().unwrap();
            Ok(value)
        };
        sender.add(LocalBoxChild::new(child)).ok().unwrap();
    }
    drop(sender);
    let report = pollster::block_on(gather(from_stream(children)).report());
    // The second pass begins with child 1; what the others added is not drawn any more.
    assert_eq!(report.cause, Cause::Failed(3));
    assert_eq!(report.outcomes, [Outcome::Done(0), Outcome::Done(1), Outcome::Done(2), Outcome::Failed("failed")]);
}
