//! Opening input files: what can be wrong with one, said with what to do.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

use super::compression::DecodeFault;
use super::fault::{ReadFault, RowFault};

/// Opens a regular file to be read from front to back; its length in bytes.
pub fn open(path: &Path) -> Outcome<(File, u64)> {
    // Asked before it is opened: opening a pipe waits for who writes to it.
    let kind = std::fs::metadata(path).map_err(|error| cannot_open(path, &error))?;
    if !kind.is_file() {
        return Failure::new(Exit::BadInput, format!("{} isn't a regular file", path.display()))
            .cause("it is a pipe, a device or the like, which can be read once")
            .remedy("read it as standard input: streamledger ingest - < PIPE")
            .err();
    }
    let file = File::open(path).map_err(|error| cannot_open(path, &error))?;
    let metadata = file.metadata().map_err(|error| cannot_open(path, &error))?;
    // Only a hint; without it the file is read as well, a little later.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
    Ok((file, metadata.len()))
}

fn cannot_open(path: &Path, error: &io::Error) -> Box<Failure> {
    let leads_to = std::fs::read_link(path).ok();
    let remedy = match (error.kind(), leads_to) {
        (io::ErrorKind::NotFound, Some(_)) => {
            "it is a link to what isn't there: put that back, or make the link anew (ln -sfn)"
        }
        (_, Some(_)) if is_link_in_a_circle(error) => {
            "it is a link that leads back to itself: make it anew (ln -sfn)"
        }
        (io::ErrorKind::NotFound, None) => {
            "check the path; a relative one starts at the current directory"
        }
        (io::ErrorKind::NotADirectory, _) => {
            "check the path: a part of it is a file, where a directory is meant"
        }
        (io::ErrorKind::InvalidFilename, _) => {
            "check the path: a name in it is longer than the file system takes"
        }
        (io::ErrorKind::PermissionDenied, _) => "let your user read it, or run as one who may",
        _ if is_link_in_a_circle(error) => {
            "a directory of the path is a link that leads back to itself: make that anew"
        }
        _ => "check that the disk holding it is readable",
    };
    Failure::new(Exit::BadInput, format!("can't open {}", path.display()))
        .because(error)
        .remedy(remedy)
        .into()
}

fn is_link_in_a_circle(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// What reading a file ended with, as a failure that names the file and the line.
pub fn failed_at(path: &Path, fault: ReadFault) -> Failure {
    match fault {
        ReadFault::Io(error) => {
            let remedy = match DecodeFault::of(&error) {
                Some(fault) => fault.remedy(),
                None => "check that the disk holding it is readable",
            };
            Failure::new(Exit::BadInput, format!("can't read {}", path.display()))
                .because(&error)
                .remedy(remedy)
        }
        ReadFault::Row { line, fault } => bad_row(path, line, &fault),
    }
}

/// A bad row as the failure that ends a run.
pub fn bad_row(path: &Path, line: u64, fault: &RowFault) -> Failure {
    let failure = Failure::new(Exit::BadInput, format!("bad row at {}:{line}", path.display()))
        .cause(format!("the row {fault}"));
    let skip = "or leave such rows out and count them: --on-error skip";
    match fault.remedy() {
        Some(remedy) => failure.remedy(format!("{remedy},\n{skip}")),
        None => failure.remedy(format!("repair the row,\n{skip}")),
    }
}
