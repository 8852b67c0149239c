//! Enforces client quotas: counts what clients use, says how long they are to wait, and lets
//! nothing more of theirs in until then (KIP-219).
//!
//! 1. What a connection's client is limited to is looked up again only when the cluster's state has
//!    changed, or the client calls itself something else.
//! 2. A meter that was not used for the whole window has nothing to remember, and is dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use streamledger_broker_core::quota::{Limit, QuotaKind, QuotaWindow, RateMeter, limit_of};
use streamledger_broker_core::time::MonotonicMs;
use tokio::time::Instant;

use crate::node::Node;

/// Meters are looked through for idle ones when there are so many, and then twice as many as were
/// left.
const METERS_BEFORE_SWEEP: usize = 1000;
/// With so many in use, further clients share one: who makes up names for itself gains nothing.
const METERS_MAX: usize = 100_000;

/// The meters of all clients that have quotas.
#[derive(Debug)]
pub(crate) struct Quotas {
    window: QuotaWindow,
    meters: Mutex<Meters>,
}

type Owner = (QuotaKind, Option<String>, Option<String>);

#[derive(Debug)]
struct Meters {
    by_owner: BTreeMap<Owner, Arc<Mutex<RateMeter>>>,
    sweep_at: usize,
}

/// What a connection's client is limited to, and until when it waits.
#[derive(Debug, Default)]
pub(crate) struct ClientQuotas {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the cluster's state that was looked at, and by what name.
    seen: Option<(u64, String)>,
    shares: Vec<Share>,
    muted_until: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Share {
    kind: QuotaKind,
    bound: f64,
    meter: Arc<Mutex<RateMeter>>,
}

impl Quotas {
    pub(crate) fn new(window: QuotaWindow) -> Self {
        let meters = Meters { by_owner: BTreeMap::new(), sweep_at: METERS_BEFORE_SWEEP };
        Self { window, meters: Mutex::new(meters) }
    }

    fn meter(&self, kind: QuotaKind, limit: &Limit, now: MonotonicMs) -> Arc<Mutex<RateMeter>> {
        let mut meters = self.meters.lock();
        if meters.by_owner.len() >= meters.sweep_at {
            let window = self.window;
            meters.by_owner.retain(|_, meter| {
                Arc::strong_count(meter) > 1 || !meter.lock().is_idle(now, window)
            });
            meters.sweep_at = METERS_BEFORE_SWEEP.max(2 * meters.by_owner.len());
        }
        let owner = match meters.by_owner.len() < METERS_MAX {
            true => (kind, limit.user.clone(), limit.client_id.clone()),
            false => (kind, None, None),
        };
        Arc::clone(meters.by_owner.entry(owner).or_default())
    }
}

impl ClientQuotas {
    /// Counts a use; how long the client is to wait for it.
    pub(crate) fn charge(
        &self,
        node: &Node,
        (user, client_id): (&str, &str),
        kind: QuotaKind,
        value: f64,
    ) -> Duration {
        let Some(share) = self.share(node, (user, client_id), kind) else { return Duration::ZERO };
        let now = node.store.now().monotonic;
        let window = node.quotas.window;
        let wait_ms = share.meter.lock().charge(now, window, value, share.bound);
        Duration::from_millis(match kind {
            QuotaKind::Produce | QuotaKind::Fetch => wait_ms,
            // Kafka's `ClientRequestQuotaManager.maxThrottleTimeMs`.
            QuotaKind::Request => wait_ms.min(window.sample_ms),
        })
    }

    /// The most bytes that one Fetch may have: what the quota is for the window.
    pub(crate) fn fetch_bytes_max(&self, node: &Node, names: (&str, &str)) -> Option<usize> {
        let share = self.share(node, names, QuotaKind::Fetch)?;
        Some((share.bound * node.quotas.window.shortest_ms() as f64 / 1000.0) as usize)
    }

    fn share(
        &self,
        node: &Node,
        (user, client_id): (&str, &str),
        kind: QuotaKind,
    ) -> Option<Share> {
        let version = node.controller.record_count();
        let mut state = self.state.lock();
        let is_seen = |(seen, name): &(u64, String)| *seen == version && name == client_id;
        if !state.seen.as_ref().is_some_and(is_seen) {
            let now = node.store.now().monotonic;
            let limits = node.controller.read(|cluster| {
                let quotas = cluster.quotas();
                let limit = |kind| Some((kind, limit_of(quotas, kind, user, client_id)?));
                match quotas.is_empty() {
                    true => Vec::new(),
                    false => QuotaKind::ALL.into_iter().filter_map(limit).collect(),
                }
            });
            let share = |(kind, limit): (QuotaKind, Limit)| Share {
                kind,
                bound: limit.bound,
                meter: node.quotas.meter(kind, &limit, now),
            };
            state.shares = limits.into_iter().map(share).collect();
            state.seen = Some((version, client_id.to_owned()));
        }
        state.shares.iter().find(|share| share.kind == kind).cloned()
    }

    /// Lets nothing more in for so long.
    pub(crate) fn mute(&self, wait: Duration) {
        if wait > Duration::ZERO
            && let Some(until) = Instant::now().checked_add(wait)
        {
            let mut state = self.state.lock();
            state.muted_until = state.muted_until.max(Some(until));
        }
    }

    /// Until when nothing more is let in.
    pub(crate) fn muted_until(&self) -> Option<Instant> {
        let until = self.state.lock().muted_until?;
        (until > Instant::now()).then_some(until)
    }
}
