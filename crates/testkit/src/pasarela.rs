//! The built server as a child process, with its own root and state, on ports the kernel chose.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::child::wait_for_exit;

/// The account every started server has.
pub const USER: &str = "maria";
/// Its password.
pub const PASSWORD: &str = "s3cret";

/// How long a server may take until it listens (a first run makes a key), and until it has drained.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program under test: `PASARELA_BIN`, or `pasarela` in the target folder that this test or program was built into.
///
/// # Panics
/// When it has not been built.
#[must_use]
#[track_caller]
pub fn pasarela_binary() -> PathBuf {
    let path = std::env::var_os("PASARELA_BIN").map_or_else(
        || {
            let ourselves = std::env::current_exe().unwrap(); // target/PROFILE/deps/TEST-HASH or target/PROFILE/PROGRAM
            let folder = ourselves.parent().unwrap();
            let profile = folder.parent().filter(|_| folder.ends_with("deps"));
            profile.unwrap_or(folder).join("pasarela")
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "{} is not there\nhint: cargo build -p pasarela first",
        path.display()
    );
    path
}

/// What a server is to be started with. [`Pasarela::start`] is the short form.
#[derive(Debug, Clone)]
pub struct Setup {
    listen: String,
    implicit: Option<String>,
    sftp: bool,
    config: Option<String>,
    tracer: Vec<OsString>,
    arguments: Vec<OsString>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            implicit: None,
            sftp: false,
            config: None,
            tracer: Vec::new(),
            arguments: Vec::new(),
        }
    }
}

impl Setup {
    /// Another address than `127.0.0.1:0`; give port 0, unless it is in a network of its own.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// Listens for implicit FTPS as well.
    #[must_use]
    pub fn implicit(self) -> Self {
        self.implicit_at("127.0.0.1:0")
    }

    /// Listens for implicit FTPS on that address as well.
    #[must_use]
    pub fn implicit_at(mut self, address: &str) -> Self {
        self.implicit = Some(address.to_owned());
        self
    }

    /// Listens for SFTP as well.
    #[must_use]
    pub fn sftp(mut self) -> Self {
        self.sftp = true;
        self
    }

    /// A configuration file with this text (TOML).
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.config = Some(text.to_owned());
        self
    }

    /// More arguments of `pasarela serve`; later calls add to earlier ones.
    #[must_use]
    pub fn arguments<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Runs the server under a program that replaces itself with it (`strace -D …`), so that the child is the server.
    #[must_use]
    pub fn under<A: AsRef<OsStr>>(mut self, tracer: impl IntoIterator<Item = A>) -> Self {
        self.tracer
            .extend(tracer.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Starts the server and waits until it listens.
    ///
    /// # Panics
    /// When it ends or does not listen in time, with what it said.
    #[must_use]
    #[track_caller]
    pub fn start(&self) -> Pasarela {
        let scratch = tempfile::tempdir().unwrap();
        let (root, state) = (scratch.path().join("root"), scratch.path().join("state"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&state).unwrap();
        let mut command = self.command(&root, &state);
        if let Some(text) = &self.config {
            let file = scratch.path().join("pasarela.toml");
            fs::write(&file, text).unwrap();
            command.arg("--config").arg(file);
        }
        command.args(&self.arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let log = Arc::new(Log::default());
        let reader = log.clone().follow(child.stderr.take().unwrap());
        let Some(bound) = log.wait_for(1 + usize::from(self.implicit.is_some()) + usize::from(self.sftp))
        else {
            child.kill().unwrap();
            child.wait().unwrap();
            reader.join().unwrap();
            panic!("{command:?} does not listen; it said:\n{}", log.text());
        };
        Pasarela {
            child,
            log,
            reader: Some(reader),
            bound,
            has_implicit: self.implicit.is_some(),
            root,
            state,
            _scratch: scratch,
        }
    }

    fn command(&self, root: &Path, state: &Path) -> Command {
        let mut words = self.tracer.clone();
        words.push(pasarela_binary().into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("serve").arg(root);
        command.arg("--state-dir").arg(state);
        command.args([
            "--listen",
            &self.listen,
            "--user",
            &format!("{USER}:{PASSWORD}"),
            "--durability",
            "fast",
        ]);
        if let Some(address) = &self.implicit {
            command.args(["--implicit-listen", address]);
        }
        if self.sftp {
            command.args(["--sftp-listen", "127.0.0.1:0"]);
        }
        command
    }
}

/// A running server. Dropped = killed; on a panic what it logged is printed first.
#[derive(Debug)]
pub struct Pasarela {
    child: Child,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
    bound: Vec<SocketAddr>,
    has_implicit: bool,
    root: PathBuf,
    state: PathBuf,
    _scratch: TempDir,
}

impl Pasarela {
    /// Serves an empty folder on `127.0.0.1`, port 0, to [`USER`] with [`PASSWORD`], with more arguments of
    /// `pasarela serve`.
    ///
    /// # Panics
    /// As [`Setup::start`].
    #[must_use]
    #[track_caller]
    pub fn start(arguments: &[&str]) -> Self {
        Self::setup().arguments(arguments).start()
    }

    /// For what `start` cannot say: implicit FTPS, a configuration file, a tracer.
    #[must_use]
    pub fn setup() -> Setup {
        Setup::default()
    }

    /// Where plain and explicit FTPS clients connect.
    #[must_use]
    pub fn control(&self) -> SocketAddr {
        self.bound[0]
    }

    /// Where implicit FTPS clients connect.
    ///
    /// # Panics
    /// When it was started without [`Setup::implicit`].
    #[must_use]
    #[track_caller]
    pub fn implicit(&self) -> SocketAddr {
        *self.bound.get(1).expect("started without Setup::implicit()")
    }

    /// Where SFTP clients connect.
    ///
    /// # Panics
    /// When it was started without [`Setup::sftp`].
    #[must_use]
    #[track_caller]
    pub fn sftp(&self) -> SocketAddr {
        let others = 1 + usize::from(self.has_implicit);
        *self.bound.get(others).expect("started without Setup::sftp()")
    }

    /// Every port it announced: the explicit one first.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.bound.iter().map(SocketAddr::port).collect()
    }

    /// The folder that is served.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file in the served folder.
    #[must_use]
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// The self-signed certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.state.join("certificate.pem")
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Waits for a line of its log in which `find` finds something; `None` when there is none in time, or it has ended.
    pub fn wait_for_log<T>(&self, patience: Duration, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.log
            .wait_until(patience, |lines| lines.iter().find_map(|line| find(line)))
    }

    /// The same of what it logs after its first `lines` lines, [`Self::lines_logged`] of a moment before.
    pub fn wait_for_later_log<T>(
        &self,
        lines: usize,
        patience: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        self.log
            .wait_until(patience, |all| all.iter().skip(lines).find_map(|line| find(line)))
    }

    /// How many lines it has logged so far.
    #[must_use]
    pub fn lines_logged(&self) -> usize {
        self.log.state.lock().unwrap().lines.len()
    }

    /// Asks it to drain and end (SIGTERM) and waits for that. `None`: it did not end in time and was killed.
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn terminate(mut self) -> Option<ExitStatus> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        wait_for_exit(&mut self.child, PATIENCE)
    }
}

impl Drop for Pasarela {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            eprintln!("--- the server said\n{}", self.log.text());
        }
    }
}

/// Lines of a server's standard error.
#[derive(Debug, Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LogState {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    fn follow(self: Arc<Self>, from: ChildStderr) -> JoinHandle<()> {
        std::thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                self.state
                    .lock()
                    .unwrap()
                    .lines
                    .push(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
                self.changed.notify_all();
                line.clear();
            }
            self.state.lock().unwrap().ended = true;
            self.changed.notify_all();
        })
    }

    /// The first `count` different addresses it says it listens on.
    fn wait_for(&self, count: usize) -> Option<Vec<SocketAddr>> {
        self.wait_until(PATIENCE, |lines| {
            let mut bound = Vec::new();
            for address in lines.iter().filter_map(|line| announced(line)) {
                if !bound.contains(&address) {
                    bound.push(address);
                }
            }
            bound.truncate(count);
            (bound.len() == count).then_some(bound)
        })
    }

    /// Looks at the lines so far, and again whenever there is another one.
    fn wait_until<T>(&self, patience: Duration, look: impl Fn(&[String]) -> Option<T>) -> Option<T> {
        let end = Instant::now() + patience;
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(found) = look(&state.lines) {
                return Some(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    fn text(&self) -> String {
        self.state.lock().unwrap().lines.join("\n")
    }
}

/// The address in `… listening on ADDRESS …`, whatever stands around it.
fn announced(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on ")?;
    let end = rest
        .find(|c: char| !(c.is_ascii_hexdigit() || ".:[]".contains(c)))
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_whatever_stands_around_it() {
        let expected = "127.0.0.1:2121".parse().unwrap();
        for line in [
            "listening on 127.0.0.1:2121",
            "  FTP  listening on 127.0.0.1:2121 (TLS optional)",
            r#"{"message":"listening on 127.0.0.1:2121","level":"INFO"}"#,
        ] {
            assert_eq!(announced(line), Some(expected), "{line}");
        }
        assert_eq!(
            announced("listening on [::1]:21, twice"),
            Some("[::1]:21".parse().unwrap())
        );
        assert_eq!(announced("listening on port 21"), None);
        assert_eq!(announced("connected to 127.0.0.1:2121"), None);
    }
}
