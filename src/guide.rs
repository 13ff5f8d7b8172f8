//! How to use the crate, and how to move to it from others. Every example here is compiled and run.
//!
//! | page | what it is about |
//! |---|---|
//! | [`children`] | which kind of child to take |
//! | [`cancellation`] | what happens to each child, and when; how a child is told; a child that does not end |
//! | [`recipes`] | tokens, signals and tasks of other libraries; errors of several types; deadlines |
//! | [`servers`] | connections from a listener, a graceful shutdown, limits, the order in which services stop |
//! | [`restart`] | limits, backoff, an orderly end |
//! | [`supervision`] | one-for-all, one-for-one, rest-for-one, background children, trees |
//! | [`errors`] | what the compiler prints for the usual mistakes, and what to write instead |
//! | [`from_asyncio`] | for users of `asyncio.gather` and `TaskGroup` |
//! | [`from_tokio`] | for users of `tokio::try_join!`, `select!` and `JoinSet` |
//! | [`from_futures`] | for users of `try_join_all`, `select_all` and `FuturesUnordered` |
//! | [`embedded`] | without `std`, without an allocator, without compare-and-swap |
//! | [`executors`] | what the scenarios were run on |
//! | [`performance`] | figures, their method, and what is slow |

#[doc = include_str!("guide/children.md")]
pub mod children {}

#[doc = include_str!("guide/from_asyncio.md")]
pub mod from_asyncio {}

#[doc = include_str!("guide/from_tokio.md")]
pub mod from_tokio {}

#[doc = include_str!("guide/from_futures.md")]
pub mod from_futures {}

#[doc = include_str!("guide/cancellation.md")]
pub mod cancellation {}

#[doc = include_str!("guide/recipes.md")]
pub mod recipes {}

#[doc = include_str!("guide/servers.md")]
pub mod servers {}

#[doc = include_str!("guide/restart.md")]
pub mod restart {}

#[doc = include_str!("guide/supervision.md")]
pub mod supervision {}

#[doc = include_str!("guide/errors.md")]
pub mod errors {}

#[doc = include_str!("guide/executors.md")]
pub mod executors {}

#[doc = include_str!("guide/performance.md")]
pub mod performance {}

#[doc = include_str!("guide/embedded.md")]
pub mod embedded {}
