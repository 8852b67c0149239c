//! One HTTP/1.1 request and its response: as much of HTTP as a token endpoint and a schema registry
//! need (RFC 9112).
//!
//! 1. One connection for one request; no redirects, no proxies, no cookies.
//! 2. Head and body of the response are bounded, and so is the time.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::network::NetworkErrorKind;
use crate::network::tls::Tls;

/// An `http` or `https` address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) is_secure: bool,
    host: String,
    port: u16,
    /// Path and query.
    target: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// How long each part of it may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) connect: Duration,
    pub(crate) read: Duration,
}

const HEAD_BYTES_MAX: usize = 64 * 1024;
const BODY_BYTES_MAX: usize = 1024 * 1024;

impl Url {
    /// Takes an address apart.
    ///
    /// # Errors
    /// It is none, or of another scheme, or carries a login or a fragment.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("it has no https:// in front")?;
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            other => return Err(format!("{other} is not a scheme that is known; https is")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let is_clean = |c: char| c.is_ascii_graphic() && c != '#';
        if authority.contains('@') || !text.chars().all(is_clean) {
            return Err("it may hold no login, no fragment and no blanks".to_owned());
        }
        let default_port = if is_secure { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| "its port is no number".to_owned())?)
            }
            _ => (authority, default_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || port == 0 {
            return Err("it names no host".to_owned());
        }
        let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { is_secure, host, port, target })
    }

    /// Its host and port.
    pub(crate) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct HttpFault {
    pub(crate) reason: String,
    /// Asking again won't help until somebody changes something.
    pub(crate) is_final: bool,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// `GET` or `POST`.
    pub(crate) method: &'a str,
    pub(crate) url: &'a Url,
    /// What may come back.
    pub(crate) accept: &'a str,
    /// Headers beside those that any request needs.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// What kind of body there is, and that; None for none.
    pub(crate) body: Option<(&'a str, &'a str)>,
}

/// Sends a request, and waits for its response; over TLS if there is one, as for each `https`
/// address.
///
/// # Errors
/// No connection, no answer in time, or none of HTTP.
pub(crate) async fn exchange(
    asked: Request<'_>,
    tls: Option<&Tls>,
    patience: Patience,
) -> Result<Response, HttpFault> {
    let url = asked.url;
    let at = url.authority();
    let failed = |what: String| HttpFault { reason: format!("{at}: {what}"), is_final: false };
    let connecting = TcpStream::connect((&*url.host, url.port));
    let connected = tokio::time::timeout(patience.connect, connecting).await;
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(failed(format!("can't connect: {error}"))),
        Err(_) => return Err(failed("can't connect: no answer in time".to_owned())),
    };
    let request = text_of(asked);
    let talking = async {
        if let Some(tls) = tls {
            let stream = tls.handshake(&url.host, stream, patience.connect).await;
            let stream = stream.map_err(|kind| untrusted(&kind, &at))?;
            talk(stream, &request).await.map_err(failed)
        } else {
            talk(stream, &request).await.map_err(failed)
        }
    };
    match tokio::time::timeout(patience.read, talking).await {
        Ok(result) => result,
        Err(_) => Err(failed("no answer in time".to_owned())),
    }
}

/// Why there is no TLS to the server. One that isn't trusted won't be the next time either.
fn untrusted(kind: &NetworkErrorKind, at: &str) -> HttpFault {
    let is_final = matches!(kind, NetworkErrorKind::TlsRefused(_));
    let told = kind.to_string().replace("the broker", "the server");
    HttpFault { reason: format!("{at}: {told}"), is_final }
}

fn text_of(asked: Request<'_>) -> Zeroizing<String> {
    let Request { method, url, accept, headers, body } = asked;
    let (target, host) = (&url.target, url.authority());
    let mut request = Zeroizing::new(format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\
         User-Agent: streamledger/{}\r\nConnection: close\r\n",
        env!("CARGO_PKG_VERSION"),
    ));
    if let Some((kind, content)) = body {
        let bytes = content.len();
        request.push_str(&format!("Content-Length: {bytes}\r\nContent-Type: {kind}\r\n"));
    }
    for (name, value) in headers {
        for part in [*name, ": ", value, "\r\n"] {
            request.push_str(part);
        }
    }
    request.push_str("\r\n");
    request.push_str(body.map_or("", |(_, content)| content));
    request
}

async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
) -> Result<Response, String> {
    let broken = |error: std::io::Error| error.to_string();
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut received = Zeroizing::new(Vec::new());
    loop {
        match parse(&received, false)? {
            Parsed::Whole(response) => return Ok(response),
            Parsed::Partial => {}
        }
        match stream.read_buf(&mut *received).await {
            Ok(0) => break,
            Ok(_) => {}
            // Many servers end TLS without a word; whether all came is seen below.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(broken(error)),
        }
    }
    match parse(&received, true)? {
        Parsed::Whole(response) => Ok(response),
        Parsed::Partial => Err("the answer ends too early".to_owned()),
    }
}

enum Parsed {
    Whole(Response),
    Partial,
}

/// Reads a response from what has come so far.
fn parse(received: &[u8], has_ended: bool) -> Result<Parsed, String> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(head_end) = received.windows(END.len()).position(|window| window == END) else {
        if received.len() > HEAD_BYTES_MAX {
            return Err("the answer's head is too long".to_owned());
        }
        return Ok(Parsed::Partial);
    };
    let head = std::str::from_utf8(&received[..head_end]).map_err(|_| not_http())?;
    let body = &received[head_end + END.len()..];
    let mut lines = head.split("\r\n");
    let status = status(lines.next().unwrap_or_default())?;
    if (100..200).contains(&status) {
        return parse(body, has_ended);
    }
    let header = |wanted: &str| {
        lines.clone().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    if body.len() > BODY_BYTES_MAX {
        return Err("the answer's body is too long".to_owned());
    }
    let whole =
        |body: &[u8]| Parsed::Whole(Response { status, body: Zeroizing::new(body.to_vec()) });
    if header("transfer-encoding").is_some_and(|how| how.eq_ignore_ascii_case("chunked")) {
        return Ok(chunked(body)?.map_or(Parsed::Partial, |body| whole(&body)));
    }
    match header("content-length") {
        Some(text) => {
            let bytes: usize = text.parse().map_err(|_| not_http())?;
            if bytes > BODY_BYTES_MAX {
                return Err("the answer's body is too long".to_owned());
            }
            Ok(body.get(..bytes).map_or(Parsed::Partial, whole))
        }
        None if has_ended => Ok(whole(body)),
        None => Ok(Parsed::Partial),
    }
}

fn status(line: &str) -> Result<u16, String> {
    let mut words = line.split(' ');
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    let status = words.next().and_then(|word| word.parse().ok());
    status.filter(|_| is_http).ok_or_else(not_http)
}

/// The body in chunks put together, if the last one is there.
fn chunked(body: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    let mut whole = Zeroizing::new(Vec::new());
    let mut rest = body;
    loop {
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else {
            return Ok(None);
        };
        let line = std::str::from_utf8(&rest[..end]).map_err(|_| not_http())?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| not_http())?;
        if size > BODY_BYTES_MAX {
            return Err("the answer's body is too long".to_owned());
        }
        rest = &rest[end + 2..];
        if size == 0 {
            return Ok(Some(whole));
        }
        let Some(chunk) = rest.get(..size + 2) else { return Ok(None) };
        whole.extend_from_slice(&chunk[..size]);
        rest = &rest[size + 2..];
    }
}

fn not_http() -> String {
    "the answer is not HTTP".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[test]
    fn an_address_is_taken_apart() {
        let url = Url::parse("https://idp.example.com/oauth/token?x=1").unwrap();
        assert_eq!(
            (&*url.host, url.port, &*url.target),
            ("idp.example.com", 443, "/oauth/token?x=1")
        );
        let url = Url::parse("http://[::1]:8080").unwrap();
        assert_eq!((&*url.authority(), &*url.target, url.is_secure), ("[::1]:8080", "/", false));
        assert_eq!(Url::parse("https://[::1]/x").unwrap().authority(), "[::1]:443");
        for wrong in ["idp", "ftp://x", "https://", "https://a@b/", "https://h:x/", "https://h/ x"]
        {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
    }

    fn body(received: &str, has_ended: bool) -> Option<(u16, String)> {
        match parse(received.as_bytes(), has_ended).unwrap() {
            Parsed::Whole(response) => {
                Some((response.status, String::from_utf8(response.body.to_vec()).unwrap()))
            }
            Parsed::Partial => None,
        }
    }

    #[test]
    fn a_body_ends_by_its_length_its_chunks_or_with_the_connection() {
        let found = |status, text: &str| Some((status, text.to_owned()));
        let text = "HTTP/1.1 200 OK\r\nContent-length: 3\r\n\r\nabc";
        assert_eq!(body(text, false), found(200, "abc"));
        assert_eq!(body(&text[..text.len() - 1], true), None);
        let text = "HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n\
                    2;x=y\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        assert_eq!(body(text, false), found(401, "abc"));
        assert_eq!(body(&text[..text.len() - 6], true), None);
        let text = "HTTP/1.0 500 Oh\r\n\r\nabc";
        assert_eq!((body(text, false), body(text, true)), (None, found(500, "abc")));
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(body(text, false), found(200, ""));
    }

    #[rstest]
    #[case("SSH-2.0\r\n\r\n")]
    #[case("HTTP/1.1 OK\r\n\r\n")]
    #[case("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")]
    #[case("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n")]
    fn what_is_not_http_or_too_much_is_refused(#[case] received: &str) {
        assert!(parse(received.as_bytes(), true).is_err());
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(
            head in "HTTP/1\\.1 [0-9]{3} \r\n\
                     (content-length: [0-9]{0,9}|transfer-encoding: chunked)",
            body in "\r\n\r\n[0-9a-f\r\n;]{0,40}",
        ) {
            let _ = parse((head + &body).as_bytes(), true);
        }
    }
}
