//! Where the keys of tokens come from: a file, or one GET of HTTP/1.1 (RFC 9112). Blocks.
//!
//! One connection for one request; no redirects, no proxies. Head, body and time are bounded.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use streamledger_protocol::pem;

use crate::config::{KeyPlace, KeySource};

/// The most bytes that are read of a file or an answer.
const BYTES_MAX: usize = 1 << 20;
/// How long it may take to connect and to answer, together.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads the keys, as text.
///
/// # Errors
/// Says what went wrong, and with whom.
pub(super) fn fetch(source: &KeySource) -> Result<Vec<u8>, String> {
    match &source.place {
        KeyPlace::File(path) => {
            read_file(path).map_err(|error| format!("{}: {error}", path.display()))
        }
        KeyPlace::Http { is_secure, host, port, target } => {
            let at = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            let request = format!(
                "GET {target} HTTP/1.1\r\nHost: {at}:{port}\r\nAccept: application/json\r\n\
                 User-Agent: streamledger/{}\r\nConnection: close\r\n\r\n",
                env!("CARGO_PKG_VERSION")
            );
            let authorities = source.authorities.as_deref();
            let answered = ask(*is_secure, (host, *port), authorities, &request);
            answered.and_then(|answer| body(&answer)).map_err(|why| format!("{at}:{port}: {why}"))
        }
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > BYTES_MAX {
        true => Err(io::Error::other("it is too long")),
        false => Ok(bytes),
    }
}

fn ask(
    is_secure: bool,
    (host, port): (&str, u16),
    authorities: Option<&Path>,
    request: &str,
) -> Result<Vec<u8>, String> {
    let until = Instant::now() + PATIENCE;
    let mut last = "it has no address".to_owned();
    for address in (host, port).to_socket_addrs().map_err(told)? {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                let stream = InTime { stream, until };
                return match is_secure {
                    true => exchange(over_tls(host, stream, authorities)?, request),
                    false => exchange(stream, request),
                };
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

/// A connection whose reads and writes end at a moment, all together.
struct InTime {
    stream: TcpStream,
    until: Instant,
}

impl InTime {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
            false => Ok(Some(left)),
        }
    }
}

impl Read for InTime {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for InTime {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn over_tls(
    host: &str,
    stream: InTime,
    authorities: Option<&Path>,
) -> Result<StreamOwned<ClientConnection, InTime>, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(path) => {
            let text = read_file(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let text = String::from_utf8(text).map_err(|error| error.to_string())?;
            for section in pem::sections(&text)?.into_iter().filter(|s| s.label == "CERTIFICATE") {
                let certificate = CertificateDer::from(section.der.to_vec());
                roots.add(certificate).map_err(|error| error.to_string())?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection =
        ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
    Ok(StreamOwned::new(connection, stream))
}

/// What went wrong, in words that help who runs the broker.
#[expect(clippy::needless_pass_by_value, reason = "it ends errors, in `map_err`")]
fn told(error: io::Error) -> String {
    use rustls::{CertificateError, Error};
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "its certificate is signed by nobody who is trusted here; ssl.truststore.location \
             among the options of the login module in sasl.jaas.config names whom to trust"
                .to_owned()
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "its certificate is not valid for the name in the address".to_owned(),
        Some(Error::InvalidMessage(_)) => "what answers doesn't speak TLS".to_owned(),
        _ => error.to_string(),
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> Result<Vec<u8>, String> {
    stream.write_all(request.as_bytes()).map_err(told)?;
    stream.flush().map_err(told)?;
    let mut answer = Vec::new();
    match (&mut stream).take(BYTES_MAX as u64 + 1).read_to_end(&mut answer) {
        Ok(_) => {}
        // Many servers end TLS without a word; whether all came is seen by the answer's length.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        Err(error) => return Err(told(error)),
    }
    match answer.len() > BYTES_MAX {
        true => Err("the answer is too long".to_owned()),
        false => Ok(answer),
    }
}

/// The body of a whole answer that says 200.
fn body(answer: &[u8]) -> Result<Vec<u8>, String> {
    const END: &[u8] = b"\r\n\r\n";
    let no_http = || "the answer is not HTTP, or not whole".to_owned();
    let end = answer.windows(END.len()).position(|part| part == END).ok_or_else(no_http)?;
    let (head, rest) = answer.split_at(end);
    let rest = rest.get(END.len()..).unwrap_or_default();
    let head = std::str::from_utf8(head).map_err(|_| no_http())?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    let status = words.next().unwrap_or_default();
    if !is_http || status != "200" {
        return Err(format!("the answer has status {status:.8}, not 200"));
    }
    let header = |wanted: &str| {
        lines.clone().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    if header("transfer-encoding").is_some_and(|how| how.eq_ignore_ascii_case("chunked")) {
        return chunked(rest).ok_or_else(no_http);
    }
    match header("content-length") {
        Some(length) => {
            let length: usize = length.parse().map_err(|_| no_http())?;
            rest.get(..length).map(<[u8]>::to_vec).ok_or_else(no_http)
        }
        None => Ok(rest.to_vec()),
    }
}

fn chunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = rest.windows(2).position(|part| part == b"\r\n")?;
        let line = std::str::from_utf8(rest.get(..end)?).ok()?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        rest = rest.get(end + 2..)?;
        if size == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_body_is_whole_or_none() {
        let told = |answer: &str| body(answer.as_bytes()).map(|b| String::from_utf8(b).unwrap());
        assert_eq!(told("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc"), Ok("ab".to_owned()));
        assert_eq!(told("HTTP/1.1 200 OK\r\n\r\nabc"), Ok("abc".to_owned()));
        let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n";
        assert!(told(chunks).is_err());
        assert_eq!(told(&format!("{chunks}0\r\n\r\n")), Ok("abc".to_owned()));
        for broken in ["", "HTTP/1.1 404 No\r\n\r\n", "SSH-2.0\r\n\r\n", "HTTP/1.1 200\r\n"] {
            assert!(told(broken).is_err(), "{broken}");
        }
        assert!(told("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").is_err());
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(rest in "(\r\n|[0-9a-f;]|content-length: 9){0,40}") {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let _ = body(format!("{head}{rest}").as_bytes());
            let _ = body(format!("HTTP/1.1 200 OK\r\n{rest}").as_bytes());
        }
    }
}
