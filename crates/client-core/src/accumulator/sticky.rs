//! What the sticky partitioner chooses among: partitions with a leader, nearby ones if there are,
//! each the more likely the less waits for its leader (KIP-794, KIP-1123).

use streamledger_protocol::PartitionIndex;

use crate::partitioner::RandomSource;

/// The partitions of one topic that a batch may go to when its caller doesn't mind.
#[derive(Debug, Default)]
pub(crate) struct StickyChoices {
    /// Partitions that have a leader, in the client's rack if that is asked for and there are any.
    pub(crate) available: Box<[PartitionIndex]>,
    /// How likely each is; None as long as all are alike.
    pub(crate) weights: Option<LoadWeights>,
}

/// Partitions and the running sum of their weights (Kafka's `PartitionLoadStats`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoadWeights {
    partitions: Box<[PartitionIndex]>,
    /// At each partition's place its weight and those of all before it; the last is above 0.
    sums: Box<[u32]>,
}

/// How much waits for a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionLoad {
    pub(crate) partition: PartitionIndex,
    /// Batches that are not in flight.
    pub(crate) queued_batches: u32,
    /// Its leader has taken nothing for longer than `partitioner.availability.timeout.ms`.
    pub(crate) is_left_out: bool,
}

impl LoadWeights {
    /// The weights of these loads: one more than the longest queue, less the partition's own. None
    /// if all are alike, or all are left out.
    pub(crate) fn of(loads: &[PartitionLoad]) -> Option<Self> {
        let taken = || loads.iter().filter(|load| !load.is_left_out);
        let longest = taken().map(|load| load.queued_batches).max()?;
        let shortest = taken().map(|load| load.queued_batches).min()?;
        if longest == shortest && taken().count() == loads.len() {
            return None;
        }
        let mut sum = 0_u32;
        let sums = taken().map(|load| {
            sum = sum.saturating_add(longest - load.queued_batches + 1);
            sum
        });
        let sums = sums.collect();
        let partitions = taken().map(|load| load.partition).collect();
        Some(Self { partitions, sums })
    }

    fn choose(&self, random: &dyn RandomSource) -> Option<PartitionIndex> {
        let number = below(self.sums.last().copied()?, random);
        let place = self.sums.partition_point(|sum| *sum <= number);
        self.partitions.get(place).copied()
    }
}

impl StickyChoices {
    /// A partition by chance; among all `partition_count` if none is known to have a leader.
    pub(crate) fn choose(&self, partition_count: i32, random: &dyn RandomSource) -> PartitionIndex {
        if let Some(chosen) = self.weights.as_ref().and_then(|weights| weights.choose(random)) {
            return chosen;
        }
        let among = match self.available.len() {
            0 => partition_count.max(1).cast_unsigned(),
            count => u32::try_from(count).unwrap_or(u32::MAX),
        };
        let number = below(among, random);
        match self.available.get(number as usize) {
            Some(partition) => *partition,
            None => PartitionIndex(number.cast_signed()),
        }
    }
}

/// A number below `bound`: 32 bits scaled to the range, without a division or a bias worth a name.
fn below(bound: u32, random: &dyn RandomSource) -> u32 {
    ((u64::from(random.next_u32()) * u64::from(bound)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partitioner::SeededRandom;

    fn loads(queued: &[u32]) -> Vec<PartitionLoad> {
        let load = |(index, queued_batches): (i32, &u32)| PartitionLoad {
            partition: PartitionIndex(index),
            queued_batches: *queued_batches,
            is_left_out: false,
        };
        (0..).zip(queued).map(load).collect()
    }

    /// How often each of three partitions is chosen in 8000 times.
    fn choices(weights: Option<LoadWeights>) -> [u32; 3] {
        let available = (0..3).map(PartitionIndex).collect();
        let choices = StickyChoices { available, weights };
        let random = SeededRandom::new(3);
        let mut chosen = [0; 3];
        for _ in 0..8000 {
            chosen[usize::try_from(choices.choose(3, &random).0).unwrap()] += 1;
        }
        chosen
    }

    #[test]
    fn longer_queues_are_chosen_less_in_kafkas_proportion() {
        // Kafka's own example: queues of 0, 3 and 1 batches get 4, 1 and 3 parts of 8.
        let weights = LoadWeights::of(&loads(&[0, 3, 1])).unwrap();
        assert_eq!(*weights.sums, [4, 5, 8]);
        let chosen = choices(Some(weights));
        for (count, expected) in chosen.into_iter().zip([4000, 1000, 3000]) {
            assert!(u32::abs_diff(count, expected) < 200, "{chosen:?}");
        }
    }

    #[test]
    fn alike_queues_need_no_weights() {
        assert_eq!(LoadWeights::of(&loads(&[2, 2, 2])), None);
        assert_eq!(LoadWeights::of(&loads(&[5])), None);
        assert_eq!(LoadWeights::of(&[]), None);
        let chosen = choices(None);
        assert!(chosen.iter().all(|count| u32::abs_diff(*count, 2667) < 200), "{chosen:?}");
    }

    #[test]
    fn who_takes_nothing_is_left_out_unless_nobody_takes_anything() {
        let mut loads = loads(&[1, 1, 1]);
        loads[1].is_left_out = true;
        let chosen = choices(LoadWeights::of(&loads));
        assert_eq!(chosen[1], 0);
        assert!(chosen[0] > 3500 && chosen[2] > 3500, "{chosen:?}");
        loads.iter_mut().for_each(|load| load.is_left_out = true);
        assert_eq!(LoadWeights::of(&loads), None);
    }
}
