//! From what the user typed to a place: a URL or a saved place is a server, anything else a path on this machine.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::{ArgAction, Args, FromArgMatches as _, ValueHint};
use pasarela_client::{
    Family, FtpRemote, HostKeyError, Known, KnownServers, Local, Pin, Place, Progress, Remote, Scheme,
    Secret, SftpRemote, SftpSite, Site, Stranger, Trust, TrustError, Url,
};
use pasarela_store::{ErrorKind, VirtualPath};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::ask::{self, Belief};
use super::keeping::{Keeper, Keepers};
use super::operand::{Address, Meant, View, is_url};
use super::places::{self, Book, Saved};
use super::proxy::{Proxies, Wanted};
use super::server::Server;
use super::show::{Manner, Tally};
use super::{failed, netrc, show, usage};
use crate::failure::{Failure, Kind, Problem};
use crate::{log, surroundings};

/// Control connections to one server, at most: what --jobs may ask for. Each is made only when it is used.
const PARALLEL: usize = 64;

/// How servers are reached and whom to trust.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub(crate) struct Reaching {
    /// Trust the server with this key or certificate, and no other; for SFTP as SHA256:… too
    #[arg(long, value_name = "sha256//KEY", value_parser = pin)]
    pin: Option<Pin>,

    /// Trust servers that an authority in this file vouches for (PEM)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "pin")]
    ca: Option<PathBuf>,

    /// Trust a server that was never seen before and that no authority vouches for, and remember it
    #[arg(long, conflicts_with_all = ["pin", "ca"])]
    accept_new: bool,

    /// Send the password even where the server offers no TLS
    #[arg(long)]
    insecure_plaintext: bool,

    /// A file whose first line is the password of the user that the URL names
    ///
    /// A password is that of the first of these that has one: the URL, this file, the variable PASARELA_PASSWORD,
    /// what `pasarela login` kept, netrc (see --netrc-file); then you are asked.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) password_file: Option<PathBuf>,

    /// A file with logins for servers; otherwise that of the variable NETRC, or ~/.netrc
    ///
    /// Each is `machine HOST login USER password PASSWORD`, with `default` for all other hosts. A word with spaces stands
    /// in quotes, a comment behind `#`. Where the URL names no user, the file's first login for its host is taken. A
    /// file with passwords that others can open is refused. An empty NETRC: no file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) netrc_file: Option<PathBuf>,

    /// Tell on standard error how servers are reached; twice: also all that is said to them and what they say
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    /// For SFTP: a file with a private key, which is tried and no other one
    ///
    /// Without it, keys of the agent (SSH_AUTH_SOCK) are tried, then ~/.ssh/id_ed25519, id_ecdsa and id_rsa, then the
    /// password.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    identity: Option<PathBuf>,

    /// Connect through a proxy: socks5://HOST:PORT, socks5h://HOST:PORT, http://HOST:PORT, or `none`
    ///
    /// All connections go through it: control and data connections, and those of SSH. socks5h and http leave it to the
    /// proxy to resolve the server's name, socks5 does not. HTTP proxies are asked with CONNECT, and many connect to ports
    /// of the web alone. A login stands before the host: socks5://USER:PASSWORD@HOST. Without this flag the first of the
    /// variables ftp_proxy, FTP_PROXY, all_proxy and ALL_PROXY counts that is set, except for the hosts in no_proxy or
    /// NO_PROXY.
    #[arg(long, value_name = "URL", value_parser = Wanted::parse)]
    proxy: Option<Wanted>,

    /// Connect by IPv4 alone
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,

    /// Connect by IPv6 alone
    #[arg(short = '6', long)]
    ipv6: bool,

    /// Seconds for one attempt to connect [default: 20]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    connect_timeout: Option<u64>,

    /// Seconds without a reply or a byte after which a server is given up [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    timeout: Option<u64>,
}

pub(super) fn pin(text: &str) -> Result<Pin, String> {
    text.parse()
        .map_err(|error: pasarela_client::BadPin| error.to_string())
}

impl Reaching {
    /// These conditions, and those of a saved place where these say nothing.
    pub(super) fn over(&self, saved: &Self) -> Self {
        let says_trust = self.pin.is_some() || self.ca.is_some() || self.accept_new;
        let trust = if says_trust { self } else { saved };
        let family = if self.ipv4 || self.ipv6 { self } else { saved };
        Self {
            pin: trust.pin,
            ca: trust.ca.clone(),
            accept_new: trust.accept_new,
            insecure_plaintext: self.insecure_plaintext || saved.insecure_plaintext,
            password_file: self.password_file.clone(),
            netrc_file: self.netrc_file.clone(),
            verbose: self.verbose,
            identity: self.identity.clone().or_else(|| saved.identity.clone()),
            proxy: self.proxy.clone().or_else(|| saved.proxy.clone()),
            ipv4: family.ipv4,
            ipv6: family.ipv6,
            connect_timeout: self.connect_timeout.or(saved.connect_timeout),
            timeout: self.timeout.or(saved.timeout),
        }
    }

    /// What a saved place keeps of them; where passwords come from is no part of it.
    pub(super) fn table(&self) -> toml::Table {
        let Self {
            pin,
            ca,
            accept_new: _,
            insecure_plaintext,
            password_file: _,
            netrc_file: _,
            verbose: _,
            identity,
            proxy,
            ipv4,
            ipv6,
            connect_timeout,
            timeout,
        } = self;
        let seconds = |seconds: &Option<u64>| seconds.and_then(|n| i64::try_from(n).ok()).map(Into::into);
        let truth = |is_so: &bool| is_so.then(|| true.into());
        let path = |path: &PathBuf| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            path.to_string_lossy().into_owned().into()
        };
        let entries: [(&str, Option<toml::Value>); 9] = [
            ("pin", pin.map(|pin| pin.to_string().into())),
            ("ca", ca.as_ref().map(path)),
            ("insecure-plaintext", truth(insecure_plaintext)),
            ("identity", identity.as_ref().map(path)),
            ("proxy", proxy.as_ref().and_then(Wanted::written).map(Into::into)),
            ("ipv4", truth(ipv4)),
            ("ipv6", truth(ipv6)),
            ("connect-timeout", seconds(connect_timeout)),
            ("timeout", seconds(timeout)),
        ];
        let said = entries
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)));
        said.collect()
    }

    /// Starts the log, where one is wanted.
    pub(super) fn start_log(&self) -> Result<(), Failure> {
        let level = match self.verbose {
            0 if std::env::var_os("PASARELA_LOG").is_none() => return Ok(()),
            0 | 1 => "info",
            _ => "debug",
        };
        log::begin(level, false)
    }

    /// Whether there is a proxy that [`Self::table`] leaves out.
    pub(super) fn keeps_no_proxy(&self) -> bool {
        self.proxy.as_ref().is_some_and(|proxy| proxy.written().is_none())
    }

    /// The conditions that a saved place has: keys are flags.
    pub(super) fn of_table(table: &toml::Table) -> Result<Self, String> {
        let command = clap::Command::new("place")
            .no_binary_name(true)
            .disable_help_flag(true);
        let command = Self::augment_args(command);
        let mut words = Vec::new();
        for (key, value) in table {
            let argument = command
                .get_arguments()
                .find(|argument| argument.get_long() == Some(key));
            let takes_value = argument.map(|argument| argument.get_action().takes_values());
            match (takes_value, value) {
                (Some(false), toml::Value::Boolean(true)) => words.push(format!("--{key}")),
                (Some(false), toml::Value::Boolean(false)) => {}
                (Some(true), toml::Value::String(text)) => words.push(format!("--{key}={text}")),
                (Some(true), toml::Value::Integer(number)) => words.push(format!("--{key}={number}")),
                (Some(_), _) => return Err(format!("{key}: a value of another kind is needed")),
                (None, _) => {
                    return Err(format!(
                        "{key}: there is no such key; keys are those of --help of `ls`"
                    ));
                }
            }
        }
        let first_line = |error: clap::Error| {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            line.trim_start_matches("error: ").to_owned()
        };
        let matches = command.try_get_matches_from(words).map_err(first_line)?;
        Self::from_arg_matches(&matches).map_err(first_line)
    }

    /// The names that clap has for these arguments.
    pub(super) fn command_arguments() -> Vec<String> {
        let command = Self::augment_args(clap::Command::new("conditions"));
        command
            .get_arguments()
            .map(|argument| argument.get_id().to_string())
            .collect()
    }

    fn family(&self) -> Family {
        match (self.ipv4, self.ipv6) {
            (true, _) => Family::Ipv4,
            (false, true) => Family::Ipv6,
            (false, false) => Family::Any,
        }
    }

    fn trust(&self, memory: Option<&Arc<KnownServers>>) -> Trust {
        match (&self.pin, &self.ca, memory) {
            (Some(pin), _, _) => Trust::Pinned(*pin),
            (None, Some(file), _) => Trust::Roots(file.clone()),
            (None, None, Some(servers)) => Trust::FirstUse {
                servers: Arc::clone(servers),
                stranger: match self.accept_new {
                    true => Stranger::Accept,
                    false => Stranger::Refuse,
                },
            },
            (None, None, None) => Trust::System,
        }
    }
}

/// Opens places, each server once. A clone knows the same connections; each command has its own.
#[derive(Clone)]
pub(in crate::cli) struct Opener {
    inner: Arc<Inner>,
    view: View,
    stop: CancellationToken,
    /// Set while nobody sits before the command.
    tally: Option<Arc<Tally>>,
}

struct Inner {
    flags: Reaching,
    memory: Option<Arc<KnownServers>>,
    password: Option<Secret>,
    proxies: Proxies,
    netrc: netrc::Source,
    book: Option<Book>,
    keepers: Option<Keepers>,
    opened: Mutex<Vec<Opened>>,
}

/// Whom to trust and who logs in, by the protocol.
pub(in crate::cli) enum Login {
    Ftp(Box<Site>),
    Sftp(Box<SftpSite>),
}

struct Opened {
    url: Url,
    flags: Reaching,
    server: Server,
}

impl Opener {
    pub(super) fn new(reaching: &Reaching) -> Result<Self, Failure> {
        let password = match &reaching.password_file {
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| usage(format!("--password-file {}: {error}", file.display())))?;
                Some(Secret::new(text.lines().next().unwrap_or_default()))
            }
            None => std::env::var_os("PASARELA_PASSWORD")
                .map(|value| Secret::new(std::os::unix::ffi::OsStringExt::into_vec(value))),
        };
        if reaching.proxy.as_ref().is_some_and(Wanted::is_exposed) {
            let warning = "everybody on this machine can read the proxy's password, as `ps` shows it";
            let warning = Problem::new(warning).hint("set the variable all_proxy instead");
            show::say(&warning.titled("warning"));
        }
        let proxies = Proxies::choose(reaching.proxy.as_ref(), |name| std::env::var(name).ok())
            .map_err(|problem| problem.fails(Kind::Configuration))?;
        let state_dir = surroundings::state_dir().ok();
        Ok(Self {
            view: View::CommandLine,
            stop: CancellationToken::new(),
            tally: None,
            inner: Arc::new(Inner {
                flags: reaching.clone(),
                // Where nothing can be remembered, only authorities are believed.
                memory: known_servers().map(Arc::new),
                password,
                proxies,
                netrc: netrc::Source::choose(reaching.netrc_file.as_deref(), |name| {
                    std::env::var_os(name).map(PathBuf::from)
                }),
                book: book(),
                keepers: state_dir.map(|dir| Keepers::new(&dir)),
                opened: Mutex::default(),
            }),
        })
    }

    /// The same connections, for a command that ends when `stop` says so.
    pub(super) fn until(&self, stop: &CancellationToken) -> Self {
        Self {
            stop: stop.clone(),
            ..self.clone()
        }
    }

    /// The same connections, for a command that nobody waits for.
    pub(super) fn in_background(&self, tally: Arc<Tally>) -> Self {
        Self {
            tally: Some(tally),
            ..self.clone()
        }
    }

    /// The same connections, with operands seen in another way.
    pub(super) fn seen(&self, view: View) -> Self {
        Self { view, ..self.clone() }
    }

    /// Where what has no mark is on this machine.
    pub(super) fn here(&self) -> Self {
        self.seen(self.view.here())
    }

    /// Whether there is a folder that `.` means at a server.
    pub(super) fn has_folder(&self) -> bool {
        matches!(
            &self.view,
            View::Shell {
                there: Some(_),
                is_local: false,
                ..
            }
        )
    }

    /// Shows how transfers go.
    pub(super) fn progress(&self, manner: Manner) -> (Progress, JoinHandle<()>) {
        show::progress(manner, self.tally.clone())
    }

    /// What an operand means.
    pub(super) fn meant(&self, operand: &str) -> Result<Meant, Failure> {
        if is_url(operand) {
            let url = operand.parse().map_err(|error| usage(format!("{error}")))?;
            return Ok(Meant::There(Box::new(Address {
                url,
                flags: self.inner.flags.clone(),
                keeper: None,
            })));
        }
        if let Some(marked) = self.view.marked(operand) {
            return marked.map_err(|problem| problem.fails(Kind::Configuration));
        }
        if let Some((name, path)) = places::split(operand) {
            if let Some(saved) = self.saved(name)? {
                return Ok(Meant::There(Box::new(self.address(&saved, path.as_bytes()))));
            }
            // A name that nobody saved is rather a slip than a new file.
            if self.view.is_local() && std::fs::symlink_metadata(self.view.local(operand)).is_err() {
                let problem = Problem::new(format!("nothing is saved as `{name}`")).hint(format!(
                    "pasarela login {name} URL saves it; a file of this name is written ./{operand}"
                ));
                return Err(problem.fails(Kind::Configuration));
            }
        }
        self.view
            .unmarked(operand)
            .map_err(|problem| problem.fails(Kind::Configuration))
    }

    fn saved(&self, name: &str) -> Result<Option<Saved>, Failure> {
        let found = self.inner.book.as_ref().map(|book| book.find(name)).transpose();
        Ok(found
            .map_err(|problem| problem.fails(Kind::Configuration))?
            .flatten())
    }

    /// A path at a saved place: from its folder, or from the server's root where it begins with a slash.
    fn address(&self, saved: &Saved, path: &[u8]) -> Address {
        let mut url = saved.url.clone();
        match path {
            [] => {}
            [b'/', ..] => url.path = path.to_vec(),
            _ => {
                if !url.path.is_empty() && !url.path.ends_with(b"/") {
                    url.path.push(b'/');
                }
                url.path.extend_from_slice(path);
            }
        }
        Address {
            url,
            flags: self.inner.flags.over(&saved.reaching),
            keeper: saved.keeper,
        }
    }

    /// Whether an operand says by itself on which side it is.
    pub(super) fn is_marked(&self, operand: &str) -> bool {
        let is_saved = |(name, _)| matches!(self.saved(name), Ok(Some(_)));
        is_url(operand) || self.view.marked(operand).is_some() || places::split(operand).is_some_and(is_saved)
    }

    /// Whether a name is that of a saved place.
    pub(super) fn is_saved(&self, name: &str) -> bool {
        places::is_name(name) && matches!(self.saved(name), Ok(Some(_)))
    }

    /// The names of saved places; none where the file is wrong.
    pub(super) fn saved_names(&self) -> Vec<String> {
        let all = self.inner.book.as_ref().and_then(|book| book.all().ok());
        all.into_iter().flatten().map(|(name, _)| name).collect()
    }

    /// Whether the server of an operand is connected, or none is needed.
    pub(super) fn is_near(&self, operand: &str) -> bool {
        match self.meant(operand) {
            Ok(Meant::There(address)) => self.opened(&address).is_some(),
            Ok(Meant::Here(_)) => true,
            Err(_) => false,
        }
    }

    /// Whether an operand is at a server.
    pub(super) fn is_there(&self, operand: &str) -> bool {
        matches!(self.meant(operand), Ok(Meant::There(_))) || is_url(operand)
    }

    /// The place that an operand means; connects to a server.
    pub(super) async fn open(&self, operand: &str) -> Result<Place, Failure> {
        let address = match self.meant(operand)? {
            Meant::There(address) => address,
            Meant::Here(path) => {
                let opened = tokio::task::spawn_blocking(move || Local::at(&path)).await;
                let opened = opened.unwrap_or_else(|_| Err(ErrorKind::Io.into()));
                return opened.map_err(|error| failed(operand, &error));
            }
        };
        let (server, path) = self.arrive(&address).await?;
        Ok(Place {
            remote: server.remote(),
            path,
        })
    }

    /// The server of an address, and the path there.
    pub(super) async fn arrive(&self, address: &Address) -> Result<(Server, VirtualPath), Failure> {
        let server = self.server_at(address).await?;
        let path = server.resolve(&address.url.path).await;
        let path = path.map_err(|error| failed(&address.url.to_string(), &error))?;
        Ok((server, path))
    }

    /// As [`Self::open`], but a link on this machine is meant itself, and a folder stands in the one that holds it.
    pub(super) async fn open_entry(&self, operand: &str) -> Result<Place, Failure> {
        let Meant::Here(path) = self.meant(operand)? else {
            return self.open(operand).await;
        };
        let Some(name) = path.file_name() else {
            return self.open(operand).await;
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let name = name.as_bytes().to_vec();
        let parent = parent.to_owned();
        let opened = tokio::task::spawn_blocking(move || {
            let remote: Arc<dyn Remote> = Arc::new(Local::beneath(&parent)?);
            let path = VirtualPath::root().resolve(&name);
            let path = path.map_err(|_| ErrorKind::BadName)?;
            Ok(Place { remote, path })
        });
        let opened = opened.await.unwrap_or_else(|_| Err(ErrorKind::Io.into()));
        opened.map_err(|error| failed(operand, &error))
    }

    /// Two places with one root: of one login at one server, or of this machine as a whole.
    pub(super) async fn open_both(&self, from: &str, to: &str) -> Result<(Place, Place), Failure> {
        match (self.meant(from)?, self.meant(to)?) {
            (Meant::There(a), Meant::There(b)) if login(&a.url) == login(&b.url) && a.flags == b.flags => {
                Ok((self.open(from).await?, self.open(to).await?))
            }
            (Meant::Here(a), Meant::Here(b)) => {
                let whole = Local::beneath(Path::new("/")).map_err(|error| failed("/", &error))?;
                let remote: Arc<dyn Remote> = Arc::new(whole);
                let place = |operand: &str, path: &Path| {
                    let path = std::path::absolute(path).map_err(pasarela_store::Error::from);
                    let path = path.and_then(|path| {
                        let path = VirtualPath::root().resolve(path.as_os_str().as_bytes());
                        path.map_err(|_| ErrorKind::BadName.into())
                    });
                    let remote = Arc::clone(&remote);
                    path.map(|path| Place { remote, path })
                        .map_err(|error| failed(operand, &error))
                };
                Ok((place(from, &a)?, place(to, &b)?))
            }
            _ => Err(usage(
                "both names must be of one server and login, or both of this machine",
            )),
        }
    }

    /// The server of an address, connected and logged in.
    pub(super) async fn server_at(&self, address: &Address) -> Result<Server, Failure> {
        if let Some(server) = self.opened(address) {
            return Ok(server);
        }
        warn_of(&address.url);
        let connected = self.connect(address).await;
        let server = connected.map_err(|failure| match (address.keeper, failure.kind) {
            (Some(_), Kind::Code(4)) => failure.hinted("pasarela login NAME keeps a new password"),
            _ => failure,
        })?;
        if let Some(first) = self.opened(address) {
            // Somebody else was quicker.
            server.remote().close().await;
            return Ok(first);
        }
        self.all_opened().push(Opened {
            url: address.url.clone(),
            flags: address.flags.clone(),
            server: server.clone(),
        });
        Ok(server)
    }

    /// The server that a URL or a saved place means, with whom to trust and who logs in.
    pub(in crate::cli) async fn server(&self, operand: &str) -> Result<(Url, Login), Failure> {
        let Meant::There(address) = self.meant(operand)? else {
            return Err(usage(format!("{operand}: neither a URL nor a saved place")));
        };
        let login = match address.url.scheme {
            Scheme::Sftp => Login::Sftp(Box::new(self.sftp_site(&address).await?)),
            _ => Login::Ftp(Box::new(self.site_with_login(&address).await?)),
        };
        Ok((address.url, login))
    }

    async fn site_with_login(&self, address: &Address) -> Result<Site, Failure> {
        let mut site = self.site(address);
        if address.url.password.is_none() {
            self.find_login(address, &mut site).await?;
        }
        Ok(site)
    }

    /// A connection to the server of an address that is kept for nobody else, and the path there.
    pub(super) async fn visit(&self, address: &Address) -> Result<(Server, VirtualPath), Failure> {
        let server = self.connect(address).await?;
        let path = server.resolve(&address.url.path).await;
        let path = path.map_err(|error| failed(&address.url.to_string(), &error))?;
        Ok((server, path))
    }

    /// How the server of an address is reached once it has let us in, and the path there.
    pub(super) async fn site_of(&self, address: &Address) -> Result<(Site, VirtualPath), Failure> {
        if address.url.scheme == Scheme::Sftp {
            return Err(usage(format!("{}: only FTP and FTPS are measured", address.url)));
        }
        warn_of(&address.url);
        let mut site = self.site_with_login(address).await?;
        let remote = self.connect_ftp(&address.url, &mut site).await?;
        let path = remote.resolve(&address.url.path).await;
        let path = path.map_err(|error| failed(&address.url.to_string(), &error))?;
        remote.close().await;
        Ok((site, path))
    }

    /// The password of --password-file or PASARELA_PASSWORD.
    pub(super) fn given_password(&self) -> Option<&Secret> {
        self.inner.password.as_ref()
    }

    /// Whether netrc has a password for a user there.
    pub(super) fn netrc_has(&self, url: &Url, user: &[u8]) -> Result<bool, Failure> {
        Ok(self.netrc_password(url, user)?.is_some())
    }

    /// A server that was connected to before.
    fn opened(&self, address: &Address) -> Option<Server> {
        let all = self.all_opened();
        let mut same = all
            .iter()
            .filter(|opened| login(&opened.url) == login(&address.url) && opened.flags == address.flags);
        same.next().map(|opened| opened.server.clone())
    }

    fn all_opened(&self) -> MutexGuard<'_, Vec<Opened>> {
        self.inner.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything about a server but who logs in.
    pub(super) fn site(&self, address: &Address) -> Site {
        let (url, flags) = (&address.url, &address.flags);
        let mut site = Site::of(url);
        site.trust = flags.trust(self.inner.memory.as_ref());
        site.memory.clone_from(&self.inner.memory);
        site.options.plain_password = flags.insecure_plaintext && url.scheme == Scheme::Ftp;
        site.options.family = flags.family();
        site.options.proxy = match &flags.proxy {
            Some(wanted) => wanted.proxy(),
            None => self.inner.proxies.of_host(&url.host),
        };
        site.options.parallel = PARALLEL;
        site.options.connect_timeout = Duration::from_secs(flags.connect_timeout.unwrap_or(20));
        let timeout = Duration::from_secs(flags.timeout.unwrap_or(60));
        site.options.reply_timeout = timeout;
        site.options.stall_timeout = timeout;
        site.options.end_timeout = timeout;
        site
    }

    async fn connect(&self, address: &Address) -> Result<Server, Failure> {
        if address.url.scheme == Scheme::Sftp {
            let mut site = self.sftp_site(address).await?;
            return self.connect_sftp(&address.url, &mut site).await.map(Server::Sftp);
        }
        let mut site = self.site_with_login(address).await?;
        self.connect_ftp(&address.url, &mut site).await.map(Server::Ftp)
    }

    /// Connects; whether a server that was never seen before is believed is asked where somebody can answer.
    async fn connect_ftp(&self, url: &Url, site: &mut Site) -> Result<FtpRemote, Failure> {
        loop {
            let remote = FtpRemote::new(site.clone());
            let Err(error) = remote.connect().await else {
                return Ok(remote);
            };
            let distrust =
                pasarela_client::Failure::of(&error).and_then(|failure| failure.distrust.as_deref());
            let belief = match distrust {
                Some(stranger @ TrustError::Stranger { .. }) if self.can_ask_whom_to_trust() => {
                    ask::about(stranger, &self.stop).await
                }
                _ => Belief::Never,
            };
            if !self.believe(belief, &site.host, site.port, &mut site.trust)? {
                return Err(failed(&url.to_string(), &error));
            }
        }
    }

    /// The same, for a server of SSH.
    async fn connect_sftp(&self, url: &Url, site: &mut SftpSite) -> Result<SftpRemote, Failure> {
        loop {
            let remote = SftpRemote::new(site.clone());
            let Err(error) = remote.connect().await else {
                return Ok(remote);
            };
            let distrust =
                pasarela_client::Failure::of(&error).and_then(|failure| failure.host_key.as_deref());
            let belief = match distrust {
                Some(stranger @ HostKeyError::Stranger { .. }) if self.can_ask_whom_to_trust() => {
                    ask::about_host_key(stranger, &self.stop).await
                }
                _ => Belief::Never,
            };
            if !self.believe(belief, &site.host, site.port, &mut site.trust)? {
                return Err(failed(&url.to_string(), &error));
            }
        }
    }

    /// Does as the question was answered; whether the server is to be connected to again.
    fn believe(&self, belief: Belief, host: &str, port: u16, trust: &mut Trust) -> Result<bool, Failure> {
        match (belief, &self.inner.memory) {
            // Where it is looked up, it is known from now on.
            (Belief::Always(key), Some(memory)) => {
                let kept = memory.remember(host, port, Known { key: Some(key) });
                kept.map_err(|error| usage(format!("{}: {error}", memory.path().display())))?;
            }
            (Belief::Always(key) | Belief::Once(key), _) => *trust = Trust::Pinned(key),
            (Belief::Never, _) => return Ok(false),
        }
        Ok(true)
    }

    fn can_ask_whom_to_trust(&self) -> bool {
        self.inner.memory.is_some() && self.can_ask()
    }

    /// The SSH server of an address, with what is known of who logs in. What is missing is asked for when the server
    /// wants it.
    async fn sftp_site(&self, address: &Address) -> Result<SftpSite, Failure> {
        let (url, flags) = (&address.url, &address.flags);
        let mut site = SftpSite::of(url);
        site.trust = flags.trust(self.inner.memory.as_ref());
        site.identities = flags.identity.iter().cloned().collect();
        site.options.family = flags.family();
        site.options.proxy = self.inner.proxies.of_host(&url.host);
        site.options.connect_timeout = Duration::from_secs(flags.connect_timeout.unwrap_or(20));
        site.options.stall_timeout = Duration::from_secs(flags.timeout.unwrap_or(60));
        site.asks = Some(Arc::new(ask::Asker {
            login: url.to_string(),
            stop: self.stop.clone(),
            can_ask: self.tally.is_none(),
        }));
        if site.password.is_none() {
            site.password = match &self.inner.password {
                Some(password) => Some(password.clone()),
                None => match self.kept(address).await? {
                    Some(password) => Some(password),
                    None => self.netrc_password(url, &site.user)?,
                },
            };
        }
        Ok(site)
    }

    fn netrc_password(&self, url: &Url, user: &[u8]) -> Result<Option<Secret>, Failure> {
        let netrc = self.inner.netrc.read();
        let netrc = netrc.map_err(|problem| problem.fails(Kind::Configuration))?;
        Ok(netrc
            .find(&url.host, Some(user))
            .and_then(|entry| entry.password.clone()))
    }

    fn can_ask(&self) -> bool {
        self.tally.is_none() && ask::is_possible()
    }

    /// Who logs in with which password, where the URL does not say it.
    pub(super) async fn find_login(&self, address: &Address, site: &mut Site) -> Result<(), Failure> {
        let url = &address.url;
        if let (Some(_), Some(password)) = (&url.user, &self.inner.password) {
            site.password = password.clone();
            return Ok(());
        }
        if let Some(password) = self.kept(address).await? {
            site.password = password;
            return Ok(());
        }
        let netrc = self.inner.netrc.read();
        let netrc = netrc.map_err(|problem| problem.fails(Kind::Configuration))?;
        let entry = netrc.find(&url.host, url.user.as_deref());
        let Some(user) = url.user.as_ref().or(entry.and_then(|entry| entry.login.as_ref())) else {
            return Ok(());
        };
        site.user.clone_from(user);
        if let Some(account) = entry.and_then(|entry| entry.account.as_ref()) {
            site.account.clone_from(account);
        }
        let known = entry.and_then(|entry| entry.password.as_ref());
        site.password = match known.or(self.inner.password.as_ref()) {
            Some(password) => password.clone(),
            None => {
                let url = Url {
                    user: Some(user.clone()),
                    ..url.clone()
                };
                let typed = match self.tally {
                    Some(_) => Err(std::io::Error::other(
                        "a job cannot ask for it; open the server first",
                    )),
                    None => ask::secret(&format!("Password for {url}: "), &self.stop).await,
                };
                let typed = typed.map_err(|error| usage(format!("{url}: no password: {error}")))?;
                Secret::new(typed)
            }
        };
        Ok(())
    }

    /// The password that `login` kept. A keyring that cannot be asked is told of, and somebody may still type it.
    async fn kept(&self, address: &Address) -> Result<Option<Secret>, Failure> {
        let (Some(keeper), Some(keepers)) = (address.keeper, self.inner.keepers.clone()) else {
            return Ok(None);
        };
        let url = address.url.clone();
        let asked = tokio::task::spawn_blocking(move || keepers.look_up(keeper, &url)).await;
        match asked.unwrap_or_else(|stopped| Err(Problem::new(stopped.to_string()))) {
            Err(problem) if keeper == Keeper::Keyring => {
                show::say(&problem.titled("warning"));
                Ok(None)
            }
            asked => asked.map_err(|problem| problem.fails(Kind::Configuration)),
        }
    }

    /// Ends all connections.
    pub(super) async fn close(&self) {
        let opened = std::mem::take(&mut *self.all_opened());
        for Opened { server, .. } in opened {
            server.remote().close().await;
        }
    }

    /// An operand without its password, for plans and messages.
    pub(super) fn shown(&self, operand: &str) -> String {
        match self.meant(operand) {
            Ok(Meant::There(address)) => address.url.to_string(),
            Ok(Meant::Here(path)) => std::path::absolute(path)
                .map_or_else(|_| operand.to_owned(), |path| path.to_string_lossy().into_owned()),
            Err(_) => operand.to_owned(),
        }
    }
}

/// Who was there before; `None`: there is no place to remember it.
pub(super) fn known_servers() -> Option<KnownServers> {
    let dir = surroundings::state_dir().ok()?;
    Some(KnownServers::at(dir.join("known_servers")))
}

/// The saved places.
pub(super) fn book() -> Option<Book> {
    Some(Book::at(surroundings::config_dir()?.join("places.toml")))
}

/// What has to be the same for one connection to do for both.
fn login(url: &Url) -> (Scheme, &str, u16, Option<&Vec<u8>>, Option<&Secret>) {
    (
        url.scheme,
        &url.host,
        url.port,
        url.user.as_ref(),
        url.password.as_ref(),
    )
}

/// Warns of a password that stands in a URL.
pub(super) fn warn_of(url: &Url) {
    if let Some(warning) = exposed(url) {
        show::say(&warning.titled("warning"));
    }
}

/// What is risky about a password that stands in a URL.
fn exposed(url: &Url) -> Option<Problem> {
    let is_secret = !url.password.as_ref()?.reveal().is_empty() && !is_anonymous(url.user.as_ref()?);
    is_secret.then(|| {
        Problem::new(format!(
            "{url}: everybody on this machine can read a password in a URL, as `ps` shows it, and shells keep it"
        ))
        .hint("leave it out: `pasarela login`, netrc or --password-file has it, or you are asked")
    })
}

/// Whether a login's password is none.
pub(super) fn is_anonymous(user: &[u8]) -> bool {
    [&b"anonymous"[..], b"ftp"]
        .iter()
        .any(|name| user.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_warned_about_and_not_repeated() {
        for (url, is_warned) in [
            ("ftp://anna:sesame@h/", true),
            ("ftp://:sesame@h/", true),
            ("ftp://anna@h/", false),
            ("ftp://anna:@h/", false),
            ("ftp://h/", false),
            ("ftp://anonymous:anna@h/", false),
        ] {
            let warning = exposed(&url.parse().unwrap()).map(|problem| problem.titled("warning"));
            assert_eq!(warning.is_some(), is_warned, "{url}");
            assert!(!warning.unwrap_or_default().contains("sesame"), "{url}");
        }
    }
}
