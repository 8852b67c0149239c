//! Standard input as an input file: looked at for its format and types, then read from its start.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use super::format::FileFormat;

/// What standard input is called on the command line.
pub const ARGUMENT: &str = "-";

/// What it is called in what is said about it.
pub const NAME: &str = "<stdin>";

/// Standard input. What was read to look at it is kept until it is read again.
pub struct StandardInput {
    source: Box<dyn Read>,
    /// What was read while looking.
    seen: Vec<u8>,
    /// How much of it was read again.
    at: usize,
    is_looking: bool,
}

impl StandardInput {
    /// Whether a path stands for standard input.
    pub fn is_meant_by(path: &Path) -> bool {
        path == Path::new(ARGUMENT)
    }

    /// Begins to look at it.
    pub fn new(source: Box<dyn Read>) -> StandardInput {
        StandardInput { source, seen: Vec::new(), at: 0, is_looking: true }
    }

    /// What its first characters say it holds: NDJSON begins with a brace, Parquet with its own
    /// name, anything else is CSV.
    pub fn sniff(&mut self) -> io::Result<FileFormat> {
        let mut byte = [b' '];
        while byte[0].is_ascii_whitespace() || byte[0] >= 0x80 {
            if self.read(&mut byte)? == 0 {
                break;
            }
        }
        let is_parquet = byte[0] == b'P' && self.begins_with(b"PAR1")?;
        self.at = 0;
        Ok(match byte[0] {
            b'{' => FileFormat::Ndjson,
            _ if is_parquet => FileFormat::Parquet,
            _ => FileFormat::Csv,
        })
    }

    /// Reads on as long as what was read so far is how `text` begins; whether all of it is there.
    fn begins_with(&mut self, text: &[u8]) -> io::Result<bool> {
        let mut byte = [0];
        while self.seen.len() < text.len() && text.starts_with(&self.seen) {
            if self.read(&mut byte)? == 0 {
                break;
            }
        }
        Ok(self.seen.starts_with(text))
    }

    /// From here on it is read from its start, and nothing more is kept.
    #[must_use]
    pub fn rewound(self) -> StandardInput {
        StandardInput { at: 0, is_looking: false, ..self }
    }
}

impl Read for StandardInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let again = &self.seen[self.at..];
        if !again.is_empty() {
            let count = again.len().min(buffer.len());
            buffer[..count].copy_from_slice(&again[..count]);
            self.at += count;
            if !self.is_looking && self.at == self.seen.len() {
                (self.seen, self.at) = (Vec::new(), 0);
            }
            return Ok(count);
        }
        let count = self.source.read(buffer)?;
        if self.is_looking {
            self.seen.extend_from_slice(&buffer[..count]);
            self.at = self.seen.len();
        }
        Ok(count)
    }
}

impl fmt::Debug for StandardInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen_bytes = self.seen.len();
        f.debug_struct("StandardInput").field("seen_bytes", &seen_bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::chunk::Dribble;

    #[test]
    fn what_was_looked_at_is_read_again_and_then_the_rest() {
        let mut input = StandardInput::new(Box::new(Dribble::new(b"a,b\n1,2\n3,4\n")));
        assert_eq!(input.sniff().unwrap(), FileFormat::Csv);
        let mut looked_at = [0; 6];
        input.read_exact(&mut looked_at).unwrap();
        assert_eq!(&looked_at, b"a,b\n1,");
        let mut all = Vec::new();
        let mut input = input.rewound();
        input.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"a,b\n1,2\n3,4\n");
        assert!(input.seen.is_empty(), "nothing is kept of what was read again");
    }

    #[test]
    fn a_brace_is_ndjson_also_behind_a_byte_order_mark() {
        let format = |text: &'static [u8]| StandardInput::new(Box::new(text)).sniff().unwrap();
        assert_eq!(format(b"\n {\"a\":1}"), FileFormat::Ndjson);
        assert_eq!(format(b"\xef\xbb\xbf{\"a\":1}"), FileFormat::Ndjson);
        assert_eq!(format(b"a,b\n"), FileFormat::Csv);
        assert_eq!(format(b"PAR1\x15"), FileFormat::Parquet);
        assert_eq!(format(b"PAR,b\n"), FileFormat::Csv);
        assert_eq!(format(b"P"), FileFormat::Csv);
        assert_eq!(format(b""), FileFormat::Csv);
    }
}
