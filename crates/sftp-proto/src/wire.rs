//! The types that fields of packets have (filexfer-02 §3 and RFC 4251 §5), read with bounds and written.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// A packet that is not what its type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} is cut short or not what it says")]
pub struct Malformed {
    /// The request's number, where that much could be read: such a request can still be answered.
    pub id: Option<u32>,
    /// What was being read.
    pub what: &'static str,
}

/// A field ends before it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Short;

impl Short {
    pub(crate) fn within(self, id: Option<u32>, what: &'static str) -> Malformed {
        Malformed { id, what }
    }
}

/// What is left of a packet while its fields are read.
#[derive(Debug, Clone)]
pub(crate) struct Fields(pub(crate) Bytes);

impl Fields {
    pub(crate) fn u8(&mut self) -> Result<u8, Short> {
        self.0.try_get_u8().map_err(|_| Short)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Short> {
        self.0.try_get_u32().map_err(|_| Short)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Short> {
        self.0.try_get_u64().map_err(|_| Short)
    }

    /// A string: its length, then its bytes.
    pub(crate) fn string(&mut self) -> Result<Bytes, Short> {
        let length = usize::try_from(self.u32()?).map_err(|_| Short)?;
        if length > self.0.len() {
            return Err(Short);
        }
        Ok(self.0.split_to(length))
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Pairs of strings to the end of the packet.
    pub(crate) fn pairs_to_the_end(&mut self) -> Result<Vec<(Bytes, Bytes)>, Short> {
        let mut pairs = Vec::new();
        while !self.is_empty() {
            pairs.push((self.string()?, self.string()?));
        }
        Ok(pairs)
    }
}

/// Writes a string: its length, then its bytes. One of 4 GiB or more, which no packet can carry, is cut.
pub(crate) fn put_string(out: &mut BytesMut, string: &[u8]) {
    let length = u32::try_from(string.len()).unwrap_or(u32::MAX);
    out.put_u32(length);
    out.put_slice(&string[..length as usize]);
}

/// Writes a packet: its length, its type, and what `body` writes.
pub(crate) fn put_packet(out: &mut BytesMut, kind: u8, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    out.put_u8(kind);
    body(out);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}
