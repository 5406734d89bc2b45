//! Remembers between evaluations which series of a selection are in one group, so that the rules of every
//! few seconds do not look at the same labels again and again.

use std::sync::{Mutex, PoisonError};

use super::grouping::Grouping;

/// Selections that are remembered, each under one grouping, and the series that they may have together.
const MEMOS: usize = 64;
const SERIES: usize = 256 * 1024;
const UNKNOWN: u32 = u32::MAX;

/// The groups of one selection. They are numbered anew by every evaluation, in the order in which they are
/// met, so what is kept is the first member that was met.
#[derive(Debug)]
pub(super) struct GroupMemo {
    set: u64,
    nameless: bool,
    /// By place: the place of the member that stands for the group.
    first: Vec<u32>,
    /// By place of that member: the group's number in this evaluation.
    groups: Vec<u32>,
    /// The other way round.
    firsts: Vec<u32>,
}

impl GroupMemo {
    pub fn is_for(&self, set: u64, nameless: bool) -> bool {
        self.set == set && self.nameless == nameless
    }

    /// The group of the series at a place, if both were met before.
    #[inline]
    pub fn group(&self, place: usize) -> Option<usize> {
        let group = *self.groups.get(*self.first.get(place)? as usize)?;
        (group != UNKNOWN).then_some(group as usize)
    }

    /// The series at `place` is in the group with this number.
    pub fn learn(&mut self, place: usize, group: usize) {
        let (Ok(at), Ok(number)) = (u32::try_from(place), u32::try_from(group)) else { return };
        let put = |list: &mut Vec<u32>, i: usize, n: u32| {
            if i >= list.len() {
                list.resize(i + 1, UNKNOWN);
            }
            list[i] = n;
        };
        // The series may be known and only its group not yet met in this evaluation.
        let known = self.first.get(place).copied().filter(|first| *first != UNKNOWN);
        let met = self.firsts.get(group).copied().filter(|first| *first != UNKNOWN);
        let first = met.or(known).unwrap_or(at);
        put(&mut self.first, place, first);
        put(&mut self.groups, first as usize, number);
        put(&mut self.firsts, group, first);
    }
}

#[derive(Debug)]
struct Kept {
    set: u64,
    nameless: bool,
    only: bool,
    names: Box<[Box<str>]>,
    first: Vec<u32>,
}

/// What is remembered, oldest first.
#[derive(Debug, Default)]
pub(super) struct GroupMemos(Mutex<Vec<Kept>>);

impl GroupMemos {
    /// What is known of a selection under a grouping; it is the caller's until it is put back.
    pub fn take(&self, set: u64, grouping: &Grouping<'_>, nameless: bool) -> GroupMemo {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is = |k: &Kept| k.set == set && k.nameless == nameless && grouping.is(k.only, &k.names);
        let first = kept.iter().position(is).map(|i| kept.remove(i).first).unwrap_or_default();
        drop(kept);
        let groups = vec![UNKNOWN; first.len()];
        GroupMemo { set, nameless, first, groups, firsts: Vec::new() }
    }

    /// Remembers what an evaluation found.
    pub fn put(&self, memo: GroupMemo, grouping: &Grouping<'_>) {
        let GroupMemo { set, nameless, mut first, .. } = memo;
        first.shrink_to_fit();
        let (only, names) = grouping.owned();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|k| !(k.set == set && k.nameless == nameless && grouping.is(k.only, &k.names)));
        let mut series = first.len() + kept.iter().map(|k| k.first.len()).sum::<usize>();
        while !kept.is_empty() && (kept.len() >= MEMOS || series > SERIES) {
            series -= kept.remove(0).first.len();
        }
        if series <= SERIES {
            kept.push(Kept { set, nameless, only, names, first });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_their_members_under_new_numbers() {
        let (memos, grouping) = (GroupMemos::default(), Grouping::new(true, ["a"]));
        let mut memo = memos.take(7, &grouping, false);
        for (place, group) in [(0, 0), (1, 1), (2, 0), (5, 1)] {
            assert_eq!(memo.group(place), None);
            memo.learn(place, group);
            assert_eq!(memo.group(place), Some(group));
        }
        memos.put(memo, &grouping);
        // The other group is met first now, and one member that is new.
        let mut memo = memos.take(7, &grouping, false);
        assert_eq!(memo.group(5), None);
        memo.learn(5, 0);
        assert_eq!((memo.group(1), memo.group(2), memo.group(3)), (Some(0), None, None));
        memo.learn(3, 1);
        memo.learn(2, 1);
        assert_eq!((memo.group(2), memo.group(3), memo.group(0)), (Some(1), Some(1), None));
        memo.learn(0, 1);
        assert_eq!(memo.group(0), Some(1));
        memos.put(memo, &grouping);
        for other in [memos.take(8, &grouping, false), memos.take(7, &grouping, true)] {
            assert_eq!(other.group(5), None);
            assert!(other.first.is_empty());
        }
        assert!(memos.take(7, &Grouping::new(false, ["a"]), false).first.is_empty());
    }
}
