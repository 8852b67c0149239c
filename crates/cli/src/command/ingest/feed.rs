//! The loop that reads rows and sends records: one thread, nothing allocated per row.
//!
//! Laws: a row is sent once or counted as rejected; what ends the loop is looked for every
//! `CHECK_ROWS` rows of a file, so that a row costs no lock and no clock; a transaction ends
//! between two rows, never inside one.

use std::collections::BTreeSet;
use std::path::PathBuf;

use streamledger::{ProduceError, Producer, ProducerRecord};

use super::OnError;
use super::follow::NextGeneration;
use super::observer::Observer;
use super::pace::Pacer;
use super::pacing::RowWait;
use super::prepare::FeedFile;
use super::report::Rejection;
use super::telling::Untold;
use super::transactions::Transactions;
use crate::dead_letter::DeadLetter;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::input::planned::PlannedFile;
use crate::input::{Place, Position, ReadFault, RecordSource, RowFault, SourceRecord, file};
use crate::interrupt::Interrupt;
use crate::ledger::Ledger;
use crate::producing::send_failure;
use crate::ui::units;

/// Every so many rows the loop looks for Ctrl-C and failed batches, and shows how far it is.
const CHECK_ROWS: u64 = 1024;

/// As many for rows that come when they come: a stream may be slow, and is to end in good time.
const CHECK_STREAM_ROWS: u64 = 16;

/// So many rejected rows are told one by one.
const REJECTIONS_MAX: usize = 20;

/// What the loop needs.
#[derive(Debug)]
pub(super) struct Feed<'a> {
    pub(super) topic: &'a str,
    pub(super) rejects: Rejects<'a>,
    pub(super) limit: u64,
    pub(super) producer: &'a Producer,
    pub(super) ledger: &'a Ledger,
    pub(super) interrupt: &'a Interrupt,
    pub(super) observer: Observer,
    pub(super) untold: Untold,
    /// The transactions rows are sent in; without them a row may be there twice.
    pub(super) transactions: Option<Transactions<'a>>,
    /// When rows are due; without it as soon as can be.
    pub(super) pacer: Option<Pacer>,
    pub(super) fed: Fed,
}

/// What becomes of rows that can't become a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rejects<'a> {
    pub(super) on_error: OnError,
    /// How many may be left out.
    pub(super) count_max: u64,
    /// The topic of the dead letters.
    pub(super) topic: &'a str,
}

/// What it has done so far.
#[derive(Debug, Default)]
pub(super) struct Fed {
    /// Records that the producer took.
    pub(super) sent: u64,
    /// Rows that were left out.
    pub(super) rejected: u64,
    /// Rows that earlier runs left out of the files that this one goes on with.
    rejected_before: u64,
    /// Those files.
    goes_on_with: BTreeSet<PathBuf>,
    /// The first of them.
    pub(super) rejections: Vec<Rejection>,
    /// Bytes of the files that were read, without those of the file at hand.
    pub(super) input_bytes: u64,
}

/// Why the loop ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FeedEnd {
    /// Everything, or the limit, was read.
    Complete,
    /// A signal came, or a batch failed.
    Stopped,
}

/// Where the rows of one file ended.
#[derive(Debug)]
pub(super) enum RowsEnd {
    /// At the end of the file.
    AtEnd,
    /// Before what a file that is followed lost: it was cut.
    Cut,
    /// At the limit, or because a signal came.
    Between(FeedEnd),
    /// Because a signal came while the row that starts there waited until it was due.
    Waiting(Option<Position>),
    /// A batch failed.
    BatchFailed,
    /// Before a bad row.
    BadRow(BadRowPlace, Box<Failure>),
}

/// Where a bad row is that ended a run: that counts only if positions are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct BadRowPlace {
    place: Option<Place>,
    /// The same with a hash, if that costs no further reading of the file.
    position: Option<Position>,
}

impl Feed<'_> {
    /// Sends all files, in order.
    pub(super) fn run(&mut self, files: Vec<FeedFile<'_>>) -> Outcome<FeedEnd> {
        for file in &files {
            self.forget_old_key(file);
        }
        for mut file in files {
            if let Some(kept) = file.kept.as_ref().filter(|kept| kept.is_done) {
                self.tell_of_done(&file, kept);
                continue;
            }
            match self.send_file(&mut file) {
                Ok(FeedEnd::Complete) if self.fed.sent < self.limit => {
                    if let Some(end) = self.between_files().map_err(|why| self.give_up(why))? {
                        return self.commit(None).map(|()| end);
                    }
                }
                Ok(end) => return self.commit(None).map(|()| end),
                Err(failure) => return Err(self.give_up(failure)),
            }
        }
        self.commit(None).map(|()| FeedEnd::Complete)
    }

    /// Looks for what is looked for in the middle of a long file; why the run ends, if it does.
    fn between_files(&mut self) -> Outcome<Option<FeedEnd>> {
        if self.ledger.has_failed() {
            let failed = self.transactions.as_ref().and_then(Transactions::not_delivered);
            return failed.map_or(Ok(Some(FeedEnd::Stopped)), Err);
        }
        if self.interrupt.is_raised() {
            return Ok(Some(FeedEnd::Stopped));
        }
        if self.transactions.as_ref().is_some_and(Transactions::is_due) {
            self.commit(None)?;
        }
        Ok(None)
    }

    /// Has what a release before this kept of a file be kept under the file's own key, by the next
    /// commit.
    fn forget_old_key(&mut self, file: &FeedFile<'_>) {
        let (Some(transactions), Some(kept)) = (&mut self.transactions, &file.kept) else { return };
        if let Some(old) = &kept.replaces {
            transactions.rename(old.clone(), &kept.key, &kept.progress);
        }
    }

    /// Sends the rows of one file, and sees to what is kept of it.
    fn send_file(&mut self, file: &mut FeedFile<'_>) -> Outcome<FeedEnd> {
        let mut source = match file.source.take() {
            Some(source) => source,
            None if file.kept.is_some() => file.plan.open_hashed(file.file)?,
            None => file.plan.open(file.file)?,
        };
        self.tell_of_start(file, source.read_bytes());
        self.count_earlier_rejects(file);
        self.keep_beginning(file)?;
        let end = loop {
            let first_bytes = source.read_bytes();
            self.untold.first_bytes = first_bytes;
            let end = self.send_rows(file, source.as_mut());
            self.untold.first_bytes = source.read_bytes();
            self.fed.input_bytes += self.untold.first_bytes.saturating_sub(first_bytes);
            let end = end?;
            match self.next_generation(file, source.as_mut(), &end)? {
                NextGeneration::Opened(next) => source = next,
                NextGeneration::Stopped => return Ok(FeedEnd::Stopped),
                NextGeneration::None => break end,
            }
        };
        Ok(match end {
            RowsEnd::AtEnd | RowsEnd::Cut => {
                self.file_ended(file, source.as_mut())?;
                FeedEnd::Complete
            }
            RowsEnd::Between(end) => {
                self.commit_at(file, source.as_mut())?;
                end
            }
            RowsEnd::Waiting(position) => {
                self.commit_up_to(file, position)?;
                FeedEnd::Stopped
            }
            RowsEnd::BatchFailed => {
                let failed = self.transactions.as_ref().and_then(Transactions::not_delivered);
                failed.map_or(Ok(FeedEnd::Stopped), Err)?
            }
            RowsEnd::BadRow(at, failure) => {
                self.commit_before(file, at)?;
                return Err(failure);
            }
        })
    }

    /// A file that comes back in the same run, as it has grown, was counted by the run itself.
    fn count_earlier_rejects(&mut self, file: &FeedFile<'_>) {
        let Some(kept) = &file.kept else { return };
        if self.fed.goes_on_with.insert(file.file.path.clone()) {
            self.fed.rejected_before += kept.progress.rejected;
        }
    }

    fn send_rows(
        &mut self,
        file: &mut FeedFile<'_>,
        source: &mut dyn RecordSource,
    ) -> Outcome<RowsEnd> {
        let comes_when_it_comes = file.file.is_stream() || file.followed.is_some();
        let check_rows = if comes_when_it_comes { CHECK_STREAM_ROWS } else { CHECK_ROWS };
        let rows_max = self.transactions.as_ref().map_or(u64::MAX, Transactions::rows_max);
        let check_rows = check_rows.min(rows_max);
        let mut until_check = check_rows;
        let mut wait = RowWait::at(source.place());
        while self.fed.sent < self.limit {
            let place = file.kept.is_some().then(|| source.place());
            if self.pacer.is_some() || file.followed.is_some() {
                wait.before_row(source.place(), source.position(), source.read_bytes());
            }
            let fault = match source.next_record() {
                Ok(Some(record)) => {
                    let (line, time_ms) = (record.line, record.rendered.timestamp_ms);
                    if let Some(end) = self.until_due(file, &mut wait, time_ms)? {
                        return Ok(end);
                    }
                    match self.send(&record)? {
                        Ok(()) => {
                            self.count_row(file);
                            None
                        }
                        Err(error) => Some((line, refused(&error)?)),
                    }
                }
                Ok(None) => return Ok(RowsEnd::AtEnd),
                Err(fault) if fault.is_not_yet() => match self.await_rows(file, source)? {
                    Some(end) => return Ok(end),
                    None => continue,
                },
                Err(fault) => match *fault {
                    ReadFault::Row { line, fault } => Some((line, fault)),
                    io => return Err(file::failed_at(&file.file.path, io).into()),
                },
            };
            if let Some((line, fault)) = fault
                && let Some(failure) = self.reject(file, source, line, &fault)?
            {
                let position = wait.position();
                return Ok(RowsEnd::BadRow(BadRowPlace { place, position }, failure));
            }
            until_check -= 1;
            if until_check == 0 {
                until_check = check_rows;
                self.tell_how_far(source.read_bytes());
                self.settle();
                if self.ledger.has_failed() {
                    return Ok(RowsEnd::BatchFailed);
                }
                if self.interrupt.is_raised() {
                    return Ok(RowsEnd::Between(FeedEnd::Stopped));
                }
                if self.transactions.as_ref().is_some_and(Transactions::is_due) {
                    self.commit_at(file, source)?;
                }
            }
        }
        Ok(RowsEnd::Between(FeedEnd::Complete))
    }

    #[inline]
    fn send(&mut self, record: &SourceRecord<'_>) -> Outcome<Result<(), ProduceError>> {
        if let Some(transactions) = &mut self.transactions {
            transactions.begin()?;
        }
        let send = |outgoing: ProducerRecord<'_>| self.producer.send(outgoing).map(drop);
        Ok(record.rendered.with_record(self.topic, send))
    }

    #[inline]
    fn count_row(&mut self, file: &mut FeedFile<'_>) {
        self.fed.sent += 1;
        if let Some(transactions) = &mut self.transactions {
            transactions.count_row();
        }
        if let Some(kept) = &mut file.kept {
            kept.progress.rows += 1;
        }
    }

    /// Counts a bad row and does with it what was asked for; why the run ends, if it does.
    fn reject(
        &mut self,
        file: &mut FeedFile<'_>,
        source: &dyn RecordSource,
        line: u64,
        fault: &RowFault,
    ) -> Outcome<Option<Box<Failure>>> {
        let path = file.file.path.display().to_string();
        let rejection = Rejection { file: path, line, reason: fault.to_string() };
        if self.fed.rejections.len() < REJECTIONS_MAX {
            self.fed.rejections.push(rejection.clone());
        }
        self.fed.rejected += 1;
        if self.rejects.on_error == OnError::Stop {
            return Ok(Some(file::bad_row(&file.file.path, line, fault).into()));
        }
        let before = self.fed.rejected_before;
        if self.fed.rejected + before > self.rejects.count_max {
            let mut failure = file::bad_row(&file.file.path, line, fault);
            let allowed = units::grouped(self.rejects.count_max);
            failure.what = format!("more than {allowed} bad rows: {}", failure.what);
            if before > 0 {
                failure = failure.cause(format!("{} were left out before", units::grouped(before)));
            }
            return Ok(Some(failure.remedy("repair the rows, or raise --max-rejected").into()));
        }
        if self.rejects.on_error == OnError::DeadLetter {
            self.send_dead_letter(file.file, source.last_row(), line, fault)?;
        }
        if let Some(kept) = &mut file.kept {
            kept.progress.rejected += 1;
        }
        self.tell(&rejection);
        let is_told = self.fed.rejected <= REJECTIONS_MAX as u64;
        self.keep_rejection(file.kept.as_ref(), is_told.then_some(rejection));
        Ok(None)
    }

    fn tell(&self, rejection: &Rejection) {
        match self.fed.rejected as usize {
            REJECTIONS_MAX => self.observer.say("skipped: more rows, counted from here on"),
            count if count < REJECTIONS_MAX => {
                let Rejection { file, line, reason } = rejection;
                self.observer.say(&format!("skipped {file}:{line}: the row {reason}"));
            }
            _ => {}
        }
    }

    /// Sends a bad row as it stands to the dead letters, with where it is and what is wrong with
    /// it.
    /// A row that is too large for a record goes without its bytes.
    fn send_dead_letter(
        &mut self,
        file: &PlannedFile,
        row: Option<&[u8]>,
        line: u64,
        fault: &RowFault,
    ) -> Outcome<()> {
        if let Some(transactions) = &mut self.transactions {
            transactions.begin()?;
        }
        let letter = DeadLetter::of(&file.path, line, row, fault);
        let send = |outgoing: ProducerRecord<'_>| self.producer.send(outgoing).map(drop);
        match letter.with_record(self.rejects.topic, send) {
            Err(ProduceError::RecordTooLarge { .. }) => {
                let sent = letter.without_row().with_record(self.rejects.topic, send);
                sent.map_err(|error| send_failure(&error).into())
            }
            sent => sent.map_err(|error| send_failure(&error).into()),
        }
    }

    /// Commits what was sent, up to where the file was read.
    pub(super) fn commit_at(
        &mut self,
        file: &mut FeedFile<'_>,
        source: &mut dyn RecordSource,
    ) -> Outcome<()> {
        let position = source.position();
        self.commit_up_to(file, position)
    }

    /// Commits what was sent, which is all rows before a position.
    pub(super) fn commit_up_to(
        &mut self,
        file: &mut FeedFile<'_>,
        position: Option<Position>,
    ) -> Outcome<()> {
        file.check_unchanged()?;
        if let Some(kept) = &mut file.kept {
            kept.progress.advance(&known(file.file, position)?);
            if let Some(followed) = &file.followed {
                kept.progress.file_bytes = followed.seen_bytes(kept.progress.bytes);
            }
        }
        self.commit(Some(file))
    }

    /// Commits what was sent before a bad row. The rows before it are hashed once more: the reading
    /// of them is past it.
    fn commit_before(&mut self, file: &mut FeedFile<'_>, at: BadRowPlace) -> Outcome<()> {
        if at.position.is_some() {
            return self.commit_up_to(file, at.position);
        }
        file.check_unchanged()?;
        if let (Some(kept), Some(place)) = (&mut file.kept, at.place) {
            let mut source = file.plan.open_hashed(file.file)?;
            source.skip_to(place).map_err(|fault| {
                let path = file.file.path.display();
                Failure::new(Exit::BadInput, format!("{path} {fault}"))
            })?;
            kept.progress.advance(&known(file.file, source.position())?);
        }
        self.commit(Some(file))
    }

    /// Keeps that a file was read to its end; that is committed with the rows of the next.
    fn file_ended(
        &mut self,
        file: &mut FeedFile<'_>,
        source: &mut dyn RecordSource,
    ) -> Outcome<()> {
        file.check_unchanged()?;
        if let (Some(transactions), Some(kept)) = (&mut self.transactions, &mut file.kept) {
            kept.progress.advance(&known(file.file, source.position())?);
            kept.progress.file_bytes = source.read_bytes();
            kept.progress.complete = true;
            transactions.file_ended(kept.key.clone(), kept.progress.clone());
        }
        self.tell_how_far(source.read_bytes());
        self.keep_end(file.kept.as_ref());
        self.settle();
        Ok(())
    }

    pub(super) fn commit(&mut self, file: Option<&FeedFile<'_>>) -> Outcome<()> {
        let Some(transactions) = &mut self.transactions else { return Ok(()) };
        let kept = file.and_then(|file| file.kept.as_ref());
        let before = transactions.committed();
        transactions.commit(kept.map(|kept| (&kept.key, &kept.progress)))?;
        if transactions.committed() != before {
            self.tell_of_commit(kept);
        }
        Ok(())
    }

    fn give_up(&mut self, failure: Box<Failure>) -> Box<Failure> {
        match &mut self.transactions {
            Some(transactions) => transactions.give_up(failure),
            None => failure,
        }
    }
}

/// The position of a source whose position is kept, without which nothing may be committed.
pub(super) fn known(file: &PlannedFile, position: Option<Position>) -> Outcome<Position> {
    position.ok_or_else(|| {
        let path = file.path.display();
        Failure::new(Exit::Failed, format!("can't tell how far {path} was read")).into()
    })
}

/// The producer didn't take a record: its row is bad, or the run is over.
fn refused(error: &ProduceError) -> Outcome<RowFault> {
    match error {
        ProduceError::RecordTooLarge { .. } => Ok(RowFault::Refused { reason: error.to_string() }),
        _ => Err(send_failure(error).into()),
    }
}
