//! Listeners and one driver a protocol.

mod config;
mod ftp;
mod hash;
mod listen;
mod login;
mod reachable;
mod service;
pub mod sftp;
mod sockets;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{info, warn};

pub use config::{
    Config, DataPorts, Listener, Protocol, Protocols, RequireResumption, Settings, Ssh, TlsMode,
};

use ftp::switchboard::{PlaceId, PlaceKind, Switchboard};
use listen::Reception;
use pasarela_reach::Listening;
use reachable::Reachable;
use service::Service;

/// A server whose sockets are bound; nobody is greeted before [`Server::run`].
pub struct Server {
    service: Arc<Service>,
    switchboard: Arc<Switchboard>,
    control_places: usize,
    patience: watch::Sender<Option<Duration>>,
}

/// Changes a running server and stops it; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    service: Arc<Service>,
    patience: watch::Sender<Option<Duration>>,
}

impl Server {
    /// Takes the listeners and binds the data ports that the settings ask for. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// When a data port cannot be bound.
    pub fn new(config: Config) -> io::Result<Self> {
        let Config { listeners, settings } = config;
        let protocols: Vec<_> = listeners.iter().map(|listener| listener.protocols).collect();
        let speaks_ftp = |listener: &&Listener| listener.protocols != Protocol::Sftp.into();
        let mut ftp = listeners.iter().filter(speaks_ftp);
        let data_address = ftp.next().map(|l| l.socket.local_addr()).transpose()?;
        let mut sockets = Vec::new();
        for Listener { socket, protocols } in listeners {
            sockets.push((adopt(socket)?, PlaceKind::speaking(protocols)));
        }
        let control_places = sockets.len();
        let ports = match settings.data_ports {
            DataPorts::Auto | DataPorts::Control => Vec::new(),
            DataPorts::Port(port) => vec![port],
            DataPorts::Range(first, last) => (first..=last).collect(),
        };
        for port in ports {
            let address = data_address.map_or_else(
                || SocketAddr::from(([0; 16], port)),
                |a| SocketAddr::new(a.ip(), port),
            );
            let socket = sockets::listen(address, settings.reach.plan().shares_port())?;
            sockets.push((adopt(socket)?, PlaceKind::Data));
        }
        let patience = settings.limits.data_connection;
        let service = Service::new(settings, protocols, (control_places..sockets.len()).collect());
        let reception = Arc::new(Reception(Arc::downgrade(&service)));
        let switchboard = Switchboard::new(sockets, patience, reception)?;
        service.set_switchboard(Arc::clone(&switchboard));
        Ok(Self {
            service,
            switchboard,
            control_places,
            patience: watch::Sender::new(None),
        })
    }

    /// The addresses of the control listeners, in the order of [`Config::listeners`].
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        (0..self.control_places)
            .filter_map(|place| self.switchboard.local_addr(place).ok())
            .collect()
    }

    /// A handle for signals.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            service: Arc::clone(&self.service),
            patience: self.patience.clone(),
        }
    }

    /// What listens, and what is known of it.
    fn ports(&self) -> Vec<(PlaceId, Listening)> {
        let settings = self.service.settings();
        let place = |place: PlaceId| {
            let address = self.switchboard.local_addr(place).ok()?;
            let spoken = self.service.protocols(place);
            let listening = Listening {
                address,
                // Sockets that the service manager passed are as it made them.
                shares_port: self.switchboard.shares_port(place),
                greeting: if spoken.ftp {
                    Some(format!("220 {}", settings.greeting))
                } else {
                    (spoken == Protocol::Sftp.into()).then(|| "SSH-2.0-Pasarela".to_owned())
                },
                scheme: spoken.iter().next().map(|protocol| match protocol {
                    Protocol::Ftp => "ftp",
                    Protocol::Ftps => "ftps",
                    Protocol::Sftp => "sftp",
                }),
            };
            Some((place, listening))
        };
        (0..self.switchboard.places()).filter_map(place).collect()
    }

    /// Serves until [`Handle::drain`] has done its work.
    pub async fn run(self) {
        let accepting = self.switchboard.spawn();
        let reachable = Reachable::start(&self.service.settings().reach, self.ports(), &self.switchboard);
        let mut patience = self.patience.subscribe();
        let asked = patience.wait_for(Option::is_some).await.map(|patience| *patience);
        // Data connections of running transfers still arrive; control connections are told goodbye at once.
        self.service.drain();
        let patience = asked.ok().flatten().unwrap_or_default();
        if !self.service.finished(patience).await {
            warn!("transfers were cut off at the end of the server's patience");
        }
        reachable.close().await;
        accepting.into_iter().for_each(|task| task.abort());
        info!("stopped");
    }
}

impl Handle {
    /// Swaps the settings; running sessions keep theirs. Listening ports stay as they are.
    pub fn reload(&self, settings: Settings) {
        self.service.reload(settings);
    }

    /// The addresses that are banned for guessing, with what is left of each ban.
    #[must_use]
    pub fn bans(&self) -> Vec<(IpAddr, Duration)> {
        self.service.gate().bans()
    }

    /// Bans again whom [`Handle::bans`] told, before a restart.
    pub fn restore_bans(&self, bans: Vec<(IpAddr, Duration)>) {
        self.service.gate().restore(bans);
    }

    /// Tells idle sessions goodbye (421), lets running transfers end for up to `patience`, and then lets
    /// [`Server::run`] return.
    pub fn drain(&self, patience: Duration) {
        self.patience.send_replace(Some(patience));
    }
}

fn adopt(socket: StdListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}
