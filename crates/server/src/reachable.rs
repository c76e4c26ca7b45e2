//! Every listening port is published for as long as the server runs, and what comes through a relay is brought to its
//! place.

use std::sync::Arc;

use pasarela_reach::{Listening, Publication, Reach};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ftp::switchboard::{Caller, PlaceId, Switchboard, Through};

/// The publications of one server.
pub(crate) struct Reachable {
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Reachable {
    /// Publishes `ports` when the plan has anything to do; must be called within a tokio runtime.
    pub(crate) fn start(
        reach: &Reach,
        ports: Vec<(PlaceId, Listening)>,
        switchboard: &Arc<Switchboard>,
    ) -> Self {
        let stop = watch::Sender::new(false);
        let tasks = if reach.plan().climbs() { ports } else { Vec::new() }
            .into_iter()
            .filter(|(_, listening)| !listening.address.ip().to_canonical().is_loopback())
            .map(|(place, listening)| {
                let publication = reach.publish(listening);
                tokio::spawn(bring(
                    publication,
                    place,
                    Arc::clone(switchboard),
                    stop.subscribe(),
                ))
            })
            .collect();
        Self { tasks, stop }
    }

    /// Gives everything back, for a few seconds at most.
    pub(crate) async fn close(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// Brings what comes through a relay to its place, until it is told to stop.
async fn bring(
    mut publication: Publication,
    place: PlaceId,
    switchboard: Arc<Switchboard>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let relayed = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            relayed = publication.arrival() => relayed,
        };
        // None: nothing can come that way, yet what stands goes on being kept.
        let Some(relayed) = relayed else { break };
        let caller = Caller {
            peer: relayed.incoming.peer,
            through: Some(Through {
                dialled: relayed.dialled,
                keeps_ends: relayed.is_ours,
            }),
        };
        switchboard.arrived(relayed.incoming.stream, caller, place);
    }
    let _ = stop.wait_for(|stop| *stop).await;
    publication.close().await;
}
