//! What becomes of an output on its way to the group: through `map`, `map_err`, `flatten`, a box, an `EitherChild`; known
//! before the child has ended, or not.

use std::cell::Cell;
use std::future::{Ready, pending, ready};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use crate::kit::{CONTAINERS, FIXED, Gate, Log, Output, Probe, World, future_in, panic_of};
use gather::{
    CancelExt, Cancelled, Cause, Child, EitherChild, Limit, LocalBoxChild, OnCancel, Outcome, RestartError, gather,
    restart,
};

/// Its output is known from the beginning, and it ends when its gate is opened.
struct Early {
    log: Log,
    output: Option<Output>,
    end: Gate<()>,
    on_cancel: OnCancel,
}

impl Child for Early {
    type Output = Output;

    fn poll_child(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        self.end.poll(cx).map(|()| self.output.take().expect("once it was taken, `poll_drain` is called"))
    }

    fn cancel(self: Pin<&mut Self>) -> OnCancel {
        self.log.push("tell");
        self.on_cancel
    }

    fn poll_drain(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Output>> {
        self.end.poll(cx).map(|()| self.output.take())
    }

    fn output(self: Pin<&mut Self>) -> Option<&Output> {
        self.get_mut().output.as_ref()
    }

    fn take_output(mut self: Pin<&mut Self>) -> Option<Output> {
        self.output.take()
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        self.log.push("drop");
    }
}

type Wrap = fn(Early) -> LocalBoxChild<'static, Output>;

/// Ways of an output through the crate. None of them changes it in the end.
const WAYS: [(&str, Wrap); 9] = [
    ("none", |early| LocalBoxChild::new(early)),
    ("box", |early| LocalBoxChild::new(LocalBoxChild::new(early))),
    ("map", |early| LocalBoxChild::new(early.map(|output| output))),
    ("map_err", |early| LocalBoxChild::new(early.map_err(|error| error))),
    ("flatten", |early| LocalBoxChild::new(early.map(Ok::<_, &str>).flatten())),
    ("left", |early| LocalBoxChild::new(EitherChild::<_, Ready<Output>>::Left(early))),
    ("right", |early| LocalBoxChild::new(EitherChild::<Ready<Output>, _>::Right(early))),
    ("cancel_when", |early| {
        let watched = early.map(|output| output).cancel_when(pending::<()>());
        LocalBoxChild::new(watched.map(|ended| ended.expect("the signal is never ready")))
    }),
    ("nested", |early| {
        let early = LocalBoxChild::new(EitherChild::<_, Ready<Output>>::Left(early.map(|output| output)));
        LocalBoxChild::new(early.cancel_when(pending::<()>()).map(|ended| ended.unwrap()).map_err(|error| error))
    }),
];

fn early(world: &World, output: Output, end: &Gate<()>, on_cancel: OnCancel) -> Early {
    Early { log: world.log.clone(), output: Some(output), end: end.clone(), on_cancel }
}

/// A plain sibling that logs its drop.
fn sibling(world: &World) -> LocalBoxChild<'static, Output> {
    LocalBoxChild::new(Probe::new("sibling", &world.log, &Gate::new()))
}

#[test]
fn an_output_that_is_known_ends_the_group_at_once_whatever_lies_between() {
    for (way, wrap) in WAYS {
        for container in FIXED {
            let world = World::new();
            let (end, over) = (Gate::new(), Gate::<()>::new());
            let early = wrap(early(&world, Err("early"), &end, OnCancel::Drain));
            let children = [sibling(&world), early, sibling(&world)];
            let mut all = future_in!(container, children, |gather| async {
                gather.grace(|| over.clone().wait()).await.map(drop)
            });
            assert!(world.poll(all.as_mut()).is_pending());
            world.log.expect("drop sibling, tell, drop sibling");
            end.open(());
            assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err("early")), "{way} in {container:?}");
            world.log.expect("drop");
        }
    }
}

#[test]
fn an_output_that_is_known_is_not_lost_whatever_lies_between() {
    for (way, wrap) in WAYS {
        for (output, on_cancel, outcome) in [
            // Its own output ends the group.
            (Err("early"), OnCancel::Drain, Outcome::Failed("early")),
            (Err("early"), OnCancel::Drop, Outcome::Failed("early")),
            // Another one's does.
            (Ok(1), OnCancel::Drain, Outcome::Drained(Some(Ok(1)))),
            (Ok(1), OnCancel::Drop, Outcome::Drained(Some(Ok(1)))),
        ] {
            for ends_in_time in [true, false] {
                let world = World::new();
                let (end, over, fail) = (Gate::new(), Gate::<()>::new(), Gate::<Output>::new());
                let early = wrap(early(&world, output, &end, on_cancel));
                let group = gather((early, fail.clone().wait())).grace(|| over.clone().wait()).report();
                let mut group = pin!(group.into_future());
                let mut polled = world.poll(group.as_mut());
                if output.is_ok() {
                    assert!(polled.is_pending());
                    world.log.expect("");
                    fail.open(Err("sibling"));
                    polled = world.poll(group.as_mut());
                }
                if on_cancel == OnCancel::Drain {
                    assert!(polled.is_pending());
                    world.log.expect("tell");
                    if ends_in_time {
                        end.open(())
                    } else {
                        over.open(())
                    }
                    polled = world.poll(group.as_mut());
                    world.log.expect("drop");
                } else {
                    world.log.expect("tell, drop");
                }
                let Poll::Ready(report) = polled else { panic!("nobody is left: {way}") };
                let cause = Cause::Failed(output.is_ok().into());
                assert_eq!((report.cause, report.outcomes.0), (cause, outcome), "{way}, {on_cancel:?}");
            }
        }
    }
}

#[test]
fn an_output_that_ends_nothing_waits_for_the_end_of_its_child() {
    for (way, wrap) in WAYS {
        let world = World::new();
        let end = Gate::new();
        let mut all = pin!(gather(vec![wrap(early(&world, Ok(7), &end, OnCancel::Drain))]).into_future());
        for _ in 0..2 {
            assert!(world.poll(all.as_mut()).is_pending());
        }
        world.log.expect("");
        end.open(());
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok(vec![7])), "{way}");
        world.log.expect("drop");
    }
}

/// Like a hand-written adapter: once it has taken the output, it calls `poll_drain`.
#[test]
fn polled_on_when_its_output_was_taken_it_ends_without_one() {
    for (way, wrap) in WAYS {
        let world = World::new();
        let end = Gate::new();
        let mut child = pin!(wrap(early(&world, Ok(7), &end, OnCancel::Drain)));
        let mut cx = Context::from_waker(&world.waker);
        assert!(child.as_mut().poll_child(&mut cx).is_pending());
        assert_eq!(child.as_mut().output(), Some(&Ok(7)), "{way}");
        assert_eq!(child.as_mut().take_output(), Some(Ok(7)));
        assert_eq!(child.as_mut().output(), None);
        assert!(child.as_mut().poll_drain(&mut cx).is_pending());
        end.open(());
        assert_eq!(child.as_mut().poll_drain(&mut cx), Poll::Ready(None), "{way}");
    }
}

#[test]
fn the_work_of_finally_fails_its_group_at_once_through_adapters() {
    let world = World::new();
    let close = Gate::<()>::new();
    let work = ready(Err::<u32, u8>(7)).finally(|| close.clone().wait());
    let work = work.cancel_when(pending::<()>()).map(|ended| ended.unwrap()).map_err(|_| "failed");
    let mut all = pin!(gather((LocalBoxChild::new(work), sibling(&world))).into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    world.log.expect("drop sibling");
    close.open(());
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err("failed")));
}

#[test]
fn a_job_that_fails_is_a_child_that_fails_once_it_is_flattened() {
    // What a handle of a task ends with.
    #[derive(Debug, PartialEq)]
    enum Error {
        Job,
        Cancelled,
    }
    impl From<Cancelled> for Error {
        fn from(_: Cancelled) -> Self {
            Error::Cancelled
        }
    }
    type Joined = Result<Result<u32, Error>, Cancelled>;

    for (joined, ended) in
        [(Ok(Ok(1)), Ok(1)), (Ok(Err(Error::Job)), Err(Error::Job)), (Err(Cancelled), Err(Error::Cancelled))]
    {
        let joined: Joined = joined;
        let all = gather((ready(joined).on_cancel(|_| ()).flatten(), ready(Ok::<_, Error>(()))));
        assert_eq!(pollster::block_on(all).map(|(one, ())| one), ended);
    }
    // Late ones too, and those of groups and supervisors.
    let stop = || gather([pending::<Result<u32, Error>>()]).cancel_when(ready(()));
    let late = ready(Joined::Ok(Err(Error::Job))).on_cancel(|_| ()).flatten();
    let report = pollster::block_on(gather((stop().flatten(), late)).report());
    assert_eq!(report.outcomes, (Outcome::Failed(Error::Cancelled), Outcome::Drained(Some(Err(Error::Job)))));
    let all = pollster::block_on(gather([stop().map(|ended| ended).flatten()]));
    assert_eq!(all, Err(Error::Cancelled));

    let pair = |signal: bool| {
        let signal = async move {
            if !signal {
                pending::<()>().await;
            }
        };
        let pair = restart(Limit::restarts(1), || [ready(Err::<(), _>(Error::Job))]).cancel_when(signal);
        pair.map(|ended| ended.map(|ended| ended.map_err(RestartError::into_source))).flatten()
    };
    assert_eq!(pollster::block_on(gather([pair(false)])), Err(Error::Job));
    assert_eq!(pollster::block_on(gather([pair(true)])), Err(Error::Cancelled));
}

/// For any child that a signature takes, also where it is called through the trait.
#[test]
fn any_child_has_them() {
    async fn all(
        number: impl Child<Output = Result<u8, std::num::ParseIntError>>,
        joined: impl Child<Output = Result<Output, &'static str>>,
        plain: impl Child<Output = u32>,
    ) -> Output {
        let number = number.map_err(|_| "not a number").map(|parsed| parsed.map(u32::from));
        let (one, two, three) = gather((number, joined.flatten(), plain.map(Ok))).await?;
        Ok(one + two + three)
    }
    let end = all(async { "1".parse() }.shield(), ready(Ok(Ok(2))), ready(3).cleanup(|| ready(())));
    assert_eq!(pollster::block_on(end), Ok(6));
    let end = all(ready("x".parse()), ready(Ok(Ok(2))).on_cancel(|_| ()), ready(3));
    assert_eq!(pollster::block_on(end), Err("not a number"));
    let end = all(ready("1".parse()), ready(Err("panicked")), pending());
    assert_eq!(pollster::block_on(end), Err("panicked"));
}

#[test]
fn either_child_is_what_it_is() {
    for container in CONTAINERS {
        let world = World::new();
        let (a, c, fail) = (Gate::new(), Gate::<Output>::new(), Gate::<Output>::new());
        let log = &world.log;
        let place = |kind| match kind {
            's' => EitherChild::Left(EitherChild::Left(Probe::new("a", log, &a).shield())),
            'c' => {
                let make = || async { log.push("clean") };
                EitherChild::Left(EitherChild::Right(Probe::new("c", log, &c).cleanup(make)))
            }
            _ => EitherChild::Right(fail.clone().wait()),
        };
        let children = ['s', 'c', 'p'].map(place);
        let mut all = future_in!(container, children, |gather| async { gather.await.map(drop) });
        assert!(world.poll(all.as_mut()).is_pending());
        fail.open(Err("failed"));
        assert!(world.poll(all.as_mut()).is_pending());
        world.log.expect("drop c, clean");
        a.open(Ok(1));
        assert_eq!(world.poll(all.as_mut()), Poll::Ready(Err("failed")));
        world.log.expect("end a, drop a");
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_closure_that_panics_is_not_called_again_and_neither_is_its_child() {
    let calls = Cell::new(0);
    let polls = Cell::new(0);
    let child = std::future::poll_fn(|_| {
        polls.set(polls.get() + 1);
        Poll::Ready(())
    });
    let map = Child::map(child, |()| -> u32 {
        calls.set(calls.get() + 1);
        panic!("the closure panics")
    });
    let mut map = pin!(map);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert_eq!(panic_of(|| _ = map.as_mut().poll_child(&mut cx)), "the closure panics");
    assert_eq!(panic_of(|| _ = map.as_mut().poll_child(&mut cx)), "`Map::poll_child` called after its end");
    assert_eq!((calls.get(), polls.get()), (1, 1));

    // In a group, of an output that is known early.
    for container in FIXED {
        let world = World::new();
        let child =
            early(&world, Ok(1), &Gate::new(), OnCancel::Drain).map(|_| -> Output { panic!("the closure panics") });
        let children = [sibling(&world), LocalBoxChild::new(child), sibling(&world)];
        let mut all = future_in!(container, children, |gather| async { gather.await.map(drop) });
        assert_eq!(panic_of(|| _ = world.poll(all.as_mut())), "the closure panics");
        world.log.expect("drop sibling, drop, drop sibling");
    }
}

/// It shows an output and has none.
struct Liar(Option<Output>);

impl Child for Liar {
    type Output = Output;

    fn poll_child(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Output> {
        if self.0 == Some(Ok(0)) {
            return Poll::Ready(Ok(5));
        }
        self.0 = Some(Ok(0));
        Poll::Pending
    }

    fn output(self: Pin<&mut Self>) -> Option<&Output> {
        self.get_mut().0.as_ref()
    }
}

#[test]
fn an_output_that_is_shown_but_not_given_is_waited_for() {
    let lie = || Liar(Some(Ok(1)));
    let watched = lie().map(|output| output).cancel_when(pending::<()>()).map(Result::unwrap);
    let world = World::new();
    let mut all = pin!(gather((lie().map(|output| output), watched)).into_future());
    assert!(world.poll(all.as_mut()).is_pending());
    assert_eq!(world.poll(all.as_mut()), Poll::Ready(Ok((5, 5))));
}
