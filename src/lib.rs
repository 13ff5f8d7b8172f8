//! [`children`]: guide::children
//! [`cancellation`]: guide::cancellation
//! [`performance`]: guide::performance
//! [`executors`]: guide::executors
//! [`embedded`]: guide::embedded
// The package does not contain this file, so docs.rs has no page to link to. There the link stays on its own heading.
//! [CONTRIBUTING.md]: #contributing-license
#![doc = ""]
#![doc = include_str!("guide/pictures.md")]
#![doc = ""]
#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod adapters;
mod arity;
mod child;
mod children;
mod completed;
mod gather;
#[cfg(feature = "std")]
pub mod guide;
mod handshake;
mod judge;
mod outcome;
pub mod policy;
#[cfg(all(feature = "alloc", any(target_has_atomic = "ptr", feature = "portable-atomic")))]
mod readiness;
mod restart;
pub mod settings;
mod trace;

#[cfg(feature = "alloc")]
pub use adapters::{BoxChild, LocalBoxChild};
pub use adapters::{CancelExt, CancelWhen, Cleanup, EitherChild, Finally, Map, Shield, WithHook};
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
pub use adapters::{CancelSignal, Cancellable, cancellable};
pub use child::{Child, IntoChild, OnCancel};
#[cfg(all(feature = "alloc", any(target_has_atomic = "ptr", feature = "portable-atomic")))]
pub use children::{FromStream, from_iter, from_stream};
pub use children::{FromStreamConst, IntoChildren, from_stream_const};
pub use completed::{AsCompleted, ForEach};
pub use gather::{Gather, GatherOf, Group, gather};
pub use outcome::{Cancelled, Cause, Failure, GatherError, Outcome, Outcomes, Report, RestartError};
pub use restart::{GivenUp, Limit, Restart, RestartReport, Supervisor, restart};
