//! Reading from the replica that the leader names (KIP-392).

use super::*;

/// Reading one partition that broker 1 leads, and whose replica in broker 2 it named.
fn reading_from_a_replica() -> (Driven, RequestId) {
    let mut driven = Driven::new(OffsetReset::Earliest);
    driven.assign(&[(0, Position::Offset(Offset(5)))]);
    let effects = driven.lead(&[(1, 0)]);
    let request = fetch_of(&effects, 1);
    let effects = driven.answer(request, vec![(0, naming(2))]);
    assert_eq!(delivered(&effects), []);
    let request = fetch_of(&effects, 2);
    assert_eq!(fetched_partitions(&effects), [(0, 5)], "from where the leader was asked");
    (driven, request)
}

fn naming(replica: i32) -> PartitionData {
    PartitionData { preferred_read_replica: BrokerId(replica), ..nothing() }
}

#[test]
fn the_replica_that_the_leader_names_is_read_until_that_is_old() {
    let (mut driven, mut request) = reading_from_a_replica();
    for offset in [5, 6, 7] {
        let effects = driven.answer(request, vec![(0, records(batch(offset, 1, 10)))]);
        assert_eq!(delivered(&effects).len(), 1);
        request = fetch_of(&effects, 2);
    }
    driven.now += REPLICA_AGE_MAX;
    let effects = driven.answer(request, vec![(0, nothing())]);
    let request = fetch_of(&effects, 1);
    assert_eq!(fetched_partitions(&effects), [(0, 8)]);
    assert_eq!(fetch_of(&driven.answer(request, vec![(0, naming(2))]), 2).0, request.0 + 1);
}

#[test]
fn positions_are_found_by_the_leader() {
    let (mut driven, _) = reading_from_a_replica();
    let seek = Event::Seek(tp(0), Generation(2), Position::Beginning);
    let effects = driven.handle(seek);
    let [Effect::FindOffsets { broker: BrokerId(1), .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
}

#[test]
fn a_replica_that_has_not_what_is_wanted_is_left_for_the_leader_and_nothing_is_reset() {
    for error in [
        ErrorCode::OffsetOutOfRange,
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::OffsetNotAvailable,
        ErrorCode::ReplicaNotAvailable,
    ] {
        let (mut driven, request) = reading_from_a_replica();
        driven.answer(request, vec![(0, failed(error))]);
        let effects = driven.after(Duration::from_millis(200));
        fetch_of(&effects, 1);
        assert_eq!(fetched_partitions(&effects), [(0, 5)], "{error}");
    }
}

#[test]
fn a_replica_that_does_not_answer_is_left_for_the_leader() {
    let (mut driven, request) = reading_from_a_replica();
    let effects = driven.handle(Event::RequestFailed(request));
    fetch_of(&effects, 1);
    assert_eq!(fetched_partitions(&effects), [(0, 5)]);
}

#[test]
fn a_new_leader_and_a_replica_that_is_gone_end_it() {
    let (mut driven, request) = reading_from_a_replica();
    driven.lead(&[(1, 1)]);
    fetch_of(&driven.answer(request, vec![(0, nothing())]), 1);

    let (mut driven, request) = reading_from_a_replica();
    let broker = MetadataResponseBroker {
        node_id: BrokerId(1),
        host: "h".to_owned(),
        port: 1,
        ..Default::default()
    };
    driven.metadata(Vec::new(), &[broker]);
    fetch_of(&driven.answer(request, vec![(0, nothing())]), 1);
}

#[test]
fn nobody_but_the_leader_names_one() {
    let (mut driven, request) = reading_from_a_replica();
    let effects = driven.answer(request, vec![(0, naming(1))]);
    let request = fetch_of(&effects, 2);
    assert_eq!(fetch_of(&driven.answer(request, vec![(0, naming(7))]), 2).0, request.0 + 1);
}
