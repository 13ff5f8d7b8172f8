//! The error of the handle does not become the error of the job.

use gather::{CancelExt, gather};

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let task = tokio::spawn(async { Err::<(), _>("failed") });
        let _ = gather([task.on_cancel(|task| task.abort()).flatten()]).await;
    });
}
