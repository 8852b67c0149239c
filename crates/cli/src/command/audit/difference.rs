//! Which rows differ: those of the buckets that don't agree, looked at once more.
//!
//! Laws: what is kept in mind is bounded, whatever differs, and so is what is told of it; a row is
//! judged only if all of its copies were seen on both sides. Rows with one key are looked at in one
//! go, or an altered one would be a missing one and another that is in no file.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use super::tally::{BUCKETS, Fingerprint};

/// About so many rows of both sides are looked at in one go.
pub(super) const SUSPECTS_MAX: u64 = 100_000;

/// So many different ones may it be, if keys have many rows: as a table of 2^17 entries holds.
const ROWS_KEPT_MAX: usize = 114_688;

/// Of so many differences of a kind the places are kept.
pub(super) const SHOWN_MAX: usize = 20;

/// Where a row is in the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

/// How many rows differ in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) missing: u64,
    pub(super) doubled: u64,
    pub(super) altered: u64,
    pub(super) unexpected: u64,
}

/// What differs: how many rows in which way, and where the first of each way are.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    pub(super) counts: Counts,
    /// Whether there is more than could be looked at.
    pub(super) has_more: bool,
    missing: BTreeSet<Difference>,
    doubled: BTreeSet<Difference>,
    altered: BTreeSet<Difference>,
    unexpected: BTreeSet<Difference>,
}

impl Findings {
    /// Whether nothing differs.
    pub(super) fn is_nothing(&self) -> bool {
        self.counts == Counts::default() && !self.has_more
    }

    /// Adds a difference of so many rows that are the same.
    pub(super) fn add(&mut self, difference: Difference, rows: u64) {
        let (count, first) = match difference {
            Difference::Missing(_) => (&mut self.counts.missing, &mut self.missing),
            Difference::Doubled(..) => (&mut self.counts.doubled, &mut self.doubled),
            Difference::Altered(..) => (&mut self.counts.altered, &mut self.altered),
            Difference::Unexpected(_) => (&mut self.counts.unexpected, &mut self.unexpected),
        };
        *count += rows;
        first.insert(difference);
        if first.len() > SHOWN_MAX {
            first.pop_last();
        }
    }

    /// The first of each kind, in order of kind and place.
    pub(super) fn first(&self) -> impl Iterator<Item = Difference> {
        let kinds = [&self.missing, &self.doubled, &self.altered, &self.unexpected];
        kinds.into_iter().flatten().copied()
    }
}

/// The rows that are suspect, and which of them are looked at in one go.
#[derive(Debug)]
pub(super) struct Suspicion {
    is_suspect: Vec<bool>,
    look: u64,
    pub(super) look_count: u64,
}

impl Suspicion {
    /// The rows of buckets that differ, each bucket with how many rows both sides have in it.
    pub(super) fn of(differing: &[(usize, u64)]) -> Suspicion {
        let mut is_suspect = vec![false; BUCKETS];
        for (index, _) in differing {
            is_suspect[*index] = true;
        }
        let row_count: u64 = differing.iter().map(|(_, rows)| rows).sum();
        Suspicion { is_suspect, look: 0, look_count: row_count.div_ceil(SUSPECTS_MAX) }
    }

    /// From now on it is about what this look is for.
    pub(super) fn set_look(&mut self, look: u64) {
        self.look = look;
    }

    /// Whether a row is suspect.
    #[inline]
    pub(super) fn has(&self, row: Fingerprint) -> bool {
        self.is_suspect[row.bucket()]
    }

    /// Whether a suspect row is for this look, as its key says; one without a key by itself.
    pub(super) fn is_now(&self, row: Fingerprint, key: Option<u64>) -> bool {
        key.unwrap_or(row.0 as u64) % self.look_count.max(1) == self.look
    }
}

/// Suspect rows of both sides.
#[derive(Debug)]
pub(super) struct Suspects {
    rows: HashMap<Fingerprint, Suspect>,
    rows_max: usize,
    /// Only rows whose fingerprint ends with so many zeros are kept.
    zeros: u32,
}

/// A row, with all its copies.
#[derive(Debug, Clone, Copy)]
struct Suspect {
    key: u64,
    in_files: u64,
    in_topic: u64,
    /// The last ones.
    file: Option<FilePlace>,
    topic: Option<TopicPlace>,
}

impl Suspects {
    /// None yet.
    pub(super) fn new() -> Suspects {
        let rows = HashMap::with_capacity(ROWS_KEPT_MAX);
        Suspects { rows, rows_max: ROWS_KEPT_MAX, zeros: 0 }
    }

    /// A row of a file; `key` is its key's hash.
    pub(super) fn in_files(&mut self, row: Fingerprint, key: u64, place: FilePlace) {
        if let Some(suspect) = self.suspect(row, key) {
            suspect.in_files += 1;
            suspect.file = Some(place);
        }
    }

    /// A record of the topic.
    pub(super) fn in_topic(&mut self, row: Fingerprint, key: u64, place: TopicPlace) {
        if let Some(suspect) = self.suspect(row, key) {
            suspect.in_topic += 1;
            suspect.topic = Some(place);
        }
    }

    /// What is kept of a row; None if there is no room for it.
    fn suspect(&mut self, row: Fingerprint, key: u64) -> Option<&mut Suspect> {
        let is_left_out = |row: Fingerprint, zeros| row.0.trailing_zeros() < zeros;
        while self.rows.len() >= self.rows_max
            && !self.rows.contains_key(&row)
            && !is_left_out(row, self.zeros)
        {
            // Whether a row is kept depends on what it is alone: all of its copies are, or none.
            self.zeros += 1;
            self.rows.retain(|row, _| !is_left_out(*row, self.zeros));
        }
        if is_left_out(row, self.zeros) {
            return None;
        }
        let none = Suspect { key, in_files: 0, in_topic: 0, file: None, topic: None };
        Some(self.rows.entry(row).or_insert(none))
    }

    /// Adds what differs to what was found before.
    pub(super) fn add_to(self, findings: &mut Findings) {
        findings.has_more |= self.zeros > 0;
        let (mut missing, mut unexpected) = (Vec::new(), Vec::new());
        for suspect in self.rows.into_values() {
            let Suspect { key, in_files, in_topic, file, topic } = suspect;
            match (file, topic) {
                (None, Some(topic)) => unexpected.push((key, topic, in_topic)),
                (Some(file), None) => missing.push((key, file, in_files)),
                (Some(file), Some(topic)) if in_topic > in_files => {
                    findings.add(Difference::Doubled(file, topic), in_topic - in_files);
                }
                (Some(file), Some(_)) if in_files > in_topic => {
                    missing.push((key, file, in_files - in_topic));
                }
                _ => {}
            }
        }
        missing.sort_unstable();
        unexpected.sort_unstable();
        pair(&mut missing, &mut unexpected, findings);
        for (_, file, rows) in missing.into_iter().filter(|(.., rows)| *rows > 0) {
            findings.add(Difference::Missing(file), rows);
        }
        for (_, topic, rows) in unexpected.into_iter().filter(|(.., rows)| *rows > 0) {
            findings.add(Difference::Unexpected(topic), rows);
        }
    }
}

/// Takes rows that are missing and records that are in no file for altered ones, as far as they
/// have the same key. Both are in order of their keys.
fn pair(
    missing: &mut [(u64, FilePlace, u64)],
    unexpected: &mut [(u64, TopicPlace, u64)],
    findings: &mut Findings,
) {
    let (mut missing, mut unexpected) = (missing.iter_mut(), unexpected.iter_mut());
    let (mut lost, mut other) = (missing.next(), unexpected.next());
    while let (Some(row), Some(record)) = (lost.as_mut(), other.as_mut()) {
        let rows = if row.0 == record.0 { row.2.min(record.2) } else { 0 };
        if rows > 0 {
            findings.add(Difference::Altered(row.1, record.1), rows);
            row.2 -= rows;
            record.2 -= rows;
        }
        match row.2 == 0 || row.0 < record.0 {
            true => lost = missing.next(),
            false => other = unexpected.next(),
        }
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

    fn found(suspects: Suspects) -> Findings {
        let mut findings = Findings::default();
        suspects.add_to(&mut findings);
        findings
    }

    #[test]
    fn each_kind_of_difference_is_told_apart() {
        let mut suspects = Suspects::new();
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
        let found = found(suspects);
        let differences: Vec<Difference> = found.first().collect();
        assert_eq!(
            differences,
            [
                Difference::Missing(file(2)),
                Difference::Doubled(file(3), topic(9)),
                Difference::Altered(file(4), topic(2)),
                Difference::Unexpected(topic(3)),
            ]
        );
        assert_eq!(found.counts, Counts { missing: 1, doubled: 1, altered: 1, unexpected: 1 });
        assert!(!found.has_more && !found.is_nothing());
    }

    #[test]
    fn a_row_that_files_have_twice_must_be_there_twice() {
        let mut suspects = Suspects::new();
        suspects.in_files(Fingerprint(1), 0, file(1));
        suspects.in_files(Fingerprint(1), 0, file(2));
        suspects.in_topic(Fingerprint(1), 0, topic(0));
        let differences: Vec<Difference> = found(suspects).first().collect();
        assert_eq!(differences, [Difference::Missing(file(2))]);
    }

    #[test]
    fn rows_of_a_key_are_altered_as_often_as_both_sides_have_them() {
        let mut suspects = Suspects::new();
        for line in 0..5 {
            suspects.in_files(Fingerprint(1), 7, file(line));
        }
        suspects.in_files(Fingerprint(2), 7, file(5));
        suspects.in_files(Fingerprint(3), 6, file(6));
        for offset in 0..3_i64 {
            suspects.in_topic(Fingerprint(4 + offset as u128 % 2), 7, topic(offset));
        }
        suspects.in_topic(Fingerprint(9), 8, topic(9));
        let found = found(suspects);
        assert_eq!(found.counts, Counts { missing: 4, doubled: 0, altered: 3, unexpected: 1 });
    }

    #[test]
    fn what_is_looked_at_in_one_go_is_bounded_and_a_key_is_looked_at_once() {
        let differing = [(3, SUSPECTS_MAX), (4, SUSPECTS_MAX), (9, 1)];
        let mut suspicion = Suspicion::of(&differing);
        assert_eq!(suspicion.look_count, 3);
        let in_bucket = |index: u128| Fingerprint(index << 112);
        assert!(suspicion.has(in_bucket(3)) && suspicion.has(in_bucket(4)));
        assert!(!suspicion.has(in_bucket(5)));
        let (before, after) = (in_bucket(3), in_bucket(4));
        let mut seen = [0; 3];
        for look in 0..3 {
            suspicion.set_look(look);
            let is_now = suspicion.is_now(before, Some(11));
            assert_eq!(is_now, suspicion.is_now(after, Some(11)));
            seen[0] += u32::from(is_now);
            seen[1] += u32::from(suspicion.is_now(before, None));
            seen[2] += u32::from(suspicion.is_now(Fingerprint(5), None));
        }
        assert_eq!(seen, [1, 1, 1]);
        assert_eq!(Suspicion::of(&[]).look_count, 0);
    }

    #[test]
    fn what_is_kept_in_mind_is_bounded_and_a_row_without_room_isnt_judged() {
        let mut suspects = Suspects { rows_max: 100, ..Suspects::new() };
        let row = |number: u64| Fingerprint(u128::from(number.wrapping_mul(0x9e37_79b9)));
        for number in 0..1000 {
            suspects.in_files(row(number), number, file(number));
            assert!(suspects.rows.len() <= 100);
        }
        // All but two are there.
        for number in (0..1000).filter(|number| ![0, 1].contains(number)) {
            suspects.in_topic(row(number), number, topic(number as i64));
        }
        let found = found(suspects);
        assert!(found.has_more);
        assert_eq!(found.counts, Counts { missing: 1, ..Counts::default() }, "0 ends with zeros");
        assert_eq!(found.first().next(), Some(Difference::Missing(file(0))));
        // One row, however often, has room.
        let mut suspects = Suspects { rows_max: 1, ..Suspects::new() };
        for line in 0..500 {
            suspects.in_files(Fingerprint(1), 0, file(line));
        }
        let mut findings = Findings::default();
        suspects.add_to(&mut findings);
        assert_eq!((findings.counts.missing, findings.has_more), (500, false));
    }

    #[test]
    fn of_each_kind_the_first_are_shown_and_all_counted() {
        let mut findings = Findings::default();
        for line in (0..1000).rev() {
            findings.add(Difference::Missing(file(line)), 2);
        }
        findings.add(Difference::Unexpected(topic(5)), 1);
        assert_eq!((findings.counts.missing, findings.counts.unexpected), (2000, 1));
        let first: Vec<Difference> = findings.first().collect();
        assert_eq!((first.len(), first[19]), (SHOWN_MAX + 1, Difference::Missing(file(19))));
    }
}
