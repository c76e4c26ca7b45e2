//! OpenSSH's server on a port of its own of the loopback interface, for whoever runs the tests, who logs in with a key.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pasarela_client::{SftpRemote, SftpSite, Url};
use pasarela_testkit::run;
use tempfile::TempDir;

pub struct Sshd {
    address: SocketAddr,
    // Ended before the folder goes.
    child: Child,
    scratch: TempDir,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sshd {
    pub fn start() -> Self {
        Self::start_with("Subsystem sftp internal-sftp\n")
    }

    /// With more lines in its configuration.
    pub fn start_with(more: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir(at("root")).unwrap();
        key(&at("host"), "");
        key(&at("identity"), "");
        fs::copy(at("identity.pub"), at("authorized")).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!(
            "ListenAddress {address}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n{more}",
            at("host").display(),
            at("authorized").display(),
        );
        fs::write(at("config"), config).unwrap();
        // Where it changes to another user it wants this folder, which its package makes at boot.
        let _ = fs::create_dir_all("/run/sshd");
        let log = fs::File::create(at("log")).unwrap();
        let mut child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(at("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("sshd: {error}\nhint: run cargo xtask test, which installs it"));
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(address).is_err() {
            let ended = child.try_wait().unwrap();
            let log = || fs::read_to_string(at("log")).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < end, "{ended:?}: {}", log());
            std::thread::yield_now();
        }
        Self {
            address,
            child,
            scratch,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// A folder for the files of a test.
    pub fn root(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    /// The private key that opens it.
    pub fn identity(&self) -> PathBuf {
        self.scratch.path().join("identity")
    }

    /// A list with its host key.
    pub fn known_hosts(&self) -> PathBuf {
        let path = self.scratch.path().join("known_hosts");
        let key = fs::read_to_string(self.scratch.path().join("host.pub")).unwrap();
        fs::write(&path, format!("[127.0.0.1]:{} {key}", self.address.port())).unwrap();
        path
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    /// How it is reached by whoever runs the tests, and by nothing of theirs.
    pub fn site(&self) -> SftpSite {
        let url: Url = format!("sftp://{}@{}/", user(), self.address).parse().unwrap();
        SftpSite {
            identities: vec![self.identity()],
            usual_identities: Vec::new(),
            agent: None,
            known_hosts: vec![self.known_hosts()],
            ..SftpSite::of(&url)
        }
    }

    pub fn remote(&self) -> SftpRemote {
        SftpRemote::new(self.site())
    }
}

/// Who runs the tests.
pub fn user() -> String {
    let ended = run(Command::new("id").arg("-un")).expect_success();
    String::from_utf8(ended.stdout).unwrap().trim().to_owned()
}

/// Makes a pair of keys.
pub fn key(path: &Path, passphrase: &str) {
    let mut keygen = Command::new("ssh-keygen");
    keygen
        .args(["-q", "-t", "ed25519", "-N", passphrase, "-f"])
        .arg(path);
    run(keygen.stdin(Stdio::null())).expect_success();
}
