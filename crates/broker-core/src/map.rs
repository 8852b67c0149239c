//! Hash maps whose order is the same in every run, so that a simulated run repeats from its seed.

use foldhash::fast::FixedState;

/// A hash map with a fixed seed. Keys come from clients, so bound how many are kept.
#[expect(clippy::disallowed_types, reason = "the one place that gives it a fixed seed")]
pub type Map<K, V> = std::collections::HashMap<K, V, FixedState>;

/// A hash set with a fixed seed.
#[expect(clippy::disallowed_types, reason = "the one place that gives it a fixed seed")]
pub type Set<K> = std::collections::HashSet<K, FixedState>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_maps_with_the_same_insertions_iterate_alike() {
        let fill = || {
            let mut map = Map::default();
            for key in 0..1000_i32 {
                map.insert(key.wrapping_mul(0x9E37_79B1_u32 as i32), ());
            }
            map.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(fill(), fill());
    }
}
