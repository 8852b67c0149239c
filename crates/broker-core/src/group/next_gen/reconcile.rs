//! One step of a member from what it has to what it shall have (Kafka's
//! `CurrentAssignmentBuilder`).

use streamledger_protocol::{PartitionIndex, TopicId};

use super::group::{Current, MemberState};
use super::request::Assigned;

/// Where a member is led.
pub(super) struct Towards<'a> {
    /// The epoch of the target.
    pub(super) epoch: i32,
    /// What the member shall have in the end.
    pub(super) target: &'a Assigned,
    /// What it says it owns, if it says so now.
    pub(super) owned: Option<&'a Assigned>,
}

/// The member's next step; the same as before if it can't go on.
///
/// | state | when | then |
/// | --- | --- | --- |
/// | stable | in the target's epoch | as it is |
/// | unrevoked | still owns what it is to give up, or doesn't say | as it is |
/// | any | owns what the target takes away | unrevoked, in its epoch |
/// | any | else | in the target's epoch, with what is free of the target; stable if that is all |
pub(super) fn next_step(
    current: &Current,
    towards: &Towards<'_>,
    is_free: impl Fn(&(TopicId, PartitionIndex)) -> bool,
) -> Current {
    let owns_any = |partitions: &Assigned| match towards.owned {
        None => !partitions.is_empty(),
        Some(owned) => partitions.iter().any(|partition| owned.contains(partition)),
    };
    match current.state {
        MemberState::Stable if current.epoch == towards.epoch => return current.clone(),
        MemberState::Unrevoked if towards.owned.is_none() || owns_any(&current.revoking) => {
            return current.clone();
        }
        MemberState::Stable | MemberState::Unrevoked | MemberState::Unreleased => {}
    }
    let target = towards.target;
    let kept: Assigned = current.assigned.intersection(target).copied().collect();
    let revoking: Assigned = current.assigned.difference(target).copied().collect();
    if owns_any(&revoking) {
        return Current {
            epoch: current.epoch,
            previous_epoch: current.previous_epoch,
            state: MemberState::Unrevoked,
            assigned: kept,
            revoking,
        };
    }
    let mut assigned = kept;
    assigned.extend(target.iter().filter(|partition| is_free(partition)).copied());
    let state = match assigned.len() == target.len() {
        true => MemberState::Stable,
        false => MemberState::Unreleased,
    };
    let is_same_epoch = current.epoch == towards.epoch;
    Current {
        epoch: towards.epoch,
        previous_epoch: if is_same_epoch { current.previous_epoch } else { current.epoch },
        state,
        assigned,
        revoking: Assigned::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(indexes: &[i32]) -> Assigned {
        indexes.iter().map(|index| (TopicId([1; 16]), PartitionIndex(*index))).collect()
    }

    fn current(epoch: i32, state: MemberState, assigned: &[i32], revoking: &[i32]) -> Current {
        Current {
            epoch,
            previous_epoch: epoch,
            state,
            assigned: set(assigned),
            revoking: set(revoking),
        }
    }

    fn step(
        from: &Current,
        epoch: i32,
        target: &[i32],
        owned: Option<&[i32]>,
        held: &[i32],
    ) -> Current {
        let (target, held) = (set(target), set(held));
        let owned = owned.map(set);
        let towards = Towards { epoch, target: &target, owned: owned.as_ref() };
        next_step(from, &towards, |partition| !held.contains(partition))
    }

    #[test]
    fn revoke_before_assign_row_by_row() {
        use MemberState::{Stable, Unreleased, Unrevoked};
        let stable = current(1, Stable, &[0, 1], &[]);
        assert_eq!(step(&stable, 1, &[0], None, &[]), stable);
        // To give 1 up and get 2.
        let unrevoked = step(&stable, 2, &[0, 2], None, &[]);
        assert_eq!(unrevoked, current(1, Unrevoked, &[0], &[1]));
        assert_eq!(step(&unrevoked, 2, &[0, 2], None, &[]), unrevoked, "it doesn't say");
        assert_eq!(step(&unrevoked, 2, &[0, 2], Some(&[0, 1]), &[]), unrevoked, "not yet");
        let revoked = step(&unrevoked, 2, &[0, 2], Some(&[0]), &[]);
        assert_eq!((revoked.epoch, revoked.state, revoked.assigned), (2, Stable, set(&[0, 2])));
        // 2 is still another's.
        let waiting = step(&unrevoked, 2, &[0, 2], Some(&[0]), &[2]);
        assert_eq!((waiting.epoch, waiting.state), (2, Unreleased));
        assert_eq!(waiting.assigned, set(&[0]));
        let released = step(&waiting, 2, &[0, 2], None, &[]);
        assert_eq!((released.state, released.assigned), (Stable, set(&[0, 2])));
        // One that owns nothing (it joins again) has nothing to give up.
        let again = step(&stable, 2, &[2], Some(&[]), &[]);
        assert_eq!((again.epoch, again.assigned), (2, set(&[2])));
    }
}
