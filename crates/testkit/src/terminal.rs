//! A program that sits at a terminal: what it shows is waited for, what somebody types is written.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::child::wait_for_exit;

/// How long a program may take until it shows something, and until it ends.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program at a terminal of its own, which controls it. Dropped = killed.
pub struct Terminal {
    child: Child,
    master: File,
    shown: Arc<Shown>,
    /// What was shown up to here has been waited for.
    seen: usize,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shown {
    text: Mutex<(Vec<u8>, bool)>,
    changed: Condvar,
}

impl Terminal {
    /// Starts a program with a terminal as its standard input, output and error.
    ///
    /// # Panics
    /// When there is no terminal, or the program cannot be started.
    #[must_use]
    #[track_caller]
    pub fn start(command: &Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize {
            ws_row: 40,
            ws_col: 200,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = || {
            let mut open = File::options();
            open.read(true).write(true).open(name.to_str().unwrap()).unwrap()
        };
        // setsid(1) makes it the controlling terminal, so that ^C is a signal.
        let mut at_terminal = Command::new("setsid");
        at_terminal
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args());
        if let Some(dir) = command.get_current_dir() {
            at_terminal.current_dir(dir);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => at_terminal.env(name, value),
                None => at_terminal.env_remove(name),
            };
        }
        let child = at_terminal
            .env("TERM", "xterm")
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap_or_else(|error| panic!("{at_terminal:?}: {error}"));
        let master = File::from(master);
        let shown = Arc::new(Shown::default());
        let reader = {
            let (shown, mut master) = (Arc::clone(&shown), master.try_clone().unwrap());
            std::thread::spawn(move || {
                let mut block = [0; 4096];
                // EIO when the last of the other end is closed.
                while let Ok(length @ 1..) = master.read(&mut block) {
                    shown.text.lock().unwrap().0.extend_from_slice(&block[..length]);
                    shown.changed.notify_all();
                }
                shown.text.lock().unwrap().1 = true;
                shown.changed.notify_all();
            })
        };
        Self {
            child,
            master,
            shown,
            seen: 0,
            reader: Some(reader),
        }
    }

    /// Waits until `text` is shown, behind what was waited for before; what was shown up to its end.
    ///
    /// # Panics
    /// When that does not happen in time, with what was shown.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        let mut state = self.shown.text.lock().unwrap();
        loop {
            let news = &state.0[self.seen..];
            if let Some(at) = news.windows(text.len()).position(|part| part == text.as_bytes()) {
                let found = String::from_utf8_lossy(&news[..at + text.len()]).into_owned();
                self.seen += at + text.len();
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            let all = || String::from_utf8_lossy(&state.0).into_owned();
            assert!(
                !left.is_zero() && !state.1,
                "{text:?} is not shown, but: {}",
                all()
            );
            state = self.shown.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Types; a line ends with `\r`, as the key sends it.
    ///
    /// # Panics
    /// When the terminal has gone.
    pub fn type_keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Types a line.
    ///
    /// # Panics
    /// When the terminal has gone.
    pub fn type_line(&mut self, line: &str) {
        self.type_keys(&format!("{line}\r"));
    }

    /// Everything that has been shown.
    ///
    /// # Panics
    /// Never, as nothing else panics with the lock.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.text.lock().unwrap().0).into_owned()
    }

    /// Waits until the program has ended: how, and everything that it showed.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = wait_for_exit(&mut self.child, PATIENCE);
        let status = status.unwrap_or_else(|| panic!("it does not end: {}", self.text()));
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        (status, self.text())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Terminal").field("text", &self.text()).finish()
    }
}
