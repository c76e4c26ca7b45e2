//! When two files are taken for the same.

use std::time::{Duration, SystemTime};

use super::tree::Node;
use crate::remote::Abilities;

/// By what a file that stands at both places is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compare {
    /// Nothing: every file is copied.
    Nothing,
    /// Length and modification time. Where the target cannot be given a time, a file there that is not older than the
    /// source's will do.
    #[default]
    SizeAndTime,
    /// Length alone.
    Size,
    /// Length and content, by digests where a place computes them and by reading where it does not.
    Content,
}

/// What a comparison comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    Differs,
    /// The content has to be looked at.
    Unknown,
}

/// What is known of both places for comparing times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    tolerance: Duration,
    is_zone_known: bool,
    can_set: bool,
}

/// The coarsest that a listing for people is told apart.
const MINUTE: Duration = Duration::from_secs(60);
/// What zones differ by.
const ZONE_STEP: u64 = 15 * 60;
/// The furthest that two zones are apart, from UTC-12 to UTC+14.
const FURTHEST_ZONES: u64 = 26 * 60 * 60;

impl Clocks {
    pub(super) fn of(source: &Abilities, target: &Abilities) -> Self {
        let is_zone_known = source.exact_times && target.exact_times;
        let precision = source.time_precision.max(target.time_precision);
        Self {
            tolerance: if is_zone_known {
                precision
            } else {
                precision.max(MINUTE)
            },
            is_zone_known,
            can_set: target.set_times && source.exact_times,
        }
    }

    /// Whether two times may be the same one.
    pub(super) fn same(&self, a: SystemTime, b: SystemTime) -> bool {
        let apart = apart(a, b);
        if apart <= self.tolerance {
            return true;
        }
        if self.is_zone_known || apart > Duration::from_secs(FURTHEST_ZONES) + self.tolerance {
            return false;
        }
        let over = Duration::from_secs(apart.as_secs() % ZONE_STEP);
        over <= self.tolerance || Duration::from_secs(ZONE_STEP) - over <= self.tolerance
    }

    /// Whether `a` is certainly after `b`.
    pub(super) fn later(&self, a: SystemTime, b: SystemTime) -> bool {
        let unknown = match self.is_zone_known {
            true => Duration::ZERO,
            false => Duration::from_secs(FURTHEST_ZONES),
        };
        a.duration_since(b).is_ok_and(|by| by > self.tolerance + unknown)
    }

    /// Judges two files of one path.
    pub(super) fn judge(&self, compare: Compare, source: &Node, target: &Node) -> Verdict {
        match compare {
            Compare::Nothing => Verdict::Differs,
            _ if source.size != target.size => Verdict::Differs,
            Compare::Size => Verdict::Same,
            Compare::Content => Verdict::Unknown,
            Compare::SizeAndTime if self.same(source.modified, target.modified) => Verdict::Same,
            Compare::SizeAndTime if !self.can_set && !self.later(source.modified, target.modified) => {
                Verdict::Same
            }
            Compare::SizeAndTime => Verdict::Differs,
        }
    }
}

fn apart(a: SystemTime, b: SystemTime) -> Duration {
    a.duration_since(b).unwrap_or_else(|error| error.duration())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(exact: bool, precision: u64) -> Clocks {
        let place = |time_precision| Abilities {
            exact_times: exact,
            set_times: true,
            time_precision,
            ..Abilities::default()
        };
        Clocks::of(
            &place(Duration::from_nanos(1)),
            &place(Duration::from_secs(precision)),
        )
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
    }

    #[test]
    fn times_agree_as_far_as_both_places_know_them() {
        let exact = clocks(true, 2);
        assert!(exact.same(at(2), at(0)) && exact.same(at(0), at(2)));
        assert!(!exact.same(at(3), at(0)) && !exact.same(at(3600), at(0)));
        assert!(exact.later(at(3), at(0)) && !exact.later(at(2), at(0)));
    }

    #[test]
    fn an_unknown_zone_makes_whole_quarters_of_an_hour_no_difference() {
        let told = clocks(false, 1);
        for seconds in [0, 60, 3600, 3600 + 59, 3600 - 30, 26 * 3600, 45 * 60] {
            assert!(told.same(at(seconds), at(0)), "{seconds}");
        }
        for seconds in [61, 400, 3600 + 120, 27 * 3600] {
            assert!(!told.same(at(seconds), at(0)), "{seconds}");
        }
        assert!(!told.later(at(3 * 3600), at(0)) && told.later(at(48 * 3600), at(0)));
    }
}
