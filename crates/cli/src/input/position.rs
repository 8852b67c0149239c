//! How far a file was consumed: where the next row starts, and what all bytes before it hash to.

use std::fmt;
use std::io;
use std::str::FromStr;

use thiserror::Error;
use twox_hash::XxHash3_128;

/// The hash of a file's first bytes: XXH3 with 128 bits. It tells an edit from the original by
/// accident; it isn't made against somebody who forges both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHash(pub u128);

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for ContentHash {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<ContentHash, Self::Err> {
        u128::from_str_radix(text, 16).map(ContentHash)
    }
}

/// A hash under way.
pub struct ContentHasher(XxHash3_128);

impl Default for ContentHasher {
    fn default() -> ContentHasher {
        ContentHasher(XxHash3_128::with_seed(0))
    }
}

impl ContentHasher {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The hash of all bytes so far.
    pub fn hash(&self) -> ContentHash {
        ContentHash(self.0.finish_128())
    }
}

impl fmt::Debug for ContentHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ContentHasher").field(&self.hash()).finish()
    }
}

/// A place in a file between two rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Bytes before it.
    pub bytes: u64,
    /// The line that starts there, counted from 1.
    pub next_line: u64,
}

/// A place, and what the file has before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Where it is.
    pub place: Place,
    /// What the bytes before it hash to.
    pub hash: ContentHash,
}

/// Where a row starts that is being passed over, as it is longer than rows may be: until its end is
/// found, nothing of it counts as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassedOver {
    /// Where it starts.
    pub place: Place,
    /// The same with a hash, if that is kept.
    pub position: Option<Position>,
    /// Whether a quote is open where the reading of it is.
    pub in_quotes: bool,
    /// Whether one was open where it became too long.
    pub open_quote: bool,
}

/// Why a file can't be read on from a position.
#[derive(Debug, Error)]
pub enum ResumeFault {
    /// It can't be read.
    #[error("can't be read")]
    Io(#[from] io::Error),
    /// It ends before the position.
    #[error("has {found} bytes, and {expected} of it were ingested before: it was cut")]
    Cut {
        /// Bytes it has.
        found: u64,
        /// Bytes of the position.
        expected: u64,
    },
    /// Its bytes up to the position aren't those that were read before.
    #[error("was edited or replaced: its first {bytes} bytes aren't those that were ingested")]
    Altered {
        /// Bytes of the position.
        bytes: u64,
    },
    /// The file is read from its end, and what is there isn't what was there; or what was read.
    #[error("is another file than the one that was ingested: what was read of it isn't the same")]
    OtherFile,
    /// The last row was taken without a line end, and the file now goes on in the same line.
    #[error(
        "goes on in the middle of its line {line}, which had no line end when it was ingested: \
         half a row was taken for a whole one"
    )]
    Continued {
        /// The line, counted from 1.
        line: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_back_as_it_was_written() {
        let mut hasher = ContentHasher::default();
        hasher.update(b"a,b\n");
        hasher.update(b"1,2\n");
        let hash = hasher.hash();
        assert_eq!(hash, ContentHash(XxHash3_128::oneshot(b"a,b\n1,2\n")));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(ContentHash(7).to_string(), format!("{:032}", 7));
    }
}
