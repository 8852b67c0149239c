//! What our producer says of records and transactions that fail, and what is in the log then.

use std::time::{Duration, Instant};

use streamledger::{
    BrokerId, DeliveryFuture, ErrorCode, NewTopic, ProduceError, Producer, ProducerRecord, Stage,
    TimestampMs, TransactionErrorKind, WaitedFor,
};

use super::lab::{LIMIT, Trial};
use super::our_client;
use super::our_transactions::{begin, committed, insist, is_passing, transactional, write};
use crate::failure::{Failure, Outcome, ensure};
use crate::process;

/// Long enough for an answer of a busy machine, short enough to wait for it twice.
const DELIVERY: Duration = Duration::from_secs(4);

/// A record that is too large, one that the broker refuses, and one to a broker that stands still:
/// each error says how far the record came, what was heard, what was waited for, whether it may be
/// in the log, and what to do. The log says the same.
pub(crate) fn say_what_happened(trial: &Trial) -> Outcome<String> {
    let mut broker = trial.own_broker(&[])?;
    let bootstrap = broker.bootstrap();
    let (topic, strict) = (trial.topic("lines"), trial.topic("strict"));
    let admin = our_client::admin(&bootstrap)?;
    let strict_topic = NewTopic::new(strict.as_str(), 1, 1);
    let strict_topic = strict_topic.config("message.timestamp.after.max.ms", "1000");
    let created = admin.create_topics(&[NewTopic::new(topic.as_str(), 1, 1), strict_topic])?;
    for (_, result) in created {
        result?;
    }
    let settings = [
        format!("delivery.timeout.ms={}", DELIVERY.as_millis()),
        "request.timeout.ms=1000".to_owned(),
        "linger.ms=0".to_owned(),
        "max.request.size=10000".to_owned(),
    ];
    let producer = our_client::producer(&bootstrap, &settings)?;
    // What is to be answered may take its time on a busy machine.
    let patient = our_client::producer(&bootstrap, &["linger.ms=0".to_owned()])?;

    let large = failure(producer.send(ProducerRecord::to(&topic).value(&[b'x'; 20_000])))?;
    let said = (large.stage(), large.attempts(), large.last_broker_error(), large.waited_for());
    ensure!(said == (Stage::Accumulated, 0, None, None), "{said:?} of {large}");
    says(&large, false, "max.request.size")?;

    let record = ProducerRecord::to(&strict).value("of the year 2100");
    let refused = failure(patient.send(record.timestamp(TimestampMs(4_102_444_800_000))))?;
    let said = (refused.last_broker_error(), refused.attempts(), refused.waited_for());
    let answer = Some(WaitedFor::Answer(BrokerId(1)));
    ensure!(said == (Some(ErrorCode::InvalidTimestamp), 1, answer), "{said:?} of {refused}");
    says(&refused, false, "not in the log")?;

    // The connection is there, and the id: what is lost now is the answer.
    let before = until_heard(&producer, &bootstrap, &topic)?;
    let unheard = broker.while_it_stands_still(|| {
        failure(producer.send(ProducerRecord::to(&topic).value("unheard")))
    })?;
    ensure!(unheard.stage() == Stage::Sent && unheard.attempts() > 0, "{unheard}");
    let (waited, waited_for) = (unheard.waited(), unheard.waited_for());
    ensure!(waited >= DELIVERY && waited_for.is_some(), "{waited:?} for {waited_for:?}");
    says(&unheard, true, "Check the topic")?;

    patient.send(ProducerRecord::to(&topic).value("after"))?.wait()?;
    our_client::close(&producer)?;
    our_client::close(&patient)?;
    let values = |topic: &str| -> Outcome<Vec<String>> {
        let read = our_client::consume_from(&bootstrap, &[topic.to_owned()])?;
        Ok(read.into_iter().map(|record| text(record.value)).collect())
    };
    let (lines, strict) = (values(&topic)?, values(&strict)?);
    let rest = lines.strip_prefix(&*before);
    let once = rest.is_some_and(|rest| rest == ["after"] || rest == ["unheard", "after"]);
    ensure!(once && strict.is_empty(), "in the logs: {lines:?} and {strict:?}");
    broker.stop(Duration::from_secs(20))?;
    let written = if rest.is_some_and(|rest| rest.len() == 2) { "was" } else { "was not" };
    Ok(format!("too large, refused, unheard: the last {written} written, as it might have been"))
}

/// Sends records until one is acknowledged within the producer's short time; which are in the log.
fn until_heard(producer: &Producer, bootstrap: &str, topic: &str) -> Outcome<Vec<String>> {
    let deadline = Instant::now() + LIMIT;
    for number in 0.. {
        let value = format!("before {number}");
        match producer.send(ProducerRecord::to(topic).value(&*value))?.wait() {
            Ok(_) => break,
            Err(error) => ensure!(Instant::now() < deadline, "nothing is heard: {error}"),
        }
    }
    let read = our_client::consume_from(bootstrap, &[topic.to_owned()])?;
    Ok(read.into_iter().map(|record| text(record.value)).collect())
}

/// A commit that nobody answers is asked for again and done once; a transaction with a record that
/// the broker refuses is aborted, and the next goes on.
pub(crate) fn leave_transactions_whole(trial: &Trial) -> Outcome<String> {
    let mut broker = trial.own_broker(&[])?;
    let (bootstrap, topic) = (broker.bootstrap(), trial.topic("lines"));
    let mut create = trial.tools().go()?;
    create.args(["create", &bootstrap, "3", &topic, "max.message.bytes=4000"]);
    process::run_ok(&mut create, b"", LIMIT)?;
    let settings = ["max.block.ms=2000", "request.timeout.ms=1000", "delivery.timeout.ms=60000"];
    let producer = transactional(&bootstrap, trial.name(), &settings)?;
    // A coordinator that has just started is still reading its log.
    insist(|| producer.init_transactions())?;

    let mut transaction = begin(&producer)?;
    until_known(&producer, &topic)?;
    write(&transaction, &topic, "unheard")?;
    producer.flush()?;
    let error = broker.while_it_stands_still(|| Ok(transaction.commit().err()))?;
    let error = error.ok_or_else(|| Failure::new("a broker that stands still said yes"))?;
    let is_late = matches!(error.kind, TransactionErrorKind::TimedOut);
    ensure!(is_late && error.is_outcome_unknown() && !error.must_abort(), "{error}");
    let begun = producer.begin_transaction().err();
    ensure!(begun.is_some(), "a transaction begins beside one of unknown outcome");
    insist(|| transaction.commit())?;
    drop(transaction);

    let mut transaction = begin(&producer)?;
    write(&transaction, &topic, "lost")?;
    let large = ProducerRecord::to(&topic).value(&[b'x'; 8000]);
    let refused = failure(transaction.send(large))?;
    says(&refused, false, "max.message.bytes")?;
    let error = transaction.commit().err();
    let error = error.ok_or_else(|| Failure::new("committed without one of its records"))?;
    ensure!(error.must_abort() && !error.is_fatal(), "{error}");
    // If its answer is late, the next begin hears it.
    transaction.abort().or_else(|error| if is_passing(&error) { Ok(()) } else { Err(error) })?;

    let mut transaction = begin(&producer)?;
    write(&transaction, &topic, "next")?;
    insist(|| transaction.commit())?;
    drop(transaction);
    our_client::close(&producer)?;
    for (partition, values) in committed(&bootstrap, &topic)? {
        ensure!(values == ["unheard", "next"], "partition {partition}: {values:?}");
    }
    broker.stop(Duration::from_secs(20))?;
    Ok("a commit unheard, then done once; one record refused, its transaction aborted".to_owned())
}

/// Waits until the producer knows where to send to: no send waits for that later.
fn until_known(producer: &Producer, topic: &str) -> Outcome<()> {
    let deadline = Instant::now() + LIMIT;
    while let Err(error) = producer.partitions_for(topic) {
        ensure!(Instant::now() < deadline, "nothing is known of {topic} in 120 s: {error}");
    }
    Ok(())
}

/// The error of a record that must not have been acknowledged.
fn failure(sent: Result<DeliveryFuture, ProduceError>) -> Outcome<ProduceError> {
    match sent.and_then(DeliveryFuture::wait) {
        Ok(metadata) => Err(Failure::new(format!("acknowledged: {metadata:?}"))),
        Err(error) => Ok(error),
    }
}

/// Whether it may be in the log, and what is to be done about it.
fn says(error: &ProduceError, possibly_written: bool, to_do: &str) -> Outcome<()> {
    let action = error.next_action();
    ensure!(error.possibly_written() == possibly_written, "{error}");
    ensure!(action.contains(to_do), "what to do about {error}: {action}");
    Ok(())
}

fn text(value: Option<Vec<u8>>) -> String {
    String::from_utf8_lossy(&value.unwrap_or_default()).into_owned()
}
