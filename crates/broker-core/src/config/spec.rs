//! One setting: its name, type, bounds, default and reason; and what is said of a wrong one.

use std::fmt;

use thiserror::Error;

/// The type of a setting's value, with its bounds (Kafka's `ConfigDef.Type` and validators).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ConfigKind {
    /// `true` or `false`, in any case.
    Boolean,
    /// A 32-bit integer within the bounds, both included.
    Int {
        /// The least value accepted.
        min: i32,
        /// The greatest value accepted.
        max: i32,
    },
    /// A 32-bit integer within the bounds, both included, or -1 for a default of its own.
    IntOrDefault {
        /// The least value accepted beside -1.
        min: i32,
        /// The greatest value accepted.
        max: i32,
    },
    /// A 64-bit integer within the bounds, both included.
    Long {
        /// The least value accepted.
        min: i64,
        /// The greatest value accepted.
        max: i64,
    },
    /// A finite number within the bounds, both included.
    Double {
        /// The least value accepted.
        min: f64,
        /// The greatest value accepted.
        max: f64,
    },
    /// Any text.
    Text,
    /// Comma-separated words; any word when the list of allowed ones is empty.
    List(&'static [&'static str]),
    /// Any text, which must not be seen.
    Password,
    /// One word of a few.
    Choice(&'static [&'static str]),
}

impl ConfigKind {
    /// A 32-bit integer of at least `min`.
    #[must_use]
    pub const fn int_from(min: i32) -> Self {
        Self::Int { min, max: i32::MAX }
    }

    /// A 64-bit integer of at least `min`.
    #[must_use]
    pub const fn long_from(min: i64) -> Self {
        Self::Long { min, max: i64::MAX }
    }

    /// The code of this type in a `DescribeConfigs` answer (Kafka's `ConfigEntry.ConfigType`).
    #[must_use]
    pub const fn wire_code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::Text | Self::Choice(_) => 2,
            Self::Int { .. } | Self::IntOrDefault { .. } => 3,
            Self::Long { .. } => 5,
            Self::Double { .. } => 6,
            Self::List(_) => 7,
            Self::Password => 9,
        }
    }

    fn accepts(self, value: &str) -> bool {
        match self {
            Self::Boolean => parse_boolean(value).is_some(),
            Self::Int { min, max } => {
                value.parse::<i32>().is_ok_and(|number| (min..=max).contains(&number))
            }
            Self::IntOrDefault { min, max } => value
                .parse::<i32>()
                .is_ok_and(|number| number == -1 || (min..=max).contains(&number)),
            Self::Long { min, max } => {
                value.parse::<i64>().is_ok_and(|number| (min..=max).contains(&number))
            }
            Self::Double { min, max } => {
                value.parse::<f64>().is_ok_and(|number| (min..=max).contains(&number))
            }
            Self::Text | Self::Password => true,
            Self::List(allowed) => {
                allowed.is_empty() || words(value).all(|word| allowed.contains(&word))
            }
            Self::Choice(allowed) => allowed.contains(&value),
        }
    }
}

impl fmt::Display for ConfigKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Boolean => f.write_str("true or false"),
            Self::Int { min: i32::MIN, max: i32::MAX } => f.write_str("an integer"),
            Self::Int { min, max: i32::MAX } => write!(f, "an integer of at least {min}"),
            Self::Int { min, max } => write!(f, "an integer from {min} to {max}"),
            Self::IntOrDefault { min, max } => write!(f, "an integer from {min} to {max}, or -1"),
            Self::Long { min: i64::MIN, max: i64::MAX } => f.write_str("an integer"),
            Self::Long { min, max: i64::MAX } => write!(f, "an integer of at least {min}"),
            Self::Long { min, max } => write!(f, "an integer from {min} to {max}"),
            Self::Double { min, max } => write!(f, "a number from {min} to {max}"),
            Self::Text => f.write_str("text"),
            Self::Password => f.write_str("text, a secret"),
            Self::List([]) => f.write_str("a comma-separated list"),
            Self::List(allowed) => write!(f, "a comma-separated list of {}", allowed.join(", ")),
            Self::Choice(allowed) => write!(f, "one of {}", allowed.join(", ")),
        }
    }
}

/// `true` and `false` in any case, as Kafka's `ConfigDef` reads them.
pub(crate) fn parse_boolean(value: &str) -> Option<bool> {
    if value.eq_ignore_ascii_case("true") {
        Some(true)
    } else if value.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// The words of a comma-separated list, trimmed; an empty text has none.
pub(crate) fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// What is shown of a secret (Kafka's `Password.HIDDEN`).
pub(super) const HIDDEN: &str = "[hidden]";

/// One row of a table of settings.
#[derive(Debug, Clone, Copy)]
pub struct ConfigSpec {
    /// The name, Kafka's own unless it starts with `streamledger.`.
    pub name: &'static str,
    /// The type and bounds of the value.
    pub kind: ConfigKind,
    /// The default, as text; `None` is "not set".
    pub default: Option<&'static str>,
    /// What it does, in a sentence.
    pub doc: &'static str,
    /// Why the default is what it is.
    pub why: &'static str,
}

impl ConfigSpec {
    /// Checks a value against the type and bounds.
    ///
    /// # Errors
    /// [`ConfigError::Malformed`], naming what was expected.
    pub fn check(&self, value: &str) -> Result<(), ConfigError> {
        if self.kind.accepts(value.trim()) {
            return Ok(());
        }
        Err(ConfigError::Malformed {
            name: self.name,
            value: if self.kind == ConfigKind::Password {
                HIDDEN.to_owned()
            } else {
                shortened(value)
            },
            expected: self.kind.to_string(),
        })
    }
}

/// Why a setting was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// No such setting; the nearest known name is given where one is near.
    #[error("unknown setting {name}{}", suggestion(.nearest.as_ref()))]
    Unknown {
        /// The name as it was given.
        name: String,
        /// The known name it resembles most.
        nearest: Option<&'static str>,
    },
    /// The value is not of the type, or out of bounds.
    #[error("{name} must be {expected}, not {value:?}")]
    Malformed {
        /// The setting.
        name: &'static str,
        /// The value as it was given, shortened.
        value: String,
        /// The type and bounds.
        expected: String,
    },
    /// A good value in Kafka, which this broker does not honour.
    #[error("{name}={value} is not supported by this broker: {reason}")]
    Unsupported {
        /// The setting.
        name: String,
        /// The value as it was given, shortened.
        value: String,
        /// Why not.
        reason: &'static str,
    },
    /// Two settings that cannot both hold.
    #[error("{0}")]
    Contradiction(String),
    /// More than one of these, each with a line of its own.
    #[error("{}", lines(.0))]
    Several(Vec<ConfigError>),
}

impl ConfigError {
    /// All that is wrong as one error; none if nothing is.
    ///
    /// # Errors
    /// What is wrong.
    pub fn all(mut wrong: Vec<Self>) -> Result<(), Self> {
        match (wrong.len(), wrong.pop()) {
            (_, None) => Ok(()),
            (1, Some(only)) => Err(only),
            (_, Some(last)) => {
                wrong.push(last);
                Err(Self::Several(wrong))
            }
        }
    }
}

fn lines(errors: &[ConfigError]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join("\n")
}

fn suggestion(nearest: Option<&&'static str>) -> String {
    nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

/// At most 64 characters of a value, so that an error never carries a client's megabyte back.
pub(crate) fn shortened(value: &str) -> String {
    const CHARACTERS_MAX: usize = 64;
    if value.chars().count() <= CHARACTERS_MAX {
        return value.to_owned();
    }
    let mut short: String = value.chars().take(CHARACTERS_MAX).collect();
    short.push('…');
    short
}

/// The known name nearest to a wrong one: one that ends the same way, else the least edits.
///
/// Names more than a third of their length away are not offered.
pub fn nearest_name(
    wrong: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    const NAME_BYTES_MAX: usize = 128;
    if wrong.is_empty() || wrong.len() > NAME_BYTES_MAX {
        return None;
    }
    let distance_of = |name: &'static str| {
        let is_longer_form = name.ends_with(&format!(".{wrong}"));
        let is_shorter_form = wrong.ends_with(&format!(".{name}"));
        if is_longer_form || is_shorter_form { 1 } else { edit_distance(wrong, name) }
    };
    known
        .map(|name| (distance_of(name), name))
        .filter(|&(distance, name)| distance <= name.len().max(wrong.len()) / 3)
        // Of two that are as near, the shorter: it has less that was not asked for.
        .min_by_key(|&(distance, name)| (distance, name.len()))
        .map(|(_, name)| name)
}

/// Levenshtein's distance in bytes: insertions, deletions and replacements.
fn edit_distance(left: &str, right: &str) -> usize {
    let right = right.as_bytes();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, left_byte) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &right_byte) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(left_byte != right_byte);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["num.partitions", "log.retention.ms", "retention.bytes", "node.id"];

    fn nearest(wrong: &str) -> Option<&'static str> {
        nearest_name(wrong, KNOWN.into_iter())
    }

    #[test]
    fn a_misspelt_name_is_answered_with_the_nearest_known_one() {
        assert_eq!(nearest("num.partition"), Some("num.partitions"));
        assert_eq!(nearest("num_partitions"), Some("num.partitions"));
        assert_eq!(nearest("retention.ms"), Some("log.retention.ms"));
        assert_eq!(nearest("log.retention.bytes"), Some("retention.bytes"));
        assert_eq!(nearest("something.else.entirely"), None);
        assert_eq!(nearest(""), None);
        assert_eq!(nearest(&"x".repeat(100_000)), None);
    }

    #[test]
    fn bounds_are_part_of_the_type() {
        let spec = ConfigSpec {
            name: "num.partitions",
            kind: ConfigKind::int_from(1),
            default: Some("1"),
            doc: "",
            why: "",
        };
        assert_eq!(spec.check("1"), Ok(()));
        assert_eq!(spec.check(" 7 "), Ok(()));
        let refused = spec.check("0").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "num.partitions must be an integer of at least 1, not \"0\""
        );
        assert!(spec.check("99999999999").is_err());
        assert!(spec.check("many").is_err());
    }

    #[test]
    fn a_huge_wrong_value_is_shortened_in_the_error() {
        let spec = ConfigSpec {
            name: "preallocate",
            kind: ConfigKind::Boolean,
            default: Some("false"),
            doc: "",
            why: "",
        };
        let refused = spec.check(&"é".repeat(1_000_000)).unwrap_err();
        assert!(refused.to_string().len() < 300);
    }

    #[test]
    fn lists_and_choices_name_what_they_allow() {
        let list = ConfigKind::List(&["compact", "delete"]);
        assert!(list.accepts("compact, delete"));
        assert!(list.accepts(""));
        assert!(!list.accepts("compact,shred"));
        assert!(ConfigKind::List(&[]).accepts("any,word"));
        assert_eq!(list.to_string(), "a comma-separated list of compact, delete");
        assert!(ConfigKind::Choice(&["gzip"]).accepts("gzip"));
        assert!(!ConfigKind::Choice(&["gzip"]).accepts("GZIP"));
        assert!(!ConfigKind::Double { min: 0.0, max: 1.0 }.accepts("NaN"));
    }
}
