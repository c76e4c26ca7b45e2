//! The servers people already have, as Debian ships them: limits out of the way, logs off, everything else as it comes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::{PASSWORD, Peer, Setting, Speaks, USER};
use crate::failed::{During as _, Failed};

/// Ports for data connections, below those that the system gives to clients. Pure-FTPd lets in half as many visitors.
const DATA_PORTS: (u16, u16) = (10_000, 32_000);
/// The password as MD5-crypt, which every one of them can check, fast: the cost of a strong hash would be the only
/// thing seen.
const HASH: &str = "$1$pasarela$skWt9Q4EKuZI4GGDt5HHk/";
/// `nobody` and `nogroup`.
const NOBODY: (u32, u32) = (65534, 65534);

const FTP: Peer = Peer {
    name: "",
    speaks: Speaks::Ftp,
    tls: true,
    mlsd: true,
    root: false,
    user: USER,
    password: PASSWORD,
    program: |_| None,
    command: |_| Err(Failed::Missing("no command".to_owned())),
};

/// Two processes a session, in a sandbox.
pub(super) static VSFTPD: Peer = Peer {
    name: "vsftpd",
    mlsd: false,
    root: true,
    user: "anonymous",
    password: "a@example.org",
    program: |places| places.find("vsftpd"),
    command: |setting| vsftpd(setting, ""),
    ..FTP
};

/// One process a session and no sandbox: the least that it can cost.
pub(super) static VSFTPD_ONE: Peer = Peer {
    name: "vsftpd-one",
    command: |setting| {
        vsftpd(
            setting,
            "one_process_model=YES\nseccomp_sandbox=NO\nisolate=NO\nisolate_network=NO",
        )
    },
    ..VSFTPD
};

/// A process a session.
pub(super) static PROFTPD: Peer = Peer {
    name: "proftpd",
    root: true,
    program: |places| places.find("proftpd"),
    command: proftpd,
    ..FTP
};

/// Two processes a session.
pub(super) static PURE_FTPD: Peer = Peer {
    name: "pure-ftpd",
    root: true,
    program: |places| places.find("pure-ftpd"),
    command: pure_ftpd,
    ..FTP
};

/// One process, one thread.
pub(super) static PYFTPDLIB: Peer = Peer {
    name: "pyftpdlib",
    program: |_| {
        let package = Path::new("/usr/lib/python3/dist-packages/pyftpdlib/__init__.py");
        package.is_file().then(|| "/usr/bin/python3".into())
    },
    command: pyftpdlib,
    ..FTP
};

/// Its TLS is implicit and has no PROT, so that data would go in the clear. Debian leaves its FTP out.
pub(super) static RCLONE: Peer = Peer {
    name: "rclone",
    tls: false,
    program: |places| places.find("rclone").filter(|program| serves_ftp(program)),
    command: rclone,
    ..FTP
};

/// Not Debian's: measured where somebody has it. It has no TLS 1.3.
pub(super) static UNFTP: Peer = Peer {
    name: "unftp",
    tls: false,
    user: "anonymous",
    program: |places| places.find("unftp"),
    command: unftp,
    ..FTP
};

pub(super) static NGINX: Peer = Peer {
    name: "nginx (HTTP)",
    speaks: Speaks::Http,
    program: |places| places.find("nginx"),
    command: nginx,
    ..FTP
};

fn vsftpd(setting: &Setting<'_>, more: &str) -> Result<Command, Failed> {
    let empty = setting.scratch.join("empty");
    std::fs::create_dir(&empty).during(empty.display().to_string())?;
    let (low, high) = DATA_PORTS;
    let tls = if setting.case.tls { "YES" } else { "NO" };
    let [certificate, key, _] = setting.tree.pem();
    let text = format!(
        "listen=YES
        listen_address=127.0.0.1
        listen_port={port}
        background=NO
        anonymous_enable=YES
        local_enable=NO
        no_anon_password=YES
        anon_root={root}
        secure_chroot_dir={empty}
        allow_writeable_chroot=YES
        write_enable=YES
        anon_upload_enable=YES
        anon_mkdir_write_enable=YES
        anon_other_write_enable=YES
        anon_world_readable_only=NO
        anon_umask=022
        max_clients=0
        max_per_ip=0
        idle_session_timeout=3600
        data_connection_timeout=600
        pasv_min_port={low}
        pasv_max_port={high}
        xferlog_enable=NO
        dirmessage_enable=NO
        ssl_enable={tls}
        allow_anon_ssl=YES
        rsa_cert_file={certificate}
        rsa_private_key_file={key}
        ssl_ciphers=HIGH
        {more}",
        port = setting.port,
        root = setting.tree.root().display(),
        empty = empty.display(),
        certificate = certificate.display(),
        key = key.display(),
    );
    let mut command = Command::new(setting.program);
    command.arg(setting.write("vsftpd.conf", &text)?);
    Ok(command)
}

fn proftpd(setting: &Setting<'_>) -> Result<Command, Failed> {
    let scratch = setting.scratch.display();
    let root = setting.tree.root();
    let (uid, gid) = NOBODY;
    let users = setting.write(
        "users",
        &format!("{USER}:{HASH}:{uid}:{gid}::{}:/bin/sh", root.display()),
    )?;
    std::fs::set_permissions(&users, std::fs::Permissions::from_mode(0o600))
        .during(users.display().to_string())?;
    let tls = if setting.case.tls {
        let [certificate, key, _] = setting.tree.pem();
        format!(
            "LoadModule mod_tls.c
            LoadModule mod_tls_shmcache.c
            TLSEngine on
            TLSProtocol TLSv1.2 TLSv1.3
            TLSRequired off
            TLSLog none
            TLSECCertificateFile {}
            TLSECCertificateKeyFile {}
            TLSSessionCache shm:/file={scratch}/sessions",
            certificate.display(),
            key.display(),
        )
    } else {
        String::new()
    };
    let (low, high) = DATA_PORTS;
    let modules = setting.places.unpacked.join("usr/lib/proftpd");
    let text = format!(
        "ModulePath {modules}
        ServerName bench
        ServerType standalone
        DefaultServer on
        DefaultAddress 127.0.0.1
        UseIPv6 off
        Port {port}
        PassivePorts {low} {high}
        MaxInstances 30000
        User nobody
        Group nogroup
        UseReverseDNS off
        RequireValidShell off
        AuthOrder mod_auth_file.c
        AuthUserFile {users}
        DefaultRoot ~
        AllowOverwrite on
        DelayTable none
        DelayEngine off
        WtmpLog off
        TransferLog none
        SystemLog none
        PidFile {scratch}/pid
        ScoreboardFile {scratch}/scores
        TimeoutIdle 3600
        TimeoutNoTransfer 3600
        TimeoutStalled 600
        {tls}",
        modules = modules.display(),
        port = setting.port,
        users = users.display(),
    );
    let mut command = Command::new(setting.program);
    command
        .env("LD_LIBRARY_PATH", setting.places.libraries())
        .args(["-n", "-q", "-c"])
        .arg(setting.write("proftpd.conf", &text)?);
    Ok(command)
}

fn pure_ftpd(setting: &Setting<'_>) -> Result<Command, Failed> {
    let (uid, gid) = NOBODY;
    let root = setting.tree.root();
    let users = setting.write(
        "users",
        &format!("{USER}:{HASH}:{uid}:{gid}::{}/./::::::::::::", root.display()),
    )?;
    let database = setting.scratch.join("users.pdb");
    let pure_pw = setting
        .places
        .find("pure-pw")
        .ok_or_else(|| Failed::Missing("pure-pw is not there".to_owned()))?;
    let made = Command::new(&pure_pw)
        .env("LD_LIBRARY_PATH", setting.places.libraries())
        .arg("mkdb")
        .arg(&database)
        .arg("-f")
        .arg(&users)
        .output()
        .during(pure_pw.display().to_string())?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr);
        return Err(Failed::Missing(format!("pure-pw mkdb: {said}")));
    }
    let (low, high) = DATA_PORTS;
    let mut command = Command::new(setting.program);
    command
        .env("LD_LIBRARY_PATH", setting.places.libraries())
        .args(["-4", "-A", "-E", "-H", "-u", "1", "-f", "none"])
        .args(["-c", "30000", "-C", "30000", "-I", "60", "-L", "1000000:5"])
        .args(["-S", &format!("127.0.0.1,{}", setting.port)])
        .args(["-p", &format!("{low}:{high}")])
        .args(["-l", &format!("puredb:{}", database.display())])
        .arg("-g")
        .arg(setting.scratch.join("pid"));
    if setting.case.tls {
        let [_, _, both] = setting.tree.pem();
        command.args(["-Y", "1", "-2"]).arg(both);
    }
    Ok(command)
}

fn pyftpdlib(setting: &Setting<'_>) -> Result<Command, Failed> {
    const SERVER: &str = "\
import logging, sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler, TLS_FTPHandler
from pyftpdlib.servers import FTPServer
port, root, user, password, low, high, pem = sys.argv[1:]
logging.basicConfig(level=logging.ERROR)
visitors = DummyAuthorizer()
visitors.add_user(user, password, root, perm='elradfmwMT')
handler = FTPHandler
if pem:
    handler = TLS_FTPHandler
    handler.certfile = pem
handler.authorizer = visitors
handler.timeout = 3600
handler.passive_ports = range(int(low), int(high))
FTPServer.max_cons = 100000
FTPServer(('127.0.0.1', int(port)), handler, backlog=1000).serve_forever()
";
    let (low, high) = DATA_PORTS;
    let [_, _, both] = setting.tree.pem();
    let mut command = Command::new(setting.program);
    command
        .args(["-c", SERVER, &setting.port.to_string()])
        .arg(setting.tree.root())
        .args([USER, PASSWORD, &low.to_string(), &high.to_string()])
        .arg(if setting.case.tls {
            both.as_os_str()
        } else {
            "".as_ref()
        });
    Ok(command)
}

fn serves_ftp(rclone: &Path) -> bool {
    let help = Command::new(rclone).args(["serve", "ftp", "--help"]).output();
    help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--passive-port"))
}

fn rclone(setting: &Setting<'_>) -> Result<Command, Failed> {
    let (low, high) = DATA_PORTS;
    let mut command = Command::new(setting.program);
    command
        .args(["serve", "ftp"])
        .arg(setting.tree.root())
        .args(["--addr", &format!("127.0.0.1:{}", setting.port)])
        .args(["--user", USER, "--pass", PASSWORD])
        .args(["--passive-port", &format!("{low}-{high}")])
        .args(["--log-level", "ERROR", "--config"])
        .arg(setting.write("rclone.conf", "")?);
    Ok(command)
}

fn unftp(setting: &Setting<'_>) -> Result<Command, Failed> {
    let (low, high) = DATA_PORTS;
    let mut command = Command::new(setting.program);
    command
        .args(["--bind-address", &format!("127.0.0.1:{}", setting.port)])
        .arg("--root-dir")
        .arg(setting.tree.root())
        .args(["--auth-type", "anonymous", "--sbe-type", "filesystem"])
        .args(["--passive-ports", &format!("{low}-{high}")])
        .args(["--idle-session-timeout", "3600", "--log-level", "error"]);
    Ok(command)
}

fn nginx(setting: &Setting<'_>) -> Result<Command, Failed> {
    let scratch = setting.scratch.display();
    let (on, tls) = if setting.case.tls {
        let [certificate, key, _] = setting.tree.pem();
        let lines = format!(
            "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3;",
            certificate.display(),
            key.display()
        );
        (" ssl", lines)
    } else {
        ("", String::new())
    };
    let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|what| format!("{what}_temp_path {scratch}/{what};\n"))
        .collect();
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let text = format!(
        "{user}
        worker_processes 1;
        daemon off;
        pid {scratch}/pid;
        error_log {scratch}/error;
        events {{ worker_connections 1024; }}
        http {{
        access_log off;
        sendfile on;
        tcp_nopush on;
        {folders}
        server {{ listen 127.0.0.1:{port}{on}; {tls} root {root}; }}
        }}",
        port = setting.port,
        root = setting.tree.root().display(),
    );
    let mut command = Command::new(setting.program);
    command
        .env("LD_LIBRARY_PATH", setting.places.libraries())
        .arg("-c")
        .arg(setting.write("nginx.conf", &text)?)
        .arg("-e")
        .arg(setting.scratch.join("error"));
    Ok(command)
}
