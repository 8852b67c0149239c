//! What a group's decisions leave behind: records to append, answers to give, timers to run.

use streamledger_protocol::{ErrorCode, GroupId};

use super::classic::{JoinReply, SyncReply};
use super::config::GroupConfig;
use super::log_record::GroupRecord;
use super::timers::{TimerKind, Timers};
use crate::time::Now;

/// A request whose answer is parked; the shell counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What a parked request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParkedAnswer {
    /// Of JoinGroup.
    Joined(JoinReply),
    /// Of SyncGroup.
    Synced(SyncReply),
}

impl ParkedAnswer {
    /// The same answer with an error in place of what it says.
    fn refused(&self, error: ErrorCode) -> Self {
        match self {
            Self::Joined(reply) => Self::Joined(JoinReply::refused(error, &reply.member_id)),
            Self::Synced(_) => Self::Synced(SyncReply::refused(error)),
        }
    }
}

/// What has come of decisions and was not fetched by the shell yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox {
    pub(super) records: Vec<GroupRecord>,
    pub(super) answers: Vec<(GroupId, Token, ParkedAnswer)>,
}

impl Outbox {
    /// Has everybody who waits for an answer of a group told an error instead.
    pub(super) fn refuse_all(&mut self, group: &GroupId, error: ErrorCode) {
        for (_, _, answer) in self.answers.iter_mut().filter(|(of, _, _)| of == group) {
            *answer = answer.refused(error);
        }
    }
}

/// What a decision about one group works with.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    pub(super) group: &'a GroupId,
    pub(super) now: Now,
    pub(super) config: &'a GroupConfig,
    pub(super) timers: &'a mut Timers,
    pub(super) outbox: &'a mut Outbox,
}

impl Desk<'_> {
    /// Answers a parked JoinGroup.
    pub(super) fn answer_join(&mut self, token: Token, reply: JoinReply) {
        self.outbox.answers.push((self.group.clone(), token, ParkedAnswer::Joined(reply)));
    }

    /// Answers a parked SyncGroup.
    pub(super) fn answer_sync(&mut self, token: Token, reply: SyncReply) {
        self.outbox.answers.push((self.group.clone(), token, ParkedAnswer::Synced(reply)));
    }

    /// Has a record appended.
    pub(super) fn append(&mut self, record: GroupRecord) {
        self.outbox.records.push(record);
    }

    /// Starts a timer that is due in `ms`.
    pub(super) fn start_timer(&mut self, kind: TimerKind, ms: u64) {
        self.timers.start(self.group, kind, self.now.monotonic.plus(ms));
    }

    /// Ends a timer.
    pub(super) fn stop_timer(&mut self, kind: TimerKind) {
        self.timers.stop(self.group, kind);
    }

    /// Starts the time within which a member must be heard of.
    pub(super) fn start_session(&mut self, member_id: &str, ms: u64) {
        self.start_timer(TimerKind::Session(member_id.to_owned()), ms);
    }

    /// A member need not be heard of any more.
    pub(super) fn end_session(&mut self, member_id: &str) {
        self.stop_timer(TimerKind::Session(member_id.to_owned()));
    }
}
