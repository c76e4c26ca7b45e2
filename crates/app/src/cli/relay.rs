//! `pasarela relay`: lends addresses of this machine to servers behind NAT.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand, ValueHint};
use pasarela_relay::{ALPN, Handle, Metrics, Relay};
use pasarela_tls::ServerTls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{interval, sleep, timeout};

use super::print;
use crate::certificate::Source;
use crate::failure::{Failure, Kind, Problem};
use crate::relay_config::{self, RelayFile};
use crate::{log, secret, service, surroundings};

pub(crate) const EXAMPLES: &str = "\
Examples:
  Begin: write a configuration with a new account, and print the line for the server:
      pasarela relay init --config /etc/pasarela/relay.toml --public-address 203.0.113.7

  Run:
      pasarela relay --config /etc/pasarela/relay.toml

Signals:
  SIGTERM, SIGINT  stop; streams that are carried are reset, so that nobody takes them for whole
  SIGHUP           read the configuration and the certificate's files again; streams go on";

/// The flags of `relay`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Flags {
    #[command(subcommand)]
    action: Option<Action>,

    /// The relay's configuration file (TOML)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
}

/// What to do instead of running.
#[derive(Debug, Subcommand)]
enum Action {
    /// Write a configuration with a new account and print what the server's configuration needs
    Init {
        /// The file to write; one that is there stays as it is
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: PathBuf,
        /// The address that others know this machine by
        ///
        /// Without it, the address that this machine uses towards the Internet.
        #[arg(long, value_name = "IP")]
        public_address: Option<IpAddr>,
        /// The account's name
        #[arg(long, value_name = "NAME", default_value = "server")]
        account: String,
    },
    /// Check a configuration; print `ok` or everything that is wrong
    Check {
        /// The file
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: PathBuf,
    },
}

/// Does it.
pub(crate) fn run(flags: &Flags) -> Result<(), Failure> {
    match (&flags.action, &flags.config) {
        (
            Some(Action::Init {
                config,
                public_address,
                account,
            }),
            _,
        ) => init(config, *public_address, account),
        (Some(Action::Check { config }), _) => {
            let file = relay_config::read(config)?;
            if let (Some(chain), Some(key)) = (&file.certificate, &file.key) {
                crate::certificate::load(chain, key).map_err(|wrong| wrong.fails(Kind::Configuration))?;
            }
            print("ok\n")
        }
        (None, Some(config)) => start(config, relay_config::read(config)?),
        (None, None) => Err(Problem::new("no configuration is named")
            .hint(
                "pasarela relay --config FILE; `pasarela relay init --config FILE` writes one to begin with",
            )
            .fails(Kind::Configuration)),
    }
}

fn init(path: &Path, public: Option<IpAddr>, account: &str) -> Result<(), Failure> {
    let named = account
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if account.is_empty() || !named {
        return Err(Problem::new(format!(
            "`{account}` is no name for an account: letters, digits, - _ ."
        ))
        .fails(Kind::Configuration));
    }
    let public = public
        .or_else(|| surroundings::addresses().first().copied())
        .ok_or_else(|| {
            Problem::new("this machine has no address towards the Internet")
                .hint("name the one that others know it by: --public-address IP")
                .fails(Kind::Configuration)
        })?;
    let password = secret::generate()
        .map_err(|error| Problem::new(format!("no random numbers: {error}")).fails(Kind::Other))?;
    let text = relay_config::document(public, account, password.reveal());
    // It holds a password.
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| {
        let problem = Problem::new(format!("{}: {error}", path.display()));
        let problem = match error.kind() {
            io::ErrorKind::AlreadyExists => problem.hint("name another file, or remove this one"),
            _ => problem,
        };
        problem.fails(Kind::Configuration)
    })?;
    let password = password.reveal();
    print(&format!(
        "# Here: pasarela relay --config {}\n\
         # or as a service, with /etc/pasarela/relay.toml owned by its user (packaging/README.md):\n\
         # systemctl enable --now pasarela-relay.service\n\
         # For the server's configuration file; the password is a secret:\n\
         [reach.relay]\n\
         server = [\"{public}\"]\n\
         user = \"{account}\"\n\
         password = \"{password}\"\n\
         # Or in one line:\n\
         # PASARELA_RELAY_PASSWORD={password} pasarela serve DIR --relay {public}\n",
        path.display()
    ))
}

fn start(path: &Path, mut file: RelayFile) -> Result<(), Failure> {
    // The codec warns of every broken message, which is for strangers to send.
    log::begin(&format!("{},stun_types=error", file.log_level), file.log_json)?;
    surroundings::raise_open_files();
    let source = certificate_source(&file)?;
    if let Some(source) = &source {
        let material = source.load().map_err(|wrong| wrong.fails(Kind::Configuration))?;
        let tls = ServerTls::for_protocols(material, &ALPN)
            .map_err(|error| Problem::new(format!("the certificate: {error}")).fails(Kind::Configuration))?;
        file.relay.certificate = Some(tls);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::new(format!("cannot start threads: {error}")).fails(Kind::Other))?;
    runtime.block_on(serve(path, file, source))
}

fn certificate_source(file: &RelayFile) -> Result<Option<Source>, Failure> {
    if file.relay.tls.is_empty() {
        return Ok(None);
    }
    if let (Some(chain), Some(key)) = (&file.certificate, &file.key) {
        return Ok(Some(Source::Files(chain.clone(), key.clone())));
    }
    let dir = match &file.state_dir {
        Some(dir) => dir.clone(),
        None => surroundings::state_dir().map_err(|wrong| wrong.fails(Kind::Configuration))?,
    };
    Ok(Some(Source::SelfSigned(dir.join("relay"), file.names())))
}

/// How often the certificate's files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

async fn serve(path: &Path, file: RelayFile, source: Option<Source>) -> Result<(), Failure> {
    let heard = |kind| signal(kind).map_err(|e| Problem::new(format!("signals: {e}")).fails(Kind::Other));
    let mut interrupt = heard(SignalKind::interrupt())?;
    let mut terminate = heard(SignalKind::terminate())?;
    let mut hangup = heard(SignalKind::hangup())?;
    warn_of_danger(&file);
    let relay = Relay::bind(file.relay.clone()).map_err(|error| {
        Problem::new(format!("cannot listen: {error}"))
            .hint("is another server there? Ports below 1024 need CAP_NET_BIND_SERVICE")
            .fails(Kind::Bind)
    })?;
    let counters = file
        .metrics
        .clone()
        .map(|path| Counters::bind(path, relay.metrics()))
        .transpose()?;
    let addresses = relay.local_addrs();
    tracing::info!(udp = ?addresses.udp, tcp = ?addresses.tcp, tls = ?addresses.tls, names = ?addresses.names, "relay listens");
    service::ready();

    let handle = relay.handle();
    let running = relay.run();
    tokio::pin!(running);
    let mut operator = Operator {
        path,
        modified: source.as_ref().map(Source::modified),
        source,
        started_with: file,
    };
    let mut watch = interval(LOOK_AGAIN);
    loop {
        tokio::select! {
            () = &mut running => return Ok(()),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {
                service::reloading();
                // Reading a few small files here keeps nobody waiting: connections run on other threads.
                operator.reload(&handle);
                service::ready();
                continue;
            }
            _ = watch.tick() => {
                operator.renew_certificate();
                continue;
            }
            () = Counters::serve(counters.as_ref()) => continue,
        }
        service::stopping();
        handle.stop();
    }
}

fn warn_of_danger(file: &RelayFile) {
    if file.relay.danger_allow_private_peers {
        tracing::warn!("danger_allow_private_peers: accounts reach whatever this machine reaches");
    }
}

/// Reads the operator's files again while the relay runs.
struct Operator<'a> {
    path: &'a Path,
    started_with: RelayFile,
    /// Where the certificate is by the latest configuration.
    source: Option<Source>,
    modified: Option<Vec<Option<SystemTime>>>,
}

impl Operator<'_> {
    /// Reads everything again; whatever is wrong is logged and all stays as it was.
    fn reload(&mut self, handle: &Handle) {
        match self.read_again(handle) {
            Ok(()) => tracing::info!("reloaded"),
            Err(failure) => {
                for Problem { message, hint } in failure.problems {
                    tracing::error!(hint, "not reloaded: {message}");
                }
            }
        }
    }

    fn read_again(&mut self, handle: &Handle) -> Result<(), Failure> {
        let file = relay_config::read(self.path)?;
        let tls = self.started_with.relay.certificate.as_ref();
        let source = tls.map(|_| certificate_source(&file)).transpose()?.flatten();
        let modified = source.as_ref().map(Source::modified);
        let refused = |error: String| Problem::new(error).fails(Kind::Configuration);
        if let (Some(source), Some(tls)) = (&source, tls) {
            let material = source.load().map_err(|wrong| wrong.fails(Kind::Configuration))?;
            let loaded = tls.reload(material);
            loaded.map_err(|error| refused(format!("the certificate: {error}")))?;
        }
        handle
            .reload(file.relay.clone())
            .map_err(|bad| refused(bad.to_string()))?;
        for key in file.waiting_for_a_restart(&self.started_with) {
            tracing::warn!(key, "this change takes a restart");
        }
        warn_of_danger(&file);
        (self.source, self.modified) = (source, modified);
        Ok(())
    }

    /// Reads the certificate again if its files have changed.
    fn renew_certificate(&mut self) {
        let now = self.source.as_ref().map(Source::modified);
        if let (Some(source), Some(tls)) = (&self.source, &self.started_with.relay.certificate)
            && now != self.modified
        {
            self.modified = now;
            let loaded = source
                .load()
                .map_err(|wrong| wrong.titled("error"))
                .and_then(|material| tls.reload(material).map_err(|error| error.to_string()));
            match loaded {
                Ok(()) => tracing::info!("certificate read again"),
                Err(error) => tracing::error!(%error, "the old certificate stays"),
            }
        }
    }
}

/// The counters, for whoever may connect to a socket of the file system.
struct Counters {
    listener: UnixListener,
    path: PathBuf,
    metrics: Arc<Metrics>,
}

impl Counters {
    fn bind(path: PathBuf, metrics: Arc<Metrics>) -> Result<Self, Failure> {
        // What a relay left that was killed; anything but a socket stays.
        if std::fs::symlink_metadata(&path).is_ok_and(|data| data.file_type().is_socket()) {
            let _ = std::fs::remove_file(&path);
        }
        let listener = UnixListener::bind(&path).map_err(|error| {
            Problem::new(format!("metrics: {}: {error}", path.display())).fails(Kind::Bind)
        })?;
        Ok(Self {
            listener,
            path,
            metrics,
        })
    }

    /// Answers for ever.
    async fn serve(counters: Option<&Self>) {
        let Some(counters) = counters else {
            return std::future::pending().await;
        };
        loop {
            match counters.listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(answer(stream, Arc::clone(&counters.metrics)));
                }
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The longest request that is read.
const LONGEST: u64 = 4096;

/// Answers whatever is asked over HTTP with all counters.
async fn answer(mut stream: UnixStream, metrics: Arc<Metrics>) {
    let exchange = async {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut rest = (&mut stream).take(LONGEST.saturating_sub(request.len() as u64));
            if rest.read_buf(&mut request).await? == 0 {
                break;
            }
        }
        let text = metrics.render();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            text.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await
    };
    // Nobody is told: the one who asked has gone.
    let _: Result<io::Result<()>, _> = timeout(Duration::from_secs(5), exchange).await;
}
