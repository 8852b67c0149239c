//! What a broker's answer means for telemetry: one pure function.

use streamledger_protocol::{Disposition, ErrorCode};

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TelemetryQuestion {
    /// GetTelemetrySubscriptions.
    Subscription,
    /// PushTelemetry.
    Push,
}

/// What the answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TelemetryVerdict {
    /// It worked.
    Accepted,
    /// What is wanted has changed: ask for it at once.
    AskNow,
    /// Ask what is wanted after one interval.
    AskLater,
    /// Ask what is wanted after a while that grows with each failure in a row.
    AskAfterPause,
    /// Push again when the next push is due.
    PushLater,
    /// Push again when the next push is due, and less.
    PushLess,
    /// No answer will ever be better.
    GiveUp,
}

/// Judges an answer; none if nothing came.
///
/// As Kafka's `ClientTelemetryUtils.maybeFetchErrorIntervalMs`, with three differences. A push that
/// was too large or too early is pushed again at its time, under the same subscription, as KIP-714
/// has it, where Java asks for the subscription first. An error that neither names is judged by its
/// disposition, where Java gives up. And an answer about a subscription never makes a client ask at
/// once.
#[must_use]
pub fn judge_telemetry(question: TelemetryQuestion, answer: Option<ErrorCode>) -> TelemetryVerdict {
    use TelemetryQuestion::{Push, Subscription};
    let Some(error) = answer else { return TelemetryVerdict::AskAfterPause };
    match (question, error) {
        (_, ErrorCode::None) => TelemetryVerdict::Accepted,
        (
            _,
            ErrorCode::InvalidRequest | ErrorCode::InvalidRecord | ErrorCode::UnsupportedVersion,
        ) => TelemetryVerdict::GiveUp,
        (Push, ErrorCode::UnknownSubscriptionId | ErrorCode::UnsupportedCompressionType) => {
            TelemetryVerdict::AskNow
        }
        (Push, ErrorCode::TelemetryTooLarge) => TelemetryVerdict::PushLess,
        (Push, ErrorCode::ThrottlingQuotaExceeded) => TelemetryVerdict::PushLater,
        (
            Subscription,
            ErrorCode::UnknownSubscriptionId
            | ErrorCode::UnsupportedCompressionType
            | ErrorCode::TelemetryTooLarge
            | ErrorCode::ThrottlingQuotaExceeded,
        ) => TelemetryVerdict::AskLater,
        (Subscription | Push, other) => match other.disposition() {
            Disposition::Fatal => TelemetryVerdict::GiveUp,
            Disposition::Success | Disposition::Retriable | Disposition::RefreshMetadata => {
                TelemetryVerdict::AskLater
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::TelemetryQuestion::{Push, Subscription};
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::subscribed(Subscription, ErrorCode::None, TelemetryVerdict::Accepted)]
    #[case::pushed(Push, ErrorCode::None, TelemetryVerdict::Accepted)]
    #[case::another_subscription(Push, ErrorCode::UnknownSubscriptionId, TelemetryVerdict::AskNow)]
    #[case::another_codec(Push, ErrorCode::UnsupportedCompressionType, TelemetryVerdict::AskNow)]
    #[case::too_large(Push, ErrorCode::TelemetryTooLarge, TelemetryVerdict::PushLess)]
    #[case::too_early(Push, ErrorCode::ThrottlingQuotaExceeded, TelemetryVerdict::PushLater)]
    #[case::not_understood(Push, ErrorCode::InvalidRecord, TelemetryVerdict::GiveUp)]
    #[case::not_allowed(Push, ErrorCode::InvalidRequest, TelemetryVerdict::GiveUp)]
    #[case::asked_wrongly(Subscription, ErrorCode::InvalidRequest, TelemetryVerdict::GiveUp)]
    #[case::asked_too_early(
        Subscription,
        ErrorCode::ThrottlingQuotaExceeded,
        TelemetryVerdict::AskLater
    )]
    #[case::never_at_once_after_asking(
        Subscription,
        ErrorCode::UnknownSubscriptionId,
        TelemetryVerdict::AskLater
    )]
    #[case::not_served(Subscription, ErrorCode::UnsupportedVersion, TelemetryVerdict::GiveUp)]
    #[case::forbidden(Push, ErrorCode::ClusterAuthorizationFailed, TelemetryVerdict::GiveUp)]
    #[case::passing(Push, ErrorCode::RequestTimedOut, TelemetryVerdict::AskLater)]
    fn an_answer_means(
        #[case] question: TelemetryQuestion,
        #[case] error: ErrorCode,
        #[case] expected: TelemetryVerdict,
    ) {
        assert_eq!(judge_telemetry(question, Some(error)), expected);
    }

    #[test]
    fn without_an_answer_it_is_asked_again_after_a_pause() {
        assert_eq!(judge_telemetry(Push, None), TelemetryVerdict::AskAfterPause);
        assert_eq!(judge_telemetry(Subscription, None), TelemetryVerdict::AskAfterPause);
    }
}
