//! The scenarios under wasm on the queue of `wasm-bindgen-futures`, which runs on JavaScript's promises.

#![cfg(target_family = "wasm")]

use std::time::Duration;

use gloo_timers::future::TimeoutFuture;
use send_wrapper::SendWrapper;
use wasm_bindgen_test::{console_log, wasm_bindgen_test};

#[path = "../../suite/kit.rs"]
mod kit;
#[path = "../../suite/runtimes/scenarios.rs"]
mod scenarios;

use scenarios::{CONTAINERS, Executor, Job, run};

struct Promises;

impl Executor for Promises {
    fn sleep(&self, time: Duration) -> Job {
        Box::pin(SendWrapper::new(TimeoutFuture::new(time.as_millis() as u32)))
    }

    fn spawn(&self, job: Job) {
        wasm_bindgen_futures::spawn_local(job);
    }
}

#[wasm_bindgen_test]
async fn on_wasm_bindgen_futures() {
    run(&Promises, &CONTAINERS, |line| console_log!("{line}")).await;
}
