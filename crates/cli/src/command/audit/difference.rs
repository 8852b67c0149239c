//! Which rows differ: those of the buckets that don't agree, looked at once more.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::tally::{BUCKETS, Fingerprint};

/// So many rows are kept in mind at a time.
pub(super) const SUSPECTS_MAX: u64 = 200_000;

/// Where a row is in the files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct FilePlace {
    pub(super) file: usize,
    pub(super) line: u64,
}

/// Where a record is in the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct TopicPlace {
    pub(super) partition: i32,
    pub(super) offset: i64,
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Difference {
    /// It is in the files, and not (often enough) in the topic.
    Missing(FilePlace),
    /// It is in the topic more often than in the files.
    Doubled(FilePlace, TopicPlace),
    /// A row of the files and a record of the topic have the same key, and each has no counterpart.
    Altered(FilePlace, TopicPlace),
    /// A record that is in no file.
    Unexpected(TopicPlace),
}

/// Which buckets are looked at in one go.
#[derive(Debug)]
pub(super) struct Suspicion {
    is_suspect: Vec<bool>,
}

impl Suspicion {
    /// As many of the differing buckets as can be kept in mind, at least one; and the others.
    pub(super) fn of(differing: &[(usize, u64)]) -> (Suspicion, &[(usize, u64)]) {
        let mut is_suspect = vec![false; BUCKETS];
        let (mut row_count, mut taken) = (0, 0);
        for (index, rows) in differing {
            if taken > 0 && row_count + rows > SUSPECTS_MAX {
                break;
            }
            row_count += rows;
            taken += 1;
            is_suspect[*index] = true;
        }
        (Suspicion { is_suspect }, &differing[taken..])
    }

    /// Whether a row is to be looked at.
    #[inline]
    pub(super) fn has(&self, row: Fingerprint) -> bool {
        self.is_suspect[row.bucket()]
    }
}

/// The rows of suspect buckets on both sides.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    rows: HashMap<Fingerprint, Suspect>,
}

#[derive(Debug, Default)]
struct Suspect {
    key: u128,
    in_files: Vec<FilePlace>,
    in_topic: Vec<TopicPlace>,
}

impl Suspects {
    /// A row of a file; `key` is its key's hash.
    pub(super) fn in_files(&mut self, row: Fingerprint, key: u128, place: FilePlace) {
        let suspect = self.rows.entry(row).or_default();
        suspect.key = key;
        suspect.in_files.push(place);
    }

    /// A record of the topic.
    pub(super) fn in_topic(&mut self, row: Fingerprint, key: u128, place: TopicPlace) {
        let suspect = self.rows.entry(row).or_default();
        suspect.key = key;
        suspect.in_topic.push(place);
    }

    /// What differs, in order of kind and place.
    pub(super) fn differences(self) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut missing: BTreeMap<FilePlace, u128> = BTreeMap::new();
        let mut unexpected: BTreeMap<u128, Vec<TopicPlace>> = BTreeMap::new();
        for suspect in self.rows.into_values() {
            let Suspect { key, in_files, in_topic } = suspect;
            match in_files.last().cloned() {
                None => unexpected.entry(key).or_default().extend(in_topic),
                Some(last) => {
                    missing
                        .extend(in_files.iter().skip(in_topic.len()).map(|at| (at.clone(), key)));
                    let doubled = in_topic.into_iter().skip(in_files.len());
                    found.extend(doubled.map(|at| Difference::Doubled(last.clone(), at)));
                }
            }
        }
        unexpected.values_mut().for_each(|places| places.sort_by(|a, b| b.cmp(a)));
        for (place, key) in missing {
            match unexpected.get_mut(&key).and_then(Vec::pop) {
                Some(other) => found.push(Difference::Altered(place, other)),
                None => found.push(Difference::Missing(place)),
            }
        }
        found.extend(unexpected.into_values().flatten().map(Difference::Unexpected));
        found.sort();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(line: u64) -> FilePlace {
        FilePlace { file: 0, line }
    }

    fn topic(offset: i64) -> TopicPlace {
        TopicPlace { partition: 0, offset }
    }

    #[test]
    fn each_kind_of_difference_is_told_apart() {
        let mut suspects = Suspects::default();
        let (same, lost, twice, before, after, extra) = (1, 2, 3, 4, 5, 6);
        suspects.in_files(Fingerprint(same), 0, file(1));
        suspects.in_topic(Fingerprint(same), 0, topic(0));
        suspects.in_files(Fingerprint(lost), 10, file(2));
        suspects.in_files(Fingerprint(twice), 11, file(3));
        suspects.in_topic(Fingerprint(twice), 11, topic(1));
        suspects.in_topic(Fingerprint(twice), 11, topic(9));
        suspects.in_files(Fingerprint(before), 12, file(4));
        suspects.in_topic(Fingerprint(after), 12, topic(2));
        suspects.in_topic(Fingerprint(extra), 13, topic(3));
        assert_eq!(
            suspects.differences(),
            [
                Difference::Missing(file(2)),
                Difference::Doubled(file(3), topic(9)),
                Difference::Altered(file(4), topic(2)),
                Difference::Unexpected(topic(3)),
            ]
        );
    }

    #[test]
    fn a_row_that_files_have_twice_must_be_there_twice() {
        let mut suspects = Suspects::default();
        suspects.in_files(Fingerprint(1), 0, file(1));
        suspects.in_files(Fingerprint(1), 0, file(2));
        suspects.in_topic(Fingerprint(1), 0, topic(0));
        assert_eq!(suspects.differences(), [Difference::Missing(file(2))]);
    }

    #[test]
    fn what_is_kept_in_mind_is_bounded() {
        let differing = [(3, SUSPECTS_MAX), (4, SUSPECTS_MAX), (9, 1)];
        let (suspicion, rest) = Suspicion::of(&differing);
        assert_eq!(rest, &differing[1..]);
        let in_bucket = |index: u128| Fingerprint(index << 112);
        assert!(suspicion.has(in_bucket(3)) && !suspicion.has(in_bucket(4)));
        let (_, rest) = Suspicion::of(&differing[2..]);
        assert!(rest.is_empty());
    }
}
