//! A file's rows as records whose values are Avro.

use std::path::Path;
use std::sync::Arc;

use super::chunk::ChunkReader;
use super::compression::Meter;
use super::lines::{BlankLines, LineRows};
use super::plan::InputPlan;
use super::planned::{PlannedFile, PlannedRows, Source, open_csv};
use super::source::{RecordSource, RenderedRows};
use crate::avro::{RecordPlan, Schema};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::{AvroLineRenderer, AvroRenderer, RecordColumns};

/// How rows become Avro.
#[derive(Debug, Clone)]
pub struct AvroForm {
    /// The fields of a record, by the value's columns.
    pub plan: RecordPlan,
    /// What stands before each record.
    pub prefix: Vec<u8>,
}

impl InputPlan {
    /// The records of one of the files, whose values are written by a schema.
    pub(super) fn open_avro(
        &self,
        file: &PlannedFile,
        path: &Path,
        chunks: ChunkReader<Source>,
        meter: Option<Meter>,
        schema: Arc<Schema>,
    ) -> Outcome<Box<dyn RecordSource>> {
        let options = self.options();
        let partition_count = self.partition_count;
        let prefix = file.value_prefix();
        Ok(match &file.rows {
            PlannedRows::Typed { names, output, record, .. } => {
                let rows = open_csv(path, chunks, options, names)?;
                let plan = self.record_plan(file, &schema)?;
                let columns: Vec<usize> = output.iter().map(|(column, _)| *column).collect();
                let record = RecordColumns { partition_count, ..record.clone() };
                let renderer = AvroRenderer::new(names, plan, &columns, prefix, record);
                Box::new(RenderedRows::new(rows, renderer, meter))
            }
            PlannedRows::Ndjson { .. } => {
                let fields = options.record_fields(partition_count);
                let rows = LineRows::new(chunks, BlankLines::Skipped);
                let renderer = AvroLineRenderer::new(fields, schema, prefix);
                Box::new(RenderedRows::new(rows, renderer, meter))
            }
            PlannedRows::Parquet(plan) => {
                let form = AvroForm { plan: self.record_plan(file, &schema)?, prefix };
                let is_hashed = chunks.is_hashed();
                plan.open(&file.path, options, partition_count, is_hashed, Some(form))?
            }
            PlannedRows::Clicks { .. } | PlannedRows::Raw { .. } | PlannedRows::Lines => {
                let what = format!("the rows of {} can't be Avro", file.path.display());
                return Failure::new(Exit::Usage, what).err();
            }
        })
    }
}
