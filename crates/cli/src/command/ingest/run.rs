//! A run of `ingest`, from looking at the files to the summary.

use std::sync::Arc;
use std::time::{Duration, Instant};

use streamledger::Producer;

use super::feed::{Fed, Feed, FeedEnd};
use super::report::{Setting, Status, Summary, settings_table};
use super::{IngestArguments, OnError, PARTITIONS};
use crate::access::{Access, MissingDirectory};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::input::InputPlan;
use crate::interrupt::{Interrupt, InterruptibleInput};
use crate::ledger::{Account, Ledger};
use crate::metrics_server::MetricsServer;
use crate::producing::{self, Configured, Ending};
use crate::topic_access::{self, EnsuredTopic, FoundTopic};
use crate::ui::progress::Progress;
use crate::ui::{self, note, table, units};

/// What `ingest` sets unless the user does: a file is in no hurry, large batches cost less, and
/// brokers that are away are waited for until the first records' time is over (120 s): how those
/// fail says why, and that the buffer is full doesn't.
const OWN_DEFAULTS: [(&str, &str); 3] =
    [("linger.ms", "20"), ("batch.size", "131072"), ("max.block.ms", "180000")];

/// Sends the files.
pub fn run(arguments: &IngestArguments) -> Outcome<Exit> {
    let interrupt = Interrupt::watch()?;
    let plan = InputPlan::make(&arguments.files, arguments.input_options(), || {
        Box::new(InterruptibleInput::new(&interrupt))
    });
    if interrupt.is_raised() {
        return Ok(Exit::Interrupted);
    }
    let plan = plan.map_err(|failure| not_begun(arguments, failure))?;
    // Checked before a broker is started: a wrong setting is told at once.
    producing::config(&arguments.producer, "localhost:9092", &OWN_DEFAULTS)?;
    let access = Access::open(&arguments.broker, MissingDirectory::Create);
    let access = access.map_err(|failure| not_begun(arguments, failure))?;
    let outcome = run_on(arguments, &plan, &access, &interrupt);
    let closed = access.close();
    outcome.and_then(|exit| closed.map(|()| exit))
}

/// Tells a program of a failure before anything was sent, as it is told of any other; passes it on.
fn not_begun(arguments: &IngestArguments, failure: Box<Failure>) -> Box<Failure> {
    if arguments.json && failure.exit != Exit::Usage {
        let summary = Summary {
            status: Status::Failed,
            topic: &arguments.topic,
            place: arguments.broker.bootstrap_servers.as_deref().unwrap_or("embedded"),
            sent: 0,
            rejected: 0,
            rejections: &[],
            input_bytes: 0,
            elapsed: Duration::ZERO,
            account: &Ledger::default().account(),
            failure: Some(&failure),
            settings: &[],
        };
        // The exit code says it as well.
        let _ = ui::print(summary.json());
    }
    failure
}

fn run_on(
    arguments: &IngestArguments,
    plan: &InputPlan,
    access: &Access,
    interrupt: &Interrupt,
) -> Outcome<Exit> {
    let configured =
        producing::config(&arguments.producer, &access.bootstrap_servers, &OWN_DEFAULTS)?;
    let topic = topic_access::ensure(
        access,
        &configured.properties,
        &EnsuredTopic {
            name: &arguments.topic,
            partitions: arguments.partitions,
            configs: &arguments.topic_config,
        },
    )
    .map_err(|failure| not_begun(arguments, failure))?;
    for remark in remarks(arguments, &topic) {
        note(arguments.quiet, &remark);
    }
    let settings = settings_in_force(arguments, plan, access, &configured, &topic);
    let shows_tables = !arguments.quiet && !arguments.json;
    if shows_tables {
        ui::print(format_args!("{}\n", table::text(&settings_table(&settings))))?;
    }
    let ledger = Arc::new(Ledger::default());
    let producer = producing::start(configured.config, &ledger)?;
    let metrics = MetricsServer::start(&arguments.metrics, &producer, arguments.quiet)?;
    let sent = send(arguments, plan, &producer, &ledger, interrupt);
    drop(metrics);
    let failure = sent.outcome.as_ref().err().map(|failure| &**failure);
    let summary = Summary {
        status: sent.status,
        topic: &arguments.topic,
        place: &access.place,
        sent: sent.fed.sent,
        rejected: sent.fed.rejected,
        rejections: &sent.fed.rejections,
        input_bytes: sent.fed.input_bytes,
        elapsed: sent.elapsed,
        account: &sent.account,
        failure,
        settings: &settings,
    };
    let told = if arguments.json {
        ui::print(summary.json())
    } else if shows_tables {
        ui::print(summary.text())
    } else {
        Ok(())
    };
    // What became of the rows matters more than whether it could be told.
    sent.outcome.and_then(|exit| told.map(|()| exit))
}

/// What a run came to.
#[derive(Debug)]
struct Sent {
    fed: Fed,
    account: Account,
    elapsed: Duration,
    status: Status,
    outcome: Outcome<Exit>,
}

/// Sends all rows and waits for their acknowledgement.
fn send(
    arguments: &IngestArguments,
    plan: &InputPlan,
    producer: &Producer,
    ledger: &Arc<Ledger>,
    interrupt: &Interrupt,
) -> Sent {
    let started = Instant::now();
    let progress = Progress::of_bytes(plan.total_bytes(), arguments.quiet || arguments.json);
    let ending = Ending::watch(producer, interrupt);
    let mut feed = Feed {
        plan,
        topic: &arguments.topic,
        on_error: arguments.on_error,
        limit: arguments.limit.unwrap_or(u64::MAX),
        producer,
        ledger,
        interrupt,
        progress: &progress,
        fed: Fed::default(),
    };
    let end = feed.run();
    let fed = feed.fed;
    progress.at(fed.input_bytes, fed.sent);
    let closed = ending.close(producer);
    progress.clear();
    let account = ledger.account();
    let (status, outcome) = match (end, closed) {
        _ if interrupt.is_raised() => (Status::Interrupted, Ok(Exit::Interrupted)),
        (Err(failure), _) | (Ok(_), Err(failure)) => (Status::Failed, Err(failure)),
        (Ok(FeedEnd::Complete), Ok(())) if account.totals.failed == 0 => {
            (Status::Done, Ok(Exit::Done))
        }
        (Ok(_), Ok(())) => (Status::Failed, delivery_failure(&fed, &account).err()),
    };
    Sent { fed, account, elapsed: started.elapsed(), status, outcome }
}

fn delivery_failure(fed: &Fed, account: &Account) -> Failure {
    let what = format!(
        "{} of {} records were not delivered",
        units::grouped(account.totals.failed),
        units::grouped(fed.sent)
    );
    let failure = Failure::new(Exit::Failed, what).remedy(
        "see to the cause and send the file again; rows that did arrive will be there twice",
    );
    match &account.first_failure {
        Some(cause) => failure.cause(cause),
        None => failure,
    }
}

/// The table of settings: what the command was told, then the producer's settings that matter most
/// or that someone set.
fn settings_in_force(
    arguments: &IngestArguments,
    plan: &InputPlan,
    access: &Access,
    configured: &Configured,
    topic: &FoundTopic,
) -> Vec<Setting> {
    let files: Vec<String> =
        plan.files.iter().map(|file| file.path.display().to_string()).collect();
    let topic_source = if topic.is_new { "new topic" } else { "topic" };
    let by_flag = |given: bool| if given { "flag" } else { "default" };
    let mut settings = vec![
        Setting::new("files", files.join(", "), "argument"),
        Setting::new("format", plan.format_name(), by_flag(arguments.format.is_some())),
        Setting::new(
            "bytes",
            plan.total_bytes().map_or_else(|| "as many as come".to_owned(), units::bytes),
            "files",
        ),
        Setting::new(
            "broker",
            &access.place,
            by_flag(arguments.broker.bootstrap_servers.is_some()),
        ),
        Setting::new("topic", &arguments.topic, by_flag(arguments.topic != crate::clicks::TOPIC)),
        Setting::new("partitions", topic.partitions.to_string(), topic_source),
        Setting::new("retention", retention_in_words(topic.retention_ms), topic_source),
        Setting::new("key", plan.key_name().unwrap_or("none"), by_flag(arguments.key.is_some())),
        Setting::new(
            "timestamp",
            arguments.timestamp.as_deref().unwrap_or("time of sending"),
            by_flag(arguments.timestamp.is_some()),
        ),
        Setting::new(
            "on error",
            if arguments.on_error == OnError::Stop { "stop" } else { "skip" },
            by_flag(arguments.on_error != OnError::Stop),
        ),
    ];
    let types = plan.column_types();
    if !types.is_empty() {
        let types: Vec<String> =
            types.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        let from = if arguments.types.is_empty() { "first rows" } else { "first rows, flag" };
        settings.push(Setting::new("columns", types.join(", "), from));
    }
    for (name, value, source) in configured.in_force() {
        settings.push(Setting { name, value, source });
    }
    settings
}

fn retention_in_words(retention_ms: Option<i64>) -> String {
    match retention_ms.map(|ms| Duration::from_millis(ms.unsigned_abs())) {
        None => "for ever".to_owned(),
        Some(time) if time.as_secs() >= 2 * 86_400 => format!("{} days", time.as_secs() / 86_400),
        Some(time) => units::duration(time),
    }
}

/// What the user may not expect of a topic that was there before.
fn remarks(arguments: &IngestArguments, topic: &FoundTopic) -> Vec<String> {
    let mut remarks = Vec::new();
    if !topic.is_new
        && topic.partitions != arguments.partitions
        && arguments.partitions != PARTITIONS
    {
        remarks.push(format!(
            "{} has {} partitions already; --partitions is for a topic that isn't there yet",
            arguments.topic, topic.partitions
        ));
    }
    if !topic.is_new && !arguments.topic_config.is_empty() {
        remarks.push(format!(
            "{} is there already; --topic-config is for a topic that isn't",
            arguments.topic
        ));
    }
    if let (Some(_), Some(ms)) = (&arguments.timestamp, topic.retention_ms) {
        remarks.push(format!(
            "{} keeps records for {}: older ones by --timestamp may be removed soon",
            arguments.topic,
            retention_in_words(Some(ms))
        ));
    }
    remarks
}
