//! Why bytes could not be read as a message, or a message not written as bytes, and where.

use std::fmt;

use crate::ApiVersion;

/// The path from a message to one of its fields, gathered from the innermost outwards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct FieldPath {
    message: &'static str,
    fields: Vec<&'static str>,
}

impl FieldPath {
    fn push(&mut self, message: &'static str, field: &'static str) {
        self.message = message;
        self.fields.push(field);
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.fields.is_empty() {
            return Ok(());
        }
        f.write_str(self.message)?;
        for field in self.fields.iter().rev() {
            write!(f, ".{field}")?;
        }
        f.write_str(": ")
    }
}

/// What is wrong with bytes that should be a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The bytes end before the value does.
    #[error("{needed} more bytes expected, {remaining} remain")]
    Truncated {
        /// Bytes that the value needs.
        needed: usize,
        /// Bytes that are there.
        remaining: usize,
    },
    /// An array claims more elements than the remaining bytes can hold.
    #[error("{count} elements of at least {element_bytes_min} bytes do not fit in {remaining}")]
    TooManyElements {
        /// Elements claimed.
        count: usize,
        /// The fewest bytes one takes.
        element_bytes_min: usize,
        /// Bytes that are there.
        remaining: usize,
    },
    /// A length is negative, and not the -1 that stands for null.
    #[error("a length of {0}")]
    NegativeLength(i32),
    /// The value is null where none may be.
    #[error("null where none may be")]
    UnexpectedNull,
    /// The marker before a nullable struct is neither -1 nor 1.
    #[error("{0} marks neither null nor a value")]
    NullMarker(i8),
    /// A text is longer than 32,767 bytes.
    #[error("a text of {0} bytes")]
    StringTooLong(usize),
    /// A text is not UTF-8.
    #[error("a text that is not UTF-8")]
    NotUtf8,
    /// A variable-length number has more bits than its type.
    #[error("a variable-length number of more bits than its type has")]
    VarintTooLong,
    /// A tagged field's value is longer or shorter than its declared size.
    #[error("tagged field {tag} is declared with {declared} bytes and has {actual}")]
    TaggedFieldSize {
        /// The field's tag.
        tag: u32,
        /// Bytes declared.
        declared: usize,
        /// Bytes its value took.
        actual: usize,
    },
    /// Bytes are left over after the message.
    #[error("{0} bytes left over after the message")]
    LeftOver(usize),
    /// A frame's length prefix is negative or over the limit.
    #[error("a frame of {length} bytes; at most {max} are taken")]
    FrameLength {
        /// The length claimed.
        length: i32,
        /// The limit it was checked against.
        max: u32,
    },
    /// No API of this number has messages here.
    #[error("API key {0} is not known")]
    UnknownApi(i16),
    /// The API's messages are not known in this version.
    #[error("{api} version {version} is not known")]
    UnknownVersion {
        /// The API's name.
        api: &'static str,
        /// The version asked for.
        version: ApiVersion,
    },
}

/// Bytes are not the message they should be: what is wrong, at which byte, in which field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError(Box<LocatedDecodeError>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct LocatedDecodeError {
    kind: DecodeErrorKind,
    at: usize,
    path: FieldPath,
}

impl DecodeError {
    /// An error at a byte of the frame, counted from 0.
    #[cold]
    #[must_use]
    pub fn new(kind: DecodeErrorKind, at: usize) -> Self {
        Self(Box::new(LocatedDecodeError { kind, at, path: FieldPath::default() }))
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &DecodeErrorKind {
        &self.0.kind
    }

    /// The byte of the frame at which it went wrong, counted from 0.
    #[must_use]
    pub fn at(&self) -> usize {
        self.0.at
    }

    /// The same error, found while reading this field of this message.
    #[cold]
    #[must_use]
    pub fn in_field(mut self, message: &'static str, field: &'static str) -> Self {
        self.0.path.push(message, field);
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}at byte {}: {}", self.0.path, self.0.at, self.0.kind)
    }
}

impl std::error::Error for DecodeError {}

/// Why a message has no form on the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeErrorKind {
    /// The field is set, and this version cannot carry it.
    #[error("version {0} has no such field, and it is set")]
    FieldNotInVersion(ApiVersion),
    /// The field is null, and this version cannot carry that.
    #[error("null, which version {0} cannot carry")]
    NullNotInVersion(ApiVersion),
    /// A text, byte string or array is longer than its length prefix can say.
    #[error("a length of {length}; at most {max} can be written")]
    TooLong {
        /// Its length.
        length: usize,
        /// The most there can be.
        max: usize,
    },
    /// The API's messages are not known in this version.
    #[error("{api} version {version} is not known")]
    UnknownVersion {
        /// The API's name.
        api: &'static str,
        /// The version asked for.
        version: ApiVersion,
    },
    /// Some of the response's bytes are elsewhere, and were asked for here.
    #[error("bytes that are elsewhere")]
    Gap,
}

/// A message has no form on the wire in the version asked for: why, and in which field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeError(Box<(EncodeErrorKind, FieldPath)>);

impl EncodeError {
    /// An error without a place yet.
    #[cold]
    #[must_use]
    pub fn new(kind: EncodeErrorKind) -> Self {
        Self(Box::new((kind, FieldPath::default())))
    }

    /// Why.
    #[must_use]
    pub fn kind(&self) -> &EncodeErrorKind {
        &self.0.0
    }

    /// The same error, found while writing this field of this message.
    #[cold]
    #[must_use]
    pub fn in_field(mut self, message: &'static str, field: &'static str) -> Self {
        self.0.1.push(message, field);
        self
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.1, self.0.0)
    }
}

impl std::error::Error for EncodeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where_from_the_outermost_message_inwards() {
        let kind = DecodeErrorKind::Truncated { needed: 8, remaining: 3 };
        let error = DecodeError::new(kind, 57)
            .in_field("PartitionProduceData", "records")
            .in_field("TopicProduceData", "partition_data")
            .in_field("ProduceRequest", "topic_data");
        let text = "ProduceRequest.topic_data.partition_data.records: \
                    at byte 57: 8 more bytes expected, 3 remain";
        assert_eq!(error.to_string(), text);
        assert_eq!(
            EncodeError::new(EncodeErrorKind::FieldNotInVersion(ApiVersion(2)))
                .in_field("ProduceRequest", "transactional_id")
                .to_string(),
            "ProduceRequest.transactional_id: version 2 has no such field, and it is set",
        );
    }
}
