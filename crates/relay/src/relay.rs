//! The relay as a whole: binds, accepts, stops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pasarela_tls::ServerTls;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::{BadConfig, Config};
use crate::credentials::Keeper;
use crate::leg::Leg;
use crate::message::plain;
use crate::metrics::{Gauge, Metrics};
use crate::shared::{Current, Shared, Stranger};
use crate::udp::Door;
use crate::usage::Place;
use crate::{control, names, sockets};

/// A relay that listens. Nothing is answered before [`Relay::run`].
pub struct Relay {
    shared: Arc<Shared>,
    addresses: Addresses,
    udp: Vec<Door>,
    tcp: Vec<TcpListener>,
    tls: Vec<TcpListener>,
    names: Vec<TcpListener>,
}

/// Where a relay listens, in the order of its configuration and with real ports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Binding over UDP.
    pub udp: Vec<SocketAddr>,
    /// The other addresses for Binding over UDP.
    pub other: Vec<SocketAddr>,
    /// STUN and TURN over TCP.
    pub tcp: Vec<SocketAddr>,
    /// The same over TLS.
    pub tls: Vec<SocketAddr>,
    /// TLS connections for names that are lent.
    pub names: Vec<SocketAddr>,
}

/// Stops a running relay, or has it work by another configuration.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Ends [`Relay::run`]: allocations end, and streams are reset, as a FIN would say that they are whole.
    pub fn stop(&self) {
        self.shared.stop.cancel();
    }

    /// Works by `config` from now on. What is bound stays: the addresses, the certificate and the realm. So do streams
    /// that are carried. An allocation ends, and its connection is closed, when its account is gone, has another
    /// password, or may not have it any more.
    ///
    /// # Errors
    /// [`BadConfig`], and nothing has changed.
    pub fn reload(&self, config: Config) -> Result<(), BadConfig> {
        let before = self.shared.current();
        let bound = before.config.clone();
        let config = Config {
            udp: bound.udp,
            other: bound.other,
            tcp: bound.tcp,
            tls: bound.tls,
            names: bound.names,
            certificate: bound.certificate,
            realm: bound.realm,
            ..config
        };
        config.check()?;
        let keeper = before.keeper.renewed(&config);
        self.shared.reload(Current { config, keeper });
        Ok(())
    }
}

/// How long the tasks of connections may take to end.
const STOPPING: Duration = Duration::from_secs(5);

impl Relay {
    /// Binds all addresses of `config`. To be called within a tokio runtime.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when the configuration cannot be used, or what binding says, with the
    /// address in its text.
    pub fn bind(config: Config) -> io::Result<Self> {
        config
            .check()
            .map_err(|bad| io::Error::new(io::ErrorKind::InvalidInput, bad))?;
        let keeper = Keeper::new(&config)?;
        let [udp, other, between] = answering(&config)?;
        let tcp = all(&config.tcp, sockets::listen)?;
        let tls = all(&config.tls, sockets::listen)?;
        let names = all(&config.names, sockets::listen)?;
        let local = |listeners: &[TcpListener]| -> io::Result<Vec<_>> {
            listeners.iter().map(TcpListener::local_addr).collect()
        };
        let addresses = Addresses {
            udp: udp.iter().map(Door::local_addr).collect::<io::Result<_>>()?,
            other: other.iter().map(Door::local_addr).collect::<io::Result<_>>()?,
            tcp: local(&tcp)?,
            tls: local(&tls)?,
            names: local(&names)?,
        };
        Ok(Self {
            shared: Arc::new(Shared::new(config, keeper, addresses.names.clone())),
            addresses,
            udp: udp.into_iter().chain(other).chain(between).collect(),
            tcp,
            tls,
            names,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addrs(&self) -> &Addresses {
        &self.addresses
    }

    /// What stops it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            shared: Arc::clone(&self.shared),
        }
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// Serves until [`Handle::stop`].
    pub async fn run(self) {
        let shared = self.shared;
        let mut tasks = JoinSet::new();
        for door in self.udp {
            let shared = Arc::clone(&shared);
            tasks.spawn(async move {
                door.serve(&shared).await;
            });
        }
        for listener in self.tcp {
            tasks.spawn(accept(Arc::clone(&shared), listener, None));
        }
        for listener in self.tls {
            let certificate = shared.current().config.certificate.clone();
            tasks.spawn(accept(Arc::clone(&shared), listener, certificate));
        }
        for listener in self.names {
            tasks.spawn(names::serve(Arc::clone(&shared), listener));
        }
        shared.stop.cancelled().await;
        tasks.shutdown().await;
        shared.tasks.close();
        if timeout(STOPPING, shared.tasks.wait()).await.is_err() {
            tracing::warn!(
                connections = shared.tasks.len(),
                "connections did not end in time"
            );
        }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Relay")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

fn all<T>(addresses: &[SocketAddr], bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<Vec<T>> {
    let bound = addresses.iter().map(|address| {
        bind(*address).map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
    });
    bound.collect()
}

/// Everything that answers over UDP: at the addresses of the configuration in its order, at the other addresses, and
/// at those that are half the one and half the other.
fn answering(config: &Config) -> io::Result<[Vec<Door>; 3]> {
    let (mut first, mut other, mut between) = (Vec::new(), Vec::new(), Vec::new());
    for address in &config.udp {
        let second = config.other.iter().find(|other| {
            // Only the first of a family has one.
            let of_family = |udp: &&SocketAddr| udp.is_ipv4() == other.is_ipv4();
            config.udp.iter().find(of_family) == Some(address)
        });
        match second.and_then(|second| Some((config.first_of(*second)?, second))) {
            Some(((at, public), second)) => {
                let [one, two, three, four] = Door::bind_four(at, public, *second)?;
                first.push(one);
                other.push(four);
                between.extend([two, three]);
            }
            None => first.push(Door::bind(*address)?),
        }
    }
    Ok([first, other, between])
}

/// Accepts clients until the future is dropped.
async fn accept(shared: Arc<Shared>, listener: TcpListener, certificate: Option<ServerTls>) {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok((stream, from)) => (stream, plain(from)),
            Err(error) => {
                tracing::debug!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        shared.metrics.connections_total.up();
        let (Some(place), Some(stranger)) = (shared.seat(), shared.admit(from.ip())) else {
            shared.metrics.connections_refused_total.up();
            sockets::reset_at_close(&stream);
            continue;
        };
        let task = serve(
            Arc::clone(&shared),
            stream,
            from,
            certificate.clone(),
            (place, stranger),
        );
        shared.tasks.spawn(task);
    }
}

async fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    from: SocketAddr,
    certificate: Option<ServerTls>,
    (_place, stranger): (Place, Stranger),
) {
    let _gauge = Gauge::new(&shared.metrics, |metrics| &metrics.connections);
    sockets::prepare(&stream);
    let leg = match certificate {
        None => Leg::Tcp(stream),
        Some(certificate) => {
            let handshake = timeout(
                shared.current().config.authentication_deadline,
                certificate.accept_control(stream),
            );
            let accepted = tokio::select! {
                accepted = handshake => accepted,
                () = shared.stop.cancelled() => return,
            };
            match accepted {
                Ok(Ok(accepted)) => Leg::Tls(Box::new(accepted.stream)),
                Ok(Err(error)) => {
                    tracing::debug!(client = %from, %error, "handshake failed");
                    return;
                }
                Err(_) => {
                    shared.metrics.unauthenticated_total.up();
                    return;
                }
            }
        }
    };
    control::serve(shared, leg, from, stranger).await;
}
