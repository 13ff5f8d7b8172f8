//! What a stream of outputs gives under each policy and setting, in each container; what its type can do; and what
//! becomes of children and outputs when it is dropped, cancelled or panics.

use std::cell::{Cell, RefCell};
use std::future::{Ready, pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::kit::{Log, World, panic_of};
use futures_util::stream::FusedStream;
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use gather::{CancelExt, Cancelled, Cause, Outcome, from_iter, from_stream, from_stream_const, gather};

type Output = Result<u8, &'static str>;

fn poll<S: Stream + ?Sized>(world: &World, stream: Pin<&mut S>) -> Poll<Option<S::Item>> {
    stream.poll_next(&mut Context::from_waker(&world.waker))
}

fn all<S: Stream>(stream: S) -> Vec<S::Item> {
    pollster::block_on(stream.collect())
}

const OUTPUTS: [Output; 3] = [Ok(1), Err("failed"), Ok(3)];

fn children() -> [Ready<Output>; 3] {
    OUTPUTS.map(ready)
}

/// Runs the same with the children in each container.
macro_rules! in_each {
    (|$children:ident| $check:expr) => {{
        {
            let [a, b, c] = children();
            let $children = (a, b, c);
            $check
        }
        {
            let $children = children();
            $check
        }
        {
            let $children = Vec::from(children());
            $check
        }
        {
            let $children = Box::<[_]>::from(children());
            $check
        }
        {
            let $children = from_iter(children());
            $check
        }
        {
            let $children = from_stream(stream::iter(children()));
            $check
        }
        {
            let $children = from_stream_const::<1, _>(stream::iter(children()));
            $check
        }
    }};
}

#[test]
fn items_under_each_policy_in_each_container() {
    in_each!(|children| assert_eq!(all(gather(children).as_completed()), [Ok((0, 1)), Err("failed")]));
    in_each!(|children| assert_eq!(
        all(gather(children).settle().as_completed()),
        [(0, Ok(1)), (1, Err("failed")), (2, Ok(3))]
    ));
    in_each!(|children| {
        let mut outcomes = pin!(gather(children).settle().report().as_completed());
        let done = [(0, Outcome::Done(1)), (1, Outcome::Failed("failed")), (2, Outcome::Done(3))];
        assert_eq!(all(outcomes.as_mut()), done);
        assert_eq!(outcomes.cause(), Some(Cause::Completed));
    });
    // Of a source the third child was never drawn.
    in_each!(|children| {
        let mut outcomes = pin!(gather(children).report().as_completed());
        let items = all(outcomes.as_mut());
        assert_eq!(items[..2], [(0, Outcome::Done(1)), (1, Outcome::Failed("failed"))]);
        assert!(items[2..].iter().all(|item| *item == (2, Outcome::Dropped)), "{items:?}");
        assert_eq!(outcomes.cause(), Some(Cause::Failed(1)));
    });
}

#[test]
fn items_with_a_signal() {
    let fires_second = || {
        let mut polls = 0;
        poll_fn(move |cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            if polls < 3 { Poll::Pending } else { Poll::Ready(()) }
        })
    };
    in_each!(|children| {
        let items = all(gather(children).cancel_when(pending::<()>()).as_completed());
        assert_eq!(items, [Ok(Ok((0, 1))), Ok(Err("failed"))]);
    });
    in_each!(|children| {
        let items = all(gather(children).settle().cancel_when(fires_second()).as_completed());
        // It is polled twice in the first poll; so it fires in the second, which hands out one more.
        assert_eq!(items, [Ok((0, Ok(1))), Ok((1, Err("failed"))), Err(Cancelled)]);
    });
    in_each!(|children| {
        let items = all(gather(children).cancel_when(ready(())).as_completed());
        assert_eq!(items, [Err(Cancelled)]);
    });
    in_each!(|children| {
        let mut items = pin!(gather(children).cancel_when(ready(())).report().as_completed());
        assert!(all(items.as_mut()).into_iter().all(|(_, outcome)| outcome == Outcome::Dropped));
        assert_eq!(items.cause(), Some(Cause::Cancelled));
    });
}

#[test]
fn of_no_children() {
    assert_eq!(all(gather(()).as_completed()).len(), 0);
    assert_eq!(all(gather(()).settle().report().as_completed()).len(), 0);
    assert_eq!(all(gather([Ok(0); 0].map(ready::<Output>)).as_completed()), []);
    assert_eq!(all(gather(Vec::<Ready<Output>>::new()).cancel_when(pending::<()>()).as_completed()), []);
    assert_eq!(all(gather(from_iter([Ok(0); 0].map(ready::<Output>))).as_completed()), []);
    let mut none = gather(()).as_completed();
    assert_eq!(none.cause(), None);
    assert!(none.next().now_or_never().unwrap().is_none());
    assert_eq!(none.cause(), Some(Cause::Completed));
}

#[test]
fn tuples_of_different_children_of_one_output() {
    let told = pending::<Output>().cleanup(|| ready(()));
    let group =
        gather((told, async { Ok(1) }, ready(Err("failed")).shield(), gather([ready(Ok::<_, ()>(2))]).map(|_| Ok(2))));
    let items = all(group.report().as_completed());
    assert_eq!(
        items,
        [
            (1, Outcome::Done(1)),
            (2, Outcome::Failed("failed")),
            (0, Outcome::Drained(None)),
            (3, Outcome::Drained(None)),
        ]
    );
}

#[test]
fn ended_it_gives_nothing_more_and_says_so() {
    let world = World::new();
    let mut values = gather(Vec::from(children())).as_completed();
    assert!(!values.is_terminated());
    assert_eq!(poll(&world, Pin::new(&mut values)), Poll::Ready(Some(Ok((0, 1)))));
    assert_eq!(values.cause(), None);
    assert_eq!(poll(&world, Pin::new(&mut values)), Poll::Ready(Some(Err("failed"))));
    assert!(values.is_terminated());
    assert_eq!(values.cause(), Some(Cause::Failed(1)));
    for _ in 0..3 {
        assert_eq!(poll(&world, Pin::new(&mut values)), Poll::Ready(None));
    }
    Pin::new(&mut values).cancel();
    assert_eq!(values.cause(), Some(Cause::Failed(1)));
    assert_eq!(poll(&world, Pin::new(&mut values)), Poll::Ready(None));
}

#[test]
fn cancelled_by_hand_it_drains() {
    let (world, log) = (World::new(), Log::default());
    let (told, gate) = world.probe::<Output>("told");
    let (plain, _) = world.probe::<Output>("plain");
    let (first, first_gate) = world.probe::<Output>("first");
    let hook_log = world.log.clone();
    let told = told.on_cancel(move |_| hook_log.push("tell"));
    let mut values =
        pin!(gather((told, plain, first)).on_cancel(|cause| log.push(format!("{cause:?}"))).as_completed());
    first_gate.open(Ok(3));
    assert_eq!(poll(&world, values.as_mut()), Poll::Ready(Some(Ok((2, 3)))));
    world.log.expect("end first, drop first");
    values.as_mut().cancel();
    world.log.expect("tell, drop plain");
    log.expect("Cancelled");
    values.as_mut().cancel();
    world.log.expect("");
    assert_eq!(poll(&world, values.as_mut()), Poll::Pending);
    assert_eq!(values.cause(), None);
    gate.open(Ok(1));
    assert_eq!(poll(&world, values.as_mut()), Poll::Ready(None));
    world.log.expect("end told, drop told");
    assert_eq!(values.cause(), Some(Cause::Cancelled));
}

/// A report tells of each, also of those that were never polled.
#[test]
fn cancelled_by_hand_before_the_first_poll() {
    let children = [pending::<Output>(), pending(), pending()];
    let mut outcomes = gather(Vec::from(children)).report().as_completed();
    Pin::new(&mut outcomes).cancel();
    let items = all(&mut outcomes);
    assert_eq!(items, [(0, Outcome::Dropped), (1, Outcome::Dropped), (2, Outcome::Dropped)]);
    let mut values = pin!(gather(children_of(3)).cancel_when(pending::<()>()).as_completed());
    values.as_mut().cancel();
    assert_eq!(all(values.as_mut()), [Err(Cancelled)]);
}

fn children_of(count: usize) -> Vec<Ready<Output>> {
    vec![ready(Ok(0)); count]
}

/// Counts values that are alive.
struct Counted(Rc<Cell<isize>>);

impl Counted {
    fn new(alive: &Rc<Cell<isize>>) -> Self {
        alive.set(alive.get() + 1);
        Counted(alive.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Every value is handed out or dropped, once: the stream is dropped after each count of polls.
#[test]
fn values_and_children_are_dropped_once() {
    for polls in 0..8 {
        let alive = Rc::new(Cell::new(0));
        let child = |index| {
            let alive = alive.clone();
            async move {
                let held = Counted::new(&alive);
                crate::kit::yield_now().await;
                drop(held);
                if index == 3 { Err(Counted::new(&alive)) } else { Ok(Counted::new(&alive)) }
            }
        };
        let told = |index| child(index).shield();
        macro_rules! check {
            ($stream:expr) => {{
                let (world, mut stream) = (World::new(), Box::pin($stream));
                let mut items = Vec::new();
                for _ in 0..polls {
                    if let Poll::Ready(Some(item)) = poll(&world, stream.as_mut()) {
                        items.push(item);
                    }
                }
                assert!(alive.get() >= items.len() as isize);
                drop(stream);
                assert_eq!(alive.get(), items.len() as isize);
                drop(items);
                assert_eq!(alive.get(), 0);
            }};
        }
        check!(gather((0..5).map(told).collect::<Vec<_>>()).report().as_completed());
        check!(gather([0, 1, 2, 3, 4].map(told)).report().as_completed());
        check!(gather((told(0), child(1), told(2), child(3), told(4))).report().as_completed());
        check!(gather(from_iter((0..5).map(told))).report().as_completed());
        check!(gather(from_stream_const::<2, _>(stream::iter(0..5).map(told))).report().as_completed());
        check!(gather((0..5).map(child).collect::<Vec<_>>()).as_completed());
        check!(gather([0, 1, 2, 3, 4].map(child)).settle().as_completed());
        check!(gather(from_iter((0..5).map(child))).concurrency(2).as_completed());
    }
}

#[test]
fn a_panic_drops_the_children_and_leaves_a_clear_message() {
    let world = World::new();
    let (first, _gate) = world.probe::<Output>("first");
    let (told, _gate) = world.probe::<Output>("told");
    let panics = poll_fn(|_| -> Poll<Output> { panic!("child") });
    let mut values = Box::pin(gather((first, panics, told.shield())).as_completed());
    assert_eq!(panic_of(|| assert!(poll(&world, values.as_mut()).is_ready())), "child");
    world.log.expect("drop first, drop told");
    assert!(values.is_terminated());
    assert_eq!(values.cause(), None);
    assert_eq!(panic_of(|| assert!(poll(&world, values.as_mut()).is_ready())), "`AsCompleted` polled after a panic");
    assert_eq!(panic_of(|| values.as_mut().cancel()), "`AsCompleted` cancelled after a panic");
}

/// Also of outcomes that wait.
#[test]
fn a_panic_in_the_drain_drops_what_waits() {
    let alive = Rc::new(Cell::new(0));
    let late = {
        let alive = alive.clone();
        async move { Ok::<_, Counted>(Counted::new(&alive)) }.on_cancel(|_| ())
    };
    let panics = poll_fn(|_| -> Poll<Result<Counted, Counted>> { panic!("late") }).on_cancel(|_| ());
    let world = World::new();
    let mut outcomes = Box::pin(gather((late, panics)).cancel_when(ready(())).report().as_completed());
    let polled = catch_unwind(AssertUnwindSafe(|| poll(&world, outcomes.as_mut()).map(drop)));
    assert!(polled.is_err());
    assert_eq!(alive.get(), 0);
}

#[test]
fn debug_shows_the_gather() {
    let world = World::new();
    let mut values = gather(vec![ready::<Output>(Ok(0)), ready(Ok(1))]).as_completed();
    assert!(poll(&world, Pin::new(&mut values)).is_ready());
    let shown = format!("{values:?}");
    assert_eq!(shown, "AsCompleted(Gather { phase: Running, children: [ended, unstarted], .. })");
}

/// It borrows, and is a part of tasks: there the compiler proves again that it is `Send`, for erased lifetimes.
#[tokio::test]
async fn within_tasks() {
    #[derive(Debug)]
    struct Borrowed<'a>(&'a str);
    async fn child<'a>(name: &'a str, fails: bool) -> Result<&'a str, Borrowed<'a>> {
        tokio::task::yield_now().await;
        if fails { Err(Borrowed(name)) } else { Ok(name) }
    }
    async fn run(names: Vec<String>) -> usize {
        let mut count = 0;
        let (calm, failing) = (|name| child(name, false), |name| child(name, true));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut values = gather(names.iter().copied().map(calm).collect::<Vec<_>>()).as_completed();
        while let Some(value) = values.next().await {
            count += value.unwrap().1.len();
        }
        let [a, b] = [names[0], names[1]];
        let mut values = pin!(gather((child(a, false), child(b, false).shield())).as_completed());
        while let Some(value) = values.next().await {
            count += value.unwrap().1.len();
        }
        let mut values = pin!(gather([calm(a), failing(b)]).settle().report().as_completed());
        while let Some((_, outcome)) = values.next().await {
            count += outcome.ok().map_or(0, str::len);
        }
        let mut values = pin!(gather(from_iter(names.iter().copied().map(failing))).settle().as_completed());
        while let Some((_, value)) = values.next().await {
            count += value.unwrap_err().0.len();
        }
        let sum = std::sync::Mutex::new(0);
        let add = |_, name: &str| {
            let (sum, len) = (&sum, name.len());
            async move {
                tokio::task::yield_now().await;
                *sum.lock().unwrap() += len;
                Ok(())
            }
        };
        gather(names.iter().copied().map(calm).collect::<Vec<_>>()).as_completed().try_for_each(add).await.unwrap();
        gather((calm(a), child(b, false).shield())).as_completed().try_for_each(add).await.unwrap();
        let add = |index, outcome: Outcome<&str, Borrowed<'_>>| {
            let added = add(index, outcome.ok().unwrap_or_default());
            async move { added.await.unwrap() }
        };
        gather([calm(a), failing(b)]).settle().report().as_completed().for_each(add).await;
        count + *sum.lock().unwrap()
    }
    let names = ["ab", "cd", "ef"].map(String::from).to_vec();
    assert_eq!(tokio::spawn(run(names)).await.unwrap(), 6 + 4 + 2 + 6 + 6 + 4 + 2);
}

/// A `Vec`'s is `Unpin`, so `next` needs no pin; and a loop may be left and entered again.
#[test]
fn a_loop_that_is_left_goes_on() {
    let log = RefCell::new(Vec::new());
    let mut values = gather((0..6).map(|number| ready(Ok::<_, ()>(number))).collect::<Vec<_>>()).as_completed();
    pollster::block_on(async {
        while let Some(Ok((_, number))) = values.next().await {
            log.borrow_mut().push(number);
            if number == 2 {
                break;
            }
        }
        while let Some(Ok((_, number))) = values.next().await {
            log.borrow_mut().push(10 * number);
        }
    });
    assert_eq!(*log.borrow(), [0, 1, 2, 30, 40, 50]);
}
