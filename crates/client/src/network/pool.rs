//! The connections to a cluster, one for each broker: made when needed, once, and not too often.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::Shared;
use streamledger_protocol::BrokerId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{BrokerConnection, Jitter, NetworkConfig, NetworkError, NetworkErrorKind};
use crate::config::ServerAddress;

/// The connections to a cluster. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ConnectionPool(Rc<Pool>);

struct Pool {
    config: NetworkConfig,
    jitter: Jitter,
    slots: RefCell<HashMap<BrokerId, Slot>>,
}

/// One broker's place.
struct Slot {
    address: Arc<ServerAddress>,
    state: SlotState,
    /// Attempts to connect that failed since the last that did not.
    failure_count: u32,
    /// No attempt begins before.
    not_before: Instant,
}

enum SlotState {
    Unconnected,
    Connecting(Attempt),
    Connected(BrokerConnection),
}

type Outcome = Result<BrokerConnection, NetworkError>;
type Attempt = Shared<oneshot::Receiver<Outcome>>;

impl ConnectionPool {
    pub(crate) fn new(config: NetworkConfig) -> Self {
        let slots = RefCell::new(HashMap::new());
        Self(Rc::new(Pool { config, jitter: Jitter::new(), slots }))
    }

    /// A source of chance for whoever shares the pool.
    pub(crate) fn jitter(&self) -> &Jitter {
        &self.0.jitter
    }

    /// The connection to a broker, if there is one that is open.
    pub(crate) fn connected(&self, broker: BrokerId) -> Option<BrokerConnection> {
        match &self.0.slots.borrow().get(&broker)?.state {
            SlotState::Connected(connection) if connection.is_open() => Some(connection.clone()),
            _ => None,
        }
    }

    /// All connections that are open.
    pub(crate) fn open_connections(&self) -> Vec<BrokerConnection> {
        let slots = self.0.slots.borrow();
        let connections = slots.values().filter_map(|slot| match &slot.state {
            SlotState::Connected(connection) if connection.is_open() => Some(connection.clone()),
            _ => None,
        });
        connections.collect()
    }

    /// When a broker that can't be connected to may be tried again; nothing if it may be at once.
    #[cfg(test)]
    pub(crate) fn retry_at(&self, broker: BrokerId) -> Option<std::time::Instant> {
        let not_before = self.0.slots.borrow().get(&broker)?.not_before;
        (not_before > Instant::now()).then(|| not_before.into_std())
    }

    /// The connection to a broker: the open one, or the outcome of one attempt to make it, which is
    /// shared by all who ask meanwhile and waits for `reconnect.backoff.ms` if the last one failed.
    ///
    /// The attempt is begun in this call and goes on if the future is dropped.
    pub(crate) fn connection(
        &self,
        broker: BrokerId,
        address: &ServerAddress,
    ) -> impl Future<Output = Outcome> + use<> {
        let state = self.0.begin(broker, address);
        let lost = NetworkError::not_sent(&Arc::new(address.clone()), NetworkErrorKind::ClosedByUs);
        async move {
            match state {
                Ok(connection) => Ok(connection),
                Err(attempt) => attempt.await.unwrap_or(Err(lost)),
            }
        }
    }

    /// A connection to a broker whose number was not known turns out to be that of `known`.
    pub(crate) fn renumber(&self, unknown: BrokerId, known: BrokerId) {
        let mut slots = self.0.slots.borrow_mut();
        if slots.get(&known).is_some_and(|slot| !matches!(slot.state, SlotState::Unconnected)) {
            return;
        }
        if let Some(slot) = slots.remove(&unknown) {
            slots.insert(known, slot);
        }
    }

    /// Closes all connections; those who wait for responses are told so.
    pub(crate) fn close(&self) {
        for (_, slot) in self.0.slots.borrow_mut().drain() {
            if let SlotState::Connected(connection) = slot.state {
                connection.close();
            }
        }
    }
}

impl Pool {
    /// The open connection, or an attempt that runs.
    fn begin(
        self: &Rc<Self>,
        broker: BrokerId,
        address: &ServerAddress,
    ) -> Result<BrokerConnection, Attempt> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.entry(broker).or_insert_with(|| Slot::new(address));
        if *slot.address != *address {
            *slot = Slot::new(address);
        }
        match &slot.state {
            SlotState::Connected(connection) if connection.is_open() => {
                return Ok(connection.clone());
            }
            SlotState::Connecting(attempt) => return Err(attempt.clone()),
            SlotState::Connected(_) | SlotState::Unconnected => {}
        }
        let (outcome, attempt) = oneshot::channel();
        let attempt = attempt.shared();
        slot.state = SlotState::Connecting(attempt.clone());
        let task = Rc::clone(self).attempt(broker, Arc::clone(&slot.address), slot.not_before);
        tokio::task::spawn_local(async move {
            let _ = outcome.send(task.await);
        });
        Err(attempt)
    }

    async fn attempt(
        self: Rc<Self>,
        broker: BrokerId,
        address: Arc<ServerAddress>,
        not_before: Instant,
    ) -> Outcome {
        tokio::time::sleep_until(not_before).await;
        let failure_count = self.slots.borrow().get(&broker).map_or(0, |slot| slot.failure_count);
        let setup_timeout = self.config.setup_timeout.wait(failure_count, self.jitter.chance());
        let outcome = BrokerConnection::connect(&address, &self.config, setup_timeout).await;
        let mut slots = self.slots.borrow_mut();
        // The broker may have moved, or the pool been closed, in the meantime.
        let Some(slot) = slots.get_mut(&broker).filter(|slot| slot.address == address) else {
            return outcome;
        };
        let failures = if outcome.is_ok() { 0 } else { slot.failure_count.saturating_add(1) };
        slot.failure_count = failures;
        let wait_from = failures.saturating_sub(1);
        let wait = self.config.reconnect_backoff.wait(wait_from, self.jitter.chance());
        // Also after a success: a broker that takes connections and drops them is not hammered.
        slot.not_before = Instant::now() + wait;
        slot.state = match &outcome {
            Ok(connection) => SlotState::Connected(connection.clone()),
            Err(_) => SlotState::Unconnected,
        };
        outcome
    }
}

impl Slot {
    fn new(address: &ServerAddress) -> Self {
        Self {
            address: Arc::new(address.clone()),
            state: SlotState::Unconnected,
            failure_count: 0,
            not_before: Instant::now(),
        }
    }
}
