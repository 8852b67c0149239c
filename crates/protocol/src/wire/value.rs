//! Which Rust type is which type of the wire.

use bytes::Bytes;

use super::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};
use crate::{
    ApiVersion, BrokerId, ClientInstanceId, CorrelationId, ErrorCode, GroupId, LeaderEpoch, Offset,
    PartitionIndex, ProducerEpoch, ProducerId, SequenceNumber, TimestampMs, TopicId, TopicName,
    TransactionalId,
};

/// How a message is laid out: its version, and whether that version is flexible (KIP-482).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The version of the API.
    pub version: ApiVersion,
    /// Whether lengths are compact and structs end with tagged fields.
    pub flexible: bool,
}

/// A type that has a form on the wire.
pub trait WireValue: Sized {
    /// The fewest bytes a value takes; never 0.
    fn bytes_min(layout: Layout) -> usize;

    /// Writes the value.
    ///
    /// # Errors
    /// The value has no form in this version.
    fn write(&self, w: &mut Writer, layout: Layout) -> Result<(), EncodeError>;

    /// Reads a value.
    ///
    /// # Errors
    /// The bytes are not one.
    fn read(r: &mut Reader, layout: Layout) -> Result<Self, DecodeError>;

    /// Shows each error code in the value and its parts; without being told, it has none.
    #[inline]
    fn visit_errors(&self, visit: &mut dyn FnMut(ErrorCode)) {
        let _ = visit;
    }
}

/// A type whose value can be null on the wire; `Option` of it has a form then.
pub trait Nullable: WireValue {
    /// The fewest bytes null or a value takes.
    fn nullable_bytes_min(layout: Layout) -> usize {
        Self::bytes_min(layout)
    }

    /// Writes null.
    fn write_null(w: &mut Writer, layout: Layout);

    /// Writes a value where null could be.
    ///
    /// # Errors
    /// The value has no form in this version.
    fn write_not_null(&self, w: &mut Writer, layout: Layout) -> Result<(), EncodeError> {
        self.write(w, layout)
    }

    /// Reads null or a value.
    ///
    /// # Errors
    /// The bytes are neither.
    fn read_nullable(r: &mut Reader, layout: Layout) -> Result<Option<Self>, DecodeError>;
}

impl<T: Nullable> WireValue for Option<T> {
    #[inline]
    fn bytes_min(layout: Layout) -> usize {
        T::nullable_bytes_min(layout)
    }

    #[inline]
    fn write(&self, w: &mut Writer, layout: Layout) -> Result<(), EncodeError> {
        match self {
            Some(value) => value.write_not_null(w, layout),
            None => {
                T::write_null(w, layout);
                Ok(())
            }
        }
    }

    #[inline]
    fn read(r: &mut Reader, layout: Layout) -> Result<Self, DecodeError> {
        T::read_nullable(r, layout)
    }

    #[inline]
    fn visit_errors(&self, visit: &mut dyn FnMut(ErrorCode)) {
        if let Some(value) = self {
            value.visit_errors(visit);
        }
    }
}

/// Numbers, alone or as the inside of a newtype.
macro_rules! numbers {
    ($($type:ty: $bytes:literal, $put:ident($($field:tt)?), $read:ident $(=> $wrap:path)?;)*) => {
        $(
            impl WireValue for $type {
                #[inline]
                fn bytes_min(_: Layout) -> usize {
                    $bytes
                }

                #[inline]
                fn write(&self, w: &mut Writer, _: Layout) -> Result<(), EncodeError> {
                    w.$put((*self)$(.$field)?);
                    Ok(())
                }

                #[inline]
                fn read(r: &mut Reader, _: Layout) -> Result<Self, DecodeError> {
                    r.$read()$(.map($wrap))?
                }
            }
        )*
    };
}

numbers! {
    bool: 1, put_bool(), bool;
    i8: 1, put_i8(), i8;
    i16: 2, put_i16(), i16;
    i32: 4, put_i32(), i32;
    i64: 8, put_i64(), i64;
    u16: 2, put_u16(), u16;
    u32: 4, put_u32(), u32;
    f64: 8, put_f64(), f64;
    ApiVersion: 2, put_i16(0), i16 => ApiVersion;
    BrokerId: 4, put_i32(0), i32 => BrokerId;
    CorrelationId: 4, put_i32(0), i32 => CorrelationId;
    LeaderEpoch: 4, put_i32(0), i32 => LeaderEpoch;
    Offset: 8, put_i64(0), i64 => Offset;
    PartitionIndex: 4, put_i32(0), i32 => PartitionIndex;
    ProducerEpoch: 2, put_i16(0), i16 => ProducerEpoch;
    ProducerId: 8, put_i64(0), i64 => ProducerId;
    SequenceNumber: 4, put_i32(0), i32 => SequenceNumber;
    TimestampMs: 8, put_i64(0), i64 => TimestampMs;
}

impl WireValue for ErrorCode {
    #[inline]
    fn bytes_min(_: Layout) -> usize {
        2
    }

    #[inline]
    fn write(&self, w: &mut Writer, _: Layout) -> Result<(), EncodeError> {
        w.put_i16(self.code());
        Ok(())
    }

    #[inline]
    fn read(r: &mut Reader, _: Layout) -> Result<Self, DecodeError> {
        r.i16().map(Self::from_code)
    }

    #[inline]
    fn visit_errors(&self, visit: &mut dyn FnMut(ErrorCode)) {
        visit(*self);
    }
}

impl WireValue for [u8; 16] {
    #[inline]
    fn bytes_min(_: Layout) -> usize {
        16
    }

    #[inline]
    fn write(&self, w: &mut Writer, _: Layout) -> Result<(), EncodeError> {
        w.put_slice(self);
        Ok(())
    }

    #[inline]
    fn read(r: &mut Reader, _: Layout) -> Result<Self, DecodeError> {
        r.uuid()
    }
}

/// Newtypes of a UUID.
macro_rules! uuids {
    ($($type:ty;)*) => {
        $(
            impl WireValue for $type {
                #[inline]
                fn bytes_min(_: Layout) -> usize {
                    16
                }

                #[inline]
                fn write(&self, w: &mut Writer, _: Layout) -> Result<(), EncodeError> {
                    w.put_slice(&self.0);
                    Ok(())
                }

                #[inline]
                fn read(r: &mut Reader, _: Layout) -> Result<Self, DecodeError> {
                    r.uuid().map(Self)
                }
            }
        )*
    };
}

uuids! {
    ClientInstanceId;
    TopicId;
}

/// Texts, each by how it gives and takes a `&str`.
macro_rules! texts {
    ($($type:ty;)*) => {
        $(
            impl WireValue for $type {
                #[inline]
                fn bytes_min(layout: Layout) -> usize {
                    if layout.flexible { 1 } else { 2 }
                }

                #[inline]
                fn write(&self, w: &mut Writer, layout: Layout) -> Result<(), EncodeError> {
                    if layout.flexible {
                        w.put_compact_string(self.as_str())
                    } else {
                        w.put_string(self.as_str())
                    }
                }

                #[inline]
                fn read(r: &mut Reader, layout: Layout) -> Result<Self, DecodeError> {
                    let text = if layout.flexible { r.compact_string() } else { r.string() };
                    text.map(Self::from)
                }
            }

            impl Nullable for $type {
                fn write_null(w: &mut Writer, layout: Layout) {
                    if layout.flexible { w.put_compact_null_len() } else { w.put_null_string() }
                }

                fn read_nullable(
                    r: &mut Reader,
                    layout: Layout,
                ) -> Result<Option<Self>, DecodeError> {
                    let text = if layout.flexible {
                        r.compact_nullable_string()
                    } else {
                        r.nullable_string()
                    };
                    Ok(text?.map(Self::from))
                }
            }
        )*
    };
}

texts! {
    String;
    TopicName;
    TransactionalId;
    GroupId;
}

fn write_len(length: usize, w: &mut Writer, layout: Layout) -> Result<(), EncodeError> {
    if layout.flexible { w.put_compact_len(length) } else { w.put_len(length) }
}

fn write_null_len(w: &mut Writer, layout: Layout) {
    if layout.flexible { w.put_compact_null_len() } else { w.put_null_len() }
}

fn len_bytes_min(layout: Layout) -> usize {
    if layout.flexible { 1 } else { 4 }
}

impl WireValue for Bytes {
    #[inline]
    fn bytes_min(layout: Layout) -> usize {
        len_bytes_min(layout)
    }

    #[inline]
    fn write(&self, w: &mut Writer, layout: Layout) -> Result<(), EncodeError> {
        write_len(self.len(), w, layout)?;
        w.put_bytes_shared(self.clone());
        Ok(())
    }

    #[inline]
    fn read(r: &mut Reader, layout: Layout) -> Result<Self, DecodeError> {
        if layout.flexible { r.compact_bytes() } else { r.bytes() }
    }
}

impl Nullable for Bytes {
    fn write_null(w: &mut Writer, layout: Layout) {
        write_null_len(w, layout);
    }

    fn read_nullable(r: &mut Reader, layout: Layout) -> Result<Option<Self>, DecodeError> {
        if layout.flexible { r.compact_nullable_bytes() } else { r.nullable_bytes() }
    }
}

fn read_elements<T: WireValue>(
    count: usize,
    r: &mut Reader,
    layout: Layout,
) -> Result<Vec<T>, DecodeError> {
    // The count was checked against the bytes that remain.
    let mut elements = Vec::with_capacity(count);
    for _ in 0..count {
        elements.push(T::read(r, layout)?);
    }
    Ok(elements)
}

impl<T: WireValue> WireValue for Vec<T> {
    #[inline]
    fn bytes_min(layout: Layout) -> usize {
        len_bytes_min(layout)
    }

    fn write(&self, w: &mut Writer, layout: Layout) -> Result<(), EncodeError> {
        write_len(self.len(), w, layout)?;
        self.iter().try_for_each(|element| element.write(w, layout))
    }

    fn read(r: &mut Reader, layout: Layout) -> Result<Self, DecodeError> {
        let element_bytes_min = T::bytes_min(layout);
        let count = if layout.flexible {
            r.compact_array_len(element_bytes_min)
        } else {
            r.array_len(element_bytes_min)
        };
        read_elements(count?, r, layout)
    }

    #[inline]
    fn visit_errors(&self, visit: &mut dyn FnMut(ErrorCode)) {
        self.iter().for_each(|element| element.visit_errors(visit));
    }
}

impl<T: WireValue> Nullable for Vec<T> {
    fn write_null(w: &mut Writer, layout: Layout) {
        write_null_len(w, layout);
    }

    fn read_nullable(r: &mut Reader, layout: Layout) -> Result<Option<Self>, DecodeError> {
        let element_bytes_min = T::bytes_min(layout);
        let count = if layout.flexible {
            r.compact_nullable_array_len(element_bytes_min)
        } else {
            r.nullable_array_len(element_bytes_min)
        };
        count?.map(|count| read_elements(count, r, layout)).transpose()
    }
}

/// What stands before a nullable struct: -1 for null, 1 for a value (KIP-893).
impl Reader {
    /// Reads whether a struct follows.
    ///
    /// # Errors
    /// No byte remains, or it is neither mark.
    pub fn null_marker(&mut self) -> Result<bool, DecodeError> {
        match self.i8()? {
            -1 => Ok(false),
            1 => Ok(true),
            other => Err(self.error(DecodeErrorKind::NullMarker(other))),
        }
    }
}

impl Writer {
    /// Writes whether a struct follows.
    pub fn put_null_marker(&mut self, follows: bool) {
        self.put_i8(if follows { 1 } else { -1 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    #[track_caller]
    fn check<T: WireValue + PartialEq + Debug>(value: &T, rigid: &[u8], flexible: &[u8]) {
        for (flexible, expected) in [(false, rigid), (true, flexible)] {
            let layout = Layout { version: ApiVersion(0), flexible };
            let mut w = Writer::new();
            value.write(&mut w, layout).unwrap();
            let bytes = w.finish().into_bytes();
            assert_eq!(bytes, expected);
            assert!(bytes.len() >= T::bytes_min(layout));
            let mut r = Reader::new(bytes);
            assert_eq!(&T::read(&mut r, layout).unwrap(), value);
            r.finish().unwrap();
        }
    }

    #[test]
    fn each_type_has_its_form_in_rigid_and_flexible_versions() {
        check(&true, &[1], &[1]);
        check(
            &Offset(-2),
            &[255, 255, 255, 255, 255, 255, 255, 254],
            &[255, 255, 255, 255, 255, 255, 255, 254],
        );
        check(&ErrorCode::NotLeaderOrFollower, &[0, 6], &[0, 6]);
        check(&TopicId([3; 16]), &[3; 16], &[3; 16]);
        check(&TopicName::from("ab"), &[0, 2, b'a', b'b'], &[3, b'a', b'b']);
        check(&Some(String::new()), &[0, 0], &[1]);
        check(&None::<GroupId>, &[255, 255], &[0]);
        check(&Bytes::from_static(&[9]), &[0, 0, 0, 1, 9], &[2, 9]);
        check(&None::<Bytes>, &[255, 255, 255, 255], &[0]);
        check(&vec![1_i16, 2], &[0, 0, 0, 2, 0, 1, 0, 2], &[3, 0, 1, 0, 2]);
        check(&None::<Vec<i32>>, &[255, 255, 255, 255], &[0]);
        check(&Some(vec![Vec::<i8>::new()]), &[0, 0, 0, 1, 0, 0, 0, 0], &[2, 1]);
    }
}
