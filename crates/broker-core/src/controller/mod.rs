//! The controller: decides about topics, settings and producer ids, and keeps what was decided.
//!
//! 1. `decide_*` reads the state and gives records and a reply; it changes nothing.
//! 2. The shell appends the records to the metadata log, flushes, and only then
//! 3. replays them: [`ClusterState::replay`] alone changes the state. The reply goes out last.
//! 4. A topic id and a producer id are never given twice, whatever dies when.

mod acls;
mod decide;
mod journal;
mod quotas;
mod record;
mod scram;
mod state;

pub use acls::{decide_create_acls, decide_delete_acls};
pub use decide::{
    AlterOperation, ConfigAlteration, CreatedTopic, Decision, NewPartitions, NewTopic,
    PRODUCER_ID_BLOCK, Placement, Refusal, decide_add_partitions, decide_alter_broker_configs,
    decide_alter_group_configs, decide_alter_topic_configs, decide_create_topic,
    decide_delete_topic, decide_found_cluster, decide_reserve_producer_ids,
};
pub use journal::{JOURNAL_HEADER, Journal, JournalError, encode_frame, read_journal};
pub use quotas::{
    FoundQuotas, QuotaChange, QuotaEntity, QuotaMatch, QuotaValue, decide_alter_quotas, find_quotas,
};
pub use record::{MetadataRecord, RecordError, TEXT_BYTES_MAX};
pub use scram::{
    SCRAM_ITERATIONS_MAX, SCRAM_ITERATIONS_MIN, ScramChange, ScramCredential, ScramMechanism,
    decide_alter_scram,
};
pub use state::{ClusterState, PartitionState, ReplayError, Topic, is_internal_topic};
