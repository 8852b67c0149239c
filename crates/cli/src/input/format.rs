//! The formats of files, and what their names say.

use std::path::Path;

use serde::Serialize;

use super::compression::Compression;
use crate::exit::Exit;
use crate::failure::Failure;

/// How a file is split into rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// Columns, with a header unless --no-header or --columns
    Csv,
    /// A JSON value a line
    Ndjson,
    /// A value a line, as it stands
    Lines,
    /// Columns of row groups, with their types
    Parquet,
}

impl FileFormat {
    /// The format that a file's name says it has.
    pub(super) fn of_name(path: &Path) -> Option<FileFormat> {
        let path = without_rotation(Compression::without_ending(path));
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "csv" => Some(FileFormat::Csv),
            "ndjson" | "jsonl" | "json" => Some(FileFormat::Ndjson),
            "txt" | "log" | "lines" => Some(FileFormat::Lines),
            "parquet" | "parq" | "pq" => Some(FileFormat::Parquet),
            _ => None,
        }
    }
}

/// A path without what rotation adds to a name: `events.csv.1`, `events.csv-20261128`.
fn without_rotation(path: &Path) -> &Path {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return path };
    let kept = name.trim_end_matches(|c: char| c.is_ascii_digit() || "-_.:TZ".contains(c));
    match name[kept.len()..].starts_with(['.', '-', '_']) {
        true => Path::new(kept),
        false => path,
    }
}

/// That a name says nothing.
pub(super) fn unknown_format(path: &Path) -> Failure {
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
                     .parquet, nor in one of them and .gz or .zst",
                )
                .remedy(
                    "say it: --format csv, --format ndjson or --format lines;\n\
                     or, of several files, only those that are meant: 'DIR/*.csv'",
                );
        }
    };
    failure
        .cause("of compressed files, gzip and zstd are read")
        .remedy(format!("unpack it on the way: {unpack} {name} | streamledger ingest -"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_file_has_the_format_of_its_log() {
        let of = |name: &str| FileFormat::of_name(Path::new(name));
        for name in ["e.csv", "e.csv.1", "d/e.csv.12.gz", "e.csv-20261128", "e.csv.2026-11-28.zst"]
        {
            assert_eq!(of(name), Some(FileFormat::Csv), "{name}");
        }
        assert_eq!((of("e.1"), of("csv.1"), of("e.csv1"), of("1")), (None, None, None, None));
        assert_eq!(of("e.1.csv"), Some(FileFormat::Csv));
    }
}
