//! Logins against a broker that knows the other side of each mechanism, and against hostile ones.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use bytes::Bytes;
use rstest::rstest;
use streamledger_protocol::messages::{
    AnyRequest, AnyResponse, MetadataRequest, MetadataResponse, SaslAuthenticateResponse,
    SaslHandshakeResponse,
};
use streamledger_protocol::{ApiKey, BrokerId, ErrorCode};

use super::{Exchange, Hash, Scram, Step};
use crate::config::{AdminConfig, ConsumerConfig, ProducerConfig, Properties};
use crate::network::backend::{hmac, pbkdf2};
use crate::network::test_server::{
    Answer, FakeBroker, fickle_leader, names_who_turned_it_away, on_io_thread,
};
use crate::network::{
    BrokerConnection, NetworkConfig, NetworkError, NetworkErrorKind, Token, TokenError,
    TokenFuture, TokenProvider,
};
use crate::{
    Admin, CommittedOffset, Consumer, Offset, PartitionIndex, Position, ProduceError, Producer,
    ProducerRecord, TopicPartition, TransactionErrorKind,
};

const LONG: Duration = Duration::from_secs(20);

/// What the broker's side of a mechanism says to a message: bytes, or a refusal.
type Side = Box<dyn FnMut(&[u8]) -> Result<Vec<u8>, String>>;

struct Broker {
    fake: FakeBroker,
    logins: Rc<Cell<usize>>,
}

/// A broker that lets nobody do anything before a login, and wants it again after so long.
async fn broker(
    mechanism: &'static str,
    session_lifetime_ms: i64,
    side: impl Fn() -> Side + 'static,
) -> Broker {
    let logins = Rc::new(Cell::new(0));
    let counted = Rc::clone(&logins);
    let mut exchange: Option<Side> = None;
    let fake = FakeBroker::start(move |_, request| match request {
        AnyRequest::SaslHandshake(request) => {
            let is_known = request.mechanism == mechanism;
            exchange = is_known.then(&side);
            let error_code = match is_known {
                true => ErrorCode::None,
                false => ErrorCode::UnsupportedSaslMechanism,
            };
            let mechanisms = vec![mechanism.to_owned(), "OTHER".to_owned()];
            Answer::Respond(AnyResponse::SaslHandshake(SaslHandshakeResponse {
                error_code,
                mechanisms,
            }))
        }
        AnyRequest::SaslAuthenticate(request) => {
            let Some(side) = &mut exchange else { return Answer::Close };
            let (error_code, error_message, bytes) = match side(&request.auth_bytes) {
                Ok(bytes) => (ErrorCode::None, None, bytes),
                Err(said) => (ErrorCode::SaslAuthenticationFailed, Some(said), Vec::new()),
            };
            counted.set(counted.get() + 1);
            Answer::Respond(AnyResponse::SaslAuthenticate(SaslAuthenticateResponse {
                error_code,
                error_message,
                auth_bytes: Bytes::from(bytes),
                session_lifetime_ms,
            }))
        }
        _ if counted.get() == 0 => Answer::Close,
        _ => {
            let response = MetadataResponse { controller_id: BrokerId(7), ..Default::default() };
            Answer::Respond(AnyResponse::Metadata(response))
        }
    })
    .await;
    Broker { fake, logins }
}

fn properties(mechanism: &str, jaas: &str) -> Properties {
    let properties = Properties::new()
        .with("bootstrap.servers", "localhost:1")
        .with("security.protocol", "SASL_PLAINTEXT")
        .with("sasl.mechanism", mechanism);
    if jaas.is_empty() { properties } else { properties.with("sasl.jaas.config", jaas) }
}

fn config(mechanism: &str, jaas: &str) -> NetworkConfig {
    let config = ProducerConfig::from_properties(&properties(mechanism, jaas)).unwrap();
    NetworkConfig::new(config.client(), config.connections())
}

fn refusal(mechanism: &str, jaas: &str) -> String {
    ProducerConfig::from_properties(&properties(mechanism, jaas)).unwrap_err().to_string()
}

async fn connect(
    broker: &Broker,
    config: &NetworkConfig,
) -> Result<BrokerConnection, NetworkError> {
    BrokerConnection::connect(&broker.fake.address, config, LONG).await
}

async fn ask(connection: &BrokerConnection) -> Result<i32, NetworkError> {
    let response = connection.call(&MetadataRequest::default(), LONG).await;
    response.map(|response| response.controller_id.0)
}

fn refused(result: Result<BrokerConnection, NetworkError>) -> String {
    let error = result.err().unwrap();
    assert!(error.is_authentication() && !error.is_retriable(), "{error}");
    assert!(!error.possibly_sent, "{error}");
    error.to_string()
}

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required \
                     username=\"alice\" password=\"hunter2\";";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule required \
                     username=\"alice\" password=\"hunter2\";";
const UNSECURED: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule \
                         required unsecuredLoginStringClaim_sub=\"alice\";";

fn plain_side() -> Side {
    Box::new(|message| match message {
        b"\0alice\0hunter2" => Ok(Vec::new()),
        _ => Err("Authentication failed: Invalid username or password".to_owned()),
    })
}

/// The broker's side of SCRAM, as RFC 5802 has it; `spoil` may change what it says.
fn scram_side(
    is_512: bool,
    password: &'static str,
    spoil: impl Fn(usize, String) -> String + 'static,
) -> Side {
    let (hash, keys, bytes) = match is_512 {
        true => (hmac::HMAC_SHA512, pbkdf2::PBKDF2_HMAC_SHA512, 64),
        false => (hmac::HMAC_SHA256, pbkdf2::PBKDF2_HMAC_SHA256, 32),
    };
    let mut first: Option<(String, String)> = None;
    Box::new(move |message| {
        let message = String::from_utf8(message.to_vec()).unwrap();
        let Some((client_first, server_first)) = &first else {
            let bare = message.strip_prefix("n,,").unwrap().to_owned();
            let nonce = bare.split_once(",r=").unwrap().1;
            let salt = Base64::encode_string(b"salt of the broker");
            let answer = spoil(1, format!("r={nonce}broker,s={salt},i=4096"));
            first = Some((bare, answer.clone()));
            return Ok(answer.into_bytes());
        };
        let without_proof = message.rsplit_once(",p=").unwrap().0;
        let said = format!("{client_first},{server_first},{without_proof}");
        let mut salted = vec![0; bytes];
        let rounds = std::num::NonZeroU32::new(4096).unwrap();
        pbkdf2::derive(keys, rounds, b"salt of the broker", password.as_bytes(), &mut salted);
        let sign = |key: &[u8], text: &[u8]| {
            hmac::sign(&hmac::Key::new(hash, key), text).as_ref().to_vec()
        };
        let signature = sign(&sign(&salted, b"Server Key"), said.as_bytes());
        Ok(spoil(2, format!("v={}", Base64::encode_string(&signature))).into_bytes())
    })
}

#[test]
fn plain_logs_in_before_anything_else_and_a_wrong_password_is_final() {
    on_io_thread(async {
        let broker = broker("PLAIN", 0, plain_side).await;
        let connection = connect(&broker, &config("PLAIN", PLAIN)).await.unwrap();
        assert_eq!(ask(&connection).await, Ok(7));
        let apis: Vec<_> = broker.fake.requests.borrow().iter().map(|(h, _)| h.api_key).collect();
        let expected = [ApiKey::ApiVersions, ApiKey::SaslHandshake, ApiKey::SaslAuthenticate];
        assert_eq!(apis[..3], expected.map(ApiKey::code));
        let wrong = PLAIN.replace("hunter2", "hunter3");
        let said = refused(connect(&broker, &config("PLAIN", &wrong)).await);
        let address = &broker.fake.address;
        let sentence = "SASL PLAIN: Authentication failed: Invalid username or password";
        assert_eq!(said, format!("{address}: {sentence}"));
    });
}

#[rstest]
#[case("SCRAM-SHA-256", false)]
#[case("SCRAM-SHA-512", true)]
fn scram_logs_in(#[case] mechanism: &'static str, #[case] is_512: bool) {
    on_io_thread(async {
        let side = move || scram_side(is_512, "hunter2", |_, said| said);
        let broker = broker(mechanism, 0, side).await;
        let connection = connect(&broker, &config(mechanism, SCRAM)).await.unwrap();
        assert_eq!(ask(&connection).await, Ok(7));
    });
}

/// FAILURES 60: what a hostile broker says, and what we say of it.
#[test]
fn scram_finds_a_hostile_broker_out() {
    type Spoil = fn(usize, String) -> String;
    let nonce: Spoil = |step, said| match step {
        1 => format!("r=another{}", &said[said.find(",s=").unwrap()..]),
        _ => said,
    };
    let iterations: Spoil = |_, said| said.replace("i=4096", "i=2147483647");
    let few: Spoil = |_, said| said.replace("i=4096", "i=1");
    let salt: Spoil = |_, said| {
        let long = format!(",s={},", Base64::encode_string(&[9; 9_000]));
        said.replace(",s=c2FsdCBvZiB0aGUgYnJva2Vy,", &long)
    };
    let signature: Spoil = |step, said| match step {
        2 => "v=AAAA".to_owned(),
        _ => said,
    };
    for (spoil, sentence) in [
        (nonce, "its nonce doesn't go on from ours"),
        (iterations, "asks for 2147483647 iterations"),
        (few, "asks for 1 iterations"),
        (salt, "its salt has 9000 bytes"),
        (signature, "it doesn't know the password"),
    ] {
        on_io_thread(async {
            let broker =
                broker("SCRAM-SHA-256", 0, move || scram_side(false, "hunter2", spoil)).await;
            let said = refused(connect(&broker, &config("SCRAM-SHA-256", SCRAM)).await);
            assert!(said.contains(sentence), "{said}");
        });
    }
}

#[test]
fn a_salt_of_10_mb_is_not_even_read_and_endless_rounds_end() {
    on_io_thread(async {
        let big =
            broker("SCRAM-SHA-256", 0, || Box::new(|_: &[u8]| Ok(vec![b'A'; 10_000_000])) as Side)
                .await;
        let error = connect(&big, &config("SCRAM-SHA-256", SCRAM)).await.err().unwrap();
        assert!(matches!(error.kind, NetworkErrorKind::BadResponse(_)), "{error}");
        let endless =
            broker("OAUTHBEARER", 0, || Box::new(|_: &[u8]| Ok(b"{}".to_vec())) as Side).await;
        let said = refused(connect(&endless, &config("OAUTHBEARER", UNSECURED)).await);
        assert!(said.contains("the broker says {}"), "{said}");
        assert!(endless.logins.get() <= 3);
    });
}

#[test]
fn a_broker_without_the_mechanism_or_the_login_says_what_it_has() {
    on_io_thread(async {
        let broker = broker("PLAIN", 0, plain_side).await;
        let said = refused(connect(&broker, &config("SCRAM-SHA-512", SCRAM)).await);
        assert!(said.contains("doesn't have it on this port, but PLAIN, OTHER"), "{said}");
        let open = FakeBroker::start(|_, _| {
            Answer::Respond(AnyResponse::SaslHandshake(SaslHandshakeResponse {
                error_code: ErrorCode::IllegalSaslState,
                mechanisms: Vec::new(),
            }))
        })
        .await;
        let result = BrokerConnection::connect(&open.address, &config("PLAIN", PLAIN), LONG).await;
        let said = refused(result);
        assert!(said.contains("wants no login on this port"), "{said}");
    });
}

fn bearer_side() -> Side {
    Box::new(|message| match message.starts_with(b"n,,\x01auth=Bearer ") {
        true => Ok(Vec::new()),
        false => Err("no token".to_owned()),
    })
}

/// Gives what it holds, the last first.
#[derive(Clone)]
struct Shared(Arc<parking_lot::Mutex<Vec<Result<Token, TokenError>>>>);

impl TokenProvider for Shared {
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(async { self.0.lock().pop().unwrap_or_else(|| Err(TokenError::fatal("empty"))) })
    }
}

#[test]
fn tokens_come_from_the_provider_and_its_trouble_is_told() {
    on_io_thread(async {
        let broker = broker("OAUTHBEARER", 0, bearer_side).await;
        let tokens = vec![Err(TokenError::retriable("busy")), Ok(Token::new("abc"))];
        let provider = Shared(Arc::new(parking_lot::Mutex::new(tokens)));
        let builder = ProducerConfig::builder().properties(properties("OAUTHBEARER", ""));
        let built = builder.token_provider(provider).build().unwrap();
        let config = NetworkConfig::new(built.client(), built.connections());
        let connection = connect(&broker, &config).await.unwrap();
        assert_eq!(ask(&connection).await, Ok(7));
        let error = connect(&broker, &config).await.err().unwrap();
        assert!(error.is_retriable() && error.to_string().contains("busy"), "{error}");
        let said = refused(connect(&broker, &config).await);
        assert!(said.ends_with("SASL OAUTHBEARER: no token: empty"), "{said}");
    });
}

#[test]
fn the_login_is_done_again_on_the_same_connection_and_no_request_is_lost() {
    on_io_thread(async {
        let broker = broker("PLAIN", 200, plain_side).await;
        let connection = connect(&broker, &config("PLAIN", PLAIN)).await.unwrap();
        let mut answered = 0;
        while broker.logins.get() < 4 {
            let calls: Vec<_> = (0..10).map(|_| ask(&connection)).collect();
            for call in futures_util::future::join_all(calls).await {
                assert_eq!(call, Ok(7));
                answered += 1;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(answered > 20, "{answered}");
        assert_eq!(broker.fake.connection_count.get(), 1);
    });
}

#[test]
fn a_connection_that_nobody_uses_logs_in_again_with_its_next_request() {
    on_io_thread(async {
        let broker = broker("PLAIN", 100, plain_side).await;
        let connection = connect(&broker, &config("PLAIN", PLAIN)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(broker.logins.get(), 1);
        assert_eq!(ask(&connection).await, Ok(7));
        assert!(broker.logins.get() >= 2, "on a slow machine once more");
    });
}

#[test]
fn a_login_that_is_refused_the_second_time_ends_the_connection() {
    on_io_thread(async {
        let count = Rc::new(Cell::new(0));
        let broker = broker("PLAIN", 3000, move || {
            let count = Rc::clone(&count);
            Box::new(move |_: &[u8]| {
                count.set(count.get() + 1);
                if count.get() > 1 { Err("revoked".to_owned()) } else { Ok(Vec::new()) }
            }) as Side
        })
        .await;
        let connection = connect(&broker, &config("PLAIN", PLAIN)).await.unwrap();
        assert_eq!(ask(&connection).await, Ok(7));
        while connection.is_open() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let error = ask(&connection).await.unwrap_err();
        assert!(error.is_authentication() && error.to_string().contains("revoked"), "{error}");
    });
}

/// As the brokers do it: the versions are told to anyone, then the connection ends.
#[test]
fn a_client_without_a_login_is_told_what_may_be_wrong() {
    on_io_thread(async {
        let broker = broker("PLAIN", 0, plain_side).await;
        let plain = Properties::new().with("bootstrap.servers", "localhost:1");
        let plain = ProducerConfig::from_properties(&plain).unwrap();
        let plain = NetworkConfig::new(plain.client(), plain.connections());
        let connection = connect(&broker, &plain).await.unwrap();
        let error = ask(&connection).await.unwrap_err();
        let sentence = "closed the connection at the first request; if it wants a login on this \
                        port, set security.protocol=SASL_PLAINTEXT (or SASL_SSL)";
        assert!(error.to_string().contains(sentence), "{error}");
        assert!(error.is_retriable() && !error.is_authentication());
    });
}

/// A future that computed it itself would be done when it is first asked.
#[test]
fn scram_computes_on_another_thread() {
    on_io_thread(async {
        let waits = async || {
            let password = "hunter2".into();
            let scram = Scram::new(Hash::Sha256, "alice", password, false).ok().unwrap();
            let first = String::from_utf8(scram.first_message()).unwrap();
            let nonce = first.split_once("r=").unwrap().1;
            let challenge = format!("r={nonce}x,s=AAAA,i=20000");
            let mut answer = Box::pin(Exchange::Scram(scram).answer(challenge.into()));
            let first = poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await;
            if first.is_ready() {
                return false;
            }
            let answered = answer.await;
            assert!(matches!(answered, Ok((Exchange::Scram(_), Step::Send(_)))));
            true
        };
        for _ in 0..100 {
            if waits().await {
                return;
            }
        }
        panic!("it was done at once, a hundred times");
    });
}

/// The calls of all three clients end long before their time-outs of a minute.
#[test]
fn a_refused_login_ends_the_calls_of_every_client_at_once() {
    let (address, is_known) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        on_io_thread(async {
            let broker = broker("PLAIN", 0, plain_side).await;
            address.send(broker.fake.address.to_string()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let wrong = PLAIN.replace("hunter2", "hunter3");
    let properties =
        properties("PLAIN", &wrong).with("bootstrap.servers", is_known.recv().unwrap());
    let begun = std::time::Instant::now();
    let sentence = "SASL PLAIN: Authentication failed: Invalid username or password";
    let admin = AdminConfig::from_properties(&properties).unwrap();
    let error = Admin::new(admin).unwrap().list_topics().unwrap_err();
    assert!(error.to_string().contains(sentence), "{error}");
    let consumer = Consumer::new(ConsumerConfig::from_properties(&properties).unwrap()).unwrap();
    let error = consumer.partitions_for("t").unwrap_err();
    assert!(error.to_string().contains(sentence), "{error}");
    let partition = TopicPartition::new("t", PartitionIndex(0));
    consumer.assign(&[(partition, Position::Beginning)]);
    let error = consumer.poll(Duration::from_secs(50)).unwrap_err();
    assert!(error.to_string().contains(sentence), "{error}");
    let partition = TopicPartition::new("t", PartitionIndex(0));
    let error = consumer.end_offsets(std::slice::from_ref(&partition)).unwrap_err();
    assert!(error.to_string().contains(sentence), "{error}");
    let grouped = properties.clone().with("group.id", "readers");
    let grouped = Consumer::new(ConsumerConfig::from_properties(&grouped).unwrap()).unwrap();
    let error = grouped.committed("readers", std::slice::from_ref(&partition)).unwrap_err();
    assert!(error.to_string().contains(sentence), "{error}");
    let error =
        grouped.commit_offsets(&[(partition, CommittedOffset::new(Offset(1)))]).unwrap_err();
    assert!(error.to_string().contains(sentence), "{error}");
    let transactional = properties.clone().with("transactional.id", "job");
    let transactional = ProducerConfig::from_properties(&transactional).unwrap();
    let transactional = Producer::new(transactional).unwrap();
    let error = transactional.init_transactions().unwrap_err();
    assert!(matches!(error.kind, TransactionErrorKind::TurnedAway(_)), "{error}");
    assert!(error.to_string().contains(sentence), "{error}");
    let producer = Producer::new(ProducerConfig::from_properties(&properties).unwrap()).unwrap();
    for _ in 0..2 {
        let error = producer.send(ProducerRecord::to("t").value(b"x")).unwrap_err();
        assert!(matches!(error, ProduceError::TurnedAway { .. }), "{error}");
        assert!(error.to_string().contains(sentence), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
}

#[test]
fn a_warm_producer_whose_login_is_refused_says_so_when_its_records_time_is_over() {
    let address = fickle_leader(Vec::new());
    let properties = properties("PLAIN", PLAIN).with("bootstrap.servers", address.to_string());
    let said =
        format!("a connection to broker 0 (localhost:{}: SASL PLAIN: revoked)", address.port);
    names_who_turned_it_away(&properties, &said);
}

#[rstest]
#[case("GSSAPI", "", "sasl.mechanism: GSSAPI (Kerberos, Kafka's default) needs a C library")]
#[case("AWS_MSK_IAM", "", "sasl.mechanism: \"AWS_MSK_IAM\" is not known; there are PLAIN,")]
#[case("PLAIN", "", "sasl.jaas.config: it is not set; it needs org.apache.kafka...PlainLoginMod")]
#[case("PLAIN", SCRAM, "sasl.mechanism and sasl.jaas.config: the mechanism needs PlainLoginModul")]
#[case(
    "PLAIN",
    "PlainLoginModule required user=\"hunter2\";",
    "sasl.jaas.config: PlainLoginModule has no option user"
)]
#[case(
    "PLAIN",
    "PlainLoginModule required username=\"a\";",
    "sasl.jaas.config: PlainLoginModule needs the option password"
)]
#[case(
    "PLAIN",
    "PlainLoginModule required password=hunter2",
    "sasl.jaas.config: there is no ; at the end"
)]
#[case("OAUTHBEARER", "", "sasl.oauthbearer.token.endpoint.url: it is not set, and OAUTHBEARER")]
fn what_a_login_lacks_is_said_at_the_start(
    #[case] mechanism: &str,
    #[case] jaas: &str,
    #[case] start: &str,
) {
    let said = refusal(mechanism, jaas);
    assert!(said.starts_with(start), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}
