//! `pasarela serve`: from flags to a running server, and what signals do to it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pasarela_reach::Reach;
use pasarela_server::sftp::{Fingerprint, HostKeys};
use pasarela_server::{Config, Handle, Protocol, Server, Settings, Ssh, TlsMode};
use pasarela_session::account::TlsNeed;
use pasarela_tls::ServerTls;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::{Complete, Loaded, ServeFlags};
use crate::bans::Bans;
use crate::certificate::Source;
use crate::config::keys::KEYS;
use crate::config::raw::Raw;
use crate::config::typed::{Proof, Typed};
use crate::failure::{Failure, Kind, Problem};
use crate::reach_state::Teller;
use crate::secret::Secret;
use crate::start_block::Facts;
use crate::{accounts, listen, log, service, surroundings};

/// How long running transfers may go on after the first signal.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the certificate's files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Serves until a signal ends it.
pub(crate) fn run(flags: &ServeFlags) -> Result<(), Failure> {
    let (operator, loaded) = Operator::new(flags.clone())?;
    log::start(&loaded.typed)?;
    surroundings::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::new(format!("cannot start threads: {error}")).fails(Kind::Other))?;
    let result = runtime.block_on(serve(operator, loaded));
    // A file operation that hangs is not waited for.
    runtime.shutdown_background();
    result
}

async fn serve(mut operator: Operator, loaded: Loaded) -> Result<(), Failure> {
    let [mut interrupt, mut terminate, mut hangup] = signals()?;
    let listeners = listen::listeners(&loaded.typed)?;
    operator.speaks_sftp = listeners.iter().any(|listener| listener.protocols.sftp);
    let settings = operator.settings(&loaded.typed)?;
    let mut sockets = Vec::new();
    for listener in &listeners {
        let address = listener.socket.local_addr();
        let address = address.map_err(|error| Problem::new(error.to_string()).fails(Kind::Bind))?;
        sockets.extend(listener.protocols.iter().map(|protocol| (address, protocol)));
    }
    if settings.tls.is_none() && sockets.iter().any(|(_, protocol)| *protocol == Protocol::Ftps) {
        return Err(
            Problem::new("implicit FTPS is TLS, which `tls.mode` turns off").fails(Kind::Configuration)
        );
    }
    let server = Server::new(Config { listeners, settings }).map_err(|error| {
        Problem::new(format!("cannot listen for data connections: {error}"))
            .hint("choose other ports: --data-ports")
            .fails(Kind::Bind)
    })?;
    operator.warn(&loaded.typed);
    operator.announce(&loaded.typed, sockets);
    service::ready();

    let state_dir = surroundings::state_dir_in_use(loaded.typed.state_dir.as_deref());
    let handle = server.handle();
    let mut bans = state_dir.as_deref().map(Bans::new);
    if let Some(bans) = &mut bans {
        handle.restore_bans(bans.read());
    }
    let _teller = Teller::start(
        operator.reach.clone(),
        state_dir.as_deref(),
        loaded.typed.on_change.clone(),
    );
    let mut watch = tokio::time::interval(LOOK_AGAIN);
    watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let running = server.run();
    tokio::pin!(running);
    let mut draining = false;
    loop {
        tokio::select! {
            () = &mut running => {
                if let Some(bans) = &mut bans {
                    bans.keep(&handle.bans());
                }
                return Ok(());
            }
            name = stop(&mut interrupt, &mut terminate) => {
                if draining {
                    return Err(Problem::new(format!("{name} again: transfers were cut short")).fails(Kind::CutShort));
                }
                tracing::info!(signal = name, patience = ?PATIENCE, "draining");
                draining = true;
                service::stopping();
                handle.drain(PATIENCE);
            }
            _ = hangup.recv(), if !draining => {
                service::reloading();
                // Reading a few small files here keeps nobody waiting: sessions run on other threads.
                operator.reload(&handle);
                service::ready();
            }
            _ = watch.tick() => {
                operator.renew_certificate();
                if let Some(bans) = &mut bans {
                    bans.keep(&handle.bans());
                }
            }
        }
    }
}

/// SIGINT, SIGTERM and SIGHUP.
fn signals() -> Result<[Signal; 3], Failure> {
    let heard = |kind| signal(kind).map_err(|e| Problem::new(format!("signals: {e}")).fails(Kind::Other));
    Ok([
        heard(SignalKind::interrupt())?,
        heard(SignalKind::terminate())?,
        heard(SignalKind::hangup())?,
    ])
}

/// Waits for a signal that ends the server.
async fn stop(interrupt: &mut Signal, terminate: &mut Signal) -> &'static str {
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}

/// What the operator said at start, and what has been made of it so far.
struct Operator {
    flags: ServeFlags,
    /// Accounts of the command line.
    accounts: Vec<(String, Secret)>,
    /// Whether the only account was made here.
    made: bool,
    /// The values that were in effect at start.
    started_with: Raw,
    /// The state folder of the start, which holds until the end.
    state_dir: Option<PathBuf>,
    certificate: Option<Certificate>,
    /// The ladder, which reloads leave standing.
    reach: Reach,
    /// What SSH clients know the server by; none where it does not speak SFTP.
    host_keys: Vec<Fingerprint>,
    /// Whether a socket speaks it, also one that the service manager passed.
    speaks_sftp: bool,
}

/// The certificate in use.
struct Certificate {
    source: Source,
    tls: ServerTls,
    seen: Vec<Option<SystemTime>>,
    fingerprint: String,
    pin: String,
}

impl Operator {
    fn new(flags: ServeFlags) -> Result<(Self, Loaded), Failure> {
        let Complete {
            accounts,
            made,
            loaded,
        } = flags.complete()?;
        let started_with = loaded.raw.clone();
        let state_dir = loaded.typed.state_dir.clone();
        let reach = Reach::new(loaded.typed.plan());
        Ok((
            Self {
                flags,
                accounts,
                made,
                started_with,
                state_dir,
                certificate: None,
                reach,
                host_keys: Vec::new(),
                speaks_sftp: false,
            },
            loaded,
        ))
    }

    /// What the server is told, with the certificate read anew.
    fn settings(&mut self, typed: &Typed) -> Result<Settings, Failure> {
        let users = accounts::users(typed)?;
        let tls = match typed.tls_mode {
            TlsMode::Off => None,
            _ => Some(
                self.server_tls(typed)
                    .map_err(|problem| problem.fails(Kind::Configuration))?,
            ),
        };
        let ssh = self
            .ssh(typed)
            .map_err(|problem| problem.fails(Kind::Configuration))?;
        Ok(Settings {
            users: Arc::new(users),
            tls,
            ssh,
            tls_mode: typed.tls_mode,
            data_ports: typed.data_ports,
            require_resumption: typed.require_resumption,
            active: typed.active,
            limits: typed.limits.clone(),
            reach: self
                .reach
                .with_words(typed.public_address.clone(), typed.forwards.clone()),
            greeting: typed.greeting.clone(),
            host_names: typed.host_names.clone(),
        })
    }

    /// SSH with the configured keys, or with those that were made at the first run.
    fn ssh(&mut self, typed: &Typed) -> Result<Option<Ssh>, Problem> {
        if !self.speaks_sftp {
            return Ok(None);
        }
        let keys = match typed.host_keys.is_empty() {
            false => HostKeys::from_files(&typed.host_keys),
            true => {
                let dir = typed.state_dir.clone().map_or_else(surroundings::state_dir, Ok)?;
                HostKeys::in_folder(&dir)
            }
        };
        let keys = keys.map_err(|error| {
            Problem::new(error.to_string())
                .hint("name another folder for the keys with --state-dir, or bring your own: host_keys under [sftp]")
        })?;
        self.host_keys = keys.fingerprints();
        Ok(Some(Ssh::new(&keys)))
    }

    /// TLS with the configured certificate. Once there is one it is kept, so that its tickets stay good.
    fn server_tls(&mut self, typed: &Typed) -> Result<ServerTls, Problem> {
        let source = Source::new(typed)?;
        let seen = source.modified();
        let material = source.load()?;
        let (fingerprint, pin) = (material.fingerprint().to_string(), material.public_key_pin());
        let refused = |error: std::io::Error| Problem::new(format!("the certificate is refused: {error}"));
        let tls = match &self.certificate {
            Some(certificate) => {
                certificate.tls.reload(material).map_err(refused)?;
                certificate.tls.clone()
            }
            None => ServerTls::new(material).map_err(refused)?,
        };
        self.certificate = Some(Certificate {
            source,
            tls: tls.clone(),
            seen,
            fingerprint,
            pin,
        });
        Ok(tls)
    }

    /// Reads everything again; whatever is wrong is logged and the old settings stay.
    fn reload(&mut self, handle: &Handle) {
        let settings = self.flags.load(&self.accounts).and_then(|mut loaded| {
            self.log_what_waits(&loaded.raw);
            loaded.typed.state_dir.clone_from(&self.state_dir);
            self.settings(&loaded.typed)
        });
        match settings {
            Ok(settings) => {
                handle.reload(settings);
                tracing::info!("reloaded");
            }
            Err(failure) => {
                for Problem { message, hint } in failure.problems {
                    tracing::error!(hint, "not reloaded: {message}");
                }
            }
        }
    }

    /// Keys that are read at start only and have another value now.
    fn log_what_waits(&self, raw: &Raw) {
        for key in KEYS.iter().filter(|key| !key.live) {
            let value = |raw: &Raw| raw.values.get(key.path).map(|found| found.value.to_string());
            if value(raw) != value(&self.started_with) {
                tracing::warn!(key = key.path, "changed, takes effect at the next start");
            }
        }
    }

    /// Takes the certificate's files when they have changed; what is wrong with them is logged and the old
    /// certificate stays.
    fn renew_certificate(&mut self) {
        let Some(certificate) = &mut self.certificate else {
            return;
        };
        let seen = certificate.source.modified();
        if seen == certificate.seen {
            return;
        }
        let renewed = certificate.source.load().and_then(|material| {
            let fingerprint = material.fingerprint().to_string();
            certificate
                .tls
                .reload(material)
                .map_err(|error| Problem::new(error.to_string()))?;
            Ok(fingerprint)
        });
        // Files that are wrong are reported once, and looked at again when they change again.
        certificate.seen = seen;
        match renewed {
            Ok(fingerprint) => tracing::info!(fingerprint, "certificate renewed"),
            Err(problem) => tracing::error!("certificate not renewed: {}", problem.message),
        }
    }

    /// Says what is risky.
    fn warn(&self, typed: &Typed) {
        let warnings = self.flags.warnings().into_iter();
        for warning in warnings
            .chain(self.exposed_key(typed))
            .chain(plain_over_relay(typed))
        {
            if typed.log_json {
                tracing::warn!(hint = warning.hint, "{}", warning.message);
            } else {
                // A server without a standard error serves all the same.
                let _ = writeln!(std::io::stderr(), "{}", warning.titled("warning"));
            }
        }
    }

    /// Whether the private key lies where visitors can read it.
    fn exposed_key(&self, typed: &Typed) -> Option<Problem> {
        let key = self.certificate.as_ref()?.source.key().canonicalize().ok()?;
        let within = |root: &Path| root.canonicalize().is_ok_and(|root| key.starts_with(root));
        let account = typed.accounts.iter().find(|account| within(&account.root))?;
        Some(
            Problem::new(format!(
                "the private key {} lies in the folder of `{}`",
                key.display(),
                account.name
            ))
            .hint("keep it elsewhere: --state-dir DIR, or --cert and --key"),
        )
    }

    /// Tells where the server can be reached: a block for a person, or one event for a machine.
    fn announce(&self, typed: &Typed, sockets: Vec<(std::net::SocketAddr, Protocol)>) {
        for (address, protocol) in &sockets {
            tracing::info!(?protocol, "listening on {address}");
        }
        let shown = typed
            .accounts
            .iter()
            .find(|account| !matches!(account.proof, Proof::Anonymous));
        let anonymous = typed
            .accounts
            .iter()
            .any(|account| matches!(account.proof, Proof::Anonymous));
        let certificate = self.certificate.as_ref();
        let facts = Facts {
            sockets,
            roots: typed
                .accounts
                .iter()
                .map(|account| (account.name.clone(), account.root.clone()))
                .collect(),
            user: shown
                .or(typed.accounts.first())
                .map(|account| account.name.clone())
                .unwrap_or_default(),
            password: self
                .made
                .then(|| self.accounts.first().map(|(_, password)| password.clone()))
                .flatten(),
            anonymous,
            tls: typed.tls_mode,
            fingerprint: certificate.map(|certificate| certificate.fingerprint.clone()),
            pin: certificate.map(|certificate| certificate.pin.clone()),
            host_keys: self.host_keys.clone(),
            certificate: certificate
                .and_then(|c| c.source.to_trust())
                .filter(|path| path.exists()),
            public: typed.public_address.clone(),
            plan: typed.plan(),
        };
        if typed.log_json {
            tracing::info!(
                urls = ?facts.urls(),
                fingerprint = facts.fingerprint,
                host_keys = ?facts.host_keys.iter().map(|key| &key.sha256).collect::<Vec<_>>(),
                user = facts.user,
                // Nobody could log in otherwise.
                made_password = facts.password.as_ref().map(Secret::reveal),
                "ready"
            );
        } else {
            // A server without a standard error serves all the same.
            let _ = std::io::stderr().write_all(facts.block().as_bytes());
        }
    }
}

/// Whether passwords may cross a relay, and all networks on the way to it, unprotected.
fn plain_over_relay(typed: &Typed) -> Option<Problem> {
    let plain = typed
        .accounts
        .iter()
        .find(|account| !matches!(account.proof, Proof::Anonymous) && account.tls == TlsNeed::Optional)?;
    (!typed.turn.is_empty()).then(|| {
        Problem::new(format!(
            "`{}` may log in without TLS: whoever runs the relay, or a network before it, can then read its \
             password and its files",
            plain.name
        ))
        .hint("use `tls.mode = \"required\"` (--tls required), or `tls = \"required\"` for the account")
    })
}
