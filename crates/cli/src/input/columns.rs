//! Which columns of a file become what of a record: what the user said, held against the header.

use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;

use super::csv::COLUMNS_MAX;
use super::options::{ColumnNames, InputOptions};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::nearest::nearest;
use crate::render::{HEADERS_MAX, HeaderColumn, RecordColumns, RecordFields};

/// What a record's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ValueForm {
    /// An object of the columns; JSON as it stands
    Json,
    /// The row as the file has it
    Raw,
    /// A record of the columns in Avro's binary encoding
    Avro,
}

/// `--header [NAME=]COLUMN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderOption {
    /// The header's name.
    pub name: String,
    /// The column or field it is taken from.
    pub column: String,
}

impl FromStr for HeaderOption {
    type Err = String;

    fn from_str(text: &str) -> Result<HeaderOption, String> {
        let (name, column) = text.split_once('=').unwrap_or((text, text));
        if name.is_empty() || column.is_empty() {
            return Err("write it as COLUMN or NAME=COLUMN".to_owned());
        }
        Ok(HeaderOption { name: name.to_owned(), column: column.to_owned() })
    }
}

impl InputOptions {
    /// Refuses what contradicts itself, before a file is looked at.
    pub(super) fn check(&self) -> Outcome<()> {
        let usage = |what: String, remedy: &str| Failure::new(Exit::Usage, what).remedy(remedy);
        if self.headers.len() > HEADERS_MAX {
            let what = format!("{} --header are given", self.headers.len());
            return usage(what, &format!("give {HEADERS_MAX} at most")).err();
        }
        if let ColumnNames::Given(names) = &self.column_names {
            if let Some(twice) = twice(names) {
                return usage(format!("--columns names {twice:?} twice"), "name it once").err();
            }
            if names.len() > COLUMNS_MAX {
                let what = format!("--columns names {} columns", names.len());
                return usage(what, &format!("name {COLUMNS_MAX} at most")).err();
            }
        }
        let is_shaped = self.shapes_value() || !self.types.is_empty();
        if self.value == Some(ValueForm::Raw) && is_shaped {
            let what = "--value raw sends rows as the files have them".to_owned();
            return usage(what, "leave out --select, --rename and --type, or --value raw").err();
        }
        if self.schema.is_some() && self.value != Some(ValueForm::Avro) {
            let what = "an Avro schema is given, and --value isn't avro".to_owned();
            return usage(what, "say --value avro, or leave --avro-schema out").err();
        }
        for (old, _) in &self.rename {
            if !self.select.is_empty() && !self.select.contains(old) {
                let what = format!("--rename names {old:?}, which --select leaves out");
                return usage(what, "--rename takes the file's name: --rename OLD=NEW").err();
            }
        }
        if let Some(twice) = twice(&self.select) {
            return usage(format!("--select names {twice:?} twice"), "name it once").err();
        }
        let renamed: Vec<String> = self.rename.iter().map(|(old, _)| old.clone()).collect();
        if let Some(twice) = twice(&renamed) {
            return usage(format!("--rename names {twice:?} twice"), "name it once").err();
        }
        if let Some(twice) = twice(&self.given_names()) {
            let what = format!("two columns would be named {twice:?}");
            return usage(what, "give one of them another name with --rename").err();
        }
        if let Some(twice) = twice(&self.key_columns(None)) {
            return usage(format!("--key names {twice:?} twice"), "name it once").err();
        }
        Ok(())
    }

    /// Whether the value isn't simply all columns by their own names.
    pub(super) fn shapes_value(&self) -> bool {
        !self.select.is_empty() || !self.rename.is_empty()
    }

    /// The names that the value's columns are given, as far as that is known without a file.
    fn given_names(&self) -> Vec<String> {
        let new_name = |old: &String| {
            let renamed = self.rename.iter().find(|(name, _)| name == old);
            renamed.map_or(old, |(_, new)| new).clone()
        };
        match self.select.is_empty() {
            true => self.rename.iter().map(|(_, new)| new.clone()).collect(),
            false => self.select.iter().map(new_name).collect(),
        }
    }

    /// The columns of the key. A column that has commas in its name is one of them by all of it.
    fn key_columns(&self, header: Option<&[String]>) -> Vec<String> {
        match &self.key {
            None => Vec::new(),
            Some(key) if header.is_some_and(|names| names.contains(key)) => vec![key.clone()],
            Some(key) => key.split(',').map(str::to_owned).collect(),
        }
    }

    /// Which fields of a line's object make its record.
    pub(super) fn record_fields(&self, partition_count: Option<i32>) -> RecordFields {
        let header = |option: &HeaderOption| (option.name.clone(), option.column.clone());
        RecordFields {
            key: self.key_columns(None),
            timestamp: self.timestamp.clone(),
            partition: self.partition.clone(),
            headers: self.headers.iter().map(header).collect(),
            select: self.select.clone(),
            rename: self.rename.clone(),
            partition_count,
        }
    }

    /// Which columns of a CSV file with this header make its records.
    pub(super) fn record_columns(&self, path: &Path, names: &[String]) -> Outcome<RecordColumns> {
        let find = |what: &str, wanted: &String| find_column(path, names, what, wanted);
        let key = self.key_columns(Some(names));
        let header = |option: &HeaderOption| {
            let column = find("header", &option.column)?;
            Ok(HeaderColumn { name: option.name.clone(), column })
        };
        Ok(RecordColumns {
            key: key.iter().map(|column| find("key", column)).collect::<Outcome<_>>()?,
            timestamp: self.timestamp.as_ref().map(|of| find("timestamp", of)).transpose()?,
            partition: self.partition.as_ref().map(|of| find("partition", of)).transpose()?,
            headers: self.headers.iter().map(header).collect::<Outcome<_>>()?,
            partition_count: None,
        })
    }

    /// The columns of the value in their order: where each is in the file, and its name.
    pub(super) fn output(&self, path: &Path, names: &[String]) -> Outcome<Vec<(usize, String)>> {
        let mut output: Vec<(usize, String)> = if self.select.is_empty() {
            names.iter().cloned().enumerate().collect()
        } else {
            let find = |wanted: &String| {
                find_column(path, names, "select", wanted).map(|index| (index, wanted.clone()))
            };
            self.select.iter().map(find).collect::<Outcome<_>>()?
        };
        for (old, new) in &self.rename {
            let index = find_column(path, names, "rename", old)?;
            if let Some((_, name)) = output.iter_mut().find(|(column, _)| *column == index) {
                name.clone_from(new);
            }
        }
        let outputs: Vec<String> = output.iter().map(|(_, name)| name.clone()).collect();
        if let Some(twice) = twice(&outputs) {
            let what = format!("two columns of {} would be named {twice:?}", path.display());
            return Failure::new(Exit::Usage, what)
                .cause("a JSON object would have that key twice")
                .remedy("give one of them another name with --rename, or leave it out by --select")
                .err();
        }
        Ok(output)
    }

    /// Lines have no columns.
    pub(super) fn check_for_lines(&self, path: &Path) -> Outcome<()> {
        let given = [
            (self.key.is_some(), "--key"),
            (self.timestamp.is_some(), "--timestamp"),
            (self.partition.is_some(), "--partition"),
            (!self.headers.is_empty(), "--header"),
            (!self.select.is_empty(), "--select"),
            (!self.rename.is_empty(), "--rename"),
            (self.value == Some(ValueForm::Json), "--value json"),
            (self.value == Some(ValueForm::Avro), "--value avro"),
        ];
        let Some((_, flag)) = given.into_iter().find(|(is_given, _)| *is_given) else {
            return Ok(());
        };
        let what = format!("lines have no columns for {flag} ({})", path.display());
        Failure::new(Exit::Usage, what)
            .remedy(format!("leave {flag} out, or say --format csv or ndjson"))
            .err()
    }

    /// Adds to a file's shape what columns are used for.
    pub(super) fn write_columns(&self, shape: &mut String) {
        if let Some(timestamp) = &self.timestamp {
            let _ = write!(shape, ", timestamp {timestamp}");
        }
        if let Some(partition) = &self.partition {
            let _ = write!(shape, ", partition {partition:?}");
        }
        for HeaderOption { name, column } in &self.headers {
            let _ = write!(shape, ", header {name:?} from {column:?}");
        }
        if !self.select.is_empty() {
            let _ = write!(shape, ", only {:?}", self.select);
        }
        for (old, new) in &self.rename {
            let _ = write!(shape, ", {old:?} as {new:?}");
        }
        if self.value == Some(ValueForm::Raw) {
            shape.push_str(", raw");
        }
    }
}

/// The first name that is there twice.
fn twice(names: &[String]) -> Option<&String> {
    names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| name)
}

/// The header must name each column once, or the JSON would have a key twice.
pub(super) fn check_header(path: &Path, names: &[String]) -> Outcome<()> {
    if names.iter().any(|name| name.contains('\r')) {
        return Failure::new(
            Exit::BadInput,
            format!("{} has lines that end in carriage returns alone", path.display()),
        )
        .remedy("convert them first, for example: tr '\\r' '\\n' < FILE > NEW")
        .err();
    }
    if let Some(name) = twice(names) {
        return Failure::new(
            Exit::BadInput,
            format!("{} has two columns named {name:?}", path.display()),
        )
        .cause("a JSON object would have that key twice")
        .remedy("rename one of them in the file's first line")
        .err();
    }
    Ok(())
}

fn find_column(path: &Path, names: &[String], what: &str, wanted: &str) -> Outcome<usize> {
    if let Some(index) = names.iter().position(|name| name == wanted) {
        return Ok(index);
    }
    let columns = names.join(", ");
    let remedy = match nearest(wanted, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near}? Its columns are:\n{columns}"),
        None => format!("choose one of its columns:\n{columns}"),
    };
    Failure::new(Exit::Usage, format!("{} has no column {wanted:?}", path.display()))
        .cause(format!("--{what} names a column of the file's header"))
        .remedy(remedy)
        .err()
}
