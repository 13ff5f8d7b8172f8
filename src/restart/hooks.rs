//! The closures of a supervisor.

use crate::outcome::Failure;
use crate::settings::unset::Unset;

/// Which failures restart.
pub trait When<E> {
    fn retries(&mut self, failure: &Failure<'_, E>) -> bool;
}

/// Every failure.
#[derive(Clone, Copy, Debug, Default)]
pub struct Always;

impl<E> When<E> for Always {
    fn retries(&mut self, _: &Failure<'_, E>) -> bool {
        true
    }
}

/// Failures for which the closure of `when` returns true.
pub struct Chosen<F, E> {
    pub(super) when: F,
    pub(super) call: fn(&mut F, &Failure<'_, E>) -> bool,
}

impl<F, E> When<E> for Chosen<F, E> {
    fn retries(&mut self, failure: &Failure<'_, E>) -> bool {
        (self.call)(&mut self.when, failure)
    }
}

/// What sees the failures.
pub trait Observe<E> {
    fn observe(&mut self, failure: &Failure<'_, E>);
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl<E> Observe<E> for Nobody {
    fn observe(&mut self, _: &Failure<'_, E>) {}
}

/// The closure of `observe`.
pub struct Observer<F, E> {
    pub(super) observe: F,
    pub(super) call: fn(&mut F, &Failure<'_, E>),
}

impl<F, E> Observe<E> for Observer<F, E> {
    fn observe(&mut self, failure: &Failure<'_, E>) {
        (self.call)(&mut self.observe, failure);
    }
}

impl Unset for Always {}
impl Unset for Nobody {}
