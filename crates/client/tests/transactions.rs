//! Transactions and read-process-write against a real broker that moves its coordinators, loads
//! them, drops connections, or keeps its answers: each record comes out once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::{Duration, Instant};

use rstest::rstest;
use streamledger::{
    CommittedOffset, ConsumeProcessProduce, Consumer, ConsumerConfig, ConsumerError,
    ConsumerGroupMetadata, ConsumerRecords, DeliveryFuture, Offset, Output, PartitionIndex,
    Position, ProcessError, Processed, ProduceError, Producer, ProducerConfig, ProducerRecord,
    Properties, TopicPartition, TransactionApi, TransactionErrorKind, TransactionOperation,
    TransactionStage,
};
use streamledger_broker::{Broker, BrokerConfig, Fault, RunningBroker};
use streamledger_protocol::{ApiKey, ErrorCode};

const INPUT: &str = "in";
const OUTPUT: &str = "out";
const GROUP: &str = "readers";
const NUMBERS: usize = 12;

fn broker() -> RunningBroker {
    let config = BrokerConfig::builder().listen("127.0.0.1:0").property("num.partitions", "1");
    Broker::start(config.build().unwrap()).unwrap()
}

fn properties(broker: &RunningBroker, settings: &[(&str, &str)]) -> Properties {
    let start = Properties::new()
        .with("bootstrap.servers", broker.bootstrap_servers())
        .with("retry.backoff.ms", "5")
        .with("reconnect.backoff.ms", "5");
    settings.iter().fold(start, |all, (name, value)| all.with(*name, *value))
}

fn producer(broker: &RunningBroker, settings: &[(&str, &str)]) -> Producer {
    let properties = properties(broker, settings);
    Producer::new(ProducerConfig::from_properties(&properties).unwrap()).unwrap()
}

fn transactional(broker: &RunningBroker, settings: &[(&str, &str)]) -> Producer {
    producer(broker, &[&[("transactional.id", "job")], settings].concat())
}

fn reader(broker: &RunningBroker, settings: &[(&str, &str)]) -> ConsumerConfig {
    let own = [
        ("isolation.level", "read_committed"),
        ("auto.offset.reset", "earliest"),
        ("max.poll.records", "4"),
    ];
    let properties = properties(broker, &[&own, settings].concat());
    ConsumerConfig::from_properties(&properties).unwrap()
}

fn partition(topic: &str) -> TopicPartition {
    TopicPartition::new(topic, PartitionIndex(0))
}

/// A broker with numbers in the input, and an output.
fn broker_with_numbers() -> RunningBroker {
    let broker = broker();
    let producer = producer(&broker, &[]);
    for number in 0..NUMBERS {
        drop(producer.send(ProducerRecord::to(INPUT).value(&number.to_string())).unwrap());
    }
    producer.flush().unwrap();
    producer.partitions_for(OUTPUT).unwrap();
    broker
}

fn processor(broker: &RunningBroker, settings: &[(&str, &str)]) -> ConsumeProcessProduce {
    let own = [("transactional.id", "job")];
    let producer = properties(broker, &[&own, settings].concat());
    let producer = ProducerConfig::from_properties(&producer).unwrap();
    let input = [partition(INPUT)];
    ConsumeProcessProduce::new(reader(broker, &[]), producer, GROUP, &input).unwrap()
}

fn copy(records: &ConsumerRecords, output: &Output<'_>) -> Result<(), ProduceError> {
    for record in records {
        let value = record.value.as_deref().unwrap_or_default();
        drop(output.send(ProducerRecord::to(OUTPUT).value(value))?);
    }
    Ok(())
}

fn run(work: &mut ConsumeProcessProduce) -> Result<Processed, ProcessError<ProduceError>> {
    work.run_once(Duration::from_millis(200), copy)
}

/// Runs until it has come upon records.
fn run_some(work: &mut ConsumeProcessProduce) -> Result<Processed, ProcessError<ProduceError>> {
    work.run_once(Duration::from_secs(30), copy)
}

/// Asks until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < deadline, "never came to be: {what}");
    }
}

/// Lets go what is held, once so many requests were struck: one that comes later would be held for
/// good.
fn release(broker: &RunningBroker, struck: usize) {
    until("the fault strikes", || broker.faults().strikes() >= struck);
    broker.faults().release();
}

/// Runs until something is committed.
fn run_first(work: &mut ConsumeProcessProduce) {
    until("a commit", || matches!(run(work), Ok(Processed::Committed(_))));
}

/// Runs until so many records are committed.
fn run_through(work: &mut ConsumeProcessProduce, mut records_left: usize) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while records_left > 0 {
        assert!(Instant::now() < deadline, "{records_left} records are never committed");
        match run(work) {
            Ok(Processed::Committed(records)) => records_left -= records,
            Ok(Processed::Nothing | Processed::Aborted(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// What a reader of committed records finds in the output.
fn output(broker: &RunningBroker) -> Vec<usize> {
    let consumer = Consumer::new(reader(broker, &[])).unwrap();
    let everything = Consumer::new(reader(broker, &[("isolation.level", "read_uncommitted")]));
    let (everything, at) = (everything.unwrap(), [partition(OUTPUT)]);
    let deadline = Instant::now() + Duration::from_secs(120);
    let end = loop {
        let end = consumer.end_offsets(&at).unwrap();
        if end == everything.end_offsets(&at).unwrap() {
            break end[0];
        }
        assert!(Instant::now() < deadline, "a transaction hangs");
    };
    consumer.assign(&[(at[0].clone(), Position::Beginning)]);
    let mut values = Vec::new();
    while consumer.position(&at[0]).is_none_or(|position| position < end) {
        assert!(Instant::now() < deadline, "the end is not reached");
        for record in consumer.poll(Duration::from_millis(100)).unwrap() {
            let value = record.value.unwrap_or_default();
            values.push(std::str::from_utf8(&value).unwrap().parse().unwrap());
        }
    }
    values
}

fn all_numbers() -> Vec<usize> {
    (0..NUMBERS).collect()
}

/// Each question that a read-process-write asks, with what may come back instead of its answer.
#[rstest]
fn failures_27_and_29_every_record_comes_out_once_whatever_a_coordinator_answers(
    #[values(
        ApiKey::FindCoordinator,
        ApiKey::InitProducerId,
        ApiKey::TxnOffsetCommit,
        ApiKey::EndTxn,
        ApiKey::OffsetFetch
    )]
    api: ApiKey,
    #[values(
        Fault::AnswerWith(ErrorCode::NotCoordinator),
        Fault::AnswerWith(ErrorCode::CoordinatorNotAvailable),
        Fault::AnswerWith(ErrorCode::CoordinatorLoadInProgress),
        Fault::AnswerWith(ErrorCode::ConcurrentTransactions),
        Fault::DropConnection,
        Fault::DropResponse
    )]
    fault: Fault,
) {
    let concurrent = Fault::AnswerWith(ErrorCode::ConcurrentTransactions);
    if fault == concurrent && matches!(api, ApiKey::FindCoordinator | ApiKey::OffsetFetch) {
        return;
    }
    let broker = broker_with_numbers();
    let mut work = processor(&broker, &[]);
    broker.faults().inject(api, fault, 2);
    run_through(&mut work, 4);
    if api == ApiKey::EndTxn || api == ApiKey::TxnOffsetCommit {
        // Not only the first transaction.
        broker.faults().inject(api, fault, 1);
    }
    run_through(&mut work, NUMBERS - 4);
    assert!(matches!(run(&mut work), Ok(Processed::Nothing)), "more than there was");
    assert!(broker.faults().strikes() >= 2, "the fault never struck");
    assert_eq!(output(&broker), all_numbers());
    let stored = Consumer::new(reader(&broker, &[])).unwrap();
    let stored = stored.committed(GROUP, &[partition(INPUT)]).unwrap();
    assert_eq!(stored[0].as_ref().unwrap().offset, Offset(i64::try_from(NUMBERS).unwrap()));
}

#[test]
fn failures_27_a_commit_of_unknown_outcome_is_the_only_thing_to_ask_for_until_it_is_known() {
    let broker = broker();
    let producer = transactional(&broker, &[("max.block.ms", "2000")]);
    until("a first epoch", || producer.init_transactions().is_ok());
    until("the topic is known", || producer.partitions_for(OUTPUT).is_ok());
    let mut transaction = producer.begin_transaction().unwrap();
    drop(transaction.send(ProducerRecord::to(OUTPUT).value("7")).unwrap());
    producer.flush().unwrap();
    broker.faults().inject(ApiKey::EndTxn, Fault::Hold, 1);
    let error = transaction.commit().unwrap_err();
    assert!(error.is_outcome_unknown() && !error.is_fatal() && !error.must_abort(), "{error}");
    assert_eq!(error.stage, TransactionStage::Asking(TransactionApi::EndTransaction));
    drop(transaction);
    let refused = producer.begin_transaction().unwrap_err();
    let commit = TransactionOperation::Commit;
    let is_pending = matches!(refused.kind, TransactionErrorKind::OtherPending(p) if p == commit);
    assert!(is_pending && refused.is_outcome_unknown(), "{refused}");
    release(&broker, 1);
    let mut transaction = producer.resume_transaction().unwrap();
    until("the commit's outcome", || match transaction.commit() {
        Ok(()) => true,
        Err(error) => {
            assert!(error.is_outcome_unknown(), "{error}");
            false
        }
    });
    assert_eq!(output(&broker), [7]);
    assert!(producer.resume_transaction().is_none());
}

/// A guard made and dropped on the way would have left what goes on.
#[test]
fn to_ask_for_a_transaction_to_resume_changes_nothing_where_there_is_none() {
    let broker = broker();
    let producer = transactional(&broker, &[("max.block.ms", "300")]);
    broker.faults().inject(ApiKey::InitProducerId, Fault::Hold, 1);
    assert!(producer.init_transactions().is_err());
    assert!(producer.resume_transaction().is_none());
    release(&broker, 1);
    until("a first epoch", || match producer.init_transactions() {
        Ok(()) => true,
        Err(error) => {
            assert!(matches!(error.kind, TransactionErrorKind::TimedOut), "{error}");
            assert!(producer.resume_transaction().is_none());
            false
        }
    });
    producer.begin_transaction().unwrap().abort().unwrap();
}

#[test]
fn failures_27_a_run_of_unknown_outcome_is_heard_of_before_the_next_reads_on() {
    let broker = broker_with_numbers();
    let mut work = processor(&broker, &[("max.block.ms", "4000")]);
    run_first(&mut work);
    let late = Fault::DelayResponse(Duration::from_millis(8000));
    for (struck, fault) in [Fault::Hold, late].into_iter().enumerate() {
        broker.faults().inject(ApiKey::EndTxn, fault, 1);
        match run_some(&mut work) {
            Err(ProcessError::Transaction(error)) => {
                assert!(error.is_outcome_unknown(), "{error}");
            }
            outcome => panic!("{outcome:?}"),
        }
        release(&broker, struck + 1);
    }
    let deadline = Instant::now() + Duration::from_secs(120);
    while output(&broker).len() < NUMBERS {
        assert!(Instant::now() < deadline);
        match run(&mut work) {
            Ok(_) => {}
            Err(ProcessError::Transaction(error)) if error.is_outcome_unknown() => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(output(&broker), all_numbers());
}

#[test]
fn an_abort_that_is_not_heard_of_in_time_is_waited_for_by_the_next_run() {
    let broker = broker_with_numbers();
    let mut work = processor(&broker, &[("max.block.ms", "4000")]);
    run_first(&mut work);
    broker.faults().inject(ApiKey::EndTxn, Fault::Hold, 1);
    let failed = work.run_once(Duration::from_secs(30), |_, output| {
        // What has reached the broker has to be ended there.
        let sent = output.send(ProducerRecord::to(OUTPUT).value("99"));
        sent.and_then(DeliveryFuture::wait).map_err(|error| error.to_string())?;
        Err("on purpose".to_owned())
    });
    assert!(matches!(failed, Err(ProcessError::Function(_))), "{failed:?}");
    match run_some(&mut work) {
        Err(ProcessError::Transaction(error)) => {
            let abort = TransactionOperation::Abort;
            assert!(error.operation == abort && error.is_outcome_unknown(), "{error}");
        }
        outcome => panic!("the abort is held: {outcome:?}"),
    }
    release(&broker, 1);
    let deadline = Instant::now() + Duration::from_secs(120);
    while output(&broker).len() < NUMBERS {
        assert!(Instant::now() < deadline);
        let _ = run(&mut work);
    }
    assert_eq!(output(&broker), all_numbers());
}

#[test]
fn offsets_that_an_open_transaction_holds_are_waited_for_and_a_refusal_is_told_at_once() {
    let broker = broker();
    let producer = transactional(&broker, &[]);
    producer.init_transactions().unwrap();
    producer.partitions_for(INPUT).unwrap();
    let mut transaction = producer.begin_transaction().unwrap();
    let at = [partition(INPUT)];
    let offsets = [(at[0].clone(), CommittedOffset::new(Offset(5)))];
    transaction.send_offsets(&offsets, &ConsumerGroupMetadata::new(GROUP)).unwrap();
    let consumer = Consumer::new(reader(&broker, &[("default.api.timeout.ms", "2000")])).unwrap();
    let refused = |code: ErrorCode| match consumer.committed(GROUP, &at) {
        Err(ConsumerError::GroupRefused { code: told, .. }) => assert_eq!(told, code),
        other => panic!("{other:?}"),
    };
    refused(ErrorCode::UnstableOffsetCommit);
    transaction.commit().unwrap();
    let mut stored = None;
    until("the marker is written", || {
        stored = consumer.committed(GROUP, &at).ok();
        stored.is_some()
    });
    let stored = stored.unwrap();
    assert_eq!(stored[0].as_ref().map(|stored| stored.offset), Some(Offset(5)));
    let denied = ErrorCode::GroupAuthorizationFailed;
    broker.faults().inject(ApiKey::OffsetFetch, Fault::AnswerWith(denied), 1);
    refused(denied);
    assert_eq!(broker.faults().strikes(), 1, "it was asked once");
}
