//! Parquet files for tests, made by the writer of the `parquet` crate.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // Each test file uses a part of it.

use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray,
    FixedLenByteArrayType, FloatType, Int32Type, Int64Type, Int96, Int96Type,
};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;

/// The values of a column in one row group.
pub enum Cells {
    Bools(Vec<Option<bool>>),
    Ints(Vec<Option<i32>>),
    Longs(Vec<Option<i64>>),
    Int96s(Vec<Option<[u32; 3]>>),
    Floats(Vec<Option<f32>>),
    Doubles(Vec<Option<f64>>),
    Bytes(Vec<Option<Vec<u8>>>),
    Fixed(Vec<Option<Vec<u8>>>),
    /// Those that are there, of a nested column with these definition and repetition levels.
    Nested(Box<Cells>, Vec<i16>, Vec<i16>),
}

impl Cells {
    /// Of text.
    pub fn texts<'a>(texts: impl IntoIterator<Item = Option<&'a str>>) -> Cells {
        Cells::Bytes(texts.into_iter().map(|text| text.map(|text| text.into())).collect())
    }

    /// Of 64-bit integers, none null.
    pub fn longs(values: impl IntoIterator<Item = i64>) -> Cells {
        Cells::Longs(values.into_iter().map(Some).collect())
    }

    /// The same below groups and lists, by definition levels and repetition levels (none, where
    /// there is no list).
    pub fn at(self, definitions: Vec<i16>, repetitions: Vec<i16>) -> Cells {
        Cells::Nested(Box::new(self), definitions, repetitions)
    }
}

/// A file with pages of 100 rows.
pub fn parquet(schema: &str, codec: Compression, groups: &[Vec<Cells>]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder()
        .set_compression(codec)
        .set_data_page_row_count_limit(100)
        .set_write_batch_size(50)
        .build();
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    for columns in groups {
        let mut group = file.next_row_group().unwrap();
        for cells in columns {
            let mut column = group.next_column().unwrap().unwrap();
            match cells {
                Cells::Nested(cells, definitions, repetitions) => {
                    let levels = (definitions.as_slice(), repetitions.as_slice());
                    write_cells(&mut column, cells, Some(levels));
                }
                cells => write_cells(&mut column, cells, None),
            }
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    file.into_inner().unwrap()
}

/// Definition and repetition levels.
type Levels<'a> = Option<(&'a [i16], &'a [i16])>;

fn write_cells(column: &mut SerializedColumnWriter<'_>, cells: &Cells, levels: Levels<'_>) {
    match cells {
        Cells::Bools(cells) => write::<BoolType>(column, cells.clone(), levels),
        Cells::Ints(cells) => write::<Int32Type>(column, cells.clone(), levels),
        Cells::Longs(cells) => write::<Int64Type>(column, cells.clone(), levels),
        Cells::Int96s(cells) => {
            let int96 = |parts: &[u32; 3]| Int96::from(parts.to_vec());
            let cells = cells.iter().map(|cell| cell.as_ref().map(int96)).collect();
            write::<Int96Type>(column, cells, levels);
        }
        Cells::Floats(cells) => write::<FloatType>(column, cells.clone(), levels),
        Cells::Doubles(cells) => write::<DoubleType>(column, cells.clone(), levels),
        Cells::Bytes(cells) => {
            let cells = cells.iter().map(|cell| cell.clone().map(ByteArray::from));
            write::<ByteArrayType>(column, cells.collect(), levels);
        }
        Cells::Fixed(cells) => {
            let fixed = |cell: &Option<Vec<u8>>| cell.clone().map(FixedLenByteArray::from);
            write::<FixedLenByteArrayType>(column, cells.iter().map(fixed).collect(), levels);
        }
        Cells::Nested(..) => panic!("levels of levels"),
    }
}

fn write<T: DataType>(
    column: &mut SerializedColumnWriter<'_>,
    cells: Vec<Option<T::T>>,
    levels: Levels<'_>,
) {
    let flat: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.into_iter().flatten().collect();
    let (definitions, repetitions) = match levels {
        Some((definitions, [])) => (definitions, None),
        Some((definitions, repetitions)) => (definitions, Some(repetitions)),
        None => (flat.as_slice(), None),
    };
    column.typed::<T>().write_batch(&values, Some(definitions), repetitions).unwrap();
}
