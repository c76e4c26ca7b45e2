//! Where a server says it waits: 227 (RFC 959) and 229 (RFC 2428), with what servers make of them.

use std::net::Ipv4Addr;

use super::quirks::Quirk;
use crate::address::decimal;

/// Where a server waits for a data connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Never 0.
    pub port: u16,
    /// The address of a 227. It is for diagnosis: data connections go to the peer of the control connection
    /// (CVE-2020-8284).
    pub told: Option<Ipv4Addr>,
}

/// Reads the text of a 229.
pub(super) fn extended(text: &[u8]) -> Option<(Endpoint, Option<Quirk>)> {
    let text = match text.iter().rposition(|byte| *byte == b'(') {
        Some(bracket) => &text[bracket + 1..],
        None => text,
    };
    let is_delimiter = |byte: &u8| (33..=126).contains(byte) && !byte.is_ascii_digit();
    for (start, delimiter) in text.iter().enumerate().filter(|(_, byte)| is_delimiter(byte)) {
        let fields: Vec<_> = text[start + 1..]
            .split(|byte| byte == delimiter)
            .take(4)
            .collect();
        let [protocol, address, behind, ..] = fields[..] else {
            continue;
        };
        let digits = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let Some(port) = port(&behind[..digits]) else {
            continue;
        };
        let is_whole =
            fields.len() == 4 && digits == behind.len() && protocol.is_empty() && address.is_empty();
        // Words of the text are no fields.
        let is_address = address
            .iter()
            .all(|b| b.is_ascii_hexdigit() || matches!(b, b'.' | b':'));
        if matches!(protocol, b"" | b"1" | b"2") && is_address {
            let endpoint = Endpoint { port, told: None };
            return Some((endpoint, (!is_whole).then_some(Quirk::OddExtendedPassive)));
        }
    }
    None
}

/// Reads the text of a 227: the first six numbers with commas between them.
pub(super) fn plain(text: &[u8]) -> Option<(Endpoint, Option<Quirk>)> {
    let mut start = 0;
    while start < text.len() {
        if !text[start].is_ascii_digit() {
            start += 1;
            continue;
        }
        let length = text[start..]
            .iter()
            .take_while(|b| b.is_ascii_digit() || matches!(b, b',' | b' '))
            .count();
        let fields: Vec<_> = text[start..start + length]
            .split(|b| *b == b',')
            .map(<[u8]>::trim_ascii)
            .collect();
        if let [a, b, c, d, high, low] = fields[..] {
            let octet = |field: &[u8]| decimal(field).and_then(|number| u8::try_from(number).ok());
            let port = u16::from_be_bytes([octet(high)?, octet(low)?]);
            let told = Some(Ipv4Addr::new(octet(a)?, octet(b)?, octet(c)?, octet(d)?));
            let bracketed = start > 0 && text[start - 1] == b'(';
            let quirk = (!bracketed).then_some(Quirk::PassiveWithoutBrackets);
            return (port != 0).then_some((Endpoint { port, told }, quirk));
        }
        start += length.max(1);
    }
    None
}

fn port(digits: &[u8]) -> Option<u16> {
    decimal(digits)
        .and_then(|number| u16::try_from(number).ok())
        .filter(|port| *port != 0)
}
