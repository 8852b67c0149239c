//! The transaction coordinator's shell: decide, append and replay under a lock; answer and mark
//! once it is flushed; abort and forget when time is up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use streamledger_broker_core::time::{MonotonicMs, Now};
use streamledger_broker_core::transaction::{
    ClientVersion, Decision, EndTransaction, Initialize, MarkerWrite, NotAllowed, Transaction,
    TransactionConfig, TransactionCoordinator, TransactionRecord, TransactionRecordError,
    TransactionRefusal, Verification,
};
use streamledger_protocol::{
    ErrorCode, LeaderEpoch, Offset, PartitionIndex, ProducerId, ProducerIdentity, TopicPartition,
    TransactionalId,
};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::internal_topic::{InternalTopic, InternalTopicError, LeftAlone, Loaded};
use super::markers;
use crate::config::Settings;
use crate::node::Node;
use crate::storage::{Partition, ProducerOwner};

/// How long a request waits for the markers of the transaction before it, rather than have its
/// client ask again.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait after what time makes necessary could not be kept.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// All transactional ids, and the log that keeps them.
#[derive(Debug)]
pub(crate) struct Transactions {
    topic: InternalTopic,
    core: Mutex<TransactionCoordinator>,
    /// Rises with every record that was replayed and flushed.
    changes: watch::Sender<u64>,
    /// Markers that the last run left to be written.
    left_undone: Mutex<Vec<MarkerWrite>>,
    /// Transactions whose markers are being written.
    being_ended: watch::Sender<usize>,
}

/// A transaction whose markers are being written.
#[derive(Debug)]
pub(super) struct BeingEnded(watch::Sender<usize>);

impl Drop for BeingEnded {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A decision that was made, and what must be flushed before it is told.
struct Made<R> {
    reply: Result<R, TransactionRefusal>,
    parked: Option<(Arc<Partition>, Offset)>,
    markers: Vec<MarkerWrite>,
    is_change: bool,
}

impl Transactions {
    pub(crate) fn new(settings: &Settings) -> Self {
        let settings = &settings.coordinators;
        let partition_count = settings.transaction_partition_count;
        Self {
            topic: InternalTopic::new(
                "__transaction_state",
                partition_count,
                settings.transaction_segment_bytes,
            ),
            core: Mutex::new(TransactionCoordinator::new(TransactionConfig {
                partition_count,
                timeout_ms_max: settings.transaction_timeout_ms_max,
                id_expiration_ms: settings.transactional_id_expiration_ms,
                ids_max: settings.transactional_ids_max,
            })),
            changes: watch::Sender::new(0),
            left_undone: Mutex::new(Vec::new()),
            being_ended: watch::Sender::new(0),
        }
    }

    /// Counts a transaction as being ended until what this gives is dropped.
    pub(super) fn end_one(&self) -> BeingEnded {
        self.being_ended.send_modify(|count| *count += 1);
        BeingEnded(self.being_ended.clone())
    }

    /// Resolves when no markers are being written. A broker that stops waits for it, or the next
    /// start would write them once more.
    pub(crate) async fn all_ended(&self) {
        // The sender is this, so it isn't gone.
        let _ = self.being_ended.subscribe().wait_for(|&count| count == 0).await;
    }

    /// Replays the log, at start. Blocks on the disk.
    pub(crate) fn load(&self, node: &Node) -> Result<(), InternalTopicError> {
        let now = node.store.now();
        let mut core = self.core.lock();
        core.set_partition_count(self.topic.partition_count(node));
        let mut left_alone = LeftAlone::default();
        let loaded = self.topic.load(node, |_, loaded| match loaded {
            Loaded::Record { record: (key, value), .. } => {
                match TransactionRecord::decode(key, value) {
                    Ok(record) => core.replay(record, now),
                    Err(TransactionRecordError::UnknownKind(kind)) => left_alone.count(kind),
                    Err(error) => return Err(error.to_string()),
                }
                Ok(())
            }
            Loaded::Marker { .. } => Err("a marker among transaction states".to_owned()),
        });
        left_alone.warn(&self.topic);
        loaded?;
        let mut left_undone = self.left_undone.lock();
        while let Some(write) = core.poll_markers() {
            left_undone.push(write);
        }
        if core.id_count() > 0 {
            info!(ids = core.id_count(), unfinished = left_undone.len(), "transactions loaded");
        }
        Ok(())
    }

    /// Makes the internal topic if it is not there.
    pub(crate) async fn ensure(node: &Arc<Node>) -> Result<(), ErrorCode> {
        InternalTopic::ensure(node, |node| &node.transactions.topic).await
    }

    /// The epoch under which the coordinator of an id writes markers.
    pub(super) fn coordinator_epoch(&self, node: &Node, index: PartitionIndex) -> i32 {
        let topic = self.topic.topic(node);
        let epoch = topic.as_ref().and_then(|topic| topic.partition(index));
        epoch.map_or(LeaderEpoch::ZERO, |state| state.leader_epoch).0
    }

    /// Reads the state. The lock is held while `read` runs: no waiting in it.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&TransactionCoordinator) -> R) -> R {
        read(&self.core.lock())
    }

    /// A copy of what is known of an id.
    pub(crate) fn transaction(&self, id: &TransactionalId) -> Option<Transaction> {
        self.read(|core| core.transaction(id).cloned())
    }

    /// A producer takes a transactional id (InitProducerId).
    pub(crate) async fn initialize(
        node: &Arc<Node>,
        mut ask: Initialize,
    ) -> Result<ProducerIdentity, ErrorCode> {
        let id = ask.transactional_id.clone();
        loop {
            let decided = Self::patiently(node, &id, |core, now| core.decide_initialize(&ask, now));
            match decided.await? {
                Err(TransactionRefusal::NeedsProducerId) if ask.fresh.is_none() => {
                    ask.fresh = Some(fresh_producer_id(node).await?);
                }
                reply => return reply.map_err(TransactionRefusal::error_code),
            }
        }
    }

    /// Partitions join a transaction; waits for the transaction before it to be complete.
    ///
    /// Each partition will remember the producer, whose place `owner` takes where it is new.
    ///
    /// `before_each_try` runs right before it is decided: a guard that was taken before the wait
    /// would be broken by the markers that were waited for.
    pub(crate) async fn add_partitions(
        node: &Arc<Node>,
        id: &TransactionalId,
        producer: ProducerIdentity,
        partitions: &BTreeSet<TopicPartition>,
        client: ClientVersion,
        owner: &ProducerOwner,
        before_each_try: impl Fn(),
    ) -> Result<(), ErrorCode> {
        for partition in partitions {
            if let Some(log) = node.store.partition(partition) {
                let taken = log.take_producer_place(producer.id, owner);
                taken.map_err(|refused| refused.error_code())?;
            }
        }
        let decide = |core: &TransactionCoordinator, now| {
            before_each_try();
            core.decide_add_partitions(id, producer, partitions, client, now)
        };
        Self::patiently(node, id, decide).await?.map_err(TransactionRefusal::error_code)
    }

    /// Whether partitions were added to a transaction. Its record was flushed before the producer
    /// was told, so this need not wait.
    pub(crate) fn verify(
        &self,
        id: &TransactionalId,
        producer: ProducerIdentity,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Verification>, ErrorCode> {
        self.read(|core| core.verify(id, producer, partitions))
            .map_err(TransactionRefusal::error_code)
    }

    /// A producer ends its transaction (EndTxn): told once the decision is flushed, while the
    /// markers are on their way.
    pub(crate) async fn end(
        node: &Arc<Node>,
        mut ask: EndTransaction,
    ) -> Result<ProducerIdentity, ErrorCode> {
        let id = ask.transactional_id.clone();
        loop {
            let made =
                node.transactions.make(node, Some(&id), |core, now| core.decide_end(&ask, now))?;
            if made.reply == Err(TransactionRefusal::NeedsProducerId) && ask.fresh.is_none() {
                ask.fresh = Some(fresh_producer_id(node).await?);
                continue;
            }
            let reply = Self::settle(node, made).await?;
            return reply.map_err(TransactionRefusal::error_code);
        }
    }

    /// All markers of a transaction are flushed.
    pub(super) async fn markers_written(
        node: &Arc<Node>,
        write: &MarkerWrite,
    ) -> Result<(), ErrorCode> {
        let id = &write.transactional_id;
        let made = node.transactions.make(node, Some(id), |core, now| {
            core.decide_markers_written(id, write.producer, now)
        })?;
        Self::settle(node, made).await?.map_err(TransactionRefusal::error_code)
    }

    /// Decides, and again while the markers of the transaction before are being written.
    async fn patiently<R>(
        node: &Arc<Node>,
        id: &TransactionalId,
        decide: impl Fn(&TransactionCoordinator, Now) -> Decision<R>,
    ) -> Result<Result<R, TransactionRefusal>, ErrorCode> {
        let deadline = Instant::now() + PATIENCE;
        let mut changes = node.transactions.changes.subscribe();
        loop {
            let made = node.transactions.make(node, Some(id), &decide)?;
            let reply = Self::settle(node, made).await?;
            let is_concurrent =
                matches!(reply, Err(TransactionRefusal::NotAllowed(NotAllowed::Concurrent)));
            if !is_concurrent || tokio::time::timeout_at(deadline, changes.changed()).await.is_err()
            {
                return Ok(reply);
            }
        }
    }

    /// Decides, appends and replays.
    fn make<R>(
        &self,
        node: &Node,
        id: Option<&TransactionalId>,
        decide: impl FnOnce(&TransactionCoordinator, Now) -> Decision<R>,
    ) -> Result<Made<R>, ErrorCode> {
        let now = node.store.now();
        let mut core = self.core.lock();
        let Decision { record, reply } = decide(&core, now);
        let Some(record) = record else {
            // What the answer is about may not be flushed yet.
            let index = id.map(|id| core.partition_of(id));
            drop(core);
            let log = index.and_then(|index| self.topic.partition(node, index).ok());
            if let Some(log) = &log {
                // What is in a log that can't be read is not known, and is not "nothing".
                log.check_readable().map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
            }
            let parked = log.map(|log| {
                let last = log.log_end_offset() - 1;
                (log, last)
            });
            return Ok(Made { reply, parked, markers: Vec::new(), is_change: false });
        };
        let index = core.partition_of(&record.transactional_id);
        let too_long = |_| ErrorCode::InvalidRequest;
        let key = record.encode_key().map_err(too_long)?;
        let value = record.encode_value().map_err(too_long)?;
        let appended = self.topic.append(node, index, &[(key, value)], None)?;
        core.replay(record, now);
        let mut markers = Vec::new();
        while let Some(write) = core.poll_markers() {
            markers.push(write);
        }
        let parked = Some((appended.log, appended.last));
        Ok(Made { reply, parked, markers, is_change: true })
    }

    /// Waits for the flush, then sends the markers out and tells the answer.
    async fn settle<R>(
        node: &Arc<Node>,
        made: Made<R>,
    ) -> Result<Result<R, TransactionRefusal>, ErrorCode> {
        if let Some((log, last)) = made.parked {
            log.wait_flushed(last).await.map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
        }
        for write in made.markers {
            markers::spawn(Arc::clone(node), write);
        }
        if made.is_change {
            node.transactions.changes.send_modify(|changes| *changes += 1);
        }
        Ok(made.reply)
    }

    /// Does what is due by time alone.
    async fn do_what_is_due(node: &Arc<Node>) -> Result<(), ErrorCode> {
        while node.transactions.read(|core| core.is_due(node.store.now().monotonic)) {
            let made = node.transactions.make(node, None, |core, now| {
                let nothing = Decision { record: None, reply: Ok(()) };
                let due = core.decide_due(now).unwrap_or(nothing);
                if let Some(TransactionRecord { transactional_id, transaction }) = &due.record {
                    match transaction {
                        Some(_) => {
                            warn!(%transactional_id, "transaction open for too long: aborted");
                        }
                        None => info!(%transactional_id, "transactional id unused: forgotten"),
                    }
                }
                due
            })?;
            let _ = Self::settle(node, made).await?;
        }
        Ok(())
    }
}

async fn fresh_producer_id(node: &Arc<Node>) -> Result<ProducerId, ErrorCode> {
    if let Some(id) = node.controller.take_producer_id() {
        return Ok(id);
    }
    let reserving = Arc::clone(node);
    let reserved = tokio::task::spawn_blocking(move || reserving.controller.new_producer_id());
    match reserved.await {
        Ok(Ok(id)) => Ok(id),
        Ok(Err(_)) | Err(_) => Err(ErrorCode::CoordinatorLoadInProgress),
    }
}

/// A broker's life with the coordinator's clock: finishes what the last run left undone, then
/// aborts and forgets when time is up, until it stops.
pub(crate) async fn keep_time(node: Arc<Node>, mut stopping: watch::Receiver<bool>) {
    let left_undone = std::mem::take(&mut *node.transactions.left_undone.lock());
    for write in left_undone {
        markers::spawn(Arc::clone(&node), write);
    }
    let mut changes = node.transactions.changes.subscribe();
    loop {
        let now = node.store.now().monotonic;
        let due = node.transactions.read(TransactionCoordinator::next_wakeup);
        let wait = due.map(|due: MonotonicMs| Duration::from_millis(due.since(now)));
        let due = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        let stop = async {
            let _ = stopping.wait_for(|&stopping| stopping).await;
        };
        tokio::select! {
            () = due => {
                if let Err(error) = Transactions::do_what_is_due(&node).await {
                    warn!(%error, "a transaction's time is up, which could not be kept");
                    tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
                }
            }
            _ = changes.changed() => {}
            () = stop => return,
        }
    }
}
