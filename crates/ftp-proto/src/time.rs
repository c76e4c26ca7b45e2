//! Points in time as FTP writes them: `YYYYMMDDHHMMSS[.sss]` in UTC (RFC 3659 §2.3), and the dates of `ls`.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

fn civil(time: SystemTime) -> DateTime {
    Timestamp::try_from(time)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_zoned(TimeZone::UTC)
        .datetime()
}

/// `20261122141500`.
#[must_use]
pub fn time_val(time: SystemTime) -> String {
    let t = civil(time);
    format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}",
        t.year(),
        t.month(),
        t.day(),
        t.hour(),
        t.minute(),
        t.second()
    )
}

/// Reads a time-val of 14 digits with an optional fraction, or (SITE UTIME) of 12 digits without seconds.
#[must_use]
pub fn parse_time_val(text: &[u8]) -> Option<SystemTime> {
    let (whole, fraction) = match text.iter().position(|b| *b == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b"0"[..]),
    };
    if !matches!(whole.len(), 12 | 14) || fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    if !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        whole.get(range).map_or(0, |digits| {
            digits.iter().fold(0_i16, |n, d| n * 10 + i16::from(d - b'0'))
        })
    };
    let small = |range| i8::try_from(number(range)).ok();
    // A leap second is the second before it.
    let second = small(12..14)?.min(59);
    let nanos = fraction
        .iter()
        .chain(b"000000000")
        .take(9)
        .fold(0_i32, |n, d| n * 10 + i32::from(d - b'0'));
    let civil = DateTime::new(
        number(0..4),
        small(4..6)?,
        small(6..8)?,
        small(8..10)?,
        small(10..12)?,
        second,
        nanos,
    );
    Some(civil.ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp().into())
}

/// The date column of `ls -l`: with the time of day for the last half year, else with the year.
#[must_use]
pub fn list_date(time: SystemTime, now: SystemTime) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    const HALF_A_YEAR: Duration = Duration::from_secs(182 * 86_400);
    let t = civil(time);
    let month = MONTHS[usize::try_from(t.month() - 1).unwrap_or(0)];
    let recent = now.duration_since(time).map_or_else(
        |ahead| ahead.duration() < Duration::from_secs(86_400),
        |age| age < HALF_A_YEAR,
    );
    if recent {
        format!("{month} {:2} {:02}:{:02}", t.day(), t.hour(), t.minute())
    } else {
        format!("{month} {:2}  {:4}", t.day(), t.year())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_val_survives_the_round_trip() {
        for text in [
            "19700101000000",
            "20261122141516",
            "20000229235959",
            "20380119031408",
        ] {
            let time = parse_time_val(text.as_bytes()).unwrap();
            assert_eq!(time_val(time), text);
        }
        let fine = parse_time_val(b"20261122141516.25").unwrap();
        let whole = parse_time_val(b"20261122141516").unwrap();
        assert_eq!(fine.duration_since(whole).unwrap(), Duration::from_millis(250));
        assert_eq!(
            parse_time_val(b"202611221415").map(time_val).as_deref(),
            Some("20261122141500")
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "2026",
            "20261322000000",
            "20260230000000",
            "20261122250000",
            "2026112214151x",
            "20261122141516.",
        ] {
            assert_eq!(parse_time_val(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn old_dates_show_the_year() {
        let now = parse_time_val(b"20261122000000").unwrap();
        assert_eq!(
            list_date(parse_time_val(b"20261101091500").unwrap(), now),
            "Nov  1 09:15"
        );
        assert_eq!(
            list_date(parse_time_val(b"20250101091500").unwrap(), now),
            "Jan  1  2025"
        );
        assert_eq!(
            list_date(parse_time_val(b"20280101091500").unwrap(), now),
            "Jan  1  2028"
        );
    }
}
