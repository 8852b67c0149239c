//! CreatePartitions (37): more partitions for topics; or only a check whether that would go.

use std::ops::RangeInclusive;
use std::sync::Arc;

use streamledger_broker_core::authorizer::{Operation, ResourceType};
use streamledger_broker_core::controller::{NewPartitions, Refusal};
use streamledger_protocol::messages::create_partitions::{
    CreatePartitionsTopic, CreatePartitionsTopicResult,
};
use streamledger_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use streamledger_protocol::{ErrorCode, TopicName};

use super::access::Access;
use super::{Answer, Api, Call};

/// From this version on clients know THROTTLING_QUOTA_EXCEEDED (KIP-599).
const QUOTA_ERROR_FROM: i16 = 3;

impl Api for CreatePartitionsRequest {
    const SERVED_VERSIONS: RangeInclusive<i16> = 0..=3;
    const ACCESS: Access = Access::Each(&[(Operation::Alter, ResourceType::Topic)]);

    fn refused(&self, error: ErrorCode) -> CreatePartitionsResponse {
        let refuse = |topic: &CreatePartitionsTopic| {
            answer(topic.name.clone(), Err(Refusal::new(error, "")))
        };
        let results = self.topics.iter().map(refuse).collect();
        CreatePartitionsResponse { results, ..Default::default() }
    }

    async fn handle(self, call: &Arc<Call>) -> Answer<CreatePartitionsResponse> {
        let failed = self.refused(ErrorCode::UnknownServerError);
        let asking = Arc::clone(call);
        let mut quota = call.mutations(call.version.0 >= QUOTA_ERROR_FROM);
        let added = call.blocking(move |node| {
            let results = self.topics.into_iter().map(|topic| {
                let name = topic.name.clone();
                if !asking.allows_topic(Operation::Alter, &name) {
                    let error = ErrorCode::TopicAuthorizationFailed;
                    return answer(name, Err(Refusal::new(error, "")));
                }
                let wanted = new_partitions(topic);
                answer(name, node.add_partitions(&wanted, self.validate_only, &mut quota))
            });
            let results = results.collect();
            asking.throttle(quota.wait());
            CreatePartitionsResponse { results, ..Default::default() }
        });
        added.await.unwrap_or(failed).into()
    }
}

fn new_partitions(topic: CreatePartitionsTopic) -> NewPartitions {
    let by_hand = topic.assignments;
    NewPartitions {
        topic: topic.name,
        partition_count: topic.count,
        assignments: by_hand.map(|all| all.into_iter().map(|own| own.broker_ids).collect()),
    }
}

fn answer(name: TopicName, added: Result<(), Refusal>) -> CreatePartitionsTopicResult {
    let (error_code, error_message) = match added {
        Ok(()) => (ErrorCode::None, None),
        Err(refusal) => (refusal.error, Some(refusal.message).filter(|text| !text.is_empty())),
    };
    CreatePartitionsTopicResult { name, error_code, error_message }
}
