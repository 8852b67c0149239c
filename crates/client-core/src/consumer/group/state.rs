//! The state of a membership: takes events, gives effects. What both protocols share.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use streamledger_protocol::{BrokerId, ErrorCode, TopicPartition};

use super::classic::ClassicPart;
use super::event::{
    AskId, GroupAnswer, GroupConfig, GroupEffect, GroupEvent, GroupProtocol, GroupQuestion,
    GroupTrouble, KnownTopics, Step, StepId, Subscription,
};
use super::next_generation::NextPart;
use super::phase::{Happening, Phase};
use super::subscription::NO_GENERATION;
use super::verdict::{GroupApi, GroupVerdict, judge_group};
use crate::partitioner::RandomSource;
use crate::transaction::ConsumerGroupMetadata;

/// Decides when to join, what to give up and take on, and when to say that it is alive. Owned by
/// one thread.
pub struct GroupState {
    pub(super) config: GroupConfig,
    random: Arc<dyn RandomSource>,
    pub(super) phase: Phase,
    pub(super) subscription: Subscription,
    pub(super) topics: KnownTopics,
    coordinator: Option<BrokerId>,
    pub(super) member_id: String,
    /// The generation, or the member's epoch; negative outside of membership.
    pub(super) generation: i32,
    /// What the reader has.
    pub(super) owned: BTreeSet<TopicPartition>,
    /// What it shall have, until it has it.
    pub(super) target: Option<BTreeSet<TopicPartition>>,
    /// Why to join again.
    pub(super) rejoin: Option<&'static str>,
    in_flight: Option<(AskId, GroupApi)>,
    step: Option<(StepId, Step)>,
    must_leave: bool,
    next_id: u64,
    failures: u32,
    not_before: Option<Instant>,
    /// When somebody polled last.
    polled_at: Option<Instant>,
    /// When the next heartbeat is due.
    pub(super) heartbeat_at: Option<Instant>,
    pub(super) effects: VecDeque<GroupEffect>,
    stirred: bool,
    wakeup: Option<Instant>,
    pub(super) classic: ClassicPart,
    pub(super) next: NextPart,
}

impl GroupState {
    /// No member of anything until something is subscribed. `random` is for the backoffs.
    #[must_use]
    pub fn new(config: GroupConfig, random: Arc<dyn RandomSource>) -> Self {
        let member_id = match &config.protocol {
            GroupProtocol::Classic { .. } => String::new(),
            GroupProtocol::Consumer { member_id, .. } => member_id.clone(),
        };
        Self {
            config,
            random,
            phase: Phase::Idle,
            subscription: Subscription::Nothing,
            topics: KnownTopics::new(),
            coordinator: None,
            member_id,
            generation: NO_GENERATION,
            owned: BTreeSet::new(),
            target: None,
            rejoin: None,
            in_flight: None,
            step: None,
            must_leave: false,
            next_id: 0,
            failures: 0,
            not_before: None,
            polled_at: None,
            heartbeat_at: None,
            effects: VecDeque::new(),
            stirred: false,
            wakeup: None,
            classic: ClassicPart::default(),
            next: NextPart::default(),
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Instant, event: GroupEvent) {
        self.stirred = true;
        match event {
            GroupEvent::Subscribe(subscription) => self.subscribe(now, subscription),
            GroupEvent::Leave => self.leave(),
            GroupEvent::Polled => self.polled_at = Some(now),
            GroupEvent::Topics(topics) => self.learn(topics),
            GroupEvent::LookedUp(topics) => {
                self.learn(topics);
                self.classic_looked_up();
            }
            GroupEvent::Named(names) => self.next.names.extend(names),
            GroupEvent::CoordinatorFound(id, found) => self.on_coordinator(now, id, found),
            GroupEvent::Answered(id, answer) => {
                if let Some((_, api)) = self.in_flight.take_if(|(asked, _)| *asked == id) {
                    self.on_answer(now, api, answer);
                }
            }
            GroupEvent::AskFailed(id) => {
                if let Some((_, api)) = self.in_flight.take_if(|(asked, _)| *asked == id) {
                    self.on_silence(now, api);
                }
            }
            GroupEvent::StepDone(id) => {
                if let Some((_, step)) = self.step.take_if(|(begun, _)| *begun == id) {
                    self.on_step_done(now, step);
                }
            }
            GroupEvent::Doubted => self.heartbeat_at = self.heartbeat_at.map(|_| now),
        }
    }

    /// What to do next, if anything. Ask until there is nothing.
    pub fn poll(&mut self, now: Instant) -> Option<GroupEffect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        let is_due = self.wakeup.is_some_and(|wakeup| wakeup <= now);
        if !self.stirred && !is_due {
            return None;
        }
        self.stirred = false;
        self.plan(now);
        self.effects.pop_front()
    }

    /// When to poll again, if nothing happens before.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        self.wakeup
    }

    /// The membership, to be named beside offsets: none of it outside of one.
    #[must_use]
    pub fn metadata(&self) -> ConsumerGroupMetadata {
        let mut metadata = ConsumerGroupMetadata::new(self.config.group_id.clone());
        // The epoch of a next-generation member that joins is 0: it is none yet.
        if self.generation > 0 || (self.is_classic() && self.generation == 0) {
            metadata.generation_id = self.generation;
            metadata.member_id = self.member_id.clone();
            metadata.group_instance_id = self.config.instance_id.clone();
        }
        metadata
    }

    /// Whether the reader has a step to take before anything goes on.
    #[must_use]
    pub fn waits_for_the_reader(&self) -> bool {
        self.step.is_some()
    }

    /// The topics whose metadata is wanted all the time.
    #[must_use]
    pub fn wanted_topics(&self) -> BTreeSet<streamledger_protocol::TopicName> {
        let mut wanted = match &self.subscription {
            Subscription::Topics(topics) => topics.clone(),
            Subscription::Nothing | Subscription::ServerPattern(_) => BTreeSet::new(),
        };
        wanted.extend(self.classic.led.iter().flat_map(|led| led.keys().cloned()));
        wanted.extend(self.classic.looked_up.iter().flatten().cloned());
        wanted
    }

    pub(super) fn is_classic(&self) -> bool {
        matches!(self.config.protocol, GroupProtocol::Classic { .. })
    }

    /// Moves along the table; false where that isn't in it.
    pub(super) fn step_to(&mut self, happening: Happening) -> bool {
        let next = self.phase.next(happening);
        if let Some(next) = next {
            self.phase = next;
        }
        next.is_some()
    }

    fn subscribe(&mut self, now: Instant, subscription: Subscription) {
        let is_news = self.subscription != subscription;
        self.subscription = subscription;
        self.polled_at = Some(now);
        self.step_to(Happening::Subscribed);
        if is_news && !self.is_classic() {
            self.heartbeat_at = self.heartbeat_at.map(|_| now);
        }
    }

    fn learn(&mut self, topics: KnownTopics) {
        self.next.names.extend(
            topics.iter().filter(|(_, t)| !t.id.is_zero()).map(|(name, t)| (t.id, name.clone())),
        );
        self.topics = topics;
    }

    fn leave(&mut self) {
        let was_member = self.generation >= 0;
        self.must_leave = was_member && (!self.is_classic() || self.config.instance_id.is_none());
        self.subscription = Subscription::Nothing;
        self.owned.clear();
        self.forget_attempt();
        self.step_to(Happening::Left);
    }

    /// What was begun means nothing any more.
    fn forget_attempt(&mut self) {
        (self.step, self.target, self.in_flight, self.rejoin) = (None, None, None, None);
        self.classic.forget_attempt();
        self.next.forget_attempt();
    }

    /// The coordinator counts this member out: whatever it has, another may have already.
    pub(super) fn lose(&mut self, forgets_member: bool) {
        if !self.step_to(Happening::Lost) {
            return;
        }
        self.forget_attempt();
        self.generation = NO_GENERATION;
        self.heartbeat_at = None;
        if forgets_member && self.is_classic() {
            self.member_id.clear();
        }
        if !self.owned.is_empty() && self.step_to(Happening::MustRelease) {
            self.take_step(Step::Lose(self.owned.iter().cloned().collect()));
        }
    }

    pub(super) fn refuse(&mut self, code: ErrorCode, message: Option<String>) {
        let lost: Vec<TopicPartition> = self.owned.iter().cloned().collect();
        if !self.step_to(Happening::Refused) {
            return;
        }
        self.forget_attempt();
        self.generation = NO_GENERATION;
        self.heartbeat_at = None;
        if !lost.is_empty() {
            self.take_step(Step::Lose(lost));
        }
        self.effects.push_back(GroupEffect::Tell(GroupTrouble::Refused { code, message }));
    }

    pub(super) fn take_step(&mut self, step: Step) {
        self.next_id += 1;
        let id = StepId(self.next_id);
        self.step = Some((id, step.clone()));
        self.effects.push_back(GroupEffect::Step(id, step));
    }

    fn on_step_done(&mut self, now: Instant, step: Step) {
        match step {
            Step::Revoke(gone) | Step::Lose(gone) => {
                gone.iter().for_each(|partition| {
                    self.owned.remove(partition);
                });
                if self.target.is_some() {
                    self.install();
                } else {
                    self.step_to(Happening::Released);
                }
            }
            Step::Assign(added) => {
                self.owned.extend(added);
                self.target = None;
                self.step_to(Happening::Settled);
                if !self.is_classic() {
                    self.next.must_tell_owned = true;
                    self.heartbeat_at = Some(now);
                }
            }
        }
    }

    /// Goes towards the target: first gives up, then takes on.
    pub(super) fn reconcile(&mut self) {
        let Some(target) = &self.target else { return };
        let revoked: Vec<TopicPartition> = self.owned.difference(target).cloned().collect();
        if revoked.is_empty() {
            self.install();
        } else if self.step_to(Happening::MustRelease) {
            self.take_step(Step::Revoke(revoked));
        }
    }

    fn install(&mut self) {
        let Some(target) = &self.target else { return };
        let added: Vec<TopicPartition> = target.difference(&self.owned).cloned().collect();
        if self.step_to(Happening::MustInstall) {
            self.take_step(Step::Assign(added));
        }
    }

    fn plan(&mut self, now: Instant) {
        self.wakeup = None;
        if self.has_been_left_alone(now) {
            self.must_leave = !self.is_classic() || self.config.instance_id.is_none();
            self.lose(false);
        }
        if self.phase == Phase::Stable && self.step.is_none() {
            if self.is_classic() { self.classic_turn() } else { self.next_turn() }
        }
        if self.in_flight.is_none() {
            self.ask(now);
        }
        if let Some(limit) = self.poll_limit().filter(|limit| *limit > now) {
            self.wake_at(limit);
        }
    }

    /// When `max.poll.interval.ms` is over.
    fn poll_limit(&self) -> Option<Instant> {
        let is_counted = match self.phase {
            Phase::Releasing | Phase::LookingUp | Phase::Installing | Phase::Stable => true,
            Phase::Idle
            | Phase::Unjoined
            | Phase::Joining
            | Phase::Syncing
            | Phase::Leaving
            | Phase::Failed => false,
        };
        let polled_at = self.polled_at.filter(|_| is_counted && self.generation >= 0)?;
        Some(polled_at + self.config.max_poll_interval)
    }

    fn has_been_left_alone(&self, now: Instant) -> bool {
        self.poll_limit().is_some_and(|limit| limit <= now)
    }

    /// Asks what the phase wants asked.
    fn ask(&mut self, now: Instant) {
        if self.must_leave || self.phase == Phase::Leaving {
            return self.say_that_it_leaves();
        }
        let is_wanted = match self.phase {
            Phase::Idle | Phase::Failed | Phase::Leaving => false,
            // Nobody there to read: joining would only hold others up.
            Phase::Unjoined => {
                let since = self.polled_at.map(|at| now.saturating_duration_since(at));
                since.is_some_and(|since| since < self.config.max_poll_interval)
            }
            Phase::Joining | Phase::Syncing => true,
            Phase::Releasing | Phase::LookingUp | Phase::Installing | Phase::Stable => {
                self.is_heartbeat_due(now)
            }
        };
        if !is_wanted {
            return;
        }
        if let Some(not_before) = self.not_before.filter(|moment| *moment > now) {
            return self.wake_at(not_before);
        }
        let Some(broker) = self.coordinator else {
            let id = self.begin(GroupApi::FindCoordinator);
            self.effects.push_back(GroupEffect::FindCoordinator(id));
            return;
        };
        let (api, question, patience) = match (self.phase, self.is_classic()) {
            (Phase::Unjoined | Phase::Joining, true) => {
                self.step_to(Happening::Asked);
                (GroupApi::Join, self.join_question(), self.join_patience())
            }
            (Phase::Syncing, true) => (GroupApi::Sync, self.sync_question(), self.join_patience()),
            (_, true) => (GroupApi::Heartbeat, self.heartbeat_question(), Duration::ZERO),
            (_, false) => {
                self.step_to(Happening::Asked);
                (GroupApi::ConsumerHeartbeat, self.next_question(), Duration::ZERO)
            }
        };
        let id = self.begin(api);
        self.effects.push_back(GroupEffect::Ask { id, broker, question, patience });
    }

    fn is_heartbeat_due(&mut self, now: Instant) -> bool {
        let Some(at) = self.heartbeat_at.filter(|_| self.generation >= 0) else { return false };
        if at > now {
            self.wake_at(at);
        }
        at <= now
    }

    fn say_that_it_leaves(&mut self) {
        let (must_leave, coordinator) = (self.must_leave, self.coordinator);
        self.must_leave = false;
        match coordinator.filter(|_| must_leave) {
            Some(broker) => {
                let question =
                    if self.is_classic() { self.leave_question() } else { self.next_leave() };
                let id = self.begin(GroupApi::Leave);
                let patience = Duration::ZERO;
                self.effects.push_back(GroupEffect::Ask { id, broker, question, patience });
                self.generation = NO_GENERATION;
                self.heartbeat_at = None;
            }
            None => self.is_gone(),
        }
    }

    fn is_gone(&mut self) {
        self.generation = NO_GENERATION;
        if self.is_classic() {
            self.member_id.clear();
        }
        if self.step_to(Happening::Gone) {
            self.effects.push_back(GroupEffect::Left);
            if self.subscription != Subscription::Nothing {
                self.step_to(Happening::Subscribed);
            }
        }
    }

    fn begin(&mut self, api: GroupApi) -> AskId {
        self.next_id += 1;
        let id = AskId(self.next_id);
        self.in_flight = Some((id, api));
        id
    }

    fn on_coordinator(&mut self, now: Instant, id: AskId, found: Result<BrokerId, ErrorCode>) {
        if self.in_flight.take_if(|(asked, _)| *asked == id).is_none() {
            return;
        }
        match found {
            Ok(broker) => {
                self.coordinator = Some(broker);
                self.succeeded();
            }
            Err(code) => match judge_group(GroupApi::FindCoordinator, code) {
                GroupVerdict::Refuse => self.refuse(code, None),
                _ => self.back_off(now),
            },
        }
    }

    fn on_answer(&mut self, now: Instant, api: GroupApi, answer: GroupAnswer) {
        if api == GroupApi::Leave {
            return self.is_gone();
        }
        match answer {
            GroupAnswer::Join(response) => self.on_joined(now, response),
            GroupAnswer::Sync(response) => self.on_synced(now, response),
            GroupAnswer::Heartbeat(response) => self.on_heartbeat(now, response.error_code),
            GroupAnswer::ConsumerHeartbeat(response) => self.on_next_answer(now, response),
            GroupAnswer::Leave(_) => self.is_gone(),
        }
    }

    /// No answer: the coordinator may be another, or gone.
    fn on_silence(&mut self, now: Instant, api: GroupApi) {
        self.coordinator = None;
        self.back_off(now);
        self.next.sent = None;
        match api {
            GroupApi::Leave => self.is_gone(),
            GroupApi::Join | GroupApi::Sync => {
                self.step_to(Happening::Again);
            }
            GroupApi::ConsumerHeartbeat => {
                self.step_to(Happening::Again);
            }
            GroupApi::FindCoordinator | GroupApi::Heartbeat | GroupApi::Commit => {}
        }
    }

    /// What any error but a success does.
    pub(super) fn on_trouble(
        &mut self,
        now: Instant,
        api: GroupApi,
        code: ErrorCode,
        message: Option<String>,
    ) {
        match judge_group(api, code) {
            GroupVerdict::Done => {}
            GroupVerdict::Retry => self.back_off(now),
            GroupVerdict::FindAndRetry => {
                self.coordinator = None;
                self.back_off(now);
            }
            GroupVerdict::JoinWithId => {}
            GroupVerdict::Rejoin => self.rejoin = Some("the group is rebalancing"),
            GroupVerdict::ForgetGeneration => return self.lose(false),
            GroupVerdict::ForgetMember => return self.lose(true),
            GroupVerdict::Mind => {
                self.back_off(now);
                self.effects.push_back(GroupEffect::Tell(GroupTrouble::Minded { code, message }));
            }
            GroupVerdict::Refuse => return self.refuse(code, message),
        }
        self.next.sent = None;
        self.step_to(Happening::Again);
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.not_before = None;
    }

    pub(super) fn back_off(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let wait = self.config.retry_backoff.wait(self.failures, &*self.random);
        self.not_before = Some(now + wait);
    }

    fn wake_at(&mut self, moment: Instant) {
        self.wakeup = Some(self.wakeup.map_or(moment, |wakeup| wakeup.min(moment)));
    }

    fn join_patience(&self) -> Duration {
        self.config.max_poll_interval
    }

    pub(super) fn topic_names(&self) -> Vec<streamledger_protocol::TopicName> {
        match &self.subscription {
            Subscription::Topics(topics) => topics.iter().cloned().collect(),
            Subscription::Nothing | Subscription::ServerPattern(_) => Vec::new(),
        }
    }

    /// As it travels: whole milliseconds, as many as fit.
    pub(super) fn ms(duration: Duration) -> i32 {
        i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
    }

    pub(super) fn question_text(&self) -> (streamledger_protocol::GroupId, Option<String>) {
        (self.config.group_id.clone(), self.config.instance_id.clone())
    }
}

impl std::fmt::Debug for GroupState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupState")
            .field("phase", &self.phase)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// A question never goes out of a phase that doesn't ask it.
impl GroupQuestion {
    /// Its API.
    #[must_use]
    pub fn api(&self) -> GroupApi {
        match self {
            Self::Join(_) => GroupApi::Join,
            Self::Sync(_) => GroupApi::Sync,
            Self::Heartbeat(_) => GroupApi::Heartbeat,
            Self::Leave(_) => GroupApi::Leave,
            Self::ConsumerHeartbeat(_) => GroupApi::ConsumerHeartbeat,
        }
    }
}
