//! Files that come into directories, and which of them are whole.
//!
//! Laws: a file is whole when nothing of it changed for a while, by what this process saw, not by
//! the clock of who wrote it; what was taken isn't taken again until it changes; of each file that
//! was, a path and a few numbers are kept.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::discovery::{self, Listed};
use crate::failure::Outcome;

/// What tells that a file changed. The time is that of its inode, which nobody can set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLook {
    inode: u64,
    /// Its length.
    pub bytes: u64,
    /// When its content, its name or who may read it changed last, in ns since 1970.
    pub changed_ns: i64,
}

impl FileLook {
    /// A file as it is now; None if it isn't there.
    fn at(path: &Path) -> Option<FileLook> {
        let metadata = fs::metadata(path).ok()?;
        let changed_ns = metadata.ctime().saturating_mul(1_000_000_000);
        Some(FileLook {
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed_ns: changed_ns.saturating_add(metadata.ctime_nsec()),
        })
    }
}

/// A file that was ingested whole before this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoneBefore {
    /// Its length.
    pub bytes: u64,
    /// When it was changed last.
    pub changed_ns: i64,
    /// Its rows that are in the topic.
    pub rows: u64,
    /// Those that were left out.
    pub rejected: u64,
}

/// Files that come, as they were seen last.
#[derive(Debug)]
pub struct Arrivals {
    arguments: Vec<PathBuf>,
    is_recursive: bool,
    settle: Duration,
    /// By their whole paths.
    files: HashMap<PathBuf, Seen>,
    /// Those that weren't seen yet.
    done_before: HashMap<PathBuf, DoneBefore>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It looks so since then, and wasn't taken.
    Settling { look: FileLook, since: Instant, before: TakenBefore },
    /// It was taken when it looked so.
    Taken(FileLook),
}

/// Who took a file before it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenBefore {
    /// Nobody.
    Never,
    /// A run before this one.
    ByEarlierRun,
    /// This one; or it found it as an earlier one had left it.
    ByThisRun,
}

/// A file that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// Its path, as the arguments give it.
    pub path: PathBuf,
    /// Its whole path.
    pub real: PathBuf,
    /// How it looks.
    pub look: FileLook,
    /// Who took it before; it has changed since.
    pub before: TakenBefore,
}

/// What a look at the directories found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Files that are whole, in the order of the bytes of their paths within each argument.
    pub arrived: Vec<Arrived>,
    /// Files that are as they were when they were ingested before this run; each is told once.
    pub known: Vec<(PathBuf, DoneBefore)>,
    /// How many may still be written.
    pub settling_count: u64,
}

impl Arrivals {
    /// Nothing was seen yet. Of each argument [`discovery::check_can_be_watched`] was asked.
    pub fn new(
        arguments: &[PathBuf],
        is_recursive: bool,
        settle: Duration,
        done_before: HashMap<PathBuf, DoneBefore>,
    ) -> Arrivals {
        let arguments = arguments.to_vec();
        Arrivals { arguments, is_recursive, settle, files: HashMap::new(), done_before }
    }

    /// Looks at the directories.
    pub fn scan(&mut self, now: Instant) -> Outcome<Scan> {
        let mut scan = Scan::default();
        let listed = discovery::list_all(&self.arguments, self.is_recursive)?;
        let settling_before = self.files.len();
        for Listed { path, real } in listed {
            // It went away since it was listed.
            let Some(look) = FileLook::at(&path) else { continue };
            if let Some(done) = self.done_before.remove(&real) {
                if (done.bytes, done.changed_ns) == (look.bytes, look.changed_ns) {
                    self.files.insert(real, Seen::Taken(look));
                    scan.known.push((path, done));
                    continue;
                }
                let before = TakenBefore::ByEarlierRun;
                self.files.insert(real.clone(), Seen::Settling { look, since: now, before });
            }
            let before = TakenBefore::Never;
            let unseen = Seen::Settling { look, since: now, before };
            let seen = self.files.entry(real.clone()).or_insert(unseen);
            match *seen {
                Seen::Taken(seen) if seen == look => {}
                Seen::Settling { look: seen, since, before } if seen == look => {
                    if now.saturating_duration_since(since) >= self.settle {
                        scan.arrived.push(Arrived { path, real, look, before });
                    } else {
                        scan.settling_count += 1;
                    }
                }
                Seen::Taken(_) | Seen::Settling { .. } => {
                    let before = match *seen {
                        Seen::Taken(_) => TakenBefore::ByThisRun,
                        Seen::Settling { before, .. } => before,
                    };
                    *seen = Seen::Settling { look, since: now, before };
                    scan.settling_count += 1;
                }
            }
        }
        if self.files.len() > settling_before {
            // Files that went away before they were taken; those that were are kept in mind.
            self.files.retain(|real, seen| match seen {
                Seen::Taken(_) => true,
                Seen::Settling { .. } => real.exists(),
            });
        }
        Ok(scan)
    }

    /// A file was taken as it looked: it isn't again until it changes.
    pub fn take(&mut self, arrived: &Arrived) {
        self.files.insert(arrived.real.clone(), Seen::Taken(arrived.look));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const SETTLE: Duration = Duration::from_secs(2);

    fn watch(directory: &TempDir, done: HashMap<PathBuf, DoneBefore>) -> Arrivals {
        let arguments = [directory.path().to_owned()];
        Arrivals::new(&arguments, false, SETTLE, done)
    }

    fn names(scan: &Scan) -> Vec<&str> {
        let names = scan.arrived.iter().map(|arrived| arrived.path.file_name().unwrap());
        names.map(|name| name.to_str().unwrap()).collect()
    }

    #[test]
    fn a_file_is_taken_once_it_stayed_as_it_was_and_again_when_it_changes() {
        let directory = TempDir::new().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        let mut watched = watch(&directory, HashMap::new());
        let now = Instant::now();
        assert!(watched.scan(now).unwrap().arrived.is_empty());
        write("b", "1");
        write("a", "1");
        write(".c.part", "1");
        assert_eq!(watched.scan(now).unwrap().settling_count, 2);
        write("a", "12");
        let scan = watched.scan(now + SETTLE).unwrap();
        assert_eq!((names(&scan), scan.settling_count), (vec!["b"], 1));
        watched.take(&scan.arrived[0]);
        let scan = watched.scan(now + 2 * SETTLE).unwrap();
        assert_eq!((names(&scan), scan.settling_count), (vec!["a"], 0));
        assert_eq!(names(&watched.scan(now + 2 * SETTLE).unwrap()), ["a"], "it wasn't taken");
        watched.take(&scan.arrived[0]);
        write("b", "2, as long as it was or not");
        assert_eq!(watched.scan(now + 3 * SETTLE).unwrap().settling_count, 1);
        let scan = watched.scan(now + 4 * SETTLE).unwrap();
        assert!(names(&scan) == ["b"] && scan.arrived[0].before == TakenBefore::ByThisRun);
        fs::remove_file(directory.path().join("b")).unwrap();
        assert!(watched.scan(now + 5 * SETTLE).unwrap().arrived.is_empty());
    }

    #[test]
    fn what_was_ingested_before_is_known_by_how_it_looks() {
        let directory = TempDir::new().unwrap();
        let done = |name: &str, changed: i64| {
            let path = directory.path().canonicalize().unwrap().join(name);
            fs::write(&path, "12").unwrap();
            let FileLook { bytes, changed_ns, .. } = FileLook::at(&path).unwrap();
            let changed_ns = changed_ns + changed;
            (path, DoneBefore { bytes, changed_ns, rows: 1, rejected: 0 })
        };
        let done = HashMap::from([done("same", 0), done("other", -1)]);
        let mut watched = watch(&directory, done);
        let now = Instant::now();
        let scan = watched.scan(now).unwrap();
        assert_eq!((scan.known.len(), scan.settling_count), (1, 1));
        let scan = watched.scan(now + SETTLE).unwrap();
        assert!(names(&scan) == ["other"]);
        assert_eq!(scan.arrived[0].before, TakenBefore::ByEarlierRun);
        assert!(scan.known.is_empty(), "told once");
    }
}
