//! All partitions of a data directory: opened together, found by name, closed together.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use streamledger_broker_core::log::{
    LogConfig, LogSummary, ManifestEntry, OnDamage, PartitionLog, TEMPORARY_SUFFIX,
    decode_manifest, parse_directory_name,
};
use streamledger_broker_core::map::Map;
use streamledger_broker_core::time::Now;
use streamledger_protocol::{LeaderEpoch, Offset, TopicId, TopicPartition};

use super::compaction::Cleaner;
use super::config::{FlushPolicy, LogStoreConfig};
use super::directory::{DELETED_EXTENSION, PartitionDirectory, is_deleted_directory};
use super::disk::{Disk, Durability, new_directory};
use super::errors::{StorageError, StorageOffline};
use super::housekeeping::{self, Housekeeper};
use super::load::{LoadProblem, is_as_summarised, recover};
use super::lock::DirectoryLock;
use super::partition::{LogState, OpenLog, Partition};
use super::shared::{Shared, StoreCounts};
use super::{flusher, journal, meta, parallel};

/// All partitions of a data directory. Clones are the same store; it closes with the last.
#[derive(Debug, Clone)]
pub struct LogStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cluster_id: String,
    shared: Arc<Shared>,
    lock: DirectoryLock,
    housekeeper: Housekeeper,
    cleaner: Option<Arc<Cleaner>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl LogStore {
    /// Opens the data directory, or makes an empty or missing one ours. Logs that a clean stop left
    /// are opened when they are first used; the others are recovered now.
    ///
    /// # Errors
    /// The directory is in use, not ours, of a newer format, or can't be read or written. A single
    /// damaged log is no error here: it stays offline, see `offline_partitions`.
    pub fn open(directory: &Path, config: LogStoreConfig) -> Result<Self, StorageError> {
        new_directory()
            .recursive(true)
            .create(directory)
            .map_err(|error| StorageError::io("creating", directory, error))?;
        meta::refuse_foreign(directory)?;
        let lock = DirectoryLock::acquire(directory)?;
        let disk = Disk::new(config.faults);
        let cluster_id = meta::open_or_format(&disk, directory, config.cluster_id.as_deref())?;
        let (flush, on_damage) = (config.flush, config.on_damage);
        let shared = Shared::new(directory.to_owned(), disk, flush, on_damage, config.producers);
        let shared = Arc::new(shared);
        let log_config = LogConfig { watermark: config.flush.watermark(), ..config.log };
        load_all(directory, &shared, &log_config)?;
        let mut threads = flusher::start(&shared, config.flush_threads)?;
        let (housekeeper, thread) =
            housekeeping::start(&shared, config.retention_check, config.upkeep_every)?;
        threads.push(thread);
        let mut cleaner = None;
        if config.cleaner.enabled {
            let (started, thread) = Cleaner::start(&shared, &config.cleaner)?;
            threads.push(thread);
            cleaner = Some(started);
        }
        let threads = Mutex::new(threads);
        let inner = Inner { cluster_id, shared, lock, housekeeper, cleaner, threads };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// From now on segments are removed by retention. Logs that were found at [`Self::open`] have
    /// the default configuration until they are given their own: removed by that, what a topic
    /// keeps for longer would be lost.
    pub fn begin_retention(&self) {
        self.inner.housekeeper.begin_retention();
    }

    /// To be called when partitions were given other settings: what is done at intervals then goes
    /// by those at once.
    pub fn reconfigured(&self) {
        self.inner.housekeeper.reconfigured();
    }

    /// How long compaction rests after it has looked at all logs, from now on.
    pub fn rest_between_compactions(&self, backoff: Duration) {
        if let Some(cleaner) = &self.inner.cleaner {
            cleaner.rest_for(backoff);
        }
    }

    /// Tells whoever wants the directory next where this broker listens.
    ///
    /// # Errors
    /// The lock file can't be written.
    pub fn announce(&self, address: &str) -> Result<(), StorageError> {
        self.inner.lock.announce(address)
    }

    /// The cluster that the directory belongs to.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.inner.cluster_id
    }

    /// Both clocks, as the logs are told them.
    #[must_use]
    pub fn now(&self) -> Now {
        self.inner.shared.clock.now()
    }

    /// Whether anything may still be appended: it neither failed nor is being closed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.inner.shared.check_online().is_ok()
    }

    /// What was done since the start.
    #[must_use]
    pub fn counts(&self) -> &StoreCounts {
        &self.inner.shared.counts
    }

    /// How many producers open logs remember, once for each log.
    #[must_use]
    pub fn producer_count(&self) -> usize {
        self.inner.shared.producers.remembered()
    }

    /// The data directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.inner.shared.directory
    }

    /// Why the whole directory is offline, if it is.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<str>> {
        self.inner.shared.failure().cloned()
    }

    /// The partition of that name.
    #[must_use]
    pub fn partition(&self, topic_partition: &TopicPartition) -> Option<Arc<Partition>> {
        self.inner.shared.partitions.read().get(topic_partition).cloned()
    }

    /// All partitions, by name.
    #[must_use]
    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        let mut all: Vec<_> = self.inner.shared.partitions.read().values().cloned().collect();
        all.sort_unstable_by(|a, b| a.topic_partition().cmp(b.topic_partition()));
        all
    }

    /// The partitions whose logs are damaged, and how.
    #[must_use]
    pub fn offline_partitions(&self) -> Vec<(TopicPartition, StorageOffline)> {
        let offline = |partition: Arc<Partition>| match &*partition.state.lock() {
            LogState::Gone(offline) => Some((partition.topic_partition().clone(), offline.clone())),
            LogState::Cold(_) | LogState::Open(_) => None,
        };
        self.partitions().into_iter().filter_map(offline).collect()
    }

    /// Makes a partition with an empty log, appended to under `leader_epoch`.
    ///
    /// It is on disk for good with the first flush of its records.
    ///
    /// # Errors
    /// It is there already, or can't be written.
    pub fn create_partition(
        &self,
        topic_partition: &TopicPartition,
        topic_id: TopicId,
        config: &LogConfig,
        leader_epoch: LeaderEpoch,
    ) -> Result<Arc<Partition>, StorageError> {
        let shared = &self.inner.shared;
        let path = self.inner.shared.directory.join(topic_partition.to_string());
        let failed = |error: io::Error| StorageError::io("creating", &path, error);
        let mut partitions = shared.partitions.write();
        // Under the lock: a store that closes settles it with the others, or it is refused.
        shared.check_online()?;
        if partitions.contains_key(topic_partition) || path.exists() {
            return Err(StorageError::PartitionExists(topic_partition.clone()));
        }
        let config = shared.flush.log_config(config, topic_partition);
        let directory = PartitionDirectory { path: path.clone(), disk: shared.disk.clone() };
        let made = directory.create(topic_id).and_then(|()| directory.create_segment(Offset::ZERO));
        let active = match made {
            Ok(active) => Arc::new(active),
            Err(error) => {
                // What is half made would be taken for a partition by the next start.
                let _ = fs::remove_dir_all(&path);
                return Err(failed(error));
            }
        };
        let now = shared.clock.now();
        let log = PartitionLog::new(config.clone(), now.wall);
        let open = OpenLog {
            remembered: shared.producers.of(&log),
            log,
            active,
            closing: Vec::new(),
            synced_offset: Offset::ZERO,
            safe_bytes: 0,
            directory_unsynced: true,
            is_new: true,
            reading: None,
            swapping: None,
            settled: false,
            settled_snapshot: None,
            last_used: now.monotonic,
            unflushed_since: None,
            epochs_unwritten: false,
        };
        let state = LogState::Open(Box::new(open));
        let partition = Partition::new(
            topic_partition.clone(),
            topic_id,
            directory,
            Arc::clone(shared),
            config,
            state,
        );
        partition.become_leader(leader_epoch);
        let partition = Arc::new(partition);
        partitions.insert(topic_partition.clone(), Arc::clone(&partition));
        drop(partitions);
        self.reconfigured();
        Ok(partition)
    }

    /// Removes a partition. Whoever reads it reads on; everyone who waits is told.
    ///
    /// # Errors
    /// The directory can't be renamed; then the partition stays.
    pub fn delete_partition(&self, topic_partition: &TopicPartition) -> Result<(), StorageError> {
        static DELETED: AtomicUsize = AtomicUsize::new(0);
        let mut partitions = self.inner.shared.partitions.write();
        let Some(partition) = partitions.get(topic_partition).cloned() else { return Ok(()) };
        let number = DELETED.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}.{DELETED_EXTENSION}", std::process::id());
        let doomed = self.inner.shared.directory.join(name);
        let path = &partition.directory.path;
        {
            // Under the lock: a flush that finds the directory missing then finds it deleted, too.
            let mut state = partition.state.lock();
            fs::rename(path, &doomed).map_err(|error| StorageError::io("renaming", path, error))?;
            *state = LogState::Gone(StorageOffline::Deleted(topic_partition.clone()));
        }
        partitions.remove(topic_partition);
        drop(partitions);
        partition.wake_all();
        self.inner.housekeeper.remove_directory(doomed);
        Ok(())
    }

    /// Flushes everything, leaves what the next start needs, and takes nothing more.
    ///
    /// # Errors
    /// Something could not be flushed or written: the next start recovers the logs.
    pub fn close(&self) -> Result<(), StorageError> {
        self.inner.close()
    }
}

impl Inner {
    fn close(&self) -> Result<(), StorageError> {
        let threads = std::mem::take(&mut *self.threads.lock());
        if threads.is_empty() {
            return Ok(());
        }
        self.shared.begin_to_close();
        self.housekeeper.stop();
        if let Some(cleaner) = &self.cleaner {
            cleaner.stop();
        }
        self.shared.queue.close();
        self.shared.segment_work.close();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the log store panicked");
            }
        }
        let closed = housekeeping::settle_all(&self.shared);
        self.shared.close();
        let partitions = std::mem::take(&mut *self.shared.partitions.write());
        for partition in partitions.into_values() {
            partition.wake_all();
        }
        self.lock.release();
        closed
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the log store was not closed cleanly");
        }
    }
}

/// So many threads open logs at a start: it is work for processors.
const LOADING_THREADS: usize = 2;

/// Finds and opens all partitions of the directory.
fn load_all(
    directory: &Path,
    shared: &Arc<Shared>,
    config: &LogConfig,
) -> Result<(), StorageError> {
    let mut summaries = read_manifest(directory);
    let mut found = Vec::new();
    let partitions = find_partitions(directory)?;
    let paths: Vec<_> = partitions.iter().map(|(name, _)| directory.join(name)).collect();
    journal::write_back(&shared.disk, directory, &paths)?;
    for (name, topic_partition) in partitions {
        let summary = summaries.remove(&topic_partition);
        found.push((directory.join(name), topic_partition, summary));
    }
    let loaded = parallel::for_each(&found, LOADING_THREADS, |(path, topic_partition, summary)| {
        load_one(path, topic_partition, summary.as_ref(), shared, config)
    });
    let mut recovered = Vec::new();
    for partition in loaded {
        let partition = partition?;
        if matches!(&*partition.state.lock(), LogState::Open(_)) {
            recovered.push(Arc::clone(&partition));
        }
        shared.partitions.write().insert(partition.topic_partition().clone(), partition);
    }
    flush_recovered(directory, shared, &recovered)?;
    if !summaries.is_empty() || !recovered.is_empty() && shared.on_damage == OnDamage::Cut {
        // What the manifest says of logs that are gone, or were cut, must not be believed again.
        shared.write_manifest(Durability::Flushed)?;
    }
    Ok(())
}

/// From so many recovered logs on, one flush of the whole file system is quicker than one of each.
pub(super) const FLUSHED_ONE_BY_ONE_MAX: usize = 8;

/// Flushes the logs that were recovered: what is answered as a duplicate, or shown to a consumer,
/// must be on disk. One without records has nothing to show; its first flush covers its names.
fn flush_recovered(
    directory: &Path,
    shared: &Shared,
    recovered: &[Arc<Partition>],
) -> Result<(), StorageError> {
    if shared.flush != FlushPolicy::Commit {
        return Ok(());
    }
    let (empty, filled): (Vec<_>, Vec<_>) =
        recovered.iter().partition(|partition| partition.bytes() == 0);
    for partition in empty {
        partition.count_as_flushed();
    }
    if filled.len() > FLUSHED_ONE_BY_ONE_MAX {
        let synced = shared.disk.sync_file_system(directory);
        synced.map_err(|error| StorageError::io("flushing", directory, error))?;
        for partition in filled {
            partition.note_all_flushed();
        }
    } else {
        for partition in filled {
            partition.flush();
        }
    }
    match shared.failure() {
        Some(reason) => Err(StorageOffline::Failed(Arc::clone(reason)).into()),
        None => Ok(()),
    }
}

fn read_manifest(directory: &Path) -> Map<TopicPartition, (TopicId, LogSummary)> {
    let file = fs::read(directory.join(housekeeping::MANIFEST)).unwrap_or_default();
    let entries = decode_manifest(&file).unwrap_or_else(|| {
        if !file.is_empty() {
            tracing::warn!("the manifest of the last stop is corrupt: recovering all logs");
        }
        Vec::new()
    });
    let by_name = |entry: ManifestEntry| (entry.topic_partition, (entry.topic_id, entry.summary));
    entries.into_iter().map(by_name).collect()
}

/// The partitions' directories, by name. What a deletion or a crash left is removed.
fn find_partitions(directory: &Path) -> Result<Vec<(OsString, TopicPartition)>, StorageError> {
    let failed = |error| StorageError::io("listing", directory, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (name, path) = (entry.file_name(), entry.path());
        let is_directory = entry.file_type().map_err(failed)?.is_dir();
        if is_deleted_directory(&name) && is_directory {
            fs::remove_dir_all(&path).map_err(|e| StorageError::io("removing", &path, e))?;
        } else if let Some(text) = name.to_str() {
            if !is_directory && text.ends_with(TEMPORARY_SUFFIX) {
                fs::remove_file(&path).map_err(|e| StorageError::io("removing", &path, e))?;
            } else if let Some(partition) = parse_directory_name(text).filter(|_| is_directory) {
                found.push((name, partition));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn load_one(
    path: &Path,
    topic_partition: &TopicPartition,
    summary: Option<&(TopicId, LogSummary)>,
    shared: &Arc<Shared>,
    config: &LogConfig,
) -> Result<Arc<Partition>, StorageError> {
    let failed = |error: io::Error| StorageError::io("opening", path, error);
    let directory = PartitionDirectory { path: path.to_owned(), disk: shared.disk.clone() };
    let topic_id = directory.read_topic_id().map_err(failed)?.unwrap_or(TopicId::ZERO);
    let summary = summary.filter(|(of, _)| *of == topic_id).map(|(_, summary)| summary);
    if let Err(source) = directory.finish_swaps() {
        let problem = LoadProblem::io(&directory, source);
        let state = LogState::Gone(problem.into_offline(topic_partition));
        let (topic_partition, shared) = (topic_partition.clone(), Arc::clone(shared));
        let config = config.clone();
        let partition = Partition::new(topic_partition, topic_id, directory, shared, config, state);
        return Ok(Arc::new(partition));
    }
    let listing = directory.list().map_err(failed)?;
    let state = match summary {
        Some(summary) if is_as_summarised(&listing, summary) => LogState::Cold(summary.clone()),
        _ => match recover(&directory, shared, config, &listing, summary) {
            Ok(open) => LogState::Open(Box::new(open)),
            Err(problem) => LogState::Gone(problem.into_offline(topic_partition)),
        },
    };
    Ok(Arc::new(Partition::new(
        topic_partition.clone(),
        topic_id,
        directory,
        Arc::clone(shared),
        config.clone(),
        state,
    )))
}
