//! A row of any CSV file as a JSON object: the columns in their order, each by its type.

use super::json_buffer::{ESCAPE_GROWTH, JsonBuffer};
use super::number::{is_integer, is_number};
use super::{RecordColumns, Rendered};
use crate::input::{CsvRow, RowFault};
use crate::schema::{ColumnType, is_boolean};
use crate::time::parse_timestamp;

/// The longest a typed field gets beyond its own length: a time as digits, `null`, two quotes.
const FIELD_GROWTH: usize = 24;

/// Writes rows as JSON objects. One lives as long as its file.
#[derive(Debug)]
pub struct TypedRenderer {
    json: JsonBuffer,
    names: Vec<String>,
    types: Vec<ColumnType>,
    /// What stands before each column's value: `{"first":`, `,"second":`.
    prefixes: Vec<Vec<u8>>,
    fixed_bytes: usize,
    record: RecordColumns,
}

impl TypedRenderer {
    /// A renderer for columns with these names and types.
    pub fn new(names: &[String], types: &[ColumnType], record: RecordColumns) -> TypedRenderer {
        let prefix = |(index, name): (usize, &String)| {
            let mut prefix = JsonBuffer::default();
            prefix.begin(name.len() * ESCAPE_GROWTH + 4);
            prefix.raw(if index == 0 { b"{\"" } else { b",\"" });
            prefix.escaped(name.as_bytes());
            prefix.raw(b"\":");
            prefix.written().to_vec()
        };
        let prefixes: Vec<Vec<u8>> = names.iter().enumerate().map(prefix).collect();
        let fixed_bytes = prefixes.iter().map(|prefix| prefix.len() + FIELD_GROWTH).sum();
        TypedRenderer {
            json: JsonBuffer::default(),
            names: names.to_vec(),
            types: types.to_vec(),
            prefixes,
            fixed_bytes,
            record,
        }
    }

    /// The row as a record's parts.
    #[inline]
    pub fn render<'a>(&'a mut self, row: &CsvRow<'a>) -> Result<Rendered<'a>, RowFault> {
        let plain = row.is_plain();
        let growth = if plain { 1 } else { ESCAPE_GROWTH };
        self.json.begin(self.fixed_bytes + row.row_bytes() * growth + 1);
        for (index, prefix) in self.prefixes.iter().enumerate() {
            self.json.raw(prefix);
            let field = row.column(index);
            let column_type = self.types[index];
            if column_type != ColumnType::String {
                write_typed(&mut self.json, column_type, field).ok_or_else(|| {
                    RowFault::value(&self.names[index], field, column_type.expected())
                })?;
                continue;
            }
            self.json.literal(b"\"");
            if plain {
                self.json.span(row.padded(), row.columns()[index]);
            } else {
                self.json.escaped(field);
            }
            self.json.literal(b"\"");
        }
        self.json.literal(b"}");
        let timestamp_ms = self.record.timestamp_of(row, &self.names)?;
        let key = self.record.key_of(row);
        Ok(Rendered { key, value: self.json.written(), timestamp_ms })
    }
}

/// Writes a field that isn't a string; None if it isn't of its type.
fn write_typed(json: &mut JsonBuffer, column_type: ColumnType, field: &[u8]) -> Option<()> {
    if field.is_empty() {
        json.literal(b"null");
        return Some(());
    }
    match column_type {
        ColumnType::Integer if is_integer(field) => json.raw(field),
        ColumnType::Number if is_number(field) => json.raw(field),
        ColumnType::Boolean if is_boolean(field) => {
            json.raw(if field.len() == 4 { b"true" } else { b"false" });
        }
        ColumnType::Timestamp => {
            json.raw(itoa::Buffer::new().format(parse_timestamp(field)?).as_bytes());
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{ChunkReader, CsvRows, ROW_BYTES_MAX_DEFAULT};
    use ColumnType::{Boolean, Integer, Number, String as Text, Timestamp};

    fn render(text: &str, types: &[ColumnType], record: RecordColumns) -> Vec<String> {
        let mut rows =
            CsvRows::open(ChunkReader::new(text.as_bytes(), ROW_BYTES_MAX_DEFAULT), b',')
                .unwrap()
                .unwrap();
        let mut renderer = TypedRenderer::new(rows.names(), types, record);
        let mut seen = vec![];
        while let Some(row) = rows.next_row().unwrap() {
            seen.push(match renderer.render(&row) {
                Ok(rendered) => format!(
                    "{} {:?} {:?}",
                    std::str::from_utf8(rendered.value).unwrap(),
                    rendered.key.map(|key| std::str::from_utf8(key).unwrap()),
                    rendered.timestamp_ms
                ),
                Err(fault) => fault.to_string(),
            });
        }
        seen
    }

    #[test]
    fn each_column_by_its_type_in_the_files_order() {
        let text = "id,\"say \"\"hi\"\"\",n,ok,at\n\
                    1,x,1.50,TRUE,2019-10-01\n\
                    ,\"a\"\"\nb\",,,\n\
                    9007199254740993,\\,0,False,1569888000000\n";
        let record = RecordColumns { key: Some(0), timestamp: None };
        assert_eq!(
            render(text, &[Integer, Text, Number, Boolean, Timestamp], record),
            [
                "{\"id\":1,\"say \\\"hi\\\"\":\"x\",\"n\":1.50,\"ok\":true,\"at\":1569888000000} \
                 Some(\"1\") None",
                "{\"id\":null,\"say \\\"hi\\\"\":\"a\\\"\\nb\",\"n\":null,\"ok\":null,\"at\":null} \
                 None None",
                "{\"id\":9007199254740993,\"say \\\"hi\\\"\":\"\\\\\",\"n\":0,\"ok\":false,\
                 \"at\":1569888000000} Some(\"9007199254740993\") None",
            ]
        );
    }

    #[test]
    fn a_field_of_another_type_names_its_column() {
        let record = RecordColumns { key: None, timestamp: Some(1) };
        assert_eq!(
            render("id,at\nx,2019-10-01\n1,soon\n2,1970-01-02\n", &[Integer, Text], record),
            [
                "holds \"x\" in column id, which isn't an integer of 64 bits",
                "holds \"soon\" in column at, which isn't a point in time",
                "{\"id\":2,\"at\":\"1970-01-02\"} None Some(86400000)",
            ]
        );
    }
}
