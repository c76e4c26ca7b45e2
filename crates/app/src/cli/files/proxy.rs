//! Which proxy a server is reached through: a flag, or the variables that other programs heed.

use std::net::IpAddr;
use std::sync::Arc;

use pasarela_client::Proxy;

use crate::failure::Problem;

/// The variables that name a proxy; the first that is set counts.
const NAMES: [&str; 4] = ["ftp_proxy", "FTP_PROXY", "all_proxy", "ALL_PROXY"];
/// The variables that name hosts which none is used for.
const EXCEPTIONS: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// What the user said about proxies.
#[derive(Debug)]
pub(super) struct Proxies {
    proxy: Option<Arc<Proxy>>,
    exceptions: String,
}

/// What `--proxy` takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wanted {
    /// None, whatever variables say.
    Nothing,
    /// This one, for every server.
    This(Proxy),
}

impl Wanted {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" | "none" => Ok(Self::Nothing),
            text => text
                .parse()
                .map(Self::This)
                .map_err(|error: pasarela_client::BadProxy| error.to_string()),
        }
    }

    /// The proxy, if there is to be one.
    pub(super) fn proxy(&self) -> Option<Arc<Proxy>> {
        match self {
            Self::Nothing => None,
            Self::This(proxy) => Some(Arc::new(proxy.clone())),
        }
    }

    /// As the flag takes it; one with a login is not written down.
    pub(super) fn written(&self) -> Option<String> {
        match self {
            Self::Nothing => Some("none".to_owned()),
            Self::This(proxy) => proxy.login.is_none().then(|| proxy.to_string()),
        }
    }

    /// Whether it holds a password, which everybody on the machine can read.
    pub(super) fn is_exposed(&self) -> bool {
        match self {
            Self::This(proxy) => {
                let password = proxy.login.as_ref().map(|(_, password)| password.reveal());
                password.is_some_and(|password| !password.is_empty())
            }
            Self::Nothing => false,
        }
    }
}

impl Proxies {
    /// That of the flag, for every server; otherwise that of the variables, except for the hosts they name.
    pub(super) fn choose(
        flag: Option<&Wanted>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Problem> {
        let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
        match flag {
            Some(Wanted::Nothing) => return Ok(Self::of(None, String::new())),
            Some(Wanted::This(proxy)) => return Ok(Self::of(Some(proxy.clone()), String::new())),
            None => {}
        }
        let Some((name, value)) = NAMES.iter().find_map(|name| Some((name, set(name)?))) else {
            return Ok(Self::of(None, String::new()));
        };
        // Other programs take a proxy without a scheme for one of HTTP.
        let value = match value.contains("://") {
            true => value,
            false => format!("http://{value}"),
        };
        let proxy = value.parse().map_err(|error: pasarela_client::BadProxy| {
            let text = error.to_string();
            let (message, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
            Problem::new(format!("the variable {name}: {message}")).hint(format!("{hint}; or --proxy none"))
        })?;
        let exceptions = EXCEPTIONS.iter().find_map(set).unwrap_or_default();
        Ok(Self::of(Some(proxy), exceptions))
    }

    fn of(proxy: Option<Proxy>, exceptions: String) -> Self {
        Self {
            proxy: proxy.map(Arc::new),
            exceptions,
        }
    }

    /// The proxy for a server.
    pub(super) fn of_host(&self, host: &str) -> Option<Arc<Proxy>> {
        let proxy = self.proxy.as_ref()?;
        (!is_excepted(host, &self.exceptions)).then(|| Arc::clone(proxy))
    }
}

/// Whether a list such as `example.org, .local 192.0.2.0/24` has the host: `*` has all, a name has those beneath it too.
fn is_excepted(host: &str, list: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let address = host.parse::<IpAddr>().ok();
    list.split([',', ' ', '\t'])
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            if entry == "*" {
                return true;
            }
            let entry = entry
                .trim_start_matches('.')
                .trim_end_matches('.')
                .to_ascii_lowercase();
            match address {
                Some(address) => is_within(address, entry.trim_matches(['[', ']'])),
                None => host
                    .strip_suffix(&entry)
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            }
        })
}

/// Whether an address is `network`: an address, or one with the length of its prefix behind a slash.
fn is_within(address: IpAddr, network: &str) -> bool {
    let (network, length) = match network.split_once('/') {
        Some((network, length)) => (network, length.parse::<u32>().ok()),
        None => (network, Some(128)),
    };
    let (Ok(network), Some(length)) = (network.parse::<IpAddr>(), length) else {
        return false;
    };
    let differing = match (address.to_canonical(), network.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(a.to_bits() ^ b.to_bits()) << 96,
        (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() ^ b.to_bits(),
        _ => return false,
    };
    differing.leading_zeros() >= length.min(128)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(flag: Option<&str>, variables: &[(&str, &str)], host: &str) -> Option<String> {
        let flag = flag.map(|flag| Wanted::parse(flag).unwrap());
        let proxies = Proxies::choose(flag.as_ref(), |name| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        proxies.unwrap().of_host(host).map(|proxy| proxy.to_string())
    }

    #[test]
    fn the_flag_goes_before_variables_and_variables_have_exceptions() {
        let all = ("ALL_PROXY", "socks5h://all:1");
        let ftp = ("ftp_proxy", "web:3128");
        let except = ("no_proxy", "example.org, 192.0.2.0/24 2001:db8::1");
        for (flag, variables, host, expected) in [
            (None, &[][..], "h", None),
            (None, &[all], "h", Some("socks5h://all:1")),
            (None, &[all, ftp], "h", Some("http://web:3128")),
            (None, &[all, except], "ftp.Example.org.", None),
            (None, &[all, except], "anexample.org", Some("socks5h://all:1")),
            (None, &[all, except], "192.0.2.77", None),
            (None, &[all, except], "192.0.3.77", Some("socks5h://all:1")),
            (None, &[all, except], "2001:db8::1", None),
            (None, &[all, except], "2001:db8::2", Some("socks5h://all:1")),
            (None, &[all, ("NO_PROXY", "*")], "h", None),
            (
                Some("socks5://f"),
                &[all, except],
                "example.org",
                Some("socks5://f:1080"),
            ),
            (Some("none"), &[all], "h", None),
        ] {
            let found = chosen(flag, variables, host);
            assert_eq!(found.as_deref(), expected, "{flag:?} {variables:?} {host}");
        }
        let bad = Proxies::choose(None, |name| {
            (name == "all_proxy").then(|| "socks4://h".to_owned())
        });
        let problem = bad.unwrap_err().titled("error");
        assert!(
            problem.contains("all_proxy") && problem.contains("hint: "),
            "{problem}"
        );
    }

    #[test]
    fn a_password_in_the_flag_is_seen() {
        for (text, expected) in [("http://a:b@h", true), ("http://h", false), ("none", false)] {
            assert_eq!(Wanted::parse(text).unwrap().is_exposed(), expected, "{text}");
        }
    }
}
