//! Interceptors: see, and may change, each record before its partition is chosen; learn its end.
//!
//! As Kafka's `ProducerInterceptor` (KIP-42), but what is to happen at the end is given with the
//! record, so that an interceptor needs no table to find its own state again.

use std::borrow::Cow;
use std::sync::Arc;

use parking_lot::Mutex;
use streamledger_client_core::accumulator::{Callback, RecordMetadata};
use streamledger_protocol::record_batch::Header;
use streamledger_protocol::{PartitionIndex, TimestampMs};

use crate::producer::{ProduceError, ProducerRecord, guard};

/// What an interceptor does with a record's end: where it is in the log, or why it is not known to
/// be. Called once, on the producer's thread, which it must not hold up; for a record that was not
/// accepted, on the thread that sent it.
pub type OnEnd = Box<dyn FnOnce(Result<&RecordMetadata, &ProduceError>) + Send>;

/// Sees each record that is sent. One that panics is left out for that record, and logged.
///
/// ```
/// use streamledger::{InterceptedRecord, Interceptor, OnEnd};
///
/// struct Stamp;
///
/// impl Interceptor for Stamp {
///     fn on_send(&self, record: &mut InterceptedRecord<'_>) -> Option<OnEnd> {
///         record.set_header("source", b"shop".as_slice());
///         Some(Box::new(|end| {
///             if let Err(error) = end {
///                 eprintln!("{error}");
///             }
///         }))
///     }
/// }
/// ```
pub trait Interceptor: Send + Sync {
    /// Called on the sending thread, after serialization and before a partition is chosen. May
    /// change anything of the record; a partition set here counts as the caller's own.
    ///
    /// A record that [`try_send`](crate::Producer::try_send) gives back is seen again when it is
    /// sent again, and the first time has no end.
    fn on_send(&self, record: &mut InterceptedRecord<'_>) -> Option<OnEnd>;
}

/// A record on its way through the interceptors: what nobody changes stays borrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterceptedRecord<'a> {
    /// The topic.
    pub topic: Cow<'a, str>,
    /// The partition, if the caller named one.
    pub partition: Option<PartitionIndex>,
    /// The timestamp, if the caller gave one.
    pub timestamp: Option<TimestampMs>,
    /// The serialized key.
    pub key: Option<Cow<'a, [u8]>>,
    /// The serialized value; none is a tombstone.
    pub value: Option<Cow<'a, [u8]>>,
    /// The headers in order, repeats kept.
    pub headers: Vec<InterceptedHeader<'a>>,
}

/// A header of such a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterceptedHeader<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its value; null is not empty.
    pub value: Option<Cow<'a, [u8]>>,
}

impl<'a> InterceptedRecord<'a> {
    fn of(record: ProducerRecord<'a>) -> Self {
        let header = |header: &Header<'a>| InterceptedHeader {
            name: Cow::Borrowed(header.key),
            value: header.value.map(Cow::Borrowed),
        };
        Self {
            topic: Cow::Borrowed(record.topic),
            partition: record.partition,
            timestamp: record.timestamp,
            key: record.key.map(Cow::Borrowed),
            value: record.value.map(Cow::Borrowed),
            headers: record.headers.iter().map(header).collect(),
        }
    }

    /// The value of the last header of that name: Kafka's rule where one is expected.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let last = self.headers.iter().rev().find(|header| header.name == name)?;
        last.value.as_deref()
    }

    /// Puts a header in the place of all of that name.
    pub fn set_header(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, [u8]>>) {
        let name = name.into();
        self.remove_header(&name);
        self.headers.push(InterceptedHeader { name, value: Some(value.into()) });
    }

    /// Takes all headers of that name away.
    pub fn remove_header(&mut self, name: &str) {
        self.headers.retain(|header| header.name != name);
    }

    /// The headers as a record borrows them.
    pub(crate) fn borrowed_headers(&self) -> Vec<Header<'_>> {
        let headers = self.headers.iter();
        headers.map(|h| Header { key: &h.name, value: h.value.as_deref() }).collect()
    }

    /// The record to be appended.
    pub(crate) fn as_record<'b>(&'b self, headers: &'b [Header<'b>]) -> ProducerRecord<'b> {
        ProducerRecord {
            topic: &self.topic,
            partition: self.partition,
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers,
        }
    }
}

/// The interceptors of a producer, in the order they were given: at least one.
pub(crate) struct Interceptors(Vec<Arc<dyn Interceptor>>);

impl Interceptors {
    /// None if there are none.
    pub(crate) fn of(interceptors: Vec<Arc<dyn Interceptor>>) -> Option<Self> {
        (!interceptors.is_empty()).then_some(Self(interceptors))
    }

    /// Shows the record to each in turn.
    pub(crate) fn on_send<'a>(&self, record: ProducerRecord<'a>) -> (InterceptedRecord<'a>, Ends) {
        let mut record = InterceptedRecord::of(record);
        let mut ends = Vec::new();
        for interceptor in &self.0 {
            // What one that panics has half done is not sent.
            let mut changed = record.clone();
            let mut end = None;
            let mut is_whole = false;
            guard("an interceptor", || {
                end = interceptor.on_send(&mut changed);
                is_whole = true;
            });
            if is_whole {
                record = changed;
                ends.extend(end);
            }
        }
        (record, Ends(Arc::new(Mutex::new(ends))))
    }
}

/// What is to be told of one record's end.
#[derive(Clone)]
pub(crate) struct Ends(Arc<Mutex<Vec<OnEnd>>>);

impl Ends {
    /// Tells all, once.
    pub(crate) fn tell(&self, end: Result<&RecordMetadata, &ProduceError>) {
        let ends = std::mem::take(&mut *self.0.lock());
        for on_end in ends {
            guard("an interceptor", || on_end(end));
        }
    }

    /// The record's callback: the interceptors first, then the caller's own. None if there is
    /// nobody to tell.
    pub(crate) fn callback(&self, own: Option<Callback>) -> Option<Callback> {
        if self.0.lock().is_empty() {
            return own;
        }
        let ends = self.clone();
        Some(Box::new(move |result| {
            match &result {
                Ok(metadata) => ends.tell(Ok(metadata)),
                Err(failure) => ends.tell(Err(&ProduceError::NotDelivered(Arc::clone(failure)))),
            }
            if let Some(own) = own {
                own(result);
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Upper;

    impl Interceptor for Upper {
        fn on_send(&self, record: &mut InterceptedRecord<'_>) -> Option<OnEnd> {
            let upper = record.value.as_ref()?.to_ascii_uppercase();
            record.value = Some(Cow::Owned(upper));
            record.set_header("seen", b"1".as_slice());
            None
        }
    }

    struct PanicsHalfWay;

    impl Interceptor for PanicsHalfWay {
        fn on_send(&self, record: &mut InterceptedRecord<'_>) -> Option<OnEnd> {
            record.value = None;
            panic!("on purpose");
        }
    }

    #[test]
    fn each_sees_what_the_one_before_made_and_a_panicking_one_changes_nothing() {
        let all: Vec<Arc<dyn Interceptor>> = vec![Arc::new(PanicsHalfWay), Arc::new(Upper)];
        let interceptors = Interceptors::of(all).unwrap();
        let headers = [
            Header { key: "seen", value: Some(b"0") },
            Header { key: "other", value: None },
            Header { key: "seen", value: Some(b"9") },
        ];
        let record = ProducerRecord::to("clicks").value("click").headers(&headers);
        let (seen, ends) = interceptors.on_send(record);
        assert_eq!(seen.value.as_deref(), Some(b"CLICK".as_slice()));
        assert_eq!(seen.header("seen"), Some(b"1".as_slice()));
        let names: Vec<_> = seen.headers.iter().map(|header| header.name.as_ref()).collect();
        assert_eq!(names, ["other", "seen"]);
        assert!(ends.callback(None).is_none(), "nobody wants the end");
        let headers = seen.borrowed_headers();
        assert_eq!(seen.as_record(&headers).headers.len(), 2);
    }

    #[test]
    fn an_end_is_told_once_and_one_that_panics_keeps_nobody_from_it() {
        let told = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&told);
        let ends: Vec<OnEnd> = vec![
            Box::new(|_| panic!("on purpose")),
            Box::new(move |end| *counted.lock() += i32::from(end.is_err())),
        ];
        let ends = Ends(Arc::new(Mutex::new(ends)));
        ends.tell(Err(&ProduceError::Closed));
        ends.tell(Err(&ProduceError::Closed));
        assert_eq!(*told.lock(), 1);
    }
}
