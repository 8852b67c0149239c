//! What settings can belong to (Kafka's `ConfigResource.Type`): here topics, groups and the broker.

use streamledger_broker_core::authorizer::Operation;
use streamledger_broker_core::config::BrokerScope;
use streamledger_broker_core::controller::Refusal;
use streamledger_protocol::{ErrorCode, GroupId, TopicName};

use super::Call;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

/// The code of topics in requests and answers.
pub(super) const TOPIC_TYPE: i8 = TOPIC;
/// The code of brokers in requests and answers.
pub(super) const BROKER_TYPE: i8 = BROKER;

/// The code of groups in requests and answers.
pub(super) const GROUP_TYPE: i8 = GROUP;

/// What settings are asked of.
pub(super) enum Resource {
    /// A topic.
    Topic(TopicName),
    /// A group, which needn't be there.
    Group(GroupId),
    /// This broker, or (with an empty name) all brokers of the cluster.
    Broker(BrokerScope),
}

impl Resource {
    /// Reads a resource, for who may do that with it; one that cannot be here is refused with a
    /// sentence.
    pub(super) fn parse(
        kind: i8,
        name: &str,
        call: &Call,
        operation: Operation,
    ) -> Result<Self, Refusal> {
        let own = call.node.id();
        let denied = |error| Err(Refusal::new(error, "Authorization failed."));
        match kind {
            TOPIC => {
                let topic = TopicName::new(name);
                if !call.allows_topic(operation, &topic) {
                    return denied(ErrorCode::TopicAuthorizationFailed);
                }
                match topic.validate() {
                    Ok(()) => Ok(Self::Topic(topic)),
                    Err(invalid) => {
                        let error = ErrorCode::InvalidTopicException;
                        Err(Refusal::new(error, invalid.to_string()))
                    }
                }
            }
            GROUP => {
                let group = GroupId::from(name);
                match call.check_group(operation, &group) {
                    Ok(()) => Ok(Self::Group(group)),
                    Err(error) => denied(error),
                }
            }
            // All other settings are the cluster's.
            _ if !call.allows_cluster(operation) => denied(ErrorCode::ClusterAuthorizationFailed),
            BROKER if name.is_empty() => Ok(Self::Broker(BrokerScope::All)),
            BROKER if name.parse() == Ok(own.0) => Ok(Self::Broker(BrokerScope::One)),
            BROKER => {
                let message = format!("There is no broker {name:.20}; this is broker {own}.");
                Err(Refusal::new(ErrorCode::InvalidRequest, message))
            }
            _ => {
                let message = format!("Settings of resources of type {kind} are not kept here.");
                Err(Refusal::new(ErrorCode::InvalidRequest, message))
            }
        }
    }
}
