//! DeleteTopics (20): by name, or from version 6 on by id as well.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::controller::Refusal;
use streamledger_protocol::messages::delete_topics::{DeletableTopicResult, DeleteTopicState};
use streamledger_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use streamledger_protocol::{ErrorCode, TopicId, TopicName};

use super::access::Access;
use super::{Answer, Api, Call};
use crate::quotas::MutationQuota;

/// From this version on clients know THROTTLING_QUOTA_EXCEEDED (KIP-599).
const QUOTA_ERROR_FROM: i16 = 5;

impl Api for DeleteTopicsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 1..=6;
    const ACCESS: Access = Access::Each(&[
        // One of these two.
        (Operation::Delete, ResourceType::Cluster),
        (Operation::Delete, ResourceType::Topic),
        // Else not even the name is told of one that is deleted by its id.
        (Operation::Describe, ResourceType::Topic),
    ]);

    fn refused(&self, error: ErrorCode) -> DeleteTopicsResponse {
        let refuse = |wanted: DeleteTopicState| refused(wanted, Refusal::new(error, ""));
        let responses = self.wanted().into_iter().map(refuse).collect();
        DeleteTopicsResponse { responses, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<DeleteTopicsResponse> {
        let failed = self.refused(ErrorCode::UnknownServerError);
        let asking = Arc::clone(call);
        let mut quota = call.mutations(call.version.0 >= QUOTA_ERROR_FROM);
        let deleted = call.blocking(move |_| {
            let deletes_all = asking.allows_cluster(Operation::Delete);
            let delete = |wanted| delete(&asking, wanted, deletes_all, &mut quota);
            let responses = self.wanted().into_iter().map(delete).collect();
            asking.throttle(quota.wait());
            DeleteTopicsResponse { responses, ..Default::default() }
        });
        deleted.await.unwrap_or(failed).into()
    }
}

trait Wanted {
    fn wanted(&self) -> Vec<DeleteTopicState>;
}

impl Wanted for DeleteTopicsRequest {
    /// What is to be deleted, in either form of the request.
    fn wanted(&self) -> Vec<DeleteTopicState> {
        let by_name = self
            .topic_names
            .iter()
            .map(|name| DeleteTopicState { name: Some(name.clone()), topic_id: TopicId::ZERO });
        self.topics.iter().cloned().chain(by_name).collect()
    }
}

fn delete(
    call: &Call,
    mut wanted: DeleteTopicState,
    deletes_all: bool,
    quota: &mut MutationQuota,
) -> DeletableTopicResult {
    // Either a name or an id, not both and not neither.
    if wanted.name.is_some() != wanted.topic_id.is_zero() {
        let message = "A topic is deleted by its name or by its id, not by both.";
        return refused(wanted, Refusal::new(ErrorCode::InvalidRequest, message));
    }
    let name = wanted.name.clone().unwrap_or_else(|| TopicName::new(""));
    if !deletes_all
        && let Err(error) = call.topic_for(Operation::Delete, &name, wanted.topic_id)
        && error == ErrorCode::TopicAuthorizationFailed
    {
        // Who may see it is told its name, and that it isn't there (Kafka's `ControllerApis`).
        let error = match call.topic_for(Operation::Describe, &name, wanted.topic_id) {
            Ok(seen) => {
                wanted.name = Some(seen.name.clone());
                error
            }
            Err(ErrorCode::UnknownTopicOrPartition) => ErrorCode::UnknownTopicOrPartition,
            Err(_) => error,
        };
        return refused(wanted, Refusal::new(error, ""));
    }
    match call.node.delete_topic(&name, wanted.topic_id, quota) {
        Ok(topic) => DeletableTopicResult {
            name: Some(topic.name.clone()),
            topic_id: topic.id,
            error_code: ErrorCode::None,
            error_message: None,
        },
        Err(refusal) => refused(wanted, refusal),
    }
}

fn refused(wanted: DeleteTopicState, refusal: Refusal) -> DeletableTopicResult {
    DeletableTopicResult {
        name: wanted.name,
        topic_id: wanted.topic_id,
        error_code: refusal.error,
        error_message: Some(refusal.message).filter(|message| !message.is_empty()),
    }
}
