//! Which children are polled in one poll of the stream, in which order, and how often.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::kit::{FIXED, Gate, World, in_container};
use futures_util::{Stream, StreamExt as _, stream};
use gather::{CancelExt as _, Cancelled, from_iter, from_stream, from_stream_const, gather};

/// One poll of the stream.
fn poll<S: Stream + ?Sized>(world: &World, stream: Pin<&mut S>) -> Poll<Option<S::Item>> {
    stream.poll_next(&mut Context::from_waker(&world.waker))
}

/// Which children were polled, in order.
#[derive(Clone, Default)]
struct Polls(Rc<RefCell<Vec<usize>>>);

impl Polls {
    fn take(&self) -> Vec<usize> {
        self.0.take()
    }

    /// Pending so many times, waking itself; then ready with its index.
    fn yields(&self, index: usize, mut times: usize) -> impl Future<Output = usize> + use<> {
        let polls = self.clone();
        poll_fn(move |cx| {
            polls.0.borrow_mut().push(index);
            if times == 0 {
                return Poll::Ready(index);
            }
            times -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    /// Ready when its gate is open.
    fn waits(&self, index: usize, gate: &Gate<()>) -> impl Future<Output = usize> + use<> {
        let (polls, gate) = (self.clone(), gate.clone());
        poll_fn(move |cx| {
            polls.0.borrow_mut().push(index);
            gate.poll(cx).map(|()| index)
        })
    }
}

/// The next poll goes on with those that were not polled yet, before it comes round to the one that woke itself.
#[test]
fn the_next_poll_goes_on_behind_the_child_that_was_handed_out() {
    let (world, polls) = (World::new(), Polls::default());
    let children = || [3, 0, 0, 0].iter().enumerate().map(|(index, times)| polls.yields(index, *times));
    let check = |mut stream: Pin<Box<dyn Stream<Item = (usize, usize)> + '_>>| {
        assert_eq!(poll(&world, stream.as_mut()), Poll::Ready(Some((1, 1))));
        assert_eq!(polls.take(), [0, 1]);
        assert_eq!(poll(&world, stream.as_mut()), Poll::Ready(Some((2, 2))));
        assert_eq!(polls.take(), [2]);
        assert_eq!(poll(&world, stream.as_mut()), Poll::Ready(Some((3, 3))));
        assert_eq!(polls.take(), [3]);
        assert_eq!(poll(&world, stream.as_mut()), Poll::Pending);
        assert_eq!(polls.take(), [0]);
        world.wakes.take();
    };
    let [a, b, c, d]: [_; 4] = children().collect::<Vec<_>>().try_into().ok().unwrap();
    check(Box::pin(gather((a, b, c, d)).settle().as_completed()));
    let array: [_; 4] = children().collect::<Vec<_>>().try_into().ok().unwrap();
    check(Box::pin(gather(array).settle().as_completed()));
    check(Box::pin(gather(children().collect::<Vec<_>>()).settle().as_completed()));
}

/// From a source children are drawn after the woken ones were polled.
#[test]
fn a_source_is_drawn_from_when_no_child_is_woken() {
    let (world, polls) = (World::new(), Polls::default());
    let gates = [Gate::new(), Gate::new(), Gate::new(), Gate::new()];
    let children = gates.iter().enumerate().map(|(index, gate)| polls.waits(index, gate));
    let mut stream = pin!(gather(from_iter(children)).settle().concurrency(3).as_completed());
    assert!(poll(&world, stream.as_mut()).is_pending());
    assert_eq!(polls.take(), [0, 1, 2]);
    gates.iter().for_each(|gate| gate.open(()));
    assert_eq!(world.wakes.take(), 1);
    assert_eq!(poll(&world, stream.as_mut()), Poll::Ready(Some((1, 1))));
    assert_eq!(poll(&world, stream.as_mut()), Poll::Ready(Some((2, 2))));
    assert_eq!(poll(&world, stream.as_mut()), Poll::Ready(Some((0, 0))));
    assert_eq!(polls.take(), [1, 2, 0]);
    assert_eq!(poll(&world, stream.as_mut()), Poll::Ready(Some((3, 3))));
    assert_eq!(polls.take(), [3]);
    assert_eq!(poll(&world, stream.as_mut()), Poll::Ready(None));
}

const MANY: usize = 10_000;

#[test]
fn ready_children_are_polled_once() {
    let (world, polls) = (World::new(), Polls::default());
    for concurrency in [1, 7, 64, 65, MANY, usize::MAX] {
        let children = (0..MANY).map(|index| polls.yields(index, 0));
        let mut stream = gather(children.clone().collect::<Vec<_>>()).settle().concurrency(concurrency).as_completed();
        for index in 0..MANY {
            assert_eq!(poll(&world, Pin::new(&mut stream)), Poll::Ready(Some((index, index))));
        }
        assert_eq!(poll(&world, Pin::new(&mut stream)), Poll::Ready(None));
        assert_eq!(polls.take(), (0..MANY).collect::<Vec<_>>());

        let mut stream = pin!(gather(from_iter(children)).settle().concurrency(concurrency).as_completed());
        for index in 0..MANY {
            assert_eq!(poll(&world, stream.as_mut()), Poll::Ready(Some((index, index))));
        }
        assert_eq!(poll(&world, stream.as_mut()), Poll::Ready(None));
        assert_eq!(polls.take(), (0..MANY).collect::<Vec<_>>());
    }
    assert_eq!(world.wakes.take(), 0);
}

/// Children that yield once are polled twice, whatever ends beside them.
#[test]
fn woken_children_are_polled_when_they_were_woken() {
    let (world, polls) = (World::new(), Polls::default());
    for concurrency in [1, 7, 64, 65, MANY] {
        let children = (0..MANY).map(|index| polls.yields(index, 1)).collect::<Vec<_>>();
        let mut stream = gather(children).settle().concurrency(concurrency).as_completed();
        let (mut seen, mut idle) = (vec![false; MANY], 0);
        loop {
            match poll(&world, Pin::new(&mut stream)) {
                Poll::Ready(Some((index, _))) => assert!(!std::mem::replace(&mut seen[index], true)),
                Poll::Ready(None) => break,
                Poll::Pending => {
                    assert_ne!(world.wakes.take(), 0);
                    idle += 1;
                }
            }
        }
        assert!(seen.iter().all(|seen| *seen));
        assert!(idle <= MANY / concurrency + 1, "{idle} polls with no output at {concurrency}");
        assert_eq!(polls.take().len(), 2 * MANY);
    }
}

/// The source uses the budget too.
#[tokio::test]
async fn a_source_is_linear_under_a_budget() {
    for concurrency in [100, MANY] {
        let polls = Rc::new(Cell::new(0));
        let (sender, source) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..MANY {
            let (polls, (ready, mut receiver)) = (polls.clone(), tokio::sync::oneshot::channel());
            ready.send(number).unwrap();
            let child = poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                Pin::new(&mut receiver).poll(cx)
            });
            sender.send(child).unwrap_or_else(|_| unreachable!("the receiver is there"));
        }
        drop(sender);
        let source = stream::unfold(source, |mut source| async { Some((source.recv().await?, source)) });
        let mut outputs = pin!(gather(from_stream(source)).concurrency(concurrency).as_completed());
        let mut sum = 0;
        while let Some(output) = outputs.next().await {
            let (index, number) = output.unwrap();
            assert_eq!(index, number);
            sum += 1;
        }
        assert_eq!(sum, MANY);
        assert!(polls.get() <= 3 * MANY, "{} polls", polls.get());
    }
}

/// The runtime lets a task poll 128 receivers in a row: then each further one wakes itself.
#[tokio::test]
async fn linear_under_a_budget() {
    for concurrency in [100, MANY] {
        let polls = Rc::new(Cell::new(0));
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..MANY).map(|_| tokio::sync::oneshot::channel()).unzip();
        let children = receivers.into_iter().map(|mut receiver| {
            let polls = polls.clone();
            poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                Pin::new(&mut receiver).poll(cx)
            })
        });
        for (number, sender) in senders.into_iter().enumerate() {
            sender.send(number).unwrap();
        }
        let mut outputs = gather(children.collect::<Vec<_>>()).concurrency(concurrency).as_completed();
        let mut sum = 0;
        while let Some(output) = outputs.next().await {
            let (index, number) = output.unwrap();
            assert_eq!(index, number);
            sum += 1;
        }
        assert_eq!(sum, MANY);
        // In one poll of the task 128 are ready; of those behind them each was polled once, and then 32 at a time.
        assert!(polls.get() <= 3 * MANY, "{} polls", polls.get());
    }
}

/// One that wakes itself for ever has its turn once in a round, and does not keep the others from theirs.
#[test]
fn children_that_wake_themselves_starve_nobody() {
    for (count, most) in [(8, 1), (31, 1), (32, 2), (100, 5), (1000, 33)] {
        let (world, polls, gate) = (World::new(), Polls::default(), Gate::new());
        let mut children: Vec<Pin<Box<dyn Future<Output = usize>>>> = Vec::new();
        for index in 0..count {
            match index == count / 2 {
                true => children.push(Box::pin(polls.waits(index, &gate))),
                false => children.push(Box::pin(polls.yields(index, usize::MAX))),
            }
        }
        let mut stream = gather(children).settle().as_completed();
        for _ in 0..7 {
            assert!(poll(&world, Pin::new(&mut stream)).is_pending());
        }
        gate.open(());
        let mut pending = 0;
        while poll(&world, Pin::new(&mut stream)).is_pending() {
            pending += 1;
        }
        assert!(pending <= most, "{pending} polls of {count}");
    }
}

/// In a stream of outputs too: as many are started and not handed out.
#[test]
fn as_many_are_started_as_there_is_room_for() {
    let (world, polls) = (World::new(), Polls::default());
    let gates: [Gate<()>; 6] = Default::default();
    let children = gates.each_ref().map(|gate| gate.clone()).into_iter().enumerate();
    let children: Vec<_> = children.map(|(index, gate)| polls.waits(index, &gate)).collect();
    let mut stream = gather(children).settle().concurrency(2).as_completed();
    let mut poll = || poll(&world, Pin::new(&mut stream));
    assert_eq!((poll(), polls.take()), (Poll::Pending, vec![0, 1]));
    gates[1].open(());
    assert_eq!((poll(), polls.take()), (Poll::Ready(Some((1, 1))), vec![1]));
    assert_eq!((poll(), polls.take()), (Poll::Pending, vec![2]));
    gates[0].open(());
    gates[2].open(());
    // The last poll began with 2, so this one begins behind it: the next ones are 3, for which there is no room, and 0.
    assert_eq!((poll(), polls.take()), (Poll::Ready(Some((0, 0))), vec![0]));
    assert_eq!((poll(), polls.take()), (Poll::Ready(Some((2, 2))), vec![2]));
    assert_eq!((poll(), polls.take()), (Poll::Pending, vec![3, 4]));
    gates[5].open(());
    gates[3].open(());
    assert_eq!((poll(), polls.take()), (Poll::Ready(Some((3, 3))), vec![3]));
    // Behind it: 4, which was not woken, and 5, which starts.
    assert_eq!((poll(), polls.take()), (Poll::Ready(Some((5, 5))), vec![5]));
    gates[4].open(());
    assert_eq!((poll(), polls.take()), (Poll::Ready(Some((4, 4))), vec![4]));
    assert_eq!((poll(), polls.take()), (Poll::Ready(None), vec![]));
}

/// Though nothing is handed out of those that drain: when one has made room, the next one is polled in that poll.
#[test]
fn one_that_has_drained_makes_room_for_the_next_one() {
    for container in FIXED {
        let (world, stop) = (World::new(), Gate::<()>::new());
        let [a, b, c] = ["a", "b", "c"].map(|name| world.probe::<Result<u32, &str>>(name));
        let gates = [a.1, b.1, c.1];
        let children = [a.0, b.0, c.0].map(|probe| probe.quiet().log_polls().on_cancel(|_| ()));
        let mut items = in_container!(container, children, |group| {
            let group = group.cancel_when(stop.clone().wait()).concurrency(1);
            Box::pin(group.as_completed()) as Pin<Box<dyn Stream<Item = Result<Result<(usize, u32), &str>, Cancelled>>>>
        });
        assert!(poll(&world, items.as_mut()).is_pending());
        stop.open(());
        assert!(poll(&world, items.as_mut()).is_pending());
        world.log.take();
        gates[0].open(Ok(0));
        assert!(poll(&world, items.as_mut()).is_pending());
        world.log.expect("poll a, drop a, poll b");
        gates[2].open(Ok(2));
        gates[1].open(Ok(1));
        assert_eq!(poll(&world, items.as_mut()), Poll::Ready(Some(Err(Cancelled))));
        world.log.expect("poll b, drop b, poll c, drop c");
    }
}

/// Places of a source without an allocator are used again, in the order in which they are left.
#[test]
fn places_are_left_when_an_output_was_handed_out() {
    let alive = Rc::new(Cell::new(0));
    let children = stream::iter(0..1000).map(|index| {
        let alive = alive.clone();
        alive.set(alive.get() + 1);
        assert!(alive.get() <= 3);
        async move {
            crate::kit::yield_now().await;
            alive.set(alive.get() - 1);
            index
        }
    });
    let stream = gather(from_stream_const::<3, _>(children)).settle().as_completed();
    let mut outputs = pollster::block_on(stream.collect::<Vec<_>>());
    outputs.sort_unstable();
    assert_eq!(outputs, (0..1000).map(|index| (index, index)).collect::<Vec<_>>());
}

/// Behind busy children the source is asked before them, and those that it gives are polled after them, all of them.
#[test]
fn children_that_are_drawn_before_busy_ones_are_all_handed_out() {
    for (busy, given) in [(31, 10), (32, 10), (40, 1), (40, 63), (100, 64), (100, 200)] {
        let (world, polls) = (World::new(), Polls::default());
        let (sender, children) = async_channel::unbounded::<Pin<Box<dyn Future<Output = usize>>>>();
        for index in 0..busy {
            sender.try_send(Box::pin(polls.yields(index, usize::MAX))).unwrap();
        }
        let mut stream = pin!(gather(from_stream(children)).settle().as_completed());
        for _ in 0..5 {
            assert!(poll(&world, stream.as_mut()).is_pending());
        }
        for index in busy..busy + given {
            sender.try_send(Box::pin(polls.yields(index, index % 2))).unwrap();
        }
        let mut seen = Vec::new();
        for _ in 0..100 * given {
            if let Poll::Ready(Some((index, _))) = poll(&world, stream.as_mut()) {
                seen.push(index);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (busy..busy + given).collect::<Vec<_>>(), "{busy} busy ones");
    }
}
