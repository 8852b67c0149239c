//! Our clients through the listeners of an Apache Kafka that wants TLS, a certificate or a login.
//!
//! One broker has them all, with certificates made for this run. Each way in has a properties file,
//! as a Java client would be given it: a topic is created, records are produced and read back.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use streamledger::{
    Admin, AdminConfig, Consumer, ConsumerConfig, NewTopic, Offset, Position, Producer,
    ProducerConfig, ProducerRecord, Properties, TopicName,
};

use super::broker::{Broker, free_address};
use super::lab::{LIMIT, Trial};
use super::record::{Ack, read_lines};
use super::secured_stores::{are_converted, are_read_again};
use super::secured_tokens::{CLIENT_ID, CLIENT_SECRET, Elsewhere, SCOPE, TokenEndpoint};
use crate::failure::{Failure, Outcome, ensure};
use crate::process;

const RECORDS: usize = 50;
/// A session's life: Kafka takes a second login after a second, and a client logs in again when a
/// twentieth of it is left at least, in which a busy machine must come to do so.
const SESSION: Duration = Duration::from_secs(4);
/// So long records are sent, over several sessions.
const SENDING: Duration = Duration::from_secs(9);

/// Opens the key that is encrypted.
const KEY_PASSWORD: &str = "alices-key";

const KAFKA: &str = "org.apache.kafka.common.security";
const BEARER: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";
/// By which Java's client asks a token endpoint.
const BEARER_HANDLER: &str =
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler";

/// The ports of the listeners, by their name in the broker's settings.
struct Ports {
    tls: u16,
    mutual: u16,
    login: u16,
    secure: u16,
}

/// The broker, and the files that clients are given.
struct Lock {
    broker: Broker,
    ports: Ports,
    /// The authority of all certificates.
    authority: PathBuf,
    /// A client's own key and certificate.
    own: PathBuf,
    /// The same, with the key encrypted.
    encrypted: PathBuf,
    /// Certificates of the same authority and of another, for a file that changes.
    changes: [String; 3],
    /// The settings of mTLS as one line each, in Java's syntax.
    inline: String,
    tokens: TokenEndpoint,
    /// An authority that signed nothing.
    stranger: PathBuf,
}

pub(crate) fn each_way_in(trial: &Trial) -> Outcome<String> {
    let lock = Lock::make(trial)?;
    lock.create_users(trial)?;
    let ways = lock.ways();
    for (name, settings) in &ways {
        let through = |failure: Failure| failure.while_doing(name);
        lock.pass(trial, name, settings).map_err(through)?;
    }
    let asked = lock.by_provider().map_err(|failure| failure.while_doing("a token provider"))?;
    // Three clients in the clear, three over TLS; each keeps its token.
    ensure!(asked == 6, "the token provider was asked {asked} times");
    let given = lock.tokens.given();
    ensure!(given >= 6, "the token endpoint gave {given} tokens");
    lock.stores(trial)?;
    lock.commands(trial)?;
    let turned_away = lock.turns_away()?;
    let sent = lock.logs_in_again()?;
    let java = lock.java(trial, &ways).map_err(|failure| failure.while_doing("java"))?;
    let names: Vec<&str> = ways.iter().map(|(name, _)| *name).collect();
    Ok(format!(
        "{RECORDS} records each by {}, a token provider, and mTLS by stores that were converted; a \
         changed certificate is used; Java by {java} of the same files; {turned_away} turned away; \
         {sent} over sessions of {} s",
        names.join(", "),
        SESSION.as_secs()
    ))
}

impl Lock {
    fn make(trial: &Trial) -> Outcome<Self> {
        let (authority, stranger) = (Authority::new("ours")?, Authority::new("stranger")?);
        let write = |name: &str, text: &str| trial.write(name, text);
        let broker_store = write("broker.pem", &authority.sign("localhost")?)?;
        let authority_file = write("authority.pem", &authority.pem())?;
        let pem = authority.sign("alice")?;
        let own = write("own.pem", &pem)?;
        let (key, certificate) = parts(&pem)?;
        let encrypted = write("encrypted.pem", &(encrypt(key)? + certificate))?;
        let inline = [
            ("ssl.keystore.key", key),
            ("ssl.keystore.certificate.chain", certificate),
            ("ssl.truststore.certificates", &authority.pem()),
        ];
        let inline = inline.map(|(name, pem)| format!("{name}={}\n", on_one_line(pem))).concat();
        let port = || Ok::<_, Failure>(free_address()?.port());
        let ports = Ports { tls: port()?, mutual: port()?, login: port()?, secure: port()? };
        let files = [
            format!("ssl.keystore.location={}", broker_store.display()),
            format!("ssl.truststore.location={}", authority_file.display()),
        ];
        let settings = [ports.settings(), files.to_vec()].concat();
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let broker = trial.own_broker(&settings)?;
        let (strangers, renewed) = (stranger.sign("mallory")?, authority.sign("alice")?);
        let stranger = write("stranger.pem", &stranger.pem())?;
        let changes = [pem, strangers, renewed];
        let (authority, tokens) = (authority_file, TokenEndpoint::start()?);
        Ok(Self { broker, ports, authority, own, encrypted, changes, inline, tokens, stranger })
    }

    /// A user for each hash of SCRAM, by Kafka's own tool, both at once.
    fn create_users(&self, trial: &Trial) -> Outcome<()> {
        let tool = |hash: &str| -> Outcome<_> {
            let mut tool = trial.tools().java("kafka.admin.ConfigCommand")?;
            tool.args(["--bootstrap-server", &self.broker.bootstrap(), "--alter"]);
            tool.args(["--entity-type", "users", "--entity-name", &format!("alice{hash}")]);
            tool.args(["--add-config", &format!("SCRAM-SHA-{hash}=[password=alice-{hash}]")]);
            Ok(tool)
        };
        let mut tools = [tool("256")?, tool("512")?];
        thread::scope(|scope| {
            let runs = tools
                .iter_mut()
                .map(|tool| scope.spawn(|| process::run_ok(tool, b"", LIMIT).map(drop)));
            let panicked = |_| Failure::new("the tool panicked");
            let runs: Vec<_> = runs.collect();
            runs.into_iter().try_for_each(|run| run.join().map_err(panicked)?)
        })
    }

    fn ways(&self) -> Vec<(&'static str, String)> {
        let tls = self.tls(&self.authority);
        let Ports { tls: tls_port, mutual, login, secure } = self.ports;
        let scram = |hash: &str| self.scram("SASL_SSL", secure, hash);
        let encrypted = |more: &str| format!("{}security.protocol=SSL\n{more}", at(tls_port));
        let mutual = |more: &str| {
            format!("{}security.protocol=SSL\nssl.keystore.type=PEM\n{more}", at(mutual))
        };
        let by_file = |file: &PathBuf| format!("ssl.keystore.location={}\n{tls}", file.display());
        let by_password = format!("ssl.key.password={KEY_PASSWORD}\n{}", by_file(&self.encrypted));
        let by_text = format!("ssl.truststore.type=PEM\n{}", self.inline);
        vec![
            ("TLS", encrypted(&tls)),
            ("TLS 1.2", encrypted(&format!("ssl.enabled.protocols=TLSv1.2\n{tls}"))),
            ("TLS 1.3", encrypted(&format!("ssl.enabled.protocols=TLSv1.3\n{tls}"))),
            ("mTLS", mutual(&by_file(&self.own))),
            ("mTLS with an encrypted key", mutual(&by_password)),
            ("mTLS with inline PEM", mutual(&by_text)),
            ("PLAIN", plain("SASL_PLAINTEXT", login, "alice-secret")),
            ("TLS+PLAIN", plain("SASL_SSL", secure, "alice-secret") + &tls),
            ("TLS+SCRAM-SHA-256", scram("256") + &tls),
            ("TLS+SCRAM-SHA-512", scram("512") + &tls),
            ("SCRAM-SHA-512", self.scram("SASL_PLAINTEXT", login, "512")),
            ("OAUTHBEARER", bearer(login)),
            ("OIDC", self.oidc("SASL_PLAINTEXT", login)),
            ("TLS+OIDC", self.oidc_of_old("SASL_SSL", secure) + &tls),
        ]
    }

    fn tls(&self, authority: &std::path::Path) -> String {
        format!("ssl.truststore.type=PEM\nssl.truststore.location={}\n", authority.display())
    }

    fn scram(&self, protocol: &str, port: u16, hash: &str) -> String {
        format!(
            "{}security.protocol={protocol}\nsasl.mechanism=SCRAM-SHA-{hash}\n\
             sasl.jaas.config={KAFKA}.scram.ScramLoginModule required \\\n    \
             username=\"alice{hash}\" password=\"alice-{hash}\";\n",
            at(port)
        )
    }

    /// Tokens by client id and secret, as settings have them since Kafka 4.2.
    fn oidc(&self, protocol: &str, port: u16) -> String {
        format!(
            "{}sasl.oauthbearer.client.credentials.client.id={CLIENT_ID}\n\
             sasl.oauthbearer.client.credentials.client.secret={CLIENT_SECRET}\n\
             sasl.oauthbearer.scope={SCOPE}\n\
             sasl.jaas.config={BEARER} required;\n",
            self.endpoint(protocol, port)
        )
    }

    /// The same, as the login module had them before.
    fn oidc_of_old(&self, protocol: &str, port: u16) -> String {
        format!(
            "{}sasl.jaas.config={BEARER} required clientId=\"{CLIENT_ID}\" \
             clientSecret=\"{CLIENT_SECRET}\" scope=\"{SCOPE}\";\n",
            self.endpoint(protocol, port)
        )
    }

    fn endpoint(&self, protocol: &str, port: u16) -> String {
        format!(
            "{}security.protocol={protocol}\nsasl.mechanism=OAUTHBEARER\n\
             sasl.login.callback.handler.class={BEARER_HANDLER}\n\
             sasl.oauthbearer.token.endpoint.url={}\n",
            at(port),
            self.tokens.url
        )
    }

    /// Tokens from a provider of the program's own, in the clear and over TLS.
    fn by_provider(&self) -> Outcome<usize> {
        let ports = [("SASL_PLAINTEXT", self.ports.login), ("SASL_SSL", self.ports.secure)];
        let provider = Elsewhere::default();
        for (protocol, port) in ports {
            let settings = format!(
                "{}security.protocol={protocol}\nsasl.mechanism=OAUTHBEARER\n{}",
                at(port),
                self.tls(&self.authority)
            );
            let properties = || Properties::parse(&settings);
            let admin = AdminConfig::builder().properties(properties()?);
            let producer = ProducerConfig::builder().properties(properties()?);
            let consumer = ConsumerConfig::builder().properties(properties()?);
            let (admin, producer, consumer) = (
                admin.token_provider(provider.clone()).build()?,
                producer.token_provider(provider.clone()).build()?,
                consumer.token_provider(provider.clone()).build()?,
            );
            round(&format!("secured-provider-{protocol}"), admin, producer, consumer)?;
        }
        Ok(provider.asked())
    }

    /// Files that change, and files of Java's own kinds.
    fn stores(&self, trial: &Trial) -> Outcome<()> {
        let mutual = format!("{}security.protocol=SSL\n", at(self.ports.mutual));
        let trusting = format!("{mutual}{}", self.tls(&self.authority));
        let changes = self.changes.each_ref().map(String::as_str);
        are_read_again(trial, &trusting, "secured-mTLS", changes)
            .map_err(|failure| failure.while_doing("files that change"))?;
        for (kind, settings) in are_converted(trial, &mutual, &self.own, &self.authority)? {
            let name = format!("mTLS from {kind}");
            self.pass(trial, &name, &settings).map_err(|failure| failure.while_doing(name))?;
        }
        Ok(())
    }

    /// Creates a topic, produces and reads back, all by these settings.
    fn pass(&self, trial: &Trial, name: &str, settings: &str) -> Outcome<()> {
        let topic = topic_of(name);
        let file = trial.write(&file_of(&topic), settings)?;
        let properties = Properties::parse_file(file)?;
        round(
            &topic,
            AdminConfig::from_properties(&properties)?,
            ProducerConfig::from_properties(&properties)?,
            ConsumerConfig::from_properties(&properties)?,
        )
    }

    /// Java's producer is given the same files as they are. Not those of token endpoints, whose
    /// tokens it wants signed, nor an encrypted key: Java 17 has no PBES2 to open it by.
    fn java(&self, trial: &Trial, ways: &[(&str, String)]) -> Outcome<usize> {
        let mut java = trial.tools().java("Peer")?;
        java.arg("produce-by");
        let is_javas = |name: &str| !name.contains("OIDC") && !name.contains("encrypted");
        let topics = ways.iter().filter(|(name, _)| is_javas(name));
        let topics: Vec<String> = topics.map(|(name, _)| topic_of(name)).collect();
        for topic in &topics {
            java.arg(topic).arg(trial.directory.join(file_of(topic)));
        }
        let said = process::run_ok(&mut java, b"", LIMIT)?.text();
        let acks = read_lines(&said, Ack::from_line)?.len();
        ensure!(acks == topics.len(), "Java got in by {acks} of {} files: {said}", topics.len());
        Ok(acks)
    }

    /// The command gets in by a properties file, as Kafka's own tools do.
    fn commands(&self, trial: &Trial) -> Outcome<()> {
        let settings =
            self.scram("SASL_SSL", self.ports.secure, "256") + &self.tls(&self.authority);
        let file = trial.write("command.properties", &settings)?;
        let topic = "secured-TLS-SCRAM-SHA-256";
        let run = |arguments: &[&str], option: &str| -> Outcome<String> {
            let mut command = trial.tools().streamledger()?;
            command.args(arguments).arg(option).arg(&file);
            command.args(["--bootstrap-servers", &format!("localhost:{}", self.ports.secure)]);
            let output = process::run_ok(&mut command, b"", LIMIT)?;
            Ok(output.text())
        };
        let described = run(&["topics", "describe", topic], "--command-config")?;
        ensure!(described.contains(topic), "{described}");
        let all = ["consume", topic, "--from-beginning", "--format", "json"];
        let read = run(&all, "--consumer-config")?.lines().count();
        ensure!(read == RECORDS, "the command read {read} of {RECORDS} records");
        Ok(())
    }

    /// What must not get in, and the word for it.
    fn turns_away(&self) -> Outcome<usize> {
        let Ports { tls, mutual, login, .. } = self.ports;
        let authority = self.tls(&self.authority);
        let encrypted = |port| format!("{}security.protocol=SSL\n", at(port));
        let cases = [
            (encrypted(tls) + &self.tls(&self.stranger), "signed by nobody who is trusted"),
            (
                encrypted(tls).replace("localhost", "127.0.0.1") + &authority,
                "not valid for the name 127.0.0.1, only for",
            ),
            (encrypted(mutual) + &authority, "certificate"),
            (plain("SASL_PLAINTEXT", login, "wrong"), "SASL PLAIN: Authentication failed"),
            (
                self.scram("SASL_PLAINTEXT", login, "512").replace("alice-512", "wrong"),
                "SASL SCRAM-SHA-512: Authentication failed",
            ),
            (
                self.oidc("SASL_PLAINTEXT", login).replace(CLIENT_SECRET, "wrong"),
                "the token endpoint answers 401: invalid_client",
            ),
            (at(tls), "the broker speaks TLS there"),
        ];
        for (settings, sentence) in &cases {
            let properties = Properties::parse(settings)?.with("default.api.timeout.ms", "8000");
            let properties = properties.with("request.timeout.ms", "4000");
            let admin = Admin::new(AdminConfig::from_properties(&properties)?)?;
            let said = match admin.describe_cluster() {
                Ok(_) => return Err(Failure::new(format!("let in: {settings}"))),
                Err(error) => error.to_string(),
            };
            ensure!(said.contains(sentence), "expected {sentence:?}, but: {said}");
        }
        Ok(cases.len())
    }

    /// Producers send over several sessions, in the clear and over TLS, one of them in the midst of
    /// a transaction: a session that ended with its connection would have another made.
    fn logs_in_again(&self) -> Outcome<usize> {
        let Ports { login, .. } = self.ports;
        let settings = [
            plain("SASL_PLAINTEXT", login, "alice-secret"),
            self.scram("SASL_PLAINTEXT", login, "256"),
            bearer(login),
        ];
        let producers: Vec<Producer> = settings
            .iter()
            .map(|settings| {
                let properties = Properties::parse(&format!("{settings}linger.ms=0\n"))?;
                Ok(Producer::new(ProducerConfig::from_properties(&properties)?)?)
            })
            .collect::<Outcome<_>>()?;
        let transactional = self.over_tls("transactional.id=secured\n")?;
        let encrypted = self.over_tls("linger.ms=0\n")?;
        transactional.init_transactions()?;
        let mut transaction = transactional.begin_transaction()?;
        let to = |topic| ProducerRecord::to(topic).value(b"again");
        transaction.send(to("secured-TLS"))?.wait()?;
        encrypted.send(to("secured-TLS"))?.wait()?;
        for producer in &producers {
            producer.send(to("secured-PLAIN"))?.wait()?;
        }
        let all = || producers.iter().chain([&transactional, &encrypted]);
        let made = || all().map(|p| p.metrics().connection_creation_total).collect::<Vec<_>>();
        let before = made();
        let end = Instant::now() + SENDING;
        let mut sent = Vec::new();
        while Instant::now() < end {
            sent.push(transaction.send(to("secured-TLS"))?);
            sent.push(encrypted.send(to("secured-TLS"))?);
            for producer in &producers {
                sent.push(producer.send(to("secured-PLAIN"))?);
            }
            thread::sleep(Duration::from_millis(10));
        }
        let count = sent.len();
        for delivery in sent {
            delivery.wait()?;
        }
        transaction.commit()?;
        // One for a machine that stood still at the end of a session.
        for (before, after) in before.into_iter().zip(made()) {
            ensure!(after <= before + 1, "{} connections were made anew", after - before);
        }
        Ok(count)
    }

    /// A producer by SCRAM over TLS, with more settings.
    fn over_tls(&self, more: &str) -> Outcome<Producer> {
        let login = self.scram("SASL_SSL", self.ports.secure, "512");
        let settings = format!("{login}{}{more}", self.tls(&self.authority));
        Ok(Producer::new(ProducerConfig::from_properties(&Properties::parse(&settings)?)?)?)
    }
}

fn topic_of(way: &str) -> String {
    format!("secured-{}", way.replace(['+', ' '], "-"))
}

fn file_of(topic: &str) -> String {
    format!("{topic}.properties")
}

/// Creates a topic, produces and reads back.
fn round(
    topic: &str,
    admin: AdminConfig,
    producer: ProducerConfig,
    consumer: ConsumerConfig,
) -> Outcome<()> {
    let admin = Admin::new(admin)?;
    admin.create_topics(&[NewTopic::new(TopicName::new(topic), 1, 1)])?.only()?;
    let producer = Producer::new(producer)?;
    // Some are larger than a record of TLS, and than a socket's buffer.
    let value = |number: usize| vec![b'a' + (number % 26) as u8; number * number * 50];
    let sent: Vec<_> = (0..RECORDS)
        .map(|number| producer.send(ProducerRecord::to(topic).value(&value(number))))
        .collect::<Result<_, _>>()?;
    for delivery in sent {
        delivery.wait()?;
    }
    let consumer = Consumer::new(consumer)?;
    let partitions = consumer.partitions_for(topic)?;
    let start: Vec<_> = partitions.into_iter().map(|at| (at, Position::Beginning)).collect();
    consumer.assign(&start);
    let deadline = Instant::now() + LIMIT;
    let mut next = 0;
    while next < RECORDS {
        ensure!(Instant::now() < deadline, "{next} of {RECORDS} records came back");
        for record in consumer.poll(Duration::from_millis(200))? {
            ensure!(record.offset == Offset(i64::try_from(next)?), "{:?}", record.offset);
            ensure!(record.value.as_deref() == Some(&*value(next)), "record {next} differs");
            next += 1;
        }
    }
    Ok(())
}

/// Key and certificate of a PEM that has one after the other.
fn parts(pem: &str) -> Outcome<(&str, &str)> {
    let at = pem.find("-----BEGIN CERTIFICATE");
    at.map(|at| pem.split_at(at)).ok_or_else(|| Failure::new("no certificate"))
}

/// The key by PBES2, as OpenSSL makes it.
fn encrypt(key: &str) -> Outcome<String> {
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs8", "-topk8", "-v2", "aes256", "-passout"]);
    openssl.arg(format!("pass:{KEY_PASSWORD}"));
    Ok(process::run_ok(&mut openssl, key.as_bytes(), LIMIT)?.text())
}

/// A text with line ends as a properties file has it in one line.
fn on_one_line(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\\n")
}

fn at(port: u16) -> String {
    format!("bootstrap.servers=localhost:{port}\n")
}

fn plain(protocol: &str, port: u16, password: &str) -> String {
    format!(
        "{}security.protocol={protocol}\nsasl.mechanism=PLAIN\n\
         sasl.jaas.config={KAFKA}.plain.PlainLoginModule required username=\"alice\" \
         password=\"{password}\";\n",
        at(port)
    )
}

fn bearer(port: u16) -> String {
    format!(
        "{}security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\n\
         sasl.jaas.config={KAFKA}.oauthbearer.OAuthBearerLoginModule required \
         unsecuredLoginStringClaim_sub=\"alice\";\n",
        at(port)
    )
}

impl Ports {
    /// The listeners, as the broker is told of them.
    fn settings(&self) -> Vec<String> {
        let Self { tls, mutual, login, secure } = self;
        let named = [("TLS", tls), ("MUTUAL", mutual), ("LOGIN", login), ("SECURE", secure)];
        let all = |host: &str| -> String {
            named.iter().map(|(name, port)| format!(",{name}://{host}:{port}")).collect()
        };
        let mut lines = vec![
            format!(
                "listeners=PLAINTEXT://{{listener}},CONTROLLER://{{controller}}{}",
                all("127.0.0.1")
            ),
            format!("advertised.listeners=PLAINTEXT://{{listener}}{}", all("localhost")),
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,TLS:SSL,\
             MUTUAL:SSL,LOGIN:SASL_PLAINTEXT,SECURE:SASL_SSL"
                .to_owned(),
            "ssl.keystore.type=PEM".to_owned(),
            "ssl.truststore.type=PEM".to_owned(),
            "listener.name.mutual.ssl.client.auth=required".to_owned(),
            "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER".to_owned(),
            format!("connections.max.reauth.ms={}", SESSION.as_millis()),
        ];
        for listener in ["login", "secure"] {
            let mut jaas = |mechanism: &str, module: &str| {
                lines.push(format!(
                    "listener.name.{listener}.{mechanism}.sasl.jaas.config={KAFKA}.{module};"
                ));
            };
            jaas("plain", "plain.PlainLoginModule required user_alice=\"alice-secret\"");
            jaas("scram-sha-256", "scram.ScramLoginModule required");
            jaas("scram-sha-512", "scram.ScramLoginModule required");
            jaas(
                "oauthbearer",
                "oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"b\"",
            );
            // Kafka 4 takes unsigned tokens only where it is told to, by this.
            lines.push(format!(
                "listener.name.{listener}.oauthbearer.sasl.server.callback.handler.class={KAFKA}.\
                 oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
            ));
        }
        lines
    }
}

/// An authority that signs for one run.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new(name: &str) -> Outcome<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Its certificate.
    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A key and its certificate for a name, as one PEM.
    pub(super) fn sign(&self, name: &str) -> Outcome<String> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([name.to_owned()])?.signed_by(&key, &self.0)?;
        Ok(key.serialize_pem() + &certificate.pem())
    }
}
