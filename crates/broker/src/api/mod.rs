//! What the broker answers: one file per API, each declaring the versions it serves.
//!
//! 1. [`SERVED`] is the whole list; `ApiVersions` advertises exactly it.
//! 2. A handler's future is awaited before the next request of its connection is looked at, so
//!    requests take effect in the order they came. What must be waited for after that (a flush,
//!    a long poll) is [`Answer::Later`]; answers still leave in order.
//! 3. A handler never fails: what is wrong goes into its answer, per topic and partition.
//! 4. Each API names what it asks of who calls it: [`Api::ACCESS`].

mod access;
mod acl;
mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_client_quotas;
mod alter_configs;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod alter_user_scram_credentials;
mod api_versions;
mod authorized;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_acls;
mod create_partitions;
mod create_topics;
mod delete_acls;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod describe_transactions;
mod describe_user_scram_credentials;
mod elect_leaders;
mod end_txn;
mod fetch;
mod find_coordinator;
mod group_member;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leadership;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod resource;
mod sasl_authenticate;
mod sasl_handshake;
mod stored_offsets;
mod sync_group;
mod throttled;
mod transactional;
mod txn_offset_commit;
mod unregister_broker;
mod update_features;
mod write_txn_markers;

pub(crate) use describe_log_dirs::disk_bytes;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use streamledger_broker_core::authorizer::Principal;
use streamledger_broker_core::quota::QuotaKind;
use streamledger_protocol::frame::{
    decode_request, decode_request_header, encode_response_with_gaps,
};
use streamledger_protocol::message::{Request, Response};
use streamledger_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AlterClientQuotasRequest,
    AlterConfigsRequest, AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest,
    AlterUserScramCredentialsRequest, ApiVersionsRequest, ConsumerGroupDescribeRequest,
    ConsumerGroupHeartbeatRequest, CreateAclsRequest, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteAclsRequest, DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeAclsRequest, DescribeClientQuotasRequest, DescribeClusterRequest,
    DescribeConfigsRequest, DescribeGroupsRequest, DescribeLogDirsRequest,
    DescribeProducersRequest, DescribeQuorumRequest, DescribeTopicPartitionsRequest,
    DescribeTransactionsRequest, DescribeUserScramCredentialsRequest, ElectLeadersRequest,
    EndTxnRequest, FetchRequest, FindCoordinatorRequest, HeartbeatRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest,
    ListConfigResourcesRequest, ListGroupsRequest, ListOffsetsRequest,
    ListPartitionReassignmentsRequest, ListTransactionsRequest, MetadataRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest,
    ProduceRequest, SaslAuthenticateRequest, SaslHandshakeRequest, SyncGroupRequest,
    TxnOffsetCommitRequest, UnregisterBrokerRequest, UpdateFeaturesRequest, WriteTxnMarkersRequest,
};
use streamledger_protocol::wire::{DecodeError, EncodeError, Reader, Segment};
use streamledger_protocol::{ApiKey, ApiVersion, CorrelationId, ErrorCode};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;

use self::access::Access;
use self::throttled::Throttled;
use crate::authentication::Session;
use crate::faults::{Fault, HeldRequest};
use crate::node::{Endpoint, Node};
use crate::quotas::{ClientQuotas, MutationQuota};
use crate::server::{BytePermit, Piece};
use crate::storage::{FileRange, ProducerOwner};

/// Every API the broker serves, in order of key.
pub(crate) static SERVED: &[ServedApi] = &[
    ServedApi::of::<ProduceRequest>(),
    ServedApi::of::<FetchRequest>(),
    ServedApi::of::<ListOffsetsRequest>(),
    ServedApi::of::<MetadataRequest>(),
    ServedApi::of::<OffsetCommitRequest>(),
    ServedApi::of::<OffsetFetchRequest>(),
    ServedApi::of::<FindCoordinatorRequest>(),
    ServedApi::of::<JoinGroupRequest>(),
    ServedApi::of::<HeartbeatRequest>(),
    ServedApi::of::<LeaveGroupRequest>(),
    ServedApi::of::<SyncGroupRequest>(),
    ServedApi::of::<DescribeGroupsRequest>(),
    ServedApi::of::<ListGroupsRequest>(),
    ServedApi::of::<SaslHandshakeRequest>(),
    ServedApi::of::<ApiVersionsRequest>(),
    ServedApi::of::<CreateTopicsRequest>(),
    ServedApi::of::<DeleteTopicsRequest>(),
    ServedApi::of::<DeleteRecordsRequest>(),
    ServedApi::of::<InitProducerIdRequest>(),
    ServedApi::of::<OffsetForLeaderEpochRequest>(),
    ServedApi::of::<AddPartitionsToTxnRequest>(),
    ServedApi::of::<AddOffsetsToTxnRequest>(),
    ServedApi::of::<EndTxnRequest>(),
    ServedApi::of::<WriteTxnMarkersRequest>(),
    ServedApi::of::<TxnOffsetCommitRequest>(),
    ServedApi::of::<DescribeAclsRequest>(),
    ServedApi::of::<CreateAclsRequest>(),
    ServedApi::of::<DeleteAclsRequest>(),
    ServedApi::of::<DescribeConfigsRequest>(),
    ServedApi::of::<AlterConfigsRequest>(),
    ServedApi::of::<AlterReplicaLogDirsRequest>(),
    ServedApi::of::<DescribeLogDirsRequest>(),
    ServedApi::of::<SaslAuthenticateRequest>(),
    ServedApi::of::<CreatePartitionsRequest>(),
    ServedApi::of::<DeleteGroupsRequest>(),
    ServedApi::of::<ElectLeadersRequest>(),
    ServedApi::of::<IncrementalAlterConfigsRequest>(),
    ServedApi::of::<AlterPartitionReassignmentsRequest>(),
    ServedApi::of::<ListPartitionReassignmentsRequest>(),
    ServedApi::of::<OffsetDeleteRequest>(),
    ServedApi::of::<DescribeClientQuotasRequest>(),
    ServedApi::of::<AlterClientQuotasRequest>(),
    ServedApi::of::<DescribeUserScramCredentialsRequest>(),
    ServedApi::of::<AlterUserScramCredentialsRequest>(),
    ServedApi::of::<DescribeQuorumRequest>(),
    ServedApi::of::<UpdateFeaturesRequest>(),
    ServedApi::of::<DescribeClusterRequest>(),
    ServedApi::of::<DescribeProducersRequest>(),
    ServedApi::of::<UnregisterBrokerRequest>(),
    ServedApi::of::<DescribeTransactionsRequest>(),
    ServedApi::of::<ListTransactionsRequest>(),
    ServedApi::of::<ConsumerGroupHeartbeatRequest>(),
    ServedApi::of::<ConsumerGroupDescribeRequest>(),
    ServedApi::of::<ListConfigResourcesRequest>(),
    ServedApi::of::<DescribeTopicPartitionsRequest>(),
];

/// A request the broker serves.
pub(crate) trait Api: Request<Response: Throttled> + Send + 'static {
    /// The versions that are served.
    const SERVED_VERSIONS: RangeInclusive<i16>;
    /// The least version that is advertised; below the served ones only for PROTOCOL.md's trap 1.
    const ADVERTISED_FROM: i16 = *Self::SERVED_VERSIONS.start();

    /// What is asked of who calls it.
    const ACCESS: Access;

    /// The answer that refuses all of it with one error.
    fn refused(&self, error: ErrorCode) -> Self::Response;

    /// Does what is asked.
    fn handle(self, call: &Arc<Call>) -> impl Future<Output = Answer<Self::Response>> + Send;
}

/// How a request is answered.
pub(crate) enum Answer<R> {
    /// With this, now.
    Now(R),
    /// With what this gives, once it does.
    Later(BoxFuture<'static, Held<R>>),
    /// Not at all (`acks=0`).
    Nothing,
    /// By closing the connection.
    Close(CloseReason),
}

impl<R> From<R> for Answer<R> {
    fn from(response: R) -> Self {
        Self::Now(response)
    }
}

/// A response, what fills its gaps, and what memory it is charged for.
pub(crate) struct Held<R> {
    pub(crate) response: R,
    /// One for each of its records that are elsewhere, in their order.
    pub(crate) files: Vec<FileRange>,
    pub(crate) permit: Option<BytePermit>,
}

impl<R> Held<R> {
    /// A response that is whole and small.
    pub(crate) fn whole(response: R) -> Self {
        Self { response, files: Vec::new(), permit: None }
    }
}

/// A response's bytes, and what memory they are charged for until they are sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) _charged: Option<BytePermit>,
}

impl Outgoing {
    /// How many bytes are to be sent.
    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(Piece::len).sum()
    }
}

/// What a connection does about a request.
pub(crate) enum Reply {
    /// Send this.
    Ready(Outgoing),
    /// Send what this gives, once it does.
    Later(BoxFuture<'static, Result<Outgoing, CloseReason>>),
    /// Send nothing.
    Nothing,
}

/// Why a connection is closed by the broker.
#[derive(Debug, Error)]
pub(crate) enum CloseReason {
    #[error("a request of unknown API {0}")]
    UnknownApi(i16),
    #[error("{} in version {version}, which is not served", .api.name())]
    UnservedVersion { api: ApiKey, version: ApiVersion },
    #[error("a request that cannot be read: {0}")]
    Undecodable(#[from] DecodeError),
    #[error("an answer that cannot be written: {0}")]
    Unencodable(#[from] EncodeError),
    #[error("an answer with a gap of {0} bytes")]
    Unfilled(usize),
    #[error("a produce request with acks=0 failed: {0}")]
    FailedWithoutAck(ErrorCode),
    #[error("{0}")]
    NotAdmitted(&'static str),
    #[error("a fault on purpose")]
    Fault,
}

/// What is known of the connection a request came on.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// What clients that reached this listener are told to connect to.
    pub(crate) endpoint: Endpoint,
    /// Who is at its other end.
    pub(crate) session: Session,
    /// What its client is limited to.
    pub(crate) quotas: ClientQuotas,
    /// Turns true when waiting on is pointless: the client is gone, or the broker is stopping.
    pub(crate) closing: watch::Receiver<bool>,
}

impl Connection {
    /// Whether waiting on is pointless.
    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// Resolves when waiting on becomes pointless.
    pub(crate) async fn closed(&self) {
        // A sender that is gone closed the connection too.
        let _ = self.closing.clone().wait_for(|&closing| closing).await;
    }
}

/// A request's circumstances.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) node: Arc<Node>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) version: ApiVersion,
    /// How the client calls itself, if it does.
    pub(crate) client_id: Option<String>,
    /// What its API asks of who calls it.
    access: Access,
    correlation_id: CorrelationId,
    /// The request's size, its length prefix left out.
    request_bytes: usize,
    /// The place of its API in the list of served ones.
    place: usize,
    /// When it was read.
    begun: Instant,
    /// For how long the client shall send nothing, by what the handler did, in ms.
    throttle_ms: AtomicU64,
}

impl Call {
    fn encode<R: Response>(&self, held: &Held<R>) -> Result<Vec<Segment>, CloseReason> {
        Ok(encode_response_with_gaps(self.correlation_id, self.version, &held.response)?)
    }

    fn outgoing<R: Response>(&self, held: Held<R>) -> Result<Outgoing, CloseReason> {
        let meters = &self.node.requests;
        held.response.visit_errors(&mut |error| meters.count_error(self.place, error));
        meters.answered(self.place, self.begun.elapsed());
        let mut pieces = Vec::new();
        let segments = self.encode(&held)?;
        let mut files = held.files.into_iter();
        for segment in segments {
            pieces.push(match segment {
                Segment::Bytes(bytes) => Piece::Memory(bytes),
                Segment::Gap(bytes) => {
                    let file = files.next().filter(|file| file.len() == bytes);
                    Piece::File(file.ok_or(CloseReason::Unfilled(bytes))?)
                }
            });
        }
        Ok(Outgoing { pieces, _charged: held.permit })
    }

    /// The answer that says for how long its client shall send nothing.
    fn throttled<R: Throttled>(
        &self,
        mut held: Held<R>,
        throttle: Duration,
    ) -> Result<Outgoing, CloseReason> {
        if throttle > Duration::ZERO {
            let ms = i32::try_from(throttle.as_millis()).unwrap_or(i32::MAX);
            held.response.say_throttle_time(ms);
            self.node.requests.throttle(throttle);
        }
        self.outgoing(held)
    }

    /// Counts a request and the time of a thread that it took; for how long its client shall send
    /// nothing. From now on nothing is let in for so long.
    fn charge_request(&self, api: ApiKey, busy: Duration) -> Duration {
        let is_exempt = !self.connection.session.is_known()
            || matches!(
                api,
                ApiKey::SaslHandshake | ApiKey::SaslAuthenticate | ApiKey::WriteTxnMarkers
            );
        if is_exempt {
            return Duration::ZERO;
        }
        let mut throttle = self.charge(QuotaKind::Request, busy.as_secs_f64() * 100.0);
        if api == ApiKey::Produce {
            throttle = throttle.max(self.charge(QuotaKind::Produce, self.request_bytes as f64));
        }
        throttle = throttle.max(Duration::from_millis(self.throttle_ms.load(Ordering::Relaxed)));
        self.connection.quotas.mute(throttle);
        throttle
    }

    /// What this request may change of topics; beyond that it is refused if its client knows the
    /// error.
    pub(crate) fn mutations(&self, is_strict: bool) -> MutationQuota {
        let principal = self.connection.session.principal();
        let names = (&*principal.name, self.client_id.as_deref().unwrap_or_default());
        self.connection.quotas.mutations(&self.node, names, is_strict)
    }

    /// The client shall send nothing for so long; the answer says so.
    pub(crate) fn throttle(&self, wait: Duration) {
        let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.throttle_ms.fetch_max(ms, Ordering::Relaxed);
    }

    /// The same of what is read by Fetch, once it is there.
    fn charge_response<R: Response>(&self, held: &Held<R>) -> Result<Duration, CloseReason> {
        if R::API_KEY != ApiKey::Fetch || self.fetch_bytes_of_quota().is_none() {
            return Ok(Duration::ZERO);
        }
        let bytes: usize = self.encode(held)?.iter().map(Segment::len).sum();
        let throttle = self.charge(QuotaKind::Fetch, bytes as f64);
        self.connection.quotas.mute(throttle);
        Ok(throttle)
    }

    /// The most bytes of a Fetch that its client's quota leaves; none without a quota.
    pub(crate) fn fetch_bytes_of_quota(&self) -> Option<usize> {
        let principal = self.connection.session.principal();
        let names = (&*principal.name, self.client_id.as_deref().unwrap_or_default());
        self.connection.quotas.fetch_bytes_max(&self.node, names)
    }

    fn charge(&self, kind: QuotaKind, value: f64) -> Duration {
        let principal = self.connection.session.principal();
        let names = (&*principal.name, self.client_id.as_deref().unwrap_or_default());
        self.connection.quotas.charge(&self.node, names, kind, value)
    }

    /// Whose a producer is that is new to a log: who is known, or else the address.
    pub(crate) fn producer_owner(&self) -> ProducerOwner {
        let principal = self.connection.session.principal();
        if *principal == Principal::anonymous() {
            ProducerOwner::Address(self.connection.peer.ip().to_canonical())
        } else {
            ProducerOwner::User(principal.name.clone())
        }
    }

    /// Runs what blocks on the disk outside of the threads that serve connections.
    pub(crate) async fn blocking<R: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Node) -> R + Send + 'static,
    ) -> Option<R> {
        let node = Arc::clone(&self.node);
        tokio::task::spawn_blocking(move || work(&node)).await.ok()
    }
}

type ServeFuture = BoxFuture<'static, Result<Reply, CloseReason>>;

/// One row of the list of served APIs.
pub(crate) struct ServedApi {
    pub(crate) key: ApiKey,
    pub(crate) versions: RangeInclusive<i16>,
    pub(crate) advertised_from: i16,
    access: Access,
    serve: fn(Arc<Call>, Reader) -> ServeFuture,
}

impl ServedApi {
    const fn of<R: Api>() -> Self {
        Self {
            key: R::API_KEY,
            versions: R::SERVED_VERSIONS,
            advertised_from: R::ADVERTISED_FROM,
            access: R::ACCESS,
            serve: |call, body| Box::pin(serve::<R>(call, body)),
        }
    }
}

/// Looks at one request, up to where its effects are in place.
pub(crate) async fn dispatch(
    node: &Arc<Node>,
    connection: &Arc<Connection>,
    frame: Bytes,
) -> Result<Reply, CloseReason> {
    if connection.session.expects_raw_token() {
        return raw_token(node, connection, &frame);
    }
    let request_bytes = frame.len();
    let (header, body) = decode_request_header(frame)?;
    let place = SERVED.iter().position(|served| served.key.code() == header.api_key);
    let place = place.ok_or(CloseReason::UnknownApi(header.api_key))?;
    let served = SERVED.get(place).ok_or(CloseReason::UnknownApi(header.api_key))?;
    node.requests.count(place);
    connection.session.admits(served.key).map_err(CloseReason::NotAdmitted)?;
    let mut call = Call {
        node: Arc::clone(node),
        connection: Arc::clone(connection),
        version: header.api_version,
        client_id: header.client_id,
        access: served.access,
        correlation_id: header.correlation_id,
        request_bytes,
        place,
        begun: Instant::now(),
        throttle_ms: AtomicU64::new(0),
    };
    if served.versions.contains(&header.api_version.0) {
        return (served.serve)(Arc::new(call), body).await;
    }
    if served.key == ApiKey::ApiVersions {
        // KIP-511: told in version 0, which every client reads, it learns what is served.
        call.version = ApiVersion(0);
        let response = api_versions::unsupported_version();
        return Ok(Reply::Ready(call.outgoing(Held::whole(response))?));
    }
    Err(CloseReason::UnservedVersion { api: served.key, version: header.api_version })
}

/// A token as it came after SaslHandshake 0. A failure is not told: there is no place for an error.
fn raw_token(node: &Node, connection: &Connection, token: &[u8]) -> Result<Reply, CloseReason> {
    let session = &connection.session;
    let done = session.authenticate(token, &node.controller, &node.unknown_users);
    if done.error != ErrorCode::None {
        let delay = done.delay;
        return Ok(Reply::Later(Box::pin(async move {
            tokio::time::sleep(delay).await;
            Err(CloseReason::NotAdmitted("a login failed"))
        })));
    }
    let length = u32::try_from(done.bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let pieces = [Bytes::copy_from_slice(&length), done.bytes].map(Piece::Memory).into();
    Ok(Reply::Ready(Outgoing { pieces, _charged: None }))
}

async fn serve<R: Api>(call: Arc<Call>, body: Reader) -> Result<Reply, CloseReason> {
    let request: R = decode_request(body, call.version)?;
    let (fault, held) = call.node.faults.strike(R::API_KEY).unzip();
    match fault {
        Some(Fault::DropConnection) => return Err(CloseReason::Fault),
        Some(Fault::DelayRequest(delay)) => tokio::time::sleep(delay).await,
        Some(Fault::Hold) => HeldRequest::released(held).await,
        Some(Fault::AnswerWith(error)) => {
            let response = request.refused(error);
            return Ok(Reply::Ready(call.outgoing(Held::whole(response))?));
        }
        Some(Fault::DropResponse | Fault::DelayResponse(_)) | None => {}
    }
    if let Access::Cluster(operations) = R::ACCESS
        && !operations.iter().any(|operation| call.allows_cluster(*operation))
    {
        let response = request.refused(ErrorCode::ClusterAuthorizationFailed);
        return Ok(Reply::Ready(call.outgoing(Held::whole(response))?));
    }
    let (answer, busy) = timed(request.handle(&call)).await;
    let throttle = call.charge_request(R::API_KEY, busy);
    let reply = match answer {
        Answer::Now(response) => Reply::Ready(call.throttled(Held::whole(response), throttle)?),
        Answer::Later(response) => Reply::Later(Box::pin(async move {
            let held = response.await;
            let throttle = throttle.max(call.charge_response(&held)?);
            call.throttled(held, throttle)
        })),
        Answer::Nothing => Reply::Nothing,
        Answer::Close(reason) => return Err(reason),
    };
    match fault {
        Some(Fault::DropResponse) => Err(CloseReason::Fault),
        Some(Fault::DelayResponse(delay)) => Ok(delayed(reply, delay)),
        _ => Ok(reply),
    }
}

/// What a future gives, and how long a thread was busy with it.
async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let mut future = std::pin::pin!(future);
    let mut busy = Duration::ZERO;
    let output = std::future::poll_fn(|context| {
        let begun = std::time::Instant::now();
        let polled = future.as_mut().poll(context);
        busy += begun.elapsed();
        polled
    });
    let output = output.await;
    (output, busy)
}

fn delayed(reply: Reply, delay: Duration) -> Reply {
    let due = Instant::now() + delay;
    Reply::Later(Box::pin(async move {
        let outgoing = match reply {
            Reply::Ready(outgoing) => outgoing,
            Reply::Later(outgoing) => outgoing.await?,
            Reply::Nothing => return Err(CloseReason::Fault),
        };
        tokio::time::sleep_until(due).await;
        Ok(outgoing)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn served_apis_are_in_order_and_within_what_can_be_decoded() {
        assert!(SERVED.is_sorted_by(|a, b| a.key.code() < b.key.code()));
        for served in SERVED {
            for version in served.versions.clone() {
                assert!(served.key.supports(ApiVersion(version)), "{:?} {version}", served.key);
            }
        }
    }
}
