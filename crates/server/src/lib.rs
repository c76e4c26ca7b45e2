//! Listeners and one driver a protocol.
