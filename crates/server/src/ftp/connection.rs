//! One control connection: its task owns stream, server-PI, session and endpoint, and moves bytes between them.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pasarela_ftp_proto::server_pi::{Ask, Output, Pending, Profile, Refusal, ServerPi, TlsPolicy};
use pasarela_session::limits::Turned;
use pasarela_session::{Account, Session};
use pasarela_store::VirtualPath;
use pasarela_tls::{Stream, Tag};
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tracing::{Instrument, debug, info, info_span};

use super::chore::{self, Chore, Context, DataEndpoint, Keep, Kept, Outcome};
use super::switchboard::{Caller, Control, PlaceId, Visitor};
use crate::config::TlsMode;
use crate::service::{Service, Waiting};
use crate::sockets;

/// How long a client may take to accept a reply.
const REPLY_PATIENCE: Duration = Duration::from_secs(30);
/// Bytes read from the control connection at once.
const READ: usize = 4096;

/// The bytes of a control connection.
enum Line {
    Plain(TcpStream),
    Protected(Box<Stream>),
}

impl Line {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Protected(stream) => stream.tcp(),
        }
    }

    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            // Not `AsyncRead`: a read that ends at the urgent mark is short although more is there, which tokio
            // takes for a drained socket.
            Self::Plain(stream) => {
                stream
                    .async_io(Interest::READABLE, || {
                        Ok(recv(&*stream, &mut *buffer, RecvFlags::empty())?.0)
                    })
                    .await
            }
            Self::Protected(stream) => stream.read(buffer).await,
        }
    }

    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Protected(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Protected(stream) => stream.shutdown().await,
        }
    }

    /// Waits for the client's end before the socket is closed, so that nothing it still sends (its own close_notify)
    /// turns into a reset that eats the last reply, or that a relay has to pass on. Where too many wait already it is
    /// closed at once.
    async fn part(mut self, patience: Duration) {
        let Ok(_place) = PARTING.try_acquire() else { return };
        let mut rest = [0; 256];
        let end = async { while matches!(self.read(&mut rest).await, Ok(1..)) {} };
        let _ = tokio::time::timeout(patience, end).await;
    }
}

/// How long a client may take to end after the server has.
const PARTING_PATIENCE: Duration = Duration::from_secs(2);
/// Clients that are waited for at a time. They count as no session any more.
static PARTING: Semaphore = Semaphore::const_new(64);

/// Serves one control connection until its end.
pub(crate) async fn serve(service: Arc<Service>, place: PlaceId, caller: Caller, control: Control) {
    let id = service.next_connection();
    let protocol = if is_implicit(&service, place, &control) {
        "ftps"
    } else {
        "ftp"
    };
    let span = info_span!("session", id, protocol, peer = %caller.peer);
    let dials_back = caller.through.is_none() && service.settings().reach.dials_back(caller.peer.ip());
    if dials_back
        && let Ok(switchboard) = service.switchboard()
        && let Ok(listening) = switchboard.local_addr(place)
    {
        service.settings().reach.relay_came(listening.port());
    }
    async move {
        let began = Instant::now();
        match admitted(&service, id, place, caller, control).await {
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
    place: PlaceId,
    caller: Caller,
    control: Control,
) -> io::Result<()> {
    let settings = service.settings();
    let Caller { peer, through } = caller;
    let implicit = is_implicit(service, place, &control);
    let admission = match service.gate().admit(peer.ip()) {
        Ok(admission) => admission,
        Err(turned) => return turn_away(control, implicit, turned).await,
    };
    if admission.crowds() && !service.evict() {
        return turn_away(control, implicit, Turned::Total).await;
    }
    let evicted = service.note_unauthenticated(id);
    let (line, tag) = match control {
        Control::Protected(stream, issued) => (Line::Protected(stream), Some(issued)),
        Control::Plain(stream) | Control::Hello(stream) | Control::Ssh(stream) if implicit => {
            let Some(tls) = &settings.tls else { return Ok(()) };
            let handshake = tokio::time::timeout(settings.limits.tls_handshake, tls.accept_control(stream));
            let accepted = tokio::select! {
                accepted = handshake => accepted??,
                () = evicted.notified() => {
                    info!("evicted in its handshake");
                    return Ok(());
                }
            };
            (Line::Protected(Box::new(accepted.stream)), Some(accepted.issued))
        }
        Control::Plain(stream) | Control::Hello(stream) | Control::Ssh(stream) => (Line::Plain(stream), None),
    };
    let local = line.tcp().local_addr()?;
    let port = match through {
        None => local.port(),
        // This end of it is a connection of our own to the relay, and its port nobody's business.
        Some(_) => {
            let switchboard = service
                .switchboard()
                .map_err(|_| io::Error::from(io::ErrorKind::NotConnected))?;
            switchboard.local_addr(place)?.port()
        }
    };
    let local = SocketAddr::new(local.ip().to_canonical(), port);
    if through.is_none() {
        settings.reach.peer_came(local, peer.ip().to_canonical());
    }
    let profile = Profile {
        greeting: settings.greeting.clone(),
        peer: peer.ip().to_canonical(),
        tls: match settings.tls_mode {
            _ if settings.tls.is_none() => TlsPolicy::Off,
            TlsMode::Off => TlsPolicy::Off,
            TlsMode::Optional => TlsPolicy::Optional,
            TlsMode::Required => TlsPolicy::Required,
        },
        implicit,
        active: settings.active,
        login_deadline: settings.limits.login,
        idle_timeout: settings.limits.idle,
        host_names: settings.host_names.clone(),
        open_names: settings.users.open_names(),
        tells_commands: tracing::enabled!(tracing::Level::DEBUG),
    };
    let context = Context {
        service: Arc::clone(service),
        settings,
        admission: Arc::new(Mutex::new(admission)),
        lingering: Arc::default(),
        peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
        local,
        through,
        place,
        tag: None,
        session: None,
        cwd: VirtualPath::root(),
    };
    let mut connection = Connection {
        evicted,
        line: Some(line),
        pi: ServerPi::new(Instant::now(), profile),
        context,
        chore: None,
        kept: Kept::default(),
        announcing: false,
        closing: false,
    };
    if let Some(issued) = tag {
        connection.protected_by(issued);
    }
    connection.run().await
}

/// Whether TLS came first, or has to.
fn is_implicit(service: &Service, place: PlaceId, control: &Control) -> bool {
    matches!(control, Control::Protected(..) | Control::Hello(_)) || service.is_implicit(place)
}

/// Says why and hangs up. On an implicit port there is no way to say it that is worth a handshake.
async fn turn_away(control: Control, implicit: bool, turned: Turned) -> io::Result<()> {
    info!(%turned, "turned away");
    if let (Control::Plain(mut stream), false) = (control, implicit) {
        let reply = format!("421 Not now: {turned}.\r\n");
        tokio::time::timeout(Duration::from_secs(1), stream.write_all(reply.as_bytes())).await??;
        stream.shutdown().await?;
    }
    Ok(())
}

struct Connection {
    /// Tells it to make room, as long as it is not logged in.
    evicted: Waiting,
    /// `None` only while a handshake has it, and after one that failed.
    line: Option<Line>,
    pi: ServerPi,
    context: Context,
    chore: Option<Chore>,
    kept: Kept,
    /// The endpoint that is kept has not been told to the client yet.
    announcing: bool,
    closing: bool,
}

/// What woke the connection up.
enum Event {
    Outcome(Outcome),
    Input(usize),
    Timeout,
    Drain,
    Evicted,
}

impl Connection {
    async fn run(mut self) -> io::Result<()> {
        let service = Arc::clone(&self.context.service);
        let mut draining = false;
        let mut buffer = vec![0; READ];
        loop {
            self.carry_out().await?;
            if self.closing {
                let line = self.line.take();
                drop(self);
                if let Some(line) = line {
                    line.part(PARTING_PATIENCE).await;
                }
                return Ok(());
            }
            let Some(line) = &mut self.line else { return Ok(()) };
            let wants_input = self.pi.wants_input();
            let due = self.pi.poll_timeout();
            // Input comes last: a client that never stops talking does not talk the deadlines away.
            let event = tokio::select! {
                biased;
                outcome = poll_chore(&mut self.chore), if self.chore.is_some() => Event::Outcome(outcome),
                () = service.draining(), if !draining => Event::Drain,
                () = self.evicted.notified(), if self.context.session.is_none() => Event::Evicted,
                () = sleep_until(due), if due.is_some() => Event::Timeout,
                read = line.read(&mut buffer), if wants_input => match read {
                    Ok(count) => Event::Input(count),
                    // Peers that end without close_notify are common on control connections, and a reset is an
                    // end as well.
                    Err(_) => Event::Input(0),
                },
            };
            let now = Instant::now();
            match event {
                Event::Outcome(outcome) => {
                    self.chore = None;
                    self.keep(now, outcome);
                }
                Event::Input(0) => self.pi.handle_end_of_input(now),
                Event::Input(count) => self.pi.handle_input(now, &buffer[..count]),
                Event::Timeout => self.pi.handle_timeout(now),
                Event::Drain => {
                    draining = true;
                    self.pi.shut_down(now);
                }
                Event::Evicted => {
                    info!("evicted: it was not logged in, and others need its room");
                    return Ok(());
                }
            }
        }
    }

    /// Does what the server-PI puts out, in its order.
    async fn carry_out(&mut self) -> io::Result<()> {
        while let Some(output) = self.pi.poll_output() {
            match output {
                Output::Heard(command) => debug!(command),
                Output::Send(bytes) => self.send(&bytes).await?,
                Output::Ask(Ask::StartTls(slip)) => self.start_tls(slip).await,
                Output::Ask(ask) => self.chore = self.context.start(ask, &mut self.kept),
                Output::Abort => {
                    self.chore = None;
                    self.kept.prepared = None;
                    self.kept.endpoint = None;
                }
                Output::Release => self.kept.endpoint = None,
                Output::Logout => self.log_out(),
                Output::Close => {
                    self.closing = true;
                    if let Some(line) = &mut self.line {
                        let _ = tokio::time::timeout(REPLY_PATIENCE, line.shutdown()).await;
                    }
                }
            }
        }
        Ok(())
    }

    /// An endpoint is announced before its reply is written: on a short path the answer comes before the write has
    /// returned.
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if std::mem::take(&mut self.announcing)
            && let (Some(DataEndpoint::Passive(endpoint)), Some(line)) = (&self.kept.endpoint, &self.line)
        {
            endpoint.announced(sockets::least_round_trip(line.tcp()));
        }
        debug!(reply = %bytes[..bytes.len().min(200)].escape_ascii());
        let Some(line) = &mut self.line else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let mut until = Instant::now() + REPLY_PATIENCE;
        if self.context.session.is_none() {
            until = self.pi.poll_timeout().map_or(until, |due| until.min(due));
        }
        let sent = tokio::time::timeout_at(until.into(), line.write_all(bytes));
        tokio::select! {
            biased;
            sent = sent => sent?,
            () = self.evicted.notified(), if self.context.session.is_none() => {
                Err(io::Error::other("evicted while it read no reply"))
            }
        }
    }

    fn keep(&mut self, now: Instant, outcome: Outcome) {
        let (answered, keep) = match outcome {
            Outcome::Answer(answered, keep) => (answered, keep),
            Outcome::Publish(publish) => return self.publish(now, publish),
        };
        match keep {
            Keep::Nothing => {}
            Keep::Login(account) => self.log_in(account),
            Keep::Directory(path) => self.context.cwd = path,
            Keep::Endpoint(endpoint) => {
                self.kept.endpoint = Some(endpoint);
                self.announcing = true;
            }
            Keep::Returned(endpoint) => self.kept.endpoint = endpoint,
            Keep::Prepared(prepared) => self.kept.prepared = Some(prepared),
            Keep::Listing(lines) => self.kept.listing = Some(lines),
        }
        self.pi.handle_answer(now, answered);
    }

    /// The publish promise: only while the client is there to hear of it. A client that is gone gets its part kept
    /// as a part, however whole it looks from here.
    fn publish(&mut self, now: Instant, publish: chore::Publish) {
        let is_there = self
            .line
            .as_ref()
            .is_some_and(|line| sockets::is_open(line.tcp()));
        if is_there {
            self.pi.publishing();
            self.chore = Some(Box::pin(chore::publish(publish)));
        } else {
            // Also behind a QUIT: whether the client had sent everything when it went, nobody can tell.
            let answered = publish.refuse();
            self.pi.handle_answer(now, answered);
        }
    }

    async fn start_tls(&mut self, slip: Pending<Result<(), Refusal>>) {
        let (Some(Line::Plain(stream)), Some(tls)) = (self.line.take(), &self.context.settings.tls) else {
            return self
                .pi
                .handle_answer(Instant::now(), slip.answer(Err(Refusal::Local)));
        };
        let patience = self.context.settings.limits.tls_handshake;
        let handshake = tokio::time::timeout(patience, tls.accept_control(stream));
        let accepted = tokio::select! {
            accepted = handshake => accepted,
            () = self.evicted.notified(), if self.context.session.is_none() => {
                // Without a line the connection ends.
                info!("evicted in its handshake");
                return;
            }
        };
        let answer = match accepted {
            Ok(Ok(accepted)) => {
                self.line = Some(Line::Protected(Box::new(accepted.stream)));
                self.protected_by(accepted.issued);
                Ok(())
            }
            Ok(Err(error)) => {
                info!(%error, "handshake failed");
                Err(Refusal::DataTls)
            }
            Err(_) => {
                info!("handshake took too long");
                Err(Refusal::DataTls)
            }
        };
        self.pi.handle_answer(Instant::now(), slip.answer(answer));
    }

    /// From now on the tickets of this tag prove this session.
    fn protected_by(&mut self, issued: Tag) {
        if let Some(tls) = &self.context.settings.tls {
            tls.admit(issued, issued);
            self.context.tag = Some(issued);
        }
    }

    fn log_in(&mut self, account: Arc<Account>) {
        self.evicted.forget();
        if let (Some(tag), Ok(switchboard)) = (self.context.tag, self.context.service.switchboard()) {
            let visitor = Visitor {
                peer: self.context.peer.ip(),
                account: account.name.clone(),
            };
            switchboard.introduce(tag, visitor);
        }
        self.context.session = Some(Session::new(account, Default::default()));
    }

    fn log_out(&mut self) {
        self.dismiss();
        self.context.session = None;
        self.evicted.again();
        self.context.cwd = VirtualPath::root();
        self.kept = Kept::default();
        self.context
            .admission
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .logged_out();
    }
}

impl Connection {
    /// The TLS session proves nobody any more.
    fn dismiss(&self) {
        if let (Some(tag), Ok(switchboard)) = (self.context.tag, self.context.service.switchboard()) {
            switchboard.dismiss(tag);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.dismiss();
        if let (Some(tls), Some(tag)) = (&self.context.settings.tls, self.context.tag) {
            tls.retire(tag);
        }
    }
}

async fn poll_chore(chore: &mut Option<Chore>) -> Outcome {
    match chore {
        Some(chore) => chore.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_client_still_says_when_it_parts_is_no_reason_to_reset_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut line = Line::Plain(listener.accept().await.unwrap().0);
        line.write_all(b"221 Goodbye.\r\n").await.unwrap();
        line.shutdown().await.unwrap();
        let parting = tokio::spawn(line.part(Duration::from_secs(60)));
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "221 Goodbye.\r\n");
        client.write_all(b"and goodbye to you").await.unwrap();
        client.shutdown().await.unwrap();
        parting.await.unwrap();
        assert!(client.take_error().unwrap().is_none());
        assert!(matches!(client.read(&mut [0]).await, Ok(0)));
    }
}
