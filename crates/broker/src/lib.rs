//! A durable Kafka-protocol broker for one machine, embeddable in a program or a test.

pub mod storage;
