//! TLS, certificates and logins, by our own client and by ones that mean harm.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/tls.rs"]
mod tls;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{RawClient, wait_until};
use streamledger::{Admin, AdminConfig, Properties};
use streamledger_broker::{Broker, BrokerConfig, RunningBroker, StartError};
use streamledger_protocol::messages::alter_user_scram_credentials::ScramCredentialDeletion;
use streamledger_protocol::messages::{
    AlterUserScramCredentialsRequest, ApiVersionsRequest, DescribeUserScramCredentialsRequest,
    MetadataRequest, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
};
use streamledger_protocol::{CorrelationId, ErrorCode};
use tls::{Authority, Files};

const JAAS: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required \
                    user_alice=\"alice-secret\" user_bob=\"bob-secret\";";

fn with_logins(settings: &[(&str, &str)]) -> RunningBroker {
    let config = BrokerConfig::builder()
        .listen("SASL_PLAINTEXT://127.0.0.1:0")
        .property("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512")
        .property("listener.name.sasl_plaintext.plain.sasl.jaas.config", JAAS)
        .properties(settings.iter().copied())
        .scram_user("carol", "carol-secret")
        .build()
        .unwrap();
    Broker::start(config).unwrap()
}

/// Asks for the cluster by these settings: `Ok`, or what was said.
fn ask(broker: &RunningBroker, settings: &str) -> Result<(), String> {
    ask_for(broker, settings, "default.api.timeout.ms=60000\nrequest.timeout.ms=30000\n")
}

/// The same where it is asked again until the time is over.
fn ask_in_vain(broker: &RunningBroker, settings: &str) -> Result<(), String> {
    ask_for(broker, settings, "default.api.timeout.ms=8000\nrequest.timeout.ms=4000\n")
}

fn ask_for(broker: &RunningBroker, settings: &str, limits: &str) -> Result<(), String> {
    let servers = format!("bootstrap.servers=localhost:{}\n", broker.addresses()[0].port());
    let properties = Properties::parse(&(servers + limits + settings)).unwrap();
    let admin = Admin::new(AdminConfig::from_properties(&properties).unwrap()).unwrap();
    admin.describe_cluster().map(drop).map_err(|error| error.to_string())
}

fn login(mechanism: &str, user: &str, password: &str) -> String {
    let module = if mechanism == "PLAIN" { "Plain" } else { "Scram" };
    format!(
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism={mechanism}\n\
         sasl.jaas.config=x.{module}LoginModule required username=\"{user}\" \
         password=\"{password}\";\n"
    )
}

#[test]
fn tls_encrypts_and_a_client_that_trusts_nobody_here_stays_out() {
    let files = Files::new();
    let broker = files.broker("SSL://127.0.0.1:0", &[]);
    ask(&broker, &format!("security.protocol=SSL\n{}", files.trusting())).unwrap();
    let stranger = Files::of(Authority::named("stranger"));
    let said = ask(&broker, &format!("security.protocol=SSL\n{}", stranger.trusting()));
    assert!(said.unwrap_err().contains("signed by nobody"));
    let old = format!("security.protocol=SSL\nssl.enabled.protocols=TLSv1.2\n{}", files.trusting());
    assert!(ask(&broker, &old).is_err(), "1.2 is spoken only where it is allowed");
    let both = files.broker("SSL://127.0.0.1:0", &[("ssl.enabled.protocols", "TLSv1.2,TLSv1.3")]);
    ask(&both, &old).unwrap();
}

#[test]
fn where_certificates_are_required_one_of_the_authoritys_is_needed() {
    let files = Files::new();
    let broker = files.broker("SSL://127.0.0.1:0", &[("ssl.client.auth", "required")]);
    let with_key = |own: &str| {
        format!(
            "security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location={own}\n{}",
            files.trusting()
        )
    };
    files.write("alice.pem", &files.authority.sign("alice"));
    files.write("stranger.pem", &Authority::named("stranger").sign("alice"));
    ask(&broker, &with_key(&files.text("alice.pem"))).unwrap();
    let said = ask(&broker, &with_key(&files.text("stranger.pem"))).unwrap_err();
    assert!(said.contains("certificate"), "{said}");
    let said = ask(&broker, &format!("security.protocol=SSL\n{}", files.trusting())).unwrap_err();
    assert!(said.contains("certificate"), "{said}");
}

#[test]
fn certificates_that_change_are_used_for_new_connections_and_bad_ones_are_not() {
    let files = Files::new();
    let broker = files.broker("SSL://127.0.0.1:0", &[]);
    let settings = format!("security.protocol=SSL\n{}", files.trusting());
    ask(&broker, &settings).unwrap();
    files.write("broker.pem", "no certificate at all");
    ask(&broker, &settings).unwrap();
    let other = Authority::named("other");
    files.write("broker.pem", &other.sign("localhost"));
    assert!(ask(&broker, &settings).unwrap_err().contains("signed by nobody"));
    files.write("authority.pem", &other.pem());
    ask(&broker, &settings).unwrap();
}

#[test]
fn a_key_that_cannot_be_used_stops_the_start_with_the_file_and_the_reason() {
    let files = Files::new();
    let refusal = |path: &Path| {
        let config = BrokerConfig::builder()
            .listen("SSL://127.0.0.1:0")
            .property("ssl.keystore.location", path.to_string_lossy())
            .build()
            .unwrap();
        let error = Broker::start(config).err().unwrap();
        assert!(matches!(error, StartError::Tls { .. }));
        error.to_string()
    };
    assert!(refusal(&files.path("missing.pem")).contains("missing.pem"));
    assert!(refusal(&files.path("authority.pem")).contains("PRIVATE KEY"));
}

#[test]
fn a_plain_client_at_a_tls_port_and_a_tls_client_at_a_plain_port_end_at_once() {
    let files = Files::new();
    let broker = files.broker("SSL://127.0.0.1:0", &[]);
    let mut plain = RawClient::connect(&broker);
    plain.send(9, &MetadataRequest::default());
    // The goodbye is TLS's; what follows it is the end.
    let mut said = Vec::new();
    let _ = plain.stream.read_to_end(&mut said);
    assert!(said.len() < 100);
    let broker = common::broker_with(&[]);
    let mut hello = RawClient::connect(&broker);
    hello.send_bytes(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]);
    assert!(hello.is_closed_by_broker());
    let said = ask_in_vain(&broker, &format!("security.protocol=SSL\n{}", files.trusting()));
    assert!(said.unwrap_err().contains("TLS"));
}

#[test]
fn a_public_address_needs_tls_and_a_login_or_the_word_that_it_is_meant() {
    let files = Files::new();
    let start = |listener: &str, client_auth: &str| {
        let config = BrokerConfig::builder()
            .listen(listener)
            .property("ssl.keystore.location", files.text("broker.pem"))
            .property("ssl.truststore.location", files.text("authority.pem"))
            .property("ssl.client.auth", client_auth)
            .build()
            .unwrap();
        Broker::start(config)
    };
    for open in ["PLAINTEXT://0.0.0.0:0", "SSL://0.0.0.0:0", "SASL_PLAINTEXT://0.0.0.0:0"] {
        assert!(matches!(start(open, "requested"), Err(StartError::PublicListen { .. })), "{open}");
    }
    assert!(start("SSL://0.0.0.0:0", "required").is_ok());
    assert!(start("SASL_SSL://0.0.0.0:0", "none").is_ok());
}

#[test]
fn each_mechanism_lets_in_by_the_password_and_by_no_other() {
    let broker = with_logins(&[("connection.failed.authentication.delay.ms", "5")]);
    ask(&broker, &login("PLAIN", "alice", "alice-secret")).unwrap();
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        ask(&broker, &login(mechanism, "carol", "carol-secret")).unwrap();
    }
    let wrong = [
        ("PLAIN", "alice", "bob-secret"),
        ("PLAIN", "carol", "carol-secret"),
        ("PLAIN", "nobody", "x"),
        ("SCRAM-SHA-256", "carol", "carol"),
        ("SCRAM-SHA-512", "alice", "alice-secret"),
        ("SCRAM-SHA-512", "nobody", "x"),
    ];
    for (mechanism, user, password) in wrong {
        let said = ask(&broker, &login(mechanism, user, password)).unwrap_err();
        let expected = format!("SASL {mechanism}: Authentication failed: invalid credentials");
        assert!(said.contains(&expected), "{said}");
    }
    assert!(ask_in_vain(&broker, "").is_err(), "nobody is let in without a login");
}

#[test]
fn a_login_works_over_tls_too() {
    let files = Files::new();
    let broker = files.broker(
        "SASL_SSL://127.0.0.1:0",
        &[
            ("sasl.enabled.mechanisms", "PLAIN"),
            ("listener.name.sasl_ssl.plain.sasl.jaas.config", JAAS),
        ],
    );
    let settings = login("PLAIN", "bob", "bob-secret").replace("SASL_PLAINTEXT", "SASL_SSL");
    ask(&broker, &(settings + &files.trusting())).unwrap();
}

#[test]
fn users_made_at_start_are_kept_and_a_new_password_replaces_the_old() {
    let directory = tempfile::tempdir().unwrap();
    let start = |password: Option<&str>| {
        let builder = BrokerConfig::builder()
            .listen("SASL_PLAINTEXT://127.0.0.1:0")
            .data_dir(directory.path());
        let builder = match password {
            Some(password) => builder.scram_user("carol", password),
            None => builder,
        };
        Broker::start(builder.build().unwrap()).unwrap()
    };
    let log_bytes = || std::fs::metadata(directory.path().join("metadata.log")).unwrap().len();
    start(Some("one")).shutdown().unwrap();
    let bytes = log_bytes();
    start(Some("one")).shutdown().unwrap();
    assert_eq!(log_bytes(), bytes, "the same password is no change");
    let broker = start(None);
    ask(&broker, &login("SCRAM-SHA-512", "carol", "one")).unwrap();
    broker.shutdown().unwrap();
    let broker = start(Some("two"));
    ask(&broker, &login("SCRAM-SHA-256", "carol", "two")).unwrap();
    ask(&broker, &login("SCRAM-SHA-256", "carol", "one")).unwrap_err();
    broker.shutdown().unwrap();
    let log = std::fs::read(directory.path().join("metadata.log")).unwrap();
    assert!(!log.windows(3).any(|window| window == b"two"), "the password itself is nowhere");
}

fn handshake(client: &mut RawClient, mechanism: &str) -> ErrorCode {
    client.call(1, &SaslHandshakeRequest { mechanism: mechanism.to_owned() }).error_code
}

fn authenticate(client: &mut RawClient, token: &[u8]) -> SaslAuthenticateResponse {
    client.call(2, &SaslAuthenticateRequest { auth_bytes: Bytes::copy_from_slice(token) })
}

fn logged_in(broker: &RunningBroker, token: &[u8]) -> (RawClient, SaslAuthenticateResponse) {
    let mut client = RawClient::connect(broker);
    assert_eq!(handshake(&mut client, "PLAIN"), ErrorCode::None);
    let response = authenticate(&mut client, token);
    assert_eq!(response.error_code, ErrorCode::None);
    (client, response)
}

const ALICE: &[u8] = b"\0alice\0alice-secret";

#[test]
fn before_a_login_nothing_but_the_login_is_looked_at() {
    let broker = with_logins(&[]);
    let mut client = RawClient::connect(&broker);
    let versions = client.call(
        3,
        &ApiVersionsRequest {
            client_software_name: "raw".to_owned(),
            client_software_version: "1".to_owned(),
        },
    );
    assert!(versions.api_keys.iter().any(|api| api.api_key == 36));
    client.send(9, &MetadataRequest::default());
    assert!(client.is_closed_by_broker());

    let mut in_between = RawClient::connect(&broker);
    assert_eq!(handshake(&mut in_between, "PLAIN"), ErrorCode::None);
    in_between.send(9, &MetadataRequest::default());
    assert!(in_between.is_closed_by_broker());

    let mut unasked = RawClient::connect(&broker);
    assert_eq!(authenticate(&mut unasked, ALICE).error_code, ErrorCode::IllegalSaslState);
    assert!(unasked.is_closed_by_broker());

    let mut strange = RawClient::connect(&broker);
    assert_eq!(handshake(&mut strange, "GSSAPI"), ErrorCode::UnsupportedSaslMechanism);
    assert!(strange.is_closed_by_broker());

    let (mut client, _) = logged_in(&broker, ALICE);
    assert_eq!(client.call(9, &MetadataRequest::default()).brokers.len(), 1);
}

#[test]
fn failures_51_before_a_login_requests_are_short() {
    let broker = with_logins(&[]);
    let mut client = RawClient::connect(&broker);
    client.send_bytes(&65_537_i32.to_be_bytes());
    assert!(client.is_closed_by_broker());
    // Afterwards they may be as long as anybody's.
    let (mut client, _) = logged_in(&broker, ALICE);
    client.create_topic("t", 1, &[]);
    let large = "x".repeat(200_000);
    let answer = client.produce("t", 0, common::batch_of(&[&large], None));
    assert_eq!(answer.error_code, ErrorCode::None);
}

#[test]
fn failures_56_a_handshake_or_a_login_that_stalls_is_closed() {
    let files = Files::new();
    let quick = ("streamledger.handshake.timeout.ms", "1500");
    let tls = files.broker("SSL://127.0.0.1:0", &[quick]);
    let logins = with_logins(&[quick]);
    let mut silent = RawClient::connect(&tls);
    let mut begun = RawClient::connect(&tls);
    begun.send_bytes(&[0x16, 0x03, 0x01, 0x02]);
    let mut asking = RawClient::connect(&logins);
    let mut half_in = RawClient::connect(&logins);
    assert_eq!(handshake(&mut half_in, "SCRAM-SHA-256"), ErrorCode::None);
    let mut dribbling = TcpStream::connect(logins.addresses()[0]).unwrap();
    wait_until("the one that dribbles is closed", || dribbling.write_all(&[0]).is_err());
    for client in [&mut silent, &mut begun, &mut asking, &mut half_in] {
        assert!(client.is_closed_by_broker());
    }
    // Who logs in within it is let alone by it: this test may be late itself, so it tries again.
    let is_served_after = || {
        let mut quick_one = RawClient::connect(&logins);
        let handshake = SaslHandshakeRequest { mechanism: "PLAIN".to_owned() };
        let token = SaslAuthenticateRequest { auth_bytes: ALICE.into() };
        let is_in =
            quick_one.try_call(1, &handshake).is_some() && quick_one.try_call(2, &token).is_some();
        if !is_in {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1700));
        quick_one.call(9, &MetadataRequest::default());
        true
    };
    wait_until("one has logged in in time", is_served_after);
}

#[test]
fn failures_57_a_failed_login_is_answered_late_alike_for_all_and_is_the_last_word() {
    let broker = with_logins(&[("connection.failed.authentication.delay.ms", "150")]);
    let mut sentences = Vec::new();
    for token in [&b"\0alice\0wrong"[..], b"\0nobody\0wrong", b"\0alice\0", b"", b"\0\0\0\0"] {
        let mut client = RawClient::connect(&broker);
        assert_eq!(handshake(&mut client, "PLAIN"), ErrorCode::None);
        let started = Instant::now();
        let response = authenticate(&mut client, token);
        assert!(started.elapsed() >= Duration::from_millis(150));
        assert_eq!(response.error_code, ErrorCode::SaslAuthenticationFailed);
        sentences.push(response.error_message.unwrap());
        client.send(1, &SaslHandshakeRequest { mechanism: "PLAIN".to_owned() });
        assert!(client.is_closed_by_broker());
    }
    sentences.dedup();
    assert_eq!(sentences.len(), 1);
}

#[test]
fn failures_57_a_played_back_scram_exchange_lets_nobody_in() {
    let broker = with_logins(&[("connection.failed.authentication.delay.ms", "1")]);
    let first = b"n,,n=carol,r=rOprNGfwEbeRWgbNEkqO";
    let challenge = |client: &mut RawClient| {
        assert_eq!(handshake(client, "SCRAM-SHA-256"), ErrorCode::None);
        let response = authenticate(client, first);
        assert_eq!(response.error_code, ErrorCode::None);
        String::from_utf8(response.auth_bytes.to_vec()).unwrap()
    };
    let mut one = RawClient::connect(&broker);
    let mut other = RawClient::connect(&broker);
    let (said, said_again) = (challenge(&mut one), challenge(&mut other));
    assert_ne!(said, said_again, "each exchange has a nonce of the broker's own");
    // A proof for one exchange, shown in the other.
    let nonce = said.split(',').next().unwrap();
    let proof = format!("c=biws,{nonce},p={}=", "A".repeat(43));
    let refused = authenticate(&mut other, proof.as_bytes());
    assert_eq!(refused.error_code, ErrorCode::SaslAuthenticationFailed);
    assert!(other.is_closed_by_broker());
}

#[test]
fn a_session_ends_unless_the_same_user_logs_in_again() {
    const LIFETIME: Duration = Duration::from_secs(8);
    let broker = with_logins(&[("connections.max.reauth.ms", "8000")]);
    let (mut ending, response) = logged_in(&broker, ALICE);
    assert_eq!(response.session_lifetime_ms, 8000);
    let logged_in_at = Instant::now();
    let (mut changing, _) = logged_in(&broker, ALICE);
    let (mut lasting, _) = logged_in(&broker, ALICE);
    while logged_in_at.elapsed() < LIFETIME + LIFETIME / 8 {
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(handshake(&mut lasting, "PLAIN"), ErrorCode::None);
        assert_eq!(authenticate(&mut lasting, ALICE).error_code, ErrorCode::None);
        assert_eq!(lasting.call(9, &MetadataRequest::default()).brokers.len(), 1);
    }
    ending.send(9, &MetadataRequest::default());
    assert!(ending.is_closed_by_broker());
    assert_eq!(handshake(&mut changing, "PLAIN"), ErrorCode::None);
    let refused = authenticate(&mut changing, b"\0bob\0bob-secret");
    assert_eq!(refused.error_code, ErrorCode::SaslAuthenticationFailed);
    assert!(changing.is_closed_by_broker());
}

#[test]
fn tokens_without_a_request_around_them_are_taken_after_the_old_handshake() {
    let broker = with_logins(&[]);
    let mut client = RawClient::connect(&broker);
    let old = SaslHandshakeRequest { mechanism: "PLAIN".to_owned() };
    assert_eq!(client.call(0, &old).error_code, ErrorCode::None);
    client.send_bytes(&[&(ALICE.len() as u32).to_be_bytes()[..], ALICE].concat());
    assert_eq!(client.receive_frame().unwrap().len(), 0);
    assert_eq!(client.call(9, &MetadataRequest::default()).brokers.len(), 1);
    let mut wrong = RawClient::connect(&broker);
    assert_eq!(wrong.call(0, &old).error_code, ErrorCode::None);
    wrong.send_bytes(&[0, 0, 0, 2, 0, 0]);
    assert!(wrong.is_closed_by_broker());
}

#[test]
fn scram_users_are_described_and_deleted_over_the_protocol() {
    let broker = with_logins(&[]);
    let (mut client, _) = logged_in(&broker, ALICE);
    let described = client.call(0, &DescribeUserScramCredentialsRequest::default());
    let [carol] = &described.results[..] else { panic!("{described:?}") };
    assert_eq!((carol.user.as_str(), carol.credential_infos.len()), ("carol", 2));
    assert!(carol.credential_infos.iter().all(|info| info.iterations == 4096));
    let deletion = |mechanism| ScramCredentialDeletion { name: "carol".to_owned(), mechanism };
    let request =
        AlterUserScramCredentialsRequest { deletions: vec![deletion(1)], ..Default::default() };
    assert_eq!(client.call(0, &request).results[0].error_code, ErrorCode::None);
    assert_eq!(client.call(0, &request).results[0].error_code, ErrorCode::ResourceNotFound);
    ask(&broker, &login("SCRAM-SHA-256", "carol", "carol-secret")).unwrap_err();
    ask(&broker, &login("SCRAM-SHA-512", "carol", "carol-secret")).unwrap();
}

#[test]
fn at_a_listener_without_logins_there_is_none() {
    let broker = common::broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    assert_eq!(handshake(&mut client, "PLAIN"), ErrorCode::IllegalSaslState);
    let id = client.send(9, &MetadataRequest::default());
    assert_eq!(id, CorrelationId(2));
    assert!(client.receive_frame().is_some());
}
