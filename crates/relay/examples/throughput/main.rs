//! How fast streams are through this relay and through coturn's, beside none and beside a bare splice loop, and what a
//! relay's CPU pays for that.
//!
//! `cargo build --release -p pasarela && cargo run --release -p pasarela-relay --example throughput -- [MIB [ROUNDS]]`
//!
//! All ways take turns within a round, so that what else the machine does is fair to all of them; figures are medians,
//! ratios those of the same round. Nothing is asserted. The server listens on all addresses while it runs (on loopback
//! only it would ask no relay): `unshare -rn sh -c 'ip link set lo up && …'` keeps it from everybody.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a panic and a table are its reports"
)]

mod bare;
#[allow(dead_code, reason = "a stream takes only some of it")]
#[path = "../../tests/relay/client.rs"]
mod client;
mod ftp;
mod plain;
mod process;

use std::path::PathBuf;

use bare::Bare;
use process::{Relay, cpu_seconds};

/// How bytes go from one end to the other.
#[derive(Clone, Copy)]
pub(crate) enum Direction {
    /// From behind the relay to whoever has connected.
    Down,
    /// The other way round.
    Up,
}

/// One transfer.
pub(crate) struct Sample {
    seconds: f64,
    /// What the relay has used meanwhile.
    relay: f64,
    /// What both ends have used; over FTP, the client alone.
    ends: f64,
}

/// What to measure with.
pub(crate) struct Bench {
    pub(crate) pasarela: PathBuf,
    pub(crate) mib: u64,
    pub(crate) rounds: usize,
    pub(crate) runtime: tokio::runtime::Runtime,
}

fn main() {
    if let [word, to] = &std::env::args().skip(1).collect::<Vec<_>>()[..]
        && word == bare::WORD
    {
        return bare::run(to);
    }
    let mut numbers = std::env::args().skip(1).map(|word| word.parse().unwrap());
    let bench = Bench {
        pasarela: beside("pasarela"),
        mib: numbers.next().unwrap_or(1024),
        rounds: usize::try_from(numbers.next().unwrap_or(7)).unwrap(),
        runtime: tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap(),
    };
    println!("{} MiB a transfer, {} rounds", bench.mib, bench.rounds);
    let mut relays = vec![Relay::ours(&bench.pasarela)];
    match Relay::coturn() {
        Some(coturn) => relays.push(coturn),
        None => println!("coturn is not installed"),
    }
    plain::measure(&bench, &relays);
    ftp::measure(&bench, &relays);
}

/// A binary of the same build.
fn beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let binary = own.parent().unwrap().parent().unwrap().join(name);
    assert!(binary.exists(), "{} is not built", binary.display());
    binary
}

impl Bench {
    /// Has every way transfer in every round, and prints a line for each. `run` gets 0 for no relay, a relay's number
    /// from 1 on, or with `bare` the number behind them for that, and tells the seconds unless the transfer failed.
    pub(crate) fn rounds(
        &self,
        what: &str,
        relays: &[Relay],
        bare: Option<&Bare>,
        mut run: impl FnMut(usize) -> Option<f64>,
    ) {
        let ways = 1 + relays.len() + usize::from(bare.is_some());
        let used = |way: usize| match way {
            0 => 0.0,
            way => relays
                .get(way - 1)
                .map(Relay::cpu_seconds)
                .or(bare.map(Bare::cpu_seconds))
                .unwrap_or(0.0),
        };
        let mut samples: Vec<Vec<Option<Sample>>> = (0..ways).map(|_| Vec::new()).collect();
        // The first round warms up and does not count.
        for round in 0..=self.rounds {
            for (way, samples) in samples.iter_mut().enumerate() {
                let before = used(way);
                let ends = cpu_seconds(std::process::id());
                let seconds = run(way);
                let ends = cpu_seconds(std::process::id()) - ends;
                let relay = used(way) - before;
                if round > 0 {
                    samples.push(seconds.map(|seconds| Sample { seconds, relay, ends }));
                }
            }
        }
        let mib = self.mib as f64;
        for (way, of_way) in samples.iter().enumerate() {
            let name = match way {
                0 => "direct",
                way => relays.get(way - 1).map_or("splice", |relay| relay.name),
            };
            let whole = || of_way.iter().flatten();
            let failed = self.rounds - whole().count();
            let speed = median(whole().map(|sample| mib / sample.seconds));
            let beside = of_way.iter().zip(&samples[0]);
            let ratio = median(
                beside.filter_map(|(own, direct)| Some(direct.as_ref()?.seconds / own.as_ref()?.seconds)),
            );
            let relay = median(whole().map(|sample| sample.relay * 1024.0 / mib));
            let ends = median(whole().map(|sample| sample.ends * 1024.0 / mib));
            println!(
                "{what:<11} {name:<9} {speed:>5.0} MiB/s  {ratio:>4.2} of direct  CPU s/GiB: relay {relay:>5.2}, ends {ends:>5.2}  {failed} failed"
            );
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
