//! The clients of the matrix, and one visit: list, send and fetch, and every file compared by its hash.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pasarela_testkit::lab::{Lab, Role};
use pasarela_testkit::{Ended, PASSWORD, Pasarela, USER, make_file, run_within, sha256};

/// How long one run of a client may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// A client that people already have, and how it is told to open data connections.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// What the matrix calls it.
    pub name: &'static str,
    /// Whether it protects control and data (RFC 4217).
    pub tls: bool,
    program: Program,
}

#[derive(Debug, Clone, Copy)]
enum Program {
    Curl(&'static [&'static str]),
    Lftp,
}

/// Every client. curl ignores the address in 227 unless told otherwise; lftp sends PASV and takes the address unless it is
/// a private one.
pub const CLIENTS: &[Client] = &[
    client("curl epsv", false, Program::Curl(&[])),
    client("curl pasv", false, Program::Curl(&["--disable-epsv"])),
    client("curl 227", false, Program::Curl(OBEY_227)),
    client("lftp", false, Program::Lftp),
    client("curl epsv", true, Program::Curl(&[])),
    client("curl 227", true, Program::Curl(OBEY_227)),
    client("lftp", true, Program::Lftp),
];

const OBEY_227: &[&str] = &["--disable-epsv", "--no-ftp-skip-pasv-ip"];

const fn client(name: &'static str, tls: bool, program: Program) -> Client {
    Client { name, tls, program }
}

impl Client {
    /// Lists, sends a file of each size, and fetches a file of each size. Gives how long all of that took.
    ///
    /// # Errors
    /// What went wrong first, in a few words with what the client said.
    pub fn visit(
        &self,
        lab: &Lab,
        server: &Pasarela,
        there: SocketAddr,
        sizes: &[usize],
    ) -> Result<Duration, String> {
        let home = tempfile::tempdir().unwrap();
        let (sent, fetched) = (home.path().join("sent"), home.path().join("fetched"));
        fs::create_dir(&fetched).unwrap();
        let folder = format!("{}{}", self.name, if self.tls { " tls" } else { "" }).replace(' ', "-");
        let at_server = server.file(&folder);
        let _ = fs::remove_dir_all(&at_server); // of an earlier visit
        let mut names = Vec::new();
        for (seed, size) in sizes.iter().enumerate() {
            let (down, up) = (format!("down-{size}"), format!("up-{size}"));
            make_file(&at_server.join(&down), seed as u64, *size);
            make_file(&sent.join(&up), 100 + seed as u64, *size);
            names.push((down, up));
        }
        let errand = Errand {
            lab,
            there,
            folder: &folder,
            names: &names,
            home: home.path(),
            tls: self.tls,
        };
        let start = Instant::now();
        let listing = match self.program {
            Program::Curl(words) => errand.curl(words)?,
            Program::Lftp => errand.lftp()?,
        };
        let took = start.elapsed();
        for (down, up) in &names {
            if !listing.contains(down.as_str()) {
                return Err(format!("{down} is not in the listing: {listing:?}"));
            }
            same(&sent.join(up), &at_server.join(up))?;
            same(&at_server.join(down), &fetched.join(down))?;
        }
        Ok(took)
    }
}

/// What a transfer is that is not to come to its end.
#[derive(Debug, Clone, Copy)]
pub enum Slow {
    /// It takes a file.
    Fetches,
    /// It gives a file.
    Sends,
}

impl Client {
    /// Begins to fetch the server's file `name`, or to send `from` under it, slowly where the client knows how, and does
    /// not wait for the end.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn begin(&self, lab: &Lab, there: SocketAddr, what: Slow, name: &str, from: &Path) -> Child {
        let mut names = [(String::new(), String::new())];
        match what {
            Slow::Fetches => name.clone_into(&mut names[0].0),
            Slow::Sends => name.clone_into(&mut names[0].1),
        }
        let home = from.parent().unwrap();
        let errand = Errand {
            lab,
            there,
            folder: "",
            names: &names,
            home,
            tls: self.tls,
        };
        let mut command = match self.program {
            Program::Curl(words) => {
                let mut curl = errand.curl_for(words, name);
                match what {
                    // What its socket holds it takes at this rate before it sees the end.
                    Slow::Fetches => curl.args(["--limit-rate", "4M", "-o", "/dev/null"]),
                    Slow::Sends => curl.args(["--limit-rate", "200k", "-T"]).arg(from),
                };
                curl
            }
            Program::Lftp => {
                let script = format!(
                    "set net:limit-rate 200000\n{}{}",
                    errand.lftp_begins(),
                    match what {
                        // lftp 4.9 keeps to the rate in uploads alone.
                        Slow::Fetches => format!("get {name}\n"),
                        Slow::Sends => format!("put \"{}\" -o {name}\n", from.display()),
                    }
                );
                errand.lftp_with(&script)
            }
        };
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }
}

/// What one visit is to do.
struct Errand<'a> {
    lab: &'a Lab,
    there: SocketAddr,
    folder: &'a str,
    /// Of files to fetch, and of files to send.
    names: &'a [(String, String)],
    home: &'a Path,
    tls: bool,
}

impl Errand<'_> {
    /// A run for each file: curl 7.88 sleeps a second before most data connections of a session but the first one, when
    /// they are up at once. Gives the listing.
    fn curl(&self, words: &[&str]) -> Result<String, String> {
        let curl = |name: &str| self.curl_for(words, name);
        let listed = ran("list", &mut curl(""))?;
        for (fetch, send) in self.names {
            let (from, into) = (
                self.home.join("sent").join(send),
                self.home.join("fetched").join(fetch),
            );
            ran("send", curl(send).arg("-T").arg(from))?;
            ran("fetch", curl(fetch).arg("-o").arg(into))?;
        }
        Ok(String::from_utf8_lossy(&listed.stdout).into_owned())
    }

    fn curl_for(&self, words: &[&str], name: &str) -> Command {
        let mut curl = self.program("curl");
        curl.args(["-q", "-sS", "-g", "--connect-timeout", "15"]);
        curl.args(["-u", &format!("{USER}:{PASSWORD}")]);
        if self.tls {
            curl.args(["--ssl-reqd", "-k"]);
        }
        curl.args(words)
            .arg(format!("ftp://{}/{}/{name}", self.there, self.folder));
        curl
    }

    /// One session. Gives the listing.
    fn lftp(&self) -> Result<String, String> {
        let mut script = self.lftp_begins();
        let _ = writeln!(script, "cd {}\nls", self.folder);
        for (fetch, send) in self.names {
            let (from, into) = (
                self.home.join("sent").join(send),
                self.home.join("fetched").join(fetch),
            );
            let _ = writeln!(
                script,
                "put \"{}\"\nget {fetch} -o \"{}\"",
                from.display(),
                into.display()
            );
        }
        let ended = ran("session", &mut self.lftp_with(&script))?;
        Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
    }

    /// The lines of a script that open a session.
    fn lftp_begins(&self) -> String {
        format!(
            "set cmd:fail-exit yes\nset net:max-retries 1\nset net:persist-retries 0\nset net:timeout 15\n\
             set net:reconnect-interval-base 1\n\
             set ssl:verify-certificate no\nset ftp:ssl-allow {tls}\nset ftp:ssl-force {tls}\n\
             set ftp:ssl-protect-data yes\nset ftp:passive-mode yes\nopen -u {USER},{PASSWORD} ftp://{there}\n",
            tls = self.tls,
            there = self.there,
        )
    }

    fn lftp_with(&self, script: &str) -> Command {
        let file = self.home.join("script");
        fs::write(&file, script).unwrap();
        let mut lftp = self.program("lftp");
        lftp.arg("--norc").arg("-f").arg(&file);
        lftp
    }

    /// A program on the client's side with nothing of ours in its environment.
    fn program(&self, name: &str) -> Command {
        let mut command = self.lab.command(Role::Client, name);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.home)
            .env("LC_ALL", "C.UTF-8");
        command.current_dir(self.home).stdin(Stdio::null());
        command
    }
}

/// Runs a client, which must end with success.
fn ran(what: &str, command: &mut Command) -> Result<Ended, String> {
    let ended = run_within(command, PATIENCE);
    if ended.success() {
        return Ok(ended);
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let end = ended
        .status
        .map_or_else(|| "no end in time".to_owned(), |status| status.to_string());
    Err(format!("{what}: {end}, {}", said.trim().replace('\n', " / ")))
}

fn same(expected: &Path, found: &Path) -> Result<(), String> {
    if !found.is_file() {
        return Err(format!("{} is not there", found.display()));
    }
    if sha256(expected) != sha256(found) {
        return Err(format!("{} has other bytes", found.display()));
    }
    Ok(())
}
