//! The binary: it reads flags and configuration, binds sockets, and tells the server what its operator wants.

mod accounts;
mod bans;
mod certificate;
mod cli;
mod config;
mod failure;
mod listen;
mod log;
mod reach_state;
mod relay_config;
mod secret;
mod service;
mod start_block;
mod surroundings;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    // Usage errors of clap end here, with the code of a usage error.
    let result = match &Cli::parse().command {
        Command::Serve(flags) => cli::serve::run(flags),
        Command::Reach(flags) => return ended(cli::reach::run(flags)),
        Command::Passwd(flags) => cli::passwd::run(flags),
        Command::Config(command) => cli::config::run(command),
        Command::Relay(flags) => cli::relay::run(flags),
        Command::SftpServer(flags) => cli::sftp_server::run(flags),
        Command::Doctor(flags) => return ended(cli::doctor::run(flags)),
        Command::Files(command) => return ended(cli::files::run_one(command)),
        Command::Login(flags) => return ended(cli::files::login::run_login(flags)),
        Command::Trust(command) => return ended(cli::files::trust::run_trust(command)),
        Command::Shell(flags) => return ended(cli::files::shell::run_shell(flags)),
        Command::Bench(flags) => return ended(cli::files::bench::run_bench(flags)),
        Command::Completions { shell } => cli::documents::completions(*shell),
        Command::Man { page } => cli::documents::man(page),
    };
    result.map_or_else(fail, |()| ExitCode::SUCCESS)
}

fn ended(result: Result<ExitCode, Failure>) -> ExitCode {
    result.unwrap_or_else(fail)
}

fn fail(failure: Failure) -> ExitCode {
    // Nobody is left to tell when standard error has gone.
    let _ = writeln!(std::io::stderr(), "{failure}");
    ExitCode::from(failure.kind.exit_code())
}
