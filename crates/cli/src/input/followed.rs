//! A file that is followed: opened generation by generation, once its first line is whole.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::chunk::ChunkReader;
use super::compression::Compression;
use super::csv::CsvRows;
use super::format::FileFormat;
use super::options::{ColumnNames, InputOptions};
use super::plan::InputPlan;
use super::planned::{PlannedFile, PlannedRows, Source, unpack};
use super::source::RecordSource;
use super::tail::{FileIdentity, Tail, TailReader};
use super::{ReadFault, file, value_schema};
use crate::clicks;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::schema::ColumnType;

/// A generation of a followed file, at its first row.
#[derive(Debug)]
pub struct OpenGeneration {
    /// Its rows.
    pub source: Box<dyn RecordSource>,
    /// What sees to it; None of one that is compressed, which doesn't grow.
    pub tail: Option<Tail>,
    /// Which file it is.
    pub identity: FileIdentity,
}

impl InputPlan {
    /// A generation of a followed file; None while it isn't there, or its header isn't.
    ///
    /// # Errors
    /// It can't be read, or its columns are others than those of the generation that was planned.
    pub fn open_generation(
        &self,
        file: &PlannedFile,
        path: &Path,
    ) -> Outcome<Option<OpenGeneration>> {
        let failed = |error: io::Error| file::failed_at(path, ReadFault::Io(error));
        let opened = match File::open(path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error).into()),
        };
        let identity = FileIdentity::of(&opened.metadata().map_err(failed)?);
        let compression = Compression::of_file(&opened).map_err(failed)?;
        if compression != Compression::None {
            let (unpacked, _) = unpack(path, compression)?;
            if !self.has_header(file, path, unpacked)? {
                return Ok(None);
            }
            let (unpacked, meter) = unpack(path, compression)?;
            let source = Source::File(unpacked);
            let source = self.open_source(file, path, source, Some(meter), true)?;
            return Ok(Some(OpenGeneration { source, tail: None, identity }));
        }
        let tail = Tail::new(opened);
        if !self.has_header(file, path, TailReader::new(&tail.again()))? {
            return Ok(None);
        }
        let source = Source::Tail(TailReader::new(&tail));
        let source = self.open_source(file, path, source, None, true)?;
        Ok(Some(OpenGeneration { source, tail: Some(tail), identity }))
    }

    /// Whether the header is whole, or the first row of a CSV file without one; other files have
    /// nothing to wait for.
    fn has_header(&self, file: &PlannedFile, path: &Path, source: impl Read) -> Outcome<bool> {
        let expected: Vec<&str> = match &file.rows {
            PlannedRows::Clicks { .. } => clicks::COLUMNS.to_vec(),
            PlannedRows::Typed { names, .. } | PlannedRows::Raw { names, .. } => {
                names.iter().map(String::as_str).collect()
            }
            PlannedRows::Ndjson { .. } | PlannedRows::Lines | PlannedRows::Parquet(_) => {
                return Ok(true);
            }
        };
        let Some(found) = header(path, source, self.options())? else { return Ok(false) };
        // Without a header it says no names, and each row has to have as many columns.
        if found == expected || self.options().column_names != ColumnNames::Header {
            return Ok(true);
        }
        let what = format!("{} has other columns than the file before it", path.display());
        Failure::new(Exit::BadInput, what)
            .cause(format!("it has {}; before there were {}", found.join(","), expected.join(",")))
            .remedy("begin anew with the new columns: --job with another name")
            .err()
    }
}

/// What the first row holds, if it is whole: the columns' names if that is the header.
fn header(path: &Path, source: impl Read, options: &InputOptions) -> Outcome<Option<Vec<String>>> {
    let chunks = ChunkReader::new(source, options.row_bytes_max);
    match CsvRows::open(chunks, options.delimiter) {
        Ok(rows) => Ok(rows.map(|rows| rows.names().to_vec())),
        Err(fault) if fault.is_not_yet() => Ok(None),
        // Told when the row's turn comes.
        Err(fault)
            if options.column_names != ColumnNames::Header
                && matches!(*fault, ReadFault::Row { .. }) =>
        {
            Ok(Some(Vec::new()))
        }
        Err(fault) => Err(file::failed_at(path, *fault).into()),
    }
}

/// Whether a file that is to be followed is there, with its header if it has one.
pub fn has_begun(path: &Path, options: &InputOptions) -> Outcome<bool> {
    // To open a pipe would wait for who writes to it; what it is is told when it is looked at.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Ok(true);
    }
    let opened = match File::open(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(file::failed_at(path, ReadFault::Io(error)).into()),
    };
    if options.format.or_else(|| FileFormat::of_name(path)) != Some(FileFormat::Csv) {
        return Ok(true);
    }
    // What is wrong with it otherwise is told when it is looked at.
    let found = header(path, TailReader::new(&Tail::new(opened)), options);
    Ok(found.map_or(true, |header| header.is_some()))
}

impl PlannedFile {
    /// That rows can be added to its end.
    pub fn check_can_be_followed(&self) -> Outcome<()> {
        let what = format!("{} can't be followed", self.path.display());
        if !self.can_grow() {
            return Failure::new(Exit::Usage, what)
                .cause(format!("{} has a footer behind its rows", self.format_name()))
                .remedy("leave --follow out")
                .err();
        }
        if self.compression == Compression::None {
            return Ok(());
        }
        Failure::new(Exit::Usage, what)
            .cause("it is compressed: rows aren't added to its end one by one")
            .remedy(
                "name the file that is written to; --append takes a member added to a gzip file",
            )
            .err()
    }

    /// Takes the columns' types from the shape that a part of its rows was ingested in, so that the
    /// others have the same whatever is inferred from them; not those that the user says.
    pub fn keep_types(&mut self, shape: &str, said: &[String]) {
        if let PlannedRows::Ndjson { derived: Some(schema) } = &mut self.rows
            && let Some(kept) = value_schema::in_shape(shape)
        {
            *schema = kept;
        }
        let PlannedRows::Typed { names, types, .. } = &mut self.rows else { return };
        let Some(kept) = types_in(shape, names) else { return };
        for ((name, column_type), kept) in names.iter().zip(types).zip(kept) {
            if !said.contains(name) {
                *column_type = kept;
            }
        }
    }
}

/// The types in a shape of a file with these columns: behind `, columns`, each behind its name.
pub(super) fn types_in(shape: &str, names: &[String]) -> Option<Vec<ColumnType>> {
    let (_, mut rest) = shape.split_once(", columns ")?;
    let mut types = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix(' ')?;
        }
        rest = rest.strip_prefix(name.as_str())?.strip_prefix(' ')?;
        let (word, _) = rest.split_once(' ').unwrap_or((rest, ""));
        types.push(*ColumnType::ALL.iter().find(|known| known.name() == word)?);
        rest = &rest[word.len()..];
    }
    rest.is_empty().then_some(types)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_back_from_a_shape_also_where_names_have_spaces() {
        let names = ["id".to_owned(), "the id number".to_owned()];
        let shape = "csv, key id, columns id integer the id number string";
        let expected = Some(vec![ColumnType::Integer, ColumnType::String]);
        assert_eq!(types_in(shape, &names), expected);
        assert_eq!(types_in("csv, columns id integer", &names), None);
        assert_eq!(types_in("csv, columns id integer the id number text", &names), None);
        assert_eq!(types_in(&format!("{shape} more string"), &names), None);
        assert_eq!(types_in("ndjson", &names), None);
    }
}
