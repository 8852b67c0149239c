//! A connection against brokers that behave, and against some that don't (FAILURES 4, 21, 60).

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use streamledger_protocol::frame::RequestHeader;
use streamledger_protocol::messages::metadata::MetadataResponseBroker;
use streamledger_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use streamledger_protocol::messages::{
    AnyRequest, AnyResponse, MetadataRequest, MetadataResponse, ProduceRequest,
};
use streamledger_protocol::{ApiKey, ApiVersion, BrokerId};
use tokio::net::TcpListener;

use super::test_server::{Answer, FakeBroker, api_versions, encode, on_io_thread, quick_config};
use super::*;
use crate::config::ServerAddress;

const LONG: Duration = Duration::from_secs(20);

async fn connect(broker: &FakeBroker) -> Result<BrokerConnection, NetworkError> {
    BrokerConnection::connect(&broker.address, &quick_config(), LONG).await
}

/// A metadata response that carries a number.
fn numbered(number: i32) -> AnyResponse {
    let response = MetadataResponse { controller_id: BrokerId(number), ..Default::default() };
    AnyResponse::Metadata(response)
}

fn counting() -> impl FnMut() -> i32 {
    let mut number = 0;
    move || {
        number += 1;
        number - 1
    }
}

async fn ask(connection: &BrokerConnection, timeout: Duration) -> Result<i32, NetworkError> {
    let response = connection.call(&MetadataRequest::default(), timeout).await;
    response.map(|response| response.controller_id.0)
}

#[test]
fn calls_are_pipelined_and_answered_in_order_however_they_are_awaited() {
    on_io_thread(async {
        let mut count = counting();
        let broker = FakeBroker::start(move |_, _| Answer::Respond(numbered(count()))).await;
        let connection = connect(&broker).await.unwrap();
        let calls: Vec<_> = (0..200).map(|_| ask_queued(&connection)).collect();
        assert_eq!(connection.in_flight_count(), 200);
        for (number, call) in calls.into_iter().enumerate().rev() {
            assert_eq!(call.await.unwrap().controller_id.0, i32::try_from(number).unwrap());
        }
        assert_eq!(connection.in_flight_count(), 0);
        let headers = broker.requests.borrow();
        assert!(headers.iter().all(|(h, _)| h.client_id.as_deref() == Some("streamledger")));
    });
}

fn ask_queued(
    connection: &BrokerConnection,
) -> impl Future<Output = Result<MetadataResponse, NetworkError>> + use<> {
    connection.call(&MetadataRequest::default(), LONG)
}

#[test]
fn versions_are_the_highest_common_ones() {
    on_io_thread(async {
        let broker = FakeBroker::start_raw(|_, _| {
            let mut response = api_versions();
            for range in &mut response.api_keys {
                if range.api_key == ApiKey::Metadata.code() {
                    range.max_version = ApiVersion(7);
                }
            }
            response.api_keys.retain(|range| range.api_key != ApiKey::Produce.code());
            (None, Answer::hello(response))
        })
        .await;
        let connection = connect(&broker).await.unwrap();
        assert_eq!(connection.version_for(ApiKey::Metadata), Some(ApiVersion(7)));
        assert_eq!(connection.version_for(ApiKey::Produce), None);
        let error = connection.call(&ProduceRequest::default(), LONG).await.unwrap_err();
        assert_eq!(error.kind, NetworkErrorKind::NoCommonVersion(ApiKey::Produce));
        assert!(!error.possibly_sent && connection.is_open());
    });
}

#[test]
fn a_broker_that_does_not_know_our_hello_is_asked_again_in_its_version() {
    on_io_thread(async {
        for newest in [ApiVersion(0), ApiVersion(3)] {
            let broker = FakeBroker::start_raw(move |header, _| {
                let mut response = api_versions();
                for range in &mut response.api_keys {
                    if range.api_key == ApiKey::ApiVersions.code() {
                        range.max_version = newest;
                    }
                }
                if header.api_version <= newest {
                    return (None, Answer::hello(response));
                }
                response.error_code = streamledger_protocol::ErrorCode::UnsupportedVersion;
                let zero = RequestHeader { api_version: ApiVersion(0), ..header.clone() };
                (None, Answer::Raw(encode(&zero, &AnyResponse::ApiVersions(response))))
            })
            .await;
            let connection = connect(&broker).await.unwrap();
            assert_eq!(connection.version_for(ApiKey::ApiVersions), Some(newest));
            assert_eq!(broker.connection_count.get(), 1);
        }
    });
}

#[test]
fn a_broker_that_hangs_up_or_answers_badly_at_our_hello_is_asked_in_version_0() {
    on_io_thread(async {
        for is_rude in [true, false] {
            let broker = FakeBroker::start_raw(move |header, _| {
                let action = match header.api_version {
                    ApiVersion(0) => Answer::hello(api_versions()),
                    _ if is_rude => Answer::Close,
                    _ => {
                        let zero = RequestHeader { api_version: ApiVersion(0), ..header.clone() };
                        Answer::Raw(encode(&zero, &AnyResponse::ApiVersions(api_versions())))
                    }
                };
                (None, action)
            })
            .await;
            connect(&broker).await.unwrap();
            assert_eq!(broker.connection_count.get(), 2);
        }
    });
}

#[test]
fn a_late_response_is_dropped_by_its_id_and_the_next_still_fits() {
    on_io_thread(async {
        let mut count = counting();
        let broker = FakeBroker::start(move |_, _| match count() {
            0 => Answer::RespondAfter(Duration::from_millis(150), numbered(0)),
            number => Answer::Respond(numbered(number)),
        })
        .await;
        let connection = connect(&broker).await.unwrap();
        let error = ask(&connection, Duration::from_millis(20)).await.unwrap_err();
        assert!(matches!(error.kind, NetworkErrorKind::Timeout(_)) && error.possibly_sent);
        assert!(connection.is_open());
        assert_eq!(ask(&connection, LONG).await, Ok(1));
    });
}

#[test]
fn a_connection_on_which_nothing_comes_is_given_up_after_two_time_outs() {
    on_io_thread(async {
        let broker = FakeBroker::start(|_, _| Answer::Nothing).await;
        let timeout = Duration::from_millis(60);
        let mut config = quick_config();
        config.request_timeout = Duration::from_secs(1);
        let connection = BrokerConnection::connect(&broker.address, &config, LONG).await.unwrap();
        let waiting = ask_queued(&connection);
        while connection.is_open() {
            assert!(ask(&connection, timeout).await.is_err());
        }
        let error = waiting.await.unwrap_err();
        assert!(matches!(error.kind, NetworkErrorKind::Silent(_)), "{error}");
    });
}

#[test]
fn dropping_a_call_does_not_take_its_request_back() {
    on_io_thread(async {
        let mut count = counting();
        let broker = FakeBroker::start(move |_, _| Answer::Respond(numbered(count()))).await;
        let connection = connect(&broker).await.unwrap();
        drop(ask_queued(&connection));
        assert_eq!(ask(&connection, LONG).await, Ok(1));
    });
}

#[test]
fn throttle_time_is_obeyed_before_the_next_request() {
    on_io_thread(async {
        let broker = FakeBroker::start(|_, _| {
            let response = MetadataResponse { throttle_time_ms: 2000, ..Default::default() };
            Answer::Respond(AnyResponse::Metadata(response))
        })
        .await;
        let connection = connect(&broker).await.unwrap();
        assert!(connection.muted_until().is_none());
        ask(&connection, LONG).await.unwrap();
        let until = connection.muted_until().unwrap();
        let given_up = ask(&connection, Duration::from_millis(20)).await.unwrap_err();
        assert!(!given_up.possibly_sent, "a muted connection has begun nothing");
        ask(&connection, LONG).await.unwrap();
        assert!(Instant::now() >= until, "{:?} too soon", until - Instant::now());
        assert_eq!(broker.requests.borrow().len(), 3, "hello and two of the three calls");
    });
}

#[test]
fn an_unanswered_request_is_done_when_it_is_written() {
    on_io_thread(async {
        let broker = FakeBroker::start(|_, request| match request {
            AnyRequest::Produce(_) => Answer::Nothing,
            _ => Answer::Respond(numbered(7)),
        })
        .await;
        let connection = connect(&broker).await.unwrap();
        let version = connection.version_for(ApiKey::Produce);
        connection.send_only(version, &ProduceRequest::default()).await.unwrap();
        assert_eq!(ask(&connection, LONG).await, Ok(7));
        assert_eq!(broker.requests.borrow()[1].0.api_key, ApiKey::Produce.code());
    });
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    on_io_thread(async {
        let broker = FakeBroker::start(|_, _| Answer::Respond(numbered(0))).await;
        let mut config = quick_config();
        config.idle_max = Some(Duration::from_millis(4000));
        let connection = BrokerConnection::connect(&broker.address, &config, LONG).await.unwrap();
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(1100)).await;
            ask(&connection, LONG).await.unwrap();
        }
        while connection.is_open() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let error = ask(&connection, LONG).await.unwrap_err();
        assert!(matches!(error.kind, NetworkErrorKind::Idle(_)) && !error.possibly_sent);
    });
}

/// What a broker may send in the place of a response, and what we must say of it.
#[test]
fn a_hostile_broker_gets_an_error_and_a_closed_connection() {
    type Check = fn(&NetworkErrorKind) -> bool;
    let bad: Check = |kind| matches!(kind, NetworkErrorKind::BadResponse(_));
    let cases: [(&str, Vec<u8>, Check); 7] = [
        ("a negative length", (-1_i32).to_be_bytes().to_vec(), bad),
        ("a length of 2 GB", i32::MAX.to_be_bytes().to_vec(), bad),
        ("a length without room for an id", vec![0, 0, 0, 2, 0, 0], bad),
        ("a wrong id", vec![0, 0, 0, 4, 0, 0, 0, 99], |kind| {
            matches!(kind, NetworkErrorKind::WrongCorrelationId { .. })
        }),
        ("a count of 2^31-1", metadata_with_endless_brokers(), bad),
        ("a TLS alert", vec![0x15, 0x03, 0x03, 0, 2, 2, 10], |kind| {
            *kind == NetworkErrorKind::OtherProtocol("TLS")
        }),
        ("a web server", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), |kind| {
            *kind == NetworkErrorKind::OtherProtocol("HTTP")
        }),
    ];
    on_io_thread(async move {
        for (name, bytes, check) in cases {
            let bytes = Rc::new(bytes);
            let broker = FakeBroker::start(move |_, _| Answer::Raw(bytes.to_vec())).await;
            let connection = connect(&broker).await.unwrap();
            let error = ask(&connection, LONG).await.unwrap_err();
            assert!(check(&error.kind) && error.possibly_sent, "{name}: {error}");
            assert!(!connection.is_open(), "{name}");
        }
    });
}

/// A response to request 1 (0 was the hello) that claims more brokers than it has bytes.
fn metadata_with_endless_brokers() -> Vec<u8> {
    // Id, no tagged fields, throttle time; then a compact array's count.
    let body = [&[0, 0, 0, 1][..], &[0], &[0, 0, 0, 0], &[0xff, 0xff, 0xff, 0xff, 0x07]].concat();
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

#[test]
fn bytes_that_nobody_asked_for_end_the_connection() {
    on_io_thread(async {
        let broker = FakeBroker::start(|header, _| {
            let mut bytes = encode(header, &numbered(1));
            bytes.extend([0, 0, 0, 4, 0, 0, 0, 2]);
            Answer::Raw(bytes)
        })
        .await;
        let connection = connect(&broker).await.unwrap();
        let _ = ask(&connection, LONG).await;
        while connection.is_open() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let error = ask(&connection, LONG).await.unwrap_err();
        assert!(matches!(error.kind, NetworkErrorKind::Broken(_)) && !error.possibly_sent);
    });
}

#[test]
fn a_broker_that_hangs_up_leaves_no_call_waiting() {
    on_io_thread(async {
        let mut count = counting();
        let broker = FakeBroker::start(move |_, _| match count() {
            0 => Answer::Respond(numbered(0)),
            _ => Answer::Close,
        })
        .await;
        let connection = connect(&broker).await.unwrap();
        let calls: Vec<_> = (0..5).map(|_| ask_queued(&connection)).collect();
        let results = futures_util::future::join_all(calls).await;
        assert!(results[0].is_ok());
        for result in &results[1..] {
            let error = result.as_ref().unwrap_err();
            assert_eq!(error.kind, NetworkErrorKind::ClosedByBroker);
            assert!(error.possibly_sent);
        }
    });
}

#[test]
fn the_pool_makes_one_connection_for_all_who_ask_and_a_new_one_when_it_is_gone() {
    on_io_thread(async {
        let broker = FakeBroker::start(|_, _| Answer::Close).await;
        let pool = ConnectionPool::new(quick_config());
        let asks = (0..5).map(|_| pool.connection(BrokerId(1), &broker.address));
        let results = futures_util::future::join_all(asks).await;
        let connection = results[0].clone().unwrap();
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(broker.connection_count.get(), 1);
        assert!(pool.connected(BrokerId(1)).is_some() && pool.connected(BrokerId(2)).is_none());
        assert!(ask(&connection, LONG).await.is_err());
        assert!(pool.connected(BrokerId(1)).is_none());
        let again = pool.connection(BrokerId(1), &broker.address).await.unwrap();
        assert!(again.is_open());
        assert_eq!(broker.connection_count.get(), 2);
        pool.close();
        assert!(!again.is_open());
    });
}

#[test]
fn the_pool_goes_to_a_brokers_new_address() {
    on_io_thread(async {
        let old = FakeBroker::start(|_, _| Answer::Respond(numbered(1))).await;
        let new = FakeBroker::start(|_, _| Answer::Respond(numbered(2))).await;
        let pool = ConnectionPool::new(quick_config());
        let first = pool.connection(BrokerId(1), &old.address).await.unwrap();
        let second = pool.connection(BrokerId(1), &new.address).await.unwrap();
        assert_eq!(ask(&second, LONG).await, Ok(2));
        drop(first);
        assert_eq!(**second.address(), *new.address);
    });
}

#[test]
fn a_broker_that_is_not_there_is_named_with_the_reason_and_tried_less_and_less() {
    on_io_thread(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let address: Arc<ServerAddress> = Arc::new(address.parse().unwrap());
        let pool = ConnectionPool::new(quick_config());
        let error = pool.connection(BrokerId(1), &address).await.err().unwrap();
        assert!(error.is_unreachable() && !error.possibly_sent, "{error}");
        assert!(error.to_string().contains("refused"), "{error}");
        assert!(pool.retry_at(BrokerId(1)).is_some());
        let missing = Arc::new("no-such-host.invalid:9092".parse().unwrap());
        let error = pool.connection(BrokerId(2), &missing).await.err().unwrap();
        assert!(matches!(error.kind, NetworkErrorKind::Unresolved(_)), "{error}");
    });
}

#[test]
fn a_stalled_hello_ends_in_time() {
    on_io_thread(async {
        let broker = FakeBroker::start_raw(|_, _| (None, Answer::Nothing)).await;
        let mut config = quick_config();
        config.request_timeout = Duration::from_millis(80);
        let result = BrokerConnection::connect(&broker.address, &config, LONG).await;
        let error = result.err().unwrap();
        assert!(matches!(error.kind, NetworkErrorKind::Timeout(_)) && !error.possibly_sent);
    });
}

#[test]
fn a_response_in_single_bytes_is_put_together() {
    on_io_thread(async {
        let mut count = counting();
        let broker =
            FakeBroker::start(move |header, _| Answer::Trickle(encode(header, &numbered(count()))))
                .await;
        let connection = connect(&broker).await.unwrap();
        let calls: Vec<_> = (0..20).map(|_| ask_queued(&connection)).collect();
        for (number, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap().controller_id.0, i32::try_from(number).unwrap());
        }
    });
}

#[test]
fn a_big_response_comes_whole() {
    on_io_thread(async {
        let broker = FakeBroker::start(|_, _| {
            let broker = MetadataResponseBroker { host: "h".repeat(30_000), ..Default::default() };
            let brokers = vec![broker; 100];
            let response = MetadataResponse { brokers, ..Default::default() };
            Answer::Respond(AnyResponse::Metadata(response))
        })
        .await;
        let connection = connect(&broker).await.unwrap();
        let calls: Vec<_> = (0..3).map(|_| ask_queued(&connection)).collect();
        for call in calls {
            let brokers = call.await.unwrap().brokers;
            assert_eq!(brokers.iter().map(|broker| broker.host.len()).sum::<usize>(), 3_000_000);
        }
    });
}

#[test]
fn a_connection_that_is_finished_loses_nothing_though_an_answer_comes_late() {
    on_io_thread(async {
        let late = Duration::from_millis(300);
        // While it lets an answer wait it reads nothing, so that most of the request behind stays
        // with the client's system.
        let broker = FakeBroker::start(move |_, request| match request {
            AnyRequest::Metadata(_) => Answer::RespondAfter(late, numbered(1)),
            _ => Answer::Nothing,
        })
        .await;
        let connection = connect(&broker).await.unwrap();
        drop(ask_queued(&connection));
        let records = Some(bytes::Bytes::from(vec![7; 300_000]));
        let partition_data =
            vec![PartitionProduceData { records, ..PartitionProduceData::default() }];
        let topic = TopicProduceData { partition_data, ..TopicProduceData::default() };
        let request = ProduceRequest { topic_data: vec![topic], ..ProduceRequest::default() };
        let version = connection.version_for(ApiKey::Produce);
        connection.send_only(version, &request).await.unwrap();
        tokio::time::timeout(LONG, connection.finish()).await.unwrap();
        assert!(!connection.is_open());
        let requests = broker.requests.borrow();
        assert!(
            matches!(requests.last(), Some((_, AnyRequest::Produce(_)))),
            "{} requests came",
            requests.len()
        );
    });
}
