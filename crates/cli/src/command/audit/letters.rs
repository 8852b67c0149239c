//! Whether each bad row of the files is among the dead letters, once and as it stands in its file.
//!
//! A dead letter is known by its file and line, and is what its row's bytes and its column are.
//! What its reason says is for people: another release may say it otherwise.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

use streamledger::Properties;

use super::difference::{FilePlace, Findings, Suspects, Suspicion, TopicPlace};
use super::sides::{BadRow, Compared, FileSide, Read, TopicSide};
use super::tally::{Fingerprints, Row, Tally, write_header};
use super::{findings, suspect};
use crate::access::Access;
use crate::dead_letter::{COLUMN, DeadLetter, FILE, LINE};
use crate::failure::Outcome;
use crate::interrupt::Interrupt;

/// The topic of dead letters, as it is when the audit begins.
#[derive(Debug)]
pub(super) struct LetterSide<'a> {
    pub(super) topic: &'a str,
    side: TopicSide<'a>,
    names: FileNames,
}

/// What was found of the dead letters.
#[derive(Debug)]
pub(super) struct Letters<'a> {
    pub(super) topic: &'a str,
    /// Those of the files' rows.
    pub(super) count: u64,
    /// Those of rows of other files, and records that are no dead letters.
    pub(super) of_others: u64,
    pub(super) findings: Findings,
}

impl<'a> LetterSide<'a> {
    /// Looks where the topic ends.
    pub(super) fn look(
        access: &Access,
        given: &Properties,
        topic: &'a str,
        files: FileSide<'_>,
    ) -> Outcome<LetterSide<'a>> {
        let side = TopicSide::look(access, given, topic, Compared::NOTHING)?;
        let names = FileNames::of(files.plan.files.iter().map(|file| file.path.clone()).collect());
        Ok(LetterSide { topic, side, names })
    }

    /// Compares them with the files' bad rows, which are counted. None after Ctrl-C.
    pub(super) fn compare(
        &self,
        files: FileSide<'_>,
        bad_rows: &Tally,
        interrupt: &Interrupt,
    ) -> Outcome<Option<Letters<'a>>> {
        let (mut letters, mut of_others) = (Tally::without_order(), 0);
        let mut fingerprints = Fingerprints::default();
        let read = self.read(interrupt, |letter| match letter {
            Some((row, _)) => letters.add(fingerprints.of(row), None),
            None => of_others += 1,
        })?;
        if read.is_none() {
            return Ok(None);
        }
        let differing = bad_rows.differing_buckets(&letters);
        let found = findings(&differing, |look| self.name(files, look, interrupt))?;
        let (topic, count) = (self.topic, letters.row_count);
        Ok(found.map(|findings| Letters { topic, count, of_others, findings }))
    }

    /// Reads both sides again for what is suspect. None after Ctrl-C.
    fn name(
        &self,
        files: FileSide<'_>,
        suspicion: &Suspicion,
        interrupt: &Interrupt,
    ) -> Outcome<Option<Suspects>> {
        let mut suspects = Suspects::new();
        let (mut fingerprints, mut letter) = (Fingerprints::default(), LetterRow::default());
        let suspect_bad = |bad: &BadRow<'_>, place| {
            let row = letter.of(bad, place);
            if let Some((row, key)) = suspect(suspicion, fingerprints.of(&row), &row) {
                suspects.in_files(row, key, place);
            }
        };
        let of_files = files.read(interrupt, |_, _| (), suspect_bad)?;
        let of_topic = self.read(interrupt, |letter| {
            let Some((row, place)) = letter else { return };
            if let Some((row, key)) = suspect(suspicion, fingerprints.of(row), row) {
                suspects.in_topic(row, key, place);
            }
        })?;
        Ok(of_files.and(of_topic).map(|_| suspects))
    }

    /// The records: dead letters of the files' rows, and others as none. None after Ctrl-C.
    fn read(
        &self,
        interrupt: &Interrupt,
        mut visit: impl FnMut(Option<(&Row<'_>, TopicPlace)>),
    ) -> Read {
        let (mut key, mut columns) = (Vec::new(), Vec::new());
        // They mostly come file by file.
        let mut last: (String, Option<usize>) = Default::default();
        self.side.read_records(interrupt, |record, place| {
            let (mut file, mut line) = (None, None);
            columns.clear();
            for (name, value) in record.headers() {
                let text = value.map(String::from_utf8_lossy);
                match &*name {
                    FILE => file = text,
                    LINE => line = text.and_then(|text| text.parse().ok()),
                    COLUMN => write_header(&mut columns, COLUMN, value),
                    _ => {}
                }
            }
            let file = file.and_then(|name: Cow<'_, str>| {
                if last.0 != *name || name.is_empty() {
                    last = (name.clone().into_owned(), self.names.index(&name));
                }
                last.1
            });
            let (Some(file), Some(line)) = (file, line) else { return visit(None) };
            write_key(&mut key, FilePlace { file, line });
            let row = letter_row(&key, record.value, &columns);
            visit(Some((&row, place)));
        })
    }
}

fn write_key(key: &mut Vec<u8>, place: FilePlace) {
    key.clear();
    key.extend_from_slice(&(place.file as u64).to_le_bytes());
    key.extend_from_slice(&place.line.to_le_bytes());
}

fn letter_row<'r>(key: &'r [u8], value: Option<&'r [u8]>, columns: &'r [u8]) -> Row<'r> {
    Row { key: Some(key), value, timestamp_ms: None, partition: None, headers: columns }
}

/// What is compared of a bad row's dead letter, in buffers that are used again for each.
#[derive(Debug, Default)]
pub(super) struct LetterRow {
    key: Vec<u8>,
    columns: Vec<u8>,
}

impl LetterRow {
    /// As `ingest` sends it: a row that is too large for a record goes without its bytes.
    pub(super) fn of<'r>(&'r mut self, bad: &BadRow<'r>, place: FilePlace) -> Row<'r> {
        let letter = DeadLetter::of(bad.file, place.line, bad.row, bad.fault);
        write_key(&mut self.key, place);
        self.columns.clear();
        if let Some(column) = letter.column() {
            write_header(&mut self.columns, COLUMN, Some(column.as_bytes()));
        }
        let is_too_large = letter.with_record("", |record| record.batch_bytes()) > bad.bytes_max;
        letter_row(&self.key, bad.row.filter(|_| !is_too_large), &self.columns)
    }
}

/// The audited files, by the names that dead letters have of them.
#[derive(Debug)]
struct FileNames {
    given: Vec<PathBuf>,
    whole: Vec<PathBuf>,
}

impl FileNames {
    fn of(given: Vec<PathBuf>) -> FileNames {
        let whole = given.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
        FileNames { whole: whole.collect(), given }
    }

    /// Which file a dead letter is of. `ingest` may have named it otherwise: from another
    /// directory, or as one of it. None of a file that isn't audited, or if it may be one or
    /// another.
    fn index(&self, name: &str) -> Option<usize> {
        let is_named_so = |path: &PathBuf| path.display().to_string() == name;
        if let Some(index) = self.given.iter().position(is_named_so) {
            return Some(index);
        }
        let path = Path::new(name);
        if let Ok(whole) = path.canonicalize()
            && let Some(index) = self.whole.iter().position(|other| *other == whole)
        {
            return Some(index);
        }
        let tail: PathBuf =
            path.components().skip_while(|part| !matches!(part, Component::Normal(_))).collect();
        let ends_so = |(_, whole): &(usize, &PathBuf)| whole.ends_with(&tail);
        let mut found = self.whole.iter().enumerate().filter(ends_so);
        match (found.next(), found.next(), path.is_absolute() || tail.as_os_str().is_empty()) {
            (Some((index, _)), None, false) => Some(index),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_whatever_name_ingest_had_for_it() {
        let here = std::env::temp_dir().canonicalize().unwrap();
        let paths = ["/no/a/x.csv", "/no/b/x.csv", "/no/b/y.csv", "z.csv"];
        let names = FileNames::of(paths.iter().map(PathBuf::from).collect());
        for (name, index) in [
            ("/no/a/x.csv", Some(0)),
            ("a/x.csv", Some(0)),
            ("./b/x.csv", Some(1)),
            ("../../b/y.csv", Some(2)),
            ("y.csv", Some(2)),
            ("z.csv", Some(3)),
            // One of two; of others; none.
            ("x.csv", None),
            ("other/y.csv", None),
            ("/yes/b/y.csv", None),
            ("csv", None),
            ("..", None),
            ("", None),
        ] {
            assert_eq!(names.index(name), index, "{name}");
        }
        let whole = FileNames::of(vec![here.clone()]);
        assert_eq!(whole.index(&format!("{}/.", here.display())), Some(0));
    }
}
