//! Listeners and one driver a protocol.

mod config;

use std::io;
use std::net::SocketAddr;

pub use config::{Config, DataPorts, Listener, RequireResumption, Settings, TlsMode};

/// A running server: its sockets are bound, nobody is greeted before [`Server::run`].
pub struct Server {}

/// Changes a running server and stops it; cheap to clone.
#[derive(Clone)]
pub struct Handle {}

impl Server {
    /// Takes the listeners and binds the data ports that the settings ask for.
    ///
    /// # Errors
    /// When a data port cannot be bound.
    pub fn new(_config: Config) -> io::Result<Self> {
        Ok(Self {})
    }

    /// The addresses of the control listeners, in the order of [`Config::listeners`].
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        Vec::new()
    }

    /// A handle for signals.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {}
    }

    /// Serves until [`Handle::drain`] has done its work.
    pub async fn run(self) {}
}

impl Handle {
    /// Swaps the settings; running sessions keep theirs.
    pub fn reload(&self, _settings: Settings) {}

    /// Stops accepting, tells idle sessions goodbye (421), lets running transfers end for up to `patience`, and
    /// then lets [`Server::run`] return.
    pub fn drain(&self, _patience: std::time::Duration) {}
}
