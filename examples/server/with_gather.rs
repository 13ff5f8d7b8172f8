//! The server as a group: its connections are children, drawn from the listener.

use futures_util::{StreamExt, stream};
use gather::{CancelExt, from_stream, gather};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::{Limits, Stats, accept, answer, http};

pub async fn serve(listener: TcpListener, limits: Limits, shutdown: impl Future<Output = ()>, stats: &Stats) {
    let http = http();
    let connections = stream::unfold(listener, async |listener| Some((accept(&listener, stats).await, listener)));
    let server = gather(from_stream(connections.map(|connection| {
        http.serve_connection(TokioIo::new(connection), service_fn(answer))
            .on_cancel(|connection| connection.graceful_shutdown())
            .map(|result| stats.ended(result))
    })))
    // A connection that fails does not end the others.
    .settle()
    .concurrency(limits.connections)
    // Closes the listener, then tells the connections.
    .cancel_when(shutdown)
    .grace(|| sleep(limits.grace));
    let _ = server.await;
}
