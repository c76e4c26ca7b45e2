//! The sessions of one place: opened as they are needed, shared where there may be no more of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::connection::{Connection, NoSession};
use super::login::Typed;
use super::session::Session;
use super::site::SftpSite;
use super::status;
use crate::{Failure, FailureKind};

/// What the sessions of a place share.
pub(super) struct Pool {
    /// `None`: there is one session, and no way to another.
    pub(super) site: Option<SftpSite>,
    typed: Typed,
    /// Whoever makes a connection or a session, one at a time.
    making: Semaphore,
    held: Mutex<Held>,
    /// How many sessions the server takes, as far as is known.
    limit: AtomicUsize,
}

#[derive(Default)]
struct Held {
    connection: Option<Arc<Connection>>,
    sessions: Vec<Arc<Session>>,
    home: Option<Vec<u8>>,
    is_closed: bool,
}

/// A session in use by an operation or an open file.
pub(super) struct Lease {
    session: Arc<Session>,
}

impl Pool {
    /// For a site, or for so many sessions as are taken in.
    pub(super) fn new(site: Option<SftpSite>, sessions: usize) -> Arc<Self> {
        let parallel = site.as_ref().map_or(sessions, |site| site.options.parallel);
        Arc::new(Self {
            typed: Typed::default(),
            making: Semaphore::new(1),
            held: Mutex::default(),
            limit: AtomicUsize::new(parallel.max(1)),
            site,
        })
    }

    /// Adds a session.
    pub(super) fn take_in(&self, session: Arc<Session>) -> Result<Lease, Failure> {
        let mut held = self.held();
        if held.is_closed {
            return Err(closed());
        }
        held.sessions.push(Arc::clone(&session));
        Ok(Lease::new(session))
    }

    /// A session that works, or why there is none: one that nobody uses, else a new one, else the one with the fewest
    /// users.
    pub(super) async fn lease(&self) -> Result<Lease, Failure> {
        let free = |most_users: usize| self.held().lease(most_users);
        if let Some(lease) = free(0)? {
            return Ok(lease);
        }
        let _making = self.making.acquire().await.map_err(|_| closed())?;
        if let Some(lease) = free(0)? {
            return Ok(lease);
        }
        if self.held().sessions.len() >= self.limit.load(Ordering::Relaxed)
            && let Some(lease) = free(usize::MAX)?
        {
            return Ok(lease);
        }
        let connection = self.connection().await?;
        match connection.session().await {
            Ok(session) => self.take_in(Arc::new(session)),
            Err(NoSession::Full(failure)) => {
                let sessions = self.held().sessions.len();
                tracing::info!(sessions, %failure, "the server takes no more sessions on a connection");
                self.limit.store(sessions.max(1), Ordering::Relaxed);
                free(usize::MAX)?.ok_or(failure)
            }
            Err(NoSession::Failed(failure)) => Err(failure),
        }
    }

    async fn connection(&self) -> Result<Arc<Connection>, Failure> {
        let known = self.held().connection.clone();
        if let Some(connection) = known.filter(|connection| !connection.is_closed()) {
            return Ok(connection);
        }
        let Some(site) = &self.site else {
            return Err(Failure::new(FailureKind::Lost, "the session has ended"));
        };
        let connection = Arc::new(Connection::open(site, &self.typed).await?);
        let mut held = self.held();
        if held.is_closed {
            return Err(closed());
        }
        held.connection = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// The directory after login; connects.
    pub(super) async fn home(&self) -> Result<Vec<u8>, Failure> {
        let known = self.held().home.clone();
        if let Some(home) = known {
            return Ok(home);
        }
        let lease = self.lease().await?;
        let home = real_path(lease.session(), b".").await?;
        self.held().home = Some(home.clone());
        Ok(home)
    }

    /// A session that exists already.
    pub(super) fn known(&self) -> Option<Arc<Session>> {
        self.held().sessions.first().cloned()
    }

    /// What the server that is connected to is.
    pub(super) fn seen(&self) -> Option<super::connection::Seen> {
        let held = self.held();
        held.connection
            .as_ref()
            .map(|connection| connection.seen().clone())
    }

    /// Ends everything and opens nothing more.
    pub(super) async fn close(&self) {
        let connection = {
            let mut held = self.held();
            held.is_closed = true;
            held.sessions.clear();
            held.connection.take()
        };
        if let Some(connection) = connection {
            connection.close().await;
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing in here panics half-way through a change.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The session with the fewest users, at most so many.
    fn lease(&mut self, most_users: usize) -> Result<Option<Lease>, Failure> {
        if self.is_closed {
            return Err(closed());
        }
        self.sessions.retain(|session| !session.is_closed());
        let users = |session: &&Arc<Session>| session.users().load(Ordering::Relaxed);
        let least = self.sessions.iter().min_by_key(users);
        Ok(least
            .filter(|session| users(session) <= most_users)
            .map(|session| Lease::new(Arc::clone(session))))
    }
}

fn closed() -> Failure {
    Failure::new(FailureKind::Usage, "this place has been closed")
}

/// REALPATH (filexfer-02 §6.11).
pub(super) async fn real_path(session: &Session, path: &'static [u8]) -> Result<Vec<u8>, Failure> {
    use pasarela_sftp_proto::{Request, Response};
    let request = Request::RealPath { path: path.into() };
    match session.ask(&request).await? {
        Response::Names(names) if !names.is_empty() => Ok(names[0].name.to_vec()),
        other => Err(status::misplaced("tell the folder after login", &other)),
    }
}

impl Lease {
    /// Uses a session.
    pub(super) fn new(session: Arc<Session>) -> Self {
        session.users().fetch_add(1, Ordering::Relaxed);
        Self { session }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.session.users().fetch_sub(1, Ordering::Relaxed);
    }
}
