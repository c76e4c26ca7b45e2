//! `check-file`: digests of a file, or of its blocks, without moving it (filexfer-09 §9.1.2).

use bytes::{BufMut, Bytes, BytesMut};

use crate::wire::{Fields, Malformed, Short, put_string};

/// What is to be digested, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Names of algorithms, the best first, separated by commas: `sha256,sha1,md5`.
    pub algorithms: Bytes,
    /// Where to begin, in bytes.
    pub offset: u64,
    /// How many bytes; 0 means to the end of the file.
    pub length: u64,
    /// A digest for each block of so many bytes; 0 means one for all.
    pub block: u32,
}

/// The answer to a [`Check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The algorithm that was taken.
    pub algorithm: Bytes,
    /// The digests, one behind the other.
    pub digests: Bytes,
}

/// What the answer begins with, as the draft has it and some servers do not.
const NAME: &[u8] = b"check-file";

impl Check {
    pub(crate) fn put(&self, out: &mut BytesMut) {
        put_string(out, &self.algorithms);
        out.put_u64(self.offset);
        out.put_u64(self.length);
        out.put_u32(self.block);
    }

    pub(crate) fn read(fields: &mut Fields) -> Result<Self, Short> {
        Ok(Self {
            algorithms: fields.string()?,
            offset: fields.u64()?,
            length: fields.u64()?,
            block: fields.u32()?,
        })
    }
}

impl Checked {
    /// As the content of [`crate::Response::Extended`].
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        put_string(&mut out, NAME);
        put_string(&mut out, &self.algorithm);
        out.put_slice(&self.digests);
        out.freeze()
    }

    /// From the content of [`crate::Response::Extended`], with or without the name before it.
    ///
    /// # Errors
    /// [`Malformed`]: it is cut short.
    pub fn decode(content: Bytes) -> Result<Self, Malformed> {
        let read = |mut fields: Fields| {
            let mut algorithm = fields.string()?;
            if algorithm == NAME {
                algorithm = fields.string()?;
            }
            Ok(Self {
                algorithm,
                digests: fields.rest(),
            })
        };
        read(Fields(content)).map_err(|short: Short| short.within(None, "check-file"))
    }
}
