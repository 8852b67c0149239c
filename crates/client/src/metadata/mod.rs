//! Keeps the view of the cluster fresh, and finds brokers to talk to.
//!
//! 1. One task asks; whoever needs a fresher view waits for the next answer that is asked for after
//!    he said so. So a crowd costs one request, and nobody gets an answer from before his question.
//! 2. Any broker will do: the least busy connected one first, then the others, then those of
//!    `bootstrap.servers` again (KIP-899). A slow one is overtaken, not waited for.
//! 3. The view can be read from any thread and never blocks.

mod candidates;
mod error;
mod refresher;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use parking_lot::RwLock;
use streamledger_client_core::cluster::ClusterSnapshot;

pub use error::Unreachable;
pub(crate) use refresher::MetadataRefresher;

/// The latest view of the cluster, for any thread. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct MetadataView(Arc<RwLock<Arc<ClusterSnapshot>>>);

impl MetadataView {
    /// The latest snapshot.
    pub(crate) fn snapshot(&self) -> Arc<ClusterSnapshot> {
        Arc::clone(&self.0.read())
    }

    fn publish(&self, snapshot: Arc<ClusterSnapshot>) {
        *self.0.write() = snapshot;
    }
}
