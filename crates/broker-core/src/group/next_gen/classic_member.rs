//! Members of the classic protocol in a next-generation group, while a group is upgraded or
//! downgraded online (KIP-848): they join, sync and send heartbeats as they always did, and the
//! group leads them on as it leads the others.

use std::collections::BTreeMap;

use bytes::Bytes;
use streamledger_protocol::{ErrorCode, PartitionIndex, TimestampMs, TopicId, TopicName};

use super::group::{ClassicClient, ConsumerGroup, ConsumerMember, Current, MemberState};
use super::heartbeat::Draft;
use super::record::ConsumerRecord;
use super::request::{Assigned, TopicsView};
use crate::group::classic::{
    ClassicGroup, JoinReply, JoinRequest, KeptGroup, KeptMember, LeavingMember, MemberOfGeneration,
    SyncReply, SyncRequest,
};
use crate::group::consumer_protocol::{
    MemberSubscription, Named, read_assignment, write_assignment,
};
use crate::planted_bugs::PlantedBug;

/// The kind of classic group whose members are consumers.
pub(in crate::group) const CONSUMERS: &str = "consumer";

impl Draft {
    /// Takes the members of a classic group over, each with what it has there (Kafka's
    /// `ConsumerGroup.fromClassicGroup`); none if that would lose anything.
    pub(in crate::group) fn take_over(
        &mut self,
        group: &ClassicGroup,
        topics: &dyn TopicsView,
    ) -> Option<()> {
        let generation = group.generation();
        let mut all_assigned = BTreeMap::new();
        for member in group.members() {
            let said = MemberSubscription::read(&member.protocols().first()?.metadata)?;
            let mut assigned = by_id(&read_assignment(&member.assignment)?, topics);
            if self.planted.has(PlantedBug::TurnForgetsAssigned) {
                assigned.clear();
            }
            let subscription = super::group::Subscription {
                instance_id: member.instance_id.clone(),
                rack_id: said.rack_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                topic_names: said.topics.iter().cloned().collect(),
                topic_regex: None,
                rebalance_timeout_ms: member.rebalance_timeout_ms(),
                assignor: None,
                classic: Some(ClassicClient {
                    session_timeout_ms: member.session_timeout_ms(),
                    protocols: member.protocols().to_vec(),
                }),
            };
            self.add(ConsumerRecord::Member(member.id.clone(), Some(subscription)));
            all_assigned.insert(member.id.clone(), assigned);
        }
        self.add(ConsumerRecord::Epoch(Some((generation, self.group().hash_of(topics)))));
        for (id, assigned) in &all_assigned {
            self.add(ConsumerRecord::Target(id.clone(), Some(assigned.clone())));
        }
        self.add(ConsumerRecord::TargetEpoch(Some(generation)));
        for (id, assigned) in all_assigned {
            let current = Current {
                epoch: generation,
                previous_epoch: generation,
                state: MemberState::Stable,
                assigned,
                revoking: Assigned::new(),
            };
            self.add(ConsumerRecord::Current(id, Some(current)));
        }
        Some(())
    }

    /// JoinGroup: answered at once, as nobody is waited for. The member has its epoch for a
    /// generation, and leads nothing.
    pub(in crate::group) fn classic_join(
        &mut self,
        request: &JoinRequest,
        topics: &dyn TopicsView,
    ) -> Result<JoinReply, ErrorCode> {
        let names = request.protocols.iter().map(|protocol| protocol.name.as_str());
        let fits = self.group().takes_protocols(names);
        let first = request.protocols.first();
        let said = first.and_then(|first| MemberSubscription::read(&first.metadata));
        let (Some(first), Some(said), true) = (first, said, fits) else {
            return Err(ErrorCode::InconsistentGroupProtocol);
        };
        if request.protocol_type != CONSUMERS {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        // A member that was given its name a moment ago has nothing; one that was put out and
        // doesn't know would go on with what is another's. Kafka takes both for new.
        let is_known = self.group().has_member(&request.member_id);
        if request.instance_id.is_none() && !is_known && said.owns_any() {
            return Err(ErrorCode::UnknownMemberId);
        }
        let id = self.enter_classic(request)?;
        let before = self.group().members.get(&id).map(|member| member.subscription.clone());
        let mut now = before.clone().unwrap_or_default();
        now.client_id.clone_from(&request.client_id);
        now.client_host.clone_from(&request.client_host);
        now.instance_id.clone_from(&request.instance_id);
        now.rack_id.clone_from(&said.rack_id);
        now.rebalance_timeout_ms = request.rebalance_timeout_ms;
        now.topic_names = said.topics.iter().cloned().collect();
        (now.topic_regex, now.assignor) = (None, None);
        now.classic = Some(ClassicClient {
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols.clone(),
        });
        self.take_subscription(&id, before.as_ref(), now, topics)
            .map_err(|refusal| refusal.error)?;
        self.go_by_topics(topics);
        let owned = by_id(&said.into_owned(), topics);
        self.lead_on(&id, Some(&owned));
        Ok(JoinReply {
            error: ErrorCode::None,
            generation: self.current(&id).epoch,
            protocol_type: Some(CONSUMERS.to_owned()),
            protocol: Some(first.name.clone()),
            leader: String::new(),
            skips_assignment: false,
            member_id: id,
            members: Vec::new(),
        })
    }

    /// As whom a member joins. A static one may take its own place at any time.
    fn enter_classic(&mut self, request: &JoinRequest) -> Result<String, ErrorCode> {
        let (is_new, said) = (request.member_id.is_empty(), &request.member_id);
        let holder = request.instance_id.as_ref().and_then(|id| self.group().instance(id)).cloned();
        match (&request.instance_id, holder) {
            (Some(_), Some(holder)) if is_new => {
                self.move_member(&holder, &request.fresh_member_id);
                Ok(request.fresh_member_id.clone())
            }
            (Some(_), Some(holder)) if holder != *said => Err(ErrorCode::FencedInstanceId),
            (Some(_), None) if !is_new => Err(ErrorCode::UnknownMemberId),
            _ if is_new => Ok(request.fresh_member_id.clone()),
            _ => Ok(said.clone()),
        }
    }

    /// LeaveGroup: one answer for each.
    pub(in crate::group) fn classic_leave(&mut self, leaving: &[LeavingMember]) -> Vec<ErrorCode> {
        let take_leave = |leaving: &LeavingMember| match self.leaving(leaving) {
            Ok(id) => {
                self.fence(&id);
                ErrorCode::None
            }
            Err(error) => error,
        };
        leaving.iter().map(take_leave).collect()
    }

    fn leaving(&self, leaving: &LeavingMember) -> Result<String, ErrorCode> {
        let said = &leaving.member_id;
        if let Some(instance_id) = &leaving.instance_id {
            let holder = self.group().instance(instance_id).ok_or(ErrorCode::UnknownMemberId)?;
            return match said.is_empty() || said == holder {
                true => Ok(holder.clone()),
                false => Err(ErrorCode::FencedInstanceId),
            };
        }
        match self.group().members.get(said) {
            Some(member) if member.subscription.classic.is_some() => Ok(said.clone()),
            Some(_) | None => Err(ErrorCode::UnknownMemberId),
        }
    }
}

impl ConsumerGroup {
    /// Whether there are members, and all of them by the classic protocol.
    pub(in crate::group) fn has_classic_members_only(&self) -> bool {
        let is_classic = |member: &ConsumerMember| member.subscription.classic.is_some();
        !self.members.is_empty() && self.members.values().all(is_classic)
    }

    /// After how many ms without a heartbeat a classic member is out.
    pub(in crate::group) fn classic_session_ms(&self, member_id: &str) -> Option<u64> {
        let classic = self.members.get(member_id)?.subscription.classic.as_ref()?;
        Some(u64::try_from(classic.session_timeout_ms).unwrap_or(0))
    }

    /// SyncGroup: what the member may have now.
    pub(in crate::group) fn classic_sync(
        &self,
        request: &SyncRequest,
        topics: &dyn TopicsView,
    ) -> Result<SyncReply, ErrorCode> {
        let (member, classic) = self.classic_member(&request.member)?;
        let protocol = classic.protocols.first();
        let name = protocol.map(|protocol| protocol.name.as_str());
        let differs =
            |said: &Option<String>, is: Option<&str>| said.is_some() && said.as_deref() != is;
        if differs(&request.protocol_type, Some(CONSUMERS)) || differs(&request.protocol, name) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if self.epoch > member.current.epoch && member.current.state != MemberState::Unrevoked {
            return Err(ErrorCode::RebalanceInProgress);
        }
        let metadata = protocol.map(|protocol| protocol.metadata.clone()).unwrap_or_default();
        let assigned = self.by_name(&member.current.assigned, topics);
        Ok(SyncReply {
            error: ErrorCode::None,
            protocol_type: Some(CONSUMERS.to_owned()),
            protocol: name.map(str::to_owned),
            assignment: write_assignment(assigned, &metadata),
        })
    }

    /// Heartbeat: whether the member is to join again.
    pub(in crate::group) fn classic_heartbeat(&self, from: &MemberOfGeneration) -> ErrorCode {
        match self.classic_member(from) {
            Ok(_) if self.is_to_join_again(&from.member_id) => ErrorCode::RebalanceInProgress,
            Ok(_) => ErrorCode::None,
            Err(error) => error,
        }
    }

    /// Whether a classic member has to join to be led on: the group has gone on, it is to give
    /// something up, or what it waits for is free.
    pub(in crate::group) fn is_to_join_again(&self, member_id: &str) -> bool {
        let Some(member) = self.members.get(member_id) else { return false };
        if member.subscription.classic.is_none() {
            return false;
        }
        let target = self.target.get(member_id);
        let waits = |partition: &(TopicId, PartitionIndex)| {
            !member.current.assigned.contains(partition)
                && self.is_held_by_another(member_id, partition)
        };
        member.current.epoch < self.epoch
            || match member.current.state {
                MemberState::Stable => false,
                MemberState::Unrevoked => true,
                MemberState::Unreleased => !target.is_some_and(|all| all.iter().any(waits)),
            }
    }

    fn classic_member(
        &self,
        of: &MemberOfGeneration,
    ) -> Result<(&ConsumerMember, &ClassicClient), ErrorCode> {
        if let Some(instance_id) = &of.instance_id {
            let holder = self.instance(instance_id).ok_or(ErrorCode::UnknownMemberId)?;
            if *holder != of.member_id {
                return Err(ErrorCode::FencedInstanceId);
            }
        }
        let member = self.members.get(&of.member_id).ok_or(ErrorCode::UnknownMemberId)?;
        let classic = member.subscription.classic.as_ref().ok_or(ErrorCode::UnknownMemberId)?;
        match member.current.epoch == of.generation {
            true => Ok((member, classic)),
            false => Err(ErrorCode::IllegalGeneration),
        }
    }

    /// Whether a classic member that can do these protocols fits in with the others there are.
    fn takes_protocols<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> bool {
        names.any(|name| self.classic_clients().all(|client| client.supports(name)))
    }

    fn classic_clients(&self) -> impl Iterator<Item = &ClassicClient> {
        self.members.values().filter_map(|member| member.subscription.classic.as_ref())
    }

    /// The protocol that all classic members can do and most like best; of those liked alike, the
    /// first by name.
    fn classic_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for client in self.classic_clients() {
            let mut names = client.protocols.iter().map(|protocol| protocol.name.as_str());
            let is_common =
                |name: &&str| self.classic_clients().all(|client| client.supports(name));
            if let Some(vote) = names.find(is_common) {
                *votes.entry(vote).or_default() += 1;
            }
        }
        let most = votes.values().max().copied()?;
        votes.into_iter().find(|&(_, count)| count == most).map(|(name, _)| name.to_owned())
    }

    /// The classic group that its members make, each with what it has (Kafka's
    /// `ClassicGroup.fromConsumerGroup`); none if one of them is no classic member.
    pub(in crate::group) fn to_classic(
        &self,
        topics: &dyn TopicsView,
        since: TimestampMs,
    ) -> Option<KeptGroup> {
        let protocol = self.classic_protocol()?;
        let mut members = Vec::new();
        for (id, member) in &self.members {
            let classic = member.subscription.classic.as_ref()?;
            let metadata = classic.metadata(&protocol);
            let assigned = self.by_name(&member.current.assigned, topics);
            members.push(KeptMember {
                member_id: id.clone(),
                instance_id: member.subscription.instance_id.clone(),
                client_id: member.subscription.client_id.clone(),
                client_host: member.subscription.client_host.clone(),
                rebalance_timeout_ms: member.subscription.rebalance_timeout_ms,
                session_timeout_ms: classic.session_timeout_ms,
                assignment: write_assignment(assigned, &metadata),
                subscription: metadata,
            });
        }
        Some(KeptGroup {
            protocol_type: CONSUMERS.to_owned(),
            generation: self.epoch,
            protocol: Some(protocol),
            leader: members.first().map(|member| member.member_id.clone()),
            since,
            members,
        })
    }

    /// The records that forget the group with all its members.
    pub(in crate::group) fn all_tombstones(&self) -> Vec<ConsumerRecord> {
        let members = self.members.keys().flat_map(|id| {
            [ConsumerRecord::Current(id.clone(), None), ConsumerRecord::Member(id.clone(), None)]
        });
        members.chain(self.tombstones()).collect()
    }

    /// Partitions by the names of their topics, of those that members subscribe to.
    fn by_name(&self, assigned: &Assigned, topics: &dyn TopicsView) -> Named {
        let subscribed = self.members.values().flat_map(|one| self.topics_of(&one.subscription));
        let names: BTreeMap<TopicId, &TopicName> =
            subscribed.filter_map(|name| Some((topics.topic(name)?.0, name))).collect();
        let mut named = Named::new();
        for (topic, partition) in assigned {
            if let Some(name) = names.get(topic) {
                named.entry((*name).clone()).or_default().push(*partition);
            }
        }
        named
    }
}

impl ClassicClient {
    fn supports(&self, name: &str) -> bool {
        self.protocols.iter().any(|protocol| protocol.name == name)
    }

    fn metadata(&self, name: &str) -> Bytes {
        let of_name = self.protocols.iter().find(|protocol| protocol.name == name);
        of_name.map(|protocol| protocol.metadata.clone()).unwrap_or_default()
    }
}

/// Partitions by the ids of their topics, of those there are.
fn by_id(named: &Named, topics: &dyn TopicsView) -> Assigned {
    let of_topic = |(name, partitions): (&TopicName, &Vec<PartitionIndex>)| {
        let topic = topics.topic(name);
        let there = partitions.clone().into_iter().filter_map(move |partition| {
            let (id, partition_count) = topic?;
            (0..partition_count).contains(&partition.0).then_some((id, partition))
        });
        there.collect::<Vec<_>>()
    };
    named.iter().flat_map(of_topic).collect()
}
