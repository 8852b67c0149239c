//! The shell of next-generation members: heartbeats, and the topics as their groups see them.

use std::collections::BTreeSet;

use regex::RegexBuilder;
use streamledger_broker_core::controller::ClusterState;
use streamledger_broker_core::group::{
    ConsumerHeartbeat, ConsumerHeartbeatReply, HeartbeatRefusal, TopicsView,
};
use streamledger_protocol::{TopicId, TopicName};

use super::groups::Groups;
use crate::node::Node;

/// The largest compiled pattern, in bytes: a subscription's pattern runs over every topic's name,
/// in time that grows with their length only.
const PATTERN_BYTES_MAX: usize = 1 << 16;

/// Whether a member may see a topic: a pattern finds no other.
pub(crate) type MaySee<'a> = dyn Fn(&ClusterState, &TopicName) -> bool + Sync + 'a;

impl Groups {
    /// ConsumerGroupHeartbeat of a member that may see these topics; told once what it changed is
    /// flushed.
    pub(crate) async fn consumer_heartbeat(
        &self,
        node: &Node,
        request: &ConsumerHeartbeat,
        may_see: &MaySee<'_>,
    ) -> Result<ConsumerHeartbeatReply, HeartbeatRefusal> {
        let topics = NodeTopics { may_see: Some(may_see), ..NodeTopics::of(node) };
        let (reply, kept) =
            self.step(node, |groups, now| groups.consumer_heartbeat(now, request, &topics));
        let reply = reply?;
        let flushed = match kept {
            Ok(()) => self.flushed(node, &request.group).await,
            Err(error) => Err(error),
        };
        flushed.map_err(|error| HeartbeatRefusal { error, message: "not kept".to_owned() })?;
        Ok(reply)
    }
}

/// The node's topics; the version is taken before them, so that no change is missed.
pub(super) struct NodeTopics<'a> {
    node: &'a Node,
    /// Where nobody's patterns are asked about there is none.
    may_see: Option<&'a MaySee<'a>>,
    version: u64,
}

impl<'a> NodeTopics<'a> {
    /// As members by the classic protocol see them, who name their topics: patterns of others stay
    /// as they are.
    pub(super) fn of(node: &'a Node) -> Self {
        Self { node, may_see: None, version: node.controller.record_count() }
    }
}

impl TopicsView for NodeTopics<'_> {
    fn version(&self) -> u64 {
        self.version
    }

    fn topic(&self, name: &TopicName) -> Option<(TopicId, i32)> {
        self.node.topic(name).map(|topic| (topic.id, topic.partition_count()))
    }

    fn matching(&self, pattern: &str) -> Option<BTreeSet<TopicName>> {
        let may_see = self.may_see?;
        let mut whole = RegexBuilder::new(&format!("^(?:{pattern})$"));
        let whole = whole.size_limit(PATTERN_BYTES_MAX).build().ok()?;
        let matched = self.node.controller.read(|state| {
            let names = state.topics().filter(|topic| !topic.is_internal());
            let matched = names.filter(|topic| whole.is_match(topic.name.as_str()));
            let matched = matched.filter(|topic| may_see(state, &topic.name));
            matched.map(|topic| topic.name.clone()).collect()
        });
        Some(matched)
    }
}
