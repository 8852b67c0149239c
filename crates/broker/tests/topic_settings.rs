//! Topic settings that do what they say: what is stored, and for how long.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::{Duration, Instant};

use common::{RawClient, broker_with};
use rstest::rstest;
use streamledger_protocol::compression::{Compression, CompressionScratch};
use streamledger_protocol::messages::IncrementalAlterConfigsRequest;
use streamledger_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig,
};
use streamledger_protocol::record_batch::{BatchSeal, RecordBatchBuilder, batches};
use streamledger_protocol::{Codec, ErrorCode, TimestampMs};

/// Sets something of a resource: its type and name; name and value.
fn alter(client: &mut RawClient, of: (i8, &str), (name, value): (&str, &str)) -> ErrorCode {
    let config = AlterableConfig {
        name: name.to_owned(),
        config_operation: 0,
        value: Some(value.to_owned()),
    };
    let resource = AlterConfigsResource {
        resource_type: of.0,
        resource_name: of.1.to_owned(),
        configs: vec![config],
    };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    client.call(1, &request).responses[0].error_code
}

#[test]
fn a_topic_stores_batches_in_the_codec_it_is_told_to() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    let mut stored = |topic: &str, configs: &[(&str, &str)], sent| {
        client.create_topic(topic, 1, configs);
        let now = common::now_ms();
        let batch = common::batch_at(&[(now, "one"), (now, "two")], None, Compression::of(sent));
        assert_eq!(client.produce(topic, 0, batch).error_code, ErrorCode::None);
        let fetched = client.fetch(topic, 0, 0);
        assert_eq!(common::records_of(&fetched), [(0, "one".to_owned()), (1, "two".to_owned())]);
        let records = fetched.records.unwrap().into_bytes();
        batches(&records).next().unwrap().unwrap().header().attributes.codec().unwrap()
    };
    assert_eq!(stored("as-sent", &[], Codec::Snappy), Codec::Snappy);
    assert_eq!(stored("lz4", &[("compression.type", "lz4")], Codec::Gzip), Codec::Lz4);
    let configs = [("compression.type", "zstd"), ("compression.zstd.level", "7")];
    assert_eq!(stored("zstd", &configs, Codec::None), Codec::Zstd);
    assert_eq!(stored("plain", &[("compression.type", "uncompressed")], Codec::Zstd), Codec::None);
}

#[rstest]
fn a_compacted_topic_keeps_the_latest_of_each_key(
    #[values("20", "3600000")] backoff_at_start: &str,
) {
    let broker = broker_with(&[("log.cleaner.backoff.ms", backoff_at_start)]);
    let mut client = RawClient::connect(&broker);
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.1"),
    ];
    client.create_topic("state", 1, &configs);
    for round in 0..40 {
        let value = round.to_string().repeat(50_000);
        let (key, value) = (Some(&b"key"[..]), Some(value.as_bytes()));
        let mut builder = RecordBatchBuilder::with_capacity(200_000);
        builder.append(TimestampMs(1000), key, value, &[]);
        let sealed = builder.seal(&BatchSeal::default(), &mut CompressionScratch::default());
        assert_eq!(client.produce("state", 0, sealed.unwrap().bytes).error_code, ErrorCode::None);
    }
    // Where compaction would rest for long, it rests for less from now on.
    let changed = alter(&mut client, (4, "1"), ("log.cleaner.backoff.ms", "20"));
    assert_eq!(changed, ErrorCode::None);
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        // The first record that is left lies in the segment that is written to, or right before it.
        let mut from = 0;
        let mut first = None;
        while first.is_none() && from < 40 {
            let fetched = client.fetch("state", 0, from);
            first = common::records_of(&fetched).first().map(|(offset, _)| *offset);
            let records = fetched.records.unwrap().into_bytes();
            from = batches(&records).last().unwrap().unwrap().header().next_offset().0;
        }
        if first > Some(20) {
            return;
        }
        assert!(Instant::now() < until, "not compacted: {first:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn lags_that_contradict_each_other_are_refused_when_a_topic_is_created_and_when_it_is_changed() {
    let broker = broker_with(&[]);
    let mut client = RawClient::connect(&broker);
    let lags =
        |min: &'static str| [("min.compaction.lag.ms", min), ("max.compaction.lag.ms", "50")];
    let refused = client.call(7, &common::create_topics("t", 1, &lags("51")));
    assert_eq!(refused.topics[0].error_code, ErrorCode::InvalidConfig);
    let refused =
        client.call(7, &common::create_topics("t", 1, &[("compression.gzip.level", "0")]));
    assert_eq!(refused.topics[0].error_code, ErrorCode::InvalidConfig);
    client.create_topic("t", 1, &lags("50"));
    let mut alter = |value| alter(&mut client, (2, "t"), ("max.compaction.lag.ms", value));
    assert_eq!(alter("49"), ErrorCode::InvalidConfig);
    assert_eq!(alter("60"), ErrorCode::None);
}
