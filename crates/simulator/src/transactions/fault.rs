//! What goes wrong with transactions: by chance, or because a scenario says so.

use std::time::Duration;

use streamledger_client_core::transaction::TransactionOperation;

use super::TransactionHappening;
use crate::clock::SimTime;
use crate::disk::CrashKind;
use crate::world::World;

/// In so many cases of a thousand, while such faults last.
const LOSS_PER_MILLE: u64 = 500;

/// Until when what goes wrong.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    markers_lost: SimTime,
    markers_late: SimTime,
    markers_doubled: SimTime,
    answers_lost: SimTime,
    /// The broker that takes the next marker loses power soon after.
    power_cut_at_marker: bool,
    /// The coordinator's broker loses power soon after its next decision.
    power_cut_at_decision: bool,
    /// The groups' coordinator's broker loses power soon after it takes offsets.
    power_cut_at_offsets: bool,
}

/// What can go wrong by chance, as often as it is listed.
const KINDS: [Trouble; 16] = [
    Trouble::Kill,
    Trouble::Kill,
    Trouble::Pause,
    Trouble::Rival,
    Trouble::LoseMarkers,
    Trouble::LateMarkers,
    Trouble::DoubleMarkers,
    Trouble::DoubleMarkers,
    Trouble::LoseAnswers,
    Trouble::LoseAnswers,
    Trouble::CoordinatorCrash,
    Trouble::CoordinatorMove,
    Trouble::PowerCutAtMarker,
    Trouble::PowerCutAtMarker,
    Trouble::PowerCutAtDecision,
    Trouble::PowerCutAtDecision,
];

/// The same, of what only processing producers notice.
const GROUP_KINDS: [Trouble; 5] = [
    Trouble::PowerCutAtOffsets,
    Trouble::PowerCutAtOffsets,
    Trouble::GroupsCrash,
    Trouble::GroupsMove,
    Trouble::Rival,
];

/// In so many cases of a thousand what goes wrong is of that kind.
const GROUP_KINDS_PER_MILLE: u64 = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Kill,
    Pause,
    Rival,
    LoseMarkers,
    LateMarkers,
    DoubleMarkers,
    LoseAnswers,
    CoordinatorCrash,
    CoordinatorMove,
    PowerCutAtMarker,
    PowerCutAtDecision,
    PowerCutAtOffsets,
    GroupsCrash,
    GroupsMove,
}

impl World {
    pub(crate) fn a_transaction_goes_wrong(&mut self, until: SimTime) {
        let living: Vec<usize> =
            (0..self.clients.len()).filter(|client| !self.clients[*client].dead).collect();
        if living.is_empty() {
            return;
        }
        let client = self.fault_dice.pick(&living);
        let kinds: &[Trouble] = match self.plan.is_processing() {
            true if self.fault_dice.chance(GROUP_KINDS_PER_MILLE) => &GROUP_KINDS,
            _ => &KINDS,
        };
        match self.fault_dice.pick(kinds) {
            Trouble::Kill => self.kill_producer(client),
            Trouble::Pause => {
                let timeout = self.clients[client].plan.transaction.as_ref().map(|t| t.timeout);
                let timeout_ms = timeout.map_or(1, |t| u64::try_from(t.as_millis()).unwrap_or(1));
                let ms = self.fault_dice.between(1, 2 * timeout_ms.min(3000));
                self.pause_producer(client, ms);
            }
            Trouble::Rival => self.start_rival(client),
            Trouble::LoseMarkers => self.lose_markers(until),
            Trouble::LateMarkers => self.delay_markers(until),
            Trouble::DoubleMarkers => self.double_markers(until),
            Trouble::LoseAnswers => self.lose_answers(until),
            Trouble::PowerCutAtMarker => self.cut_power_at_marker(),
            Trouble::PowerCutAtDecision => self.cut_power_at_decision(),
            Trouble::PowerCutAtOffsets => self.cut_power_at_offsets(),
            Trouble::CoordinatorCrash => self.crash_leader_of(self.coordinator_slot()),
            Trouble::CoordinatorMove => self.move_to_any(self.coordinator_slot()),
            Trouble::GroupsCrash => self.crash_leader_of(self.groups_slot()),
            Trouble::GroupsMove => self.move_to_any(self.groups_slot()),
        }
    }

    fn crash_leader_of(&mut self, slot: usize) {
        let kind = self.fault_dice.pick(&[CrashKind::Kill, CrashKind::PowerCut]);
        let down_ms = self.fault_dice.between(1, 400);
        self.crash(self.partitions[slot].host, kind, down_ms);
    }

    fn move_to_any(&mut self, slot: usize) {
        let to = self.fault_dice.place(self.brokers.len());
        let lose_unflushed = self.fault_dice.chance(500);
        self.move_leader(slot, to, lose_unflushed);
    }

    pub(crate) fn repair_transactions(&mut self) {
        if let Some(transactions) = &mut self.transactions {
            transactions.troubles = Troubles::default();
        }
        for client in &mut self.clients {
            client.paused_until = client.paused_until.min(self.now);
        }
    }

    fn troubles(&mut self) -> Option<&mut Troubles> {
        self.transactions.as_mut().map(|transactions| &mut transactions.troubles)
    }

    /// Half of the markers, and of their answers, are lost until the moment.
    pub fn lose_markers(&mut self, until: SimTime) {
        let _ = self.troubles().map(|troubles| troubles.markers_lost = until);
    }

    /// Markers take up to a second until the moment.
    pub fn delay_markers(&mut self, until: SimTime) {
        let _ = self.troubles().map(|troubles| troubles.markers_late = until);
    }

    /// Markers come twice until the moment.
    pub fn double_markers(&mut self, until: SimTime) {
        let _ = self.troubles().map(|troubles| troubles.markers_doubled = until);
    }

    /// Half of the questions to the coordinator, or their answers, are lost until the moment.
    pub fn lose_answers(&mut self, until: SimTime) {
        let _ = self.troubles().map(|troubles| troubles.answers_lost = until);
    }

    /// The broker that takes the next marker loses power a few milliseconds later.
    pub fn cut_power_at_marker(&mut self) {
        let _ = self.troubles().map(|troubles| troubles.power_cut_at_marker = true);
    }

    /// The coordinator's broker loses power a few milliseconds after its next decision.
    pub fn cut_power_at_decision(&mut self) {
        let _ = self.troubles().map(|troubles| troubles.power_cut_at_decision = true);
    }

    /// The groups' coordinator's broker loses power a few milliseconds after it next takes offsets
    /// into a transaction.
    pub fn cut_power_at_offsets(&mut self) {
        let _ = self.troubles().map(|troubles| troubles.power_cut_at_offsets = true);
    }

    /// A broker has appended a marker.
    pub(super) fn marker_is_taken(&mut self, broker: usize) {
        if self.troubles().is_some_and(|troubles| std::mem::take(&mut troubles.power_cut_at_marker))
        {
            self.cut_power_soon(broker);
        }
    }

    /// The coordinator has appended a decision.
    pub(super) fn decision_is_kept(&mut self) {
        let troubles = self.troubles();
        if troubles.is_some_and(|troubles| std::mem::take(&mut troubles.power_cut_at_decision)) {
            self.cut_power_soon(self.coordinator_broker());
        }
    }

    /// The groups' coordinator has appended offsets of a transaction.
    pub(super) fn offsets_are_taken(&mut self) {
        let troubles = self.troubles();
        if troubles.is_some_and(|troubles| std::mem::take(&mut troubles.power_cut_at_offsets)) {
            self.cut_power_soon(self.leader(self.groups_slot()));
        }
    }

    fn cut_power_soon(&mut self, broker: usize) {
        let us_max = self.fault_dice.pick(&[3000, 30_000, 100_000]);
        if self.fault_dice.chance(600) {
            // Its disk hangs before that: what is not flushed yet is lost.
            let until = self.now + Duration::from_micros(us_max);
            self.slow_disk(broker, us_max, until);
        }
        let at = self.now + Duration::from_micros(self.fault_dice.below(us_max));
        let life = self.brokers[broker].life;
        self.push_transactional(at, TransactionHappening::PowerCut { broker, life });
    }

    pub(super) fn cut_power(&mut self, broker: usize, life: u32) {
        if self.brokers[broker].life == life {
            let down_ms = self.fault_dice.between(1, 400);
            self.crash(broker, CrashKind::PowerCut, down_ms);
            // A producer on the same machine goes with it.
            let waits = |client: &usize| self.waits_for(*client, TransactionOperation::Commit);
            let waiting = (0..self.clients.len()).find(waits);
            if let Some(client) = waiting.filter(|_| self.fault_dice.chance(500)) {
                self.kill_producer(client);
            }
        }
    }

    /// The partition that is the coordinator's log.
    #[must_use]
    pub fn coordinator_slot(&self) -> usize {
        self.cluster.callers_slots()
    }

    /// The partition that is the log of the groups' coordinator.
    #[must_use]
    pub fn groups_slot(&self) -> usize {
        self.cluster.callers_slots() + 1
    }

    /// The broker that leads the coordinator's log, or did last.
    #[must_use]
    pub fn coordinator_broker(&self) -> usize {
        self.partitions[self.coordinator_slot()].host
    }

    pub(super) fn loses_marker(&mut self) -> bool {
        let now = self.now;
        let in_trouble = self.troubles().is_some_and(|troubles| troubles.markers_lost > now);
        in_trouble && self.fault_dice.chance(LOSS_PER_MILLE)
    }

    pub(super) fn loses_answer(&mut self) -> bool {
        let now = self.now;
        let in_trouble = self.troubles().is_some_and(|troubles| troubles.answers_lost > now);
        let loses = in_trouble && self.fault_dice.chance(LOSS_PER_MILLE);
        self.counters.answers_lost += u64::from(loses);
        loses
    }

    /// By how many microseconds a marker is late, each time that it comes.
    pub(super) fn marker_delays_us(&mut self) -> Vec<u64> {
        let now = self.now;
        let Some(troubles) = self.troubles() else { return vec![0] };
        let (late, doubled) = (troubles.markers_late > now, troubles.markers_doubled > now);
        let second = Duration::from_secs(1).as_micros();
        let us_max = u64::try_from(second).unwrap_or(0);
        let first = if late { self.fault_dice.below(us_max) } else { 0 };
        if !doubled {
            return vec![first];
        }
        self.counters.markers_doubled += 1;
        // Some come amid the next transaction, some long after it.
        let again_us_max = self.fault_dice.pick(&[30_000, 200_000, us_max]);
        vec![first, self.fault_dice.below(again_us_max)]
    }
}
