//! What a server is told by its operator, typed; where it comes from is the binary's business.

use std::net::TcpListener;
use std::sync::Arc;

use pasarela_reach::Reach;
use pasarela_session::auth::Users;
use pasarela_session::limits::Limits;
use pasarela_tls::ServerTls;

use crate::sftp::HostKeys;

/// What it takes to start.
pub struct Config {
    /// The bound control sockets.
    pub listeners: Vec<Listener>,
    /// What can be changed while it runs.
    pub settings: Settings,
}

/// A control socket, bound and listening.
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// What is spoken there.
    pub protocols: Protocols,
}

/// Protocols that one socket speaks. Of several, the client's first word tells: SSH and TLS clients have one, and whoever
/// keeps silent for a moment is greeted as an FTP client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protocols {
    /// [`Protocol::Ftp`].
    pub ftp: bool,
    /// [`Protocol::Ftps`].
    pub ftps: bool,
    /// [`Protocol::Sftp`].
    pub sftp: bool,
}

impl Protocols {
    /// Those of them that are spoken.
    pub fn iter(self) -> impl Iterator<Item = Protocol> {
        let all = [
            (self.ftp, Protocol::Ftp),
            (self.ftps, Protocol::Ftps),
            (self.sftp, Protocol::Sftp),
        ];
        all.into_iter()
            .filter(|(is_spoken, _)| *is_spoken)
            .map(|(_, protocol)| protocol)
    }

    /// Whether that one is spoken.
    #[must_use]
    pub fn has(self, protocol: Protocol) -> bool {
        self.iter().any(|spoken| spoken == protocol)
    }
}

impl FromIterator<Protocol> for Protocols {
    fn from_iter<I: IntoIterator<Item = Protocol>>(protocols: I) -> Self {
        let mut all = Self::default();
        for protocol in protocols {
            match protocol {
                Protocol::Ftp => all.ftp = true,
                Protocol::Ftps => all.ftps = true,
                Protocol::Sftp => all.sftp = true,
            }
        }
        all
    }
}

impl From<Protocol> for Protocols {
    fn from(protocol: Protocol) -> Self {
        [protocol].into_iter().collect()
    }
}

/// What is spoken on a listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// FTP, and FTPS after AUTH TLS.
    Ftp,
    /// FTPS with TLS from the first byte (implicit).
    Ftps,
    /// SFTP.
    Sftp,
}

/// What can be changed while it runs.
#[derive(Clone)]
pub struct Settings {
    /// Who may log in.
    pub users: Arc<Users>,
    /// Certificates; needed unless `tls_mode` is off and no listener is implicit.
    pub tls: Option<ServerTls>,
    /// Whether clients must use it.
    pub tls_mode: TlsMode,
    /// SSH; needed where a listener speaks SFTP.
    pub ssh: Option<Ssh>,
    /// Where data connections arrive. Read at start only.
    pub data_ports: DataPorts,
    /// Whether a data connection must resume its session's TLS.
    pub require_resumption: RequireResumption,
    /// Whether PORT and EPRT are served.
    pub active: bool,
    /// Caps and deadlines.
    pub limits: Limits,
    /// Which address to announce.
    pub reach: Reach,
    /// The words of the greeting, one line without line breaks.
    pub greeting: String,
    /// Names this server answers to (HOST); empty means any.
    pub host_names: Vec<String>,
}

/// How this server speaks SSH: its keys, and nothing that is weak.
#[derive(Clone)]
pub struct Ssh(pub(crate) Arc<russh::server::Config>);

impl Ssh {
    /// With these keys.
    #[must_use]
    pub fn new(keys: &HostKeys) -> Self {
        Self(crate::sftp::connection::ssh(keys))
    }
}

/// Whether sessions must be protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// Accounts with a password must protect control and data.
    #[default]
    Required,
    /// The client decides.
    Optional,
    /// AUTH is not offered.
    Off,
}

/// Where data connections arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DataPorts {
    /// The control port; for plain data a second port once the control port would be ambiguous for the peer.
    #[default]
    Auto,
    /// The control port, always.
    Control,
    /// One more port that all sessions share.
    Port(u16),
    /// A few ports, first to last, that all sessions share.
    Range(u16, u16),
}

/// Whether a protected data connection must resume the TLS session of its control connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequireResumption {
    /// Any data connection from the control peer's address will do.
    Never,
    /// A session that is offered must be this control connection's; none offered is judged by address.
    #[default]
    WhenOffered,
    /// No resumption, no data (522).
    Always,
}
