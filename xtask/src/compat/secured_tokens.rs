//! Where the tokens of OAUTHBEARER come from in the scenario `secured`: an OAuth server on loopback
//! that gives one to who has the secret, and a provider written in Rust.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use streamledger::{Token, TokenError, TokenFuture, TokenProvider};

use super::lab::LIMIT;
use crate::failure::{Failure, Outcome};

/// What a client must know to be given a token; the blanks and signs go through as they are.
pub(super) const CLIENT_ID: &str = "streamledger";
pub(super) const CLIENT_SECRET: &str = "client+secret: 1";
pub(super) const SCOPE: &str = "kafka write";

/// A token's life: far longer than a run.
const LIFE: Duration = Duration::from_secs(3600);
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Gives tokens by client credentials (RFC 6749, section 4.4) as long as the run lasts.
pub(super) struct TokenEndpoint {
    pub(super) url: String,
    given: Arc<AtomicUsize>,
}

impl TokenEndpoint {
    pub(super) fn start() -> Outcome<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let url = format!("http://{}/oauth2/token", listener.local_addr()?);
        let given = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&given);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who hangs up is not answered, and asks again.
                if answer(&stream).unwrap_or(false) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(Self { url, given })
    }

    /// How many tokens it has given.
    pub(super) fn given(&self) -> usize {
        self.given.load(Ordering::Relaxed)
    }
}

/// Reads one request and answers it; whether by a token.
fn answer(mut stream: &TcpStream) -> Outcome<bool> {
    stream.set_read_timeout(Some(LIMIT))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let is_post = line.starts_with("POST /oauth2/token HTTP/1.1");
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let header = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
    let bytes: usize = header("content-length").parse()?;
    let mut form = vec![0; bytes.min(BODY_BYTES_MAX)];
    reader.read_exact(&mut form)?;
    let pair = Base64::encode_string(format!("{CLIENT_ID}:{CLIENT_SECRET}").as_bytes());
    let asked = "grant_type=client_credentials&scope=kafka+write";
    let is_asked = is_post
        && header("content-type").starts_with("application/x-www-form-urlencoded")
        && form == asked.as_bytes();
    let (status, body) = if !is_asked {
        ("400 Bad Request", r#"{"error":"invalid_request"}"#.to_owned())
    } else if header("authorization") != format!("Basic {pair}") {
        ("401 Unauthorized", r#"{"error":"invalid_client"}"#.to_owned())
    } else {
        let (token, seconds) = (unsigned("alice")?, LIFE.as_secs());
        let kind = r#""token_type":"Bearer""#;
        ("200 OK", format!(r#"{{"access_token":"{token}",{kind},"expires_in":{seconds}}}"#))
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(status.starts_with("200"))
}

/// A token of that user that nobody signed (RFC 7519, section 6), as Kafka's validator for tests
/// takes it.
fn unsigned(user: &str) -> Outcome<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let end = now + LIFE.as_secs();
    let claims = format!(r#"{{"sub":"{user}","iat":{now},"exp":{end}}}"#);
    let part = |text: &str| Base64UrlUnpadded::encode_string(text.as_bytes());
    Ok(format!("{}.{}.", part(r#"{"alg":"none"}"#), part(&claims)))
}

/// Has tokens made by another thread, and waits for them without blocking.
#[derive(Clone, Default)]
pub(super) struct Elsewhere {
    asked: Arc<AtomicUsize>,
}

impl Elsewhere {
    /// How many times it was asked.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl TokenProvider for Elsewhere {
    fn token(&self) -> TokenFuture<'_> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        thread::spawn(move || sender.send(unsigned("alice")));
        Box::pin(async {
            let made = receiver.await.unwrap_or_else(|_| Err(Failure::new("the thread ended")));
            let text = made.map_err(|failure| TokenError::fatal(failure.to_string()))?;
            Ok(Token::new(text).expiring_at(SystemTime::now() + LIFE))
        })
    }
}
