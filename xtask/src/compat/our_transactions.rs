//! Our client's transactions: what is committed is read once by everyone, and nothing else is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use streamledger::{
    CommittedOffset, ConsumeProcessProduce, Consumer, ConsumerConfig, ConsumerGroupMetadata,
    Offset, PartitionIndex, Position, ProcessError, Processed, Producer, ProducerConfig,
    ProducerRecord, Properties, TopicPartition, Transaction, TransactionError, TransactionalId,
};

use super::broker::Kind;
use super::lab::{LIMIT, Trial};
use super::our_client;
use crate::failure::{Failure, Outcome, ensure};
use crate::process;

/// Each transaction writes one record to each.
pub(super) const PARTITIONS: i32 = 3;

/// The values of each partition, in order.
pub(crate) type Seen = BTreeMap<i32, Vec<String>>;

pub(crate) fn commits_and_aborts(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("lines");
    trial.create_topics(std::slice::from_ref(&topic), PARTITIONS, &[])?;
    let bootstrap = trial.bootstrap()?;
    let seen = commit_and_abort(&bootstrap, &topic, trial.name())?;
    // librdkafka reads committed records unless told otherwise.
    let mut kcat = trial.tools().kcat()?;
    kcat.args(["-b", &bootstrap, "-C", "-t", &topic, "-o", "beginning", "-e", "-q", "-f", "%s\\n"]);
    let kcat = process::run_ok(&mut kcat, b"", LIMIT)?.text();
    let (mut theirs, mut ours): (Vec<&str>, Vec<&str>) =
        (kcat.lines().collect(), seen.values().flatten().map(String::as_str).collect());
    theirs.sort_unstable();
    ours.sort_unstable();
    ensure!(theirs == ours, "kcat reads {} records, we {}", theirs.len(), ours.len());
    Ok(format!("{} records read by us and by kcat, none of those aborted", ours.len()))
}

/// The same on a cluster that has agreed on the first version only, and offsets there too.
pub(crate) fn by_version_1(trial: &Trial) -> Outcome<String> {
    let mut broker = trial.own_broker_of(&[], &["transaction.version=1"])?;
    let (bootstrap, topic) = (broker.bootstrap(), trial.topic("lines"));
    create(trial, &bootstrap, &topic)?;
    let seen = commit_and_abort(&bootstrap, &topic, trial.name())?;
    let offsets = send_offsets(&bootstrap, &topic, trial.name())?;
    fence(&bootstrap, &topic, trial.name())?;
    broker.stop(Duration::from_secs(20))?;
    let records: usize = seen.values().map(Vec::len).sum();
    Ok(format!("{records} records committed, {offsets}, an old producer fenced"))
}

pub(crate) fn sends_offsets(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("in");
    trial.create_topics(std::slice::from_ref(&topic), PARTITIONS, &[])?;
    let sent = send_offsets(&trial.bootstrap()?, &topic, trial.name())?;
    let group = format!("{}-readers", trial.name());
    let arguments = ["--describe", "--group", &group];
    let shown = trial.run_kafka_tool("consumer.group.ConsumerGroupCommand", &arguments, "")?.text();
    let row = shown.lines().find(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1..4) == Some(&[topic.as_str(), "0", "17"])
    });
    ensure!(row.is_some(), "kafka-consumer-groups does not show offset 17: {shown}");
    Ok(format!("{sent}; kafka-consumer-groups shows them"))
}

/// Numbers are read, doubled and written by processors that fail now and then, and by one that
/// takes over from another: each number comes out once.
pub(crate) fn processes_once(trial: &Trial) -> Outcome<String> {
    let (input, output) = (trial.topic("in"), trial.topic("out"));
    trial.create_topics(&[input.clone(), output.clone()], PARTITIONS, &[])?;
    let bootstrap = trial.bootstrap()?;
    put_numbers(&bootstrap, &input)?;
    let mut first = processor(&bootstrap, trial.name(), &input)?;
    let (mut processed, mut runs) = (0, 0);
    while processed < NUMBERS / 3 {
        processed += run(&mut first, &output, &mut runs)?;
    }
    let mut second = processor(&bootstrap, trial.name(), &input)?;
    let deadline = Instant::now() + LIMIT;
    while processed < NUMBERS {
        ensure!(Instant::now() < deadline, "{processed} of {NUMBERS} numbers were processed");
        processed += run(&mut second, &output, &mut runs)?;
    }
    let late = first.run_once(Duration::from_secs(5), |_, out| {
        out.send(ProducerRecord::to(&output).value("late")).map(drop)
    });
    ensure!(!matches!(late, Ok(Processed::Committed(_))), "the first committed after the second");
    ensure!(runs >= 5, "no run failed");
    each_came_out_once(&bootstrap, &output)?;
    Ok(format!("{NUMBERS} numbers in, each out once, over {} failures and a take-over", runs / 5))
}

/// Numbers are read, doubled and written by two members of a group, by both protocols: the second
/// comes in the midst of it, the first leaves, and each number comes out once.
pub(crate) fn processes_in_groups(trial: &Trial) -> Outcome<String> {
    let mut shown = Vec::new();
    for protocol in ["classic", "consumer"] {
        let (input, output) = (trial.topic(protocol), trial.topic(&format!("{protocol}-out")));
        trial.create_topics(&[input.clone(), output.clone()], PARTITIONS, &[])?;
        let bootstrap = trial.bootstrap()?;
        put_numbers(&bootstrap, &input)?;
        let mut first = member(&bootstrap, protocol, &input, "first")?;
        let (mut of_first, mut of_second, mut runs) = (0, 0, 0);
        let deadline = Instant::now() + LIMIT;
        while of_first < NUMBERS / 5 {
            ensure!(Instant::now() < deadline, "the first processed {of_first} numbers");
            of_first += run(&mut first, &output, &mut runs)?;
        }
        let mut second = member(&bootstrap, protocol, &input, "second")?;
        while of_second == 0 {
            ensure!(Instant::now() < deadline, "the second gets nothing, {of_first} the first");
            if of_first < 2 * NUMBERS / 3 {
                of_first += run(&mut first, &output, &mut runs)?;
            } else {
                // It polls, and so lets partitions go, but makes nothing of them.
                drop(first.run_once(Duration::from_millis(100), |_, _| Err("not now")));
            }
            of_second += run(&mut second, &output, &mut runs)?;
        }
        first.consumer().close(LIMIT)?;
        while of_first + of_second < NUMBERS {
            ensure!(Instant::now() < deadline, "{of_first} and {of_second} of {NUMBERS} numbers");
            of_second += run(&mut second, &output, &mut runs)?;
        }
        second.consumer().close(LIMIT)?;
        each_came_out_once(&bootstrap, &output)?;
        shown.push(format!("{of_first} and {of_second} of {NUMBERS} ({protocol})"));
    }
    Ok(format!("two members processed {}, each once", shown.join(", ")))
}

fn member(
    bootstrap: &str,
    protocol: &str,
    input: &str,
    name: &str,
) -> Outcome<ConsumeProcessProduce> {
    let mut properties = reader_properties(bootstrap)
        .with("group.id", format!("{input}-members"))
        .with("group.protocol", protocol)
        .with("enable.auto.commit", "false");
    if protocol == "classic" {
        properties = properties.with("heartbeat.interval.ms", "300");
    }
    let consumer = ConsumerConfig::from_properties(&properties)?;
    let properties = Properties::new()
        .with("bootstrap.servers", bootstrap)
        .with("transactional.id", format!("{input}-{name}"));
    let producer = ProducerConfig::from_properties(&properties)?;
    Ok(ConsumeProcessProduce::subscribed(consumer, producer, [input])?)
}

const NUMBERS: usize = 300;

fn put_numbers(bootstrap: &str, input: &str) -> Outcome<()> {
    let source = our_client::producer(bootstrap, &[])?;
    for number in 0..NUMBERS {
        let (value, partition) = (number.to_string(), i32::try_from(number)? % PARTITIONS);
        let record = ProducerRecord::to(input).partition(PartitionIndex(partition));
        drop(source.send(record.value(value.as_bytes()))?);
    }
    our_client::close(&source)
}

fn each_came_out_once(bootstrap: &str, output: &str) -> Outcome<()> {
    let mut seen: Vec<usize> = Vec::new();
    for value in committed(bootstrap, output)?.into_values().flatten() {
        seen.push(value.parse()?);
    }
    seen.sort_unstable();
    let expected: Vec<usize> = (0..NUMBERS).map(|number| 2 * number).collect();
    ensure!(seen == expected, "{} numbers came out of {NUMBERS}: {seen:?}", seen.len());
    Ok(())
}

fn reader_properties(bootstrap: &str) -> Properties {
    Properties::new()
        .with("bootstrap.servers", bootstrap)
        .with("isolation.level", "read_committed")
        .with("auto.offset.reset", "earliest")
        .with("max.poll.records", "10")
}

fn processor(bootstrap: &str, name: &str, input: &str) -> Outcome<ConsumeProcessProduce> {
    let consumer = ConsumerConfig::from_properties(&reader_properties(bootstrap))?;
    let properties =
        Properties::new().with("bootstrap.servers", bootstrap).with("transactional.id", name);
    let producer = ProducerConfig::from_properties(&properties)?;
    let partitions: Vec<TopicPartition> =
        (0..PARTITIONS).map(|index| TopicPartition::new(input, PartitionIndex(index))).collect();
    let group = format!("{name}-processors");
    Ok(ConsumeProcessProduce::new(consumer, producer, group, &partitions)?)
}

/// One run, whose function fails after its first records each fifth time.
fn run(work: &mut ConsumeProcessProduce, output: &str, runs: &mut usize) -> Outcome<usize> {
    let fails = *runs % 5 == 4;
    *runs += 1;
    let outcome = work.run_once(Duration::from_millis(500), |records, out| {
        for record in records {
            let number = String::from_utf8(record.value.as_deref().unwrap_or_default().to_vec())?;
            let doubled = (2 * number.parse::<usize>()?).to_string();
            drop(out.send(ProducerRecord::to(output).value(doubled.as_bytes()))?);
            ensure!(!fails, "on purpose");
        }
        Ok(())
    });
    match outcome {
        Ok(Processed::Committed(records)) => Ok(records),
        Ok(Processed::Nothing | Processed::Aborted(_)) => Ok(0),
        Err(ProcessError::Function(_)) if fails => Ok(0),
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

pub(crate) fn fences(trial: &Trial) -> Outcome<String> {
    let topic = trial.topic("lines");
    trial.create_topics(std::slice::from_ref(&topic), PARTITIONS, &[])?;
    fence(&trial.bootstrap()?, &topic, trial.name())
}

/// The coordinator aborts a transaction for its age: its producer never hears of success.
pub(crate) fn times_out(trial: &Trial) -> Outcome<String> {
    // Apache Kafka looks every ten seconds; ours when it is due.
    let settings: &[&str] = match trial.broker {
        Kind::Ours => &[],
        _ => &["transaction.abort.timed.out.transaction.cleanup.interval.ms=200"],
    };
    let mut broker = trial.own_broker(settings)?;
    let (bootstrap, topic) = (broker.bootstrap(), trial.topic("lines"));
    create(trial, &bootstrap, &topic)?;
    let producer = transactional(&bootstrap, trial.name(), &["transaction.timeout.ms=1000"])?;
    producer.init_transactions()?;
    let mut late = producer.begin_transaction()?;
    write(&late, &topic, "late")?;
    producer.flush()?;
    until_aborted(&bootstrap, trial.name())?;
    let error = late.commit().err();
    let said = error.as_ref().map_or(String::new(), ToString::to_string);
    let refused = error.is_some_and(|error| error.is_fatal() || error.must_abort());
    ensure!(refused, "the commit of a transaction that was aborted: {said:?}");
    drop(late);
    let seen = committed(&bootstrap, &topic)?;
    ensure!(seen.values().all(Vec::is_empty), "{seen:?}");
    broker.stop(Duration::from_secs(20))?;
    Ok(format!("{said:?}, and nothing to be read"))
}

/// Waits until the coordinator has aborted the last transaction of that name.
fn until_aborted(bootstrap: &str, name: &str) -> Outcome<()> {
    let admin = our_client::admin(bootstrap)?;
    let id = [TransactionalId::from(name)];
    let deadline = Instant::now() + LIMIT;
    loop {
        let state = admin.describe_transactions(&id)?.only()?.state;
        if state == "CompleteAbort" {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "it is {state} after 120 s");
        thread::sleep(Duration::from_millis(20));
    }
}

/// kill -9 of the broker amid transactions, of which every third is aborted.
pub(crate) fn survives_the_brokers_death(trial: &Trial) -> Outcome<String> {
    let mut broker = trial.own_broker(trial.broker.soon_back())?;
    let (bootstrap, topic) = (broker.bootstrap(), trial.topic("numbers"));
    create(trial, &bootstrap, &topic)?;
    let name = trial.name();
    let load = Arc::new(Load::default());
    let worker = {
        let (bootstrap, topic, load) = (bootstrap.clone(), topic.clone(), Arc::clone(&load));
        thread::spawn(move || transact_until(&bootstrap, &topic, name, &load))
    };
    load.wait_for(20)?;
    broker.kill();
    broker.start_again(trial.tools())?;
    let before = load.committed.load(Ordering::Relaxed);
    load.wait_for(before + 20)?;
    load.stop.store(true, Ordering::Relaxed);
    let done = worker.join().map_err(|_| Failure::new("the producer panicked"))??;
    let told = done.hold_against(&committed(&bootstrap, &topic)?)?;
    broker.stop(Duration::from_secs(20))?;
    Ok(told)
}

/// Twenty transactions, every second aborted, the later half by the async twins of all calls, and
/// one whose guard is dropped.
fn commit_and_abort(bootstrap: &str, topic: &str, name: &str) -> Outcome<Seen> {
    let producer = transactional(bootstrap, name, &[])?;
    producer.init_transactions()?;
    let mut expected = Vec::new();
    for number in 0..10 {
        let mut transaction = producer.begin_transaction()?;
        let value = format!("{number}");
        write(&transaction, topic, &value)?;
        if number % 2 == 0 {
            transaction.commit()?;
            expected.push(value);
        } else {
            transaction.abort()?;
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for number in 10..20 {
            let mut transaction = producer.begin_transaction_async().await?;
            let value = format!("{number}");
            for partition in (0..PARTITIONS).map(PartitionIndex) {
                let record = ProducerRecord::to(topic).partition(partition).value(&*value);
                drop(transaction.send_async(record).await?);
            }
            if number % 2 == 0 {
                transaction.commit_async().await?;
                expected.push(value);
            } else {
                transaction.abort_async().await?;
            }
        }
        Ok::<_, Failure>(())
    })?;
    let dropped = producer.begin_transaction()?;
    write(&dropped, topic, "dropped")?;
    producer.flush()?;
    drop(dropped);
    let mut last = producer.begin_transaction()?;
    write(&last, topic, "last")?;
    last.commit()?;
    expected.push("last".to_owned());
    let outside = producer.send(ProducerRecord::to(topic).value("outside")).err();
    ensure!(outside.is_some(), "a record outside of a transaction was taken");
    our_client::close(&producer)?;
    let seen = committed(bootstrap, topic)?;
    for (partition, values) in &seen {
        ensure!(*values == expected, "partition {partition}: {values:?}, not {expected:?}");
    }
    Ok(seen)
}

/// Offsets count when their transaction is committed, and not when it is aborted.
fn send_offsets(bootstrap: &str, topic: &str, name: &str) -> Outcome<String> {
    let producer = transactional(bootstrap, &format!("{name}-offsets"), &[])?;
    producer.init_transactions()?;
    let group = format!("{name}-readers");
    let metadata = ConsumerGroupMetadata::new(group.as_str());
    let at = [TopicPartition::new(topic, PartitionIndex(0))];
    let consumer = consumer(bootstrap, "read_committed")?;
    let stored = || -> Outcome<Option<i64>> {
        let stored = consumer.committed(&group, &at)?;
        Ok(stored.into_iter().next().flatten().map(|stored| stored.offset.0))
    };
    for (offset, commit) in [(5, false), (17, true), (99, false)] {
        let mut transaction = producer.begin_transaction()?;
        write(&transaction, topic, "beside")?;
        let offsets = [(at[0].clone(), CommittedOffset::new(Offset(offset)))];
        transaction.send_offsets(&offsets, &metadata)?;
        if commit {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        let expected = (offset != 5).then_some(17);
        let now = stored()?;
        ensure!(now == expected, "after {offset}, committed: {commit}, there is {now:?}");
    }
    our_client::close(&producer)?;
    Ok("offset 17 committed, 5 and 99 aborted".to_owned())
}

fn fence(bootstrap: &str, topic: &str, name: &str) -> Outcome<String> {
    let name = format!("{name}-fence");
    let old = transactional(bootstrap, &name, &[])?;
    old.init_transactions()?;
    let mut zombie = old.begin_transaction()?;
    write(&zombie, topic, "zombie")?;
    old.flush()?;
    let new = transactional(bootstrap, &name, &[])?;
    new.init_transactions()?;
    let error = zombie.commit().err();
    let said = error.as_ref().map_or(String::new(), ToString::to_string);
    ensure!(error.is_some_and(|error| error.is_fenced()), "the old producer heard {said:?}");
    let begun = old.begin_transaction().err();
    ensure!(begun.is_some_and(|error| error.is_fatal()), "the old producer goes on");
    drop(zombie);
    let mut transaction = new.begin_transaction()?;
    write(&transaction, topic, "alive")?;
    transaction.commit()?;
    our_client::close(&new)?;
    let seen = committed(bootstrap, topic)?;
    let has = |value: &str| seen.values().flatten().any(|seen| seen == value);
    ensure!(has("alive") && !has("zombie"), "{seen:?}");
    Ok(said)
}

pub(crate) struct Done {
    pub(crate) committed: Vec<u64>,
    pub(crate) aborted: u64,
}

impl Done {
    /// What was committed is in every partition, once and in order, and nothing else.
    pub(crate) fn hold_against(&self, seen: &Seen) -> Outcome<String> {
        let expected: Vec<String> = self.committed.iter().map(u64::to_string).collect();
        for (partition, values) in seen {
            ensure!(*values == expected, "partition {partition}: {values:?}, not {expected:?}");
        }
        let (count, aborted) = (expected.len(), self.aborted);
        Ok(format!("{count} transactions committed, each once; {aborted} aborted, unseen"))
    }
}

/// How far the transactions have come, and whether they are to end.
#[derive(Default)]
pub(crate) struct Load {
    pub(crate) committed: AtomicU64,
    pub(crate) stop: AtomicBool,
}

impl Load {
    pub(crate) fn wait_for(&self, committed: u64) -> Outcome<()> {
        let deadline = Instant::now() + LIMIT;
        while self.committed.load(Ordering::Relaxed) < committed {
            ensure!(Instant::now() < deadline, "fewer than {committed} transactions in 120 s");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// Transactions one after the other; an outcome that isn't known is asked for again.
pub(crate) fn transact_until(
    bootstrap: &str,
    topic: &str,
    name: &str,
    load: &Load,
) -> Outcome<Done> {
    let producer = transactional(bootstrap, name, &["max.block.ms=2000", "linger.ms=1"])?;
    insist(|| producer.init_transactions())?;
    let mut done = Done { committed: Vec::new(), aborted: 0 };
    for number in 0.. {
        if load.stop.load(Ordering::Relaxed) {
            break;
        }
        let mut transaction = begin(&producer)?;
        let written = write(&transaction, topic, &number.to_string());
        if written.is_err() || number % 3 == 2 {
            drop(transaction);
            done.aborted += 1;
            continue;
        }
        match insist(|| transaction.commit()) {
            Ok(()) => {
                done.committed.push(number);
                load.committed.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.must_abort() => done.aborted += 1,
            Err(error) => return Err(error.into()),
        }
    }
    // The last abort is heard of by a begin.
    insist(|| producer.begin_transaction().map(drop))?;
    our_client::close(&producer)?;
    Ok(done)
}

/// Begins a transaction, however long that takes.
pub(crate) fn begin(producer: &Producer) -> Outcome<Transaction<'_>> {
    insist(|| producer.begin_transaction().map(std::mem::forget))?;
    let begun = producer.resume_transaction();
    begun.ok_or_else(|| Failure::new("the transaction that was begun is gone"))
}

/// Calls again as long as time-outs are all that is heard.
pub(crate) fn insist(
    mut call: impl FnMut() -> Result<(), TransactionError>,
) -> Result<(), TransactionError> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match call() {
            Err(error) if is_passing(&error) && Instant::now() < deadline => {}
            outcome => return outcome,
        }
    }
}

pub(crate) fn is_passing(error: &TransactionError) -> bool {
    use streamledger::TransactionErrorKind::{OtherPending, TimedOut};
    matches!(error.kind, TimedOut | OtherPending(_))
}

/// The same value to each partition.
pub(crate) fn write(transaction: &Transaction, topic: &str, value: &str) -> Outcome<()> {
    for partition in 0..PARTITIONS {
        let record = ProducerRecord::to(topic).partition(PartitionIndex(partition)).value(value);
        drop(transaction.send(record)?);
    }
    Ok(())
}

fn create(trial: &Trial, bootstrap: &str, topic: &str) -> Outcome<()> {
    let mut create = trial.tools().go()?;
    create.args(["create", bootstrap, &PARTITIONS.to_string(), topic]);
    process::run_ok(&mut create, b"", LIMIT).map(drop)
}

pub(crate) fn transactional(bootstrap: &str, name: &str, settings: &[&str]) -> Outcome<Producer> {
    let start = Properties::new().with("bootstrap.servers", bootstrap);
    let start = start.with("transactional.id", name);
    let pairs = settings.iter().filter_map(|setting| setting.split_once('='));
    let properties = pairs.fold(start, |all, (name, value)| all.with(name, value));
    Ok(Producer::new(ProducerConfig::from_properties(&properties)?)?)
}

fn consumer(bootstrap: &str, isolation: &str) -> Outcome<Consumer> {
    let properties =
        Properties::new().with("bootstrap.servers", bootstrap).with("isolation.level", isolation);
    Ok(Consumer::new(ConsumerConfig::from_properties(&properties)?)?)
}

/// All committed records, once nothing is undecided any more.
pub(crate) fn committed(bootstrap: &str, topic: &str) -> Outcome<Seen> {
    let reader = consumer(bootstrap, "read_committed")?;
    let everything = consumer(bootstrap, "read_uncommitted")?;
    let partitions = reader.partitions_for(topic)?;
    let deadline = Instant::now() + LIMIT;
    let ends = loop {
        let ends = reader.end_offsets(&partitions)?;
        if ends == everything.end_offsets(&partitions)? {
            break ends;
        }
        ensure!(Instant::now() < deadline, "a transaction hangs: decided up to {ends:?} only");
        thread::sleep(Duration::from_millis(20));
    };
    let start: Vec<_> = partitions.iter().map(|at| (at.clone(), Position::Beginning)).collect();
    reader.assign(&start);
    let mut seen: Seen = (0..PARTITIONS).map(|partition| (partition, Vec::new())).collect();
    let is_read = |(at, end): (&TopicPartition, &Offset)| reader.position(at) >= Some(*end);
    while !partitions.iter().zip(&ends).all(is_read) {
        ensure!(Instant::now() < deadline, "the end was not reached");
        for record in reader.poll(Duration::from_millis(100))? {
            let value = String::from_utf8(record.value.map_or(Vec::new(), |v| v.to_vec()))?;
            seen.entry(record.topic_partition.partition.0).or_default().push(value);
        }
    }
    Ok(seen)
}
