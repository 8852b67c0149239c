//! Random bytes for ids that must not collide. Not for secrets.

use std::hash::{BuildHasher, Hasher, RandomState};

use streamledger_protocol::TopicId;

/// Bytes that differ from call to call and from process to process: SipHash under the keys that
/// the standard library draws from the system.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    for (index, chunk) in bytes.chunks_mut(8).enumerate() {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_usize(index);
        chunk.copy_from_slice(&hasher.finish().to_ne_bytes()[..chunk.len()]);
    }
    bytes
}

/// A random UUID of version 4 whose text does not begin with a dash (Kafka's `Uuid.randomUuid`:
/// command-line tools would take it for an option).
pub(crate) fn random_topic_id() -> TopicId {
    loop {
        let mut bytes: [u8; 16] = random_bytes();
        bytes[6] = (bytes[6] & 0x0F) | 0x40;
        bytes[8] = (bytes[8] & 0x3F) | 0x80;
        let id = TopicId(bytes);
        if !id.to_string().starts_with('-') {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_and_look_like_kafkas() {
        let ids: HashSet<_> = (0..1000).map(|_| random_topic_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.0[6] >> 4 == 4 && !id.to_string().starts_with('-')));
    }
}
