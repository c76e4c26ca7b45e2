//! Data connections: how one comes about, and the two ends that a transfer has.
//!
//! A data connection goes to the peer of the control connection and nowhere else, whatever a 227 says
//! (CVE-2020-8284); a server at another address cannot be reached this way, and that is meant.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pasarela_ftp_proto::user_pi::{Endpoint, Errand, Form, Outcome, Reply};
use pasarela_tls::ClientTls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::control::{Control, Event, unexpected};
use super::dial::{DataError, Route, dial_data};
use super::login::{Connection, tls_failure};
use super::pool::Pool;
use super::site::Options;
use super::stopwatch::{Phase, Stopwatch};
use super::wire::Wire;
use crate::{Failure, FailureKind};

/// How data connections of a site come about; the last one that worked is asked for first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Way {
    Unknown,
    Extended,
    Plain,
    Active,
}

impl Way {
    fn of(number: u8) -> Self {
        match number {
            1 => Self::Extended,
            2 => Self::Plain,
            3 => Self::Active,
            _ => Self::Unknown,
        }
    }
}

/// A data connection in the making.
pub(super) enum Prospect {
    Connected(TcpStream),
    /// The server is to connect here.
    Expected(TcpListener),
}

/// A transfer that runs: its data connection, and what the control connection has said of it.
#[derive(Debug)]
pub(super) struct Transfer {
    wire: Wire,
    /// The reply that ended it, or why none comes.
    end: Option<Result<Outcome, Failure>>,
    stall: Duration,
    /// How often NOOP is said, and when next; `None`: the server does not answer it now.
    noop: Option<(Duration, Instant)>,
}

/// After the server has said that a transfer failed, the most that its data connection is waited for.
const AFTER_REFUSAL: Duration = Duration::from_secs(3);
/// The most that is waited for the server's goodbye on a data connection that we have ended.
const GOODBYE: Duration = Duration::from_secs(2);
/// A connection that is known to be open already; only a race with the reply is waited for.
const AFTER_REPLY: Duration = Duration::from_millis(250);

impl Connection {
    /// Gives a transfer command and opens its data connection.
    pub(super) async fn transfer(
        &mut self,
        pool: &Pool,
        restart: Option<u64>,
        command: Vec<u8>,
        doing: &str,
    ) -> Result<Transfer, Failure> {
        let options = &pool.site.options;
        let since = Instant::now().into_std();
        let prospect = self.prospect(pool).await?;
        let since = Stopwatch::lap(options.stopwatch.as_ref(), Phase::DataConnection, since);
        let tls = self.tls.clone();
        let mut begun = begin(&mut self.control, prospect, tls, options, restart, command, doing).await?;
        Stopwatch::lap(options.stopwatch.as_ref(), Phase::Begin, since);
        begun.noop = self
            .software
            .answers_noop()
            .then(|| (options.noop_every, Instant::now() + options.noop_every));
        Ok(begun)
    }

    async fn prospect(&mut self, pool: &Pool) -> Result<Prospect, Failure> {
        let options = &pool.site.options;
        let before = Way::of(pool.way.load(Ordering::Relaxed));
        let (way, prospect) = if before == Way::Active {
            (Way::Active, Prospect::Expected(self.active().await?))
        } else {
            match self.passive(before, options).await {
                Ok((way, tcp)) => (way, Prospect::Connected(tcp)),
                Err(failure)
                    if may_be_active(&self.control, options) && failure.kind == FailureKind::Data =>
                {
                    tracing::info!(%failure, "passive mode failed; the server is asked to connect to us");
                    (Way::Active, Prospect::Expected(self.active().await?))
                }
                Err(failure) => {
                    return Err(Failure {
                        // Where data connections came about before, the next one may too.
                        is_lasting: failure.is_lasting && before == Way::Unknown,
                        ..failure
                    });
                }
            }
        };
        pool.way.store(way as u8, Ordering::Relaxed);
        Ok(prospect)
    }

    /// EPSV, and PASV where that is refused, fails, or takes too long; in the other order where PASV worked before.
    async fn passive(&mut self, before: Way, options: &Options) -> Result<(Way, TcpStream), Failure> {
        let control = &mut self.control;
        let (peer, local, route) = (control.peer, control.local, control.route.clone());
        let connect = |endpoint: Endpoint| {
            if let (Route::Direct, Some(told)) = (&route, endpoint.told)
                && IpAddr::V4(told) != peer.ip()
            {
                tracing::debug!(%told, peer = %peer.ip(), "the server announces another address; its own is used");
            }
            let (route, within) = (route.clone(), options.connect_timeout);
            async move {
                let connected = timeout(within, dial_data(&route, local, peer, endpoint.port)).await;
                connected
                    .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
                    .map_err(|error| unreachable_port(peer, endpoint.port, error))
            }
        };
        let (first, other) = match control.may_be_ipv4() {
            true if before == Way::Plain => (Form::Plain, Some(Form::Extended)),
            true => (Form::Extended, Some(Form::Plain)),
            false => (Form::Extended, None),
        };
        let failed = match control.run(Errand::Passive(first)).await? {
            Outcome::Passive(endpoint) => {
                let mut connecting = Box::pin(connect(endpoint));
                let early = tokio::select! {
                    connected = &mut connecting => Some(connected),
                    () = sleep(options.passive_patience), if other.is_some() => None,
                };
                match (early, other) {
                    (Some(Ok(tcp)), _) => return Ok((way(first), tcp)),
                    (Some(Err(failure)), _) => failure,
                    (None, other) => {
                        tracing::debug!(
                            port = endpoint.port,
                            "the data connection takes long; asking in the other way"
                        );
                        // The server forgets its first endpoint when it gives a second one: the first connection
                        // counts only where there will be none, and must not come about beside it.
                        let form = other.unwrap_or(first);
                        let Outcome::Passive(endpoint) = control.run(Errand::Passive(form)).await? else {
                            return connecting.await.map(|tcp| (way(first), tcp));
                        };
                        drop(connecting);
                        return connect(endpoint).await.map(|tcp| (way(form), tcp));
                    }
                }
            }
            Outcome::Refused(reply) => no_passive(reply),
            other => return Err(unexpected(&other)),
        };
        let Some(form) = other else { return Err(failed) };
        tracing::debug!(%failed, "asking in the other way");
        match control.run(Errand::Passive(form)).await? {
            Outcome::Passive(endpoint) => connect(endpoint).await.map(|tcp| (way(form), tcp)),
            Outcome::Refused(reply) => Err(no_passive(reply)),
            other => Err(unexpected(&other)),
        }
    }

    /// PORT or EPRT: the server is to connect to the address that the control connection has here.
    async fn active(&mut self) -> Result<TcpListener, Failure> {
        let local = self.control.local.ip();
        let listening = async {
            let listener = TcpListener::bind((local, 0)).await?;
            let port = listener.local_addr()?.port();
            io::Result::Ok((listener, port))
        };
        let (listener, port) = listening
            .await
            .map_err(|error| Failure::new(FailureKind::Data, format!("no port to listen on: {error}")))?;
        let reply = match local {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                let [high, low] = port.to_be_bytes();
                let argument = format!("{a},{b},{c},{d},{high},{low}");
                self.control.command("PORT", argument.as_bytes()).await?
            }
            IpAddr::V6(address) => {
                let argument = format!("|2|{address}|{port}|");
                self.control.command("EPRT", argument.as_bytes()).await?
            }
        };
        if reply.is_done() {
            Ok(listener)
        } else {
            Err(Failure::refused("connect to us", reply))
        }
    }
}

/// Gives a transfer command for a data connection that is there already, or that the server is to make.
pub(super) async fn begin(
    control: &mut Control,
    prospect: Prospect,
    tls: Option<Arc<ClientTls>>,
    options: &Options,
    restart: Option<u64>,
    command: Vec<u8>,
    doing: &str,
) -> Result<Transfer, Failure> {
    control.begin(Errand::Transfer { restart, command })?;

    // The handshake begins when the command has gone out: servers make theirs when they have heard it. Some make
    // it before they reply and some after.
    let peer = control.peer.ip();
    let connecting = async {
        let tcp = match prospect {
            Prospect::Connected(tcp) => tcp,
            Prospect::Expected(listener) => accept_from(listener, peer).await?,
        };
        match tls {
            None => Ok(Wire::Plain(tcp)),
            Some(tls) => protect(&tls, tcp).await,
        }
    };
    let connecting = timeout(options.connect_timeout, connecting);
    tokio::pin!(connecting);
    let (mut wire, mut began, mut end) = (None, false, None);
    while wire.is_none() || !(began || end.is_some()) {
        tokio::select! {
            biased;
            event = control.next(), if end.is_none() => match event? {
                Event::Began => began = true,
                Event::Done(Outcome::Refused(reply)) => return Err(refused(doing, reply, peer)),
                Event::Done(outcome) => end = Some(Ok(outcome)),
                Event::StartTls => {}
            },
            made = &mut connecting, if wire.is_none() => match made {
                Ok(Ok(made)) => wire = Some(made),
                failed => {
                    let failure = match failed {
                        Ok(Err(failure)) => failure,
                        _ => late(),
                    };
                    return Err(words_of_server(control, doing, peer).await.unwrap_or(failure));
                }
            },
        }
    }
    let wire = wire.ok_or_else(|| Failure::new(FailureKind::Data, "no data connection"))?;
    Ok(Transfer {
        wire,
        end,
        stall: options.stall_timeout,
        noop: None,
    })
}

async fn protect(tls: &ClientTls, tcp: TcpStream) -> Result<Wire, Failure> {
    let stream = tls.connect_data(tcp).await.map_err(tls_failure)?;
    tracing::debug!(resumed = stream.is_resumed(), "the data connection is protected");
    Ok(Wire::Tls(Box::new(stream)))
}

fn late() -> Failure {
    Failure::new(
        FailureKind::Data,
        "the data connection did not come about in time",
    )
    .hint("the server or a firewall before it lets connections to its passive ports wait")
}

fn way(form: Form) -> Way {
    match form {
        Form::Extended => Way::Extended,
        Form::Plain => Way::Plain,
    }
}

/// Whether both ends are on one private network, or one machine, and it was asked for.
fn may_be_active(control: &Control, options: &Options) -> bool {
    let is_near = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    options.active
        && matches!(control.route, Route::Direct)
        && is_near(control.peer.ip())
        && is_near(control.local.ip())
}

/// The first connection from the server; those from elsewhere are nobody's.
async fn accept_from(listener: TcpListener, peer: IpAddr) -> Result<TcpStream, Failure> {
    loop {
        let (tcp, from) = listener
            .accept()
            .await
            .map_err(|error| Failure::new(FailureKind::Data, error.to_string()))?;
        if from.ip().to_canonical() == peer {
            return Ok(tcp);
        }
        tracing::warn!(%from, "a data connection from a stranger was closed");
    }
}

fn unreachable_port(peer: SocketAddr, port: u16, error: DataError) -> Failure {
    let error = match error {
        DataError::Proxy(failure) => return *failure,
        DataError::Io(error) => error,
    };
    let swallowed = error.kind() == io::ErrorKind::TimedOut;
    let words = match swallowed {
        true => "no answer".to_owned(),
        false => error.to_string(),
    };
    let failure = Failure::new(
        FailureKind::Data,
        format!(
            "the data connection to {} on port {port} failed: {words}",
            peer.ip()
        ),
    );
    Failure {
        is_lasting: swallowed,
        ..failure
    }
    .hint(format!(
        "the server's firewall or router must let port {port} (its passive ports) through, not the control port alone"
    ))
}

fn no_passive(reply: Reply) -> Failure {
    Failure {
        kind: FailureKind::Data,
        ..Failure::refused("wait for a data connection", reply)
    }
}

fn refused(doing: &str, reply: Reply, peer: IpAddr) -> Failure {
    tracing::debug!(%peer, %reply, "the transfer was refused");
    Failure::refused(doing, reply)
}

/// What the server has to say to a data connection that failed, if it says it soon.
pub(super) async fn words_of_server(control: &mut Control, doing: &str, peer: IpAddr) -> Option<Failure> {
    let words = async {
        loop {
            match control.next().await {
                Ok(Event::Done(Outcome::Refused(reply))) => return Some(refused(doing, reply, peer)),
                Ok(Event::Began | Event::StartTls) => {}
                Ok(Event::Done(_)) | Err(_) => return None,
            }
        }
    };
    timeout(AFTER_REFUSAL, words).await.ok().flatten()
}

impl Transfer {
    /// Whether its TLS session is that of an earlier connection; `None`: it is not protected.
    pub(super) fn is_resumed(&self) -> Option<bool> {
        self.wire.is_resumed()
    }

    /// Reads on into `buf`, as far as there is room; 0 is the end of the data. May be dropped without loss.
    pub(super) async fn read(&mut self, control: &mut Control, buf: &mut BytesMut) -> Result<usize, Failure> {
        let mut since = Instant::now();
        loop {
            let patience = if self.is_refused() {
                AFTER_REFUSAL
            } else {
                self.stall
            };
            let noop = self.keep_alive(control).await;
            tokio::select! {
                biased;
                read = self.wire.read_buf(buf) => return read.map_err(|error| self.cut(&error)),
                event = control.next(), if self.end.is_none() => {
                    self.heard(event);
                    since = Instant::now();
                }
                () = sleep_until(since + patience) => return Err(self.stalled()),
                () = noop => {}
            }
        }
    }

    /// Writes all of `bytes`.
    pub(super) async fn write(&mut self, control: &mut Control, mut bytes: Bytes) -> Result<(), Failure> {
        let mut moved = Instant::now();
        while !bytes.is_empty() {
            if self.end.is_some() {
                return Err(self.refusal("take the file").unwrap_or_else(|| {
                    Failure::new(
                        FailureKind::Lost,
                        "the server ended the upload before it was whole",
                    )
                }));
            }
            let noop = self.keep_alive(control).await;
            tokio::select! {
                biased;
                written = self.wire.write_buf(&mut bytes) => {
                    if let Err(error) = written {
                        return Err(self.explain(control, &error).await);
                    }
                    moved = Instant::now();
                }
                event = control.next(), if self.end.is_none() => self.heard(event),
                () = sleep_until(moved + self.stall) => return Err(self.stalled()),
                () = noop => {}
            }
        }
        Ok(())
    }

    /// Says NOOP when it is time, and sends it even where data leaves the control connection no turn; until it is time
    /// again.
    async fn keep_alive(&mut self, control: &mut Control) -> impl Future<Output = ()> + use<> {
        if let Some((every, at)) = &mut self.noop
            && self.end.is_none()
            && *at <= Instant::now()
        {
            *at = Instant::now() + *every;
            control.keep_alive();
            tokio::select! {
                biased;
                event = control.next() => self.heard(event),
                () = std::future::ready(()) => {}
            }
        }
        let at = self.noop.filter(|_| self.end.is_none()).map(|(_, at)| at);
        async move {
            match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Ends an upload's data: goodbye, and what the server has to say to that (tickets among it).
    pub(super) async fn shut_down(&mut self, control: &mut Control) -> Result<(), Failure> {
        let goodbye = async {
            match (&mut self.wire, &control.route) {
                (Wire::Tls(tls), Route::Through(..)) => tls.say_goodbye().await,
                (wire, _) => wire.shutdown().await,
            }
        };
        let shut = timeout(self.stall, goodbye).await;
        match shut {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(self.explain(control, &error).await),
            Err(_) => return Err(self.stalled()),
        }
        if !self.wire.is_tls() {
            return Ok(());
        }
        let alarm = sleep(GOODBYE);
        tokio::pin!(alarm);
        let mut rest = BytesMut::with_capacity(4096);
        loop {
            rest.clear();
            tokio::select! {
                biased;
                // What a server sends on an upload is nothing that we want; its end, clean or not, is all there is.
                read = self.wire.read_buf(&mut rest) => if !matches!(read, Ok(1..)) { return Ok(()) },
                event = control.next(), if self.end.is_none() => {
                    self.heard(event);
                    let soon = Instant::now() + AFTER_REPLY;
                    alarm.as_mut().reset(soon);
                }
                () = &mut alarm => return Ok(()),
            }
        }
    }

    /// Closes the data connection and waits for the reply that ends the transfer.
    pub(super) async fn finish(self, control: &mut Control, doing: &str) -> Result<(), Failure> {
        let Self { wire, end, .. } = self;
        drop(wire);
        control.data_ended();
        let end = match end {
            Some(end) => end,
            None => loop {
                match control.next().await {
                    Ok(Event::Done(outcome)) => break Ok(outcome),
                    Ok(_) => {}
                    Err(failure) => break Err(failure),
                }
            },
        };
        match end? {
            Outcome::Done(_) => Ok(()),
            Outcome::Refused(reply) => Err(Failure::refused(doing, reply)),
            other => Err(unexpected(&other)),
        }
    }

    /// Ends a transfer that nobody wants any more; whether the control connection is good for another one.
    pub(super) async fn abandon(self, control: &mut Control) -> bool {
        let done = self.end.is_some();
        drop(self.wire);
        control.data_ended();
        let end = async { while !done && !matches!(control.next().await, Ok(Event::Done(_)) | Err(_)) {} };
        timeout(AFTER_REFUSAL, end).await.is_ok() && control.is_usable()
    }

    /// Ends an upload so that the server does not take what it has for all of it.
    pub(super) async fn abort(self, control: &mut Control) {
        if self.end.is_none() && control.begin(Errand::Abort).is_ok() {
            // Sent before the data connection breaks, so that no end of file comes before it.
            let _ = timeout(AFTER_REPLY, control.next()).await;
        }
        self.wire.reset();
    }

    /// Whether the server has said that it failed, or says nothing any more.
    pub(super) fn is_refused(&self) -> bool {
        matches!(&self.end, Some(Err(_) | Ok(Outcome::Refused(_))))
    }

    fn heard(&mut self, event: Result<Event, Failure>) {
        match event {
            Ok(Event::Done(outcome)) => self.end = Some(Ok(outcome)),
            Ok(Event::Began | Event::StartTls) => {}
            Err(failure) => self.end = Some(Err(failure)),
        }
    }

    fn refusal(&self, doing: &str) -> Option<Failure> {
        match &self.end {
            Some(Ok(Outcome::Refused(reply))) => Some(Failure::refused(doing, reply.clone())),
            Some(Err(failure)) => Some(failure.clone()),
            _ => None,
        }
    }

    /// Why writing failed: the server's word where it has one.
    async fn explain(&mut self, control: &mut Control, error: &io::Error) -> Failure {
        let words = async {
            while self.end.is_none() {
                let event = control.next().await;
                self.heard(event);
            }
        };
        let _ = timeout(AFTER_REFUSAL, words).await;
        self.refusal("take the file").unwrap_or_else(|| self.cut(error))
    }

    fn cut(&self, error: &io::Error) -> Failure {
        let cut = match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                "the data connection ended without a goodbye, so that nobody knows whether it was whole"
                    .to_owned()
            }
            _ => format!("the data connection broke: {error}"),
        };
        let failure = Failure::new(FailureKind::Lost, cut);
        match self.refusal("send the file") {
            Some(refusal) if !refusal.kind.is_lost() => refusal,
            _ => failure,
        }
    }

    fn stalled(&self) -> Failure {
        self.refusal("go on with the transfer").unwrap_or_else(|| {
            Failure::new(
                FailureKind::Timeout,
                format!("no byte moved for {} seconds", self.stall.as_secs()),
            )
        })
    }
}
