//! The quota of connections by address (KIP-612).

use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use streamledger_broker_core::quota::{AddressLimits, AddressRates};

use crate::node::Node;

/// How fast connections come, and may come.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the cluster's state that the limits are of.
    seen: Option<u64>,
    limits: AddressLimits,
    rates: AddressRates,
}

impl Arrivals {
    /// Counts a connection; for how long one that is too much is to be held, and then closed.
    pub(super) fn arrive(&self, node: &Node, address: IpAddr) -> Result<(), Duration> {
        let version = node.controller.record_count();
        let mut state = self.state.lock();
        let State { seen, limits, rates } = &mut *state;
        if *seen != Some(version) {
            *limits = node.controller.read(|cluster| AddressLimits::of(cluster.quotas()));
            *seen = Some(version);
        }
        let Some(bound) = limits.limit(address) else { return Ok(()) };
        let (now, window) = (node.store.now().monotonic, node.settings.quota_window);
        rates.arrive(now, window, address, bound).map_err(Duration::from_millis)
    }
}
