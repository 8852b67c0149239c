//! One connection: requests in, looked at in order, answers out in the same order.
//!
//! 1. Reading and writing go on side by side in one task; between them is a queue of answers, not
//!    all of which are known yet. Its length bounds what a client may ask ahead.
//! 2. A request is looked at (appended, read, decided) before the next is read: effects are in
//!    order. Only waiting is left to the queue.
//! 3. When reading ends, for whatever reason, what was asked before is still answered.

use std::sync::Arc;

use futures_util::future::{Either, select};
use thiserror::Error;
use tokio::io::AsyncRead;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use super::frame_reader::{FrameReader, ReadFailure};
use super::listener::Serving;
use super::log_limit::LogLimit;
use super::response_writer::{WriteFailure, write_responses};
use crate::api::{CloseReason, Connection, Reply, dispatch};
use crate::node::{Endpoint, Node};

/// Why a connection ended.
#[derive(Debug, Error)]
pub(super) enum End {
    #[error("closed by the client")]
    ByClient,
    #[error("the broker is stopping")]
    Stopping,
    #[error(transparent)]
    Read(#[from] ReadFailure),
    #[error(transparent)]
    Request(#[from] CloseReason),
    #[error(transparent)]
    Write(#[from] WriteFailure),
}

/// Serves a connection until it ends.
pub(super) async fn serve(
    node: Arc<Node>,
    mut stream: TcpStream,
    endpoint: Endpoint,
    serving: Serving,
) {
    let Serving { budgets, stopping, warnings, .. } = serving;
    let Ok(peer) = stream.peer_addr() else { return };
    // Answers are small and waited for: never held back for more.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "connection refuses TCP_NODELAY");
    }
    let network = node.settings.network.clone();
    let (read_half, mut write_half) = stream.split();
    let reader = FrameReader::new(read_half, &network, budgets);
    let (queue, answers) = mpsc::channel(network.requests_in_flight_max);
    let (closing, closing_seen) = watch::channel(false);
    let connection = Arc::new(Connection { peer, endpoint, closing: closing_seen });
    let reading = std::pin::pin!(async {
        let end = read_requests(&node, &connection, reader, queue, stopping).await;
        // Nobody waits for long polls any more: they answer with what they have.
        closing.send_replace(true);
        end
    });
    let writing =
        std::pin::pin!(write_responses(&mut write_half, answers, network.response_write_timeout));
    let end = match select(reading, writing).await {
        Either::Left((end, writing)) => {
            // What was asked before is still answered.
            match (writing.await, end) {
                (Err(failure), End::ByClient | End::Stopping) => failure.into(),
                (_, end) => end,
            }
        }
        Either::Right((Err(failure), _)) => failure.into(),
        Either::Right((Ok(()), reading)) => reading.await,
    };
    log(&connection, &end, &warnings);
}

async fn read_requests<R: AsyncRead + Unpin>(
    node: &Arc<Node>,
    connection: &Arc<Connection>,
    mut reader: FrameReader<'_, R>,
    queue: mpsc::Sender<Reply>,
    mut stopping: watch::Receiver<bool>,
) -> End {
    loop {
        let frame = tokio::select! {
            biased;
            _ = stopping.wait_for(|&stopping| stopping) => return End::Stopping,
            frame = reader.next() => match frame {
                Ok(Some(frame)) => frame,
                Ok(None) => return End::ByClient,
                Err(failure) => return failure.into(),
            },
        };
        let reply = match dispatch(node, connection, frame.bytes).await {
            Ok(reply) => reply,
            Err(reason) => return reason.into(),
        };
        // The records are in the log, or sliced into the answer: their memory is free again.
        drop(frame.permit);
        if matches!(reply, Reply::Nothing) {
            continue;
        }
        if queue.send(reply).await.is_err() {
            return End::ByClient;
        }
    }
}

/// Says why a connection ended, loudly only where somebody did something wrong, and not too often.
fn log(connection: &Connection, end: &End, warnings: &LogLimit) {
    let peer = connection.peer;
    match end {
        End::ByClient | End::Stopping => debug!(%peer, "connection: {end}"),
        End::Read(ReadFailure::Io(_) | ReadFailure::CutShort | ReadFailure::Idle)
        | End::Write(WriteFailure::Io(_)) => debug!(%peer, "connection lost: {end}"),
        End::Request(CloseReason::Fault) | End::Write(WriteFailure::Closed(CloseReason::Fault)) => {
            info!(%peer, "connection closed: {end}");
        }
        End::Read(_) | End::Request(_) | End::Write(_) if warnings.allows() => {
            warn!(%peer, "connection closed: {end}");
        }
        End::Read(_) | End::Request(_) | End::Write(_) => {
            debug!(%peer, "connection closed: {end}");
        }
    }
}
