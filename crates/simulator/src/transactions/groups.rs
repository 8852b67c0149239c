//! The groups' coordinator at the broker that leads `__consumer_offsets`, run as the broker's shell
//! runs it: members join, offsets are stored in transactions and looked at; all of it is answered
//! once it is on disk.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use streamledger_broker_core::group::{
    CommitRequest, CommitWay, Committer, GroupConfig, GroupCoordinator, GroupRecord, JoinRequest,
    NewOffset, NoTopics, ParkedAnswer, SyncRequest, Token,
};
use streamledger_broker_core::log::{AppendOrigin, TransactionGuard, TransactionMarker};
use streamledger_broker_core::planted_bugs::{Planted, PlantedBug};
use streamledger_broker_core::time::Now;
use streamledger_client_core::transaction::{GroupOffsets, QuestionId, TransactionReply};
use streamledger_protocol::compression::{CompressionScratch, Decompressor};
use streamledger_protocol::record_batch::{
    BatchSeal, ControlKind, ControlRecord, RecordBatchBuilder, batches, parse_control_record,
};
use streamledger_protocol::{
    ErrorCode, GroupId, Offset, PartitionIndex, ProducerId, ProducerIdentity, SequenceNumber,
    TimestampMs, TopicPartition,
};

use super::TransactionHappening;
use super::seat::Seat;
use crate::clock::SimTime;
use crate::cluster::OFFSETS_TOPIC;
use crate::partition::Appended;
use crate::plan::Planted as PlantedIn;
use crate::report::Promise;
use crate::world::World;

/// The one partition of `__consumer_offsets`.
const PARTITION: PartitionIndex = PartitionIndex(0);
/// Members have no reason to be silent for so long: what ends them is another that joins.
const HORIZON: Duration = Duration::from_secs(600);

/// The partition that keeps the offsets of every group.
pub(super) fn offsets_partition() -> TopicPartition {
    TopicPartition::new(OFFSETS_TOPIC, PARTITION)
}

/// The name of a group.
pub(super) fn group_id(number: usize) -> GroupId {
    format!("group-{number}").as_str().into()
}

/// The partition that a group consumes: its offset is how many inputs were processed.
pub(super) fn inputs_of(group: usize) -> TopicPartition {
    let index = i32::try_from(group).unwrap_or(i32::MAX);
    TopicPartition::new("inputs", PartitionIndex(index))
}

/// Something that is going to happen about groups.
#[derive(Debug)]
pub(crate) enum GroupHappening {
    Arrives { client: usize, number: u64, broker: (usize, u32), ask: Box<GroupAsk> },
    Answered { client: usize, number: u64, answer: GroupAnswer },
    TimesOut { client: usize, number: u64 },
    AsksAgain { client: usize },
    Loads { life: u32 },
    Timer,
}

/// What a member asks.
#[derive(Debug, Clone)]
pub(crate) enum GroupAsk {
    Join(JoinRequest),
    Sync(SyncRequest),
    /// How many inputs were processed, and certainly so.
    Position {
        group: usize,
    },
}

/// What a member is answered.
#[derive(Debug, Clone)]
pub(crate) enum GroupAnswer {
    Refused(ErrorCode),
    Group(ParkedAnswer),
    Position(u64),
}

/// Offsets on their way into a transaction.
#[derive(Debug, Clone)]
pub(super) struct OffsetsOnTheirWay {
    pub(super) client: usize,
    pub(super) broker: (usize, u32),
    pub(super) question: QuestionId,
    pub(super) producer: ProducerIdentity,
    pub(super) offsets: GroupOffsets,
}

/// The groups' coordinator.
#[derive(Debug)]
pub(super) struct Groups {
    seat: Seat<Then>,
    core: GroupCoordinator,
    planted: Planted,
    /// Who waits for the answer to a join or sync.
    waiting: BTreeMap<Token, usize>,
}

/// What happens after a flush.
#[derive(Debug)]
enum Then {
    /// A producer's offsets are in its transaction, or not.
    Answer { client: usize, broker: (usize, u32), question: QuestionId, reply: TransactionReply },
    /// A member is answered.
    Member { client: usize, number: u64, answer: GroupAnswer },
    /// A member learns where it is to begin, not below what was committed when it asked.
    Position { client: usize, number: u64, group: usize, position: u64, at_least: u64 },
    /// Somebody looks at how far a group has come.
    Look { group: usize, position: u64 },
}

impl Groups {
    pub(super) fn new(slot: usize, planted: Option<PlantedIn>) -> Self {
        let planted = planted.map(PlantedIn::in_broker).unwrap_or_default();
        let waiting = BTreeMap::new();
        Self { seat: Seat::new(slot), core: new_core(planted), planted, waiting }
    }

    /// The slot of its log.
    pub(super) const fn slot(&self) -> usize {
        self.seat.slot
    }
}

fn new_core(planted: Planted) -> GroupCoordinator {
    let mut core = GroupCoordinator::new(GroupConfig {
        initial_rebalance_delay_ms: 10,
        planted,
        ..GroupConfig::default()
    });
    core.set_partition_count(1);
    core
}

/// How many inputs a group has processed, as far as it has stored that.
fn position_of(core: &GroupCoordinator, group: usize) -> u64 {
    let fetched = core.offsets().fetch(&group_id(group), Some(&[inputs_of(group)]), false);
    let stored = fetched.into_iter().find_map(|one| one.committed);
    stored.map_or(0, |stored| u64::try_from(stored.offset.0).unwrap_or(u64::MAX))
}

impl World {
    /// Whether that broker is the groups' coordinator.
    ///
    /// # Errors
    /// What a broker answers that isn't, or isn't yet.
    pub(super) fn check_groups(&self, broker: usize) -> Result<(), ErrorCode> {
        let transactions = self.transactions.as_ref().ok_or(ErrorCode::NotCoordinator)?;
        let seat = &transactions.groups.seat;
        seat.check(&self.partitions[seat.slot], broker)
    }

    /// Whether there is a groups' coordinator that works.
    pub(super) fn groups_are_loaded(&self) -> bool {
        let slot = self.transactions.as_ref().map(|t| t.groups.slot());
        slot.is_some_and(|slot| self.check_groups(self.partitions[slot].host).is_ok())
    }

    fn load_groups(&mut self, life: u32) {
        let Some(transactions) = &self.transactions else { return };
        let (slot, planted) = (transactions.groups.slot(), transactions.groups.planted);
        if self.partitions[slot].life != life || self.partitions[slot].log.is_none() {
            return;
        }
        let core = match self.replay_groups(slot, planted) {
            Ok(core) => core,
            Err(error) => {
                return self.violate(Promise::LogOpens, format!("the groups' log: {error}"));
            }
        };
        let Some(transactions) = &mut self.transactions else { return };
        transactions.groups.core = core;
        transactions.groups.seat.take(life);
        transactions.groups.waiting.clear();
        self.counters.group_loads += 1;
        self.note(format_args!("the groups are loaded"));
        self.set_group_timer();
    }

    /// What a coordinator makes of the log.
    fn replay_groups(&mut self, slot: usize, planted: Planted) -> Result<GroupCoordinator, String> {
        let stored = self.read_all(slot)?;
        let forgets = planted.has(PlantedBug::ForgetPendingOffsets);
        let mut core = new_core(planted);
        replay(&mut core, &stored, self.now.broker_now(), forgets)?;
        let _ = core.take_answers();
        Ok(core)
    }

    pub(super) fn group_happens(&mut self, happening: GroupHappening) {
        match happening {
            GroupHappening::Arrives { client, number, broker, ask } => {
                self.group_is_asked(client, number, broker, *ask);
            }
            GroupHappening::Answered { client, number, answer } => {
                self.group_answers(client, number, answer);
            }
            GroupHappening::TimesOut { client, number } => self.group_is_silent(client, number),
            GroupHappening::AsksAgain { client } => self.ask_group(client),
            GroupHappening::Loads { life } => self.load_groups(life),
            GroupHappening::Timer => self.do_what_is_due_to_groups(),
        }
    }

    /// A member's question comes to a broker.
    fn group_is_asked(
        &mut self,
        client: usize,
        number: u64,
        (broker, life): (usize, u32),
        ask: GroupAsk,
    ) {
        if !self.brokers[broker].up || self.brokers[broker].life != life {
            return;
        }
        if let Err(error) = self.check_groups(broker) {
            return self.answer_member(client, number, GroupAnswer::Refused(error));
        }
        let now = self.now.broker_now();
        let Some(transactions) = &mut self.transactions else { return };
        let token = Token(number);
        let groups = &mut transactions.groups;
        match ask {
            GroupAsk::Join(request) => {
                groups.waiting.insert(token, client);
                groups.core.join(now, token, &request, &NoTopics);
                self.settle_groups();
            }
            GroupAsk::Sync(request) => {
                groups.waiting.insert(token, client);
                groups.core.sync(now, token, &request, &NoTopics);
                self.settle_groups();
            }
            GroupAsk::Position { group } => {
                let (id, inputs) = (group_id(group), [inputs_of(group)]);
                let fetched = groups.core.offsets().fetch(&id, Some(&inputs), true);
                if fetched.iter().any(|one| one.is_unstable) {
                    let refused = GroupAnswer::Refused(ErrorCode::UnstableOffsetCommit);
                    return self.park_at_groups(Then::Member { client, number, answer: refused });
                }
                let position = position_of(&groups.core, group);
                let at_least = transactions.history.committed_position(group);
                self.park_at_groups(Then::Position { client, number, group, position, at_least });
            }
        }
    }

    /// Appends and replays what was decided about groups, and parks their answers.
    fn settle_groups(&mut self) {
        let Some(transactions) = &mut self.transactions else { return };
        let records = transactions.groups.core.take_records();
        for records in records.chunk_by(|one, next| one.group() == next.group()) {
            let kept = self.keep_group_records(records, None);
            let now = self.now.broker_now();
            if let (Err(error), Some(transactions)) = (kept, &mut self.transactions) {
                transactions.groups.core.undo(now, records[0].group(), error);
            }
        }
        let Some(transactions) = &mut self.transactions else { return };
        for (_, token, answer) in transactions.groups.core.take_answers() {
            let Some(transactions) = &mut self.transactions else { return };
            let Some(client) = transactions.groups.waiting.remove(&token) else { continue };
            let answer = GroupAnswer::Group(answer);
            self.park_at_groups(Then::Member { client, number: token.0, answer });
        }
        self.set_group_timer();
    }

    /// Appends records as one batch, and replays them.
    ///
    /// # Errors
    /// They could not be appended: nothing has changed.
    fn keep_group_records(
        &mut self,
        records: &[GroupRecord],
        producer: Option<(ProducerIdentity, TransactionGuard)>,
    ) -> Result<(), ErrorCode> {
        let Some(slot) = self.transactions.as_ref().map(|t| t.groups.slot()) else {
            return Err(ErrorCode::CoordinatorNotAvailable);
        };
        let now = self.now.broker_now();
        let who = producer.map(|(who, _)| who);
        let batch = batch_of(records, now.wall, who).ok_or(ErrorCode::UnknownServerError)?;
        let free_bytes = self.take_room(self.partitions[slot].host, batch.len());
        let origin = (AppendOrigin::Coordinator, producer.map(|(_, guard)| guard));
        let first = match self.partitions[slot].append(batch, origin, now, free_bytes) {
            Appended::Written { base_offset, .. } => base_offset,
            Appended::Refused(ErrorCode::KafkaStorageError | ErrorCode::NotLeaderOrFollower)
            | Appended::Duplicate { .. } => return Err(ErrorCode::CoordinatorNotAvailable),
            Appended::Refused(error) => return Err(error),
        };
        let Some(transactions) = &mut self.transactions else { return Ok(()) };
        let core = &mut transactions.groups.core;
        for (n, record) in (0_i64..).zip(records) {
            core.replay(now, record.clone(), who.map(|who| who.id), PARTITION, first + n);
        }
        self.flush_if_due(slot);
        Ok(())
    }

    /// Offsets that the transaction coordinator has let in are stored, to be seen once it commits.
    pub(super) fn store_offsets(&mut self, offsets: OffsetsOnTheirWay, guard: TransactionGuard) {
        let OffsetsOnTheirWay { client, broker, question, producer, offsets } = offsets;
        let now = self.now.broker_now();
        let Some(transactions) = &mut self.transactions else { return };
        let request = request_of(&offsets);
        let decision = transactions.groups.core.decide_commit(now, &request);
        let records: Vec<GroupRecord> =
            decision.records.into_iter().map(GroupRecord::Offset).collect();
        let kept = match records.is_empty() {
            true => Ok(()),
            false => self.keep_group_records(&records, Some((producer, guard))),
        };
        let errors = match kept {
            Ok(()) => decision.reply,
            Err(error) => vec![error; request.offsets.len()],
        };
        let group = &request.group;
        self.note(format_args!("offsets of {group} by {producer}: {errors:?}"));
        if errors.contains(&ErrorCode::None) {
            self.offsets_are_taken();
        }
        let partitions = offsets.offsets.into_iter().map(|(partition, _)| partition);
        let reply = TransactionReply::Partitions(partitions.zip(errors).collect());
        self.park_at_groups(Then::Answer { client, broker, question, reply });
    }

    /// A marker is in the log of `__consumer_offsets`: what its producer had pending is decided.
    pub(super) fn marker_takes_effect(&mut self, slot: usize, marker: &TransactionMarker) {
        let is_here = self.transactions.as_ref().is_some_and(|t| t.groups.slot() == slot);
        // A coordinator that reads its log only now finds the marker there.
        if !is_here || !self.groups_are_loaded() {
            return;
        }
        let (producer, committed) = (marker.producer.id, marker.committed);
        if let Some(transactions) = &mut self.transactions {
            transactions.groups.core.replay_marker(PARTITION, producer, committed);
        }
    }

    /// Looks at the stored offsets of a group, as an administrator may at any moment.
    pub(crate) fn look_at_groups(&mut self) {
        let Some(transactions) = &self.transactions else { return };
        let groups = transactions.history.groups();
        if groups.is_empty() || !self.groups_are_loaded() {
            return;
        }
        let group = self.work_dice.pick(&groups);
        let position = self.transactions.as_ref().map(|t| position_of(&t.groups.core, group));
        let position = position.unwrap_or(0);
        self.park_at_groups(Then::Look { group, position });
    }

    fn park_at_groups(&mut self, then: Then) {
        let Some(transactions) = &mut self.transactions else { return };
        let seat = &mut transactions.groups.seat;
        seat.park(&self.partitions[seat.slot], then);
        self.release_groups();
    }

    /// The log of `__consumer_offsets` was flushed: what waited for that goes on.
    pub(super) fn release_groups(&mut self) {
        while let Some(then) = self.next_of_groups() {
            match then {
                Then::Answer { client, broker, question, reply } => {
                    self.answer(client, broker, question, reply);
                }
                Then::Member { client, number, answer } => {
                    self.answer_member(client, number, answer);
                }
                Then::Position { client, number, group, position, at_least } => {
                    self.position_is_seen(group, position);
                    if position < at_least {
                        let text = format!("group {group}: {position}, when {at_least} is certain");
                        self.violate(Promise::InputsCountOnce, text);
                    }
                    self.answer_member(client, number, GroupAnswer::Position(position));
                }
                Then::Look { group, position } => {
                    self.counters.offsets_seen += 1;
                    self.position_is_seen(group, position);
                }
            }
        }
    }

    fn next_of_groups(&mut self) -> Option<Then> {
        let seat = &mut self.transactions.as_mut()?.groups.seat;
        seat.next_released(&self.partitions[seat.slot])
    }

    /// Puts a member's answer on its way.
    fn answer_member(&mut self, client: usize, number: u64, answer: GroupAnswer) {
        if self.loses_answer() {
            return;
        }
        let at = self.now + Duration::from_micros(self.latency_us());
        let answered = GroupHappening::Answered { client, number, answer };
        self.push_transactional(at, TransactionHappening::Group(answered));
    }

    fn set_group_timer(&mut self) {
        let Some(transactions) = &mut self.transactions else { return };
        let Some(due) = transactions.groups.core.next_wakeup() else { return };
        let at = SimTime::from_monotonic(due).max(self.now);
        if at < self.now + HORIZON && transactions.groups.seat.set_timer(at) {
            self.push_transactional(at, TransactionHappening::Group(GroupHappening::Timer));
        }
    }

    fn do_what_is_due_to_groups(&mut self) {
        let (loaded, now) = (self.groups_are_loaded(), self.now.broker_now());
        let Some(transactions) = &mut self.transactions else { return };
        if !transactions.groups.seat.take_timer(self.now) || !loaded {
            return;
        }
        while self.transactions.as_mut().is_some_and(|t| t.groups.core.do_next_due(now, &NoTopics))
        {
            self.settle_groups();
        }
        self.set_group_timer();
    }

    /// Whether the log of `__consumer_offsets`, replayed, gives what its coordinator knows.
    pub(crate) fn check_groups_log(&mut self) {
        let Some(transactions) = &self.transactions else { return };
        let (slot, planted) = (transactions.groups.slot(), transactions.groups.planted);
        if !self.plan.is_processing() || !self.groups_are_loaded() {
            return;
        }
        let replayed = self.replay_groups(slot, planted);
        let Some(transactions) = &self.transactions else { return };
        let text = match replayed {
            Ok(core) if core.has_hard_state_of(&transactions.groups.core) => return,
            Ok(_) => "the groups' log, replayed, gives another state".to_owned(),
            Err(error) => format!("the groups' log: {error}"),
        };
        self.violate(Promise::LogSaysAll, text);
    }

    /// What groups have stored, by the log alone.
    ///
    /// # Errors
    /// The log can't be read.
    pub(super) fn stored_positions(&mut self) -> Result<BTreeMap<usize, u64>, String> {
        let Some(transactions) = &self.transactions else { return Ok(BTreeMap::new()) };
        let (slot, groups) = (transactions.groups.slot(), transactions.history.groups());
        let core = self.replay_groups(slot, Planted::none())?;
        Ok(groups.into_iter().map(|group| (group, position_of(&core, group))).collect())
    }
}

/// What a TxnOffsetCommit asks for.
fn request_of(offsets: &GroupOffsets) -> CommitRequest {
    let new = |(topic_partition, committed): &(
        TopicPartition,
        streamledger_client_core::transaction::CommittedOffset,
    )| NewOffset {
        topic_partition: topic_partition.clone(),
        offset: committed.offset,
        leader_epoch: committed.leader_epoch,
        metadata: committed.metadata.clone(),
    };
    CommitRequest {
        group: offsets.group.group_id.clone(),
        committer: Committer {
            member_id: offsets.group.member_id.clone(),
            instance_id: offsets.group.group_instance_id.clone(),
            generation: offsets.group.generation_id,
        },
        way: CommitWay::Transactional,
        retention_ms: None,
        offsets: offsets.offsets.iter().map(new).collect(),
    }
}

fn batch_of(
    records: &[GroupRecord],
    now: TimestampMs,
    producer: Option<ProducerIdentity>,
) -> Option<Bytes> {
    let mut builder = RecordBatchBuilder::with_capacity(256);
    for record in records {
        let (key, value) = record.encode().ok()?;
        builder.append(now, Some(&key), value.as_deref(), &[]);
    }
    let seal = BatchSeal {
        producer: producer.map(|producer| (producer, SequenceNumber::NONE)),
        transactional: producer.is_some(),
        ..BatchSeal::default()
    };
    let sealed = builder.seal(&seal, &mut CompressionScratch::default());
    sealed.ok().map(|sealed| sealed.bytes)
}

/// Where the last marker of each producer is in a log.
fn last_markers(stored: &[u8]) -> BTreeMap<ProducerId, Offset> {
    let headers = batches(stored).filter_map(Result::ok).map(|batch| *batch.header());
    let markers = headers.filter(|header| header.attributes.is_control());
    markers.filter_map(|header| Some((header.producer()?.id, header.base_offset))).collect()
}

/// Replays a log of `__consumer_offsets`; `forgets` what open transactions are about to store.
fn replay(
    core: &mut GroupCoordinator,
    stored: &[u8],
    now: Now,
    forgets: bool,
) -> Result<(), String> {
    let markers = last_markers(stored);
    let mut decompressor = Decompressor::default();
    for batch in batches(stored) {
        let batch = batch.map_err(|error| error.to_string())?;
        let header = *batch.header();
        let producer = header.producer().filter(|_| header.attributes.is_transactional());
        for record in batch.records(&mut decompressor).map_err(|error| error.to_string())? {
            let record = record.map_err(|error| error.to_string())?;
            if header.attributes.is_control() {
                let control = parse_control_record(&record).map_err(|error| error.to_string())?;
                let (ControlRecord::Marker { kind, .. }, Some(producer)) = (control, producer)
                else {
                    return Err("a control record of an unknown kind".to_owned());
                };
                core.replay_marker(PARTITION, producer.id, kind == ControlKind::Commit);
                continue;
            }
            let bytes = |part: Option<&[u8]>| part.map(Bytes::copy_from_slice);
            let key = bytes(record.key).ok_or("a record without a key")?;
            let decoded = GroupRecord::decode(key, bytes(record.value));
            let decoded = decoded.map_err(|error| error.to_string())?;
            let at = record.offset;
            let is_pending =
                producer.is_some_and(|one| markers.get(&one.id).is_none_or(|marker| *marker < at));
            if !(forgets && is_pending) {
                core.replay(now, decoded, producer.map(|one| one.id), PARTITION, at);
            }
        }
    }
    Ok(())
}
