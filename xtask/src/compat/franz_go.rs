//! franz-go: idempotent produce, direct partitions, kadm.

use super::lab::{LIMIT, Trial};
use super::peer::Peer;
use super::stock;
use crate::failure::{Outcome, ensure};
use crate::process;

pub(crate) fn writes_each_codec(trial: &Trial) -> Outcome<String> {
    stock::writes_each_codec(trial, Peer::FranzGo)
}

/// Create, list, describe configs, grow, create again, delete.
pub(crate) fn administers(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("topic");
    let mut command = trial.tools().go()?;
    command.args(["admin", &trial.bootstrap()?, &topic, "3"]);
    let said = process::run_ok(&mut command, b"", LIMIT)?.text();
    let expected = format!(
        "done {topic}\nbroker 1 controller true\nlisted true 3 id true\n\
         config cleanup.policy delete\nconfig retention.ms 86400000\ngrown 5\nagain true\n\
         deleted {topic}\n"
    );
    ensure!(said == expected, "it said\n{said}instead of\n{expected}");
    Ok("create, list, configs, grow, delete".to_owned())
}
