//! The data connection, from the client's side.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::eventually;
use crate::wire::{Wire, handshake};

/// A data connection that is ready to carry bytes.
pub struct Data {
    wire: Wire,
}

impl Data {
    /// Takes a connected socket and protects it when `tls` says so.
    ///
    /// # Errors
    /// When the handshake fails.
    pub fn start(socket: TcpStream, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let wire = match tls {
            None => Wire::Plain(socket),
            Some(config) => handshake(socket, config)?,
        };
        Ok(Self { wire })
    }

    /// Whether the TLS handshake resumed a session.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.wire.resumed()
    }

    /// Reads to the end, which must be a clean one: FIN, with TLS after `close_notify`.
    #[must_use]
    pub fn read_all(self) -> Vec<u8> {
        let (bytes, end) = self.remains();
        end.expect("the data connection ends cleanly");
        bytes
    }

    /// Reads to the end, whichever it is.
    pub fn remains(mut self) -> (Vec<u8>, io::Result<()>) {
        let mut bytes = Vec::new();
        let end = self.wire.read_to_end(&mut bytes).map(|_| ());
        (bytes, end)
    }

    /// Reads exactly `len` bytes.
    pub fn read_exact(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.wire.read_exact(&mut bytes).expect("more data");
        bytes
    }

    /// Sends `bytes`, now.
    pub fn write(&mut self, bytes: &[u8]) {
        self.try_write(bytes).expect("the server takes data");
    }

    /// Sends `bytes`, now, if the server still takes them.
    ///
    /// # Errors
    /// When it does not.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write_all(bytes)?;
        self.wire.flush()
    }

    /// Waits until the server has read everything that was sent: nothing is queued in the kernel at either end.
    pub fn taken(&self) {
        let socket = self.wire.socket();
        let mine = socket.local_addr().expect("connected").port();
        let theirs = socket.peer_addr().expect("connected").port();
        eventually("the server reads what was sent", || {
            let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table of connections");
            let queue = |from: u16, to: u16, sent: bool| {
                let row = table.lines().find(|row| {
                    let mut words = row.split_whitespace().skip(1);
                    let mut has = |port: u16| {
                        words
                            .next()
                            .is_some_and(|word| word.ends_with(&format!(":{port:04X}")))
                    };
                    has(from) && has(to)
                });
                let queues = row.and_then(|row| row.split_whitespace().nth(4)?.split_once(':'));
                queues
                    .map(|(tx, rx)| if sent { tx } else { rx })
                    .is_some_and(|bytes| bytes == "00000000")
            };
            queue(mine, theirs, true) && queue(theirs, mine, false)
        });
    }

    /// Ends an upload as it should be ended, and waits for the server's end.
    pub fn finish(mut self) {
        self.wire.end().expect("the end can be told");
        // What the server says here (TLS tickets, its own end) is read so that no RST meets our last bytes.
        let _ = io::copy(&mut self.wire, &mut io::sink());
    }

    /// Ends with FIN alone: with TLS that is a truncation.
    pub fn cut(self) {
        self.wire
            .socket()
            .shutdown(std::net::Shutdown::Both)
            .expect("FIN");
    }

    /// As [`Data::cut`], where the server may have hung up already.
    pub fn cut_quietly(self) {
        // Not connected any more: that is what was wanted.
        let _ = self.wire.socket().shutdown(std::net::Shutdown::Both);
    }

    /// Ends with RST.
    pub fn reset(self) {
        self.wire.reset();
    }

    /// Whether the server has ended or reset this connection within `patience`, without sending a byte.
    pub fn ends_empty(mut self, patience: Duration) -> bool {
        self.wire
            .socket()
            .set_read_timeout(Some(patience))
            .expect("a timeout");
        match self.wire.read(&mut [0; 1]) {
            Ok(read) => read == 0,
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        }
    }
}
