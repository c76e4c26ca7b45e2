//! wget: fetches only; PASV and PORT on IPv4; explicit and implicit FTPS with GnuTLS.

use std::process::Command;

use pasarela_interop::{Driver, Errand, LATIN1, Mode, SPACES, Site, UTF8, interop};
use pasarela_testkit::{PASSWORD, USER};

const WGET: Driver = Driver {
    command,
    names: &[SPACES, UTF8, LATIN1],
    one_session: true,
};

interop! { WGET;
    plain_pasv: Plain Pasv;
    plain_port: Plain Port;
    explicit_tls12_pasv: Explicit12 Pasv;
    explicit_tls13_pasv: Explicit13 Pasv;
    explicit_tls13_port: Explicit13 Port;
    implicit_tls12_pasv: Implicit12 Pasv;
    implicit_tls13_pasv: Implicit13 Pasv;
}

fn command(site: &Site, errand: &Errand<'_>) -> Option<Command> {
    let scheme = if site.wire.is_tls() { "ftps" } else { "ftp" };
    let mut wget = site.client("wget");
    wget.args([
        "--no-config",
        "-nv",
        "--tries=1",
        "--timeout=120",
        "--restrict-file-names=nocontrol",
    ]);
    wget.args([format!("--user={USER}"), format!("--password={PASSWORD}")]);
    if site.wire.is_tls() {
        wget.arg("--no-check-certificate");
        wget.arg(if site.wire.is_tls12() {
            "--ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.2"
        } else {
            "--secure-protocol=TLSv1_3"
        });
    }
    if site.wire.is_implicit() {
        wget.arg("--ftps-implicit");
    }
    if site.mode == Mode::Port {
        wget.arg("--no-passive-ftp");
    }
    match errand {
        Errand::List => wget.args(["-O", "-"]).arg(site.url(scheme, "".as_ref())),
        Errand::Get { names, into } => wget
            .arg("-P")
            .arg(into)
            .args(names.iter().map(|name| site.url(scheme, name))),
        Errand::ResumeGet { name, into } => wget
            .arg("-c")
            .arg("-P")
            .arg(into)
            .arg(site.url(scheme, name.as_ref())),
        _ => return None,
    };
    Some(wget)
}
