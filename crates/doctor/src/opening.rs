//! What a server with a configuration needs opened: its ports, rules that open them, and whether they are open.

mod containers;
mod firewall;
mod outside;
mod ports;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use pasarela_reach::Forward;
use pasarela_reach::survey::Links;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::advice::opening as kinds;
use crate::report::Report;
use crate::{Finding, Severity};
pub use outside::{Outside, contradictions, relays};
use ports::{Opening, written};

/// As many data ports of a range are tried: all of them are opened by one rule.
const MOST: usize = 3;

/// How long a program that has the port may take to greet.
const GREETING: Duration = Duration::from_secs(2);

/// What a configuration says of ports.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where control connections arrive.
    pub listeners: Vec<Listener>,
    /// Where data connections do.
    pub data: Data,
    /// Whether there may be data without TLS.
    pub has_plain_data: bool,
    /// Ports whose number differs outside.
    pub forwards: Vec<Forward>,
    /// Whether the operator says what the outside is called.
    pub has_public_address: bool,
    /// Relays that it connects to, as `turn:HOST:PORT`.
    pub relays: Vec<String>,
    /// STUN servers that it connects to, as `HOST:PORT`.
    pub stun: Vec<String>,
}

/// A socket for control connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Where; its host may be a wildcard.
    pub address: SocketAddr,
    /// What is spoken there.
    pub speaks: Speaks,
}

/// What is spoken on a control connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// FTP, with TLS after AUTH.
    Ftp,
    /// FTP, with TLS from the first byte.
    Ftps,
    /// SFTP over SSH, which has no data connections.
    Sftp,
}

/// Where data connections arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// On the control port, and for plain data on one that the system chooses.
    Auto,
    /// On the control port.
    Control,
    /// On these, first to last.
    Ports(u16, u16),
}

/// An attempt to listen where the server would.
#[derive(Debug)]
pub struct Attempt {
    /// Where.
    pub address: SocketAddr,
    /// How it went.
    pub outcome: io::Result<()>,
    /// What the program that has the port says first; nothing where none has it or it is silent.
    pub heard: Option<String>,
}

/// A set of rules, ready to be pasted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The name of its fact in JSON.
    pub fact: &'static str,
    /// What a person calls it.
    pub title: &'static str,
    /// The rules.
    pub text: String,
}

impl Server {
    /// The rules that open its ports: on a router, in nftables, in Docker and in Kubernetes. Nothing where it listens for
    /// this machine only.
    #[must_use]
    pub fn rules(&self, links: &Links) -> Vec<Rules> {
        let openings = ports::openings(self);
        if openings.is_empty() {
            return Vec::new();
        }
        let all = [
            ("opening.ports", "TCP ports", self.table(&openings)),
            (
                "opening.router",
                "router",
                firewall::router(self, &openings, links),
            ),
            (
                "opening.nftables",
                "nftables (nft -f FILE)",
                firewall::nftables(self, &openings),
            ),
            (
                "opening.docker_run",
                "Docker",
                containers::docker_run(self, &openings),
            ),
            (
                "opening.compose",
                "Docker Compose",
                containers::compose(self, &openings),
            ),
            (
                "opening.kubernetes",
                "Kubernetes",
                containers::kubernetes(self, &openings),
            ),
        ];
        all.map(|(fact, title, text)| Rules { fact, title, text }).into()
    }

    /// What the configuration itself says.
    pub fn tell(&self, report: &mut Report) {
        let openings = ports::openings(self);
        if openings.is_empty() {
            let says = "the server listens for this machine only: nothing has to be opened";
            let addresses = self.listeners.iter().map(|listener| listener.address.to_string());
            report.add(Finding::new(&kinds::LOOPBACK_ONLY, says).all_evidence(addresses));
            return;
        }
        let numbers: Vec<String> = openings.iter().map(Opening::numbers).collect();
        let says = format!("to be open for the server: TCP {}", numbers.join(", "));
        let table = self.table(&openings);
        report.add(Finding::new(&kinds::PORTS, says).all_evidence(table.lines().map(str::to_owned)));
        let setting = |value: &str| format!("ftp.data.ports is \"{value}\"");
        match self.data {
            Data::Auto if self.has_plain_data => {
                let says = "unprotected data may go to a second port that the system chooses";
                report.add(Finding::new(&kinds::DATA_AUTO, says).evidence(setting("auto")));
            }
            Data::Auto | Data::Control => {
                let says = "data connections arrive on the control port: no other port is needed";
                let evidence = match self.data {
                    Data::Auto => setting("auto") + ", and TLS is required",
                    _ => setting("control"),
                };
                report.add(Finding::new(&kinds::DATA_ON_CONTROL, says).evidence(evidence));
            }
            Data::Ports(..) => {}
        }
    }

    /// Which of [`Self::addresses`] nobody has tried from outside, going by the ports that somebody has.
    pub fn tell_untried(&self, tried: &[u16], report: &mut Report) {
        let mut ports: Vec<u16> = self.addresses().iter().map(SocketAddr::port).collect();
        ports.dedup();
        for port in ports.into_iter().filter(|port| !tried.contains(port)) {
            let says = format!("port {port} was not tried from outside");
            let why = "the server, or this process, does not listen there for others";
            report.add(Finding::new(&kinds::OUTSIDE_NOT_TESTED, says).evidence(why));
        }
        if let Data::Ports(first, last) = self.data
            && usize::from(last - first) >= MOST
        {
            let says = format!("of the data ports {first}-{last} only the first {MOST} were tried");
            let why = "one rule opens all of them";
            report.add(Finding::new(&kinds::OUTSIDE_NOT_TESTED, says).evidence(why));
        }
    }

    /// Every address that it would listen at, as far as others can come there; of many data ports the first ones.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let others = self.listeners.iter().filter(|l| !is_loopback(l.address));
        let mut addresses: Vec<SocketAddr> = others.map(|listener| listener.address).collect();
        if let (Data::Ports(first, last), Some(listener)) = (self.data, self.listeners.first())
            && !is_loopback(listener.address)
        {
            addresses.extend(
                (first..=last)
                    .take(MOST)
                    .map(|port| SocketAddr::new(listener.address.ip(), port)),
            );
        }
        addresses
    }

    /// The scheme of a port's URL; `None` for a data port.
    #[must_use]
    pub fn scheme(&self, address: SocketAddr) -> Option<&'static str> {
        let listener = self
            .listeners
            .iter()
            .find(|listener| listener.address == address)?;
        Some(match listener.speaks {
            Speaks::Ftp => "ftp",
            Speaks::Ftps => "ftps",
            Speaks::Sftp => "sftp",
        })
    }

    /// The number that the outside knows a port by.
    fn outside(&self, inside: u16) -> u16 {
        let forward = self.forwards.iter().find(|forward| forward.inside == inside);
        forward.map_or(inside, |forward| forward.outside)
    }

    fn table(&self, openings: &[Opening]) -> String {
        let mut rows: Vec<(String, String)> = Vec::new();
        for opening in openings {
            let hosts = match (opening.hosts.is_empty(), opening.ipv4_only) {
                (true, false) => String::new(),
                (true, true) => " (IPv4 only)".to_owned(),
                (false, _) => format!(" (at {} only)", written(&opening.hosts)),
            };
            rows.push((
                opening.numbers(),
                format!("in: {}{hosts}", opening.what(self.data)),
            ));
        }
        for relay in &self.relays {
            let there = relay.split_once(':').map_or(relay.as_str(), |(_, there)| there);
            rows.push((there.to_owned(), "out: the relay".to_owned()));
        }
        for server in &self.stun {
            rows.push((server.clone(), "out: a STUN server (UDP too)".to_owned()));
        }
        let width = rows.iter().map(|(port, _)| port.len()).max().unwrap_or(0);
        rows.iter()
            .map(|(port, what)| format!("{port:width$}  {what}\n"))
            .collect()
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// A name that the server is to listen at, and that has no address.
#[must_use]
pub fn unresolved(name: &str, error: &io::Error) -> Finding {
    Finding::new(&kinds::NAME_UNRESOLVED, format!("{name} does not resolve")).evidence(error.to_string())
}

/// What listening came to; `greeting` is what the server would say first, `runs` whether it runs with this state folder.
pub fn tell_attempts(attempts: &[Attempt], greeting: &str, runs: bool, report: &mut Report) {
    let is_taken = |attempt: &Attempt| matches!(&attempt.outcome, Err(error) if error.kind() == io::ErrorKind::AddrInUse);
    let mut free = Vec::new();
    let mut held = Vec::new();
    for attempt in attempts {
        let address = attempt.address;
        let Err(error) = &attempt.outcome else {
            free.push(address.to_string());
            continue;
        };
        if is_taken(attempt) && runs {
            held.push(address.to_string());
            continue;
        }
        let heard = attempt.heard.as_ref().map(|heard| format!("it says: {heard}"));
        if is_taken(attempt)
            && attempt
                .heard
                .as_ref()
                .is_some_and(|heard| heard.starts_with(greeting))
        {
            let says = format!("a server with this configuration's greeting listens at {address} already");
            report.add(Finding::new(&kinds::SERVER_ANSWERS, says).all_evidence(heard));
            continue;
        }
        let (kind, says) = match error.kind() {
            io::ErrorKind::AddrInUse => (
                &kinds::PORT_TAKEN,
                format!("another program listens at {address}"),
            ),
            io::ErrorKind::PermissionDenied => (
                &kinds::PORT_DENIED,
                format!("this user may not listen at {address}"),
            ),
            io::ErrorKind::AddrNotAvailable => (
                &kinds::ADDRESS_MISSING,
                format!("no interface of this machine has {}", address.ip()),
            ),
            _ => (
                &kinds::BIND_FAILED,
                format!("the server cannot listen at {address}"),
            ),
        };
        report.add(
            Finding::new(kind, says)
                .evidence(error.to_string())
                .all_evidence(heard),
        );
    }
    if !held.is_empty() {
        let says = format!("the server runs and listens at {}", held.join(", "));
        let evidence = "its state folder is locked, and the ports are taken";
        report.add(Finding::new(&kinds::SERVER_RUNNING, says).evidence(evidence));
    }
    if !free.is_empty() {
        let says = match runs {
            // What runs was started with another configuration.
            true => format!("the server runs, and listens not at {}", free.join(", ")),
            false => format!("the server can listen at {}", free.join(", ")),
        };
        let finding = Finding::new(&kinds::PORT_FREE, says).evidence("bound, and listened");
        report.add(match runs {
            true => finding
                .severity(Severity::Warning)
                .advice("restart the server, so that it listens where the configuration says now"),
            false => finding,
        });
    }
}

/// What the program that listens at `address` says first, within 2 s; made fit to be shown.
pub async fn heard(address: SocketAddr) -> Option<String> {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let dial = async {
        let mut stream = TcpStream::connect((ip, address.port())).await?;
        let mut line = vec![0; 200];
        let length = stream.read(&mut line).await?;
        line.truncate(length);
        io::Result::Ok(line)
    };
    let line = timeout(GREETING, dial).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&line);
    let first = text.lines().next()?;
    let shown: String = first.chars().filter(|c| !c.is_control()).collect();
    (!shown.is_empty()).then_some(shown)
}
