//! Quotas: whose use counts together, how fast it goes, and for how long a client is to wait.
//!
//! 1. Of all quotas that fit a client the most exact one counts, and no other.
//! 2. What goes over the rate is not refused: the client waits until the rate is back in bounds.

mod limit;
mod rate;

pub use limit::{Limit, QuotaKind, limit_of};
pub use rate::{QuotaWindow, RateMeter};
