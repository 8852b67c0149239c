//! Compressed files: rows land once through kills, a run goes on inside of them, and what is cut,
//! damaged or changed is told.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod tool;

use std::fmt::Write as _;
use std::io::Write as _;

use rstest::rstest;
use serde_json::Value;
use tool::{Sandbox, Server, stderr, stdout};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(text, 1).unwrap()
}

/// Rows `from..to` of a CSV file, keyed alike now and then; some are bad.
fn rows(from: usize, to: usize) -> String {
    let mut text = String::new();
    for row in from..to {
        let _ = match row % 1000 {
            500 => writeln!(text, "{},{row},too,many", row % 97),
            _ => writeln!(text, "{},{row}", row % 97),
        };
    }
    text
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn assert_equal(sandbox: &Sandbox, file: &str, server: &str) {
    let shown = sandbox.succeed(&["audit", file, "t", "--key", "k", "-b", server]);
    assert!(shown.contains("equal: every row is there, once"), "{shown}");
    assert!(shown.contains("kept for every key"), "{shown}");
}

#[rstest]
#[case("f.csv.gz", gzip)]
#[case("f.csv.zst", zstd)]
fn killed_again_and_again_it_goes_on_inside_of_the_file(
    #[case] file: &str,
    #[case] pack: fn(&[u8]) -> Vec<u8>,
) {
    const ROWS: usize = 60_000;
    let sandbox = Sandbox::new();
    let text = format!("k,row\n{}", rows(0, ROWS));
    let (one, other) = text.as_bytes().split_at(text.len() / 3);
    sandbox.write(file, &[pack(one), pack(other)].concat());
    let server = Server::start(&sandbox, "127.0.0.1:0", &[]);
    let arguments = [
        "ingest",
        file,
        "-t",
        "t",
        "--key",
        "k",
        "--transaction-rows",
        "1000",
        "--on-error",
        "dead-letter",
        "--json",
        "-b",
        &server.address,
    ];
    // Slow enough that there is something left to do after the last kill, on any machine.
    let slowly = [&arguments[..], &["--rate", "2000", "--transaction-ms", "50"]].concat();
    sandbox.run_and_kill(&slowly);
    let report = json(&sandbox.succeed(&arguments));
    assert_eq!(report["status"], "done");
    assert_equal(&sandbox, file, &server.address);
    let letters = ["consume", "t.dead-letters", "-b", &server.address, "--fields", "value"];
    assert_eq!(sandbox.succeed(&letters).lines().count(), ROWS / 1000);

    let again = json(&sandbox.succeed(&arguments));
    assert_eq!((&again["rows"], &again["files"][0]["was"]), (&0.into(), &"done".into()));
    let jobs = sandbox.succeed(&["jobs", "show", "t", "--json", "-b", &server.address]);
    let kept = json(jobs.trim());
    assert_eq!(kept["bytes"], text.len(), "a position is in what the file holds");
    let on_disk = std::fs::metadata(sandbox.path(file)).unwrap().len();
    assert_eq!(kept["file_bytes"], on_disk);
}

/// Sends the first 30 rows of a file; what a second run says to whatever the file is then.
fn second_run(
    sandbox: &Sandbox,
    file: &str,
    first: &[u8],
    then: &[u8],
    more: &[&str],
) -> (Option<i32>, String) {
    let arguments = ["ingest", file, "-t", "t", "--key", "k", "--json"];
    sandbox.write(file, first);
    sandbox.succeed(&[&arguments[..], &["--limit", "30"]].concat());
    sandbox.write(file, then);
    let output = sandbox.run(&[&arguments[..], more].concat());
    (output.status.code(), stdout(&output) + &stderr(&output))
}

#[test]
fn what_it_holds_decides_whether_it_is_the_same_file() {
    let text = format!("k,row\n{}", rows(0, 90));
    let whole = text.as_bytes();
    let edited = text.replace("5,5\n", "5,6\n");
    let twice = [gzip(whole), gzip(rows(90, 120).as_bytes())].concat();
    let anew = {
        let best = flate2::Compression::best();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), best);
        encoder.write_all(whole).unwrap();
        encoder.finish().unwrap()
    };
    assert!(anew.len() < gzip(whole).len());
    for (then, more, code, said) in [
        (gzip(whole), &[][..], 0, "\"rows\":60"),
        (anew, &[], 0, "\"rows\":60"),
        (gzip(edited.as_bytes()), &["--append"], 3, "was edited or replaced"),
        (gzip(&whole[..40]), &[], 3, "it was cut"),
        (twice.clone(), &[], 3, "has grown"),
        (twice, &["--append"], 0, "\"rows\":90"),
        (zstd(whole), &["--append"], 2, "was ingested as csv, key k, gzip"),
    ] {
        let sandbox = Sandbox::new();
        let (exit, told) = second_run(&sandbox, "f.csv.gz", &gzip(whole), &then, more);
        assert_eq!(exit, Some(code), "{told}");
        assert!(told.contains(said), "{said} isn't in\n{told}");
        if code == 0 {
            sandbox.succeed(&["audit", "f.csv.gz", "t", "--key", "k"]);
        }
    }
}

#[rstest]
#[case("f.csv.gz", gzip, "gzip")]
#[case("f.csv.zst", zstd, "zstd")]
fn a_cut_file_stops_the_run_and_the_whole_one_goes_on(
    #[case] file: &str,
    #[case] pack: fn(&[u8]) -> Vec<u8>,
    #[case] name: &str,
) {
    let sandbox = Sandbox::new();
    let whole = pack(format!("k,row\n{}", rows(0, 90_000)).as_bytes());
    let arguments =
        ["ingest", file, "-t", "t", "--key", "k", "--json", "--on-error", "skip", "--append"];
    sandbox.write(file, &whole[..whole.len() / 2]);
    let output = sandbox.run(&arguments);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{told}");
    for part in [file, &format!("its {name} data ends in the middle"), "get the whole file"] {
        assert!(told.contains(part), "{part} isn't in\n{told}");
    }
    sandbox.write(file, &whole);
    sandbox.succeed(&arguments);
    let shown = sandbox.succeed(&["audit", file, "t", "--key", "k"]);
    assert!(shown.contains("equal: every row is there, once"), "{shown}");
}

#[test]
fn standard_input_is_unpacked_too_and_a_dry_run_says_how_much_there_is() {
    let sandbox = Sandbox::new();
    let text = format!("k,row\n{}", rows(0, 400));
    let piped = ["ingest", "-", "-t", "t", "--json"];
    for packed in [gzip(text.as_bytes()), zstd(text.as_bytes())] {
        let output = sandbox.run_with_input(&piped, &packed);
        assert_eq!(json(&stdout(&output))["rows"], 400, "{}", stderr(&output));
    }
    let cut = &gzip(text.as_bytes())[..300];
    let output = sandbox.run_with_input(&piped, cut);
    assert!(stderr(&output).contains("<stdin>"), "{}", stderr(&output));
    assert!(stderr(&output).contains("its gzip data ends in the middle"), "{}", stderr(&output));

    let text = format!("k,row\n{}", rows(0, 400_000).replace(",too,many", ""));
    sandbox.write("big.csv.gz", &gzip(text.as_bytes()));
    let shown = json(&sandbox.succeed(&["ingest", "big.csv.gz", "--dry-run", "--json"]));
    assert_eq!(shown["sampled"]["is_all"], false);
    let estimated = shown["estimated"]["rows"].as_u64().unwrap();
    assert!((300_000..500_000).contains(&estimated), "{estimated}");
}
