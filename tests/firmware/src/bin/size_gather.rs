//! Three tasks restarted by the crate.

#![no_std]
#![no_main]

use embassy_executor::Spawner;
use gather_firmware::tasks::{by_gather, end};

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    gather_firmware::board::start();
    end(by_gather().await, 0)
}
