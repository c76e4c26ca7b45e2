//! The server's side of TLS: one configuration a handshake, so that tickets can be told apart.
//!
//! rustls asks its configuration for tickets and for stored sessions, so each handshake gets a clone of the base
//! configuration (microseconds) in which a [`Witness`] answers both. It puts the handshake's tag into every ticket,
//! and remembers whose ticket was offered. A client that offers a session under another server name (SNI) than the
//! one it was made with gets a full handshake (RFC 6066 section 3); none and another count as different too.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::server::{ProducesTickets, StoresServerSessions};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection};
use tokio::net::TcpStream;

use crate::stream::Tickets;
use crate::tag::Register;
use crate::{Material, Stream, Tag};

/// The server's certificates and its tickets. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct ServerTls {
    shared: Arc<Shared>,
}

struct Shared {
    base: RwLock<Arc<ServerConfig>>,
    /// The keys of tickets and the register outlive a reload, so running control connections keep their data
    /// connections.
    ticketer: Arc<dyn ProducesTickets>,
    register: Register,
    alpn: Vec<Vec<u8>>,
}

/// A finished handshake.
#[derive(Debug)]
pub struct Accepted {
    /// The protected stream. Unless it is a control connection's, tickets of TLS 1.3 are held back until something
    /// is written or it is shut down.
    pub stream: Stream,
    /// The tag under which this handshake issues its tickets; fresh, not admitted yet.
    pub issued: Tag,
    /// The owner whose ticket or session id was resumed; `None` after a full handshake.
    pub resumed: Option<Tag>,
    /// Whether the client offered a session, resumed or not.
    pub offered: bool,
    /// The protocol agreed on by ALPN; `None` when the client offered none.
    pub alpn: Option<Vec<u8>>,
}

/// What a connection is for, as far as its handshake cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Control,
    Data,
    Either,
}

impl Role {
    /// OpenSSL uses a ticket once, so a control connection needs some to start parallel transfers with, and each
    /// data connection must give one for the next.
    fn tickets(self) -> usize {
        match self {
            Self::Control | Self::Either => 4,
            Self::Data => 1,
        }
    }

    /// Sessions do not cross from one control connection to another.
    fn resumes(self) -> bool {
        self != Self::Control
    }

    /// A data connection resumes by the session id of the control connection and makes none of its own.
    fn stores_sessions(self) -> bool {
        self != Self::Data
    }
}

/// What clients may offer (RFC 7301); something else alone ends the handshake, so that nobody can turn a browser's
/// HTTPS against us (ALPACA, CVE-2021-3618). `x-filezilla-ftp` is left out on purpose: a FileZilla that gets it
/// insists on that protocol's rules for its data connections.
const ALPN: [&[u8]; 2] = [b"ftp", ALPN_DATA];

/// What a client calls its data connections (RFC 7301), so that they cannot be taken for control connections.
pub const ALPN_DATA: &[u8] = b"ftp-data";

/// The most tickets that a client may ask for (RFC 9149).
const MOST_TICKETS: usize = 16;

impl ServerTls {
    /// Serves with this certificate.
    ///
    /// # Errors
    /// When rustls refuses certificate or key.
    pub fn new(material: Material) -> io::Result<Self> {
        Self::for_protocols(material, &ALPN)
    }

    /// As [`ServerTls::new`], for clients that may offer one of `alpn` instead of FTP's names.
    ///
    /// # Errors
    /// When rustls refuses certificate or key.
    pub fn for_protocols(material: Material, alpn: &[&[u8]]) -> io::Result<Self> {
        let alpn: Vec<_> = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Self {
            shared: Arc::new(Shared {
                base: RwLock::new(base_config(&material, &alpn)?),
                ticketer: Ticketer::new().map_err(io::Error::other)?,
                register: Register::default(),
                alpn,
            }),
        })
    }

    /// Another certificate for the handshakes from now on. Tickets from before still resume: they prove who the
    /// client is to us, and a client that resumes sees no certificate.
    ///
    /// # Errors
    /// As [`ServerTls::new`]; the old certificate stays then.
    pub fn reload(&self, material: Material) -> io::Result<()> {
        let base = base_config(&material, &self.shared.alpn)?;
        *self.shared.base.write().unwrap_or_else(PoisonError::into_inner) = base;
        Ok(())
    }

    /// The handshake of a control connection after AUTH TLS: resumes nothing, issues several tickets at once.
    ///
    /// Like its siblings it sets no deadline and may be dropped at any time, which closes the connection. A
    /// ClientHello that still sits in the kernel (because the caller only peeked at it) is read like any other.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] with a [`rustls::Error`] inside when the handshake failed (the alert has
    /// been sent then), [`io::ErrorKind::UnexpectedEof`] when the client left, or what TCP says.
    pub async fn accept_control(&self, stream: TcpStream) -> io::Result<Accepted> {
        self.accept(stream, Role::Control).await
    }

    /// The handshake of a data connection: one ticket, held back (see [`Stream::release_tickets`]).
    ///
    /// # Errors
    /// As [`ServerTls::accept_control`].
    pub async fn accept_data(&self, stream: TcpStream) -> io::Result<Accepted> {
        self.accept(stream, Role::Data).await
    }

    /// The handshake of a connection that may become either (implicit FTPS on a port that is also the data
    /// port): several tickets, held back.
    ///
    /// # Errors
    /// As [`ServerTls::accept_control`].
    pub async fn accept_either(&self, stream: TcpStream) -> io::Result<Accepted> {
        self.accept(stream, Role::Either).await
    }

    /// Makes the tickets issued under `issued` prove `owner`. A control connection admits its own tag, and before
    /// that (and after [`ServerTls::retire`]) nothing can be admitted to it.
    ///
    /// Admit a data connection as soon as it is known to be the owner's, best because it was itself resumed:
    /// otherwise a stranger who was let in once comes back with proof. A client's next data connection may come
    /// with this one's ticket, so admission must not wait for the end of the transfer.
    pub fn admit(&self, issued: Tag, owner: Tag) {
        self.shared.register.admit(issued, owner);
    }

    /// Forgets an owner: nothing that was issued to it resumes any more.
    pub fn retire(&self, owner: Tag) {
        self.shared.register.retire(owner);
    }

    async fn accept(&self, tcp: TcpStream, role: Role) -> io::Result<Accepted> {
        let issued = Tag::fresh()?;
        let witness = Arc::new(Witness {
            shared: Arc::clone(&self.shared),
            issued,
            role,
            testimony: Mutex::new(Testimony::default()),
        });
        let base = Arc::clone(&self.shared.base.read().unwrap_or_else(PoisonError::into_inner));
        let mut config = ServerConfig::clone(&base);
        config.ticketer = Arc::clone(&witness) as Arc<dyn ProducesTickets>;
        config.session_storage = Arc::clone(&witness) as Arc<dyn StoresServerSessions>;
        config.send_tls13_tickets = role.tickets();

        let tls = ServerConnection::new(Arc::new(config)).map_err(io::Error::other)?;
        let tickets = if role == Role::Control {
            Tickets::AtOnce
        } else {
            Tickets::HeldBack
        };
        let stream = Stream::shake_hands(tcp, tls, tickets).await?;

        let Testimony { offered, seen } = witness.testimony();
        let tls = stream.tls();
        // A ticket that decrypts is not yet a session resumed: suite, SNI and binder must fit too.
        let resumed = seen.filter(|_| stream.is_resumed());
        let alpn = tls.alpn_protocol().map(<[u8]>::to_vec);
        Ok(Accepted {
            stream,
            issued,
            resumed,
            offered,
            alpn,
        })
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// TLS 1.2 and 1.3, no client certificates, no early data (0-RTT is off by default in rustls).
fn base_config(material: &Material, alpn: &[Vec<u8>]) -> io::Result<Arc<ServerConfig>> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(io::Error::other)?
        .with_no_client_auth()
        // One certificate whatever the SNI says: clients connect by address as well, or by a name we never heard.
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(material.certified_key())));
    config.alpn_protocols = alpn.to_vec();
    config.max_tls13_tickets = MOST_TICKETS;
    Ok(Arc::new(config))
}

/// Stands in for the ticketer and the session store of one handshake.
struct Witness {
    shared: Arc<Shared>,
    issued: Tag,
    role: Role,
    testimony: Mutex<Testimony>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Testimony {
    offered: bool,
    /// The owner of the last session that was handed to rustls; it stops asking at the one that it resumes.
    seen: Option<Tag>,
}

impl Witness {
    fn testimony(&self) -> Testimony {
        *self.testimony.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the client offered a session; hands on what `find` makes of it.
    fn examine(&self, find: impl FnOnce() -> Option<(Tag, Vec<u8>)>) -> Option<Vec<u8>> {
        let found = if self.role.resumes() { find() } else { None };
        let mut testimony = self.testimony.lock().unwrap_or_else(PoisonError::into_inner);
        testimony.offered = true;
        let (owner, state) = found?;
        testimony.seen = Some(owner);
        Some(state)
    }
}

/// A ticket is `issuer's tag ‖ state of rustls`, encrypted and authenticated.
impl ProducesTickets for Witness {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.shared.ticketer.lifetime()
    }

    fn encrypt(&self, state: &[u8]) -> Option<Vec<u8>> {
        self.shared.ticketer.encrypt(&[&self.issued.0, state].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.examine(|| {
            let plain = self.shared.ticketer.decrypt(ticket)?;
            let (issuer, state) = plain.split_first_chunk()?;
            Some((self.shared.register.owner(Tag(*issuer))?, state.to_vec()))
        })
    }
}

/// Session ids of TLS 1.2 (RFC 5246 section 7.3), for clients without tickets.
impl StoresServerSessions for Witness {
    fn put(&self, id: Vec<u8>, state: Vec<u8>) -> bool {
        let stores = self.role.stores_sessions();
        if stores {
            self.shared.register.store_session(self.issued, id, state);
        }
        stores
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.examine(|| self.shared.register.session(id))
    }

    /// rustls calls this for TLS 1.3 without tickets only; a session here is used by many data connections, so it
    /// is never taken away.
    fn take(&self, _id: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn can_cache(&self) -> bool {
        self.role.stores_sessions()
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Witness")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
