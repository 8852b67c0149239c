//! What can be wrong with a configuration, and where it was written.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a value of a setting was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a properties file.
    File {
        /// The file.
        path: Arc<PathBuf>,
        /// Its line, counted from 1.
        line: usize,
    },
    /// A line of a properties text that came from no file.
    Text {
        /// Its line, counted from 1.
        line: usize,
    },
    /// An assignment on the command line.
    Flag,
    /// A call of the typed builder.
    Builder,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Text { line } => write!(f, "line {line}"),
            Self::Flag => f.write_str("-X"),
            Self::Builder => f.write_str("builder"),
        }
    }
}

/// Why a configuration was refused. Each sentence names the setting and says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No client of Kafka's has a setting of that name.
    #[error("{origin}: unknown setting {name:?}{}", suggestion(*nearest))]
    Unknown {
        /// The name that was given.
        name: String,
        /// The known name that is closest to it, if one is close.
        nearest: Option<&'static str>,
        /// Where it was given.
        origin: Origin,
    },
    /// The value is not one that the setting accepts.
    #[error("{origin}: {name}={value} is not valid; expected {accepted}")]
    Malformed {
        /// The setting.
        name: &'static str,
        /// The value that was given; `***` for a secret.
        value: String,
        /// What is accepted, in words.
        accepted: String,
        /// Where it was given.
        origin: Origin,
    },
    /// A setting without a default was not given.
    #[error("{name} is not set; it needs {accepted}")]
    Missing {
        /// The setting.
        name: &'static str,
        /// What is accepted, in words.
        accepted: String,
    },
    /// Settings that are each valid don't go together.
    #[error("{}: {reason}", names.join(" and "))]
    Contradiction {
        /// The settings.
        names: Vec<&'static str>,
        /// Why not, and what to change.
        reason: String,
    },
    /// The setting is one of Kafka's, but not one that this client has.
    #[error("{origin}: {name}={value} can't be used: {reason}")]
    Unsupported {
        /// The setting.
        name: &'static str,
        /// The value that was given; `***` for a secret.
        value: String,
        /// Why not, and what to do.
        reason: String,
        /// Where it was given.
        origin: Origin,
    },
    /// What the setting says can't be used: a file that holds something else, a login that lacks
    /// something.
    #[error("{name}: {reason}")]
    Unusable {
        /// The setting.
        name: &'static str,
        /// Why not, and what to do; never with a secret in it.
        reason: String,
    },
    /// A value refers to something that is kept elsewhere, and can't be found there.
    #[error("{origin}: {name}: {reason}")]
    Reference {
        /// The setting.
        name: String,
        /// Why not.
        reason: String,
        /// Where it was given.
        origin: Origin,
    },
    /// A secret was given on the command line.
    #[error(
        "{name} is a secret, and every process of this machine can read a command line; put it \
         into a properties file, or refer to the environment: -X config.providers=env \
         -X '{name}=${{env:NAME}}'"
    )]
    SecretOnCommandLine {
        /// The setting.
        name: String,
    },
    /// A properties text breaks the syntax.
    #[error("{origin}: {reason}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What is wrong with it.
        reason: String,
    },
    /// A properties file can't be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

fn suggestion(nearest: Option<&'static str>) -> String {
    match nearest {
        Some(name) => format!("; did you mean {name:?}?"),
        None => "; no setting of Kafka's has a name like it".to_owned(),
    }
}
