//! Why a call of the admin client came to nothing, for one topic or altogether.

use std::time::Duration;

use streamledger_protocol::{ErrorCode, InvalidTopicName};

use crate::io_thread::IoThreadEnded;
use crate::metadata::Unreachable;
use crate::network::{NetworkError, NetworkErrorKind};

/// Why a call of the admin client came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The broker refused, and says why.
    #[error("{}", refusal(*code, message.as_deref(), *may_be_ours))]
    Refused {
        /// Its error code.
        code: ErrorCode,
        /// What it says about it, if anything.
        message: Option<String>,
        /// Whether an earlier attempt of the same call got no answer, and may be what the broker
        /// now objects to: the topic may exist, or be gone, by this very call.
        may_be_ours: bool,
    },
    /// No broker answered.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The request failed on its way.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// `default.api.timeout.ms` is over.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The broker's answer leaves out what was asked.
    #[error("the broker's answer leaves it out")]
    LeftOut,
    /// The topic's name is not one that any broker takes.
    #[error(transparent)]
    InvalidTopicName(#[from] InvalidTopicName),
    /// The client could not be started.
    #[error("the admin client can't be started: {0}")]
    NotStarted(String),
    /// The client's I/O thread has ended.
    #[error("the admin client's thread has ended")]
    Ended,
}

fn refusal(code: ErrorCode, message: Option<&str>, may_be_ours: bool) -> String {
    let mut text = match message {
        Some(message) => format!("{}: {}", code.name(), message.trim_end_matches('.')),
        None => code.to_string(),
    };
    if may_be_ours {
        text.push_str(" (perhaps by an earlier attempt of this call, whose answer was lost)");
    }
    text
}

impl From<IoThreadEnded> for AdminError {
    fn from(_: IoThreadEnded) -> Self {
        Self::Ended
    }
}

impl AdminError {
    /// The broker's error, if it is one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether no connection to any broker could be made.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable(unreachable) => {
                unreachable.failures().iter().all(NetworkError::is_unreachable)
            }
            Self::Network(error) => error.is_unreachable(),
            _ => false,
        }
    }

    /// The outcome that a broker's error code stands for.
    pub(super) fn check(code: ErrorCode, message: Option<String>) -> Result<(), Self> {
        match code {
            ErrorCode::None => Ok(()),
            code => Err(Self::Refused { code, message, may_be_ours: false }),
        }
    }

    /// Whether the same request may succeed a little later. What a broker says of a topic is final:
    /// one that isn't there isn't waited for.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Refused { code, .. } => matches!(
                code,
                ErrorCode::NotController
                    | ErrorCode::RequestTimedOut
                    | ErrorCode::ThrottlingQuotaExceeded
                    | ErrorCode::LeaderNotAvailable
                    | ErrorCode::NetworkException
                    | ErrorCode::CoordinatorLoadInProgress
                    | ErrorCode::CoordinatorNotAvailable
                    | ErrorCode::NotCoordinator
            ),
            Self::Network(error) => {
                error.is_retriable() && error.kind != NetworkErrorKind::UnknownBroker
            }
            Self::Unreachable(unreachable) => {
                unreachable.failures().iter().any(NetworkError::is_retriable)
            }
            _ => false,
        }
    }

    /// Whether the request may have taken effect all the same.
    pub(super) fn is_unknown_outcome(&self) -> bool {
        match self {
            Self::Network(error) => error.possibly_sent,
            Self::Refused { code, .. } => *code == ErrorCode::RequestTimedOut,
            _ => false,
        }
    }

    /// The same error, after an attempt whose outcome nobody knows.
    pub(super) fn after_unknown_outcome(self) -> Self {
        match self {
            Self::Refused { code, message, .. }
                if matches!(
                    code,
                    ErrorCode::TopicAlreadyExists
                        | ErrorCode::UnknownTopicOrPartition
                        | ErrorCode::InvalidPartitions
                        | ErrorCode::GroupIdNotFound
                ) =>
            {
                Self::Refused { code, message, may_be_ours: true }
            }
            other => other,
        }
    }
}
