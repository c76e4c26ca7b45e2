//! Tags: which handshake issued a ticket, and whose it is.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sixteen random bytes that name one handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(pub [u8; 16]);

impl Tag {
    /// One that nobody has had before.
    ///
    /// # Errors
    /// When the system has no random numbers to give.
    pub fn fresh() -> io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self(bytes))
    }
}

/// Which tags are live, and the TLS 1.2 sessions that were stored under them.
///
/// An owner comes to life by admitting itself; others' tags can then be admitted to it, until it is retired.
#[derive(Debug, Default)]
pub(crate) struct Register(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// Issued tag → owner. An owner's own tag is here as well.
    owners: HashMap<Tag, Tag>,
    /// What each owner holds.
    holdings: HashMap<Tag, Holdings>,
    /// Admitted TLS 1.2 sessions by session id.
    sessions: HashMap<Vec<u8>, Session>,
    /// TLS 1.2 sessions of handshakes that were not admitted (yet), oldest first.
    waiting: VecDeque<(Tag, Vec<u8>, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct Holdings {
    /// Without the owner's own tag, oldest first.
    issued: VecDeque<Tag>,
    /// Keys in `sessions`, oldest first.
    session_ids: VecDeque<Vec<u8>>,
}

#[derive(Debug)]
struct Session {
    owner: Tag,
    state: Vec<u8>,
}

/// Enough for every ticket that a client still keeps; 1.3 clients use the newest, 1.2 clients one of the newest.
const ISSUED_PER_OWNER: usize = 64;
const SESSIONS_PER_OWNER: usize = 4;
/// Between the end of a handshake and its admission there is a moment only, so this is a guard, not a size.
const SESSIONS_WAITING: usize = 1024;

impl Register {
    /// Makes what was issued under `issued` prove `owner`, if the owner lives or is `issued` itself.
    pub(crate) fn admit(&self, issued: Tag, owner: Tag) {
        let entries = &mut *self.entries();
        if entries.owners.contains_key(&issued) {
            return;
        }
        let holdings = if issued == owner {
            entries.holdings.entry(owner).or_default()
        } else if let Some(holdings) = entries.holdings.get_mut(&owner) {
            // The owner's own tag is not in this queue: some clients (GnuTLS, session ids of TLS 1.2) offer the
            // session of the control connection again and again.
            holdings.issued.push_back(issued);
            if holdings.issued.len() > ISSUED_PER_OWNER
                && let Some(oldest) = holdings.issued.pop_front()
            {
                entries.owners.remove(&oldest);
            }
            holdings
        } else {
            return;
        };
        entries.owners.insert(issued, owner);

        let Some(place) = entries.waiting.iter().position(|(tag, ..)| *tag == issued) else {
            return;
        };
        let Some((_, id, state)) = entries.waiting.remove(place) else {
            return;
        };
        holdings.session_ids.push_back(id.clone());
        if holdings.session_ids.len() > SESSIONS_PER_OWNER
            && let Some(oldest) = holdings.session_ids.pop_front()
        {
            entries.sessions.remove(&oldest);
        }
        entries.sessions.insert(id, Session { owner, state });
    }

    /// Forgets an owner and all that it holds.
    pub(crate) fn retire(&self, owner: Tag) {
        let entries = &mut *self.entries();
        let Some(holdings) = entries.holdings.remove(&owner) else {
            return;
        };
        entries.owners.remove(&owner);
        for issued in &holdings.issued {
            entries.owners.remove(issued);
        }
        for id in &holdings.session_ids {
            entries.sessions.remove(id);
        }
    }

    /// Whom a ticket that was issued under `issued` proves.
    pub(crate) fn owner(&self, issued: Tag) -> Option<Tag> {
        self.entries().owners.get(&issued).copied()
    }

    /// Keeps a TLS 1.2 session until its handshake is admitted.
    pub(crate) fn store_session(&self, issued: Tag, id: Vec<u8>, state: Vec<u8>) {
        let waiting = &mut self.entries().waiting;
        if waiting.len() == SESSIONS_WAITING {
            waiting.pop_front();
        }
        waiting.push_back((issued, id, state));
    }

    /// An admitted TLS 1.2 session: whom it proves, and its state.
    pub(crate) fn session(&self, id: &[u8]) -> Option<(Tag, Vec<u8>)> {
        self.entries()
            .sessions
            .get(id)
            .map(|session| (session.owner, session.state.clone()))
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Nothing in here panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
