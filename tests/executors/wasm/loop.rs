//! The scenarios under wasm on a loop by hand: the host has a timer, and runs the loop when it has fired.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_channel::oneshot;

#[path = "../../suite/kit.rs"]
mod kit;
#[path = "../../suite/runtimes/scenarios.rs"]
mod scenarios;

use scenarios::{CONTAINERS, Executor, Job, run};

#[link(wasm_import_module = "host")]
unsafe extern "C" {
    /// Asks the host to call `fire`.
    safe fn set_timer(timer: usize, milliseconds: u32);
    /// Hands the host a line of text to print.
    safe fn print(text: *const u8, length: usize);
}

fn line(text: &str) {
    print(text.as_ptr(), text.len());
}

/// The tasks that were woken.
static WOKEN: Mutex<VecDeque<Arc<Task>>> = Mutex::new(VecDeque::new());

struct Task(Mutex<Option<Job>>);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        WOKEN.lock().unwrap().push_back(self);
    }
}

/// Polls the woken tasks until there are none.
fn run_woken() {
    while let Some(task) = { WOKEN.lock().unwrap().pop_front() } {
        let mut slot = task.0.lock().unwrap();
        if let Some(mut job) = slot.take() {
            if job.as_mut().poll(&mut Context::from_waker(&Waker::from(task.clone()))) == Poll::Pending {
                *slot = Some(job);
            }
        }
    }
}

thread_local! {
    static TIMERS: RefCell<Vec<Option<oneshot::Sender<()>>>> = const { RefCell::new(Vec::new()) };
    static DONE: Cell<bool> = const { Cell::new(false) };
}

struct Host;

impl Executor for Host {
    fn sleep(&self, time: Duration) -> Job {
        let (fired, wait) = oneshot::channel();
        let timer = TIMERS.with_borrow_mut(|timers| {
            timers.push(Some(fired));
            timers.len() - 1
        });
        set_timer(timer, time.as_millis() as u32);
        Box::pin(async { wait.await.unwrap() })
    }

    fn spawn(&self, job: Job) {
        Arc::new(Task(Mutex::new(Some(job)))).wake();
    }
}

/// Begins the scenarios.
#[unsafe(no_mangle)]
extern "C" fn start() {
    std::panic::set_hook(Box::new(|panic| line(&panic.to_string())));
    Host.spawn(Box::pin(async {
        run(&Host, &CONTAINERS, line).await;
        DONE.set(true);
    }));
    run_woken();
}

/// A timer is over.
#[unsafe(no_mangle)]
extern "C" fn fire(timer: usize) {
    let fired = TIMERS.with_borrow_mut(|timers| timers[timer].take());
    // If its future was dropped, nothing waits for it any more.
    let _ = fired.expect("a timer fires once").send(());
    run_woken();
}

/// Whether all scenarios have ended.
#[unsafe(no_mangle)]
extern "C" fn done() -> bool {
    DONE.get()
}
