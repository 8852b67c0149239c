//! The coordinator, its log and its members, step by step.

use std::collections::BTreeMap;

use streamledger_broker_core::group::{
    CommitRequest, CommitWay, Committer, GroupConfig, GroupCoordinator, GroupRecord, NewOffset,
    ParkedAnswer, Token,
};
use streamledger_broker_core::time::{MonotonicMs, Now};
use streamledger_protocol::{
    ErrorCode, GroupId, LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicPartition,
};

use super::GroupReport;
use super::classic::ClassicMember;
use super::moving::{MovingMember, goes_by};
use super::next_generation::{NextMember, Topics};
use crate::plan::Planted;
use crate::random::Dice;

const STEPS: u64 = 600;
const MEMBERS: usize = 4;
const PARTITION: PartitionIndex = PartitionIndex(0);

/// What members work with.
pub(super) struct World {
    pub(super) core: GroupCoordinator,
    config: GroupConfig,
    pub(super) dice: Dice,
    pub(super) now: Now,
    log: Vec<GroupRecord>,
    pub(super) answers: BTreeMap<Token, ParkedAnswer>,
    last_token: u64,
    log_fails: bool,
    pub(super) topics: Topics,
    pub(super) report: GroupReport,
}

impl World {
    pub(super) fn new(seed: u64, planted: Option<Planted>) -> Self {
        let config = GroupConfig {
            initial_rebalance_delay_ms: 500,
            planted: planted.map(Planted::in_broker).unwrap_or_default(),
            ..GroupConfig::default()
        };
        Self {
            core: GroupCoordinator::new(config.clone()),
            config,
            dice: Dice::new(seed),
            now: Now { wall: TimestampMs(1), monotonic: MonotonicMs(0) },
            log: Vec::new(),
            answers: BTreeMap::new(),
            last_token: 0,
            log_fails: false,
            topics: Topics::default(),
            report: GroupReport { seed, ..GroupReport::default() },
        }
    }

    pub(super) fn run(mut self) -> GroupReport {
        let mut classic: Vec<_> = (0..MEMBERS).map(ClassicMember::new).collect();
        let mut next: Vec<_> = (0..MEMBERS).map(NextMember::new).collect();
        let mut moving: Vec<_> = (0..MEMBERS).map(MovingMember::new).collect();
        let mut went_by = None;
        for _ in 0..STEPS {
            self.log_fails = self.dice.chance(60);
            match self.dice.below(20) {
                0 => {
                    let ms = self.dice.pick(&[100, 3_000, 12_000, 50_000]);
                    self.pass(ms);
                }
                1 if self.dice.chance(300) => self.restart(),
                2 => self.topics.grow(&mut self.dice),
                n => {
                    let member = self.dice.place(MEMBERS);
                    match n % 3 {
                        0 => classic[member].act(&mut self),
                        1 => next[member].act(&mut self),
                        _ => moving[member].act(&mut self),
                    }
                }
            }
            self.pass(self.dice.clone().below(200));
            self.check_hard_state();
            ClassicMember::check(&classic, &mut self);
            NextMember::check(&next, &mut self);
            MovingMember::check(&moving, &mut self);
            let goes_by = goes_by(&self);
            let turned = goes_by.is_some() && went_by.is_some() && goes_by != went_by;
            self.report.turns += u64::from(turned);
            self.report.turns_back += u64::from(turned && goes_by == Some("classic"));
            went_by = goes_by;
            if !self.report.is_good() {
                break;
            }
        }
        self.report
    }

    pub(super) fn violated(&mut self, what: String) {
        self.report.violations.push(what);
    }

    pub(super) fn next_token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    /// What the shell does after each decision; false if something was not appended.
    pub(super) fn settle(&mut self) -> bool {
        let mut kept = true;
        let records = self.core.take_records();
        for records in records.chunk_by(|one, next| one.group() == next.group()) {
            if self.log_fails {
                let group = records[0].group().clone();
                self.core.undo(self.now, &group, ErrorCode::CoordinatorNotAvailable);
                self.report.failures += 1;
                kept = false;
                continue;
            }
            for record in records {
                let at = Offset(self.log.len() as i64);
                self.core.replay(self.now, record.clone(), None, PARTITION, at);
                self.log.push(record.clone());
            }
        }
        for (_, token, answer) in self.core.take_answers() {
            if self.answers.insert(token, answer).is_some() {
                self.violated(format!("{token:?} was answered twice"));
            }
        }
        kept
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now.monotonic.plus(ms);
        while let Some(due) = self.core.next_wakeup().filter(|due| *due <= end) {
            self.now.monotonic = due.max(self.now.monotonic);
            // A failed append is tried again by the members, not by time alone.
            self.log_fails = false;
            while self.core.do_next_due(self.now, &self.topics) {
                self.settle();
            }
        }
        self.now.monotonic = end;
    }

    fn replayed(&self) -> GroupCoordinator {
        let mut core = GroupCoordinator::new(self.config.clone());
        for (at, record) in (0..).zip(&self.log) {
            core.replay(self.now, record.clone(), None, PARTITION, Offset(at));
        }
        let _ = core.take_answers();
        core
    }

    fn restart(&mut self) {
        self.core = self.replayed();
        self.report.restarts += 1;
    }

    fn check_hard_state(&mut self) {
        self.report.compared += 1;
        if !self.core.has_hard_state_of(&self.replayed()) {
            self.violated("the log, replayed, gives another state".to_owned());
        }
    }

    /// Stores an offset in a member's name; `is_current` is whether it may.
    pub(super) fn commit(
        &mut self,
        group: &GroupId,
        by: &Committer,
        is_current: bool,
    ) -> ErrorCode {
        let request = CommitRequest {
            group: group.clone(),
            committer: by.clone(),
            way: CommitWay::Plain,
            retention_ms: None,
            offsets: vec![NewOffset {
                topic_partition: TopicPartition::new("clicks", PARTITION),
                offset: Offset(self.log.len() as i64),
                leader_epoch: LeaderEpoch::NONE,
                metadata: None,
            }],
        };
        let decision = self.core.decide_commit(self.now, &request);
        let error = decision.reply[0];
        if error == ErrorCode::None {
            self.report.commits += 1;
            if !is_current {
                self.violated(format!("a zombie stored an offset: {by:?}"));
            }
            for record in decision.records.into_iter().map(GroupRecord::Offset) {
                let at = Offset(self.log.len() as i64);
                self.core.replay(self.now, record.clone(), None, PARTITION, at);
                self.log.push(record);
            }
        } else if !is_current {
            self.report.zombies += 1;
        }
        error
    }
}
