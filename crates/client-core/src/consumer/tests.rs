//! The fetching, effect by effect.

mod replicas;

use std::sync::Arc;
use std::time::{Duration, Instant};

use streamledger_protocol::compression::CompressionScratch;
use streamledger_protocol::messages::MetadataResponse;
use streamledger_protocol::messages::fetch::PartitionData;
use streamledger_protocol::messages::metadata::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use streamledger_protocol::record_batch::{BatchSeal, RecordBatchBuilder, patch_base_offset};
use streamledger_protocol::{
    BrokerId, ErrorCode, IsolationLevel, LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicId,
    TopicPartition,
};

use super::*;
use crate::cluster::{Asked, Cluster};
use crate::partitioner::SeededRandom;
use crate::sender::Backoff;
use crate::test_clock::some_moment;

const REPLICA_AGE_MAX: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(60);

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("clicks", PartitionIndex(partition))
}

/// Drives one fetching, with a clock of its own.
struct Driven {
    state: FetchState,
    now: Instant,
    cluster: Cluster,
    generation: u64,
}

impl Driven {
    fn new(offset_reset: OffsetReset) -> Self {
        let config = FetchConfig {
            isolation: IsolationLevel::ReadUncommitted,
            offset_reset,
            partition_bytes_max: 1000,
            bytes_max: 5000,
            replica_age_max: REPLICA_AGE_MAX,
            retry_backoff: Backoff {
                first: Duration::from_millis(100),
                max: Duration::from_secs(1),
            },
            patience: PATIENCE,
        };
        let state = FetchState::new(config, Arc::new(SeededRandom::new(1)));
        Self { state, now: some_moment(), cluster: Cluster::default(), generation: 0 }
    }

    fn handle(&mut self, event: Event) -> Vec<Effect> {
        self.state.handle(self.now, event);
        self.effects()
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.state.poll(self.now)).collect()
    }

    /// The effects after so much time, which must not be before the promised wake-up.
    fn after(&mut self, time: Duration) -> Vec<Effect> {
        self.now += time;
        self.effects()
    }

    fn assign(&mut self, positions: &[(i32, Position)]) -> Vec<Effect> {
        self.generation += 1;
        let generation = Generation(self.generation);
        let assigned = positions.iter().map(|(partition, at)| (tp(*partition), generation, *at));
        self.handle(Event::Assign(assigned.collect()))
    }

    /// Metadata by which these are the leaders, with their epochs, of partitions 0, 1, ...
    fn lead(&mut self, leaders: &[(i32, i32)]) -> Vec<Effect> {
        self.lead_topic(TopicId([1; 16]), leaders)
    }

    fn lead_topic(&mut self, topic_id: TopicId, leaders: &[(i32, i32)]) -> Vec<Effect> {
        let brokers = [1, 2].map(|id| MetadataResponseBroker {
            node_id: BrokerId(id),
            host: "h".to_owned(),
            port: 1,
            ..Default::default()
        });
        let partitions =
            leaders.iter().enumerate().map(|(index, (leader, epoch))| MetadataResponsePartition {
                partition_index: PartitionIndex(i32::try_from(index).unwrap()),
                leader_id: BrokerId(*leader),
                leader_epoch: LeaderEpoch(*epoch),
                ..Default::default()
            });
        let topic = MetadataResponseTopic {
            name: Some("clicks".into()),
            topic_id,
            partitions: partitions.collect(),
            ..Default::default()
        };
        self.metadata(vec![topic], &brokers)
    }

    fn metadata(
        &mut self,
        topics: Vec<MetadataResponseTopic>,
        brokers: &[MetadataResponseBroker],
    ) -> Vec<Effect> {
        let brokers = brokers.to_vec();
        let response = MetadataResponse { brokers, topics, ..Default::default() };
        self.cluster.apply(response, Asked::ForTopics).unwrap();
        let snapshot = self.cluster.snapshot();
        self.handle(Event::Metadata(snapshot))
    }

    /// A consumer that reads partitions 0 and 1, both led by broker 1, from offset 5.
    fn reading() -> (Self, RequestId) {
        let mut driven = Self::new(OffsetReset::Earliest);
        let from_five = Position::Offset(Offset(5));
        driven.assign(&[(0, from_five), (1, from_five)]);
        let effects = driven.lead(&[(1, 0), (1, 0)]);
        let request = fetch_of(&effects, 1);
        (driven, request)
    }

    fn answer(&mut self, request: RequestId, answers: Vec<(i32, PartitionData)>) -> Vec<Effect> {
        let answers = answers.into_iter().map(|(partition, data)| (tp(partition), data));
        self.handle(Event::Fetched { request, partitions: answers.collect() })
    }
}

/// The only fetch among the effects, which must go to that broker.
fn fetch_of(effects: &[Effect], to: i32) -> RequestId {
    let fetches: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Fetch { request, broker, .. } => Some((*request, broker.0)),
            _ => None,
        })
        .collect();
    let [(request, broker)] = fetches[..] else { panic!("{effects:?}") };
    assert_eq!(broker, to);
    request
}

fn fetched_partitions(effects: &[Effect]) -> Vec<(i32, i64)> {
    let mut wanted: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Fetch { partitions, .. } => Some(partitions),
            _ => None,
        })
        .flatten()
        .map(|wanted| (wanted.topic_partition.partition.0, wanted.offset.0))
        .collect();
    wanted.sort_unstable();
    wanted
}

fn delivered(effects: &[Effect]) -> Vec<(i32, i64, usize)> {
    let delivered = effects.iter().filter_map(|effect| match effect {
        Effect::Deliver(fetched) => {
            Some((fetched.topic_partition.partition.0, fetched.offset.0, fetched.bytes))
        }
        _ => None,
    });
    delivered.collect()
}

fn batch(base: i64, count: i64, value_bytes: usize) -> Vec<u8> {
    let mut builder = RecordBatchBuilder::with_capacity(1024);
    for offset in base..base + count {
        builder.append(TimestampMs(offset), None, Some(&vec![b'x'; value_bytes]), &[]);
    }
    let seal = BatchSeal { compression: Default::default(), producer: None, transactional: false };
    let sealed = builder.seal(&seal, &mut CompressionScratch::new()).unwrap();
    let mut bytes = sealed.bytes.to_vec();
    patch_base_offset(&mut bytes, Offset(base));
    bytes
}

fn records(bytes: Vec<u8>) -> PartitionData {
    let high_watermark = Offset(1000);
    PartitionData { records: Some(bytes.into()), high_watermark, ..Default::default() }
}

fn nothing() -> PartitionData {
    records(Vec::new())
}

fn failed(error_code: ErrorCode) -> PartitionData {
    PartitionData { error_code, ..Default::default() }
}

#[test]
fn first_leaders_then_positions_then_records() {
    let mut driven = Driven::new(OffsetReset::Latest);
    let effects = driven.assign(&[(0, Position::Beginning), (1, Position::Offset(Offset(7)))]);
    assert_eq!(effects, [Effect::RefreshMetadata(vec!["clicks".into()])]);
    let effects = driven.lead(&[(1, 3), (1, 4)]);
    let [Effect::FindOffsets { request, broker: BrokerId(1), partitions }] = &effects[..] else {
        panic!("the search goes first, alone: {effects:?}");
    };
    let wanted = PartitionToFind {
        topic_partition: tp(0),
        leader_epoch: LeaderEpoch(3),
        lookup: Lookup::Beginning,
    };
    assert_eq!(*partitions, [wanted]);
    let found = FoundOffset { error: ErrorCode::None, offset: Some(Offset(2)) };
    let partitions = vec![(tp(0), found)];
    let effects = driven.handle(Event::OffsetsFound { request: *request, partitions });
    let positioned =
        Effect::Positioned { topic_partition: tp(0), generation: Generation(1), offset: Offset(2) };
    assert_eq!(effects[0], positioned);
    assert_eq!(fetched_partitions(&effects), [(0, 2), (1, 7)]);
}

#[test]
fn a_timestamp_after_all_records_is_the_end() {
    let mut driven = Driven::new(OffsetReset::Latest);
    driven.assign(&[(0, Position::Timestamp(TimestampMs(9)))]);
    let effects = driven.lead(&[(1, 0)]);
    let Effect::FindOffsets { request, .. } = effects[0] else { panic!("{effects:?}") };
    let partitions = vec![(tp(0), FoundOffset { error: ErrorCode::None, offset: None })];
    let effects = driven.handle(Event::OffsetsFound { request, partitions });
    let Effect::FindOffsets { partitions, .. } = &effects[0] else { panic!("{effects:?}") };
    assert_eq!(partitions[0].lookup, Lookup::End);
}

#[test]
fn what_comes_is_delivered_and_the_next_is_fetched_ahead() {
    let (mut driven, request) = Driven::reading();
    let data = [batch(5, 2, 10), batch(7, 3, 10)].concat();
    let bytes = data.len();
    let effects = driven.answer(request, vec![(0, records(data)), (1, nothing())]);
    assert_eq!(delivered(&effects), [(0, 5, bytes)]);
    assert_eq!(fetched_partitions(&effects), [(0, 10), (1, 5)]);
}

#[test]
fn a_batch_that_is_cut_is_fetched_again_whole() {
    let (mut driven, request) = Driven::reading();
    let whole = batch(5, 2, 10);
    let cut = batch(7, 2, 10);
    let data = [&whole[..], &cut[..cut.len() - 1]].concat();
    let effects = driven.answer(request, vec![(0, records(data)), (1, nothing())]);
    assert_eq!(delivered(&effects), [(0, 5, whole.len())]);
    assert_eq!(fetched_partitions(&effects), [(0, 7), (1, 5)]);
}

#[test]
fn a_partition_without_room_holds_its_broker_until_somebody_reads() {
    let (mut driven, request) = Driven::reading();
    let data = batch(5, 2, 600);
    let bytes = data.len();
    let effects = driven.answer(request, vec![(0, records(data)), (1, nothing())]);
    assert_eq!(delivered(&effects), [(0, 5, bytes)]);
    assert_eq!(fetched_partitions(&effects), []);
    let generation = Generation(1);
    let effects = driven.handle(Event::Consumed { topic_partition: tp(0), generation, bytes });
    assert_eq!(fetched_partitions(&effects), [(0, 7), (1, 5)]);
}

#[test]
fn the_room_of_all_partitions_together_is_limited_too() {
    let mut driven = Driven::new(OffsetReset::Earliest);
    driven.state.config.partition_bytes_max = 100_000;
    driven.assign(&[(0, Position::Offset(Offset(0)))]);
    let request = fetch_of(&driven.lead(&[(1, 0)]), 1);
    let effects = driven.answer(request, vec![(0, records(batch(0, 1, 6000)))]);
    assert_eq!(fetched_partitions(&effects), []);
}

#[test]
fn each_partition_has_its_turn_to_be_first() {
    let (mut driven, mut request) = Driven::reading();
    let mut firsts = Vec::new();
    for _ in 0..4 {
        let effects = driven.answer(request, vec![(0, nothing()), (1, nothing())]);
        let Effect::Fetch { partitions, .. } = &effects[0] else { panic!("{effects:?}") };
        firsts.push(partitions[0].topic_partition.partition.0);
        request = fetch_of(&effects, 1);
    }
    assert!(firsts.contains(&0) && firsts.contains(&1), "{firsts:?}");
}

#[test]
fn when_the_leader_moves_the_new_one_is_asked_at_once() {
    let (mut driven, request) = Driven::reading();
    let moved = failed(ErrorCode::NotLeaderOrFollower);
    let effects = driven.answer(request, vec![(0, moved), (1, nothing())]);
    assert!(effects.contains(&Effect::RefreshMetadata(vec!["clicks".into()])), "{effects:?}");
    assert_eq!(fetched_partitions(&effects), [(1, 5)], "the other goes on");
    let effects = driven.lead(&[(2, 1), (1, 0)]);
    fetch_of(&effects, 2);
    assert_eq!(fetched_partitions(&effects), [(0, 5)]);
}

#[test]
fn a_broker_that_is_behind_is_asked_again_after_a_while() {
    let (mut driven, request) = Driven::reading();
    let behind = failed(ErrorCode::UnknownLeaderEpoch);
    driven.answer(request, vec![(0, behind), (1, failed(ErrorCode::UnknownServerError))]);
    assert!(driven.state.next_wakeup().is_some());
    assert_eq!(driven.after(Duration::from_millis(50)), []);
    let effects = driven.after(Duration::from_millis(80));
    assert_eq!(fetched_partitions(&effects), [(0, 5), (1, 5)]);
}

#[test]
fn a_position_outside_the_log_is_reset_by_the_policy() {
    let (mut driven, request) = Driven::reading();
    let outside = failed(ErrorCode::OffsetOutOfRange);
    let effects = driven.answer(request, vec![(0, outside), (1, nothing())]);
    let Effect::FindOffsets { partitions, .. } = &effects[0] else { panic!("{effects:?}") };
    assert_eq!((partitions.len(), partitions[0].lookup), (1, Lookup::Beginning));
}

#[test]
fn a_position_outside_the_log_is_told_where_there_is_no_policy() {
    let mut driven = Driven::new(OffsetReset::None);
    driven.assign(&[(0, Position::Offset(Offset(5)))]);
    let request = fetch_of(&driven.lead(&[(1, 0)]), 1);
    let effects = driven.answer(request, vec![(0, failed(ErrorCode::OffsetOutOfRange))]);
    let (topic_partition, generation) = (tp(0), Generation(1));
    let trouble = Trouble::OutOfRange { topic_partition, generation, offset: Offset(5) };
    assert_eq!(effects, [Effect::Tell(trouble)], "and nothing is fetched until a seek");
    let seek = Event::Seek(tp(0), Generation(2), Position::Offset(Offset(0)));
    assert_eq!(fetched_partitions(&driven.handle(seek)), [(0, 0)]);
    let assigned = driven.assign(&[(0, Position::Reset)]);
    assert!(matches!(assigned[0], Effect::Tell(Trouble::OutOfRange { .. })), "{assigned:?}");
}

#[test]
fn an_answer_from_before_a_seek_is_dropped() {
    let (mut driven, request) = Driven::reading();
    let seek = Event::Seek(tp(0), Generation(2), Position::Offset(Offset(100)));
    assert_eq!(driven.handle(seek), [], "the broker is busy with the fetch from before");
    let both = vec![(0, records(batch(5, 1, 1))), (1, nothing())];
    let effects = driven.answer(request, both);
    assert_eq!(delivered(&effects), []);
    assert_eq!(fetched_partitions(&effects), [(0, 100), (1, 5)]);
    let (topic_partition, generation) = (tp(0), Generation(1));
    driven.handle(Event::Unreadable { topic_partition, generation });
    let seek = Event::Seek(tp(7), Generation(3), Position::Beginning);
    assert_eq!(driven.handle(seek), [], "not assigned");
}

#[test]
fn a_new_assignment_forgets_the_old_partitions() {
    let (mut driven, request) = Driven::reading();
    assert_eq!(driven.assign(&[(1, Position::Offset(Offset(50)))]), []);
    let both = vec![(0, records(batch(5, 1, 1))), (1, records(batch(5, 1, 1)))];
    let effects = driven.answer(request, both);
    assert_eq!(delivered(&effects), []);
    assert_eq!(fetched_partitions(&effects), [(1, 50)]);
}

#[test]
fn a_lost_connection_backs_off_and_asks_for_metadata() {
    let (mut driven, request) = Driven::reading();
    let effects = driven.handle(Event::RequestFailed(request));
    assert_eq!(effects, [Effect::RefreshMetadata(vec!["clicks".into()])]);
    let effects = driven.lead(&[(1, 0), (2, 1)]);
    fetch_of(&effects, 2);
    assert_eq!(fetched_partitions(&effects), [(1, 5)], "broker 1 is left alone for a while");
    assert_eq!(fetched_partitions(&driven.after(Duration::from_millis(130))), [(0, 5)]);
}

#[test]
fn a_topic_made_anew_is_read_from_its_beginning() {
    let (mut driven, _) = Driven::reading();
    let effects = driven.lead_topic(TopicId([2; 16]), &[(2, 0), (2, 0)]);
    let Effect::FindOffsets { partitions, .. } = &effects[0] else { panic!("{effects:?}") };
    assert!(partitions.iter().all(|wanted| wanted.lookup == Lookup::Beginning));
    assert_eq!(partitions.len(), 2);
}

#[test]
fn what_is_forbidden_stops_and_is_told_once() {
    let (mut driven, request) = Driven::reading();
    let error = ErrorCode::TopicAuthorizationFailed;
    let effects = driven.answer(request, vec![(0, failed(error)), (1, nothing())]);
    let (topic_partition, generation) = (tp(0), Generation(1));
    let trouble = Trouble::Refused { topic_partition, generation, error };
    assert!(effects.contains(&Effect::Tell(trouble)));
    assert_eq!(fetched_partitions(&effects), [(1, 5)]);
    let topic = MetadataResponseTopic {
        error_code: error,
        name: Some("clicks".into()),
        ..Default::default()
    };
    let broker = MetadataResponseBroker {
        node_id: BrokerId(1),
        host: "h".to_owned(),
        port: 1,
        ..Default::default()
    };
    let effects = driven.metadata(vec![topic], &[broker]);
    let trouble = Trouble::Refused { topic_partition: tp(1), generation, error };
    assert_eq!(effects, [Effect::Tell(trouble)]);
}

#[test]
fn a_partition_without_a_leader_is_asked_for_patiently_and_told_of_in_the_end() {
    let mut driven = Driven::new(OffsetReset::Earliest);
    driven.assign(&[(0, Position::Beginning)]);
    let mut told = 0;
    let mut asked = 0;
    let begun = driven.now;
    while driven.now < begun + PATIENCE * 2 + Duration::from_secs(5) {
        let effects = driven.lead(&[(-1, 0)]);
        let wakeup = driven.state.next_wakeup().expect("it comes back by itself");
        assert!(wakeup > driven.now, "no spinning");
        driven.now = wakeup;
        for effect in effects.into_iter().chain(driven.effects()) {
            match effect {
                Effect::Tell(Trouble::NoLeader { .. }) => told += 1,
                Effect::RefreshMetadata(_) => asked += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(told, 2);
    assert!((100..200).contains(&asked), "about one a second: {asked}");
}

#[test]
fn a_cluster_that_does_not_answer_is_told_of_in_the_end() {
    let mut driven = Driven::new(OffsetReset::Earliest);
    driven.assign(&[(0, Position::Beginning)]);
    let mut told = 0;
    let begun = driven.now;
    while driven.now < begun + PATIENCE + Duration::from_secs(5) {
        let effects = driven.handle(Event::MetadataFailed);
        driven.now = driven.state.next_wakeup().expect("it comes back by itself");
        let all = effects.into_iter().chain(driven.effects());
        told += all.filter(|effect| *effect == Effect::Tell(Trouble::Unreachable)).count();
    }
    assert_eq!(told, 1);
}

#[test]
fn a_leader_that_answers_nothing_is_told_of_though_metadata_comes() {
    let (mut driven, mut request) = Driven::reading();
    let silent = Effect::Tell(Trouble::Silent { broker: BrokerId(1) });
    let begun = driven.now;
    let (mut told, mut asked) = (0, 0);
    while driven.now < begun + PATIENCE + Duration::from_secs(5) {
        let mut effects = driven.handle(Event::RequestFailed(request));
        told += effects.iter().filter(|effect| **effect == silent).count();
        asked += 1;
        effects.extend(driven.lead(&[(1, 0), (1, 0)]));
        request = loop {
            let next = effects.iter().find_map(|effect| match effect {
                Effect::Fetch { request, .. } => Some(*request),
                _ => None,
            });
            if let Some(next) = next {
                break next;
            }
            driven.now = driven.state.next_wakeup().expect("it comes back by itself");
            effects = driven.effects();
        };
    }
    assert_eq!(told, 1);
    assert!((40..200).contains(&asked), "about one a second: {asked}");
    // An answer ends the silence: the next one is counted from its own beginning.
    let effects = driven.answer(request, vec![(0, nothing()), (1, nothing())]);
    let effects = driven.handle(Event::RequestFailed(fetch_of(&effects, 1)));
    assert!(!effects.contains(&silent), "{effects:?}");
}

#[test]
fn records_that_lead_nowhere_stop_the_partition() {
    let (mut driven, request) = Driven::reading();
    // A batch from before the position: fetched again and again, it would never end.
    let data = records(batch(2, 2, 10));
    let effects = driven.answer(request, vec![(0, data), (1, nothing())]);
    assert_eq!(delivered(&effects).len(), 1, "the reader finds out and tells");
    assert_eq!(fetched_partitions(&effects), [(1, 5)]);
}

#[test]
fn an_answer_that_leaves_a_partition_out_is_asked_again_later() {
    let (mut driven, request) = Driven::reading();
    let effects = driven.answer(request, vec![(1, nothing())]);
    assert_eq!(fetched_partitions(&effects), [(1, 5)]);
    let second = fetch_of(&effects, 1);
    driven.now += Duration::from_millis(150);
    let effects = driven.answer(second, vec![(1, nothing())]);
    assert_eq!(fetched_partitions(&effects), [(0, 5), (1, 5)]);
}

#[test]
fn partitions_come_and_go_beside_the_others() {
    let (mut driven, request) = Driven::reading();
    let add = Event::Add(vec![(tp(2), Generation(9), None)]);
    assert_eq!(driven.handle(add), [], "it has no position yet");
    let remove = Event::Remove(vec![tp(1)]);
    assert_eq!(driven.handle(remove), []);
    let effects = driven.answer(request, vec![(0, nothing()), (1, records(batch(5, 1, 1)))]);
    assert_eq!(fetched_partitions(&effects), [(0, 5)]);
    let late = Event::Seek(tp(2), Generation(8), Position::Offset(Offset(1)));
    assert_eq!(driven.handle(late), [], "from before it was assigned");
    driven.handle(Event::Seek(tp(2), Generation(9), Position::Offset(Offset(40))));
    let effects = driven.lead(&[(1, 0), (1, 0), (2, 0)]);
    assert_eq!(fetched_partitions(&effects), [(2, 40)]);
}

#[test]
fn a_paused_partition_is_not_fetched_and_holds_nobody_up() {
    let (mut driven, request) = Driven::reading();
    let data = batch(5, 2, 600);
    let effects = driven.answer(request, vec![(0, records(data)), (1, nothing())]);
    assert_eq!(fetched_partitions(&effects), [], "it has no room");
    let effects = driven.handle(Event::Pause(tp(0), true));
    assert_eq!(fetched_partitions(&effects), [(1, 5)]);
    let second = fetch_of(&effects, 1);
    assert_eq!(driven.handle(Event::Pause(tp(0), false)), []);
    assert_eq!(fetched_partitions(&driven.answer(second, vec![(1, nothing())])), []);
}
