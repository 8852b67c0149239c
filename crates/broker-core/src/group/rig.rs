//! A coordinator under test: its clock, its log, and who waits for answers.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use streamledger_protocol::{
    ErrorCode, GroupId, LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicId, TopicName,
    TopicPartition,
};

use super::{
    CommitRequest, CommitWay, Committer, GroupConfig, GroupCoordinator, GroupRecord, GroupState,
    JoinReply, JoinRequest, LeavingMember, MemberOfGeneration, NewOffset, ParkedAnswer, Protocol,
    SyncReply, SyncRequest, Token, TopicsView,
};
use crate::time::{MonotonicMs, Now};

pub(super) const PARTITION: PartitionIndex = PartitionIndex(0);
pub(super) const REBALANCE_MS: i32 = 60_000;
pub(super) const SESSION_MS: i32 = 10_000;

pub(super) fn group() -> GroupId {
    GroupId::from("readers")
}

/// One topic, `clicks`, with so many partitions.
pub(super) struct Clicks(pub(super) i32);

impl TopicsView for Clicks {
    fn version(&self) -> u64 {
        self.0.unsigned_abs().into()
    }

    fn topic(&self, name: &TopicName) -> Option<(TopicId, i32)> {
        (name.as_str() == "clicks").then_some((TopicId([1; 16]), self.0))
    }

    fn matching(&self, pattern: &str) -> Option<BTreeSet<TopicName>> {
        (pattern != "(").then(|| ["clicks".into()].into())
    }
}

/// A coordinator with a log that never fails, unless told to.
pub(super) struct Rig {
    pub(super) core: GroupCoordinator,
    pub(super) config: GroupConfig,
    pub(super) now: Now,
    pub(super) log: Vec<GroupRecord>,
    pub(super) answers: BTreeMap<u64, ParkedAnswer>,
    pub(super) asked: u64,
    pub(super) log_fails: bool,
}

impl Rig {
    pub(super) fn new(config: GroupConfig) -> Self {
        Self {
            core: GroupCoordinator::new(config.clone()),
            config,
            now: Now { wall: TimestampMs(1_000), monotonic: MonotonicMs(0) },
            log: Vec::new(),
            answers: BTreeMap::new(),
            asked: 0,
            log_fails: false,
        }
    }

    pub(super) fn quick() -> Self {
        Self::new(GroupConfig { initial_rebalance_delay_ms: 0, ..GroupConfig::default() })
    }

    /// What the shell does after each call.
    pub(super) fn settle(&mut self) {
        for record in self.core.take_records() {
            if self.log_fails {
                let group = record.group().clone();
                self.core.undo(self.now, &group, ErrorCode::CoordinatorNotAvailable);
                continue;
            }
            let (key, value) = record.encode().unwrap();
            let read = GroupRecord::decode(key, value).unwrap();
            assert_eq!(read, record);
            self.core.replay(self.now, read, None, PARTITION, Offset(self.log.len() as i64));
            self.log.push(record);
        }
        for (_, token, answer) in self.core.take_answers() {
            assert!(self.answers.insert(token.0, answer).is_none(), "{token:?} answered twice");
        }
    }

    pub(super) fn wait(&mut self, ms: u64) {
        let end = self.now.monotonic.plus(ms);
        while let Some(due) = self.core.next_wakeup().filter(|due| *due <= end) {
            self.now.monotonic = due.max(self.now.monotonic);
            while self.core.do_next_due(self.now, &Clicks(4)) {
                self.settle();
            }
        }
        self.now.monotonic = end;
    }

    pub(super) fn ask_join(&mut self, change: impl FnOnce(&mut JoinRequest)) -> u64 {
        self.asked += 1;
        let mut request = JoinRequest {
            group: group(),
            member_id: String::new(),
            instance_id: None,
            client_id: "client".to_owned(),
            client_host: "/host".to_owned(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            protocol_type: "consumer".to_owned(),
            protocols: vec![protocol("range", b"topics")],
            takes_member_id_first: false,
            can_skip_assignment: true,
            fresh_member_id: format!("m{}", self.asked),
        };
        change(&mut request);
        self.core.join(self.now, Token(self.asked), &request, &Clicks(4));
        self.settle();
        self.asked
    }

    pub(super) fn ask_join_as(&mut self, member: &str) -> u64 {
        self.ask_join(|request| member.clone_into(&mut request.member_id))
    }

    pub(super) fn joined(&self, asked: u64) -> Option<&JoinReply> {
        match self.answers.get(&asked)? {
            ParkedAnswer::Joined(reply) => Some(reply),
            ParkedAnswer::Synced(_) => panic!("{asked} was no join"),
        }
    }

    pub(super) fn ask_sync(
        &mut self,
        member: &str,
        generation: i32,
        assigned: &[(&str, &str)],
    ) -> u64 {
        self.asked += 1;
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let request = SyncRequest {
            group: group(),
            member: of_generation(member, generation),
            protocol_type: Some("consumer".to_owned()),
            protocol: Some("range".to_owned()),
            assignments: assigned.iter().map(|&(id, a)| (id.to_owned(), bytes(a))).collect(),
        };
        self.core.sync(self.now, Token(self.asked), &request, &Clicks(4));
        self.settle();
        self.asked
    }

    pub(super) fn synced(&self, asked: u64) -> Option<&SyncReply> {
        match self.answers.get(&asked)? {
            ParkedAnswer::Synced(reply) => Some(reply),
            ParkedAnswer::Joined(_) => panic!("{asked} was no sync"),
        }
    }

    pub(super) fn heartbeat(&mut self, member: &str, generation: i32) -> ErrorCode {
        let answer = self.core.heartbeat(self.now, &group(), &of_generation(member, generation));
        self.settle();
        answer
    }

    pub(super) fn leave(&mut self, members: &[(&str, Option<&str>)]) -> Vec<ErrorCode> {
        let leaving: Vec<_> = members
            .iter()
            .map(|&(id, instance)| LeavingMember {
                member_id: id.to_owned(),
                instance_id: instance.map(str::to_owned),
            })
            .collect();
        let answers = self.core.leave(self.now, &group(), &leaving, &Clicks(4)).unwrap();
        self.settle();
        answers
    }

    pub(super) fn commit(&mut self, by: Committer, is_transactional: bool) -> ErrorCode {
        self.decide_commit(by, is_transactional).0
    }

    /// Offset 5 of `clicks`.
    pub(super) fn commit_request(&self, committer: Committer) -> CommitRequest {
        CommitRequest {
            group: group(),
            committer,
            way: CommitWay::Plain,
            retention_ms: None,
            offsets: vec![NewOffset {
                topic_partition: TopicPartition::new("clicks", PARTITION),
                offset: Offset(5),
                leader_epoch: LeaderEpoch::NONE,
                metadata: None,
            }],
        }
    }

    /// The answer for offset 5 of `clicks`, and the records.
    pub(super) fn decide_commit(
        &mut self,
        committer: Committer,
        is_transactional: bool,
    ) -> (ErrorCode, Vec<GroupRecord>) {
        let mut request = self.commit_request(committer);
        if is_transactional {
            request.way = CommitWay::Transactional;
        }
        let decision = self.core.decide_commit(self.now, &request);
        let records = decision.records.into_iter().map(GroupRecord::Offset).collect();
        (decision.reply[0], records)
    }

    pub(super) fn state(&self) -> Option<(GroupState, i32)> {
        self.core.group_state(&group())
    }

    /// Two members, the first leads, each with an assignment; generation 2.
    pub(super) fn two_stable() -> Self {
        let mut rig = Self::quick();
        rig.ask_join_as("");
        rig.wait(0);
        rig.ask_join_as("");
        assert_eq!(rig.heartbeat("m1", 1), ErrorCode::RebalanceInProgress);
        rig.ask_join_as("m1");
        let generation = rig.joined(2).unwrap().generation;
        assert_eq!(generation, 2);
        rig.ask_sync("m2", generation, &[]);
        rig.ask_sync("m1", generation, &[("m1", "a"), ("m2", "b")]);
        assert_eq!(rig.state(), Some((GroupState::Stable, 2)));
        rig
    }

    /// A coordinator that was started on the log.
    pub(super) fn restarted(&self) -> Self {
        let mut rig = Self::new(self.config.clone());
        rig.now = self.now;
        for (at, record) in (0..).zip(&self.log) {
            rig.core.replay(rig.now, record.clone(), None, PARTITION, Offset(at));
        }
        rig.log.clone_from(&self.log);
        rig.asked = 1000;
        rig
    }
}

pub(super) fn protocol(name: &str, metadata: &'static [u8]) -> Protocol {
    Protocol { name: name.to_owned(), metadata: Bytes::from_static(metadata) }
}

pub(super) fn of_generation(member: &str, generation: i32) -> MemberOfGeneration {
    MemberOfGeneration { member_id: member.to_owned(), instance_id: None, generation }
}

pub(super) fn by(member: &str, generation: i32) -> Committer {
    Committer { member_id: member.to_owned(), instance_id: None, generation }
}
