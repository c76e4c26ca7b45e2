//! `pasarela config`: a configuration checked, shown with where each value comes from, or printed to begin with.

use std::fmt::Write as _;

use clap::Subcommand;

use super::{Complete, Loaded, ServeFlags, print};
use crate::certificate;
use crate::config::WITH_CREDENTIALS;
use crate::config::keys::{self, KEYS};
use crate::config::raw::{Found, Origin, Raw, Value};
use crate::failure::{Failure, Kind};
use crate::{accounts, config};

/// What to do with a configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check flags, configuration file, folders and certificate; print `ok` or everything that is wrong
    Check(ServeFlags),
    /// Print every value in effect and where it comes from
    Show(ServeFlags),
    /// Print a complete configuration with every key and its default
    Default,
}

/// Does it.
pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Check(flags) => check(flags),
        Command::Show(flags) => {
            let Loaded { raw, .. } = flags.load(&flags.accounts()?)?;
            print(&shown(&raw))
        }
        Command::Default => print(&keys::default_document()),
    }
}

/// Everything that `serve` would find wrong, short of binding sockets.
fn check(flags: &ServeFlags) -> Result<(), Failure> {
    let Complete {
        loaded: Loaded { typed, .. },
        ..
    } = flags.complete()?;
    let mut problems = accounts::users(&typed)
        .err()
        .map(|failure| failure.problems)
        .unwrap_or_default();
    if let Some((chain, key)) = &typed.certificate {
        problems.extend(certificate::load(chain, key).err());
    }
    if problems.is_empty() {
        print("ok\n")
    } else {
        Err(Failure {
            kind: Kind::Configuration,
            problems,
        })
    }
}

/// A value without its secrets: in a list, those are the URLs with credentials.
fn hidden(value: &Value) -> Value {
    match value {
        Value::List(items) => Value::List(
            items
                .iter()
                .map(|item| Found {
                    value: match &item.value {
                        Value::Text(text) if !text.contains('@') => Value::Text(text.clone()),
                        _ => Value::Text("***".into()),
                    },
                    origin: item.origin.clone(),
                })
                .collect(),
        ),
        _ => Value::Text("***".into()),
    }
}

/// All values as TOML, each with its origin in a comment.
fn shown(raw: &Raw) -> String {
    let mut text = String::new();
    let origin = |origin: &Origin| match origin {
        Origin::Flag(flag) => format!("flag {flag}"),
        _ => raw.place(origin),
    };
    for key in KEYS.iter().filter(|key| key.section() != "user") {
        let _ = match raw.values.get(key.path) {
            Some(found) if WITH_CREDENTIALS.contains(&key.path) => {
                let value = hidden(&found.value);
                writeln!(text, "{} = {value}  # {}", key.path, origin(&found.origin))
            }
            Some(found) => writeln!(
                text,
                "{} = {}  # {}",
                key.path,
                found.value,
                origin(&found.origin)
            ),
            None => writeln!(text, "# {} is not set", key.path),
        };
    }
    for user in &raw.users {
        let _ = writeln!(text, "\n[[user]]  # {}", origin(&user.origin));
        for key in KEYS.iter().filter(|key| key.section() == "user") {
            if let Some(Found { value, origin: at }) = user.values.get(key.path) {
                let secret = Value::Text("***".into());
                let value = if key.path == config::PASSWORD {
                    &secret
                } else {
                    value
                };
                let _ = writeln!(text, "{} = {value}  # {}", key.name(), origin(at));
            }
        }
    }
    text
}
