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
use crate::failure::{Failure, Kind};

fn main() -> ExitCode {
    // Usage errors of clap end here, with the code of a usage error.
    let result = match &Cli::parse().command {
        Command::Serve(flags) => cli::serve::run(flags),
        Command::Reach(flags) => return ended(cli::reach::run(flags)),
        Command::Passwd(flags) => cli::passwd::run(flags),
        Command::Config(command) => cli::config::run(command),
        Command::Relay(flags) => cli::relay::run(flags),
        Command::SftpServer(flags) => cli::sftp_server::run(flags),
        Command::Ls(flags) => return ended(cli::files::look::list(flags)),
        Command::Get(flags) => return ended(cli::files::copy::get(flags)),
        Command::Put(flags) => return ended(cli::files::copy::put(flags)),
        Command::Sync(flags) => return ended(cli::files::sync::execute(flags)),
        Command::Cat(flags) => return ended(cli::files::copy::cat(flags)),
        Command::Rm(flags) => return ended(cli::files::change::remove(flags)),
        Command::Mkdir(flags) => return ended(cli::files::change::make_dir(flags)),
        Command::Mv(flags) => return ended(cli::files::change::rename(flags)),
        Command::Stat(flags) => return ended(cli::files::look::stat(flags)),
        Command::Hash(flags) => return ended(cli::files::look::hash(flags)),
        Command::Doctor(flags) => return ended(cli::doctor::run(flags)),
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
    ExitCode::from(match failure.kind {
        Kind::Other => 1,
        Kind::Configuration => 2,
        Kind::Bind => 3,
        Kind::CutShort => 130,
        Kind::Code(code) => code,
    })
}
