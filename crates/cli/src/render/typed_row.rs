//! A row of any CSV file as a JSON object: the columns in their order, each by its type.

use super::json_buffer::{ESCAPE_GROWTH, JsonBuffer};
use super::number::{is_integer, is_number};
use super::{RecordColumns, RecordParts, Rendered};
use crate::input::{CsvRow, RowFault};
use crate::schema::{ColumnType, is_boolean};
use crate::time::parse_timestamp;

/// The longest a typed field gets beyond its own length: a time as digits, `null`, two quotes.
const FIELD_GROWTH: usize = 24;

/// A column of the file as a field of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputColumn {
    /// Its position in the file.
    pub column: usize,
    /// The field's name.
    pub name: String,
    /// What its text becomes.
    pub column_type: ColumnType,
}

/// Writes rows as JSON objects. One lives as long as its file.
#[derive(Debug)]
pub struct TypedRenderer {
    json: JsonBuffer,
    names: Vec<String>,
    fields: Vec<Field>,
    fixed_bytes: usize,
    parts: RecordParts,
}

#[derive(Debug)]
struct Field {
    column: usize,
    column_type: ColumnType,
    /// What stands before the value: `{"first":`, `,"second":`.
    prefix: Vec<u8>,
}

impl TypedRenderer {
    /// A renderer for a file whose columns have these names; `output` has each of them once at
    /// most.
    pub fn new(names: &[String], output: &[OutputColumn], record: RecordColumns) -> TypedRenderer {
        let field = |(place, column): (usize, &OutputColumn)| {
            let mut prefix = JsonBuffer::default();
            prefix.begin(column.name.len() * ESCAPE_GROWTH + 4);
            prefix.raw(if place == 0 { b"{\"" } else { b",\"" });
            prefix.escaped(column.name.as_bytes());
            prefix.raw(b"\":");
            let OutputColumn { column, column_type, .. } = *column;
            Field { column, column_type, prefix: prefix.written().to_vec() }
        };
        let fields: Vec<Field> = output.iter().enumerate().map(field).collect();
        let fixed_bytes = fields.iter().map(|field| field.prefix.len() + FIELD_GROWTH).sum();
        TypedRenderer {
            json: JsonBuffer::default(),
            names: names.to_vec(),
            fields,
            fixed_bytes,
            parts: RecordParts::new(names, record),
        }
    }

    /// The row as a record's parts.
    #[inline]
    pub fn render<'a>(&'a mut self, row: &CsvRow<'a>) -> Result<Rendered<'a>, RowFault> {
        let plain = row.is_plain();
        let growth = if plain { 1 } else { ESCAPE_GROWTH };
        self.json.begin(self.fixed_bytes + row.row_bytes() * growth + 1);
        for Field { column, column_type, prefix } in &self.fields {
            self.json.raw(prefix);
            let text = row.column(*column);
            if *column_type != ColumnType::String {
                write_typed(&mut self.json, *column_type, text).ok_or_else(|| {
                    RowFault::value(&self.names[*column], text, column_type.expected())
                })?;
                continue;
            }
            self.json.literal(b"\"");
            if plain {
                self.json.span(row.padded(), row.columns()[*column]);
            } else {
                self.json.escaped(text);
            }
            self.json.literal(b"\"");
        }
        self.json.literal(b"}");
        self.parts.record(row, self.json.written())
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
        let output: Vec<OutputColumn> = (rows.names().iter().zip(types).enumerate())
            .map(|(column, (name, &column_type))| {
                let name = name.clone();
                OutputColumn { column, name, column_type }
            })
            .collect();
        let mut renderer = TypedRenderer::new(rows.names(), &output, record);
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
        let record = RecordColumns { key: vec![0], ..RecordColumns::default() };
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
        let record = RecordColumns { timestamp: Some(1), ..RecordColumns::default() };
        assert_eq!(
            render("id,at\nx,2019-10-01\n1,soon\n2,1970-01-02\n", &[Integer, Text], record),
            [
                "holds \"x\" in column id, which isn't an integer of 64 bits",
                "holds \"soon\" in column at, which isn't a point in time",
                "{\"id\":2,\"at\":\"1970-01-02\"} None Some(86400000)",
            ]
        );
    }

    #[test]
    fn chosen_columns_come_in_the_order_and_by_the_names_wanted() {
        let chunks = ChunkReader::new(&b"a,b,c\n1,x,2\n"[..], ROW_BYTES_MAX_DEFAULT);
        let mut rows = CsvRows::open(chunks, b',').unwrap().unwrap();
        let output = [(2, "see", Integer), (0, "a", Text)].map(|(column, name, column_type)| {
            OutputColumn { column, name: name.to_owned(), column_type }
        });
        let record = RecordColumns { key: vec![1], ..RecordColumns::default() };
        let mut renderer = TypedRenderer::new(rows.names(), &output, record);
        let row = rows.next_row().unwrap().unwrap();
        let rendered = renderer.render(&row).unwrap();
        assert_eq!(rendered.value, b"{\"see\":2,\"a\":\"1\"}");
        assert_eq!(rendered.key, Some(&b"x"[..]), "of a column that is left out of the value");
    }
}
