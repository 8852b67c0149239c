//! In which order brokers are asked when any of them will do.

use std::sync::Arc;

use streamledger_client_core::cluster::ClusterSnapshot;
use streamledger_protocol::BrokerId;

use crate::config::{MetadataRecovery, ServerAddress};
use crate::network::ConnectionPool;

/// A broker to ask, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) broker: BrokerId,
    pub(super) address: ServerAddress,
}

/// The brokers of `bootstrap.servers` have no numbers yet: they get -1, -2 ..., as in Java's
/// client.
pub(super) fn bootstrap_candidates(servers: &[ServerAddress]) -> Vec<Candidate> {
    let numbered = (1..).zip(servers);
    numbered.map(|(n, s)| Candidate { broker: BrokerId(-n), address: s.clone() }).collect()
}

/// Whether the known brokers are still believed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// They come first.
    Known,
    /// They were told to be gone, or have been silent for long: begin anew.
    BootstrapOnly,
}

/// All brokers worth asking, best first.
pub(super) fn candidates(
    snapshot: &Arc<ClusterSnapshot>,
    bootstrap: &[Candidate],
    recovery: MetadataRecovery,
    trust: Trust,
    pool: &ConnectionPool,
) -> Vec<Candidate> {
    let mut known: Vec<Candidate> = snapshot
        .brokers()
        .map(|broker| Candidate {
            broker: broker.id,
            address: ServerAddress { host: broker.host.clone(), port: broker.port },
        })
        .collect();
    rotate(&mut known, pool);
    // Connected ones first, the least busy of them at the front; the others as chance has them.
    known.sort_by_key(|candidate| {
        let connection = pool.connected(candidate.broker);
        connection.map_or(usize::MAX, |connection| connection.in_flight_count())
    });
    let mut bootstrap = bootstrap.to_vec();
    rotate(&mut bootstrap, pool);
    match (recovery, trust) {
        _ if known.is_empty() => bootstrap,
        (MetadataRecovery::None, _) => known,
        (MetadataRecovery::Rebootstrap, Trust::BootstrapOnly) => bootstrap,
        (MetadataRecovery::Rebootstrap, Trust::Known) => {
            known.extend(bootstrap);
            known
        }
    }
}

/// Begins at a random place, so that many clients don't all ask the same broker first.
fn rotate(candidates: &mut [Candidate], pool: &ConnectionPool) {
    let place = pool.jitter().below(candidates.len());
    candidates.rotate_left(place);
}
