//! The attributes of RFC 5780 section 7, and MAPPED-ADDRESS, which stun-types leaves out.

use std::net::SocketAddr;

use stun_types::attribute::{AttributeType, MappedSocketAddr, RawAttribute};
use stun_types::message::StunParseError;
use stun_types::prelude::{
    Attribute, AttributeFromRaw, AttributeStaticType, AttributeWrite, AttributeWriteExt as _,
};

/// CHANGE-REQUEST (RFC 5780 section 7.2): from where the server shall answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangeRequest {
    /// From its other address.
    pub address: bool,
    /// From its other port.
    pub port: bool,
}

const CHANGE_ADDRESS: u8 = 0x04;
const CHANGE_PORT: u8 = 0x02;

impl ChangeRequest {
    fn to_bytes(self) -> [u8; 4] {
        let address = if self.address { CHANGE_ADDRESS } else { 0 };
        let port = if self.port { CHANGE_PORT } else { 0 };
        [0, 0, 0, address | port]
    }
}

impl AttributeStaticType for ChangeRequest {
    const TYPE: AttributeType = AttributeType::new(0x0003);
}

impl Attribute for ChangeRequest {
    fn get_type(&self) -> AttributeType {
        Self::TYPE
    }

    fn length(&self) -> u16 {
        4
    }
}

impl AttributeWrite for ChangeRequest {
    fn write_into_unchecked(&self, dest: &mut [u8]) {
        self.write_header_unchecked(dest);
        dest[4..8].copy_from_slice(&self.to_bytes());
    }

    fn to_raw(&self) -> RawAttribute<'_> {
        RawAttribute::new_owned(Self::TYPE, Box::new(self.to_bytes()))
    }
}

impl AttributeFromRaw<'_> for ChangeRequest {
    fn from_raw_ref(raw: &RawAttribute<'_>) -> Result<Self, StunParseError> {
        raw.check_type_and_len(Self::TYPE, 4..=4)?;
        let flags = raw.value[3];
        Ok(Self {
            address: flags & CHANGE_ADDRESS != 0,
            port: flags & CHANGE_PORT != 0,
        })
    }
}

/// An attribute that is an address as it is, without XOR (RFC 8489 section 14.1).
macro_rules! plain_address {
    ($(#[$doc:meta])* $name:ident = $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub SocketAddr);

        impl AttributeStaticType for $name {
            const TYPE: AttributeType = AttributeType::new($kind);
        }

        impl Attribute for $name {
            fn get_type(&self) -> AttributeType {
                Self::TYPE
            }

            fn length(&self) -> u16 {
                MappedSocketAddr::new(self.0).length()
            }
        }

        impl AttributeWrite for $name {
            fn write_into_unchecked(&self, dest: &mut [u8]) {
                self.write_header_unchecked(dest);
                MappedSocketAddr::new(self.0).write_into_unchecked(&mut dest[4..]);
            }

            fn to_raw(&self) -> RawAttribute<'_> {
                MappedSocketAddr::new(self.0).to_raw(Self::TYPE).into_owned()
            }
        }

        impl AttributeFromRaw<'_> for $name {
            fn from_raw_ref(raw: &RawAttribute<'_>) -> Result<Self, StunParseError> {
                raw.check_type_and_len(Self::TYPE, ..)?;
                Ok(Self(MappedSocketAddr::from_raw(raw)?.addr()))
            }
        }
    };
}

plain_address! {
    /// MAPPED-ADDRESS (RFC 8489 section 14.1): what XOR-MAPPED-ADDRESS says, in the form that some NATs rewrite.
    MappedAddress = 0x0001
}
plain_address! {
    /// RESPONSE-ORIGIN (RFC 5780 section 7.3): from where the server answers.
    ResponseOrigin = 0x802b
}
plain_address! {
    /// OTHER-ADDRESS (RFC 5780 section 7.4): from where it would answer if both address and port were changed.
    OtherAddress = 0x802c
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_were_written() {
        for change in [(false, false), (true, false), (false, true), (true, true)] {
            let change = ChangeRequest {
                address: change.0,
                port: change.1,
            };
            assert_eq!(ChangeRequest::from_raw(change.to_raw()), Ok(change));
            let mut written = [0; 8];
            change.write_into_unchecked(&mut written);
            assert_eq!(written, change.to_raw().to_bytes()[..]);
        }
        for address in ["192.0.2.1:3479", "[2001:db8::1]:3479"] {
            let other = OtherAddress(address.parse().unwrap());
            assert_eq!(OtherAddress::from_raw(other.to_raw()), Ok(other));
            let mut written = vec![0; 4 + usize::from(other.length())];
            other.write_into_unchecked(&mut written);
            assert_eq!(written, other.to_raw().to_bytes());
        }
    }

    #[test]
    fn an_address_of_a_wrong_length_is_refused() {
        assert!(
            OtherAddress::from_raw(RawAttribute::new(OtherAddress::TYPE, &[0, 2, 0, 1, 1, 2, 3, 4])).is_err()
        );
        assert!(ResponseOrigin::from_raw(RawAttribute::new(ResponseOrigin::TYPE, &[0, 1])).is_err());
    }
}
