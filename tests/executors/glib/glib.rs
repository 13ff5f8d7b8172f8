//! The scenarios on GLib's main loop.

use std::time::Duration;

#[path = "../../suite/kit.rs"]
mod kit;
#[path = "../../suite/runtimes/scenarios.rs"]
mod scenarios;

use scenarios::{CONTAINERS, Executor, Job, run};

struct Glib;

impl Executor for Glib {
    fn sleep(&self, time: Duration) -> Job {
        Box::pin(glib::timeout_future(time))
    }

    fn spawn(&self, job: Job) {
        glib::MainContext::ref_thread_default().spawn(job);
    }
}

#[test]
fn on_the_main_context() {
    let context = glib::MainContext::new();
    context.with_thread_default(|| run(&Glib, &CONTAINERS, |scenario| context.block_on(scenario))).unwrap();
}
