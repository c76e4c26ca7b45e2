//! A TURN server that takes connections in for us (RFC 8656, RFC 6062): one allocation, and each peer's connection as
//! a TCP stream.

mod bridge;
mod control;
mod server;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pasarela_nat_proto::extension::Dialled;
use pasarela_nat_proto::turn as protocol;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

pub use protocol::Error as ProtocolError;
pub use server::{BadTurnServer, TurnServer};

use control::Control;

/// Connections that were fetched and wait to be taken.
const MAX_WAITING: usize = 16;
/// Orders that wait for the control connection's task.
const MAX_ORDERS: usize = 64;

/// A peer's connection. What arrives on it, from the first byte on, is the peer's.
#[derive(Debug)]
pub struct Incoming {
    /// The connection; its own addresses are those of the relay.
    pub stream: TcpStream,
    /// Who connected to the relayed address.
    pub peer: SocketAddr,
    /// Attributes of the server's notice that no RFC defines, as type and value.
    pub extra: Vec<(u16, Vec<u8>)>,
}

/// Why there is no allocation, or no longer one.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TurnError {
    /// The server's name has no address.
    #[error("{0} does not resolve: {1}")]
    Unresolved(String, #[source] Arc<io::Error>),
    /// No connection to the server.
    #[error("no connection to the TURN server: {0}")]
    Unreachable(#[source] Arc<io::Error>),
    /// TLS with the server failed, its certificate for example.
    #[error("no TLS with the TURN server: {0}")]
    Tls(#[source] Arc<io::Error>),
    /// All of it took longer than the caller's patience.
    #[error("the TURN server took too long")]
    TimedOut,
    /// What the server said, or could not be told.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The control connection is gone, and with it the allocation.
    #[error("the connection to the TURN server is lost: {0}")]
    Lost(#[source] Arc<io::Error>),
}

/// An allocation at a TURN server. It is kept renewed; dropping it gives it back and ends every connection that came
/// in over it (RFC 6062 section 5.5), so it is kept until those are done.
#[derive(Debug)]
pub struct Allocation {
    server: SocketAddr,
    relayed: SocketAddr,
    mapped: SocketAddr,
    extra: Vec<(u16, Vec<u8>)>,
    orders: mpsc::Sender<Order>,
    ended: watch::Receiver<Option<TurnError>>,
}

/// What an [`Allocation`] has its task do. The task gives the allocation back when nobody can order any more.
#[derive(Debug)]
enum Order {
    Permit(IpAddr, oneshot::Sender<Result<(), ProtocolError>>),
    Forbid(IpAddr),
    DialBack(u16, oneshot::Sender<Result<Option<Dialled>, ProtocolError>>),
}

impl Allocation {
    /// Asks for one, `extra` (type and value) going with the request. Peers' connections come out of the receiver. It
    /// holds 16 of them; others are given up when they are not taken within 10 s.
    ///
    /// # Errors
    /// [`TurnError`].
    pub async fn open(
        server: &TurnServer,
        extra: Vec<(u16, Vec<u8>)>,
        patience: Duration,
    ) -> Result<(Self, mpsc::Receiver<Incoming>), TurnError> {
        let (control, allocated) = timeout(patience, Control::open(server, extra, patience))
            .await
            .map_err(|_| TurnError::TimedOut)??;
        let (orders, ordered) = mpsc::channel(MAX_ORDERS);
        let (incoming, arrived) = mpsc::channel(MAX_WAITING);
        let (end, ended) = watch::channel(None);
        tokio::spawn(control.run(ordered, incoming, end));
        let control::Allocated {
            server: address,
            relayed,
            mapped,
            extra,
        } = allocated;
        tracing::info!(%server, %relayed, %mapped, "allocation at a TURN server");
        Ok((
            Self {
                server: address,
                relayed,
                mapped,
                extra,
                orders,
                ended,
            },
            arrived,
        ))
    }

    /// The server's address, of those that its name has.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Where peers connect to.
    #[must_use]
    pub fn relayed(&self) -> SocketAddr {
        self.relayed
    }

    /// Our own address as the server sees it.
    #[must_use]
    pub fn mapped(&self) -> SocketAddr {
        self.mapped
    }

    /// Attributes of the server's answer that no RFC defines, as type and value.
    #[must_use]
    pub fn extra(&self) -> &[(u16, Vec<u8>)] {
        &self.extra
    }

    /// Lets peers at this address connect, from when this returns until [`Allocation::forbid`].
    ///
    /// # Errors
    /// [`TurnError::Protocol`] when the server refused; otherwise why there is no allocation any more.
    pub async fn permit(&self, ip: IpAddr) -> Result<(), TurnError> {
        self.order(|answer| Order::Permit(ip.to_canonical(), answer))
            .await
    }

    /// Has the server connect to [`Allocation::mapped`], at this port; `None` where it does not offer that. Takes 6 s
    /// at most.
    ///
    /// # Errors
    /// [`TurnError::Protocol`] when the server refused or did not answer; otherwise why there is no allocation any
    /// more.
    pub async fn dial_back(&self, port: u16) -> Result<Option<Dialled>, TurnError> {
        self.order(|answer| Order::DialBack(port, answer)).await
    }

    /// Has the task do something and waits for its word.
    async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, ProtocolError>>) -> Order,
    ) -> Result<T, TurnError> {
        let (answer, answered) = oneshot::channel();
        if self.orders.send(order(answer)).await.is_err() {
            return Err(self.ended().await);
        }
        match answered.await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(self.ended().await),
        }
    }

    /// Keeps this address's permission no longer; it ends within 300 s.
    pub async fn forbid(&self, ip: IpAddr) {
        // Without a task there is no permission either.
        let _ = self.orders.send(Order::Forbid(ip.to_canonical())).await;
    }

    /// Waits until the allocation is lost and says why.
    pub async fn ended(&self) -> TurnError {
        let mut ended = self.ended.clone();
        let told = ended
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|reason| reason.clone());
        // The task says why before it ends, unless the runtime itself ends.
        told.unwrap_or_else(|| TurnError::Lost(Arc::new(io::ErrorKind::BrokenPipe.into())))
    }
}
