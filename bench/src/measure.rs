//! What is measured: names, units, which way is better, and what a run of one server came to.

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
    /// It explains the others and is compared with nothing.
    Aside,
}

/// One column of a table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Measure {
    /// Heads the column; the key in the JSON line.
    pub(crate) name: &'static str,
    pub(crate) better: Better,
}

const fn more(name: &'static str) -> Measure {
    let better = Better::More;
    Measure { name, better }
}

const fn less(name: &'static str) -> Measure {
    let better = Better::Less;
    Measure { name, better }
}

const fn aside(name: &'static str) -> Measure {
    let better = Better::Aside;
    Measure { name, better }
}

pub(crate) const SPEED: Measure = more("MiB/s");
pub(crate) const CPU_OF_GIB: Measure = less("server CPU s/GiB");
pub(crate) const CLIENT_OF_GIB: Measure = aside("client CPU s/GiB");
pub(crate) const FILES: Measure = more("files/s");
pub(crate) const LOGINS: Measure = more("logins/s");
pub(crate) const CPU_OF_ONE: Measure = less("server CPU us");
pub(crate) const CLIENT_OF_ONE: Measure = aside("client CPU us");
pub(crate) const P50: Measure = less("p50 us");
pub(crate) const P99: Measure = less("p99 us");
pub(crate) const REFUSED: Measure = aside("refused");
pub(crate) const FIRST: Measure = less("first byte ms");
pub(crate) const TOTAL: Measure = less("total ms");
pub(crate) const CPU_OF_LIST: Measure = less("server CPU ms");
pub(crate) const PEAK: Measure = less("peak KiB");
pub(crate) const SESSION: Measure = less("KiB/session");
pub(crate) const PROCESSES: Measure = aside("processes/session");
pub(crate) const NOOP_P99: Measure = less("NOOP p99 us");
pub(crate) const COMPLETE: Measure = aside("complete");
pub(crate) const LAST: Measure = less("last done s");
pub(crate) const STALL: Measure = less("longest stall ms");
pub(crate) const MEMCPY: Measure = aside("memcpy MiB/s");
pub(crate) const AES128: Measure = aside("AES-128-GCM MiB/s");
pub(crate) const AES256: Measure = aside("AES-256-GCM MiB/s");
pub(crate) const LINE_COMMAND: Measure = aside("command read");
pub(crate) const LINE_LIST: Measure = aside("LIST written");
pub(crate) const LINE_MLSD: Measure = aside("MLSD written");
pub(crate) const LINE_READ_LIST: Measure = aside("LIST read");
pub(crate) const LINE_READ_MLSD: Measure = aside("MLSD read");
pub(crate) const FSYNC_P50: Measure = aside("fsync p50 us");
pub(crate) const FSYNC_P99: Measure = aside("fsync p99 us");

/// What one run of one server came to.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sample {
    values: Vec<(&'static Measure, f64)>,
}

impl Sample {
    pub(crate) fn with(mut self, measure: &'static Measure, value: f64) -> Self {
        self.values.push((measure, value));
        self
    }

    pub(crate) fn values(&self) -> &[(&'static Measure, f64)] {
        &self.values
    }

    pub(crate) fn value(&self, measure: &Measure) -> Option<f64> {
        let found = self.values.iter().find(|(own, _)| **own == *measure);
        found.map(|(_, value)| *value)
    }
}

/// The middle one; of two in the middle their mean. NaN of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let upper = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[upper],
        _ => f64::midpoint(values[upper - 1], values[upper]),
    }
}

/// The value that `share` of all are not above.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    let at = rank.saturating_sub(1).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// How many times better ours is than theirs: above 1, ours is.
pub(crate) fn advantage(better: Better, ours: f64, theirs: f64) -> Option<f64> {
    let ratio = match better {
        Better::More => ours / theirs,
        Better::Less => theirs / ours,
        Better::Aside => return None,
    };
    ratio.is_finite().then_some(ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 100.0]), 3.0);
        assert!(median(vec![]).is_nan());
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&hundred, 0.5), 50.0);
        assert_eq!(percentile(&hundred, 0.99), 99.0);
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
        assert!(percentile(&[], 0.5).is_nan());
    }

    #[test]
    fn an_advantage_is_above_one_both_for_more_speed_and_for_less_time() {
        assert_eq!(advantage(Better::More, 20.0, 10.0), Some(2.0));
        assert_eq!(advantage(Better::Less, 10.0, 20.0), Some(2.0));
        assert_eq!(advantage(Better::Aside, 10.0, 20.0), None);
        assert_eq!(advantage(Better::Less, 0.0, 20.0), None);
    }
}
