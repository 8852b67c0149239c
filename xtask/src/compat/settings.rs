//! Our tables of settings, held against what Kafka's own classes say of theirs.

use std::collections::BTreeSet;

use streamledger::config::{ClientKind, settings_table};

use super::lab::{LIMIT, Trial};
use crate::failure::{Outcome, ensure};
use crate::{process, workspace};

/// The table that the client's own tests compare every row with: name, type, default, importance.
const EXPECTED: &str = "crates/client/tests/data/kafka-4.3-settings.tsv";
/// The same of the broker, with which the broker's table of settings is compared.
const EXPECTED_OF_BROKER: &str = "crates/broker-core/tests/data/kafka-4.3-broker-settings.tsv";
const PAGE: &str = "docs/settings.md";

/// `ProducerConfig`, `ConsumerConfig` and `AdminClientConfig` of the Java client say what our
/// table was made from; each of their settings has a row here and in the documentation.
pub(crate) fn are_kafkas(trial: &Trial) -> Outcome<String> {
    let java = said_by_kafka(trial, "all", EXPECTED)?;
    let of_broker = said_by_kafka(trial, "broker", EXPECTED_OF_BROKER)?.len();
    ensure!(of_broker > 300, "few of the broker were compared: {of_broker}");
    let page = std::fs::read_to_string(workspace::root().join(PAGE))?;
    let mut counts = [0; 3];
    for row in &java {
        let mut fields = row.split('\t');
        let (client, name) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        let place = "PCA".find(client).unwrap_or(0);
        let kind = ClientKind::ALL[place];
        let ours = settings_table().any(|spec| spec.name == name && spec.belongs_to(kind));
        ensure!(ours, "the {kind} has no {name}");
        ensure!(page.contains(&format!("| `{name}`")), "{PAGE} has no {name}");
        counts[place] += 1;
    }
    let [producer, consumer, admin] = counts;
    ensure!(producer > 100 && consumer > 100 && admin > 80, "few were compared: {counts:?}");
    Ok(format!(
        "{producer} of the producer, {consumer} of the consumer, {admin} of the admin, \
         {of_broker} of the broker"
    ))
}

/// What Kafka's classes say, which must be what is in the file that our tables are compared with.
fn said_by_kafka(trial: &Trial, whose: &str, file: &str) -> Outcome<BTreeSet<String>> {
    let mut java = trial.tools().java("Peer")?;
    let said = process::run_ok(java.args(["settings", whose]), b"", LIMIT)?.text();
    let expected = std::fs::read_to_string(workspace::root().join(file))?;
    let rows = |text: &str| -> BTreeSet<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    let (java, expected) = (rows(&said), rows(&expected));
    let differing: Vec<&String> = java.symmetric_difference(&expected).collect();
    ensure!(differing.is_empty(), "{file} is not what Kafka says: {differing:?}");
    Ok(java)
}
