//! What happened, line by line: hashed always, kept and printed on request.

use std::fmt::{self, Write as _};

use crate::clock::SimTime;

/// The trace of a run. Two runs with one hash did the same.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    line: String,
    kept: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn new(keep: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, line: String::new(), kept: keep.then(Vec::new) }
    }

    /// Notes one thing that happened.
    pub(crate) fn note(&mut self, now: SimTime, what: fmt::Arguments<'_>) {
        self.line.clear();
        // Writing to a String does not fail.
        let _ = write!(self.line, "{now} {what}");
        for &byte in self.line.as_bytes() {
            // FNV-1a.
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(kept) = &mut self.kept {
            kept.push(self.line.clone());
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        self.kept.take().unwrap_or_default()
    }
}
