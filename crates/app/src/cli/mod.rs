//! The command line: commands and flags; what a flag means is defined by its key in the table of keys.

pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod documents;
pub(crate) mod files;
pub(crate) mod passwd;
pub(crate) mod reach;
pub(crate) mod relay;
pub(crate) mod serve;
pub(crate) mod sftp_server;

use std::io::Write as _;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, Styles, styling::AnsiColor};
use clap::{Args, Parser, Subcommand, ValueHint};

use crate::config::keys;
use crate::config::raw::{Raw, Value};
use crate::config::typed::Typed;
use crate::failure::{Failure, Kind, Problem};
use crate::secret::{self, Secret};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold());

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    something else went wrong
  2    a flag, the configuration, or a file that they name
  3    a socket could not be bound
  130  a second signal ended the server before its transfers had";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "pasarela",
    version,
    about = "File transfer that gets through: FTP, FTPS and SFTP, over one port",
    after_long_help = EXIT_CODES,
    styles = STYLES,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a folder over FTP, FTPS and SFTP
    #[command(after_long_help = SERVE_EXAMPLES)]
    Serve(ServeFlags),
    /// Show how this machine can be reached from outside
    #[command(after_long_help = REACH_EXAMPLES)]
    Reach(reach::Flags),
    /// Turn a password into the hash that the configuration takes
    #[command(after_long_help = PASSWD_EXAMPLES)]
    Passwd(passwd::Flags),
    /// Check, show, or print a configuration
    #[command(subcommand, arg_required_else_help = true)]
    Config(config::Command),
    /// Lend addresses of this machine to servers behind NAT (a TURN server for TCP)
    #[command(after_long_help = relay::EXAMPLES)]
    Relay(relay::Flags),
    /// Serve one SFTP session on standard input and output (a subsystem of an SSH server)
    #[command(after_long_help = sftp_server::EXAMPLES)]
    SftpServer(sftp_server::Flags),
    #[command(flatten)]
    Files(files::Command),
    /// Find out why transfers fail: with a server, on this machine's network, or of a server's own configuration
    #[command(after_long_help = doctor::EXAMPLES)]
    Doctor(doctor::Flags),
    /// Save a server and a folder there under a name, with its password
    #[command(after_long_help = files::login::EXAMPLES)]
    Login(files::login::Flags),
    /// Show and change which servers are known
    #[command(subcommand, arg_required_else_help = true, after_long_help = files::trust::EXAMPLES)]
    Trust(files::trust::Command),
    /// Give commands to a server one after the other
    #[command(after_long_help = files::shell::EXAMPLES)]
    Shell(files::shell::Flags),
    /// Measure a server: each step of a connection, listings, small files, throughput
    #[command(after_long_help = files::bench::EXAMPLES)]
    Bench(files::bench::Flags),
    /// Print a completion script for a shell
    #[command(after_long_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page (roff)
    #[command(after_long_help = MAN_EXAMPLES)]
    Man {
        /// The page: `pasarela`, a command such as `serve`, or `pasarela.toml`
        #[arg(default_value = "pasarela")]
        page: String,
    },
}

const SERVE_EXAMPLES: &str = "\
Examples:
  Share a folder; an account with a new password is made for this run:
      pasarela serve ~/share

  An account of your own; the password stays out of `ps`:
      PASARELA_PASSWORD=… pasarela serve ~/share --user anna

  A public download folder on the standard port:
      pasarela serve /srv/pub --anonymous --listen 21

  Behind a router that forwards port 2121, and no other, to this machine:
      pasarela serve ~/share --data-ports control --public-address ftp.example.org

  SFTP too, beside an SSH server that has port 22:
      pasarela serve ~/share --sftp-listen 2022

  Everything on one port:
      pasarela serve ~/share --listen 2121 --protocols ftp,ftps,sftp

  Where nothing can be forwarded: a relay of your own lends its address (`pasarela relay init` prints the password):
      PASARELA_RELAY_PASSWORD=… pasarela serve ~/share --listen 21 --relay 203.0.113.7

  From a configuration file, with one setting changed for this run:
      pasarela serve --config /etc/pasarela/pasarela.toml --tls optional

Signals:
  SIGTERM, SIGINT  finish running transfers (30 s at most), then stop; a second one stops at once
  SIGHUP           read configuration and certificate again; running sessions keep what they have

Environment:
  PASARELA_PASSWORD        the password of `--user NAME`
  PASARELA_RELAY_PASSWORD  the password of `--relay HOST`
  PASARELA_LOG             a filter for the log, such as `debug` or `pasarela_server=trace`";

const REACH_EXAMPLES: &str = "\
Shows the ladder of a server that runs with the same state folder. Where none runs, the ladder is climbed for the
listening ports of the configuration, and everything that routers were asked for is given back at the end.

Examples:
  A table of every way that was tried, what it came to, and what to do:
      pasarela reach --stun stun.example.org

  For a program, once; or a line whenever something changes:
      pasarela reach --json
      pasarela reach --json --watch

Exit codes:
  0    at least one port can be reached from outside, as far as that can be known
  1    none can";

const PASSWD_EXAMPLES: &str = "\
Examples:
  Type a password and get its hash:
      pasarela passwd

  Append a complete account to the configuration:
      pasarela passwd --user anna >> /etc/pasarela/pasarela.toml

  From a password manager:
      pass show ftp/anna | pasarela passwd --user anna";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  pasarela completions bash > ~/.local/share/bash-completion/completions/pasarela
  pasarela completions fish > ~/.config/fish/completions/pasarela.fish
  pasarela completions zsh > ~/.zfunc/_pasarela";

const MAN_EXAMPLES: &str = "\
Examples:
  pasarela man | man -l -
  pasarela man serve | man -l -
  pasarela man pasarela.toml > /usr/local/share/man/man5/pasarela.toml.5";

/// The flags of `serve`; `config check` and `config show` take them too.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServeFlags {
    /// The folder to serve: the root of every account that names no root of its own
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) root: Option<PathBuf>,

    /// The configuration file (TOML); flags override it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,

    #[arg(long, value_name = "ADDR", help = keys::help("ftp.listen"))]
    listen: Vec<String>,

    #[arg(long, value_name = "ftp,ftps,sftp", value_delimiter = ',', help = keys::help("ftp.protocols"))]
    protocols: Vec<String>,

    #[arg(long, value_name = "ADDR", help = keys::help("ftp.implicit_listen"))]
    implicit_listen: Vec<String>,

    #[arg(long, value_name = "ADDR", help = keys::help("sftp.listen"))]
    sftp_listen: Vec<String>,

    /// An account for this run, with DIR as its root
    ///
    /// May come several times. A password on the command line is visible to everybody on this machine (ps);
    /// without one it is taken from --password-file or from the variable PASARELA_PASSWORD. Without any
    /// account, one with a new password is made and printed.
    #[arg(long = "user", value_name = "NAME[:PASSWORD]")]
    users: Vec<String>,

    /// A file whose first line is the password of `--user NAME`
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    password_file: Option<PathBuf>,

    #[arg(long, help = keys::help("anonymous.enabled"))]
    anonymous: bool,

    #[arg(long, help = keys::help("storage.read_only"))]
    read_only: bool,

    #[arg(long, value_name = "MODE", help = keys::help("tls.mode"), value_parser = words("tls.mode"))]
    tls: Option<String>,

    #[arg(long, value_name = "FILE", help = keys::help("tls.certificate"), value_hint = ValueHint::FilePath)]
    cert: Option<PathBuf>,

    #[arg(long, value_name = "FILE", help = keys::help("tls.key"), value_hint = ValueHint::FilePath)]
    key: Option<PathBuf>,

    #[arg(long, value_name = "auto|control|PORT|A-B", help = keys::help("ftp.data.ports"))]
    data_ports: Option<String>,

    #[arg(long, value_name = "HOST|IP", help = keys::help("reach.public_address"))]
    public_address: Option<String>,

    #[arg(long, value_name = "auto|off|RUNG,…", help = keys::help("reach.ladder"))]
    reach: Option<String>,

    #[arg(long, value_name = "HOST[:PORT]", help = keys::help("reach.stun"))]
    stun: Vec<String>,

    #[arg(long, value_name = "HOST|URL", help = keys::help("reach.relay.server"))]
    relay: Vec<String>,

    #[arg(long, value_name = "URL", help = keys::help("reach.turn"))]
    turn: Vec<String>,

    #[arg(long, value_name = "DIR", help = keys::help("state.dir"), value_hint = ValueHint::DirPath)]
    state_dir: Option<PathBuf>,

    #[arg(long, value_name = "HOW", help = keys::help("storage.durability"), value_parser = words("storage.durability"))]
    durability: Option<String>,

    #[arg(long, value_name = "FORMAT", help = keys::help("log.format"), value_parser = words("log.format"))]
    log_format: Option<String>,

    /// Log each command and reply; twice: everything
    #[arg(short, action = clap::ArgAction::Count)]
    verbose: u8,

    /// Log warnings and errors only
    #[arg(short, conflicts_with = "verbose")]
    quiet: bool,
}

fn words(path: &str) -> PossibleValuesParser {
    PossibleValuesParser::new(keys::words(path))
}

/// A configuration as flags, file and defaults make it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) raw: Raw,
    pub(crate) typed: Typed,
}

/// A configuration with at least one account.
#[derive(Debug)]
pub(crate) struct Complete {
    /// Accounts that stand in no file, with their passwords.
    pub(crate) accounts: Vec<(String, Secret)>,
    /// Whether the only account was made for this run.
    pub(crate) made: bool,
    pub(crate) loaded: Loaded,
}

/// The variable that has the relay's password.
const RELAY_PASSWORD: &str = "PASARELA_RELAY_PASSWORD";

/// The account that is made when there is no other.
const MADE_ACCOUNT: &str = "share";

impl ServeFlags {
    /// Reads flags and configuration file; without any account, one with a new password is made.
    ///
    /// # Errors
    /// As [`Self::accounts`] and [`Self::load`].
    pub(crate) fn complete(&self) -> Result<Complete, Failure> {
        let mut accounts = self.accounts()?;
        let mut loaded = self.load(&accounts)?;
        let made = loaded.typed.accounts.is_empty();
        if made {
            let password = secret::generate()
                .map_err(|error| Problem::new(format!("no random numbers: {error}")).fails(Kind::Other))?;
            accounts.push((MADE_ACCOUNT.to_owned(), password));
            loaded = self.load(&accounts)?;
        }
        Ok(Complete {
            accounts,
            made,
            loaded,
        })
    }

    /// Reads the configuration file and lays the flags over it; `accounts` are those that stand in no
    /// file.
    ///
    /// # Errors
    /// Everything that is wrong with the file or the flags.
    pub(crate) fn load(&self, accounts: &[(String, Secret)]) -> Result<Loaded, Failure> {
        let mut raw = Raw::defaults();
        let mut problems = match &self.config {
            Some(file) => raw.read_file(file).err().unwrap_or_default(),
            None => Vec::new(),
        };
        self.overlay(&mut raw);
        let typed = Typed::new(&raw, accounts);
        match typed {
            Ok(typed) if problems.is_empty() => Ok(Loaded { raw, typed }),
            result => {
                // A file that could not be read as a whole misses values: what they lead to is no news.
                if problems.is_empty() {
                    problems.extend(result.err().unwrap_or_default());
                }
                Err(Failure {
                    kind: Kind::Configuration,
                    problems,
                })
            }
        }
    }

    fn overlay(&self, raw: &mut Raw) {
        let paths = [
            ("storage.root", &self.root),
            ("tls.certificate", &self.cert),
            ("tls.key", &self.key),
            ("state.dir", &self.state_dir),
        ];
        for (key, path) in paths {
            if let Some(path) = path {
                raw.set(key, Value::Text(path.to_string_lossy().into_owned()));
            }
        }
        let texts = [
            ("tls.mode", &self.tls),
            ("ftp.data.ports", &self.data_ports),
            ("reach.public_address", &self.public_address),
            ("reach.ladder", &self.reach),
            ("storage.durability", &self.durability),
            ("log.format", &self.log_format),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                raw.set(key, Value::Text(text.clone()));
            }
        }
        for (key, addresses) in [
            ("ftp.listen", &self.listen),
            ("ftp.protocols", &self.protocols),
            ("ftp.implicit_listen", &self.implicit_listen),
            ("sftp.listen", &self.sftp_listen),
            ("reach.stun", &self.stun),
            ("reach.relay.server", &self.relay),
            ("reach.turn", &self.turn),
        ] {
            if !addresses.is_empty() {
                raw.set(key, Value::texts(addresses));
            }
        }
        if let Ok(password) = std::env::var(RELAY_PASSWORD) {
            raw.set_by(RELAY_PASSWORD, "reach.relay.password", Value::Text(password));
            raw.values.remove("reach.relay.password_file");
        }
        for (key, set) in [
            ("anonymous.enabled", self.anonymous),
            ("storage.read_only", self.read_only),
        ] {
            if set {
                raw.set(key, Value::Truth(true));
            }
        }
        let level = match (self.quiet, self.verbose) {
            (true, _) => Some(("-q", "warn")),
            (false, 0) => None,
            (false, 1) => Some(("-v", "debug")),
            (false, _) => Some(("-vv", "trace")),
        };
        if let Some((flag, level)) = level {
            raw.set_by(flag, "log.level", Value::Text(level.into()));
        }
    }

    /// The accounts of `--user`, with their passwords.
    ///
    /// # Errors
    /// When a password is missing, empty, or cannot be read.
    pub(crate) fn accounts(&self) -> Result<Vec<(String, Secret)>, Failure> {
        self.accounts_with(std::env::var("PASARELA_PASSWORD").ok())
            .map_err(|p| p.fails(Kind::Configuration))
    }

    fn accounts_with(&self, environment: Option<String>) -> Result<Vec<(String, Secret)>, Problem> {
        let mut accounts: Vec<(String, Secret)> = Vec::new();
        let mut without = None;
        for user in &self.users {
            let (name, password) = match user.split_once(':') {
                Some((name, password)) => (name, Secret::new(password.to_owned())),
                None => {
                    if let Some(other) = without.replace(user) {
                        return Err(Problem::new(format!("--user: neither `{other}` nor `{user}` has a password"))
                            .hint("one --user can go without; put the others into a configuration file: pasarela passwd"));
                    }
                    (user.as_str(), self.password(user, environment.clone())?)
                }
            };
            if password.reveal().is_empty() {
                return Err(Problem::new(format!("--user: the password of `{name}` is empty")));
            }
            if accounts.iter().any(|(known, _)| known == name) {
                return Err(Problem::new(format!("--user: the account `{name}` comes twice")));
            }
            accounts.push((name.to_owned(), password));
        }
        if let (Some(file), None) = (&self.password_file, without) {
            return Err(
                Problem::new(format!("--password-file {}: no account takes it", file.display()))
                    .hint("name the account: --user NAME"),
            );
        }
        Ok(accounts)
    }

    /// The password of an account that was named without one.
    fn password(&self, name: &str, environment: Option<String>) -> Result<Secret, Problem> {
        match (&self.password_file, environment) {
            (Some(file), _) => std::fs::read_to_string(file)
                .map(|text| Secret::new(text.lines().next().unwrap_or_default().to_owned()))
                .map_err(|error| Problem::new(format!("--password-file {}: {error}", file.display()))),
            (None, Some(password)) => Ok(Secret::new(password)),
            (None, None) => Err(Problem::new(format!("--user: `{name}` has no password"))
                .hint("set the variable PASARELA_PASSWORD, or name a file: --password-file FILE")),
        }
    }

    /// What is risky about the flags themselves.
    pub(crate) fn warnings(&self) -> Vec<Problem> {
        let exposed = "a password on the command line is visible to everybody on this machine";
        let of_users = self.users.iter().any(|user| user.contains(':')).then(|| {
            Problem::new(exposed)
                .hint("use --user NAME with the variable PASARELA_PASSWORD or with --password-file FILE")
        });
        let relays = "use --relay HOST with the variable PASARELA_RELAY_PASSWORD";
        let others = "put the URL into the configuration file: `turn` under [reach]";
        let of_relays = [(relays, &self.relay), (others, &self.turn)]
            .into_iter()
            .filter(|(_, urls)| urls.iter().any(|url| url.contains('@')))
            .map(|(hint, _)| Problem::new(exposed).hint(hint));
        of_users.into_iter().chain(of_relays).collect()
    }
}

/// Writes data to standard output; a reader that has gone away is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// As [`print`], for what need not be UTF-8.
pub(crate) fn print_bytes(text: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Problem::new(format!("standard output: {error}")).fails(Kind::Other))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
