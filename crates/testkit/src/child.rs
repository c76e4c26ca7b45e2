//! Child processes with a deadline, ended by their own handle.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// How a program ended, with all that it said.
#[derive(Debug)]
pub struct Ended {
    /// The command line, for messages.
    pub command: String,
    /// `None`: it had to be killed at the deadline.
    pub status: Option<ExitStatus>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Ended {
    /// Whether it ended by itself with code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Panics with everything it said unless it ended by itself with code 0.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        assert!(self.success(), "{self}");
        self
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = self.status.map_or_else(
            || "killed at its deadline".to_owned(),
            |status| status.to_string(),
        );
        let (stdout, stderr) = (
            String::from_utf8_lossy(&self.stdout),
            String::from_utf8_lossy(&self.stderr),
        );
        write!(
            f,
            "{}\n{end}\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
            self.command
        )
    }
}

/// Runs a program for at most five minutes; see [`run_within`].
#[track_caller]
pub fn run(command: &mut Command) -> Ended {
    run_within(command, Duration::from_secs(300))
}

/// Runs a program to its end, or kills it by its handle at the deadline. Its output goes through files, so it never
/// blocks on us. Standard input stays as the command says.
///
/// # Panics
/// When the program does not exist, naming the command that installs it.
#[track_caller]
pub fn run_within(command: &mut Command, deadline: Duration) -> Ended {
    let line = format!("{command:?}");
    let (mut stdout, mut stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command
        .stdout(Stdio::from(stdout.try_clone().unwrap()))
        .stderr(Stdio::from(stderr.try_clone().unwrap()));
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => panic!("{line}: {error}\nhint: run cargo xtask test, which installs it"),
    };
    let status = wait_for_exit(&mut child, deadline);
    if status.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    Ended {
        command: line,
        status,
        stdout: read_back(&mut stdout),
        stderr: read_back(&mut stderr),
    }
}

/// Waits for a child's end; `None` when it still runs at the deadline.
///
/// # Panics
/// When the kernel has no pidfd (Linux before 5.3).
pub fn wait_for_exit(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).expect("pidfd_open");
    let end = Instant::now() + deadline;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut watched = [PollFd::new(&process, PollFlags::IN)];
        match poll(&mut watched, Some(&Timespec::try_from(left).unwrap())) {
            Ok(0) => return None,
            Ok(_) => return Some(child.wait().unwrap()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}

fn read_back(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_come_back() {
        let ended = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]));
        assert_eq!(ended.status.unwrap().code(), Some(3));
        assert_eq!(
            (ended.stdout.as_slice(), ended.stderr.as_slice()),
            (&b"out\n"[..], &b"err\n"[..])
        );
    }

    #[test]
    fn a_program_that_never_ends_is_killed_at_its_deadline() {
        let ended = run_within(Command::new("sleep").arg("1000"), Duration::from_millis(50));
        assert!(ended.status.is_none() && !ended.success());
    }

    #[test]
    #[should_panic(expected = "cargo xtask test, which installs it")]
    fn a_missing_program_names_the_command_that_installs_it() {
        run(&mut Command::new("no-such-program-anywhere"));
    }
}
