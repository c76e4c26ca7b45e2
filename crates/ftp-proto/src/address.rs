//! Addresses in commands and replies: PORT and 227 (RFC 959), EPRT and 229 (RFC 2428).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

/// Why an address argument is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadAddress {
    /// It does not follow the grammar.
    Syntax,
    /// RFC 2428 §2: a protocol family other than 1 (IPv4) and 2 (IPv6).
    Family,
}

/// The six numbers of a PORT command (RFC 959 §5.3.2 `<host-port>`).
///
/// # Errors
/// [`BadAddress::Syntax`].
pub fn parse_port(argument: &[u8]) -> Result<SocketAddrV4, BadAddress> {
    let mut numbers = [0_u8; 6];
    let mut fields = argument.split(|b| *b == b',');
    for number in &mut numbers {
        let field = fields.next().ok_or(BadAddress::Syntax)?;
        *number = decimal(field)
            .and_then(|n| u8::try_from(n).ok())
            .ok_or(BadAddress::Syntax)?;
    }
    if fields.next().is_some() {
        return Err(BadAddress::Syntax);
    }
    let [a, b, c, d, high, low] = numbers;
    Ok(SocketAddrV4::new(
        Ipv4Addr::new(a, b, c, d),
        u16::from_be_bytes([high, low]),
    ))
}

/// The argument of EPRT: `|1|132.235.1.2|6275|`, any delimiter from 33 to 126.
///
/// # Errors
/// [`BadAddress`].
pub fn parse_eprt(argument: &[u8]) -> Result<SocketAddr, BadAddress> {
    let (&delimiter, rest) = argument.split_first().ok_or(BadAddress::Syntax)?;
    if !(33..=126).contains(&delimiter) {
        return Err(BadAddress::Syntax);
    }
    let fields: Vec<&[u8]> = rest.split(|b| *b == delimiter).collect();
    let [family, host, port, b""] = fields[..] else {
        return Err(BadAddress::Syntax);
    };
    let host = std::str::from_utf8(host).map_err(|_| BadAddress::Syntax)?;
    let host: IpAddr = match family {
        b"1" => host.parse::<Ipv4Addr>().map_err(|_| BadAddress::Syntax)?.into(),
        b"2" => host.parse::<Ipv6Addr>().map_err(|_| BadAddress::Syntax)?.into(),
        other if decimal(other).is_some() => return Err(BadAddress::Family),
        _ => return Err(BadAddress::Syntax),
    };
    let port = decimal(port)
        .and_then(|n| u16::try_from(n).ok())
        .ok_or(BadAddress::Syntax)?;
    Ok(SocketAddr::new(host, port))
}

/// The text of a 227 reply.
#[must_use]
pub fn passive_text(address: SocketAddrV4) -> String {
    let [a, b, c, d] = address.ip().octets();
    let [high, low] = address.port().to_be_bytes();
    format!("Entering Passive Mode ({a},{b},{c},{d},{high},{low}).")
}

/// The text of a 229 reply.
#[must_use]
pub fn extended_passive_text(port: u16) -> String {
    format!("Entering Extended Passive Mode (|||{port}|)")
}

/// A number of digits alone, below 2^63: RFC 3659 §5.3's marker, and what every number here is held to.
#[must_use]
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = text.iter().try_fold(0_u64, |n, digit| {
        n.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })?;
    i64::try_from(number).is_ok().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_takes_exactly_six_octets() {
        assert_eq!(
            parse_port(b"127,0,0,1,7,138"),
            Ok("127.0.0.1:1930".parse().unwrap())
        );
        for bad in [
            "127,0,0,1,7",
            "127,0,0,1,7,138,1",
            "256,0,0,1,7,1",
            "a,0,0,1,7,1",
            "",
            "1,2,3,4,5,-1",
        ] {
            assert_eq!(parse_port(bad.as_bytes()), Err(BadAddress::Syntax), "{bad}");
        }
    }

    #[test]
    fn eprt_takes_any_delimiter_and_two_families() {
        assert_eq!(
            parse_eprt(b"|1|10.0.0.1|6275|"),
            Ok("10.0.0.1:6275".parse().unwrap())
        );
        assert_eq!(parse_eprt(b"!2!::1!80!"), Ok("[::1]:80".parse().unwrap()));
        assert_eq!(parse_eprt(b"|3|x|80|"), Err(BadAddress::Family));
        for bad in [
            "",
            "|",
            "|1|10.0.0.1|6275",
            "|1|::1|80|",
            "|1|10.0.0.1|65536|",
            "|x|10.0.0.1|1|",
            " 1 1.2.3.4 5 ",
        ] {
            assert_eq!(parse_eprt(bad.as_bytes()), Err(BadAddress::Syntax), "{bad}");
        }
    }

    #[test]
    fn numbers_are_digits_below_two_to_the_63() {
        assert_eq!(decimal(b"9223372036854775807"), Some(i64::MAX as u64));
        for bad in [
            "",
            "-1",
            "+1",
            "1e3",
            "10.1",
            " 1",
            "9223372036854775808",
            "18446744073709551616",
            "1 ",
        ] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad}");
        }
    }
}
