//! Parquet files of every type, gone on with from every row, and of every kind of damage.

use std::path::PathBuf;

use parquet::basic::{Compression as Codec, ZstdLevel};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::input::columns::HeaderOption;
use crate::input::value_schema::GivenSchema;
use crate::input::{InputPlan, ResumeFault, SourceRecord};

#[path = "../../../tests/tool/parquet_file.rs"]
pub(super) mod parquet_file;

use parquet_file::{Cells, parquet};

/// A file in a directory that goes with it.
pub(super) struct Given {
    _directory: TempDir,
    pub(super) path: PathBuf,
}

pub(super) fn given(content: &[u8]) -> Given {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("f.parquet");
    std::fs::write(&path, content).unwrap();
    Given { _directory: directory, path }
}

impl Given {
    pub(super) fn plan(&self, options: InputOptions) -> Outcome<InputPlan> {
        let paths = [self.path.clone()];
        InputPlan::make(&paths, options, || panic!("nobody named standard input"))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn shown(record: &SourceRecord<'_>) -> String {
    let rendered = &record.rendered;
    let key = rendered.key.map_or("-".to_owned(), text);
    format!("{}:{key}:{}", record.line, text(rendered.value))
}

/// What is left of a source: records, bad rows, and what it ended with.
pub(super) fn rest(source: &mut dyn RecordSource) -> Vec<String> {
    let mut seen = vec![];
    loop {
        match source.next_record() {
            Ok(Some(record)) => seen.push(shown(&record)),
            Ok(None) => return seen,
            Err(fault) => match *fault {
                ReadFault::Row { line, fault } => seen.push(format!("{line}:the row {fault}")),
                ReadFault::Io(error) => {
                    seen.push(format!("ended: {error}"));
                    return seen;
                }
            },
        }
    }
}

pub(super) fn all(content: &[u8], options: InputOptions) -> Vec<String> {
    let given = given(content);
    let plan = given.plan(options).unwrap_or_else(|failure| panic!("{failure}"));
    rest(plan.open(&plan.files[0]).unwrap().as_mut())
}

pub(super) fn refused(content: &[u8], options: InputOptions) -> String {
    match given(content).plan(options) {
        Ok(_) => panic!("it is taken"),
        Err(failure) => failure.to_string(),
    }
}

/// Rows of a key and a number, in row groups of so many.
fn numbered(groups: &[usize]) -> Vec<u8> {
    let mut row = 0..;
    let groups: Vec<Vec<Cells>> = (groups.iter())
        .map(|rows| {
            let rows: Vec<i64> = row.by_ref().take(*rows).collect();
            let keys: Vec<String> = rows.iter().map(|row| format!("k{}", row % 7)).collect();
            let keys = keys.iter().enumerate();
            let keys = keys.map(|(at, key)| (at % 5 != 4).then_some(key.as_str()));
            vec![Cells::texts(keys), Cells::longs(rows)]
        })
        .collect();
    let schema = "message m { optional binary k (UTF8); required int64 row; }";
    parquet(schema, Codec::SNAPPY, &groups)
}

pub(super) const EVERY_TYPE: &str = "message m {
    optional boolean b;
    optional int32 i8 (INTEGER(8,true));
    optional int32 u32 (INTEGER(32,false));
    optional int64 i;
    optional int64 u64 (INTEGER(64,false));
    optional float f;
    optional double d;
    optional int32 small (DECIMAL(9,2));
    optional int64 wide (DECIMAL(18,3));
    optional binary vast (DECIMAL(38,1));
    optional int32 day (DATE);
    optional int32 noon (TIME(MILLIS,true));
    optional int64 at (TIMESTAMP(MICROS,true));
    optional int64 here (TIMESTAMP(NANOS,false));
    optional int64 old (TIMESTAMP_MILLIS);
    optional int96 older;
    optional binary s (UTF8);
    optional binary raw;
    optional fixed_len_byte_array(16) id (UUID);
    optional fixed_len_byte_array(2) half (FLOAT16);
    optional fixed_len_byte_array(3) three;
}";

/// A value of each type of `EVERY_TYPE`, and null.
pub(super) fn cells_of_every_type() -> Vec<Cells> {
    let uuid: Vec<u8> = (0..16).collect();
    vec![
        Cells::Bools(vec![Some(true), None]),
        Cells::Ints(vec![Some(-7), None]),
        Cells::Ints(vec![Some(-1), None]),
        Cells::Longs(vec![Some(i64::MAX), None]),
        Cells::Longs(vec![Some(-1), None]),
        Cells::Floats(vec![Some(0.1), None]),
        Cells::Doubles(vec![Some(f64::NAN), None]),
        Cells::Ints(vec![Some(-12345), None]),
        Cells::Longs(vec![Some(5), None]),
        Cells::Bytes(vec![Some(vec![0xff, 0x01]), None]),
        Cells::Ints(vec![Some(18170), None]),
        Cells::Ints(vec![Some(43_200_007), None]),
        Cells::Longs(vec![Some(1_569_888_000_000_001), None]),
        Cells::Longs(vec![Some(-1), None]),
        Cells::Longs(vec![Some(1_569_888_000_001), None]),
        Cells::Int96s(vec![Some([7, 0, 2_440_589]), None]),
        Cells::texts([Some("a\"é\n"), None]),
        Cells::Bytes(vec![Some(vec![0xff, 0]), None]),
        Cells::Fixed(vec![Some(uuid), None]),
        Cells::Fixed(vec![Some(vec![0, 0x3c]), None]),
        Cells::Fixed(vec![Some(vec![1, 2, 3]), None]),
    ]
}

#[test]
fn every_type_is_written_whole_and_null_is_null() {
    let columns = cells_of_every_type();
    let content = parquet(EVERY_TYPE, Codec::UNCOMPRESSED, &[columns]);
    let seen = all(&content, InputOptions { key: Some("i".to_owned()), ..InputOptions::unsaid() });
    assert_eq!(
        seen[0],
        "1:9223372036854775807:{\"b\":true,\"i8\":-7,\"u32\":4294967295,\"i\":9223372036854775807,\
         \"u64\":18446744073709551615,\"f\":0.1,\"d\":\"NaN\",\"small\":-123.45,\
         \"wide\":\"0.005\",\"vast\":\"-25.5\",\"day\":\"2019-10-01\",\"noon\":\"12:00:00.007\",\
         \"at\":\"2019-10-01T00:00:00.000001Z\",\"here\":\"1969-12-31T23:59:59.999999999\",\
         \"old\":\"2019-10-01T00:00:00.001Z\",\"older\":\"1970-01-02T00:00:00.000000007Z\",\
         \"s\":\"a\\\"é\\n\",\"raw\":\"/wA=\",\"id\":\"00010203-0405-0607-0809-0a0b0c0d0e0f\",\
         \"half\":1.0,\"three\":\"AQID\"}"
    );
    let fields = seen[1].strip_prefix("2:-:{").unwrap().strip_suffix('}').unwrap();
    assert_eq!(fields.split(',').filter(|field| field.ends_with(":null")).count(), 21);
    assert!(seen.iter().all(|row| {
        serde_json::from_str::<serde_json::Value>(row.splitn(3, ':').nth(2).unwrap()).is_ok()
    }));
}

#[test]
fn columns_make_key_time_partition_and_headers_by_their_names() {
    let schema = "message m { required int64 id; optional binary shop (UTF8);
        optional int64 at (TIMESTAMP(MICROS,true)); required int32 p; required double sum; }";
    let columns = vec![
        Cells::longs([1, 2, 3]),
        Cells::texts([Some("s"), None, Some("")]),
        Cells::Longs(vec![Some(1_999), Some(1_569_888_000_000_001), None]),
        Cells::Ints(vec![Some(0), Some(5), Some(0)]),
        Cells::Doubles(vec![Some(1.5), Some(2.0), Some(1e21)]),
    ];
    let content = parquet(schema, Codec::GZIP(Default::default()), &[columns]);
    let options = InputOptions {
        key: Some("shop,id".to_owned()),
        timestamp: Some("at".to_owned()),
        partition: Some("p".to_owned()),
        headers: vec![HeaderOption { name: "h".to_owned(), column: "shop".to_owned() }],
        select: vec!["sum".to_owned(), "id".to_owned()],
        rename: vec![("sum".to_owned(), "total".to_owned())],
        ..InputOptions::unsaid()
    };
    let given = given(&content);
    let mut plan = given.plan(options.clone()).unwrap();
    assert_eq!(plan.column_types(), [("total", "number".into()), ("id", "integer".into())]);
    plan.set_partition_count(3);
    let mut source = plan.open(&plan.files[0]).unwrap();
    let record = source.next_record().unwrap().unwrap();
    assert_eq!(shown(&record), "1:{\"shop\":\"s\",\"id\":1}:{\"total\":1.5,\"id\":1}");
    assert_eq!((record.rendered.timestamp_ms, record.rendered.partition), (Some(1), Some(0)));
    let headers: Vec<_> = record.rendered.headers.iter().collect();
    assert_eq!(headers, [("h", Some(&b"s"[..]))]);
    let seen = rest(source.as_mut());
    assert_eq!(seen[0], "2:the row holds \"5\" in column p, which isn't a partition of the topic");
    assert_eq!(seen[1], "3:the row holds \"\" in column at, which isn't a point in time");
    assert_eq!(source.last_row(), Some(&b"{\"total\":1e21,\"id\":3}"[..]), "a dead letter's value");
    for (key, wrong) in [("shop", "no column"), ("sho", "did you mean shop?")] {
        let missing = InputOptions { key: Some(format!("{key}x")), ..options.clone() };
        assert!(refused(&content, missing).contains(wrong));
    }
}

#[test]
fn text_that_isnt_utf8_and_rows_too_long_are_bad_rows() {
    let schema = "message m { required binary s (UTF8); }";
    let columns = [b"ok".to_vec(), vec![0xe9], vec![b'x'; 90], b"last".to_vec()].map(Some);
    let content = parquet(schema, Codec::UNCOMPRESSED, &[vec![Cells::Bytes(columns.into())]]);
    assert_eq!(
        all(&content, InputOptions { row_bytes_max: 60, ..InputOptions::unsaid() }),
        [
            "1:-:{\"s\":\"ok\"}",
            "2:the row isn't UTF-8 in column s: byte 0xe9 at its position 1",
            "3:the row is longer than 60 bytes",
            "4:-:{\"s\":\"last\"}",
        ]
    );
}

#[test]
fn it_is_gone_on_with_from_every_row_however_it_was_come_to() {
    let content = numbered(&[150, 0, 7, 1100]);
    let given = given(&content);
    let plan =
        given.plan(InputOptions { key: Some("k".to_owned()), ..InputOptions::unsaid() }).unwrap();
    let [file] = &plan.files[..] else { panic!("one file") };
    let whole = rest(plan.open(file).unwrap().as_mut());
    assert_eq!(whole.len(), 1257);
    let mut first = plan.open_hashed(file).unwrap();
    let mut last_bytes = 0;
    for row in 0..=whole.len() {
        let position = first.position().unwrap();
        assert_eq!(position.place.next_line, row as u64 + 1);
        assert!(position.place.bytes >= last_bytes);
        last_bytes = position.place.bytes;
        if row % 37 == 0 || matches!(row, 1 | 149..=151 | 156..=158 | 1180..=1182 | 1257) {
            let mut resumed = plan.open_hashed(file).unwrap();
            resumed.resume(&position).unwrap();
            assert_eq!(rest(resumed.as_mut()), whole[row..], "from row {row}");
            let mut skipped = plan.open_hashed(file).unwrap();
            skipped.skip_to(position.place).unwrap();
            assert_eq!(skipped.position(), Some(position), "row {row}");
        }
        let _ = first.next_record().unwrap();
    }
    assert_eq!(last_bytes, content.len() as u64);
    assert_eq!(plan.open(file).unwrap().position(), None, "of a reading that hashes nothing");
}

#[test]
fn another_file_isnt_gone_on_with() {
    let given = given(&numbered(&[150, 150]));
    let plan = given.plan(InputOptions::unsaid()).unwrap();
    let mut source = plan.open_hashed(&plan.files[0]).unwrap();
    for _ in 0..100 {
        source.next_record().unwrap().unwrap();
    }
    let position = source.position().unwrap();
    let resumed = |content: &[u8]| {
        std::fs::write(&given.path, content).unwrap();
        plan.open_hashed(&plan.files[0]).unwrap().resume(&position)
    };
    resumed(&numbered(&[150, 150])).unwrap();
    // A byte of the first row group, which was begun.
    let mut edited = numbered(&[150, 150]);
    edited[40] ^= 1;
    for content in [edited, numbered(&[150, 149]), numbered(&[150, 151]), numbered(&[50])] {
        assert!(matches!(resumed(&content), Err(ResumeFault::OtherFile)));
    }
}

#[test]
fn what_isnt_read_is_refused_by_name_unless_it_is_left_out() {
    let schema = "message m { required int64 id; required group l (LIST) { \
                  required int64 element; } }";
    let columns = vec![Cells::longs([1]), Cells::longs([2])];
    let content = parquet(schema, Codec::UNCOMPRESSED, &[columns]);
    let told = refused(&content, InputOptions::unsaid());
    for part in ["a column \"l\" that isn't read", "elements aren't repeated", "--select id"] {
        assert!(told.contains(part), "{part} isn't in\n{told}");
    }
    let select = vec!["id".to_owned()];
    assert_eq!(
        all(&content, InputOptions { select, ..InputOptions::unsaid() }),
        ["1:-:{\"id\":1}"]
    );
}

#[test]
fn a_schema_without_end_is_refused_before_it_is_walked() {
    let (open, close) = ("required group g { ".repeat(80), "} ".repeat(80));
    let schema = format!("message m {{ {open} required int64 x; {close} }}");
    let content = parquet(&schema, Codec::UNCOMPRESSED, &[vec![Cells::longs([2])]]);
    let told = refused(&content, InputOptions::unsaid());
    assert!(told.contains("its footer: it has no schema of 64 levels or fewer"), "{told}");
}

#[test]
fn what_isnt_a_whole_parquet_file_says_what_is_wrong() {
    let whole = numbered(&[20]);
    let end = whole.len();
    let mut long = whole.clone();
    long[end - 8..end - 4].copy_from_slice(&u32::MAX.to_le_bytes());
    for (content, part) in [
        (&b""[..], "too short"),
        (b"k,row\n1,2\n3,4\n", "they aren't PAR1: it isn't a Parquet file"),
        (&whole[..end - 3], "the file doesn't end where it should"),
        (&long, "longer than the file"),
    ] {
        let told = refused(content, InputOptions::unsaid());
        for part in [part, "can't read ", "f.parquet", "get the whole file anew"] {
            assert!(told.contains(part), "{part} isn't in\n{told}");
        }
    }
    let mut encrypted = whole.clone();
    encrypted[end - 1] = b'E';
    // The codec stands in the footer behind the column's path.
    let mut brotli = whole.clone();
    let path_and_codec = b"\x19\x18\x01k\x15\x02";
    let at = brotli.windows(path_and_codec.len()).rposition(|bytes| bytes == path_and_codec);
    brotli[at.unwrap() + path_and_codec.len() - 1] = 8;
    for (content, written, remedy) in [
        (&encrypted, "its footer: it is encrypted, which isn't read", "without encryption"),
        (&brotli, "column k: it is compressed by Brotli, which isn't read", "--select"),
    ] {
        let told = refused(content, InputOptions::unsaid());
        assert!(told.contains(written) && told.contains(remedy), "{told}");
    }
    let gzipped = InputOptions { compression: Some(Compression::Gzip), ..InputOptions::unsaid() };
    assert!(refused(&whole, gzipped).contains("unpack it first: gzip -d"));
    let raw = InputOptions { value: Some(ValueForm::Raw), ..InputOptions::unsaid() };
    assert!(refused(&whole, raw).contains("no text of its own"));
}

#[test]
fn each_codec_is_read_and_damage_is_named_by_its_place() {
    let zstd = Codec::ZSTD(ZstdLevel::default());
    for codec in [Codec::SNAPPY, Codec::GZIP(Default::default()), zstd, Codec::LZ4_RAW, Codec::LZ4]
    {
        let columns =
            || vec![Cells::longs(0..300), Cells::texts((0..300).map(|_| Some("the same text")))];
        let schema = "message m { required int64 id; required binary name (UTF8); }";
        let mut content = parquet(schema, codec, &[columns(), columns()]);
        assert_eq!(all(&content, InputOptions::unsaid()).len(), 600);
        // Half of the second row group, over its page headers too.
        let group = content.len() * 2 / 5..content.len() * 3 / 5;
        content[group].fill(0xa5);
        let given = given(&content);
        let plan = given.plan(InputOptions::unsaid()).unwrap();
        let told = rest(plan.open(&plan.files[0]).unwrap().as_mut());
        let last = told.last().unwrap();
        assert!(last.starts_with("ended: row group "), "{last}");
        assert!(last.contains(" of 2, column "), "{last}");
    }
}

/// Reads a file as far as that goes: whether it was refused, and how many rows there were.
pub(super) fn read_whatever(given: &Given, content: &[u8]) -> (bool, usize) {
    std::fs::write(&given.path, content).unwrap();
    match given.plan(InputOptions::unsaid()) {
        Err(_) => (true, 0),
        Ok(plan) => match plan.open_hashed(&plan.files[0]) {
            Err(_) => (true, 0),
            Ok(mut source) => {
                let seen = rest(source.as_mut());
                (seen.last().is_some_and(|last| last.starts_with("ended")), seen.len())
            }
        },
    }
}

#[test]
fn no_cut_and_no_flipped_byte_makes_it_panic_or_never_end() {
    let whole = numbered(&[120, 30]);
    let given = given(&whole);
    assert_eq!(read_whatever(&given, &whole), (false, 150));
    for end in (0..whole.len()).step_by(7) {
        let (was_refused, _) = read_whatever(&given, &whole[..end]);
        assert!(was_refused, "cut to {end} bytes");
    }
    let mut refused = 0;
    for (at, with) in (0..whole.len()).zip([0x01, 0x80, 0xff].into_iter().cycle()) {
        let mut edited = whole.clone();
        edited[at] ^= with;
        let (was_refused, rows) = read_whatever(&given, &edited);
        assert!(rows <= 10_000, "byte {at} with {with}");
        refused += usize::from(was_refused);
    }
    assert!(refused > whole.len() / 8, "much of it matters: {refused} of {}", whole.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_footer_makes_it_panic(garbage in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut content = b"PAR1".to_vec();
        content.extend_from_slice(&garbage);
        content.extend_from_slice(&(garbage.len() as u32).to_le_bytes());
        content.extend_from_slice(b"PAR1");
        let _ = read_whatever(&given(&content), &content);
    }
}

#[test]
fn as_avro_every_type_keeps_all_it_holds_and_its_text_where_a_schema_wants_that() {
    let columns = cells_of_every_type();
    let given = given(&parquet(EVERY_TYPE, Codec::UNCOMPRESSED, &[columns]));
    let avro = InputOptions { value: Some(ValueForm::Avro), ..InputOptions::unsaid() };
    let seen = as_json(&given, avro.clone());
    assert_eq!(
        seen[0],
        "{\"b\":true,\"i8\":-7,\"u32\":4294967295,\"i\":9223372036854775807,\
         \"u64\":\"18446744073709551615\",\"f\":0.1,\"d\":\"NaN\",\"small\":\"-123.45\",\
         \"wide\":\"0.005\",\"vast\":\"-25.5\",\"day\":18170,\"noon\":43200007,\
         \"at\":1569888000000001,\"here\":-1,\"old\":1569888000001,\"older\":86400000000007,\
         \"s\":\"a\\\"é\\n\",\"raw\":\"ÿ\\u0000\",\
         \"id\":\"00010203-0405-0607-0809-0a0b0c0d0e0f\",\"half\":1.0,\
         \"three\":\"\\u0001\\u0002\\u0003\"}"
    );
    assert_eq!(seen[1].matches(":null").count(), 21);
    let wanted = r#"{"type":"record","name":"r","fields":[
        {"name":"at","type":["null","string"]},
        {"name":"here","type":["null",{"type":"long","logicalType":"local-timestamp-micros"}]},
        {"name":"wide","type":["null","double"]},
        {"name":"u64","type":["null","long"]}]}"#;
    let schema = Some(GivenSchema::of_text(wanted, "s.avsc".to_owned()).unwrap());
    let select = ["u64", "wide", "here", "at"].map(str::to_owned).to_vec();
    let options = InputOptions { schema, select: select.clone(), ..avro.clone() };
    assert_eq!(
        as_json(&given, options),
        [
            "1: holds \"18446744073709551615\" in column u64, which isn't an integer of 64 bits, \
             kept as {\"u64\":18446744073709551615,\"wide\":\"0.005\",\
             \"here\":\"1969-12-31T23:59:59.999999999\",\"at\":\"2019-10-01T00:00:00.000001Z\"}",
            "{\"at\":null,\"here\":null,\"wide\":null,\"u64\":null}"
        ]
    );
    let boolean = wanted.replace("\"double\"", "\"boolean\"");
    let schema = Some(GivenSchema::of_text(&boolean, "s.avsc".to_owned()).unwrap());
    let failure = given.plan(InputOptions { schema, select, ..avro }).unwrap_err().to_string();
    assert!(failure.contains("the column \"wide\" can't be the Avro field \"wide\""), "{failure}");
    assert!(failure.contains("it holds decimals"), "{failure}");
}

/// The records as JSON, out of their Avro; of a bad row what it is kept as.
fn as_json(given: &Given, options: InputOptions) -> Vec<String> {
    let plan = given.plan(options).unwrap_or_else(|failure| panic!("{failure}"));
    let schema = plan.value_schema(&plan.files[0]).unwrap().unwrap();
    let mut source = plan.open(&plan.files[0]).unwrap();
    let mut seen = vec![];
    loop {
        match source.next_record() {
            Ok(Some(record)) => {
                seen.push(crate::avro::decode::to_json(&schema, record.rendered.value).unwrap());
                continue;
            }
            Ok(None) => return seen,
            Err(fault) => match *fault {
                ReadFault::Row { line, fault } => seen.push(format!("{line}: {fault}")),
                ReadFault::Io(error) => panic!("{error}"),
            },
        }
        let kept = source.last_row().map(text).unwrap();
        seen.last_mut().unwrap().push_str(&format!(", kept as {kept}"));
    }
}
