//! Rows, dead letters and progress in transactions: all of one, or nothing of it.
//!
//! Laws: what a transaction says of a file is where its last row ends, so a row and the word that
//! it is there are committed together; a commit whose outcome isn't known is asked for again before
//! anything else is done.

use std::time::{Duration, Instant};

use streamledger::{Producer, ProducerRecord, Transaction, TransactionError};

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::job::{self, FileProgress, ProgressKey};
use crate::ledger::Ledger;
use crate::producing::send_failure;
use crate::rights::MissingRight;
use crate::ui;

/// How long a run that failed waits to hear that its rows are taken back. It learns no more than
/// whether another run has begun.
const ABORT_PATIENCE: Duration = Duration::from_secs(3);
/// How long to wait before a commit of unknown outcome is asked for again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How large a transaction becomes.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransactionLimits {
    /// Rows after which it is committed.
    pub(super) rows: u64,
    /// Time after which it is committed.
    pub(super) time: Duration,
}

/// The transactions of a run, one after the other.
#[derive(Debug)]
pub(super) struct Transactions<'a> {
    producer: &'a Producer,
    interrupt: &'a Interrupt,
    ledger: &'a Ledger,
    job: &'a str,
    limits: TransactionLimits,
    open: Option<Transaction<'a>>,
    begun: Instant,
    row_count: u64,
    /// Files that ended in the transaction at hand.
    ended: Vec<(ProgressKey, FileProgress)>,
    /// Keys that are forgotten in the transaction at hand.
    forgotten: Vec<ProgressKey>,
    committed: Committed,
    is_fenced: bool,
}

/// What was committed so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Committed {
    /// How many transactions.
    pub transactions: u64,
    /// How many rows they hold.
    pub rows: u64,
}

impl<'a> Transactions<'a> {
    /// None is open yet. The producer has been through `init_transactions`.
    pub(super) fn new(
        producer: &'a Producer,
        interrupt: &'a Interrupt,
        ledger: &'a Ledger,
        job: &'a str,
        limits: TransactionLimits,
    ) -> Transactions<'a> {
        Transactions {
            producer,
            interrupt,
            ledger,
            job,
            limits,
            open: None,
            begun: Instant::now(),
            row_count: 0,
            ended: Vec::new(),
            forgotten: Vec::new(),
            committed: Committed::default(),
            is_fenced: false,
        }
    }

    /// What was committed so far.
    pub(super) fn committed(&self) -> Committed {
        self.committed
    }

    /// Whether another run of the job has begun.
    pub(super) fn is_fenced(&self) -> bool {
        self.is_fenced
    }

    fn failed(&mut self, error: &TransactionError) -> Box<Failure> {
        self.is_fenced |= error.is_fenced();
        failure(self.job, error).into()
    }

    /// How many rows may pass until [`is_due`](Self::is_due) is asked again.
    pub(super) fn rows_max(&self) -> u64 {
        self.limits.rows
    }

    /// Sees to it that one is open, before a record is sent.
    #[inline]
    pub(super) fn begin(&mut self) -> Outcome<()> {
        if self.open.is_some() {
            return Ok(());
        }
        let producer = self.producer;
        self.open = Some(producer.begin_transaction().map_err(|error| self.failed(&error))?);
        self.begun = Instant::now();
        Ok(())
    }

    /// Counts a row that became a record of the one that is open.
    #[inline]
    pub(super) fn count_row(&mut self) {
        self.row_count += 1;
    }

    /// Whether it is time to commit.
    pub(super) fn is_due(&self) -> bool {
        self.open.is_some()
            && (self.row_count >= self.limits.rows || self.begun.elapsed() >= self.limits.time)
    }

    /// A file ended: that is said in the transaction that holds its last rows.
    pub(super) fn file_ended(&mut self, key: ProgressKey, progress: FileProgress) {
        self.ended.push((key, progress));
    }

    /// What was kept of a file under one key is from now on kept under another.
    pub(super) fn rename(&mut self, from: ProgressKey, key: &ProgressKey, progress: &FileProgress) {
        self.forgotten.push(from);
        self.ended.push((key.clone(), progress.clone()));
    }

    /// Commits what was sent, with how far the files were read; `current` is the one that is read.
    pub(super) fn commit(&mut self, current: Option<(&ProgressKey, &FileProgress)>) -> Outcome<()> {
        if self.open.is_none() && self.ended.is_empty() && current.is_none() {
            return Ok(());
        }
        self.begin()?;
        let ended = std::mem::take(&mut self.ended);
        for (key, progress) in ended.iter().map(|(key, progress)| (key, progress)).chain(current) {
            self.send_progress(key, progress)?;
        }
        for key in std::mem::take(&mut self.forgotten) {
            self.send(&key, None)?;
        }
        let Some(mut transaction) = self.open.take() else { return Ok(()) };
        let mut told = String::new();
        while let Err(error) = transaction.commit() {
            if !error.is_outcome_unknown() || error.is_fatal() || self.interrupt.is_raised() {
                if error.must_abort() {
                    self.open = Some(transaction);
                }
                let failure = self.failed(&error);
                return Err(self.give_up(failure));
            }
            let why = error.to_string();
            if why != told {
                ui::say(format_args!(
                    "no broker has said yet whether the transaction is committed, asking on: {why}"
                ));
                told = why;
            }
            // A refused login comes back at once.
            std::thread::sleep(ASK_AGAIN_AFTER);
        }
        self.committed.transactions += 1;
        self.committed.rows += std::mem::take(&mut self.row_count);
        Ok(())
    }

    fn send_progress(&self, key: &ProgressKey, progress: &FileProgress) -> Outcome<()> {
        let value = serde_json::to_vec(progress).map_err(|error| cannot_write(&error))?;
        self.send(key, Some(&value))
    }

    fn send(&self, key: &ProgressKey, value: Option<&[u8]>) -> Outcome<()> {
        let key = serde_json::to_vec(key).map_err(|error| cannot_write(&error))?;
        let record = ProducerRecord::to(job::TOPIC).key(&key);
        let record = match value {
            Some(value) => record.value(value),
            None => record,
        };
        self.producer.send(record).map(drop).map_err(|error| send_failure(&error).into())
    }

    /// Takes back what was sent since the last commit, for a reason; the reason to tell. That
    /// another run has begun explains whatever went wrong.
    pub(super) fn give_up(&mut self, reason: Box<Failure>) -> Box<Failure> {
        let Some(transaction) = self.open.take() else { return reason };
        // The abort fails batches too, which explains nothing.
        let not_delivered = self.not_delivered();
        match within(ABORT_PATIENCE, transaction.abort_async()) {
            Some(Err(error)) if error.is_fenced() => self.failed(&error),
            // Left open it ends all the same: by the next run, or by its time-out.
            Some(Ok(()) | Err(_)) | None if reason.exit == Exit::BadInput => {
                not_delivered.unwrap_or(reason)
            }
            Some(Ok(()) | Err(_)) | None => self.not_delivered().unwrap_or(reason),
        }
    }

    /// That a batch failed, if one did: whatever else then fails, fails for that.
    pub(super) fn not_delivered(&self) -> Option<Box<Failure>> {
        let cause = self.ledger.account().first_failure?;
        let remedy = "see to the cause and run the same command again:\n\
                      it goes on after the last committed row";
        let failure = Failure::new(Exit::Failed, "records were not delivered");
        Some(failure.cause(cause).remedy(remedy).into())
    }
}

fn cannot_write(error: &serde_json::Error) -> Failure {
    Failure::new(Exit::Failed, "the progress can't be written").because(error)
}

/// What a future gives within a time.
fn within<T>(patience: Duration, future: impl Future<Output = T>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().ok()?;
    runtime.block_on(async { tokio::time::timeout(patience, future).await.ok() })
}

/// Why transactions can't go on, as a failure.
pub(super) fn failure(job: &str, error: &TransactionError) -> Failure {
    if error.is_fenced() {
        return Failure::new(Exit::Failed, format!("another run of the job {job:?} has begun"))
            .cause(
                "or this one was away for longer than transaction.timeout.ms; what it had not \
                 committed by then is taken back",
            )
            .remedy(
                "let the other run finish: it goes on where this one was;\n\
                 runs that are to go on side by side each need a --job of their own",
            );
    }
    if error.is_outcome_unknown() {
        return Failure::new(Exit::Failed, "it isn't known whether the last rows were committed")
            .because(error)
            .remedy("run the same command again: it finds out, and goes on from there");
    }
    let id = job::transactional_id(job);
    if let Some(right) = MissingRight::of_transaction(&id, error) {
        let failure =
            Failure::new(Exit::Failed, format!("the job {job:?} may not send in transactions"));
        let otherwise = ";\nor say --at-least-once: rows may then be there twice after a failure";
        return right.explain(failure.because(error), otherwise);
    }
    let exit = if error.last_broker_error().is_none() && !error.is_fatal() {
        Exit::Unreachable
    } else {
        Exit::Failed
    };
    Failure::new(exit, "the transaction failed").because(error).remedy(format!(
        "{},\nthen run the same command again: it goes on after the last committed row",
        error.next_action()
    ))
}

#[cfg(test)]
mod tests {
    use streamledger::{
        ErrorCode, FatalError, TransactionErrorKind, TransactionOperation, TransactionStage,
    };

    use super::*;

    #[test]
    fn a_refused_transactional_id_is_told_with_the_right_and_the_command() {
        let code = ErrorCode::TransactionalIdAuthorizationFailed;
        let told = failure(
            "nightly",
            &TransactionError {
                operation: TransactionOperation::Init,
                kind: TransactionErrorKind::Fatal(FatalError::Broker(code)),
                stage: TransactionStage::Requested,
                attempts: 1,
                last_error: None,
                waited: Duration::ZERO,
            },
        );
        let told = told.to_string();
        for part in [
            "the job \"nightly\" may not send in transactions",
            "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            "missing: Write on the transactional id \"streamledger-ingest-nightly\"",
            "--operation Write --transactional-id 'streamledger-ingest-nightly'",
            "--at-least-once",
        ] {
            assert!(told.contains(part), "{part}\n{told}");
        }
    }
}
