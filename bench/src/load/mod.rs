//! The load itself: what one sample of a case does to a server that runs, and what it came to.

mod idle;
mod large;
mod listing;
mod machine;
mod many;
mod parsers;
mod slow;

use std::time::Duration;

use crate::case::{Case, Load};
use crate::failed::Failed;
use crate::measure::Sample;
use crate::server::Server;
use crate::tree::Tree;

pub(crate) use parsers::{Lines, PARSE, run as parse};

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// For how long rates are counted.
    pub(crate) time: Duration,
    /// How often a small folder is listed.
    pub(crate) listings: usize,
    /// No case has more sessions than this.
    pub(crate) most_sessions: usize,
    /// Bytes a second of a client on a slow line.
    pub(crate) slow_rate: u64,
}

/// Loads a server once.
pub(crate) fn sample(case: &Case, server: &Server, tree: &Tree, scale: &Scale) -> Result<Sample, Failed> {
    let few = |sessions: usize| sessions.min(scale.most_sessions);
    match case.load {
        Load::Retr => large::retr(server, tree),
        Load::Stor { .. } => large::stor(server, tree),
        Load::SmallRetr { sessions } => many::retr(server, tree, few(sessions), scale.time),
        Load::SmallStor { sessions } => many::stor(server, tree, few(sessions), scale.time),
        Load::Login { workers } => many::login(server, few(workers), scale.time),
        Load::List => listing::small(server, "LIST", scale.listings),
        Load::Mlsd => listing::small(server, "MLSD", scale.listings),
        Load::HugeList => listing::huge(server, tree, "LIST"),
        Load::HugeMlsd => listing::huge(server, tree, "MLSD"),
        Load::Idle { sessions } => idle::sample(server, few(sessions)),
        Load::Slow { sessions } => slow::sample(server, tree, few(sessions), scale.slow_rate),
        Load::Machine | Load::Parsers => alone(case, tree),
    }
}

/// Measures what needs no server, once.
pub(crate) fn alone(case: &Case, tree: &Tree) -> Result<Sample, Failed> {
    match case.load {
        Load::Parsers => parsers::sample(tree),
        _ => machine::sample(tree),
    }
}

/// Microseconds.
fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Milliseconds.
fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
