//! A raw, blocking FTP client (RFC 959, 2428, 4217) that sends exactly what a test says and checks what comes back.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustls::{ClientConnection, HandshakeKind, ProtocolVersion, StreamOwned};

use crate::pasarela::{PASSWORD, USER};
use crate::tls::TlsClient;

/// How long a reply or a block of data may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One whole reply (RFC 959 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// Its lines without the line ends, the code still in front where it was. Bytes that are no UTF-8 are U+FFFD.
    pub lines: Vec<String>,
}

impl Reply {
    /// The last line after the code and the space.
    #[must_use]
    pub fn text(&self) -> &str {
        self.lines
            .last()
            .and_then(|line| line.get(4..))
            .unwrap_or_default()
    }
}

/// A control connection. `expect*`, `login`, `retrieve`, … panic with the whole dialogue so far; `ask` and
/// `try_read_reply` let the test decide.
#[derive(Debug)]
pub struct Dialogue {
    stream: Stream,
    unread: Vec<u8>,
    tls: Option<TlsClient>,
    protected: bool,
    transcript: String,
}

impl Dialogue {
    /// Connects and takes the greeting, which must be 220.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[track_caller]
    pub fn connect(server: SocketAddr) -> Self {
        let mut dialogue = Self::silent(server);
        dialogue.expect_reply(220);
        dialogue
    }

    /// Connects and does not wait for a greeting.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    #[track_caller]
    pub fn silent(server: SocketAddr) -> Self {
        let stream = Stream::Plain(dial(server));
        Self {
            stream,
            unread: Vec::new(),
            tls: None,
            protected: false,
            transcript: String::new(),
        }
    }

    /// Connects with implicit FTPS: TLS first, then the greeting. Data connections are protected from the start.
    ///
    /// # Panics
    /// When the handshake fails or there is no greeting.
    #[must_use]
    #[track_caller]
    pub fn connect_implicit(server: SocketAddr, tls: &TlsClient) -> Self {
        let mut dialogue = Self::silent(server);
        dialogue.start_tls(tls);
        dialogue.protected = true;
        dialogue.expect_reply(220);
        dialogue
    }

    /// AUTH TLS and the handshake (RFC 4217 §4). Data connections stay clear until [`Dialogue::protect`].
    ///
    /// # Panics
    /// When it is refused or fails.
    #[track_caller]
    pub fn auth_tls(&mut self, tls: &TlsClient) {
        self.expect("AUTH TLS", 234);
        self.start_tls(tls);
    }

    /// The handshake alone; the session cache of `tls` is used for data connections too.
    ///
    /// # Panics
    /// When it fails, or when the server spoke in clear before it.
    #[track_caller]
    pub fn start_tls(&mut self, tls: &TlsClient) {
        assert!(
            self.unread.is_empty(),
            "unasked clear text before TLS{}",
            self.dialogue_so_far()
        );
        let Stream::Plain(tcp) = &self.stream else {
            panic!("TLS runs already")
        };
        self.stream = secured(tcp.try_clone().unwrap(), tls)
            .unwrap_or_else(|error| panic!("TLS handshake: {error}{}", self.dialogue_so_far()));
        self.tls = Some(tls.clone());
    }

    /// USER and PASS of the started server's account.
    ///
    /// # Panics
    /// When they are refused.
    #[track_caller]
    pub fn login(&mut self) {
        self.expect(&format!("USER {USER}"), 331);
        self.expect(&format!("PASS {PASSWORD}"), 230);
        self.expect("TYPE I", 200);
    }

    /// PBSZ 0 and PROT P: from now on data connections are protected.
    ///
    /// # Panics
    /// When they are refused.
    #[track_caller]
    pub fn protect(&mut self) {
        self.expect("PBSZ 0", 200);
        self.expect("PROT P", 200);
        self.protected = true;
    }

    /// Says whether data connections use TLS, without a word to the server (`PROT C`, `CCC` and mistakes).
    pub fn assume_protection(&mut self, protected: bool) {
        self.protected = protected;
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the connection is gone.
    #[track_caller]
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.transcript.push_str(&format!("> {}\n", bytes.escape_ascii()));
        if let Err(error) = self.stream.write_all(bytes).and_then(|()| self.stream.flush()) {
            panic!("sending: {error}{}", self.dialogue_so_far());
        }
    }

    /// Sends bytes in one TCP segment with urgent data at its end: Telnet Synch (RFC 959 §4.1.3 ABOR), plain only.
    ///
    /// # Panics
    /// When the connection is gone or runs TLS.
    #[track_caller]
    pub fn send_urgent(&mut self, bytes: &[u8]) {
        let Stream::Plain(tcp) = &self.stream else {
            panic!("urgent data over TLS")
        };
        rustix::net::send(tcp, bytes, rustix::net::SendFlags::OOB).unwrap();
    }

    /// Sends one command line, adding CRLF.
    ///
    /// # Panics
    /// When the connection is gone.
    #[track_caller]
    pub fn send(&mut self, line: &str) {
        self.send_raw(format!("{line}\r\n").as_bytes());
    }

    /// The next whole reply, or why there is none: `UnexpectedEof` when the server closed.
    ///
    /// # Errors
    /// `TimedOut`/`WouldBlock` after 20 seconds, `InvalidData` for what is no reply, and the socket's own.
    pub fn try_read_reply(&mut self) -> io::Result<Reply> {
        let first = self.read_line()?;
        let code = first.get(..3).and_then(|digits| digits.parse().ok());
        let Some(code @ 100..=599) = code else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("no reply: {first:?}"),
            ));
        };
        let mut lines = vec![first];
        match lines[0].as_bytes().get(3) {
            Some(b' ') => {}
            Some(b'-') => {
                let last = format!("{code:03} ");
                while !(lines.len() > 1 && lines.last().is_some_and(|line| line.starts_with(&last))) {
                    let line = self.read_line()?;
                    lines.push(line);
                }
            }
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("no reply: {:?}", lines[0]),
                ));
            }
        }
        Ok(Reply { code, lines })
    }

    /// The next whole reply.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn read_reply(&mut self) -> Reply {
        match self.try_read_reply() {
            Ok(reply) => reply,
            Err(error) => panic!("no reply: {error}{}", self.dialogue_so_far()),
        }
    }

    /// Sends a command and takes one reply, whatever it is.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> Reply {
        self.send(line);
        self.read_reply()
    }

    /// The next reply must have this code.
    ///
    /// # Panics
    /// When it has not.
    #[track_caller]
    pub fn expect_reply(&mut self, code: u16) -> Reply {
        let reply = self.read_reply();
        assert!(reply.code == code, "expected {code}{}", self.dialogue_so_far());
        reply
    }

    /// Sends a command whose reply must have this code.
    ///
    /// # Panics
    /// When it has not.
    #[track_caller]
    pub fn expect(&mut self, line: &str, code: u16) -> Reply {
        self.send(line);
        self.expect_reply(code)
    }

    /// The server must have closed, or close now, without another reply.
    ///
    /// # Panics
    /// When it says something or stays silent.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        match self.try_read_reply() {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
                ) => {}
            other => panic!("expected the end, found {other:?}{}", self.dialogue_so_far()),
        }
    }

    /// EPSV (RFC 2428 §3): where to connect for data.
    ///
    /// # Panics
    /// When it is refused or the reply names no port.
    #[track_caller]
    pub fn epsv(&mut self) -> SocketAddr {
        let reply = self.expect("EPSV", 229);
        let port = extended_port(reply.text()).unwrap_or_else(|| panic!("no port in {reply:?}"));
        SocketAddr::new(self.stream.tcp().peer_addr().unwrap().ip(), port)
    }

    /// PASV (RFC 959 §4.1.2): where to connect for data.
    ///
    /// # Panics
    /// When it is refused or the reply names no address.
    #[track_caller]
    pub fn pasv(&mut self) -> SocketAddr {
        let reply = self.expect("PASV", 227);
        six_numbers(reply.text()).unwrap_or_else(|| panic!("no address in {reply:?}"))
    }

    /// EPSV and the TCP connection. TLS is not started: servers begin it after the transfer command, see
    /// [`Dialogue::secure_data`].
    ///
    /// # Panics
    /// When either fails.
    #[track_caller]
    pub fn open_data(&mut self) -> DataConnection {
        DataConnection {
            stream: Stream::Plain(dial(self.epsv())),
        }
    }

    /// EPRT (RFC 2428 §2): listens beside the control connection; accept after the transfer command.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn eprt(&mut self) -> TcpListener {
        let listener = TcpListener::bind((self.stream.tcp().local_addr().unwrap().ip(), 0)).unwrap();
        let local = listener.local_addr().unwrap();
        let family = if local.is_ipv4() { 1 } else { 2 };
        self.expect(&format!("EPRT |{family}|{}|{}|", local.ip(), local.port()), 200);
        listener
    }

    /// The handshake on a data connection when they are protected, with this control connection's session cache.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn secure_data(&mut self, data: DataConnection) -> DataConnection {
        match self.try_secure_data(data) {
            Ok(data) => data,
            Err(error) => panic!("TLS on the data connection: {error}{}", self.dialogue_so_far()),
        }
    }

    /// As [`Dialogue::secure_data`].
    ///
    /// # Errors
    /// What went wrong with the handshake.
    pub fn try_secure_data(&mut self, data: DataConnection) -> io::Result<DataConnection> {
        let (Some(tls), true) = (&self.tls, self.protected) else {
            return Ok(data);
        };
        let Stream::Plain(tcp) = data.stream else {
            return Ok(data);
        };
        Ok(DataConnection {
            stream: secured(tcp, tls)?,
        })
    }

    /// A whole transfer from the server: `command` is `RETR a`, `LIST`, `MLSD x`, …
    ///
    /// # Panics
    /// When any step of it fails.
    #[track_caller]
    pub fn download(&mut self, command: &str) -> Vec<u8> {
        let data = self.open_data();
        self.send(command);
        self.expect_start();
        let bytes = match self.secure_data(data).read_all() {
            Ok(bytes) => bytes,
            Err(error) => panic!("data connection of {command}: {error}{}", self.dialogue_so_far()),
        };
        self.expect_reply(226);
        bytes
    }

    /// A whole transfer to the server: `command` is `STOR a`, `APPE a`, …
    ///
    /// # Panics
    /// When any step of it fails.
    #[track_caller]
    pub fn upload(&mut self, command: &str, bytes: &[u8]) {
        let data = self.open_data();
        self.send(command);
        self.expect_start();
        if let Err(error) = self.secure_data(data).write_and_finish(bytes) {
            panic!("data connection of {command}: {error}{}", self.dialogue_so_far());
        }
        self.expect_reply(226);
    }

    /// RETR.
    ///
    /// # Panics
    /// When any step of it fails.
    #[track_caller]
    pub fn retrieve(&mut self, path: &str) -> Vec<u8> {
        self.download(&format!("RETR {path}"))
    }

    /// STOR.
    ///
    /// # Panics
    /// When any step of it fails.
    #[track_caller]
    pub fn store(&mut self, path: &str, bytes: &[u8]) {
        self.upload(&format!("STOR {path}"), bytes);
    }

    /// LIST as text.
    ///
    /// # Panics
    /// When any step of it fails.
    #[track_caller]
    pub fn list(&mut self) -> String {
        String::from_utf8_lossy(&self.download("LIST")).into_owned()
    }

    /// The TLS version of the control connection.
    #[must_use]
    pub fn tls_version(&self) -> Option<ProtocolVersion> {
        self.stream.tls()?.protocol_version()
    }

    /// Our end of the control connection.
    ///
    /// # Panics
    /// When the socket is gone.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.stream.tcp().local_addr().unwrap()
    }

    /// The TCP connection under it, to close or reset it.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        self.stream.tcp()
    }

    /// A 1yz reply; servers say 125 or 150 (RFC 959 §5.4).
    #[track_caller]
    fn expect_start(&mut self) {
        let reply = self.read_reply();
        assert!(
            matches!(reply.code, 125 | 150),
            "expected 125 or 150{}",
            self.dialogue_so_far()
        );
    }

    fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                let Some(line) = line.strip_suffix(b"\r\n") else {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a line that ends in LF alone",
                    ));
                };
                let line = String::from_utf8_lossy(line).into_owned();
                self.transcript.push_str(&format!("< {line}\n"));
                return Ok(line);
            }
            let mut block = [0; 4096];
            match self.stream.read(&mut block)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.unread.extend_from_slice(&block[..read]),
            }
        }
    }

    fn dialogue_so_far(&self) -> String {
        format!("; the dialogue:\n{}", self.transcript)
    }
}

/// A data connection, clear or protected.
#[derive(Debug)]
pub struct DataConnection {
    stream: Stream,
}

impl DataConnection {
    /// Dials an address from PASV or EPSV.
    ///
    /// # Panics
    /// When nobody listens there.
    #[must_use]
    #[track_caller]
    pub fn dial(address: SocketAddr) -> Self {
        Self {
            stream: Stream::Plain(dial(address)),
        }
    }

    /// As [`DataConnection::dial`] from another local address, as a stranger would.
    ///
    /// # Panics
    /// When the address cannot be used or nobody listens.
    #[must_use]
    #[track_caller]
    pub fn dial_from(local: IpAddr, address: SocketAddr) -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let family = if address.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let socket = socket(family, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::new(local, 0)).unwrap();
        connect(&socket, &address).unwrap();
        Self {
            stream: Stream::Plain(patient(TcpStream::from(socket))),
        }
    }

    /// Takes a connection that the server made to our listener (active mode).
    #[must_use]
    pub fn from_tcp(tcp: TcpStream) -> Self {
        Self {
            stream: Stream::Plain(patient(tcp)),
        }
    }

    /// Reads to the end. Over TLS the end must be announced by `close_notify`.
    ///
    /// # Errors
    /// `UnexpectedEof` for a stream that was cut, and the socket's own.
    pub fn read_all(mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes)?;
        self.finish()?;
        Ok(bytes)
    }

    /// Writes everything, then says that this is the end.
    ///
    /// # Errors
    /// The socket's own.
    pub fn write_and_finish(mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.finish()
    }

    /// `close_notify` when protected, then FIN.
    ///
    /// # Errors
    /// The socket's own.
    pub fn finish(mut self) -> io::Result<()> {
        if let Stream::Tls(tls) = &mut self.stream {
            tls.conn.send_close_notify();
        }
        self.stream.flush()?;
        match self.stream.tcp().shutdown(Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the handshake resumed an earlier session; `None` without TLS.
    #[must_use]
    pub fn resumed(&self) -> Option<bool> {
        Some(self.stream.tls()?.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// The TCP connection under it, to cut or stall it.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        self.stream.tcp()
    }
}

impl Read for DataConnection {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        self.stream.read(block)
    }
}

impl Write for DataConnection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &tls.sock,
        }
    }

    fn tls(&self) -> Option<&ClientConnection> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => Some(&tls.conn),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(block),
            Self::Tls(tls) => tls.read(block),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

#[track_caller]
fn dial(address: SocketAddr) -> TcpStream {
    let tcp =
        TcpStream::connect_timeout(&address, PATIENCE).unwrap_or_else(|error| panic!("{address}: {error}"));
    patient(tcp)
}

fn patient(tcp: TcpStream) -> TcpStream {
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.set_write_timeout(Some(PATIENCE)).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

fn secured(mut tcp: TcpStream, tls: &TlsClient) -> io::Result<Stream> {
    let mut connection = tls.connection();
    while connection.is_handshaking() {
        connection.complete_io(&mut tcp)?;
    }
    Ok(Stream::Tls(Box::new(StreamOwned::new(connection, tcp))))
}

/// The port in `…(|||PORT|)…`, with any delimiter.
fn extended_port(text: &str) -> Option<u16> {
    let inside = text.split_once('(')?.1.split_once(')')?.0;
    let delimiter = inside.chars().next()?;
    inside
        .strip_prefix(&delimiter.to_string().repeat(3))?
        .strip_suffix(delimiter)?
        .parse()
        .ok()
}

/// The address in `…(h1,h2,h3,h4,p1,p2)…`.
fn six_numbers(text: &str) -> Option<SocketAddr> {
    let inside = text.split_once('(')?.1.split_once(')')?.0;
    let numbers: Vec<u8> = inside.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [a, b, c, d, high, low] = numbers[..] else {
        return None;
    };
    Some(SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passive_replies_are_read() {
        assert_eq!(
            extended_port("Entering Extended Passive Mode (|||6446|)"),
            Some(6446)
        );
        assert_eq!(extended_port("(!!!21!)."), Some(21));
        assert_eq!(extended_port("(|||70000|)"), None);
        assert_eq!(
            six_numbers("ok (127,0,0,1,8,73)."),
            Some("127.0.0.1:2121".parse().unwrap())
        );
        assert_eq!(six_numbers("ok (127,0,0,1,8)"), None);
    }

    #[test]
    fn a_reply_of_many_lines_is_one_reply() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            peer.write_all(b"220-hello\r\n220 is not\r\n221 no\r\n220 x\r\n550 ")
                .unwrap();
            peer.write_all(b"gone\r\n").unwrap();
        });
        let mut dialogue = Dialogue::silent(address);
        assert_eq!(dialogue.read_reply().lines, ["220-hello", "220 is not"]);
        assert_eq!(dialogue.read_reply().code, 221);
        assert_eq!(dialogue.read_reply().text(), "x");
        assert_eq!(dialogue.expect_reply(550).text(), "gone");
        dialogue.expect_closed();
        server.join().unwrap();
    }
}
