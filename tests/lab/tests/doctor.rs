//! The doctor against stock vsftpd in every network: it names the true cause wherever something fails.
//!
//! `golden/doctor-vsftpd.txt` has a line a cell. `PASARELA_BLESS=1` writes it anew; look at the difference before it is kept.
#![allow(clippy::unwrap_used, reason = "test code: a panic is its report")]

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Mutex, mpsc};

use pasarela_lab::doctor::{Name, Visit, examine, put_a_router_between};
use pasarela_lab::site::stun_servers;
use pasarela_lab::vsftpd::{Passive, Vsftpd};
use pasarela_lab::{lab, runs_here};
use pasarela_testkit::Pasarela;
use pasarela_testkit::lab::{Event, Lab, Role, Topology};

/// Labs at once; each waits for silence most of the time.
const AT_ONCE: usize = 6;

/// What is wrong in a cell.
type Causes = &'static [&'static str];

const NOTHING: Causes = &["-"];
/// A NAT, carrier's or not, in front of a server that nobody forwards anything to. From outside all of them look the same.
const CLOSED: Causes = &["connect.silent"];
const NOT_FORWARDED: Causes = &["passive.not-forwarded"];
const CLIENT_FIREWALL: Causes = &["passive.client-firewall"];
const CONTROL_PORT: Causes = &["connect.client-firewall"];
const ALG: Causes = &["passive.alg"];
const HAIRPIN: Causes = &["connect.hairpin"];
const PRIVATE: Causes = &["passive.address-private"];
const STALE: Causes = &["passive.address-other"];

/// What the doctor finds on the server's own machine, where nothing of it can be seen from outside.
const AT_SERVER: &[(&str, &str)] = &[
    ("upnp", "network.mapping-pcp"),
    ("cone", "network.nat-full-cone"),
    ("plain", "network.nat-port-restricted"),
    ("cgnat", "network.carrier-nat"),
    ("cgnat2", "network.carrier-nat"),
    ("plain2", "network.nat-port-restricted"),
    ("double", "network.double-nat"),
    ("doubleupnp", "network.double-nat"),
];

/// What is true in each network: with vsftpd as it comes, and as every guide says it should be set up behind a NAT.
const TRUTH: &[(&str, Causes, Causes)] = &[
    ("pub", NOTHING, NOTHING),
    ("fwd", NOT_FORWARDED, NOTHING),
    ("remap", NOT_FORWARDED, NOT_FORWARDED),
    ("upnp", CLOSED, CLOSED),
    ("cone", CLOSED, CLOSED),
    ("plain", CLOSED, CLOSED),
    ("cgnat", CLOSED, CLOSED),
    ("cgnat2", CLOSED, CLOSED),
    ("plain2", CLOSED, CLOSED),
    ("double", CLOSED, CLOSED),
    ("doublefwd", NOT_FORWARDED, NOTHING),
    ("doubleupnp", CLOSED, CLOSED),
    ("hairoff", HAIRPIN, HAIRPIN),
    ("hairon", NOT_FORWARDED, NOTHING),
    ("clifw", CLIENT_FIREWALL, CLIENT_FIREWALL),
    ("clifwnat", CLIENT_FIREWALL, CLIENT_FIREWALL),
    ("algsrv", ALG, ALG),
    ("algcli", NOTHING, NOTHING),
    ("v6", &["connect.ipv6-firewall"], &["connect.ipv6-firewall"]),
    // Behind an IPv6 socket vsftpd announces 0.0.0.0 whatever it is told to.
    (
        "dual",
        NOT_FORWARDED,
        &["passive.address-unspecified", "families.ipv6-fails"],
    ),
    ("ipchange", NOT_FORWARDED, NOTHING),
];

#[derive(Debug, Clone, Copy)]
struct Cell {
    topology: &'static str,
    passive: Passive,
    /// Whether the public address has changed since vsftpd was set up.
    moved: bool,
    /// The port that is asked for, where it is another one than the server's.
    port: Option<u16>,
    /// What else stands in the way.
    firewall: Option<Firewall>,
    truth: Causes,
}

/// Stops connections to high ports.
#[derive(Debug, Clone, Copy)]
struct Firewall {
    name: &'static str,
    at: Role,
    /// The chain that it hooks into, and what becomes of a packet.
    hook: &'static str,
    verdict: &'static str,
}

const FIREWALLS: &[(Firewall, Causes)] = &[
    (
        firewall("server drops", Role::Server, "input", "drop"),
        &["passive.server-firewall"],
    ),
    (
        firewall(
            "server rejects",
            Role::Server,
            "input",
            "reject with icmpx type admin-prohibited",
        ),
        &["passive.server-firewall"],
    ),
    (
        firewall(
            "client rejects",
            Role::ClientRouter,
            "forward",
            "reject with icmpx type admin-prohibited",
        ),
        CLIENT_FIREWALL,
    ),
    (
        firewall(
            "client resets",
            Role::ClientRouter,
            "forward",
            "reject with tcp reset",
        ),
        CLIENT_FIREWALL,
    ),
];

const fn firewall(name: &'static str, at: Role, hook: &'static str, verdict: &'static str) -> Firewall {
    Firewall {
        name,
        at,
        hook,
        verdict,
    }
}

impl Firewall {
    fn build(&self, lab: &Lab) {
        let Self { hook, verdict, .. } = self;
        let rules = format!(
            "table inet firewall {{ chain high {{ type filter hook {hook} priority -10; \
             tcp dport 1024-65535 ct state new {verdict}; }}; }};"
        );
        let mut nft = lab.command(self.at, "nft");
        nft.arg(rules);
        assert!(nft.status().unwrap().success());
    }
}

/// What was said in a cell.
struct Told {
    cell: Cell,
    there: Visit,
    /// On the server's machine.
    here: Option<Visit>,
}

impl Cell {
    fn name(&self) -> String {
        let moved = if self.moved { " moved" } else { "" };
        let port = self.port.map(|port| format!(" :{port}")).unwrap_or_default();
        if let Some(firewall) = self.firewall {
            return format!("{} {}{port}", self.topology, firewall.name);
        }
        format!("{} {}{moved}{port}", self.topology, self.passive.word())
    }

    fn visit(self) -> Told {
        let mut lab =
            Lab::up(Topology::named(self.topology).unwrap()).unwrap_or_else(|error| panic!("{error}"));
        let _server = Vsftpd::start(&lab, self.passive);
        if self.moved {
            lab.event(Event::AddressChange).unwrap();
        }
        put_a_router_between(&lab);
        if let Some(firewall) = self.firewall {
            firewall.build(&lab);
        }
        let mut there = lab.addresses().control;
        there.set_port(self.port.unwrap_or(there.port()));
        let visit = if self.topology == "dual" {
            let host = "ftp.example";
            let addresses = ["2a11:9:1::10".parse().unwrap(), there.ip()];
            let _name = Name::give(&lab, Role::Client, host, &addresses);
            examine(&lab, Role::Client, &[&format!("ftp://{host}/")])
        } else {
            examine(&lab, Role::Client, &[&format!("ftp://{there}/")])
        };
        let is_closed = AT_SERVER.iter().any(|(topology, _)| *topology == self.topology);
        let here = (is_closed && self.passive == Passive::Default).then(|| {
            let stun = stun_servers(&lab)
                .into_iter()
                .map(|server| format!("--stun={server}"));
            let words: Vec<_> = stun.collect();
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            examine(&lab, Role::Server, &words)
        });
        Told {
            cell: self,
            there: visit,
            here,
        }
    }
}

fn cells() -> VecDeque<Cell> {
    let cell = |topology, passive, moved, truth| Cell {
        topology,
        passive,
        moved,
        port: None,
        firewall: None,
        truth,
    };
    let mut cells = VecDeque::new();
    for (topology, default, tuned) in TRUTH {
        cells.push_back(cell(*topology, Passive::Default, false, *default));
        cells.push_back(cell(*topology, Passive::Tuned, false, *tuned));
    }
    cells.push_back(cell("fwd", Passive::Ports, false, PRIVATE));
    cells.push_back(cell("ipchange", Passive::Tuned, true, STALE));
    cells.push_back(Cell {
        port: Some(2121),
        ..cell("clifw", Passive::Default, false, CONTROL_PORT)
    });
    // The server's own firewall, whose hole is for another port.
    cells.push_back(Cell {
        port: Some(2121),
        firewall: Some(firewall("server drops", Role::Server, "input", "drop")),
        ..cell("pub", Passive::Default, false, &["connect.server-firewall"])
    });
    cells.extend(FIREWALLS.iter().map(|(firewall, truth)| Cell {
        firewall: Some(*firewall),
        ..cell("pub", Passive::Default, false, *truth)
    }));
    cells
}

fn run_all() -> Vec<Told> {
    let only = std::env::var("PASARELA_CELLS").ok();
    let mut cells = cells();
    if let Some(only) = &only {
        cells.retain(|cell| only.split(',').any(|name| cell.name().starts_with(name)));
    }
    let names: Vec<_> = cells.iter().map(Cell::name).collect();
    let (queue, (report, visits)) = (Mutex::new(cells), mpsc::channel());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let (queue, report) = (&queue, report.clone());
            scope.spawn(move || {
                loop {
                    let next = queue.lock().unwrap().pop_front();
                    let Some(cell) = next else { return };
                    report.send(cell.visit()).unwrap();
                }
            });
        }
    });
    drop(report);
    let mut visits: Vec<_> = visits.into_iter().collect();
    visits.sort_by_key(|told| names.iter().position(|name| *name == told.cell.name()));
    visits
}

#[test]
fn the_true_cause_is_named_in_every_failing_cell() {
    if !runs_here() {
        return;
    }
    let visits = run_all();
    let mut table = String::new();
    let (mut wrong, mut confidently_wrong) = (Vec::new(), Vec::new());
    for Told { cell, there, here } in &visits {
        writeln!(table, "{:21} {}", cell.name(), there.line()).unwrap();
        if !cell.truth.contains(&there.id()) {
            let told = format!("{}: {}\n{}", cell.name(), there.line(), there.lines);
            let list = match there.is_certain() {
                true => &mut confidently_wrong,
                false => &mut wrong,
            };
            list.push(told);
        }
        if cell.passive != Passive::Tuned || cell.moved {
            for line in there.evidence() {
                writeln!(table, "{:21} - {line}", "").unwrap();
            }
        }
        let Some(here) = here else { continue };
        writeln!(table, "{:21} {}", "  at the server", here.line()).unwrap();
        let (_, expected) = AT_SERVER
            .iter()
            .find(|(topology, _)| *topology == cell.topology)
            .unwrap();
        if !here.has(expected) {
            wrong.push(format!(
                "{}, no {expected} at the server:\n{}",
                cell.name(),
                here.lines
            ));
        }
    }
    eprintln!("{table}");
    assert!(
        confidently_wrong.is_empty(),
        "confidently wrong:\n{}",
        confidently_wrong.join("\n")
    );
    let failing = visits.iter().filter(|told| told.cell.truth != NOTHING).count();
    assert!(
        wrong.len() * 20 <= failing,
        "{} of {failing} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );

    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/doctor-vsftpd.txt");
    if std::env::var_os("PASARELA_BLESS").is_some() {
        std::fs::write(&golden, &table).unwrap();
    }
    if std::env::var_os("PASARELA_CELLS").is_none() {
        assert_eq!(table, std::fs::read_to_string(&golden).unwrap());
    }
}

/// Behind a gateway that rewrites, a server of ours repeats by STAT what it said and heard itself.
#[test]
fn a_server_of_ours_shows_what_is_rewritten_on_the_way() {
    for (topology, id) in [("algsrv", "rewriting.passive"), ("algcli", "rewriting.active")] {
        let Some(lab) = lab(topology) else { return };
        let _server = Pasarela::setup()
            .listen("[::]:21")
            .under(lab.prefix(Role::Server))
            .arguments(["--tls", "optional", "--anonymous", "--reach", "off"])
            .start();
        let visit = examine(
            &lab,
            Role::Client,
            &[&format!("ftp://{}/", lab.addresses().control)],
        );
        assert!(visit.has(id), "{topology}: {}", visit.lines);
        assert_eq!(visit.exit_code, 0, "{topology}: {}", visit.lines);
    }
}
