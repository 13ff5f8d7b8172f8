//! A group and the model, side by side.

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};
use gather::{CancelExt, Cause, Child, LocalBoxChild, from_iter, from_stream, from_stream_const, gather};

use crate::actors::{Boxed, Output, Source, Taking, Watch, World, child};
use crate::kit::{Flatten, Wakes};
use crate::model::{Model, Polled};
use crate::script::{Action, Case, Container, Form, PLACES, Policy};

/// A group of any type, with its output in words.
enum Real {
    /// Awaited, or `for_each`, as a child: so that it can be told.
    Child {
        child: LocalBoxChild<'static, String>,
        is_told: bool,
    },
    Items(Items),
}

/// A stream of any type.
#[allow(clippy::type_complexity, reason = "three closures")]
struct Items {
    poll: Box<dyn FnMut(&mut Context<'_>) -> Poll<Option<String>>>,
    cancel: Box<dyn FnMut()>,
    cause: Box<dyn Fn() -> Option<Cause>>,
}

impl Real {
    fn new(child: impl Child<Output = String> + 'static) -> Self {
        Real::Child { child: LocalBoxChild::new(child), is_told: false }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        let polled = catch_unwind(AssertUnwindSafe(|| match self {
            Real::Child { child, is_told: false } => Pin::new(child).poll_child(cx).map(Some),
            Real::Child { child, is_told: true } => Pin::new(child).poll_drain(cx),
            Real::Items(items) => (items.poll)(cx),
        }));
        match (polled, self) {
            (Err(_), _) => Polled::Panicked,
            (Ok(Poll::Pending), _) => Polled::Pending,
            (Ok(Poll::Ready(Some(item))), Real::Items(_)) => Polled::Item(item),
            (Ok(Poll::Ready(output)), _) => Polled::Ready(output),
        }
    }

    fn cancel(&mut self) {
        match self {
            Real::Child { child, is_told } => {
                // A child is told once.
                if !std::mem::replace(is_told, true) {
                    let _ = Pin::new(child).cancel();
                }
            }
            Real::Items(items) => (items.cancel)(),
        }
    }
}

/// Ends without the output of the other one.
struct Unanswered(Taking);

impl Future for Unanswered {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

/// What is set of the outside.
struct Outside {
    signal: Rc<RefCell<bool>>,
    grace: Rc<RefCell<bool>>,
}

fn build(case: &Case, world: &World) -> (Real, Outside) {
    let log = &world.log;
    let (signal, open_signal) = Watch::new("signal", log);
    let (grace, open_grace) = Watch::new("grace", log);
    let grace_log = log.clone();
    let make_grace = move || {
        grace_log.push("grace");
        grace
    };
    let hook_log = log.clone();
    let hook = move |cause| hook_log.push(format!("hook {cause:?}"));
    let takers: Vec<_> = case.scripts.iter().map(|script| script.taker).collect();
    let take_log = log.clone();
    let take = move |index: usize, item: String| {
        take_log.push(format!("take {index} {item}"));
        Taking::new(index, takers[index], &take_log)
    };

    macro_rules! real {
        ($group:expr, $words:expr) => {
            Real::new($group.map($words))
        };
    }
    macro_rules! items {
        ($group:expr, $_:expr) => {{
            let items = Rc::new(RefCell::new(Box::pin($group.as_completed())));
            let (polled, cancelled) = (items.clone(), items.clone());
            Real::Items(Items {
                poll: Box::new(move |cx| {
                    let polled = polled.borrow_mut().as_mut().poll_next(cx);
                    polled.map(|item| item.map(|item| format!("{item:?}")))
                }),
                cancel: Box::new(move || cancelled.borrow_mut().as_mut().cancel()),
                cause: Box::new(move || items.borrow().cause()),
            })
        }};
    }
    macro_rules! for_each {
        ($group:expr, $_:expr) => {{
            let each = move |index, item| Unanswered(take(index, format!("{item:?}")));
            let each = $group.as_completed().for_each(each).on_cancel(|each| each.cancel());
            Real::new(each.map(|output| format!("{output:?}")))
        }};
    }
    macro_rules! try_for_each {
        ($group:expr, $_:expr) => {{
            let each = move |index, item| take(index, format!("{item:?}"));
            let each = $group.as_completed().try_for_each(each).on_cancel(|each| each.cancel());
            Real::new(each.map(|output| format!("{output:?}")))
        }};
    }
    // With each choice of settings.
    macro_rules! set {
        ($taken:ident, $group:expr, $words:expr) => {{
            let group = $group;
            match (case.has_hook, case.in_reverse) {
                (false, false) => limited!($taken, group, $words),
                (true, false) => limited!($taken, group.on_cancel(hook), $words),
                (false, true) => limited!($taken, group.cancel_in_reverse(), $words),
                (true, true) => limited!($taken, group.on_cancel(hook).cancel_in_reverse(), $words),
            }
        }};
    }
    macro_rules! limited {
        ($taken:ident, $group:expr, $words:expr) => {
            match case.limit {
                Some(limit) => $taken!($group.concurrency(limit), $words),
                None => $taken!($group, $words),
            }
        };
    }
    // With fewer types, which are quicker to compile.
    let has_hook = case.has_hook;
    macro_rules! set_all {
        ($taken:ident, $group:expr, $words:expr) => {{
            let limit = case.limit.unwrap_or(usize::MAX);
            let group = $group.concurrency(limit).on_cancel(move |cause| {
                if has_hook {
                    hook(cause)
                }
            });
            match case.in_reverse {
                false => $taken!(group, $words),
                true => $taken!(group.cancel_in_reverse(), $words),
            }
        }};
    }
    macro_rules! as_they_come {
        ($group:expr) => {
            match (case.form, case.policy, case.report) {
                (Form::Items, Policy::FailFast, false) => set_all!(items, $group, ()),
                (Form::Items, Policy::FailFast, true) => set_all!(items, $group.report(), ()),
                (Form::Items, _, false) => set_all!(items, $group.settle(), ()),
                (Form::Items, _, true) => set_all!(items, $group.settle().report(), ()),
                (_, Policy::FailFast, false) => set_all!(try_for_each, $group, ()),
                (_, Policy::FailFast, true) => set_all!(for_each, $group.report(), ()),
                (_, _, false) => set_all!(for_each, $group.settle(), ()),
                (_, _, true) => set_all!(for_each, $group.settle().report(), ()),
            }
        };
    }
    macro_rules! reported {
        ($set:ident, $group:expr) => {
            $set!(real, $group.report(), |report| format!("{:?} {:?}", report.cause, Flatten::flatten(report.outcomes)))
        };
    }
    macro_rules! grouped {
        ($set:ident, $children:expr) => {{
            let group = gather($children).cancel_when(signal).grace(make_grace);
            match (case.form, case.policy, case.report) {
                (Form::Awaited, Policy::FailFast, true) => reported!($set, group),
                (Form::Awaited, Policy::Settle, true) => reported!($set, group.settle()),
                (Form::Awaited, Policy::Any, true) => reported!($set, group.any()),
                (Form::Awaited, Policy::Race, true) => reported!($set, group.race()),
                (Form::Awaited, Policy::FailFast, false) => {
                    set_all!(real, group, |output| format!("{:?}", Flatten::flatten(output)))
                }
                (Form::Awaited, Policy::Settle, false) => {
                    set_all!(real, group.settle(), |output| format!("{:?}", Flatten::flatten(output)))
                }
                (Form::Awaited, Policy::Any, false) => {
                    set_all!(real, group.any(), |output| {
                        format!("{:?}", output.map(|output| output.map_err(Flatten::flatten)))
                    })
                }
                (Form::Awaited, Policy::Race, false) => set_all!(real, group.race(), |output| format!("{output:?}")),
                _ => as_they_come!(group),
            }
        }};
    }
    // Its children end with what takes no place.
    macro_rules! in_place {
        ($map:expr) => {
            gather(from_stream_const::<PLACES, _>(StreamExt::map(Source::new(case, world), $map)))
                .cancel_when(signal)
                .grace(make_grace)
        };
    }
    let all =
        || -> Vec<_> { case.scripts.iter().enumerate().map(|(index, script)| child(index, script, world)).collect() };
    let three = || <[_; 3]>::try_from(all()).expect("three children");
    let real = match case.container {
        Container::Tuple => {
            let [a, b, c] = three();
            grouped!(set, (a, b, c))
        }
        Container::Array => grouped!(set, three()),
        Container::Vec => grouped!(set, all()),
        Container::BoxedSlice => grouped!(set, all().into_boxed_slice()),
        Container::Stream => grouped!(set, from_stream(Source::new(case, world))),
        Container::Iter => grouped!(set_all, from_iter(Source::new(case, world))),
        Container::Const if case.form != Form::Awaited => {
            let group = gather(from_stream_const::<PLACES, _>(Source::new(case, world)));
            as_they_come!(group.cancel_when(signal).grace(make_grace))
        }
        Container::Const => match case.policy {
            Policy::FailFast => {
                let map = |child: Boxed| child.map(|output: Output| output.map(drop));
                set_all!(real, in_place!(map), |output| format!("{output:?}"))
            }
            Policy::Settle => {
                set_all!(real, in_place!(|child: Boxed| child.map(drop)).settle(), |output| format!("{output:?}"))
            }
            Policy::Any => {
                set_all!(real, in_place!(|child: Boxed| child.map_err(drop)).any(), |output| format!("{output:?}"))
            }
            Policy::Race => {
                let map = |child: Boxed| child.map(|output: Output| output);
                set_all!(real, in_place!(map).race(), |output| format!("{output:?}"))
            }
        },
    };
    (real, Outside { signal: open_signal, grace: open_grace })
}

/// Someone outside who waits for the `CancelSignal` of a child.
struct Waiter {
    index: usize,
    wakes: Arc<Wakes>,
    was_ready: bool,
    /// Keeps its place.
    _future: Pin<Box<dyn Future<Output = ()>>>,
}

impl Waiter {
    fn new(index: usize, world: &World) -> Option<Self> {
        let signal = world.cancel_signal(index)?;
        let (wakes, waker) = Wakes::new();
        let mut cx = Context::from_waker(&waker);
        // Another one, who does not wait long.
        let _ = pin!(signal.cancelled()).poll(&mut cx);
        let signal = signal.clone();
        let mut future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move { signal.cancelled().await });
        let was_ready = future.as_mut().poll(&mut cx).is_ready();
        Some(Waiter { index, wakes, was_ready, _future: future })
    }
}

/// Panics where the group does anything else than the model.
pub fn check(case: &Case) {
    let world = World::new(case.scripts.len());
    let log = &world.log;
    let mut model = Model::new(case);
    let (real, outside) = build(case, &world);
    let mut real = Some(real);
    let mut waiters: Vec<Waiter> = vec![];
    let (mut wakes, mut waker) = Wakes::new();
    let mut changes_waker = false;
    // Since the last poll, if that was pending.
    let (mut is_pending, mut is_woken) = (false, false);

    // At the end it is polled to its end: its signal has come, and the grace is over.
    let ending = [Action::GraceOver, Action::Signal].into_iter().chain([Action::Poll; 400]);
    for action in case.actions.iter().copied().chain(ending) {
        let Some(running) = real.as_mut() else { break };
        match action {
            Action::Poll => {
                if std::mem::take(&mut changes_waker) {
                    (wakes, waker) = Wakes::new();
                }
                wakes.take();
                is_woken = false;
                let polled = running.poll(&mut Context::from_waker(&waker));
                let happened = log.take();
                let modelled = model.poll(&happened);
                assert_eq!((&happened, &polled), (&model.log, &modelled));
                model.log.clear();
                if let Real::Items(items) = running {
                    if polled != Polled::Panicked {
                        assert_eq!((items.cause)(), model.ended);
                    }
                    if polled == Polled::Ready(None) {
                        assert_eq!(running.poll(&mut Context::from_waker(&waker)), Polled::Ready(None), "it is fused");
                    }
                }
                is_pending = polled == Polled::Pending;
                if matches!(polled, Polled::Ready(_) | Polled::Panicked) {
                    real = None;
                }
            }
            Action::ChangeWaker => changes_waker = true,
            Action::Wake(index) | Action::WakeFromThread(index) => {
                if let Some(waker) = world.waker(index) {
                    match action {
                        Action::Wake(_) => waker.wake(),
                        _ => std::thread::spawn(|| waker.wake()).join().unwrap(),
                    }
                }
                model.wake(index);
            }
            Action::Signal => {
                model.signal = true;
                *outside.signal.borrow_mut() = true;
            }
            Action::GraceOver => {
                model.grace_over = true;
                *outside.grace.borrow_mut() = true;
            }
            Action::Fire(index) => {
                world.fire(index);
                model.fire(index);
            }
            Action::Cancel => {
                running.cancel();
                is_pending = false;
                if model.cause.is_none() && model.ended.is_none() {
                    assert!(model.cancel(Cause::Cancelled).is_ok());
                }
            }
            Action::Drop => {
                real = None;
                model.drop_all();
            }
        }
        assert_eq!(log.take(), std::mem::take(&mut model.log));
        is_woken |= wakes.take() > 0;
        if real.is_some() && is_pending && !is_woken {
            let is_woken = |child: &&crate::child::Modelled| child.is_live && child.is_woken;
            assert_eq!(model.children.iter().filter(is_woken).count(), 0, "children were woken, the group was not");
            assert!(!model.wakes_itself, "it was not someone's turn, and the group was not woken");
            assert!(!model.may_start(), "there is room for someone, and the group was not woken");
        }
        assert_eq!(Rc::strong_count(&outside.signal) > 1, model.has_signal && real.is_some(), "the group's signal");
        for index in 0..case.scripts.len() {
            if waiters.iter().all(|waiter| waiter.index != index) {
                waiters.extend(Waiter::new(index, &world));
            }
        }
        for Waiter { index, wakes, was_ready, .. } in &mut waiters {
            *was_ready |= wakes.take() > 0;
            assert_eq!(*was_ready, model.children[*index].is_signalled, "the `CancelSignal` of child {index}");
        }
    }
    assert!(real.is_none(), "it ends once it is cancelled and its grace is over");
    // Wakers outlive their group.
    for waker in world.take_wakers() {
        waker.wake();
    }
    assert_eq!(log.take(), Vec::<String>::new());
}
