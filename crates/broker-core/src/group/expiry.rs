//! Offsets that nobody needs any more, and groups that have nothing left (KIP-211).

use streamledger_protocol::{GroupId, TimestampMs, TopicPartition};

use super::classic::{ClassicGroup, GroupState};
use super::coordinator::GroupCoordinator;
use super::log_record::GroupRecord;
use super::offsets::CommittedOffset;

impl GroupCoordinator {
    /// Forgets offsets whose time is up, and groups without members or offsets; by records to
    /// append.
    ///
    /// The time of an empty group's offsets runs from when it became empty; of a group of consumers
    /// the offsets of topics that no member subscribes to, and those of consumers outside of
    /// groups, from when they were stored.
    pub fn expire_offsets(&mut self, now: TimestampMs) {
        let ids: Vec<GroupId> = self.offsets.groups().chain(self.groups.keys()).cloned().collect();
        for id in ids {
            let group = self.groups.get(&id);
            let expired = self.offsets.decide_expire(&id, |partition, committed| {
                self.is_expired(group, partition, committed, now)
            });
            let is_all = expired.len() == self.offsets.count_of_group(&id);
            self.outbox.records.extend(expired.into_iter().map(GroupRecord::Offset));
            let is_over =
                |group: &ClassicGroup| group.state() == GroupState::Empty && !group.is_awaited();
            if is_all && group.is_some_and(is_over) {
                self.outbox.records.push(GroupRecord::Classic { group: id, kept: None });
            }
        }
    }

    fn is_expired(
        &self,
        group: Option<&ClassicGroup>,
        partition: &TopicPartition,
        committed: &CommittedOffset,
        now: TimestampMs,
    ) -> bool {
        let since = match group {
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
