//! Enforces client quotas: counts what clients use, says how long they are to wait, and lets
//! nothing more of theirs in until then (KIP-219).
//!
//! 1. What a connection's client is limited to is looked up again only when the cluster's state has
//!    changed, or the client calls itself something else.
//! 2. A meter that was not used for the whole window has nothing to remember, and is dropped.

mod arrivals;
mod mutations;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use streamledger_broker_core::quota::{
    CONTROLLER_MUTATION_RATE, Limit, QuotaKind, QuotaWindow, RateMeter, TokenBucket, limit_of,
};
use streamledger_broker_core::time::MonotonicMs;
use tokio::time::Instant;

pub(crate) use self::mutations::MutationQuota;

use self::arrivals::Arrivals;
use self::mutations::Permits;
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
    meters: Mutex<Meters<(QuotaKind, Owner), RateMeter>>,
    buckets: Mutex<Meters<Owner, TokenBucket>>,
    arrivals: Arrivals,
}

/// The user and the client id whose use counts together.
type Owner = (Option<String>, Option<String>);

#[derive(Debug)]
struct Meters<K, M> {
    by_owner: BTreeMap<K, Arc<Mutex<M>>>,
    sweep_at: usize,
}

impl<K: Ord, M: Default> Meters<K, M> {
    const fn new() -> Self {
        Self { by_owner: BTreeMap::new(), sweep_at: METERS_BEFORE_SWEEP }
    }

    /// The meter of an owner, or with too many of them the one that further owners share.
    fn of(&mut self, owner: K, shared: K, is_idle: impl Fn(&M) -> bool) -> Arc<Mutex<M>> {
        if self.by_owner.len() >= self.sweep_at {
            let is_used =
                |meter: &Arc<Mutex<M>>| Arc::strong_count(meter) > 1 || !is_idle(&meter.lock());
            self.by_owner.retain(|_, meter| is_used(meter));
            self.sweep_at = METERS_BEFORE_SWEEP.max(2 * self.by_owner.len());
        }
        let owner = if self.by_owner.len() < METERS_MAX { owner } else { shared };
        Arc::clone(self.by_owner.entry(owner).or_default())
    }
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
    permits: Option<Permits>,
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
        Self {
            window,
            meters: Mutex::new(Meters::new()),
            buckets: Mutex::new(Meters::new()),
            arrivals: Arrivals::default(),
        }
    }

    /// Counts a connection from an address; for how long one that is too much is to be held, and
    /// then closed.
    pub(crate) fn arrive(&self, node: &Node, address: IpAddr) -> Result<(), Duration> {
        self.arrivals.arrive(node, address)
    }

    fn meter(&self, kind: QuotaKind, limit: Limit, now: MonotonicMs) -> Arc<Mutex<RateMeter>> {
        let owner = (kind, (limit.user, limit.client_id));
        let window = self.window;
        self.meters.lock().of(owner, (kind, (None, None)), |meter| meter.is_idle(now, window))
    }

    fn bucket(&self, limit: Limit, now: MonotonicMs) -> Arc<Mutex<TokenBucket>> {
        let owner = (limit.user, limit.client_id);
        self.buckets.lock().of(owner, (None, None), |bucket| bucket.is_idle(now))
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

    fn share(&self, node: &Node, names: (&str, &str), kind: QuotaKind) -> Option<Share> {
        self.current(node, names).shares.iter().find(|share| share.kind == kind).cloned()
    }

    /// What a request may change of topics; refused beyond that if its client knows the error.
    pub(crate) fn mutations(
        &self,
        node: &Node,
        names: (&str, &str),
        is_strict: bool,
    ) -> MutationQuota {
        MutationQuota::new(self.current(node, names).permits.clone(), is_strict)
    }

    /// The state, by the quotas as they are now.
    fn current(&self, node: &Node, (user, client_id): (&str, &str)) -> MutexGuard<'_, State> {
        let version = node.controller.record_count();
        let mut state = self.state.lock();
        let is_seen = |(seen, name): &(u64, String)| *seen == version && name == client_id;
        if state.seen.as_ref().is_some_and(is_seen) {
            return state;
        }
        let now = node.store.now().monotonic;
        let (limits, mutations) = node.controller.read(|cluster| {
            let quotas = cluster.quotas();
            let limit = |key| limit_of(quotas, key, user, client_id);
            let of_kind = |kind: QuotaKind| Some((kind, limit(kind.key())?));
            match quotas.is_empty() {
                true => (Vec::new(), None),
                false => (
                    QuotaKind::ALL.into_iter().filter_map(of_kind).collect(),
                    limit(CONTROLLER_MUTATION_RATE),
                ),
            }
        });
        let share = |(kind, limit): (QuotaKind, Limit)| Share {
            kind,
            bound: limit.bound,
            meter: node.quotas.meter(kind, limit, now),
        };
        let permits =
            |limit: Limit| Permits { bound: limit.bound, bucket: node.quotas.bucket(limit, now) };
        state.shares = limits.into_iter().map(share).collect();
        state.permits = mutations.map(permits);
        state.seen = Some((version, client_id.to_owned()));
        state
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
