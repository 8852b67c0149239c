//! A span for each batch: from the append of its first record to its acknowledgement or failure.

use streamledger_client_core::accumulator::Callback;
use streamledger_protocol::TopicPartition;
use tracing::Level;
use tracing::field::Empty;

/// Begins a batch's span if anybody listens to target `streamledger::batch` at DEBUG, and gives
/// what ends it. While nobody does, a batch costs one look at an atomic.
pub(crate) fn batch_opened(to: &TopicPartition) -> Option<Callback> {
    if !tracing::enabled!(target: "streamledger::batch", Level::DEBUG) {
        return None;
    }
    let span = tracing::debug_span!(
        target: "streamledger::batch",
        "batch",
        messaging.system = "kafka",
        messaging.destination.name = to.topic.as_str(),
        messaging.destination.partition.id = to.partition.0,
        messaging.kafka.offset = Empty,
        attempts = Empty,
        error = Empty,
    );
    Some(Box::new(move |end| match end {
        Ok(first) => {
            span.record("messaging.kafka.offset", first.offset.map(|offset| offset.0));
        }
        Err(failure) => {
            span.record("attempts", failure.attempts);
            span.record("error", tracing::field::display(&failure));
        }
    }))
}
