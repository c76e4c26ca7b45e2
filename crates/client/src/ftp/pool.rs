//! The control connections of one site: handed out, taken back, and no more than the server takes.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use pasarela_ftp_proto::user_pi::Features;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::data::{Transfer, Way};
use super::login::{self, Connection};
use super::renaming::Renames;
use super::site::Site;
use super::software::Software;
use crate::{Failure, FailureKind};

/// What the connections of a site share.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) site: Site,
    /// A permit a connection that is handed out or being made.
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
    /// Connections that exist, handed out or not.
    open: AtomicUsize,
    /// How many the server takes, as far as is known.
    limit: AtomicUsize,
    /// What the first connection found.
    features: Mutex<Option<Arc<Features>>>,
    /// Who serves, where it says so.
    software: OnceLock<Software>,
    /// The way of data connections that worked last.
    pub(super) way: AtomicU8,
    /// Whether this login may rename: a [`super::renaming::Renames`].
    pub(super) renames: AtomicU8,
    /// The server has refused to take ranges of an upload.
    pub(super) refuses_ranges: AtomicBool,
    /// The server is mean with tickets of TLS 1.3.
    tls12: AtomicBool,
}

/// A connection that is handed out. Dropped: it goes back if it can be used again.
#[derive(Debug)]
pub(super) struct Lease {
    connection: Option<Connection>,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

/// Attempts to get a data connection.
const TRANSFER_ATTEMPTS: u32 = 2;
/// After this long without use, a connection has to prove that it still works.
const STALE: Duration = Duration::from_secs(15);
/// A server that takes fewer connections than we would like frees a place when one of ours ends; until then, waits.
const PLACE_WAIT: Duration = Duration::from_millis(500);

impl Pool {
    pub(super) fn new(site: Site) -> Arc<Self> {
        let parallel = site.options.parallel.max(1);
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(parallel)),
            idle: Mutex::default(),
            open: AtomicUsize::new(0),
            limit: AtomicUsize::new(parallel),
            features: Mutex::default(),
            software: OnceLock::new(),
            way: AtomicU8::new(Way::Unknown as u8),
            renames: AtomicU8::new(Renames::Unknown as u8),
            refuses_ranges: AtomicBool::new(false),
            tls12: AtomicBool::new(false),
            site,
        })
    }

    /// A connection that works, or why there is none. Waits while all are handed out.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, Failure> {
        loop {
            let closed = |_| Failure::new(FailureKind::Usage, "this place has been closed");
            let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(closed)?;
            while let Some(mut connection) = self.take_idle() {
                if connection.tls.as_ref().is_some_and(|tls| tls.is_spent()) {
                    tracing::debug!("no TLS session is left to resume; connecting anew, with TLS 1.2");
                    self.tls12.store(true, Ordering::Relaxed);
                    self.gone();
                    connection.control.quit().await;
                    continue;
                }
                if self.is_alive(&mut connection).await {
                    return Ok(self.hand_out(connection, permit));
                }
                self.gone();
            }
            self.open.fetch_add(1, Ordering::Relaxed);
            let counted = Counted(self);
            let tls12 = self.tls12.load(Ordering::Relaxed);
            match login::open(&self.site, tls12).await {
                Ok(connection) => {
                    std::mem::forget(counted);
                    self.software.get_or_init(|| connection.software);
                    self.features()
                        .get_or_insert_with(|| Arc::clone(&connection.features));
                    return Ok(self.hand_out(connection, permit));
                }
                Err(failure) if is_too_many(&failure) => {
                    drop(counted);
                    let others = self.open.load(Ordering::Relaxed);
                    if others == 0 {
                        return Err(
                            failure.hint("the server takes no more connections from this user or address")
                        );
                    }
                    self.shrink(permit, &failure);
                    tokio::time::sleep(PLACE_WAIT).await;
                }
                // A server without TLS 1.2; then it is a connection for every few transfers.
                Err(failure) if tls12 && failure.kind == FailureKind::Tls => {
                    self.tls12.store(false, Ordering::Relaxed);
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Begins a transfer on a connection of its own, in the folder `within` where there is one. A data connection that
    /// did not come about is tried for again, as servers that have just closed one may stumble over the next.
    pub(super) async fn transfer(
        self: &Arc<Self>,
        within: Option<&[u8]>,
        restart: Option<u64>,
        command: &[u8],
        doing: &str,
    ) -> Result<(Lease, Transfer), Failure> {
        let mut attempt = 1;
        loop {
            let mut lease = self.lease().await?;
            let connection = lease.connection()?;
            if let Some(folder) = within {
                let entered = connection.control.command("CWD", folder).await?;
                if !entered.is_done() {
                    return Err(Failure::refused("enter the folder", entered));
                }
            }
            match connection.transfer(self, restart, command.to_vec(), doing).await {
                Ok(transfer) => return Ok((lease, transfer)),
                Err(failure) => {
                    if failure.reply.is_none() {
                        lease.discard();
                    }
                    let may_pass =
                        matches!(failure.kind, FailureKind::Data | FailureKind::Tls) && !failure.is_lasting;
                    if !may_pass || attempt == TRANSFER_ATTEMPTS {
                        return Err(failure);
                    }
                    tracing::debug!(%failure, "the data connection failed; trying again");
                    attempt += 1;
                }
            }
        }
    }

    /// What the server can do; connects if nobody has yet.
    pub(super) async fn survey(self: &Arc<Self>) -> Result<Arc<Features>, Failure> {
        let known = self.features().clone();
        match known {
            Some(features) => Ok(features),
            None => Ok(Arc::clone(&self.lease().await?.connection()?.features)),
        }
    }

    /// What the server can do, where that is known.
    pub(super) fn known_features(&self) -> Option<Arc<Features>> {
        self.features().clone()
    }

    /// Who serves, where that is known.
    pub(super) fn software(&self) -> Software {
        self.software.get().copied().unwrap_or(Software::Other)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Ends the idle connections and hands out no more.
    pub(super) async fn close(&self) {
        self.permits.close();
        while let Some(connection) = self.take_idle() {
            self.gone();
            connection.control.quit().await;
        }
    }

    /// The permit is not given back: one connection fewer from now on, and at least one.
    fn shrink(&self, permit: OwnedSemaphorePermit, failure: &Failure) {
        let fewer = |limit: usize| (limit > 1).then(|| limit - 1);
        let shrunk = self
            .limit
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
        if shrunk.is_ok() {
            permit.forget();
            tracing::info!(limit = self.limit(), %failure, "the server takes fewer connections");
        }
    }

    fn hand_out(self: &Arc<Self>, connection: Connection, permit: OwnedSemaphorePermit) -> Lease {
        Lease {
            connection: Some(connection),
            pool: Arc::clone(self),
            _permit: permit,
        }
    }

    async fn is_alive(&self, connection: &mut Connection) -> bool {
        if !connection.control.is_usable() {
            return false;
        }
        (connection.used.elapsed() < STALE && !connection.control.has_unread())
            || connection
                .control
                .command("NOOP", b"")
                .await
                .is_ok_and(|reply| reply.code != 421)
    }

    fn take_idle(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn features(&self) -> MutexGuard<'_, Option<Arc<Features>>> {
        self.features.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gone(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that is being made; dropped when that failed or nobody waits for it any more.
struct Counted<'a>(&'a Pool);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.gone();
    }
}

/// Servers say it with 421 at the greeting, or with 530 at the login; words have to tell it from a wrong password.
fn is_too_many(failure: &Failure) -> bool {
    failure.reply.as_ref().is_some_and(|reply| {
        let text = reply.to_string().to_ascii_lowercase();
        reply.code == 421
            || reply.code == 530
                && ["too many", "maximum", "limit", "connections"]
                    .iter()
                    .any(|w| text.contains(w))
    })
}

impl Lease {
    pub(super) fn connection(&mut self) -> Result<&mut Connection, Failure> {
        self.connection
            .as_mut()
            .ok_or_else(|| Failure::new(FailureKind::Lost, "the connection is gone"))
    }

    /// Ends the connection instead of giving it back.
    pub(super) fn discard(&mut self) {
        if self.connection.take().is_some() {
            self.pool.gone();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        if connection.control.is_usable() && !self.pool.permits.is_closed() {
            connection.used = Instant::now();
            let idle = &self.pool.idle;
            idle.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
        } else {
            self.pool.gone();
        }
    }
}
