//! The hash of librdkafka's default partitioner, `consistent_random`: the CRC-32 of zlib.

use crate::PartitionIndex;

/// The remainders of the polynomial 0xedb88320, of each byte and of each byte three places on.
static TABLES: [[u32; 256]; 4] = tables();

const fn tables() -> [[u32; 256]; 4] {
    let mut tables = [[0; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            let carry = remainder & 1;
            remainder >>= 1;
            if carry == 1 {
                remainder ^= 0xedb8_8320;
            }
            bit += 1;
        }
        tables[0][byte] = remainder;
        byte += 1;
    }
    let mut table = 1;
    while table < 4 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// The CRC-32 (ISO 3309, as in zlib and `rd_crc32`) of a key.
#[must_use]
pub fn crc32_librdkafka(key: &[u8]) -> u32 {
    let mut remainder = u32::MAX;
    let (words, tail) = key.as_chunks::<4>();
    for word in words {
        let [first, second, third, fourth] =
            (remainder ^ u32::from_le_bytes(*word)).to_le_bytes().map(usize::from);
        remainder = TABLES[3][first] ^ TABLES[2][second] ^ TABLES[1][third] ^ TABLES[0][fourth];
    }
    for &byte in tail {
        let index = usize::from(remainder.to_le_bytes()[0] ^ byte);
        remainder = (remainder >> 8) ^ TABLES[0][index];
    }
    !remainder
}

/// The partition of a key by librdkafka's `consistent` rule: the unsigned CRC-32 modulo the
/// count. Nothing if there is no partition. (A record whose key is null or empty goes to a
/// random partition under `consistent_random`; that choice is the partitioner's.)
#[must_use]
pub fn partition(key: &[u8], partition_count: i32) -> Option<PartitionIndex> {
    let count = u32::try_from(partition_count).ok()?;
    let partition = crc32_librdkafka(key).checked_rem(count)?;
    i32::try_from(partition).ok().map(PartitionIndex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_check_value_and_agrees_with_a_bitwise_one() {
        assert_eq!(crc32_librdkafka(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32_librdkafka(b""), 0);
        let bitwise = |bytes: &[u8]| {
            !bytes.iter().fold(u32::MAX, |remainder, &byte| {
                (0..8).fold(remainder ^ u32::from(byte), |remainder, _| {
                    (remainder >> 1) ^ (0xedb8_8320 * (remainder & 1))
                })
            })
        };
        for length in 0..70_u8 {
            let key: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37) ^ length).collect();
            assert_eq!(crc32_librdkafka(&key), bitwise(&key), "{length}");
        }
    }

    #[test]
    fn a_key_goes_to_its_remainder_and_nowhere_without_partitions() {
        assert_eq!(
            partition(b"123456789", 10),
            Some(PartitionIndex((0xcbf4_3926_u32 % 10) as i32))
        );
        assert_eq!(partition(b"k", 0), None);
        assert_eq!(partition(b"k", -3), None);
    }
}
