//! Starts the built server on free loopback ports in a directory of its own, and ends it.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::{env, fs, thread};

use tempfile::TempDir;

use crate::tls::{self, Version};
use crate::{Client, DEADLINE, OWNER};

/// The account every test server has.
pub const USER: &str = "walker";

/// Its password.
pub const PASSWORD: &str = "Gang-way-7";

/// How a server is to be started.
#[derive(Debug, Clone)]
pub struct Setup {
    tls: &'static str,
    ports: String,
    durability: &'static str,
    implicit: bool,
    config: String,
    wrapper: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// Plain FTP, the product's own way of choosing data ports, nothing synced to disk.
    #[must_use]
    pub fn new() -> Self {
        Self {
            tls: "off",
            ports: "auto".to_owned(),
            durability: "fast",
            implicit: false,
            config: String::new(),
            wrapper: Vec::new(),
        }
    }

    /// `off`, `optional` or `required`.
    #[must_use]
    pub fn tls(mut self, mode: &'static str) -> Self {
        self.tls = mode;
        self
    }

    /// `auto`, `control`, `PORT` or `A-B`.
    #[must_use]
    pub fn ports(mut self, ports: impl Into<String>) -> Self {
        self.ports = ports.into();
        self
    }

    /// `safe` or `fast`.
    #[must_use]
    pub fn durability(mut self, durability: &'static str) -> Self {
        self.durability = durability;
        self
    }

    /// With a second listener that speaks TLS from the first byte.
    #[must_use]
    pub fn implicit(mut self) -> Self {
        self.implicit = true;
        self
    }

    /// With this configuration file.
    #[must_use]
    pub fn config(mut self, toml: impl Into<String>) -> Self {
        self.config = toml.into();
        self
    }

    /// Through a command that ends by executing what follows it; `{root}` and `{state}` are filled in.
    #[must_use]
    pub fn wrapper(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Starts it.
    #[must_use]
    pub fn start(self) -> Server {
        let home = TempDir::new().expect("a scratch directory");
        fs::create_dir(home.path().join("root")).expect("a root");
        fs::create_dir(home.path().join("state")).expect("a state directory");
        let running = Running::start(&self, home.path());
        Server {
            setup: self,
            home,
            running,
        }
    }
}

/// A running server; dropped, it is killed and its files are removed.
pub struct Server {
    setup: Setup,
    home: TempDir,
    running: Running,
}

impl Server {
    /// A plain one, see [`Setup::new`].
    #[must_use]
    pub fn start() -> Self {
        Setup::new().start()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.addresses[0]
    }

    /// Where it listens for implicit TLS.
    #[must_use]
    pub fn implicit_address(&self) -> SocketAddr {
        self.running.addresses[1]
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.child.id()
    }

    /// A visitor from [`OWNER`] who has been greeted.
    #[must_use]
    pub fn visit(&self) -> Client {
        self.visit_from(OWNER)
    }

    /// A visitor from `from` who has been greeted.
    #[must_use]
    pub fn visit_from(&self, from: [u8; 4]) -> Client {
        let mut client = Client::dial(self.address(), from).expect("the server listens");
        client.next(&[220]);
        client
    }

    /// A visitor who is logged in and has said `TYPE I`.
    #[must_use]
    pub fn login(&self) -> Client {
        self.login_from(OWNER)
    }

    /// As [`Server::login`], from `from`.
    #[must_use]
    pub fn login_from(&self, from: [u8; 4]) -> Client {
        let mut client = self.visit_from(from);
        client.login();
        client.expect("TYPE I", &[200]);
        client
    }

    /// A visitor who came with AUTH TLS, is logged in and has said `PBSZ 0`, `PROT P` and `TYPE I`.
    #[must_use]
    pub fn login_tls(&self, version: Version) -> Client {
        let config = tls::config(version);
        let mut client = self.visit().secure(&config);
        client.login();
        client.protect(&config);
        client.expect("TYPE I", &[200]);
        client
    }

    /// The directory it serves.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.home.path().join("root").canonicalize().expect("a root")
    }

    /// Its directory for a test's own files, outside the root.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    /// Puts a file into the root behind the server's back.
    pub fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.root().join(name), bytes).expect("a file");
    }

    /// What stands under `name`, seen behind the server's back.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.root().join(name)).ok()
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.running.log.lock().expect("no panic").clone()
    }

    /// Sends it SIGHUP: read the configuration again.
    pub fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    /// Sends it SIGTERM: finish and stop.
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_child(&self.running.child);
        rustix::process::kill_process(process, signal).expect("it runs");
    }

    /// Its exit code, once it has ended by itself.
    pub fn ended(&mut self) -> Option<i32> {
        crate::eventually("the server's end", || {
            self.running.child.try_wait().is_ok_and(|status| status.is_some())
        });
        self.running
            .child
            .try_wait()
            .ok()
            .flatten()
            .and_then(|status| status.code())
    }

    /// Replaces its configuration file.
    pub fn configure(&self, toml: &str) {
        fs::write(self.home.path().join("pasarela.toml"), toml).expect("a configuration");
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        self.running.kill();
    }

    /// Starts it again on the same files.
    pub fn restart(&mut self) {
        self.running.kill();
        self.running = Running::start(&self.setup, self.home.path());
    }
}

struct Running {
    child: Child,
    addresses: Vec<SocketAddr>,
    log: Arc<Mutex<String>>,
}

impl Running {
    fn start(setup: &Setup, home: &Path) -> Self {
        let (root, state) = (home.join("root"), home.join("state"));
        let mut words: Vec<OsString> = Vec::new();
        for word in &setup.wrapper {
            let word = word.replace("{root}", &root.to_string_lossy());
            words.push(word.replace("{state}", &state.to_string_lossy()).into());
        }
        words.push(binary().into());
        words.extend([
            "serve".into(),
            root.into(),
            "--listen".into(),
            "127.0.0.1:0".into(),
        ]);
        if setup.implicit {
            words.extend(["--implicit-listen".into(), "127.0.0.1:0".into()]);
        }
        words.extend(["--user".into(), format!("{USER}:{PASSWORD}").into()]);
        words.extend(["--tls".into(), setup.tls.into()]);
        words.extend(["--data-ports".into(), setup.ports.as_str().into()]);
        words.extend(["--durability".into(), setup.durability.into()]);
        words.extend(["--state-dir".into(), state.clone().into()]);
        if !setup.config.is_empty() {
            let file = home.join("pasarela.toml");
            fs::write(&file, &setup.config).expect("a configuration");
            words.extend(["--config".into(), file.into()]);
        }
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", words[0].display()));
        let log = Arc::new(Mutex::new(String::new()));
        let bound = follow(child.stderr.take().expect("piped"), Arc::clone(&log));
        let mut running = Self {
            child,
            addresses: Vec::new(),
            log,
        };
        for _ in 0..1 + usize::from(setup.implicit) {
            let Ok(address) = bound.recv_timeout(DEADLINE) else {
                panic!(
                    "the server did not start: {}",
                    running.log.lock().expect("no panic")
                );
            };
            running.addresses.push(address);
        }
        running
    }

    fn kill(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Keeps the server's log flowing; the addresses it listens on come out.
fn follow(stderr: ChildStderr, log: Arc<Mutex<String>>) -> mpsc::Receiver<SocketAddr> {
    let (found, bound) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(stderr);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line);
            if let Some((_, rest)) = text.split_once("listening on ") {
                let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
                if let Ok(address) = rest[..end.unwrap_or(rest.len())].parse() {
                    // Nobody waits once all are known.
                    let _ = found.send(address);
                }
            }
            log.lock().expect("no panic").push_str(&text);
            line.clear();
        }
    });
    bound
}

fn binary() -> PathBuf {
    if let Some(path) = env::var_os("PASARELA_BIN") {
        return path.into();
    }
    let test = env::current_exe().expect("a running test");
    let path = test
        .ancestors()
        .nth(2)
        .expect("target/<profile>/deps/<test>")
        .join("pasarela");
    assert!(
        path.exists(),
        "no {}\nhint: cargo build -p pasarela, or set PASARELA_BIN",
        path.display()
    );
    path
}

/// The first of `count` consecutive ports on which nobody listens now, for `--data-ports`.
///
/// They lie below the ports that the kernel gives out by itself, and no two calls return the same.
#[must_use]
pub fn free_ports(count: u16) -> u16 {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().expect("no panic");
    let given = given.get_or_insert_default();
    let start = (std::process::id() % 1000) as u16 * 20;
    for _ in 0..2000 {
        let tried = TRIED.fetch_add(count, Ordering::Relaxed);
        let first = 10_000 + start.wrapping_add(tried) % 20_000;
        let mut ports = first..first + count;
        if ports.clone().any(|port| given.contains(&port)) {
            continue;
        }
        if ports.all(|port| TcpListener::bind(SocketAddr::from((OWNER, port))).is_ok()) {
            given.extend(first..first + count);
            return first;
        }
    }
    panic!("no {count} free ports");
}
