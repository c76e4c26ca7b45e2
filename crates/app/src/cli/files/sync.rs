//! `pasarela sync`: a folder made like another one, at once or by a plan that is looked at first.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueHint};
use pasarela_client::mirror::{self, Compare, Filter, Links, NoteKind, Plan, Settings, Step, Summary};
use pasarela_client::transfer::{Error as TransferError, Options};
use tokio_util::sync::CancellationToken;

use super::{Copying, Opener, Reaching, code, show, transfer_code, usage};
use crate::cli::print;
use crate::failure::{Failure, Kind, Problem};

/// Examples, for the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  What would be done:
      pasarela sync -n --delete ~/site ftps://anna@ftp.example.org/www

  The other way round, with files of two kinds only:
      pasarela sync --include '*.jpg' --include '*.png' ftp://ftp.example.org/pub ~/pub

  A plan for somebody to look at, carried out later unless a side has changed:
      pasarela sync --delete --plan plan.json ~/site ftps://anna@ftp.example.org/www
      pasarela sync --apply plan.json ~/site ftps://anna@ftp.example.org/www

Patterns: the first that fits decides, in the order --filter-from, --include, --exclude. A pattern with a slash inside is
taken from the top, any other fits names at any depth; with a slash at its end it fits folders. Where there are only
patterns to include, all other files are left out. What is left out is not removed either.

Exit codes: as of `pasarela ls`";

/// The flags of `sync`.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The folder that stays as it is: a URL, a saved place, or a path on this machine
    source: String,

    /// The folder that becomes like it; made where it is not there
    target: String,

    /// Show what would be done, and do nothing
    #[arg(short = 'n', long, conflicts_with_all = ["plan", "apply"])]
    dry_run: bool,

    /// Remove from the target what the source does not have
    #[arg(long)]
    delete: bool,

    /// Compare contents: by digests where a place computes them, by reading otherwise
    #[arg(long, conflicts_with = "size_only")]
    checksum: bool,

    /// Compare sizes alone, not times
    #[arg(long)]
    size_only: bool,

    /// Leave alone what is newer at the target
    #[arg(short, long)]
    update: bool,

    /// Files and folders that are meant
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,

    /// Files and folders that are not meant
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,

    /// A file with patterns, one a line: `+ PATTERN`, `- PATTERN`
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    filter_from: Vec<PathBuf>,

    /// What links lead to is copied; otherwise links are left out
    #[arg(short = 'L', long)]
    follow_links: bool,

    /// Write the plan to a file (JSON), and do nothing
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "apply")]
    plan: Option<PathBuf>,

    /// Carry out the plan of a file, unless the source or the target changed since
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        conflicts_with_all = ["delete", "checksum", "size_only", "update", "include", "exclude", "filter_from", "follow_links"]
    )]
    apply: Option<PathBuf>,

    #[command(flatten)]
    copying: Copying,

    #[command(flatten)]
    pub(super) reaching: Reaching,
}

impl Flags {
    fn settings(&self) -> Result<Settings, Failure> {
        let mut filter = Filter::default();
        for file in &self.filter_from {
            let named = |error: String| usage(format!("--filter-from {}: {error}", file.display()));
            let text = std::fs::read_to_string(file).map_err(|error| named(error.to_string()))?;
            filter
                .add_lines(&text)
                .map_err(|error| named(error.to_string()))?;
        }
        self.include.iter().for_each(|pattern| filter.include(pattern));
        self.exclude.iter().for_each(|pattern| filter.exclude(pattern));
        Ok(Settings {
            compare: match (self.checksum, self.size_only) {
                (true, _) => Compare::Content,
                (false, true) => Compare::Size,
                (false, false) => Compare::SizeAndTime,
            },
            update: self.update,
            delete: self.delete,
            filter,
            links: match self.follow_links {
                true => Links::Follow,
                false => Links::Skip,
            },
            jobs: self.copying.jobs.into(),
            transfer: Options {
                // What an interrupted run left is this run's own.
                resume: false,
                ..self.copying.options()
            },
        })
    }
}

/// Makes the target like the source.
pub(super) async fn execute(flags: &Flags, opener: &Opener, stop: &CancellationToken) -> Result<u8, Failure> {
    let settings = flags.settings()?;
    let from = opener.open(&flags.source).await?;
    let to = opener.open(&flags.target).await?;
    let plan = match &flags.apply {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| usage(format!("{}: {error}", file.display())))?;
            let plan =
                Plan::from_json(&text).map_err(|error| usage(format!("{}: {error}", file.display())))?;
            let named = (opener.shown(&flags.source), opener.shown(&flags.target));
            if (&plan.source, &plan.target) != (&named.0, &named.1) {
                let text = format!("the plan is for {} and {}", plan.source, plan.target);
                return Err(usage(show::escaped(text.as_bytes())));
            }
            mirror::check_fresh(&plan, &from, &to, &settings, stop)
                .await
                .map_err(|error| mirror_failed(&error))?;
            plan
        }
        None => mirror::plan(&from, &to, &settings, stop)
            .await
            .map_err(|error| mirror_failed(&error))?,
    };
    if let Some(file) = &flags.plan {
        let plan = Plan {
            source: opener.shown(&flags.source),
            target: opener.shown(&flags.target),
            ..plan
        };
        let text = plan.to_json().map_err(|error| usage(error.to_string()))?;
        std::fs::write(file, text)
            .map_err(|error| Problem::new(format!("{}: {error}", file.display())).fails(Kind::Other))?;
        return Ok(0);
    }
    if flags.dry_run {
        print(&shown(&plan, flags.copying.json))?;
        return Ok(0);
    }
    let manner = flags.copying.manner();
    let (progress, events) = opener.progress(manner);
    let summary = mirror::apply(&plan, &from, &to, &settings, &progress, stop).await;
    drop(progress);
    let _ = events.await;
    if manner == show::Manner::People {
        show::say(&format!(
            "{} files copied ({} bytes), {} removed, {} failed",
            summary.copied,
            summary.bytes,
            summary.removed,
            summary.failed.len()
        ));
    }
    Ok(summary_code(&summary))
}

/// The steps of a plan, one a line.
fn shown(plan: &Plan, as_json: bool) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        if as_json {
            if let Ok(line) = serde_json::to_string(step) {
                let _ = writeln!(text, "{line}");
            }
            continue;
        }
        let word = match step {
            Step::MakeDir { .. } => "make folder",
            Step::Copy { replaces: true, .. } => "replace",
            Step::Copy { .. } => "copy",
            Step::DeleteFile { .. } => "remove",
            Step::RemoveDir { .. } => "remove folder",
            Step::SetTime { .. } => "set time",
        };
        let _ = writeln!(text, "{word:<14} {}", show::escaped(&step.path().to_bytes()));
    }
    if !as_json {
        for note in &plan.notes {
            let word = match note.kind {
                NoteKind::LeftOut => "leave out",
                NoteKind::Failed => "cannot do",
            };
            let (path, why) = (
                show::escaped(&note.path.to_bytes()),
                show::escaped(note.text.as_bytes()),
            );
            let _ = writeln!(text, "{word:<14} {path}: {why}");
        }
        let (files, bytes) = plan.totals();
        let _ = writeln!(text, "{files} files to copy, {bytes} bytes");
    }
    text
}

/// A failure to plan.
pub(super) fn mirror_failed(error: &mirror::Error) -> Failure {
    let code = match error {
        mirror::Error::Place { error, .. } => code(error),
        mirror::Error::Stopped => 130,
        _ => 1,
    };
    let problem = Problem::new(error.to_string());
    match error {
        mirror::Error::Stale(_) => problem.hint("make a new plan"),
        _ => problem,
    }
    .fails(Kind::Code(code))
}

/// The exit code of what carrying out a plan came to: where nothing was done, that of the first failure.
pub(super) fn summary_code(summary: &Summary) -> u8 {
    let first: Option<Option<&TransferError>> = summary.failed.first().map(|failed| failed.error.as_ref());
    let did_something = summary.copied + summary.made + summary.removed + summary.times > 0;
    match first {
        _ if summary.is_stopped => 130,
        None => 0,
        Some(Some(error)) if !did_something => transfer_code(error),
        Some(_) => 11,
    }
}
