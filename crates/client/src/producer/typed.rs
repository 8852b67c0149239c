//! A producer of typed keys and values: serializers in front of a [`Producer`].

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Instant;

use streamledger_client_core::serializer::{SerializeError, Serializer};
use streamledger_protocol::record_batch::Header;
use streamledger_protocol::{PartitionIndex, TimestampMs};

use super::{DeliveryFuture, ProduceError, Producer, ProducerRecord, TrySendError};

/// One record in so many has its serialization timed.
const SAMPLED_EACH: u32 = 256;

thread_local! {
    /// Buffers for key and value, kept from record to record.
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
    static UNTIL_SAMPLE: Cell<u32> = const { Cell::new(SAMPLED_EACH) };
}

/// A buffer that a huge record made larger than this is given back.
const KEPT_BUFFER_BYTES: usize = 1 << 20;

/// A producer whose keys and values are types, made into bytes by its serializers.
///
/// ```no_run
/// use streamledger::{JsonSerializer, StringSerializer, TypedProducer, TypedRecord};
/// # fn f(producer: streamledger::Producer) -> Result<(), streamledger::ProduceError> {
/// #[derive(serde::Serialize)]
/// struct Click { page: String }
///
/// let clicks = TypedProducer::new(producer, StringSerializer, JsonSerializer);
/// let click = Click { page: "/".to_owned() };
/// clicks.send(TypedRecord::to("clicks").key("user-7").value(&click))?.wait()?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct TypedProducer<K, V> {
    producer: Producer,
    key_serializer: K,
    value_serializer: V,
}

/// A record whose key and value are yet to be serialized.
#[derive(Debug)]
pub struct TypedRecord<'a, K: ?Sized, V: ?Sized> {
    topic: &'a str,
    partition: Option<PartitionIndex>,
    timestamp: Option<TimestampMs>,
    key: Option<&'a K>,
    value: Option<&'a V>,
    headers: &'a [Header<'a>],
}

// Derived, these would ask the same of key and value, which are only borrowed.
impl<K: ?Sized, V: ?Sized> Copy for TypedRecord<'_, K, V> {}

impl<K: ?Sized, V: ?Sized> Clone for TypedRecord<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'a, K: ?Sized, V: ?Sized> TypedRecord<'a, K, V> {
    /// A record to this topic, without key, value and headers: to begin with.
    #[must_use]
    pub fn to(topic: &'a str) -> Self {
        Self { topic, partition: None, timestamp: None, key: None, value: None, headers: &[] }
    }

    /// Gives it a key.
    #[must_use]
    pub fn key(self, key: &'a K) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Gives it a value. Without one it is a tombstone.
    #[must_use]
    pub fn value(self, value: &'a V) -> Self {
        Self { value: Some(value), ..self }
    }

    /// Sends it to this partition, whatever its key.
    #[must_use]
    pub fn partition(self, partition: PartitionIndex) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// Gives it this timestamp.
    #[must_use]
    pub fn timestamp(self, timestamp: TimestampMs) -> Self {
        Self { timestamp: Some(timestamp), ..self }
    }

    /// Gives it headers.
    #[must_use]
    pub fn headers(self, headers: &'a [Header<'a>]) -> Self {
        Self { headers, ..self }
    }
}

impl<K, V> TypedProducer<K, V> {
    /// Puts serializers in front of a producer.
    pub const fn new(producer: Producer, key_serializer: K, value_serializer: V) -> Self {
        Self { producer, key_serializer, value_serializer }
    }

    /// The producer behind, for everything that isn't sending.
    pub const fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Serializes and sends a record, as [`Producer::send`] does.
    ///
    /// # Errors
    /// The record can't be serialized, or was not accepted.
    pub fn send<A, B>(&self, record: TypedRecord<'_, A, B>) -> Result<DeliveryFuture, ProduceError>
    where
        A: ?Sized,
        B: ?Sized,
        K: Serializer<A>,
        V: Serializer<B>,
    {
        self.serialized(&record, |record| self.producer.send(record))?
    }

    /// As [`TypedProducer::send`], but waits as a future does.
    ///
    /// # Errors
    /// The record can't be serialized, or was not accepted.
    pub async fn send_async<A, B>(
        &self,
        record: TypedRecord<'_, A, B>,
    ) -> Result<DeliveryFuture, ProduceError>
    where
        A: ?Sized,
        B: ?Sized,
        K: Serializer<A>,
        V: Serializer<B>,
    {
        // Only a record that has to wait keeps bytes of its own meanwhile.
        let waits = |bytes: ProducerRecord<'_>| {
            Tried::Waits(bytes.key.map(<[u8]>::to_vec), bytes.value.map(<[u8]>::to_vec))
        };
        let tried = self.serialized(&record, |bytes| {
            if self.producer.is_intercepted() {
                // Interceptors would see it twice if it were tried first.
                return waits(bytes);
            }
            match self.producer.try_send(bytes) {
                Ok(delivery) => Tried::Done(Ok(delivery)),
                Err(TrySendError::Failed(error)) => Tried::Done(Err(error)),
                Err(TrySendError::Full(bytes)) => waits(bytes),
            }
        })?;
        let (key, value) = match tried {
            Tried::Done(result) => return result,
            Tried::Waits(key, value) => (key, value),
        };
        let TypedRecord { topic, partition, timestamp, headers, .. } = record;
        let (key, value) = (key.as_deref(), value.as_deref());
        let record = ProducerRecord { topic, partition, timestamp, key, value, headers };
        self.producer.send_async(record).await
    }

    /// Serializes key and value and gives the record to `then`.
    fn serialized<A, B, R>(
        &self,
        record: &TypedRecord<'_, A, B>,
        then: impl FnOnce(ProducerRecord<'_>) -> R,
    ) -> Result<R, ProduceError>
    where
        A: ?Sized,
        B: ?Sized,
        K: Serializer<A>,
        V: Serializer<B>,
    {
        let begun = is_sampled().then(Instant::now);
        // Taken out, so that a serializer that sends something itself finds others.
        let (mut key_buffer, mut value_buffer) = BUFFERS.take();
        key_buffer.clear();
        value_buffer.clear();
        let TypedRecord { topic, partition, timestamp, headers, .. } = *record;
        let failed = |field: &'static str, error: &SerializeError| ProduceError::NotSerialized {
            topic: topic.into(),
            field,
            cause: Arc::from(error.to_string()),
        };
        let key = serialize(&self.key_serializer, topic, record.key, &mut key_buffer)
            .map_err(|error| failed("key", &error));
        let value = serialize(&self.value_serializer, topic, record.value, &mut value_buffer)
            .map_err(|error| failed("value", &error));
        if let Some(begun) = begun {
            self.producer.count_serialized(begun.elapsed());
        }
        let result = key.and_then(|key| {
            let value = value?;
            Ok(then(ProducerRecord { topic, partition, timestamp, key, value, headers }))
        });
        if key_buffer.capacity() + value_buffer.capacity() <= KEPT_BUFFER_BYTES {
            BUFFERS.set((key_buffer, value_buffer));
        }
        result
    }
}

/// What became of a record that was tried at once.
enum Tried {
    Done(Result<DeliveryFuture, ProduceError>),
    /// It has to wait: its key and value.
    Waits(Option<Vec<u8>>, Option<Vec<u8>>),
}

fn serialize<'a, T: ?Sized>(
    serializer: &impl Serializer<T>,
    topic: &str,
    field: Option<&'a T>,
    buffer: &'a mut Vec<u8>,
) -> Result<Option<&'a [u8]>, SerializeError> {
    field.map_or(Ok(None), |field| serializer.serialize(topic, field, buffer))
}

fn is_sampled() -> bool {
    UNTIL_SAMPLE.with(|until| {
        let left = until.get();
        until.set(if left == 0 { SAMPLED_EACH } else { left - 1 });
        left == 0
    })
}
