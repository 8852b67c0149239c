//! Collects the spans that our producer opens for records, each when it is over.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer};

const TARGET: &str = "streamledger::record";

/// Where a record was said to be, as far as its span said it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) partition: Option<i64>,
    pub(crate) offset: Option<i64>,
}

/// The spans of records, from their first moment to their last.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecordSpans {
    open: Arc<Mutex<BTreeMap<u64, Place>>>,
    over: Arc<Mutex<Vec<Place>>>,
}

impl RecordSpans {
    /// Those that are over, in order; what is left open is for the caller to miss.
    pub(crate) fn over(&self) -> Vec<Place> {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner).clone();
        over.sort_unstable();
        over
    }
}

impl<S: tracing::Subscriber> Layer<S> for RecordSpans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        if attributes.metadata().target() == TARGET {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.insert(id.into_u64(), Place::default());
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = open.get_mut(&id.into_u64()) {
            values.record(place);
        }
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        let place = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.remove(&id.into_u64())
        };
        self.over.lock().unwrap_or_else(PoisonError::into_inner).extend(place);
    }
}

impl Visit for Place {
    fn record_i64(&mut self, field: &Field, value: i64) {
        match field.name() {
            "messaging.destination.partition.id" => self.partition = Some(value),
            "messaging.kafka.offset" => self.offset = Some(value),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
