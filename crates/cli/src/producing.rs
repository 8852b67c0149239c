//! What the commands that send have in common: the producer's settings, its start, its end.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use streamledger::config::SettingSource;
use streamledger::{BatchReport, ConfigError, ProduceError, Producer, ProducerConfig, Properties};

use crate::args::ProducerArguments;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::given::given;
use crate::interrupt::Interrupt;
use crate::ledger::{BatchDone, LastRecord, Ledger};
use crate::rights::MissingRight;
use crate::ui::units;

/// How long records in flight may take to be acknowledged after Ctrl-C.
const INTERRUPTED_CLOSE: Duration = Duration::from_secs(10);

/// Settings that are always shown: they decide what is safe and what is fast.
const SHOWN: [&str; 5] =
    ["acks", "enable.idempotence", "batch.size", "linger.ms", "compression.type"];

/// The producer's settings: the command's own defaults, then the properties file, then `-X`.
pub fn config(
    arguments: &ProducerArguments,
    bootstrap_servers: &str,
    own_defaults: &[(&'static str, &str)],
) -> Outcome<Configured> {
    let given = given(arguments.producer_config.as_deref(), &arguments.settings)?;
    let mut properties = Properties::new();
    let mut own = Vec::new();
    for (name, value) in own_defaults {
        if given.get(name).is_none() {
            properties = properties.with(*name, *value);
            own.push(*name);
        }
    }
    let properties = properties.and(given).with("bootstrap.servers", bootstrap_servers);
    let config =
        ProducerConfig::from_properties(&properties).map_err(|error| config_failure(&error))?;
    Ok(Configured { config, properties, own })
}

/// A producer's settings, and where they came from.
#[derive(Debug)]
pub struct Configured {
    /// The settings, checked.
    pub config: ProducerConfig,
    /// The same as texts, for other clients of the command.
    pub properties: Properties,
    /// Which of the command's own defaults are in force.
    own: Vec<&'static str>,
}

/// A wrong setting, as a failure.
pub fn config_failure(error: &ConfigError) -> Failure {
    Failure::new(Exit::Usage, "the settings can't be used")
        .because(error)
        .remedy("docs/settings.md has every setting with its default and why")
}

/// Which batches are counted, and where.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    /// Where.
    pub ledger: &'a Arc<Ledger>,
    /// Those that went to this topic. Of others only their failure counts.
    pub topic: &'a str,
}

/// Starts a producer whose batches are counted.
pub fn start(config: ProducerConfig, counted: Counted<'_>) -> Outcome<Producer> {
    let (ledger, topic) = (Arc::clone(counted.ledger), counted.topic.to_owned());
    start_observed(config, move |report| {
        if report.topic_partition.topic.as_str() == topic || report.error.is_some() {
            ledger.enter(batch_done(report));
        }
    })
}

/// Starts a producer with an observer of its batches.
pub fn start_observed(
    config: ProducerConfig,
    observer: impl Fn(&BatchReport) + Send + Sync + 'static,
) -> Outcome<Producer> {
    Producer::builder(config).on_batch(observer).build().map_err(|error| {
        Failure::new(Exit::Failed, "the producer can't start").because(&error).into()
    })
}

fn batch_done(report: &BatchReport) -> BatchDone {
    let last = report.last.as_ref().map(|last| LastRecord {
        partition: last.topic_partition.partition.0,
        offset: last.offset.map(|offset| offset.0),
        timestamp: last.timestamp.0,
        serialized_key_size: last.serialized_key_size,
        serialized_value_size: last.serialized_value_size,
    });
    BatchDone {
        last,
        record_count: u64::from(report.record_count),
        batch_bytes: report.batch_bytes as u64,
        uncompressed_bytes: report.uncompressed_bytes as u64,
        age: report.first_appended.elapsed(),
        failure: report.error.as_ref().map(|error| error.to_string()),
    }
}

impl Configured {
    /// The settings worth a row in a table, as name, value and source: those that matter most, and
    /// all that someone set.
    pub fn in_force(&self) -> Vec<(String, String, String)> {
        let mut rows = Vec::new();
        for setting in self.config.effective() {
            let is_default = setting.source == SettingSource::Default;
            let is_shown = !is_default || SHOWN.contains(&setting.name);
            if setting.name == "bootstrap.servers" || !is_shown {
                continue;
            }
            let is_own = self.own.contains(&setting.name);
            let source = if is_own { "ingest".to_owned() } else { setting.source.to_string() };
            rows.push((setting.name.to_owned(), setting.value, source));
        }
        rows
    }
}

/// A record that the producer didn't take, as the failure that ends a run.
pub fn send_failure(error: &ProduceError) -> Failure {
    let exit = match error {
        ProduceError::MetadataTimeout { .. } => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let failure = Failure::new(exit, "the producer takes no more records").because(error);
    match MissingRight::of_record(error) {
        Some(right) => right.explain(failure, ""),
        None => failure.remedy(error.next_action()),
    }
}

/// What a run still has to do when Ctrl-C comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftToDo {
    /// To wait for what is in flight: the producer is closed at once, and does that.
    Acknowledgements,
    /// To commit a transaction, for which the producer has to stay open.
    Commit,
}

/// Sees to it that Ctrl-C ends a producer that waits for brokers.
#[derive(Debug)]
pub struct Ending {
    interrupt: Interrupt,
    /// Gone with this: the run has ended.
    _ended: Sender<()>,
}

impl Ending {
    /// From now on Ctrl-C closes the producer within ten seconds, whatever thread waits in it.
    pub fn watch(producer: &Producer, interrupt: &Interrupt, left: LeftToDo) -> Ending {
        let (watched, producer) = (interrupt.clone(), producer.clone());
        let (ended, end) = channel::<()>();
        // Without the thread Ctrl-C still works, only not while a send waits.
        let _ = thread::Builder::new().name("ending".to_owned()).spawn(move || {
            watched.wait();
            match left {
                LeftToDo::Acknowledgements => drop(producer.close(INTERRUPTED_CLOSE)),
                LeftToDo::Commit => {
                    if end.recv_timeout(INTERRUPTED_CLOSE) == Err(RecvTimeoutError::Timeout) {
                        producer.close(Duration::ZERO);
                    }
                }
            }
        });
        Ending { interrupt: interrupt.clone(), _ended: ended }
    }

    /// Gives up what isn't acknowledged: a run in transactions has failed, and nothing of the last
    /// one counts.
    pub fn abandon(self, producer: &Producer) {
        producer.close(Duration::ZERO);
    }

    /// Waits for all records' acknowledgement; after Ctrl-C for ten seconds at most.
    pub fn close(self, producer: &Producer) -> Outcome<()> {
        let report = if self.interrupt.is_raised() {
            producer.close(INTERRUPTED_CLOSE)
        } else {
            producer.close(Duration::MAX)
        };
        if report.undelivered_records > 0 && !self.interrupt.is_raised() {
            let count = units::grouped(report.undelivered_records);
            return Failure::new(Exit::Failed, format!("{count} records were not delivered")).err();
        }
        Ok(())
    }
}
