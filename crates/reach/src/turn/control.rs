//! The task of one allocation: the control connection, and a short task for each peer's connection that is fetched.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pasarela_nat_proto::Credentials;
use pasarela_nat_proto::extension::Dialled;
use pasarela_nat_proto::frame::MAX_MESSAGE;
use pasarela_nat_proto::transaction::TransactionId;
use pasarela_nat_proto::turn::{Attempt, Bind, Client, Event, Profile};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_rustls::TlsConnector;

use super::{Incoming, Order, ProtocolError, TurnError, TurnServer, bridge};

/// What is asked of the server; it may grant another.
const LIFETIME: Duration = Duration::from_secs(600);
/// How long the server may take to answer, and to take what is sent.
const ANSWER: Duration = Duration::from_secs(5);
/// From the server's notice to a stream in the receiver's hands; the server waits for 30 s (RFC 6062 section 5.3).
const FETCH: Duration = Duration::from_secs(10);
/// Connections that are being fetched at a time.
const MAX_FETCHES: usize = 64;
/// How long giving back may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// A NAT on the way forgets an idle connection after minutes, and a server that vanished says nothing: a stream is asked
/// by TCP itself this often.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How often the server is asked for a sign of life: a router that restarts has forgotten the connection, and whoever
/// waits for peers would not notice.
const PRESENCE: Duration = Duration::from_secs(10);

/// The control connection with its protocol.
pub(super) struct Control {
    stream: Box<dyn Stream>,
    client: Client,
    target: Target,
    /// Told once, and again after it was over: strangers could fill the log.
    is_full: bool,
}

/// What an answer to Allocate said.
pub(super) struct Allocated {
    pub(super) server: SocketAddr,
    pub(super) relayed: SocketAddr,
    pub(super) mapped: SocketAddr,
    pub(super) extra: Vec<(u16, Vec<u8>)>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Where the server is. Of several addresses that its name has, the one that answered: an allocation is on one.
#[derive(Clone)]
struct Target {
    address: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// Who waits for the server's word on something.
type Waiting<K, T> = HashMap<K, Vec<oneshot::Sender<Result<T, ProtocolError>>>>;

impl Control {
    /// Connects and allocates. The caller bounds the time.
    pub(super) async fn open(
        server: &TurnServer,
        extra: Vec<(u16, Vec<u8>)>,
        patience: Duration,
    ) -> Result<(Self, Allocated), TurnError> {
        let unresolved = |error| TurnError::Unresolved(server.host.clone(), Arc::new(error));
        let resolved = lookup_host((server.host.as_str(), server.port)).await;
        let addresses: Vec<SocketAddr> = resolved.map_err(unresolved)?.collect();
        // One that swallows everything leaves time for the others.
        let share = patience / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let tls = match &server.tls {
            None => None,
            Some(config) => {
                let name = ServerName::try_from(server.host.clone()).map_err(|error| {
                    TurnError::Tls(Arc::new(io::Error::new(io::ErrorKind::InvalidInput, error)))
                })?;
                Some((config.clone(), name))
            }
        };
        let mut refused = TurnError::Unreachable(Arc::new(io::ErrorKind::AddrNotAvailable.into()));
        for address in addresses {
            let target = Target {
                address,
                tls: tls.clone(),
            };
            let dialled = timeout(share, target.dial()).await;
            match dialled.unwrap_or(Err(TurnError::TimedOut)) {
                Ok(tcp) => return Self::allocate(server, target, tcp, extra, patience).await,
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    async fn allocate(
        server: &TurnServer,
        target: Target,
        tcp: TcpStream,
        extra: Vec<(u16, Vec<u8>)>,
        patience: Duration,
    ) -> Result<(Self, Allocated), TurnError> {
        let stream: Box<dyn Stream> = match target.protect(tcp).await? {
            Leg::Plain(tcp) => Box::new(tcp),
            Leg::Protected(tls) => tls,
        };
        let profile = Profile {
            credentials: Credentials {
                username: server.username.clone(),
                password: server.password.clone(),
            },
            patience: patience.min(ANSWER),
            lifetime: LIFETIME,
            extra,
        };
        let client = Client::new(
            Instant::now().into_std(),
            profile,
            Box::new(TransactionId::generate),
        );
        let mut control = Self {
            stream,
            client,
            target,
            is_full: false,
        };
        loop {
            control.send().await?;
            match control.client.poll_event() {
                Some(Event::Allocated {
                    relayed,
                    mapped,
                    extra,
                    ..
                }) => {
                    let server = control.target.address;
                    return Ok((
                        control,
                        Allocated {
                            server,
                            relayed,
                            mapped,
                            extra,
                        },
                    ));
                }
                Some(Event::Failed(error)) => return Err(error.into()),
                Some(_) => {}
                None => control.hear().await?,
            }
        }
    }

    /// Until the allocation is lost or nobody wants it any more.
    pub(super) async fn run(
        mut self,
        orders: mpsc::Receiver<Order>,
        incoming: mpsc::Sender<Incoming>,
        end: watch::Sender<Option<TurnError>>,
    ) {
        if let Err(error) = self.serve(orders, incoming).await {
            tracing::warn!(server = %self.target.address, %error, "allocation lost");
            end.send_replace(Some(error));
            return;
        }
        if timeout(FAREWELL, self.give_back()).await.is_err() {
            tracing::debug!(server = %self.target.address, "the TURN server did not confirm the end of an allocation");
        }
    }

    async fn serve(
        &mut self,
        mut orders: mpsc::Receiver<Order>,
        incoming: mpsc::Sender<Incoming>,
    ) -> Result<(), TurnError> {
        let mut waiting: Waiting<IpAddr, ()> = HashMap::new();
        let mut dialling: Waiting<u16, Option<Dialled>> = HashMap::new();
        let mut fetches = JoinSet::new();
        let mut presence = interval(PRESENCE);
        presence.set_missed_tick_behavior(MissedTickBehavior::Delay);
        presence.reset();
        loop {
            self.send().await?;
            while let Some(event) = self.client.poll_event() {
                match event {
                    Event::Permitted(ip) => answer(&mut waiting, ip, &Ok(())),
                    Event::NotPermitted(ip, error) => {
                        tracing::warn!(%ip, %error, "no permission at the TURN server");
                        answer(&mut waiting, ip, &Err(error));
                    }
                    Event::Attempt(attempt) => self.fetch(&mut fetches, attempt, &incoming),
                    Event::DialledBack { port, dialled } => answer(&mut dialling, port, &Ok(dialled)),
                    Event::NotDialledBack(port, error) => answer(&mut dialling, port, &Err(error)),
                    Event::Failed(error) => return Err(error.into()),
                    Event::Allocated { .. } | Event::Closed => {}
                    // Nobody asked for one.
                    Event::Connected { .. } | Event::NotConnected(..) => {}
                }
            }
            tokio::select! {
                heard = self.hear() => heard?,
                Some(_) = fetches.join_next() => {}
                _ = presence.tick() => self.client.ask_presence(Instant::now().into_std()),
                order = orders.recv() => match order {
                    Some(Order::Permit(ip, answered)) => {
                        match self.client.permit(Instant::now().into_std(), ip) {
                            Ok(()) => waiting.entry(ip).or_default().push(answered),
                            // The caller may have gone.
                            Err(error) => drop(answered.send(Err(error))),
                        }
                    }
                    Some(Order::Forbid(ip)) => {
                        self.client.forbid(ip);
                        answer(&mut waiting, ip, &Err(ProtocolError::Withdrawn));
                    }
                    // The same question that is under way has the same answer.
                    Some(Order::DialBack(port, answered)) if dialling.contains_key(&port) => {
                        dialling.entry(port).or_default().push(answered);
                    }
                    Some(Order::DialBack(port, answered)) => {
                        match self.client.dial_back(Instant::now().into_std(), port) {
                            Ok(()) => dialling.entry(port).or_default().push(answered),
                            Err(error) => drop(answered.send(Err(error))),
                        }
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    async fn give_back(&mut self) -> Result<(), TurnError> {
        self.client.close(Instant::now().into_std());
        loop {
            self.send().await?;
            match self.client.poll_event() {
                Some(Event::Closed) => return self.stream.shutdown().await.map_err(lost),
                Some(Event::Failed(error)) => return Err(error.into()),
                Some(_) => {}
                None => self.hear().await?,
            }
        }
    }

    async fn send(&mut self) -> Result<(), TurnError> {
        while let Some(bytes) = self.client.poll_transmit() {
            let sent = async {
                self.stream.write_all(&bytes).await?;
                self.stream.flush().await
            };
            timeout(ANSWER, sent)
                .await
                .map_err(|elapsed| lost(elapsed.into()))?
                .map_err(lost)?;
        }
        Ok(())
    }

    /// Waits for bytes or for time to pass. Nothing is lost if it is dropped.
    async fn hear(&mut self) -> Result<(), TurnError> {
        let mut buffer = [0; MAX_MESSAGE];
        // Without an allocation it has an event to tell instead.
        let due = self
            .client
            .poll_timeout()
            .map_or_else(Instant::now, Instant::from_std);
        tokio::select! {
            read = self.stream.read(&mut buffer) => {
                let length = read.map_err(lost)?;
                if length == 0 {
                    return Err(lost(io::ErrorKind::UnexpectedEof.into()));
                }
                self.client.handle_input(Instant::now().into_std(), &buffer[..length]);
            }
            () = sleep_until(due) => self.client.handle_timeout(Instant::now().into_std()),
        }
        Ok(())
    }

    fn fetch(&mut self, fetches: &mut JoinSet<()>, attempt: Attempt, incoming: &mpsc::Sender<Incoming>) {
        let peer = attempt.peer;
        let was_full = std::mem::replace(&mut self.is_full, fetches.len() >= MAX_FETCHES);
        if self.is_full {
            if !was_full {
                tracing::warn!(%peer, limit = MAX_FETCHES, "too many relayed connections are being fetched");
            }
            return;
        }
        let ids = Box::new(TransactionId::generate);
        let bind = self
            .client
            .bind(Instant::now().into_std(), attempt.connection_id, ids);
        let (target, incoming) = (self.target.clone(), incoming.clone());
        fetches.spawn(async move {
            let fetched = async {
                let stream = target.fetch(bind).await?;
                // Whoever took them may have gone: then this one ends here.
                let _ = incoming
                    .send(Incoming {
                        stream,
                        peer,
                        extra: attempt.extra,
                    })
                    .await;
                Ok::<_, TurnError>(())
            };
            match timeout(FETCH, fetched)
                .await
                .map_err(|_| TurnError::TimedOut)
                .flatten()
            {
                Ok(()) => tracing::debug!(%peer, "relayed connection"),
                Err(error) => tracing::debug!(%peer, %error, "a relayed connection could not be fetched"),
            }
        });
    }
}

enum Leg {
    Plain(TcpStream),
    Protected(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Target {
    async fn dial(&self) -> Result<TcpStream, TurnError> {
        let unreachable = |error| TurnError::Unreachable(Arc::new(error));
        let tcp = TcpStream::connect(self.address).await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE / 4)
            .with_retries(4);
        SockRef::from(&tcp)
            .set_tcp_keepalive(&keepalive)
            .map_err(unreachable)?;
        Ok(tcp)
    }

    async fn protect(&self, tcp: TcpStream) -> Result<Leg, TurnError> {
        let Some((config, name)) = &self.tls else {
            return Ok(Leg::Plain(tcp));
        };
        let connector = TlsConnector::from(config.clone());
        let protected = connector.connect(name.clone(), tcp).await;
        protected
            .map(|tls| Leg::Protected(Box::new(tls)))
            .map_err(|error| TurnError::Tls(Arc::new(error)))
    }

    /// A second connection to the server, which becomes the peer's. The caller bounds the time.
    async fn fetch(&self, mut bind: Bind) -> Result<TcpStream, TurnError> {
        match self.protect(self.dial().await?).await? {
            Leg::Plain(mut tcp) => {
                claim(&mut tcp, &mut bind).await?;
                Ok(tcp)
            }
            Leg::Protected(mut tls) => {
                claim(&mut *tls, &mut bind).await?;
                bridge::bridged(*tls).await.map_err(lost)
            }
        }
    }
}

/// The dialogue of ConnectionBind, reading no byte behind its answer: the peer's come in the same segment.
async fn claim(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bind: &mut Bind) -> Result<(), TurnError> {
    let mut buffer = [0; MAX_MESSAGE];
    loop {
        while let Some(bytes) = bind.poll_transmit() {
            stream.write_all(&bytes).await.map_err(lost)?;
            stream.flush().await.map_err(lost)?;
        }
        if let Some(outcome) = bind.poll_outcome() {
            return Ok(outcome?);
        }
        let wanted = bind.wanted().min(MAX_MESSAGE);
        let length = stream.read(&mut buffer[..wanted]).await.map_err(lost)?;
        if length == 0 {
            return Err(lost(io::ErrorKind::UnexpectedEof.into()));
        }
        bind.handle_input(Instant::now().into_std(), &mut &buffer[..length]);
    }
}

fn answer<K: Hash + Eq, T: Clone>(waiting: &mut Waiting<K, T>, what: K, outcome: &Result<T, ProtocolError>) {
    for waiter in waiting.remove(&what).into_iter().flatten() {
        // It may have gone.
        let _ = waiter.send(outcome.clone());
    }
}

fn lost(error: io::Error) -> TurnError {
    TurnError::Lost(Arc::new(error))
}

#[cfg(test)]
mod tests;
