//! A server in its network: what its operator says, and where it can be reached then.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use pasarela_testkit::lab::{Ability, Lab, Role, Topology};
use pasarela_testkit::{Pasarela, Setup, pasarela_binary};

use crate::relay::LabRelay;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// How long the server may take until it says how it can be reached.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long it may take until it has repaired what an event broke.
const REPAIR: Duration = Duration::from_secs(120);

/// The word for the relay's rung.
pub const RELAYED: &str = "relayed";

/// Whether somebody outside helps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Help {
    /// Nobody.
    #[default]
    None,
    /// A relay of ours, beside all that the operator says anyway.
    Relay,
    /// The same, and its URL is all that the operator says.
    RelayAlone,
}

/// How a topology lets strangers in to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// On its own address.
    Direct,
    /// On a forward that the operator has made and names.
    Fixed,
    /// On a mapping that the server asks the router for.
    Mapped,
    /// On the port that the NAT gives to a connection which the server holds open.
    Punched,
    /// Not at all, without somebody outside who helps.
    Closed(&'static str),
}

impl Way {
    /// The word for it in the server's log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fixed => "fixed",
            Self::Mapped => "mapped",
            Self::Punched => "punched",
            Self::Closed(_) => "-",
        }
    }

    /// Why there is nothing to run.
    #[must_use]
    pub fn obstacle(self) -> Option<&'static str> {
        match self {
            Self::Closed(why) => Some(why),
            _ => None,
        }
    }
}

/// The best that each topology allows.
const WAYS: &[(&str, Way)] = &[
    ("pub", Way::Direct),
    ("fwd", Way::Fixed),
    ("remap", Way::Fixed),
    ("upnp", Way::Mapped),
    ("cone", Way::Punched),
    (
        "plain",
        Way::Closed("the NAT lets in only whom the server has spoken to"),
    ),
    ("cgnat", Way::Closed("the carrier's NAT lets in nobody")),
    ("cgnat2", Way::Closed("the carrier's NAT lets in nobody")),
    (
        "plain2",
        Way::Closed("the NAT lets in only whom the server has spoken to"),
    ),
    (
        "double",
        Way::Closed("the outer router forwards nothing and cannot be asked"),
    ),
    ("doublefwd", Way::Fixed),
    ("doubleupnp", Way::Mapped),
    (
        "hairoff",
        Way::Closed("the router sends nothing for its public address back into the LAN"),
    ),
    ("hairon", Way::Fixed),
    ("clifw", Way::Direct),
    ("clifwnat", Way::Fixed),
    ("algsrv", Way::Fixed),
    ("algcli", Way::Direct),
    ("v6", Way::Mapped),
    ("dual", Way::Fixed),
    ("ipchange", Way::Fixed),
];

/// The best that a topology allows.
///
/// # Panics
/// When it has no line in the table.
#[must_use]
pub fn way(topology: &Topology) -> Way {
    let found = WAYS.iter().find(|(name, _)| *name == topology.name);
    found.unwrap_or_else(|| panic!("no way for {}", topology.name)).1
}

/// A server that runs in its network.
#[derive(Debug)]
pub struct Site {
    /// The server; goes before its network does.
    pub server: Pasarela,
    /// The relay that helps it.
    pub relay: Option<LabRelay>,
    /// Its network.
    pub lab: Lab,
    /// Where clients reach it.
    pub there: SocketAddr,
    /// The rung that it says it uses.
    pub via: String,
    /// How long it took until it said so.
    pub verified: Option<Duration>,
}

impl Site {
    /// Starts the server with what an operator of this topology would say, and waits until it knows how it is reached.
    /// Where this topology's client has no use for that, it is the relay's address that stands beside it.
    ///
    /// # Errors
    /// When it does not say so in time.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(lab: Lab) -> Result<Self, String> {
        Self::start_with(lab, Help::None)
    }

    /// The same with somebody's help.
    ///
    /// # Errors
    /// As [`Self::start`].
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_with(lab: Lab, help: Help) -> Result<Self, String> {
        let relay = (help != Help::None).then(|| LabRelay::start(&lab));
        let setup = Self::setup(&lab, help, relay.as_ref());
        let start = Instant::now();
        let server = setup.start();
        let (there, via) = server
            .wait_for_log(PATIENCE, reachable)
            .ok_or_else(|| format!("not reachable in {PATIENCE:?}; it said:\n{}", server.log()))?;
        let verified = Some(start.elapsed());
        let mut site = Self {
            server,
            relay,
            lab,
            there,
            via,
            verified,
        };
        if site.relay.is_some() && site.via != RELAYED && way(site.lab.topology()).obstacle().is_some() {
            (site.there, site.via) = (site.standby()?, RELAYED.to_owned());
        }
        Ok(site)
    }

    /// The address that the relay lends for port 21, as the ladder of the running server shows it, whatever is better.
    ///
    /// # Errors
    /// What the ladder shows instead, when it does not show one in time.
    pub fn standby(&self) -> Result<SocketAddr, String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let told = self.told();
            if let Some(there) = told.as_ref().and_then(lent) {
                return Ok(there);
            }
            if Instant::now() > end {
                return Err(format!("no address of a relay stands: {told:?}"));
            }
            std::thread::sleep(Duration::from_millis(100)); // a file cannot be waited for
        }
    }

    /// What `pasarela reach --json` says of the running server; nothing before it has come to anything.
    #[must_use]
    pub fn told(&self) -> Option<serde_json::Value> {
        let certificate = self.server.certificate();
        let mut command = self.lab.command(Role::Server, pasarela_binary());
        command.args(["reach", "--json", "--listen", "[::]:21", "--state-dir"]);
        command.arg(certificate.parent()?).stdin(Stdio::null());
        serde_json::from_slice(&command.output().ok()?.stdout).ok()
    }

    fn setup(lab: &Lab, help: Help, relay: Option<&LabRelay>) -> Setup {
        let (topology, addresses) = (lab.topology(), lab.addresses());
        let way = way(topology);
        let mut setup = Pasarela::setup()
            .listen("[::]:21")
            .implicit_at("[::]:990")
            .under(lab.prefix(Role::Server))
            .arguments(["--tls", "optional"]);
        if let Some(relay) = relay {
            setup = setup.arguments(["--relay", relay.url()]);
        }
        if help == Help::RelayAlone {
            return setup;
        }
        setup = setup.arguments(["--data-ports", "control"]);
        // Where the address changes, nobody would name it.
        if way == Way::Fixed && topology.name != "ipchange" {
            setup = setup.arguments(["--public-address", &addresses.public.to_string()]);
        }
        if topology.server_side_has(Ability::Remap) || ["doubleupnp", "ipchange"].contains(&topology.name) {
            let forwards = [(addresses.control, 21), (addresses.implicit, 990)];
            let forwards = forwards
                .map(|(outside, inside)| format!("{{ outside = {}, inside = {inside} }}", outside.port()));
            setup = setup.config(&format!("[reach]\nforward = [{}]\n", forwards.join(", ")));
        }
        setup = setup.arguments(["--reach", "auto"]);
        for server in stun_servers(lab) {
            setup = setup.arguments(["--stun", &server.to_string()]);
        }
        setup
    }
}

impl Site {
    /// Waits until the server says that it is reachable there.
    ///
    /// # Errors
    /// What it said instead.
    pub fn wait_until_reachable_at(&mut self, there: SocketAddr) -> Result<(), String> {
        self.wait_until_reachable_again(there, 0)
    }

    /// The same, said after its first `lines` lines.
    ///
    /// # Errors
    /// What it said instead.
    pub fn wait_until_reachable_again(&mut self, there: SocketAddr, lines: usize) -> Result<(), String> {
        let found = |line: &str| reachable(line).filter(|(address, _)| *address == there);
        let (there, via) = self
            .server
            .wait_for_later_log(lines, REPAIR, found)
            .ok_or_else(|| {
                format!(
                    "not reachable at {there} in {REPAIR:?}; it said:\n{}",
                    self.server.log()
                )
            })?;
        (self.there, self.via) = (there, via);
        Ok(())
    }

    /// Bytes that went through the relay so far; `None` without one.
    #[must_use]
    pub fn carried(&self) -> Option<u64> {
        self.relay.as_ref().map(LabRelay::carried)
    }

    /// Ends the server without a warning; its folders stay.
    ///
    /// # Panics
    /// When there is none to end.
    pub fn kill_server(&self) {
        let pid = i32::try_from(self.server.process())
            .ok()
            .and_then(Pid::from_raw)
            .unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        let ended = |pid| test_kill_process(pid).is_err() || is_zombie(pid);
        while !ended(pid) {
            std::thread::yield_now();
        }
    }

    /// What `pasarela reach --json` says with the server's state folder, for a listener at `listen`.
    ///
    /// # Panics
    /// When it says nothing that can be read.
    #[must_use]
    pub fn ladder(&self, listen: &str) -> serde_json::Value {
        let state = self.server.certificate();
        ladder(
            &self.lab,
            &[
                OsStr::new("--listen"),
                OsStr::new(listen),
                OsStr::new("--state-dir"),
                state.parent().unwrap().as_os_str(),
            ],
        )
    }
}

/// What `pasarela reach --json` says in the server's place, with the STUN servers of the lab.
///
/// # Panics
/// When it says nothing that can be read.
#[must_use]
pub fn ladder(lab: &Lab, arguments: &[&OsStr]) -> serde_json::Value {
    let mut command = lab.command(Role::Server, pasarela_binary());
    command.args(["reach", "--json"]).args(arguments);
    for server in stun_servers(lab) {
        command.arg("--stun").arg(server.to_string());
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The lab's STUN servers, as far as its server side has addresses of their family.
#[must_use]
pub fn stun_servers(lab: &Lab) -> Vec<SocketAddr> {
    let addresses = lab.addresses();
    let mut servers = vec![addresses.stun];
    if addresses.stun.is_ipv4() {
        servers.push(SocketAddr::new(addresses.stun_other.ip(), addresses.stun.port()));
    }
    servers
}

/// The address that a relay lends for port 21, in what `pasarela reach --json` says.
fn lent(told: &serde_json::Value) -> Option<SocketAddr> {
    let mut ports = told["ports"].as_array()?.iter();
    let port = ports.find(|port| port["port"] == 21)?;
    let mut rungs = port["rungs"].as_array()?.iter();
    let rung = rungs.find(|rung| rung["via"] == RELAYED && rung["verdict"] == "verified")?;
    rung["endpoint"].as_str()?.parse().ok()
}

fn is_zombie(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| {
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
    })
}

/// Address and rung of a line `… reachable url=ftp://ADDRESS via=RUNG …`.
fn reachable(line: &str) -> Option<(SocketAddr, String)> {
    let field = |name: &str| {
        let value = line.split_whitespace().find_map(|word| word.strip_prefix(name))?;
        Some(value.trim_matches('"'))
    };
    line.split_whitespace().find(|word| *word == "reachable")?;
    let address = field("url=")?.strip_prefix("ftp://")?.trim_end_matches('/');
    let address = if address
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        address.to_owned()
    } else {
        format!("{address}:21")
    };
    Some((address.parse().ok()?, field("via=")?.to_owned()))
}

#[cfg(test)]
mod tests {
    use pasarela_testkit::lab::TOPOLOGIES;

    use super::*;

    #[test]
    fn every_topology_has_a_way_and_no_other_has() {
        assert_eq!(WAYS.len(), TOPOLOGIES.len());
        for topology in TOPOLOGIES {
            let _ = way(topology);
        }
    }

    #[test]
    fn address_and_rung_are_read_from_the_log() {
        for (line, there) in [
            (
                "INFO reachable url=ftp://11.9.0.20:40021 via=mapped verified=true",
                "11.9.0.20:40021",
            ),
            (
                "INFO serve: reachable url=\"ftp://11.9.0.20/\" via=\"mapped\"",
                "11.9.0.20:21",
            ),
            (
                "INFO reachable url=ftp://[2a11:9:1::10]:21 via=mapped",
                "[2a11:9:1::10]:21",
            ),
        ] {
            assert_eq!(
                reachable(line),
                Some((there.parse().unwrap(), "mapped".to_owned())),
                "{line}"
            );
        }
        assert_eq!(
            reachable("INFO reachable url=ftps://11.9.0.20:990 via=mapped"),
            None
        );
        assert_eq!(
            reachable("WARN unreachable url=ftp://11.9.0.20:21 via=mapped"),
            None
        );
    }
}
