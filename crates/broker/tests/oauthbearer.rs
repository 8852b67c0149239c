//! Logins by token (OAUTHBEARER): our own client is let in, and who has no good token is not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/tls.rs"]
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use bytes::Bytes;
use common::{RawClient, wait_until};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use streamledger::{Admin, AdminConfig, Properties};
use streamledger_broker::{Broker, BrokerConfig, RunningBroker};
use streamledger_broker_core::config::UNSIGNED_TOKENS;
use streamledger_protocol::ErrorCode;
use streamledger_protocol::messages::{
    MetadataRequest, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
};
use tls::{Authority, Files};

const INVALID: &str = "{\"status\":\"invalid_token\"}";
const PATIENCE: Duration = Duration::from_secs(60);

/// Who makes tokens.
struct Issuer {
    key: EcdsaKeyPair,
    id: String,
}

impl Issuer {
    fn named(id: &str) -> Self {
        let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap();
        Self { key, id: id.to_owned() }
    }

    fn keys(&self) -> String {
        let point = self.key.public_key().as_ref();
        let part = |bytes| Base64UrlUnpadded::encode_string(bytes);
        let (x, y, id) = (part(&point[1..33]), part(&point[33..]), &self.id);
        format!(
            "{{\"keys\":[{{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"{id}\",\"x\":\"{x}\",\
             \"y\":\"{y}\"}}]}}"
        )
    }

    /// A token about somebody, good for so many seconds, with further claims.
    fn token(&self, user: &str, seconds: i64, more: &str) -> String {
        let header = format!("{{\"alg\":\"ES256\",\"kid\":\"{}\"}}", self.id);
        let text = format!("{}.{}", encoded(&header), claims(user, seconds, more));
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", Base64UrlUnpadded::encode_string(signature.as_ref()))
    }
}

fn encoded(text: &str) -> String {
    Base64UrlUnpadded::encode_string(text.as_bytes())
}

fn claims(user: &str, seconds: i64, more: &str) -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let now = i64::try_from(since.as_secs()).unwrap();
    let end = now + seconds;
    encoded(&format!("{{\"sub\":\"{user}\",\"iat\":{now},\"exp\":{end}{more}}}"))
}

fn unsigned(user: &str) -> String {
    format!("{}.{}.", encoded("{\"alg\":\"none\"}"), claims(user, 600, ""))
}

/// An endpoint that answers each request with what is put there, if anything is.
struct Endpoint {
    address: SocketAddr,
    answer: Arc<Mutex<Option<String>>>,
}

/// What the broker has logged in this test program.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn is_logged(sentence: &str) -> bool {
    String::from_utf8_lossy(&LOG.lock().unwrap()).contains(sentence)
}

impl Endpoint {
    fn start(answer: Option<String>) -> Self {
        Self::serve(answer, None)
    }

    /// With TLS, and a certificate of these files' authority for a name.
    fn with_tls(files: &Files, name: &str, answer: String) -> Self {
        let pem = files.authority.sign(name);
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key);
        Self::serve(Some(answer), Some(Arc::new(server.unwrap())))
    }

    fn serve(answer: Option<String>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(answer));
        let told = Arc::clone(&answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let body = told.lock().unwrap().clone();
                match tls.clone() {
                    None => answer_with(&mut stream, body),
                    Some(tls) => {
                        let session = ServerConnection::new(tls).unwrap();
                        answer_with(&mut StreamOwned::new(session, stream), body);
                    }
                }
            }
        });
        Self { address, answer }
    }

    fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    fn secure_url(&self) -> String {
        format!("https://localhost:{}/keys", self.address.port())
    }
}

/// Answers one request, if its handshake comes to an end and there is an answer.
fn answer_with(stream: &mut (impl std::io::Read + std::io::Write), body: Option<String>) {
    let mut asked = [0; 1024];
    if !matches!(stream.read(&mut asked), Ok(1..)) {
        return;
    }
    let Some(body) = body else { return };
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    let _ = stream.write_all((head + &body).as_bytes());
    let _ = stream.flush();
}

fn started(settings: &[(&str, &str)]) -> Result<RunningBroker, String> {
    let config = BrokerConfig::builder()
        .listen("SASL_PLAINTEXT://127.0.0.1:0")
        .property("sasl.enabled.mechanisms", "OAUTHBEARER")
        .property("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", "50")
        .properties(settings.iter().copied())
        .build()
        .map_err(|error| error.to_string())?;
    Broker::start(config).map_err(|error| error.to_string())
}

fn broker_with_keys(url: &str, settings: &[(&str, &str)]) -> RunningBroker {
    let url = ("sasl.oauthbearer.jwks.endpoint.url", url);
    started(&[&[url], settings].concat()).unwrap()
}

fn broker_of(issuer: &Issuer, directory: &Path, settings: &[(&str, &str)]) -> RunningBroker {
    let path = directory.join("keys.json");
    std::fs::write(&path, issuer.keys()).unwrap();
    broker_with_keys(&format!("file://{}", path.display()), settings)
}

fn handshake(client: &mut RawClient) {
    let request = SaslHandshakeRequest { mechanism: "OAUTHBEARER".to_owned() };
    let answer = client.call(1, &request);
    assert_eq!(
        (answer.error_code, answer.mechanisms),
        (ErrorCode::None, vec!["OAUTHBEARER".to_owned()])
    );
}

fn say(client: &mut RawClient, message: &str) -> SaslAuthenticateResponse {
    let auth_bytes = Bytes::copy_from_slice(message.as_bytes());
    client.call(2, &SaslAuthenticateRequest { auth_bytes })
}

fn bear(client: &mut RawClient, token: &str) -> SaslAuthenticateResponse {
    handshake(client);
    say(client, &format!("n,,\x01auth=Bearer {token}\x01\x01"))
}

/// A client that was let in.
fn let_in(broker: &RunningBroker, token: &str) -> (RawClient, SaslAuthenticateResponse) {
    let mut client = RawClient::connect(broker);
    let answer = bear(&mut client, token);
    assert_eq!((answer.error_code, answer.auth_bytes.len()), (ErrorCode::None, 0));
    assert!(!client.call(9, &MetadataRequest::default()).brokers.is_empty());
    (client, answer)
}

/// Is told so as Kafka tells it, and the connection ends.
fn assert_refused(broker: &RunningBroker, token: &str) {
    let mut client = RawClient::connect(broker);
    let answer = bear(&mut client, token);
    assert_eq!((answer.error_code, &answer.auth_bytes[..]), (ErrorCode::None, INVALID.as_bytes()));
    let answer = say(&mut client, "\x01");
    assert_eq!(answer.error_code, ErrorCode::SaslAuthenticationFailed);
    assert_eq!(answer.error_message.as_deref(), Some(INVALID));
    assert!(client.is_closed_by_broker());
}

#[test]
fn who_has_a_good_token_is_let_in_until_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::named("k1");
    let broker = broker_of(&issuer, directory.path(), &[]);
    let (mut client, answer) = let_in(&broker, &issuer.token("alice", 600, ""));
    let lifetime = answer.session_lifetime_ms;
    assert!((500_000..=600_000).contains(&lifetime), "{lifetime}");
    // Again with a fresh token, but by nobody else (KIP-368).
    let answer = bear(&mut client, &issuer.token("alice", 60, ""));
    assert!((1..=60_000).contains(&answer.session_lifetime_ms), "{answer:?}");
    let answer = bear(&mut client, &issuer.token("bob", 60, ""));
    assert_eq!(answer.error_code, ErrorCode::SaslAuthenticationFailed);
    assert!(client.is_closed_by_broker());
}

#[test]
fn a_session_ends_with_its_token_or_sooner_by_the_setting() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::named("k1");
    let broker = broker_of(&issuer, directory.path(), &[("connections.max.reauth.ms", "30000")]);
    let (_, answer) = let_in(&broker, &issuer.token("alice", 600, ""));
    assert_eq!(answer.session_lifetime_ms, 30_000);
    // Over already, but within what clocks may differ: let in, and out with the next request.
    let mut client = RawClient::connect(&broker);
    let answer = bear(&mut client, &issuer.token("alice", -1, ""));
    assert_eq!((answer.error_code, answer.session_lifetime_ms), (ErrorCode::None, 0));
    client.send(9, &MetadataRequest::default());
    assert!(client.is_closed_by_broker());
}

#[test]
fn failures_57_tokens_that_are_forged_old_or_for_others_let_nobody_in() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::named("k1");
    let settings = [
        ("sasl.oauthbearer.expected.audience", "kafka, streams"),
        ("sasl.oauthbearer.expected.issuer", "https://idp"),
    ];
    let broker = broker_of(&issuer, directory.path(), &settings);
    let ours = ",\"aud\":[\"mail\",\"streams\"],\"iss\":\"https://idp\"";
    let good = issuer.token("alice", 600, ours);
    let (mut stayed, _) = let_in(&broker, &good);
    for token in [
        // The same name for another key; no such key; no signature.
        &Issuer::named("k1").token("alice", 600, ours),
        &Issuer::named("k2").token("alice", 600, ours),
        &unsigned("alice"),
        &good[..good.len() - 4],
        &issuer.token("alice", -31, ours),
        &issuer.token("alice", 600, ",\"aud\":\"mail\",\"iss\":\"https://idp\""),
        &issuer.token("alice", 600, ",\"aud\":\"kafka\",\"iss\":\"https://evil\""),
        &issuer.token("", 600, ours),
        "x",
        // As long as a request may be that is no login yet, nearly.
        &"A".repeat(60_000),
    ] {
        assert_refused(&broker, token);
    }
    // Longer ones aren't read.
    let mut client = RawClient::connect(&broker);
    handshake(&mut client);
    let auth_bytes = Bytes::from(format!("n,,\x01auth=Bearer {}\x01\x01", "A".repeat(70_000)));
    client.send(2, &SaslAuthenticateRequest { auth_bytes });
    assert!(client.is_closed_by_broker());
    // What is no first message is told as any failed login.
    let mut client = RawClient::connect(&broker);
    handshake(&mut client);
    let answer = say(&mut client, "n,a=bob,\x01\x01");
    assert_eq!(answer.error_code, ErrorCode::SaslAuthenticationFailed);
    assert!(client.is_closed_by_broker());
    assert!(!stayed.call(9, &MetadataRequest::default()).brokers.is_empty());
}

#[test]
fn keys_come_from_an_endpoint_and_new_ones_when_they_are_missed() {
    let (first, second) = (Issuer::named("k1"), Issuer::named("k2"));
    let endpoint = Endpoint::start(Some(first.keys()));
    let broker = broker_with_keys(&endpoint.url(), &[]);
    let_in(&broker, &first.token("alice", 600, ""));
    assert_refused(&broker, &second.token("alice", 600, ""));
    *endpoint.answer.lock().unwrap() = Some(second.keys());
    let until = Instant::now() + PATIENCE;
    let is_in = || {
        let mut client = RawClient::connect(&broker);
        bear(&mut client, &second.token("alice", 600, "")).auth_bytes.is_empty()
    };
    while !is_in() {
        assert!(Instant::now() < until, "the new key was never read");
        thread::sleep(Duration::from_millis(20));
    }
    // The old one is worth nothing any more.
    assert_refused(&broker, &first.token("alice", 600, ""));
    // An endpoint that is away, or answers nonsense, leaves the keys as they are.
    *endpoint.answer.lock().unwrap() = Some("nonsense".to_owned());
    assert_refused(&broker, &first.token("alice", 600, ""));
    *endpoint.answer.lock().unwrap() = None;
    assert_refused(&broker, &first.token("alice", 600, ""));
    thread::sleep(Duration::from_millis(200));
    let_in(&broker, &second.token("alice", 600, ""));
}

#[test]
fn a_broker_whose_endpoint_is_down_starts_and_lets_in_once_it_is_up() {
    let issuer = Issuer::named("k1");
    let endpoint = Endpoint::start(None);
    let broker = broker_with_keys(&endpoint.url(), &[]);
    assert_refused(&broker, &issuer.token("alice", 600, ""));
    assert_refused(&broker, &unsigned("alice"));
    *endpoint.answer.lock().unwrap() = Some(issuer.keys());
    let until = Instant::now() + PATIENCE;
    let mut client = RawClient::connect(&broker);
    while !bear(&mut client, &issuer.token("alice", 600, "")).auth_bytes.is_empty() {
        assert!(Instant::now() < until, "the endpoint was never asked again");
        thread::sleep(Duration::from_millis(20));
        client = RawClient::connect(&broker);
    }
}

fn jaas_trusting(files: &Files) -> String {
    format!(
        "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
         ssl.truststore.location=\"{}\";",
        files.text("authority.pem")
    )
}

#[test]
fn keys_come_over_https_from_whom_the_named_authority_vouches_for() {
    const JAAS: &str = "listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config";
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Log).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let files = Files::new();
    let (first, second) = (Issuer::named("k1"), Issuer::named("k2"));
    let endpoint = Endpoint::with_tls(&files, "localhost", first.keys());
    let url = endpoint.secure_url();
    let broker = broker_with_keys(&url, &[(JAAS, &jaas_trusting(&files))]);
    let_in(&broker, &first.token("alice", 600, ""));
    assert_refused(&broker, &second.token("alice", 600, ""));
    // The keys are changed there: the new ones are read when they are missed.
    *endpoint.answer.lock().unwrap() = Some(second.keys());
    wait_until("the new key is read", || {
        let mut client = RawClient::connect(&broker);
        bear(&mut client, &second.token("alice", 600, "")).auth_bytes.is_empty()
    });
    assert_refused(&broker, &first.token("alice", 600, ""));

    // Of whom somebody else vouches for, or nobody whom the system knows, no key is believed.
    let strangers = Files::of(Authority::named("stranger"));
    let stranger = jaas_trusting(&strangers);
    let untrusted = format!("localhost:{}: its certificate is signed by", endpoint.address.port());
    for settings in [&[(JAAS, stranger.as_str())][..], &[]] {
        LOG.lock().unwrap().clear();
        let broker = broker_with_keys(&url, settings);
        assert_refused(&broker, &second.token("alice", 600, ""));
        assert!(is_logged(&untrusted), "{settings:?}");
    }
    // Nor of whom it vouches for under another name.
    let other = Endpoint::with_tls(&files, "elsewhere.example", second.keys());
    let broker = broker_with_keys(&other.secure_url(), &[(JAAS, &jaas_trusting(&files))]);
    assert_refused(&broker, &second.token("alice", 600, ""));
    let misnamed = format!("localhost:{}: its certificate is not valid for", other.address.port());
    assert!(is_logged(&misnamed));
}

#[test]
fn unsigned_tokens_are_taken_where_kafkas_class_for_them_is_named() {
    let refused = started(&[]).unwrap_err();
    assert!(refused.contains("sasl.oauthbearer.jwks.endpoint.url"), "{refused}");
    let handler = "listener.name.sasl_plaintext.oauthbearer.sasl.server.callback.handler.class";
    let broker = started(&[(handler, UNSIGNED_TOKENS)]).unwrap();
    let_in(&broker, &unsigned("alice"));
    assert_refused(&broker, &Issuer::named("k1").token("alice", 600, ""));
}

#[test]
fn keys_in_a_file_that_is_not_there_stop_the_start() {
    let refused = started(&[("sasl.oauthbearer.jwks.endpoint.url", "file:///nowhere/keys.json")]);
    let refused = refused.unwrap_err();
    assert!(refused.contains("OAUTHBEARER") && refused.contains("keys.json"), "{refused}");
}

#[test]
fn our_own_client_logs_in_by_a_token_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::named("k1");
    let broker = broker_of(&issuer, directory.path(), &[]);
    let file = directory.path().join("token");
    let ask = |token: &str| {
        std::fs::write(&file, token).unwrap();
        let text = format!(
            "bootstrap.servers=localhost:{}\nsecurity.protocol=SASL_PLAINTEXT\n\
             sasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.token.endpoint.url=file://{}\n\
             default.api.timeout.ms=60000\nrequest.timeout.ms=30000\n",
            broker.addresses()[0].port(),
            file.display()
        );
        let properties = Properties::parse(&text).unwrap();
        let admin = Admin::new(AdminConfig::from_properties(&properties).unwrap()).unwrap();
        admin.describe_cluster().map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(ask(&issuer.token("alice", 600, "")), Ok(()));
    let refused = ask(&Issuer::named("k1").token("alice", 600, "")).unwrap_err();
    assert!(refused.contains("invalid_token"), "{refused}");
}
