//! Steps in their order: each named and timed, and the first that fails is the last that runs.

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// One command with a name for the summary.
pub(crate) struct Step {
    name: &'static str,
    command: Command,
}

impl Step {
    pub(crate) fn new(name: &'static str, command: Command) -> Self {
        Self { name, command }
    }
}

/// `cargo WORD…`, with the cargo that runs us.
pub(crate) fn cargo(words: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words.split(' '));
    command
}

/// Runs the steps and says how long each took.
pub(crate) fn run(plan: Vec<Step>) -> ExitCode {
    let mut taken: Vec<String> = Vec::new();
    for Step { name, mut command } in plan {
        eprintln!("==> {name}");
        let start = Instant::now();
        let outcome = command.stdin(Stdio::null()).status();
        let time = seconds(start.elapsed());
        match outcome {
            Ok(status) if status.success() => {
                eprintln!("==> {name}: ok, {time}");
                taken.push(format!("{name} {time}"));
            }
            Ok(status) => return failed(name, &format!("{status}, after {time}"), &taken),
            Err(error) => return failed(name, &format!("{command:?}: {error}"), &taken),
        }
    }
    eprintln!("==> all ok: {}", taken.join(", "));
    ExitCode::SUCCESS
}

fn failed(name: &str, how: &str, before: &[String]) -> ExitCode {
    let before = if before.is_empty() {
        "nothing".to_owned()
    } else {
        before.join(", ")
    };
    eprintln!("==> FAILED: {name} ({how}); ok before it: {before}");
    ExitCode::FAILURE
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
