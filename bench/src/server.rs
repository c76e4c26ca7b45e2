//! A server that runs: started, proved to serve the tree, accounted for, and ended by its own processes' numbers.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::account::{Account, Group, runs};
use crate::case::Case;
use crate::failed::{During as _, Failed, expect};
use crate::ftp::{Login, Session};
use crate::peer::{Peer, Places, Setting, Speaks};
use crate::tree::{PROOF, Tree};

/// How long a server may take until it listens, and until it has ended.
const PATIENCE: Duration = Duration::from_secs(20);

/// Dropped = ended, with everything that it has started.
pub(crate) struct Server {
    pub(crate) peer: &'static Peer,
    pub(crate) address: SocketAddr,
    /// Whether commands and data are to be protected.
    pub(crate) tls: bool,
    /// Whether uploads are to be on stable storage.
    safe: bool,
    child: Child,
    account: Account,
    /// Outlives the processes.
    _scratch: TempDir,
}

impl Server {
    /// Starts it for a case and waits until it serves the tree.
    pub(crate) fn start(
        peer: &'static Peer,
        places: &Places,
        tree: &Tree,
        case: &Case,
    ) -> Result<Self, Failed> {
        let program = (peer.program)(places)
            .ok_or_else(|| Failed::Missing(format!("{} is not installed", peer.name)))?;
        let scratch = tempfile::Builder::new()
            .prefix("server-")
            .tempdir_in(tree.scratch())
            .during("a folder")?;
        // Some give up root's rights before they write there.
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(scratch.path(), open).during("a folder")?;
        let address = free_address()?;
        let command = (peer.command)(&Setting {
            program: &program,
            places,
            tree,
            scratch: scratch.path(),
            port: address.port(),
            case,
        })?;
        let group = Group::new();
        let mut command = match &group {
            Some(group) => group.enclose(&command),
            None => command,
        };
        let said = scratch.path().join("said");
        let log = File::create(&said).during("a log")?;
        let error = log.try_clone().during("a log")?;
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(error)
            .process_group(0);
        let child = command.spawn().during(shown(&command))?;
        let mut server = Self {
            peer,
            address,
            tls: case.tls,
            safe: case.is_safe(),
            account: Account::new(child.id(), group),
            child,
            _scratch: scratch,
        };
        server
            .listens()
            .and_then(|()| server.proves(tree))
            .map_err(|failed| {
                let text = fs::read(&said).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                match text.lines().rfind(|line| !line.trim().is_empty()) {
                    None => failed,
                    Some(last) => Failed::Missing(format!("{failed}; it said: {last}")),
                }
            })?;
        Ok(server)
    }

    /// Whether it was started as that case wants it.
    pub(crate) fn serves(&self, case: &Case) -> bool {
        (self.tls, self.safe) == (case.tls, case.is_safe())
    }

    /// Where to log in, as whom.
    pub(crate) fn login(&self) -> Login {
        Login {
            address: self.address,
            user: self.peer.user,
            password: self.peer.password,
            tls: self.tls,
        }
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// Processor seconds so far, of all its processes.
    pub(crate) fn cpu(&self) -> f64 {
        self.account.cpu()
    }

    fn listens(&mut self) -> Result<(), Failed> {
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Failed::Missing(format!("{} has ended: {status}", self.peer.name)));
            }
            if Instant::now() > end {
                return Err(Failed::Missing(format!("{} does not listen", self.peer.name)));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// A file down and a file up, byte for byte: the rest is counted only.
    fn proves(&self, tree: &Tree) -> Result<(), Failed> {
        if self.peer.speaks != Speaks::Ftp {
            return Ok(());
        }
        let content = fs::read(tree.file("proof")).during("proof")?;
        let mut session = Session::open(&self.login())?.binary()?;
        let mut data = session.transfer("RETR proof")?;
        let fetched = data.read_all()?;
        data.finish()?;
        drop(data);
        session.done("RETR proof")?;
        expect("RETR", PROOF as u64, fetched.len() as u64)?;
        let path = tree.fresh_upload("proof")?;
        let command = format!("STOR {path}");
        let mut data = session.transfer(&command)?;
        data.write(&content)?;
        data.finish()?;
        drop(data);
        session.done(&command)?;
        let stored = fs::read(tree.file(&path)).during(path)?;
        session.quit()?;
        if fetched == content && stored == content {
            return Ok(());
        }
        Err(Failed::Protocol("what was sent is not what came".to_owned()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let members = self.account.roll();
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let end = Instant::now() + PATIENCE / 4;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        for member in members.into_iter().filter(|member| runs(*member)) {
            if let Some(process) = i32::try_from(member.0).ok().and_then(Pid::from_raw) {
                let _ = kill_process(process, Signal::KILL);
            }
        }
    }
}

/// One that was free a moment ago.
fn free_address() -> Result<SocketAddr, Failed> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("a port")?;
    listener.local_addr().during("a port")
}

fn shown(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
