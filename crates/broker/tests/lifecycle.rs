//! Starting, stopping, starting again: what is kept, who is refused, how soon.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{
    RawClient, batch_of, fetch, only_fetched, only_partition, produce, records_of, wait_until,
};
use streamledger_broker::{ApiKey, Broker, BrokerConfig, Fault, RunningBroker, StartError};
use streamledger_protocol::messages::metadata::MetadataRequestTopic;
use streamledger_protocol::messages::{FetchRequest, MetadataRequest, ProduceResponse};
use streamledger_protocol::{ErrorCode, LeaderEpoch, TopicName};

fn start_in(directory: &Path) -> RunningBroker {
    let config = BrokerConfig::builder().data_dir(directory).build().unwrap();
    Broker::start(config).unwrap()
}

fn describe(
    client: &mut RawClient,
    name: &str,
) -> streamledger_protocol::messages::MetadataResponse {
    let topic = MetadataRequestTopic { name: Some(TopicName::new(name)), ..Default::default() };
    client.call(
        12,
        &MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation: false,
            ..Default::default()
        },
    )
}

#[test]
fn a_restart_keeps_topics_ids_settings_records_and_producer_ids() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start_in(directory.path());
    let mut client = RawClient::connect(&broker);
    let id = client.create_topic("t", 2, &[("retention.ms", "-1")]);
    client.create_topic("gone", 1, &[]);
    let identity = client.producer_identity();
    let batch = batch_of(&["a", "b"], Some((identity, 0)));
    assert_eq!(client.produce("t", 1, batch.clone()).error_code, ErrorCode::None);
    let delete = streamledger_protocol::messages::DeleteTopicsRequest {
        topic_names: vec![TopicName::new("gone")],
        ..Default::default()
    };
    client.call(5, &delete);
    let before = describe(&mut client, "t");
    broker.shutdown().unwrap();

    let broker = start_in(directory.path());
    let mut client = RawClient::connect(&broker);
    let after = describe(&mut client, "t");
    assert_eq!(after.cluster_id, before.cluster_id);
    assert_eq!((after.topics[0].topic_id, after.topics[0].partitions.len()), (id, 2));
    assert_eq!(after.topics[0].partitions[1].leader_epoch, LeaderEpoch(1));
    assert_eq!(records_of(&client.fetch("t", 1, 0)).len(), 2);
    assert_eq!(
        describe(&mut client, "gone").topics[0].error_code,
        ErrorCode::UnknownTopicOrPartition
    );
    assert!(client.producer_identity().id > identity.id);
    // The retry of a batch from before is known as one.
    assert_eq!(client.produce("t", 1, batch).base_offset.0, 0);
    assert_eq!(client.fetch("t", 1, 0).high_watermark.0, 2);
    // A client that believes in the former leader learns that there is a new one.
    let mut stale = fetch("t", 1, 0);
    stale.topics[0].partitions[0].current_leader_epoch = LeaderEpoch(0);
    let error = only_fetched(client.call(11, &stale)).error_code;
    assert_eq!(error, ErrorCode::FencedLeaderEpoch);
}

#[test]
fn a_second_broker_is_told_where_the_first_one_listens() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start_in(directory.path());
    let config = BrokerConfig::builder().data_dir(directory.path()).build().unwrap();
    let Err(StartError::Locked { listening_at, .. }) = Broker::start(config) else {
        panic!("two brokers in one directory");
    };
    assert_eq!(listening_at, Some(broker.bootstrap_servers()));
}

#[test]
fn what_cannot_be_started_says_why() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = BrokerConfig::builder().listen(&address).build().unwrap();
    let error = Broker::start(config).unwrap_err();
    assert!(
        matches!(&error, StartError::AddressInUse { address: at } if *at == address),
        "{error}"
    );

    let config = BrokerConfig::builder().listen("0.0.0.0:0").build().unwrap();
    let error = Broker::start(config).unwrap_err();
    assert!(error.to_string().contains("--insecure-listen"), "{error}");
    let allowed = BrokerConfig::builder().listen("0.0.0.0:0").allow_insecure_listen();
    Broker::start(allowed.build().unwrap()).unwrap().shutdown().unwrap();

    let foreign = tempfile::tempdir().unwrap();
    std::fs::write(foreign.path().join("thesis.txt"), "years of work").unwrap();
    let config = BrokerConfig::builder().data_dir(foreign.path()).build().unwrap();
    let error = Broker::start(config).unwrap_err();
    assert!(matches!(error, StartError::Storage(_)), "{error}");
    let left: Vec<_> = std::fs::read_dir(foreign.path()).unwrap().collect();
    assert!(left.iter().any(|entry| entry.as_ref().unwrap().file_name() == "thesis.txt"));
}

#[test]
fn failures_33_and_39_a_damaged_log_stays_offline_until_its_user_says_cut() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start_in(directory.path());
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    for value in ["a", "b", "c"] {
        assert_eq!(client.produce("t", 0, batch_of(&[value], None)).error_code, ErrorCode::None);
    }
    broker.shutdown().unwrap();
    // As after a crash: nothing speaks for the log, and its second batch is damaged.
    std::fs::remove_file(directory.path().join("manifest")).unwrap();
    let log = directory.path().join("t-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xFF;
    std::fs::write(&log, &bytes).unwrap();
    for entry in std::fs::read_dir(directory.path().join("t-0")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "snapshot") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let broker = start_in(directory.path());
    let [(_, why)] = &broker.offline_partitions()[..] else { panic!("it is not offline") };
    assert!(why.contains("damaged") && why.contains("streamledger.on.damage=cut"), "{why}");
    let mut client = RawClient::connect(&broker);
    let refused = client.produce("t", 0, batch_of(&["d"], None)).error_code;
    assert_eq!(refused, ErrorCode::KafkaStorageError);
    broker.shutdown().unwrap();
    let config = BrokerConfig::builder().data_dir(directory.path());
    let config = config.property("streamledger.on.damage", "cut").build().unwrap();
    let broker = Broker::start(config).unwrap();
    assert!(broker.offline_partitions().is_empty());
    let mut client = RawClient::connect(&broker);
    assert_eq!(client.produce("t", 0, batch_of(&["e"], None)).base_offset.0, 1);
    let kept = records_of(&client.fetch("t", 0, 0));
    assert_eq!(kept, [(0, "a".to_owned()), (1, "e".to_owned())]);
}

#[test]
fn a_damaged_metadata_log_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start_in(directory.path());
    RawClient::connect(&broker).create_topic("t", 1, &[]);
    RawClient::connect(&broker).create_topic("u", 1, &[]);
    broker.shutdown().unwrap();
    let path = directory.path().join("metadata.log");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 0xFF;
    std::fs::write(&path, &bytes).unwrap();
    let config = BrokerConfig::builder().data_dir(directory.path()).build().unwrap();
    let error = Broker::start(config).unwrap_err();
    assert!(matches!(error, StartError::Metadata(_)), "{error}");
}

#[test]
fn a_topic_whose_logs_a_crash_left_behind_or_took_is_put_right() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start_in(directory.path());
    let mut client = RawClient::connect(&broker);
    client.create_topic("kept", 2, &[("retention.ms", "-1")]);
    client.produce("kept", 0, batch_of(&["x"], None));
    broker.shutdown().unwrap();
    let copy = |from: &str, to: &str| {
        let (from, to) = (directory.path().join(from), directory.path().join(to));
        std::fs::create_dir(&to).unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    };
    // A topic whose creation was not kept, and a partition whose directory is missing.
    copy("kept-0", "stray-0");
    std::fs::remove_dir_all(directory.path().join("kept-1")).unwrap();
    let broker = start_in(directory.path());
    let mut client = RawClient::connect(&broker);
    assert_eq!(client.produce("kept", 1, batch_of(&["y"], None)).error_code, ErrorCode::None);
    let kept = client.fetch("kept", 0, 0);
    assert_eq!((kept.error_code, records_of(&kept).len()), (ErrorCode::None, 1));
    assert_eq!(
        describe(&mut client, "stray").topics[0].error_code,
        ErrorCode::UnknownTopicOrPartition
    );
    broker.shutdown().unwrap();
    assert!(!directory.path().join("stray-0").exists());
}

#[test]
fn failures_49_a_stop_answers_what_is_in_flight_and_cuts_long_polls_short() {
    let broker = common::broker_with(&[]);
    let mut poller = RawClient::connect(&broker);
    poller.create_topic("t", 1, &[]);
    broker.faults().inject(ApiKey::Fetch, Fault::DelayResponse(Duration::from_millis(1)), 1);
    poller.send(11, &FetchRequest { max_wait_ms: i32::MAX, ..fetch("t", 0, 0) });
    let mut producer = RawClient::connect(&broker);
    broker.faults().inject(ApiKey::Produce, Fault::DelayResponse(Duration::from_millis(300)), 1);
    producer.send(9, &produce("t", 0, -1, batch_of(&["x"], None)));
    // Seen by the broker before the stop.
    wait_until("both requests are there", || broker.faults().strikes() == 2);
    // It would say so if a request was left unanswered when its ten seconds were over.
    broker.shutdown().unwrap();
    let (_, response) = producer.receive::<ProduceResponse>(9);
    assert_eq!(only_partition(&response).error_code, ErrorCode::None);
    assert!(poller.receive_frame().is_some());
    assert!(poller.is_closed_by_broker());
}

#[test]
fn nobody_else_may_read_what_is_in_the_data_directory() {
    let outer = tempfile::tempdir().unwrap();
    let directory = outer.path().join("data");
    let start = || {
        let config = BrokerConfig::builder().data_dir(&directory).scram_user("alice", "secret");
        Broker::start(config.build().unwrap()).unwrap()
    };
    let broker = start();
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    client.produce("t", 0, batch_of(&["x"], None));
    broker.shutdown().unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut looked_at = 0;
    let mut directories = vec![directory.clone()];
    while let Some(directory) = directories.pop() {
        assert_eq!(mode(&directory), 0o700, "{}", directory.display());
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            looked_at += 1;
            if path.is_dir() {
                directories.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
            }
        }
    }
    assert!(looked_at > 8, "{looked_at}");
    // A version before this left the keys of logins for everybody to read.
    let metadata_log = directory.join("metadata.log");
    std::fs::set_permissions(&metadata_log, Permissions::from_mode(0o644)).unwrap();
    drop(start());
    assert_eq!(mode(&metadata_log), 0o600);
}

#[test]
fn a_stopper_stops_it_from_another_thread_and_frees_the_port() {
    let broker = common::broker_with(&[]);
    let address = broker.addresses()[0];
    let stopper = broker.stopper();
    let stopping = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        stopper.stop();
    });
    broker.wait().unwrap();
    stopping.join().unwrap();
    TcpListener::bind(address).unwrap();
}

#[tokio::test]
async fn it_starts_serves_and_stops_inside_of_another_runtime() {
    let broker = common::broker_with(&[]);
    let directory = broker.data_dir().to_owned();
    let asking = tokio::task::spawn_blocking({
        let address = broker.addresses()[0];
        move || std::net::TcpStream::connect(address).is_ok()
    });
    assert!(asking.await.unwrap());
    drop(broker);
    assert!(!directory.exists(), "the temporary directory is still there");
}

#[tokio::test]
async fn a_start_that_fails_inside_of_another_runtime_is_an_error_and_no_panic() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = BrokerConfig::builder().listen(address).build().unwrap();
    assert!(matches!(Broker::start(config), Err(StartError::AddressInUse { .. })));
}

#[test]
fn it_is_ready_at_once() {
    let best = (0..5)
        .map(|_| {
            let started = Instant::now();
            let broker = common::broker_with(&[]);
            RawClient::connect(&broker).call(9, &MetadataRequest::default());
            started.elapsed()
        })
        .min();
    assert!(best < Some(Duration::from_secs(5)), "{best:?}");
}

#[test]
fn a_log_that_lost_its_topics_id_is_its_topics_still_and_says_so_again() {
    let directory = tempfile::tempdir().unwrap();
    let broker = start_in(directory.path());
    let mut client = RawClient::connect(&broker);
    client.create_topic("t", 1, &[]);
    assert_eq!(client.produce("t", 0, batch_of(&["a"], None)).error_code, ErrorCode::None);
    broker.shutdown().unwrap();
    let path = directory.path().join("t-0/partition.metadata");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, "").unwrap();

    let broker = start_in(directory.path());
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    let mut client = RawClient::connect(&broker);
    let next = client.produce("t", 0, batch_of(&["b"], None));
    assert_eq!((next.error_code, next.base_offset.0), (ErrorCode::None, 1));
    broker.shutdown().unwrap();
}
