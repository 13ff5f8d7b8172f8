//! Waiters in an intrusive list, as a channel or a lock without allocation has them: the list points at memory within the
//! futures that wait.
//!
//! Invariant of this module's `unsafe`:
//!
//! - LINKED: a waiter in the list is pinned, and its destructor takes it out. That is what a pinned future may rely on,
//!   and so what is tested here: where a gather breaks it, a walk touches memory that is freed or used for something else,
//!   which the addresses that are written down show in most cases, and the sanitizers and valgrind in all.

#![allow(unsafe_code, reason = "a list of pointers into pinned futures")]

use std::cell::Cell;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::ptr;

use crate::world::world;

/// Owns no waiter.
pub struct List {
    first: Cell<*const Waiter>,
}

impl Default for List {
    fn default() -> Self {
        List { first: Cell::new(ptr::null()) }
    }
}

/// A node in the list, from its first poll to its drop.
#[derive(Default)]
pub struct Waiter {
    /// Where it was linked, and null when it is not linked.
    linked_at: Cell<Link>,
    previous: Cell<Link>,
    next: Cell<Link>,
    walks: Cell<usize>,
    _pinned: PhantomPinned,
}

#[derive(Clone, Copy, PartialEq)]
struct Link(*const Waiter);

impl Default for Link {
    fn default() -> Self {
        Link(ptr::null())
    }
}

impl Link {
    fn get<'a>(self) -> Option<&'a Waiter> {
        // SAFETY: LINKED, it is null or points at a waiter in the list.
        unsafe { self.0.as_ref() }
    }
}

impl List {
    /// Writes through every pointer. How many there are.
    pub fn walk(&self) -> usize {
        let (mut count, mut previous, mut link) = (0, Link::default(), Link(self.first.get()));
        while let Some(waiter) = link.get() {
            if waiter.linked_at.get() != link || waiter.previous.get() != previous {
                world().blame("a waiter in the list was overwritten or moved".into());
                return count;
            }
            waiter.walks.set(waiter.walks.get() + 1);
            count += 1;
            (previous, link) = (link, waiter.next.get());
        }
        count
    }

    pub fn forget_all(&self) {
        self.first.set(ptr::null());
    }
}

impl Waiter {
    /// Puts it into the list, if it is not there.
    pub fn link(self: Pin<&Self>) {
        let own = Link(ptr::from_ref(self.get_ref()));
        if self.linked_at.get() == own {
            return;
        }
        if self.linked_at.get() != Link::default() {
            world().blame("a waiter was moved between two polls".into());
        }
        let first = &world().list.first;
        let next = Link(first.get());
        self.linked_at.set(own);
        self.next.set(next);
        if let Some(next) = next.get() {
            next.previous.set(own);
        }
        first.set(own.0);
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let linked_at = self.linked_at.replace(Link::default());
        if linked_at == Link::default() {
            return;
        }
        if linked_at.0 != ptr::from_ref(self) {
            world().blame("a waiter was moved before its drop".into());
        }
        match self.previous.get().get() {
            Some(previous) => previous.next.set(self.next.get()),
            None => world().list.first.set(self.next.get().0),
        }
        if let Some(next) = self.next.get().get() {
            next.previous.set(self.previous.get());
        }
    }
}
