//! Records as lines of text, the one form that every peer program reads and writes.
//!
//! `topic partition offset timestamp key value headers`, tab between; bytes in hex, `~` for null
//! or not given; headers are `name=value` with both in hex, a comma between.

use crate::failure::{Failure, Outcome};

const NULL: &str = "~";

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    pub(crate) topic: String,
    pub(crate) partition: Option<i32>,
    pub(crate) offset: Option<i64>,
    /// Milliseconds since 1970.
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Where a record was appended; the offset is -1 where the broker was asked for no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl Record {
    pub(crate) fn to(topic: &str) -> Self {
        let topic = topic.to_owned();
        let (key, value, headers) = (None, None, Vec::new());
        Self { topic, partition: None, offset: None, timestamp: None, key, value, headers }
    }

    pub(crate) fn to_line(&self) -> String {
        let number = |n: Option<i64>| n.map_or(NULL.to_owned(), |n| n.to_string());
        let headers: Vec<String> = self
            .headers
            .iter()
            .map(|(name, value)| format!("{}={}", hex(name.as_bytes()), nullable(value.as_deref())))
            .collect();
        [
            self.topic.clone(),
            number(self.partition.map(i64::from)),
            number(self.offset),
            number(self.timestamp),
            nullable(self.key.as_deref()),
            nullable(self.value.as_deref()),
            headers.join(","),
        ]
        .join("\t")
    }

    pub(crate) fn from_line(line: &str) -> Outcome<Self> {
        let broken = || Failure::new(format!("not a record line: {line}"));
        let fields: Vec<&str> = line.split('\t').collect();
        let [topic, partition, offset, timestamp, key, value, headers] = fields[..] else {
            return Err(broken());
        };
        let mut record = Self::to(topic);
        record.partition = number(partition)?;
        record.offset = number(offset)?;
        record.timestamp = number(timestamp)?;
        record.key = bytes(key)?;
        record.value = bytes(value)?;
        for header in headers.split(',').filter(|header| !header.is_empty()) {
            let (name, value) = header.split_once('=').ok_or_else(broken)?;
            let name = String::from_utf8(bytes(name)?.ok_or_else(broken)?)?;
            record.headers.push((name, bytes(value)?));
        }
        Ok(record)
    }
}

impl Ack {
    pub(crate) fn from_line(line: &str) -> Outcome<Self> {
        let broken = || Failure::new(format!("not an ack line: {line}"));
        let fields: Vec<&str> = line.split('\t').collect();
        let [topic, partition, offset] = fields[..] else { return Err(broken()) };
        let partition = partition.parse().map_err(|_| broken())?;
        Ok(Self { topic: topic.to_owned(), partition, offset: offset.parse()? })
    }
}

/// Reads what a peer printed, ignoring a logger's chatter (`SLF4J: ...`).
pub(crate) fn read_lines<T>(text: &str, parse: fn(&str) -> Outcome<T>) -> Outcome<Vec<T>> {
    text.lines().filter(|line| line.contains('\t')).map(parse).collect()
}

pub(crate) fn lines_of<'a>(records: impl IntoIterator<Item = &'a Record>) -> String {
    records.into_iter().map(|record| record.to_line() + "\n").collect()
}

fn nullable(value: Option<&[u8]>) -> String {
    value.map_or(NULL.to_owned(), hex)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

fn number<N: std::str::FromStr>(field: &str) -> Outcome<Option<N>> {
    if field == NULL {
        return Ok(None);
    }
    field.parse().map(Some).map_err(|_| Failure::new(format!("not a number: {field}")))
}

fn bytes(field: &str) -> Outcome<Option<Vec<u8>>> {
    if field == NULL {
        return Ok(None);
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = field.as_bytes().chunks(2);
    let decoded: Option<Vec<u8>> = pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect();
    decoded.map(Some).ok_or_else(|| Failure::new(format!("not hex: {field}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_null_empty_and_repeated_headers_apart() {
        let mut record = Record::to("clicks");
        assert_eq!(record.to_line(), "clicks\t~\t~\t~\t~\t~\t");
        record.partition = Some(2);
        record.offset = Some(41);
        record.timestamp = Some(1_700_000_000_000);
        record.key = Some(Vec::new());
        record.value = Some(vec![0, 9, 10, 255]);
        record.headers = vec![
            ("a".into(), Some(b"1".to_vec())),
            ("a".into(), None),
            ("b".into(), Some(Vec::new())),
        ];
        let line = record.to_line();
        assert_eq!(line, "clicks\t2\t41\t1700000000000\t\t00090aff\t61=31,61=~,62=");
        assert_eq!(Record::from_line(&line).unwrap(), record);
    }

    #[test]
    fn broken_lines_are_named() {
        for broken in
            ["", "a\tb", "t\tx\t~\t~\t~\t~\t", "t\t~\t~\t~\t0\t~\t", "t\t~\t~\t~\t0g\t~\t"]
        {
            assert!(Record::from_line(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn chatter_between_the_lines_is_ignored() {
        let acks = read_lines("SLF4J: no logger\nclicks\t3\t17\n", Ack::from_line).unwrap();
        assert_eq!(acks, [Ack { topic: "clicks".into(), partition: 3, offset: 17 }]);
    }
}
