//! `pasarela bench`: what a server takes for each step, and where the time goes.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use clap::Args;
use pasarela_client::transfer::{self, Aside, Retries, Verify};
use pasarela_client::{FtpRemote, Phase, Place, Progress, Remote as _, Site, Stopwatch};
use pasarela_store::{self as store, Storage as _, VirtualPath};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::open::{Opener, Reaching};
use super::operand::Meant;
use super::{ask, failed, run_patiently, show, transfer_failed, usage};
use crate::cli::print;
use crate::failure::{Failure, Kind, Problem};

/// Examples, for the help.
pub(crate) const EXAMPLES: &str = "\
Connects five times, lists the folder twenty times, and sends and fetches small files and large ones. What it sends goes \
into a folder that it makes (pasarela-bench-…) and removes again, and only once you have said yes, or with --yes.

Examples:
  All of it, in the folder of a saved place:
      pasarela bench site:

  Without writing anything: listings, and one file that is there, fetched by 8 at once:
      pasarela bench --read-only pub/image.iso --parallel 8 ftp://ftp.example.org/

  For a program; a large amount, so that TCP gets going:
      pasarela bench --yes --json --size 1GiB ftpes://anna@ftp.example.org/

Figures are those of this moment and of this network; compare some runs before you believe one.

Exit codes: as of `pasarela ls`";

/// The flags of `bench`.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A folder of a server: a URL, or a saved place
    target: String,

    /// How much is sent, and fetched, for the throughput; all together
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    size: u64,

    /// How many small files
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    files: u32,

    /// How many transfers at once
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: u16,

    /// Write nothing: fetch this file, whose path is taken from the folder
    #[arg(long, value_name = "PATH")]
    read_only: Option<String>,

    /// Write without a question
    #[arg(short, long, conflicts_with = "read_only")]
    yes: bool,

    /// One JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    reaching: Reaching,
}

/// Connections that are made one after the other.
const CONNECTIONS: usize = 5;
/// Listings.
const LISTINGS: usize = 20;
/// Small files that are fetched one after the other, at most, to see where the time goes.
const ALONE: usize = 20;
/// What a small file has.
const SMALL: u64 = 1024;
/// The wait for a temporary folder to be removed.
const CLEANING: Duration = Duration::from_secs(60);

fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 9] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("M", 1 << 20),
        ("G", 1 << 30),
        ("", 1),
    ];
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = UNITS.iter().find(|(name, _)| *name == unit.trim());
    let bytes = unit.and_then(|(_, each)| number.parse::<u64>().ok()?.checked_mul(*each));
    bytes
        .filter(|bytes| (1..=1 << 40).contains(bytes))
        .ok_or_else(|| "a number of bytes such as 64MiB or 1GB, 1 TiB at most".to_owned())
}

/// Measures a server.
pub(crate) fn run_bench(flags: &Flags) -> Result<ExitCode, Failure> {
    run_patiently(&flags.reaching, CLEANING, async |opener, stop| {
        let report = measured(flags, &opener, &stop).await?;
        print(&match flags.json {
            true => format!("{}\n", report.object()),
            false => report.table(),
        })?;
        Ok(0)
    })
}

/// What was measured.
#[derive(Debug, Default)]
struct Report {
    url: String,
    parallel: u16,
    /// Steps of a connection and of a transfer, with their medians.
    connection: Vec<(Phase, Duration)>,
    /// Listings: their number of entries, median, and what all but one of a hundred take.
    listing: Option<(usize, Duration, Duration)>,
    /// One small file after the other: median of the whole, and of its steps.
    alone: Option<(Duration, Vec<(Phase, Duration)>)>,
    /// Small files a second.
    small: Vec<(&'static str, f64)>,
    /// Bytes a second.
    large: Vec<(&'static str, f64)>,
}

async fn measured(flags: &Flags, opener: &Opener, stop: &CancellationToken) -> Result<Report, Failure> {
    let Meant::There(address) = opener.meant(&flags.target)? else {
        return Err(Problem::new(format!("{} is at no server", flags.target))
            .hint("a URL, or a saved place (pasarela login)")
            .fails(Kind::Configuration));
    };
    // Passwords and trust are asked about once, before any time is taken.
    let (site, path) = opener.site_of(&address).await?;
    let bench = Bench {
        watch: Stopwatch::default(),
        site,
        name: flags.target.clone(),
        stop: stop.clone(),
        parallel: flags.parallel,
    };
    let mut report = Report {
        url: address.url.to_string(),
        parallel: flags.parallel,
        ..Report::default()
    };
    let is_json = flags.json;
    let tell = move |text: &str| {
        if !is_json {
            show::say(text);
        }
    };
    if flags.read_only.is_none() && !flags.yes {
        let written = flags.size + u64::from(flags.files) * SMALL;
        let question = format!(
            "bench sends {written} bytes into a new folder at {} and removes it. Go on? [y/N] ",
            address.url
        );
        if !ask::is_possible() {
            return Err(usage("bench writes to the server, and nobody can be asked")
                .hinted("--yes allows it; --read-only PATH writes nothing"));
        }
        if !ask::is_yes(&question, stop).await {
            return Err(usage("nothing was measured").hinted("--read-only PATH writes nothing"));
        }
    }
    tell("connections …");
    report.connection = bench.connections().await?;
    let remote = bench.remote();
    tell("listings …");
    report.listing = Some(bench.listings(&remote, &path).await?);
    let done = match &flags.read_only {
        Some(file) => {
            tell("fetching …");
            let file = path.resolve(file.as_bytes());
            let file = file.map_err(|error| usage(format!("--read-only: {error}")))?;
            bench.fetch_only(&remote, &file, &mut report).await
        }
        None => bench.in_folder(&remote, &path, flags, &mut report, &tell).await,
    };
    remote.close().await;
    done.map(|()| report)
}

/// A server that is measured.
struct Bench {
    site: Site,
    watch: Stopwatch,
    /// What the user calls it.
    name: String,
    stop: CancellationToken,
    parallel: u16,
}

impl Bench {
    fn remote(&self) -> FtpRemote {
        let mut site = self.site.clone();
        site.options.stopwatch = Some(self.watch.clone());
        site.options.parallel = self.parallel.into();
        FtpRemote::new(site)
    }

    fn failed(&self, error: &store::Error) -> Failure {
        failed(&self.name, error)
    }

    async fn connections(&self) -> Result<Vec<(Phase, Duration)>, Failure> {
        for _ in 0..CONNECTIONS {
            let remote = self.remote();
            let connected = self.unless_stopped(remote.connect()).await?;
            connected.map_err(|error| self.failed(&error))?;
            remote.close().await;
        }
        Ok(medians(&self.watch.take()))
    }

    async fn listings(
        &self,
        remote: &FtpRemote,
        path: &VirtualPath,
    ) -> Result<(usize, Duration, Duration), Failure> {
        let mut times = Vec::new();
        let mut entries = 0;
        for _ in 0..LISTINGS {
            let began = Instant::now();
            let listing = async {
                let mut pages = remote.list(path).await?;
                entries = 0;
                while let Some(page) = pages.next_page().await? {
                    entries += page.len();
                }
                store::Result::Ok(())
            };
            let listed = self.unless_stopped(listing).await?;
            listed.map_err(|error| self.failed(&error))?;
            times.push(began.elapsed());
        }
        Ok((entries, quantile(&mut times, 50), quantile(&mut times, 99)))
    }

    /// A file that is there, by all at once.
    async fn fetch_only(
        &self,
        remote: &FtpRemote,
        file: &VirtualPath,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let size = remote.stat(file).await.map_err(|error| self.failed(&error))?.size;
        let place = self.place(remote, file.clone());
        let taken = self.all(vec![place; self.parallel.into()], fetch).await?;
        let bytes = size * u64::from(self.parallel);
        report.large.push(("down", bytes as f64 / taken.as_secs_f64()));
        Ok(())
    }

    /// What is sent, in a folder that goes when all is done, or when it is not.
    async fn in_folder(
        &self,
        remote: &FtpRemote,
        path: &VirtualPath,
        flags: &Flags,
        report: &mut Report,
        tell: &(dyn Fn(&str) + Sync),
    ) -> Result<(), Failure> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| usage(format!("no random numbers: {error}")))?;
        let name = format!("pasarela-bench-{:016x}", u64::from_ne_bytes(random));
        let bad = |error| usage(format!("no path: {error}"));
        let folder = path.resolve(name.as_bytes()).map_err(bad)?;
        let file = |name: String| folder.resolve(name.as_bytes()).map_err(bad);
        let small: Vec<_> = (0..flags.files)
            .map(|n| file(format!("small-{n}")))
            .collect::<Result<_, _>>()?;
        let large: Vec<_> = (0..self.parallel)
            .map(|n| file(format!("large-{n}")))
            .collect::<Result<_, _>>()?;
        remote
            .make_dir(&folder)
            .await
            .map_err(|error| self.failed(&error))?;
        let mut left = Left(format!("{name} is left at {}", report.url));
        let measured = self.files(remote, flags, &small, &large, report, tell).await;
        tell("removing what was sent …");
        let removing = self.remove(remote, folder, small.into_iter().chain(large));
        match tokio::time::timeout(CLEANING, removing).await {
            Ok(Ok(())) => left.0.clear(),
            Ok(Err(error)) if measured.is_err() => show::complain(&self.failed(&error)),
            Ok(Err(error)) => return Err(self.failed(&error)),
            Err(_) => {}
        }
        measured
    }

    async fn files(
        &self,
        remote: &FtpRemote,
        flags: &Flags,
        small: &[VirtualPath],
        large: &[VirtualPath],
        report: &mut Report,
        tell: &(dyn Fn(&str) + Sync),
    ) -> Result<(), Failure> {
        let places = |paths: &[VirtualPath]| -> Vec<Place> {
            paths
                .iter()
                .map(|path| self.place(remote, path.clone()))
                .collect()
        };
        let a_second = |count: f64, taken: Duration| count / taken.as_secs_f64().max(1e-6);
        tell("small files …");
        let count = small.len() as f64;
        let taken = self
            .all(places(small), |place, stop| send(place, SMALL, stop))
            .await?;
        report.small.push(("up", a_second(count, taken)));
        let taken = self.all(places(small), fetch).await?;
        report.small.push(("down", a_second(count, taken)));
        // One after the other, to see where the time goes.
        let _ = self.watch.take();
        let mut times = Vec::new();
        for place in places(&small[..small.len().min(ALONE)]) {
            let began = Instant::now();
            fetch(place, self.stop.clone())
                .await
                .map_err(|error| transfer_failed(&self.name, &error))?;
            times.push(began.elapsed());
        }
        report.alone = Some((quantile(&mut times, 50), medians(&self.watch.take())));
        tell("large files …");
        let each = flags.size.div_ceil(u64::from(self.parallel));
        let bytes = (each * u64::from(self.parallel)) as f64;
        let taken = self
            .all(places(large), |place, stop| send(place, each, stop))
            .await?;
        report.large.push(("up", a_second(bytes, taken)));
        let taken = self.all(places(large), fetch).await?;
        report.large.push(("down", a_second(bytes, taken)));
        Ok(())
    }

    fn place(&self, remote: &FtpRemote, path: VirtualPath) -> Place {
        Place {
            remote: Arc::new(remote.clone()),
            path,
        }
    }

    /// Transfers as many places at once as are to be: how long all of them took.
    async fn all<W>(
        &self,
        places: Vec<Place>,
        transfer: impl Fn(Place, CancellationToken) -> W,
    ) -> Result<Duration, Failure>
    where
        W: Future<Output = Result<(), transfer::Error>> + Send + 'static,
    {
        let began = Instant::now();
        let mut running = JoinSet::new();
        let mut places = places.into_iter();
        loop {
            while running.len() < usize::from(self.parallel)
                && let Some(place) = places.next()
            {
                running.spawn(transfer(place, self.stop.clone()));
            }
            match running.join_next().await {
                None => return Ok(began.elapsed()),
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => return Err(transfer_failed(&self.name, &error)),
                Some(Err(stopped)) => return Err(usage(stopped.to_string())),
            }
        }
    }

    /// Removes a folder and the files that may be in it; as many at once as are transferred.
    async fn remove(
        &self,
        remote: &FtpRemote,
        folder: VirtualPath,
        mut files: impl Iterator<Item = VirtualPath>,
    ) -> store::Result<()> {
        let mut running = JoinSet::new();
        loop {
            while running.len() < usize::from(self.parallel)
                && let Some(file) = files.next()
            {
                let remote = remote.clone();
                running.spawn(async move { remote.remove_file(&file).await });
            }
            match running.join_next().await {
                None => return remote.remove_dir(&folder).await,
                // Not all were sent when something failed.
                Some(Ok(Err(error))) if error.kind != store::ErrorKind::NotFound => return Err(error),
                Some(_) => {}
            }
        }
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            done = work => Ok(done),
            () = self.stop.cancelled() => Err(Problem::new("interrupted").fails(Kind::Code(130))),
        }
    }
}

/// What is told of a folder that was not removed; empty once it was.
struct Left(String);

impl Drop for Left {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            show::say(&format!("warning: {}", show::escaped(self.0.as_bytes())));
        }
    }
}

/// No checks, no second attempts: the transfer itself.
fn options() -> transfer::Options {
    transfer::Options {
        verify: Verify::Off,
        aside: Aside::Never,
        retries: Retries {
            times: 0,
            ..Retries::default()
        },
        ..transfer::Options::default()
    }
}

async fn fetch(place: Place, stop: CancellationToken) -> Result<(), transfer::Error> {
    let nowhere = tokio::io::sink();
    transfer::receive(&place, None, nowhere, &options(), &Progress::default(), &stop).await?;
    Ok(())
}

async fn send(place: Place, size: u64, stop: CancellationToken) -> Result<(), transfer::Error> {
    let noise = Noise { left: size, state: 1 };
    transfer::send(noise, &place, &options(), &Progress::default(), &stop).await?;
    Ok(())
}

/// Bytes that nothing on the way can make fewer of (xorshift64*).
struct Noise {
    left: u64,
    state: u64,
}

impl AsyncRead for Noise {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let mut room = self.left.min(buf.remaining() as u64);
        self.left -= room;
        while room > 0 {
            self.state ^= self.state >> 12;
            self.state ^= self.state << 25;
            self.state ^= self.state >> 27;
            let word = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_ne_bytes();
            let length = word.len().min(usize::try_from(room).unwrap_or(word.len()));
            buf.put_slice(&word[..length]);
            room -= length as u64;
        }
        Poll::Ready(Ok(()))
    }
}

/// The value that so many of a hundred do not pass.
fn quantile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied().unwrap_or_default()
}

/// The median of each step, in the order in which they came first.
fn medians(times: &[(Phase, Duration)]) -> Vec<(Phase, Duration)> {
    let mut phases: Vec<Phase> = Vec::new();
    for (phase, _) in times {
        if !phases.contains(phase) {
            phases.push(*phase);
        }
    }
    let median = |phase| {
        let of_phase = times.iter().filter(|(other, _)| *other == phase);
        let mut of_phase: Vec<_> = of_phase.map(|(_, time)| *time).collect();
        (phase, quantile(&mut of_phase, 50))
    };
    phases.into_iter().map(median).collect()
}

fn title(phase: Phase) -> &'static str {
    match phase {
        Phase::Connect => "connect",
        Phase::Greeting => "greeting",
        Phase::Tls => "TLS",
        Phase::Login => "login",
        Phase::Survey => "survey",
        Phase::DataConnection => "data connection",
        Phase::Begin => "begin",
        _ => "other",
    }
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

impl Report {
    /// The steps of a small file, the rest of it among them.
    fn steps(&self) -> Vec<(&'static str, Duration)> {
        let Some((whole, phases)) = &self.alone else {
            return Vec::new();
        };
        let known: Duration = phases.iter().map(|(_, time)| *time).sum();
        let steps = phases.iter().map(|(phase, time)| (title(*phase), *time));
        steps.chain([("the rest", whole.saturating_sub(known))]).collect()
    }

    fn table(&self) -> String {
        let mut text = format!("{}, medians\n", show::escaped(self.url.as_bytes()));
        let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<22} {value}\n"));
        let time = |time: Duration| format!("{:>10.3} ms", milliseconds(time));
        let mut whole = Duration::ZERO;
        for (phase, took) in &self.connection {
            whole += *took;
            line(title(*phase), time(*took));
        }
        line("until logged in", time(whole));
        if let Some((entries, median, most)) = self.listing {
            line(
                "listing",
                format!(
                    "{}  (p99 {:.3} ms, {entries} entries)",
                    time(median),
                    milliseconds(most)
                ),
            );
        }
        if let Some((whole, _)) = self.alone {
            line("a small file, fetched", time(whole));
        }
        for (way, count) in &self.small {
            line(
                &format!("small files {way}"),
                format!("{count:>10.1} a second, {} at once", self.parallel),
            );
        }
        for (way, bytes) in &self.large {
            let rate = bytes / f64::from(1 << 20);
            line(
                &format!("throughput {way}"),
                format!("{rate:>10.2} MiB/s, {} at once", self.parallel),
            );
        }
        for (title, steps) in [
            (
                "Where the time of a login goes:",
                self.connection
                    .iter()
                    .map(|(phase, time)| (title(*phase), *time))
                    .collect(),
            ),
            ("Where the time of a small file goes:", self.steps()),
        ] {
            let whole: Duration = steps.iter().map(|(_, time)| *time).sum();
            if steps.is_empty() || whole.is_zero() {
                continue;
            }
            text.push_str(&format!("{title}\n"));
            for (name, time) in steps {
                let share = 100.0 * time.as_secs_f64() / whole.as_secs_f64();
                let bar = "#".repeat((share / 2.5).round() as usize);
                let line = format!("  {name:<22} {share:>9.0} %  {bar}");
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
        text
    }

    fn object(&self) -> Value {
        let connection = self
            .connection
            .iter()
            .map(|(phase, time)| (key(title(*phase)), milliseconds(*time).into()));
        let steps = self
            .steps()
            .into_iter()
            .map(|(name, time)| (key(name), milliseconds(time).into()));
        let rates = |rates: &[(&'static str, f64)]| -> Value {
            rates
                .iter()
                .map(|(way, rate)| ((*way).to_owned(), json!(rate)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        json!({
            "url": self.url,
            "parallel": self.parallel,
            "connection_ms": connection.collect::<serde_json::Map<_, _>>(),
            "listing": self.listing.map(|(entries, median, most)| json!({
                "entries": entries,
                "p50_ms": milliseconds(median),
                "p99_ms": milliseconds(most),
            })),
            "small_file_ms": steps.collect::<serde_json::Map<_, _>>(),
            "small_files_per_second": rates(&self.small),
            "bytes_per_second": rates(&self.large),
        })
    }
}

fn key(title: &str) -> String {
    title.to_ascii_lowercase().replace(' ', "_")
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1GB"), Ok(1_000_000_000));
        assert_eq!(size("10 kB"), Ok(10_000));
        assert_eq!(size("17"), Ok(17));
        for bad in ["", "0", "x", "5TB", "99999999999999999999", "2000GiB", "-1"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let mut times: Vec<_> = (1..=20).rev().map(Duration::from_millis).collect();
        assert_eq!(quantile(&mut times, 50), Duration::from_millis(10));
        assert_eq!(quantile(&mut times, 99), Duration::from_millis(20));
        assert_eq!(quantile(&mut times[..1], 50), Duration::from_millis(1));
        assert_eq!(quantile(&mut [], 50), Duration::ZERO);
    }

    #[tokio::test]
    async fn noise_is_as_long_as_it_should_be_and_not_the_same_everywhere() {
        let mut all = Vec::new();
        let length = Noise {
            left: 10_001,
            state: 1,
        }
        .read_to_end(&mut all)
        .await
        .unwrap();
        assert_eq!(length, 10_001);
        let mut words: Vec<_> = all.chunks_exact(8).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 1250);
    }

    #[test]
    fn a_report_tells_where_the_time_goes() {
        let ms = Duration::from_millis;
        let report = Report {
            url: "ftp://h/".to_owned(),
            parallel: 4,
            connection: vec![(Phase::Connect, ms(1)), (Phase::Login, ms(3))],
            listing: Some((7, ms(5), ms(9))),
            alone: Some((
                ms(10),
                vec![(Phase::DataConnection, ms(5)), (Phase::Begin, ms(3))],
            )),
            small: vec![("up", 100.0)],
            large: vec![("down", f64::from(1 << 21))],
        };
        let table = report.table();
        for part in [
            "until logged in             4.000 ms",
            "2.00 MiB/s",
            "75 %",
            "the rest                      20 %",
        ] {
            assert!(table.contains(part), "{part}: {table}");
        }
        let object = report.object();
        assert_eq!(object["small_file_ms"]["data_connection"], 5.0);
        assert_eq!(object["small_file_ms"]["the_rest"], 2.0);
        assert_eq!(object["bytes_per_second"]["down"], 2_097_152.0);
    }
}
