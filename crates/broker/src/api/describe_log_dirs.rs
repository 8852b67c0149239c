//! DescribeLogDirs (35): the data directory, how full its disk is, and how large each log in it is.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use streamledger_broker_core::authorizer::Operation;
use streamledger_protocol::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use streamledger_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use streamledger_protocol::{ErrorCode, TopicName, TopicPartition};

use super::access::Access;
use super::{Answer, Api, Call};
use crate::node::Node;

impl Api for DescribeLogDirsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 1..=4;
    const ACCESS: Access = Access::Cluster(&[Operation::Describe]);

    fn refused(&self, error: ErrorCode) -> DescribeLogDirsResponse {
        DescribeLogDirsResponse { error_code: error, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<DescribeLogDirsResponse> {
        let failed = self.refused(ErrorCode::UnknownServerError);
        let described = call.blocking(move |node| DescribeLogDirsResponse {
            results: vec![describe(node, &self)],
            ..Default::default()
        });
        described.await.unwrap_or(failed).into()
    }
}

/// The one data directory; no list of topics asks for all, an empty one for none.
fn describe(node: &Node, asked: &DescribeLogDirsRequest) -> DescribeLogDirsResult {
    let directory = node.store.directory();
    let (total_bytes, usable_bytes) = disk_bytes(directory).unwrap_or((-1, -1));
    let is_offline = node.store.failure().is_some();
    let mut topics: BTreeMap<TopicName, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for log in node.store.partitions() {
        let of = log.topic_partition();
        if is_offline || !is_asked_for(asked, of) {
            continue;
        }
        topics.entry(of.topic.clone()).or_default().push(DescribeLogDirsPartition {
            partition_index: of.partition,
            partition_size: i64::try_from(log.bytes()).unwrap_or(i64::MAX),
            offset_lag: 0,
            is_future_key: false,
        });
    }
    let topics =
        topics.into_iter().map(|(name, partitions)| DescribeLogDirsTopic { name, partitions });
    DescribeLogDirsResult {
        error_code: if is_offline { ErrorCode::KafkaStorageError } else { ErrorCode::None },
        log_dir: absolute(directory),
        topics: topics.collect(),
        total_bytes,
        usable_bytes,
        is_cordoned: false,
    }
}

fn is_asked_for(asked: &DescribeLogDirsRequest, of: &TopicPartition) -> bool {
    asked.topics.as_ref().is_none_or(|topics| {
        let named = topics.iter().filter(|topic| topic.topic == of.topic);
        named.flat_map(|topic| &topic.partitions).any(|index| *index == of.partition)
    })
}

/// A directory as it is named to clients.
pub(super) fn absolute(directory: &Path) -> String {
    let absolute = std::path::absolute(directory);
    absolute.as_deref().unwrap_or(directory).to_string_lossy().into_owned()
}

/// Bytes of the directory's file system: all, and those that may still be written.
pub(crate) fn disk_bytes(directory: &Path) -> Option<(i64, i64)> {
    let stat = rustix::fs::statvfs(directory).ok()?;
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(stat.f_frsize)).ok();
    Some((bytes(stat.f_blocks)?, bytes(stat.f_bavail)?))
}
