//! How many and how long: caps per address, per user and in total, deadlines, and bans for guessing.

mod scores;

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Account;
use scores::{Network, Scores};

/// The numbers. Addresses count by IPv4 address and by IPv6 /64.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once from one address.
    pub per_address: u32,
    /// Sessions at once of one user.
    pub per_user: u32,
    /// Connections at once in all.
    pub total: u32,
    /// Connections at once that are not logged in; one more crowds out the oldest.
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
    /// Failed logins within `ban_window` that lead to a ban; 0 means that nobody is banned.
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
pub struct Gate(Mutex<State>);

struct State {
    limits: Limits,
    total: u32,
    unauthenticated: u32,
    by_network: Counts<Network>,
    by_user: Counts<String>,
    scores: Scores,
}

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
    /// [`Limits::total`], or [`Limits::unauthenticated`] with nobody left to go.
    #[error("too many connections")]
    Total,
    /// [`Limits::per_user`].
    #[error("too many sessions of this user")]
    PerUser,
}

/// One admitted connection; dropped, it is counted out.
pub struct Admission {
    gate: Arc<Gate>,
    crowds: bool,
    network: Network,
    user: Option<Arc<Account>>,
}

impl Gate {
    /// Nobody is in yet.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            limits,
            total: 0,
            unauthenticated: 0,
            by_network: Counts::default(),
            by_user: Counts::default(),
            scores: Scores::default(),
        })))
    }

    /// Other numbers for those who come from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.state().limits = limits;
    }

    /// Counts a connection in.
    ///
    /// # Errors
    /// [`Turned`] says why not.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<Admission, Turned> {
        let network = Network::from(peer);
        let mut state = self.state();
        if let Some(left) = state.scores.ban_left(network, Instant::now()) {
            return Err(Turned::Banned(left));
        }
        if state.by_network.of(&network) >= state.limits.per_address {
            return Err(Turned::PerAddress);
        }
        let unauthenticated = state.limits.unauthenticated;
        // Twice the number only while those who have to go are not gone yet.
        if state.total >= state.limits.total || state.unauthenticated >= unauthenticated.saturating_mul(2) {
            return Err(Turned::Total);
        }
        state.total += 1;
        state.unauthenticated += 1;
        state.by_network.one_in(network);
        Ok(Admission {
            crowds: state.unauthenticated > unauthenticated,
            gate: self.clone(),
            network,
            user: None,
        })
    }

    /// Connections now counted in.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.state().total
    }

    /// Notes a failed login of `peer` and tells how long to wait before the reply: growing with each failure of
    /// the address, five seconds at most.
    pub fn failed(&self, peer: IpAddr) -> Duration {
        let state = &mut *self.state();
        state.scores.failed(peer.into(), Instant::now(), &state.limits)
    }

    /// Whether `peer` is banned just now.
    #[must_use]
    pub fn is_banned(&self, peer: IpAddr) -> bool {
        self.state()
            .scores
            .ban_left(peer.into(), Instant::now())
            .is_some()
    }

    /// The bans that last, with what is left of each, to be kept over a restart. An IPv6 address stands for
    /// its /64.
    #[must_use]
    pub fn bans(&self) -> Vec<(IpAddr, Duration)> {
        self.state().scores.bans(Instant::now())
    }

    /// Bans again whom [`Self::bans`] told, none for longer than [`Limits::ban_for`].
    pub fn restore(&self, bans: impl IntoIterator<Item = (IpAddr, Duration)>) {
        let state = &mut *self.state();
        for (peer, left) in bans {
            state.scores.ban(
                peer.into(),
                Instant::now(),
                left.min(state.limits.ban_for),
                &state.limits,
            );
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission {
    /// Whether there were [`Limits::unauthenticated`] already when this one came: the oldest that is not logged in
    /// has to go for it.
    #[must_use]
    pub fn crowds(&self) -> bool {
        self.crowds
    }

    /// Notes a failed login and tells how long to wait before the reply; see [`Gate::failed`].
    pub fn failed_login(&self) -> Duration {
        self.gate.failed(self.network.0)
    }

    /// Whether the visitor's address was banned since it was admitted; asked before a password is checked, it
    /// keeps connections that were open before the ban from guessing on.
    #[must_use]
    pub fn is_banned(&self) -> bool {
        self.gate.is_banned(self.network.0)
    }

    /// A password was right: the failures of the visitor's address are forgiven. An anonymous login proves nothing
    /// and is no reason to.
    pub fn forgive(&self) {
        self.gate.state().scores.forgive(self.network, Instant::now());
    }

    /// Counts the visitor among the sessions of `account` (and no longer of another, nor among those who are not
    /// logged in).
    ///
    /// # Errors
    /// [`Turned::PerUser`]: the visitor is not logged in.
    pub fn logged_in(&mut self, account: &Arc<Account>) -> Result<(), Turned> {
        self.logged_out();
        let mut state = self.gate.state();
        if state.by_user.of(&account.name) >= account.sessions.unwrap_or(state.limits.per_user) {
            return Err(Turned::PerUser);
        }
        state.by_user.one_in(account.name.clone());
        state.unauthenticated -= 1;
        self.user = Some(account.clone());
        Ok(())
    }

    /// The visitor is logged out (REIN) but stays connected.
    pub fn logged_out(&mut self) {
        if let Some(account) = self.user.take() {
            let mut state = self.gate.state();
            state.by_user.one_out(&account.name);
            state.unauthenticated += 1;
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.logged_out();
        let mut state = self.gate.state();
        state.total -= 1;
        state.unauthenticated -= 1;
        state.by_network.one_out(&self.network);
    }
}

/// How many of each; none of it is remembered at zero.
struct Counts<K>(HashMap<K, u32>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Counts<K> {
    fn of(&self, key: &K) -> u32 {
        self.0.get(key).copied().unwrap_or(0)
    }

    fn one_in(&mut self, key: K) {
        *self.0.entry(key).or_default() += 1;
    }

    fn one_out(&mut self, key: &K) {
        if let Some(count) = self.0.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
