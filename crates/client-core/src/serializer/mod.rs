//! Makes keys and values into bytes, without a copy where they are bytes already.

/// Turns a value into the bytes of a record's key or value.
///
/// Bytes that are there already are borrowed; others are written into `buffer`, which is empty
/// and reused from record to record. Either way the accumulator copies them once, into the batch.
/// None is a null: a record without a key, or a tombstone.
///
/// ```
/// use streamledger_client_core::serializer::{SerializeError, Serializer};
///
/// /// Big-endian, as Java's `LongSerializer`.
/// struct Long;
///
/// impl Serializer<i64> for Long {
///     fn serialize<'a>(
///         &self,
///         _topic: &str,
///         value: &'a i64,
///         buffer: &'a mut Vec<u8>,
///     ) -> Result<Option<&'a [u8]>, SerializeError> {
///         buffer.extend_from_slice(&value.to_be_bytes());
///         Ok(Some(buffer))
///     }
/// }
///
/// let mut buffer = Vec::new();
/// let bytes = Long.serialize("clicks", &258, &mut buffer)?;
/// assert_eq!(bytes, Some(&[0, 0, 0, 0, 0, 0, 1, 2][..]));
/// # Ok::<(), SerializeError>(())
/// ```
pub trait Serializer<T: ?Sized>: Send + Sync {
    /// The bytes of `value`.
    ///
    /// # Errors
    /// The value can't be written in this format. The record is then not sent.
    fn serialize<'a>(
        &self,
        topic: &str,
        value: &'a T,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>, SerializeError>;
}

/// Why a value can't be serialized.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SerializeError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// Bytes as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BytesSerializer;

impl<T: AsRef<[u8]> + ?Sized> Serializer<T> for BytesSerializer {
    #[inline]
    fn serialize<'a>(
        &self,
        _topic: &str,
        value: &'a T,
        _buffer: &'a mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>, SerializeError> {
        Ok(Some(value.as_ref()))
    }
}

/// Text as UTF-8, as Java's `StringSerializer`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StringSerializer;

impl<T: AsRef<str> + ?Sized> Serializer<T> for StringSerializer {
    #[inline]
    fn serialize<'a>(
        &self,
        _topic: &str,
        value: &'a T,
        _buffer: &'a mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>, SerializeError> {
        Ok(Some(value.as_ref().as_bytes()))
    }
}

/// Whatever another serializer makes of it, or null.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Nullable<S>(pub S);

impl<T, S: Serializer<T>> Serializer<Option<T>> for Nullable<S> {
    fn serialize<'a>(
        &self,
        topic: &str,
        value: &'a Option<T>,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>, SerializeError> {
        match value {
            Some(value) => self.0.serialize(topic, value, buffer),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_text_are_borrowed_not_copied() {
        let mut buffer = Vec::new();
        let text = String::from("grüße");
        let bytes = StringSerializer.serialize("t", &text, &mut buffer).unwrap().unwrap();
        assert_eq!((bytes.as_ptr(), bytes), (text.as_ptr(), "grüße".as_bytes()));
        let blob = [1, 2, 3];
        let bytes = BytesSerializer.serialize("t", &blob, &mut buffer).unwrap().unwrap();
        assert_eq!(bytes.as_ptr(), blob.as_ptr());
        assert_eq!(buffer.capacity(), 0);
    }

    #[test]
    fn none_is_null_and_empty_is_empty() {
        let mut buffer = Vec::new();
        let serializer = Nullable(StringSerializer);
        assert_eq!(serializer.serialize("t", &None::<&str>, &mut buffer).unwrap(), None);
        assert_eq!(serializer.serialize("t", &Some(""), &mut buffer).unwrap(), Some(&[][..]));
    }
}
