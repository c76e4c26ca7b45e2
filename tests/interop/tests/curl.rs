//! curl: EPSV first, PASV when told so, EPRT and PORT; resumes TLS sessions on data connections.
//!
//! Active mode is run without TLS only: curl 7.88 (Debian 12) starts no TLS on a data connection that it accepted and
//! sends the file in clear; the server's end of that is a refusal.
#![allow(clippy::unwrap_used, reason = "test code: a panic is its report")]

use std::ffi::OsString;
use std::process::Command;

use pasarela_interop::{Driver, Errand, LATIN1, Mode, SPACES, Site, UTF8, Wire, credentials, interop};
use pasarela_testkit::{assert_same_tree, make_tree, run, tree};

const CURL: Driver = Driver {
    command,
    names: &[SPACES, UTF8, LATIN1],
    one_session: true,
};

interop! { CURL;
    plain_epsv: Plain Epsv;
    plain_pasv: Plain Pasv;
    plain_eprt: Plain Eprt;
    plain_port: Plain Port;
    explicit_tls12_epsv: Explicit12 Epsv;
    explicit_tls12_pasv: Explicit12 Pasv;
    explicit_tls13_epsv: Explicit13 Epsv;
    explicit_tls13_pasv: Explicit13 Pasv;
    implicit_tls12_epsv: Implicit12 Epsv;
    implicit_tls13_epsv: Implicit13 Epsv;
    implicit_tls13_pasv: Implicit13 Pasv;
}

fn command(site: &Site, errand: &Errand<'_>) -> Option<Command> {
    let url = |name: &str| site.url(scheme(site), name.as_ref());
    let mut curl = curl(site);
    match errand {
        Errand::List => {
            curl.arg(url(""));
        }
        Errand::Get { names, into } => {
            for name in *names {
                curl.arg(site.url(scheme(site), name))
                    .arg("-o")
                    .arg(into.join(name));
            }
        }
        Errand::ResumeGet { name, into } => {
            curl.args(["-C", "-"])
                .arg(url(name))
                .arg("-o")
                .arg(into.join(name));
        }
        Errand::Put { names, from } => {
            for name in *names {
                curl.arg("-T")
                    .arg(from.join(name))
                    .arg(site.url(scheme(site), name));
            }
        }
        Errand::ResumePut { name, from } => {
            curl.args(["-C", "-"])
                .arg("-T")
                .arg(from.join(name))
                .arg(url(name));
        }
        Errand::Rename { from, to } => quote(
            &mut curl,
            &[&format!("RNFR {from}"), &format!("RNTO {to}")],
            &url(""),
        ),
        Errand::Delete(name) => quote(&mut curl, &[&format!("DELE {name}")], &url("")),
        Errand::MakeDir(name) => quote(&mut curl, &[&format!("MKD {name}")], &url("")),
        Errand::RemoveDir(name) => quote(&mut curl, &[&format!("RMD {name}")], &url("")),
    }
    Some(curl)
}

/// Commands before a listing; curl has no other way to send them.
fn quote(curl: &mut Command, lines: &[&str], url: &str) {
    for line in lines {
        curl.args(["-Q", line]);
    }
    curl.arg(url);
}

fn scheme(site: &Site) -> &'static str {
    if site.wire.is_implicit() { "ftps" } else { "ftp" }
}

fn curl(site: &Site) -> Command {
    let mut curl = site.client("curl");
    curl.args([
        "-q",
        "-sS",
        "--fail-early",
        "--max-time",
        "240",
        "-u",
        &credentials(':'),
    ]);
    if site.wire.is_tls() {
        curl.args(["--ssl-reqd", "-k"]);
        curl.args(if site.wire.is_tls12() {
            ["--tlsv1.2", "--tls-max", "1.2"]
        } else {
            ["--tlsv1.3", "--tls-max", "1.3"]
        });
    }
    let mode: &[&str] = match site.mode {
        Mode::Epsv => &[],
        Mode::Pasv => &["--disable-epsv"],
        Mode::Eprt => &["-P", "-"],
        Mode::Port => &["-P", "-", "--disable-eprt"],
    };
    curl.args(mode);
    curl
}

/// `curl -Z`: 60 files, 8 at a time, both ways.
fn eight_at_a_time(wire: Wire) {
    let site = Site::start(wire, Mode::Epsv);
    let (from, into) = (site.folder("from"), site.folder("into"));
    make_tree(&from, 5, 60);
    let mut up = curl(&site);
    let mut down = curl(&site);
    for curl in [&mut up, &mut down] {
        curl.args(["-Z", "--parallel-max", "8", "--create-dirs", "--ftp-create-dirs"]);
    }
    for name in tree(&from).keys() {
        let url = site.url(scheme(&site), name.as_os_str());
        up.arg("-T").arg(from.join(name)).arg(&url);
        down.arg(url).arg("-o").arg(into.join(name));
    }
    run(&mut up).expect_success();
    assert_same_tree(&from, site.server.root());
    run(&mut down).expect_success();
    assert_same_tree(&from, &into);
}

#[test]
fn eight_at_a_time_explicit_tls13() {
    eight_at_a_time(Wire::Explicit13);
}

#[test]
fn eight_at_a_time_explicit_tls12() {
    eight_at_a_time(Wire::Explicit12);
}

#[test]
fn eight_at_a_time_implicit_tls13() {
    eight_at_a_time(Wire::Implicit13);
}

/// Over plain FTP the ports are the server's to choose.
#[test]
fn eight_at_a_time_plain() {
    eight_at_a_time(Wire::Plain);
}

#[test]
fn a_wrong_password_is_refused() {
    let site = Site::start(Wire::Explicit13, Mode::Epsv);
    let mut curl = site.client("curl");
    curl.args(["-q", "-sS", "-k", "--ssl-reqd", "-u", "maria:wrong"])
        .arg(site.url("ftp", &OsString::new()));
    assert_eq!(
        run(&mut curl).status.unwrap().code(),
        Some(67),
        "CURLE_LOGIN_DENIED"
    );
}
