//! Hash maps whose order is the same in every run, so that a simulated run repeats from its seed.

use foldhash::fast::FixedState;

/// A hash map with a fixed seed. Keys come from the user and from brokers: bound how many are kept.
#[expect(clippy::disallowed_types, reason = "the one place that gives it a fixed seed")]
pub type Map<K, V> = std::collections::HashMap<K, V, FixedState>;

/// A hash set with a fixed seed.
#[expect(clippy::disallowed_types, reason = "the one place that gives it a fixed seed")]
pub type Set<K> = std::collections::HashSet<K, FixedState>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sets_with_the_same_insertions_iterate_alike() {
        let fill = || (0..1000_i32).map(|key| key * 7919).collect::<Set<_>>();
        assert_eq!(fill().into_iter().collect::<Vec<_>>(), fill().into_iter().collect::<Vec<_>>());
    }
}
