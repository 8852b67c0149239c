//! What the stock clients that take record lines have in common: each codec written by one and
//! read by all.

use super::lab::Trial;
use super::peer::{Job, Peer};
use super::record::Record;
use super::workload::{self, CODECS, PARTITIONS, motley};
use crate::failure::Outcome;

/// Records of every shape, a topic and an idempotent producer for each codec; everyone reads.
pub(crate) fn writes_each_codec(trial: &Trial, writer: Peer) -> Outcome<String> {
    let topics: Vec<String> = CODECS.map(|codec| trial.topic(codec)).into();
    trial.create_topics(&topics, PARTITIONS, &[])?;
    let jobs: Vec<Job> = CODECS
        .iter()
        .zip(&topics)
        .map(|(codec, topic)| {
            let mut settings = vec![format!("compression.type={codec}")];
            if writer == Peer::Python {
                settings.push("enable.idempotence=true".to_owned());
            }
            Job { records: motley(topic, 420), settings }
        })
        .collect();
    let acks = writer.produce(trial, &jobs)?;
    let sent: Vec<Record> = jobs.into_iter().flat_map(|job| job.records).collect();
    let expected = workload::placed(&sent, &acks)?;
    let mut count = 0;
    for reader in Peer::READERS {
        count += workload::same(&expected, reader.consume(trial, &topics)?)
            .map_err(|failure| failure.while_doing(format!("{} reads", reader.name())))?;
    }
    Ok(format!("{count} records read by {} clients", Peer::READERS.len()))
}
