//! Dates as servers write them: in any order, in many languages, with and without a year.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use super::entry::{Modified, Precision};
use super::month::{asian_month, month, unit};
use super::words::{Words, number};

/// Which number of a numeric date stands first; month and day follow a year, the year stands last otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Year,
    Month,
    Day,
}

/// A time of day and how fine it is.
pub(super) type TimeOfDay = (Time, Precision);

/// What is known about the dates of one listing.
#[derive(Debug, Clone)]
pub(super) struct Dates {
    now: DateTime,
    /// Whether all dates so far could be in this order: year, month, day first.
    possible: [bool; 3],
}

impl Dates {
    pub(super) fn new(now: SystemTime) -> Self {
        let now = Timestamp::try_from(now)
            .unwrap_or(Timestamp::UNIX_EPOCH)
            .to_zoned(TimeZone::UTC)
            .datetime();
        Self {
            now,
            possible: [true; 3],
        }
    }

    /// `04-27-00`, `2013-09-02`, `24.04.2003`, `1/03/100`. Which number is which is told by all dates of the listing
    /// together, then by `preference`; a listing has hardly any dates in the future.
    pub(super) fn numeric(&mut self, text: &[u8], preference: [Order; 3]) -> Option<Date> {
        let mark = *text.iter().find(|b| !b.is_ascii_digit())?;
        if !matches!(mark, b'-' | b'/' | b'.') {
            return None;
        }
        let mut parts = text.split(|b| *b == mark);
        let (a, b, c) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || b.len() > 2 {
            return None;
        }
        let reading = |order| match order {
            Order::Year => date(year(a)?, small(b)?, small(c)?),
            Order::Month => date(year(c)?, small(a)?, small(b)?),
            Order::Day => date(year(c)?, small(b)?, small(a)?),
        };
        if a.len() == 4 {
            return reading(Order::Year);
        }
        let valid = preference.map(reading);
        let plausible = valid.map(|date| date.is_some_and(|date| self.days_ahead(date) <= 2));
        if plausible.contains(&true) {
            for (order, plausible) in preference.iter().zip(plausible) {
                // A year of four digits at the end says nothing about those of two.
                if *order == Order::Year && c.len() == 4 {
                    continue;
                }
                self.possible[*order as usize] &= plausible;
            }
        }
        let told = preference
            .iter()
            .zip(valid)
            .filter(|(order, _)| self.possible[**order as usize])
            .find_map(|(_, date)| date);
        told.or_else(|| valid.into_iter().flatten().next())
    }

    fn days_ahead(&self, date: Date) -> i32 {
        date.since(self.now.date())
            .map_or(i32::MAX, |span| span.get_days())
    }

    /// A date without year is the last one that there was; a day ahead is allowed for, as the zone is not known.
    pub(super) fn yearless(&self, month: i8, day: i8, time: Time) -> Option<DateTime> {
        let this_year = self.now.year();
        // 29 February: the last leap year is at most eight years back.
        (this_year - 8..=this_year + 1)
            .rev()
            .filter_map(|year| date(year, month, day))
            .map(|date| date.to_datetime(time))
            .find(|then| {
                then.since(self.now)
                    .is_ok_and(|ahead| ahead.get_days() < 1 || then < &self.now)
            })
    }

    /// The date in the words from `from` on, with the index of its last word.
    pub(super) fn words(&mut self, words: &Words<'_>, from: usize) -> Option<(Modified, usize)> {
        let first = words.get(from)?;
        if first.first()?.is_ascii_digit()
            && let Some(found) = self.digits_first(words, from)
        {
            return Some(found);
        }
        // `Nov 22 1995`, `Jan 25 00:17`, `szept 26 20:10`, `6月 3日 2003年`
        let month = month(first)?;
        let day = day(words.get(from + 1)?)?;
        self.year_or_time(month, day, words, from + 2)
    }

    fn digits_first(&mut self, words: &Words<'_>, from: usize) -> Option<(Modified, usize)> {
        let first = words.get(from)?;
        let second = words.get(from + 1)?;
        // `2005-06-07 21:22`, `24-04-2003 17:12`, `2004.07.15`
        if let Some(date) = self.whole(first) {
            return Some(match time(second) {
                Some(time) => zoned(date, time, words.get(from + 2))
                    .map(|modified| (modified, from + 2))
                    .or_else(|| Some((local(date, Some(time))?, from + 1)))?,
                None => (local(date, None)?, from),
            });
        }
        // `09-26 13:45`, `09-26 2000`
        if let Some(dash) = first.iter().position(|b| *b == b'-')
            && let (Some(month), Some(day)) = (small(&first[..dash]), small(&first[dash + 1..]))
            && (1..=12).contains(&month)
        {
            return self.year_or_time(month, day, words, from + 1);
        }
        // `2003 3月 20`, `2003年 3月 20日`
        if let Some(year) = four_digits(unit(first).0)
            && let Some(month) = asian_month(second)
            && let Some(day) = day(words.get(from + 2)?)
        {
            return Some((local(date(year, month, day)?, None)?, from + 2));
        }
        // `3 29 03:26`
        if let (Some(month), Some(day), Some(third)) = (small(first), small(second), words.get(from + 2))
            && let Some(time) = time(third)
            && (1..=12).contains(&month)
        {
            return Some((local_at(self.yearless(month, day, time.0)?, time.1)?, from + 2));
        }
        // `26. Juli, 20:10`, `2. Okt. 2003`, `12 Nov 2001`
        if let Some(month) = month(second)
            && let Some(day) = day(first)
            && asian_month(first).is_none()
        {
            return self.year_or_time(month, day, words, from + 2);
        }
        None
    }

    /// A date that is one word with a year in it: ISO, or with the year last.
    fn whole(&mut self, text: &[u8]) -> Option<Date> {
        if text.len() < 8 || text.len() > 10 {
            return None;
        }
        let preference = match text.get(2) {
            Some(b'/') => [Order::Month, Order::Day, Order::Year],
            _ => [Order::Day, Order::Month, Order::Year],
        };
        let years_last = four_digits(text.get(text.len() - 4..)?).is_some();
        if years_last {
            return self.numeric(text, preference);
        }
        four_digits(text.get(..4)?)?;
        let mark = *text.get(4)?;
        let mut parts = text.split(|b| *b == mark);
        let date = date(year(parts.next()?)?, small(parts.next()?)?, small(parts.next()?)?)?;
        (parts.next().is_none() && matches!(mark, b'-' | b'/' | b'.')).then_some(date)
    }

    /// What follows month and day: `1995`, `13:45`, `13:45:12 2015`.
    fn year_or_time(&self, month: i8, day: i8, words: &Words<'_>, at: usize) -> Option<(Modified, usize)> {
        let word = words.get(at)?;
        let next = words.get(at + 1);
        if let Some(year) = four_digits(unit(word).0) {
            let date = date(year, month, day)?;
            return Some((local(date, None)?, at));
        }
        let time = time(word)?;
        if time.1 > Precision::Minute
            && let Some(year) = next.and_then(four_digits)
        {
            return Some((local(date(year, month, day)?, Some(time))?, at + 1));
        }
        Some((local_at(self.yearless(month, day, time.0)?, time.1)?, at))
    }
}

/// A time on the server's clock, or of a day alone.
pub(super) fn local(date: Date, time: Option<TimeOfDay>) -> Option<Modified> {
    match time {
        Some((time, precision)) => local_at(date.to_datetime(time), precision),
        None => local_at(date.to_datetime(Time::midnight()), Precision::Day),
    }
}

fn local_at(then: DateTime, precision: Precision) -> Option<Modified> {
    Some(Modified {
        value: then.to_zoned(TimeZone::UTC).ok()?.timestamp().into(),
        precision,
        zone_known: false,
    })
}

/// A point in time, in seconds since 1970.
pub(super) fn epoch(seconds: u64) -> Option<Modified> {
    let then = Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?;
    Some(Modified {
        value: then.into(),
        precision: Precision::Second,
        zone_known: true,
    })
}

/// `ls --full-time`: an offset behind date and time.
fn zoned(date: Date, time: TimeOfDay, offset: Option<&[u8]>) -> Option<Modified> {
    let (sign, digits) = offset.filter(|_| time.1 > Precision::Minute)?.split_first()?;
    let sign = match sign {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    if digits.len() != 4 {
        return None;
    }
    let offset = i64::try_from(number(&digits[..2])? * 3600 + number(&digits[2..])? * 60).ok()?;
    let wall = date.to_datetime(time.0).to_zoned(TimeZone::UTC).ok()?.timestamp();
    let then = wall
        .checked_sub(jiff::SignedDuration::from_secs(sign * offset))
        .ok()?;
    Some(Modified {
        value: then.into(),
        precision: time.1,
        zone_known: true,
    })
}

/// A date, in the years that listings have.
pub(super) fn date(year: i16, month: i8, day: i8) -> Option<Date> {
    if !(1900..=2200).contains(&year) {
        return None;
    }
    Date::new(year, month, day).ok()
}

/// `2-JUN-1998`, `12-Jan-14`, `Jan-29-2024`.
pub(super) fn with_month_name(text: &[u8]) -> Option<Date> {
    let mut parts = text.split(|b| *b == b'-');
    let (a, b, c) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    match small(a) {
        Some(day) => date(year(c)?, month(b)?, day),
        None => date(year(c)?, month(a)?, small(b)?),
    }
}

/// `13:45`, `3:07`, `13:45:12`, `13:45:12.64`, and each of them with AM or PM.
pub(super) fn time(text: &[u8]) -> Option<TimeOfDay> {
    let (text, half) = match text {
        [rest @ .., b'A' | b'a', b'M' | b'm'] | [rest @ .., b'a'] => (rest, Some(0)),
        [rest @ .., b'P' | b'p', b'M' | b'm'] | [rest @ .., b'p'] => (rest, Some(12)),
        _ => (text, None),
    };
    let (whole, fraction) = match text.iter().position(|b| *b == b'.') {
        Some(dot) => (&text[..dot], Some(&text[dot + 1..])),
        None => (text, None),
    };
    let mut parts = whole.split(|b| *b == b':');
    let hour = small(parts.next()?)?;
    let minute = small(parts.next()?)?;
    let second = parts.next();
    if parts.next().is_some() || (fraction.is_some() && second.is_none()) {
        return None;
    }
    let hour = match half {
        None => hour,
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some(half) => hour % 12 + half,
    };
    let nanos = match fraction {
        None => 0,
        Some(digits) if digits.is_empty() || digits.len() > 9 => return None,
        Some(digits) => {
            let value = i32::try_from(number(digits)?).ok()?;
            value * 10_i32.pow(9 - u32::try_from(digits.len()).ok()?)
        }
    };
    let precision = match (second, fraction) {
        (None, _) => Precision::Minute,
        (Some(_), None) => Precision::Second,
        _ => Precision::Subsecond,
    };
    let second = second.map_or(Some(0), small)?;
    Some((Time::new(hour, minute, second, nanos).ok()?, precision))
}

/// One or two digits.
pub(super) fn small(text: &[u8]) -> Option<i8> {
    if text.len() > 2 {
        return None;
    }
    i8::try_from(number(text)?).ok()
}

/// A year of four digits, of two (1970 to 2069), or of three as programs of the last century counted on: 103 is 2003.
fn year(text: &[u8]) -> Option<i16> {
    let value = i16::try_from(number(text)?).ok()?;
    Some(match text.len() {
        4 => value,
        3 if value >= 100 => 1900 + value,
        2 if value < 70 => 2000 + value,
        2 => 1900 + value,
        _ => return None,
    })
}

fn four_digits(text: &[u8]) -> Option<i16> {
    (text.len() == 4).then(|| year(text))?
}

fn day(text: &[u8]) -> Option<i8> {
    let text = text
        .strip_suffix(b".")
        .or(text.strip_suffix(b","))
        .unwrap_or(text);
    small(unit(text).0).filter(|day| (1..=31).contains(day))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{parse_time_val, time_val};

    fn dates(now: &str) -> Dates {
        Dates::new(parse_time_val(now.as_bytes()).unwrap())
    }

    fn read(now: &str, text: &str) -> Option<String> {
        let (modified, _) = dates(now).words(&Words::of(text.as_bytes()), 0)?;
        Some(time_val(modified.value))
    }

    #[test]
    fn a_date_without_year_is_the_last_one_there_was() {
        let now = "20170310230000";
        for (text, expected) in [
            ("Mar 10 23:00 x", Some("20170310230000")),
            ("Mar 11 22:59 x", Some("20170311225900")),
            ("Mar 12 00:30 x", Some("20160312003000")),
            ("Dec 31 23:59 x", Some("20161231235900")),
            ("Feb 29 12:00 x", Some("20160229120000")),
            ("Jan 23  2019 x", Some("20190123000000")),
            ("Feb 30 12:00 x", None),
            ("Mar 10 24:00 x", None),
        ] {
            assert_eq!(read(now, text).as_deref(), expected, "{text}");
        }
        // Just before and just behind the turn of the year, in a zone that is ahead.
        assert_eq!(
            read("20161231230000", "Jan  1 09:00 x").as_deref(),
            Some("20170101090000")
        );
        assert_eq!(
            read("20170101010000", "Dec 31 23:00 x").as_deref(),
            Some("20161231230000")
        );
    }

    #[test]
    fn one_clear_date_tells_the_order_of_all() {
        let order = [Order::Month, Order::Day, Order::Year];
        let mut dates = dates("20200601000000");
        assert_eq!(dates.numeric(b"04-05-19", order), date(2019, 4, 5));
        assert_eq!(dates.numeric(b"25-05-19", order), date(2019, 5, 25));
        assert_eq!(dates.numeric(b"2019-01-31", order), date(2019, 1, 31));
        assert_eq!(dates.numeric(b"04-05-19", order), date(2019, 5, 4));
        assert_eq!(dates.numeric(b"13-13-19", order), None);
        assert_eq!(dates.numeric(b"1-2-3-4", order), None);
    }

    #[test]
    fn times_have_many_forms() {
        let at = |h, m, s| Time::new(h, m, s, 0).unwrap();
        assert_eq!(time(b"12:08AM"), Some((at(0, 8, 0), Precision::Minute)));
        assert_eq!(time(b"12:08PM"), Some((at(12, 8, 0), Precision::Minute)));
        assert_eq!(time(b"3:07p"), Some((at(15, 7, 0), Precision::Minute)));
        assert_eq!(time(b"00:0"), Some((at(0, 0, 0), Precision::Minute)));
        assert_eq!(time(b"9:08:07"), Some((at(9, 8, 7), Precision::Second)));
        assert_eq!(time(b"23:32:40.47").unwrap().1, Precision::Subsecond);
        for bad in [
            &b"24:00"[..],
            b"13:00PM",
            b"12",
            b"12:60",
            b"1:2:3:4",
            b"12:00.5",
            b":",
            b"",
            b"99:99",
        ] {
            assert_eq!(time(bad), None, "{}", bad.escape_ascii());
        }
    }
}
