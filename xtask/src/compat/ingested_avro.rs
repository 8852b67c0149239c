//! Rows as Avro behind the ids of registered schemas, half a file in each of two runs: fastavro
//! reads each value by the registry's schema, and writes it again to the byte.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::{Value, json};

use super::lab::{LIMIT, Trial};
use super::registry::Registry;
use crate::failure::{Failure, Outcome, ensure};
use crate::process;

const ROWS: usize = 2_000;

/// A schema with what a row's text can become, beside what is made of columns by themselves.
const ORDERS: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
    {"name":"sum","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
    {"name":"id","type":"long"},
    {"name":"day","type":{"type":"int","logicalType":"date"}},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["A","B","C"]}},
    {"name":"note","type":["null","string"]},
    {"name":"more","type":{"type":"array","items":"int"},"default":[]}]}"#;

pub(crate) fn by_registered_schemas(trial: &Trial) -> Outcome<String> {
    let registry = Registry::start();
    given(trial, &registry).map_err(|failure| failure.while_doing("a schema that is given"))?;
    made(trial, &registry).map_err(|failure| failure.while_doing("a schema made of columns"))?;
    lines(trial, &registry).map_err(|failure| failure.while_doing("lines of JSON"))?;
    let count = 3 * ROWS;
    Ok(format!("{count} records of CSV and NDJSON read by fastavro, written by it to the byte"))
}

fn given(trial: &Trial, registry: &Registry) -> Outcome<()> {
    let mut text = String::from("id,day,at,sum,kind,note\n");
    let kind = |n: usize| ["A", "B", "C"][n % 3];
    for n in 0..ROWS {
        let (cents, micros) = (n % 100, n + 1);
        let note = if n % 5 == 0 { String::new() } else { format!("é {n}") };
        let at = format!("2019-10-01T00:00:00.{micros:06}Z");
        let _ = writeln!(text, "{n},2019-10-01,{at},-{n}.{cents:02},{},{note}", kind(n));
    }
    let schema = trial.directory.join("order.avsc");
    std::fs::write(&schema, ORDERS)?;
    let schema = schema.display().to_string();
    let read = in_and_out(trial, registry, "given", "csv", &text, &["--avro-schema", &schema])?;
    for (n, value) in read.iter().enumerate() {
        let note = if n % 5 == 0 { Value::Null } else { json!(format!("é {n}")) };
        let expected = json!({
            "sum": format!("-{n}.{:02}", n % 100),
            "id": n,
            "day": "2019-10-01",
            "at": format!("2019-10-01 00:00:00.{:06}+00:00", n + 1),
            "kind": kind(n),
            "note": note,
            "more": [],
        });
        // Of zero there is no negative decimal.
        let is_zero = n == 0 && value["sum"] == "0.00";
        ensure!(*value == expected || is_zero, "row {n} is {value}, not {expected}");
    }
    Ok(())
}

fn made(trial: &Trial, registry: &Registry) -> Outcome<()> {
    let mut text = String::from("id,the sum,ok,note\n");
    for n in 0..ROWS {
        let _ = writeln!(text, "{n},{n}.25,{},\"say \"\"{n}\"\"\"", n % 2 == 0);
    }
    text.push_str(",,,\n");
    let read = in_and_out(trial, registry, "made", "csv", &text, &[])?;
    for (n, value) in read.iter().enumerate().take(ROWS) {
        let sum = n as f64 + 0.25;
        let note = format!("say \"{n}\"");
        let expected = json!({"id": n, "the_sum": sum, "ok": n % 2 == 0, "note": note});
        ensure!(*value == expected, "row {n} is {value}, not {expected}");
    }
    let nothing = json!({"id": null, "the_sum": null, "ok": null, "note": ""});
    ensure!(read.last() == Some(&nothing), "the empty row is {:?}", read.last());
    Ok(())
}

fn lines(trial: &Trial, registry: &Registry) -> Outcome<()> {
    let line = |n: usize| json!({"id": n, "part": n as f64 / 8.0, "is": n % 2 == 1, "s": "x"});
    let text: String = (0..ROWS).map(|n| format!("{}\n", line(n))).collect();
    let read = in_and_out(trial, registry, "lines", "ndjson", &text, &[])?;
    for (n, value) in read.iter().enumerate() {
        ensure!(*value == line(n), "line {n} is {value}");
    }
    ensure!(read.len() == ROWS, "{} of {ROWS} lines", read.len());
    Ok(())
}

/// Ingests a file in two runs, has it audited, and has fastavro read what is there: one schema in
/// front of all of it.
fn in_and_out(
    trial: &Trial,
    registry: &Registry,
    name: &str,
    ending: &str,
    text: &str,
    options: &[&str],
) -> Outcome<Vec<Value>> {
    let (topic, bootstrap) = (trial.topic(name), trial.bootstrap()?);
    let file = trial.directory.join(format!("{name}.{ending}"));
    std::fs::write(&file, text)?;
    let how = ["--value", "avro", "--schema-registry", &registry.url, "-b", &bootstrap];
    let ingest = |more: &[&str]| -> Outcome<()> {
        let mut ingest = trial.tools().streamledger()?;
        ingest.arg("ingest").arg(&file).args(["-t", &topic, "--partitions", "1", "--quiet"]);
        process::run_ok(ingest.args(how).args(options).args(more), b"", LIMIT).map(drop)
    };
    let half = (ROWS / 2).to_string();
    ingest(&["--limit", &half])?;
    ingest(&[])?;
    let mut audit = trial.tools().streamledger()?;
    audit.arg("audit").arg(&file).args([&topic, "--json"]).args(how).args(options);
    let audited: Value = serde_json::from_str(&process::run_ok(&mut audit, b"", LIMIT)?.text())?;
    ensure!(audited["equal"] == true, "audit says {audited}");
    let mut python: Command = trial.tools().python()?;
    python.args(["avro", &bootstrap, &registry.url, &topic]);
    let said = process::run_ok(&mut python, b"", LIMIT)?.text();
    let mut read = Vec::new();
    let mut ids: Vec<&str> = Vec::new();
    for line in said.lines() {
        let (id, value) = line.split_once('\t').ok_or_else(|| Failure::new("no id"))?;
        ids.push(id);
        read.push(serde_json::from_str(value)?);
    }
    ids.dedup();
    ensure!(ids.len() == 1, "the ids are {ids:?}");
    ensure!(read.len() >= ROWS, "{} of {ROWS} records", read.len());
    Ok(read)
}
