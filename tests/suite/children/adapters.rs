//! The adapters polled by hand, as a hand-written child polls the child that it holds; and their `Debug`.

use std::cell::Cell;
use std::future::{Future, pending, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::kit::{self, Log, panic_of};
use gather::{BoxChild, CancelExt, Child, Limit, LocalBoxChild, OnCancel, Outcome, gather};

#[test]
fn a_hook_runs_once_however_often_it_is_cancelled() {
    let calls = Cell::new(0);
    let mut child = pin!(pending::<()>().on_cancel(|_| calls.set(calls.get() + 1)));
    for _ in 0..2 {
        assert!(matches!(child.as_mut().cancel(), OnCancel::Drain));
        assert_eq!(calls.get(), 1);
    }
}

/// Logs its drop.
fn work(log: &Log) -> impl Future<Output = ()> + use<> {
    let token = log.token("work");
    async move {
        pending::<()>().await;
        drop(token);
    }
}

#[test]
#[cfg_attr(panic = "abort", ignore = "catches a panic")]
fn a_cleanup_is_polled_in_its_order_or_panics() {
    let mut cx = Context::from_waker(Waker::noop());
    let log = Log::default();

    let make = || async { log.push("clean") };
    let mut child = Box::pin(work(&log).cleanup(make));
    assert!(child.as_mut().poll_child(&mut cx).is_pending());
    let message = panic_of(|| _ = child.as_mut().poll_drain(&mut cx));
    assert_eq!(message, "`Cleanup::poll_drain` called before `cancel`, or after its clean-up panicked");
    log.expect("");

    assert!(matches!(child.as_mut().cancel(), OnCancel::Drain));
    log.expect("drop work");
    let message = panic_of(|| _ = child.as_mut().poll_child(&mut cx));
    assert_eq!(message, "`Cleanup::poll_child` called after `cancel`");
    assert_eq!(child.as_mut().poll_drain(&mut cx), Poll::Ready(None));
    log.expect("clean");

    let mut child = Box::pin(work(&log).cleanup(|| -> std::future::Ready<()> { panic!("no clean-up") }));
    assert!(child.as_mut().poll_child(&mut cx).is_pending());
    assert!(matches!(child.as_mut().cancel(), OnCancel::Drain));
    assert_eq!(panic_of(|| _ = child.as_mut().poll_drain(&mut cx)), "no clean-up");
    let message = panic_of(|| _ = child.as_mut().poll_drain(&mut cx));
    assert_eq!(message, "`Cleanup::poll_drain` called before `cancel`, or after its clean-up panicked");
}

#[test]
fn each_adapter_maps_its_output_and_its_error_also_a_late_one() {
    let end = || ready(Err::<u8, u8>(1));
    let children = [
        BoxChild::new(end().on_cancel(|_| ()).map_err(u16::from).map_err(u32::from)),
        BoxChild::new(end().cleanup(|| ready(())).map_err(u32::from)),
        BoxChild::new(end().shield().map(|ended| ended).map_err(u32::from)),
        BoxChild::new(BoxChild::new(end()).map_err(u32::from)),
        BoxChild::new(gather([end()]).map_err(u32::from).map(|ended| ended.map(|[value]| value))),
    ];
    let ended = pollster::block_on(gather(Vec::from(children)).settle());
    assert_eq!(ended, vec![Err(1u32); 5]);

    let gate = kit::Gate::<Result<u8, u8>>::new();
    let told = gate.clone().wait().on_cancel(|_| gate.open(Err(2))).map_err(u32::from);
    let report = pollster::block_on(gather((told, ready(Err::<(), u32>(0)))).report());
    assert_eq!(report.outcomes.0, Outcome::Drained(Some(Err(2u32))));
}

#[test]
fn children_and_limits_say_what_they_are() {
    let mut cx = Context::from_waker(Waker::noop());

    let mut told = pin!(pending::<()>().on_cancel(|_| ()));
    assert_eq!(format!("{told:?}"), "WithHook { told: false, .. }");
    told.as_mut().cancel();
    assert_eq!(format!("{told:?}"), "WithHook { told: true, .. }");

    let mut cleaned = pin!(pending::<()>().cleanup(pending::<()>));
    assert_eq!(format!("{cleaned:?}"), "Cleanup { stage: work, .. }");
    assert!(cleaned.as_mut().poll_child(&mut cx).is_pending());
    cleaned.as_mut().cancel();
    assert_eq!(format!("{cleaned:?}"), "Cleanup { stage: cancelled, .. }");
    assert!(cleaned.as_mut().poll_drain(&mut cx).is_pending());
    assert_eq!(format!("{cleaned:?}"), "Cleanup { stage: cleaning, .. }");

    let mut shielded = pin!(pending::<()>().shield());
    assert_eq!(format!("{shielded:?}"), "Shield { started: false, .. }");
    assert!(shielded.as_mut().poll_child(&mut cx).is_pending());
    assert_eq!(format!("{shielded:?}"), "Shield { started: true, .. }");

    assert_eq!(format!("{:?}", ready(1).shield().map(|one| one + 1)), "Map { .. }");
    assert_eq!(format!("{:?}", BoxChild::new(ready(1))), "BoxChild { .. }");
    assert_eq!(format!("{:?}", LocalBoxChild::new(ready(1))), "LocalBoxChild { .. }");

    let clock = || Duration::ZERO;
    assert_eq!(format!("{:?}", Limit::unlimited()), "Limit(unlimited)");
    assert_eq!(format!("{:?}", Limit::restarts(5)), "Limit(5 restarts)");
    assert_eq!(format!("{:?}", Limit::within(5, Duration::from_secs(9), clock)), "Limit(5 restarts within 9s)");
    let limit = Limit::within_const::<2, _>(Duration::from_millis(1), clock);
    assert_eq!(format!("{limit:?}"), "Limit(2 restarts within 1ms)");
}
