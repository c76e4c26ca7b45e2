//! Long-term credentials (RFC 8489 section 9.2): a request is signed, an answer is known to be the server's.

use std::fmt;

use bytes::Bytes;
use stun_types::attribute::{
    MessageIntegrity, MessageIntegritySha256, Nonce, PasswordAlgorithm, PasswordAlgorithmValue,
    PasswordAlgorithms, Realm, Username,
};
use stun_types::message::{
    IntegrityAlgorithm, IntegrityKey, LongTermKeyCredentials, Message, MessageHeader, MessageWrite as _,
    MessageWriteExt as _, MessageWriteVec, StunWriteError,
};
use stun_types::prelude::AttributeStaticType as _;

use crate::frame::MAX_MESSAGE;

/// Who we are to a server. Both are used as they are; a name or a password that OpaqueString (RFC 8265) would
/// change has to come in the changed form.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name, 508 bytes at most (RFC 8489 section 14.3).
    pub username: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("password", &"***")
            .finish()
    }
}

/// Credentials, and what the server last asked us to sign with. Before it asked nothing is signed.
#[derive(Clone)]
pub(crate) struct Authentication {
    credentials: Credentials,
    challenge: Option<Challenge>,
}

#[derive(Clone)]
struct Challenge {
    realm: Realm,
    nonce: Nonce,
    /// What the server offered, to be said back to it (RFC 8489 section 9.2.4).
    offered: Option<PasswordAlgorithms>,
    algorithm: IntegrityAlgorithm,
    key: IntegrityKey,
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication")
            .field("credentials", &self.credentials)
            .field("is_challenged", &self.challenge.is_some())
            .finish()
    }
}

impl Authentication {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            challenge: None,
        }
    }

    /// Whether requests are signed, and so answers have to be.
    pub(crate) fn is_challenged(&self) -> bool {
        self.challenge.is_some()
    }

    /// Takes realm and nonce from a 401 or 438. `None` when there is nothing that could be signed with.
    pub(crate) fn handle_challenge(&mut self, message: &Message<'_>) -> Option<()> {
        let realm = message.attribute::<Realm>().ok()?;
        let nonce = message.attribute::<Nonce>().ok()?;
        let offered = match message.raw_attribute(PasswordAlgorithms::TYPE) {
            Some(raw) => Some(PasswordAlgorithms::try_from(&raw).ok()?),
            // Somebody took the attribute out, so that we use the weaker one (RFC 8489 section 9.2.5).
            None if announces_algorithms(nonce.nonce()) => return None,
            None => None,
        };
        let is_sha256 = offered
            .as_ref()
            .is_some_and(|all| all.algorithms().contains(&PasswordAlgorithmValue::SHA256));
        let algorithm = if is_sha256 {
            IntegrityAlgorithm::Sha256
        } else {
            IntegrityAlgorithm::Sha1
        };
        let Credentials { username, password } = self.credentials.clone();
        let key =
            LongTermKeyCredentials::new(username, password, realm.realm().to_owned()).make_key(algorithm);
        self.challenge = Some(Challenge {
            realm,
            nonce,
            offered,
            algorithm,
            key,
        });
        Some(())
    }

    /// Ends a request, signed if the server asked for that.
    pub(crate) fn finish(&self, mut request: MessageWriteVec) -> Result<Bytes, StunWriteError> {
        let Some(challenge) = &self.challenge else {
            return fitting(request.finish());
        };
        request.add_attribute(&Username::new(&self.credentials.username)?)?;
        request.add_attribute(&challenge.realm)?;
        request.add_attribute(&challenge.nonce)?;
        if let (Some(offered), IntegrityAlgorithm::Sha256) = (&challenge.offered, challenge.algorithm) {
            request.add_attribute(offered)?;
            request.add_attribute(&PasswordAlgorithm::new(PasswordAlgorithmValue::SHA256))?;
        }
        fitting(signed(request.finish(), &challenge.key, challenge.algorithm)?)
    }

    /// Whether the server signed this with our key.
    pub(crate) fn verifies(&self, message: &Message<'_>) -> bool {
        self.challenge
            .as_ref()
            .is_some_and(|challenge| message.validate_integrity_with_key(&challenge.key).is_ok())
    }
}

/// Whether a nonce says that PASSWORD-ALGORITHMS goes with it: the first of the 24 bits behind the cookie, in
/// base64 (RFC 8489 section 9.2, section 18.1).
fn announces_algorithms(nonce: &str) -> bool {
    nonce
        .strip_prefix("obMatJos2")
        .and_then(|features| features.bytes().next())
        .is_some_and(|first| matches!(first, b'g'..=b'z' | b'0'..=b'9' | b'+' | b'/'))
}

/// Adds MESSAGE-INTEGRITY to a whole message. stun-types can do that by itself, but writes the key into a span at trace
/// level.
///
/// # Errors
/// When the message is too long for it, or shorter than a header.
pub fn signed(
    mut message: Vec<u8>,
    key: &IntegrityKey,
    algorithm: IntegrityAlgorithm,
) -> Result<Vec<u8>, StunWriteError> {
    let (kind, size) = match algorithm {
        IntegrityAlgorithm::Sha1 => (MessageIntegrity::TYPE, 20_u16),
        IntegrityAlgorithm::Sha256 => (MessageIntegritySha256::TYPE, 32_u16),
    };
    if message.len() < MessageHeader::LENGTH {
        return Err(StunWriteError::TooSmall {
            expected: MessageHeader::LENGTH,
            actual: message.len(),
        });
    }
    // What is signed ends before this attribute, and says a length that ends behind it (RFC 8489 section 14.5).
    let length = message.len() - MessageHeader::LENGTH + 4 + usize::from(size);
    let length = u16::try_from(length).map_err(|_| StunWriteError::TooLarge {
        expected: MAX_MESSAGE,
        actual: message.len(),
    })?;
    message[2..4].copy_from_slice(&length.to_be_bytes());
    let hmac = match algorithm {
        IntegrityAlgorithm::Sha1 => MessageIntegrity::compute(&[&message], key)?.to_vec(),
        IntegrityAlgorithm::Sha256 => MessageIntegritySha256::compute(&[&message], key)?.to_vec(),
    };
    message.extend_from_slice(&kind.value().to_be_bytes());
    message.extend_from_slice(&size.to_be_bytes());
    message.extend_from_slice(&hmac);
    Ok(message)
}

fn fitting(message: Vec<u8>) -> Result<Bytes, StunWriteError> {
    if message.len() > MAX_MESSAGE {
        return Err(StunWriteError::TooLarge {
            expected: MAX_MESSAGE,
            actual: message.len(),
        });
    }
    Ok(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bit_behind_the_cookie_announces_algorithms() {
        assert!(announces_algorithms("obMatJos2gAAAnonce"));
        assert!(announces_algorithms("obMatJos2wAAAnonce"));
        assert!(!announces_algorithms("obMatJos2QAAAnonce"));
        assert!(!announces_algorithms("obMatJos2"));
        assert!(!announces_algorithms("gAAA"));
    }

    #[test]
    fn a_password_is_not_shown() {
        let credentials = Credentials {
            username: "anna".into(),
            password: "swordfish".into(),
        };
        let shown = format!("{credentials:?} {:?}", Authentication::new(credentials.clone()));
        assert!(!shown.contains("swordfish"), "{shown}");
    }
}
