//! The processes that are measured: dropped = killed.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::{HERE, PASSWORD};

/// How long a process may take until it listens, and a server until it has an address.
const PATIENCE: Duration = Duration::from_secs(20);
/// USER_HZ, in which /proc counts: the same wherever this is going to run.
const TICKS_PER_SECOND: f64 = 100.0;

/// A relay with an account `anna`.
pub(crate) struct Relay {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    process: Process,
}

/// A server that is published by one relay.
pub(crate) struct Server {
    pub(crate) direct: SocketAddr,
    pub(crate) relayed: SocketAddr,
    pub(crate) root: PathBuf,
    _process: Process,
}

struct Process {
    child: Child,
    _folder: TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Relay {
    pub(crate) fn ours(pasarela: &Path) -> Self {
        let (folder, address) = (folder(), free_address());
        let config = folder.path().join("relay.toml");
        let text = format!(
            "listen = \"{address}\"\npublic_address = \"{HERE}\"\nrelay_address = \"{HERE}\"\nrealm = \"example.org\"\n\
             danger_allow_private_peers = true\n[[account]]\nname = \"anna\"\npassword = \"{PASSWORD}\"\nany_peer = true\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(pasarela);
        command.arg("relay").arg("--config").arg(&config);
        Self::start("pasarela", command, folder, address).unwrap()
    }

    /// `None` where it is not installed.
    pub(crate) fn coturn() -> Option<Self> {
        let (folder, address) = (folder(), free_address());
        let config = folder.path().join("empty.conf");
        std::fs::write(&config, "").unwrap();
        let mut command = Command::new("turnserver");
        command.arg("-c").arg(&config);
        command.args(["--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1"]);
        command.args(["--listening-port", &address.port().to_string()]);
        command.args(["--lt-cred-mech", "--realm", "example.org"]);
        command.args(["--user", &format!("anna:{PASSWORD}")]);
        command.args(["--allow-loopback-peers", "--server-relay", "--no-cli"]);
        command.args(["--no-tls", "--no-dtls", "--log-file", "stdout", "--simple-log"]);
        command.arg("--userdb").arg(folder.path().join("users"));
        command.arg("--pidfile").arg(folder.path().join("pid"));
        Self::start("coturn", command, folder, address)
    }

    fn start(name: &'static str, mut command: Command, folder: TempDir, address: SocketAddr) -> Option<Self> {
        let quiet = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = quiet.spawn().ok()?;
        let process = Process {
            child,
            _folder: folder,
        };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < end, "{name} does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(Self {
            name,
            address,
            process,
        })
    }

    /// What it has used until now.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.process.child.id())
    }

    /// Starts a server that has an address of this relay's.
    pub(crate) fn server(&self, pasarela: &Path) -> Server {
        let (folder, direct) = (folder(), free_address());
        let root = folder.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let mut command = Command::new(pasarela);
        command.arg("serve").arg(&root);
        command.args(["--listen", &format!("0.0.0.0:{}", direct.port())]);
        command.args(["--user", &format!("anna:{PASSWORD}"), "--tls", "optional"]);
        command.args(["--reach", "relayed", "--data-ports", "control"]);
        let kind = if self.name == "pasarela" {
            "--relay"
        } else {
            "--turn"
        };
        command.args([kind, &format!("turn:anna:{PASSWORD}@{}", self.address)]);
        command.arg("--state-dir").arg(folder.path().join("state"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let process = Process {
            child,
            _folder: folder,
        };
        let relayed = log.find_map(|line| {
            let (_, rest) = line.split_once("relayed=")?;
            rest.split_whitespace().next()?.parse().ok()
        });
        // It must not wait for a reader of its log.
        std::thread::spawn(move || log.for_each(drop));
        Server {
            direct,
            relayed: relayed.expect("an address of the relay"),
            root,
            _process: process,
        }
    }
}

/// What a process has used until now, with its children that have ended.
pub(crate) fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let ticks = after_name.split_whitespace().skip(11).take(4);
    ticks.map(|word| word.parse::<f64>().unwrap()).sum::<f64>() / TICKS_PER_SECOND
}

/// In memory where there is such a place: no disk is to be measured.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// One that was free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind((HERE, 0)).unwrap().local_addr().unwrap()
}
