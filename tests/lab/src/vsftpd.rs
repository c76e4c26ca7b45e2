//! Stock vsftpd in the server's place, set up for passive mode as its operator did, or did not.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pasarela_testkit::lab::{Lab, PASSIVE_PORTS, Process, Role, ServerSide};
use tempfile::TempDir;

/// How long it may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// What its operator has set for passive mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passive {
    /// Nothing: any port, and its own address.
    Default,
    /// The range of ports alone.
    Ports,
    /// The range of ports, and the public address of the time when it was set up.
    Tuned,
}

impl Passive {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Ports => "ports",
            Self::Tuned => "tuned",
        }
    }

    fn settings(self, public: IpAddr) -> String {
        let ports = format!(
            "pasv_min_port={}\npasv_max_port={}\n",
            PASSIVE_PORTS.start,
            PASSIVE_PORTS.end - 1
        );
        match (self, public) {
            (Self::Default, _) => String::new(),
            // What announces no address has none to set.
            (Self::Ports, _) | (Self::Tuned, IpAddr::V6(_)) => ports,
            (Self::Tuned, IpAddr::V4(public)) => format!("{ports}pasv_address={public}\n"),
        }
    }
}

/// A vsftpd with anonymous visitors, with and without TLS.
#[derive(Debug)]
pub struct Vsftpd {
    // Ends before its folder goes.
    _process: Process,
    _home: TempDir,
}

impl Vsftpd {
    /// Starts it on port 21 and waits until it listens.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start(lab: &Lab, passive: Passive) -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("file"), b"content").unwrap();
        let pem = certificate(home.path());
        let has_ipv6 = matches!(
            lab.topology().server,
            ServerSide::Firewall6(_) | ServerSide::DualStack(_)
        );
        let yes_no = |yes| if yes { "YES" } else { "NO" };
        let text = format!(
            "listen={}\nlisten_ipv6={}\nbackground=NO\nrun_as_launching_user=YES\nanonymous_enable=YES\n\
             local_enable=NO\nwrite_enable=YES\nanon_upload_enable=YES\nanon_world_readable_only=NO\n\
             anon_other_write_enable=YES\nanon_umask=022\nanon_root={}\nno_anon_password=NO\nxferlog_enable=NO\n\
             seccomp_sandbox=NO\nssl_enable=YES\nallow_anon_ssl=YES\nforce_anon_logins_ssl=NO\n\
             force_anon_data_ssl=NO\nrequire_ssl_reuse=YES\nssl_ciphers=HIGH\nrsa_cert_file={}\n\
             rsa_private_key_file={}\n{}",
            yes_no(!has_ipv6),
            yes_no(has_ipv6),
            root.display(),
            pem.display(),
            pem.display(),
            passive.settings(lab.addresses().public),
        );
        let file = home.path().join("vsftpd.conf");
        fs::write(&file, text).unwrap();
        let log = fs::File::create(home.path().join("log")).unwrap();
        let mut command = lab.command(Role::Server, "vsftpd");
        command.arg(file).stdout(log.try_clone().unwrap()).stderr(log);
        let process = Process::start(&mut command).unwrap();
        let own = SocketAddr::new(lab.addresses().server, 21);
        let end = Instant::now() + PATIENCE;
        while lab.within(Role::Server, || TcpStream::connect(own)).is_err() {
            let log = fs::read_to_string(home.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "vsftpd does not listen; it said: {log}");
            std::thread::sleep(Duration::from_millis(20)); // a process that starts cannot be waited for
        }
        Self {
            _process: process,
            _home: home,
        }
    }
}

fn certificate(home: &Path) -> std::path::PathBuf {
    let (pem, key) = (home.join("certificate.pem"), home.join("key.pem"));
    let mut openssl = Command::new("openssl");
    openssl
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args(["-days", "365", "-subj", "/CN=ftp.example"])
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
