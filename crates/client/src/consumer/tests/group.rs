//! The consumer as a member of a group, against a coordinator that behaves, moves and forgets.

use std::collections::VecDeque;
use std::sync::Arc;

use streamledger_protocol::messages::find_coordinator::Coordinator as Found;
use streamledger_protocol::messages::join_group::JoinGroupResponseMember;
use streamledger_protocol::messages::offset_commit::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use streamledger_protocol::messages::offset_fetch::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use streamledger_protocol::messages::{
    FindCoordinatorResponse, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest,
    OffsetFetchResponse, SyncGroupResponse,
};

use super::*;

const REBALANCE: ErrorCode = ErrorCode::RebalanceInProgress;

/// A coordinator of one member, and what the test sees of it.
#[derive(Default)]
struct Coordinator {
    generation: i32,
    stored: BTreeMap<i32, i64>,
    /// Each commit as it came: partition and offset.
    commits: Vec<Vec<(i32, i64)>>,
    commit_errors: VecDeque<ErrorCode>,
    heartbeat_errors: VecDeque<ErrorCode>,
    has_left: bool,
    is_silent: bool,
}

impl Coordinator {
    fn join(&mut self, request: &JoinGroupRequest) -> JoinGroupResponse {
        if request.member_id.is_empty() {
            return JoinGroupResponse {
                error_code: ErrorCode::MemberIdRequired,
                member_id: "m1".to_owned(),
                ..Default::default()
            };
        }
        self.generation += 1;
        let member = JoinGroupResponseMember {
            member_id: request.member_id.clone(),
            metadata: request.protocols[0].metadata.clone(),
            ..Default::default()
        };
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_name: Some(request.protocols[0].name.clone()),
            leader: request.member_id.clone(),
            member_id: request.member_id.clone(),
            members: vec![member],
            ..Default::default()
        }
    }

    fn commit(&mut self, request: &OffsetCommitRequest) -> OffsetCommitResponse {
        let error_code = self.commit_errors.pop_front().unwrap_or(ErrorCode::None);
        let is_member = request.member_id == "m1";
        let generation = if is_member { self.generation } else { -1 };
        assert_eq!(request.generation_id_or_member_epoch, generation);
        let mut commit = Vec::new();
        let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
            name: topic.name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|partition| {
                    let place = (partition.partition_index.0, partition.committed_offset.0);
                    commit.push(place);
                    if error_code == ErrorCode::None {
                        self.stored.insert(place.0, place.1);
                    }
                    let partition_index = partition.partition_index;
                    OffsetCommitResponsePartition { partition_index, error_code }
                })
                .collect(),
            ..Default::default()
        });
        let topics = topics.collect();
        self.commits.push(commit);
        OffsetCommitResponse { topics, ..Default::default() }
    }

    fn fetch(&self, request: &OffsetFetchRequest) -> OffsetFetchResponse {
        let topics = request.groups[0].topics.iter().flatten().map(|topic| {
            let stored = |index: &PartitionIndex| OffsetFetchResponsePartitions {
                partition_index: *index,
                committed_offset: Offset(self.stored.get(&index.0).copied().unwrap_or(-1)),
                ..Default::default()
            };
            OffsetFetchResponseTopics {
                name: topic.name.clone(),
                partitions: topic.partition_indexes.iter().map(stored).collect(),
                ..Default::default()
            }
        });
        let group = OffsetFetchResponseGroup {
            group_id: request.groups[0].group_id.clone(),
            topics: topics.collect(),
            ..Default::default()
        };
        OffsetFetchResponse { groups: vec![group], ..Default::default() }
    }
}

type Shared = Rc<RefCell<Coordinator>>;

/// A broker that leads both partitions and coordinates the group.
async fn coordinated(logs: &Logs) -> (FakeBroker, Shared) {
    let coordinator = Shared::default();
    let (sees, logs) = (Rc::clone(&coordinator), logs.clone());
    let own = Rc::new(OnceCell::<ServerAddress>::new());
    let told = Rc::clone(&own);
    let broker = FakeBroker::start(move |_, request| {
        let address = told.get().unwrap();
        let mut coordinator = sees.borrow_mut();
        Answer::Respond(match request {
            AnyRequest::Metadata(_) => {
                return metadata(std::slice::from_ref(address), [(1, 0), (1, 0)]);
            }
            AnyRequest::ListOffsets(request) => return list_offsets(request),
            AnyRequest::Fetch(request) => return super::fetch(&logs, request),
            AnyRequest::FindCoordinator(request) => {
                let found = Found {
                    key: request.coordinator_keys[0].clone(),
                    node_id: BrokerId(1),
                    host: address.host.clone(),
                    port: i32::from(address.port),
                    ..Default::default()
                };
                AnyResponse::FindCoordinator(FindCoordinatorResponse {
                    coordinators: vec![found],
                    ..Default::default()
                })
            }
            _ if coordinator.is_silent => return Answer::Nothing,
            AnyRequest::JoinGroup(request) => AnyResponse::JoinGroup(coordinator.join(request)),
            AnyRequest::SyncGroup(request) => {
                let assignment = request.assignments[0].assignment.clone();
                AnyResponse::SyncGroup(SyncGroupResponse { assignment, ..Default::default() })
            }
            AnyRequest::Heartbeat(_) => {
                let error_code = coordinator.heartbeat_errors.pop_front();
                let error_code = error_code.unwrap_or(ErrorCode::None);
                AnyResponse::Heartbeat(HeartbeatResponse { error_code, ..Default::default() })
            }
            AnyRequest::LeaveGroup(_) => {
                coordinator.has_left = true;
                AnyResponse::LeaveGroup(LeaveGroupResponse::default())
            }
            AnyRequest::OffsetCommit(request) => {
                let is_amid = coordinator.commit_errors.front() == Some(&REBALANCE);
                let response = AnyResponse::OffsetCommit(coordinator.commit(request));
                if is_amid {
                    // The member hears of it, and has a step to take, before it has this answer.
                    coordinator.heartbeat_errors.push_back(REBALANCE);
                    return Answer::RespondAfter(Duration::from_millis(100), response);
                }
                response
            }
            AnyRequest::OffsetFetch(request) => {
                AnyResponse::OffsetFetch(coordinator.fetch(request))
            }
            _ => return Answer::Close,
        })
    })
    .await;
    own.set((*broker.address).clone()).unwrap();
    (broker, coordinator)
}

/// A consumer of the group, and what its listener has heard.
fn member(broker: &FakeBroker, settings: &[(&str, &str)]) -> (Consumer, Arc<Mutex<Vec<String>>>) {
    let group = [
        ("group.id", "readers"),
        ("heartbeat.interval.ms", "10"),
        ("auto.offset.reset", "earliest"),
    ];
    let settings: Vec<_> = group.iter().chain(settings).copied().collect();
    let consumer = consumer(&broker.address, &settings);
    let heard = Arc::new(Mutex::new(Vec::new()));
    consumer.on_rebalance(Heard(Arc::clone(&heard)));
    consumer.subscribe(["clicks"]).unwrap();
    (consumer, heard)
}

struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn say(&self, what: &str, partitions: &[TopicPartition]) {
        let numbers = partitions.iter().map(|at| at.partition.to_string());
        self.0.lock().push(format!("{what} {}", numbers.collect::<Vec<_>>().join(",")));
    }
}

impl RebalanceListener for Heard {
    fn assigned(&self, _: &Consumer, partitions: &[TopicPartition]) {
        self.say("assigned", partitions);
    }

    fn revoked(&self, _: &Consumer, partitions: &[TopicPartition]) {
        self.say("revoked", partitions);
    }

    fn lost(&self, _: &Consumer, partitions: &[TopicPartition]) {
        self.say("lost", partitions);
    }
}

fn five_in_each() -> Logs {
    let logs = Logs::default();
    logs.append(0, 0, 5).append(1, 0, 5);
    logs
}

#[test]
fn it_begins_where_the_group_was_commits_as_it_closes_and_leaves() {
    on_io_thread(async {
        let logs = five_in_each();
        let (broker, coordinator) = coordinated(&logs).await;
        coordinator.borrow_mut().stored.insert(0, 3);
        let (consumer, heard) = member(&broker, &[]);
        let mut records = read(&consumer, 7).await;
        records.sort_unstable();
        assert_eq!(records, [(0, 3), (0, 4), (1, 0), (1, 1), (1, 2), (1, 3), (1, 4)]);
        let metadata = consumer.group_metadata().unwrap();
        assert_eq!((metadata.generation_id, metadata.member_id.as_str()), (1, "m1"));
        consumer.close_async(LONG).await.unwrap();
        assert_eq!(coordinator.borrow().stored, [(0, 5), (1, 5)].into());
        assert!(coordinator.borrow().has_left);
        assert_eq!(*heard.lock(), ["assigned 0,1", "revoked 0,1"]);
        let error = consumer.poll_async(LONG).await.unwrap_err();
        assert_eq!(error, ConsumerError::Closed);
        assert_eq!(consumer.close_async(LONG).await, Ok(()));
    });
}

#[test]
fn a_close_amid_a_rebalance_commits_after_it() {
    on_io_thread(async {
        let (broker, coordinator) = coordinated(&five_in_each()).await;
        let (consumer, _) = member(&broker, &[]);
        read(&consumer, 10).await;
        coordinator.borrow_mut().commit_errors.push_back(REBALANCE);
        consumer.close_async(LONG).await.unwrap();
        assert_eq!(coordinator.borrow().stored, [(0, 5), (1, 5)].into());
    });
}

#[test]
fn a_static_member_closes_without_leaving() {
    on_io_thread(async {
        let (broker, coordinator) = coordinated(&five_in_each()).await;
        let (consumer, _) = member(&broker, &[("group.instance.id", "kitchen")]);
        read(&consumer, 10).await;
        consumer.close_async(LONG).await.unwrap();
        assert!(!coordinator.borrow().has_left);
    });
}

#[test]
fn commits_keep_their_order_through_a_coordinator_that_moves() {
    on_io_thread(async {
        let (broker, coordinator) = coordinated(&five_in_each()).await;
        let settings = [("enable.auto.commit", "false"), ("max.poll.records", "1")];
        let (consumer, _) = member(&broker, &settings);
        let errors = [ErrorCode::NotCoordinator, ErrorCode::CoordinatorLoadInProgress];
        coordinator.borrow_mut().commit_errors.extend(errors);
        let (told, mut outcomes) = tokio::sync::mpsc::unbounded_channel();
        for place in 0..10 {
            let records = consumer.poll_async(LONG).await.unwrap();
            let told = told.clone();
            let next = records[0].next_offset();
            if place % 2 == 0 {
                consumer.commit_with(move |outcome| told.send((place, outcome)).unwrap());
            } else {
                let at = (records[0].topic_partition.clone(), next);
                let done = consumer.commit_offsets_async(&[at]);
                tokio::task::spawn_local(async move { told.send((place, done.await)).unwrap() });
            }
        }
        for _ in 0..10 {
            let (place, outcome) = outcomes.recv().await.unwrap();
            assert_eq!(outcome, Ok(()), "{place}");
        }
        assert_eq!(coordinator.borrow().stored, [(0, 5), (1, 5)].into());
        let mut last = BTreeMap::new();
        for (partition, offset) in coordinator.borrow().commits.iter().flatten() {
            assert!(last.insert(*partition, *offset) <= Some(*offset), "back to {offset}");
        }
    });
}

#[test]
fn a_commit_of_one_that_is_no_member_any_more_says_so_and_stores_nothing() {
    on_io_thread(async {
        let (broker, coordinator) = coordinated(&five_in_each()).await;
        let (consumer, _) = member(&broker, &[("enable.auto.commit", "false")]);
        let records = consumer.poll_async(LONG).await.unwrap();
        coordinator.borrow_mut().commit_errors.push_back(ErrorCode::IllegalGeneration);
        let error = consumer.commit_record_async(&records[0]).await.unwrap_err();
        assert!(matches!(error, ConsumerError::NotAMember { .. }), "{error}");
        assert!(coordinator.borrow().stored.is_empty());
        consumer.commit_record_async(&records[0]).await.unwrap();
        assert_eq!(coordinator.borrow().stored.values().collect::<Vec<_>>(), [&1]);
    });
}

#[test]
fn what_is_read_is_committed_before_it_is_given_up_but_not_where_it_is_lost() {
    on_io_thread(async {
        let (broker, coordinator) = coordinated(&five_in_each()).await;
        let (consumer, heard) = member(&broker, &[]);
        read(&consumer, 10).await;
        let rebalance = |error| coordinator.borrow_mut().heartbeat_errors.push_back(error);
        rebalance(REBALANCE);
        while heard.lock().len() < 3 {
            assert!(consumer.poll_async(Duration::from_millis(20)).await.unwrap().is_empty());
        }
        assert_eq!(*heard.lock(), ["assigned 0,1", "revoked 0,1", "assigned 0,1"]);
        assert_eq!(coordinator.borrow().stored, [(0, 5), (1, 5)].into());
        let commit_count = coordinator.borrow().commits.len();
        rebalance(ErrorCode::UnknownMemberId);
        while heard.lock().len() < 5 {
            assert!(consumer.poll_async(Duration::from_millis(20)).await.unwrap().is_empty());
        }
        assert_eq!(heard.lock()[3..], ["lost 0,1", "assigned 0,1"]);
        assert_eq!(coordinator.borrow().commits.len(), commit_count);
    });
}

#[test]
fn commits_are_automatic_after_a_while_and_of_earlier_polls_alone() {
    on_io_thread(async {
        let (broker, coordinator) = coordinated(&five_in_each()).await;
        let settings = [("auto.commit.interval.ms", "0"), ("max.poll.records", "10")];
        let (consumer, _) = member(&broker, &settings);
        let mut read_before = BTreeMap::from([(0, 0), (1, 0)]);
        let mut count = 0;
        while count < 10 {
            let records = consumer.poll_async(LONG).await.unwrap();
            for (partition, offset) in &coordinator.borrow().stored {
                assert!(offset <= &read_before[partition], "committed before it was done");
            }
            for record in &records {
                read_before.insert(record.topic_partition.partition.0, record.offset.0 + 1);
            }
            count += records.len();
        }
        while coordinator.borrow().stored != [(0, 5), (1, 5)].into() {
            consumer.poll_async(Duration::from_millis(10)).await.unwrap();
        }
    });
}

#[test]
fn a_paused_partition_goes_on_later_where_it_was_and_the_others_meanwhile() {
    on_io_thread(async {
        let (broker, _) = coordinated(&five_in_each()).await;
        let (consumer, _) = member(&broker, &[("max.poll.records", "2")]);
        let mut records = read(&consumer, 2).await;
        let paused = records[0].0;
        consumer.pause(&[tp(paused), tp(7)]);
        assert_eq!(consumer.paused(), [tp(paused)]);
        let others = read(&consumer, 5).await;
        assert_eq!(others, (0..5).map(|offset| (1 - paused, offset)).collect::<Vec<_>>());
        assert!(consumer.poll_async(Duration::from_millis(50)).await.unwrap().is_empty());
        consumer.resume(&[tp(paused)]);
        records.extend(read(&consumer, 3).await);
        assert_eq!(records, (0..5).map(|offset| (paused, offset)).collect::<Vec<_>>());
    });
}

#[test]
fn a_poll_is_woken_up_once() {
    on_io_thread(async {
        let (broker, _) = coordinated(&Logs::default()).await;
        let (consumer, heard) = member(&broker, &[]);
        while heard.lock().is_empty() {
            consumer.poll_async(Duration::from_millis(10)).await.unwrap();
        }
        let other = consumer.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            other.wake_up();
        });
        assert_eq!(consumer.poll_async(LONG).await, Err(ConsumerError::WokenUp));
        assert!(consumer.poll_async(Duration::from_millis(10)).await.unwrap().is_empty());
    });
}

#[test]
fn a_listener_may_seek_and_without_a_position_there_is_an_error_if_that_was_asked_for() {
    struct Seeks;
    impl RebalanceListener for Seeks {
        fn assigned(&self, consumer: &Consumer, _: &[TopicPartition]) {
            consumer.seek(&tp(0), Position::Offset(Offset(4))).unwrap();
        }
    }
    on_io_thread(async {
        let (broker, coordinator) = coordinated(&five_in_each()).await;
        coordinator.borrow_mut().stored.insert(0, 1);
        let (consumer, _) = member(&broker, &[("auto.offset.reset", "none")]);
        consumer.on_rebalance(Seeks);
        let (mut records, mut errors) = (Vec::new(), Vec::new());
        while records.is_empty() || errors.is_empty() {
            match consumer.poll_async(LONG).await {
                Ok(some) => records.extend(some.iter().map(|record| record.offset.0)),
                Err(error) => errors.push(error),
            }
        }
        assert_eq!(records, [4]);
        let outside =
            ConsumerError::OffsetOutOfRange { topic_partition: tp(1), offset: Offset(-1) };
        assert_eq!(errors, [outside]);
    });
}

#[test]
fn a_silent_coordinator_does_not_hold_up_the_end_for_longer_than_was_said() {
    on_io_thread(async {
        let (broker, coordinator) = coordinated(&five_in_each()).await;
        let (consumer, _) = member(&broker, &[]);
        read(&consumer, 10).await;
        coordinator.borrow_mut().is_silent = true;
        let begun = Instant::now();
        let error = consumer.close_async(Duration::from_millis(200)).await.unwrap_err();
        assert_eq!(error, ConsumerError::Timeout(Duration::from_millis(200)));
        assert!(begun.elapsed() < LONG);
    });
}

#[test]
fn without_a_group_nothing_is_subscribed_or_committed_and_by_hand_offsets_can_be() {
    on_io_thread(async {
        let (broker, coordinator) = coordinated(&five_in_each()).await;
        let alone = consumer(&broker.address, &[]);
        assert_eq!(alone.subscribe(["clicks"]), Err(ConsumerError::NoGroup));
        assert_eq!(alone.commit_async().await, Err(ConsumerError::NoGroup));
        let by_hand = consumer(&broker.address, &[("group.id", "readers")]);
        by_hand.assign(&[(tp(0), Position::Beginning)]);
        read(&by_hand, 5).await;
        by_hand.commit_async().await.unwrap();
        assert_eq!(coordinator.borrow().stored, [(0, 5)].into());
        assert_eq!(coordinator.borrow().generation, 0, "it has not joined");
        assert!(by_hand.subscribe_pattern("(").is_err());
    });
}

/// Records with keys 0 to 4 in turn, worked on by many: each key's in order, all of them
/// committed, and no more held than was said.
#[test]
fn parallel_work_keeps_the_order_of_keys_and_commits_what_is_done() {
    on_io_thread(async {
        let logs = Logs::default();
        (0..20).for_each(|batch| {
            logs.append(0, batch * 10, 10).append(1, batch * 10, 10);
        });
        let (broker, coordinator) = coordinated(&logs).await;
        let settings = [("enable.auto.commit", "false"), ("max.poll.records", "20")];
        let (consumer, _) = member(&broker, &settings);
        let parallel = ParallelConsumer::new(consumer, 8)
            .records_max(16)
            .commit_interval(Duration::from_millis(5));
        let stop = parallel.stop_handle();
        let done = Arc::new(Mutex::new(Vec::new()));
        let sees = Arc::clone(&done);
        let (ended, has_ended) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let outcome = parallel.run(|record| {
                if record.offset.0 % 3 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                let mut done = sees.lock();
                done.push((record.topic_partition.partition.0, record.offset.0));
                if done.len() == 400 {
                    stop.stop();
                }
                Ok::<(), std::convert::Infallible>(())
            });
            assert!(parallel.consumer().close(LONG).is_ok());
            ended.send(outcome.is_ok()).unwrap();
        });
        assert!(has_ended.await.unwrap());
        let mut all = done.lock().clone();
        all.sort_unstable();
        let expected = (0..2).flat_map(|of| (0..200).map(move |offset| (of, offset)));
        assert_eq!(all, expected.collect::<Vec<_>>());
        assert_eq!(coordinator.borrow().stored, [(0, 200), (1, 200)].into());
        let mut last = BTreeMap::new();
        for (partition, offset) in coordinator.borrow().commits.iter().flatten() {
            assert!(last.insert(*partition, *offset) <= Some(*offset), "back to {offset}");
        }
    });
}

#[test]
fn parallel_work_that_fails_is_not_committed_and_is_told_with_its_place() {
    on_io_thread(async {
        let (broker, coordinator) = coordinated(&five_in_each()).await;
        let (consumer, _) = member(&broker, &[("enable.auto.commit", "false")]);
        let (ended, has_ended) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let parallel = ParallelConsumer::new(consumer, 3);
            let outcome = parallel.run(|record| {
                let is_bad = record.topic_partition == tp(1) && record.offset == Offset(2);
                if is_bad { Err("bad") } else { Ok(()) }
            });
            ended.send(outcome.unwrap_err().to_string()).unwrap();
        });
        assert_eq!(has_ended.await.unwrap(), "clicks-1, offset 2: bad");
        let stored = coordinator.borrow().stored.get(&1).copied().unwrap_or(0);
        assert!(stored <= 2, "{stored}");
    });
}

#[test]
fn parallel_work_refuses_automatic_commits() {
    on_io_thread(async {
        let (broker, _) = coordinated(&Logs::default()).await;
        let (consumer, _) = member(&broker, &[]);
        let outcome = ParallelConsumer::new(consumer, 1).run(|_| Ok::<(), &str>(()));
        assert!(matches!(outcome, Err(ParallelError::CommitsAutomatically)));
    });
}
