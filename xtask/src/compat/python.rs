//! confluent-kafka for Python, on the newest librdkafka: idempotent produce, assign, admin.

use super::lab::{LIMIT, Trial};
use super::peer::Peer;
use super::stock;
use crate::failure::{Outcome, ensure};
use crate::process;

pub(crate) fn writes_each_codec(trial: &Trial) -> Outcome<String> {
    stock::writes_each_codec(trial, Peer::Python)
}

/// Create, list, describe, configs, grow, create again, delete.
pub(crate) fn administers(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("topic");
    let mut command = trial.tools().python()?;
    command.args(["admin", &trial.bootstrap()?, &topic, "3"]);
    let said = process::run_ok(&mut command, b"", LIMIT)?.text();
    let expected = format!(
        "done {topic}\nbroker 1 controller True\nlisted True 3\ndescribed {topic} 3 True\n\
         config 86400000 delete\ndone {topic}\ngrown 5\nagain TOPIC_ALREADY_EXISTS\n\
         done {topic}\ndeleted {topic}\n"
    );
    ensure!(said == expected, "it said\n{said}instead of\n{expected}");
    Ok("create, list, describe, configs, grow, delete".to_owned())
}
