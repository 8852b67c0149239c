//! Files in, records out, on the embedded broker: each row is there once, in order, as documented.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod tool;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tool::{PATIENCE, Sandbox, interrupt, stderr, stdout, wait};

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn consume(sandbox: &Sandbox, topic: &str) -> Vec<Value> {
    json_lines(&sandbox.succeed(&["consume", topic, "--format", "json"]))
}

fn values(sandbox: &Sandbox, topic: &str) -> Vec<String> {
    let text = |record: &Value| record["value"].as_str().unwrap().to_owned();
    consume(sandbox, topic).iter().map(text).collect()
}

/// A click event's JSON and key, made another way than the command does.
fn expected_click(row: &str) -> (String, String) {
    let columns: Vec<&str> = row.split(',').collect();
    let [day, clock, _] = columns[0].split(' ').collect::<Vec<_>>()[..] else { panic!("{row}") };
    let day: i64 = day.strip_prefix("2019-10-").unwrap().parse().unwrap();
    let clock: Vec<i64> = clock.split(':').map(|part| part.parse().unwrap()).collect();
    let second = 1_569_888_000 + (day - 1) * 86_400 + clock[0] * 3600 + clock[1] * 60 + clock[2];
    let json = format!(
        "{{\"eventTime\":{second}000,\"eventType\":\"{}\",\"productId\":\"{}\",\
         \"categoryId\":\"{}\",\"categoryCode\":\"{}\",\"brand\":\"{}\",\"price\":{},\
         \"userid\":\"{}\",\"userSession\":\"{}\"}}",
        columns[1],
        columns[2],
        columns[3],
        columns[4],
        columns[5],
        columns[6],
        columns[7],
        columns[8]
    );
    (json, columns[7].to_owned())
}

#[test]
fn every_click_event_arrives_once_keyed_and_in_order() {
    let sandbox = Sandbox::new();
    let made = sandbox.succeed(&["generate", "clicks", "--rows", "20000", "--seed", "3"]);
    sandbox.write("clicks.csv", made.as_bytes());
    let report = sandbox.succeed(&[
        "ingest",
        "clicks.csv",
        "--key",
        "user_id",
        "--timestamp",
        "event_time",
        // One transaction, however slow the machine is: each has an offset for its end.
        "--transaction-ms",
        "600000",
        "--json",
        "-X",
        "batch.size=16384",
        "-X",
        "compression.type=lz4",
    ]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["status"], &report["rows"]), (&"done".into(), &20_000.into()));
    assert_eq!(report["settings"]["compression.type"], "lz4");
    assert!(report["compression_ratio"].as_f64().unwrap() > 1.5, "{report}");
    let last_records = report["last_records"].as_array().unwrap();
    assert_eq!(last_records.len(), 6);
    let offsets = last_records.iter().map(|record| record["offset"].as_i64().unwrap() + 1);
    assert_eq!(offsets.sum::<i64>(), 20_000);

    let mut by_user: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in made.lines().skip(1) {
        let (json, user) = expected_click(row);
        by_user.entry(user).or_default().push(json);
    }
    let mut arrived: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut next_offsets: BTreeMap<i64, i64> = BTreeMap::new();
    for record in consume(&sandbox, "ecommerce.events") {
        let next = next_offsets.entry(record["partition"].as_i64().unwrap()).or_default();
        assert_eq!(record["offset"], *next);
        *next += 1;
        let value = record["value"].as_str().unwrap();
        let event: Value = serde_json::from_str(value).unwrap();
        assert_eq!(record["timestamp"], event["eventTime"]);
        let key = record["key"].as_str().unwrap().to_owned();
        arrived.entry(key).or_default().push(value.to_owned());
    }
    assert!(arrived == by_user, "a user's events are missing, doubled or out of order");
}

#[test]
fn consume_starts_and_ends_where_it_is_told() {
    let sandbox = Sandbox::new();
    let rows: String = (0..10).map(|n| format!("{},row {n}\n", 1000 + n)).collect();
    sandbox.write("a.csv", format!("at,text\n{rows}").as_bytes());
    sandbox.succeed(&[
        "ingest",
        "a.csv",
        "--topic",
        "t",
        "--partitions",
        "1",
        "--timestamp",
        "at",
        "--quiet",
        "--type",
        "at=string",
    ]);
    let read = |more: &[&str]| -> Vec<i64> {
        let text = sandbox.succeed(&[&["consume", "t", "--fields", "offset"], more].concat());
        text.lines().map(|line| line.parse().unwrap()).collect()
    };
    assert_eq!(read(&[]), (0..10).collect::<Vec<_>>());
    assert_eq!(read(&["--from-beginning", "--max-messages", "3"]), [0, 1, 2]);
    assert_eq!(read(&["--offset", "7", "--partition", "0"]), [7, 8, 9]);
    // The marker that commits the rows has an offset too, and is none of them.
    assert_eq!(read(&["--offset", "-3"]), [8, 9]);
    assert!(read(&["--offset", "99"]).is_empty());
    assert_eq!(read(&["--since", "1970-01-01T00:16:45Z"]), [5, 6, 7, 8, 9]);
    assert!(read(&["--since", "1m"]).is_empty());
    let line = sandbox.succeed(&["consume", "t", "-n", "1"]);
    assert_eq!(
        line,
        "0\t0\t1970-01-01T00:16:40.000Z\tnull\t\t{\"at\":\"1000\",\"text\":\"row 0\"}\n"
    );
    let output = sandbox.run(&["consume", "t", "--partition", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("t has no partition 1"), "{}", stderr(&output));
    let output = sandbox.run(&["consume", "u"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("no topic \"u\"") && text.contains("choose one of: t"), "{text}");
}

#[test]
fn quotes_line_breaks_and_crlf_survive() {
    let sandbox = Sandbox::new();
    sandbox.write("a.csv", b"id,text\r\n1,\"two\nlines, and \"\"quotes\"\"\"\r\n2,plain\r\n");
    sandbox.succeed(&["ingest", "a.csv", "--topic", "t", "--partitions", "1", "--quiet"]);
    assert_eq!(
        values(&sandbox, "t"),
        [
            "{\"id\":1,\"text\":\"two\\nlines, and \\\"quotes\\\"\"}",
            "{\"id\":2,\"text\":\"plain\"}"
        ]
    );
}

#[test]
fn a_bad_row_ends_the_run_or_is_left_out_and_named_either_way() {
    let sandbox = Sandbox::new();
    let rows: String = (0..1500).map(|n| format!("{n},x\n")).collect();
    sandbox.write("a.csv", format!("id,text\n{rows}seven,x\n8\n9,\"x\"y\n10,z\n").as_bytes());
    let arguments = ["ingest", "a.csv", "--topic", "t", "--partitions", "1", "--json"];
    let output = sandbox.run(&arguments);
    assert_eq!(output.status.code(), Some(3));
    let text = stderr(&output);
    for part in ["bad row at a.csv:1502", "holds \"seven\" in column id", "--on-error skip"] {
        assert!(text.contains(part), "{text}");
    }
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&report["status"], &report["rows"]), (&"failed".into(), &1500.into()));
    assert_eq!(report["error"]["exit_code"], 3);

    let report = sandbox.succeed(&[&arguments[..], &["--on-error", "skip"]].concat());
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["rows"], &report["rejected"]), (&1.into(), &3.into()), "it goes on");
    let lines: Vec<_> =
        report["rejections"].as_array().unwrap().iter().map(|row| &row["line"]).collect();
    assert_eq!(lines, [1502, 1503, 1504]);
    assert_eq!(values(&sandbox, "t").len(), 1501);
}

#[test]
fn a_row_larger_than_a_request_is_named_and_goes_through_when_allowed() {
    let sandbox = Sandbox::new();
    let long = "x".repeat(10 << 20);
    sandbox.write("a.csv", format!("id,text\n1,small\n2,{long}\n3,small\n").as_bytes());
    let arguments = ["ingest", "a.csv", "--topic", "t", "--partitions", "1"];
    let output = sandbox.run(&arguments);
    assert_eq!(output.status.code(), Some(3));
    let text = stderr(&output);
    for part in ["a.csv:3", "max.request.size"] {
        assert!(text.contains(part), "{text}");
    }
    let output = sandbox.run(&[&arguments[..], &["--max-row-bytes", "1000000"]].concat());
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("longer than 1000000 bytes"), "{}", stderr(&output));
    let arguments = [
        "ingest",
        "a.csv",
        "--topic",
        "large",
        "--partitions",
        "1",
        "--quiet",
        "--topic-config",
        "max.message.bytes=20000000",
        "-X",
        "max.request.size=20000000",
    ];
    sandbox.succeed(&arguments);
    let lengths: Vec<usize> = values(&sandbox, "large").iter().map(String::len).collect();
    assert_eq!(lengths, [23, 10 * (1 << 20) + 18, 23]);
    sandbox.succeed(&["audit", "a.csv", "large", "-X", "max.request.size=20000000"]);
    sandbox.succeed(&["ingest", "a.csv", "--topic", "skipped", "--on-error", "skip"]);
    let audit = sandbox.succeed(&["audit", "a.csv", "skipped"]);
    assert!(audit.contains("2 rows, and 1 bad ones"), "{audit}");
    // Too large for a record of its own, too: its dead letter is without it.
    sandbox.succeed(&["ingest", "a.csv", "--topic", "large-2", "--on-error", "dead-letter"]);
    let letters = ["--dead-letter-topic", "large-2.dead-letters"];
    let audit = sandbox.succeed(&[&["audit", "a.csv", "large-2"], &letters[..]].concat());
    assert!(audit.contains("and every bad one among the dead letters"), "{audit}");
    let output = sandbox.run(&["audit", "a.csv", "large"]);
    assert_eq!(output.status.code(), Some(6), "{}", stdout(&output));
}

#[test]
fn odd_bytes_in_a_file_are_rows_like_others_or_bad_ones_by_their_line() {
    let sandbox = Sandbox::new();
    for (index, (bytes, said)) in [
        (&b"\xef\xbb\xbfa,b\r\n1,x\r\n"[..], Ok("{\"a\":1,\"b\":\"x\"}")),
        (b"a,b\n1,x\0y\n", Ok("{\"a\":1,\"b\":\"x\\u0000y\"}")),
        (b"a,b\n1,x\n1\n", Err("odd.csv:3\n  cause: the row has 1 columns where the file has 2")),
        (b"a,b\n1,2,3\n", Err("odd.csv:2\n  cause: the row has 3 columns where the file has 2")),
        (b"a,b\n1,x\n\"1,x\n2,y\n", Err("odd.csv:3\n  cause: the row opens a quote in column 1")),
        (b"a,b\n1,\xff\n", Err("odd.csv:2\n  cause: the row isn't UTF-8 in column b")),
    ]
    .into_iter()
    .enumerate()
    {
        sandbox.write("odd.csv", bytes);
        let topic = format!("t{index}");
        let output = sandbox.run(&["ingest", "odd.csv", "--topic", &topic]);
        let told = stderr(&output);
        assert!(!told.contains("panicked"), "{told}");
        match said {
            Ok(value) => assert_eq!(values(&sandbox, &topic), [value], "{told}"),
            Err(said) => {
                assert_eq!(output.status.code(), Some(3), "{told}");
                assert!(told.contains(said), "{said} isn't in\n{told}");
            }
        }
    }
}

#[test]
fn delimiter_compression_and_the_topic_of_dead_letters_are_as_they_are_told() {
    let sandbox = Sandbox::new();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, b"a\tb\n1\tx,y\n2\n").unwrap();
    sandbox.write("data", &packed.finish().unwrap());
    let told = ["--format", "csv", "--delimiter", "\\t", "--compression", "gzip"];
    let letters = ["--on-error", "dead-letter", "--dead-letter-topic", "bad"];
    sandbox.succeed(&[&["ingest", "data", "-t", "t"][..], &told, &letters].concat());
    assert_eq!(values(&sandbox, "t"), ["{\"a\":1,\"b\":\"x,y\"}"]);
    assert_eq!(values(&sandbox, "bad"), ["2"]);
    let audited = sandbox.succeed(&[&["audit", "data", "t"][..], &told].concat());
    assert!(audited.contains("equal"), "{audited}");
    let as_it_is = ["ingest", "data", "-t", "u", "--format", "lines", "--compression", "none"];
    let report = sandbox.succeed(&[&as_it_is[..], &["--json"]].concat());
    assert!(report.contains("\"status\":\"done\""), "lines may be any bytes: {report}");
}

#[test]
fn a_file_without_rows_is_done_at_once() {
    let sandbox = Sandbox::new();
    sandbox.write("h.csv", b"id,text\n");
    let report = sandbox.succeed(&["ingest", "h.csv", "--topic", "t", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["status"], &report["rows"]), (&"done".into(), &0.into()));
}

#[test]
fn several_files_a_limit_and_other_formats() {
    let sandbox = Sandbox::new();
    sandbox.write("a.ndjson", b"{\"id\":\"a\"}\n{\"id\":\"b\"}\n");
    sandbox.write("b.ndjson", b"{\"id\":\"c\"}\n{\"id\":\"d\"}\n");
    let one = ["--topic", "t", "--partitions", "1", "--quiet"];
    sandbox.succeed(
        &[&["ingest", "a.ndjson", "b.ndjson", "--key", "id", "--limit", "3"], &one[..]].concat(),
    );
    let keys: Vec<Value> = consume(&sandbox, "t").iter().map(|r| r["key"].clone()).collect();
    assert_eq!(keys, ["a", "b", "c"]);
    sandbox.write("c.txt", b"any \xff bytes\n\nend");
    sandbox.succeed(&["ingest", "c.txt", "--topic", "raw", "--partitions", "1", "--quiet"]);
    let records = consume(&sandbox, "raw");
    assert_eq!(records[0]["value_base64"], "YW55IP8gYnl0ZXM=");
    assert_eq!((&records[1]["value"], &records[2]["value"]), (&"".into(), &"end".into()));
}

#[test]
fn what_is_produced_is_consumed_with_keys_headers_and_nulls() {
    let sandbox = Sandbox::new();
    let arguments = [
        "produce",
        "t",
        "--key-separator",
        ":",
        "--header",
        "a=1",
        "--header",
        "a=2",
        "--null-marker",
        "NULL",
        "--partition",
        "0",
    ];
    let output = sandbox.run_with_input(&arguments, b"k:v:w\nNULL:x\nk:NULL\n:\n");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("4 records sent to t"), "{}", stderr(&output));
    let records = consume(&sandbox, "t");
    let pairs: Vec<_> = records.iter().map(|r| (r["key"].clone(), r["value"].clone())).collect();
    let expected = [("k", "v:w"), ("", "x"), ("k", ""), ("", "")]
        .map(|(key, value)| (Value::from(key), Value::from(value)));
    let mut expected = expected.to_vec();
    expected[1].0 = Value::Null;
    expected[2].1 = Value::Null;
    assert_eq!(pairs, expected);
    let headers = serde_json::json!([{"name":"a","value":"1"},{"name":"a","value":"2"}]);
    assert!(records.iter().all(|record| record["headers"] == headers), "{records:?}");
    let output = sandbox.run_with_input(&["produce", "t", "-K", ":"], b"no separator\n");
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("line 1 has no key separator"), "{}", stderr(&output));
}

#[test]
fn topics_come_and_go() {
    let sandbox = Sandbox::new();
    sandbox.succeed(&[
        "topics",
        "create",
        "t",
        "--partitions",
        "3",
        "-c",
        "cleanup.policy=compact",
    ]);
    let again = sandbox.run(&["topics", "create", "t"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("can't be created"), "{}", stderr(&again));
    sandbox.succeed(&["topics", "create", "t", "--if-not-exists"]);
    let list = json_lines(&sandbox.succeed(&["topics", "list", "--json"]));
    assert_eq!((&list[0]["name"], &list[0]["partitions"]), (&"t".into(), &3.into()));
    let described = sandbox.succeed(&["topics", "describe", "t", "--json"]);
    let described: Value = serde_json::from_str(&described).unwrap();
    assert_eq!(described["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(described["settings"]["cleanup.policy"], "compact");
    assert!(sandbox.succeed(&["topics", "describe", "t"]).contains("compact"));
    let wrong = sandbox.run(&["topics", "create", "u", "-c", "no.such=1"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).contains("no.such"), "{}", stderr(&wrong));
    let gone = sandbox.run(&["topics", "delete", "t", "u"]);
    assert_eq!((gone.status.code(), stdout(&gone).as_str()), (Some(1), "deleted t\n"));
    assert_eq!(sandbox.succeed(&["topics", "list", "--json"]), "");
}

#[test]
fn ctrl_c_ends_an_ingest_cleanly_and_says_what_arrived() {
    let sandbox = Sandbox::new();
    let made = sandbox.run(&["generate", "clicks", "--rows", "1500000", "-o", "clicks.csv"]);
    assert!(made.status.success());
    let mut child = sandbox.spawn(&["ingest", "clicks.csv", "--json", "--partitions", "2"]);
    let has_records = |partition: u8| {
        let log = format!(".streamledger/ecommerce.events-{partition}/{:020}.log", 0);
        std::fs::metadata(sandbox.path(&log)).is_ok_and(|log| log.len() > 0)
    };
    let begun = Instant::now();
    while !has_records(0) && !has_records(1) {
        assert!(begun.elapsed() < PATIENCE, "nothing arrives");
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&child, "INT");
    assert_eq!(wait(&mut child), Some(130));
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["status"], "interrupted", "{report}");
    let rows = report["rows"].as_u64().unwrap();
    assert!(rows < 1_500_000);
    let counted = sandbox.succeed(&["consume", "ecommerce.events", "--fields", "offset"]);
    assert_eq!(counted.lines().count() as u64, rows, "{report}");
}

#[test]
fn a_bench_counts_every_record_and_cycles_its_file() {
    let sandbox = Sandbox::new();
    sandbox.write("lines.txt", b"one\ntwo\nthree\n");
    for rate in ["0", "5000"] {
        let result = sandbox.succeed(&[
            "bench",
            "produce",
            "--topic",
            "t",
            "--input",
            "lines.txt",
            "--records",
            "1000",
            "--rate",
            rate,
            "-X",
            "linger.ms=1",
            "--json",
        ]);
        let result: Value = serde_json::from_str(&result).unwrap();
        assert_eq!((&result["records"], &result["failed"]), (&1000.into(), &0.into()), "{result}");
        let latency = &result["latency_us"];
        assert!(latency["p50"].as_u64() <= latency["p99"].as_u64(), "{result}");
        assert!(latency["p50"].as_u64() > Some(0), "{result}");
        let seconds = result["seconds"].as_f64().unwrap();
        assert!(rate == "0" || seconds > 0.19, "{result}");
    }
    let counted = sandbox.succeed(&["consume", "t", "--fields", "value"]);
    assert_eq!(counted.lines().filter(|line| *line == "three").count(), 666);
}

#[test]
fn a_group_goes_on_where_it_was_and_elsewhere_when_told() {
    let sandbox = Sandbox::new();
    sandbox.succeed(&["topics", "create", "t", "--partitions", "2"]);
    assert!(sandbox.run_with_input(&["produce", "t"], b"a\nb\nc\n").status.success());
    let read = || sandbox.succeed(&["consume", "t", "--group", "g", "--fields", "value"]);
    let mut first: Vec<String> = read().lines().map(str::to_owned).collect();
    first.sort();
    assert_eq!(first, ["a", "b", "c"]);
    assert_eq!(read(), "");
    let moved = sandbox.succeed(&["groups", "reset-offsets", "g", "--to-earliest"]);
    assert!(moved.contains("before"), "{moved}");
    assert_eq!(read().lines().count(), 3);
    let wrong = sandbox.run(&["consume", "t", "--group", "g", "--from-beginning"]);
    assert!(!wrong.status.success());
}
