//! The journal's files: what is flushed for many partitions at once, and what a start writes back.
//!
//! What goes where, and what counts after a crash, is decided in `broker-core::flush_journal`.

use std::fs::{self, File};
use std::io::{self, IoSlice, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use streamledger_broker_core::flush_journal::{
    Checkpoint, FRAME_HEADER_BYTES, FrameHeader, HALVES, HalfScan, LatestSegments, PartitionKey,
    Place, Placement, Ring, halves_that_count,
};
use streamledger_broker_core::log::FileKind;
use streamledger_broker_core::map::Map;
use streamledger_broker_core::planted_bugs::Planted;

use super::directory::PartitionDirectory;
use super::disk::{Disk, is_disk_full};
use super::errors::StorageError;
use super::meta;
use super::store::FLUSHED_ONE_BY_ONE_MAX;

/// Bytes of a half: so much is appended between two checkpoints.
const HALF_BYTES: u64 = 64 << 20;
/// A half's file grows by that many bytes at a time, so that few flushes find it grown.
const GROWTH_BYTES: u64 = 1 << 20;
static ZEROS: [u8; 128 << 10] = [0; 128 << 10];

/// The name of a half's file in the data directory.
fn file_name(half: usize) -> String {
    format!("flush-journal-{half}")
}

/// The journal of a data directory that is in use.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
    disk: Disk,
    state: Mutex<State>,
    /// A flush has failed, and the system says so once. Held while a half is flushed.
    failed: Mutex<bool>,
}

#[derive(Debug, Default)]
struct State {
    /// None before the first frame: a broker that is never written to leaves no files.
    open: Option<Open>,
    /// The names of the files could not be flushed: nobody tries that again.
    given_up: bool,
}

#[derive(Debug)]
struct Open {
    ring: Ring,
    halves: [Half; HALVES],
}

#[derive(Debug, Clone)]
struct Half {
    file: Arc<File>,
    bytes: u64,
}

/// A frame that was written, and is safe once its half is flushed.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) half: FlushOfHalf,
    pub(super) checkpoint: Option<Checkpoint>,
}

/// A half that is to be flushed, for this frame and those before it.
#[derive(Debug)]
pub(super) struct FlushOfHalf {
    file: Arc<File>,
    header: FrameHeader,
}

impl Journal {
    /// An empty journal. What a crash left in the directory is written back before (`write_back`).
    pub(super) fn new(directory: &Path, disk: &Disk) -> Self {
        let state = Mutex::default();
        Self {
            directory: directory.to_owned(),
            disk: disk.clone(),
            state,
            failed: Mutex::new(false),
        }
    }

    /// Writes a frame; none if there is no room for it now.
    ///
    /// # Errors
    /// It could not be written, and is not in the journal.
    pub(super) fn append(&self, place: Place, payload: &[u8]) -> io::Result<Option<Written>> {
        let mut state = self.state.lock();
        self.append_to(&mut state, place, payload)
    }

    /// Sees to it that no frame of a segment before `place.segment` would be written back; false if
    /// there is no room to say so, or it can't be written.
    ///
    /// # Errors
    /// It can't be flushed.
    pub(super) fn raise_floor(
        &self,
        place: Place,
        begin_checkpoint: impl FnOnce(Checkpoint),
    ) -> io::Result<bool> {
        let written = {
            let mut state = self.state.lock();
            let needs_floor = |open: &Open| open.ring.needs_floor(place.partition, place.segment);
            if !state.open.as_ref().is_some_and(needs_floor) {
                return Ok(true);
            }
            self.append_to(&mut state, place, &[])
        };
        let Ok(Some(written)) = written else { return Ok(false) };
        if let Some(checkpoint) = written.checkpoint {
            begin_checkpoint(checkpoint);
        }
        self.flush(&written.half)?;
        Ok(true)
    }

    fn append_to(
        &self,
        state: &mut State,
        place: Place,
        payload: &[u8],
    ) -> io::Result<Option<Written>> {
        if state.given_up {
            return Ok(None);
        }
        let open = match &mut state.open {
            Some(open) => open,
            none => {
                let ring = new_ring()?;
                let halves = self.create_halves()?;
                if let Err(error) = self.disk.sync_directory(&self.directory) {
                    tracing::error!(%error, "the journal's names are not on disk: it is not used");
                    state.given_up = true;
                    return Err(error);
                }
                none.insert(Open { ring, halves })
            }
        };
        let Some(placement) = open.ring.place(place, payload) else { return Ok(None) };
        let Some(half) = open.halves.get_mut(placement.half) else { return Ok(None) };
        self.write(half, &placement, payload)?;
        open.ring.placed(&placement);
        let half = FlushOfHalf { file: Arc::clone(&half.file), header: placement.header };
        Ok(Some(Written { half, checkpoint: placement.checkpoint }))
    }

    fn create_halves(&self) -> io::Result<[Half; HALVES]> {
        let create = |half| -> io::Result<Half> {
            let file = self.disk.create(&self.directory.join(file_name(half)))?;
            Ok(Half { file: Arc::new(file), bytes: 0 })
        };
        Ok([create(0)?, create(1)?])
    }

    fn write(&self, half: &mut Half, placement: &Placement, payload: &[u8]) -> io::Result<()> {
        let end = placement.position + placement.header.frame_bytes();
        if end > half.bytes {
            let grown = end.next_multiple_of(GROWTH_BYTES).min(HALF_BYTES);
            if let Err(error) = self.grow(&half.file, half.bytes, grown) {
                // The room that is left is for records.
                self.disk.truncate(&half.file, half.bytes)?;
                return Err(error);
            }
            half.bytes = grown;
        }
        let header = placement.header.encode();
        let mut pieces = [IoSlice::new(&header), IoSlice::new(payload)];
        self.disk.write_at(&half.file, placement.position, &mut pieces)
    }

    fn grow(&self, file: &File, mut bytes: u64, grown: u64) -> io::Result<()> {
        while bytes < grown {
            let zeros = usize::try_from(grown - bytes).unwrap_or(usize::MAX);
            let zeros = ZEROS.get(..zeros).unwrap_or(&ZEROS);
            self.disk.write_at(file, bytes, &mut [IoSlice::new(zeros)])?;
            bytes += zeros.len() as u64;
        }
        Ok(())
    }

    /// Returns once a frame and all before it are on disk.
    pub(super) fn flush(&self, half: &FlushOfHalf) -> io::Result<()> {
        {
            let mut failed = self.failed.lock();
            let flushed = if *failed { Err(io::ErrorKind::Other.into()) } else { Ok(()) };
            let flushed = flushed.and_then(|()| self.disk.sync_file(&half.file));
            *failed = flushed.is_err();
            flushed?;
        }
        if let Some(open) = &mut self.state.lock().open {
            open.ring.flushed(&half.header);
        }
        Ok(())
    }

    /// The segments of a turn are on disk.
    pub(super) fn checkpointed(&self, turn: u64) {
        if let Some(open) = &mut self.state.lock().open {
            open.ring.checkpointed(turn);
        }
    }

    /// Removes the files, once all segments are on disk.
    pub(super) fn remove(&self) -> io::Result<()> {
        let Some(open) = self.state.lock().open.take() else { return Ok(()) };
        remove_files(&self.disk, &self.directory, &open.ring.older_first())
    }
}

/// An empty ring, whose turns nobody can guess.
fn new_ring() -> io::Result<Ring> {
    let mut first_turn = [0; 8];
    File::open(meta::RANDOM)?.read_exact(&mut first_turn)?;
    Ok(Ring::new(HALF_BYTES, u64::from_be_bytes(first_turn), Planted::none()))
}

/// Removes the files in that order, each for good before the next.
fn remove_files(disk: &Disk, directory: &Path, halves: &[usize]) -> io::Result<()> {
    for half in halves {
        match fs::remove_file(directory.join(file_name(*half))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => {
                other?;
                disk.sync_directory(directory)?;
            }
        }
    }
    Ok(())
}

/// Writes what the journal of a crashed broker holds back into the segments, flushes them, and
/// removes it. Before any log is looked at.
///
/// # Errors
/// A file can't be read, written or flushed: the journal is as it was.
pub(super) fn write_back(
    disk: &Disk,
    directory: &Path,
    partitions: &[PathBuf],
) -> Result<(), StorageError> {
    let failed = |error| StorageError::io("writing back the journal of", directory, error);
    let Some(crashed) = Crashed::open(disk, directory).map_err(failed)? else { return Ok(()) };
    let mut latest = LatestSegments::new(Planted::none());
    let mut scans = [HalfScan::default(), HalfScan::default()];
    for (half, scan) in scans.iter_mut().enumerate() {
        crashed.walk(half, scan, |_, _| Ok(())).map_err(failed)?;
    }
    let halves = halves_that_count(&scans);
    for half in &halves {
        let note = |header: &FrameHeader, _: &[u8]| {
            latest.note(header);
            Ok(())
        };
        crashed.walk(*half, &mut HalfScan::default(), note).map_err(failed)?;
    }
    let mut segments = Segments::find(disk, partitions, &latest).map_err(failed)?;
    let mut written_bytes = 0;
    let mut there = Vec::new();
    for half in &halves {
        let write = |header: &FrameHeader, payload: &[u8]| {
            if !latest.counts(header) {
                return Ok(());
            }
            let Some(file) = segments.open(disk, header.place.partition)? else { return Ok(()) };
            let position = u64::from(header.place.position);
            disk.read_at(file, position, payload.len(), &mut there)?;
            let is_there = there == payload;
            written_bytes += if is_there { 0 } else { payload.len() };
            // Also what seems to be there: a page whose write has failed is in memory all the same.
            match disk.write_at(file, position, &mut [IoSlice::new(payload)]) {
                Err(error) if is_there && is_disk_full(&error) => Ok(()),
                written => written,
            }
        };
        crashed.walk(*half, &mut HalfScan::default(), write).map_err(failed)?;
    }
    // They may be in the page cache only, whether anything was missing or not.
    segments.sync(disk, directory).map_err(failed)?;
    if !segments.paths.is_empty() {
        let logs = segments.paths.len();
        tracing::info!(logs, written_bytes, "the journal was written back");
    }
    let torn = (0..HALVES).filter(|half| !halves.contains(half));
    let order: Vec<usize> = torn.chain(halves.iter().copied()).collect();
    remove_files(disk, directory, &order).map_err(failed)
}

/// How many segments are open at a time while they are written back.
const OPEN_SEGMENTS_MAX: usize = 128;

/// The segments that frames count for.
struct Segments {
    paths: Map<PartitionKey, PathBuf>,
    open: Map<PartitionKey, File>,
}

impl Segments {
    /// Finds them. One that is not there any more was removed with its records.
    ///
    /// # Errors
    /// What can't be told from the lost log of a frame: a log that doesn't say whose it is.
    fn find(disk: &Disk, partitions: &[PathBuf], latest: &LatestSegments) -> io::Result<Self> {
        let wanted: Map<PartitionKey, _> = latest.segments().into_iter().collect();
        let mut found = Self { paths: Map::default(), open: Map::default() };
        let mut nameless = Vec::new();
        for path in partitions.iter().filter(|_| !wanted.is_empty()) {
            let directory = PartitionDirectory { path: path.clone(), disk: disk.clone() };
            let Some(key) = directory.key()? else {
                nameless.push(directory);
                continue;
            };
            let Some(segment) = wanted.get(&key) else { continue };
            let path = directory.file_path(FileKind::Log, *segment);
            if path.try_exists()? {
                found.paths.insert(key, path);
            }
        }
        for (key, segment) in wanted.iter().filter(|(key, _)| !found.paths.contains_key(key)) {
            let may_be_its = |directory: &&PartitionDirectory| {
                directory.partition() == Some(key.1)
                    && fs::metadata(directory.file_path(FileKind::Log, *segment))
                        .is_ok_and(|metadata| metadata.len() > 0)
            };
            if let Some(directory) = nameless.iter().find(may_be_its) {
                let path = directory.path.display();
                let text = format!(
                    "{path} doesn't say which topic's it is, and the journal has records of a log \
                     that is not found: restore its partition.metadata (version: 0, topic_id: \
                     ...), or move the directory away"
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
        Ok(found)
    }

    /// The segment of a log; none if it is not there any more.
    fn open(&mut self, disk: &Disk, key: PartitionKey) -> io::Result<Option<&File>> {
        let Some(path) = self.paths.get(&key) else { return Ok(None) };
        if !self.open.contains_key(&key) {
            if self.open.len() >= OPEN_SEGMENTS_MAX {
                self.open.clear();
            }
            self.open.insert(key, disk.open(path)?);
        }
        Ok(self.open.get(&key))
    }

    /// Flushes all of them.
    fn sync(&self, disk: &Disk, directory: &Path) -> io::Result<()> {
        if self.paths.len() > FLUSHED_ONE_BY_ONE_MAX {
            return disk.sync_file_system(directory);
        }
        self.paths.values().try_for_each(|path| disk.sync_file(&disk.open(path)?))
    }
}

/// The journal that a crash left.
struct Crashed<'a> {
    disk: &'a Disk,
    halves: [Option<File>; HALVES],
}

impl<'a> Crashed<'a> {
    /// None if there is no file of it.
    fn open(disk: &'a Disk, directory: &Path) -> io::Result<Option<Self>> {
        let open = |half| match disk.open(&directory.join(file_name(half))) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let halves = [open(0)?, open(1)?];
        Ok(halves.iter().any(Option::is_some).then_some(Self { disk, halves }))
    }

    /// Walks a half to the end of its frames.
    fn walk(
        &self,
        half: usize,
        scan: &mut HalfScan,
        mut each: impl FnMut(&FrameHeader, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(file) = self.halves.get(half).and_then(Option::as_ref) else { return Ok(()) };
        let mut buffer = Vec::new();
        loop {
            self.disk.read_at(file, scan.position(), FRAME_HEADER_BYTES, &mut buffer)?;
            let Some(header) = scan.header(&buffer) else {
                return match scan.position() == 0 && FrameHeader::is_of_another_format(&buffer) {
                    true => Err(io::Error::other("a newer program has written it")),
                    false => Ok(()),
                };
            };
            let position = scan.position() + FRAME_HEADER_BYTES as u64;
            let bytes = header.payload_bytes();
            self.disk.read_at(file, position, bytes, &mut buffer)?;
            if !scan.payload(&header, &buffer) {
                return Ok(());
            }
            each(&header, &buffer)?;
        }
    }
}
