//! The headers that a row gives its record, in a buffer that is used again for each row.

/// The most headers that rows may give.
pub const HEADERS_MAX: usize = 16;

/// Headers under construction.
#[derive(Debug, Default)]
pub struct HeaderBuffer {
    names: Vec<String>,
    /// The length of each value; None for null.
    lengths: Vec<Option<usize>>,
    bytes: Vec<u8>,
}

impl HeaderBuffer {
    /// For headers of these names, in this order.
    pub fn new(names: Vec<String>) -> HeaderBuffer {
        HeaderBuffer { names, ..HeaderBuffer::default() }
    }

    /// Starts anew.
    pub fn begin(&mut self) {
        self.lengths.clear();
        self.bytes.clear();
    }

    /// Gives the next header its value: what `write` adds to the bytes, or null if it says so.
    pub fn push<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        let has_value = write(&mut self.bytes)?;
        self.lengths.push(has_value.then(|| self.bytes.len() - start));
        Ok(())
    }

    /// What was written since `begin`.
    pub fn written(&self) -> Headers<'_> {
        Headers { names: &self.names, lengths: &self.lengths, bytes: &self.bytes }
    }
}

/// A row's headers, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    names: &'a [String],
    lengths: &'a [Option<usize>],
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Each header's name and value; None for null.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> {
        let mut rest = self.bytes;
        self.names.iter().zip(self.lengths).map(move |(name, length)| {
            let value = length.map(|length| {
                let (value, after) = rest.split_at(length);
                rest = after;
                value
            });
            (name.as_str(), value)
        })
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.lengths.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_differ_and_each_row_starts_anew() {
        let mut buffer = HeaderBuffer::new(["a", "b", "c"].map(str::to_owned).to_vec());
        for _ in 0..2 {
            buffer.begin();
            for value in [Some("x"), None, Some("")] {
                let pushed: Result<(), ()> = buffer.push(|bytes| {
                    bytes.extend_from_slice(value.unwrap_or_default().as_bytes());
                    Ok(value.is_some())
                });
                pushed.unwrap();
            }
            let all: Vec<_> = buffer.written().iter().collect();
            assert_eq!(all, [("a", Some(&b"x"[..])), ("b", None), ("c", Some(&b""[..]))]);
        }
        assert!(Headers::default().is_empty() && Headers::default().iter().next().is_none());
    }
}
