//! The records of the metadata log: what has been decided about the cluster, and their bytes.
//!
//! Integers are big-endian, texts are a `u16` length and UTF-8, lists a `u32` count. A record is a
//! `u8` kind and its fields. A kind that is not known here ends the load (FAILURES.md 50): a log
//! of a newer version is not half understood.

use bytes::{Buf, BufMut, Bytes};
use streamledger_protocol::{BrokerId, GroupId, TopicId, TopicName};
use thiserror::Error;

use super::quotas::{QuotaEntity, QuotaValue};
use super::scram::{ScramCredential, ScramMechanism};
use crate::authorizer::{Acl, Operation, PatternType, Permission, ResourceType};

/// One decided fact. Replaying all of them in order gives the cluster's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataRecord {
    /// The cluster was founded, under this id.
    ClusterFounded {
        /// 16 random bytes in URL-safe base64, as Kafka's.
        cluster_id: String,
    },
    /// The node came up: it leads its partitions under new leader epochs, so that clients see
    /// that records which a crash took back may have been replaced.
    LeaderEpochsRaised {
        /// The node.
        node: BrokerId,
        /// By how much.
        by: i32,
    },
    /// A topic was created.
    TopicCreated {
        /// Its id, never used before.
        topic_id: TopicId,
        /// Its name, not in use.
        name: TopicName,
        /// The replicas of each partition, the leader first.
        assignments: Vec<Vec<BrokerId>>,
        /// The settings given.
        configs: Vec<(String, String)>,
    },
    /// Partitions were added at a topic's end.
    PartitionsAdded {
        /// The topic.
        topic_id: TopicId,
        /// The replicas of each new partition, the leader first.
        assignments: Vec<Vec<BrokerId>>,
    },
    /// A topic was deleted, with its records.
    TopicDeleted {
        /// The topic.
        topic_id: TopicId,
    },
    /// A topic's setting was changed, or removed (no value).
    TopicConfigChanged {
        /// The topic.
        topic_id: TopicId,
        /// The setting.
        name: String,
        /// Its value; `None` goes back to the default.
        value: Option<String>,
    },
    /// A broker setting was changed while running, or removed (no value).
    BrokerConfigChanged {
        /// The setting.
        name: String,
        /// Its value; `None` goes back to the one at start.
        value: Option<String>,
    },
    /// A group's setting was changed, or removed (no value).
    GroupConfigChanged {
        /// The group.
        group: GroupId,
        /// The setting.
        name: String,
        /// Its value; `None` goes back to the broker's.
        value: Option<String>,
    },
    /// A setting of all brokers was changed while running, or removed (no value).
    ClusterConfigChanged {
        /// The setting.
        name: String,
        /// Its value; `None` goes back to what each has.
        value: Option<String>,
    },
    /// Producer ids below `next` are, or may be, in use.
    ProducerIdsReserved {
        /// The first producer id that is surely free.
        next: i64,
    },
    /// A client quota was set, or removed (no value).
    ClientQuotaChanged {
        /// Whose it is.
        entity: QuotaEntity,
        /// Which quota.
        key: String,
        /// Its value; `None` removes it.
        value: Option<QuotaValue>,
    },
    /// A user's SCRAM credential was set, or removed.
    ScramCredentialChanged {
        /// The user.
        user: String,
        /// The mechanism.
        mechanism: ScramMechanism,
        /// What is kept of the password; `None` removes it.
        credential: Option<ScramCredential>,
    },
    /// An ACL was made.
    AclCreated {
        /// The rule.
        acl: Acl,
    },
    /// An ACL was deleted.
    AclDeleted {
        /// The rule.
        acl: Acl,
    },
}

/// Bytes that are no metadata record of this version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// A kind this version does not know.
    #[error("metadata record of unknown kind {0}: written by a newer version?")]
    UnknownKind(u8),
    /// The bytes end before the record does, or hold what they cannot.
    #[error("metadata record is malformed: {0}")]
    Malformed(&'static str),
}

/// The most bytes of a text in a record; a setting's value may be long, not endless.
pub const TEXT_BYTES_MAX: usize = u16::MAX as usize;

impl MetadataRecord {
    const fn kind(&self) -> u8 {
        match self {
            Self::ClusterFounded { .. } => 1,
            Self::LeaderEpochsRaised { .. } => 2,
            Self::TopicCreated { .. } => 3,
            Self::PartitionsAdded { .. } => 4,
            Self::TopicDeleted { .. } => 5,
            Self::TopicConfigChanged { .. } => 6,
            Self::BrokerConfigChanged { .. } => 7,
            Self::ProducerIdsReserved { .. } => 8,
            Self::ClientQuotaChanged { .. } => 9,
            Self::ScramCredentialChanged { .. } => 10,
            Self::ClusterConfigChanged { .. } => 11,
            Self::AclCreated { .. } => 22,
            Self::AclDeleted { .. } => 23,
            Self::GroupConfigChanged { .. } => 24,
        }
    }

    /// Appends the record's bytes.
    ///
    /// # Errors
    /// [`RecordError::Malformed`] if a text is longer than [`TEXT_BYTES_MAX`].
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        out.put_u8(self.kind());
        match self {
            Self::ClusterFounded { cluster_id } => put_text(out, cluster_id)?,
            Self::LeaderEpochsRaised { node, by } => {
                out.put_i32(node.0);
                out.put_i32(*by);
            }
            Self::TopicCreated { topic_id, name, assignments, configs } => {
                out.put_slice(&topic_id.0);
                put_text(out, name.as_str())?;
                put_assignments(out, assignments)?;
                put_count(out, configs.len())?;
                for (name, value) in configs {
                    put_text(out, name)?;
                    put_text(out, value)?;
                }
            }
            Self::PartitionsAdded { topic_id, assignments } => {
                out.put_slice(&topic_id.0);
                put_assignments(out, assignments)?;
            }
            Self::TopicDeleted { topic_id } => out.put_slice(&topic_id.0),
            Self::TopicConfigChanged { topic_id, name, value } => {
                out.put_slice(&topic_id.0);
                put_text(out, name)?;
                put_optional_text(out, value.as_deref())?;
            }
            Self::BrokerConfigChanged { name, value }
            | Self::ClusterConfigChanged { name, value } => {
                put_text(out, name)?;
                put_optional_text(out, value.as_deref())?;
            }
            Self::GroupConfigChanged { group, name, value } => {
                put_text(out, group.as_str())?;
                put_text(out, name)?;
                put_optional_text(out, value.as_deref())?;
            }
            Self::ProducerIdsReserved { next } => out.put_i64(*next),
            Self::ClientQuotaChanged { entity, key, value } => {
                put_count(out, entity.len())?;
                for (kind, name) in entity {
                    put_text(out, kind)?;
                    put_optional_text(out, name.as_deref())?;
                }
                put_text(out, key)?;
                out.put_u8(u8::from(value.is_some()));
                if let Some(QuotaValue(bits)) = value {
                    out.put_u64(*bits);
                }
            }
            Self::ScramCredentialChanged { user, mechanism, credential } => {
                put_text(out, user)?;
                out.put_i8(mechanism.code());
                out.put_u8(u8::from(credential.is_some()));
                if let Some(credential) = credential {
                    put_bytes(out, &credential.salt)?;
                    out.put_i32(credential.iterations);
                    put_bytes(out, &credential.stored_key)?;
                    put_bytes(out, &credential.server_key)?;
                }
            }
            Self::AclCreated { acl } | Self::AclDeleted { acl } => put_acl(out, acl)?,
        }
        Ok(())
    }

    /// Takes one record off the front of `bytes`.
    ///
    /// # Errors
    /// [`RecordError`]; what was already taken is then lost.
    pub fn decode(bytes: &mut Bytes) -> Result<Self, RecordError> {
        let record = match take(bytes.try_get_u8())? {
            1 => Self::ClusterFounded { cluster_id: take_text(bytes)? },
            2 => Self::LeaderEpochsRaised {
                node: BrokerId(take(bytes.try_get_i32())?),
                by: take(bytes.try_get_i32())?,
            },
            3 => Self::TopicCreated {
                topic_id: take_topic_id(bytes)?,
                name: TopicName::new(take_text(bytes)?),
                assignments: take_assignments(bytes)?,
                configs: take_list(bytes, 4, |bytes| Ok((take_text(bytes)?, take_text(bytes)?)))?,
            },
            4 => Self::PartitionsAdded {
                topic_id: take_topic_id(bytes)?,
                assignments: take_assignments(bytes)?,
            },
            5 => Self::TopicDeleted { topic_id: take_topic_id(bytes)? },
            6 => Self::TopicConfigChanged {
                topic_id: take_topic_id(bytes)?,
                name: take_text(bytes)?,
                value: take_optional_text(bytes)?,
            },
            7 => Self::BrokerConfigChanged {
                name: take_text(bytes)?,
                value: take_optional_text(bytes)?,
            },
            8 => Self::ProducerIdsReserved { next: take(bytes.try_get_i64())? },
            9 => Self::ClientQuotaChanged {
                entity: take_list(bytes, 3, |bytes| {
                    Ok((take_text(bytes)?, take_optional_text(bytes)?))
                })?
                .into_iter()
                .collect(),
                key: take_text(bytes)?,
                value: take_optional(bytes, |bytes| Ok(QuotaValue(take(bytes.try_get_u64())?)))?,
            },
            10 => Self::ScramCredentialChanged {
                user: take_text(bytes)?,
                mechanism: ScramMechanism::from_code(take(bytes.try_get_i8())?)
                    .ok_or(RecordError::Malformed("no such SCRAM mechanism"))?,
                credential: take_optional(bytes, |bytes| {
                    Ok(ScramCredential {
                        salt: take_bytes(bytes)?,
                        iterations: take(bytes.try_get_i32())?,
                        stored_key: take_bytes(bytes)?,
                        server_key: take_bytes(bytes)?,
                    })
                })?,
            },
            11 => Self::ClusterConfigChanged {
                name: take_text(bytes)?,
                value: take_optional_text(bytes)?,
            },
            22 => Self::AclCreated { acl: take_acl(bytes)? },
            23 => Self::AclDeleted { acl: take_acl(bytes)? },
            24 => Self::GroupConfigChanged {
                group: GroupId::from(take_text(bytes)?.as_str()),
                name: take_text(bytes)?,
                value: take_optional_text(bytes)?,
            },
            kind => return Err(RecordError::UnknownKind(kind)),
        };
        Ok(record)
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) -> Result<(), RecordError> {
    out.put_u32(u32::try_from(count).map_err(|_| RecordError::Malformed("list too long"))?);
    Ok(())
}

fn put_text(out: &mut Vec<u8>, text: &str) -> Result<(), RecordError> {
    let length = u16::try_from(text.len()).map_err(|_| RecordError::Malformed("text too long"))?;
    out.put_u16(length);
    out.put_slice(text.as_bytes());
    Ok(())
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), RecordError> {
    let length = u16::try_from(bytes.len()).map_err(|_| RecordError::Malformed("too long"))?;
    out.put_u16(length);
    out.put_slice(bytes);
    Ok(())
}

fn put_optional_text(out: &mut Vec<u8>, text: Option<&str>) -> Result<(), RecordError> {
    out.put_u8(u8::from(text.is_some()));
    text.map_or(Ok(()), |text| put_text(out, text))
}

fn put_assignments(out: &mut Vec<u8>, assignments: &[Vec<BrokerId>]) -> Result<(), RecordError> {
    put_count(out, assignments.len())?;
    for replicas in assignments {
        put_count(out, replicas.len())?;
        for replica in replicas {
            out.put_i32(replica.0);
        }
    }
    Ok(())
}

fn put_acl(out: &mut Vec<u8>, acl: &Acl) -> Result<(), RecordError> {
    out.put_i8(acl.resource.code());
    out.put_i8(acl.pattern.code());
    out.put_i8(acl.operation.code());
    out.put_i8(acl.permission.code());
    put_text(out, &acl.name)?;
    put_text(out, &acl.principal)?;
    put_text(out, &acl.host)
}

fn take_acl(bytes: &mut Bytes) -> Result<Acl, RecordError> {
    fn known<T>(bytes: &mut Bytes, of: fn(i8) -> Option<T>) -> Result<T, RecordError> {
        of(take(bytes.try_get_i8())?).ok_or(RecordError::Malformed("a code of no ACL"))
    }
    Ok(Acl {
        resource: known(bytes, ResourceType::from_code)?,
        pattern: known(bytes, PatternType::from_code)?,
        operation: known(bytes, Operation::from_code)?,
        permission: known(bytes, Permission::from_code)?,
        name: take_text(bytes)?,
        principal: take_text(bytes)?,
        host: take_text(bytes)?,
    })
}

fn take<T, E>(read: Result<T, E>) -> Result<T, RecordError> {
    read.map_err(|_| RecordError::Malformed("cut short"))
}

fn take_bytes(bytes: &mut Bytes) -> Result<Bytes, RecordError> {
    let length = usize::from(take(bytes.try_get_u16())?);
    if bytes.remaining() < length {
        return Err(RecordError::Malformed("text cut short"));
    }
    Ok(bytes.split_to(length))
}

fn take_text(bytes: &mut Bytes) -> Result<String, RecordError> {
    let text = take_bytes(bytes)?;
    let text = std::str::from_utf8(&text).map_err(|_| RecordError::Malformed("not UTF-8"))?;
    Ok(text.to_owned())
}

fn take_optional<T>(
    bytes: &mut Bytes,
    present: impl Fn(&mut Bytes) -> Result<T, RecordError>,
) -> Result<Option<T>, RecordError> {
    match take(bytes.try_get_u8())? {
        0 => Ok(None),
        1 => present(bytes).map(Some),
        _ => Err(RecordError::Malformed("neither present nor absent")),
    }
}

fn take_optional_text(bytes: &mut Bytes) -> Result<Option<String>, RecordError> {
    take_optional(bytes, take_text)
}

fn take_topic_id(bytes: &mut Bytes) -> Result<TopicId, RecordError> {
    let mut id = [0; 16];
    take(bytes.try_copy_to_slice(&mut id))?;
    Ok(TopicId(id))
}

/// A list, whose count is checked against the bytes that remain before anything is allocated.
fn take_list<T>(
    bytes: &mut Bytes,
    element_bytes_min: usize,
    element: impl Fn(&mut Bytes) -> Result<T, RecordError>,
) -> Result<Vec<T>, RecordError> {
    let count = take(bytes.try_get_u32())? as usize;
    if count > bytes.remaining() / element_bytes_min {
        return Err(RecordError::Malformed("a count larger than the bytes that follow"));
    }
    (0..count).map(|_| element(bytes)).collect()
}

fn take_assignments(bytes: &mut Bytes) -> Result<Vec<Vec<BrokerId>>, RecordError> {
    take_list(bytes, 4, |bytes| {
        take_list(bytes, 4, |bytes| Ok(BrokerId(take(bytes.try_get_i32())?)))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_acl_record() -> impl Strategy<Value = MetadataRecord> {
        let text = ".{0,12}";
        (text, text, any::<bool>()).prop_map(|(name, host, is_new)| {
            let acl = Acl {
                resource: ResourceType::Group,
                pattern: PatternType::Prefixed,
                operation: Operation::Read,
                permission: Permission::Deny,
                principal: format!("User:{name}"),
                name,
                host,
            };
            match is_new {
                true => MetadataRecord::AclCreated { acl },
                false => MetadataRecord::AclDeleted { acl },
            }
        })
    }

    pub(crate) fn any_record() -> impl Strategy<Value = MetadataRecord> {
        let text = ".{0,12}";
        let id = any::<[u8; 16]>().prop_map(TopicId);
        let assignments = || {
            proptest::collection::vec(
                proptest::collection::vec(any::<i32>().prop_map(BrokerId), 0..4),
                0..6,
            )
        };
        prop_oneof![
            text.prop_map(|cluster_id| MetadataRecord::ClusterFounded { cluster_id }),
            any::<(i32, i32)>().prop_map(|(node, by)| {
                MetadataRecord::LeaderEpochsRaised { node: BrokerId(node), by }
            }),
            (id.clone(), text, assignments(), proptest::collection::vec((text, text), 0..3))
                .prop_map(|(topic_id, name, assignments, configs)| {
                    let name = TopicName::new(name);
                    MetadataRecord::TopicCreated { topic_id, name, assignments, configs }
                }),
            (id.clone(), assignments()).prop_map(|(topic_id, assignments)| {
                MetadataRecord::PartitionsAdded { topic_id, assignments }
            }),
            id.clone().prop_map(|topic_id| MetadataRecord::TopicDeleted { topic_id }),
            (id, text, proptest::option::of(text)).prop_map(|(topic_id, name, value)| {
                MetadataRecord::TopicConfigChanged { topic_id, name, value }
            }),
            (text, proptest::option::of(text))
                .prop_map(|(name, value)| { MetadataRecord::BrokerConfigChanged { name, value } }),
            (text, text, proptest::option::of(text)).prop_map(|(group, name, value)| {
                let group = GroupId::from(group.as_str());
                MetadataRecord::GroupConfigChanged { group, name, value }
            }),
            (text, proptest::option::of(text))
                .prop_map(|(name, value)| MetadataRecord::ClusterConfigChanged { name, value }),
            any::<i64>().prop_map(|next| MetadataRecord::ProducerIdsReserved { next }),
            (
                proptest::collection::btree_map(text, proptest::option::of(text), 0..3),
                text,
                proptest::option::of(any::<u64>().prop_map(QuotaValue)),
            )
                .prop_map(|(entity, key, value)| {
                    MetadataRecord::ClientQuotaChanged { entity, key, value }
                }),
            (text, any::<bool>(), proptest::option::of(any::<(i32, [u8; 4])>())).prop_map(
                |(user, longer, credential)| MetadataRecord::ScramCredentialChanged {
                    user,
                    mechanism: match longer {
                        true => ScramMechanism::Sha512,
                        false => ScramMechanism::Sha256,
                    },
                    credential: credential.map(|(iterations, key)| ScramCredential {
                        salt: Bytes::copy_from_slice(&key),
                        iterations,
                        stored_key: Bytes::copy_from_slice(&key[..2]),
                        server_key: Bytes::new(),
                    }),
                }
            ),
            any_acl_record(),
        ]
    }

    proptest! {
        #[test]
        fn a_record_reads_back_as_it_was_written(record in any_record()) {
            let mut out = Vec::new();
            record.encode(&mut out).unwrap();
            let mut bytes = Bytes::from(out);
            prop_assert_eq!(MetadataRecord::decode(&mut bytes), Ok(record));
            prop_assert!(bytes.is_empty());
        }

        #[test]
        fn a_cut_or_random_record_is_an_error_and_never_a_panic(
            record in any_record(),
            noise in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut out = Vec::new();
            record.encode(&mut out).unwrap();
            for end in 0..out.len() {
                let mut cut = Bytes::copy_from_slice(&out[..end]);
                prop_assert!(MetadataRecord::decode(&mut cut).is_err());
            }
            let _ = MetadataRecord::decode(&mut Bytes::from(noise));
        }
    }

    #[test]
    fn a_kind_of_a_newer_version_is_named() {
        let mut bytes = Bytes::from_static(&[200, 1, 2, 3]);
        assert_eq!(MetadataRecord::decode(&mut bytes), Err(RecordError::UnknownKind(200)));
    }

    #[test]
    fn a_count_of_four_billion_in_a_few_bytes_allocates_nothing() {
        let mut bytes = Bytes::from([&[4_u8][..], &[0; 16], &[0xFF; 4]].concat());
        assert!(MetadataRecord::decode(&mut bytes).is_err());
    }
}
