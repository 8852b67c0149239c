//! One file, looked at but not read: its format and columns, and how its rows become records.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chunk::ChunkReader;
use super::columns::{ValueForm, check_header};
use super::compression::{Compression, Meter, Unpacked, UnpackedStream};
use super::csv::{CsvRow, CsvRows};
use super::format::{FileFormat, unknown_format};
use super::options::{ColumnNames, InputOptions};
use super::parquet::{self, ParquetPlan};
use super::standard::{self, StandardInput};
use super::tail::TailReader;
use super::{ReadFault, file, value_schema};
use crate::avro::Schema;
use crate::clicks;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::RecordColumns;
use crate::schema::{ColumnType, Inference, SAMPLE_BYTES, SAMPLE_ROWS};

/// One file and how its rows become records.
#[derive(Debug)]
pub struct PlannedFile {
    /// Where it is; `<stdin>` for standard input.
    pub path: PathBuf,
    /// How long it is, in bytes; None for standard input.
    pub file_bytes: Option<u64>,
    /// How it is compressed. Standard input is unpacked before it is one.
    pub compression: Compression,
    /// The id of the schema that stands in front of its values, if one does.
    pub schema_id: Option<u32>,
    pub(super) rows: PlannedRows,
    /// Standard input, until its turn comes.
    pub(super) standard_input: RefCell<Option<StandardInput>>,
}

/// How its rows become records.
#[derive(Debug)]
pub(super) enum PlannedRows {
    Clicks {
        record: RecordColumns,
    },
    Typed {
        names: Vec<String>,
        types: Vec<ColumnType>,
        /// The value's columns: where each is in the file, and its name.
        output: Vec<(usize, String)>,
        record: RecordColumns,
        /// Of each column whether it held something where it was looked at.
        is_seen: Vec<bool>,
        /// Whether these are click events, whose values aren't their reference JSON.
        is_clicks: bool,
    },
    Raw {
        names: Vec<String>,
        record: RecordColumns,
    },
    Ndjson {
        /// The Avro schema made of the first lines, if one is wanted.
        derived: Option<Arc<Schema>>,
    },
    Lines,
    Parquet(ParquetPlan),
}

impl PlannedFile {
    /// A file, if it is what it is going to be: a CSV file that is empty has no header yet.
    pub(super) fn look_at(path: &Path, options: &InputOptions) -> Outcome<Option<PlannedFile>> {
        let (source, file_bytes) = file::open(path)?;
        let compression = match options.compression {
            Some(compression) => compression,
            None => Compression::of_file(&source)
                .map_err(|error| file::failed_at(path, ReadFault::Io(error)))?,
        };
        let of_first_bytes = || parquet::begins_as_one(&source).then_some(FileFormat::Parquet);
        let format = options.format.or_else(|| FileFormat::of_name(path)).or_else(of_first_bytes);
        let rows = match format {
            None => return Err(unknown_format(path).into()),
            Some(FileFormat::Parquet) => {
                PlannedRows::Parquet(ParquetPlan::look_at(path, compression, options)?)
            }
            Some(format) => {
                let (source, _) = unpack(path, compression)?;
                let rows = PlannedRows::look_at(path, source, format, options)?;
                let Some(rows) = rows else { return Ok(None) };
                rows
            }
        };
        let (path, file_bytes) = (path.to_owned(), Some(file_bytes));
        let standard_input = RefCell::default();
        let schema_id = None;
        Ok(Some(PlannedFile { path, file_bytes, compression, schema_id, rows, standard_input }))
    }

    pub(super) fn look_at_standard_input(
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
        let rows = rows.ok_or_else(|| empty_csv(&path, options))?;
        let standard_input = RefCell::new(Some(input.rewound()));
        let compression = Compression::None;
        let (file_bytes, schema_id) = (None, None);
        Ok(PlannedFile { path, file_bytes, compression, schema_id, rows, standard_input })
    }

    /// Whether rows come when they come, not when they are wanted.
    pub fn is_stream(&self) -> bool {
        self.file_bytes.is_none()
    }

    /// Whether the file may get longer and still begin with what it had. What ends with a footer
    /// can't.
    pub fn can_grow(&self) -> bool {
        !matches!(self.rows, PlannedRows::Parquet(_))
    }

    /// What is counted in the file: `line`, or `row` where there are no lines.
    pub fn row_word(&self) -> &'static str {
        if matches!(self.rows, PlannedRows::Parquet(_)) { "row" } else { "line" }
    }

    pub(super) fn format_name(&self) -> &'static str {
        match self.rows {
            PlannedRows::Clicks { .. } | PlannedRows::Typed { is_clicks: true, .. } => {
                "click events"
            }
            PlannedRows::Typed { .. } | PlannedRows::Raw { .. } => "csv",
            PlannedRows::Ndjson { .. } => "ndjson",
            PlannedRows::Lines => "lines",
            PlannedRows::Parquet(_) => "parquet",
        }
    }

    pub(super) fn is_keyed(&self) -> bool {
        match &self.rows {
            PlannedRows::Clicks { record } | PlannedRows::Typed { record, is_clicks: true, .. } => {
                !record.key.is_empty()
            }
            _ => false,
        }
    }

    pub(super) fn is_csv(&self) -> bool {
        use PlannedRows::{Clicks, Raw, Typed};
        matches!(self.rows, Clicks { .. } | Typed { .. } | Raw { .. })
    }

    pub(super) fn has_typed_column(&self, column: &str) -> bool {
        matches!(&self.rows, PlannedRows::Typed { names, .. } if names.iter().any(|n| n == column))
    }
}

/// Where rows are read from.
#[derive(Debug)]
pub(super) enum Source {
    File(Unpacked<File>),
    Standard(StandardInput),
    Tail(TailReader),
}

/// What a file holds, from its start, and how much of the file is read.
pub(super) fn unpack(path: &Path, compression: Compression) -> Outcome<(Unpacked<File>, Meter)> {
    let (source, _) = file::open(path)?;
    let unpacked = Unpacked::new(source, compression);
    Ok(unpacked.map_err(|error| file::failed_at(path, ReadFault::Io(error)))?)
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::File(file) => file.read(buffer),
            Source::Standard(input) => input.read(buffer),
            Source::Tail(tail) => tail.read(buffer),
        }
    }
}

impl PlannedRows {
    fn look_at(
        path: &Path,
        source: impl Read,
        format: FileFormat,
        options: &InputOptions,
    ) -> Outcome<Option<PlannedRows>> {
        match format {
            FileFormat::Csv => look_at_csv(path, source, options),
            FileFormat::Ndjson => {
                let is_derived = options.value == Some(ValueForm::Avro) && options.schema.is_none();
                let derived = is_derived.then(|| value_schema::of_lines(path, source, options));
                Ok(Some(PlannedRows::Ndjson { derived: derived.transpose()? }))
            }
            FileFormat::Lines => {
                options.check_for_lines(path)?;
                Ok(Some(PlannedRows::Lines))
            }
            FileFormat::Parquet => {
                Failure::new(Exit::Usage, "a Parquet file can't be read from standard input")
                    .cause("what its columns are stands at its end")
                    .remedy("write it to a file, and name that")
                    .err()
            }
        }
    }
}

/// What the columns of a CSV file are; None as long as it has none.
fn look_at_csv(
    path: &Path,
    source: impl Read,
    options: &InputOptions,
) -> Outcome<Option<PlannedRows>> {
    let chunks = ChunkReader::new(source, options.row_bytes_max);
    let Some(begun) = look_at_first_row(path, chunks, options)? else { return Ok(None) };
    let BegunCsv { mut rows, names, is_at_row } = begun;
    check_header(path, &names)?;
    let mut record = options.record_columns(path, &names)?;
    if options.value == Some(ValueForm::Raw) {
        return Ok(Some(PlannedRows::Raw { names, record }));
    }
    if clicks::is_click_header(&names) && options.types.is_empty() && !options.shapes_value() {
        if record.key.is_empty() && !options.no_key {
            record.key.extend(names.iter().position(|name| name == clicks::KEY_COLUMN));
        }
        return Ok(Some(match options.value {
            Some(ValueForm::Avro) => typed_clicks(names, record),
            _ => PlannedRows::Clicks { record },
        }));
    }
    let output = options.output(path, &names)?;
    let mut inference = Inference::new(names.len());
    let mut see = |row: CsvRow<'_>| {
        for index in 0..names.len() {
            inference.see(index, row.column(index));
        }
    };
    if is_at_row {
        see(rows.current());
    }
    for _ in 0..SAMPLE_ROWS {
        if rows.consumed_bytes() > SAMPLE_BYTES {
            break;
        }
        match rows.next_row() {
            Ok(None) => break,
            Ok(Some(row)) => see(row),
            // Told when the row's turn comes.
            Err(fault) if matches!(*fault, ReadFault::Row { .. }) => {}
            Err(fault) => return Err(file::failed_at(path, *fault).into()),
        }
    }
    let (mut types, mut is_seen) = (inference.types(), inference.is_seen());
    for (index, name) in names.iter().enumerate() {
        if let Some(wanted) = options.types.iter().rfind(|wanted| wanted.column == *name) {
            (types[index], is_seen[index]) = (wanted.column_type, true);
        }
    }
    Ok(Some(PlannedRows::Typed { names, types, output, record, is_seen, is_clicks: false }))
}

/// Click events as columns: those of their reference form, by its names and types.
fn typed_clicks(names: Vec<String>, record: RecordColumns) -> PlannedRows {
    let type_of = |name: &&str| match *name {
        "eventTime" => ColumnType::Timestamp,
        "price" => ColumnType::Number,
        _ => ColumnType::String,
    };
    let fields = clicks::FIELDS.iter().map(|name| (*name).to_owned());
    PlannedRows::Typed {
        types: clicks::FIELDS.iter().map(type_of).collect(),
        output: fields.enumerate().collect(),
        record,
        is_seen: vec![true; names.len()],
        is_clicks: true,
        names,
    }
}

/// A CSV file at its first rows.
struct BegunCsv<R> {
    rows: CsvRows<R>,
    names: Vec<String>,
    /// Whether it went to a row already, which has the columns by which they are counted.
    is_at_row: bool,
}

/// What the columns of a CSV file are called; None as long as it has no row.
fn look_at_first_row<R: Read>(
    path: &Path,
    chunks: ChunkReader<R>,
    options: &InputOptions,
) -> Outcome<Option<BegunCsv<R>>> {
    if let ColumnNames::Given(names) = &options.column_names {
        let mut rows = open_csv(path, chunks, options, names)?;
        let is_at_row = match rows.advance() {
            Ok(false) => return Ok(None),
            Ok(true) => true,
            // Told when the row's turn comes.
            Err(fault) if matches!(*fault, ReadFault::Row { .. }) => false,
            Err(fault) => return Err(file::failed_at(path, *fault).into()),
        };
        return Ok(Some(BegunCsv { rows, names: names.clone(), is_at_row }));
    }
    let Some(rows) = begin_csv(path, chunks, options)? else { return Ok(None) };
    let is_at_row = options.column_names == ColumnNames::Numbers;
    let names = match is_at_row {
        true => (1..=rows.names().len()).map(|number| format!("c{number}")).collect(),
        false => rows.names().to_vec(),
    };
    Ok(Some(BegunCsv { rows, names, is_at_row }))
}

/// The rows of a CSV file with these columns, behind its header if it has one.
pub(super) fn open_csv<R: Read>(
    path: &Path,
    chunks: ChunkReader<R>,
    options: &InputOptions,
    names: &[String],
) -> Outcome<CsvRows<R>> {
    if options.column_names == ColumnNames::Header {
        return begin_csv(path, chunks, options)?.ok_or_else(|| empty_csv(path, options).into());
    }
    let rows = CsvRows::without_header(chunks, options.delimiter, names.to_vec());
    Ok(rows.map_err(|fault| file::failed_at(path, *fault))?)
}

/// That a CSV file has no row from which its columns would be known.
pub(super) fn empty_csv(path: &Path, options: &InputOptions) -> Failure {
    let failure = Failure::new(Exit::BadInput, format!("{} is empty", path.display()));
    let remedy = "check that the file was written whole, or say --format lines";
    match options.column_names {
        ColumnNames::Header => {
            failure.cause("a CSV file starts with a header that names its columns").remedy(remedy)
        }
        _ => failure.cause("it has no row, not even a first one").remedy(remedy),
    }
}

/// The rows of a CSV file behind the first one, its header; None if there isn't one, nor anything
/// else.
fn begin_csv<R: Read>(
    path: &Path,
    chunks: ChunkReader<R>,
    options: &InputOptions,
) -> Outcome<Option<CsvRows<R>>> {
    match CsvRows::open(chunks, options.delimiter) {
        Ok(rows) => Ok(rows),
        Err(fault) => {
            // What says the columns can't be left out as another row can.
            let (remedy, row) = match (&*fault, &options.column_names) {
                (ReadFault::Io(_), _) => return Err(file::failed_at(path, *fault).into()),
                (ReadFault::Row { fault, .. }, ColumnNames::Header) => {
                    (fault.remedy().unwrap_or("check that it is a CSV file"), "its header")
                }
                _ => ("say what its columns are called: --columns a,b", "which shows its columns"),
            };
            let remedy = remedy.to_owned();
            let mut failure = file::failed_at(path, *fault);
            failure.what = format!("{}, {row}", failure.what);
            failure.remedy = Some(remedy);
            Err(failure.into())
        }
    }
}
