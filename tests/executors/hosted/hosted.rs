//! The scenarios on executors that need nothing but a host.

use std::future::Future;
use std::sync::LazyLock;
use std::time::Duration;

use send_wrapper::SendWrapper;

#[path = "../../suite/kit.rs"]
mod kit;
#[path = "../../suite/runtimes/scenarios.rs"]
mod scenarios;

use scenarios::{CONTAINERS, Executor, Job, run};

/// A future that stays on its thread.
fn local(future: impl Future + 'static) -> Job {
    Box::pin(SendWrapper::new(async {
        future.await;
    }))
}

struct AsyncStd;

impl Executor for AsyncStd {
    fn sleep(&self, time: Duration) -> Job {
        Box::pin(async_std::task::sleep(time))
    }

    fn spawn(&self, job: Job) {
        async_std::task::spawn(job);
    }
}

#[test]
fn on_async_std() {
    run(&AsyncStd, &CONTAINERS, async_std::task::block_on);
}

#[test]
fn on_an_async_std_task() {
    run(&AsyncStd, &CONTAINERS, |scenario| async_std::task::block_on(async_std::task::spawn(scenario)));
}

struct AsyncGlobal;

impl Executor for AsyncGlobal {
    fn spawn(&self, job: Job) {
        async_global_executor::spawn(job).detach();
    }
}

#[test]
fn on_async_global_executor() {
    run(&AsyncGlobal, &CONTAINERS, |scenario| async_global_executor::block_on(async_global_executor::spawn(scenario)));
}

struct Monoio;

impl Executor for Monoio {
    fn sleep(&self, time: Duration) -> Job {
        local(monoio::time::sleep(time))
    }

    fn spawn(&self, job: Job) {
        monoio::spawn(job);
    }
}

#[test]
fn on_monoio_legacy() {
    let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().enable_timer().build().unwrap();
    run(&Monoio, &CONTAINERS, |scenario| runtime.block_on(scenario));
}

#[test]
fn on_monoio_io_uring() {
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().enable_timer().build().unwrap();
    run(&Monoio, &CONTAINERS, |scenario| runtime.block_on(scenario));
}

struct Compio;

impl Executor for Compio {
    fn sleep(&self, time: Duration) -> Job {
        local(compio::time::sleep(time))
    }

    fn spawn(&self, job: Job) {
        compio::runtime::spawn(job).detach();
    }
}

fn on_compio(driver: compio::driver::DriverType) {
    let mut proactor = compio::driver::ProactorBuilder::new();
    proactor.driver_type(driver);
    let runtime = compio::runtime::RuntimeBuilder::new().with_proactor(proactor).build().unwrap();
    assert_eq!(runtime.driver_type(), driver);
    run(&Compio, &CONTAINERS, |scenario| runtime.block_on(scenario));
}

#[test]
fn on_compio_io_uring() {
    on_compio(compio::driver::DriverType::IoUring);
}

#[test]
fn on_compio_polling() {
    on_compio(compio::driver::DriverType::Poll);
}

struct Glommio;

impl Executor for Glommio {
    fn sleep(&self, time: Duration) -> Job {
        local(glommio::timer::sleep(time))
    }

    fn spawn(&self, job: Job) {
        glommio::spawn_local(job).detach();
    }
}

#[test]
fn on_glommio() {
    let executor = glommio::LocalExecutorBuilder::default().make().unwrap();
    run(&Glommio, &CONTAINERS, |scenario| executor.run(scenario));
}

/// Its workers have timers each, which stay there.
struct Nio;

impl Executor for Nio {
    fn sleep(&self, time: Duration) -> Job {
        local(nio::sleep(time))
    }

    fn spawn(&self, job: Job) {
        nio::spawn_local(job);
    }
}

#[test]
fn on_nio() {
    let mut runtime = nio::RuntimeBuilder::new().worker_threads(2).build().unwrap();
    run(&Nio, &CONTAINERS, |scenario| runtime.block_on(scenario));
}

/// Its tasks move between the workers.
struct NioTask;

impl Executor for NioTask {
    fn spawn(&self, job: Job) {
        nio::spawn(job);
    }
}

#[test]
fn on_a_nio_task() {
    let mut runtime = nio::RuntimeBuilder::new().worker_threads(2).build().unwrap();
    run(&NioTask, &CONTAINERS, |scenario| runtime.block_on(async { nio::spawn(scenario).await.unwrap() }));
}

static BEVY: LazyLock<bevy_tasks::TaskPool> =
    LazyLock::new(|| bevy_tasks::TaskPoolBuilder::new().num_threads(2).build());

struct Bevy;

impl Executor for Bevy {
    fn spawn(&self, job: Job) {
        BEVY.spawn(job).detach();
    }
}

#[test]
fn on_bevy_tasks() {
    run(&Bevy, &CONTAINERS, |scenario| bevy_tasks::block_on(BEVY.spawn(scenario)));
}

#[test]
fn on_a_bevy_scope() {
    run(&Bevy, &CONTAINERS, |scenario| {
        BEVY.scope(|scope| scope.spawn(scenario));
    });
}

thread_local! {
    static EDGE: edge_executor::LocalExecutor<'static> = const { edge_executor::LocalExecutor::new() };
}

struct EdgeLocal;

impl Executor for EdgeLocal {
    fn spawn(&self, job: Job) {
        EDGE.with(|executor| executor.spawn(job).detach());
    }
}

#[test]
fn on_edge_local_executor() {
    run(&EdgeLocal, &CONTAINERS, |scenario| {
        EDGE.with(|executor| edge_executor::block_on(executor.run(executor.spawn(scenario))));
    });
}

/// No tasks and no timer of their own.
struct BlockOn;

impl Executor for BlockOn {}

#[test]
fn on_cassette() {
    run(&BlockOn, &CONTAINERS, cassette::block_on);
}

#[test]
fn on_spin_on() {
    run(&BlockOn, &CONTAINERS, spin_on::spin_on);
}
