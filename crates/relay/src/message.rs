//! STUN messages: read from a stream one at a time and not a byte further, and responses to them.

use std::io;
use std::net::SocketAddr;

use pasarela_nat_proto::signed;
use stun_types::attribute::{
    AttributeType, AttributeWrite, ErrorCode, Nonce, PasswordAlgorithms, Realm, UnknownAttributes,
};
use stun_types::message::{
    IntegrityAlgorithm, IntegrityKey, MAGIC_COOKIE, Message, MessageClass, MessageType, MessageWriteVec,
    Method, TransactionId,
};
use stun_types::prelude::{MessageWrite as _, MessageWriteExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::credentials::OFFERED;

/// The longest message that is read; USERNAME, REALM and NONCE at their longest take less than 2 KiB.
const LONGEST: usize = 4096;
const HEADER: usize = 20;

/// Collects the next message of a stream. What follows it stays in the stream: after a ConnectionBind that is the
/// peer's.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    collected: Vec<u8>,
}

impl Inbox {
    /// The next message, or `None` at the end of the stream. May be dropped and called again without loss.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for what is no STUN message, or what reading says.
    pub(crate) async fn next(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
        loop {
            let wanted = self.wanted()?;
            let missing = wanted.saturating_sub(self.collected.len());
            if missing == 0 {
                return Ok(Some(std::mem::take(&mut self.collected)));
            }
            let read = (&mut *from)
                .take(missing as u64)
                .read_buf(&mut self.collected)
                .await?;
            match (read, self.collected.is_empty()) {
                (0, true) => return Ok(None),
                (0, false) => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
    }

    /// How long the message is, as far as is known.
    fn wanted(&self) -> io::Result<usize> {
        let Some(header) = self.collected.first_chunk::<HEADER>() else {
            return Ok(HEADER);
        };
        length(header).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// The length of the message with this header; `None` for what is no STUN message (RFC 8489 section 5).
fn length(header: &[u8; HEADER]) -> Option<usize> {
    let [first, _, high, low, a, b, c, d, ..] = *header;
    let length = HEADER + usize::from(u16::from_be_bytes([high, low]));
    let is_stun = first & 0xc0 == 0
        && length.is_multiple_of(4)
        && length <= LONGEST
        && u32::from_be_bytes([a, b, c, d]) == MAGIC_COOKIE;
    is_stun.then_some(length)
}

/// What of a request its response needs.
#[derive(Debug, Clone)]
pub(crate) struct Slip {
    pub(crate) method: Method,
    transaction: TransactionId,
    /// The key that the request was signed with, which signs the response too (RFC 8489 section 9.2.5).
    key: Option<(IntegrityKey, IntegrityAlgorithm)>,
}

impl Slip {
    pub(crate) fn new(request: &Message<'_>) -> Self {
        Self {
            method: request.method(),
            transaction: request.transaction_id(),
            key: None,
        }
    }

    pub(crate) fn signed_with(mut self, key: &IntegrityKey, algorithm: IntegrityAlgorithm) -> Self {
        self.key = Some((key.clone(), algorithm));
        self
    }

    pub(crate) fn transaction(&self) -> TransactionId {
        self.transaction
    }

    /// A success response.
    pub(crate) fn success(&self, attributes: &[&dyn AttributeWrite]) -> Vec<u8> {
        self.build(MessageClass::Success, attributes)
    }

    /// An error response.
    pub(crate) fn error(&self, refusal: &Refusal) -> Vec<u8> {
        let unknown = UnknownAttributes::new(&refusal.unknown);
        let mut attributes: Vec<&dyn AttributeWrite> = Vec::new();
        let code = ErrorCode::new(refusal.code, refusal.reason);
        if let Ok(code) = &code {
            attributes.push(code);
        }
        if !refusal.unknown.is_empty() {
            attributes.push(&unknown);
        }
        self.build(MessageClass::Error, &attributes)
    }

    /// An error response that tells how to authenticate; never signed.
    pub(crate) fn challenge(&self, refusal: &Refusal, realm: &str, nonce: &str) -> Vec<u8> {
        let (code, realm, nonce) = (
            ErrorCode::new(refusal.code, refusal.reason),
            Realm::new(realm),
            Nonce::new(nonce),
        );
        // Codes are between 300 and 699, the realm was checked, nonces are 53 letters.
        let (Ok(code), Ok(realm), Ok(nonce)) = (code, realm, nonce) else {
            return Vec::new();
        };
        let unsigned = Self {
            key: None,
            ..self.clone()
        };
        unsigned.build(
            MessageClass::Error,
            &[&code, &realm, &nonce, &PasswordAlgorithms::new(&OFFERED)],
        )
    }

    fn build(&self, class: MessageClass, attributes: &[&dyn AttributeWrite]) -> Vec<u8> {
        let kind = MessageType::from_class_method(class, self.method);
        let mut message = Message::builder(kind, self.transaction, MessageWriteVec::new());
        // Adding fails only for a message that is signed already or longer than 64 KiB.
        for attribute in attributes {
            let _ = message.add_attribute(*attribute);
        }
        let message = message.finish();
        match &self.key {
            // As above: our answers are far shorter than what cannot be signed.
            Some((key, algorithm)) => signed(message, key, *algorithm).unwrap_or_default(),
            None => message,
        }
    }
}

/// An indication, which nobody answers.
pub(crate) fn indication(
    method: Method,
    attributes: impl FnOnce(TransactionId) -> Vec<Box<dyn AttributeWrite>>,
) -> Vec<u8> {
    let transaction = TransactionId::generate();
    let kind = MessageType::from_class_method(MessageClass::Indication, method);
    let mut message = Message::builder(kind, transaction, MessageWriteVec::new());
    for attribute in attributes(transaction) {
        // As in `Slip::build`.
        let _ = message.add_attribute(attribute.as_ref());
    }
    message.finish()
}

/// Why a request is not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) unknown: Vec<AttributeType>,
}

impl Refusal {
    pub(crate) const fn new(code: u16, reason: &'static str) -> Self {
        Self {
            code,
            reason,
            unknown: Vec::new(),
        }
    }

    /// 420, if there is an attribute that must be understood and is not in `known` (RFC 8489 section 6.3.1).
    pub(crate) fn of_unknown(message: &Message<'_>, known: &[AttributeType]) -> Option<Self> {
        let unknown: Vec<_> = message
            .iter_attributes()
            .map(|(_, attribute)| attribute.header.get_type())
            .filter(|kind| kind.comprehension_required() && !known.contains(kind))
            .take(MOST_UNKNOWN)
            .collect();
        (!unknown.is_empty()).then_some(Self {
            code: ErrorCode::UNKNOWN_ATTRIBUTE,
            reason: "Unknown Attribute",
            unknown,
        })
    }
}

/// The most unknown attributes that are told.
const MOST_UNKNOWN: usize = 8;

/// An address without the IPv4-mapped form that a dual-stack socket gives it.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use stun_types::message::BINDING;

    use super::*;

    fn message() -> Vec<u8> {
        let mut message = Message::builder_request(BINDING, MessageWriteVec::new());
        message.add_attribute(&Nonce::new("abcd").unwrap()).unwrap();
        message.finish()
    }

    #[tokio::test]
    async fn messages_are_told_apart_and_nothing_is_read_beyond() {
        let (one, other) = (message(), message());
        let stream = [&one[..], &other, b"tail"].concat();
        let mut rest = &stream[..];
        let mut inbox = Inbox::default();
        assert_eq!(inbox.next(&mut rest).await.unwrap().unwrap(), one);
        assert_eq!(rest.len(), other.len() + 4);
        assert_eq!(inbox.next(&mut rest).await.unwrap().unwrap(), other);
        assert_eq!(rest, b"tail");
    }

    #[tokio::test]
    async fn a_message_in_crumbs_survives_that_reading_is_given_up() {
        let (mut here, mut there) = tokio::io::duplex(64);
        let whole = message();
        let mut inbox = Inbox::default();
        for byte in &whole[..whole.len() - 1] {
            tokio::io::AsyncWriteExt::write_all(&mut here, &[*byte])
                .await
                .unwrap();
            tokio::select! {
                biased;
                _ = inbox.next(&mut there) => panic!("not whole yet"),
                () = std::future::ready(()) => {}
            }
        }
        tokio::io::AsyncWriteExt::write_all(&mut here, &whole[whole.len() - 1..])
            .await
            .unwrap();
        assert_eq!(inbox.next(&mut there).await.unwrap().unwrap(), whole);
    }

    #[tokio::test]
    async fn what_is_no_message_is_an_error_and_an_end_is_none() {
        let mut long = message();
        long[2] = 0xff;
        let mut odd = message();
        odd[3] += 1;
        let mut cookie = message();
        cookie[4] = 0;
        let mut channel = message();
        channel[0] = 0x40;
        for broken in [
            &long[..],
            &odd,
            &cookie,
            &channel,
            b"GET / HTTP/1.1\r\nHost: x\r\n",
            &message()[..21],
        ] {
            assert!(Inbox::default().next(&mut &broken[..]).await.is_err());
        }
        assert!(Inbox::default().next(&mut &b""[..]).await.unwrap().is_none());
    }
}
