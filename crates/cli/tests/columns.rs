//! Columns as key, value, headers, time and partition: each option lands as it says, `audit` agrees
//! with it, and a run that goes on must be given the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "tool/registry.rs"]
mod registry;
#[path = "columns/registry.rs"]
mod registry_tests;
mod tool;

use rstest::rstest;
use serde_json::{Value, json};
use tool::{Sandbox, stderr};

const ORDERS: &[u8] = b"shop,id,sum,note,part\nA,1,2.50,x,0\nB,2,3,\"say \"\"hi\"\"\",1\n,3,4,,1\n";

const EVENTS: &[u8] = b"{\"shop\":\"A\",\"id\":1,\"part\":1,\"deep\":{\"x\":1}}\n\
                        {\"part\":0,\"id\":2,\"shop\":null,\"note\":\"\\u00e9\"}\n";

/// The records, in the order of their offsets, partition by partition.
fn records(sandbox: &Sandbox) -> Vec<Value> {
    let text = sandbox.succeed(&["consume", "t", "--format", "json"]);
    let mut records: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    records.sort_by_key(|record| {
        (record["partition"].as_i64().unwrap(), record["offset"].as_i64().unwrap())
    });
    records
}

/// Ingests a file with these options, and has it audited with the same and with none.
fn ingest(sandbox: &Sandbox, file: &str, options: &[&str]) -> Vec<Value> {
    sandbox.write("orders.csv", ORDERS);
    sandbox.write("events.ndjson", EVENTS);
    let two = ["-t", "t", "--partitions", "2", "--quiet"];
    sandbox.succeed(&[&["ingest", file], &two[..], options].concat());
    let audit = [&["audit", file, "t"], options].concat();
    let shown = sandbox.succeed(&audit);
    assert!(shown.contains("equal: every row is there, once"), "{shown}");
    records(sandbox)
}

fn of<'a>(records: &'a [Value], field: &str) -> Vec<&'a Value> {
    records.iter().map(|record| &record[field]).collect()
}

#[rstest]
#[case::numbered(
    &["--no-header", "--key", "c2"],
    [r#"{"c1":"A","c2":1,"c3":2.50}"#, r#"{"c1":"B","c2":2,"c3":3}"#]
)]
#[case::named(
    &["--columns", "shop,id,sum", "--key", "id"],
    [r#"{"shop":"A","id":1,"sum":2.50}"#, r#"{"shop":"B","id":2,"sum":3}"#]
)]
#[case::raw(&["--no-header", "--value", "raw", "--key", "c2"], ["A,1,2.50", "B,2,3"])]
#[case::selected(
    &["--no-header", "--key", "c2", "--select", "c3", "--rename", "c3=sum"],
    [r#"{"sum":2.50}"#, r#"{"sum":3}"#]
)]
fn a_file_without_a_header_loses_no_row(#[case] options: &[&str], #[case] values: [&str; 2]) {
    let sandbox = Sandbox::new();
    sandbox.write("orders.csv", b"\xef\xbb\xbfA,1,2.50\r\nB,2,3\n");
    let ingest = ["ingest", "orders.csv", "-t", "t", "--partitions", "1", "-q"];
    for limit in ["1", "9"] {
        sandbox.succeed(&[&ingest, options, &["--limit", limit]].concat());
    }
    assert_eq!(of(&records(&sandbox), "value"), values);
    assert_eq!(of(&records(&sandbox), "key"), ["1", "2"]);
    let shown = sandbox.succeed(&[&["audit", "orders.csv", "t"], options].concat());
    assert!(shown.contains("equal: every row is there, once"), "{shown}");
    // What is ingested of it keeps to that.
    sandbox.write("orders.csv", b"\xef\xbb\xbfA,1,2.50\r\nB,2,3\nC,3\n");
    let other = sandbox.run(&[&ingest[..], &["--append", "--key", "1"]].concat());
    assert_eq!(other.status.code(), Some(2), "{}", stderr(&other));
    let short = sandbox.run(&[&ingest, options, &["--append"]].concat());
    let told = stderr(&short);
    assert!(told.contains("orders.csv:3") && told.contains("2 columns"), "{told}");
}

#[test]
fn a_time_that_the_topic_doesnt_take_is_a_bad_row() {
    let sandbox = Sandbox::new();
    sandbox.write("t.csv", b"id,at\n1,2019-10-01\n2,9999-12-31\n3,1969-12-31\n4,2020-01-01\n");
    sandbox.write("t.ndjson", b"{\"at\":\"9999-12-31\"}\n{\"at\":\"2019-10-01\"}\n");
    for (file, topic, bad) in [("t.csv", "t", 2), ("t.ndjson", "u", 1)] {
        let options = ["--timestamp", "at", "--quiet", "--json"];
        let letters = ["ingest", file, "-t", topic, "--on-error", "dead-letter"];
        let report = sandbox.succeed(&[&letters, &options[..]].concat());
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["rejected"], bad);
        let audit = ["audit", file, topic, "--timestamp", "at"];
        let shown = sandbox.succeed(&audit);
        assert!(shown.contains("equal: every row is there, once"), "{shown}");
    }
    let letters = sandbox.succeed(&["consume", "t.dead-letters", "--format", "json"]);
    assert!(letters.contains("9999-12-31T00:00:00.000Z in column at, which is later"), "{letters}");
    assert!(letters.contains("which is before 1970"), "{letters}");
    let stopped = sandbox.run(&["ingest", "t.csv", "-t", "v", "--timestamp", "at"]);
    assert_eq!(stopped.status.code(), Some(3));
    assert!(stderr(&stopped).contains("t.csv:3"), "{}", stderr(&stopped));
    let any = "message.timestamp.after.max.ms=9223372036854775807";
    let open = ["ingest", "t.ndjson", "-t", "w", "--timestamp", "at", "--topic-config", any];
    sandbox.succeed(&open);
}

#[test]
fn what_is_said_of_headers_is_held_against_the_files() {
    let sandbox = Sandbox::new();
    sandbox.write("n.ndjson", b"{}\n");
    sandbox.write("bad.csv", b"\xff,1\na,2\n");
    sandbox.write("empty.csv", b"");
    for (arguments, code, told) in [
        (&["n.ndjson", "--no-header"][..], 2, "--no-header and --columns are for CSV"),
        (&["bad.csv", "--columns", "a,b,a"], 2, "--columns names \"a\" twice"),
        (&["bad.csv", "--no-header"], 3, "bad.csv:1, which shows its columns"),
        (&["bad.csv", "--columns", "a,b"], 3, "bad row at bad.csv:1\n"),
        (&["bad.csv", "--columns", "a,b", "--on-error", "skip"], 0, "skipped bad.csv:1: "),
        (&["empty.csv", "--columns", "a,b"], 3, "empty.csv is empty"),
    ] {
        let output = sandbox.run(&[&["ingest", "-t", "t", "-q"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{arguments:?}: {}", stderr(&output));
    }
    assert_eq!(of(&records(&sandbox), "value"), [r#"{"a":"a","b":2}"#]);
}

#[test]
fn several_columns_are_one_key() {
    let sandbox = Sandbox::new();
    let records = ingest(&sandbox, "orders.csv", &["--key", "shop,id"]);
    let mut keys: Vec<&str> =
        records.iter().map(|record| record["key"].as_str().unwrap()).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [r#"{"shop":"A","id":"1"}"#, r#"{"shop":"B","id":"2"}"#, r#"{"shop":null,"id":"3"}"#]
    );
    let other = sandbox.run(&["audit", "orders.csv", "t", "--key", "id"]);
    assert_eq!(other.status.code(), Some(6), "another key is another record");
}

#[test]
fn columns_name_the_partition_and_are_headers() {
    let sandbox = Sandbox::new();
    let options = ["--key", "id", "--partition", "part", "--header", "from=shop", "--header", "id"];
    let records = ingest(&sandbox, "orders.csv", &options);
    assert_eq!(of(&records, "partition"), [&json!(0), &json!(1), &json!(1)]);
    assert_eq!(of(&records, "key"), [&json!("1"), &json!("2"), &json!("3")]);
    let header = |name: &str, value: Value| json!({"name": name, "value": value});
    assert_eq!(
        records[0]["headers"],
        json!([header("from", json!("A")), header("id", json!("1"))])
    );
    assert_eq!(
        records[2]["headers"],
        json!([header("from", Value::Null), header("id", json!("3"))])
    );
    let shown = sandbox.succeed(&[&["audit", "orders.csv", "t"], &options[..]].concat());
    assert!(shown.contains("kept"), "{shown}");
    let without = sandbox.run(&[&["audit", "orders.csv", "t"], &options[..6]].concat());
    assert_eq!(without.status.code(), Some(6), "a header less is another record");
}

#[test]
fn columns_are_chosen_and_renamed() {
    let sandbox = Sandbox::new();
    let options = ["--select", "sum,id", "--rename", "sum=total", "--partition", "part"];
    let records = ingest(&sandbox, "orders.csv", &options);
    assert_eq!(records[0]["value"], r#"{"total":2.50,"id":1}"#);
    assert_eq!(records[1]["value"], r#"{"total":3,"id":2}"#);
    let changed = sandbox.run(&["audit", "orders.csv", "t", "--partition", "part"]);
    assert_eq!(changed.status.code(), Some(6));
}

#[test]
fn a_row_is_sent_as_it_stands() {
    let sandbox = Sandbox::new();
    let options = ["--value", "raw", "--key", "shop", "--partition", "part"];
    let records = ingest(&sandbox, "orders.csv", &options);
    assert_eq!(
        of(&records, "value"),
        [&json!("A,1,2.50,x,0"), &json!("B,2,3,\"say \"\"hi\"\"\",1"), &json!(",3,4,,1")]
    );
    assert_eq!(of(&records, "key"), [&json!("A"), &json!("B"), &Value::Null]);
}

#[test]
fn fields_of_json_do_the_same() {
    let sandbox = Sandbox::new();
    let options = [
        "--key",
        "shop,id",
        "--partition",
        "part",
        "--header",
        "deep",
        "--select",
        "note,id",
        "--rename",
        "id=order",
    ];
    let records = ingest(&sandbox, "events.ndjson", &options);
    assert_eq!(
        of(&records, "value"),
        [&json!("{\"note\":\"\\u00e9\",\"order\":2}"), &json!("{\"order\":1}")]
    );
    assert_eq!(
        of(&records, "key"),
        [&json!("{\"shop\":null,\"id\":2}"), &json!("{\"shop\":\"A\",\"id\":1}")]
    );
    assert_eq!(records[0]["headers"], json!([{"name": "deep", "value": null}]));
    assert_eq!(records[1]["headers"], json!([{"name": "deep", "value": "{\"x\":1}"}]));
}

#[test]
fn a_partition_that_the_topic_lacks_is_a_bad_row() {
    let sandbox = Sandbox::new();
    sandbox.write("a.csv", b"id,part\n1,0\n2,7\n3,\n4,1\n");
    let common = ["a.csv", "--partition", "part"];
    let ingest = ["-t", "t", "--partitions", "2", "--on-error", "dead-letter", "--json"];
    let report = sandbox.succeed(&[&["ingest"], &common[..], &ingest].concat());
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["rows"], &report["rejected"]), (&json!(2), &json!(2)));
    let reason = "holds \"7\" in column part, which isn't a partition of the topic";
    assert_eq!(report["rejections"][0]["reason"], reason);
    sandbox.succeed(&["audit", "a.csv", "t", "--partition", "part"]);
}

#[test]
fn a_run_goes_on_only_with_the_same_columns() {
    let sandbox = Sandbox::new();
    sandbox.write("a.csv", b"id,n\n1,x\n2,y\n3,z\n");
    let run = |more: &[&str]| sandbox.run(&[&["ingest", "a.csv", "-t", "t", "-q"], more].concat());
    assert!(run(&["--limit", "1", "--select", "id", "--header", "n"]).status.success());
    for other in [
        &["--select", "id"][..],
        &["--select", "id", "--header", "m=n"],
        &["--select", "n", "--header", "n"],
        &["--select", "id", "--header", "n", "--rename", "id=key"],
        &["--header", "n", "--value", "raw"],
        &["--select", "id", "--header", "n", "--partition", "id"],
        &["--select", "id", "--header", "n", "--timestamp", "id"],
        &["--select", "id", "--header", "n", "--key", "id"],
        &["--select", "id", "--header", "n", "--type", "id=string"],
    ] {
        let output = run(other);
        assert_eq!(output.status.code(), Some(2), "{other:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("was ingested as csv"), "{}", stderr(&output));
    }
    assert!(run(&["--select", "id", "--header", "n"]).status.success());
    let shown = sandbox.succeed(&["audit", "a.csv", "t", "--select", "id", "--header", "n"]);
    assert!(!shown.contains("not compared"), "{shown}");
    let shown = sandbox.succeed(&["audit", "a.csv", "t", "--select", "id"]);
    assert!(shown.contains("not compared, and 3 records have some"), "{shown}");
}

#[rstest]
#[case(&["--header", "="], &["NAME=COLUMN"])]
#[case(&["--header", "no"], &["no column \"no\"", "--header"])]
#[case(&["--key", "id,no"], &["no column \"no\"", "--key"])]
#[case(&["--key", "id,id"], &["--key names \"id\" twice"])]
#[case(&["--partition", "pars"], &["did you mean part?"])]
#[case(&["--select", "id,no"], &["no column \"no\"", "--select"])]
#[case(&["--select", "id,id"], &["--select names \"id\" twice"])]
#[case(&["--rename", "no=id"], &["no column \"no\"", "--rename"])]
#[case(&["--rename", "id"], &["NAME=VALUE"])]
#[case(&["--rename", "id=x", "--rename", "sum=x"], &["would be named \"x\""])]
#[case(&["--rename", "id=x", "--rename", "id=y"], &["--rename names \"id\" twice"])]
#[case(&["--rename", "id=sum"], &["would be named \"sum\"", "--select"])]
#[case(&["--select", "id", "--rename", "sum=x"], &["\"sum\", which --select leaves out"])]
#[case(&["--value", "raw", "--select", "id"], &["--value raw sends rows as the files have them"])]
#[case(&["--value", "raw", "--type", "id=string"], &["--value raw"])]
#[case(&["--value", "text"], &["json, raw, avro"])]
#[case(&["--avro-schema", "no.avsc", "--value", "avro"], &["can't read the Avro schema no.avsc"])]
#[case(&["--record-name", "a-b", "--value", "avro"], &["letters, digits and _"])]
#[case(&["--format", "lines", "--header", "id"], &["lines have no columns for --header"])]
#[case(&["--format", "lines", "--value", "json"], &["lines have no columns for --value json"])]
fn what_cant_be_done_says_why(#[case] options: &[&str], #[case] said: &[&str]) {
    let sandbox = Sandbox::new();
    sandbox.write("orders.csv", ORDERS);
    let output = sandbox.run(&[&["ingest", "orders.csv"], options].concat());
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for part in said {
        assert!(text.contains(part), "{part:?} isn't in:\n{text}");
    }
    assert!(!sandbox.path(".streamledger").exists(), "nothing was begun");
}

#[test]
fn values_are_avro_and_go_on_by_the_same_schema() {
    let sandbox = Sandbox::new();
    let options = ["--value", "avro", "--key", "id", "--select", "id,sum,note"];
    let records = ingest(&sandbox, "orders.csv", &options);
    assert_eq!(records.len(), 3);
    let of_key = |records: &[Value], key: &str| {
        let found = records.iter().find(|record| record["key"] == key).unwrap();
        found["value"].as_str().map(|text| text.as_bytes().to_vec())
    };
    // Branch 1 and the id, branch 0, an empty text.
    assert_eq!(of_key(&records, "3").unwrap(), [2, 6, 2, 0, 0, 0, 0, 0, 0, 16, 64, 0]);
    let as_json = sandbox.run(&["audit", "orders.csv", "t", "--key", "id"]);
    assert_eq!(as_json.status.code(), Some(6), "JSON is another record");

    // What was inferred from the first rows holds for those that come later.
    sandbox.write("grows.ndjson", b"{\"id\":1}\n");
    let ingest = ["ingest", "grows.ndjson", "-t", "u", "--value", "avro", "--quiet"];
    sandbox.succeed(&ingest);
    sandbox.write("grows.ndjson", b"{\"id\":1}\n{\"id\":2,\"more\":\"x\"}\n");
    let refused = sandbox.run(&[&ingest[..], &["--append"]].concat());
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("the Avro schema doesn't have it"), "{}", stderr(&refused));
    sandbox.write("grows.ndjson", b"{\"id\":1}\n{\"id\":2}\n");
    sandbox.succeed(&[&ingest[..], &["--append"]].concat());
    let shown = sandbox.succeed(&["audit", "grows.ndjson", "u", "--value", "avro"]);
    assert!(shown.contains("equal: every row is there, once"), "{shown}");
}

#[test]
fn a_dry_run_shows_the_schema_and_records_as_json() {
    let sandbox = Sandbox::new();
    sandbox.write("orders.csv", ORDERS);
    let options = ["ingest", "orders.csv", "-t", "shop.orders-1", "--value", "avro", "--dry-run"];
    let shown = sandbox.succeed(&options);
    assert!(shown.contains(r#""namespace":"shop","name":"orders_1""#), "{shown}");
    let report: Value =
        serde_json::from_str(&sandbox.succeed(&[&options[..], &["--json"]].concat())).unwrap();
    let schema: Value =
        serde_json::from_str(report["schemas"][0]["schema"].as_str().unwrap()).unwrap();
    assert_eq!(schema["fields"][2]["type"], json!(["null", "double"]));
    let first: Value =
        serde_json::from_str(report["first_records"][0]["value"].as_str().unwrap()).unwrap();
    assert_eq!(first, json!({"shop": "A", "id": 1, "sum": 2.5, "note": "x", "part": 0}));
    sandbox.write("orders.avsc", br#"{"type":"record","name":"o","fields":[]}"#);
    let given = sandbox.run(&[&options[..6], &["--avro-schema", "orders.avsc"]].concat());
    let said = stderr(&given);
    assert_eq!(given.status.code(), Some(2), "{said}");
    assert!(said.contains("the Avro schema has no field for the column \"shop\""), "{said}");
}
