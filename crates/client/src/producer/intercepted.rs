//! Sending through interceptors: the same ways, for a producer that has some.

use streamledger_client_core::accumulator::{AppendError, AppendExtras, Callback, Delivery};
use streamledger_protocol::TopicName;

use super::send::{Refusal, refused};
use super::{ProduceError, Producer, ProducerRecord, TrySendError};
use crate::observe::Interceptors;

impl Producer {
    /// Shows the record to the interceptors and sends what they make of it; `callback` is the
    /// caller's own.
    #[cold]
    pub(super) fn send_through(
        &self,
        interceptors: &Interceptors,
        record: ProducerRecord<'_>,
        callback: Option<Callback>,
    ) -> Result<Delivery, ProduceError> {
        let (seen, ends) = interceptors.on_send(record);
        let headers = seen.borrowed_headers();
        let record = seen.as_record(&headers);
        let callback = ends.callback(callback);
        let mut extras = AppendExtras { callback, reservation: None };
        let result = match self.0.shared.try_append(&record, &mut extras) {
            Ok(delivery) => Ok(delivery),
            Err(refusal) => self.append_blocking(&record, extras, refusal),
        };
        result.inspect_err(|error| ends.tell(Err(error)))
    }

    /// As `send_through`, waiting as a future does.
    pub(super) async fn send_through_async(
        &self,
        interceptors: &Interceptors,
        record: ProducerRecord<'_>,
    ) -> Result<Delivery, ProduceError> {
        let (seen, ends) = interceptors.on_send(record);
        let headers = seen.borrowed_headers();
        let record = seen.as_record(&headers);
        let mut extras = AppendExtras { callback: ends.callback(None), reservation: None };
        let shared = &*self.0.shared;
        let result = match shared.try_append(&record, &mut extras) {
            Ok(delivery) => Ok(delivery),
            Err(refusal) => shared.append_waiting(&record, &mut extras, refusal).await,
        };
        result.inspect_err(|error| ends.tell(Err(error)))
    }

    /// As `send_through`, without waiting.
    #[cold]
    pub(super) fn try_send_through<'a>(
        &self,
        interceptors: &Interceptors,
        record: ProducerRecord<'a>,
    ) -> Result<Delivery, TrySendError<'a>> {
        let (seen, ends) = interceptors.on_send(record);
        let headers = seen.borrowed_headers();
        let changed = seen.as_record(&headers);
        let mut extras = AppendExtras { callback: ends.callback(None), reservation: None };
        match self.0.shared.try_append(&changed, &mut extras) {
            Ok(delivery) => Ok(delivery),
            Err(refusal) => match self.would_wait(changed.topic, refusal) {
                None => Err(TrySendError::Full(record)),
                Some(error) => {
                    ends.tell(Err(&error));
                    Err(TrySendError::Failed(error))
                }
            },
        }
    }

    /// Whether waiting would help against the refusal, which is then begun to be seen to; if not,
    /// the error.
    pub(super) fn would_wait(&self, topic: &str, refusal: Refusal) -> Option<ProduceError> {
        let topic = TopicName::from(topic);
        match refusal {
            Refusal::NoMetadata => match self.0.shared.check_new(&topic) {
                Ok(()) => {
                    self.learn(topic);
                    None
                }
                Err(error) => Some(error),
            },
            Refusal::Append(AppendError::MemoryFull { .. }) => {
                self.0.shared.wake.notify_one();
                None
            }
            Refusal::NoSuchPartition { partition, partition_count } => {
                Some(ProduceError::NoSuchPartition { topic, partition, partition_count })
            }
            Refusal::Append(error) => Some(refused(&topic, &error)),
        }
    }
}
