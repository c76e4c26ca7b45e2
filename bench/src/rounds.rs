//! The order of things: every server in turn within a round, round after round, each sample written down at once.

use std::fs::File;
use std::io::Write as _;
use std::time::{Instant, SystemTime};

use serde_json::{Map, Value, json};

use crate::account::{machine_cpu, own_cpu};
use crate::case::Case;
use crate::failed::{During as _, Failed};
use crate::interrupt;
use crate::load::{self, Scale};
use crate::measure::Sample;
use crate::peer::{Peer, Places};
use crate::server::Server;
use crate::tree::Tree;

/// The name of what is measured without a server.
const NO_SERVER: &str = "(none)";

/// What a run is made with.
pub(crate) struct Run<'a> {
    pub(crate) places: &'a Places,
    pub(crate) tree: &'a Tree,
    pub(crate) scale: Scale,
    pub(crate) rounds: usize,
    /// Whether each server has a sample that does not count before the first round.
    pub(crate) warm_up: bool,
    pub(crate) peers: &'a [&'static Peer],
    /// Where JSON lines go.
    pub(crate) lines: &'a mut File,
    /// Servers that run and have nothing to do just now.
    pub(crate) standing: Vec<Server>,
}

/// One server's samples of a case.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// By round; `None`: it failed then.
    pub(crate) samples: Vec<Option<Sample>>,
    pub(crate) failed: Option<Failed>,
}

/// All of a case.
pub(crate) struct Outcome {
    pub(crate) case: &'static Case,
    pub(crate) rows: Vec<Row>,
    /// The most that others took of the machine meanwhile, as a share of it.
    pub(crate) others: f64,
}

impl Run<'_> {
    /// Runs a case to its end. Who fails is out for the rest of it.
    pub(crate) fn case(&mut self, case: &'static Case) -> Result<Outcome, Failed> {
        let taking: Vec<_> = self
            .peers
            .iter()
            .copied()
            .filter(|peer| peer.takes(case))
            .collect();
        let names = if case.is_without_server() {
            vec![NO_SERVER]
        } else {
            taking.iter().map(|peer| peer.name).collect()
        };
        let mut rows: Vec<Row> = names
            .into_iter()
            .map(|name| Row {
                name,
                samples: Vec::new(),
                failed: None,
            })
            .collect();
        let mut others: f64 = 0.0;
        let first = usize::from(!self.warm_up || case.wants_a_fresh_server());
        for round in first..=self.rounds {
            for (number, row) in rows.iter_mut().enumerate() {
                let sample = match (&row.failed, taking.get(number)) {
                    (Some(_), _) => None,
                    _ if interrupt::came() => None,
                    (None, peer) => Some(self.sample(case, peer.copied())),
                };
                let sample = match sample {
                    Some(Ok((sample, share))) => {
                        if round > 0 {
                            others = others.max(share);
                            self.write(case, row.name, round, &sample, share)?;
                        }
                        Some(sample)
                    }
                    Some(Err(failed)) => {
                        self.write_failure(case, row.name, round, &failed)?;
                        row.failed = Some(failed);
                        None
                    }
                    None => None,
                };
                if round > 0 {
                    row.samples.push(sample);
                }
            }
        }
        Ok(Outcome { case, rows, others })
    }

    /// One sample, and what share of the machine others took meanwhile.
    fn sample(&mut self, case: &Case, peer: Option<&'static Peer>) -> Result<(Sample, f64), Failed> {
        let server = peer.map(|peer| self.server(peer, case)).transpose()?;
        let used = || server.as_ref().map_or(0.0, Server::cpu) + own_cpu();
        let (start, ours, all) = (Instant::now(), used(), machine_cpu());
        let sample = match &server {
            Some(server) => load::sample(case, server, self.tree, &self.scale)?,
            None => load::alone(case, self.tree)?,
        };
        let (ours, all) = (used() - ours, machine_cpu() - all);
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        let share = (all - ours).max(0.0) / (start.elapsed().as_secs_f64() * cores);
        self.standing
            .extend(server.filter(|_| !case.wants_a_fresh_server()));
        Ok((sample, share.min(1.0)))
    }

    /// One that runs already, where that will do, or a new one.
    fn server(&mut self, peer: &'static Peer, case: &Case) -> Result<Server, Failed> {
        let serves = |server: &Server| server.peer.name == peer.name && server.serves(case);
        match self.standing.iter().position(serves) {
            Some(found) if !case.wants_a_fresh_server() => Ok(self.standing.swap_remove(found)),
            _ => Server::start(peer, self.places, self.tree, case),
        }
    }

    fn write(
        &mut self,
        case: &Case,
        name: &str,
        round: usize,
        sample: &Sample,
        others: f64,
    ) -> Result<(), Failed> {
        let values: Map<String, Value> = sample
            .values()
            .iter()
            .map(|(measure, value)| (measure.name.to_owned(), json!(value)))
            .collect();
        self.line(json!({
            "at": seconds(), "case": case.name, "server": name, "round": round,
            "others": others, "values": values,
        }))
    }

    fn write_failure(
        &mut self,
        case: &Case,
        name: &str,
        round: usize,
        failed: &Failed,
    ) -> Result<(), Failed> {
        self.line(json!({
            "at": seconds(), "case": case.name, "server": name, "round": round,
            "failed": failed.to_string(),
        }))
    }

    /// Writes one line.
    pub(crate) fn line(&mut self, value: Value) -> Result<(), Failed> {
        writeln!(self.lines, "{value}").during("the file of results")
    }
}

fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
