//! The scenarios in a task of embassy's executor.

#![no_std]
#![no_main]

use embassy_executor::Spawner;
use gather_firmware::{board, scenarios};
use semihosting::process::ExitCode;

#[embassy_executor::main]
async fn main(_spawner: Spawner) {
    board::start();
    #[cfg(feature = "alloc")]
    gather_firmware::heap::init();
    scenarios::all().await;
    ExitCode::SUCCESS.exit_process()
}
