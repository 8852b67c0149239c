//! What groups go by.

use super::migration::MigrationPolicy;
use super::offsets::GroupOffsetsConfig;
use crate::planted_bugs::Planted;

/// What groups go by; each field names the setting it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// How offsets are stored.
    pub offsets: GroupOffsetsConfig,
    /// group.initial.rebalance.delay.ms.
    pub initial_rebalance_delay_ms: u64,
    /// group.min.session.timeout.ms.
    pub session_timeout_ms_min: i32,
    /// group.max.session.timeout.ms.
    pub session_timeout_ms_max: i32,
    /// group.max.size: members of one group.
    pub group_size_max: usize,
    /// group.consumer.max.size: members of one next-generation group.
    pub consumer_group_size_max: usize,
    /// group.consumer.session.timeout.ms.
    pub consumer_session_timeout_ms: u64,
    /// streamledger.groups.max: groups with members, all together.
    pub groups_max: usize,
    /// streamledger.group.members.max: members of all groups together.
    pub members_max: usize,
    /// streamledger.group.member.bytes.max: what the members of all groups bring and are given.
    pub member_bytes_max: usize,
    /// group.consumer.migration.policy.
    pub migration: MigrationPolicy,
    /// offsets.retention.minutes, in ms.
    pub offsets_retention_ms: u64,
    /// A bug planted on purpose.
    pub planted: Planted,
}

impl Default for GroupConfig {
    /// Kafka's defaults, and caps where Kafka has none.
    fn default() -> Self {
        Self {
            offsets: GroupOffsetsConfig::default(),
            initial_rebalance_delay_ms: 3000,
            session_timeout_ms_min: 6000,
            session_timeout_ms_max: 1_800_000,
            group_size_max: 10_000,
            consumer_group_size_max: 10_000,
            consumer_session_timeout_ms: 45_000,
            groups_max: 10_000,
            members_max: 100_000,
            member_bytes_max: 64 << 20,
            migration: MigrationPolicy::default(),
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1000,
            planted: Planted::default(),
        }
    }
}
