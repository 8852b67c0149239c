//! What the loop tells its observer of files and rows, and when that is known to last.

use std::path::Path;
use std::time::{Duration, Instant};

use super::events::{Event, Measured, Place};
use super::feed::Feed;
use super::prepare::{FeedFile, KeptFile};
use super::report::Rejection;
use crate::input::arrivals::DoneBefore;

/// Without transactions a program is told of what was acknowledged this often at most: each time
/// nothing is sent until it is.
const BETWEEN_SETTLINGS: Duration = Duration::from_secs(1);

/// What has happened and may still be taken back.
#[derive(Debug)]
pub(super) struct Untold {
    /// The file that is read.
    file: String,
    file_bytes: Option<u64>,
    /// Rows of the run, sent and left out, when it began.
    sent_before: u64,
    rejected_before: u64,
    rejected: Vec<RejectedRows>,
    ended: Vec<EndedFile>,
    begun: Instant,
    settled: Instant,
    /// Bytes of the file, as they are on the disk, that weren't read by this run.
    pub(super) first_bytes: u64,
}

/// Rows of one file that were left out.
#[derive(Debug)]
struct RejectedRows {
    file: String,
    /// How many so far, over all runs.
    rejected: u64,
    rejections: Vec<Rejection>,
}

/// A file that was read to its end.
#[derive(Debug)]
struct EndedFile {
    file: String,
    rows: u64,
    rejected: u64,
}

impl Untold {
    pub(super) fn new() -> Untold {
        let now = Instant::now();
        Untold {
            file: String::new(),
            file_bytes: None,
            sent_before: 0,
            rejected_before: 0,
            rejected: Vec::new(),
            ended: Vec::new(),
            begun: now,
            settled: now,
            first_bytes: 0,
        }
    }

    fn has_something(&self) -> bool {
        !self.rejected.is_empty() || !self.ended.is_empty()
    }
}

fn place<'a>(file: &'a str, kept: &KeptFile) -> Place<'a> {
    let progress = &kept.progress;
    Place {
        file,
        bytes: progress.bytes,
        next_line: progress.next_line,
        rows: progress.rows,
        rejected: progress.rejected,
    }
}

impl Feed<'_> {
    /// A file was ingested whole by an earlier run.
    pub(super) fn tell_of_done(&mut self, file: &FeedFile<'_>, kept: &KeptFile) {
        if let Some(display) = self.observer.display() {
            display.skip_file(file.file.file_bytes.unwrap_or(0));
        }
        self.observer.tell(&Event::FileDone {
            file: &file.file.path.display().to_string(),
            rows: kept.progress.rows,
            rejected: kept.progress.rejected,
            earlier: true,
        });
    }

    /// A file that is watched is as it was when it was ingested by an earlier run.
    pub(super) fn tell_of_known(&mut self, path: &Path, done: &DoneBefore) {
        if let Some(display) = self.observer.display() {
            display.skip_file(done.bytes);
        }
        self.observer.tell(&Event::FileDone {
            file: &path.display().to_string(),
            rows: done.rows,
            rejected: done.rejected,
            earlier: true,
        });
    }

    /// The rows of a file come next, from a byte on the disk on.
    pub(super) fn tell_of_start(&mut self, file: &FeedFile<'_>, first_bytes: u64) {
        let untold = &mut self.untold;
        untold.file = file.file.path.display().to_string();
        untold.file_bytes = file.file.file_bytes.filter(|_| file.followed.is_none());
        (untold.sent_before, untold.rejected_before) = (self.fed.sent, self.fed.rejected);
        if let Some(display) = self.observer.display() {
            let name = file.file.path.file_name().unwrap_or_default().to_string_lossy();
            display.begin_file(&name, first_bytes, untold.file_bytes);
        }
        let (file_name, file_bytes) = (untold.file.as_str(), untold.file_bytes);
        self.observer.tell(&Event::FileStarted { file: file_name, file_bytes });
        let has_begun = |kept: &&KeptFile| kept.progress.bytes > 0 || kept.rows_before > 0;
        if let Some(kept) = file.kept.as_ref().filter(has_begun) {
            self.observer.tell(&Event::Resumed(place(file_name, kept)));
        }
    }

    /// So much of the file that is read was read, as it is on the disk.
    pub(super) fn tell_how_far(&mut self, read_bytes: u64) {
        let untold = &self.untold;
        self.observer.measure(Measured {
            file: &untold.file,
            read_bytes,
            file_bytes: untold.file_bytes,
            sent: self.fed.sent,
            rejected: self.fed.rejected,
            input_bytes: self.fed.input_bytes + read_bytes.saturating_sub(untold.first_bytes),
            seconds: untold.begun.elapsed().as_secs_f64(),
        });
    }

    /// A row was left out; `rejection` if it is among the first.
    pub(super) fn keep_rejection(&mut self, kept: Option<&KeptFile>, rejection: Option<Rejection>) {
        let untold = &mut self.untold;
        let of_run = self.fed.rejected - untold.rejected_before;
        let rejected = kept.map_or(of_run, |kept| kept.progress.rejected);
        match untold.rejected.last_mut().filter(|last| last.file == untold.file) {
            Some(last) => {
                last.rejected = rejected;
                last.rejections.extend(rejection);
            }
            None => untold.rejected.push(RejectedRows {
                file: untold.file.clone(),
                rejected,
                rejections: rejection.into_iter().collect(),
            }),
        }
    }

    /// The file that is read was read to its end.
    pub(super) fn keep_end(&mut self, kept: Option<&KeptFile>) {
        let untold = &mut self.untold;
        let of_run =
            (self.fed.sent - untold.sent_before, self.fed.rejected - untold.rejected_before);
        let (rows, rejected) =
            kept.map_or(of_run, |kept| (kept.progress.rows, kept.progress.rejected));
        untold.ended.push(EndedFile { file: untold.file.clone(), rows, rejected });
        if let Some(display) = self.observer.display() {
            display.file_read();
        }
    }

    /// A transaction was committed, up to a place in a file that is read.
    pub(super) fn tell_of_commit(&mut self, kept: Option<&KeptFile>) {
        let Some(transactions) = &self.transactions else { return };
        let committed = transactions.committed();
        self.observer.tell(&Event::Committed {
            transactions: committed.transactions,
            rows: committed.rows,
            place: kept.map(|kept| place(&self.untold.file, kept)),
        });
        self.tell_the_rest();
    }

    /// Without transactions: has everything acknowledged that was sent, and tells it, if that is
    /// due.
    pub(super) fn settle(&mut self) {
        let is_due = self.transactions.is_none()
            && self.untold.has_something()
            && self.untold.settled.elapsed() >= BETWEEN_SETTLINGS;
        if !is_due {
            return;
        }
        // It fails in a callback only, which this isn't.
        let is_settled =
            !self.observer.waits_for_acknowledgements() || self.producer.flush().is_ok();
        self.untold.settled = Instant::now();
        if is_settled && !self.ledger.has_failed() {
            self.tell_the_rest();
        }
    }

    /// Tells what is known to last by now.
    pub(super) fn tell_the_rest(&mut self) {
        for RejectedRows { file, rejected, rejections } in self.untold.rejected.drain(..) {
            let (file, rejections) = (file.as_str(), rejections.as_slice());
            self.observer.tell(&Event::Rejected { file, rejected, rejections });
        }
        for EndedFile { file, rows, rejected } in self.untold.ended.drain(..) {
            let file = file.as_str();
            self.observer.tell(&Event::FileDone { file, rows, rejected, earlier: false });
        }
    }
}
