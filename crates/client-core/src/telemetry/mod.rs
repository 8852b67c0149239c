//! Client telemetry (KIP-714): what the cluster wants to know of a client, and when it is told.
//!
//! 1. One question at a time; an answer to an earlier one changes nothing.
//! 2. Nothing is asked twice without a wait between, whatever the broker answers.
//! 3. What is pushed is no larger than asked for, and a growth is pushed at most once.
//!
//! Reading order: `state` (the table), `verdict` (what an answer means), `subscription` and
//! `reading`, `payload` and `metrics_data` (what is pushed), then [`Telemetry`] itself.

mod metrics_data;
mod payload;
mod protobuf;
mod reading;
mod state;
mod subscription;
#[cfg(test)]
mod tests;
mod verdict;

use std::sync::Arc;
use std::time::{Duration, Instant};

use streamledger_protocol::messages::{
    GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse, PushTelemetryRequest,
};
use streamledger_protocol::{ClientInstanceId, ErrorCode};

pub use reading::{Label, Reading, ReadingKind, telemetry_name};
pub use state::{TelemetryState, TelemetryStep};
pub use subscription::Subscription;
pub use verdict::{TelemetryQuestion, TelemetryVerdict, judge_telemetry};

use crate::partitioner::RandomSource;
use crate::sender::Backoff;
use payload::{Baseline, Payload};
use subscription::INTERVAL_DEFAULT;

/// What telemetry needs to know of its client.
#[derive(Debug, Clone, Default)]
pub struct TelemetryConfig {
    /// What the client is, beside what its requests say: `transactional_id`, `client_rack` ...
    pub resource: Vec<Label>,
    /// When the client began, nanoseconds since 1970.
    pub began_unix_nanos: u64,
}

/// What happens.
#[derive(Debug)]
pub enum Event {
    /// What came of a question about the subscription; none if nothing came.
    Subscription {
        /// The question's number.
        question: u64,
        /// The answer.
        answer: Option<Box<GetTelemetrySubscriptionsResponse>>,
    },
    /// No broker that is connected takes metrics.
    NotServed {
        /// The question's number.
        question: u64,
    },
    /// The metrics, as [`Effect::Collect`] wanted them: the most important first.
    Collected {
        /// Their values.
        readings: Vec<Reading>,
        /// The wall time, nanoseconds since 1970.
        unix_nanos: u64,
    },
    /// What came of a push; none if nothing came.
    Pushed {
        /// The push's number.
        question: u64,
        /// The answer's error.
        answer: Option<ErrorCode>,
        /// Whether the broker may have it though nothing came.
        possibly_sent: bool,
    },
    /// The client ends: metrics are pushed once more, if they ever were wanted.
    Closing,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask a broker what it wants.
    AskSubscription {
        /// The question's number.
        question: u64,
        /// What to ask.
        request: GetTelemetrySubscriptionsRequest,
    },
    /// Read the metrics and hand them in at once, as [`Event::Collected`].
    Collect,
    /// Push to the broker that was asked.
    Push {
        /// The push's number.
        question: u64,
        /// What to push.
        request: PushTelemetryRequest,
        /// How many readings did not fit.
        left_out: usize,
    },
}

/// The telemetry of one client.
pub struct Telemetry {
    config: TelemetryConfig,
    random: Arc<dyn RandomSource>,
    state: TelemetryState,
    subscription: Option<Subscription>,
    /// When what the state waits to do is due.
    due: Instant,
    /// The number of the question that is open, or was last.
    question: u64,
    is_collecting: bool,
    outbox: Option<Effect>,
    /// Failures to get an answer in a row.
    failures: u32,
    /// The most bytes of a push, when a broker has refused what it said it would take.
    bytes_max: Option<usize>,
    pushed: Baseline,
    /// What counters have been pushed up to if the push that is open arrives.
    pushing: Option<(Baseline, usize)>,
}

/// Waits after questions without an answer.
const PAUSE: Backoff = Backoff { first: Duration::from_secs(1), max: INTERVAL_DEFAULT };
/// Pushes are not made smaller than that.
const BYTES_MAX_FLOOR: usize = 1024;

impl Telemetry {
    /// Begins: the first question is due at once.
    #[must_use]
    pub fn new(now: Instant, config: TelemetryConfig, random: Arc<dyn RandomSource>) -> Self {
        Self {
            config,
            random,
            state: TelemetryState::SubscriptionNeeded,
            subscription: None,
            due: now,
            question: 0,
            is_collecting: false,
            outbox: None,
            failures: 0,
            bytes_max: None,
            pushed: Baseline::default(),
            pushing: None,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> TelemetryState {
        self.state
    }

    /// What the cluster calls the client, once it has said so.
    #[must_use]
    pub fn client_instance_id(&self) -> Option<ClientInstanceId> {
        self.subscription.as_ref().map(|subscription| subscription.client_instance_id)
    }

    /// What the cluster wants, as it said last.
    #[must_use]
    pub fn subscription(&self) -> Option<&Subscription> {
        self.subscription.as_ref()
    }

    /// When to poll again, if nothing happens until then.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        match self.state {
            TelemetryState::SubscriptionNeeded
            | TelemetryState::PushNeeded
            | TelemetryState::LastPushNeeded => Some(self.due),
            TelemetryState::SubscriptionAsked
            | TelemetryState::Pushing
            | TelemetryState::LastPushing
            | TelemetryState::Ended => None,
        }
    }

    /// What to do now, if anything.
    #[must_use]
    pub fn poll(&mut self, now: Instant) -> Option<Effect> {
        if let Some(effect) = self.outbox.take() {
            return Some(effect);
        }
        if self.is_collecting || self.next_wakeup().is_none_or(|due| due > now) {
            return None;
        }
        if self.state == TelemetryState::SubscriptionNeeded {
            self.step(TelemetryStep::Due);
            let client_instance_id = self.client_instance_id().unwrap_or_default();
            let request = GetTelemetrySubscriptionsRequest { client_instance_id };
            return Some(Effect::AskSubscription { question: self.next_question(), request });
        }
        self.is_collecting = true;
        Some(Effect::Collect)
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Subscription { question, answer } if self.is_asking(question) => {
                self.on_subscription(now, answer);
            }
            Event::NotServed { question } if self.is_asking(question) => {
                self.ask_again(now, INTERVAL_DEFAULT);
            }
            Event::Collected { readings, unix_nanos } => self.push(&readings, unix_nanos),
            Event::Pushed { question, answer, possibly_sent } if self.is_pushing(question) => {
                self.on_pushed(now, answer, possibly_sent);
            }
            Event::Closing => self.close(now),
            // Answers to earlier questions.
            Event::Subscription { .. } | Event::NotServed { .. } | Event::Pushed { .. } => {}
        }
    }

    fn on_subscription(
        &mut self,
        now: Instant,
        answer: Option<Box<GetTelemetrySubscriptionsResponse>>,
    ) {
        let error = answer.as_ref().map(|response| response.error_code);
        match judge_telemetry(TelemetryQuestion::Subscription, error) {
            TelemetryVerdict::Accepted => {
                match answer.and_then(|response| Subscription::of(&response)) {
                    Some(subscription) => self.subscribe(now, subscription),
                    None => self.ask_again(now, INTERVAL_DEFAULT),
                }
            }
            TelemetryVerdict::GiveUp => self.step(TelemetryStep::GaveUp),
            TelemetryVerdict::AskAfterPause => self.ask_after_pause(now),
            TelemetryVerdict::AskNow
            | TelemetryVerdict::AskLater
            | TelemetryVerdict::PushLater
            | TelemetryVerdict::PushLess => self.ask_again(now, self.interval()),
        }
    }

    fn subscribe(&mut self, now: Instant, subscription: Subscription) {
        self.failures = 0;
        self.bytes_max = None;
        if self.subscription.as_ref().is_some_and(|old| old.is_delta != subscription.is_delta) {
            self.pushed = Baseline::default();
        }
        let (interval, wants_any) = (subscription.interval, subscription.wants_any());
        self.subscription = Some(subscription);
        if wants_any {
            // Clients that began together don't push together: half to one and a half intervals.
            let chance = f64::from(self.random.next_u32()) / f64::from(u32::MAX);
            self.due = now + interval.mul_f64(0.5 + chance);
            self.step(TelemetryStep::Subscribed);
        } else {
            self.due = now + interval;
            self.step(TelemetryStep::NothingWanted);
        }
    }

    fn push(&mut self, readings: &[Reading], unix_nanos: u64) {
        let is_wanted = std::mem::take(&mut self.is_collecting) && self.next_wakeup().is_some();
        let Some(subscription) = self.subscription.as_ref().filter(|_| is_wanted) else { return };
        let bytes_max = self.bytes_max.unwrap_or(subscription.bytes_max);
        let payload = Payload::of(
            readings,
            unix_nanos,
            self.config.began_unix_nanos,
            subscription,
            bytes_max.min(subscription.bytes_max),
            &self.pushed,
            &self.config.resource,
        );
        let (client_instance_id, subscription_id) =
            (subscription.client_instance_id, subscription.id);
        self.step(TelemetryStep::Due);
        self.pushing = Some((payload.reached, payload.bytes.len()));
        let request = PushTelemetryRequest {
            client_instance_id,
            subscription_id,
            terminating: self.state == TelemetryState::LastPushing,
            compression_type: payload.codec.attributes() as i8,
            metrics: payload.bytes.into(),
        };
        let (question, left_out) = (self.next_question(), payload.left_out);
        self.outbox = Some(Effect::Push { question, request, left_out });
    }

    fn on_pushed(&mut self, now: Instant, answer: Option<ErrorCode>, possibly_sent: bool) {
        let verdict = judge_telemetry(TelemetryQuestion::Push, answer);
        let is_taken = verdict == TelemetryVerdict::Accepted || answer.is_none() && possibly_sent;
        let (reached, pushed_bytes) = self.pushing.take().unwrap_or_default();
        if is_taken {
            self.pushed = reached;
        }
        match verdict {
            TelemetryVerdict::Accepted => {
                self.failures = 0;
                self.push_again(now);
            }
            TelemetryVerdict::PushLater => self.push_again(now),
            TelemetryVerdict::PushLess => {
                self.bytes_max = Some((pushed_bytes / 2).max(BYTES_MAX_FLOOR));
                self.push_again(now);
            }
            // The push that follows waits for its time, so this can't go round without a wait.
            TelemetryVerdict::AskNow => self.ask_again(now, Duration::ZERO),
            TelemetryVerdict::AskLater => self.ask_again(now, self.interval()),
            TelemetryVerdict::AskAfterPause => self.ask_after_pause(now),
            TelemetryVerdict::GiveUp => self.step(TelemetryStep::GaveUp),
        }
    }

    fn close(&mut self, now: Instant) {
        // A push whose answer isn't there may have arrived.
        if let (TelemetryState::Pushing, Some((reached, _))) = (self.state, self.pushing.take()) {
            self.pushed = reached;
        }
        self.due = now;
        self.step(TelemetryStep::Closing);
    }

    fn push_again(&mut self, now: Instant) {
        self.due = now + self.interval();
        self.step(TelemetryStep::Pushed);
    }

    fn ask_again(&mut self, now: Instant, wait: Duration) {
        self.due = now + wait;
        self.step(TelemetryStep::AskAgain);
    }

    fn ask_after_pause(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.ask_again(now, PAUSE.wait(self.failures, &*self.random));
    }

    fn interval(&self) -> Duration {
        self.subscription.as_ref().map_or(INTERVAL_DEFAULT, |subscription| subscription.interval)
    }

    fn step(&mut self, step: TelemetryStep) {
        self.state = self.state.next(step);
    }

    fn next_question(&mut self) -> u64 {
        self.question += 1;
        self.question
    }

    fn is_asking(&self, question: u64) -> bool {
        self.question == question && self.state == TelemetryState::SubscriptionAsked
    }

    fn is_pushing(&self, question: u64) -> bool {
        self.question == question
            && matches!(self.state, TelemetryState::Pushing | TelemetryState::LastPushing)
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry")
            .field("state", &self.state)
            .field("subscription", &self.subscription)
            .finish_non_exhaustive()
    }
}
