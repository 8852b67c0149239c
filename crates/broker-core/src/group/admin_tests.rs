//! What administrators see and remove, and what time removes.

use streamledger_protocol::{ErrorCode, Offset, TimestampMs, TopicPartition};

use super::rig::{PARTITION, Rig, by, group, protocol};
use super::{Committer, GroupConfig, GroupState};

const CLICKS: &[u8] = b"\0\0\0\0\0\x01\0\x06clicks";
const OTHERS: &[u8] = b"\0\0\0\0\0\x01\0\x06others";

/// One member that subscribes to a topic by `metadata`, and has stored an offset of `clicks`.
fn one_member(metadata: &'static [u8]) -> Rig {
    let mut rig = Rig::quick();
    rig.ask_join(|request| request.protocols = vec![protocol("range", metadata)]);
    rig.wait(0);
    rig.ask_sync("m1", 1, &[("m1", "a")]);
    rig.store(by("m1", 1));
    rig
}

fn clicks() -> TopicPartition {
    TopicPartition::new("clicks", PARTITION)
}

impl Rig {
    /// Stores offset 5 of `clicks`.
    fn store(&mut self, by: Committer) {
        let (reply, records) = self.decide_commit(by, false);
        assert_eq!(reply, ErrorCode::None);
        for record in records {
            let at = Offset(self.log.len() as i64);
            self.core.replay(self.now, record.clone(), None, PARTITION, at);
            self.log.push(record);
        }
    }

    fn expire(&mut self, at: i64) -> usize {
        self.core.expire_offsets(TimestampMs(at));
        self.settle();
        self.core.offsets().offset_count()
    }
}

#[test]
fn groups_are_listed_and_described_with_what_their_members_have() {
    let mut rig = one_member(CLICKS);
    let listed = rig.core.list();
    assert_eq!((listed.len(), listed[0].state, listed[0].group_type), (1, "Stable", "classic"));
    let described = rig.core.describe(&group()).unwrap();
    assert_eq!(
        (described.protocol_type.as_str(), described.protocol.as_str()),
        ("consumer", "range")
    );
    let member = &described.members[0];
    assert_eq!((member.metadata.as_ref(), member.assignment.as_ref()), (CLICKS, &b"a"[..]));
    rig.ask_join_as("m1");
    let described = rig.core.describe(&group()).unwrap();
    assert_eq!(described.state, GroupState::CompletingRebalance);
    assert!(described.members[0].assignment.is_empty() && described.protocol.is_empty());
    assert_eq!(rig.core.describe(&"none".into()), None);
    // One that only has offsets is there too.
    let mut rig = Rig::quick();
    rig.store(Committer::outside());
    let listed = rig.core.list();
    assert_eq!((listed[0].state, listed[0].protocol_type.as_str()), ("Empty", ""));
    assert_eq!(rig.core.describe(&group()).unwrap().state, GroupState::Empty);
}

#[test]
fn a_group_is_deleted_with_its_offsets_once_nobody_is_in_it() {
    let mut rig = one_member(CLICKS);
    assert_eq!(rig.core.delete_group(&group()), Err(ErrorCode::NonEmptyGroup));
    rig.leave(&[("m1", None)]);
    assert_eq!(rig.core.delete_group(&group()), Ok(()));
    rig.settle();
    assert_eq!(rig.core.delete_group(&group()), Err(ErrorCode::GroupIdNotFound));
    assert_eq!((rig.core.list(), rig.core.offsets().offset_count()), (vec![], 0));
    let restarted = rig.restarted();
    assert_eq!((restarted.core.list(), restarted.core.offsets().offset_count()), (vec![], 0));
}

#[test]
fn offsets_of_topics_that_a_member_subscribes_to_stay() {
    let mut rig = one_member(CLICKS);
    let delete = |rig: &mut Rig| {
        let answers = rig.core.delete_offsets(&group(), &[clicks()]);
        rig.settle();
        (answers.map(|answers| answers[0]), rig.core.offsets().offset_count())
    };
    assert_eq!(delete(&mut rig), (Ok(ErrorCode::GroupSubscribedToTopic), 1));
    rig.leave(&[("m1", None)]);
    assert_eq!(delete(&mut rig), (Ok(ErrorCode::None), 0));
    assert_eq!(delete(&mut rig), (Ok(ErrorCode::None), 0), "again");
    assert_eq!(delete(&mut one_member(OTHERS)), (Ok(ErrorCode::None), 0));
    assert_eq!(delete(&mut one_member(b"unreadable")), (Ok(ErrorCode::GroupSubscribedToTopic), 1));
    assert_eq!(delete(&mut Rig::quick()).0, Err(ErrorCode::GroupIdNotFound));
}

#[test]
fn kip_211_offsets_expire_from_when_their_group_has_no_use_for_them() {
    let kept = i64::try_from(GroupConfig::default().offsets_retention_ms).unwrap();
    let mut subscribed = one_member(CLICKS);
    let stored = subscribed.now.wall.0;
    assert_eq!(subscribed.expire(stored + 10 * kept), 1, "a member needs it");
    // From when the group became empty, and then the group goes too.
    subscribed.now.wall = TimestampMs(stored + 1000);
    subscribed.leave(&[("m1", None)]);
    assert_eq!(subscribed.expire(stored + kept), 1);
    assert_eq!(subscribed.state().unwrap().0, GroupState::Empty);
    assert_eq!(subscribed.expire(stored + 1000 + kept), 0);
    assert_eq!((subscribed.state(), subscribed.restarted().state()), (None, None));
    // From when it was stored: nobody subscribes, or there never were members.
    let mut others = one_member(OTHERS);
    assert_eq!((others.expire(stored + kept - 1), others.expire(stored + kept)), (1, 0));
    assert_eq!(others.state().unwrap().0, GroupState::Stable);
    let mut outside = Rig::quick();
    outside.store(Committer::outside());
    assert_eq!((outside.expire(stored + kept - 1), outside.expire(stored + kept)), (1, 0));
}
