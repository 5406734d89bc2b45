//! Bodies, decompressed as they arrive and never larger than allowed.

use std::io::Write as _;

use flate2::write::MultiGzDecoder;

use super::NetError;

/// Takes the body's pieces and gives back plain bytes.
pub(super) enum Decoder {
    Plain { left: usize, limit: usize },
    Gzip { inner: Box<MultiGzDecoder<Bounded>>, wire_left: usize, limit: usize },
}

impl Decoder {
    pub fn new(gzip: bool, limit: usize) -> Self {
        if gzip {
            let bounded = Bounded { bytes: Vec::new(), left: limit, overflow: false };
            Self::Gzip { inner: Box::new(MultiGzDecoder::new(bounded)), wire_left: limit, limit }
        } else {
            Self::Plain { left: limit, limit }
        }
    }

    /// Decodes one piece onto the end of `out`.
    pub fn piece(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), NetError> {
        match self {
            Self::Plain { left, limit } => {
                *left = left.checked_sub(piece.len()).ok_or(NetError::TooLarge(*limit))?;
                out.extend_from_slice(piece);
                Ok(())
            }
            Self::Gzip { inner, wire_left, limit } => {
                // Compressed bytes count as well, or empty gzip members would come for ever.
                *wire_left = wire_left.checked_sub(piece.len()).ok_or(NetError::TooLarge(*limit))?;
                let result = inner.write_all(piece).and_then(|()| inner.flush());
                drain(inner.get_mut(), result, *limit, out)
            }
        }
    }

    /// The body has ended: gives back what is still inside, and notices a cut stream.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<(), NetError> {
        match self {
            Self::Plain { .. } => Ok(()),
            Self::Gzip { inner, limit, .. } => {
                let result = inner.try_finish();
                drain(inner.get_mut(), result, *limit, out)
            }
        }
    }
}

fn drain(
    bounded: &mut Bounded,
    result: std::io::Result<()>,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), NetError> {
    out.append(&mut bounded.bytes);
    match result {
        _ if bounded.overflow => Err(NetError::TooLarge(limit)),
        Err(e) => Err(NetError::Other(format!("gzip: {e}"))),
        Ok(()) => Ok(()),
    }
}

/// Memory that refuses to grow beyond a limit.
pub(super) struct Bounded {
    bytes: Vec<u8>,
    left: usize,
    overflow: bool,
}

impl std::io::Write for Bounded {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        match self.left.checked_sub(buf.len()) {
            Some(left) => {
                self.left = left;
                self.bytes.extend_from_slice(buf);
                Ok(buf.len())
            }
            None => {
                self.overflow = true;
                Err(std::io::Error::other("too large"))
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
