//! The same server by tokio's own means: a task for each connection, a tracker, tokens, a semaphore.

use std::pin::pin;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Limits, Stats, accept, answer, http};

pub async fn serve(listener: TcpListener, limits: Limits, shutdown: impl Future<Output = ()>, stats: &Arc<Stats>) {
    let http = http();
    let room = Arc::new(Semaphore::new(limits.connections));
    let tasks = TaskTracker::new();
    let (told, cut_off) = (CancellationToken::new(), CancellationToken::new());
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            let permit = room.clone().acquire_owned().await.expect("it is never closed");
            (permit, accept(&listener, stats).await)
        };
        let (permit, connection) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accepted => accepted,
        };
        let connection = http.serve_connection(TokioIo::new(connection), service_fn(answer));
        let (told, stats) = (told.clone(), stats.clone());
        let job = async move {
            let _permit = permit;
            let mut connection = pin!(connection);
            let result = tokio::select! {
                biased;
                () = told.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
                result = connection.as_mut() => result,
            };
            stats.ended(result);
        };
        tasks.spawn(cut_off.clone().run_until_cancelled_owned(job));
    }
    drop(listener);
    told.cancel();
    tasks.close();
    if timeout(limits.grace, tasks.wait()).await.is_err() {
        cut_off.cancel();
        tasks.wait().await;
    }
}
