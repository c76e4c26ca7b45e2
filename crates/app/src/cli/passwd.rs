//! `pasarela passwd`: a password in, its hash out.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use clap::Args;
use pasarela_session::auth::{Password, hash};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::print;
use crate::config::raw::Value;
use crate::failure::{Failure, Kind, Problem};

/// The flags of `passwd`.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Print a complete [[user]] of this name
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

/// Longest password that is read, in bytes.
const LONGEST: u64 = 1024;

/// Reads a password from the terminal, twice and without echo, or one line from standard input, and prints it
/// hashed.
pub(crate) fn run(flags: &Flags) -> Result<(), Failure> {
    let password = if io::stdin().is_terminal() {
        ask()
    } else {
        read_line()
    }
    .map_err(|error| Problem::new(format!("standard input: {error}")).fails(Kind::Other))?;
    if password.is_empty() {
        return Err(Problem::new("the password is empty").fails(Kind::Configuration));
    }
    let hash = hash(&Password::new(password.into_bytes()));
    match &flags.user {
        None => print(&format!("{hash}\n")),
        Some(name) => print(&format!(
            "\n[[user]]\nname = {}\npassword = {}\n",
            Value::Text(name.clone()),
            Value::Text(hash)
        )),
    }
}

/// Asks until the same password was typed twice.
fn ask() -> io::Result<String> {
    let _silence = Silence::new()?;
    loop {
        let first = prompt("Password: ")?;
        if first.is_empty() || prompt("Once more: ")? == first {
            return Ok(first);
        }
        writeln!(io::stderr(), "They differ.")?;
    }
}

fn prompt(question: &str) -> io::Result<String> {
    write!(io::stderr(), "{question}")?;
    let line = read_line();
    writeln!(io::stderr())?;
    line
}

/// One line of standard input without its end.
pub(crate) fn read_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().take(LONGEST).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The terminal's echo is off while this lives.
pub(crate) struct Silence(Termios);

impl Silence {
    pub(crate) fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // Nothing is left to try when the terminal has gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
