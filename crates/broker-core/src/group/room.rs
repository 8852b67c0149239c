//! How much the members of all groups may bring with them: what they say of themselves, and what
//! their leaders give them, is memory until they are gone (FAILURES.md 58).

use streamledger_protocol::GroupId;

use super::classic::{ClassicGroup, JoinRequest, Protocol, SyncRequest};
use super::coordinator::GroupCoordinator;
use super::next_gen::{ConsumerGroup, ConsumerHeartbeat};

/// What each name, text or entry takes besides its bytes.
const ENTRY_BYTES: usize = 64;

/// What one entry of so many bytes takes.
pub(super) const fn entry(bytes: usize) -> usize {
    bytes.saturating_add(ENTRY_BYTES)
}

/// What optional texts take.
pub(super) fn texts<const N: usize>(all: [Option<&str>; N]) -> usize {
    all.into_iter().flatten().map(|text| entry(text.len())).sum()
}

/// What protocols take, with what a member joins with.
pub(super) fn protocols(all: &[Protocol]) -> usize {
    all.iter().map(|one| entry(one.name.len()) + entry(one.metadata.len())).sum()
}

impl JoinRequest {
    fn brought_bytes(&self) -> usize {
        let (id, instance) = (self.fresh_member_id.as_str(), self.instance_id.as_deref());
        texts([Some(id), instance, Some(&self.client_id)]) + protocols(&self.protocols)
    }
}

impl ConsumerHeartbeat {
    fn brought_bytes(&self) -> usize {
        let names = self.topic_names.iter().flatten().map(|name| entry(name.as_str().len()));
        let (id, instance) = (self.member_id.as_str(), self.instance_id.as_deref());
        let texts = [Some(id), instance, self.rack_id.as_deref(), self.topic_regex.as_deref()];
        self::texts(texts) + names.sum::<usize>()
    }

    /// Whether it brings anything: most only say that their member is alive.
    const fn brings(&self) -> bool {
        self.topic_names.is_some() || self.topic_regex.is_some() || self.member_epoch == 0
    }
}

impl GroupCoordinator {
    /// Whether a member may join with what it brings; that counts if so. Who is a member already
    /// may come again where no new one may.
    pub(super) fn has_room_to_join(&mut self, request: &JoinRequest) -> bool {
        let had = self.had_bytes(&request.group, &request.member_id);
        self.take_room(request.brought_bytes(), had)
    }

    /// Whether a leader may give what it gives.
    pub(super) fn has_room_to_sync(&mut self, request: &SyncRequest) -> bool {
        let given: usize = request.assignments.iter().map(|(_, bytes)| entry(bytes.len())).sum();
        let had = self.groups.get(&request.group).map_or(0, ClassicGroup::assigned_bytes);
        self.take_room(given, Some(had))
    }

    /// Whether a member of the next generation may say what it says.
    pub(super) fn has_room_for(&mut self, request: &ConsumerHeartbeat) -> bool {
        if !request.brings() {
            return true;
        }
        if request.topic_regex.is_some() {
            // What a pattern finds counts as well, and isn't known before: it is seen by the next.
            self.brought_bytes = None;
        }
        let had = self.had_bytes(&request.group, &request.member_id);
        self.take_room(request.brought_bytes(), had)
    }

    /// What a member has brought already; none for a new one.
    fn had_bytes(&self, group: &GroupId, member_id: &str) -> Option<usize> {
        let classic = self.groups.get(group).and_then(|group| group.bytes_of(member_id));
        classic.or_else(|| self.consumers.get(group)?.bytes_of(member_id))
    }

    /// Counts so many bytes in place of others, if there may be; who has some already may have as
    /// much again as all new ones. All members are looked at only when it is not sure that there
    /// is room: those who left are noticed then.
    fn take_room(&mut self, bytes: usize, had: Option<usize>) -> bool {
        let max = self.config.member_bytes_max;
        let max = if had.is_some() { max.saturating_mul(2) } else { max };
        let more = bytes.saturating_sub(had.unwrap_or(0));
        let fits = |brought: usize| (brought.saturating_add(more) <= max).then(|| brought + more);
        let total = self.brought_bytes.and_then(fits).or_else(|| fits(self.member_bytes()));
        self.brought_bytes = total.or(self.brought_bytes);
        total.is_some() || more == 0
    }

    /// What all members have brought and been given, in bytes.
    #[must_use]
    pub fn member_bytes(&self) -> usize {
        let classic: usize = self.groups.values().map(ClassicGroup::brought_bytes).sum();
        classic + self.consumers.values().map(ConsumerGroup::brought_bytes).sum::<usize>()
    }
}
