//! The doctor against stock vsftpd in every network: it names the true cause wherever something fails.
//!
//! `golden/doctor.txt` has a line a cell. When what the doctor says is to change, run this with `PASARELA_GOLDEN=write`.
#![allow(clippy::unwrap_used, reason = "test code: a panic is its report")]

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Mutex, mpsc};

use pasarela_lab::doctor::{Name, Visit, examine, put_a_router_between};
use pasarela_lab::runs_here;
use pasarela_lab::vsftpd::{Passive, Vsftpd};
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
const ALG: Causes = &["passive.alg"];
const HAIRPIN: Causes = &["connect.hairpin"];
const PRIVATE: Causes = &["passive.address-private"];
const STALE: Causes = &["passive.address-other"];

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
    truth: Causes,
}

impl Cell {
    fn name(&self) -> String {
        let moved = if self.moved { " moved" } else { "" };
        format!("{} {}{moved}", self.topology, self.passive.word())
    }

    fn visit(&self) -> Visit {
        let mut lab =
            Lab::up(Topology::named(self.topology).unwrap()).unwrap_or_else(|error| panic!("{error}"));
        let _server = Vsftpd::start(&lab, self.passive);
        if self.moved {
            lab.event(Event::AddressChange).unwrap();
        }
        put_a_router_between(&lab);
        let there = lab.addresses().control;
        if self.topology == "dual" {
            let host = "ftp.example";
            let addresses = ["2a11:9:1::10".parse().unwrap(), there.ip()];
            let _name = Name::give(&lab, Role::Client, host, &addresses);
            return examine(&lab, Role::Client, &format!("ftp://{host}/"), &[]);
        }
        examine(&lab, Role::Client, &format!("ftp://{there}/"), &[])
    }
}

fn cells() -> VecDeque<Cell> {
    let cell = |topology, passive, moved, truth| Cell {
        topology,
        passive,
        moved,
        truth,
    };
    let mut cells = VecDeque::new();
    for (topology, default, tuned) in TRUTH {
        cells.push_back(cell(*topology, Passive::Default, false, *default));
        cells.push_back(cell(*topology, Passive::Tuned, false, *tuned));
    }
    cells.push_back(cell("fwd", Passive::Ports, false, PRIVATE));
    cells.push_back(cell("ipchange", Passive::Tuned, true, STALE));
    cells
}

fn run_all() -> Vec<(Cell, Visit)> {
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
                    report.send((cell, cell.visit())).unwrap();
                }
            });
        }
    });
    drop(report);
    let mut visits: Vec<_> = visits.into_iter().collect();
    visits.sort_by_key(|(cell, _)| names.iter().position(|name| *name == cell.name()));
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
    for (cell, visit) in &visits {
        writeln!(table, "{:18} {}", cell.name(), visit.line()).unwrap();
        if !cell.truth.contains(&visit.id()) {
            let told = format!("{}: {}\n{}", cell.name(), visit.line(), visit.lines);
            let list = if visit.is_certain() {
                &mut confidently_wrong
            } else {
                &mut wrong
            };
            list.push(told);
        }
    }
    println!("{table}");
    assert!(
        confidently_wrong.is_empty(),
        "confidently wrong:\n{}",
        confidently_wrong.join("\n")
    );
    let failing = visits.iter().filter(|(cell, _)| cell.truth != NOTHING).count();
    assert!(
        wrong.len() * 20 <= failing,
        "{} of {failing} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );

    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/doctor.txt");
    if std::env::var("PASARELA_GOLDEN").as_deref() == Ok("write") {
        std::fs::write(&golden, &table).unwrap();
    }
    if std::env::var_os("PASARELA_CELLS").is_none() {
        assert_eq!(table, std::fs::read_to_string(&golden).unwrap());
    }
}
