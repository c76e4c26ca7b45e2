//! A TURN server for TCP (RFC 8656, RFC 6062): lends addresses to servers behind NAT and carries streams as they are.
