//! What a cluster wants to know of a client, as one answer said it.

use std::time::Duration;

use streamledger_protocol::compression::is_built_in;
use streamledger_protocol::messages::GetTelemetrySubscriptionsResponse;
use streamledger_protocol::{ClientInstanceId, Codec};

/// How long to wait where a cluster names no interval (`DEFAULT_PUSH_INTERVAL_MS`).
pub(super) const INTERVAL_DEFAULT: Duration = Duration::from_secs(300);
/// No cluster is told more often: what Kafka's brokers let be set (`interval.ms`).
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The most bytes of a push where a cluster names no number: what Kafka's brokers take
/// (`telemetry.max.bytes`).
const BYTES_MAX_DEFAULT: usize = 1024 * 1024;

/// What a cluster wants to know of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// What the cluster calls the client.
    pub client_instance_id: ClientInstanceId,
    /// The subscription's number.
    pub id: i32,
    /// How pushes are compressed.
    pub codec: Codec,
    /// The time between pushes.
    pub interval: Duration,
    /// The most bytes of a push, compressed.
    pub bytes_max: usize,
    /// Whether counters are pushed as what they grew by.
    pub is_delta: bool,
    wanted: Wanted,
}

/// Which metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    None,
    All,
    /// Those whose names begin with one of these.
    Prefixes(Vec<String>),
}

impl Subscription {
    /// Reads an answer; nothing if it doesn't say what the client is called.
    #[must_use]
    pub fn of(response: &GetTelemetrySubscriptionsResponse) -> Option<Self> {
        if response.client_instance_id.is_zero() {
            return None;
        }
        let interval_ms = u64::try_from(response.push_interval_ms).unwrap_or(0);
        let bytes_max = usize::try_from(response.telemetry_max_bytes).unwrap_or(0);
        let wanted = match response.requested_metrics.as_slice() {
            [] => Wanted::None,
            [one] if one.is_empty() => Wanted::All,
            prefixes => Wanted::Prefixes(prefixes.to_vec()),
        };
        Some(Self {
            client_instance_id: response.client_instance_id,
            id: response.subscription_id,
            codec: preferred_codec(&response.accepted_compression_types),
            interval: match interval_ms {
                0 => INTERVAL_DEFAULT,
                millis => Duration::from_millis(millis).max(INTERVAL_MIN),
            },
            bytes_max: if bytes_max == 0 { BYTES_MAX_DEFAULT } else { bytes_max },
            is_delta: response.delta_temporality,
            wanted,
        })
    }

    /// Whether anything is wanted.
    #[must_use]
    pub fn wants_any(&self) -> bool {
        self.wanted != Wanted::None
    }

    /// Whether the metric of this name is wanted.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        match &self.wanted {
            Wanted::None => false,
            Wanted::All => true,
            Wanted::Prefixes(prefixes) => {
                prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
            }
        }
    }
}

/// The first that is accepted and built in; uncompressed is always accepted.
fn preferred_codec(accepted: &[i8]) -> Codec {
    let known = accepted.iter().filter_map(|code| match code {
        0..=4 => Codec::from_attributes(i16::from(*code)).ok(),
        _ => None,
    });
    known.into_iter().find(|codec| is_built_in(*codec)).unwrap_or(Codec::None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(requested: &[&str]) -> GetTelemetrySubscriptionsResponse {
        GetTelemetrySubscriptionsResponse {
            client_instance_id: ClientInstanceId([7; 16]),
            requested_metrics: requested.iter().map(|&name| name.to_owned()).collect(),
            ..GetTelemetrySubscriptionsResponse::default()
        }
    }

    #[test]
    fn names_are_wanted_by_their_beginnings() {
        let name = "org.apache.kafka.producer.node.request.latency.avg";
        for (requested, wants_any, wants) in [
            (&[][..], false, false),
            (&[""], true, true),
            (&["org.apache.kafka.producer."], true, true),
            (&["org.apache.kafka.consumer.", "org.apache.kafka.producer.node"], true, true),
            (&["org.apache.kafka.consumer."], true, false),
            (&["kafka.producer"], true, false),
            (&["*"], true, false),
            (&["", "other"], true, true),
        ] {
            let subscription = Subscription::of(&answer(requested)).unwrap();
            assert_eq!(subscription.wants_any(), wants_any, "{requested:?}");
            assert_eq!(subscription.wants(name), wants, "{requested:?}");
        }
    }

    #[test]
    fn the_first_accepted_codec_that_is_known_is_taken() {
        assert_eq!(preferred_codec(&[]), Codec::None);
        assert_eq!(preferred_codec(&[9, -1, 0]), Codec::None);
        let lz4 = if is_built_in(Codec::Lz4) { Codec::Lz4 } else { Codec::None };
        assert_eq!(preferred_codec(&[77, 3]), lz4);
    }

    #[test]
    fn what_an_answer_leaves_open_has_kafkas_default() {
        let subscription = Subscription::of(&answer(&[""])).unwrap();
        assert_eq!(subscription.interval, INTERVAL_DEFAULT);
        assert_eq!(subscription.bytes_max, BYTES_MAX_DEFAULT);
        let nameless = GetTelemetrySubscriptionsResponse::default();
        assert_eq!(Subscription::of(&nameless), None);
        let negative = GetTelemetrySubscriptionsResponse {
            push_interval_ms: -5,
            telemetry_max_bytes: -5,
            ..answer(&[])
        };
        assert_eq!(Subscription::of(&negative).unwrap().interval, INTERVAL_DEFAULT);
        assert_eq!(Subscription::of(&negative).unwrap().bytes_max, BYTES_MAX_DEFAULT);
        let hasty = GetTelemetrySubscriptionsResponse { push_interval_ms: 1, ..answer(&[]) };
        assert_eq!(Subscription::of(&hasty).unwrap().interval, INTERVAL_MIN);
    }
}
