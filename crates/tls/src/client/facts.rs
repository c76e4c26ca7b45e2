//! What a certificate says of itself, for people who are asked whether to believe it (RFC 5280 §4.1).

use rustls::pki_types::CertificateDer;

/// The words of a certificate. Nobody has checked them, and they may hold any character.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Whom it is about, such as `CN=ftp.example.org, O=Example`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Its first moment, as RFC 3339 writes it.
    pub not_before: String,
    /// Its last moment.
    pub not_after: String,
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0] EXPLICIT Version`.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

impl Facts {
    /// Reads them; `None` for what is no certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (whole, _) = expect(certificate, SEQUENCE)?;
        let (mut signed, _) = expect(whole, SEQUENCE)?;
        if signed.first() == Some(&VERSION) {
            (_, signed) = expect(signed, VERSION)?;
        }
        let (_, _, rest) = element(signed)?; // serialNumber
        let (_, rest) = expect(rest, SEQUENCE)?; // signature
        let (issuer, rest) = expect(rest, SEQUENCE)?;
        let (validity, rest) = expect(rest, SEQUENCE)?;
        let (subject, _) = expect(rest, SEQUENCE)?;
        let (kind, not_before, end) = element(validity)?;
        let (end_kind, not_after, _) = element(end)?;
        Some(Self {
            subject: name(subject)?,
            issuer: name(issuer)?,
            not_before: time(kind, not_before)?,
            not_after: time(end_kind, not_after)?,
        })
    }
}

/// The first element (X.690 §8.1): its tag, its content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        // No certificate has four gigabytes.
        let count = usize::from(first & 0x7f);
        let (digits, rest) = rest
            .split_at_checked(count)
            .filter(|_| (1..=4).contains(&count))?;
        let length = digits
            .iter()
            .fold(0_u64, |length, digit| length << 8 | u64::from(*digit));
        (usize::try_from(length).ok()?, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// An element of this kind: its content, and what follows.
fn expect(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    element(der)
        .filter(|(found, ..)| *found == tag)
        .map(|(_, content, rest)| (content, rest))
}

/// A distinguished name (RFC 5280 §4.1.2.4); attributes that have no letters are left out.
fn name(mut rest: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (mut set, behind) = expect(rest, SET)?;
        rest = behind;
        while !set.is_empty() {
            let (attribute, behind) = expect(set, SEQUENCE)?;
            set = behind;
            let (_, kind, value) = element(attribute)?;
            let (encoding, value, _) = element(value)?;
            if let Some(letters) = letters(kind) {
                parts.push(format!("{letters}={}", text(encoding, value)));
            }
        }
    }
    Some(parts.join(", "))
}

/// The letters of an attribute's object identifier, all of them beneath 2.5.4 (X.520).
fn letters(kind: &[u8]) -> Option<&'static str> {
    match kind {
        [0x55, 0x04, 3] => Some("CN"),
        [0x55, 0x04, 6] => Some("C"),
        [0x55, 0x04, 7] => Some("L"),
        [0x55, 0x04, 8] => Some("ST"),
        [0x55, 0x04, 10] => Some("O"),
        [0x55, 0x04, 11] => Some("OU"),
        _ => None,
    }
}

fn text(encoding: u8, value: &[u8]) -> String {
    const TELETEX: u8 = 0x14;
    const BMP: u8 = 0x1e;
    match encoding {
        TELETEX => value.iter().copied().map(char::from).collect(),
        BMP => {
            let units = value
                .chunks_exact(2)
                .map(|two| u16::from_be_bytes([two[0], two[1]]));
            char::decode_utf16(units)
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        _ => String::from_utf8_lossy(value).into_owned(),
    }
}

/// `YYMMDDHHMMSSZ` (of 1950 to 2049) or `YYYYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5).
fn time(kind: u8, value: &[u8]) -> Option<String> {
    let digits = std::str::from_utf8(value.strip_suffix(b"Z")?).ok()?;
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let digits = match (kind, digits.len()) {
        (UTC_TIME, 12) if digits < "5" => format!("20{digits}"),
        (UTC_TIME, 12) => format!("19{digits}"),
        (GENERALIZED_TIME, 14) => digits.to_owned(),
        _ => return None,
    };
    let (date, clock) = digits.split_at(8);
    Some(format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &clock[..2],
        &clock[2..4],
        &clock[4..]
    ))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    fn sample() -> CertificateDer<'static> {
        let pem = include_bytes!("../certificate/samples/rsa-certificate.pem");
        CertificateDer::from_pem_slice(pem).unwrap()
    }

    #[test]
    fn a_certificate_tells_its_names_and_its_dates() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let name = &mut parameters.distinguished_name;
        name.push(rcgen::DnType::CommonName, "ñandú");
        name.push(rcgen::DnType::OrganizationName, "One, Two");
        parameters.not_before = rcgen::date_time_ymd(2049, 12, 31);
        parameters.not_after = rcgen::date_time_ymd(2051, 2, 3);
        let certificate = parameters.self_signed(&key).unwrap();
        let facts = Facts::of(certificate.der()).unwrap();
        assert_eq!(facts.subject, "CN=ñandú, O=One, Two");
        assert_eq!(facts.issuer, facts.subject);
        assert_eq!(facts.not_before, "2049-12-31T00:00:00Z");
        assert_eq!(facts.not_after, "2051-02-03T00:00:00Z");
        assert!(Facts::of(&sample()).is_some());
    }

    #[test]
    fn what_is_cut_or_changed_is_no_reason_to_panic() {
        let whole = sample();
        for length in 0..whole.len() {
            let _ = Facts::of(&CertificateDer::from(&whole[..length]));
        }
        for at in 0..whole.len().min(300) {
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = whole.to_vec();
                changed[at] = byte;
                let _ = Facts::of(&CertificateDer::from(changed));
            }
        }
        assert_eq!(Facts::of(&CertificateDer::from(&[][..])), None);
    }
}
