//! The lines that a target showed before, by their bytes.
//!
//! A page's lines mostly come in the order of the last time, so each line remembers which one followed
//! it; only where that fails is a line looked up by its hash.

use std::hash::{BuildHasher as _, RandomState};

use crate::model::MetricType;
use crate::storage::SeriesId;

/// What a known line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Series(SeriesId),
    /// A series that relabelling drops.
    Dropped,
    /// HELP, UNIT and other comments, which say nothing new.
    Comment,
    Type(MetricType),
}

#[derive(Debug, Clone, Copy)]
struct Line {
    start: u32,
    len: u32,
    hash: u32,
    /// The line that followed this one the last time.
    next: u32,
    /// The generation in which it was seen last.
    seen: u32,
    kind: Kind,
    /// Its series had a sample in the last good scrape, so that its end must be marked.
    live: bool,
    /// In this generation it had a timestamp of its own, and its end is not to be marked.
    untracked: bool,
}

const NONE: u32 = u32::MAX;
/// Lines that were not seen for so many scrapes are forgotten.
const FORGET_AFTER: u32 = 10;

/// The known lines of one target.
#[derive(Debug)]
pub(super) struct KnownLines {
    text: Vec<u8>,
    lines: Vec<Line>,
    /// Open addressing; the number of the line plus one, 0 for an empty place. Its size is a power of two.
    table: Vec<u32>,
    seed: u64,
    generation: u32,
    first: u32,
    last: u32,
}

impl KnownLines {
    pub fn new() -> Self {
        Self {
            text: Vec::new(),
            lines: Vec::new(),
            table: Vec::new(),
            // Targets must not be able to choose lines that collide.
            seed: RandomState::new().hash_one(0),
            generation: 1,
            first: NONE,
            last: NONE,
        }
    }

    /// A new page begins.
    pub fn begin(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.last = NONE;
    }

    /// The line that is likely next.
    #[inline]
    pub fn predicted(&self) -> Option<(u32, &[u8], Kind)> {
        let number = match self.lines.get(self.last as usize) {
            Some(last) => last.next,
            None => self.first,
        };
        let line = self.lines.get(number as usize)?;
        Some((number, &self.text[line.start as usize..][..line.len as usize], line.kind))
    }

    /// The number and kind of a line with these bytes.
    pub fn find(&self, text: &[u8]) -> Option<(u32, Kind)> {
        let hash = self.hash(text);
        let mask = self.table.len().checked_sub(1)?;
        let mut place = hash as usize & mask;
        loop {
            let number = self.table[place].checked_sub(1)?;
            let line = &self.lines[number as usize];
            if line.hash == hash && &self.text[line.start as usize..][..line.len as usize] == text {
                return Some((number, line.kind));
            }
            place = (place + 1) & mask;
        }
    }

    /// Remembers a line, which must not be known yet.
    pub fn insert(&mut self, text: &[u8], kind: Kind) -> u32 {
        // Four bytes are enough for anything that fits into memory beside the page; if not, start again.
        if self.text.len() + text.len() > u32::MAX as usize || self.lines.len() >= (NONE - 1) as usize {
            *self = Self { generation: self.generation, ..Self::new() };
        }
        let number = self.lines.len() as u32;
        let hash = self.hash(text);
        self.lines.push(Line {
            start: self.text.len() as u32,
            len: text.len() as u32,
            hash,
            next: NONE,
            seen: self.generation.wrapping_sub(1),
            kind,
            live: false,
            untracked: false,
        });
        self.text.extend_from_slice(text);
        if self.lines.len() * 4 > self.table.len() * 3 {
            self.rehash();
        } else {
            self.place(number);
        }
        number
    }

    /// Notes that the line was read now, and after which other. False when it was there before in this page.
    #[inline]
    pub fn visit(&mut self, number: u32, untracked: bool) -> bool {
        match self.lines.get_mut(self.last as usize) {
            Some(last) => last.next = number,
            None => self.first = number,
        }
        self.last = number;
        let Some(line) = self.lines.get_mut(number as usize) else { return true };
        let new = line.seen != self.generation;
        line.seen = self.generation;
        line.untracked = untracked;
        new
    }

    /// Another series for a line, when the storage has forgotten the old one.
    pub fn set_kind(&mut self, number: u32, kind: Kind) {
        if let Some(line) = self.lines.get_mut(number as usize) {
            line.kind = kind;
        }
    }

    pub fn text(&self, number: u32) -> &[u8] {
        self.lines.get(number as usize).map_or(&[], |l| &self.text[l.start as usize..][..l.len as usize])
    }

    /// The page is over: `ended` gets the series that were there in the last good scrape and are not in
    /// this one. With `good` false nothing of this page counts.
    pub fn finish(&mut self, good: bool, mut ended: impl FnMut(SeriesId)) {
        let mut old = 0;
        for i in 0..self.lines.len() {
            let line = self.lines[i];
            let here = good && line.seen == self.generation && !line.untracked;
            if let Kind::Series(id) = line.kind
                && line.live
                && !here
                && !(good && self.has_other_text(i))
            {
                ended(id);
            }
            self.lines[i].live = here;
            old += usize::from(self.generation.wrapping_sub(line.seen) > FORGET_AFTER);
        }
        if old > 16 + self.lines.len() / 4 {
            self.forget_old();
        }
    }

    /// Is the same series on this page under another text (its labels in another order)?
    fn has_other_text(&self, number: usize) -> bool {
        let kind = self.lines[number].kind;
        self.lines.iter().any(|l| l.kind == kind && l.seen == self.generation)
    }

    fn forget_old(&mut self) {
        let old = std::mem::replace(self, Self { generation: self.generation, ..Self::new() });
        let keep: Vec<&Line> =
            old.lines.iter().filter(|l| self.generation.wrapping_sub(l.seen) <= FORGET_AFTER).collect();
        // In the old order, so that the prediction is right at once.
        for (i, line) in keep.iter().enumerate() {
            let number = self.insert(&old.text[line.start as usize..][..line.len as usize], line.kind);
            if let Some(new) = self.lines.get_mut(number as usize) {
                let next = if i + 1 < keep.len() { number + 1 } else { NONE };
                *new = Line { start: new.start, hash: new.hash, next, ..**line };
            }
        }
        self.first = if self.lines.is_empty() { NONE } else { 0 };
        self.text.shrink_to_fit();
        self.lines.shrink_to_fit();
    }

    fn rehash(&mut self) {
        let size = (self.lines.len() * 2).next_power_of_two().max(64);
        self.table = vec![0; size];
        for number in 0..self.lines.len() as u32 {
            self.place(number);
        }
    }

    fn place(&mut self, number: u32) {
        let mask = self.table.len() - 1;
        let mut place = self.lines[number as usize].hash as usize & mask;
        while self.table[place] != 0 {
            place = (place + 1) & mask;
        }
        self.table[place] = number + 1;
    }

    /// Folded multiplication over eight bytes at a time.
    fn hash(&self, text: &[u8]) -> u32 {
        let mut h = self.seed ^ text.len() as u64;
        let mut mix = |word: u64| {
            let product = u128::from(h ^ word) * 0x9e37_79b9_7f4a_7c15;
            h = (product as u64) ^ ((product >> 64) as u64);
        };
        let mut chunks = text.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            mix(u64::from_le_bytes(word));
        }
        let mut word = [0; 8];
        let rest = chunks.remainder();
        word[..rest.len()].copy_from_slice(rest);
        mix(u64::from_le_bytes(word));
        (h ^ (h >> 32)) as u32
    }
}
