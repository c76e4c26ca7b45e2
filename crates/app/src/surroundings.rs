//! What the machine says about itself: addresses, host name, the folder for state, the number of open files.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::units::is_host_name;
use crate::failure::Problem;

/// The addresses that this machine uses towards the world, IPv4 first. No packet is sent: connecting a UDP
/// socket only looks up the route. Its destinations are set aside for documentation (RFC 5737, RFC 3849).
pub(crate) fn addresses() -> Vec<IpAddr> {
    let towards = |from: IpAddr, to: IpAddr| {
        let socket = UdpSocket::bind(SocketAddr::new(from, 0)).ok()?;
        socket.connect(SocketAddr::new(to, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
            .filter(|address| !address.is_loopback() && !address.is_unspecified())
    };
    let ipv4 = towards(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let ipv6 = towards(
        Ipv6Addr::UNSPECIFIED.into(),
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    );
    ipv4.into_iter().chain(ipv6).collect()
}

/// The host name, where it is one that a certificate can carry.
pub(crate) fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_str().ok()?.to_owned();
    is_host_name(&name).then_some(name)
}

/// Where state is kept when nobody says.
///
/// # Errors
/// When there is no home to keep it in.
pub(crate) fn state_dir() -> Result<PathBuf, Problem> {
    let root = rustix::process::geteuid().is_root();
    state_dir_of(root, |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    })
}

fn state_dir_of(root: bool, variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, Problem> {
    // systemd separates several folders by colons (systemd.exec(5), StateDirectory=): the first is ours.
    if let Some(dirs) = variable("STATE_DIRECTORY") {
        let dirs = dirs.to_string_lossy();
        return Ok(PathBuf::from(dirs.split(':').next().unwrap_or_default()));
    }
    if root {
        return Ok(PathBuf::from("/var/lib/pasarela"));
    }
    variable("XDG_STATE_HOME")
        // A relative one is invalid and to be ignored (XDG Base Directory Specification).
        .filter(|dir| dir.is_absolute())
        .or_else(|| Some(variable("HOME")?.join(".local/state")))
        .map(|base| base.join("pasarela"))
        .ok_or_else(|| {
            Problem::new("there is no folder to keep the certificate in").hint("name one: --state-dir DIR")
        })
}

/// Where this person's own settings are; `None` without a home.
pub(crate) fn config_dir() -> Option<PathBuf> {
    config_dir_of(|name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    })
}

fn config_dir_of(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    variable("XDG_CONFIG_HOME")
        .filter(|dir| dir.is_absolute())
        .or_else(|| Some(variable("HOME")?.join(".config")))
        .map(|base| base.join("pasarela"))
}

/// Raises the number of files this process may open to what it is allowed to raise it to.
pub(crate) fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    ) {
        tracing::warn!(%error, "the number of open files stays as it is");
    }
}

/// The state folder in use, which may be configured; `None` where there is no place for one.
pub(crate) fn state_dir_in_use(configured: Option<&Path>) -> Option<PathBuf> {
    configured.map(Path::to_owned).or_else(|| state_dir().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(root: bool, variables: &[(&str, &str)]) -> Option<PathBuf> {
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| value.into())
        };
        state_dir_of(root, variable).ok()
    }

    #[test]
    fn settings_are_where_the_user_keeps_them() {
        let dir = |variables: &[(&str, &str)]| {
            config_dir_of(|name| {
                let found = variables.iter().find(|(n, _)| *n == name);
                found.map(|(_, value)| value.into())
            })
        };
        let home = ("HOME", "/home/anna");
        assert_eq!(dir(&[home]), Some("/home/anna/.config/pasarela".into()));
        assert_eq!(
            dir(&[home, ("XDG_CONFIG_HOME", "/c")]),
            Some("/c/pasarela".into())
        );
        assert_eq!(
            dir(&[home, ("XDG_CONFIG_HOME", "c")]),
            Some("/home/anna/.config/pasarela".into())
        );
        assert_eq!(dir(&[]), None);
    }

    #[test]
    fn state_is_kept_where_the_service_manager_the_system_or_the_user_keep_it() {
        let home = ("HOME", "/home/anna");
        assert_eq!(dir(true, &[home]), Some("/var/lib/pasarela".into()));
        assert_eq!(
            dir(true, &[("STATE_DIRECTORY", "/run/a:/run/b")]),
            Some("/run/a".into())
        );
        assert_eq!(
            dir(false, &[home]),
            Some("/home/anna/.local/state/pasarela".into())
        );
        assert_eq!(
            dir(false, &[home, ("XDG_STATE_HOME", "/s")]),
            Some("/s/pasarela".into())
        );
        assert_eq!(
            dir(false, &[home, ("XDG_STATE_HOME", "s")]),
            Some("/home/anna/.local/state/pasarela".into())
        );
        assert_eq!(dir(false, &[]), None);
    }
}
