//! CSV as files hold it: quotes, line ends, what is broken; rows at random against a plain reader.

use super::*;
use crate::input::chunk::Dribble;
use crate::input::fault::excerpt;
use proptest::prelude::*;

/// A row as text: its line and its columns, or what is wrong with it.
type Seen = (u64, Result<Vec<String>, String>);

fn read_all(source: impl Read, row_bytes_max: usize) -> (Vec<String>, Vec<Seen>) {
    let mut rows = match CsvRows::open(ChunkReader::new(source, row_bytes_max), b',') {
        Ok(Some(rows)) => rows,
        Ok(None) => return (vec![], vec![]),
        Err(fault) => panic!("{fault}"),
    };
    let mut seen = vec![];
    loop {
        let next = rows.next_row().map(|row| {
            row.map(|row| {
                let text = |index| String::from_utf8(row.column(index).to_vec()).unwrap();
                let columns: Vec<String> = (0..row.columns().len()).map(text).collect();
                let dirty = |c: char| c < ' ' || c == '"' || c == '\\';
                if row.is_plain() {
                    assert!(!columns.iter().any(|text| text.contains(dirty)), "{columns:?}");
                }
                (row.line(), columns)
            })
        });
        match next {
            Ok(None) => return (rows.names().to_vec(), seen),
            Ok(Some((line, columns))) => seen.push((line, Ok(columns))),
            Err(fault) => match *fault {
                ReadFault::Row { line, fault } => seen.push((line, Err(fault.to_string()))),
                ReadFault::Io(error) => panic!("{error}"),
            },
        }
    }
}

fn rows_of(text: &str) -> Vec<Seen> {
    let whole = read_all(text.as_bytes(), 1 << 20);
    let dribbled = read_all(Dribble::new(text.as_bytes()), 1 << 20);
    assert_eq!(whole, dribbled, "however the file is cut into reads");
    whole.1
}

fn good(line: u64, columns: &[&str]) -> Seen {
    (line, Ok(columns.iter().map(|text| (*text).to_owned()).collect()))
}

#[test]
fn splits_rows_and_numbers_their_lines() {
    assert_eq!(
        rows_of("a,b\n1,2\n,\n\n3,\r\n\r\nlonger than eight bytes,x"),
        [
            good(2, &["1", "2"]),
            good(3, &["", ""]),
            good(5, &["3", ""]),
            good(7, &["longer than eight bytes", "x"])
        ]
    );
}

#[test]
fn quotes_hold_delimiters_line_breaks_and_quotes() {
    let text = "a,b\n\"1,5\",x\n\"two\nlines\",y\r\n\"say \"\"hi\"\"\",\"\"\n\
                5\" pipe,z\n\"\"\"\",\"\r\n\"\r\nq,\"e\"";
    assert_eq!(
        rows_of(text),
        [
            good(2, &["1,5", "x"]),
            good(3, &["two\nlines", "y"]),
            good(5, &["say \"hi\"", ""]),
            good(6, &["5\" pipe", "z"]),
            good(7, &["\"", "\r\n"]),
            good(9, &["q", "e"]),
        ]
    );
}

#[test]
fn bad_rows_are_named_and_the_next_one_is_read() {
    let text = "a,b\n1\n1,2,3\n\"x\"y,2\n\"x\" ,2\nfine,1\n\"never closed,\n1,2\n";
    assert_eq!(
        rows_of(text),
        [
            (2, Err("has 1 columns where the file has 2".to_owned())),
            (3, Err("has 3 columns where the file has 2".to_owned())),
            (4, Err("has text after the closing quote of column 1".to_owned())),
            (5, Err("has text after the closing quote of column 1".to_owned())),
            good(6, &["fine", "1"]),
            (7, Err("opens a quote in column 1 that the file never closes".to_owned())),
        ]
    );
}

#[test]
fn invalid_utf8_is_named_with_its_column_and_costs_only_its_row() {
    let text = b"a,brand\n1,caf\xc3\xa9\n2,caf\xe9 au lait\n3,\xe2\x82\xac\n";
    let (_, rows) = read_all(&text[..], 1000);
    assert_eq!(rows[0], good(2, &["1", "café"]));
    let fault = "isn't UTF-8 in column brand: byte 0xe9 at its position 4".to_owned();
    assert_eq!(rows[1], (3, Err(fault)));
    assert_eq!(rows[2], good(4, &["3", "€"]));
}

#[test]
fn a_header_alone_nothing_and_a_byte_order_mark() {
    assert_eq!(read_all(&b""[..], 1000), (vec![], vec![]));
    assert_eq!(read_all(&b"\n\r\n"[..], 1000), (vec![], vec![]));
    for text in ["a,b", "a,b\n", "a,b\r\n", "\u{feff}a,b\n", "\"a\", b \n"] {
        let (names, rows) = read_all(Dribble::new(text.as_bytes()), 1000);
        assert_eq!((names, rows), (vec!["a".to_owned(), "b".to_owned()], vec![]), "{text:?}");
    }
}

#[test]
fn a_row_over_the_cap_is_dropped_whole() {
    let long = "x".repeat(700_000);
    let text = format!("a,b\n1,2\n{long},y\n\"{long}\n{long}\",z\n3,4\n");
    let (_, rows) = read_all(text.as_bytes(), 500_000);
    assert_eq!(rows[0], good(2, &["1", "2"]));
    assert_eq!(rows[1], (3, Err("is longer than 500000 bytes".to_owned())));
    let fault = "is longer than 500000 bytes, inside a quoted column".to_owned();
    assert_eq!(rows[2], (4, Err(fault)));
    assert_eq!(rows[3], good(6, &["3", "4"]));
    let (_, rows) = read_all(&b"a,b\n123456,2\n3,4\n"[..], 5);
    assert_eq!(rows[0], (2, Err("is longer than 5 bytes".to_owned())));
    assert_eq!(rows[1], good(3, &["3", "4"]));
}

#[test]
fn a_ten_megabyte_row_is_read() {
    let long = "x".repeat(10 << 20);
    let text = format!("a,b\n{long},y\n\"{long}\",z\n");
    let (_, rows) = read_all(text.as_bytes(), 16 << 20);
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].1.as_ref().map(|row| row[0].len()), Ok(10 << 20));
    assert_eq!(rows[1].1.as_ref().map(|row| row[0].len()), Ok(10 << 20));
}

#[test]
fn bytes_are_found_wherever_they_stand_in_a_word() {
    for byte in 0..=255_u8 {
        for other in [0, 1, byte.wrapping_add(1), byte.wrapping_sub(1), byte ^ 0x80, 0xff] {
            for place in 0..8 {
                let mut word = [other; 8];
                word[place] = byte;
                let found = bytes_equal(u64::from_le_bytes(word), EVERY_BYTE * u64::from(byte));
                let expected = if other == byte { HIGH_BITS } else { 0x80 << (8 * place) };
                assert_eq!(found, expected);
            }
        }
    }
}

/// The same file, which ends with a line feed, through csv-core.
fn oracle(text: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut reader = csv_core::Reader::new();
    let (mut output, mut ends) = (vec![0; text.len() + 16], vec![0; text.len() + 16]);
    let mut rows = vec![];
    let mut rest = text;
    loop {
        let (result, read, _, fields) = reader.read_record(rest, &mut output, &mut ends);
        rest = &rest[read..];
        match result {
            csv_core::ReadRecordResult::End => return rows,
            csv_core::ReadRecordResult::Record => {
                let starts = std::iter::once(0).chain(ends[..fields].iter().copied());
                let spans = starts.zip(&ends[..fields]);
                rows.push(spans.map(|(start, &end)| output[start..end].to_vec()).collect());
            }
            csv_core::ReadRecordResult::InputEmpty => {
                assert!(rest.is_empty());
            }
            other => panic!("{other:?}"),
        }
    }
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A column, and whether it is quoted without need.
type Written = (String, bool);

/// Rows of two columns, and whether each ends as on Windows.
fn written_rows() -> impl Strategy<Value = Vec<(Written, Written, bool)>> {
    let first = ("[a-z\", \r\n€]{0,12}", any::<bool>());
    let second = ("[a-z\",\r\n]{0,12}", any::<bool>());
    prop::collection::vec((first, second, any::<bool>()), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_csv_core_on_what_a_writer_writes(
        rows in written_rows(),
        ends_with_line in any::<bool>(),
    ) {
        let mut text = String::from("a,b");
        let written = |(column, is_quoted): &Written| match column {
            column if *is_quoted || column.contains([',', '"', '\r', '\n']) => quote(column),
            column => column.clone(),
        };
        for (first, second, crlf) in &rows {
            text.push_str(if *crlf { "\r\n" } else { "\n" });
            text.push_str(&format!("{},{}", written(first), written(second)));
        }
        if ends_with_line { text.push('\n'); }
        let mut expected = oracle(format!("{text}\n").as_bytes());
        expected.remove(0);
        let ours = rows_of(&text);
        prop_assert_eq!(ours.len(), expected.len());
        for (row, columns) in ours.iter().zip(&expected) {
            let columns: Vec<String> =
                columns.iter().map(|bytes| String::from_utf8(bytes.clone()).unwrap()).collect();
            let found = row.1.as_ref().map_err(|fault| excerpt(fault.as_bytes()));
            prop_assert_eq!(found, Ok(&columns));
        }
    }

    #[test]
    fn never_panics_and_always_ends(text in prop::collection::vec(
        prop::sample::select(vec![b'a', b',', b'"', b'\n', b'\r', 0xff, b'\\']), 0..200
    )) {
        let mut rows = match CsvRows::open(ChunkReader::new(Dribble::new(&text), 50), b',') {
            Ok(Some(rows)) => rows,
            Ok(None) | Err(_) => return Ok(()),
        };
        let mut calls = 0;
        while !matches!(rows.next_row(), Ok(None)) {
            calls += 1;
            prop_assert!(calls <= text.len());
        }
        prop_assert_eq!(rows.consumed_bytes(), text.len() as u64);
    }
}

#[test]
fn the_last_row_is_kept_as_the_file_has_it() {
    let text = b"a,b\n1,\"x \"\"y\"\" z\"\n1,2,3\n\"un\"closed,2\n4,5\n";
    let mut rows = CsvRows::open(ChunkReader::hashed(&text[..], 1 << 10), b',').unwrap().unwrap();
    assert!(rows.advance().unwrap());
    assert_eq!(rows.current().column(1), b"x \"y\" z");
    assert_eq!(rows.last_row(), Some(&b"1,\"x \"\"y\"\" z\""[..]));
    assert!(rows.advance().is_err());
    assert_eq!(rows.last_row(), Some(&b"1,2,3"[..]));
    assert!(rows.advance().is_err());
    assert_eq!(rows.last_row(), Some(&b"\"un\"closed,2"[..]));
    let place = rows.place();
    let position = rows.position().unwrap();
    assert!(rows.advance().unwrap());
    let chunks = ChunkReader::hashed(Dribble::new(text), 1 << 10);
    let mut again = CsvRows::open(chunks, b',').unwrap().unwrap();
    again.resume(&position).unwrap();
    assert!(again.advance().unwrap());
    assert_eq!((again.current().column(0), again.current().line()), (&b"4"[..], 5));
    let chunks = ChunkReader::hashed(&text[..], 1 << 10);
    let mut skipped = CsvRows::open(chunks, b',').unwrap().unwrap();
    skipped.skip_to(place).unwrap();
    assert_eq!(skipped.position(), Some(position), "unquoting changes no hash");
}

#[test]
fn a_row_over_the_cap_isnt_kept() {
    let text = b"a,b\n1,2\n0123456789012345,6\n3,4\n";
    let mut rows = CsvRows::open(ChunkReader::new(Dribble::new(text), 8), b',').unwrap().unwrap();
    assert!(rows.advance().unwrap());
    assert!(rows.advance().is_err());
    assert_eq!(rows.last_row(), None);
    assert!(rows.advance().unwrap());
    assert_eq!(rows.last_row(), Some(&b"3,4"[..]));
}

#[test]
fn without_a_header_the_first_row_is_one_like_the_others() {
    let names = || vec!["a".to_owned(), "b".to_owned()];
    for text in ["1,2\n3\n4,5", "\u{feff}1,2\r\n3\r\n\"4\",5\r\n"] {
        let chunks = ChunkReader::hashed(text.as_bytes(), 1 << 20);
        let mut rows = CsvRows::without_header(chunks, b',', names()).unwrap();
        assert!(rows.advance().unwrap());
        assert_eq!((rows.current().column(1), rows.current().line()), (&b"2"[..], 1));
        assert!(rows.advance().is_err(), "a row of one column");
        let at = rows.position().unwrap();
        assert_eq!(at.place.next_line, 3);
        let chunks = ChunkReader::hashed(text.as_bytes(), 1 << 20);
        let mut rows = CsvRows::without_header(chunks, b',', names()).unwrap();
        rows.resume(&at).unwrap();
        assert!(rows.advance().unwrap());
        assert_eq!(rows.current().column(0), b"4");
        assert!(!rows.advance().unwrap());
    }
}
