//! From when until when a certificate holds (RFC 5280 §4.1.2.5), read from its DER without trusting a byte of it.

use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;

/// From when until when a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub from: SystemTime,
    /// Not after.
    pub until: SystemTime,
}

/// Tags of DER (X.690).
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

impl Validity {
    /// Of a certificate; `None` for what is none, and for dates before 1970.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        // Certificate ::= SEQUENCE { tbsCertificate SEQUENCE { version [0]?, serialNumber, signature, issuer, validity …
        let (tag, certificate, _) = element(certificate)?;
        let (inner, to_be_signed, _) = element(certificate)?;
        if (tag, inner) != (SEQUENCE, SEQUENCE) {
            return None;
        }
        let mut rest = to_be_signed;
        if rest.first() == Some(&VERSION) {
            rest = element(rest)?.2;
        }
        for _ in ["serialNumber", "signature", "issuer"] {
            rest = element(rest)?.2;
        }
        let (_, validity, _) = element(rest)?;
        let (from, rest) = time(validity)?;
        let (until, _) = time(rest)?;
        Some(Self { from, until })
    }
}

/// Tag and content of the first element, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0, |length, digit| length << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// UTCTime `YYMMDDHHMMSSZ`, which is of 1950 to 2049, or GeneralizedTime `YYYYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5).
fn time(bytes: &[u8]) -> Option<(SystemTime, &[u8])> {
    let (tag, text, rest) = element(bytes)?;
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| digits.iter().fold(0, |n, digit| n * 10 + u64::from(digit - b'0'));
    let (year, digits) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let short = number(&digits[..2]);
            (short + if short < 50 { 2000 } else { 1900 }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(&digits[at..at + 2]));
    let days = days_since_1970(year, month, day)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    Some((time, rest))
}

fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let february = if is_leap(year) { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = lengths.get(..usize::try_from(month).ok()?.checked_sub(1)?)?;
    let this = lengths.get(before.len())?;
    if !(1970..=9999).contains(&year) || !(1..=*this).contains(&day) {
        return None;
    }
    let years: u64 = (1970..year)
        .map(|year| if is_leap(year) { 366 } else { 365 })
        .sum();
    Some(years + before.iter().sum::<u64>() + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::visitor::material;

    fn seconds(tag: u8, text: &str) -> Option<u64> {
        let bytes = [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        let (time, rest) = time(&bytes)?;
        assert!(rest.is_empty());
        Some(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
    }

    #[test]
    fn times_are_read_in_both_spellings() {
        assert_eq!(seconds(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(seconds(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(seconds(GENERALIZED_TIME, "20000229120000Z"), Some(951_825_600));
        assert_eq!(seconds(GENERALIZED_TIME, "20500101000000Z"), Some(2_524_608_000));
        for (tag, bad) in [
            (UTC_TIME, "690101000000Z"),
            (UTC_TIME, "230229000000Z"),
            (UTC_TIME, "231301000000Z"),
            (UTC_TIME, "230001000000Z"),
            (UTC_TIME, "2301010000000"),
            (UTC_TIME, "230101000000+"),
            (GENERALIZED_TIME, "230101000000Z"),
            (SEQUENCE, "230101000000Z"),
        ] {
            assert_eq!(seconds(tag, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_certificate_says_how_long_it_holds_and_a_cut_one_does_not() {
        let certified = material().certified_key();
        let whole = &certified.cert[0];
        let validity = Validity::of(whole).unwrap();
        let now = SystemTime::now();
        assert!(validity.from < now && now < validity.until, "{validity:?}");
        // The dates stand in the first half of a certificate; wherever it is cut, the outer length is wrong.
        for length in 0..whole.len() {
            assert_eq!(
                Validity::of(&CertificateDer::from(&whole[..length])),
                None,
                "{length}"
            );
        }
    }
}
