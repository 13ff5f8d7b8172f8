//! In which order the children are polled, and what is polled before and after them.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::kit::{self, At, CONTAINERS, Container, Flatten, Gate, Output, Probe, World, future_in, gather_in};
use gather::{CancelExt, Cancelled, Child, Limit, LocalBoxChild, OnCancel, Outcome, gather, restart};

fn probes(world: &World) -> ([Probe<Output>; 3], [Gate<Output>; 3]) {
    let gates: [Gate<Output>; 3] = Default::default();
    let mut names = ["a", "b", "c"].into_iter().zip(&gates);
    let probes = std::array::from_fn(|_| {
        let (name, gate) = names.next().unwrap();
        Probe::new(name, &world.log, gate).log_polls()
    });
    (probes, gates)
}

/// A pass begins behind the child with which the last one began. One in which no child was polled does not count.
#[test]
fn a_vec_polls_the_woken_children_and_a_tuple_each_pending_one_in_the_order_of_the_pass() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let tells_wakes_apart = container.tells_wakes_apart();
        let world = World::new();
        let expect = |woken: &str, each: &str| world.log.expect(if tells_wakes_apart { woken } else { each });
        let (children, gates) = probes(&world);
        let mut all = gather_in!(container, children, |gather| gather);
        let _ = world.poll(all.as_mut());
        world.log.take();

        // Woken in the other order, twice.
        gates[2].wake();
        gates[0].wake();
        gates[2].wake();
        let wakes = world.wakes.take();
        if tells_wakes_apart {
            assert_eq!(wakes, 1, "one wake of the parent for any number of woken children");
        }
        let _ = world.poll(all.as_mut());
        expect("poll c, poll a", "poll b, poll c, poll a");
        assert_eq!(world.wakes.take(), 0);

        // A poll for another reason.
        let _ = world.poll(all.as_mut());
        expect("", "poll c, poll a, poll b");

        for (woken, each) in
            [("poll a, poll c", "poll a, poll b, poll c"), ("poll c, poll a", "poll b, poll c, poll a")]
        {
            gates[2].wake();
            gates[0].wake();
            let _ = world.poll(all.as_mut());
            expect(woken, each);
        }
    }
}

/// Wakes itself in each poll, and ends in one of them. Logs its name, in capitals while it drains, and `!` at its end.
struct Turns {
    name: char,
    log: kit::Log,
    polls: usize,
    ends: Option<(usize, Output)>,
}

impl Turns {
    fn poll(mut self: Pin<&mut Self>, name: char, cx: &mut Context<'_>) -> Poll<Output> {
        self.polls += 1;
        let end = self.ends.filter(|(poll, _)| *poll == self.polls);
        self.log.push(name);
        if let Some((_, output)) = end {
            self.log.push('!');
            return Poll::Ready(output);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Child for Turns {
    type Output = Output;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        let name = self.name;
        self.poll(name, cx)
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        OnCancel::Drain
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Output>> {
        let name = self.name.to_ascii_uppercase();
        self.poll(name, cx).map(Some)
    }
}

/// Children a, b, c and so on, that end with this where they are marked in the passes.
fn turns<const N: usize>(log: &kit::Log, passes: &[&str], output: Output) -> [Turns; N] {
    let passes = passes.concat().to_ascii_lowercase();
    let mut names = 'a'..='z';
    std::array::from_fn(|_| {
        let name = names.next().unwrap();
        let until_end = passes.split_once(&format!("{name}!")).map(|(before, _)| before.matches(name).count() + 1);
        Turns { name, log: log.clone(), polls: 0, ends: until_end.map(|polls| (polls, output)) }
    })
}

/// Polls once for each line, in which the polls are that happen. Every poll but the last one is pending, and wakes.
fn assert_passes<F>(world: &World, mut all: Pin<&mut F>, passes: &[&str], before: impl Fn(usize)) -> F::Output
where
    F: Future + ?Sized,
{
    for (number, pass) in (1..).zip(passes) {
        let _at = At(format!("pass {number}"));
        before(number);
        let polled = world.poll(all.as_mut());
        assert_eq!(world.log.take().concat(), *pass);
        match polled {
            Poll::Ready(output) => {
                assert_eq!(number, passes.len());
                return output;
            }
            Poll::Pending => assert!(world.wakes.take() > 0),
        }
    }
    panic!("it is ready in the last pass");
}

/// All children are woken in every poll.
#[test]
fn passes_go_round_alike_in_every_container() {
    let three = [
        "abc", "bca", "cab", "abc", "bca", "cab", "abc", // twice round
        "b!ca", "ca", "ac", "ca", "a!c", "c!",
    ];
    let five = [
        "abcde", "bcdea", "cdeab", "deabc", "eabcd", "abcde", "bcdea", "cdeab", "deabc", "eabcd",
        "abcde", // twice round
        "bc!dea", "deab", "ea!bd", "bde", "deb", "ebd", "bde!", "db", "bd", "db", "b!d", "d!",
    ];
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let mut all = gather_in!(container, turns::<3>(&world.log, &three, Ok(1)), |gather| gather);
        assert_eq!(assert_passes(&world, all.as_mut(), &three, |_| ()), Ok(vec![1; 3]));
        let mut all =
            kit::hold_in!(container, (a b c d e), |hold| kit::any(gather(hold(turns(&world.log, &five, Ok(1))))));
        assert_eq!(assert_passes(&world, all.as_mut(), &five, |_| ()), Ok(vec![1; 5]));
    }
}

#[test]
fn the_passes_of_a_drain_begin_with_the_first_child_and_go_round() {
    let drains = [
        // The signal is ready in the third poll.
        (Some(3), vec!["abc", "bca", "cabABC", "BCA", "CAB", "ABC", "B!CA", "CA", "AC", "CA!", "C!"]),
        // The last one of the fourth pass fails, and the first one of the second.
        (None, vec!["abc", "bca", "cab", "abc!AB", "BA", "AB", "BA", "AB!", "A!"]),
        (None, vec!["abc", "b!AC", "CA", "AC", "C!A", "A!"]),
    ];
    for (fires, passes) in drains {
        for container in CONTAINERS {
            let _at = At(format!("{container:?}, {passes:?}"));
            let (world, signal) = (World::new(), Gate::new());
            let children = turns::<3>(&world.log, &passes, Err("failed"));
            let mut all = gather_in!(container, children, |gather| gather.cancel_when(signal.clone().wait()));
            let ended = assert_passes(&world, all.as_mut(), &passes, |number| {
                if fires == Some(number) {
                    signal.open(());
                }
            });
            assert_eq!(ended, if fires.is_some() { Err(Cancelled) } else { Ok(Err("failed")) });
        }
    }
}

#[test]
fn each_generation_begins_with_the_first_child() {
    let generations = [
        (vec!["abc", "b!AC", "C!A", "A!"], Err("failed")),
        (vec!["abc", "bca", "c!AB", "B!A", "A!"], Err("failed")),
        (vec!["abc", "bca", "cab", "abc!AB", "B!A", "A!"], Err("failed")),
        (vec!["abc", "bca", "cab", "a!bc", "bc", "c!b", "b!"], Ok(1)),
    ];
    let all_passes: Vec<_> = generations.iter().flat_map(|(passes, _)| passes.clone()).collect();
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let mut left = generations.iter();
        let make = || {
            let (passes, output) = left.next().unwrap();
            turns::<3>(&world.log, passes, *output)
        };
        let mut group = kit::hold_in!(container, (a b c), |hold| {
            kit::any(restart(Limit::unlimited(), kit::holding(make, hold)))
        });
        assert_eq!(assert_passes(&world, group.as_mut(), &all_passes, |_| ()), Ok(vec![1; 3]));
    }
}

/// In the second pass, which begins with the second child, the third one wakes all. The first one is ahead of it.
#[test]
fn a_child_woken_by_a_sibling_before_it_is_polled_in_that_pass_one_behind_it_in_the_next_poll() {
    for container in CONTAINERS {
        let _at = At(format!("{container:?}"));
        let world = World::new();
        let wakers: [Rc<Cell<Option<Waker>>>; 3] = Default::default();
        let wake = |wakers: &[Rc<Cell<Option<Waker>>>]| {
            for waker in wakers {
                let waker_of = waker.take().unwrap();
                waker_of.wake_by_ref();
                waker.set(Some(waker_of));
            }
        };
        let acts = Rc::new(Cell::new(false));
        let mut index = 0;
        let children: [_; 3] = std::array::from_fn(|_| {
            let (own, log, acts, all) = (index, world.log.clone(), acts.clone(), wakers.clone());
            index += 1;
            LocalBoxChild::new(poll_fn(move |cx| {
                log.push(format!("poll {own}"));
                all[own].set(Some(cx.waker().clone()));
                if own == 2 && acts.take() {
                    wake(&all);
                }
                Poll::<Output>::Pending
            }))
        });
        let mut all = gather_in!(container, children, |gather| gather);
        let _ = world.poll(all.as_mut());
        world.log.take();

        acts.set(true);
        wake(&wakers[1..]);
        world.wakes.take();
        let _ = world.poll(all.as_mut());
        world.log.expect("poll 1, poll 2, poll 0");
        assert!(world.wakes.take() > 0, "the others are polled in the next poll, so the gather is woken");
        let _ = world.poll(all.as_mut());
        world.log.expect(match container.tells_wakes_apart() {
            true => "poll 2, poll 1",
            false => "poll 2, poll 0, poll 1",
        });
        assert_eq!(world.wakes.take(), 0);
    }
}

/// A gather with a signal, by itself or nested, of which the logs are the same.
macro_rules! cancelled_in {
    ($container:expr, $nested:expr, $children:expr, $signal:expr) => {
        match $nested {
            false => gather_in!($container, $children, |group| group.cancel_when($signal)),
            true => future_in!($container, $children, |group| async {
                let [ended] = gather([group.cancel_when($signal)]).settle().await;
                ended.flatten()
            }),
        }
    };
}

fn in_both_levels() -> impl Iterator<Item = (Container, bool)> {
    CONTAINERS.into_iter().flat_map(|container| [(container, false), (container, true)])
}

#[test]
fn the_signal_is_polled_before_and_after_the_children_in_every_poll() {
    for (container, nested) in in_both_levels() {
        let _at = At(format!("{container:?}, nested: {nested}"));
        let tells_wakes_apart = container.tells_wakes_apart();
        let world = World::new();
        let (children, gates) = probes(&world);
        let (signal, fire) = world.probe("signal");
        let mut all = cancelled_in!(container, nested, children, signal.log_polls());
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("poll signal, poll a, poll b, poll c, poll signal");
        gates[0].wake();
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect(match tells_wakes_apart {
            true => "poll signal, poll a, poll signal",
            false => "poll signal, poll b, poll c, poll a, poll signal",
        });
        // A poll for another reason.
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect(match tells_wakes_apart {
            true => "poll signal, poll signal",
            false => "poll signal, poll c, poll a, poll b, poll signal",
        });
        fire.open(());
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err(Cancelled)));
        world.log.expect(match tells_wakes_apart {
            true => "poll signal, end signal, drop signal, drop a, drop b, drop c",
            false => "poll signal, end signal, drop signal, poll a, poll b, poll c, drop a, drop b, drop c",
        });
    }
}

#[test]
fn the_signal_of_a_restart_is_polled_before_and_after_the_children_and_the_backoff() {
    for (container, nested) in in_both_levels() {
        let _at = At(format!("{container:?}, nested: {nested}"));
        let world = World::new();
        let (signal, fire) = world.probe("signal");
        let (gates, backoff) = (RefCell::new(vec![]), Gate::new());
        let make = || {
            world.log.push("make");
            let (children, made) = probes(&world);
            *gates.borrow_mut() = made.into();
            children
        };
        let mut group = kit::hold_in!(container, (a b c), |hold| {
            let group = restart(Limit::unlimited(), kit::holding(make, hold))
                .backoff(|_| Probe::new("backoff", &world.log, &backoff).log_polls())
                .cancel_when(signal.log_polls());
            match nested {
                false => kit::any(group),
                true => kit::boxed(async {
                    let [ended] = gather([group]).settle().await;
                    ended.flatten()
                }),
            }
        });
        let open = |index: usize, output| gates.borrow()[index].open(output);
        assert!(world.poll(group.as_mut()).is_pending());
        world.log.expect("poll signal, make, poll a, poll b, poll c, poll signal");
        open(1, Ok(1));
        let _ = world.poll(group.as_mut());
        let one_ends = world.log.take().join(", ");
        assert!(one_ends.starts_with("poll signal, poll b, end b, drop b") && one_ends.ends_with(", poll signal"));
        // The next pass begins with c.
        open(2, Err("c"));
        assert!(world.poll(group.as_mut()).is_pending());
        world.log.expect("poll signal, poll c, end c, drop c, drop a, poll signal, poll backoff");
        assert!(world.poll(group.as_mut()).is_pending());
        world.log.expect("poll signal, poll backoff, poll signal");
        backoff.open(());
        assert!(world.poll(group.as_mut()).is_pending());
        let over = "poll signal, poll backoff, end backoff, drop backoff";
        world.log.expect(&format!("{over}, poll signal, make, poll a, poll b, poll c, poll signal"));

        // Seen before a backoff it ends that unpolled.
        open(1, Err("b"));
        assert!(world.poll(group.as_mut()).is_pending());
        world.log.expect("poll signal, poll b, end b, drop b, drop a, drop c, poll signal, poll backoff");
        backoff.open(());
        fire.open(());
        assert_eq!(world.poll(group.as_mut()), Poll::Ready(Err(Cancelled)));
        world.log.expect("poll signal, end signal, drop signal, drop backoff");
    }
}

/// It acts after the children, wherever it was seen, and only if no cause is set and a child is left.
#[test]
fn a_signal_that_is_seen_before_the_children_acts_after_them() {
    let completed = Ok(Ok(vec![0, 1, 2]));
    let before = "poll signal, end signal, drop signal";
    let ends = "poll b, end b, drop b, poll c, end c, drop c, poll a, end a, drop a";
    // When the signal is ready, what the children end with, and what follows. The second pass begins with b.
    let cases = [
        ("before", [Some(Ok(0)), Some(Ok(1)), Some(Ok(2))], format!("{before}, {ends}"), completed.clone()),
        (
            "before",
            [Some(Ok(0)), Some(Ok(1)), Some(Err("c"))],
            format!("{before}, poll b, end b, drop b, poll c, end c, drop c, drop a"),
            Ok(Err("c")),
        ),
        (
            "before",
            [None, Some(Ok(1)), Some(Ok(2))],
            format!("{before}, poll b, end b, drop b, poll c, end c, drop c, poll a, drop a"),
            Err(Cancelled),
        ),
        // Fired by the last one of the pass, in its poll.
        ("by a", [Some(Ok(0)), Some(Ok(1)), Some(Ok(2))], format!("poll signal, {ends}, drop signal"), completed),
        (
            "by a",
            [Some(Err("a")), None, None],
            "poll signal, poll b, poll c, poll a, end a, drop a, drop signal, drop b, drop c".into(),
            Ok(Err("a")),
        ),
        (
            "by a",
            [Some(Ok(0)), None, Some(Ok(2))],
            "poll signal, poll b, poll c, end c, drop c, poll a, end a, drop a, \
             poll signal, end signal, drop signal, drop b"
                .into(),
            Err(Cancelled),
        ),
        (
            "by a",
            [None; 3],
            "poll signal, poll b, poll c, poll a, poll signal, end signal, drop signal, drop a, drop b, drop c".into(),
            Err(Cancelled),
        ),
    ];
    for (container, nested) in in_both_levels() {
        for (fired, outputs, log, ended) in &cases {
            let _at = At(format!("{container:?}, nested: {nested}, {fired}, {outputs:?}"));
            let world = World::new();
            let ([mut a, b, c], gates) = probes(&world);
            let ((signal, fire), fires) = (world.probe("signal"), Cell::new(false));
            let (fire_of_a, fires_of_a) = (&fire, &fires);
            let firing = poll_fn(move |cx| {
                if fires_of_a.get() {
                    fire_of_a.open(());
                }
                Pin::new(&mut a).poll(cx)
            });
            let children = [LocalBoxChild::new(firing), LocalBoxChild::new(b), LocalBoxChild::new(c)];
            let mut all = cancelled_in!(container, nested, children, signal.log_polls());
            assert!(world.poll(all.as_mut()).is_pending());
            world.log.take();
            for (gate, output) in gates.iter().zip(outputs) {
                match output {
                    Some(output) => gate.open(*output),
                    None => gate.wake(),
                }
            }
            match *fired {
                "before" => fire.open(()),
                _ => fires.set(true),
            }
            assert_eq!(world.poll(all.as_mut()), Poll::Ready(ended.clone()));
            world.log.expect(log);
        }
    }
}

/// It acts after the children, wherever it was seen: what one ends with in that poll is not lost.
#[test]
fn the_grace_is_polled_before_and_after_the_draining_children_in_every_poll() {
    let late = |value| Outcome::Drained(Some(Ok(value)));
    let before = "poll grace, end grace, drop grace";
    // When the grace is over, what a and c end with in that poll, and what follows.
    let cases = [
        ("before", [None, None], format!("{before}, poll a, poll c, drop a, drop c"), [Outcome::Abandoned; 2]),
        (
            "before",
            [None, Some(Ok(2))],
            format!("{before}, poll a, poll c, end c, drop c, drop a"),
            [Outcome::Abandoned, late(2)],
        ),
        (
            "before",
            [Some(Ok(0)), Some(Ok(2))],
            format!("{before}, poll a, end a, drop a, poll c, end c, drop c"),
            [late(0), late(2)],
        ),
        // By the last one of the pass, in its poll.
        (
            "by c",
            [None, None],
            format!("poll grace, poll a, poll c, {before}, drop a, drop c"),
            [Outcome::Abandoned; 2],
        ),
        (
            "by c",
            [None, Some(Ok(2))],
            format!("poll grace, poll a, poll c, end c, drop c, {before}, drop a"),
            [Outcome::Abandoned, late(2)],
        ),
        (
            "by c",
            [Some(Ok(0)), Some(Ok(2))],
            "poll grace, poll a, end a, drop a, poll c, end c, drop c, drop grace".into(),
            [late(0), late(2)],
        ),
    ];
    for (container, nested) in in_both_levels() {
        for (over, outputs, log, [a_ended, c_ended]) in &cases {
            let _at = At(format!("{container:?}, nested: {nested}, {over}, {outputs:?}"));
            let world = World::new();
            let ([a, b, mut c], gates) = probes(&world);
            let (grace, ends_grace) = (Gate::new(), Cell::new(false));
            let (grace_of_c, ends_of_c) = (&grace, &ends_grace);
            let ending = poll_fn(move |cx| {
                if ends_of_c.get() {
                    grace_of_c.open(());
                }
                Pin::new(&mut c).poll(cx)
            });
            let children = [
                LocalBoxChild::new(a.on_cancel(|_| ())),
                LocalBoxChild::new(b),
                LocalBoxChild::new(ending.on_cancel(|_| ())),
            ];
            let make = || Probe::new("grace", &world.log, &grace).log_polls();
            let mut all = match nested {
                false => {
                    future_in!(container, children, |group| async {
                        group.grace(make).report().await.outcomes.flatten()
                    })
                }
                true => future_in!(container, children, |group| async {
                    let [report] = gather([group.grace(make).report()]).settle().await;
                    report.outcomes.flatten()
                }),
            };
            assert!(world.poll(all.as_mut()).is_pending());
            world.log.take();
            gates[1].open(Err("b"));
            assert!(world.poll(all.as_mut()).is_pending());
            world.log.expect("poll b, end b, drop b, poll grace, poll a, poll c, poll grace");
            gates.iter().for_each(Gate::wake);
            assert!(world.poll(all.as_mut()).is_pending());
            world.log.expect("poll grace, poll c, poll a, poll grace");

            for (gate, output) in [&gates[0], &gates[2]].into_iter().zip(outputs) {
                match output {
                    Some(output) => gate.open(*output),
                    None => gate.wake(),
                }
            }
            match *over {
                "before" => grace.open(()),
                _ => ends_grace.set(true),
            }
            assert_eq!(world.poll(all.as_mut()), Poll::Ready(vec![*a_ended, Outcome::Failed("b"), *c_ended]));
            world.log.expect(log);
        }
    }
}
