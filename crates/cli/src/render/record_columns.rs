//! What of a CSV row's columns becomes key, time, partition and headers of its record.

use super::headers::HeaderBuffer;
use super::json_buffer::{ESCAPE_GROWTH, JsonBuffer};
use super::{Rendered, partition_of_text};
use crate::input::{CsvRow, RowFault};
use crate::time::parse_timestamp;

/// Which columns of a CSV file give what, besides the value; by position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordColumns {
    /// The key: nothing, a column's text, or an object of several columns' texts.
    pub key: Vec<usize>,
    /// The record's time.
    pub timestamp: Option<usize>,
    /// The record's partition.
    pub partition: Option<usize>,
    /// The headers, in order.
    pub headers: Vec<HeaderColumn>,
    /// How many partitions the topic has, if that is known.
    pub partition_count: Option<i32>,
}

/// A column that is a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderColumn {
    /// The header's name.
    pub name: String,
    /// The column's position.
    pub column: usize,
}

/// Makes those parts of records. One lives as long as its file.
#[derive(Debug)]
pub struct RecordParts {
    columns: RecordColumns,
    names: Vec<String>,
    key: JsonBuffer,
    headers: HeaderBuffer,
}

impl RecordParts {
    /// For a file whose columns have these names.
    pub fn new(names: &[String], columns: RecordColumns) -> RecordParts {
        let headers = columns.headers.iter().map(|header| header.name.clone()).collect();
        RecordParts {
            columns,
            names: names.to_vec(),
            key: JsonBuffer::default(),
            headers: HeaderBuffer::new(headers),
        }
    }

    /// The row's record, with a value made of it.
    #[inline]
    pub fn record<'a>(
        &'a mut self,
        row: &CsvRow<'a>,
        value: &'a [u8],
    ) -> Result<Rendered<'a>, RowFault> {
        let RecordColumns { key, timestamp, partition, headers, partition_count } = &self.columns;
        let timestamp_ms = match *timestamp {
            None => None,
            Some(index) => {
                let text = row.column(index);
                let parsed = parse_timestamp(text);
                Some(parsed.ok_or_else(|| self.value_fault(index, text, "a point in time"))?)
            }
        };
        let partition = match *partition {
            None => None,
            Some(index) => {
                let text = row.column(index);
                let parsed = partition_of_text(text, *partition_count);
                let expected = "a partition of the topic";
                Some(parsed.ok_or_else(|| self.value_fault(index, text, expected))?)
            }
        };
        if !headers.is_empty() {
            self.headers.begin();
            for header in headers {
                let text = row.column(header.column);
                // An empty column is null: CSV can't tell them apart.
                self.headers.push(|bytes| {
                    bytes.extend_from_slice(text);
                    Ok::<bool, RowFault>(!text.is_empty())
                })?;
            }
        }
        let key = match *key.as_slice() {
            [] => None,
            [index] => Some(row.column(index)).filter(|key| !key.is_empty()),
            ref several => write_key(&mut self.key, &self.names, several, row),
        };
        let headers = self.headers.written();
        Ok(Rendered { key, value, timestamp_ms, partition, headers })
    }

    fn value_fault(&self, index: usize, text: &[u8], expected: &'static str) -> RowFault {
        RowFault::value(&self.names[index], text, expected)
    }
}

/// Writes a key of several columns: `{"a":"x","b":null}`. None if all of them are empty.
fn write_key<'a>(
    json: &'a mut JsonBuffer,
    names: &[String],
    columns: &[usize],
    row: &CsvRow<'_>,
) -> Option<&'a [u8]> {
    let bytes = |index: usize| names[index].len() + row.column(index).len();
    let text_bytes: usize = columns.iter().map(|index| bytes(*index)).sum();
    json.begin(text_bytes * ESCAPE_GROWTH + columns.len() * 8 + 2);
    let mut has_value = false;
    for (place, &index) in columns.iter().enumerate() {
        json.raw(if place == 0 { b"{\"" } else { b",\"" });
        json.escaped(names[index].as_bytes());
        let text = row.column(index);
        if text.is_empty() {
            json.raw(b"\":null");
            continue;
        }
        has_value = true;
        json.raw(b"\":\"");
        json.escaped(text);
        json.raw(b"\"");
    }
    json.raw(b"}");
    has_value.then(|| json.written())
}

/// A row as its own value, as the file has it. One lives as long as its file.
#[derive(Debug)]
pub struct RawRenderer(RecordParts);

impl RawRenderer {
    /// For a file whose columns have these names.
    pub fn new(names: &[String], record: RecordColumns) -> RawRenderer {
        RawRenderer(RecordParts::new(names, record))
    }

    /// The row as a record's parts.
    pub fn render<'a>(&'a mut self, row: &CsvRow<'a>) -> Result<Rendered<'a>, RowFault> {
        self.0.record(row, row.original())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{ChunkReader, CsvRows, ROW_BYTES_MAX_DEFAULT};

    fn render(text: &str, record: &RecordColumns) -> Vec<String> {
        let chunks = ChunkReader::new(text.as_bytes(), ROW_BYTES_MAX_DEFAULT);
        let mut rows = CsvRows::open(chunks, b',').unwrap().unwrap();
        let mut renderer = RawRenderer::new(rows.names(), record.clone());
        let mut seen = vec![];
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        while let Some(row) = rows.next_row().unwrap() {
            seen.push(match renderer.render(&row) {
                Ok(rendered) => {
                    let headers: Vec<String> = (rendered.headers.iter())
                        .map(|(name, value)| format!("{name}={}", value.map_or("-".into(), text)))
                        .collect();
                    format!(
                        "{} | {} | {:?} | {}",
                        text(rendered.value),
                        rendered.key.map_or("-".to_owned(), text),
                        rendered.partition,
                        headers.join(" ")
                    )
                }
                Err(fault) => fault.to_string(),
            });
        }
        seen
    }

    #[test]
    fn a_raw_row_is_as_the_file_has_it_whatever_is_made_of_its_columns() {
        let record = RecordColumns {
            key: vec![0, 2],
            headers: vec![
                HeaderColumn { name: "h".to_owned(), column: 1 },
                HeaderColumn { name: "again".to_owned(), column: 0 },
            ],
            ..RecordColumns::default()
        };
        let text = "a,b,\"c \"\"d\"\"\"\n1,\"x\"\"y\",2\r\n,,\n\"p,q\",,\"\"\"\"\n";
        assert_eq!(
            render(text, &record),
            [
                "1,\"x\"\"y\",2 | {\"a\":\"1\",\"c \\\"d\\\"\":\"2\"} | None | h=x\"y again=1",
                ",, | - | None | h=- again=-",
                "\"p,q\",,\"\"\"\" | {\"a\":\"p,q\",\"c \\\"d\\\"\":\"\\\"\"} | None | \
                 h=- again=p,q",
            ]
        );
    }

    #[test]
    fn a_partition_is_one_of_the_topics() {
        let record = RecordColumns {
            partition: Some(0),
            partition_count: Some(3),
            ..RecordColumns::default()
        };
        let wrong = |text: &str| {
            format!("holds {text:?} in column p, which isn't a partition of the topic")
        };
        assert_eq!(
            render("p,v\n2,x\n3,x\n,x\n-1,x\n99999999999,x\n", &record),
            [
                "2,x | - | Some(2) | ".to_owned(),
                wrong("3"),
                wrong(""),
                wrong("-1"),
                wrong("99999999999")
            ]
        );
    }
}
