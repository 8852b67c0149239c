//! The loop that reads rows and sends records: one thread, nothing allocated per row.
//!
//! Laws: a row is sent once or counted as rejected; what ends the loop is looked for every
//! `CHECK_ROWS` rows of a file, so that a row costs no lock and no clock.

use streamledger::{ProduceError, Producer, ProducerRecord, TimestampMs};

use super::OnError;
use super::report::Rejection;
use crate::failure::{Failure, Outcome};
use crate::input::plan::PlannedFile;
use crate::input::{InputPlan, ReadFault, RecordSource, RowFault, SourceRecord, file};
use crate::interrupt::Interrupt;
use crate::ledger::Ledger;
use crate::producing::send_failure;
use crate::ui::progress::Progress;

/// Every so many rows the loop looks for Ctrl-C and failed batches, and shows how far it is.
const CHECK_ROWS: u64 = 1024;

/// As many for rows that come when they come: a stream may be slow, and is to end in good time.
const CHECK_STREAM_ROWS: u64 = 16;

/// So many rejected rows are told one by one.
const REJECTIONS_MAX: usize = 20;

/// What the loop needs.
#[derive(Debug)]
pub(super) struct Feed<'a> {
    pub(super) plan: &'a InputPlan,
    pub(super) topic: &'a str,
    pub(super) on_error: OnError,
    pub(super) limit: u64,
    pub(super) producer: &'a Producer,
    pub(super) ledger: &'a Ledger,
    pub(super) interrupt: &'a Interrupt,
    pub(super) progress: &'a Progress,
    pub(super) fed: Fed,
}

/// What it has done so far.
#[derive(Debug, Default)]
pub(super) struct Fed {
    /// Records that the producer took.
    pub(super) sent: u64,
    /// Rows that were left out.
    pub(super) rejected: u64,
    /// The first of them.
    pub(super) rejections: Vec<Rejection>,
    /// Bytes of the files that were read.
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

impl Feed<'_> {
    /// Sends all files, in order.
    pub(super) fn run(&mut self) -> Outcome<FeedEnd> {
        for file in &self.plan.files {
            self.progress.name(&file.path.file_name().unwrap_or_default().to_string_lossy());
            let mut source = self.plan.open(file)?;
            let bytes_before = self.fed.input_bytes;
            let end = self.send_file(file, source.as_mut(), bytes_before);
            self.fed.input_bytes = bytes_before + source.consumed_bytes();
            if end? == FeedEnd::Stopped {
                return Ok(FeedEnd::Stopped);
            }
        }
        Ok(FeedEnd::Complete)
    }

    fn send_file(
        &mut self,
        file: &PlannedFile,
        source: &mut dyn RecordSource,
        bytes_before: u64,
    ) -> Outcome<FeedEnd> {
        let check_rows = if file.is_stream() { CHECK_STREAM_ROWS } else { CHECK_ROWS };
        let mut until_check = check_rows;
        while self.fed.sent < self.limit {
            match source.next_record() {
                Ok(Some(record)) => {
                    let line = record.line;
                    match self.send(&record) {
                        Ok(()) => self.fed.sent += 1,
                        Err(error) => self.refused(file, line, &error)?,
                    }
                }
                Ok(None) => break,
                Err(fault) => match *fault {
                    ReadFault::Row { line, fault } => self.reject(file, line, &fault)?,
                    io => return Err(file::failed_at(&file.path, io).into()),
                },
            }
            until_check -= 1;
            if until_check == 0 {
                until_check = check_rows;
                let done_bytes = bytes_before + source.consumed_bytes();
                self.progress.at(done_bytes, self.fed.sent);
                if self.interrupt.is_raised() || self.ledger.has_failed() {
                    return Ok(FeedEnd::Stopped);
                }
            }
        }
        Ok(FeedEnd::Complete)
    }

    #[inline]
    fn send(&self, record: &SourceRecord<'_>) -> Result<(), ProduceError> {
        let rendered = &record.rendered;
        let mut outgoing =
            ProducerRecord::to(self.topic).nullable_key(rendered.key).value(rendered.value);
        if let Some(ms) = rendered.timestamp_ms {
            outgoing = outgoing.timestamp(TimestampMs(ms));
        }
        self.producer.send(outgoing).map(drop)
    }

    /// The producer didn't take a record: its row is bad, or the run is over.
    fn refused(&mut self, file: &PlannedFile, line: u64, error: &ProduceError) -> Outcome<()> {
        if let ProduceError::RecordTooLarge { .. } = error {
            let fault = RowFault::Refused { reason: error.to_string() };
            return self.reject(file, line, &fault);
        }
        Err(send_failure(error).into())
    }

    /// Counts a bad row, and ends the run if that was asked for.
    fn reject(&mut self, file: &PlannedFile, line: u64, fault: &RowFault) -> Outcome<()> {
        self.fed.rejected += 1;
        let rejection =
            Rejection { file: file.path.display().to_string(), line, reason: fault.to_string() };
        if self.fed.rejections.len() < REJECTIONS_MAX {
            self.fed.rejections.push(rejection.clone());
        }
        if self.on_error == OnError::Stop {
            let failure: Failure = file::bad_row(&file.path, line, fault);
            return Err(failure.into());
        }
        match self.fed.rejected as usize {
            REJECTIONS_MAX => self.progress.say("skipped: more rows, counted from here on"),
            count if count < REJECTIONS_MAX => {
                let Rejection { file, line, reason } = rejection;
                self.progress.say(&format!("skipped {file}:{line}: the row {reason}"));
            }
            _ => {}
        }
        Ok(())
    }
}
