//! The handshake on real executors, with their own tasks and timers.

#![cfg(feature = "alloc")]

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use gather::{CancelExt, Cancelled, Child, Limit, OnCancel, RestartError, gather, restart};

/// What a scenario wants of an executor: something to wait for.
type Sleep = fn() -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Counts what is alive.
#[derive(Clone, Default)]
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn enter(&self) -> Inside {
        self.0.fetch_add(1, Ordering::SeqCst);
        Inside(self.clone())
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

struct Inside(Alive);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Fails after a few sleeps, beside a plain sibling, one that cleans up, and one that is told through a flag.
async fn one_raises(sleep: Sleep) {
    let alive = Alive::default();
    let stop = AtomicBool::new(false);
    let cleaned = AtomicBool::new(false);
    let plain = async {
        let _inside = alive.enter();
        pending::<Result<(), &str>>().await
    };
    let cleaning = async {
        let _inside = alive.enter();
        pending::<Result<(), &str>>().await
    }
    .cleanup(|| async {
        sleep().await;
        cleaned.store(true, Ordering::SeqCst);
    });
    let told = async {
        let _inside = alive.enter();
        while !stop.load(Ordering::SeqCst) {
            sleep().await;
        }
        Ok(())
    }
    .on_cancel(|_| stop.store(true, Ordering::SeqCst));
    let failing = async {
        sleep().await;
        sleep().await;
        assert_eq!(alive.count(), 3);
        Err::<(), _>("failed")
    };
    assert_eq!(gather((plain, cleaning, told, failing)).await, Err("failed"));
    assert!(cleaned.load(Ordering::SeqCst));
    assert_eq!(alive.count(), 0);
}

/// The same in a `Vec`, cancelled from outside, with a grace that ends a deaf one.
async fn cancelled_from_outside(sleep: Sleep) {
    let alive = Alive::default();
    let children: Vec<_> = (0..100)
        .map(|_| {
            let inside = alive.enter();
            async move {
                let _inside = inside;
                loop {
                    sleep().await;
                }
                #[allow(unreachable_code)]
                Ok::<(), ()>(())
            }
            .on_cancel(|_| ())
        })
        .collect();
    let result = gather(children).cancel_on(sleep()).grace(sleep).await;
    assert_eq!(result, Err(Cancelled));
    assert_eq!(alive.count(), 0);
}

/// Never two generations at a time.
async fn restarted(sleep: Sleep) {
    let alive = Alive::default();
    let group = restart(Limit::restarts(5), || {
        assert_eq!(alive.count(), 0);
        let (first, second) = (alive.enter(), alive.enter());
        let waiting = async move {
            let _first = first;
            pending::<Result<(), &str>>().await
        };
        let failing = async move {
            let _second = second;
            sleep().await;
            Err::<(), _>("bar")
        };
        (waiting.cleanup(sleep), failing)
    });
    let error = group.backoff(|_| sleep()).await.unwrap_err();
    assert_eq!(error, RestartError::LimitReached { restarts: 5, source: "bar" });
    assert_eq!(alive.count(), 0);
}

async fn all(sleep: Sleep) {
    one_raises(sleep).await;
    cancelled_from_outside(sleep).await;
    restarted(sleep).await;
}

async fn smol_sleep() {
    smol::Timer::after(Duration::from_millis(1)).await;
}

/// A sleep that ends on a thread of its own: every poll of who waits is a wake from another thread.
fn thread_sleep() -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let (done, wait) = futures_channel::oneshot::channel();
    std::thread::spawn(move || done.send(()));
    Box::pin(async move { wait.await.unwrap() })
}

#[test]
fn on_tokio_current_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(all(|| Box::pin(tokio::time::sleep(Duration::from_millis(1)))));
}

#[test]
fn on_tokio_multi_thread() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::spawn(all(|| Box::pin(tokio::time::sleep(Duration::from_millis(1))))).await.unwrap();
    });
}

#[test]
fn on_smol() {
    smol::block_on(all(|| Box::pin(smol_sleep())));
}

#[test]
fn on_a_smol_task() {
    smol::block_on(smol::spawn(all(|| Box::pin(smol_sleep()))));
}

#[test]
fn on_futures_block_on() {
    futures_executor::block_on(all(thread_sleep));
}

#[test]
fn on_futures_local_pool() {
    futures_executor::LocalPool::new().run_until(all(thread_sleep));
}

#[test]
fn on_futures_thread_pool() {
    let pool = futures_executor::ThreadPool::builder().pool_size(2).create().unwrap();
    let (done, wait) = futures_channel::oneshot::channel();
    pool.spawn_ok(async move {
        all(thread_sleep).await;
        done.send(()).unwrap();
    });
    futures_executor::block_on(wait).unwrap();
}

#[test]
fn on_pollster() {
    pollster::block_on(all(thread_sleep));
}

/// A task that counts itself, and goes on until it is aborted.
async fn endless(inside: Inside) -> Result<(), &'static str> {
    let _inside = inside;
    loop {
        tokio::task::yield_now().await;
    }
}

#[test]
fn tokio_tasks_are_aborted_and_waited_for() {
    for threads in [0, 2] {
        let mut builder = match threads {
            0 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        let runtime = builder.build().unwrap();
        runtime.block_on(async {
            let alive = Alive::default();
            let tasks: Vec<_> = (0..10)
                .map(|_| {
                    tokio::spawn(endless(alive.enter())).on_cancel(|task| task.abort()).map(|joined| match joined {
                        Ok(result) => result,
                        Err(error) if error.is_cancelled() => Err("aborted"),
                        Err(error) => panic!("{error}"),
                    })
                })
                .collect();
            let failing = async {
                tokio::task::yield_now().await;
                Err::<(), _>("failed")
            };
            assert_eq!(gather((gather(tasks).nested(), failing)).await, Err("failed"));
            assert_eq!(alive.count(), 0, "the tasks are really gone");
        });
    }
}

#[test]
fn tokio_tasks_are_restarted_one_generation_at_a_time() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let alive = Alive::default();
        let group = restart(Limit::restarts(100), || {
            assert_eq!(alive.count(), 0, "the tasks of the old generation are gone");
            let task =
                tokio::spawn(endless(alive.enter())).on_cancel(|task| task.abort()).map(|_| Err::<(), _>("aborted"));
            let failing = async {
                tokio::task::yield_now().await;
                Err::<(), _>("failed")
            };
            (task, failing)
        });
        assert_eq!(group.await.unwrap_err().into_source(), "failed");
        assert_eq!(alive.count(), 0);
    });
}

/// A task of smol is cancelled by consuming it: a child by hand says how.
enum SmolTask<T> {
    Running(Option<smol::Task<T>>),
    Cancelling(Pin<Box<dyn Future<Output = Option<T>> + Send>>),
}

impl<T: Send + 'static> Child for SmolTask<T> {
    type Output = T;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match self.get_mut() {
            SmolTask::Running(Some(task)) => Pin::new(task).poll(cx),
            _ => unreachable!(),
        }
    }

    fn cancel(mut self: Pin<&mut Self>) -> OnCancel {
        if let SmolTask::Running(task) = &mut *self {
            let cancelling = Box::pin(task.take().unwrap().cancel());
            self.set(SmolTask::Cancelling(cancelling));
        }
        OnCancel::Drain
    }

    fn poll_drain(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        match self.get_mut() {
            SmolTask::Cancelling(cancelling) => cancelling.as_mut().poll(cx),
            SmolTask::Running(_) => unreachable!(),
        }
    }
}

#[test]
fn smol_tasks_are_cancelled_and_waited_for() {
    smol::block_on(async {
        let alive = Alive::default();
        let group = restart(Limit::restarts(20), || {
            assert_eq!(alive.count(), 0, "the tasks of the old generation are gone");
            let tasks: Vec<_> = (0..10)
                .map(|_| {
                    let inside = alive.enter();
                    SmolTask::Running(Some(smol::spawn(async move {
                        let _inside = inside;
                        loop {
                            smol::future::yield_now().await;
                        }
                        #[allow(unreachable_code)]
                        Ok::<(), &str>(())
                    })))
                })
                .collect();
            let failing = async {
                smol::future::yield_now().await;
                Err::<(), _>("failed")
            };
            (gather(tasks).nested(), failing)
        });
        assert_eq!(group.await.unwrap_err().into_source(), "failed");
        assert_eq!(alive.count(), 0, "the tasks are really gone");
    });
}
