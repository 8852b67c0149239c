//! The texts of the protocol that name something, each with a type of its own.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::PartitionIndex;

/// Declares a name: a shared string that is cheap to clone and looks up as `str`.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text as it is; the wire may carry any.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }
    };
}

name! {
    /// The name of a topic.
    TopicName
}

name! {
    /// The name under which a producer's transactions go on across its lives (KIP-98).
    TransactionalId
}

name! {
    /// The name of a consumer group.
    GroupId
}

/// Why a text cannot name a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopicName {
    /// The name has no characters.
    #[error("a topic name cannot be empty")]
    Empty,
    /// The name is `.` or `..`, which would be a directory of its own meaning.
    #[error("a topic cannot be called {0:?}")]
    Dots(TopicName),
    /// The name has more characters than a log directory's name can carry.
    #[error("topic name {0:?} is longer than {max} characters", max = TopicName::CHARS_MAX)]
    TooLong(TopicName),
    /// The name has a character outside the allowed ones.
    #[error("topic name {name:?} has {character:?}; allowed are a-z, A-Z, 0-9, '.', '_' and '-'")]
    Character {
        /// The name that was given.
        name: TopicName,
        /// Its first character that is not allowed.
        character: char,
    },
}

impl TopicName {
    /// The longest name a topic can have.
    pub const CHARS_MAX: usize = 249;

    /// Checks the rule of Kafka's `Topic.validate`: 1 to 249 of `[a-zA-Z0-9._-]`, not `.` or `..`.
    ///
    /// # Errors
    /// Says which part of the rule the name breaks.
    pub fn validate(&self) -> Result<(), InvalidTopicName> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match self.as_str() {
            "" => Err(InvalidTopicName::Empty),
            "." | ".." => Err(InvalidTopicName::Dots(self.clone())),
            text if text.len() > Self::CHARS_MAX => Err(InvalidTopicName::TooLong(self.clone())),
            text => match text.chars().find(|&c| !allowed(c)) {
                Some(character) => {
                    Err(InvalidTopicName::Character { name: self.clone(), character })
                }
                None => Ok(()),
            },
        }
    }
}

/// One partition of one topic; printed as `topic-3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition of it.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// The partition of that topic.
    pub fn new(topic: impl Into<TopicName>, partition: PartitionIndex) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::collections::HashMap;

    #[rstest]
    #[case("clicks")]
    #[case("Ecommerce.events_v2-raw")]
    #[case("...")]
    #[case(&"a".repeat(249))]
    fn names_kafka_takes_are_valid(#[case] name: &str) {
        assert_eq!(TopicName::from(name).validate(), Ok(()));
    }

    #[test]
    fn names_kafka_refuses_are_refused_with_the_reason() {
        let refused = |name: &str| TopicName::from(name).validate().unwrap_err();
        assert_eq!(refused(""), InvalidTopicName::Empty);
        assert_eq!(refused(".."), InvalidTopicName::Dots("..".into()));
        assert!(matches!(refused(&"a".repeat(250)), InvalidTopicName::TooLong(_)));
        assert!(matches!(refused("a/b"), InvalidTopicName::Character { character: '/', .. }));
        assert!(matches!(refused("café"), InvalidTopicName::Character { character: 'é', .. }));
    }

    #[test]
    fn a_name_is_found_by_its_text() {
        let map = HashMap::from([(TopicName::from("clicks"), 1)]);
        assert_eq!(map.get("clicks"), Some(&1));
        assert_eq!(TopicPartition::new("clicks", PartitionIndex(3)).to_string(), "clicks-3");
    }
}
