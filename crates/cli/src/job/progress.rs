//! The record that says how far a file was ingested, as JSON, so that any consumer can read it.

use serde::{Deserialize, Serialize};

use crate::input::position::ContentHasher;
use crate::input::{ContentHash, Place, Position};

/// The newest version of the record: of compressed files.
pub(super) const VERSION: u32 = 2;

/// The version of the record of files that aren't compressed, which the first release reads too.
const VERSION_PLAIN: u32 = 1;

/// Which file of which job; the key of the record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProgressKey {
    /// The job.
    pub job: String,
    /// The file's whole path.
    pub file: String,
}

/// How far a file was ingested; the value of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileProgress {
    /// The version of this record.
    pub version: u32,
    /// The topic of the rows.
    pub topic: String,
    /// The topic's id: another topic of the same name has none of the rows. Empty where the broker
    /// gives topics no id (before Kafka 2.8).
    pub topic_id: String,
    /// How the file is compressed. Then `bytes` and `hash` are of what it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
    /// What decides how a row becomes a record: format, key, timestamp, types.
    pub shape: String,
    /// Bytes of the file that are ingested, up to the end of a row.
    pub bytes: u64,
    /// The line after them, counted from 1.
    pub next_line: u64,
    /// What those bytes hash to: XXH3 with 128 bits, in hexadecimal.
    pub hash: String,
    /// Rows that became records.
    pub rows: u64,
    /// Rows that were left out or sent to the dead letters.
    pub rejected: u64,
    /// Bytes of the file, as it is on the disk, when it was last looked at.
    pub file_bytes: u64,
    /// Whether it was ingested to its end.
    pub complete: bool,
}

impl FileProgress {
    /// That nothing of a file was ingested.
    pub fn start(
        topic: &str,
        topic_id: &str,
        shape: &str,
        compression: Option<&str>,
    ) -> FileProgress {
        FileProgress {
            version: if compression.is_some() { VERSION } else { VERSION_PLAIN },
            compression: compression.map(str::to_owned),
            topic: topic.to_owned(),
            topic_id: topic_id.to_owned(),
            shape: shape.to_owned(),
            bytes: 0,
            next_line: 1,
            hash: ContentHasher::default().hash().to_string(),
            rows: 0,
            rejected: 0,
            file_bytes: 0,
            complete: false,
        }
    }

    /// The place in the file where it goes on; None if the record's hash can't be read.
    pub fn position(&self) -> Option<Position> {
        let hash: ContentHash = self.hash.parse().ok()?;
        let place = Place { bytes: self.bytes, next_line: self.next_line };
        Some(Position { place, hash })
    }

    /// The same progress at a later place.
    pub fn advance(&mut self, position: &Position) {
        self.bytes = position.place.bytes;
        self.next_line = position.place.next_line;
        self.hash = position.hash.to_string();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_is_read_back_and_its_key_is_always_the_same_bytes() {
        let mut progress = FileProgress::start("t", "", "csv", None);
        assert_eq!(progress.position().unwrap().place, Place { bytes: 0, next_line: 1 });
        let place = Place { bytes: 42, next_line: 7 };
        let position = Position { place, hash: ContentHash(0xabc) };
        progress.advance(&position);
        let json = serde_json::to_string(&progress).unwrap();
        let read: FileProgress = serde_json::from_str(&json).unwrap();
        assert_eq!(read, progress);
        assert!(read.version == 1 && !json.contains("compression"), "as ever: {json}");
        let packed = FileProgress::start("t", "", "csv", Some("gzip"));
        let json = serde_json::to_string(&packed).unwrap();
        assert_eq!(serde_json::from_str::<FileProgress>(&json).unwrap(), packed);
        assert_eq!(packed.version, 2, "a release that takes bytes for the file's refuses it");
        assert_eq!(read.position(), Some(position));
        let key = ProgressKey { job: "j".to_owned(), file: "/a \"b\".csv".to_owned() };
        let bytes = serde_json::to_string(&key).unwrap();
        assert_eq!(bytes, r#"{"job":"j","file":"/a \"b\".csv"}"#);
        assert_eq!(serde_json::from_str::<ProgressKey>(&bytes).unwrap(), key);
    }
}
