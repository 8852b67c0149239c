//! The admin client: topics, groups and settings of a cluster, blocking and async.

mod cluster;
mod configs;
mod error;
mod groups;
mod results;
mod retry;
mod topics;
mod transactions;
mod types;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::rc::Rc;

use streamledger_client_core::cluster::Topic;
use streamledger_client_core::transaction::CommittedOffset;
use streamledger_protocol::{GroupId, TopicName, TopicPartition, TransactionalId};

use crate::config::{AdminConfig, ClientSettings};
use crate::io_thread::IoThread;
use crate::metadata::MetadataRefresher;
use crate::network::{ConnectionPool, NetworkConfig};
use crate::observe::admin_readings;
use crate::telemetry::{RunningTelemetry, TelemetryClient, telemetry};
use crate::wait::wait;

pub use error::AdminError;
pub use results::Results;
pub use transactions::{
    ActiveProducer, HangingTransaction, TransactionDescription, TransactionListing,
};
pub use types::{
    ClusterDescription, ConfigEntry, ConfigResource, ConfigSource, CreatedTopic, GroupDescription,
    GroupListing, GroupMemberDescription, GroupOffsets, GroupPartitions, NewPartitions, NewTopic,
    TopicListing,
};

/// Manages the topics of a cluster. Cheap to clone, and to be used from any thread.
///
/// Each call comes twice: blocking, from any thread (inside an async runtime it holds up that
/// thread), and as `_async`, on any executor. A call tries until `default.api.timeout.ms` is over,
/// and again after errors that pass. Dropping the future of a call doesn't take the call back.
///
/// ```no_run
/// use streamledger::{Admin, AdminConfig, NewTopic};
///
/// let admin = Admin::new(AdminConfig::builder().bootstrap_servers("localhost:9092").build()?)?;
/// let clicks = NewTopic::new("clicks", 6, 1).config("retention.ms", "-1");
/// for (topic, result) in admin.create_topics(&[clicks])? {
///     match result {
///         Ok(created) => println!("{topic} has the id {}", created.id),
///         Err(error) => println!("{topic}: {error}"),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Admin {
    thread: IoThread<Shell>,
}

/// What lives on the I/O thread.
struct Shell {
    settings: ClientSettings,
    refresher: MetadataRefresher,
    /// Ends with the thread.
    _telemetry: RunningTelemetry,
}

/// Declares a call twice: as it is written, async, and blocking.
macro_rules! calls {
    ($(
        $(#[$doc:meta])*
        $name:ident, $name_async:ident ($($argument:ident: &[$type:ty])?) -> $answer:ty,
        $work:path;
    )*) => {
        impl Admin {
            $(
                $(#[$doc])*
                pub fn $name(&self $(, $argument: &[$type])?) -> Result<$answer, AdminError> {
                    wait(self.$name_async($($argument)?))
                }

                #[doc = concat!(
                    "As [`", stringify!($name), "`](Self::", stringify!($name), "), async."
                )]
                ///
                /// # Errors
                /// As the blocking call.
                pub fn $name_async(
                    &self $(, $argument: &[$type])?
                ) -> impl Future<Output = Result<$answer, AdminError>> + Send + use<> {
                    $(let $argument = $argument.to_vec();)?
                    let answer = self.thread.run(move |shell: Rc<Shell>| async move {
                        $work(&shell $(, &$argument)?).await
                    });
                    async move { answer.await? }
                }
            )*
        }
    };
}

calls! {
    /// Creates topics; tells of each what came of it.
    ///
    /// # Errors
    /// No broker could be asked at all.
    create_topics, create_topics_async(topics: &[NewTopic]) -> Results<CreatedTopic>,
    Shell::create_topics;

    /// Deletes topics; tells of each what came of it.
    ///
    /// # Errors
    /// No broker could be asked at all.
    delete_topics, delete_topics_async(topics: &[TopicName]) -> Results<()>,
    Shell::delete_topics;

    /// Adds partitions to topics; tells of each what came of it.
    ///
    /// # Errors
    /// No broker could be asked at all.
    create_partitions, create_partitions_async(topics: &[NewPartitions]) -> Results<()>,
    Shell::create_partitions;

    /// All topics, by name, Kafka's own included.
    ///
    /// # Errors
    /// No broker could be asked, or it refused.
    list_topics, list_topics_async() -> Vec<TopicListing>,
    Shell::list_topics;

    /// The partitions of topics, with their leaders and replicas. Never creates a topic.
    ///
    /// # Errors
    /// No broker could be asked at all.
    describe_topics, describe_topics_async(topics: &[TopicName]) -> Results<Topic>,
    Shell::describe_topics;

    /// The brokers of the cluster.
    ///
    /// # Errors
    /// No broker could be asked, or it refused.
    describe_cluster, describe_cluster_async() -> ClusterDescription,
    Shell::describe_cluster;

    /// The settings of topics and brokers, all of them, with where each value comes from.
    ///
    /// # Errors
    /// No broker could be asked at all.
    describe_configs, describe_configs_async(resources: &[ConfigResource])
        -> Results<Vec<ConfigEntry>, ConfigResource>,
    Shell::describe_configs;

    /// The transactional ids that the cluster's coordinators know, by name (KIP-664).
    ///
    /// # Errors
    /// A broker could not be asked, or it refused.
    list_transactions, list_transactions_async() -> Vec<TransactionListing>,
    Shell::list_transactions;

    /// What their coordinators know of transactional ids.
    ///
    /// # Errors
    /// No broker could be asked at all.
    describe_transactions, describe_transactions_async(ids: &[TransactionalId])
        -> Results<TransactionDescription, TransactionalId>,
    Shell::describe_transactions;

    /// The producers that partitions remember, with the transactions they have open there.
    ///
    /// # Errors
    /// No broker could be asked at all.
    describe_producers, describe_producers_async(partitions: &[TopicPartition])
        -> Results<Vec<ActiveProducer>, TopicPartition>,
    Shell::describe_producers;

    /// Aborts transactions in single partitions, one in each: those that hang there because their
    /// coordinator knows nothing of them. Of one that goes on it aborts a part, which its producer
    /// learns when it writes there again.
    ///
    /// # Errors
    /// No broker could be asked at all.
    abort_transactions, abort_transactions_async(hanging: &[HangingTransaction])
        -> Results<(), TopicPartition>,
    Shell::abort_transactions;

    /// All groups, by name, of every broker that coordinates some.
    ///
    /// # Errors
    /// A broker could not be asked, or it refused.
    list_groups, list_groups_async() -> Vec<GroupListing>,
    Shell::list_groups;

    /// The members of groups, with what each reads. A group that isn't there is an error
    /// (`GROUP_ID_NOT_FOUND`).
    ///
    /// # Errors
    /// No broker could be asked at all.
    describe_groups, describe_groups_async(groups: &[GroupId])
        -> Results<GroupDescription, GroupId>,
    Shell::describe_groups;

    /// Deletes groups and their offsets; one with members is an error (`NON_EMPTY_GROUP`).
    ///
    /// # Errors
    /// No broker could be asked at all.
    delete_groups, delete_groups_async(groups: &[GroupId]) -> Results<(), GroupId>,
    Shell::delete_groups;

    /// What groups have committed, by partition.
    ///
    /// # Errors
    /// No broker could be asked at all.
    list_group_offsets, list_group_offsets_async(groups: &[GroupId])
        -> Results<Vec<(TopicPartition, CommittedOffset)>, GroupId>,
    Shell::list_group_offsets;

    /// Stores offsets for groups without members; one that has some is an error
    /// (`UNKNOWN_MEMBER_ID`).
    ///
    /// # Errors
    /// No broker could be asked at all.
    alter_group_offsets, alter_group_offsets_async(changes: &[GroupOffsets])
        -> Results<(), GroupId>,
    Shell::alter_group_offsets;

    /// Has groups forget their offsets of partitions.
    ///
    /// # Errors
    /// No broker could be asked at all.
    delete_group_offsets, delete_group_offsets_async(changes: &[GroupPartitions])
        -> Results<(), GroupId>,
    Shell::delete_group_offsets;
}

impl Admin {
    /// Starts an admin client. It connects when something is asked of it.
    ///
    /// # Errors
    /// The system has no thread to give.
    #[expect(clippy::needless_pass_by_value, reason = "as the other handles take their config")]
    pub fn new(config: AdminConfig) -> Result<Self, AdminError> {
        config.log_notes();
        let settings = config.client().clone();
        let network = NetworkConfig::new(&settings, config.connections());
        // Nobody asks for this client's id.
        let (_, desk) = telemetry(settings.enable_metrics_push);
        let make = move || {
            let pool = ConnectionPool::new(network.clone());
            let refresher = MetadataRefresher::start(&settings, false, pool);
            if settings.enable_metrics_push {
                // Most calls need no view of the cluster, and telemetry begins with one.
                refresher.want([]);
            }
            let meter = network.meter.clone();
            let _telemetry = desk.start(TelemetryClient {
                refresher: refresher.clone(),
                network,
                resource: Vec::new(),
                collect: Box::new(move |wants| admin_readings(&meter.read(), wants)),
            });
            Shell { settings, refresher, _telemetry }
        };
        let thread = IoThread::start("streamledger-admin", make);
        Ok(Self { thread: thread.map_err(|error| AdminError::NotStarted(error.to_string()))? })
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}
