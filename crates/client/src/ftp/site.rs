//! Which server, who logs in, and under what conditions.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pasarela_ftp_proto::user_pi::{Credentials, Patience};
use pasarela_tls::{KnownServers, Trust};

use super::stopwatch::Stopwatch;
use crate::{Proxy, Scheme, Secret, Url};

/// A server and a login there.
#[derive(Debug, Clone)]
pub struct Site {
    /// A DNS name or an address.
    pub host: String,
    /// The port of control connections.
    pub port: u16,
    /// When TLS begins, and whether there may be none.
    pub security: Security,
    /// Who logs in; `anonymous` where nobody was named.
    pub user: Vec<u8>,
    /// With which password.
    pub password: Secret,
    /// For servers that ask for ACCT.
    pub account: Vec<u8>,
    /// Which servers are trusted.
    pub trust: Trust,
    /// Who had TLS before, where [`Trust::FirstUse`] does not bring it already.
    pub memory: Option<Arc<KnownServers>>,
    /// Everything else.
    pub options: Options,
}

/// When TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// With the first byte.
    Implicit,
    /// With AUTH TLS; without it there is no login.
    Required,
    /// With AUTH TLS where the server takes it. Without it, only an anonymous login is made, unless
    /// [`Options::plain_password`]; and none at all where the server has had TLS before.
    Offered,
}

/// A kind of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// IPv4 and IPv6.
    #[default]
    Any,
    /// IPv4 alone.
    Ipv4,
    /// IPv6 alone.
    Ipv6,
}

impl Family {
    /// Whether an address is of this kind.
    #[must_use]
    pub fn has(self, address: SocketAddr) -> bool {
        // An IPv4-mapped address (RFC 4291 §2.5.5.2) is reached by IPv4.
        let is_ipv4 = address.ip().to_canonical().is_ipv4();
        match self {
            Self::Any => true,
            Self::Ipv4 => is_ipv4,
            Self::Ipv6 => !is_ipv4,
        }
    }
}

/// Conditions of a [`Site`].
#[derive(Debug, Clone)]
pub struct Options {
    /// A password may go out in clear.
    pub plain_password: bool,
    /// The server may connect to us (PORT, EPRT) where passive mode fails and it is on our own network.
    pub active: bool,
    /// A protected download without close_notify counts as whole when its size is the known one and the server says
    /// that it sent all of it.
    pub lenient_close: bool,
    /// Which of the server's addresses are connected to.
    pub family: Family,
    /// Through which all connections go; the server cannot connect to us then.
    pub proxy: Option<Arc<Proxy>>,
    /// Control connections at once, at most; a server that takes fewer is heard.
    pub parallel: usize,
    /// Attempts to connect.
    pub attempts: u32,
    /// For one attempt to connect, TLS included.
    pub connect_timeout: Duration,
    /// For one reply.
    pub reply_timeout: Duration,
    /// A data connection without a byte.
    pub stall_timeout: Duration,
    /// For the reply that ends a transfer.
    pub end_timeout: Duration,
    /// How often something is said on the control connection while a transfer runs, to servers that are known to answer
    /// then. (TCP's own keepalive is on for all.)
    pub noop_every: Duration,
    /// A passive data connection that has not come about after this long is asked for in the other way too.
    pub passive_patience: Duration,
    /// Takes the times of connections and transfers.
    pub stopwatch: Option<Stopwatch>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            plain_password: false,
            active: false,
            lenient_close: false,
            family: Family::Any,
            proxy: None,
            parallel: 4,
            attempts: 3,
            connect_timeout: Duration::from_secs(20),
            reply_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            end_timeout: Duration::from_secs(60),
            noop_every: Duration::from_secs(30),
            passive_patience: Duration::from_secs(2),
            stopwatch: None,
        }
    }
}

impl Site {
    /// The server and login of a URL, trusting the authorities of this system.
    #[must_use]
    pub fn of(url: &Url) -> Self {
        let anonymous = || (b"anonymous".to_vec(), Secret::new(*b"anonymous@"));
        let (user, password) = url
            .user
            .clone()
            .map_or_else(anonymous, |user| (user, url.password.clone().unwrap_or_default()));
        Self {
            host: url.host.clone(),
            port: url.port,
            security: match url.scheme {
                Scheme::Ftp => Security::Offered,
                Scheme::Ftps => Security::Implicit,
                // Of another protocol; then at least nothing goes out in clear.
                Scheme::Ftpes | Scheme::Sftp => Security::Required,
            },
            user,
            password,
            account: Vec::new(),
            trust: Trust::System,
            memory: None,
            options: Options::default(),
        }
    }

    /// Whether its password is none.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        [&b"anonymous"[..], b"ftp"]
            .iter()
            .any(|name| self.user.eq_ignore_ascii_case(name))
    }

    pub(super) fn known_servers(&self) -> Option<&Arc<KnownServers>> {
        match &self.trust {
            Trust::FirstUse { servers, .. } => Some(servers),
            _ => self.memory.as_ref(),
        }
    }

    pub(super) fn credentials(&self) -> Credentials {
        Credentials {
            user: self.user.clone(),
            password: self.password.reveal().to_vec(),
            account: self.account.clone(),
        }
    }

    pub(super) fn patience(&self) -> Patience {
        Patience {
            reply: self.options.reply_timeout,
            end_of_transfer: self.options.end_timeout,
        }
    }
}
