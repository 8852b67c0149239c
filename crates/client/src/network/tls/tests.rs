//! TLS against a broker with certificates of its own making: whom we trust, and what we say.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use streamledger_protocol::messages::metadata::MetadataResponseBroker;
use streamledger_protocol::messages::{AnyResponse, MetadataRequest, MetadataResponse};

use crate::config::{ProducerConfig, Properties};
use crate::network::backend::default_provider;
use crate::network::test_server::{
    Answer, FakeBroker, api_versions, fickle_leader, names_who_turned_it_away, on_io_thread,
};
use crate::network::{BrokerConnection, NetworkConfig, NetworkError, NetworkErrorKind};

const LONG: Duration = Duration::from_secs(20);

/// An authority that signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

struct Signed {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        Self::named("one authority")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn sign(&self, names: &[&str]) -> Signed {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.sign_params(&CertificateParams::new(names).unwrap())
    }

    fn sign_params(&self, params: &CertificateParams) -> Signed {
        let key = KeyPair::generate().unwrap();
        Signed { certificate: params.signed_by(&key, &self.0).unwrap(), key }
    }
}

impl Signed {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.der().clone()]
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    fn pem(&self) -> String {
        self.key.serialize_pem() + &self.certificate.pem()
    }

    /// A broker's side with this certificate, that asks clients for theirs if there is an
    /// authority for them.
    fn server(&self, clients: Option<&Authority>) -> Arc<ServerConfig> {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(authority.0.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        Arc::new(builder.with_single_cert(self.chain(), self.key()).unwrap())
    }
}

async fn broker(servers: Vec<Arc<ServerConfig>>) -> FakeBroker {
    FakeBroker::start_over(servers, |_, _| (None, Answer::hello(api_versions()))).await
}

fn config(settings: &[(&str, &str)]) -> NetworkConfig {
    let properties =
        Properties::new().with("bootstrap.servers", "localhost:1").with("security.protocol", "SSL");
    let properties = settings.iter().fold(properties, |p, (name, value)| p.with(*name, *value));
    let config = ProducerConfig::from_properties(&properties).unwrap();
    NetworkConfig::new(config.client(), config.connections())
}

fn refusal(settings: &[(&str, &str)]) -> String {
    let properties =
        Properties::new().with("bootstrap.servers", "localhost:1").with("security.protocol", "SSL");
    let properties = settings.iter().fold(properties, |p, (name, value)| p.with(*name, *value));
    ProducerConfig::from_properties(&properties).unwrap_err().to_string()
}

async fn connect(
    broker: &FakeBroker,
    host: &str,
    config: &NetworkConfig,
) -> Result<BrokerConnection, NetworkError> {
    let address = format!("{host}:{}", broker.address.port).parse().unwrap();
    BrokerConnection::connect(&Arc::new(address), config, LONG).await
}

fn refused(result: Result<BrokerConnection, NetworkError>) -> String {
    let error = result.err().unwrap();
    assert!(error.is_authentication() && !error.is_retriable(), "{error}");
    assert!(!error.possibly_sent, "{error}");
    error.to_string()
}

#[test]
fn a_broker_whose_authority_is_trusted_is_spoken_to_by_each_version() {
    let authority = Authority::new();
    let server = authority.sign(&["localhost", "127.0.0.1"]).server(None);
    on_io_thread(async {
        let broker = broker(vec![server]).await;
        let trusted = authority.pem();
        for versions in ["TLSv1.3", "TLSv1.2", "TLSv1.2,TLSv1.3,TLSv1"] {
            let config = config(&[
                ("ssl.truststore.certificates", &trusted),
                ("ssl.enabled.protocols", versions),
            ]);
            for host in ["localhost", "127.0.0.1"] {
                let connection = connect(&broker, host, &config).await.unwrap();
                assert!(connection.is_open());
            }
        }
        let suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
        let narrow =
            config(&[("ssl.truststore.certificates", &trusted), ("ssl.cipher.suites", suite)]);
        connect(&broker, "localhost", &narrow).await.unwrap();
    });
}

#[test]
fn a_certificate_of_another_authority_name_or_time_is_refused_in_a_sentence() {
    let (authority, other) = (Authority::new(), Authority::named("another"));
    let mut expired = CertificateParams::new(["localhost".to_owned()]).unwrap();
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2021, 1, 1);
    let mut early = CertificateParams::new(["localhost".to_owned()]).unwrap();
    early.not_before = date_time_ymd(2090, 1, 1);
    early.not_after = date_time_ymd(2091, 1, 1);
    let servers = [
        (other.sign(&["localhost"]), "signed by nobody who is trusted here"),
        (authority.sign(&["kafka.example.com"]), "not valid for the name localhost, only for"),
        (authority.sign_params(&expired), "has expired"),
        (authority.sign_params(&early), "not valid yet"),
    ];
    on_io_thread(async {
        let trusted = authority.pem();
        for (signed, sentence) in servers {
            let broker = broker(vec![signed.server(None)]).await;
            let config = config(&[("ssl.truststore.certificates", &trusted)]);
            let said = refused(connect(&broker, "localhost", &config).await);
            assert!(said.contains(sentence), "{said}");
        }
    });
}

#[test]
fn without_endpoint_identification_any_name_will_do_but_not_any_authority() {
    let (authority, other) = (Authority::new(), Authority::named("another"));
    let server = authority.sign(&["kafka.example.com"]).server(None);
    on_io_thread(async {
        let broker = broker(vec![server]).await;
        let any_name = ("ssl.endpoint.identification.algorithm", "");
        let trusting = config(&[("ssl.truststore.certificates", &authority.pem()), any_name]);
        connect(&broker, "localhost", &trusting).await.unwrap();
        let elsewhere = config(&[("ssl.truststore.certificates", &other.pem()), any_name]);
        let said = refused(connect(&broker, "localhost", &elsewhere).await);
        assert!(said.contains("signed by nobody"), "{said}");
    });
}

/// What `openssl req -x509` makes: its own authority, and says so.
#[test]
fn a_brokers_own_certificate_in_the_truststore_is_trusted_while_it_is_in_time() {
    let own = |end| {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(end, 1, 1);
        let key = KeyPair::generate().unwrap();
        Signed { certificate: params.self_signed(&key).unwrap(), key }
    };
    let (good, old, stranger) = (own(2090), own(2021), own(2090));
    on_io_thread(async {
        let broker = broker(vec![good.server(None), old.server(None), good.server(None)]).await;
        let trusting =
            |own: &Signed| config(&[("ssl.truststore.certificates", &own.certificate.pem())]);
        connect(&broker, "localhost", &trusting(&good)).await.unwrap();
        let said = refused(connect(&broker, "localhost", &trusting(&old)).await);
        assert!(said.contains("expired"), "{said}");
        refused(connect(&broker, "localhost", &trusting(&stranger)).await);
    });
}

#[test]
fn a_broker_that_asks_for_our_certificate_gets_it_or_we_say_what_it_wants() {
    let (authority, clients) = (Authority::new(), Authority::named("another"));
    let server = authority.sign(&["localhost"]).server(Some(&clients));
    let (ours, strangers) = (clients.sign(&["me"]), authority.sign(&["me"]));
    on_io_thread(async {
        let broker = broker(vec![server]).await;
        let trusted = authority.pem();
        let trust = ("ssl.truststore.certificates", trusted.as_str());
        let with = |signed: &Signed| {
            let (key, chain) = (signed.key.serialize_pem(), signed.certificate.pem());
            config(&[trust, ("ssl.keystore.key", &key), ("ssl.keystore.certificate.chain", &chain)])
        };
        let connection = connect(&broker, "localhost", &with(&ours)).await.unwrap();
        assert!(connection.is_open());
        for config in [config(&[trust]), with(&strangers)] {
            let error = connect(&broker, "localhost", &config).await.err().unwrap();
            // Version 1.3 tells it after the handshake; the end of the connection may overtake it.
            if error.kind != NetworkErrorKind::ClosedByBroker {
                assert!(error.to_string().contains("ssl.keystore.location"), "{error}");
            }
        }
        let tls12 = config(&[trust, ("ssl.enabled.protocols", "TLSv1.2")]);
        let said = refused(connect(&broker, "localhost", &tls12).await);
        assert!(said.contains("ssl.keystore.location"), "{said}");
    });
}

#[test]
fn files_that_change_are_read_again_and_bad_ones_are_not_used() {
    let (first, second) = (Authority::new(), Authority::named("another"));
    let servers = vec![
        first.sign(&["localhost"]).server(Some(&first)),
        second.sign(&["localhost"]).server(Some(&second)),
        second.sign(&["localhost"]).server(Some(&second)),
        first.sign(&["localhost"]).server(Some(&first)),
    ];
    let scratch = tempfile::tempdir().unwrap();
    let (trust, own) = (scratch.path().join("trust.pem"), scratch.path().join("own.pem"));
    let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
    write(&trust, &first.pem());
    write(&own, &first.sign(&["me"]).pem());
    on_io_thread(async {
        let broker = broker(servers).await;
        let config = config(&[
            ("ssl.truststore.location", trust.to_str().unwrap()),
            ("ssl.truststore.type", "PEM"),
            ("ssl.keystore.location", own.to_str().unwrap()),
        ]);
        connect(&broker, "localhost", &config).await.unwrap();
        // Another size, so that it doesn't matter how finely the file system tells the time.
        write(&trust, &format!("new\n{}", second.pem()));
        write(&own, &format!("new\n{}", second.sign(&["me"]).pem()));
        connect(&broker, "localhost", &config).await.unwrap();
        write(&own, "no key at all");
        connect(&broker, "localhost", &config).await.unwrap();
        write(&trust, &format!("newer\n{}", first.pem()));
        write(&own, &format!("newer\n{}", first.sign(&["me"]).pem()));
        connect(&broker, "localhost", &config).await.unwrap();
    });
}

#[test]
fn who_speaks_in_the_clear_where_the_other_encrypts_is_told() {
    let authority = Authority::new();
    on_io_thread(async {
        let plain = FakeBroker::start(|_, _| Answer::Close).await;
        let encrypted = config(&[("ssl.truststore.certificates", &authority.pem())]);
        // The fake broker can't read a TLS record's head as a length, and hangs up, as Kafka does.
        let address = Arc::clone(&plain.address);
        let error = BrokerConnection::connect(&address, &encrypted, LONG).await;
        let error = error.err().unwrap();
        assert!(matches!(error.kind, NetworkErrorKind::TlsHandshake(_)), "{error}");
        assert!(error.is_retriable(), "{error}");
        let talkative = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = talkative.local_addr().unwrap().to_string().parse().unwrap();
        tokio::task::spawn_local(async move {
            let (mut stream, _) = talkative.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 mail ready\r\n").await.unwrap();
            std::future::pending::<()>().await;
        });
        let result = BrokerConnection::connect(&Arc::new(address), &encrypted, LONG).await;
        let said = refused(result);
        assert!(said.contains("doesn't speak TLS") && said.contains("security.protocol"), "{said}");
    });
}

#[test]
fn large_requests_and_responses_pass_through_tls_in_order() {
    let authority = Authority::new();
    let server = authority.sign(&["localhost"]).server(None);
    on_io_thread(async {
        let broker = FakeBroker::start_over(vec![server], |header, _| {
            if header.api_key == streamledger_protocol::ApiKey::ApiVersions.code() {
                return (None, Answer::hello(api_versions()));
            }
            let broker = MetadataResponseBroker { host: "h".repeat(30_000), ..Default::default() };
            let response = MetadataResponse { brokers: vec![broker; 20], ..Default::default() };
            (None, Answer::Respond(AnyResponse::Metadata(response)))
        })
        .await;
        let config = config(&[("ssl.truststore.certificates", &authority.pem())]);
        let connection = connect(&broker, "localhost", &config).await.unwrap();
        let topic =
            |number: usize| streamledger_protocol::messages::metadata::MetadataRequestTopic {
                name: Some(format!("{}-{number}", "t".repeat(200)).as_str().into()),
                ..Default::default()
            };
        let request = MetadataRequest {
            topics: Some((0..5_000).map(topic).collect()),
            ..MetadataRequest::default()
        };
        let calls: Vec<_> = (0..4).map(|_| connection.call(&request, LONG)).collect();
        for call in calls {
            let brokers = call.await.unwrap().brokers;
            assert_eq!(brokers.iter().map(|broker| broker.host.len()).sum::<usize>(), 600_000);
        }
    });
}

#[test]
fn a_warm_producer_that_doesnt_trust_its_broker_any_more_says_so() {
    let (authority, other) = (Authority::new(), Authority::named("another"));
    let trusted = authority.sign(&["localhost"]).server(None);
    let address = fickle_leader(vec![trusted, other.sign(&["localhost"]).server(None)]);
    let properties = Properties::new()
        .with("bootstrap.servers", format!("localhost:{}", address.port))
        .with("security.protocol", "SSL")
        .with("ssl.truststore.certificates", authority.pem());
    names_who_turned_it_away(&properties, "a connection to broker 0 (localhost:");
}

#[test]
fn an_encrypted_key_is_opened_by_its_password() {
    let pem = include_str!("../../../tests/data/encrypted-key.pem");
    let opened = |settings: &[(&str, &str)]| {
        let mut all = vec![
            ("ssl.truststore.certificates", CERTIFICATE),
            ("ssl.keystore.key", pem),
            ("ssl.keystore.certificate.chain", CERTIFICATE),
        ];
        all.extend(settings);
        all.iter().fold(Properties::new(), |p, (name, value)| p.with(*name, *value))
    };
    let build = |properties: Properties| {
        let properties =
            properties.with("bootstrap.servers", "localhost:1").with("security.protocol", "SSL");
        ProducerConfig::from_properties(&properties).map_err(|error| error.to_string())
    };
    build(opened(&[("ssl.key.password", "hunter2")])).unwrap();
    let error = build(opened(&[])).unwrap_err();
    let sentence = "ssl.key.password: it is not set, and the key of ssl.keystore.key is encrypted";
    assert_eq!(error, sentence);
    let error = build(opened(&[("ssl.key.password", "hunter3")])).unwrap_err();
    assert!(error.starts_with("ssl.key.password: it doesn't open the key"), "{error}");
    assert!(!error.contains("hunter"), "{error}");
}

/// Made with the key beside: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`,
/// `openssl pkcs8 -topk8 -v2 aes256`, `openssl req -x509`.
const CERTIFICATE: &str = include_str!("../../../tests/data/encrypted-key-certificate.pem");

#[test]
fn javas_stores_are_refused_with_the_command_that_converts() {
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = scratch.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let jks = file("trust.jks", &[0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2]);
    let said = refusal(&[("ssl.truststore.location", &jks), ("ssl.truststore.password", "secret")]);
    let sentence = format!(
        "ssl.truststore.location: {jks} is JKS, and only PEM is read here; convert it: keytool \
         -list -rfc -keystore {jks} > truststore.pem; then set ssl.truststore.type=PEM and leave \
         ssl.truststore.password out"
    );
    assert_eq!(said, sentence);
    let blank = file("alice's trust.jks", &[0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2]);
    let said = refusal(&[("ssl.truststore.location", &blank)]);
    let word = blank.replace('\'', "'\\''");
    assert!(said.contains(&format!(" -keystore '{word}' > truststore.pem; then")), "{said}");
    let p12 = file("own.p12", &[0x30, 0x82, 1, 2, 2, 1, 3, 0x30]);
    let said = refusal(&[("ssl.keystore.location", &p12), ("ssl.keystore.password", "secret")]);
    assert!(said.contains(" is PKCS12, ") && said.contains("openssl pkcs12 -in"), "{said}");
    let text = file("empty.pem", b"nothing here");
    let said = refusal(&[("ssl.truststore.location", &text), ("ssl.truststore.type", "PEM")]);
    assert!(said.contains(" is no PEM, "), "{said}");
}

#[test]
fn what_does_not_go_together_is_said_at_the_start() {
    let authority = Authority::new().pem();
    let trust = ("ssl.truststore.certificates", authority.as_str());
    let cases: [(&[(&str, &str)], &str); 9] = [
        (&[("ssl.truststore.location", "/no/such.pem")], "cannot read /no/such.pem: "),
        (&[trust, ("ssl.truststore.location", "/x")], "ssl.truststore.location and ssl.trust"),
        (&[trust, ("ssl.truststore.password", "x")], "ssl.truststore.password: a truststore in"),
        (&[trust, ("ssl.keystore.key", "x")], "ssl.keystore.key and ssl.keystore.certificate"),
        (&[trust, ("ssl.enabled.protocols", "TLSv1.1")], "ssl.enabled.protocols: none of them"),
        (&[trust, ("ssl.enabled.protocols", "TLSv2")], "ssl.enabled.protocols: \"TLSv2\" is no"),
        (&[trust, ("ssl.protocol", "SSLv3")], "ssl.protocol: \"SSLv3\" is none of"),
        (&[trust, ("ssl.cipher.suites", "TLS_X")], "ssl.cipher.suites: \"TLS_X\" is not known;"),
        (
            &[trust, ("ssl.endpoint.identification.algorithm", "dns")],
            "ssl.endpoint.identification.algorithm: \"dns\" is neither https nor empty",
        ),
    ];
    for (settings, start) in cases {
        let said = refusal(settings);
        assert!(said.starts_with(start), "{said}");
    }
    let said = refusal(&[
        trust,
        ("ssl.enabled.protocols", "TLSv1.2"),
        ("ssl.cipher.suites", "TLS_AES_128_GCM_SHA256"),
    ]);
    assert!(said.starts_with("ssl.cipher.suites and ssl.enabled.protocols: "), "{said}");
}
