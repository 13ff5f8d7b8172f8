//! Gathers and restarts as children that are cancelled by their own handshake.

#![cfg(feature = "alloc")]

mod kit;

use std::future::{pending, ready};
use std::pin::pin;
use std::task::Poll;

use gather::{CancelExt, Cancelled, Limit, gather, restart};
use kit::{Gate, Output, Probe, World};

fn told<'a>(world: &'a World, name: &'static str, gate: &Gate<Output>) -> impl gather::Child<Output = Output> + 'a {
    Probe::new(name, &world.log, gate).on_cancel(|child| world.log.push(format!("tell {}", child.name)))
}

#[test]
fn cancelled_by_its_parent_it_tells_drops_and_drains_its_own_children() {
    let world = World::new();
    let (gate, fail) = (Gate::new(), Gate::<Output>::new());
    let inner = gather((told(&world, "a", &gate), Probe::new("b", &world.log, &Gate::<Output>::new())));
    let mut outer = pin!(gather((
        told(&world, "first", &gate),
        inner.nested(),
        Probe::new("last", &world.log, &Gate::<Output>::new()),
        fail.clone().wait(),
    )));
    assert!(world.poll(outer.as_mut()).is_pending());
    fail.open(Err("failed"));
    assert!(world.poll(outer.as_mut()).is_pending());
    // In index order, the inner ones in their parent's place; all plain ones are gone before any is polled again.
    world.log.expect("tell first, tell a, drop b, drop last");
    gate.open(Ok(1));
    assert!(world.poll(outer.as_mut()).is_pending());
    world.log.expect("end first, drop first");
    gate.open(Ok(1));
    assert_eq!(world.poll(outer.as_mut()), Poll::Ready(Err("failed")));
    world.log.expect("end a, drop a");
}

#[test]
fn one_that_was_never_polled_tells_its_children_too() {
    let world = World::new();
    let gate = Gate::new();
    gate.open(Ok(1));
    let inner = gather(vec![told(&world, "a", &gate)]);
    let mut outer = pin!(gather((ready(Err::<(), _>("failed")), inner.nested())));
    assert_eq!(world.poll(outer.as_mut()), Poll::Ready(Err("failed")));
    world.log.expect("tell a, end a, drop a");
}

#[test]
fn a_cause_that_was_set_before_stands() {
    let world = World::new();
    let (gate, fail, seen) = (Gate::new(), Gate::<Output>::new(), std::cell::Cell::new(None));
    let inner = gather((told(&world, "a", &gate), ready(Err::<(), _>("inner"))));
    let mut outer = pin!(gather((
        inner.nested().map(|result| {
            seen.set(Some(result));
            Ok(())
        }),
        fail.clone().wait()
    )));
    assert!(world.poll(outer.as_mut()).is_pending());
    world.log.expect("tell a");
    fail.open(Err("outer"));
    assert!(world.poll(outer.as_mut()).is_pending());
    world.log.expect("");
    gate.open(Ok(1));
    assert_eq!(world.poll(outer.as_mut()), Poll::Ready(Err("outer")));
    assert_eq!(seen.take(), Some(Err("inner")));
}

#[test]
fn it_ends_without_a_result_or_with_cancelled_if_it_can_say_so() {
    let seen = std::cell::Cell::new(0);
    let inner = || gather([pending::<Result<(), &str>>()]);
    let outer = gather((
        inner().nested().map(|result| {
            seen.set(seen.get() + 1);
            result.map(|_| ())
        }),
        inner().cancel_on(pending::<()>()).nested().map(|result| {
            assert_eq!(result, Err(Cancelled));
            seen.set(seen.get() + 10);
            Ok(())
        }),
        inner().nested().cancel_on(pending::<()>()).map(|result| {
            assert_eq!(result, Err(Cancelled));
            seen.set(seen.get() + 100);
            Ok(())
        }),
        ready(Err::<(), _>("failed")),
    ));
    assert_eq!(pollster::block_on(outer), Err("failed"));
    assert_eq!(seen.get(), 110);
}

#[test]
fn its_own_signal_and_its_failure_are_its_own() {
    let fires = gather([pending::<Output>()]).cancel_on(ready(())).nested();
    let outer = gather((fires.map(Ok::<_, ()>), ready(Ok(1))));
    assert_eq!(pollster::block_on(outer), Ok((Err(Cancelled), 1)));

    let fails = gather((ready(Err::<(), _>("inner")), pending::<Output>())).nested();
    assert_eq!(pollster::block_on(gather((fails, pending::<Output>()))), Err("inner"));
}

#[test]
fn its_own_grace_ends_its_drain() {
    let world = World::new();
    let over = Gate::new();
    let inner = gather([told(&world, "a", &Gate::new())]).grace(|| over.clone().wait()).nested();
    let mut outer = pin!(gather((inner, ready(Err::<(), _>("failed")))));
    assert!(world.poll(outer.as_mut()).is_pending());
    over.open(());
    assert_eq!(world.poll(outer.as_mut()), Poll::Ready(Err("failed")));
    world.log.expect("tell a, drop a");
}

#[test]
fn the_grace_of_the_parent_drops_it_with_all_it_holds() {
    let world = World::new();
    let inner = gather([told(&world, "a", &Gate::new())]).nested();
    let outer = gather((inner, ready(Err::<(), _>("failed")))).grace(|| ready(()));
    assert_eq!(pollster::block_on(outer), Err("failed"));
    world.log.expect("tell a, drop a");
}

#[test]
fn gathers_nest_to_any_depth_in_one_poll() {
    type Boxed = gather::LocalBoxChild<'static, Result<u32, ()>>;
    fn tree(width: u32, depth: u32) -> Boxed {
        match depth {
            0 => Boxed::new(ready(Ok(1))),
            _ => {
                let children: Vec<Boxed> = (0..width).map(|_| tree(width, depth - 1)).collect();
                Boxed::new(gather(children).nested().map(|sums| sums.map(|sums| sums.iter().sum::<u32>() + 1)))
            }
        }
    }
    let world = World::new();
    assert_eq!(world.poll(pin!(gather([tree(5, 4)]))), Poll::Ready(Ok([781])));
}

#[test]
fn a_nested_restart_is_cancelled_by_its_own_handshake() {
    let world = World::new();
    let (gate, fail) = (Gate::new(), Gate::<Output>::new());
    let group = restart(Limit::unlimited(), || [told(&world, "a", &gate)]);
    let mut outer = pin!(gather((group.nested().map(|_| Ok(())), fail.clone().wait())));
    assert!(world.poll(outer.as_mut()).is_pending());
    fail.open(Err("failed"));
    assert!(world.poll(outer.as_mut()).is_pending());
    world.log.expect("tell a");
    // It fails in its drain: no further generation.
    gate.open(Err("late"));
    assert_eq!(world.poll(outer.as_mut()), Poll::Ready(Err("failed")));
    world.log.expect("end a, drop a");
}

fn assert_send<T: Send>(future: T) -> T {
    future
}

#[test]
fn nested_gathers_are_send_if_their_children_are() {
    let all = assert_send(gather((gather(vec![ready(Ok::<_, ()>(1))]).nested(), ready(Ok(2)))));
    assert_eq!(pollster::block_on(all), Ok((vec![1], 2)));
}
