//! Faults of a disk on purpose: no room, failing or slow fsyncs, short writes, a freeze.

use std::io;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// What the disk of a broker does wrong, switched while it runs. For tests and demonstrations.
#[derive(Debug, Default)]
pub struct DiskFaults {
    state: Mutex<FaultState>,
    thawed: Condvar,
}

#[derive(Debug, Default)]
struct FaultState {
    free_bytes: Option<u64>,
    write_bytes_max: Option<usize>,
    syncs_fail: bool,
    /// After that many more flushes they fail.
    syncs_left: Option<u64>,
    sync_delay: Duration,
    frozen: bool,
    syncs_held: bool,
    /// After that many more flushes it freezes.
    freezes_after: Option<u64>,
    syncs: u64,
}

impl DiskFaults {
    /// A disk that does nothing wrong yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on only `free_bytes` more can be written (ENOSPC after them); none: no limit.
    pub fn limit_free_bytes(&self, free_bytes: Option<u64>) {
        self.state.lock().free_bytes = free_bytes;
    }

    /// From now on a single write takes at most `write_bytes_max`; none: no limit.
    pub fn shorten_writes(&self, write_bytes_max: Option<usize>) {
        self.state.lock().write_bytes_max = write_bytes_max;
    }

    /// From now on each fsync fails (EIO), or no longer does.
    pub fn fail_syncs(&self, fail: bool) {
        self.state.lock().syncs_fail = fail;
    }

    /// From now on each fsync after the next `count` fails (EIO); none: no longer.
    pub fn fail_syncs_after(&self, count: Option<u64>) {
        self.state.lock().syncs_left = count;
    }

    /// From now on each fsync takes at least this long.
    pub fn delay_syncs(&self, delay: Duration) {
        self.state.lock().sync_delay = delay;
    }

    /// From now on no write and no fsync returns, until `thaw`.
    pub fn freeze(&self) {
        self.state.lock().frozen = true;
    }

    /// The same once the next `count` fsyncs are done, in the one after them.
    pub fn freeze_after(&self, count: u64) {
        self.state.lock().freezes_after = Some(count);
    }

    /// Whether from now on no fsync returns, while all else goes on.
    pub fn hold_syncs(&self, held: bool) {
        self.state.lock().syncs_held = held;
        self.thawed.notify_all();
    }

    /// Whether it is frozen.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.state.lock().frozen
    }

    /// Ends a freeze, also one that was to come.
    pub fn thaw(&self) {
        let mut state = self.state.lock();
        (state.frozen, state.freezes_after) = (false, None);
        drop(state);
        self.thawed.notify_all();
    }

    /// How many fsyncs were asked for.
    #[must_use]
    pub fn sync_count(&self) -> u64 {
        self.state.lock().syncs
    }

    /// How many of `bytes` the next write may take.
    pub(super) fn admit_write(&self, bytes: usize) -> io::Result<usize> {
        let mut state = self.state.lock();
        self.thawed.wait_while(&mut state, |state| state.frozen);
        let free =
            state.free_bytes.map_or(usize::MAX, |f| usize::try_from(f).unwrap_or(usize::MAX));
        if free == 0 && bytes > 0 {
            return Err(io::Error::from(rustix::io::Errno::NOSPC));
        }
        Ok(free.min(state.write_bytes_max.unwrap_or(usize::MAX)))
    }

    pub(super) fn wrote(&self, bytes: usize) {
        let mut state = self.state.lock();
        if let Some(free_bytes) = &mut state.free_bytes {
            *free_bytes = free_bytes.saturating_sub(bytes as u64);
        }
    }

    pub(super) fn before_sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if let Some(left) = &mut state.freezes_after {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => state.frozen = true,
            }
        }
        self.thawed.wait_while(&mut state, |state| state.frozen || state.syncs_held);
        state.syncs += 1;
        let none_left = match &mut state.syncs_left {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        let (delay, fails) = (state.sync_delay, state.syncs_fail || none_left);
        drop(state);
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        if fails { Err(io::Error::from(rustix::io::Errno::IO)) } else { Ok(()) }
    }
}
