//! What a run is made of: everything that its seed, or a scenario, decides before it begins.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use streamledger_broker_core::planted_bugs::{Planted as BrokerPlanted, PlantedBug as BrokerBug};
use streamledger_client_core::planted_bugs::PlantedBug as ClientBug;
use streamledger_client_core::transaction::TransactionVersion;
use streamledger_protocol::Codec;

use crate::clock::SimTime;
use crate::random::Dice;

/// A bug planted in one of the cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// In the producer.
    Client(ClientBug),
    /// In the log.
    Broker(BrokerBug),
}

impl Planted {
    /// All planted bugs.
    pub fn all() -> impl Iterator<Item = Self> {
        let client = ClientBug::ALL.into_iter().map(Self::Client);
        client.chain(BrokerBug::ALL.into_iter().map(Self::Broker))
    }

    pub(crate) fn in_client(self) -> Option<ClientBug> {
        match self {
            Self::Client(bug) => Some(bug),
            Self::Broker(_) => None,
        }
    }

    pub(crate) fn in_broker(self) -> BrokerPlanted {
        match self {
            Self::Client(_) => BrokerPlanted::none(),
            Self::Broker(bug) => BrokerPlanted::with(bug),
        }
    }
}

impl fmt::Display for Planted {
    /// The bug's name in kebab case, as the command line takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Client(bug) => format!("{bug:?}"),
            Self::Broker(bug) => format!("{bug:?}"),
        };
        for (place, letter) in name.chars().enumerate() {
            if letter.is_ascii_uppercase() && place > 0 {
                f.write_str("-")?;
            }
            write!(f, "{}", letter.to_ascii_lowercase())?;
        }
        Ok(())
    }
}

/// A name that no planted bug has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownBug(String);

impl fmt::Display for UnknownBug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = Planted::all().map(|bug| bug.to_string()).collect();
        write!(f, "{:?} is no planted bug; there are {}", self.0, names.join(", "))
    }
}

impl std::error::Error for UnknownBug {}

impl FromStr for Planted {
    type Err = UnknownBug;

    fn from_str(name: &str) -> Result<Self, UnknownBug> {
        Self::all().find(|bug| bug.to_string() == name).ok_or_else(|| UnknownBug(name.to_owned()))
    }
}

/// A run.
#[derive(Debug, Clone)]
pub struct RunPlan {
    /// Where all its chance comes from.
    pub seed: u64,
    /// How many brokers there are.
    pub brokers: usize,
    /// How many partitions each topic has.
    pub topics: Vec<i32>,
    /// The producers.
    pub producers: Vec<ProducerPlan>,
    /// The network.
    pub network: NetworkPlan,
    /// The brokers' disks and logs.
    pub disk: DiskPlan,
    /// What goes wrong by itself.
    pub faults: FaultPlan,
    /// Every record must be acknowledged in the end, whatever happened on the way.
    pub must_deliver: bool,
    /// The planted bug, if any.
    pub planted: Option<Planted>,
    /// Keep the trace's lines.
    pub keep_trace: bool,
}

/// One producer and its caller.
#[derive(Debug, Clone)]
pub struct ProducerPlan {
    /// How many records its caller sends.
    pub records: u32,
    /// Microseconds from one record to the next, at most.
    pub gap_us_max: u64,
    /// The longest value, bytes.
    pub value_bytes_max: u64,
    /// The caller flushes after so many records; 0 is never.
    pub flush_every: u32,
    /// `batch.size`.
    pub batch_bytes_max: usize,
    /// `buffer.memory`.
    pub memory_bytes_max: usize,
    /// `linger.ms`.
    pub linger: Duration,
    /// `max.in.flight.requests.per.connection`.
    pub in_flight_max: usize,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `delivery.timeout.ms`.
    pub delivery_timeout: Duration,
    /// `max.block.ms`.
    pub block_max: Duration,
    /// `compression.type`.
    pub codec: Codec,
    /// A request that times out takes its connection with it, as in the Java client.
    pub close_on_timeout: bool,
    /// Sequences begin here instead of at 0; the logs are prepared for it.
    pub first_sequence: i32,
    /// Its records go in transactions.
    pub transaction: Option<TransactionPlan>,
}

/// A producer's transactions.
#[derive(Debug, Clone)]
pub struct TransactionPlan {
    /// The number of its transactional id: of two producers with one, the later fences the other.
    pub id: usize,
    /// By which protocol.
    pub version: TransactionVersion,
    /// `transaction.timeout.ms`.
    pub timeout: Duration,
    /// How many transactions its caller ends as he wanted to. The last commits.
    pub transactions: u32,
    /// The most records of one.
    pub records_max: u64,
    /// So many in a thousand are aborted on purpose.
    pub abort_per_mille: u64,
    /// It consumes, processes and produces: each record is made of an input, and how far it has
    /// come is an offset of its group, stored in the same transaction.
    pub processing: Option<ProcessingPlan>,
}

/// How a producer that processes inputs is a member of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessingPlan {
    /// The number of its group.
    pub group: usize,
    /// It has a `group.instance.id`, by which its next life takes its place at once. Without one
    /// the group goes on to a generation that its last life is no member of.
    pub is_static: bool,
    /// Its next life takes a transactional id of its own: only the group fences the last one.
    pub fresh_ids: bool,
}

/// The network.
#[derive(Debug, Clone)]
pub struct NetworkPlan {
    /// The shortest way from one machine to another, microseconds.
    pub latency_us_min: u64,
    /// The usual longest way, microseconds.
    pub latency_us_max: u64,
    /// In so many cases of a thousand a message takes up to ten times as long.
    pub spike_per_mille: u64,
}

/// The brokers' disks and logs.
#[derive(Debug, Clone)]
pub struct DiskPlan {
    /// The shortest flush, microseconds.
    pub flush_us_min: u64,
    /// The usual longest flush, microseconds.
    pub flush_us_max: u64,
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `max.message.bytes`.
    pub message_bytes_max: u32,
}

/// What goes wrong by itself.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    /// When the last fault is over.
    pub until: SimTime,
    /// Microseconds from one fault to the next, at most; 0 is no faults.
    pub gap_us_max: u64,
    /// Whether topics are deleted and made anew.
    pub recreate_topics: bool,
    /// Whether metadata loses topics for a moment, more often than other faults come.
    pub lose_topics: bool,
}

const SECOND: Duration = Duration::from_secs(1);
/// Time in which a transaction with offsets can be over on the slowest disk there is.
const OFFSETS_TIMEOUT_MIN: Duration = Duration::from_secs(2);

impl RunPlan {
    /// A run in which nothing goes wrong, for scenarios to change.
    #[must_use]
    pub fn calm(seed: u64) -> Self {
        Self {
            seed,
            brokers: 2,
            topics: vec![1],
            producers: vec![ProducerPlan::calm()],
            network: NetworkPlan { latency_us_min: 200, latency_us_max: 400, spike_per_mille: 0 },
            disk: DiskPlan {
                flush_us_min: 500,
                flush_us_max: 1000,
                segment_bytes: 1 << 20,
                index_interval_bytes: 4096,
                message_bytes_max: 1 << 20,
            },
            faults: FaultPlan {
                until: SimTime(0),
                gap_us_max: 0,
                recreate_topics: false,
                lose_topics: false,
            },
            must_deliver: true,
            planted: None,
            keep_trace: false,
        }
    }

    /// The run of a seed, with everything that can go wrong.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let recreate_topics = dice.chance(150);
        let small_messages = dice.chance(200);
        let patient = dice.chance(600);
        let message_bytes_max = if small_messages { dice.between(900, 2000) } else { 1 << 20 };
        let topics = (0..dice.between(1, 2)).map(|_| dice.pick(&[1, 1, 2, 3])).collect();
        let producer = |dice: &mut Dice| ProducerPlan::from_dice(dice, patient, small_messages);
        let producers: Vec<_> =
            (0..dice.pick(&[1, 1, 2, 3])).map(|_| producer(&mut dice)).collect();
        // A segment takes the largest batch, and more often a few than many.
        let largest = producers.iter().map(|p| p.batch_bytes_max).max().unwrap_or(0).max(1000);
        let segment_bytes = (largest as u64 + 500) * dice.pick(&[1, 1, 2, 5]);
        Self {
            seed,
            brokers: dice.pick(&[1, 2, 3]),
            topics,
            producers,
            network: NetworkPlan {
                latency_us_min: 50,
                latency_us_max: dice.pick(&[300, 2000, 20_000]),
                spike_per_mille: dice.pick(&[0, 10, 100]),
            },
            disk: DiskPlan {
                flush_us_min: 100,
                flush_us_max: dice.pick(&[500, 10_000, 60_000]),
                segment_bytes: u32::try_from(segment_bytes).unwrap_or(20_000),
                index_interval_bytes: dice.pick(&[1, 500, 4096]),
                message_bytes_max: u32::try_from(message_bytes_max).unwrap_or(2000),
            },
            faults: FaultPlan {
                until: SimTime::from_ms(dice.between(500, 4000)),
                gap_us_max: dice.pick(&[30_000, 150_000, 600_000]),
                recreate_topics,
                lose_topics: dice.chance(300),
            },
            must_deliver: patient && !recreate_topics && !small_messages,
            planted: None,
            keep_trace: false,
        }
    }

    /// The run of a seed in which producers write in transactions, with everything that can go
    /// wrong with these as well.
    #[must_use]
    pub fn transactional_from_seed(seed: u64) -> Self {
        let mut plan = Self::from_seed(seed);
        let mut dice = Dice::new(seed ^ 0x7472_616e_7361_6374);
        plan.topics = vec![dice.pick(&[1, 2, 3]), dice.pick(&[1, 2])];
        plan.faults.recreate_topics = false;
        plan.must_deliver = false;
        plan.producers.truncate(2);
        for (id, producer) in plan.producers.iter_mut().enumerate() {
            let transaction = TransactionPlan::from_dice(&mut dice, id);
            // Most transactions have the time that they need.
            let timeout_us = u64::try_from(transaction.timeout.as_micros()).unwrap_or(u64::MAX);
            let gap_us = timeout_us / (3 * transaction.records_max);
            producer.gap_us_max = producer.gap_us_max.min(gap_us);
            producer.transaction = Some(transaction);
        }
        plan
    }

    /// The run of a seed in which producers consume, process and produce in transactions, with
    /// everything that can go wrong with these and with their groups.
    #[must_use]
    pub fn processing_from_seed(seed: u64) -> Self {
        let mut plan = Self::transactional_from_seed(seed);
        let mut dice = Dice::new(seed ^ 0x7072_6f63_6573_7365);
        for transaction in plan.producers.iter_mut().filter_map(|one| one.transaction.as_mut()) {
            transaction.processing = Some(ProcessingPlan::from_dice(&mut dice, transaction.id));
            transaction.timeout = transaction.timeout.max(OFFSETS_TIMEOUT_MIN);
        }
        plan
    }

    /// A run of one transactional producer in which nothing goes wrong, for scenarios to change.
    #[must_use]
    pub fn calm_transactional(seed: u64, version: TransactionVersion) -> Self {
        let mut plan = Self::calm(seed);
        plan.topics = vec![3];
        plan.must_deliver = false;
        plan.producers[0].transaction = Some(TransactionPlan::calm(version));
        plan
    }

    /// The same of one that processes inputs, and stores in each transaction how far it has come.
    #[must_use]
    pub fn calm_processing(
        seed: u64,
        version: TransactionVersion,
        processing: ProcessingPlan,
    ) -> Self {
        let mut plan = Self::calm_transactional(seed, version);
        for transaction in plan.producers.iter_mut().filter_map(|one| one.transaction.as_mut()) {
            transaction.processing = Some(processing);
        }
        plan
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.producers.iter().any(|producer| producer.transaction.is_some())
    }

    pub(crate) fn is_processing(&self) -> bool {
        let mut transactions = self.producers.iter().filter_map(|one| one.transaction.as_ref());
        transactions.any(|transaction| transaction.processing.is_some())
    }

    /// The same run with a bug.
    #[must_use]
    pub fn with_bug(mut self, bug: Planted) -> Self {
        self.planted = Some(bug);
        self
    }
}

impl ProducerPlan {
    /// A producer of 50 records, one every 2 ms at most, each batch of a few.
    #[must_use]
    pub fn calm() -> Self {
        Self {
            records: 50,
            gap_us_max: 2000,
            value_bytes_max: 100,
            flush_every: 0,
            batch_bytes_max: 500,
            memory_bytes_max: 1 << 20,
            linger: Duration::from_millis(2),
            in_flight_max: 5,
            request_timeout: SECOND,
            delivery_timeout: 100 * SECOND,
            block_max: 60 * SECOND,
            codec: Codec::None,
            close_on_timeout: true,
            first_sequence: 0,
            transaction: None,
        }
    }

    fn from_dice(dice: &mut Dice, patient: bool, small_messages: bool) -> Self {
        // A record alone must fit what the broker takes.
        let value_bytes_max = if small_messages { 300 } else { dice.pick(&[40, 200, 600]) };
        let batch_bytes_max = dice.pick(&[300_usize, 1000, 4000]);
        let batches_of_memory = dice.pick(&[2_usize, 8, 64]);
        let request_timeout = Duration::from_millis(dice.pick(&[60, 200, 800]));
        let delivery_timeout = match patient {
            true => 600 * SECOND,
            false => request_timeout + Duration::from_millis(dice.between(100, 2500)),
        };
        Self {
            records: u32::try_from(dice.between(100, 500)).unwrap_or(100),
            gap_us_max: dice.pick(&[200, 3000, 20_000]),
            value_bytes_max,
            flush_every: dice.pick(&[0, 0, 7, 40]),
            batch_bytes_max,
            memory_bytes_max: batches_of_memory * batch_bytes_max.max(1000),
            linger: Duration::from_millis(dice.pick(&[0, 1, 5, 20])),
            in_flight_max: dice.pick(&[1, 2, 5, 5, 5]),
            request_timeout,
            delivery_timeout,
            block_max: Duration::from_millis(dice.pick(&[50, 1000, 60_000])),
            codec: dice.pick(&[Codec::None, Codec::None, Codec::Lz4, Codec::Zstd]),
            close_on_timeout: dice.chance(600),
            first_sequence: 0,
            transaction: None,
        }
    }
}

impl TransactionPlan {
    /// Ten transactions of up to eight records, none aborted on purpose.
    #[must_use]
    pub fn calm(version: TransactionVersion) -> Self {
        Self {
            id: 0,
            version,
            timeout: 10 * SECOND,
            transactions: 10,
            records_max: 8,
            abort_per_mille: 0,
            processing: None,
        }
    }

    fn from_dice(dice: &mut Dice, id: usize) -> Self {
        Self {
            id,
            version: dice.pick(&[TransactionVersion::V1, TransactionVersion::V2]),
            timeout: Duration::from_millis(dice.pick(&[400, 2000, 20_000])),
            transactions: u32::try_from(dice.between(5, 40)).unwrap_or(5),
            records_max: dice.pick(&[2, 8, 30]),
            abort_per_mille: dice.pick(&[0, 200, 500]),
            processing: None,
        }
    }
}

impl ProcessingPlan {
    fn from_dice(dice: &mut Dice, group: usize) -> Self {
        Self { group, is_static: dice.chance(500), fresh_ids: dice.chance(500) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bug_is_found_by_its_name_and_others_are_refused_with_the_names() {
        for bug in Planted::all() {
            assert_eq!(bug.to_string().parse(), Ok(bug));
        }
        let refused = "no-bug".parse::<Planted>().unwrap_err().to_string();
        assert!(refused.contains("keep-torn-tail") && refused.contains("requeue-out-of-order"));
    }
}
