//! `pasarela reach`: how this machine can be reached from outside, and why not otherwise.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use pasarela_doctor::climb::{Climb, Probe};
use pasarela_reach::Reach;
use pasarela_server::{Listener, Protocol};
use serde_json::Value;

use super::{Loaded, ServeFlags, print};
use crate::failure::{Failure, Kind, Problem};
use crate::{listen, log, reach_state, surroundings};

/// How often a running server's document is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The flags of `reach`.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    serve: ServeFlags,

    /// Print one JSON document a change instead of a table
    #[arg(long)]
    json: bool,

    /// Go on, and print again whenever something changes
    #[arg(long)]
    watch: bool,
}

/// Shows the ladder.
pub(crate) fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let Loaded { typed, .. } = flags.serve.load(&flags.serve.accounts()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::new(format!("cannot start: {error}")).fails(Kind::Other))?;
    let state_dir = surroundings::state_dir_in_use(typed.state_dir.as_deref());
    if let Some(dir) = &state_dir
        && let Some(document) = reach_state::of_running_server(dir)
    {
        return runtime.block_on(follow(flags, dir, document));
    }
    log::start(&typed)?;
    runtime.block_on(climb(flags, &typed))
}

/// Shows what a running server has found.
async fn follow(flags: &Flags, dir: &Path, mut document: Value) -> Result<ExitCode, Failure> {
    loop {
        flags.show(&document)?;
        if !flags.watch {
            return Ok(verdict(&document));
        }
        loop {
            tokio::time::sleep(LOOK).await;
            match reach_state::of_running_server(dir) {
                None => return Ok(verdict(&document)),
                Some(new) if new != document => {
                    document = new;
                    break;
                }
                Some(_) => {}
            }
        }
    }
}

/// Climbs the ladder for the ports that `serve` would listen on, without serving.
async fn climb(flags: &Flags, typed: &crate::config::typed::Typed) -> Result<ExitCode, Failure> {
    let reach = Reach::new(typed.plan());
    let mut changes = reach.changes();
    let probe = |listener: Listener| Probe {
        socket: listener.socket,
        scheme: listener.protocols.iter().next().map(|protocol| match protocol {
            Protocol::Ftp => "ftp",
            Protocol::Ftps => "ftps",
            Protocol::Sftp => "sftp",
        }),
    };
    let probes = listen::listeners(typed)?.into_iter().map(probe).collect();
    let climb =
        Climb::start(reach, probes).map_err(|error| Problem::new(error.to_string()).fails(Kind::Bind))?;
    climb.settled().await;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
        .map_err(|error| Problem::new(format!("signals: {error}")).fails(Kind::Other))?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| Problem::new(format!("signals: {error}")).fails(Kind::Other))?;
    let document = loop {
        changes.mark_unchanged();
        let document = reach_state::document(&climb.reports());
        flags.show(&document)?;
        if !flags.watch {
            break document;
        }
        tokio::select! {
            _ = changes.changed() => {}
            _ = interrupt.recv() => break document,
            _ = terminate.recv() => break document,
        }
    };
    climb.close().await;
    Ok(verdict(&document))
}

fn verdict(document: &Value) -> ExitCode {
    ExitCode::from(u8::from(document["reachable"] != Value::Bool(true)))
}

impl Flags {
    fn show(&self, document: &Value) -> Result<(), Failure> {
        if self.json {
            return print(&format!("{document}\n"));
        }
        print(&table(document))
    }
}

/// The ladder of each port, for a person.
fn table(document: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut text = String::new();
    for port in document["ports"].as_array().into_iter().flatten() {
        let verified = if port["verified"] == Value::Bool(true) {
            "verified"
        } else {
            "not proved from outside"
        };
        let _ = match port["url"].as_str() {
            Some(url) => writeln!(text, "port {}: {url}  ({verified})", port["port"]),
            None => writeln!(text, "port {}: no way in from outside was found", port["port"]),
        };
        let situation: Vec<String> = port["situation"]
            .as_array()
            .into_iter()
            .flatten()
            .map(word)
            .collect();
        let _ = writeln!(text, "  network: {}", situation.join(", "));
        let rows: Vec<[String; 5]> = port["rungs"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|rung| {
                let why = ["endpoint", "proof", "doubt", "reason"]
                    .into_iter()
                    .filter_map(|key| rung[key].as_str())
                    .collect::<Vec<_>>()
                    .join("  ");
                [
                    word(&rung["via"]),
                    word(&rung["how"]),
                    word(&rung["verdict"]),
                    format!("{} ms", rung["ms"]),
                    why,
                ]
            })
            .collect();
        let width = |column: usize| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths = [0, 1, 2, 3].map(width);
        for [via, how, verdict, took, why] in &rows {
            let [a, b, c, d] = widths;
            let _ = writeln!(text, "  {via:a$}  {how:b$}  {verdict:c$}  {took:>d$}  {why}");
        }
        for advice in port["advice"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            let _ = writeln!(text, "  hint: {advice}");
        }
    }
    if text.is_empty() {
        text.push_str("no port is published: the server listens on loopback only, or --reach is off\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_has_a_row_a_rung_and_says_what_to_do() {
        let document = json!({ "reachable": true, "ports": [{
            "port": 2121, "url": "ftp://11.9.0.20:2121", "verified": true, "situation": ["mapped"],
            "advice": ["do this"],
            "rungs": [
                { "via": "direct", "how": "IPv4", "verdict": "refused", "ms": 0, "reason": "not public" },
                { "via": "mapped", "how": "PCP", "verdict": "verified", "ms": 12,
                  "endpoint": "11.9.0.20:2121", "proof": "router-and-stun" },
            ],
        }]});
        let expected = "\
port 2121: ftp://11.9.0.20:2121  (verified)
  network: mapped
  direct  IPv4  refused    0 ms  not public
  mapped  PCP   verified  12 ms  11.9.0.20:2121  router-and-stun
  hint: do this
";
        assert_eq!(table(&document), expected);
    }
}
