//! rclone: EPSV first, PASV when told so; explicit and implicit FTPS with Go's TLS, one session cache a control connection.
#![allow(clippy::unwrap_used, reason = "test code: a panic is its report")]

use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use pasarela_interop::{Driver, Errand, Mode, SPACES, Site, UTF8, Wire, interop};
use pasarela_testkit::{PASSWORD, USER, assert_same_tree, make_tree, run};

const RCLONE: Driver = Driver {
    command,
    names: &[SPACES, UTF8],
    one_session: false,
};

interop! { RCLONE;
    plain_epsv: Plain Epsv;
    plain_pasv: Plain Pasv;
    explicit_tls12_epsv: Explicit12 Epsv;
    explicit_tls13_epsv: Explicit13 Epsv;
    explicit_tls13_pasv: Explicit13 Pasv;
    implicit_tls12_epsv: Implicit12 Epsv;
    implicit_tls13_epsv: Implicit13 Epsv;
}

fn command(site: &Site, errand: &Errand<'_>) -> Option<Command> {
    let mut rclone = rclone(site);
    let remote = |name: &str| format!("x:{name}");
    let list = |names: &[std::ffi::OsString]| {
        site.script(
            &names
                .iter()
                .map(|name| name.as_bytes())
                .collect::<Vec<_>>()
                .join(&b'\n'),
        )
    };
    match errand {
        Errand::List => rclone.args(["lsl", "x:"]),
        Errand::Get { names, into } => rclone
            .args(["copy", "--files-from-raw", "-", "x:"])
            .arg(into)
            .stdin(list(names)),
        Errand::Put { names, from } => rclone
            .args(["copy", "--files-from-raw", "-"])
            .arg(from)
            .arg("x:")
            .stdin(list(names)),
        Errand::Rename { from, to } => rclone.args(["moveto", &remote(from), &remote(to)]),
        Errand::Delete(name) => rclone.args(["deletefile", &remote(name)]),
        Errand::MakeDir(name) => rclone.args(["mkdir", &remote(name)]),
        Errand::RemoveDir(name) => rclone.args(["rmdir", &remote(name)]),
        Errand::ResumeGet { .. } | Errand::ResumePut { .. } => return None,
    };
    Some(rclone)
}

fn rclone(site: &Site) -> Command {
    let obscured = run(site.client("rclone").args(["obscure", PASSWORD]))
        .expect_success()
        .stdout;
    let flag = |on: bool| if on { "true" } else { "false" };
    let mut rclone = site.client("rclone");
    rclone.args([
        "--retries",
        "1",
        "--low-level-retries",
        "1",
        "--timeout",
        "120s",
        "--transfers",
        "1",
        "--checkers",
        "1",
    ]);
    for (key, value) in [
        ("TYPE", "ftp"),
        ("HOST", &site.address().ip().to_string()),
        ("PORT", &site.address().port().to_string()),
        ("USER", USER),
        ("PASS", String::from_utf8(obscured).unwrap().trim_end()),
        ("TLS", flag(site.wire.is_implicit())),
        (
            "EXPLICIT_TLS",
            flag(site.wire.is_tls() && !site.wire.is_implicit()),
        ),
        ("DISABLE_TLS13", flag(site.wire.is_tls12())),
        ("NO_CHECK_CERTIFICATE", "true"),
        ("DISABLE_EPSV", flag(site.mode == Mode::Pasv)),
    ] {
        rclone.env(format!("RCLONE_CONFIG_X_{key}"), value);
    }
    rclone
}

/// `copy --transfers 8` of 100 files, up, then down. Where rclone dials a control connection at the very moment of
/// another one's data connection, explicit TLS tells them apart; plain and implicit TLS may cost a 425, after which
/// rclone tries again as often as it does by itself.
fn eight_at_a_time(wire: Wire) {
    let retries = if matches!(wire, Wire::Explicit13) {
        ["1", "1"]
    } else {
        ["3", "10"]
    };
    let site = Site::start(wire, Mode::Epsv);
    let (from, into) = (site.folder("from"), site.folder("into"));
    make_tree(&from, 7, 100);
    let copy = |from: &std::ffi::OsStr, to: &std::ffi::OsStr| {
        run(rclone(&site)
            .args(["copy", "--transfers", "8", "--checkers", "8"])
            .args(["--retries", retries[0], "--low-level-retries", retries[1]])
            .arg(from)
            .arg(to))
        .expect_success();
    };
    copy(from.as_ref(), "x:tree".as_ref());
    assert_same_tree(&from, &site.server.file("tree"));
    copy("x:tree".as_ref(), into.as_ref());
    assert_same_tree(&from, &into);
}

#[test]
fn eight_at_a_time_explicit_tls13() {
    eight_at_a_time(Wire::Explicit13);
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
