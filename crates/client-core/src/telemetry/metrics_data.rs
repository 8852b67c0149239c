//! A push's contents: OpenTelemetry's `MetricsData`, version 1 (KIP-714).
//!
//! Field numbers are those of `opentelemetry/proto/metrics/v1/metrics.proto`, `common.proto` and
//! `resource.proto`. One resource, which is the client; one metric a value, as Java writes them.

use super::protobuf::ProtobufMessage;
use super::reading::Label;

/// A value at a moment, as it is pushed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct DataPoint<'a> {
    pub(super) name: &'a str,
    pub(super) labels: &'a [Label],
    pub(super) value: f64,
    pub(super) kind: PointKind,
    /// Since when a sum counts, nanoseconds since 1970.
    pub(super) since_unix_nanos: u64,
    /// When it was read, nanoseconds since 1970.
    pub(super) unix_nanos: u64,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PointKind {
    /// As it is now.
    Gauge,
    /// What a counter has grown by since the push before.
    Delta,
    /// What a counter has grown by since the client began.
    Cumulative,
}

/// Metrics that were written, each whole, and where each ends.
#[derive(Debug, Default)]
pub(super) struct MetricsData {
    metrics: ProtobufMessage,
    ends: Vec<usize>,
}

impl MetricsData {
    /// Bytes of the metrics so far.
    pub(super) fn metrics_bytes(&self) -> usize {
        self.metrics.bytes().len()
    }

    /// Metrics so far.
    pub(super) fn metric_count(&self) -> usize {
        self.ends.len()
    }

    /// Adds a metric.
    pub(super) fn add(&mut self, point: DataPoint<'_>) {
        // ScopeMetrics.metrics
        self.metrics.message(2, |metric| {
            metric.text(1, point.name);
            match point.kind {
                PointKind::Gauge => metric.message(5, |gauge| {
                    gauge.message(1, |data_point| write_point(data_point, &point));
                }),
                PointKind::Delta | PointKind::Cumulative => metric.message(7, |sum| {
                    sum.message(1, |data_point| write_point(data_point, &point));
                    // AggregationTemporality
                    sum.number(2, if point.kind == PointKind::Delta { 1 } else { 2 });
                    // is_monotonic
                    sum.number(3, 1);
                }),
            }
        });
        self.ends.push(self.metrics_bytes());
    }

    /// The message with its first metrics.
    pub(super) fn message_of_first(&self, count: usize, resource: &[Label]) -> Vec<u8> {
        let end = count.checked_sub(1).and_then(|last| self.ends.get(last)).copied();
        let metrics = self.metrics.bytes().get(..end.unwrap_or(0)).unwrap_or_default();
        let mut data = ProtobufMessage::default();
        data.message(1, |resource_metrics| {
            resource_metrics.message(1, |message| {
                for label in resource {
                    attribute(message, 1, label);
                }
            });
            resource_metrics.message(2, |scope_metrics| scope_metrics.fields(metrics));
        });
        data.into_bytes()
    }
}

/// A `NumberDataPoint`.
fn write_point(message: &mut ProtobufMessage, point: &DataPoint<'_>) {
    if point.kind != PointKind::Gauge {
        message.fixed64(2, point.since_unix_nanos);
    }
    message.fixed64(3, point.unix_nanos);
    message.double(4, point.value);
    for label in point.labels {
        attribute(message, 7, label);
    }
}

/// A `KeyValue` whose `AnyValue` is a text.
fn attribute(message: &mut ProtobufMessage, field: u32, (name, value): &Label) {
    message.message(field, |attribute| {
        attribute.text(1, name);
        attribute.message(2, |any| any.text(1, value));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(name: &str, kind: PointKind) -> DataPoint<'_> {
        DataPoint { name, labels: &[], value: 1.5, kind, since_unix_nanos: 3, unix_nanos: 7 }
    }

    #[test]
    fn a_gauge_is_laid_out_field_by_field() {
        let mut data = MetricsData::default();
        let labels = [("node_id", "node-1".to_owned())];
        data.add(DataPoint { labels: &labels, ..point("a.b", PointKind::Gauge) });
        let expected = [
            // MetricsData.resource_metrics; its resource without attributes, its scope_metrics
            &b"\x0a\x36\x0a\x00\x12\x32"[..],
            // metrics, name
            b"\x12\x30\x0a\x03a.b",
            // gauge, data_points
            b"\x2a\x29\x0a\x27",
            // time_unix_nano, as_double
            b"\x19\x07\0\0\0\0\0\0\0\x21\0\0\0\0\0\0\xf8\x3f",
            // attributes: key, value.string_value
            b"\x3a\x13\x0a\x07node_id\x12\x08\x0a\x06node-1",
        ];
        assert_eq!(data.message_of_first(1, &[]), expected.concat());
    }

    #[test]
    fn a_sum_says_since_when_and_how_it_counts() {
        for (kind, temporality) in [(PointKind::Delta, 1), (PointKind::Cumulative, 2)] {
            let mut data = MetricsData::default();
            data.add(point("a", kind));
            let message = data.message_of_first(1, &[("client_rack", "r".to_owned())]);
            let attribute = b"\x0a\x0bclient_rack\x12\x03\x0a\x01r";
            assert!(message.windows(attribute.len()).any(|window| window == attribute));
            let sum = [
                // sum, data_points: start_time_unix_nano, time_unix_nano, as_double
                &b"\x3a\x21\x0a\x1b\x11\x03\0\0\0\0\0\0\0\x19\x07\0\0\0\0\0\0\0"[..],
                b"\x21\0\0\0\0\0\0\xf8\x3f",
                // aggregation_temporality, is_monotonic
                &[0x10, temporality, 0x18, 1],
            ];
            assert!(message.ends_with(&sum.concat()), "{message:x?}");
        }
    }

    #[test]
    fn the_first_metrics_are_whole_ones() {
        let mut data = MetricsData::default();
        for name in ["first", "second", "third"] {
            data.add(point(name, PointKind::Gauge));
        }
        let mut two = MetricsData::default();
        two.add(point("first", PointKind::Gauge));
        two.add(point("second", PointKind::Gauge));
        assert_eq!(data.message_of_first(2, &[]), two.message_of_first(2, &[]));
        assert_eq!(data.message_of_first(0, &[]), b"\x0a\x04\x0a\0\x12\0");
        assert_eq!(data.metric_count(), 3);
    }
}
