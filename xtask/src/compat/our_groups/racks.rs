//! Members in racks (KIP-881) of three brokers in three racks, each partition in one of them: each
//! member gets what is near, whoever assigns, and the group is told where its members are.

use std::collections::{BTreeMap, BTreeSet};

use streamledger::admin::Admin;
use streamledger::{BrokerId, GroupId, NewTopic, TopicName};

use super::super::lab::Trial;
use super::super::our_client;
use super::member::{JavaMember, Member, OurMember, Wanted, until};
use super::{PARTITIONS, settings};
use crate::failure::{Outcome, ensure};

/// Three of ours share by the cooperative assignor; then two of ours and Java's, which came first
/// and so assigns; then one by the next generation, which says its rack in its heartbeat.
pub(crate) fn share_by_racks(trial: &Trial, bootstrap: &str) -> Outcome<String> {
    let admin = our_client::admin(bootstrap)?;
    let topic = TopicName::new(trial.topic("racks"));
    // The cluster would draw lots, and a rack may then have less than a member's share.
    let replicas = (0..PARTITIONS).map(|index| vec![BrokerId(1 + index % 3)]);
    admin.create_topics(&[NewTopic::with_replicas(topic.clone(), replicas)])?.only()?;
    // So the brokers of the cluster are set.
    let rack = |place: i32| (format!("rack-{}", 1 + place), BTreeSet::from([place, place + 3]));
    let near: BTreeMap<String, BTreeSet<i32>> = (0..3).map(rack).collect();
    let ours = |protocol: &str, rack: &str| {
        let mut settings = settings(trial, protocol);
        settings.push(format!("client.rack={rack}"));
        OurMember::join(bootstrap, &settings, &Wanted::Topic(topic.as_str().to_owned()))
    };
    let racks: Vec<&String> = near.keys().collect();

    let all = racks.iter().map(|rack| ours("cooperative-sticky", rack));
    let all: Vec<OurMember> = all.collect::<Outcome<_>>()?;
    let is_near = |place: usize, member: &dyn Member| member.seen().assigned == near[racks[place]];
    until("each of ours has what is near", || (0..3).all(|place| is_near(place, &all[place])))?;
    told(&admin, &trial.topic("cooperative-sticky"), &racks)?;
    all.into_iter().try_for_each(|member| member.close().map(drop))?;

    let mut of_java = settings(trial, "range");
    of_java.push(format!("client.rack={}", racks[2]));
    let java = JavaMember::join(trial, bootstrap, &of_java, topic.as_str())?;
    until("Java's has all", || java.seen().assigned.len() == PARTITIONS as usize)?;
    let (one, two) = (ours("range", racks[0])?, ours("range", racks[1])?);
    until("each has what is near beside Java's", || {
        is_near(0, &one) && is_near(1, &two) && is_near(2, &java)
    })?;
    one.close()?;
    two.close()?;
    java.close()?;

    let member = ours("consumer", racks[1])?;
    until("it has all", || member.seen().assigned.len() == PARTITIONS as usize)?;
    told(&admin, &trial.topic("consumer"), &racks[1..2])?;
    member.close()?;
    Ok("three members in three racks share what is near, by ours and by Java's assignor".to_owned())
}

/// The coordinator has these racks of the group's members.
fn told(admin: &Admin, group: &str, racks: &[&String]) -> Outcome<()> {
    let described = admin.describe_groups(&[GroupId::from(group)])?.only()?;
    let of_members: BTreeSet<_> = described.members.iter().map(|one| one.rack.as_ref()).collect();
    let expected: BTreeSet<_> = racks.iter().map(|rack| Some(*rack)).collect();
    ensure!(of_members == expected, "the members of {group} are in {of_members:?}");
    Ok(())
}
