//! Readers and writers at the same time.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[test]
fn many_producers_and_a_follower_of_the_log_see_one_order_without_holes() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = create(&store, 0);
    let writers: Vec<_> = (0..4)
        .map(|id| {
            let partition = Arc::clone(&partition);
            std::thread::spawn(move || {
                for n in 0..50 {
                    produce(&partition, batch(Some((id, n * 10))));
                }
            })
        })
        .collect();
    let mut from = Offset(0);
    let mut next_sequence = [0; 4];
    while from < Offset(2000) {
        wait_for(partition.wait_for_data(from, ReadLimit::HighWatermark)).unwrap().unwrap();
        let outcome = partition.read(from, 5000, ReadLimit::HighWatermark).unwrap();
        for batch in batches(&outcome.records) {
            let header = *batch.unwrap().header();
            assert_eq!(header.base_offset, from);
            let id = usize::try_from(header.producer_id.0).unwrap();
            assert_eq!(header.base_sequence, SequenceNumber(next_sequence[id]));
            next_sequence[id] += 10;
            from = header.next_offset();
        }
        assert!(from <= partition.flushed_offset(), "never ahead of the disk");
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(next_sequence, [500; 4]);
}

#[test]
fn a_long_poll_wakes_when_data_comes_and_a_dropped_one_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = create(&store, 0);
    for _ in 0..100 {
        let mut poll = Box::pin(partition.wait_for_data(Offset(0), ReadLimit::HighWatermark));
        let waker = Waker::noop();
        assert!(poll.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    }
    let reader = {
        let partition = Arc::clone(&partition);
        std::thread::spawn(move || {
            wait_for(partition.wait_for_data(Offset(0), ReadLimit::HighWatermark))
                .unwrap()
                .unwrap();
            partition.read(Offset(0), 100, ReadLimit::HighWatermark).unwrap().records
        })
    };
    produce(&partition, batch(None));
    assert_eq!(reader.join().unwrap().len(), batch(None).len());
}

#[test]
fn failure_47_a_reader_of_a_segment_that_retention_takes_reads_on_or_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = create(&store, 0);
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (partition, stop) = (Arc::clone(&partition), Arc::clone(&stop));
            std::thread::spawn(move || {
                let (mut read, mut told) = (0, 0);
                while !stop.load(Ordering::Acquire) || read == 0 {
                    let from = partition.log_start_offset();
                    match partition.read(from, 3000, ReadLimit::HighWatermark) {
                        Ok(outcome) => {
                            for batch in batches(&outcome.records) {
                                batch.unwrap().verify_crc().unwrap();
                                read += 1;
                            }
                        }
                        Err(ReadError::OutOfRange(_)) => told += 1,
                        Err(other) => panic!("{other}"),
                    }
                    // Lookups by time open the indexes of closed segments, too.
                    let limit = ReadLimit::HighWatermark;
                    partition.offset_for_timestamp(TimestampMs(1005), limit).unwrap();
                    partition.max_timestamp(limit).unwrap();
                }
                (read, told)
            })
        })
        .collect();
    let config = LogConfig { retention_bytes: Some(15_000), ..small_segments() };
    partition.reconfigure(&config);
    let shared = &partition.shared;
    for _ in 0..300 {
        produce(&partition, batch(None));
        housekeeping::retain(shared, TimestampMs(0), shared.clock.now().monotonic);
    }
    stop.store(true, Ordering::Release);
    let seen: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    assert!(partition.log_start_offset() > Offset(2000));
    assert!(partition.bytes() < 30_000);
    assert!(seen.iter().all(|(read, _)| *read > 0), "{seen:?}");
}

#[test]
fn a_large_batch_is_read_whole_and_a_cut_read_never_gives_half_a_batch() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let config = LogConfig::default();
    let partition = store.create_partition(&clicks(0), TOPIC_ID, &config, LeaderEpoch(0)).unwrap();
    let large = batch_of(90_000, None);
    produce(&partition, large.clone());
    produce(&partition, batch(None));
    for max_bytes in [0, 1, 5000, large.len()] {
        let outcome = partition.read(Offset(3), max_bytes, ReadLimit::HighWatermark).unwrap();
        assert_eq!(outcome.records[61..], large[61..]);
    }
    let both = partition.read(Offset(0), 10 << 20, ReadLimit::HighWatermark).unwrap();
    assert_eq!(both.records.len(), large.len() + batch(None).len());
    let beyond = partition.read(Offset(21), 100, ReadLimit::HighWatermark).unwrap_err();
    assert_eq!(beyond.error_code(), streamledger_protocol::ErrorCode::OffsetOutOfRange);
}

#[test]
fn timestamps_are_found_across_segments() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = create(&store, 0);
    for n in 0..60_i64 {
        let mut builder = RecordBatchBuilder::with_capacity(1024);
        for m in 0..10 {
            builder.append(TimestampMs(n * 100 + m * 10), None, Some(&[0; 90]), &[]);
        }
        let seal = BatchSeal::default();
        produce(&partition, builder.seal(&seal, &mut CompressionScratch::new()).unwrap().bytes);
    }
    let find = |timestamp| {
        let found = partition.offset_for_timestamp(TimestampMs(timestamp), ReadLimit::LogEnd);
        found.unwrap().map(|found| (found.timestamp.0, found.offset.0))
    };
    for record in 0..600 {
        assert_eq!(find(record * 10), Some((record * 10, record)));
        assert_eq!(find(record * 10 - 9), Some((record * 10, record)));
    }
    assert_eq!(find(5991), None);
    let newest = partition.max_timestamp(ReadLimit::HighWatermark).unwrap().unwrap();
    assert_eq!((newest.timestamp.0, newest.offset.0), (5990, 599));
    partition.delete_records_before(Offset(300)).unwrap();
    assert_eq!(find(0), Some((3000, 300)));
}

#[test]
fn a_partition_deleted_while_it_is_flushed_takes_nothing_else_down() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(DiskFaults::new());
    let store = open_with(directory.path(), |config| config.faults = Some(Arc::clone(&faults)));
    let stays = create(&store, 0);
    produce(&stays, batch(None));
    // The first flush of a partition has four: topic id, names, its own name, records.
    for syncs in 0..4 {
        let n = i32::try_from(syncs).unwrap() + 1;
        let goes = create(&store, n);
        faults.freeze_after(syncs);
        let outcome = goes.append(batch(None), AppendOrigin::Client).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while !faults.is_frozen() {
            assert!(Instant::now() < until, "it is not flushed");
            std::thread::yield_now();
        }
        store.delete_partition(&clicks(n)).unwrap();
        faults.thaw();
        assert!(wait_for(goes.wait_flushed(outcome.last_offset)).unwrap().is_err());
        produce(&stays, batch(None));
    }
    assert_eq!(store.failure(), None);
    store.close().unwrap();
}
