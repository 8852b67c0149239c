//! What the scenarios send, and the comparison of that with what was read back.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::record::{Ack, Record};
use crate::failure::{Failure, Outcome, ensure};

pub(crate) const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Partitions of the topics that [`motley`] is sent to.
pub(crate) const PARTITIONS: i32 = 3;

/// Now, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A small generator of bytes that no codec can shrink; the same for the same seed.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.next().to_le_bytes()).flatten().take(count).collect()
    }
}

/// Records of every shape: keys and values null, empty, text, binary, small and large; headers
/// none, several, repeated, null and empty; timestamps and partitions given.
pub(crate) fn motley(topic: &str, count: usize) -> Vec<Record> {
    let mut noise = Noise::seeded(7);
    let start = now_ms() - 3_600_000;
    let text = |s: &str| Some(s.as_bytes().to_vec());
    (0i32..)
        .take(count)
        .map(|i| {
            let mut record = Record::to(topic);
            record.partition = Some(i % PARTITIONS);
            record.timestamp = Some(start + i64::from(i));
            record.key = match i % 4 {
                0 => None,
                1 => Some(Vec::new()),
                2 => Some(format!("key-{}", i % 17).into_bytes()),
                _ => Some(noise.bytes(9)),
            };
            record.value = match i % 7 {
                0 => None,
                1 => Some(Vec::new()),
                2 => Some(noise.bytes(1024)),
                3 => Some(b"all the same ".repeat(600)),
                4 => Some((0..=255).collect()),
                _ => Some(format!("value {i}, größer, 値\tend").into_bytes()),
            };
            record.headers = match i % 5 {
                0 => vec![("trace".into(), text("4bf92f"))],
                1 => {
                    vec![("h".into(), text("1")), ("h".into(), text("2")), ("h".into(), text("1"))]
                }
                2 => vec![("none".into(), None), ("empty".into(), Some(Vec::new()))],
                _ => Vec::new(),
            };
            record
        })
        .collect()
}

/// Puts into each sent record where it was acked; fails unless the acks of each partition are
/// the next offsets in the order of sending.
pub(crate) fn placed(sent: &[Record], acks: &[Ack]) -> Outcome<Vec<Record>> {
    ensure!(sent.len() == acks.len(), "{} records sent, {} acked", sent.len(), acks.len());
    let mut next: BTreeMap<(&str, i32), i64> = BTreeMap::new();
    let mut placed = Vec::with_capacity(sent.len());
    for (record, ack) in sent.iter().zip(acks) {
        let asked = record.partition.is_none_or(|asked| asked == ack.partition);
        ensure!(asked && record.topic == ack.topic, "{record:?} was acked by {ack:?}");
        let next = next.entry((&ack.topic, ack.partition)).or_insert(ack.offset);
        ensure!(*next == ack.offset, "expected offset {next}, acked {ack:?}");
        *next += 1;
        let (partition, offset) = (Some(ack.partition), Some(ack.offset));
        placed.push(Record { partition, offset, ..record.clone() });
    }
    Ok(placed)
}

/// The offsets of the first records of their partitions, in the order of sending.
pub(crate) fn numbered(records: Vec<Record>) -> Vec<Record> {
    let mut next = [0; PARTITIONS as usize];
    let number = |mut record: Record| {
        let partition = record.partition.and_then(|p| usize::try_from(p).ok());
        if let Some(next) = partition.and_then(|p| next.get_mut(p)) {
            record.offset = Some(*next);
            *next += 1;
        }
        record
    };
    records.into_iter().map(number).collect()
}

/// Fails unless the same records were read, at the same places, in order within each partition.
/// A timestamp that was not given may be any within the last ten minutes.
pub(crate) fn same(expected: &[Record], read: Vec<Record>) -> Outcome<usize> {
    let mut last: BTreeMap<(String, Option<i32>), Option<i64>> = BTreeMap::new();
    for record in &read {
        let place = (record.topic.clone(), record.partition);
        let before = last.insert(place, record.offset).flatten();
        ensure!(before < record.offset, "read after offset {before:?}: {record:?}");
    }
    let by_place = |records: Vec<Record>| -> BTreeMap<_, Record> {
        records.into_iter().map(|r| ((r.topic.clone(), r.partition, r.offset), r)).collect()
    };
    if read.len() < expected.len() {
        return Err(Failure::new(format!("missing: {}", missing(expected, &read).join("; "))));
    }
    let (expected, mut read) = (by_place(expected.to_vec()), by_place(read));
    let count = expected.len();
    for (place, mut want) in expected {
        let got = read.remove(&place).ok_or_else(|| Failure::new(format!("missing: {want:?}")))?;
        let since = got.timestamp.map_or(i64::MAX, |at| now_ms() - at);
        if want.timestamp.is_none() && (-1000..600_000).contains(&since) {
            want.timestamp = got.timestamp;
        }
        ensure!(want == got, "sent {} but read {}", brief(&want), brief(&got));
    }
    let extra = read.len();
    ensure!(extra == 0, "{extra} more than were sent, the first {:?}", read.first_key_value());
    Ok(count)
}

/// What was not read at any place, by what is in the records: of each partition how many, and
/// which in the order of sending.
fn missing(expected: &[Record], read: &[Record]) -> Vec<String> {
    let content = |record: &Record| (record.key.clone(), record.value.clone());
    let place = |record: &Record| (record.topic.clone(), record.partition);
    let mut left: BTreeMap<_, usize> = BTreeMap::new();
    for record in read {
        *left.entry((place(record), content(record))).or_default() += 1;
    }
    let mut sent: BTreeMap<_, usize> = BTreeMap::new();
    let mut lost: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for record in expected {
        let number = sent.entry(place(record)).or_default();
        match left.get_mut(&(place(record), content(record))) {
            Some(count) if *count > 0 => *count -= 1,
            _ => lost.entry(place(record)).or_default().push(*number),
        }
        *number += 1;
    }
    let describe = |((topic, partition), numbers): (&(String, Option<i32>), &Vec<usize>)| {
        let (first, last) = (numbers.first().unwrap_or(&0), numbers.last().unwrap_or(&0));
        let (partition, count) = (partition.unwrap_or(-1), numbers.len());
        format!("{count} of {topic} {partition}, between number {first} and {last} as sent")
    };
    lost.iter().map(describe).collect()
}

/// A record line short enough to print.
fn brief(record: &Record) -> String {
    let line = record.to_line();
    if line.chars().count() <= 300 {
        line
    } else {
        line.chars().take(300).collect::<String>() + "…"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent() -> (Vec<Record>, Vec<Ack>) {
        let sent = motley("t", 9);
        let ack = |(i, r): (usize, &Record)| Ack {
            topic: "t".into(),
            partition: r.partition.unwrap(),
            offset: i64::try_from(i / 3).unwrap(),
        };
        let acks = sent.iter().enumerate().map(ack).collect();
        (sent, acks)
    }

    #[test]
    fn what_was_sent_and_read_alike_is_the_same() {
        let (sent, acks) = sent();
        let expected = placed(&sent, &acks).unwrap();
        assert_eq!(same(&expected, expected.clone()).unwrap(), 9);
    }

    #[test]
    fn a_lost_a_doubled_an_altered_and_a_swapped_record_are_all_found() {
        let (sent, acks) = sent();
        let expected = placed(&sent, &acks).unwrap();
        let mut read = expected.clone();
        read.remove(4);
        let said = same(&expected, read).unwrap_err().to_string();
        assert_eq!(said, "missing: 1 of t 1, between number 1 and 1 as sent");
        let mut read = expected.clone();
        read.push(Record { offset: Some(3), ..read[6].clone() });
        assert!(same(&expected, read).unwrap_err().to_string().starts_with("1 more"));
        let mut read = expected.clone();
        read[5].key = Some(b"other".to_vec());
        assert!(same(&expected, read).unwrap_err().to_string().starts_with("sent"));
        let mut read = expected.clone();
        read.swap(0, 3);
        assert!(same(&expected, read).unwrap_err().to_string().starts_with("read after"));
    }

    #[test]
    fn acks_out_of_order_are_found() {
        let (sent, mut acks) = sent();
        acks.swap(0, 3);
        assert!(placed(&sent, &acks).is_err());
        assert!(placed(&sent, &acks[1..]).is_err());
    }

    #[test]
    fn motley_records_hold_every_shape() {
        let records = motley("t", 140);
        assert!(records.iter().any(|r| r.key.is_none()));
        assert!(records.iter().any(|r| r.key.as_deref() == Some(b"")));
        assert!(records.iter().any(|r| r.value.is_none()));
        assert!(records.iter().any(|r| r.value.as_deref() == Some(b"")));
        assert!(records.iter().any(|r| r.headers.iter().any(|(_, value)| value.is_none())));
        assert!(records.iter().any(|r| r.headers.len() == 3));
    }

    #[test]
    fn offsets_count_within_each_partition() {
        let numbered = numbered(motley("t", 7));
        let offsets: Vec<i64> = numbered.iter().filter_map(|record| record.offset).collect();
        assert_eq!(offsets, [0, 0, 0, 1, 1, 1, 2]);
    }
}
