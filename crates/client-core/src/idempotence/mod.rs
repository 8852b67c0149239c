//! The producer's identity: who it is to the brokers, and when it may become somebody else.
//!
//! 1. (producer id, epoch, partition, sequence) names one sequence of bytes for good; the parts of
//!    a batch that a broker found too large are the one exception, and they follow a refusal.
//! 2. So a sequence that was given and then failed is a gap that only a new epoch mends, and the
//!    epoch changes only when nothing is unresolved anywhere: [`Identity::Draining`] is the wait
//!    for that (KIP-360, without its rewriting of sequences in flight).
//! 3. After epoch 32,767 comes a new producer id, over the same barrier.

use std::time::Instant;

use streamledger_protocol::{ErrorCode, ProducerEpoch, ProducerIdentity};

use crate::failure::FatalError;

/// Where the producer stands with its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Idempotence is off: batches carry no sequence.
    Off,
    /// A producer id is to be asked for, not before this moment if there is one.
    Wanted {
        /// When the last refusal's backoff is over.
        not_before: Option<Instant>,
    },
    /// A producer id was asked for.
    Asked,
    /// Batches get sequences under this identity.
    Ready(ProducerIdentity),
    /// No batch gets a new sequence until nothing is unresolved; then the identity changes.
    Draining {
        /// Under whom the unresolved batches go on.
        current: ProducerIdentity,
        /// What comes after.
        to: ResetTo,
    },
    /// There is no way on for this producer.
    Failed(FatalError),
}

/// What the identity changes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResetTo {
    /// The next epoch of the same producer id.
    NextEpoch,
    /// A new producer id.
    NewProducerId,
}

/// What happens to an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityEvent {
    /// The request for a producer id goes out.
    Ask,
    /// A broker gave one.
    Given(ProducerIdentity),
    /// None came; ask again after the moment.
    NotGiven {
        /// When the backoff is over.
        not_before: Instant,
    },
    /// A broker refused for good, or fenced the producer.
    Refused(ErrorCode),
    /// A sequence is lost, or the topic it belonged to.
    Lost(ResetTo),
    /// Nothing is unresolved any more.
    Drained,
    /// A coordinator gave a transactional producer its identity, when nothing was unresolved.
    Renewed(ProducerIdentity),
    /// The producer can't go on.
    Failed(FatalError),
}

impl Identity {
    /// The transition table.
    #[must_use]
    pub fn next(self, event: IdentityEvent) -> Self {
        use IdentityEvent::{Ask, Drained, Failed, Given, Lost, NotGiven, Refused, Renewed};
        match (self, event) {
            // Nothing was asked for, or nobody waits for it any more.
            (
                Self::Off,
                Ask | Given(_) | NotGiven { .. } | Refused(_) | Lost(_) | Drained | Renewed(_),
            )
            | (
                Self::Failed(_),
                Ask
                | Given(_)
                | NotGiven { .. }
                | Refused(_)
                | Lost(_)
                | Drained
                | Renewed(_)
                | Failed(_),
            )
            | (Self::Wanted { .. }, Given(_) | NotGiven { .. } | Lost(_) | Drained)
            | (Self::Asked, Ask | Lost(_) | Drained)
            | (Self::Ready(_), Ask | Given(_) | NotGiven { .. } | Drained)
            | (Self::Draining { .. }, Ask | Given(_) | NotGiven { .. }) => self,

            (Self::Wanted { .. }, Ask) => Self::Asked,
            (Self::Asked, Given(identity)) => Self::Ready(identity),
            (Self::Asked, NotGiven { not_before }) => Self::Wanted { not_before: Some(not_before) },
            (Self::Ready(current), Lost(to)) => Self::Draining { current, to },
            (Self::Draining { current, to }, Lost(more)) => {
                Self::Draining { current, to: to.max(more) }
            }
            (Self::Draining { current, to }, Drained) => match (to, next_epoch(current)) {
                (ResetTo::NextEpoch, Some(next)) => Self::Ready(next),
                (ResetTo::NextEpoch, None) | (ResetTo::NewProducerId, _) => {
                    Self::Wanted { not_before: None }
                }
            },
            (
                Self::Wanted { .. } | Self::Asked | Self::Ready(_) | Self::Draining { .. },
                Refused(error),
            ) => Self::Failed(FatalError::Broker(error)),
            (
                Self::Wanted { .. } | Self::Asked | Self::Ready(_) | Self::Draining { .. },
                Renewed(identity),
            ) => Self::Ready(identity),
            (
                Self::Off
                | Self::Wanted { .. }
                | Self::Asked
                | Self::Ready(_)
                | Self::Draining { .. },
                Failed(error),
            ) => Self::Failed(error),
        }
    }

    /// Under whom batches that have a sequence are sent, if anybody.
    #[must_use]
    pub fn current(self) -> Option<ProducerIdentity> {
        match self {
            Self::Ready(current) | Self::Draining { current, .. } => Some(current),
            Self::Off | Self::Wanted { .. } | Self::Asked | Self::Failed(_) => None,
        }
    }
}

/// The same producer one epoch later; none after the last.
fn next_epoch(identity: ProducerIdentity) -> Option<ProducerIdentity> {
    let epoch = ProducerEpoch(identity.epoch.0.checked_add(1)?);
    Some(ProducerIdentity { id: identity.id, epoch })
}

#[cfg(test)]
mod tests {
    use streamledger_protocol::ProducerId;

    use super::*;

    fn identity(epoch: i16) -> ProducerIdentity {
        ProducerIdentity { id: ProducerId(7), epoch: ProducerEpoch(epoch) }
    }

    fn draining(epoch: i16, to: ResetTo) -> Identity {
        Identity::Draining { current: identity(epoch), to }
    }

    #[test]
    fn an_id_is_asked_for_given_and_asked_for_again_after_a_backoff() {
        let now = crate::test_clock::some_moment();
        let asked = Identity::Wanted { not_before: None }.next(IdentityEvent::Ask);
        assert_eq!(asked, Identity::Asked);
        assert_eq!(asked.next(IdentityEvent::Given(identity(0))), Identity::Ready(identity(0)));
        let again = asked.next(IdentityEvent::NotGiven { not_before: now });
        assert_eq!(again, Identity::Wanted { not_before: Some(now) });
    }

    #[test]
    fn the_epoch_rises_only_after_the_drain() {
        let lost = Identity::Ready(identity(3)).next(IdentityEvent::Lost(ResetTo::NextEpoch));
        assert_eq!(lost, draining(3, ResetTo::NextEpoch));
        assert_eq!(lost.current(), Some(identity(3)), "retries go on under the old one");
        assert_eq!(lost.next(IdentityEvent::Drained), Identity::Ready(identity(4)));
    }

    #[test]
    fn failures_10_after_the_last_epoch_comes_a_new_producer_id() {
        let last = draining(i16::MAX, ResetTo::NextEpoch).next(IdentityEvent::Drained);
        assert_eq!(last, Identity::Wanted { not_before: None });
    }

    #[test]
    fn the_stronger_of_two_resets_counts() {
        let weak = draining(3, ResetTo::NextEpoch);
        let both = weak.next(IdentityEvent::Lost(ResetTo::NewProducerId));
        assert_eq!(both, draining(3, ResetTo::NewProducerId));
        assert_eq!(both.next(IdentityEvent::Lost(ResetTo::NextEpoch)), both);
        assert_eq!(both.next(IdentityEvent::Drained), Identity::Wanted { not_before: None });
    }

    #[test]
    fn a_failed_identity_stays_failed_and_off_stays_off() {
        let error = ErrorCode::ClusterAuthorizationFailed;
        let failed = Identity::Asked.next(IdentityEvent::Refused(error));
        assert_eq!(failed, Identity::Failed(FatalError::Broker(error)));
        assert_eq!(failed.next(IdentityEvent::Given(identity(0))), failed);
        assert_eq!(Identity::Off.next(IdentityEvent::Lost(ResetTo::NextEpoch)), Identity::Off);
    }
}
