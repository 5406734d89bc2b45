//! Records in append-only files: each with length and check sum, so that a torn end or a flipped bit
//! costs the records it hits and no others.

/// Starts a record; with it the next whole record is found behind a damaged one.
const MAGIC: [u8; 2] = [0x5b, 0xd1];
/// Magic, length of the payload (u32), CRC-32 of length and payload (u32), little-endian.
const HEADER: usize = 10;

/// Appends a record whose payload `fill` writes.
pub(super) fn write(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; HEADER - 2]);
    fill(out);
    let len = (out.len() - start - HEADER) as u32;
    let crc = crc(&[&len.to_le_bytes(), &out[start + HEADER..]]);
    out[start + 2..start + 6].copy_from_slice(&len.to_le_bytes());
    out[start + 6..start + HEADER].copy_from_slice(&crc.to_le_bytes());
}

/// CRC-32 (IEEE) of the parts one after the other.
pub(super) fn crc(parts: &[&[u8]]) -> u32 {
    let mut crc = flate2::Crc::new();
    parts.iter().for_each(|part| crc.update(part));
    crc.sum()
}

/// The whole records of a file's bytes; skips what is damaged.
pub(super) struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where damaged places before a whole record start.
    pub damaged: Vec<usize>,
    /// Where the last whole record ends: what is beyond was torn off while it was written.
    pub end: usize,
}

impl<'a> Frames<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, damaged: Vec::new(), end: 0 }
    }

    fn record(&self, at: usize) -> Option<&'a [u8]> {
        let header = self.bytes.get(at..at + HEADER)?;
        let (magic, rest) = header.split_first_chunk::<2>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let sum = rest.first_chunk::<4>()?;
        if *magic != MAGIC {
            return None;
        }
        let start = at + HEADER;
        let payload = self.bytes.get(start..start.checked_add(u32::from_le_bytes(*len) as usize)?)?;
        (crc(&[len, payload]) == u32::from_le_bytes(*sum)).then_some(payload)
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let payload = self.record(self.at).or_else(|| {
            let from = self.at;
            let rest = self.bytes.get(from + 1..).unwrap_or_default();
            let at = memchr::memchr_iter(MAGIC[0], rest).find(|i| self.record(from + 1 + i).is_some())?;
            self.damaged.push(from);
            self.at = from + 1 + at;
            self.record(self.at)
        })?;
        self.at += HEADER + payload.len();
        self.end = self.at;
        Some(payload)
    }
}

/// Appends a number in groups of 7 bits, lowest first.
pub(super) fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Signed numbers near 0 as small unsigned ones.
pub(super) fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

/// The other way round.
pub(super) fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

/// Reads from bytes that may be damaged: `None` at their end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    #[inline]
    pub fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.array()?))
    }

    pub fn i64(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.array()?))
    }

    pub fn varint(&mut self) -> Option<u64> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let b = self.u8()?;
            n |= u64::from(b & 0x7f) << shift;
            if b < 0x80 {
                return Some(n);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        payloads.iter().for_each(|p| write(&mut out, |out| out.extend_from_slice(p)));
        out
    }

    proptest! {
        #[test]
        fn damage_costs_only_what_it_hits(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..12),
            flip in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(),
        ) {
            let whole = file(&payloads);
            let got: Vec<_> = Frames::new(&whole).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(&got, &payloads);

            let mut ends = Vec::new();
            payloads.iter().fold(0, |at, p| { ends.push(at + HEADER + p.len()); at + HEADER + p.len() });
            let mut flipped = whole.clone();
            let at = flip.index(whole.len());
            flipped[at] ^= 0x10;
            let hit = ends.iter().position(|end| at < *end).unwrap();
            let mut want = payloads.clone();
            want.remove(hit);
            let mut frames = Frames::new(&flipped);
            let got: Vec<_> = frames.by_ref().map(<[u8]>::to_vec).collect();
            prop_assert_eq!(got, want);
            prop_assert_eq!(frames.damaged.len(), usize::from(hit + 1 < payloads.len()));

            let cut = cut.index(whole.len());
            let n = ends.iter().filter(|end| **end <= cut).count();
            let mut frames = Frames::new(&whole[..cut]);
            prop_assert_eq!(frames.by_ref().count(), n);
            prop_assert_eq!((frames.end, frames.damaged.len()), (ends.get(n.wrapping_sub(1)).copied().unwrap_or(0), 0));
        }

        #[test]
        fn numbers_come_back(n in any::<u64>(), i in any::<i64>()) {
            let mut out = Vec::new();
            put_varint(&mut out, n);
            put_varint(&mut out, zigzag(i));
            let mut reader = Reader(&out);
            prop_assert_eq!((reader.varint(), reader.varint().map(unzigzag), reader.u8()), (Some(n), Some(i), None));
        }
    }
}
