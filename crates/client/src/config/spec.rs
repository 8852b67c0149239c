//! What the table knows of one setting: name, type, default, what it does, and whether we have it.

use std::fmt;

/// The kind of client a setting belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientKind {
    /// [`Producer`](crate::config::ProducerConfig).
    Producer,
    /// [`Consumer`](crate::config::ConsumerConfig).
    Consumer,
    /// [`Admin`](crate::config::AdminConfig).
    Admin,
}

impl ClientKind {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Producer, Self::Consumer, Self::Admin];
}

impl fmt::Display for ClientKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Admin => "admin client",
        })
    }
}

/// The clients that know a setting.
pub(crate) type Clients = &'static [ClientKind];
pub(crate) const EVERY_CLIENT: Clients = &ClientKind::ALL;
pub(crate) const PRODUCER: Clients = &[ClientKind::Producer];
pub(crate) const CONSUMER: Clients = &[ClientKind::Consumer];
pub(crate) const ADMIN: Clients = &[ClientKind::Admin];
pub(crate) const PRODUCER_AND_CONSUMER: Clients = &[ClientKind::Producer, ClientKind::Consumer];
pub(crate) const PRODUCER_AND_ADMIN: Clients = &[ClientKind::Producer, ClientKind::Admin];
pub(crate) const CONSUMER_AND_ADMIN: Clients = &[ClientKind::Consumer, ClientKind::Admin];

/// How much a setting matters to most users, in Kafka's own judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Importance {
    /// Look at it first.
    High,
    /// Look at it when tuning.
    Medium,
    /// Leave it alone until there is a reason.
    Low,
}

impl fmt::Display for Importance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        })
    }
}

/// The type of a setting's value, with the values that are accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SettingType {
    /// A 16-bit whole number in a range.
    Short(i64, i64),
    /// A 32-bit whole number in a range.
    Int(i64, i64),
    /// A 64-bit whole number in a range.
    Long(i64, i64),
    /// A number with a fraction.
    Double(f64, f64),
    /// `true` or `false`.
    Boolean,
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these words, in upper or lower case.
    ChoiceAnyCase(&'static [&'static str]),
    /// A value of Kafka's type of that name, with a grammar of its own that the sentence describes.
    Grammar(&'static str, &'static str),
    /// A 32-bit whole number in a range, or one more.
    IntOr(i64, i64, i64),
    /// Texts separated by commas.
    List,
    /// The name of a Java class.
    Class,
    /// A text that is never shown.
    Password,
}

pub(crate) const INT_MAX: i64 = i32::MAX as i64;
pub(crate) const ANY_INT: SettingType = SettingType::Int(i32::MIN as i64, INT_MAX);
pub(crate) const INT_FROM_0: SettingType = SettingType::Int(0, INT_MAX);
pub(crate) const INT_FROM_1: SettingType = SettingType::Int(1, INT_MAX);
pub(crate) const ANY_LONG: SettingType = SettingType::Long(i64::MIN, i64::MAX);
pub(crate) const LONG_FROM_0: SettingType = SettingType::Long(0, i64::MAX);

impl SettingType {
    /// Kafka's word for the type, as its documentation prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Short(..) => "short",
            Self::Int(..) | Self::IntOr(..) => "int",
            Self::Long(..) => "long",
            Self::Double(..) => "double",
            Self::Boolean => "boolean",
            Self::Text | Self::Choice(_) | Self::ChoiceAnyCase(_) => "string",
            Self::Grammar(name, _) => name,
            Self::List => "list",
            Self::Class => "class",
            Self::Password => "password",
        }
    }

    /// The accepted values in words, to go after "expected".
    #[must_use]
    pub fn accepted(self) -> String {
        match self {
            Self::Short(min, max) | Self::Int(min, max) | Self::Long(min, max) => {
                accepted_numbers(min, max)
            }
            Self::Double(min, max) if min == f64::MIN && max == f64::MAX => "a number".to_owned(),
            Self::Double(min, max) => format!("a number from {min} to {max}"),
            Self::Boolean => "true or false".to_owned(),
            Self::Text | Self::Password => "a text".to_owned(),
            Self::Choice(words) | Self::ChoiceAnyCase(words) => {
                format!("one of {}", words.join(", "))
            }
            Self::Grammar(_, sentence) => sentence.to_owned(),
            Self::IntOr(min, max, other) => format!("{}, or {other}", accepted_numbers(min, max)),
            Self::List => "texts separated by commas".to_owned(),
            Self::Class => "the name of a class".to_owned(),
        }
    }

    /// Whether `text` is a value of this type. `Grammar` is left to the type that parses it.
    #[must_use]
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Self::Short(min, max) | Self::Int(min, max) | Self::Long(min, max) => {
                text.parse::<i64>().is_ok_and(|number| (min..=max).contains(&number))
            }
            Self::Double(min, max) => {
                text.parse::<f64>().is_ok_and(|number| (min..=max).contains(&number))
            }
            Self::IntOr(min, max, other) => text
                .parse::<i64>()
                .is_ok_and(|number| (min..=max).contains(&number) || number == other),
            Self::Boolean => ["true", "false"].iter().any(|word| word.eq_ignore_ascii_case(text)),
            Self::Choice(words) => words.contains(&text),
            Self::ChoiceAnyCase(words) => words.iter().any(|word| word.eq_ignore_ascii_case(text)),
            Self::Text | Self::Grammar(..) | Self::List | Self::Class | Self::Password => true,
        }
    }

    /// Whether the value must never be printed.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::Password)
    }
}

fn accepted_numbers(min: i64, max: i64) -> String {
    let unbounded_below = min == i64::MIN || min == i64::from(i32::MIN);
    let unbounded_above = max == i64::MAX || max == INT_MAX;
    match (unbounded_below, unbounded_above) {
        (true, true) => "a whole number".to_owned(),
        (false, true) => format!("a whole number from {min}"),
        (true, false) => format!("a whole number up to {max}"),
        (false, false) => format!("a whole number from {min} to {max}"),
    }
}

/// What a setting is when nobody sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// There is none: it has to be given.
    Required,
    /// Nothing: Kafka's `null`.
    Nothing,
    /// This text, for each client.
    Value(&'static str),
    /// A text of its own for each client.
    PerClient {
        /// The producer's.
        producer: &'static str,
        /// The consumer's.
        consumer: &'static str,
        /// The admin client's.
        admin: &'static str,
    },
}

impl DefaultValue {
    /// The text for one kind of client.
    #[must_use]
    pub const fn text(self, client: ClientKind) -> Option<&'static str> {
        match (self, client) {
            (Self::Required | Self::Nothing, _) => None,
            (Self::Value(text), _) => Some(text),
            (Self::PerClient { producer, .. }, ClientKind::Producer) => Some(producer),
            (Self::PerClient { consumer, .. }, ClientKind::Consumer) => Some(consumer),
            (Self::PerClient { admin, .. }, ClientKind::Admin) => Some(admin),
        }
    }
}

/// What happens when someone sets a setting that we don't have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenSet {
    /// A note: the client does its work without it.
    Note,
    /// An error: the client would do something else than was asked for.
    Refuse,
}

/// Whether a setting of Kafka's has an effect here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It does what it does in Kafka's own client.
    Yes,
    /// There is nothing to do for it here, and the reason says why; setting it is noted.
    NotNeeded(&'static str),
    /// It will come.
    NotYet(&'static str, WhenSet),
    /// It has no place in this client.
    Never(&'static str, WhenSet),
}

/// One row of the table: a setting as Kafka declares it, and as we keep it.
#[derive(Debug, Clone, Copy)]
pub struct SettingSpec {
    /// Kafka's name for it, such as `linger.ms`.
    pub name: &'static str,
    /// The clients that know it.
    pub clients: &'static [ClientKind],
    /// The type of its value.
    pub kind: SettingType,
    /// Its value when nobody sets it.
    pub default: DefaultValue,
    /// How much it matters.
    pub importance: Importance,
    /// What it does, in a sentence.
    pub does: &'static str,
    /// Why the default is what it is, in a sentence.
    pub why: &'static str,
    /// Whether it has an effect here.
    pub support: Support,
}

impl SettingSpec {
    /// Whether this kind of client knows the setting.
    #[must_use]
    pub fn belongs_to(&self, client: ClientKind) -> bool {
        self.clients.contains(&client)
    }

    /// Whether `value` says no more than the default does.
    pub(crate) fn is_default(&self, client: ClientKind, value: &str) -> bool {
        match self.default.text(client) {
            Some(default) => default.eq_ignore_ascii_case(value),
            None => value.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_values_are_said_in_words() {
        assert_eq!(INT_FROM_1.accepted(), "a whole number from 1");
        assert_eq!(ANY_LONG.accepted(), "a whole number");
        assert_eq!(SettingType::Int(1, 9).accepted(), "a whole number from 1 to 9");
        assert_eq!(SettingType::Choice(&["a", "b"]).accepted(), "one of a, b");
    }

    #[test]
    fn a_range_holds_at_both_ends() {
        assert!(INT_FROM_0.accepts("0") && INT_FROM_0.accepts("2147483647"));
        assert!(!INT_FROM_0.accepts("-1") && !INT_FROM_0.accepts("2147483648"));
        assert!(!INT_FROM_0.accepts("1.5") && !INT_FROM_0.accepts("") && !INT_FROM_0.accepts("1k"));
        assert!(SettingType::Boolean.accepts("TRUE") && !SettingType::Boolean.accepts("yes"));
        assert!(!SettingType::Double(0.0, 1.0).accepts("NaN"));
    }
}
