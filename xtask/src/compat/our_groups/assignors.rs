//! Our assignors beside Java's, on random groups: the same bytes, the same result.

use std::collections::{BTreeMap, BTreeSet};

use streamledger::consumer::{
    Assignor, GroupMember, MemberAssignment, MemberSubscription, PartitionRacks,
};
use streamledger::{PartitionIndex, TopicName, TopicPartition};

use super::super::lab::{LIMIT, Trial};
use super::super::workload::Noise;
use crate::failure::{Failure, Outcome, ensure};
use crate::process;

const GROUPS: usize = 1500;
const RACKS: [&str; 3] = ["r1", "r2", "r3"];

/// A random group, and what its members had before.
struct Case {
    assignor: Assignor,
    topics: BTreeMap<TopicName, i32>,
    racks: PartitionRacks,
    members: BTreeMap<String, GroupMember>,
    /// Nobody has anything, or ties can't matter: the result must be the same.
    is_exact: bool,
}

pub(crate) fn assigns_as_java(trial: &Trial) -> Outcome<String> {
    let mut noise = Noise::seeded(11);
    let cases: Vec<Case> = (0..GROUPS).map(|number| case(&mut noise, number)).collect();
    let lines: Vec<String> = cases.iter().map(line).collect();
    let mut java = trial.tools().java("MemberPeer")?;
    let input = lines.join("\n") + "\n";
    let said = process::run_ok(java.args(["assign", "-"]), input.as_bytes(), LIMIT)?.text();
    let answers: Vec<&str> = said.lines().collect();
    ensure!(answers.len() == cases.len(), "{} answers to {} groups", answers.len(), cases.len());
    let (mut exact, mut racked) = (0, 0);
    for ((case, line), answer) in cases.iter().zip(&lines).zip(answers) {
        let assigned = case.assignor.assign(&case.topics, &case.racks, &case.members);
        let mut theirs: BTreeMap<&str, Vec<TopicPartition>> = BTreeMap::new();
        for member in answer.split(';') {
            let parts: Vec<&str> = member.split('=').collect();
            let [id, subscription, assignment] = parts[..] else {
                return Err(Failure::new(format!("not an answer: {answer}")));
            };
            let ours = hex(&case.members[id].subscription.encode());
            ensure!(ours == subscription, "{line}: {id} is {ours}, in Java {subscription}");
            let bytes = unhex(assignment)?;
            theirs.insert(id, MemberAssignment::decode(bytes.clone().into())?.partitions);
            let partitions = theirs[id].clone();
            let again = MemberAssignment { partitions, user_data: None }.encode();
            ensure!(again == bytes, "{line}: the assignment of {id} is {assignment}");
        }
        if case.is_exact {
            exact += 1;
            racked += usize::from(!case.racks.is_empty());
            for (id, own) in &assigned {
                let sorted: BTreeSet<_> = own.iter().collect();
                let java: BTreeSet<_> = theirs[id.as_str()].iter().collect();
                ensure!(sorted == java, "{line}: {id} has {own:?}, in Java {java:?}");
            }
        } else {
            let ours: Vec<usize> = sorted(assigned.values().map(Vec::len));
            let java: Vec<usize> = sorted(theirs.values().map(Vec::len));
            ensure!(ours == java, "{line}: shares of {ours:?}, in Java {java:?}");
            let kept = |id: &str, own: &[TopicPartition]| {
                let had = &case.members[id].subscription.owned;
                own.iter().filter(|at| had.contains(at)).count()
            };
            let ours: usize = assigned.iter().map(|(id, own)| kept(id, own)).sum();
            let java: usize = theirs.iter().map(|(id, own)| kept(id, own)).sum();
            let is_kept = ours >= java || !case.racks.is_empty();
            ensure!(is_kept, "{line}: {ours} partitions stay, in Java {java}");
        }
    }
    Ok(format!(
        "{GROUPS} random groups: the same bytes, {exact} the same result ({racked} with racks), \
         the others as balanced and as sticky"
    ))
}

fn sorted(numbers: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut all: Vec<usize> = numbers.collect();
    all.sort_unstable();
    all
}

fn case(noise: &mut Noise, number: usize) -> Case {
    let assignor = Assignor::ALL[number % 4];
    let mut below = |limit: u64| noise.next() % limit;
    let topics: BTreeMap<TopicName, i32> = ["a", "b", "c"]
        .into_iter()
        .map(|name| (TopicName::from(name), i32::try_from(1 + below(9)).unwrap_or(1)))
        .collect();
    let has_racks = below(2) == 0;
    let racks = if has_racks { racks(&topics, &mut below) } else { PartitionRacks::new() };
    let is_sticky = matches!(assignor, Assignor::Sticky | Assignor::CooperativeSticky);
    // Java's general algorithm for unequal members differs from ours in whom it prefers.
    let are_equal = is_sticky || below(2) == 0;
    let member_count = 1 + below(6);
    let has_history = is_sticky && member_count > 1 && below(2) == 0;
    let mut members: BTreeMap<String, GroupMember> = BTreeMap::new();
    for id in 0..member_count {
        let wish = if are_equal { 7 } else { 1 + below(7) };
        let names = topics.keys().enumerate().filter(|(bit, _)| wish & (1 << bit) != 0);
        let subscription = MemberSubscription {
            topics: names.map(|(_, name)| name.clone()).collect(),
            user_data: assignor.user_data(None),
            generation: -1,
            rack: RACKS.get(usize::try_from(below(4)).unwrap_or(0)).map(|rack| (*rack).to_owned()),
            ..MemberSubscription::default()
        };
        members.insert(format!("m{id}"), GroupMember { instance_id: None, subscription });
    }
    if has_history {
        // What they would have had, with one member less.
        let gone = members.pop_last();
        let had = assignor.assign(&topics, &racks, &members);
        for (id, own) in had {
            if let Some(member) = members.get_mut(&id) {
                member.subscription.user_data = assignor.user_data(Some((&own, 4)));
                member.subscription.owned = own;
                member.subscription.generation = 4;
            }
        }
        members.extend(gone);
    }
    Case { assignor, topics, racks, members, is_exact: !has_history }
}

/// Some racks, or none, for each partition.
fn racks(topics: &BTreeMap<TopicName, i32>, below: &mut impl FnMut(u64) -> u64) -> PartitionRacks {
    let partitions =
        topics.iter().flat_map(|(topic, count)| (0..*count).map(move |at| (topic, at)));
    let mut in_racks = || {
        let bits = below(8);
        let chosen = (0..).zip(RACKS).filter(|(bit, _)| bits & (1 << bit) != 0);
        chosen.map(|(_, rack)| rack.to_owned()).collect()
    };
    let at = |topic: &TopicName, at| TopicPartition::new(topic.clone(), PartitionIndex(at));
    partitions.map(|(topic, index)| (at(topic, index), in_racks())).collect()
}

fn line(case: &Case) -> String {
    let racks_of = |name: &TopicName, index| {
        let at = TopicPartition::new(name.clone(), PartitionIndex(index));
        let racks = case.racks.get(&at).into_iter().flatten();
        racks.map(String::as_str).collect::<Vec<_>>().join("+")
    };
    let topics = case.topics.iter().map(|(name, count)| {
        let of_each: Vec<String> = (0..*count).map(|index| racks_of(name, index)).collect();
        format!("{name}:{}", of_each.join("/"))
    });
    let members = case
        .members
        .iter()
        .map(|(id, member)| format!("{id}={}", hex(&member.subscription.encode())));
    let (topics, members): (Vec<_>, Vec<_>) = (topics.collect(), members.collect());
    format!("{}\t{}\t{}", case.assignor.name(), topics.join(","), members.join(";"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Outcome<Vec<u8>> {
    let pairs = (0..text.len() / 2).map(|place| &text[2 * place..2 * place + 2]);
    pairs.map(|pair| Ok(u8::from_str_radix(pair, 16)?)).collect()
}
