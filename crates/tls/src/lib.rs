//! Certificates in, rustls streams out: loading, reload, self-signed first run, ticket tags.
//!
//! Every handshake issues its tickets under a fresh [`Tag`]. A tag means nothing until it is admitted
//! ([`ServerTls::admit`]) as belonging to an *owner*, the tag of a control connection; so a refused connection
//! leaves no usable ticket behind.

mod certificate;
mod client;
mod server;
mod stream;
mod tag;
#[cfg(test)]
mod visitor;

pub use certificate::{Fingerprint, Material, MaterialError};
pub use client::{
    BadPin, ClientTls, ConnectError, Facts, Known, KnownServers, Lack, Pin, Shown, Stranger, Trust,
    TrustError, Validity, public_key_of,
};
pub use server::{ALPN_DATA, Accepted, ServerTls};
pub use stream::Stream;
pub use tag::Tag;
