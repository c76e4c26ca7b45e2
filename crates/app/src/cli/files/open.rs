//! From what the user typed to a place: a URL is a server, anything else a path on this machine.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{ArgAction, Args, ValueHint};
use pasarela_client::{
    Family, FtpRemote, KnownServers, Local, Pin, Place, Remote, Scheme, Secret, Site, Stranger, Trust, Url,
};

use pasarela_store::{ErrorKind, VirtualPath};

use super::proxy::{Proxies, Wanted};
use super::{failed, netrc, show, usage};
use crate::cli::passwd;
use crate::failure::{Failure, Kind, Problem};
use crate::{log, surroundings};

/// Control connections to one server, at most: what --jobs may ask for. Each is made only when it is used.
const PARALLEL: usize = 64;

/// How servers are reached and whom to trust.
#[derive(Debug, Args)]
pub(crate) struct Reaching {
    /// Trust the server with this key or certificate, and no other
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
    /// netrc (see --netrc-file); then you are asked.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    password_file: Option<PathBuf>,

    /// A file with logins for servers; otherwise that of the variable NETRC, or ~/.netrc
    ///
    /// Each is `machine HOST login USER password PASSWORD`, with `default` for all other hosts. A word with spaces stands
    /// in quotes, a comment behind `#`. Where the URL names no user, the file's first login for its host is taken. A
    /// file with passwords that others can open is refused. An empty NETRC: no file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    netrc_file: Option<PathBuf>,

    /// Tell on standard error how servers are reached; twice: also all that is said to them and what they say
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    /// Connect through a proxy: socks5://HOST:PORT, socks5h://HOST:PORT, http://HOST:PORT, or `none`
    ///
    /// Control and data connections both go through it. socks5h and http leave it to the proxy to resolve the server's
    /// name, socks5 does not. HTTP proxies are asked with CONNECT, and many connect to ports of the web alone. A login
    /// stands before the host: socks5://USER:PASSWORD@HOST. Without this flag the first of the variables ftp_proxy,
    /// FTP_PROXY, all_proxy and ALL_PROXY counts that is set, except for the hosts in no_proxy or NO_PROXY.
    #[arg(long, value_name = "URL", value_parser = Wanted::parse)]
    proxy: Option<Wanted>,

    /// Connect by IPv4 alone
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,

    /// Connect by IPv6 alone
    #[arg(short = '6', long)]
    ipv6: bool,

    /// Seconds for one attempt to connect
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    connect_timeout: u64,

    /// Seconds without a reply or a byte after which a server is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86400))]
    timeout: u64,
}

fn pin(text: &str) -> Result<Pin, String> {
    text.parse()
        .map_err(|error: pasarela_client::BadPin| error.to_string())
}

/// Opens places, each server once.
#[derive(Clone)]
pub(super) struct Opener(Arc<Inner>);

struct Inner {
    trust: Trust,
    memory: Option<Arc<KnownServers>>,
    password: Option<Secret>,
    netrc: netrc::Source,
    insecure_plaintext: bool,
    proxies: Proxies,
    family: Family,
    connect_timeout: Duration,
    timeout: Duration,
    opened: Mutex<Vec<(Url, FtpRemote)>>,
}

impl Reaching {
    /// Starts the log, where one is wanted.
    pub(super) fn start_log(&self) -> Result<(), Failure> {
        let level = match self.verbose {
            0 if std::env::var_os("PASARELA_LOG").is_none() => return Ok(()),
            0 | 1 => "info",
            _ => "debug",
        };
        log::begin(level, false)
    }
}

impl Opener {
    pub(super) fn new(reaching: &Reaching) -> Result<Self, Failure> {
        // Where nothing can be remembered, only authorities are believed.
        let memory = surroundings::state_dir()
            .ok()
            .map(|dir| Arc::new(KnownServers::at(dir.join("known_servers"))));
        let trust = match (&reaching.pin, &reaching.ca, &memory) {
            (Some(pin), _, _) => Trust::Pinned(*pin),
            (None, Some(file), _) => Trust::Roots(file.clone()),
            (None, None, Some(servers)) => Trust::FirstUse {
                servers: Arc::clone(servers),
                stranger: match reaching.accept_new {
                    true => Stranger::Accept,
                    false => Stranger::Refuse,
                },
            },
            (None, None, None) => Trust::System,
        };
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
        Ok(Self(Arc::new(Inner {
            trust,
            memory,
            password,
            netrc: netrc::Source::choose(reaching.netrc_file.as_deref(), |name| {
                std::env::var_os(name).map(PathBuf::from)
            }),
            insecure_plaintext: reaching.insecure_plaintext,
            proxies,
            family: match (reaching.ipv4, reaching.ipv6) {
                (true, _) => Family::Ipv4,
                (false, true) => Family::Ipv6,
                (false, false) => Family::Any,
            },
            connect_timeout: Duration::from_secs(reaching.connect_timeout),
            timeout: Duration::from_secs(reaching.timeout),
            opened: Mutex::default(),
        })))
    }

    /// The place that an operand means; connects to a server.
    pub(super) async fn open(&self, operand: &str) -> Result<Place, Failure> {
        if !is_url(operand) {
            let path = PathBuf::from(operand);
            let opened = tokio::task::spawn_blocking(move || Local::at(&path)).await;
            let opened = opened.unwrap_or_else(|_| Err(ErrorKind::Io.into()));
            return opened.map_err(|error| failed(operand, &error));
        }
        let url: Url = operand.parse().map_err(|error| usage(format!("{error}")))?;
        let remote = self.remote(&url)?;
        let path = remote.resolve(&url.path).await;
        let path = path.map_err(|error| failed(&url.to_string(), &error))?;
        let remote: Arc<dyn Remote> = Arc::new(remote);
        Ok(Place { remote, path })
    }

    /// As [`Self::open`], but a link on this machine is meant itself, and a folder stands in the one that holds it.
    pub(super) async fn open_entry(&self, operand: &str) -> Result<Place, Failure> {
        let path = Path::new(operand);
        let (Some(name), false) = (path.file_name(), is_url(operand)) else {
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
        let of_server = |operand: &str| -> Option<Url> { operand.parse().ok().filter(|_| is_url(operand)) };
        match (of_server(from), of_server(to)) {
            (Some(a), Some(b)) if login(&a) == login(&b) => {
                Ok((self.open(from).await?, self.open(to).await?))
            }
            (None, None) if !is_url(from) && !is_url(to) => {
                let whole = Local::beneath(Path::new("/")).map_err(|error| failed("/", &error))?;
                let remote: Arc<dyn Remote> = Arc::new(whole);
                let place = |operand: &str| {
                    let path = std::path::absolute(operand).map_err(pasarela_store::Error::from);
                    let path = path.and_then(|path| {
                        let path = VirtualPath::root().resolve(path.as_os_str().as_bytes());
                        path.map_err(|_| ErrorKind::BadName.into())
                    });
                    let remote = Arc::clone(&remote);
                    path.map(|path| Place { remote, path })
                        .map_err(|error| failed(operand, &error))
                };
                Ok((place(from)?, place(to)?))
            }
            _ => Err(usage(
                "both names must be of one server and login, or both of this machine",
            )),
        }
    }

    fn remote(&self, url: &Url) -> Result<FtpRemote, Failure> {
        let mut opened = self.0.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, remote)) = opened.iter().find(|(other, _)| login(other) == login(url)) {
            return Ok(remote.clone());
        }
        let mut site = Site::of(url);
        site.trust = self.0.trust.clone();
        site.memory.clone_from(&self.0.memory);
        site.options.plain_password = self.0.insecure_plaintext && url.scheme == Scheme::Ftp;
        site.options.family = self.0.family;
        site.options.proxy = self.0.proxies.of_host(&url.host);
        site.options.parallel = PARALLEL;
        site.options.connect_timeout = self.0.connect_timeout;
        site.options.reply_timeout = self.0.timeout;
        site.options.stall_timeout = self.0.timeout;
        site.options.end_timeout = self.0.timeout;
        match exposed(url) {
            Some(warning) => show::say(&warning.titled("warning")),
            None if url.password.is_none() => self.find_login(url, &mut site)?,
            None => {}
        }
        let remote = FtpRemote::new(site);
        opened.push((url.clone(), remote.clone()));
        Ok(remote)
    }

    /// Who logs in with which password, where the URL does not say it.
    fn find_login(&self, url: &Url, site: &mut Site) -> Result<(), Failure> {
        if let (Some(_), Some(password)) = (&url.user, &self.0.password) {
            site.password = password.clone();
            return Ok(());
        }
        let netrc = self.0.netrc.read();
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
        site.password = match known.or(self.0.password.as_ref()) {
            Some(password) => password.clone(),
            None => {
                let url = Url {
                    user: Some(user.clone()),
                    ..url.clone()
                };
                let typed = passwd::ask_once(&format!("Password for {url}: "))
                    .map_err(|error| usage(format!("{url}: no password: {error}")))?;
                Secret::new(typed)
            }
        };
        Ok(())
    }

    /// Ends all connections.
    pub(super) async fn close(&self) {
        let opened = std::mem::take(&mut *self.0.opened.lock().unwrap_or_else(PoisonError::into_inner));
        for (_, remote) in opened {
            remote.close().await;
        }
    }
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

/// What is risky about a password that stands in a URL.
fn exposed(url: &Url) -> Option<Problem> {
    let is_secret = !url.password.as_ref()?.reveal().is_empty() && !is_anonymous(url.user.as_ref()?);
    is_secret.then(|| {
        Problem::new(format!(
            "{url}: everybody on this machine can read a password in a URL, as `ps` shows it, and shells keep it"
        ))
        .hint("leave it out: netrc or --password-file has it, or you are asked (see --help)")
    })
}

/// Whether a login's password is none.
pub(super) fn is_anonymous(user: &[u8]) -> bool {
    [&b"anonymous"[..], b"ftp"]
        .iter()
        .any(|name| user.eq_ignore_ascii_case(name))
}

/// Whether an operand is a URL: `SCHEME://`. A file of such a name is written `./SCHEME://…`.
pub(super) fn is_url(operand: &str) -> bool {
    operand.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(&b))
    })
}

/// An operand without its password, for plans and messages.
pub(super) fn shown(operand: &str) -> String {
    match operand.parse::<Url>() {
        Ok(url) if is_url(operand) => url.to_string(),
        _ => std::path::absolute(Path::new(operand))
            .map_or_else(|_| operand.to_owned(), |path| path.to_string_lossy().into_owned()),
    }
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
