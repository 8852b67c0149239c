//! What the coordinator decides, row by row: identities, fences, retries, time.

use std::collections::BTreeSet;

use super::*;
use crate::time::{MonotonicMs, Now};
use streamledger_protocol::{
    ErrorCode, PartitionIndex, ProducerEpoch, ProducerId, ProducerIdentity, TimestampMs,
    TopicPartition, TransactionalId,
};

const V1: ClientVersion = ClientVersion::V1;
const V2: ClientVersion = ClientVersion::V2;
const TIMEOUT_MS: i32 = 60_000;

fn at(ms: u64) -> Now {
    Now {
        wall: TimestampMs(1_700_000_000_000 + i64::try_from(ms).unwrap()),
        monotonic: MonotonicMs(ms),
    }
}

fn identity(id: i64, epoch: i16) -> ProducerIdentity {
    ProducerIdentity { id: ProducerId(id), epoch: ProducerEpoch(epoch) }
}

fn partitions(indexes: &[i32]) -> BTreeSet<TopicPartition> {
    indexes.iter().map(|index| TopicPartition::new("orders", PartitionIndex(*index))).collect()
}

fn id() -> TransactionalId {
    TransactionalId::from("job")
}

/// A coordinator, the log of its records, and the clock.
struct Bench {
    coordinator: TransactionCoordinator,
    log: Vec<TransactionRecord>,
    now: Now,
    next_producer_id: i64,
}

impl Bench {
    fn new() -> Self {
        Self {
            coordinator: TransactionCoordinator::new(TransactionConfig::default()),
            log: Vec::new(),
            now: at(1000),
            next_producer_id: 100,
        }
    }

    fn keep<R>(&mut self, decision: Decision<R>) -> Result<R, ErrorCode> {
        if let Some(record) = decision.record {
            // What is replayed is what the log gives back.
            let (key, value) = (record.encode_key().unwrap(), record.encode_value().unwrap());
            let read = TransactionRecord::decode(key, value).unwrap();
            assert_eq!(read, record);
            self.log.push(record);
            self.coordinator.replay(read, self.now);
        }
        decision.reply.map_err(TransactionRefusal::error_code)
    }

    fn initialize(
        &mut self,
        known: Option<ProducerIdentity>,
    ) -> Result<ProducerIdentity, ErrorCode> {
        let mut ask =
            Initialize { transactional_id: id(), timeout_ms: TIMEOUT_MS, known, fresh: None };
        let mut decision = self.coordinator.decide_initialize(&ask, self.now);
        if decision.reply == Err(TransactionRefusal::NeedsProducerId) {
            ask.fresh = Some(self.fresh());
            decision = self.coordinator.decide_initialize(&ask, self.now);
        }
        self.keep(decision)
    }

    fn fresh(&mut self) -> ProducerId {
        self.next_producer_id += 1;
        ProducerId(self.next_producer_id)
    }

    fn add(&mut self, producer: ProducerIdentity, indexes: &[i32]) -> Result<(), ErrorCode> {
        let wanted = partitions(indexes);
        let decision =
            self.coordinator.decide_add_partitions(&id(), producer, &wanted, V2, self.now);
        self.keep(decision)
    }

    fn end(
        &mut self,
        producer: ProducerIdentity,
        committed: bool,
        client: ClientVersion,
    ) -> Result<ProducerIdentity, ErrorCode> {
        let transactional_id = id();
        let mut ask = EndTransaction { transactional_id, producer, committed, client, fresh: None };
        let mut decision = self.coordinator.decide_end(&ask, self.now);
        if decision.reply == Err(TransactionRefusal::NeedsProducerId) {
            ask.fresh = Some(self.fresh());
            decision = self.coordinator.decide_end(&ask, self.now);
        }
        self.keep(decision)
    }

    /// Takes the markers that are due and reports them written.
    fn write_markers(&mut self) -> MarkerWrite {
        let write = self.coordinator.poll_markers().expect("markers are due");
        let now = self.now;
        let decision = self.coordinator.decide_markers_written(&id(), write.producer, now);
        self.keep(decision).unwrap();
        write
    }

    fn restart(&self) -> TransactionCoordinator {
        let mut loaded = TransactionCoordinator::new(TransactionConfig::default());
        for record in &self.log {
            loaded.replay(record.clone(), self.now);
        }
        loaded
    }

    fn state(&self) -> TransactionState {
        self.coordinator.transaction(&id()).map_or(TransactionState::Dead, |known| known.state)
    }
}

fn open(client_epoch: i16) -> (Bench, ProducerIdentity) {
    let mut bench = Bench::new();
    let mut producer = bench.initialize(None).unwrap();
    for _ in 0..client_epoch {
        producer = bench.initialize(None).unwrap();
    }
    bench.add(producer, &[0, 1]).unwrap();
    (bench, producer)
}

/// A transaction open under a producer of this epoch, however it got there.
fn open_at_epoch(epoch: i16) -> (Bench, ProducerIdentity) {
    let (mut bench, _) = open(0);
    let producer = identity(7, epoch);
    let present = bench.coordinator.transaction(&id()).unwrap().clone();
    let transaction = Some(Transaction { producer, ..present });
    let record = TransactionRecord { transactional_id: id(), transaction };
    bench.keep(Decision { record: Some(record), reply: Ok(()) }).unwrap();
    (bench, producer)
}

#[test]
fn a_v1_transaction_keeps_its_epoch() {
    let (mut bench, producer) = open(0);
    assert_eq!(producer, identity(101, 0));
    assert_eq!(bench.end(producer, true, V1), Ok(producer));
    assert_eq!(bench.state(), TransactionState::PrepareCommit);
    assert_eq!(bench.end(producer, true, V1), Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(bench.end(producer, false, V1), Err(ErrorCode::InvalidTxnState));
    assert_eq!(bench.add(producer, &[0]), Err(ErrorCode::ConcurrentTransactions));
    let written = bench.write_markers();
    assert_eq!((written.producer, written.committed), (producer, true));
    assert_eq!(written.partitions, Vec::from_iter(partitions(&[0, 1])));
    assert_eq!(bench.state(), TransactionState::CompleteCommit);
    assert_eq!(bench.end(producer, true, V1), Ok(producer), "a retry");
    assert_eq!(bench.end(producer, false, V1), Err(ErrorCode::InvalidTxnState));
    assert_eq!(bench.add(producer, &[2]), Ok(()), "the next one");
}

#[test]
fn a_v2_transaction_raises_its_epoch_and_a_retry_gets_the_same_answer() {
    let (mut bench, producer) = open(0);
    let next = identity(101, 1);
    assert_eq!(bench.end(producer, true, V2), Ok(next));
    assert_eq!(bench.end(producer, true, V2), Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(bench.end(producer, false, V2), Err(ErrorCode::InvalidTxnState));
    for committed in [true, false] {
        let early = bench.end(next, committed, V2);
        assert_eq!(early, Err(ErrorCode::ConcurrentTransactions), "markers first");
    }
    assert_eq!(bench.write_markers().producer, next, "markers fence what comes late");
    assert_eq!(bench.end(producer, true, V2), Ok(next), "failure 27: asked again");
    assert_eq!(bench.end(producer, false, V2), Err(ErrorCode::InvalidTxnState));
    assert_eq!(bench.end(next, true, V2), Err(ErrorCode::InvalidTxnState), "nothing was begun");
    bench.add(next, &[1]).unwrap();
    let late = bench.end(producer, true, V2);
    assert_eq!(late, Err(ErrorCode::ProducerFenced), "failure 28: a late end of the one before");
    assert_eq!(bench.end(next, false, V2), Ok(identity(101, 2)));
}

#[test]
fn under_v2_an_abort_without_a_transaction_raises_the_epoch() {
    let mut bench = Bench::new();
    let producer = bench.initialize(None).unwrap();
    assert_eq!(bench.end(producer, true, V2), Err(ErrorCode::InvalidTxnState));
    assert_eq!(bench.end(producer, false, V1), Err(ErrorCode::InvalidTxnState));
    assert_eq!(bench.end(producer, false, V2), Ok(identity(101, 1)));
    assert_eq!(bench.write_markers().partitions, []);
    assert_eq!(bench.end(producer, false, V2), Ok(identity(101, 1)), "a retry");
    assert_eq!(bench.end(identity(101, 1), false, V2), Ok(identity(101, 2)), "another abort");
}

#[test]
fn failure_12_who_takes_over_fences_the_older_for_good() {
    let (mut bench, old) = open(0);
    assert_eq!(bench.initialize(None), Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(bench.state(), TransactionState::PrepareAbort);
    assert_eq!(bench.add(old, &[0]), Err(ErrorCode::ProducerFenced));
    for client in [V1, V2] {
        for committed in [true, false] {
            assert_eq!(bench.end(old, committed, client), Err(ErrorCode::ProducerFenced));
        }
    }
    assert_eq!(bench.initialize(None), Err(ErrorCode::ConcurrentTransactions), "markers first");
    let written = bench.write_markers();
    assert!(!written.committed);
    assert_eq!(written.producer, identity(101, 1));
    for committed in [true, false] {
        assert_eq!(bench.end(old, committed, V2), Err(ErrorCode::ProducerFenced));
    }
    assert_eq!(bench.initialize(Some(old)), Err(ErrorCode::ProducerFenced));
    let new = bench.initialize(None).unwrap();
    assert_eq!(new, identity(101, 2), "KAFKA-19367: once for the fence, once for the new owner");
    assert_eq!(bench.add(old, &[0]), Err(ErrorCode::ProducerFenced));
    assert_eq!(bench.initialize(Some(old)), Err(ErrorCode::ProducerFenced));
    assert_eq!(bench.add(new, &[0]), Ok(()));
    assert_eq!(bench.initialize(Some(old)), Err(ErrorCode::ProducerFenced), "not even now");
    assert_eq!(bench.state(), TransactionState::Ongoing);
}

#[test]
fn a_producer_that_says_who_it_was_goes_on_under_the_next_epoch() {
    let mut bench = Bench::new();
    let first = bench.initialize(None).unwrap();
    let second = bench.initialize(Some(first)).unwrap();
    assert_eq!(second, identity(101, 1));
    assert_eq!(bench.initialize(Some(first)), Ok(second), "KIP-360: a retry");
    assert_eq!(bench.initialize(Some(second)), Ok(identity(101, 2)));
    assert_eq!(bench.initialize(Some(first)), Err(ErrorCode::ProducerFenced));
    assert_eq!(bench.initialize(Some(identity(55, 2))), Err(ErrorCode::ProducerFenced));
    bench.add(identity(101, 2), &[0]).unwrap();
    let late = bench.initialize(Some(second));
    assert_eq!(late, Err(ErrorCode::ProducerFenced), "a late retry fences nobody");
    assert_eq!(bench.state(), TransactionState::Ongoing);
    let own = bench.initialize(Some(identity(101, 2)));
    assert_eq!(own, Err(ErrorCode::ConcurrentTransactions), "its own transaction is aborted first");
    bench.write_markers();
    assert_eq!(bench.initialize(Some(identity(101, 3))), Ok(identity(101, 4)));
}

#[test]
fn a_retry_of_a_bump_is_known_after_a_restart_too() {
    let mut bench = Bench::new();
    let first = bench.initialize(None).unwrap();
    let second = bench.initialize(Some(first)).unwrap();
    bench.coordinator = bench.restart();
    assert_eq!(bench.initialize(Some(first)), Ok(second));
    bench.add(second, &[0]).unwrap();
    let third = bench.end(second, true, V2).unwrap();
    bench.write_markers();
    bench.coordinator = bench.restart();
    assert_eq!(bench.end(second, true, V2), Ok(third), "failure 27 across a restart");
}

#[test]
fn failure_10_a_used_up_epoch_leads_to_a_fresh_producer_id() {
    let (mut bench, producer) = open_at_epoch(i16::MAX - 1);
    let next = bench.end(producer, true, V2).unwrap();
    assert_eq!(next, identity(102, 0));
    assert_eq!(bench.write_markers().producer, identity(7, i16::MAX), "under the old id");
    assert_eq!(bench.end(producer, true, V2), Ok(next), "a retry");
    assert_eq!(bench.add(next, &[0]), Ok(()));
    assert_eq!(bench.end(producer, true, V2), Err(ErrorCode::InvalidProducerIdMapping));

    let (mut bench, producer) = open_at_epoch(i16::MAX - 1);
    assert_eq!(bench.end(producer, true, V1), Ok(producer), "v1 goes on under it");
    bench.write_markers();
    let next = bench.initialize(Some(producer)).unwrap();
    assert_eq!(next, identity(102, 0));
    assert_eq!(bench.initialize(Some(producer)), Ok(next), "a retry");

    let (mut bench, producer) = open_at_epoch(i16::MAX - 1);
    assert_eq!(bench.initialize(None), Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(bench.write_markers().producer, identity(7, i16::MAX), "the epoch kept for fences");
    assert_eq!(bench.initialize(Some(producer)), Err(ErrorCode::ProducerFenced));
    assert_eq!(bench.initialize(None), Ok(identity(102, 0)));
}

#[test]
fn failure_31_a_transaction_open_for_too_long_is_aborted_and_its_commit_refused() {
    let (mut bench, producer) = open(0);
    assert_eq!(bench.coordinator.next_wakeup(), Some(MonotonicMs(61_000)));
    bench.now = at(60_999);
    assert_eq!(bench.coordinator.decide_due(bench.now), None);
    bench.now = at(61_000);
    let decision = bench.coordinator.decide_due(bench.now).unwrap();
    bench.keep(decision).unwrap();
    assert_eq!(bench.state(), TransactionState::PrepareAbort);
    assert_eq!(bench.end(producer, true, V2), Err(ErrorCode::InvalidTxnState));
    assert_eq!(bench.end(producer, true, V1), Err(ErrorCode::ProducerFenced));
    assert_eq!(bench.write_markers().producer, identity(101, 1));
    assert_eq!(bench.end(producer, true, V2), Err(ErrorCode::InvalidTxnState));
    assert_eq!(bench.add(producer, &[0]), Err(ErrorCode::ProducerFenced));
    // KIP-588: nobody else took over, so it may abort, or say who it was, and go on.
    assert_eq!(bench.end(producer, false, V2), Ok(identity(101, 1)));
    assert_eq!(bench.initialize(Some(producer)), Ok(identity(101, 1)));
}

#[test]
fn at_the_last_epoch_a_time_out_fences_for_good() {
    let (mut bench, producer) = open_at_epoch(i16::MAX - 1);
    bench.now = at(70_000);
    let decision = bench.coordinator.decide_due(bench.now).unwrap();
    bench.keep(decision).unwrap();
    assert_eq!(bench.write_markers().producer, identity(7, i16::MAX));
    assert_eq!(bench.end(producer, false, V2), Err(ErrorCode::ProducerFenced));
    assert_eq!(bench.initialize(None), Ok(identity(102, 0)));
}

#[test]
fn failure_46_a_wall_clock_that_jumps_moves_no_time_out() {
    let (mut bench, producer) = open(0);
    bench.now = Now { wall: TimestampMs(0), monotonic: MonotonicMs(2000) };
    bench.add(producer, &[5]).unwrap();
    assert_eq!(bench.coordinator.next_wakeup(), Some(MonotonicMs(61_000)));
    // At a restart only the wall clock tells, within the time-out.
    assert_eq!(bench.restart().next_wakeup(), Some(MonotonicMs(62_000)));
    bench.now = at(1_000_000);
    assert_eq!(bench.restart().next_wakeup(), Some(MonotonicMs(1_000_000)), "long due");
}

#[test]
fn an_id_that_is_not_used_is_forgotten_after_a_week() {
    let (mut bench, producer) = open(0);
    bench.end(producer, true, V1).unwrap();
    bench.write_markers();
    let week = 7 * 24 * 3600 * 1000;
    bench.now = at(1000 + week - 1);
    assert_eq!(bench.coordinator.decide_due(bench.now), None);
    bench.now = at(1000 + week);
    let decision = bench.coordinator.decide_due(bench.now).unwrap();
    assert_eq!(decision.record.as_ref().unwrap().transaction, None);
    bench.keep(decision).unwrap();
    assert_eq!(bench.state(), TransactionState::Dead);
    assert_eq!(bench.coordinator.next_wakeup(), None);
    assert_eq!(bench.add(producer, &[0]), Err(ErrorCode::InvalidProducerIdMapping));
    assert_eq!(bench.end(producer, true, V1), Err(ErrorCode::InvalidProducerIdMapping));
    assert_eq!(bench.restart().id_count(), 0);
}

#[test]
fn failures_29_and_30_a_restart_goes_on_with_the_markers() {
    let (mut bench, producer) = open(0);
    assert_eq!(bench.restart().poll_markers(), None, "29: added, not ended");
    let mut loaded = bench.restart();
    assert!(loaded.decide_due(at(61_000)).is_some(), "and timed out if nobody ends it");
    bench.end(producer, true, V2).unwrap();
    loaded = bench.restart();
    let again = loaded.poll_markers().expect("30: decided, so the markers are written again");
    assert_eq!(Some(&again), bench.coordinator.poll_markers().as_ref());
    assert_eq!(loaded.poll_markers(), None, "once");
    let decision = bench.coordinator.decide_markers_written(&id(), again.producer, bench.now);
    bench.keep(decision).unwrap();
    assert_eq!(bench.restart().poll_markers(), None, "complete");
    let outdated = bench.coordinator.decide_markers_written(&id(), again.producer, bench.now);
    assert_eq!(outdated.record, None, "reported twice, recorded once");
}

#[test]
fn a_partition_is_verified_only_in_the_transaction_it_was_added_to() {
    let (mut bench, producer) = open(0);
    let asked = Vec::from_iter(partitions(&[0, 9]));
    let verify = |bench: &Bench, producer| {
        bench.coordinator.verify(&id(), producer, &asked).map_err(TransactionRefusal::error_code)
    };
    let expected = Ok(vec![Verification::Added, Verification::NotAdded]);
    assert_eq!(verify(&bench, producer), expected);
    assert_eq!(verify(&bench, identity(101, 3)), Err(ErrorCode::ProducerFenced));
    assert_eq!(verify(&bench, identity(9, 0)), Err(ErrorCode::InvalidProducerIdMapping));
    bench.end(producer, true, V1).unwrap();
    assert_eq!(verify(&bench, producer), Err(ErrorCode::ConcurrentTransactions));
    bench.write_markers();
    assert_eq!(verify(&bench, producer), Ok(vec![Verification::NotAdded; 2]));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let bench = Bench::new();
    let ask = |transactional_id: &str, timeout_ms| Initialize {
        transactional_id: transactional_id.into(),
        timeout_ms,
        known: None,
        fresh: Some(ProducerId(1)),
    };
    let refused = |ask| bench.coordinator.decide_initialize(&ask, bench.now).reply.unwrap_err();
    assert_eq!(refused(ask("", 1)).error_code(), ErrorCode::InvalidRequest);
    for timeout_ms in [-1, 0, 900_001] {
        let refusal = refused(ask("a", timeout_ms));
        assert_eq!(refusal.error_code(), ErrorCode::InvalidTransactionTimeout);
    }
    let mut full =
        TransactionCoordinator::new(TransactionConfig { ids_max: 1, ..Default::default() });
    let first = full.decide_initialize(&ask("a", 1), bench.now).record.unwrap();
    full.replay(first, bench.now);
    let second = full.decide_initialize(&ask("b", 1), bench.now);
    assert_eq!(second.reply, Err(TransactionRefusal::TooManyIds), "failure 58");
}
