//! Every record of `__consumer_offsets` that this version knows, told apart by the key's version.

use bytes::Bytes;
use streamledger_protocol::GroupId;
use streamledger_protocol::wire::{EncodeError, Reader};

use super::classic::KeptGroup;
use super::classic::record as classic_record;
use super::next_gen::{ConsumerRecord, FIRST_KEY_VERSION, LAST_KEY_VERSION, REGEX_KEY_VERSION};
use super::record::{GroupRecordError, OffsetRecord};

/// One record of `__consumer_offsets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupRecord {
    /// A stored offset.
    Offset(OffsetRecord),
    /// A classic group; without one, it is forgotten.
    Classic {
        /// The group.
        group: GroupId,
        /// What it is like; `None` forgets it.
        kept: Option<KeptGroup>,
    },
    /// Part of a next-generation group.
    Consumer {
        /// The group.
        group: GroupId,
        /// What of it.
        record: ConsumerRecord,
    },
}

impl GroupRecord {
    /// The group it is about.
    #[must_use]
    pub const fn group(&self) -> &GroupId {
        match self {
            Self::Offset(record) => &record.group,
            Self::Classic { group, .. } | Self::Consumer { group, .. } => group,
        }
    }

    /// The bytes of the record's key and value; no value for a tombstone.
    ///
    /// # Errors
    /// A text or a list is longer than a record can hold.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        match self {
            Self::Offset(record) => Ok((record.encode_key()?, record.encode_value()?)),
            Self::Classic { group, kept } => {
                let value = kept.as_ref().map(KeptGroup::encode).transpose()?;
                Ok((classic_record::encode_key(group)?, value))
            }
            Self::Consumer { group, record } => record.encode(group),
        }
    }

    /// Reads a record of the log.
    ///
    /// # Errors
    /// [`GroupRecordError`]: the log is then not to be used (FAILURES.md 50), unless it is
    /// [`GroupRecordError::UnknownKind`].
    pub fn decode(key: Bytes, value: Option<Bytes>) -> Result<Self, GroupRecordError> {
        let mut r = Reader::new(key.clone());
        let version = r.i16()?;
        match version {
            0 | 1 => Ok(Self::Offset(OffsetRecord::decode(key, value)?)),
            classic_record::KEY_VERSION => {
                let group = classic_record::decode_key(&mut r)?;
                r.finish()?;
                Ok(Self::Classic { group, kept: value.map(KeptGroup::decode).transpose()? })
            }
            FIRST_KEY_VERSION..=LAST_KEY_VERSION | REGEX_KEY_VERSION => {
                let (group, record) = ConsumerRecord::decode(version, &mut r, value)?;
                r.finish()?;
                Ok(Self::Consumer { group, record })
            }
            _ => Err(GroupRecordError::UnknownKind(version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn failure_50_unknown_kinds_and_unknown_versions_are_told_apart() {
        // 4 is what Kafka before 4.1 kept of a group's topics; 10 and on are share groups'.
        for kind in [-1, 4, 10, 15, 17, 99] {
            let key = [&i16::to_be_bytes(kind)[..], &[0, 1, b'g']].concat();
            let refused = GroupRecord::decode(key.into(), None);
            assert_eq!(refused, Err(GroupRecordError::UnknownKind(kind)));
        }
        let key = classic_record::encode_key(&GroupId::from("g")).unwrap();
        let refused = GroupRecord::decode(key, Some(Bytes::from_static(&[0, 5])));
        assert_eq!(refused, Err(GroupRecordError::UnknownVersion(5)));
    }

    #[test]
    fn a_tombstone_is_read_back() {
        let tombstone = GroupRecord::Classic { group: "g".into(), kept: None };
        let (key, value) = tombstone.encode().unwrap();
        assert_eq!((GroupRecord::decode(key, value.clone()), value), (Ok(tombstone), None));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(
            kind in 0_u8..20,
            version in 0_u8..5,
            key in proptest::collection::vec(any::<u8>(), 0..30),
            value in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let value = [&[0, version][..], &value].concat();
            let key = [&[0, kind][..], &key].concat();
            let _ = GroupRecord::decode(key.into(), Some(value.clone().into()));
            let known = [&[0, kind, 0, 1, b'g', 0, 1, b'm'][..]].concat();
            let _ = GroupRecord::decode(known.into(), Some(value.into()));
        }
    }
}
