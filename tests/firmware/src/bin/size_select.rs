//! Three tasks restarted without a drain.

#![no_std]
#![no_main]

use embassy_executor::Spawner;
use gather_firmware::tasks::{RESTARTS, by_select, end};

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    gather_firmware::board::start();
    end(by_select().await, RESTARTS + 1)
}
