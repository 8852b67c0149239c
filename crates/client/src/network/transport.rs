//! The bytes under the frames: a TCP connection, in the clear or encrypted.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

use super::{NetworkConfig, NetworkError, NetworkErrorKind};
use crate::config::ServerAddress;

/// A connection that carries bytes both ways.
#[derive(Debug)]
pub(super) enum Transport {
    /// In the clear.
    Plain(TcpStream),
    /// Encrypted. In a box, as it is fifty times as large.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// Connects, and encrypts the connection if that is asked for.
    ///
    /// # Errors
    /// No connection, or no TLS over it; says why.
    pub(super) async fn open(
        address: &Arc<ServerAddress>,
        config: &NetworkConfig,
        setup_timeout: Duration,
    ) -> Result<Self, NetworkError> {
        let stream = Self::reach(address, config, setup_timeout).await?;
        let Some(tls) = &config.security.tls else { return Ok(Self::Plain(stream)) };
        let encrypted = tls.handshake(&address.host, stream, setup_timeout).await;
        let encrypted = encrypted.map_err(|kind| NetworkError::not_sent(address, kind))?;
        Ok(Self::Tls(Box::new(encrypted)))
    }

    /// Resolves the name anew (a broker's address may have changed) and tries each of its
    /// addresses.
    ///
    /// # Errors
    /// The name has no address, or none of them took the connection; names each with its reason.
    async fn reach(
        address: &Arc<ServerAddress>,
        config: &NetworkConfig,
        setup_timeout: Duration,
    ) -> Result<TcpStream, NetworkError> {
        let not_sent = |kind| NetworkError::not_sent(address, kind);
        let resolved = tokio::time::timeout(setup_timeout, resolve(address)).await;
        let resolved = resolved.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let resolved = resolved.map_err(|r| not_sent(NetworkErrorKind::Unresolved(r)))?;
        let mut reasons = Vec::new();
        let mut timeouts = 0;
        for socket_address in &resolved {
            match tokio::time::timeout(setup_timeout, connect(*socket_address, config)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => reasons.push(format!("{socket_address}: {error}")),
                Err(_) => {
                    timeouts += 1;
                    reasons.push(format!("{socket_address}: no answer"));
                }
            }
        }
        if timeouts == resolved.len() {
            return Err(not_sent(NetworkErrorKind::ConnectTimeout(setup_timeout)));
        }
        Err(not_sent(NetworkErrorKind::NotConnected(reasons.join("; "))))
    }
}

/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

async fn resolve(address: &ServerAddress) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = address.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, address.port)]);
    }
    let found = tokio::net::lookup_host((&*address.host, address.port)).await;
    let mut addresses: Vec<_> = Vec::new();
    for found in found.map_err(|error| error.to_string())? {
        if addresses.len() < ADDRESSES_MAX && !addresses.contains(&found) {
            addresses.push(found);
        }
    }
    if addresses.is_empty() { Err("it has no address".to_owned()) } else { Ok(addresses) }
}

async fn connect(address: SocketAddr, config: &NetworkConfig) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(bytes) = config.send_buffer_bytes {
        socket.set_send_buffer_size(saturating_u32(bytes))?;
    }
    if let Some(bytes) = config.receive_buffer_bytes {
        socket.set_recv_buffer_size(saturating_u32(bytes))?;
    }
    let stream = socket.connect(address).await?;
    // With a port from the ephemeral range and nobody listening, TCP may connect to itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    give_up_unacknowledged_after(&stream, config.request_timeout)?;
    Ok(stream)
}

fn saturating_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Lets the system end a connection whose other side is gone without a word, as TCP alone would
/// send again for a quarter of an hour.
#[cfg(target_os = "linux")]
fn give_up_unacknowledged_after(stream: &TcpStream, timeout: Duration) -> io::Result<()> {
    let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
    rustix::net::sockopt::set_tcp_user_timeout(stream, millis)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn give_up_unacknowledged_after(_stream: &TcpStream, _timeout: Duration) -> io::Result<()> {
    Ok(())
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
