//! Prints the matrix, topology × client: `matrix [--large] [--relay|--relay-alone] [TOPOLOGY…]`.
#![allow(clippy::print_stdout, reason = "the matrix is this program's output")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use pasarela_lab::clients::CLIENTS;
use pasarela_lab::matrix::{Obstacle, Row, SIZES};
use pasarela_lab::site::Help;
use pasarela_testkit::lab::{self, TOPOLOGIES, Topology};

/// Networks that are up at once.
const AT_ONCE: usize = 2;
/// Wrong usage, or no lab runs here.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let (options, names): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|word| word.starts_with('-'));
    let (mut sizes, mut help) = (SIZES.to_vec(), Help::None);
    for option in options {
        match option.as_str() {
            "--large" => sizes.push(64 << 20),
            "--relay" => help = Help::Relay,
            "--relay-alone" => help = Help::RelayAlone,
            "--help" | "-h" => {
                println!("{}", usage());
                return ExitCode::SUCCESS;
            }
            _ => {
                eprintln!("{}", usage());
                return ExitCode::from(EXIT_USAGE);
            }
        }
    }
    let mut wanted: Vec<&'static Topology> = Vec::new();
    for name in &names {
        let Some(topology) = Topology::named(name) else {
            let known: Vec<&str> = TOPOLOGIES.iter().map(|topology| topology.name).collect();
            eprintln!("no topology {name}\nhint: there are {}", known.join(", "));
            return ExitCode::from(EXIT_USAGE);
        };
        wanted.push(topology);
    }
    if names.is_empty() {
        wanted.extend(TOPOLOGIES);
    }
    if let Some(why) = lab::unsupported() {
        eprintln!("no lab here: {why}");
        return ExitCode::from(EXIT_USAGE);
    }
    let start = Instant::now();
    head();
    let rows = run(&wanted, &sizes, help);
    foot(&rows, start)
}

fn usage() -> String {
    let topologies: String = TOPOLOGIES
        .iter()
        .map(|topology| format!("\n  {:10}  {}", topology.name, topology.what))
        .collect();
    format!(
        "usage: matrix [--large] [--relay|--relay-alone] [TOPOLOGY…]\n\n  \
         --large        files of 64 MiB too\n  \
         --relay        with a relay on the internet, and the bytes that it carries\n  \
         --relay-alone  the same, and the server is told nothing but the relay\n\nTopologies, all unless named:\n{topologies}"
    )
}

/// Runs a few rows at a time; prints each when it and all before it are there.
fn run(wanted: &[&'static Topology], sizes: &[usize], help: Help) -> Vec<Row> {
    let next = Mutex::new(0..wanted.len());
    let done: Mutex<(Vec<Option<Row>>, usize)> = Mutex::new((wanted.iter().map(|_| None).collect(), 0));
    let work = || {
        loop {
            let Some(number) = next.lock().ok().and_then(|mut numbers| numbers.next()) else {
                return;
            };
            let row = Row::run(wanted[number], sizes, help);
            let Ok(mut done) = done.lock() else { return };
            let (rows, printed) = &mut *done;
            rows[number] = Some(row);
            while let Some(row) = rows.get(*printed).and_then(Option::as_ref) {
                print(row);
                *printed += 1;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    let (rows, _) = done
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    rows.into_iter().flatten().collect()
}

fn head() {
    let names: String = CLIENTS
        .iter()
        .map(|client| format!("{:>11}", client.name))
        .collect();
    let wires: String = CLIENTS
        .iter()
        .map(|client| format!("{:>11}", if client.tls { "TLS" } else { "plain" }))
        .collect();
    println!(
        "{:10}  {:8} {:>8} {names}\n{:10}  {:8} {:>8} {wires}",
        "topology", "rung", "verified", "", "", ""
    );
}

fn print(row: &Row) {
    let verified = row
        .verified
        .map_or_else(|| "-".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
    let results = match &row.visits {
        Ok(visits) => visits
            .iter()
            .map(|visit| match visit {
                Ok(time) => format!("{:>9.1} s", time.as_secs_f64()),
                Err(_) => format!("{:>11}", "FAILED"),
            })
            .collect(),
        Err(Obstacle::Expected(why)) => format!("    none: {why}"),
        Err(Obstacle::Failed(_)) => "    FAILED".to_owned(),
    };
    let carried = row
        .carried
        .map_or_else(String::new, |bytes| format!("  {bytes:>9} B relayed"));
    println!(
        "{:10}  {:8} {verified:>8} {results}{carried}",
        row.topology.name, row.via
    );
}

fn foot(rows: &[Row], start: Instant) -> ExitCode {
    let visits = || rows.iter().filter_map(|row| row.visits.as_ref().ok()).flatten();
    println!(
        "\n{} of {} cells pass; {} cannot; {:.0} s",
        visits().filter(|visit| visit.is_ok()).count(),
        rows.len() * CLIENTS.len(),
        rows.iter()
            .filter(|row| matches!(row.visits, Err(Obstacle::Expected(_))))
            .count()
            * CLIENTS.len(),
        start.elapsed().as_secs_f64()
    );
    let failures: Vec<String> = rows.iter().flat_map(Row::failures).collect();
    for failure in &failures {
        println!("FAILED  {failure}");
    }
    ExitCode::from(u8::from(!failures.is_empty()))
}
