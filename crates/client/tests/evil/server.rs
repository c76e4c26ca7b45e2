//! A server that keeps to RFC 959 except where its script says otherwise.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pasarela_client::{FtpRemote, Options, Security, Site, Trust, Url};
use pasarela_tls::{Material, ServerTls, Stream, Tag};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// How a transfer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Done226,
    Cut426,
    Error451,
    /// The control connection is closed instead of a reply.
    NoReply,
    /// 226, then RST on the data connection.
    DoneThenReset,
    /// The data connection ends without close_notify.
    NoGoodbye,
    /// 226 a while after the end of the data.
    Late,
    /// 226 twice.
    Twice,
}

pub const ENDS: [End; 8] = [
    End::Done226,
    End::Cut426,
    End::Error451,
    End::NoReply,
    End::DoneThenReset,
    End::NoGoodbye,
    End::Late,
    End::Twice,
];

/// What it does.
#[derive(Debug, Clone)]
pub struct Script {
    /// What RETR and MLSD send.
    pub content: Vec<u8>,
    /// What SIZE and MLST say.
    pub size: u64,
    /// What SIZE says on connections after the first one.
    pub size_later: u64,
    pub end: End,
    /// Replies instead of the usual ones, by verb; written as they stand. `GREETING` is one of the verbs.
    pub instead: Vec<(&'static str, String)>,
    /// More connections than this are told 421.
    pub most: usize,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            content: Vec::new(),
            size: 0,
            size_later: 0,
            end: End::Done226,
            instead: Vec::new(),
            most: usize::MAX,
        }
    }
}

impl Script {
    pub fn file(content: &[u8], size: u64, end: End) -> Self {
        Self {
            content: content.to_vec(),
            size,
            size_later: size,
            end,
            ..Self::default()
        }
    }

    pub fn saying(mut self, verb: &'static str, reply: impl Into<String>) -> Self {
        self.instead.push((verb, reply.into()));
        self
    }
}

pub struct Evil {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Script,
    tls: Option<ServerTls>,
    pin: String,
    heard: Mutex<Vec<String>>,
    uploads: Mutex<Vec<Vec<u8>>>,
    open: Mutex<usize>,
    connections: Mutex<usize>,
}

impl Evil {
    pub async fn start(script: Script, tls: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let material = Material::self_signed(directory.path(), &[]).unwrap();
        let shared = Arc::new(Shared {
            script,
            pin: material.public_key_pin(),
            tls: tls.then(|| ServerTls::new(material).unwrap()),
            heard: Mutex::default(),
            uploads: Mutex::default(),
            open: Mutex::default(),
            connections: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move {
                    *shared.open.lock().unwrap() += 1;
                    *shared.connections.lock().unwrap() += 1;
                    let number = *shared.connections.lock().unwrap();
                    // Clients may leave at any time.
                    let _ = serve(&shared, tcp, number).await;
                    *shared.open.lock().unwrap() -= 1;
                });
            }
        });
        Self { address, shared }
    }

    /// What clients said, all connections together.
    pub fn heard(&self) -> Vec<String> {
        self.shared.heard.lock().unwrap().clone()
    }

    pub fn has_heard(&self, verb: &str) -> bool {
        self.heard().iter().any(|line| line.starts_with(verb))
    }

    pub fn uploads(&self) -> Vec<Vec<u8>> {
        self.shared.uploads.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        *self.shared.connections.lock().unwrap()
    }

    /// A login that would send its password in clear where it must.
    pub fn site(&self) -> Site {
        let url: Url = format!("ftp://maria:s3cret@{}/", self.address).parse().unwrap();
        Site {
            trust: Trust::Pinned(self.shared.pin.parse().unwrap()),
            security: if self.shared.tls.is_some() {
                Security::Required
            } else {
                Security::Offered
            },
            options: Options {
                plain_password: true,
                attempts: 1,
                stall_timeout: Duration::from_secs(10),
                reply_timeout: Duration::from_secs(10),
                end_timeout: Duration::from_secs(10),
                ..Options::default()
            },
            ..Site::of(&url)
        }
    }

    pub fn remote(&self) -> FtpRemote {
        FtpRemote::new(self.site())
    }
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<Stream>),
}

impl Wire {
    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.write_all(bytes).await,
            Self::Tls(tls) => {
                tls.write_all(bytes).await?;
                tls.flush().await
            }
        }
    }

    async fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buf).await,
            Self::Tls(tls) => tls.read(buf).await,
        }
    }

    async fn goodbye(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.shutdown().await,
            Self::Tls(tls) => tls.shutdown().await,
        }
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.tcp(),
        }
    }
}

async fn serve(shared: &Shared, tcp: TcpStream, number: usize) -> std::io::Result<()> {
    let script = &shared.script;
    let mut wire = Some(Wire::Plain(tcp));
    let mut owner: Option<Tag> = None;
    let mut data: Option<TcpListener> = None;
    let mut unread = Vec::new();
    let instead = |verb: &str| {
        let found = script.instead.iter().find(|(name, _)| *name == verb);
        found.map(|(_, reply)| reply.clone())
    };
    let greeting = if *shared.open.lock().unwrap() > script.most {
        "421 Too many connections\r\n".to_owned()
    } else {
        instead("GREETING").unwrap_or_else(|| "220 Ready\r\n".to_owned())
    };
    wire.as_mut().unwrap().write(greeting.as_bytes()).await?;
    if greeting.starts_with("421") {
        return Ok(());
    }
    loop {
        let control = wire.as_mut().unwrap();
        let line = loop {
            if let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=end).collect();
                break String::from_utf8_lossy(&line).trim_end().to_owned();
            }
            let mut buf = [0; 4096];
            let count = control.read(&mut buf).await?;
            if count == 0 {
                return Ok(());
            }
            unread.extend_from_slice(&buf[..count]);
        };
        shared.heard.lock().unwrap().push(line.clone());
        let verb = line.split(' ').next().unwrap().to_owned();
        if let Some(reply) = instead(&verb) {
            if reply.is_empty() {
                return Ok(());
            }
            control.write(reply.as_bytes()).await?;
            if verb == "AUTH" && reply.starts_with("234") {
                // Whoever tampered is not the server: nobody makes a handshake.
                sleep(Duration::from_secs(5)).await;
                return Ok(());
            }
            continue;
        }
        let size = if number == 1 {
            script.size
        } else {
            script.size_later
        };
        let reply = match verb.as_str() {
            "AUTH" => match &shared.tls {
                Some(tls) => {
                    control.write(b"234 Go\r\n").await?;
                    let Some(Wire::Plain(tcp)) = wire.take() else {
                        return Ok(());
                    };
                    let accepted = tls.accept_control(tcp).await?;
                    tls.admit(accepted.issued, accepted.issued);
                    owner = Some(accepted.issued);
                    wire = Some(Wire::Tls(Box::new(accepted.stream)));
                    continue;
                }
                None => "502 No TLS\r\n".to_owned(),
            },
            "USER" => "331 Password\r\n".to_owned(),
            "PASS" => "230 In\r\n".to_owned(),
            "FEAT" => {
                "211-Features\r\n SIZE\r\n MDTM\r\n REST STREAM\r\n MLST type*;size*;modify*;\r\n211 End\r\n"
                    .to_owned()
            }
            "PWD" => "257 \"/\"\r\n".to_owned(),
            "SIZE" => format!("213 {size}\r\n"),
            "MLST" => format!(
                "250-Listing\r\n type=file;size={size};modify=20260101000000; {}\r\n250 End\r\n",
                &line[5..]
            ),
            "EPSV" => {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let port = listener.local_addr()?.port();
                data = Some(listener);
                format!("229 Waiting (|||{port}|)\r\n")
            }
            "REST" => "350 Ready\r\n".to_owned(),
            "RETR" | "MLSD" | "STOR" | "APPE" => {
                let listener = data.take().unwrap();
                control.write(b"150 Here\r\n").await?;
                let (tcp, _) = listener.accept().await?;
                let data = match &shared.tls {
                    Some(tls) => {
                        let accepted = tls.accept_data(tcp).await?;
                        tls.admit(accepted.issued, owner.unwrap());
                        Wire::Tls(Box::new(accepted.stream))
                    }
                    None => Wire::Plain(tcp),
                };
                let up = matches!(verb.as_str(), "STOR" | "APPE");
                if !transfer(shared, control, data, up).await? {
                    return Ok(());
                }
                continue;
            }
            "QUIT" => "221 Bye\r\n".to_owned(),
            _ => "200 Fine\r\n".to_owned(),
        };
        control.write(reply.as_bytes()).await?;
    }
}

/// Whether the control connection goes on.
async fn transfer(shared: &Shared, control: &mut Wire, mut data: Wire, up: bool) -> std::io::Result<bool> {
    let script = &shared.script;
    if up {
        let (mut all, mut buf) = (Vec::new(), vec![0; 65536]);
        loop {
            let count = data.read(&mut buf).await?;
            if count == 0 {
                break;
            }
            all.extend_from_slice(&buf[..count]);
        }
        shared.uploads.lock().unwrap().push(all);
    } else {
        data.write(&script.content).await?;
    }
    match script.end {
        End::DoneThenReset => {
            control.write(b"226 Done\r\n").await?;
            socket2::SockRef::from(data.tcp()).set_linger(Some(Duration::ZERO))?;
            return Ok(true);
        }
        End::NoGoodbye => {}
        _ => data.goodbye().await?,
    }
    if !matches!(script.end, End::NoGoodbye) {
        // Until the client has closed too, so that no RST takes bytes with it.
        let mut rest = [0; 1024];
        while !up && matches!(data.read(&mut rest).await, Ok(1..)) {}
    }
    drop(data);
    let reply = match script.end {
        End::Cut426 => "426 Cut\r\n",
        End::Error451 => "451 Local error\r\n",
        End::NoReply => return Ok(false),
        End::Twice => "226 Done\r\n226 Done\r\n",
        End::Late => {
            sleep(Duration::from_millis(300)).await;
            "226 Done\r\n"
        }
        _ => "226 Done\r\n",
    };
    control.write(reply.as_bytes()).await?;
    Ok(true)
}
