//! The log: lines for a person or JSON for a machine, always on standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::config::typed::Typed;
use crate::failure::{Failure, Kind, Problem};

/// Starts it; `PASARELA_LOG` overrides the configured level.
///
/// # Errors
/// When the variable holds no filter.
pub(crate) fn start(typed: &Typed) -> Result<(), Failure> {
    begin(&typed.log_level, typed.log_json)
}

/// The same for a level and a format by themselves.
///
/// # Errors
/// As [`start`].
pub(crate) fn begin(level: &str, json: bool) -> Result<(), Failure> {
    let filter = match std::env::var("PASARELA_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(text).map_err(|error| {
            Problem::new(format!("PASARELA_LOG: {error}"))
                .hint("write a level such as `debug`, or a filter such as `info,pasarela_server=trace`")
                .fails(Kind::Configuration)
        })?,
        // What the SSH library says of each packet is asked for by name.
        _ => EnvFilter::new(format!("{level},russh=warn")),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let started = if json {
        subscriber.json().try_init()
    } else {
        let colour =
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        subscriber.with_ansi(colour).try_init()
    };
    started.map_err(|error| Problem::new(error.to_string()).fails(Kind::Other))
}
