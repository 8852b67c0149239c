//! The broker's settings as `serve` is given them: a properties file, `-X`, and users whose
//! passwords come from a file, the environment or stdin, never from the command line.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use streamledger::Properties;
use streamledger_broker::{BrokerConfig, Password};

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// A password is no longer than this.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// Reads a broker's properties file, with what its values refer to (`config.providers`).
pub fn of_file(path: &Path) -> Outcome<Properties> {
    let read = Properties::parse_file(path).and_then(|properties| properties.resolved());
    read.map_err(|error| {
        Failure::new(Exit::Usage, "the broker's settings can't be used")
            .because(&error)
            .remedy("docs/security.md has an example of such a file")
            .into()
    })
}

/// Refuses a secret by `-X`: every process of the machine can read it there.
pub fn refuse_secrets(settings: &[(String, String)]) -> Outcome<()> {
    let secret = settings.iter().find(|(name, _)| BrokerConfig::is_secret(name));
    let Some((name, _)) = secret else { return Ok(()) };
    Failure::new(Exit::Usage, format!("{name} is a secret"))
        .cause("every process of the machine can read the command line")
        .remedy("put it into a file that only you can read, and give that as --config FILE")
        .err()
}

/// `USER=WHERE`: a user who may log in, and where the password is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramUser {
    name: String,
    source: PasswordSource,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PasswordSource {
    File(PathBuf),
    Environment(String),
    Stdin,
}

impl FromStr for ScramUser {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The text itself is not repeated: it may be a password.
        let expected = "write it as USER=file:PATH, USER=env:NAME or USER=stdin";
        let (name, place) = text.split_once('=').ok_or(expected)?;
        let source = match place.split_once(':') {
            Some(("file", path)) if !path.is_empty() => PasswordSource::File(path.into()),
            Some(("env", variable)) if !variable.is_empty() => {
                PasswordSource::Environment(variable.to_owned())
            }
            None if place == "stdin" => PasswordSource::Stdin,
            _ => return Err(expected.to_owned()),
        };
        if name.is_empty() {
            return Err(expected.to_owned());
        }
        Ok(Self { name: name.to_owned(), source })
    }
}

impl fmt::Display for PasswordSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Environment(name) => write!(f, "the variable {name}"),
            Self::Stdin => f.write_str("stdin"),
        }
    }
}

impl ScramUser {
    /// The user's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the password: all of the place, without the end of its last line.
    pub fn password(&self) -> Outcome<Password> {
        let read = match &self.source {
            PasswordSource::File(path) => std::fs::File::open(path).and_then(read_short),
            PasswordSource::Stdin => read_short(std::io::stdin().lock()),
            PasswordSource::Environment(variable) => {
                std::env::var(variable).map(Password::new).map_err(std::io::Error::other)
            }
        };
        let unreadable = || format!("the password of {} can't be read", self.name);
        let password = read.map_err(|error| {
            let place = format!("{}: {error}", self.source);
            Failure::new(Exit::Usage, unreadable()).cause(place).remedy("see to the place")
        })?;
        if password.reveal().is_empty() {
            return Failure::new(Exit::Usage, unreadable())
                .cause(format!("{} is empty", self.source))
                .remedy("put the password there")
                .err();
        }
        Ok(password)
    }
}

fn read_short(from: impl Read) -> std::io::Result<Password> {
    let mut text = String::new();
    from.take(PASSWORD_BYTES_MAX).read_to_string(&mut text)?;
    Ok(Password::new(text.trim_end_matches(['\r', '\n'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_names_where_the_password_is_and_never_the_password() {
        let user: ScramUser = "alice=file:/run/secrets/a=b".parse().unwrap();
        assert_eq!(user.source, PasswordSource::File("/run/secrets/a=b".into()));
        let user: ScramUser = "alice=env:ALICE".parse().unwrap();
        assert_eq!((user.name(), user.source.to_string()), ("alice", "the variable ALICE".into()));
        for wrong in ["alice", "alice=hunter2", "alice=pass:hunter2", "=stdin", "alice=env:"] {
            let said = wrong.parse::<ScramUser>().unwrap_err();
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn a_password_is_read_without_its_lines_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "hunter 2\r\n").unwrap();
        let user = ScramUser { name: "a".to_owned(), source: PasswordSource::File(path.clone()) };
        assert_eq!(user.password().unwrap().reveal(), "hunter 2");
        std::fs::write(&path, "\n").unwrap();
        assert!(user.password().is_err());
    }

    #[test]
    fn a_secret_is_refused_on_the_command_line() {
        let setting = |name: &str| vec![(name.to_owned(), "hunter2".to_owned())];
        assert!(refuse_secrets(&setting("num.partitions")).is_ok());
        assert!(refuse_secrets(&setting("listener.name.x.plain.sasl.jaas.config")).is_err());
        assert!(refuse_secrets(&setting("ssl.key.password")).is_err());
    }
}
