//! `pasarela get`, `put` and `cat`: files and folders copied from one place to another.

use std::sync::Arc;

use clap::{Args, ValueHint};
use pasarela_client::mirror::{self, Compare, Links, Settings};
use pasarela_client::{Place, Progress, transfer};
use pasarela_store::{self as store, ErrorKind};
use tokio_util::sync::CancellationToken;

use super::operand::Meant;
use super::show;
use super::{Copying, Opener, Pacing, Reaching, failed, transfer_code, transfer_failed, usage, whole_code};
use crate::failure::{Failure, Kind};

/// Examples of `get`.
pub(super) const GET_EXAMPLES: &str = "\
Examples:
  A file into the current folder, gone on with where it was interrupted:
      pasarela get -c ftp://ftp.example.org/pub/image.iso

  A folder with all that it holds, eight files at once:
      pasarela get -r -j 8 ftps://anna@ftp.example.org/photos ~/photos/

A target that is a folder, or ends with a slash, takes the sources into it under their names.

Exit codes: as of `pasarela ls`";

/// Examples of `put`.
pub(super) const PUT_EXAMPLES: &str = "\
Examples:
  Two files into a folder of a server:
      pasarela put report.pdf notes.txt ftp://anna@ftp.example.org/inbox/

  What another program makes:
      tar c ~/work | pasarela put - ftps://anna@ftp.example.org/work.tar

A target that is a folder, or ends with a slash, takes the sources into it under their names.

Exit codes: as of `pasarela ls`";

/// The flags of `get` and `put`.
#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// What is copied, and at the end where to: URLs, saved places, paths on this machine, or `-` for standard input or
    /// output.
    /// For `get` the target may be left out: the current folder
    #[arg(required = true, value_name = "SOURCE… [TARGET]", value_hint = ValueHint::AnyPath)]
    operands: Vec<String>,

    /// Folders too, with all that they hold
    #[arg(short, long)]
    recursive: bool,

    /// Go on with what an interrupted transfer left, once it has been compared
    #[arg(short = 'c', long = "continue")]
    resume: bool,

    /// Leave alone what stands at the target
    #[arg(short, long)]
    no_clobber: bool,

    /// What links of a folder lead to is copied; otherwise links are left out
    #[arg(short = 'L', long)]
    follow_links: bool,

    #[command(flatten)]
    copying: Copying,

    #[command(flatten)]
    pub(super) reaching: Reaching,
}

impl Copy {
    /// The last of several operands, which may be a target.
    pub(super) fn last_of_several(&self) -> Option<&str> {
        let (last, others) = self.operands.split_last()?;
        (!others.is_empty()).then_some(last)
    }
}

/// The flags of `cat`.
#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// Files: URLs, or paths on this machine
    #[arg(required = true)]
    targets: Vec<String>,

    /// Only these bytes, counted from 0, the last one included; without END up to the end
    #[arg(long, value_name = "START-[END]", value_parser = range)]
    range: Option<(u64, u64)>,

    #[command(flatten)]
    pacing: Pacing,

    #[command(flatten)]
    pub(super) reaching: Reaching,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let bad = || "two numbers such as 0-99, or 100-".to_owned();
    let (start, end) = text.split_once('-').ok_or_else(bad)?;
    let start = start.parse().map_err(|_| bad())?;
    let end = match end {
        "" => u64::MAX,
        end => end.parse::<u64>().map_err(|_| bad())?.saturating_add(1),
    };
    if start < end { Ok((start, end)) } else { Err(bad()) }
}

/// Fetches: the last operand is the target unless it is at a server.
pub(super) async fn get(flags: &Copy, opener: &Opener, stop: &CancellationToken) -> Result<u8, Failure> {
    let ends = [opener.clone(), opener.here()];
    let (sources, target) = match flags.operands.split_last() {
        Some((last, sources)) if !sources.is_empty() && !ends[1].is_there(last) => (sources, last.as_str()),
        _ => (&flags.operands[..], "."),
    };
    copy(flags, ends, sources, target, stop).await
}

/// Sends: the last operand is the target.
pub(super) async fn put(flags: &Copy, opener: &Opener, stop: &CancellationToken) -> Result<u8, Failure> {
    let ends = [opener.here(), opener.clone()];
    match flags.operands.split_last() {
        Some((target, sources)) if !sources.is_empty() => copy(flags, ends, sources, target, stop).await,
        Some((source, _)) if opener.has_folder() => {
            copy(flags, ends, std::slice::from_ref(source), ".", stop).await
        }
        _ => Err(usage("put needs a target: pasarela put FILE… ftp://HOST/FOLDER/")),
    }
}

/// Writes files to standard output, one after the other.
pub(super) async fn cat(flags: &Cat, opener: &Opener, stop: &CancellationToken) -> Result<u8, Failure> {
    let options = transfer::Options {
        pace: flags.pacing.pace(),
        ..transfer::Options::default()
    };
    for target in &flags.targets {
        let from = opener.open(target).await?;
        let range = flags.range.map(|(start, end)| start..end);
        to_stdout(&from, range, &options, &Progress::default(), stop)
            .await
            .map_err(|error| transfer_failed(target, &error))?;
    }
    Ok(0)
}

async fn to_stdout(
    from: &Place,
    range: Option<std::ops::Range<u64>>,
    options: &transfer::Options,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<(), transfer::Error> {
    let written = transfer::receive(from, range, tokio::io::stdout(), options, progress, stop).await;
    match written {
        // Whoever read has had enough.
        Err(transfer::Error::Place {
            end: transfer::End::Target,
            error,
        }) if error
            .source
            .as_ref()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) =>
        {
            Ok(())
        }
        other => other.map(|_| ()),
    }
}

/// Copies, with openers of the sources and of the target.
async fn copy(
    flags: &Copy,
    [from, to]: [Opener; 2],
    sources: &[String],
    target: &str,
    stop: &CancellationToken,
) -> Result<u8, Failure> {
    let to_stdout = target == "-";
    if to_stdout && (sources.len() > 1 || flags.recursive || flags.copying.json) {
        return Err(usage("standard output takes one file, and no events beside it"));
    }
    let settings = Settings {
        compare: match flags.resume {
            true => Compare::SizeAndTime,
            false => Compare::Nothing,
        },
        links: match flags.follow_links {
            true => Links::Follow,
            false => Links::Skip,
        },
        jobs: flags.copying.jobs.into(),
        transfer: transfer::Options {
            resume: flags.resume,
            overwrite: !flags.no_clobber,
            ..flags.copying.options()
        },
        ..Settings::default()
    };
    let (progress, shown) = from.progress(flags.copying.manner());
    let work = Work {
        from,
        to,
        settings: &settings,
        progress,
        stop,
        recursive: flags.recursive,
    };
    let done = match to_stdout {
        true => work.stdout(&sources[0]).await,
        false => work.all(sources, target).await,
    };
    drop(work);
    let _ = shown.await;
    done
}

/// Everything that each source needs.
struct Work<'a> {
    from: Opener,
    to: Opener,
    settings: &'a Settings,
    progress: Progress,
    stop: &'a CancellationToken,
    recursive: bool,
}

impl Work<'_> {
    async fn stdout(&self, source: &str) -> Result<u8, Failure> {
        let from = self.from.open(source).await?;
        let written = to_stdout(&from, None, &self.settings.transfer, &self.progress, self.stop).await;
        // The failure has been shown as an event.
        Ok(written.map_or_else(|error| transfer_code(&error), |()| 0))
    }

    async fn all(&self, sources: &[String], target: &str) -> Result<u8, Failure> {
        let to = self.to.open(target).await?;
        let is_dir = match to.remote.stat(&to.path).await {
            Ok(there) => there.kind == store::Kind::Directory,
            Err(error) if error.kind == ErrorKind::NotFound => false,
            Err(error) => return Err(failed(target, &error)),
        };
        let is_meant_dir = target.ends_with('/');
        if sources.len() > 1 && !is_dir && !is_meant_dir {
            return Err(usage(format!("{target}: several sources need a folder")));
        }
        let into = is_dir || is_meant_dir;
        let mut codes = Vec::new();
        for source in sources {
            match self.one(source, &to, into).await {
                Ok(code) => codes.push(code),
                // A usage error, or the only source: nothing else to do.
                Err(failure) if sources.len() == 1 || failure.kind == Kind::Configuration => {
                    return Err(failure);
                }
                Err(failure) => {
                    show::complain(&failure);
                    codes.push(match failure.kind {
                        Kind::Code(code) => code,
                        _ => 1,
                    });
                }
            }
            if self.stop.is_cancelled() {
                return Ok(130);
            }
        }
        Ok(whole_code(&codes))
    }

    /// Copies one source; the exit code that it alone would have.
    async fn one(&self, source: &str, to: &Place, into: bool) -> Result<u8, Failure> {
        if source == "-" {
            if into {
                return Err(usage("standard input has no name: name a file as the target"));
            }
            let stdin = tokio::io::stdin();
            let sent = transfer::send(stdin, to, &self.settings.transfer, &self.progress, self.stop).await;
            return Ok(sent.map_or_else(|error| transfer_code(&error), |_| 0));
        }
        let from = self.from.open(source).await?;
        let there = from.remote.stat(&from.path).await;
        let there = there.map_err(|error| failed(source, &error))?;
        let to = match into {
            true => inside(to, &self.name_of(source, &from)).map_err(|error| failed(source, &error))?,
            false => to.clone(),
        };
        if there.kind != store::Kind::Directory {
            if into && let Some(parent) = to.path.parent() {
                let dir = Place {
                    remote: Arc::clone(&to.remote),
                    path: parent,
                };
                mirror::make_dirs(&dir)
                    .await
                    .map_err(|error| failed(source, &error))?;
            }
            let copied = transfer::copy(&from, &to, &self.settings.transfer, &self.progress, self.stop).await;
            return Ok(copied.map_or_else(|error| transfer_code(&error), |_| 0));
        }
        if !self.recursive {
            return Err(usage(format!(
                "{source} is a folder: -r copies it with all that it holds"
            )));
        }
        let plan = mirror::plan(&from, &to, self.settings, self.stop).await;
        let plan = plan.map_err(|error| super::sync::mirror_failed(&error))?;
        let summary = mirror::apply(&plan, &from, &to, self.settings, &self.progress, self.stop).await;
        Ok(super::sync::summary_code(&summary))
    }
    /// The name under which a source goes into a folder.
    fn name_of(&self, source: &str, from: &Place) -> Vec<u8> {
        match (from.path.name(), self.from.meant(source)) {
            (Some(name), _) => name.to_vec(),
            // A folder on this machine is the root of its own place.
            (None, Ok(Meant::Here(path))) => {
                use std::os::unix::ffi::OsStrExt as _;
                let path = std::fs::canonicalize(path).unwrap_or_default();
                path.file_name()
                    .map(|name| name.as_bytes().to_vec())
                    .unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }
}

/// A name in a folder; the folder itself for what has no name.
fn inside(dir: &Place, name: &[u8]) -> pasarela_store::Result<Place> {
    let path = dir.path.resolve(name).map_err(|_| ErrorKind::BadName)?;
    Ok(Place {
        remote: Arc::clone(&dir.remote),
        path,
    })
}
