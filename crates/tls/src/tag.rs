//! Tags: which handshake issued a ticket, and whose it is.

/// Sixteen random bytes that name one handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(pub [u8; 16]);
