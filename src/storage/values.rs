//! The values of one chunk, compressed as they come.
//!
//! Two encodings, chosen chunk by chunk: *decimal* keeps a value as an integer number of 10^-scale
//! (counters, byte counts, `12.34`) and stores the differences; *xor* stores the bytes that changed of
//! any bit pattern. Both are written so that they are **read from the newest sample backwards**: rules
//! read the last few minutes, and then pay for those only. Repeated values are runs of two bytes.
//!
//! The operation of sample `i` says how to come from its value to that of sample `i - 1`, so the first
//! sample has none, and the chunk keeps the newest value beside the bytes.

use crate::model::{STALE_NAN_BITS, is_stale_nan};

/// Stands in [`Values::encoding`] for the xor encoding; smaller numbers are decimal scales.
const XOR: u8 = 255;
/// Largest decimal scale that is tried: nanoseconds in seconds.
const MAX_SCALE: u8 = 9;
/// Integers up to here are exact in an f64.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

const POW10: [f64; MAX_SCALE as usize + 1] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
const POW10_INT: [i64; MAX_SCALE as usize + 1] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// Decimal operations: a number, of which 0 and 1 are special and the others a zigzag difference + 2.
const OP_STALE: u64 = 0;
const OP_RUN: u64 = 1;
const OP_SAME: u64 = 2;
/// Xor operations: low four bits how many bytes follow, high four bits how many zero bytes are below them.
const XOR_SAME: u8 = 0x00;
const XOR_RUN: u8 = 0x0f;

/// What the newest operation is, so that a repeated value can extend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Tail {
    #[default]
    Other,
    Same,
    Run,
}

/// The bytes of a chunk contradict themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;

/// Compressed values. `Default` is the empty chunk.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    bytes: Vec<u8>,
    /// The newest value that is no staleness marker: scaled integer, or bits.
    newest: u64,
    count: u16,
    encoding: u8,
    tail: Tail,
}

impl Values {
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The byte that a read starts with, for bringing it close.
    pub fn newest_byte(&self) -> u8 {
        self.bytes.last().copied().unwrap_or_default()
    }

    /// Gives back what was reserved for samples to come.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Appends a value. The caller keeps chunks far below 65,535 samples.
    pub fn push(&mut self, v: f64) {
        if self.count == 0 {
            self.start(v);
        } else if self.encoding == XOR {
            self.push_xor(v.to_bits());
        } else if is_stale_nan(v) {
            self.push_code(OP_STALE);
            self.tail = Tail::Other;
        } else if let Some(m) = scaled(v, self.encoding) {
            self.push_decimal(m);
        } else {
            self.push_after_change(v);
        }
        self.count = self.count.saturating_add(1);
    }

    fn start(&mut self, v: f64) {
        // A chunk that starts with a marker has no value to take differences from: xor.
        let scale = if is_stale_nan(v) { None } else { smallest_scale(v, 0) };
        match scale {
            Some((scale, m)) => (self.encoding, self.newest) = (scale, m as u64),
            None => (self.encoding, self.newest) = (XOR, v.to_bits()),
        }
        self.tail = Tail::Other;
    }

    /// The value does not fit the chunk's scale: a finer scale if the older values fit it too, else xor.
    #[cold]
    fn push_after_change(&mut self, v: f64) {
        let mut old = vec![0.0; self.count()];
        if self.read(0, self.count(), |i, x| old[i] = x).is_err() {
            return; // What was encoded here decodes.
        }
        let scale = smallest_scale(v, self.encoding + 1).map(|(scale, _)| scale);
        let fits = |scale: u8| {
            let factor = POW10_INT[usize::from(scale - self.encoding)] as f64;
            let base = POW10[usize::from(self.encoding)];
            old.iter().all(|x| is_stale_nan(*x) || (x * base).abs() * factor < MAX_EXACT)
        };
        let mut fresh = Self { encoding: XOR, ..Self::default() };
        match scale.filter(|s| fits(*s) && !is_stale_nan(old[0])) {
            Some(scale) => {
                let factor = POW10_INT[usize::from(scale - self.encoding)];
                let base = POW10[usize::from(self.encoding)];
                fresh.encoding = scale;
                for (i, x) in old.iter().enumerate() {
                    let m = (x * base).round() as i64 * factor;
                    match (i, is_stale_nan(*x)) {
                        (0, _) => fresh.newest = m as u64,
                        (_, true) => {
                            fresh.push_code(OP_STALE);
                            fresh.tail = Tail::Other;
                        }
                        (_, false) => fresh.push_decimal(m),
                    }
                }
                if let Some(m) = scaled(v, scale) {
                    fresh.push_decimal(m);
                }
            }
            None => {
                fresh.newest = old[0].to_bits();
                for x in &old[1..] {
                    fresh.push_xor(x.to_bits());
                }
                fresh.push_xor(v.to_bits());
            }
        }
        fresh.count = self.count;
        *self = fresh;
    }

    fn push_decimal(&mut self, m: i64) {
        let delta = m.wrapping_sub(self.newest as i64);
        self.newest = m as u64;
        if delta == 0 {
            self.push_same(OP_SAME as u8, OP_RUN as u8);
        } else {
            let zigzag = ((delta << 1) ^ (delta >> 63)) as u64;
            self.push_code(zigzag + 2);
            self.tail = Tail::Other;
        }
    }

    fn push_xor(&mut self, bits: u64) {
        let xor = bits ^ self.newest;
        self.newest = bits;
        if xor == 0 {
            return self.push_same(XOR_SAME, XOR_RUN);
        }
        let low = xor.trailing_zeros() / 8;
        let n = 8 - low - xor.leading_zeros() / 8;
        self.reserve(n as usize + 1);
        let body = xor >> (low * 8);
        self.bytes.extend_from_slice(&body.to_le_bytes()[..n as usize]);
        self.bytes.push((low as u8) << 4 | n as u8);
        self.tail = Tail::Other;
    }

    /// The same value again: a byte, the second time a run of two bytes, then a larger count.
    fn push_same(&mut self, same: u8, run: u8) {
        let n = self.bytes.len();
        match self.tail {
            Tail::Run if n >= 2 && self.bytes[n - 2] < u8::MAX => self.bytes[n - 2] += 1,
            Tail::Same if n >= 1 => {
                self.reserve(1);
                self.bytes[n - 1] = 2;
                self.bytes.push(run);
                self.tail = Tail::Run;
            }
            _ => {
                self.reserve(1);
                self.bytes.push(same);
                self.tail = Tail::Same;
            }
        }
    }

    /// A number of 7-bit groups, the lowest written last: it is read first.
    fn push_code(&mut self, code: u64) {
        let groups = (64 - (code | 1).leading_zeros()).div_ceil(7);
        self.reserve(groups as usize);
        for group in (0..groups).rev() {
            let more = if group + 1 < groups { 0x80 } else { 0 };
            self.bytes.push((code >> (group * 7)) as u8 & 0x7f | more);
        }
    }

    /// Small steps: doubling would waste a quarter of the head.
    fn reserve(&mut self, n: usize) {
        if self.bytes.capacity() - self.bytes.len() < n {
            self.bytes.reserve_exact(n + 10 + self.bytes.len() / 8);
        }
    }

    /// Calls `emit(i, value)` for the samples `from <= i < to`, newest first.
    pub fn read(&self, from: usize, to: usize, emit: impl FnMut(usize, f64)) -> Result<(), Damaged> {
        self.as_ref().read(from, to, emit)
    }

    pub fn as_ref(&self) -> ValuesRef<'_> {
        ValuesRef { bytes: &self.bytes, newest: self.newest, count: self.count, encoding: self.encoding }
    }
}

/// Compressed values in somebody's buffer: of a chunk in memory or read from a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct ValuesRef<'a> {
    pub bytes: &'a [u8],
    pub newest: u64,
    pub count: u16,
    pub encoding: u8,
}

impl ValuesRef<'_> {
    /// Calls `emit(i, value)` for the samples `from <= i < to`, newest first.
    pub fn read(self, from: usize, to: usize, emit: impl FnMut(usize, f64)) -> Result<(), Damaged> {
        let to = to.min(usize::from(self.count));
        if from >= to {
            Ok(())
        } else if self.encoding == XOR {
            self.read_xor(from, to, emit)
        } else if self.encoding == 0 {
            self.read_decimal(from, to, |m| m as f64, emit)
        } else {
            let pow = *POW10.get(usize::from(self.encoding)).ok_or(Damaged)?;
            self.read_decimal(from, to, |m| m as f64 / pow, emit)
        }
    }

    /// Reads the samples from `from` on into `out`, as many as it takes, in order.
    pub fn read_into(self, from: usize, out: &mut [f64]) -> Result<(), Damaged> {
        let to = from + out.len();
        if to != usize::from(self.count) || self.encoding == XOR || out.is_empty() {
            return self.read(from, to, |i, v| {
                if let Some(slot) = out.get_mut(i - from) {
                    *slot = v;
                }
            });
        }
        match self.encoding {
            0 => self.decimals_into(from, out, |m| m as f64),
            scale => {
                let pow = *POW10.get(usize::from(scale)).ok_or(Damaged)?;
                self.decimals_into(from, out, |m| m as f64 / pow)
            }
        }
    }

    /// The samples from `from` to the newest, which is what nearly every read wants.
    #[inline]
    fn decimals_into(self, from: usize, out: &mut [f64], value: impl Fn(i64) -> f64) -> Result<(), Damaged> {
        let mut bytes = self.bytes;
        let mut m = self.newest as i64;
        let mut slots = out.iter_mut().rev();
        while let Some(slot) = slots.next() {
            *slot = value(m);
            if slots.len() == 0 && from == 0 {
                return Ok(()); // The first sample of the chunk has no operation.
            }
            let (code, rest) = take_code(bytes)?;
            bytes = rest;
            if code >= OP_SAME {
                let z = code - 2;
                m = m.wrapping_sub((z >> 1) as i64 ^ -((z & 1) as i64));
            } else if code == OP_STALE {
                *slot = f64::from_bits(STALE_NAN_BITS);
            } else {
                let (&n, rest) = bytes.split_last().ok_or(Damaged)?;
                bytes = rest;
                if n == 0 || usize::from(n) > slots.len() + from {
                    return Err(Damaged);
                }
                let v = value(m);
                slots.by_ref().take(usize::from(n) - 1).for_each(|slot| *slot = v);
            }
        }
        Ok(())
    }

    #[inline]
    fn read_decimal(
        self,
        from: usize,
        to: usize,
        value: impl Fn(i64) -> f64,
        mut emit: impl FnMut(usize, f64),
    ) -> Result<(), Damaged> {
        let mut bytes = self.bytes;
        let mut m = self.newest as i64;
        let mut i = usize::from(self.count) - 1;
        loop {
            if i == 0 {
                if from == 0 {
                    emit(0, value(m));
                }
                return Ok(());
            }
            let (code, rest) = take_code(bytes)?;
            bytes = rest;
            if code >= OP_SAME {
                if i < to {
                    emit(i, value(m));
                }
                let z = code - 2;
                m = m.wrapping_sub((z >> 1) as i64 ^ -((z & 1) as i64));
                i -= 1;
            } else if code == OP_STALE {
                if i < to {
                    emit(i, f64::from_bits(STALE_NAN_BITS));
                }
                i -= 1;
            } else {
                let (&n, rest) = bytes.split_last().ok_or(Damaged)?;
                bytes = rest;
                let n = usize::from(n);
                if n == 0 || n > i {
                    return Err(Damaged);
                }
                let x = value(m);
                for j in from.max(i + 1 - n)..to.min(i + 1) {
                    emit(j, x);
                }
                i -= n;
            }
            if i < from {
                return Ok(());
            }
        }
    }

    fn read_xor(self, from: usize, to: usize, mut emit: impl FnMut(usize, f64)) -> Result<(), Damaged> {
        let mut bytes = self.bytes;
        let mut bits = self.newest;
        let mut i = usize::from(self.count) - 1;
        loop {
            if i < to {
                emit(i, f64::from_bits(bits));
            }
            if i == from {
                return Ok(());
            }
            let (&op, rest) = bytes.split_last().ok_or(Damaged)?;
            bytes = rest;
            match op {
                XOR_SAME => i -= 1,
                XOR_RUN => {
                    let (&n, rest) = bytes.split_last().ok_or(Damaged)?;
                    bytes = rest;
                    let n = usize::from(n);
                    if n == 0 || n > i {
                        return Err(Damaged);
                    }
                    // Sample i was emitted above, and sample i - n is at the head of the loop.
                    for j in from.max(i + 1 - n)..to.min(i) {
                        emit(j, f64::from_bits(bits));
                    }
                    if i - n < from {
                        return Ok(());
                    }
                    i -= n;
                }
                _ => {
                    let (n, low) = (usize::from(op & 0x0f), u32::from(op >> 4));
                    if n == 0 || low as usize + n > 8 {
                        return Err(Damaged);
                    }
                    let (rest, body) = bytes.split_at_checked(bytes.len().wrapping_sub(n)).ok_or(Damaged)?;
                    bytes = rest;
                    let mut word = [0; 8];
                    word[..n].copy_from_slice(body);
                    bits ^= u64::from_le_bytes(word) << (low * 8);
                    i -= 1;
                }
            }
        }
    }
}

/// The code at the end, and what is before it.
#[inline]
fn take_code(bytes: &[u8]) -> Result<(u64, &[u8]), Damaged> {
    let (&low, rest) = bytes.split_last().ok_or(Damaged)?;
    if low < 0x80 { Ok((u64::from(low), rest)) } else { take_long_code(low, rest) }
}

#[inline(never)]
fn take_long_code(low: u8, mut bytes: &[u8]) -> Result<(u64, &[u8]), Damaged> {
    let mut code = u64::from(low & 0x7f);
    for shift in (7..64).step_by(7) {
        let (&b, rest) = bytes.split_last().ok_or(Damaged)?;
        bytes = rest;
        code |= u64::from(b & 0x7f) << shift;
        if b < 0x80 {
            return Ok((code, bytes));
        }
    }
    Err(Damaged)
}

/// The value as an integer number of 10^-scale, when that gives the very same bits back.
#[inline]
fn scaled(v: f64, scale: u8) -> Option<i64> {
    let pow = POW10[usize::from(scale)];
    let m = if scale == 0 { v } else { (v * pow).round() };
    let int = m as i64;
    (m.abs() < MAX_EXACT && (int as f64 / pow).to_bits() == v.to_bits()).then_some(int)
}

fn smallest_scale(v: f64, from: u8) -> Option<(u8, i64)> {
    (from..=MAX_SCALE).find_map(|scale| Some((scale, scaled(v, scale)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stale_nan;
    use proptest::prelude::*;

    fn all(values: &Values) -> Vec<u64> {
        let mut out = vec![0; values.count()];
        values.read(0, values.count(), |i, v| out[i] = v.to_bits()).unwrap();
        out
    }

    fn encode(input: &[f64]) -> Values {
        let mut values = Values::default();
        input.iter().for_each(|v| values.push(*v));
        values
    }

    #[test]
    fn what_is_pushed_is_read() {
        let stale = stale_nan();
        for input in [
            vec![],
            vec![1.0],
            vec![stale],
            vec![1.0, 1.0, 1.0, 2.0, 2.0, stale, 2.0, stale, stale],
            vec![stale, 1.0, 1.0, 1.0, stale],
            vec![1.0, 1.5, 1.25, 3.0, 0.1, 0.1 + 0.2, 7.0],
            vec![1.0, stale, 0.5, stale],
            vec![-0.0, 0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE],
            vec![9e15, 0.1, 9e15, -9e15, 9_007_199_254_740_993.0, 1e300],
            vec![0.1; 700],
            vec![5.0; 700],
            vec![0.1 + 0.2; 700],
        ] {
            let bits: Vec<u64> = input.iter().map(|v| v.to_bits()).collect();
            assert_eq!(all(&encode(&input)), bits, "{input:?}");
        }
    }

    #[test]
    fn usual_series_are_small() {
        let size = |f: fn(i32) -> f64| {
            let values = encode(&(0..120).map(f).collect::<Vec<_>>());
            values.bytes.len()
        };
        assert_eq!(size(|_| 42.0), 2);
        assert_eq!(size(|i| f64::from(i * 15)), 119);
        assert_eq!(size(|i| f64::from(i / 10)), 11 + 12 * 2);
        assert!(size(|i| f64::from(i) * 0.25) <= 119);
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-1000i32..1000).prop_map(f64::from),
            2 => (-100_000i64..100_000, 0usize..6).prop_map(|(m, s)| m as f64 / POW10[s]),
            1 => Just(stale_nan()),
            1 => any::<u64>().prop_map(f64::from_bits),
            2 => Just(1.0),
        ]
    }

    proptest! {
        #[test]
        fn any_values_any_window(input in prop::collection::vec(value(), 0..300), a in 0usize..310, b in 0usize..310) {
            let values = encode(&input);
            let mut got = Vec::new();
            values.read(a, b, |i, v| got.push((i, v.to_bits()))).unwrap();
            let want: Vec<_> = (a..b.min(input.len())).rev().map(|i| (i, input[i].to_bits())).collect();
            let mut sorted = got.clone();
            sorted.sort_by(|x, y| y.cmp(x));
            prop_assert_eq!(sorted, want);
        }

        #[test]
        fn damaged_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200), newest in any::<u64>(),
            count in any::<u16>(), encoding in prop_oneof![Just(XOR), 0u8..12], from in 0usize..500, to in 0usize..70_000,
        ) {
            let values = ValuesRef { bytes: &bytes, newest, count, encoding };
            let mut seen = 0;
            let _ = values.read(from, to, |i, _| { assert!(from <= i && i < to); seen += 1 });
            prop_assert!(seen <= usize::from(count));
        }
    }
}
