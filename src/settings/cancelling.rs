//! How a group is cancelled: the settings that matter only then.

use pin_project::pin_project;

use super::delay::NoGrace;
use super::hook::NoHook;
use super::order::AtOnce;

/// The grace, the hook, and the order in which the children are cancelled.
#[pin_project]
#[derive(Clone, Copy, Debug, Default)]
pub struct Cancelling<G = NoGrace, H = NoHook, R = AtOnce> {
    #[pin]
    pub(crate) grace: G,
    pub(crate) hook: H,
    pub(crate) order: R,
}

impl<G, H, R> Cancelling<G, H, R> {
    pub(crate) fn with_grace<J>(self, grace: J) -> Cancelling<J, H, R> {
        let Cancelling { hook, order, .. } = self;
        Cancelling { grace, hook, order }
    }

    pub(crate) fn with_hook<J>(self, hook: J) -> Cancelling<G, J, R> {
        let Cancelling { grace, order, .. } = self;
        Cancelling { grace, hook, order }
    }

    pub(crate) fn with_order<J>(self, order: J) -> Cancelling<G, H, J> {
        let Cancelling { grace, hook, .. } = self;
        Cancelling { grace, hook, order }
    }
}
