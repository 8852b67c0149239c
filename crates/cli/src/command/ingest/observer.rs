//! Who follows a run while it goes on: a person, by bars or sentences on stderr, or a program, by
//! one JSON object a line on stdout.

use super::events::{Event, Measured};
use crate::failure::Failure;
use crate::ui;
use crate::ui::progress::Progress;

/// How often a program is told how far a run has read: after so many seconds.
const BETWEEN_PROGRESS: f64 = 1.0;

/// Who follows a run.
#[derive(Debug)]
pub(super) enum Observer {
    Person(Progress),
    Program(Lines),
}

/// The lines for a program.
#[derive(Debug)]
pub(super) struct Lines {
    /// Seconds of the run from which on it is told how far that is.
    next_progress: f64,
    /// Why one couldn't be written. The rows matter more: it is told at the end.
    failure: Option<Box<Failure>>,
}

impl Observer {
    /// A program that reads stdout.
    pub(super) fn program() -> Observer {
        Observer::Program(Lines { next_progress: BETWEEN_PROGRESS, failure: None })
    }

    /// Tells what happened.
    pub(super) fn tell(&mut self, event: &Event<'_>) {
        match self {
            Observer::Program(lines) => lines.write(event),
            Observer::Person(progress) => match event {
                Event::FileDone { earlier: false, .. } => progress.file_done(),
                Event::Started(_)
                | Event::FileStarted { .. }
                | Event::Resumed(_)
                | Event::Progress(_)
                | Event::Committed { .. }
                | Event::Rejected { .. }
                | Event::FileDone { .. }
                | Event::Fenced { .. } => {}
            },
        }
    }

    /// Tells how far the run has read, if that isn't too soon.
    pub(super) fn measure(&mut self, measured: Measured<'_>) {
        match self {
            Observer::Person(progress) => progress.at(measured.read_bytes, measured.sent),
            Observer::Program(lines) if measured.seconds >= lines.next_progress => {
                lines.next_progress = measured.seconds + BETWEEN_PROGRESS;
                lines.write(&Event::Progress(measured));
            }
            Observer::Program(_) => {}
        }
    }

    /// Whether rows have to be acknowledged in the middle of a run without transactions, so that
    /// it can be told which are: a person reads it at the end.
    pub(super) fn waits_for_acknowledgements(&self) -> bool {
        matches!(self, Observer::Program(_))
    }

    /// The display, if a person looks at it.
    pub(super) fn display(&self) -> Option<&Progress> {
        match self {
            Observer::Person(progress) => Some(progress),
            Observer::Program(_) => None,
        }
    }

    /// Writes a line to stderr.
    pub(super) fn say(&self, text: &str) {
        match self {
            Observer::Person(progress) => progress.say(text),
            Observer::Program(_) => ui::say(text),
        }
    }

    /// That nothing more comes; why a program couldn't be told of something.
    pub(super) fn end(self) -> Option<Box<Failure>> {
        match self {
            Observer::Person(progress) => {
                progress.clear();
                None
            }
            Observer::Program(lines) => lines.failure,
        }
    }
}

impl Lines {
    fn write(&mut self, event: &Event<'_>) {
        // Texts and finite numbers can't fail to serialize.
        let line = serde_json::to_string(event).unwrap_or_default();
        if let Err(failure) = ui::print(line) {
            self.failure.get_or_insert(failure);
        }
    }
}
