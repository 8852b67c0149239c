//! W3C trace context in a record's headers: <https://www.w3.org/TR/trace-context/>.
//!
//! A record that comes with a valid `traceparent` goes on in that trace, under a new parent id; one
//! without begins a trace. `tracestate` is passed on with a valid `traceparent` and dropped with an
//! invalid one. The span of a sampled record ends at its acknowledgement.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use tracing::field::Empty;

use super::{InterceptedRecord, Interceptor, OnEnd};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
const SAMPLED: u8 = 1;

/// The interceptor that gives each record a `traceparent` header, and each sampled one a span
/// (target `streamledger::record`, level INFO) from send to acknowledgement.
///
/// ```no_run
/// # fn f(config: streamledger::ProducerConfig) -> Result<(), Box<dyn std::error::Error>> {
/// use streamledger::{Producer, TraceContext};
/// let producer = Producer::builder(config)
///     .interceptor(TraceContext::new().sample_one_in(100))
///     .build()?;
/// # Ok(()) }
/// ```
pub struct TraceContext {
    sampled_each: u32,
    begun: AtomicU32,
    current: Option<CurrentParent>,
}

/// Says in which trace the caller is.
type CurrentParent = Box<dyn Fn() -> Option<TraceParent> + Send + Sync>;

impl TraceContext {
    /// Samples each trace that begins here.
    #[must_use]
    pub fn new() -> Self {
        Self { sampled_each: 1, begun: AtomicU32::new(0), current: None }
    }

    /// Samples one in so many of the traces that begin here, and none for 0. A trace that comes
    /// with a record, or from the caller, is sampled if its flags say so.
    #[must_use]
    pub fn sample_one_in(self, traces: u32) -> Self {
        Self { sampled_each: traces, ..self }
    }

    /// Asks `current` for the caller's own trace when a record brings none. Called on the sending
    /// thread.
    #[must_use]
    pub fn current(
        self,
        current: impl Fn() -> Option<TraceParent> + Send + Sync + 'static,
    ) -> Self {
        Self { current: Some(Box::new(current)), ..self }
    }

    /// A trace that begins here.
    fn begin(&self) -> TraceParent {
        let is_sampled = match self.sampled_each {
            0 => false,
            each => self.begun.fetch_add(1, Ordering::Relaxed).is_multiple_of(each),
        };
        let trace_id = (u128::from(random()) << 64) | u128::from(random());
        TraceParent { trace_id, parent_id: 0, flags: if is_sampled { SAMPLED } else { 0 } }
    }
}

impl Default for TraceContext {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceContext").field("sampled_each", &self.sampled_each).finish()
    }
}

impl Interceptor for TraceContext {
    fn on_send(&self, record: &mut InterceptedRecord<'_>) -> Option<OnEnd> {
        let brought = record.header(TRACEPARENT).and_then(TraceParent::parse);
        if brought.is_none() {
            // It belongs to a traceparent that isn't there, or can't be read.
            record.remove_header(TRACESTATE);
        }
        let current = || self.current.as_ref().and_then(|current| current());
        let parent = brought.or_else(current).unwrap_or_else(|| self.begin());
        let own = TraceParent { parent_id: random(), ..parent };
        record.set_header(TRACEPARENT, own.to_string().into_bytes());
        if !own.is_sampled() {
            return None;
        }
        let parent_span_id = (parent.parent_id != 0).then(|| format!("{:016x}", parent.parent_id));
        let span = tracing::info_span!(
            target: "streamledger::record",
            "send",
            otel.kind = "producer",
            messaging.system = "kafka",
            messaging.operation.type = "send",
            messaging.destination.name = record.topic.as_ref(),
            trace_id = format!("{:032x}", own.trace_id),
            span_id = format!("{:016x}", own.parent_id),
            parent_span_id,
            messaging.destination.partition.id = Empty,
            messaging.kafka.offset = Empty,
            error = Empty,
        );
        if span.is_disabled() {
            return None;
        }
        Some(Box::new(move |end| match end {
            Ok(metadata) => {
                let partition = metadata.topic_partition.partition.0;
                span.record("messaging.destination.partition.id", partition);
                span.record("messaging.kafka.offset", metadata.offset.map(|offset| offset.0));
            }
            Err(error) => {
                span.record("error", tracing::field::display(error));
            }
        }))
    }
}

/// The content of a `traceparent` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; never 0.
    pub trace_id: u128,
    /// The span that is the parent of what comes next; never 0 in a header.
    pub parent_id: u64,
    /// Bit 0 says that the trace is sampled.
    pub flags: u8,
}

/// A text that is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent of the W3C's trace context")]
pub struct InvalidTraceParent;

impl TraceParent {
    /// Whether the trace is sampled.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        str::from_utf8(bytes).ok()?.parse().ok()
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    /// Takes any version but ff; of a later one than 00, what it has in common with 00.
    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let mut parts = text.split('-');
        let mut next = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits);
            let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            let part = part.filter(|part| part.bytes().all(lower)).ok_or(InvalidTraceParent)?;
            u128::from_str_radix(part, 16).map_err(|_| InvalidTraceParent)
        };
        let (version, trace_id) = (next(2)?, next(32)?);
        let (parent_id, flags) = (next(16)?, next(2)?);
        let is_longer = parts.next().is_some();
        if version == 0xff || (version == 0 && is_longer) || trace_id == 0 || parent_id == 0 {
            return Err(InvalidTraceParent);
        }
        let (parent_id, flags) = (u64::try_from(parent_id), u8::try_from(flags));
        match (parent_id, flags) {
            (Ok(parent_id), Ok(flags)) => Ok(Self { trace_id, parent_id, flags }),
            _ => Err(InvalidTraceParent),
        }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.parent_id, self.flags)
    }
}

thread_local! {
    static RANDOM: Cell<u64> = Cell::new(RandomState::new().hash_one(std::thread::current().id()));
}

/// A number that is not 0, unlike all others: ids need no more.
fn random() -> u64 {
    // SplitMix64 (Steele, Lea, Flood 2014).
    let state = RANDOM.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    RANDOM.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).max(1)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use rstest::rstest;

    use super::*;
    use crate::observe::Interceptors;
    use crate::{Header, ProducerRecord};

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn sent(context: TraceContext, headers: &[Header<'_>]) -> Vec<(String, String)> {
        let interceptors = Interceptors::of(vec![std::sync::Arc::new(context)]).unwrap();
        let (record, _) = interceptors.on_send(ProducerRecord::to("t").headers(headers));
        let text = |value: Option<Cow<'_, [u8]>>| String::from_utf8(value.unwrap().into()).unwrap();
        record.headers.into_iter().map(|h| (h.name.into_owned(), text(h.value))).collect()
    }

    fn parent(headers: &[(String, String)]) -> TraceParent {
        let found: Vec<_> = headers.iter().filter(|(name, _)| name == TRACEPARENT).collect();
        assert_eq!(found.len(), 1);
        found[0].1.parse().unwrap()
    }

    #[test]
    fn a_record_goes_on_in_the_trace_it_brings_under_a_parent_of_its_own() {
        let headers = [
            Header { key: TRACEPARENT, value: Some(GIVEN.as_bytes()) },
            Header { key: TRACESTATE, value: Some(b"vendor=1") },
        ];
        let sent = sent(TraceContext::new(), &headers);
        let (given, own): (TraceParent, _) = (GIVEN.parse().unwrap(), parent(&sent));
        assert_eq!((own.trace_id, own.flags), (given.trace_id, 1));
        assert_ne!(own.parent_id, given.parent_id);
        assert!(sent.contains(&(TRACESTATE.to_owned(), "vendor=1".to_owned())));
    }

    #[test]
    fn an_invalid_traceparent_is_replaced_and_its_tracestate_dropped() {
        let headers = [
            Header { key: TRACEPARENT, value: Some(b"nonsense") },
            Header { key: TRACESTATE, value: Some(b"vendor=1") },
        ];
        let sent = sent(TraceContext::new(), &headers);
        assert_eq!(sent.len(), 1);
        assert!(parent(&sent).is_sampled());
    }

    #[test]
    fn the_callers_trace_counts_where_the_record_brings_none() {
        let given: TraceParent = GIVEN.parse().unwrap();
        let own = parent(&sent(TraceContext::new().current(move || Some(given)), &[]));
        assert_eq!(own.trace_id, given.trace_id);
    }

    #[test]
    fn one_in_so_many_traces_is_sampled() {
        let context = TraceContext::new().sample_one_in(4);
        let sampled = (0..100).filter(|_| context.begin().is_sampled()).count();
        assert_eq!(sampled, 25);
        assert!(!TraceContext::new().sample_one_in(0).begin().is_sampled());
    }

    #[rstest]
    #[case::version_ff("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
    #[case::no_trace("00-00000000000000000000000000000000-00f067aa0ba902b7-01")]
    #[case::no_parent("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01")]
    #[case::upper_case("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01")]
    #[case::longer("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what")]
    #[case::shorter("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7")]
    #[case::sign("00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
    fn what_the_standard_refuses_is_refused(#[case] text: &str) {
        assert_eq!(text.parse::<TraceParent>(), Err(InvalidTraceParent));
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known_and_written_as_version_0() {
        let later = GIVEN.replacen("00", "cc", 1) + "-what-else";
        assert_eq!(later.parse::<TraceParent>().unwrap().to_string(), GIVEN);
    }
}
