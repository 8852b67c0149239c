//! What is going to be read, found out before a record is sent: each file's format and columns, and
//! which of them are the key and the timestamp.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::adapted::Adapted;
use super::chunk::ChunkReader;
use super::compression::{Compression, Meter};
use super::discovery::{self, Found};
use super::followed::types_in;
use super::lines::{BlankLines, LineRows};
use super::options::{ColumnNames, InputOptions};
use super::planned::{PlannedFile, PlannedRows, Source, empty_csv, open_csv, unpack};
use super::prefixed::Prefixed;
use super::source::{RecordSource, RenderedRows};
use super::timed::{Timed, TopicTimes};
use crate::clicks::{self, ClickRenderer};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::nearest::nearest;
use crate::render::{
    LineRenderer, NdjsonRenderer, OutputColumn, RawRenderer, RecordColumns, TypedRenderer,
};
use crate::schema::{ColumnType, TypeOverride};
use crate::ui::units;

/// So many files are named in the table of settings.
const NAMES_MAX: usize = 8;

/// All files of a run, looked at but not read.
#[derive(Debug)]
pub struct InputPlan {
    /// The files in the order they are read.
    pub files: Vec<PlannedFile>,
    /// Files of directories and patterns that are left out, as they are empty.
    empty: Vec<PathBuf>,
    options: InputOptions,
    pub(super) partition_count: Option<i32>,
    times: TopicTimes,
    record_bytes_max: usize,
}

impl InputPlan {
    /// Looks at each file that the arguments stand for: opens it, reads its header and, for types,
    /// its first rows. The argument `-` stands for what `standard_input` gives.
    pub fn make(
        arguments: &[PathBuf],
        options: InputOptions,
        standard_input: impl FnOnce() -> Box<dyn Read>,
    ) -> Outcome<InputPlan> {
        options.check()?;
        let mut standard_input = Some(standard_input);
        let mut files = Vec::with_capacity(arguments.len());
        let mut empty = Vec::new();
        for found in discovery::find(arguments, options.is_recursive)? {
            match found {
                Found::File(path) => {
                    let file = PlannedFile::look_at(&path, &options)?;
                    files.push(file.ok_or_else(|| empty_csv(&path, &options))?);
                }
                Found::Member(path) => match PlannedFile::look_at(&path, &options)? {
                    Some(file) => files.push(file),
                    None => empty.push(path),
                },
                Found::StandardInput => {
                    let Some(open) = standard_input.take() else { continue };
                    files.push(PlannedFile::look_at_standard_input(open(), &options)?);
                }
            }
        }
        for wanted in &options.types {
            if !files.is_empty() && !files.iter().any(|file| file.has_typed_column(&wanted.column))
            {
                return unknown_type_column(&files, wanted);
            }
        }
        let is_headless = options.column_names != ColumnNames::Header;
        if is_headless && !files.is_empty() && !files.iter().any(PlannedFile::is_csv) {
            return Failure::new(Exit::Usage, "--no-header and --columns are for CSV")
                .cause("none of the files is CSV")
                .remedy("leave them out, or say --format csv")
                .err();
        }
        InputPlan::of(files, empty, options)
    }

    fn of(
        mut files: Vec<PlannedFile>,
        empty: Vec<PathBuf>,
        options: InputOptions,
    ) -> Outcome<InputPlan> {
        agree_on_types(&mut files);
        let plan = InputPlan {
            files,
            empty,
            options,
            partition_count: None,
            times: TopicTimes::ANY,
            record_bytes_max: usize::MAX,
        };
        for file in &plan.files {
            plan.registered_schema(file)?;
        }
        Ok(plan)
    }

    /// What a person is told of files that are left out.
    pub fn remarks(&self) -> Vec<String> {
        if self.empty.len() > NAMES_MAX {
            let count = units::grouped(self.empty.len() as u64);
            return vec![format!("{count} files are empty: they have no rows yet")];
        }
        let remark = |path: &PathBuf| format!("{} is empty: it has no rows yet", path.display());
        self.empty.iter().map(remark).collect()
    }

    /// Looks at files that came into directories. What the options say of columns that none of them
    /// has is no mistake: others may come.
    pub fn of_arrived(
        paths: impl Iterator<Item = PathBuf>,
        options: InputOptions,
    ) -> Outcome<InputPlan> {
        options.check()?;
        let (mut files, mut empty) = (Vec::new(), Vec::new());
        for path in paths {
            match PlannedFile::look_at(&path, &options)? {
                Some(file) => files.push(file),
                None => empty.push(path),
            }
        }
        InputPlan::of(files, empty, options)
    }

    /// Has files with the columns of a shape take the wider of the types, where they differ; not of
    /// columns whose type the user says.
    pub fn widen_types(&mut self, shape: &str) {
        let said: Vec<&str> = self.options.types.iter().map(|of| of.column.as_str()).collect();
        for file in &mut self.files {
            let PlannedRows::Typed { names, types, .. } = &mut file.rows else { continue };
            let Some(before) = types_in(shape, names) else { continue };
            for ((name, column_type), before) in names.iter().zip(types).zip(before) {
                if !said.contains(&name.as_str()) {
                    *column_type = wider(*column_type, before);
                }
            }
        }
    }

    /// What the user said.
    pub fn options(&self) -> &InputOptions {
        &self.options
    }

    /// From here on rows of a file of which some were ingested before become records as those did.
    pub fn keep_types(&mut self, index: usize, shape: &str) {
        let said: Vec<String> = self.options.types.iter().map(|of| of.column.clone()).collect();
        if let Some(file) = self.files.get_mut(index) {
            file.keep_types(shape, &said);
        }
    }

    /// From here on a row whose --partition the topic doesn't have is a bad row.
    pub fn set_partition_count(&mut self, partition_count: i32) {
        self.partition_count = Some(partition_count);
    }

    /// From here on a row whose --timestamp the topic doesn't take is a bad row.
    pub fn set_times(&mut self, times: TopicTimes) {
        self.times = times;
    }

    /// From here on a record that takes more bytes in a batch of its own is one of a bad row, for
    /// those who don't have a producer say so.
    pub fn set_record_bytes_max(&mut self, bytes: usize) {
        self.record_bytes_max = bytes;
    }

    /// See `set_record_bytes_max`.
    pub fn record_bytes_max(&self) -> usize {
        self.record_bytes_max
    }

    /// The length of all files, in bytes; None if standard input is one of them.
    pub fn total_bytes(&self) -> Option<u64> {
        self.files.iter().map(|file| file.file_bytes).sum()
    }

    /// The records of one of the files, from its start. Their positions aren't kept.
    pub fn open(&self, file: &PlannedFile) -> Outcome<Box<dyn RecordSource>> {
        self.open_read_by(file, false)
    }

    /// As [`InputPlan::open`], with the positions that a later reading goes on from.
    pub fn open_hashed(&self, file: &PlannedFile) -> Outcome<Box<dyn RecordSource>> {
        self.open_read_by(file, true)
    }

    fn open_read_by(&self, file: &PlannedFile, is_hashed: bool) -> Outcome<Box<dyn RecordSource>> {
        let mut meter = None;
        let source = match file.standard_input.take() {
            Some(input) => Source::Standard(input),
            None => {
                let (unpacked, of_file) = unpack(&file.path, file.compression)?;
                meter = Some(of_file).filter(|_| file.compression != Compression::None);
                Source::File(unpacked)
            }
        };
        self.open_source(file, &file.path, source, meter, is_hashed)
    }

    /// The records of what is read as one of the files is, from a path.
    pub(super) fn open_source(
        &self,
        file: &PlannedFile,
        path: &Path,
        source: Source,
        meter: Option<Meter>,
        is_hashed: bool,
    ) -> Outcome<Box<dyn RecordSource>> {
        let records = self.open_rendered(file, path, source, meter, is_hashed)?;
        Ok(match &self.options.timestamp {
            Some(column) => Box::new(Adapted::new(records, Timed::new(column, self.times))),
            None => records,
        })
    }

    fn open_rendered(
        &self,
        file: &PlannedFile,
        path: &Path,
        source: Source,
        meter: Option<Meter>,
        is_hashed: bool,
    ) -> Outcome<Box<dyn RecordSource>> {
        let options = &self.options;
        let reader = if is_hashed { ChunkReader::hashed } else { ChunkReader::new };
        let chunks = reader(source, options.row_bytes_max);
        let partition_count = self.partition_count;
        let of_topic = |record: &RecordColumns| RecordColumns { partition_count, ..record.clone() };
        if let Some(schema) = self.value_schema(file)? {
            return self.open_avro(file, path, chunks, meter, schema);
        }
        let records: Box<dyn RecordSource> = match &file.rows {
            PlannedRows::Clicks { record } => {
                let names = clicks::COLUMNS.map(str::to_owned);
                let rows = open_csv(path, chunks, options, &names)?;
                Box::new(RenderedRows::new(rows, ClickRenderer::new(of_topic(record)), meter))
            }
            PlannedRows::Typed { names, types, output, record, .. } => {
                let rows = open_csv(path, chunks, options, names)?;
                let typed = |(column, name): &(usize, String)| OutputColumn {
                    column: *column,
                    name: name.clone(),
                    column_type: types[*column],
                };
                let output: Vec<OutputColumn> = output.iter().map(typed).collect();
                let renderer = TypedRenderer::new(names, &output, of_topic(record));
                Box::new(RenderedRows::new(rows, renderer, meter))
            }
            PlannedRows::Raw { names, record } => {
                let rows = open_csv(path, chunks, options, names)?;
                Box::new(RenderedRows::new(rows, RawRenderer::new(names, of_topic(record)), meter))
            }
            PlannedRows::Ndjson { .. } => {
                let renderer = NdjsonRenderer::new(options.record_fields(partition_count));
                let rows = LineRows::new(chunks, BlankLines::Skipped);
                Box::new(RenderedRows::new(rows, renderer, meter))
            }
            PlannedRows::Lines => {
                let rows = LineRows::new(chunks, BlankLines::Kept);
                Box::new(RenderedRows::new(rows, LineRenderer, meter))
            }
            PlannedRows::Parquet(plan) => {
                plan.open(&file.path, options, partition_count, is_hashed, None)?
            }
        };
        Ok(match file.schema_id {
            Some(_) => Box::new(Adapted::new(records, Prefixed::new(file.value_prefix()))),
            None => records,
        })
    }

    /// What decides how the rows of a file become records, in words: two runs with the same shape
    /// make the same records of the same row.
    pub fn shape(&self, file: &PlannedFile) -> String {
        let options = &self.options;
        let mut shape = file.format_name().to_owned();
        if file.is_csv() && options.delimiter != b',' {
            let _ = write!(shape, ", delimiter {:?}", char::from(options.delimiter));
        }
        let _ = match &options.column_names {
            ColumnNames::Numbers if file.is_csv() => write!(shape, ", no header"),
            ColumnNames::Given(names) if file.is_csv() => {
                write!(shape, ", no header but {names:?}")
            }
            _ => Ok(()),
        };
        let own = file.is_keyed().then_some(clicks::KEY_COLUMN);
        if let Some(key) = options.key.as_deref().or(own) {
            let _ = write!(shape, ", key {key}");
        }
        options.write_columns(&mut shape);
        if let Some(name) = file.compression.name() {
            let _ = write!(shape, ", {name}");
        }
        self.write_schema(file, &mut shape);
        if let PlannedRows::Typed { names, types, .. } = &file.rows {
            shape.push_str(", columns");
            for (name, column_type) in names.iter().zip(types) {
                let _ = write!(shape, " {name} {column_type}");
            }
        }
        if let PlannedRows::Parquet(plan) = &file.rows {
            plan.write_columns(&mut shape);
        }
        shape
    }

    /// The files' paths, for the table of settings; the first ones if there are many.
    pub fn file_names(&self) -> String {
        let names = self.files.iter().take(NAMES_MAX).map(|file| file.path.display().to_string());
        let names = names.collect::<Vec<_>>().join(", ");
        match self.files.len().saturating_sub(NAMES_MAX) {
            0 => names,
            more => format!("{names}, and {} more", units::grouped(more as u64)),
        }
    }

    /// What the files are, for the table of settings: `click events`, `csv`, `ndjson`, `lines`.
    pub fn format_name(&self) -> String {
        let mut names: Vec<&str> = self.files.iter().map(PlannedFile::format_name).collect();
        names.sort_unstable();
        names.dedup();
        names.join(", ")
    }

    /// Where the key comes from, for the table of settings.
    pub fn key_name(&self) -> Option<&str> {
        match &self.options.key {
            Some(key) => Some(key),
            None if self.files.iter().any(PlannedFile::is_keyed) => Some(clicks::KEY_COLUMN),
            None => None,
        }
    }

    /// The columns and the names of their types, where they aren't given by the format.
    pub fn column_types(&self) -> Vec<(&str, Cow<'static, str>)> {
        let mut columns: Vec<(&str, Cow<'static, str>)> = Vec::new();
        let mut see = |name, column_type: Cow<'static, str>| {
            if !columns.iter().any(|(known, _)| *known == name) {
                columns.push((name, column_type));
            }
        };
        for file in &self.files {
            match &file.rows {
                PlannedRows::Typed { types, output, .. } => {
                    for (index, name) in output {
                        see(name.as_str(), types[*index].name().into());
                    }
                }
                PlannedRows::Parquet(plan) => {
                    plan.column_types().for_each(|(name, column_type)| see(name, column_type));
                }
                _ => {}
            }
        }
        columns
    }
}

fn unknown_type_column<T>(files: &[PlannedFile], wanted: &TypeOverride) -> Outcome<T> {
    let named = |file: &PlannedFile| match &file.rows {
        PlannedRows::Typed { names, .. } => names.clone(),
        _ => Vec::new(),
    };
    let names: Vec<String> = files.iter().flat_map(named).collect();
    let failure =
        Failure::new(Exit::Usage, format!("no file has a column {:?} for --type", wanted.column));
    match nearest(&wanted.column, names.iter().map(String::as_str)) {
        Some(near) => failure.remedy(format!("did you mean {near}?")).err(),
        None => failure.remedy("--type names a column of a CSV file's header").err(),
    }
}

/// A column that two files have has one type: where they were inferred apart, the wider one.
fn agree_on_types(files: &mut [PlannedFile]) {
    let mut agreed: Vec<(String, ColumnType)> = Vec::new();
    for file in files.iter() {
        let PlannedRows::Typed { names, types, .. } = &file.rows else { continue };
        for (name, column_type) in names.iter().zip(types) {
            match agreed.iter_mut().find(|(known, _)| known == name) {
                None => agreed.push((name.clone(), *column_type)),
                Some((_, known)) => *known = wider(*known, *column_type),
            }
        }
    }
    for file in files {
        let PlannedRows::Typed { names, types, .. } = &mut file.rows else { continue };
        for (name, column_type) in names.iter().zip(types) {
            if let Some((_, wide)) = agreed.iter().find(|(known, _)| known == name) {
                *column_type = *wide;
            }
        }
    }
}

fn wider(one: ColumnType, other: ColumnType) -> ColumnType {
    match (one, other) {
        _ if one == other => one,
        (ColumnType::Integer, ColumnType::Number) | (ColumnType::Number, ColumnType::Integer) => {
            ColumnType::Number
        }
        _ => ColumnType::String,
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
