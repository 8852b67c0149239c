//! The end of a run: everything is closed, cut off from power once more, and held against what was
//! sent.

use std::task::{Poll, Waker};

use streamledger_broker_core::log::ReadLimit;
use streamledger_client_core::sender::Event;
use streamledger_protocol::Offset;

use crate::disk::CrashKind;
use crate::oracle::{Comparison, Found, records_in};
use crate::report::{Promise, Report};
use crate::world::World;

/// How much a reader asks for at once.
const READ_BYTES: usize = 10_000;

impl World {
    /// Closes the producers once all is sent, all has ended and nothing goes wrong any more.
    pub(crate) fn begin_to_close(&mut self) {
        let done = self.faults_over
            && !self.closing
            && self.ledger.unresolved() == 0
            && self.clients.iter().all(crate::client::Client::caller_is_done)
            && self.transactions_are_over();
        if !done {
            return;
        }
        self.closing = true;
        self.note(format_args!("all is sent, and all has ended"));
        for client in 0..self.clients.len() {
            self.clients[client].accumulator.close();
            self.clients[client].closed = true;
            self.tell(client, Event::Closing);
            self.tell(client, Event::Wake);
        }
    }

    /// Everything a partition's log holds, read as a follower would.
    pub(crate) fn read_all(&mut self, slot: usize) -> Result<Vec<u8>, String> {
        let mut stored = Vec::new();
        let mut from = Offset::ZERO;
        loop {
            let piece = self.partitions[slot].read(from, READ_BYTES, ReadLimit::LogEnd)?;
            if piece.is_empty() {
                return Ok(stored);
            }
            let last = records_in(&piece)?.last().map(|found| found.offset);
            from = last.ok_or("a batch without records")?.next();
            stored.extend(piece);
        }
    }

    /// Holds a partition against what was sent. Gives the number of records compared.
    pub(crate) fn compare_with_ledger(&mut self, slot: usize) -> u64 {
        let found = match self.read_all(slot).and_then(|stored| records_in(&stored)) {
            Ok(found) => found,
            Err(error) => {
                let text = format!("partition {slot}: {error}");
                self.violate(Promise::ContentIsWhatWasSent, text);
                return 0;
            }
        };
        let mut lives: Vec<&[Found]> =
            self.buried.get(&slot).into_iter().flatten().map(Vec::as_slice).collect();
        lives.push(&found);
        let (topic, partition) = (self.partitions[slot].topic, self.partitions[slot].index);
        let mut broken = Vec::new();
        let comparison = Comparison { ledger: &self.ledger, topic, partition, lives };
        let compared = comparison.run(&mut broken);
        let seen = &self.consumers[slot].seen;
        let contents = found.iter().filter_map(|found| found.content.as_ref());
        let kept = contents.map_while(crate::records::Content::number);
        if !kept.take(seen.len()).eq(seen.iter().copied()) {
            let text = format!("partition {slot} no longer begins with what a consumer read");
            broken.push((Promise::SeenIsKept, text));
        }
        for (promise, text) in broken {
            self.violate(promise, text);
        }
        compared
    }

    /// Holds everything against everything.
    pub(crate) fn conclude(mut self) -> Report {
        if self.violations.is_empty() {
            self.check_producers();
        }
        if self.violations.is_empty() {
            self.check_groups_log();
        }
        if self.violations.is_empty() {
            self.check_logs();
        }
        if self.violations.is_empty() {
            self.check_transactions();
        }
        if self.counters.compared == 0 && self.violations.is_empty() {
            self.violate(Promise::SomethingIsCompared, "no record was compared".to_owned());
        }
        self.counters.rolls = self.rolls();
        Report {
            seed: self.plan.seed,
            violations: std::mem::take(&mut self.violations),
            counters: self.counters,
            trace_hash: self.trace.hash(),
            trace: self.trace.take_lines(),
            ended: self.now,
        }
    }

    fn check_producers(&mut self) {
        let unresolved = self.ledger.unresolved_numbers();
        if !unresolved.is_empty() {
            let text = format!("records {unresolved:?} never ended");
            self.violate(Promise::EverySendResolves, text);
        }
        let mut broken = Vec::new();
        let living = self.clients.iter().enumerate().filter(|(_, client)| !client.dead);
        for (client, producer) in living {
            let flush = |flush: &u64| producer.accumulator.poll_flushed(*flush, Waker::noop());
            let flushed = producer.flushes.iter().all(|number| flush(number) == Poll::Ready(()));
            if !flushed || !producer.sender.is_idle() || !producer.in_flight.is_empty() {
                let text = format!("client {client}: flushed {flushed}, {:?}", producer.sender);
                broken.push((Promise::EverySendResolves, text));
            }
            if producer.reserved_bytes() > 0 {
                let text = format!("client {client} keeps {} bytes", producer.reserved_bytes());
                broken.push((Promise::MemoryIsBounded, text));
            }
            for (number, delivery) in &producer.deliveries {
                let told = delivery.result().map(|result| result.is_ok());
                let known = self.ledger.get(*number).and_then(|sent| sent.end);
                let acked = matches!(known, Some(crate::oracle::End::Acked { .. }));
                if told != Some(acked) {
                    let text = format!("record {number}: the future says {told:?}");
                    broken.push((Promise::MetadataIsTrue, text));
                }
            }
        }
        for (promise, text) in broken {
            self.violate(promise, text);
        }
    }

    /// Cuts the power of all brokers once more, and compares what is left.
    fn check_logs(&mut self) {
        for slot in 0..self.partitions.len() {
            if self.partitions[slot].log.is_some() {
                self.partitions[slot].crash(CrashKind::PowerCut, &mut self.disk_dice);
            }
            let now = self.now.broker_now();
            if let Err(damage) = self.partitions[slot].recover(now, &mut self.disk_dice) {
                self.violate(Promise::LogOpens, format!("partition {slot}: {damage}"));
                continue;
            }
            if slot < self.cluster.callers_slots() {
                self.counters.compared += self.compare_with_ledger(slot);
            }
        }
    }
}
