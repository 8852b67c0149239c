//! Who consumes, processes and produces: a member of a group, faked, that makes a record of each
//! input and has its group's offset stored in the same transaction.
//!
//! 1. It begins where its group's stored offset says, and only once that is certain (KIP-447).
//! 2. What it could not write it does not count: that transaction is aborted.
//! 3. After an abort it looks again where it is to begin; if its group refused it, it joins again.

use std::time::Duration;

use bytes::Bytes;
use streamledger_broker_core::group::{
    JoinReply, JoinRequest, JoinedMember, MemberOfGeneration, ParkedAnswer, Protocol, SyncReply,
    SyncRequest,
};
use streamledger_client_core::transaction::{
    AbortCause, CommittedOffset, ConsumerGroupMetadata, GroupOffsets, TransactionApi,
    TransactionError, TransactionErrorKind, TransactionOperation,
};
use streamledger_protocol::{ErrorCode, Offset};

use super::TransactionHappening;
use super::groups::{GroupAnswer, GroupAsk, GroupHappening, group_id, inputs_of};
use crate::plan::ProcessingPlan;
use crate::records::RecordNumber;
use crate::report::Promise;
use crate::world::World;

/// Longer than any run: no member is out for its silence.
const SESSION_TIMEOUT_MS: i32 = 1_800_000;
/// How long a group waits for members that are gone.
const REBALANCE_TIMEOUT_MS: i32 = 150;
/// How long a member waits for an answer that may be parked, beyond what it waits for others.
const PARKED: Duration = Duration::from_millis(500);
/// How long until a member asks again, at most.
const BACKOFF_US_MAX: u64 = 20_000;
/// In so many cases of a thousand offsets are stored although the transaction is to be aborted.
const OFFSETS_BEFORE_ABORT_PER_MILLE: u64 = 700;
/// In so many cases of a thousand a member joins again after a commit.
const REJOIN_PER_MILLE: u64 = 50;

/// A member, and how far it has come.
#[derive(Debug)]
pub(super) struct Processor {
    pub(super) plan: ProcessingPlan,
    member_id: String,
    generation: i32,
    /// Told to lead these.
    leads: Vec<JoinedMember>,
    seeks: Seek,
    /// The question that waits for its answer.
    asked: Option<u64>,
    /// The next input, were the open transaction none.
    position: u64,
    /// Inputs of the open transaction.
    processed: u64,
    /// An input of the open transaction could not be written.
    has_gap: bool,
    /// The offset of the open transaction was sent, or deliberately not.
    has_offered: bool,
    /// How the open transaction is to end.
    then: TransactionOperation,
    /// Its group has moved on from it.
    is_refused: bool,
}

/// What a member asks for before it can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seek {
    Join,
    Sync,
    Position,
}

impl Processor {
    pub(super) fn new(plan: ProcessingPlan) -> Self {
        Self {
            plan,
            member_id: String::new(),
            generation: -1,
            leads: Vec::new(),
            seeks: Seek::Join,
            asked: None,
            position: 0,
            processed: 0,
            has_gap: false,
            has_offered: false,
            then: TransactionOperation::Commit,
            is_refused: false,
        }
    }

    fn instance_id(&self) -> Option<String> {
        self.plan.is_static.then(|| format!("instance-{}", self.plan.group))
    }

    /// A transaction begins.
    pub(super) fn begin(&mut self) {
        (self.processed, self.has_gap, self.has_offered) = (0, false, false);
    }

    /// What is to be stored in the open transaction.
    pub(super) fn offsets(&self) -> GroupOffsets {
        let offset = Offset(i64::try_from(self.next_position()).unwrap_or(i64::MAX));
        GroupOffsets {
            group: ConsumerGroupMetadata {
                group_id: group_id(self.plan.group),
                generation_id: self.generation,
                member_id: self.member_id.clone(),
                group_instance_id: self.instance_id(),
            },
            offsets: vec![(inputs_of(self.plan.group), CommittedOffset::new(offset))],
        }
    }

    fn next_position(&self) -> u64 {
        self.position + self.processed
    }

    fn ask(&self, client: usize, number: u64) -> GroupAsk {
        match self.seeks {
            Seek::Position => GroupAsk::Position { group: self.plan.group },
            Seek::Sync => GroupAsk::Sync(SyncRequest {
                group: group_id(self.plan.group),
                member: MemberOfGeneration {
                    member_id: self.member_id.clone(),
                    instance_id: self.instance_id(),
                    generation: self.generation,
                },
                protocol_type: None,
                protocol: None,
                assignments: assign(&self.leads),
            }),
            Seek::Join => {
                // The member that came last is told from those that it replaces.
                let metadata = Bytes::copy_from_slice(&(client as u64).to_be_bytes());
                GroupAsk::Join(JoinRequest {
                    group: group_id(self.plan.group),
                    member_id: self.member_id.clone(),
                    instance_id: self.instance_id(),
                    client_id: format!("client-{client}"),
                    client_host: "/host".to_owned(),
                    session_timeout_ms: SESSION_TIMEOUT_MS,
                    rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
                    protocol_type: "consumer".to_owned(),
                    protocols: vec![Protocol { name: "latest".to_owned(), metadata }],
                    takes_member_id_first: true,
                    can_skip_assignment: true,
                    fresh_member_id: format!("client-{client}-{number}"),
                })
            }
        }
    }

    /// It is no member, whatever it was.
    fn forget_member(&mut self) {
        (self.generation, self.seeks) = (-1, Seek::Join);
        self.member_id.clear();
    }
}

/// All inputs go to the member that started last: those before it are gone, or about to be.
fn assign(members: &[JoinedMember]) -> Vec<(String, Bytes)> {
    let last = members.iter().max_by(|one, other| one.metadata.cmp(&other.metadata));
    last.map(|last| (last.member_id.clone(), Bytes::from_static(b"all"))).into_iter().collect()
}

impl World {
    fn processor(&mut self, client: usize) -> Option<&mut Processor> {
        self.clients[client].transactional.as_mut()?.processor.as_mut()
    }

    /// Has a member find out where it is to begin.
    pub(super) fn seek(&mut self, client: usize, seeks: Seek) {
        let Some(processor) = self.processor(client) else { return };
        processor.seeks = seeks;
        self.caller_seeks(client);
        self.ask_group(client);
    }

    /// Puts the next question of a member on its way.
    pub(super) fn ask_group(&mut self, client: usize) {
        if self.clients[client].dead {
            return;
        }
        let Some(number) = self.transactions.as_mut().map(|t| t.new_number()) else { return };
        let Some(processor) = self.processor(client) else { return };
        processor.asked = Some(number);
        let (seeks, ask) = (processor.seeks, processor.ask(client, number));
        self.note(format_args!("client {client} asks its group: {seeks:?}"));
        let timeout = self.now + self.clients[client].plan.request_timeout + PARKED;
        let times_out = GroupHappening::TimesOut { client, number };
        self.push_transactional(timeout, TransactionHappening::Group(times_out));
        let slot = self.groups_slot();
        let Some(broker) = self.cluster.leaders[slot].broker else { return };
        if self.loses_answer() {
            return;
        }
        let stalled = self.stalled.get(&(client, broker)).copied();
        let latency = Duration::from_micros(self.latency_us());
        let at = stalled.unwrap_or(self.now).max(self.now) + latency;
        let broker = (broker, self.brokers[broker].life);
        let arrives = GroupHappening::Arrives { client, number, broker, ask: Box::new(ask) };
        self.push_transactional(at, TransactionHappening::Group(arrives));
    }

    /// Nobody has answered a member.
    pub(super) fn group_is_silent(&mut self, client: usize, number: u64) {
        let is_waiting =
            |processor: &mut Processor| processor.asked.take_if(|asked| *asked == number).is_some();
        if self.processor(client).is_some_and(is_waiting) {
            self.ask_group(client);
        }
    }

    pub(super) fn group_answers(&mut self, client: usize, number: u64, answer: GroupAnswer) {
        if self.clients[client].dead {
            return;
        }
        let Some(processor) = self.processor(client) else { return };
        if processor.asked.take_if(|asked| *asked == number).is_none() {
            self.counters.answers_late += 1;
            return;
        }
        match answer {
            GroupAnswer::Refused(error) => self.group_refuses(client, error),
            GroupAnswer::Position(position) => {
                processor.position = position;
                self.note(format_args!("client {client} begins at input {position}"));
                self.caller_is_ready(client);
            }
            GroupAnswer::Group(ParkedAnswer::Joined(reply)) => self.member_joins(client, reply),
            GroupAnswer::Group(ParkedAnswer::Synced(reply)) => self.member_syncs(client, &reply),
        }
    }

    fn member_joins(&mut self, client: usize, reply: JoinReply) {
        let Some(processor) = self.processor(client) else { return };
        match reply.error {
            ErrorCode::None => {
                processor.member_id = reply.member_id;
                processor.generation = reply.generation;
                processor.leads = match reply.skips_assignment {
                    true => Vec::new(),
                    false => reply.members,
                };
                processor.seeks = Seek::Sync;
                self.ask_group(client);
            }
            ErrorCode::MemberIdRequired => {
                processor.member_id = reply.member_id;
                self.ask_group(client);
            }
            error => self.group_refuses(client, error),
        }
    }

    fn member_syncs(&mut self, client: usize, reply: &SyncReply) {
        if reply.error != ErrorCode::None {
            return self.group_refuses(client, reply.error);
        }
        if reply.assignment.is_empty() {
            // Another one consumes.
            return self.join_later_unless_superseded(client);
        }
        self.counters.members_joined += 1;
        let Some(processor) = self.processor(client) else { return };
        processor.is_refused = false;
        self.seek(client, Seek::Position);
    }

    /// What an error makes a member do.
    fn group_refuses(&mut self, client: usize, error: ErrorCode) {
        self.note(format_args!("client {client} is refused by its group: {error}"));
        let Some(processor) = self.processor(client) else { return };
        match error {
            ErrorCode::UnstableOffsetCommit => {
                self.counters.offsets_unstable += 1;
                self.ask_group_later(client);
            }
            ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::NotCoordinator => self.ask_group_later(client),
            ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => {
                processor.seeks = Seek::Join;
                self.ask_group_later(client);
            }
            ErrorCode::UnknownMemberId => {
                processor.forget_member();
                self.ask_group_later(client);
            }
            ErrorCode::FencedInstanceId => self.join_later_unless_superseded(client),
            error => {
                let text = format!("client {client}: its group says {error}");
                self.violate(Promise::RulesHold, text);
            }
        }
    }

    fn join_later_unless_superseded(&mut self, client: usize) {
        if self.is_superseded(client) {
            return self.caller_is_over(client);
        }
        let Some(processor) = self.processor(client) else { return };
        processor.forget_member();
        self.ask_group_later(client);
    }

    fn ask_group_later(&mut self, client: usize) {
        let at = self.now + Duration::from_micros(self.work_dice.between(1000, BACKOFF_US_MAX));
        let again = GroupHappening::AsksAgain { client };
        self.push_transactional(at, TransactionHappening::Group(again));
    }

    /// How the open transaction goes on when all its records are written: its offsets first.
    pub(super) fn after_records(
        &mut self,
        client: usize,
        then: TransactionOperation,
    ) -> TransactionOperation {
        if !self.processes(client) {
            return then;
        }
        let offers_anyway = self.work_dice.chance(OFFSETS_BEFORE_ABORT_PER_MILLE);
        let Some(processor) = self.processor(client) else { return then };
        if processor.has_gap {
            return TransactionOperation::Abort;
        }
        if std::mem::replace(&mut processor.has_offered, true) {
            return then;
        }
        processor.then = then;
        if then == TransactionOperation::Abort && !offers_anyway {
            return then;
        }
        let (group, to) = (processor.plan.group, processor.next_position());
        self.current_consumes(client, group, to);
        TransactionOperation::SendOffsets
    }

    /// The offsets are in the transaction: what is to be asked for then.
    pub(super) fn after_offsets(&mut self, client: usize) -> TransactionOperation {
        self.counters.offsets_sent += 1;
        self.processor(client).map_or(TransactionOperation::Commit, |processor| processor.then)
    }

    /// An input became a record, or could not.
    pub(super) fn input_is_over(
        &mut self,
        client: usize,
        number: Option<RecordNumber>,
    ) -> Option<(usize, u64)> {
        let processor = self.processor(client)?;
        let input = (processor.plan.group, processor.next_position());
        match number {
            Some(_) => processor.processed += 1,
            None => processor.has_gap = true,
        }
        Some(input)
    }

    /// A transaction can only be aborted: because of the group?
    pub(super) fn note_cause(&mut self, client: usize, error: &TransactionError) {
        let TransactionErrorKind::Abortable(AbortCause::Refused {
            api: TransactionApi::CommitOffsets,
            error,
        }) = &error.kind
        else {
            return;
        };
        let is_fenced = matches!(
            error,
            ErrorCode::FencedInstanceId
                | ErrorCode::UnknownMemberId
                | ErrorCode::IllegalGeneration
                | ErrorCode::RebalanceInProgress
        );
        if let Some(processor) = self.processor(client).filter(|_| is_fenced) {
            processor.is_refused = true;
            processor.forget_member();
            self.counters.members_fenced += 1;
        }
    }

    /// A transaction has ended: where the next one begins.
    pub(super) fn process_on(&mut self, client: usize, committed: bool) {
        if !self.processes(client) {
            return self.caller_is_ready(client);
        }
        let rejoins = self.work_dice.chance(REJOIN_PER_MILLE);
        let Some(processor) = self.processor(client) else { return };
        if processor.is_refused {
            self.caller_seeks(client);
            return self.join_later_unless_superseded(client);
        }
        if !committed {
            return self.seek(client, Seek::Position);
        }
        processor.position = processor.next_position();
        processor.processed = 0;
        match rejoins {
            true => self.seek(client, Seek::Join),
            false => self.caller_is_ready(client),
        }
    }
}
