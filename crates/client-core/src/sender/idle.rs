//! Forgets topics to which nothing was sent for long (`metadata.max.idle.ms`, KAFKA-9449): their
//! metadata is not asked for any more. Sequences stay: the topic may be sent to again.

use std::time::Instant;

use streamledger_protocol::TopicName;

use super::Sender;
use super::effect::Effect;

impl Sender {
    /// Forgets what has been idle for too long, and sees to it that the next one is not missed.
    pub(super) fn forget_idle_topics(&mut self, now: Instant) {
        let idle_max = self.config.topic_idle_max;
        // Metadata begins it, for each topic that it tells of.
        let Some(next) = self.next_idle else { return };
        if now < next {
            return self.wake_at(next);
        }
        for &slot in &self.active {
            let Some(partition) = &self.partitions[slot] else { continue };
            if let Some(topic) = self.topics.get_mut(&partition.topic_partition.topic) {
                topic.used_at = Some(now);
            }
        }
        let mut forgotten: Vec<TopicName> = Vec::new();
        self.next_idle = None;
        for (name, topic) in &mut self.topics {
            let Some(used_at) = topic.used_at else { continue };
            match used_at.checked_add(idle_max) {
                Some(until) if until <= now => {
                    topic.used_at = None;
                    topic.partitions.clear();
                    forgotten.push(name.clone());
                }
                Some(until) => {
                    let next = self.next_idle.map_or(until, |next| next.min(until));
                    self.next_idle = Some(next);
                }
                None => {}
            }
        }
        if !forgotten.is_empty() {
            forgotten.sort_unstable();
            for name in &forgotten {
                self.accumulator.with_topic(name.as_str(), |topic| topic.forget_partitions());
            }
            self.effects.push_back(Effect::ForgetTopics(forgotten));
        }
        if let Some(next) = self.next_idle {
            self.wake_at(next);
        }
    }
}
