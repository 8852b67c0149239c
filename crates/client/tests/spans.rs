//! Spans of records and batches end where the records do: at the acknowledgement.

#![allow(clippy::unwrap_used, reason = "a test ends where it can't go on")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use streamledger::{Producer, ProducerRecord, TraceContext, TraceParent};
use support::FakeCluster;
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Spans by their number: name, fields, and whether they are over.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<BTreeMap<u64, Seen>>>);

#[derive(Clone, Default, Debug)]
struct Seen {
    target: &'static str,
    fields: BTreeMap<&'static str, String>,
    is_over: bool,
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl tracing::field::Visit for Fields<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl<S: tracing::Subscriber> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        let mut seen = Seen { target: attributes.metadata().target(), ..Seen::default() };
        attributes.record(&mut Fields(&mut seen.fields));
        self.0.lock().unwrap().insert(id.into_u64(), seen);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut spans = self.0.lock().unwrap();
        values.record(&mut Fields(&mut spans.get_mut(&id.into_u64()).unwrap().fields));
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.0.lock().unwrap().get_mut(&id.into_u64()).unwrap().is_over = true;
    }
}

impl Spans {
    fn of(&self, target: &str) -> Vec<Seen> {
        let spans = self.0.lock().unwrap();
        spans.values().filter(|seen| seen.target == target).cloned().collect()
    }
}

/// Callbacks come right after the futures, on another thread.
fn await_count(count: impl Fn() -> usize, expected: usize) {
    for _ in 0..6000 {
        if count() == expected {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{} instead of {expected}", count());
}

#[test]
fn spans_of_records_and_batches_end_at_the_acknowledgement_and_carry_its_outcome() {
    let spans = Spans::default();
    // The spans are closed on the producer's own thread.
    let layers = tracing_subscriber::registry().with(spans.clone());
    tracing::subscriber::set_global_default(layers).unwrap();
    let cluster = FakeCluster::start(1);
    let builder = Producer::builder(cluster.config(&[("linger.ms", "5000")]));
    let producer = builder.interceptor(TraceContext::new().sample_one_in(2)).build().unwrap();
    let send = |value: &str| producer.send(ProducerRecord::to("clicks").value(value)).unwrap();
    let first = send("first");
    producer.flush().unwrap();
    first.wait().unwrap();
    cluster.state.silent.store(true, std::sync::atomic::Ordering::Relaxed);
    let held = [send("a"), send("b"), send("c"), send("d")];
    let over = |target: &str| spans.of(target).iter().filter(|seen| seen.is_over).count();
    await_count(|| over("streamledger::record"), 1);
    // Not acknowledged, not over: of five traces the 1st, 3rd and 5th are sampled.
    assert_eq!((spans.of("streamledger::record").len(), over("streamledger::record")), (3, 1));
    assert_eq!((spans.of("streamledger::batch").len(), over("streamledger::batch")), (2, 1));
    producer.close(std::time::Duration::ZERO);
    assert!(held.into_iter().all(|delivery| delivery.wait().is_err()));
    assert_eq!((over("streamledger::record"), over("streamledger::batch")), (3, 2));
    let records = spans.of("streamledger::record");
    assert_eq!(records[0].fields["messaging.kafka.offset"], "0");
    assert!(records[1].fields["error"].contains("the producer was closed"), "{records:?}");
    let first = &cluster.stored("clicks", 0)[0];
    let (name, value) = &first.headers[0];
    let header = String::from_utf8(value.clone().unwrap()).unwrap();
    let parent: TraceParent = header.parse().unwrap();
    assert_eq!((name.as_str(), parent.is_sampled()), ("traceparent", true));
    assert_eq!(records[0].fields["trace_id"], format!("{:032x}", parent.trace_id));
}
