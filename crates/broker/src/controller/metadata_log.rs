//! The metadata log on disk: one small file, each decision flushed before it counts.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use streamledger_broker_core::controller::{
    ClusterState, JOURNAL_HEADER, JournalError, MetadataRecord, RecordError, ReplayError,
    encode_frame, read_journal,
};
use thiserror::Error;
use tracing::{info, warn};

use crate::storage::new_file;

/// The file's name in the data directory.
pub(crate) const METADATA_LOG: &str = "metadata.log";

/// A log with this many records more than its state needs is written anew at start.
const SUPERFLUOUS_RECORDS_MAX: usize = 1000;

/// Why the metadata log cannot be used, or a decision was not kept.
#[derive(Debug, Error)]
pub enum MetadataLogError {
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a metadata log of this version, or damaged.
    #[error("{path}: {source}")]
    Journal {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: JournalError,
    },
    /// The records contradict each other.
    #[error("{path}: {source}")]
    Replay {
        /// The file.
        path: PathBuf,
        /// Which one, and how.
        source: ReplayError,
    },
    /// A record is too long to be kept.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A flush failed before: what is on disk is not known, so nothing more is written.
    #[error("{0}: a flush failed; restart the broker once the disk is well")]
    Offline(PathBuf),
}

/// The open metadata log.
#[derive(Debug)]
pub(crate) struct MetadataLog {
    path: PathBuf,
    file: File,
    /// Bytes of whole decisions in the file.
    valid_bytes: u64,
    record_count: u64,
    /// A flush failed: the kernel may have dropped what was written (FAILURES.md 36).
    is_offline: bool,
}

impl MetadataLog {
    /// Opens or founds the metadata log in a directory, and replays it.
    pub(crate) fn open(directory: &Path) -> Result<(Self, ClusterState), MetadataLogError> {
        let path = directory.join(METADATA_LOG);
        let failed = |source| MetadataLogError::Io { path: path.clone(), source };
        let bytes = read_whole(&path).map_err(failed)?;
        let journal = read_journal(&bytes)
            .map_err(|source| MetadataLogError::Journal { path: path.clone(), source })?;
        if journal.valid_bytes < bytes.len() {
            let torn_bytes = bytes.len() - journal.valid_bytes;
            warn!(path = %path.display(), torn_bytes, "metadata log: cutting a torn tail");
        }
        let mut state = ClusterState::default();
        for record in &journal.records {
            state
                .replay(record)
                .map_err(|source| MetadataLogError::Replay { path: path.clone(), source })?;
        }
        let snapshot = state.snapshot();
        let is_long = journal.records.len() > snapshot.len() + SUPERFLUOUS_RECORDS_MAX;
        if journal.valid_bytes == 0 || is_long {
            let records = if is_long { snapshot.as_slice() } else { &journal.records };
            rewrite(directory, &path, records)?;
            if is_long {
                info!(from = journal.records.len(), to = snapshot.len(), "metadata log: rewritten");
                return Self::open(directory);
            }
        }
        let mut file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
        // Former versions let everybody read it. Where that can't be changed it isn't ours.
        let mode = file.metadata().map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 && file.set_permissions(Permissions::from_mode(0o600)).is_err() {
            warn!(path = %path.display(), "others may read the metadata log, which has login keys");
        }
        let valid_bytes = journal.valid_bytes.max(JOURNAL_HEADER.len()) as u64;
        file.set_len(valid_bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(failed)?;
        let record_count = journal.records.len() as u64;
        Ok((Self { path, file, valid_bytes, record_count, is_offline: false }, state))
    }

    /// Appends a decision and flushes it. After an error nothing of it is in the log.
    pub(crate) fn append(&mut self, records: &[MetadataRecord]) -> Result<(), MetadataLogError> {
        if records.is_empty() {
            return Ok(());
        }
        if self.is_offline {
            return Err(MetadataLogError::Offline(self.path.clone()));
        }
        let frame = encode_frame(records)?;
        let io_failed = |source| MetadataLogError::Io { path: self.path.clone(), source };
        if let Err(error) = self.file.write_all(&frame) {
            // A part may be in the file (a full disk): take it back, so that the next fits on.
            let taken_back = self
                .file
                .set_len(self.valid_bytes)
                .and_then(|()| self.file.seek(SeekFrom::Start(self.valid_bytes)));
            let error = io_failed(error);
            self.is_offline = taken_back.is_err();
            return Err(error);
        }
        if let Err(error) = self.file.sync_data() {
            let error = io_failed(error);
            self.is_offline = true;
            return Err(error);
        }
        self.valid_bytes += frame.len() as u64;
        self.record_count += records.len() as u64;
        Ok(())
    }

    /// How many records it has.
    pub(crate) const fn record_count(&self) -> u64 {
        self.record_count
    }
}

fn read_whole(path: &Path) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(Bytes::from(bytes))
}

/// Writes the file anew: a temporary one, flushed, renamed, and the directory flushed
/// (FAILURES.md 45).
fn rewrite(
    directory: &Path,
    path: &Path,
    records: &[MetadataRecord],
) -> Result<(), MetadataLogError> {
    let mut content = JOURNAL_HEADER.to_vec();
    if !records.is_empty() {
        content.extend(encode_frame(records)?);
    }
    let temporary = directory.join(format!("{METADATA_LOG}.new"));
    let write = || {
        let mut file = new_file().truncate(true).open(&temporary)?;
        file.write_all(&content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|source| MetadataLogError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved(next: i64) -> MetadataRecord {
        MetadataRecord::ProducerIdsReserved { next }
    }

    #[test]
    fn what_was_appended_is_there_after_a_crash_and_a_torn_tail_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (mut log, state) = MetadataLog::open(directory.path()).unwrap();
        assert_eq!(state.next_producer_id(), 0);
        log.append(&[reserved(1000)]).unwrap();
        log.append(&[]).unwrap();
        drop(log);
        let path = directory.path().join(METADATA_LOG);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], &[0, 0, 0, 9, 1, 2]].concat()).unwrap();
        let (mut log, state) = MetadataLog::open(directory.path()).unwrap();
        assert_eq!(state.next_producer_id(), 1000);
        log.append(&[reserved(2000)]).unwrap();
        drop(log);
        let (_, state) = MetadataLog::open(directory.path()).unwrap();
        assert_eq!(state.next_producer_id(), 2000);
    }

    #[test]
    fn a_long_log_is_rewritten_at_start_and_means_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(METADATA_LOG);
        let records: Vec<_> = (1..=2000).map(reserved).collect();
        rewrite(directory.path(), &path, &records).unwrap();
        let long_bytes = fs::metadata(&path).unwrap().len();
        let (_, state) = MetadataLog::open(directory.path()).unwrap();
        assert_eq!(state.next_producer_id(), 2000);
        assert!(fs::metadata(&path).unwrap().len() < long_bytes / 100);
    }

    #[test]
    fn a_foreign_or_damaged_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(METADATA_LOG);
        fs::write(&path, b"user,time\n1,2\n").unwrap();
        let error = MetadataLog::open(directory.path()).unwrap_err();
        assert!(matches!(error, MetadataLogError::Journal { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"user,time\n1,2\n");
    }
}
