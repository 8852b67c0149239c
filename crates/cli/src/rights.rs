//! Rights that a broker with ACLs denies: which one is missing, and the command that grants it.

use std::fmt;

use streamledger::{ErrorCode, FatalError, ProduceError, TransactionError};

use crate::failure::Failure;

/// What a right is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The id that a job's runs find each other by.
    TransactionalId(&'a str),
    /// A topic.
    Topic(&'a str),
    /// The cluster as a whole.
    Cluster,
}

/// A right that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingRight<'a> {
    /// What was to be done, as Kafka calls it.
    pub operation: &'static str,
    /// To what.
    pub on: Resource<'a>,
}

impl<'a> MissingRight<'a> {
    /// The one for which a broker refused something of a job's transactions, if it did for that
    /// (Kafka's `KafkaApis` asks for Write on the transactional id in each of them, and for Write
    /// on each topic).
    pub fn of_transaction(id: &'a str, error: &'a TransactionError) -> Option<MissingRight<'a>> {
        let on = match error.last_broker_error()? {
            ErrorCode::TransactionalIdAuthorizationFailed => Resource::TransactionalId(id),
            ErrorCode::TopicAuthorizationFailed => {
                Resource::Topic(error.topic_partition().map_or("TOPIC", |of| of.topic.as_str()))
            }
            ErrorCode::ClusterAuthorizationFailed => return Some(MissingRight::IDEMPOTENT_WRITE),
            _ => return None,
        };
        Some(MissingRight { operation: "Write", on })
    }

    /// The one for which a broker refused to take records, if it did for that.
    pub fn of_record(error: &'a ProduceError) -> Option<MissingRight<'a>> {
        match error {
            ProduceError::TopicRefused { topic, error: ErrorCode::TopicAuthorizationFailed } => {
                Some(MissingRight { operation: "Write", on: Resource::Topic(topic.as_str()) })
            }
            ProduceError::Fatal(FatalError::Broker(ErrorCode::ClusterAuthorizationFailed)) => {
                Some(MissingRight::IDEMPOTENT_WRITE)
            }
            _ => None,
        }
    }

    /// An idempotent producer without transactions may do with Write on any topic, from Kafka 3.0
    /// on (KIP-679); before, it has to have this.
    const IDEMPOTENT_WRITE: MissingRight<'static> =
        MissingRight { operation: "IdempotentWrite", on: Resource::Cluster };

    /// The command by which who may grant rights grants it.
    pub fn grant(&self) -> String {
        let resource = match self.on {
            Resource::TransactionalId(id) => format!("--transactional-id '{id}'"),
            Resource::Topic(topic) => format!("--topic '{topic}'"),
            Resource::Cluster => "--cluster".to_owned(),
        };
        format!(
            "kafka-acls.sh --bootstrap-server HOST:PORT --add --allow-principal User:NAME \\\n  \
             --operation {} {resource}",
            self.operation
        )
    }

    /// Adds it to a failure, with what to do; `otherwise` is what may be done without it.
    pub fn explain(&self, failure: Failure, otherwise: &str) -> Failure {
        let cause = failure.cause.clone().unwrap_or_default();
        failure.cause(format!("{cause}\nthe right is missing: {self}")).remedy(format!(
            "have it granted by who may:\n{}\nthen run the same command again{otherwise}",
            self.grant()
        ))
    }
}

impl fmt::Display for MissingRight<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on the ", self.operation)?;
        match self.on {
            Resource::TransactionalId(id) => write!(f, "transactional id {id:?}"),
            Resource::Topic(topic) => write!(f, "topic {topic:?}"),
            Resource::Cluster => f.write_str("cluster"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use streamledger::{TransactionErrorKind, TransactionOperation, TransactionStage};

    use super::*;

    fn refused(code: ErrorCode) -> TransactionError {
        TransactionError {
            operation: TransactionOperation::Init,
            kind: TransactionErrorKind::Fatal(FatalError::Broker(code)),
            stage: TransactionStage::Requested,
            attempts: 1,
            last_error: None,
            waited: Duration::ZERO,
        }
    }

    #[test]
    fn a_refusal_says_which_right_is_missing_and_who_can_grant_it_how() {
        for (code, said, command) in [
            (
                ErrorCode::TransactionalIdAuthorizationFailed,
                "Write on the transactional id \"streamledger-ingest-t\"",
                "--operation Write --transactional-id 'streamledger-ingest-t'",
            ),
            (
                ErrorCode::ClusterAuthorizationFailed,
                "IdempotentWrite on the cluster",
                "--operation IdempotentWrite --cluster",
            ),
        ] {
            let error = refused(code);
            let right = MissingRight::of_transaction("streamledger-ingest-t", &error).unwrap();
            assert_eq!(right.to_string(), said);
            assert!(right.grant().ends_with(command), "{}", right.grant());
        }
        for other in [ErrorCode::ProducerFenced, ErrorCode::CoordinatorNotAvailable] {
            assert_eq!(MissingRight::of_transaction("t", &refused(other)), None);
        }
        let error = ErrorCode::TopicAuthorizationFailed;
        let error = ProduceError::TopicRefused { topic: "orders".into(), error };
        let right = MissingRight::of_record(&error).unwrap();
        assert_eq!(right.to_string(), "Write on the topic \"orders\"");
        assert!(right.grant().ends_with("--operation Write --topic 'orders'"));
        assert_eq!(MissingRight::of_record(&ProduceError::Closed), None);
    }
}
