//! Apache Kafka's command-line tools, many in one JVM: each does what it does with Apache Kafka.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::lab::{LIMIT, Trial};
use crate::failure::{Failure, Outcome, ensure};
use crate::process::{self, Group};

/// Calls of tools that are made one after the other, and what each must say.
#[derive(Default)]
pub(super) struct Calls {
    /// What is called, and words that its output must have, of which one fails it: `!` in front
    /// says that it must not be there.
    calls: Vec<(Vec<String>, i32, Vec<String>)>,
}

impl Calls {
    /// A call of `org.apache.kafka.tools.CLASS` that must succeed and say all of `wanted`.
    pub(super) fn tool(&mut self, call: &str, wanted: &[&str]) {
        self.call(&format!("org.apache.kafka.tools.{call}"), 0, wanted);
    }

    /// The same with the status that it must end with.
    pub(super) fn tool_ends(&mut self, call: &str, status: i32, wanted: &[&str]) {
        self.call(&format!("org.apache.kafka.tools.{call}"), status, wanted);
    }

    /// A call by its full class name; words are separated by blanks.
    pub(super) fn call(&mut self, call: &str, status: i32, wanted: &[&str]) {
        self.words(call.split_whitespace(), status, wanted);
    }

    /// A call whose words may have blanks.
    pub(super) fn words<'a>(
        &mut self,
        words: impl IntoIterator<Item = &'a str>,
        status: i32,
        wanted: &[&str],
    ) {
        let words = words.into_iter().map(str::to_owned).collect();
        self.calls.push((words, status, wanted.iter().map(|word| (*word).to_owned()).collect()));
    }

    /// Makes the calls, and holds what each says against what it must say.
    pub(super) fn run(self, trial: &Trial) -> Outcome<usize> {
        self.run_against(trial, &trial.bootstrap()?)
    }

    /// The same, where BROKERS are others than the scenario's.
    pub(super) fn run_against(self, trial: &Trial, brokers: &str) -> Outcome<usize> {
        let mut input = String::new();
        for (words, ..) in &self.calls {
            writeln!(input, "{}", words.join("\t")).map_err(|e| Failure::new(e.to_string()))?;
        }
        let mut command = trial.tools().java("ToolBox")?;
        command.arg(brokers);
        let said = process::run_ok(&mut command, input.as_bytes(), LIMIT)?.text();
        trial.write("said.txt", &said)?;
        let mut answers = said.split("\n@@ ");
        let mut output = answers.next().unwrap_or_default().to_owned();
        for (words, status, wanted) in &self.calls {
            let rest = answers.next().ok_or_else(|| Failure::new("a call without an answer"))?;
            let (found, next) = rest.split_once('\n').unwrap_or((rest, ""));
            let call = words.join(" ");
            ensure!(found == status.to_string(), "{call}: status {found}, not {status}: {output}");
            for word in wanted {
                let (is_wanted, word) = match word.strip_prefix('!') {
                    Some(unwanted) => (false, unwanted),
                    None => (true, word.as_str()),
                };
                ensure!(
                    output.contains(word) == is_wanted,
                    "{call}: {word:?} is {}there: {output}",
                    if is_wanted { "not " } else { "" }
                );
            }
            next.clone_into(&mut output);
        }
        Ok(self.calls.len())
    }
}

/// A JVM that makes calls of tools as they come, and ends when this is dropped.
pub(super) struct ToolBox {
    _java: Group,
    calls: ChildStdin,
    answers: Receiver<(i32, String)>,
}

impl ToolBox {
    pub(super) fn open(trial: &Trial, brokers: &str) -> Outcome<Self> {
        let mut command = trial.tools().java("ToolBox")?;
        command.arg(brokers);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut java = Group::spawn(&mut command)?;
        let none = || Failure::new("no pipe to the tools");
        let calls = java.take_stdin().ok_or_else(none)?;
        let output = java.take_stdout().ok_or_else(none)?;
        let (tell, answers) = channel();
        thread::spawn(move || {
            let mut said = String::new();
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                match line.strip_prefix("@@ ").and_then(|status| status.parse().ok()) {
                    Some(status) if tell.send((status, std::mem::take(&mut said))).is_err() => {
                        return;
                    }
                    Some(_) => {}
                    None => said.push_str(&(line + "\n")),
                }
            }
        });
        Ok(Self { _java: java, calls, answers })
    }

    /// Its status, and what it said.
    pub(super) fn call<'a>(
        &mut self,
        words: impl IntoIterator<Item = &'a str>,
    ) -> Outcome<(i32, String)> {
        let words: Vec<&str> = words.into_iter().collect();
        writeln!(self.calls, "{}", words.join("\t"))?;
        self.calls.flush()?;
        let answer = self.answers.recv_timeout(LIMIT);
        answer.map_err(|_| Failure::new(format!("no answer in {LIMIT:?}: {}", words.join(" "))))
    }
}

/// Configurations, records, directories, leaders, reassignments, features, quorum, versions.
pub(crate) fn administers(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("t");
    let compacted = trial.topic("compacted");
    trial.create_topics(std::slice::from_ref(&topic), 1, &[])?;
    trial.create_topics(std::slice::from_ref(&compacted), 1, &["cleanup.policy=compact"])?;
    let delete = |topic: &str, offset: i64| {
        format!(
            "{{\"partitions\":[{{\"topic\":\"{topic}\",\"partition\":0,\"offset\":{offset}}}],\
             \"version\":1}}"
        )
    };
    let (some, all) = (delete(&topic, 40), delete(&topic, -1));
    let some = trial.write("some.json", &some)?.display().to_string();
    let all = trial.write("all.json", &all)?.display().to_string();
    let kept = trial.write("kept.json", &delete(&compacted, 1))?.display().to_string();
    let reassignment = |replica: i32| {
        format!(
            "{{\"version\":1,\"partitions\":[{{\"topic\":\"{topic}\",\"partition\":0,\
             \"replicas\":[{replica}],\"log_dirs\":[\"any\"]}}]}}"
        )
    };
    let same = trial.write("same.json", &reassignment(1))?.display().to_string();
    let other = trial.write("other.json", &reassignment(9))?.display().to_string();

    let mut calls = Calls::default();
    configure(&mut calls, &topic);
    let writes = "--bootstrap-server BROKERS --num-records 100 --record-size 10 --throughput -1";
    calls.tool(&format!("ProducerPerformance {writes} --topic {topic}"), &["100 records sent"]);
    let offsets = format!("GetOffsetShell --bootstrap-server BROKERS --topic {topic}");
    let deletes = "DeleteRecordsCommand --bootstrap-server BROKERS --offset-json-file";
    let low = format!("partition: {topic}-0\tlow_watermark: 40");
    calls.tool(&format!("{deletes} {some}"), &[&low]);
    calls.tool(&format!("{offsets} --time earliest"), &[&format!("{topic}:0:40")]);
    calls.tool(&format!("{deletes} {all}"), &["low_watermark: "]);
    calls.tool(&format!("{deletes} {kept}"), &["PolicyViolationException"]);

    let directories =
        format!("LogDirsCommand --bootstrap-server BROKERS --describe --topic-list {topic}");
    calls.tool(
        &directories,
        &["\"logDir\":", &format!("\"partition\":\"{topic}-0\""), "\"error\":null"],
    );
    let versions = "BrokerApiVersionsCommand --bootstrap-server BROKERS";
    calls.tool(versions, &["(id: 1 rack: null", "DeleteRecords(21)", "!UNKNOWN"]);
    let quorum = "MetadataQuorumCommand --bootstrap-server BROKERS describe";
    calls.tool(&format!("{quorum} --status"), &["LeaderId:", "HighWatermark:", "CurrentVoters:"]);
    calls.tool(&format!("{quorum} --replication"), &["Leader"]);
    let features = "FeatureCommand --bootstrap-server BROKERS";
    calls.tool(&format!("{features} describe"), &["metadata.version", "transaction.version"]);
    let upgrade = format!("{features} upgrade --feature transaction.version=2 --dry-run");
    calls.tool_ends(&upgrade, 0, &["transaction.version"]);
    let upgrade = format!("{features} upgrade --feature transaction.version=99 --dry-run");
    calls.tool_ends(&upgrade, 1, &["transaction.version"]);
    let elect =
        format!("LeaderElectionCommand --bootstrap-server BROKERS --topic {topic} --partition 0");
    let valid = "Valid replica already elected for partitions";
    calls.tool(&format!("{elect} --election-type preferred"), &[valid]);
    let reassign = "reassign.ReassignPartitionsCommand --bootstrap-server BROKERS";
    calls.tool(&format!("{reassign} --list"), &["No partition reassignments found."]);
    let execute = format!("{reassign} --execute --reassignment-json-file");
    calls.tool(&format!("{execute} {same}"), &["Successfully started partition reassignment"]);
    calls.tool(&format!("{reassign} --verify --reassignment-json-file {same}"), &["is completed."]);
    calls.tool_ends(&format!("{execute} {other}"), 1, &["9"]);
    let acls = "AclCommand --bootstrap-server BROKERS --list";
    calls.tool_ends(acls, 1, &["No Authorizer is configured"]);
    calls.tool("ClusterTool cluster-id --bootstrap-server BROKERS", &["Cluster ID: "]);
    let count = calls.run(trial)?;
    Ok(format!("{count} calls of 13 tools"))
}

/// kafka-configs limits how much of topics a client may change, and Java's admin client is refused,
/// or waits.
pub(crate) fn limits_changes(trial: &Trial) -> Outcome<String> {
    let (refused, waits) = (trial.topic("refused"), trial.topic("waits"));
    let config = "kafka.admin.ConfigCommand --bootstrap-server BROKERS --entity-type clients";
    let rate = "--alter --add-config controller_mutation_rate";
    let mut calls = Calls::default();
    let of_client = format!("{config} --entity-name {refused}");
    calls.call(&format!("{of_client} {rate}=0.02"), 0, &["Completed updating config"]);
    calls.call(&format!("{of_client} --describe"), 0, &["controller_mutation_rate=0.02"]);
    let told = ["made 0", "ThrottlingQuotaExceededException", "is to wait: true"];
    calls.call(&format!("exhaust {refused} {refused}"), 0, &told);
    let list = "TopicCommand --bootstrap-server BROKERS --list";
    calls.tool(list, &[&format!("{refused}-0"), &format!("!{refused}-19")]);
    // Sixty partitions are 16 more than eleven seconds allow: four seconds of Java's patience.
    calls.call(&format!("{config} --entity-name {waits} {rate}=4"), 0, &["Completed"]);
    for (name, partitions) in [("first", 60), ("second", 1)] {
        let name = format!("{waits}-{name}");
        let made = format!("made {name}");
        calls.call(&format!("create {waits} {name} {partitions}"), 0, &[&made]);
    }
    calls.run(trial)?;
    Ok("refused with the time to wait, and made after it".to_owned())
}

/// kafka-configs, of a topic, the broker, a group and a user.
fn configure(calls: &mut Calls, topic: &str) {
    let config = "kafka.admin.ConfigCommand --bootstrap-server BROKERS";
    let of_topic = format!("{config} --entity-type topics --entity-name {topic}");
    let set = "--alter --add-config retention.ms=3600000,compression.type=lz4";
    calls.call(&format!("{of_topic} {set}"), 0, &["Completed updating config for topic"]);
    let described = ["retention.ms=3600000", "compression.type=lz4", "DYNAMIC_TOPIC_CONFIG"];
    calls.call(&format!("{of_topic} --describe"), 0, &described);
    calls.call(&format!("{of_topic} --alter --delete-config retention.ms"), 0, &[]);
    calls.call(&format!("{of_topic} --describe"), 0, &["compression.type=lz4", "!retention.ms"]);
    calls.call(&format!("{of_topic} --alter --add-config retention.ms=x"), 1, &["retention.ms"]);
    let of_broker = format!("{config} --entity-type brokers --entity-name 1");
    calls.call(&format!("{of_broker} --alter --add-config log.retention.ms=777777"), 0, &[]);
    calls.call(&format!("{of_broker} --describe"), 0, &["log.retention.ms=777777"]);
    let of_all = format!("{config} --entity-type brokers --entity-default");
    calls.call(&format!("{of_all} --alter --add-config log.retention.ms=666666"), 0, &[]);
    let default = "DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=666666";
    let described = ["log.retention.ms=666666", default, "!777777"];
    calls.call(&format!("{of_all} --describe"), 0, &described);
    let both = ["DYNAMIC_BROKER_CONFIG:log.retention.ms=777777", default];
    calls.call(&format!("{of_broker} --describe"), 0, &both);
    calls.call(&format!("{of_broker} --alter --delete-config log.retention.ms"), 0, &[]);
    // Only what is the broker's own is shown, unless all is asked for.
    calls.call(&format!("{of_broker} --describe"), 0, &["!666666", "!777777"]);
    calls.call(&format!("{of_broker} --describe --all"), 0, &[default, "!777777"]);
    calls.call(&format!("{of_all} --alter --delete-config log.retention.ms"), 0, &[]);
    calls.call(&format!("{of_all} --describe"), 0, &["!666666"]);
    let of_group = format!("{config} --entity-type groups --entity-name {topic}");
    let set = "--alter --add-config consumer.session.timeout.ms";
    calls.call(&format!("{of_group} {set}=50000"), 0, &["Completed updating config for group"]);
    calls.call(&format!("{of_group} {set}=1"), 1, &["consumer.session.timeout.ms"]);
    let described = ["consumer.session.timeout.ms=50000", "DYNAMIC_GROUP_CONFIG"];
    calls.call(&format!("{of_group} --describe"), 0, &described);
    let delete = "--alter --delete-config consumer.session.timeout.ms";
    calls.call(&format!("{of_group} {delete}"), 0, &["Completed updating config for group"]);
    calls.call(&format!("{of_group} --describe"), 0, &["!consumer.session.timeout.ms=50000"]);
    let users = format!("{config} --entity-type users --entity-name alice");
    let quota = "--alter --add-config producer_byte_rate=1000000";
    calls.call(&format!("{users} {quota}"), 0, &["Completed updating config"]);
    let scram = "--alter --add-config SCRAM-SHA-256=[iterations=8192,password=secret]";
    calls.call(&format!("{users} {scram}"), 0, &["Completed updating config"]);
    let described = ["producer_byte_rate=1000000", "SCRAM-SHA-256=iterations=8192"];
    calls.call(&format!("{users} --describe"), 0, &described);
    calls.call(&format!("{users} --alter --delete-config producer_byte_rate"), 0, &[]);
    calls.call(&format!("{users} --alter --delete-config SCRAM-SHA-256"), 0, &[]);
    calls.call(&format!("{users} --describe"), 0, &["!producer_byte_rate", "!SCRAM"]);
}

/// kafka-transactions: list, describe, describe-producers, find-hanging and abort; and a load of
/// transactions by kafka-producer-perf-test.
pub(crate) fn transactions(trial: &Trial) -> Outcome<String> {
    let (topic, load, id) = (trial.topic("t"), trial.topic("load"), trial.topic("id"));
    trial.create_topics(&[topic.clone(), load.clone()], 1, &[])?;
    let mut calls = Calls::default();
    calls.call(&format!("begin {topic} {id}"), 0, &[]);
    let tool = "TransactionsCommand --bootstrap-server BROKERS";
    calls.tool(&format!("{tool} list"), &[&id, "Ongoing"]);
    calls.tool(&format!("{tool} list --duration-filter 999999999"), &[&format!("!{id}")]);
    let describe = format!("{tool} describe --transactional-id {id}");
    calls.tool(&describe, &["Ongoing", &format!("{topic}-0"), "600000"]);
    let producers = format!("{tool} describe-producers --topic {topic} --partition 0");
    calls.tool(&producers, &["ProducerId", "CurrentTransactionStartOffset"]);
    let hanging = format!("{tool} find-hanging --topic {topic} --partition 0");
    calls.tool(&hanging, &["!600000"]);
    let abort = format!("{tool} abort --topic {topic} --partition 0 --start-offset 0");
    calls.tool(&abort, &[]);
    // The partition has its marker: nothing is open in it any more.
    calls.tool(&producers, &["None"]);
    let writes = "--num-records 3000 --record-size 100 --throughput -1";
    let transactional = "--transaction-duration-ms 50 --transactional-id perf";
    calls.tool(
        &format!(
            "ProducerPerformance --bootstrap-server BROKERS --topic {load} {writes} {transactional}"
        ),
        &["3000 records sent"],
    );
    calls.tool(&format!("{tool} list"), &["perf", "CompleteCommit"]);
    // All of it is there for a console consumer in a group that reads what is committed.
    let read = format!("consumer.ConsoleConsumer --bootstrap-server BROKERS --topic {load}");
    let committed = "--from-beginning --isolation-level read_committed --max-messages 3000";
    let counted = ["Processed a total of 3000 messages"];
    calls.tool(&format!("{read} --group {load} --timeout-ms 20000 {committed}"), &counted);
    let groups = "consumer.group.ConsumerGroupCommand --bootstrap-server BROKERS --describe";
    calls.tool(&format!("{groups} --group {load} --offsets"), &[&load, "CURRENT-OFFSET"]);
    let count = calls.run(trial)?;
    Ok(format!(
        "{count} calls: list, describe, describe-producers, find-hanging, abort, perf, \
         console-consumer"
    ))
}

/// kafka-verifiable-producer, and kafka-verifiable-consumer in a group.
pub(crate) fn verifiable(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("t");
    trial.create_topics(std::slice::from_ref(&topic), 3, &[])?;
    let writes = ["--topic", &topic, "--max-messages", "1000", "--throughput", "-1"];
    let said = trial.run_kafka_tool("VerifiableProducer", &writes, "")?.text();
    ensure!(said.contains("\"sent\":1000,\"acked\":1000"), "produced: {}", last(&said));
    let group = trial.topic("group");
    let reads = ["--topic", &topic, "--group-id", &group, "--max-messages", "1000"];
    let reset = ["--reset-policy", "earliest"];
    let said = trial.run_kafka_tool("VerifiableConsumer", &[&reads[..], &reset].concat(), "")?;
    let said = said.text();
    let consumed = said.lines().filter(|line| line.contains("\"name\":\"records_consumed\""));
    let counts = consumed.filter_map(|line| {
        let (_, rest) = line.split_once("\"count\":")?;
        rest.split([',', '}']).next()?.parse::<u64>().ok()
    });
    let count: u64 = counts.sum();
    ensure!(count == 1000, "{count} consumed: {}", last(&said));
    ensure!(said.contains("\"offsets_committed\""), "nothing committed: {}", last(&said));
    Ok("1000 records written, acknowledged, read in a group and committed".to_owned())
}

fn last(said: &str) -> String {
    process::last_lines(said, 5)
}

/// Our `transactions list`, `describe` and `abort`, for a transaction that Java left open.
pub(crate) fn by_our_command(trial: &Trial) -> Outcome<String> {
    let (topic, id) = (trial.topic("t"), trial.topic("id"));
    trial.create_topics(std::slice::from_ref(&topic), 1, &[])?;
    let bootstrap = trial.bootstrap()?;
    let mut java = ToolBox::open(trial, &bootstrap)?;
    let (status, said) = java.call(["begin", &topic, &id])?;
    ensure!(status == 0, "nothing was begun: {said}");
    let run = |arguments: &[&str]| -> Outcome<String> {
        let mut command = trial.tools().streamledger()?;
        command.arg("transactions").args(arguments).args(["-b", &bootstrap]);
        Ok(process::run_ok(&mut command, b"", LIMIT)?.text())
    };
    let listed = run(&["list"])?;
    let line = listed.lines().find(|line| line.contains(&id)).unwrap_or_default();
    ensure!(line.contains("Ongoing"), "listed: {listed}");
    let described = run(&["describe", &id])?;
    ensure!(described.contains("Ongoing"), "described: {described}");
    ensure!(described.contains(&format!("{topic}-0")), "its partitions: {described}");
    let open = run(&["abort", &topic, "--partition", "0"])?;
    ensure!(open.lines().count() == 3, "open: {open}");
    let aborted = run(&["abort", &topic, "--partition", "0", "--start-offset", "0"])?;
    ensure!(aborted.contains("aborted in"), "aborted: {aborted}");
    ensure!(run(&["abort", &topic, "--partition", "0"])?.is_empty(), "it is open still");
    Ok("listed, described, aborted".to_owned())
}
