//! A row of a CSV file as an Avro record: its fields in the schema's order, each made of its
//! column's text.

use super::{RecordColumns, RecordParts, Rendered};
use crate::avro::RecordPlan;
use crate::avro::columns::PlannedField;
use crate::input::{CsvRow, RowFault};

/// Writes rows as Avro records. One lives as long as its file.
#[derive(Debug)]
pub struct AvroRenderer {
    out: Vec<u8>,
    /// What stands before each record.
    prefix: Vec<u8>,
    names: Vec<String>,
    fields: Vec<PlannedField>,
    parts: RecordParts,
}

impl AvroRenderer {
    /// A renderer for a file whose columns have these names. `columns` says where in the file the
    /// columns are that the plan was made of.
    pub fn new(
        names: &[String],
        plan: RecordPlan,
        columns: &[usize],
        prefix: Vec<u8>,
        record: RecordColumns,
    ) -> AvroRenderer {
        let RecordPlan { mut fields } = plan;
        for field in &mut fields {
            if let PlannedField::Column(field) = field {
                field.column = columns[field.column];
            }
        }
        let parts = RecordParts::new(names, record);
        AvroRenderer { out: Vec::new(), prefix, names: names.to_vec(), fields, parts }
    }

    /// The row as a record's parts.
    #[inline]
    pub fn render<'a>(&'a mut self, row: &CsvRow<'a>) -> Result<Rendered<'a>, RowFault> {
        let Self { out, prefix, names, fields, parts } = self;
        out.clear();
        out.extend_from_slice(prefix);
        for field in fields {
            match field {
                PlannedField::Constant(bytes) => out.extend_from_slice(bytes),
                PlannedField::Column(field) => {
                    let text = row.column(field.column);
                    field.write_text(out, text).map_err(|expected| {
                        RowFault::value(&names[field.column], text, expected)
                    })?;
                }
            }
        }
        parts.record(row, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::avro::{Holds, Schema, SourceColumn};
    use crate::input::{ChunkReader, CsvRows, ROW_BYTES_MAX_DEFAULT};

    #[test]
    fn a_row_is_its_fields_behind_the_prefix_and_a_bad_one_names_its_column() {
        let text = "id,skipped,name\n7,x,é\n,x,\"a\"\"b\"\nseven,x,y\n";
        let chunks = ChunkReader::new(text.as_bytes(), ROW_BYTES_MAX_DEFAULT);
        let mut rows = CsvRows::open(chunks, b',').unwrap().unwrap();
        let schema = Schema::parse(
            r#"{"type":"record","name":"r","fields":[
                {"name":"name","type":"string"},{"name":"id","type":["null","long"]}]}"#,
        );
        let column = |name: &str, holds| SourceColumn { name: name.to_owned(), holds };
        let columns = [column("id", Holds::Integer), column("name", Holds::Text)];
        let plan = RecordPlan::of(&schema.unwrap(), &columns).unwrap();
        let record = RecordColumns { key: vec![0], ..RecordColumns::default() };
        let names = rows.names().to_vec();
        let mut renderer = AvroRenderer::new(&names, plan, &[0, 2], vec![0, 0, 0, 0, 9], record);
        let mut seen = vec![];
        while let Some(row) = rows.next_row().unwrap() {
            let rendered = renderer.render(&row);
            seen.push(rendered.map(|r| (r.key.map(<[u8]>::to_vec), r.value.to_vec())));
        }
        let key = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(seen[0], Ok((key("7"), vec![0, 0, 0, 0, 9, 4, 0xc3, 0xa9, 2, 14])));
        assert_eq!(seen[1], Ok((None, vec![0, 0, 0, 0, 9, 6, b'a', b'"', b'b', 0])));
        let fault = seen[2].as_ref().unwrap_err().to_string();
        assert_eq!(fault, "holds \"seven\" in column id, which isn't an integer of 64 bits");
    }
}
