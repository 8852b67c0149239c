//! Records that stay in their files until they are sent.

use super::*;
use crate::storage::StoredRecords;
use crate::storage::partition::OpenLog;

/// A log of one segment with more than one read looks through, and how many bytes it has.
fn long_log(store: &LogStore) -> (Arc<Partition>, usize) {
    let config = LogConfig::default();
    let partition = store.create_partition(&clicks(0), TOPIC_ID, &config, LeaderEpoch(0)).unwrap();
    for n in 0..50 {
        produce(&partition, batch_of(if n % 7 == 0 { 20 } else { 900 }, None));
    }
    let bytes = usize::try_from(partition.bytes()).unwrap();
    (partition, bytes)
}

fn in_file(partition: &Partition, from: i64, max_bytes: usize) -> Option<FileRange> {
    let read = partition.read_to_send(Offset(from), max_bytes, ReadLimit::HighWatermark).unwrap();
    match read.records {
        StoredRecords::InFile(range) => Some(range),
        StoredRecords::Here(_) => None,
    }
}

/// All bytes of a range, in pieces.
fn read_all(range: &FileRange) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < range.len() {
        all.extend(range.read(all.len(), 1000).unwrap());
    }
    assert!(range.read(all.len(), 1000).unwrap().is_empty());
    all
}

#[test]
fn a_read_in_memory_and_one_that_stays_in_the_file_give_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let (partition, log_bytes) = long_log(&store);
    let (mut here, mut there) = (0, 0);
    for from in (0..500).step_by(3) {
        for max_bytes in [0, 1, 900, 9000, 20_000, 60_000, log_bytes, usize::MAX] {
            let limit = ReadLimit::LastStable;
            let read = partition.read(Offset(from), max_bytes, limit).unwrap();
            let sent = partition.read_to_send(Offset(from), max_bytes, limit).unwrap();
            assert_eq!(sent.high_watermark, read.high_watermark);
            match sent.records {
                StoredRecords::Here(bytes) => {
                    assert_eq!(bytes, read.records);
                    here += 1;
                }
                StoredRecords::InFile(range) => {
                    assert_eq!(read_all(&range), read.records);
                    there += 1;
                }
            }
        }
    }
    assert!(here > 200 && there > 200, "{here} in memory, {there} in the file");
}

#[test]
fn failure_34_a_leap_by_an_index_that_points_beside_a_batch_rebuilds_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let (partition, log_bytes) = long_log(&store);
    let expected = partition.read(Offset(0), usize::MAX, ReadLimit::LogEnd).unwrap().records;
    store.close().unwrap();
    let path = files(directory.path(), 0, ".index").pop().unwrap();
    let right = fs::read(&path).unwrap();
    let mut wrong = right.clone();
    wrong.as_chunks_mut::<8>().0.iter_mut().for_each(|entry| entry[7] ^= 1);
    fs::write(&path, wrong).unwrap();

    let store = open_with(directory.path(), |_| {});
    let partition = store.partition(&clicks(0)).unwrap();
    let entries =
        |open: &mut OpenLog| open.log.active_segment().indexes().unwrap().offsets.encode();
    assert!(partition.with_open(entries).unwrap() != right);
    let read = partition.read(Offset(0), 60_000, ReadLimit::LogEnd).unwrap().records;
    assert!(read.len() > 40_000 && expected.starts_with(&read), "{} bytes", read.len());
    assert!(partition.with_open(entries).unwrap() == right);
    let read = partition.read(Offset(0), log_bytes, ReadLimit::LogEnd).unwrap().records;
    assert_eq!(read, expected);
}

#[test]
fn failure_47_a_range_outlives_retention_compaction_and_the_deletion_of_its_partition() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let (partition, log_bytes) = long_log(&store);
    let expected = partition.read(Offset(0), usize::MAX, ReadLimit::LogEnd).unwrap().records;
    assert_eq!(expected.len(), log_bytes);
    let range = in_file(&partition, 0, usize::MAX).unwrap();
    store.delete_partition(&clicks(0)).unwrap();
    assert_eq!(files_left(directory.path()), 0);
    assert_eq!(read_all(&range), expected);
}

fn files_left(directory: &Path) -> usize {
    let name = clicks(0).to_string();
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&name)).count()
}

#[test]
fn a_file_shorter_than_its_range_is_an_error_not_less() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let (partition, log_bytes) = long_log(&store);
    let range = in_file(&partition, 0, usize::MAX).unwrap();
    let log = files(directory.path(), 0, ".log").pop().unwrap();
    let file = fs::OpenOptions::new().write(true).open(log).unwrap();
    file.set_len(log_bytes as u64 - 1).unwrap();
    let error = range.read(0, log_bytes).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn past_the_bound_on_files_records_are_read_into_memory() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let (partition, _) = long_log(&store);
    let ranges: Vec<_> = (0..1000).map_while(|_| in_file(&partition, 0, usize::MAX)).collect();
    assert!((2..1000).contains(&ranges.len()), "{}", ranges.len());
    assert!(in_file(&partition, 0, usize::MAX).is_none());
    drop(ranges);
    assert!(in_file(&partition, 0, usize::MAX).is_some());
}
