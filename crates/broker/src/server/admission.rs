//! How many connections there may be: in all, and from one address (FAILURES.md 58).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// Why a connection was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// max.connections.
    TooMany,
    /// max.connections.per.ip.
    TooManyFromThatAddress,
}

#[derive(Debug, Default)]
struct Counts {
    in_all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Counts connections and refuses those past the caps.
#[derive(Debug)]
pub(crate) struct Admission {
    connections_max: usize,
    counts: Mutex<Counts>,
}

impl Admission {
    pub(crate) fn new(connections_max: usize) -> Arc<Self> {
        Arc::new(Self { connections_max, counts: Mutex::default() })
    }

    /// Lets a connection in, for as long as the ticket lives, if fewer than that are there from its
    /// address.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        per_address_max: usize,
    ) -> Result<Ticket, Refused> {
        let mut counts = self.counts.lock();
        if counts.in_all >= self.connections_max {
            return Err(Refused::TooMany);
        }
        let from_address = counts.by_address.entry(address).or_default();
        if *from_address >= per_address_max {
            return Err(Refused::TooManyFromThatAddress);
        }
        *from_address += 1;
        counts.in_all += 1;
        Ok(Ticket { admission: Arc::clone(self), address })
    }

    /// Connections now.
    pub(crate) fn connection_count(&self) -> usize {
        self.counts.lock().in_all
    }
}

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.admission.counts.lock();
        counts.in_all -= 1;
        if let Some(from_address) = counts.by_address.get_mut(&self.address) {
            *from_address -= 1;
            if *from_address == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_hold_in_all_and_by_address_and_places_come_back() {
        let admission = Admission::new(3);
        let one = IpAddr::from([127, 0, 0, 1]);
        let other = IpAddr::from([127, 0, 0, 2]);
        let first = admission.admit(one, 2).unwrap();
        let second = admission.admit(one, 2).unwrap();
        assert_eq!(admission.admit(one, 2).unwrap_err(), Refused::TooManyFromThatAddress);
        let third = admission.admit(other, 2).unwrap();
        assert_eq!(admission.admit(other, 2).unwrap_err(), Refused::TooMany);
        drop(first);
        assert_eq!(admission.connection_count(), 2);
        assert!(admission.admit(one, 2).is_ok());
        // A lower cap sends nobody away, and lets nobody in.
        assert_eq!(admission.admit(other, 1).unwrap_err(), Refused::TooManyFromThatAddress);
        drop((second, third));
        assert_eq!(admission.connection_count(), 0);
        assert!(admission.counts.lock().by_address.is_empty());
    }
}
