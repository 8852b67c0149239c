//! Finds a topic by its name without a lock: the table is only ever added to.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use foldhash::fast::FixedState;
use parking_lot::{Mutex, RwLock};
use streamledger_protocol::TopicName;

use super::topic::TopicQueues;
use crate::map::Map;

/// Slots of the lock-free part; a power of two.
const SLOTS: usize = 512;
/// Half full, a look-up touches one or two slots. Topics beyond live behind a lock.
const TOPICS_MAX: usize = SLOTS / 2;

/// All topics this producer has sent to.
#[derive(Debug)]
pub(crate) struct TopicTable {
    hasher: FixedState,
    slots: Box<[OnceLock<Arc<TopicQueues>>]>,
    /// How many slots are taken; held while adding.
    taken: Mutex<usize>,
    overflown: AtomicBool,
    overflow: RwLock<Map<TopicName, Arc<TopicQueues>>>,
}

impl TopicTable {
    pub(crate) fn new() -> Self {
        Self {
            hasher: FixedState::default(),
            slots: (0..SLOTS).map(|_| OnceLock::new()).collect(),
            taken: Mutex::new(0),
            overflown: AtomicBool::new(false),
            overflow: RwLock::default(),
        }
    }

    /// Gives the topic to `then`, if it is there, without touching its reference count.
    #[inline]
    pub(crate) fn with<R>(&self, name: &str, then: impl FnOnce(&TopicQueues) -> R) -> Option<R> {
        for slot in self.probe(name) {
            match slot.get() {
                Some(topic) if topic.name() == name => return Some(then(topic)),
                Some(_) => {}
                None => break,
            }
        }
        if self.overflown.load(Ordering::Acquire) {
            return self.overflow.read().get(name).map(|topic| then(topic));
        }
        None
    }

    /// The topic, added by `make` if it is not there.
    #[cold]
    pub(crate) fn get_or_add(
        &self,
        name: &TopicName,
        make: impl FnOnce() -> TopicQueues,
    ) -> Arc<TopicQueues> {
        let mut taken = self.taken.lock();
        for slot in self.probe(name.as_str()) {
            match slot.get() {
                Some(topic) if topic.name() == name => return Arc::clone(topic),
                None if *taken < TOPICS_MAX => {
                    *taken += 1;
                    return Arc::clone(slot.get_or_init(|| Arc::new(make())));
                }
                None => break,
                Some(_) => {}
            }
        }
        let mut overflow = self.overflow.write();
        self.overflown.store(true, Ordering::Release);
        Arc::clone(overflow.entry(name.clone()).or_insert_with(|| Arc::new(make())))
    }

    /// The slots where a topic of this name can be, in order.
    #[inline]
    fn probe(&self, name: &str) -> impl Iterator<Item = &OnceLock<Arc<TopicQueues>>> {
        // Only the low bits count.
        let start = (self.hasher.hash_one(name) as usize) & (SLOTS - 1);
        let (before, behind) = self.slots.split_at(start);
        behind.iter().chain(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(table: &TopicTable, name: &str) -> Arc<TopicQueues> {
        let name = TopicName::from(name);
        table.get_or_add(&name, || TopicQueues::new(name.clone(), 1))
    }

    #[test]
    fn a_topic_is_made_once_and_found_after() {
        let table = TopicTable::new();
        assert!(table.with("clicks", |_| ()).is_none());
        let first = add(&table, "clicks");
        assert!(Arc::ptr_eq(&first, &add(&table, "clicks")));
        assert_eq!(table.with("clicks", |topic| topic.name().clone()), Some("clicks".into()));
        assert!(table.with("click", |_| ()).is_none());
    }

    #[test]
    fn more_topics_than_slots_are_all_found() {
        let table = TopicTable::new();
        let names: Vec<_> = (0..2 * SLOTS).map(|number| format!("topic-{number}")).collect();
        let added: Vec<_> = names.iter().map(|name| add(&table, name)).collect();
        for (name, topic) in names.iter().zip(&added) {
            assert!(Arc::ptr_eq(topic, &add(&table, name)));
            let found = table.with(name, std::ptr::from_ref);
            assert_eq!(found, Some(Arc::as_ptr(topic)));
        }
    }
}
