//! The scenarios on the executors that are dependencies of the tests anyway. Others: `tests/executors`.

use std::cell::RefCell;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Waker};
use std::time::Duration;

use super::scenarios::{CONTAINERS, Executor, Job, run};
use futures_util::task::SpawnExt;

struct Tokio;

impl Executor for Tokio {
    fn sleep(&self, time: Duration) -> Job {
        Box::pin(tokio::time::sleep(time))
    }

    fn spawn(&self, job: Job) {
        tokio::spawn(job);
    }
}

#[test]
fn on_tokio_current_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    run(&Tokio, &CONTAINERS, |scenario| runtime.block_on(scenario));
}

#[test]
fn on_tokio_multi_thread() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    run(&Tokio, &CONTAINERS, |scenario| runtime.block_on(runtime.spawn(scenario)).unwrap());
}

struct Smol;

impl Executor for Smol {
    fn sleep(&self, time: Duration) -> Job {
        Box::pin(async move {
            smol::Timer::after(time).await;
        })
    }

    fn spawn(&self, job: Job) {
        smol::spawn(job).detach();
    }
}

#[test]
fn on_smol() {
    run(&Smol, &CONTAINERS, smol::block_on);
}

#[test]
fn on_a_smol_task() {
    run(&Smol, &CONTAINERS, |scenario| smol::block_on(smol::spawn(scenario)));
}

thread_local! {
    static LOCAL: smol::LocalExecutor<'static> = const { smol::LocalExecutor::new() };
}

/// An executor of one thread, whose tasks run while a future of it does.
struct SmolLocal;

impl Executor for SmolLocal {
    fn sleep(&self, time: Duration) -> Job {
        Smol.sleep(time)
    }

    fn spawn(&self, job: Job) {
        LOCAL.with(|executor| executor.spawn(job).detach());
    }
}

#[test]
fn on_smol_local_executor() {
    run(&SmolLocal, &CONTAINERS, |scenario| {
        LOCAL.with(|executor| smol::block_on(executor.run(executor.spawn(scenario))))
    });
}

/// No tasks and no timer of its own: the scenarios' defaults.
struct BlockOn;

impl Executor for BlockOn {}

#[test]
fn on_futures_block_on() {
    run(&BlockOn, &CONTAINERS, futures_executor::block_on);
}

#[test]
fn on_pollster() {
    run(&BlockOn, &CONTAINERS, pollster::block_on);
}

/// Polls again and again, whatever was woken.
#[test]
fn on_no_executor() {
    run(&BlockOn, &CONTAINERS, |scenario| {
        let mut scenario = pin!(scenario);
        while scenario.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            std::thread::yield_now();
        }
    });
}

thread_local! {
    static SPAWNER: RefCell<Option<futures_executor::LocalSpawner>> = const { RefCell::new(None) };
}

struct LocalPool;

impl Executor for LocalPool {
    fn spawn(&self, job: Job) {
        SPAWNER.with_borrow(|spawner| spawner.as_ref().unwrap().spawn(job).unwrap());
    }
}

#[test]
fn on_futures_local_pool() {
    let mut pool = futures_executor::LocalPool::new();
    SPAWNER.set(Some(pool.spawner()));
    run(&LocalPool, &CONTAINERS, |scenario| pool.run_until(scenario));
}

static POOL: LazyLock<futures_executor::ThreadPool> =
    LazyLock::new(|| futures_executor::ThreadPool::builder().pool_size(2).create().unwrap());

struct ThreadPool;

impl Executor for ThreadPool {
    fn spawn(&self, job: Job) {
        POOL.spawn_ok(job);
    }
}

#[test]
fn on_futures_thread_pool() {
    run(&ThreadPool, &CONTAINERS, |scenario| {
        let (done, wait) = futures_channel::oneshot::channel();
        POOL.spawn_ok(async move {
            scenario.await;
            done.send(()).unwrap();
        });
        futures_executor::block_on(wait).expect("the scenario panicked");
    });
}
