//! What the user said about the input.

use super::columns::{HeaderOption, ValueForm};
use super::compression::Compression;
use super::format::FileFormat;
use super::value_schema::GivenSchema;
use crate::failure::Failure;
use crate::schema::TypeOverride;

/// What the columns of CSV files are called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ColumnNames {
    /// As each file's first row says, which is its header.
    #[default]
    Header,
    /// By their numbers: `c1`, `c2`, ... All rows are rows.
    Numbers,
    /// So. All rows are rows.
    Given(Vec<String>),
}

/// What the user said about the input.
#[derive(Debug, Clone)]
pub struct InputOptions {
    /// Whether a directory stands for the files of its directories too.
    pub is_recursive: bool,
    /// The format of all files; None to go by their names.
    pub format: Option<FileFormat>,
    /// How all files are compressed; None to go by their first bytes.
    pub compression: Option<Compression>,
    /// The byte between columns.
    pub delimiter: u8,
    /// What the columns of CSV files are called.
    pub column_names: ColumnNames,
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
    /// The schema of values that are Avro; None for one made of the columns.
    pub schema: Option<GivenSchema>,
    /// The name of the record in a schema that is made of the columns.
    pub record_name: String,
    /// Whether the schema of values that are JSON is registered, too.
    pub has_registry: bool,
    /// The registered schema that values are written by, if that is decided.
    pub schema_id: Option<u32>,
    /// That the registry didn't say which schema it is: no row can be written.
    pub registry_is_silent: Option<Box<Failure>>,
    /// The columns or fields of the value, in order; all if there are none.
    pub select: Vec<String>,
    /// Columns or fields that get another name in the value.
    pub rename: Vec<(String, String)>,
    /// Types that aren't to be inferred.
    pub types: Vec<TypeOverride>,
    /// The longest row, in bytes.
    pub row_bytes_max: usize,
}

#[cfg(test)]
impl InputOptions {
    /// What is in force when nothing is said.
    pub(super) fn unsaid() -> Self {
        Self {
            is_recursive: false,
            format: None,
            compression: None,
            delimiter: b',',
            column_names: ColumnNames::Header,
            key: None,
            no_key: false,
            timestamp: None,
            partition: None,
            headers: vec![],
            value: None,
            schema: None,
            record_name: "r".to_owned(),
            has_registry: false,
            schema_id: None,
            registry_is_silent: None,
            select: vec![],
            rename: vec![],
            types: vec![],
            row_bytes_max: 1 << 20,
        }
    }
}
