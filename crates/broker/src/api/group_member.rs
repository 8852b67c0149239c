//! What the APIs of group members have in common.

use bytes::Bytes;

use super::Call;
use crate::controller::random_bytes;

/// How the client calls itself; nothing if it doesn't.
pub(super) fn client_id(call: &Call) -> String {
    call.client_id.clone().unwrap_or_default()
}

/// Where the client connects from, as Kafka's `InetAddress` writes an address without a name.
pub(super) fn client_host(call: &Call) -> String {
    format!("/{}", call.connection.peer.ip())
}

/// A copy of what is kept: a slice would hold the whole request in memory.
pub(super) fn kept(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// A member id that nobody has: what it belongs to, and a random UUID.
pub(super) fn fresh_member_id(prefix: &str) -> String {
    let bits = u128::from_be_bytes(random_bytes());
    let (version, variant) = (0x4_u128 << 76, 0x2_u128 << 62);
    let bits = (bits & !(0xF << 76) & !(0x3 << 62)) | version | variant;
    let hex = format!("{bits:032x}");
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    format!("{prefix}-{}", parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_id_ends_in_a_uuid_of_version_4() {
        let id = fresh_member_id("consumer-1");
        let uuid = id.strip_prefix("consumer-1-").unwrap();
        let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{uuid}");
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&uuid.as_bytes()[19]), "{uuid}");
        assert_ne!(id, fresh_member_id("consumer-1"));
    }
}
