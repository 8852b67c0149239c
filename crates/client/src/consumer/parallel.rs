//! Consumes with many workers: of one key in order, committed only as far as all is done.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use streamledger_client_core::consumer::by_key::{KeyOrder, KeyedRecord, Ticket};
use streamledger_protocol::TopicPartition;

use super::{Consumer, ConsumerError, ConsumerRecord, RebalanceListener};

/// How long a poll waits for records where there is room for them.
const POLL: Duration = Duration::from_millis(100);
/// How long it waits where there is none: membership goes on meanwhile.
const POLL_WHEN_FULL: Duration = Duration::from_millis(5);

/// Works on records in parallel, as many at a time as there are workers: of one partition's
/// records with one key one after the other, in order; records without a key in any order.
///
/// Only what is done is committed: never past a record that isn't, so that after a crash nothing is
/// missing, and at most what was in work or done behind it is worked on again. Memory is bounded by
/// [`records_max`](Self::records_max).
///
/// ```no_run
/// use streamledger::consumer::ParallelConsumer;
/// use streamledger::{Consumer, ConsumerConfig};
///
/// let config = ConsumerConfig::builder()
///     .bootstrap_servers("localhost:9092")
///     .group_id("invoices")
///     .enable_auto_commit(false)
///     .build()?;
/// let consumer = Consumer::new(config)?;
/// consumer.subscribe(["orders"])?;
/// let parallel = ParallelConsumer::new(consumer, 16);
/// parallel.run(|record| {
///     println!("{:?}", record.key);
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ParallelConsumer {
    consumer: Consumer,
    workers: usize,
    records_max: usize,
    commit_interval: Duration,
    drain_timeout: Duration,
    is_stopping: Arc<AtomicBool>,
}

/// Why consuming in parallel has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParallelError<E> {
    /// Reading failed, or the commit at the end.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    /// Offsets are committed automatically, which would be before their records are done.
    #[error("enable.auto.commit is true; set it to false, as commits are made when work is done")]
    CommitsAutomatically,
    /// The function failed for this record. What was done before is committed; another run begins
    /// with it.
    #[error("{topic_partition}, offset {offset}: {error}")]
    Function {
        /// The record's partition.
        topic_partition: TopicPartition,
        /// The record's offset.
        offset: streamledger_protocol::Offset,
        /// What the function gave.
        error: E,
    },
}

/// Stops a [`ParallelConsumer`] from any thread.
#[derive(Debug, Clone)]
pub struct StopHandle(Arc<AtomicBool>);

impl StopHandle {
    /// No more records are begun; those in work are finished and committed, then
    /// [`run`](ParallelConsumer::run) returns.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl ParallelConsumer {
    /// Works on what this consumer reads, which is subscribed or assigned already and doesn't
    /// commit automatically. Its rebalance listener gives way to one that waits for what is in
    /// work.
    #[must_use]
    pub fn new(consumer: Consumer, workers: usize) -> Self {
        Self {
            consumer,
            workers: workers.max(1),
            records_max: 1000,
            commit_interval: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(30),
            is_stopping: Arc::new(AtomicBool::new(false)),
        }
    }

    /// How many records are held at most, in work or waiting for their turn (1000 if not said),
    /// beside those of one poll (`max.poll.records`).
    #[must_use]
    pub fn records_max(mut self, records_max: usize) -> Self {
        self.records_max = records_max.max(1);
        self
    }

    /// How often what is done is committed (once a second if not said).
    #[must_use]
    pub fn commit_interval(mut self, interval: Duration) -> Self {
        self.commit_interval = interval;
        self
    }

    /// For how long a rebalance is held up for records in work of partitions that are to be given
    /// up (30 s if not said; keep it under `max.poll.interval.ms`). What takes longer is worked
    /// on again by whoever gets them.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Stops it from any thread.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(Arc::clone(&self.is_stopping))
    }

    /// The consumer, to look at, or to close afterwards.
    #[must_use]
    pub fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// Works until it is stopped, reading fails, or the function does. What was done is then
    /// committed. Blocks; the function is called from threads of its own.
    ///
    /// # Errors
    /// See [`ParallelError`].
    pub fn run<E: Send>(
        &self,
        process: impl Fn(&ConsumerRecord) -> Result<(), E> + Sync,
    ) -> Result<(), ParallelError<E>> {
        let is_automatic = self.consumer.group.as_ref().is_some_and(|g| g.auto_commit.is_some());
        if is_automatic {
            return Err(ParallelError::CommitsAutomatically);
        }
        let work = Arc::new(Work::new(self.records_max));
        let (sees, drain_timeout) = (Arc::clone(&work), self.drain_timeout);
        self.consumer.on_rebalance(GivesBack { work: sees, drain_timeout });
        let failed = Mutex::new(None);
        let outcome = thread::scope(|scope| {
            for _ in 0..self.workers {
                scope.spawn(|| work.labour(&process, &failed));
            }
            let outcome = self.feed(&work, || failed.lock().is_some());
            work.end();
            outcome
        });
        // All workers are done: what they did is known.
        let done = work.state.lock().order.committable();
        let committed = self.consumer.commit_offsets(&done);
        self.is_stopping.store(false, Ordering::Relaxed);
        if let Some((record, error)) = failed.into_inner() {
            let record: ConsumerRecord = record;
            let (topic_partition, offset) = (record.topic_partition, record.offset);
            return Err(ParallelError::Function { topic_partition, offset, error });
        }
        outcome?;
        Ok(committed?)
    }

    /// Polls, lets in what came, and commits what is done, until there is a reason to end.
    fn feed(&self, work: &Arc<Work>, has_failed: impl Fn() -> bool) -> Result<(), ConsumerError> {
        let mut committed_at = Instant::now();
        while !self.is_stopping.load(Ordering::Relaxed) && !has_failed() {
            let is_full = work.state.lock().order.room() == 0;
            // Polls go on, so that the member stays one; they just give nothing.
            match is_full {
                true => self.consumer.pause(&self.consumer.assignment()),
                false => self.consumer.resume(&self.consumer.paused()),
            }
            let wait = if is_full { POLL_WHEN_FULL } else { POLL };
            let records = match self.consumer.poll(wait) {
                Ok(records) => records,
                Err(ConsumerError::WokenUp) => break,
                Err(error) => return Err(error),
            };
            work.let_in(records);
            if committed_at.elapsed() >= self.commit_interval {
                committed_at = Instant::now();
                self.commit(work);
            }
        }
        Ok(())
    }

    fn commit(&self, work: &Arc<Work>) {
        let offsets = work.state.lock().order.take_committable();
        if offsets.is_empty() {
            return;
        }
        let storing = self.consumer.thread.run(|fetcher| async move {
            if let Err(error) = fetcher.commit(offsets).await {
                // What follows is committed with the next; what is lost, others work on again.
                tracing::warn!(%error, "commit of parallel work");
            }
        });
        drop(storing);
    }
}

/// What workers and feeder share.
struct Work {
    state: Mutex<WorkState>,
    /// There is something to begin, or the end.
    has_news: Condvar,
    /// Something is done.
    is_done: Condvar,
}

struct WorkState {
    order: KeyOrder<ConsumerRecord>,
    is_over: bool,
}

impl Work {
    fn new(records_max: usize) -> Self {
        let state = WorkState { order: KeyOrder::new(records_max), is_over: false };
        Self { state: Mutex::new(state), has_news: Condvar::new(), is_done: Condvar::new() }
    }

    fn let_in(&self, records: impl IntoIterator<Item = ConsumerRecord>) {
        let mut state = self.state.lock();
        for record in records {
            state.order.add(KeyedRecord {
                topic_partition: record.topic_partition.clone(),
                offset: record.offset,
                leader_epoch: record.leader_epoch,
                key: record.key.clone(),
                work: record,
            });
        }
        drop(state);
        self.has_news.notify_all();
    }

    /// No more is begun.
    fn end(&self) {
        self.state.lock().is_over = true;
        self.has_news.notify_all();
    }

    /// A worker's life. A failure ends them all; so does a panic, which the scope hands on.
    fn labour<E>(
        &self,
        process: &impl Fn(&ConsumerRecord) -> Result<(), E>,
        failed: &Mutex<Option<(ConsumerRecord, E)>>,
    ) {
        while let Some((ticket, record)) = self.next() {
            let guard = EndsOnPanic(self);
            let outcome = process(&record);
            std::mem::forget(guard);
            match outcome {
                Ok(()) => self.done(ticket),
                Err(error) => {
                    failed.lock().get_or_insert((record, error));
                    return self.end();
                }
            }
        }
    }

    fn next(&self) -> Option<(Ticket, ConsumerRecord)> {
        let mut state = self.state.lock();
        loop {
            if state.is_over {
                return None;
            }
            if let Some(begun) = state.order.begin() {
                return Some(begun);
            }
            self.has_news.wait(&mut state);
        }
    }

    fn done(&self, ticket: Ticket) {
        self.state.lock().order.done(ticket);
        // Its key's next may be begun.
        self.has_news.notify_one();
        self.is_done.notify_all();
    }

    /// Waits until nothing of these is in work, or it takes too long.
    fn drain<'a>(
        &'a self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> MutexGuard<'a, WorkState> {
        let deadline = Instant::now() + timeout;
        let mut state = self.state.lock();
        state.order.stop(partitions);
        while state.order.in_work(partitions) > 0 && !state.is_over {
            if self.is_done.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        state
    }
}

/// A worker that panics ends the others, or they would wait for ever.
struct EndsOnPanic<'a>(&'a Work);

impl Drop for EndsOnPanic<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Gives partitions back when what is in work of them is done and committed.
struct GivesBack {
    work: Arc<Work>,
    drain_timeout: Duration,
}

impl RebalanceListener for GivesBack {
    fn revoked(&self, consumer: &Consumer, partitions: &[TopicPartition]) {
        let offsets = self.work.drain(partitions, self.drain_timeout).order.committable();
        if let Err(error) = consumer.commit_offsets(&offsets) {
            tracing::warn!(%error, "commit before partitions are given up");
        }
        self.work.state.lock().order.forget(partitions);
    }

    fn lost(&self, _: &Consumer, partitions: &[TopicPartition]) {
        self.work.state.lock().order.forget(partitions);
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}
