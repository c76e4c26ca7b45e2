//! The control connection, from the client's side: raw lines out, checked replies in.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use socket2::SockRef;

use crate::server::{PASSWORD, USER};
use crate::wire::{Wire, dial, handshake};
use crate::{DEADLINE, Data, Reply};

/// A visitor of the server.
pub struct Client {
    wire: Wire,
    unread: Vec<u8>,
    lines: Vec<Vec<u8>>,
    from: IpAddr,
    /// What protects data connections (after `PROT P`); replace it to come without this session's ticket.
    pub data_tls: Option<Arc<ClientConfig>>,
}

impl Client {
    /// Connects from the local address `from`, without waiting for the greeting.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn dial(to: SocketAddr, from: impl Into<IpAddr>) -> io::Result<Self> {
        let from = from.into();
        Ok(Self::over(Wire::Plain(dial(to, from)?), from))
    }

    /// Connects to an implicit-TLS port, without waiting for the greeting.
    ///
    /// # Errors
    /// When nobody listens or the handshake fails.
    pub fn dial_implicit(
        to: SocketAddr,
        from: impl Into<IpAddr>,
        config: &Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let from = from.into();
        Ok(Self::over(handshake(dial(to, from)?, config)?, from))
    }

    fn over(wire: Wire, from: IpAddr) -> Self {
        Self {
            wire,
            unread: Vec::new(),
            lines: Vec::new(),
            from,
            data_tls: None,
        }
    }

    /// The server's end of the control connection.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.wire.socket().peer_addr().expect("connected")
    }

    /// The protocol that ALPN settled on.
    #[must_use]
    pub fn alpn(&self) -> Option<Vec<u8>> {
        self.wire.alpn()
    }

    // Lines and replies.

    /// Sends `bytes` as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.try_raw(bytes).expect("the server takes commands");
    }

    /// Sends `bytes` as they are, if the server still takes them.
    ///
    /// # Errors
    /// When it does not.
    pub fn try_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write_all(bytes)?;
        self.wire.flush()
    }

    /// Sends `bytes` as TCP urgent data; only the last byte is urgent.
    pub fn urgent(&mut self, bytes: &[u8]) {
        let sent = SockRef::from(self.wire.socket())
            .send_out_of_band(bytes)
            .expect("urgent data");
        assert_eq!(sent, bytes.len());
    }

    /// Sends one command without waiting for its reply.
    pub fn send(&mut self, command: impl AsRef<[u8]>) {
        let mut line = command.as_ref().to_vec();
        line.extend_from_slice(b"\r\n");
        self.raw(&line);
    }

    /// The next reply.
    pub fn reply(&mut self) -> Reply {
        match self.try_reply(DEADLINE) {
            Ok(Some(reply)) => reply,
            Ok(None) => panic!("the server closed instead of replying"),
            Err(error) => panic!("no reply: {error}"),
        }
    }

    /// The next reply; `None` when the server closed instead.
    ///
    /// # Errors
    /// `TimedOut` after `patience`, `InvalidData` for what is no reply, or what the socket says.
    pub fn try_reply(&mut self, patience: Duration) -> io::Result<Option<Reply>> {
        let until = Instant::now() + patience;
        loop {
            while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.unread.drain(..=end).collect();
                line.pop();
                if line.pop() != Some(b'\r') {
                    return Err(malformed("a reply line without CRLF"));
                }
                if let Some(reply) = Reply::feed(&mut self.lines, line).map_err(|why| malformed(&why))? {
                    return Ok(Some(reply));
                }
            }
            if self.fill(until)? == 0 {
                let inside = !self.unread.is_empty() || !self.lines.is_empty();
                return if inside {
                    Err(malformed("the end inside a reply"))
                } else {
                    Ok(None)
                };
            }
        }
    }

    fn fill(&mut self, until: Instant) -> io::Result<usize> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.wire.socket().set_read_timeout(Some(left))?;
        let mut buffer = [0; 4096];
        match self.wire.read(&mut buffer) {
            Ok(read) => {
                self.unread.extend_from_slice(&buffer[..read]);
                Ok(read)
            }
            // An end is an end: with RST, or without close_notify (which control connections often lack).
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
                ) =>
            {
                Ok(0)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
            Err(error) => Err(error),
        }
    }

    /// The next reply, which must have one of these codes.
    pub fn next(&mut self, codes: &[u16]) -> Reply {
        let reply = self.reply();
        assert!(codes.contains(&reply.code), "expected {codes:?}, got {reply:?}");
        reply
    }

    /// Sends one command; its reply must have one of these codes.
    pub fn expect(&mut self, command: impl AsRef<[u8]>, codes: &[u16]) -> Reply {
        let shown = String::from_utf8_lossy(command.as_ref()).into_owned();
        self.send(command);
        let reply = self.reply();
        assert!(
            codes.contains(&reply.code),
            "{shown:.200}: expected {codes:?}, got {reply:?}"
        );
        reply
    }

    /// Sends one command; its reply must be a refusal (4xx or 5xx).
    pub fn refuses(&mut self, command: impl AsRef<[u8]>) -> Reply {
        let shown = String::from_utf8_lossy(command.as_ref()).into_owned();
        self.send(command);
        let reply = self.reply();
        assert!(
            (400..600).contains(&reply.code),
            "{shown:.200}: expected a refusal, got {reply:?}"
        );
        reply
    }

    /// The server must close now, without another word.
    pub fn closed(&mut self) {
        match self.try_reply(DEADLINE) {
            Ok(None) => {}
            other => panic!("expected the end of the connection, got {other:?}"),
        }
    }

    /// Nothing may come for `time`.
    pub fn silent_for(&mut self, time: Duration) {
        match self.try_reply(time) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            other => panic!("expected silence, got {other:?}"),
        }
    }

    /// Everything until the server closes, as it comes.
    pub fn drain(&mut self) -> Vec<u8> {
        let until = Instant::now() + DEADLINE;
        loop {
            match self.fill(until) {
                Ok(0) => return std::mem::take(&mut self.unread),
                Ok(_) => {}
                Err(error) => panic!("the server did not close: {error}"),
            }
        }
    }

    // Getting in.

    /// USER and PASS.
    pub fn login(&mut self) {
        self.expect(format!("USER {USER}"), &[331]);
        self.expect(format!("PASS {PASSWORD}"), &[230]);
    }

    /// AUTH TLS and the handshake; data connections stay plain until [`Client::protect`].
    #[must_use]
    pub fn secure(mut self, config: &Arc<ClientConfig>) -> Self {
        self.expect("AUTH TLS", &[234]);
        self.start_tls(config).expect("the TLS handshake")
    }

    /// The handshake alone.
    ///
    /// # Errors
    /// When it fails.
    pub fn start_tls(self, config: &Arc<ClientConfig>) -> io::Result<Self> {
        assert!(self.unread.is_empty(), "bytes between 234 and the handshake");
        let Wire::Plain(stream) = self.wire else {
            panic!("TLS inside TLS")
        };
        Ok(Self::over(handshake(stream, config)?, self.from))
    }

    /// PBSZ and PROT P, data connections resuming what `config` remembers.
    pub fn protect(&mut self, config: &Arc<ClientConfig>) {
        self.expect("PBSZ 0", &[200]);
        self.expect("PROT P", &[200]);
        self.data_tls = Some(Arc::clone(config));
    }

    // Data connections.

    /// EPSV; where to connect.
    pub fn epsv(&mut self) -> SocketAddr {
        let reply = self.expect("EPSV", &[229]);
        self.epsv_address(&reply)
    }

    /// What a 229 names.
    #[must_use]
    pub fn epsv_address(&self, reply: &Reply) -> SocketAddr {
        let text = reply.text();
        let port = text
            .split_once("(|||")
            .and_then(|(_, rest)| rest.split_once("|)"));
        let port = port
            .and_then(|(port, _)| port.parse().ok())
            .unwrap_or_else(|| panic!("{reply:?}"));
        SocketAddr::new(self.peer().ip(), port)
    }

    /// PASV; where to connect.
    pub fn pasv(&mut self) -> SocketAddr {
        let reply = self.expect("PASV", &[227]);
        let text = reply.text();
        let inside = text.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
        let numbers: Option<Vec<u8>> =
            inside.map(|(numbers, _)| numbers.split(',').flat_map(str::parse).collect());
        let Some(&[a, b, c, d, high, low]) = numbers.as_deref() else {
            panic!("{reply:?}")
        };
        SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into()
    }

    /// A plain connection to `to` from this client's own address.
    #[must_use]
    pub fn connect(&self, to: SocketAddr) -> TcpStream {
        dial(to, self.from).expect("the data port listens")
    }

    /// A listener at this client's own address, for PORT and EPRT.
    #[must_use]
    pub fn listen(&self) -> TcpListener {
        let listener = TcpListener::bind((self.from, 0)).expect("a free port");
        // On Linux this bounds accept() as well.
        SockRef::from(&listener)
            .set_read_timeout(Some(DEADLINE))
            .expect("a timeout");
        listener
    }

    /// Begins a transfer: EPSV, connect, `command`, 150, and the handshake after `PROT P`.
    pub fn begin(&mut self, command: impl AsRef<[u8]>) -> Data {
        let to = self.epsv();
        let socket = self.connect(to);
        self.expect(command, &[125, 150]);
        Data::start(socket, self.data_tls.as_ref()).expect("the data connection's handshake")
    }

    /// A transfer that must be refused before it begins, with one of these codes.
    pub fn refused(&mut self, command: impl AsRef<[u8]>, codes: &[u16]) -> Reply {
        let to = self.epsv();
        let _socket = self.connect(to);
        self.expect(command, codes)
    }

    /// A transfer that must end in 425 (or be a bad sequence) because no data connection comes about; some servers
    /// tell 150 first.
    pub fn unserved(&mut self, command: impl AsRef<[u8]>) -> Reply {
        let reply = self.expect(command, &[125, 150, 425, 503]);
        if reply.code < 200 {
            self.next(&[425])
        } else {
            reply
        }
    }

    /// A whole download (or listing): exactly one 226 after the data.
    pub fn receive(&mut self, command: impl AsRef<[u8]>) -> Vec<u8> {
        let bytes = self.begin(command).read_all();
        self.next(&[226, 250]);
        bytes
    }

    /// A whole upload: exactly one 226 after the data.
    pub fn store(&mut self, command: impl AsRef<[u8]>, bytes: &[u8]) {
        let mut data = self.begin(command);
        data.write(bytes);
        data.finish();
        self.next(&[226, 250]);
    }

    /// The names that MLSD and NLST show here; both must agree.
    pub fn names(&mut self) -> Vec<String> {
        let facts = String::from_utf8_lossy(&self.receive("MLSD")).into_owned();
        let entries = facts
            .lines()
            .filter(|line| !line.to_lowercase().contains("type=cdir;"));
        let entries = entries.filter(|line| !line.to_lowercase().contains("type=pdir;"));
        let mut from_facts: Vec<String> = entries
            .map(|line| line.split_once(' ').expect("facts, then a name").1.to_owned())
            .collect();
        let mut from_names: Vec<String> = String::from_utf8_lossy(&self.receive("NLST"))
            .lines()
            .map(str::to_owned)
            .collect();
        from_facts.sort();
        from_names.sort();
        assert_eq!(from_facts, from_names, "MLSD and NLST agree");
        from_facts
    }

    /// Ends the control connection with FIN, without QUIT.
    pub fn hang_up(self) {
        self.wire
            .socket()
            .shutdown(std::net::Shutdown::Both)
            .expect("FIN");
    }

    /// Ends the control connection with RST.
    pub fn reset(self) {
        self.wire.reset();
    }
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
