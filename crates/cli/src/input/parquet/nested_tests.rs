//! Nested columns: as another writer made them, by hand-made levels, and with levels that lie.

use parquet::basic::Compression as Codec;

use super::row_levels::ROW_LEVELS_MAX;
use super::tests::parquet_file::{Cells, parquet};
use super::tests::{EVERY_TYPE, all, cells_of_every_type, given, read_whatever, refused, rest};
use super::*;
use crate::input::columns::HeaderOption;

/// Written by pyarrow: pages of both versions, with dictionaries and without, rows of 0 to 4
/// entries that go over pages, in three row groups; and the rows as JSON, written beside them.
const BY_PYARROW: [&[u8]; 2] = [
    include_bytes!("../../../tests/data/nested-pyarrow-1.parquet"),
    include_bytes!("../../../tests/data/nested-pyarrow-2.parquet"),
];
const AS_JSON: &str = include_str!("../../../tests/data/nested-pyarrow.jsonl");

/// The values of all rows, without what stands before them.
fn values(content: &[u8], options: InputOptions) -> Vec<String> {
    let value = |row: &String| row.splitn(3, ':').nth(2).unwrap_or(row).to_owned();
    all(content, options).iter().map(value).collect()
}

/// The values of a file of one column; of what isn't a row, what is told of it.
fn column(schema: &str, cells: Vec<Cells>) -> Vec<String> {
    let content = parquet(&format!("message m {{ {schema} }}"), Codec::SNAPPY, &[cells]);
    let bare = |row: &String| match row.split_once(":-:{\"c\":") {
        Some((_, value)) => value.strip_suffix('}').unwrap().to_owned(),
        None => row.clone(),
    };
    all(&content, InputOptions::unsaid()).iter().map(bare).collect()
}

#[test]
fn what_pyarrow_wrote_is_read_as_it_was_meant() {
    let expected: Vec<&str> = AS_JSON.lines().collect();
    for content in BY_PYARROW {
        assert_eq!(values(content, InputOptions::unsaid()), expected);
    }
    let select = vec!["grid".to_owned(), "id".to_owned()];
    let rename = vec![("grid".to_owned(), "g".to_owned())];
    let options = InputOptions { select, rename, ..InputOptions::unsaid() };
    let third = &values(BY_PYARROW[0], options)[2];
    assert_eq!(third, "{\"g\":null,\"id\":2}");
}

#[test]
fn nested_columns_are_told_by_their_types() {
    let given = given(BY_PYARROW[0]);
    let plan = given.plan(InputOptions::unsaid()).unwrap();
    let types: Vec<String> =
        (plan.column_types().iter()).map(|(name, of)| format!("{name} {of}")).collect();
    assert_eq!(
        types,
        [
            "id integer",
            "items list<struct<sku: string, price: decimal, tags: list<string>>>",
            "counts map<string, integer>",
            "by_number map<integer, list<number>>",
            "grid list<list<integer>>",
            "who struct<name: string, seen: timestamp, born: date, raw: binary, \
             place: struct<lat: number, ok: boolean>>",
            "maps list<map<string, struct<n: integer>>>",
            "last string",
        ]
    );
}

#[test]
fn they_are_gone_on_with_from_every_row() {
    for content in BY_PYARROW {
        let given = given(content);
        let plan = given.plan(InputOptions::unsaid()).unwrap();
        let [file] = &plan.files[..] else { panic!("one file") };
        let whole = rest(plan.open(file).unwrap().as_mut());
        let mut first = plan.open_hashed(file).unwrap();
        for row in 0..=whole.len() {
            let position = first.position().unwrap();
            let mut resumed = plan.open_hashed(file).unwrap();
            resumed.resume(&position).unwrap();
            assert_eq!(rest(resumed.as_mut()), whole[row..], "from row {row}");
            let _ = first.next_record().unwrap();
        }
    }
}

#[test]
fn null_and_empty_are_told_apart_at_each_level() {
    let cells = || {
        vec![
            Cells::Ints(vec![Some(7), Some(8)])
                .at(vec![0, 1, 2, 3, 4, 5, 5, 4, 2], vec![0, 0, 0, 0, 0, 0, 2, 1, 1]),
        ]
    };
    let schema = "optional group c (LIST) { repeated group list { optional group element (LIST) { \
                  repeated group list { optional int32 element; } } } }";
    assert_eq!(
        column(schema, cells()),
        ["null", "[]", "[null]", "[[]]", "[[null]]", "[[7,8],[null],null]"]
    );
    let pair = vec![
        Cells::Ints(vec![Some(1)]).at(vec![0, 1, 2], vec![]),
        Cells::Ints(vec![Some(2)]).at(vec![0, 1, 2], vec![]),
    ];
    let schema = "optional group c { optional int32 x; optional int32 y; }";
    assert_eq!(column(schema, pair), ["null", "{\"x\":null,\"y\":null}", "{\"x\":1,\"y\":2}"]);
    let required = vec![Cells::longs([1, 2])];
    let schema = "required group c { required group d { required int64 x; } }";
    assert_eq!(column(schema, required), ["{\"d\":{\"x\":1}}", "{\"d\":{\"x\":2}}"]);
}

#[test]
fn lists_and_maps_of_older_writers_are_lists_and_maps() {
    let ints =
        |definitions, repetitions| Cells::Ints(vec![Some(1), Some(2)]).at(definitions, repetitions);
    let two_levels = "optional group c (LIST) { repeated int32 element; }";
    let rows = column(two_levels, vec![ints(vec![0, 1, 2, 2], vec![0, 0, 0, 1])]);
    assert_eq!(rows, ["null", "[]", "[1,2]"]);
    let bare = column("repeated int32 c;", vec![ints(vec![0, 1, 1], vec![0, 0, 1])]);
    assert_eq!(bare, ["[]", "[1,2]"]);
    let array = "optional group c (LIST) { repeated group array { optional int32 x; } }";
    let rows = column(array, vec![ints(vec![1, 2, 3, 3], vec![0, 0, 1, 0])]);
    assert_eq!(rows, ["[]", "[{\"x\":null},{\"x\":1}]", "[{\"x\":2}]"]);
    let nested = "optional group c (LIST) { repeated group element (LIST) { repeated int32 e; } }";
    let rows = column(nested, vec![ints(vec![0, 1, 2, 3, 3], vec![0, 0, 0, 1, 2])]);
    assert_eq!(rows, ["null", "[]", "[[],[1,2]]"]);
    let map = "optional group c (MAP_KEY_VALUE) { repeated group map { required int32 key; \
               optional binary value (UTF8); } }";
    let cells = vec![
        ints(vec![0, 1, 2, 2], vec![0, 0, 0, 1]),
        Cells::texts([Some("a\"b")]).at(vec![0, 1, 3, 2], vec![0, 0, 0, 1]),
    ];
    assert_eq!(column(map, cells), ["null", "{}", "{\"1\":\"a\\\"b\",\"2\":null}"]);
    let keys = "required group c (MAP) { repeated group map { required int32 key; } }";
    assert_eq!(column(keys, vec![ints(vec![0, 1, 1], vec![0, 0, 1])]), ["[]", "[1,2]"]);
}

#[test]
fn values_of_every_type_are_within_what_they_are_outside() {
    let content = parquet(EVERY_TYPE, Codec::UNCOMPRESSED, &[cells_of_every_type()]);
    let flat = values(&content, InputOptions::unsaid());
    let columns = EVERY_TYPE.strip_prefix("message m {").unwrap();
    let schema = format!("message m {{ optional group c {{ {columns} }}");
    let cells = cells_of_every_type().into_iter().map(|cells| cells.at(vec![2, 1], vec![]));
    let nested = parquet(&schema, Codec::UNCOMPRESSED, &[cells.collect()]);
    let expected: Vec<String> = flat.iter().map(|row| format!("{{\"c\":{row}}}")).collect();
    assert_eq!(values(&nested, InputOptions::unsaid()), expected);
}

#[test]
fn they_are_headers_as_json_but_no_keys_times_partitions_and_no_avro() {
    let header = HeaderOption { name: "h".to_owned(), column: "grid".to_owned() };
    let options = InputOptions {
        headers: vec![header],
        select: vec!["id".to_owned()],
        key: Some("last".to_owned()),
        ..InputOptions::unsaid()
    };
    let given = given(BY_PYARROW[1]);
    let plan = given.plan(options).unwrap();
    let mut source = plan.open(&plan.files[0]).unwrap();
    let mut headers = vec![];
    for _ in 0..3 {
        let record = source.next_record().unwrap().unwrap();
        let values = record.rendered.headers.iter().map(|(_, value)| value.map(<[u8]>::to_vec));
        headers.extend(values);
    }
    let first = b"[[null,135,null],[null,209],[null,149,null]]".to_vec();
    assert_eq!(headers, [Some(first), Some(b"[null]".to_vec()), None]);

    let unsaid = InputOptions::unsaid;
    let items = || Some("items".to_owned());
    for (options, flag, remedy) in [
        (InputOptions { key: items(), ..unsaid() }, "--key", "single values: id,last"),
        (InputOptions { timestamp: items(), ..unsaid() }, "--timestamp", "single values: id,last"),
        (InputOptions { partition: items(), ..unsaid() }, "--partition", "single values: id,last"),
        (
            InputOptions { value: Some(ValueForm::Avro), ..unsaid() },
            "--value avro",
            "say --value json, or leave it out: --select id,last",
        ),
    ] {
        let told = refused(BY_PYARROW[0], options);
        let what = format!("{flag} isn't for the column \"items\" of ");
        for part in [&what, "it is nested: list<struct<sku: string, ", remedy] {
            assert!(told.contains(part), "{part} isn't in\n{told}");
        }
    }
    let select = vec!["id".to_owned(), "last".to_owned()];
    let avro = InputOptions { value: Some(ValueForm::Avro), select, ..unsaid() };
    assert!(given.plan(avro).is_ok(), "without them");
}

#[test]
fn bad_rows_name_the_place_and_the_next_row_is_whole() {
    let schema = "optional group c { optional group l (LIST) { repeated group list { \
                  optional binary element (UTF8); } } optional int32 n; }";
    let texts = [b"ok".to_vec(), vec![0xe9], vec![b'x'; 300], b"last".to_vec()].map(Some);
    let cells = vec![
        Cells::Bytes(texts.into()).at(vec![4, 4, 3, 4, 4], vec![0, 0, 1, 0, 0]),
        Cells::Ints(vec![Some(1), Some(2), Some(3), Some(4)]).at(vec![2; 4], vec![]),
    ];
    let content = parquet(&format!("message m {{ {schema} }}"), Codec::SNAPPY, &[cells]);
    let options = InputOptions { row_bytes_max: 200, ..InputOptions::unsaid() };
    assert_eq!(
        all(&content, options),
        [
            "1:-:{\"c\":{\"l\":[\"ok\"],\"n\":1}}",
            "2:the row isn't UTF-8 in column c.l[]: byte 0xe9 at its position 1",
            "3:the row is longer than 200 bytes",
            "4:-:{\"c\":{\"l\":[\"last\"],\"n\":4}}",
        ]
    );
    let map = "required group c (MAP) { repeated group key_value { optional int32 key; \
               required boolean value; } }";
    let cells = vec![
        Cells::Ints(vec![Some(1)]).at(vec![1, 2], vec![0, 0]),
        Cells::Bools(vec![Some(true), Some(false)]).at(vec![1, 1], vec![0, 0]),
    ];
    let rows = column(map, cells);
    assert!(rows[0].contains("holds \"null\" in column c's keys, which isn't a map's key"));
    assert_eq!(rows[1], "{\"1\":false}");
}

#[test]
fn levels_that_contradict_each_other_are_damage() {
    let schema = "optional group c (LIST) { repeated group list { optional group element { \
                  optional int32 x; optional int32 y; } } }";
    let ints = |definitions: Vec<i16>, repetitions| {
        let count = definitions.iter().filter(|level| **level == 4).count();
        Cells::Ints(vec![Some(5); count]).at(definitions, repetitions)
    };
    let whole = || ints(vec![4, 4, 4], vec![0, 1, 0]);
    assert_eq!(column(schema, vec![whole(), whole()]).len(), 2);
    for (definitions, repetitions) in [
        // Fewer elements, more of them, other rows, a list that is null, an element that is.
        (vec![4, 4], vec![0, 0]),
        (vec![4, 4, 4, 4], vec![0, 1, 1, 0]),
        (vec![4, 4, 4], vec![0, 0, 1]),
        (vec![0, 4], vec![0, 0]),
        (vec![4, 1, 4], vec![0, 1, 0]),
        (vec![4, 2, 4], vec![0, 1, 0]),
    ] {
        let levels = format!("{definitions:?} {repetitions:?}");
        for first in [true, false] {
            let other = ints(definitions.clone(), repetitions.clone());
            let cells = if first { vec![other, whole()] } else { vec![whole(), other] };
            let last = column(schema, cells).pop().unwrap();
            assert!(last.contains("its levels aren't those of a row"), "{levels}: {last}");
            assert!(last.contains("row group 1 of 1, column c[]."), "{levels}: {last}");
        }
    }
}

#[test]
fn a_row_of_a_million_nulls_is_refused_before_there_is_memory_for_them() {
    let schema = "repeated group c { optional boolean x; }";
    let rows = |values: usize| {
        let mut repetitions = vec![1; values + 1];
        (repetitions[0], repetitions[values]) = (0, 0);
        vec![Cells::Bools(vec![]).at(vec![1; values + 1], repetitions)]
    };
    let most = ROW_LEVELS_MAX as usize;
    let told = column(schema, rows(most));
    assert_eq!(told[0], "1:the row is longer than 1048576 bytes");
    assert_eq!(told[1], "[{\"x\":null}]");
    let told = column(schema, rows(most + 1)).pop().unwrap();
    assert!(told.contains("a row of it has more than the 1048576 values"), "{told}");
}

#[test]
fn as_deep_as_a_schema_may_be_it_is_read() {
    let depth = 60;
    let (open, close) = ("optional group g { ".repeat(depth), "} ".repeat(depth));
    let schema = format!("message m {{ {open} optional int64 x; {close} }}");
    let cells = Cells::longs([2]).at(vec![depth as i16 + 1, 7], vec![]);
    let rows =
        values(&parquet(&schema, Codec::UNCOMPRESSED, &[vec![cells]]), InputOptions::unsaid());
    assert_eq!(rows[0], "{\"g\":".repeat(depth) + "{\"x\":2}" + &"}".repeat(depth));
    assert_eq!(rows[1], "{\"g\":".repeat(8) + "null" + &"}".repeat(8));
}

#[test]
fn no_cut_and_no_flipped_byte_makes_them_panic_or_never_end() {
    let mut damaged = 0;
    for whole in BY_PYARROW {
        let given = given(whole);
        assert_eq!(read_whatever(&given, whole), (false, 90));
        for (at, with) in (0..whole.len()).step_by(41).zip([0x01, 0x80, 0xff].into_iter().cycle()) {
            let mut edited = whole.to_vec();
            edited[at] ^= with;
            let (was_refused, rows) = read_whatever(&given, &edited);
            assert!(rows <= 10_000, "byte {at} with {with}");
            damaged += usize::from(was_refused);
        }
        for end in (0..whole.len()).step_by(997) {
            assert!(read_whatever(&given, &whole[..end]).0, "cut to {end} bytes");
        }
    }
    assert!(damaged > 100, "much of it matters: {damaged}");
}
