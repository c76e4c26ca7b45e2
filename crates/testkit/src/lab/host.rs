//! What this machine must have for a lab, running `ip` and `nft`, and ending what a lab leaves behind.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::LabError;

/// Programs that a lab runs.
const PROGRAMS: &[&str] = &["ip", "nft", "conntrack", "turnserver", "miniupnpd"];
/// First word of the names of all our namespaces; the process that made one comes second.
pub(crate) const PREFIX: &str = "pasarela";
/// Where `ip netns` keeps names.
const NAMESPACES: &str = "/run/netns";
/// How long the kernel may take to end a killed process.
const UNTIL_KILLED: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

/// Why a lab cannot run here, or `None` when it can. Looked at once in a process.
#[must_use]
pub fn unsupported() -> Option<String> {
    static ANSWER: OnceLock<Option<String>> = OnceLock::new();
    ANSWER.get_or_init(look).clone()
}

fn look() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("network namespaces are Linux'".to_owned());
    }
    if !geteuid().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    let missing: Vec<_> = PROGRAMS
        .iter()
        .filter(|name| find(name).is_none())
        .copied()
        .collect();
    if !missing.is_empty() {
        return Some(format!("not installed: {}", missing.join(", ")));
    }
    // Containers may be root and still have neither the right nor the kernel's modules.
    let probe = format!("{PREFIX}-{}-probe", std::process::id());
    let rules = super::router::Router::new(
        &[super::Ability::FtpAlg, super::Ability::FullCone],
        std::net::Ipv4Addr::LOCALHOST,
        std::net::Ipv4Addr::LOCALHOST,
    )
    .rules();
    let tried = batch(None, &format!("netns add {probe}\n"))
        .and_then(|()| {
            batch(
                Some(&probe),
                "link add probe type bridge\nlink add one type veth peer name other\n",
            )
        })
        .and_then(|()| load_rules(&probe, &rules));
    let _ = batch(None, &format!("netns del {probe}\n"));
    tried.err().map(|error| error.to_string())
}

/// A program on the PATH, or where Debian keeps what only root runs.
fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path())
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// The PATH with the folders that an unprivileged user's often lacks.
pub(crate) fn search_path() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

/// A program in a namespace, or outside of all.
pub(crate) fn command(namespace: Option<&str>, program: impl AsRef<OsStr>) -> Command {
    let mut command = match namespace {
        None => Command::new(program),
        Some(namespace) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace]).arg(program);
            command
        }
    };
    command.env("PATH", search_path()).stdin(Stdio::null());
    command
}

/// Runs lines of `ip` in a namespace, or outside of all.
pub(crate) fn batch(namespace: Option<&str>, lines: &str) -> Result<(), LabError> {
    let mut ip = command(None, "ip");
    if let Some(namespace) = namespace {
        ip.args(["-n", namespace]);
    }
    ip.args(["-batch", "-"]);
    feed(ip, lines).map(drop)
}

/// Loads rules in a namespace.
pub(crate) fn load_rules(namespace: &str, rules: &str) -> Result<(), LabError> {
    let mut nft = command(Some(namespace), "nft");
    nft.args(["-f", "-"]);
    feed(nft, rules).map(drop)
}

/// Runs a program to its end, with that input (less than a pipe holds); gives what it said.
pub(crate) fn feed(mut command: Command, input: &str) -> Result<String, LabError> {
    let ran = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            let written = child
                .stdin
                .take()
                .map(|mut stdin| stdin.write_all(input.as_bytes()));
            let output = child.wait_with_output()?;
            written.transpose().map(|_| output)
        });
    let said = match ran {
        Ok(output) if output.status.success() => {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Ok(output) => format!("{}, {}", output.status, String::from_utf8_lossy(&output.stderr)),
        Err(error) => error.to_string(),
    };
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    Err(LabError::Program {
        command: words
            .collect::<Vec<_>>()
            .join(OsStr::new(" "))
            .display()
            .to_string(),
        input: input.to_owned(),
        said,
    })
}

/// Moves the calling thread, and what it starts, into a namespace.
fn enter(namespace: &str) -> Result<(), LabError> {
    let open = File::open(PathBuf::from(NAMESPACES).join(namespace));
    open.and_then(|namespace| {
        Ok(move_into_link_name_space(
            namespace.as_fd(),
            Some(LinkNameSpaceType::Network),
        )?)
    })
    .map_err(|source| LabError::Namespace {
        namespace: namespace.to_owned(),
        source,
    })
}

/// Runs work on a thread of its own inside a namespace; a panic of it goes on here.
pub(crate) fn within<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| enter(namespace).map(|()| work()));
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Ends every process that runs in these namespaces and removes them. Says nothing when one is gone already.
pub(crate) fn remove(namespaces: &[String]) {
    let inodes: Vec<u64> = namespaces
        .iter()
        .filter_map(|name| Some(fs::metadata(PathBuf::from(NAMESPACES).join(name)).ok()?.ino()))
        .collect();
    let inside = |process: i32| {
        let space = fs::metadata(format!("/proc/{process}/ns/net"));
        space.is_ok_and(|space| inodes.contains(&space.ino()))
            && u32::try_from(process) != Ok(std::process::id())
    };
    // A handle means the same process for ever, a number does not: look again once the handle is there.
    let handles: Vec<OwnedFd> = processes()
        .filter(|process| inside(*process))
        .filter_map(|process| {
            let handle = pidfd_open(Pid::from_raw(process)?, PidfdFlags::empty()).ok()?;
            inside(process).then_some(handle)
        })
        .collect();
    for handle in &handles {
        let _ = pidfd_send_signal(handle, Signal::KILL);
    }
    for handle in &handles {
        let _ = poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&UNTIL_KILLED));
    }
    for namespace in namespaces {
        let _ = batch(None, &format!("netns del {namespace}\n")); // one by one: a batch ends at its first error
    }
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Removes what labs left behind whose process is gone: killed before it could tear them down.
pub(crate) fn sweep() {
    let left = left_in(Path::new(NAMESPACES));
    if !left.is_empty() {
        remove(&left);
    }
    let folder = std::env::temp_dir();
    for name in left_in(&folder) {
        let _ = fs::remove_dir_all(folder.join(name));
    }
}

/// Names in a folder whose maker is gone.
fn left_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| {
            maker(name).is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists())
        })
        .collect()
}

/// The process that made what has this name, if it is one of ours.
fn maker(name: &str) -> Option<u32> {
    let mut words = name.split('-');
    (words.next() == Some(PREFIX)).then_some(())?;
    let maker = words.next()?.parse().ok();
    words.next().and(maker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_names_have_a_maker() {
        assert_eq!(maker("pasarela-12-3-client"), Some(12));
        for other in [
            "pasarela",
            "pasarela-12",
            "pasarela-x-3-client",
            "other-12-3-client",
            "12",
        ] {
            assert_eq!(maker(other), None, "{other}");
        }
    }

    #[test]
    fn what_a_program_said_comes_back_with_its_input() {
        assert_eq!(feed(command(None, "cat"), "words\n").unwrap(), "words\n");
        let mut failing = command(None, "sh");
        failing.args(["-c", "cat >&2; exit 3"]);
        let error = feed(failing, "the input").unwrap_err().to_string();
        assert!(error.contains("exit status: 3, the input"), "{error}");
    }
}
