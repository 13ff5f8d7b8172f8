//! The types of the settings of a group. The methods of [`Group`](crate::Group) and [`Supervisor`](crate::Supervisor) make
//! them; their names appear in the types of groups and futures.

pub(crate) mod cancelling;
pub(crate) mod concurrency;
pub(crate) mod delay;
pub(crate) mod hook;
pub(crate) mod order;
pub(crate) mod signal;
pub(crate) mod window;

pub use cancelling::Cancelling;
pub use concurrency::{AtMost, Unbounded};
pub use delay::{Backoff, GraceEachTime, GraceOnce, NoBackoff, NoGrace};
pub use hook::{HookEachTime, HookOnce, NoHook};
pub use order::{AtOnce, InReverse};
pub use signal::{NoSignal, OnSignal};

pub(crate) mod unset {
    use super::{AtOnce, NoBackoff, NoGrace, NoHook, NoSignal, Unbounded};

    /// A setting that was not made yet. Each can be made once.
    #[diagnostic::on_unimplemented(message = "this was set before", label = "is set at most once for a group")]
    pub trait Unset {}

    impl Unset for NoSignal {}
    impl Unset for NoGrace {}
    impl Unset for NoBackoff {}
    impl Unset for NoHook {}
    impl Unset for AtOnce {}
    impl Unset for Unbounded {}
}
