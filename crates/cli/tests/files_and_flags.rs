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
#[case(&["ingest", "*.ndjson"], 3, &["no file matches *.ndjson", "broken.csv.gz to ok.dat"])]
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
#[case(&["ingest", "ok.csv", "-t", "a b"], 2, &["--topic \"a b\" can't be", "allowed are a-z"])]
#[case(&["ingest", "ok.csv", "-t", ""], 2, &["a topic name cannot be empty"])]
#[case(&["ingest", "ok.csv", "-t", "__streamledger_progress"], 2, &["where progress is kept"])]
#[case(&["ingest", "ok.csv", "--job", ""], 2, &["a job needs a name"])]
#[case(
    &["ingest", "ok.csv", "--dead-letter-topic", "x"], 2, &["no effect without --on-error dead-let"]
)]
#[case(
    &["ingest", "ok.csv", "-t", "x", "--on-error", "dead-letter", "--dead-letter-topic", "x"],
    2,
    &["x can't be the topic of its own dead letters"]
)]
#[case(
    &["ingest", "ok.csv", "--on-error", "dead-letter", "--dead-letter-topic", "a/b"],
    2,
    &["--dead-letter-topic \"a/b\" can't be the name of a topic"]
)]
#[case(
    &["ingest", "ok.csv", "--max-rejected", "5"], 2, &["no effect without --on-error skip or dead"]
)]
#[case(&["ingest", "ok.csv", "--max-row-bytes", "0"], 2, &["--max-row-bytes"])]
#[case(&["ingest", "ok.csv", "--max-row-bytes", "5"], 3, &["ok.csv:1", "longer than 5 bytes"])]
#[case(&["ingest", "ok.csv", "--delimiter", ";;"], 2, &["one ASCII character"])]
#[case(&["ingest", "ok.csv", "--transaction-ms", "600001"], 2, &["1..=600000"])]
#[case(&["ingest", "ok.csv", "--transaction-rows", "0"], 2, &["--transaction-rows"])]
#[case(&["ingest", "ok.csv", "--limit", "some"], 2, &["--limit"])]
#[case(
    &["ingest", "ok.csv", "--at-least-once", "-X", "transactional.id=x"],
    2,
    &["transactional.id=x has no use here", "at least once"]
)]
#[case(&["ingest", "ok.csv", "-X", "acks=0"], 2, &["acks=0 can't have transactions", "--at-least"])]
#[case(&["ingest", "pipe.csv"], 3, &["pipe.csv isn't a regular file", "ingest - < PIPE"])]
#[case(&["ingest", "pipe.csv", "--follow"], 3, &["pipe.csv isn't a regular file"])]
#[case(&["ingest", "broken.csv.gz"], 3, &["can't read broken.csv.gz", "gzip data can't be unpa"])]
#[case(&["ingest", "ok.csv", "--compression", "zstd"], 3, &["can't read ok.csv", "zstd data"])]
#[case(&["ingest", "cr.csv"], 3, &["carriage returns alone", "tr '\\r' '\\n'"])]
#[case(&["ingest", "ok.csv", "--format", "parquet"], 3, &["it isn't a Parquet file"])]
#[case(&["ingest", "-", "-"], 2, &["standard input is named twice"])]
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
#[case(&["ingest", "loop.csv"], 3, &["can't open loop.csv", "symbolic links", "leads back to it"])]
#[case(&["ingest", "loop.csv/x.csv"], 3, &["can't open loop.csv/x.csv", "a directory of the path"])]
#[case(&["ingest", "gone.csv"], 3, &["can't open gone.csv", "No such file", "ln -sfn"])]
#[case(&["audit", "gone.csv", "t"], 3, &["can't open gone.csv", "a link to what isn't there"])]
#[case(&["ingest", "ok.csv/x.csv"], 3, &["can't open ok.csv/x.csv", "a part of it is a file"])]
#[case(&["ingest", "ok.csv", "never.csv"], 3, &["can't read never.csv", "os error 5", "disk"])]
#[case(&["audit", "never.csv", "t"], 3, &["can't read never.csv", "os error 5"])]
#[case(&["ingest", "ok.csv", "-X", "transactional.id=x"], 2, &["id=x can't be set for a job"])]
#[case(
    &["audit", "ok.csv", "t", "--dead-letters", "t"], 2, &["can't be the topic of its own dead"]
)]
#[case(&["ingest", "ok.csv", "-b", ""], 2, &["--bootstrap-servers", "one or more host:port"])]
#[case(&["topics", "list", "-b", "host"], 2, &["'host' for '--bootstrap-servers", "host:port"])]
#[case(
    &["ingest", "ok.csv", "ok.dat", "--watch"], 2, &["nothing can come", "--append", "--follow"]
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
    // What nobody may read, root neither.
    let link = |to: &str, name| std::os::unix::fs::symlink(to, sandbox.path(name)).unwrap();
    link("loop.csv", "loop.csv");
    link("nowhere.csv", "gone.csv");
    link("/proc/self/mem", "never.csv");
    sandbox.write("cr.csv", b"a,b\r1,2\r");
    sandbox.write("broken.csv.gz", b"\x1f\x8bno gzip at all");
    let made = std::process::Command::new("mkfifo").arg(sandbox.path("pipe.csv")).status();
    assert!(made.unwrap().success());
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
fn a_name_that_no_file_can_have_is_told() {
    let sandbox = Sandbox::new();
    let name = format!("{}.csv", "x".repeat(300));
    let output = sandbox.run(&["ingest", &name]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    for part in [&format!("can't open {name}"), "File name too long", "longer than the file system"]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn options_that_contradict_each_other_are_refused_by_name() {
    let sandbox = Sandbox::new();
    sandbox.write("ok.csv", b"users,price\n1,2\n");
    let with_at_least_once = [
        &["--exactly-once"][..],
        &["--job", "j"],
        &["--append"],
        &["--follow"],
        &["--transaction-rows", "5"],
        &["--transaction-ms", "5"],
    ];
    let pairs = with_at_least_once.map(|other| (&["--at-least-once"][..], other)).into_iter();
    let others = [
        (&["--no-key"][..], &["--key", "users"][..]),
        (&["--rate", "5"], &["--replay", "1x", "--timestamp", "users"]),
        (&["--follow"], &["--replay", "1x", "--timestamp", "users"]),
    ];
    for (one, other) in pairs.chain(others) {
        let output = sandbox.run(&[&["ingest", "ok.csv"], one, other].concat());
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{one:?} {other:?}: {text}");
        assert!(text.contains(one[0]) && text.contains(other[0]), "{one:?} {other:?}: {text}");
    }
    let alone = sandbox.run(&["ingest", "ok.csv", "--replay", "1x"]);
    assert!(stderr(&alone).contains("--timestamp"), "{}", stderr(&alone));
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
