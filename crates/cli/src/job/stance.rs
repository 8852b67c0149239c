//! Where a run stands towards a file: one pure function of what was kept and what is there.

use thiserror::Error;

use super::FileProgress;
use crate::input::Position;

/// What is known of a file when a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileNow<'a> {
    /// The topic its rows are to go to.
    pub topic: &'a str,
    /// That topic's id; empty if it has none.
    pub topic_id: &'a str,
    /// How its rows are to become records.
    pub shape: &'a str,
    /// Its length, as it is on the disk.
    pub file_bytes: u64,
    /// Whether it may have grown.
    pub may_grow: bool,
    /// Whether files of its format can grow.
    pub can_grow: bool,
}

/// What a run has to do about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stance {
    /// No row of it was ingested.
    Fresh,
    /// Nothing of it is in the topic: its rows went to a topic that was deleted since.
    FreshTopic,
    /// It was ingested up to here, if its first bytes are still the same.
    Resume(Position),
    /// It was ingested whole, if it still is the same.
    Done(Position),
}

/// Why a file can't be gone on with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Changed {
    /// It is shorter than what was ingested of it.
    #[error("has {found} bytes, and {expected} of it were ingested before: it was cut")]
    Cut {
        /// Bytes it has.
        found: u64,
        /// Bytes that were ingested.
        expected: u64,
    },
    /// It is longer than it was.
    #[error("has grown from {expected} to {found} bytes since it was ingested")]
    Grown {
        /// Bytes it has.
        found: u64,
        /// Bytes it had.
        expected: u64,
    },
    /// It is longer or shorter than it was, and files of its format are written once.
    #[error(
        "is another file than the one that was ingested: it has {found} bytes, that one had \
         {expected}, and a file that ends with its footer doesn't grow"
    )]
    OtherFile {
        /// Bytes it has.
        found: u64,
        /// Bytes that one had.
        expected: u64,
    },
    /// Its rows would become other records than those before.
    #[error("was ingested as {before}; now it would be as {now}")]
    Shape {
        /// As they were.
        before: String,
        /// As they would be.
        now: String,
    },
    /// The job sends to another topic.
    #[error("was ingested into the topic {before} by this job")]
    Topic {
        /// That topic.
        before: String,
    },
    /// What was kept of it can't be understood.
    #[error("has a progress record that can't be read: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// What a run has to do about a file, by what was kept of it.
pub fn stance(progress: Option<&FileProgress>, now: &FileNow<'_>) -> Result<Stance, Changed> {
    let Some(before) = progress else { return Ok(Stance::Fresh) };
    if before.topic != now.topic {
        return Err(Changed::Topic { before: before.topic.clone() });
    }
    let has_ids = !before.topic_id.is_empty() && !now.topic_id.is_empty();
    if has_ids && before.topic_id != now.topic_id {
        return Ok(Stance::FreshTopic);
    }
    if !before.has_row() && before.rotation.is_none() {
        return Ok(Stance::Fresh);
    }
    let Some(position) = before.position() else {
        return Err(Changed::Unreadable { reason: format!("its hash is {:?}", before.hash) });
    };
    let found = now.file_bytes;
    if !now.can_grow && found != before.file_bytes {
        return Err(Changed::OtherFile { found, expected: before.file_bytes });
    }
    // What a compressed file holds is longer than it; whether that was cut is seen when it is read.
    if found < before.bytes && before.compression.is_none() {
        return Err(Changed::Cut { found, expected: before.bytes });
    }
    if found > before.file_bytes && !now.may_grow {
        return Err(Changed::Grown { found, expected: before.file_bytes });
    }
    if before.complete && found == before.file_bytes {
        return Ok(Stance::Done(position));
    }
    if before.shape != now.shape {
        let (before, now) = (before.shape.clone(), now.shape.to_owned());
        return Err(Changed::Shape { before, now });
    }
    Ok(Stance::Resume(position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{ContentHash, Place};
    use crate::job::Rotation;

    fn before() -> FileProgress {
        FileProgress {
            version: 1,
            topic: "t".to_owned(),
            topic_id: "id".to_owned(),
            partitions: None,
            compression: None,
            shape: "csv".to_owned(),
            bytes: 40,
            next_line: 5,
            hash: ContentHash(9).to_string(),
            rows: 4,
            rejected: 0,
            file_bytes: 100,
            complete: false,
            changed_ns: None,
            rotation: None,
        }
    }

    const NOW: FileNow<'_> = FileNow {
        topic: "t",
        topic_id: "id",
        shape: "csv",
        file_bytes: 100,
        may_grow: false,
        can_grow: true,
    };

    const AT: Position =
        Position { place: Place { bytes: 40, next_line: 5 }, hash: ContentHash(9) };

    #[test]
    fn what_was_never_seen_is_fresh() {
        assert_eq!(stance(None, &NOW), Ok(Stance::Fresh));
    }

    #[test]
    fn a_run_goes_on_where_the_last_one_committed() {
        assert_eq!(stance(Some(&before()), &NOW), Ok(Stance::Resume(AT)));
    }

    #[test]
    fn a_finished_file_is_done_in_whatever_shape() {
        let before = FileProgress { complete: true, ..before() };
        assert_eq!(stance(Some(&before), &NOW), Ok(Stance::Done(AT)));
        let now = FileNow { shape: "lines", ..NOW };
        assert_eq!(stance(Some(&before), &now), Ok(Stance::Done(AT)));
    }

    #[test]
    fn rows_of_a_deleted_topic_are_sent_to_the_new_one() {
        let now = FileNow { topic_id: "other", ..NOW };
        assert_eq!(stance(Some(&before()), &now), Ok(Stance::FreshTopic));
        let now = FileNow { topic_id: "", ..NOW };
        assert_eq!(stance(Some(&before()), &now), Ok(Stance::Resume(AT)));
    }

    #[test]
    fn a_shorter_file_was_cut() {
        let now = FileNow { file_bytes: 39, ..NOW };
        assert_eq!(stance(Some(&before()), &now), Err(Changed::Cut { found: 39, expected: 40 }));
    }

    #[test]
    fn a_compressed_file_may_be_shorter_than_what_it_holds() {
        let before = FileProgress { compression: Some("gzip".to_owned()), bytes: 4000, ..before() };
        let at = Position { place: Place { bytes: 4000, next_line: 5 }, ..AT };
        assert_eq!(stance(Some(&before), &NOW), Ok(Stance::Resume(at)));
        let now = FileNow { file_bytes: 90, ..NOW };
        assert_eq!(stance(Some(&before), &now), Ok(Stance::Resume(at)), "compressed anew");
        let now = FileNow { file_bytes: 101, ..NOW };
        assert!(matches!(stance(Some(&before), &now), Err(Changed::Grown { .. })));
        let done = FileProgress { complete: true, ..before };
        assert_eq!(stance(Some(&done), &NOW), Ok(Stance::Done(at)));
    }

    #[test]
    fn a_longer_file_goes_on_only_where_it_may_grow() {
        let now = FileNow { file_bytes: 101, ..NOW };
        let grown = Changed::Grown { found: 101, expected: 100 };
        assert_eq!(stance(Some(&before()), &now), Err(grown));
        let done = FileProgress { complete: true, ..before() };
        let may_grow = FileNow { may_grow: true, ..now };
        assert_eq!(stance(Some(&done), &may_grow), Ok(Stance::Resume(AT)));
    }

    #[test]
    fn a_file_that_is_written_once_is_of_that_length_or_another() {
        for (file_bytes, may_grow) in [(101, true), (101, false), (99, true), (39, false)] {
            let now = FileNow { file_bytes, may_grow, can_grow: false, ..NOW };
            let other = Changed::OtherFile { found: file_bytes, expected: 100 };
            assert_eq!(stance(Some(&before()), &now), Err(other));
        }
        let now = FileNow { can_grow: false, ..NOW };
        assert_eq!(stance(Some(&before()), &now), Ok(Stance::Resume(AT)));
    }

    #[test]
    fn half_a_file_isnt_gone_on_with_in_another_shape_or_topic() {
        let now = FileNow { shape: "lines", ..NOW };
        assert!(matches!(stance(Some(&before()), &now), Err(Changed::Shape { .. })));
        let now = FileNow { topic: "u", ..NOW };
        assert_eq!(stance(Some(&before()), &now), Err(Changed::Topic { before: "t".to_owned() }));
    }

    #[test]
    fn of_what_no_row_was_ingested_nothing_binds() {
        let none = FileProgress { rows: 0, rejected: 0, bytes: 6, ..before() };
        let now = FileNow { shape: "csv, key id", file_bytes: 3, ..NOW };
        assert_eq!(stance(Some(&none), &now), Ok(Stance::Fresh), "also when it was mended");
        let rejected = FileProgress { rejected: 1, ..none.clone() };
        assert!(matches!(stance(Some(&rejected), &NOW), Ok(Stance::Resume(_))));
        let followed = FileProgress { rotation: Some(Rotation::default()), ..none };
        assert!(matches!(stance(Some(&followed), &NOW), Ok(Stance::Resume(_))));
    }

    #[test]
    fn a_record_that_makes_no_sense_is_not_guessed_at() {
        let before = FileProgress { hash: "?".to_owned(), ..before() };
        assert!(matches!(stance(Some(&before), &NOW), Err(Changed::Unreadable { .. })));
    }
}
