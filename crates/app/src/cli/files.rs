//! The commands that reach files, on this machine and on servers: what they have in common.

macro_rules! exit_codes {
    () => {
        "\
Exit codes:
  0    done
  1    something else went wrong
  2    a flag or an operand
  3    no connection, or no such host
  4    the login was refused
  5    TLS, or a server that is not trusted
  6    no data connection
  7    no such file or folder
  8    permission denied
  9    no space, or the quota is used up
  10   what was transferred is not what it should be
  11   some files were transferred and some were not
  12   it took too long
  130  interrupted"
    };
}

mod ask;
pub(crate) mod bench;
mod change;
mod copy;
mod keeping;
pub(crate) mod login;
mod look;
mod netrc;
mod open;
mod operand;
mod places;
mod private;
mod proxy;
mod server;
pub(crate) mod shell;
mod show;
mod sync;
pub(crate) mod trust;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use pasarela_client::transfer::{self, Aside, Bucket, Options, Pace, Retries};
use pasarela_client::{HostKeyError, TrustError};
use pasarela_store as store;
use tokio_util::sync::CancellationToken;

use crate::config::units::{self, Rate};
use crate::failure::{Failure, Kind, Problem};
pub(crate) use open::Reaching;
pub(super) use open::{Login, Opener};
use show::Manner;

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List folders
    #[command(after_long_help = look::EXAMPLES)]
    Ls(look::List),
    /// Fetch files and folders
    #[command(after_long_help = copy::GET_EXAMPLES)]
    Get(copy::Copy),
    /// Send files and folders
    #[command(after_long_help = copy::PUT_EXAMPLES)]
    Put(copy::Copy),
    /// Make a folder like another one
    #[command(after_long_help = sync::EXAMPLES, alias = "mirror")]
    Sync(sync::Flags),
    /// Write files to standard output
    #[command(after_long_help = EXIT_CODES)]
    Cat(copy::Cat),
    /// Remove files and folders
    #[command(after_long_help = EXIT_CODES)]
    Rm(change::Remove),
    /// Make folders
    #[command(after_long_help = EXIT_CODES)]
    Mkdir(change::MakeDir),
    /// Rename a file or a folder
    #[command(after_long_help = EXIT_CODES)]
    Mv(change::Move),
    /// Tell what stands under a name
    #[command(after_long_help = EXIT_CODES)]
    Stat(look::Stat),
    /// Print digests of files
    #[command(after_long_help = EXIT_CODES)]
    Hash(look::Hash),
}

impl Command {
    /// How it reaches servers.
    fn reaching(&self) -> &Reaching {
        match self {
            Self::Ls(flags) => &flags.reaching,
            Self::Get(flags) | Self::Put(flags) => &flags.reaching,
            Self::Sync(flags) => &flags.reaching,
            Self::Cat(flags) => &flags.reaching,
            Self::Rm(flags) => &flags.reaching,
            Self::Mkdir(flags) => &flags.reaching,
            Self::Mv(flags) => &flags.reaching,
            Self::Stat(flags) => &flags.reaching,
            Self::Hash(flags) => &flags.reaching,
        }
    }

    /// Does it; the exit code.
    async fn execute(&self, opener: &Opener, stop: &CancellationToken) -> Result<u8, Failure> {
        match self {
            Self::Ls(flags) => look::list(flags, opener).await,
            Self::Get(flags) => copy::get(flags, opener, stop).await,
            Self::Put(flags) => copy::put(flags, opener, stop).await,
            Self::Sync(flags) => sync::execute(flags, opener, stop).await,
            Self::Cat(flags) => copy::cat(flags, opener, stop).await,
            Self::Rm(flags) => change::remove(flags, opener).await,
            Self::Mkdir(flags) => change::make_dir(flags, opener).await,
            Self::Mv(flags) => change::rename(flags, opener).await,
            Self::Stat(flags) => look::stat(flags, opener).await,
            Self::Hash(flags) => look::hash(flags, opener).await,
        }
    }
}

/// Runs a command.
pub(crate) fn run_one(command: &Command) -> Result<ExitCode, Failure> {
    run(command.reaching(), async |opener, stop| {
        command.execute(&opener, &stop).await
    })
}

/// The exit codes of these commands, for their help.
pub(crate) const EXIT_CODES: &str = exit_codes!();

/// What the commands that copy take.
#[derive(Debug, Args)]
pub(crate) struct Copying {
    /// How many files at once
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,

    /// Move each large file in so many ranges at once, where both places can
    ///
    /// Downloads come in ranges from any server that has REST. Uploads go in ranges to servers alone that are known to
    /// put them together again, which few do (vsftpd with lock_upload_files off); others get the file in one piece.
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    segments: u16,

    /// How each result is checked
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Verify::Auto)]
    verify: Verify,

    /// Upload under another name and rename when it is whole, or fail
    ///
    /// So it is done without this flag too, unless the server does it by itself, as ours does, or refuses to rename. A
    /// cut upload then leaves what stood there, and a part `.NAME.NUMBER.part` beside it, which -c goes on with.
    #[arg(long, conflicts_with = "no_atomic")]
    atomic: bool,

    /// Upload into the file itself: it keeps its owner and permissions, and is cut off where the upload is
    #[arg(long)]
    no_atomic: bool,

    /// Try what failed and may pass so many times again
    #[arg(long, value_name = "N", default_value_t = 5)]
    retry: u32,

    #[command(flatten)]
    pacing: Pacing,

    /// Tell events as JSON, one a line, on standard output
    #[arg(long)]
    json: bool,

    /// Tell failures only
    #[arg(short, long)]
    quiet: bool,
}

/// How fast the commands that move content do so.
#[derive(Debug, Args)]
pub(crate) struct Pacing {
    /// Move no more than this, all transfers together: "1MiB/s", "20Mbit/s"
    #[arg(long, value_name = "RATE", value_parser = pace)]
    limit_rate: Option<Pace>,
}

fn pace(text: &str) -> Result<Pace, String> {
    match units::rate(text) {
        Ok(Some(Rate(bytes_per_second))) => Ok(Pace::new(vec![Bucket::new(bytes_per_second)])),
        Ok(None) => Ok(Pace::default()),
        Err(problem) => Err(problem.hint.unwrap_or(problem.message)),
    }
}

impl Pacing {
    fn pace(&self) -> Pace {
        self.limit_rate.clone().unwrap_or_default()
    }
}

/// How results are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Verify {
    /// By a digest where the server computes one, otherwise by the size
    Auto,
    /// By digests of both ends, or fail
    Hash,
    /// By the size
    Size,
    /// Not at all
    Off,
}

impl Copying {
    fn manner(&self) -> Manner {
        match (self.json, self.quiet) {
            (true, _) => Manner::Json,
            (false, true) => Manner::Quiet,
            (false, false) => Manner::People,
        }
    }

    fn options(&self) -> Options {
        Options {
            segments: self.segments.into(),
            verify: match self.verify {
                Verify::Auto => transfer::Verify::Auto,
                Verify::Hash => transfer::Verify::Hash,
                Verify::Size => transfer::Verify::Size,
                Verify::Off => transfer::Verify::Off,
            },
            aside: match (self.atomic, self.no_atomic) {
                (true, _) => Aside::Always,
                (false, true) => Aside::Never,
                (false, false) => Aside::Auto,
            },
            retries: Retries {
                times: self.retry,
                ..Retries::default()
            },
            pace: self.pacing.pace(),
            ..Options::default()
        }
    }
}

/// How long a command that was interrupted may take to end by itself.
const MOMENT: Duration = Duration::from_secs(2);

/// Runs a command until it is done or interrupted. A first SIGINT or SIGTERM asks it to stop; it has a moment to
/// leave things in order.
pub(super) fn run<W>(
    reaching: &Reaching,
    work: impl FnOnce(Opener, CancellationToken) -> W,
) -> Result<ExitCode, Failure>
where
    W: Future<Output = Result<u8, Failure>>,
{
    run_patiently(reaching, MOMENT, work)
}

/// As [`run`], with more than a moment; a second signal ends that.
fn run_patiently<W>(
    reaching: &Reaching,
    patience: Duration,
    work: impl FnOnce(Opener, CancellationToken) -> W,
) -> Result<ExitCode, Failure>
where
    W: Future<Output = Result<u8, Failure>>,
{
    reaching.start_log()?;
    let stop = CancellationToken::new();
    let opener = Opener::new(reaching)?.until(&stop);
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let work = work(opener.clone(), stop.clone());
        tokio::pin!(work);
        let done = tokio::select! {
            done = &mut work => done,
            () = interrupted() => {
                stop.cancel();
                tokio::select! {
                    _ = tokio::time::timeout(patience, &mut work) => {}
                    () = interrupted() => {}
                }
                Ok(130)
            }
        };
        let _ = tokio::time::timeout(MOMENT, opener.close()).await;
        done
    });
    // A disk that does not answer does not keep us.
    runtime.shutdown_timeout(MOMENT);
    result.map(ExitCode::from)
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Problem::new(error.to_string()).fails(Kind::Other))
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

/// A place's failure about something that the user named.
fn failed(name: &str, error: &store::Error) -> Failure {
    let text = format!(
        "{}: {}",
        show::escaped(name.as_bytes()),
        transfer::sentence(error)
    );
    let problem = Problem::new(text);
    let failure = pasarela_client::Failure::of(error);
    match failure.and_then(|failure| failure.host_key.as_deref()) {
        Some(HostKeyError::Stranger { host, port, key, .. }) => {
            return problem
                .hint(format!(
                    "once the key is known to be right: pasarela trust add {} {}",
                    trust::written_out(host, *port),
                    key.as_openssh()
                ))
                .fails(Kind::Code(code(error)));
        }
        Some(HostKeyError::Changed {
            host,
            port,
            line: None,
            ..
        }) => {
            return problem
                .hint(format!(
                    "once the change is known to be right: pasarela trust remove {}",
                    trust::written_out(host, *port)
                ))
                .fails(Kind::Code(code(error)));
        }
        _ => {}
    }
    match failure.and_then(|failure| failure.distrust.as_deref()) {
        Some(TrustError::Stranger { host, port, key, .. }) => problem.hint(format!(
            "once the key is known to be right: pasarela trust add {} {key}",
            trust::written_out(host, *port)
        )),
        Some(TrustError::Changed { host, port, .. }) => problem.hint(format!(
            "once the change is known to be right: pasarela trust remove {}",
            trust::written_out(host, *port)
        )),
        _ => problem,
    }
    .fails(Kind::Code(code(error)))
}

fn transfer_failed(name: &str, error: &transfer::Error) -> Failure {
    Problem::new(format!("{}: {error}", show::escaped(name.as_bytes())))
        .fails(Kind::Code(transfer_code(error)))
}

fn usage(message: impl Into<String>) -> Failure {
    Problem::new(message).fails(Kind::Configuration)
}

/// The exit code of the same work on several things.
fn whole_code(codes: &[u8]) -> u8 {
    let mut failed = codes.iter().filter(|code| **code != 0);
    match failed.next() {
        None => 0,
        Some(code) if failed.count() + 1 == codes.len() => *code,
        Some(_) => 11,
    }
}

/// The exit code of what a command came to.
fn exit_code(done: &Result<u8, Failure>) -> u8 {
    match done.as_ref().map_err(|failure| failure.kind) {
        Ok(code) => *code,
        Err(kind) => kind.exit_code(),
    }
}

/// The exit code of a place's failure.
fn code(error: &store::Error) -> u8 {
    use store::ErrorKind as K;
    match (pasarela_client::Failure::of(error), error.kind) {
        (Some(failure), _) => failure.kind.exit_code(),
        (None, K::NotFound) => 7,
        (None, K::PermissionDenied) => 8,
        (None, K::NoSpace | K::QuotaExceeded) => 9,
        _ => 1,
    }
}

fn transfer_code(error: &transfer::Error) -> u8 {
    match error {
        transfer::Error::Place { error, .. } => code(error),
        transfer::Error::Stopped => 130,
        error if error.is_verification() => 10,
        _ => 1,
    }
}
