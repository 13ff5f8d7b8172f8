//! `for_each` and `try_for_each`: a closure that is called with each output, and a future of it beside the children.

use std::cell::{Cell, RefCell};
use std::future::{Ready, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use crate::kit::{self, Any, CONTAINERS, Gate, Log, Output, Probe, World, in_container, panic_of};
use futures_util::stream;
use gather::{CancelExt, Cancelled, Cause, Outcome, from_iter, from_stream_const, gather};

/// A closure that logs what it is called with, and returns a future that ends when a gate is opened.
struct Hands {
    log: Log,
    gates: RefCell<Vec<Gate<Result<(), &'static str>>>>,
}

impl Hands {
    fn new(world: &World) -> Rc<Self> {
        Rc::new(Hands { log: world.log.clone(), gates: RefCell::default() })
    }

    fn take(self: &Rc<Self>, what: String) -> Probe<Result<(), &'static str>> {
        self.log.push(format!("take {what}"));
        let gate = Gate::new();
        self.gates.borrow_mut().push(gate.clone());
        Probe::new("hand", &self.log, &gate)
    }

    fn try_each<T: std::fmt::Debug>(
        self: &Rc<Self>,
    ) -> impl FnMut(usize, T) -> Probe<Result<(), &'static str>> + use<T> {
        let hands = self.clone();
        move |index, value| hands.take(format!("{index}: {value:?}"))
    }

    fn each<T: std::fmt::Debug>(self: &Rc<Self>) -> impl FnMut(usize, T) -> Pin<Box<dyn Future<Output = ()>>> + use<T> {
        let mut take = self.try_each();
        move |index, value| {
            let taken = take(index, value);
            Box::pin(async move { taken.await.unwrap() })
        }
    }

    /// Ends the future that was returned last.
    fn open(&self, result: Result<(), &'static str>) {
        self.gates.borrow().last().unwrap().open(result);
    }
}

/// Three children, and their gates.
fn children(world: &World, told: bool) -> ([gather::LocalBoxChild<'static, Output>; 3], [Gate<Output>; 3]) {
    let gates: [Gate<Output>; 3] = Default::default();
    let mut names = ["a", "b", "c"].into_iter().zip(&gates);
    let children = std::array::from_fn(|_| {
        let (name, gate) = names.next().unwrap();
        let probe = Probe::new(name, &world.log, gate);
        match told {
            true => gather::LocalBoxChild::new(probe.shield()),
            false => gather::LocalBoxChild::new(probe),
        }
    });
    (children, gates)
}

#[test]
fn children_go_on_while_a_hand_is_pending() {
    for container in CONTAINERS {
        let world = World::new();
        let hands = Hands::new(&world);
        let ([a, b, c], gates) = children(&world, false);
        let mut all: Any<'_, ()> = in_container!(container, [a, b, c], |group| kit::boxed(
            group.settle().as_completed().for_each(hands.each())
        ));
        assert!(world.poll(all.as_mut()).is_pending());
        gates[2].open(Ok(2));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end c, drop c, take 2: Ok(2)");
        // They wait, and are handed over in index order.
        gates[1].open(Ok(1));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end b, drop b");
        gates[0].open(Err("a"));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end a, drop a");
        hands.open(Ok(()));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end hand, drop hand, take 0: Err(\"a\")");
        hands.open(Ok(()));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end hand, drop hand, take 1: Ok(1)");
        hands.open(Ok(()));
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(()));
        world.log.expect("end hand, drop hand");
    }
}

/// From a source, what waits lies in the child's place. That is not polled, even if the child is woken once more.
#[test]
fn a_child_whose_output_waits_in_its_place_is_not_polled() {
    let check = |in_place| {
        let world = World::new();
        let hands = Hands::new(&world);
        let (children, gates) = children(&world, false);
        let mut all: Any<'_, ()> = match in_place {
            true => {
                let source = from_stream_const::<3, _>(stream::iter(children));
                kit::boxed(gather(source).settle().as_completed().for_each(hands.each()))
            }
            false => kit::boxed(gather(from_iter(children)).settle().as_completed().for_each(hands.each())),
        };
        assert!(world.poll(all.as_mut()).is_pending());
        gates[2].open(Ok(2));
        gates[1].open(Ok(1));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end b, drop b, end c, drop c, take 1: Ok(1)");
        gates[2].wake();
        assert!(world.poll(all.as_mut()).is_pending());
        gates[0].open(Ok(0));
        hands.open(Ok(()));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end hand, drop hand, take 2: Ok(2), end a, drop a");
        for _ in 0..2 {
            hands.open(Ok(()));
            let _ = world.poll(all.as_mut());
        }
        world.log.expect("end hand, drop hand, take 0: Ok(0), end hand, drop hand");
    };
    check(false);
    check(true);
}

#[test]
fn a_failure_while_a_hand_is_pending_cancels_at_once_and_waits_for_it() {
    for container in CONTAINERS {
        let world = World::new();
        let hands = Hands::new(&world);
        let ([a, b, c], gates) = children(&world, true);
        let mut all: Any<'_, _> = in_container!(container, [a, b, c], |group| kit::boxed(
            group.as_completed().try_for_each(hands.try_each())
        ));
        assert!(world.poll(all.as_mut()).is_pending());
        gates[0].open(Ok(0));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end a, drop a, take 0: 0");
        gates[2].open(Err("c"));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end c, drop c");
        gates[1].open(Ok(1)); // too late
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end b, drop b");
        hands.open(Err("also")); // changes nothing
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err("c")));
        world.log.expect("end hand, drop hand");
    }
}

#[test]
fn an_error_of_a_hand_fails_the_group() {
    for container in CONTAINERS {
        let world = World::new();
        let hands = Hands::new(&world);
        let ([a, b, c], gates) = children(&world, true);
        let log = world.log.clone();
        let mut all: Any<'_, _> = in_container!(container, [a, b, c], |group| {
            let group = group.on_cancel(move |cause| log.push(format!("{cause:?}")));
            kit::boxed(group.as_completed().try_for_each(hands.try_each()))
        });
        assert!(world.poll(all.as_mut()).is_pending());
        gates[1].open(Ok(1));
        gates[2].open(Ok(2));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end b, drop b, end c, drop c, take 1: 1");
        hands.open(Err("full"));
        gates[0].open(Err("late"));
        // The value of c is dropped; a is polled in the poll in which it is told.
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err("full")));
        world.log.expect("end hand, drop hand, Failed(1), end a, drop a");
    }
}

/// Also when no child is left, and when it fails at once.
#[test]
fn an_error_of_the_last_hand() {
    let causes = RefCell::new(Vec::new());
    let fails = |index, _: u32| ready(if index == 2 { Err("full") } else { Ok(()) });
    let group =
        gather([1, 2, 3].map(|value| ready(Ok::<_, &str>(value)))).on_cancel(|cause| causes.borrow_mut().push(cause));
    assert_eq!(pollster::block_on(group.as_completed().try_for_each(fails)), Err("full"));
    assert_eq!(*causes.borrow(), [Cause::Failed(2)]);

    // In the poll in which the value came: a child that is told then is polled in that poll.
    let world = World::new();
    let (told, gate) = world.probe::<Result<u32, &str>>("told");
    let hook_log = world.log.clone();
    let told = told.log_polls().on_cancel(move |_| hook_log.push("tell"));
    let fails = |_, _: u32| ready(Err("full"));
    let mut all = pin!(gather((told, ready(Ok(1)))).as_completed().try_for_each(fails));
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("poll told, tell, poll told");
    gate.open(Ok(1));
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err("full")));
}

#[test]
fn a_signal_drops_what_waits() {
    for container in CONTAINERS {
        let world = World::new();
        let (hands, signal) = (Hands::new(&world), Gate::new());
        let ([a, b, c], gates) = children(&world, false);
        let stop = signal.clone().wait();
        let mut all: Any<'_, _> = in_container!(container, [a, b, c], |group| {
            kit::boxed(group.settle().cancel_when(stop).as_completed().for_each(hands.each()))
        });
        assert!(world.poll(all.as_mut()).is_pending());
        gates[0].open(Ok(0));
        gates[1].open(Ok(1));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end b, drop b, end a, drop a, take 0: Ok(0)");
        signal.open(());
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("drop c");
        hands.open(Ok(()));
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err(Cancelled)));
        world.log.expect("end hand, drop hand");
    }
}

#[test]
fn a_report_hands_every_outcome_over() {
    for container in CONTAINERS {
        let world = World::new();
        let hands = Hands::new(&world);
        let ([a, b, c], gates) = children(&world, true);
        let mut all: Any<'_, Cause> = in_container!(container, [a, b, c], |group| {
            kit::boxed(group.report().grace(|| ready(())).as_completed().for_each(hands.each()))
        });
        assert!(world.poll(all.as_mut()).is_pending());
        gates[1].open(Ok(1));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end b, drop b, take 1: Done(1)");
        gates[2].open(Err("c"));
        assert!(world.poll(all.as_mut()).is_pending());
        // The grace is over at once. The future of the closure is not cut off.
        world.log.expect("end c, drop c, drop a");
        hands.open(Ok(()));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end hand, drop hand, take 2: Failed(\"c\")");
        hands.open(Ok(()));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end hand, drop hand, take 0: Abandoned");
        hands.open(Ok(()));
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(Cause::Failed(2)));
        world.log.expect("end hand, drop hand");
    }
}

/// One that has ended keeps its place until the closure is called with its output.
#[test]
fn a_place_is_free_when_the_output_was_handed_over() {
    for from_source in [false, true] {
        let world = World::new();
        let hands = Hands::new(&world);
        let gates: [Gate<u32>; 5] = Default::default();
        let names = ["a", "b", "c", "d", "e"];
        let children = names.into_iter().zip(gates.clone());
        let log = world.log.clone();
        let children = children.map(move |(name, gate)| Probe::new(name, &log, &gate).log_polls());
        let mut all: Any<'_, ()> = match from_source {
            false => kit::boxed(
                gather(children.collect::<Vec<_>>()).settle().concurrency(2).as_completed().for_each(hands.each()),
            ),
            true => {
                kit::boxed(gather(from_iter(children)).settle().concurrency(2).as_completed().for_each(hands.each()))
            }
        };
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("poll a, poll b");
        gates[0].open(0);
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("poll a, end a, drop a, take 0: 0");
        // It was handed over behind the children, so the next poll fills the place, and comes by itself.
        assert_ne!(world.wakes.take(), 0);
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("poll c");
        gates[1].open(1);
        gates[2].open(2);
        assert!(world.poll(all.as_mut()).is_pending());
        let ended = world.log.take();
        assert_eq!(ended.len(), 6);
        world.wakes.take();
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect(""); // both wait, and there is no room
        hands.open(Ok(()));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("end hand, drop hand, take 1: 1, poll d");
        hands.open(Ok(()));
        gates[3].open(3);
        gates[4].open(4);
        assert!(world.poll(all.as_mut()).is_pending());
        let log = world.log.take().join(", ");
        assert!(log.starts_with("end hand, drop hand, take 2: 2, "), "{log}");
        for _ in 0..3 {
            hands.open(Ok(()));
            let _ = world.poll(all.as_mut());
        }
        let log = world.log.take().join(", ");
        assert!(log.contains("take 3: 3") && log.ends_with("take 4: 4, end hand, drop hand"), "{log}");
    }
}

/// In one poll each child is polled at most once, and the closure is called with all that have ended.
#[test]
fn ready_children_and_hands_take_one_poll() {
    const MANY: u32 = 10_000;
    let (world, polls) = (World::new(), Rc::new(Cell::new(0)));
    let child = |number| {
        let polls = polls.clone();
        poll_fn(move |_| {
            polls.set(polls.get() + 1);
            Poll::Ready(number)
        })
    };
    let sum = Cell::new(0);
    let add = |index, number: u32| {
        assert_eq!(index, number as usize);
        sum.set(sum.get() + number);
        ready(())
    };
    let all = gather((0..MANY).map(child).collect::<Vec<_>>()).settle().as_completed().for_each(add);
    assert_eq!(world.poll(pin!(all)), Poll::Ready(()));
    assert_eq!((polls.take(), sum.take()), (MANY, MANY * (MANY - 1) / 2));

    // With room for few: as many in each poll, and it wakes itself.
    let all = gather((0..MANY).map(child).collect::<Vec<_>>()).settle().concurrency(100).as_completed().for_each(add);
    let mut all = pin!(all);
    let mut count = 1;
    while world.poll(all.as_mut()).is_pending() {
        assert_eq!(world.wakes.take(), 1);
        count += 1;
    }
    assert!(count <= MANY / 100 + 1, "{count} polls");
    assert_eq!((polls.take(), sum.take()), (MANY, MANY * (MANY - 1) / 2));

    // Without a limit, but with places for few.
    let children = stream::iter((0..MANY).map(child));
    let mut all = pin!(gather(from_stream_const::<48, _>(children)).settle().as_completed().for_each(add));
    while world.poll(all.as_mut()).is_pending() {
        assert_eq!(world.wakes.take(), 1);
    }
    assert_eq!((polls.take(), sum.take()), (MANY, MANY * (MANY - 1) / 2));
}

/// A slow hand, and many that wait: what waits is found without looking at all children each time.
#[test]
fn outcomes_that_wait_are_handed_over_in_kind_and_index_order() {
    const MANY: usize = 20_000;
    let order = RefCell::new(Vec::new());
    let note = |index, outcome: Outcome<(), ()>| {
        order.borrow_mut().push((index, outcome));
        kit::yield_now()
    };
    let children = (0..MANY).map(|index| {
        let failing = index == MANY / 2;
        let child = poll_fn(move |_| if failing { Poll::Ready(Err(())) } else { Poll::Pending });
        if index % 2 == 1 {
            gather::LocalBoxChild::new(child.cleanup(|| ready(())))
        } else {
            gather::LocalBoxChild::new(child)
        }
    });
    let dropped = (0..MANY).step_by(2).filter(|index| *index != MANY / 2).map(|index| (index, Outcome::Dropped));
    // Those behind the cause were never polled.
    let dropped_late = |from_source: bool| {
        (MANY / 2..MANY).filter(move |index| index % 2 == 1 && !from_source).map(|index| (index, Outcome::Dropped))
    };
    let drained = (0..MANY / 2).filter(|index| index % 2 == 1).map(|index| (index, Outcome::Drained(None)));
    let expected = |from_source: bool| {
        let mut all: Vec<_> = dropped
            .clone()
            .filter(|(index, _)| !from_source || *index < MANY / 2)
            .chain(dropped_late(from_source))
            .collect();
        all.sort_by_key(|(index, _)| *index);
        all.insert(0, (MANY / 2, Outcome::Failed(())));
        all.extend(drained.clone());
        all
    };
    let all = gather(children.clone().collect::<Vec<_>>()).report().as_completed().for_each(note);
    assert_eq!(pollster::block_on(all), Cause::Failed(MANY / 2));
    assert_eq!(order.take(), expected(false));
    let all = gather(from_iter(children)).report().as_completed().for_each(note);
    assert_eq!(pollster::block_on(all), Cause::Failed(MANY / 2));
    assert_eq!(order.take(), expected(true));
}

#[test]
fn panics_of_hands_and_children_drop_everything() {
    let world = World::new();
    // The closure itself.
    let (told, _gate) = world.probe::<u32>("told");
    let mut all = Box::pin(
        gather((told.shield(), ready(1)))
            .settle()
            .as_completed()
            .for_each(|_, _: u32| -> Ready<()> { panic!("closure") }),
    );
    assert_eq!(panic_of(|| assert!(world.poll(all.as_mut()).is_ready())), "closure");
    world.log.expect("drop told");
    assert_eq!(panic_of(|| assert!(world.poll(all.as_mut()).is_ready())), "`ForEach` polled after a panic");

    // Its future.
    let mut held = Some(world.log.token("held"));
    let mut all = Box::pin(gather([ready(1)]).settle().as_completed().for_each(|_, _| {
        let held = held.take();
        async move {
            let _held = held;
            kit::yield_now().await;
            panic!("future")
        }
    }));
    assert!(world.poll(all.as_mut()).is_pending());
    assert_eq!(panic_of(|| assert!(world.poll(all.as_mut()).is_ready())), "future");
    world.log.expect("drop held");

    // A child, while a future is pending.
    let gate = Gate::<()>::new();
    let wait = gate.clone();
    let panics = async move {
        wait.wait().await;
        if true {
            panic!("child");
        }
        1
    };
    let (other, _gate) = world.probe::<u32>("other");
    let hand = world.log.clone();
    let mut all = Box::pin(
        gather((ready(1), panics, other))
            .settle()
            .as_completed()
            .for_each(move |_, _| Probe::new("hand", &hand, &Gate::new())),
    );
    assert!(world.poll(all.as_mut()).is_pending());
    gate.open(());
    assert_eq!(panic_of(|| assert!(world.poll(all.as_mut()).is_ready())), "child");
    world.log.expect("drop other, drop hand");
}

#[test]
fn dropped_it_drops_the_children_and_then_the_hand() {
    let world = World::new();
    let hands = Hands::new(&world);
    let ([a, b, c], gates) = children(&world, true);
    let mut all = Box::pin(gather([a, b, c]).settle().as_completed().for_each(hands.each()));
    gates[1].open(Ok(1));
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("end b, drop b, take 1: Ok(1)");
    drop(all);
    world.log.expect("drop a, drop c, drop hand");
}

#[test]
fn told_as_a_child_it_drains() {
    let world = World::new();
    let hands = Hands::new(&world);
    let ([a, b, c], gates) = children(&world, true);
    let each = gather([a, b, c]).as_completed().try_for_each(hands.try_each()).on_cancel(|each| each.cancel());
    let fails = Gate::new();
    let mut all = pin!(gather((each, fails.clone().wait())).report().into_future());
    gates[0].open(Ok(0));
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("end a, drop a, take 0: 0");
    fails.open(Err::<(), _>("failed"));
    gates[1].open(Ok(1));
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("end b, drop b");
    hands.open(Ok(()));
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("end hand, drop hand");
    gates[2].open(Ok(2));
    let Poll::Ready(report) = world.poll(all.as_mut()) else { panic!("it has drained") };
    assert_eq!(report.outcomes, (Outcome::Drained(Some(Ok(()))), Outcome::Failed("failed")));
}

#[test]
fn a_panic_in_the_drain_drops_the_error_of_the_closure() {
    let world = World::new();
    let gate = Gate::<()>::new();
    let wait = gate.clone();
    let panics = async move {
        wait.wait().await;
        if true {
            panic!("late");
        }
        Ok(())
    };
    let error = Cell::new(Some(world.log.token("error")));
    let mut all = Box::pin(
        gather((panics.shield(), ready(Ok(()))))
            .as_completed()
            .try_for_each(|_, ()| ready(Err(error.take().expect("called once")))),
    );
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("");
    gate.open(());
    assert_eq!(panic_of(|| assert!(world.poll(all.as_mut()).is_ready())), "late");
    world.log.expect("drop error");
}

#[test]
fn polled_after_its_end_it_panics() {
    let world = World::new();
    let mut all = Box::pin(gather([ready(1)]).settle().as_completed().for_each(|_, _| ready(())));
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(()));
    assert_eq!(panic_of(|| assert!(world.poll(all.as_mut()).is_ready())), "`ForEach` polled after completion");
    all.as_mut().cancel();
    let nobody = gather([pending::<Result<(), ()>>()]).cancel_when(ready(())).as_completed();
    assert_eq!(pollster::block_on(nobody.try_for_each(|_, ()| ready(Ok(())))), Err(Cancelled));
}
