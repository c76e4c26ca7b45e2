//! Who is measured: each server with the program it needs, the protocols it has, and how it is started.

mod debian;
mod machine;
mod ours;

pub(crate) use machine::{MOVE, Way, serve};

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::case::{Case, Load};
use crate::failed::Failed;
use crate::tree::Tree;

/// The account that every server has, unless it has anonymous visitors only.
pub(crate) const USER: &str = "bench";
/// Its password.
pub(crate) const PASSWORD: &str = "bench";

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// RFC 959, and RFC 4217 where it has TLS.
    Ftp,
    /// HTTP/1.1, as the yardstick for downloads.
    Http,
    /// Nothing: a connection is the file. What the machine does without any server.
    Download,
    /// The same the other way.
    Upload,
}

/// One server.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) speaks: Speaks,
    /// Whether it has TLS 1.3.
    pub(crate) tls: bool,
    /// Whether it has MLSD (RFC 3659 §7).
    pub(crate) mlsd: bool,
    /// Whether it needs root's rights.
    pub(crate) root: bool,
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
    /// Its program, if it is there.
    pub(crate) program: fn(&Places) -> Option<PathBuf>,
    /// How it is started to stay in the foreground.
    pub(crate) command: fn(&Setting<'_>) -> Result<Command, Failed>,
}

/// Where programs are.
#[derive(Debug)]
pub(crate) struct Places {
    /// The built `pasarela`.
    pub(crate) ours: PathBuf,
    /// Another build of it.
    pub(crate) baseline: Option<PathBuf>,
    /// Where packages are unpacked that cannot be installed side by side.
    pub(crate) unpacked: PathBuf,
}

/// What a server is started with.
pub(crate) struct Setting<'a> {
    pub(crate) program: &'a Path,
    pub(crate) places: &'a Places,
    pub(crate) tree: &'a Tree,
    /// An empty folder of its own.
    pub(crate) scratch: &'a Path,
    pub(crate) port: u16,
    pub(crate) case: &'a Case,
}

/// Everybody, ours first: the others are compared with that.
pub(crate) static PEERS: &[&Peer] = &[
    &ours::PASARELA,
    &ours::BASELINE,
    &debian::VSFTPD,
    &debian::VSFTPD_ONE,
    &debian::PROFTPD,
    &debian::PURE_FTPD,
    &debian::PYFTPDLIB,
    &debian::RCLONE,
    &debian::UNFTP,
    &debian::NGINX,
    &machine::SENDFILE,
    &machine::SPLICE_DOWN,
    &machine::WRITE_TLS,
    &machine::SPLICE_UP,
    &machine::READ_UP,
    &machine::READ_TLS,
];

/// The one that the others are compared with.
pub(crate) fn ours() -> &'static Peer {
    &ours::PASARELA
}

impl Peer {
    /// Whether there is anything for it to do in a case.
    pub(crate) fn takes(&self, case: &Case) -> bool {
        let wire = self.tls || !case.tls;
        match (self.speaks, case.load) {
            (Speaks::Ftp, Load::Mlsd | Load::HugeMlsd) => wire && self.mlsd,
            (Speaks::Ftp, _) => wire && !case.is_without_server(),
            (Speaks::Http, Load::Retr) => wire,
            (Speaks::Download, Load::Retr) | (Speaks::Upload, Load::Stor { .. }) => self.tls == case.tls,
            _ => false,
        }
    }

    /// Whether it is no server but a limit of this machine.
    pub(crate) fn is_limit(&self) -> bool {
        matches!(self.speaks, Speaks::Download | Speaks::Upload)
    }
}

impl Places {
    /// What is beside this program: both were built by the same command. The variables PASARELA_BIN and
    /// PASARELA_SERVERS override it; PASARELA_BASELINE names another build of ours.
    pub(crate) fn beside(own: &Path) -> Self {
        let profile = own.parent().unwrap_or(own);
        let given = |name: &str| std::env::var_os(name).map(PathBuf::from);
        Self {
            ours: given("PASARELA_BIN").unwrap_or_else(|| profile.join("pasarela")),
            baseline: given("PASARELA_BASELINE"),
            unpacked: given("PASARELA_SERVERS")
                .unwrap_or_else(|| profile.parent().unwrap_or(profile).join("servers")),
        }
    }

    /// A program of the unpacked packages, or of the system.
    fn find(&self, name: &str) -> Option<PathBuf> {
        let unpacked = ["usr/sbin", "usr/bin"].map(|folder| self.unpacked.join(folder));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let installed = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
        let mut found = unpacked
            .into_iter()
            .chain(installed)
            .map(|folder| folder.join(name));
        found.find(|program| program.is_file())
    }

    /// Libraries that unpacked programs bring.
    fn libraries(&self) -> PathBuf {
        let folder = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        self.unpacked.join(folder)
    }
}

impl Setting<'_> {
    /// Writes a file into the scratch folder, blank-trimmed line by line.
    fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failed> {
        use crate::failed::During as _;
        let path = self.scratch.join(name);
        let lines: String = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .flat_map(|line| [line, "\n"])
            .collect();
        std::fs::write(&path, lines).during(path.display().to_string())?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_ours_is_first() {
        let mut names: Vec<_> = PEERS.iter().map(|peer| peer.name).collect();
        assert_eq!(names[0], ours().name);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PEERS.len());
    }

    #[test]
    fn a_limit_stands_beside_the_transfers_it_limits_only() {
        let rows = |case: &str| {
            let case = Case::named(case).unwrap();
            let limits = PEERS.iter().filter(|peer| peer.is_limit() && peer.takes(case));
            limits.count()
        };
        assert_eq!(
            [rows("retr"), rows("stor"), rows("retr-tls"), rows("stor-tls")],
            [2, 2, 1, 1]
        );
        assert_eq!([rows("login-1"), rows("list"), rows("machine")], [0, 0, 0]);
    }

    #[test]
    fn a_server_without_mlsd_is_not_asked_for_it() {
        let vsftpd = PEERS.iter().find(|peer| peer.name == "vsftpd").unwrap();
        assert!(vsftpd.takes(Case::named("list").unwrap()));
        assert!(!vsftpd.takes(Case::named("mlsd").unwrap()));
    }
}
