//! A hundred thousand click events from a file to Apache Kafka and back, by the command.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::lab::Trial;
use super::peer::Peer;
use super::record::Record;
use crate::failure::{Failure, Outcome, ensure};
use crate::process;

const ROWS: usize = 100_000;
const INGEST_LIMIT: Duration = Duration::from_secs(180);
/// The order of the reference form's keys.
const KEYS: [&str; 9] = [
    "eventTime",
    "eventType",
    "productId",
    "categoryId",
    "categoryCode",
    "brand",
    "price",
    "userid",
    "userSession",
];

/// `generate clicks`, `ingest --key user_id --timestamp event_time`; the Java client and ours
/// both read what the file says, in the file's order for each key.
pub(crate) fn in_and_out(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("events");
    let topics = std::slice::from_ref(&topic);
    // The event times are of years ago.
    trial.create_topics(topics, 6, &["retention.ms=-1"])?;
    let file = trial.directory.join("clicks.csv");
    let mut generate = trial.tools().streamledger()?;
    generate.args(["generate", "clicks", "--seed", "7", "--rows", &ROWS.to_string()]);
    let csv = process::run_ok(&mut generate, b"", INGEST_LIMIT)?.text();
    std::fs::write(&file, &csv)?;
    let summary = ingest(trial, &file, &topic)?;

    let java = by_key(Peer::Java.consume(trial, topics)?)?;
    let ours = by_key(Peer::Ours.consume(trial, topics)?)?;
    ensure!(java == ours, "our consumer reads something else than the Java client");
    let mut rows = by_key_of_csv(&csv)?;
    let mut count = 0;
    for (key, records) in &java {
        let rows = rows.remove(key).unwrap_or_default();
        let user = String::from_utf8_lossy(key).into_owned();
        let (want, got) = (rows.len(), records.len());
        ensure!(want == got, "user {user}: {want} rows in the file, {got} records");
        for (row, record) in rows.iter().zip(records) {
            is_click(row, record).map_err(|failure| failure.while_doing(format!("user {user}")))?;
        }
        count += got;
    }
    ensure!(rows.is_empty(), "{} users are not in the topic", rows.len());
    ensure!(count == ROWS, "{count} rows of {ROWS}");
    Ok(format!("{count} events of {} users, {summary}", java.len()))
}

fn ingest(trial: &Trial, file: &Path, topic: &str) -> Outcome<String> {
    let mut ingest: Command = trial.tools().streamledger()?;
    ingest.arg("ingest").arg(file).args(["--topic", topic, "--json", "--quiet"]);
    ingest.args(["--key", "user_id", "--timestamp", "event_time"]);
    ingest.args(["--bootstrap-servers", &trial.bootstrap()?, "-X", "compression.type=lz4"]);
    let said = process::run_ok(&mut ingest, b"", INGEST_LIMIT)?.text();
    let last = said.trim().lines().last().unwrap_or_default();
    let summary: Value = serde_json::from_str(&said).or_else(|_| serde_json::from_str(last))?;
    let rate = find_number(&summary, "rows_per_second");
    Ok(rate.map_or(String::new(), |rate| format!("{rate:.0} rows/s")))
}

/// The first number of that name, wherever it is.
fn find_number(value: &Value, name: &str) -> Option<f64> {
    match value {
        Value::Object(members) => members
            .get(name)
            .and_then(Value::as_f64)
            .or_else(|| members.values().find_map(|member| find_number(member, name))),
        Value::Array(items) => items.iter().find_map(|item| find_number(item, name)),
        _ => None,
    }
}

/// Each key's records in the order of the log; a key lives in one partition.
fn by_key(records: Vec<Record>) -> Outcome<BTreeMap<Vec<u8>, Vec<Record>>> {
    let mut keys: BTreeMap<Vec<u8>, Vec<Record>> = BTreeMap::new();
    for record in records {
        let key = record.key.clone().ok_or_else(|| Failure::new("a record without a key"))?;
        keys.entry(key).or_default().push(record);
    }
    for (key, records) in &mut keys {
        records.sort_by_key(|record| (record.partition, record.offset));
        let first = records.first().map(|record| record.partition);
        let one_place = records.iter().all(|record| Some(record.partition) == first);
        ensure!(one_place, "key {} is in several partitions", String::from_utf8_lossy(key));
    }
    Ok(keys)
}

/// A row by column name.
type Row = BTreeMap<String, String>;

/// Each user's rows in the file's order.
fn by_key_of_csv(csv: &str) -> Outcome<BTreeMap<Vec<u8>, Vec<Row>>> {
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let mut users: BTreeMap<Vec<u8>, Vec<Row>> = BTreeMap::new();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        ensure!(fields.len() == header.len(), "a row the test can't read: {line}");
        let row: Row =
            header.iter().zip(&fields).map(|(n, f)| ((*n).to_owned(), (*f).to_owned())).collect();
        let user = row.get("user_id").cloned().unwrap_or_default();
        users.entry(user.into_bytes()).or_default().push(row);
    }
    Ok(users)
}

/// The reference form of a click event, written anew here so that it can disagree.
fn is_click(row: &Row, record: &Record) -> Outcome<()> {
    let column = |name: &str| row.get(name).cloned().unwrap_or_default();
    let text = String::from_utf8(record.value.clone().unwrap_or_default())?;
    let event_time = epoch_ms(&column("event_time"))?;
    let price: f64 = column("price").parse()?;
    let want = serde_json::json!({
        "eventTime": event_time, "eventType": column("event_type"),
        "productId": column("product_id"), "categoryId": column("category_id"),
        "categoryCode": column("category_code"), "brand": column("brand"),
        "price": price, "userid": column("user_id"), "userSession": column("user_session"),
    });
    let got: Value = serde_json::from_str(&text)?;
    let same_price = got["price"].as_f64() == Some(price);
    let rest = |value: &Value| {
        let mut value = value.clone();
        value["price"] = Value::Null;
        value
    };
    ensure!(same_price && rest(&got) == rest(&want), "{text} is not {want}");
    let places = KEYS.map(|key| text.find(&format!("\"{key}\":")));
    ensure!(places.is_sorted(), "the keys of {text} are in another order");
    ensure!(record.timestamp == Some(event_time), "timestamp {:?}: {text}", record.timestamp);
    Ok(())
}

/// `2019-10-01 00:00:00 UTC` in milliseconds since 1970.
fn epoch_ms(text: &str) -> Outcome<i64> {
    let numbers: Vec<i64> = text
        .trim_end_matches(" UTC")
        .split(['-', ' ', ':'])
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [year, month, day, hour, minute, second] = numbers[..] else {
        return Err(Failure::new(format!("not a time: {text}")));
    };
    // Years begin in March, so that the leap day is the last of a year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Ok((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_from_1970() {
        assert_eq!(epoch_ms("1970-01-01 00:00:00 UTC").unwrap(), 0);
        assert_eq!(epoch_ms("2019-10-01 00:00:01 UTC").unwrap(), 1_569_888_001_000);
        assert_eq!(epoch_ms("2020-02-29 12:30:00 UTC").unwrap(), 1_582_979_400_000);
        assert!(epoch_ms("yesterday").is_err());
    }

    #[test]
    fn a_click_event_is_held_against_its_row() {
        let csv = "event_time,event_type,product_id,category_id,category_code,brand,price,\
                   user_id,user_session\n2019-10-01 00:00:00 UTC,view,44600062,\
                   2103807459595387724,,shiseido,35.79,541312140,72d76fde\n";
        let rows = by_key_of_csv(csv).unwrap();
        let row = &rows[&b"541312140"[..]][0];
        let json = r#"{"eventTime":1569888000000,"eventType":"view","productId":"44600062","#
            .to_owned()
            + r#""categoryId":"2103807459595387724","categoryCode":"","brand":"shiseido","#
            + r#""price":35.79,"userid":"541312140","userSession":"72d76fde"}"#;
        let mut record = Record::to("t");
        record.timestamp = Some(1_569_888_000_000);
        record.value = Some(json.clone().into_bytes());
        is_click(row, &record).unwrap();
        record.value = Some(json.replace("35.79", "35.8").into_bytes());
        assert!(is_click(row, &record).is_err());
    }
}
