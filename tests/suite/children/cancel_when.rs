//! One child that a signal of its own cancels: what becomes of it, of its siblings, and of the signal.

use std::cell::Cell;
use std::future::{Future, Ready, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use crate::kit::{CONTAINERS, Gate, Log, Probe, World, future_in, panic_of};
use gather::{
    BoxChild, CancelExt, Cancelled, Cause, Child, EitherChild, Limit, LocalBoxChild, OnCancel, Outcome, gather, restart,
};

type Ended = Result<u32, Cancelled>;

/// A child of a kind, with a signal of its own:
///
/// - `p`lain;
/// - `t`old: `on_cancel` with a hook that logs `tell`;
/// - `c`leanup and `f`inally: log `make`, then drive a clean-up that waits for the gate `clean`;
/// - `s`hield.
fn child(
    world: &World,
    kind: char,
    work: &Gate<u32>,
    clean: &Gate<()>,
    signal: &Gate<()>,
) -> LocalBoxChild<'static, Ended> {
    let probe = Probe::new("work", &world.log, work).log_polls();
    let signal = Probe::new("signal", &world.log, signal).quiet();
    let (log, clean) = (world.log.clone(), clean.clone());
    let make = {
        let log = log.clone();
        move || {
            log.push("make");
            clean.wait()
        }
    };
    match kind {
        'p' => LocalBoxChild::new(probe.cancel_when(signal)),
        't' => LocalBoxChild::new(probe.on_cancel(move |_| log.push("tell")).cancel_when(signal)),
        'c' => LocalBoxChild::new(probe.cleanup(make).cancel_when(signal)),
        'f' => LocalBoxChild::new(probe.finally(make).cancel_when(signal)),
        's' => LocalBoxChild::new(probe.shield().cancel_when(signal)),
        _ => unreachable!("no such kind"),
    }
}

/// A sibling that goes on until its gate is opened.
fn sibling(gate: &Gate<u32>) -> LocalBoxChild<'static, Ended> {
    let gate = gate.clone();
    LocalBoxChild::new(async move { Ok(gate.wait().await) })
}

#[test]
fn it_is_cancelled_as_its_kind_is_and_its_siblings_go_on() {
    // In the poll in which the signal is ready; when the gate of its work, or of its clean-up, is open.
    let kinds = [
        ('p', "drop signal, drop work", ""),
        ('t', "drop signal, tell, poll work", "poll work, end work, drop work"),
        ('c', "drop signal, drop work, make", ""),
        ('f', "drop signal, drop work, make", ""),
        ('s', "drop signal, poll work", "poll work, end work, drop work"),
    ];
    for container in CONTAINERS {
        for (kind, at_once, later) in kinds {
            let world = World::new();
            let (work, clean, signal) = (Gate::new(), Gate::new(), Gate::new());
            let (first, last) = (Gate::new(), Gate::new());
            let children = [sibling(&first), child(&world, kind, &work, &clean, &signal), sibling(&last)];
            let mut all =
                future_in!(container, children, |gather| async { crate::kit::Flatten::flatten(gather.settle().await) });
            assert!(world.poll(all.as_mut()).is_pending());
            world.log.expect("poll work");
            signal.open(());
            assert!(world.wakes.take() > 0);
            assert!(world.poll(all.as_mut()).is_pending());
            world.log.expect(at_once);
            // What it drains to is not its output.
            work.open(2);
            clean.open(());
            assert!(world.poll(all.as_mut()).is_pending());
            world.log.expect(later);
            first.open(1);
            last.open(3);
            assert_eq!(
                world.poll(all.as_mut()),
                Poll::Ready(vec![Ok(1), Err(Cancelled), Ok(3)]),
                "{container:?} {kind}"
            );
            world.log.expect("");
        }
    }
}

#[test]
fn a_signal_that_is_ready_at_first_starts_nothing() {
    for container in CONTAINERS {
        // A hook runs all the same, and the drain then begins the work, as that of any child that was never polled.
        for (kind, log) in [
            ('p', "drop signal, drop work"),
            ('t', "drop signal, tell, poll work, end work, drop work"),
            ('c', "drop signal, drop work"),
            ('f', "drop signal, drop work"),
            ('s', "drop signal, drop work"),
        ] {
            let world = World::new();
            let (work, clean, signal) = (Gate::new(), Gate::new(), Gate::new());
            signal.open(());
            work.open(2);
            let done = Gate::new();
            done.open(1);
            let children = [sibling(&done), child(&world, kind, &work, &clean, &signal), sibling(&Gate::new())];
            let mut all = future_in!(container, children, |gather| async { gather.await.map(drop) });
            // Fail-fast: it is an error like any other.
            assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err(Cancelled)), "{container:?} {kind}");
            world.log.expect(log);
        }
    }
}

#[test]
fn the_signal_is_polled_first_in_every_poll_and_wins() {
    let world = World::new();
    let (work, signal) = (Gate::new(), Gate::<()>::new());
    let probe = Probe::new("work", &world.log, &work).log_polls();
    let child = probe.cancel_when(Probe::new("signal", &world.log, &signal).log_polls());
    let mut all = pin!(gather([child]).settle().into_future());
    for _ in 0..2 {
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("poll signal, poll work");
    }
    work.open(1);
    signal.open(());
    assert_eq!(world.poll(all.as_mut()), Poll::Ready([Err(Cancelled)]));
    world.log.expect("poll signal, end signal, drop signal, drop work");
}

#[test]
fn a_child_that_ends_by_itself_drops_its_signal() {
    for kind in ['p', 't', 'c', 's'] {
        let world = World::new();
        let (work, signal) = (Gate::new(), Gate::new());
        let child = child(&world, kind, &work, &Gate::new(), &signal);
        let map = child.map(|ended| {
            world.log.push("map");
            ended
        });
        work.open(7);
        assert_eq!(pollster::block_on(gather([map])), Ok([7]));
        world.log.expect("poll work, end work, drop signal, map, drop work");
    }
}

#[test]
fn cancelled_by_its_group_it_ends_as_without_a_signal() {
    for (kind, told, ended, late) in [
        ('p', "drop signal, drop work", "", Outcome::Dropped),
        ('t', "drop signal, tell, poll work", "poll work, end work, drop work", Outcome::Drained(Some(Ok(2)))),
        ('c', "drop signal, drop work, make", "", Outcome::Drained(None)),
        ('f', "drop signal, drop work, make", "", Outcome::Drained(None)),
        ('s', "drop signal, poll work", "poll work, end work, drop work", Outcome::Drained(Some(Ok(2)))),
    ] {
        let world = World::new();
        let (work, clean, signal, stop) = (Gate::new(), Gate::new(), Gate::new(), Gate::<()>::new());
        let shield = async { pending::<Ended>().await }.shield(); // keeps the group until its grace
        let over = Gate::<()>::new();
        let group = gather((child(&world, kind, &work, &clean, &signal), shield));
        let group = group.cancel_when(stop.clone().wait()).grace(|| over.clone().wait()).report();
        let mut group = pin!(group.into_future());
        assert!(world.poll(group.as_mut()).is_pending());
        world.log.expect("poll work");
        stop.open(());
        assert!(world.poll(group.as_mut()).is_pending());
        // In a tuple it is polled before the group's signal acts.
        world.log.expect(&format!("poll work, {told}"));
        // Its own signal comes too late.
        signal.open(());
        work.open(2);
        clean.open(());
        assert!(world.poll(group.as_mut()).is_pending());
        world.log.expect(ended);
        over.open(());
        let Poll::Ready(report) = world.poll(group.as_mut()) else { panic!("the grace is over") };
        assert_eq!(report.outcomes, (late, Outcome::Abandoned), "{kind}");
    }
}

#[test]
fn cancelled_by_its_signal_and_then_by_its_group_it_is_told_once() {
    for grace_is_over in [false, true] {
        let world = World::new();
        let (work, signal, fail, over) = (Gate::new(), Gate::new(), Gate::new(), Gate::<()>::new());
        let told = child(&world, 't', &work, &Gate::new(), &signal);
        let failing = async { Err::<u32, _>(fail.clone().wait().await) };
        let group = gather((told, failing)).grace(|| over.clone().wait()).report();
        let mut group = pin!(group.into_future());
        signal.open(());
        assert!(world.poll(group.as_mut()).is_pending());
        world.log.expect("drop signal, tell, poll work");
        fail.open(Cancelled);
        assert!(world.poll(group.as_mut()).is_pending());
        world.log.expect("poll work");
        let expected = match grace_is_over {
            true => {
                over.open(());
                Outcome::Abandoned
            }
            false => {
                work.open(2);
                Outcome::Drained(Some(Err(Cancelled)))
            }
        };
        let Poll::Ready(report) = world.poll(group.as_mut()) else { panic!("nobody is left") };
        assert_eq!((report.cause, report.outcomes.0), (Cause::Failed(1), expected));
    }
}

#[test]
fn every_adapter_has_it_and_it_nests() {
    let never = pending::<()>;
    let children = [
        BoxChild::new(ready(1).cancel_when(never())),
        BoxChild::new(ready(1).on_cancel(|_| ()).cancel_when(never())),
        BoxChild::new(ready(1).cleanup(|| ready(())).cancel_when(never())),
        BoxChild::new(ready(1).finally(|| ready(())).cancel_when(never())),
        BoxChild::new(ready(1).shield().cancel_when(never())),
        BoxChild::new(ready(1).shield().map(|one| one).cancel_when(never())),
        BoxChild::new(BoxChild::new(ready(1)).cancel_when(never())),
        BoxChild::new(EitherChild::<_, Ready<u32>>::Left(ready(1)).cancel_when(never())),
        BoxChild::new(gather([ready(1)]).race().map(|one| one).cancel_when(never())),
        BoxChild::new(ready(1).cancel_when(never()).cancel_when(never()).flatten()),
    ];
    assert_eq!(pollster::block_on(gather(Vec::from(children))), Ok(vec![1; 10]));

    // Of two signals each cancels it.
    let both = |inner: bool, outer: bool| {
        let signal = |is_ready: bool| async move {
            if !is_ready {
                pending::<()>().await;
            }
        };
        pollster::block_on(gather([pending::<u32>().cancel_when(signal(inner)).cancel_when(signal(outer))]).race())
    };
    assert_eq!(both(true, false), Ok(Err(Cancelled)));
    assert_eq!(both(false, true), Err(Cancelled));
    assert_eq!(both(true, true), Err(Cancelled));
}

/// Its output is known before it has ended; then the signal has nothing to do any more, and is dropped.
#[test]
fn an_output_that_is_known_stands_against_the_signal() {
    for container in CONTAINERS {
        let world = World::new();
        let (work, clean, signal) = (Gate::new(), Gate::new(), Gate::new());
        let gates = [Gate::new(), Gate::new()];
        let children = [sibling(&gates[0]), child(&world, 'f', &work, &clean, &signal), sibling(&gates[1])];
        let mut all =
            future_in!(container, children, |gather| async { crate::kit::Flatten::flatten(gather.settle().await) });
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("poll work");
        work.open(2);
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("poll work, end work, drop work, make, drop signal");
        signal.open(());
        clean.open(());
        gates[0].open(1);
        gates[1].open(3);
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(vec![Ok(1), Ok(2), Ok(3)]));
    }
}

#[test]
fn a_place_is_free_when_its_drain_has_ended() {
    let world = World::new();
    let (clean, signal) = (Gate::new(), Gate::new());
    let next = Gate::new();
    next.open(2);
    let first = child(&world, 'c', &Gate::new(), &clean, &signal);
    let second = Probe::new("next", &world.log, &next);
    let second = LocalBoxChild::new(async move { Ok(second.await) });
    let mut all = pin!(gather(vec![first, second]).settle().concurrency(1).into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    signal.open(());
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("poll work, drop signal, drop work, make");
    clean.open(());
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(vec![Err(Cancelled), Ok(2)]));
    world.log.expect("end next, drop next");
}

#[test]
fn a_child_that_is_cancelled_fails_its_generation() {
    let mut generation = 0;
    let group = restart(Limit::restarts(3), || {
        generation += 1;
        let is_last = generation == 3;
        let kick = poll_fn(move |_| if is_last { Poll::Pending } else { Poll::Ready(()) });
        (ready(Ok::<u32, Cancelled>(generation)), ready(Ok(())).shield().cancel_when(kick).flatten())
    });
    assert_eq!(pollster::block_on(group), Ok((3, ())));
}

/// Panics when it is polled for the second time, or when it is dropped.
struct Faulty {
    polls: u32,
    log: Log,
    panics_when_dropped: bool,
}

impl Future for Faulty {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.polls += 1;
        cx.waker().wake_by_ref();
        match self.polls {
            1 => Poll::Pending,
            _ if self.panics_when_dropped => Poll::Ready(()),
            _ => panic!("the signal panics"),
        }
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.log.push("drop signal");
        if self.panics_when_dropped {
            panic!("the signal's drop panics");
        }
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_panic_of_the_signal_leaves_the_poll_and_nothing_is_polled_after_it() {
    for (panics_when_dropped, message, log) in [
        (false, "the signal panics", "drop a, drop b, drop signal, drop c"),
        (true, "the signal's drop panics", "drop signal, drop a, drop b, drop c"),
    ] {
        for container in CONTAINERS {
            let world = World::new();
            let signal = Faulty { polls: 0, log: world.log.clone(), panics_when_dropped };
            let told = world.log.clone();
            let probe = |name| Probe::new(name, &world.log, &Gate::<u32>::new()).log_polls();
            let child = probe("b").on_cancel(move |_| told.push("tell")).cancel_when(signal);
            let children = [
                LocalBoxChild::new(probe("a").map(Ok::<_, Cancelled>)),
                LocalBoxChild::new(child),
                LocalBoxChild::new(probe("c").map(Ok)),
            ];
            let mut all = future_in!(container, children, |gather| async { gather.await.map(drop) });
            assert!(world.poll(all.as_mut()).is_pending());
            world.log.expect("poll a, poll b, poll c");
            // The next pass begins with b; a `Vec` polls it since it was woken.
            // The second pass begins with b. Its siblings are dropped, untold; so is b, once.
            assert_eq!(panic_of(|| _ = world.poll(all.as_mut())), message);
            world.log.expect(log);
        }
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_hook_that_panics_for_the_signal_is_not_called_again() {
    let world = World::new();
    let calls = Cell::new(0);
    let child = pending::<u32>().on_cancel(|_| {
        calls.set(calls.get() + 1);
        panic!("the hook panics");
    });
    let mut child = pin!(child.cancel_when(ready(())));
    let mut cx = Context::from_waker(&world.waker);
    assert_eq!(panic_of(|| _ = child.as_mut().poll_child(&mut cx)), "the hook panics");
    // It counts as told.
    assert!(child.as_mut().poll_child(&mut cx).is_pending());
    assert_eq!(child.as_mut().cancel(), OnCancel::Drain);
    assert!(child.as_mut().poll_drain(&mut cx).is_pending());
    assert_eq!(calls.get(), 1);
}
