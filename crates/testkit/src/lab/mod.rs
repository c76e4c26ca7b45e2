//! A network in network namespaces, with the routers, NATs and firewalls that servers and clients sit behind.
//!
//! ```no_run
//! use pasarela_testkit::lab::{Lab, Role, Topology};
//!
//! let lab = Lab::up(Topology::named("remap").unwrap()).unwrap();
//! let server = lab.within(Role::Server, || std::net::TcpListener::bind("0.0.0.0:21")).unwrap();
//! let there = lab.addresses().control; // 11.9.0.20:2121
//! lab.within(Role::Client, || std::net::TcpStream::connect(there)).unwrap();
//! let (_, from) = server.accept().unwrap();
//! assert_eq!(from.ip(), lab.addresses().client_site);
//! ```
//!
//! Nothing of it is linked to the machine's own network: no packet leaves. Labs of any number and process run side by
//! side; each is gone with its value, together with every process in it. What a killed process left is removed when the
//! next lab is made.

mod addresses;
mod daemons;
mod host;
mod plan;
mod router;
mod topology;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

pub use addresses::{Addresses, PASSIVE_PORTS, TURN_ACCOUNT};
pub use daemons::Process;
pub use host::unsupported;
pub use plan::Role;
pub use router::Mapping;
pub use topology::{Ability, ClientSide, ServerSide, TOPOLOGIES, Topology};

use plan::Plan;
use router::{MAPPED, PINHOLES, TABLE};

/// A lab could not be built, or not be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// It cannot run here at all; see [`unsupported`].
    #[error("no lab here: {0}")]
    Unsupported(String),
    /// `ip`, `nft` or `conntrack` refused.
    #[error("{command} failed: {said}\n--- its input\n{input}")]
    Program {
        /// The command line.
        command: String,
        /// Its standard input.
        input: String,
        /// How it ended, and its standard error.
        said: String,
    },
    /// A namespace could not be entered.
    #[error("namespace {namespace}")]
    Namespace {
        /// Which one.
        namespace: String,
        /// Why.
        source: io::Error,
    },
    /// A daemon was started and does not answer.
    #[error("{daemon} does not answer")]
    Silent {
        /// Its program.
        daemon: &'static str,
    },
    /// Files and processes.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// What can happen to the server's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The provider gives the site another public address. Nothing else changes, and nobody is told.
    AddressChange,
    /// The routers start again, and have forgotten every flow and every mapping.
    RouterReboot,
    /// The routers forget every flow and every mapping, and map nothing more.
    MapperEnds,
    /// The routers map on request again, after [`Self::MapperEnds`].
    MapperStarts,
}

/// A topology that is up.
#[derive(Debug)]
pub struct Lab {
    topology: &'static Topology,
    /// What the names of its namespaces and of its folder begin with.
    id: String,
    plan: Plan,
    addresses: Addresses,
    coturns: Vec<Process>,
    miniupnpds: Vec<(Role, Process)>,
    state: TempDir,
}

impl Lab {
    /// Builds it; when this returns, its daemons answer.
    ///
    /// # Errors
    /// When it cannot run here, or something failed on the way; what was built is removed again.
    pub fn up(topology: &'static Topology) -> Result<Self, LabError> {
        static SWEEP: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if let Some(why) = unsupported() {
            return Err(LabError::Unsupported(why));
        }
        SWEEP.call_once(host::sweep);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{}-{number}", host::PREFIX, std::process::id());
        let mut lab = Self {
            topology,
            plan: Plan::of(topology),
            addresses: Addresses::of(topology),
            coturns: Vec::new(),
            miniupnpds: Vec::new(),
            state: tempfile::Builder::new().prefix(&format!("{id}-")).tempdir()?,
            id,
        };
        lab.build()?; // dropped, and so removed, when that fails
        Ok(lab)
    }

    fn build(&mut self) -> Result<(), LabError> {
        let roles: Vec<Role> = self.plan.nodes.keys().copied().collect();
        let names: String = roles
            .iter()
            .map(|role| format!("netns add {}\n", self.namespace(*role)))
            .collect();
        host::batch(None, &names)?;
        for role in &roles {
            self.try_within(*role, || set_up_kernel(*role))?;
        }
        // Both ends are made where they belong: the machine's own network never sees one.
        let wires: String = self
            .plan
            .wires
            .iter()
            .map(|[(one, here), (other, there)]| {
                format!(
                    "link add {here} netns {} type veth peer name {there} netns {}\n",
                    self.namespace(*one),
                    self.namespace(*other)
                )
            })
            .collect();
        host::batch(None, &wires)?;
        host::batch(
            Some(&self.namespace(Role::Internet)),
            &self.plan.nodes[&Role::Internet],
        )?;
        self.coturns = daemons::start_coturn(&self.namespace(Role::Internet), self.state.path())?;
        for (role, lines) in self
            .plan
            .nodes
            .iter()
            .filter(|(role, _)| **role != Role::Internet)
        {
            host::batch(Some(&self.namespace(*role)), lines)?;
        }
        for (role, router) in &self.plan.routers {
            host::load_rules(&self.namespace(*role), &router.rules())?;
        }
        self.start_miniupnpds()?;
        self.try_within(Role::Internet, daemons::wait_for_coturn)
    }

    fn start_miniupnpds(&mut self) -> Result<(), LabError> {
        for (role, _) in self
            .plan
            .routers
            .iter()
            .filter(|(_, router)| router.maps_on_request())
        {
            let gateway = match (role, self.addresses.outer_gateway) {
                (Role::Outer, Some(outer)) => outer,
                _ => daemons::home_gateway(),
            };
            let started =
                daemons::start_miniupnpd(&self.namespace(*role), role.word(), self.state.path(), gateway)?;
            self.miniupnpds.push((*role, started));
        }
        Ok(())
    }

    /// Which one it is.
    #[must_use]
    pub fn topology(&self) -> &'static Topology {
        self.topology
    }

    /// Who has which address now.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The nodes that this topology has.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        self.plan.nodes.keys().copied()
    }

    /// The name of a node's namespace, for `ip netns exec`.
    #[must_use]
    pub fn namespace(&self, role: Role) -> String {
        format!("{}-{}", self.id, role.word())
    }

    /// A program inside a node. It gets no standard input unless given one, and is ended with the lab at the latest.
    #[must_use]
    pub fn command(&self, role: Role, program: impl AsRef<OsStr>) -> Command {
        host::command(Some(&self.namespace(role)), program)
    }

    /// The words to put before a command line, for a program inside a node.
    #[must_use]
    pub fn prefix(&self, role: Role) -> [String; 4] {
        [
            "ip".to_owned(),
            "netns".to_owned(),
            "exec".to_owned(),
            self.namespace(role),
        ]
    }

    /// Runs work on a thread of its own inside a node. Sockets made there stay there, whoever uses them later; so do
    /// processes started there.
    ///
    /// # Panics
    /// When the work does, or this topology has no such node.
    pub fn within<T: Send>(&self, role: Role, work: impl FnOnce() -> T + Send) -> T {
        host::within(&self.namespace(role), work).unwrap_or_else(|error| panic!("{error:?}"))
    }

    fn try_within<E>(&self, role: Role, work: impl FnOnce() -> Result<(), E> + Send) -> Result<(), LabError>
    where
        E: Send,
        LabError: From<E>,
    {
        Ok(host::within(&self.namespace(role), work)??)
    }

    /// Makes something happen; when this returns, it has.
    ///
    /// # Errors
    /// When a program refuses.
    pub fn event(&mut self, event: Event) -> Result<(), LabError> {
        match event {
            Event::AddressChange => self.change_address(),
            Event::RouterReboot => {
                self.forget()?;
                self.start_miniupnpds()
            }
            Event::MapperEnds => self.forget(),
            Event::MapperStarts => self.start_miniupnpds(),
        }
    }

    fn change_address(&mut self) -> Result<(), LabError> {
        let (Some((role, interface)), IpAddr::V4(old)) = (self.plan.edge, self.addresses.public) else {
            return Err(LabError::Unsupported(
                "this site has no public IPv4 address".to_owned(),
            ));
        };
        let new = addresses::next(old);
        let internet = addresses::INTERNET;
        host::batch(
            Some(&self.namespace(role)),
            &format!(
                "address del {old}/24 dev {interface}\naddress add {new}/24 dev {interface}\n\
                 route replace default via {internet}\n"
            ),
        )?;
        if let Some(router) = self.plan.routers.get_mut(&role) {
            router.public = new;
            let rules = router.rules();
            if !self.miniupnpds.iter().any(|(at, _)| *at == role) {
                host::load_rules(&self.namespace(role), &rules)?;
            }
            self.forget_flows(role)?;
        }
        self.addresses.move_to(new.into());
        Ok(())
    }

    fn forget(&mut self) -> Result<(), LabError> {
        self.miniupnpds.clear();
        for (role, router) in self
            .plan
            .routers
            .iter()
            .filter(|(role, _)| **role != Role::ClientRouter)
        {
            host::load_rules(&self.namespace(*role), &router.rules())?;
            self.forget_flows(*role)?;
        }
        Ok(())
    }

    fn forget_flows(&self, role: Role) -> Result<(), LabError> {
        let mut conntrack = self.command(role, "conntrack");
        conntrack.arg("-F");
        host::feed(conntrack, "").map(drop)
    }

    /// What the routers in front of the server have mapped because somebody asked them to.
    ///
    /// # Errors
    /// When `nft` refuses.
    pub fn mappings(&self) -> Result<Vec<Mapping>, LabError> {
        let mut all = Vec::new();
        for (role, _) in &self.miniupnpds {
            for chain in [MAPPED, PINHOLES] {
                let mut nft = self.command(*role, "nft");
                nft.args(["--numeric", "list", "chain", "inet", TABLE, chain]);
                all.extend(router::mappings(&host::feed(nft, "")?));
            }
        }
        Ok(all)
    }

    /// What its daemons have logged, for messages.
    #[must_use]
    pub fn logs(&self) -> String {
        let files = fs::read_dir(self.state.path()).into_iter().flatten().flatten();
        let logs = files.filter(|file| file.path().extension() == Some(OsStr::new("log")));
        logs.map(|log| {
            let text = fs::read(log.path()).unwrap_or_default();
            format!(
                "--- {}\n{}",
                log.file_name().display(),
                String::from_utf8_lossy(&text)
            )
        })
        .collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.miniupnpds.clear();
        self.coturns.clear();
        let all: Vec<String> = self.roles().map(|role| self.namespace(role)).collect();
        host::remove(&all);
    }
}

/// Routers forward; nobody makes up addresses, and addresses hold at once.
fn set_up_kernel(role: Role) -> io::Result<()> {
    let set = |name: &str, value: &str| fs::write(Path::new("/proc/sys/net").join(name), value);
    for scope in ["all", "default"] {
        set(&format!("ipv6/conf/{scope}/accept_ra"), "0")?;
        set(&format!("ipv6/conf/{scope}/accept_dad"), "0")?;
    }
    if matches!(
        role,
        Role::Internet | Role::Outer | Role::Router | Role::ClientRouter
    ) {
        set("ipv4/ip_forward", "1")?;
        set("ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}
