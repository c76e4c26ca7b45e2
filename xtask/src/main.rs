//! Development tasks: `cargo xtask test [--fast]`, `cargo xtask lab [--relay] [TOPOLOGY…]`, `cargo xtask bench [CASE…]` and
//! `cargo xtask deny`.

mod packages;
mod steps;

use std::process::ExitCode;

use steps::{Step, cargo};

const USAGE: &str = "\
usage: cargo xtask TASK

  test          what continuous integration runs: installs the clients that tests need (Debian), then format,
                lints, unit tests, conformance tests, every client against the built server, and that behind
                routers, NATs and firewalls (network namespaces: root, or sudo that asks no password)
  test --fast   the same without the clients: installs nothing, skips interop and lab
  lab [--relay] [TOPOLOGY…]
                the reachability matrix, network topology by client, printed; `lab --help` lists the topologies
  bench [CASE…] ours and Debian's servers under the same load in turn, as tables and JSON lines; `bench --help` has
                the options, docs/performance.md says what the tables mean
  deny          licences, bans and sources of dependencies, with cargo-deny";

/// Wrong usage, or something is missing that only a person can install.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => test(false),
        ["test", "--fast"] => test(true),
        ["lab", ref words @ ..] => lab(words),
        ["bench", ref words @ ..] => bench(words),
        ["deny"] => deny(),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn test(fast: bool) -> ExitCode {
    let (needed, why) = if fast {
        (packages::BUILD, "building")
    } else {
        (packages::ALL, "the tests")
    };
    if let Err(missing) = packages::ensure(needed, !fast) {
        eprintln!("{missing}\nhint: install what is missing for {why}, then run this again");
        return ExitCode::from(EXIT_USAGE);
    }
    if !fast && let Err(failed) = packages::unpack(packages::TESTED) {
        eprintln!("{failed}\nhint: the servers that our client is tried against come from Debian's archive");
        return ExitCode::from(EXIT_USAGE);
    }
    let mut plan = vec![
        Step::new("format", cargo("fmt --all --check")),
        Step::new("lints", cargo("clippy --workspace --all-targets -- -D warnings")),
        Step::new(
            "unit tests",
            cargo(
                "test --workspace --exclude pasarela-conformance --exclude pasarela-interop --exclude pasarela-lab",
            ),
        ),
        Step::new("build", cargo("build -p pasarela")),
        Step::new("conformance", cargo("test -p pasarela-conformance")),
        // That it works; what it says of a build for debugging means nothing.
        Step::new("benchmark", cargo("run --quiet -p pasarela-bench -- --quick")),
    ];
    if !fast {
        plan.push(Step::new(
            "interop",
            cargo("test -p pasarela-interop -- --test-threads=2"),
        ));
        plan.push(Step::new(
            "lab",
            cargo(&format!("test{} -p pasarela-lab -- --test-threads=2", runner())),
        ));
    }
    steps::run(plan)
}

/// Everything built by us; the program alone runs as root.
fn lab(words: &[&str]) -> ExitCode {
    if let Err(missing) = packages::ensure(packages::ALL, true) {
        eprintln!("{missing}\nhint: install what is missing for the lab, then run this again");
        return ExitCode::from(EXIT_USAGE);
    }
    let mut matrix = cargo(&format!(
        "run --quiet{} -p pasarela-lab --bin matrix --",
        runner()
    ));
    matrix.args(words);
    steps::run(vec![
        Step::new("build", cargo("build -p pasarela")),
        Step::new("lab", matrix),
    ])
}

/// Built for release. Servers that cannot be had are left out, and said to be.
fn bench(words: &[&str]) -> ExitCode {
    if let Err(missing) = packages::ensure(packages::BUILD, true) {
        eprintln!("{missing}\nhint: install what is missing for building, then run this again");
        return ExitCode::from(EXIT_USAGE);
    }
    let peers = packages::ensure(packages::PEERS, true);
    for missing in [peers, packages::unpack(packages::MEASURED)] {
        if let Err(missing) = missing {
            eprintln!("{missing}\nhint: whoever is missing is not measured");
        }
    }
    let mut bench = cargo(&format!("run --quiet --release{} -p pasarela-bench --", runner()));
    bench.args(words);
    steps::run(vec![
        Step::new("build", cargo("build --release -p pasarela")),
        Step::new("bench", bench),
    ])
}

/// Words for cargo that make it run what it has built as root, where we are not root and can be without a question.
fn runner() -> &'static str {
    match packages::as_root() {
        Some([_, ..]) => r#" --config target."cfg(unix)".runner=["sudo","-n","-E"]"#,
        _ => "",
    }
}

fn deny() -> ExitCode {
    if !packages::on_path("cargo-deny") {
        eprintln!("cargo-deny is not installed\nhint: cargo install --locked cargo-deny");
        return ExitCode::from(EXIT_USAGE);
    }
    steps::run(vec![Step::new(
        "deny",
        cargo("deny --offline check licenses bans sources"),
    )])
}
