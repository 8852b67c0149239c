//! `cargo xtask compat`: other people's clients against our broker, our client against Apache
//! Kafka. Every scenario also runs against Apache Kafka itself (`--broker apache`): that it passes
//! there shows that the scenario asks for the right thing.

mod adaptive;
mod apache;
mod broker;
mod clicks;
mod cluster;
mod compacted;
mod connect;
mod franz_go;
mod groups;
mod ingested;
mod ingested_avro;
mod ingested_columns;
mod ingested_files;
mod ingested_watched;
mod java;
mod kcat;
mod kill;
mod lab;
mod our_acls;
mod our_client;
mod our_door;
mod our_failures;
mod our_groups;
mod our_producer;
mod our_racks;
mod our_tokens;
mod our_transactions;
mod our_victims;
mod ours;
mod peer;
mod python;
mod record;
mod secured;
mod secured_stores;
mod secured_tokens;
mod settings;
mod spans;
mod stock;
mod streams;
mod telemetry;
mod toolbox;
mod tools;
mod transactions;
mod workload;

/// The command's own tests have the same one.
#[path = "../../../crates/cli/tests/tool/registry.rs"]
mod registry;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use self::broker::Kind;
use self::lab::{Lab, Trial};
use crate::failure::{Failure, Outcome, ensure};
use crate::process;
use crate::workspace::Metadata;

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Only scenarios whose name contains this; may be repeated.
    #[arg(long)]
    only: Vec<String>,
    /// Print the scenarios instead of running them.
    #[arg(long)]
    list: bool,
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
    /// Run every scenario against this broker, instead of each against its own kind.
    #[arg(long)]
    broker: Option<Kind>,
    /// Scenarios that kill something kill it far more often, and groups of other people's clients
    /// are tried out against Apache Kafka as well as against ours; takes long.
    #[arg(long)]
    nightly: bool,
    /// Our binary, instead of building it in release.
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

/// One thing that must work, and with whom.
struct Scenario {
    name: &'static str,
    peer: &'static str,
    /// The broker it is there to test, or to test our client with.
    broker: Kind,
    /// Whether `--broker` may put another in its place.
    elsewhere: bool,
    run: fn(&Trial) -> Outcome<String>,
}

impl Scenario {
    /// Whether other people's clients form groups in it: what it asks of a group is right if Apache
    /// Kafka gives it.
    fn is_of_groups(&self) -> bool {
        self.broker == Kind::Ours && self.elsewhere && self.name.contains("group")
    }
}

const fn stock(
    name: &'static str,
    peer: &'static str,
    run: fn(&Trial) -> Outcome<String>,
) -> Scenario {
    Scenario { name, peer, broker: Kind::Ours, elsewhere: true, run }
}

const fn our_client(name: &'static str, run: fn(&Trial) -> Outcome<String>) -> Scenario {
    Scenario { name, peer: "streamledger", broker: Kind::Apache, elsewhere: true, run }
}

/// Our client against this kind of broker and no other.
const fn only(name: &'static str, broker: Kind, run: fn(&Trial) -> Outcome<String>) -> Scenario {
    Scenario { name, peer: "streamledger", broker, elsewhere: false, run }
}

const SCENARIOS: &[Scenario] = &[
    our_client("ours-codecs", ours::writes_each_codec),
    our_client("ours-acks", ours::writes_with_each_acks),
    our_client("ours-partitions", ours::partitions_as_java),
    our_client("ours-admin", ours::administers),
    our_client("ours-topics", ours::commands_topics),
    our_client("ours-clicks", clicks::in_and_out),
    our_client("ours-ingest-killed", ingested::survives_its_own_death),
    our_client("ours-ingest-restart", ingested::survives_the_brokers_death),
    our_client("ours-ingest-columns", ingested_columns::by_columns),
    our_client("ours-ingest-avro", ingested_avro::by_registered_schemas),
    only("ingest-columns-ours", Kind::Ours, ingested_columns::by_columns),
    our_client("ours-ingest-files", ingested_files::by_files),
    only("ingest-files-ours", Kind::Ours, ingested_files::by_files),
    our_client("ours-timestamps", ours::keeps_timestamps),
    our_client("ours-large", ours::survives_large_records),
    our_client("ours-failures", our_failures::say_what_happened),
    our_client("ours-interceptors", our_producer::intercepts),
    our_client("ours-cores", our_producer::compresses_on_each_core),
    our_client("ours-restarts", ours::keeps_order_through_kills),
    our_client("ours-txn", our_transactions::commits_and_aborts),
    our_client("ours-txn-failures", our_failures::leave_transactions_whole),
    our_client("ours-txn-v1", our_transactions::by_version_1),
    our_client("ours-txn-offsets", our_transactions::sends_offsets),
    our_client("ours-txn-process", our_transactions::processes_once),
    our_client("ours-txn-groups", our_transactions::processes_in_groups),
    our_client("ours-txn-fenced", our_transactions::fences),
    our_client("ours-txn-timeout", our_transactions::times_out),
    our_client("ours-txn-killed", our_victims::survive_their_own_death),
    our_client("ours-txn-restart", our_transactions::survives_the_brokers_death),
    our_client("ours-assignors", our_groups::assigns_as_java),
    our_client("ours-group-range", our_groups::by_range),
    our_client("ours-group-turns", our_groups::by_round_robin),
    our_client("ours-group-sticky", our_groups::by_sticky),
    our_client("ours-group-coop", our_groups::by_cooperative_sticky),
    our_client("ours-group-next", our_groups::by_next_generation),
    our_client("ours-group-static", our_groups::keeps_static_members),
    our_client("ours-group-idle", our_groups::puts_out_who_does_not_poll),
    our_client("ours-group-pattern", our_groups::finds_topics_by_patterns),
    our_client("ours-group-restart", our_groups::survives_the_coordinator),
    our_client("ours-group-admin", our_groups::administers),
    our_client("ours-group-keys", our_groups::works_in_parallel),
    our_client("ours-java-range", our_groups::beside_java_by_range),
    our_client("ours-java-sticky", our_groups::beside_java_by_sticky),
    our_client("ours-java-coop", our_groups::beside_java_by_cooperative_sticky),
    our_client("ours-java-next", our_groups::beside_java_by_next_generation),
    our_client("ours-txn-admin", toolbox::by_our_command),
    our_client("ours-settings", settings::are_kafkas),
    only("secured", Kind::Apache, secured::each_way_in),
    only("secured-ours", Kind::Ours, our_door::lets_stock_clients_in),
    only("tokens", Kind::Ours, our_tokens::let_stock_clients_in),
    only("acls", Kind::Ours, our_acls::say_who_may_do_what),
    only("telemetry", Kind::Apache, telemetry::pushes_metrics),
    only("cluster-racks", Kind::Apache, our_producer::prefers_its_rack),
    only("cluster-near", Kind::Apache, our_racks::reads_nearby),
    only("cluster-slow", Kind::Apache, adaptive::spares_a_slow_broker),
    only("cluster-kills", Kind::Apache, cluster::survives_killed_leaders),
    only("cluster-txn-kills", Kind::Apache, cluster::survives_killed_coordinators),
    only("cluster-moves", Kind::Apache, cluster::follows_moving_partitions),
    only("kafka-3.9-codecs", Kind::Apache39, ours::writes_each_codec),
    only("kafka-3.9-acks", Kind::Apache39, ours::writes_with_each_acks),
    only("kafka-3.9-admin", Kind::Apache39, ours::administers),
    only("kafka-3.9-clicks", Kind::Apache39, clicks::in_and_out),
    only("kafka-2.1-codecs", Kind::Apache21, ours::writes_each_codec),
    only("kafka-2.1-acks", Kind::Apache21, ours::writes_with_each_acks),
    only("kafka-2.1-admin", Kind::Apache21, ours::administers),
    only("kafka-3.9-txn", Kind::Apache39, our_transactions::commits_and_aborts),
    only("kafka-3.9-offsets", Kind::Apache39, our_transactions::sends_offsets),
    only("kafka-3.9-fenced", Kind::Apache39, our_transactions::fences),
    only("kafka-2.1-txn", Kind::Apache21, our_transactions::commits_and_aborts),
    stock("kcat-codecs", "kcat", kcat::writes_each_codec),
    stock("kcat-offsets", "kcat", kcat::consumes_from_an_offset),
    stock("kcat-list", "kcat", kcat::lists),
    stock("kcat-query", "kcat", kcat::queries_offsets),
    stock("java-codecs", "java", java::writes_each_codec),
    stock("java-acks", "java", java::writes_with_each_acks),
    stock("java-console", "java", java::console),
    stock("java-topics", "java", java::topics),
    stock("java-admin", "java", java::administers),
    stock("java-perf-test", "java", java::producer_performance),
    stock("java-quota", "java", java::obeys_a_quota),
    stock("java-get-offsets", "java", java::offsets),
    stock("java-compacted", "java", compacted::by_all),
    stock("java-mutations", "java", toolbox::limits_changes),
    stock("java-tools", "java", toolbox::administers),
    stock("java-tools-txn", "java", toolbox::transactions),
    stock("java-verifiable", "java", toolbox::verifiable),
    stock("java-transactions", "java", transactions::by_java),
    stock("python-transactions", "python", transactions::by_python),
    stock("franz-go-txn", "franz-go", transactions::by_franz_go),
    stock("franz-go-txn-group", "franz-go", groups::franz_go_processes),
    stock("kill-9-transactions", "java", transactions::by_java_through_kills),
    stock("python-codecs", "python", python::writes_each_codec),
    stock("python-admin", "python", python::administers),
    stock("franz-go-codecs", "franz-go", franz_go::writes_each_codec),
    stock("franz-go-admin", "franz-go", franz_go::administers),
    stock("kcat-group", "kcat", groups::kcat),
    stock("java-group", "java", groups::java_classic),
    stock("python-group", "python", groups::python_classic),
    stock("java-next-group", "java", groups::java_next_generation),
    stock("java-moving-group", "java", groups::java_moves),
    stock("python-next-group", "python", groups::python_next_generation),
    stock("franz-go-group", "franz-go", groups::franz_go),
    stock("franz-go-next-group", "franz-go", groups::franz_go_next_generation),
    stock("java-groups-tool", "java", groups::tool),
    stock("connect-standalone", "java", connect::standalone),
    stock("connect-distributed", "java", connect::distributed),
    stock("streams-word-count", "java", streams::counts_words),
    stock("kill-9-java", "java", kill::under_java),
    stock("kill-9-ours", "streamledger", ours::keeps_order_through_kills),
];

#[derive(Serialize)]
struct Row {
    scenario: &'static str,
    peer: &'static str,
    version: String,
    broker: &'static str,
    passed: bool,
    seconds: f64,
    /// What it showed, or why it failed.
    detail: String,
}

#[derive(Serialize)]
struct Results {
    passed: usize,
    failed: usize,
    seconds: f64,
    scenarios: Vec<Row>,
}

pub(crate) use self::our_victims::transact_until_killed;

/// Runs the scenarios one after the other; fails if any did, or if none was asked for.
pub(crate) fn run(options: &Options) -> Outcome<()> {
    let wanted = |name: &str| {
        options.only.is_empty() || options.only.iter().any(|part| name.contains(part.as_str()))
    };
    let fits = |s: &Scenario| s.elsewhere || options.broker.is_none_or(|kind| kind == s.broker);
    let scenarios: Vec<&Scenario> =
        SCENARIOS.iter().filter(|s| wanted(s.name) && fits(s)).collect();
    ensure!(!scenarios.is_empty(), "no scenario is named like {:?}; see --list", options.only);
    if options.list {
        for scenario in scenarios {
            println!("{:<20}{:<14}{}", scenario.name, scenario.peer, scenario.broker.name());
        }
        return Ok(());
    }
    let start = Instant::now();
    let mut trials: Vec<(&Scenario, Kind)> =
        scenarios.into_iter().map(|s| (s, options.broker.unwrap_or(s.broker))).collect();
    if options.nightly && options.broker.is_none() {
        let again = trials.iter().filter(|(scenario, _)| scenario.is_of_groups());
        let again: Vec<_> = again.map(|(scenario, _)| (*scenario, Kind::Apache)).collect();
        // After all others of that broker: each kind is started once.
        trials.extend(again);
    }
    let target = Metadata::load()?.target_directory;
    let lab = Lab::new(&target, options.binary.clone(), options.nightly)?;
    let mut rows = Vec::new();
    for (scenario, broker) in trials {
        lab.keep_only(broker);
        let row = try_out(&lab, scenario, broker);
        eprintln!("{}", line(&row));
        rows.push(row);
    }
    let passed = rows.iter().filter(|row| row.passed).count();
    let failed = rows.len() - passed;
    let seconds = start.elapsed().as_secs_f64();
    let results = Results { passed, failed, seconds, scenarios: rows };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&results)?);
    } else {
        print!("{}", table(&results));
    }
    if failed == 0 { Ok(()) } else { Err(Failure::new("compat failed")) }
}

fn try_out(lab: &Lab, scenario: &Scenario, broker: Kind) -> Row {
    let start = Instant::now();
    let result = lab.trial(scenario.name, broker).and_then(|trial| (scenario.run)(&trial));
    let seconds = start.elapsed().as_secs_f64();
    let passed = result.is_ok();
    let detail = result.unwrap_or_else(|failure| {
        let death = lab.death_of(broker);
        let death = death.map_or(String::new(), |said| format!("\nthe broker died: {said}"));
        format!("{failure}{death}")
    });
    Row {
        scenario: scenario.name,
        peer: scenario.peer,
        version: lab.tools.version(scenario.peer),
        broker: broker.name(),
        passed,
        seconds,
        detail,
    }
}

fn line(row: &Row) -> String {
    let word = if row.passed { "passed" } else { "FAILED" };
    let seconds = row.seconds;
    format!("{:<20}{word:<8}{seconds:>6.1} s  {}", row.scenario, row.detail)
}

/// The results for people, with the closing line that counts.
fn table(results: &Results) -> String {
    let mut text = format!(
        "\n{:<20}{:<14}{:<28}{:<12}{:<8}{:>7}  shows\n",
        "scenario", "peer", "version", "broker", "result", "seconds"
    );
    for row in &results.scenarios {
        let word = if row.passed { "passed" } else { "FAILED" };
        text.push_str(&format!(
            "{:<20}{:<14}{:<28}{:<12}{word:<8}{:>7.1}  {}\n",
            row.scenario,
            row.peer,
            row.version,
            row.broker,
            row.seconds,
            process::last_lines(&row.detail, 1).trim()
        ));
    }
    for row in results.scenarios.iter().filter(|row| !row.passed) {
        text.push_str(&format!("\n{} failed: {}\n", row.scenario, row.detail));
    }
    text.push_str(&format!(
        "\nin {:.0} s\n{} passed, {} failed\n",
        results.seconds, results.passed, results.failed
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn groups_of_others_are_told_from_ours() {
        let groups: Vec<_> = SCENARIOS.iter().filter(|s| s.is_of_groups()).collect();
        assert!(groups.len() >= 8, "the clients' names say so");
        assert!(groups.iter().all(|scenario| scenario.peer != "streamledger"));
    }

    #[test]
    fn scenarios_have_names_of_their_own() {
        let names: BTreeSet<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), SCENARIOS.len());
    }

    #[test]
    fn the_table_closes_with_the_counts_and_explains_failures() {
        let row = Row {
            scenario: "kcat-list",
            peer: "kcat",
            version: "1.7.1".into(),
            broker: "ours",
            passed: false,
            seconds: 1.25,
            detail: "no controller".into(),
        };
        let results = Results { passed: 0, failed: 1, seconds: 2.0, scenarios: vec![row] };
        let text = table(&results);
        assert!(text.ends_with("\n0 passed, 1 failed\n"), "{text}");
        assert!(text.contains("kcat-list failed: no controller"), "{text}");
    }

    #[test]
    fn a_name_that_matches_nothing_fails() {
        let options = Options { only: vec!["nothing".into()], ..Options::default() };
        assert!(run(&options).is_err());
    }
}
