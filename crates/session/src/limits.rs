//! How many and how long: caps per address, per user and in total, deadlines, and bans for guessing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::Account;

/// The numbers. Addresses count by IPv4 address and by IPv6 /64.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once from one address.
    pub per_address: u32,
    /// Sessions at once of one user.
    pub per_user: u32,
    /// Connections at once in all.
    pub total: u32,
    /// Connections at once that are not logged in.
    pub unauthenticated: u32,
    /// From connecting to being logged in; traffic does not reset it.
    pub login: Duration,
    /// Without a command, once logged in and outside transfers.
    pub idle: Duration,
    /// A transfer that moves no byte.
    pub stall: Duration,
    /// A TLS handshake.
    pub tls_handshake: Duration,
    /// From the reply to PASV or EPSV, or from the transfer command, to the data connection.
    pub data_connection: Duration,
    /// Failed logins within `ban_window` that lead to a ban.
    pub ban_after: u32,
    /// See `ban_after`.
    pub ban_window: Duration,
    /// How long a ban lasts.
    pub ban_for: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_address: 64,
            per_user: 64,
            total: 2000,
            unauthenticated: 500,
            login: Duration::from_secs(60),
            idle: Duration::from_secs(300),
            stall: Duration::from_secs(60),
            tls_handshake: Duration::from_secs(15),
            data_connection: Duration::from_secs(15),
            ban_after: 20,
            ban_window: Duration::from_secs(600),
            ban_for: Duration::from_secs(600),
        }
    }
}

/// Counts and scores for one server; all its listeners share it.
pub struct Gate {}

/// Why a visitor is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Turned {
    /// The address failed too many logins; what is left of its ban.
    #[error("banned for another {0:?}")]
    Banned(Duration),
    /// [`Limits::per_address`].
    #[error("too many connections from this address")]
    PerAddress,
    /// [`Limits::total`] or [`Limits::unauthenticated`].
    #[error("too many connections")]
    Total,
    /// [`Limits::per_user`].
    #[error("too many sessions of this user")]
    PerUser,
}

/// One admitted connection; dropped, it is counted out.
pub struct Admission {
    _private: (),
}

impl Gate {
    /// Nobody is in yet.
    #[must_use]
    pub fn new(_limits: Limits) -> Arc<Self> {
        Arc::new(Self {})
    }

    /// Other numbers for those who come from now on.
    pub fn set_limits(&self, _limits: Limits) {}

    /// Counts a connection in.
    ///
    /// # Errors
    /// [`Turned`] says why not.
    pub fn admit(self: &Arc<Self>, _peer: IpAddr) -> Result<Admission, Turned> {
        Ok(Admission { _private: () })
    }

    /// Connections now counted in.
    #[must_use]
    pub fn connections(&self) -> u32 {
        0
    }
}

impl Admission {
    /// Notes a failed login and tells how long to wait before the reply: growing with each failure of the
    /// address, a few seconds at most.
    pub fn failed_login(&self) -> Duration {
        Duration::ZERO
    }

    /// Counts the visitor among the sessions of `account`; the address's score is forgiven.
    ///
    /// # Errors
    /// [`Turned::PerUser`].
    pub fn logged_in(&mut self, _account: &Arc<Account>) -> Result<(), Turned> {
        Ok(())
    }

    /// The visitor is logged out (REIN) but stays connected.
    pub fn logged_out(&mut self) {}
}
