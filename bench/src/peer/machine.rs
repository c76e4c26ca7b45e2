//! What the machine does without any server: this program itself, moving a file through sockets, one connection a file.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustix::fs::sendfile;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};

use super::{Peer, Setting, Speaks};
use crate::failed::{During as _, Failed};

/// Bytes a pipe takes, and a splice or sendfile call moves.
const PIPE: usize = 256 * 1024;
/// Bytes a read or write moves.
const BUFFER: usize = 256 * 1024;

/// The hidden subcommand that makes this program such a mover.
pub(crate) const MOVE: &str = "move-bytes";

const LIMIT: Peer = Peer {
    name: "",
    speaks: Speaks::Download,
    tls: false,
    mlsd: false,
    root: false,
    user: "",
    password: "",
    program: |_| std::env::current_exe().ok(),
    command: |_| Err(Failed::Missing("no command".to_owned())),
};

pub(super) static SENDFILE: Peer = Peer {
    name: "limit: sendfile",
    command: |setting| Ok(mover(setting, Way::Sendfile)),
    ..LIMIT
};

pub(super) static SPLICE_DOWN: Peer = Peer {
    name: "limit: splice",
    command: |setting| Ok(mover(setting, Way::SpliceDown)),
    ..LIMIT
};

pub(super) static SPLICE_UP: Peer = Peer {
    name: "limit: splice up",
    speaks: Speaks::Upload,
    command: |setting| Ok(mover(setting, Way::SpliceUp)),
    ..LIMIT
};

pub(super) static READ_UP: Peer = Peer {
    name: "limit: read, write",
    speaks: Speaks::Upload,
    command: |setting| Ok(mover(setting, Way::ReadUp)),
    ..LIMIT
};

pub(super) static WRITE_TLS: Peer = Peer {
    name: "limit: bare TLS",
    tls: true,
    command: |setting| Ok(mover(setting, Way::WriteTls)),
    ..LIMIT
};

pub(super) static READ_TLS: Peer = Peer {
    name: "limit: bare TLS up",
    speaks: Speaks::Upload,
    tls: true,
    command: |setting| Ok(mover(setting, Way::ReadTls)),
    ..LIMIT
};

/// How bytes get from a file into a socket, or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Way {
    /// File to socket by sendfile.
    Sendfile,
    /// File to pipe to socket.
    SpliceDown,
    /// Socket to pipe to file.
    SpliceUp,
    /// Socket to buffer to file.
    ReadUp,
    /// File to buffer to rustls to socket.
    WriteTls,
    /// Socket to rustls to file.
    ReadTls,
}

fn mover(setting: &Setting<'_>, way: Way) -> Command {
    let (word, file) = match way {
        Way::Sendfile => ("sendfile", "large"),
        Way::SpliceDown => ("splice-down", "large"),
        Way::WriteTls => ("write-tls", "large"),
        Way::SpliceUp => ("splice-up", "up/limit"),
        Way::ReadUp => ("read-up", "up/limit"),
        Way::ReadTls => ("read-tls", "up/limit"),
    };
    let [certificate, key, _] = setting.tree.pem();
    let mut command = Command::new(setting.program);
    command
        .arg(MOVE)
        .arg(word)
        .arg(setting.port.to_string())
        .arg(setting.tree.file(file))
        .arg(certificate)
        .arg(key);
    command
}

/// Moves a file for everybody who connects, one after the other, until it is ended.
pub(crate) fn serve(way: Way, port: u16, file: &Path, pem: [&Path; 2]) -> Result<(), Failed> {
    let listener = TcpListener::bind(("127.0.0.1", port)).during("listening")?;
    let tls = server_config(pem)?;
    loop {
        let (socket, _) = listener.accept().during("accepting")?;
        let moved = match way {
            Way::Sendfile | Way::SpliceDown => open(file).and_then(|file| down(way, &socket, &file)),
            Way::SpliceUp | Way::ReadUp => create(file).and_then(|file| up(way, &socket, file)),
            Way::WriteTls => open(file).and_then(|mut file| {
                let mut stream = Bare::accept(socket, &tls)?;
                stream.send(&mut file)
            }),
            Way::ReadTls => create(file).and_then(|mut file| {
                let mut stream = Bare::accept(socket, &tls)?;
                stream.receive(&mut file)
            }),
        };
        // Somebody who leaves in the middle has measured nothing; the next one may.
        if let Err(failed) = moved {
            eprintln!("{failed}");
        }
    }
}

fn open(path: &Path) -> Result<File, Failed> {
    File::open(path).during(path.display().to_string())
}

fn create(path: &Path) -> Result<File, Failed> {
    File::create(path).during(path.display().to_string())
}

fn pipe() -> Result<(std::os::fd::OwnedFd, std::os::fd::OwnedFd), Failed> {
    let pipe = pipe_with(PipeFlags::CLOEXEC).during("pipe")?;
    let _ = fcntl_setpipe_size(&pipe.1, PIPE);
    Ok(pipe)
}

fn down(way: Way, socket: &TcpStream, file: &File) -> Result<(), Failed> {
    if way == Way::Sendfile {
        while sendfile(socket, file, None, 1 << 20).during("sendfile")? > 0 {}
        return Ok(());
    }
    through(file, &pipe()?, socket)
}

fn up(way: Way, mut socket: &TcpStream, mut file: File) -> Result<(), Failed> {
    if way == Way::SpliceUp {
        return through(socket, &pipe()?, &file);
    }
    let mut buffer = vec![0; BUFFER];
    loop {
        match socket.read(&mut buffer).during("reading")? {
            0 => return Ok(()),
            read => file.write_all(&buffer[..read]).during("writing")?,
        }
    }
}

fn through(
    from: impl std::os::fd::AsFd,
    (out, into): &(std::os::fd::OwnedFd, std::os::fd::OwnedFd),
    to: impl std::os::fd::AsFd,
) -> Result<(), Failed> {
    loop {
        let mut left = splice(&from, None, into, None, PIPE, SpliceFlags::MOVE).during("splice")?;
        if left == 0 {
            return Ok(());
        }
        while left > 0 {
            left -= splice(out, None, &to, None, left, SpliceFlags::MOVE).during("splice")?;
        }
    }
}

fn server_config([certificate, key]: [&Path; 2]) -> Result<Arc<rustls::ServerConfig>, Failed> {
    let unreadable = |error: rustls::pki_types::pem::Error| Failed::Missing(error.to_string());
    let certificate = CertificateDer::from_pem_file(certificate).map_err(unreadable)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(Arc::new(config))
}

/// The server's end of TLS and nothing else.
struct Bare {
    socket: TcpStream,
    tls: UnbufferedServerConnection,
    incoming: Vec<u8>,
    held: usize,
    outgoing: Vec<u8>,
    /// What came along with the handshake.
    early: Vec<u8>,
    ended: bool,
}

impl Bare {
    fn accept(socket: TcpStream, config: &Arc<rustls::ServerConfig>) -> Result<Self, Failed> {
        let _ = socket.set_nodelay(true);
        let mut stream = Self {
            socket,
            tls: UnbufferedServerConnection::new(config.clone())?,
            incoming: vec![0; BUFFER + BUFFER / 64],
            held: 0,
            outgoing: vec![0; BUFFER + BUFFER / 64],
            early: Vec::new(),
            ended: false,
        };
        let mut early = Vec::new();
        let mut keep = |bytes: &[u8]| {
            early.extend_from_slice(bytes);
            Ok(())
        };
        while !stream.turn(&mut keep)? {
            stream.read_more()?;
        }
        stream.early = early;
        Ok(stream)
    }

    fn send(&mut self, file: &mut File) -> Result<(), Failed> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = file.read(&mut buffer).during("reading")?;
            let UnbufferedStatus { state, .. } = self.tls.process_tls_records(&mut []);
            let ConnectionState::WriteTraffic(mut traffic) = state? else {
                return Err(Failed::Protocol("cannot write now".to_owned()));
            };
            let made = match read {
                0 => traffic.queue_close_notify(&mut self.outgoing),
                _ => traffic.encrypt(&buffer[..read], &mut self.outgoing),
            };
            let made = made.map_err(|error| Failed::Protocol(error.to_string()))?;
            self.socket.write_all(&self.outgoing[..made]).during("sending")?;
            if read == 0 {
                return Ok(());
            }
        }
    }

    fn receive(&mut self, file: &mut File) -> Result<(), Failed> {
        file.write_all(&self.early).during("writing")?;
        while !self.ended {
            self.read_more()?;
            self.turn(&mut |bytes| file.write_all(bytes).during("writing"))?;
        }
        Ok(())
    }

    fn read_more(&mut self) -> Result<(), Failed> {
        match self
            .socket
            .read(&mut self.incoming[self.held..])
            .during("reading")?
        {
            0 => Err(Failed::Protocol("no close_notify".to_owned())),
            read => {
                self.held += read;
                Ok(())
            }
        }
    }

    /// Works up what has come. Whether the handshake is done.
    fn turn(&mut self, deliver: &mut dyn FnMut(&[u8]) -> Result<(), Failed>) -> Result<bool, Failed> {
        let (mut used, mut queued) = (0, 0);
        let outcome = loop {
            let UnbufferedStatus { mut discard, state } =
                self.tls.process_tls_records(&mut self.incoming[used..self.held]);
            let outcome = match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        deliver(record.payload)?;
                    }
                    None
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    queued += data
                        .encode(&mut self.outgoing[queued..])
                        .map_err(|error| Failed::Protocol(error.to_string()))?;
                    None
                }
                ConnectionState::TransmitTlsData(data) => {
                    self.socket
                        .write_all(&self.outgoing[..queued])
                        .during("sending")?;
                    queued = 0;
                    data.done();
                    None
                }
                ConnectionState::BlockedHandshake => Some(false),
                ConnectionState::WriteTraffic(_) => Some(true),
                _ => {
                    self.ended = true;
                    Some(true)
                }
            };
            used += discard;
            if let Some(outcome) = outcome {
                break outcome;
            }
        };
        self.incoming.copy_within(used..self.held, 0);
        self.held -= used;
        Ok(outcome)
    }
}
