//! Interceptors see each record and its end, on every way of sending.

#![allow(clippy::unwrap_used, reason = "a test ends where it can't go on")]

mod support;

use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use streamledger::{
    ErrorCode, InterceptedRecord, Interceptor, OnEnd, PartitionIndex, ProduceError, Producer,
    ProducerRecord, StringSerializer, TypedProducer, TypedRecord,
};
use support::{FakeCluster, Fault};

const LIMIT: Duration = Duration::from_secs(20);

/// Writes down each end, and sends records of key `7` to partition 2.
#[derive(Clone, Default)]
struct Watch(Arc<Mutex<Vec<String>>>);

impl Interceptor for Watch {
    fn on_send(&self, record: &mut InterceptedRecord<'_>) -> Option<OnEnd> {
        if record.key.as_deref() == Some(b"7") {
            record.partition = Some(PartitionIndex(2));
            record.value = Some(Cow::Owned(b"seven".to_vec()));
        }
        let ends = Arc::clone(&self.0);
        Some(Box::new(move |end| {
            ends.lock().unwrap().push(match end {
                Ok(metadata) => metadata.topic_partition.to_string(),
                Err(error) => error.to_string(),
            });
        }))
    }
}

struct Panics;

impl Interceptor for Panics {
    fn on_send(&self, record: &mut InterceptedRecord<'_>) -> Option<OnEnd> {
        match record.key.as_deref() {
            Some(b"panic at send") => panic!("on purpose"),
            _ => Some(Box::new(|_| panic!("on purpose"))),
        }
    }
}

#[test]
fn a_record_may_be_changed_before_its_partition_is_chosen_on_every_way_of_sending() {
    let cluster = FakeCluster::start(3);
    let watch = Watch::default();
    let builder = Producer::builder(cluster.config(&[])).interceptor(watch.clone());
    let producer = builder.interceptor(Panics).build().unwrap();
    let record = || ProducerRecord::to("clicks").key("7").value("7");
    producer.send(record()).unwrap().wait().unwrap();
    producer.try_send(record()).unwrap().wait().unwrap();
    let (told, end) = std::sync::mpsc::channel();
    producer.send_with(record(), move |result| told.send(result.is_ok()).unwrap()).unwrap();
    assert!(end.recv().unwrap());
    producer.send_all([record(), record()]).unwrap().wait();
    let typed = TypedProducer::new(producer.clone(), StringSerializer, StringSerializer);
    typed.send(TypedRecord::to("clicks").key("7").value("7")).unwrap().wait().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        producer.send_async(record()).await.unwrap().await.unwrap();
        let record = TypedRecord::to("clicks").key("7").value("7");
        typed.send_async(record).await.unwrap().await.unwrap();
    });
    // Callbacks come after the futures; a closed producer has called all.
    producer.close(LIMIT);
    assert_eq!(cluster.values("clicks", 2), ["seven"; 8]);
    assert_eq!(*watch.0.lock().unwrap(), ["clicks-2"; 8]);
}

#[test]
fn a_panicking_interceptor_breaks_neither_the_record_nor_the_producer() {
    let cluster = FakeCluster::start(1);
    let producer = Producer::builder(cluster.config(&[])).interceptor(Panics).build().unwrap();
    for key in ["panic at send", "panic at the end", "after"] {
        producer.send(ProducerRecord::to("clicks").key(key).value(key)).unwrap().wait().unwrap();
    }
    assert_eq!(cluster.values("clicks", 0), ["panic at send", "panic at the end", "after"]);
}

#[test]
fn an_interceptor_learns_of_every_failure_also_of_records_that_were_not_accepted() {
    let cluster = FakeCluster::start(1);
    let watch = Watch::default();
    let builder = Producer::builder(cluster.config(&[("max.request.size", "1000")]));
    let producer = builder.interceptor(watch.clone()).build().unwrap();
    let too_large = producer.send(ProducerRecord::to("clicks").value(&[0; 2000])).unwrap_err();
    assert!(matches!(too_large, ProduceError::RecordTooLarge { .. }));
    let nowhere = ProducerRecord::to("clicks").partition(PartitionIndex(-1));
    let nowhere = producer.try_send(nowhere).unwrap_err();
    cluster.fault(Fault::Error(ErrorCode::TopicAuthorizationFailed));
    let refused = producer.send(ProducerRecord::to("clicks").value("1")).unwrap().wait();
    let refused = refused.unwrap_err();
    producer.close(LIMIT);
    let expected = [too_large.to_string(), nowhere.to_string(), refused.to_string()];
    assert_eq!(*watch.0.lock().unwrap(), expected);
}
