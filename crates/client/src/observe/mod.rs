//! What lets others see a producer at work: interceptors, spans, metrics.
//!
//! Nothing here costs a record anything while it is not asked for: an interceptor that isn't set is
//! a branch, a span that nobody listens to is never made.

mod interceptor;
mod metric_table;
mod metrics_page;
mod prometheus;
mod readings;
mod spans;
mod trace_context;

pub(crate) use interceptor::Interceptors;
pub use interceptor::{InterceptedHeader, InterceptedRecord, Interceptor, OnEnd};
pub(crate) use metric_table::{FetchMetrics, NodeLatency};
pub use metrics_page::metrics_markdown;
pub use prometheus::PROMETHEUS_CONTENT_TYPE;
pub(crate) use readings::{admin_readings, consumer_readings, producer_readings};
pub(crate) use spans::batch_opened;
pub use trace_context::{InvalidTraceParent, TraceContext, TraceParent};
