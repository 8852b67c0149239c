//! How fast connections may come from an address (KIP-612).

use core::net::IpAddr;
use std::collections::BTreeMap;

use super::rate::{QuotaWindow, RateMeter};
use crate::controller::{QuotaEntity, QuotaValue};
use crate::time::MonotonicMs;

/// The name it is set by, for an `ip`.
const CONNECTION_CREATION_RATE: &str = "connection_creation_rate";
/// Meters are looked through for idle ones when there are so many, and then twice as many as were
/// left.
const METERS_BEFORE_SWEEP: usize = 1000;
/// With so many in use, further addresses share one.
const METERS_MAX: usize = 100_000;

/// The most connections a second, by address.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AddressLimits {
    named: BTreeMap<IpAddr, f64>,
    /// Of each address that has none of its own.
    default: Option<f64>,
}

impl AddressLimits {
    /// Those among all quotas.
    #[must_use]
    pub fn of(quotas: &BTreeMap<QuotaEntity, BTreeMap<String, QuotaValue>>) -> Self {
        let mut limits = Self::default();
        for (entity, values) in quotas {
            let Some(name) = entity.get("ip") else { continue };
            let Some(bound) = values.get(CONNECTION_CREATION_RATE) else { continue };
            match name.as_deref().map(str::parse::<IpAddr>) {
                None => limits.default = Some(bound.value()),
                Some(Ok(address)) => drop(limits.named.insert(address, bound.value())),
                // Refused when it is set.
                Some(Err(_)) => {}
            }
        }
        limits
    }

    /// That of an address.
    #[must_use]
    pub fn limit(&self, address: IpAddr) -> Option<f64> {
        self.named.get(&address).copied().or(self.default)
    }
}

/// How fast connections come, by address.
#[derive(Debug)]
pub struct AddressRates {
    /// `None` is shared by those past [`METERS_MAX`].
    meters: BTreeMap<Option<IpAddr>, RateMeter>,
    sweep_at: usize,
}

impl Default for AddressRates {
    fn default() -> Self {
        Self { meters: BTreeMap::new(), sweep_at: METERS_BEFORE_SWEEP }
    }
}

impl AddressRates {
    /// Counts a connection from an address. One over the bound is not counted, and to be closed
    /// after so many milliseconds, a sample of the window at most (Kafka's
    /// `ConnectionQuotas.recordIpConnectionMaybeThrottle`).
    ///
    /// # Errors
    /// It is over the bound: the milliseconds.
    pub fn arrive(
        &mut self,
        now: MonotonicMs,
        window: QuotaWindow,
        address: IpAddr,
        bound: f64,
    ) -> Result<(), u64> {
        if self.meters.len() >= self.sweep_at {
            self.meters.retain(|_, meter| !meter.is_idle(now, window));
            self.sweep_at = METERS_BEFORE_SWEEP.max(2 * self.meters.len());
        }
        let is_kept = self.meters.len() < METERS_MAX || self.meters.contains_key(&Some(address));
        let meter = self.meters.entry(is_kept.then_some(address)).or_default();
        match meter.charge(now, window, 1.0, bound) {
            0 => Ok(()),
            wait_ms => {
                meter.take_back(1.0);
                Err(wait_ms.min(window.sample_ms))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KAFKAS: QuotaWindow = QuotaWindow { sample_count: 11, sample_ms: 1000 };

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn quotas(
        rates: &[(Option<&str>, f64)],
    ) -> BTreeMap<QuotaEntity, BTreeMap<String, QuotaValue>> {
        let entity =
            |name: Option<&str>| BTreeMap::from([("ip".to_owned(), name.map(str::to_owned))]);
        let value =
            |rate| BTreeMap::from([(CONNECTION_CREATION_RATE.to_owned(), QuotaValue::new(rate))]);
        rates.iter().map(|&(name, rate)| (entity(name), value(rate))).collect()
    }

    #[test]
    fn an_address_has_its_own_limit_or_that_of_all() {
        let limits = AddressLimits::of(&quotas(&[(Some("10.0.0.1"), 3.0), (Some("::0:1"), 5.0)]));
        assert_eq!(limits.limit(address(1)), Some(3.0));
        assert_eq!(limits.limit("::1".parse().unwrap()), Some(5.0), "by address, not by text");
        assert_eq!(limits.limit(address(2)), None);
        let limits = AddressLimits::of(&quotas(&[(Some("10.0.0.1"), 3.0), (None, 7.0)]));
        assert_eq!((limits.limit(address(1)), limits.limit(address(2))), (Some(3.0), Some(7.0)));
    }

    #[test]
    fn who_comes_too_fast_is_put_off_and_others_are_not() {
        let mut rates = AddressRates::default();
        let mut arrive = |ms, last| rates.arrive(MonotonicMs(ms), KAFKAS, address(last), 2.0);
        // Twenty in the ten seconds of a window that has just begun.
        for _ in 0..20 {
            assert_eq!(arrive(0, 1), Ok(()));
        }
        // The wait is half a second; those put off don't count, so it grows no longer.
        for _ in 0..50 {
            assert_eq!(arrive(0, 1), Err(500));
        }
        assert_eq!(arrive(0, 2), Ok(()));
        // After ten and a half seconds there is place for one more.
        assert_eq!(arrive(10_500, 1), Ok(()));
        assert_eq!(arrive(10_500, 1), Err(500));
        assert_eq!(arrive(30_000, 1), Ok(()));
    }

    #[test]
    fn it_is_put_off_for_a_sample_at_most() {
        let mut rates = AddressRates::default();
        assert_eq!(rates.arrive(MonotonicMs(0), KAFKAS, address(1), 0.01), Err(1000));
    }

    #[test]
    fn addresses_that_come_no_more_are_forgotten() {
        let mut rates = AddressRates::default();
        for n in 0..20_000_u32 {
            let address = IpAddr::from(n.to_be_bytes());
            assert_eq!(rates.arrive(MonotonicMs(u64::from(n) * 100), KAFKAS, address, 1.0), Ok(()));
        }
        assert!(rates.meters.len() <= METERS_BEFORE_SWEEP, "{}", rates.meters.len());
    }
}
