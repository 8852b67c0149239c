//! Our consumer as a member of groups: alone, among its own kind, and beside Java's.

mod admin;
mod assignors;
mod member;
mod racks;

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use streamledger::{GroupId, NewTopic, PartitionIndex, Producer, ProducerRecord};

use self::member::{JavaMember, Member, OurMember, Seen, Wanted, until};
use super::lab::Trial;
use super::our_client;
use crate::failure::{Outcome, ensure};

pub(crate) use self::admin::{administers, works_in_parallel};
pub(crate) use self::assignors::assigns_as_java;
pub(crate) use self::racks::share_by_racks;

const PARTITIONS: i32 = 6;
/// Records of each partition in one helping.
const EACH: i64 = 20;

/// The ways in which a group shares out its partitions.
fn settings(trial: &Trial, protocol: &str) -> Vec<String> {
    let mut settings = vec![format!("group.id={}", trial.topic(protocol))];
    if protocol == "consumer" {
        settings.push("group.protocol=consumer".to_owned());
    } else {
        let class = match protocol {
            "roundrobin" => "RoundRobinAssignor",
            "sticky" => "StickyAssignor",
            "cooperative-sticky" => "CooperativeStickyAssignor",
            _ => "RangeAssignor",
        };
        settings.push(format!(
            "partition.assignment.strategy=org.apache.kafka.clients.consumer.{class}"
        ));
        settings.push("heartbeat.interval.ms=200".to_owned());
        // A machine may stand still for seconds.
        settings.push("session.timeout.ms=30000".to_owned());
    }
    settings
}

/// A topic and what is written to it.
struct Written {
    topic: String,
    producer: Producer,
    each: i64,
}

impl Written {
    fn new(trial: &Trial, name: &str) -> Outcome<Self> {
        let topic = trial.topic(name);
        trial.create_topics(std::slice::from_ref(&topic), PARTITIONS, &[])?;
        let producer = our_client::producer(&trial.bootstrap()?, &[])?;
        Ok(Self { topic, producer, each: 0 })
    }

    /// Writes some more to each partition.
    fn more(&mut self) -> Outcome<()> {
        for partition in 0..PARTITIONS {
            for _ in 0..EACH {
                let record = ProducerRecord::to(&self.topic).partition(PartitionIndex(partition));
                drop(self.producer.send(record.value("x"))?);
            }
        }
        self.producer.flush()?;
        self.each += EACH;
        Ok(())
    }

    fn wanted(&self) -> Wanted {
        Wanted::Topic(self.topic.clone())
    }

    /// Waits until all that was written was read by these, and a part before.
    fn until_read(&self, before: usize, members: &[&dyn Member]) -> Outcome<()> {
        let all = usize::try_from(self.each * i64::from(PARTITIONS))?;
        until("all records are read", || {
            let read: usize = members.iter().map(|member| member.seen().records.len()).sum();
            before + read >= all
        })
    }

    /// Each record was read once, and each partition's in order by each member.
    fn read_once(&self, all: &[&Seen]) -> Outcome<usize> {
        let mut records: BTreeSet<(i32, i64)> = BTreeSet::new();
        for seen in all {
            for partition in 0..PARTITIONS {
                let own = seen.records.iter().filter(|(of, _)| *of == partition);
                let offsets: Vec<i64> = own.map(|(_, offset)| *offset).collect();
                ensure!(offsets.is_sorted(), "partition {partition} out of order: {offsets:?}");
            }
            for record in &seen.records {
                ensure!(records.insert(*record), "{record:?} was read twice");
            }
        }
        let expected = usize::try_from(self.each * i64::from(PARTITIONS))?;
        ensure!(records.len() == expected, "{} of {expected} records were read", records.len());
        Ok(expected)
    }
}

fn has_all(member: &dyn Member) -> bool {
    member.seen().assigned.len() == PARTITIONS as usize
}

fn share(members: [&dyn Member; 2]) -> bool {
    let [one, other] = members.map(|member| member.seen().assigned.clone());
    one.len() + other.len() == PARTITIONS as usize && one.is_disjoint(&other) && one.len() == 3
}

/// One member, then two, then one again, then another later: each record is read once.
fn comes_and_goes(trial: &Trial, protocol: &str) -> Outcome<String> {
    let (bootstrap, settings) = (trial.bootstrap()?, settings(trial, protocol));
    let mut written = Written::new(trial, protocol)?;
    written.more()?;
    let first = OurMember::join(&bootstrap, &settings, &written.wanted())?;
    until("the first has all", || has_all(&first) || first.has_ended())?;
    written.until_read(0, &[&first])?;
    let second = OurMember::join(&bootstrap, &settings, &written.wanted())?;
    until("both have half", || share([&first, &second]))?;
    written.more()?;
    written.until_read(0, &[&first, &second])?;
    let first = first.close()?;
    until("the second has all", || has_all(&second))?;
    written.more()?;
    written.until_read(first.records.len(), &[&second])?;
    let second = second.close()?;
    written.more()?;
    let third = OurMember::join(&bootstrap, &settings, &written.wanted())?;
    written.until_read(first.records.len() + second.records.len(), &[&third])?;
    let third = third.close()?;
    ensure!(first.losses + second.losses + third.losses == 0, "partitions were lost");
    let read = written.read_once(&[&first, &second, &third])?;
    Ok(format!("{read} records read once by three members that come and go"))
}

pub(crate) fn by_range(trial: &Trial) -> Outcome<String> {
    comes_and_goes(trial, "range")
}

pub(crate) fn by_round_robin(trial: &Trial) -> Outcome<String> {
    comes_and_goes(trial, "roundrobin")
}

pub(crate) fn by_sticky(trial: &Trial) -> Outcome<String> {
    comes_and_goes(trial, "sticky")
}

pub(crate) fn by_cooperative_sticky(trial: &Trial) -> Outcome<String> {
    comes_and_goes(trial, "cooperative-sticky")
}

pub(crate) fn by_next_generation(trial: &Trial) -> Outcome<String> {
    comes_and_goes(trial, "consumer")
}

/// Ours and Java's in one group, either first: so that each leads once.
fn beside_java(trial: &Trial, protocol: &str) -> Outcome<String> {
    let (bootstrap, settings) = (trial.bootstrap()?, settings(trial, protocol));
    let mut written = Written::new(trial, protocol)?;
    written.more()?;
    let ours = OurMember::join(&bootstrap, &settings, &written.wanted())?;
    until("ours has all", || has_all(&ours))?;
    let java = JavaMember::join(trial, &trial.bootstrap()?, &settings, &written.topic)?;
    until("ours led and both have half", || share([&ours, &java]))?;
    written.more()?;
    written.until_read(0, &[&ours, &java])?;
    let first = ours.close()?;
    until("Java's has all", || has_all(&java))?;
    let again = OurMember::join(&bootstrap, &settings, &written.wanted())?;
    until("Java's led and both have half", || share([&again, &java]))?;
    written.more()?;
    written.until_read(first.records.len(), &[&again, &java])?;
    let (java, again) = (java.close()?, again.close()?);
    let read = written.read_once(&[&first, &java, &again])?;
    let theirs = java.records.len();
    Ok(format!("{read} records read once, {theirs} of them by Java; each led once"))
}

pub(crate) fn beside_java_by_range(trial: &Trial) -> Outcome<String> {
    beside_java(trial, "range")
}

pub(crate) fn beside_java_by_sticky(trial: &Trial) -> Outcome<String> {
    beside_java(trial, "sticky")
}

pub(crate) fn beside_java_by_cooperative_sticky(trial: &Trial) -> Outcome<String> {
    beside_java(trial, "cooperative-sticky")
}

pub(crate) fn beside_java_by_next_generation(trial: &Trial) -> Outcome<String> {
    beside_java(trial, "consumer")
}

/// A static member goes and comes back: nobody else notices.
pub(crate) fn keeps_static_members(trial: &Trial) -> Outcome<String> {
    let bootstrap = trial.bootstrap()?;
    let named = |name: &str| {
        let mut settings = settings(trial, "range");
        settings.push(format!("group.instance.id={name}"));
        settings
    };
    let mut written = Written::new(trial, "static")?;
    written.more()?;
    let first = OurMember::join(&bootstrap, &named("one"), &written.wanted())?;
    let second = OurMember::join(&bootstrap, &named("two"), &written.wanted())?;
    until("both have half", || share([&first, &second]))?;
    written.until_read(0, &[&first, &second])?;
    let before = second.seen().assignments;
    let had = first.seen().assigned.clone();
    let gone = first.close()?;
    thread::sleep(Duration::from_secs(1));
    let back = OurMember::join(&bootstrap, &named("one"), &written.wanted())?;
    until("it has what it had", || back.seen().assigned == had)?;
    written.more()?;
    written.until_read(gone.records.len(), &[&back, &second])?;
    let after = second.seen().assignments;
    ensure!(after == before, "the other was rebalanced {} times", after - before);
    let (back, second) = (back.close()?, second.close()?);
    let read = written.read_once(&[&gone, &back, &second])?;
    Ok(format!("{read} records read once, no rebalance as a static member came back"))
}

/// A member that isn't polled is put out, its partitions go to the other; it comes back later.
pub(crate) fn puts_out_who_does_not_poll(trial: &Trial) -> Outcome<String> {
    let bootstrap = trial.bootstrap()?;
    let settings = settings(trial, "range");
    let impatient = [&settings[..], &["max.poll.interval.ms=3000".to_owned()]].concat();
    let mut written = Written::new(trial, "idle")?;
    written.more()?;
    let first = OurMember::join(&bootstrap, &impatient, &written.wanted())?;
    let second = OurMember::join(&bootstrap, &settings, &written.wanted())?;
    until("both have half", || share([&first, &second]))?;
    written.until_read(0, &[&first, &second])?;
    first.rest.store(true, std::sync::atomic::Ordering::Relaxed);
    until("the other has all", || has_all(&second))?;
    first.rest.store(false, std::sync::atomic::Ordering::Relaxed);
    until("both have half again", || share([&first, &second]))?;
    let (first, second) = (first.close()?, second.close()?);
    ensure!(first.losses == 1, "{} times lost", first.losses);
    ensure!(second.losses == 0, "the other lost partitions");
    Ok("put out after max.poll.interval.ms, its partitions lost; back in with the next poll".into())
}

/// By a pattern, ours and the broker's: topics that appear later are found too.
pub(crate) fn finds_topics_by_patterns(trial: &Trial) -> Outcome<String> {
    let bootstrap = trial.bootstrap()?;
    for (protocol, is_server) in [("range", false), ("consumer", true)] {
        let pattern = format!("{}-p{}-.*", trial.name(), u8::from(is_server));
        let wanted =
            if is_server { Wanted::ServerPattern(pattern) } else { Wanted::Pattern(pattern) };
        let mut settings = settings(trial, protocol);
        settings.push("metadata.max.age.ms=500".to_owned());
        let mut one = Written::new(trial, &format!("p{}-one", u8::from(is_server)))?;
        one.more()?;
        let member = OurMember::join(&bootstrap, &settings, &wanted)?;
        one.until_read(0, &[&member])?;
        let before = member.seen().records.len();
        if !is_server {
            // The broker looks for new topics once in ten minutes.
            let mut two = Written::new(trial, &format!("p{}-two", u8::from(is_server)))?;
            two.more()?;
            two.until_read(0, &[&member])?;
            until("the second topic's", || member.seen().records.len() == 2 * before)?;
        }
        member.close()?;
    }
    Ok("topics found by a pattern here, also later ones, and by the broker's".to_owned())
}

/// The broker dies and comes back: the group goes on from what was committed.
pub(crate) fn survives_the_coordinator(trial: &Trial) -> Outcome<String> {
    let own = ["num.partitions=6", "group.initial.rebalance.delay.ms=0"];
    let mut broker = trial.own_broker(&[&own, trial.broker.soon_back()].concat())?;
    let bootstrap = broker.bootstrap();
    let mut settings = settings(trial, "cooperative-sticky");
    settings.push("auto.commit.interval.ms=100".to_owned());
    let topic = trial.topic("numbers");
    let admin = our_client::admin(&bootstrap)?;
    admin.create_topics(&[NewTopic::new(topic.as_str(), PARTITIONS, 1)])?.only()?;
    let producer = our_client::producer(&bootstrap, &[])?;
    let mut written = Written { topic, producer, each: 0 };
    written.more()?;
    let first = OurMember::join(&bootstrap, &settings, &written.wanted())?;
    let second = OurMember::join(&bootstrap, &settings, &written.wanted())?;
    until("both have half", || share([&first, &second]))?;
    written.until_read(0, &[&first, &second])?;
    let group = [GroupId::from(trial.topic("cooperative-sticky"))];
    until("all that was read is committed", || {
        let stored = admin.list_group_offsets(&group).and_then(|results| results.only());
        stored.is_ok_and(|stored| {
            stored.len() == PARTITIONS as usize && stored.iter().all(|(_, at)| at.offset.0 == EACH)
        })
    })?;
    broker.kill();
    thread::sleep(Duration::from_secs(1));
    broker.start_again(trial.tools())?;
    written.more()?;
    written.until_read(0, &[&first, &second])?;
    let (first, second) = (first.close()?, second.close()?);
    let read = written.read_once(&[&first, &second])?;
    broker.stop(Duration::from_secs(30))?;
    Ok(format!("{read} records read once, the coordinator killed in between"))
}
