//! The gate that a record passes on its way in: open, or shut for a reason.
//!
//! An append looks at it under its partition's lock, so when [`RecordAccumulator::set_gate`]
//! returns, every append has seen the new gate or is over and in a queue.

use std::sync::atomic::Ordering;

use super::{AppendError, RecordAccumulator};
use crate::failure::FatalError;

/// Whether records are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Gate {
    /// They are.
    Open,
    /// The producer is transactional, and no transaction is open.
    NoTransaction,
    /// The open transaction has failed.
    TransactionFailed,
    /// The producer is closed: the gate stays so.
    Closed,
}

impl Gate {
    pub(super) const fn of(number: u8) -> Self {
        match number {
            0 => Self::Open,
            1 => Self::NoTransaction,
            2 => Self::TransactionFailed,
            _ => Self::Closed,
        }
    }
}

impl RecordAccumulator {
    /// Opens or shuts the gate. A closed one stays closed.
    pub(crate) fn set_gate(&self, gate: Gate) {
        let next = |now| (now != Gate::Closed as u8).then_some(gate as u8);
        let before = self.gate.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        if before.is_ok() && gate != Gate::Open {
            self.wait_for_appends();
        }
    }

    /// Refuses records from now on and makes all batches ready. Wake the sender after.
    ///
    /// When this returns, every record that was being appended is either refused or in a queue
    /// that the sender will look at.
    pub fn close(&self) {
        self.gate.store(Gate::Closed as u8, Ordering::Release);
        self.wait_for_appends();
    }

    /// Closes for a reason that every later append is told.
    pub(crate) fn close_fatally(&self, error: FatalError) {
        // The first reason counts.
        let _ = self.fatal.set(error);
        self.close();
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.gate() == Gate::Closed
    }

    /// Whether records are taken, before one is made.
    ///
    /// # Errors
    /// They are not: the error an append would give.
    pub fn check_gate(&self) -> Result<(), AppendError> {
        match self.gate() {
            Gate::Open => Ok(()),
            gate => Err(self.refusal(gate)),
        }
    }

    fn gate(&self) -> Gate {
        Gate::of(self.gate.load(Ordering::Acquire))
    }

    fn wait_for_appends(&self) {
        for queue in self.registry.lock().iter() {
            drop(queue.lock());
        }
    }

    /// Why a record isn't taken.
    #[cold]
    pub(super) fn refusal(&self, gate: Gate) -> AppendError {
        match gate {
            Gate::NoTransaction => AppendError::NoTransaction,
            Gate::TransactionFailed => AppendError::TransactionFailed,
            Gate::Open | Gate::Closed => {
                self.fatal.get().map_or(AppendError::Closed, |error| AppendError::Fatal(*error))
            }
        }
    }
}
