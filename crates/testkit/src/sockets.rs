//! Which ports a process listens on, read from the kernel's tables (`proc_pid_net(5)`).

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The TCP ports that a process listens on now.
///
/// # Panics
/// When the process is gone.
#[must_use]
pub fn listening_ports(process: u32) -> BTreeSet<u16> {
    let sockets = sockets_of(process);
    let tables = ["tcp", "tcp6"]
        .map(|name| fs::read_to_string(format!("/proc/{process}/net/{name}")).unwrap_or_default());
    tables
        .iter()
        .flat_map(|table| table.lines().skip(1).filter_map(listener))
        .filter(|(_, socket)| sockets.contains(socket))
        .map(|(port, _)| port)
        .collect()
}

/// The sockets of a process, by inode: `/proc/PID/fd/N` points to `socket:[INODE]`.
fn sockets_of(process: u32) -> HashSet<String> {
    let folder = format!("/proc/{process}/fd");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    entries
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|to| {
            Some(
                to.to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .to_owned(),
            )
        })
        .collect()
}

/// Port and inode of a table's line when its state is 0A, LISTEN.
fn listener(line: &str) -> Option<(u16, String)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
    (*state == "0A").then(|| (port, (*inode).to_owned()))
}

/// Samples a process' listening ports every 20 ms until it is asked what it saw.
pub struct PortWatch {
    process: u32,
    stop: Sender<()>,
    watcher: JoinHandle<BTreeSet<u16>>,
}

impl PortWatch {
    /// Starts to watch.
    #[must_use]
    pub fn start(process: u32) -> Self {
        let (stop, stopped) = channel();
        let watcher = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while stopped.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
                seen.extend(listening_ports(process));
            }
            seen
        });
        Self {
            process,
            stop,
            watcher,
        }
    }

    /// Every port that was listened on at any sample, the last of which is taken now.
    ///
    /// # Panics
    /// When the process ended meanwhile.
    #[track_caller]
    pub fn seen(self) -> BTreeSet<u16> {
        drop(self.stop);
        let mut seen = self.watcher.join().expect("the watched process ended");
        seen.extend(listening_ports(self.process));
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_listener_is_seen_while_it_is_open_and_by_its_owner_only() {
        let (v4, v6) = (
            TcpListener::bind("127.0.0.1:0").unwrap(),
            TcpListener::bind("[::1]:0"),
        );
        let port = v4.local_addr().unwrap().port();
        let seen = PortWatch::start(std::process::id()).seen();
        assert!(seen.contains(&port));
        if let Ok(v6) = v6 {
            assert!(seen.contains(&v6.local_addr().unwrap().port()));
        }
        let mut other = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        assert!(!listening_ports(other.id()).contains(&port));
        other.kill().unwrap();
        other.wait().unwrap();
        drop(v4);
        assert!(!listening_ports(std::process::id()).contains(&port));
    }
}
