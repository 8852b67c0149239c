//! What a user of the configuration can rely on, against Kafka's own table.

use std::collections::BTreeSet;
use std::time::Duration;

use rstest::rstest;
use streamledger_protocol::{Acks, Codec, IsolationLevel};

use super::*;

const KAFKAS_TABLE: &str = include_str!("../../tests/data/kafka-4.3-settings.tsv");

/// Where our default is another than Kafka's: client, name, Kafka's, ours. Each has its reason in
/// its row, and a page in docs/decisions.
const OTHER_DEFAULTS: [(ClientKind, &str, &str, &str); 1] =
    [(ClientKind::Producer, "send.buffer.bytes", "131072", "524288")];

fn producer(text: &str) -> Result<ProducerConfig, ConfigError> {
    let text = format!("bootstrap.servers=localhost:9092\n{text}");
    ProducerConfig::from_properties(&Properties::parse(&text)?)
}

fn refusal(text: &str) -> String {
    producer(text).unwrap_err().to_string()
}

#[test]
fn every_setting_of_kafkas_is_known_with_its_type_default_and_importance() {
    let mut compared = 0;
    let mut kafkas_names = BTreeSet::new();
    for row in KAFKAS_TABLE.lines().filter(|line| !line.starts_with('#')) {
        let [client, name, kind, default, importance] = row.split('\t').collect::<Vec<_>>()[..]
        else {
            panic!("{row}");
        };
        let client = match client {
            "P" => ClientKind::Producer,
            "C" => ClientKind::Consumer,
            _ => ClientKind::Admin,
        };
        let spec = settings_table()
            .find(|spec| spec.name == name && spec.belongs_to(client))
            .unwrap_or_else(|| panic!("{client} has no {name}"));
        assert_eq!(spec.kind.name(), kind.to_ascii_lowercase(), "{name}");
        match OTHER_DEFAULTS.iter().find(|other| (other.0, other.1) == (client, name)) {
            Some(other) => {
                assert_eq!(kafkas_default(default).as_deref(), Some(other.2), "{name}");
                assert_eq!(spec.default.text(client), Some(other.3), "{name}");
            }
            None => {
                let ours = ours_as_kafka_prints_it(spec, client);
                assert_eq!(ours, kafkas_default(default), "{name}");
            }
        }
        let highest = spec.importance.to_string().to_ascii_uppercase();
        let shared = spec.clients.len() > 1;
        assert!(shared || highest == importance, "{name}: {highest}, Kafka has {importance}");
        kafkas_names.insert((client, name));
        compared += 1;
    }
    assert_eq!(compared, 319);
    // Of Kafka 4.4 (KIP-1123).
    let newer = ["partitioner.rack.aware", "client.rack"];
    kafkas_names.extend(newer.map(|name| (ClientKind::Producer, name)));
    // Of Kafka 3, in files that are still about.
    kafkas_names.extend(ClientKind::ALL.map(|client| (client, "auto.include.jmx.reporter")));
    for spec in settings_table() {
        for &client in spec.clients {
            assert!(
                kafkas_names.remove(&(client, spec.name)),
                "{} twice or not Kafka's",
                spec.name
            );
        }
    }
    assert!(kafkas_names.is_empty(), "{kafkas_names:?}");
}

fn kafkas_default(printed: &str) -> Option<String> {
    let text = printed.strip_prefix('"')?.strip_suffix('"')?;
    let list = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    Some(list.unwrap_or(text).replace(", ", ","))
}

fn ours_as_kafka_prints_it(spec: &SettingSpec, client: ClientKind) -> Option<String> {
    // bootstrap.servers has no default here for any client: Java's admin client takes controllers
    // too.
    match spec.default.text(client) {
        None if spec.name == "bootstrap.servers" && client == ClientKind::Admin => {
            Some(String::new())
        }
        text => text.map(str::to_owned),
    }
}

#[test]
fn every_default_is_a_value_its_setting_accepts() {
    for spec in settings_table() {
        for &client in spec.clients {
            let default = spec.default.text(client);
            assert!(default.is_none_or(|text| spec.kind.accepts(text)), "{}", spec.name);
        }
        assert!(spec.does.ends_with('.') && spec.why.ends_with('.'), "{}", spec.name);
    }
}

#[test]
fn the_defaults_are_kafkas() {
    let config = producer("").unwrap();
    assert_eq!(config.acks, Acks::All);
    assert!(config.enable_idempotence);
    assert_eq!(config.linger, Duration::from_millis(5));
    assert_eq!(config.batch_size, 16_384);
    assert_eq!(config.buffer_memory, 33_554_432);
    assert_eq!(config.delivery_timeout, Duration::from_secs(120));
    assert_eq!(config.compression_type, Codec::None);
    assert_eq!(config.partitioner, PartitionerName::Default);
    assert_eq!(config.client().receive_buffer_bytes, Some(32_768));
    assert_eq!(config.client().connections_max_idle, Some(Duration::from_secs(540)));
    assert!(config.notes().is_empty());

    let builder = ConsumerConfig::builder().bootstrap_servers("a:1,b:2");
    let config = builder.isolation_level(IsolationLevel::ReadCommitted).build().unwrap();
    assert_eq!(config.auto_offset_reset, AutoOffsetReset::Latest);
    assert_eq!(config.isolation_level, IsolationLevel::ReadCommitted);
    assert_eq!(config.client().bootstrap_servers.len(), 2);

    let config = AdminConfig::builder().bootstrap_servers("[::1]:9092").build().unwrap();
    assert_eq!(config.client().connections_max_idle, Some(Duration::from_secs(300)));
}

#[rstest]
#[case::unknown(
    "linger.mss=1",
    r#"line 2: unknown setting "linger.mss"; did you mean "linger.ms"?"#
)]
#[case::brokers_own(
    "num.partitions=6",
    r#"line 2: unknown setting "num.partitions"; no setting of Kafka's has a name like it"#
)]
#[case::malformed(
    "linger.ms=soon",
    "line 2: linger.ms=soon is not valid; expected a whole number from 0"
)]
#[case::out_of_range(
    "compression.zstd.level=23",
    "line 2: compression.zstd.level=23 is not valid; expected a whole number from -131072 to 22"
)]
#[case::choice("acks=2", "line 2: acks=2 is not valid; expected one of all, -1, 0, 1")]
#[case::kerberos(
    "security.protocol=SASL_PLAINTEXT",
    "sasl.mechanism: GSSAPI (Kerberos, Kafka's default) needs a C library and is not here; set \
     SCRAM-SHA-512, PLAIN or OAUTHBEARER"
)]
#[case::encryption(
    "security.protocol=SSL\nssl.truststore.location=/no/such/file",
    "cannot read /no/such/file: No such file or directory (os error 2)"
)]
#[case::two_phase_commit(
    "transaction.two.phase.commit.enable=true",
    "line 2: transaction.two.phase.commit.enable=true can't be used: a transaction is committed by \
     the producer that wrote it"
)]
#[case::own_partitioner(
    "partitioner.class=com.example.Mine",
    "line 2: partitioner.class=com.example.Mine is not valid; expected default, uniform_sticky, \
     round_robin or consistent_random (or Kafka's class of that kind)"
)]
fn a_refusal_names_setting_value_and_what_to_do(#[case] text: &str, #[case] sentence: &str) {
    assert_eq!(refusal(text), sentence);
}

#[test]
fn bootstrap_servers_must_be_given() {
    let error = ProducerConfig::builder().build().unwrap_err().to_string();
    let sentence =
        "bootstrap.servers is not set; it needs one or more host:port, separated by commas";
    assert_eq!(error, sentence);
    let error = ProducerConfig::builder().bootstrap_servers("localhost").build().unwrap_err();
    assert!(error.to_string().starts_with("builder: bootstrap.servers=localhost is not valid"));
}

// The rules of ProducerConfig.postProcessAndValidateIdempotenceConfigs and
// configureDeliveryTimeout.
#[rstest]
#[case("enable.idempotence=true\nacks=1", "enable.idempotence and acks: ")]
#[case("enable.idempotence=true\nacks=0", "enable.idempotence and acks: ")]
#[case("enable.idempotence=true\nretries=0", "enable.idempotence and retries: ")]
#[case("transactional.id=a\nacks=1", "transactional.id and acks: ")]
#[case("transactional.id=a\nacks=0", "transactional.id and acks: ")]
#[case("transactional.id=a\nretries=0", "transactional.id and retries: ")]
#[case("transactional.id=a\nenable.idempotence=false", "transactional.id and enable.idempotence: ")]
#[case("transactional.id=", "transactional.id: ")]
#[case(
    "max.in.flight.requests.per.connection=6",
    "enable.idempotence and max.in.flight.requests.per.connection: "
)]
#[case(
    "delivery.timeout.ms=30000",
    "delivery.timeout.ms and linger.ms and request.timeout.ms: delivery.timeout.ms is 30000 ms"
)]
fn contradictions_are_refused_as_java_refuses_them(#[case] text: &str, #[case] start: &str) {
    let sentence = refusal(text);
    assert!(sentence.starts_with(start), "{sentence}");
}

#[test]
fn a_default_gives_way_as_java_lets_it() {
    let config = producer("acks=1").unwrap();
    assert!(!config.enable_idempotence);
    let note = "enable.idempotence is false: acks=1 rules it out";
    assert_eq!(config.notes()[0].to_string(), note);
    assert_eq!(row(&config, "enable.idempotence").source, SettingSource::Adjusted);
    assert!(producer("acks=1\nmax.in.flight.requests.per.connection=6").is_ok());

    let config = producer("request.timeout.ms=200000").unwrap();
    assert_eq!(config.delivery_timeout, Duration::from_millis(200_005));

    let config = producer("reconnect.backoff.ms=500").unwrap();
    assert_eq!(config.client().reconnect_backoff_max, Duration::from_millis(500));

    let properties =
        Properties::new().with("bootstrap.servers", "a:1").with("request.timeout.ms", "90000");
    let admin = AdminConfig::from_properties(&properties).unwrap();
    assert_eq!(admin.client().default_api_timeout, Duration::from_secs(90));
    let properties = properties.with("default.api.timeout.ms", "1000");
    assert!(AdminConfig::from_properties(&properties).is_err());
}

fn row(config: &ProducerConfig, name: &str) -> EffectiveSetting {
    config.effective().into_iter().find(|row| row.name == name).unwrap()
}

#[test]
fn the_last_word_counts_and_its_source_is_told() {
    let file = Properties::parse("bootstrap.servers=a:1\nlinger.ms=1\nbatch.size=10").unwrap();
    let flags = file.with("linger.ms", "2");
    let builder = ProducerConfig::builder().properties(flags).acks(Acks::All);
    let config = builder.batch_size(99_999).build().unwrap();
    let shown = |name| {
        let row = row(&config, name);
        (row.value, row.source)
    };
    assert_eq!(shown("bootstrap.servers"), ("a:1".to_owned(), SettingSource::File));
    assert_eq!(shown("linger.ms"), ("2".to_owned(), SettingSource::Flag));
    assert_eq!(shown("batch.size"), ("99999".to_owned(), SettingSource::Builder));
    assert_eq!(shown("max.block.ms"), ("60000".to_owned(), SettingSource::Default));
    assert!(config.effective().iter().all(|row| row.name != "key.serializer"));
}

#[test]
fn a_java_producers_file_works_as_it_is() {
    let config = producer(
        "key.serializer=org.apache.kafka.common.serialization.StringSerializer\n\
         value.serializer=org.apache.kafka.common.serialization.ByteArraySerializer\n\
         acks = -1\nenable.idempotence=TRUE\ncompression.type=lz4\nclient.id=shop\n\
         security.protocol=plaintext\nmetric.reporters=com.example.Reporter\n\
         auto.include.jmx.reporter=true\n\
         ssl.truststore.password=hunter2\ngroup.id=readers\ninterceptor.classes=\n\
         partitioner.class=org.apache.kafka.clients.producer.RoundRobinPartitioner",
    )
    .unwrap();
    assert_eq!(config.partitioner, PartitionerName::RoundRobin);
    assert_eq!(config.acks, Acks::All);
    let notes: Vec<_> = config.notes().iter().map(ToString::to_string).collect();
    assert_eq!(notes.len(), 4, "{notes:?}");
    assert!(notes.contains(&"group.id has no effect: it is for the consumer".to_owned()));
    assert!(!format!("{config:?} {notes:?}").contains("hunter2"));
}

#[test]
fn a_refused_secret_is_not_shown() {
    let spec = settings_table().find(|spec| spec.name == "sasl.jaas.config").unwrap();
    assert!(spec.kind.is_secret());
    let builder = ProducerConfig::builder().bootstrap_servers("a:1");
    let shown = format!("{:?}", builder.set("sasl.jaas.config", "password=\"hunter2\""));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_secret_on_the_command_line_is_refused_with_the_way_out() {
    let flag = |assignment: &str| Properties::new().with_assignment(assignment);
    let error = flag("sasl.jaas.config=X required password=hunter2;").unwrap_err().to_string();
    let sentence = "sasl.jaas.config is a secret, and every process of this machine can read a \
                    command line; put it into a properties file, or refer to the environment: -X \
                    config.providers=env -X 'sasl.jaas.config=${env:NAME}'";
    assert_eq!(error, sentence);
    assert!(flag("ssl.key.password=${env:KEY_PASSWORD}").is_ok());
    assert!(flag("ssl.key.password=").is_ok());
}

#[test]
fn the_settings_for_encryption_and_login_are_typed() {
    let builder = ProducerConfig::builder().bootstrap_servers("a:1");
    let builder = builder.security_protocol(SecurityProtocol::Plaintext);
    let config = builder.sasl_jaas_config(Password::from("hunter2")).build().unwrap();
    let security = config.security();
    assert_eq!(security.sasl_jaas_config.as_ref().map(Password::reveal), Some("hunter2"));
    assert_eq!(security.ssl_enabled_protocols, ["TLSv1.2", "TLSv1.3"]);
    assert_eq!(security.sasl_login_connect_timeout, None);
    let shown = format!("{config:?} {security:?} {:?}", config.effective());
    assert!(!shown.contains("hunter2") && shown.contains("***"), "{shown}");
}

#[test]
fn levels_belong_to_their_codec() {
    assert_eq!(producer("compression.type=zstd").unwrap().compression_level(), Some(3));
    assert_eq!(producer("compression.type=gzip").unwrap().compression_level(), None);
    let config = producer("compression.type=gzip\ncompression.gzip.level=9").unwrap();
    assert_eq!(config.compression_level(), Some(9));
    assert!(producer("compression.gzip.level=0").is_err());
    assert_eq!(producer("compression.zstd.level=9").unwrap().compression_level(), None);
}

#[test]
fn a_fetch_may_not_wait_past_its_timeout() {
    let builder = ConsumerConfig::builder().bootstrap_servers("a:1");
    let builder = builder.request_timeout(Duration::from_millis(500));
    let error = builder.build().unwrap_err().to_string();
    assert!(error.starts_with("fetch.max.wait.ms and request.timeout.ms: "), "{error}");
}
