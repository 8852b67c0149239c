//! Directories as rotation leaves them, and which of their files a log goes on in.

use super::*;
use std::io::Write as _;
use tempfile::TempDir;

/// A directory with these files, each written later than the one before it.
struct Logs(TempDir);

impl Logs {
    fn new(files: &[(&str, &str)]) -> Logs {
        let logs = Logs(TempDir::new().unwrap());
        for (index, (name, text)) in files.iter().enumerate() {
            fs::write(logs.path(name), text).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + index as u64);
            File::options().append(true).open(logs.path(name)).unwrap().set_modified(time).unwrap();
        }
        logs
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        generations(&self.path("e.csv")).unwrap().iter().map(name).collect()
    }

    fn found(&self, last: &LastRead) -> Option<String> {
        match find(&self.path("e.csv"), last).unwrap() {
            Whereabouts::Here(generation) => Some(name(&generation)),
            Whereabouts::Gone => None,
            Whereabouts::NotYet => Some("not yet".to_owned()),
        }
    }

    fn next(&self, after: &str, content: &str, behind: &Behind) -> io::Result<Option<String>> {
        let identity = FileIdentity::of(&fs::metadata(self.path(after)).unwrap());
        let next = next(&self.path("e.csv"), identity, &beginning(content), behind)?;
        Ok(next.as_ref().map(name))
    }

    fn later(&self, open: &str) -> Option<String> {
        let identity = FileIdentity::of(&fs::metadata(self.path(open)).unwrap());
        later(&self.path("e.csv"), identity).unwrap().as_ref().map(name)
    }
}

fn name(generation: &Generation) -> String {
    generation.path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn beginning(text: &str) -> Beginning {
    let mut hasher = ContentHasher::default();
    hasher.update(text.as_bytes());
    Beginning { bytes: text.len() as u64, hash: hasher.hash() }
}

/// Those before a file, the latest first.
fn behind(texts: &[&str], has_more: bool) -> Behind {
    Behind { beginnings: texts.iter().map(|text| beginning(text)).collect(), has_more }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn rotated_files_are_known_by_their_names_and_others_are_left_alone() {
    for (name, expected) in [
        ("e.csv.1", Some(Suffix::Number(1))),
        ("e.csv.12.gz", Some(Suffix::Number(12))),
        ("e.1.csv", Some(Suffix::Number(1))),
        ("e.csv-20261128", Some(Suffix::Date)),
        ("e.csv.2026-11-28T08:00Z", Some(Suffix::Date)),
        ("e-20261128.csv.zst", Some(Suffix::Date)),
        ("e.csv.1764316800", Some(Suffix::Date)),
        ("e-2.csv", None),
        ("e.csv.bak", None),
        ("e.csv.1.tmp", None),
        ("other.csv.1", None),
        ("e.csv2", None),
        ("e.csv", None),
    ] {
        assert_eq!(suffix(name, "e.csv"), expected, "{name}");
    }
}

#[test]
fn numbers_that_rise_with_the_times_of_the_last_writes_are_taken_upwards() {
    let mut files = vec![("e.csv.1.gz", "a"), ("e.csv.2", "b"), ("e.csv.10", "c"), ("e.csv", "d")];
    let upwards = Logs::new(&files);
    assert_eq!(upwards.names(), ["e.csv.1.gz", "e.csv.2", "e.csv.10", "e.csv"]);
    assert_eq!(upwards.later("e.csv.2").as_deref(), Some("e.csv.10"));
    let next = upwards.next("e.csv.10", "c", &Behind::default()).unwrap();
    assert_eq!(next.as_deref(), Some("e.csv"), "and not one that was read before");
    files.swap(0, 2);
    assert_eq!(Logs::new(&files).names(), ["e.csv.10", "e.csv.2", "e.csv.1.gz", "e.csv"]);
    let compressed_late = Logs::new(&[("e.csv.1", "b"), ("e.csv.2.gz", "a"), ("e.csv", "c")]);
    assert_eq!(compressed_late.names(), ["e.csv.2.gz", "e.csv.1", "e.csv"]);
}

#[test]
fn generations_come_by_number_or_by_the_time_of_their_last_write() {
    let numbered = Logs::new(&[
        ("e.csv.2", "b"),
        ("e.csv.1", "c"),
        ("e.csv.10", "late by its time only"),
        ("e.csv", "d"),
        ("e.csv.bak", "x"),
    ]);
    assert_eq!(numbered.names(), ["e.csv.10", "e.csv.2", "e.csv.1", "e.csv"]);
    let dated = Logs::new(&[("e.csv-20261201", "a"), ("e.csv-20261128", "b"), ("e.csv", "c")]);
    assert_eq!(dated.names(), ["e.csv-20261201", "e.csv-20261128", "e.csv"]);
}

#[test]
fn a_file_that_is_just_being_compressed_is_there_once() {
    let logs =
        Logs::new(&[("e.csv.1", "a"), ("e.csv.1.gz", ""), ("e.csv.2.gz", ""), ("e.csv", "")]);
    assert_eq!(logs.names(), ["e.csv.2.gz", "e.csv.1", "e.csv"]);
}

#[test]
fn what_was_read_of_is_found_under_whatever_name_it_has() {
    let read =
        |text: &str| LastRead { read: beginning(text), has_row: true, behind: Behind::default() };
    let renamed = Logs::new(&[("e.csv.2", "h\n1\n"), ("e.csv.1", "h\n3\n4\n"), ("e.csv", "h\n")]);
    assert_eq!(renamed.found(&read("h\n3\n")).as_deref(), Some("e.csv.1"));
    assert_eq!(renamed.found(&read("h\n1\n")).as_deref(), Some("e.csv.2"));
    assert_eq!(renamed.found(&read("h\n5\n")), None);
    let packed = Logs::new(&[("e.csv", "h\n9\n")]);
    fs::write(packed.path("e.csv.1.gz"), gzip("h\n3\n4\n")).unwrap();
    assert_eq!(packed.found(&read("h\n3\n")).as_deref(), Some("e.csv.1.gz"));
    fs::write(packed.path("e.csv.1.gz"), &gzip("h\n3\n4\n")[..12]).unwrap();
    assert_eq!(packed.found(&read("h\n3\n")), None, "one that is cut is none");
}

#[test]
fn what_no_row_was_read_of_is_the_first_after_the_one_before_it() {
    let header = |texts: &[&str], has_more| LastRead {
        read: beginning("h\n"),
        has_row: false,
        behind: behind(texts, has_more),
    };
    let logs = Logs::new(&[
        ("e.csv.3", "h\n1\n"),
        ("e.csv.2", "h\n2\n"),
        ("e.csv.1", "h\n3\n"),
        ("e.csv", "h\n4\n"),
    ]);
    let found = |texts: &[&str], has_more| logs.found(&header(texts, has_more));
    assert_eq!(found(&["h\n2\n"], true).as_deref(), Some("e.csv.1"));
    assert_eq!(found(&["h\n3\n", "h\n2\n"], true).as_deref(), Some("e.csv"));
    assert_eq!(found(&[], false).as_deref(), Some("e.csv.3"), "none was there before");
    assert_eq!(found(&["h\n0\n"], false).as_deref(), Some("e.csv.3"), "all before are gone");
    let one_is_left = &["h\n9\n", "h\n8\n", "h\n1\n"];
    assert_eq!(found(one_is_left, false).as_deref(), Some("e.csv.2"), "the latest are gone");
    assert_eq!(found(&["h\n0\n"], true), None, "some that were read may be there");
    assert_eq!(found(&["h\n4\n"], false).as_deref(), Some("not yet"));
}

#[test]
fn a_copy_is_found_by_what_was_read_before_the_cut() {
    let logs = Logs::new(&[("e.csv.2", "h\n1\n"), ("e.csv.1", "h\n2\n3\n"), ("e.csv", "h\n")]);
    let path = logs.path("e.csv");
    let found = |text: &str| find_copy(&path, &beginning(text)).unwrap().as_ref().map(name);
    assert_eq!(found("h\n2\n").as_deref(), Some("e.csv.1"));
    assert_eq!(found("h\n").as_deref(), Some("e.csv.1"), "the latest, of several");
    assert_eq!(found("h\n4\n"), None);
}

#[test]
fn the_next_generation_follows_wherever_the_one_before_is() {
    let logs = Logs::new(&[("e.csv.2", "1"), ("e.csv.1", "2"), ("e.csv", "3"), ("o", "1")]);
    let all_known = behind(&[], false);
    let next = |of: &str, content: &str| logs.next(of, content, &all_known).unwrap();
    assert_eq!(next("e.csv.2", "1").as_deref(), Some("e.csv.1"));
    assert_eq!(next("e.csv.1", "2").as_deref(), Some("e.csv"));
    assert_eq!(next("e.csv", "3"), None);
    assert_eq!(next("o", "1").as_deref(), Some("e.csv.1"), "known by what it holds");
    assert_eq!(next("o", "9").as_deref(), Some("e.csv.2"), "gone, with all before it");
    let after = |texts: &[&str], has_more| logs.next("o", "9", &behind(texts, has_more));
    assert_eq!(after(&["0", "1"], true).unwrap().as_deref(), Some("e.csv.1"), "gone, one is left");
    assert!(after(&["0"], true).is_err(), "it can't be told");
    assert_eq!(logs.later("e.csv.2").as_deref(), Some("e.csv.1"));
    assert_eq!((logs.later("e.csv"), logs.later("o").as_deref()), (None, Some("e.csv")));
}
