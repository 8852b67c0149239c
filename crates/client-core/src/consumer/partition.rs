//! One partition's place in the fetching, and the table of its transitions.

use std::time::Instant;

use streamledger_protocol::{BrokerId, ErrorCode, LeaderEpoch, Offset, TopicId};

use super::event::{Generation, RequestId};
use super::position::{Lookup, OffsetReset, Position};
use super::verdict::FetchVerdict;

/// What is being done for a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its position has to be found.
    Finding(Lookup),
    /// Records from this offset on are wanted next.
    Fetching(Offset),
    /// Nothing, until a seek.
    Stopped,
}

/// What an answer does to a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Go on in this phase.
    To(Phase),
    /// Ask the same again, after asking for metadata.
    Refresh,
    /// Ask the same again, a little later.
    Wait,
    /// Stop: the position is outside the log and nobody said what then.
    OutOfRange(Offset),
    /// Stop: the broker refuses.
    Refused,
}

impl Phase {
    /// The phase of a new position.
    pub(super) fn at(position: Position, reset: OffsetReset) -> Result<Self, Offset> {
        match position {
            Position::Beginning => Ok(Self::Finding(Lookup::Beginning)),
            Position::End => Ok(Self::Finding(Lookup::End)),
            Position::Timestamp(timestamp) => Ok(Self::Finding(Lookup::Timestamp(timestamp))),
            Position::Offset(offset) => Ok(Self::Fetching(offset)),
            Position::Reset => match reset.lookup() {
                Some(lookup) => Ok(Self::Finding(lookup)),
                None => Err(Offset::NONE),
            },
        }
    }

    /// The transition table: what an answer means in each phase. `found` is what a search gave, or
    /// the offset after the records that came.
    pub(super) fn step(
        self,
        verdict: FetchVerdict,
        found: Option<Offset>,
        reset: OffsetReset,
    ) -> Step {
        match (self, verdict) {
            (Self::Stopped, _) => Step::To(Self::Stopped),
            (_, FetchVerdict::Refresh) => Step::Refresh,
            (_, FetchVerdict::Wait) => Step::Wait,
            (_, FetchVerdict::Stop) => Step::Refused,
            (Self::Finding(lookup), FetchVerdict::Take) => match (found, lookup) {
                (Some(offset), _) => Step::To(Self::Fetching(offset)),
                // No record is so new: wait for the next one.
                (None, Lookup::Timestamp(_) | Lookup::Ago(_)) => {
                    Step::To(Self::Finding(Lookup::End))
                }
                (None, Lookup::Beginning | Lookup::End) => Step::Wait,
            },
            (Self::Finding(_), FetchVerdict::Reset) => Step::Wait,
            (Self::Fetching(offset), FetchVerdict::Take) => {
                Step::To(Self::Fetching(found.unwrap_or(offset)))
            }
            (Self::Fetching(offset), FetchVerdict::Reset) => match reset.lookup() {
                Some(lookup) => Step::To(Self::Finding(lookup)),
                None => Step::OutOfRange(offset),
            },
        }
    }
}

/// One partition's place in the fetching.
#[derive(Debug)]
pub(super) struct PartitionState {
    pub(super) generation: Generation,
    pub(super) phase: Phase,
    /// Nothing is fetched, though positions are still found.
    pub(super) is_paused: bool,
    pub(super) topic_id: TopicId,
    pub(super) leader: Option<BrokerId>,
    pub(super) leader_epoch: LeaderEpoch,
    /// The replica that the leader said is to be read in its place, and until when (KIP-392).
    pub(super) replica: Option<(BrokerId, Instant)>,
    /// What metadata last said against its topic.
    pub(super) topic_error: Option<ErrorCode>,
    /// The request that asks for it, if one is on its way.
    pub(super) in_flight: Option<RequestId>,
    /// Bytes that were delivered and not consumed yet.
    pub(super) buffered_bytes: usize,
    /// Answers in a row that were of no use.
    pub(super) failures: u32,
    pub(super) retry_at: Option<Instant>,
    /// Since when it has had no leader, or since that was told last.
    pub(super) leaderless_since: Option<Instant>,
}

impl PartitionState {
    pub(super) fn new(generation: Generation, phase: Phase) -> Self {
        Self {
            generation,
            phase,
            is_paused: false,
            topic_id: TopicId::ZERO,
            leader: None,
            leader_epoch: LeaderEpoch::NONE,
            replica: None,
            topic_error: None,
            in_flight: None,
            buffered_bytes: 0,
            failures: 0,
            retry_at: None,
            leaderless_since: None,
        }
    }

    /// Whom to ask, if anybody: positions are the leader's to find, records also a replica's to
    /// give.
    pub(super) fn whom_to_ask(&self, now: Instant) -> Option<BrokerId> {
        let replica = self.replica.filter(|(_, until)| *until > now);
        match (self.phase, replica) {
            (Phase::Fetching(_), Some((broker, _))) if self.leader.is_some() => Some(broker),
            _ => self.leader,
        }
    }

    /// Begins again elsewhere. What is in flight or delivered belongs to the old generation.
    pub(super) fn move_to(&mut self, generation: Generation, phase: Phase) {
        self.generation = generation;
        self.phase = phase;
        self.in_flight = None;
        self.buffered_bytes = 0;
        self.failures = 0;
        self.retry_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use streamledger_protocol::TimestampMs;

    const FIND: Phase = Phase::Finding(Lookup::Beginning);
    const FIND_TIME: Phase = Phase::Finding(Lookup::Timestamp(TimestampMs(9)));
    const FETCH: Phase = Phase::Fetching(Offset(5));
    const FOUND: Option<Offset> = Some(Offset(8));

    #[rstest]
    #[case::found(FIND, FetchVerdict::Take, FOUND, Step::To(Phase::Fetching(Offset(8))))]
    #[case::nothing_so_new(
        FIND_TIME,
        FetchVerdict::Take,
        None,
        Step::To(Phase::Finding(Lookup::End))
    )]
    #[case::no_beginning(FIND, FetchVerdict::Take, None, Step::Wait)]
    #[case::cannot_be(FIND, FetchVerdict::Reset, None, Step::Wait)]
    #[case::find_moved(FIND, FetchVerdict::Refresh, None, Step::Refresh)]
    #[case::find_forbidden(FIND, FetchVerdict::Stop, None, Step::Refused)]
    #[case::records(FETCH, FetchVerdict::Take, FOUND, Step::To(Phase::Fetching(Offset(8))))]
    #[case::no_records(FETCH, FetchVerdict::Take, None, Step::To(FETCH))]
    #[case::outside(FETCH, FetchVerdict::Reset, None, Step::To(FIND))]
    #[case::moved(FETCH, FetchVerdict::Refresh, None, Step::Refresh)]
    #[case::behind(FETCH, FetchVerdict::Wait, None, Step::Wait)]
    #[case::forbidden(FETCH, FetchVerdict::Stop, None, Step::Refused)]
    #[case::stopped_stays(Phase::Stopped, FetchVerdict::Take, FOUND, Step::To(Phase::Stopped))]
    fn a_row(
        #[case] phase: Phase,
        #[case] verdict: FetchVerdict,
        #[case] found: Option<Offset>,
        #[case] step: Step,
    ) {
        assert_eq!(phase.step(verdict, found, OffsetReset::Earliest), step);
    }

    #[test]
    fn outside_the_log_with_nowhere_to_reset_to_is_an_error() {
        let step = FETCH.step(FetchVerdict::Reset, None, OffsetReset::None);
        assert_eq!(step, Step::OutOfRange(Offset(5)));
        assert_eq!(Phase::at(Position::Reset, OffsetReset::None), Err(Offset::NONE));
    }
}
