//! A run of `ingest`, from looking at the files to the summary.

use std::sync::Arc;
use std::time::{Duration, Instant};

use streamledger::admin::ClusterDescription;
use streamledger::{Producer, Properties};

use super::events::{Event, Started};
use super::feed::{Fed, Feed, FeedEnd, Rejects};
use super::guarantee::Guarantee;
use super::in_force::{remarks, settings_in_force};
use super::observer::Observer;
use super::pace::{Pacer, Replayed};
use super::prepare::{self, Destination, FeedFile};
use super::report::{FileReport, Status, Summary, settings_table};
use super::telling::Untold;
use super::transactions::{self, Committed, Transactions};
use super::watch::Watched;
use super::{IngestArguments, OnError, dry_run, follow};
use crate::access::{Access, MissingDirectory};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::input::followed::has_begun;
use crate::input::{InputPlan, discovery};
use crate::interrupt::{Interrupt, InterruptibleInput};
use crate::job;
use crate::ledger::{Account, Ledger};
use crate::metrics_server::MetricsServer;
use crate::producing::{self, Configured, Ending, LeftToDo};
use crate::registry::Registering;
use crate::topic_access::{self, EnsuredTopic, FoundTopic};
use crate::ui::progress::Progress;
use crate::ui::{self, note, table, units};

/// What `ingest` sets unless the user does: a file is in no hurry, large batches cost less, and
/// brokers that are away are waited for until the first records' time is over (120 s): how those
/// fail says why, and that the buffer is full doesn't.
const OWN_DEFAULTS: [(&str, &str); 3] =
    [("linger.ms", "20"), ("batch.size", "131072"), ("max.block.ms", "180000")];

/// A transaction may wait for brokers that are away as long as its records may.
const TRANSACTION_TIMEOUT: (&str, &str) = ("transaction.timeout.ms", "180000");

/// For a broker that gives no producer ids: with one request in flight a retry at least keeps the
/// order.
const WITHOUT_PRODUCER_IDS: [(&str, &str); 2] =
    [("enable.idempotence", "false"), ("max.in.flight.requests.per.connection", "1")];

/// Sends the files.
pub fn run(arguments: &IngestArguments) -> Outcome<Exit> {
    arguments.check()?;
    let interrupt = Interrupt::watch()?;
    let plan = look_at_files(arguments, &interrupt);
    if interrupt.is_raised() {
        tell_of_nothing(arguments, Status::Interrupted, None);
        return Ok(Exit::Interrupted);
    }
    let mut plan = plan.map_err(|failure| not_begun(arguments, failure))?;
    for remark in plan.remarks() {
        note(arguments.quiet, &remark);
    }
    // Checked before a broker is started: a wrong setting is told at once.
    let wanted = Guarantee::wanted(arguments, &plan)?;
    let configured = configure(arguments, wanted, None, "localhost:9092")?;
    if arguments.dry_run {
        return dry_run::run(arguments, &mut plan, &configured, &interrupt);
    }
    let access = Access::open(&arguments.broker, MissingDirectory::Create);
    let access = access.map_err(|failure| not_begun(arguments, failure))?;
    let outcome = run_on(arguments, &mut plan, &access, &interrupt);
    let closed = access.close();
    outcome.and_then(|exit| closed.map(|()| exit))
}

/// The plan of the files; of one that is followed once that has begun.
fn look_at_files(arguments: &IngestArguments, interrupt: &Interrupt) -> Outcome<InputPlan> {
    let mut options = arguments.input.options(&arguments.topic)?;
    if arguments.watch || arguments.follow || arguments.dry_run {
        arguments.registry.complete(&arguments.topic, &mut options)?;
    } else {
        arguments.registry.begin(&arguments.topic, &mut options)?;
    }
    if arguments.watch {
        discovery::check_can_be_watched(&arguments.files, arguments.append)?;
        return InputPlan::of_arrived(std::iter::empty(), options);
    }
    let followed = arguments.files.last().filter(|_| arguments.follow);
    loop {
        if followed.is_some() {
            follow::await_beginning(arguments, &options, interrupt)?;
        }
        let plan = InputPlan::make(&arguments.files, options.clone(), || {
            Box::new(InterruptibleInput::new(interrupt))
        });
        let plan = plan.map_err(|why| options.registry_is_silent.clone().unwrap_or(why));
        // It may have been rotated just now.
        let is_gone = followed.is_some_and(|log| has_begun(log, &options).is_ok_and(|has| !has));
        if plan.is_ok() || !is_gone || interrupt.is_raised() {
            return plan;
        }
    }
}

/// Tells a program of a failure before anything was sent, as it is told of any other; passes it on.
fn not_begun(arguments: &IngestArguments, failure: Box<Failure>) -> Box<Failure> {
    if failure.exit != Exit::Usage {
        tell_of_nothing(arguments, Status::Failed, Some(&failure));
    }
    failure
}

/// Tells a program of a run that sent nothing.
fn tell_of_nothing(arguments: &IngestArguments, status: Status, failure: Option<&Failure>) {
    if !arguments.is_for_programs() {
        return;
    }
    let summary = Summary {
        status,
        topic: &arguments.topic,
        place: arguments.broker.bootstrap_servers.as_deref().unwrap_or("embedded"),
        guarantee: match arguments.at_least_once {
            true => Guarantee::AtLeastOnce,
            false => Guarantee::ExactlyOnce,
        },
        job: None,
        committed: Committed::default(),
        files: &[],
        replayed: None,
        sent: 0,
        rejected: 0,
        rejections: &[],
        input_bytes: 0,
        elapsed: Duration::ZERO,
        account: &Ledger::default().account(),
        failure,
        settings: &[],
    };
    // The exit code says it as well.
    let _ = ui::print(for_programs(arguments, &summary));
}

fn for_programs(arguments: &IngestArguments, summary: &Summary<'_>) -> String {
    if arguments.json_events { summary.event() } else { summary.json() }
}

fn run_on(
    arguments: &IngestArguments,
    plan: &mut InputPlan,
    access: &Access,
    interrupt: &Interrupt,
) -> Outcome<Exit> {
    let decided = decide(arguments, plan, access);
    let decided = decided.map_err(|failure| not_begun(arguments, failure))?;
    let (guarantee, configured) = (decided.guarantee, &decided.configured);
    let topics = prepare_topics(arguments, access, &configured.properties);
    let topic = topics.map_err(|failure| not_begun(arguments, failure))?;
    plan.set_partition_count(topic.partitions);
    plan.set_times(topic.times);
    for remark in remarks(arguments, &topic) {
        note(arguments.quiet, &remark);
    }
    if guarantee == Guarantee::BrokerHasNoTransactions {
        note(arguments.quiet, guarantee.words());
    }
    let settings = settings_in_force(arguments, plan, access, configured, &topic, guarantee);
    let shows_tables = !arguments.quiet && !arguments.is_for_programs();
    if shows_tables {
        ui::print(format_args!("{}\n", table::text(&settings_table(&settings))))?;
    }
    let ledger = Arc::new(Ledger::default());
    let started = start(arguments, plan, access, decided, &topic, &ledger, interrupt);
    let Some(started) = started.map_err(|failure| not_begun(arguments, failure))? else {
        tell_of_nothing(arguments, Status::Interrupted, None);
        return Ok(Exit::Interrupted);
    };
    let metrics = MetricsServer::start(&arguments.metrics, &started.producer, arguments.quiet)?;
    let files = started.files.iter().map(FileReport::of).collect::<Vec<_>>();
    let sent = send(arguments, started, &ledger, interrupt);
    drop(metrics);
    let failure = sent.outcome.as_ref().err().map(|failure| &**failure);
    let summary = Summary {
        status: sent.status,
        topic: &arguments.topic,
        place: &access.place,
        guarantee,
        job: guarantee.is_exactly_once().then(|| arguments.job()),
        committed: sent.committed,
        files: &files,
        replayed: sent.replayed,
        sent: sent.fed.sent,
        rejected: sent.fed.rejected,
        rejections: &sent.fed.rejections,
        input_bytes: sent.fed.input_bytes,
        elapsed: sent.elapsed,
        account: &sent.account,
        failure,
        settings: &settings,
    };
    let told = if let Some(failure) = sent.not_told {
        Err(failure)
    } else if arguments.is_for_programs() {
        ui::print(for_programs(arguments, &summary))
    } else if shows_tables {
        ui::print(summary.text())
    } else {
        Ok(())
    };
    // What became of the rows matters more than whether it could be told.
    sent.outcome.and_then(|exit| told.map(|()| exit))
}

/// What a run promises, and the settings that go with it.
struct Decided {
    guarantee: Guarantee,
    configured: Configured,
}

/// Asks the broker once what it can do: that decides what can be promised.
fn decide(arguments: &IngestArguments, plan: &InputPlan, access: &Access) -> Outcome<Decided> {
    let (wanted, servers) = (Guarantee::wanted(arguments, plan)?, &access.bootstrap_servers);
    let configured = configure(arguments, wanted, None, servers)?;
    let broker = topic_access::reach(access, &configured.properties)?;
    let guarantee = wanted.on(&broker, arguments)?;
    let configured = configure(arguments, guarantee, Some(&broker), servers)?;
    Ok(Decided { guarantee, configured })
}

/// The producer's settings: with a transactional id if rows are to be there exactly once, without
/// idempotence if the broker gives no producer ids.
fn configure(
    arguments: &IngestArguments,
    guarantee: Guarantee,
    broker: Option<&ClusterDescription>,
    bootstrap_servers: &str,
) -> Outcome<Configured> {
    let mut defaults = OWN_DEFAULTS.to_vec();
    if !guarantee.is_exactly_once() {
        if broker.is_some_and(|broker| !broker.gives_producer_ids) {
            defaults.extend(WITHOUT_PRODUCER_IDS);
        }
        let plain = producing::config(&arguments.producer, bootstrap_servers, &defaults)?;
        if let Some(id) = plain.properties.get("transactional.id") {
            return Failure::new(Exit::Usage, format!("transactional.id={id} has no use here"))
                .cause(format!("rows are sent without transactions ({})", guarantee.words()))
                .remedy("leave that setting out")
                .err();
        }
        return Ok(plain);
    }
    let id = job::transactional_id(arguments.job());
    defaults.extend([("transactional.id", id.as_str()), TRANSACTION_TIMEOUT]);
    let configured = producing::config(&arguments.producer, bootstrap_servers, &defaults);
    let configured = configured.map_err(|mut failure| {
        // Told of what stands against transactions only if nothing else is wrong.
        if producing::config(&arguments.producer, bootstrap_servers, &OWN_DEFAULTS).is_ok() {
            let remedy = "leave that setting out; or say --at-least-once, and rows may be there \
                          twice after a failure";
            failure.remedy = Some(remedy.to_owned());
        }
        failure
    })?;
    match configured.properties.get("transactional.id") {
        Some(other) if other != id => {
            Failure::new(Exit::Usage, format!("transactional.id={other} can't be set for a job"))
                .cause(format!(
                    "by its own, {id}, a run finds an earlier one of the job and ends it"
                ))
                .remedy("leave that setting out; --job NAME makes it streamledger-ingest-NAME")
                .err()
        }
        _ => Ok(configured),
    }
}

/// Sees to it that the topics of the run are there: of the rows, of the dead letters, of progress.
fn prepare_topics(
    arguments: &IngestArguments,
    access: &Access,
    properties: &Properties,
) -> Outcome<FoundTopic> {
    let rows = EnsuredTopic {
        name: &arguments.topic,
        partitions: arguments.new_partitions(),
        configs: &arguments.topic_config,
    };
    let found = topic_access::ensure(access, properties, &rows)?;
    if arguments.on_error == OnError::DeadLetter {
        let name = arguments.dead_letter_topic();
        let letters = EnsuredTopic { name: &name, partitions: 1, configs: &[] };
        topic_access::ensure(access, properties, &letters)?;
    }
    Ok(found)
}

/// A producer, and where in its files the run starts.
struct Ready<'a> {
    plan: &'a InputPlan,
    producer: Producer,
    guarantee: Guarantee,
    files: Vec<FeedFile<'a>>,
    /// Files that come, instead of those.
    watched: Option<Watched<'a>>,
}

/// Starts the producer. Where rows are to be there exactly once it fences an earlier run of the
/// job, and only then looks at how far that came. None after Ctrl-C.
fn start<'a>(
    arguments: &'a IngestArguments,
    plan: &'a mut InputPlan,
    access: &'a Access,
    decided: Decided,
    topic: &'a FoundTopic,
    ledger: &Arc<Ledger>,
    interrupt: &Interrupt,
) -> Outcome<Option<Ready<'a>>> {
    let counted = producing::Counted { ledger, topic: &arguments.topic };
    let Decided { guarantee, configured } = decided;
    let properties = configured.properties.clone();
    let producer = producing::start(configured.config, counted)?;
    if !guarantee.is_exactly_once() {
        register(arguments, plan, |_| true)?;
        let plan = &*plan;
        let files = prepare::from_the_start(plan);
        return Ok(Some(Ready { plan, producer, guarantee, files, watched: None }));
    }
    let fenced = producer.init_transactions();
    fenced.map_err(|error| transactions::failure(arguments.job(), &error))?;
    job::ensure(access, &properties)?;
    // Known from the start, or the first commit would wait for it.
    producer.partitions_for(job::TOPIC).map_err(|error| producing::send_failure(&error))?;
    let Some(progress) = job::read(access, &properties, interrupt)? else { return Ok(None) };
    let to = Destination {
        job: arguments.job(),
        topic: &arguments.topic,
        topic_id: &topic.id,
        may_grow: arguments.append,
        is_last_followed: arguments.follow,
        partitions: topic.partitions,
    };
    prepare::keep_types(plan, to, &progress);
    let is_left = prepare::are_left(plan, to, &progress);
    register(arguments, plan, |file| is_left[file])?;
    let plan = &*plan;
    let mut files = prepare::after_progress(plan, to, &progress)?;
    prepare::check_left(&files, &is_left)?;
    if let Some(log) = plan.files.last().filter(|_| arguments.follow) {
        let prepared = follow::prepare(plan, log, to, &progress, interrupt)?;
        let Some(followed) = prepared else { return Ok(None) };
        files.push(followed);
    }
    let mut remarks = prepare::remarks(&files);
    remarks.extend(prepare::remark_on_partitions(to, &progress, &files));
    let is_recursive = arguments.input.recursive;
    remarks.extend(prepare::remarks_on_gone(to, &progress, &arguments.files, is_recursive));
    for remark in remarks {
        note(arguments.quiet, &remark);
    }
    let watched = arguments.watch.then(|| {
        let options = plan.options().clone();
        Watched::new(arguments, to, topic, progress, access, properties, options)
    });
    Ok(Some(Ready { plan, producer, guarantee, files, watched }))
}

/// Has the schemas of values registered, if there is a registry: once types are what they stay, and
/// only of files that have rows left to be sent. For the others no registry has to be there.
fn register(
    arguments: &IngestArguments,
    plan: &mut InputPlan,
    is_left: impl Fn(usize) -> bool,
) -> Outcome<()> {
    let has_rows = (0..plan.files.len()).any(&is_left);
    if let Some(why) = plan.options().registry_is_silent.clone().filter(|_| has_rows) {
        return Err(why);
    }
    arguments.registry.assign_ids(&arguments.topic, plan, Registering::Wanted, is_left)
}

/// What a run came to.
#[derive(Debug)]
struct Sent {
    fed: Fed,
    committed: Committed,
    replayed: Option<Replayed>,
    account: Account,
    elapsed: Duration,
    status: Status,
    outcome: Outcome<Exit>,
    /// Why a program couldn't be told of it.
    not_told: Option<Box<Failure>>,
}

/// Sends all rows and waits for their acknowledgement.
fn send(
    arguments: &IngestArguments,
    ready: Ready<'_>,
    ledger: &Arc<Ledger>,
    interrupt: &Interrupt,
) -> Sent {
    let Ready { plan, producer, guarantee, files, watched } = ready;
    let begun = Instant::now();
    let pacer = Pacer::new(arguments.rate, arguments.replay);
    let mut observer = observer(arguments, plan);
    observer.tell(&Event::Started(Started {
        topic: &arguments.topic,
        job: guarantee.is_exactly_once().then(|| arguments.job()),
        guarantee: guarantee.name(),
        files: watched.is_none().then_some(files.len() as u64),
        bytes: plan.total_bytes().filter(|_| watched.is_none()),
    }));
    let is_exactly_once = guarantee.is_exactly_once();
    let left = if is_exactly_once { LeftToDo::Commit } else { LeftToDo::Acknowledgements };
    let ending = Ending::watch(&producer, interrupt, left);
    let limits = arguments.transaction_limits();
    let transactions = is_exactly_once
        .then(|| Transactions::new(&producer, interrupt, ledger, arguments.job(), limits));
    let dead_letters = arguments.dead_letter_topic();
    let mut feed = Feed {
        topic: &arguments.topic,
        rejects: rejects(arguments, &dead_letters),
        limit: arguments.limit.unwrap_or(u64::MAX),
        producer: &producer,
        ledger,
        interrupt,
        observer,
        untold: Untold::new(),
        transactions,
        pacer,
        fed: Fed::default(),
    };
    let end = match watched {
        None => feed.run(files),
        Some(watched) => feed.watch(watched),
    };
    let committed = feed.transactions.as_ref().map(Transactions::committed).unwrap_or_default();
    let replayed = feed.pacer.as_ref().and_then(Pacer::replayed);
    let closed = if is_exactly_once && end.is_err() {
        ending.abandon(&producer);
        Ok(())
    } else {
        ending.close(&producer)
    };
    let account = ledger.account();
    let was_told_to = interrupt.is_raised();
    if end.is_ok() && closed.is_ok() && !was_told_to && account.totals.failed == 0 {
        feed.tell_the_rest();
    }
    if feed.transactions.as_ref().is_some_and(Transactions::is_fenced) {
        feed.observer.tell(&Event::Fenced { job: arguments.job() });
    }
    let Feed { fed, observer, .. } = feed;
    let not_told = observer.end();
    let (status, outcome) = match (end, closed) {
        (Err(failure), _) if is_exactly_once => (Status::Failed, Err(failure)),
        _ if was_told_to => (Status::Interrupted, Ok(Exit::Interrupted)),
        // That the producer has ended says nothing of why; how its records ended does.
        (Err(failure), _) if failure.exit == Exit::Failed && account.totals.failed > 0 => {
            (Status::Failed, delivery_failure(&fed, &account).err())
        }
        (Err(failure), _) | (Ok(_), Err(failure)) => (Status::Failed, Err(failure)),
        (Ok(FeedEnd::Complete), Ok(())) if account.totals.failed == 0 => {
            (Status::Done, Ok(Exit::Done))
        }
        (Ok(_), Ok(())) => (Status::Failed, delivery_failure(&fed, &account).err()),
    };
    let elapsed = begun.elapsed();
    Sent { fed, committed, replayed, account, elapsed, status, outcome, not_told }
}

fn rejects<'a>(arguments: &IngestArguments, topic: &'a str) -> Rejects<'a> {
    let count_max = arguments.max_rejected.unwrap_or(u64::MAX);
    Rejects { on_error: arguments.on_error, count_max, topic }
}

/// Who follows the run.
fn observer(arguments: &IngestArguments, plan: &InputPlan) -> Observer {
    if arguments.json_events {
        return Observer::program();
    }
    let total_bytes = plan.total_bytes().filter(|_| !arguments.follow && !arguments.watch);
    let file_count = (!arguments.watch).then_some(plan.files.len() as u64);
    let is_quiet = arguments.quiet || arguments.json;
    Observer::Person(Progress::of_files(file_count, total_bytes, is_quiet))
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
