//! The refresher against brokers that move, refuse, stall and come back.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use streamledger_protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use streamledger_protocol::messages::{AnyRequest, AnyResponse, MetadataRequest, MetadataResponse};
use streamledger_protocol::{BrokerId, ErrorCode, LeaderEpoch, PartitionIndex, TopicName};

use super::*;
use crate::config::{ProducerConfig, ServerAddress};
use crate::network::test_server::{Answer, FakeBroker, on_io_thread};
use crate::network::{ConnectionPool, NetworkConfig};

/// A view whose one broker is at `address`, with each topic that was asked for.
pub(crate) fn view(
    id: i32,
    address: &ServerAddress,
    request: &MetadataRequest,
) -> MetadataResponse {
    let broker = MetadataResponseBroker {
        node_id: BrokerId(id),
        host: address.host.clone(),
        port: i32::from(address.port),
        ..Default::default()
    };
    let topics = request.topics.iter().flatten().map(|topic| MetadataResponseTopic {
        name: topic.name.clone(),
        partitions: vec![MetadataResponsePartition {
            leader_id: BrokerId(id),
            leader_epoch: LeaderEpoch(0),
            partition_index: PartitionIndex(0),
            ..Default::default()
        }],
        ..Default::default()
    });
    MetadataResponse { brokers: vec![broker], topics: topics.collect(), ..Default::default() }
}

/// A broker that tells of itself as number `id`.
async fn broker(id: i32) -> FakeBroker {
    let own_address = Rc::new(std::cell::OnceCell::<ServerAddress>::new());
    let told = Rc::clone(&own_address);
    let broker = FakeBroker::start(move |_, request| match request {
        AnyRequest::Metadata(request) => {
            Answer::Respond(AnyResponse::Metadata(view(id, told.get().unwrap(), request)))
        }
        _ => Answer::Close,
    })
    .await;
    own_address.set((*broker.address).clone()).unwrap();
    broker
}

fn refresher(servers: &str) -> MetadataRefresher {
    let config = ProducerConfig::builder()
        .bootstrap_servers(servers)
        .retry_backoff(Duration::from_millis(5))
        .reconnect_backoff(Duration::from_millis(5))
        .reconnect_backoff_max(Duration::from_millis(10))
        .build()
        .unwrap();
    let pool = ConnectionPool::new(NetworkConfig::new(config.client(), config.connections()));
    MetadataRefresher::start(config.client(), true, pool)
}

async fn dead_address() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

fn clicks() -> [TopicName; 1] {
    ["clicks".into()]
}

#[test]
fn a_view_is_asked_for_once_however_many_want_it() {
    on_io_thread(async {
        let broker = broker(7).await;
        let refresher = refresher(&broker.address.to_string());
        let asks = (0..20).map(|_| refresher.refresh(clicks()));
        for outcome in futures_util::future::join_all(asks).await {
            assert!(outcome.unwrap().topic("clicks").is_some());
        }
        let metadata = |(_, request): &&_| matches!(request, AnyRequest::Metadata(_));
        assert!(broker.requests.borrow().iter().filter(metadata).count() <= 2);
        assert_eq!(broker.connection_count.get(), 1);
        let from_elsewhere = refresher.view();
        let seen = std::thread::spawn(move || from_elsewhere.snapshot().generation());
        assert_eq!(seen.join().unwrap(), refresher.snapshot().generation());
    });
}

#[test]
fn the_bootstrap_connection_becomes_that_of_the_broker_it_is() {
    on_io_thread(async {
        let broker = broker(7).await;
        let refresher = refresher(&broker.address.to_string());
        refresher.refresh(clicks()).await.unwrap();
        let connection = refresher.connection_to(BrokerId(7)).await.unwrap();
        assert_eq!(connection.address(), &broker.address);
        assert_eq!(broker.connection_count.get(), 1);
        let unknown = refresher.connection_to(BrokerId(8)).await.err().unwrap();
        assert_eq!(unknown.to_string(), "broker 8:0: the cluster has no such broker now");
    });
}

#[test]
fn one_dead_bootstrap_server_is_passed_over() {
    on_io_thread(async {
        let broker = broker(7).await;
        let refresher = refresher(&format!("{},{}", dead_address().await, broker.address));
        for _ in 0..5 {
            refresher.refresh(clicks()).await.unwrap();
        }
    });
}

#[test]
fn a_broker_that_never_answers_is_overtaken() {
    on_io_thread(async {
        let stuck = FakeBroker::start(|_, _| Answer::Nothing).await;
        let broker = broker(7).await;
        let begun = Instant::now();
        for _ in 0..4 {
            // The order is random: some of these begin with the broker that is stuck.
            let refresher = refresher(&format!("{},{}", stuck.address, broker.address));
            refresher.refresh(clicks()).await.unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    });
}

#[test]
fn when_no_broker_answers_each_is_named_with_the_reason() {
    on_io_thread(async {
        let dead = dead_address().await;
        let mute = FakeBroker::start_raw(|_, _| (None, Answer::Close)).await;
        let refresher = refresher(&format!("{dead},{}", mute.address));
        let unreachable = refresher.refresh(clicks()).await.unwrap_err();
        assert_eq!(unreachable.failures().len(), 2);
        let text = unreachable.to_string();
        assert!(text.starts_with("no broker answered: "), "{text}");
        assert!(text.contains(&format!("{dead}: can't connect")), "{text}");
        assert!(text.contains(&format!("{}: the broker closed", mute.address)), "{text}");
    });
}

#[test]
fn a_cluster_that_was_replaced_is_found_again_by_the_bootstrap_servers() {
    on_io_thread(async {
        let new = broker(2).await;
        let gone: ServerAddress = dead_address().await.parse().unwrap();
        let is_first = Cell::new(true);
        let old = {
            let (gone, new) = (gone.clone(), Arc::clone(&new.address));
            FakeBroker::start(move |_, request| match request {
                AnyRequest::Metadata(request) => {
                    let (id, address) =
                        if is_first.replace(false) { (1, &gone) } else { (2, &*new) };
                    Answer::Respond(AnyResponse::Metadata(view(id, address, request)))
                }
                _ => Answer::Close,
            })
            .await
        };
        let refresher = refresher(&old.address.to_string());
        let first = refresher.refresh(clicks()).await.unwrap();
        assert!(first.broker(BrokerId(1)).is_some());
        let second = refresher.refresh(clicks()).await.unwrap();
        assert!(second.broker(BrokerId(2)).is_some(), "{second:?}");
    });
}

#[test]
fn an_answer_that_asks_to_start_anew_is_followed() {
    on_io_thread(async {
        let count = Rc::new(Cell::new(0));
        let counted = Rc::clone(&count);
        let own = Rc::new(std::cell::OnceCell::<ServerAddress>::new());
        let told = Rc::clone(&own);
        let broker = FakeBroker::start(move |_, request| match request {
            AnyRequest::Metadata(request) => {
                counted.set(counted.get() + 1);
                let mut response = view(1, told.get().unwrap(), request);
                if counted.get() == 2 {
                    response.error_code = ErrorCode::RebootstrapRequired;
                }
                Answer::Respond(AnyResponse::Metadata(response))
            }
            _ => Answer::Close,
        })
        .await;
        own.set((*broker.address).clone()).unwrap();
        let refresher = refresher(&broker.address.to_string());
        refresher.refresh(clicks()).await.unwrap();
        refresher.refresh(clicks()).await.unwrap();
        assert_eq!(count.get(), 3, "the second answer was of no use");
    });
}

#[test]
fn topics_of_no_interest_are_forgotten() {
    on_io_thread(async {
        let broker = broker(7).await;
        let refresher = refresher(&broker.address.to_string());
        refresher.refresh(["a".into(), "b".into()]).await.unwrap();
        refresher.retain_topics(|topic| *topic == "b");
        let snapshot = refresher.refresh([]).await.unwrap();
        assert!(snapshot.topic("a").is_none() && snapshot.topic("b").is_some());
    });
}
