//! Where passwords of saved places are kept: in the keyring of the session where there is one, else in a file of their own.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use pasarela_client::{Secret, Url};

use super::private::{self, Closed};
use crate::failure::Problem;

/// What keeps a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeper {
    /// The keyring (the Secret Service of the desktop session), by secret-tool(1).
    Keyring,
    /// `passwords.toml` in the state folder.
    File,
}

/// The keyring may have to be unlocked by somebody at a window.
const PATIENCE: Duration = Duration::from_secs(120);
/// A keyring's answer, at most.
const LONGEST: u64 = 4096;

impl Keeper {
    /// The one that is meant by a word of the file of places.
    pub(super) fn named(word: &str) -> Option<Self> {
        [Self::Keyring, Self::File]
            .into_iter()
            .find(|keeper| keeper.name() == word)
    }

    /// Its word there.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::File => "file",
        }
    }
}

/// Both of them.
#[derive(Debug, Clone)]
pub(super) struct Keepers {
    file: PathBuf,
    /// secret-tool, where it can reach a keyring.
    tool: Option<PathBuf>,
}

impl Keepers {
    /// Those of this user.
    pub(super) fn new(state_dir: &Path) -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let has_bus = variable("DBUS_SESSION_BUS_ADDRESS").is_some()
            || variable("XDG_RUNTIME_DIR").is_some_and(|dir| Path::new(&dir).join("bus").exists());
        let tool = variable("PATH").filter(|_| has_bus).and_then(|path| {
            std::env::split_paths(&path)
                .map(|dir| dir.join("secret-tool"))
                .find(|tool| tool.is_file())
        });
        Self {
            file: state_dir.join("passwords.toml"),
            tool,
        }
    }

    /// Whether there is a keyring to try.
    pub(super) fn have_keyring(&self) -> bool {
        self.tool.is_some()
    }

    /// The file.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Keeps the password of a login, instead of one that is there.
    ///
    /// # Errors
    /// It cannot be kept there.
    pub(super) fn keep(&self, keeper: Keeper, url: &Url, password: &Secret) -> Result<(), Problem> {
        let login = login(url);
        match keeper {
            Keeper::Keyring => {
                let label = format!("pasarela: {login}");
                self.tool(&["store", "--label", &label], &login, Some(password))
                    .map(|_| ())
            }
            Keeper::File => {
                let text = std::str::from_utf8(password.reveal())
                    .map_err(|_| Problem::new("a password that is no UTF-8 cannot be kept in a file"))?;
                self.change_file(|table| {
                    table.insert(login, text.into());
                })
            }
        }
    }

    /// The password of a login, if it is there.
    ///
    /// # Errors
    /// The keeper cannot be asked.
    pub(super) fn look_up(&self, keeper: Keeper, url: &Url) -> Result<Option<Secret>, Problem> {
        let login = login(url);
        match keeper {
            Keeper::Keyring => self.tool(&["lookup"], &login, None),
            Keeper::File => {
                let table = self.parse(&private::read(&self.file, Closed::ToReaders)?)?;
                let password = table.get(&login).and_then(toml::Value::as_str);
                Ok(password.map(Secret::new))
            }
        }
    }

    /// Forgets the password of a login.
    ///
    /// # Errors
    /// As [`Self::look_up`].
    pub(super) fn forget(&self, keeper: Keeper, url: &Url) -> Result<(), Problem> {
        let login = login(url);
        match keeper {
            Keeper::Keyring => self.tool(&["clear"], &login, None).map(|_| ()),
            Keeper::File => self.change_file(|table| {
                table.remove(&login);
            }),
        }
    }

    fn change_file(&self, change: impl FnOnce(&mut toml::Table)) -> Result<(), Problem> {
        private::rewrite(&self.file, Closed::ToReaders, |old| {
            let mut table = self.parse(old)?;
            change(&mut table);
            Ok(table.to_string())
        })
    }

    /// What is wrong is not shown, as it may be a password.
    fn parse(&self, text: &str) -> Result<toml::Table, Problem> {
        text.parse()
            .map_err(|_| Problem::new(format!("{}: is not TOML", self.file.display())))
    }

    /// secret-tool(1) with the attributes of a login. No output and failure is how it says that there is nothing.
    fn tool(&self, words: &[&str], login: &str, input: Option<&Secret>) -> Result<Option<Secret>, Problem> {
        let failed = |text: String| {
            Problem::new(format!("the keyring: {text}"))
                .hint("--keep file needs none; --password-file takes it from elsewhere")
        };
        let tool = self.tool.as_ref().ok_or_else(|| {
            failed("there is none: secret-tool is not installed, or no desktop session runs".to_owned())
        })?;
        let mut child = Command::new(tool)
            .args(words)
            .args(["service", "pasarela", "login", login])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        if let (Some(mut stdin), Some(password)) = (child.stdin.take(), input) {
            // One that does not read has its reason, and tells it.
            let _ = stdin.write_all(password.reveal());
        }
        let (said, complaint, is_done) = finish(child).map_err(|error| failed(error.to_string()))?;
        let complaint = String::from_utf8_lossy(complaint.reveal()).trim().to_owned();
        match (is_done, complaint.is_empty()) {
            (true, _) if words == ["lookup"] => Ok(Some(said)),
            (true, _) => Ok(None),
            (false, true) if input.is_none() => Ok(None),
            (false, _) => Err(failed(super::show::escaped(complaint.as_bytes()))),
        }
    }
}

/// Waits for a process: what it wrote to both ends, and whether it says that it did what it should.
fn finish(mut child: Child) -> std::io::Result<(Secret, Secret, bool)> {
    fn read(from: Option<impl std::io::Read + Send + 'static>) -> mpsc::Receiver<Secret> {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = Vec::with_capacity(LONGEST as usize);
            if let Some(from) = from {
                let _ = from.take(LONGEST).read_to_end(&mut text);
            }
            let _ = tell.send(Secret::new(text));
        });
        told
    }
    let end = Instant::now() + PATIENCE;
    let (said, complaint) = (read(child.stdout.take()), read(child.stderr.take()));
    let left = || end.saturating_duration_since(Instant::now());
    let told = said
        .recv_timeout(left())
        .and_then(|said| Ok((said, complaint.recv_timeout(left())?)));
    let Ok((said, complaint)) = told else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(std::io::Error::other("it does not answer"));
    };
    // Both its ends are closed: it is about to end.
    Ok((said, complaint, child.wait()?.success()))
}

/// The key of a login: a password goes to the server and the user that it was kept for, whatever a name means later.
fn login(url: &Url) -> String {
    Url {
        path: Vec::new(),
        password: None,
        ..url.clone()
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A keyring of one file a login, as secret-tool(1) would use it.
    const TOOL: &str = r#"#!/bin/sh
verb=$1; shift
[ "$verb" = store ] && { [ "$1" = --label ] || exit 2; shift 2; }
[ "$1 $2 $3" = "service pasarela login" ] || { echo "bad attributes" >&2; exit 2; }
file="$(dirname "$0")/$(echo "$4" | tr -c 'a-z0-9\n' _)"
case $verb in
    store) cat > "$file" ;;
    lookup) [ -e "$file" ] || exit 1; printf %s "$(cat "$file")" ;;
    clear) rm -f "$file" ;;
esac
"#;

    #[test]
    fn a_password_is_found_where_it_was_kept_and_only_by_its_login() {
        let dir = tempfile::tempdir().unwrap();
        let tool = dir.path().join("secret-tool");
        std::fs::write(&tool, TOOL).unwrap();
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        let keepers = Keepers {
            file: dir.path().join("passwords.toml"),
            tool: Some(tool),
        };
        let url = |text: &str| -> Url { text.parse().unwrap() };
        let (anna, other) = (url("ftpes://anna@h/www"), url("ftpes://anna@h2/"));
        for keeper in [Keeper::Keyring, Keeper::File] {
            assert_eq!(keepers.look_up(keeper, &anna).unwrap(), None);
            let password = Secret::new(*b"s3 \"same'$x");
            keepers.keep(keeper, &anna, &password).unwrap();
            assert_eq!(
                keepers.look_up(keeper, &url("ftpes://anna@h/")).unwrap(),
                Some(password)
            );
            assert_eq!(keepers.look_up(keeper, &other).unwrap(), None);
            keepers.forget(keeper, &anna).unwrap();
            assert_eq!(keepers.look_up(keeper, &anna).unwrap(), None);
            assert_eq!(Keeper::named(keeper.name()), Some(keeper));
        }
        let none = Keepers {
            tool: None,
            ..keepers
        };
        let problem = none
            .keep(Keeper::Keyring, &anna, &Secret::new(*b"sesame"))
            .unwrap_err();
        assert!(problem.hint.is_some() && !format!("{problem:?}").contains("sesame"));
    }
}
