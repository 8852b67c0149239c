//! What became of inputs: each counts once for who reads committed, and the offset that their group
//! has stored says how many they are.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Fate, History};
use crate::records::RecordNumber;
use crate::report::Promise;
use crate::world::World;

/// Transactional ids from this number on are of producers that took over from others.
const FRESH_IDS_FROM: usize = 1000;

/// The inputs of all groups, and the transactions that stored how far they have come.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    of_record: BTreeMap<RecordNumber, (usize, u64)>,
    /// By the number of the transaction.
    consumed: BTreeMap<usize, Consumed>,
    groups: BTreeSet<usize>,
    /// The highest offset of each group that anybody has seen.
    seen: BTreeMap<usize, u64>,
    fresh_ids: usize,
}

/// What a transaction stores: its group has processed the inputs up to there.
#[derive(Debug, Clone, Copy)]
struct Consumed {
    group: usize,
    to: u64,
}

impl History {
    /// A transactional id that no producer has had.
    pub(super) fn fresh_id(&mut self) -> usize {
        self.inputs.fresh_ids += 1;
        FRESH_IDS_FROM + self.inputs.fresh_ids
    }

    /// A transaction is about to store how far its group has come.
    pub(super) fn consume(&mut self, transaction: usize, group: usize, to: u64) {
        self.inputs.groups.insert(group);
        self.inputs.consumed.insert(transaction, Consumed { group, to });
    }

    /// A record was made of an input.
    pub(super) fn add_input(&mut self, number: RecordNumber, (group, input): (usize, u64)) {
        self.inputs.groups.insert(group);
        self.inputs.of_record.insert(number, (group, input));
    }

    /// The groups that have processed anything.
    pub(super) fn groups(&self) -> Vec<usize> {
        self.inputs.groups.iter().copied().collect()
    }

    /// How many inputs of a group are processed for certain: their commit was acknowledged.
    pub(super) fn committed_position(&self, group: usize) -> u64 {
        self.positions(group, |fate| fate == Fate::Committed).max().unwrap_or(0)
    }

    /// Whether a group may be seen to have come so far: somebody has asked for that commit.
    fn may_be_at(&self, group: usize, position: u64) -> bool {
        let is_asked = |fate| matches!(fate, Fate::Committed | Fate::CommitAsked);
        position == 0 || self.positions(group, is_asked).any(|to| to == position)
    }

    fn positions(&self, group: usize, is_wanted: fn(Fate) -> bool) -> impl Iterator<Item = u64> {
        let of_group = self.inputs.consumed.iter().filter(move |(_, one)| one.group == group);
        let wanted = of_group.filter(move |(number, _)| is_wanted(self.fate(**number)));
        wanted.map(|(_, one)| one.to)
    }

    /// Holds the inputs that a reader of committed records sees the outputs of against the offset
    /// that their group has stored. Gives the number of inputs.
    pub(super) fn compare_inputs(
        &self,
        seen: &[Vec<RecordNumber>],
        stored: &BTreeMap<usize, u64>,
        broken: &mut Vec<(Promise, String)>,
    ) -> u64 {
        let mut times: BTreeMap<(usize, u64), u32> = BTreeMap::new();
        for number in seen.iter().flatten() {
            if let Some(input) = self.inputs.of_record.get(number) {
                *times.entry(*input).or_default() += 1;
            }
        }
        let mut compared = 0;
        for (group, position) in stored {
            compared += position;
            let of_group = times.range((*group, 0)..=(*group, u64::MAX));
            let doubled: Vec<u64> =
                of_group.clone().filter(|(_, times)| **times > 1).map(|((_, n), _)| *n).collect();
            let beyond = of_group.map(|((_, n), _)| *n).filter(|n| n >= position).count();
            let is_missing = |input: &u64| !times.contains_key(&(*group, *input));
            let missing: Vec<u64> = (0..*position).filter(is_missing).collect();
            if !doubled.is_empty() || !missing.is_empty() || beyond > 0 {
                let text = format!(
                    "group {group} has stored {position}: {doubled:?} count twice, {missing:?} not \
                     at all, {beyond} are beyond"
                );
                broken.push((Promise::InputsCountOnce, text));
            }
        }
        compared
    }
}

impl World {
    /// Somebody sees how far a group has come.
    pub(super) fn position_is_seen(&mut self, group: usize, position: u64) {
        let Some(transactions) = &mut self.transactions else { return };
        let history = &mut transactions.history;
        let may_be = history.may_be_at(group, position);
        let highest = history.inputs.seen.entry(group).or_default();
        let before = std::mem::replace(highest, position.max(*highest));
        if !may_be {
            let text = format!("group {group} is seen at {position}, which nobody committed");
            self.violate(Promise::UncommittedIsHidden, text);
        } else if position < before {
            let text = format!("group {group} goes back from {before} to {position}");
            self.violate(Promise::SeenIsKept, text);
        }
    }

    /// Holds all inputs against what groups have stored, by the log.
    pub(super) fn check_inputs(&mut self, seen: &[Vec<RecordNumber>]) {
        if !self.plan.is_processing() {
            return;
        }
        let stored = match self.stored_positions() {
            Ok(stored) => stored,
            Err(error) => {
                return self.violate(Promise::LogOpens, format!("the groups' log: {error}"));
            }
        };
        let Some(transactions) = &self.transactions else { return };
        let mut broken = Vec::new();
        let compared = transactions.history.compare_inputs(seen, &stored, &mut broken);
        self.counters.inputs_compared += compared;
        for (promise, text) in broken {
            self.violate(promise, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three inputs in two transactions of one group, both committed.
    fn history() -> History {
        let mut history = History::new(1);
        for (transaction, numbers) in [(0, 0..2), (1, 2..3)] {
            assert_eq!(history.begin(0), transaction);
            for number in numbers.clone() {
                history.add(transaction, number, Some((7, u64::from(number))));
            }
            history.consume(transaction, 7, u64::from(numbers.end));
            history.decide(transaction, Fate::Committed);
        }
        history
    }

    fn is_broken(history: &History, seen: &[RecordNumber], position: u64) -> bool {
        let mut broken = Vec::new();
        let stored = BTreeMap::from([(7, position)]);
        let compared = history.compare_inputs(&[seen.to_vec()], &stored, &mut broken);
        assert_eq!(compared, position);
        !broken.is_empty()
    }

    #[test]
    fn each_input_counts_once_and_the_offset_says_how_many() {
        let mut history = history();
        assert!(!is_broken(&history, &[0, 1, 2], 3));
        assert!(is_broken(&history, &[0, 1, 2], 2), "beyond the offset");
        assert!(is_broken(&history, &[0, 2], 3), "not written");
        // A zombie writes input 1 again.
        history.add(1, 3, Some((7, 1)));
        assert!(is_broken(&history, &[0, 1, 2, 3], 3), "written twice");
    }

    #[test]
    fn an_offset_may_be_seen_once_its_commit_is_asked_for() {
        let mut history = history();
        assert_eq!(history.committed_position(7), 3);
        let open = history.begin(0);
        history.consume(open, 7, 5);
        assert!(history.may_be_at(7, 0) && history.may_be_at(7, 2) && !history.may_be_at(7, 5));
        history.decide(open, Fate::CommitAsked);
        assert!(history.may_be_at(7, 5) && !history.may_be_at(8, 5));
        assert_eq!(history.committed_position(7), 3);
        history.decide(open, Fate::Hidden);
        assert!(!history.may_be_at(7, 5));
    }
}
