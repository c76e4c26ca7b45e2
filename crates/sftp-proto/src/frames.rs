//! A stream of bytes taken apart into packets, none of them longer than was agreed to.

use bytes::{Bytes, BytesMut};

/// Takes packets out of a stream: read into [`Frames::buffer`], then call [`Frames::next_packet`] until it has none.
#[derive(Debug)]
pub struct Frames {
    max: usize,
    buffer: BytesMut,
}

/// A length that no packet has. Nothing that follows can be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// It has no type.
    #[error("an empty packet")]
    Empty,
    /// Longer than packets may be.
    #[error("a packet of {0} bytes")]
    TooLong(u32),
}

/// The length field.
const HEADER: usize = 4;

impl Frames {
    /// For packets of at most `max` bytes after their length field.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            max,
            buffer: BytesMut::new(),
        }
    }

    /// Where bytes of the stream are to be appended.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Bytes that are here and not taken out yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// The next packet, from its type on; `None` where not all of it is here.
    ///
    /// # Errors
    /// [`BadFrame`], at once when the length is here: a packet that is too long is not waited for.
    pub fn next_packet(&mut self) -> Result<Option<Bytes>, BadFrame> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let announced = u32::from_be_bytes(*header);
        let length = match usize::try_from(announced) {
            Ok(0) => return Err(BadFrame::Empty),
            Ok(length) if length <= self.max => length,
            _ => return Err(BadFrame::TooLong(announced)),
        };
        if self.buffer.len() < HEADER + length {
            self.buffer.reserve(HEADER + length - self.buffer.len());
            return Ok(None);
        }
        let packet = self.buffer.split_to(HEADER + length).freeze();
        Ok(Some(packet.slice(HEADER..)))
    }
}
