//! Parquet files from outside: rows land once through kills, another file is told from the one that
//! was begun, and damage stops the run by its place.

#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "tool/parquet_file.rs"]
mod parquet_file;
mod tool;

use parquet::basic::Compression;
use parquet_file::{Cells, parquet};
use serde_json::Value;
use tool::{Sandbox, Server, stderr, stdout};

/// Rows `from..to` of a key, a time and a list of no, one or two numbers; the text of every
/// thousandth isn't UTF-8.
fn rows(from: i64, to: i64) -> Vec<Cells> {
    let names = (from..to).map(|row| match row % 1000 {
        500 => Some(vec![0xff]),
        _ => Some(format!("name {row}").into_bytes()),
    });
    let times = (from..to).map(|row| 1_569_888_000_000_000 + row * 1000);
    // A row's levels: an empty list, or its elements.
    let list =
        |row: i64| if row % 3 == 0 { &[(1, 0)][..] } else { &[(2, 0), (2, 1)][..row as usize % 3] };
    let levels = (from..to).flat_map(list).copied();
    let (definitions, repetitions): (Vec<i16>, Vec<i16>) = levels.unzip();
    let elements = (from..to).flat_map(|row| std::iter::repeat_n(row, row as usize % 3));
    vec![
        Cells::longs((from..to).map(|row| row % 97)),
        Cells::Bytes(names.collect()),
        Cells::longs(times),
        Cells::longs(elements).at(definitions, repetitions),
    ]
}

fn file(groups: &[(i64, i64)]) -> Vec<u8> {
    let schema = "message m { required int64 k; required binary name (UTF8);
        required int64 at (TIMESTAMP(MICROS,true));
        optional group list (LIST) { repeated group list { required int64 element; } } }";
    let groups: Vec<Vec<Cells>> = groups.iter().map(|(from, to)| rows(*from, *to)).collect();
    parquet(schema, Compression::SNAPPY, &groups)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn killed_again_and_again_it_goes_on_inside_of_a_row_group() {
    const ROWS: i64 = 60_000;
    let sandbox = Sandbox::new();
    let content = file(&[(0, 20_000), (20_000, 20_100), (20_100, ROWS)]);
    sandbox.write("f.parquet", &content);
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    let columns = ["--key", "k", "--timestamp", "at"];
    let how = ["--on-error", "dead-letter", "--transaction-rows", "1000", "--json"];
    let arguments =
        [&["ingest", "f.parquet", "-t", "t", "-b", &server.address][..], &columns, &how].concat();
    // Slow enough that there is something left to do after the last kill, on any machine.
    let slowly = [&arguments[..], &["--rate", "10000", "--transaction-ms", "50"]].concat();
    sandbox.run_and_kill(&slowly);
    let report = json(&sandbox.succeed(&arguments));
    assert_eq!(report["status"], "done");
    let audit = [&["audit", "f.parquet", "t", "-b", &server.address][..], &columns].concat();
    let shown = sandbox.succeed(&audit);
    assert!(shown.contains("equal: every row is there, once"), "{shown}");
    assert!(shown.contains("kept for every key"), "{shown}");
    let letters = ["consume", "t.dead-letters", "-b", &server.address, "--format", "json"];
    let letters = sandbox.succeed(&letters);
    assert_eq!(letters.lines().count(), ROWS as usize / 1000);
    let first = json(letters.lines().next().unwrap());
    assert_eq!(first["headers"][1]["value"], "501", "{first}");
    assert_eq!(first["headers"][3]["value"], "name", "{first}");

    let again = json(&sandbox.succeed(&arguments));
    assert_eq!((&again["rows"], &again["files"][0]["was"]), (&0.into(), &"done".into()));
    let jobs = sandbox.succeed(&["jobs", "show", "t", "--json", "-b", &server.address]);
    let kept = json(jobs.trim());
    assert_eq!(kept["next_line"], ROWS + 1);
    assert_eq!(
        (&kept["bytes"], &kept["file_bytes"]),
        (&content.len().into(), &content.len().into())
    );
}

#[test]
fn another_file_stops_the_run_before_a_row_is_sent_whatever_its_length() {
    let arguments = ["ingest", "f.parquet", "-t", "t", "--key", "k", "--json"];
    let whole = file(&[(0, 200), (200, 400)]);
    let mut edited = whole.clone();
    edited[60] ^= 1;
    for (then, code, said) in [
        (&whole, 0, "\"rows\":370"),
        (&edited, 3, "is another file than the one that was ingested"),
        (&file(&[(0, 200), (200, 400), (400, 450)]), 3, "doesn't grow"),
        (&file(&[(0, 200)]), 3, "is another file"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("f.parquet", &whole);
        sandbox.succeed(&[&arguments[..], &["--limit", "30"]].concat());
        sandbox.write("f.parquet", then);
        let output = sandbox.run(&[&arguments[..], &["--append"]].concat());
        let told = stdout(&output) + &stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(said), "{said} isn't in\n{told}");
    }
}

#[test]
fn a_dry_run_shows_the_files_own_types_and_pace_and_limit_hold() {
    let sandbox = Sandbox::new();
    sandbox.write("f.parquet", &file(&[(0, 300)]));
    let shown = json(&sandbox.succeed(&["ingest", "f.parquet", "--dry-run", "--json"]));
    assert_eq!((&shown["format"], &shown["sampled"]["is_all"]), (&"parquet".into(), &true.into()));
    let types: Vec<&str> = (shown["columns"].as_array().unwrap().iter())
        .map(|column| column["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["integer", "string", "timestamp", "list<integer>"]);
    let first = &shown["first_records"][0];
    let value = "{\"k\":0,\"name\":\"name 0\",\"at\":\"2019-10-01T00:00:00.000000Z\",\"list\":[]}";
    assert_eq!((&first["line"], &first["value"]), (&1.into(), &value.into()));

    // 300 rows, one a millisecond, at the pace they came in.
    let replayed = ["ingest", "f.parquet", "-t", "t", "--timestamp", "at", "--replay", "10x"];
    let report = json(&sandbox.succeed(&[&replayed[..], &["--limit", "200", "--json"]].concat()));
    assert_eq!((&report["rows"], &report["replay"]["times"]), (&200.into(), &10.0.into()));
}

#[test]
fn damage_and_pipes_are_told_and_what_came_before_damage_is_there() {
    let sandbox = Sandbox::new();
    let mut content = file(&[(0, 100), (100, 200), (200, 300)]);
    let middle = content.len() / 3..content.len() / 2;
    content[middle].fill(0xa5);
    sandbox.write("f.parquet", &content);
    let output = sandbox.run(&["ingest", "f.parquet", "-t", "t", "--json"]);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{told}");
    for part in ["can't read f.parquet", "row group ", " of 3, column ", "get the whole file anew"]
    {
        assert!(told.contains(part), "{part} isn't in\n{told}");
    }
    assert!(!told.contains("panicked"), "{told}");

    for more in [&[][..], &["--format", "parquet"]] {
        let piped = [&["ingest", "-", "-t", "t"][..], more].concat();
        let output = sandbox.run_with_input(&piped, &file(&[(0, 10)]));
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains("can't be read from standard input"));
    }
    // By its first bytes, if its name says nothing.
    sandbox.write("data", &file(&[(0, 10)]));
    let report = json(&sandbox.succeed(&["ingest", "data", "-t", "u", "--json"]));
    assert_eq!(report["rows"], 10);
}
