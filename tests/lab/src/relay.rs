//! A relay of ours on the internet of a lab, and what it says it has carried.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pasarela_testkit::lab::{Lab, Role};
use pasarela_testkit::pasarela_binary;
use tempfile::TempDir;

/// Where it listens: a port that the strictest client-side firewall lets through, too.
const PORT: u16 = 443;
/// Its one account, and the password.
const ACCOUNT: (&str, &str) = ("server", "the-laboratory-s-own");
/// How long it may take to answer what it has counted.
const PATIENCE: Duration = Duration::from_secs(10);

/// A relay that runs on the internet. Dropped = killed.
#[derive(Debug)]
pub struct LabRelay {
    child: Child,
    said: Arc<Mutex<String>>,
    url: String,
    folder: TempDir,
}

impl LabRelay {
    /// Starts one with an account that may lend ports 21 and 990, and waits until it listens.
    ///
    /// # Panics
    /// When it does not listen.
    #[must_use]
    pub fn start(lab: &Lab) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let internet = lab.addresses().relay;
        let text = format!(
            "listen = \"{PORT}\"\npublic_address = \"{internet}\"\nrelay_address = \"{internet}\"\nmetrics = \"{}\"\n\
             [[account]]\nname = \"{}\"\npassword = \"{}\"\nports = [\"21\", \"990\"]\nany_peer = true\ndial_back = true\n",
            folder.path().join("counters").display(),
            ACCOUNT.0,
            ACCOUNT.1,
        );
        fs::write(folder.path().join("relay.toml"), text).unwrap();
        let host = match internet {
            std::net::IpAddr::V4(address) => address.to_string(),
            std::net::IpAddr::V6(address) => format!("[{address}]"),
        };
        let url = format!("turn:{}:{}@{host}:{PORT}", ACCOUNT.0, ACCOUNT.1);
        let said = Arc::default();
        let child = run(lab, &folder, &said);
        Self {
            child,
            said,
            url,
            folder,
        }
    }

    /// What the server's operator says: `turn:NAME:PASSWORD@HOST:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends it without a warning (SIGKILL).
    ///
    /// # Panics
    /// When it has ended already.
    pub fn kill(&mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "{}", self.log());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again as it was, after [`Self::kill`].
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_again(&mut self, lab: &Lab) {
        self.child = run(lab, &self.folder, &self.said);
    }

    /// One of its counters, without `pasarela_relay_` before the name.
    ///
    /// # Panics
    /// When it does not answer, or has no such counter.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        let mut counters = UnixStream::connect(self.folder.path().join("counters")).unwrap();
        counters.set_read_timeout(Some(PATIENCE)).unwrap();
        counters
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: relay\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        counters.read_to_string(&mut answer).unwrap();
        let line = answer.lines().find_map(|line| {
            line.strip_prefix("pasarela_relay_")?
                .strip_prefix(name)?
                .strip_prefix(' ')
        });
        line.and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("no {name}: {answer}"))
    }

    /// Bytes that it has carried, both ways.
    ///
    /// # Panics
    /// As [`Self::count`].
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.count("bytes_to_peers_total") + self.count("bytes_to_clients_total")
    }

    /// What it has logged.
    ///
    /// # Panics
    /// When its reader did.
    #[must_use]
    pub fn log(&self) -> String {
        self.said.lock().unwrap().clone()
    }
}

impl Drop for LabRelay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(lab: &Lab, folder: &TempDir, said: &Arc<Mutex<String>>) -> Child {
    let mut child = lab
        .command(Role::Internet, pasarela_binary())
        .args(["relay", "--config"])
        .arg(folder.path().join("relay.toml"))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("relay listens") {
        line.clear();
        let read = log.read_line(&mut line).unwrap();
        said.lock().unwrap().push_str(&line);
        assert!(read > 0, "it ended before it listened:\n{}", said.lock().unwrap());
    }
    let said = Arc::clone(said);
    // Until it ends.
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            let mut said = said.lock().unwrap();
            said.push_str(&line);
            said.push('\n');
        }
    });
    child
}
