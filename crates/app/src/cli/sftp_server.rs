//! `pasarela sftp-server`: SFTP on standard input and output, as a subsystem of an SSH server.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{ArgAction, Args, ValueHint};
use pasarela_dtp::Pace;
use pasarela_server::sftp::{self, Terms};
use pasarela_session::account::{AuthorizedKeys, TlsNeed};
use pasarela_session::{Account, May, Session};
use pasarela_store::local::{Durability, Local, Options};

use crate::failure::{Failure, Kind, Problem};
use crate::{log, surroundings};

pub(crate) const EXAMPLES: &str = "\
Who may log in, and as whom, is the SSH server's business; this command has the rights of the user that it runs as,
and shows DIR as the root. Uploads stand under their names when the client closes them, and not before.

Examples:
  In sshd_config, instead of the server that came with OpenSSH, for everybody:
      Subsystem sftp /usr/bin/pasarela sftp-server

  For one user, who sees one folder and gets no shell:
      Match User anna
          ForceCommand /usr/bin/pasarela sftp-server /srv/anna

  Without any network, to look at it:
      sftp -D 'pasarela sftp-server /srv/anna'";

/// The flags of `sftp-server`.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The folder that is the root; the user's home when missing
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    root: Option<PathBuf>,

    /// Nothing may be changed
    #[arg(long)]
    read_only: bool,

    /// What closing an upload promises. `safe`: file and directory are on stable storage. `fast`: they are handed to
    /// the kernel
    #[arg(long, value_name = "HOW", default_value = "safe", value_parser = PossibleValuesParser::new(["safe", "fast"]))]
    durability: String,

    /// Log transfers to standard error, which SSH servers pass on to the client; twice: each refusal too
    #[arg(short, action = ArgAction::Count)]
    verbose: u8,
}

/// Serves one session.
pub(crate) fn run(flags: &Flags) -> Result<(), Failure> {
    let level = match flags.verbose {
        0 => "error",
        1 => "info",
        _ => "debug",
    };
    log::begin(level, false)?;
    surroundings::raise_open_files();
    let session = session(flags).map_err(|problem| problem.fails(Kind::Configuration))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::new(format!("cannot start threads: {error}")).fails(Kind::Other))?;
    // How long a session may rest, or a client take nothing, is for the SSH server to say.
    let terms = Terms {
        idle: Duration::MAX,
        stall: Duration::MAX,
        link_first: false,
    };
    // Not as the standard library has them: its output keeps back what comes after the last newline.
    let (input, output) = (unbuffered(std::io::stdin())?, unbuffered(std::io::stdout())?);
    let ended = runtime.block_on(sftp::serve(input, output, session, terms, std::future::pending()));
    // A read of standard input that waits is not waited for.
    runtime.shutdown_background();
    ended.map_err(|error| Problem::new(error.to_string()).fails(Kind::Other))
}

fn unbuffered(stream: impl AsFd) -> Result<tokio::fs::File, Failure> {
    let stream = stream.as_fd().try_clone_to_owned();
    let stream = stream.map_err(|error| Problem::new(error.to_string()).fails(Kind::Other))?;
    Ok(tokio::fs::File::from_std(stream.into()))
}

fn session(flags: &Flags) -> Result<Session, Problem> {
    let root = match &flags.root {
        Some(root) => root.clone(),
        None => std::env::var_os("HOME")
            .filter(|home| !home.is_empty())
            .map(PathBuf::from)
            .ok_or_else(|| {
                Problem::new("there is no home to serve").hint("name a folder: sftp-server DIR")
            })?,
    };
    let options = Options {
        durability: match flags.durability.as_str() {
            "fast" => Durability::Fast,
            _ => Durability::Safe,
        },
        ..Options::default()
    };
    let storage = Local::open(&root, options).map_err(|error| {
        let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Problem::new(format!("{}: {why}", root.display()))
    })?;
    let account = Account {
        name: std::env::var("USER").unwrap_or_default(),
        storage: Arc::new(storage),
        may: match flags.read_only {
            true => May::read_only(),
            // Whoever is here has been let in by the system, under whose rights all is done.
            false => pasarela_session::Permission::ALL.into_iter().collect(),
        },
        tls: TlsNeed::Optional,
        rate: None,
        session_rate: None,
        sessions: None,
        authorized_keys: AuthorizedKeys::default(),
    };
    Ok(Session::new(Arc::new(account), Pace::default()))
}
