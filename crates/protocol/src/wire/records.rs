//! Record batches of a response: in memory, or only their length.

use bytes::Bytes;

use super::value::{Layout, Nullable, WireValue};
use super::{DecodeError, EncodeError, Reader, Writer};

/// Record batches in a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// Their bytes.
    Here(Bytes),
    /// That many bytes, which whoever sends the response puts into its gap, from a file for
    /// example. It is written by [`crate::frame::encode_response_with_gaps`] only, and never read.
    Elsewhere(usize),
}

impl Records {
    /// How many bytes they are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            Self::Elsewhere(bytes) => *bytes,
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, if they are here; none if they are elsewhere. What was read is always here.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Here(bytes) => bytes,
            Self::Elsewhere(_) => Bytes::new(),
        }
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::Here(Bytes::new())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self::Here(bytes)
    }
}

impl From<Vec<u8>> for Records {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Here(bytes.into())
    }
}

impl WireValue for Records {
    fn bytes_min(layout: Layout) -> usize {
        Bytes::bytes_min(layout)
    }

    fn write(&self, w: &mut Writer, layout: Layout) -> Result<(), EncodeError> {
        match *self {
            Self::Here(ref bytes) => bytes.write(w, layout),
            Self::Elsewhere(bytes) => {
                if layout.flexible {
                    w.put_compact_len(bytes)?;
                } else {
                    w.put_len(bytes)?;
                }
                w.put_gap(bytes);
                Ok(())
            }
        }
    }

    fn read(r: &mut Reader, layout: Layout) -> Result<Self, DecodeError> {
        Bytes::read(r, layout).map(Self::Here)
    }
}

impl Nullable for Records {
    fn write_null(w: &mut Writer, layout: Layout) {
        Bytes::write_null(w, layout);
    }

    fn read_nullable(r: &mut Reader, layout: Layout) -> Result<Option<Self>, DecodeError> {
        Ok(Bytes::read_nullable(r, layout)?.map(Self::Here))
    }
}
