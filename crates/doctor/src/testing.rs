//! A server that behaves as a test tells it to, and a certificate of any kind.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pasarela_client::{Scheme, Site, Url};
use pasarela_tls::{Accepted, Material, ServerTls, Stream, Tag, Trust};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::{Examination, Report};

/// What comes instead of a usual reply.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Say {
    /// These lines, as they are.
    Line(&'static str),
    /// Nothing.
    Silence,
    /// The end.
    Close,
}

/// How data connections are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    Good,
    /// Nobody listens where the server says.
    Refusing,
    /// Nobody answers where the server says.
    Silent,
    /// Begins, and nothing comes.
    Stalling,
    /// Ends with RST.
    Breaking,
    /// Protected, and refused unless the session is resumed.
    Resumed,
    /// What was uploaded comes back with another first byte.
    Changing,
}

/// A server's manners; [`Manners::default`] are good ones, in clear.
#[derive(Clone)]
pub(crate) struct Manners {
    pub(crate) greeting: Say,
    pub(crate) says: Vec<(&'static str, Say)>,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) implicit: bool,
    pub(crate) data: Data,
    /// The address of 227; `None`: its own.
    pub(crate) announces: Option<Ipv4Addr>,
    pub(crate) files: Arc<Mutex<HashMap<String, Vec<u8>>>>,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            greeting: Say::Line("220 Here I am"),
            says: Vec::new(),
            tls: None,
            implicit: false,
            data: Data::Good,
            announces: None,
            files: Arc::default(),
        }
    }
}

impl Manners {
    /// Good ones with TLS.
    pub(crate) fn protected() -> Self {
        Self {
            tls: Some(ServerTls::new(Certificate::default().material()).unwrap()),
            ..Self::default()
        }
    }

    pub(crate) fn saying(mut self, verb: &'static str, say: Say) -> Self {
        self.says.push((verb, say));
        self
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    running: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Scripted {
    pub(crate) async fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = tokio::spawn(async move {
            loop {
                let Ok((tcp, _)) = listener.accept().await else {
                    return;
                };
                let manners = manners.clone();
                // A visitor that goes away ends its visit, and no more.
                tokio::spawn(async move { serve(tcp, manners).await.ok() });
            }
        });
        Self { address, running }
    }

    /// An examination of it that believes every certificate of [`Certificate::default`].
    pub(crate) fn examination(&self, scheme: Scheme) -> Examination {
        let word = match scheme {
            Scheme::Ftp => "ftp",
            Scheme::Ftps => "ftps",
            _ => "ftpes",
        };
        let url: Url = format!("{word}://127.0.0.1:{}/", self.address.port())
            .parse()
            .unwrap();
        let mut site = Site::of(&url);
        site.trust = Trust::Roots(Certificate::default().authority());
        let mut examination = Examination::of(site, url.path.clone());
        examination.patience = Duration::from_millis(500);
        examination
    }

    /// What the doctor says of it.
    pub(crate) async fn examined(&self, scheme: Scheme) -> Report {
        examined(&self.examination(scheme)).await
    }
}

/// Runs an examination.
pub(crate) async fn examined(examination: &Examination) -> Report {
    let mut report = Report::new("test");
    examination.run(&mut report).await;
    report
}

/// What the doctor says of a server with these manners.
pub(crate) async fn verdict_of(manners: Manners) -> Report {
    Scripted::start(manners).await.examined(Scheme::Ftp).await
}

enum Line {
    Plain(BufReader<TcpStream>),
    Tls(Box<BufReader<Stream>>),
}

impl Line {
    async fn say(&mut self, text: &str) -> std::io::Result<()> {
        let text = format!("{text}\r\n");
        match self {
            Self::Plain(tcp) => tcp.write_all(text.as_bytes()).await,
            Self::Tls(tls) => {
                tls.write_all(text.as_bytes()).await?;
                tls.flush().await
            }
        }
    }

    async fn hear(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        let heard = match self {
            Self::Plain(tcp) => tcp.read_line(&mut line).await?,
            Self::Tls(tls) => tls.read_line(&mut line).await?,
        };
        match heard {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

async fn serve(tcp: TcpStream, manners: Manners) -> std::io::Result<()> {
    let mut owner: Option<Tag> = None;
    let mut line = match (&manners.tls, manners.implicit) {
        (Some(tls), true) => secure(tls, tcp, &mut owner).await?,
        _ => Line::Plain(BufReader::new(tcp)),
    };
    match manners.greeting {
        Say::Line(text) => line.say(text).await?,
        Say::Silence => std::future::pending().await,
        Say::Close => return Ok(()),
    }
    let mut endpoint: Option<Listening> = None;
    loop {
        let said = line.hear().await?;
        let (verb, argument) = said.split_once(' ').unwrap_or((&said, ""));
        if let Some((_, say)) = manners.says.iter().find(|(known, _)| *known == verb) {
            match say {
                Say::Line(text) => line.say(text).await?,
                Say::Silence => std::future::pending().await,
                Say::Close => return Ok(()),
            }
            continue;
        }
        match verb {
            "AUTH" => match (&manners.tls, line) {
                (Some(tls), Line::Plain(tcp)) => {
                    let mut plain = Line::Plain(tcp);
                    plain.say("234 Go on").await?;
                    let Line::Plain(tcp) = plain else { unreachable!() };
                    line = secure(tls, tcp.into_inner(), &mut owner).await?;
                }
                (_, same) => {
                    line = same;
                    line.say("502 No TLS").await?;
                }
            },
            "USER" => line.say("331 And the password?").await?,
            "PASS" => line.say("230 Welcome").await?,
            "FEAT" => line.say("211-Features\r\n MLST type*;\r\n SIZE\r\n MDTM\r\n REST STREAM\r\n UTF8\r\n EPSV\r\n211 End").await?,
            "PWD" => line.say("257 \"/\"").await?,
            "PBSZ" | "PROT" | "OPTS" | "TYPE" | "NOOP" | "STAT" | "ABOR" => line.say("200 Well").await?,
            "CWD" => line.say("550 No such folder").await?,
            "SIZE" => {
                let size = manners.files.lock().unwrap().get(argument).map(Vec::len);
                let reply = size.map_or_else(|| "550 No such file".to_owned(), |size| format!("213 {size}"));
                line.say(&reply).await?;
            }
            "EPSV" | "PASV" => {
                let opened = Listening::open(manners.data).await?;
                let [high, low] = opened.port.to_be_bytes();
                let [a, b, c, d] = manners.announces.unwrap_or(Ipv4Addr::LOCALHOST).octets();
                let text = match verb {
                    "EPSV" => format!("229 Extended (|||{}|)", opened.port),
                    _ => format!("227 Passive ({a},{b},{c},{d},{high},{low})"),
                };
                endpoint = Some(opened);
                line.say(&text).await?;
            }
            "LIST" | "RETR" | "STOR" => {
                let Some(endpoint) = endpoint.take() else {
                    line.say("425 No endpoint").await?;
                    continue;
                };
                line.say("150 Now").await?;
                let end = transfer(&manners, endpoint, owner, verb, argument, &mut line).await?;
                line.say(end).await?;
            }
            "DELE" => {
                manners.files.lock().unwrap().remove(argument);
                line.say("250 Gone").await?;
            }
            "QUIT" => return line.say("221 Bye").await,
            _ => line.say("500 What?").await?,
        }
    }
}

async fn secure(tls: &ServerTls, tcp: TcpStream, owner: &mut Option<Tag>) -> std::io::Result<Line> {
    let Accepted { stream, issued, .. } = tls.accept_control(tcp).await?;
    tls.admit(issued, issued);
    *owner = Some(issued);
    Ok(Line::Tls(Box::new(BufReader::new(stream))))
}

/// Where the server says that it waits.
struct Listening {
    port: u16,
    listener: Option<TcpListener>,
    /// What keeps a queue full.
    _held: Vec<std::net::TcpStream>,
    _full: Option<Socket>,
}

impl Listening {
    async fn open(data: Data) -> std::io::Result<Self> {
        if data == Data::Silent {
            return Ok(Self::full());
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Ok(Self {
            port: listener.local_addr()?.port(),
            listener: (data != Data::Refusing).then_some(listener),
            _held: Vec::new(),
            _full: None,
        })
    }

    /// A listener whose queue is full lets further SYNs lie.
    fn full() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
            .unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut held = Vec::new();
        while let Ok(tcp) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            held.push(tcp);
        }
        Self {
            port: address.port(),
            listener: None,
            _held: held,
            _full: Some(socket),
        }
    }
}

/// Moves the data; gives the last reply.
async fn transfer(
    manners: &Manners,
    endpoint: Listening,
    owner: Option<Tag>,
    verb: &str,
    name: &str,
    line: &mut Line,
) -> std::io::Result<&'static str> {
    let Some(listener) = endpoint.listener else {
        return Ok("425 Nobody came");
    };
    let (tcp, _) = listener.accept().await?;
    match manners.data {
        Data::Stalling => std::future::pending().await,
        Data::Breaking => {
            socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO))?;
            drop(tcp);
            return Ok("426 Broken");
        }
        _ => {}
    }
    let content = match verb {
        "LIST" => b"-rw-r--r-- 1 a a 7 Jan  1  2026 file\r\n".to_vec(),
        _ => manners
            .files
            .lock()
            .unwrap()
            .get(name)
            .cloned()
            .unwrap_or_default(),
    };
    let content = match (manners.data, &content[..]) {
        (Data::Changing, [first, rest @ ..]) => [&[!first], rest].concat(),
        _ => content,
    };
    let received = match (&manners.tls, line) {
        (Some(tls), Line::Tls(_)) => {
            let accepted = tls.accept_data(tcp).await?;
            match (accepted.resumed, manners.data, owner) {
                (None, Data::Resumed, _) => return Ok("522 session reuse required"),
                (Some(_), _, Some(owner)) => tls.admit(accepted.issued, owner),
                _ => {}
            }
            let mut stream = accepted.stream;
            flow(&mut stream, verb, &content).await?
        }
        _ => {
            let mut tcp = tcp;
            flow(&mut tcp, verb, &content).await?
        }
    };
    if verb == "STOR" {
        manners.files.lock().unwrap().insert(name.to_owned(), received);
    }
    Ok("226 Done")
}

async fn flow<S>(stream: &mut S, verb: &str, content: &[u8]) -> std::io::Result<Vec<u8>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut received = Vec::new();
    if verb == "STOR" {
        stream.read_to_end(&mut received).await?;
    } else {
        stream.write_all(content).await?;
    }
    stream.shutdown().await?;
    Ok(received)
}

/// A certificate of the tests' authority.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) name: &'static str,
    /// In years: from, until.
    pub(crate) years: (i32, i32),
}

impl Default for Certificate {
    fn default() -> Self {
        Self {
            name: "127.0.0.1",
            years: (2020, 2090),
        }
    }
}

/// The authority, and the folder with its certificate.
static AUTHORITY: std::sync::LazyLock<(CertifiedIssuer<'static, KeyPair>, tempfile::TempDir)> =
    std::sync::LazyLock::new(|| {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        (issuer, folder)
    });

impl Certificate {
    pub(crate) fn material(&self) -> Material {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([self.name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(self.years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(self.years.1, 1, 1);
        let certificate = params.signed_by(&key, &AUTHORITY.0).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (pem, key_pem) = (folder.path().join("pem"), folder.path().join("key"));
        std::fs::write(&pem, certificate.pem()).unwrap();
        std::fs::write(&key_pem, key.serialize_pem()).unwrap();
        Material::load(&pem, &key_pem).unwrap()
    }

    /// The file that makes it trusted.
    pub(crate) fn authority(&self) -> PathBuf {
        AUTHORITY.1.path().join("ca.pem")
    }
}
