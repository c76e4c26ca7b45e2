//! Our server and those people already have under the same load, beside each other: `pasarela-bench [CASE…]`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tables and messages are what it is for"
)]

mod account;
mod case;
mod failed;
mod ftp;
mod interrupt;
mod link;
mod load;
mod measure;
mod peer;
mod rounds;
mod server;
mod table;
mod tls;
mod tree;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::json;

use case::{CASES, Case};
use failed::{During as _, Failed};
use load::Scale;
use peer::{PEERS, Peer, Places};
use rounds::Run;
use tree::{Sizes, Tree};

/// Wrong usage.
const EXIT_USAGE: u8 = 2;
/// Open files that 10,000 sessions need on either side, with room to spare.
const OPEN_FILES: u64 = 40_000;

/// Loads our server and those it finds in turn, prints a table a case, and writes every sample as a JSON line.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", args_conflicts_with_subcommands = true)]
struct Arguments {
    /// What to measure, by name or by `beginning*`; the usual cases when none is given.
    #[arg(value_name = "CASE")]
    cases: Vec<String>,
    /// List the cases and the servers, and which of them are here.
    #[arg(long)]
    list: bool,
    /// Beside whom, by name, separated by commas; `none` for ours alone. Default: everybody who is here.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    peers: Vec<String>,
    /// How often each server has its turn.
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,
    /// For how long rates are counted.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Size of the large file.
    #[arg(long, value_name = "MIB")]
    size: Option<u64>,
    /// Where files are served from. Default: in memory (/dev/shm).
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Everybody on this processor: less speed, but the processor time of both sides without waking an idle one.
    #[arg(long, value_name = "NUMBER")]
    cpu: Option<usize>,
    /// Where the JSON lines go. Default: bench/ in the target folder, named by the time.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// A moment of everything, to see that it works: the figures mean nothing.
    #[arg(long)]
    quick: bool,
    #[command(subcommand)]
    own: Option<Own>,
}

/// What this program starts itself for.
#[derive(Debug, Subcommand)]
enum Own {
    /// Moves a file through a socket for everybody who connects.
    #[command(hide = true, name = peer::MOVE)]
    MoveBytes {
        way: peer::Way,
        port: u16,
        file: PathBuf,
        certificate: PathBuf,
        key: PathBuf,
    },
    /// Gives lines to a parser.
    #[command(hide = true, name = load::PARSE)]
    ParseLines { what: load::Lines, count: u64 },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match &arguments.own {
        Some(Own::MoveBytes {
            way,
            port,
            file,
            certificate,
            key,
        }) => return told(peer::serve(*way, *port, file, [certificate, key]).map(|()| true)),
        Some(Own::ParseLines { what, count }) => {
            load::parse(*what, *count);
            return ExitCode::SUCCESS;
        }
        None => {}
    }
    let places = match std::env::current_exe() {
        Ok(own) => Places::beside(&own),
        Err(error) => return usage(&format!("cannot find this program: {error}")),
    };
    if arguments.list {
        list(&places);
        return ExitCode::SUCCESS;
    }
    let cases = match Case::choose(&arguments.cases) {
        Ok(cases) => cases,
        Err(word) => return usage(&format!("no case is called {word}")),
    };
    let peers = match chosen(&arguments, &places) {
        Ok(peers) => peers,
        Err(message) => return usage(&message),
    };
    told(run(&arguments, &places, &cases, &peers))
}

/// False: a server failed that must not.
fn told(result: Result<bool, Failed>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failed) => {
            eprintln!("{failed}");
            ExitCode::FAILURE
        }
    }
}

fn usage(message: &str) -> ExitCode {
    eprintln!("{message}\nhint: `cargo xtask bench --list` lists cases and servers");
    ExitCode::from(EXIT_USAGE)
}

fn list(places: &Places) {
    println!("cases (* = run when none is named):");
    for case in CASES {
        let usual = if case.usual { '*' } else { ' ' };
        let tls = if case.tls { ", TLS 1.3" } else { "" };
        println!("{usual} {:<18} {}{tls}", case.name, case.about);
    }
    println!("servers:");
    for peer in PEERS.iter().filter(|peer| !peer.is_limit()) {
        println!(
            "  {:<18} {}",
            peer.name,
            state(peer, places).unwrap_or_else(|why| why)
        );
    }
}

/// Where its program is, or why it cannot be measured.
fn state(peer: &Peer, places: &Places) -> Result<String, String> {
    if peer.root && !rustix::process::geteuid().is_root() {
        return Err("needs root's rights".to_owned());
    }
    let program = (peer.program)(places).ok_or("not here")?;
    Ok(program.display().to_string())
}

/// Ours, those that were asked for or all that are here, and what the machine does without any.
fn chosen(arguments: &Arguments, places: &Places) -> Result<Vec<&'static Peer>, String> {
    let ours = peer::ours();
    state(ours, places).map_err(|_| {
        let path = places.ours.display();
        format!("{path} is not there\nhint: build it first: cargo build --release -p pasarela")
    })?;
    let mut wanted = arguments.peers.clone();
    if wanted.is_empty() && arguments.quick {
        wanted = vec!["vsftpd".to_owned()];
        wanted.retain(|name| {
            PEERS
                .iter()
                .any(|peer| peer.name == name && state(peer, places).is_ok())
        });
    } else if wanted.is_empty() {
        let here = PEERS.iter().filter(|peer| state(peer, places).is_ok());
        wanted = here.map(|peer| peer.name.to_owned()).collect();
    }
    for name in wanted.iter().filter(|name| *name != "none") {
        let known = PEERS.iter().find(|peer| peer.name == name);
        let known = known.ok_or_else(|| format!("no server is called {name}"))?;
        state(known, places).map_err(|why| format!("{name}: {why}"))?;
    }
    let asked = |peer: &Peer| peer.is_limit() || wanted.iter().any(|name| name == peer.name);
    let mut peers = vec![ours];
    peers.extend(PEERS.iter().skip(1).copied().filter(|peer| asked(peer)));
    Ok(peers)
}

fn run(
    arguments: &Arguments,
    places: &Places,
    cases: &[&'static Case],
    peers: &[&'static Peer],
) -> Result<bool, Failed> {
    interrupt::listen()?;
    raise_open_files();
    if let Some(cpu) = arguments.cpu {
        let mut only = CpuSet::new();
        only.set(cpu);
        // What is started from here on inherits it.
        sched_setaffinity(None, &only).during(format!("processor {cpu}"))?;
    }
    let quick = arguments.quick;
    let pick = |small, usual| if quick { small } else { usual };
    let sizes = Sizes {
        large: arguments.size.unwrap_or(pick(4, 1024)) << 20,
        slow: pick(256 << 10, 4 << 20),
        small: pick(20, 1000),
        // It takes its time to make, so it is made where it is listed only.
        huge: match cases.iter().any(|case| case.is_huge()) {
            true => pick(1000, 100_000),
            false => 0,
        },
    };
    let seconds = arguments.seconds.unwrap_or(if quick { 0.05 } else { 2.0 });
    let time = Duration::try_from_secs_f64(seconds)
        .map_err(|error| Failed::Missing(format!("--seconds: {error}")))?;
    let scale = Scale {
        time,
        listings: if quick { 5 } else { 1000 },
        most_sessions: if quick { 16 } else { usize::MAX },
        slow_rate: pick(1 << 20, 256 << 10),
    };
    let memory = Path::new("/dev/shm");
    let usual = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    let place = arguments.dir.clone().unwrap_or(usual);
    let tree = Tree::make(&place, sizes)?;
    let out = out(arguments)?;
    let mut lines = File::create(&out).during(out.display().to_string())?;
    let rounds = arguments.rounds.unwrap_or(if quick { 1 } else { 5 }).max(1);
    let mut run = Run {
        places,
        tree: &tree,
        scale,
        rounds,
        warm_up: !quick,
        peers,
        lines: &mut lines,
        standing: Vec::new(),
    };
    let machine = machine();
    println!("{machine}; files in {}", place.display());
    run.line(json!({
        "machine": machine, "place": place, "rounds": rounds, "seconds": seconds,
        "large": sizes.large, "huge": sizes.huge, "cpu": arguments.cpu, "quick": quick,
        "servers": peers.iter().map(|peer| peer.name).collect::<Vec<_>>(),
    }))?;
    let mut good = true;
    for case in cases {
        if interrupt::came() {
            break;
        }
        let outcome = run.case(case)?;
        print!("{}", table::render(&outcome));
        // Of others it is told; in a trial run of this program, everybody has to work.
        let bad = outcome
            .rows
            .iter()
            .enumerate()
            .any(|(number, row)| row.failed.is_some() && (quick || number == 0));
        good &= !bad;
    }
    if interrupt::came() {
        good = false;
        println!("\ninterrupted");
    }
    println!("\nours x: how many times better ours is, the median over rounds; below 1, theirs is");
    println!("every sample: {}", out.display());
    Ok(good)
}

fn out(arguments: &Arguments) -> Result<PathBuf, Failed> {
    if let Some(out) = &arguments.out {
        return Ok(out.clone());
    }
    let own = std::env::current_exe().during("this program")?;
    let target = own.ancestors().nth(2).unwrap_or(Path::new("."));
    let folder = target.join("bench");
    fs::create_dir_all(&folder).during(folder.display().to_string())?;
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    Ok(folder.join(format!("{seconds}.jsonl")))
}

/// As many as 10,000 sessions need, or as may be had.
fn raise_open_files() {
    let now = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: Some(OPEN_FILES),
        maximum: now.maximum.map(|maximum| maximum.max(OPEN_FILES)),
    };
    if setrlimit(Resource::Nofile, limit).is_err() {
        let limit = Rlimit {
            current: now.maximum,
            maximum: now.maximum,
        };
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// What this machine is, in a line.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} x {model}, Linux {}", kernel.trim())
}
