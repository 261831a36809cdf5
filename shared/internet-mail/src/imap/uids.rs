//! Sets of UIDs as ranges, so that a server's "1:4294967295" takes no memory.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt::Write,
};

/// Most ranges of one answer. A set with more ranges is refused.
const RANGES_MAX: usize = 1_000_000;

/// An ascending set of UIDs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct UidSet(VecDeque<(u32, u32)>);

impl UidSet {
    /// Reads a sequence set such as `1:5,7` (RFC 3501 section 9). `None` for anything else.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut ranges = Vec::new();
        for part in text.split(|byte| *byte == b',') {
            let mut ends = part.splitn(2, |byte| *byte == b':').map(number);
            let first = ends.next()??;
            let last = match ends.next() {
                None => first,
                Some(last) => last?,
            };
            ranges.push((first.min(last), first.max(last)));
            if ranges.len() > RANGES_MAX {
                return None;
            }
        }
        Some(Self::from_ranges(ranges))
    }

    /// The set of these UIDs.
    pub(super) fn of(uids: impl IntoIterator<Item = u32>) -> Self {
        Self::from_ranges(uids.into_iter().map(|uid| (uid, uid)).collect())
    }

    fn from_ranges(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        let mut merged: VecDeque<(u32, u32)> = VecDeque::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.back_mut() {
                Some(back) if first <= back.1.saturating_add(1) => back.1 = back.1.max(last),
                _ => merged.push_back((first, last)),
            }
        }
        Self(merged)
    }

    /// Adds another set.
    pub(super) fn extend(&mut self, other: Self) {
        let ranges = std::mem::take(&mut self.0).into_iter().chain(other.0).collect();
        *self = Self::from_ranges(ranges);
    }

    /// Whether the set has this UID.
    pub(super) fn contains(&self, uid: u32) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&uid))
    }

    /// The UIDs of a small set that are not among these.
    pub(super) fn without(&self, known: &BTreeSet<u32>) -> Self {
        let uids = self.0.iter().flat_map(|(first, last)| *first..=*last);
        Self::of(uids.filter(|uid| !known.contains(uid)))
    }

    /// Whether the set is every UID from `first` to its last.
    pub(super) fn is_gapless_from(&self, first: u32) -> bool {
        self.0.len() == 1 && self.0.front().is_some_and(|range| range.0 == first)
    }

    /// Drops everything above `most`.
    pub(super) fn up_to(mut self, most: u32) -> Self {
        self.0.retain(|range| range.0 <= most);
        if let Some(back) = self.0.back_mut() {
            back.1 = back.1.min(most);
        }
        self
    }

    /// Drops everything below `least`: a search for `n:*` also finds the last message when its UID is below `n`.
    #[must_use]
    pub(super) fn from(mut self, least: u32) -> Self {
        while let Some(front) = self.0.front_mut() {
            if front.1 >= least {
                front.0 = front.0.max(least);
                break;
            }
            self.0.pop_front();
        }
        self
    }

    /// Takes up to `count` UIDs off the low end.
    pub(super) fn take(&mut self, count: usize) -> Self {
        let mut taken = VecDeque::new();
        let mut left = u32::try_from(count).unwrap_or(u32::MAX);
        while left > 0
            && let Some((first, last)) = self.0.pop_front()
        {
            let end = first.saturating_add(left - 1).min(last);
            taken.push_back((first, end));
            left -= end - first + 1;
            if end < last {
                self.0.push_front((end + 1, last));
            }
        }
        Self(taken)
    }

    /// How many UIDs there are.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|(first, last)| (last - first) as usize + 1).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The highest UID.
    pub(super) fn last(&self) -> Option<u32> {
        self.0.back().map(|(_, last)| *last)
    }

    /// The set as it stands in a command.
    pub(super) fn command(&self) -> String {
        let mut text = String::new();
        for (first, last) in &self.0 {
            let comma = if text.is_empty() { "" } else { "," };
            // Writing to a string does not fail.
            let _ = if first == last { write!(text, "{comma}{first}") } else { write!(text, "{comma}{first}:{last}") };
        }
        text
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|n| *n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_merged_cut_and_written() {
        let mut set = UidSet::parse(b"7,1:3,4,9:8").unwrap();
        assert_eq!((set.command().as_str(), set.len()), ("1:4,7:9", 7));
        assert_eq!(set.last(), Some(9));
        assert_eq!(set.take(5).command(), "1:4,7");
        assert_eq!(UidSet::parse(b"1:10,20").unwrap().from(10).command(), "10,20");
        assert!(UidSet::parse(b"5").unwrap().from(6).is_empty());
    }

    #[test]
    fn what_is_no_set_is_refused_and_a_huge_one_takes_no_memory() {
        for bad in [b"".as_slice(), b"0", b"x", b"1:", b"1:*", b"-1", b"99999999999"] {
            assert_eq!(UidSet::parse(bad), None, "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(UidSet::parse(b"1:4294967295").unwrap().take(2).command(), "1:2");
    }
}
