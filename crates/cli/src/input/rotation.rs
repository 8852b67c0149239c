//! The files that a log has been in, one after the other: rotated ones, and the one under its name.
//!
//! A file is rotated by being renamed (`events.csv` becomes `events.csv.1`, and there is a new
//! `events.csv`), or by being copied and cut to nothing. Either way what was read of it stays at
//! the beginning of some file, which is what it is known by, not its name nor its number.
//!
//! Laws: of what was read at least a row, the file whose beginning it is is gone on with, wherever
//! it is now; as long as nothing was, it is the first after those that come before it, of which
//! some may be gone. Generations come in the order in which they were written; none is left out,
//! and none is read twice: where it can't be told which come after what was read, that is said.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::compression::{Compression, DecodeFault, Unpacked};
use super::position::{ContentHash, ContentHasher};
use super::tail::FileIdentity;

/// How often a directory is listed until two lists agree: names move while it is rotated.
const LISTINGS_MAX: usize = 100;

/// Time between two lists.
const BETWEEN_LISTINGS: Duration = Duration::from_millis(5);

/// Bytes of a file that none was read of, by which it is known.
const BEGINNING_BYTES: u64 = 64 << 10;

/// The first bytes of a file, as what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning {
    /// How many.
    pub bytes: u64,
    /// What they hash to.
    pub hash: ContentHash,
}

/// A file that the log has been in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Where it is now.
    pub path: PathBuf,
    /// Which file it is.
    pub identity: FileIdentity,
}

/// What is kept of the file that was read last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRead {
    /// What was read of it.
    pub read: Beginning,
    /// Whether that has a row.
    pub has_row: bool,
    /// Those before it.
    pub behind: Behind,
}

/// What is known of the files that come before one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Behind {
    /// How they begin, the latest first: of each either all that was read of it, or, of one that
    /// was there before anything was read, its first bytes.
    pub beginnings: Vec<Beginning>,
    /// Whether there were more, of which that isn't known any more.
    pub has_more: bool,
}

/// Where the file that was read last is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// There.
    Here(Generation),
    /// No row of it was read, and it isn't there yet.
    NotYet,
    /// It is gone; or no row of it was read, and all are gone that would tell which it is.
    Gone,
}

impl Beginning {
    /// The beginning of a file that is there before it is read; None if it is empty.
    pub fn of(path: &Path) -> io::Result<Option<Beginning>> {
        let (bytes, hash) = hash_up_to(path, BEGINNING_BYTES)?;
        Ok((bytes > 0).then_some(Beginning { bytes, hash }))
    }

    /// Whether a file begins so. One that can't be unpacked doesn't.
    pub fn is_of(&self, path: &Path) -> io::Result<bool> {
        match hash_up_to(path, self.bytes) {
            Ok((bytes, hash)) => Ok(bytes == self.bytes && hash == self.hash),
            Err(error) if DecodeFault::of(&error).is_some() => Ok(false),
            // It was renamed or removed since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// How many bytes a file holds, up to so many, and what these hash to.
fn hash_up_to(path: &Path, bytes: u64) -> io::Result<(u64, ContentHash)> {
    let file = File::open(path)?;
    let compression = Compression::of_file(&file)?;
    let (unpacked, _) = Unpacked::new(file, compression)?;
    let mut rest = unpacked.take(bytes);
    let mut hasher = ContentHasher::default();
    let mut buffer = vec![0; 64 << 10];
    let mut seen = 0;
    loop {
        match rest.read(&mut buffer) {
            Ok(0) => return Ok((seen, hasher.hash())),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                seen += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a path is that of a rotated file of a log.
pub fn is_rotated(path: &Path, log: &Path) -> bool {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let directory = |path: &Path| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or(Path::new(".")).canonicalize().ok()
    };
    suffix(&name(path), &name(log)).is_some() && directory(path) == directory(log)
}

/// All generations of a log, the oldest first; the last is the one under its name, if it is there.
pub fn generations(path: &Path) -> io::Result<Vec<Generation>> {
    let mut before = list(path)?;
    for _ in 0..LISTINGS_MAX {
        std::thread::sleep(BETWEEN_LISTINGS);
        let now = list(path)?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
    Err(io::Error::other("its directory changes all the time"))
}

/// The generation that was read last, as it is now.
pub fn find(path: &Path, last: &LastRead) -> io::Result<Whereabouts> {
    let all = generations(path)?;
    if last.has_row {
        // The latest: the one under its name is read once, its copies aren't.
        let found = first_of(all.into_iter().rev(), &last.read)?;
        return Ok(found.map_or(Whereabouts::Gone, Whereabouts::Here));
    }
    let Some(start) = first_after(&all, &last.behind)? else { return Ok(Whereabouts::Gone) };
    let found = first_of(all.into_iter().skip(start), &last.read)?;
    Ok(found.map_or(Whereabouts::NotYet, Whereabouts::Here))
}

/// Where those generations begin that come after what is behind; None if that can't be told. If
/// all that is behind is gone, these are all.
fn first_after(all: &[Generation], behind: &Behind) -> io::Result<Option<usize>> {
    for beginning in &behind.beginnings {
        for (index, generation) in all.iter().enumerate() {
            if beginning.is_of(&generation.path)? {
                return Ok(Some(index + 1));
            }
        }
    }
    Ok((!behind.has_more).then_some(0))
}

/// The first of some generations that begins so.
fn first_of(
    generations: impl Iterator<Item = Generation>,
    beginning: &Beginning,
) -> io::Result<Option<Generation>> {
    for generation in generations {
        if beginning.is_of(&generation.path)? {
            return Ok(Some(generation));
        }
    }
    Ok(None)
}

/// The copy that was made of a file before it was cut: the latest that begins with what was read.
pub fn find_copy(path: &Path, read: &Beginning) -> io::Result<Option<Generation>> {
    let copies = generations(path)?.into_iter().rev().filter(|generation| generation.path != path);
    first_of(copies, read)
}

/// Some generation after one that is open, if there is one: of one that is gone it is that under
/// the log's name.
pub fn later(path: &Path, open: FileIdentity) -> io::Result<Option<Generation>> {
    let all = generations(path)?;
    Ok(match all.iter().position(|generation| generation.identity == open) {
        Some(index) => all.into_iter().nth(index + 1),
        None => all.into_iter().find(|generation| generation.path == path),
    })
}

/// The generation after one that was read to its end; None if there is none yet. One that was
/// compressed meanwhile is found by what it holds; of one that is gone it is the first after those
/// behind it.
pub fn next(
    path: &Path,
    read: FileIdentity,
    content: &Beginning,
    behind: &Behind,
) -> io::Result<Option<Generation>> {
    let all = generations(path)?;
    let mut index = all.iter().position(|generation| generation.identity == read);
    if index.is_none() {
        for (at, generation) in all.iter().enumerate().rev() {
            if generation.path != path && content.is_of(&generation.path)? {
                index = Some(at);
                break;
            }
        }
    }
    let start = match index {
        Some(index) => Some(index + 1),
        None => first_after(&all, behind)?,
    };
    let unknown = "the file that was read is gone with all those before it that are known, and \
                   which come after it can't be told";
    Ok(all.into_iter().nth(start.ok_or_else(|| io::Error::other(unknown))?))
}

/// Where a generation comes among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Suffix {
    /// `.1` is later than `.2`, unless each was written later than the one with the number before.
    Number(u32),
    /// A date or the like: the time of the last write decides.
    Date,
}

fn list(path: &Path) -> io::Result<Vec<Generation>> {
    let of = path.file_name().unwrap_or_default().to_string_lossy();
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut rotated: Vec<(Suffix, SystemTime, bool, Generation)> = Vec::new();
    let mut current = None;
    for entry in fs::read_dir(directory.unwrap_or(Path::new(".")))? {
        let name = entry?.file_name();
        let is_current = Some(name.as_os_str()) == path.file_name();
        let suffix = suffix(&name.to_string_lossy(), &of);
        if !is_current && suffix.is_none() {
            continue;
        }
        let entry_path = path.with_file_name(&name);
        let metadata = match fs::metadata(&entry_path) {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let identity = FileIdentity::of(&metadata);
        let is_plain = Compression::without_ending(&entry_path) == entry_path;
        let generation = Generation { path: entry_path, identity };
        match suffix {
            _ if is_current => current = Some(generation),
            Some(suffix) => rotated.push((suffix, metadata.modified()?, is_plain, generation)),
            None => {}
        }
    }
    // While a file is being compressed, what it is compressed to is there besides it.
    let plain: Vec<PathBuf> = rotated
        .iter()
        .filter(|(_, _, is_plain, _)| *is_plain)
        .map(|(.., generation)| generation.path.clone())
        .collect();
    rotated.retain(|(_, _, is_plain, generation)| {
        *is_plain || !plain.contains(&uncompressed(&generation.path))
    });
    let is_numbered = rotated.iter().all(|(suffix, ..)| matches!(suffix, Suffix::Number(_)));
    rotated.sort_by(|(a, a_time, _, a_file), (b, b_time, _, b_file)| match (a, b) {
        (Suffix::Number(a), Suffix::Number(b)) if is_numbered => b.cmp(a),
        _ => (a_time, &a_file.path).cmp(&(b_time, &b_file.path)),
    });
    // Who numbers upwards (Log4j unless told otherwise) has the newest under the highest number:
    // the times of the last writes say so. Not where an older one may have been compressed late.
    let is_upwards =
        rotated.is_sorted_by(|(_, above, is_plain, _), (_, below, is_plain_below, _)| {
            above > below && (*is_plain || !is_plain_below)
        });
    if is_numbered && is_upwards {
        rotated.reverse();
    }
    Ok(rotated.into_iter().map(|(.., generation)| generation).chain(current).collect())
}

fn uncompressed(path: &Path) -> PathBuf {
    path.with_file_name(Compression::without_ending(path).file_name().unwrap_or_default())
}

/// What a rotated file's name says, if it is one of this log: `events.csv.1`,
/// `events.csv-20261128`, `events.1.csv`, `events-20261128.csv`, each perhaps compressed.
fn suffix(name: &str, of: &str) -> Option<Suffix> {
    let name = Compression::without_ending(Path::new(name)).to_str()?;
    let (stem, ending) = of.rsplit_once('.').map_or((of, ""), |(stem, ending)| (stem, ending));
    let behind = name.strip_prefix(of).and_then(|rest| rest.strip_prefix(['.', '-', '_']));
    let between = || {
        let rest = name.strip_prefix(stem)?.strip_suffix(ending)?.strip_suffix('.')?;
        let is_number = rest.starts_with('.');
        let text = rest.strip_prefix(['.', '-', '_'])?;
        // `events-2.csv` may be another log beside this one; a whole date isn't.
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        (is_number || digits >= 8).then_some(text)
    };
    let text = behind.or_else(between)?;
    let is_dated = |character: char| character.is_ascii_digit() || "-_.:TZ".contains(character);
    if !text.starts_with(|character: char| character.is_ascii_digit())
        || !text.chars().all(is_dated)
    {
        return None;
    }
    Some(match text.parse() {
        Ok(number) if text.len() <= 5 => Suffix::Number(number),
        _ => Suffix::Date,
    })
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
