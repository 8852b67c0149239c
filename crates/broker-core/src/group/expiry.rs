//! Offsets that nobody needs any more, and groups that have nothing left (KIP-211).

use std::collections::BTreeSet;

use streamledger_protocol::{GroupId, TimestampMs, TopicPartition};

use super::classic::{ClassicGroup, GroupState};
use super::coordinator::GroupCoordinator;
use super::log_record::GroupRecord;
use super::next_gen::ConsumerGroup;
use super::offsets::CommittedOffset;

impl GroupCoordinator {
    /// Forgets offsets whose time is up, and groups without members or offsets; by records to
    /// append.
    ///
    /// The time of an empty group's offsets runs from when it became empty; of a group of consumers
    /// the offsets of topics that no member subscribes to, and those of consumers outside of
    /// groups, from when they were stored.
    pub fn expire_offsets(&mut self, now: TimestampMs) {
        let ids: BTreeSet<GroupId> = self
            .offsets
            .groups()
            .chain(self.groups.keys())
            .chain(self.consumers.keys())
            .cloned()
            .collect();
        for id in ids {
            let expired = self.offsets.decide_expire(&id, |partition, committed| {
                self.is_expired(&id, partition, committed, now)
            });
            let is_all = expired.len() == self.offsets.count_of_group(&id);
            self.outbox.records.extend(expired.into_iter().map(GroupRecord::Offset));
            let is_over =
                |group: &ClassicGroup| group.state() == GroupState::Empty && !group.is_awaited();
            let consumers_over = self.consumers.get(&id).is_some_and(ConsumerGroup::is_empty);
            if is_all && (consumers_over || self.groups.get(&id).is_some_and(is_over)) {
                self.append_tombstone(&id);
            }
        }
    }

    fn is_expired(
        &self,
        id: &GroupId,
        partition: &TopicPartition,
        committed: &CommittedOffset,
        now: TimestampMs,
    ) -> bool {
        let consumers = self.consumers.get(id);
        if consumers.is_some_and(|group| group.is_subscribed(partition.topic.as_str())) {
            return false;
        }
        let since = match self.groups.get(id) {
            None => committed.committed,
            Some(group) => match (group.state(), group.protocol_type()) {
                (GroupState::Empty, Some(_)) => group.since().max(committed.committed),
                (GroupState::Empty, None) => committed.committed,
                (GroupState::Stable, Some("consumer"))
                    if !group.may_be_subscribed(partition.topic.as_str()) =>
                {
                    committed.committed
                }
                _ => return false,
            },
        };
        match committed.expires {
            Some(expires) => now >= expires,
            None => {
                let kept_ms = i64::try_from(self.config.offsets_retention_ms).unwrap_or(i64::MAX);
                now.0.saturating_sub(since.0) >= kept_ms
            }
        }
    }
}
