//! Settings of groups, as types. They are made by the methods of [`Group`](crate::Group) and
//! [`Supervisor`](crate::Supervisor), and named where the type of a group or of its future is.

pub(crate) mod concurrency;
pub(crate) mod delay;
pub(crate) mod signal;

pub use concurrency::{AtMost, Unbounded};
pub use delay::{Backoff, GraceEachTime, GraceOnce, NoBackoff, NoGrace};
pub use signal::{NoSignal, OnSignal};

pub(crate) mod unset {
    use super::{NoBackoff, NoGrace, NoSignal, Unbounded};

    /// A setting that was not made yet. Each is made at most once.
    #[diagnostic::on_unimplemented(message = "this was set before", label = "is set at most once for a group")]
    pub trait Unset {}

    impl Unset for NoSignal {}
    impl Unset for NoGrace {}
    impl Unset for NoBackoff {}
    impl Unset for Unbounded {}
}
