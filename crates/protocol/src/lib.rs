//! The words and bytes of the Kafka protocol: newtypes, errors, messages, record batches, codecs.
