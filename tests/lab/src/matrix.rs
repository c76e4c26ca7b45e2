//! Rows of the matrix: one topology, and what becomes of every client in it.

use std::time::Duration;

use pasarela_testkit::lab::{Lab, Topology};

use crate::clients::CLIENTS;
use crate::site::{Help, RELAYED, Site, way};

/// Sizes of the files that each client sends and fetches.
pub const SIZES: &[usize] = &[0, 1, 1 << 20];

/// One topology's results.
#[derive(Debug)]
pub struct Row {
    /// Which one.
    pub topology: &'static Topology,
    /// Whether somebody helped.
    pub help: Help,
    /// The rung that clients come by, as the server says; else the best that there is.
    pub via: String,
    /// How long the server took until it knew.
    pub verified: Option<Duration>,
    /// Bytes that went through the relay, where there is one.
    pub carried: Option<u64>,
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
    pub fn run(topology: &'static Topology, sizes: &[usize], help: Help) -> Self {
        let way = way(topology);
        let without = |obstacle| Self {
            topology,
            help,
            via: way.word().to_owned(),
            verified: None,
            carried: None,
            visits: Err(obstacle),
        };
        if let (Some(why), Help::None) = (way.obstacle(), help) {
            return without(Obstacle::Expected(why));
        }
        let site = match Lab::up(topology)
            .map_err(|error| error.to_string())
            .and_then(|lab| Site::start_with(lab, help))
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
            help,
            carried: site.carried(),
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
                // The relay carries what nothing else can; told of it alone, the server knows of no forward either.
                let may_be_relayed = self.carried.is_some()
                    && self.via == RELAYED
                    && (self.help == Help::RelayAlone || way(self.topology).obstacle().is_some());
                if self.via != expected && !may_be_relayed {
                    failures.push(format!("{name}: by way of {}, not {expected}", self.via));
                }
                if let Some(carried @ 1..) = self.carried
                    && self.via != RELAYED
                {
                    failures.push(format!(
                        "{name}: {carried} bytes went through the relay, by way of {}",
                        self.via
                    ));
                }
                failures
            }
        }
    }
}
