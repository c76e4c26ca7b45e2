//! Development tasks: `cargo xtask test [--fast]` and `cargo xtask deny`.

mod packages;
mod steps;

use std::process::ExitCode;

use steps::{Step, cargo};

const USAGE: &str = "\
usage: cargo xtask TASK

  test          what continuous integration runs: installs the clients that tests need (Debian), then format,
                lints, unit tests, conformance tests, and every client against the built server
  test --fast   the same without the clients: installs nothing, skips interop
  deny          licences, bans and sources of dependencies, with cargo-deny";

/// Wrong usage, or something is missing that only a person can install.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => test(false),
        ["test", "--fast"] => test(true),
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
    let mut plan = vec![
        Step::new("format", cargo("fmt --all --check")),
        Step::new("lints", cargo("clippy --workspace --all-targets -- -D warnings")),
        Step::new(
            "unit tests",
            cargo("test --workspace --exclude pasarela-conformance --exclude pasarela-interop"),
        ),
        Step::new("build", cargo("build -p pasarela")),
        Step::new("conformance", cargo("test -p pasarela-conformance")),
    ];
    if !fast {
        plan.push(Step::new(
            "interop",
            cargo("test -p pasarela-interop -- --test-threads=2"),
        ));
    }
    steps::run(plan)
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
