//! The server's side of TLS: one configuration a handshake, so that tickets can be told apart.

use std::io;

use tokio::net::TcpStream;

use crate::{Material, Stream, Tag};

/// The server's certificates and its tickets. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct ServerTls {}

/// A finished handshake.
pub struct Accepted {
    /// The protected stream. Tickets of TLS 1.3 are held back until something is written or it is shut down.
    pub stream: Stream,
    /// The tag under which this handshake issues its tickets; fresh, not admitted yet.
    pub issued: Tag,
    /// The owner whose ticket or session id was resumed; `None` after a full handshake.
    pub resumed: Option<Tag>,
    /// Whether the client offered a session, resumed or not.
    pub offered: bool,
}

impl ServerTls {
    /// Serves with this certificate.
    ///
    /// # Errors
    /// When rustls refuses certificate or key.
    pub fn new(_material: Material) -> io::Result<Self> {
        Ok(Self {})
    }

    /// Another certificate for the handshakes from now on.
    ///
    /// # Errors
    /// As [`ServerTls::new`]; the old certificate stays then.
    pub fn reload(&self, _material: Material) -> io::Result<()> {
        Ok(())
    }

    /// The handshake of a control connection after AUTH TLS: resumes nothing, issues several tickets at once.
    pub async fn accept_control(&self, _stream: TcpStream) -> io::Result<Accepted> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The handshake of a data connection: one ticket, held back.
    pub async fn accept_data(&self, _stream: TcpStream) -> io::Result<Accepted> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The handshake of a connection that may become either (implicit FTPS on a port that is also the data
    /// port): several tickets, held back.
    pub async fn accept_either(&self, _stream: TcpStream) -> io::Result<Accepted> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes the tickets issued under `issued` prove `owner`. A control connection admits its own tag.
    pub fn admit(&self, _issued: Tag, _owner: Tag) {}

    /// Forgets an owner: nothing that was issued to it resumes any more.
    pub fn retire(&self, _owner: Tag) {}
}
