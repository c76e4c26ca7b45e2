//! Who guesses: failed logins of each network within a window, growing delays, and bans that end.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::time::Instant;

use super::Limits;

/// What counts as one visitor's home: an IPv4 address, however it is written, or an IPv6 /64, in which a single
/// visitor has as many addresses as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Network(pub(super) IpAddr);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !0 << 64).into(),
        })
    }
}

/// The delay after a first failure; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(200);

/// Where the delay stops growing.
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// Failures from which on the delay is the longest.
const STEPS: u32 = 6;

/// Networks that are remembered; whoever has more addresses than that to guess from loses little by it.
pub(super) const MOST_NETWORKS: usize = 10_000;

/// The score of every network that failed lately.
#[derive(Default)]
pub(super) struct Scores(HashMap<Network, Score>);

struct Score {
    /// The failures within the window, oldest first; none while a ban lasts.
    failures: VecDeque<Instant>,
    ban: Option<Ban>,
    changed: Instant,
}

struct Ban {
    since: Instant,
    lasts: Duration,
}

impl Ban {
    fn left(&self, now: Instant) -> Option<Duration> {
        self.lasts
            .checked_sub(now - self.since)
            .filter(|left| !left.is_zero())
    }
}

impl Score {
    fn ban_left(&self, now: Instant) -> Option<Duration> {
        self.ban.as_ref()?.left(now)
    }

    /// Drops what has expired and tells whether anything is left.
    fn refresh(&mut self, now: Instant, window: Duration) -> bool {
        self.ban.take_if(|ban| ban.left(now).is_none());
        while self.failures.front().is_some_and(|at| now - *at >= window) {
            self.failures.pop_front();
        }
        self.ban.is_some() || !self.failures.is_empty()
    }
}

impl Scores {
    /// What is left of a ban.
    pub(super) fn ban_left(&self, network: Network, now: Instant) -> Option<Duration> {
        self.0.get(&network)?.ban_left(now)
    }

    /// Notes a failed login, which may lead to a ban, and tells how long to wait before the reply.
    pub(super) fn failed(&mut self, network: Network, now: Instant, limits: &Limits) -> Duration {
        let score = self.score(network, now, limits.ban_window);
        if score.ban.is_some() {
            return LONGEST_DELAY;
        }
        score.failures.push_back(now);
        score.changed = now;
        if score.failures.len() > limits.ban_after.max(STEPS) as usize {
            score.failures.pop_front();
        }
        let failures = u32::try_from(score.failures.len()).unwrap_or(u32::MAX);
        if failures >= limits.ban_after && limits.ban_after > 0 {
            tracing::info!(network = %network.0, failures, lasts = ?limits.ban_for, "banned");
            self.ban(network, now, limits.ban_for, limits);
        }
        (FIRST_DELAY * (1 << (failures - 1).min(STEPS))).min(LONGEST_DELAY)
    }

    /// Forgets the failures that have not led to a ban.
    pub(super) fn forgive(&mut self, network: Network, now: Instant) {
        if self.ban_left(network, now).is_none() {
            self.0.remove(&network);
        }
    }

    /// Bans from now on.
    pub(super) fn ban(&mut self, network: Network, now: Instant, lasts: Duration, limits: &Limits) {
        let score = self.score(network, now, limits.ban_window);
        score.failures.clear();
        score.ban = Some(Ban { since: now, lasts });
        score.changed = now;
    }

    /// The bans that last, with what is left of them.
    pub(super) fn bans(&self, now: Instant) -> Vec<(IpAddr, Duration)> {
        self.0
            .iter()
            .filter_map(|(network, score)| Some((network.0, score.ban_left(now)?)))
            .collect()
    }

    /// The score of one network, with nothing expired in it; where there is no room for another, that of the
    /// network that failed longest ago is forgotten, a ban last of all.
    fn score(&mut self, network: Network, now: Instant, window: Duration) -> &mut Score {
        if self.0.len() >= MOST_NETWORKS && !self.0.contains_key(&network) {
            self.0.retain(|_, score| score.refresh(now, window));
            let oldest = self
                .0
                .iter()
                .min_by_key(|(_, score)| (score.ban.is_some(), score.changed));
            if let Some((oldest, _)) = oldest
                && self.0.len() >= MOST_NETWORKS
            {
                let oldest = *oldest;
                self.0.remove(&oldest);
            }
        }
        let new = || Score {
            failures: VecDeque::new(),
            ban: None,
            changed: now,
        };
        let score = self.0.entry(network).or_insert_with(new);
        score.refresh(now, window);
        score
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
