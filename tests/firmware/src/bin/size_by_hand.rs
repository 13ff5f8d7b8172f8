//! Three tasks restarted by code written for them.

#![no_std]
#![no_main]

use embassy_executor::Spawner;
use gather_firmware::tasks::{by_hand, end};

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    gather_firmware::board::start();
    end(by_hand().await, 0)
}
