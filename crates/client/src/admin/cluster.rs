//! Lists and describes: what any broker knows.

use streamledger_client_core::cluster::{Asked, Cluster, ClusterSnapshot, Topic};
use streamledger_protocol::messages::metadata::MetadataRequestTopic;
use streamledger_protocol::messages::{DescribeClusterRequest, MetadataRequest};
use streamledger_protocol::{ApiKey, ErrorCode, TopicName};

use super::retry::Learnt;
use super::{AdminError, ClusterDescription, Results, Shell, TopicListing};
use crate::network::{NetworkError, NetworkErrorKind};

impl Shell {
    pub(super) async fn list_topics(&self) -> Result<Vec<TopicListing>, AdminError> {
        let snapshot = self.retry(|| self.metadata_of(None)).await?;
        let topics = snapshot.topics().map(|topic| TopicListing {
            name: topic.name.clone(),
            id: topic.id,
            is_internal: topic.is_internal,
            partition_count: topic.partitions.len(),
        });
        Ok(topics.collect())
    }

    pub(super) async fn describe_topics(
        &self,
        topics: &[TopicName],
    ) -> Result<Results<Topic>, AdminError> {
        self.retry_each(topics, |open| self.try_describe_topics(open)).await
    }

    async fn try_describe_topics(
        &self,
        open: Vec<TopicName>,
    ) -> Result<Learnt<TopicName, Topic>, AdminError> {
        let snapshot = self.metadata_of(Some(open)).await?;
        let learnt = snapshot.topics().map(|topic| {
            let code = topic.error.unwrap_or(ErrorCode::None);
            let described = AdminError::check(code, None).map(|()| Topic::clone(topic));
            (topic.name.clone(), described)
        });
        Ok(learnt.collect())
    }

    pub(super) async fn describe_cluster(&self) -> Result<ClusterDescription, AdminError> {
        self.retry(|| self.try_describe_cluster()).await
    }

    async fn try_describe_cluster(&self) -> Result<ClusterDescription, AdminError> {
        let snapshot = self.metadata_of(Some(Vec::new())).await?;
        let connection = self.any_broker().await?;
        let has = |api: ApiKey| connection.version_for(api).is_some();
        let gives_producer_ids = has(ApiKey::InitProducerId);
        let mut description = ClusterDescription {
            cluster_id: snapshot.cluster_id().map(str::to_owned),
            controller: snapshot.controller(),
            brokers: snapshot.brokers().cloned().collect(),
            gives_producer_ids,
            has_transactions: gives_producer_ids && has(ApiKey::EndTxn),
        };
        // Metadata of a KRaft broker names any broker; this API names where requests should go.
        if connection.version_for(ApiKey::DescribeCluster).is_some() {
            let request = DescribeClusterRequest { endpoint_type: 1, ..Default::default() };
            let response = connection.call(&request, self.request_timeout()).await?;
            AdminError::check(response.error_code, response.error_message)?;
            description.cluster_id = Some(response.cluster_id);
            description.controller = Some(response.controller_id).filter(|id| id.0 >= 0);
        }
        Ok(description)
    }

    /// A view of its own, of these topics or of all, made by any broker and kept by nobody.
    pub(super) async fn metadata_of(
        &self,
        topics: Option<Vec<TopicName>>,
    ) -> Result<ClusterSnapshot, AdminError> {
        let asked = if topics.is_some() { Asked::ForTopics } else { Asked::ForAll };
        let named =
            |name: TopicName| MetadataRequestTopic { name: Some(name), ..Default::default() };
        let request = MetadataRequest {
            topics: topics.map(|topics| topics.into_iter().map(named).collect()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let request = &request;
        let ask = |connection: crate::network::BrokerConnection| async move {
            let response = connection.call(request, self.request_timeout()).await?;
            let mut cluster = Cluster::default();
            cluster.apply(response, asked).map_err(|fault| {
                let kind = NetworkErrorKind::NotReady(fault.to_string());
                NetworkError::possibly_sent(connection.address(), kind)
            })?;
            Ok(ClusterSnapshot::clone(&cluster.snapshot()))
        };
        Ok(self.refresher.ask_any(ask).await?)
    }
}
