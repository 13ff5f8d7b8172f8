//! [`from_tokio`]: guide::from_tokio
//! [`from_futures`]: guide::from_futures
//! [`from_asyncio`]: guide::from_asyncio
//! [`cancellation`]: guide::cancellation
//! [`recipes`]: guide::recipes
//! [`embedded`]: guide::embedded
// The package does not contain this file, so docs.rs has no page to link to. There the link stays on its own heading.
//! [CONTRIBUTING.md]: #contributing
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

#[cfg(feature = "alloc")]
mod boxed;
mod cancel;
mod child;
mod children;
mod concurrency;
mod delay;
mod gather;
mod grace;
#[cfg(feature = "std")]
pub mod guide;
mod limit;
mod nested;
mod outcome;
mod poison;
mod policy;
#[cfg(all(feature = "alloc", any(target_has_atomic = "ptr", feature = "portable-atomic")))]
mod readiness;
mod restart;
mod signal;
#[cfg(all(feature = "alloc", any(target_has_atomic = "ptr", feature = "portable-atomic")))]
mod sync;
mod trace;

#[cfg(feature = "alloc")]
pub use boxed::{BoxChild, LocalBoxChild};
pub use cancel::{CancelExt, Cancelled, Cleanup, Map, Shield, WithHook};
pub use child::{Child, OnCancel};
pub use children::IntoChildren;
pub use gather::{Gather, gather};
pub use limit::Limit;
pub use nested::Nested;
pub use outcome::{Cause, GatherError, Outcome, Outcomes, Report};
pub use restart::{Failure, Restart, RestartError, restart};
