//! The steps by which a compacted segment takes the place of those it was made of, and what a
//! start does about a swap that was interrupted.
//!
//! 1. A name is only counted on after the directory was flushed: until then a power cut may keep
//!    any of the changes and lose any other.
//! 2. `.log.swap` is there once everything that goes with it is on disk. From then on the swap is
//!    finished, by this run or by the next start; before, it never happened.
//! 3. The segments it replaces are gone for good before it gets its name, and its index files have
//!    theirs before it.

use std::collections::BTreeSet;

use streamledger_protocol::Offset;

use super::super::file_names::FileKind;

/// Ends the name of a file that compaction is writing: whoever finds one at a start removes it.
pub const CLEANED_SUFFIX: &str = ".cleaned";
/// Ends the name of a file that is about to take its place.
pub const SWAP_SUFFIX: &str = ".swap";

/// The files that a compacted segment has, without the log itself.
const INDEXES: [FileKind; 3] =
    [FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TransactionIndex];

/// One change of a partition's directory, by file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileStep {
    /// What was written to the file is on disk.
    Sync(String),
    /// The file has another name, and what had that name is gone.
    Rename {
        /// Its name before.
        from: String,
        /// Its name after.
        to: String,
    },
    /// The file is gone; it need not be there.
    Remove(String),
    /// The names in the directory are on disk.
    SyncDirectory,
}

fn name(kind: FileKind, base_offset: Offset, suffix: &str) -> String {
    format!("{}{suffix}", kind.file_name(base_offset))
}

fn rename(kind: FileKind, base_offset: Offset, from: &str, to: &str) -> FileStep {
    FileStep::Rename { from: name(kind, base_offset, from), to: name(kind, base_offset, to) }
}

/// From written files to a swap that will be finished.
pub(super) fn seal_steps(base_offset: Offset) -> Vec<FileStep> {
    let log = FileKind::Log;
    let mut steps = vec![
        FileStep::Sync(name(log, base_offset, CLEANED_SUFFIX)),
        FileStep::Sync(name(FileKind::TransactionIndex, base_offset, CLEANED_SUFFIX)),
    ];
    steps.extend(INDEXES.map(|kind| rename(kind, base_offset, CLEANED_SUFFIX, SWAP_SUFFIX)));
    steps.push(FileStep::SyncDirectory);
    steps.push(rename(log, base_offset, CLEANED_SUFFIX, SWAP_SUFFIX));
    steps.push(FileStep::SyncDirectory);
    steps
}

/// From there to the end. `others` are the replaced segments but the one of that name.
pub(super) fn finish_steps(
    base_offset: Offset,
    others: &[Offset],
    is_there: impl Fn(&str) -> bool,
) -> Vec<FileStep> {
    let mut steps = Vec::new();
    for other in others {
        steps.extend(FileKind::ALL.map(|kind| FileStep::Remove(kind.file_name(*other))));
    }
    steps.push(FileStep::SyncDirectory);
    let moved = INDEXES.into_iter().filter(|kind| is_there(&name(*kind, base_offset, SWAP_SUFFIX)));
    steps.extend(moved.map(|kind| rename(kind, base_offset, SWAP_SUFFIX, "")));
    steps.push(FileStep::SyncDirectory);
    steps.push(rename(FileKind::Log, base_offset, SWAP_SUFFIX, ""));
    steps.push(FileStep::SyncDirectory);
    steps
}

/// What a compaction that goes nowhere leaves behind, to be removed.
pub(super) fn discard_steps(base_offset: Offset) -> Vec<FileStep> {
    let all =
        [FileKind::Log, FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TransactionIndex];
    all.map(|kind| FileStep::Remove(name(kind, base_offset, CLEANED_SUFFIX))).into()
}

/// What a start does first, given the names in a partition's directory: an interrupted swap is
/// finished if it was decided, and its traces are removed if it was not.
///
/// `end_of` walks a `.log.swap` and gives the offset after its last record.
///
/// # Errors
/// That of `end_of`: nothing is to be done then.
pub fn recovery_steps<E>(
    names: &[String],
    mut end_of: impl FnMut(&str) -> Result<Offset, E>,
) -> Result<Vec<FileStep>, E> {
    let there: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let mut steps = Vec::new();
    let mut finished = BTreeSet::new();
    for swap in &there {
        let log = swap.strip_suffix(SWAP_SUFFIX).and_then(FileKind::parse);
        let Some((FileKind::Log, base_offset)) = log else { continue };
        let end = end_of(swap)?;
        let replaced = |name: &&str| match FileKind::parse(name) {
            Some((FileKind::Log, offset)) => {
                (offset > base_offset && offset < end).then_some(offset)
            }
            _ => None,
        };
        let others: Vec<Offset> = there.iter().filter_map(replaced).collect();
        steps.extend(finish_steps(base_offset, &others, |name| there.contains(name)));
        finished.insert(base_offset);
    }
    for name in &there {
        let stray = name.strip_suffix(SWAP_SUFFIX).and_then(FileKind::parse);
        let is_stray = stray.is_some_and(|(_, base_offset)| !finished.contains(&base_offset));
        if name.ends_with(CLEANED_SUFFIX) || is_stray {
            steps.push(FileStep::Remove((*name).to_owned()));
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|name| (*name).to_owned()).collect()
    }

    fn recovered(all: &[&str]) -> Vec<FileStep> {
        recovery_steps(&names(all), |_| Ok::<_, ()>(Offset(30))).unwrap()
    }

    #[test]
    fn what_was_not_decided_is_removed() {
        let steps = recovered(&[
            "00000000000000000000.log",
            "00000000000000000000.log.cleaned",
            "00000000000000000000.index.swap",
        ]);
        let removed =
            names(&["00000000000000000000.index.swap", "00000000000000000000.log.cleaned"]);
        assert_eq!(steps, removed.into_iter().map(FileStep::Remove).collect::<Vec<_>>());
        assert_eq!(recovered(&["00000000000000000000.log", "leader-epoch-checkpoint"]), []);
    }

    #[test]
    fn what_was_decided_is_finished_and_its_sources_go_first() {
        let steps = recovered(&[
            "00000000000000000000.log",
            "00000000000000000000.log.swap",
            "00000000000000000000.txnindex.swap",
            "00000000000000000010.log",
            "00000000000000000020.log",
            "00000000000000000030.log",
        ]);
        let place = |wanted: &FileStep| steps.iter().position(|step| step == wanted);
        let gone = place(&FileStep::Remove("00000000000000000020.log".to_owned()));
        let index = place(&FileStep::Rename {
            from: "00000000000000000000.txnindex.swap".to_owned(),
            to: "00000000000000000000.txnindex".to_owned(),
        });
        let log = place(&FileStep::Rename {
            from: "00000000000000000000.log.swap".to_owned(),
            to: "00000000000000000000.log".to_owned(),
        });
        assert!(gone < index && index < log && gone.is_some(), "{steps:?}");
        assert_eq!(place(&FileStep::Remove("00000000000000000030.log".to_owned())), None);
        assert_eq!(place(&FileStep::Remove("00000000000000000000.log".to_owned())), None);
    }
}
