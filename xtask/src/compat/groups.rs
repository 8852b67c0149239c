//! Consumer groups of other people's clients: members come, share, leave and come back, and every
//! record is read and committed once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::broker::Broker;
use super::lab::{LIMIT, Trial};
use super::our_client;
use super::record::{Record, lines_of};
use super::toolbox::ToolBox;
use super::transactions;
use crate::failure::{Failure, Outcome, ensure};
use crate::process::{self, Group};

const PARTITIONS: usize = 6;
/// Records of one batch of input.
const RECORDS: usize = 60;
/// Members find each other, or the scenario fails; a JVM alone may take half a minute to start.
const PATIENCE: Duration = Duration::from_secs(120);
/// Quick enough for a test; clients are told more often than by default that they must rejoin.
const SETTINGS: [&str; 4] = [
    "group.initial.rebalance.delay.ms=0",
    "offsets.topic.num.partitions=3",
    "group.consumer.min.heartbeat.interval.ms=100",
    "group.consumer.heartbeat.interval.ms=150",
];

/// A program whose members do as they are told (see "Group members" in compat/README.md).
struct Members {
    program: Group,
    commands: ChildStdin,
    said: Receiver<String>,
    assigned: BTreeMap<String, BTreeSet<String>>,
    /// How often each was told of partitions.
    changes: BTreeMap<String, usize>,
    stopped: BTreeSet<String>,
    /// `topic:partition:offset` of what was read and committed.
    read: Vec<String>,
}

impl Members {
    fn start(mut command: Command) -> Outcome<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut program = Group::spawn(&mut command)?;
        let none = || Failure::new("no pipe to the members");
        let commands = program.take_stdin().ok_or_else(none)?;
        let output = program.take_stdout().ok_or_else(none)?;
        let (say, said) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        let (assigned, changes) = (BTreeMap::new(), BTreeMap::new());
        let (stopped, read) = (BTreeSet::new(), Vec::new());
        Ok(Self { program, commands, said, assigned, changes, stopped, read })
    }

    fn tell(&mut self, command: &str) -> Outcome<()> {
        writeln!(self.commands, "{command}")?;
        Ok(self.commands.flush()?)
    }

    fn join(&mut self, name: &str, group: &str, topic: &str, settings: &[&str]) -> Outcome<()> {
        self.tell(&format!("start {name} {group} {topic} {}", settings.join(" ")))
    }

    /// Has a member leave, and waits until it has.
    fn stop(&mut self, name: &str) -> Outcome<()> {
        self.tell(&format!("stop {name}"))?;
        self.until(&format!("{name} stops"), |all| all.stopped.contains(name))?;
        self.stopped.remove(name);
        self.assigned.remove(name);
        Ok(())
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> Outcome<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.said.recv_timeout(left) else {
                let (assigned, read) = (&self.assigned, self.read.len());
                let running = self.program.is_running();
                return Err(Failure::new(format!(
                    "waited in vain until {what}: {assigned:?}, {read} read, running {running}"
                )));
            };
            self.note(&line)?;
        }
        Ok(())
    }

    fn note(&mut self, line: &str) -> Outcome<()> {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            [name, "assigned", partitions] => {
                let partitions = partitions.split(',').filter(|text| !text.is_empty());
                self.assigned.insert(name.to_owned(), partitions.map(str::to_owned).collect());
                *self.changes.entry(name.to_owned()).or_default() += 1;
            }
            [_, "record", place] => self.read.push(place.to_owned()),
            [name, "stopped"] => {
                self.stopped.insert(name.to_owned());
            }
            [_, "uncommitted", _] => {}
            _ => return Err(Failure::new(format!("a member said {line}"))),
        }
        Ok(())
    }

    /// Waits until these members have all partitions, evenly and each once.
    fn until_shared(&mut self, names: &[&str]) -> Outcome<()> {
        let what = format!("{} have all", names.join(" and "));
        self.until(&what, |all| {
            let sets: Vec<_> = names.iter().filter_map(|name| all.assigned.get(*name)).collect();
            let together: BTreeSet<_> = sets.iter().copied().flatten().collect();
            sets.len() == names.len()
                && together.len() == PARTITIONS
                && sets.iter().all(|set| set.len() == PARTITIONS / names.len())
        })
    }

    fn until_read(&mut self, count: usize) -> Outcome<()> {
        self.until(&format!("{count} records are read"), |all| all.read.len() >= count)
    }
}

/// One broker, one topic, and what to fill it with.
struct Stage<'a> {
    trial: &'a Trial<'a>,
    broker: Broker,
}

impl<'a> Stage<'a> {
    fn new(trial: &'a Trial<'a>) -> Outcome<Self> {
        Ok(Self { trial, broker: trial.own_broker(&SETTINGS)? })
    }

    fn create(&self, topic: &str) -> Outcome<()> {
        let mut create = self.trial.tools().go()?;
        create.args(["create", &self.broker.bootstrap(), &PARTITIONS.to_string(), topic]);
        process::run_ok(&mut create, b"", LIMIT).map(drop)
    }

    /// Appends [`RECORDS`] records, spread over the partitions.
    fn fill(&self, topic: &str) -> Outcome<()> {
        let record = |number: usize| {
            let mut record = Record::to(topic);
            record.partition = i32::try_from(number % PARTITIONS).ok();
            record.value = Some(number.to_string().into_bytes());
            record
        };
        let records: Vec<Record> = (0..RECORDS).map(record).collect();
        let file = self.trial.write(&format!("{topic}.tsv"), &lines_of(&records))?;
        let mut produce = self.trial.tools().go()?;
        produce.args(["produce", &self.broker.bootstrap()]).arg(file);
        process::run_ok(&mut produce, b"", LIMIT).map(drop)
    }

    /// Two members share a topic, one leaves, the other goes on alone; each record once.
    fn share(&self, members: &mut Members, topic: &str, settings: &[&str]) -> Outcome<()> {
        self.create(topic)?;
        self.fill(topic)?;
        members.read.clear();
        members.join("a", topic, topic, settings)?;
        members.until_shared(&["a"])?;
        members.join("b", topic, topic, settings)?;
        members.until_shared(&["a", "b"])?;
        self.fill(topic)?;
        members.until_read(2 * RECORDS)?;
        members.stop("b")?;
        members.until_shared(&["a"])?;
        self.fill(topic)?;
        members.until_read(3 * RECORDS)?;
        members.stop("a")?;
        // What was committed is not read again.
        self.fill(topic)?;
        members.join("c", topic, topic, settings)?;
        members.until_read(4 * RECORDS)?;
        members.stop("c")?;
        let once: BTreeSet<&String> = members.read.iter().collect();
        let (read, different) = (members.read.len(), once.len());
        ensure!(read == 4 * RECORDS && different == read, "{read} read, {different} different");
        Ok(())
    }

    /// A static member goes and comes back: it has what it had, and the other notices nothing.
    fn keep_place(&self, members: &mut Members, topic: &str, settings: &[&str]) -> Outcome<()> {
        self.create(topic)?;
        let with = |instance: &str| {
            let instance = format!("group.instance.id={instance}");
            settings.iter().map(|s| (*s).to_owned()).chain([instance]).collect::<Vec<_>>()
        };
        let (one, two) = (with("one"), with("two"));
        let one: Vec<&str> = one.iter().map(String::as_str).collect();
        let two: Vec<&str> = two.iter().map(String::as_str).collect();
        members.join("a", topic, topic, &one)?;
        members.join("b", topic, topic, &two)?;
        members.until_shared(&["a", "b"])?;
        let had = members.assigned.get("a").cloned();
        let changes = members.changes.get("b").copied();
        members.stop("a")?;
        members.join("a", topic, topic, &one)?;
        members.until_shared(&["a", "b"])?;
        ensure!(members.assigned.get("a") == had.as_ref(), "it came back to other partitions");
        let after = members.changes.get("b").copied();
        ensure!(after == changes, "the other was rebalanced: {changes:?} to {after:?}");
        members.stop("a")?;
        members.stop("b")
    }

    /// Each way of assigning, then static members.
    fn play(
        &self,
        program: Command,
        ways: &[(&str, &[&str])],
        for_static: &[&str],
    ) -> Outcome<String> {
        let mut members = Members::start(program)?;
        for (name, settings) in ways {
            let topic = self.trial.topic(name);
            self.share(&mut members, &topic, settings)
                .map_err(|failure| failure.while_doing(format!("sharing by {name}")))?;
        }
        self.keep_place(&mut members, &self.trial.topic("static"), for_static)
            .map_err(|failure| failure.while_doing("keeping a static member's place"))?;
        let names: Vec<&str> = ways.iter().map(|(name, _)| *name).collect();
        let read = 4 * RECORDS * ways.len();
        Ok(format!("{read} records once each by {}, static members kept", names.join(", ")))
    }
}

pub(crate) fn java_classic(trial: &Trial) -> Outcome<String> {
    const QUICK: &str = "heartbeat.interval.ms=100";
    const RANGE: &str = "partition.assignment.strategy=\
                         org.apache.kafka.clients.consumer.RangeAssignor";
    const ROBIN: &str = "partition.assignment.strategy=\
                         org.apache.kafka.clients.consumer.RoundRobinAssignor";
    const STICKY: &str = "partition.assignment.strategy=\
                          org.apache.kafka.clients.consumer.StickyAssignor";
    const COOPERATIVE: &str = "partition.assignment.strategy=\
                               org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
    let stage = Stage::new(trial)?;
    let mut program = trial.tools().java("GroupPeer")?;
    program.arg(stage.broker.bootstrap());
    let ways: [(&str, &[&str]); 4] = [
        ("range", &[QUICK, RANGE]),
        ("roundrobin", &[QUICK, ROBIN]),
        ("sticky", &[QUICK, STICKY]),
        ("cooperative", &[QUICK, COOPERATIVE]),
    ];
    stage.play(program, &ways, &[QUICK, RANGE])
}

pub(crate) fn python_classic(trial: &Trial) -> Outcome<String> {
    const QUICK: &str = "heartbeat.interval.ms=100";
    let stage = Stage::new(trial)?;
    let mut program = trial.tools().python()?;
    program.args(["group", &stage.broker.bootstrap()]);
    let ways: [(&str, &[&str]); 3] = [
        ("range", &[QUICK, "partition.assignment.strategy=range"]),
        ("roundrobin", &[QUICK, "partition.assignment.strategy=roundrobin"]),
        ("cooperative", &[QUICK, "partition.assignment.strategy=cooperative-sticky"]),
    ];
    stage.play(program, &ways, ways[0].1)
}

pub(crate) fn franz_go(trial: &Trial) -> Outcome<String> {
    let stage = Stage::new(trial)?;
    let mut program = trial.tools().go()?;
    program.args(["group", &stage.broker.bootstrap()]);
    let ways: [(&str, &[&str]); 4] = [
        ("range", &["partition.assignment.strategy=range"]),
        ("roundrobin", &["partition.assignment.strategy=roundrobin"]),
        ("sticky", &["partition.assignment.strategy=sticky"]),
        ("cooperative", &["partition.assignment.strategy=cooperative-sticky"]),
    ];
    stage.play(program, &ways, ways[0].1)
}

/// The next-generation protocol: both assignors, static members, patterns, new topics.
pub(crate) fn java_next_generation(trial: &Trial) -> Outcome<String> {
    const NEXT: &str = "group.protocol=consumer";
    let stage = Stage::new(trial)?;
    let mut program = trial.tools().java("GroupPeer")?;
    program.arg(stage.broker.bootstrap());
    let ways: [(&str, &[&str]); 2] = [
        ("uniform", &[NEXT, "group.remote.assignor=uniform"]),
        ("range", &[NEXT, "group.remote.assignor=range"]),
    ];
    let shared = stage.play(program, &ways, &[NEXT])?;
    let grown = follow_pattern(&stage).map_err(|failure| failure.while_doing("by pattern"))?;
    Ok(format!("{shared}, {grown}"))
}

/// Members move one by one from the classic protocol to the next generation and back (KIP-848):
/// somebody always reads, and each record is read once.
pub(crate) fn java_moves(trial: &Trial) -> Outcome<String> {
    const QUICK: &str = "heartbeat.interval.ms=100";
    const NEXT: &str = "group.protocol=consumer";
    let stage = Stage::new(trial)?;
    let mut program = trial.tools().java("GroupPeer")?;
    program.arg(stage.broker.bootstrap());
    let mut members = Members::start(program)?;
    for assignor in ["Range", "CooperativeSticky"] {
        let assignor_class = format!(
            "partition.assignment.strategy=org.apache.kafka.clients.consumer.{assignor}Assignor"
        );
        let topic = trial.topic(assignor);
        let classic = [QUICK, &assignor_class];
        move_there_and_back(&stage, &mut members, &topic, &classic, &[NEXT])
            .map_err(|failure| failure.while_doing(format!("moving from {assignor}")))?;
    }
    move_in_place(&stage, &mut members, &trial.topic("static"))
        .map_err(|failure| failure.while_doing("moving a static member"))?;
    let read = 6 * RECORDS;
    Ok(format!("{read} records once each, there and back by two assignors, a static member too"))
}

/// A static member, stopped without a word, comes back by the next generation and then again by
/// the classic protocol, each time in its own place; as it is alone, it turns the group.
fn move_in_place(stage: &Stage<'_>, members: &mut Members, topic: &str) -> Outcome<()> {
    const IN_PLACE: &str = "group.instance.id=one";
    stage.create(topic)?;
    for (name, settings, turned) in [
        // Longer than the scenario waits: nobody's place is free because its time was up.
        ("a", &[IN_PLACE, "session.timeout.ms=300000"][..], "classic"),
        ("b", &[IN_PLACE, "group.protocol=consumer"], "consumer"),
        ("c", &[IN_PLACE, "session.timeout.ms=300000"], "classic"),
    ] {
        members.join(name, topic, topic, settings)?;
        members.until_shared(&[name])?;
        is_of_type(stage, topic, turned)?;
        members.stop(name)?;
    }
    Ok(())
}

fn is_of_type(stage: &Stage<'_>, group: &str, expected: &str) -> Outcome<()> {
    let listed = our_client::admin(&stage.broker.bootstrap())?.list_groups()?;
    let listed = listed.into_iter().find(|one| one.group_id.as_str() == group);
    let is = listed.and_then(|group| group.group_type).unwrap_or_default();
    // Kafka's names of types begin with a capital letter in some answers.
    ensure!(is.eq_ignore_ascii_case(expected), "it is {is:?}, not {expected}");
    Ok(())
}

fn move_there_and_back(
    stage: &Stage<'_>,
    members: &mut Members,
    topic: &str,
    classic: &[&str],
    next: &[&str],
) -> Outcome<()> {
    stage.create(topic)?;
    members.read.clear();
    members.join("a", topic, topic, classic)?;
    members.join("b", topic, topic, classic)?;
    members.until_shared(&["a", "b"])?;
    stage.fill(topic)?;
    members.until_read(RECORDS)?;
    for (way, [first, second], [third, fourth], turned) in
        [(next, ["a", "b"], ["c", "d"], "consumer"), (classic, ["c", "d"], ["e", "f"], "classic")]
    {
        members.join(third, topic, topic, way)?;
        members.until_shared(&[first, second, third])?;
        members.stop(first)?;
        members.join(fourth, topic, topic, way)?;
        members.until_shared(&[second, third, fourth])?;
        stage.fill(topic)?;
        let read = members.read.len();
        members.until_read(read + RECORDS)?;
        members.stop(second)?;
        members.until_shared(&[third, fourth])?;
        is_of_type(stage, topic, turned)?;
    }
    members.stop("e")?;
    members.stop("f")?;
    let once: BTreeSet<&String> = members.read.iter().collect();
    let (read, different) = (members.read.len(), once.len());
    ensure!(read == 3 * RECORDS && different == read, "{read} read, {different} different");
    Ok(())
}

/// A member that subscribes by pattern gets the partitions of a topic that is made later.
fn follow_pattern(stage: &Stage<'_>) -> Outcome<String> {
    let mut program = stage.trial.tools().java("GroupPeer")?;
    program.arg(stage.broker.bootstrap());
    let mut members = Members::start(program)?;
    let (first, second) = (stage.trial.topic("like-1"), stage.trial.topic("like-2"));
    stage.create(&first)?;
    let pattern = format!("re2:{}", stage.trial.topic("like-.*"));
    members.join("a", &first, &pattern, &["group.protocol=consumer"])?;
    members.until_shared(&["a"])?;
    stage.create(&second)?;
    members.until("a has the new topic too", |all| {
        all.assigned.get("a").is_some_and(|assigned| assigned.len() == 2 * PARTITIONS)
    })?;
    let class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let mut command = stage.trial.tools().java(class)?;
    command.args(["--bootstrap-server", &stage.broker.bootstrap(), "--describe", "--group"]);
    command.args([&first, "--state"]);
    let said = process::run(&mut command, b"", LIMIT)?.all_text();
    ensure!(said.contains("uniform") && said.contains("Stable"), "described: {said}");
    members.stop("a")?;
    Ok("a pattern followed to a new topic".to_owned())
}

pub(crate) fn python_next_generation(trial: &Trial) -> Outcome<String> {
    const NEXT: &str = "group.protocol=consumer";
    let stage = Stage::new(trial)?;
    let mut program = trial.tools().python()?;
    program.args(["group", &stage.broker.bootstrap()]);
    let ways: [(&str, &[&str]); 2] = [
        ("uniform", &[NEXT, "group.remote.assignor=uniform"]),
        ("range", &[NEXT, "group.remote.assignor=range"]),
    ];
    stage.play(program, &ways, &[NEXT])
}

/// The same by franz-go, whose balancer names the assignor at the coordinator.
pub(crate) fn franz_go_next_generation(trial: &Trial) -> Outcome<String> {
    const NEXT: &str = "group.protocol=consumer";
    let stage = Stage::new(trial)?;
    let mut program = trial.tools().go()?;
    program.args(["group", &stage.broker.bootstrap()]);
    let ways: [(&str, &[&str]); 2] = [
        ("uniform", &[NEXT, "partition.assignment.strategy=sticky"]),
        ("range", &[NEXT, "partition.assignment.strategy=range"]),
    ];
    // Static members by the classic protocol: in this one they leave for good (FINDINGS.md).
    stage.play(program, &ways, &["partition.assignment.strategy=range"])
}

/// franz-go's members read, write and store their offsets in transactions, by both protocols; some
/// are aborted on purpose, and the second member comes in the midst of it. Each output once.
pub(crate) fn franz_go_processes(trial: &Trial) -> Outcome<String> {
    let stage = Stage::new(trial)?;
    let mut aborted = 0;
    for (way, settings) in [("classic", &[][..]), ("next", &["group.protocol=consumer"][..])] {
        aborted += process_by_franz_go(&stage, &trial.topic(way), settings)
            .map_err(|failure| failure.while_doing(format!("processing: {way}")))?;
    }
    let done = 2 * 2 * RECORDS;
    Ok(format!("{done} records processed once, by two members each time, {aborted} aborted"))
}

/// How many transactions were aborted.
fn process_by_franz_go(stage: &Stage<'_>, source: &str, settings: &[&str]) -> Outcome<usize> {
    let (bootstrap, topic) = (stage.broker.bootstrap(), format!("{source}-out"));
    stage.create(source)?;
    stage.create(&topic)?;
    stage.fill(source)?;
    stage.fill(source)?;
    let mut command = stage.trial.tools().go()?;
    command.args(["process", &bootstrap, source, &topic, source]).args(settings);
    let said = process::run_ok(&mut command, b"", LIMIT)?.text();
    let told = |word: &str| -> Vec<usize> {
        let line = said.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_default();
        line.split('\t').filter_map(|number| number.parse().ok()).collect()
    };
    let shares = told("done");
    ensure!(shares.len() == 2 && !shares.contains(&0), "each is to do its part: {said}");
    let aborted = told("aborted").iter().sum();
    ensure!(aborted > 0, "nothing was aborted: {said}");
    for partition in 0..PARTITIONS {
        let stored = format!("offset\t{partition}\t{}", 2 * RECORDS / PARTITIONS);
        ensure!(said.lines().any(|line| line == stored), "{stored} is not stored: {said}");
    }
    let read = transactions::read(stage.trial, &bootstrap, &topic, "read_committed")?;
    let mut read: Vec<_> = read.into_iter().map(|one| (one.partition, one.value)).collect();
    let output = |number: usize| {
        let partition = i32::try_from(number % PARTITIONS).ok();
        (partition, Some(format!("kept-{number}").into_bytes()))
    };
    let mut expected: Vec<_> = (0..RECORDS).chain(0..RECORDS).map(output).collect();
    read.sort_unstable();
    expected.sort_unstable();
    ensure!(read == expected, "{} of {} read committed: {read:?}", read.len(), expected.len());
    Ok(aborted)
}

/// kcat as a member: reads what is there, and the next one reads on from there.
pub(crate) fn kcat(trial: &Trial) -> Outcome<String> {
    let stage = Stage::new(trial)?;
    let topic = trial.topic("topic");
    stage.create(&topic)?;
    let read = || -> Outcome<BTreeSet<String>> {
        let mut command = trial.tools().kcat()?;
        command.args(["-b", &stage.broker.bootstrap(), "-G", &topic, "-e", "-q"]);
        command.args(["-X", "auto.offset.reset=earliest", "-f", "%p:%o\n", &topic]);
        let text = process::run_ok(&mut command, b"", LIMIT)?.text();
        let lines: Vec<&str> = text.lines().collect();
        let places: BTreeSet<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        ensure!(lines.len() == RECORDS && places.len() == RECORDS, "{} read", lines.len());
        Ok(places)
    };
    stage.fill(&topic)?;
    let first = read()?;
    stage.fill(&topic)?;
    let second = read()?;
    ensure!(first.is_disjoint(&second), "records were read twice");
    Ok(format!("{} records by two members after one another", first.len() + second.len()))
}

/// kafka-consumer-groups: list, describe, reset, delete offsets, delete.
pub(crate) fn tool(trial: &Trial) -> Outcome<String> {
    let stage = Stage::new(trial)?;
    let topic = trial.topic("topic");
    stage.create(&topic)?;
    stage.fill(&topic)?;
    let mut program = trial.tools().go()?;
    program.args(["group", &stage.broker.bootstrap()]);
    let mut members = Members::start(program)?;
    members.join("a", &topic, &topic, &["partition.assignment.strategy=range"])?;
    members.until_read(RECORDS)?;
    let bootstrap = stage.broker.bootstrap();
    let mut tools = ToolBox::open(trial, &bootstrap)?;
    let mut groups = |arguments: &[&str]| -> Outcome<String> {
        let class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
        let start = [class, "--bootstrap-server", &bootstrap];
        let (_, said) = tools.call(start.into_iter().chain(arguments.iter().copied()))?;
        Ok(said)
    };
    let lines_with = |text: &str, words: &[&str]| {
        let has_all = |line: &&str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            words.iter().all(|word| fields.contains(word))
        };
        text.lines().filter(has_all).count()
    };
    let said = groups(&["--list", "--state"])?;
    ensure!(lines_with(&said, &[&topic, "Stable"]) == 1, "list: {said}");
    let said = groups(&["--describe", "--group", &topic])?;
    ensure!(lines_with(&said, &[&topic, "10", "0"]) == PARTITIONS, "describe: {said}");
    let said = groups(&["--describe", "--group", &topic, "--members", "--verbose"])?;
    ensure!(lines_with(&said, &[&topic, "6"]) == 1, "members: {said}");
    let said = groups(&["--delete", "--group", &topic])?;
    ensure!(said.contains("not empty"), "delete a stable one: {said}");
    members.stop("a")?;
    let reset = ["--reset-offsets", "--to-earliest", "--execute", "--topic", &topic];
    let said = groups(&[&reset[..], &["--group", &topic]].concat())?;
    ensure!(lines_with(&said, &[&topic, "0"]) == PARTITIONS, "reset: {said}");
    members.join("b", &topic, &topic, &["partition.assignment.strategy=range"])?;
    members.until_read(2 * RECORDS)?;
    members.stop("b")?;
    let said = groups(&["--delete-offsets", "--group", &topic, "--topic", &topic])?;
    ensure!(lines_with(&said, &[&topic, "Successful"]) == PARTITIONS, "offsets: {said}");
    let said = groups(&["--delete", "--group", &topic])?;
    ensure!(said.contains("successful"), "delete: {said}");
    let said = groups(&["--list"])?;
    ensure!(!said.contains(&topic), "it is still there: {said}");
    Ok("list, describe, members, reset, delete offsets, delete".to_owned())
}
