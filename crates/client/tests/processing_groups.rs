//! Read, process, write as members of a group, by both protocols: the partitions go from one to
//! another, each record comes out once, and who was put out commits nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::thread;
use std::time::{Duration, Instant};

use rstest::rstest;
use streamledger::{
    Admin, AdminConfig, ConsumeProcessProduce, Consumer, ConsumerConfig, ConsumerRecords, Output,
    PartitionIndex, Position, ProcessError, Processed, ProduceError, Producer, ProducerConfig,
    ProducerRecord, Properties,
};
use streamledger_broker::{Broker, BrokerConfig, Fault, RunningBroker};
use streamledger_protocol::ApiKey;

const INPUT: &str = "in";
const OUTPUT: &str = "out";
const GROUP: &str = "processors";
const PARTITIONS: i32 = 4;
const NUMBERS: usize = 200;
/// How soon a member of the classic protocol hears of a rebalance.
const HEARTBEAT: (&str, &str) = ("heartbeat.interval.ms", "100");

/// A broker with numbers in the input.
fn broker(settings: &[(&str, &str)]) -> RunningBroker {
    let mut config = BrokerConfig::builder()
        .listen("127.0.0.1:0")
        .property("num.partitions", PARTITIONS.to_string())
        .property("group.initial.rebalance.delay.ms", "0")
        .property("group.consumer.min.heartbeat.interval.ms", "200")
        .property("group.consumer.heartbeat.interval.ms", "200");
    for (name, value) in settings {
        config = config.property(*name, *value);
    }
    let broker = Broker::start(config.build().unwrap()).unwrap();
    let config = ProducerConfig::from_properties(&properties(&broker, &[])).unwrap();
    let producer = Producer::new(config).unwrap();
    for number in 0..NUMBERS {
        let partition = PartitionIndex(i32::try_from(number).unwrap() % PARTITIONS);
        let value = number.to_string();
        drop(producer.send(ProducerRecord::to(INPUT).partition(partition).value(&value)).unwrap());
    }
    producer.flush().unwrap();
    producer.partitions_for(OUTPUT).unwrap();
    broker
}

fn properties(broker: &RunningBroker, settings: &[(&str, &str)]) -> Properties {
    let start = Properties::new()
        .with("bootstrap.servers", broker.bootstrap_servers())
        .with("retry.backoff.ms", "5")
        .with("reconnect.backoff.ms", "5");
    settings.iter().fold(start, |all, (name, value)| all.with(*name, *value))
}

fn member(broker: &RunningBroker, name: &str, settings: &[(&str, &str)]) -> ConsumeProcessProduce {
    let own = [
        ("group.id", GROUP),
        ("isolation.level", "read_committed"),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
        ("max.poll.records", "5"),
    ];
    let consumer = properties(broker, &[&own, settings].concat());
    let producer = properties(broker, &[("transactional.id", name)]);
    ConsumeProcessProduce::subscribed(
        ConsumerConfig::from_properties(&consumer).unwrap(),
        ProducerConfig::from_properties(&producer).unwrap(),
        [INPUT],
    )
    .unwrap()
}

fn copy(records: &ConsumerRecords, output: &Output<'_>) -> Result<(), ProduceError> {
    for record in records {
        let value = record.value.as_deref().unwrap_or_default();
        drop(output.send(ProducerRecord::to(OUTPUT).value(value))?);
    }
    Ok(())
}

/// One run; how many records it committed.
fn run(work: &mut ConsumeProcessProduce) -> usize {
    match work.run_once(Duration::from_millis(20), copy) {
        Ok(Processed::Committed(records)) => records,
        Ok(Processed::Nothing | Processed::Aborted(_)) => 0,
        Err(error) => panic!("{error}"),
    }
}

/// Who is in the group, as its coordinator has it.
fn members(broker: &RunningBroker) -> Vec<String> {
    let admin = AdminConfig::from_properties(&properties(broker, &[])).unwrap();
    let admin = Admin::new(admin).unwrap();
    let group = admin.describe_groups(&[GROUP.into()]).unwrap().only().unwrap();
    group.members.into_iter().map(|member| member.member_id).collect()
}

/// Runs until it has committed something.
fn run_some(work: &mut ConsumeProcessProduce) -> usize {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        assert!(Instant::now() < deadline, "it gets nothing to process");
        match run(work) {
            0 => {}
            records => return records,
        }
    }
}

/// What a reader of committed records finds in the output.
fn output(broker: &RunningBroker) -> Vec<usize> {
    let settings = properties(broker, &[("isolation.level", "read_committed")]);
    let consumer = Consumer::new(ConsumerConfig::from_properties(&settings).unwrap()).unwrap();
    let all = settings.with("isolation.level", "read_uncommitted");
    let all = Consumer::new(ConsumerConfig::from_properties(&all).unwrap()).unwrap();
    let partitions = consumer.partitions_for(OUTPUT).unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    // A commit is acknowledged before its markers are written.
    let ends = loop {
        let ends = consumer.end_offsets(&partitions).unwrap();
        if ends == all.end_offsets(&partitions).unwrap() {
            break ends;
        }
        assert!(Instant::now() < deadline, "a transaction hangs");
    };
    let start = partitions.iter().map(|at| (at.clone(), Position::Beginning));
    consumer.assign(&start.collect::<Vec<_>>());
    let mut numbers = Vec::new();
    while partitions.iter().zip(&ends).any(|(at, end)| consumer.position(at) < Some(*end)) {
        assert!(Instant::now() < deadline, "the end is not reached");
        for record in consumer.poll(Duration::from_millis(100)).unwrap() {
            let text = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            numbers.push(text.parse().unwrap());
        }
    }
    numbers.sort_unstable();
    numbers
}

#[rstest]
#[case::eager(&[("partition.assignment.strategy", "range"), HEARTBEAT])]
#[case::cooperative(&[("partition.assignment.strategy", "cooperative-sticky"), HEARTBEAT])]
#[case::next_generation(&[("group.protocol", "consumer")])]
fn members_share_the_work_out_and_each_record_comes_out_once(#[case] settings: &[(&str, &str)]) {
    let broker = broker(&[]);
    let mut first = member(&broker, "first", settings);
    let (mut of_first, mut of_second) = (run_some(&mut first), 0);
    let mut second = member(&broker, "second", settings);
    let deadline = Instant::now() + Duration::from_secs(120);
    // The second joins while the first goes on; what both have done is never done again.
    while of_second == 0 {
        assert!(Instant::now() < deadline, "the second gets nothing: {of_first} of the first");
        if of_first < NUMBERS / 2 {
            of_first += run(&mut first);
        } else {
            // Polls, and so lets partitions go, but makes nothing of them.
            let idle = first.run_once(Duration::ZERO, |_, _| Err("not now"));
            assert!(matches!(idle, Ok(Processed::Nothing) | Err(ProcessError::Function(_))));
        }
        of_second += run(&mut second);
    }
    first.consumer().close(Duration::from_secs(30)).unwrap();
    while of_first + of_second < NUMBERS {
        assert!(Instant::now() < deadline, "{of_first} and {of_second} of {NUMBERS}");
        of_second += run(&mut second);
    }
    assert_eq!(output(&broker), (0..NUMBERS).collect::<Vec<_>>());
}

/// Without a membership its offsets would be taken from anybody.
#[test]
fn a_member_whose_place_was_taken_while_it_worked_commits_nothing() {
    let broker = broker(&[]);
    let settings = [("group.instance.id", "one"), HEARTBEAT];
    let mut old = member(&broker, "old", &settings);
    let done = run_some(&mut old);
    let consumer = old.consumer().clone();
    let mut taken_over = None;
    let outcome = old.run_once(Duration::from_secs(30), |records, output| {
        copy(records, output)?;
        let mut new = member(&broker, "new", &settings);
        let deadline = Instant::now() + Duration::from_secs(120);
        while consumer.group_metadata().is_some_and(|group| !group.member_id.is_empty()) {
            assert!(Instant::now() < deadline, "it does not hear that it was replaced");
            let _ = new.run_once(Duration::from_millis(20), |_, _| Err(()));
        }
        taken_over = Some(new);
        Ok::<(), ProduceError>(())
    });
    assert!(matches!(outcome, Ok(Processed::Aborted(_))), "{outcome:?}");
    let (mut new, mut done) = (taken_over.unwrap(), done);
    while done < NUMBERS {
        done += run_some(&mut new);
    }
    assert_eq!(output(&broker), (0..NUMBERS).collect::<Vec<_>>());
}

/// The same by the next generation, where the coordinator doesn't hear of a member for a time.
#[test]
fn a_member_that_was_put_out_while_it_worked_commits_nothing() {
    let quick = [
        ("group.consumer.min.session.timeout.ms", "1500"),
        ("group.consumer.session.timeout.ms", "1500"),
    ];
    let broker = broker(&quick);
    let settings = [("group.protocol", "consumer")];
    let mut slow = member(&broker, "slow", &settings);
    let mut done = run_some(&mut slow);
    let consumer = slow.consumer().clone();
    let is_put_out = |records: &ConsumerRecords, output: &Output<'_>| {
        copy(records, output)?;
        broker.faults().inject(ApiKey::ConsumerGroupHeartbeat, Fault::Hold, 1);
        let deadline = Instant::now() + Duration::from_secs(120);
        while broker.faults().strikes() == 0 {
            assert!(Instant::now() < deadline, "it sends no heartbeat");
            thread::sleep(Duration::from_millis(5));
        }
        while !members(&broker).is_empty() {
            assert!(Instant::now() < deadline, "it is not put out");
            thread::sleep(Duration::from_millis(50));
        }
        broker.faults().release();
        while consumer.group_metadata().is_some_and(|group| !group.member_id.is_empty()) {
            assert!(Instant::now() < deadline, "it does not hear that it is out");
            thread::sleep(Duration::from_millis(5));
        }
        Ok::<(), ProduceError>(())
    };
    let outcome = loop {
        // On a busy machine it may have been put out already.
        match slow.run_once(Duration::from_secs(30), is_put_out) {
            Ok(Processed::Nothing) => {}
            outcome => break outcome,
        }
    };
    assert!(matches!(outcome, Ok(Processed::Aborted(_))), "{outcome:?}");
    while done < NUMBERS {
        done += run_some(&mut slow);
    }
    assert_eq!(output(&broker), (0..NUMBERS).collect::<Vec<_>>());
}
