//! Derives the codec of a Kafka message from a plain struct with version attributes.
