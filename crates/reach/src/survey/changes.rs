//! Waits until this machine's addresses are others than they were.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use if_watch::tokio::IfWatcher;
use tokio::time::{Instant, timeout_at};

/// How long addresses have to stay as they are to count: a link that comes up gets them one by one.
const QUIET: Duration = Duration::from_millis(500);

/// How long a link that does not come to rest is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Hears from the operating system when addresses come and go. Gateways are not heard of: a router that is exchanged
/// for another one shows only in the next [`Links::read`](super::Links::read).
#[derive(Debug)]
pub struct Changes {
    /// Empty once the operating system has ended the watch.
    watcher: Option<IfWatcher>,
    known: BTreeSet<IpAddr>,
}

impl Changes {
    /// Begins to listen; what changes from now on is told.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn watch() -> io::Result<Self> {
        let watcher = IfWatcher::new()?;
        // Read after the watch began, so that nothing falls between.
        let known = if_addrs::get_if_addrs()?
            .iter()
            .map(if_addrs::Interface::ip)
            .collect();
        Ok(Self {
            watcher: Some(watcher),
            known,
        })
    }

    /// Returns when the addresses are others than at the last call (at the first: than when the watch began), and
    /// have been at rest for half a second. Never returns once the operating system has ended the watch. May be
    /// dropped at any time without losing a change.
    pub async fn changed(&mut self) {
        while let Some(watcher) = &mut self.watcher {
            // What was heard in a call that was dropped shows here.
            let heard = addresses(watcher) != self.known;
            let mut poll = |cx: &mut Context<'_>| watcher.poll_if_event(cx).map_ok(drop);
            let first = if heard { Ok(()) } else { poll_fn(&mut poll).await };
            let rested = match first {
                Ok(()) => rest(poll).await,
                ended => ended,
            };
            if let Err(error) = rested {
                tracing::warn!(%error, "address changes are no longer heard of");
                self.watcher = None;
                break;
            }
            let now = addresses(watcher);
            if now != self.known {
                self.known = now;
                return;
            }
        }
        std::future::pending().await
    }
}

fn addresses(watcher: &IfWatcher) -> BTreeSet<IpAddr> {
    watcher.iter().map(if_watch::IpNet::addr).collect()
}

/// Waits until `poll` has told of no event for a while.
async fn rest(mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while let Ok(event) = timeout_at(end.min(Instant::now() + QUIET), poll_fn(&mut poll)).await {
        event?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::ready;

    use tokio::time::{Sleep, sleep};

    use super::*;

    /// Events with these pauses before them, and then none.
    fn after<const N: usize>(pauses: [u64; N]) -> impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pauses = pauses.into_iter();
        let mut due: Option<Pin<Box<Sleep>>> = None;
        move |cx| {
            if due.is_none() {
                let pause = pauses.next().map(Duration::from_millis);
                due = pause.map(|pause| Box::pin(sleep(pause)));
            }
            let Some(pause) = &mut due else {
                return Poll::Pending;
            };
            ready!(pause.as_mut().poll(cx));
            due = None;
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_events_is_one_change() {
        let start = Instant::now();
        rest(after([400, 400, 100])).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_millis(900) + QUIET);
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_does_not_come_to_rest_is_not_waited_for_forever() {
        let start = Instant::now();
        rest(after([400; 100])).await.unwrap();
        assert_eq!(start.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_watch_is_told() {
        let ended = rest(|_| Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())));
        assert_eq!(ended.await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn what_the_watch_tells_first_was_known_when_it_began() {
        let mut changes = Changes::watch().unwrap();
        let known = changes.known.clone();
        let watcher = changes.watcher.as_mut().unwrap();
        let mut told = BTreeSet::new();
        while told != known {
            let event = poll_fn(|cx| watcher.poll_if_event(cx)).await.unwrap();
            if let if_watch::IfEvent::Up(net) = event {
                told.insert(net.addr());
            }
        }
    }
}
