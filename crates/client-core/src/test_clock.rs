//! The moment at which tests begin; from there they go by their own steps.

use std::time::Instant;

/// Some moment.
#[expect(clippy::disallowed_methods, reason = "any moment does, and there is no other way to one")]
pub(crate) fn some_moment() -> Instant {
    Instant::now()
}
