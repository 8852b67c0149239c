//! A Kafka client: producer, consumer and admin, async and blocking, on any executor.
