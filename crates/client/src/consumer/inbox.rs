//! Between the I/O thread, which delivers, and those who poll, who read.
//!
//! 1. Two locks, always in this order: `reading`, held by who reads records; `state`, held for a
//!    moment by anyone. So a slow reader holds up neither the I/O thread nor `position`.
//! 2. What belongs to an older generation than the partition's is dropped when it is met.
//! 3. Troubles keep their place among the records: what came before one is read before it is told.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

use parking_lot::Mutex;
use streamledger_client_core::consumer::{
    BatchOfRecords, Event, Fetched, Generation, PartitionReader, Position,
};
use streamledger_protocol::compression::Decompressor;
use streamledger_protocol::record_batch::RecordRef;
use streamledger_protocol::{IsolationLevel, Offset, TopicPartition};

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
    decompressor: Decompressor,
}

#[derive(Default)]
struct State {
    partitions: BTreeMap<TopicPartition, Place>,
    last_generation: u64,
    items: VecDeque<Item>,
    /// Those who wait for something to be delivered.
    waiting: BTreeMap<u64, Waker>,
    next_waiter: u64,
}

/// Where one partition is.
struct Place {
    generation: Generation,
    position: Option<Offset>,
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
        let reading = Reading { reader: None, decompressor: Decompressor::default() };
        Self { isolation, check_crcs, reading: Mutex::new(reading), state: Mutex::default() }
    }

    /// Puts an assignment in the place of the former.
    pub(super) fn assign(
        &self,
        partitions: &[(TopicPartition, Position)],
    ) -> Vec<(TopicPartition, Generation, Position)> {
        let state = &mut *self.state.lock();
        state.partitions.clear();
        state.items.clear();
        let assigned = partitions.iter().map(|(topic_partition, position)| {
            state.last_generation += 1;
            let generation = Generation(state.last_generation);
            let place = Place { generation, position: known(*position) };
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
        *place = Place { generation, position: known(position) };
        Ok(generation)
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
                state.position_at(&topic_partition, generation, offset);
                return;
            }
            item => state.items.push_back(item),
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_values().for_each(Waker::wake);
    }

    /// Whether something is there. If not, this one is woken when something is delivered.
    pub(super) fn is_ready(&self, waiter: &mut Option<Waiter>, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if !state.items.is_empty() {
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
            if !self.state.lock().is_current(reader.topic_partition(), reader.generation()) {
                continue;
            }
            let wanted = records_max - record_count;
            let read = reader.read(wanted, &mut reading.decompressor, |batch, record| {
                record_count += 1;
                visit(batch, record);
            });
            let (topic_partition, generation) =
                (reader.topic_partition().clone(), reader.generation());
            let mut state = self.state.lock();
            state.position_at(&topic_partition, generation, reader.position());
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

    /// The next records to read, if any are there. A trouble is told, unless there are records to
    /// give first.
    fn next_item(&self, has_records: bool) -> Result<Option<Fetched>, ConsumerError> {
        let mut state = self.state.lock();
        while let Some(item) = state.items.pop_front() {
            match item {
                Item::Fetched(fetched) => {
                    if state.is_current(&fetched.topic_partition, fetched.generation) {
                        return Ok(Some(fetched));
                    }
                }
                Item::Positioned(topic_partition, generation, offset) => {
                    state.position_at(&topic_partition, generation, offset);
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
        place.is_some_and(|place| place.generation == generation)
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
    ) {
        let place = self.partitions.get_mut(topic_partition);
        if let Some(place) = place.filter(|place| place.generation == generation) {
            place.position = Some(offset);
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
