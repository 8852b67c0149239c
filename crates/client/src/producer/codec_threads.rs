//! Threads that compress batches, so that one core's codec doesn't hold up all of a producer.
//!
//! 1. Order is not kept here: the sender takes a partition's batches back in its own order.
//! 2. At most as many threads as cores, and no more than [`THREADS_MAX`]; none before the first
//!    batch whose compression takes longer than handing it over.
//! 3. A batch that can't be handed over is compressed by whoever wanted to.
//! 4. While the threads sleep, the I/O thread takes a short one itself: it woke up for it, and two
//!    more wake-ups, there and back, cost nearly as much as the codec does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex};
use streamledger_client_core::sender::{CompressJob, CompressedBatch};
use streamledger_protocol::Codec;
use streamledger_protocol::compression::CompressionScratch;

use super::shared::Shared;

/// A thread's tables and output take up to 3 MB, and few brokers take what four cores compress.
const THREADS_MAX: usize = 4;

/// Waking a thread and taking its result back costs some 20 µs of two cores' time; what takes less
/// than twice that to compress stays where it is.
const WORTH_A_THREAD_NS: usize = 40_000;

/// What the I/O thread compresses itself while the threads sleep. Answers wait as long, so it is
/// little: some 64 KB for the fast codecs.
const SHORT_NS: usize = 100_000;

/// What a codec takes for a byte at its usual level, thousandths of a nanosecond, rounded down.
const fn picoseconds_per_byte(codec: Codec) -> usize {
    match codec {
        Codec::None => 0,
        Codec::Snappy | Codec::Lz4 => 1_000,
        Codec::Zstd => 3_000,
        Codec::Gzip => 15_000,
    }
}

/// How many threads this machine gets.
pub(super) fn thread_count() -> usize {
    match thread::available_parallelism().map_or(1, usize::from) {
        // With one core they would only take turns.
        1 => 0,
        cores => cores.min(THREADS_MAX),
    }
}

/// Batches that may be handed over and not taken back, for each thread. With few the threads run
/// out of work whenever the I/O thread waits for its turn on a core that they keep busy.
const BATCHES_PER_THREAD: usize = 8;

/// How many batches may be at the codecs at once, a producer's own thread included.
pub(super) fn batches_max() -> usize {
    (BATCHES_PER_THREAD * thread_count()).max(1)
}

/// The threads of one producer, and what they have to do.
pub(super) struct CodecThreads {
    queue: Arc<Queue>,
    started: usize,
    thread_count: usize,
    /// Batches that were handed over and not taken back.
    outstanding: usize,
}

/// What the threads and the I/O thread share.
struct Queue {
    shared: Arc<Shared>,
    jobs: Mutex<Jobs>,
    wanted: Condvar,
    done: Mutex<Vec<CompressedBatch>>,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<CompressJob>,
    idle_threads: usize,
    is_closed: bool,
}

impl CodecThreads {
    /// At most so many threads; none is started yet.
    pub(super) fn new(shared: Arc<Shared>, thread_count: usize) -> Self {
        let (jobs, wanted, done) = (Mutex::default(), Condvar::new(), Mutex::default());
        let queue = Arc::new(Queue { shared, jobs, wanted, done });
        Self { queue, started: 0, thread_count, outstanding: 0 }
    }

    /// Hands the batches over, but for those that are better compressed here and now.
    pub(super) fn hand_over(&mut self, jobs: &mut Vec<CompressJob>) {
        let mut may_keep = self.outstanding == 0;
        let offered = std::mem::take(jobs);
        for job in offered {
            let cost_ns = job.uncompressed_bytes() * picoseconds_per_byte(job.codec()) / 1000;
            let is_kept = may_keep && cost_ns < SHORT_NS;
            if cost_ns < WORTH_A_THREAD_NS || self.thread_count == 0 || is_kept {
                // The first, which is wanted first; of the others' threads some are awake now.
                may_keep &= !is_kept;
                jobs.push(job);
            } else if let Err(job) = self.queue_up(job) {
                jobs.push(job);
            }
        }
    }

    fn queue_up(&mut self, job: CompressJob) -> Result<(), CompressJob> {
        let mut jobs = self.queue.jobs.lock();
        if jobs.idle_threads <= jobs.waiting.len() && self.started < self.thread_count {
            let queue = Arc::clone(&self.queue);
            let name = format!("streamledger-codec-{}", self.started);
            match thread::Builder::new().name(name).spawn(move || queue.work()) {
                Ok(_) => self.started += 1,
                Err(error) => tracing::warn!(%error, "no thread to compress on"),
            }
        }
        if self.started == 0 {
            return Err(job);
        }
        jobs.waiting.push_back(job);
        drop(jobs);
        self.outstanding += 1;
        self.queue.wanted.notify_one();
        Ok(())
    }

    /// Moves what is done to `into`.
    pub(super) fn take_done(&mut self, into: &mut Vec<CompressedBatch>) {
        if self.outstanding > 0 {
            let mut done = self.queue.done.lock();
            self.outstanding -= done.len();
            into.append(&mut done);
        }
    }
}

impl Drop for CodecThreads {
    /// The threads end by themselves; what still waits is given up.
    fn drop(&mut self) {
        let mut jobs = self.queue.jobs.lock();
        jobs.is_closed = true;
        let given_up = std::mem::take(&mut jobs.waiting);
        drop(jobs);
        drop(given_up);
        self.queue.wanted.notify_all();
    }
}

impl Queue {
    /// One thread's life.
    fn work(&self) {
        let mut scratch = CompressionScratch::default();
        while let Some(job) = self.next_job() {
            let compressed = job.run(&mut scratch);
            self.done.lock().push(compressed);
            self.shared.wake.notify_one();
        }
    }

    fn next_job(&self) -> Option<CompressJob> {
        let mut jobs = self.jobs.lock();
        loop {
            if jobs.is_closed {
                return None;
            }
            if let Some(job) = jobs.waiting.pop_front() {
                return Some(job);
            }
            jobs.idle_threads += 1;
            self.wanted.wait(&mut jobs);
            jobs.idle_threads -= 1;
        }
    }
}
