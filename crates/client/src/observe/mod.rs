//! What lets others see a producer at work: interceptors, trace context and spans.
//!
//! Nothing here costs a record anything while it is not asked for: an interceptor that isn't set is
//! a branch, a span that nobody listens to is never made.

mod interceptor;
mod spans;
mod trace_context;

pub(crate) use interceptor::Interceptors;
pub use interceptor::{InterceptedHeader, InterceptedRecord, Interceptor, OnEnd};
pub(crate) use spans::batch_opened;
pub use trace_context::{InvalidTraceParent, TraceContext, TraceParent};
