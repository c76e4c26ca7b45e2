//! What our relay can do beyond RFC 8656 and RFC 6062, as STUN attributes that any other server may ignore.
//!
//! All numbers are from the comprehension-optional range 0xC000-0xFFFF (RFC 8489 section 18.3), where IANA has
//! assigned none of them. A server that does not know one leaves it out of its response, so a client reads from the
//! response, and from nothing else, what it was granted.
//!
//! | attribute | number | value | in a request | in a success response |
//! |---|---|---|---|---|
//! | LEND-PORT | 0xF5A0 | first and last port, 16 bits each | Allocate: one port out of these | the port that is lent, twice |
//! | LEND-NAME | 0xF5A1 | a DNS name, 1 to 253 octets | Allocate: TLS connections to the shared port that ask for this name (SNI) | the same |
//! | ANY-PEER | 0xF5A2 | nothing | Allocate: peers need no permission | the same |
//! | DIAL-BACK | 0xF5A3 | port (16 bits), result (8), zero (8) | Binding: connect to the address that this request comes from, at this port | what came of it |
//! | INSTANCE | 0xF5A4 | 16 random octets | Allocate: ends the account's earlier allocation that was asked for with the same octets, and takes over what it was lent | nothing |
//!
//! The true address of a peer that connects is where RFC 6062 has it: XOR-PEER-ADDRESS of the ConnectionAttempt.

use std::ops::RangeInclusive;

use stun_types::attribute::{
    Attribute, AttributeFromRaw, AttributeStaticType, AttributeType, AttributeWrite, AttributeWriteExt as _,
    RawAttribute,
};
use stun_types::message::StunParseError;

/// LEND-PORT: the relayed transport address shall have one of these ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LendPort {
    first: u16,
    last: u16,
}

impl LendPort {
    /// One of `ports`; a range that is empty or has port 0 is no wish and is not sent.
    #[must_use]
    pub fn new(ports: &RangeInclusive<u16>) -> Option<Self> {
        let (first, last) = (*ports.start(), *ports.end());
        (first != 0 && first <= last).then_some(Self { first, last })
    }

    /// The ports; neither empty nor with port 0.
    #[must_use]
    pub fn ports(&self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    fn value(&self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.first.to_be_bytes(), self.last.to_be_bytes());
        [a, b, c, d]
    }
}

/// LEND-NAME: connections that ask for this server name shall come to this allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LendName {
    name: String,
}

/// The longest DNS name in text form (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 253;

impl LendName {
    /// `name` in lower case; `None` when it is not a DNS name as SNI carries it (RFC 6066 section 3).
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        (name.len() <= LONGEST_NAME && name.split('.').all(is_label)).then_some(Self { name })
    }

    /// The name, in lower case and without a dot at its end.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// ANY-PEER: whoever connects to the relayed transport address is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnyPeer;

/// INSTANCE: which allocation this is, so that it takes its own place when its old connection is dead and the server
/// has not noticed. Made of random octets and known to nobody else: two clients with one instance would take it from
/// each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instance(pub [u8; 16]);

/// DIAL-BACK: can the port be reached from outside?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialBack {
    /// The port, at the address that the request comes from.
    pub port: u16,
    /// What came of it; [`Dialled::NotYet`] in a request.
    pub result: Dialled,
}

/// What came of a dial-back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialled {
    /// This is a request.
    NotYet,
    /// The connection stood; it was closed again without a byte.
    Connected,
    /// Something there answered that nobody listens.
    Refused,
    /// Nothing answered in time.
    TimedOut,
    /// The network said that there is no way.
    Unreachable,
}

impl Dialled {
    fn to_octet(self) -> u8 {
        match self {
            Self::NotYet => 0,
            Self::Connected => 1,
            Self::Refused => 2,
            Self::TimedOut => 3,
            Self::Unreachable => 4,
        }
    }

    fn from_octet(octet: u8) -> Option<Self> {
        Some(match octet {
            0 => Self::NotYet,
            1 => Self::Connected,
            2 => Self::Refused,
            3 => Self::TimedOut,
            4 => Self::Unreachable,
            _ => return None,
        })
    }
}

impl DialBack {
    fn value(self) -> [u8; 4] {
        let [high, low] = self.port.to_be_bytes();
        [high, low, self.result.to_octet(), 0]
    }
}

/// Type and value of an attribute, as requests of [`crate::turn`] take it.
#[must_use]
pub fn raw(attribute: &impl AttributeWrite) -> (u16, Vec<u8>) {
    let raw = attribute.to_raw();
    (raw.get_type().value(), raw.value.to_vec())
}

impl AttributeStaticType for LendPort {
    const TYPE: AttributeType = AttributeType::new(0xF5A0);
}

impl Attribute for LendPort {
    fn get_type(&self) -> AttributeType {
        Self::TYPE
    }

    fn length(&self) -> u16 {
        4
    }
}

impl AttributeWrite for LendPort {
    fn to_raw(&self) -> RawAttribute<'_> {
        RawAttribute::new(Self::TYPE, &self.value()).into_owned()
    }

    fn write_into_unchecked(&self, dest: &mut [u8]) {
        self.write_header_unchecked(dest);
        dest[4..8].copy_from_slice(&self.value());
    }
}

impl AttributeFromRaw<'_> for LendPort {
    fn from_raw_ref(raw: &RawAttribute<'_>) -> Result<Self, StunParseError> {
        raw.check_type_and_len(Self::TYPE, 4..=4)?;
        let (first, last) = (
            u16::from_be_bytes([raw.value[0], raw.value[1]]),
            u16::from_be_bytes([raw.value[2], raw.value[3]]),
        );
        Self::new(&(first..=last)).ok_or(StunParseError::InvalidAttributeData)
    }
}

impl AttributeStaticType for LendName {
    const TYPE: AttributeType = AttributeType::new(0xF5A1);
}

impl Attribute for LendName {
    fn get_type(&self) -> AttributeType {
        Self::TYPE
    }

    fn length(&self) -> u16 {
        // Names are no longer than LONGEST_NAME.
        u16::try_from(self.name.len()).unwrap_or(u16::MAX)
    }
}

impl AttributeWrite for LendName {
    fn to_raw(&self) -> RawAttribute<'_> {
        RawAttribute::new(Self::TYPE, self.name.as_bytes())
    }

    fn write_into_unchecked(&self, dest: &mut [u8]) {
        self.to_raw().write_into_unchecked(dest);
    }
}

impl AttributeFromRaw<'_> for LendName {
    fn from_raw_ref(raw: &RawAttribute<'_>) -> Result<Self, StunParseError> {
        raw.check_type_and_len(Self::TYPE, 1..=LONGEST_NAME)?;
        let name = std::str::from_utf8(&raw.value).map_err(|_| StunParseError::InvalidAttributeData)?;
        Self::new(name).ok_or(StunParseError::InvalidAttributeData)
    }
}

impl AttributeStaticType for AnyPeer {
    const TYPE: AttributeType = AttributeType::new(0xF5A2);
}

impl Attribute for AnyPeer {
    fn get_type(&self) -> AttributeType {
        Self::TYPE
    }

    fn length(&self) -> u16 {
        0
    }
}

impl AttributeWrite for AnyPeer {
    fn to_raw(&self) -> RawAttribute<'_> {
        RawAttribute::new(Self::TYPE, &[])
    }

    fn write_into_unchecked(&self, dest: &mut [u8]) {
        self.write_header_unchecked(dest);
    }
}

impl AttributeFromRaw<'_> for AnyPeer {
    fn from_raw_ref(raw: &RawAttribute<'_>) -> Result<Self, StunParseError> {
        raw.check_type_and_len(Self::TYPE, 0..=0)?;
        Ok(Self)
    }
}

impl AttributeStaticType for Instance {
    const TYPE: AttributeType = AttributeType::new(0xF5A4);
}

impl Attribute for Instance {
    fn get_type(&self) -> AttributeType {
        Self::TYPE
    }

    fn length(&self) -> u16 {
        16
    }
}

impl AttributeWrite for Instance {
    fn to_raw(&self) -> RawAttribute<'_> {
        RawAttribute::new(Self::TYPE, &self.0)
    }

    fn write_into_unchecked(&self, dest: &mut [u8]) {
        self.write_header_unchecked(dest);
        dest[4..20].copy_from_slice(&self.0);
    }
}

impl AttributeFromRaw<'_> for Instance {
    fn from_raw_ref(raw: &RawAttribute<'_>) -> Result<Self, StunParseError> {
        raw.check_type_and_len(Self::TYPE, 16..=16)?;
        let octets = raw.value[..].try_into();
        octets.map(Self).map_err(|_| StunParseError::InvalidAttributeData)
    }
}

impl AttributeStaticType for DialBack {
    const TYPE: AttributeType = AttributeType::new(0xF5A3);
}

impl Attribute for DialBack {
    fn get_type(&self) -> AttributeType {
        Self::TYPE
    }

    fn length(&self) -> u16 {
        4
    }
}

impl AttributeWrite for DialBack {
    fn to_raw(&self) -> RawAttribute<'_> {
        RawAttribute::new(Self::TYPE, &self.value()).into_owned()
    }

    fn write_into_unchecked(&self, dest: &mut [u8]) {
        self.write_header_unchecked(dest);
        dest[4..8].copy_from_slice(&self.value());
    }
}

impl AttributeFromRaw<'_> for DialBack {
    fn from_raw_ref(raw: &RawAttribute<'_>) -> Result<Self, StunParseError> {
        raw.check_type_and_len(Self::TYPE, 4..=4)?;
        let port = u16::from_be_bytes([raw.value[0], raw.value[1]]);
        match Dialled::from_octet(raw.value[2]) {
            Some(result) if port != 0 => Ok(Self { port, result }),
            _ => Err(StunParseError::InvalidAttributeData),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back<A: AttributeWrite + for<'a> AttributeFromRaw<'a> + PartialEq>(attribute: &A) {
        let bytes = attribute.to_raw().to_bytes();
        let mut written = vec![0xAA; bytes.len()];
        attribute.write_into(&mut written).unwrap();
        assert_eq!(written, bytes);
        let raw = RawAttribute::from_bytes(&bytes).unwrap();
        assert_eq!(&A::from_raw_ref(&raw).unwrap(), attribute);
        assert!(!raw.get_type().comprehension_required());
    }

    #[test]
    fn every_attribute_reads_as_it_was_written() {
        there_and_back(&LendPort::new(&(21..=21)).unwrap());
        there_and_back(&LendPort::new(&(50_000..=50_100)).unwrap());
        there_and_back(&LendName::new("Files.Example.ORG").unwrap());
        there_and_back(&AnyPeer);
        there_and_back(&Instance(*b"0123456789abcdef"));
        for result in [
            Dialled::NotYet,
            Dialled::Connected,
            Dialled::Refused,
            Dialled::TimedOut,
            Dialled::Unreachable,
        ] {
            there_and_back(&DialBack { port: 2121, result });
        }
    }

    #[test]
    fn what_is_no_port_or_name_is_refused() {
        let raw = |kind: AttributeType, value: &'static [u8]| RawAttribute::new(kind, value);
        for value in [&[0, 0, 0, 21][..], &[0, 22, 0, 21], &[0, 21], &[0, 21, 0, 21, 0]] {
            assert!(LendPort::from_raw_ref(&RawAttribute::new(LendPort::TYPE, value)).is_err());
        }
        for name in [&b""[..], b"a..b", b".", b"a.", b"-a", b"a b", b"\xff", b"a\0"] {
            assert!(LendName::from_raw_ref(&RawAttribute::new(LendName::TYPE, name)).is_err());
        }
        assert!(LendName::new(&"a.".repeat(126)).is_none());
        assert!(LendName::new(&"a".repeat(64)).is_none());
        assert!(AnyPeer::from_raw_ref(&raw(AnyPeer::TYPE, b"x")).is_err());
        assert!(Instance::from_raw_ref(&raw(Instance::TYPE, b"0123456789abcde")).is_err());
        assert!(DialBack::from_raw_ref(&raw(DialBack::TYPE, &[0, 0, 0, 0])).is_err());
        assert!(DialBack::from_raw_ref(&raw(DialBack::TYPE, &[8, 73, 9, 0])).is_err());
    }
}
