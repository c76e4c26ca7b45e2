//! `pasarela doctor`: why transfers fail, with a server, on this machine's network, or of a configuration.

mod network;
mod server;

use std::process::ExitCode;

use clap::{Args, ValueHint};

use super::files::Reaching;
use crate::failure::Failure;

/// What `doctor --help` ends with.
pub(crate) const EXAMPLES: &str = "\
Examples:
  Why does this server not work from here? The password is asked for, or in the URL, a file, or netrc:
      pasarela doctor ftp://maria@ftp.example.org/

  How long may a silent connection rest on the way to it?
      pasarela doctor ftp://ftp.example.org/ --idle 300

  Can this machine host, and what stands in the way? Only its own router is asked, and who is named:
      pasarela doctor --stun stun.example.org --relay relay.example.org

  What has to be open for this server: rules for a router, nftables, Docker and Kubernetes; then it is tried:
      pasarela doctor --server /etc/pasarela/pasarela.toml

Exit codes (those of the other commands; docs/doctor.md has every finding):
  0   nothing is wrong
  1   something else is wrong
  2   a flag or an operand
  3   no connection, or no such host
  4   the login was refused
  5   TLS, or a server that is not trusted
  6   no data connection
  7   no such file or folder
  10  what arrived is not what was sent
  12  it took too long
  130 interrupted";

/// The flags of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A server: ftp://, ftps:// (TLS from the first byte), ftpes:// (AUTH TLS) or sftp://; without one: this machine's network
    url: Option<String>,

    /// Examine what a server with this configuration would be to the outside
    #[arg(long, value_name = "CONFIG", value_hint = ValueHint::FilePath, conflicts_with = "url")]
    server: Option<std::path::PathBuf>,

    /// Leave a connection silent so long and see whether it is still there (URL)
    #[arg(long, value_name = "SECONDS", requires = "url", value_parser = clap::value_parser!(u64).range(1..=86400))]
    idle: Option<u64>,

    /// Also upload a file of 1 MiB with a name of its own, read it back, and remove it (URL)
    #[arg(long, requires = "url")]
    upload: bool,

    /// One JSON object a line: findings, facts, and the verdict last
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    reaching: Reaching,

    #[command(flatten)]
    network: network::Asking,
}

/// Examines, and tells.
pub(crate) fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    if let Some(url) = &flags.url {
        return server::examine(flags, url);
    }
    match &flags.server {
        Some(config) => network::opening(flags, config),
        None => network::examine(flags),
    }
}
