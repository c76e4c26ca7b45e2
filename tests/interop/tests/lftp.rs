//! lftp: PASV unless told otherwise, PORT; GnuTLS, resumes TLS sessions; mirrors with parallel transfers.
#![allow(clippy::unwrap_used, reason = "test code: a panic is its report")]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use pasarela_interop::{Driver, Errand, LATIN1, Mode, SPACES, Site, UTF8, Wire, credentials, interop};
use pasarela_testkit::{assert_same_tree, make_tree, run};

const LFTP: Driver = Driver {
    command,
    names: &[SPACES, UTF8],
    one_session: true,
};
/// Without charsets lftp passes bytes on as they are.
const LFTP_BYTES: Driver = Driver {
    command: command_without_charsets,
    names: &[LATIN1, SPACES, UTF8],
    one_session: true,
};

interop! { LFTP;
    plain_pasv: Plain Pasv;
    plain_epsv: Plain Epsv;
    plain_port: Plain Port;
    explicit_tls12_pasv: Explicit12 Pasv;
    explicit_tls12_epsv: Explicit12 Epsv;
    explicit_tls12_port: Explicit12 Port;
    explicit_tls13_pasv: Explicit13 Pasv;
    explicit_tls13_epsv: Explicit13 Epsv;
    explicit_tls13_port: Explicit13 Port;
    implicit_tls12_pasv: Implicit12 Pasv;
    implicit_tls13_pasv: Implicit13 Pasv;
    implicit_tls13_epsv: Implicit13 Epsv;
}

interop! { LFTP_BYTES;
    raw_bytes_in_names: Plain Pasv;
}

fn command(site: &Site, errand: &Errand<'_>) -> Option<Command> {
    Some(lftp(site, &words(errand)))
}

/// A server that speaks LANG speaks UTF-8 (RFC 2640), so lftp converts names to it unless its own names are UTF-8
/// already; then bytes go through as they are.
fn command_without_charsets(site: &Site, errand: &Errand<'_>) -> Option<Command> {
    let mut script = b"set ftp:use-utf8 no\n".to_vec();
    script.extend(words(errand));
    let mut lftp = lftp(site, &script);
    lftp.env("LC_ALL", "C.UTF-8");
    Some(lftp)
}

fn words(errand: &Errand<'_>) -> Vec<u8> {
    let mut script = Vec::new();
    let mut line = |words: &[&OsStr]| {
        for word in words {
            script.push(b'"');
            script.extend_from_slice(word.as_bytes());
            script.extend_from_slice(b"\" ");
        }
        script.push(b'\n');
    };
    match errand {
        Errand::List => line(&["ls".as_ref()]),
        Errand::Get { names, into } => {
            for name in *names {
                line(&["get".as_ref(), name, "-o".as_ref(), into.join(name).as_ref()]);
            }
        }
        Errand::ResumeGet { name, into } => {
            line(&[
                "get".as_ref(),
                "-c".as_ref(),
                name.as_ref(),
                "-o".as_ref(),
                into.join(name).as_ref(),
            ]);
        }
        Errand::Put { names, from } => {
            for name in *names {
                line(&["put".as_ref(), from.join(name).as_ref(), "-o".as_ref(), name]);
            }
        }
        Errand::ResumePut { name, from } => {
            line(&[
                "put".as_ref(),
                "-c".as_ref(),
                from.join(name).as_ref(),
                "-o".as_ref(),
                name.as_ref(),
            ]);
        }
        Errand::Rename { from, to } => line(&["mv".as_ref(), from.as_ref(), to.as_ref()]),
        Errand::Delete(name) => line(&["rm".as_ref(), name.as_ref()]),
        Errand::MakeDir(name) => line(&["mkdir".as_ref(), name.as_ref()]),
        Errand::RemoveDir(name) => line(&["rmdir".as_ref(), name.as_ref()]),
    }
    script
}

fn lftp(site: &Site, script: &[u8]) -> Command {
    let version = if site.wire.is_tls12() { "TLS1.2" } else { "TLS1.3" };
    let passive = matches!(site.mode, Mode::Pasv | Mode::Epsv);
    let settings = [
        "set cmd:fail-exit yes".to_owned(),
        "set net:max-retries 2".to_owned(),
        "set net:timeout 120".to_owned(),
        "set ssl:verify-certificate no".to_owned(),
        format!("set ssl:priority NORMAL:-VERS-ALL:+VERS-{version}"),
        format!("set ftp:ssl-allow {}", site.wire.is_tls()),
        format!("set ftp:ssl-force {}", site.wire.is_tls()),
        "set ftp:ssl-protect-data yes".to_owned(),
        format!("set ftp:passive-mode {passive}"),
        "set ftp:auto-passive-mode no".to_owned(),
        format!("set ftp:prefer-epsv {}", site.mode == Mode::Epsv),
        format!(
            "open -u {} {}://{}",
            credentials(','),
            if site.wire.is_implicit() { "ftps" } else { "ftp" },
            site.address()
        ),
    ];
    let mut text = settings.join("\n").into_bytes();
    text.push(b'\n');
    text.extend_from_slice(script);
    let mut lftp = site.client("lftp");
    lftp.arg("--norc")
        .args(["-f", "/dev/stdin"])
        .stdin(site.script(&text));
    lftp
}

/// `mirror --parallel=8` of 200 files, up, then down.
fn mirrors_eight_at_a_time(wire: Wire) {
    let site = Site::start(wire, Mode::Pasv);
    let (from, into) = (site.folder("from"), site.folder("into"));
    make_tree(&from, 6, 200);
    run(&mut lftp(
        &site,
        format!("mirror --reverse --parallel=8 {} /tree\n", from.display()).as_bytes(),
    ))
    .expect_success();
    assert_same_tree(&from, &site.server.file("tree"));
    run(&mut lftp(
        &site,
        format!("mirror --parallel=8 /tree {}\n", into.display()).as_bytes(),
    ))
    .expect_success();
    assert_same_tree(&from, &into);
}

#[test]
fn mirrors_eight_at_a_time_explicit_tls13() {
    mirrors_eight_at_a_time(Wire::Explicit13);
}

#[test]
fn mirrors_eight_at_a_time_explicit_tls12() {
    mirrors_eight_at_a_time(Wire::Explicit12);
}

#[test]
fn mirrors_eight_at_a_time_implicit_tls13() {
    mirrors_eight_at_a_time(Wire::Implicit13);
}

/// Over plain FTP the ports are the server's to choose.
#[test]
fn mirrors_eight_at_a_time_plain() {
    mirrors_eight_at_a_time(Wire::Plain);
}
