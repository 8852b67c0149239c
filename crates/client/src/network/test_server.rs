//! A broker for tests: real sockets on loopback, answers from a closure, misbehaviour on demand.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use streamledger_protocol::frame::{RequestHeader, decode_request_header};
use streamledger_protocol::messages::api_versions::ApiVersionRange;
use streamledger_protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use streamledger_protocol::messages::{
    AnyRequest, AnyResponse, ApiVersionsResponse, MetadataRequest, MetadataResponse,
    SaslAuthenticateResponse, SaslHandshakeResponse, decode_any_request,
};
use streamledger_protocol::wire::Writer;
use streamledger_protocol::{ApiKey, ApiVersion, BrokerId, ErrorCode, PartitionIndex, TopicId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::NetworkConfig;
use crate::config::{ProducerConfig, Properties, ServerAddress};
use crate::{Producer, ProducerRecord};

/// What a fake broker does about a request.
pub(crate) enum Answer {
    /// The response, in the request's version.
    Respond(AnyResponse),
    /// The response after a while; the connection waits, as Kafka's does.
    RespondAfter(Duration, AnyResponse),
    /// These bytes, whatever they are.
    Raw(Vec<u8>),
    /// These bytes, each by itself.
    Trickle(Vec<u8>),
    /// No answer at all.
    Nothing,
    /// The end of the connection.
    Close,
}

impl Answer {
    /// What the broker says of its versions.
    pub(crate) fn hello(response: ApiVersionsResponse) -> Self {
        Self::Respond(AnyResponse::ApiVersions(response))
    }
}

/// A broker on loopback that lives as long as the runtime of its test.
pub(crate) struct FakeBroker {
    pub(crate) address: Arc<ServerAddress>,
    pub(crate) connection_count: Rc<Cell<usize>>,
    pub(crate) requests: Rc<RefCell<Vec<(RequestHeader, AnyRequest)>>>,
}

impl FakeBroker {
    /// Starts one that answers ApiVersions by itself and everything else by the closure.
    pub(crate) async fn start(
        mut answer: impl FnMut(&RequestHeader, &AnyRequest) -> Answer + 'static,
    ) -> Self {
        Self::start_raw(move |header, body| {
            let Ok(request) = decode_any_request(header.api_key, header.api_version, body) else {
                return (None, Answer::Raw(unsupported(header)));
            };
            let action = match &request {
                AnyRequest::ApiVersions(_) => Answer::hello(api_versions()),
                request => answer(header, request),
            };
            (Some(request), action)
        })
        .await
    }

    /// Starts one that answers everything by the closure, decoded or not.
    pub(crate) async fn start_raw(
        answer: impl FnMut(&RequestHeader, Bytes) -> (Option<AnyRequest>, Answer) + 'static,
    ) -> Self {
        Self::start_over(Vec::new(), answer).await
    }

    /// Starts one that speaks TLS: to its first connection by the first of these, and so on, and
    /// by the last from then on; in the clear, if there are none.
    pub(crate) async fn start_over(
        mut tls: Vec<Arc<rustls::ServerConfig>>,
        answer: impl FnMut(&RequestHeader, Bytes) -> (Option<AnyRequest>, Answer) + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let connection_count = Rc::new(Cell::new(0));
        let requests = Rc::new(RefCell::new(Vec::new()));
        let broker = Self {
            address: Arc::new(address),
            connection_count: Rc::clone(&connection_count),
            requests: Rc::clone(&requests),
        };
        let answer = Rc::new(RefCell::new(answer));
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                connection_count.set(connection_count.get() + 1);
                let (answer, requests) = (Rc::clone(&answer), Rc::clone(&requests));
                let over = if tls.len() > 1 { Some(tls.remove(0)) } else { tls.first().cloned() };
                tokio::task::spawn_local(async move {
                    let mut answer = |header: &_, body| (answer.borrow_mut())(header, body);
                    let Some(over) = over else {
                        return serve(stream, &requests, &mut answer).await;
                    };
                    let stream = TlsAcceptor::from(over).accept(stream).await.ok()?;
                    serve(stream, &requests, &mut answer).await
                });
            }
        });
        broker
    }
}

type Answering<'a> = dyn FnMut(&RequestHeader, Bytes) -> (Option<AnyRequest>, Answer) + 'a;

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    requests: &RefCell<Vec<(RequestHeader, AnyRequest)>>,
    answer: &mut Answering<'_>,
) -> Option<()> {
    loop {
        let length = stream.read_i32().await.ok()?;
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut frame).await.ok()?;
        let (header, rest) = decode_request_header(frame.into()).unwrap();
        let (request, action) = answer(&header, rest.into_remaining());
        requests.borrow_mut().extend(request.map(|request| (header.clone(), request)));
        match action {
            Answer::Respond(response) => {
                stream.write_all(&encode(&header, &response)).await.ok()?;
            }
            Answer::RespondAfter(wait, response) => {
                tokio::time::sleep(wait).await;
                stream.write_all(&encode(&header, &response)).await.ok()?;
            }
            Answer::Raw(bytes) => stream.write_all(&bytes).await.ok()?,
            Answer::Trickle(bytes) => {
                for byte in bytes {
                    stream.write_all(&[byte]).await.ok()?;
                    stream.flush().await.ok()?;
                    tokio::task::yield_now().await;
                }
            }
            Answer::Nothing => {}
            Answer::Close => return None,
        }
        stream.flush().await.ok()?;
    }
}

/// A response with length and header, in the request's version.
pub(crate) fn encode(header: &RequestHeader, response: &AnyResponse) -> Vec<u8> {
    let mut w = Writer::new();
    w.put_i32(header.correlation_id.0);
    if response.api_key().is_response_header_flexible(header.api_version) {
        w.put_unsigned_varint(0);
    }
    response.encode(&mut w, header.api_version).unwrap();
    let body = w.finish().into_bytes();
    [&i32::try_from(body.len()).unwrap().to_be_bytes(), &*body].concat()
}

/// What a broker that knows all we know says of itself.
pub(crate) fn api_versions() -> ApiVersionsResponse {
    // Like a broker without a plug-in for metrics.
    let is_served =
        |api: &&ApiKey| !matches!(api, ApiKey::GetTelemetrySubscriptions | ApiKey::PushTelemetry);
    let ranges = ApiKey::ALL.iter().filter(is_served).map(|api| ApiVersionRange {
        api_key: api.code(),
        min_version: ApiVersion(*api.valid_versions().start()),
        max_version: ApiVersion(*api.valid_versions().end()),
    });
    ApiVersionsResponse { api_keys: ranges.collect(), ..Default::default() }
}

/// The answer to a version that the broker doesn't know: version 0, with its own versions.
pub(crate) fn unsupported(header: &RequestHeader) -> Vec<u8> {
    let response =
        ApiVersionsResponse { error_code: ErrorCode::UnsupportedVersion, ..api_versions() };
    let header = RequestHeader { api_version: ApiVersion(0), ..header.clone() };
    encode(&header, &AnyResponse::ApiVersions(response))
}

/// Runs a test in a runtime as the I/O thread has it.
///
/// A test that waits for what never comes ends after a few minutes.
pub(crate) fn on_io_thread<F: Future>(test: F) -> F::Output {
    const PATIENCE: Duration = Duration::from_secs(180);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let patient = async { tokio::time::timeout(PATIENCE, test).await.expect("it never ends") };
    tokio::task::LocalSet::new().block_on(&runtime, patient)
}

/// A configuration with short waits.
pub(crate) fn quick_config() -> NetworkConfig {
    let config = ProducerConfig::builder()
        .bootstrap_servers("localhost:1")
        .request_timeout(Duration::from_secs(20))
        .reconnect_backoff(Duration::from_millis(5))
        .reconnect_backoff_max(Duration::from_millis(20));
    let config = config.build().unwrap();
    NetworkConfig::new(config.client(), config.connections())
}

/// A broker alone in its cluster, on a thread of its own: it leads the one partition of each topic,
/// and ends the connection at the first Produce; from then on it refuses each login. It speaks TLS
/// as [`FakeBroker::start_over`] does.
pub(crate) fn fickle_leader(tls: Vec<Arc<rustls::ServerConfig>>) -> ServerAddress {
    let (address, is_known) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let port = Rc::new(Cell::new(0));
            let (mut was_produced, told) = (false, Rc::clone(&port));
            let broker = FakeBroker::start_over(tls, move |header, body| {
                let asked = decode_any_request(header.api_key, header.api_version, body).unwrap();
                was_produced |= matches!(asked, AnyRequest::Produce(_));
                (None, as_lone_leader(&asked, told.get(), was_produced))
            })
            .await;
            port.set(i32::from(broker.address.port));
            address.send((*broker.address).clone()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    is_known.recv().unwrap()
}

fn as_lone_leader(asked: &AnyRequest, port: i32, refuses: bool) -> Answer {
    let (error_code, error_message) = match refuses {
        false => (ErrorCode::None, None),
        true => (ErrorCode::SaslAuthenticationFailed, Some("revoked".to_owned())),
    };
    Answer::Respond(match asked {
        AnyRequest::ApiVersions(_) => return Answer::hello(api_versions()),
        AnyRequest::SaslHandshake(asked) => AnyResponse::SaslHandshake(SaslHandshakeResponse {
            error_code: ErrorCode::None,
            mechanisms: vec![asked.mechanism.clone()],
        }),
        AnyRequest::SaslAuthenticate(_) => {
            AnyResponse::SaslAuthenticate(SaslAuthenticateResponse {
                error_code,
                error_message,
                ..Default::default()
            })
        }
        AnyRequest::Metadata(asked) => AnyResponse::Metadata(lone_metadata(asked, port)),
        _ => return Answer::Close,
    })
}

fn lone_metadata(asked: &MetadataRequest, port: i32) -> MetadataResponse {
    let broker = MetadataResponseBroker {
        node_id: BrokerId(0),
        host: "localhost".to_owned(),
        port,
        rack: None,
    };
    let partition = MetadataResponsePartition {
        partition_index: PartitionIndex(0),
        leader_id: BrokerId(0),
        replica_nodes: vec![BrokerId(0)],
        isr_nodes: vec![BrokerId(0)],
        ..Default::default()
    };
    let topics = asked.topics.iter().flatten().map(|topic| MetadataResponseTopic {
        name: topic.name.clone(),
        topic_id: TopicId([7; 16]),
        partitions: vec![partition.clone()],
        ..Default::default()
    });
    let topics = topics.collect();
    MetadataResponse {
        brokers: vec![broker],
        controller_id: BrokerId(0),
        topics,
        ..Default::default()
    }
}

/// That a producer that was let in once says why it isn't any more when its records' time is over.
pub(crate) fn names_who_turned_it_away(properties: &Properties, sentence: &str) {
    let properties = properties
        .clone()
        .with("enable.idempotence", "false")
        .with("linger.ms", "0")
        .with("request.timeout.ms", "1000")
        .with("delivery.timeout.ms", "1000");
    let producer = Producer::new(ProducerConfig::from_properties(&properties).unwrap()).unwrap();
    for turn in 0..60 {
        let record = ProducerRecord::to("t").value(b"x");
        let error = producer.send(record).unwrap().wait().unwrap_err();
        let failure = error.failure().unwrap();
        // The first is sent; what comes of the connection may take a slow machine longer.
        if turn == 0 || failure.unreachable.is_none() {
            continue;
        }
        assert!(failure.unreachable.as_ref().unwrap().is_authentication, "{error}");
        assert!(error.to_string().contains(sentence), "{error}");
        assert!(error.next_action().starts_with("Correct the certificates or the login"));
        assert!(!error.possibly_written() && error.attempts() == 0, "{error}");
        return;
    }
    panic!("it never says why");
}
