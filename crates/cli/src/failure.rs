//! What went wrong, as a person needs it: one sentence, the cause, and what to do.

use std::error::Error;
use std::fmt;
use std::fmt::Write as _;

use serde::Serialize;

use crate::exit::Exit;

/// Why a command couldn't do what it was asked to. Its `Display` is what stderr shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One sentence, without a full stop: what couldn't be done, to what.
    pub what: String,
    /// Why, in the words of whatever said no.
    pub cause: Option<String>,
    /// What the user may do now.
    pub remedy: Option<String>,
    /// The exit code.
    pub exit: Exit,
}

/// The result of a command, and of most of its steps.
pub type Outcome<T> = Result<T, Box<Failure>>;

impl Failure {
    /// A failure with its sentence only.
    pub fn new(exit: Exit, what: impl Into<String>) -> Failure {
        Failure { what: what.into(), cause: None, remedy: None, exit }
    }

    /// Adds the cause: an error with the errors under it, one after the other.
    #[must_use]
    pub fn because(mut self, error: &(dyn Error + 'static)) -> Failure {
        self.cause = Some(chain(error));
        self
    }

    /// Adds the cause in words.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Failure {
        self.cause = Some(cause.into());
        self
    }

    /// Adds what the user may do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Failure {
        self.remedy = Some(remedy.into());
        self
    }

    /// The failure as an `Err`.
    pub fn err<T>(self) -> Outcome<T> {
        Err(Box::new(self))
    }

    /// The same for machines: the `error` object of `--json`.
    pub fn report(&self) -> FailureReport<'_> {
        FailureReport {
            what: &self.what,
            cause: self.cause.as_deref(),
            remedy: self.remedy.as_deref(),
            exit_code: self.exit.code(),
        }
    }
}

/// A failure in the JSON of `--json`.
#[derive(Debug, Serialize)]
pub struct FailureReport<'a> {
    what: &'a str,
    cause: Option<&'a str>,
    #[serde(rename = "do")]
    remedy: Option<&'a str>,
    exit_code: u8,
}

/// An error and its sources in one line; a source that its parent already quotes isn't said twice.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            let _ = write!(text, ": {words}");
        }
        source = cause.source();
    }
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, "\n  cause: {}", cause.replace('\n', "\n         "))?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\n  do:    {}", remedy.replace('\n', "\n         "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("can't open the log")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn shows_the_sentence_the_cause_and_what_to_do() {
        let io = std::io::Error::from_raw_os_error(28);
        let failure = Failure::new(Exit::BrokerStart, "the broker can't start in /data")
            .because(&Outer(io))
            .remedy("free some space");
        assert_eq!(
            failure.to_string(),
            "error: the broker can't start in /data\n  \
             cause: can't open the log: No space left on device (os error 28)\n  \
             do:    free some space"
        );
        assert_eq!(
            serde_json::to_string(&failure.report()).unwrap(),
            "{\"what\":\"the broker can't start in /data\",\
             \"cause\":\"can't open the log: No space left on device (os error 28)\",\
             \"do\":\"free some space\",\"exit_code\":5}"
        );
    }

    #[test]
    fn a_source_already_quoted_isnt_said_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("refused: {0}")]
        struct Quoting(#[source] std::io::Error);
        let error = Quoting(std::io::Error::other("no"));
        assert_eq!(chain(&error), "refused: no");
    }
}
