//! How many producers logs may remember between them, and how fast each client may add to them
//! (FAILURES.md 58).
//!
//! 1. A producer that is remembered is never forgotten for want of room: a batch that it sends
//!    again would be written a second time (KAFKA-9144). A new one is refused instead.
//! 2. What one client adds is given back as time goes by, all of it in the time after which silent
//!    producers are forgotten: so of the places of silent ones no client ever has more than its
//!    share, and nobody is asked whose a remembered producer was.

use core::net::IpAddr;
use std::collections::BTreeMap;

use streamledger_protocol::ErrorCode;

use crate::time::MonotonicMs;

/// Shares are looked through for unused ones when there are so many, and then twice as many as
/// were left.
const SHARES_BEFORE_SWEEP: usize = 1000;
/// With so many in use, further clients have one between them.
const SHARES_MAX: usize = 100_000;

/// A client whose producers count together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProducerOwner {
    /// Somebody who is known.
    User(String),
    /// Whoever comes from there, where nobody is known.
    Address(IpAddr),
}

/// How many producers may be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerLimits {
    /// By all logs together, once for each log that a producer wrote to
    /// (`streamledger.producers.max`).
    pub remembered_max: usize,
    /// How many of them one client may add in the time after which silent ones are forgotten
    /// (`streamledger.client.producers.max`).
    pub per_owner_max: usize,
}

impl Default for ProducerLimits {
    fn default() -> Self {
        Self { remembered_max: 200_000, per_owner_max: 100_000 }
    }
}

/// Why a log may not remember one more producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// There are as many as there may be (POLICY_VIOLATION).
    #[error(
        "this broker remembers {remembered} producers, as many as streamledger.producers.max \
         allows, and takes no new one until some have been silent for producer.id.expiration.ms"
    )]
    Full {
        /// How many there are.
        remembered: usize,
    },
    /// The client has added as many as it may for now (THROTTLING_QUOTA_EXCEEDED).
    #[error(
        "this client has brought {per_owner_max} new producers, as many as \
         streamledger.client.producers.max allows in producer.id.expiration.ms; the next may come \
         in {wait_ms} ms"
    )]
    TooMany {
        /// How many it may add.
        per_owner_max: usize,
        /// When it may add the next, in ms.
        wait_ms: u64,
    },
}

impl NoPlace {
    /// The error code that answers it: one that is worth another try says so.
    #[must_use]
    pub const fn error_code(self) -> ErrorCode {
        match self {
            Self::Full { .. } => ErrorCode::PolicyViolation,
            Self::TooMany { .. } => ErrorCode::ThrottlingQuotaExceeded,
        }
    }
}

/// What a client has added and time has not given back yet, in parts of a producer: as many as an
/// expiration has milliseconds, of which each millisecond gives back as many as a share has
/// producers.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    used: u64,
    at: MonotonicMs,
}

impl Share {
    fn used(self, now: MonotonicMs, per_owner_max: u64) -> u64 {
        self.used.saturating_sub(now.since(self.at).saturating_mul(per_owner_max))
    }
}

/// The shares of all clients.
#[derive(Debug)]
pub struct ProducerPlaces {
    limits: ProducerLimits,
    /// `None` is that of those past [`SHARES_MAX`].
    shares: BTreeMap<Option<ProducerOwner>, Share>,
    sweep_at: usize,
}

impl ProducerPlaces {
    /// None of them used.
    #[must_use]
    pub const fn new(limits: ProducerLimits) -> Self {
        Self { limits, shares: BTreeMap::new(), sweep_at: SHARES_BEFORE_SWEEP }
    }

    /// Takes a place for a producer that a log doesn't know; `remembered` are those that all logs
    /// know, and `expiration_ms` is when that log forgets silent ones.
    ///
    /// # Errors
    /// The producer may not be remembered, so nothing of it may be written.
    pub fn take(
        &mut self,
        now: MonotonicMs,
        owner: ProducerOwner,
        remembered: usize,
        expiration_ms: u64,
    ) -> Result<(), NoPlace> {
        let limits = self.limits;
        let per_owner_max = limits.per_owner_max.max(1) as u64;
        if remembered >= limits.remembered_max {
            return Err(NoPlace::Full { remembered });
        }
        if self.shares.len() >= self.sweep_at {
            self.shares.retain(|_, share| share.used(now, per_owner_max) > 0);
            self.sweep_at = SHARES_BEFORE_SWEEP.max(2 * self.shares.len());
        }
        let owner = Some(owner);
        let is_kept = self.shares.len() < SHARES_MAX || self.shares.contains_key(&owner);
        let share = self.shares.entry(owner.filter(|_| is_kept)).or_default();
        let used = share.used(now, per_owner_max).saturating_add(expiration_ms);
        let over = used.saturating_sub(per_owner_max.saturating_mul(expiration_ms));
        if over > 0 {
            let wait_ms = over.div_ceil(per_owner_max);
            return Err(NoPlace::TooMany { per_owner_max: limits.per_owner_max, wait_ms });
        }
        *share = Share { used, at: now };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn places(remembered_max: usize, per_owner_max: usize) -> ProducerPlaces {
        ProducerPlaces::new(ProducerLimits { remembered_max, per_owner_max })
    }

    fn user(name: &str) -> ProducerOwner {
        ProducerOwner::User(name.to_owned())
    }

    #[test]
    fn failures_58_a_client_has_its_share_and_others_have_theirs() {
        let mut places = places(1_000_000, 48);
        let mut take = |ms, name: &str| places.take(MonotonicMs(ms), user(name), 0, DAY_MS);
        for _ in 0..48 {
            assert_eq!(take(0, "mallory"), Ok(()));
        }
        // One each half hour comes back, however often it asks meanwhile.
        for _ in 0..1000 {
            let refused = NoPlace::TooMany { per_owner_max: 48, wait_ms: DAY_MS / 48 };
            assert_eq!(take(0, "mallory"), Err(refused));
        }
        assert_eq!(take(0, "alice"), Ok(()));
        assert_eq!(take(DAY_MS / 48, "mallory"), Ok(()));
        assert!(take(DAY_MS / 48, "mallory").is_err());
        // And all of them in the time after which its silent producers are forgotten.
        for _ in 0..48 {
            assert_eq!(take(2 * DAY_MS, "mallory"), Ok(()));
        }
        assert!(take(2 * DAY_MS, "mallory").is_err());
    }

    #[test]
    fn failures_58_past_the_cap_of_all_nobody_adds_one() {
        let mut places = places(100, 100);
        let mut take = |remembered| places.take(MonotonicMs(0), user("alice"), remembered, DAY_MS);
        assert_eq!(take(99), Ok(()));
        assert_eq!(take(100), Err(NoPlace::Full { remembered: 100 }));
        assert_eq!(take(99), Ok(()), "who was refused has used nothing of its share");
    }

    #[test]
    fn clients_that_come_no_more_are_forgotten_and_too_many_share_one() {
        let mut places = places(10, 1);
        for n in 0..3 * SHARES_MAX as u32 {
            let owner = ProducerOwner::Address(IpAddr::from(n.to_be_bytes()));
            let taken = places.take(MonotonicMs(0), owner, 0, DAY_MS);
            assert_eq!(taken.is_ok(), n as usize <= SHARES_MAX, "{n}");
        }
        assert_eq!(places.shares.len(), SHARES_MAX + 1);
        places.sweep_at = 0;
        assert_eq!(places.take(MonotonicMs(DAY_MS), user("alice"), 0, DAY_MS), Ok(()));
        assert_eq!(places.shares.len(), 1);
    }
}
