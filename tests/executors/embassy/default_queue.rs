//! What the default queue of embassy's timers says to a `Vec` of children. Alone in its process: it panics under the lock
//! of the timers.

#![cfg(not(feature = "generic-queue"))]

use embassy_time::Timer;
use gather::gather;

#[embassy_executor::task]
async fn task() {
    let child = async {
        Timer::after_millis(1).await;
        Ok::<(), ()>(())
    };
    let _ = gather(vec![child]).await;
}

#[test]
#[should_panic(expected = "Found waker not created by the Embassy executor")]
fn wants_the_wakers_of_the_executor() {
    let executor = Box::leak(Box::new(embassy_executor::Executor::new()));
    executor.run(|spawner| spawner.spawn(task().unwrap()));
}
