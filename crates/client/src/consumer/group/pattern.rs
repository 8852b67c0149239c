//! Topics by a pattern: looked for here, again whenever metadata is renewed.

use std::collections::BTreeSet;
use std::rc::Rc;

use regex::Regex;
use streamledger_client_core::consumer::group::Subscription;
use streamledger_protocol::messages::MetadataRequest;
use streamledger_protocol::{ErrorCode, TopicName};

use super::super::fetcher::Fetcher;
use crate::metadata::Unreachable;

/// A pattern that a whole topic name has to match, as Java's `Matcher.matches` has it.
#[derive(Debug, Clone)]
pub(in crate::consumer) struct TopicPattern(Regex);

impl TopicPattern {
    /// # Errors
    /// It is none; the sentence says where.
    pub(in crate::consumer) fn new(pattern: &str) -> Result<Self, String> {
        let whole = Regex::new(&format!("^(?:{pattern})$"));
        whole.map(Self).map_err(|error| error.to_string())
    }

    fn matches(&self, topic: &TopicName) -> bool {
        self.0.is_match(topic.as_str())
    }
}

impl Fetcher {
    /// Looks for topics now, and then every `metadata.max.age.ms`, until another subscription is
    /// made.
    pub(in crate::consumer) async fn subscribe_pattern(self: Rc<Self>, pattern: TopicPattern) {
        let Some(group) = &self.group else { return };
        let number = group.pattern_number.get() + 1;
        group.pattern_number.set(number);
        *group.pattern.borrow_mut() = Some(pattern.clone());
        loop {
            let found = self.find_topics(&pattern).await;
            if group.pattern_number.get() != number {
                return;
            }
            let wait = match found {
                Ok(topics) => {
                    self.subscribe_to(Subscription::Topics(topics));
                    self.client.metadata_max_age
                }
                Err(unreachable) => {
                    self.deliver_error(unreachable.into());
                    self.client.retry_backoff_max
                }
            };
            tokio::time::sleep(wait).await;
            if group.pattern_number.get() != number {
                return;
            }
        }
    }

    async fn find_topics(
        &self,
        pattern: &TopicPattern,
    ) -> Result<BTreeSet<TopicName>, Unreachable> {
        let all = self.refresher.ask_any(|connection| {
            let request = MetadataRequest { topics: None, ..MetadataRequest::default() };
            let timeout = self.client.request_timeout;
            async move { connection.call(&request, timeout).await }
        });
        let topics = all.await?.topics.into_iter();
        let there = topics.filter(|topic| {
            topic.error_code == ErrorCode::None
                && !(topic.is_internal && self.own.exclude_internal_topics)
        });
        Ok(there.filter_map(|topic| topic.name).filter(|name| pattern.matches(name)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names() {
        let pattern = TopicPattern::new("clicks|views-.*").unwrap();
        let matches = |name: &str| pattern.matches(&TopicName::from(name));
        assert!(matches("clicks") && matches("views-7"));
        assert!(!matches("clicks2") && !matches("my-views-7"));
        assert!(TopicPattern::new("(").unwrap_err().contains("unclosed group"));
    }
}
