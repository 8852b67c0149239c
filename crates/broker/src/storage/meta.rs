//! The file that says what a data directory is: whose, of which format, of which cluster.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use streamledger_protocol::TopicId;

use super::disk::{Disk, Durability};
use super::errors::StorageError;
use super::lock::LOCK_FILE;

/// The file in a data directory.
const META_FILE: &str = "streamledger.meta";
/// The newest format this program reads and the one it writes.
const FORMAT_VERSION: u32 = 1;

/// Refuses somebody else's directory before anything is written into it, the lock file included.
pub(super) fn refuse_foreign(directory: &Path) -> Result<(), StorageError> {
    if directory.join(META_FILE).exists() || is_empty(directory)? {
        return Ok(());
    }
    Err(StorageError::NotOurs { path: directory.to_owned() })
}

/// Reads what the directory is, or makes it ours if it is empty. Gives the cluster's id.
pub(super) fn open_or_format(
    disk: &Disk,
    directory: &Path,
    cluster_id: Option<&str>,
) -> Result<String, StorageError> {
    let path = directory.join(META_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => check(&text, directory, &path, cluster_id),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !is_empty(directory)? {
                return Err(StorageError::NotOurs { path: directory.to_owned() });
            }
            let cluster_id = match cluster_id {
                Some(given) => given.to_owned(),
                None => {
                    made_up_id().map_err(|e| StorageError::io("reading", Path::new(RANDOM), e))?
                }
            };
            let text = format!("format.version={FORMAT_VERSION}\ncluster.id={cluster_id}\n");
            disk.replace(&path, text.as_bytes(), Durability::Flushed)
                .map_err(|error| StorageError::io("writing", &path, error))?;
            Ok(cluster_id)
        }
        Err(error) => Err(StorageError::io("reading", &path, error)),
    }
}

fn check(
    text: &str,
    directory: &Path,
    path: &Path,
    expected: Option<&str>,
) -> Result<String, StorageError> {
    let value = |name: &str| {
        let found = text.lines().find_map(|line| line.split_once('=').filter(|(n, _)| *n == name));
        found.map(|(_, value)| value).ok_or_else(|| StorageError::Meta {
            path: path.to_owned(),
            reason: format!("it has no {name}"),
        })
    };
    let version = value("format.version")?;
    let found: u32 = version.parse().map_err(|_| StorageError::Meta {
        path: path.to_owned(),
        reason: format!("{version:?} is no format version"),
    })?;
    if found > FORMAT_VERSION {
        let (path, known) = (directory.to_owned(), FORMAT_VERSION);
        return Err(StorageError::NewerFormat { path, found, known });
    }
    let cluster_id = value("cluster.id")?.to_owned();
    match expected {
        Some(expected) if expected != cluster_id => Err(StorageError::OtherCluster {
            path: directory.to_owned(),
            found: cluster_id,
            expected: expected.to_owned(),
        }),
        _ => Ok(cluster_id),
    }
}

/// Whether nothing is there but what a file system or an interrupted first start leaves.
fn is_empty(directory: &Path) -> Result<bool, StorageError> {
    let failed = |error| StorageError::io("listing", directory, error);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let leftover = format!("{META_FILE}{}", streamledger_broker_core::log::TEMPORARY_SUFFIX);
        if name != LOCK_FILE && name != "lost+found" && *name != *leftover {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) const RANDOM: &str = "/dev/urandom";

/// An id as Kafka makes them: 16 random bytes in URL-safe base64.
fn made_up_id() -> io::Result<String> {
    let mut bytes = [0; 16];
    fs::File::open(RANDOM)?.read_exact(&mut bytes)?;
    Ok(TopicId(bytes).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(directory: &Path, cluster_id: Option<&str>) -> Result<String, StorageError> {
        open_or_format(&Disk::default(), directory, cluster_id)
    }

    #[test]
    fn an_empty_directory_becomes_ours_and_keeps_its_cluster() {
        let directory = tempfile::tempdir().unwrap();
        let made_up = open(directory.path(), None).unwrap();
        assert_eq!(made_up.len(), 22);
        assert_eq!(open(directory.path(), Some(&made_up)).unwrap(), made_up);
        let refused = open(directory.path(), Some("other")).unwrap_err();
        assert!(matches!(refused, StorageError::OtherCluster { .. }), "{refused}");
    }

    #[test]
    fn a_directory_from_elsewhere_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("meta.properties"), "version=1\n").unwrap();
        let refused = open(directory.path(), None).unwrap_err();
        assert!(matches!(refused, StorageError::NotOurs { .. }), "{refused}");
    }

    #[test]
    fn failure_50_a_newer_or_broken_format_refuses_to_start() {
        let directory = tempfile::tempdir().unwrap();
        let meta = directory.path().join(META_FILE);
        fs::write(&meta, "format.version=2\ncluster.id=x\n").unwrap();
        let refused = open(directory.path(), None).unwrap_err();
        assert!(matches!(refused, StorageError::NewerFormat { found: 2, known: 1, .. }));
        fs::write(&meta, "format.version=one\ncluster.id=x\n").unwrap();
        assert!(matches!(open(directory.path(), None), Err(StorageError::Meta { .. })));
        fs::write(&meta, "format.version=1\n").unwrap();
        assert!(matches!(open(directory.path(), None), Err(StorageError::Meta { .. })));
    }
}
