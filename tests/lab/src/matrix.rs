//! Rows of the matrix: one topology, and what becomes of every client in it.

use std::time::Duration;

use pasarela_testkit::lab::{Lab, Topology};

use crate::clients::CLIENTS;
use crate::site::{Site, way};

/// Sizes of the files that each client sends and fetches.
pub const SIZES: &[usize] = &[0, 1, 1 << 20];

/// One topology's results.
#[derive(Debug)]
pub struct Row {
    /// Which one.
    pub topology: &'static Topology,
    /// The rung that the server says it uses; else the best that there is.
    pub via: String,
    /// How long the server took until it knew.
    pub verified: Option<Duration>,
    /// In the order of [`CLIENTS`], or why there are none.
    pub visits: Result<Vec<Result<Duration, String>>, Obstacle>,
}

/// Why no client was run.
#[derive(Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// None could get through.
    Expected(&'static str),
    /// One should, and the server or the network is not there.
    Failed(String),
}

impl Row {
    /// Builds the network, starts the server, and lets each client visit it.
    #[must_use]
    pub fn run(topology: &'static Topology, sizes: &[usize]) -> Self {
        let way = way(topology);
        let without = |obstacle| Self {
            topology,
            via: way.word().to_owned(),
            verified: None,
            visits: Err(obstacle),
        };
        if let Some(why) = way.obstacle() {
            return without(Obstacle::Expected(why));
        }
        let site = match Lab::up(topology)
            .map_err(|error| error.to_string())
            .and_then(Site::start)
        {
            Ok(site) => site,
            Err(error) => return without(Obstacle::Failed(error)),
        };
        let visits = CLIENTS
            .iter()
            .map(|client| client.visit(&site.lab, &site.server, site.there, sizes))
            .collect();
        Self {
            topology,
            via: site.via,
            verified: site.verified,
            visits: Ok(visits),
        }
    }

    /// What went wrong, each in a line; nothing when all that can pass has passed.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let name = self.topology.name;
        match &self.visits {
            Err(Obstacle::Expected(_)) => Vec::new(),
            Err(Obstacle::Failed(why)) => vec![format!("{name}: {why}")],
            Ok(visits) => {
                let mut failures: Vec<String> = CLIENTS
                    .iter()
                    .zip(visits)
                    .filter_map(|(client, visit)| Some((client, visit.as_ref().err()?)))
                    .map(|(client, why)| {
                        format!(
                            "{name}, {}{}: {why}",
                            client.name,
                            if client.tls { " over TLS" } else { "" }
                        )
                    })
                    .collect();
                let expected = way(self.topology).word();
                if self.via != expected {
                    failures.push(format!("{name}: by way of {}, not {expected}", self.via));
                }
                failures
            }
        }
    }
}
