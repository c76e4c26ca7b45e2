//! The ladder, climbed once for ports that are bound for nothing else; afterwards everything is given back.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use pasarela_reach as reach;
use pasarela_reach::{Listening, Publication, Reach};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How long it may take until what has been found counts, and until it is given back.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a peer may take to hear the mark.
const HEARING: Duration = Duration::from_secs(1);

/// A port to climb for. For STUN it shares its port (SO_REUSEPORT).
#[derive(Debug)]
pub struct Probe {
    /// Bound, listening, and not blocking.
    pub socket: TcpListener,
    /// The scheme of its URL; `None` for a data port.
    pub scheme: Option<&'static str>,
}

/// A climb under way. Whoever connects meanwhile is told a word that nobody else knows and is let go.
#[derive(Debug)]
pub struct Climb {
    reach: Reach,
    publications: Vec<Publication>,
    greeters: Vec<JoinHandle<()>>,
}

impl Climb {
    /// Begins; must be called within a tokio runtime.
    ///
    /// # Errors
    /// What the system says of a socket, or that it has no random numbers.
    pub fn start(reach: Reach, probes: Vec<Probe>) -> io::Result<Self> {
        let shares_port = reach.plan().shares_port();
        let mark: Arc<str> = format!("220 {:016x}", getrandom::u64().map_err(io::Error::other)?).into();
        let mut climb = Self {
            reach,
            publications: Vec::new(),
            greeters: Vec::new(),
        };
        for Probe { socket, scheme } in probes {
            let address = socket.local_addr()?;
            let socket = tokio::net::TcpListener::from_std(socket)?;
            let greeter = greet(socket, Arc::clone(&mark), climb.reach.clone(), address.port());
            climb.greeters.push(tokio::spawn(greeter));
            climb.publications.push(climb.reach.publish(Listening {
                address,
                shares_port,
                greeting: Some(mark.to_string()),
                scheme,
            }));
        }
        Ok(climb)
    }

    /// The ladder that is climbed.
    #[must_use]
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Waits until every question has been answered, for 20 s at most.
    pub async fn settled(&self) {
        let all = async {
            for publication in &self.publications {
                let mut report = publication.report();
                // A keeper that is gone has nothing to add.
                let _ = report.wait_for(|report| report.settled).await;
            }
        };
        let _ = timeout(PATIENCE, all).await;
    }

    /// What has been found, by port.
    #[must_use]
    pub fn reports(&self) -> Vec<reach::Report> {
        self.reach.reports()
    }

    /// Gives everything back; that takes a moment, and 20 s at most where questions are still under way.
    pub async fn close(self) {
        let closing: Vec<_> = self
            .publications
            .into_iter()
            .map(|publication| tokio::spawn(publication.close_within(PATIENCE)))
            .collect();
        for closed in closing {
            let _ = closed.await;
        }
        self.greeters.iter().for_each(JoinHandle::abort);
    }
}

/// Says `mark` to whoever comes, and tells the ladder of relays that were asked to come.
async fn greet(listener: tokio::net::TcpListener, mark: Arc<str>, reach: Reach, port: u16) {
    loop {
        match listener.accept().await {
            Ok((mut stream, peer)) => {
                if reach.dials_back(peer.ip()) {
                    reach.relay_came(port);
                }
                // One that does not take it is none of ours.
                let _ = timeout(HEARING, stream.write_all(mark.as_bytes())).await;
            }
            Err(_) => sleep(HEARING).await,
        }
    }
}
