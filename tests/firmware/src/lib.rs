//! Firmware that gathers, drains and restarts, woken by interrupts.
//!
//! The scenarios are written once, over two drivers: `bin/polling.rs`, a loop that waits for events, and
//! `bin/embassy.rs`, embassy's executor. Both take their time from [`time`], which the timer's interrupt drives. The
//! `size_` programs do one job in three ways, for a look at what each takes.

#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg_attr(target_arch = "arm", path = "board/cortex_m.rs")]
#[cfg_attr(target_arch = "riscv32", path = "board/riscv.rs")]
pub mod board;
pub mod dma;
#[cfg(feature = "alloc")]
pub mod heap;
#[cfg(feature = "print")]
pub mod scenarios;
pub mod tasks;
pub mod time;
