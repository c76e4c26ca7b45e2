//! The ports that have to be open, one entry for each number or range, whatever addresses they are at.

use std::net::IpAddr;

use super::{Data, Server, Speaks, is_loopback};

/// What a port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Control,
    Implicit,
    Sftp,
    Data,
}

/// A port, or a range, that others connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opening {
    /// The addresses of this machine; none: every one.
    pub(super) hosts: Vec<IpAddr>,
    /// Those are of IPv4 alone.
    pub(super) ipv4_only: bool,
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) role: Role,
}

/// What differs between inside and outside by the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) outside: u16,
    pub(super) inside: u16,
    /// How many more.
    pub(super) more: u16,
}

impl Opening {
    /// `21` or `50000-50010`.
    pub(super) fn numbers(&self) -> String {
        numbers(self.first, self.last - self.first)
    }

    /// What arrives there.
    pub(super) fn what(&self, data: Data) -> &'static str {
        let has_data = !matches!(data, Data::Ports(..));
        match (self.role, has_data) {
            (Role::Control, true) => "control connections (FTP, TLS by AUTH) and data connections",
            (Role::Control, false) => "control connections (FTP, TLS by AUTH)",
            (Role::Implicit, true) => {
                "control connections (FTPS, TLS from the first byte) and data connections"
            }
            (Role::Implicit, false) => "control connections (FTPS, TLS from the first byte)",
            (Role::Sftp, _) => "SFTP over SSH",
            (Role::Data, _) => "data connections",
        }
    }

    /// Inside and outside numbers, in runs that one rule can say.
    pub(super) fn runs(&self, server: &Server) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for inside in self.first..=self.last {
            let outside = server.outside(inside);
            match runs.last_mut() {
                Some(run) if u32::from(run.outside) + u32::from(run.more) + 1 == u32::from(outside) => {
                    run.more += 1;
                }
                _ => runs.push(Run {
                    outside,
                    inside,
                    more: 0,
                }),
            }
        }
        runs
    }
}

impl Run {
    pub(super) fn outside_numbers(self) -> String {
        numbers(self.outside, self.more)
    }

    pub(super) fn inside_numbers(self) -> String {
        numbers(self.inside, self.more)
    }
}

fn numbers(first: u16, more: u16) -> String {
    match more {
        0 => first.to_string(),
        more => format!("{first}-{}", first.saturating_add(more)),
    }
}

/// All openings of a server, without what listens for this machine only.
pub(super) fn openings(server: &Server) -> Vec<Opening> {
    let mut openings: Vec<Opening> = Vec::new();
    for listener in server.listeners.iter().filter(|l| !is_loopback(l.address)) {
        let port = listener.address.port();
        let role = match listener.speaks {
            Speaks::Ftp => Role::Control,
            Speaks::Ftps => Role::Implicit,
            Speaks::Sftp => Role::Sftp,
        };
        add(&mut openings, listener.address.ip(), (port, port), role);
    }
    // Data ports listen at the address of the first control port.
    if let (Data::Ports(first, last), Some(listener)) = (
        server.data,
        server.listeners.iter().find(|l| l.speaks != Speaks::Sftp),
    ) && !is_loopback(listener.address)
    {
        add(&mut openings, listener.address.ip(), (first, last), Role::Data);
    }
    openings
}

fn add(openings: &mut Vec<Opening>, host: IpAddr, (first, last): (u16, u16), role: Role) {
    let hosts = if host.is_unspecified() {
        Vec::new()
    } else {
        vec![host]
    };
    let ipv4_only = host.is_ipv4();
    let same = openings
        .iter_mut()
        .find(|other| (other.first, other.last, other.role) == (first, last, role));
    let Some(same) = same else {
        openings.push(Opening {
            hosts,
            ipv4_only,
            first,
            last,
            role,
        });
        return;
    };
    same.ipv4_only &= ipv4_only;
    // Every address, and one of them: every one.
    if hosts.is_empty() || same.hosts.is_empty() {
        same.hosts.clear();
    } else {
        same.hosts.extend(hosts);
    }
}

/// Addresses with commas between.
pub(super) fn written(hosts: &[IpAddr]) -> String {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    hosts.join(", ")
}
