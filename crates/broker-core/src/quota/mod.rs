//! Quotas: whose use counts together, how fast it goes, and for how long a client is to wait.
//!
//! 1. Of all quotas that fit a client the most exact one counts, and no other.
//! 2. What goes over a rate is not refused: the client waits until the rate is back in bounds.
//! 3. A change of topics beyond its quota is refused to clients that know that error, and waited
//!    for by others (KIP-599); a connection beyond its quota is held and then closed (KIP-612).

mod address;
mod bucket;
mod limit;
mod rate;

pub use address::{AddressLimits, AddressRates};
pub use bucket::TokenBucket;
pub use limit::{CONTROLLER_MUTATION_RATE, Limit, QuotaKind, limit_of};
pub use rate::{QuotaWindow, RateMeter};
