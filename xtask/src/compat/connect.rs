//! Kafka Connect with its file source and file sink: lines out are lines in, over restarts.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::broker::{Broker, free_address};
use super::lab::{LIMIT, Trial};
use super::our_transactions;
use crate::failure::{Failure, Outcome, ensure};
use crate::process::{Group, last_lines};

/// Lines that come before the first start, during a run, between two, and during the last.
const LINES: usize = 300;

/// A worker of its own, which keeps the source's place in a file and the sink's as a group's
/// offsets. It is ended, and started again after more lines have come: none is there twice.
pub(crate) fn standalone(trial: &Trial) -> Outcome<String> {
    let connect = Connect::new(trial)?;
    let stored = connect.file("offsets");
    let own = [format!("offset.storage.file.filename={}", stored.display())];
    let worker = trial.write("worker.properties", &connect.worker(&own))?;
    let source = trial.write("source.properties", &lines(&connect.source()))?;
    let sink = trial.write("sink.properties", &lines(&connect.sink()))?;
    let files = [worker.as_path(), &source, &sink];
    let start = || connect.start("ConnectStandalone", &files);
    connect.feed(0..LINES)?;
    let mut first = start()?;
    connect.wait_for(LINES, &mut first)?;
    connect.feed(LINES..2 * LINES)?;
    connect.wait_for(2 * LINES, &mut first)?;
    // SIGTERM: it commits how far it has come.
    first.terminate();
    first.wait(LIMIT)?;
    connect.feed(2 * LINES..3 * LINES)?;
    let mut second = start()?;
    connect.wait_for(3 * LINES, &mut second)?;
    second.terminate();
    second.wait(LIMIT)?;
    let expected: Vec<String> = (0..3 * LINES).map(line).collect();
    ensure!(connect.written()? == expected, "the lines are others, or in another order");
    let kept = connect.topic_holds()?;
    ensure!(kept == expected, "the topic has {} lines of {}", kept.len(), expected.len());
    Ok(format!("{} lines in, the same lines out, over a restart", expected.len()))
}

/// A worker of a cluster, which keeps everything in compacted topics and writes from the source
/// exactly once; killed with -9 while lines come in.
pub(crate) fn distributed(trial: &Trial) -> Outcome<String> {
    let connect = Connect::new(trial)?;
    let mut own = vec![
        format!("group.id={}", trial.topic("workers")),
        "exactly.once.source.support=enabled".to_owned(),
        "scheduled.rebalance.max.delay.ms=0".to_owned(),
        // A killed worker is a member until then.
        "session.timeout.ms=6000".to_owned(),
        "heartbeat.interval.ms=2000".to_owned(),
    ];
    for kind in ["config", "offset", "status"] {
        own.push(format!("{kind}.storage.topic={}", trial.topic(kind)));
        own.push(format!("{kind}.storage.replication.factor=1"));
    }
    own.extend(["offset", "status"].map(|kind| format!("{kind}.storage.partitions=2")));
    let worker = trial.write("worker.properties", &connect.worker(&own))?;
    let start = || connect.start("ConnectDistributed", &[worker.as_path()]);
    connect.feed(0..LINES)?;
    let mut first = start()?;
    connect.create("source", &connect.source(), &mut first)?;
    connect.create("sink", &connect.sink(), &mut first)?;
    connect.wait_for(LINES, &mut first)?;
    connect.feed(LINES..2 * LINES)?;
    first.kill();
    connect.feed(2 * LINES..3 * LINES)?;
    let mut second = start()?;
    connect.wait_for(3 * LINES, &mut second)?;
    let expected: Vec<String> = (0..3 * LINES).map(line).collect();
    let kept = connect.topic_holds()?;
    ensure!(kept == expected, "the topic has {} lines of {}", kept.len(), expected.len());
    second.terminate();
    second.wait(LIMIT)?;
    Ok(format!("{} lines in, each once in the topic, over a kill -9", expected.len()))
}

/// ASCII: the file source counts characters, and takes their number for a place in the file.
fn line(number: usize) -> String {
    format!("line {number}")
}

fn lines(settings: &[(&str, String)]) -> String {
    settings.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// A worker's surroundings: the files that are read and written, and the topic between them.
struct Connect<'a> {
    trial: &'a Trial<'a>,
    broker: Broker,
    topic: String,
    rest: SocketAddr,
}

impl<'a> Connect<'a> {
    fn new(trial: &'a Trial<'a>) -> Outcome<Self> {
        // Each start would wait three seconds for other members.
        let broker = trial.own_broker(&["group.initial.rebalance.delay.ms=0"])?;
        Ok(Self { trial, broker, topic: trial.topic("lines"), rest: free_address()? })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.trial.directory.join(name)
    }

    fn worker(&self, own: &[String]) -> String {
        let text = "org.apache.kafka.connect.storage.StringConverter";
        let mut settings = vec![
            format!("bootstrap.servers={}", self.broker.bootstrap()),
            format!("key.converter={text}"),
            format!("value.converter={text}"),
            format!("listeners=http://{}", self.rest),
            "offset.flush.interval.ms=500".to_owned(),
            // By default a worker that ends leaves behind what takes it longer than five seconds.
            "offset.flush.timeout.ms=60000".to_owned(),
            "task.shutdown.graceful.timeout.ms=60000".to_owned(),
            // What is on the class path says what it has.
            "plugin.discovery=service_load".to_owned(),
        ];
        settings.extend_from_slice(own);
        settings.join("\n")
    }

    fn source(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", format!("{}-source", self.trial.name())),
            ("connector.class", "FileStreamSource".to_owned()),
            ("tasks.max", "1".to_owned()),
            ("file", self.file("in.txt").display().to_string()),
            ("topic", self.topic.clone()),
            // The worker makes the topic, with these settings.
            ("topic.creation.default.replication.factor", "1".to_owned()),
            ("topic.creation.default.partitions", "1".to_owned()),
            ("topic.creation.default.compression.type", "lz4".to_owned()),
        ]
    }

    fn sink(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", format!("{}-sink", self.trial.name())),
            ("connector.class", "FileStreamSink".to_owned()),
            ("tasks.max", "1".to_owned()),
            ("file", self.file("out.txt").display().to_string()),
            ("topics", self.topic.clone()),
            ("consumer.override.isolation.level", "read_committed".to_owned()),
            // Who comes back after a kill is known at once.
            ("consumer.override.group.instance.id", "sink".to_owned()),
        ]
    }

    fn start(&self, class: &str, files: &[&Path]) -> Outcome<Group> {
        let class = format!("org.apache.kafka.connect.cli.{class}");
        let mut command = self.trial.tools().java(&class)?;
        command.args(files);
        let errors = OpenOptions::new().create(true).append(true).open(self.file("java.err"))?;
        command.stdin(Stdio::null()).stdout(errors.try_clone()?).stderr(errors);
        Group::spawn(&mut command)
    }

    /// Appends these lines to the file that is read.
    fn feed(&self, numbers: std::ops::Range<usize>) -> Outcome<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(self.file("in.txt"))?;
        let text: String = numbers.map(|number| line(number) + "\n").collect();
        Ok(file.write_all(text.as_bytes())?)
    }

    /// The lines that were written.
    fn written(&self) -> Outcome<Vec<String>> {
        let text = std::fs::read_to_string(self.file("out.txt")).unwrap_or_default();
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Until the first so many lines are all there.
    fn wait_for(&self, count: usize, worker: &mut Group) -> Outcome<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let written: BTreeSet<String> = self.written()?.into_iter().collect();
            if (0..count).all(|number| written.contains(&line(number))) {
                return Ok(());
            }
            self.still_runs(worker, deadline, || format!("{} lines of {count}", written.len()))?;
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn still_runs(
        &self,
        worker: &mut Group,
        deadline: Instant,
        state: impl Fn() -> String,
    ) -> Outcome<()> {
        let said = || std::fs::read_to_string(self.file("java.err")).unwrap_or_default();
        let said = || last_lines(&said(), 12);
        ensure!(worker.is_running(), "the worker ended with {}: {}", state(), said());
        ensure!(Instant::now() < deadline, "{} after {LIMIT:?}: {}", state(), said());
        Ok(())
    }

    /// The values in the topic, read committed.
    fn topic_holds(&self) -> Outcome<Vec<String>> {
        let seen = our_transactions::committed(&self.broker.bootstrap(), &self.topic)?;
        Ok(seen.into_values().flatten().collect())
    }

    /// Makes a connector, by the worker's REST interface, which may not be there yet.
    fn create(&self, name: &str, config: &[(&str, String)], worker: &mut Group) -> Outcome<()> {
        let config: serde_json::Map<String, serde_json::Value> =
            config.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
        let name = format!("{}-{name}", self.trial.name());
        let body = serde_json::json!({ "name": name, "config": config }).to_string();
        let deadline = Instant::now() + LIMIT;
        loop {
            let answer = self.post(&body).unwrap_or_else(|failure| failure.to_string());
            // 409: of two tries the first was heard, or the workers are sharing out just now.
            if answer.starts_with("HTTP/1.1 201") || answer.contains("already exists") {
                return Ok(());
            }
            ensure!(!answer.starts_with("HTTP/1.1 400"), "{name} is refused: {answer}");
            self.still_runs(worker, deadline, || answer.clone())?;
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn post(&self, body: &str) -> Outcome<String> {
        let mut stream = TcpStream::connect_timeout(&self.rest, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let (host, length) = (self.rest, body.len());
        write!(
            stream,
            "POST /connectors HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        String::from_utf8(answer).map_err(|error| Failure::new(error.to_string()))
    }
}
