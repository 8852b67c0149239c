//! Waiting until a row is due, without holding back those before it.
//!
//! Law: a transaction that is due while a row waits is committed up to that row, not with it.

use std::thread;
use std::time::{Duration, Instant};

use super::feed::{Feed, RowsEnd};
use super::pace::Replayed;
use super::prepare::FeedFile;
use crate::failure::Outcome;
use crate::input::{Place, Position};
use crate::time::format_timestamp;
use crate::ui::units;

/// A row that is due sooner goes at once: no sleep is as short.
const PUNCTUAL: Duration = Duration::from_millis(1);

/// How long a wait goes on until it is looked for Ctrl-C, failed batches and the next commit.
const LOOK: Duration = Duration::from_millis(50);

/// Of a longer wait a person is told.
const LONG: Duration = Duration::from_secs(30);

/// The row at hand: where it starts, and how large the one before it was.
#[derive(Debug)]
pub(super) struct RowWait {
    start: Place,
    /// The same with a hash, where positions are kept.
    position: Option<Position>,
    bytes_before: u64,
    /// How much of the file was read, as it is on the disk.
    read_bytes: u64,
}

impl RowWait {
    /// Before the first row of a file.
    pub(super) fn at(start: Place) -> RowWait {
        RowWait { start, position: None, bytes_before: 0, read_bytes: 0 }
    }

    /// Where the row at hand starts, where positions are kept.
    pub(super) fn position(&self) -> Option<Position> {
        self.position
    }

    /// That a row begins here.
    pub(super) fn before_row(&mut self, start: Place, position: Option<Position>, read_bytes: u64) {
        self.bytes_before = start.bytes.saturating_sub(self.start.bytes);
        (self.start, self.position, self.read_bytes) = (start, position, read_bytes);
    }
}

impl Feed<'_> {
    /// Waits until the row at hand is due, if rows are to come at their time; why the run ends
    /// before it, if it does.
    #[inline]
    pub(super) fn until_due(
        &mut self,
        file: &mut FeedFile<'_>,
        wait: &mut RowWait,
        time_ms: Option<i64>,
    ) -> Outcome<Option<RowsEnd>> {
        let Some(pacer) = &mut self.pacer else { return Ok(None) };
        let now = Instant::now();
        let due = pacer.due(wait.bytes_before, time_ms, now);
        if due.saturating_duration_since(now) >= PUNCTUAL
            && let Some(end) = self.sleep_until(due, file, wait, time_ms)?
        {
            return Ok(Some(end));
        }
        if let Some(pacer) = &mut self.pacer {
            pacer.sent(time_ms, due, Instant::now());
        }
        Ok(None)
    }

    fn sleep_until(
        &mut self,
        due: Instant,
        file: &mut FeedFile<'_>,
        wait: &RowWait,
        time_ms: Option<i64>,
    ) -> Outcome<Option<RowsEnd>> {
        let mut left = due.saturating_duration_since(Instant::now());
        if let (true, Some(ms)) = (left > LONG, time_ms) {
            let (time, left) = (format_timestamp(ms), units::whole_seconds(left));
            let line = wait.start.next_line;
            self.observer.say(&format!("the row of line {line} ({time}) is due in {left}"));
        }
        while !left.is_zero() {
            self.show_pace(wait);
            self.settle();
            if self.interrupt.is_raised() {
                return Ok(Some(RowsEnd::Waiting(wait.position)));
            }
            if self.ledger.has_failed() {
                return Ok(Some(RowsEnd::BatchFailed));
            }
            if self.transactions.as_ref().is_some_and(|transactions| transactions.is_due()) {
                self.commit_up_to(file, wait.position)?;
            }
            thread::sleep(left.min(LOOK));
            left = due.saturating_duration_since(Instant::now());
        }
        Ok(None)
    }

    fn show_pace(&mut self, wait: &RowWait) {
        self.tell_how_far(wait.read_bytes);
        let replayed = self.pacer.as_ref().and_then(|pacer| pacer.replayed());
        if let (Some(display), Some(replayed)) = (self.observer.display(), replayed) {
            display.remark(in_words(&replayed));
        }
    }
}

/// How far a replay is: `60x, at 2019-10-01T00:05:00.000Z, 3 ms late`.
fn in_words(replayed: &Replayed) -> String {
    let late = units::duration(Duration::from_millis(replayed.late_ms));
    format!("{}x, at {}, {late} late", replayed.times, format_timestamp(replayed.last_ms))
}
