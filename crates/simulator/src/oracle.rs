//! What was sent, how it ended, and whether the logs agree: record by record.

use std::collections::{BTreeMap, BTreeSet};

use streamledger_protocol::record_batch::{RecordBatchRef, batches};
use streamledger_protocol::{Offset, PartitionIndex};

use crate::records::{Content, RecordNumber};
use crate::report::Promise;

/// Everything that callers sent in a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    records: Vec<Sent>,
    unresolved: usize,
}

/// One record that was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) client: usize,
    pub(crate) topic: usize,
    pub(crate) partition: PartitionIndex,
    pub(crate) content: Content,
    pub(crate) end: Option<End>,
}

/// How a record ended for its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Acked { offset: Option<Offset> },
    Failed { possibly_written: bool },
}

/// A record in a log.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) offset: Offset,
    /// What a producer wrote; none in a transaction's marker.
    pub(crate) content: Option<Content>,
}

impl Ledger {
    /// The number that the next record gets.
    pub(crate) fn next_number(&self) -> RecordNumber {
        RecordNumber::try_from(self.records.len()).unwrap_or(RecordNumber::MAX)
    }

    pub(crate) fn add(&mut self, sent: Sent) {
        self.records.push(sent);
        self.unresolved += 1;
    }

    pub(crate) fn get(&self, number: RecordNumber) -> Option<&Sent> {
        self.records.get(number as usize)
    }

    /// Notes a record's end; false if it had one already, or there is no such record.
    pub(crate) fn end(&mut self, number: RecordNumber, end: End) -> bool {
        let Some(sent) = self.records.get_mut(number as usize) else { return false };
        if sent.end.is_some() {
            return false;
        }
        sent.end = Some(end);
        self.unresolved -= 1;
        true
    }

    /// Every record sent so far.
    pub(crate) fn records(&self) -> &[Sent] {
        &self.records
    }

    /// The records of a client that have no end yet.
    pub(crate) fn unresolved_of(&self, client: usize) -> Vec<RecordNumber> {
        let of_client = |sent: &Sent| sent.client == client && sent.end.is_none();
        let numbered = (0..).zip(&self.records);
        numbered.filter(|(_, sent)| of_client(sent)).map(|(number, _)| number).collect()
    }

    pub(crate) fn unresolved(&self) -> usize {
        self.unresolved
    }

    /// The records without an end.
    pub(crate) fn unresolved_numbers(&self) -> Vec<RecordNumber> {
        let numbered = (0..).zip(&self.records);
        numbered.filter(|(_, sent)| sent.end.is_none()).map(|(number, _)| number).collect()
    }
}

/// The records in stored batches.
pub(crate) fn records_in(stored: &[u8]) -> Result<Vec<Found>, String> {
    let mut decompressor = streamledger_protocol::compression::Decompressor::default();
    let mut found = Vec::new();
    let mut rest = batches(stored);
    for batch in rest.by_ref() {
        let batch: RecordBatchRef<'_> = batch.map_err(|error| error.to_string())?;
        batch.verify_crc().map_err(|error| error.to_string())?;
        for record in batch.records(&mut decompressor).map_err(|error| error.to_string())? {
            let record = record.map_err(|error| error.to_string())?;
            let content = (!batch.header().attributes.is_control()).then(|| Content::read(&record));
            found.push(Found { offset: record.offset, content });
        }
    }
    if !rest.rest().is_empty() {
        return Err(format!("{} bytes behind the last whole batch", rest.rest().len()));
    }
    Ok(found)
}

/// Where a partition's records were found, over all lives of its topic.
pub(crate) struct Comparison<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) topic: usize,
    pub(crate) partition: PartitionIndex,
    /// What the log held in each life of the topic, the last one last.
    pub(crate) lives: Vec<&'a [Found]>,
}

/// A promise that a comparison found broken, and how.
pub(crate) type Broken = (Promise, String);

impl Comparison<'_> {
    /// Holds the logs against the ledger. Gives the number of records compared.
    pub(crate) fn run(&self, broken: &mut Vec<Broken>) -> u64 {
        let mut earlier: BTreeSet<(RecordNumber, Offset)> = BTreeSet::new();
        let mut places: BTreeMap<RecordNumber, Offset> = BTreeMap::new();
        let mut compared = 0;
        for life in &self.lives {
            // A topic that is made anew begins with nothing: what was in the old one may come
            // again.
            earlier.extend(std::mem::take(&mut places));
            let mut last_of_client: BTreeMap<usize, RecordNumber> = BTreeMap::new();
            for (place, found) in (0..).zip(*life) {
                if found.offset != Offset(place) {
                    let text = format!("{self}: offset {} where {place} is due", found.offset);
                    broken.push((Promise::ContentIsWhatWasSent, text));
                    return compared;
                }
                compared += 1;
                let Some(content) = &found.content else { continue };
                let recognised = self.recognise(found.offset, content, broken);
                let Some((number, sent)) = recognised else { continue };
                if let Some(first) = places.insert(number, found.offset) {
                    let at = found.offset;
                    let text = format!("{self}: record {number} at {first} and again at {at}");
                    broken.push((Promise::NothingTwice, text));
                }
                let before = last_of_client.insert(sent.client, number);
                if let Some(before) = before.filter(|before| *before > number) {
                    let at = found.offset;
                    let text = format!("{self}: record {number} behind {before}, at {at}");
                    broken.push((Promise::OrderHolds, text));
                }
            }
        }
        self.check_ends(&earlier, &places, broken);
        compared
    }

    fn recognise(
        &self,
        offset: Offset,
        content: &Content,
        broken: &mut Vec<Broken>,
    ) -> Option<(RecordNumber, &Sent)> {
        let known = content.number().and_then(|number| {
            let sent = self.ledger.get(number)?;
            Some((number, sent))
        });
        let Some((number, sent)) = known else {
            let text = format!("{self}: a record that nobody sent at {offset}");
            broken.push((Promise::ContentIsWhatWasSent, text));
            return None;
        };
        if (sent.topic, sent.partition) != (self.topic, self.partition) {
            let text = format!("{self}: record {number} belongs to another partition");
            broken.push((Promise::ContentIsWhatWasSent, text));
        }
        if sent.content != *content {
            let text = format!("{self}: record {number} at {offset} is changed");
            broken.push((Promise::ContentIsWhatWasSent, text));
        }
        Some((number, sent))
    }

    fn check_ends(
        &self,
        earlier: &BTreeSet<(RecordNumber, Offset)>,
        places: &BTreeMap<RecordNumber, Offset>,
        broken: &mut Vec<Broken>,
    ) {
        for (number, sent) in (0..).zip(&self.ledger.records) {
            if (sent.topic, sent.partition) != (self.topic, self.partition) {
                continue;
            }
            if let Some(End::Acked { offset: Some(offset) }) = sent.end
                && earlier.contains(&(number, offset))
            {
                continue;
            }
            match (sent.end, places.get(&number)) {
                (Some(End::Acked { offset }), None) => {
                    let offset = offset.unwrap_or(Offset::NONE);
                    let text =
                        format!("{self}: record {number}, acknowledged at {offset}, is gone");
                    broken.push((Promise::AckedIsKept, text));
                }
                (Some(End::Acked { offset: Some(offset) }), Some(place)) if offset != *place => {
                    let text = format!("{self}: record {number} at {place}, not at {offset}");
                    broken.push((Promise::AckedIsKept, text));
                }
                (Some(End::Failed { possibly_written: false }), Some(place)) => {
                    let text = format!("{self}: record {number}, \"not written\", is at {place}");
                    broken.push((Promise::NotWrittenIsTrue, text));
                }
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "topic {} partition {}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use streamledger_protocol::TimestampMs;

    use super::*;

    fn content(number: RecordNumber) -> Content {
        Content::of(number, TimestampMs(i64::from(number)), 5)
    }

    fn ledger(ends: &[End]) -> Ledger {
        let mut ledger = Ledger::default();
        for (number, end) in (0..).zip(ends) {
            let (topic, partition, client) = (0, PartitionIndex(0), 0);
            let content = content(number);
            ledger.add(Sent { client, topic, partition, content, end: None });
            assert!(ledger.end(number, *end));
        }
        ledger
    }

    fn log(numbers: &[RecordNumber]) -> Vec<Found> {
        let found = |(offset, number): (i64, &RecordNumber)| Found {
            offset: Offset(offset),
            content: Some(content(*number)),
        };
        (0..).zip(numbers).map(found).collect()
    }

    fn promises(ends: &[End], numbers: &[RecordNumber]) -> Vec<Promise> {
        let (ledger, log) = (ledger(ends), log(numbers));
        let partition = PartitionIndex(0);
        let comparison =
            Comparison { ledger: &ledger, topic: 0, partition, lives: vec![log.as_slice()] };
        let mut broken = Vec::new();
        comparison.run(&mut broken);
        broken.into_iter().map(|(promise, _)| promise).collect()
    }

    fn acked(offset: i64) -> End {
        End::Acked { offset: Some(Offset(offset)) }
    }

    const UNKNOWN: End = End::Failed { possibly_written: true };
    const NOT_WRITTEN: End = End::Failed { possibly_written: false };

    #[test]
    fn a_log_that_is_as_it_was_promised_breaks_nothing() {
        assert_eq!(promises(&[acked(0), UNKNOWN, acked(1), NOT_WRITTEN], &[0, 2]), []);
        assert_eq!(promises(&[acked(0), UNKNOWN, acked(2)], &[0, 1, 2]), []);
    }

    #[test]
    fn each_broken_promise_is_named() {
        assert_eq!(promises(&[acked(0), acked(1)], &[0]), [Promise::AckedIsKept]);
        assert_eq!(promises(&[acked(1), UNKNOWN], &[0, 1]), [Promise::AckedIsKept]);
        assert_eq!(promises(&[NOT_WRITTEN], &[0]), [Promise::NotWrittenIsTrue]);
        assert_eq!(promises(&[UNKNOWN], &[0, 0]), [Promise::NothingTwice]);
        assert_eq!(promises(&[UNKNOWN, UNKNOWN], &[1, 0]), [Promise::OrderHolds]);
        assert_eq!(promises(&[UNKNOWN], &[0, 7]), [Promise::ContentIsWhatWasSent]);
        assert_eq!(promises(&[UNKNOWN; 13], &[12]), []);
    }
}
