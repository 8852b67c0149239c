//! Telemetry as a whole: what it asks and pushes, and when.

use std::sync::Arc;
use std::time::{Duration, Instant};

use streamledger_protocol::Codec;
use streamledger_protocol::compression::{Decompressor, is_built_in};
use streamledger_protocol::messages::GetTelemetrySubscriptionsResponse;

use super::*;
use crate::test_clock;

const INTERVAL: Duration = Duration::from_secs(10);

/// Always the middle: the first push after one interval.
struct Middle;

impl RandomSource for Middle {
    fn next_u32(&self) -> u32 {
        u32::MAX / 2
    }
}

struct Rig {
    telemetry: Telemetry,
    now: Instant,
}

fn wants(requested: &str) -> GetTelemetrySubscriptionsResponse {
    GetTelemetrySubscriptionsResponse {
        client_instance_id: ClientInstanceId([7; 16]),
        subscription_id: 42,
        push_interval_ms: 10_000,
        telemetry_max_bytes: 100_000,
        requested_metrics: vec![requested.to_owned()],
        ..GetTelemetrySubscriptionsResponse::default()
    }
}

fn reading(name: &'static str, kind: ReadingKind, value: f64) -> Reading {
    Reading { name: name.into(), labels: Vec::new(), kind, value }
}

impl Rig {
    fn new() -> Self {
        let now = test_clock::some_moment();
        let config = TelemetryConfig { resource: Vec::new(), began_unix_nanos: 1 };
        Self { telemetry: Telemetry::new(now, config, Arc::new(Middle)), now }
    }

    /// One whose cluster wants everything.
    fn subscribed(response: GetTelemetrySubscriptionsResponse) -> Self {
        let mut rig = Self::new();
        let question = rig.asked();
        rig.answer(question, response);
        rig
    }

    fn poll(&mut self) -> Option<Effect> {
        self.telemetry.poll(self.now)
    }

    fn handle(&mut self, event: Event) {
        self.telemetry.handle(self.now, event);
    }

    fn asked(&mut self) -> u64 {
        match self.poll() {
            Some(Effect::AskSubscription { question, .. }) => question,
            other => panic!("not asked: {other:?}"),
        }
    }

    fn answer(&mut self, question: u64, response: GetTelemetrySubscriptionsResponse) {
        self.handle(Event::Subscription { question, answer: Some(Box::new(response)) });
    }

    /// Lets time pass until something is due, and says how much that was.
    fn wait(&mut self) -> Duration {
        let due = self.telemetry.next_wakeup().expect("something to wait for");
        let wait = due.saturating_duration_since(self.now);
        if let Some(before) = wait.checked_sub(Duration::from_millis(1)) {
            assert_eq!(self.telemetry.poll(self.now + before), None, "nothing happens early");
        }
        self.now = self.now.max(due);
        wait
    }

    /// Collects and pushes, as it is due now.
    fn push(&mut self, readings: Vec<Reading>, unix_nanos: u64) -> (u64, PushTelemetryRequest) {
        assert_eq!(self.poll(), Some(Effect::Collect));
        self.handle(Event::Collected { readings, unix_nanos });
        match self.poll() {
            Some(Effect::Push { question, request, .. }) => (question, request),
            other => panic!("not pushed: {other:?}"),
        }
    }

    fn pushed(&mut self, question: u64, error: ErrorCode) {
        self.handle(Event::Pushed { question, answer: Some(error), possibly_sent: true });
    }
}

/// The only `double` of a push with one reading that has no labels.
fn value_of(push: &PushTelemetryRequest) -> f64 {
    let at = push.metrics.windows(10).position(|window| window[0] == 0x19 && window[9] == 0x21);
    let from = at.expect("a data point") + 10;
    f64::from_le_bytes(push.metrics[from..from + 8].try_into().unwrap())
}

#[test]
fn a_client_asks_waits_pushes_and_pushes_once_more_when_it_ends() {
    let mut rig = Rig::new();
    let question = rig.asked();
    assert_eq!((rig.poll(), rig.telemetry.next_wakeup()), (None, None));
    rig.answer(question, wants(""));
    assert_eq!(rig.telemetry.client_instance_id(), Some(ClientInstanceId([7; 16])));
    assert!(rig.wait().abs_diff(INTERVAL) < Duration::from_millis(1));
    let (question, push) = rig.push(vec![reading("a", ReadingKind::Gauge, 1.0)], 5);
    assert_eq!((push.client_instance_id, push.subscription_id), (ClientInstanceId([7; 16]), 42));
    assert!(!push.terminating);
    rig.pushed(question, ErrorCode::None);
    assert_eq!(rig.wait(), INTERVAL);
    let (question, _) = rig.push(Vec::new(), 6);
    rig.pushed(question, ErrorCode::None);

    rig.handle(Event::Closing);
    let (question, last) = rig.push(vec![reading("a", ReadingKind::Gauge, 2.0)], 7);
    assert!(last.terminating);
    assert_eq!(value_of(&last), 2.0);
    rig.pushed(question, ErrorCode::None);
    assert_eq!(rig.telemetry.state(), TelemetryState::Ended);
    assert_eq!((rig.poll(), rig.telemetry.next_wakeup()), (None, None));
}

#[test]
fn the_first_push_waits_for_half_to_one_and_a_half_intervals() {
    struct Fixed(u32);
    impl RandomSource for Fixed {
        fn next_u32(&self) -> u32 {
            self.0
        }
    }
    let now = test_clock::some_moment();
    for (random, expected) in [(0, INTERVAL / 2), (u32::MAX, INTERVAL * 3 / 2)] {
        let mut telemetry =
            Telemetry::new(now, TelemetryConfig::default(), Arc::new(Fixed(random)));
        assert!(telemetry.poll(now).is_some());
        let answer = Some(Box::new(wants("")));
        telemetry.handle(now, Event::Subscription { question: 1, answer });
        assert_eq!(telemetry.next_wakeup(), Some(now + expected));
    }
}

#[test]
fn a_cluster_that_wants_nothing_is_asked_again_after_an_interval() {
    let response = GetTelemetrySubscriptionsResponse { requested_metrics: Vec::new(), ..wants("") };
    let mut rig = Rig::subscribed(response);
    assert_eq!(rig.wait(), INTERVAL);
    let again = rig.poll();
    let Some(Effect::AskSubscription { request, .. }) = again else { panic!("{again:?}") };
    assert_eq!(request.client_instance_id, ClientInstanceId([7; 16]), "it keeps its name");
}

#[test]
fn only_what_is_wanted_is_pushed() {
    let mut rig = Rig::subscribed(wants("org.apache.kafka.producer."));
    rig.wait();
    let readings = vec![
        reading("org.apache.kafka.consumer.a", ReadingKind::Gauge, 1.0),
        reading("org.apache.kafka.producer.b", ReadingKind::Gauge, 2.0),
    ];
    let (_, push) = rig.push(readings, 5);
    assert_eq!(value_of(&push), 2.0);
    assert!(!push.metrics.windows(8).any(|window| window == b"consumer"));
}

#[test]
fn growth_is_pushed_once_unless_it_was_surely_refused() {
    let delta = GetTelemetrySubscriptionsResponse { delta_temporality: true, ..wants("") };
    let mut rig = Rig::subscribed(delta);
    let mut grown = |total: f64, answer: Option<ErrorCode>, possibly_sent: bool| {
        rig.wait();
        let (question, push) = rig.push(vec![reading("a", ReadingKind::Counter, total)], 5);
        rig.handle(Event::Pushed { question, answer, possibly_sent });
        if rig.telemetry.state() == TelemetryState::SubscriptionNeeded {
            rig.wait();
            let question = rig.asked();
            let delta = GetTelemetrySubscriptionsResponse { delta_temporality: true, ..wants("") };
            rig.answer(question, delta);
        }
        value_of(&push)
    };
    assert_eq!(grown(10.0, Some(ErrorCode::None), true), 10.0);
    assert_eq!(grown(12.0, Some(ErrorCode::ThrottlingQuotaExceeded), true), 2.0);
    assert_eq!(grown(15.0, Some(ErrorCode::UnknownSubscriptionId), true), 5.0);
    assert_eq!(grown(17.0, None, true), 7.0, "who knows whether it arrived");
    assert_eq!(grown(20.0, None, false), 3.0);
    assert_eq!(grown(21.0, Some(ErrorCode::None), true), 4.0);
}

#[test]
fn a_sum_is_pushed_whole_each_time() {
    let mut rig = Rig::subscribed(wants(""));
    for total in [10.0, 12.0] {
        rig.wait();
        let (question, push) = rig.push(vec![reading("a", ReadingKind::Counter, total)], 5);
        rig.pushed(question, ErrorCode::None);
        assert_eq!(value_of(&push), total);
    }
}

#[test]
fn after_each_error_it_does_what_the_error_says() {
    let after = |error| {
        let mut rig = Rig::subscribed(wants(""));
        rig.wait();
        let (question, _) = rig.push(Vec::new(), 5);
        rig.pushed(question, error);
        let wait = rig.telemetry.next_wakeup().map(|due| due - rig.now);
        (rig.telemetry.state(), wait)
    };
    use TelemetryState::{Ended, PushNeeded, SubscriptionNeeded};
    for (error, state, wait) in [
        (ErrorCode::UnknownSubscriptionId, SubscriptionNeeded, Some(Duration::ZERO)),
        (ErrorCode::UnsupportedCompressionType, SubscriptionNeeded, Some(Duration::ZERO)),
        (ErrorCode::TelemetryTooLarge, PushNeeded, Some(INTERVAL)),
        (ErrorCode::ThrottlingQuotaExceeded, PushNeeded, Some(INTERVAL)),
        (ErrorCode::RequestTimedOut, SubscriptionNeeded, Some(INTERVAL)),
        (ErrorCode::InvalidRecord, Ended, None),
        (ErrorCode::InvalidRequest, Ended, None),
    ] {
        assert_eq!(after(error), (state, wait), "{error}");
    }
}

#[test]
fn a_broker_that_never_knows_the_subscription_is_not_hammered() {
    let mut rig = Rig::subscribed(wants(""));
    let began = rig.now;
    for _ in 0..20 {
        rig.wait();
        let (question, _) = rig.push(Vec::new(), 5);
        rig.pushed(question, ErrorCode::UnknownSubscriptionId);
        let question = rig.asked();
        rig.answer(question, wants(""));
    }
    assert!(rig.now - began > INTERVAL * 19, "{:?}", rig.now - began);
}

#[test]
fn without_answers_the_pauses_grow_to_five_minutes() {
    let mut rig = Rig::new();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let question = rig.asked();
        rig.handle(Event::Subscription { question, answer: None });
        pauses.push(rig.wait().as_secs_f64().round());
    }
    assert_eq!(pauses[..4], [1.0, 2.0, 4.0, 8.0]);
    assert_eq!(pauses[11], 300.0);
}

#[test]
fn a_cluster_without_telemetry_is_looked_at_again_after_five_minutes() {
    let mut rig = Rig::new();
    let question = rig.asked();
    rig.handle(Event::NotServed { question });
    assert_eq!(rig.wait(), INTERVAL_DEFAULT);
    rig.asked();
}

#[test]
fn a_push_is_cut_to_what_the_broker_takes_the_last_readings_first() {
    let small = GetTelemetrySubscriptionsResponse { telemetry_max_bytes: 2000, ..wants("") };
    let mut rig = Rig::subscribed(small);
    rig.wait();
    let names: Vec<String> = (0..1000).map(|number| format!("metric.{number:04}.")).collect();
    let readings = |names: &[String]| {
        let reading = |name: &String| Reading {
            name: name.clone().into(),
            ..reading("", ReadingKind::Gauge, 1.0)
        };
        names.iter().map(reading).collect::<Vec<_>>()
    };
    assert_eq!(rig.poll(), Some(Effect::Collect));
    rig.handle(Event::Collected { readings: readings(&names), unix_nanos: 5 });
    let pushed = rig.poll();
    let Some(Effect::Push { question, request, left_out }) = pushed else { panic!("{pushed:?}") };
    let has = |request: &PushTelemetryRequest, name: &str| {
        request.metrics.windows(name.len()).any(|window| window == name.as_bytes())
    };
    assert!(request.metrics.len() <= 2000 && left_out > 900, "{left_out}");
    assert!(has(&request, "metric.0000.") && !has(&request, "metric.0999."));

    // The broker finds that too large all the same: less the next time.
    rig.pushed(question, ErrorCode::TelemetryTooLarge);
    rig.wait();
    let (_, smaller) = rig.push(readings(&names), 6);
    assert!(smaller.metrics.len() <= request.metrics.len().max(2 * 1024) / 2);
    assert!(has(&smaller, "metric.0000."));
}

#[test]
fn a_push_is_compressed_as_the_cluster_accepts_it() {
    for codec in Codec::ALL.into_iter().filter(|codec| is_built_in(*codec)) {
        let accepted_compression_types = vec![99, codec.attributes() as i8, 0];
        let response =
            GetTelemetrySubscriptionsResponse { accepted_compression_types, ..wants("") };
        let mut rig = Rig::subscribed(response);
        rig.wait();
        let (_, push) = rig.push(vec![reading("a", ReadingKind::Gauge, 3.0)], 5);
        assert_eq!(push.compression_type, codec.attributes() as i8);
        let metrics = Decompressor::default().decompress_owned(codec, &push.metrics).unwrap();
        assert_eq!(value_of(&PushTelemetryRequest { metrics, ..push }), 3.0);
    }
}

#[test]
fn answers_to_earlier_questions_change_nothing() {
    let mut rig = Rig::subscribed(wants(""));
    rig.wait();
    let (first, _) = rig.push(Vec::new(), 5);
    rig.handle(Event::Closing);
    let (last, push) = rig.push(Vec::new(), 6);
    assert!(push.terminating);
    rig.pushed(first, ErrorCode::UnknownSubscriptionId);
    rig.handle(Event::Subscription { question: 1, answer: Some(Box::new(wants(""))) });
    assert_eq!(rig.telemetry.state(), TelemetryState::LastPushing);
    rig.pushed(last, ErrorCode::None);
    assert_eq!(rig.telemetry.state(), TelemetryState::Ended);
}

#[test]
fn growth_in_a_push_that_is_on_its_way_is_not_in_the_last_one() {
    let delta = GetTelemetrySubscriptionsResponse { delta_temporality: true, ..wants("") };
    let mut rig = Rig::subscribed(delta);
    rig.wait();
    let (_, push) = rig.push(vec![reading("a", ReadingKind::Counter, 10.0)], 5);
    assert_eq!(value_of(&push), 10.0);
    rig.handle(Event::Closing);
    let (_, last) = rig.push(vec![reading("a", ReadingKind::Counter, 11.0)], 6);
    assert_eq!(value_of(&last), 1.0);
}

#[test]
fn a_client_that_was_never_asked_ends_without_a_push() {
    let mut rig = Rig::new();
    let question = rig.asked();
    rig.handle(Event::Closing);
    assert_eq!(rig.telemetry.state(), TelemetryState::Ended);
    rig.answer(question, wants(""));
    assert_eq!((rig.poll(), rig.telemetry.state()), (None, TelemetryState::Ended));
}
