//! Between the I/O thread, which delivers, and those who poll, who read.
//!
//! 1. Two locks, always in this order: `reading`, held by who reads records; `state`, held for a
//!    moment by anyone. So a slow reader holds up neither the I/O thread nor `position`.
//! 2. What belongs to an older generation than the partition's is dropped when it is met.
//! 3. Troubles keep their place among the records: what came before one is read before it is told.
//! 4. What came of a paused partition is kept aside and read once it goes on.
//! 5. From the moment a step takes partitions away, nobody reads them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::task::Waker;
use std::time::Instant;

use parking_lot::Mutex;
use streamledger_client_core::consumer::group::{Step, StepId};
use streamledger_client_core::consumer::{
    BatchOfRecords, Event, Fetched, Generation, PartitionReader, Position,
};
use streamledger_client_core::transaction::CommittedOffset;
use streamledger_protocol::compression::Decompressor;
use streamledger_protocol::record_batch::RecordRef;
use streamledger_protocol::{IsolationLevel, LeaderEpoch, Offset, TopicPartition};

use super::ConsumerError;

/// What was delivered and not read yet, and where each partition is.
pub(super) struct Inbox {
    isolation: IsolationLevel,
    check_crcs: bool,
    reading: Mutex<Reading>,
    state: Mutex<State>,
}

/// What is being read.
struct Reading {
    reader: Option<PartitionReader>,
    /// Begun, of partitions that were paused since.
    paused: BTreeMap<TopicPartition, PartitionReader>,
    decompressor: Decompressor,
}

struct State {
    partitions: BTreeMap<TopicPartition, Place>,
    last_generation: u64,
    items: VecDeque<Item>,
    /// What came of paused partitions.
    aside: BTreeMap<TopicPartition, VecDeque<Item>>,
    /// The partitions whose reader is kept aside.
    readers_aside: BTreeSet<TopicPartition>,
    /// What membership wants done by whoever polls next.
    step: Option<(StepId, Step)>,
    is_woken: bool,
    is_closed: bool,
    /// How many poll now.
    polls: usize,
    polled_at: Instant,
    /// Those who wait for something to be delivered.
    waiting: BTreeMap<u64, Waker>,
    next_waiter: u64,
}

/// Where one partition is.
struct Place {
    generation: Generation,
    position: Option<Offset>,
    /// That of the last record read; -1 before the first.
    leader_epoch: LeaderEpoch,
    is_paused: bool,
    /// A step takes it away: it is read no more.
    is_given_up: bool,
}

impl Place {
    fn new(generation: Generation, position: Option<Offset>) -> Self {
        let leader_epoch = LeaderEpoch::NONE;
        Self { generation, position, leader_epoch, is_paused: false, is_given_up: false }
    }
}

/// Something delivered.
pub(super) enum Item {
    /// Records.
    Fetched(Fetched),
    /// A position that was found.
    Positioned(TopicPartition, Generation, Offset),
    /// An error; of one partition and generation, or of all.
    Trouble(Option<(TopicPartition, Generation)>, ConsumerError),
}

/// The name of one who waits.
#[derive(Debug)]
pub(super) struct Waiter(u64);

impl Inbox {
    pub(super) fn new(isolation: IsolationLevel, check_crcs: bool) -> Self {
        let (paused, decompressor) = (BTreeMap::new(), Decompressor::default());
        let reading = Reading { reader: None, paused, decompressor };
        let state = State {
            partitions: BTreeMap::new(),
            last_generation: 0,
            items: VecDeque::new(),
            aside: BTreeMap::new(),
            readers_aside: BTreeSet::new(),
            step: None,
            is_woken: false,
            is_closed: false,
            polls: 0,
            polled_at: Instant::now(),
            waiting: BTreeMap::new(),
            next_waiter: 0,
        };
        Self { isolation, check_crcs, reading: Mutex::new(reading), state: Mutex::new(state) }
    }

    /// Puts an assignment in the place of the former.
    pub(super) fn assign(
        &self,
        partitions: &[(TopicPartition, Position)],
    ) -> Vec<(TopicPartition, Generation, Position)> {
        let state = &mut *self.state.lock();
        state.partitions.clear();
        state.items.clear();
        state.aside.clear();
        state.step = None;
        let assigned = partitions.iter().map(|(topic_partition, position)| {
            state.last_generation += 1;
            let generation = Generation(state.last_generation);
            let place = Place::new(generation, known(*position));
            state.partitions.insert(topic_partition.clone(), place);
            (topic_partition.clone(), generation, *position)
        });
        assigned.collect()
    }

    pub(super) fn seek(
        &self,
        topic_partition: &TopicPartition,
        position: Position,
    ) -> Result<Generation, ConsumerError> {
        let state = &mut *self.state.lock();
        let Some(place) = state.partitions.get_mut(topic_partition) else {
            return Err(ConsumerError::NotAssigned(topic_partition.clone()));
        };
        state.last_generation += 1;
        let generation = Generation(state.last_generation);
        (place.generation, place.position) = (generation, known(position));
        place.leader_epoch = LeaderEpoch::NONE;
        Ok(generation)
    }

    /// Reads these too. Those that are there already stay as they are.
    pub(super) fn add(&self, partitions: &[TopicPartition]) -> Vec<(TopicPartition, Generation)> {
        let state = &mut *self.state.lock();
        let mut added = Vec::with_capacity(partitions.len());
        for topic_partition in partitions {
            if state.partitions.contains_key(topic_partition) {
                continue;
            }
            state.last_generation += 1;
            let generation = Generation(state.last_generation);
            state.partitions.insert(topic_partition.clone(), Place::new(generation, None));
            added.push((topic_partition.clone(), generation));
        }
        added
    }

    /// Reads these no more.
    pub(super) fn remove(&self, partitions: &[TopicPartition]) {
        let state = &mut *self.state.lock();
        for topic_partition in partitions {
            state.partitions.remove(topic_partition);
            state.aside.remove(topic_partition);
        }
    }

    /// Those of them that still wait for their first position.
    pub(super) fn unpositioned(
        &self,
        partitions: &[(TopicPartition, Generation)],
    ) -> Vec<(TopicPartition, Generation)> {
        let state = self.state.lock();
        let waiting = partitions.iter().filter(|(at, of)| state.has_no_position(at, *of));
        waiting.cloned().collect()
    }

    /// Gives a partition its first position, unless it has one of its own since.
    pub(super) fn settle(
        &self,
        topic_partition: &TopicPartition,
        generation: Generation,
        position: Position,
    ) -> bool {
        let mut state = self.state.lock();
        let is_open = state.has_no_position(topic_partition, generation);
        if let (true, Some(offset)) = (is_open, known(position)) {
            state.position_at(topic_partition, generation, offset, LeaderEpoch::NONE);
        }
        is_open
    }

    /// Stops reading a partition for a while, or goes on.
    pub(super) fn pause(&self, topic_partition: &TopicPartition, is_paused: bool) -> bool {
        let mut state = self.state.lock();
        let Some(place) = state.partitions.get_mut(topic_partition) else { return false };
        place.is_paused = is_paused;
        if !is_paused {
            let aside = state.aside.remove(topic_partition).unwrap_or_default();
            aside.into_iter().rev().for_each(|item| state.items.push_front(item));
            state.wake_all();
        }
        true
    }

    pub(super) fn paused(&self) -> Vec<TopicPartition> {
        let state = self.state.lock();
        let paused = state.partitions.iter().filter(|(_, place)| place.is_paused);
        paused.map(|(topic_partition, _)| topic_partition.clone()).collect()
    }

    /// How far each partition is read, as it would be committed.
    pub(super) fn offsets(&self) -> Vec<(TopicPartition, CommittedOffset)> {
        let state = self.state.lock();
        let read = state.partitions.iter().filter_map(|(topic_partition, place)| {
            let (offset, leader_epoch) = (place.position?, place.leader_epoch);
            let offset = CommittedOffset { offset, leader_epoch, metadata: None };
            Some((topic_partition.clone(), offset))
        });
        read.collect()
    }

    /// Puts a step before whoever polls next, in the place of one that nobody has begun.
    pub(super) fn offer(&self, id: StepId, step: Step) {
        let mut state = self.state.lock();
        state.step = Some((id, step));
        state.wake_all();
    }

    /// The step to take, if there is one. What it takes away nobody reads any more; who reads it
    /// at the moment is waited for.
    pub(super) fn take_step(&self) -> Option<(StepId, Step)> {
        self.state.lock().step.as_ref()?;
        let _reading = self.reading.lock();
        let mut state = self.state.lock();
        let (id, step) = state.step.take()?;
        if let Step::Revoke(partitions) | Step::Lose(partitions) = &step {
            for topic_partition in partitions {
                if let Some(place) = state.partitions.get_mut(topic_partition) {
                    place.is_given_up = true;
                }
            }
        }
        Some((id, step))
    }

    /// Drops a step that nobody has begun.
    pub(super) fn forget_step(&self) {
        self.state.lock().step = None;
    }

    /// Somebody polls; says how long nobody had.
    pub(super) fn begin_poll(&self) -> Result<std::time::Duration, ConsumerError> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(ConsumerError::Closed);
        }
        let now = Instant::now();
        let pause = match state.polls {
            0 => now.saturating_duration_since(state.polled_at),
            _ => std::time::Duration::ZERO,
        };
        state.polls += 1;
        state.polled_at = now;
        Ok(pause)
    }

    pub(super) fn end_poll(&self) {
        let mut state = self.state.lock();
        state.polls = state.polls.saturating_sub(1);
        state.polled_at = Instant::now();
    }

    /// When somebody polled last; now, if somebody does.
    pub(super) fn polled_at(&self) -> Instant {
        let state = self.state.lock();
        if state.polls > 0 { Instant::now() } else { state.polled_at }
    }

    /// Ends one poll, now or next, with an error.
    pub(super) fn wake_up(&self) {
        let mut state = self.state.lock();
        state.is_woken = true;
        state.wake_all();
    }

    /// Whether this poll is to end.
    pub(super) fn take_wake_up(&self) -> bool {
        std::mem::take(&mut self.state.lock().is_woken)
    }

    /// Every poll ends from now on; false if they did already.
    pub(super) fn close(&self) -> bool {
        let mut state = self.state.lock();
        let was_open = !std::mem::replace(&mut state.is_closed, true);
        state.wake_all();
        was_open
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    pub(super) fn assignment(&self) -> Vec<TopicPartition> {
        self.state.lock().partitions.keys().cloned().collect()
    }

    pub(super) fn position(&self, topic_partition: &TopicPartition) -> Option<Offset> {
        self.state.lock().partitions.get(topic_partition)?.position
    }

    /// Delivers something, and wakes those who wait.
    pub(super) fn deliver(&self, item: Item) {
        let mut state = self.state.lock();
        match item {
            // The first position of a generation has nothing before it that is to be read.
            Item::Positioned(topic_partition, generation, offset)
                if state.has_no_position(&topic_partition, generation) =>
            {
                state.position_at(&topic_partition, generation, offset, LeaderEpoch::NONE);
                return;
            }
            item => state.items.push_back(item),
        }
        state.wake_all();
    }

    /// Whether something is there. If not, this one is woken when something is delivered.
    pub(super) fn is_ready(&self, waiter: &mut Option<Waiter>, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        let goes_on = |at: &TopicPartition| !state.is_paused(at);
        let has_some = !state.items.is_empty() || state.readers_aside.iter().any(goes_on);
        if has_some || state.step.is_some() || state.is_woken || state.is_closed {
            return true;
        }
        let Waiter(id) = waiter.get_or_insert_with(|| {
            state.next_waiter += 1;
            Waiter(state.next_waiter)
        });
        state.waiting.insert(*id, waker.clone());
        false
    }

    /// This one doesn't wait any more.
    pub(super) fn forget(&self, waiter: &Waiter) {
        self.state.lock().waiting.remove(&waiter.0);
    }

    /// Shows up to `records_max` records to `visit`, and says how many there were. What the
    /// fetching has to know of that goes into `events`.
    pub(super) fn read(
        &self,
        records_max: usize,
        events: &mut Vec<Event>,
        mut visit: impl FnMut(&BatchOfRecords<'_>, &RecordRef<'_>),
    ) -> Result<usize, ConsumerError> {
        let reading = &mut *self.reading.lock();
        self.take_up(reading);
        let mut record_count = 0;
        while record_count < records_max {
            let Some(mut reader) = reading.reader.take() else {
                match self.next_item(record_count > 0)? {
                    None => break,
                    Some(fetched) => {
                        let (isolation, check_crcs) = (self.isolation, self.check_crcs);
                        let reader = PartitionReader::new(fetched, isolation, check_crcs);
                        reading.reader = Some(reader);
                        continue;
                    }
                }
            };
            let mut state = self.state.lock();
            if !state.is_current(reader.topic_partition(), reader.generation()) {
                continue;
            }
            if state.is_paused(reader.topic_partition()) {
                state.readers_aside.insert(reader.topic_partition().clone());
                reading.paused.insert(reader.topic_partition().clone(), reader);
                continue;
            }
            drop(state);
            let wanted = records_max - record_count;
            let mut leader_epoch = LeaderEpoch::NONE;
            let read = reader.read(wanted, &mut reading.decompressor, |batch, record| {
                record_count += 1;
                leader_epoch = batch.leader_epoch;
                visit(batch, record);
            });
            let (topic_partition, generation) =
                (reader.topic_partition().clone(), reader.generation());
            let mut state = self.state.lock();
            state.position_at(&topic_partition, generation, reader.position(), leader_epoch);
            if let Err(fault) = read {
                let (topic_partition, of) = (topic_partition.clone(), topic_partition.clone());
                events.push(Event::Unreadable { topic_partition, generation });
                state.items.push_front(Item::Trouble(Some((of, generation)), fault.into()));
            }
            drop(state);
            if reader.is_done() {
                let bytes = reader.bytes();
                events.push(Event::Consumed { topic_partition, generation, bytes });
            } else {
                reading.reader = Some(reader);
            }
        }
        Ok(record_count)
    }

    /// Goes on with a reader kept aside whose partition is paused no more.
    fn take_up(&self, reading: &mut Reading) {
        if reading.paused.is_empty() || reading.reader.is_some() {
            return;
        }
        let mut state = self.state.lock();
        reading.paused.retain(|at, reader| state.is_current(at, reader.generation()));
        let next = reading.paused.keys().find(|at| !state.is_paused(at)).cloned();
        reading.reader = next.and_then(|at| reading.paused.remove(&at));
        state.readers_aside = reading.paused.keys().cloned().collect();
    }

    /// The next records to read, if any are there. A trouble is told, unless there are records to
    /// give first.
    fn next_item(&self, has_records: bool) -> Result<Option<Fetched>, ConsumerError> {
        let mut state = self.state.lock();
        while let Some(item) = state.items.pop_front() {
            let of = match &item {
                Item::Fetched(fetched) => Some(&fetched.topic_partition),
                Item::Positioned(topic_partition, ..) => Some(topic_partition),
                Item::Trouble(..) => None,
            };
            if let Some(at) = of.filter(|at| state.is_paused(at)).cloned() {
                state.aside.entry(at).or_default().push_back(item);
                continue;
            }
            match item {
                Item::Fetched(fetched) => {
                    if state.is_current(&fetched.topic_partition, fetched.generation) {
                        return Ok(Some(fetched));
                    }
                }
                Item::Positioned(topic_partition, generation, offset) => {
                    state.position_at(&topic_partition, generation, offset, LeaderEpoch::NONE);
                }
                Item::Trouble(of, error) => {
                    let is_current = of
                        .as_ref()
                        .is_none_or(|(tp, generation)| state.is_current(tp, *generation));
                    if is_current && has_records {
                        state.items.push_front(Item::Trouble(of, error));
                        return Ok(None);
                    }
                    if is_current {
                        return Err(error);
                    }
                }
            }
        }
        Ok(None)
    }
}

impl State {
    fn is_current(&self, topic_partition: &TopicPartition, generation: Generation) -> bool {
        let place = self.partitions.get(topic_partition);
        place.is_some_and(|place| place.generation == generation && !place.is_given_up)
    }

    fn is_paused(&self, topic_partition: &TopicPartition) -> bool {
        self.partitions.get(topic_partition).is_some_and(|place| place.is_paused)
    }

    fn wake_all(&mut self) {
        std::mem::take(&mut self.waiting).into_values().for_each(Waker::wake);
    }

    fn has_no_position(&self, topic_partition: &TopicPartition, generation: Generation) -> bool {
        let place = self.partitions.get(topic_partition);
        place.is_some_and(|place| place.generation == generation && place.position.is_none())
    }

    fn position_at(
        &mut self,
        topic_partition: &TopicPartition,
        generation: Generation,
        offset: Offset,
        leader_epoch: LeaderEpoch,
    ) {
        let place = self.partitions.get_mut(topic_partition);
        if let Some(place) = place.filter(|place| place.generation == generation) {
            place.position = Some(offset);
            place.leader_epoch = place.leader_epoch.max(leader_epoch);
        }
    }
}

/// A position that needs no search.
fn known(position: Position) -> Option<Offset> {
    match position {
        Position::Offset(offset) => Some(offset),
        Position::Beginning | Position::End | Position::Timestamp(_) | Position::Reset => None,
    }
}
