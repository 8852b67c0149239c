//! Groups through our admin client: what it says is what Kafka's own tool says.

use std::time::Duration;

use streamledger::admin::{Admin, GroupOffsets, GroupPartitions};
use streamledger::{CommittedOffset, ErrorCode, GroupId, Offset, PartitionIndex, TopicPartition};

use super::super::lab::Trial;
use super::super::our_client;
use super::member::{OurMember, until};
use super::{EACH, Written, has_all, settings};
use crate::failure::{Failure, Outcome, ensure};

pub(crate) fn administers(trial: &Trial) -> Outcome<String> {
    let admin = our_client::admin(&trial.bootstrap()?)?;
    for protocol in ["range", "consumer"] {
        let settings = settings(trial, protocol);
        let group = GroupId::from(trial.topic(protocol));
        let mut written = Written::new(trial, protocol)?;
        written.more()?;
        let member = OurMember::join(&trial.bootstrap()?, &settings, &written.wanted())?;
        until("it has all", || has_all(&member))?;
        written.until_read(0, &[&member])?;

        let listed = admin.list_groups()?;
        let own = listed.iter().find(|listing| listing.group_id == group);
        let own = own.ok_or_else(|| Failure::new("the group is not listed"))?;
        let kind = if protocol == "consumer" { "consumer" } else { "classic" };
        ensure!(own.group_type.as_deref() == Some(kind), "listed as {own:?}");
        // A next-generation member has its partitions before its coordinator has heard so.
        until_it_is(&admin, &group, "Stable")?;
        let described = admin.describe_groups(std::slice::from_ref(&group))?.only()?;
        ensure!(described.group_type == kind, "{described:?}");
        ensure!(described.members.len() == 1, "{} members", described.members.len());
        ensure!(described.members[0].partitions.len() == 6, "{described:?}");
        let taken = admin.delete_groups(std::slice::from_ref(&group))?.only();
        let code = taken.err().and_then(|error| error.code());
        ensure!(code == Some(ErrorCode::NonEmptyGroup), "deleted with a member: {code:?}");
        member.close()?;

        let stored = admin.list_group_offsets(std::slice::from_ref(&group))?.only()?;
        ensure!(stored.len() == 6, "{} partitions are stored", stored.len());
        ensure!(stored.iter().all(|(_, stored)| stored.offset.0 == EACH), "{stored:?}");
        // A next-generation member that left may count as one for a moment more.
        until_it_is(&admin, &group, "Empty")?;
        let at = |index| TopicPartition::new(written.topic.as_str(), PartitionIndex(index));
        let offsets = vec![(at(2), CommittedOffset::new(Offset(7)))];
        admin.alter_group_offsets(&[GroupOffsets { group_id: group.clone(), offsets }])?.only()?;
        let partitions = vec![at(3)];
        let gone = GroupPartitions { group_id: group.clone(), partitions };
        admin.delete_group_offsets(&[gone])?.only()?;
        let arguments = ["--describe", "--group", group.as_str()];
        let shown = trial.run_kafka_tool("consumer.group.ConsumerGroupCommand", &arguments, "")?;
        let shown = shown.text();
        let row = |partition: &str| {
            shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|words| {
                words.get(1) == Some(&written.topic.as_str()) && words.get(2) == Some(&partition)
            })
        };
        let two = row("2").and_then(|words| words.get(3).map(|word| (*word).to_owned()));
        ensure!(two.as_deref() == Some("7"), "kafka-consumer-groups says: {shown}");
        ensure!(row("3").is_none(), "partition 3 is still there: {shown}");
        admin.delete_groups(std::slice::from_ref(&group))?.only()?;
        let left = admin.list_groups()?.iter().any(|listing| listing.group_id == group);
        ensure!(!left, "the group is still listed");
        let absent = admin.describe_groups(&[group])?.only().err().and_then(|e| e.code());
        ensure!(absent == Some(ErrorCode::GroupIdNotFound), "a group that is gone: {absent:?}");
    }
    Ok("classic and next generation listed, described, altered, forgotten and deleted, as \
        kafka-consumer-groups sees it"
        .to_owned())
}

fn until_it_is(admin: &Admin, group: &GroupId, state: &str) -> Outcome<()> {
    until(&format!("the group is {state}"), || {
        let described = admin.describe_groups(std::slice::from_ref(group));
        described.and_then(|groups| groups.only()).is_ok_and(|group| group.state == state)
    })
}

/// Many workers on one member, which is closed half-way; another goes on. Of each key in order by
/// each of the two, nothing left out; what the first did behind an undone record comes again.
pub(crate) fn works_in_parallel(trial: &Trial) -> Outcome<String> {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Mutex;
    use streamledger::consumer::ParallelConsumer;
    use streamledger::{Consumer, ConsumerConfig, ProducerRecord};

    /// The numbers that were worked on in each part, key by key.
    type Done = BTreeMap<(usize, Vec<u8>), Vec<usize>>;

    const KEYS: usize = 40;
    const RECORDS: usize = 4000;
    let (bootstrap, topic) = (trial.bootstrap()?, trial.topic("keyed"));
    trial.create_topics(std::slice::from_ref(&topic), 6, &[])?;
    let producer = our_client::producer(&bootstrap, &[])?;
    for number in 0..RECORDS {
        let (key, value) = (format!("k{}", number % KEYS), number.to_string());
        drop(producer.send(ProducerRecord::to(&topic).key(&key).value(&value))?);
    }
    our_client::close(&producer)?;
    let done: Mutex<Done> = Mutex::default();
    for (part, until_count) in [(0, RECORDS / 2), (1, RECORDS)] {
        let properties = streamledger::Properties::new()
            .with("bootstrap.servers", &bootstrap)
            .with("group.id", trial.topic("workers"))
            .with("auto.offset.reset", "earliest")
            .with("enable.auto.commit", "false");
        let consumer = Consumer::new(ConsumerConfig::from_properties(&properties)?)?;
        consumer.subscribe([&topic])?;
        let parallel = ParallelConsumer::new(consumer, 16).records_max(200);
        let stop = parallel.stop_handle();
        let outcome = parallel.run(|record| {
            let number = std::str::from_utf8(record.value.as_deref().unwrap_or_default())?;
            let number: usize = number.parse()?;
            if number % 97 == part {
                std::thread::sleep(Duration::from_millis(2));
            }
            let key = (part, record.key.as_deref().unwrap_or_default().to_vec());
            let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            done.entry(key).or_default().push(number);
            let all: BTreeSet<usize> = done.values().flatten().copied().collect();
            if all.len() >= until_count {
                stop.stop();
            }
            Ok::<(), Failure>(())
        });
        outcome.map_err(|error| Failure::new(error.to_string()))?;
        parallel.consumer().close(Duration::from_secs(20))?;
    }
    let done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    for (key, numbers) in &done {
        let is_once = numbers.windows(2).all(|pair| pair[0] < pair[1]);
        ensure!(is_once, "{key:?} out of order: {numbers:?}");
    }
    let all = done.values().flatten().collect::<BTreeSet<_>>().len();
    ensure!(all == RECORDS, "{all} of {RECORDS} records were worked on");
    Ok(format!("{RECORDS} records of {KEYS} keys by 16 workers, in order, over two members"))
}
