//! The admin client against brokers that answer, lose answers, move and are not there.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use streamledger_protocol::messages::create_topics::CreatableTopicResult;
use streamledger_protocol::messages::delete_topics::DeletableTopicResult;
use streamledger_protocol::messages::describe_configs::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use streamledger_protocol::messages::metadata::{MetadataResponseBroker, MetadataResponseTopic};
use streamledger_protocol::messages::{
    AnyRequest, AnyResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsResponse,
    DescribeConfigsResponse, MetadataRequest, MetadataResponse, decode_any_request,
};
use streamledger_protocol::{ApiKey, ApiVersion, BrokerId, ErrorCode, TopicId};

use super::*;
use crate::network::test_server::{Answer, FakeBroker, api_versions, on_io_thread};

const TOPIC_ID: TopicId = TopicId([7; 16]);

/// A broker that tells of itself as number 1 and controller; everything else is the closure's.
async fn broker(mut answer: impl FnMut(&AnyRequest) -> Answer + 'static) -> FakeBroker {
    let own = Rc::new(OnceCell::new());
    let told = Rc::clone(&own);
    let broker = FakeBroker::start(move |_, request| match request {
        AnyRequest::Metadata(request) => {
            let (host, port): &(String, u16) = told.get().unwrap();
            Answer::Respond(AnyResponse::Metadata(metadata(host, *port, request)))
        }
        request => answer(request),
    })
    .await;
    own.set((broker.address.host.clone(), broker.address.port)).unwrap();
    broker
}

/// Knows one topic, `clicks`.
fn metadata(host: &str, port: u16, request: &MetadataRequest) -> MetadataResponse {
    let clicks: TopicName = "clicks".into();
    let asked = request.topics.as_ref().map_or(vec![clicks.clone()], |topics| {
        topics.iter().filter_map(|topic| topic.name.clone()).collect()
    });
    let topics = asked.into_iter().map(|name| MetadataResponseTopic {
        error_code: match name == clicks {
            true => ErrorCode::None,
            false => ErrorCode::UnknownTopicOrPartition,
        },
        topic_id: if name == clicks { TOPIC_ID } else { TopicId::ZERO },
        partitions: if name == clicks { vec![Default::default()] } else { Vec::new() },
        name: Some(name),
        ..Default::default()
    });
    let broker = MetadataResponseBroker {
        node_id: BrokerId(1),
        host: host.to_owned(),
        port: i32::from(port),
        ..Default::default()
    };
    MetadataResponse {
        brokers: vec![broker],
        controller_id: BrokerId(1),
        cluster_id: Some("a-cluster".to_owned()),
        topics: topics.collect(),
        ..Default::default()
    }
}

fn admin(servers: &impl ToString, api_timeout: Duration) -> Admin {
    let config = AdminConfig::builder()
        .bootstrap_servers(&servers.to_string())
        .request_timeout(api_timeout)
        .default_api_timeout(api_timeout)
        .retry_backoff(Duration::from_millis(5))
        .reconnect_backoff(Duration::from_millis(5))
        .reconnect_backoff_max(Duration::from_millis(10));
    Admin::new(config.build().unwrap()).unwrap()
}

const LONG: Duration = Duration::from_secs(20);

fn created(request: &CreateTopicsRequest, code: impl Fn(&str) -> ErrorCode) -> Answer {
    let topics = request.topics.iter().map(|topic| CreatableTopicResult {
        name: topic.name.clone(),
        topic_id: TOPIC_ID,
        error_code: code(topic.name.as_str()),
        error_message: Some("because.".to_owned()).filter(|_| topic.name != "a"),
        num_partitions: topic.num_partitions,
        replication_factor: 1,
        ..Default::default()
    });
    let response = CreateTopicsResponse { topics: topics.collect(), ..Default::default() };
    Answer::Respond(AnyResponse::CreateTopics(response))
}

#[test]
fn each_topic_has_its_own_result_in_the_order_of_the_call() {
    on_io_thread(async {
        let broker = broker(|request| match request {
            AnyRequest::CreateTopics(request) => created(request, |name| match name {
                "a" => ErrorCode::None,
                _ => ErrorCode::TopicAlreadyExists,
            }),
            _ => Answer::Close,
        })
        .await;
        let admin = admin(&broker.address, LONG);
        let topics =
            [NewTopic::new("b", 3, 1).config("x", "y"), NewTopic::with_broker_defaults("a")];
        let results = admin.create_topics_async(&topics).await.unwrap();
        let texts: Vec<_> = results
            .iter()
            .map(|(name, result)| match result {
                Ok(topic) => format!("{name} {} {:?}", topic.id, topic.partition_count),
                Err(error) => format!("{name} {error}"),
            })
            .collect();
        let id = TOPIC_ID.to_string();
        assert_eq!(texts, ["b TOPIC_ALREADY_EXISTS: because", &format!("a {id} None")]);
        let (name, error) = results.all().unwrap_err();
        assert_eq!(name, "b");
        assert_eq!(error.code(), Some(ErrorCode::TopicAlreadyExists));
    });
}

#[test]
fn a_name_no_broker_takes_is_refused_before_anything_is_asked() {
    let admin = admin(&"localhost:1", LONG);
    let error = admin.create_topics(&[NewTopic::new("a/b", 1, 1)]).unwrap_err();
    assert!(matches!(error, AdminError::InvalidTopicName(_)), "{error}");
}

#[test]
fn only_topics_whose_error_passes_are_tried_again() {
    on_io_thread(async {
        let attempt = Cell::new(0);
        let broker = broker(move |request| match request {
            AnyRequest::CreateTopics(request) => {
                attempt.set(attempt.get() + 1);
                assert_eq!(request.topics.len(), if attempt.get() == 1 { 2 } else { 1 });
                let is_third = attempt.get() == 3;
                created(request, move |name| match name {
                    "b" if !is_third => ErrorCode::NotController,
                    _ => ErrorCode::None,
                })
            }
            _ => Answer::Close,
        })
        .await;
        let admin = admin(&broker.address, LONG);
        let topics = [NewTopic::new("a", 1, 1), NewTopic::new("b", 1, 1)];
        let created = admin.create_topics_async(&topics).await.unwrap().all().unwrap();
        assert_eq!(created.len(), 2);
    });
}

#[test]
fn replicas_that_are_chosen_go_without_numbers() {
    on_io_thread(async {
        let broker = broker(|request| match request {
            AnyRequest::CreateTopics(request) => {
                let topic = &request.topics[0];
                assert_eq!((topic.num_partitions, topic.replication_factor), (-1, -1));
                let each = topic.assignments.iter();
                let told = each.map(|one| (one.partition_index.0, one.broker_ids.clone()));
                let chosen = [(0, vec![BrokerId(2), BrokerId(1)]), (1, vec![BrokerId(1)])];
                assert_eq!(told.collect::<Vec<_>>(), chosen);
                created(request, |_| ErrorCode::None)
            }
            _ => Answer::Close,
        })
        .await;
        let replicas = [vec![BrokerId(2), BrokerId(1)], vec![BrokerId(1)]];
        let topic = NewTopic::with_replicas("b", replicas);
        let admin = admin(&broker.address, LONG);
        admin.create_topics_async(&[topic]).await.unwrap().all().unwrap();
    });
}

#[test]
fn a_refusal_after_a_lost_answer_says_that_it_may_be_our_own_doing() {
    on_io_thread(async {
        let is_first = Cell::new(true);
        let broker = broker(move |request| match request {
            AnyRequest::CreateTopics(_) if is_first.replace(false) => Answer::Close,
            AnyRequest::CreateTopics(request) => {
                created(request, |_| ErrorCode::TopicAlreadyExists)
            }
            _ => Answer::Close,
        })
        .await;
        let admin = admin(&broker.address, LONG);
        let results = admin.create_topics_async(&[NewTopic::new("a", 1, 1)]).await.unwrap();
        let error = results.only().unwrap_err();
        assert!(matches!(error, AdminError::Refused { may_be_ours: true, .. }), "{error}");
        assert!(error.to_string().contains("earlier attempt"), "{error}");
    });
}

#[test]
fn old_brokers_are_asked_to_delete_by_name() {
    on_io_thread(async {
        for newest in [5, 6] {
            let own = Rc::new(OnceCell::new());
            let told = Rc::clone(&own);
            let broker = FakeBroker::start_raw(move |header, body| {
                let request = decode_any_request(header.api_key, header.api_version, body).unwrap();
                let answer = match &request {
                    AnyRequest::ApiVersions(_) => {
                        let mut response = api_versions();
                        for range in &mut response.api_keys {
                            if range.api_key == ApiKey::DeleteTopics.code() {
                                range.max_version = ApiVersion(newest);
                            }
                        }
                        Answer::hello(response)
                    }
                    AnyRequest::Metadata(request) => {
                        let (host, port): &(String, u16) = told.get().unwrap();
                        Answer::Respond(AnyResponse::Metadata(metadata(host, *port, request)))
                    }
                    AnyRequest::DeleteTopics(request) => {
                        let by_state = request.topics.iter().filter_map(|topic| topic.name.clone());
                        let names = request.topic_names.iter().cloned().chain(by_state);
                        let responses = names.map(|name| DeletableTopicResult {
                            name: Some(name),
                            ..Default::default()
                        });
                        let responses = responses.collect();
                        let response = DeleteTopicsResponse { responses, ..Default::default() };
                        Answer::Respond(AnyResponse::DeleteTopics(response))
                    }
                    _ => Answer::Close,
                };
                (Some(request), answer)
            })
            .await;
            own.set((broker.address.host.clone(), broker.address.port)).unwrap();
            let admin = admin(&broker.address, LONG);
            let deleted = admin.delete_topics_async(&["clicks".into()]).await.unwrap();
            assert!(deleted.only().is_ok());
        }
    });
}

#[test]
fn listing_and_describing_create_nothing() {
    on_io_thread(async {
        let broker = broker(|_| Answer::Close).await;
        let admin = admin(&broker.address, LONG);
        let listed = admin.list_topics_async().await.unwrap();
        assert_eq!((&*listed[0].name.to_string(), listed[0].partition_count), ("clicks", 1));
        let names = ["nope".into(), "clicks".into()];
        let described = admin.describe_topics_async(&names).await.unwrap();
        let mut described = described.into_iter();
        let (_, missing) = described.next().unwrap();
        assert_eq!(missing.unwrap_err().code(), Some(ErrorCode::UnknownTopicOrPartition));
        let (_, clicks) = described.next().unwrap();
        assert_eq!(clicks.unwrap().id, TOPIC_ID);
        for (_, request) in &*broker.requests.borrow() {
            if let AnyRequest::Metadata(request) = request {
                assert!(!request.allow_auto_topic_creation);
            }
        }
    });
}

#[test]
fn settings_come_with_their_source() {
    on_io_thread(async {
        let broker = broker(|request| match request {
            AnyRequest::DescribeConfigs(request) => {
                let results = request.resources.iter().map(|resource| DescribeConfigsResult {
                    resource_type: resource.resource_type,
                    resource_name: resource.resource_name.clone(),
                    configs: vec![DescribeConfigsResourceResult {
                        name: "retention.ms".to_owned(),
                        value: Some("-1".to_owned()),
                        config_source: 1,
                        ..Default::default()
                    }],
                    ..Default::default()
                });
                let results = results.collect();
                let response = DescribeConfigsResponse { results, ..Default::default() };
                Answer::Respond(AnyResponse::DescribeConfigs(response))
            }
            _ => Answer::Close,
        })
        .await;
        let admin = admin(&broker.address, LONG);
        let resources =
            [ConfigResource::Broker(BrokerId(1)), ConfigResource::Topic("clicks".into())];
        let described = admin.describe_configs_async(&resources).await.unwrap().all().unwrap();
        assert_eq!(described.len(), 2);
        assert_eq!(described[1][0].source, ConfigSource::Topic);
        let unknown = [ConfigResource::Broker(BrokerId(9))];
        let error = admin.describe_configs_async(&unknown).await.unwrap_err();
        assert!(error.to_string().contains("no such broker"), "{error}");
    });
}

#[test]
fn brokers_that_are_not_there_are_named_when_the_time_is_over() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = listener.local_addr().unwrap().to_string();
    drop(listener);
    let admin = admin(&dead, Duration::from_millis(2000));
    let begun = Instant::now();
    let error = admin.list_topics().unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    assert!(error.to_string().contains(&dead), "{error}");
    assert!(begun.elapsed() < LONG);
    let error = admin.create_topics(&[NewTopic::new("a", 1, 1)]).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
}

#[test]
fn a_broker_that_never_answers_is_a_time_out() {
    on_io_thread(async {
        let broker = FakeBroker::start(|_, _| Answer::Nothing).await;
        let admin = admin(&broker.address, Duration::from_millis(2000));
        let error = admin.list_topics_async().await.unwrap_err();
        assert!(!error.is_unreachable(), "{error}");
    });
}

#[test]
fn a_blocking_call_works_inside_anothers_runtime() {
    let admin = admin(&"127.0.0.1:1", Duration::from_millis(100));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(runtime.block_on(async { admin.list_topics() }).is_err());
}
