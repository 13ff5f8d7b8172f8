//! How to use the crate, and how to come to it from others. Every example here is compiled and run.
//!
//! | page | for whom |
//! |---|---|
//! | [`from_asyncio`] | who knows `asyncio.gather` and `TaskGroup` |
//! | [`from_tokio`] | who has `tokio::try_join!`, `select!` or a `JoinSet` in hand |
//! | [`from_futures`] | who has `try_join_all`, `select_all` or `FuturesUnordered` in hand |
//! | [`cancellation`] | what happens to each child, and when; how a child is told; what to do about one that does not end |
//! | [`recipes`] | tokens, signals and tasks of the libraries in use; deadlines |
//! | [`servers`] | connections from a listener, a graceful shutdown, limits, the order in which services stop |
//! | [`restart`] | limits, backoff, an orderly end |
//! | [`embedded`] | without `std`, without an allocator, without compare-and-swap |

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

#[doc = include_str!("guide/embedded.md")]
pub mod embedded {}
