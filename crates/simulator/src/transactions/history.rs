//! What was written in which transaction, how each ended for its caller, and whether a
//! read-committed reader sees exactly that.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use streamledger_broker_core::log::ReadLimit;
use streamledger_broker_core::transaction::TransactionState;
use streamledger_client_core::consumer::{Fetched, Generation, PartitionReader};
use streamledger_protocol::compression::Decompressor;
use streamledger_protocol::messages::fetch::AbortedTransaction;
use streamledger_protocol::record_batch::RecordBatchHeader;
use streamledger_protocol::{IsolationLevel, Offset};

use super::inputs::Inputs;
use crate::records::{Content, RecordNumber};
use crate::report::Promise;
use crate::world::World;

/// How a transaction stands, as far as its caller knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nobody asked for a commit, or it was refused: nothing of it may ever be seen.
    Open,
    /// A commit was asked for: all or nothing.
    CommitAsked,
    /// The commit was acknowledged: all of it is to be seen.
    Committed,
    /// The abort was acknowledged.
    Hidden,
}

#[derive(Debug)]
struct Written {
    /// The number of the transactional id.
    id: usize,
    records: Vec<RecordNumber>,
    fate: Fate,
}

/// All transactions of a run, and what readers have seen of them.
#[derive(Debug)]
pub(super) struct History {
    transactions: Vec<Written>,
    of_record: BTreeMap<RecordNumber, usize>,
    /// By slot.
    readers: Vec<Reader>,
    pub(super) inputs: Inputs,
}

/// Somebody who reads committed records of a partition while it is written.
#[derive(Debug, Clone, Default)]
struct Reader {
    next: Offset,
    seen: Vec<RecordNumber>,
}

impl History {
    pub(super) fn new(slots: usize) -> Self {
        let readers = vec![Reader::default(); slots];
        let inputs = Inputs::default();
        Self { transactions: Vec::new(), of_record: BTreeMap::new(), readers, inputs }
    }

    pub(super) fn begin(&mut self, id: usize) -> usize {
        self.transactions.push(Written { id, records: Vec::new(), fate: Fate::Open });
        self.transactions.len() - 1
    }

    /// A record was written in a transaction; of an input, if its producer consumes.
    pub(super) fn add(
        &mut self,
        transaction: usize,
        number: RecordNumber,
        input: Option<(usize, u64)>,
    ) {
        let _ = input.map(|input| self.add_input(number, input));
        self.transactions[transaction].records.push(number);
        self.of_record.insert(number, transaction);
    }

    pub(super) fn decide(&mut self, transaction: usize, fate: Fate) {
        self.transactions[transaction].fate = fate;
    }

    pub(super) fn fate(&self, transaction: usize) -> Fate {
        self.transactions[transaction].fate
    }
}

impl World {
    /// Whether no transaction is open or half ended, and no producer is about to start.
    pub(crate) fn transactions_are_over(&self) -> bool {
        let Some(transactions) = &self.transactions else { return true };
        let is_over = |state: TransactionState| match state {
            TransactionState::Ongoing
            | TransactionState::PrepareCommit
            | TransactionState::PrepareAbort => false,
            TransactionState::Empty
            | TransactionState::CompleteCommit
            | TransactionState::CompleteAbort
            | TransactionState::Dead => true,
        };
        let mut states = transactions.coordinator.core.transactions();
        transactions.starting == 0
            && self.coordinator_is_loaded()
            && (!self.plan.is_processing() || self.groups_are_loaded())
            && states.all(|(_, transaction)| is_over(transaction.state))
            && self.partitions.iter().all(|partition| match &partition.log {
                Some(log) => log.last_stable_offset() == log.log_end_offset(),
                None => false,
            })
    }

    /// Lets a read-committed reader go on.
    pub(crate) fn read_committed_on(&mut self, slot: usize) {
        let Some(transactions) = &mut self.transactions else { return };
        let mut reader = std::mem::take(&mut transactions.history.readers[slot]);
        let max_bytes = self.work_dice.pick(&[1, 700, 100_000]);
        let before = reader.seen.len();
        if let Err(error) = self.read_committed(slot, &mut reader, max_bytes) {
            self.violate(Promise::SeenIsKept, format!("partition {slot}: {error}"));
        }
        self.counters.read_committed += (reader.seen.len() - before) as u64;
        let Some(transactions) = &mut self.transactions else { return };
        let history = &mut transactions.history;
        let is_hidden = |number: &&RecordNumber| {
            let fate = history.of_record.get(number).map(|transaction| history.fate(*transaction));
            matches!(fate, Some(Fate::Open | Fate::Hidden))
        };
        let hidden: Vec<RecordNumber> =
            reader.seen[before..].iter().filter(is_hidden).copied().collect();
        history.readers[slot] = reader;
        if !hidden.is_empty() {
            let text = format!("partition {slot}: {hidden:?} are read, and not committed");
            self.violate(Promise::UncommittedIsHidden, text);
        }
    }

    /// Reads once, as a broker and a consumer do it; false if there was nothing to read.
    fn read_committed(
        &mut self,
        slot: usize,
        reader: &mut Reader,
        max_bytes: usize,
    ) -> Result<bool, String> {
        let stored = self.partitions[slot].read(reader.next, max_bytes, ReadLimit::LastStable)?;
        let Some(log) = self.partitions[slot].log.as_ref().filter(|_| !stored.is_empty()) else {
            return Ok(false);
        };
        let mut end = reader.next;
        let mut rest = stored.as_slice();
        while let Ok(header) = RecordBatchHeader::parse(rest) {
            end = header.next_offset();
            rest = rest.get(header.batch_bytes()..).unwrap_or_default();
        }
        let aborted = log.producers().transactions().aborted_between(reader.next, end);
        let aborted = aborted.into_iter().map(|transaction| AbortedTransaction {
            producer_id: transaction.producer_id,
            first_offset: transaction.first_offset,
        });
        let topic = &self.cluster.topics[self.partitions[slot].topic];
        let index = self.partitions[slot].index;
        let fetched = Fetched {
            topic_partition: streamledger_protocol::TopicPartition::new(topic.name.clone(), index),
            generation: Generation(0),
            offset: reader.next,
            bytes: stored.len(),
            records: Bytes::from(stored),
            aborted: aborted.collect(),
            high_watermark: log.high_watermark(),
        };
        let mut read = PartitionReader::new(fetched, IsolationLevel::ReadCommitted, true);
        let seen = &mut reader.seen;
        let mut decompressor = Decompressor::default();
        read.read(usize::MAX, &mut decompressor, |_, record| {
            seen.extend(Content::read(record).number());
        })
        .map_err(|fault| fault.fault.to_string())?;
        reader.next = read.position();
        Ok(true)
    }

    /// Holds what a read-committed reader sees in the end against what was promised.
    pub(crate) fn check_transactions(&mut self) {
        let Some(slots) = self.transactions.as_ref().map(|t| t.coordinator.seat.slot) else {
            return;
        };
        let mut seen = Vec::with_capacity(slots);
        for slot in 0..slots {
            let mut reader = Reader::default();
            loop {
                match self.read_committed(slot, &mut reader, 10_000) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        let text = format!("partition {slot}: {error}");
                        return self.violate(Promise::SeenIsKept, text);
                    }
                }
            }
            let end = self.log_end_offset(slot);
            if reader.next != end {
                let text = format!("partition {slot} is stable up to {} of {end}", reader.next);
                self.violate(Promise::NothingHangs, text);
            }
            seen.push(reader.seen);
        }
        let Some(transactions) = &self.transactions else { return };
        let mut broken = Vec::new();
        transactions.history.compare(&seen, &mut broken);
        let compared = transactions.history.transactions.len() as u64;
        self.counters.transactions_compared += compared;
        for (promise, text) in broken {
            self.violate(promise, text);
        }
        self.check_inputs(&seen);
        if compared == 0 {
            self.violate(Promise::SomethingIsCompared, "no transaction was compared".to_owned());
        }
    }
}

impl History {
    /// `seen` is what a reader sees of each partition, in order.
    fn compare(&self, seen: &[Vec<RecordNumber>], broken: &mut Vec<(Promise, String)>) {
        let mut all = BTreeSet::new();
        for (slot, (of_partition, reader)) in seen.iter().zip(&self.readers).enumerate() {
            if !of_partition.starts_with(&reader.seen) {
                let text = format!("partition {slot} no longer begins with what was read of it");
                broken.push((Promise::SeenIsKept, text));
            }
            let mut last_of_id: BTreeMap<usize, RecordNumber> = BTreeMap::new();
            for number in of_partition {
                if !all.insert(*number) {
                    let text = format!("partition {slot}: record {number} is read twice");
                    broken.push((Promise::CommittedIsSeen, text));
                }
                let Some(transaction) = self.of_record.get(number) else { continue };
                let id = self.transactions[*transaction].id;
                let before = last_of_id.insert(id, *number);
                if let Some(before) = before.filter(|before| before > number) {
                    let text = format!("partition {slot}: record {number} behind {before}");
                    broken.push((Promise::CommittedIsSeen, text));
                }
            }
        }
        for (number, Written { records, fate, .. }) in self.transactions.iter().enumerate() {
            let of_all = records.len();
            let seen = records.iter().filter(|number| all.contains(number)).count();
            let promise = match fate {
                Fate::Committed if seen < of_all => Promise::CommittedIsSeen,
                Fate::Open | Fate::Hidden if seen > 0 => Promise::UncommittedIsHidden,
                Fate::CommitAsked if seen > 0 && seen < of_all => Promise::UncommittedIsHidden,
                _ => continue,
            };
            let text = format!(
                "transaction {number}, {fate:?}: {seen} of {of_all} records are read; {records:?}"
            );
            broken.push((promise, text));
        }
    }
}
