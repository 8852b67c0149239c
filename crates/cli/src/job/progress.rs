//! The record that says how far a file was ingested, as JSON, so that any consumer can read it.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::input::position::ContentHasher;
use crate::input::rotation::{Beginning, Behind};
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
    /// The file's whole path, as text.
    pub file: String,
    /// The bytes of that path in hexadecimal, if they aren't UTF-8: other paths are the same text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_hex: Option<String>,
}

impl ProgressKey {
    /// The key of a file by its whole path.
    pub fn of(job: &str, path: &Path) -> ProgressKey {
        let file_hex = path.to_str().is_none().then(|| hex(path.as_os_str().as_bytes()));
        ProgressKey { job: job.to_owned(), file: path.display().to_string(), file_hex }
    }

    /// The whole path.
    pub fn path(&self) -> PathBuf {
        let bytes = self.file_hex.as_deref().and_then(bytes_of);
        bytes.map_or_else(|| PathBuf::from(&self.file), |bytes| OsString::from_vec(bytes).into())
    }

    /// The key that releases before this wrote of such a path, which isn't of it alone: None of a
    /// path that is UTF-8, whose key is what it was.
    pub fn as_text(&self) -> Option<ProgressKey> {
        self.file_hex.as_ref()?;
        Some(ProgressKey { file_hex: None, ..self.clone() })
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    hex.len().is_multiple_of(2).then(|| hex.as_bytes().chunks(2).map(byte).collect())?
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
    /// How many partitions that topic had when a run began last: by that number keys go to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
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
    /// Of a file that was watched: when its inode was changed last, in ns since 1970. As long as
    /// that and its length are the same, it isn't read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_ns: Option<i64>,
    /// Of a file that is followed: which of the files that were under its path `bytes` is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
}

/// Where a followed file is among its rotated ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// Rows, also rejected ones, of the files before the one that `bytes` is in.
    pub rows_before: u64,
    /// How the last one of them begins that rows were read of, or that was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<KeptBeginning>,
    /// The same of those before that one, the latest first: so many are kept as [`OLDER_MAX`] says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub older: Vec<KeptBeginning>,
    /// Whether there were more of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_more: bool,
}

/// How many files before the last one are known by how they begin: more than are deleted between
/// two runs while an older one stays.
pub const OLDER_MAX: usize = 8;

/// The first bytes of a file, as what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptBeginning {
    /// How many.
    pub bytes: u64,
    /// What they hash to, as in [`FileProgress::hash`].
    pub hash: String,
}

impl Rotation {
    /// What it says of the files before the one that is read.
    pub fn behind(&self) -> Behind {
        let kept = self.after.iter().chain(&self.older);
        let beginnings = kept.filter_map(KeptBeginning::beginning).collect();
        Behind { beginnings, has_more: self.has_more }
    }

    /// That these are before the one that is read.
    pub fn set_behind(&mut self, behind: &Behind) {
        let mut kept = behind.beginnings.iter().map(KeptBeginning::of);
        self.after = kept.next();
        self.older = kept.by_ref().take(OLDER_MAX).collect();
        self.has_more = behind.has_more || kept.next().is_some();
    }
}

impl KeptBeginning {
    /// As it is kept.
    pub fn of(beginning: &Beginning) -> KeptBeginning {
        KeptBeginning { bytes: beginning.bytes, hash: beginning.hash.to_string() }
    }

    /// As it was read; None if the record's hash can't be.
    pub fn beginning(&self) -> Option<Beginning> {
        Some(Beginning { bytes: self.bytes, hash: self.hash.parse().ok()? })
    }
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
            partitions: None,
            shape: shape.to_owned(),
            bytes: 0,
            next_line: 1,
            hash: ContentHasher::default().hash().to_string(),
            rows: 0,
            rejected: 0,
            file_bytes: 0,
            complete: false,
            changed_ns: None,
            rotation: None,
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

    /// That the file under its path is another one from here on, and none of it read yet. The one
    /// before is known by what was read of it, if that has a row.
    pub fn begin_next_file(&mut self, read: &Beginning) {
        let has_row = self.has_row();
        let rotation = self.rotation.get_or_insert_default();
        rotation.rows_before = self.rows + self.rejected;
        if has_row {
            let mut behind = rotation.behind();
            behind.beginnings.insert(0, *read);
            rotation.set_behind(&behind);
        }
        let start = FileProgress::start("", "", "", None);
        (self.bytes, self.next_line, self.hash) = (start.bytes, start.next_line, start.hash);
    }

    /// What is known of the files before the one that `bytes` is in.
    pub fn behind(&self) -> Behind {
        self.rotation.as_ref().map(Rotation::behind).unwrap_or_default()
    }

    /// Whether a row was read of the file that `bytes` is in.
    pub fn has_row(&self) -> bool {
        let before = self.rotation.as_ref().map_or(0, |rotation| rotation.rows_before);
        self.rows + self.rejected > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_row_isnt_what_the_next_one_is_known_by() {
        let mut progress = FileProgress::start("t", "", "csv", None);
        let read = |bytes| Beginning { bytes, hash: ContentHash(bytes.into()) };
        (progress.bytes, progress.rows, progress.rejected) = (90, 4, 1);
        assert!(progress.has_row());
        progress.begin_next_file(&read(90));
        assert_eq!((progress.bytes, progress.next_line, progress.has_row()), (0, 1, false));
        progress.begin_next_file(&read(8));
        let rotation = progress.rotation.unwrap();
        assert_eq!(rotation.rows_before, 5);
        assert_eq!(rotation.behind(), Behind { beginnings: vec![read(90)], has_more: false });
    }

    #[test]
    fn so_many_files_before_the_one_that_is_read_are_known_and_that_there_were_more() {
        let read = |bytes: u64| Beginning { bytes, hash: ContentHash(bytes.into()) };
        let mut progress = FileProgress::start("t", "", "csv", None);
        for file in 1..=12 {
            progress.rows += 1;
            progress.begin_next_file(&read(file));
            let json = serde_json::to_string(&progress).unwrap();
            progress = serde_json::from_str(&json).unwrap();
            let behind = progress.rotation.as_ref().unwrap().behind();
            let expected: Vec<_> = (1..=file).rev().take(OLDER_MAX + 1).map(read).collect();
            assert_eq!((behind.beginnings, behind.has_more), (expected, file > 9), "{file}");
        }
        // What an earlier version kept says nothing of others.
        let kept =
            r#"{"rows_before":3,"after":{"bytes":9,"hash":"00000000000000000000000000000009"}}"#;
        let kept: Rotation = serde_json::from_str(kept).unwrap();
        assert_eq!(kept.behind(), Behind { beginnings: vec![read(9)], has_more: false });
    }

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
        let key = ProgressKey::of("j", Path::new("/a \"b\".csv"));
        let bytes = serde_json::to_string(&key).unwrap();
        assert_eq!(bytes, r#"{"job":"j","file":"/a \"b\".csv"}"#);
        assert_eq!(serde_json::from_str::<ProgressKey>(&bytes).unwrap(), key);
        assert_eq!((key.path(), key.as_text()), (PathBuf::from("/a \"b\".csv"), None));
    }

    #[test]
    fn paths_that_are_the_same_text_have_keys_of_their_own() {
        let path = |byte| PathBuf::from(OsString::from_vec(vec![b'/', byte]));
        let [one, other] = [0xe9, 0xff].map(|byte| ProgressKey::of("j", &path(byte)));
        assert_eq!(one.file, other.file);
        assert_ne!(one, other);
        let json = serde_json::to_string(&one).unwrap();
        assert_eq!(json, "{\"job\":\"j\",\"file\":\"/\u{fffd}\",\"file_hex\":\"2fe9\"}");
        let read: ProgressKey = serde_json::from_str(&json).unwrap();
        assert_eq!((read.path(), &read), (path(0xe9), &one));
        assert_eq!(one.as_text(), other.as_text());
        assert_eq!(one.as_text(), Some(ProgressKey::of("j", Path::new("/\u{fffd}"))));
        for wrong in ["2", "2g", "é"] {
            let key = ProgressKey { file_hex: Some(wrong.to_owned()), ..one.clone() };
            assert_eq!(key.path(), Path::new("/\u{fffd}"), "{wrong}");
        }
    }
}
