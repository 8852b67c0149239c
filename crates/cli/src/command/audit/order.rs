//! Whether each key's rows come in the files' order: keys of groups that don't agree, one by one.
//!
//! Law: a key is judged only if all of its rows were seen on both sides; one that there was no room
//! for has its group looked at once more.

use std::collections::{BTreeSet, HashMap};

use super::difference::FilePlace;
use super::tally::{Chain, Fingerprint, KeyPlace, Tally};

/// So many keys are kept in mind at a time: as many as a table of 2^17 entries holds.
const KEYS_MAX: usize = 114_688;

/// The rows of each key of some groups, as one hash that knows their order.
#[derive(Debug)]
pub(super) struct KeyOrders {
    groups: BTreeSet<usize>,
    keys: HashMap<KeyPlace, KeyOrder>,
    keys_max: usize,
    left_out: BTreeSet<usize>,
}

#[derive(Debug)]
struct KeyOrder {
    in_files: Chain,
    in_topic: Chain,
    first: FilePlace,
}

/// What a look at groups found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reordered {
    /// The first row of each key whose rows come in another order.
    pub(super) keys: Vec<FilePlace>,
    /// The groups that had more keys than could be kept in mind.
    pub(super) left_out: BTreeSet<usize>,
}

impl KeyOrders {
    /// Of no row yet.
    pub(super) fn of(groups: BTreeSet<usize>) -> KeyOrders {
        let (keys, left_out) = (HashMap::new(), BTreeSet::new());
        KeyOrders { groups, keys, keys_max: KEYS_MAX, left_out }
    }

    /// Takes in a row of a file; all of them come before those of the topic.
    pub(super) fn in_files(
        &mut self,
        tally: &Tally,
        key: KeyPlace,
        row: Fingerprint,
        place: FilePlace,
    ) {
        let group = tally.group(key);
        if !self.groups.contains(&group) {
            return;
        }
        if let Some(order) = self.keys.get_mut(&key) {
            order.in_files.add(row);
        } else if self.keys.len() < self.keys_max {
            let mut in_files = Chain::default();
            in_files.add(row);
            let order = KeyOrder { in_files, in_topic: Chain::default(), first: place };
            self.keys.insert(key, order);
        } else {
            self.left_out.insert(group);
        }
    }

    /// Takes in a record of the topic.
    pub(super) fn in_topic(&mut self, key: KeyPlace, row: Fingerprint) {
        if let Some(order) = self.keys.get_mut(&key) {
            order.in_topic.add(row);
        }
    }

    /// What was found.
    pub(super) fn reordered(self, tally: &Tally) -> Reordered {
        let KeyOrders { keys, left_out, .. } = self;
        let is_other = |(key, order): (KeyPlace, KeyOrder)| {
            let is_whole = !left_out.contains(&tally.group(key));
            (is_whole && order.in_files != order.in_topic).then_some(order.first)
        };
        let mut keys: Vec<FilePlace> = keys.into_iter().filter_map(is_other).collect();
        keys.sort();
        Reordered { keys, left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::audit::tally::{Fingerprints, Row};

    fn row<'a>(key: &'a str, value: &'a str) -> Row<'a> {
        Row {
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            timestamp_ms: None,
            partition: None,
            headers: &[],
        }
    }

    /// The lines at which keys begin whose rows are in another order; whether all were looked at.
    fn compare(files: &str, topic: &str, keys_max: usize) -> (Vec<u64>, bool) {
        let (mut fingerprints, mut tallies) = (Fingerprints::default(), vec![]);
        for text in [files, topic] {
            let mut tally = Tally::new(1);
            for line in text.split(' ') {
                let row = row(&line[..1], line);
                tally.add(fingerprints.of(&row), KeyPlace::of(&row, Some(0)));
            }
            tallies.push(tally);
        }
        assert_eq!(tallies[0].differing_buckets(&tallies[1]), [], "the same rows");
        let groups = tallies[0].reordered_groups(&tallies[1]);
        let mut orders = KeyOrders { keys_max, ..KeyOrders::of(groups) };
        for (index, line) in files.split(' ').enumerate() {
            let (row, place) = (row(&line[..1], line), FilePlace { file: 0, line: index as u64 });
            let key = KeyPlace::of(&row, Some(0)).unwrap();
            orders.in_files(&tallies[0], key, fingerprints.of(&row), place);
        }
        for line in topic.split(' ') {
            let row = row(&line[..1], line);
            orders.in_topic(KeyPlace::of(&row, Some(0)).unwrap(), fingerprints.of(&row));
        }
        let found = orders.reordered(&tallies[0]);
        (found.keys.iter().map(|place| place.line).collect(), found.left_out.is_empty())
    }

    #[test]
    fn the_order_of_a_key_counts_and_that_between_keys_doesnt() {
        assert_eq!(compare("a1 b1 a2 b2", "a1 b1 a2 b2", 9), (vec![], true));
        assert_eq!(compare("a1 b1 a2 b2", "b1 b2 a1 a2", 9), (vec![], true));
        assert_eq!(compare("a1 b1 a2 b2", "b1 a2 b2 a1", 9), (vec![0], true));
        assert_eq!(compare("a1 b1 a2 b2", "b2 a2 b1 a1", 9), (vec![0, 1], true));
    }

    #[test]
    fn a_key_that_there_was_no_room_for_is_not_judged() {
        assert_eq!(compare("a1 b1 a2 b2", "b2 a2 b1 a1", 1), (vec![0], false));
        assert_eq!(compare("a1 b1 a2 b2", "b2 a2 b1 a1", 0), (vec![], false));
    }

    #[test]
    fn keys_of_one_group_are_told_apart() {
        let mut orders = KeyOrders::of(BTreeSet::from([0]));
        // As many partitions as there are groups: all keys of one are one group.
        let tally = Tally::new(1 << 16);
        let mut fingerprints = Fingerprints::default();
        for line in ["a1", "b1", "a2", "b2", "c1", "c2"] {
            let row = row(&line[..1], line);
            let place = FilePlace { file: 0, line: line.as_bytes()[0].into() };
            let key = KeyPlace::of(&row, Some(0)).unwrap();
            assert_eq!(tally.group(key), 0);
            orders.in_files(&tally, key, fingerprints.of(&row), place);
        }
        for line in ["c1", "c2", "b1", "a2", "a1", "b2"] {
            let row = row(&line[..1], line);
            orders.in_topic(KeyPlace::of(&row, Some(0)).unwrap(), fingerprints.of(&row));
        }
        let found = orders.reordered(&tally);
        assert_eq!(found.keys, [FilePlace { file: 0, line: b'a'.into() }]);
    }
}
