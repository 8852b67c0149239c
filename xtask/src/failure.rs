//! Why a chore failed, as one text a person can act on.

use std::error::Error;
use std::fmt::{self, Display};

/// The reason of a failed step or scenario, outermost first.
#[derive(Debug)]
pub(crate) struct Failure(String);

pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// Says what was being done when it failed.
    pub(crate) fn while_doing(self, what: impl Display) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// So that `?` works on any error; `Failure` itself is no `Error` for that reason.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        Self(text)
    }
}

/// Returns a [`Failure`] from the enclosing function unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            return Err($crate::failure::Failure::new(format!($($reason)+)));
        }
    };
}
pub(crate) use ensure;

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(count: u32) -> Outcome<u32> {
        ensure!(count < 3, "{count} is too many");
        Ok(count)
    }

    #[test]
    fn ensure_returns_the_formatted_reason() {
        assert_eq!(checked(2).unwrap(), 2);
        let failure = checked(4).unwrap_err().while_doing("counting");
        assert_eq!(failure.to_string(), "counting: 4 is too many");
    }
}
