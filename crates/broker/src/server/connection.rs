//! One connection: requests in, looked at in order, answers out in the same order.
//!
//! 1. Reading and writing go on side by side in one task; between them is a queue of answers, not
//!    all of which are known yet. Its length bounds what a client may ask ahead.
//! 2. A request is looked at (appended, read, decided) before the next is read: effects are in
//!    order. Only waiting is left to the queue.
//! 3. When reading ends, for whatever reason, what was asked before is still answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use streamledger_broker_core::authorizer::Principal;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::answer_stream::{AnswerStream, CopyingStream, PlainStream, SendFailure};
use super::frame_reader::{FrameReader, ReadFailure};
use super::listener::{BoundListener, Serving};
use super::log_limit::LogLimit;
use super::response_writer::{Patience, WriteFailure, write_responses};
use super::tls::HandshakeFailure;
use crate::api::{CloseReason, Connection, Reply, dispatch};
use crate::authentication::Session;
use crate::config::Settings;
use crate::node::{Endpoint, Node};
use crate::quotas::ClientQuotas;

/// Why a connection ended.
#[derive(Debug, Error)]
pub(super) enum End {
    #[error("closed by the client")]
    ByClient,
    #[error("the broker is stopping")]
    Stopping,
    #[error("a login failed")]
    FailedLogin,
    #[error("nobody logged in in time")]
    NoLogin,
    #[error(transparent)]
    Handshake(#[from] HandshakeFailure),
    #[error(transparent)]
    Read(#[from] ReadFailure),
    #[error(transparent)]
    Request(#[from] CloseReason),
    #[error(transparent)]
    Write(#[from] WriteFailure),
}

/// A connection that was let in.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) endpoint: Endpoint,
    pub(super) listener: Arc<BoundListener>,
}

/// How long a TLS connection's goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Of the time that a stop has, this part is for readers to take the answers that are on their way;
/// the rest is for requests that are still worked on.
const STOP_PARTS: u32 = 4;

/// Serves a connection until it ends.
pub(super) async fn serve(node: Arc<Node>, opened: Opened, serving: Serving) {
    let Opened { mut stream, peer, endpoint, listener } = opened;
    // Answers are small and waited for: never held back for more.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "connection refuses TCP_NODELAY");
    }
    let warnings = Arc::clone(&serving.warnings);
    let end = match listener.tls() {
        None => {
            let (reader, writer) = stream.split();
            let session = listener.session(Principal::anonymous());
            let known = (peer, endpoint, session);
            converse(&node, known, reader, &mut PlainStream::new(&writer), serving).await
        }
        Some(tls) => {
            let mut stopping = serving.stopping.clone();
            let accepted = tokio::select! {
                biased;
                _ = stopping.wait_for(|&stopping| stopping) => return,
                accepted = tls.accept(stream, node.settings.network.handshake_timeout) => accepted,
            };
            match accepted {
                Ok((stream, principal)) => {
                    let (reader, mut writer) = tokio::io::split(stream);
                    let session = listener.session(principal);
                    let known = (peer, endpoint, session);
                    let answers = &mut CopyingStream::new(&mut writer);
                    let end = converse(&node, known, reader, answers, serving).await;
                    // So that the other side knows nothing was cut off; if it is gone, so be it.
                    let _ = timeout(GOODBYE, writer.shutdown()).await;
                    end
                }
                Err(failure) => failure.into(),
            }
        }
    };
    log(peer, &end, &warnings);
}

/// Requests in, answers out, until one of both ends.
async fn converse<R: AsyncRead + Unpin, S: AnswerStream>(
    node: &Arc<Node>,
    (peer, endpoint, session): (SocketAddr, Endpoint, Session),
    reader: R,
    writer: &mut S,
    serving: Serving,
) -> End {
    let network = node.settings.network.clone();
    let stopping = serving.stopping.clone();
    let reader = FrameReader::new(reader, &network, serving.budgets);
    let (queue, answers) = mpsc::channel(network.requests_in_flight_max);
    let (closing, closing_seen) = watch::channel(false);
    let quotas = ClientQuotas::default();
    let connection = Connection { peer, endpoint, session, quotas, closing: closing_seen };
    let connection = Arc::new(connection);
    let reading = std::pin::pin!(async {
        let end = read_requests(node, &connection, reader, queue, serving.stopping).await;
        // Nobody waits for long polls any more: they answer with what they have.
        closing.send_replace(true);
        end
    });
    let patience = Patience {
        reader: network.response_write_timeout,
        after_stop: node.settings.shutdown_timeout / STOP_PARTS,
        stopping,
    };
    let writing = std::pin::pin!(write_responses(writer, answers, patience));
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
    let principal = connection.session.principal();
    debug!(peer = %connection.peer, %principal, "conversation over");
    end
}

async fn read_requests<R: AsyncRead + Unpin>(
    node: &Arc<Node>,
    connection: &Arc<Connection>,
    mut reader: FrameReader<'_, R>,
    queue: mpsc::Sender<Reply>,
    mut stopping: watch::Receiver<bool>,
) -> End {
    let session = &connection.session;
    let login_deadline = Instant::now() + node.settings.network.handshake_timeout;
    loop {
        // What a client sends in that time waits in its socket, not in our memory.
        if let Some(end) = wait_while_muted(connection, &node.settings, &mut stopping).await {
            return end;
        }
        reader.restrict(session.request_bytes_max());
        let frame = tokio::select! {
            biased;
            _ = stopping.wait_for(|&stopping| stopping) => return End::Stopping,
            () = sleep_until(login_deadline), if !session.is_known() => return End::NoLogin,
            frame = reader.next() => match frame {
                Ok(Some(frame)) => frame,
                Ok(None) => return End::ByClient,
                Err(failure) => return failure.into(),
            },
        };
        // Read ahead of an answer that told its client to wait.
        if let Some(end) = wait_while_muted(connection, &node.settings, &mut stopping).await {
            return end;
        }
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
        if session.has_failed() {
            return End::FailedLogin;
        }
    }
}

/// Waits until the client's quotas let more in; gives the end of the connection if that is first.
async fn wait_while_muted(
    connection: &Connection,
    settings: &Settings,
    stopping: &mut watch::Receiver<bool>,
) -> Option<End> {
    let idle_at = Instant::now() + settings.network.idle_max;
    while let Some(until) = connection.quotas.muted_until() {
        tokio::select! {
            biased;
            _ = stopping.wait_for(|&stopping| stopping) => return Some(End::Stopping),
            () = sleep_until(until.min(idle_at)) => {}
        }
        if Instant::now() >= idle_at {
            return Some(ReadFailure::Idle.into());
        }
    }
    None
}

/// Says why a connection ended, loudly only where somebody did something wrong, and not too often.
fn log(peer: SocketAddr, end: &End, warnings: &LogLimit) {
    match end {
        End::ByClient | End::Stopping => debug!(%peer, "connection: {end}"),
        End::Read(ReadFailure::Io(_) | ReadFailure::CutShort | ReadFailure::Idle)
        | End::Write(WriteFailure::Stopping | WriteFailure::Send(SendFailure::Socket(_))) => {
            debug!(%peer, "connection lost: {end}");
        }
        End::Request(CloseReason::Fault) | End::Write(WriteFailure::Closed(CloseReason::Fault)) => {
            info!(%peer, "connection closed: {end}");
        }
        End::Read(_)
        | End::Request(_)
        | End::Write(_)
        | End::Handshake(_)
        | End::FailedLogin
        | End::NoLogin
            if warnings.allows() =>
        {
            warn!(%peer, "connection closed: {end}");
        }
        _ => debug!(%peer, "connection closed: {end}"),
    }
}
