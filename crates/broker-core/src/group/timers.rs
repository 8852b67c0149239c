//! What is due at which time, of all groups.

use std::collections::{BTreeMap, BTreeSet};

use streamledger_protocol::GroupId;

use crate::time::MonotonicMs;

/// What a timer is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerKind {
    /// A member must be heard of, or is out.
    Session(String),
    /// A member must have given partitions up by then, or is out.
    Revocation(String),
    /// The members must have joined by then.
    Join,
    /// The members must have asked for their assignment by then.
    Sync,
    /// The group has just become a classic one: its members are to share out anew.
    Turned,
}

/// A timer of a group.
pub(super) type TimerKey = (GroupId, TimerKind);

/// One wake-up time for each timer that runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Timers {
    at: BTreeMap<TimerKey, MonotonicMs>,
    order: BTreeSet<(MonotonicMs, TimerKey)>,
}

impl Timers {
    /// Starts a timer, or starts it again with another time.
    pub(super) fn start(&mut self, group: &GroupId, kind: TimerKind, due: MonotonicMs) {
        let key = (group.clone(), kind);
        if let Some(before) = self.at.insert(key.clone(), due) {
            self.order.remove(&(before, key.clone()));
        }
        self.order.insert((due, key));
    }

    /// Starts a timer that doesn't run yet.
    pub(super) fn start_unless_running(
        &mut self,
        group: &GroupId,
        kind: TimerKind,
        due: MonotonicMs,
    ) {
        if !self.at.contains_key(&(group.clone(), kind.clone())) {
            self.start(group, kind, due);
        }
    }

    /// Ends a timer, if it runs.
    pub(super) fn stop(&mut self, group: &GroupId, kind: TimerKind) {
        let key = (group.clone(), kind);
        if let Some(due) = self.at.remove(&key) {
            self.order.remove(&(due, key));
        }
    }

    /// Ends all timers of a group.
    pub(super) fn stop_all(&mut self, group: &GroupId) {
        let first = (group.clone(), TimerKind::Session(String::new()));
        let of_group = self.at.range(first..).take_while(|((of, _), _)| of == group);
        let keys: Vec<TimerKey> = of_group.map(|(key, _)| key.clone()).collect();
        for (group, kind) in keys {
            self.stop(&group, kind);
        }
    }

    /// When the next timer is due.
    pub(super) fn next(&self) -> Option<MonotonicMs> {
        self.order.first().map(|(due, _)| *due)
    }

    /// Takes the first timer that is due.
    pub(super) fn pop_due(&mut self, now: MonotonicMs) -> Option<TimerKey> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.at.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_the_order_of_their_times_and_a_later_start_replaces_an_earlier() {
        let mut timers = Timers::default();
        let (one, two) = (GroupId::from("one"), GroupId::from("two"));
        let session = |member: &str| TimerKind::Session(member.to_owned());
        timers.start(&one, session("a"), MonotonicMs(10));
        timers.start(&two, TimerKind::Join, MonotonicMs(5));
        timers.start(&one, session("a"), MonotonicMs(20));
        timers.start(&one, TimerKind::Sync, MonotonicMs(7));
        assert_eq!(timers.next(), Some(MonotonicMs(5)));
        assert_eq!(timers.pop_due(MonotonicMs(4)), None);
        assert_eq!(timers.pop_due(MonotonicMs(30)), Some((two, TimerKind::Join)));
        timers.stop(&one, TimerKind::Sync);
        assert_eq!(timers.pop_due(MonotonicMs(30)), Some((one.clone(), session("a"))));
        assert_eq!(timers.pop_due(MonotonicMs(30)), None);
        timers.start(&one, session("b"), MonotonicMs(1));
        timers.start(&one, TimerKind::Join, MonotonicMs(2));
        timers.stop_all(&one);
        assert_eq!(timers.next(), None);
    }
}
