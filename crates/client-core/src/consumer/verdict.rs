//! What a broker's answer for one partition means: one pure function, one test a row.

use streamledger_protocol::ErrorCode;

/// What to do about a partition's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchVerdict {
    /// Take what came.
    Take,
    /// The position is outside the log: reset it.
    Reset,
    /// Ask again after asking for metadata.
    Refresh,
    /// Ask again a little later.
    Wait,
    /// Stop, and tell the reader.
    Stop,
}

/// The verdict on an answer to Fetch or ListOffsets (Kafka's
/// `FetchCollector.handleInitializeErrors` and `OffsetFetcherUtils.handleListOffsetResponse`).
#[must_use]
pub fn judge(error: ErrorCode) -> FetchVerdict {
    match error {
        ErrorCode::None => FetchVerdict::Take,
        ErrorCode::OffsetOutOfRange => FetchVerdict::Reset,
        ErrorCode::NotLeaderOrFollower
        | ErrorCode::LeaderNotAvailable
        | ErrorCode::ReplicaNotAvailable
        | ErrorCode::KafkaStorageError
        | ErrorCode::FencedLeaderEpoch
        | ErrorCode::UnknownTopicOrPartition
        | ErrorCode::UnknownTopicId
        | ErrorCode::InconsistentTopicId
        | ErrorCode::NetworkException => FetchVerdict::Refresh,
        ErrorCode::UnknownLeaderEpoch
        | ErrorCode::OffsetNotAvailable
        | ErrorCode::UnknownServerError
        | ErrorCode::RequestTimedOut
        | ErrorCode::FetchSessionIdNotFound
        | ErrorCode::InvalidFetchSessionEpoch
        | ErrorCode::FetchSessionTopicIdError
        | ErrorCode::ThrottlingQuotaExceeded => FetchVerdict::Wait,
        _ => FetchVerdict::Stop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::data(ErrorCode::None, FetchVerdict::Take)]
    #[case::outside_the_log(ErrorCode::OffsetOutOfRange, FetchVerdict::Reset)]
    #[case::the_leader_moved(ErrorCode::NotLeaderOrFollower, FetchVerdict::Refresh)]
    #[case::we_are_behind(ErrorCode::FencedLeaderEpoch, FetchVerdict::Refresh)]
    #[case::the_broker_is_behind(ErrorCode::UnknownLeaderEpoch, FetchVerdict::Wait)]
    #[case::recreated(ErrorCode::UnknownTopicId, FetchVerdict::Refresh)]
    #[case::unknown_for_the_moment(ErrorCode::UnknownTopicOrPartition, FetchVerdict::Refresh)]
    #[case::its_disk_failed(ErrorCode::KafkaStorageError, FetchVerdict::Refresh)]
    #[case::not_yet_known_to_be_safe(ErrorCode::OffsetNotAvailable, FetchVerdict::Wait)]
    #[case::broker_stumbled(ErrorCode::UnknownServerError, FetchVerdict::Wait)]
    #[case::forbidden(ErrorCode::TopicAuthorizationFailed, FetchVerdict::Stop)]
    #[case::corrupt_at_the_broker(ErrorCode::CorruptMessage, FetchVerdict::Stop)]
    #[case::never_heard_of(ErrorCode::Unknown(999), FetchVerdict::Stop)]
    fn a_row(#[case] error: ErrorCode, #[case] verdict: FetchVerdict) {
        assert_eq!(judge(error), verdict);
    }
}
