//! The wakers of the two parents that poll in turn, made by hand: their clone, wake and drop are foreign code.

#![allow(unsafe_code, reason = "wakers made by hand")]

use std::mem::ManuallyDrop;
use std::ptr;
use std::task::{RawWaker, RawWakerVTable, Waker};

use crate::matrix::{Place, Who};
use crate::world::world;

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop);

fn number_of(data: *const ()) -> usize {
    data.addr() - 1
}

fn data_of(number: usize) -> *const () {
    ptr::without_provenance(number + 1)
}

fn raw(number: usize) -> RawWaker {
    RawWaker::new(data_of(number), &VTABLE)
}

fn count(number: usize, change: isize) {
    let world = world();
    let alive = &world.parents_alive[number];
    alive.set(alive.get() + change);
    if alive.get() < 0 {
        world.blame("a parent's waker was dropped twice".into());
    }
}

fn clone(data: *const ()) -> RawWaker {
    world().visit(Place::ParentClone, Who::Parent);
    count(number_of(data), 1);
    raw(number_of(data))
}

fn wake(data: *const ()) {
    struct Dropped(*const ());

    impl Drop for Dropped {
        fn drop(&mut self) {
            count(number_of(self.0), -1);
        }
    }

    let _dropped = Dropped(data);
    wake_by_ref(data);
}

fn wake_by_ref(data: *const ()) {
    let world = world();
    world.visit(Place::ParentWake, Who::Parent);
    // The parents that polled before have forgotten the gather.
    if number_of(data) == world.parent.get() {
        world.is_woken.set(true);
    }
}

fn drop(data: *const ()) {
    count(number_of(data), -1);
    world().visit(Place::ParentDrop, Who::Parent);
}

/// The waker that the parent itself owns.
pub fn lent(number: usize) -> ManuallyDrop<Waker> {
    // SAFETY: the data is no pointer, and the functions do nothing with it that could be wrong.
    ManuallyDrop::new(unsafe { Waker::from_raw(raw(number)) })
}

pub fn make_own(number: usize) {
    count(number, 1);
}

pub fn drop_own(number: usize) {
    drop(data_of(number));
}
