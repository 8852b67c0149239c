//! What is going to be read, found out before a record is sent: each file's format and columns, and
//! which of them are the key and the timestamp.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::chunk::ChunkReader;
use super::columns::{HeaderOption, ValueForm, check_header};
use super::compression::{Compression, Meter, Unpacked, UnpackedStream};
use super::csv::CsvRows;
use super::lines::{BlankLines, LineRows};
use super::source::{RecordSource, RenderedRows};
use super::standard::{self, StandardInput};
use super::{ReadFault, file};
use crate::clicks::{self, ClickRenderer};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::nearest::nearest;
use crate::render::{
    LineRenderer, NdjsonRenderer, OutputColumn, RawRenderer, RecordColumns, TypedRenderer,
};
use crate::schema::{ColumnType, Inference, SAMPLE_BYTES, SAMPLE_ROWS, TypeOverride};

/// How a file is split into rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// Columns with a header
    Csv,
    /// A JSON value a line
    Ndjson,
    /// A value a line, as it stands
    Lines,
}

impl FileFormat {
    /// The format that a file's name says it has.
    fn of_name(path: &Path) -> Option<FileFormat> {
        let path = Compression::without_ending(path);
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "csv" => Some(FileFormat::Csv),
            "ndjson" | "jsonl" | "json" => Some(FileFormat::Ndjson),
            "txt" | "log" | "lines" => Some(FileFormat::Lines),
            _ => None,
        }
    }
}

/// What the user said about the input.
#[derive(Debug, Clone)]
pub struct InputOptions {
    /// The format of all files; None to go by their names.
    pub format: Option<FileFormat>,
    /// How all files are compressed; None to go by their first bytes.
    pub compression: Option<Compression>,
    /// The byte between columns.
    pub delimiter: u8,
    /// The column or field that is the key, or several with commas between them.
    pub key: Option<String>,
    /// Whether records go without a key even where the format has one of its own.
    pub no_key: bool,
    /// The column or field that is the record's time.
    pub timestamp: Option<String>,
    /// The column or field that is the record's partition.
    pub partition: Option<String>,
    /// Columns or fields that are headers.
    pub headers: Vec<HeaderOption>,
    /// What the value is; None for what the format has.
    pub value: Option<ValueForm>,
    /// The columns or fields of the value, in order; all if there are none.
    pub select: Vec<String>,
    /// Columns or fields that get another name in the value.
    pub rename: Vec<(String, String)>,
    /// Types that aren't to be inferred.
    pub types: Vec<TypeOverride>,
    /// The longest row, in bytes.
    pub row_bytes_max: usize,
}

/// One file and how its rows become records.
#[derive(Debug)]
pub struct PlannedFile {
    /// Where it is; `<stdin>` for standard input.
    pub path: PathBuf,
    /// How long it is, in bytes; None for standard input.
    pub file_bytes: Option<u64>,
    /// How it is compressed. Standard input is unpacked before it is one.
    pub compression: Compression,
    rows: PlannedRows,
    /// Standard input, until its turn comes.
    standard_input: RefCell<Option<StandardInput>>,
}

#[derive(Debug)]
enum PlannedRows {
    Clicks {
        record: RecordColumns,
    },
    Typed {
        names: Vec<String>,
        types: Vec<ColumnType>,
        /// The value's columns: where each is in the file, and its name.
        output: Vec<(usize, String)>,
        record: RecordColumns,
    },
    Raw {
        names: Vec<String>,
        record: RecordColumns,
    },
    Ndjson,
    Lines,
}

/// All files of a run, looked at but not read.
#[derive(Debug)]
pub struct InputPlan {
    /// The files in the order they are read.
    pub files: Vec<PlannedFile>,
    options: InputOptions,
    partition_count: Option<i32>,
}

impl InputPlan {
    /// Looks at each file: opens it, reads its header and, for types, its first rows. The path `-`
    /// stands for what `standard_input` gives.
    pub fn make(
        paths: &[PathBuf],
        options: InputOptions,
        standard_input: impl FnOnce() -> Box<dyn Read>,
    ) -> Outcome<InputPlan> {
        options.check()?;
        let mut standard_input = Some(standard_input);
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            files.push(if StandardInput::is_meant_by(path) {
                let Some(open) = standard_input.take() else { return twice_standard_input() };
                PlannedFile::look_at_standard_input(open(), &options)?
            } else {
                PlannedFile::look_at(path, &options)?
            });
        }
        for wanted in &options.types {
            if !files.iter().any(|file| file.has_typed_column(&wanted.column)) {
                return unknown_type_column(&files, wanted);
            }
        }
        agree_on_types(&mut files);
        Ok(InputPlan { files, options, partition_count: None })
    }

    /// From here on a row whose --partition the topic doesn't have is a bad row.
    pub fn set_partition_count(&mut self, partition_count: i32) {
        self.partition_count = Some(partition_count);
    }

    /// The length of all files, in bytes; None if standard input is one of them.
    pub fn total_bytes(&self) -> Option<u64> {
        self.files.iter().map(|file| file.file_bytes).sum()
    }

    /// The records of one of the files, from its start. Their positions aren't kept.
    pub fn open(&self, file: &PlannedFile) -> Outcome<Box<dyn RecordSource>> {
        self.open_read_by(file, ChunkReader::new)
    }

    /// As [`InputPlan::open`], with the positions that a later reading goes on from.
    pub fn open_hashed(&self, file: &PlannedFile) -> Outcome<Box<dyn RecordSource>> {
        self.open_read_by(file, ChunkReader::hashed)
    }

    fn open_read_by(
        &self,
        file: &PlannedFile,
        reader: fn(Source, usize) -> ChunkReader<Source>,
    ) -> Outcome<Box<dyn RecordSource>> {
        let options = &self.options;
        let mut meter = None;
        let source = match file.standard_input.take() {
            Some(input) => Source::Standard(input),
            None => {
                let (unpacked, of_file) = unpack(&file.path, file.compression)?;
                meter = Some(of_file).filter(|_| file.compression != Compression::None);
                Source::File(unpacked)
            }
        };
        let chunks = reader(source, options.row_bytes_max);
        let partition_count = self.partition_count;
        let of_topic = |record: &RecordColumns| RecordColumns { partition_count, ..record.clone() };
        Ok(match &file.rows {
            PlannedRows::Clicks { record } => {
                let rows = open_csv(&file.path, chunks, options)?;
                Box::new(RenderedRows::new(rows, ClickRenderer::new(of_topic(record)), meter))
            }
            PlannedRows::Typed { names, types, output, record } => {
                let rows = open_csv(&file.path, chunks, options)?;
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
                let rows = open_csv(&file.path, chunks, options)?;
                Box::new(RenderedRows::new(rows, RawRenderer::new(names, of_topic(record)), meter))
            }
            PlannedRows::Ndjson => {
                let renderer = NdjsonRenderer::new(options.record_fields(partition_count));
                let rows = LineRows::new(chunks, BlankLines::Skipped);
                Box::new(RenderedRows::new(rows, renderer, meter))
            }
            PlannedRows::Lines => {
                let rows = LineRows::new(chunks, BlankLines::Kept);
                Box::new(RenderedRows::new(rows, LineRenderer, meter))
            }
        })
    }

    /// What decides how the rows of a file become records, in words: two runs with the same shape
    /// make the same records of the same row.
    pub fn shape(&self, file: &PlannedFile) -> String {
        let options = &self.options;
        let mut shape = file.format_name().to_owned();
        if !matches!(file.rows, PlannedRows::Ndjson | PlannedRows::Lines)
            && options.delimiter != b','
        {
            let _ = write!(shape, ", delimiter {:?}", char::from(options.delimiter));
        }
        let own = file.is_keyed().then_some(clicks::KEY_COLUMN);
        if let Some(key) = options.key.as_deref().or(own) {
            let _ = write!(shape, ", key {key}");
        }
        options.write_columns(&mut shape);
        if let Some(name) = file.compression.name() {
            let _ = write!(shape, ", {name}");
        }
        if let PlannedRows::Typed { names, types, .. } = &file.rows {
            shape.push_str(", columns");
            for (name, column_type) in names.iter().zip(types) {
                let _ = write!(shape, " {name} {column_type}");
            }
        }
        shape
    }

    /// What the files are, for the table of settings: `click events`, `csv`, `ndjson`, `lines`.
    pub fn format_name(&self) -> String {
        let mut names: Vec<&str> = self.files.iter().map(PlannedFile::format_name).collect();
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

    /// The columns and their types, where they aren't given by the format.
    pub fn column_types(&self) -> Vec<(&str, ColumnType)> {
        let mut columns: Vec<(&str, ColumnType)> = Vec::new();
        for file in &self.files {
            let PlannedRows::Typed { types, output, .. } = &file.rows else { continue };
            for (index, name) in output {
                if !columns.iter().any(|(known, _)| known == name) {
                    columns.push((name, types[*index]));
                }
            }
        }
        columns
    }
}

impl PlannedFile {
    fn look_at(path: &Path, options: &InputOptions) -> Outcome<PlannedFile> {
        let (source, file_bytes) = file::open(path)?;
        let compression = match options.compression {
            Some(compression) => compression,
            None => Compression::of_file(&source)
                .map_err(|error| file::failed_at(path, ReadFault::Io(error)))?,
        };
        let Some(format) = options.format.or_else(|| FileFormat::of_name(path)) else {
            return Err(unknown_format(path).into());
        };
        let (source, _) = unpack(path, compression)?;
        let rows = PlannedRows::look_at(path, source, format, options)?;
        let (path, file_bytes) = (path.to_owned(), Some(file_bytes));
        Ok(PlannedFile { path, file_bytes, compression, rows, standard_input: RefCell::default() })
    }

    fn look_at_standard_input(
        source: Box<dyn Read>,
        options: &InputOptions,
    ) -> Outcome<PlannedFile> {
        let path = PathBuf::from(standard::NAME);
        let source = Box::new(UnpackedStream::new(source, options.compression));
        let mut input = StandardInput::new(source);
        let format = match options.format {
            Some(format) => format,
            None => input.sniff().map_err(|error| file::failed_at(&path, error.into()))?,
        };
        let rows = PlannedRows::look_at(&path, &mut input, format, options)?;
        let standard_input = RefCell::new(Some(input.rewound()));
        let compression = Compression::None;
        Ok(PlannedFile { path, file_bytes: None, compression, rows, standard_input })
    }

    /// Whether rows come when they come, not when they are wanted.
    pub fn is_stream(&self) -> bool {
        self.file_bytes.is_none()
    }

    fn format_name(&self) -> &'static str {
        match self.rows {
            PlannedRows::Clicks { .. } => "click events",
            PlannedRows::Typed { .. } | PlannedRows::Raw { .. } => "csv",
            PlannedRows::Ndjson => "ndjson",
            PlannedRows::Lines => "lines",
        }
    }

    fn is_keyed(&self) -> bool {
        matches!(&self.rows, PlannedRows::Clicks { record } if !record.key.is_empty())
    }

    fn has_typed_column(&self, column: &str) -> bool {
        matches!(&self.rows, PlannedRows::Typed { names, .. } if names.iter().any(|n| n == column))
    }
}

/// Where rows are read from.
#[derive(Debug)]
enum Source {
    File(Unpacked<File>),
    Standard(StandardInput),
}

/// What a file holds, from its start, and how much of the file is read.
fn unpack(path: &Path, compression: Compression) -> Outcome<(Unpacked<File>, Meter)> {
    let (source, _) = file::open(path)?;
    let unpacked = Unpacked::new(source, compression);
    Ok(unpacked.map_err(|error| file::failed_at(path, ReadFault::Io(error)))?)
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::File(file) => file.read(buffer),
            Source::Standard(input) => input.read(buffer),
        }
    }
}

impl PlannedRows {
    fn look_at(
        path: &Path,
        source: impl Read,
        format: FileFormat,
        options: &InputOptions,
    ) -> Outcome<PlannedRows> {
        match format {
            FileFormat::Csv => look_at_csv(path, source, options),
            FileFormat::Ndjson => Ok(PlannedRows::Ndjson),
            FileFormat::Lines => {
                options.check_for_lines(path)?;
                Ok(PlannedRows::Lines)
            }
        }
    }
}

fn look_at_csv(path: &Path, source: impl Read, options: &InputOptions) -> Outcome<PlannedRows> {
    let chunks = ChunkReader::new(source, options.row_bytes_max);
    let mut rows = open_csv(path, chunks, options)?;
    let names = rows.names().to_vec();
    check_header(path, &names)?;
    let mut record = options.record_columns(path, &names)?;
    if options.value == Some(ValueForm::Raw) {
        return Ok(PlannedRows::Raw { names, record });
    }
    if clicks::is_click_header(&names) && options.types.is_empty() && !options.shapes_value() {
        if record.key.is_empty() && !options.no_key {
            record.key.extend(names.iter().position(|name| name == clicks::KEY_COLUMN));
        }
        return Ok(PlannedRows::Clicks { record });
    }
    let output = options.output(path, &names)?;
    let mut inference = Inference::new(names.len());
    for _ in 0..SAMPLE_ROWS {
        if rows.consumed_bytes() > SAMPLE_BYTES {
            break;
        }
        match rows.next_row() {
            Ok(None) => break,
            Ok(Some(row)) => {
                for index in 0..names.len() {
                    inference.see(index, row.column(index));
                }
            }
            // Told when the row's turn comes.
            Err(fault) if matches!(*fault, ReadFault::Row { .. }) => {}
            Err(fault) => return Err(file::failed_at(path, *fault).into()),
        }
    }
    let mut types = inference.types();
    for (name, column_type) in names.iter().zip(&mut types) {
        if let Some(wanted) = options.types.iter().rfind(|wanted| wanted.column == *name) {
            *column_type = wanted.column_type;
        }
    }
    Ok(PlannedRows::Typed { names, types, output, record })
}

fn open_csv<R: Read>(
    path: &Path,
    chunks: ChunkReader<R>,
    options: &InputOptions,
) -> Outcome<CsvRows<R>> {
    match CsvRows::open(chunks, options.delimiter) {
        Ok(Some(rows)) => Ok(rows),
        Ok(None) => Failure::new(Exit::BadInput, format!("{} is empty", path.display()))
            .cause("a CSV file starts with a header that names its columns")
            .remedy("check that the file was written whole, or say --format lines")
            .err(),
        Err(fault) => {
            // A header can't be left out as another row can.
            let remedy = match &*fault {
                ReadFault::Row { fault, .. } => fault.remedy(),
                ReadFault::Io(_) => return Err(file::failed_at(path, *fault).into()),
            };
            let mut failure = file::failed_at(path, *fault);
            failure.what = format!("{}, its header", failure.what);
            failure.remedy = Some(remedy.unwrap_or("check that it is a CSV file").to_owned());
            Err(failure.into())
        }
    }
}

fn unknown_format(path: &Path) -> Failure {
    let name = path.display();
    let failure = Failure::new(Exit::Usage, format!("can't tell the format of {name} by its name"));
    let unpack = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xzcat",
        Some("bz2") => "bzcat",
        Some("lz4") => "lz4cat",
        _ => {
            return failure
                .cause(
                    "it ends in none of .csv, .ndjson, .jsonl, .json, .txt, .log, .lines,\n\
                     nor in one of them and .gz or .zst",
                )
                .remedy("say it: --format csv, --format ndjson or --format lines");
        }
    };
    failure
        .cause("of compressed files, gzip and zstd are read")
        .remedy(format!("unpack it on the way: {unpack} {name} | streamledger ingest -"))
}

fn twice_standard_input<T>() -> Outcome<T> {
    Failure::new(Exit::Usage, "standard input is named twice")
        .cause("each - stands for standard input, which can be read once")
        .remedy("leave one - out")
        .err()
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
