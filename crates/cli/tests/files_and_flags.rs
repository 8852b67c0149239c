//! What the command does before it needs a broker: data, help, and every wrong flag and file.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod tool;

use rstest::rstest;
use tool::{Sandbox, stderr, stdout};

#[test]
fn the_same_seed_gives_the_same_bytes_and_the_sample_is_one_of_them() {
    let sandbox = Sandbox::new();
    let first = sandbox.run(&["generate", "clicks", "--rows", "100", "--seed", "7"]);
    let second = sandbox.run(&["generate", "clicks", "--rows", "100", "--seed", "7"]);
    assert!(first.status.success());
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(stdout(&first).lines().count(), 101);
    let sample = std::fs::read(tool::repository().join("examples/clicks.csv")).unwrap();
    let made = sandbox.run(&["generate", "clicks", "--rows", "5000"]);
    assert!(made.stdout == sample, "examples/clicks.csv isn't what `generate` makes");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let sandbox = Sandbox::new();
    let mut child = sandbox.spawn(&["generate", "clicks", "--rows", "100000000"]);
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn completions_name_the_commands() {
    let output = Sandbox::new().run(&["completions", "bash"]);
    assert!(stdout(&output).contains("ingest"));
}

#[rstest]
#[case(&["ingest", "no.csv"], 3, &["can't open no.csv", "No such file", "check the path"])]
#[case(&["ingest", "none"], 3, &["none has no files to read", "hidden files are left out"])]
#[case(&["ingest", "*.ndjson"], 3, &["no file matches *.ndjson", "from empty.csv to ok.dat"])]
#[case(&["ingest", "no/*.csv"], 3, &["there is no directory no"])]
#[case(&["audit", "*.ndjson", "t"], 3, &["no file matches *.ndjson"])]
#[case(&["ingest", "empty.csv"], 3, &["empty.csv is empty", "header"])]
#[case(&["ingest", "latin1-header.csv"], 3, &["latin1-header.csv:1", "isn't UTF-8", "iconv"])]
#[case(&["ingest", "ok.dat"], 2, &["can't tell the format of ok.dat", "--format"])]
#[case(&["ingest", "ok.csv", "--key", "user"], 2, &["no column \"user\"", "did you mean users?"])]
#[case(&["ingest", "ok.csv", "--timestamp", "when"], 2, &["no column \"when\"", "choose one"])]
#[case(&["ingest", "ok.csv", "--type", "user=string"], 2, &["\"user\" for --type", "users"])]
#[case(&["ingest", "ok.csv", "--type", "users=text"], 2, &["no type \"text\"", "string"])]
#[case(
    &["ingest", "ok.csv", "-X", "linger.m=5"], 2, &["unknown setting \"linger.m\"", "linger.ms"]
)]
#[case(&["ingest", "ok.csv", "-X", "linger.ms=soon"], 2, &["linger.ms=soon is not valid"])]
#[case(&["ingest", "ok.csv", "--producer-config", "no.properties"], 2, &["no.properties"])]
#[case(&["ingest", "ok.csv", "--partitions", "0"], 2, &["--partitions"])]
#[case(&["ingest"], 2, &["<FILE>..."])]
#[case(&["consume", "t", "--since", "yesterday"], 2, &["\"yesterday\" isn't a time", "10m"])]
#[case(&["consume", "t", "--offset", "1", "--from-beginning"], 2, &["cannot be used with"])]
#[case(&["consume", "t"], 1, &["nothing is in .streamledger", "--data-dir"])]
#[case(&["consume", "t", "--consumer-config", "no.properties"], 2, &["no.properties"])]
#[case(&["topics", "list", "--command-config", "no.properties"], 2, &["no.properties"])]
#[case(&["topics", "list", "-X", "security.protocl=SSL"], 2, &["unknown setting", "security.prot"])]
#[case(&["topics", "list"], 1, &["nothing is in .streamledger"])]
#[case(&["serve", "-X", "num.partition=3"], 2, &["num.partition", "num.partitions"])]
#[case(&["serve", "--flush", "sometimes"], 2, &["sometimes", "interval:MS"])]
#[case(
    &["bench", "produce", "--topic", "t", "--input", "no.txt"], 3, &["can't open no.txt"]
)]
#[case(
    &["bench", "produce", "--topic", "t", "--input", "ok.csv", "--format", "clicks"],
    3,
    &["ok.csv isn't a file of click events", "generate clicks"]
)]
#[case(
    &["generate", "clicks", "--rows", "5", "--output", "no/x.csv"], 1, &["can't write no/x.csv"]
)]
#[case(&["injest"], 2, &["injest", "ingest"])]
fn what_cant_be_done_says_why_and_what_to_do(
    #[case] arguments: &[&str],
    #[case] code: i32,
    #[case] said: &[&str],
) {
    let sandbox = Sandbox::new();
    sandbox.write("ok.csv", b"users,price\n1,2\n");
    std::fs::create_dir(sandbox.path("none")).unwrap();
    sandbox.write("ok.dat", b"x");
    sandbox.write("empty.csv", b"");
    sandbox.write("latin1-header.csv", b"caf\xe9,b\n1,2\n");
    let output = sandbox.run(arguments);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in said {
        assert!(text.contains(part), "{part:?} isn't in:\n{text}");
    }
    assert!(output.stdout.is_empty(), "{}", stdout(&output));
    assert!(!sandbox.path(".streamledger").exists(), "nothing was begun");
}

#[test]
fn the_exit_codes_in_the_documentation_are_the_ones_in_the_help() {
    let document =
        std::fs::read_to_string(tool::repository().join("docs/command-line.md")).unwrap();
    let help = stdout(&Sandbox::new().run(&["--help"]));
    let (_, table) = help.split_once("Exit codes:\n").unwrap();
    let mut compared = 0;
    for line in table.lines().filter(|line| !line.trim().is_empty()) {
        let (code, meaning) = line.trim().split_once("  ").unwrap();
        assert!(document.contains(&format!("| {code} | {meaning} |")), "{line}");
        compared += 1;
    }
    assert_eq!(compared, 8);
}
