//! What a Parquet file says of itself: its footer, checked before anything in it is believed.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use parquet::basic::{Compression as Codec, Type};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};

use super::bytes::{FileBytes, decode, reason};
use super::meaning::Meaning;
use super::thrift::schema_depth;
use super::tree::Node;
use crate::input::compression::DecodeFault;
use crate::input::position::ContentHasher;

/// What a Parquet file begins and ends with.
pub(super) const MAGIC: [u8; 4] = *b"PAR1";

/// What one ends with whose footer is encrypted.
const MAGIC_ENCRYPTED: [u8; 4] = *b"PARE";

/// The footer's length and the magic behind it.
const TAIL_BYTES: u64 = 8;

/// Groups within groups of a schema, at most.
const SCHEMA_DEPTH_MAX: usize = 64;

/// A file and its footer.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) bytes: FileBytes,
    pub(super) metadata: ParquetMetaData,
    pub(super) groups: Vec<Group>,
    pub(super) rows: u64,
    /// What the footer hashes to, with the file's length.
    pub(super) footer_hash: ContentHasher,
}

/// A row group: which rows it has, and where in the file they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) first_row: u64,
    pub(super) rows: u64,
    pub(super) start: u64,
    pub(super) end: u64,
    /// Bytes of the groups before it.
    pub(super) bytes_before: u64,
}

/// A column at the top of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopColumn {
    pub(super) name: String,
    /// The first leaf of it, and what it is made of; or why it can't be read.
    pub(super) content: Result<(usize, Node), String>,
    /// Whether its integers have 64 bits.
    pub(super) is_wide: bool,
}

impl TopColumn {
    /// What it is made of, if it can be read.
    pub(super) fn node(&self) -> Option<&Node> {
        self.content.as_ref().ok().map(|(_, node)| node)
    }

    /// What its single values mean; none if it is nested.
    pub(super) fn meaning(&self) -> Option<Meaning> {
        self.node()?.as_value().map(|value| value.meaning)
    }

    /// Its leaves in the file.
    pub(super) fn leaves(&self) -> Range<usize> {
        let Ok((first, node)) = &self.content else { return 0..0 };
        *first..first + node.leaf_count()
    }
}

impl Layout {
    /// Reads the footer.
    pub(super) fn read(file: File, file_bytes: u64) -> io::Result<Layout> {
        let bytes = FileBytes { file: Arc::new(file), file_bytes };
        let (footer, tail) = footer(&bytes)?;
        let depth = schema_depth(&footer);
        if depth.is_none_or(|depth| depth > SCHEMA_DEPTH_MAX) {
            let what = format!("it has no schema of {SCHEMA_DEPTH_MAX} levels or fewer");
            return Err(fault("its footer", &what));
        }
        let metadata = decode(|| ParquetMetaDataReader::decode_metadata(&footer))
            .map_err(|error| fault("its footer", &reason(&error)))?;
        let groups = groups(&metadata, file_bytes)?;
        let rows = groups.last().map_or(0, |group| group.first_row + group.rows);
        let mut footer_hash = ContentHasher::default();
        footer_hash.update(&footer);
        footer_hash.update(&tail);
        footer_hash.update(&file_bytes.to_le_bytes());
        Ok(Layout { bytes, metadata, groups, rows, footer_hash })
    }

    /// The columns at the top of the schema, in order.
    pub(super) fn columns(&self) -> Vec<TopColumn> {
        let schema = self.metadata.file_metadata().schema_descr();
        let fields = schema.root_schema().get_fields();
        let column = |(root, name): (usize, &str)| {
            let content = Node::of_column(schema, root);
            let is_wide = |leaf: usize| schema.column(leaf).physical_type() == Type::INT64;
            TopColumn {
                name: name.to_owned(),
                is_wide: content.as_ref().is_ok_and(|(leaf, _)| is_wide(*leaf)),
                content,
            }
        };
        fields.iter().map(|field| field.name()).enumerate().map(column).collect()
    }

    /// That the chunks of these columns are compressed by what can be unpacked.
    pub(super) fn check_codecs(&self, leaves: impl Iterator<Item = usize>) -> io::Result<()> {
        for leaf in leaves {
            for (index, group) in self.metadata.row_groups().iter().enumerate() {
                let codec = group.column(leaf).compression();
                if let Codec::BROTLI(_) | Codec::LZO = codec {
                    let column = group.column(leaf).column_path().string();
                    let place = self.place(index, &column);
                    let written = match codec {
                        Codec::LZO => "compressed by LZO",
                        _ => "compressed by Brotli",
                    };
                    let remedy = "write the file with zstd, or leave the column out: --select";
                    return Err(unreadable(place, written, remedy));
                }
            }
        }
        Ok(())
    }

    /// The index of the row group that a row is in, counted from 0; past the last row that of none.
    pub(super) fn group_of(&self, row: u64) -> usize {
        self.groups.partition_point(|group| group.first_row + group.rows <= row)
    }

    /// A column's part of a row group, in words.
    pub(super) fn place(&self, group: usize, column: &str) -> String {
        format!("row group {} of {}, column {column}", group + 1, self.groups.len())
    }
}

/// Something of the file that isn't what it should be.
pub(super) fn fault(place: &str, reason: &str) -> io::Error {
    let (place, reason) = (place.to_owned(), reason.to_owned());
    io::Error::new(io::ErrorKind::InvalidData, DecodeFault::Parquet { place, reason })
}

/// Something of the file that is written as it should be, and can't be read here.
fn unreadable(place: String, written: &'static str, remedy: &'static str) -> io::Error {
    let fault = DecodeFault::Unreadable { place, written, remedy };
    io::Error::new(io::ErrorKind::InvalidData, fault)
}

/// The footer, and what stands behind it.
fn footer(bytes: &FileBytes) -> io::Result<(bytes::Bytes, bytes::Bytes)> {
    let file_bytes = bytes.file_bytes;
    if file_bytes < MAGIC.len() as u64 + TAIL_BYTES {
        return Err(fault("its footer", "the file is too short to have one"));
    }
    if bytes.range(0, MAGIC.len())? != MAGIC[..] {
        return Err(fault("its first bytes", "they aren't PAR1: it isn't a Parquet file"));
    }
    let tail = bytes.range(file_bytes - TAIL_BYTES, TAIL_BYTES as usize)?;
    let (length, magic) = tail.split_at(4);
    if magic == MAGIC_ENCRYPTED {
        let remedy = "write the file without encryption";
        return Err(unreadable("its footer".to_owned(), "encrypted", remedy));
    }
    if magic != MAGIC {
        return Err(fault(
            "its last bytes",
            "they aren't PAR1: the file doesn't end where it should",
        ));
    }
    let length = u32::from_le_bytes(length.try_into().unwrap_or_default());
    let start = (file_bytes - TAIL_BYTES).checked_sub(length.into());
    match start.filter(|start| *start >= MAGIC.len() as u64) {
        Some(start) => Ok((bytes.range(start, length as usize)?, tail)),
        None => Err(fault("its footer", "it says to be longer than the file")),
    }
}

/// The row groups, whose chunks must be in the file and not in one another.
fn groups(metadata: &ParquetMetaData, file_bytes: u64) -> io::Result<Vec<Group>> {
    let columns = metadata.file_metadata().schema_descr().num_columns();
    let (mut groups, mut first_row, mut sum_bytes) = (Vec::new(), 0_u64, 0_u64);
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let wrong = |what: &str| {
            let place = format!("row group {} of {}", index + 1, metadata.row_groups().len());
            fault(&place, what)
        };
        if group.columns().len() != columns {
            return Err(wrong("it doesn't have the columns of the schema"));
        }
        let rows = u64::try_from(group.num_rows()).ok();
        let next_row = rows.and_then(|rows| first_row.checked_add(rows));
        let (Some(rows), Some(next_row)) = (rows, next_row) else {
            return Err(wrong("its number of rows is impossible"));
        };
        let Some((start, end)) = extent(group).filter(|(_, end)| *end <= file_bytes) else {
            return Err(wrong("its columns aren't all in the file"));
        };
        let bytes_before = sum_bytes;
        sum_bytes = sum_bytes.saturating_add(end - start);
        if sum_bytes > file_bytes {
            return Err(wrong("its columns are where those of another are"));
        }
        groups.push(Group { first_row, rows, start, end, bytes_before });
        first_row = next_row;
    }
    Ok(groups)
}

/// The first byte of a row group, and the one after its last.
fn extent(group: &RowGroupMetaData) -> Option<(u64, u64)> {
    let mut extent: Option<(u64, u64)> = None;
    for column in group.columns() {
        if column.file_path().is_some_and(|path| !path.is_empty()) {
            return None;
        }
        let first = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let start = u64::try_from(first).ok()?;
        let end = start.checked_add(u64::try_from(column.compressed_size()).ok()?)?;
        extent = Some(match extent {
            None => (start, end),
            Some((first, last)) => (first.min(start), last.max(end)),
        });
    }
    Some(extent.unwrap_or((0, 0)))
}
