//! One SSH connection: it is admitted, has a deadline for everything, and ends when nobody needs it any more.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::server::{Config, RunningSession, run_stream};
use russh::{Disconnect, MethodKind, MethodSet, Preferred, SshId, cipher, compression};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tracing::{Instrument, Span, debug, info, info_span};

use super::host_keys::HostKeys;
use super::visitor::{Progress, Visitor};
use crate::config::Ssh;
use crate::ftp::switchboard::{Caller, PlaceId};
use crate::service::{Service, Waiting};

/// How long a client may take to end after it was told to.
const PARTING: Duration = Duration::from_secs(2);

/// Failed attempts to prove something, whatever the method: agents offer one key after the other.
const ATTEMPTS: usize = 16;

/// What SSH is told of this server.
pub(crate) fn ssh(keys: &HostKeys) -> Arc<Config> {
    let mut methods = MethodSet::empty();
    methods.push(MethodKind::PublicKey);
    methods.push(MethodKind::Password);
    Arc::new(Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Pasarela")),
        methods,
        // Delays are those of the limits, which grow.
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: keys.keys(),
        preferred: preferred(),
        max_auth_attempts: ATTEMPTS,
        // Deadlines are this room's own.
        inactivity_timeout: None,
        nodelay: true,
        ..Config::default()
    })
}

/// No SHA-1 and no compression, which an attacker before the login could bring to grow without end.
fn preferred() -> Preferred {
    Preferred {
        key: Cow::Borrowed(&[
            Algorithm::Ed25519,
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP256,
            },
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP384,
            },
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP521,
            },
            Algorithm::Rsa {
                hash: Some(HashAlg::Sha512),
            },
            Algorithm::Rsa {
                hash: Some(HashAlg::Sha256),
            },
        ]),
        cipher: Cow::Borrowed(&[
            cipher::CHACHA20_POLY1305,
            cipher::AES_256_GCM,
            cipher::AES_128_GCM,
            cipher::AES_256_CTR,
            cipher::AES_192_CTR,
            cipher::AES_128_CTR,
        ]),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::DEFAULT
    }
}

/// Serves one connection until its end.
pub(crate) async fn serve(service: Arc<Service>, place: PlaceId, caller: Caller, stream: TcpStream) {
    let id = service.next_connection();
    let span = info_span!("session", id, protocol = "sftp", peer = %caller.peer);
    let dials_back = caller.through.is_none() && service.settings().reach.dials_back(caller.peer.ip());
    if dials_back
        && let Ok(switchboard) = service.switchboard()
        && let Ok(listening) = switchboard.local_addr(place)
    {
        service.settings().reach.relay_came(listening.port());
    }
    async move {
        let began = Instant::now();
        match admitted(&service, id, caller, stream).await {
            Ok(()) if dials_back => debug!(elapsed = ?began.elapsed(), "a relay has dialled back"),
            Ok(()) => info!(elapsed = ?began.elapsed(), "ended"),
            Err(error) => debug!(%error, elapsed = ?began.elapsed(), "ended"),
        }
    }
    .instrument(span)
    .await;
}

async fn admitted(
    service: &Arc<Service>,
    id: u64,
    caller: Caller,
    stream: TcpStream,
) -> Result<(), russh::Error> {
    let settings = service.settings();
    let peer = SocketAddr::new(caller.peer.ip().to_canonical(), caller.peer.port());
    let admission = match service.gate().admit(peer.ip()) {
        Ok(admission) => admission,
        Err(turned) => {
            info!(%turned, "turned away");
            return Ok(());
        }
    };
    if admission.crowds() && !service.evict() {
        info!("turned away: too many connections");
        return Ok(());
    }
    let Some(Ssh(config)) = settings.ssh.clone() else {
        return Ok(());
    };
    let evicted = service.note_unauthenticated(id);
    let local = stream.local_addr()?;
    if caller.through.is_none() {
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        settings.reach.peer_came(local, peer.ip());
    }
    let login = Instant::now() + settings.limits.login;
    let idle = settings.limits.idle;
    let progress = Arc::new(watch::Sender::new(Progress::default()));
    let visitor = Visitor {
        service: Arc::clone(service),
        settings,
        admission: Arc::new(Mutex::new(admission)),
        peer,
        progress: Arc::clone(&progress),
        session: None,
        channels: HashMap::new(),
        wrong: 0,
        span: Span::current(),
    };
    let stop = CancellationToken::new();
    // Whatever ends this task ends the connection with it.
    let _stops = stop.clone().drop_guard();
    let line = Line {
        stream,
        stopped: Box::pin(stop.cancelled_owned()),
    };
    let begun = tokio::select! {
        begun = timeout_at(login, run_stream(config, line, visitor)) => begun,
        () = evicted.notified() => {
            info!("evicted: it was not logged in, and others need its room");
            return Ok(());
        }
    };
    let Ok(session) = begun else {
        info!("it did not log in in time");
        return Ok(());
    };
    let ending = Ending {
        login,
        idle,
        evicted,
        progress: progress.subscribe(),
    };
    ending.wait(service, session?).await
}

/// What ends a connection.
struct Ending {
    login: Instant,
    idle: Duration,
    evicted: Waiting,
    progress: watch::Receiver<Progress>,
}

impl Ending {
    async fn wait(
        mut self,
        service: &Service,
        mut session: RunningSession<Visitor>,
    ) -> Result<(), russh::Error> {
        let mut draining = false;
        let why = loop {
            let Progress { logged_in, serving } = *self.progress.borrow_and_update();
            if logged_in {
                self.evicted.forget();
            }
            if draining && serving == 0 {
                break "the server is stopping";
            }
            // A session that is served has its own deadlines.
            let due = match (logged_in, serving) {
                (false, _) => Some(self.login),
                (true, 0) => Instant::now().checked_add(self.idle),
                (true, _) => None,
            };
            tokio::select! {
                ended = &mut session => return ended,
                changed = self.progress.changed() => if changed.is_err() {
                    // The visitor is gone, and the session about to end.
                    return session.await;
                },
                () = sleep_until(due.unwrap_or(self.login)), if due.is_some() => break match logged_in {
                    true => "nothing was asked for",
                    false => "no login in time",
                },
                () = self.evicted.notified(), if !logged_in => break "others need the room",
                () = service.draining(), if !draining => draining = true,
            }
        };
        info!(why, "told to end");
        let handle = session.handle();
        let parting = async {
            let told = handle.disconnect(Disconnect::ByApplication, why.to_owned(), String::new());
            // Where it cannot be told any more, it has ended.
            let _ = told.await;
            let _ = session.await;
        };
        let _ = timeout(PARTING, parting).await;
        Ok(())
    }
}

/// A stream that breaks when it is told to.
struct Line {
    stream: TcpStream,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Line {
    fn poll_stopped(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.stopped.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_stopped(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_stopped(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_stopped(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
