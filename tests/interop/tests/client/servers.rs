//! The servers people already have, each on a port of its own of the loopback interface, with a folder and a login.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pasarela_client::{FtpRemote, Options, Security, Site, Trust, Url};
use pasarela_testkit::{PASSWORD, Pasarela, USER};
use tempfile::TempDir;

/// A server of somebody else, or ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brand {
    Pasarela,
    Vsftpd,
    Pyftpdlib,
    Proftpd,
    PureFtpd,
}

/// How it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Plain,
    Explicit,
    Implicit,
}

impl Brand {
    /// Whether it runs here; says so where not.
    pub fn runs(self) -> bool {
        let is_root = fs::metadata("/proc/self").is_ok_and(|us| us.uid() == 0);
        if self == Self::PureFtpd && !is_root {
            eprintln!("not run: only root starts Pure-FTPd");
            return false;
        }
        true
    }
}

pub struct Server {
    brand: Brand,
    wire: Wire,
    address: SocketAddr,
    certificate: Option<PathBuf>,
    root: PathBuf,
    /// Ended before the folder goes.
    _child: Option<Running>,
    ours: Option<Pasarela>,
    _scratch: TempDir,
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const PYFTPDLIB: &str = r#"
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer
root, port, certificate = sys.argv[1], int(sys.argv[2]), sys.argv[3]
who = DummyAuthorizer()
who.add_user("maria", "s3cret", root, perm="elradfmwMT")
handler = FTPHandler
if certificate:
    handler = TLS_FTPHandler
    handler.certfile = certificate
    handler.tls_control_required = handler.tls_data_required = True
handler.authorizer = who
FTPServer(("127.0.0.1", port), handler).serve_forever()
"#;

impl Server {
    pub fn start(brand: Brand, wire: Wire) -> Self {
        Self::start_with(brand, wire, "")
    }

    /// With more lines of vsftpd's or ProFTPD's configuration.
    pub fn start_with(brand: Brand, wire: Wire, lines: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        if brand == Brand::Pasarela {
            let setup = Pasarela::setup().arguments(["--tls", "optional"]);
            let ours = if wire == Wire::Implicit {
                setup.implicit()
            } else {
                setup
            }
            .start();
            return Self {
                brand,
                wire,
                address: if wire == Wire::Implicit {
                    ours.implicit()
                } else {
                    ours.control()
                },
                certificate: Some(ours.certificate()),
                root: ours.root().to_owned(),
                _child: None,
                ours: Some(ours),
                _scratch: scratch,
            };
        }
        let root = scratch.path().join("root");
        fs::create_dir(&root).unwrap();
        let pem = certificate(scratch.path());
        // Freed at once, and nobody else on this machine asks for that very one in between.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = match brand {
            Brand::Vsftpd => vsftpd(scratch.path(), &root, address.port(), wire, &pem, lines),
            Brand::Proftpd => proftpd(scratch.path(), &root, address.port(), wire, &pem, lines),
            Brand::PureFtpd => pure_ftpd(scratch.path(), &root, address.port(), wire, &pem),
            _ => {
                let mut python = Command::new("/usr/bin/python3"); // Debian's, which has the package
                let tls = if wire == Wire::Plain { Path::new("") } else { &pem };
                python
                    .args(["-c", PYFTPDLIB])
                    .arg(&root)
                    .arg(address.port().to_string())
                    .arg(tls);
                python
            }
        };
        let log = fs::File::create(scratch.path().join("log")).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{command:?}: {error}\nhint: run cargo xtask test, which installs it")
            });
        let mut running = Running(child);
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(address).is_err() {
            let ended = running.0.try_wait().unwrap();
            let log = || fs::read_to_string(scratch.path().join("log")).unwrap_or_default();
            assert!(
                ended.is_none() && Instant::now() < end,
                "{command:?} {ended:?}: {}",
                log()
            );
            std::thread::yield_now();
        }
        Self {
            brand,
            wire,
            address,
            certificate: Some(pem),
            root,
            _child: Some(running),
            ours: None,
            _scratch: scratch,
        }
    }

    /// The folder that is served.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its certificate, PEM.
    pub fn certificate(&self) -> &Path {
        self.certificate.as_deref().unwrap()
    }

    /// Puts a file there, as one of its visitors'.
    pub fn put(&self, name: &str, content: &[u8]) {
        let file = self.root.join(name);
        fs::write(&file, content).unwrap();
        if self.brand == Brand::PureFtpd {
            std::os::unix::fs::chown(file, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    /// What our own server has logged.
    pub fn log(&self) -> Option<String> {
        self.ours.as_ref().map(Pasarela::log)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn site(&self) -> Site {
        let (user, password) = match self.brand {
            Brand::Vsftpd => ("anonymous", "x"),
            _ => (USER, PASSWORD),
        };
        let scheme = if self.wire == Wire::Implicit {
            "ftps"
        } else {
            "ftp"
        };
        let url: Url = format!("{scheme}://{user}:{password}@{}/", self.address)
            .parse()
            .unwrap();
        Site {
            security: match self.wire {
                Wire::Plain => Security::Offered,
                Wire::Explicit => Security::Required,
                Wire::Implicit => Security::Implicit,
            },
            trust: Trust::Roots(self.certificate().to_owned()),
            options: Options {
                plain_password: true,
                attempts: 1,
                ..Options::default()
            },
            ..Site::of(&url)
        }
    }

    pub fn remote(&self) -> FtpRemote {
        FtpRemote::new(self.site())
    }
}

/// A certificate and its key in one file.
fn certificate(folder: &Path) -> PathBuf {
    let (pem, key) = (folder.join("server.pem"), folder.join("key.pem"));
    let mut openssl = Command::new("openssl");
    openssl
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost"
                .split(' '),
        )
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&pem)
        .stderr(Stdio::null());
    assert!(openssl.status().unwrap().success());
    let both = [fs::read(&pem).unwrap(), fs::read(&key).unwrap()].concat();
    fs::write(&pem, both).unwrap();
    pem
}

/// Without root's rights vsftpd has anonymous visitors only, here with all their rights.
fn vsftpd(scratch: &Path, root: &Path, port: u16, wire: Wire, pem: &Path, lines: &str) -> Command {
    let yes_no = |yes| if yes { "YES" } else { "NO" };
    let text = format!(
        "listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nbackground=NO\nrun_as_launching_user=YES\n\
         anonymous_enable=YES\nlocal_enable=NO\nwrite_enable=YES\nanon_upload_enable=YES\nanon_mkdir_write_enable=YES\n\
         anon_other_write_enable=YES\nanon_world_readable_only=NO\nanon_umask=022\nanon_root={}\nno_anon_password=NO\n\
         chown_uploads=NO\nxferlog_enable=NO\nmdtm_write=YES\npasv_enable=YES\nseccomp_sandbox=NO\n\
         ssl_enable={}\nallow_anon_ssl=YES\nforce_anon_logins_ssl={}\nforce_anon_data_ssl={}\nimplicit_ssl={}\n\
         rsa_cert_file={}\nrsa_private_key_file={}\nrequire_ssl_reuse=YES\nssl_ciphers=HIGH\n{lines}",
        root.display(),
        yes_no(wire != Wire::Plain),
        yes_no(wire != Wire::Plain),
        yes_no(wire != Wire::Plain),
        yes_no(wire == Wire::Implicit),
        pem.display(),
        pem.display(),
    );
    let file = scratch.join("vsftpd.conf");
    fs::write(&file, text).unwrap();
    let mut command = Command::new("/usr/sbin/vsftpd");
    command.arg(file);
    command
}

/// Debian's servers exclude each other, so `cargo xtask test` unpacks this one instead of installing it.
fn proftpd(scratch: &Path, root: &Path, port: u16, wire: Wire, pem: &Path, lines: &str) -> Command {
    let unpacked = servers_folder();
    let us = fs::metadata(scratch).unwrap();
    let hash = Command::new("openssl")
        .args(["passwd", "-5", PASSWORD])
        .output()
        .unwrap();
    let hash = String::from_utf8(hash.stdout).unwrap();
    let ours = |what| {
        let id = Command::new("id").arg(what).output().unwrap();
        String::from_utf8(id.stdout).unwrap().trim().to_owned()
    };
    let users = scratch.join("users");
    let line = format!(
        "{USER}:{}:{}:{}::{}:/bin/sh\n",
        hash.trim(),
        us.uid(),
        us.gid(),
        root.display()
    );
    fs::write(&users, line).unwrap();
    fs::set_permissions(&users, fs::Permissions::from_mode(0o600)).unwrap();
    let tls = if wire == Wire::Plain {
        String::new()
    } else {
        format!(
            "LoadModule mod_tls.c\nTLSEngine on\nTLSRequired on\nTLSLog none\nTLSECCertificateFile {0}\n\
             TLSECCertificateKeyFile {0}\nTLSRenegotiate none\n{1}",
            pem.display(),
            if wire == Wire::Implicit {
                "TLSOptions UseImplicitSSL\n"
            } else {
                ""
            },
        )
    };
    let text = format!(
        "ServerType standalone\nServerName test\nDefaultAddress 127.0.0.1\nPort {port}\nUser {}\nGroup {}\n\
         UseIPv6 off\nUseReverseDNS off\nModulePath {}\nPidFile {place}/pid\nScoreboardFile {place}/scores\n\
         DelayTable none\nTransferLog none\nSystemLog {place}/system\nWtmpLog off\nRootLogin on\n\
         RequireValidShell off\nAuthOrder mod_auth_file.c\nAuthUserFile {}\nDefaultRoot {}\n\
         AllowOverwrite on\nAllowStoreRestart on\nAllowRetrieveRestart on\n{lines}{tls}",
        ours("-un"),
        ours("-gn"),
        unpacked.join("usr/lib/proftpd").display(),
        users.display(),
        root.display(),
        place = scratch.display(),
    );
    let file = scratch.join("proftpd.conf");
    fs::write(&file, text).unwrap();
    let mut command = unpacked_program("usr/sbin/proftpd");
    command.args(["-n", "-q", "-c"]).arg(file);
    command
}

/// It has virtual users, and serves none as root, so the folder is nobody's. It cannot begin with TLS.
fn pure_ftpd(scratch: &Path, root: &Path, port: u16, wire: Wire, pem: &Path) -> Command {
    let (passwd, database) = (scratch.join("passwd"), scratch.join("users.pdb"));
    std::os::unix::fs::chown(root, Some(NOBODY), Some(NOBODY)).expect("only root starts Pure-FTPd");
    // Its visitors are not root.
    fs::set_permissions(scratch, fs::Permissions::from_mode(0o755)).unwrap();
    let mut users = unpacked_program("usr/bin/pure-pw");
    users
        .args(["useradd", USER, "-f"])
        .arg(&passwd)
        .args(["-u", &NOBODY.to_string(), "-g", &NOBODY.to_string(), "-d"])
        .arg(root)
        .args(["-m", "-F"])
        .arg(&database);
    let mut child = users
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{users:?}: {error}\nhint: run cargo xtask test, which unpacks it"));
    let typed = format!("{PASSWORD}\n{PASSWORD}\n");
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let mut command = unpacked_program("usr/sbin/pure-ftpd");
    command
        .args(["-4", "-A", "-E", "-H", "-C", "50", "-S"])
        .arg(format!("127.0.0.1,{port}"))
        .arg("-l")
        .arg(format!("puredb:{}", database.display()));
    if wire != Wire::Plain {
        command.args(["-Y", "3", "-2"]).arg(pem);
    }
    command
}

const NOBODY: u32 = 65534;

/// A program that `cargo xtask test` unpacks instead of installing it, with the libraries that it brings.
pub fn unpacked_program(path: &str) -> Command {
    let unpacked = servers_folder();
    let mut command = Command::new(unpacked.join(path));
    command.env(
        "LD_LIBRARY_PATH",
        unpacked.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH)),
    );
    command
}

/// Where servers are unpacked: `PASARELA_SERVERS`, or `servers` in the target folder.
fn servers_folder() -> PathBuf {
    std::env::var_os("PASARELA_SERVERS").map_or_else(
        || {
            let ourselves = std::env::current_exe().unwrap(); // target/PROFILE/deps/TEST-HASH
            ourselves.ancestors().nth(3).unwrap().join("servers")
        },
        PathBuf::from,
    )
}
