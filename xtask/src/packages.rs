//! The programs that building and testing need, and the Debian packages they come from.

use std::path::Path;
use std::process::{Command, Stdio};

/// A program and its Debian package.
type Need = (&'static str, &'static str);

/// For building. aws-lc-sys brings generated bindings and needs a C compiler; on Linux it needs no CMake.
pub(crate) const BUILD: &[Need] = &[("cc", "gcc"), ("git", "git")];

/// For everything.
pub(crate) const ALL: &[Need] = &[
    ("cc", "gcc"),
    ("git", "git"),
    ("curl", "curl"),
    ("lftp", "lftp"),
    ("tnftp", "tnftp"),
    ("ncftpget", "ncftp"),
    ("wget", "wget"),
    ("aria2c", "aria2"),
    ("rclone", "rclone"),
    ("sftp", "openssh-client"),
    ("sshfs", "sshfs"),
    (
        "/usr/lib/python3/dist-packages/paramiko/__init__.py",
        "python3-paramiko",
    ),
    (
        "/usr/lib/python3/dist-packages/asyncssh/__init__.py",
        "python3-asyncssh",
    ),
    ("python3", "python3"),
    ("openssl", "openssl"),
    ("strace", "strace"),
    ("ss", "iproute2"),
    ("nft", "nftables"),
    ("conntrack", "conntrack"),
    ("turnserver", "coturn"),
    ("miniupnpd", "miniupnpd-nftables"),
    ("natpmpc", "natpmpc"),
    ("vsftpd", "vsftpd"),
    PYFTPDLIB,
    PYOPENSSL,
];

const PYFTPDLIB: Need = (
    "/usr/lib/python3/dist-packages/pyftpdlib/__init__.py",
    "python3-pyftpdlib",
);

const PYOPENSSL: Need = (
    "/usr/lib/python3/dist-packages/OpenSSL/__init__.py",
    "python3-openssl",
);

/// Servers beside which ours is measured, and what counts instructions.
pub(crate) const PEERS: &[Need] = &[
    ("vsftpd", "vsftpd"),
    ("valgrind", "valgrind"),
    PYFTPDLIB,
    PYOPENSSL,
];

/// Servers and proxies that cannot be installed beside others, or would be started by being installed: what each is known by, and
/// its packages with the libraries that they bring.
type Unpacked = (&'static str, &'static [&'static str]);

const PROFTPD: Unpacked = (
    "usr/sbin/proftpd",
    &[
        "proftpd-core",
        "proftpd-mod-crypto",
        "libhashkit2",
        "libmemcached11",
        "libmemcachedutil2",
        "libpcre2-posix3",
        "libsodium23",
    ],
);

const PURE_FTPD: Unpacked = (
    "usr/sbin/pure-ftpd",
    &["pure-ftpd", "pure-ftpd-common", "libsodium23"],
);

/// For the tests.
pub(crate) const TESTED: &[Unpacked] = &[
    PROFTPD,
    PURE_FTPD,
    ("usr/bin/microsocks", &["microsocks"]),
    ("usr/bin/tinyproxy", &["tinyproxy-bin"]),
];

/// For the benchmark.
pub(crate) const MEASURED: &[Unpacked] = &[PROFTPD, PURE_FTPD, ("usr/sbin/nginx", &["nginx"])];

/// Unpacks those that are not there yet into `target/servers`.
///
/// # Errors
/// What failed, as a sentence.
pub(crate) fn unpack(servers: &[Unpacked]) -> Result<(), String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/servers");
    let missing = servers
        .iter()
        .filter(|(program, _)| !folder.join(program).is_file());
    let packages: Vec<&str> = missing
        .flat_map(|(_, packages)| packages.iter().copied())
        .collect();
    if packages.is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    eprintln!("==> unpacking: {}", packages.join(" "));
    let script = "apt-get download \"$@\" && for package in *.deb; do dpkg -x \"$package\" . || exit 1; done; rm -f *.deb";
    let mut command = Command::new("sh");
    command
        .args(["-c", script, "sh"])
        .args(&packages)
        .current_dir(&folder)
        .stdin(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        failed => Err(format!("{command:?}: {failed:?}")),
    }
}

/// Makes sure that all of them are there; installs what is missing when `may_install` and apt can be run without a
/// question.
///
/// # Errors
/// What a person has to install, as a command line.
pub(crate) fn ensure(needs: &[Need], may_install: bool) -> Result<(), String> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    let Some(prefix) = (if may_install { apt_prefix() } else { None }) else {
        return Err(format!(
            "missing: {}\n  sudo apt-get update && sudo {line}",
            missing.join(" ")
        ));
    };
    eprintln!("==> packages: {line}");
    for words in ["apt-get update", line.as_str()] {
        let mut words = prefix.iter().copied().chain(words.split(' '));
        let mut command = Command::new(words.next().unwrap_or_default());
        command
            .args(words)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null());
        if !command.status().is_ok_and(|status| status.success()) {
            return Err(format!(
                "{command:?} failed; still missing: {}",
                missing.join(" ")
            ));
        }
    }
    let still = self::missing(needs);
    if still.is_empty() {
        Ok(())
    } else {
        Err(format!("installed, yet not on the PATH: {}", still.join(" ")))
    }
}

/// Whether a program can be found, on the PATH or where Debian keeps what root runs.
pub(crate) fn on_path(program: &str) -> bool {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn missing(needs: &[Need]) -> Vec<&'static str> {
    needs
        .iter()
        .filter(|(program, _)| !on_path(program))
        .map(|(_, package)| *package)
        .collect()
}

/// What stands before `apt-get`; `None` where that cannot be run.
fn apt_prefix() -> Option<&'static [&'static str]> {
    on_path("apt-get").then(as_root).flatten()
}

/// What stands before a command that root must run: nothing for root, `sudo -n` when that asks no password.
pub(crate) fn as_root() -> Option<&'static [&'static str]> {
    if std::fs::metadata("/proc/self").is_ok_and(|us| std::os::unix::fs::MetadataExt::uid(&us) == 0) {
        return Some(&[]);
    }
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    (Path::new("/usr/bin/sudo").is_file() && sudo.status().is_ok_and(|status| status.success()))
        .then_some(&["sudo", "-n"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_missing_and_what_is_not_is_named_by_package() {
        assert!(on_path("sh") && !on_path("no-such-program"));
        assert_eq!(
            missing(&[("sh", "dash"), ("no-such-program", "its-package")]),
            ["its-package"]
        );
        let told = ensure(&[("no-such-program", "its-package")], false).unwrap_err();
        assert!(
            told.contains("apt-get install -y --no-install-recommends its-package"),
            "{told}"
        );
    }

    #[test]
    fn everything_includes_building() {
        assert!(BUILD.iter().all(|need| ALL.contains(need)));
    }
}
