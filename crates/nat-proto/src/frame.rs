//! STUN messages out of a byte stream: where one ends, and a bound on what one may cost.
//!
//! A message on a stream says its own length and nothing stands between two of them (RFC 8489 section 6.2.2).

use bytes::Bytes;
use stun_types::message::{MessageHeader, StunParseError};

/// The longest message that is taken, header included. What STUN and TURN say fits into a datagram; the rest is
/// room for extensions.
pub const MAX_MESSAGE: usize = 4096;

/// Assembles messages. What stands behind a message is never touched: after ConnectionBind it is the peer's
/// (RFC 6062 section 5.4).
#[derive(Debug, Default)]
pub struct Frames {
    /// The begin of a message, [`MAX_MESSAGE`] bytes at most.
    held: Vec<u8>,
}

/// Why a stream can be read no further: where the next message begins is not known any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// These bytes do not begin a STUN message.
    #[error("not a STUN message")]
    NotStun,
    /// The message says that it is longer than [`MAX_MESSAGE`].
    #[error("a message of {0} bytes")]
    TooLong(usize),
}

impl Frames {
    /// Takes bytes from the front of `input` until a message is complete, and no byte behind it, or until `input`
    /// is empty.
    ///
    /// # Errors
    /// [`FrameError`]; the stream is of no use after that.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Bytes>, FrameError> {
        loop {
            let wanted = self.wanted()?;
            if wanted == 0 {
                return Ok(Some(std::mem::take(&mut self.held).into()));
            }
            let taken = wanted.min(input.len());
            if taken == 0 {
                return Ok(None);
            }
            let (front, rest) = input.split_at(taken);
            self.held.extend_from_slice(front);
            *input = rest;
        }
    }

    /// How many bytes can be read now without reading past the end of the message. Never 0 after
    /// [`Frames::decode`] found no message.
    ///
    /// # Errors
    /// [`FrameError`], as [`Frames::decode`].
    pub fn wanted(&self) -> Result<usize, FrameError> {
        let wanted = match MessageHeader::from_bytes(&self.held) {
            Ok(header) => {
                let length = MessageHeader::LENGTH + usize::from(header.data_length());
                if length > MAX_MESSAGE {
                    return Err(FrameError::TooLong(length));
                }
                length
            }
            Err(StunParseError::Truncated { expected, .. }) => expected,
            Err(_) => return Err(FrameError::NotStun),
        };
        Ok(wanted.saturating_sub(self.held.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: [u8; 24] = [
        0x01, 0x01, 0x00, 0x04, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x80, 0x22, 0,
        0,
    ];

    #[test]
    fn bytes_behind_a_message_stay() {
        let stream = [&MESSAGE[..], b"220 ready\r\n"].concat();
        let mut input = &stream[..];
        let message = Frames::default().decode(&mut input).unwrap();
        assert_eq!(message.as_deref(), Some(&MESSAGE[..]));
        assert_eq!(input, b"220 ready\r\n");
    }

    #[test]
    fn a_message_in_single_bytes_is_the_same_message() {
        let mut frames = Frames::default();
        for byte in &MESSAGE[..23] {
            assert_eq!(frames.decode(&mut &[*byte][..]), Ok(None));
        }
        assert_eq!(frames.wanted(), Ok(1));
        let message = frames.decode(&mut &MESSAGE[23..]).unwrap();
        assert_eq!(message.as_deref(), Some(&MESSAGE[..]));
        assert_eq!(frames.wanted(), Ok(20));
    }

    #[test]
    fn two_messages_in_one_read_come_one_after_the_other() {
        let stream = [MESSAGE, MESSAGE].concat();
        let (mut frames, mut input) = (Frames::default(), &stream[..]);
        assert!(frames.decode(&mut input).unwrap().is_some());
        assert!(frames.decode(&mut input).unwrap().is_some());
        assert_eq!(frames.decode(&mut input), Ok(None));
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_by_its_header() {
        let mut header = MESSAGE;
        header[2..4].copy_from_slice(&(MAX_MESSAGE as u16 - 16).to_be_bytes());
        assert_eq!(
            Frames::default().decode(&mut &header[..20]),
            Err(FrameError::TooLong(MAX_MESSAGE + 4))
        );
        header[2..4].copy_from_slice(&(MAX_MESSAGE as u16 - 20).to_be_bytes());
        assert_eq!(Frames::default().decode(&mut &header[..20]), Ok(None));
    }

    #[test]
    fn another_protocol_is_told_by_its_first_bytes() {
        assert_eq!(
            Frames::default().decode(&mut &b"HTTP/1.1"[..]),
            Err(FrameError::NotStun)
        );
        assert_eq!(
            Frames::default().decode(&mut &[0x40, 0, 0, 0][..]),
            Err(FrameError::NotStun)
        );
    }
}
