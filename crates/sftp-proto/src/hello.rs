//! The first packet of each side: its version of the protocol, and extensions (filexfer-02 §4).

use bytes::{BufMut, Bytes, BytesMut};

use crate::kind;
use crate::wire::{Fields, Malformed, put_packet, put_string};

/// INIT from the client, VERSION from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The highest version that the client speaks; in the answer the one that both do.
    pub version: u32,
    /// Names of extensions with what each says of itself, mostly its version as text.
    pub extensions: Vec<(Bytes, Bytes)>,
}

impl Hello {
    /// What the sender says of an extension; `None` where it has it not.
    #[must_use]
    pub fn extension(&self, name: &str) -> Option<&Bytes> {
        let mut named = self.extensions.iter().filter(|(said, _)| said == name);
        named.next().map(|(_, value)| value)
    }

    /// Whether the sender has this version of an extension; of some, several are announced side by side.
    #[must_use]
    pub fn has(&self, name: &str, version: &str) -> bool {
        let mut announced = self.extensions.iter();
        announced.any(|(said, value)| said == name && value == version)
    }

    /// Writes the client's packet.
    pub fn encode_init(&self, out: &mut BytesMut) {
        self.encode(kind::INIT, out);
    }

    /// Writes the server's packet.
    pub fn encode_version(&self, out: &mut BytesMut) {
        self.encode(kind::VERSION, out);
    }

    /// Reads the client's packet.
    ///
    /// # Errors
    /// [`Malformed`]: it is another one, or cut short.
    pub fn decode_init(packet: Bytes) -> Result<Self, Malformed> {
        Self::decode(packet, kind::INIT, "INIT")
    }

    /// Reads the server's packet.
    ///
    /// # Errors
    /// [`Malformed`]: it is another one, or cut short.
    pub fn decode_version(packet: Bytes) -> Result<Self, Malformed> {
        Self::decode(packet, kind::VERSION, "VERSION")
    }

    fn encode(&self, kind: u8, out: &mut BytesMut) {
        put_packet(out, kind, |out| {
            out.put_u32(self.version);
            for (name, value) in &self.extensions {
                put_string(out, name);
                put_string(out, value);
            }
        });
    }

    fn decode(packet: Bytes, kind: u8, what: &'static str) -> Result<Self, Malformed> {
        let malformed = Malformed { id: None, what };
        let mut fields = Fields(packet);
        if fields.u8() != Ok(kind) {
            return Err(malformed);
        }
        let read = |mut fields: Fields| {
            Ok(Self {
                version: fields.u32()?,
                extensions: fields.pairs_to_the_end()?,
            })
        };
        read(fields).map_err(|crate::wire::Short| malformed)
    }
}
